"""Rewrites that other annotators judge.

The counters on Rewrite are kept by a database trigger (migration 0006) and bounded by a check constraint, so that no
code path, however concurrent, collects more votes than were asked for, and nobody votes on what they wrote.
"""

from typing import Any

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Exists, F, OuterRef, Q
from django.db.models.functions import MD5, Random
from django.utils import timezone

from annotation.models.items import Item
from annotation.models.projects import Membership, Project, ProjectScopedQuerySet, Role


class Rewrite(models.Model):
    """One exact rewrite of one text, put to the vote. A changed rewrite is another row; this one keeps its votes."""

    project = models.ForeignKey(Project, models.CASCADE, related_name="rewrites")
    item = models.ForeignKey(Item, models.CASCADE, related_name="rewrites")
    text = models.TextField()
    digest = models.GeneratedField(
        expression=MD5("text"), output_field=models.CharField(max_length=32), db_persist=True
    )
    authors = ArrayField(
        models.IntegerField(), default=list, help_text="Ids of those who wrote it; they never vote on it."
    )
    open = models.BooleanField(default=True, help_text="Whether votes on it are asked for still.")
    shuffle = models.FloatField(db_default=Random(), help_text="Its place in the random order of handing out.")
    wanted = models.PositiveSmallIntegerField(help_text="Votes asked for.")
    taken = models.PositiveSmallIntegerField(default=0, db_default=0)  # held or given, without "cannot judge"
    votes = models.PositiveSmallIntegerField(default=0, db_default=0)  # given, without "cannot judge"
    safe = models.PositiveSmallIntegerField(default=0, db_default=0)  # of these: it is safe
    meaning = models.PositiveSmallIntegerField(default=0, db_default=0)  # it keeps the meaning
    accepted = models.PositiveSmallIntegerField(default=0, db_default=0)  # both
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = ProjectScopedQuerySet.as_manager()

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["item", "digest"], name="rewrite_once"),
            models.CheckConstraint(condition=Q(taken__lte=F("wanted")), name="rewrite_taken_within_wanted"),
        ]
        indexes = [
            models.Index(
                fields=["project", "shuffle"], condition=Q(open=True, taken__lt=F("wanted")), name="rewrite_queue"
            ),
            # What the kappa of the votes counts, read without the texts.
            models.Index(fields=["project", "votes", "safe", "meaning", "accepted"], name="rewrite_tally"),
        ]

    def __str__(self) -> str:
        return f"Rewrite of {self.item}"


class VoteState(models.TextChoices):
    HELD = "held", "Held"
    GIVEN = "given", "Given"
    EXPIRED = "expired", "Expired"


class VoteQuerySet(ProjectScopedQuerySet):
    def of(self, user) -> "VoteQuerySet":
        """Votes of this person where they are an annotator still. Their pages start here, never from `all()`."""
        own = self.filter(voter_id=user.pk).select_related("rewrite__item", "project")
        if user.is_superuser:
            return own
        role = Membership.objects.filter(project_id=OuterRef("project_id"), user_id=user.pk, role=Role.ANNOTATOR)
        return own.filter(Exists(role))


class RewriteVote(models.Model):
    """What one person thinks of one exact rewrite. Held while they look at it; the draft outlives the lease."""

    project = models.ForeignKey(Project, models.CASCADE, related_name="votes")
    rewrite = models.ForeignKey(Rewrite, models.CASCADE, related_name="cast")
    voter = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="rewrite_votes")
    state = models.CharField(max_length=10, choices=VoteState.choices, default=VoteState.HELD)
    safe = models.BooleanField(null=True, blank=True, help_text="Whether the rewrite is safe.")
    keeps_meaning = models.BooleanField(null=True, blank=True, help_text="Whether it says what the text says.")
    cannot_judge = models.BooleanField(default=False, help_text="Somebody else is asked instead.")
    comment = models.TextField(blank=True)
    revision = models.PositiveIntegerField(default=1)
    earlier = models.JSONField(default=list, blank=True, help_text="Earlier answers, kept when the vote was changed.")
    draft = models.JSONField(null=True, blank=True)
    lease_until = models.DateTimeField()
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    given_at = models.DateTimeField(null=True, blank=True, editable=False)

    objects = VoteQuerySet.as_manager()

    # What a voter decides.
    ANSWERS = ("safe", "keeps_meaning", "cannot_judge", "comment")

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["rewrite", "voter"], name="vote_once"),
            models.UniqueConstraint(fields=["project", "voter"], condition=Q(state="held"), name="vote_one_held"),
            models.CheckConstraint(
                condition=~Q(state="given")
                | Q(cannot_judge=True, safe=None, keeps_meaning=None)
                | Q(cannot_judge=False, safe__isnull=False, keeps_meaning__isnull=False),
                name="vote_given_is_complete",
            ),
        ]
        indexes = [
            models.Index(fields=["project", "voter", "-id"], name="vote_by_person"),
            models.Index(fields=["lease_until"], condition=Q(state="held"), name="vote_leases"),
            models.Index(fields=["project", "voter", "given_at"], condition=Q(state="given"), name="vote_given"),
        ]

    def __str__(self) -> str:
        return f"Vote of {self.voter} on {self.rewrite_id}"

    def answers(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.ANSWERS}
