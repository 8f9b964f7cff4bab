"""What a reviewer does: the next page, drafts, submitting, and the guess at the end. Pages and API share it.

Nothing here reads which system wrote an output.
"""

import uuid
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Count, Q
from django.utils import timezone

from annotation import validators
from annotation.work import clean_seconds
from evaluation.models import (
    CannotJudge,
    Criterion,
    Guess,
    Guessed,
    Rating,
    ReviewTask,
    Slot,
    Study,
)

MAX_COMMENT_LENGTH = 5_000
TIE = "tie"


class StudyClosed(ValidationError):
    """The study no longer takes ratings."""

    def __init__(self) -> None:
        super().__init__(
            "The study has been closed and takes no more ratings. What you had submitted before counts.",
            code="study_closed",
        )


class RatingsFinal(ValidationError):
    """The reviewer has begun to guess, and ratings given after that could follow the guess."""

    def __init__(self) -> None:
        super().__init__("Your ratings became final when you began to guess.", code="ratings_final")


def next_task(user, study: Study) -> ReviewTask | None:
    """This reviewer's first task that is not finished; None when all are."""
    return ReviewTask.objects.of(user).filter(study=study, done_at=None).order_by("position").first()


def task_before(user, study: Study, position: int | None) -> ReviewTask | None:
    """The task before a position, or the last finished one when no position is given."""
    tasks = ReviewTask.objects.of(user).filter(study=study)
    tasks = tasks.filter(done_at__isnull=False) if position is None else tasks.filter(position__lt=position)
    return tasks.order_by("-position").first()


def counts_of(user, study: Study) -> dict[str, int]:
    """How many tasks this reviewer has, and has finished."""
    tasks = ReviewTask.objects.of(user).filter(study=study)
    return tasks.aggregate(total=Count("pk"), done=Count("pk", filter=Q(done_at__isnull=False)))


def asks_preference(task: ReviewTask, slots: list[Slot]) -> bool:
    """Whether the page asks for the better output: not where all its outputs are one."""
    return task.study.asks_preference and len(slots) > 1


def content_of(task: ReviewTask) -> dict[str, Any]:
    """What is on screen when a task opens: the draft, else what was submitted, else nothing."""
    if task.draft is not None:
        return task.draft
    ratings: dict[str, dict[str, int | str]] = {}
    rows = Rating.objects.filter(slot__task=task)
    for slot, key, value, reason in rows.values_list("slot_id", "criterion__key", "value", "cannot_judge"):
        ratings.setdefault(str(slot), {})[key] = value or reason
    preferred = TIE if task.tie else task.unpreferred or str(task.preferred_id or "")
    return {"ratings": ratings, "preferred": preferred, "worst": str(task.worst_id or ""), "comment": task.comment}


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
            errors.append("Which output is the best?" if task.study.asks_worst else task.study.preference_question)
    else:
        preferred = ""
    if task.study.asks_worst and preferred in by_id:
        if worst and worst not in by_id:
            errors.append("The worst output is not part of this task.")
        elif worst and worst == preferred:
            errors.append("The best and the worst output cannot be the same.")
        elif complete and not worst:
            errors.append("Which output is the worst?")
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
        for key, value in ratings.get(slot_id, {}).items():
            if key not in keys:
                errors.append(f"{slot}: there is no criterion {str(key)[:40]!r}.")
            elif not _is_answer(value, keys[key]):
                errors.append(f"{slot}, {keys[key].question} Choose 1 to {keys[key].levels}.")
            else:
                cleaned.setdefault(slot_id, {})[key] = value
        if complete:
            errors += [
                f"{slot}: {criterion.question}"
                for criterion in criteria
                if criterion.key not in ratings.get(slot_id, {})
            ]
    return cleaned


def _is_answer(value: Any, criterion: Criterion) -> bool:
    if isinstance(value, str):
        return value in CannotJudge.values
    return type(value) is int and 1 <= value <= criterion.levels  # bool is an int to Python


def save_draft(user, token: uuid.UUID, content: dict[str, Any]) -> ReviewTask:
    """Keep what a reviewer has chosen and typed so far.

    Raises:
        ReviewTask.DoesNotExist: not theirs. StudyClosed: it is kept, to be read again, and counts for nothing.
        ValidationError: it cannot be stored.
    """
    task = ReviewTask.objects.of(user).select_related("study").get(token=token)
    draft = clean_content(content, task, list(task.slots.all()), list(task.study.criteria.all()), complete=False)
    draft["active_seconds"] = clean_seconds(content.get("active_seconds"))
    task.draft, task.draft_saved_at = draft, timezone.now()
    task.save(update_fields=["draft", "draft_saved_at"])
    if not task.study.is_running:
        raise StudyClosed
    return task


def unfinished(user, study: Study, limit: int = 20) -> list[ReviewTask]:
    """Tasks of this reviewer with answers or words that were never submitted, in the order of the study."""
    tasks = ReviewTask.objects.of(user).filter(study=study, draft__isnull=False).select_related("item")
    return list(tasks.order_by("position")[:limit])


def submit(user, token: uuid.UUID, content: dict[str, Any]) -> ReviewTask:
    """Finish a task, or change a finished one. The same submit arriving twice counts once.

    Raises:
        ReviewTask.DoesNotExist: not theirs. StudyClosed: what was sent is kept as a draft, to be read again.
        RatingsFinal: they have begun to guess. ValidationError: names each answer that is missing.
    """
    try:
        return _submit(user, token, content)
    except StudyClosed:
        save_draft(user, token, content)  # raises StudyClosed, once it is kept
        raise


def _locked_study(user, token: uuid.UUID) -> Study:
    """The running study of a reviewer's task. Closing waits for this lock, so that the report never misses an answer
    that was accepted.
    """
    study_id = ReviewTask.objects.of(user).values_list("study_id", flat=True).get(token=token)
    study = Study.objects.select_for_update(of=("self",), no_key=True).get(pk=study_id)
    if not study.is_running:
        raise StudyClosed
    return study


@transaction.atomic
def _submit(user, token: uuid.UUID, content: dict[str, Any]) -> ReviewTask:
    study = _locked_study(user, token)
    task = ReviewTask.objects.select_for_update(of=("self",)).get(token=token)
    if study.guesses and ReviewTask.objects.of(user).filter(study=study, guessed_at__isnull=False).exists():
        raise RatingsFinal
    task.study = study
    slots, criteria = list(task.slots.all()), list(study.criteria.all())
    cleaned = clean_content(content, task, slots, criteria, complete=True)
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
    # The page counts from when it opened the task and starts with what had been counted before.
    task.active_seconds = max(task.active_seconds, clean_seconds(content.get("active_seconds")))
    task.draft, task.draft_saved_at = None, None
    task.updated_at = timezone.now()
    task.done_at = task.done_at or task.updated_at
    task.save()
    return task


def _stored(value: int | str) -> dict[str, Any]:
    return {"value": None, "cannot_judge": value} if isinstance(value, str) else {"value": value, "cannot_judge": ""}


# The guess at the end


def tasks_to_guess(user, study: Study) -> list[ReviewTask]:
    """The pages about whose outputs this reviewer is asked to guess, once everything is rated; else none."""
    tasks = ReviewTask.objects.of(user).filter(study=study)
    if not study.is_running or tasks.filter(done_at=None).exists():
        return []
    wanted = tasks.filter(guess_wanted=True, guessed_at=None)
    return list(wanted.select_related("item", "study").prefetch_related("slots").order_by("position"))


@transaction.atomic
def guess(user, token: uuid.UUID, guesses: dict[str, Any]) -> ReviewTask:
    """Store what a reviewer takes each output of a page for. A guess is final.

    Args:
        guesses: maps each slot's id to a value of Guessed.

    Raises:
        ReviewTask.DoesNotExist: not theirs, or not one to guess about. StudyClosed: too late.
        ValidationError: something is still to be rated, or names each output without a guess.
    """
    study = _locked_study(user, token)
    task = ReviewTask.objects.select_for_update(of=("self",)).get(token=token, guess_wanted=True)
    if task.guessed_at:
        return task
    if ReviewTask.objects.of(user).filter(study=study, done_at=None).exists():
        raise ValidationError("Rate all texts first; then you are asked to guess.")
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
    return task
