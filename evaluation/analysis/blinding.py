"""Whether the blinding held: what reviewers guess about outputs, against what they are.

There are two arms, outputs of tuned systems and outputs of others, and three answers: tuned, not tuned, don't know.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from evaluation.analysis import clustering
from evaluation.analysis.clustering import Clusters
from evaluation.analysis.ratings import TAIL, Estimate

Floats = NDArray[np.float64]

TUNED, NOT_TUNED, DONT_KNOW = 0, 1, 2  # guesses, and the rows of a table of counts
BOUND = 0.2
SEVERAL = 6  # texts on which all guesses go one way: by chance in under 5 % (2 of 2^6), as by a sign test
NO_GUESSES = "No guesses."
JAMES_WEIGHTS = (0.0, 0.5)  # of a correct and a wrong guess

Verdict = Literal["blind", "unblinded", "opposite", "unclear", "none"]
WORDS: dict[str, str] = {
    "blind": "Blind as far as the guesses show: right and wrong ones are about as many.",
    "unblinded": "Not blind: reviewers guessed right more often than by chance.",
    "opposite": "Reviewers guessed the opposite more often than by chance: what they expected misled them.",
    "unclear": "Unclear: too few guesses to tell.",
    "none": "No guesses, so nothing can be said about the blinding.",
}


@dataclass(frozen=True, kw_only=True)
class Arm:
    """Guesses about one arm's outputs. index: Bang's index, in [-1, 1]: 1 all right, 0 as by chance, -1 all wrong.
    verdict, and the same in words."""

    right: int
    wrong: int
    unknown: int
    index: Estimate
    verdict: Verdict
    words: str


@dataclass(frozen=True, kw_only=True)
class Blinding:
    """tuned, other: Bang's index of each arm. james: James' index of both together, in [0, 1]: 1 all don't know,
    0.5 guesses as by chance, 0 all right. summary: what that says together, in words."""

    tuned: Arm
    other: Arm
    james: Estimate
    summary: str


def blinding(
    is_tuned: ArrayLike,
    guess: ArrayLike,
    *,
    item: ArrayLike,
    reviewer: ArrayLike,
) -> Blinding:
    """Bang's and James' blinding indices with 95 % intervals for other texts and other reviewers.

    Args:
        is_tuned: shape (n,), whether the output is a tuned system's. guess: shape (n,), 0 tuned, 1 not tuned, 2 don't
            know. item, reviewer: codes, shape (n,).
    Returns:
        Blinding. Guesses by one reviewer, and guesses on one text, may resemble each other: the intervals are clustered
        both ways (see clustering), with t quantiles, and cut at the ends of the index's range.
    Raises:
        ValueError: shapes differ, or a guess is not 0, 1 or 2.
    Source: Bang, Ni & Davis, Controlled Clinical Trials 25 (2004), 143-156; James, Bloch, Lee, Kraemer & Fuller,
        Statistics in Medicine 15 (1996), 1421-1434, with weights 0, 0.5 and 1 of right, wrong and don't know. Bounds of
        -0.2 and 0.2: Bang, Flaherty, Kolahi & Park, Clinical Research and Regulatory Affairs 27 (2010), 42-51.
    """
    arms, guesses = np.asarray(is_tuned).astype(bool), np.asarray(guess).astype(np.intp)
    if not arms.shape == guesses.shape == np.shape(item) == np.shape(reviewer) or arms.ndim != 1:
        raise ValueError("is_tuned, guess, item and reviewer must be equally long")
    if not np.isin(guesses, (TUNED, NOT_TUNED, DONT_KNOW)).all():
        raise ValueError("guesses are 0 (tuned), 1 (not tuned) or 2 (don't know)")
    items, reviewers = np.asarray(item), np.asarray(reviewer)
    found = []
    for arm, right in ((True, TUNED), (False, NOT_TUNED)):
        rows = arms == arm
        score = np.where(guesses == right, 1.0, np.where(guesses == DONT_KNOW, 0.0, -1.0))[rows]
        found.append(_arm(score, Clusters.of(items[rows], reviewers[rows])))
    clusters = Clusters.of(items, reviewers)
    table = np.zeros((3, 2))
    column = np.where(arms, 0, 1)
    np.add.at(table, (guesses, column), 1)
    sizes = {"n_items": clusters.n_items, "n_reviewers": clusters.n_reviewers, "n_ratings": int(guesses.size)}
    index = james_of_shares(table / max(1, guesses.size))
    if index is None:
        james = Estimate(estimate=None, reason=_why_nojames_of_shares(table), **sizes)
    else:
        influence = _james_gradient(table / guesses.size)[guesses, column]
        james = _interval(index, (influence - influence.mean()) / guesses.size, clusters, sizes, (0.0, 1.0))
    return Blinding(tuned=found[0], other=found[1], james=james, summary=_summary(*found))


def _arm(score: Floats, clusters: Clusters) -> Arm:
    right, unknown, wrong = (int((score == value).sum()) for value in (1, 0, -1))
    sizes = {"n_items": clusters.n_items, "n_reviewers": clusters.n_reviewers, "n_ratings": int(score.size)}
    if not score.size:
        nothing = Estimate(estimate=None, reason=NO_GUESSES, **sizes)
        return Arm(right=0, wrong=0, unknown=0, index=nothing, verdict="none", words=WORDS["none"])
    mean = float(score.mean())
    index = _interval(mean, (score - mean) / score.size, clusters, sizes, (-1.0, 1.0))
    verdict = _verdict(index)
    return Arm(right=right, wrong=wrong, unknown=unknown, index=index, verdict=verdict, words=_words(index, verdict))


def _interval(
    value: float, scores: Floats, clusters: Clusters, sizes: dict[str, int], ends: tuple[float, float]
) -> Estimate:
    found = clustering.spread(scores, clusters)
    error, df = found.of([1.0]) if found else (0.0, 1.0)
    if error < 1e-12:
        reason = "Every text and every reviewer gave the same answers: no interval." if found else clusters.reason
        return Estimate(estimate=value, reason=reason, **sizes)
    reach = clustering.quantile(df) * error
    low, high = max(ends[0], value - reach), min(ends[1], value + reach)
    return Estimate(estimate=value, low=low, high=high, reason=clusters.reason, **sizes)


def _verdict(index: Estimate) -> Verdict:
    """By the interval: away from 0 is a finding, all of it inside the bounds is blind, the rest is open.

    Without one (all guesses alike) only several texts, guessed by several reviewers, are a finding.
    """
    assert index.estimate is not None
    if index.low is None or index.high is None:
        if index.n_items < SEVERAL or index.n_reviewers < 2 or abs(index.estimate) < BOUND:
            return "unclear"
        return "unblinded" if index.estimate > 0 else "opposite"
    if index.low > 0:
        return "unblinded"
    if index.high < 0:
        return "opposite"
    return "blind" if index.low >= -BOUND and index.high <= BOUND else "unclear"


def _words(index: Estimate, verdict: Verdict) -> str:
    words = WORDS[verdict]
    if verdict == "unblinded" and index.estimate is not None and index.estimate < BOUND:
        words = f"Slightly unblinded: right guesses are more than by chance, yet the index is below {BOUND:g}."
    if verdict == "opposite" and index.estimate is not None and index.estimate > -BOUND:
        words = f"Slightly misled: wrong guesses are more than by chance, yet the index is above -{BOUND:g}."
    if verdict == "unclear" and index.low is not None:
        words += " The interval holds both no knowledge and more than a little."
    return words


def _summary(tuned: Arm, other: Arm) -> str:
    """The two arms together, after the scenarios of Bang et al. (2004), with what limits that."""
    said = _together(tuned, other)
    reviewers = max(tuned.index.n_reviewers, other.index.n_reviewers)
    return f"{said} All guesses are one reviewer's and say nothing about others." if reviewers == 1 else said


def _together(tuned: Arm, other: Arm) -> str:
    both = {tuned.verdict, other.verdict}
    if both == {"none"}:
        return WORDS["none"]
    if "none" in both:
        name, arm = ("not tuned", other) if tuned.verdict == "none" else ("tuned", tuned)
        return f"Guesses were made about outputs of one kind only ({name}). {arm.words}"
    if both == {"blind"}:
        return (
            "The blinding held as far as the guesses show: no sign that reviewers could tell outputs of tuned systems "
            "from others."
        )
    if both == {"unblinded"}:
        return "The blinding did not hold: reviewers told outputs of tuned systems and others apart."
    if both == {"unblinded", "opposite"}:
        name = "tuned" if tuned.verdict == "unblinded" else "not tuned"
        return (
            f"Reviewers took most outputs for {name}, whichever they were: a leaning of theirs, not knowledge of which "
            "is which."
        )
    if both == {"opposite"}:
        return "Reviewers told the outputs apart, but took each kind for the other."
    if "unblinded" in both:
        name = "tuned systems" if tuned.verdict == "unblinded" else "other systems"
        said = f"The blinding did not wholly hold: outputs of {name} were recognised more often than by chance."
        return f"{said} There are too few guesses about the others to tell." if "unclear" in both else said
    if both == {"opposite", "unclear"}:
        return "Guesses were worse than chance on one kind of output; about the other there are too few to tell."
    if "opposite" in both:
        return "Guesses were worse than chance on one kind of output; no sign that reviewers knew which is which."
    return "There are too few guesses to say that the blinding held."


# From counts alone


def bang_index(right: int, wrong: int, unknown: int) -> Estimate:
    """Bang's index of one arm from counts alone, as published: every guess taken as independent.

    Returns:
        Estimate in [-1, 1] with the two-sided 95 % normal interval; the numbers of texts and reviewers are not known
        and given as 0.
    Source: Bang, Ni & Davis (2004), section 3: (2 r - 1)(1 - p), r the right share of guesses, p the share of don't
        know, which is the share of right less that of wrong answers.
    """
    count = right + wrong + unknown
    if min(right, wrong, unknown) < 0:
        raise ValueError("counts cannot be below 0")
    sizes = {"n_items": 0, "n_reviewers": 0, "n_ratings": count}
    if not count:
        return Estimate(estimate=None, reason=NO_GUESSES, **sizes)
    index = (right - wrong) / count
    error = float(np.sqrt(((right + wrong) / count - index**2) / count))
    reach = float(stats.norm.ppf(1 - TAIL)) * error
    return Estimate(estimate=index, low=max(-1.0, index - reach), high=min(1.0, index + reach), reason="", **sizes)


def james_index(counts: Sequence[Sequence[int]]) -> Estimate:
    """James' index from counts alone, every guess taken as independent.

    Args:
        counts: shape (3, 2): guesses tuned, not tuned, don't know; of tuned outputs, of others.
    Returns:
        Estimate in [0, 1] with the two-sided 95 % normal interval by the delta method.
    Source: James et al. (1996), as restated by Bang, Ni & Davis (2004), section 2.
    """
    table = np.asarray(counts, dtype=float)
    if table.shape != (3, 2) or (table < 0).any():
        raise ValueError("counts must be a table of 3 guesses by 2 arms, from 0")
    total = table.sum()
    sizes = {"n_items": 0, "n_reviewers": 0, "n_ratings": int(total)}
    index = james_of_shares(table / max(1, total))
    if index is None:
        return Estimate(estimate=None, reason=_why_nojames_of_shares(table), **sizes)
    shares = table / total
    gradient = _james_gradient(shares)
    variance = ((gradient**2 * shares).sum() - (gradient * shares).sum() ** 2) / total
    reach = float(stats.norm.ppf(1 - TAIL) * np.sqrt(max(0.0, variance)))
    return Estimate(estimate=index, low=max(0.0, index - reach), high=min(1.0, index + reach), reason="", **sizes)


def _why_nojames_of_shares(table: Floats) -> str:
    return NO_GUESSES if not table.sum() else "All guesses were about one kind of output, or the same: no James index."


def james_of_shares(shares: Floats) -> float | None:
    """James' index of shares that add up to 1, shape (3, 2); None where it is not defined."""
    if not np.isclose(shares.sum(), 1) or (shares.sum(axis=0) <= 0).any():
        return None
    unknown = shares[DONT_KNOW].sum()
    if np.isclose(unknown, 1):
        return 1.0
    weights = np.array([[JAMES_WEIGHTS[0], JAMES_WEIGHTS[1]], [JAMES_WEIGHTS[1], JAMES_WEIGHTS[0]]])
    guessed = shares[:2]
    observed = (weights * guessed).sum() / (1 - unknown)
    chance = (weights * np.outer(guessed.sum(axis=1), guessed.sum(axis=0))).sum() / (1 - unknown) ** 2
    if chance <= 0:
        return None
    return float((1 + unknown + (1 - unknown) * (observed - chance) / chance) / 2)


def _james_gradient(shares: Floats) -> Floats:
    """How the index moves with each share, by central differences, along shares that add up to 1."""
    gradient, step = np.zeros((3, 2)), 1e-6
    for row in range(3):
        for column in range(2):
            towards = -shares.copy()
            towards[row, column] += 1
            up, down = james_of_shares(shares + step * towards), james_of_shares(shares - step * towards)
            if up is not None and down is not None:
                gradient[row, column] = (up - down) / (2 * step)
    return gradient
