"""What suggestions do to people: arrays in, dataclasses out. Nothing here knows about the database.

Whether a person sees a text's suggestion is drawn at random, so seen minus unseen is the effect of seeing it. Figures
come as sums and counts per cluster (an annotator, or a text): what one annotator does resembles itself, and so do
annotations of one text, so whole clusters are drawn by the bootstrap.

A figure that cannot be given is None and `reason` says why in words. Nothing draws from a global random generator.
"""

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

CONFIDENCE = 0.95
DRAWS = 1_999
# Fewer annotators than this, drawn as clusters, give intervals that are too narrow; texts are drawn then.
ENOUGH_ANNOTATORS = 10
AT_ONCE = 2_000_000  # cluster draws held in memory

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A figure with its 95 % interval. `n` counts annotations."""

    estimate: float | None
    low: float | None = None
    high: float | None = None
    n: int
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Effect:
    """A figure where the suggestion was seen, where it was withheld, and what seeing it changed.

    `change` is the difference (seen minus unseen), or for ratios seen divided by unseen.
    """

    seen: Estimate
    unseen: Estimate
    change: Estimate
    is_ratio: bool = False
    n_clusters: int


def effect(
    seen_sums: ArrayLike,
    seen_counts: ArrayLike,
    unseen_sums: ArrayLike,
    unseen_counts: ArrayLike,
    *,
    rng: np.random.Generator,
    logs: bool = False,
    draws: int = DRAWS,
) -> Effect:
    """Means where a suggestion was seen and where it was withheld, and their difference, with 95 % intervals.

    Args:
        seen_sums, unseen_sums: shape (n_clusters,), the sum of the figure over a cluster's annotations.
        seen_counts, unseen_counts: shape (n_clusters,), how many annotations that were; 0 where there is none.
        rng: numpy Generator whose seed is stored with the report.
        logs: the sums are of natural logarithms: the means are geometric, and the change is their ratio.
        draws: how often the clusters are resampled.
    Returns:
        Effect in the figure's unit. Clusters without any annotation are not counted.
    Raises:
        ValueError: the arrays differ in shape, or a count is negative.
    Source: percentile intervals of a cluster bootstrap (Davison & Hinkley, Bootstrap Methods and their Application,
        1997, section 3.8; Field & Welsh, JRSS B 69 (2007), 369-390) by scipy.stats.bootstrap. Draws in which a
        condition is empty are left out; with more than 5 % of such draws there is no interval.
    """
    arrays = [np.asarray(values, dtype=float) for values in (seen_sums, seen_counts, unseen_sums, unseen_counts)]
    if len({array.shape for array in arrays}) != 1 or arrays[0].ndim != 1:
        raise ValueError("sums and counts must have one and the same axis")
    if (arrays[1] < 0).any() or (arrays[3] < 0).any():
        raise ValueError("counts must not be negative")
    used = (arrays[1] + arrays[3]) > 0
    arrays = [array[used] for array in arrays]
    n_clusters, n_seen, n_unseen = int(used.sum()), int(arrays[1].sum()), int(arrays[3].sum())
    figures = _figures(*arrays, axis=-1)
    intervals, why = _intervals(arrays, rng, draws)
    back = np.exp if logs else np.asarray

    def estimate(place: int, n: int, missing: str) -> Estimate:
        if not np.isfinite(figures[place]):
            return Estimate(estimate=None, n=n, reason=missing)
        value = float(back(figures[place]))
        low, high = intervals[place]
        if np.isnan(low):
            return Estimate(estimate=value, n=n, reason=why)
        if low == high:
            return Estimate(estimate=value, n=n, reason="No variation, so no interval.")
        return Estimate(estimate=value, low=float(back(low)), high=float(back(high)), n=n)

    return Effect(
        seen=estimate(0, n_seen, "Nobody has annotated with the suggestion on screen yet."),
        unseen=estimate(1, n_unseen, "Nobody has annotated with the suggestion withheld yet."),
        change=estimate(2, n_seen + n_unseen, "There is nothing to compare yet."),
        is_ratio=logs,
        n_clusters=n_clusters,
    )


def _figures(*arrays: Floats, axis: int) -> Floats:
    """Mean seen, mean unseen, difference; NaN where there is nothing to divide by."""
    seen, n_seen, unseen, n_unseen = arrays
    with np.errstate(divide="ignore", invalid="ignore"):
        first = seen.sum(axis=axis) / n_seen.sum(axis=axis)
        second = unseen.sum(axis=axis) / n_unseen.sum(axis=axis)
    return np.stack([first, second, first - second])


def _intervals(arrays: list[Floats], rng: np.random.Generator, draws: int) -> tuple[Floats, str]:
    """(low, high) of the three figures, NaN where none can be given, and why then."""
    n_clusters = arrays[0].size
    none = np.full((3, 2), np.nan)
    if n_clusters < 2:
        return none, "Everything is from one cluster, so there is no interval."
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about draws in which a condition is empty, which are dealt with below
        drawn = stats.bootstrap(
            arrays,
            _figures,
            paired=True,
            vectorized=True,
            n_resamples=draws,
            batch=max(1, AT_ONCE // n_clusters),
            method="percentile",
            rng=rng,
        ).bootstrap_distribution
    tail = (1 - CONFIDENCE) / 2
    found = none
    for place, values in enumerate(drawn):
        defined = values[np.isfinite(values)]
        if defined.size >= 0.95 * values.size:
            found[place] = np.quantile(defined, [tail, 1 - tail])
    return found, "Too few annotations for an interval."
