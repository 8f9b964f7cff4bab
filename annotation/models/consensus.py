"""Labels estimated from all annotations together, beyond the majority of one text."""

from django.conf import settings
from django.db import models
from django.urls import reverse

from annotation.jobs import Job
from annotation.models.items import Item
from annotation.models.projects import Project


class ConsensusMethod(models.TextChoices):
    DAWID_SKENE = "dawid-skene", "Dawid-Skene"


class ConsensusRun(Job):
    """One estimation over a project's annotations. The newest finished one is what pages and exports show."""

    project = models.ForeignKey(Project, models.CASCADE, related_name="consensus_runs")
    method = models.CharField(max_length=20, choices=ConsensusMethod.choices, default=ConsensusMethod.DAWID_SKENE)
    annotations = models.PositiveIntegerField(default=0, help_text="How many annotations it was estimated from.")
    items = models.PositiveIntegerField(default=0, help_text="How many texts have a consensus.")
    dimensions = models.JSONField(
        default=dict, blank=True, help_text="Per dimension: iterations, whether it converged, prior per level."
    )

    objects = Job.ScopedManager()

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(fields=["project", "-id"], name="consensus_by_project")]

    def __str__(self) -> str:
        return f"{self.get_method_display()} of {self.project}"

    def get_absolute_url(self) -> str:
        return reverse("annotation:consensus", args=[self.project_id])


class ItemConsensus(models.Model):
    """The estimated labels of one text and how sure the estimate is. Only a project's newest run keeps its rows."""

    run = models.ForeignKey(ConsensusRun, models.CASCADE, related_name="item_labels")
    item = models.ForeignKey(Item, models.CASCADE, related_name="consensus")
    labels = models.JSONField(default=dict, help_text="The most probable level per dimension.")
    confidence = models.JSONField(default=dict, help_text="Its estimated probability per dimension, 0 to 1.")
    annotations = models.PositiveSmallIntegerField(default=0, help_text="How many annotations this text had.")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["item", "run"], name="item_consensus_once")]

    def __str__(self) -> str:
        return f"Consensus of {self.item}"


class AnnotatorConsensus(models.Model):
    """How one annotator answers in one dimension, as estimated by a run."""

    run = models.ForeignKey(ConsensusRun, models.CASCADE, related_name="annotators")
    annotator = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    dimension = models.CharField(max_length=40, help_text="The dimension's key.")
    annotations = models.PositiveIntegerField(help_text="How many of this person's labels were used.")
    accuracy = models.FloatField(help_text="Estimated probability of a right label, over the estimated shares.")
    levels = models.JSONField(help_text="The levels, in the order of rows and columns of the matrix.")
    matrix = models.JSONField(
        help_text="Row: the estimated true level; column: the level chosen; estimated probability, rows sum to 1."
    )

    class Meta:
        ordering = ["annotator__username", "dimension"]
        constraints = [
            models.UniqueConstraint(fields=["run", "annotator", "dimension"], name="annotator_consensus_once")
        ]

    def __str__(self) -> str:
        return f"{self.annotator} on {self.dimension}"
