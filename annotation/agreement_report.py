"""The agreement of a project's annotators as one JSON document, for the page, the API, the downloads and exports."""

import itertools
from collections.abc import Iterator
from dataclasses import asdict
from datetime import timedelta
from importlib.metadata import version
from typing import Any

import numpy as np
from django.core.exceptions import ValidationError
from django.template.loader import render_to_string
from django.utils import timezone

from annotation import agreement, agreement_data, exports
from annotation.agreement import Estimate
from annotation.agreement_data import Filters, Patterns
from annotation.models import Dimension, Project, Role, Scale

SEED = 7  # of every random draw; the methods paragraph names it
# What a random draw is for. Each has its own generator, so that adding one does not change the others.
WHOLE, DRIFT, SPANS = range(3)
DRIFT_DRAWS = 999
MAX_POINTS = 30  # of a curve over time
UNITS = {"day": 1, "week": 7, "month": 30, "quarter": 91, "year": 365}  # in days, about
DEFAULT_FIGURE = "alpha"
MAX_PAIRS = 500  # rows of the table of annotators

# Krippendorff, Content Analysis, 3rd ed. (2013), chapter 12: what may be concluded from labels of this reliability.
RELIABLE, TENTATIVE = 0.800, 0.667


def build(project: Project, filters: Filters, figure: str = DEFAULT_FIGURE) -> dict[str, Any]:
    """Everything the agreement page shows but the table of pairs of annotators.

    Args:
        figure: the coefficient whose course over time is shown, a key of agreement.NAMES.

    Returns:
        JSON-ready: filters, counts, dimensions (each with its coefficients, a sentence on how to read them, its levels'
        shares and, for two annotators, their confusion), drift, spans, methods, versions. Every figure carries its n,
        or a reason why it is missing.

    Raises:
        ValidationError: there is no such figure.
    """
    if figure not in agreement.NAMES:
        raise ValidationError({"figure": f"Choose one of {', '.join(agreement.NAMES)}."})
    tables = agreement_data.patterns(project, filters)
    found = [_dimension(table, place) for place, table in enumerate(tables)]
    if filters.pair:
        for row, (dimension, confusion) in zip(found, agreement_data.confusions(project, filters), strict=True):
            row["confusion"] = {"first": filters.first, "second": filters.second, "counts": confusion.tolist()}
            row["cohen"] = _cohen(confusion, dimension)
    report: dict[str, Any] = {
        "project": project.pk,
        "name": project.name,
        "computed_at": timezone.now().isoformat(timespec="seconds"),
        "filters": filters.given(),
        "counts": _counts(tables, agreement_data.people_count(project, filters)),
        "dimensions": found,
        "drift": _drift(tables, figure),
        "spans": _spans(project, filters),
        "seed": SEED,
        "draws": {"alpha": agreement.DRAWS, "drift": DRIFT_DRAWS, "spans": agreement.DRAWS},
        "versions": {"NumPy": version("numpy"), "SciPy": version("scipy")},
    }
    report["methods"] = methods(report)
    return report


def _counts(tables: list[Patterns], annotators: int) -> dict[str, int]:
    """Texts and annotations that count. Every annotation has a label for each dimension it was made with."""
    ratings = [int(table.items @ table.counts.sum(axis=1)) for table in tables]
    texts = [int(table.items[table.counts.sum(axis=1) > 0].sum()) for table in tables]
    return {"annotators": annotators, "texts": max(texts, default=0), "annotations": max(ratings, default=0)}


def _dimension(table: Patterns, place: int) -> dict[str, Any]:
    dimension, ordinal = table.dimension, table.dimension.scale == Scale.ORDINAL
    found = agreement.coefficients(*table.whole(), ordinal=ordinal, seed=[SEED, WHOLE, place])
    levels = table.levels
    shares = (levels / levels.sum()).tolist() if levels.sum() else [None] * len(dimension.levels)
    return {
        "key": dimension.key,
        "name": dimension.name,
        "scale": dimension.scale,
        "levels": [{"level": level, "share": share} for level, share in zip(dimension.levels, shares, strict=True)],
        "coefficients": [as_dict(key, estimate) for key, estimate in found.items()],
        "reading": reading(found, dimension, shares),
    }


def as_dict(key: str, estimate: Estimate) -> dict[str, Any]:
    return {"key": key, "name": agreement.NAMES.get(key, key), **asdict(estimate)}


def reading(found: dict[str, Estimate], dimension: Dimension, shares: list[float | None]) -> str:
    """How to read a dimension's coefficients, in plain sentences."""
    percent, alpha, ac1 = found["percent"], found["alpha"], found["ac1"]
    if percent.estimate is None:
        return percent.reason
    said = f"Two people who label the same text choose the same level in {_percent(percent.estimate)} of cases."
    if alpha.estimate is None:
        return f"{said} {alpha.reason}"
    low = alpha.estimate if alpha.low is None else alpha.low
    if alpha.low is None:
        said += f" {alpha.reason}"
    elif low >= RELIABLE:
        said += " α is 0.80 or more with its whole interval: the labels can be relied upon."
    elif low >= TENTATIVE:
        said += " α is above 0.667 with its whole interval: good enough for tentative conclusions, not for firm ones."
    elif alpha.high is not None and alpha.high < TENTATIVE:
        said += " α is below 0.667 with its whole interval: one person’s label says too little; look at the guidelines."
    else:
        said += " The interval of α holds 0.667: too few texts to tell whether the labels can be relied upon."
    top = max((share or 0, level) for share, level in zip(shares, dimension.levels, strict=True))
    if ac1.estimate is not None and ac1.estimate - alpha.estimate > 0.2 and top[0] >= 0.75:
        said += (
            f" {_percent(top[0])} of all labels are “{top[1]}”, which lowers κ and α however well people agree; "
            "AC1 is made for this case."
        )
    return said


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _cohen(confusion, dimension: Dimension) -> list[dict[str, Any]]:
    found = [{**as_dict("cohen", agreement.cohen_kappa(confusion)), "name": "Cohen’s κ"}]
    if dimension.scale == Scale.ORDINAL and len(dimension.levels) > 2:
        weighted = agreement.cohen_kappa(confusion, linear=True)
        found.append({**as_dict("cohen_linear", weighted), "name": "Cohen’s κ, linear weights"})
    return found


# Over time


def _drift(tables: list[Patterns], figure: str) -> dict[str, Any]:
    """The course of one coefficient: texts by the day of their last annotation, in steps for 30 points or less."""
    days = [table.days for table in tables if table.days.size]
    drift: dict[str, Any] = {"figure": figure, "name": agreement.NAMES[figure], "unit": "", "dimensions": []}
    if not days:
        return drift
    first, last = min(day.min() for day in days), max(day.max() for day in days)
    length = int((last - first).astype(int)) + 1
    drift["unit"] = next((unit for unit, size in UNITS.items() if length / size <= MAX_POINTS), "year")
    edges = _edges(first, last, drift["unit"])
    for place, table in enumerate(tables):
        ordinal = table.dimension.scale == Scale.ORDINAL
        points = []
        for number, (start, end) in enumerate(itertools.pairwise(edges)):
            estimate = agreement.coefficient(
                figure,
                *table.between(start, end),
                ordinal=ordinal,
                seed=[SEED, DRIFT, place, number],
                draws=DRIFT_DRAWS,
            )
            days_of = {"from": str(start), "to": str(end.astype(object) - timedelta(days=1))}
            points.append(days_of | asdict(estimate))
        drift["dimensions"].append({"key": table.dimension.key, "name": table.dimension.name, "points": points})
    return drift


def _edges(first: np.datetime64, last: np.datetime64, unit: str) -> list[np.datetime64]:
    """The first day of each step from the one that holds `first`, and the day after the one that holds `last`."""
    if unit == "day":
        return list(np.arange(first, last + 2))
    if unit == "week":  # ISO weeks begin on Mondays, and 1970-01-01, day 0, was a Thursday
        monday = first - (first.astype(int) + 3) % 7
        return list(np.arange(monday, last + 8, 7))
    months = {"month": 1, "quarter": 3, "year": 12}[unit]
    start, end = first.astype("datetime64[M]").astype(int), last.astype("datetime64[M]").astype(int)
    start -= start % months
    steps = np.arange(start, end + months + 1, months)
    steps = steps[: np.searchsorted(steps, end, side="right") + 1]
    return list(steps.astype("datetime64[M]").astype("datetime64[D]"))


# Marks


def _spans(project: Project, filters: Filters) -> dict[str, Any]:
    """Agreement on the marked words, over a sample where there are many texts."""
    texts, all_texts = agreement_data.span_sample(project, filters, SEED)
    estimate = agreement.span_f1(texts, rng=np.random.default_rng([SEED, SPANS]))
    found = {"key": "span_f1", "name": "Character-level F1", **asdict(estimate)}
    return found | {"texts": all_texts, "drawn": len(texts), "is_sample": len(texts) < all_texts}


# Pairs of annotators


def pairs(project: Project, filters: Filters, dimension: Dimension) -> dict[str, Any]:
    """Percent agreement and Cohen's kappa of every two annotators for one dimension, by their names.

    At most MAX_PAIRS of them; `more` says how many there are besides.
    """
    linear = dimension.scale == Scale.ORDINAL and len(dimension.levels) > 2
    rows: list[dict[str, Any]] = []
    more = 0
    for pair in agreement_data.all_pairs(project, filters, dimension):
        if len(rows) >= MAX_PAIRS:
            more += 1
            continue
        texts = int(pair.confusion.sum())
        kappa = agreement.cohen_kappa(pair.confusion)
        row = {"first": pair.first, "second": pair.second, "texts": texts}
        row["percent"] = float(np.trace(pair.confusion) / texts)
        row["cohen"] = as_dict("cohen", kappa) | {"name": "Cohen’s κ"}
        if linear:
            weighted = agreement.cohen_kappa(pair.confusion, linear=True)
            row["cohen_linear"] = as_dict("cohen_linear", weighted) | {"name": "Cohen’s κ, linear weights"}
        rows.append(row)
    return {"dimension": dimension.key, "name": dimension.name, "linear": linear, "pairs": rows, "more": more}


# In words and as rows


def methods(report: dict[str, Any]) -> str:
    """The method in words, ready for a paper: what was compared, with which n, seed, versions and sources."""
    by_scale = {scale: [row["name"] for row in report["dimensions"] if row["scale"] == scale] for scale in Scale.values}
    widest = max((row["coefficients"][0] for row in report["dimensions"]), key=lambda one: one["n_items"], default=None)
    context = report | {
        "ordinal": by_scale[Scale.ORDINAL],
        "nominal": by_scale[Scale.NOMINAL],
        "compared": widest,
        "minimum": agreement.MIN_ITEMS,
    }
    return " ".join(render_to_string("annotation/agreement_methods.txt", context).split())


COLUMNS = [
    *("dimension", "scale", "coefficient", "estimate", "low", "high", "standard_error"),
    *("texts", "annotations", "texts_left_out", "annotators", "reason"),
    *agreement_data.FILTERS,
    "computed_at",
]


def rows(report: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The agreement table, one row a coefficient of a dimension; COLUMNS names its columns."""
    common = {name: report["filters"].get(name, "") for name in agreement_data.FILTERS}
    common |= {"annotators": report["counts"]["annotators"], "computed_at": report["computed_at"]}
    for dimension in report["dimensions"]:
        for one in [*dimension["coefficients"], *dimension.get("cohen", [])]:
            yield _row(dimension["key"], dimension["scale"], one, common)
    yield _row("spans", "", report["spans"], common)


def _row(dimension: str, scale: str, one: dict[str, Any], common: dict[str, Any]) -> dict[str, Any]:
    return {
        "dimension": dimension,
        "scale": scale,
        "coefficient": one["key"],
        "estimate": one["estimate"],
        "low": one["low"],
        "high": one["high"],
        "standard_error": one["se"],
        "texts": one["n_items"],
        "annotations": one["n_ratings"],
        "texts_left_out": one["n_single"],
        "reason": one["reason"],
        **common,
    }


def table(project: Project, filters: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The agreement table's rows, with COLUMNS, of the annotations that `filters` (clean_filters) name."""
    return rows(build(project, agreement_data.clean_filters(project, filters)))


# What the columns of a Parquet file hold that are not text.
TYPES = {
    **dict.fromkeys(("estimate", "low", "high", "standard_error"), "number"),
    **dict.fromkeys(("texts", "annotations", "texts_left_out", "annotators"), "whole"),
}
exports.register(
    exports.Exporter(
        kind="agreement",
        title="Agreement table",
        formats=("csv", "jsonl", "parquet"),
        roles=(Role.LEAD, Role.TRAINER),
        columns=lambda export: COLUMNS,
        rows=lambda export: table(export.project, export.filters),
        count=lambda export: 0,  # a few rows; how many is known once they are computed
        clean=lambda project, filters: agreement_data.clean_filters(project, filters).given(),
        types=lambda export: TYPES,
        filters=("since", "until", "language"),
    )
)
