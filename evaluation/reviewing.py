"""What a reviewer does: the next page, drafts, submitting, and the guess at the end. Pages and API share it.

Nothing here reads which system wrote an output.
"""

import uuid
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Count, Q, Sum
from django.utils import timezone

from annotation import drafts, validators
from annotation.drafts import LAST_WRITE_WINS, Base, Conflict
from annotation.work import clean_seconds
from evaluation import review_drafts
from evaluation.models import (
    CannotJudge,
    Criterion,
    Guess,
    Guessed,
    Rating,
    ReviewTask,
    Slot,
    Study,
    StudyMembership,
    TaskKind,
)
from evaluation.review_drafts import TIE

MAX_COMMENT_LENGTH = 5_000


class TooLate(ValidationError):
    """An answer can no longer count. What was typed is kept as a draft, to be read again."""

    words, late_code = "", ""

    def __init__(self) -> None:
        super().__init__(self.words, code=self.late_code)


class StudyClosed(TooLate):
    """The study no longer takes ratings."""

    words = (
        "The study has been closed and takes no more ratings. What you had submitted before counts. "
        "What you typed since is kept, for you to read."
    )
    late_code = "study_closed"


class TakenOff(TooLate):
    """The reviewer was taken off the study."""

    words = (
        "You have been taken off this study, so this page does not count. What you had submitted before stays in the "
        "study. What you typed since is kept, for you to read."
    )
    late_code = "taken_off"


class RatingsFinal(TooLate):
    """The reviewer has begun to guess, and ratings given after that could follow the guess."""

    words = (
        "Your ratings became final when you began to guess, so this change does not count. It is kept, for you to read."
    )
    late_code = "ratings_final"


def why_late(user, study: Study) -> TooLate | None:
    """Why this reviewer's answers can no longer count; None while they can."""
    membership = StudyMembership.objects.filter(study=study, user_id=user.pk).first()
    if membership is None or membership.revoked_at:
        return TakenOff()
    if not study.is_running:
        return StudyClosed()
    return RatingsFinal() if membership.guessing_at else None


def next_task(user, study: Study) -> ReviewTask | None:
    """This reviewer's first task that is not finished; None when all are."""
    tasks = ReviewTask.objects.of(user).filter(study=study, done_at=None)
    return tasks.select_related("study", "item").order_by("position").first()


def task_before(user, study: Study, position: int | None) -> ReviewTask | None:
    """The task before a position, or the last finished one when no position is given."""
    tasks = ReviewTask.objects.of(user).filter(study=study).select_related("study", "item")
    tasks = tasks.filter(done_at__isnull=False) if position is None else tasks.filter(position__lt=position)
    return tasks.order_by("-position").first()


def counts_of(user, study: Study) -> dict[str, int]:
    """How many pages this reviewer has, and has finished; practice is counted apart."""
    practice, finished = Q(kind=TaskKind.PRACTICE), Q(done_at__isnull=False)
    return (
        ReviewTask.objects.of(user)
        .filter(study=study)
        .aggregate(
            total=Count("pk", filter=~practice),
            done=Count("pk", filter=~practice & finished),
            practice=Count("pk", filter=practice),
            practice_done=Count("pk", filter=practice & finished),
        )
    )


def is_first_after_practice(task: ReviewTask) -> bool:
    """Whether the reviewer stands between practice and the pages that count, with nothing answered on them."""
    return (
        task.study.practice > 0
        and task.kind != TaskKind.PRACTICE
        and task.done_at is None
        and task.draft is None
        and not ReviewTask.objects.filter(
            ~Q(kind__in=(TaskKind.PRACTICE, TaskKind.SAME)),
            study_id=task.study_id,
            reviewer_id=task.reviewer_id,
            position__lt=task.position,
        ).exists()
    )


def work_of(user, study: Study) -> dict[str, int]:
    """What a reviewer has done in all, practice left out: texts, outputs on them, and seconds in use."""
    tasks = ReviewTask.objects.of(user).filter(study=study, done_at__isnull=False).exclude(kind=TaskKind.PRACTICE)
    found = tasks.aggregate(texts=Count("pk"), seconds=Sum("active_seconds"))
    outputs = Slot.objects.filter(task__in=tasks).count()
    return {"texts": found["texts"], "outputs": outputs, "seconds": found["seconds"] or 0}


def asks_preference(task: ReviewTask, slots: list[Slot]) -> bool:
    """Whether the page asks for the better output: not where all its outputs are one."""
    return task.study.asks_preference and len(slots) > 1


def clean_content(
    content: dict[str, Any], task: ReviewTask, slots: list[Slot], criteria: list[Criterion], *, complete: bool
) -> dict[str, Any]:
    """What a reviewer decided, checked.

    Args:
        content: `ratings` maps a slot's id to {criterion's key: 1..its levels, or a CannotJudge reason}, `preferred`
            and `worst` are a slot's id or "", `preferred` may also be "tie" or a CannotJudge reason, `comment` is
            text. slots: of the task, in their order. criteria: of the study; of layouts without criteria, ignored.
        complete: False for a draft, which may lack answers.

    Raises:
        ValidationError: one message for each thing that is missing or wrong, by the names on the page.
    """
    criteria = criteria if task.study.asks_criteria else []
    by_id = {str(slot.pk): slot for slot in slots}
    errors: list[str] = []
    ratings = _clean_ratings(content.get("ratings", {}), by_id, criteria, errors, complete=complete)
    preferred, worst = str(content.get("preferred") or ""), str(content.get("worst") or "")
    if asks_preference(task, slots):
        if preferred not in (TIE, "", *CannotJudge.values) and preferred not in by_id:
            errors.append("The preferred output is not part of this task.")
        elif complete and not preferred:
            errors.append(task.study.best_question)
    else:
        preferred = ""
    if task.study.asks_worst and preferred in by_id:
        if worst and worst not in by_id:
            errors.append("The worst output is not part of this task.")
        elif worst and worst == preferred:
            errors.append("The best and the worst output cannot be the same.")
        elif complete and not worst:
            errors.append(task.study.worst_question)
    elif not (task.study.asks_worst and not complete and worst in by_id):
        worst = ""
    comment = content.get("comment") or ""
    if not isinstance(comment, str):
        errors.append("The comment must be text.")
    elif len(comment) > MAX_COMMENT_LENGTH:
        errors.append(f"The comment has {len(comment):,} characters; the limit is {MAX_COMMENT_LENGTH:,}.")
    else:
        try:
            validators.check_storable(comment, "The comment")
        except ValidationError as error:
            errors += error.messages
        given = {preferred, *(value for answers in ratings.values() for value in answers.values())}
        if complete and CannotJudge.OTHER in given and not comment.strip():
            errors.append("Say in the comment why you cannot judge.")
    if errors:
        raise ValidationError(errors)
    return {
        "ratings": ratings,
        "preferred": preferred,
        "worst": worst,
        "comment": validators.normalise_text(comment),
    }


def _clean_ratings(
    ratings: Any, by_id: dict[str, Slot], criteria: list[Criterion], errors: list[str], *, complete: bool
) -> dict[str, dict[str, int | str]]:
    if not isinstance(ratings, dict) or not all(isinstance(answers, dict) for answers in ratings.values()):
        raise ValidationError("Ratings must map each output to its answers.")
    if set(ratings) - set(by_id):
        errors.append("A rating names an output that is not part of this task.")
    keys = {criterion.key: criterion for criterion in criteria}
    cleaned: dict[str, dict[str, int | str]] = {}
    for slot_id, slot in by_id.items():
        about = f"{slot}: " if len(by_id) > 1 else ""
        for key, value in ratings.get(slot_id, {}).items():
            if key not in keys:
                errors.append(f"{about}there is no criterion {str(key)[:40]!r}.")
            elif not _is_answer(value, keys[key]):
                errors.append(f"{about}{keys[key].question} Choose 1 to {keys[key].levels}.")
            else:
                cleaned.setdefault(slot_id, {})[key] = value
        if complete:
            errors += [
                f"{about}{criterion.question}"
                for criterion in criteria
                if criterion.key not in ratings.get(slot_id, {})
            ]
    return cleaned


def _is_answer(value: Any, criterion: Criterion) -> bool:
    if isinstance(value, str):
        return value in CannotJudge.values
    return type(value) is int and 1 <= value <= criterion.levels  # bool is an int to Python


def save_draft(user, token: uuid.UUID, content: dict[str, Any], base: Base = LAST_WRITE_WINS) -> ReviewTask:
    """Keep what a reviewer has chosen and typed so far.

    Args:
        content: as for `submit`; for a finished page also `revision`, the one that the change is based on. base: which
            draft was before them; without a version the last write wins.

    Raises:
        ReviewTask.DoesNotExist: not theirs. TooLate: it is kept, to be read again, and counts for nothing.
        Conflict: a newer draft is there, or the page was submitted. ValidationError: it cannot be stored.
    """
    with transaction.atomic():
        task = _locked(user, token)
        late = why_late(user, task.study)
        draft = clean_content(content, task, list(task.slots.all()), list(task.study.criteria.all()), complete=False)
        draft["active_seconds"] = clean_seconds(content.get("active_seconds"))
        if type(content.get("revision")) is int:
            draft["revision"] = content["revision"]
        review_drafts.keep(task, draft, base, late=late is not None)
        task.save(update_fields=drafts.FIELDS)
    if late:
        raise late
    return task


def _locked(user, token: uuid.UUID) -> ReviewTask:
    tasks = ReviewTask.objects.once_of(user).select_related("study")
    return tasks.select_for_update(of=("self",)).get(token=token)


def unfinished(user, study: Study, limit: int = 20) -> list[ReviewTask]:
    """Tasks of this reviewer with answers or words that were never submitted, in the order of the study."""
    tasks = ReviewTask.objects.once_of(user).filter(study=study, draft__isnull=False).select_related("item")
    return list(tasks.order_by("position")[:limit])


def submit(user, token: uuid.UUID, content: dict[str, Any], base: Base = LAST_WRITE_WINS) -> ReviewTask:
    """Finish a page, or change a finished one. The same submit arriving twice counts once.

    Args:
        content: as for `clean_content`, with `active_seconds`; from a finished page also `revision`, the one on screen.
        base: which draft was before them; without a version the last write wins.

    Raises:
        ReviewTask.DoesNotExist: not theirs. TooLate: the study was closed, they were taken off it, or they have begun
        to guess; what was sent is kept as a draft, to be read again. Conflict: a newer draft is there, or the page was
        submitted elsewhere with other answers. ValidationError: names each answer that is missing.
    """
    try:
        return _submit(user, token, content, base)
    except TooLate:
        save_draft(user, token, content, base)  # raises it again, once it is kept
        raise


def _locked_study(user, token: uuid.UUID) -> Study:
    """The study of a reviewer's page. Closing waits for this lock, so that the report never misses an answer that was
    accepted.
    """
    study_id = ReviewTask.objects.once_of(user).values_list("study_id", flat=True).get(token=token)
    return Study.objects.select_for_update(of=("self",), no_key=True).get(pk=study_id)


@transaction.atomic
def _submit(user, token: uuid.UUID, content: dict[str, Any], base: Base) -> ReviewTask:
    study = _locked_study(user, token)
    if late := why_late(user, study):
        raise late
    task = ReviewTask.objects.select_for_update(of=("self",)).get(token=token)
    task.study = study
    slots, criteria = list(task.slots.all()), list(study.criteria.all())
    cleaned = clean_content(content, task, slots, criteria, complete=True)
    # The page counts from when it opened the task and starts with what had been counted before.
    task.active_seconds = max(task.active_seconds, clean_seconds(content.get("active_seconds")))
    if task.done_at and review_drafts.same(review_drafts.answers_of(task), cleaned):
        if base.allows(task):  # else an older tab sent it, and somebody typed a change since
            drafts.write(task, None, base)
        task.save(update_fields=[*drafts.FIELDS, "active_seconds"])
        return task
    if task.done_at and base.version is not None and content.get("revision") != task.revision:
        raise Conflict(
            review_drafts.facts(task),
            "You submitted this page in another tab or on another device, with other answers.",
        )
    review_drafts.check(task, cleaned, base)
    keys = {criterion.key: criterion for criterion in criteria}
    Rating.objects.bulk_create(
        [
            Rating(slot=slot, criterion=keys[key], **_stored(value))
            for slot in slots
            for key, value in cleaned["ratings"].get(str(slot.pk), {}).items()
        ],
        update_conflicts=True,
        unique_fields=["slot", "criterion"],
        update_fields=["value", "cannot_judge"],
    )
    by_id = {str(slot.pk): slot for slot in slots}
    task.tie = cleaned["preferred"] == TIE
    task.unpreferred = cleaned["preferred"] if cleaned["preferred"] in CannotJudge.values else ""
    task.preferred, task.worst = by_id.get(cleaned["preferred"]), by_id.get(cleaned["worst"])
    task.comment = cleaned["comment"]
    drafts.write(task, None, base)
    task.revision += 1
    task.updated_at = timezone.now()
    task.done_at = task.done_at or task.updated_at
    task.save()
    return task


def _stored(value: int | str) -> dict[str, Any]:
    return {"value": None, "cannot_judge": value} if isinstance(value, str) else {"value": value, "cannot_judge": ""}


# The guess at the end


def tasks_to_guess(user, study: Study) -> list[ReviewTask]:
    """The pages about whose outputs this reviewer is still asked to guess, once everything is rated; else none."""
    tasks = ReviewTask.objects.of(user).filter(study=study)
    if not study.is_running or tasks.filter(done_at=None).exists():
        return []
    wanted = tasks.filter(guess_wanted=True, guessed_at=None)
    return list(wanted.select_related("item", "study").prefetch_related("slots").order_by("position"))


def guesses_wanted(user, study: Study) -> int:
    """About how many pages this reviewer is asked to guess in all."""
    return ReviewTask.objects.of(user).filter(study=study, guess_wanted=True).count()


@transaction.atomic
def begin_guessing(user, study: Study) -> None:
    """Make this reviewer's ratings final, so that none can follow a guess. Twice is once.

    Raises:
        TooLate: the study was closed, or they were taken off it. ValidationError: something is still to be rated, or
        nothing is to be guessed.
    """
    study = Study.objects.select_for_update(of=("self",), no_key=True).get(pk=study.pk)
    late = why_late(user, study)
    if isinstance(late, RatingsFinal):
        return
    if late:
        raise late
    _check_all_rated(user, study)
    if not tasks_to_guess(user, study):
        raise ValidationError("In this study nothing is to be guessed.")
    _make_final(user, study)


def _check_all_rated(user, study: Study) -> None:
    if ReviewTask.objects.of(user).filter(study=study, done_at=None).exists():
        raise ValidationError("Rate all texts first; then you are asked to guess.")


def _make_final(user, study: Study) -> None:
    StudyMembership.objects.filter(study=study, user_id=user.pk, guessing_at=None).update(guessing_at=timezone.now())


@transaction.atomic
def guess(user, token: uuid.UUID, guesses: dict[str, Any]) -> ReviewTask:
    """Store what a reviewer takes each output of a page for. A guess is final, and makes their ratings final.

    Args:
        guesses: maps each slot's id to a value of Guessed.

    Raises:
        ReviewTask.DoesNotExist: not theirs, or not one to guess about. TooLate: the study was closed, or they were
        taken off it. ValidationError: something is still to be rated, or names each output without a guess.
    """
    study = _locked_study(user, token)
    late = why_late(user, study)
    if late and not isinstance(late, RatingsFinal):
        raise late
    task = ReviewTask.objects.select_for_update(of=("self",)).get(token=token, guess_wanted=True)
    if task.guessed_at:
        return task
    _check_all_rated(user, study)
    if not isinstance(guesses, dict):
        raise ValidationError("Guesses must map each output to what you take it for.")
    slots = list(task.slots.all())
    if unknown := set(guesses) - {str(slot.pk) for slot in slots}:
        raise ValidationError(f"{str(min(unknown))[:40]} is no output of this page.")
    if open_slots := [slot for slot in slots if guesses.get(str(slot.pk)) not in Guessed.values]:
        raise ValidationError([f"{slot}: choose what you take it for." for slot in open_slots])
    Guess.objects.bulk_create(Guess(slot=slot, value=guesses[str(slot.pk)]) for slot in slots)
    task.guessed_at = timezone.now()
    task.save(update_fields=["guessed_at"])
    _make_final(user, study)
    return task
