"""Preferences: two outputs for one text, of which one is preferred. Made of approved pairs or read from a file here;
evaluation/preferences.py makes them of a closed study.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.files import File
from django.db import connection, transaction
from django.db.models import QuerySet, RestrictedError
from django.utils import timezone

from annotation import rows, validators
from annotation.imports import check_upload
from annotation.jobs import JobError
from annotation.models import PairStatus, Project
from annotation.rows import Rejected, Row
from training import prompts
from training.models import Preference, PreferenceImport, PreferenceSource

COLUMNS = ("external_id", "text", "prompt", "chosen", "rejected")
FORMATS = ("csv", "jsonl")
BATCH = 2_000

# What makes two preferences the same; `digest` of a row.
DIGEST = "encode(sha256(convert_to(concat_ws(E'\\x1f', text, chosen, rejected), 'UTF8')), 'hex')"

STORE = """
WITH found AS MATERIALIZED ({query}), usable AS MATERIALIZED (
    SELECT * FROM found WHERE text ~ '\\S' AND chosen ~ '\\S' AND rejected ~ '\\S' AND chosen <> rejected
), made AS (
    INSERT INTO training_preference (project_id, item_id, text, chosen, rejected, digest, source, origin, votes, voters,
        created_by_id, created_at)
    SELECT %(project)s, item_id, text, chosen, rejected, {digest}, %(source)s, origin, votes, voters, %(user)s, %(now)s
    FROM usable ORDER BY item_id, chosen, rejected ON CONFLICT DO NOTHING RETURNING 1
)
SELECT (SELECT count(*) FROM made), (SELECT count(*) FROM usable), (SELECT count(*) FROM found)
"""

# The approved rewrite, and the text that it was written for.
AGAINST_TEXT = """
SELECT pair.item_id, item.text, pair.rewrite AS chosen, item.text AS rejected,
    jsonb_build_object('pair', pair.id) AS origin, 1 AS votes, 1 AS voters
FROM annotation_pair pair JOIN annotation_item item ON item.id = pair.item_id
WHERE pair.project_id = %(project)s AND pair.status = %(approved)s
"""
# The approved rewrite, and another one of the same text that more than half of its voters did not accept.
AGAINST_VOTED_DOWN = """
SELECT pair.item_id, item.text, pair.rewrite AS chosen, other.text AS rejected,
    jsonb_build_object('pair', pair.id, 'rewrite', other.id) AS origin,
    other.votes - other.accepted AS votes, other.votes AS voters
FROM annotation_pair pair JOIN annotation_item item ON item.id = pair.item_id
JOIN annotation_rewrite other ON other.item_id = pair.item_id
WHERE pair.project_id = %(project)s AND pair.status = %(approved)s
    AND other.votes > 0 AND (other.votes - other.accepted) * 2 > other.votes
"""
AGAINST = {
    "text": (AGAINST_TEXT, "the original text"),
    "voted-down": (AGAINST_VOTED_DOWN, "rewrites that most voters found unsafe or untrue in meaning"),
}


# What has people rate outputs blind says here which studies tell about them: user -> ids of studies.
HIDDEN_STUDIES: list[Callable[[Any], Iterable[int]]] = []


def shown_to(user, found: "QuerySet[Preference]") -> "QuerySet[Preference]":
    """Without those of studies over outputs that this person is rating blind, whatever their roles."""
    hidden = [pk for studies in HIDDEN_STUDIES for pk in studies(user)]
    if not hidden:
        return found
    return found.exclude(source=PreferenceSource.STUDY, origin__study__in=hidden)


@dataclass(frozen=True)
class Made:
    """made: new ones. present: they were there already. unusable: one output is empty, or both are the same."""

    made: int
    present: int
    unusable: int

    def __str__(self) -> str:
        parts = [f"{self.made:,} preference{'' if self.made == 1 else 's'} made"]
        if self.present:
            parts.append(f"{self.present:,} {'was' if self.present == 1 else 'were'} there already")
        if self.unusable:
            parts.append(f"{self.unusable:,} left out, with an empty output or two that are the same")
        return "; ".join(parts) + "."


def store(project_id: int, user, source: str, query: str, values: Mapping[str, Any]) -> Made:
    """Store what a query finds, each preference once.

    Args:
        query: SQL with the columns item_id, text, chosen, rejected, origin, votes, voters.
    """
    parameters = {"project": project_id, "user": user.pk, "source": source, "now": timezone.now(), **values}
    with connection.cursor() as cursor:
        cursor.execute(STORE.format(query=query, digest=DIGEST), parameters)
        made, usable, found = cursor.fetchone()
    return Made(made, usable - made, found - usable)


@transaction.atomic
def from_pairs(project: Project, user, against: str) -> Made:
    """Prefer the rewrite of each approved pair to what `against` names: `text` or `voted-down`.

    Raises:
        ValidationError: keyed by `against`; there is nothing to make a preference of.
    """
    if against not in AGAINST:
        raise ValidationError({"against": f"Choose {' or '.join(AGAINST)}."})
    query, words = AGAINST[against]
    made = store(project.pk, user, PreferenceSource.PAIRS, query, {"approved": PairStatus.APPROVED})
    if made == Made(0, 0, 0):
        needed = "Approve pairs first." if against == "text" else "Approve pairs, and have rewrites voted on, first."
        raise ValidationError({"against": f"No approved pair stands against {words}. {needed}"})
    return made


@transaction.atomic
def delete(preference: Preference) -> None:
    """Raises ValidationError while a dataset holds it."""
    try:
        preference.delete()
    except RestrictedError:
        raise ValidationError("A frozen dataset holds this preference; delete that dataset first.") from None


# Uploads


def upload(project: Project, user, file: File, file_format: str = "") -> PreferenceImport:
    """Store an uploaded file and queue its import.

    Raises:
        ValidationError: keyed by `file` or `file_format`.
    """
    from training import tasks

    check_upload(file)
    name = rows.storable((file.name or "")[-255:], 255) or "preferences.jsonl"
    file_format = file_format or ("csv" if name.lower().endswith(".csv") else "jsonl")
    if file_format not in FORMATS:
        raise ValidationError({"file_format": f"Choose {' or '.join(FORMATS)}."})
    with transaction.atomic():
        job = PreferenceImport.objects.create(
            project=project, created_by=user, file=file, file_name=name, file_format=file_format
        )
        job.queue(tasks.execute_preference_import)
    return job


STAGED = """
CREATE TEMPORARY TABLE staged_preference (
    row integer, external_id text, text text, chosen text, rejected text, item_id bigint,
    reason text NOT NULL DEFAULT ''
)
"""
BY_ID = """
UPDATE staged_preference staged SET item_id = item.id, text = CASE WHEN staged.text = '' THEN item.text ELSE staged.text
    END FROM annotation_item item
WHERE staged.external_id <> '' AND item.project_id = %(project)s AND item.external_id = staged.external_id
"""
UNKNOWN_ID = """
UPDATE staged_preference SET reason = 'external_id' WHERE external_id <> '' AND item_id IS NULL
"""
# A text that several items have belongs to the first of them.
BY_TEXT = """
UPDATE staged_preference staged SET item_id = first.id FROM (
    SELECT item.text, min(item.id) AS id FROM annotation_item item
    WHERE item.project_id = %(project)s AND item.kind = 'work' AND item.text IN (SELECT text FROM staged_preference)
    GROUP BY 1
) AS first WHERE staged.item_id IS NULL AND staged.external_id = '' AND first.text = staged.text
"""
STAGED_ROWS = """
SELECT item_id, text, chosen, rejected, jsonb_build_object('import', %(job)s::bigint, 'row', row) AS origin, 1 AS votes,
    1 AS voters
FROM staged_preference WHERE reason = ''
"""
NO_SUCH_ID = "No text of this project has this external id. Correct it, or leave it out and give the text."


def run(job: PreferenceImport) -> dict[str, Any]:
    """Import the file of a job. Rows that cannot be used are named with the reason, the others are imported at once.

    Raises:
        JobError: the file cannot be read as a whole; nothing is imported then.
    """
    if job.applied_at:
        return {}
    problems = _Problems()
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS staged_preference")
        cursor.execute(STAGED)
        try:
            _stage(job, cursor, problems)
            return _apply(job, cursor, problems)
        finally:
            if connection.is_usable() and not connection.needs_rollback:
                cursor.execute("DROP TABLE IF EXISTS staged_preference")


class _Problems:
    def __init__(self) -> None:
        self.count, self.kept = 0, []  # type: ignore[var-annotated]

    def add(self, row: int, field: str, reason: str, excerpt: str) -> None:
        self.count += 1
        if len(self.kept) < PreferenceImport.PROBLEMS:
            self.kept.append(
                {"row": row, "field": field, "reason": reason[:500], "excerpt": rows.storable(excerpt, 200)}
            )


def _stage(job: PreferenceImport, cursor, problems: _Problems) -> None:
    try:
        stored = job.file.open("rb")
    except FileNotFoundError:
        raise JobError("The uploaded file is gone from the storage. Upload it again.") from None
    with stored:
        job.report(0, message="Reading the file")
        total = rows.check_encoding(stored.file, job.file_format)
        reader = rows.Reader(stored.file, job.file_format, ("chosen", "rejected"), COLUMNS)
        batch: list[tuple[Any, ...]] = []
        count = 0
        for row in reader:
            count += 1
            checked = _checked(row, problems)
            if checked:
                batch.append(checked)
            if len(batch) == BATCH:
                _copy(cursor, batch)
                batch.clear()
                job.report(reader.line, total, f"{count:,} rows read")
        if not count:
            raise JobError("The file has no rows.")
        _copy(cursor, batch)
        cursor.execute("ANALYZE staged_preference")
        job.report(total, total, f"{count:,} rows read, writing")


def _copy(cursor, batch: list[tuple[Any, ...]]) -> None:
    with cursor.copy("COPY staged_preference (row, external_id, text, chosen, rejected) FROM STDIN") as copy:
        for row in batch:
            copy.write_row(row)


def _checked(row: Row | Rejected, problems: _Problems) -> tuple[Any, ...] | None:
    """A row for the staging table; None when it cannot be used, and why is noted."""
    if isinstance(row, Rejected):
        problems.add(row.row, row.field, row.reason, row.excerpt)
        return None
    values = {name: _content(row.values.get(name), name) for name in COLUMNS}
    for name, value in values.items():
        if not isinstance(value, str):
            problems.add(row.row, name, f"{name} must be text, or a list of chat messages.", str(value))
            return None
        values[name] = validators.normalise_text(value).strip()
    values["text"] = values["text"] or _without_template(values["prompt"])
    if wrong := _wrong(values):
        field, reason = wrong
        problems.add(row.row, field, reason, values.get(field, ""))
        return None
    return row.row, values["external_id"], values["text"], values["chosen"], values["rejected"]


def _content(value: Any, name: str) -> Any:
    """Text as it is. Of chat messages, what was said last: by the assistant, in a prompt by the user."""
    if value is None:
        return ""
    if isinstance(value, list) and value and all(isinstance(message, dict) for message in value):
        role = "user" if name in ("prompt", "text") else "assistant"
        said = [message.get("content") for message in value if message.get("role") == role]
        return said[-1] if said else value
    return value


def _without_template(prompt: str) -> str:
    """The text alone, where the prompt is the default template around it, as our own exports have it."""
    before, after = prompts.DEFAULT_TEMPLATE.split(prompts.PLACE)
    if prompt.startswith(before) and prompt.endswith(after.strip()):
        return prompt[len(before) : len(prompt) - len(after.strip())].strip()
    return prompt


def _wrong(values: dict[str, str]) -> tuple[str, str] | None:
    for name, value in values.items():
        try:
            validators.check_storable(value, f"The {name.replace('_', ' ')}")
        except ValidationError as error:
            return name, validators.first_message(error)
        if len(value) > settings.MAX_TEXT_LENGTH:
            return name, f"{name} has {len(value):,} characters; the limit is {settings.MAX_TEXT_LENGTH:,}. Shorten it."
    if not values["text"] and not values["external_id"]:
        return "text", "There is no text: fill text (or prompt), or external_id of a text of this project."
    for name in ("chosen", "rejected"):
        if not values[name]:
            return name, f"{name} is empty; a preference needs two outputs. Fill it or remove the row."
    if values["chosen"] == values["rejected"]:
        return (
            "rejected",
            "chosen and rejected are the same; give the output that was not preferred, or remove the row.",
        )
    return None


def _apply(job: PreferenceImport, cursor, problems: _Problems) -> dict[str, Any]:
    values = {"project": job.project_id, "job": job.pk}
    with transaction.atomic():
        cursor.execute("SET LOCAL enable_nestloop = off")
        cursor.execute(BY_ID, values)
        cursor.execute(UNKNOWN_ID)
        cursor.execute("SELECT row, external_id FROM staged_preference WHERE reason <> '' ORDER BY row")
        for row, external_id in cursor.fetchall():
            problems.add(row, "external_id", NO_SUCH_ID, external_id)
        cursor.execute(BY_TEXT, values)
        made = store(job.project_id, job.created_by, PreferenceSource.UPLOAD, STAGED_ROWS, {"job": job.pk})
        results = {
            "imported": made.made,
            "present": made.present,
            "rejected": problems.count,
            "problems": sorted(problems.kept, key=lambda problem: problem["row"]),
            "applied_at": timezone.now(),
        }
        job.beat()  # not ours any more, or cancelled: nothing is written
        PreferenceImport.objects.filter(pk=job.pk).update(**results)
    rejected = f" {problems.count:,} rows rejected." if problems.count else ""
    return results | {"message": f"{made}{rejected}"}
