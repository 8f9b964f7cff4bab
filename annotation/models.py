"""Projects, their texts, who holds and who annotated them, and the pairs that were settled.

Two counters on Item, `taken` and `finished`, are kept by database triggers (migration 0002) and bounded by check
constraints, so that no code path, however concurrent, can hand an item to more people than its overlap.
"""

import uuid
from typing import Any

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Exists, F, OuterRef, Q
from django.urls import reverse
from django.utils import timezone

from annotation.jobs import Job
from annotation.validators import check_levels


class Role(models.TextChoices):
    LEAD = "lead", "Lead"
    ANNOTATOR = "annotator", "Annotator"
    TRAINER = "trainer", "Trainer"


def default_dimensions() -> list[dict[str, Any]]:
    """The four dimensions of both papers, as keyword arguments of Dimension."""
    return [
        {"key": "bias", "name": "Bias", "levels": ["none", "slight", "high"]},
        {"key": "toxicity", "name": "Toxicity", "levels": ["none", "mild", "severe"]},
        {"key": "harm", "name": "Harm", "levels": ["low", "medium", "high"]},
        {"key": "sentiment", "name": "Sentiment", "levels": ["negative", "neutral", "positive"]},
    ]


class ProjectQuerySet(models.QuerySet["Project"]):
    def visible_to(self, user) -> "ProjectQuerySet":
        """Projects this person is a member of; an administrator sees all. Views start here."""
        if user.is_superuser:
            return self
        return self.filter(pk__in=Membership.objects.filter(user_id=user.pk).values("project_id"))


class Project(models.Model):
    """Texts to annotate, with guidelines, dimensions and an overlap (annotators per item)."""

    name = models.CharField(max_length=200)
    guidelines = models.TextField(blank=True, help_text="Markdown. Annotators can open it beside every text.")
    content_warning = models.CharField(
        max_length=200, blank=True, help_text="Shown before the first text, for example: slurs, threats."
    )
    overlap = models.PositiveSmallIntegerField(
        default=3,
        validators=[MinValueValidator(1), MaxValueValidator(50)],
        help_text="How many people annotate each text.",
    )
    lease_minutes = models.PositiveIntegerField(
        default=60,
        validators=[MinValueValidator(1), MaxValueValidator(7 * 24 * 60)],
        help_text="How long a text stays with an annotator who does nothing before someone else may take it.",
    )
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = ProjectQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(condition=Q(overlap__gte=1), name="project_overlap_at_least_one"),
        ]

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        return reverse("annotation:project", args=[self.pk])


class ProjectScopedQuerySet(models.QuerySet):
    """For rows with a `project`: lists start at `visible_to`, so that nobody sees another project's rows."""

    def visible_to(self, user, *roles: str):
        """Rows of projects where this person has one of the roles (any role when none is named)."""
        if user.is_superuser:
            return self
        held = Membership.objects.filter(user_id=user.pk)
        if roles:
            held = held.filter(role__in=roles)
        return self.filter(project_id__in=held.values("project_id"))


class Membership(models.Model):
    """A person's role in a project. One person may have several roles."""

    project = models.ForeignKey(Project, models.CASCADE, related_name="memberships")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=10, choices=Role.choices)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = ProjectScopedQuerySet.as_manager()

    class Meta:
        ordering = ["user__username", "role"]
        constraints = [
            models.UniqueConstraint(fields=["project", "user", "role"], name="membership_once"),
        ]

    def __str__(self) -> str:
        return f"{self.user} is {self.get_role_display()} of {self.project}"


class Invitation(models.Model):
    """An account that a lead made for somebody new. Its link is shown to that lead until a password is set."""

    user = models.OneToOneField(settings.AUTH_USER_MODEL, models.CASCADE, related_name="invitation")
    invited_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="+")
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.user} invited by {self.invited_by}"


class Dimension(models.Model):
    """What is judged, with ordered levels, lowest first. A label is one level of one dimension."""

    project = models.ForeignKey(Project, models.CASCADE, related_name="dimensions")
    key = models.SlugField(max_length=40, help_text="Column name in exports, for example bias.")
    name = models.CharField(max_length=60)
    levels = models.JSONField(validators=[check_levels], help_text="Ordered, lowest first.")
    position = models.PositiveSmallIntegerField(default=0)

    objects = ProjectScopedQuerySet.as_manager()

    class Meta:
        ordering = ["position", "id"]
        constraints = [models.UniqueConstraint(fields=["project", "key"], name="dimension_key_once")]

    def __str__(self) -> str:
        return self.name


class Item(models.Model):
    """One text. Line breaks are stored as \\n, so that offsets count the same here and in a browser."""

    project = models.ForeignKey(Project, models.CASCADE, related_name="items")
    external_id = models.CharField(max_length=200, help_text="The team's own id; made from the row when missing.")
    text = models.TextField()
    source = models.CharField(max_length=200, blank=True)
    language = models.CharField(max_length=35, blank=True)
    target_group = models.CharField(max_length=200, blank=True)
    metadata = models.JSONField(default=dict, blank=True)
    overlap = models.PositiveSmallIntegerField(help_text="Annotators for this item; the project's unless changed.")
    taken = models.PositiveSmallIntegerField(default=0, editable=False)  # held or finished; kept by a trigger
    finished = models.PositiveSmallIntegerField(default=0, editable=False)  # annotations; kept by a trigger
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = ProjectScopedQuerySet.as_manager()

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["project", "external_id"], name="item_external_id_once"),
            models.CheckConstraint(condition=Q(taken__lte=F("overlap")), name="item_taken_within_overlap"),
            models.CheckConstraint(condition=Q(finished__lte=F("overlap")), name="item_finished_within_overlap"),
        ]
        indexes = [
            # The queue: only items that still want somebody, in the order they are handed out.
            models.Index(fields=["project", "id"], condition=Q(taken__lt=F("overlap")), name="item_queue"),
            models.Index(fields=["project", "id"], name="item_by_project"),
        ]

    def __str__(self) -> str:
        return self.external_id

    def get_absolute_url(self) -> str:
        return reverse("annotation:item", args=[self.pk])


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


class Assignment(models.Model):
    """This annotator holds this item until a time. The draft outlives the lease."""

    project = models.ForeignKey(Project, models.CASCADE, related_name="assignments")
    item = models.ForeignKey(Item, models.CASCADE, related_name="assignments")
    annotator = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="assignments")
    state = models.CharField(max_length=10, choices=AssignmentState.choices, default=AssignmentState.HELD)
    lease_until = models.DateTimeField()
    draft = models.JSONField(null=True, blank=True)
    draft_saved_at = models.DateTimeField(null=True, blank=True)
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
            models.Index(fields=["project", "annotator", "-item"], name="assignment_last"),
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
    labels = models.JSONField(default=dict)
    spans = models.JSONField(default=list, blank=True)
    target_groups = models.JSONField(default=list, blank=True)
    rewrite = models.TextField(blank=True)
    comment = models.TextField(blank=True)
    active_seconds = models.PositiveIntegerField(default=0, help_text="Seconds with the page in front and in use.")
    suggestion_shown = models.BooleanField(default=False)
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
    created_at = models.DateTimeField(help_text="When this content was submitted.")

    class Meta:
        ordering = ["annotation_id", "number"]
        constraints = [models.UniqueConstraint(fields=["annotation", "number"], name="revision_number_once")]

    def __str__(self) -> str:
        return f"{self.annotation}, revision {self.number}"


class PairStatus(models.TextChoices):
    PROPOSED = "proposed", "Proposed"
    APPROVED = "approved", "Approved"
    REJECTED = "rejected", "Rejected"


class Pair(models.Model):
    """An item's text with its safe rewrite and settled labels, who settled it, and from which annotations."""

    project = models.ForeignKey(Project, models.CASCADE, related_name="pairs")
    item = models.OneToOneField(Item, models.RESTRICT, related_name="pair")
    rewrite = models.TextField(blank=True)
    labels = models.JSONField(default=dict, help_text="Settled level per dimension; absent where undecided.")
    status = models.CharField(max_length=10, choices=PairStatus.choices, default=PairStatus.PROPOSED)
    disagreement = models.FloatField(
        default=0, help_text="Share of dimensions on which the annotators were not unanimous, 0 to 1."
    )
    reason = models.TextField(blank=True, help_text="Why it was rejected.")
    imported_rewrite = models.TextField(blank=True, help_text="The ready-made rewrite that came with the text.")
    imported_labels = models.JSONField(default=dict, blank=True, help_text="The labels that came with the text.")
    annotations = models.ManyToManyField(Annotation, related_name="pairs", blank=True)
    chosen = models.ForeignKey(
        Annotation,
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="chosen_for",
        help_text="The annotation whose rewrite was taken, edited or not.",
    )
    settled_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, blank=True, related_name="settled_pairs"
    )
    settled_at = models.DateTimeField(null=True, blank=True)
    version = models.PositiveIntegerField(
        default=1,
        editable=False,
        help_text="Grows with every change, so that nobody settles what they have not seen.",
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = ProjectScopedQuerySet.as_manager()

    class Meta:
        ordering = ["id"]
        constraints = [
            models.CheckConstraint(condition=~Q(status="approved") | ~Q(rewrite=""), name="pair_approved_has_rewrite"),
        ]
        indexes = [
            models.Index(fields=["project", "status", "-disagreement", "id"], name="pair_queue"),
        ]

    def __str__(self) -> str:
        return f"{self.item} ({self.get_status_display()})"

    def get_absolute_url(self) -> str:
        return reverse("annotation:pair", args=[self.pk])


def upload_path(instance, filename: str) -> str:
    """A private, unguessable place for an uploaded file; the name people gave it is kept on the row."""
    return f"uploads/{uuid.uuid4()}"


class ItemImport(Job):
    """Texts read from an uploaded file into a project: the counts, and every rejected row with its reason."""

    project = models.ForeignKey(Project, models.CASCADE, related_name="imports")
    file = models.FileField(upload_to=upload_path)
    file_name = models.CharField(max_length=255)
    file_format = models.CharField(max_length=5, choices=[("csv", "CSV"), ("jsonl", "JSON Lines")])
    with_pairs = models.BooleanField(
        "import rewrites and labels as proposed pairs",
        default=True,
        help_text="Columns safe_rewrite and the dimensions' keys. Otherwise these columns are left out.",
    )
    imported = models.PositiveIntegerField(default=0)
    proposed = models.PositiveIntegerField(default=0, help_text="Ready-made rewrites that became proposed pairs.")
    rejected = models.PositiveIntegerField(default=0)
    applied_at = models.DateTimeField(
        null=True, blank=True, editable=False, help_text="When its rows were written, all at once."
    )

    objects = Job.ScopedManager()

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"Import of {self.file_name}"

    def get_absolute_url(self) -> str:
        return reverse("annotation:import", args=[self.pk])


class RejectedRow(models.Model):
    """A row of an import that was left out."""

    item_import = models.ForeignKey(ItemImport, models.CASCADE, related_name="rejected_rows")
    row = models.PositiveIntegerField(help_text="Counted as a spreadsheet does: the header is row 1.")
    field = models.CharField(max_length=100, blank=True)
    reason = models.CharField(max_length=500)
    excerpt = models.CharField(max_length=200, blank=True)

    class Meta:
        ordering = ["row", "id"]

    def __str__(self) -> str:
        return f"Row {self.row}: {self.reason}"


class Export(Job):
    """A file written from a project's rows by one of the registered exporters (annotation/exports.py)."""

    project = models.ForeignKey(Project, models.CASCADE, related_name="exports")
    kind = models.CharField(max_length=40)
    file_format = models.CharField(max_length=10)
    filters = models.JSONField(default=dict, blank=True)
    file = models.FileField(upload_to="exports/", blank=True)
    rows = models.PositiveIntegerField(default=0)

    objects = Job.ScopedManager()

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.kind} as {self.file_format}"

    def get_absolute_url(self) -> str:
        return reverse("annotation:export", args=[self.pk])
