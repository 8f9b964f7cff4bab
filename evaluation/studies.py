"""Studies: set up, invite reviewers, watch, take somebody off, close.

Starting one is in `starting.py`, what reviewers do in `reviewing.py`, what was planned in `protocol.py`.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.core.exceptions import PermissionDenied, ValidationError
from django.db import transaction
from django.db.models import Count, Max, Q, QuerySet, Sum
from django.utils import timezone
from django.utils.text import slugify

from annotation import projects, validators
from annotation.models import Project
from evaluation import protocol
from evaluation.models import (
    CONTROLS,
    PER_PAGE,
    Criterion,
    GuestLink,
    Layout,
    Rating,
    Report,
    Study,
    StudyMembership,
    StudyStatus,
    System,
    SystemKind,
    TaskKind,
    default_criteria,
)

MIN_SYSTEMS, MAX_SYSTEMS = 2, 12
MAX_CRITERIA = 8
TEXTS = ("name", "instructions", "hypotheses", "chosen_ids", "openings", "preference_question")
HIDDEN_RESULTS = (
    "You are rating systems of this study blind in one that runs. What it found is yours when that one closes."
)
# What may be taken off outputs besides white space; the rules are in `design/forms.py`.
NORMALISATIONS = {
    "preambles": "An announcement before the text",
    "closings": "An offer of more help after it",
    "quotes": "Quotation marks around the whole",
    "markdown": "Markdown's marks",
}
CONTROL_NAMES = {SystemKind.ORIGINAL: "Untouched original", SystemKind.REWRITE: "Approved rewrite"}

# Setting up


@transaction.atomic
def create(
    project: Project,
    user,
    *,
    systems: Iterable[System],
    tuned: Iterable[System] = (),
    controls: Iterable[str] = (),
    criteria: list[dict[str, Any]] | None = None,
    **values: Any,
) -> Study:
    """A study in draft.

    Args:
        tuned: which of the systems are tuned models. controls: kinds of CONTROLS to hide among the systems.
        criteria: keyword arguments of Criterion in their order; the three of a rewrite when None.
        values: name, reference (None with a control: the first control), and other fields of Study.

    Raises:
        ValidationError: keyed by field.
    """
    study = Study(project=project, created_by=user, **values)
    _save(study, list(systems), list(tuned), list(controls))
    set_criteria(study, default_criteria() if criteria is None else criteria)
    return study


@transaction.atomic
def change(
    study: Study,
    *,
    systems: Iterable[System] | None = None,
    tuned: Iterable[System] | None = None,
    controls: Iterable[str] | None = None,
    criteria: list[dict[str, Any]] | None = None,
    **values: Any,
) -> Study:
    """Change a study that has not started. What is None stays, as it is stored: `study` itself may be older.

    Raises:
        ValidationError: it has started, or keyed by field.
    """
    study = locked_draft(study)
    for name, value in values.items():
        setattr(study, name, value)
    before = list(study.systems.all())
    chosen = before if systems is None else list(systems)
    chosen = [system for system in chosen if system.kind not in CONTROLS]
    if controls is None:
        controls = [system.kind for system in before if system.kind in CONTROLS]
    _save(study, chosen, list(study.tuned.all() if tuned is None else tuned), list(controls))
    if criteria is not None:
        set_criteria(study, criteria)
    return study


def _save(study: Study, systems: list[System], tuned: list[System], controls: list[str]) -> None:
    hidden = [control(study.project, kind, study.created_by) for kind in dict.fromkeys(controls)]
    systems = list(dict.fromkeys([*systems, *hidden]))
    if study.reference_id is None and hidden:
        study.reference = hidden[0]
    check_systems(systems, study.reference if study.reference_id else None, study.project_id)
    if extra := [system for system in tuned if system not in systems]:
        raise ValidationError({"tuned": f"{extra[0].name} is not one of the chosen systems."})
    check_layout(study, len(systems))
    check_normalisation(study.normalisation)
    _check_texts(study, TEXTS)
    study.full_clean(exclude=["created_by"])
    if study.dataset_id and study.dataset.project_id != study.project_id:  # type: ignore[union-attr]
        raise ValidationError({"dataset": "Choose a dataset of this project."})
    study.save()
    study.systems.set(systems)
    study.tuned.set(tuned)


def control(project: Project, kind: str, user) -> System:
    """The project's system whose outputs are the texts themselves, or their approved rewrites. Within a transaction."""
    if kind not in CONTROLS:
        raise ValidationError({"controls": f"A hidden system is one of {', '.join(CONTROLS)}."})
    Project.objects.select_for_update(no_key=True).get(pk=project.pk)  # two first uses at once make one system
    found = System.objects.filter(project=project, kind=kind).first()
    if found is not None:
        return found
    name = usual = CONTROL_NAMES[SystemKind(kind)]
    number = 1
    while System.objects.filter(project=project, name=name).exists():
        name = f"{usual} (hidden)" if number == 1 else f"{usual} (hidden {number})"
        number += 1
    return System.objects.create(project=project, kind=kind, name=name, created_by=user)


def check_systems(systems: list[System], reference: System | None, project_id: int) -> None:
    """Raise ValidationError unless these are enough, and not too many, systems of the project and the reference is
    one of them.
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


def per_page(study: Study, systems: int) -> int:
    """Outputs on a page of this study, when it compares so many systems."""
    return study.per_page or min(systems, PER_PAGE[Layout(study.layout)][1])


def check_layout(study: Study, systems: int) -> None:
    """Raise ValidationError unless a page of the layout can hold what is wanted."""
    if study.layout not in PER_PAGE:
        raise ValidationError({"layout": f"A layout is one of {', '.join(PER_PAGE)}."})
    low, high = PER_PAGE[Layout(study.layout)]
    if not low <= per_page(study, systems) <= min(high, systems):
        shows = f"{low}" if low == high else f"{low} to {high}"
        raise ValidationError(
            {
                "per_page": f"A page of this layout shows {shows} output{'' if high == 1 else 's'}, "
                f"and the study has {systems} systems."
            }
        )


def _check_texts(row: Study | Criterion, names: Iterable[str]) -> None:
    """One kind of line break; raise ValidationError, keyed by field, where a text cannot be stored."""
    for name in names:
        texts = getattr(row, name)
        if isinstance(texts, str):
            setattr(row, name, validators.normalise_text(texts))
        for text in texts if isinstance(texts, list) else [texts]:
            try:
                validators.check_storable(str(text or ""), "The text")
            except ValidationError as error:
                raise ValidationError({name: error.messages}) from None


def check_normalisation(rules: Any) -> None:
    """Raise ValidationError unless every rule is one that outputs can be shown by."""
    if not isinstance(rules, list) or any(rule not in list(NORMALISATIONS) for rule in rules):
        raise ValidationError({"normalisation": f"Give a list of any of {', '.join(NORMALISATIONS)}."})


def set_criteria(study: Study, criteria: list[dict[str, Any]]) -> None:
    """Replace a draft's criteria. A key left out is made from the name.

    Raises:
        ValidationError: keyed by `criteria`, naming the criterion.
    """
    if len(criteria) > MAX_CRITERIA or not (criteria or not study.asks_criteria):
        raise ValidationError({"criteria": f"Give 1 to {MAX_CRITERIA} criteria."})
    rows, keys = [], set()
    for position, values in enumerate(criteria):
        row = Criterion(study=study, position=position, **values)
        row.anchors = [anchor.strip() for anchor in row.anchors]
        row.key = row.key or slugify(row.name).replace("-", "_")[:40] or f"criterion_{position + 1}"
        if row.hypothesis != "noninferiority":
            row.margin = None
        name = row.name or f"Criterion {position + 1}"
        try:
            _check_texts(row, ("name", "question", "key", "anchors"))
            row.full_clean(exclude=["study"])
        except ValidationError as error:
            raise ValidationError(
                {"criteria": [f"{name}, {field}: {' '.join(words)}" for field, words in error.message_dict.items()]}
            ) from None
        if row.key in keys:
            raise ValidationError({"criteria": f"{name}: there is another criterion with the key {row.key}."})
        keys.add(row.key)
        rows.append(row)
    study.criteria.all().delete()
    Criterion.objects.bulk_create(rows)


def locked_draft(study: Study) -> Study:
    """The study's row, locked until the end of the transaction. Raises ValidationError when it has started."""
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
    locked_draft(study)
    found = projects.find_or_invite(person, invited_by=user)
    membership, created = StudyMembership.objects.get_or_create(study=study, user=found)
    if not created:
        raise ValidationError({"person": f"{found} is a reviewer already."})
    return membership


@transaction.atomic
def remove_reviewer(study: Study, membership: StudyMembership) -> None:
    """Take a reviewer off a study that has not started."""
    locked_draft(study)
    is_guest = GuestLink.objects.filter(membership=membership).exists()
    membership.delete()
    if is_guest:
        membership.user.delete()  # an account that was made for this study alone, and did nothing yet


@transaction.atomic
def revoke(study: Study, membership: StudyMembership, user, reason: str) -> StudyMembership:
    """Take a reviewer off a running study: they open it no more. What they answered stays, and it is an amendment.

    Raises:
        ValidationError: the study is not running, they are off it already, or no reason is given.
    """
    study = Study.objects.select_for_update(of=("self",)).get(pk=study.pk)
    if not study.is_running:
        raise ValidationError("Only from a running study is a reviewer taken off this way.")
    membership = StudyMembership.objects.select_for_update(of=("self",)).get(pk=membership.pk, study=study)
    if membership.revoked_at:
        raise ValidationError(f"{membership.user} was taken off the study already.")
    membership.revoked_at = timezone.now()
    membership.save(update_fields=["revoked_at"])
    protocol.amend(study, user, reason, {"reviewer": [str(membership.user), None]})
    return membership


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
        for row in study.tasks.exclude(kind=TaskKind.SAME)
        .order_by()
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
        for member in study.reviewers.select_related("user__invitation")
    ]


@transaction.atomic
def close(study: Study, user, reason: str | None = None) -> Study:
    """Take no more ratings, seal and unblind them, and have the report computed.

    Closing before all pages are finished is an amendment of the protocol. `reason` says why; None where nobody is there
    to be asked, a person who is asked must say something.

    Raises:
        ValidationError: the study is not running; or keyed by `reason`.
    """
    study = Study.objects.select_for_update(of=("self",)).get(pk=study.pk)
    if not study.is_running:
        raise ValidationError("Only a running study can be closed.")
    open_pages = study.tasks.filter(done_at=None).count()
    if open_pages:
        total = study.tasks.exclude(kind=TaskKind.SAME).count()
        words = f"Closed with {total - open_pages} of {total} pages finished."
        if reason is not None and not reason.strip():
            raise ValidationError(
                {"reason": f"{total - open_pages} of {total} pages are finished. Say why it ends now."}
            )
        change = {"status": [study.status, StudyStatus.CLOSED]}
        protocol.amend(study, user, f"{words} {reason or ''}".strip(), change)
    now = timezone.now()
    study.status, study.closed_at, study.closed_by = StudyStatus.CLOSED, now, user
    study.ratings_hash = hash_of_answers(study)
    study.unblinded_at, study.unblinded_by = now, user
    study.save(update_fields=["status", "closed_at", "closed_by", "ratings_hash", "unblinded_at", "unblinded_by"])
    request_report(study, user)
    return study


def hash_of_answers(study: Study) -> str:
    """SHA-256 of every answer given: of each finished page its choice, then of each rating its value, in the order of
    their ids. Whoever has the rows can check that none was changed after the study was closed.
    """
    digest = hashlib.sha256()
    pages = study.tasks.filter(done_at__isnull=False).order_by("token")
    for row in pages.values_list("token", "preferred_id", "worst_id", "tie", "unpreferred", "comment").iterator():
        digest.update(repr([str(value) for value in row]).encode())
    ratings = Rating.objects.filter(slot__task__study=study).order_by("slot_id", "criterion__key")
    for answer in ratings.values_list("slot_id", "criterion__key", "value", "cannot_judge").iterator():
        digest.update(repr([str(value) for value in answer]).encode())
    return digest.hexdigest()


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
    """Whether this person is, or was, rating the study's systems in a running study, be it this one or another, and so
    must not learn about them.
    """
    return Study.objects.hidden_from(user).filter(pk=study.pk).exists()


def check_results(user, study: Study) -> None:
    """Raise PermissionDenied where this person must not read what a closed study found, or who wrote what in it."""
    if is_blind(user, study):
        raise PermissionDenied(HIDDEN_RESULTS)


def reviewed_by(user) -> QuerySet[Study]:
    """The studies this person reviews, running ones first."""
    return Study.objects.reviewed_by(user).order_by("-status", "-started_at")


def home_section(user) -> list[Study]:
    """For the home page: the studies this person reviews, with how many texts they have and have finished (practice
    left out), whether they have begun, and on how many pages a guess is left once all are rated.
    """
    own = Q(tasks__reviewer_id=user.pk) & ~Q(tasks__kind=TaskKind.SAME)
    real, finished = own & ~Q(tasks__kind=TaskKind.PRACTICE), Q(tasks__done_at__isnull=False)
    found = reviewed_by(user).annotate(
        texts=Count("tasks", filter=real),
        texts_done=Count("tasks", filter=real & finished),
        pages_left=Count("tasks", filter=own & ~finished),
        begun=Count("tasks", filter=own & finished),
        to_guess=Count("tasks", filter=own & Q(tasks__guess_wanted=True, tasks__guessed_at=None)),
    )
    return list(found[:50])
