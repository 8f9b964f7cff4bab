"""What a pair's page says besides the pair itself. Applications above this one add their part when they start."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from annotation.models import Pair


@dataclass(frozen=True)
class Note:
    """A line of the page. `data(pair)` becomes the template's `data`; where it is empty nothing is shown."""

    template: str
    data: Callable[[Pair], Any]


NOTES: list[Note] = []


def notes_for(pair: Pair) -> list[dict[str, Any]]:
    """Template and data of every note that has something to say about this pair."""
    found = [(note.template, note.data(pair)) for note in NOTES]
    return [{"template": template, "data": data} for template, data in found if data]
