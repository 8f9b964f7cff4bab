"""Files that come in and go out, as jobs."""

import uuid

from django.db import models
from django.urls import reverse

from annotation.jobs import Job
from annotation.models.projects import Project


def upload_path(instance, filename: str) -> str:
    """A private, unguessable place for an uploaded file; the name people gave it is kept on the row."""
    return f"uploads/{uuid.uuid4()}"


class ItemImport(Job):
    """Texts read from an uploaded file into a project: the counts, and every rejected row with its reason."""

    project = models.ForeignKey(Project, models.CASCADE, related_name="imports")
    file = models.FileField(upload_to=upload_path)
    file_name = models.CharField(max_length=255)
    file_format = models.CharField(max_length=5, choices=[("csv", "CSV"), ("jsonl", "JSON Lines")])
    with_pairs = models.BooleanField(
        "import rewrites and labels as proposed pairs",
        default=True,
        help_text="Columns safe_rewrite and the dimensions' keys. Otherwise these columns are left out.",
    )
    imported = models.PositiveIntegerField(default=0)
    proposed = models.PositiveIntegerField(default=0, help_text="Ready-made rewrites that became proposed pairs.")
    rejected = models.PositiveIntegerField(default=0)
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
