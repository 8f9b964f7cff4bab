"""Reviewers without an account: a link that opens one study, for a time."""

from datetime import datetime

from django.contrib.auth import get_user_model
from django.db import models
from django.utils import timezone

from annotation.models import Project, ProjectScopedQuerySet
from evaluation.models.studies import Study, StudyMembership


class GuestState(models.TextChoices):
    UNUSED = "unused", "Not used yet"
    USED = "used", "In use"
    EXPIRED = "expired", "Expired"
    REVOKED = "revoked", "Revoked"


class GuestLink(models.Model):
    """The link of one reviewer of one study. Whoever has it reviews as that person until it expires or is revoked.

    Only a hash of the link's token is stored. The reviewer is a closed account with a generated name, so ratings,
    progress and exports treat them as anybody else; signing in goes through `evaluation.guests.GuestBackend` alone.
    """

    project = models.ForeignKey(Project, models.CASCADE, related_name="guest_links")
    membership = models.OneToOneField(StudyMembership, models.CASCADE, related_name="guest_link")
    number = models.PositiveIntegerField(help_text="Within the study: guest 1, guest 2 and so on.")
    label = models.CharField(max_length=100, blank=True, help_text="For the leads only: who has the link.")
    token_hash = models.CharField(max_length=64, unique=True, editable=False, help_text="SHA-256 of the token.")
    expires_at = models.DateTimeField()
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)
    first_used_at = models.DateTimeField(null=True, blank=True, editable=False)
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)
    created_by = models.ForeignKey(get_user_model(), models.PROTECT, related_name="+")
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = ProjectScopedQuerySet.as_manager()

    class Meta:
        ordering = ["membership__study_id", "number"]

    def __str__(self) -> str:
        return f"Guest {self.number}"

    @property
    def study(self) -> Study:
        return self.membership.study

    @property
    def ended_at(self) -> datetime | None:
        """When it was revoked, or its reviewer was taken off the study."""
        return self.revoked_at or self.membership.revoked_at

    @property
    def is_expired(self) -> bool:
        return self.expires_at <= timezone.now()

    @property
    def state(self) -> GuestState:
        if self.ended_at:
            return GuestState.REVOKED
        if self.is_expired:
            return GuestState.EXPIRED
        return GuestState.USED if self.first_used_at else GuestState.UNUSED
