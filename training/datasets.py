"""Freeze approved pairs, or preferences, into datasets that never change.

Freezing orders and splits inside PostgreSQL, so that no process ever holds more than a batch of texts. Splits are
decided for texts, not rows: rows with the same text stay together, and so do texts that are near-duplicates. Shares
hold within each stratum. Everything comes from the content, the settings and the seed.
"""

# ruff: noqa: S608 - only names of columns of ours stand in the queries; every value is a parameter

import contextlib
import hashlib
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from django.core.exceptions import ValidationError
from django.db import connection, transaction
from django.db.models import F, RestrictedError, TextField, Value
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Coalesce

from annotation.jobs import JobError
from annotation.models import Project
from training import dataset_figures, near_duplicates, selection
from training.models import Dataset, DatasetKind, Freezing, Split
from training.near_duplicates import normalised

DEFAULT_SHARES = {"train": 0.7, "validation": 0.1, "test": 0.2}
DEFAULT_NEAR_DUPLICATES = 0.7
BATCH = 1_000
INLINE = 1_000  # rows up to which a dataset is frozen while the person waits
SMALL_STRATUM = 10  # texts; strata with fewer are split together


# Settings


def check_settings(
    project: Project,
    *,
    kind: str = DatasetKind.PAIRS,
    shares: Any = None,
    seed: int = 0,
    filters: Any = None,
    stratify_by: str = "",
    near_duplicates: float | None = None,
) -> dict[str, Any]:
    """The settings of a dataset, checked, as `freeze` takes them and a Freezing stores them.

    Raises:
        ValidationError: keyed by field.
    """
    if kind not in DatasetKind.values:
        raise ValidationError({"kind": f"A dataset holds {' or '.join(DatasetKind.values)}, not {str(kind)[:40]!r}."})
    return {
        "kind": str(kind),
        "shares": check_shares(DEFAULT_SHARES if shares is None else shares),
        "seed": seed,
        "filters": selection.check_filters(project, filters or {}, kind),
        "stratify_by": check_stratify_by(project, stratify_by),
        "near_duplicates": check_near_duplicates(near_duplicates),
    }


def check_shares(shares: Any) -> dict[str, float]:
    """The shares as numbers. Raises ValidationError unless they are 0 to 1, add up to 1, and train has some."""
    if not isinstance(shares, Mapping) or set(shares) != set(Split.values):
        raise ValidationError({"shares": f"Give a share for each of {', '.join(Split.values)}."})
    numbers = {}
    for split in Split.values:
        share = shares[split]
        if isinstance(share, bool) or not isinstance(share, int | float) or not math.isfinite(share):
            raise ValidationError({"shares": f"The share of {split} must be a number."})
        if not 0 <= share <= 1:
            raise ValidationError({"shares": f"The share of {split} must be between 0 and 1, not {share}."})
        numbers[split] = float(share)
    total = sum(numbers.values())
    if abs(total - 1) > 1e-9:
        raise ValidationError({"shares": f"The shares add up to {total:g}; they must add up to 1."})
    if not numbers["train"]:
        raise ValidationError({"shares": "The train split needs a share above 0."})
    return numbers


def strata_choices(project: Project) -> list[tuple[str, str]]:
    """What a dataset of the project may be stratified by: (value, words)."""
    labels = [(f"label:{key}", name) for key, name in project.dimensions.values_list("key", "name")]
    return [("target_group", "Target group"), ("source", "Source"), *labels]


def check_stratify_by(project: Project, value: Any) -> str:
    known = [name for name, _ in strata_choices(project)]
    if value and value not in known:
        raise ValidationError({"stratify_by": f"Stratify by one of {', '.join(known)}, not by {str(value)[:60]!r}."})
    return value or ""


def check_near_duplicates(threshold: Any) -> float | None:
    low, high = near_duplicates.THRESHOLDS
    if threshold is None:
        return None
    if isinstance(threshold, bool) or not isinstance(threshold, int | float) or not low <= threshold <= high:
        raise ValidationError(
            {"near_duplicates": f"Give a share of common 5-grams from {low:g} to {high:g}, or nothing for no search."}
        )
    return float(threshold)


# How many of what goes where


def split_sizes(total: int, shares: Mapping[str, float]) -> dict[str, int]:
    """How many of `total` texts go into each split: largest remainder, and one at least where the share is above 0.

    Raises:
        ValidationError: there are fewer texts than splits with a share.
    """
    wanted = [split for split in Split.values if shares[split] > 0]
    if total < len(wanted):
        missing = len(wanted) - total
        raise ValidationError(
            f"{total} different {'text' if total == 1 else 'texts'} cannot fill {len(wanted)} splits "
            f"({', '.join(wanted)}), one at least each. Approve {missing} more, or set the share of "
            f"{' and '.join(wanted[total:])} to 0."
        )
    sizes = _largest_remainder(total, {split: shares[split] * total for split in Split.values})
    _fill_empty([sizes], wanted)
    return sizes


def stratum_sizes(totals: Mapping[str, int], shares: Mapping[str, float]) -> dict[str, dict[str, int]]:
    """How many texts of each stratum go into each split.

    Largest remainder within each stratum, in order of name; what rounding gave a split too little or too much is
    carried to the next stratum, so that the shares of the whole hold as well.

    Raises:
        ValidationError: there are fewer texts than splits with a share.
    """
    split_sizes(sum(totals.values()), shares)
    carried = dict.fromkeys(Split.values, 0.0)
    sizes = {}
    for stratum in sorted(totals, key=str.encode):
        exact = {split: shares[split] * totals[stratum] + carried[split] for split in Split.values}
        sizes[stratum] = _largest_remainder(totals[stratum], exact)
        carried = {split: exact[split] - sizes[stratum][split] for split in Split.values}
    _fill_empty(list(sizes.values()), [split for split in Split.values if shares[split] > 0])
    return sizes


def _largest_remainder(total: int, exact: Mapping[str, float]) -> dict[str, int]:
    """Whole numbers near `exact` that add up to `total`; none below 0, and none where nothing is wanted."""
    sizes = {split: max(0, math.floor(exact[split] + 1e-9)) for split in Split.values}
    wanted = [split for split in Split.values if exact[split] > 0]
    by_remainder = sorted(wanted or [Split.TRAIN], key=lambda split: sizes[split] - exact[split])
    for number in range(total - sum(sizes.values())):
        sizes[by_remainder[number % len(by_remainder)]] += 1
    while sum(sizes.values()) > total:  # what was carried made all floors together too many
        sizes[max((split for split in sizes if sizes[split]), key=lambda split: sizes[split] - exact[split])] -= 1
    return sizes


def _fill_empty(sizes: list[dict[str, int]], wanted: list[str]) -> None:
    """Give each wanted split that has nothing one text, from where there are most."""
    for split in wanted:
        if not any(one[split] for one in sizes):
            stratum, largest = max(
                ((one, name) for one in sizes for name in one if one[name]), key=lambda found: found[0][found[1]]
            )
            stratum[largest] -= 1
            stratum[split] = 1


def order_key(text: str, seed: int) -> bytes:
    """Where a text stands in its dataset: a hash of seed and text, so that neither ids nor order of arrival matter.

    Texts that differ in case or white space only count as the same text and get the same key.
    """
    return hashlib.sha256(f"{seed}\n{normalised(text)}".encode()).digest()


def text_key(text: str) -> str:
    """Names a text in every dataset, whatever the seed; folded as in `order_key`."""
    return hashlib.sha256(normalised(text).encode()).hexdigest()


def line_hash(text: str, rewrite: str, labels: Mapping[str, str], rejected: str = "") -> bytes:
    """sha256 of what a row holds, as one line of canonical JSON. `rejected` is there for a preference only."""
    content = {"text": text, "rewrite": rewrite, "labels": labels} | ({"rejected": rejected} if rejected else {})
    return hashlib.sha256(
        json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()
    ).digest()


def settings_line(settings: Mapping[str, Any]) -> bytes:
    """The settings that decide about splits, as the content hash begins with them."""
    names = ("kind", "near_duplicates", "seed", "shares", "stratify_by")
    return json.dumps({name: settings[name] for name in names}, sort_keys=True).encode()


# Freezing


def start(*, project: Project, name: str, user, **settings: Any) -> Dataset | Freezing:
    """Freeze at once where that is quick, else queue it for a worker.

    Raises:
        ValidationError: keyed by field where one is to blame.
    """
    from training import tasks

    checked = check_settings(project, **settings)
    if selection.rows(project, checked["kind"], checked["filters"])[: INLINE + 1].count() <= INLINE:
        return freeze(project=project, name=name, user=user, **settings)
    _named(project, name, user, checked).full_clean(exclude=["content_hash", "counts", "figures"])
    with transaction.atomic():
        job = Freezing.objects.create(
            project=project, name=name, settings=checked, created_by=user, message="Waiting for a worker"
        )
        job.queue(tasks.execute_freezing)
    return job


def run(job: Freezing) -> dict[str, Any]:
    """Do the work of a Freezing. One that is there already is not frozen twice.

    Raises:
        JobError: with the sentence that `freeze` would have said.
    """
    if job.dataset_id:
        return {}
    try:
        freeze(project=job.project, name=job.name, user=job.created_by, job=job, **job.settings)
    except ValidationError as error:
        raise JobError(" ".join(error.messages)) from None
    return {"message": "Frozen"}


def _named(project: Project, name: str, user, checked: Mapping[str, Any]) -> Dataset:
    return Dataset(project=project, name=name, created_by=user, **checked)


def freeze(*, project: Project, name: str, user, job: Freezing | None = None, **settings: Any) -> Dataset:
    """Copy the project's approved pairs, or its preferences, into a dataset that never changes.

    Rows are ordered by `order_key`, then by `line_hash`. Rows with one key, and texts that are near-duplicates, stay in
    one split, so that no test text is seen in training. Shares are of different texts, within each stratum. The
    content hash is that of the settings and, in order, of each row's split and line.

    Args:
        job: reports to it and stops with it; its `dataset` is set together with the dataset's own rows.
        settings: as `check_settings` takes them.

    Raises:
        ValidationError: keyed by field where one is to blame; nothing or too little to freeze; an empty rewrite.
    """
    checked = check_settings(project, **settings)
    dataset = _named(project, name, user, checked)
    dataset.full_clean(exclude=["content_hash", "counts", "figures"])
    say = _reporter(job)
    with _tables(), connection.cursor() as cursor:
        say("Copying what is approved")
        _copy_rows(cursor, dataset)
        _refuse_empty(cursor, dataset)
        _copy_order(cursor, dataset.seed, say)
        _make_texts(cursor)
        cursor.execute("SELECT count(*) FROM frozen_text")
        texts = cursor.fetchone()[0]
        if not texts:
            raise ValidationError(_nothing(dataset))
        _check_enough(texts, dataset.shares)
        found = _near_duplicates(cursor, texts, dataset.near_duplicates, say)
        say("Splitting")
        strata = _make_splits(cursor, dataset, found)
        cursor.execute("SELECT split, count(*) FROM frozen_split GROUP BY split")
        dataset.counts = dict.fromkeys(Split.values, 0) | dict(cursor.fetchall())
        say("Counting")
        dataset.content_hash = _content_hash(dataset)
        dataset.figures = dataset_figures.count(cursor) | {"texts": texts, "strata": strata} | _told(dataset, found)
        say("Writing the rows")
        with transaction.atomic():
            if job is not None:
                job.beat()  # not ours any more, or cancelled: nothing is written
            dataset.save()
            cursor.execute(INSERT, [dataset.pk])
            if job is not None:
                Freezing.objects.filter(pk=job.pk).update(dataset=dataset)
    return dataset


INSERT = """
INSERT INTO training_datasetrow (dataset_id, pair_id, preference_id, item_id, split, position, external_id, text,
    rewrite, rejected, labels, text_key, copy)
SELECT %s, pair_id, preference_id, item_id, split, position, external_id, text, rewrite, rejected, labels, text_key,
    copy
FROM frozen_split JOIN frozen_row USING (id) ORDER BY position
"""


@contextlib.contextmanager
def _tables() -> Iterator[None]:
    """Temporary tables of a freeze, gone afterwards: for another one on this connection."""
    names = ("row", "order", "text", "group", "room", "split", "length")
    drop = f"DROP TABLE IF EXISTS {', '.join(f'frozen_{name}' for name in names)}"
    with connection.cursor() as cursor:
        cursor.execute(drop)
        try:
            yield
        finally:
            if connection.is_usable() and not connection.needs_rollback:
                cursor.execute(drop)


def _reporter(job: Freezing | None) -> Callable[..., None]:
    last = 0.0

    def say(message: str = "", done: int = 0, total: int = 0) -> None:
        nonlocal last
        if job is not None and (message or time.monotonic() - last > 1):
            last = time.monotonic()
            job.report(done, total, message or None)

    return say


def _copy_rows(cursor, dataset: Dataset) -> None:
    """One statement sees one moment: what is approved while we freeze is in this dataset whole or not at all."""
    queryset = selection.rows(dataset.project, dataset.kind, dataset.filters).order_by()
    is_preference = dataset.kind == DatasetKind.PREFERENCE
    name, _, key = dataset.stratify_by.partition(":")
    stratum: Any = Value("")
    if key:
        stratum = KeyTextTransform(key, "item__pair__labels" if is_preference else "labels")
    elif name:
        stratum = F(f"item__{name}")
    columns = ["pk", "item_id", "item__external_id", "item__target_group", "item__source", "stratum_of"]
    columns += ["text", "chosen", "rejected"] if is_preference else ["item__text", "rewrite", "labels"]
    query, values = (
        queryset.annotate(stratum_of=Coalesce(stratum, Value(""), output_field=TextField()))
        .values_list(*columns)
        .query.sql_with_params()
    )
    tail = "text, rewrite, rejected" if is_preference else "text, rewrite, labels"
    picked = (
        "NULL::bigint AS pair_id, id AS preference_id, item_id, text, rewrite, rejected, '{}'::jsonb AS labels"
        if is_preference
        else "id AS pair_id, NULL::bigint AS preference_id, item_id, text, rewrite, '' AS rejected, labels"
    )
    cursor.execute(
        f"CREATE TEMPORARY TABLE frozen_row AS SELECT id, {picked}, stratum, COALESCE(external_id, '') AS external_id, "
        f"COALESCE(target_group, '') AS target_group, COALESCE(source, '') AS source FROM ({query}) AS "
        f"found (id, item_id, external_id, target_group, source, stratum, {tail})",
        values,
    )
    cursor.execute("ANALYZE frozen_row")


def _nothing(dataset: Dataset) -> str:
    if dataset.kind == DatasetKind.PREFERENCE:
        what = "no preference that meets these filters" if dataset.filters else "no preference yet"
        return f"The project has {what}. Make some of a closed study or of approved pairs, or upload them."
    what = "no approved pair that meets these filters" if dataset.filters else "no approved pair yet"
    return f"The project has {what}. Approve pairs first, then freeze them."


def _refuse_empty(cursor, dataset: Dataset) -> None:
    """Nothing to learn from: a pair without a rewrite, which approval refuses, but a database may still hold."""
    preference = " OR rejected !~ '\\S'" if dataset.kind == DatasetKind.PREFERENCE else ""
    cursor.execute(
        f"SELECT external_id, count(*) OVER () FROM frozen_row WHERE rewrite !~ '\\S'{preference} "
        "ORDER BY external_id LIMIT 3"
    )
    if empty := cursor.fetchall():
        names, total = ", ".join(name or "an uploaded one" for name, _ in empty), empty[0][1]
        more = f" and {total - 3:,} more" if total > 3 else ""
        raise ValidationError(
            f"{'An output' if preference else 'The rewrite'} is empty: {names}{more}. Reopen and complete "
            f"{'it' if total == 1 else 'them'}, or reject {'it' if total == 1 else 'them'}; then freeze."
        )


def _copy_order(cursor, seed: int, say: Callable[..., None]) -> None:
    """Fill frozen_order from frozen_row, batch by batch."""
    cursor.execute("CREATE TEMPORARY TABLE frozen_order (id bigint, key bytea, line bytea, text_key text)")
    with connection.chunked_cursor() as rows:
        rows.execute("SELECT id, text, rewrite, labels::text, rejected FROM frozen_row")
        while batch := rows.fetchmany(BATCH):
            with cursor.copy("COPY frozen_order FROM STDIN") as copy:
                for pk, text, rewrite, labels, rejected in batch:
                    line = line_hash(text, rewrite, json.loads(labels), rejected)
                    copy.write_row((pk, order_key(text, seed), line, text_key(text)))
            say()
    cursor.execute("ANALYZE frozen_order")


def _make_texts(cursor) -> None:
    """frozen_text: the different texts, numbered in the order of their keys. The C collation is the same everywhere."""
    cursor.execute(
        """
        CREATE TEMPORARY TABLE frozen_text AS
        SELECT (row_number() OVER (ORDER BY key) - 1)::integer AS number, key,
            min(text COLLATE "C") AS text, min(stratum COLLATE "C") AS stratum
        FROM frozen_order JOIN frozen_row USING (id) GROUP BY key
        """
    )
    cursor.execute("CREATE UNIQUE INDEX ON frozen_text (number)")
    cursor.execute("ANALYZE frozen_text")


def _check_enough(texts: int, shares: Mapping[str, float]) -> None:
    split_sizes(texts, shares)


def _near_duplicates(cursor, texts: int, threshold: float | None, say: Callable[..., None]) -> near_duplicates.Groups:
    if threshold is None:
        return near_duplicates.Groups({})
    say("Looking for near-duplicates", 0, texts)
    seen = 0

    def every_text() -> Iterator[str]:
        nonlocal seen
        with connection.chunked_cursor() as rows:
            rows.execute("SELECT text FROM frozen_text ORDER BY number")
            while batch := rows.fetchmany(BATCH):
                for (text,) in batch:
                    yield text
                seen += len(batch)

    def texts_of(numbers) -> dict[int, str]:
        cursor.execute("SELECT number, text FROM frozen_text WHERE number = ANY(%s)", [list(numbers)])
        return dict(cursor.fetchall())

    return near_duplicates.groups(every_text(), texts, threshold, texts_of, lambda: say("", seen, texts))


def _make_splits(cursor, dataset: Dataset, found: near_duplicates.Groups) -> list[dict[str, Any]]:
    """frozen_split: each row's split, place and copy. Returns what became of the strata."""
    groups: dict[int, list[int]] = {}
    for number, leader in found.of.items():
        groups.setdefault(leader, []).append(number)
    cursor.execute("CREATE TEMPORARY TABLE frozen_group (number integer PRIMARY KEY, leader integer, split text)")
    with cursor.copy("COPY frozen_group (number, leader) FROM STDIN") as copy:
        for number, leader in found.of.items():
            copy.write_row((number, leader))
    # A group belongs to the stratum of its first text.
    cursor.execute(
        """
        UPDATE frozen_text SET stratum = first.stratum FROM frozen_group JOIN frozen_text AS first
            ON first.number = frozen_group.leader WHERE frozen_text.number = frozen_group.number
        """
    )
    cursor.execute("SELECT stratum, count(*) FROM frozen_text GROUP BY stratum")
    totals = dict(cursor.fetchall())
    pooled = sorted(name for name, count in totals.items() if count < SMALL_STRATUM) if len(totals) > 1 else []
    if len(pooled) > 1:
        cursor.execute("UPDATE frozen_text SET stratum = %s WHERE stratum = ANY(%s)", [POOLED, pooled])
        totals = {name: count for name, count in totals.items() if name not in pooled} | {
            POOLED: sum(totals[name] for name in pooled)
        }
    room = stratum_sizes(totals, dataset.shares)
    cursor.execute(
        "SELECT number, stratum, key FROM frozen_text WHERE number = ANY(%s) ORDER BY number", [list(groups)]
    )
    chosen = []
    for leader, stratum, key in cursor.fetchall():
        split = _split_of_group(len(groups[leader]), bytes(key), room[stratum], dataset.shares)
        room[stratum][split] -= len(groups[leader])
        chosen.append((leader, split))
    cursor.execute("CREATE TEMPORARY TABLE frozen_room (stratum text, train integer, validation integer)")
    if chosen:
        cursor.execute(
            "UPDATE frozen_group SET split = chosen.split "
            "FROM unnest(%s::integer[], %s::text[]) AS chosen (leader, split) "
            "WHERE chosen.leader = frozen_group.leader",
            [[leader for leader, _ in chosen], [split for _, split in chosen]],
        )
    with cursor.copy("COPY frozen_room FROM STDIN") as copy:
        for stratum, left in room.items():
            singles = _largest_remainder(sum(left.values()), _positive(left))
            copy.write_row((stratum, singles["train"], singles["validation"]))
    cursor.execute(
        """
        CREATE TEMPORARY TABLE frozen_split AS
        WITH single AS (
            SELECT key, stratum, row_number() OVER (PARTITION BY stratum ORDER BY key) AS rank
            FROM frozen_text WHERE number NOT IN (SELECT number FROM frozen_group)
        ), placed AS (
            SELECT key, CASE WHEN rank <= train THEN 'train' WHEN rank <= train + validation THEN 'validation'
                ELSE 'test' END AS split
            FROM single JOIN frozen_room USING (stratum)
            UNION ALL SELECT key, split FROM frozen_text JOIN frozen_group USING (number)
        )
        SELECT id, line, text_key, split,
            row_number() OVER (ORDER BY key, line, external_id, id) - 1 AS position,
            row_number() OVER (PARTITION BY key ORDER BY line, external_id, id) - 1 AS copy
        FROM frozen_order JOIN frozen_row USING (id) JOIN placed USING (key)
        """
    )
    _refuse_empty_splits(cursor, dataset, len(groups))
    if not dataset.stratify_by:
        return []
    cursor.execute(
        """
        SELECT stratum, split, count(DISTINCT number) FROM frozen_text JOIN frozen_order USING (key)
        JOIN frozen_split USING (id) GROUP BY 1, 2
        """
    )
    counts: dict[str, dict[str, int]] = {name: dict.fromkeys(Split.values, 0) for name in totals}
    for stratum, split, count in cursor.fetchall():
        counts[stratum][split] = count
    largest = sorted(totals, key=lambda name: (name == POOLED, -totals[name], name))
    kept = largest[:50] if POOLED not in totals else [*largest[:-1][:49], POOLED]
    return [
        {"name": "" if name == POOLED else name, "pooled": len(pooled) if name == POOLED else 0, **counts[name]}
        for name in kept
    ]


POOLED = "\x01small strata"  # no value can hold a control character's name by accident; never shown


def _positive(left: Mapping[str, int]) -> dict[str, float]:
    """Room for single texts: where a group took more than there was, the others share what is left in proportion."""
    positive = {split: max(0, count) for split, count in left.items()}
    total, singles = sum(positive.values()), sum(left.values())
    return {split: count * singles / total if total else 0.0 for split, count in positive.items()}


def _split_of_group(size: int, key: bytes, room: Mapping[str, int], shares: Mapping[str, float]) -> str:
    """Where a group goes: drawn with the shares as chances, by a hash of its key; where that has no room for it, to
    the split with the most room.
    """
    drawn = int.from_bytes(hashlib.sha256(key).digest()[:8], "big") / 2**64
    bound = 0.0
    for split in Split.values:
        bound += shares[split]
        if drawn < bound:
            if room[split] >= size:
                return split
            break
    return max(Split.values, key=lambda split: room[split])


def _refuse_empty_splits(cursor, dataset: Dataset, groups: int) -> None:
    cursor.execute("SELECT DISTINCT split FROM frozen_split")
    filled = {split for (split,) in cursor.fetchall()}
    if empty := [split for split in Split.values if dataset.shares[split] > 0 and split not in filled]:
        raise ValidationError(
            {
                "near_duplicates": f"Nothing is left for {' and '.join(empty)}: the texts form {groups} group"
                f"{'' if groups == 1 else 's'} of near-duplicates, which stay together. Approve more different texts, "
                f"ask for more alikeness than {dataset.near_duplicates:g}, or set that share to 0."
            }
        )


def _told(dataset: Dataset, found: near_duplicates.Groups) -> dict[str, Any]:
    if dataset.near_duplicates is None:
        return {}
    sizes = found.sizes
    return {
        "near_duplicates": {
            "threshold": dataset.near_duplicates,
            "groups": len(sizes),
            "texts": sum(sizes),
            "largest": max(sizes, default=0),
        }
    }


def _content_hash(dataset: Dataset) -> str:
    names = ("kind", "near_duplicates", "seed", "shares", "stratify_by")
    digest = hashlib.sha256(settings_line({name: getattr(dataset, name) for name in names}))
    with connection.chunked_cursor() as rows:
        rows.execute("SELECT split, line FROM frozen_split ORDER BY position")
        while batch := rows.fetchmany(BATCH):
            for split, line in batch:
                digest.update(f"\n{split} {bytes(line).hex()}".encode())
    return digest.hexdigest()


# Deleting


@transaction.atomic
def delete(dataset: Dataset) -> None:
    """Remove a dataset that no run uses.

    Raises:
        ValidationError: a run uses it.
    """
    if used := dataset.runs.count():
        raise ValidationError(f"{used} run{'s' if used > 1 else ''} of this dataset exist; delete them first.")
    try:
        dataset.delete()
    except RestrictedError as error:
        raise ValidationError(f"The dataset is in use by {used_by(error)}.") from None


def used_by(error: RestrictedError) -> str:
    """What keeps a row from being deleted, in words."""
    found = sorted(error.restricted_objects, key=str)
    names = ", ".join(f"the {row._meta.verbose_name} “{row}”" for row in found[:3])
    return f"{names} and {len(found) - 3} more" if len(found) > 3 else names
