"""Files written from a project's rows, by exporters that each application registers.

Rows come from a server-side cursor and go to a temporary file, then to the storage, so memory stays constant.
Columns are documented in docs/formats.md and do not change silently. Our own kinds are in annotation/export_kinds.py.
"""

import contextlib
import csv
import json
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Any

from django.core.exceptions import ValidationError
from django.core.files import File
from django.db import connection, transaction
from django.http import FileResponse, Http404
from django.utils.text import slugify

from annotation import access
from annotation.jobs import JobStatus
from annotation.models import Export, Project

CHUNK = 2_000  # rows fetched, and written between two reports

# What an Alpaca row asks for. Part of the format (docs/formats.md): changing it changes training data.
ALPACA_INSTRUCTION = "Rewrite the text so that it is free of bias, toxicity and harm. Keep its meaning."


@dataclass(frozen=True)
class Format:
    title: str
    ending: str  # csv, jsonl or parquet decide how rows are written; the zip of a kind is written by itself
    content_type: str


FORMATS = {
    "csv": Format("CSV", "csv", "text/csv; charset=utf-8"),
    "jsonl": Format("JSON Lines", "jsonl", "application/x-ndjson"),
    "parquet": Format("Parquet", "parquet", "application/vnd.apache.parquet"),
    "alpaca": Format("Alpaca, JSON Lines", "jsonl", "application/x-ndjson"),
    "zip": Format("folder as .zip", "zip", "application/zip"),
}


@dataclass(frozen=True)
class Exporter:
    """One kind of export.

    rows: yields dicts in file order, for the export's format and filters. columns: the CSV's header.
    count: how many rows to expect, for the progress bar. roles: who may make and download it.
    clean: checks and returns the filters. allow: raises PermissionDenied or ValidationError beyond roles.
    types: what the columns of a Parquet file hold, by name: a key of TYPES; those not named hold text.
    write: writes the file itself, for formats whose ending is zip, and returns the number of rows.
    filters: names of the filters that `clean` knows, for the form.
    query: for large tables: what PostgreSQL makes CSV and JSON Lines of by itself, the same rows as `rows`.
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
    types: Callable[[Export], dict[str, str]] | None = None
    write: Callable[[Export, Path], int] | None = None
    filters: tuple[str, ...] = ()
    query: Callable[[Export], "Query"] | None = None


@dataclass(frozen=True)
class Query:
    """SQL with parameters, and its columns: name, an expression over `c`, and its type, a key of TYPES."""

    sql: str
    params: tuple[Any, ...]
    columns: list[tuple[str, str, str]]


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
    access.require(user, project.pk, *exporter.roles)
    wanted = exporter.clean(project, filters or {})
    export = Export(project=project, created_by=user, kind=kind, file_format=file_format, filters=wanted)
    check_allowed(user, export)
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
        if ending(job) == "zip":
            assert exporter.write is not None
            done = exporter.write(job, path)
        elif exporter.query is not None and ending(job) in ("csv", "jsonl"):
            done = copy_rows(path, ending(job), exporter.query(job), job, total)
        else:
            types = exporter.types(job) if exporter.types else {}
            done = write_rows(path, ending(job), exporter.columns(job), types, exporter.rows(job), job, total)
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


def write_rows(
    path: Path,
    file_ending: str,
    columns: list[str],
    types: dict[str, str],
    rows: Iterable[dict[str, Any]],
    job: Export,
    total: int,
    done: int = 0,
) -> int:
    """Write rows to a file, reporting as it goes; returns how many, `done` before included."""
    with contextlib.ExitStack() as opened:
        if file_ending == "parquet":
            write = opened.enter_context(parquet_writer(path, columns, types))
        else:
            file = opened.enter_context(path.open("w", encoding="utf-8", newline=""))
            write = csv_writer(file, columns) if file_ending == "csv" else json_writer(file)
        for row in rows:
            write(row)
            done += 1
            if done % CHUNK == 0:
                job.report(done, max(total, done))
    return done


def copy_rows(path: Path, file_ending: str, query: Query, job: Export, total: int) -> int:
    """Have PostgreSQL write the rows of a query, several times as fast as rows made in Python; returns how many."""
    as_json = file_ending == "jsonl"
    chosen = [
        f"{_as_json(expression, kind) if as_json else _as_cell(expression, kind)} AS {connection.ops.quote_name(name)}"
        for name, expression, kind in query.columns
    ]
    inner = f"SELECT {', '.join(chosen)} FROM ({query.sql}) c"  # noqa: S608
    if as_json:
        # JSON escapes control characters, so with these marks nothing is ever quoted again.
        form = r"(FORMAT csv, QUOTE E'\x01', ESCAPE E'\x01', DELIMITER E'\x02')"
        statement = f"COPY (SELECT row_to_json(r) FROM ({inner}) r) TO STDOUT WITH {form}"  # noqa: S608
    else:
        statement = f"COPY ({inner}) TO STDOUT WITH (FORMAT csv, HEADER)"
    done = 0 if as_json else -1  # the header
    with path.open("wb") as file, connection.cursor() as cursor, cursor.cursor.copy(statement, query.params) as copy:
        for line in copy:
            file.write(line)
            done += 1
    job.report(done, max(total, done))
    return done


def _as_cell(expression: str, kind: str) -> str:
    """SQL of what spreadsheet_cell makes of a value."""
    if kind == "time":
        return _as_time(expression)
    if kind == "flag":
        return f"CASE WHEN {expression} THEN 'True' ELSE 'False' END"
    if kind in ("whole", "number"):
        return expression
    text = f"({expression})::text"
    return f"CASE WHEN {text} ~ E'^\\'*[=+@\\t\\r-]' THEN E'\\'' || {text} ELSE NULLIF({text}, '') END"


def _as_json(expression: str, kind: str) -> str:
    return _as_time(expression) if kind == "time" else expression


def _as_time(expression: str) -> str:
    return f"to_char({expression} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"+00:00\"')"


def ending(export: Export) -> str:
    return FORMATS[export.file_format].ending


def download_name(export: Export) -> str:
    """What the file is called on the computer of whoever downloads it."""
    name = slugify(export.project.name)[:60] or f"project-{export.project_id}"
    kind = (
        export.kind
        if export.file_format in {"csv", "jsonl", "parquet", "zip"}
        else f"{export.kind}-{export.file_format}"
    )
    return f"{name}-{kind}-{export.pk}.{ending(export)}"


def download(export: Export) -> FileResponse:
    """A finished export's file. Raises 404 where there is none (yet)."""
    if export.status != JobStatus.FINISHED or not export.file:
        raise Http404
    try:
        file = export.file.open("rb")
    except FileNotFoundError:
        raise Http404 from None
    kind = FORMATS[export.file_format].content_type
    return FileResponse(file, as_attachment=True, filename=download_name(export), content_type=kind)


# Writing

FORMULA = ("=", "+", "-", "@", "\t", "\r", "'")


def spreadsheet_cell(value: Any) -> Any:
    """A cell that no spreadsheet takes for a formula: text that begins like one gets an apostrophe.

    So does text that begins like one behind apostrophes of its own: then taking one away gives back every cell.
    """
    if isinstance(value, str):
        if value[:1] in FORMULA and value.lstrip("'")[:1] in FORMULA[:-1]:
            return f"'{value}"
        return value
    if isinstance(value, (dict, list)):
        return json.dumps(value, ensure_ascii=False, default=plain)
    return value.isoformat() if isinstance(value, datetime) else value


def plain(value: Any) -> str:
    """What JSON has no type for: times as ISO 8601."""
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} is no JSON value")


def csv_writer(file: IO[str], columns: list[str]) -> Callable[[dict[str, Any]], None]:
    """Writes the header, and returns what writes a row."""
    writer = csv.writer(file)
    writer.writerow(columns)

    def write(row: dict[str, Any]) -> None:
        writer.writerow([spreadsheet_cell(row.get(column)) for column in columns])

    return write


def json_writer(file: IO[str]) -> Callable[[dict[str, Any]], None]:
    encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, default=plain).encode

    def write(row: dict[str, Any]) -> None:
        file.write(encode(row) + "\n")

    return write


# What a column of a Parquet file may hold: name -> its Arrow type.
TYPES: dict[str, Callable[[Any], Any]] = {
    "text": lambda pa: pa.string(),
    "whole": lambda pa: pa.int64(),
    "number": lambda pa: pa.float64(),
    "flag": lambda pa: pa.bool_(),
    "time": lambda pa: pa.timestamp("us", tz="UTC"),
    "names": lambda pa: pa.list_(pa.string()),
    "spans": lambda pa: pa.list_(pa.struct([("start", pa.int64()), ("end", pa.int64())])),
    "json": lambda pa: pa.string(),  # an object whose names are not known beforehand
}
ROW_GROUP = 2_000  # rows


@contextlib.contextmanager
def parquet_writer(path: Path, columns: list[str], types: dict[str, str]) -> Iterator[Callable[[dict[str, Any]], None]]:
    """What writes a row to a Parquet file; rows are held until a row group is full."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([(column, TYPES[types.get(column, "text")](pa)) for column in columns])
    as_json = {column for column in columns if types.get(column) == "json"}
    held: list[dict[str, Any]] = []

    def value(column: str, found: Any) -> Any:
        if column in as_json:
            return json.dumps(found, ensure_ascii=False, default=plain)
        return None if found == "" and types.get(column, "text") != "text" else found

    def flush(writer) -> None:
        arrays = [
            pa.array([value(field.name, row.get(field.name)) for row in held], type=field.type) for field in schema
        ]
        writer.write_batch(pa.RecordBatch.from_arrays(arrays, schema=schema))
        held.clear()

    with pq.ParquetWriter(path, schema, compression="zstd") as writer:

        def write(row: dict[str, Any]) -> None:
            held.append(row)
            if len(held) >= ROW_GROUP:
                flush(writer)

        yield write
        if held:
            flush(writer)
