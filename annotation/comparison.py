"""Annotations of one item side by side, as data for a page."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from annotation.models import Annotation, Dimension, Item
from annotation.pairs import majority


@dataclass(frozen=True)
class LabelRow:
    """One dimension: what each annotator chose, in the order of the annotations, and what most chose."""

    dimension: Dimension
    cells: list[dict[str, Any]]  # {"level": str | None, "differs": bool}
    majority: str | None
    unanimous: bool


@dataclass(frozen=True)
class Comparison:
    item: Item
    annotations: Sequence[Annotation]
    labels: list[LabelRow]


def compare(item: Item, annotations: Sequence[Annotation], dimensions: Iterable[Dimension]) -> Comparison:
    """A level differs when it is not the one that most chose; where the first place is shared, all differ."""
    rows = []
    for dimension in dimensions:
        levels = [annotation.labels.get(dimension.key) for annotation in annotations]
        given = [level for level in levels if level is not None]
        most = majority(given)
        unanimous = len(set(given)) <= 1
        cells = [{"level": level, "differs": level is not None and not unanimous and level != most} for level in levels]
        rows.append(LabelRow(dimension, cells, most, unanimous))
    return Comparison(item, annotations, rows)
