"""How far reviewers agree, with each other and with themselves, and whether they paid attention."""

from dataclasses import dataclass

import krippendorff
import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse, stats

from annotation.agreement import alphas, cohen_kappa
from evaluation.analysis import reml
from evaluation.analysis.ratings import ONE_ITEM, TAIL, Estimate, Ints, Ratings
from evaluation.analysis.resampling import BLOCK, DEFINED, DRAWS
from evaluation.analysis.shares import Share, share

NO_PAIRS = "No output was rated by two reviewers, so there is no agreement to measure."
ALL_EQUAL = "Every rating is the same: without variation agreement is not defined."
ALL_AGREE = "All reviewers agree on every output: no interval."
FEW_DIFFER = "Too few texts with differing ratings for an interval."
MIN_REPEATS = 5  # for a kappa


def _shared(ratings: Ratings) -> Ratings:
    """The ratings of outputs that two or more reviewers rated."""
    _, place, counts = np.unique(ratings.output, return_inverse=True, return_counts=True)
    return ratings.where(counts[place] > 1)


def alpha(ratings: Ratings, *, rng: np.random.Generator, draws: int = DRAWS) -> Estimate:
    """Krippendorff's alpha for ordinal ratings: 1 is perfect agreement, 0 what chance would give, below 0 less.

    Each output is a unit. The 95 % interval is of a percentile bootstrap over texts, whose outputs are drawn together:
    it is about these reviewers on other texts, since a reviewer drawn twice would agree with himself.

    Args:
        rng: its seed is stored with the report. draws: of the bootstrap.
    Returns:
        Estimate of alpha; the counts are of outputs with two or more ratings.
    Source: Krippendorff, Content Analysis, 3rd ed. (2013), chapter 12, by the krippendorff package; the interval: Zapf
        et al., BMC Medical Research Methodology 16:93 (2016), expanded after Hesterberg, The American Statistician 69
        (2015), since few texts would give too narrow a one. Draws in which all ratings are equal have no alpha and
        are left out; with more than 5 % of those there is no interval.
    """
    kept = _shared(ratings)
    sizes = kept.counts
    if not len(kept):
        return Estimate(estimate=None, **sizes, reason=NO_PAIRS)
    if np.ptp(kept.value) == 0:
        return Estimate(estimate=None, **sizes, reason=ALL_EQUAL)
    levels = kept.levels
    outputs, unit = np.unique(kept.output, return_inverse=True)
    counts = np.zeros((outputs.size, levels))
    np.add.at(counts, (unit, kept.value.astype(int) - 1), 1)
    value = float(
        krippendorff.alpha(
            value_counts=counts.astype(int),
            value_domain=np.arange(1, levels + 1),
            level_of_measurement="ordinal",
        )
    )
    if sizes["n_items"] == 1:
        return Estimate(estimate=value, **sizes, reason=ONE_ITEM)
    if (counts.max(axis=1) == counts.sum(axis=1)).all():
        return Estimate(estimate=value, **sizes, reason=ALL_AGREE)
    # What each text adds to the coincidence matrix: every pair of ratings of an output, per rating.
    _, item = np.unique(outputs // kept.n_systems, return_inverse=True)
    pairs = counts[:, :, None] * counts[:, None, :] - counts[:, :, None] * np.eye(levels)
    pairs = (pairs / (counts.sum(axis=1) - 1)[:, None, None]).reshape(outputs.size, -1)
    n_items = sizes["n_items"]
    of_item = sparse.csr_array((np.ones(outputs.size), (item, np.arange(outputs.size))), shape=(n_items, outputs.size))
    coincidences = of_item @ pairs
    block = max(1, BLOCK // n_items)
    drawn = np.concatenate(
        [
            alphas(
                rng.multinomial(n_items, np.full(n_items, 1 / n_items), size=min(block, draws - at)) @ coincidences,
                True,
            )
            for at in range(0, draws, block)
        ]
    )
    defined = drawn[~np.isnan(drawn)]
    if defined.size < DEFINED * draws:
        return Estimate(estimate=value, **sizes, reason=FEW_DIFFER)
    # Quantiles of draws of few texts reach too short (Hesterberg 2015, the expanded percentile interval).
    tail = float(stats.norm.sf(stats.t.isf(TAIL, n_items - 1) * (n_items / (n_items - 1)) ** 0.5))
    low, high = (float(limit) for limit in np.quantile(defined, [tail, 1 - tail]))
    return Estimate(estimate=value, low=low, high=high, **sizes)


@dataclass(frozen=True, kw_only=True)
class Intraclass:
    """Intraclass correlation of absolute agreement: of a single rating, and of the mean of `k` reviewers."""

    single: Estimate
    mean: Estimate
    k: float | None


def intraclass(ratings: Ratings, *, k: float | None = None) -> Intraclass:
    """ICC(2,1) and ICC(2,k): which part of the variation of ratings is between outputs, and not between reviewers.

    Outputs and reviewers are both taken as samples of more, and what reviewers are stricter or milder counts as
    disagreement. The variances are estimated by REML, so ratings may be missing; of a complete table they are those of
    the analysis of variance. The 95 % interval is that of Shrout & Fleiss with the mean squares that these variances
    stand for; on an incomplete table it is an approximation. Outputs of one text may resemble each other: the variance
    between outputs then has a part between texts, and fewer degrees of freedom by Satterthwaite's formula.

    Args:
        k: of how many reviewers a mean is meant; None takes the harmonic mean of the numbers that outputs have.
    Returns:
        Intraclass; the counts are of outputs with two or more ratings.
    Source: Shrout & Fleiss, Psychological Bulletin 86 (1979); McGraw & Wong, Psychological Methods 1 (1996); from
        variance components of incomplete data: ten Hove, Jorgensen & van der Ark, Psychological Methods 29 (2024).
    """
    kept = _shared(ratings)
    sizes = kept.counts

    def without(reason: str, value: float | None = None) -> Intraclass:
        nothing = Estimate(estimate=value, **sizes, reason=reason)
        return Intraclass(single=nothing, mean=nothing, k=k)

    if not len(kept):
        return without(NO_PAIRS)
    if np.ptp(kept.value) == 0:
        return without(ALL_EQUAL)
    _, per_output = np.unique(kept.output, return_counts=True)
    n, m = per_output.size, sizes["n_reviewers"]
    rest_df = len(kept) - n - m + 1
    if n < 2 or rest_df < 1:
        return without("Too few outputs that several reviewers rated.")
    size = n / float((1 / per_output).sum())
    k = k or size
    try:
        nested = [reml.ITEM] if 1 < sizes["n_items"] < n else []
        found = reml.fit(kept, np.ones((len(kept), 1)), [*nested, reml.OUTPUT, reml.REVIEWER])
    except reml.TooLarge:
        return without("Too many reviewers for the variance components.")
    if found.saturated:
        exact = found.variances[reml.REVIEWER] < 0.5 * sum(found.variances.values())
        return without(ALL_AGREE, 1.0) if exact else without("Reviewers alone explain every rating.", 0.0)
    if not found.converged:
        return without("The variance components did not converge.")
    texts, reviewers, rest = found.variances.get(reml.ITEM, 0.0), found.variances[reml.REVIEWER], found.residual
    between = texts + found.variances[reml.OUTPUT]
    error = reviewers + rest
    single = between / (between + error)
    # Mean squares of texts and of outputs within texts, and Satterthwaite's degrees of freedom of both together.
    n_texts = sizes["n_items"]
    within = rest + size * found.variances[reml.OUTPUT]
    across = within + size * n / n_texts * texts
    squares = (n_texts - 1) * across + (n - n_texts) * within
    df = squares**2 / ((n_texts - 1) * across**2 + (n - n_texts) * within**2)
    low, high = _odds_limits(
        rest + size * between,
        rest + len(kept) / m * reviewers,
        rest,
        size=size,
        per_reviewer=len(kept) / m,
        df=(df, m - 1, rest_df),
        odds=between / error,
    )
    limits = [(odds / (1 + odds), k * odds / (1 + k * odds)) for odds in (low, high)]
    return Intraclass(
        single=Estimate(estimate=single, low=limits[0][0], high=limits[1][0], **sizes),
        mean=Estimate(estimate=between / (between + error / k), low=limits[0][1], high=limits[1][1], **sizes),
        k=k,
    )


def _odds_limits(
    outputs: float,
    reviewers: float,
    rest: float,
    *,
    size: float,
    per_reviewer: float,
    df: tuple[float, int, int],
    odds: float,
) -> tuple[float, float]:
    """Limits of the variance between outputs over that of reviewers and rest, from mean squares, not below 0.

    Shrout & Fleiss's approximation, written for the ratio: at the true ratio the mean square of outputs over
    `rest + size * ratio * (reviewers / per_reviewer + (1 - 1 / per_reviewer) * rest)` has an F distribution, whose
    lower degrees of freedom are Satterthwaite's at the estimate.
    """
    error = reviewers / per_reviewer + (1 - 1 / per_reviewer) * rest
    of_reviewers = size * odds * reviewers / per_reviewer
    of_rest = (1 + size * odds * (1 - 1 / per_reviewer)) * rest
    lower_df = (of_reviewers + of_rest) ** 2 / (of_reviewers**2 / df[1] + of_rest**2 / df[2])
    low = (outputs / stats.f.isf(TAIL, df[0], lower_df) - rest) / (size * error)
    high = (outputs * stats.f.isf(TAIL, lower_df, df[0]) - rest) / (size * error)
    return max(float(low), 0.0), max(float(high), 0.0)


@dataclass(frozen=True, kw_only=True)
class Consistency:
    """Of repeats, first against second rating: share given the very same level, and linearly weighted kappa."""

    exact: Share
    kappa: Estimate


@dataclass(frozen=True, kw_only=True)
class Consistencies:
    overall: Consistency
    by_reviewer: dict[int, Consistency]


def consistency(reviewer: ArrayLike, first: ArrayLike, second: ArrayLike, *, levels: int) -> Consistencies:
    """How far reviewers repeat themselves on outputs that were shown to them twice.

    Args:
        reviewer: codes, shape (n,), one entry a repeated rating. first, second: its two values, 1..levels, shape (n,).
    Returns:
        Consistencies overall and by reviewer. A kappa needs five repeats. The share's interval is Wilson's, as if
        repeats were independent; that of kappa is from its standard error.
    Raises:
        ValueError: the shapes differ, or a value is not 1..levels.
    Source: Cohen, Psychological Bulletin 70 (1968); Fleiss, Cohen & Everitt, same journal, 72 (1969), by statsmodels;
        Wilson, JASA 22 (1927).
    """
    people, one, other = (np.asarray(array) for array in (reviewer, first, second))
    if not (people.ndim == 1 and people.shape == one.shape == other.shape):
        raise ValueError("reviewer, first and second must be equally long")
    if not np.isin(np.concatenate([one, other]), np.arange(1, levels + 1)).all():
        raise ValueError(f"ratings must be whole numbers from 1 to {levels}")
    one, other = one.astype(np.intp), other.astype(np.intp)
    return Consistencies(
        overall=_consistency(one, other, levels, int(np.unique(people).size)),
        by_reviewer={
            int(code): _consistency(one[people == code], other[people == code], levels, 1) for code in np.unique(people)
        },
    )


def _consistency(first: Ints, second: Ints, levels: int, n_reviewers: int) -> Consistency:
    confusion = np.zeros((levels, levels))
    np.add.at(confusion, (first - 1, second - 1), 1)
    n = int(first.size)
    sizes = {"n_items": n, "n_reviewers": n_reviewers, "n_ratings": 2 * n}
    exact = share(int((first == second).sum()), n)
    if n < MIN_REPEATS:
        words = f"Fewer than {MIN_REPEATS} repeats: no kappa." if n else "No repeats."
        return Consistency(exact=exact, kappa=Estimate(estimate=None, **sizes, reason=words))
    found = cohen_kappa(confusion, linear=True, minimum=MIN_REPEATS)
    reason = ""
    if found.estimate is None:
        reason = "Every rating is the same: without variation kappa is not defined."
    elif found.low is None:
        reason = "Every repeat was rated the same again, or too few differ: no interval."
    kappa = Estimate(estimate=found.estimate, low=found.low, high=found.high, **sizes, reason=reason)
    return Consistency(exact=exact, kappa=kappa)


@dataclass(frozen=True, kw_only=True)
class Attention:
    """Attention checks passed, of all and by reviewer."""

    overall: Share
    by_reviewer: dict[int, Share]


def attention(reviewer: ArrayLike, passed: ArrayLike) -> Attention:
    """Share of attention checks passed, with Wilson's 95 % interval.

    Args:
        reviewer: codes, shape (n,), one entry a check that was answered. passed: whether, shape (n,).
    Source: Wilson, JASA 22 (1927), by statsmodels.
    """
    people, right = np.asarray(reviewer), np.asarray(passed, dtype=bool)
    if people.ndim != 1 or people.shape != right.shape:
        raise ValueError("reviewer and passed must be equally long")
    return Attention(
        overall=share(int(right.sum()), int(right.size)),
        by_reviewer={
            int(code): share(int(right[people == code].sum()), int((people == code).sum()))
            for code in np.unique(people)
        },
    )
