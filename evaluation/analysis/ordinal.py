"""Systems against the reference by an ordinal model, as a check on models that take levels as numbers.

    log odds (rating above level) = system + reviewer - threshold of the level

Systems and reviewers are fixed effects (proportional odds: one odds ratio a system, the same at every level). Texts are
no part of the model; that ratings of one text resemble each other is in the covariance, which is clustered by text. So
an interval is about other texts and these reviewers. Odds ratios of such a model are nearer to 1 than those for one
and the same text would be, since texts differ.
"""

import warnings
from dataclasses import dataclass

import numpy as np
from scipy import stats
from statsmodels.miscmodels.ordinal_model import OrderedModel

from evaluation.analysis.mixed import INSTEAD
from evaluation.analysis.ratings import NO_RATINGS, ONE_ITEM, TAIL, Estimate, Floats, Ratings

MAX_SIZE = 2_000_000  # ratings times parameters: about a minute
CONVERGED = "The model converged."
LARGE = 12.0  # of a log odds ratio: no finite estimate


@dataclass(frozen=True, kw_only=True)
class OddsRatio:
    """The odds that the system is rated above a level, over those of the reference; above 1 where it is rated higher.

    ratio: with its 95 % interval. se: of its logarithm. p: two-sided, not adjusted.
    """

    system: int
    reference: int
    ratio: Estimate
    se: float | None = None
    p: float | None = None


@dataclass(frozen=True, kw_only=True)
class Ordinal:
    """Odds ratios of every system but the reference, and how the fit went, in words."""

    ratios: tuple[OddsRatio, ...]
    state: str


def fit(ratings: Ratings, reference: int) -> Ordinal:
    """Fit the proportional-odds model by maximum likelihood and compare every system with the reference.

    Intervals and p-values are by Student's t with one degree of freedom less than texts, since the covariance is that
    of clusters. Reviewers who gave nothing but the highest level, or nothing but the lowest, tell systems not apart and
    are left out; a system that was given nothing else has no finite odds ratio.

    Args:
        reference: its code.
    Source: McCullagh, Journal of the Royal Statistical Society B 42 (1980), by statsmodels' OrderedModel; clustered
        covariance and its degrees of freedom: Cameron & Miller, Journal of Human Resources 50 (2015).
    """
    used, left_out = _without_flat(ratings, ratings.reviewer)
    flat = _flat(used, used.system)
    kept = used.where(~np.isin(used.system, flat))
    if reason := _unfit(ratings, kept, reference, flat):
        return _without(ratings, reference, reason)
    systems = [int(code) for code in np.unique(kept.system) if code != reference]
    people = np.unique(kept.reviewer)[1:]
    exog = np.column_stack(
        [kept.system == code for code in systems] + [kept.reviewer == code for code in people]
    ).astype(float)
    levels = np.unique(kept.value)
    parameters = exog.shape[1] + levels.size - 1
    if len(kept) <= parameters:
        return _without(ratings, reference, f"Too few ratings for the ordinal model. {INSTEAD}")
    if len(kept) * parameters > MAX_SIZE:
        return _without(ratings, reference, f"Too many ratings and reviewers for the ordinal model. {INSTEAD}")
    if np.linalg.matrix_rank(np.column_stack([np.ones(len(kept)), exog])) <= exog.shape[1]:
        words = f"Systems and reviewers cannot be told apart, since nobody rated several systems. {INSTEAD}"
        return _without(ratings, reference, words)
    found = _maximum(np.searchsorted(levels, kept.value), exog, kept.item)
    if found is None:
        return _without(ratings, reference, f"The ordinal model did not converge. {INSTEAD}")
    coefficients, errors = found
    state = CONVERGED
    if left_out:
        state += f" Left out: {left_out} reviewer{'s' if left_out > 1 else ''} who gave one end of the scale only."
    ratios = []
    for system in range(ratings.n_systems):
        if system == reference:
            continue
        if system in systems:
            place = systems.index(system)
            ratios.append(_ratio(kept, system, reference, float(coefficients[place]), float(errors[place])))
        else:
            words = "Every rating is at one end of the scale: no finite odds ratio."
            ratios.append(_no_ratio(ratings, system, reference, words if system in flat else "No ratings."))
    return Ordinal(ratios=tuple(ratios), state=state)


def _flat(ratings: Ratings, code: np.ndarray) -> np.ndarray:
    """Codes whose ratings are all at the lowest or all at the highest level that occurs."""
    if not len(ratings):
        return np.array([], dtype=np.intp)
    ends = (ratings.value.min(), ratings.value.max())
    codes = np.unique(code)
    return np.array([one for one in codes if any((ratings.value[code == one] == end).all() for end in ends)], dtype=int)


def _without_flat(ratings: Ratings, code: np.ndarray) -> tuple[Ratings, int]:
    flat = _flat(ratings, code)
    if flat.size == np.unique(code).size:
        return ratings, 0
    return ratings.where(~np.isin(code, flat)), int(flat.size)


def _unfit(ratings: Ratings, kept: Ratings, reference: int, flat: np.ndarray) -> str:
    if not len(ratings):
        return NO_RATINGS
    if np.ptp(ratings.value) == 0:
        return f"Every rating is {ratings.value[0]:g}: there is nothing to model."
    if not (ratings.system == reference).any():
        return "The reference has no ratings."
    if np.unique(ratings.system).size < 2:
        return "Only the reference has ratings: there is nothing to compare."
    if reference in flat:
        return f"Every rating of the reference is at one end of the scale: no finite odds ratio. {INSTEAD}"
    if np.unique(kept.system).size < 2:
        return f"Every rating of the other systems is at one end of the scale: no finite odds ratio. {INSTEAD}"
    return ""


def _maximum(level: np.ndarray, exog: Floats, item: np.ndarray) -> tuple[Floats, Floats] | None:
    """Coefficients and standard errors clustered by text (NaN with one text); None where there is no maximum."""
    several = np.unique(item).size > 1
    options = {"cov_type": "cluster", "cov_kwds": {"groups": item}} if several else {}
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # on the way to the maximum; whether it was found is asked below
        try:
            found = OrderedModel(level, exog, distr="logit").fit(method="bfgs", maxiter=1_000, disp=False, **options)
            coefficients, errors = np.asarray(found.params), np.asarray(found.bse)
        except np.linalg.LinAlgError:
            return None
    coefficients, errors = coefficients[: exog.shape[1]], errors[: exog.shape[1]]
    if not found.mle_retvals["converged"] or not np.isfinite(coefficients).all():
        return None
    if not several:
        errors = np.full(errors.shape, np.nan)
    return coefficients, errors


def _ratio(kept: Ratings, system: int, reference: int, coefficient: float, se: float) -> OddsRatio:
    sizes = kept.where(np.isin(kept.system, [system, reference])).counts
    if abs(coefficient) > LARGE:
        words = "The system's ratings and the reference's do not overlap: no finite odds ratio."
        return OddsRatio(system=system, reference=reference, ratio=Estimate(estimate=None, **sizes, reason=words))
    value = float(np.exp(coefficient))
    n_items = np.unique(kept.item).size
    if not se > 0:
        words = ONE_ITEM if n_items == 1 else "No standard error could be computed."
        return OddsRatio(system=system, reference=reference, ratio=Estimate(estimate=value, **sizes, reason=words))
    half = float(stats.t.isf(TAIL, n_items - 1)) * se
    low, high = float(np.exp(coefficient - half)), float(np.exp(coefficient + half))
    return OddsRatio(
        system=system,
        reference=reference,
        ratio=Estimate(estimate=value, low=low, high=high, **sizes),
        se=se,
        p=float(2 * stats.t.sf(abs(coefficient) / se, n_items - 1)),
    )


def _no_ratio(ratings: Ratings, system: int, reference: int, reason: str) -> OddsRatio:
    sizes = ratings.where(np.isin(ratings.system, [system, reference])).counts
    return OddsRatio(system=system, reference=reference, ratio=Estimate(estimate=None, **sizes, reason=reason))


def _without(ratings: Ratings, reference: int, reason: str) -> Ordinal:
    others = [code for code in range(ratings.n_systems) if code != reference]
    return Ordinal(ratios=tuple(_no_ratio(ratings, code, reference, reason) for code in others), state=reason)
