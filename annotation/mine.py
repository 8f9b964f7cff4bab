"""An annotator's own work in a project: finished texts, skipped ones, and drafts of texts that they lost."""

from datetime import timedelta

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from annotation import handout, practice, wellbeing, work
from annotation.models import Assignment, AssignmentState, Item, Project

HOLDS_ANOTHER = "You hold another text now. Finish or skip it first."
# The parts of the page, in words, each with what it shows.
PARTS: dict[str, tuple[str, Q]] = {
    "finished": ("Finished", Q(state=AssignmentState.FINISHED)),
    "drafts": ("Kept drafts", Q(state__in=[AssignmentState.EXPIRED, AssignmentState.HELD], draft__isnull=False)),
    "skipped": ("Skipped", Q(state=AssignmentState.SKIPPED)),
}


def part(user, project: Project, name: str) -> QuerySet[Assignment]:
    """This person's assignments in one of PARTS."""
    own = Assignment.objects.filter(project=project, annotator=user)
    return own.filter(PARTS[name][1]).select_related("item", "annotation")


def search(assignments: QuerySet[Assignment], words: str) -> QuerySet[Assignment]:
    """Those whose text, or whose own rewrite or comment, finished or not, contains the words."""
    if not words.strip():
        return assignments
    places = ("item__text", "annotation__rewrite", "annotation__comment", "draft__rewrite", "draft__comment")
    found = Q()
    for place in places:
        found |= Q(**{f"{place}__icontains": words.strip()})
    return assignments.filter(found)


def why_not(user, assignment: Assignment) -> str:
    """Why a text that this person gave back or lost cannot be theirs again, in words; empty when it can."""
    item = Item.objects.get(pk=assignment.item_id)
    if item.settled:
        return "The lead has settled this text."
    if item.retired_at is not None:
        return "This text is not handed out any more."
    if item.taken >= item.overlap:
        return "Others have finished this text, or are at it."
    if Item.objects.filter(handout.voted_on(user), pk=item.pk).exists():
        return "You have been shown a rewrite of this text to vote on."
    if not work.free_for(user).filter(pk=item.pk).exists():
        return "This text was given to others."
    held = Assignment.objects.filter(project=item.project_id, annotator=user, state=AssignmentState.HELD)
    if held.exists():
        return HOLDS_ANOTHER
    return ""


def take_up(user, pk: int) -> Assignment:
    """Hold a text again that was skipped, or whose lease ran out, with its draft.

    Raises:
        Assignment.DoesNotExist: not theirs. ValidationError: it is finished, or cannot be theirs again, and why.
        wellbeing.LimitReached, practice.PracticeNeeded: nothing is handed out to them now.
    """
    try:
        return _take_up(user, pk)
    except IntegrityError:  # another tab was faster
        raise ValidationError(HOLDS_ANOTHER) from None


def _take_up(user, pk: int) -> Assignment:
    with transaction.atomic():
        assignment = Assignment.objects.of(user).select_for_update(of=("self",)).get(pk=pk)
        if assignment.state == AssignmentState.HELD:
            return assignment
        if assignment.state == AssignmentState.FINISHED:
            raise ValidationError("You have finished this text. Open it among your finished work to change it.")
        project = assignment.item.project
        practice.check_passed(user, project)
        wellbeing.check_limit(user, project, wellbeing.choices_of(user, project))
        Item.objects.select_for_update(no_key=True).get(pk=assignment.item_id)
        if reason := why_not(user, assignment):
            raise ValidationError(reason)
        assignment.state = AssignmentState.HELD
        assignment.lease_until = timezone.now() + timedelta(minutes=project.lease_minutes)
        assignment.save(update_fields=["state", "lease_until"])
        return assignment
