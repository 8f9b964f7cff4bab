"""Freeze approved pairs into datasets, and write them out for training tools.

Freezing orders and splits the pairs inside PostgreSQL, so that the web process never holds more than a batch of them.
"""

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

from django.core.exceptions import ValidationError
from django.db import connection, transaction
from django.db.models import QuerySet, RestrictedError

from annotation.exports import ALPACA_INSTRUCTION
from annotation.models import Pair, PairStatus, Project
from annotation.validators import check_labels
from training import prompts
from training.models import Dataset, Split

DEFAULT_SHARES = {"train": 0.7, "validation": 0.1, "test": 0.2}
BATCH = 1_000


def approved(project: Project, filters: Mapping[str, str] | None = None) -> QuerySet[Pair]:
    """The pairs that a dataset of this project would hold.

    Args:
        filters: dimension key -> level that the settled label must have.
    """
    pairs = Pair.objects.filter(project=project, status=PairStatus.APPROVED)
    for key, level in (filters or {}).items():
        pairs = pairs.filter(labels__contains={key: level})
    return pairs


def check_filters(project: Project, filters: Mapping[str, str]) -> None:
    """Raise ValidationError unless every filter is a level of one of the project's dimensions."""
    try:
        check_labels(dict(filters), dict(project.dimensions.values_list("key", "levels")), complete=False)
    except ValidationError as error:
        raise ValidationError({"filters": error.messages}) from None


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


def split_sizes(total: int, shares: Mapping[str, float]) -> dict[str, int]:
    """How many of `total` texts go into each split: largest remainder, and one at least where the share is above 0.

    Raises:
        ValidationError: there are fewer texts than splits with a share.
    """
    wanted = [split for split in Split.values if shares[split] > 0]
    if total < len(wanted):
        raise ValidationError(
            f"{total} different {'text' if total == 1 else 'texts'} cannot fill {len(wanted)} splits. Approve more "
            "pairs, or set a share to 0."
        )
    exact = {split: shares[split] * total for split in Split.values}
    sizes = {split: math.floor(exact[split]) for split in Split.values}
    by_remainder = sorted(wanted, key=lambda split: sizes[split] - exact[split])
    for split in (by_remainder * 2)[: total - sum(sizes.values())]:
        sizes[split] += 1
    for split in wanted:
        if not sizes[split]:
            sizes[max(sizes, key=lambda name: sizes[name])] -= 1
            sizes[split] = 1
    return sizes


def order_key(text: str, seed: int) -> bytes:
    """Where a text stands in its dataset: a hash of seed and text, so that neither ids nor order of arrival matter.

    Texts that differ in case or white space only count as the same text and get the same key.
    """
    return hashlib.sha256(f"{seed}\n{' '.join(text.casefold().split())}".encode()).digest()


def line_hash(text: str, rewrite: str, labels: Mapping[str, str]) -> bytes:
    """sha256 of what a pair holds, as one line of canonical JSON."""
    content = {"text": text, "rewrite": rewrite, "labels": labels}
    return hashlib.sha256(
        json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()
    ).digest()


@transaction.atomic
def freeze(
    *,
    project: Project,
    name: str,
    user,
    shares: Mapping[str, float] = DEFAULT_SHARES,
    seed: int = 0,
    filters: Mapping[str, str] | None = None,
) -> Dataset:
    """Copy the project's approved pairs into a dataset that never changes.

    Pairs are ordered by `order_key`, then by `line_hash`; pairs with one key stay in one split, so that no test text
    is seen in training. Shares are of different texts. The content hash is that of the settings and, in order, of
    each pair's split and line.

    Raises:
        ValidationError: keyed by field where one is to blame; no or too few approved pairs.
    """
    check_filters(project, filters or {})
    dataset = Dataset(
        project=project, name=name, seed=seed, shares=check_shares(shares), filters=dict(filters or {}), created_by=user
    )
    dataset.full_clean(exclude=["content_hash", "counts"])
    with connection.cursor() as cursor:
        # One statement sees one moment: what is approved while we freeze is in this dataset whole or not at all.
        query, values = (
            approved(project, dataset.filters)
            .order_by()
            .values_list("pk", "item_id", "item__external_id", "item__text", "rewrite", "labels")
            .query.sql_with_params()
        )
        cursor.execute(
            "CREATE TEMPORARY TABLE frozen_pair (pair_id, item_id, external_id, text, rewrite, labels) "
            f"ON COMMIT DROP AS {query}",
            values,
        )
        cursor.execute("CREATE TEMPORARY TABLE frozen_order (pair_id bigint, key bytea, line bytea) ON COMMIT DROP")
        _copy_order(cursor, seed)
        cursor.execute("SELECT count(DISTINCT key) FROM frozen_order")
        texts = cursor.fetchone()[0]
        if not texts:
            what = "no approved pair with these labels" if dataset.filters else "no approved pair yet"
            raise ValidationError(f"The project has {what}. Approve pairs first, then freeze them.")
        sizes = split_sizes(texts, dataset.shares)
        cursor.execute(
            """
            CREATE TEMPORARY TABLE frozen_split ON COMMIT DROP AS
            SELECT pair_id, line, row_number() OVER (ORDER BY key, line, external_id, pair_id) - 1 AS position,
                   CASE WHEN rank <= %s THEN 'train' WHEN rank <= %s THEN 'validation' ELSE 'test' END AS split
            FROM (SELECT *, dense_rank() OVER (ORDER BY key) AS rank FROM frozen_order) AS ranked
            JOIN frozen_pair USING (pair_id)
            """,
            [sizes["train"], sizes["train"] + sizes["validation"]],
        )
        cursor.execute("SELECT split, count(*) FROM frozen_split GROUP BY split")
        dataset.counts = dict.fromkeys(Split.values, 0) | dict(cursor.fetchall())
        dataset.content_hash = _content_hash(dataset)
        dataset.save()
        cursor.execute(
            """
            INSERT INTO training_datasetrow
                (dataset_id, pair_id, item_id, split, position, external_id, text, rewrite, rejected, labels)
            SELECT %s, pair_id, item_id, split, position, external_id, text, rewrite, '', labels
            FROM frozen_split JOIN frozen_pair USING (pair_id) ORDER BY position
            """,
            [dataset.pk],
        )
        cursor.execute("DROP TABLE frozen_pair, frozen_order, frozen_split")  # for another one in this transaction
    return dataset


def _copy_order(cursor, seed: int) -> None:
    """Fill frozen_order from frozen_pair, batch by batch."""
    with connection.chunked_cursor() as pairs:
        pairs.execute("SELECT pair_id, text, rewrite, labels::text FROM frozen_pair")
        while batch := pairs.fetchmany(BATCH):
            with cursor.copy("COPY frozen_order FROM STDIN") as copy:
                for pair, text, rewrite, labels in batch:
                    copy.write_row((pair, order_key(text, seed), line_hash(text, rewrite, json.loads(labels))))


def _content_hash(dataset: Dataset) -> str:
    settings = {"shares": dict(sorted(dataset.shares.items())), "seed": dataset.seed}
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    with connection.chunked_cursor() as rows:
        rows.execute("SELECT split, line FROM frozen_split ORDER BY position")
        while batch := rows.fetchmany(BATCH):
            for split, line in batch:
                digest.update(f"\n{split} {bytes(line).hex()}".encode())
    return digest.hexdigest()


def alpaca(dataset: Dataset) -> Iterator[dict[str, str]]:
    """instruction, input and output of each row, with its split."""
    for row in dataset.rows.order_by("position").iterator(BATCH):
        yield {"instruction": ALPACA_INSTRUCTION, "input": row.text, "output": row.rewrite, "split": row.split}


def prompt_completion(dataset: Dataset) -> Iterator[dict[str, str]]:
    """prompt (the default template) and completion of each row, with its split."""
    for row in dataset.rows.order_by("position").iterator(BATCH):
        prompt = prompts.render(prompts.DEFAULT_TEMPLATE, row.text)
        yield {"prompt": prompt, "completion": row.rewrite, "split": row.split}


def chat(dataset: Dataset) -> Iterator[dict[str, Any]]:
    """messages of each row: what the user asks and the assistant answers, with its split."""
    for row in prompt_completion(dataset):
        yield {
            "messages": [
                {"role": "user", "content": row["prompt"]},
                {"role": "assistant", "content": row["completion"]},
            ],
            "split": row["split"],
        }


FORMATS = {"alpaca": alpaca, "prompt-completion": prompt_completion, "chat": chat}


def lines(dataset: Dataset, file_format: str) -> Iterator[str]:
    """JSON Lines of the dataset, the same bytes whenever it is written."""
    for row in FORMATS[file_format](dataset):
        yield json.dumps(row, ensure_ascii=False) + "\n"


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
