"""How figures of a report read."""

from django import template
from django.utils.safestring import SafeString, mark_safe

from annotation import svg

register = template.Library()


@register.filter
def signed(value: float | None) -> str:
    """+0.64, with a real minus sign where it fell."""
    return "" if value is None else f"{value:+.2f}".replace("-", "\u2212")


@register.filter
def figure(value: float | None) -> str:
    """3.41, with a real minus sign."""
    return "–" if value is None else f"{value:.2f}".replace("-", "\u2212")


@register.filter
def interval(estimate: dict) -> str:
    """[3.10, 3.72], or nothing where there is no interval."""
    if estimate.get("low") is None:
        return ""
    return f"[{figure(estimate['low'])}, {figure(estimate['high'])}]"


@register.filter
def percent(value: float | None) -> str:
    """61 %"""
    return "–" if value is None else f"{100 * value:.0f}\u00a0%"


@register.filter
def percent_interval(share: dict) -> str:
    """[54, 68] in percent."""
    return "" if share.get("low") is None else f"[{100 * share['low']:.0f}, {100 * share['high']:.0f}]"


@register.filter
def p_value(p: float | None) -> str:
    """p = 0.023, or p < 0.001."""
    if p is None:
        return ""
    return "p\u00a0<\u00a00.001" if p < 0.001 else f"p\u00a0=\u00a0{p:.3f}"


@register.filter
def inline_svg(source: str) -> SafeString:
    """A figure drawn by the worker, for use inside a page. It escapes every text in it."""
    return mark_safe(svg.themed(source))  # noqa: S308 - written by matplotlib, which escapes, and by nobody else
