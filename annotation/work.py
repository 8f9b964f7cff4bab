"""The annotator's day: take the next item, keep a draft, submit, skip, go back and revise.

All handing out happens in `next_assignment`; annotation/handout.py says which item is next. PostgreSQL bounds it: a
row lock that skips what others are taking, a unique constraint per item and annotator, and counters with check
constraints (see annotation/models/items.py).
"""

import logging
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection, models, transaction
from django.db.models import Exists, F, OuterRef, Q, QuerySet
from django.utils import timezone

from annotation import controls, drafts, handout, pairs, practice, suggestions, validators, wellbeing
from annotation.models import (
    Annotation,
    AnnotationRevision,
    Assignment,
    AssignmentState,
    Item,
    ItemKind,
    Project,
    Reservation,
)

logger = logging.getLogger(__name__)

MAX_COMMENT_LENGTH = 5_000
# Two sweeps of expired leases at once could lock items in different orders; one at a time is plenty.
EXPIRY_LOCK = 7_361_401


class NoLongerYours(ValidationError):
    """The item went to others while this annotator was away. The draft is kept."""

    def __init__(self, why: str) -> None:
        super().__init__(
            f"You were away for a while and {why}. Your draft is kept, but it can no longer be submitted. "
            "You find it under My work.",
            code="no_longer_yours",
        )


def clean_content(content: dict[str, Any], project: Project, text: str, *, complete: bool) -> dict[str, Any]:
    """What an annotator decided, checked and normalised: the fields of Annotation.CONTENT.

    Args:
        content: any of the fields; those absent are empty. complete: False for a draft, which may lack labels.

    Raises:
        ValidationError: keyed by field, every field checked.
    """
    levels = {dimension.key: dimension.levels for dimension in project.dimensions_in_order}
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
    queue (annotation/handout.py).

    Raises:
        practice.PracticeNeeded: the project's practice comes first.
        wellbeing.LimitReached: they hold nothing and have finished as many texts today as the project or they
            themselves allow.
    """
    practice.check_passed(user, project)
    for attempt in range(3):
        try:
            with transaction.atomic():
                found = _open(user, project)
                if found and (assignment := _hold_on(found, project)):
                    return assignment
                choices = wellbeing.choices_of(user, project)
                declined = choices.declined_kinds
                assignment = (found and _resume(user, project, declined)) or _take(user, project, declined)
                # Not earlier: another tab may have finished a text meanwhile, and from now on nobody but this one holds
                # anything. What was taken goes back with the transaction.
                wellbeing.check_limit(user, project, choices)
                if assignment:
                    return assignment
        except IntegrityError:  # the same person in another tab was faster: use what they hold
            logger.info("%s asked for two items at once in project %s", user.pk, project.pk)
            continue
        if attempt == 0 and not expire_leases(project):
            return None
    return None


def _lease(project: Project):
    return timezone.now() + timedelta(minutes=project.lease_minutes)


def _open(user, project: Project) -> Assignment | None:
    """What this person holds, or else something that they held before; after a submit there is mostly neither."""
    states = (AssignmentState.HELD, AssignmentState.EXPIRED)  # in the order of their names, backwards
    return Assignment.objects.filter(project=project, annotator=user, state__in=states).order_by("-state").first()


def _hold_on(assignment: Assignment, project: Project) -> Assignment | None:
    if assignment.state != AssignmentState.HELD:
        return None
    assignment.item.project = project
    changed: dict[str, Any] = {}
    if assignment.lease_until < _lease(project) - timedelta(minutes=project.lease_minutes / 2):
        changed["lease_until"] = assignment.lease_until = _lease(project)
    if assignment.guidelines_version != project.guidelines_version:  # the newer ones are on screen from now on
        changed["guidelines_version"] = assignment.guidelines_version = project.guidelines_version
    # Unless it was submitted or skipped in another tab meanwhile.
    held = Assignment.objects.filter(pk=assignment.pk, state=AssignmentState.HELD)
    if changed and not held.update(**changed):
        return None
    return assignment


def _resume(user, project: Project, declined: list[str]) -> Assignment | None:
    expired = Assignment.objects.filter(project=project, annotator=user, state=AssignmentState.EXPIRED)
    wanted = expired.filter(item__in=free_for(user, declined)).select_related("item").order_by("id")
    # The assignment is locked before its item, as a submit does.
    assignment = wanted.select_for_update(of=("self",)).first()
    if assignment is None or not free_for(user).filter(pk=assignment.item_id).select_for_update(no_key=True).exists():
        return None
    assignment.item.project = project
    assignment.state, assignment.lease_until = AssignmentState.HELD, _lease(project)
    assignment.guidelines_version = project.guidelines_version
    again = {name: getattr(assignment, name) for name in ("state", "lease_until", "guidelines_version")}
    # Unless it was submitted in another tab meanwhile.
    if not expired.filter(pk=assignment.pk).update(**again):
        return None
    return assignment


def free_for(user, declined: Sequence[str] = ()) -> QuerySet[Item]:
    """Items that this person may take up again: wanted still, not reserved for others, not seen in another guise since.

    Args:
        declined: kinds of content that they do not want.
    """
    own = Reservation.objects.filter(item=OuterRef("pk"), user=user)
    free = Item.objects.filter(handout.WANTED).filter(Q(reserved=False) | Exists(own))
    free = free.exclude(handout.voted_on(user) | handout.had_copy(user))
    return free.exclude(content_kinds__has_any_keys=list(declined)) if declined else free


def _take(user, project: Project, declined: list[str]) -> Assignment | None:
    item = controls.next_control(user, project, declined) or handout.take_first(user, project, declined)
    if item is None:
        return None
    item.project = project
    return Assignment.objects.create(
        project=project,
        item=item,
        annotator=user,
        lease_until=_lease(project),
        guidelines_version=project.guidelines_version,
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
        return give_back(Assignment.objects.filter(pk__in=[row.pk for row in locked]), AssignmentState.EXPIRED)


@transaction.atomic
def give_back(assignments: QuerySet[Assignment], state: AssignmentState) -> int:
    """Let others have the items of these assignments. Returns how many.

    An item whose overlap was lowered while it was held may be complete by that; then its pair is proposed.
    """
    wanted = Item.objects.filter(pk__in=assignments.values("item_id")).order_by("pk")
    # Whoever locks many items locks them in this order, or two would wait for each other for ever.
    items = list(wanted.select_for_update(no_key=True).values_list("pk", flat=True))
    given = assignments.update(state=state)
    complete = Item.objects.filter(
        pk__in=items, kind=ItemKind.WORK, lowered_to__isnull=False, finished__gt=0, finished__gte=F("overlap")
    )
    for item in complete.order_by("pk"):
        pairs.propose(item)
    return given


def save_draft(user, pk: int, content: dict[str, Any], base: drafts.Base = drafts.LAST_WRITE_WINS) -> Assignment:
    """Keep what an annotator has typed so far, and their hold on the item.

    Args:
        content: as for `submit`; for a finished text also `revision`, the one that the change is based on. The change
            counts once it is saved with `revise`. base: what was before them; without a version the last write wins.

    Raises:
        Assignment.DoesNotExist: not theirs. drafts.Conflict: a newer draft is there, or the text was finished.
        ValidationError: the draft cannot be stored.
    """
    with transaction.atomic():
        assignment = _locked(user, pk)
        project = assignment.item.project
        draft = clean_content(content, project, assignment.item.text, complete=False)
        draft["active_seconds"] = clean_seconds(content.get("active_seconds"))
        if type(content.get("revision")) is int:
            draft["revision"] = content["revision"]
        drafts.keep(assignment, draft, base)
        if assignment.state == AssignmentState.HELD:
            assignment.lease_until = _lease(project)
        assignment.save(update_fields=[*drafts.FIELDS, "lease_until"])
        return assignment


def _locked(user, pk: int) -> Assignment:
    # With what handing out the next text asks of the project.
    found = Assignment.objects.of(user).select_related(
        "item__project__quality_settings", "item__project__suggestion_settings"
    )
    return found.select_for_update(of=("self",)).get(pk=pk)


def submit(user, pk: int, content: dict[str, Any], base: drafts.Base = drafts.LAST_WRITE_WINS) -> Annotation:
    """Finish an assignment and return its annotation. A submit that arrives twice counts once.

    Raises:
        Assignment.DoesNotExist: not theirs. NoLongerYours: the lease ran out and the item is full; what was sent is
        kept as the draft. drafts.Conflict: a newer draft is there, or the text was finished with other words.
        ValidationError: the content is not complete or breaks a rule; keyed by field.
    """
    try:
        return _submit(user, pk, content, base)
    except NoLongerYours:
        save_draft(user, pk, content)
        raise


@transaction.atomic
def _submit(user, pk: int, content: dict[str, Any], base: drafts.Base) -> Annotation:
    assignment = _locked(user, pk)
    item = assignment.item
    cleaned = clean_content(content, item.project, item.text, complete=True)
    if annotation := drafts.annotation_of(assignment):
        revisions = [annotation.content(), *annotation.revisions.values_list("content", flat=True)]
        if any(drafts.same(revision, cleaned) for revision in revisions):
            return annotation
        raise drafts.Conflict(drafts.facts(assignment), "You have submitted this text already, with other words.")
    drafts.check(assignment, cleaned, base)
    if assignment.state != AssignmentState.HELD:
        _check_late(user, item)
    annotation = Annotation.objects.create(
        project=item.project,
        item=item,
        annotator=user,
        assignment=assignment,
        kind=item.kind,
        guidelines_version=assignment.guidelines_version,
        active_seconds=clean_seconds(content.get("active_seconds")),
        suggestion=assignment.suggestion,
        suggestion_shown=assignment.suggestion_shown,
        suggestion_distance=suggestions.distance(cleaned["rewrite"], assignment.suggestion),
        **cleaned,
    )
    assignment.state, assignment.draft = AssignmentState.FINISHED, None
    assignment.save(update_fields=["state", "draft"])
    item.finished, item.overlap = Item.objects.values_list("finished", "overlap").get(pk=item.pk)
    if item.kind == ItemKind.WORK and item.finished >= item.overlap:
        pairs.propose(item)
    return annotation


def _check_late(user, item: Item) -> None:
    """Raise NoLongerYours unless what comes after the lease has ended can still count. The item stays locked."""
    locked = Item.objects.select_for_update(no_key=True).get(pk=item.pk)
    if locked.settled:
        raise NoLongerYours("the lead has settled this text")
    if locked.reserved and not Reservation.objects.filter(item=item, user=user).exists():
        raise NoLongerYours("this text was given to others")
    if locked.taken >= locked.overlap:
        raise NoLongerYours("others have finished this text")
    same = Item.objects.filter(pk=item.pk)
    if same.filter(handout.voted_on(user)).exists():
        raise NoLongerYours("you have been shown a rewrite of this text to vote on")
    if same.filter(handout.had_copy(user)).exists():  # its words must not tell that the copy was hidden gold
        raise NoLongerYours("this text was given to others")


@transaction.atomic
def skip(user, pk: int) -> None:
    """Give an item back to the others without a word. The draft is kept; the item does not come back to this person.

    Raises:
        Assignment.DoesNotExist: not theirs.
    """
    assignment = _locked(user, pk)
    if assignment.state != AssignmentState.FINISHED:
        give_back(Assignment.objects.filter(pk=assignment.pk), AssignmentState.SKIPPED)


@transaction.atomic
def revise(
    user, pk: int, content: dict[str, Any], revision: int, base: drafts.Base = drafts.LAST_WRITE_WINS
) -> Annotation:
    """Change one's own annotation, keeping the earlier content as a revision. The same content changes nothing.

    Args:
        revision: the revision that was on screen.

    Raises:
        Annotation.DoesNotExist: not theirs. drafts.Conflict: it changed in another tab or on another device.
        ValidationError: the pair is settled, or this person has voted on a rewrite of the text and the lead did not
            send their annotation back, or the content breaks a rule.
    """
    annotation = (
        Annotation.objects.select_for_update(of=("self", "assignment"), no_key=True)
        .select_related("item", "project", "assignment")
        .get(pk=pk, annotator_id=user.pk)
    )
    assignment = annotation.assignment
    cleaned = clean_content(content, annotation.project, annotation.item.text, complete=True)
    before = annotation.content()
    if cleaned == before:
        _drop_draft(assignment)
        return annotation
    if reason := controls.why_closed(annotation, lock=True):
        raise ValidationError(reason)
    if revision != annotation.revision:
        raise drafts.Conflict(
            drafts.facts(assignment),
            f"You changed this annotation elsewhere meanwhile (revision {annotation.revision}, here {revision}). "
            "Open it again to see that revision.",
        )
    if drafts.change_of(assignment, annotation):
        drafts.check(assignment, cleaned, base)
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
    _drop_draft(assignment)
    complete = annotation.item.finished >= annotation.item.overlap
    if annotation.kind == ItemKind.WORK and (complete or pairs.proposed(annotation.item)):
        pairs.propose(annotation.item)
    pairs.revised(annotation)
    return annotation


def _drop_draft(assignment: Assignment) -> None:
    if assignment.draft is not None:
        assignment.draft = None
        assignment.draft_version += 1
        assignment.save(update_fields=["draft", "draft_version"])


def previous_annotation(user, project: Project, before: int | None = None) -> Annotation | None:
    """The annotator's last annotation in the project, or the last one before a given one."""
    mine = _own_annotations(user, project)
    if before is not None:
        mine = mine.filter(pk__lt=before)
    return mine.order_by("-pk").first()


def following_annotation(user, project: Project, after: int) -> Annotation | None:
    """The annotator's first annotation after a given one; None when that was their newest."""
    return _own_annotations(user, project).filter(pk__gt=after).order_by("pk").first()


def _own_annotations(user, project: Project) -> models.QuerySet[Annotation]:
    return Annotation.objects.filter(project=project, annotator=user).select_related("item", "project", "assignment")
