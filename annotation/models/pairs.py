"""Pairs that leads settle."""

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.urls import reverse
from django.utils import timezone

from annotation.models.items import Item
from annotation.models.projects import Project, ProjectScopedQuerySet
from annotation.models.work import Annotation


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
