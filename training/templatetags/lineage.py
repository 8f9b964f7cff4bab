"""Lines that say how many pairs of a dataset were withdrawn since it was frozen; nothing where none were."""

from typing import Any

from django import template

from training import lineage
from training.models import Dataset, Split

register = template.Library()


@register.inclusion_tag("training/_withdrawn_note.html")
def withdrawn_note(dataset: Dataset, *, run: Any = None) -> dict[str, Any]:
    """Counted now. On the page of a `run` it speaks of that run's dataset."""
    return withdrawn_line(dataset, lineage.withdrawn_by_split(dataset), run=run)


@register.inclusion_tag("training/_withdrawn_note.html")
def withdrawn_line(dataset: Dataset, counts: dict[str, int], *, run: Any = None) -> dict[str, Any]:
    """Counted before."""
    return {
        "dataset": dataset,
        "run": run,
        "number": sum(counts.values()),
        "counts": [(Split(split).label.lower(), count) for split, count in counts.items()],
    }
