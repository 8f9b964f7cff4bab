"""How figures of agreement read."""

from django import template
from django.utils.safestring import SafeString, mark_safe

from annotation import svg

register = template.Library()


@register.filter
def coefficient(value: float | None) -> str:
    """0.64, with a real minus sign; a dash where there is none."""
    return "–" if value is None else f"{value:.2f}".replace("-", "\u2212")


@register.filter
def share(value: float | None) -> str:
    """61 %; a dash where there is none."""
    return "–" if value is None else f"{100 * value:.0f}\u00a0%"


@register.filter
def between(estimate: dict) -> str:
    """[0.60, 0.68], or nothing where there is no interval; shares in percent."""
    if estimate.get("low") is None:
        return ""
    if estimate.get("key") == "percent":
        return f"[{100 * estimate['low']:.0f}, {100 * estimate['high']:.0f}]"
    return f"[{coefficient(estimate['low'])}, {coefficient(estimate['high'])}]"


@register.filter
def of_key(coefficients: list[dict], key: str) -> dict | None:
    """The coefficient with this key, if the dimension has it."""
    return next((one for one in coefficients if one["key"] == key), None)


@register.filter
def themed_svg(source: str) -> SafeString:
    """A figure for use inside a page. It escapes every text in it."""
    return mark_safe(svg.themed(source))  # noqa: S308 - written by matplotlib, which escapes, and by nobody else
