"""Pairs: proposed from annotations, settled by a lead."""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.utils import timezone

from annotation import contention, events, validators, votes
from annotation.models import (
    Annotation,
    Item,
    ItemKind,
    Membership,
    Pair,
    PairRefresh,
    PairStatus,
    Project,
    Role,
    SendBack,
    SentBackState,
)

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

    labels: the majority per dimension, absent where the first place is shared. rewrite, chosen: the rewrite that most
    wrote alike, else the first one that is not empty.
    """
    keys = dict.fromkeys(key for annotation in annotations for key in annotation.labels)
    chosen_levels = {key: [a.labels[key] for a in annotations if key in a.labels] for key in keys}
    labels = {key: level for key in keys if (level := majority(chosen_levels[key])) is not None}
    written = [annotation for annotation in annotations if annotation.rewrite.strip()]
    alike = Counter(annotation.rewrite for annotation in written)
    chosen = max(written, key=lambda annotation: alike[annotation.rewrite], default=None)  # the first of the most
    return {
        "labels": labels,
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
    pair, created = Pair.objects.select_for_update(no_key=True).get_or_create(
        item=item, defaults={"project_id": item.project_id, **summary}
    )
    if pair.status != PairStatus.PROPOSED:
        return pair
    if not created:
        if pair.settled_by_id is not None:
            summary = {}
        elif not summary["rewrite"]:
            del summary["rewrite"]  # an imported one stays
        for name, value in summary.items():
            setattr(pair, name, value)
        pair.version += 1
        pair.before = None  # what a lead decided before holds no more
        pair.save(update_fields=[*summary, "version", "before"])
    links = Pair.annotations.through.objects
    links.bulk_create(
        [Pair.annotations.through(pair=pair, annotation=annotation) for annotation in annotations],
        ignore_conflicts=True,
    )
    _follow(pair)
    return pair


@transaction.atomic
def propose_many(project_id: int, item_ids: Sequence[int]) -> int:
    """What `propose` does for one item without a pair, for many in a few statements. Returns how many it made."""
    list(Item.objects.select_for_update(no_key=True).filter(pk__in=item_ids).order_by("pk").values_list("pk"))
    have = set(Pair.objects.filter(item_id__in=item_ids).values_list("item_id", flat=True))
    by_item: dict[int, list[Annotation]] = {}
    for annotation in Annotation.objects.filter(item_id__in=item_ids).order_by("pk"):
        by_item.setdefault(annotation.item_id, []).append(annotation)
    made = Pair.objects.bulk_create(
        Pair(project_id=project_id, item_id=pk, **summarise(found))
        for pk, found in sorted(by_item.items())
        if pk not in have
    )
    links = Pair.annotations.through
    links.objects.bulk_create(
        links(pair_id=pair.pk, annotation_id=annotation.pk) for pair in made for annotation in by_item[pair.item_id]
    )
    items = [pair.item_id for pair in made]
    votes.ask(items)
    contention.refresh(items)
    return len(made)


def _follow(pair: Pair) -> None:
    """What comes of any change of a pair: what is put to the vote, and the facts about it."""
    votes.ask([pair.item_id])
    contention.refresh([pair.item_id])


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


def proposed(item: Item) -> bool:
    """Whether a pair is proposed for the item, early or not."""
    return Pair.objects.filter(item=item, status=PairStatus.PROPOSED).exists()


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
            complete = [item.pk for item in batch if item.finished and item.finished >= item.overlap]
            made = propose_many(job.project_id, complete)
            list(Pair.objects.filter(item__in=ids).order_by("pk").select_for_update(no_key=True).values_list("pk"))
            votes.ask(ids)
            contention.refresh(ids)
            job.last_item, job.proposed = ids[-1], job.proposed + made
            PairRefresh.objects.filter(pk=job.pk).update(last_item=job.last_item, proposed=job.proposed)
        done += len(batch)
        job.report(done, total, f"Looked at {done:,} texts, proposed {job.proposed:,} pairs")
    return {"message": f"Looked at {done:,} texts, proposed {job.proposed:,} pairs."}


def settled(item: Item, *, lock: bool = False) -> bool:
    """Whether a lead has approved or rejected the item's pair. With `lock` the answer stays true in the transaction."""
    rows = Pair.objects.select_for_update(no_key=True) if lock else Pair.objects.all()
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
    remember(locked)
    locked.rewrite, locked.labels, locked.chosen_id, locked.reason = rewrite, labels, chosen, ""
    return _settle(locked, user, PairStatus.APPROVED)


@transaction.atomic
def reject(pair: Pair, user, *, version: int, reason: str) -> Pair:
    """Settle that a text gets no pair, and say why.

    Raises:
        ValidationError: keyed by field. ChangedMeanwhile: the pair is not as this person saw it.
    """
    locked = _unchanged(pair, version)
    reason = clean_reason(reason, "Say why the pair is rejected; the annotators' work stays.")
    remember(locked)
    locked.reason = reason
    return _settle(locked, user, PairStatus.REJECTED)


def clean_reason(reason: Any, missing: str) -> str:
    """A lead's reason, checked. Raises ValidationError, keyed by `reason`; `missing` is what to say of an empty one."""
    if not isinstance(reason, str) or not reason.strip():
        raise ValidationError({"reason": missing})
    errors: dict[str, Any] = {}
    _collect(errors, "reason", validators.check_storable, reason, "The reason")
    if len(reason) > MAX_REASON_LENGTH:
        errors["reason"] = f"The reason has {len(reason):,} characters; the limit is {MAX_REASON_LENGTH:,}."
    if errors:
        raise ValidationError(errors)
    return validators.normalise_text(reason.strip())


@transaction.atomic
def reopen(pair: Pair, user, *, version: int) -> Pair:
    """Back to proposed, with the rewrite and labels it was settled with.

    Raises:
        ChangedMeanwhile: the pair is not as this person saw it.
    """
    locked = _locked(pair)
    if locked.version != version or locked.status == PairStatus.PROPOSED:
        raise ChangedMeanwhile(locked)
    remember(locked)
    locked.status, locked.reason, locked.settled_at, locked.batch = PairStatus.PROPOSED, "", None, None
    return _save(locked, user, "pair.reopened")


@transaction.atomic
def undo(pair: Pair, user, *, version: int) -> Pair:
    """Take a lead's last decision on this pair back: all is as it was before, but for the version and the log.

    Raises:
        ChangedMeanwhile: the pair is not as this person saw it. ValidationError: there is nothing to undo.
    """
    locked = _locked(pair)
    if locked.version != version:
        raise ChangedMeanwhile(locked)
    if locked.before is None:
        raise ValidationError("There is no decision on this pair that could be undone.")
    state = dict(locked.before)
    sent = SendBack.objects.filter(pair=locked)
    sent.filter(pk__in=state.pop("withdrawn", [])).update(withdrawn_at=None)
    sent.filter(pk=state.pop("sent", None)).update(withdrawn_at=timezone.now())
    decided = decision(locked)
    for name, value in state.items():
        setattr(locked, name, datetime.fromisoformat(value) if name == "settled_at" and value else value)
    locked.version, locked.before = locked.version + 1, None
    locked.save()
    _follow(locked)
    _log(locked, user, "pair.undone", decided)
    return locked


# What a decision changes besides the texts, and undoing it brings back.
STATE = (
    *("status", "rewrite", "labels", "chosen_id", "reason", "sent_back", "settled_by_id", "settled_at", "batch_id"),
)


def remember(pair: Pair) -> None:
    """Keep on the pair how it is now, so that the decision that follows can be undone."""
    state = {name: getattr(pair, name) for name in STATE}
    state["settled_at"] = pair.settled_at and pair.settled_at.isoformat()
    pair.before = state


def decision(pair: Pair) -> dict[str, Any]:
    """What a lead decides about a pair, for the log."""
    return {name: getattr(pair, name) for name in ("status", "rewrite", "labels", "chosen_id", "reason", "sent_back")}


def _log(pair: Pair, user, action: str, before: dict[str, Any]) -> None:
    old, new = events.changes(before, decision(pair))
    events.record(
        pair.project_id, user, action, item=pair.item_id, subject=pair.item.external_id, before=old, after=new
    )


def _locked(pair: Pair) -> Pair:
    # The item first, as a submit does: settling marks it, and two that lock in different orders wait for ever.
    Item.objects.select_for_update(no_key=True).filter(pk=pair.item_id).first()
    return (
        Pair.objects.select_for_update(of=("self",), no_key=True)
        .select_related("project", "item", "settled_by")
        .get(pk=pair.pk)
    )


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


def _settle(pair: Pair, user, status: PairStatus) -> Pair:
    pair.status, pair.settled_by, pair.settled_at = status, user, timezone.now()
    pair.sent_back, pair.batch = "", None
    asked = SendBack.objects.filter(pair=pair, answered_at=None, withdrawn_at=None)
    assert pair.before is not None
    pair.before["withdrawn"] = list(asked.values_list("pk", flat=True))  # nobody need answer any more
    asked.update(withdrawn_at=pair.settled_at)
    # Whoever settles has seen all of them; some may have come after the pair was proposed or imported.
    pair.annotations.set(Annotation.objects.filter(item_id=pair.item_id))
    return _save(pair, user, f"pair.{status}")


def _save(pair: Pair, user, action: str) -> Pair:
    """Write a decision on a pair that `remember` was called for."""
    pair.version += 1
    pair.save()
    _follow(pair)
    _log(pair, user, action, {name: pair.before[name] for name in decision(pair)})  # type: ignore[index]
    return pair


# Sending back


@transaction.atomic
def send_back(pair: Pair, user, *, version: int, annotation: int, reason: str) -> SendBack:
    """Ask one annotator to look at their annotation again, and say why. The pair stays proposed.

    Args:
        annotation: id of the annotation.

    Raises:
        ValidationError: keyed by field. ChangedMeanwhile: the pair is not as this person saw it.
    """
    locked = _unchanged(pair, version)
    reason = clean_reason(reason, "Say what the annotator should look at again.")
    found = Annotation.objects.filter(pk=annotation, item=locked.item_id).select_related("annotator").first()
    if found is None:
        raise ValidationError({"annotation": "Choose one of this text's annotations."})
    people = Membership.objects.filter(project=locked.project, user=found.annotator_id, role=Role.ANNOTATOR)
    if not people.exists():
        raise ValidationError({"annotation": f"{found.annotator} is no annotator of this project any more."})
    if found.send_backs.filter(answered_at=None, withdrawn_at=None).exists():
        raise ValidationError({"annotation": f"It was sent back to {found.annotator} already and waits for an answer."})
    remember(locked)
    sent = SendBack.objects.create(project=locked.project, pair=locked, annotation=found, reason=reason, sent_by=user)
    assert locked.before is not None
    locked.before["sent"] = sent.pk
    locked.sent_back = SentBackState.WAITING
    locked.version += 1
    locked.save()
    after = {"annotator": found.annotator.get_username(), "reason": reason}
    subject = locked.item.external_id
    events.record(locked.project_id, user, "pair.sent_back", item=locked.item_id, subject=subject, after=after)
    return sent


@transaction.atomic
def keep(user, pk: int, answer: str) -> SendBack:
    """An annotator leaves their annotation as it is, and says why.

    Raises:
        SendBack.DoesNotExist: not theirs, or nobody waits for it any more. ValidationError: keyed by `answer`.
    """
    mine = waiting(user).select_related("pair__item", "annotation")
    Pair.objects.select_for_update(no_key=True).get(pk=mine.values_list("pair_id", flat=True).get(pk=pk))
    sent = mine.get(pk=pk)
    try:
        sent.answer = clean_reason(answer, "Say why it should stay as it is.")
    except ValidationError as error:
        raise ValidationError({"answer": error.messages}) from None
    _answered(sent, user)
    Pair.objects.filter(pk=sent.pair_id).update(version=F("version") + 1, before=None)
    return sent


def revised(annotation: Annotation) -> None:
    """The annotator changed an annotation: if it was sent back, that is the answer. Needs the pair's lock."""
    sent = SendBack.objects.filter(annotation=annotation, answered_at=None, withdrawn_at=None)
    for one in sent.select_related("pair__item"):
        one.changed = True
        _answered(one, annotation.annotator)


def _answered(sent: SendBack, user) -> None:
    sent.answered_at = timezone.now()
    sent.save()
    others = SendBack.objects.filter(pair=sent.pair_id, answered_at=None, withdrawn_at=None)
    if not others.exists():
        Pair.objects.filter(pk=sent.pair_id, status=PairStatus.PROPOSED).update(sent_back=SentBackState.ANSWERED)
    after = {"answer": "changed" if sent.changed else sent.answer}
    item = sent.pair.item
    events.record(sent.project_id, user, "pair.answered", item=item, subject=item.external_id, after=after)


def waiting(user) -> "QuerySet[SendBack]":
    """What was sent back to this person, where they are an annotator still, and waits for their answer."""
    mine = SendBack.objects.filter(annotation__annotator_id=user.pk, answered_at=None, withdrawn_at=None)
    return mine.visible_to(user, Role.ANNOTATOR).select_related("annotation__item").order_by("pk")


# The queue


def in_order(pairs: "QuerySet[Pair]", status: str) -> "QuerySet[Pair]":
    """Pairs of one status: proposed ones with the most contested first, settled ones newest first."""
    order = ("-contested", "pk") if status == PairStatus.PROPOSED else ("-pk",)
    return pairs.filter(status=status).order_by(*order)


def following(pairs: "QuerySet[Pair]", place: Pair, status: str) -> "QuerySet[Pair]":
    """Those that come after `place` in the order of `in_order`, whatever status it has by now."""
    if status == PairStatus.PROPOSED:
        after = Q(contested__lt=place.contested) | Q(contested=place.contested, pk__gt=place.pk)
    else:
        after = Q(pk__lt=place.pk)
    return in_order(pairs.filter(after), status)


def preceding(pairs: "QuerySet[Pair]", place: Pair, status: str) -> "QuerySet[Pair]":
    """Those that come before `place`, the nearest first."""
    if status == PairStatus.PROPOSED:
        before = Q(contested__gt=place.contested) | Q(contested=place.contested, pk__lt=place.pk)
        return pairs.filter(before, status=status).order_by("contested", "-pk")
    return pairs.filter(status=status, pk__gt=place.pk).order_by("pk")
