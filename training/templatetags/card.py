"""Filters that put what people and libraries wrote into Markdown as plain words."""

import re
from typing import Any

from django import template

register = template.Library()


@register.filter
def line(value: Any) -> str:
    """One line in which nothing is markup."""
    return re.sub(r"([\\`*_\[\]<>#|~!])", r"\\\1", " ".join(str(value).split()))


@register.filter
def cell(value: Any) -> str:
    """For a cell of a table."""
    return line(value) or "–"


@register.filter
def indented(value: str) -> str:
    """A block that is shown word for word."""
    return "\n".join(f"    {one}" for one in value.splitlines())
