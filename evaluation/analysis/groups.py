"""Figures by target group or stratum: each group's own, and one that borrows from the other groups.

A group of few texts has an uncertain mean, and of many groups some look good or bad by chance alone. Partial pooling
moves each group's mean towards that of all, the more the less its own texts say (empirical Bayes: Morris, JASA 78
(1983)), which makes the largest differences believable without testing each (Gelman, Hill & Yajima, Journal of Research
on Educational Effectiveness 5 (2012)).
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize, stats

from evaluation.analysis.means import difference, item_differences, item_means, summaries
from evaluation.analysis.ratings import TAIL, Estimate, Floats, Ints, Ratings
from evaluation.analysis.resampling import DRAWS

MIN_ITEMS = 5  # for an interval of a group's own
FEW = f"Fewer than {MIN_ITEMS} texts: no interval of its own."
POOLED = "Over texts only: the reviewers are the same in all groups."


@dataclass(frozen=True, kw_only=True)
class Group:
    """One group. plain: its own figure, the interval over texts and reviewers; pooled: the partially pooled one."""

    group: int
    plain: Estimate
    pooled: Estimate


@dataclass(frozen=True, kw_only=True)
class Groups:
    """between: standard deviation of the groups' true figures, as estimated; None, with `reason`, without pooling."""

    groups: tuple[Group, ...]
    between: float | None
    reason: str = ""


def means_by_group(
    ratings: Ratings, groups: ArrayLike, system: int, *, rng: np.random.Generator, draws: int = DRAWS
) -> Groups:
    """Mean rating of a system in each group.

    Args:
        groups: a code for each item, shape (n_items,); items below 0 have no group and are left out. rng: its seed is
            stored with the report. draws: of the bootstrap.
    Source: intervals of a group's own: `means`; partial pooling: see `_pool`.
    """
    own = ratings.of(system)
    codes = _codes(ratings, groups)
    plain = {
        group: summaries(_only(own, codes, group), rng=rng, top=1, draws=draws)[system].mean
        for group in _present(codes)
    }
    values = item_means(own)[:, system]
    rated = np.flatnonzero(~np.isnan(values))
    return _together(plain, codes[rated], values[rated])


def differences_by_group(
    ratings: Ratings, groups: ArrayLike, system: int, reference: int, *, rng: np.random.Generator, draws: int = DRAWS
) -> Groups:
    """Mean difference of a system from the reference in each group, as `means.difference` has it.

    Args and source: as `means_by_group`.
    """
    codes = _codes(ratings, groups)
    plain = {
        group: difference(_only(ratings, codes, group), system, reference, rng=rng, draws=draws).difference
        for group in _present(codes)
    }
    items, values, _ = item_differences(ratings, system, reference)
    return _together(plain, codes[items], values)


def _codes(ratings: Ratings, groups: ArrayLike) -> Ints:
    codes = np.asarray(groups)
    if codes.shape != (ratings.n_items,):
        raise ValueError(f"groups must have one code for each of {ratings.n_items} items, got shape {codes.shape}")
    return codes.astype(np.intp)


def _present(codes: Ints) -> list[int]:
    return [int(code) for code in np.unique(codes) if code >= 0]


def _only(ratings: Ratings, codes: Ints, group: int) -> Ratings:
    return ratings.where(codes[ratings.item] == group)


def _together(plain: dict[int, Estimate], codes: Ints, values: Floats) -> Groups:
    """Own figures, without intervals where texts are too few, beside the pooled ones."""
    own = {
        group: replace(found, low=None, high=None, reason=FEW)
        if found.estimate is not None and found.n_items < MIN_ITEMS
        else found
        for group, found in plain.items()
    }
    kept = codes >= 0
    pooled, between, reason = _pool(codes[kept], values[kept])
    rows = []
    for group, found in own.items():
        sizes: dict[str, Any] = {
            "n_items": found.n_items,
            "n_reviewers": found.n_reviewers,
            "n_ratings": found.n_ratings,
        }
        if group in pooled:
            estimate, se = pooled[group]
            half = float(stats.norm.isf(TAIL)) * se
            together = Estimate(estimate=estimate, low=estimate - half, high=estimate + half, **sizes, reason=POOLED)
        else:
            together = Estimate(estimate=None, **sizes, reason=reason or found.reason)
        rows.append(Group(group=group, plain=found, pooled=together))
    return Groups(groups=tuple(rows), between=between, reason=reason)


def _pool(codes: Ints, values: Floats) -> tuple[dict[int, tuple[float, float]], float | None, str]:
    """Partially pooled mean and its standard error by group, the standard deviation between groups, or why not.

    The texts of all groups are taken to vary alike, so that a group of one text has a standard error too. A group's
    mean keeps the share between / (between + its own variance) of its distance from the mean of all. Its standard error
    takes the variance between groups as known, so with few groups it is somewhat too small.
    """
    groups, place, sizes = np.unique(codes, return_inverse=True, return_counts=True)
    if groups.size < 2:
        return {}, None, "Fewer than two groups with ratings: nothing to pool."
    if codes.size == groups.size:
        return {}, None, "One text in every group: nothing says how far texts of a group vary."
    means = np.bincount(place, weights=values) / sizes
    within = float(((values - means[place]) ** 2).sum() / (codes.size - groups.size))
    if within < 1e-12:
        return {}, None, "Texts of a group do not vary: nothing to pool."
    variances = within / sizes
    between = _between(means, variances)
    weights = 1 / (variances + between)
    center = float(weights @ means / weights.sum())
    kept = between / (between + variances)
    pooled = center + kept * (means - center)
    errors = np.sqrt(kept * variances + (1 - kept) ** 2 / weights.sum())
    rows = zip(groups, pooled, errors, strict=True)
    return {int(group): (float(mean), float(error)) for group, mean, error in rows}, between**0.5, ""


def _between(means: Floats, variances: Floats) -> float:
    """Variance between groups by Paule & Mandel: that at which the weighted squares are what chance would give.

    Source: DerSimonian & Kacker, Contemporary Clinical Trials 28 (2007), section 2.4. The iteration in statsmodels
    starts from 0 and falls back to it when rounding takes it past the solution, so the root is found between bounds.
    """

    def excess(between: float) -> float:
        weights = 1 / (variances + between)
        center = weights @ means / weights.sum()
        return float(weights @ (means - center) ** 2) - (means.size - 1)

    if excess(0) <= 0:
        return 0.0
    return float(optimize.brentq(excess, 0, float(((means - means.mean()) ** 2).sum()), xtol=1e-12))
