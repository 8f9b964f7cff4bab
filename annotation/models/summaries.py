"""What the overview of a large project shows, counted a while ago."""

from django.db import models

from annotation.models.projects import Project


class ProjectSummary(models.Model):
    """The figures of a large project's overview, counted by a worker (annotation/summary.py)."""

    project = models.OneToOneField(Project, models.CASCADE, primary_key=True, related_name="summary")
    figures = models.JSONField(default=dict)
    computed_at = models.DateTimeField(null=True)
    asked_at = models.DateTimeField(null=True, help_text="When a worker was last asked to count again.")

    def __str__(self) -> str:
        return f"Figures of {self.project}"
