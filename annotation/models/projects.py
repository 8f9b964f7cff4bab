"""Projects, their dimensions and their people."""

from functools import cached_property
from typing import Any

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.urls import reverse
from django.utils import timezone

from annotation.validators import check_content_kinds, check_dimension_keys, check_levels


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


def default_severe_dimensions() -> list[str]:
    return ["toxicity", "harm", "bias"]


class VotedRewrites(models.TextChoices):
    PROPOSED = "proposed", "The proposed rewrite of each complete text"
    EVERY = "every", "Every different rewrite of each complete text"


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
    guidelines_version = models.PositiveIntegerField(default=1, editable=False)
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
    content_kinds = models.JSONField(
        default=list,
        blank=True,
        validators=[check_content_kinds],
        help_text="What may upset in the texts: names with the words of a warning, shown with each text that has them.",
    )
    blur_texts = models.BooleanField(
        "texts start blurred",
        default=False,
        help_text="Annotators uncover each text with h or a button when they are ready.",
    )
    severe_dimensions = models.JSONField(
        default=default_severe_dimensions,
        blank=True,
        validators=[check_dimension_keys],
        help_text="Keys of the dimensions whose highest level makes a text severe.",
    )
    pause_after = models.PositiveSmallIntegerField(
        "suggest a pause after",
        default=10,
        validators=[MaxValueValidator(1000)],
        help_text="As many severe texts in a row; 0 for never. Nobody is made to pause.",
    )
    daily_limit = models.PositiveIntegerField(
        "texts a day",
        default=0,
        validators=[MaxValueValidator(100_000)],
        help_text="How many texts one person may read a day, annotating, voting and in practice; 0 for no limit. The "
        "day ends at midnight, server time.",
    )
    daily_severe_limit = models.PositiveIntegerField(
        "severe texts a day",
        default=0,
        validators=[MaxValueValidator(100_000)],
        help_text="How many severe ones among those they annotate; 0 for no limit.",
    )
    votes_per_rewrite = models.PositiveSmallIntegerField(
        default=2,
        validators=[MaxValueValidator(50)],
        help_text="How many other annotators judge whether a rewrite is safe and keeps the meaning; 0 asks nobody.",
    )
    voted_rewrites = models.CharField(
        max_length=10, choices=VotedRewrites.choices, default=VotedRewrites.PROPOSED, help_text="What is voted on."
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

    @cached_property
    def dimensions_in_order(self) -> list["Dimension"]:
        """The project's dimensions, read once per project object."""
        return list(self.dimensions.all())


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


class GuidelinesVersion(models.Model):
    """The guidelines as they were from a time on. The newest one's text is also the project's `guidelines`."""

    project = models.ForeignKey(Project, models.CASCADE, related_name="guidelines_versions")
    number = models.PositiveIntegerField()
    text = models.TextField(blank=True)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = ProjectScopedQuerySet.as_manager()

    class Meta:
        ordering = ["-number"]
        constraints = [models.UniqueConstraint(fields=["project", "number"], name="guidelines_number_once")]

    def __str__(self) -> str:
        return f"Guidelines of {self.project}, version {self.number}"


class Scale(models.TextChoices):
    ORDINAL = "ordinal", "Ordinal: the levels have an order"
    NOMINAL = "nominal", "Nominal: the levels have no order"


class Dimension(models.Model):
    """What is judged, with ordered levels, lowest first. A label is one level of one dimension."""

    project = models.ForeignKey(Project, models.CASCADE, related_name="dimensions")
    key = models.SlugField(max_length=40, help_text="Column name in exports, for example bias.")
    name = models.CharField(max_length=60)
    levels = models.JSONField(validators=[check_levels], help_text="Ordered, lowest first.")
    scale = models.CharField(
        max_length=10,
        choices=Scale.choices,
        default=Scale.ORDINAL,
        help_text="Whether a far miss counts as more disagreement than a near one.",
    )
    position = models.PositiveSmallIntegerField(default=0)

    objects = ProjectScopedQuerySet.as_manager()

    class Meta:
        ordering = ["position", "id"]
        constraints = [models.UniqueConstraint(fields=["project", "key"], name="dimension_key_once")]

    def __str__(self) -> str:
        return self.name
