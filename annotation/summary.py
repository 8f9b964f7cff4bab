"""The figures of a project's overview: counted at once while a project is small, kept in a row when it is large.

Counting a million annotations takes longer than a page may. Counters kept by triggers would make every submit of a
project wait for the same row; so a worker counts again when somebody looks and the row is older than FRESH, and the
page says how old its figures are.
"""

from datetime import datetime, timedelta
from typing import Any

from django.db.models import Count, Q
from django.utils import timezone

from annotation import agreement, agreement_data, jobs, projects
from annotation.agreement_data import Filters
from annotation.models import (
    Annotation,
    Item,
    ItemKind,
    Pair,
    PairStatus,
    Project,
    ProjectSummary,
    Scale,
)

LARGE = 20_000  # annotations or texts, from which on a row is kept
FRESH = timedelta(minutes=2)
ASK_AGAIN = timedelta(minutes=1)  # the message to the worker may be lost
SEED = 7  # as on the agreement page, so that both show the same intervals


def of(project: Project) -> tuple[dict[str, Any], datetime | None]:
    """The overview's figures (see `count`), and when they were counted; None for just now."""
    if not is_large(project):
        return count(project), None
    row = ProjectSummary.objects.filter(project=project).first()
    if row is None or row.computed_at is None:
        row = refresh(project.pk)
    elif row.computed_at < timezone.now() - FRESH:
        _ask(row)
    return row.figures, row.computed_at


def is_large(project: Project) -> bool:
    """Whether counting the project's rows would hold up a page. Looks at LARGE of them at most."""
    return any(
        rows.filter(project=project).order_by()[:LARGE].count() >= LARGE for rows in (Annotation.objects, Item.objects)
    )


def _ask(row: ProjectSummary) -> None:
    """Have a worker count again; of those who look at the same time one asks."""
    from annotation import tasks

    now = timezone.now()
    unasked = ProjectSummary.objects.filter(Q(asked_at=None) | Q(asked_at__lt=now - ASK_AGAIN), pk=row.pk)
    if unasked.update(asked_at=now):
        jobs.send(tasks.refresh_summary, row.pk)


def refresh(project_id: int) -> ProjectSummary:
    """Count again and keep the figures. Doing it twice only costs time."""
    project = Project.objects.get(pk=project_id)
    now = timezone.now()
    values = {"figures": count(project), "computed_at": now, "asked_at": None}
    return ProjectSummary.objects.update_or_create(project=project, defaults=values)[0]


def count(project: Project) -> dict[str, Any]:
    """JSON-ready: progress, levels, people ([id, annotations] each), skips of all, pairs by status, and agreement."""
    statuses = dict(Pair.objects.filter(project=project).order_by().values_list("status").annotate(n=Count("pk")))
    return {
        "progress": projects.progress([project.pk]).get(project.pk, projects.NO_PROGRESS),
        "levels": projects.level_counts(project),
        "people": projects.people_counts(project),
        "skips": projects.skips(project),
        "pairs": {status: statuses.get(status, 0) for status in PairStatus.values},
        "agreement": _agreement(project),
    }


def _agreement(project: Project) -> list[dict[str, Any]]:
    """Percent agreement and alpha of each dimension, or why there is none; nothing before the first annotation."""
    found: list[dict[str, Any]] = []
    if not Annotation.objects.filter(project=project, kind=ItemKind.WORK).exists():
        return found
    for place, table in enumerate(agreement_data.patterns(project, Filters())):
        patterns, ordinal = table.whole(), table.dimension.scale == Scale.ORDINAL
        alpha = agreement.coefficient("alpha", *patterns, ordinal=ordinal, seed=[SEED, 0, place])
        found.append(
            {
                "key": table.dimension.key,
                "name": table.dimension.name,
                "percent": agreement.percent_agreement(*patterns).estimate,
                "alpha": alpha.estimate,
                "low": alpha.low,
                "high": alpha.high,
                "texts": alpha.n_items,
                "reason": alpha.reason,
            }
        )
    return found
