"""How far a figure would move with other texts and other reviewers: variances clustered both ways.

Ratings and choices of one text resemble each other, and so do those of one reviewer. A figure's influence values (how
much each row moves it; they add up to about 0) carry both: their sums by text, by reviewer and by both.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special, stats

from evaluation.analysis.ratings import ONE_ITEM, ONE_REVIEWER, TAIL, Estimate

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

ONE_OF_BOTH = "One text and one reviewer only: no interval."


@dataclass(frozen=True, kw_only=True)
class Clusters:
    """Which text and which reviewer each row belongs to: codes from 0 without gaps, shape (n,)."""

    item: Ints
    reviewer: Ints
    both: Ints
    n_items: int
    n_reviewers: int
    n_both: int

    @classmethod
    def of(cls, item: ArrayLike, reviewer: ArrayLike) -> "Clusters":
        items, first = np.unique(np.asarray(item, dtype=np.intp), return_inverse=True)
        reviewers, second = np.unique(np.asarray(reviewer, dtype=np.intp), return_inverse=True)
        pairs, both = np.unique(first * max(1, reviewers.size) + second, return_inverse=True)
        return cls(
            item=first,
            reviewer=second,
            both=both,
            n_items=items.size,
            n_reviewers=reviewers.size,
            n_both=pairs.size,
        )

    @property
    def reason(self) -> str:
        """What an interval leaves out, or why there is none, in words."""
        if self.n_items <= 1 and self.n_reviewers <= 1:
            return ONE_OF_BOTH
        if self.n_items <= 1:
            return "One text only: the interval says nothing about other texts."
        return ONE_REVIEWER if self.n_reviewers <= 1 else ""


def _outer(scores: Floats, code: Ints, count: int) -> Floats:
    """The variance of the sum of all rows where rows of one cluster go together; shape (k, k)."""
    sums = np.stack([np.bincount(code, weights=column, minlength=count) for column in scores.T], axis=1)
    sums -= sums.mean(axis=0)
    return np.asarray(sums.T @ sums * (count / (count - 1)), dtype=float)


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Covariance of k figures, shape (k, k), with what the degrees of freedom of a contrast need."""

    covariance: Floats
    by_item: Floats
    by_reviewer: Floats
    n_items: int
    n_reviewers: int

    def of(self, contrast: ArrayLike) -> tuple[float, float]:
        """Standard error and degrees of freedom of a contrast of the figures, shape (k,)."""
        weights = np.asarray(contrast, dtype=float)
        total, item, reviewer = (
            float(weights @ one @ weights) for one in (self.covariance, self.by_item, self.by_reviewer)
        )
        total = max(total, item, reviewer, 0.0)
        least = min(count for count in (self.n_items, self.n_reviewers) if count > 1) - 1
        most = max(self.n_items, self.n_reviewers) - 1
        parts = item**2 / (self.n_items - 1) if self.n_items > 1 else 0.0
        parts += reviewer**2 / (self.n_reviewers - 1) if self.n_reviewers > 1 else 0.0
        df = total**2 / parts if parts else float(most)
        return float(np.sqrt(total)), float(np.clip(df, least, most))


def spread(scores: ArrayLike, clusters: Clusters) -> Spread | None:
    """Covariance of figures whose influence values are given, clustered by texts and by reviewers.

    Args:
        scores: shape (n,) or (n, k): how much each row moves each of k figures. clusters: of the same n rows.
    Returns:
        Spread; None with one text and one reviewer. With one reviewer the texts alone are clusters, with one text
        the reviewers alone.
    Source: Cameron, Gelbach & Miller, Journal of Business & Economic Statistics 29 (2011), 238-249: by text plus by
        reviewer less by both, each with G/(G - 1); never below either one (Davezies, D'Haultfoeuille & Guyonvarch,
        Annals of Statistics 49 (2021), discuss why). Degrees of freedom after Satterthwaite, Biometrics Bulletin 2
        (1946), from the two parts with their numbers of clusters less 1. docs/validation.md shows by simulation that
        this gives intervals that hold, and wide ones where reviewers are three.
    """
    array = np.asarray(scores, dtype=float)
    array = array[:, None] if array.ndim == 1 else array
    zero = np.zeros((array.shape[1], array.shape[1]))
    item = _outer(array, clusters.item, clusters.n_items) if clusters.n_items > 1 else zero
    reviewer = _outer(array, clusters.reviewer, clusters.n_reviewers) if clusters.n_reviewers > 1 else zero
    if clusters.n_items <= 1 and clusters.n_reviewers <= 1:
        return None
    if clusters.n_items <= 1 or clusters.n_reviewers <= 1:
        total = item + reviewer
    else:
        total = item + reviewer - _outer(array, clusters.both, clusters.n_both)
    return Spread(
        covariance=total,
        by_item=item,
        by_reviewer=reviewer,
        n_items=clusters.n_items,
        n_reviewers=clusters.n_reviewers,
    )


def quantile(df: float) -> float:
    """The factor of the standard error for a 95 % interval."""
    return float(stats.t.ppf(1 - TAIL, df))


def proportion(count: ArrayLike, of: ArrayLike, clusters: Clusters, *, n_ratings: int) -> Estimate:
    """A share: the sum of `count` over the sum of `of`, with a 95 % interval for other texts and other reviewers.

    Args:
        count, of: shape (n,), each row's part; 0 <= count <= of. n_ratings: what the rows count as in the result.
    Returns:
        Estimate in [0, 1]. The interval is made on the logit scale, so it stays inside. At 0 and 1, where rows do not
        differ, it is Wilson's (JASA 22, 1927) with as many trials as there are texts, and says so.
    """
    counted, total = np.asarray(count, dtype=float), np.asarray(of, dtype=float)
    sizes = {"n_items": clusters.n_items, "n_reviewers": clusters.n_reviewers, "n_ratings": n_ratings}
    if not total.sum():
        return Estimate(estimate=None, reason="No choices.", **sizes)
    share = float(counted.sum() / total.sum())
    if share in (0.0, 1.0):
        texts = clusters.n_items
        if texts <= 1:
            return Estimate(estimate=share, reason=ONE_ITEM, **sizes)
        bound = stats.norm.ppf(1 - TAIL) ** 2 / (texts + stats.norm.ppf(1 - TAIL) ** 2)
        low, high = (0.0, float(bound)) if share == 0 else (float(1 - bound), 1.0)
        reason = f"Always the same: the interval counts each of the {texts} texts once."
        return Estimate(estimate=share, low=low, high=high, reason=reason, **sizes)
    found = spread((counted - share * total) / total.sum(), clusters)
    if found is None:
        return Estimate(estimate=share, reason=clusters.reason, **sizes)
    error, df = found.of([1.0])
    if not error:
        return Estimate(estimate=share, reason="Every text and reviewer gives the same share: no interval.", **sizes)
    reach = quantile(df) * error / (share * (1 - share))
    low, high = (float(value) for value in special.expit(special.logit(share) + np.array([-reach, reach])))
    return Estimate(estimate=share, low=low, high=high, reason=clusters.reason, **sizes)
