"""Pairs: proposed from annotations, settled by a lead."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from annotation import events, validators, votes
from annotation.models import Annotation, Item, ItemKind, Pair, PairRefresh, PairStatus, Project

MAX_REASON_LENGTH = 2_000
BATCH = 500  # items between two reports of a job


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
    chosen_levels = {key: [a.labels[key] for a in annotations if key in a.labels] for key in keys}
    labels = {key: level for key in keys if (level := majority(chosen_levels[key])) is not None}
    split = sum(len(set(levels)) > 1 for levels in chosen_levels.values())
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
    votes.ask([item.pk])
    return pair


@transaction.atomic
def propose_early(item: Item) -> Pair:
    """The item's pair, made from the annotations there are; one that exists already stays as it is.

    Raises:
        ValidationError: nobody has annotated the item.
    """
    if item.kind != ItemKind.WORK:
        raise ValidationError("Practice, gold and repeated texts give no pairs.")
    existing = Pair.objects.filter(item=item).first()
    return existing or propose(item)


def refresh_later(project: Project, user) -> PairRefresh:
    """A job that brings the project's pairs in line with its settings; call it where these are changed."""
    from annotation import tasks

    job = PairRefresh.objects.create(project=project, created_by=user)
    job.queue(tasks.execute_pair_refresh)
    return job


def refresh(job: PairRefresh) -> dict[str, Any]:
    """Do the work of a refresh: propose for complete items without a pair, and put to the vote what should be.

    Items are taken in batches, one transaction each, and the job remembers how far it came.
    """
    items = Item.objects.filter(project=job.project_id, kind=ItemKind.WORK)
    total = items.count()
    done = items.filter(pk__lte=job.last_item).count()
    while batch := list(items.filter(pk__gt=job.last_item).order_by("pk")[:BATCH]):
        with transaction.atomic():
            job.beat()
            ids = [item.pk for item in batch]
            having = set(Pair.objects.filter(item__in=ids).values_list("item_id", flat=True))
            complete = [i for i in batch if i.finished and i.finished >= i.overlap and i.pk not in having]
            for item in complete:
                propose(item)
            list(Pair.objects.filter(item__in=having).order_by("pk").select_for_update().values_list("pk"))
            votes.ask(sorted(having))
            job.last_item, job.proposed = ids[-1], job.proposed + len(complete)
            PairRefresh.objects.filter(pk=job.pk).update(last_item=job.last_item, proposed=job.proposed)
        done += len(batch)
        job.report(done, total, f"Looked at {done:,} texts, proposed {job.proposed:,} pairs")
    return {"message": f"Looked at {done:,} texts, proposed {job.proposed:,} pairs."}


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
    votes.ask([locked.item_id])
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
    votes.ask([pair.item_id])  # which ends the vote
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
