"""A project filled with as many items and annotations as a measurement wants, in seconds.

    with synthetic.database() as url:
        filled = synthetic.fill(items=333_334, per_item=3)

Rows go in through COPY with triggers and foreign keys switched off for the one transaction, and the counters that the
triggers would keep are written with the rows. That is for databases made for a measurement or a test only: it needs
PostgreSQL's superuser. Everything comes from one seed, so two runs measure the same rows.

What is in them resembles real work: the low levels of the four dimensions are by far the most frequent, every
annotator errs at a rate of their own and mostly by one level, marks agree more or less, some texts have a rewrite.
"""

import argparse
import contextlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.annotation import WORDS

CHUNK = 50_000  # items drawn and copied at a time
GROUPS = ("", "women", "migrants", "neighbours", "politicians", "old people")
LANGUAGES = ("en", "en", "en", "fr", "ar")
BEGAN = datetime(2026, 1, 5, 8, tzinfo=UTC)
DAYS = 182
# How often the true level is the first, second, ... one, for dimensions of up to nine levels.
SKEW = (0.72, 0.17, 0.08, 0.02, 0.004, 0.003, 0.001, 0.001, 0.001)


@dataclass(frozen=True)
class Filled:
    """What `fill` made. seconds: for the rows alone, and with ANALYZE."""

    project: int
    lead: int
    annotators: tuple[int, ...]
    items: int
    annotations: int
    pairs: int
    seconds: float
    seconds_with_analyze: float


@contextlib.contextmanager
def database() -> Iterator[str]:
    """PostgreSQL and Redis of this measurement's own, migrated, with Django set up on them. Yields DATABASE_URL."""
    from config import stack

    with tempfile.TemporaryDirectory(prefix="redress-bench-") as folder:
        data = Path(folder).resolve()
        env = stack.environment(data, "127.0.0.1")
        env.pop("DATABASE_URL", None)  # never somebody's own
        with stack.services(data, env, data / "log"):
            stack.prepare(env, data / "log")
            os.environ.update({name: value for name, value in env.items() if name != stack.MARK})
            import django

            django.setup()
            try:
                yield env["DATABASE_URL"]
            finally:
                from django.db import connections

                connections.close_all()


def fill(
    project: Any = None,
    *,
    items: int,
    per_item: int = 3,
    overlap: int | None = None,
    annotators: int = 8,
    missing: float = 0.0,
    pairs: bool = True,
    seed: int = 7,
) -> Filled:
    """Give a project `items` texts, each annotated by `per_item` of `annotators` people.

    Args:
        project: a Project; None makes one with the four dimensions, a lead and the annotators.
        overlap: of the items; `per_item` (at least 1) when None. A higher one leaves them in the queue.
        missing: share of the items that lack one of their annotations.
        pairs: whether complete items get their proposed pair, as they would by the pages.
    """
    from django.db import connection, transaction

    started = time.perf_counter()
    if project is None:
        project, people = _project(max(per_item, overlap or 1), annotators)
    else:
        people = _people(project, annotators)
    if per_item > len(people):
        raise ValueError(f"{per_item} annotations an item need as many annotators; there are {len(people)}")
    rows = _Rows(project, people, items, per_item, overlap or max(per_item, 1), missing, pairs, seed)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute("SET LOCAL maintenance_work_mem = '512MB'")
        cursor.execute("SET LOCAL synchronous_commit = off")
        indexes = _drop_indexes(cursor) if items >= CHUNK else []
        for part in rows.chunks():
            for model, lines in part.items():
                rows.copy(cursor, model, lines)
        rows.set_sequences(cursor)
        for statement in indexes:
            cursor.execute(statement)
        cursor.execute("SET LOCAL session_replication_role = origin")
    seconds = time.perf_counter() - started
    with connection.cursor() as cursor:
        cursor.execute("VACUUM (ANALYZE)" if not connection.in_atomic_block else "ANALYZE")
    return Filled(
        project=project.pk,
        lead=project.created_by_id,
        annotators=tuple(people),
        items=items,
        annotations=rows.annotations,
        pairs=rows.pairs_made,
        seconds=round(seconds, 2),
        seconds_with_analyze=round(time.perf_counter() - started, 2),
    )


def _project(overlap: int, annotators: int):
    from django.contrib.auth import get_user_model

    from annotation import projects

    users = get_user_model().objects
    stamp = f"{time.time_ns():x}"
    lead = users.create_superuser(f"bench-lead-{stamp}")
    project = projects.create(user=lead, name=f"Synthetic {stamp}", overlap=overlap)
    return project, _people(project, annotators)


def _people(project, count: int) -> list[int]:
    """The project's annotators, as many as asked for; missing ones are made."""
    from django.contrib.auth import get_user_model

    from annotation.models import Membership, Role

    members = Membership.objects.filter(project=project, role=Role.ANNOTATOR)
    found = list(members.order_by("user_id").values_list("user_id", flat=True)[:count])
    users = get_user_model().objects
    for number in range(len(found), count):
        user = users.create_user(f"bench-annotator-{project.pk}-{number}")
        Membership.objects.create(project=project, user=user, role=Role.ANNOTATOR)
        found.append(user.pk)
    return found


def _tables() -> list[type]:
    from annotation.models import Annotation, Assignment, Item, Pair

    return [Item, Assignment, Annotation, Pair, Pair.annotations.through]


def _drop_indexes(cursor) -> list[str]:
    """Drop the indexes that no constraint needs and return what makes them again: quicker than keeping them."""
    names = [model._meta.db_table for model in _tables()]  # type: ignore[attr-defined]
    cursor.execute(
        """
        SELECT quote_ident(c.relname), pg_get_indexdef(i.indexrelid)
        FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_class t ON t.oid = i.indrelid
        WHERE t.relname = ANY(%s) AND t.relnamespace = current_schema()::regnamespace AND NOT i.indisunique
        """,
        [names],
    )
    found = cursor.fetchall()
    for name, _ in found:
        cursor.execute(f"DROP INDEX {name}")
    return [definition for _, definition in found]


def level_shares(levels: int) -> np.ndarray:
    """How likely each true level is: skewed to the first, adds up to 1."""
    shares = np.array(SKEW[:levels])
    return shares / shares.sum()


def draw_levels(truth: np.ndarray, levels: int, error: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """What annotators say of items whose true level is `truth`, both as level numbers from 0.

    Args:
        truth: shape (n,). error: shape (n, k), the rate at which each annotator errs; three of four errors are by one
            level, the others anywhere.
    """
    said = np.repeat(truth[:, None], error.shape[1], axis=1)
    wrong = rng.random(said.shape) < error
    near = np.clip(said + rng.choice([-1, 1], said.shape), 0, levels - 1)
    anywhere = rng.integers(0, levels, said.shape)
    return np.where(wrong, np.where(rng.random(said.shape) < 0.75, near, anywhere), said)


class _Rows:
    """Lines for COPY, chunk by chunk, with the ids that they will have."""

    def __init__(self, project, people, items, per_item, overlap, missing, pairs, seed) -> None:
        self.project, self.people, self.items, self.per_item = project, np.array(people), items, per_item
        self.overlap, self.missing, self.pairs, self.rng = overlap, missing, pairs, np.random.default_rng(seed)
        self.dimensions = [(dimension.key, dimension.levels) for dimension in project.dimensions.all()]
        self.error = self.rng.uniform(0.05, 0.22, len(people))
        self.annotations = self.pairs_made = 0
        self.next = {model: self._last_id(model) + 1 for model in _tables()}
        self.columns = {model: self._defaults(model) for model in _tables()}
        # Every combination of levels as JSON, by its number in base "levels".
        self.labels = [""]
        for key, levels in self.dimensions:
            parts = [json.dumps({key: level})[1:-1] for level in levels]
            self.labels = [f"{before}, {part}" if before else part for before in self.labels for part in parts]

    @staticmethod
    def _last_id(model) -> int:
        last = model.objects.order_by("-pk").values_list("pk", flat=True).first()
        return last or 0

    @staticmethod
    def _defaults(model) -> dict[str, str]:
        """Every column with its default as COPY writes it, so that columns added later need no change here."""
        found = {}
        for field in model._meta.concrete_fields:
            if field.generated:
                continue
            value = None if field.primary_key else field.get_default()
            if isinstance(value, (dict, list)):
                value = json.dumps(value)
            elif isinstance(value, bool):
                value = "t" if value else "f"
            elif isinstance(value, datetime):
                value = BEGAN.isoformat()
            found[field.column] = "\\N" if value is None else str(value)
        return found

    def copy(self, cursor, model, lines: tuple[list[str], Iterable[tuple]]) -> None:
        """Write rows: the columns given, and the defaults of the others."""
        given, values = lines
        rest = {name: value for name, value in self.columns[model].items() if name not in given}
        tail = "".join(f"\t{value}" for value in rest.values()) + "\n"
        names = ", ".join(f'"{name}"' for name in [*given, *rest])
        pattern = "\t".join(["%s"] * len(given)) + tail.replace("%", "%%")
        table = model._meta.db_table
        with cursor.cursor.copy(f'COPY "{table}" ({names}) FROM STDIN') as copy:
            copy.write("".join([pattern % row for row in values]).encode())

    def set_sequences(self, cursor) -> None:
        for model, following in self.next.items():
            table = model._meta.db_table  # type: ignore[attr-defined]
            cursor.execute(f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), %s, false)", [following])

    def chunks(self) -> Iterator[dict]:
        for start in range(0, self.items, CHUNK):
            yield self._chunk(start, min(CHUNK, self.items - start))

    def _chunk(self, start: int, n: int) -> dict:
        from annotation.models import Annotation, Assignment, Item, Pair

        rng, k, project = self.rng, self.per_item, self.project.pk
        first_item, first_row, first_pair = self.next[Item], self.next[Annotation], self.next[Pair]
        first_assignment, first_link = self.next[Assignment], self.next[Pair.annotations.through]
        group = rng.integers(0, len(GROUPS), n).tolist()
        language = rng.integers(0, len(LANGUAGES), n).tolist()
        length = rng.integers(8, 40, n).tolist()
        people = np.argsort(rng.random((n, len(self.people))), axis=1)[:, :k]
        done = np.full(n, k)
        if k and self.missing:
            done -= rng.random(n) < self.missing
        combined = np.zeros((n, k), dtype=int)
        settled: list[list[str]] = [[] for _ in range(n)]
        split = np.zeros(n)
        there = np.arange(k)[None, :] < done[:, None]
        for key, levels in self.dimensions:
            truth = rng.choice(len(levels), n, p=level_shares(len(levels)))
            said = draw_levels(truth, len(levels), self.error[people], rng)
            combined = combined * len(levels) + said
            counts = np.stack([((said == level) & there).sum(axis=1) for level in range(len(levels))], axis=1)
            if k:
                split += (counts > 0).sum(axis=1) > 1
                top = np.sort(counts, axis=1)
                clear = (top[:, -1] > top[:, -2]).tolist()
                parts = [json.dumps({key: level})[1:-1] for level in levels]
                for place, level in enumerate(counts.argmax(axis=1).tolist()):
                    if clear[place]:
                        settled[place].append(parts[level])
        # A mark of some words near the beginning; annotators do not begin and end it alike.
        mark = rng.integers(0, 20, n)
        begins = np.clip(mark[:, None] + rng.choice([0, 0, 0, -3, 2], (n, k)), 0, None).tolist()
        ends = (mark[:, None] + 8 + rng.choice([0, 0, 0, 4, 9], (n, k))).tolist()
        marks = (rng.random((n, k)) < 0.45).tolist()
        writes = (rng.random((n, k)) < 0.6).tolist()
        seconds = rng.integers(12, 90, (n, k)).tolist()
        step = timedelta(days=DAYS) / max(self.items, 1)
        texts, labels, done_list = [], self.labels, done.tolist()
        items: list[tuple] = []
        assignments: list[tuple] = []
        rows: list[tuple] = []
        pairs: list[tuple] = []
        links: list[tuple] = []
        who, picked = self.people[people].tolist(), combined.tolist()
        for i in range(n):
            number = start + i
            at = (BEGAN + step * number).isoformat()
            words = " ".join(WORDS[(number * 13 + place * place) % len(WORDS)] for place in range(length[i]))
            texts.append(f"Text {number}: {words}.")
            items.append(
                (
                    *(first_item + i, project, f"synthetic-{number:07d}", texts[i], f"source {number % 7}"),
                    *(LANGUAGES[language[i]], GROUPS[group[i]], self.overlap, done_list[i], done_list[i], at),
                )
            )
            for j in range(done_list[i]):
                row = len(rows)
                assignments.append((first_assignment + row, project, first_item + i, who[i][j], "finished", at, at))
                end = min(ends[i][j], len(texts[i]))
                spans = f'[{{"start": {begins[i][j]}, "end": {end}}}]' if marks[i][j] else "[]"
                rows.append(
                    (
                        *(first_row + row, project, first_item + i, who[i][j], first_assignment + row),
                        *(f"{{{labels[picked[i][j]]}}}", spans, json.dumps([GROUPS[group[i]]] if group[i] else [])),
                        *(f"A kinder way to say text {number}." if writes[i][j] else "", seconds[i][j], at, at),
                    )
                )
            if self.pairs and done_list[i] and done_list[i] >= self.overlap:
                made = first_row + len(rows) - done_list[i]
                links += [(first_link + len(links) + j, first_pair + len(pairs), made + j) for j in range(done_list[i])]
                rewrite = f"A kinder way to say text {number}." if any(writes[i][: done_list[i]]) else ""
                pairs.append(
                    (
                        *(first_pair + len(pairs), project, first_item + i, rewrite),
                        *(f"{{{', '.join(settled[i])}}}", split[i] / len(self.dimensions), at),
                    )
                )
        self.next[Item] += n
        self.next[Assignment] += len(rows)
        self.next[Annotation] += len(rows)
        self.next[Pair] += len(pairs)
        self.next[Pair.annotations.through] += len(links)
        self.annotations += len(rows)
        self.pairs_made += len(pairs)
        return {
            Item: (
                [
                    *("id", "project_id", "external_id", "text", "source", "language", "target_group", "overlap"),
                    *("taken", "finished", "created_at"),
                ],
                items,
            ),
            Assignment: (
                ["id", "project_id", "item_id", "annotator_id", "state", "lease_until", "created_at"],
                assignments,
            ),
            Annotation: (
                [
                    *("id", "project_id", "item_id", "annotator_id", "assignment_id", "labels", "spans"),
                    *("target_groups", "rewrite", "active_seconds", "created_at", "updated_at"),
                ],
                rows,
            ),
            Pair: (["id", "project_id", "item_id", "rewrite", "labels", "disagreement", "created_at"], pairs),
            Pair.annotations.through: (["id", "pair_id", "annotation_id"], links),
        }


def main() -> int:
    parser = argparse.ArgumentParser(description="Fill a database of its own, say how long it took, throw it away.")
    parser.add_argument("--items", type=int, default=333_334)
    parser.add_argument("--per-item", type=int, default=3)
    options = parser.parse_args()
    with database():
        filled = fill(items=options.items, per_item=options.per_item)
    json.dump(asdict(filled), sys.stdout, indent=2)
    print()
    return 0


if __name__ == "__main__":
    sys.exit(main())
