"""What can be exported from the annotation of a project, and which columns each file has.

Every column is defined once, in COLUMNS: its type in Parquet and a sentence on what it holds, which stands in the
dataset card too. docs/formats.md has the same, and a test compares them.
"""

import json
import random
from collections import Counter
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from itertools import groupby
from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db import connection
from django.db.models import Q, QuerySet
from django.db.models.functions import Coalesce
from django.utils import timezone
from django.utils.dateparse import parse_date
from psycopg import sql

from annotation import consensus, validators
from annotation.exports import ALPACA_INSTRUCTION, CHUNK, Exporter, Query, register
from annotation.jobs import JobError
from annotation.models import Annotation, Export, Item, ItemKind, Pair, PairStatus, Project, Role
from annotation.pairs import majority

MAX_WIDE = 200  # annotators in a wide file

ITEM_COLUMNS = ("external_id", "text", "source", "language", "target_group", "content_kinds")
ANNOTATION_COLUMNS = (
    *("spans", "target_groups", "rewrite", "comment", "active_seconds", "revision", "created_at", "updated_at"),
    *("kind", "guidelines_version", "suggestion_shown", "imported_from", "imported_values"),
)
PAIR_COLUMNS = ("status", "disagreement", "reason", "settled_by", "settled_at")
ADJUDICATED_COLUMNS = ("annotations", "safe_rewrite", "status", "disagreement", "settled_by", "settled_at")

# name -> (type, a key of exports.TYPES; what it holds)
COLUMNS: dict[str, tuple[str, str]] = {
    "id": ("whole", "number of the row in the project"),
    "external_id": ("text", "the team's own id of the text"),
    "text": ("text", "the text that was annotated"),
    "source": ("text", "where the text is from"),
    "language": ("text", "BCP 47 tag"),
    "target_group": ("text", "group the text is about, as it was imported"),
    "content_kinds": ("names", "what may upset in the text"),
    "annotator": ("text", "who annotated it"),
    "spans": ("spans", "marked words: start and end in Unicode code points of the text, end exclusive"),
    "target_groups": ("names", "groups the annotator named"),
    "rewrite": ("text", "the annotator's safe rewrite"),
    "comment": ("text", "the annotator's comment to the lead"),
    "active_seconds": ("whole", "seconds with the page in front and in use"),
    "revision": ("whole", "how often the annotator submitted it"),
    "created_at": ("time", "when it was first submitted, UTC"),
    "updated_at": ("time", "when it was last submitted, UTC"),
    "kind": ("text", "work, or gold, practice or repeat"),
    "guidelines_version": ("whole", "version of the guidelines it was made under; 0 for made elsewhere"),
    "suggestion_shown": ("flag", "whether a model's suggestion was on screen"),
    "imported_from": ("text", "name of the file it was imported from; empty for made here"),
    "imported_values": ("json", "what came with it and has no column of its own"),
    "safe_rewrite": ("text", "the settled or proposed safe rewrite"),
    "status": ("text", "proposed, approved or rejected; empty without a pair"),
    "disagreement": ("number", "share of dimensions on which the annotators were not unanimous, 0 to 1"),
    "reason": ("text", "why it was rejected"),
    "settled_by": ("text", "who settled it"),
    "settled_at": ("time", "when it was settled, UTC"),
    "annotations": ("whole", "number of annotations"),
}


def types(columns: list[str]) -> dict[str, str]:
    """Types by name; a dimension's label and everything else is text."""
    found = {}
    for column in columns:
        base = column.partition("__")[0]
        if column in COLUMNS:
            found[column] = COLUMNS[column][0]
        elif column.endswith("_votes"):
            found[column] = "json"
        elif column.endswith("_confidence"):
            found[column] = "number"
        elif base in COLUMNS:
            found[column] = COLUMNS[base][0]
    return found


# Filters

FILTERS = ("label", "since", "until", "language", "kinds", "annotators")
PEOPLE = ("names", "pseudonyms")
KINDS = ("work", "all")


def clean(
    project: Project, filters: dict[str, Any], *, known: tuple[str, ...], people: str = "names"
) -> dict[str, Any]:
    """Filters, checked; those that filter nothing are left out.

    Args:
        known: names that this kind of export has. people: how annotators are named unless said.

    Raises:
        ValidationError: keyed by filter.
    """
    errors: dict[str, Any] = {}
    cleaned: dict[str, Any] = {}
    for name in sorted(set(filters) - set(known)):
        if filters[name]:
            errors[str(name)[:40]] = f"There is no such filter here; choose from {', '.join(known)}."
    if "label" in known and (label := filters.get("label")):
        levels = {dimension.key: dimension.levels for dimension in project.dimensions.all()}
        try:
            validators.check_labels(label, levels, complete=False)
            cleaned["label"] = label
        except ValidationError as error:
            errors["label"] = error.messages
    if status := filters.get("status"):
        if status not in PairStatus.values:
            errors["status"] = f"A pair is one of {', '.join(PairStatus.values)}."
        cleaned["status"] = status
    for name in ("since", "until"):
        if text := filters.get(name):
            day = text if isinstance(text, date) else _day(text)
            if day is None:
                errors[name] = f"{str(text)[:40]!r} is no day; write it as 2026-01-31."
            else:
                cleaned[name] = day.isoformat()
    if not errors and cleaned.get("since", "") > cleaned.get("until", "9"):
        errors["until"] = "The last day is before the first one."
    if language := filters.get("language"):
        if not isinstance(language, str) or len(language) > 35 or "\x00" in language:
            errors["language"] = "A language is a BCP 47 tag such as en."
        else:
            cleaned["language"] = language.strip()
    for name, choices, usual in (("kinds", KINDS, "work"), ("annotators", PEOPLE, people)):
        if name in known:
            chosen = filters.get(name) or usual
            if chosen not in choices:
                errors[name] = f"Choose one of {', '.join(choices)}."
            elif (chosen != "work" and chosen != "names") or chosen != usual:
                cleaned[name] = chosen
    if errors:
        raise ValidationError(errors)
    return cleaned


def _day(text: Any) -> date | None:
    try:
        return parse_date(str(text).strip())
    except ValueError:
        return None


def _period(export: Export, field: str) -> Q:
    """Rows of the days asked for, both included, in the server's time zone."""
    zone = timezone.get_current_timezone()
    found = Q()
    if since := export.filters.get("since"):
        found &= Q(**{f"{field}__gte": datetime.combine(date.fromisoformat(since), time.min, zone)})
    if until := export.filters.get("until"):
        after = date.fromisoformat(until) + timedelta(days=1)
        found &= Q(**{f"{field}__lt": datetime.combine(after, time.min, zone)})
    return found


def _of_split(rows: QuerySet, export: Export, metadata: str) -> QuerySet:
    """Rows of the split that is being written, where a file has several; a text without one is of train."""
    split = getattr(export, "split", None)
    if split is None:
        return rows
    found = Q(**{f"{metadata}__split": split})
    return rows.filter(found | ~Q(**{f"{metadata}__has_key": "split"}) if split == "train" else found)


def keys(export: Export) -> list[str]:
    if not hasattr(export, "_keys"):
        export._keys = [dimension.key for dimension in export.project.dimensions.all()]  # type: ignore[attr-defined]
    return export._keys  # type: ignore[attr-defined]


class People:
    """What the people of an export are called in it: their usernames, or annotator_1, annotator_2 ... in an order that
    tells nothing. The same person has the same name throughout one export.
    """

    def __init__(self, export: Export) -> None:
        self.hidden = export.filters.get("annotators") == "pseudonyms"
        ids = annotations(export).order_by().values("annotator_id").distinct()
        people = dict(get_user_model().objects.filter(pk__in=ids).values_list("pk", "username"))
        order = list(people)
        random.SystemRandom().shuffle(order)
        self.names = {pk: f"annotator_{number}" for number, pk in enumerate(order, 1)} if self.hidden else people
        self.leads: dict[str, str] = {}

    def lead(self, username: str | None) -> str:
        if not username or not self.hidden:
            return username or ""
        return self.leads.setdefault(username, f"lead_{len(self.leads) + 1}")


def people(export: Export) -> People:
    """One and the same for header and rows of an export."""
    if not hasattr(export, "_people"):
        export._people = People(export)  # type: ignore[attr-defined]
    return export._people  # type: ignore[attr-defined]


# Annotations, long: one row an annotation


def annotations(export: Export) -> QuerySet:
    rows = Annotation.objects.filter(_period(export, "created_at"), project_id=export.project_id)
    if export.filters.get("kinds") != "all":
        rows = rows.filter(kind=ItemKind.WORK)
    if language := export.filters.get("language"):
        rows = rows.filter(item__language=language)
    if label := export.filters.get("label"):
        rows = rows.filter(labels__contains=label)
    return _of_split(rows, export, "item__metadata")


def annotation_columns(export: Export) -> list[str]:
    return ["id", *ITEM_COLUMNS, "annotator", *keys(export), *ANNOTATION_COLUMNS]


# Where each column but the labels is found, from an annotation.
ANNOTATION_FIELDS = {
    "id": "pk",
    **{column: f"item__{column}" for column in ITEM_COLUMNS},
    "annotator": "annotator_id",
    **{column: column for column in ANNOTATION_COLUMNS},
    "imported_from": "imported__item_import__file_name",
    "imported_values": "imported__values",
}


def _annotation_values(export: Export) -> QuerySet:
    """The fields of ANNOTATION_FIELDS, then the labels."""
    return annotations(export).order_by("pk").values_list(*ANNOTATION_FIELDS.values(), "labels")


def annotation_rows(export: Export) -> Iterator[dict[str, Any]]:
    dimensions, names, hidden = keys(export), people(export).names, people(export).hidden
    columns = annotation_columns(export)
    for row in _annotation_values(export).iterator(chunk_size=CHUNK):
        values = dict(zip(ANNOTATION_FIELDS, row, strict=False))
        labels = row[-1]
        values |= {key: labels.get(key, "") for key in dimensions}
        values["annotator"] = names.get(values["annotator"], "")
        values["imported_from"] = values["imported_from"] or ""
        values["imported_values"] = {} if hidden else values["imported_values"] or {}
        yield {column: values[column] for column in columns}


def annotation_query(export: Export) -> Query:
    """annotation_rows as SQL."""
    statement, params = _annotation_values(export).query.sql_with_params()
    fields = {name: f'c."{field}"' for name, field in (ANNOTATION_FIELDS | {"labels": "labels"}).items()}
    names = json.dumps({str(pk): name for pk, name in people(export).names.items()})
    expressions = fields | {
        "annotator": f"coalesce({_literal(names)}::jsonb ->> {fields['annotator']}::text, '')",
        "imported_from": f"coalesce({fields['imported_from']}, '')",
        "imported_values": f"coalesce({fields['imported_values']}, '{{}}'::jsonb)",
        **{key: f"coalesce({fields['labels']} ->> {_literal(key)}, '')" for key in keys(export)},
    }
    if people(export).hidden:
        expressions["imported_values"] = "'{}'::jsonb"
    columns = annotation_columns(export)
    kinds = types(columns)
    return Query(statement, tuple(params), [(name, expressions[name], kinds.get(name, "text")) for name in columns])


def _literal(text: str) -> str:
    """A text as it stands in SQL that takes parameters besides."""
    return sql.Literal(text).as_string(connection.connection).replace("%", "%%")


# Annotations, wide: one row a text


def wide_columns(export: Export) -> list[str]:
    names = sorted(
        people(export).names.values(), key=lambda name: (len(name), name) if "annotator_" in name else (0, name)
    )
    if len(names) > MAX_WIDE:
        raise JobError(f"There are {len(names)} annotators; a wide file has at most {MAX_WIDE}. Export the long one.")
    each = [*keys(export), "rewrite", "spans"]
    return ["id", *ITEM_COLUMNS, "annotations", *(f"{column}__{name}" for name in names for column in each)]


def wide_rows(export: Export) -> Iterator[dict[str, Any]]:
    dimensions, names = keys(export), people(export).names
    found = (
        annotations(export)
        .order_by("item_id", "pk")
        .values_list(
            "item_id", *(f"item__{column}" for column in ITEM_COLUMNS), "annotator_id", "labels", "rewrite", "spans"
        )
    )
    before = ("id", *ITEM_COLUMNS)
    for _, group in groupby(found.iterator(chunk_size=CHUNK), key=lambda row: row[0]):
        values: dict[str, Any] = {}
        for count, (*item, annotator, labels, rewrite, spans) in enumerate(group, 1):
            values = values or dict(zip(before, item, strict=True))
            values["annotations"] = count
            name = names.get(annotator, "")
            values.update({f"{key}__{name}": labels.get(key, "") for key in dimensions})
            values[f"rewrite__{name}"], values[f"spans__{name}"] = rewrite, spans
        yield values


# Adjudicated: one row a text


def _items(export: Export) -> QuerySet:
    """Texts that somebody annotated, or that came with a pair."""
    rows = Item.objects.filter(Q(finished__gt=0) | Q(pair__isnull=False), project_id=export.project_id)
    if export.filters.get("kinds") != "all":
        rows = rows.filter(kind=ItemKind.WORK)
    if language := export.filters.get("language"):
        rows = rows.filter(language=language)
    if status := export.filters.get("status"):
        rows = rows.filter(pair__status=status)
    if label := export.filters.get("label"):
        rows = rows.filter(pair__labels__contains=label)
    if export.filters.keys() & {"since", "until"}:
        rows = rows.filter(pk__in=annotations(export).order_by().values("item_id"))
    return _of_split(rows, export, "metadata")


def adjudicated_columns(export: Export) -> list[str]:
    of_labels = [
        f"{key}{ending}" for key in keys(export) for ending in ("", "_majority", "_consensus", "_confidence", "_votes")
    ]
    kind = ["kind"] if export.filters.get("kinds") == "all" else []
    return ["id", *ITEM_COLUMNS, *kind, *of_labels, *ADJUDICATED_COLUMNS]


def adjudicated_rows(export: Export) -> Iterator[dict[str, Any]]:
    found = (
        _items(export)
        .order_by("pk")
        .values_list(
            *("pk", *ITEM_COLUMNS, "kind", "finished", "pair__rewrite", "pair__labels", "pair__status"),
            *("pair__disagreement", "pair__settled_by__username", "pair__settled_at"),
        )
    )
    batch: list[tuple] = []
    for row in found.iterator(chunk_size=CHUNK):
        batch.append(row)
        if len(batch) == CHUNK:
            yield from _adjudicated(export, batch)
            batch = []
    yield from _adjudicated(export, batch)


def _adjudicated(export: Export, batch: list[tuple]) -> Iterator[dict[str, Any]]:
    ids = [row[0] for row in batch]
    by_item: dict[int, list[dict[str, str]]] = {}
    for item, labels in Annotation.objects.filter(item_id__in=ids).order_by("pk").values_list("item_id", "labels"):
        by_item.setdefault(item, []).append(labels)
    agreed = consensus.labels_for(ids)
    before = ("id", *ITEM_COLUMNS, "kind")
    for row in batch:
        values = dict(zip(before, row, strict=False))
        if export.filters.get("kinds") != "all":
            del values["kind"]
        finished, rewrite, settled, status, disagreement, settled_by, settled_at = row[len(before) :]
        settled = (settled or {}) if status in (PairStatus.APPROVED, PairStatus.REJECTED) else {}
        given = by_item.get(row[0], [])
        known = agreed.get(row[0], {"labels": {}, "confidence": {}})
        for key in keys(export):
            votes = Counter(labels[key] for labels in given if key in labels)
            values[key] = settled.get(key, "")
            values[f"{key}_majority"] = majority(votes.elements()) or ""
            values[f"{key}_consensus"] = known["labels"].get(key, "")
            values[f"{key}_confidence"] = known["confidence"].get(key)
            values[f"{key}_votes"] = dict(votes.most_common())
        values |= {
            "annotations": finished,
            "safe_rewrite": rewrite or "",
            "status": status or "",
            "disagreement": disagreement,
            "settled_by": people(export).lead(settled_by),
            "settled_at": settled_at,
        }
        yield values


# Pairs


def _pairs(export: Export) -> QuerySet:
    rows = Pair.objects.filter(project_id=export.project_id)
    rows = rows.annotate(at=Coalesce("settled_at", "created_at")).filter(_period(export, "at"))
    if label := export.filters.get("label"):
        rows = rows.filter(labels__contains=label)
    if language := export.filters.get("language"):
        rows = rows.filter(item__language=language)
    # A training file never holds a rewrite that nobody approved.
    status = PairStatus.APPROVED if export.file_format == "alpaca" else export.filters.get("status")
    if status:
        rows = rows.filter(status=status)
    return _of_split(rows, export, "item__metadata")


def pair_columns(export: Export) -> list[str]:
    return ["id", *ITEM_COLUMNS, "safe_rewrite", *keys(export), *PAIR_COLUMNS]


def pair_rows(export: Export) -> Iterator[dict[str, Any]]:
    dimensions = keys(export)
    before = ("id", *ITEM_COLUMNS, "safe_rewrite")
    found = (
        _pairs(export)
        .order_by("pk")
        .values_list(
            *("pk", *(f"item__{column}" for column in ITEM_COLUMNS), "rewrite", "labels"),
            *("status", "disagreement", "reason", "settled_by__username", "settled_at"),
        )
    )
    named = people(export) if export.filters.get("annotators") == "pseudonyms" else None
    for row in found.iterator(chunk_size=CHUNK):
        values = dict(zip(before, row, strict=False))
        if export.file_format == "alpaca":
            yield {"instruction": ALPACA_INSTRUCTION, "input": values["text"], "output": values["safe_rewrite"]}
            continue
        labels = row[len(before)]
        for key in dimensions:
            values[key] = labels.get(key, "")
        values.update(zip(PAIR_COLUMNS, row[len(before) + 1 :], strict=True))
        settled_by = values["settled_by"]
        values["settled_by"] = named.lead(settled_by) if named else settled_by or ""
        yield values


READERS = (Role.LEAD, Role.TRAINER)
TABLES = ("csv", "jsonl", "parquet")


def register_all() -> None:
    register(
        Exporter(
            kind="annotations",
            title="Annotations, one row each",
            formats=TABLES,
            roles=READERS,
            columns=annotation_columns,
            rows=annotation_rows,
            query=annotation_query,
            count=lambda export: annotations(export).count(),
            clean=lambda project, filters: clean(project, filters, known=FILTERS),
            types=lambda export: types(annotation_columns(export)),
            filters=FILTERS,
        )
    )
    register(
        Exporter(
            kind="annotations_wide",
            title="Annotations, one row a text",
            formats=TABLES,
            roles=READERS,
            columns=wide_columns,
            rows=wide_rows,
            count=lambda export: annotations(export).order_by().values("item_id").distinct().count(),
            clean=lambda project, filters: clean(project, filters, known=FILTERS),
            types=lambda export: types(wide_columns(export)),
            filters=FILTERS,
        )
    )
    register(
        Exporter(
            kind="adjudicated",
            title="Settled labels, majority and consensus",
            formats=TABLES,
            roles=READERS,
            columns=adjudicated_columns,
            rows=adjudicated_rows,
            count=lambda export: _items(export).count(),
            clean=lambda project, filters: clean(project, filters, known=(*FILTERS, "status")),
            types=lambda export: types(adjudicated_columns(export)),
            filters=(*FILTERS, "status"),
        )
    )
    pair_filters = ("label", "since", "until", "language", "annotators", "status")
    register(
        Exporter(
            kind="pairs",
            title="Pairs",
            formats=(*TABLES, "alpaca"),
            roles=READERS,
            columns=pair_columns,
            rows=pair_rows,
            count=lambda export: _pairs(export).count(),
            clean=lambda project, filters: clean(project, filters, known=pair_filters),
            types=lambda export: types(pair_columns(export)),
            filters=pair_filters,
        )
    )
