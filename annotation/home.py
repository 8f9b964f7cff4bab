"""What the home page shows besides projects. Applications above this one add their part when they start."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Section:
    """A part of the home page. `data(user)` becomes the template's `data`; where it is empty nothing is shown."""

    template: str
    data: Callable[[Any], Any]


SECTIONS: list[Section] = []


def sections_for(user) -> list[dict[str, Any]]:
    """Template and data of every section that has something for this person."""
    found = [(section.template, section.data(user)) for section in SECTIONS]
    return [{"template": template, "data": data} for template, data in found if data]
