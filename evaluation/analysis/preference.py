"""Preferences: who was chosen over whom, how strong each system is, and how sure that is.

`Pages` are the choices as reviewers made them: side by side, pairwise, best and worst. `Choices` are what they say of
two systems at a time. One page gives several such rows, **which are not independent of each other**; every interval
here takes texts and reviewers as the units (see clustering), and with them a page, which has one of each.
"""

import itertools
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import statsmodels.api as sm
from numpy.typing import NDArray
from scipy import optimize, sparse, special, stats
from statsmodels.tools.sm_exceptions import ConvergenceWarning, PerfectSeparationWarning

from evaluation.analysis import clustering
from evaluation.analysis.clustering import Clusters
from evaluation.analysis.ratings import Estimate, TestResult

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

SECOND, TIE, FIRST = -1, 0, 1  # outcomes of a row
NO_CHOICES = "No choices."
ALL_TIES = "Every choice was a tie: nobody preferred a system, and strengths are not defined."
SHRUNK = (
    "{who} So no strengths fit these choices best: those shown have half a win and half a loss against an imagined "
    "system added for each system, which draws them together. They have no intervals and no tests. Counts and win "
    "rates are as they are."
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Choices:
    """One row for each two systems that one page compares.

    item, reviewer, first, second: codes from 0, shape (n,); `first` is the one shown first. outcome, shape (n,): 1
    where the first was preferred, -1 the second, 0 a tie. Raises ValueError where this does not hold.
    """

    item: Ints
    reviewer: Ints
    first: Ints
    second: Ints
    outcome: Ints
    n_systems: int

    def __post_init__(self) -> None:
        for name in ("item", "reviewer", "first", "second", "outcome"):
            given = np.asarray(getattr(self, name))
            codes = given.astype(np.intp)
            if given.ndim != 1 or (codes != given).any():
                raise ValueError(f"{name} must be whole numbers in one axis")
            object.__setattr__(self, name, codes)
        sizes = {getattr(self, name).size for name in ("item", "reviewer", "first", "second", "outcome")}
        if len(sizes) > 1:
            raise ValueError("item, reviewer, first, second and outcome must be equally long")
        both = np.concatenate([self.first, self.second])
        if both.size and (both.min() < 0 or both.max() >= self.n_systems):
            raise ValueError(f"systems must be codes from 0 to {self.n_systems - 1}")
        if (self.first == self.second).any():
            raise ValueError("a system cannot be compared with itself")
        if not np.isin(self.outcome, (SECOND, TIE, FIRST)).all():
            raise ValueError("outcomes are 1 (first preferred), -1 (second preferred) or 0 (tie)")

    def __len__(self) -> int:
        return int(self.outcome.size)

    @property
    def clusters(self) -> Clusters:
        return Clusters.of(self.item, self.reviewer)


@dataclass(frozen=True, kw_only=True, eq=False)
class Pages:
    """Choices as they were made, one row a page.

    item, reviewer: codes from 0, shape (n,). shown: systems in the order of their places, shape (n, k), -1 where a
    page has fewer. slot: shape (n, k), which slot of the page each system is behind; systems with the same text share
    one. By default each has its own: 0, 1, 2 ... best: shape (n,), the slot preferred, -1 where none was (a tie).
    worst: shape (n,), the slot that was the worst, -1 where none; None in layouts that do not ask.
    """

    item: Ints
    reviewer: Ints
    shown: Ints
    best: Ints
    n_systems: int
    slot: Ints | None = None
    worst: Ints | None = None

    def __post_init__(self) -> None:
        shown = np.asarray(self.shown, dtype=np.intp)
        if shown.ndim != 2:
            raise ValueError(f"shown must have 2 axes, got shape {shown.shape}")
        slot = np.arange(shown.shape[1]) if self.slot is None else np.asarray(self.slot, dtype=np.intp)
        slot = np.where(shown >= 0, np.broadcast_to(slot, shown.shape), -1)
        if shown.size and shown.max() >= self.n_systems:
            raise ValueError(f"systems must be codes from 0 to {self.n_systems - 1}")
        object.__setattr__(self, "shown", shown)
        object.__setattr__(self, "slot", slot)
        for name in ("item", "reviewer", "best", "worst"):
            if (given := getattr(self, name)) is None:
                continue
            codes = np.asarray(given, dtype=np.intp)
            if codes.shape != shown.shape[:1]:
                raise ValueError(f"{name} must have one value a page")
            if name in ("best", "worst") and not ((codes == -1) | (slot == codes[:, None]).any(axis=1)).all():
                raise ValueError(f"{name} must be a slot of its page, or -1")
            object.__setattr__(self, name, codes)
        if self.worst is not None and ((self.best == self.worst) & (self.best >= 0)).any():
            raise ValueError("the best of a page cannot be its worst")

    def __len__(self) -> int:
        return int(self.best.size)

    @property
    def clusters(self) -> Clusters:
        return Clusters.of(self.item, self.reviewer)


def choices_of(pages: Pages) -> Choices:
    """What pages say of two systems at a time.

    Side by side and pairwise: the preferred one beats each other one; without a preference all of the page tie. The
    others say nothing of each other. Best-worst: the best also beats all others, and all others beat the worst.
    Systems with the same text tie. Rows of one page are not independent of each other.

    Source: Azari Soufiani, Chen, Parkes & Xia, Advances in Neural Information Processing Systems 26 (2013): under
        Luce's choice model the rows of the best against each other one estimate the strengths without bias. For the
        rows of the worst this holds only nearly; best-worst scores do not need it.
    """
    assert pages.slot is not None
    found: list[tuple[Ints, Ints, Ints, Ints, Ints]] = []
    for one, other in itertools.combinations(range(pages.shown.shape[1]), 2):
        first, second = pages.slot[:, one], pages.slot[:, other]
        there = (first >= 0) & (second >= 0)
        outcome = np.full(len(pages), 9)
        outcome[pages.best == -1] = TIE
        outcome[pages.best == first] = FIRST
        outcome[pages.best == second] = SECOND
        if pages.worst is not None:
            outcome[(pages.best == -1) & (pages.worst >= 0)] = 9
            outcome[(pages.worst == first) & (pages.worst >= 0)] = SECOND
            outcome[(pages.worst == second) & (pages.worst >= 0)] = FIRST
        outcome[first == second] = TIE
        keep = there & (outcome != 9)
        found.append(
            (
                pages.item[keep],
                pages.reviewer[keep],
                pages.shown[keep, one],
                pages.shown[keep, other],
                outcome[keep],
            )
        )
    columns = [np.concatenate(part) for part in zip(*found, strict=True)] if found else [np.zeros(0, np.intp)] * 5
    names = ("item", "reviewer", "first", "second", "outcome")
    return Choices(n_systems=pages.n_systems, **dict(zip(names, columns, strict=True)))


@dataclass(frozen=True, kw_only=True)
class WinRate:
    """Two systems against each other. `rate` is the share of the first's wins, ties counted half, in [0, 1]."""

    first: int
    second: int
    wins: int
    ties: int
    losses: int
    rate: Estimate


def win_rates(choices: Choices) -> list[WinRate]:
    """Wins, ties and losses of each two systems that were compared, in the order of their codes.

    The intervals are for other texts and other reviewers (clustering.proportion); n_ratings counts the rows.
    """
    found = []
    low = np.minimum(choices.first, choices.second)
    high = np.maximum(choices.first, choices.second)
    sign = np.where(choices.first == low, choices.outcome, -choices.outcome)
    for one, other in itertools.combinations(range(choices.n_systems), 2):
        rows = (low == one) & (high == other)
        if not rows.any():
            continue
        outcome = sign[rows]
        clusters = Clusters.of(choices.item[rows], choices.reviewer[rows])
        rate = clustering.proportion((outcome + 1) / 2, np.ones(outcome.size), clusters, n_ratings=int(outcome.size))
        wins, ties, losses = (int((outcome == value).sum()) for value in (FIRST, TIE, SECOND))
        found.append(WinRate(first=one, second=other, wins=wins, ties=ties, losses=losses, rate=rate))
    return found


@dataclass(frozen=True, kw_only=True)
class Preferred:
    """How often a system was preferred among the pages that showed it."""

    system: int
    shown: int
    preferred: int
    share: Estimate


def shares_preferred(pages: Pages) -> tuple[list[Preferred], Estimate]:
    """For each system the share of its pages on which it was preferred, and the share of all pages without preference.

    A slot that stands for several systems counts for each. n_ratings counts pages. Intervals: clustering.proportion.
    """
    assert pages.slot is not None
    clusters, result = pages.clusters, []
    won = (pages.slot == pages.best[:, None]) & (pages.best >= 0)[:, None]
    for system in range(pages.n_systems):
        here = pages.shown == system
        shown, preferred = here.any(axis=1), (here & won).any(axis=1)
        rows = Clusters.of(pages.item[shown], pages.reviewer[shown])
        share = clustering.proportion(preferred[shown], np.ones(shown.sum()), rows, n_ratings=int(shown.sum()))
        result.append(
            Preferred(system=system, shown=int(shown.sum()), preferred=int(preferred.sum()), share=share),
        )
    nobody = clustering.proportion(pages.best == -1, np.ones(len(pages)), clusters, n_ratings=len(pages))
    return result, nobody


@dataclass(frozen=True, kw_only=True)
class BestWorst:
    """A system's best-worst score: times best less times worst, over times shown; in [-1, 1]."""

    system: int
    shown: int
    best: int
    worst: int
    score: Estimate


def best_worst_scores(pages: Pages) -> list[BestWorst]:
    """Best-worst scores with 95 % intervals for other texts and other reviewers; n_ratings counts pages.

    Raises:
        ValueError: the pages did not ask for the worst.
    Source: Marley & Louviere, Journal of Mathematical Psychology 49 (2005), 464-480: the difference of the counts is
        a sufficient statistic of the maxdiff model where systems are shown equally often. Interval: t quantile and a
        variance clustered both ways (see clustering), cut at -1 and 1.
    """
    if pages.worst is None or pages.slot is None:
        raise ValueError("these pages have no worst output")
    result = []
    for system in range(pages.n_systems):
        here = pages.shown == system
        shown = here.any(axis=1)
        best = (here & (pages.slot == pages.best[:, None]) & (pages.best >= 0)[:, None]).any(axis=1)
        worst = (here & (pages.slot == pages.worst[:, None]) & (pages.worst >= 0)[:, None]).any(axis=1)
        rows = Clusters.of(pages.item[shown], pages.reviewer[shown])
        value = best[shown].astype(float) - worst[shown]
        counts = {"system": system, "shown": int(shown.sum()), "best": int(best.sum()), "worst": int(worst.sum())}
        result.append(BestWorst(score=_mean(value, rows), **counts))
    return result


def _mean(value: Floats, clusters: Clusters) -> Estimate:
    """The mean of values in [-1, 1] with its interval."""
    sizes = {"n_items": clusters.n_items, "n_reviewers": clusters.n_reviewers, "n_ratings": int(value.size)}
    if not value.size:
        return Estimate(estimate=None, reason=NO_CHOICES, **sizes)
    mean = float(value.mean())
    if np.ptp(value) == 0:
        return Estimate(estimate=mean, reason="The same on every page: no interval.", **sizes)
    found = clustering.spread((value - mean) / value.size, clusters)
    if found is None:
        return Estimate(estimate=mean, reason=clusters.reason, **sizes)
    error, df = found.of([1.0])
    reach = clustering.quantile(df) * error
    return Estimate(
        estimate=mean, low=max(-1.0, mean - reach), high=min(1.0, mean + reach), reason=clusters.reason, **sizes
    )


# Bradley-Terry with ties


@dataclass(frozen=True, kw_only=True)
class Contrast:
    """One system against another by the fitted model.

    `difference` is that of the log-strengths (log odds of being preferred, where one is); `wins` the probability of
    being preferred to the other, where one is preferred at all, in [0, 1]. `test` is two-sided, of equal strength.
    """

    system: int
    other: int
    difference: Estimate
    wins: Estimate
    test: TestResult


@dataclass(frozen=True, kw_only=True)
class BradleyTerry:
    """Strengths of systems by Davidson's model.

    strengths: log-strengths, one a system, of mean 0 over the systems that were compared; estimate None for others.
    contrasts: each system against the reference, and without a reference each two systems.
    tie: probability of a tie between two equally strong systems; None without a single tie in the choices.
    reason: what is missing and why, in words, or what the figures are; empty where nothing is missing.
    """

    strengths: list[Estimate]
    contrasts: list[Contrast]
    tie: float | None
    reason: str = ""


def _pairs(choices: Choices, systems: Ints) -> tuple[Ints, Floats]:
    """Pairs compared, shape (p, 2) as positions in `systems`, and their counts of first, tie, second, shape (p, 3)."""
    place = np.full(choices.n_systems, -1)
    place[systems] = np.arange(systems.size)
    first, second = place[choices.first], place[choices.second]
    flip = first > second
    low, high = np.where(flip, second, first), np.where(flip, first, second)
    outcome = np.where(flip, -choices.outcome, choices.outcome)
    code = low * systems.size + high
    used, where = np.unique(code, return_inverse=True)
    counts = np.zeros((used.size, 3))
    np.add.at(counts, (where, 1 - outcome), 1)
    return np.stack([used // systems.size, used % systems.size], axis=1), counts


def _features(pairs: Ints, n_systems: int, ties: bool) -> Floats:
    """Log of each outcome's weight as a linear function of the parameters, shape (p, 3, parameters).

    first preferred: its log-strength; tie: the mean of both plus log nu; second preferred: its log-strength. The first
    system's log-strength is 0 and no parameter.
    """
    found = np.zeros((len(pairs), 3, n_systems + 1))
    rows = np.arange(len(pairs))
    found[rows, 0, pairs[:, 0]] = 1
    found[rows, 2, pairs[:, 1]] = 1
    found[rows, 1, pairs[:, 0]] += 0.5
    found[rows, 1, pairs[:, 1]] += 0.5
    found[rows, 1, n_systems] = 1
    return found[:, :, 1:] if ties else found[:, :, 1:n_systems]


def _has_maximum(features: Floats, counts: Floats, ties: bool) -> bool:
    """Whether the likelihood has a greatest value: no direction makes every observed outcome likelier for ever.

    Source: Konis, Linear programming algorithms for detecting separated data in binary logistic regression models
        (thesis, Oxford 2007), for more than two outcomes.
    """
    better = []
    outcomes = (0, 1, 2) if ties else (0, 2)
    for seen, other in itertools.permutations(outcomes, 2):
        rows = counts[:, seen] > 0
        better.append(features[rows, seen] - features[rows, other])
    gains = np.concatenate(better)
    found = optimize.linprog(-gains.sum(axis=0), A_ub=-gains, b_ub=np.zeros(len(gains)), bounds=(-1, 1), method="highs")
    return bool(found.status == 0 and -found.fun < 1e-7)


def _fit(pairs: Ints, counts: Floats, n_systems: int, ties: bool) -> Floats:
    """Greatest likelihood by statsmodels: a Poisson model of the counts with one nuisance parameter a pair."""
    features = _features(pairs, n_systems, ties)
    kept = (0, 1, 2) if ties else (0, 2)
    nuisance = np.repeat(np.eye(len(pairs))[:, None, :], len(kept), axis=1)
    design = np.concatenate([features[:, kept], nuisance], axis=2).reshape(len(pairs) * len(kept), -1)
    # A saturated model leaves no degrees of freedom for a scale, which a Poisson model does not need.
    with warnings.catch_warnings(), np.errstate(divide="ignore", invalid="ignore"):
        warnings.simplefilter("ignore", PerfectSeparationWarning)
        warnings.simplefilter("error", ConvergenceWarning)
        model = sm.GLM(counts[:, kept].ravel(), design, family=sm.families.Poisson())
        result = model.fit(maxiter=200, tol=1e-10)
    return np.asarray(result.params[: features.shape[2]], dtype=float)


def _probabilities(features: Floats, parameters: Floats, ties: bool) -> Floats:
    weights = features @ parameters
    if not ties:
        weights[:, 1] = -np.inf
    return special.softmax(weights, axis=1)


def bradley_terry(
    choices: Choices, *, reference: int | None = None, names: Sequence[str] | None = None
) -> BradleyTerry:
    """Strengths of systems from choices between two at a time, ties included.

    The probabilities of "i preferred", "j preferred" and "tie" are as s_i : s_j : nu * sqrt(s_i * s_j). Without a tie
    in the data this is the model of Bradley & Terry.

    Args:
        choices: rows of compared systems. reference: the system that others are set against; by default each two are.
        names: of the systems, for the words in `reason`; by default system 1, system 2 ...
    Returns:
        BradleyTerry. n_ratings counts rows. Intervals and tests use t quantiles and the model's sandwich covariance,
        clustered by texts and by reviewers: choices on one text, and choices by one reviewer, may resemble each other
        in any way. What is estimated is the strength averaged over texts and reviewers.
        Where no greatest likelihood exists (a system that always or never wins, most of all), strengths are shrunk,
        have no interval, and the reason says so.
    Source: Davidson, JASA 65 (1970), 317-328; Bradley & Terry, Biometrika 39 (1952), 324-345; fitted as a log-linear
        model by statsmodels (GLM, Poisson) as in Agresti, Categorical Data Analysis, 2nd ed. (2002), section 10.6.
        Covariance: Cameron, Gelbach & Miller (2011), see clustering. Half a win and a loss against an imagined system:
        Turner, van Etten, Firth & Kosmidis, Computational Statistics 35 (2020), 1027-1057.
    """
    clusters = choices.clusters
    sizes = {"n_items": clusters.n_items, "n_reviewers": clusters.n_reviewers, "n_ratings": len(choices)}

    def nothing(reason: str) -> BradleyTerry:
        strengths = [Estimate(estimate=None, reason=reason, **sizes) for _ in range(choices.n_systems)]
        return BradleyTerry(strengths=strengths, contrasts=[], tie=None, reason=reason)

    called = list(names) if names is not None else [f"system {number + 1}" for number in range(choices.n_systems)]
    if len(called) != choices.n_systems:
        raise ValueError(f"{choices.n_systems} names are needed, got {len(called)}")
    if reference is not None and not 0 <= reference < choices.n_systems:
        raise ValueError(f"the reference must be a system from 0 to {choices.n_systems - 1}")
    if not len(choices):
        return nothing(NO_CHOICES)
    if not choices.outcome.any():
        return nothing(ALL_TIES)
    systems = np.unique(np.concatenate([choices.first, choices.second]))
    graph = sparse.coo_matrix((np.ones(len(choices)), (choices.first, choices.second)), shape=(choices.n_systems,) * 2)
    parts, part = sparse.csgraph.connected_components(graph, directed=False)
    groups = [members for number in range(parts) if (members := np.flatnonzero(part == number)).size > 1]
    if len(groups) > 1:
        named = "; ".join(", ".join(called[one] for one in group) for group in groups)
        return nothing(
            f"The systems fall into groups that were never compared with each other ({named}), so there is no common "
            "scale. The win rates within the groups hold."
        )
    ties = bool((choices.outcome == TIE).any())
    pairs, counts = _pairs(choices, systems)
    features = _features(pairs, systems.size, ties)
    count = systems.size
    free = count - 1
    # From the parameters to log-strengths of mean 0.
    centre = np.vstack([np.zeros((1, free)), np.eye(free)])
    centre -= centre.mean(axis=0)
    reasons = []
    alone = np.setdiff1d(np.arange(choices.n_systems), systems)
    if alone.size:
        reasons.append(f"Never compared, and so without a strength: {', '.join(called[one] for one in alone)}.")
    shrunk = not _has_maximum(features, counts, ties)
    if shrunk:
        reasons.append(SHRUNK.format(who=_who(pairs, counts, [called[one] for one in systems])))
        parameters = _shrunken(pairs, counts, count, ties)
        cover = None
    else:
        parameters = _fit(pairs, counts, count, ties)
        cover = _spread(choices, systems, features, pairs, parameters, ties, clusters)
        if cover is None or clusters.reason:
            reasons.append(clusters.reason)
    levels = centre @ parameters[:free]
    width = features.shape[2]

    def figure(contrast: Floats, value: float) -> tuple[Estimate, float | None, float | None]:
        """A contrast of parameters with its interval, its statistic and its p-value."""
        if cover is None:
            return Estimate(estimate=value, reason=reasons[-1], **sizes), None, None
        error, df = cover.of(contrast)
        if error < 1e-9:  # every text and reviewer said the same
            reason = "Every text and every reviewer gave the same choices: no interval."
            return Estimate(estimate=value, reason=reason, **sizes), None, None
        reach = clustering.quantile(df) * error
        statistic = value / error
        found = Estimate(estimate=value, low=value - reach, high=value + reach, reason=clusters.reason, **sizes)
        return found, statistic, float(2 * stats.t.sf(abs(statistic), df))

    strengths = [
        Estimate(estimate=None, reason="Never compared.", **sizes) for _ in range(choices.n_systems)
    ]  # fmt: skip
    for place, system in enumerate(systems):
        weights = np.zeros(width)
        weights[:free] = centre[place]
        strengths[system] = figure(weights, float(levels[place]))[0]
    contrasts = []
    places = {int(system): place for place, system in enumerate(systems)}
    if reference is None:
        wanted = list(itertools.combinations(places, 2))
    else:
        wanted = [(system, reference) for system in places if system != reference and reference in places]
    for system, other in wanted:
        weights = np.zeros(width)
        weights[:free] = centre[places[system]] - centre[places[other]]
        found, statistic, p = figure(weights, float(levels[places[system]] - levels[places[other]]))
        chance = Estimate(
            estimate=_odds(found.estimate), low=_odds(found.low), high=_odds(found.high), reason=found.reason, **sizes
        )
        test = TestResult(
            name="Bradley-Terry",
            statistic=statistic,
            p=p,
            n=clusters.n_items,
            reason="" if p is not None else found.reason,
        )
        contrasts.append(Contrast(system=system, other=other, difference=found, wins=chance, test=test))
    tie = None
    if ties:
        nu = float(np.exp(parameters[-1]))
        tie = nu / (2 + nu)
    return BradleyTerry(strengths=strengths, contrasts=contrasts, tie=tie, reason=" ".join(filter(None, reasons)))


def _odds(value: float | None) -> float | None:
    return None if value is None else float(special.expit(value))


def _who(pairs: Ints, counts: Floats, called: list[str]) -> str:
    """Which systems never lost or never won, in words; the general case otherwise."""
    won, lost = np.zeros(len(called)), np.zeros(len(called))
    for (one, other), (wins, _, losses) in zip(pairs, counts, strict=True):
        won[one] += wins
        won[other] += losses
        lost[one] += losses
        lost[other] += wins
    said = [f"Never preferred: {called[place]}." for place in np.flatnonzero(won == 0)]
    said += [f"None was preferred to {called[place]}." for place in np.flatnonzero(lost == 0)]
    return " ".join(said) or "Some systems were never preferred to any of the others, directly or by way of a third."


def _shrunken(pairs: Ints, counts: Floats, n_systems: int, ties: bool) -> Floats:
    """The fit with half a win and half a loss against an imagined system of average strength for each system."""
    ghost = np.stack([np.arange(n_systems), np.full(n_systems, n_systems)], axis=1)
    more = np.vstack([counts, np.tile([0.5, 0.0, 0.5], (n_systems, 1))])
    fitted = _fit(np.vstack([pairs, ghost]), more, n_systems + 1, ties)
    return np.delete(fitted, n_systems - 1)  # the imagined one's


def _spread(
    choices: Choices,
    systems: Ints,
    features: Floats,
    pairs: Ints,
    parameters: Floats,
    ties: bool,
    clusters: Clusters,
) -> clustering.Spread | None:
    """Covariance of the parameters: the inverse information times what each row's score says, clustered."""
    chance = _probabilities(features, parameters, ties)
    expected = np.einsum("po,pof->pf", chance, features)
    place = np.full(choices.n_systems, -1)
    place[systems] = np.arange(systems.size)
    first, second = place[choices.first], place[choices.second]
    flip = first > second
    code = np.where(flip, second, first) * systems.size + np.where(flip, first, second)
    row = np.searchsorted(pairs[:, 0] * systems.size + pairs[:, 1], code)
    outcome = 1 - np.where(flip, -choices.outcome, choices.outcome)
    scores = features[row, outcome] - expected[row]
    seen = np.bincount(row, minlength=len(pairs))
    centred = features - expected[:, None, :]
    information = np.einsum("p,po,pof,pog->fg", seen, chance, centred, centred)
    return clustering.spread(scores @ np.linalg.inv(information), clusters)
