"""Studies: set up, invite reviewers, start (which freezes everything), rate blind, close.

`start` is the only place that joins slots with systems before a study is closed, and it does so in the
database.
"""

import random
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Count, Max, Q, QuerySet, Sum
from django.utils import timezone
from django.utils.crypto import salted_hmac

from annotation import projects, validators
from annotation.models import Item, Project
from annotation.work import clean_seconds
from evaluation.models import (
    Criterion,
    Output,
    Rating,
    Report,
    ReviewTask,
    Slot,
    Study,
    StudyMembership,
    StudyStatus,
    System,
    default_criteria,
)

MIN_SYSTEMS, MAX_SYSTEMS = 2, 4
MAX_SLOTS = 100_000  # starting happens in one request; this many take some ten seconds
MAX_COMMENT_LENGTH = 5_000
TIE = "tie"


class StudyClosed(ValidationError):
    """The study no longer takes ratings."""

    def __init__(self) -> None:
        super().__init__(
            "The study has been closed and takes no more ratings. What you had submitted before counts.",
            code="study_closed",
        )


# Setting up


@transaction.atomic
def create(project: Project, user, *, systems: Iterable[System], **values: Any) -> Study:
    """A study in draft with the three default criteria.

    Args:
        values: name, reference, and any of instructions, seed, number_of_items, chosen_ids.

    Raises:
        ValidationError: keyed by field.
    """
    study = Study(project=project, created_by=user, **values)
    _save(study, list(systems))
    Criterion.objects.bulk_create(
        Criterion(study=study, position=position, **criterion) for position, criterion in enumerate(default_criteria())
    )
    return study


@transaction.atomic
def change(study: Study, *, systems: Iterable[System], **values: Any) -> Study:
    """Change a study that has not started.

    Raises:
        ValidationError: it has started, or keyed by field.
    """
    _locked_draft(study)
    for name, value in values.items():
        setattr(study, name, value)
    _save(study, list(systems))
    return study


def _save(study: Study, systems: list[System]) -> None:
    check_systems(systems, study.reference if study.reference_id else None, study.project_id)
    study.full_clean(exclude=["created_by"])
    study.save()
    study.systems.set(systems)


def check_systems(systems: list[System], reference: System | None, project_id: int) -> None:
    """Raise ValidationError unless these are 2 to 4 systems of the project and the reference is one of
    them.
    """
    if any(system.project_id != project_id for system in systems):
        raise ValidationError({"systems": "Choose systems of this project."})
    count = len(set(systems))
    if not MIN_SYSTEMS <= count <= MAX_SYSTEMS:
        raise ValidationError(
            {"systems": f"A study compares {MIN_SYSTEMS} to {MAX_SYSTEMS} systems; you chose {count}."}
        )
    if reference is None or reference not in systems:
        raise ValidationError({"reference": "The reference must be one of the chosen systems."})


def _locked_draft(study: Study) -> Study:
    locked = Study.objects.select_for_update(of=("self",)).get(pk=study.pk)
    if not locked.is_draft:
        raise ValidationError("The study has started; it can no longer change.")
    return locked


@transaction.atomic
def invite(study: Study, user, person: str) -> StudyMembership:
    """Make a person a reviewer, by user name or e-mail. An unknown e-mail gets an account and an invitation.

    Raises:
        ValidationError: keyed by `person`; or the study has started.
    """
    _locked_draft(study)
    found = projects.find_or_invite(person, invited_by=user)
    membership, created = StudyMembership.objects.get_or_create(study=study, user=found)
    if not created:
        raise ValidationError({"person": f"{found} is a reviewer already."})
    return membership


@transaction.atomic
def remove_reviewer(study: Study, membership: StudyMembership) -> None:
    """Take a reviewer off a study that has not started."""
    _locked_draft(study)
    membership.delete()


# Starting


@dataclass
class Readiness:
    """Whether a study can start: the texts that would be rated, and what stands in the way, in words."""

    items: list[int] = field(default_factory=list)
    complete: int = 0  # texts that every system has an output for
    incomplete: int = 0  # texts that only some of the systems have an output for
    missing: list[tuple[System, int, list[str]]] = field(default_factory=list)  # system, how many, first external ids
    problems: list[str] = field(default_factory=list)


def readiness(study: Study) -> Readiness:
    """Draw the texts and name everything that keeps the study from starting."""
    systems = list(study.systems.all())
    ready = Readiness()
    if not MIN_SYSTEMS <= len(systems) <= MAX_SYSTEMS or study.reference not in systems:
        ready.problems.append(f"Choose {MIN_SYSTEMS} to {MAX_SYSTEMS} systems, the reference among them.")
        return ready
    usable = Output.objects.filter(system__in=systems).exclude(text="")
    items = Item.objects.filter(project_id=study.project_id)
    if chosen := list(dict.fromkeys(study.chosen_ids.split("\n"))) if study.chosen_ids.strip() else []:
        chosen = [external_id.strip() for external_id in chosen if external_id.strip()]
        wanted = dict(items.filter(external_id__in=chosen).values_list("external_id", "pk"))
        if unknown := [external_id for external_id in chosen if external_id not in wanted]:
            ready.problems.append(f"{_count(len(unknown), 'chosen text')} not in the project: {_some(unknown)}.")
        pool = items.filter(pk__in=wanted.values())
    else:
        pool = items.filter(pk__in=usable.values("item"))
    covered = pool.annotate(n=Count("outputs", filter=Q(outputs__in=usable)))
    complete = list(covered.filter(n=len(systems)).order_by("external_id").values_list("pk", flat=True))
    ready.complete, ready.incomplete = len(complete), covered.filter(n__lt=len(systems)).count()
    ready.items = complete
    for system in systems:
        lacking = pool.exclude(pk__in=usable.filter(system=system).values("item")).order_by("external_id")
        if count := lacking.count():
            ready.missing.append((system, count, list(lacking.values_list("external_id", flat=True)[:5])))
    if ready.missing and (chosen or not complete or (study.number_of_items or 0) > len(complete)):
        ready.problems += [
            f"{system.name} lacks an output for {_count(count, 'text')}: {_some(ids, count)}. "
            "Generate or upload the outputs, or leave these texts out."
            for system, count, ids in ready.missing
        ]
    if not complete and not ready.problems:
        ready.problems.append("The systems have no outputs yet. Generate or upload them.")
    elif not chosen and study.number_of_items:
        if study.number_of_items > len(complete):
            ready.problems.append(
                f"{study.number_of_items} texts are wanted; {len(complete)} have an output of every system."
            )
        else:
            ready.items = _rng(study, "items").sample(complete, study.number_of_items)
    reviewers = study.reviewers.count()
    if not reviewers:
        ready.problems.append("Nobody reviews yet. Add at least one reviewer.")
    if (slots := len(ready.items) * len(systems) * reviewers) > MAX_SLOTS:
        ready.problems.append(
            f"That is {slots:,} outputs to rate; a study has at most {MAX_SLOTS:,}. Choose fewer texts."
        )
    return ready


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}{'' if n == 1 else 's'}"


def _some(names: list[str], total: int | None = None) -> str:
    more = (total or len(names)) - 5
    return ", ".join(names[:5]) + (f" and {more} more" if more > 0 else "")


def _rng(study: Study, purpose: str) -> random.Random:
    """A generator of its own for each purpose, so that one more reviewer does not change which texts are
    drawn.
    """
    return random.Random(f"{study.seed}/{purpose}")  # noqa: S311 - repeatable on purpose, nothing is kept secret by it


def _secret_rng(study: Study, purpose: str) -> random.Random:
    """As `_rng`, repeatable on this server, but from the seed alone nobody can tell which output is whose."""
    return random.Random(salted_hmac("evaluation.order", f"{study.seed}/{purpose}").hexdigest())  # noqa: S311


@transaction.atomic
def start(study: Study) -> Study:
    """Freeze the study: its texts, everybody's order of texts, and everybody's order of outputs on each text.

    Raises:
        ValidationError: it has started, or something is missing; every reason is named.
    """
    study = _locked_draft(study)
    ready = readiness(study)
    if ready.problems:
        raise ValidationError(ready.problems)
    reviewers = list(study.reviewers.order_by("user_id").values_list("user_id", flat=True))
    systems = list(study.systems.order_by("pk").values_list("pk", flat=True))
    for number, reviewer in enumerate(reviewers):
        order = ready.items.copy()
        rng = _secret_rng(study, f"reviewer {number}")
        rng.shuffle(order)
        for first in range(0, len(order), 500):
            _make_tasks(study, reviewer, order[first : first + 500], first, systems, rng)
    study.status, study.started_at = StudyStatus.RUNNING, timezone.now()
    study.save(update_fields=["status", "started_at"])
    return study


def _make_tasks(
    study: Study, reviewer: int, items: list[int], offset: int, systems: list[int], rng: random.Random
) -> None:
    tasks = ReviewTask.objects.bulk_create(
        ReviewTask(study=study, reviewer_id=reviewer, item_id=item, position=offset + place)
        for place, item in enumerate(items, start=1)
    )
    outputs: dict[int, dict[int, tuple[int, str]]] = {}
    rows = Output.objects.filter(system_id__in=systems, item_id__in=items)
    for item_id, system_id, pk, text in rows.values_list("item_id", "system_id", "pk", "text"):
        outputs.setdefault(item_id, {})[system_id] = (pk, text.strip())
    slots = []
    for task in tasks:
        order = systems.copy()
        rng.shuffle(order)
        for position, system in enumerate(order, start=1):
            output, text = outputs[task.item_id][system]
            slots.append(Slot(id=uuid.uuid4(), task=task, output_id=output, text=text, position=position))
    # Rows are stored by their random ids, so that not even the order on disk follows the systems.
    Slot.objects.bulk_create(sorted(slots, key=lambda slot: slot.id), batch_size=500)


# Rating


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


def content_of(task: ReviewTask) -> dict[str, Any]:
    """What is on screen when a task opens: the draft, else what was submitted, else nothing."""
    if task.draft is not None:
        return task.draft
    ratings: dict[str, dict[str, int]] = {}
    for slot, key, value in Rating.objects.filter(slot__task=task).values_list("slot_id", "criterion__key", "value"):
        ratings.setdefault(str(slot), {})[key] = value
    preferred = TIE if task.tie else str(task.preferred_id or "")
    return {"ratings": ratings, "preferred": preferred, "comment": task.comment}


def clean_content(
    content: dict[str, Any], slots: list[Slot], criteria: list[Criterion], *, complete: bool
) -> dict[str, Any]:
    """What a reviewer decided, checked.

    Args:
        content: `ratings` maps a slot's id to {criterion's key: 1..LEVELS}, `preferred` is a slot's id, "tie"
            or "", `comment` is text. complete: False for a draft, which may lack answers.

    Raises:
        ValidationError: one message for each thing that is missing or wrong, by the names on the page.
    """
    by_id = {str(slot.pk): slot for slot in slots}
    keys = {criterion.key: criterion for criterion in criteria}
    errors: list[str] = []
    ratings = content.get("ratings", {})
    if not isinstance(ratings, dict) or not all(isinstance(answers, dict) for answers in ratings.values()):
        raise ValidationError("Ratings must map each output to its answers.")
    if set(ratings) - set(by_id):
        errors.append("A rating names an output that is not part of this task.")
    cleaned: dict[str, dict[str, int]] = {}
    for slot_id, slot in by_id.items():
        for key, value in ratings.get(slot_id, {}).items():
            if key not in keys:
                errors.append(f"{slot}: there is no criterion {str(key)[:40]!r}.")
            elif type(value) is not int or not 1 <= value <= Criterion.LEVELS:  # bool is an int to Python
                errors.append(f"{slot}, {keys[key].question} Choose 1 to {Criterion.LEVELS}.")
            else:
                cleaned.setdefault(slot_id, {})[key] = value
        if complete:
            errors += [
                f"{slot}: {criterion.question}"
                for criterion in criteria
                if criterion.key not in ratings.get(slot_id, {})
            ]
    preferred = content.get("preferred") or ""
    if preferred not in (TIE, "") and str(preferred) not in by_id:
        errors.append("The preferred output is not part of this task.")
    elif complete and not preferred:
        errors.append("Overall: which is the better safe rewrite?")
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
    if errors:
        raise ValidationError(errors)
    return {"ratings": cleaned, "preferred": str(preferred), "comment": validators.normalise_text(comment)}


def save_draft(user, token: uuid.UUID, content: dict[str, Any]) -> ReviewTask:
    """Keep what a reviewer has chosen and typed so far.

    Raises:
        ReviewTask.DoesNotExist: not theirs. StudyClosed: it is kept, to be read again, and counts for nothing.
        ValidationError: it cannot be stored.
    """
    task = ReviewTask.objects.of(user).select_related("study").get(token=token)
    draft = clean_content(content, list(task.slots.all()), list(task.study.criteria.all()), complete=False)
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
        ValidationError: names each answer that is missing.
    """
    try:
        return _submit(user, token, content)
    except StudyClosed:
        save_draft(user, token, content)  # raises StudyClosed, once it is kept
        raise


@transaction.atomic
def _submit(user, token: uuid.UUID, content: dict[str, Any]) -> ReviewTask:
    study_id = ReviewTask.objects.of(user).values_list("study_id", flat=True).get(token=token)
    # Closing waits for this lock, so that the report never misses a rating that was accepted.
    study = Study.objects.select_for_update(of=("self",), no_key=True).get(pk=study_id)
    if not study.is_running:
        raise StudyClosed
    task = ReviewTask.objects.select_for_update(of=("self",)).get(token=token)
    slots, criteria = list(task.slots.all()), list(study.criteria.all())
    cleaned = clean_content(content, slots, criteria, complete=True)
    Rating.objects.bulk_create(
        [
            Rating(slot=slot, criterion=criterion, value=cleaned["ratings"][str(slot.pk)][criterion.key])
            for slot in slots
            for criterion in criteria
        ],
        update_conflicts=True,
        unique_fields=["slot", "criterion"],
        update_fields=["value"],
    )
    task.tie = cleaned["preferred"] == TIE
    task.preferred = None if task.tie else next(slot for slot in slots if str(slot.pk) == cleaned["preferred"])
    task.comment = cleaned["comment"]
    # The page counts from when it opened the task and starts with what had been counted before.
    task.active_seconds = max(task.active_seconds, clean_seconds(content.get("active_seconds")))
    task.draft, task.draft_saved_at = None, None
    task.updated_at = timezone.now()
    task.done_at = task.done_at or task.updated_at
    task.save()
    return task


# Progress and closing


@dataclass(frozen=True)
class ReviewerProgress:
    """How far a reviewer is: counts only, nothing of what they answered."""

    user: Any
    membership: StudyMembership
    total: int
    done: int
    seconds: int
    last: datetime | None


def progress(study: Study) -> list[ReviewerProgress]:
    """Each reviewer's counts, in one query."""
    counts: dict[int, Any] = {
        row["reviewer_id"]: row
        for row in study.tasks.order_by()
        .values("reviewer_id")
        .annotate(
            total=Count("pk"),
            done=Count("pk", filter=Q(done_at__isnull=False)),
            seconds=Sum("active_seconds"),
            last=Max("updated_at"),
        )
    }
    nothing: dict[str, Any] = {"total": 0, "done": 0, "seconds": 0, "last": None}
    return [
        ReviewerProgress(
            user=member.user,
            membership=member,
            **{name: counts.get(member.user_id, nothing)[name] for name in nothing},
        )
        for member in study.reviewers.select_related("user")
    ]


@transaction.atomic
def close(study: Study, user) -> Study:
    """Take no more ratings, and have the report computed.

    Raises:
        ValidationError: the study is not running.
    """
    study = Study.objects.select_for_update(of=("self",)).get(pk=study.pk)
    if not study.is_running:
        raise ValidationError("Only a running study can be closed.")
    study.status, study.closed_at, study.closed_by = StudyStatus.CLOSED, timezone.now(), user
    study.save(update_fields=["status", "closed_at", "closed_by"])
    request_report(study, user)
    return study


def request_report(study: Study, user) -> Report:
    """Have a closed study's report computed by a worker.

    Raises:
        ValidationError: the study is not closed.
    """
    from evaluation import tasks

    if not study.is_closed:
        raise ValidationError("A report needs a closed study; until then nobody sees results.")
    report = Report.objects.create(project_id=study.project_id, study=study, created_by=user, seed=study.seed)
    report.queue(tasks.execute_report)
    return report


def is_reviewer(user, study: Study) -> bool:
    return study.reviewers.filter(user_id=user.pk).exists()


def is_blind(user, study: Study) -> bool:
    """Whether this person is rating the study right now, and so must not learn about its systems."""
    return study.is_running and is_reviewer(user, study)


def reviewed_by(user) -> QuerySet[Study]:
    """The studies this person reviews, running ones first."""
    return Study.objects.reviewed_by(user).order_by("-status", "-started_at")


def home_section(user) -> list[Study]:
    """For the home page: the studies this person reviews, with how many texts they have and have finished."""
    mine = Count("tasks", filter=Q(tasks__reviewer_id=user.pk))
    done = Count("tasks", filter=Q(tasks__reviewer_id=user.pk, tasks__done_at__isnull=False))
    return list(reviewed_by(user).annotate(texts=mine, texts_done=done)[:50])
