"""Reviewers without an account, on the study page."""

from django import template
from django.db.models import Count, Q
from django.utils import timezone

from evaluation.models import GuestLink, Study

register = template.Library()


@register.simple_tag
def guest_counts(study: Study) -> dict[str, int]:
    """How many links a study has, how many were used, and how many no longer hold."""
    ended = Q(expires_at__lte=timezone.now()) | Q(revoked_at__isnull=False) | Q(membership__revoked_at__isnull=False)
    return GuestLink.objects.filter(membership__study=study).aggregate(
        total=Count("pk"), used=Count("pk", filter=Q(first_used_at__isnull=False)), ended=Count("pk", filter=ended)
    )
