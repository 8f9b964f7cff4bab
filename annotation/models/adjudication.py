"""What leads do with pairs: send them back, and decide many at a time under a rule."""

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.urls import reverse
from django.utils import timezone

from annotation.jobs import Job
from annotation.models.projects import Project, ProjectScopedQuerySet


class PairRefresh(Job):
    """Bring a project's pairs and what is put to the vote in line with its settings, after these were changed."""

    project = models.ForeignKey(Project, models.CASCADE, related_name="pair_refreshes")
    last_item = models.BigIntegerField(default=0, editable=False, help_text="How far it came, by the items' ids.")
    proposed = models.PositiveIntegerField(default=0, editable=False, help_text="Pairs that it proposed.")

    objects = Job.ScopedManager()

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"Refresh of the pairs of {self.project}"

    def get_absolute_url(self) -> str:
        return reverse("annotation:pairs", args=[self.project_id])


class SendBack(models.Model):
    """A lead asked one annotator to look at their annotation again. The pair stays proposed meanwhile."""

    project = models.ForeignKey(Project, models.CASCADE, related_name="send_backs")
    pair = models.ForeignKey("annotation.Pair", models.CASCADE, related_name="send_backs")
    annotation = models.ForeignKey("annotation.Annotation", models.CASCADE, related_name="send_backs")
    reason = models.TextField()
    sent_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    answer = models.TextField(blank=True, help_text="What the annotator says to it.")
    changed = models.BooleanField(default=False, help_text="Whether the annotator answered with a revision.")
    answered_at = models.DateTimeField(null=True, blank=True, editable=False)
    withdrawn_at = models.DateTimeField(null=True, blank=True, editable=False, help_text="Settled or taken back.")

    objects = ProjectScopedQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["annotation"],
                condition=Q(answered_at=None, withdrawn_at=None),
                name="send_back_one_open",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.annotation} sent back"


class RewriteCondition(models.TextChoices):
    VOTES = "votes", "has the votes below"
    ALIKE = "alike", "was written alike by every annotator"
    EITHER = "either", "was written alike by every annotator, or has the votes below"
    ANY = "any", "may be any"


class ApprovalRule(models.Model):
    """Under which conditions pairs of a project may be approved in bulk. annotation/rules.py says it in words."""

    project = models.OneToOneField(Project, models.CASCADE, related_name="approval_rule")
    min_annotations = models.PositiveSmallIntegerField(
        "annotations, at least",
        default=2,
        validators=[MinValueValidator(1), MaxValueValidator(50)],
        help_text="How many people must have annotated the text.",
    )
    dimensions = models.JSONField(default=list, blank=True, help_text="Keys of the dimensions they must agree on.")
    min_agreement = models.PositiveSmallIntegerField(
        "share of them that agrees, at least, in %",
        default=100,
        validators=[MinValueValidator(51), MaxValueValidator(100)],
        help_text="On each of these dimensions; 100 means that all agree. More than half, so that a label is settled.",
    )
    rewrite = models.CharField(
        "the rewrite", max_length=10, choices=RewriteCondition.choices, default=RewriteCondition.VOTES
    )
    min_votes = models.PositiveSmallIntegerField(
        "votes on the rewrite, at least",
        default=2,
        validators=[MinValueValidator(1), MaxValueValidator(50)],
        help_text="“Cannot judge” is no vote.",
    )
    min_safe = models.PositiveSmallIntegerField(
        "of these, say that it is safe, at least, in %", default=100, validators=[MaxValueValidator(100)]
    )
    min_meaning = models.PositiveSmallIntegerField(
        "of these, say that it keeps the meaning, at least, in %", default=100, validators=[MaxValueValidator(100)]
    )
    no_comment = models.BooleanField("no annotator left a comment to the lead", default=True)
    not_sent_back = models.BooleanField("it was not sent back to an annotator", default=True)
    updated_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, null=True, related_name="+")
    updated_at = models.DateTimeField(auto_now=True)

    objects = ProjectScopedQuerySet.as_manager()

    # What a rule says; a batch keeps a copy.
    CONDITIONS = (
        *("min_annotations", "dimensions", "min_agreement", "rewrite", "min_votes", "min_safe", "min_meaning"),
        *("no_comment", "not_sent_back"),
    )

    class Meta:
        ordering = ["project_id"]

    def __str__(self) -> str:
        return f"Approval rule of {self.project}"


class BatchAction(models.TextChoices):
    RULE = "rule", "Approve under a rule"
    APPROVE = "approve", "Approve"
    REJECT = "reject", "Reject"
    UNDO = "undo", "Undo"


class Batch(Job):
    """Many pairs decided at once, as a job. Each pair is looked at again, locked, in the moment it is decided."""

    project = models.ForeignKey(Project, models.CASCADE, related_name="batches")
    action = models.CharField(max_length=10, choices=BatchAction.choices)
    rule = models.JSONField(null=True, blank=True, help_text="The rule's conditions as they were.")
    words = models.TextField(blank=True, help_text="The same in words.")
    reason = models.TextField(blank=True, help_text="Why pairs are rejected.")
    pairs = models.JSONField(default=list, blank=True, help_text="Chosen pairs: [id, version] each.")
    undoes = models.ForeignKey("self", models.CASCADE, null=True, blank=True, related_name="undone_by")
    place = models.BigIntegerField(default=0, editable=False, help_text="How far it came.")
    changed = models.PositiveIntegerField(default=0, help_text="Pairs decided, or for an undo brought back.")
    left_out = models.JSONField(default=dict, blank=True, help_text="Why pairs were left alone: reason -> how many.")

    objects = Job.ScopedManager()

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.get_action_display()}, batch {self.pk}"

    def get_absolute_url(self) -> str:
        return reverse("annotation:batch", args=[self.pk])
