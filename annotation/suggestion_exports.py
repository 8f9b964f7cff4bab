"""The export of suggestions: one row an answer of a model, usable or not, for leads and trainers."""

from collections.abc import Iterator
from typing import Any

from annotation.exports import CHUNK, Exporter
from annotation.models import Export, Project, Role, Suggestion

ITEM_COLUMNS = ("external_id", "text", "source", "language", "target_group")
COLUMNS = (
    *("status", "reason", "rewrite", "spans", "answer", "source_name", "model", "prompt_version", "input_tokens"),
    *("output_tokens", "usage_known", "cost", "seconds", "requests", "created_at", "answered_at"),
)


def _keys(export: Export) -> list[str]:
    return [dimension.key for dimension in export.project.dimensions.all()]


def _columns(export: Export) -> list[str]:
    return ["id", *ITEM_COLUMNS, *_keys(export), *COLUMNS]


def _rows(export: Export) -> Iterator[dict[str, Any]]:
    keys = _keys(export)
    rows = Suggestion.objects.filter(project=export.project_id).select_related("item", "prompt").order_by("pk")
    for row in rows.iterator(chunk_size=CHUNK):
        yield {
            "id": row.pk,
            **{column: getattr(row.item, column) for column in ITEM_COLUMNS},
            **{key: row.labels.get(key, "") for key in keys},
            **{name: getattr(row, name) for name in ("status", "reason", "rewrite", "spans", "answer", "model")},
            **{name: getattr(row, name) for name in ("input_tokens", "output_tokens", "usage_known", "requests")},
            "source_name": row.prompt.source_name,
            "prompt_version": row.prompt.number,
            "cost": float(row.cost),
            "seconds": row.seconds,
            "created_at": row.created_at.isoformat(),
            "answered_at": row.answered_at.isoformat() if row.answered_at else "",
        }


def _no_filters(project: Project, filters: dict[str, Any]) -> dict[str, Any]:
    return {}


EXPORTER = Exporter(
    kind="suggestions",
    title="Suggestions of models",
    formats=("csv", "jsonl"),
    roles=(Role.LEAD, Role.TRAINER),
    columns=_columns,
    rows=_rows,
    count=lambda export: Suggestion.objects.filter(project=export.project_id).count(),
    clean=_no_filters,
)
