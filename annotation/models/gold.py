"""Texts with a known answer: the practice round, and what is hidden among the work to know how well people judge.

The rows here say what is known and who was shown what. The texts are Items of the kinds practice, gold and repeat.
"""

import secrets
from typing import Any

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.utils import timezone

from annotation.models.items import Item
from annotation.models.projects import Project, ProjectScopedQuerySet

MAX_SEED = 2**31 - 1


def new_seed() -> int:
    return secrets.randbelow(MAX_SEED)


class Gold(models.Model):
    """The known answer of an item: which levels are right, why, and how a good rewrite looks."""

    project = models.ForeignKey(Project, models.CASCADE, related_name="gold")
    item = models.OneToOneField(Item, models.CASCADE, related_name="gold")
    labels = models.JSONField(
        default=dict, help_text="The accepted levels per dimension; a dimension that is absent is not judged."
    )
    spans = models.JSONField(default=list, blank=True, help_text="Expected marks, as in an annotation; may be empty.")
    rewrite = models.TextField(blank=True, help_text="A model rewrite, shown after practice.")
    explanation = models.TextField(blank=True, help_text="Why this is right; shown after practice.")
    copied_from = models.ForeignKey(
        Item,
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="gold_copies",
        help_text="The text it was copied from. Whoever had that one is not given this one.",
    )
    made_in_place = models.BooleanField(
        default=False, editable=False, help_text="The item was a text of the work before; it goes back there."
    )
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = ProjectScopedQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(fields=["project", "-id"], name="gold_by_project")]

    def __str__(self) -> str:
        return f"Known answer of {self.item}"


class QualitySettings(models.Model):
    """How a project practises, and what it hides among the work. A project without a row does neither."""

    project = models.OneToOneField(Project, models.CASCADE, related_name="quality_settings")
    practice = models.BooleanField(
        "practice before the work", default=False, help_text="Annotators must pass before they get a text."
    )
    pass_mark = models.PositiveSmallIntegerField(
        "pass mark in percent",
        default=70,
        validators=[MinValueValidator(1), MaxValueValidator(100)],
        help_text="Percent of the known labels that must be right.",
    )
    near_misses = models.BooleanField(
        "a near miss counts half",
        default=False,
        help_text="One level away from an accepted one, where the dimension has an order and three levels or more.",
    )
    practice_items = models.PositiveSmallIntegerField(
        "texts in a round",
        default=10,
        validators=[MinValueValidator(1), MaxValueValidator(100)],
        help_text="Practice texts in one round; all of them where there are fewer.",
    )
    practice_retries = models.PositiveSmallIntegerField(
        "retries",
        default=0,
        validators=[MaxValueValidator(100)],
        help_text="How often somebody who failed may try again; 0 for as often as they like.",
    )
    gold_every = models.PositiveSmallIntegerField(
        "one gold text in about",
        default=0,
        validators=[MaxValueValidator(10_000)],
        help_text="One of so many texts is a hidden gold text, at a random place; 0 for none.",
    )
    repeat_every = models.PositiveSmallIntegerField(
        "one repeated text in about",
        default=0,
        validators=[MaxValueValidator(10_000)],
        help_text="One of so many texts is one that the person did before, at a random place; 0 for none.",
    )
    repeat_after = models.PositiveSmallIntegerField(
        "repeat after",
        default=20,
        validators=[MinValueValidator(1), MaxValueValidator(1_000)],
        help_text="At least so many other texts lie between a text and its repeat.",
    )
    seed = models.PositiveIntegerField(
        default=new_seed,
        validators=[MaxValueValidator(MAX_SEED)],
        help_text="Decides the random places; the same seed gives the same ones.",
    )

    objects = ProjectScopedQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "quality settings"

    # What a lead sets, and the log keeps.
    FIELDS = (
        *("practice", "pass_mark", "near_misses", "practice_items", "practice_retries"),
        *("gold_every", "repeat_every", "repeat_after", "seed"),
    )

    def __str__(self) -> str:
        return f"Quality settings of {self.project}"

    def values(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.FIELDS}


class PracticeStanding(models.Model):
    """Whether somebody has passed the practice of a project, and which of their rounds still count."""

    project = models.ForeignKey(Project, models.CASCADE, related_name="practice_standings")
    annotator = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="practice_standings")
    passed_at = models.DateTimeField(null=True, blank=True)
    let_pass_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        help_text="The lead who let them pass; empty when a round was passed.",
    )
    forgiven = models.PositiveIntegerField(
        default=0, help_text="Rounds up to this number do not count as tries any more."
    )

    objects = ProjectScopedQuerySet.as_manager()

    class Meta:
        ordering = ["id"]
        constraints = [models.UniqueConstraint(fields=["project", "annotator"], name="practice_standing_once")]

    def __str__(self) -> str:
        return f"Practice of {self.annotator} in {self.project}"


class RoundState(models.TextChoices):
    RUNNING = "running", "Running"
    PASSED = "passed", "Passed"
    FAILED = "failed", "Not passed"


class PracticeRound(models.Model):
    """One go through practice texts, with its score once it has ended."""

    project = models.ForeignKey(Project, models.CASCADE, related_name="practice_rounds")
    annotator = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="practice_rounds")
    number = models.PositiveIntegerField(help_text="Counts this person's rounds in the project, from 1.")
    state = models.CharField(max_length=10, choices=RoundState.choices, default=RoundState.RUNNING)
    pass_mark = models.PositiveSmallIntegerField(help_text="The pass mark that held when it began, in percent.")
    near_misses = models.BooleanField(default=False)
    voluntary = models.BooleanField(default=False, help_text="Begun by somebody who had passed already.")
    score = models.FloatField(null=True, blank=True, help_text="Percent of the known labels, once it has ended.")
    scores = models.JSONField(default=dict, blank=True, help_text="Per dimension: right (may be half) and known.")
    started_at = models.DateTimeField(default=timezone.now, editable=False)
    ended_at = models.DateTimeField(null=True, blank=True, editable=False)

    objects = ProjectScopedQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["project", "annotator", "number"], name="practice_round_number_once"),
            models.UniqueConstraint(
                fields=["project", "annotator"], condition=Q(state="running"), name="practice_round_one_running"
            ),
        ]

    def __str__(self) -> str:
        return f"Round {self.number} of {self.annotator}"


class PracticeAnswer(models.Model):
    """One text of a round: the draft until it is answered, then the answer and what it was worth."""

    project = models.ForeignKey(Project, models.CASCADE, related_name="practice_answers")
    round = models.ForeignKey(PracticeRound, models.CASCADE, related_name="answers")
    item = models.ForeignKey(Item, models.CASCADE, related_name="practice_answers")
    annotator = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="practice_answers")
    position = models.PositiveSmallIntegerField()
    draft = models.JSONField(null=True, blank=True)
    draft_saved_at = models.DateTimeField(null=True, blank=True)
    content = models.JSONField(null=True, blank=True, help_text="As an annotation's content; null until answered.")
    active_seconds = models.PositiveIntegerField(default=0)
    known = models.JSONField(
        default=dict, blank=True, help_text="The accepted levels per dimension when it was answered."
    )
    points = models.JSONField(default=dict, blank=True, help_text="Per known dimension 1, 0.5 or 0.")
    answered_at = models.DateTimeField(null=True, blank=True)

    objects = ProjectScopedQuerySet.as_manager()

    class Meta:
        ordering = ["round_id", "position"]
        constraints = [
            models.UniqueConstraint(fields=["round", "position"], name="practice_answer_position_once"),
            models.UniqueConstraint(fields=["round", "item"], name="practice_answer_item_once"),
        ]
        indexes = [
            models.Index(
                fields=["project", "annotator", "answered_at"],
                condition=Q(answered_at__isnull=False),
                name="practice_answered",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.item} in {self.round}"


class ControlPlan(models.Model):
    """Where the next hidden texts of one person are. `handed` is kept by a trigger (migration of this model)."""

    project = models.ForeignKey(Project, models.CASCADE, related_name="control_plans")
    annotator = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="control_plans")
    handed = models.PositiveIntegerField(default=0, editable=False, help_text="Texts handed out since the row exists.")
    gold_every = models.PositiveSmallIntegerField(default=0, help_text="The setting that gold_due was drawn with.")
    gold_due = models.PositiveIntegerField(default=0, help_text="The place of the next gold text, counted by handed.")
    repeat_every = models.PositiveSmallIntegerField(default=0)
    repeat_due = models.PositiveIntegerField(default=0)

    objects = ProjectScopedQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["project", "annotator"], name="control_plan_once")]

    def __str__(self) -> str:
        return f"Hidden texts for {self.annotator} in {self.project}"


class Control(models.Model):
    """A hidden text that was handed out: at which place, drawn with which seed."""

    project = models.ForeignKey(Project, models.CASCADE, related_name="controls")
    annotator = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="controls")
    item = models.ForeignKey(Item, models.CASCADE, related_name="controls")
    kind = models.CharField(max_length=10, choices=[("gold", "Gold"), ("repeat", "Repeat")])
    place = models.PositiveIntegerField(help_text="Among the texts handed to this person, from 1.")
    seed = models.PositiveIntegerField()

    objects = ProjectScopedQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        constraints = [models.UniqueConstraint(fields=["item", "annotator"], name="control_once")]
        indexes = [models.Index(fields=["project", "annotator", "place"], name="control_by_person")]

    def __str__(self) -> str:
        return f"{self.kind} at place {self.place} of {self.annotator}"
