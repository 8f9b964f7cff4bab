"""What a row has whose page keeps a draft (annotation/drafts.py)."""

from django.db import models


class Drafted(models.Model):
    """A draft with a version, so that two tabs or devices never overwrite each other."""

    draft = models.JSONField(null=True, blank=True)
    draft_saved_at = models.DateTimeField(null=True, blank=True)
    draft_version = models.PositiveIntegerField(default=0, help_text="Counts the saves; a stale save is refused.")
    draft_writer = models.CharField(max_length=40, blank=True, editable=False, help_text="The tab that saved last.")
    draft_sequence = models.PositiveIntegerField(default=0, editable=False, help_text="That tab's count of its saves.")

    class Meta:
        abstract = True
