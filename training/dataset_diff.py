"""What differs between two datasets of a project, worked out by PostgreSQL.

A row is the same in both when its text is (folded in case and white space, `DatasetRow.text_key`) and it is the same
one of that text's rows (`copy`). It may stand in another split, and its rewrite, rejected output or labels may differ.
"""

import json
from collections.abc import Mapping
from typing import Any

from django.core.exceptions import ValidationError
from django.db import connection

from training.models import Dataset

KINDS = {
    "left": "only in the first",
    "right": "only in the second",
    "moved": "in another split",
    "changed": "changed",
}
CONTENT = "({0}.rewrite, {0}.rejected, {0}.labels)"
CHANGED = f"{CONTENT.format('one')} IS DISTINCT FROM {CONTENT.format('two')}"
MATCHED = """
FROM training_datasetrow one JOIN training_datasetrow two
    ON two.dataset_id = %(right)s AND two.text_key = one.text_key AND two.copy = one.copy
WHERE one.dataset_id = %(left)s
"""
ALONE = """
FROM training_datasetrow one WHERE one.dataset_id = %({0})s AND NOT EXISTS (
    SELECT FROM training_datasetrow two
    WHERE two.dataset_id = %({1})s AND two.text_key = one.text_key AND two.copy = one.copy
)
"""
FOUND = {
    "left": ALONE.format("left", "right"),
    "right": ALONE.format("right", "left"),
    "moved": f"{MATCHED} AND one.split <> two.split",
    "changed": f"{MATCHED} AND {CHANGED}",
}
SIZE = 50


def check(left: Dataset, right: Dataset) -> None:
    """Raises ValidationError, keyed by `other`, for two that have nothing to compare."""
    if left.project_id != right.project_id:
        raise ValidationError({"other": "Choose a dataset of the same project."})
    if left.pk == right.pk:
        raise ValidationError({"other": "Choose another dataset than this one."})
    if left.kind != right.kind:
        raise ValidationError({"other": "One holds pairs, the other preferences; they have no rows in common."})


def counts(left: Dataset, right: Dataset) -> dict[str, int]:
    """How many rows each kind of difference has, and how many are the `same` in both."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            SELECT count(*), count(*) FILTER (WHERE one.split <> two.split), count(*) FILTER (WHERE {CHANGED}),
                count(*) FILTER (WHERE one.split = two.split AND NOT {CHANGED}) {MATCHED}
            """,
            {"left": left.pk, "right": right.pk},
        )
        matched, moved, changed, same = cursor.fetchone()
    return {
        "left": left.size - matched,
        "right": right.size - matched,
        "moved": moved,
        "changed": changed,
        "same": same,
    }


def rows(left: Dataset, right: Dataset, kind: str, after: int = -1, size: int = SIZE) -> list[dict[str, Any]]:
    """The rows of one kind of difference, by their position in the dataset that has them (the first for both).

    Each is a mapping with position, external_id, text and, under `left` and `right`, what each dataset has of it
    (split, rewrite, rejected, labels) or None.
    """
    both = kind in ("moved", "changed")
    columns = ["one.position", "one.external_id", "one.text"]
    columns += [f"one.{name}" for name in SIDE]
    if both:
        columns += [f"two.{name}" for name in SIDE]
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {', '.join(columns)} {FOUND[kind]} AND one.position > %(after)s "
            "ORDER BY one.position LIMIT %(size)s",
            {"left": left.pk, "right": right.pk, "after": after, "size": size},
        )
        found = cursor.fetchall()
    return [_row(row, kind) for row in found]


SIDE = ("split", "rewrite", "rejected", "labels::text")


def _row(row: tuple[Any, ...], kind: str) -> dict[str, Any]:
    first, second = _side(row[3:7]), _side(row[7:11])
    sides: Mapping[str, Any] = {"right": first, "left": None} if kind == "right" else {"left": first, "right": second}
    changes = {}
    if first and second:
        keys = sorted({*first["labels"], *second["labels"]})
        pairs = {key: (first["labels"].get(key), second["labels"].get(key)) for key in keys}
        changes = {key: pair for key, pair in pairs.items() if pair[0] != pair[1]}
    return {"label_changes": changes, "position": row[0], "external_id": row[1], "text": row[2], **sides}


def _side(values: tuple[Any, ...]) -> dict[str, Any] | None:
    if not values:
        return None
    split, rewrite, rejected, labels = values
    return {"split": split, "rewrite": rewrite, "rejected": rejected, "labels": json.loads(labels)}
