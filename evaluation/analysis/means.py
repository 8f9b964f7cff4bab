"""What a system's ratings look like, and how far they are from the reference's.

Intervals are over texts and reviewers, both drawn anew (`resampling`): they say how far the figure would move with
other texts and other reviewers of the same kind. Assumed is that texts, and reviewers, were drawn independently.
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from evaluation.analysis.ratings import (
    CONFIDENCE,
    NO_RATINGS,
    ONE_ITEM,
    ONE_REVIEWER,
    TAIL,
    Difference,
    Estimate,
    Floats,
    Ints,
    Ratings,
)
from evaluation.analysis.resampling import DRAWS, Totals, draw_totals, spread

MOSTLY = 0.8  # of the system's ratings that have the same reviewer's rating of the reference beside them
BY_REVIEWER = "each reviewer's rating of the system less the same reviewer's rating of the reference on the same text"
BY_TEXT = "the two means over the texts on which both were rated, since few reviewers rated both on one text"
NOT_BOTH = "No text has ratings of both."
ALL_OR_NONE = "The interval counts each text once, since no rating differs from the others in this."


@dataclass(frozen=True, kw_only=True)
class Summary:
    """One system on one criterion.

    counts: ratings of each level, worst first; shares: the same in [0, 1], None without ratings. mean, median: on the
    scale. top: share of the highest levels, in [0, 1].
    """

    system: int
    counts: tuple[int, ...]
    shares: tuple[float, ...] | None
    mean: Estimate
    median: Estimate
    top: Estimate


def summaries(ratings: Ratings, *, rng: np.random.Generator, top: int = 2, draws: int = DRAWS) -> list[Summary]:
    """The ratings of each system: distribution, mean, median and share of the top levels, with 95 % intervals.

    The mean's interval is Student's with the standard error of the two-way bootstrap, kept within the scale. The
    share's is the same for log odds (delta method), so it stays within 0 and 1; where all ratings or none are at the
    top it is Wilson's with each text counted once. The median's are quantiles of the draws of both, reaching further
    the fewer texts or reviewers there are (the expanded percentile interval of Hesterberg 2015).

    Args:
        rng: its seed is stored with the report. top: how many of the highest levels count. draws: of the bootstrap.
    Raises:
        ValueError: top is not within 1..levels-1.
    Source: see `resampling`; Wilson, JASA 22 (1927), by statsmodels.stats.proportion.proportion_confint.
    """
    if not 0 < top < ratings.levels:
        raise ValueError(f"top must be from 1 to {ratings.levels - 1}, got {top}")
    return [_summary(ratings.of(system), system, top, rng, draws) for system in range(ratings.n_systems)]


def _summary(own: Ratings, system: int, top: int, rng: np.random.Generator, draws: int) -> Summary:
    level = own.value.astype(int) - 1
    counts = np.bincount(level, minlength=own.levels)
    listed = tuple(counts.tolist())
    sizes = own.counts
    if not len(own):
        nothing = Estimate(estimate=None, **sizes, reason=NO_RATINGS)
        return Summary(system=system, counts=listed, shares=None, mean=nothing, median=nothing, top=nothing)
    scale = np.arange(1.0, own.levels + 1)
    reason = ""
    if sizes["n_items"] == 1:
        reason = ONE_ITEM
    elif np.count_nonzero(counts) == 1:
        reason = f"Every rating is {own.value[0]:g}: no interval."
    mean, median, share = (
        Estimate(estimate=figure, **sizes, reason=reason)
        for figure in (
            float(counts @ scale / counts.sum()),
            float(_medians(counts[None, :])[0]),
            float(counts[-top:].sum() / counts.sum()),
        )
    )
    if sizes["n_items"] > 1 and share.estimate in (0, 1):
        share = _all_or_none(share)
    if not reason:
        totals = draw_totals(own.item, own.reviewer, level, np.ones(len(own)), columns=own.levels, rng=rng, draws=draws)
        mean = _mean_interval(mean, totals, scale)
        median = _median_interval(median, totals)
        if 0 < counts[-top:].sum() < counts.sum():
            share = _share_interval(share, totals, top)
    return Summary(
        system=system,
        counts=listed,
        shares=tuple((counts / counts.sum()).tolist()),
        mean=mean,
        median=median,
        top=share,
    )


def _mean_interval(mean: Estimate, totals: Totals, scale: Floats) -> Estimate:
    found = spread(totals, lambda sums: _ratio(sums @ scale, sums.sum(axis=1)))
    if found.se is None:
        return replace(mean, reason=found.why_not)
    low, high = found.interval(mean.estimate or 0.0)
    return replace(mean, low=max(low, 1.0), high=min(high, float(scale[-1])), reason=_one_reviewer(totals))


def _share_interval(share: Estimate, totals: Totals, top: int) -> Estimate:
    found = spread(totals, lambda sums: _ratio(sums[:, -top:].sum(axis=1), sums.sum(axis=1)))
    if found.se is None:
        return replace(share, reason=found.why_not)
    p = share.estimate or 0.0
    half = float(stats.t.isf(TAIL, found.df)) * found.se / (p * (1 - p))
    odds = float(np.log(p / (1 - p)))
    low, high = (float(1 / (1 + np.exp(-value))) for value in (odds - half, odds + half))
    return replace(share, low=low, high=high, reason=_one_reviewer(totals))


def _all_or_none(share: Estimate) -> Estimate:
    low, high = proportion_confint(
        (share.estimate or 0.0) * share.n_items, share.n_items, alpha=1 - CONFIDENCE, method="wilson"
    )
    return replace(share, low=max(0.0, float(low)), high=min(1.0, float(high)), reason=ALL_OR_NONE)


def _median_interval(median: Estimate, totals: Totals) -> Estimate:
    drawn = totals.items if totals.reviewers is None else totals.both
    if drawn is None:
        return replace(median, reason=ONE_ITEM)
    fewest = totals.n_items if totals.reviewers is None else min(totals.n_items, totals.n_reviewers)
    tail = float(stats.norm.sf(stats.t.isf(TAIL, fewest - 1) * (fewest / (fewest - 1)) ** 0.5))
    medians = _medians(drawn)
    low = float(np.nanquantile(medians, tail, method="inverted_cdf"))
    high = float(np.nanquantile(medians, 1 - tail, method="inverted_cdf"))
    return replace(median, low=low, high=high, reason=_one_reviewer(totals))


def _medians(counts: Floats | Ints) -> Floats:
    """Median level of each row of counts, shape (k, levels): between two levels where half are on either side."""
    total = counts.sum(axis=1, keepdims=True)
    below = counts.cumsum(axis=1)
    lower = (below < total / 2).sum(axis=1)
    upper = (below <= total / 2).sum(axis=1)
    return np.where(total[:, 0] > 0, (lower + upper) / 2 + 1, np.nan)


def _ratio(sums: Floats | Ints, weights: Floats | Ints) -> Floats:
    return np.divide(sums, weights, out=np.full(sums.shape, np.nan), where=weights > 0)


def _one_reviewer(totals: Totals) -> str:
    return ONE_REVIEWER if totals.reviewers is None else ""


@dataclass(frozen=True, eq=False)
class Pairs:
    """Differences of ratings by one reviewer on one text, system minus reference; each array has shape (n_pairs,)."""

    item: Ints
    reviewer: Ints
    difference: Floats


def pairs(ratings: Ratings, system: int, reference: int) -> Pairs:
    """Where a reviewer rated both the system's output and the reference's on one text."""
    first, second = ratings.of(system), ratings.of(reference)
    seats = [own.item * own.n_reviewers + own.reviewer for own in (first, second)]
    _, one, other = np.intersect1d(seats[0], seats[1], assume_unique=True, return_indices=True)
    return Pairs(first.item[one], first.reviewer[one], first.value[one] - second.value[other])


def item_differences(ratings: Ratings, system: int, reference: int) -> tuple[Ints, Floats, str]:
    """One difference a text, system minus reference, for tests whose unit is the text.

    Where reviewers mostly rated both on one text (at least 80 % of the system's ratings), the mean of each reviewer's
    own difference; else the difference of the two means on that text.

    Returns:
        item codes, shape (k,); differences in levels, shape (k,); and which of the two it was, in words.
    """
    paired = pairs(ratings, system, reference)
    if _mostly(paired, ratings, system):
        items, at = np.unique(paired.item, return_inverse=True)
        differences = np.bincount(at, weights=paired.difference) / np.bincount(at)
        how = BY_REVIEWER
    else:
        means = item_means(ratings)
        items = np.flatnonzero(~np.isnan(means[:, [system, reference]]).any(axis=1))
        differences = means[items, system] - means[items, reference]
        how = BY_TEXT
    # A mean of thirds can miss zero or a tie by one bit; ranks must not see that.
    return items, np.round(differences, 12), how


def item_means(ratings: Ratings) -> Floats:
    """Mean rating of each output over its reviewers, shape (n_items, n_systems), NaN where it has none."""
    size = ratings.n_items * ratings.n_systems
    sums = np.bincount(ratings.output, weights=ratings.value, minlength=size)
    counts = np.bincount(ratings.output, minlength=size).astype(float)
    return _ratio(sums, counts).reshape(ratings.n_items, ratings.n_systems)


def _mostly(paired: Pairs, ratings: Ratings, system: int) -> bool:
    own = int((ratings.system == system).sum())
    return own > 0 and paired.item.size >= MOSTLY * own


def difference(
    ratings: Ratings, system: int, reference: int, *, rng: np.random.Generator, draws: int = DRAWS
) -> Difference:
    """Mean rating of a system minus that of the reference, with a 95 % interval over texts and reviewers.

    Compared are a reviewer's own ratings of both on one text, where at least 80 % of the system's ratings have the
    other beside them; else the two means over the texts that have both. `how` says which.

    Args:
        system, reference: codes. rng: its seed is stored with the report. draws: of the bootstrap.
    Returns:
        Difference in levels, positive where the system is rated higher; Student's interval and two-sided p-value with
        the standard error of the two-way bootstrap.
    Source: see `resampling`.
    """
    paired = pairs(ratings, system, reference)
    if _mostly(paired, ratings, system):
        return _paired_difference(paired, ratings, system, reference, rng, draws)
    means = item_means(ratings)
    both = ~np.isnan(means[:, system] + means[:, reference])
    kept = ratings.where(both[ratings.item] & np.isin(ratings.system, [system, reference]))
    sizes = kept.counts
    if not len(kept):
        return Difference(
            system=system, reference=reference, difference=Estimate(estimate=None, **sizes, reason=NOT_BOTH)
        )
    own, other = (float(kept.of(code).value.mean()) for code in (system, reference))
    column = np.where(kept.system == system, 0, 2)
    totals = draw_totals(
        np.concatenate([kept.item, kept.item]),
        np.concatenate([kept.reviewer, kept.reviewer]),
        np.concatenate([column, column + 1]),
        np.concatenate([kept.value, np.ones(len(kept))]),
        columns=4,
        rng=rng,
        draws=draws,
    )
    estimate = Estimate(estimate=own - other, **sizes)
    return _with_interval(
        Difference(system=system, reference=reference, difference=estimate, how=BY_TEXT),
        totals,
        lambda sums: _ratio(sums[:, 0], sums[:, 1]) - _ratio(sums[:, 2], sums[:, 3]),
        ratings.levels,
    )


def _paired_difference(
    paired: Pairs, ratings: Ratings, system: int, reference: int, rng: np.random.Generator, draws: int
) -> Difference:
    n = paired.item.size
    estimate = Estimate(
        estimate=float(paired.difference.mean()),
        n_items=int(np.unique(paired.item).size),
        n_reviewers=int(np.unique(paired.reviewer).size),
        n_ratings=2 * n,
    )
    totals = draw_totals(
        np.concatenate([paired.item, paired.item]),
        np.concatenate([paired.reviewer, paired.reviewer]),
        np.repeat([0, 1], n),
        np.concatenate([paired.difference, np.ones(n)]),
        columns=2,
        rng=rng,
        draws=draws,
    )
    return _with_interval(
        Difference(system=system, reference=reference, difference=estimate, how=BY_REVIEWER),
        totals,
        lambda sums: _ratio(sums[:, 0], sums[:, 1]),
        ratings.levels,
    )


def _with_interval(found: Difference, totals: Totals, statistic, levels: int) -> Difference:
    estimate = found.difference
    value = estimate.estimate or 0.0
    spreads = spread(totals, statistic)
    if spreads.se is None or spreads.df is None:
        return replace(found, difference=replace(estimate, reason=spreads.why_not))
    if spreads.se < 1e-12:
        words = f"The difference is {value:+g} on every text: no interval."
        return replace(found, difference=replace(estimate, reason=words))
    low, high = spreads.interval(value)
    estimate = replace(estimate, low=max(low, 1.0 - levels), high=min(high, levels - 1.0), reason=_one_reviewer(totals))
    p = float(2 * stats.t.sf(abs(value) / spreads.se, spreads.df))
    return replace(found, difference=estimate, se=spreads.se, df=spreads.df, p=p)
