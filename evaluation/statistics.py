"""The statistics of a study: arrays in, dataclasses out. Nothing here knows about the database.

Ratings come as arrays whose first axis is the item (the text), because items are what is resampled: ratings
of one text resemble each other, so a bootstrap that drew single ratings would give intervals that are too
narrow.

A result has its figures, or says in `reason`, in words, why one cannot be given. No function returns a number
that stands for "no data", and none draws from a global random generator.
"""

import warnings
from dataclasses import dataclass

import krippendorff
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from evaluation.analysis.ranks import holm
from evaluation.analysis.ratings import versions
from evaluation.analysis.shares import share

__all__ = ["agreement", "compare", "holm", "mean_rating", "share", "versions"]

CONFIDENCE = 0.95
DRAWS = 9_999
ALPHA_DRAWS = 1_999  # each draw of alpha counts pairs again, so fewer
ZERO_METHOD = "pratt"

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A figure with its 95 % interval, in the unit of the ratings unless said otherwise.

    `estimate` is None where there is nothing to compute; `low` and `high` are None where no interval can be
    given. `reason` says why in words, and is empty where nothing is missing.
    """

    estimate: float | None
    low: float | None = None
    high: float | None = None
    n_items: int
    n_ratings: int
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A system against the reference: the mean difference (system minus reference) and the test of it.

    `p` is two-sided and not adjusted; None, with `test_reason`, where no test can be made.
    """

    difference: Estimate
    statistic: float | None
    p: float | None
    n_different: int
    test_reason: str = ""


def _as_ratings(values: ArrayLike, ndim: int, name: str) -> Floats:
    array = np.asarray(values, dtype=float)
    if array.ndim != ndim:
        raise ValueError(f"{name} must have {ndim} axes, got shape {array.shape}")
    return array


def mean_rating(ratings: ArrayLike, *, rng: np.random.Generator, draws: int = DRAWS) -> Estimate:
    """Mean of all ratings, with a 95 % percentile interval of a cluster bootstrap over items.

    Args:
        ratings: shape (n_items, n_reviewers), on the rating scale; NaN where a reviewer gave none.
        rng: numpy Generator whose seed is stored with the report. draws: how often the items are resampled.
    Returns:
        Estimate on the rating scale. An item without any rating is not counted in n_items.
    Raises:
        ValueError: ratings do not have two axes.
    Source: Davison & Hinkley, Bootstrap Methods and their Application (1997), section 3.8 (whole clusters are
        drawn), by scipy.stats.bootstrap. Assumes that the items were drawn independently of each other.
    """
    array = _as_ratings(ratings, 2, "ratings")
    counts = (~np.isnan(array)).sum(axis=1)
    sums = np.nansum(array, axis=1)
    rated = counts > 0
    counts, sums = counts[rated], sums[rated]
    n_items, n_ratings = int(rated.sum()), int(counts.sum())
    if n_items == 0:
        return Estimate(estimate=None, n_items=0, n_ratings=0, reason="No ratings.")
    mean = float(sums.sum() / counts.sum())
    if n_items == 1:
        reason = "One text only: no interval over texts."
        return Estimate(estimate=mean, n_items=1, n_ratings=n_ratings, reason=reason)
    if np.ptp(array[~np.isnan(array)]) == 0:
        reason = f"Every rating is {mean:g}: no interval."
        return Estimate(estimate=mean, n_items=n_items, n_ratings=n_ratings, reason=reason)
    drawn = stats.bootstrap(
        (sums, counts.astype(float)),
        lambda total, count, axis=-1: total.sum(axis=axis) / count.sum(axis=axis),
        paired=True,
        vectorized=True,
        n_resamples=draws,
        batch=200,
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=rng,
    )
    low, high = (float(value) for value in drawn.confidence_interval)
    return Estimate(estimate=mean, low=low, high=high, n_items=n_items, n_ratings=n_ratings)


def agreement(ratings: ArrayLike, *, levels: int, rng: np.random.Generator, draws: int = ALPHA_DRAWS) -> Estimate:
    """Krippendorff's alpha for ordinal ratings, with a 95 % percentile interval of a bootstrap over items.

    Args:
        ratings: shape (n_items, n_systems, n_reviewers), whole numbers 1..levels; NaN where a reviewer gave
            none. Each output (an item of a system) is a unit of its own; an item's outputs are drawn
            together.
        levels: how many levels the scale has.
        rng: numpy Generator whose seed is stored with the report. draws: how often the items are resampled.
    Returns:
        Estimate of alpha: 1 is perfect agreement, 0 what chance would give, below 0 less than chance. n_items
        and n_ratings count what can be compared: outputs with two or more ratings.
    Raises:
        ValueError: ratings do not have three axes, or hold a value that is not 1..levels.
    Source: Krippendorff, Content Analysis, 3rd ed. (2013), chapter 12, by the krippendorff package. Draws in
        which all ratings are equal have no alpha and are left out; with more than 5 % of such draws there is
        no interval.
    """
    array = _as_ratings(ratings, 3, "ratings")
    given = array[~np.isnan(array)]
    if given.size and not np.isin(given, np.arange(1, levels + 1)).all():
        raise ValueError(f"ratings must be whole numbers from 1 to {levels}")
    # How often each level was given to each output: (n_items, n_systems, levels).
    counts = (array[..., None] == np.arange(1, levels + 1)).sum(axis=2)
    pairable = counts.sum(axis=2) >= 2
    counts = np.where(pairable[..., None], counts, 0)[pairable.any(axis=1)]
    n_items, n_ratings = int(counts.shape[0]), int(counts.sum())
    if n_items == 0:
        reason = "No output was rated by two reviewers, so there is no agreement to measure."
        return Estimate(estimate=None, n_items=0, n_ratings=0, reason=reason)
    if (counts.sum(axis=(0, 1)) > 0).sum() == 1:
        reason = "Every rating is the same: without variation alpha is not defined."
        return Estimate(estimate=None, n_items=n_items, n_ratings=n_ratings, reason=reason)

    def alpha(items: NDArray[np.intp]) -> float:
        drawn = counts[items].reshape(-1, levels)
        if (drawn.sum(axis=0) > 0).sum() < 2:
            return float("nan")
        return float(
            krippendorff.alpha(
                value_counts=drawn,
                value_domain=np.arange(1, levels + 1),
                level_of_measurement="ordinal",
            )
        )

    items = np.arange(n_items)
    estimate = alpha(items)
    if n_items == 1:
        reason = "One text only: no interval over texts."
        return Estimate(estimate=estimate, n_items=1, n_ratings=n_ratings, reason=reason)
    drawn = _bootstrap_distribution(items, alpha, rng=rng, draws=draws)
    defined = drawn[~np.isnan(drawn)]
    if defined.size < 0.95 * drawn.size:
        reason = "Too few texts with differing ratings for an interval."
        return Estimate(estimate=estimate, n_items=n_items, n_ratings=n_ratings, reason=reason)
    tail = (1 - CONFIDENCE) / 2
    low, high = (float(value) for value in np.quantile(defined, [tail, 1 - tail]))
    return Estimate(estimate=estimate, low=low, high=high, n_items=n_items, n_ratings=n_ratings)


def _bootstrap_distribution(items, statistic, *, rng: np.random.Generator, draws: int) -> Floats:
    """The statistic of every resample. The interval is taken by the caller, which knows what NaN means
    there.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about NaN in the distribution, which the caller handles
        result = stats.bootstrap(
            (items,),
            lambda drawn: statistic(drawn),
            vectorized=False,
            n_resamples=draws,
            batch=100,
            method="percentile",
            rng=rng,
        )
    return np.asarray(result.bootstrap_distribution, dtype=float)


def compare(system: ArrayLike, reference: ArrayLike, *, rng: np.random.Generator, draws: int = DRAWS) -> Comparison:
    """A system against the reference on the same items: mean difference and Wilcoxon signed-rank test.

    The unit is the item: each reviewer's rating of the reference is taken from the same reviewer's rating of
    the system, and the differences of an item are averaged over its reviewers.

    Args:
        system, reference: shape (n_items, n_reviewers), same items and reviewers in the same order; NaN where
            there is no rating. Only reviewers who rated both count.
        rng: numpy Generator whose seed is stored with the report. draws: how often the items are resampled.
    Returns:
        Comparison. The difference is in levels of the scale, positive where the system was rated higher, with
        a 95 % percentile bootstrap interval over items. The p-value is two-sided, zero differences by Pratt's
        method (ranked with the others, their ranks then left out), exact or by permutation for small numbers
        as scipy chooses.
    Raises:
        ValueError: the shapes differ or do not have two axes.
    Source: Wilcoxon, Biometrics Bulletin 1 (1945); Pratt, JASA 54 (1959); by scipy.stats.wilcoxon.
    """
    first, second = _as_ratings(system, 2, "system"), _as_ratings(reference, 2, "reference")
    if first.shape != second.shape:
        raise ValueError(f"system and reference must have the same shape, got {first.shape} and {second.shape}")
    differences = first - second
    both = ~np.isnan(differences)
    counts = both.sum(axis=1)
    rated = counts > 0
    per_item = np.nansum(differences, axis=1)[rated] / counts[rated]
    # A mean of thirds can miss zero or a tie by one bit; the ranks must not see that.
    per_item = np.round(per_item, 12)
    n_items, n_ratings = int(rated.sum()), int(counts.sum())
    n_different = int(np.count_nonzero(per_item))
    if n_items == 0:
        reason = "No text has ratings of both."
        nothing = Estimate(estimate=None, n_items=0, n_ratings=0, reason=reason)
        return Comparison(difference=nothing, statistic=None, p=None, n_different=0, test_reason=reason)
    mean = float(per_item.mean())
    low = high = None
    reason = ""
    if n_items == 1:
        reason = "One text only: no interval over texts."
    elif np.ptp(per_item) == 0:
        reason = f"The difference is {mean:+g} on every text: no interval."
    else:
        drawn = stats.bootstrap(
            (per_item,),
            np.mean,
            n_resamples=draws,
            batch=200,
            confidence_level=CONFIDENCE,
            method="percentile",
            rng=rng,
        )
        low, high = (float(value) for value in drawn.confidence_interval)
    difference = Estimate(estimate=mean, low=low, high=high, n_items=n_items, n_ratings=n_ratings, reason=reason)
    if n_items == 1:
        test_reason = "One text only: no test."
    elif n_different == 0:
        test_reason = "No text differs: there is nothing to test."
    else:
        tested = stats.wilcoxon(per_item, zero_method=ZERO_METHOD, alternative="two-sided")
        return Comparison(
            difference=difference,
            statistic=float(tested.statistic),
            p=float(tested.pvalue),
            n_different=n_different,
        )
    return Comparison(difference=difference, statistic=None, p=None, n_different=n_different, test_reason=test_reason)
