"""Texts from uploaded CSV and JSON Lines files: read, checked and staged row by row, then written at once.

Rows are staged in temporary tables through COPY, so that progress can be seen and memory stays constant. One
transaction then rejects what is there already and inserts the rest, and notes on the job that it was applied:
a file is imported whole or not at all, and once, whatever happens to the worker.
"""

import json
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.files import File
from django.db import connection, transaction
from django.utils import timezone

from annotation import rows, validators
from annotation.jobs import JobError, LeaseLost
from annotation.models import Item, ItemImport, Project
from annotation.rows import Rejected, Row

BATCH = 2_000  # rows between two reports
SHORT_COLUMNS = ("external_id", "source", "language", "target_group")
COLUMNS = ("text", *SHORT_COLUMNS, "safe_rewrite")
MAX_LENGTHS: dict[str, int] = {
    name: Item._meta.get_field(name).max_length or 0  # type: ignore[union-attr]
    for name in SHORT_COLUMNS
}
MAX_METADATA = 200_000  # characters of JSON

TABLES = """
DROP TABLE IF EXISTS staged_item, staged_rejection;
CREATE TEMPORARY TABLE staged_item (
    row integer, external_id text, text text, source text, language text, target_group text, metadata jsonb,
    rewrite text, labels jsonb
);
CREATE TEMPORARY TABLE staged_rejection (row integer, field text, reason text, excerpt text)
"""
DROP = "DROP TABLE IF EXISTS staged_item, staged_rejection"
TWICE_IN_FILE = """
WITH gone AS (
    DELETE FROM staged_item staged
    USING (
        SELECT external_id, min(row) AS first FROM staged_item GROUP BY external_id HAVING count(*) > 1
    ) twice
    WHERE staged.external_id = twice.external_id AND staged.row > twice.first
    RETURNING staged.row, staged.external_id, staged.text, twice.first
)
INSERT INTO staged_rejection
SELECT row, 'external_id',
    'Row ' || first || ' of this file has the same external_id “' || external_id || '”.', left(text, 200)
FROM gone
"""
IN_PROJECT = """
WITH gone AS (
    DELETE FROM staged_item staged USING annotation_item item
    WHERE item.project_id = %(project)s AND item.external_id = staged.external_id
    RETURNING staged.row, staged.external_id, staged.text, item.id, item.created_at
)
INSERT INTO staged_rejection
SELECT row, 'external_id',
    'The project has a text with the external_id “' || external_id || '” already: text ' || id
    || ', imported on ' || to_char(created_at, 'YYYY-MM-DD') || '.', left(text, 200)
FROM gone
"""
NEW_ITEMS = """
INSERT INTO annotation_item
    (project_id, external_id, text, source, language, target_group, metadata, kind, content_kinds, priority,
    overlap, taken, finished, created_at)
SELECT
    %(project)s, external_id, text, source, language, target_group, metadata, 'work', '[]', 0,
    %(overlap)s, 0, 0, %(now)s
FROM staged_item ORDER BY row
"""
NEW_PAIRS = """
INSERT INTO annotation_pair (project_id, item_id, rewrite, labels, imported_rewrite, imported_labels, status,
    disagreement, reason, version, created_at)
SELECT %(project)s, item.id, rewrite, labels, rewrite, labels, 'proposed', 0, '', 1, %(now)s
FROM staged_item JOIN annotation_item item
    ON item.project_id = %(project)s AND item.external_id = staged_item.external_id
WHERE rewrite <> '' OR labels <> '{}' ORDER BY row
"""
REJECTED_ROWS = """
INSERT INTO annotation_rejectedrow (item_import_id, row, field, reason, excerpt)
SELECT %(job)s, row, left(field, 100), left(reason, 500), left(excerpt, 200)
FROM staged_rejection ORDER BY row
"""


def check_upload(file: File) -> None:
    """Raise ValidationError, keyed by `file`, for a file that is empty or larger than the server takes."""
    if not file.size:
        raise ValidationError({"file": "The file is empty."})
    if file.size > settings.MAX_UPLOAD_BYTES:
        limit = settings.MAX_UPLOAD_BYTES // (1024 * 1024)
        raise ValidationError({"file": f"The file is larger than {limit} MB. Split it."})


def upload(project: Project, user, file: File, *, file_format: str = "", with_pairs: bool = True) -> ItemImport:
    """Store an uploaded file and queue its import.

    Args:
        file_format: csv or jsonl; by the file's name when empty.

    Raises:
        ValidationError: keyed by `file`.
    """
    from annotation import tasks

    name = file.name or ""
    check_upload(file)
    if not file_format:
        endings = {"csv": "csv", "jsonl": "jsonl", "ndjson": "jsonl"}
        file_format = endings.get(name.rpartition(".")[2].lower(), "")
        if not file_format:
            raise ValidationError(
                {"file": "The file's name ends neither in .csv nor in .jsonl; choose the format yourself."}
            )
    with transaction.atomic():
        job = ItemImport.objects.create(
            project=project,
            created_by=user,
            file=file,
            file_name=rows.storable(name[-255:], 255) or f"texts.{file_format}",
            file_format=file_format,
            with_pairs=with_pairs,
        )
        job.queue(tasks.execute_import)
    return job


def run(job: ItemImport) -> dict[str, Any]:
    """Import the file of a job. Running it again after it has been applied changes nothing.

    Raises:
        JobError: the file cannot be read as a whole; nothing is imported then.
    """
    if job.applied_at:
        return {}
    levels = _levels(job.project)
    with connection.cursor() as cursor:
        cursor.execute(TABLES)
        try:
            _stage(job, cursor, levels)
            return _apply(job, cursor, levels)
        finally:
            if connection.is_usable():
                cursor.execute(DROP)


def _levels(project: Project) -> dict[str, list[str]]:
    return {dimension.key: dimension.levels for dimension in project.dimensions.all()}


def _stage(job: ItemImport, cursor, levels: dict[str, list[str]]) -> None:
    try:
        stored = job.file.open("rb")
    except FileNotFoundError:
        raise JobError("The uploaded file is gone from the storage. Upload it again.") from None
    with stored:
        job.report(0, message="Reading the file")
        total = rows.check_encoding(stored.file, job.file_format)
        reader = rows.Reader(stored.file, job.file_format, ("text",), (*COLUMNS, *levels))
        good: list[tuple] = []
        bad: list[Rejected] = []
        read = rejected = 0
        for row in reader:
            read += 1
            try:
                if isinstance(row, Rejected):
                    raise row
                good.append(clean(row, job, levels))
            except Rejected as rejection:
                bad.append(rejection)
                rejected += 1
            if len(good) + len(bad) >= BATCH:
                _copy(cursor, good, bad)
                job.report(reader.line, total, f"Checked {read:,} rows, {rejected:,} rejected")
        if not read:
            raise JobError(
                "The file has a header and no rows below it." if job.file_format == "csv" else "The file is empty."
            )
        _copy(cursor, good, bad)
    job.report(total, total, f"Writing {read - rejected:,} texts")


def _copy(cursor, good: list[tuple], bad: list[Rejected]) -> None:
    """Write both lists to their staging tables and empty them."""
    with cursor.copy("COPY staged_item FROM STDIN") as copy:
        for values in good:
            copy.write_row(values)
    with cursor.copy("COPY staged_rejection FROM STDIN") as copy:
        for row in bad:
            copy.write_row(
                (
                    row.row,
                    rows.storable(row.field, 100),
                    rows.storable(row.reason, 500),
                    rows.storable(row.excerpt, 200),
                )
            )
    good.clear()
    bad.clear()


def _apply(job: ItemImport, cursor, levels: dict[str, list[str]]) -> dict[str, Any]:
    """Write what was staged, all of it or nothing."""
    now = timezone.now()
    cursor.execute("ANALYZE staged_item")
    with transaction.atomic():
        # Imports into one project wait for each other, and see the overlap and the levels that hold now.
        project = Project.objects.select_for_update(no_key=True).get(pk=job.project_id)
        if _levels(project) != levels:
            raise JobError("The project's dimensions were changed meanwhile. Import the file again.")
        values = {"project": project.pk, "overlap": project.overlap, "now": now, "job": job.pk}
        cursor.execute(TWICE_IN_FILE)
        cursor.execute(IN_PROJECT, values)
        cursor.execute(NEW_ITEMS, values)
        imported = cursor.rowcount
        cursor.execute(NEW_PAIRS, values)
        proposed = cursor.rowcount
        cursor.execute(REJECTED_ROWS, values)
        rejected = cursor.rowcount
        counts = {"imported": imported, "proposed": proposed, "rejected": rejected, "applied_at": now}
        job.beat()  # cancelled, or another worker's by now: then nothing of this is written
        if not ItemImport.objects.filter(pk=job.pk, attempt=job.attempt, applied_at=None).update(**counts):
            raise LeaseLost
    if imported > BATCH:
        # The planner must not take a table it saw empty for a small one until autovacuum comes by.
        cursor.execute("ANALYZE annotation_item, annotation_pair")
    return {**counts, "message": _summary(imported, rejected)}


def _summary(imported: int, rejected: int) -> str:
    texts = f"{imported:,} text{'' if imported == 1 else 's'} imported"
    return f"{texts}, {rejected:,} row{'' if rejected == 1 else 's'} rejected."


# One row


def clean(row: Row, job: ItemImport, levels: dict[str, list[str]]) -> tuple:
    """The values of one staged row, checked.

    Raises:
        Rejected: with the field at fault and the reason.
    """
    values = dict(row.values)
    words = [values.get("text"), *values.values()]
    excerpt = next((word[:200] for word in words if isinstance(word, str) and word.strip()), "")

    def checked(field: str, rule, *args) -> Any:
        try:
            return rule(*args)
        except ValidationError as error:
            raise Rejected(row.row, field, validators.first_message(error), excerpt) from None

    text = validators.normalise_text(checked("text", _string, values.pop("text", ""), "The text"))
    checked("text", validators.check_text, text)
    short = {name: checked(name, _short, values.pop(name, ""), name) for name in SHORT_COLUMNS}
    rewrite = checked("safe_rewrite", _string, values.pop("safe_rewrite", ""), "The rewrite")
    rewrite = validators.normalise_text(rewrite) if rewrite.strip() else ""
    labels = {}
    for key in levels:
        if level := checked(key, _string, values.pop(key, ""), f"The label {key}").strip():
            labels[key] = level
    if job.with_pairs:
        checked("safe_rewrite", validators.check_rewrite, rewrite)
        for key, level in labels.items():
            checked(key, _check_level, key, level, levels)
    else:
        rewrite, labels = "", {}
    metadata = {name: value for name, value in values.items() if value not in ("", None)}
    for name, value in metadata.items():
        checked(name, check_metadata, name, value)
    encoded = json.dumps(metadata, ensure_ascii=False)
    if len(encoded) > MAX_METADATA:
        reason = f"The other columns hold {len(encoded):,} characters together; the limit is {MAX_METADATA:,}."
        raise Rejected(row.row, "", reason, excerpt)
    return (
        row.row,
        short["external_id"] or f"{job.pk}-{row.row}",
        text,
        short["source"],
        short["language"],
        short["target_group"],
        encoded,
        rewrite,
        json.dumps(labels, ensure_ascii=False),
    )


def _check_level(key: str, level: str, levels: dict[str, list[str]]) -> None:
    validators.check_labels({key: level}, levels, complete=False)


def _string(value: Any, what: str) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ValidationError(f"{what} must be text, not {_kind(value)}.")
    return value


def _short(value: Any, name: str) -> str:
    if type(value) is int:  # ids are often numbers in JSON
        value = str(value)
    value = _string(value, name).strip()
    validators.check_storable(value, name)
    if len(value) > MAX_LENGTHS[name]:
        raise ValidationError(f"{name} has {len(value):,} characters; the limit is {MAX_LENGTHS[name]}.")
    return value


def _kind(value: Any) -> str:
    names = {bool: "true or false", int: "a number", float: "a number", list: "a list", dict: "an object"}
    return names.get(type(value), type(value).__name__)


def check_metadata(name: str, value: Any, depth: int = 0) -> None:
    """Raise ValidationError where PostgreSQL cannot hold a value of a JSON object."""
    if depth > 20:
        raise ValidationError("The value is nested more than 20 deep.")
    validators.check_storable(name, "The column's name")
    if isinstance(value, str):
        validators.check_storable(value, "The value")
    elif isinstance(value, float) and value in (float("inf"), float("-inf")):
        raise ValidationError("The number is too large.")
    elif isinstance(value, list):
        for part in value:
            check_metadata(name, part, depth + 1)
    elif isinstance(value, dict):
        for key, part in value.items():
            check_metadata(key, part, depth + 1)
