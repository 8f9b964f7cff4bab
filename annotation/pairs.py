"""Pairs: proposed from annotations, settled by a lead."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from django.core.exceptions import ValidationError


from annotation.models import Annotation, Item, Pair, PairStatus


class ChangedMeanwhile(ValidationError):
    """Someone else changed or settled the pair after this person opened it."""

    def __init__(self, pair: Pair) -> None:
        if pair.settled_by is not None and pair.status != PairStatus.PROPOSED:
            what = f"{pair.settled_by} has settled this pair meanwhile ({pair.get_status_display().lower()})."
        else:
            what = "This pair has changed since you opened it."
        super().__init__(
            f"{what} Nothing of yours was saved; what you wrote is still below. Look at the new state, then decide.",
            code="changed_meanwhile",
        )


# Proposing


def majority(votes: Iterable[str]) -> str | None:
    """The level named most often, or None when the first place is shared."""
    first = Counter(votes).most_common(2)
    if not first or (len(first) == 2 and first[0][1] == first[1][1]):
        return None
    return first[0][0]


def summarise(annotations: Sequence[Annotation]) -> dict[str, Any]:
    """What annotators of one item agree on, as fields of Pair.

    labels: the majority per dimension, absent where the first place is shared. disagreement: the share of dimensions,
    among those that anybody judged, on which they are not unanimous. rewrite, chosen: the rewrite that most wrote
    alike, else the first one that is not empty.
    """
    keys = dict.fromkeys(key for annotation in annotations for key in annotation.labels)
    votes = {key: [a.labels[key] for a in annotations if key in a.labels] for key in keys}
    labels = {key: level for key in keys if (level := majority(votes[key])) is not None}
    split = sum(len(set(levels)) > 1 for levels in votes.values())
    written = [annotation for annotation in annotations if annotation.rewrite.strip()]
    alike = Counter(annotation.rewrite for annotation in written)
    chosen = max(
        written, key=lambda annotation: alike[annotation.rewrite], default=None
    )  # the first of the most
    return {
        "labels": labels,
        "disagreement": split / len(keys) if keys else 0.0,
        "rewrite": chosen.rewrite if chosen else "",
        "chosen": chosen,
    }


def propose(item: Item) -> Pair:
    """Make the item's pair from its annotations, or refresh it while it is proposed. Call inside a transaction.

    A settled pair is left alone. A pair that a lead had settled and reopened keeps the lead's rewrite and labels.

    Raises:
        ValidationError: nobody has annotated the item.
    """
    annotations = list(Annotation.objects.filter(item=item).order_by("pk"))
    if not annotations:
        raise ValidationError("Nobody has annotated this text yet.")
    summary = summarise(annotations)
    pair, created = Pair.objects.select_for_update().get_or_create(
        item=item, defaults={"project_id": item.project_id, **summary}
    )
    if pair.status != PairStatus.PROPOSED:
        return pair
    if not created:
        if pair.settled_by_id is not None:
            summary = {"disagreement": summary["disagreement"]}
        elif not summary["rewrite"]:
            del summary["rewrite"]  # an imported one stays
        for name, value in summary.items():
            setattr(pair, name, value)
        pair.version += 1
        pair.save(update_fields=[*summary, "version"])
    links = Pair.annotations.through.objects
    links.bulk_create(
        [Pair.annotations.through(pair=pair, annotation=annotation) for annotation in annotations],
        ignore_conflicts=True,
    )
    return pair


def settled(item: Item) -> bool:
    """Whether a lead has approved or rejected the item's pair."""
    return Pair.objects.filter(item=item).exclude(status=PairStatus.PROPOSED).exists()
