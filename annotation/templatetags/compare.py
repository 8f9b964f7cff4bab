"""How two texts differ, and where marks lie, as data that templates render."""

import difflib
import itertools
import re
from collections.abc import Iterable, Mapping
from typing import Any

from django import template

from annotation.models import Project

register = template.Library()

MAX_COMPARISONS = 1_000_000  # words times words; beyond this the changed middle is shown as replaced


@register.simple_tag
def word_diff(before: str, after: str) -> list[tuple[str, str]]:
    """[("equal" | "delete" | "insert", text)]; without deletions they are `after`, but for white space."""
    old, new = _words(before), _words(after)
    old_keys, new_keys = [word.strip() for word in old], [word.strip() for word in new]
    shorter = min(len(old), len(new))
    start = next((i for i in range(shorter) if old_keys[i] != new_keys[i]), shorter)
    shorter -= start
    end = next((i for i in range(shorter) if old_keys[-1 - i] != new_keys[-1 - i]), shorter)
    parts: list[tuple[str, int, int]] = [("equal", start, start)]
    middle_old, middle_new = old_keys[start : len(old) - end], new_keys[start : len(new) - end]
    if len(middle_old) * len(middle_new) > MAX_COMPARISONS:
        parts += [("delete", len(middle_old), 0), ("insert", 0, len(middle_new))]
    else:
        for tag, i1, i2, j1, j2 in difflib.SequenceMatcher(None, middle_old, middle_new).get_opcodes():
            if tag == "equal":
                parts.append((tag, i2 - i1, j2 - j1))
            else:
                parts += [("delete", i2 - i1, 0), ("insert", 0, j2 - j1)]
    parts.append(("equal", end, end))
    found: list[tuple[str, str]] = []
    i = j = 0
    parts = [part for part in parts if part[1] or part[2]]
    for number, (what, from_old, from_new) in enumerate(parts):
        # The old text's blank before a deletion, or the last word that stays would stick to what goes.
        goes_on = number + 1 < len(parts) and parts[number + 1][0] == "delete"
        from_before = what == "delete" or (what == "equal" and goes_on)
        words = old[i : i + from_old] if from_before else new[j : j + from_new]
        i, j = i + from_old, j + from_new
        found.append((what, "".join(words)))
    return found


def _words(text: str) -> list[str]:
    """Words with the white space that follows them."""
    return re.findall(r"\S+\s*|^\s+", text)


@register.simple_tag
def marked(text: str, spans: Iterable[Mapping[str, int]]) -> list[tuple[bool, str]]:
    """[(whether it is marked, text)]: the whole text. Spans are in code points and do not overlap."""
    found, place = [], 0
    for span in sorted(spans, key=lambda span: span["start"]):
        found += [(False, text[place : span["start"]]), (True, text[span["start"] : span["end"]])]
        place = span["end"]
    found.append((False, text[place:]))
    return [part for part in found if part[1]]


@register.simple_tag
def marked_by_whom(text: str, annotations: Iterable[Any]) -> list[dict[str, Any]]:
    """The whole text in parts: {"text", "who": numbers from 1 of those who marked it, "all": whether all of them did}.

    Numbers count the annotations in their order, as the page shows them. Spans are in code points.
    """
    spans = [annotation.spans for annotation in annotations]
    edges = {0, len(text), *(span[end] for some in spans for span in some for end in ("start", "end"))}
    places = sorted(edge for edge in edges if 0 <= edge <= len(text))
    found: list[dict[str, Any]] = []
    for start, end in itertools.pairwise(places):
        who = [
            number
            for number, some in enumerate(spans, 1)
            if any(span["start"] <= start and end <= span["end"] for span in some)
        ]
        if found and found[-1]["who"] == who:
            found[-1]["text"] += text[start:end]
        else:
            found.append({"text": text[start:end], "who": who, "all": bool(who) and len(who) == len(spans)})
    return found


@register.filter
def entry(mapping: Mapping[Any, Any] | str, key: Any) -> Any:
    """The value at a key that the template does not know by name; None where there is none."""
    return mapping.get(key) if isinstance(mapping, Mapping) else None


@register.filter
def in_order(labels: Mapping[str, str], project: Project) -> list[tuple[str, str]]:
    """Labels as (key, level) in the order of the project's dimensions; the database keeps no order of its own."""
    return [(one.key, labels[one.key]) for one in project.dimensions_in_order if one.key in labels]
