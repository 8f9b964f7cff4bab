"""Texts and reviewers drawn anew, both with replacement: how far a figure would move in another such study.

A rating belongs to a text and to a reviewer. Both are samples, and ratings that share either resemble each other, so
both are resampled, each on its own (the pigeonhole bootstrap: McCullagh, Bernoulli 6 (2000); Owen, Annals of Applied
Statistics 1 (2007)). A draw is a number of times for each text and one for each reviewer; a rating counts with their
product. Statistics are functions of weighted sums, so a draw is a product of matrices.

Drawing both counts the noise of single ratings three times (Owen 2007, theorem 4), and with few reviewers quantiles of
draws reach too short (Hesterberg, The American Statistician 69 (2015)). So the variance is put together from draws of
texts alone, of reviewers alone and of both, as in two-way clustering (Cameron, Gelbach & Miller, Journal of Business &
Economic Statistics 29 (2011)): texts, each n/(n - 1), plus reviewers, likewise, less the part that is in both. The
interval uses Student's t with Satterthwaite's degrees of freedom for that sum (Biometrics Bulletin 2 (1946)). For the
mean of a complete table that is the classical interval from the mean squares of texts, reviewers and the rest.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse, stats

from evaluation.analysis.ratings import ONE_ITEM, TAIL, Floats, Ints

DRAWS = 1_999
BLOCK = 4_000_000  # numbers in memory at a time
TOO_FEW = "Too few ratings for an interval."
DEFINED = 0.95  # of the draws must have the figure


@dataclass(frozen=True, eq=False)
class Totals:
    """Weighted sums of each column in each draw, shape (draws, columns), when texts, reviewers or both are drawn.

    observed: the sums of the data itself, shape (columns,). A way of drawing that has one unit only is None.
    """

    observed: Floats
    items: Floats | None
    reviewers: Floats | None
    both: Floats
    n_items: int
    n_reviewers: int


@dataclass(frozen=True)
class Spread:
    """Standard error of a figure and its degrees of freedom; `why_not` in words where there is none."""

    se: float | None
    df: float | None
    why_not: str = ""

    def interval(self, estimate: float) -> tuple[float, float]:
        half = float(stats.t.isf(TAIL, self.df)) * (self.se or 0.0)
        return estimate - half, estimate + half


def draw_totals(
    item: Ints,
    reviewer: Ints,
    column: ArrayLike,
    amount: ArrayLike,
    *,
    columns: int,
    rng: np.random.Generator,
    draws: int = DRAWS,
) -> Totals:
    """Draw texts and reviewers, and sum.

    Args:
        item, reviewer: codes, shape (n,); those that occur are what is drawn from. column: into which sum each entry
            goes, shape (n,), 0..columns-1. amount: what it adds, shape (n,).
    """
    item_codes, item = np.unique(item, return_inverse=True)
    reviewer_codes, reviewer = np.unique(reviewer, return_inverse=True)
    n_items, n_reviewers = item_codes.size, reviewer_codes.size
    column, amount = np.asarray(column), np.asarray(amount, dtype=float)
    cells = sparse.csr_array((amount, (item, reviewer * columns + column)), shape=(n_items, n_reviewers * columns))
    by_item = sparse.csr_array((amount, (item, column)), shape=(n_items, columns))
    by_reviewer = sparse.csr_array((amount, (reviewer, column)), shape=(n_reviewers, columns))
    items, reviewers, both = (np.empty((draws, columns)) for _ in range(3))
    block = max(1, BLOCK // max(n_items, n_reviewers * columns))
    for start in range(0, draws, block):
        part = slice(start, min(start + block, draws))
        size = part.stop - part.start
        of_items = rng.multinomial(n_items, np.full(n_items, 1 / n_items), size=size).astype(float)
        of_reviewers = rng.multinomial(n_reviewers, np.full(n_reviewers, 1 / n_reviewers), size=size).astype(float)
        items[part] = of_items @ by_item
        reviewers[part] = of_reviewers @ by_reviewer
        crossed = np.asarray(of_items @ cells).reshape(size, n_reviewers, columns)
        both[part] = np.einsum("dr,drc->dc", of_reviewers, crossed)
    return Totals(
        observed=np.bincount(column, weights=amount, minlength=columns),
        items=items if n_items > 1 else None,
        reviewers=reviewers if n_reviewers > 1 else None,
        both=both,
        n_items=n_items,
        n_reviewers=n_reviewers,
    )


def spread(totals: Totals, statistic: Callable[[Floats], Floats]) -> Spread:
    """Standard error and degrees of freedom of a statistic of the sums.

    Args:
        statistic: sums, shape (draws, columns), to figures, shape (draws,); NaN where a draw has none.
    """
    if totals.items is None:
        return Spread(None, None, ONE_ITEM)
    of_items = _variance(statistic(totals.items))
    if of_items is None:
        return Spread(None, None, TOO_FEW)
    n = totals.n_items
    of_items *= n / (n - 1)
    if totals.reviewers is None:
        return Spread(of_items**0.5, n - 1)
    of_reviewers, of_both = _variance(statistic(totals.reviewers)), _variance(statistic(totals.both))
    if of_reviewers is None or of_both is None:
        return Spread(None, None, TOO_FEW)
    m = totals.n_reviewers
    noise = max(0.0, of_both - of_items * (n - 1) / n - of_reviewers) * n * m / ((n - 1) * (m - 1))
    of_reviewers *= m / (m - 1)
    variance = max(of_items + of_reviewers - noise, of_items, of_reviewers)
    if variance == 0:
        return Spread(0.0, min(n, m) - 1)
    df = variance**2 / (of_items**2 / (n - 1) + of_reviewers**2 / (m - 1) + noise**2 / ((n - 1) * (m - 1)))
    return Spread(variance**0.5, max(df, min(n, m) - 1))


def _variance(figures: Floats) -> float | None:
    defined = figures[~np.isnan(figures)]
    if defined.size < DEFINED * figures.size:
        return None
    return float(defined.var())
