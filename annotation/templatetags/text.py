"""Filters for what people and models wrote."""

import nh3
from django import template
from django.utils.safestring import SafeString, mark_safe
from markdown_it import MarkdownIt

register = template.Library()

_markdown = MarkdownIt("commonmark", {"html": False, "linkify": False}).enable("table")
_TAGS = {
    *("p", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "li", "blockquote", "pre", "code", "em", "strong"),
    *("a", "br", "hr", "table", "thead", "tbody", "tr", "th", "td"),
}


@register.filter
def markdown(source: str) -> SafeString:
    """Markdown as HTML. Raw HTML in the source is shown as text, and the result is cleaned besides."""
    html = nh3.clean(
        _markdown.render(source or ""),
        tags=_TAGS,
        attributes={"a": {"href", "title"}, "th": {"style"}, "td": {"style"}},
        filter_style_properties={"text-align"},
        url_schemes={"http", "https", "mailto"},
        link_rel="noopener noreferrer",
    )
    return mark_safe(html)  # noqa: S308 - cleaned just above
