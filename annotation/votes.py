"""Rewrites judged by others: what is put to the vote, who gets it next, and what they say.

A vote belongs to one exact rewrite of a text that has all its annotations. A rewrite that changes is another row with
votes of its own; the old row keeps those it has. PostgreSQL bounds the votes of a rewrite and keeps authors from
voting on their own (see annotation/models/votes.py).

Locks are taken in the order item, pair, vote, rewrite, so that deciding, proposing and voting never wait in a circle.
"""

import logging
import random
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection, models, transaction
from django.db.models import Exists, F, OuterRef, Prefetch, QuerySet
from django.utils import timezone

from annotation import contention, practice, validators, wellbeing
from annotation.models import Annotation, Pair, PairStatus, Project, Rewrite, RewriteVote, VoteState

logger = logging.getLogger(__name__)

MAX_COMMENT_LENGTH = 2_000
# So many rewrites are looked at to find one of a text that the voter has not annotated.
SAMPLE = 40
EXPIRY_LOCK = 7_361_402

# What is to be voted on, of the items given: the rewrite that the pair proposes, and with "every" all that annotators
# wrote.
ASK = """
WITH wanted AS (
    SELECT pair.item_id, pair.project_id, written.text, project.votes_per_rewrite AS votes
    FROM annotation_pair pair
    JOIN annotation_item item ON item.id = pair.item_id
    JOIN annotation_project project ON project.id = pair.project_id
    CROSS JOIN LATERAL (
        SELECT pair.rewrite AS text
        UNION
        SELECT rewrite FROM annotation_annotation
        WHERE item_id = pair.item_id AND project.voted_rewrites = 'every'
    ) written
    WHERE pair.item_id = ANY(%(items)s) AND pair.status = 'proposed' AND item.kind = 'work'
        AND item.finished > 0 AND item.finished >= item.overlap
        AND project.votes_per_rewrite > 0 AND written.text ~ '\\S'
), authored AS (
    SELECT wanted.*, ARRAY(
        SELECT annotator_id FROM annotation_annotation
        WHERE item_id = wanted.item_id AND rewrite = wanted.text
    ) AS authors
    FROM wanted
), asked AS (
    INSERT INTO annotation_rewrite (project_id, item_id, text, authors, open, wanted, created_at)
    SELECT project_id, item_id, text, authors, true, votes, now() FROM authored ORDER BY item_id, md5(text)
    ON CONFLICT (item_id, digest) DO UPDATE SET
        open = true,
        wanted = GREATEST(EXCLUDED.wanted, annotation_rewrite.taken),
        authors = ARRAY(SELECT DISTINCT unnest(annotation_rewrite.authors || EXCLUDED.authors))
    WHERE NOT annotation_rewrite.open
        OR annotation_rewrite.wanted <> GREATEST(EXCLUDED.wanted, annotation_rewrite.taken)
        OR NOT annotation_rewrite.authors @> EXCLUDED.authors
)
UPDATE annotation_rewrite SET open = false
WHERE id IN (
    SELECT id FROM annotation_rewrite rewrite
    WHERE item_id = ANY(%(items)s) AND open
        AND NOT EXISTS (SELECT FROM authored WHERE item_id = rewrite.item_id AND text = rewrite.text)
    ORDER BY id FOR UPDATE
)
"""


def ask(item_ids: Sequence[int]) -> None:
    """Put to the vote what should be of these items, and stop asking about everything else of theirs.

    Call it with the pairs locked, in the transaction that changed them.
    """
    with connection.cursor() as cursor:
        cursor.execute(ASK, {"items": list(item_ids)})


# The votes on each rewrite of a queryset, as its `given`, oldest first.
GIVEN = Prefetch(
    "cast",
    RewriteVote.objects.filter(state=VoteState.GIVEN).select_related("voter").order_by("pk"),
    to_attr="given",
)


# Handing out


class NoLongerWanted(ValidationError):
    """The rewrite got its votes from others while this person was away. What was sent is kept as the draft."""

    def __init__(self) -> None:
        super().__init__(
            "You were away for a while and others have judged this rewrite. Your vote is no longer needed.",
            code="no_longer_wanted",
        )


def open_rewrites(project: Project) -> "QuerySet[Rewrite]":
    """Rewrites of the project that want a vote now: their text has all its annotations and is not settled."""
    return Rewrite.objects.filter(
        project=project,
        open=True,
        taken__lt=F("wanted"),
        item__finished__gte=F("item__overlap"),
        item__retired_at=None,
    )


def next_vote(user, project: Project) -> RewriteVote | None:
    """The vote this person holds, or one on the next rewrite at random; None when nothing is left for them.

    Never on a rewrite of their own, and never twice on the same one. Rewrites of texts that they did not annotate come
    first, so that people rarely see others' rewrites of a text whose annotation they could still change. Kinds of
    content that they declined are left out.

    Raises:
        practice.PracticeNeeded: the project's practice comes first. wellbeing.LimitReached: they hold nothing and have
            read as many texts today as the project or they themselves allow.
    """
    practice.check_passed(user, project)
    for attempt in range(3):
        try:
            with transaction.atomic():
                if vote := _held(user, project):
                    return vote
                choices = wellbeing.choices_of(user, project)
                wellbeing.check_limit(user, project, choices)
                wanted = open_rewrites(project)
                if choices.declined_kinds:
                    wanted = wanted.exclude(item__content_kinds__has_any_keys=choices.declined_kinds)
                if vote := _resume(user, project, wanted) or _take(user, project, wanted):
                    return vote
        except IntegrityError:  # the same person in another tab was faster: use what they hold
            logger.info("%s asked for two rewrites at once in project %s", user.pk, project.pk)
            continue
        if attempt == 0 and not expire_leases(project):
            return None
    return None


def _lease(project: Project):
    return timezone.now() + timedelta(minutes=project.lease_minutes)


def _held(user, project: Project) -> RewriteVote | None:
    mine = RewriteVote.objects.filter(project=project, voter=user).select_related("rewrite__item")
    held = mine.select_for_update(of=("self",), no_key=True).filter(state=VoteState.HELD).first()
    if held is None:
        return None
    item = held.rewrite.item
    if not held.rewrite.open or item.finished < item.overlap or item.retired_at is not None:
        held.state = VoteState.EXPIRED  # changed, settled or open again meanwhile
        held.save(update_fields=["state"])
        return None
    if held.lease_until < _lease(project) - timedelta(minutes=project.lease_minutes / 2):
        held.lease_until = _lease(project)
        held.save(update_fields=["lease_until"])
    return held


def _resume(user, project: Project, wanted: "QuerySet[Rewrite]") -> RewriteVote | None:
    mine = RewriteVote.objects.filter(project=project, voter=user).select_related("rewrite__item")
    for vote in mine.filter(state=VoteState.EXPIRED, rewrite__in=wanted).order_by("pk")[:3]:
        if wanted.filter(pk=vote.rewrite_id).select_for_update(of=("self",), no_key=True).exists():
            vote.state, vote.lease_until = VoteState.HELD, _lease(project)
            vote.save(update_fields=["state", "lease_until"])
            return vote
    return None


def _take(user, project: Project, wanted: "QuerySet[Rewrite]") -> RewriteVote | None:
    mine = RewriteVote.objects.filter(voter=user, rewrite=OuterRef("pk"))
    free = wanted.exclude(authors__contains=[user.pk]).filter(~Exists(mine))
    annotated = Annotation.objects.filter(item=OuterRef("item_id"), annotator=user)
    rows = free.order_by("shuffle").annotate(annotated=Exists(annotated)).values_list("pk", "annotated")
    # Everybody starts at a place of their own in the random order, and goes round.
    start = random.random()  # noqa: S311
    found = list(rows.filter(shuffle__gte=start)[:SAMPLE])
    if len(found) < SAMPLE:
        found += list(rows.filter(shuffle__lt=start)[: SAMPLE - len(found)])
    for pk, _ in sorted(found, key=lambda row: row[1]):
        rewrite = free.filter(pk=pk).select_for_update(skip_locked=True, of=("self",), no_key=True).first()
        if rewrite is not None:
            return _hold(user, project, rewrite)
    # Rows that were locked a moment ago may still be free: wait for one rather than say that nothing is left.
    rewrite = free.order_by("shuffle").select_for_update(of=("self",), no_key=True).first() if found else None
    return _hold(user, project, rewrite) if rewrite is not None else None


def _hold(user, project: Project, rewrite: Rewrite) -> RewriteVote:
    return RewriteVote.objects.create(project=project, rewrite=rewrite, voter=user, lease_until=_lease(project))


def expire_leases(project: Project | None = None) -> int:
    """Let others judge what somebody has held for longer than the lease. Drafts stay. Returns how many."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [EXPIRY_LOCK])
        late = RewriteVote.objects.filter(state=VoteState.HELD, lease_until__lt=timezone.now())
        if project:
            late = late.filter(project=project)
        locked = late.select_for_update(skip_locked=True, of=("self",), no_key=True).order_by("rewrite_id")[:1000]
        return RewriteVote.objects.filter(pk__in=[row.pk for row in locked]).update(state=VoteState.EXPIRED)


# Voting


def clean_answers(answers: dict[str, Any], *, complete: bool) -> dict[str, Any]:
    """What a voter decided, checked: the fields of RewriteVote.ANSWERS.

    Args:
        complete: False for a draft, which may lack answers.

    Raises:
        ValidationError: keyed by field, every field checked.
    """
    cleaned = {
        "safe": answers.get("safe"),
        "keeps_meaning": answers.get("keeps_meaning"),
        "cannot_judge": answers.get("cannot_judge") or False,
        "comment": answers.get("comment") or "",
    }
    errors: dict[str, Any] = {}
    for name in ("safe", "keeps_meaning"):
        if cleaned[name] not in (None, True, False) or isinstance(cleaned[name], float):
            errors[name] = "Answer true or false."
    if not isinstance(cleaned["cannot_judge"], bool):
        errors["cannot_judge"] = "Answer true or false."
    if not isinstance(cleaned["comment"], str):
        errors["comment"] = "The comment must be text."
    else:
        cleaned["comment"] = validators.normalise_text(cleaned["comment"])
        try:
            validators.check_storable(cleaned["comment"], "The comment")
        except ValidationError as error:
            errors["comment"] = error.messages
        if len(cleaned["comment"]) > MAX_COMMENT_LENGTH:
            length = len(cleaned["comment"])
            errors["comment"] = f"The comment has {length:,} characters; the limit is {MAX_COMMENT_LENGTH:,}."
    if complete and cleaned["cannot_judge"]:
        cleaned["safe"] = cleaned["keeps_meaning"] = None
    elif complete:
        if cleaned["safe"] is None:
            errors.setdefault("safe", "Say whether the rewrite is safe, or that you cannot judge it.")
        if cleaned["keeps_meaning"] is None:
            errors.setdefault("keeps_meaning", "Say whether it keeps the meaning, or that you cannot judge it.")
    if errors:
        raise ValidationError(errors)
    return cleaned


def save_draft(user, pk: int, answers: dict[str, Any]) -> RewriteVote:
    """Keep what a voter has chosen so far, and their hold. A given vote is left alone.

    Raises:
        RewriteVote.DoesNotExist: not theirs. ValidationError: the draft cannot be stored.
    """
    vote = RewriteVote.objects.of(user).get(pk=pk)
    draft = clean_answers(answers, complete=False)
    rows = RewriteVote.objects.filter(pk=pk).exclude(state=VoteState.GIVEN)
    held = models.When(state=VoteState.HELD, then=models.Value(_lease(vote.project)))
    rows.update(draft=draft, lease_until=models.Case(held, default=F("lease_until")))
    vote.draft = draft
    return vote


def give(user, pk: int, answers: dict[str, Any], revision: int | None = None) -> RewriteVote:
    """Give a vote, or with `revision` change one that was given. A vote that arrives twice counts once.

    Args:
        revision: the revision that was on screen, when a given vote is changed.

    Raises:
        RewriteVote.DoesNotExist: not theirs. NoLongerWanted: the lease ran out and others have judged the rewrite.
        ValidationError: keyed by field; or the pair is settled; or the vote was changed elsewhere.
    """
    try:
        return _give(user, pk, answers, revision)
    except NoLongerWanted:
        save_draft(user, pk, answers)
        raise


@transaction.atomic
def _give(user, pk: int, answers: dict[str, Any], revision: int | None) -> RewriteVote:
    item_id = RewriteVote.objects.of(user).values_list("rewrite__item_id", flat=True).get(pk=pk)
    pair = Pair.objects.select_for_update(no_key=True).filter(item=item_id).first()
    vote = RewriteVote.objects.of(user).select_for_update(of=("self",), no_key=True).get(pk=pk)
    if vote.state == VoteState.GIVEN and revision is None:
        return vote
    cleaned = clean_answers(answers, complete=True)
    if vote.state == VoteState.GIVEN:
        if cleaned == vote.answers():
            return vote
        if pair is not None and pair.status != PairStatus.PROPOSED:
            raise ValidationError("The lead has settled this text; votes on it can no longer change.")
        if revision != vote.revision:
            raise ValidationError(
                f"You changed this vote elsewhere meanwhile (revision {vote.revision}, here {revision}). "
                "Open it again to see that revision."
            )
        if vote.cannot_judge and not cleaned["cannot_judge"] and not _room(vote):
            raise ValidationError("Others have judged this rewrite meanwhile; your vote is no longer needed.")
        vote.earlier = [*vote.earlier, vote.answers()]
        vote.revision += 1
    else:
        if vote.state == VoteState.EXPIRED and not cleaned["cannot_judge"] and not _room(vote):
            raise NoLongerWanted
        vote.given_at = timezone.now()
    for name, value in cleaned.items():
        setattr(vote, name, value)
    vote.state, vote.draft = VoteState.GIVEN, None
    vote.save()
    if pair is not None:
        contention.refresh([item_id])
    return vote


def _room(vote: RewriteVote) -> bool:
    """Whether the rewrite wants another vote, with its row locked so that the answer stays true."""
    return Rewrite.objects.select_for_update(no_key=True).filter(pk=vote.rewrite_id, taken__lt=F("wanted")).exists()


def previous_vote(user, project: Project, before: int | None = None) -> RewriteVote | None:
    """The last vote this person gave in the project, or the last one before a given one."""
    mine = RewriteVote.objects.of(user).filter(project=project, state=VoteState.GIVEN)
    if before is not None:
        mine = mine.filter(pk__lt=before)
    return mine.order_by("-pk").first()


def settled(vote: RewriteVote) -> bool:
    """Whether a lead has settled the text, so that the vote cannot change any more."""
    return Pair.objects.filter(item=vote.rewrite.item_id).exclude(status=PairStatus.PROPOSED).exists()


def annotated(vote: RewriteVote) -> bool:
    """Whether the voter annotated the text themselves: then the vote closes their annotation."""
    return Annotation.objects.filter(item=vote.rewrite.item_id, annotator=vote.voter_id).exists()


def given_today(user, project: Project) -> int:
    """How many votes this person has given since midnight (server's time zone)."""
    mine = RewriteVote.objects.filter(project=project, voter=user, state=VoteState.GIVEN)
    return mine.filter(given_at__gte=wellbeing.midnight()).count()
