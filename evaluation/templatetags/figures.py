"""How figures and sentences of a report reach a page."""

from django import template
from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe

from annotation import svg
from evaluation.reports import words

register = template.Library()


@register.filter
def inline_svg(source: str) -> SafeString:
    """A figure drawn by the worker, for use inside a page. It escapes every text in it."""
    return mark_safe(svg.themed(source))  # noqa: S308 - written by matplotlib, which escapes, and by nobody else


@register.filter
def sentence(text: str) -> SafeString:
    """A sentence whose names carry marks (`words.name`): each name in <bdi>."""
    shown: str = escape(text)
    if shown.count(words.START) == shown.count(words.END):
        shown = shown.replace(words.START, "<bdi>").replace(words.END, "</bdi>")
    return mark_safe(shown)  # noqa: S308 - escaped above


@register.filter
def is_in(name: str, names: set[str]) -> bool:
    return name in names


register.filter("figure", words.number)
register.filter("interval", words.interval)
register.filter("percent", words.percent)
figure, interval, percent = words.number, words.interval, words.percent


@register.filter
def percent_interval(share: dict) -> str:
    """[54, 68] in percent."""
    return "" if share.get("low") is None else f"[{100 * share['low']:.0f}, {100 * share['high']:.0f}]"
