"""What a study would find with what certainty, by simulating it: ratings of invented texts by invented reviewers.

A rating is a latent number cut at thresholds. The latent number is the system's shift, plus normal effects of the
text, of the text's output by that system, of the reviewer and of the reviewer's taste for that system, plus noise of
standard deviation 1. The thresholds give the reference its planned distribution over levels.

Each simulated study is judged as the report judges a real one: by the mean difference (system minus reference, same
reviewer, same text) with a standard error over texts and reviewers and Student's two-sided test at alpha over the
number of planned tests; and non-inferior where the one-sided test against minus the margin, doubled, is at or below
that same level, and the low end of the 95 % interval is above minus the margin. That is means.difference in closed
form. The mixed model, which leads in the report where it fits, takes a thousand times as long; of complete studies its
standard errors and p-values are nearly the same.
"""

import dataclasses
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats
from statsmodels.stats.proportion import proportion_confint

from evaluation.analysis.ratings import TAIL, Ratings

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

SIMULATIONS = 1_000
BLOCK = 2_000_000  # latent numbers in memory at a time
ITEMS = (20, 30, 40, 60, 80, 100, 150, 200, 300, 400)  # numbers of texts that are tried
HOLM = (
    "Tests are made at alpha divided by the number of planned tests, as the first step of Holm's method does: the "
    "power given is that of the smallest p-value's test. Later steps ask less."
)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A planned study, and what is taken to be true.

    items, systems, ratings_per_output, reviewers: numbers; the same reviewers rate all outputs of a text.
    probabilities: of the reference's levels, worst first, adding up to 1.
    sd_item, sd_reviewer: of the effects of texts and reviewers, in units of the latent noise of one rating.
    sd_item_system: of how well a system does on a text beyond both. sd_reviewer_system: of a reviewer's taste for a
    system; small in most studies, and what more texts cannot make up for.
    difference: to be found, in levels of the scale or latent, as `unit` says; its sign does not matter to power by
    much, but with a reference near the top little room is left above it. margin: of non-inferiority, in levels.
    alpha: of all planned tests together, two-sided. tests: how many are planned.
    """

    items: int = 60
    systems: int = 4
    ratings_per_output: int = 3
    reviewers: int = 6
    probabilities: Sequence[float] = (0.1, 0.2, 0.4, 0.2, 0.1)
    sd_item: float = 0.7
    sd_reviewer: float = 0.5
    sd_item_system: float = 0.5
    sd_reviewer_system: float = 0.2
    difference: float = 0.3
    unit: Literal["levels", "latent"] = "levels"
    margin: float = 0.3
    alpha: float = 0.05
    tests: int = 1

    def __post_init__(self) -> None:
        for name, least in (("items", 2), ("systems", 2), ("ratings_per_output", 1), ("reviewers", 1), ("tests", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be {least} or more, got {getattr(self, name)}")
        if self.ratings_per_output > self.reviewers:
            raise ValueError(
                f"ratings_per_output is {self.ratings_per_output}, more than the {self.reviewers} reviewers there are"
            )
        chances = np.asarray(self.probabilities, dtype=float)
        if chances.size < 2 or (chances < 0).any() or not math.isclose(chances.sum(), 1, abs_tol=1e-6):
            raise ValueError("probabilities must be 2 or more numbers from 0 that add up to 1")
        if (chances > 0).sum() < 2:
            raise ValueError("probabilities must leave room for at least two levels")
        for name in ("sd_item", "sd_reviewer", "sd_item_system", "sd_reviewer_system"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be 0 or more")
        if self.margin <= 0 or not 0 < self.alpha < 1:
            raise ValueError("margin must be above 0, alpha between 0 and 1")
        if self.unit == "levels" and abs(self.difference) >= self.room(1 if self.difference > 0 else -1):
            raise ValueError(
                f"difference is {self.difference:g} levels, but the reference leaves only "
                f"{self.room(1 if self.difference > 0 else -1):.2f} on that side"
            )

    @property
    def levels(self) -> int:
        return len(self.probabilities)

    @property
    def sd(self) -> float:
        """Of the latent numbers of one system."""
        parts = (1.0, self.sd_item, self.sd_reviewer, self.sd_item_system, self.sd_reviewer_system)
        return math.hypot(*parts)

    @property
    def thresholds(self) -> Floats:
        """Where the latent number passes to the next level, shape (levels - 1,)."""
        return self.sd * stats.norm.ppf(np.clip(np.cumsum(self.probabilities)[:-1], 0, 1))

    def mean(self, shift: float = 0.0) -> float:
        """The expected rating of a system that lies `shift` above the reference on the latent scale."""
        return float(1 + stats.norm.sf((self.thresholds - shift) / self.sd).sum())

    def room(self, side: int) -> float:
        """Levels between the reference's mean and that end of the scale."""
        return self.levels - self.mean() if side > 0 else self.mean() - 1

    @property
    def shift(self) -> float:
        """The difference to be found, on the latent scale."""
        if self.unit == "latent" or self.difference == 0:
            return float(self.difference)
        reach = 60 * self.sd
        return float(
            optimize.brentq(lambda shift: self.mean(shift) - self.mean() - self.difference, -reach, reach, xtol=1e-9)
        )

    @property
    def difference_in_levels(self) -> float:
        return self.mean(self.shift) - self.mean()


@dataclass(frozen=True, kw_only=True)
class Chance:
    """A share of simulated studies in [0, 1], with its 95 % Monte Carlo interval (Wilson, JASA 22, 1927)."""

    estimate: float
    low: float
    high: float
    simulations: int


@dataclass(frozen=True, kw_only=True)
class Power:
    """superiority: studies that find the difference, on its right side. confirmed: those of them in which the
    signed-rank test of the texts' differences, the report's check, finds it too. noninferiority: studies that call an
    equally good system non-inferior. width: mean width of the difference's 95 % interval, in levels. difference: to be
    found, in levels. ratings: how many the study needs in all. note: how it was tested, in words."""

    superiority: Chance
    confirmed: Chance
    noninferiority: Chance
    width: float
    difference: float
    ratings: int
    note: str = HOLM


def who_rates(items: int, reviewers: int, ratings_per_output: int) -> Ints:
    """Reviewers of each text, shape (items, ratings_per_output): always those who have the fewest texts so far, in
    random order among equals, so that all rate equally often and different ones meet."""
    rng = np.random.default_rng(0)
    counts = np.zeros(reviewers)
    found = np.empty((items, ratings_per_output), dtype=np.intp)
    for row in found:
        row[:] = np.lexsort((rng.random(reviewers), counts))[:ratings_per_output]
        counts[row] += 1
    return found


def draw(plan: Plan, shifts: Sequence[float], who: Ints, rng: np.random.Generator, studies: int) -> NDArray[np.int8]:
    """Ratings of simulated studies, shape (studies, items, systems, ratings_per_output), 1..levels.

    Args:
        shifts: each system's, on the latent scale. who: which reviewer gives each rating, shape (items, r).
    """
    items, each = who.shape
    systems = len(shifts)
    latent = rng.standard_normal((studies, items, systems, each), dtype=np.float32)
    latent += np.asarray(shifts, dtype=np.float32)[:, None]
    if plan.sd_item:
        latent += np.float32(plan.sd_item) * rng.standard_normal((studies, items, 1, 1), dtype=np.float32)
    if plan.sd_item_system:
        latent += np.float32(plan.sd_item_system) * rng.standard_normal((studies, items, systems, 1), dtype=np.float32)
    for sd, count in ((plan.sd_reviewer, 1), (plan.sd_reviewer_system, systems)):
        if sd:
            effects = np.float32(sd) * rng.standard_normal((studies, count, plan.reviewers), dtype=np.float32)
            latent += effects[:, :, who].transpose(0, 2, 1, 3)
    values = np.ones(latent.shape, dtype=np.int8)
    for threshold in plan.thresholds:
        values += latent > np.float32(threshold)
    return values


@dataclass(frozen=True, eq=False)
class Differences:
    """Of many studies at once: mean differences, their standard errors and degrees of freedom, each shape (s,)."""

    mean: Floats
    se: Floats
    df: Floats

    @property
    def reach(self) -> Floats:
        """Half the width of the 95 % interval."""
        return np.asarray(stats.t.ppf(1 - TAIL, self.df) * self.se)

    def p_above(self, bound: float) -> Floats:
        """One-sided, of a difference at or below the bound, doubled to stand beside two-sided ones; at most 1."""
        with np.errstate(divide="ignore", invalid="ignore"):
            one = stats.t.sf((self.mean - bound) / self.se, self.df)
        return np.minimum(1.0, 2 * np.nan_to_num(one, nan=1.0))

    @property
    def p(self) -> Floats:
        """Two-sided; 1 where all differences are the same 0."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.nan_to_num(2 * stats.t.sf(np.abs(self.mean) / self.se, self.df), nan=1.0)


def judged(differences: Floats, who: Ints) -> Differences:
    """The mean difference of each study with its standard error over other texts and other reviewers.

    Args:
        differences: shape (s, items, r), system minus reference. who: the reviewer of each, shape (items, r).
    Source: as `resampling.spread`, in closed form instead of by draws, for all studies at once; means.difference of a
        single study is the same up to the noise of its draws.
    """
    studies, items, each = differences.shape
    mean = differences.mean(axis=(1, 2))
    scores = (differences - mean[:, None, None]) / (items * each)

    def variance(sums: Floats) -> Floats:
        count = sums.shape[1]
        return np.asarray((sums**2).sum(axis=1) * count / (count - 1))

    total = by_item = variance(scores.sum(axis=2))
    parts = by_item**2 / (items - 1)
    present = np.unique(who)
    if present.size > 1:
        member = (who.reshape(-1)[:, None] == present).astype(float)
        by_reviewer = variance(scores.reshape(studies, -1) @ member)
        noise = (scores**2).sum(axis=(1, 2))
        total = np.maximum.reduce([by_item + by_reviewer - noise, by_item, by_reviewer])
        parts = parts + by_reviewer**2 / (present.size - 1) + noise**2 / ((items - 1) * (present.size - 1))
    least = min(items, present.size if present.size > 1 else items) - 1
    with np.errstate(invalid="ignore", divide="ignore"):
        df = np.maximum(np.nan_to_num(total**2 / parts, nan=least), least)
    return Differences(mean, np.sqrt(total), df)


def signed_rank(differences: Floats) -> Floats:
    """Two-sided p-values of Wilcoxon's signed-rank test with Pratt's zeros, one a row; 1 where all are 0.

    Args:
        differences: shape (s, items). By scipy.stats.wilcoxon with its normal approximation, all rows at once.
    """
    rounded = np.round(differences, 9)  # a mean of thirds can miss a tie by one bit
    found = np.ones(len(rounded))
    some = rounded.any(axis=1)
    if some.any():
        tested = stats.wilcoxon(rounded[some], zero_method="pratt", method="asymptotic", axis=1)
        found[some] = tested.pvalue
    return found


def simulate(plan: Plan, *, rng: np.random.Generator, simulations: int = SIMULATIONS) -> Power:
    """Power of a planned study.

    Args:
        plan: see Plan. rng: numpy Generator, its seed kept with the plan. simulations: studies for each figure.
    Returns:
        Power. Non-inferiority is that of a system with a true difference of 0.
    Source: simulation with crossed effects of reviewers and items, as Westfall, Kenny & Judd, Journal of Experimental
        Psychology: General 143 (2014), 2020-2045, show is needed; test and interval as in the report.
    """
    who = who_rates(plan.items, plan.reviewers, plan.ratings_per_output)
    shift, level = plan.shift, plan.alpha / plan.tests
    found = confirmed = kept = 0
    widths = 0.0
    block = max(1, BLOCK // (3 * who.size))
    for start in range(0, simulations, block):
        studies = min(block, simulations - start)
        values = draw(plan, (0.0, shift, 0.0), who, rng, studies).astype(np.float64)
        different, equal = (values[:, :, system] - values[:, :, 0] for system in (1, 2))
        tested = judged(different, who)
        finds = (tested.p <= level) & ((tested.mean > 0) == (plan.difference >= 0))
        found += int(finds.sum())
        confirmed += int((finds & (signed_rank(different.mean(axis=2)) <= level)).sum())
        same = judged(equal, who)
        kept += int(((same.p_above(-plan.margin) <= level) & (same.mean - same.reach > -plan.margin)).sum())
        widths += float(2 * tested.reach.sum())
    return Power(
        superiority=_chance(found, simulations),
        confirmed=_chance(confirmed, simulations),
        noninferiority=_chance(kept, simulations),
        width=widths / simulations,
        difference=plan.difference_in_levels,
        ratings=plan.items * plan.systems * plan.ratings_per_output,
    )


def _chance(count: int, simulations: int) -> Chance:
    low, high = proportion_confint(count, simulations, method="wilson")
    return Chance(
        estimate=count / simulations, low=max(0.0, float(low)), high=min(1.0, float(high)), simulations=simulations
    )


@dataclass(frozen=True, kw_only=True)
class Row:
    """One combination that was tried."""

    items: int
    ratings_per_output: int
    power: Power


@dataclass(frozen=True, kw_only=True)
class Suggestion:
    """table: all combinations tried. smallest: for each number of ratings per output the smallest number of items that
    reached the target, None where none did. best: the combination with the fewest ratings among those, None where
    none reached it. reason: in words where that is so."""

    table: list[Row]
    smallest: dict[int, int | None]
    best: Row | None
    reason: str = ""


def suggest(
    plan: Plan,
    *,
    rng: np.random.Generator,
    target: float = 0.8,
    goal: Literal["superiority", "noninferiority", "both"] = "superiority",
    items: Iterable[int] = ITEMS,
    ratings_per_output: Iterable[int] | None = None,
    simulations: int = 400,
) -> Suggestion:
    """The smallest numbers that reach a power.

    Args:
        plan: all but its items and ratings per output count. target: power to be reached. goal: which power.
        items, ratings_per_output: what is tried; by default 20..400 and up to four numbers from 1 to all reviewers.
        simulations: for each combination; power is then known to about 4 points.
    """
    if ratings_per_output is None:
        spaced = np.unique(np.round(np.linspace(1, plan.reviewers, 4)).astype(int))
        ratings_per_output = [int(number) for number in spaced]
    table: list[Row] = []
    smallest: dict[int, int | None] = {}
    reached: list[Row] = []
    for each in sorted(ratings_per_output):
        smallest[each] = None
        for count in sorted(items):
            tried = dataclasses.replace(plan, items=count, ratings_per_output=each)
            row = Row(items=count, ratings_per_output=each, power=simulate(tried, rng=rng, simulations=simulations))
            table.append(row)
            wanted = {
                "superiority": (row.power.superiority,),
                "noninferiority": (row.power.noninferiority,),
                "both": (row.power.superiority, row.power.noninferiority),
            }[goal]
            if smallest[each] is None and all(one.estimate >= target for one in wanted):
                smallest[each] = count
                reached.append(row)
    best = min(reached, key=lambda row: row.power.ratings, default=None)
    reason = ""
    if best is None:
        reason = (
            f"None of the numbers tried reaches a power of {target:.0%}. More reviewers, a larger difference or "
            "margin, or fewer planned tests would raise it; more texts alone do not make up for few reviewers."
        )
    return Suggestion(table=table, smallest=smallest, best=best, reason=reason)


@dataclass(frozen=True, kw_only=True)
class Pilot:
    """What a pilot says of a plan: fields of Plan by name, and in words what it could not say."""

    parameters: dict[str, object]
    notes: tuple[str, ...]


def from_pilot(ratings: Ratings, *, reference: int = 0) -> Pilot:
    """Parameters of a plan from the ratings of a pilot.

    Args:
        ratings: of one criterion. reference: whose distribution over levels is taken.
    Returns:
        Pilot. What the pilot cannot tell (effects of reviewers from one reviewer, say) is missing among the parameters
        and said in `notes`.
    Source: moments. Covariances of ratings that share a text, an output, a reviewer, or a reviewer and a system, each
        less what those that share less have, are turned into correlations of the latent normal numbers by the Hermite
        series of a cut normal distribution (Mehler's formula; Drasgow, "Polychoric and polyserial correlations",
        Encyclopedia of Statistical Sciences 7 (1986), for the model). Variances below 0 are taken as 0.
    """
    notes: list[str] = []
    parameters: dict[str, object] = {
        "items": max(2, ratings.counts["n_items"]),
        "systems": max(2, int(np.unique(ratings.system).size)),
        "reviewers": max(1, ratings.counts["n_reviewers"]),
    }
    own = ratings.of(reference)
    if not len(own):
        return Pilot(parameters=parameters, notes=("The pilot has no ratings of the reference.",))
    counts = np.bincount(own.value.astype(int) - 1, minlength=ratings.levels)
    if (counts > 0).sum() < 2:
        return Pilot(parameters=parameters, notes=("The pilot's ratings of the reference are all the same.",))
    parameters["probabilities"] = tuple(float(share) for share in counts / counts.sum())
    if len(own) < 50:
        notes.append(f"Only {len(own)} ratings of the reference: its distribution is rough.")

    weights = _hermite(ratings)
    usable = np.asarray(np.isfinite(weights).all(axis=1))
    kept = ratings.where(np.take(usable, ratings.system))
    sums = np.bincount(kept.system, weights=kept.value, minlength=ratings.n_systems)
    numbers = np.bincount(kept.system, minlength=ratings.n_systems)
    residual = kept.value - (sums / np.maximum(numbers, 1))[kept.system]
    item, system, reviewer = kept.item, kept.system, kept.reviewer
    output, taste = item * kept.n_systems + system, reviewer * kept.n_systems + system
    page = item * kept.n_reviewers + reviewer
    of = {
        name: _products(residual, code)
        for name, code in (
            ("item", item),
            ("output", output),
            ("reviewer", reviewer),
            ("taste", taste),
            ("page", page),
        )
    }
    share = numbers / max(1, numbers.sum())
    usual = np.nan_to_num(weights)
    same = share @ usual**2
    apart = (share @ usual) ** 2

    def correlation(pairs: tuple[float, int], series: Floats) -> float | None:
        total, count = pairs
        return None if count < 10 else _latent(total / count, series)

    def less(name: str, *others: str) -> tuple[float, int]:
        return (
            of[name][0] - sum(of[other][0] for other in others),
            of[name][1] - sum(of[other][1] for other in others),
        )

    found = {
        "item": correlation(less("item", "output", "page"), apart),
        "output": correlation(of["output"], same),
        "reviewer": correlation(less("reviewer", "taste", "page"), apart),
        "taste": correlation(of["taste"], same),
    }
    if found["item"] is None:  # one reviewer: what reviewers add on a page is taken to be the text's
        found["item"] = correlation(of["page"], apart)
    if found["item"] is None:
        found["item"] = found["output"]
    variance: dict[str, float] = {}
    if found["item"] is None:
        notes.append("Too few texts with two ratings to tell how much texts differ.")
    else:
        variance["sd_item"] = max(0.0, found["item"])
        if found["output"] is None:
            notes.append("No output has two ratings: how much systems differ from text to text cannot be told.")
        else:
            variance["sd_item_system"] = max(0.0, found["output"] - max(0.0, found["item"]))
    if ratings.counts["n_reviewers"] < 2:
        notes.append("One reviewer only: how much reviewers differ cannot be told.")
    elif found["reviewer"] is None:
        notes.append("Too few ratings to tell how much reviewers differ.")
    else:
        if ratings.counts["n_reviewers"] < 5:
            notes.append(f"How much reviewers differ is told from {ratings.counts['n_reviewers']} of them, and rough.")
        variance["sd_reviewer"] = max(0.0, found["reviewer"])
        if found["taste"] is not None:
            variance["sd_reviewer_system"] = max(0.0, found["taste"] - max(0.0, found["reviewer"]))
    noise = max(0.05, 1 - sum(variance.values()))
    parameters |= {name: math.sqrt(value / noise) for name, value in variance.items()}
    return Pilot(parameters=parameters, notes=tuple(notes))


TERMS = 12


def _hermite(ratings: Ratings) -> Floats:
    """Coefficients c_k / sqrt(k!) of each system's ratings as a function of a standard normal number, shape (n_systems,
    TERMS); NaN for systems whose ratings are all the same or missing."""
    found = np.full((ratings.n_systems, TERMS), np.nan)
    for system in range(ratings.n_systems):
        counts = np.bincount(ratings.of(system).value.astype(int) - 1, minlength=ratings.levels)
        if (counts > 0).sum() < 2:
            continue
        passed = np.cumsum(counts)[:-1] / counts.sum()
        at = stats.norm.ppf(passed[(passed > 0) & (passed < 1)])
        polynomials = np.polynomial.hermite_e.hermevander(at, TERMS - 1)
        found[system] = [
            float((stats.norm.pdf(at) * polynomials[:, k - 1]).sum()) / math.sqrt(math.factorial(k))
            for k in range(1, TERMS + 1)
        ]
    return found


def _products(residual: Floats, code: Ints) -> tuple[float, int]:
    """Sum of the products of all pairs that share a code, and how many ordered pairs they are."""
    _, where = np.unique(code, return_inverse=True)
    sums, numbers = np.bincount(where, weights=residual), np.bincount(where)
    return float((sums**2).sum() - (residual**2).sum()), int((numbers * (numbers - 1)).sum())


def _latent(covariance: float, series: Floats) -> float:
    """The correlation of the latent numbers that gives this covariance of ratings."""
    powers = np.arange(1, series.size + 1)

    def gap(correlation: float) -> float:
        return float((series * correlation**powers).sum()) - covariance

    if gap(-0.99) >= 0:
        return -0.99
    return 0.99 if gap(0.99) <= 0 else float(optimize.brentq(gap, -0.99, 0.99))
