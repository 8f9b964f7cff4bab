"""Files that come in and go out, as jobs."""

import uuid

from django.db import models
from django.urls import reverse

from annotation.jobs import Job
from annotation.models.projects import Project
from annotation.models.work import Annotation


def upload_path(instance, filename: str) -> str:
    """A private, unguessable place for an uploaded file; the name people gave it is kept on the row."""
    return f"uploads/{uuid.uuid4()}"


class FileFormat(models.TextChoices):
    CSV = "csv", "CSV"
    JSONL = "jsonl", "JSON Lines"
    PARQUET = "parquet", "Parquet"
    DATASET = "dataset", "Hugging Face dataset folder (.zip)"
    LABEL_STUDIO = "label_studio", "Label Studio, JSON export"
    DOCCANO = "doccano", "doccano, JSONL export (a file or a .zip)"


class ImportStatus(models.TextChoices):
    """JobStatus, and the pause in which a lead looks at what was found in the file."""

    QUEUED = "queued", "Waiting"
    RUNNING = "running", "Running"
    PAUSED = "paused", "Waits for you"
    FINISHED = "finished", "Finished"
    FAILED = "failed", "Failed"
    CANCELLED = "cancelled", "Cancelled"


class Review(models.TextChoices):
    """When an import shows what it found in the file and waits until somebody has said what becomes of it."""

    NEVER = "never", "Never"
    AUTO = "auto", "When the file holds annotations, or no column is called text"
    ALWAYS = "always", "Always"


class ItemImport(Job):
    """Texts, and annotations by several people, read from an uploaded file into a project.

    The counts, what was left aside, and every rejected row with its reason.
    """

    project = models.ForeignKey(Project, models.CASCADE, related_name="imports")
    status = models.CharField(max_length=10, choices=ImportStatus.choices, default=ImportStatus.QUEUED, editable=False)
    file = models.FileField(upload_to=upload_path)
    file_name = models.CharField(max_length=255)
    file_format = models.CharField(max_length=20, choices=FileFormat.choices)
    with_pairs = models.BooleanField(
        "import rewrites and labels as proposed pairs",
        default=True,
        help_text="Columns safe_rewrite and the dimensions' keys. Otherwise these columns are left out.",
    )
    review = models.CharField(max_length=10, choices=Review.choices, default=Review.NEVER)
    inspection = models.JSONField(null=True, blank=True, editable=False, help_text="What was found in the file.")
    mapping = models.JSONField(
        null=True, blank=True, editable=False, help_text="What becomes of its columns; empty until that is decided."
    )
    imported = models.PositiveIntegerField(default=0)
    annotations = models.PositiveIntegerField(default=0, help_text="Finished annotations that came with the texts.")
    proposed = models.PositiveIntegerField(default=0, help_text="Ready-made rewrites that became proposed pairs.")
    rejected = models.PositiveIntegerField(default=0)
    findings = models.JSONField(default=dict, blank=True, editable=False, help_text="What was left aside, by reason.")
    applied_at = models.DateTimeField(
        null=True, blank=True, editable=False, help_text="When its rows were written, all at once."
    )

    objects = Job.ScopedManager()

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"Import of {self.file_name}"

    def get_absolute_url(self) -> str:
        return reverse("annotation:import", args=[self.pk])

    @property
    def is_paused(self) -> bool:
        return self.status == ImportStatus.PAUSED

    def request_cancel(self) -> None:
        """As for every job; one that waits for an answer is cancelled at once."""
        paused = type(self).objects.filter(pk=self.pk, status=ImportStatus.PAUSED)
        paused.update(status=ImportStatus.CANCELLED, cancel_requested=True)
        super().request_cancel()


class ImportedAnnotation(models.Model):
    """Where an annotation came from that was not made here, and what came with it that has no place of its own."""

    annotation = models.OneToOneField(Annotation, models.CASCADE, primary_key=True, related_name="imported")
    item_import = models.ForeignKey(ItemImport, models.CASCADE, related_name="imported_annotations")
    row = models.PositiveIntegerField()
    name = models.CharField(max_length=150, help_text="The annotator's name in the file.")
    values = models.JSONField(default=dict, blank=True)

    def __str__(self) -> str:
        return f"{self.annotation} from {self.item_import}"


class RejectedRow(models.Model):
    """A row of an import that was left out."""

    item_import = models.ForeignKey(ItemImport, models.CASCADE, related_name="rejected_rows")
    row = models.PositiveIntegerField(help_text="Counted as a spreadsheet does: the header is row 1.")
    field = models.CharField(max_length=100, blank=True)
    reason = models.CharField(max_length=500)
    excerpt = models.CharField(max_length=200, blank=True)

    class Meta:
        ordering = ["row", "id"]

    def __str__(self) -> str:
        return f"Row {self.row}: {self.reason}"


class Export(Job):
    """A file written from a project's rows by one of the registered exporters (annotation/exports.py)."""

    project = models.ForeignKey(Project, models.CASCADE, related_name="exports")
    kind = models.CharField(max_length=40)
    file_format = models.CharField(max_length=10)
    filters = models.JSONField(default=dict, blank=True)
    file = models.FileField(upload_to="exports/", blank=True)
    rows = models.PositiveIntegerField(default=0)

    objects = Job.ScopedManager()

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.kind} as {self.file_format}"

    def get_absolute_url(self) -> str:
        return reverse("annotation:export", args=[self.pk])
