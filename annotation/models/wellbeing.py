"""What annotators choose for themselves, and the pauses they took. Nobody else sees whose rows these are."""

from datetime import timedelta

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from annotation.models.projects import Project


class AnnotatorChoices(models.Model):
    """Which kinds of content a person does not want in a project, and their own limit of texts a day."""

    project = models.ForeignKey(Project, models.CASCADE, related_name="choices")
    annotator = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="choices")
    declined_kinds = models.JSONField(default=list, blank=True)
    daily_limit = models.PositiveIntegerField(default=0, help_text="0: only the project's own limit holds.")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["project", "annotator"], name="choices_once")]

    def __str__(self) -> str:
        return f"Choices of {self.annotator} in {self.project}"


class Pause(models.Model):
    """A break that somebody took from a project's texts."""

    PLANNED = timedelta(minutes=5)

    project = models.ForeignKey(Project, models.CASCADE, related_name="pauses")
    annotator = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="pauses")
    started_at = models.DateTimeField(default=timezone.now, editable=False)
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["project", "annotator"], condition=Q(ended_at=None), name="pause_one_at_a_time"
            )
        ]
        indexes = [models.Index(fields=["annotator", "project", "started_at"], name="pause_by_person")]

    def __str__(self) -> str:
        return f"Pause of {self.annotator}"
