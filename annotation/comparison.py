"""Annotations of one item side by side, as data for a page."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from annotation import consensus
from annotation.models import Annotation, Dimension, Item
from annotation.pairs import majority


@dataclass(frozen=True)
class LabelRow:
    """One dimension: what each annotator chose, in the order of the annotations, what most chose, and the consensus.

    confidence: the estimated probability of the consensus, in percent; both are None where there is none.
    """

    dimension: Dimension
    cells: list[dict[str, Any]]  # {"level": str | None, "differs": bool}
    majority: str | None
    unanimous: bool
    consensus: str | None = None
    confidence: float | None = None


@dataclass(frozen=True)
class Comparison:
    item: Item
    annotations: Sequence[Annotation]
    labels: list[LabelRow]
    consensus: dict[str, str] = field(default_factory=dict)  # dimension key -> level; empty where there is none

    @property
    def consensus_json(self) -> str:
        return json.dumps(self.consensus, ensure_ascii=False)


def compare(item: Item, annotations: Sequence[Annotation], dimensions: Iterable[Dimension]) -> Comparison:
    """A level differs when it is not the one that most chose; where the first place is shared, all differ."""
    rows = []
    dimensions = list(dimensions)
    estimated = consensus.labels_for([item.pk]).get(item.pk, {"labels": {}, "confidence": {}})
    known = {
        dimension.key: level
        for dimension in dimensions
        if (level := estimated["labels"].get(dimension.key)) in dimension.levels
    }
    for dimension in dimensions:
        levels = [annotation.labels.get(dimension.key) for annotation in annotations]
        given = [level for level in levels if level is not None]
        most = majority(given)
        unanimous = len(set(given)) <= 1
        cells = [{"level": level, "differs": level is not None and not unanimous and level != most} for level in levels]
        sure = 100 * estimated["confidence"][dimension.key] if dimension.key in known else None
        rows.append(LabelRow(dimension, cells, most, unanimous, known.get(dimension.key), sure))
    return Comparison(item, annotations, rows, known)
