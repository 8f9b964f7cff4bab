"""Texts.

Two counters on Item, `taken` and `finished`, are kept by database triggers (migration 0002) and bounded by check
constraints, so that no code path, however concurrent, can hand an item to more people than its overlap. Triggers also
keep what the queue needs to know: `reserved`, `settled` and `queued_in` (see annotation/handout.py).
"""

from django.conf import settings
from django.contrib.postgres.indexes import GinIndex
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import F, Q
from django.urls import reverse
from django.utils import timezone

from annotation.models.projects import Project, ProjectScopedQuerySet


class ItemKind(models.TextChoices):
    """What an item is for. Only `work` is handed to a project's annotators in turn, gives pairs and counts as progress.

    practice: shown in the practice round, with its right answer afterwards. gold: hidden among the work of everybody,
    with a known answer. repeat: a second look at an item by the person who annotated it before.
    """

    WORK = "work", "Work"
    PRACTICE = "practice", "Practice"
    GOLD = "gold", "Gold"
    REPEAT = "repeat", "Repeat"


MAX_OVERLAP = 50
MAX_PRIORITY = 100  # and -100 the lowest


class Item(models.Model):
    """One text. Line breaks are stored as \\n, so that offsets count the same here and in a browser."""

    project = models.ForeignKey(Project, models.CASCADE, related_name="items")
    external_id = models.CharField(max_length=200, help_text="The team's own id; made from the row when missing.")
    text = models.TextField()
    source = models.CharField(max_length=200, blank=True)
    language = models.CharField(max_length=35, blank=True)
    target_group = models.CharField(max_length=200, blank=True)
    metadata = models.JSONField(default=dict, blank=True)
    kind = models.CharField(max_length=10, choices=ItemKind.choices, default=ItemKind.WORK, editable=False)
    content_kinds = models.JSONField(
        default=list, blank=True, help_text="What may upset in it, for example slurs; annotators may opt out of a kind."
    )
    priority = models.SmallIntegerField(
        default=0,
        validators=[MinValueValidator(-MAX_PRIORITY), MaxValueValidator(MAX_PRIORITY)],
        help_text="Items with a higher one are handed out first.",
    )
    retired_at = models.DateTimeField(null=True, blank=True, help_text="Since when it is not handed out any more.")
    overlap = models.PositiveSmallIntegerField(help_text="Annotators for this item; the project's unless changed.")
    extra = models.PositiveSmallIntegerField(
        default=0,
        db_default=0,
        editable=False,
        help_text="Annotators asked for beyond the project's overlap.",
    )
    lowered_to = models.PositiveSmallIntegerField(
        null=True,
        editable=False,
        help_text="The overlap it falls to as soon as those who hold it above that give it back.",
    )
    reserved = models.BooleanField(
        default=False, db_default=False, editable=False, help_text="Only for the people of its reservations."
    )  # kept by a trigger
    settled = models.BooleanField(
        default=False, db_default=False, editable=False, help_text="A lead approved or rejected its pair."
    )  # kept by a trigger
    # The transaction in which it came into the queue, or came back to it, or to another place in it; set by a trigger.
    queued_in = models.BigIntegerField(default=0, db_default=0, editable=False)
    taken = models.PositiveSmallIntegerField(default=0, editable=False)  # held or finished; kept by a trigger
    finished = models.PositiveSmallIntegerField(default=0, editable=False)  # annotations; kept by a trigger
    # No index of its own: the constraint's holds only repeats.
    repeat_of = models.ForeignKey(
        "self", models.CASCADE, null=True, blank=True, editable=False, db_index=False, related_name="repeats"
    )
    repeat_for = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.PROTECT,
        null=True,
        blank=True,
        editable=False,
        db_index=False,
        related_name="+",
        help_text="The only person who gets this repeat.",
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = ProjectScopedQuerySet.as_manager()

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(
                fields=["repeat_of", "repeat_for"], condition=Q(repeat_of__isnull=False), name="item_repeated_once"
            ),
            models.CheckConstraint(
                condition=Q(kind="repeat", repeat_of__isnull=False, repeat_for__isnull=False)
                | (~Q(kind="repeat") & Q(repeat_of=None, repeat_for=None)),
                name="item_repeat_has_origin",
            ),
            models.UniqueConstraint(fields=["project", "external_id"], name="item_external_id_once"),
            models.CheckConstraint(condition=Q(taken__lte=F("overlap")), name="item_taken_within_overlap"),
            models.CheckConstraint(condition=Q(finished__lte=F("overlap")), name="item_finished_within_overlap"),
        ]
        indexes = [
            # The queue: only items that still want somebody, in the order they are handed out.
            models.Index(
                fields=["project", "-reserved", "-priority", "queued_in", "id"],
                condition=Q(kind=ItemKind.WORK, retired_at=None, settled=False, taken__lt=F("overlap")),
                name="item_queue",
            ),
            GinIndex(fields=["content_kinds"], opclasses=["jsonb_path_ops"], name="item_content_kinds"),
            models.Index(fields=["project", "id"], name="item_by_project"),
            # Texts with a known answer are few among many.
            models.Index(fields=["project", "kind", "id"], condition=~Q(kind="work"), name="item_controls"),
        ]

    def __str__(self) -> str:
        return self.external_id

    def get_absolute_url(self) -> str:
        return reverse("annotation:item", args=[self.pk])
