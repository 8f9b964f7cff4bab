"""Shares of independent choices."""

from dataclasses import dataclass

from statsmodels.stats.proportion import proportion_confint

from evaluation.analysis.ratings import CONFIDENCE


@dataclass(frozen=True, kw_only=True)
class Share:
    """How often something was chosen: a proportion in [0, 1] with its 95 % interval."""

    count: int
    n: int
    estimate: float | None
    low: float | None = None
    high: float | None = None
    reason: str = ""


def share(count: int, n: int) -> Share:
    """A proportion with its 95 % Wilson score interval.

    Args:
        count: how often it was chosen. n: out of how many choices.
    Returns:
        Share in [0, 1]. The interval takes the choices as independent; choices about one text by several
        reviewers are not quite, so it is somewhat too narrow.
    Raises:
        ValueError: count is not within 0..n.
    Source: Wilson, JASA 22 (1927), by statsmodels.stats.proportion.proportion_confint.
    """
    if not 0 <= count <= n:
        raise ValueError(f"count must be between 0 and n, got {count} of {n}")
    if n == 0:
        return Share(count=0, n=0, estimate=None, reason="No choices.")
    low, high = proportion_confint(count, n, alpha=1 - CONFIDENCE, method="wilson")
    return Share(count=count, n=n, estimate=count / n, low=max(0.0, float(low)), high=min(1.0, float(high)))
