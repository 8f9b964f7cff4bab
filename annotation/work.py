"""The annotator's day: take the next item, keep a draft, submit, skip, go back and revise.

All handing out happens in `next_assignment`. PostgreSQL bounds it: a row lock that skips what others are taking, a
unique constraint per item and annotator, and counters with check constraints (see annotation/models/items.py).
"""

import logging
from datetime import timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection, models, transaction
from django.db.models import Exists, F, OuterRef, Q, Subquery
from django.db.models.functions import Coalesce
from django.utils import timezone

from annotation import controls, pairs, practice, suggestions, validators
from annotation.models import (
    Annotation,
    AnnotationRevision,
    Assignment,
    AssignmentState,
    Dimension,
    Item,
    ItemKind,
    Project,
)

logger = logging.getLogger(__name__)

MAX_COMMENT_LENGTH = 5_000
# Two sweeps of expired leases at once could lock items in different orders; one at a time is plenty.
EXPIRY_LOCK = 7_361_401


class NoLongerYours(ValidationError):
    """The item went to others while this annotator was away. The draft is kept."""

    def __init__(self) -> None:
        super().__init__(
            "You were away for a while and others have finished this text. Your draft is kept, but it can no longer "
            "be submitted.",
            code="no_longer_yours",
        )


def dimensions_of(project: Project) -> list[Dimension]:
    """The project's dimensions in order, read once per project object."""
    if not hasattr(project, "_dimensions"):
        project._dimensions = list(project.dimensions.all())  # type: ignore[attr-defined]
    return project._dimensions  # type: ignore[attr-defined]


def clean_content(content: dict[str, Any], project: Project, text: str, *, complete: bool) -> dict[str, Any]:
    """What an annotator decided, checked and normalised: the fields of Annotation.CONTENT.

    Args:
        content: any of the fields; those absent are empty. complete: False for a draft, which may lack labels.

    Raises:
        ValidationError: keyed by field, every field checked.
    """
    levels = {dimension.key: dimension.levels for dimension in dimensions_of(project)}
    cleaned: dict[str, Any] = {
        "labels": content.get("labels", {}),
        "spans": content.get("spans", []),
        "target_groups": content.get("target_groups", []),
        "rewrite": content.get("rewrite", ""),
        "comment": content.get("comment", ""),
    }
    errors: dict[str, Any] = {}

    def check(field: str, rule, *args, **kwargs) -> None:
        try:
            rule(*args, **kwargs)
        except ValidationError as error:
            errors[field] = error

    for field in ("rewrite", "comment"):
        if not isinstance(cleaned[field], str):
            errors[field] = ValidationError(f"The {field} must be text.")
        else:
            cleaned[field] = validators.normalise_text(cleaned[field])
    check("labels", validators.check_labels, cleaned["labels"], levels, complete=complete)
    check("spans", validators.check_spans, cleaned["spans"], text)
    check("target_groups", validators.check_target_groups, cleaned["target_groups"])
    if "rewrite" not in errors:
        check("rewrite", validators.check_rewrite, cleaned["rewrite"])
    if "comment" not in errors:
        check("comment", _check_comment, cleaned["comment"])
    if errors:
        raise ValidationError(errors)
    cleaned["spans"] = sorted(cleaned["spans"], key=lambda span: span["start"])
    return cleaned


def _check_comment(comment: str) -> None:
    validators.check_storable(comment, "The comment")
    if len(comment) > MAX_COMMENT_LENGTH:
        raise ValidationError(f"The comment has {len(comment):,} characters; the limit is {MAX_COMMENT_LENGTH:,}.")


def clean_seconds(value: Any) -> int:
    """Active seconds as a browser counted them: 0 where they make no sense, at most a day."""
    try:
        return min(max(int(value), 0), 24 * 3600)
    except (TypeError, ValueError, OverflowError):
        return 0


def next_assignment(user, project: Project) -> Assignment | None:
    """The item this annotator holds, or else the next one that is free for them; None when there is none.

    What the annotator held before (their lease ran out) comes first if it is still free, with its draft. Then the
    queue goes on after the last item they were given, so that the search does not walk over all they have done.

    Raises:
        practice.PracticeNeeded: the project's practice comes first.
    """
    practice.check_passed(user, project)
    for attempt in range(3):
        try:
            with transaction.atomic():
                if assignment := _resume(user, project) or _take(user, project):
                    return assignment
        except IntegrityError:  # the same person in another tab was faster: use what they hold
            logger.info("%s asked for two items at once in project %s", user.pk, project.pk)
            continue
        if attempt == 0 and not expire_leases(project):
            return None
    return None


def _lease(project: Project):
    return timezone.now() + timedelta(minutes=project.lease_minutes)


def _resume(user, project: Project) -> Assignment | None:
    assignment = (
        Assignment.objects.filter(project=project, annotator=user)
        .filter(Q(state=AssignmentState.HELD) | Q(state=AssignmentState.EXPIRED, item__taken__lt=F("item__overlap")))
        .select_related("item")
        .order_by(models.Case(models.When(state=AssignmentState.HELD, then=0), default=1), "id")
        .first()
    )
    if assignment is None:
        return None
    assignment.item.project = project
    held = assignment.state == AssignmentState.HELD
    if not held and not _room(assignment.item_id):
        return None
    if not held or assignment.lease_until < _lease(project) - timedelta(minutes=project.lease_minutes / 2):
        before, assignment.state, assignment.lease_until = assignment.state, AssignmentState.HELD, _lease(project)
        # Unless it was submitted or skipped in another tab meanwhile.
        unchanged = Assignment.objects.filter(pk=assignment.pk, state=before)
        if not unchanged.update(state=AssignmentState.HELD, lease_until=assignment.lease_until):
            return None
    return assignment


def _room(item_id: int) -> bool:
    """Whether the item wants somebody, with its row locked so that the answer stays true."""
    return Item.objects.select_for_update().filter(pk=item_id, taken__lt=F("overlap")).exists()


def _take(user, project: Project) -> Assignment | None:
    if hidden := controls.next_control(user, project, _lease(project)):
        return hidden
    mine = Assignment.objects.filter(project=project, annotator=user)
    wanting = Item.objects.filter(
        project=project, kind=ItemKind.WORK, retired_at=None, taken__lt=F("overlap")
    ).order_by("pk")
    free = wanting.filter(~Exists(mine.filter(item=OuterRef("pk"))))
    # Behind their last item nothing can be theirs, so that search need not look at what they have done.
    last = Coalesce(Subquery(mine.order_by("-item_id").values("item_id")[:1]), 0)
    item = wanting.filter(pk__gt=last).select_for_update(skip_locked=True).first()
    if item is None:
        item = free.select_for_update(skip_locked=True).first()
    if item is None:
        # A row that was locked a moment ago may still be free: wait for it rather than say that nothing is left.
        item = free.select_for_update().first()
    if item is None:
        return None
    item.project = project
    return Assignment.objects.create(
        project=project,
        item=item,
        annotator=user,
        lease_until=_lease(project),
        **suggestions.condition(item, user.pk),
    )


def expire_leases(project: Project | None = None) -> int:
    """Give items back whose annotator has been away for longer than the lease. Drafts stay. Returns how many."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [EXPIRY_LOCK])
        late = Assignment.objects.filter(state=AssignmentState.HELD, lease_until__lt=timezone.now())
        if project:
            late = late.filter(project=project)
        locked = late.select_for_update(skip_locked=True, of=("self",)).order_by("item_id")[:1000]
        return Assignment.objects.filter(pk__in=[row.pk for row in locked]).update(state=AssignmentState.EXPIRED)


def save_draft(user, pk: int, content: dict[str, Any]) -> Assignment:
    """Keep what an annotator has typed so far, and their hold on the item. A finished assignment is left alone.

    Raises:
        Assignment.DoesNotExist: not theirs. ValidationError: the draft cannot be stored.
    """
    assignment = Assignment.objects.of(user).get(pk=pk)
    project = assignment.item.project
    draft = clean_content(content, project, assignment.item.text, complete=False)
    draft["active_seconds"] = clean_seconds(content.get("active_seconds"))
    rows = Assignment.objects.filter(pk=pk).exclude(state=AssignmentState.FINISHED)
    rows.update(
        draft=draft,
        draft_saved_at=timezone.now(),
        lease_until=models.Case(
            models.When(state=AssignmentState.HELD, then=models.Value(_lease(project))),
            default=F("lease_until"),
        ),
    )
    assignment.draft = draft
    return assignment


def _locked(user, pk: int) -> Assignment:
    return Assignment.objects.of(user).select_for_update(of=("self",)).get(pk=pk)


def submit(user, pk: int, content: dict[str, Any]) -> Annotation:
    """Finish an assignment and return its annotation. A submit that arrives twice counts once.

    Raises:
        Assignment.DoesNotExist: not theirs. NoLongerYours: the lease ran out and the item is full; what was sent is
        kept as the draft. ValidationError: the content is not complete or breaks a rule; keyed by field.
    """
    try:
        return _submit(user, pk, content)
    except NoLongerYours:
        save_draft(user, pk, content)
        raise


@transaction.atomic
def _submit(user, pk: int, content: dict[str, Any]) -> Annotation:
    assignment = _locked(user, pk)
    if assignment.state == AssignmentState.FINISHED:
        return Annotation.objects.get(assignment=assignment)
    item = assignment.item
    cleaned = clean_content(content, item.project, item.text, complete=True)
    if assignment.state != AssignmentState.HELD and not _room(item.pk):
        raise NoLongerYours
    annotation = Annotation.objects.create(
        project=item.project,
        item=item,
        annotator=user,
        assignment=assignment,
        kind=item.kind,
        guidelines_version=item.project.guidelines_version,
        active_seconds=clean_seconds(content.get("active_seconds")),
        suggestion=assignment.suggestion,
        suggestion_shown=assignment.suggestion_shown,
        suggestion_distance=suggestions.distance(cleaned["rewrite"], assignment.suggestion),
        **cleaned,
    )
    assignment.state, assignment.draft = AssignmentState.FINISHED, None
    assignment.save(update_fields=["state", "draft"])
    item.refresh_from_db(fields=["finished", "overlap"])
    if item.kind == ItemKind.WORK and item.finished >= item.overlap:
        pairs.propose(item)
    return annotation


@transaction.atomic
def skip(user, pk: int) -> None:
    """Give an item back to the others without a word. The draft is kept; the item does not come back to this person.

    Raises:
        Assignment.DoesNotExist: not theirs.
    """
    assignment = _locked(user, pk)
    if assignment.state != AssignmentState.FINISHED:
        assignment.state = AssignmentState.SKIPPED
        assignment.save(update_fields=["state"])


@transaction.atomic
def revise(user, pk: int, content: dict[str, Any], revision: int) -> Annotation:
    """Change one's own annotation, keeping the earlier content as a revision. The same content changes nothing.

    Args:
        revision: the revision that was on screen.

    Raises:
        Annotation.DoesNotExist: not theirs. ValidationError: the pair is settled, or it changed in another tab, or
        the content breaks a rule.
    """
    annotation = (
        Annotation.objects.select_for_update(of=("self",), no_key=True)
        .select_related("item", "project")
        .get(pk=pk, annotator_id=user.pk)
    )
    cleaned = clean_content(content, annotation.project, annotation.item.text, complete=True)
    before = annotation.content()
    if cleaned == before:
        return annotation
    if controls.settled(annotation, lock=True):
        raise ValidationError("The lead has settled this text; its annotations can no longer change.")
    if revision != annotation.revision:
        raise ValidationError(
            f"You changed this annotation elsewhere meanwhile (revision {annotation.revision}, here {revision}). "
            "Open it again to see that revision."
        )
    AnnotationRevision.objects.create(
        annotation=annotation,
        number=annotation.revision,
        content=before,
        guidelines_version=annotation.guidelines_version,
        created_at=annotation.updated_at,
    )
    for name, value in cleaned.items():
        setattr(annotation, name, value)
    annotation.revision += 1
    annotation.guidelines_version = annotation.project.guidelines_version
    annotation.updated_at = timezone.now()
    annotation.active_seconds += clean_seconds(content.get("active_seconds"))
    annotation.suggestion_distance = suggestions.distance(annotation.rewrite, annotation.suggestion)
    annotation.save()
    complete = annotation.item.finished >= annotation.item.overlap
    if annotation.kind == ItemKind.WORK and (complete or pairs.proposed(annotation.item)):
        pairs.propose(annotation.item)
    pairs.revised(annotation)
    return annotation


def previous_annotation(user, project: Project, before: int | None = None) -> Annotation | None:
    """The annotator's last annotation in the project, or the last one before a given one."""
    mine = Annotation.objects.filter(project=project, annotator=user).select_related("item", "project")
    if before is not None:
        mine = mine.filter(pk__lt=before)
    return mine.order_by("-pk").first()


def finished_today(user, project: Project) -> int:
    """How many items this annotator has finished since midnight (server's time zone)."""
    midnight = timezone.localtime().replace(hour=0, minute=0, second=0, microsecond=0)
    return Annotation.objects.filter(project=project, annotator=user, created_at__gte=midnight).count()
