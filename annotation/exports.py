"""Files written from a project's rows, by exporters that each application registers.

Rows come from a server-side cursor and go to a temporary file, then to the storage, so memory stays constant.
Columns are documented in docs/formats.md and do not change silently.
"""

import csv
import json
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from django.core.exceptions import ValidationError
from django.core.files import File
from django.db import transaction
from django.db.models import QuerySet
from django.utils.text import slugify

from annotation import access, validators
from annotation.models import Annotation, Export, ItemKind, Pair, PairStatus, Project, Role

CHUNK = 2_000  # rows fetched, and written between two reports

# What an Alpaca row asks for. Part of the format (docs/formats.md): changing it changes training data.
ALPACA_INSTRUCTION = "Rewrite the text so that it is free of bias, toxicity and harm. Keep its meaning."


@dataclass(frozen=True)
class Format:
    title: str
    ending: str  # csv or jsonl; it decides how rows are written


FORMATS = {
    "csv": Format("CSV", "csv"),
    "jsonl": Format("JSON Lines", "jsonl"),
    "alpaca": Format("Alpaca, JSON Lines", "jsonl"),
}


@dataclass(frozen=True)
class Exporter:
    """One kind of export.

    rows: yields dicts in file order, for the export's format and filters. columns: the CSV's header.
    count: how many rows to expect, for the progress bar. roles: who may make and download it.
    clean: checks and returns the filters. allow: raises PermissionDenied or ValidationError beyond roles.
    """

    kind: str
    title: str
    formats: tuple[str, ...]
    roles: tuple[str, ...]
    columns: Callable[[Export], list[str]]
    rows: Callable[[Export], Iterator[dict[str, Any]]]
    count: Callable[[Export], int]
    clean: Callable[[Project, dict[str, Any]], dict[str, Any]]
    allow: Callable[[Any, Export], None] | None = None


KINDS: dict[str, Exporter] = {}


def register(exporter: Exporter) -> None:
    KINDS[exporter.kind] = exporter


def kinds_for(roles: set[str]) -> list[Exporter]:
    """The kinds that somebody with these roles may export."""
    return [exporter for exporter in KINDS.values() if roles & set(exporter.roles)]


def check_allowed(user, export: Export) -> None:
    """Raise 404 or PermissionDenied unless this person may make and download this export."""
    exporter = KINDS[export.kind]
    access.require(user, export.project_id, *exporter.roles)
    if exporter.allow is not None:
        exporter.allow(user, export)


def create(project: Project, user, *, kind: str, file_format: str, filters: dict[str, Any] | None = None) -> Export:
    """Queue an export.

    Raises:
        ValidationError: keyed by field. PermissionDenied: not for this person's roles.
    """
    from annotation import tasks

    exporter = KINDS.get(kind)
    if exporter is None:
        raise ValidationError({"kind": f"There is no export {kind[:40]!r}; choose from {', '.join(KINDS)}."})
    if file_format not in exporter.formats:
        raise ValidationError({"file_format": f"{exporter.title} can be exported as {', '.join(exporter.formats)}."})
    export = Export(project=project, created_by=user, kind=kind, file_format=file_format)
    check_allowed(user, export)
    export.filters = exporter.clean(project, filters or {})
    with transaction.atomic():
        export.save()
        export.queue(tasks.execute_export)
    return export


def run(job: Export) -> dict[str, Any]:
    """Write the file of an export."""
    exporter = KINDS[job.kind]
    total = exporter.count(job)
    job.report(0, total, "Writing")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "export"
        with path.open("w", encoding="utf-8", newline="") as file:
            write = csv_writer(file, exporter.columns(job)) if ending(job) == "csv" else json_writer(file)
            done = 0
            for row in exporter.rows(job):
                write(row)
                done += 1
                if done % CHUNK == 0:
                    job.report(done, max(total, done))
        job.beat()
        with path.open("rb") as written:
            job.file.save(f"{job.pk}.{ending(job)}", File(written), save=False)
    return {
        "file": job.file.name,
        "rows": done,
        "done": done,
        "total": done,
        "message": f"{done:,} row{'' if done == 1 else 's'}",
    }


def ending(export: Export) -> str:
    return FORMATS[export.file_format].ending


def download_name(export: Export) -> str:
    """What the file is called on the computer of whoever downloads it."""
    name = slugify(export.project.name)[:60] or f"project-{export.project_id}"
    kind = export.kind if export.file_format in {"csv", "jsonl"} else f"{export.kind}-{export.file_format}"
    return f"{name}-{kind}-{export.pk}.{ending(export)}"


# Writing

FORMULA = ("=", "+", "-", "@", "\t", "\r", "'")


def spreadsheet_cell(value: Any) -> Any:
    """A cell that no spreadsheet takes for a formula: text that begins like one gets an apostrophe.

    So does text that begins like one behind apostrophes of its own: then taking one away gives back every cell.
    """
    if isinstance(value, (dict, list)):
        value = json.dumps(value, ensure_ascii=False)
    if isinstance(value, str) and value[:1] in FORMULA and value.lstrip("'")[:1] in FORMULA[:-1]:
        return f"'{value}"
    return value


def csv_writer(file: IO[str], columns: list[str]) -> Callable[[dict[str, Any]], None]:
    """Writes the header, and returns what writes a row."""
    writer = csv.writer(file)
    writer.writerow(columns)

    def write(row: dict[str, Any]) -> None:
        writer.writerow([spreadsheet_cell(row.get(column)) for column in columns])

    return write


def json_writer(file: IO[str]) -> Callable[[dict[str, Any]], None]:
    def write(row: dict[str, Any]) -> None:
        file.write(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n")

    return write


# Annotations and pairs

ITEM_COLUMNS = ("external_id", "text", "source", "language", "target_group")
ANNOTATION_COLUMNS = (
    *("spans", "target_groups", "rewrite", "comment", "active_seconds", "revision"),
    *("created_at", "updated_at"),
)
PAIR_COLUMNS = ("status", "disagreement", "reason", "settled_by", "settled_at")


def _keys(export: Export) -> list[str]:
    return [dimension.key for dimension in export.project.dimensions.all()]


def _labelled(queryset: QuerySet, export: Export) -> QuerySet:
    if label := export.filters.get("label"):
        queryset = queryset.filter(labels__contains=label)
    return queryset


def clean_label(project: Project, filters: dict[str, Any]) -> dict[str, Any]:
    """The filter `label`: {dimension: level}, all of which must hold."""
    label = filters.get("label") or {}
    levels = {dimension.key: dimension.levels for dimension in project.dimensions.all()}
    try:
        validators.check_labels(label, levels, complete=False)
    except ValidationError as error:
        raise ValidationError({"label": error.messages}) from None
    return {"label": label} if label else {}


def _annotations(export: Export) -> QuerySet:
    return _labelled(Annotation.objects.filter(project_id=export.project_id, kind=ItemKind.WORK), export)


def _annotation_rows(export: Export) -> Iterator[dict[str, Any]]:
    keys = _keys(export)
    queryset = _annotations(export).select_related("item", "annotator").order_by("pk")
    for annotation in queryset.iterator(chunk_size=CHUNK):
        yield {
            "id": annotation.pk,
            **{column: getattr(annotation.item, column) for column in ITEM_COLUMNS},
            "annotator": annotation.annotator.get_username(),
            **{key: annotation.labels.get(key, "") for key in keys},
            "spans": annotation.spans,
            "target_groups": annotation.target_groups,
            "rewrite": annotation.rewrite,
            "comment": annotation.comment,
            "active_seconds": annotation.active_seconds,
            "revision": annotation.revision,
            "created_at": annotation.created_at.isoformat(),
            "updated_at": annotation.updated_at.isoformat(),
        }


def _annotation_columns(export: Export) -> list[str]:
    return ["id", *ITEM_COLUMNS, "annotator", *_keys(export), *ANNOTATION_COLUMNS]


def _pairs(export: Export) -> QuerySet:
    queryset = _labelled(Pair.objects.filter(project_id=export.project_id), export)
    # A training file never holds a rewrite that nobody approved.
    status = PairStatus.APPROVED if export.file_format == "alpaca" else export.filters.get("status")
    if status:
        queryset = queryset.filter(status=status)
    return queryset


def _pair_rows(export: Export) -> Iterator[dict[str, Any]]:
    keys = _keys(export)
    queryset = _pairs(export).select_related("item", "settled_by").order_by("pk")
    for pair in queryset.iterator(chunk_size=CHUNK):
        if export.file_format == "alpaca":
            yield {"instruction": ALPACA_INSTRUCTION, "input": pair.item.text, "output": pair.rewrite}
            continue
        yield {
            "id": pair.pk,
            **{column: getattr(pair.item, column) for column in ITEM_COLUMNS},
            "safe_rewrite": pair.rewrite,
            **{key: pair.labels.get(key, "") for key in keys},
            "status": pair.status,
            "disagreement": pair.disagreement,
            "reason": pair.reason,
            "settled_by": pair.settled_by.get_username() if pair.settled_by else "",
            "settled_at": pair.settled_at.isoformat() if pair.settled_at else "",
        }


def _pair_columns(export: Export) -> list[str]:
    return ["id", *ITEM_COLUMNS, "safe_rewrite", *_keys(export), *PAIR_COLUMNS]


def clean_pair_filters(project: Project, filters: dict[str, Any]) -> dict[str, Any]:
    """The filters `status` ('' for all) and `label`."""
    cleaned = clean_label(project, filters)
    if status := filters.get("status"):
        if status not in PairStatus.values:
            raise ValidationError({"status": f"A pair is one of {', '.join(PairStatus.values)}."})
        cleaned["status"] = status
    return cleaned


register(
    Exporter(
        kind="annotations",
        title="Annotations",
        formats=("csv", "jsonl"),
        roles=(Role.LEAD, Role.TRAINER),
        columns=_annotation_columns,
        rows=_annotation_rows,
        count=lambda export: _annotations(export).count(),
        clean=clean_label,
    )
)
register(
    Exporter(
        kind="pairs",
        title="Pairs",
        formats=("csv", "jsonl", "alpaca"),
        roles=(Role.LEAD, Role.TRAINER),
        columns=_pair_columns,
        rows=_pair_rows,
        count=lambda export: _pairs(export).count(),
        clean=clean_pair_filters,
    )
)
