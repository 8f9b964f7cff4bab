"""The export of ratings: one row a rating, of closed studies only."""

from collections.abc import Iterator
from typing import Any

from django.core.exceptions import ValidationError

from annotation import exports
from annotation.models import Export, Project, Role
from evaluation.models import Rating, Study, StudyStatus, TaskKind

COLUMNS = [
    "study",
    "reviewer",
    "external_id",
    "system",
    "criterion",
    "value",
    "preference",
    "position",
    "text_position",
    "active_seconds",
    "comment",
    "rated_at",
    "changed_at",
]


def clean(project: Project, filters: dict[str, Any]) -> dict[str, Any]:
    """The filter `study`: the id of a closed study. Without it, all closed studies of the project."""
    study = filters.get("study")
    if study in (None, ""):
        return {}
    if not str(study).isdecimal() or len(str(study)) > 18:
        raise ValidationError({"study": "The study is named by its number."})
    found = Study.objects.filter(project=project, pk=int(study)).first()
    if found is None:
        raise ValidationError({"study": f"There is no study {study} in this project."})
    if not found.is_closed:
        raise ValidationError({"study": "Ratings can be exported once the study is closed."})
    return {"study": found.pk}


def _ratings(export: Export):
    ratings = Rating.objects.filter(
        slot__task__study__project_id=export.project_id,
        slot__task__study__status=StudyStatus.CLOSED,
        slot__task__done_at__isnull=False,
        slot__task__kind=TaskKind.RATING,
    )
    if study := export.filters.get("study"):
        ratings = ratings.filter(slot__task__study=study)
    return ratings


def rows(export: Export) -> Iterator[dict[str, Any]]:
    """Rating by rating. `position` is the output's place on the page, 1 for A."""
    queryset = _ratings(export).order_by("pk")
    values = queryset.values_list(
        "slot__task__study__name",
        "slot__task__reviewer__username",
        "slot__task__item__external_id",
        "slot__outputs__system__name",
        "criterion__key",
        "value",
        "slot__task__preferred_id",
        "slot_id",
        "slot__position",
        "slot__task__position",
        "slot__task__active_seconds",
        "slot__task__comment",
        "slot__task__done_at",
        "slot__task__updated_at",
    )
    for study, reviewer, item, system, criterion, value, preferred, slot, *rest in values.iterator(
        chunk_size=exports.CHUNK
    ):
        position, text_position, seconds, comment, done_at, updated_at = rest
        yield {
            "study": study,
            "reviewer": reviewer,
            "external_id": item,
            "system": system,
            "criterion": criterion,
            "value": value,
            "preference": "tie" if preferred is None else "preferred" if preferred == slot else "other",
            "position": position,
            "text_position": text_position,
            "active_seconds": seconds,
            "comment": comment,
            "rated_at": done_at.isoformat(),
            "changed_at": updated_at.isoformat(),
        }


EXPORTER = exports.Exporter(
    kind="ratings",
    title="Ratings of closed studies",
    formats=("csv", "jsonl"),
    roles=(Role.LEAD, Role.TRAINER),
    columns=lambda export: COLUMNS,
    rows=rows,
    count=lambda export: _ratings(export).count(),
    clean=clean,
)
