"""Systems against the reference by a crossed mixed model: all ratings at once, whoever gave them to whichever text.

    rating = system + text + text:system + text:reviewer + reviewer + reviewer:system + rest

Systems are fixed; the other parts are normal random effects (Clark, Journal of Verbal Learning and Verbal Behavior 12
(1973), on why texts are random too; Baayen, Davidson & Bates, Journal of Memory and Language 59 (2008), on crossed
effects). The interactions stand for texts that suit one system, for what one reviewer makes of one text, whatever the
output, and for reviewers with a taste for one system; without them standard errors would be wrong, mostly too small
(Barr, Levy, Scheepers & Tily, same journal, 68 (2013)). An effect that this
study cannot tell from another is left out, and said so. Ratings are taken as numbers with equal steps; `ordinal` and
`ranks` do not do that.
"""

from dataclasses import dataclass

import numpy as np
from scipy import stats

from evaluation.analysis import reml
from evaluation.analysis.ratings import NO_RATINGS, TAIL, Difference, Estimate, Ratings

HOW = "the systems' effects in a mixed model with texts and reviewers as crossed random effects"
INSTEAD = "The means with their bootstrap intervals and the rank tests stand."
CONVERGED = "The model converged."
LABELS = {
    reml.ITEM: "texts",
    reml.OUTPUT: "texts by system",
    reml.READING: "texts by reviewer",
    reml.REVIEWER: "reviewers",
    reml.TASTE: "reviewers by system",
    "residual": "rest",
}


@dataclass(frozen=True, kw_only=True)
class Component:
    """A variance component: variance in squared levels, and its share of the sum of all, in [0, 1]."""

    name: str
    label: str
    variance: float
    share: float


@dataclass(frozen=True, kw_only=True)
class Mixed:
    """A fitted model, or why there is none.

    differences: one for each system but the reference. components: empty without a model. state: how the fit went, in
    words. left_out: effects that the study cannot tell from others, in words.
    """

    differences: tuple[Difference, ...]
    components: tuple[Component, ...] = ()
    state: str
    left_out: tuple[str, ...] = ()


def fit(ratings: Ratings, reference: int) -> Mixed:
    """Fit the model by REML and compare every system with the reference.

    Intervals and two-sided p-values are by Student's t with Satterthwaite's degrees of freedom, since six reviewers are
    far from the infinitely many that a normal quantile takes for granted (Luke, Behavior Research Methods 49 (2017)).

    Args:
        reference: its code.
    Returns:
        Mixed; where no model can be fitted every difference says why.
    Source: see the module and `reml`.
    """
    present, system = np.unique(ratings.system, return_inverse=True)
    if reason := _unfit(ratings, present, reference):
        return _without(ratings, reference, reason)
    components, left_out = _components(ratings)
    if not components:
        return _without(ratings, reference, f"Texts and reviewers cannot be told apart in this study. {INSTEAD}")
    exog = np.eye(present.size)[system]
    try:
        found = reml.fit(ratings, exog, components)
    except reml.TooLarge:
        return _without(ratings, reference, f"Too many texts and reviewers for the mixed model. {INSTEAD}")
    if found.saturated:
        return _without(ratings, reference, f"Texts, reviewers and systems explain every rating exactly. {INSTEAD}")
    if not found.converged:
        return _without(ratings, reference, f"The mixed model did not converge. {INSTEAD}")
    total = found.residual + sum(found.variances.values())
    parts = [*found.variances.items(), ("residual", found.residual)]
    at_zero = [LABELS[name] for name, variance in found.variances.items() if variance == 0]
    state = CONVERGED
    if at_zero:
        state += f" No variance was found between {', '.join(at_zero)}."
    place = {int(code): where for where, code in enumerate(present)}
    return Mixed(
        differences=tuple(
            _difference(ratings, found, place, other, reference)
            for other in range(ratings.n_systems)
            if other != reference
        ),
        components=tuple(
            Component(name=name, label=LABELS[name], variance=variance, share=variance / total)
            for name, variance in parts
        ),
        state=state,
        left_out=left_out,
    )


def _unfit(ratings: Ratings, present: np.ndarray, reference: int) -> str:
    if not len(ratings):
        return NO_RATINGS
    if reference not in present:
        return "The reference has no ratings."
    if present.size < 2:
        return "Only the reference has ratings: there is nothing to compare."
    if np.ptp(ratings.value) == 0:
        return f"Every rating is {ratings.value[0]:g}: there is nothing to model."
    if len(ratings) < present.size + 2:
        return f"Too few ratings for the mixed model. {INSTEAD}"
    return ""


def _components(ratings: Ratings) -> tuple[list[str], tuple[str, ...]]:
    """The random effects that this study can tell from each other, and the others in words."""
    n = len(ratings)
    items, reviewers = np.unique(ratings.item).size, np.unique(ratings.reviewer).size
    outputs = np.unique(ratings.output).size
    readings = np.unique(ratings.item * ratings.n_reviewers + ratings.reviewer).size
    tastes = np.unique(ratings.reviewer * ratings.n_systems + ratings.system).size
    found, left_out = [], []
    for name, fits, words in (
        (reml.ITEM, 1 < items < n, "Effects of texts: there is one text only, or no text has two ratings."),
        (reml.REVIEWER, 1 < reviewers < n, "Effects of reviewers: there is one reviewer only, or none rated twice."),
        (reml.OUTPUT, 1 < items < outputs < n, "Effects of texts by system: no output has ratings of two reviewers."),
        (
            reml.READING,
            1 < items < readings < n and reviewers < readings,
            "Effects of texts by reviewer: no reviewer rated two outputs of one text.",
        ),
        (reml.TASTE, 1 < reviewers < tastes < n, "Effects of reviewers by system: no reviewer rated a system twice."),
    ):
        if fits:
            found.append(name)
        else:
            left_out.append(words)
    return found, tuple(left_out)


def _difference(ratings: Ratings, found: reml.Fit, place: dict[int, int], system: int, reference: int) -> Difference:
    kept = ratings.where(np.isin(ratings.system, [system, reference]))
    if system not in place:
        nothing = Estimate(estimate=None, **kept.counts, reason="The system has no ratings.")
        return Difference(system=system, reference=reference, difference=nothing, how=HOW)
    contrast = np.zeros(len(place))
    contrast[place[system]], contrast[place[reference]] = 1.0, -1.0
    value = float(contrast @ found.coefficients)
    se = float(contrast @ found.covariance @ contrast) ** 0.5
    df = found.df(contrast)
    half = float(stats.t.isf(TAIL, df)) * se
    reason = ""
    if reml.REVIEWER not in found.variances:
        reason = "The interval says nothing about other reviewers."
    elif reml.ITEM not in found.variances:
        reason = "The interval says nothing about other texts."
    return Difference(
        system=system,
        reference=reference,
        difference=Estimate(estimate=value, low=value - half, high=value + half, **kept.counts, reason=reason),
        se=se,
        df=df,
        p=float(2 * stats.t.sf(abs(value) / se, df)),
        how=HOW,
    )


def _without(ratings: Ratings, reference: int, reason: str) -> Mixed:
    nothing = Estimate(estimate=None, **ratings.counts, reason=reason)
    others = [code for code in range(ratings.n_systems) if code != reference]
    return Mixed(
        differences=tuple(Difference(system=code, reference=reference, difference=nothing, how=HOW) for code in others),
        state=reason,
    )
