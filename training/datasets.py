"""Freeze approved pairs into datasets, and write them out for training tools."""

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import QuerySet

from annotation.exports import ALPACA_INSTRUCTION
from annotation.models import Pair, PairStatus, Project
from training import prompts
from training.models import Dataset, DatasetRow, Split

DEFAULT_SHARES = {"train": 0.7, "validation": 0.1, "test": 0.2}
MAX_PAIRS = 200_000  # read at once, to be put in order by their content
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
    if abs(total - 1) > 1e-6:
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


def _key(text: str) -> str:
    """Texts that differ in case or white space only count as the same text."""
    return " ".join(text.casefold().split())


def assign(rows: list[dict[str, Any]], shares: Mapping[str, float], seed: int) -> list[dict[str, Any]]:
    """The rows in the order of their content, each with its split.

    The order is that of sha256(seed and normalised text), so it depends on neither database ids nor the order of
    arrival. Rows with the same normalised text stay in one split, so that no test text is seen in training.
    """
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(hashlib.sha256(f"{seed}\n{_key(row['text'])}".encode()).hexdigest(), []).append(row)
    sizes = split_sizes(len(groups), shares)
    splits = [split for split in Split.values for _ in range(sizes[split])]
    ordered = []
    for digest, split in zip(sorted(groups), splits, strict=True):
        for row in sorted(groups[digest], key=_canonical):
            ordered.append(row | {"split": split})
    return ordered


def _canonical(row: Mapping[str, Any]) -> str:
    content = {name: row[name] for name in ("text", "rewrite", "labels")}
    return json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def content_hash(ordered: list[dict[str, Any]], shares: Mapping[str, float], seed: int) -> str:
    """sha256 over the settings and, in order, each row's split, text, rewrite and labels."""
    settings = json.dumps({"shares": dict(sorted(shares.items())), "seed": seed}, sort_keys=True)
    digest = hashlib.sha256(settings.encode())
    for row in ordered:
        digest.update(f"\n{row['split']}\t{_canonical(row)}".encode())
    return digest.hexdigest()


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

    Raises:
        ValidationError: keyed by field where one is to blame; no or too few approved pairs.
    """
    numbers = check_shares(shares)
    filters = dict(filters or {})
    pairs = approved(project, filters).select_related("item").order_by("pk")
    found = list(pairs[: MAX_PAIRS + 1])
    if not found:
        what = "no approved pair with these labels" if filters else "no approved pair yet"
        raise ValidationError(f"The project has {what}. Approve pairs first, then freeze them.")
    if len(found) > MAX_PAIRS:
        raise ValidationError(f"A dataset holds at most {MAX_PAIRS:,} pairs. Filter by a label.")
    ordered = assign(
        [
            {
                "pair": pair,
                "external_id": pair.item.external_id,
                "text": pair.item.text,
                "rewrite": pair.rewrite,
                "labels": pair.labels,
            }
            for pair in found
        ],
        numbers,
        seed,
    )
    counts = {split: sum(row["split"] == split for row in ordered) for split in Split.values}
    dataset = Dataset(
        project=project,
        name=name,
        seed=seed,
        shares=numbers,
        filters=filters,
        counts=counts,
        content_hash=content_hash(ordered, numbers, seed),
        created_by=user,
    )
    dataset.full_clean()
    dataset.save()
    DatasetRow.objects.bulk_create(
        (
            DatasetRow(dataset=dataset, position=position, item_id=row["pair"].item_id, **row)
            for position, row in enumerate(ordered)
        ),
        batch_size=BATCH,
    )
    return dataset


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
    dataset.delete()
