"""What suggestions do to the people of a project, as one JSON document with a figure. Runs in a worker.

Sums per annotator or per text are made in SQL; the statistics are in suggestion_effects.py.
"""

import platform
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

import numpy as np
import scipy
from django.db import connection
from django.db.models import Count, F, Q, Sum
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Ln

from annotation import suggestion_figures, suggestions
from annotation.models import Dimension, SuggestionReport
from annotation.suggestion_effects import DRAWS, ENOUGH_ANNOTATORS, effect

# Gold: an answer is right where it is among the accepted levels, and so may a suggestion be.
GOLD = """
SELECT a.{cluster}, a.suggestion_shown,
    count(*) FILTER (WHERE NOT known.accepted ? (s.labels ->> known.key)) AS wrong,
    count(*) FILTER (WHERE NOT known.accepted ? (s.labels ->> known.key)
        AND known.accepted ? (a.labels ->> known.key)) AS wrong_hits,
    count(*) FILTER (WHERE known.accepted ? (s.labels ->> known.key)) AS right,
    count(*) FILTER (WHERE known.accepted ? (s.labels ->> known.key)
        AND known.accepted ? (a.labels ->> known.key)) AS right_hits
FROM annotation_annotation a
JOIN annotation_gold gold ON gold.item_id = a.item_id
JOIN annotation_suggestion s ON s.id = a.suggestion_id
CROSS JOIN LATERAL jsonb_each(gold.labels) AS known(key, accepted)
WHERE a.project_id = %(project)s AND a.kind = 'gold' AND s.labels ? known.key AND a.labels ? known.key
    AND (%(prompt)s::bigint IS NULL OR s.prompt_id = %(prompt)s)
GROUP BY 1, 2
"""


def run(report: SuggestionReport) -> dict[str, Any]:
    results = build(report)
    return {"results": results, "figure": suggestion_figures.effects(results), "message": "The report is complete."}


def build(report: SuggestionReport) -> dict[str, Any]:
    """Everything the page shows, JSON-ready.

    Returns:
        rows (key, name, unit, and an Effect each), counts, clusters, methods in words, seed, versions.
    """
    dimensions = list(Dimension.objects.filter(project=report.project_id))
    rows = suggestions.annotations_with_one(report.project_id, report.prompt_id)
    counts = rows.aggregate(
        annotations=Count("pk"),
        seen=Count("pk", filter=Q(suggestion_shown=True)),
        annotators=Count("annotator", distinct=True),
        texts=Count("item", distinct=True),
    )
    clusters = "annotators" if counts["annotators"] >= ENOUGH_ANNOTATORS else "texts"
    cluster = "annotator_id" if clusters == "annotators" else "item_id"
    results: dict[str, Any] = {
        "counts": counts,
        "clusters": clusters,
        "prompt": report.prompt.number if report.prompt else None,
        "seed": report.seed,
        "draws": DRAWS,
        "versions": {"Python": platform.python_version(), "numpy": np.__version__, "scipy": scipy.__version__},
        "rows": [],
    }
    wanted = _figures(dimensions)
    sums = _sums(rows, cluster, wanted)
    gold = _gold_sums(report, cluster)
    total = len(wanted) + len(gold)
    for place, (key, name, unit, arrays) in enumerate([*_named(wanted, sums), *gold]):
        report.report(place, total, f"Computing: {name}"[:300])
        rng = np.random.default_rng([report.seed, place])
        results["rows"].append(
            {"key": key, "name": name, "unit": unit, **asdict(effect(*arrays, rng=rng, logs=unit == "seconds"))}
        )
    results["methods"] = methods(results)
    return results


def _figures(dimensions: list[Dimension]) -> list[dict[str, Any]]:
    """key, name, unit, and the expressions of sum and count of every figure."""
    figures: list[dict[str, Any]] = []
    for dimension in dimensions:
        known = Q(suggestion__labels__has_key=dimension.key, labels__has_key=dimension.key)
        same = known & Q(**{f"own_{dimension.pk}": F(f"suggested_{dimension.pk}")})
        figures.append(
            {
                "key": f"accepted:{dimension.key}",
                "name": f"{dimension.name}: label as suggested",
                "unit": "share",
                "annotate": {
                    f"own_{dimension.pk}": KeyTextTransform(dimension.key, "labels"),
                    f"suggested_{dimension.pk}": KeyTextTransform(dimension.key, "suggestion__labels"),
                },
                "sum": Count("pk", filter=same),
                "count": Count("pk", filter=known),
            }
        )
    compared = Q(suggestion_distance__isnull=False)
    figures += [
        {
            "key": "rewrite:distance",
            "name": "Rewrite: edit distance from the suggested one",
            "unit": "share",
            "sum": Sum("suggestion_distance"),
            "count": Count("pk", filter=compared),
        },
        {
            "key": "rewrite:unchanged",
            "name": "Rewrite: exactly as suggested",
            "unit": "share",
            "sum": Count("pk", filter=Q(suggestion_distance=0)),
            "count": Count("pk", filter=compared),
        },
        {
            "key": "time",
            "name": "Active time",
            "unit": "seconds",
            "sum": Sum(Ln("active_seconds"), filter=Q(active_seconds__gt=0)),
            "count": Count("pk", filter=Q(active_seconds__gt=0)),
        },
    ]
    return figures


Arrays = list[np.ndarray]


def _sums(rows, cluster: str, figures: list[dict[str, Any]]) -> np.ndarray:
    """Shape (figures, 4, clusters): sum and count seen, sum and count unseen. One query."""
    annotations: dict[str, Any] = {}
    aggregates: dict[str, Any] = {}
    for place, figure in enumerate(figures):
        annotations |= figure.get("annotate", {})
        aggregates |= {f"sum_{place}": figure["sum"], f"count_{place}": figure["count"]}
    found = (
        rows.annotate(**annotations)
        .order_by()
        .values(cluster, "suggestion_shown")
        .annotate(**aggregates)
        .values_list(cluster, "suggestion_shown", *aggregates)
    )
    return _table(found.iterator(chunk_size=10_000), len(figures))


def _table(found: Iterable[tuple], figures: int) -> np.ndarray:
    """Rows (cluster, seen, sum and count of each figure) as an array of shape (figures, 4, clusters)."""
    places: dict[int, int] = {}
    seen: list[list[float]] = []
    for cluster, is_seen, *values in found:
        row = places.setdefault(cluster, len(places))
        seen.append([row, float(is_seen), *(float(value or 0) for value in values)])
    table = np.zeros((figures, 4, len(places)))
    if seen:
        flat = np.array(seen)
        place, side = flat[:, 0].astype(int), np.where(flat[:, 1] > 0, 0, 2)
        for figure in range(figures):
            table[figure, side, place] = flat[:, 2 + 2 * figure]
            table[figure, side + 1, place] = flat[:, 3 + 2 * figure]
    return table


def _named(figures: list[dict[str, Any]], sums: np.ndarray):
    for figure, table in zip(figures, sums, strict=True):
        yield figure["key"], figure["name"], figure["unit"], list(table)


def _gold_sums(report: SuggestionReport, cluster: str) -> list[tuple[str, str, str, Arrays]]:
    """Accuracy on texts with a known answer, apart for wrong and right suggestions; empty where there are none."""
    with connection.cursor() as cursor:
        # Only one of two names of columns is put in.
        cursor.execute(GOLD.format(cluster=cluster), {"project": report.project_id, "prompt": report.prompt_id})
        found = [
            (place, shown, wrong_hits, wrong, right_hits, right)
            for place, shown, wrong, wrong_hits, right, right_hits in cursor.fetchall()
        ]
    if not found:
        return []
    wrong, right = _table(found, 2)
    return [
        ("gold:wrong", "Known answers: right though the suggestion was wrong", "share", list(wrong)),
        ("gold:right", "Known answers: right where the suggestion was right", "share", list(right)),
    ]


def methods(results: dict[str, Any]) -> str:
    """How the figures came about, for a paper."""
    counts, versions = results["counts"], results["versions"]
    which = f"version {results['prompt']} of the prompt" if results["prompt"] else "all versions of the prompt"
    if results["clusters"] == "annotators":
        drawn = "Whole annotators were resampled with all they did, so intervals speak for other annotators like these."
    else:
        drawn = (
            f"With fewer than {ENOUGH_ANNOTATORS} annotators, whole texts were resampled with all their annotations, "
            "so intervals speak for other texts and these annotators."
        )
    return (
        f"Over {counts['annotations']:,} annotations of {counts['texts']:,} texts by {counts['annotators']:,} "
        f"annotators ({which}), {counts['seen']:,} were made with the model's suggestion on screen. For each "
        "annotator and text a draw from a stored seed decided before anything was shown whether it was, so the "
        "difference between seen and unseen is the effect of seeing the suggestion (automation bias: Parasuraman & "
        "Manzey, Human Factors 52 (2010), 381-410). Unseen, a label as suggested shows how often people and model "
        "agree anyway. Edit distance is the normalised Levenshtein distance, 0 the same and 1 all different, over "
        "annotations with a rewrite. Active times are geometric means, and their change is a ratio. Repeated texts "
        "and practice are left out; of a revised annotation the newest revision counts. "
        f"Intervals are 95 % percentile intervals of a cluster bootstrap with {results['draws']:,} draws (Davison & "
        f"Hinkley 1997; scipy.stats.bootstrap; seed {results['seed']}). {drawn} They are not adjusted for the number "
        f"of figures. Computed with {', '.join(f'{name} {version}' for name, version in versions.items())}."
    )
