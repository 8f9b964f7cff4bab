"""Outputs of other systems, uploaded as CSV. Rows are staged, checked against the project, then written all
at once.

Columns: `external_id` (or `text`, the exact text), `system`, `output`. Other columns are ignored. A file that
cannot be read as a whole imports nothing; a row that cannot be used is rejected with its reason, and the
others are imported.
"""

from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.files import File
from django.db import connection, transaction
from django.utils import timezone

from annotation import rows, validators
from annotation.imports import check_upload
from annotation.jobs import JobError
from annotation.models import Project
from annotation.rows import Rejected, Row
from evaluation.models import OutputImport

REQUIRED = ("system", "output")
COLUMNS = ("external_id", "text", *REQUIRED)
BATCH = 2_000

STAGED = """
CREATE TEMPORARY TABLE IF NOT EXISTS staged_output (
    row integer, external_id text, text text, system text, output text,
    field text, reason text, excerpt text, item_id bigint
)
"""

# Each names a rule, the field it is about, and the rows that break it. They run in this order; a row that has
# a reason is out. `%(project)s` is the project.
UNKNOWN_ID = """
UPDATE staged_output staged SET field = 'external_id', excerpt = left(staged.external_id, 200),
    reason = 'No text of this project has this external id. Import the texts first, or correct the id.'
WHERE staged.reason = '' AND staged.external_id <> '' AND item_id IS NULL
"""
OTHER_TEXT = """
UPDATE staged_output staged SET field = 'text', excerpt = left(staged.text, 200),
    reason = 'The text is not that of ' || left(staged.external_id, 200) || ' here. Correct one of them.'
FROM annotation_item item
WHERE staged.reason = '' AND item.id = staged.item_id AND staged.external_id <> ''
    AND btrim(staged.text, E' \\t\\n') NOT IN ('', btrim(item.text, E' \\t\\n'))
"""
AMBIGUOUS_TEXT = """
UPDATE staged_output staged SET field = 'text', excerpt = left(staged.text, 200),
    reason = 'Several texts of this project read like this. Name the external id.'
WHERE staged.reason = '' AND staged.external_id = '' AND staged.text IN (
    SELECT item.text FROM annotation_item item
    JOIN (SELECT DISTINCT text FROM staged_output WHERE external_id = '') wanted USING (text)
    WHERE item.project_id = %(project)s GROUP BY item.text HAVING count(*) > 1
)
"""
UNKNOWN_TEXT = """
UPDATE staged_output staged SET field = 'text', excerpt = left(staged.text, 200),
    reason = 'No text of this project reads exactly like this. Import it first, or name the external id.'
WHERE staged.reason = '' AND staged.external_id = '' AND item_id IS NULL
"""
NOT_UPLOADED = """
UPDATE staged_output staged SET field = 'system', excerpt = left(staged.system, 200),
    reason = 'A system of this name generates its outputs here. Give the uploaded one another name.'
FROM evaluation_system known
WHERE staged.reason = '' AND known.project_id = %(project)s AND known.name = staged.system
    AND known.kind <> 'upload'
"""
TWICE = """
UPDATE staged_output staged SET field = 'system', excerpt = left(staged.system, 200),
    reason = 'The same system and text as in row ' || first || '.'
FROM (
    SELECT row AS number, min(row) OVER (PARTITION BY system, item_id) AS first
    FROM staged_output WHERE reason = ''
) same
WHERE staged.reason = '' AND staged.row = number AND first < number
"""
PRESENT = """
UPDATE staged_output staged SET field = 'system', excerpt = left(staged.system, 200),
    reason = 'This system has an output for this text already; outputs are not overwritten.'
FROM evaluation_output present JOIN evaluation_system known ON known.id = present.system_id
WHERE staged.reason = '' AND known.project_id = %(project)s AND known.name = staged.system
    AND present.item_id = staged.item_id
"""
BY_ID = """
UPDATE staged_output staged SET item_id = item.id FROM annotation_item item
WHERE staged.reason = '' AND staged.external_id <> '' AND item.project_id = %(project)s
    AND item.external_id = staged.external_id
"""
BY_TEXT = """
UPDATE staged_output staged SET item_id = item.id FROM annotation_item item
WHERE staged.reason = '' AND staged.external_id = '' AND item.project_id = %(project)s
    AND item.text = staged.text
"""
NEW_SYSTEMS = """
INSERT INTO evaluation_system
    (project_id, name, kind, base_model, prompt_template, settings, is_scratch, created_by_id, created_at)
SELECT %(project)s, system, 'upload', '', '', '{}', false, %(user)s, %(now)s
FROM staged_output WHERE reason = '' GROUP BY system ORDER BY min(row)
ON CONFLICT (project_id, name) DO NOTHING
"""
NEW_OUTPUTS = """
INSERT INTO evaluation_output (project_id, system_id, item_id, text, created_at)
SELECT %(project)s, known.id, item_id, output, %(now)s
FROM staged_output JOIN evaluation_system known
    ON known.project_id = %(project)s AND known.name = system AND known.kind = 'upload'
WHERE reason = '' ORDER BY row
"""
REJECTED = """
INSERT INTO evaluation_rejectedoutput (output_import_id, row, field, reason, excerpt)
SELECT %(job)s, row, field, left(reason, 500), excerpt FROM staged_output WHERE reason <> '' ORDER BY row
"""


def upload(project: Project, user, file: File) -> OutputImport:
    """Store an uploaded file and queue its import.

    Raises:
        ValidationError: keyed by `file`.
    """
    from evaluation import tasks

    check_upload(file)
    name = rows.storable((file.name or "")[-255:], 255) or "outputs.csv"
    with transaction.atomic():
        job = OutputImport.objects.create(project=project, created_by=user, file=file, file_name=name)
        job.queue(tasks.execute_output_import)
    return job


def run(job: OutputImport) -> dict[str, Any]:
    """Import the file of a job. Running it again after it has been applied changes nothing.

    Raises:
        JobError: the file cannot be read as a whole; nothing is imported then.
    """
    if job.applied_at:
        return {}
    with connection.cursor() as cursor:
        cursor.execute(STAGED)
        cursor.execute("TRUNCATE staged_output")
        try:
            _stage(job, cursor)
            return _apply(job, cursor)
        finally:
            if connection.is_usable() and not connection.needs_rollback:
                cursor.execute("DROP TABLE IF EXISTS staged_output")


def _stage(job: OutputImport, cursor) -> None:
    """Copy the file into the staging table, batch by batch: progress is seen and memory stays small."""
    try:
        stored = job.file.open("rb")
    except FileNotFoundError:
        raise JobError("The uploaded file is gone from the storage. Upload it again.") from None
    with stored:
        job.report(0, message="Reading the file")
        total = rows.check_encoding(stored.file, "csv")
        reader = rows.Reader(stored.file, "csv", REQUIRED, COLUMNS)
        batch: list[tuple[Any, ...]] = []
        count = 0
        for row in reader:
            if not count and isinstance(row, Row):
                _check_columns(row)
            batch.append((row.row, *_checked(row)))
            count += 1
            if len(batch) == BATCH:
                _copy(cursor, batch)
                batch.clear()
                job.report(reader.line, total, f"{count:,} rows read")
        if not count:
            raise JobError("The file has a header and no rows.")
        _copy(cursor, batch)
        cursor.execute("ANALYZE staged_output")
        job.report(total, total, f"{count:,} rows read, writing")


def _check_columns(row: Row) -> None:
    if not {"external_id", "text"} & set(row.values):
        found = ", ".join(name[:40] for name in list(row.values)[:20])
        raise JobError(f"There is no column 'external_id' or 'text'. The header has: {found}.")


def _copy(cursor, batch: list[tuple[Any, ...]]) -> None:
    columns = "row, external_id, text, system, output, field, reason, excerpt"
    with cursor.copy(f"COPY staged_output ({columns}) FROM STDIN") as copy:
        for row in batch:
            copy.write_row(row)


def _checked(row: Row | Rejected) -> tuple[str, ...]:
    """A row's external id, text, system, output, and what is wrong with it: field, reason, excerpt."""
    if isinstance(row, Rejected):
        return "", "", "", "", row.field, row.reason, rows.storable(row.excerpt, 200)
    values = {name: validators.normalise_text(row.values.get(name, "")) for name in COLUMNS}
    values["external_id"], values["system"] = values["external_id"].strip(), values["system"].strip()
    field, reason = _wrong(values)
    if reason:
        return "", "", "", "", field, reason, rows.storable(values[field], 200)
    return values["external_id"], values["text"], values["system"], values["output"], "", "", ""


def _wrong(row: dict[str, str]) -> tuple[str, str]:
    for name, value in row.items():
        try:
            validators.check_storable(value, f"The {name.replace('_', ' ')}")
        except ValidationError as error:
            return name, validators.first_message(error)
    if not row["external_id"] and not row["text"].strip():
        return "external_id", "Neither an external id nor a text says which text this output belongs to."
    if not row["system"]:
        return "system", "The system has no name."
    if len(row["system"]) > 120:
        return "system", f"The system's name has {len(row['system'])} characters; the limit is 120."
    if not row["output"].strip():
        text = f" for {row['external_id']}" if row["external_id"] else ""
        return "output", f"The output of {row['system']}{text} is empty."[:500]
    if len(row["output"]) > settings.MAX_TEXT_LENGTH:
        return (
            "output",
            f"The output has {len(row['output']):,} characters; the limit is {settings.MAX_TEXT_LENGTH:,}.",
        )
    return "", ""


def _apply(job: OutputImport, cursor) -> dict[str, Any]:
    values = {"project": job.project_id, "user": job.created_by_id, "now": timezone.now(), "job": job.pk}
    with transaction.atomic():
        # Two imports into one project at once would both find an output missing; one waits here.
        Project.objects.select_for_update(no_key=True).get(pk=job.project_id)
        # Texts that were imported a moment ago are not in the planner's statistics yet; with these it would
        # compare every row with every text.
        cursor.execute("SET LOCAL enable_nestloop = off")
        for statement in (BY_ID, UNKNOWN_ID, OTHER_TEXT, AMBIGUOUS_TEXT, BY_TEXT, UNKNOWN_TEXT, NOT_UPLOADED):
            cursor.execute(statement, values)
        cursor.execute(TWICE, values)
        cursor.execute(PRESENT, values)
        cursor.execute(NEW_SYSTEMS, values)
        cursor.execute(NEW_OUTPUTS, values)
        imported = cursor.rowcount
        cursor.execute(REJECTED, values)
        results = {"imported": imported, "rejected": cursor.rowcount, "applied_at": values["now"]}
        job.beat()  # not ours any more, or cancelled: nothing is written
        OutputImport.objects.filter(pk=job.pk).update(**results)
    rejected = f", {results['rejected']:,} rejected" if results["rejected"] else ""
    return results | {"message": f"{imported:,} outputs imported{rejected}"}
