"""What agreement is computed from: counted by PostgreSQL, one pass over the annotations, never loaded row by row.

Each level of a dimension stands for a digit of a number: with three levels 1, 128 and 16,384. The sum over an item's
annotations is then its whole pattern, whatever their number (up to 127, else wider digits are used), and grouping by
that sum counts the items of each pattern. The grouping keeps the day on which an item got its last annotation, for
the drift over time.

Counted are annotations of work, not of practice, gold or repeats, on texts that are not retired.
"""

# ruff: noqa: S608 - only names of columns and digits of ours stand in the queries; every value is a parameter

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import date, datetime, time, timedelta
from typing import Any

import numpy as np
from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db import connection, transaction
from django.db.models import Exists, OuterRef
from django.utils import timezone
from django.utils.dateparse import parse_date
from numpy.typing import NDArray

from annotation.models import Annotation, Dimension, ItemKind, Project

# PostgreSQL's own default would write the items of a large project to disk in the middle of the pass.
WORK_MEMORY = "64MB"
DIGIT, WIDE_DIGIT = 128, 32_768  # an item has at most 32,767 annotations: its counters are smallints
SPAN_SAMPLE = 2_000  # texts whose marks are compared

OF_ITEM = ("target_group", "language", "source")  # filters that are columns of the text

Counts = NDArray[np.int64]


# Which annotations


@dataclass(frozen=True, kw_only=True)
class Filters:
    """Which annotations count. Empty values filter nothing.

    since, until: days, both included, in the server's time zone, on which annotations were made. target_group,
    language, source: of the text, as it was imported. first, second: usernames of two annotators; only texts that both
    annotated are compared then.
    """

    since: date | None = None
    until: date | None = None
    target_group: str = ""
    language: str = ""
    source: str = ""
    first: str = ""
    second: str = ""

    def given(self) -> dict[str, str]:
        """Those that filter, as an address or a file holds them."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: str(value) for name, value in values.items() if value}

    @property
    def pair(self) -> bool:
        return bool(self.first)


FILTERS = tuple(field.name for field in fields(Filters))


def clean_filters(project: Project, data: Mapping[str, Any]) -> Filters:
    """Filters out of an address, a request or an export's options; other keys are left alone.

    Raises:
        ValidationError: keyed by filter.
    """
    errors: dict[str, Any] = {}
    values: dict[str, Any] = {name: str(data.get(name) or "").strip() for name in FILTERS}
    for name in ("since", "until"):
        text = values[name]
        try:
            values[name] = parse_date(text) if text else None
        except ValueError:  # well formed, but no day: 2026-02-30
            values[name] = None
        if text and values[name] is None:
            errors[name] = f"{text[:40]!r} is no day; write it as 2026-01-31."
    if values["since"] and values["until"] and values["since"] > values["until"]:
        errors["until"] = "The last day is before the first one."
    for name in OF_ITEM:
        if "\x00" in values[name]:
            errors[name] = "It holds a null byte; remove it."
    first, second = values["first"], values["second"]
    if bool(first) != bool(second):
        errors["second" if first else "first"] = "Name two annotators, or none."
    elif first and first == second:
        errors["second"] = "Name two different annotators."
    elif first and not errors:
        known = set(annotators(project).filter(username__in=[first, second]).values_list("username", flat=True))
        for name in ("first", "second"):
            if values[name] not in known:
                errors[name] = f"Nobody called {values[name][:150]!r} has annotated in this project."
    if errors:
        raise ValidationError(errors)
    return Filters(**values)


def annotators(project: Project):
    """Everybody who has annotated in the project, by name; also those who are no members any more."""
    # A probe of an index for each account: counting who occurs among a million annotations would read all of them.
    theirs = Annotation.objects.filter(project=project, annotator=OuterRef("pk"))
    return get_user_model().objects.filter(Exists(theirs)).order_by("username")


def _conditions(project: Project, filters: Filters, table: str = "a") -> tuple[str, list[Any]]:
    """The WHERE of all queries below, over annotation rows called `table`, and its parameters."""
    where = [f"{table}.project_id = %s", f"{table}.kind = %s"]
    values: list[Any] = [project.pk, ItemKind.WORK]
    zone = timezone.get_current_timezone()
    if filters.since:
        where.append(f"{table}.created_at >= %s")
        values.append(datetime.combine(filters.since, time.min, zone))
    if filters.until:
        where.append(f"{table}.created_at < %s")
        values.append(datetime.combine(filters.until + timedelta(days=1), time.min, zone))
    if filters.pair:
        people = get_user_model().objects.filter(username__in=[filters.first, filters.second])
        where.append(f"{table}.annotator_id = ANY(%s)")
        values.append(list(people.values_list("pk", flat=True)))
    wanted = [(name, getattr(filters, name)) for name in OF_ITEM if getattr(filters, name)]
    if wanted:
        conditions = "".join(f" AND {name} = %s" for name, _ in wanted)
        items = f"SELECT id FROM annotation_item WHERE project_id = %s AND retired_at IS NULL{conditions}"
        where.append(f"{table}.item_id IN ({items})")
        values += [project.pk, *(value for _, value in wanted)]
    else:  # few are retired: leave those out instead of looking up all the others
        items = "SELECT id FROM annotation_item WHERE project_id = %s AND retired_at IS NOT NULL"
        where.append(f"{table}.item_id NOT IN ({items})")
        values.append(project.pk)
    return " AND ".join(where), values


def _fetch(query: str, values: list[Any]) -> list[tuple]:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL work_mem = '{WORK_MEMORY}'")
        cursor.execute("SET LOCAL jit = off")  # compiling takes longer than it saves
        cursor.execute(query, values)
        return cursor.fetchall()


# Patterns


@dataclass(frozen=True)
class Patterns:
    """A dimension's annotations: how many items show which counts of levels, by the day of their last annotation.

    counts: shape (n_rows, n_levels). items: shape (n_rows,). days: shape (n_rows,), datetime64[D].
    """

    dimension: Dimension
    counts: Counts
    items: Counts
    days: NDArray[np.datetime64]

    @property
    def levels(self) -> Counts:
        """How often each level was given in all."""
        return self.items @ self.counts

    def whole(self) -> tuple[Counts, Counts]:
        """Patterns and their multiplicity, all days together."""
        return self._merged(slice(None))

    def between(self, first: np.datetime64, end: np.datetime64) -> tuple[Counts, Counts]:
        """Patterns and their multiplicity of the items finished from `first` until before `end`."""
        return self._merged((self.days >= first) & (self.days < end))

    def _merged(self, rows) -> tuple[Counts, Counts]:
        counts, items = self.counts[rows], self.items[rows]
        if not items.size:
            return counts, items
        merged, place = np.unique(counts, axis=0, return_inverse=True)
        return merged, np.bincount(place.ravel(), weights=items, minlength=len(merged)).astype(np.int64)


def patterns(project: Project, filters: Filters) -> list[Patterns]:
    """The patterns of every dimension of the project, in their order; one pass over its annotations."""
    dimensions = project.dimensions_in_order
    rows, digit = _pattern_rows(project, filters, dimensions, DIGIT), DIGIT
    if any(row[-1] >= digit for row in rows):
        rows, digit = _pattern_rows(project, filters, dimensions, WIDE_DIGIT), WIDE_DIGIT
    found = []
    for place, dimension in enumerate(dimensions, start=1):
        mine = [row for row in rows if row[place] is not None]
        counts = [_digits(int(row[place]), digit, len(dimension.levels)) for row in mine]
        found.append(
            Patterns(
                dimension,
                np.array(counts, dtype=np.int64).reshape(-1, len(dimension.levels)),
                np.array([row[-2] for row in mine], dtype=np.int64),
                np.array([row[0] for row in mine], dtype="datetime64[D]"),
            )
        )
    return found


def _digits(number: int, base: int, count: int) -> list[int]:
    """The digits of a number, the least one first."""
    return [number // base**place % base for place in range(count)]


def _pattern_rows(project: Project, filters: Filters, dimensions: list[Dimension], digit: int) -> list[tuple]:
    """(day, a sum for each dimension, items, most annotations of an item); one dimension is not NULL in each row."""
    sums, values = [], []
    for number, dimension in enumerate(dimensions):
        weight = digit ** (len(dimension.levels) - 1) * digit
        kind = "integer" if weight < 2**31 else "bigint" if weight < 2**63 else "numeric"
        cases = " ".join("WHEN %s THEN %s" for _ in dimension.levels)
        sums.append(f"coalesce(sum((CASE a.labels ->> %s {cases} END)::{kind}), 0) AS p{number}")
        values.append(dimension.key)
        for place, level in enumerate(dimension.levels):
            values += [level, digit**place]
    where, conditions = _conditions(project, filters)
    names = [f"p{number}" for number in range(len(dimensions))]
    return _fetch(
        f"""
        SELECT day, {", ".join(names)}, count(*), max(annotations)
        FROM (
            SELECT (max(a.created_at) AT TIME ZONE %s)::date AS day, count(*) AS annotations, {", ".join(sums)}
            FROM annotation_annotation a
            WHERE {where}
            GROUP BY a.item_id
            {"HAVING count(*) = 2" if filters.pair else ""}
        ) per_item
        GROUP BY GROUPING SETS ({", ".join(f"(day, {name})" for name in names)})
        """,
        [timezone.get_current_timezone_name(), *values, *conditions],
    )


def people_count(project: Project, filters: Filters) -> int:
    """How many people made the annotations that count."""
    where, values = _conditions(project, filters)
    # LATERAL with LIMIT looks each account up in an index, and the comparison with true keeps the ids of texts in one
    # table that is made once. As a plain EXISTS it would be planned as a pass over all annotations.
    once = where.replace("a.item_id ", "(a.item_id ") + ") = true"
    one = f"SELECT 1 FROM annotation_annotation a WHERE {once} AND a.annotator_id = u.id LIMIT 1"
    return _fetch(f"SELECT count(*) FROM auth_user u CROSS JOIN LATERAL ({one}) found", values)[0][0]


# Two annotators


@dataclass(frozen=True)
class PairCounts:
    """What two people chose for the texts both annotated: shape (n_levels, n_levels), rows are the first one's."""

    first: str
    second: str
    confusion: Counts


def confusions(project: Project, filters: Filters) -> list[tuple[Dimension, Counts]]:
    """For each dimension the confusion of the two annotators named in the filters; rows are the first one's levels."""
    alone = Filters(**{name: getattr(filters, name) for name in FILTERS if name not in ("first", "second")})
    where, values = _conditions(project, alone, "x")
    same, more = _conditions(project, alone, "y")
    users = get_user_model().objects
    ids = [users.get(username=name).pk for name in (filters.first, filters.second)]
    rows = _fetch(
        f"""
        SELECT x.labels, y.labels, count(*)
        FROM annotation_annotation x JOIN annotation_annotation y ON y.item_id = x.item_id
        WHERE {where} AND x.annotator_id = %s AND {same} AND y.annotator_id = %s
        GROUP BY x.labels, y.labels
        """,
        [*values, ids[0], *more, ids[1]],
    )
    found = []
    for dimension in project.dimensions_in_order:
        place = {level: number for number, level in enumerate(dimension.levels)}
        table = np.zeros((len(place), len(place)), dtype=np.int64)
        for first, second, count in rows:
            a, b = json.loads(first).get(dimension.key), json.loads(second).get(dimension.key)
            if a is not None and b is not None:
                table[place[a], place[b]] += count
        found.append((dimension, table))
    return found


def all_pairs(project: Project, filters: Filters, dimension: Dimension) -> Iterator[PairCounts]:
    """The confusion of every two annotators with a text in common, by their names in alphabetical order."""
    where, values = _conditions(project, filters)
    cases = " ".join("WHEN %s THEN %s" for _ in dimension.levels)
    levels = [part for place, level in enumerate(dimension.levels) for part in (level, place)]
    rows = _fetch(
        f"""
        WITH chosen AS MATERIALIZED (
            SELECT a.item_id, a.annotator_id, CASE a.labels ->> %s {cases} END AS level
            FROM annotation_annotation a
            WHERE {where}
        )
        SELECT x.annotator_id, y.annotator_id, x.level, y.level, count(*)
        FROM chosen x JOIN chosen y ON y.item_id = x.item_id AND x.annotator_id < y.annotator_id
        WHERE x.level IS NOT NULL AND y.level IS NOT NULL
        GROUP BY x.annotator_id, y.annotator_id, x.level, y.level
        """,
        [dimension.key, *levels, *values],
    )
    tables: dict[tuple[int, int], Counts] = {}
    size = len(dimension.levels)
    for first, second, a, b, count in rows:
        tables.setdefault((first, second), np.zeros((size, size), dtype=np.int64))[a, b] += count
    ids = {pk for pair in tables for pk in pair}
    names = dict(get_user_model().objects.filter(pk__in=ids).values_list("pk", "username"))
    named = [
        PairCounts(names[first], names[second], table)
        if names[first] <= names[second]
        else PairCounts(names[second], names[first], table.T)
        for (first, second), table in tables.items()
    ]
    yield from sorted(named, key=lambda pair: (pair.first, pair.second))


# Marks


def span_sample(project: Project, filters: Filters, seed: int) -> tuple[list[list[list[tuple[int, int]]]], int]:
    """The marks of a random sample of texts, for annotation.agreement.span_f1, and how many texts there were to draw.

    Every text with two annotations that count is as likely as any other; at most SPAN_SAMPLE are drawn, by a hash of
    their id and the seed, so that the same texts are drawn again.
    """
    where, values = _conditions(project, filters)
    compared, more = _compared_items(project, filters)
    rows = _fetch(
        f"""
        WITH compared AS MATERIALIZED ({compared}), drawn AS MATERIALIZED (
            SELECT item_id FROM compared ORDER BY hashint8extended(item_id, %s), item_id LIMIT %s
        )
        SELECT a.item_id, a.spans, (SELECT count(*) FROM compared)
        FROM drawn CROSS JOIN LATERAL (
            SELECT a.item_id, a.id, a.spans FROM annotation_annotation a WHERE a.item_id = drawn.item_id AND {where}
            OFFSET 0
        ) a
        ORDER BY a.item_id, a.id
        """,
        [*more, seed, SPAN_SAMPLE, *values],
    )
    texts: dict[int, list[list[tuple[int, int]]]] = {}
    for item, spans, _ in rows:
        texts.setdefault(item, []).append([(span["start"], span["end"]) for span in json.loads(spans)])
    return list(texts.values()), rows[0][2] if rows else 0


def _compared_items(project: Project, filters: Filters) -> tuple[str, list[Any]]:
    """The query for texts with two or more annotations that count, and its parameters."""
    if filters.since or filters.until or filters.pair:
        where, values = _conditions(project, filters)
        query = f"SELECT a.item_id FROM annotation_annotation a WHERE {where} GROUP BY a.item_id HAVING count(*) >= 2"
        return query, values
    # All annotations of a text count or none does, and the text's own counter says how many they are.
    wanted = [name for name in OF_ITEM if getattr(filters, name)]
    conditions = "".join(f" AND {name} = %s" for name in wanted)
    query = "SELECT id AS item_id FROM annotation_item WHERE project_id = %s AND kind = %s AND retired_at IS NULL"
    values = [project.pk, ItemKind.WORK, *(getattr(filters, name) for name in wanted)]
    return f"{query} AND finished >= 2{conditions}", values


# What can be chosen


def choices(project: Project, limit: int = 100) -> dict[str, list[str]]:
    """The target groups, languages and sources of the project's texts, by name, at most `limit` of each."""
    names = ", ".join(OF_ITEM)
    rows = _fetch(
        f"""
        SELECT {names} FROM (
            SELECT {names}, row_number() OVER (PARTITION BY which ORDER BY {names}) AS place FROM (
                SELECT {names}, grouping({names}) AS which FROM annotation_item
                WHERE project_id = %s AND kind = %s
                GROUP BY GROUPING SETS ({", ".join(f"({name})" for name in OF_ITEM)})
            ) AS each WHERE concat({names}) <> ''
        ) AS numbered WHERE place <= %s
        """,
        [project.pk, ItemKind.WORK, limit],
    )
    return {name: sorted(row[place] for row in rows if row[place]) for place, name in enumerate(OF_ITEM)}
