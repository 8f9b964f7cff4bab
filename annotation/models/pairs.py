"""Pairs that leads settle."""

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.urls import reverse
from django.utils import timezone

from annotation.models.items import Item
from annotation.models.projects import Project, ProjectScopedQuerySet
from annotation.models.work import Annotation


class PairStatus(models.TextChoices):
    PROPOSED = "proposed", "Proposed"
    APPROVED = "approved", "Approved"
    REJECTED = "rejected", "Rejected"


class SentBackState(models.TextChoices):
    NO = "", "Not sent back"
    WAITING = "waiting", "Sent back"
    ANSWERED = "answered", "Answered"


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
    # Facts about the annotations and votes, kept by annotation.contention.refresh; bulk rules and the queue read them.
    contested = models.FloatField(
        default=0, db_default=0, help_text="How much it needs a lead, 0 to 1; see annotation.contention."
    )
    annotation_count = models.PositiveSmallIntegerField(default=0, db_default=0)
    agreement = models.JSONField(
        default=dict,
        db_default={},
        blank=True,
        help_text="Per dimension, the share of annotators who chose the level that most chose.",
    )
    written_alike = models.BooleanField(
        default=False, db_default=False, help_text="Every annotator wrote exactly this rewrite."
    )
    has_comment = models.BooleanField(default=False, db_default=False, help_text="Some annotator left a comment.")
    votes = models.PositiveSmallIntegerField(default=0, db_default=0, help_text="Votes on this exact rewrite.")
    votes_safe = models.PositiveSmallIntegerField(default=0, db_default=0)
    votes_meaning = models.PositiveSmallIntegerField(default=0, db_default=0)
    votes_accepted = models.PositiveSmallIntegerField(default=0, db_default=0, help_text="Safe and meaning kept.")
    sent_back = models.CharField(max_length=10, choices=SentBackState.choices, blank=True, default="", db_default="")
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
    batch = models.ForeignKey(
        "annotation.Batch",
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="decided",
        help_text="The batch that settled it, until anybody changes it again.",
    )
    before = models.JSONField(
        null=True, blank=True, editable=False, help_text="How it was before a lead's last decision, to undo that."
    )
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
            models.Index(fields=["project", "status", "-contested", "id"], name="pair_queue"),
            # What the queue's rarer filters show.
            models.Index(
                fields=["project", "status", "-contested", "id"],
                condition=Q(votes_accepted__lt=F("votes")),
                name="pair_votes_failed",
            ),
            models.Index(
                fields=["project", "status", "-contested", "id"], condition=~Q(sent_back=""), name="pair_sent_back"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.item} ({self.get_status_display()})"

    def get_absolute_url(self) -> str:
        return reverse("annotation:pair", args=[self.pk])
