"""For whom an item is, and how far each annotator has come in the queue (annotation/handout.py)."""

from django.conf import settings
from django.db import models
from django.utils import timezone

from annotation.models.items import Item
from annotation.models.projects import Project, ProjectScopedQuerySet


class Reservation(models.Model):
    """This item is for this person. An item may be for several; nobody else is handed it. See Item.reserved."""

    project = models.ForeignKey(Project, models.CASCADE, related_name="reservations")
    item = models.ForeignKey(Item, models.CASCADE, related_name="reservations")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="reservations")
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = ProjectScopedQuerySet.as_manager()

    class Meta:
        ordering = ["id"]
        constraints = [models.UniqueConstraint(fields=["item", "user"], name="reservation_once")]

    def __str__(self) -> str:
        return f"{self.item} for {self.user}"


class QueuePlace(models.Model):
    """Up to where one annotator has been through one level of the queue: what stands before is not for them.

    Rows can be thrown away at any time; the next search then begins at the front again.
    """

    project = models.ForeignKey(Project, models.CASCADE, related_name="+")
    annotator = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="+")
    reserved = models.BooleanField()
    priority = models.SmallIntegerField()
    queued_in = models.BigIntegerField()
    item_id = models.BigIntegerField()
    since = models.DateTimeField(default=timezone.now, help_text="When this annotator last began at the front.")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["project", "annotator", "reserved", "priority"], name="queue_place_once")
        ]

    def __str__(self) -> str:
        return f"{self.annotator} at {self.queued_in}/{self.item_id} of priority {self.priority}"
