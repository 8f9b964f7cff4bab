"""What leads do with pairs, many at a time."""

from django.db import models
from django.urls import reverse

from annotation.jobs import Job
from annotation.models.projects import Project


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
