"""How the figures of a report on suggestions read."""

from decimal import Decimal
from typing import Any

from django import template
from django.utils.safestring import SafeString, mark_safe

from annotation import svg
from annotation.suggestions import money_text

register = template.Library()


@register.filter
def effect_estimate(estimate: dict[str, Any], unit: str) -> str:
    """“61.2 % [58.0, 64.1]”, “34 s [31, 37]”, or a dash."""
    return _text(estimate, unit, signed=False)


@register.filter
def effect_change(row: dict[str, Any]) -> str:
    """“+4.1 points [1.2, 6.9]”, or for times “×0.81 [0.74, 0.90]”."""
    return _text(row["change"], "ratio" if row["is_ratio"] else "points", signed=True)


def _text(estimate: dict[str, Any], unit: str, *, signed: bool) -> str:
    if estimate["estimate"] is None:
        return "–"
    factor, digits = (100, 1) if unit in {"share", "points"} else (1, 2 if unit == "ratio" else 0)
    sign = "+" if unit == "points" else ""

    def number(value: float, plus: str = "") -> str:
        text = f"{factor * value:{plus}.{digits}f}"
        return text.replace("-", "\u2212")

    value = number(estimate["estimate"], sign)
    text = {
        "share": f"{value}\u00a0%",
        "points": f"{value} points",
        "seconds": f"{value}\u00a0s",
        "ratio": f"×{value}",
    }[unit]
    if estimate["low"] is None:
        return text
    return f"{text} [{number(estimate['low'])}, {number(estimate['high'])}]"


@register.filter
def money(amount: Decimal | None) -> str:
    """0.0123 USD"""
    return money_text(amount or Decimal(0))


@register.filter
def inline_figure(source: str) -> SafeString:
    """A figure drawn by the worker, for use inside a page. It escapes every text in it."""
    return mark_safe(svg.themed(source))  # noqa: S308 - written by matplotlib, which escapes, and by nobody else
