"""Annotations that people made elsewhere: cleaned by the rules of the page, and written for many items at once.

An annotator named in a file is a person of the project, or becomes a closed account: one that nobody can sign in to,
that belongs to no project and that is named after the file's source, so that agreement tells its people apart.
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import F
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from annotation import mapping, pairs, rows, validators, work
from annotation.bulk import insert
from annotation.jobs import JobError
from annotation.models import (
    Annotation,
    Assignment,
    ImportedAnnotation,
    Item,
    ItemImport,
    ItemKind,
    Pair,
    PairStatus,
    Project,
)
from annotation.rows import Rejected

if TYPE_CHECKING:
    from annotation.imports import Cleaner

MAX_PEOPLE = 500  # annotators of one file; more are a wrong column
MAX_KEPT_VALUES = 30  # unmapped values of a column that the report names

TABLES = """
DROP TABLE IF EXISTS staged_annotation, staged_first, staged_person;
CREATE TEMPORARY TABLE staged_annotation (
    place serial, row integer, key text, external_id text, text text, source text, language text, target_group text,
    content_kinds jsonb, metadata jsonb, pair_rewrite text,
    person text, labels jsonb, spans jsonb, target_groups jsonb, rewrite text, comment text, active_seconds integer,
    guidelines_version integer, created_at timestamptz, updated_at timestamptz, other jsonb
);
"""
DROP = "DROP TABLE IF EXISTS staged_annotation, staged_first, staged_person"
COPY_COLUMNS = (
    "row, key, external_id, text, source, language, target_group, content_kinds, metadata, pair_rewrite, person, "
    "labels, spans, target_groups, rewrite, comment, active_seconds, guidelines_version, created_at, updated_at, other"
)

# The first row of each text, and the item of the project that it is already.
FIRST_ROWS = """
CREATE TEMPORARY TABLE staged_first AS
    SELECT DISTINCT ON (key) key, place, row, external_id, text, NULL::bigint AS item_id, NULL::text AS problem
    FROM staged_annotation ORDER BY key, place;
CREATE UNIQUE INDEX ON staged_first (key);
CREATE INDEX ON staged_annotation (key, person);
ANALYZE staged_first, staged_annotation
"""
KNOWN_BY_ID = """
UPDATE staged_first SET item_id = item.id, problem = CASE
    WHEN item.text <> staged_first.text THEN
        'The project has another text with the external_id “' || item.external_id || '” (text ' || item.id || ').'
    WHEN item.kind <> 'work' THEN
        'Text ' || item.id || ' of the project is no ordinary text; its annotations are not imported.'
    END
FROM annotation_item item
WHERE item.project_id = %(project)s AND staged_first.external_id <> ''
    AND item.external_id = staged_first.external_id
"""
KNOWN_BY_TEXT = """
UPDATE staged_first SET item_id = known.id FROM (
    SELECT md5(text) AS hash, min(id) AS id FROM annotation_item
    WHERE project_id = %(project)s AND kind = 'work' AND md5(text) IN (
        SELECT md5(text) FROM staged_first WHERE external_id = ''
    )
    GROUP BY 1
) known
WHERE staged_first.external_id = '' AND md5(staged_first.text) = known.hash
"""
# Nobody takes or submits these items until we are through.
LOCK_ITEMS = """
SELECT count(*) FROM (
    SELECT id FROM annotation_item WHERE id IN (SELECT item_id FROM staged_first WHERE item_id IS NOT NULL)
    ORDER BY id FOR UPDATE
) locked
"""
REJECT = """
WITH gone AS (
    DELETE FROM staged_annotation staged USING ({rows}) wrong
    WHERE staged.place = wrong.place RETURNING staged.row, wrong.field, wrong.reason, staged.text
)
INSERT INTO staged_rejection SELECT row, field, reason, left(text, 200) FROM gone
"""
OTHER_TEXT = REJECT.format(
    rows="""
    SELECT a.place, 'external_id' AS field, CASE WHEN f.problem IS NOT NULL THEN f.problem ELSE
        'Row ' || f.row || ' of this file has another text under the external_id “' || a.external_id || '”.' END
        AS reason
    FROM staged_annotation a JOIN staged_first f USING (key)
    WHERE f.problem IS NOT NULL OR a.text <> f.text
    """
)
TWICE_BY_ONE = REJECT.format(
    rows="""
    SELECT a.place, 'annotator' AS field,
        'Row ' || first.row || ' of this file is an annotation of the same text by ' || a.person || ' too.' AS reason
    FROM staged_annotation a JOIN staged_person p ON p.name = a.person JOIN (
        SELECT DISTINCT ON (key, user_id) key, user_id, place, row
        FROM staged_annotation JOIN staged_person ON name = person ORDER BY key, user_id, place
    ) first ON first.key = a.key AND first.user_id = p.user_id
    WHERE a.place > first.place
    """
)
ANNOTATED_HERE = REJECT.format(
    rows="""
    SELECT a.place, 'annotator' AS field, CASE
        WHEN assignment.state = 'finished' THEN
            a.person || ' has annotated text ' || f.item_id || ' of the project already.'
        ELSE a.person || ' was given text ' || f.item_id || ' here already; what they do there stays.' END AS reason
    FROM staged_annotation a
    JOIN staged_first f USING (key)
    JOIN staged_person p ON p.name = a.person
    JOIN annotation_assignment assignment ON assignment.item_id = f.item_id AND assignment.annotator_id = p.user_id
    """
)
EXTERNAL_ID = "CASE WHEN a.external_id = '' THEN %(job)s || '-' || a.row ELSE a.external_id END"
ITEM_VALUES = {
    "project_id": "%(project)s",
    "created_at": "%(now)s",
    "external_id": EXTERNAL_ID,
    **{name: f"a.{name}" for name in ("text", "source", "language", "target_group", "metadata", "content_kinds")},
    "overlap": "greatest(%(overlap)s, counts.people)",
}
ITEMS_FROM = """
FROM (
    SELECT key, min(place) AS place, count(person) AS people FROM staged_annotation
    WHERE key IN (SELECT key FROM staged_first WHERE item_id IS NULL) GROUP BY key
) counts JOIN staged_annotation a ON a.place = counts.place
ORDER BY a.place
"""
# By the same expression as in ITEM_VALUES: no item of the project had that id a moment ago.
FIND_NEW = f"""
UPDATE staged_first SET item_id = item.id FROM (
    SELECT key, min(place) AS place FROM staged_annotation GROUP BY key
) kept JOIN staged_annotation a ON a.place = kept.place, annotation_item item
WHERE staged_first.item_id IS NULL AND kept.key = staged_first.key AND item.project_id = %(project)s
    AND item.external_id = {EXTERNAL_ID}
"""  # noqa: S608
MORE_ROOM = """
UPDATE annotation_item item SET overlap = item.taken + counts.people
FROM (
    SELECT f.item_id, count(a.person) AS people FROM staged_annotation a JOIN staged_first f USING (key)
    GROUP BY f.item_id
) counts
WHERE item.id = counts.item_id AND item.overlap < item.taken + counts.people
"""
STAGED = """
FROM staged_annotation a JOIN staged_first f USING (key) JOIN staged_person p ON p.name = a.person
"""
ASSIGNMENT_VALUES = {
    "project_id": "%(project)s",
    "item_id": "f.item_id",
    "annotator_id": "p.user_id",
    "state": "'finished'",
    "lease_until": "coalesce(a.created_at, %(now)s)",
    "created_at": "coalesce(a.created_at, %(now)s)",
}
ANNOTATION_VALUES = {
    "project_id": "%(project)s",
    "item_id": "f.item_id",
    "annotator_id": "p.user_id",
    "assignment_id": "assignment.id",
    **{name: f"a.{name}" for name in ("labels", "spans", "target_groups", "rewrite", "comment", "active_seconds")},
    "guidelines_version": "least(a.guidelines_version, %(guidelines)s)",
    "created_at": "coalesce(a.created_at, %(now)s)",
    "updated_at": "coalesce(a.updated_at, a.created_at, %(now)s)",
}
ORIGIN_VALUES = {
    "annotation_id": "annotation.id",
    "item_import_id": "%(job)s",
    "row": "a.row",
    "name": "a.person",
    "values": "a.other",
}
WITH_ASSIGNMENT = (
    f"{STAGED} JOIN annotation_assignment assignment "
    "ON assignment.item_id = f.item_id AND assignment.annotator_id = p.user_id ORDER BY a.place"
)
WITH_ANNOTATION = (
    f"{STAGED} JOIN annotation_annotation annotation "
    "ON annotation.item_id = f.item_id AND annotation.annotator_id = p.user_id"
)
READY_MADE_VALUES = {
    "project_id": "%(project)s",
    "item_id": "ready.item_id",
    "rewrite": "ready.pair_rewrite",
    "imported_rewrite": "ready.pair_rewrite",
    "created_at": "%(now)s",
}
READY_MADE = """
FROM (
    SELECT DISTINCT ON (f.item_id) f.item_id, a.pair_rewrite
    FROM staged_annotation a JOIN staged_first f USING (key) JOIN annotation_item item ON item.id = f.item_id
    WHERE a.pair_rewrite <> '' AND item.created_at = %(now)s ORDER BY f.item_id, a.place
) ready
"""


def apply(cursor, job: ItemImport, project: Project, values: dict[str, Any], report: dict[str, Any]) -> dict[str, int]:
    """Write the staged annotations and their texts. Needs the transaction of the import; returns its counts."""
    values = {**values, "guidelines": project.guidelines_version}
    report["people"] = _people(cursor, job, project)
    cursor.execute(FIRST_ROWS)
    cursor.execute(KNOWN_BY_ID, values)
    cursor.execute(KNOWN_BY_TEXT, values)
    cursor.execute(LOCK_ITEMS)
    cursor.execute(OTHER_TEXT)
    cursor.execute(TWICE_BY_ONE)
    cursor.execute(ANNOTATED_HERE)
    imported = insert(cursor, Item, ITEM_VALUES, ITEMS_FROM, values)
    if imported > 1_000:
        cursor.execute("ANALYZE annotation_item")
    cursor.execute(FIND_NEW, values)
    cursor.execute("DELETE FROM staged_annotation WHERE person IS NULL AND pair_rewrite = ''")
    cursor.execute(MORE_ROOM)
    insert(cursor, Assignment, ASSIGNMENT_VALUES, f"{STAGED} ORDER BY a.place", values)
    annotations = insert(cursor, Annotation, ANNOTATION_VALUES, WITH_ASSIGNMENT, values)
    insert(cursor, ImportedAnnotation, ORIGIN_VALUES, WITH_ANNOTATION, values)
    proposed = insert(cursor, Pair, READY_MADE_VALUES, READY_MADE, values)
    cursor.execute("SELECT person, count(*) FROM staged_annotation WHERE person IS NOT NULL GROUP BY 1 ORDER BY 1")
    counts = dict(cursor.fetchall())
    report["people"] = [{**person, "annotations": counts.get(person["name"], 0)} for person in report["people"]]
    return {"imported": imported, "annotations": annotations, "proposed": proposed}


# People


def _people(cursor, job: ItemImport, project: Project) -> list[dict[str, Any]]:
    """Fill staged_person with every annotator of the file and the account each is: found, or made."""
    cursor.execute(
        "SELECT DISTINCT person FROM staged_annotation WHERE person IS NOT NULL ORDER BY 1 LIMIT %s", [MAX_PEOPLE + 1]
    )
    names = [name for (name,) in cursor.fetchall()]
    if len(names) > MAX_PEOPLE:
        raise JobError(
            f"The file names more than {MAX_PEOPLE} annotators, as {names[0][:40]!r} and {names[1][:40]!r}. "
            "Is that the right column?"
        )
    known = mapping.known_people(project)
    wanted = (job.mapping or {}).get("people", {})
    people, found = [], []
    for name in names:
        username = wanted.get(name, name)
        user = known.get(username.casefold()) if username else None
        closed = user is None
        user = user or closed_account(name, project, job.get_file_format_display())
        people.append((name, user.pk))
        found.append({"name": name, "username": user.get_username(), "closed": closed})
    cursor.execute("CREATE TEMPORARY TABLE staged_person (name text PRIMARY KEY, user_id integer NOT NULL)")
    with cursor.copy("COPY staged_person FROM STDIN") as copy:
        for person in people:
            copy.write_row(person)
    return found


def closed_account(name: str, project: Project, source: str) -> Any:
    """The account that stands for an annotator of an imported file whom the project does not know.

    The same name from the same kind of file is the same account, import after import. Nobody can sign in to it.
    """
    users = get_user_model().objects
    plain = re.sub(r"[^\w.@+-]", "_", name)[:80]
    if plain != name:  # names that differ stay different
        plain += "-" + hashlib.sha256(name.encode()).hexdigest()[:6]
    origin = re.sub(r"[^a-z]+", "-", source.split(",")[0].split("(")[0].strip().lower()).strip("-")
    username = f"{plain}.{origin}.project-{project.pk}"
    for attempt in range(1, 10):
        tried = username if attempt == 1 else f"{username}-{attempt}"
        user = users.filter(username=tried).first()
        if user is None:
            user = get_user_model()(
                username=tried, first_name=name, last_name=f"({source.split(',')[0]})"[:150], is_active=False
            )
            user.set_unusable_password()
            user.save()
            return user
        if not user.is_active and not user.has_usable_password() and not user.email:
            return user
    raise JobError(f"No account could be made for the annotator {name[:60]!r}.")


# One row


class AnnotationCleaner:
    """Turns rows of a file with annotators into what is staged, and counts what had no place."""

    def __init__(self, cleaner: "Cleaner") -> None:
        self.cleaner = cleaner
        self.job, self.levels, self.values = cleaner.job, cleaner.levels, cleaner.values
        self.project = cleaner.job.project
        decided = cleaner.job.mapping or {}
        self.complete = decided.get("incomplete") == "reject"
        self.unmapped: dict[str, Counter[str]] = {}
        self.flat: dict[tuple[str, str], tuple[str, str] | None] = {}
        self.names = {dimension.key: dimension.name for dimension in self.project.dimensions_in_order}
        self.latest = timezone.now()
        self.lost = False  # whether the row at hand has a label that is no level

    def report(self) -> dict[str, Any]:
        return {
            "unmapped": {column: dict(values.most_common(MAX_KEPT_VALUES)) for column, values in self.unmapped.items()}
        }

    def staged(
        self,
        row: int,
        original: str,
        text: str,
        short: list[str],
        kinds: list[str],
        pair_rewrite: str,
        labels: dict[str, tuple[str, Any]],
        person: dict[str, list[tuple[str, Any]]],
        kept: dict[str, Any],
        excerpt: str,
        checked: Callable[..., Any],
    ) -> tuple:
        from annotation.imports import encoded_metadata

        counts = self.cleaner.counts
        of_text, other = _split_kept(kept, self.job.file_format)
        name = mapping.person_name(person["annotator"][0][1]) if "annotator" in person else ""
        content: dict[str, Any] = {}
        about: dict[str, Any] = {"active_seconds": 0, "guidelines_version": 0, "created_at": None, "updated_at": None}
        if name:
            self.lost = False
            content["labels"] = self._labels(labels, person.get("labels", ()), other)
            content["spans"] = self._spans(person.get("spans", ()), original, text, other, checked)
            content["target_groups"] = checked("target_groups", _groups, _first(person, "target_groups"))
            for field in ("rewrite", "comment"):
                content[field] = checked(field, self._words, field, person.get(field, ()), other)
            about = self._about(person, checked)
            try:
                content = work.clean_content(content, self.project, text, complete=False)
            except ValidationError as error:
                field, errors = next(iter(error.error_dict.items()))
                column = self.cleaner.column_of.get(field, field)
                raise Rejected(row, column, validators.first_message(ValidationError(errors)), excerpt) from None
            missing = [key for key in self.levels if key not in content["labels"]]
            if not self.lost and not any(content[field] for field in work.Annotation.CONTENT):
                counts["empty"] += 1
                name = ""
            elif missing and self.complete:
                column = self.cleaner.column_of.get(f"label:{missing[0]}", missing[0])
                raise Rejected(row, column, f"There is no label for {', '.join(missing)}.", excerpt)
            elif missing:
                counts["incomplete"] += 1
        key = f"id {short[0]}" if short[0] else "text " + hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
        return (
            row,
            key,
            short[0],
            text,
            *short[1:],
            json.dumps(kinds),
            encoded_metadata(of_text, checked, row, excerpt),
            pair_rewrite,
            name or None,
            json.dumps(content.get("labels", {}), ensure_ascii=False),
            json.dumps(content.get("spans", [])),
            json.dumps(content.get("target_groups", []), ensure_ascii=False),
            content.get("rewrite", ""),
            content.get("comment", ""),
            about["active_seconds"],
            about["guidelines_version"],
            about["created_at"],
            about["updated_at"],
            encoded_metadata(other, checked, row, excerpt) if name else "{}",
        )

    # Labels

    def _labels(self, labels, flat, other: dict[str, Any]) -> dict[str, str]:
        found: dict[str, str] = {}
        for key, (column, value) in labels.items():
            words = _word_list(value)
            level = self._level(column, key, words[0]) if len(words) == 1 else None
            if level:
                found[key] = level
            elif words:
                self._keep(column, value, words, other)
        for column, value in flat:
            chosen: dict[str, set[str]] = {}
            lost = []
            for word in _word_list(value, separators="#;"):
                label = self._flat_label(column, word)
                if label is None:
                    lost.append(word)
                else:
                    chosen.setdefault(label[0], set()).add(label[1])
            for key, several in chosen.items():
                if len(several) == 1 and found.get(key, next(iter(several))) in several:
                    found[key] = next(iter(several))
                else:  # two levels of one dimension: neither is what they chose
                    found.pop(key, None)
                    lost += [f"{key}: {level}" for level in sorted(several)]
            if lost:
                self._keep(column, value, lost, other)
        return found

    def _level(self, column: str, key: str, word: str) -> str | None:
        mapped = self.values.get(column, {}).get(word.strip())
        if mapped is not None:
            return mapped or None
        return mapping.match_level(word, self.levels[key])

    def _flat_label(self, column: str, word: str) -> tuple[str, str] | None:
        known = (column, word)
        if known not in self.flat:
            mapped = self.values.get(column, {}).get(word.strip())
            if mapped:
                key, _, level = mapped.partition(":")
                found: tuple[str, str] | None = (key, level)
            elif mapped == "":
                found = None
            else:
                found = mapping.match_label(word, self.levels, self.names)
            if len(self.flat) > 10_000:
                self.flat.clear()
            self.flat[known] = found
        return self.flat[known]

    def _keep(self, column: str, value: Any, words: list[str], other: dict[str, Any]) -> None:
        """A value that is no label stays with the annotation, and is counted."""
        other[column], self.lost = value, True
        seen = self.unmapped.setdefault(rows.storable(column, 100), Counter())
        for word in words:
            if len(seen) < 1_000 or word in seen:
                seen[rows.storable(word, 100)] += 1

    # Marked words

    def _spans(self, given, original: str, text: str, other: dict[str, Any], checked) -> list[dict[str, int]]:
        found: list[tuple[int, int]] = []
        for column, value in given:
            if value in (None, "", []):
                continue
            marks = checked("spans", _span_list, value)
            named = any(mark[2] for mark in marks)
            for start, end, _, words in marks:
                start, end = _in_code_points(original, start, end, words)
                if original is not text and "\r" in original:
                    start, end = (_after_line_breaks(original, place) for place in (start, end))
                found.append((start, end))
            if named:
                other[column] = value
        merged: list[list[int]] = []
        for start, end in sorted(found):
            if merged and start < merged[-1][1]:
                # Marks here carry no name, so a word marked twice is a marked word.
                merged[-1][1] = max(merged[-1][1], end)
                self.cleaner.counts["joined_spans"] += 1
            else:
                merged.append([start, end])
        return [{"start": start, "end": end} for start, end in merged]

    # The rest

    def _words(self, field: str, given, other: dict[str, Any]) -> str:
        """A rewrite or comment: text, or a list of texts of which the first counts and the others are kept."""
        for column, value in given:
            words = _word_list(value, separators="")
            if not words and value not in (None, "", []):
                raise ValidationError(f"The {field} must be text.")
            if len(words) > 1:
                if field == "comment":
                    return "\n".join(words)
                other[column] = value
                self.cleaner.counts["further_rewrites"] += len(words) - 1
            if words:
                return words[0]
        return ""

    def _about(self, person, checked) -> dict[str, Any]:
        created = checked("created_at", self._time, _first(person, "created_at"))
        updated = checked("updated_at", self._time, _first(person, "updated_at"))
        try:
            version = max(int(_first(person, "guidelines_version") or 0), 0)
        except (TypeError, ValueError, OverflowError):
            version = 0
        seconds = _first(person, "active_seconds")
        try:
            seconds = float(seconds or 0)
        except (TypeError, ValueError):
            seconds = 0
        return {
            "active_seconds": work.clean_seconds(seconds),
            "guidelines_version": min(version, 2**31 - 1),
            "created_at": created,
            "updated_at": updated,
        }

    def _time(self, value: Any) -> datetime | None:
        """A time as ISO 8601 text or as seconds since 1970; one without a zone is taken as UTC."""
        if value in (None, ""):
            return None
        found: datetime | None
        try:
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                found = datetime.fromtimestamp(value / 1000 if value > 10**11 else value, UTC)
            else:
                found = parse_datetime(str(value).strip())
        except (ValueError, OverflowError, OSError):
            found = None
        if found is None:
            raise ValidationError(f"{str(value)[:40]!r} is no time; write it as in 2026-03-09T21:52:49Z.")
        if timezone.is_naive(found):
            found = found.replace(tzinfo=UTC)
        if not datetime(1970, 1, 1, tzinfo=UTC) <= found <= self.latest:
            raise ValidationError(f"{str(value)[:40]!r} is not a time in the past.")
        return found


def _first(person: dict[str, list[tuple[str, Any]]], target: str) -> Any:
    return person[target][0][1] if target in person else None


def _split_kept(kept: dict[str, Any], file_format: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Columns that are kept: those of the text, and those of the annotation."""
    if file_format == "label_studio":
        of_text = {name: value for name, value in kept.items() if name.startswith(("data.", "task."))}
        return of_text, {name: value for name, value in kept.items() if name not in of_text}
    if file_format == "doccano":
        of_annotation = {"label", "labels", "entities", "relations", "cats", "comments"}
        other = {name: value for name, value in kept.items() if name in of_annotation}
        return {name: value for name, value in kept.items() if name not in other}, other
    return kept, dict(kept)  # nothing says whose they are


def _word_list(value: Any, separators: str = "") -> list[str]:
    """The words of a cell: one text, a list of texts, a JSON list in a cell, or texts between separators."""
    if isinstance(value, str):
        stripped = value.strip()
        if stripped.startswith("[") and separators:
            try:
                return _word_list(json.loads(stripped))
            except (ValueError, RecursionError):
                pass
        if separators:
            return [word.strip() for word in re.split(f"[{re.escape(separators)}]", value) if word.strip()]
        return [value] if stripped else []
    if isinstance(value, bool) or value is None:
        return []
    if isinstance(value, (int, float)):
        return [str(value)]
    if isinstance(value, dict):
        parts = value.get("text") or value.get("choices") or []
        return _word_list(parts) if not isinstance(parts, dict) else []
    if isinstance(value, list):
        return [part for part in value if isinstance(part, str) and part.strip()]
    return []


def _groups(value: Any) -> list[str]:
    words = [word.strip() for word in _word_list(value, separators=";")]
    return list(dict.fromkeys(words))


def _span_list(value: Any) -> list[tuple[int, int, list[str], str]]:
    """Marks as (start, end, names, words): dicts of any tool, or lists of [start, end, name], or their JSON."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise ValidationError('Write marked words as JSON, as in [{"start": 0, "end": 4}].') from None
    if not isinstance(value, list):
        raise ValidationError("Marked words must be a list.")
    if len(value) > 10 * validators.MAX_SPANS:
        raise ValidationError(f"A text has at most {validators.MAX_SPANS} marks.")
    found = []
    for mark in value:
        names: Any = []
        words = ""
        if isinstance(mark, dict):
            inner = mark.get("globalOffsets")
            offsets = inner if isinstance(inner, dict) else mark
            start, end = (offsets.get(name, mark.get(f"{name}_offset")) for name in ("start", "end"))
            names, words = mark.get("labels", mark.get("label", [])), mark.get("text", "")
        elif isinstance(mark, list) and len(mark) in (2, 3):
            start, end, *names = mark
        else:
            raise ValidationError("A mark has a start and an end.")
        if isinstance(start, str) and start.isdecimal() and isinstance(end, str) and end.isdecimal():
            start, end = int(start[:9]), int(end[:9])
        if type(start) is not int or type(end) is not int:
            raise ValidationError("A mark's start and end are whole numbers, in characters of the text.")
        names = [names] if isinstance(names, str) else names if isinstance(names, list) else []
        found.append((start, end, names, words if isinstance(words, str) else ""))
    return found


def _in_code_points(text: str, start: int, end: int, words: str) -> tuple[int, int]:
    """Offsets in code points. Where a tool says which words it marked, and its offsets only fit them when counted in
    UTF-16 units, as browsers count, they are converted.
    """
    if not words or text[start:end] == words or text.isascii():
        return start, end
    units = text.encode("utf-16-le")
    if 0 <= start < end and 2 * end <= len(units):
        try:
            if units[2 * start : 2 * end].decode("utf-16-le") == words:
                before = len(units[: 2 * start].decode("utf-16-le"))
                return before, before + len(words)
        except UnicodeDecodeError:
            pass
    return start, end


def _after_line_breaks(text: str, place: int) -> int:
    """Where a place of a text is once its line breaks are single \\n."""
    if place < 0 or place > len(text):
        return place
    return len(validators.normalise_text(text[:place] + "x")) - 1


# Pairs


def propose(job: ItemImport) -> None:
    """Propose pairs for the items that an import completed, and refresh those proposed before. Twice changes nothing
    but the version of refreshed ones.
    """
    job.report(job.done, job.total, "Proposing pairs")
    touched = Annotation.objects.filter(imported__item_import=job).values("item_id")
    waiting = Pair.objects.filter(
        item_id__in=touched, status=PairStatus.PROPOSED, item__finished__gte=F("item__overlap"), chosen=None
    ).exclude(annotations__imported__item_import=job)
    for pair in waiting.select_related("item").iterator(chunk_size=500):
        with transaction.atomic():
            pairs.propose(pair.item)
    complete = Item.objects.filter(
        pk__in=touched, kind=ItemKind.WORK, finished__gte=F("overlap"), finished__gt=0, pair=None
    )
    last = 0
    while batch := list(complete.filter(pk__gt=last).order_by("pk").values_list("pk", flat=True)[:1_000]):
        pairs.propose_many(job.project_id, batch)
        last = batch[-1]
        job.beat()
