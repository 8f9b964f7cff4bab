"""The practice round: texts with a known answer, shown after each one, with a pass mark before the real work."""

import random
from typing import Any

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import Count, F, Max, OuterRef, Q, Subquery
from django.db.models.functions import Coalesce
from django.utils import timezone

from annotation import events, gold, wellbeing
from annotation.models import (
    Dimension,
    Membership,
    PracticeAnswer,
    PracticeRound,
    PracticeStanding,
    Project,
    Role,
    RoundState,
    Scale,
)
from annotation.validators import PreconditionNeeded

NEAR = 0.5  # what a near miss is worth, where the lead says so


class PracticeNeeded(PreconditionNeeded):
    """This person must pass the project's practice before they get a text."""

    def __init__(self, project: Project) -> None:
        super().__init__("Pass the practice round of this project first; then you get texts.", code="practice_needed")
        self.project = project


class NoTriesLeft(PreconditionNeeded):
    """All retries are used up."""

    def __init__(self) -> None:
        super().__init__(
            "You have used all your tries. Ask the project's lead, who can let you try again.", code="no_tries_left"
        )


def needed(user, project: Project) -> bool:
    """Whether this person must still pass the practice."""
    if not gold.settings_of(project).practice:
        return False
    return not PracticeStanding.objects.filter(project=project, annotator=user, passed_at__isnull=False).exists()


def check_passed(user, project: Project) -> None:
    """Raises PracticeNeeded unless this person may have real texts."""
    if needed(user, project):
        raise PracticeNeeded(project)


# A round


def standing(user, project: Project) -> dict[str, Any]:
    """How somebody stands: passed_at, let_pass_by, the running and the last ended round, tries used and left.

    `left` is None where tries are not limited.
    """
    found = PracticeStanding.objects.filter(project=project, annotator=user).select_related("let_pass_by").first()
    rounds = list(PracticeRound.objects.filter(project=project, annotator=user).order_by("-number")[:2])
    used = _tries(user, project, found.forgiven if found else 0)
    allowed = _allowed(project)
    return {
        "passed_at": found.passed_at if found else None,
        "let_pass_by": found.let_pass_by if found else None,
        "running": next((one for one in rounds if one.state == RoundState.RUNNING), None),
        "last": next((one for one in rounds if one.state != RoundState.RUNNING), None),
        "used": used,
        "left": None if allowed is None else max(0, allowed - used),
    }


def _allowed(project: Project) -> int | None:
    retries = gold.settings_of(project).practice_retries
    return retries + 1 if retries else None


def _tries(user, project: Project, forgiven: int) -> int:
    counted = PracticeRound.objects.filter(project=project, annotator=user, voluntary=False, number__gt=forgiven)
    return counted.exclude(state=RoundState.RUNNING).count()


def begin(user, project: Project) -> PracticeRound:
    """The running round, or else a new one with its texts shuffled.

    Raises:
        ValidationError: there is nothing to practise on. NoTriesLeft: all retries are used up.
        wellbeing.LimitReached: they have read enough for today; a round that is running goes on.
    """
    try:
        with transaction.atomic():
            return _begin(user, project)
    except IntegrityError:  # the same person in another tab was faster
        return PracticeRound.objects.get(project=project, annotator=user, state=RoundState.RUNNING)


def _begin(user, project: Project) -> PracticeRound:
    rounds = PracticeRound.objects.filter(project=project, annotator=user)
    if running := rounds.filter(state=RoundState.RUNNING).first():
        if running.answers.filter(answered_at=None).exists():
            return running
        _end(running)  # its last texts were taken out of the project
    settings = gold.settings_of(project)
    now = standing(user, project)
    if now["passed_at"] is None and now["left"] == 0:
        raise NoTriesLeft
    choices = wellbeing.choices_of(user, project)
    wellbeing.check_limit(user, project, choices)
    texts = gold.practice_items(project)
    if declined := choices.declined_kinds:
        texts = texts.exclude(content_kinds__has_any_keys=declined)
    items = list(texts.order_by("pk").values_list("pk", flat=True))
    if not items and declined and gold.practice_items(project).exists():
        raise ValidationError(
            "Every practice text contains what you do not want. The project's lead can let you begin without practice.",
            code="no_practice",
        )
    if not items:
        raise ValidationError("There are no practice texts in this project.", code="no_practice")
    number = (rounds.aggregate(last=Max("number"))["last"] or 0) + 1
    chance = random.Random(f"{settings.seed}:{user.pk}:practice:{number}")  # noqa: S311 - a shuffle, no secret
    chosen = chance.sample(items, min(settings.practice_items, len(items)))
    made = PracticeRound.objects.create(
        project=project,
        annotator=user,
        number=number,
        pass_mark=settings.pass_mark,
        near_misses=settings.near_misses,
        voluntary=now["passed_at"] is not None,
    )
    PracticeAnswer.objects.bulk_create(
        PracticeAnswer(project=project, round=made, item_id=item, annotator=user, position=position)
        for position, item in enumerate(chosen, 1)
    )
    return made


def answers_of(user):
    """One's own answers in projects where one annotates still. Pages and API start here."""
    own = PracticeAnswer.objects.filter(annotator=user).select_related("item", "project", "round", "item__gold")
    if user.is_superuser:
        return own
    member = Membership.objects.filter(user=user, role=Role.ANNOTATOR)
    return own.filter(project__in=member.values("project"))


def current(user, project: Project) -> PracticeAnswer | None:
    """The text to answer next in the running round."""
    waiting = answers_of(user).filter(project=project, round__state=RoundState.RUNNING, answered_at=None)
    return waiting.order_by("position").first()


def save_draft(user, pk: int, content: dict[str, Any]) -> PracticeAnswer:
    """Keep what was typed so far. An answered text is left alone.

    Raises:
        PracticeAnswer.DoesNotExist: not theirs. ValidationError: the draft cannot be stored.
    """
    from annotation import work

    answer = answers_of(user).get(pk=pk)
    draft = work.clean_content(content, answer.project, answer.item.text, complete=False)
    draft["active_seconds"] = work.clean_seconds(content.get("active_seconds"))
    now = timezone.now()
    if PracticeAnswer.objects.filter(pk=pk, answered_at=None).update(draft=draft, draft_saved_at=now):
        answer.draft, answer.draft_saved_at = draft, now
    return answer


@transaction.atomic
def submit(user, pk: int, content: dict[str, Any]) -> PracticeAnswer:
    """Answer a practice text; after the round's last one the round ends. A submit that arrives twice counts once.

    Raises:
        PracticeAnswer.DoesNotExist: not theirs. ValidationError: the content is not complete or breaks a rule.
    """
    from annotation import work

    answer = answers_of(user).select_for_update(of=("self",)).get(pk=pk)
    if answer.answered_at:
        return answer
    cleaned = work.clean_content(content, answer.project, answer.item.text, complete=True)
    answer.content, answer.draft = cleaned, None
    answer.active_seconds = work.clean_seconds(content.get("active_seconds"))
    answer.known = answer.item.gold.labels
    answer.points = points(
        cleaned["labels"], answer.known, answer.project.dimensions_in_order, near_misses=answer.round.near_misses
    )
    answer.answered_at = timezone.now()
    answer.save()
    running = PracticeRound.objects.select_for_update().get(pk=answer.round_id)
    if running.state == RoundState.RUNNING and not running.answers.filter(answered_at=None).exists():
        _end(running)
    return answer


def points(
    labels: dict[str, str], known: dict[str, list[str]], dimensions: list[Dimension], *, near_misses: bool
) -> dict[str, float]:
    """What an answer is worth: 1 per known dimension whose level is accepted, else 0; a near miss half, if it counts.

    A near miss is one level away from an accepted one, in an ordinal dimension of three levels or more: with two
    levels the other one is simply wrong.
    """
    found = {}
    for dimension in dimensions:
        accepted = known.get(dimension.key)
        if not accepted:
            continue
        level = labels.get(dimension.key)
        worth = 1.0 if level in accepted else 0.0
        ordered = dimension.scale == Scale.ORDINAL and len(dimension.levels) > 2
        if not worth and near_misses and ordered and level in dimension.levels:
            place = dimension.levels.index(level)
            if any(abs(place - dimension.levels.index(one)) == 1 for one in accepted if one in dimension.levels):
                worth = NEAR
        found[dimension.key] = worth
    return found


def compared(answer: PracticeAnswer) -> list[dict[str, Any]]:
    """One row a dimension: what was chosen, what is right, and what that was worth (None: not judged)."""

    chosen = (answer.content or {}).get("labels", {})
    return [
        {
            "dimension": dimension,
            "chosen": chosen.get(dimension.key, ""),
            "accepted": answer.known.get(dimension.key, []),
            "worth": answer.points.get(dimension.key),
        }
        for dimension in answer.project.dimensions_in_order
    ]


def _end(running: PracticeRound) -> None:
    """Add up the round, and note who has passed."""
    scores: dict[str, dict[str, float]] = {}
    for earned in running.answers.exclude(answered_at=None).values_list("points", flat=True):
        for key, worth in earned.items():
            score = scores.setdefault(key, {"right": 0, "known": 0})
            score["right"] += worth
            score["known"] += 1
    known = sum(score["known"] for score in scores.values())
    right = sum(score["right"] for score in scores.values())
    running.scores, running.score = scores, 100 * right / known if known else 0
    passed = bool(known) and 100 * right >= running.pass_mark * known
    running.state = RoundState.PASSED if passed else RoundState.FAILED
    running.ended_at = timezone.now()
    running.save()
    if passed:
        found, _ = PracticeStanding.objects.get_or_create(
            project_id=running.project_id, annotator_id=running.annotator_id
        )
        PracticeStanding.objects.filter(pk=found.pk, passed_at=None).update(passed_at=running.ended_at)


# What a lead does


@transaction.atomic
def let_pass(project: Project, annotator, by) -> PracticeStanding:
    """Let somebody work without (another) round.

    Raises:
        ValidationError: they have passed already.
    """
    found = _locked(project, annotator)
    if found.passed_at:
        raise ValidationError(f"{annotator} has passed already.")
    found.passed_at, found.let_pass_by = timezone.now(), by
    found.save()
    events.record(project, by, "practice.let_pass", subject=annotator.get_username())
    return found


@transaction.atomic
def reset(project: Project, annotator, by) -> PracticeStanding:
    """Begin anew: nothing is passed, and no earlier round counts as a try. The rounds stay to be looked at."""
    found = _locked(project, annotator)
    before = {"passed": bool(found.passed_at)}
    last = PracticeRound.objects.filter(project=project, annotator=annotator).aggregate(last=Max("number"))["last"]
    found.passed_at, found.let_pass_by, found.forgiven = None, None, last or 0
    found.save()
    events.record(
        project, by, "practice.reset", subject=annotator.get_username(), before=before, after={"passed": False}
    )
    return found


def _locked(project: Project, annotator) -> PracticeStanding:
    PracticeStanding.objects.get_or_create(project=project, annotator=annotator)
    return PracticeStanding.objects.select_for_update().get(project=project, annotator=annotator)


def results(project: Project) -> list[dict[str, Any]]:
    """Every annotator by name: rounds, last score, passed when and how. For leads. Four queries for any number."""
    members = Membership.objects.filter(project=project, role=Role.ANNOTATOR).select_related("user")
    standings = {
        row.annotator_id: row for row in PracticeStanding.objects.filter(project=project).select_related("let_pass_by")
    }
    ended = ~Q(state=RoundState.RUNNING)
    own = PracticeStanding.objects.filter(project=OuterRef("project"), annotator=OuterRef("annotator"))
    counted = (
        PracticeRound.objects.filter(project=project)
        .annotate(forgiven=Coalesce(Subquery(own.values("forgiven")), 0))
        .values("annotator_id")
        .annotate(
            rounds=Count("pk", filter=ended),
            running=Count("pk", filter=~ended),
            used=Count("pk", filter=ended & Q(voluntary=False, number__gt=F("forgiven"))),
        )
        .order_by()
    )
    rounds: dict[int, Any] = {row["annotator_id"]: row for row in counted}
    last = {
        row.annotator_id: row
        for row in PracticeRound.objects.filter(project=project)
        .exclude(state=RoundState.RUNNING)
        .order_by("annotator_id", "-number")
        .distinct("annotator_id")
    }
    allowed = _allowed(project)
    return [
        {
            "user": member.user,
            "passed_at": getattr(standings.get(member.user_id), "passed_at", None),
            "let_pass_by": getattr(standings.get(member.user_id), "let_pass_by", None),
            "rounds": rounds.get(member.user_id, {}).get("rounds", 0),
            "running": bool(rounds.get(member.user_id, {}).get("running", 0)),
            "last": last.get(member.user_id),
            "left": None if allowed is None else max(0, allowed - rounds.get(member.user_id, {}).get("used", 0)),
        }
        for member in sorted(members, key=lambda member: member.user.get_username().lower())
    ]
