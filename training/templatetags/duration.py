"""Seconds and numbers in words."""

from typing import Any

from django import template

register = template.Library()


@register.filter
def figure(value: Any) -> Any:
    """A number as people read it: whole ones with commas, others with six digits that count. Anything else as it is."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    return f"{value:,}" if isinstance(value, int) else f"{value:,.6g}"


@register.filter
def duration(seconds: float | None) -> str:
    """45 s, 12 min, 3 h 20 min."""
    if seconds is None:
        return ""
    minutes = round(seconds / 60)
    if seconds < 60:
        return f"{max(1, round(seconds))} s"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


@register.filter
def counted(number: float | None) -> str:
    """940, 8,940, 12.5 million, 6.74 billion."""
    if number is None:
        return ""
    for size, word in ((1e9, "billion"), (1e6, "million")):
        if number >= size:
            return f"{number / size:.3g} {word}"
    return f"{number:,.0f}"
