"""The log of a project: who did what, when, to what, and how it was before and after."""

from django.conf import settings
from django.db import models
from django.utils import timezone

from annotation.models.items import Item
from annotation.models.projects import Project, ProjectScopedQuerySet


class Event(models.Model):
    """One thing that somebody did. Rows are only ever added, by `annotation.events.record`."""

    project = models.ForeignKey(Project, models.CASCADE, related_name="events")
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, related_name="+", help_text="Empty: the system itself."
    )
    at = models.DateTimeField(default=timezone.now, editable=False)
    action = models.CharField(max_length=40, help_text="Subject and verb, for example pair.approved.")
    item = models.ForeignKey(Item, models.CASCADE, null=True, related_name="events")
    subject = models.CharField(max_length=200, blank=True, help_text="What it was done to, in words.")
    before = models.JSONField(default=dict, blank=True)
    after = models.JSONField(default=dict, blank=True)

    objects = ProjectScopedQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["project", "-id"], name="event_by_project"),
            models.Index(fields=["item", "-id"], name="event_by_item"),
        ]

    def __str__(self) -> str:
        return f"{self.action}: {self.subject}"
