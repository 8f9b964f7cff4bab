"""Texts, and annotations by several people, from uploaded files: read, checked and staged, then written at once.

A job first looks at what is in the file and guesses what its columns mean (annotation/mapping.py); where a person has
to say so, it pauses until they have. Rows are then staged in temporary tables through COPY, so that progress can be
seen and memory stays constant. One transaction rejects what is there already and inserts the rest, and notes on the
job that it was applied: a file is imported whole or not at all, and once, whatever happens to the worker.
What is special about annotations is in annotation/past.py.
"""

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.files import File
from django.db import connection, transaction
from django.utils import timezone

from annotation import events, mapping, past, rows, sources, validators, wellbeing
from annotation.bulk import insert
from annotation.jobs import JobError, LeaseLost, Paused
from annotation.mapping import DROPPED, KEPT, LABEL, Inspection
from annotation.models import FileFormat, ImportStatus, Item, ItemImport, Pair, Project, Review
from annotation.rows import Rejected, Row

BATCH = 2_000  # rows between two reports
PEEK = 1_000  # rows read to learn what a file holds
SHORT_COLUMNS = ("external_id", "source", "language", "target_group")
COLUMNS = ("text", *SHORT_COLUMNS, "content_kinds", "safe_rewrite")
MAX_LENGTHS: dict[str, int] = {
    name: Item._meta.get_field(name).max_length or 0  # type: ignore[union-attr]
    for name in SHORT_COLUMNS
}
MAX_METADATA = 200_000  # characters of JSON
MAX_KINDS = 20

TABLES = """
DROP TABLE IF EXISTS staged_item, staged_rejection;
CREATE TEMPORARY TABLE staged_item (
    row integer, external_id text, text text, source text, language text, target_group text, content_kinds jsonb,
    metadata jsonb, rewrite text, labels jsonb
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
ITEM_VALUES = {
    "project_id": "%(project)s",
    "created_at": "%(now)s",
    **{name: name for name in ("external_id", "text", "source", "language", "target_group")},
    **{name: name for name in ("metadata", "content_kinds")},
    "overlap": "%(overlap)s",
}
PAIR_VALUES = {
    "project_id": "%(project)s",
    "item_id": "item.id",
    "rewrite": "rewrite",
    "labels": "labels",
    "imported_rewrite": "rewrite",
    "imported_labels": "labels",
    "created_at": "%(now)s",
}
PAIRS_FROM = """
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


def upload(
    project: Project,
    user,
    file: File,
    *,
    file_format: str = "",
    with_pairs: bool = True,
    review: str = Review.AUTO,
    chosen: Mapping[str, Any] | None = None,
) -> ItemImport:
    """Store an uploaded file and queue its import.

    Args:
        file_format: one of FileFormat; by the file's name when empty.
        review: one of Review, whether the job pauses to ask what the columns mean.
        chosen: a mapping (annotation/mapping.py) that answers that question beforehand, whole or in part.

    Raises:
        ValidationError: keyed by `file`, `file_format` or `mapping`.
    """
    from annotation import tasks

    name = file.name or ""
    check_upload(file)
    file_format = file_format or sources.format_of(name, file)  # type: ignore[arg-type]
    if not file_format:
        raise ValidationError(
            {
                "file": "The file's name ends neither in .csv, .jsonl, .parquet, .json nor .zip; "
                "choose the format yourself."
            }
        )
    if file_format not in FileFormat.values:
        raise ValidationError({"file_format": f"Choose one of {', '.join(FileFormat.values)}."})
    if review not in Review.values:
        raise ValidationError({"review": f"Choose one of {', '.join(Review.values)}."})
    checked = mapping.check(chosen, project) if chosen else {}
    with transaction.atomic():
        job = ItemImport.objects.create(
            project=project,
            created_by=user,
            file=file,
            file_name=rows.storable(name[-255:], 255) or f"texts.{file_format}",
            file_format=file_format,
            with_pairs=with_pairs,
            review=Review.NEVER if checked and review == Review.AUTO else review,
            inspection={"chosen": checked} if checked else None,
        )
        job.queue(tasks.execute_import)
    return job


def confirm(job: ItemImport, chosen: Mapping[str, Any]) -> None:
    """Answer a paused import: what becomes of the columns it found. The import then goes on.

    Raises:
        ValidationError: keyed by `mapping`.
    """
    from annotation import tasks

    checked = mapping.check(chosen, job.project)
    found = job.inspection or {}
    merged = {**found.get("guess", {}), **checked}
    merged["columns"] = {**found.get("guess", {}).get("columns", {}), **checked.get("columns", {})}
    if "text" not in merged["columns"].values():
        raise ValidationError({"mapping": "Say which column holds the text."})
    mapping.check(merged, job.project)
    with transaction.atomic():
        waiting = ItemImport.objects.filter(pk=job.pk, status=ImportStatus.PAUSED)
        if not waiting.update(status=ImportStatus.QUEUED, mapping=merged, ended_at=None, lease_until=None):
            raise ValidationError({"mapping": "This import does not wait for an answer any more."})
        job.refresh_from_db()
        job.queue(tasks.execute_import)


def run(job: ItemImport) -> dict[str, Any]:
    """Import the file of a job. Running it again after it has been applied changes nothing.

    Raises:
        JobError: the file cannot be read as a whole; nothing is imported then.
        Paused: somebody has to say what the columns mean.
    """
    if job.applied_at:
        if job.annotations:
            past.propose(job)
        return {}
    levels = _levels(job.project)
    try:
        stored = job.file.open("rb")
    except FileNotFoundError:
        raise JobError("The uploaded file is gone from the storage. Upload it again.") from None
    with stored, connection.cursor() as cursor:
        if job.mapping is None:
            job.mapping = _decide(job, stored.file)
        cursor.execute(TABLES)
        cursor.execute(past.TABLES)
        try:
            cleaner = Cleaner(job, levels)
            _stage(job, cursor, stored.file, cleaner)
            results = _apply(job, cursor, cleaner)
        finally:
            if connection.is_usable():
                cursor.execute(DROP)
                cursor.execute(past.DROP)
    if results.get("annotations"):
        job.annotations = results["annotations"]
        past.propose(job)
    return results


def _levels(project: Project) -> dict[str, list[str]]:
    return {dimension.key: dimension.levels for dimension in project.dimensions.all()}


def known_columns(levels: Mapping[str, Any]) -> tuple[str, ...]:
    """Names that are matched whatever their case."""
    return (*COLUMNS, *mapping.ANNOTATION_TARGETS, *levels)


# What is in the file


def _decide(job: ItemImport, file) -> dict[str, Any]:
    """The mapping of an import that nobody has confirmed: guessed, or asked for by pausing."""
    job.report(0, message="Looking at what is in the file")
    chosen = (job.inspection or {}).get("chosen", {})
    found, source = inspect(job, file)
    decided = mapping.merged(chosen, found, job.project, people=source.people)
    targets = decided["columns"].values()
    if "text" not in targets and found.rows:
        names = list(found.columns)
        if (job.review == Review.NEVER or rows.not_commas(names)) and job.file_format != FileFormat.JSONL:
            raise rows.Unreadable(rows.no_column("text", names))
    asks = source.people or "annotator" in targets or "text" not in targets
    if found.rows and (job.review == Review.ALWAYS or (job.review == Review.AUTO and asks)):
        raise Paused(
            ImportStatus.PAUSED,
            inspection=described(found, source, decided),
            message=f"{'' if found.whole else 'The first '}{found.rows:,} rows looked at",
        )
    return decided


def inspect(job: ItemImport, file) -> tuple[Inspection, sources.Source]:
    """What the columns of a file are called and hold: of the first rows, and of all where it holds annotations."""
    found = Inspection(job.file_format)
    required = ("text",) if job.review == Review.NEVER and not job.inspection else ()
    with sources.opened(file, job.file_format, known_columns(_levels(job.project)), required) as source:
        annotator = "annotator" if source.people else None
        for row in source:
            if isinstance(row, Rejected):
                continue
            if found.rows == 0 and annotator is None:
                columns = [mapping.Column(name) for name in row.values]
                annotator = mapping.annotator_column(columns)
            found.see(row.values, annotator)
            if found.rows >= PEEK and annotator is None and job.review != Review.ALWAYS:
                return found, source
            if found.rows % BATCH == 0:
                job.report(source.done, source.total, f"Looked at {found.rows:,} rows")
    found.whole = True
    return found, source


def described(found: Inspection, source: sources.Source, decided: dict[str, Any]) -> dict[str, Any]:
    """An inspection as it is stored on the job, for the page and the API."""
    return {
        "rows": found.rows,
        "whole": found.whole,
        "columns": [
            {
                "name": column.name,
                "filled": column.filled,
                "example": column.example,
                "values": [{"value": value, "count": count} for value, count in column.choices.items()],
            }
            for column in found.columns.values()
        ],
        "people": [{"name": name, "count": count} for name, count in found.people.most_common(mapping.MAX_PEOPLE)],
        "splits": [{"name": name, "count": count} for name, count in found.splits.items()],
        "aside": dict(+source.counts),
        "files_aside": [rows.storable(name, 200) for name in source.left_aside[:20]],
        "guess": decided,
    }


IN_WORDS = {
    "cancelled": "cancelled annotation{s} left out",
    "predictions": "prediction{s} of models left out: only what people decided is an annotation",
    "drafts": "draft{s} left out",
    "empty": "row{s} in which nothing was annotated: only the text was taken",
    "incomplete": "annotation{s} without a label for every dimension",
    "joined_spans": "mark{s} that overlapped another became one with it",
    "further_rewrites": "further rewrite{s} kept with the annotation; the first one counts",
    "deselected": "row{s} of splits that were not chosen",
}


def findings_in_words(job: ItemImport) -> list[str]:
    """What an import left aside or kept elsewhere, a sentence each."""
    found = job.findings or {}
    said = []
    for name, count in found.get("aside", {}).items():
        if name in IN_WORDS:
            said.append(f"{count:,} {IN_WORDS[name].format(s='' if count == 1 else 's')}.")
    for column, values in found.get("unmapped", {}).items():
        shown = ", ".join(f"“{value}” ({count:,})" for value, count in list(values.items())[:8])
        more = " and others" if len(values) > 8 else ""
        said.append(f"Values of {column} that are no level, kept beside the annotations: {shown}{more}.")
    if kinds := found.get("unknown_kinds"):
        shown = ", ".join(f"“{kind}” ({count:,})" for kind, count in kinds.items())
        said.append(f"Kinds of content that the project's settings do not list, kept as metadata: {shown}.")
    if files := found.get("files_aside"):
        said.append(f"Files of the archive that hold no rows: {', '.join(files[:8])}{' …' if len(files) > 8 else ''}.")
    return said


# Reading and staging


def _stage(job: ItemImport, cursor, file, cleaner: "Cleaner") -> None:
    job.report(0, message="Reading the file")
    with sources.opened(file, job.file_format, known_columns(cleaner.levels)) as source:
        good: list[tuple] = []
        annotated: list[tuple] = []
        bad: list[Rejected] = []
        read = rejected = 0
        for row in source:
            read += 1
            try:
                if isinstance(row, Rejected):
                    raise row
                if (cleaned := cleaner(row)) is not None:
                    (annotated if cleaner.with_people else good).append(cleaned)
            except Rejected as rejection:
                bad.append(rejection)
                rejected += 1
            if len(good) + len(annotated) + len(bad) >= BATCH:
                _copy(cursor, good, annotated, bad)
                job.report(source.done, source.total, f"Checked {read:,} rows, {rejected:,} rejected")
        if not read:
            raise JobError(
                "The file has a header and no rows below it." if job.file_format == "csv" else "The file is empty."
            )
        _copy(cursor, good, annotated, bad)
        cleaner.counts.update(source.counts)
        cleaner.files_aside = [rows.storable(name, 200) for name in source.left_aside[:20]]
    job.report(source.total, source.total, f"Writing {read - rejected:,} {'rows' if cleaner.with_people else 'texts'}")


def _copy(cursor, good: list[tuple], annotated: list[tuple], bad: list[Rejected]) -> None:
    """Write the lists to their staging tables and empty them."""
    if good:
        with cursor.copy("COPY staged_item FROM STDIN") as copy:
            for values in good:
                copy.write_row(values)
    if annotated:
        with cursor.copy(f"COPY staged_annotation ({past.COPY_COLUMNS}) FROM STDIN") as copy:
            for values in annotated:
                copy.write_row(values)
    if bad:
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
    annotated.clear()
    bad.clear()


def _apply(job: ItemImport, cursor, cleaner: "Cleaner") -> dict[str, Any]:
    """Write what was staged, all of it or nothing."""
    now = timezone.now()
    cursor.execute("ANALYZE staged_item, staged_annotation")
    with transaction.atomic():
        # Imports into one project wait for each other, and see the overlap and the levels that hold now.
        project = Project.objects.select_for_update(no_key=True).get(pk=job.project_id)
        if _levels(project) != cleaner.levels:
            raise JobError("The project's dimensions were changed meanwhile. Import the file again.")
        values = {"project": project.pk, "overlap": project.overlap, "now": now, "job": job.pk}
        counts: dict[str, Any] = {"applied_at": now, "annotations": 0, "mapping": job.mapping}
        report = cleaner.report()
        if cleaner.with_people:
            counts |= past.apply(cursor, job, project, values, report)
        else:
            cursor.execute(TWICE_IN_FILE)
            cursor.execute(IN_PROJECT, values)
            counts["imported"] = insert(cursor, Item, ITEM_VALUES, "FROM staged_item ORDER BY row", values)
            counts["proposed"] = insert(cursor, Pair, PAIR_VALUES, PAIRS_FROM, values)
        cursor.execute(REJECTED_ROWS, values)
        counts["rejected"] = cursor.rowcount
        counts["findings"] = report
        job.beat()  # cancelled, or another worker's by now: then nothing of this is written
        if not ItemImport.objects.filter(pk=job.pk, attempt=job.attempt, applied_at=None).update(**counts):
            raise LeaseLost
        events.record(
            project,
            job.created_by,
            "items.imported",
            subject=job.file_name,
            after={name: counts[name] for name in ("imported", "annotations", "rejected")},
        )
    if counts["imported"] + counts["annotations"] > BATCH:
        # The planner must not take a table it saw empty for a small one until autovacuum comes by.
        cursor.execute("ANALYZE annotation_item, annotation_pair")
        if counts["annotations"]:
            cursor.execute("ANALYZE annotation_assignment, annotation_annotation")
    return {**counts, "message": _summary(counts, report)}


def _summary(counts: Mapping[str, Any], report: Mapping[str, Any]) -> str:
    parts = [_number(counts["imported"], "text") + " imported"]
    if "people" in report:
        parts.append(f"{_number(counts['annotations'], 'annotation')} by {_number(len(report['people']), 'annotator')}")
    parts.append(f"{_number(counts['rejected'], 'row')} rejected")
    return ", ".join(parts) + "."


def _number(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


# One row


class Cleaner:
    """Checks rows of one import and turns them into what is staged, by the job's mapping.

    Called with a Row it returns the values to stage, or None for a row that was deselected; it raises Rejected with the
    column at fault and the reason.
    """

    def __init__(self, job: ItemImport, levels: dict[str, list[str]]) -> None:
        self.job, self.levels = job, levels
        decided = job.mapping or {}
        self.targets: dict[str, str] = dict(decided.get("columns", {}))
        self.values: dict[str, dict[str, str]] = decided.get("values", {})
        self.column_of = {target: column for column, target in self.targets.items()}
        self.with_people = "annotator" in self.column_of
        self.splits = set(decided.get("splits") or ()) if job.file_format == FileFormat.DATASET else set()
        own = self.targets.get("revision") == DROPPED or self.targets.get("settled_by") == DROPPED
        self.own_csv = own and job.file_format == FileFormat.CSV
        self.annotations = past.AnnotationCleaner(self) if self.with_people else None
        self.counts: Counter[str] = Counter()
        self.kinds = wellbeing.kind_names(job.project)
        self.unknown_kinds: Counter[str] = Counter()
        self.files_aside: list[str] = []

    def report(self) -> dict[str, Any]:
        found: dict[str, Any] = {"aside": {name: count for name, count in self.counts.items() if count}}
        if self.unknown_kinds:
            found["unknown_kinds"] = dict(self.unknown_kinds.most_common(20))
        if self.files_aside:
            found["files_aside"] = self.files_aside
        if self.annotations is not None:
            found |= self.annotations.report()
        return found

    def target(self, name: str) -> str:
        """The target of a column; one that only later rows have is known by its name alone."""
        found = self.targets.get(name)
        if found is None:
            known = mapping.TEXT_TARGETS if not self.with_people else {}
            found = name if name in known and name not in self.column_of else KEPT
            if name in self.levels and LABEL + name not in self.column_of and not self.with_people:
                found = LABEL + name
            self.targets[name] = found
            if found != KEPT:
                self.column_of[found] = name
            if len(self.targets) > 10_000:
                del self.targets[name]
        return found

    def __call__(self, row: Row) -> tuple | None:
        if self.splits and row.values.get("split") not in self.splits:
            self.counts["deselected"] += 1
            return None
        texts: dict[str, Any] = {}
        labels: dict[str, tuple[str, Any]] = {}
        person: dict[str, list[tuple[str, Any]]] = {}
        kept: dict[str, Any] = {}
        excerpt = ""
        for name, value in row.values.items():
            if self.own_csv:
                value = rows.plain_cell(value)
            target = self.targets.get(name) or self.target(name)
            if target == KEPT:
                if value is not None and value != "":
                    kept[name] = value
            elif target in mapping.TEXT_TARGETS:
                texts[target] = value
                if target == "text" and isinstance(value, str):
                    excerpt = value[:200]
            elif target.startswith(LABEL):
                labels[target[len(LABEL) :]] = (name, value)
            elif target != DROPPED:
                person.setdefault(target, []).append((name, value))
        if not excerpt.strip():
            words = row.values.values()
            excerpt = next((word[:200] for word in words if isinstance(word, str) and word.strip()), "")

        def checked(field: str, rule, *args) -> Any:
            try:
                return rule(*args)
            except ValidationError as error:
                field = self.column_of.get(field, field)
                raise Rejected(row.row, field, validators.first_message(error), excerpt) from None

        original = checked("text", _string, texts.get("text", ""), "The text")
        text = validators.normalise_text(original)
        checked("text", validators.check_text, text)
        short = [checked(name, _short, texts.get(name, ""), name) for name in SHORT_COLUMNS]
        kinds = checked("content_kinds", content_kinds, texts.get("content_kinds"))
        if kinds:
            kinds = self._known_kinds(kinds, kept)
        rewrite = checked("safe_rewrite", _string, texts.get("safe_rewrite", ""), "The rewrite")
        rewrite = validators.normalise_text(rewrite) if rewrite.strip() else ""
        if self.job.with_pairs:
            checked("safe_rewrite", validators.check_rewrite, rewrite)
        else:
            rewrite = ""
        if self.annotations is not None:
            return self.annotations.staged(
                row.row, original, text, short, kinds, rewrite, labels, person, kept, excerpt, checked
            )
        chosen = {}
        for key, (name, value) in labels.items():
            level = checked(name, _string, value, f"The label {key}").strip()
            if level and self.job.with_pairs:
                level = self.values.get(name, {}).get(level, level)
                if not level:
                    kept[name] = value
                    continue
                checked(name, _check_level, key, level, self.levels)
                chosen[key] = level
        return (
            row.row,
            short[0] or f"{self.job.pk}-{row.row}",
            text,
            *short[1:],
            json.dumps(kinds),
            encoded_metadata(kept, checked, row.row, excerpt),
            rewrite,
            json.dumps(chosen, ensure_ascii=False),
        )

    def _known_kinds(self, kinds: list[str], kept: dict[str, Any]) -> list[str]:
        """Those that the project lists. Nobody could opt out of another: it is kept as metadata, and counted."""
        found = {name.casefold(): name for name in self.kinds}
        for kind in kinds:
            if kind.casefold() not in found:
                self.unknown_kinds[kind] += 1
                kept.setdefault("content_kinds", kinds)
        return list(dict.fromkeys(found[kind.casefold()] for kind in kinds if kind.casefold() in found))


def encoded_metadata(kept: dict[str, Any], checked, row: int, excerpt: str) -> str:
    """The columns that are kept as they are, as JSON that PostgreSQL can hold."""
    for name, value in kept.items():
        checked(name, check_metadata, name, value)
    encoded = json.dumps(kept, ensure_ascii=False)
    if len(encoded) > MAX_METADATA:
        reason = f"The other columns hold {len(encoded):,} characters together; the limit is {MAX_METADATA:,}."
        raise Rejected(row, "", reason, excerpt)
    return encoded


def content_kinds(value: Any) -> list[str]:
    """Kinds of content: a list, a JSON list in a cell, or names separated by semicolons.

    Raises:
        ValidationError.
    """
    if value is None or value == "":
        return []
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise ValidationError("content_kinds is no JSON list; separate the kinds by semicolons.") from None
    if isinstance(value, str):
        value = value.split(";")
    if not isinstance(value, list) or not all(isinstance(kind, str) for kind in value):
        raise ValidationError("content_kinds must be a list of names.")
    kinds = list(dict.fromkeys(kind.strip() for kind in value if kind.strip()))
    if len(kinds) > MAX_KINDS or any(len(kind) > 60 for kind in kinds):
        raise ValidationError(f"content_kinds are at most {MAX_KINDS} names of at most 60 characters.")
    for kind in kinds:
        validators.check_storable(kind, "A kind of content")
    return kinds


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
