"""What a closed study found, as one JSON document: figures with their intervals, and the method in words.

Runs in a worker. Ratings are read as bare values into arrays; the statistics are in `statistics.py`.
"""

import platform
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np
from django.db.models import Count, Q
from django.template.loader import render_to_string

from annotation.jobs import JobError
from evaluation import figures, judging, statistics
from evaluation.models import Rating, Report, ReviewTask, Study, TaskKind

# What a random draw is for. Each has its own generator, so that adding one does not change the others.
MEAN, AGREEMENT, DIFFERENCE = range(3)
SIGNIFICANT = 0.05


def run(report: Report) -> dict[str, Any]:
    """Compute a report. Raises JobError when its study is still running."""
    if not report.study.is_closed:
        raise JobError("The study is not closed yet.")
    results = build(report.study, report.seed, on_progress=report.report)
    drawn = {"means": figures.means(results), "preferences": figures.preferences(results)}
    return {"results": results, "figures": drawn, "message": "The report is complete."}


def build(study: Study, seed: int, on_progress: Callable[[int, int, str], None] | None = None) -> dict[str, Any]:
    """Everything the report page shows.

    Args:
        seed: of all random draws. on_progress: called with figures done, figures in all, and a sentence.

    Returns:
        JSON-ready: systems (the reference first), criteria, counts, means, agreement, comparisons,
        preferences, answers, methods, versions. Every figure carries its n, or a reason why it is missing.
    """
    criteria = list(study.criteria.all())
    systems = sorted(study.systems.all(), key=lambda system: (system.pk != study.reference_id, system.pk))
    ratings = _ratings(study, [criterion.pk for criterion in criteria], [system.pk for system in systems])
    total = len(criteria) * (2 * len(systems))
    done = 0

    def step(message: str) -> None:
        nonlocal done
        done += 1
        if on_progress:
            on_progress(done, total, message)

    means, agreement, comparisons = [], [], []
    for c, criterion in enumerate(criteria):
        for s, system in enumerate(systems):
            mean = statistics.mean_rating(ratings[c, :, s], rng=_rng(seed, MEAN, c, s))
            means.append({"criterion": criterion.key, "system": system.pk, **asdict(mean)})
            step(f"Means: {criterion.name}")
        alpha = statistics.agreement(ratings[c], levels=criterion.levels, rng=_rng(seed, AGREEMENT, c, 0))
        agreement.append({"criterion": criterion.key, **asdict(alpha)})
        step(f"Agreement: {criterion.name}")
        for s, system in enumerate(systems[1:], start=1):
            compared = statistics.compare(ratings[c, :, s], ratings[c, :, 0], rng=_rng(seed, DIFFERENCE, c, s))
            comparisons.append({"criterion": criterion.key, "system": system.pk, **asdict(compared)})
            step(f"Comparisons: {criterion.name}")
    adjusted = statistics.holm([row["p"] for row in comparisons])
    for row, p in zip(comparisons, adjusted, strict=True):
        row["p_holm"] = p
        row["verdict"] = _verdict(row)

    results: dict[str, Any] = {
        "levels": max((criterion.levels for criterion in criteria), default=2),
        "reference": study.reference_id,
        "systems": [
            {
                "id": system.pk,
                "name": system.name,
                "kind": system.get_kind_display(),
                "is_scratch": system.is_scratch,
            }
            for system in systems
        ],
        "criteria": [
            {"key": c.key, "name": c.name, "question": c.question, "low": c.low, "high": c.high} for c in criteria
        ],
        "counts": _counts(study),
        "means": means,
        "agreement": agreement,
        "comparisons": comparisons,
        "preferences": _preferences(study, [system.pk for system in systems]),
        "judges": judging.results(study),
        "seeds": {"study": study.seed, "bootstrap": seed},
        "draws": {"bootstrap": statistics.DRAWS, "alpha": statistics.ALPHA_DRAWS},
        "versions": {"Python": platform.python_version(), **statistics.versions()},
    }
    results["methods"] = methods(results)
    return results


def _rng(seed: int, *purpose: int) -> np.random.Generator:
    return np.random.default_rng([seed, *purpose])


def _ratings(study: Study, criteria: list[int], systems: list[int]) -> statistics.Floats:
    """Ratings of finished tasks: shape (criteria, items, systems, reviewers), NaN where there is none."""
    tasks = ReviewTask.objects.filter(study=study).order_by()
    items = {
        pk: place for place, pk in enumerate(tasks.values_list("item_id", flat=True).distinct().order_by("item_id"))
    }
    people = tasks.values_list("reviewer_id", flat=True).distinct().order_by("reviewer_id")
    reviewers = {pk: place for place, pk in enumerate(people)}
    criterion_at = {pk: place for place, pk in enumerate(criteria)}
    system_at = {pk: place for place, pk in enumerate(systems)}
    array = np.full((len(criteria), len(items), len(systems), len(reviewers)), np.nan)
    rows = (
        Rating.objects.filter(
            slot__task__study=study,
            slot__task__kind=TaskKind.RATING,
            slot__task__done_at__isnull=False,
            value__isnull=False,
        )
        .order_by()
        .values_list(
            "criterion_id",
            "slot__task__item_id",
            "slot__outputs__system_id",
            "slot__task__reviewer_id",
            "value",
        )
    )
    for criterion, item, system, reviewer, value in rows.iterator(chunk_size=10_000):
        array[criterion_at[criterion], items[item], system_at[system], reviewers[reviewer]] = value
    return array


def _counts(study: Study) -> dict[str, int]:
    counts = study.tasks.aggregate(
        tasks=Count("pk"),
        finished=Count("pk", filter=Q(done_at__isnull=False)),
        items=Count("item", distinct=True),
        items_rated=Count("item", distinct=True, filter=Q(done_at__isnull=False)),
        reviewers=Count("reviewer", distinct=True),
        reviewers_who_rated=Count("reviewer", distinct=True, filter=Q(done_at__isnull=False)),
    )
    counts["ratings"] = Rating.objects.filter(slot__task__study=study).count()
    return counts


def _preferences(study: Study, systems: list[int]) -> dict[str, Any]:
    finished = ReviewTask.objects.filter(study=study).counted().order_by()
    chosen = dict(
        finished.filter(preferred__isnull=False).values_list("preferred__outputs__system_id").annotate(n=Count("pk"))
    )
    ties = finished.filter(tie=True).count()
    n = sum(chosen.values()) + ties
    return {
        "n": n,
        "ties": asdict(statistics.share(ties, n)),
        "systems": [
            {"system": system, "share": asdict(statistics.share(chosen.get(system, 0), n))} for system in systems
        ],
    }


def _verdict(row: dict[str, Any]) -> str:
    """What a comparison says, in one word: higher, lower, unclear, or none where no test could be made."""
    if row["p_holm"] is None:
        return "none"
    if row["p_holm"] >= SIGNIFICANT:
        return "unclear"
    difference = row["difference"]
    if difference["low"] is not None and difference["low"] <= 0 <= difference["high"]:
        return "unclear"  # the ranks differ, but the mean's interval does not say in which direction
    return "higher" if difference["estimate"] > 0 else "lower"


def methods(results: dict[str, Any]) -> str:
    """The method in words, ready for a paper: what was done, with which n, seeds, versions and sources."""
    names = {system["id"]: system["name"] for system in results["systems"]}
    tests = sum(row["p"] is not None for row in results["comparisons"])
    context = results | {
        "reference_name": names[results["reference"]],
        "tests": tests,
        "untested": len(results["comparisons"]) - tests,
        "significant": SIGNIFICANT,
        "scratch": [system["name"] for system in results["systems"] if system["is_scratch"]],
    }
    return " ".join(render_to_string("evaluation/methods.txt", context).split())
