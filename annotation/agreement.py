"""Agreement of annotators: tables of counts in, figures with their intervals out. Nothing here knows the database.

Every coefficient here depends on one thing only: how often each level was given to each item. So the input is not one
row an item but one row a *pattern*, with the number of items that show it:

    patterns      shape (n_patterns, n_levels), whole numbers: how many annotators chose each level
    multiplicity  shape (n_patterns,), whole numbers: how many items show the pattern

A million annotations of three levels by three people are twenty patterns, and all of them count.

A result has its figures, or says in `reason`, in words, why one cannot be given. No function returns a number that
stands for "no data", and none draws from a global random generator.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

CONFIDENCE = 0.95
DRAWS = 1_999
MIN_ITEMS = 10  # with fewer comparable items an interval says nothing
USUAL_GAP = 0.05  # share of bootstrap draws that may lack a value

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A figure with its 95 % interval.

    `estimate` is None where there is nothing to compute; `low` and `high` are None where no interval can be given;
    `reason` says why, and is empty where nothing is missing. `se` is the standard error, where the interval comes from
    one. n_items and n_ratings count what can be compared, which are items with two or more ratings; n_single are the
    items left out because they have one.
    """

    estimate: float | None
    low: float | None = None
    high: float | None = None
    se: float | None = None
    n_items: int
    n_ratings: int
    n_single: int = 0
    reason: str = ""


@dataclass(frozen=True)
class _Table:
    """Checked patterns: rows without ratings and patterns that no item shows are gone."""

    counts: Floats  # (n_patterns, n_levels)
    items: Floats  # (n_patterns,)

    @property
    def ratings(self) -> Floats:
        return self.counts.sum(axis=1)

    @property
    def comparable(self) -> NDArray[np.bool_]:
        return self.ratings >= 2

    @property
    def n_items(self) -> int:
        return int(self.items[self.comparable].sum())

    @property
    def n_ratings(self) -> int:
        return int((self.items * self.ratings)[self.comparable].sum())

    @property
    def n_single(self) -> int:
        return int(self.items[~self.comparable].sum())

    @property
    def levels_used(self) -> int:
        """Levels in items that can be compared."""
        return int((self.counts[self.comparable].sum(axis=0) > 0).sum())

    def result(self, estimate: float | None, **values: Any) -> Estimate:
        sizes: dict[str, Any] = {"n_items": self.n_items, "n_ratings": self.n_ratings, "n_single": self.n_single}
        return Estimate(estimate=estimate, **sizes, **values)


def _table(patterns: ArrayLike, multiplicity: ArrayLike) -> _Table:
    counts, items = np.asarray(patterns, dtype=float), np.asarray(multiplicity, dtype=float)
    if counts.ndim != 2 or items.shape != counts.shape[:1]:
        raise ValueError(f"patterns and multiplicity do not fit: shapes {counts.shape} and {items.shape}")
    if (counts < 0).any() or (items < 0).any() or (counts % 1).any() or (items % 1).any():
        raise ValueError("patterns and multiplicity are counts: whole numbers from 0")
    there = (counts.sum(axis=1) > 0) & (items > 0)
    return _Table(counts[there], items[there])


def _too_little(table: _Table, minimum: int) -> str:
    """Why there is nothing to compute; empty where there is."""
    if not table.items.size:
        return "There are no annotations here."
    if not table.n_items:
        return "No text has annotations by two people, so there is nothing to compare."
    if table.n_items < minimum:
        return (
            f"Only {_texts(table.n_items)} {'has' if table.n_items == 1 else 'have'} annotations by two or more "
            f"people; at least {minimum} are needed."
        )
    return ""


def _texts(count: int) -> str:
    return f"{count:,} text{'' if count == 1 else 's'}"


ONE_LEVEL = "Everybody chose the same level for every text: without variation, agreement beyond chance is not defined."
ALL_AGREE = "All annotators agree on every text, so no interval can be given."
NO_ORDER = "AC2 needs levels that have an order."
FEW_DIFFER = "Too few texts with differing annotations for an interval."


# Coefficients with an analytic interval


def percent_agreement(patterns: ArrayLike, multiplicity: ArrayLike, *, minimum: int = MIN_ITEMS) -> Estimate:
    """Share of agreeing pairs of annotators, averaged over items, in [0, 1].

    Args:
        patterns, multiplicity: see the module. minimum: items with two or more ratings that are needed.
    Source: Gwet, Handbook of Inter-Rater Reliability, 4th ed. (2014), chapters 2 and 5: p_a and its variance.
    """
    table = _table(patterns, multiplicity)
    if reason := _too_little(table, minimum):
        return table.result(None, reason=reason)
    weights = np.eye(table.counts.shape[1])
    return _chance_corrected(table, weights, 0.0, np.zeros(table.items.size), lowest=0.0)


def fleiss_kappa(patterns: ArrayLike, multiplicity: ArrayLike, *, minimum: int = MIN_ITEMS) -> Estimate:
    """Fleiss' kappa: 1 is perfect agreement, 0 what chance would give with the levels' overall shares.

    Args:
        patterns, multiplicity: see the module. Items may have different numbers of ratings; one with a single rating
            counts for the shares of the levels, and for nothing else. minimum: comparable items that are needed.
    Source: Fleiss, Psychological Bulletin 76 (1971), 378-382; with missing ratings, and for the variance, Gwet,
        Handbook of Inter-Rater Reliability, 4th ed. (2014), chapters 2 and 5. With equally many ratings an item it is
        statsmodels' fleiss_kappa.
    """
    table = _table(patterns, multiplicity)
    if reason := _too_little(table, minimum) or _one_level(table):
        return table.result(None, reason=reason)
    shares = _level_shares(table)
    per_item = (table.counts / table.ratings[:, None]) @ shares
    return _chance_corrected(table, np.eye(shares.size), float(shares @ shares), per_item)


def gwet_ac(
    patterns: ArrayLike, multiplicity: ArrayLike, *, ordinal: bool = False, minimum: int = MIN_ITEMS
) -> Estimate:
    """Gwet's AC1, or AC2 with ordinal weights. Unlike kappa it does not fall to 0 where nearly all is one level.

    Args:
        patterns, multiplicity: see the module; all levels of the scale are columns, used or not, in their order.
        ordinal: AC2 with Gwet's ordinal weights, under which a near miss is partial agreement.
    Source: Gwet, British Journal of Mathematical and Statistical Psychology 61 (2008), 29-48; with missing ratings,
        weights and variance, Handbook of Inter-Rater Reliability, 4th ed. (2014), chapters 3 to 5.
    """
    table = _table(patterns, multiplicity)
    if reason := _too_little(table, minimum) or _one_level(table):
        return table.result(None, reason=reason)
    shares = _level_shares(table)
    weights = ordinal_weights(shares.size) if ordinal else np.eye(shares.size)
    scale = weights.sum() / (shares.size * (shares.size - 1))
    per_item = scale * ((table.counts / table.ratings[:, None]) @ (1 - shares))
    return _chance_corrected(table, weights, float(scale * (shares @ (1 - shares))), per_item)


def ordinal_weights(n_levels: int) -> Floats:
    """Gwet's ordinal weights, shape (n_levels, n_levels): 1 - C(d + 1, 2) / C(n_levels, 2) for levels d apart.

    Source: Gwet (2014), chapter 3. They use the order of the levels only, no distances between them.
    """
    apart = np.abs(np.subtract.outer(np.arange(n_levels), np.arange(n_levels)))
    return 1 - apart * (apart + 1) / (n_levels * (n_levels - 1))


def _one_level(table: _Table) -> str:
    return ONE_LEVEL if table.levels_used == 1 else ""


def _level_shares(table: _Table) -> Floats:
    """How often each level is given, every item with the same weight: Gwet's pi_k, over all items with a rating."""
    return (table.items / table.items.sum()) @ (table.counts / table.ratings[:, None])


def _chance_corrected(
    table: _Table, weights: Floats, chance: float, chance_per_item: Floats, lowest: float = -1.0
) -> Estimate:
    """(p_a - p_e) / (1 - p_e) with the interval from its linearised variance.

    Args:
        weights: agreement of two levels, 1 on the diagonal. chance: p_e. chance_per_item: shape (n_patterns,), what an
            item contributes to p_e.
    Source: Gwet (2014), equations for p_a, p_e and the variance of each coefficient; interval by Student's t with
        one degree of freedom less than there are items, ends kept within the coefficient's range.
    """
    counts, items, ratings, comparable = table.counts, table.items, table.ratings, table.comparable
    n, n_comparable = items.sum(), items[comparable].sum()
    pairs = np.where(comparable, ratings * (ratings - 1), 1)
    agree = (counts * (counts @ weights - 1)).sum(axis=1) / pairs
    agree[~comparable] = 0
    observed = items @ agree / n_comparable
    estimate = float((observed - chance) / (1 - chance))
    if n_comparable < 2:
        return table.result(estimate, reason="One text only: no interval over texts.")
    if (agree[comparable] == 1).all():
        return table.result(estimate, reason=ALL_AGREE)
    corrected = (n / n_comparable) * (agree - chance * comparable) / (1 - chance)
    influence = corrected - 2 * (1 - estimate) * (chance_per_item - chance) / (1 - chance)
    from scipy import stats  # here and below: web processes that show no statistics need not load it

    se = float(np.sqrt(items @ (influence - estimate) ** 2 / (n * (n - 1))))
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, n - 1)) * se
    return table.result(estimate, low=max(estimate - half, lowest), high=min(estimate + half, 1.0), se=se)


# Krippendorff's alpha


def krippendorff_alpha(
    patterns: ArrayLike,
    multiplicity: ArrayLike,
    *,
    ordinal: bool,
    rng: np.random.Generator,
    draws: int = DRAWS,
    minimum: int = MIN_ITEMS,
) -> Estimate:
    """Krippendorff's alpha for nominal or ordinal levels: 1 is perfect agreement, 0 what chance would give.

    Args:
        patterns, multiplicity: see the module; the columns are the levels in their order. Items with one rating are
            left out, as alpha is defined. rng: its seed is stored or shown with the figure. draws: bootstrap samples.
    Source: Krippendorff, Computing Krippendorff's Alpha-Reliability (2011). Interval: percentile bootstrap over items
        (Zapf et al., BMC Medical Research Methodology 16:93, 2016), drawn as counts of patterns from the multinomial
        distribution, which is the same as drawing items. The krippendorff package gives the same estimate.
    """
    table = _table(patterns, multiplicity)
    if reason := _too_little(table, minimum) or _one_level(table):
        return table.result(None, reason=reason)
    counts, items = table.counts[table.comparable], table.items[table.comparable]
    # What one item of each pattern adds to the coincidence matrix: every pair of its ratings, per rating.
    pairs = counts[:, :, None] * counts[:, None, :] - counts[:, :, None] * np.eye(counts.shape[1])
    coincidences = (pairs / (counts.sum(axis=1) - 1)[:, None, None]).reshape(items.size, -1)
    estimate = float(alphas((items @ coincidences)[None, :], ordinal)[0])
    if table.n_items < 2:
        return table.result(estimate, reason="One text only: no interval over texts.")
    if (counts.max(axis=1) == counts.sum(axis=1)).all():
        return table.result(estimate, reason=ALL_AGREE)
    drawn = rng.multinomial(table.n_items, items / items.sum(), size=draws)
    values = alphas(drawn @ coincidences, ordinal)
    low, high = _percentiles(values)
    if low is None:
        return table.result(estimate, reason=FEW_DIFFER)
    return table.result(estimate, low=low, high=high)


def alphas(coincidences: Floats, ordinal: bool) -> Floats:
    """Alpha of each coincidence matrix, given as rows of shape (n_levels ** 2,); NaN where only one level occurs.

    The ordinal distance of two levels is that between their mid-ranks: Krippendorff's sum over the levels between
    them, less half of both ends, is a difference of cumulative sums.
    """
    levels = round(coincidences.shape[1] ** 0.5)
    matrix = coincidences.reshape(-1, levels, levels)
    totals = matrix.sum(axis=2)
    if ordinal:
        middle = totals.cumsum(axis=1) - totals / 2
        distance = (middle[:, :, None] - middle[:, None, :]) ** 2
    else:
        distance = np.broadcast_to(1 - np.eye(levels), matrix.shape)
    observed = (matrix * distance).sum(axis=(1, 2))
    expected = (totals[:, :, None] * totals[:, None, :] * distance).sum(axis=(1, 2))
    # An unused level may leave dust of the order of rounding where the total is exactly 0.
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(expected > 0, 1 - (totals.sum(axis=1) - 1) * observed / expected, np.nan)


def _percentiles(values: Floats) -> tuple[float, float] | tuple[None, None]:
    """The middle 95 % of bootstrap values, or None where too many draws had none."""
    defined = values[~np.isnan(values)]
    if not defined.size or defined.size < (1 - USUAL_GAP) * values.size:
        return None, None
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(defined, [tail, 1 - tail])
    return float(low), float(high)


# All of a dimension

NAMES = {
    "percent": "Percent agreement",
    "fleiss": "Fleiss’ κ",
    "alpha": "Krippendorff’s α",
    "ac1": "Gwet’s AC1",
    "ac2": "Gwet’s AC2",
}


def coefficient(
    key: str, patterns: ArrayLike, multiplicity: ArrayLike, *, ordinal: bool, seed: Sequence[int], draws: int = DRAWS
) -> Estimate:
    """One coefficient of one dimension, by its key in NAMES. Alpha is ordinal where the levels have an order."""
    match key:
        case "percent":
            return percent_agreement(patterns, multiplicity)
        case "fleiss":
            return fleiss_kappa(patterns, multiplicity)
        case "alpha":
            rng = np.random.default_rng(list(seed))
            return krippendorff_alpha(patterns, multiplicity, ordinal=ordinal, rng=rng, draws=draws)
        case "ac1":
            return gwet_ac(patterns, multiplicity)
        case "ac2" if ordinal:
            return gwet_ac(patterns, multiplicity, ordinal=True)
        case "ac2":
            return _table(patterns, multiplicity).result(None, reason=NO_ORDER)
    raise ValueError(f"there is no coefficient {key!r}")


def coefficients(
    patterns: ArrayLike, multiplicity: ArrayLike, *, ordinal: bool, seed: Sequence[int], draws: int = DRAWS
) -> dict[str, Estimate]:
    """Every coefficient of one dimension by the keys of NAMES; AC2 only where the levels have an order."""
    return {
        key: coefficient(key, patterns, multiplicity, ordinal=ordinal, seed=seed, draws=draws)
        for key in NAMES
        if ordinal or key != "ac2"
    }


# Two annotators


def cohen_kappa(confusion: ArrayLike, *, linear: bool = False, minimum: int = MIN_ITEMS) -> Estimate:
    """Cohen's kappa of two annotators.

    Args:
        confusion: shape (n_levels, n_levels), whole numbers: how many items the first gave the row's level and the
            second the column's. linear: weighted, an error counts by how many levels apart.
    Source: Cohen (1960, 1968); interval from the standard error of Fleiss, Cohen & Everitt (1969); by statsmodels.
    """
    table = np.asarray(confusion, dtype=float)
    if table.ndim != 2 or table.shape[0] != table.shape[1]:
        raise ValueError(f"confusion must be square, got shape {table.shape}")
    n = int(table.sum())
    sizes: dict[str, Any] = {"n_items": n, "n_ratings": 2 * n}
    if n < minimum:
        few = f"The two have annotated {_texts(n)} in common; at least {minimum} are needed."
        none = "The two have annotated no text in common."
        return Estimate(estimate=None, **sizes, reason=few if n else none)
    if (table.sum(axis=0) + table.sum(axis=1) > 0).sum() == 1:
        return Estimate(estimate=None, **sizes, reason=ONE_LEVEL)
    from statsmodels.stats import inter_rater

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a variance of 0, looked at below
        found = inter_rater.cohens_kappa(table, wt="linear" if linear else None)
    estimate = float(found.kappa)
    if np.trace(table) == n:
        return Estimate(estimate=estimate, **sizes, reason=ALL_AGREE)
    se = float(found.std_kappa)
    if not np.isfinite(se) or se == 0:
        return Estimate(estimate=estimate, **sizes, reason=FEW_DIFFER)
    low, high = max(float(found.kappa_low), -1.0), min(float(found.kappa_upp), 1.0)
    return Estimate(estimate=estimate, low=low, high=high, se=se, **sizes)


# Marks in the text

Spans = Sequence[tuple[int, int]]


def character_f1(first: Spans, second: Spans) -> float | None:
    """Agreement of two people's marks on one text, by characters, in [0, 1]; None where neither marked anything.

    Args:
        first, second: (start, end) in code points, `end` exclusive; the spans of one person do not overlap.
    Source: Hripcsak & Rothschild, Journal of the American Medical Informatics Association 12 (2005), 296-298: where
        what is unmarked cannot be counted, the F-measure is what kappa tends to.
    """
    marked = sum(end - start for spans in (first, second) for start, end in spans)
    if not marked:
        return None
    common = sum(max(0, min(a[1], b[1]) - max(a[0], b[0])) for a in first for b in second)
    return 2 * common / marked


def span_f1(
    items: Sequence[Sequence[Spans]], *, rng: np.random.Generator, draws: int = DRAWS, minimum: int = MIN_ITEMS
) -> Estimate:
    """Mean pairwise character-level F1: over the pairs of annotators of a text, then over texts.

    Args:
        items: per item the spans of each of its annotators. Pairs that both marked nothing say nothing and are left
            out; where one marked and the other did not, F1 is 0. rng: its seed is shown with the figure.
    Returns:
        n_items: texts that at least one of two annotators marked. n_ratings: their annotations. n_single: texts left
        out because only one person annotated them.
    Interval: percentile bootstrap over texts, by scipy.stats.bootstrap.
    """
    means, ratings, single = [], 0, 0
    for people in items:
        if len(people) < 2:
            single += len(people)
            continue
        pairs = [character_f1(people[i], people[j]) for i in range(len(people)) for j in range(i)]
        if scores := [score for score in pairs if score is not None]:
            means.append(sum(scores) / len(scores))
            ratings += len(people)
    sizes: dict[str, Any] = {"n_items": len(means), "n_ratings": ratings, "n_single": single}
    if len(means) < minimum:
        few = f"Only {_texts(len(means))} with marks and two or more annotators; at least {minimum} are needed."
        none = "Nobody marked words in a text that two people annotated."
        return Estimate(estimate=None, **sizes, reason=few if means else none)
    values = np.array(means)
    if np.ptp(values) == 0:
        reason = ALL_AGREE if values[0] == 1 else f"Every text has the same F1 ({values[0]:g}): no interval."
        return Estimate(estimate=float(values[0]), **sizes, reason=reason)
    from scipy import stats

    drawn = stats.bootstrap(
        (values,), np.mean, n_resamples=draws, batch=100, confidence_level=CONFIDENCE, method="percentile", rng=rng
    )
    low, high = (float(value) for value in drawn.confidence_interval)
    return Estimate(estimate=float(values.mean()), low=low, high=high, **sizes)
