"""Pairs: proposed from annotations, settled by a lead."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.utils import timezone

from annotation import events, validators
from annotation.models import Annotation, Item, ItemKind, Pair, PairStatus

MAX_REASON_LENGTH = 2_000


class ChangedMeanwhile(ValidationError):
    """Someone else changed or settled the pair after this person opened it."""

    def __init__(self, pair: Pair) -> None:
        if pair.settled_by is not None and pair.status != PairStatus.PROPOSED:
            what = f"{pair.settled_by} has settled this pair meanwhile ({pair.get_status_display().lower()})."
        else:
            what = "This pair has changed since you opened it."
        super().__init__(
            f"{what} Nothing of yours was saved; what you wrote is still below. Look again, then decide.",
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

    labels: the majority per dimension, absent where the first place is shared. disagreement: the share of
    dimensions, among those that anybody judged, on which they are not unanimous. rewrite, chosen: the rewrite
    that most wrote alike, else the first one that is not empty.
    """
    keys = dict.fromkeys(key for annotation in annotations for key in annotation.labels)
    votes = {key: [a.labels[key] for a in annotations if key in a.labels] for key in keys}
    labels = {key: level for key in keys if (level := majority(votes[key])) is not None}
    split = sum(len(set(levels)) > 1 for levels in votes.values())
    written = [annotation for annotation in annotations if annotation.rewrite.strip()]
    alike = Counter(annotation.rewrite for annotation in written)
    chosen = max(written, key=lambda annotation: alike[annotation.rewrite], default=None)  # the first of the most
    return {
        "labels": labels,
        "disagreement": split / len(keys) if keys else 0.0,
        "rewrite": chosen.rewrite if chosen else "",
        "chosen": chosen,
    }


def propose(item: Item) -> Pair:
    """Make the item's pair from its annotations, or refresh it while it is proposed. Needs a transaction.

    A settled pair is left alone. One that a lead reopened keeps the lead's rewrite and labels.

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


@transaction.atomic
def propose_early(item: Item) -> Pair:
    """The item's pair, made from the annotations there are; one that exists already stays as it is.

    Raises:
        ValidationError: nobody has annotated the item.
    """
    existing = Pair.objects.filter(item=item).first()
    return existing or propose(item)


def propose_complete(project_id: int, batch: int = 500) -> int:
    """Propose a pair for every complete item that has none, as after a project's overlap was lowered.

    Doing it twice changes nothing. Returns how many pairs were made.
    """
    complete = Item.objects.filter(
        project_id=project_id, kind=ItemKind.WORK, finished__gte=F("overlap"), finished__gt=0
    )
    last, made = 0, 0
    while items := list(complete.filter(pk__gt=last, pair=None).order_by("pk").only("pk", "project_id")[:batch]):
        for item in items:
            with transaction.atomic():
                propose(item)
        last, made = items[-1].pk, made + len(items)
    return made


def settled(item: Item, *, lock: bool = False) -> bool:
    """Whether a lead has approved or rejected the item's pair. With `lock` the answer stays true in the transaction."""
    rows = Pair.objects.select_for_update() if lock else Pair.objects.all()
    pair = rows.filter(item=item).first()
    return pair is not None and pair.status != PairStatus.PROPOSED


# Settling


@transaction.atomic
def approve(pair: Pair, user, *, version: int, rewrite: str, labels: dict[str, str], chosen: int | None = None) -> Pair:
    """Settle a pair with this rewrite and these labels.

    Args:
        version: the pair's version that this person saw. labels: may lack dimensions that stay undecided.
        chosen: id of the annotation whose rewrite was taken, edited or not.

    Raises:
        ValidationError: keyed by field. ChangedMeanwhile: the pair is not as this person saw it.
    """
    locked = _unchanged(pair, version)
    errors: dict[str, Any] = {}
    if not isinstance(rewrite, str) or not rewrite.strip():
        errors["rewrite"] = "An approved pair needs a rewrite."
    else:
        rewrite = validators.normalise_text(rewrite)
        _collect(errors, "rewrite", validators.check_rewrite, rewrite)
    levels = {dimension.key: dimension.levels for dimension in locked.project.dimensions.all()}
    _collect(errors, "labels", validators.check_labels, labels, levels, complete=False)
    if chosen is not None and not Annotation.objects.filter(pk=chosen, item=locked.item_id).exists():
        errors["chosen"] = "The chosen rewrite is not one of this text's annotations."
    if errors:
        raise ValidationError(errors)
    before = decision(locked)
    locked.rewrite, locked.labels, locked.chosen_id, locked.reason = rewrite, labels, chosen, ""
    return _settle(locked, user, PairStatus.APPROVED, before)


@transaction.atomic
def reject(pair: Pair, user, *, version: int, reason: str) -> Pair:
    """Settle that a text gets no pair, and say why.

    Raises:
        ValidationError: keyed by field. ChangedMeanwhile: the pair is not as this person saw it.
    """
    locked = _unchanged(pair, version)
    if not isinstance(reason, str) or not reason.strip():
        raise ValidationError({"reason": "Say why the pair is rejected; the annotators' work stays."})
    validators.check_storable(reason, "The reason")
    if len(reason) > MAX_REASON_LENGTH:
        raise ValidationError(
            {"reason": f"The reason has {len(reason):,} characters; the limit is {MAX_REASON_LENGTH:,}."}
        )
    before = decision(locked)
    locked.reason = reason.strip()
    return _settle(locked, user, PairStatus.REJECTED, before)


@transaction.atomic
def reopen(pair: Pair, user, *, version: int) -> Pair:
    """Back to proposed, with the rewrite and labels it was settled with.

    Raises:
        ChangedMeanwhile: the pair is not as this person saw it.
    """
    locked = _locked(pair)
    if locked.version != version or locked.status == PairStatus.PROPOSED:
        raise ChangedMeanwhile(locked)
    before = decision(locked)
    locked.status, locked.reason, locked.settled_at = PairStatus.PROPOSED, "", None
    locked.version += 1
    locked.save()
    _log(locked, user, "pair.reopened", before)
    return locked


def decision(pair: Pair) -> dict[str, Any]:
    """What a lead decides about a pair, for the log."""
    return {name: getattr(pair, name) for name in ("status", "rewrite", "labels", "chosen_id", "reason")}


def _log(pair: Pair, user, action: str, before: dict[str, Any]) -> None:
    old, new = events.changes(before, decision(pair))
    events.record(
        pair.project_id, user, action, item=pair.item_id, subject=pair.item.external_id, before=old, after=new
    )


def _locked(pair: Pair) -> Pair:
    # The item first, as a submit does: settling marks it, and two that lock in different orders wait for ever.
    Item.objects.select_for_update(no_key=True).filter(pk=pair.item_id).first()
    return Pair.objects.select_for_update(of=("self",)).select_related("project", "item", "settled_by").get(pk=pair.pk)


def _unchanged(pair: Pair, version: int) -> Pair:
    locked = _locked(pair)
    if locked.version != version or locked.status != PairStatus.PROPOSED:
        raise ChangedMeanwhile(locked)
    return locked


def _collect(errors: dict[str, Any], field: str, rule, *args, **kwargs) -> None:
    try:
        rule(*args, **kwargs)
    except ValidationError as error:
        errors[field] = error.messages


def _settle(pair: Pair, user, status: PairStatus, before: dict[str, Any]) -> Pair:
    pair.status, pair.settled_by, pair.settled_at = status, user, timezone.now()
    pair.version += 1
    pair.save()
    # Whoever settles has seen all of them; some may have come after the pair was proposed or imported.
    pair.annotations.set(Annotation.objects.filter(item_id=pair.item_id))
    _log(pair, user, f"pair.{status}", before)
    return pair


# The queue


def in_order(pairs: "QuerySet[Pair]", status: str) -> "QuerySet[Pair]":
    """Pairs of one status: proposed ones with the most disagreement first, settled ones newest first."""
    order = ("-disagreement", "pk") if status == PairStatus.PROPOSED else ("-pk",)
    return pairs.filter(status=status).order_by(*order)


def following(pairs: "QuerySet[Pair]", place: Pair, status: str) -> "QuerySet[Pair]":
    """Those that come after `place` in the order of `in_order`, whatever status it has by now."""
    if status == PairStatus.PROPOSED:
        after = Q(disagreement__lt=place.disagreement) | Q(disagreement=place.disagreement, pk__gt=place.pk)
    else:
        after = Q(pk__lt=place.pk)
    return in_order(pairs.filter(after), status)


def preceding(pairs: "QuerySet[Pair]", place: Pair, status: str) -> "QuerySet[Pair]":
    """Those that come before `place`, the nearest first."""
    if status == PairStatus.PROPOSED:
        before = Q(disagreement__gt=place.disagreement) | Q(disagreement=place.disagreement, pk__lt=place.pk)
        return pairs.filter(before, status=status).order_by("disagreement", "-pk")
    return pairs.filter(status=status, pk__gt=place.pk).order_by("pk")
