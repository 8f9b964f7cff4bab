"""Who holds an item, and what they made of it."""

from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone

from annotation.models.drafted import Drafted
from annotation.models.items import Item, ItemKind
from annotation.models.projects import Membership, Project, ProjectScopedQuerySet, Role


class AssignmentState(models.TextChoices):
    HELD = "held", "Held"
    FINISHED = "finished", "Finished"
    SKIPPED = "skipped", "Skipped"
    EXPIRED = "expired", "Expired"


class AssignmentQuerySet(ProjectScopedQuerySet):
    def of(self, user) -> "AssignmentQuerySet":
        """Assignments of this person where they are an annotator still. Their pages start here, never from `all()`."""
        own = self.filter(annotator_id=user.pk).select_related("item__project")
        if user.is_superuser:
            return own
        role = Membership.objects.filter(project_id=OuterRef("project_id"), user_id=user.pk, role=Role.ANNOTATOR)
        return own.filter(Exists(role))


class Assignment(Drafted):
    """This annotator holds this item until a time. The draft outlives the lease."""

    project = models.ForeignKey(Project, models.CASCADE, related_name="assignments")
    item = models.ForeignKey(Item, models.CASCADE, related_name="assignments")
    annotator = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="assignments")
    state = models.CharField(max_length=10, choices=AssignmentState.choices, default=AssignmentState.HELD)
    guidelines_version = models.PositiveIntegerField(
        default=1, db_default=1, help_text="The version of the guidelines that was last shown beside it."
    )
    lease_until = models.DateTimeField()
    suggestion = models.ForeignKey(
        "annotation.Suggestion",
        models.RESTRICT,
        null=True,
        blank=True,
        related_name="assignments",
        help_text="The one there was when the item was handed out, shown or not.",
    )
    suggestion_shown = models.BooleanField(default=False, help_text="Drawn at hand-out, before anything was shown.")
    suggestion_withheld_percent = models.PositiveSmallIntegerField(
        null=True, blank=True, help_text="The share that was withheld then, which the draw can be repeated with."
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = AssignmentQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["item", "annotator"], name="assignment_once"),
            models.UniqueConstraint(
                fields=["project", "annotator"], condition=Q(state="held"), name="assignment_one_held"
            ),
        ]
        indexes = [
            models.Index(fields=["project", "annotator", "-id"], name="assignment_by_person"),
            models.Index(fields=["lease_until"], condition=Q(state="held"), name="assignment_leases"),
            models.Index(
                fields=["project", "annotator"],
                condition=Q(state__in=["held", "expired"]),
                name="assignment_open",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.item} held by {self.annotator}"


class Annotation(models.Model):
    """One annotator's labels, spans, target groups, rewrite and comment for one item.

    `labels` maps a dimension's key to one of its levels. `spans` is a list of {"start", "end"} in code points of the
    item's text, `end` exclusive. The row is the newest revision; earlier ones are in AnnotationRevision.
    """

    project = models.ForeignKey(Project, models.CASCADE, related_name="annotations")
    item = models.ForeignKey(Item, models.CASCADE, related_name="annotations")
    annotator = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="annotations")
    assignment = models.OneToOneField(Assignment, models.CASCADE, related_name="annotation")
    kind = models.CharField(
        max_length=10,
        choices=ItemKind.choices,
        default=ItemKind.WORK,
        editable=False,
        help_text="The item's kind, copied so that counting needs no join.",
    )
    labels = models.JSONField(default=dict)
    spans = models.JSONField(default=list, blank=True)
    target_groups = models.JSONField(default=list, blank=True)
    rewrite = models.TextField(blank=True)
    comment = models.TextField(blank=True)
    active_seconds = models.PositiveIntegerField(default=0, help_text="Seconds with the page in front and in use.")
    suggestion = models.ForeignKey(
        "annotation.Suggestion",
        models.RESTRICT,
        null=True,
        blank=True,
        related_name="annotations",
        help_text="The one there was, shown or not.",
    )
    suggestion_shown = models.BooleanField(default=False, help_text="Whether it was on screen, from the assignment.")
    suggestion_distance = models.FloatField(
        null=True,
        blank=True,
        editable=False,
        help_text="From the suggested rewrite to the annotator's: normalised Levenshtein distance, 0 the same, 1 all "
        "different. Empty where there was none of either.",
    )
    guidelines_version = models.PositiveIntegerField(
        default=1, help_text="The version of the guidelines it was made under."
    )
    revision = models.PositiveIntegerField(default=1)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = ProjectScopedQuerySet.as_manager()

    # What an annotator decides, and so what a draft and a revision hold.
    CONTENT = ("labels", "spans", "target_groups", "rewrite", "comment")

    class Meta:
        ordering = ["-id"]
        constraints = [models.UniqueConstraint(fields=["item", "annotator"], name="annotation_once")]
        indexes = [
            models.Index(fields=["project", "annotator", "-created_at"], name="annotation_by_person"),
            models.Index(fields=["project", "-id"], name="annotation_by_project"),
            models.Index(
                fields=["project", "-id"], condition=~Q(target_groups=[]), name="annotation_with_groups"
            ),  # for the groups named so far
            # What accuracy and self-consistency are computed from: few among many.
            models.Index(
                fields=["project", "kind", "annotator"], condition=~Q(kind="work"), name="annotation_controls"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.item} by {self.annotator}"

    def content(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.CONTENT}


class AnnotationRevision(models.Model):
    """An earlier content of an annotation, kept when its annotator changed it."""

    annotation = models.ForeignKey(Annotation, models.CASCADE, related_name="revisions")
    number = models.PositiveIntegerField()
    content = models.JSONField()
    guidelines_version = models.PositiveIntegerField(default=1)
    created_at = models.DateTimeField(help_text="When this content was submitted.")

    class Meta:
        ordering = ["annotation_id", "number"]
        constraints = [models.UniqueConstraint(fields=["annotation", "number"], name="revision_number_once")]

    def __str__(self) -> str:
        return f"{self.annotation}, revision {self.number}"
