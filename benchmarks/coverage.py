"""Whether the report's intervals hold what they promise: simulated studies whose truth is known.

    make validate-statistics

Draws many studies from a population with known effects of systems, texts, reviewers, texts by system and reviewers by
system, analyses each as the report does, and counts how often each interval covers the true value, and how often tests
find what is not there. Nothing is started: no database, no server. Prints one JSON object with each figure beside its
target; ends with 1 when one is missed, unless --report. With --write FOLDER it also writes validation.json and
validation.md there.
"""

import argparse
import dataclasses
import json
import os
import platform
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from evaluation.analysis import (
    blinding,
    judges,
    means,
    mixed,
    noninferiority,
    power,
    preference,
    ranks,
    reliability,
)
from evaluation.analysis.ratings import Estimate, Ratings, from_table, versions

LOWEST, HIGHEST = 0.92, 0.98  # share of intervals that cover the truth
FAMILY_WISE = 0.05  # studies with a false finding among all tests after Holm, at most
SIGNED_RANK = "signed-rank test (for these reviewers only)"
MEDIAN = "median"  # takes whole levels only, so its intervals cannot be held against an upper limit
FALSE_NONINFERIORITY = 0.025  # systems at the margin that are called non-inferior, at most
MARGIN = 0.3  # levels
TIE = 0.35  # latent distance below which a reviewer prefers neither
TRUE_PAGES = 1_000_000  # that true values of preferences are taken from
PROBABILITIES = (0.08, 0.17, 0.35, 0.25, 0.15)
SEED = 20_240_501

Floats = NDArray[np.float64]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scenario:
    """A kind of study. seats: which reviewers rate which outputs of a text; see seats()."""

    name: str
    words: str
    items: int = 60
    reviewers: int = 6
    shifts: tuple[float, ...] = (0.0, 0.5, -0.3, 0.2)  # latent; the first system is the reference
    seats: str = "all"
    sd_item: float = 0.7
    sd_reviewer: float = 0.5
    sd_item_system: float = 0.5
    sd_reviewer_system: float = 0.25
    judge: bool = False  # whether an LLM judge is simulated too

    @property
    def plan(self) -> power.Plan:
        """The thresholds and true means of this population."""
        return power.Plan(
            items=self.items,
            systems=len(self.shifts),
            reviewers=self.reviewers,
            ratings_per_output=self.reviewers,
            probabilities=PROBABILITIES,
            sd_item=self.sd_item,
            sd_reviewer=self.sd_reviewer,
            sd_item_system=self.sd_item_system,
            sd_reviewer_system=self.sd_reviewer_system,
            margin=MARGIN,
        )


SCENARIOS = (
    Scenario(name="complete", words="60 texts, 4 systems, 6 reviewers; everybody rates everything", judge=True),
    Scenario(
        name="blocks",
        words="60 texts, 4 systems, 6 reviewers; each sees two of a text's four outputs, three ratings an output",
        seats="blocks",
    ),
    Scenario(
        name="no tastes",
        words="as the first, but reviewers have no taste for a system and texts suit all systems alike",
        sd_reviewer_system=0.0,
        sd_item_system=0.0,
    ),
    Scenario(
        name="small",
        words="12 texts, 3 systems, 3 reviewers; everybody rates everything",
        items=12,
        reviewers=3,
        shifts=(0.0, 0.5, -0.3),
        judge=True,
    ),
)


@dataclasses.dataclass(frozen=True)
class People:
    """Reviewers of one study: their effects, shape (reviewers,), and tastes for systems, shape (systems, reviewers)."""

    effect: Floats
    taste: Floats


def people(scenario: Scenario, rng: np.random.Generator, shifts: tuple[float, ...]) -> People:
    return People(
        scenario.sd_reviewer * rng.standard_normal(scenario.reviewers),
        scenario.sd_reviewer_system * rng.standard_normal((len(shifts), scenario.reviewers)),
    )


def latent(scenario: Scenario, who: People, rng: np.random.Generator, items: int, shifts: tuple[float, ...]) -> Floats:
    """What reviewers make of outputs, before it is cut into levels; shape (items, systems, reviewers)."""
    shape = (items, len(shifts), scenario.reviewers)
    return (
        np.asarray(shifts)[None, :, None]
        + scenario.sd_item * rng.standard_normal((items, 1, 1))
        + scenario.sd_item_system * rng.standard_normal((items, len(shifts), 1))
        + who.effect[None, None, :]
        + who.taste[None, :, :]
        + rng.standard_normal(shape)
    )


def levels(scenario: Scenario, values: Floats) -> Floats:
    return np.asarray(1.0 + np.searchsorted(scenario.plan.thresholds, values), dtype=float)


def seats(scenario: Scenario, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Which ratings are given, shape (items, systems, reviewers)."""
    systems = len(scenario.shifts)
    given = np.ones((scenario.items, systems, scenario.reviewers), dtype=bool)
    if scenario.seats == "blocks":
        # Six pairs of four systems, one for each of six reviewers, in another order on each text.
        pairs = np.array([(0, 1), (2, 3), (0, 2), (1, 3), (0, 3), (1, 2)])
        given[:] = False
        for item in range(scenario.items):
            for reviewer, pair in enumerate(rng.permutation(pairs)):
                given[item, pair, reviewer] = True
    return given


def study(scenario: Scenario, rng: np.random.Generator, shifts: tuple[float, ...] | None = None) -> Ratings:
    shifts = scenario.shifts if shifts is None else shifts
    values = levels(scenario, latent(scenario, people(scenario, rng, shifts), rng, scenario.items, shifts))
    return from_table(np.where(seats(scenario, rng), values, np.nan), levels=len(PROBABILITIES))


# What is estimated, and the truth of it

Found = Iterator[tuple[str, Estimate, float]]  # figure, estimate with interval, truth


def ratings_figures(scenario: Scenario, rng: np.random.Generator, draws: int, model: bool) -> Found:
    """Figures of one study of ratings; the mixed model, which takes longest, only where `model` says so."""
    plan = scenario.plan
    given = study(scenario, rng)
    truths = [plan.mean(shift) for shift in scenario.shifts]
    for one, shift, truth in zip(means.summaries(given, rng=rng, draws=draws), scenario.shifts, truths, strict=True):
        yield "mean", one.mean, truth
        yield "share of top levels", one.top, float(stats.norm.sf((plan.thresholds[-2] - shift) / plan.sd))
        yield MEDIAN, one.median, float(1 + np.searchsorted(plan.thresholds, shift))
    for system, shift in list(enumerate(scenario.shifts))[1:]:
        difference = means.difference(given, system, 0, rng=rng, draws=draws)
        yield "difference of means", difference.difference, truths[system] - truths[0]
        yield "Cliff's delta", ranks.cliffs_delta(given, system, 0, rng=rng, draws=draws), true_delta(plan, shift)
    for difference in mixed.fit(given, 0).differences if model else ():
        yield "difference, mixed model", difference.difference, truths[difference.system] - truths[0]


def true_delta(plan: power.Plan, shift: float) -> float:
    """Chance that a rating of the system is above one of the reference less that it is below."""
    passed = [np.concatenate([[1.0], stats.norm.sf((plan.thresholds - by) / plan.sd), [0.0]]) for by in (shift, 0.0)]
    own, other = (-np.diff(one) for one in passed)
    below = np.cumsum(other) - other
    return float((own * (below - (1 - below - other))).sum())


def preference_figures(scenario: Scenario, rng: np.random.Generator, truth: dict[str, Any]) -> Found:
    """Figures of one study of preferences in three layouts, by the same people on the same texts."""
    shifts, count = scenario.shifts, len(scenario.shifts)
    seen = latent(scenario, people(scenario, rng, shifts), rng, scenario.items, shifts).transpose(0, 2, 1)
    item, reviewer = (grid.ravel() for grid in np.indices(seen.shape[:2]))
    seen = seen.reshape(-1, count)
    side, pairs = pages(seen, item, reviewer), choices(seen, item, reviewer, rng)
    for name, rows in (("side by side", preference.choices_of(side)), ("pairwise", pairs)):
        for one in preference.bradley_terry(rows, reference=0).contrasts:
            yield f"Bradley-Terry, {name}", one.difference, truth[name][one.system]
    shares, nobody = preference.shares_preferred(side)
    for share in shares:
        yield "share preferred", share.share, truth["shares"][share.system]
    yield "share of ties", nobody, truth["nobody"]
    for rate in preference.win_rates(pairs):
        yield "win rate", rate.rate, truth["rates"][rate.first, rate.second]
    for score in preference.best_worst_scores(side):
        yield "best-worst score", score.score, truth["scores"][score.system]


def pages(seen: Floats, item: Any, reviewer: Any) -> preference.Pages:
    order = np.sort(seen, axis=1)
    best = np.where(order[:, -1] - order[:, -2] < TIE, -1, seen.argmax(axis=1))
    shown = np.tile(np.arange(seen.shape[1]), (len(seen), 1))
    return preference.Pages(
        item=item, reviewer=reviewer, shown=shown, best=best, worst=seen.argmin(axis=1), n_systems=seen.shape[1]
    )


def choices(seen: Floats, item: Any, reviewer: Any, rng: np.random.Generator) -> preference.Choices:
    """One pair of systems a text and reviewer, drawn evenly."""
    count = seen.shape[1]
    first = rng.integers(0, count, len(seen))
    second = (first + rng.integers(1, count, len(seen))) % count
    row = np.arange(len(seen))
    gap = seen[row, first] - seen[row, second]
    outcome = np.where(np.abs(gap) < TIE, 0, np.sign(gap)).astype(int)
    return preference.Choices(
        item=item, reviewer=reviewer, first=first, second=second, outcome=outcome, n_systems=count
    )


def true_preferences(scenario: Scenario, rng: np.random.Generator, pages_drawn: int) -> dict[str, Any]:
    """The same figures where every page has a text and a reviewer of its own: what they are on average over both."""
    count = len(scenario.shifts)
    sums: dict[str, Any] = defaultdict(list)
    block = min(pages_drawn, 100_000)
    for _ in range(max(1, pages_drawn // block)):
        own = np.hypot(scenario.sd_item_system, np.hypot(scenario.sd_reviewer_system, 1.0))
        seen = np.asarray(scenario.shifts) + own * rng.standard_normal((block, count))
        number = np.arange(block)
        side, pairs = pages(seen, number, number), choices(seen, number, number, rng)
        for name, rows in (("side by side", preference.choices_of(side)), ("pairwise", pairs)):
            fitted = preference.bradley_terry(rows, reference=0).contrasts
            sums[name].append([0.0, *(one.difference.estimate for one in fitted)])
        shares, nobody = preference.shares_preferred(side)
        sums["shares"].append([one.share.estimate for one in shares])
        sums["nobody"].append(nobody.estimate)
        sums["scores"].append([one.score.estimate for one in preference.best_worst_scores(side)])
        rates = np.zeros((count, count))
        for rate in preference.win_rates(pairs):
            rates[rate.first, rate.second] = rate.rate.estimate
        sums["rates"].append(rates)
    return {name: np.mean(values, axis=0) for name, values in sums.items()}


def agreement_figures(
    scenario: Scenario, rng: np.random.Generator, draws: int, truth: dict[str, float], model: bool
) -> Found:
    """Alpha and ICC of one study.

    Alpha's interval is for other texts and the same reviewers, so its truth is theirs, from many texts; the ICC's is
    for other reviewers too.
    """
    who = people(scenario, rng, scenario.shifts)
    values = levels(scenario, latent(scenario, who, rng, scenario.items, scenario.shifts))
    given = from_table(np.where(seats(scenario, rng), values, np.nan), levels=len(PROBABILITIES))
    many = levels(scenario, latent(scenario, who, rng, 1_500, scenario.shifts))
    yield "Krippendorff's alpha", reliability.alpha(given, rng=rng, draws=draws), alpha_of(many)
    if not model:
        return
    found = reliability.intraclass(given)
    yield "ICC, one reviewer", found.single, truth["single"]
    yield "ICC, mean of an output's reviewers", found.mean, truth["mean"]


def alpha_of(values: Floats) -> float:
    """Ordinal alpha of a complete table, shape (items, systems, reviewers), from its counts."""
    scale = len(PROBABILITIES)
    flat = values.reshape(-1, values.shape[2]).astype(int)
    counts = np.stack([(flat == level).sum(axis=1) for level in range(1, scale + 1)], axis=1).astype(float)
    each = flat.shape[1]
    coincidences = counts.T @ counts - np.diag(counts.sum(axis=0))
    coincidences /= each - 1
    totals = coincidences.sum(axis=0)
    middle = np.cumsum(totals) - totals / 2
    distance = (middle[:, None] - middle[None, :]) ** 2
    expected = (np.outer(totals, totals) * distance).sum() / (totals.sum() - 1)
    return float(1 - (coincidences * distance).sum() / expected)


def judge_figures(scenario: Scenario, rng: np.random.Generator) -> Found:
    """An LLM judge beside the people of one study; the truth is that of the same people and judge on many texts."""
    who = people(scenario, rng, scenario.shifts)

    def rated(items: int) -> tuple[Ratings, Ratings, Floats]:
        quality = latent(scenario, who, rng, items, scenario.shifts)
        lengths = np.exp(5 + 0.5 * rng.standard_normal(quality.shape[:2]))
        common = quality.mean(axis=2)  # what the judge sees too
        seen = common + 0.3 + 0.8 * rng.standard_normal(common.shape) + 0.4 * (np.log(lengths) - 5) / 0.5
        judge = from_table(levels(scenario, seen)[:, :, None], levels=len(PROBABILITIES))
        return from_table(levels(scenario, quality), levels=len(PROBABILITIES)), judge, lengths

    many, few = rated(2_000), rated(scenario.items)
    both = judges.shared(many[0], many[1])
    code = ((both.judge - 1) * len(PROBABILITIES) + both.median - 1).astype(int)
    length = many[2].ravel()
    of_judge, of_people = (stats.spearmanr(one, length).statistic for one in (both.judge, both.mean))
    found = judges.agreement(few[0], few[1])
    table = np.bincount(code, minlength=len(PROBABILITIES) ** 2).reshape(len(PROBABILITIES), -1)
    yield "judge: weighted kappa", found.kappa, judges.quadratic_kappa(table)
    two = np.stack([both.judge, both.median], axis=1)[:, None, :]
    yield "judge: alpha", found.alpha, alpha_of(two)
    correlation = stats.spearmanr(both.judge, both.mean).statistic
    yield "judge: rank correlation", found.rank_correlation, float(correlation)
    yield "judge: difference", found.difference, float((both.judge - both.mean).mean())
    bias = judges.length_bias(*few)
    yield "judge: correlation with length", bias.judge, float(of_judge)
    yield "judge: excess over people's", bias.excess, float(of_judge - of_people)


def blinding_figures(scenario: Scenario, rng: np.random.Generator) -> Found:
    """Guesses whether an output is a tuned system's: odd systems are, and slightly give themselves away."""
    count = len(scenario.shifts)
    tuned = np.arange(count) % 2 == 1
    lean, sd = np.where(tuned, 0.25, -0.1), 0.4
    seen = (
        lean[None, :, None]
        + sd * rng.standard_normal((scenario.items, count, 1))
        + sd * rng.standard_normal((1, 1, scenario.reviewers))
        + rng.standard_normal((scenario.items, count, scenario.reviewers))
    )
    guess = np.where(seen > 0.3, blinding.TUNED, np.where(seen < -0.3, blinding.NOT_TUNED, blinding.DONT_KNOW))
    item, system, reviewer = (grid.ravel() for grid in np.indices(seen.shape))
    found = blinding.blinding(tuned[system], guess.ravel(), item=item, reviewer=reviewer)
    total = np.sqrt(1 + 2 * sd**2)
    said = {
        arm: (stats.norm.sf((0.3 - at) / total), stats.norm.cdf((-0.3 - at) / total))
        for arm, at in ((True, 0.25), (False, -0.1))
    }
    yield "Bang's index, tuned", found.tuned.index, said[True][0] - said[True][1]
    yield "Bang's index, others", found.other.index, said[False][1] - said[False][0]
    share = float(tuned.mean())
    table = [
        [part * said[arm][row] for arm, part in ((True, share), (False, 1 - share))] for row in (0, 1)
    ]  # fmt: skip
    table.append([part * (1 - sum(said[arm])) for arm, part in ((True, share), (False, 1 - share))])
    yield "James' index", found.james, blinding.james_of_shares(np.array(table)) or 0.0


# Errors of tests


def false_findings(scenario: Scenario, rng: np.random.Generator, draws: int, model: bool) -> dict[str, bool]:
    """Whether a study of equal systems finds a difference after Holm, by each kind of test."""
    equal = (0.0,) * len(scenario.shifts)
    given = study(scenario, rng, equal)
    others = range(1, len(equal))
    differences = [means.difference(given, system, 0, rng=rng, draws=draws) for system in others]
    # The normal approximation of ranks.wilcoxon, which for few texts would permute, and take a second for each.
    ranked = [float(power.signed_rank(means.item_differences(given, system, 0)[1][None, :])[0]) for system in others]
    bootstrap = [one.p for one in differences]

    def any_of(p_values: list[float | None]) -> bool:
        """Whether Holm's method finds any: the smallest p-value at its first step decides."""
        made = [p for p in p_values if p is not None]
        return bool(made) and min(made) * len(made) <= FAMILY_WISE

    seen = latent(scenario, people(scenario, rng, equal), rng, scenario.items, equal).transpose(0, 2, 1)
    item, reviewer = (grid.ravel() for grid in np.indices(seen.shape[:2]))
    rows = preference.choices_of(pages(seen.reshape(-1, len(equal)), item, reviewer))
    preferred = [one.test.p for one in preference.bradley_terry(rows, reference=0).contrasts]
    found = {"mixed model": any_of([one.p for one in mixed.fit(given, 0).differences])} if model else {}
    return found | {
        "difference of means": any_of(bootstrap),
        SIGNED_RANK: any_of(list(ranked)),
        "Bradley-Terry": any_of(preferred),
    }


def false_noninferiority(
    scenario: Scenario, rng: np.random.Generator, draws: int, model: bool
) -> dict[str, list[bool]]:
    """Whether systems that are worse by exactly the margin are called non-inferior."""
    shift = dataclasses.replace(scenario.plan, difference=-MARGIN, unit="levels").shift
    given = study(scenario, rng, (0.0,) + (shift,) * (len(scenario.shifts) - 1))
    yes = noninferiority.Verdict.NON_INFERIOR
    others = range(1, len(scenario.shifts))
    found = {"difference of means": [means.difference(given, system, 0, rng=rng, draws=draws) for system in others]}
    if model:
        found["mixed model"] = list(mixed.fit(given, 0).differences)
    return {
        name: [noninferiority.noninferiority(one, MARGIN).verdict == yes for one in differences]
        for name, differences in found.items()
    }


# Counting


class Tally:
    """How many intervals of a figure covered the truth, how wide they were, and how many could not be given.

    Intervals of one study are not independent, so the Monte Carlo interval counts studies, not intervals.
    """

    def __init__(self) -> None:
        self.covered = self.given = self.missing = self.below = self.studies = 0
        self.width = self.error = 0.0
        self.last = -1

    def add(self, study: int, found: Estimate, truth: float) -> None:
        self.studies += study != self.last
        self.last = study
        if found.estimate is None or found.low is None or found.high is None:
            self.missing += 1
            return
        self.given += 1
        self.covered += bool(found.low <= truth <= found.high)
        self.below += bool(found.high < truth)
        self.width += found.high - found.low
        self.error += float(found.estimate - truth)

    def result(self, highest: float = HIGHEST) -> dict[str, Any]:
        if not self.given:
            return {"coverage": None, "met": False, "intervals": 0, "not_given": self.missing}
        share = self.covered / self.given
        low, high = proportion_confint(share * self.studies, self.studies, method="wilson")
        return {
            "coverage": round(share, 4),
            "monte_carlo": [round(float(low), 4), round(float(high), 4)],
            "target": [LOWEST, highest],
            "met": bool(LOWEST <= share <= highest),
            "too_low": round(self.below / self.given, 4),
            "mean_width": round(self.width / self.given, 4),
            "bias": round(self.error / self.given, 4),
            "studies": self.studies,
            "intervals": self.given,
            "not_given": self.missing,
        }


def rate(found: list[list[bool]], target: float | None) -> dict[str, Any]:
    """How often something happened against its limit, if it has one; one list a study, whose entries go together.

    Met unless even the low end of the Monte Carlo interval, in which a study counts once, lies above the limit.
    """
    share, studies = float(np.mean(found)), len(found)
    low, high = proportion_confint(share * studies, studies, method="wilson")
    return {
        "rate": round(share, 4),
        "monte_carlo": [round(float(low), 4), round(float(high), 4)],
        "target": target,
        "met": target is None or bool(low <= target),
        "studies": studies,
    }


def true_icc(scenario: Scenario, rng: np.random.Generator) -> dict[str, float]:
    """ICC of single ratings and of the mean of all, by the definition: correlations over many texts and reviewers."""
    wide = dataclasses.replace(scenario, reviewers=400)
    parts = []
    for _ in range(10):
        values = levels(scenario, latent(wide, people(wide, rng, wide.shifts), rng, 400, wide.shifts))
        parts.append(reliability_parts(values))
    output, rest = np.mean(parts, axis=0)
    each = scenario.reviewers if scenario.seats == "all" else scenario.reviewers // 2
    return {"single": output / (output + rest), "mean": output / (output + rest / each)}


def reliability_parts(values: Floats) -> tuple[float, float]:
    """Variance between outputs and the rest of the variance of single ratings, from a large complete table."""
    flat = values.reshape(-1, values.shape[2])
    total = float(flat.var(ddof=1))
    mean = flat.mean(axis=1)
    reviewer = flat.mean(axis=0)
    noise = float(((flat - mean[:, None] - reviewer[None, :] + flat.mean()) ** 2).sum())
    noise /= (flat.shape[0] - 1) * (flat.shape[1] - 1)
    output = float(mean.var(ddof=1)) - noise / flat.shape[1]
    return output, total - output


def run(
    scenario: Scenario, simulations: int, models: int, draws: int, say: Callable[[str], None] = lambda _: None
) -> dict[str, Any]:
    """All figures of one kind of study: models in the first `models` of the simulations, their errors and the judge in
    the first half of those."""
    rng = np.random.default_rng([SEED, SCENARIOS.index(scenario)])
    started = time.perf_counter()
    tallies: dict[str, Tally] = defaultdict(Tally)
    true_choices = true_preferences(scenario, rng, TRUE_PAGES)
    icc = true_icc(scenario, rng)
    findings: dict[str, list[list[bool]]] = defaultdict(list)
    kept: dict[str, list[list[bool]]] = defaultdict(list)
    for number in range(simulations):
        model, slow = number < models, number < models // 2
        parts = [
            ratings_figures(scenario, rng, draws, model),
            preference_figures(scenario, rng, true_choices),
            agreement_figures(scenario, rng, draws, icc, model),
        ]
        if scenario.seats == "all":  # the others do not depend on who sees which output
            parts.append(blinding_figures(scenario, rng))
        if scenario.judge and slow:
            parts.append(judge_figures(scenario, rng))
        for figures in parts:
            for name, found, truth in figures:
                tallies[name].add(number, found, truth)
        for name, yes in false_findings(scenario, rng, draws, slow).items():
            findings[name].append([yes])
        for name, verdicts in false_noninferiority(scenario, rng, draws, slow).items():
            kept[name].append(verdicts)
        if number % 50 == 49:
            say(f"{scenario.name}: {number + 1} of {simulations}, {time.perf_counter() - started:.0f} s")
    return {
        "words": scenario.words,
        "coverage": {name: tally.result(1.0 if name == MEDIAN else HIGHEST) for name, tally in tallies.items()},
        "false_findings": {
            name: rate(one, None if name == SIGNED_RANK and scenario.sd_reviewer_system else FAMILY_WISE)
            for name, one in findings.items()
        },
        "false_noninferiority": {name: rate(one, FALSE_NONINFERIORITY) for name, one in kept.items()},
        "seconds": round(time.perf_counter() - started, 1),
    }


# The result, and its page

ERRORS = (
    (
        "false_findings",
        "False findings",
        "Studies of equal systems with a finding among all tests after Holm; the signed-rank test takes reviewers as "
        f"they are, and has this limit only where they have no tastes; {FAMILY_WISE:.0%}",
    ),
    (
        "false_noninferiority",
        "False non-inferiority",
        f"Of systems that are worse by exactly the margin of {MARGIN:g} levels, before the adjustment for the number "
        f"of tests that the report makes; {FALSE_NONINFERIORITY:.1%}",
    ),
)


def measure(
    simulations: int,
    models: int,
    draws: int,
    names: list[str] | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    found = {
        scenario.name: run(scenario, simulations, models, draws, say)
        for scenario in SCENARIOS
        if names is None or scenario.name in names
    }
    return together(found, simulations, min(models, simulations), draws)


def together(found: dict[str, Any], simulations: int, models: int, draws: int) -> dict[str, Any]:
    missed = [
        f"{scenario}: {figure}"
        for scenario, one in found.items()
        for part in ("coverage", "false_findings", "false_noninferiority")
        for figure, value in one[part].items()
        if not value["met"]
    ]
    return {
        "targets": {
            "coverage": [LOWEST, HIGHEST],
            "false_findings": FAMILY_WISE,
            "false_noninferiority": FALSE_NONINFERIORITY,
        },
        "targets_met": not missed,
        "missed": missed,
        "simulations": simulations,
        "models": models,
        "draws": draws,
        "seed": SEED,
        "scenarios": found,
        "libraries": versions(),
        "machine": {
            "cores": os.cpu_count(),
            "load": [round(load, 2) for load in os.getloadavg()],
            "python": platform.python_version(),
        },
    }


def page(result: dict[str, Any]) -> str:
    """docs/validation.md."""
    found = result["scenarios"]
    first = SCENARIOS[0]
    shifts = ", ".join(f"{shift:g}" for shift in first.shifts)
    wobble = 196 * (0.95 * 0.05 / result["simulations"]) ** 0.5
    half = f"the mixed model's errors and the judge in {result['models'] // 2:,}"
    fewer = (
        f"What takes longest is in fewer: the mixed model and the ICC in {result['models']:,}, {half}."
        if result["models"] < result["simulations"]
        else f"What takes longest is in fewer: {half}."
    )
    lines = [
        "# Do the intervals hold?",
        "",
        "Written by `make validate-statistics` (benchmarks/coverage.py), with all figures in validation.json. Every "
        "study here is simulated, so that the truth is known; each is analysed by the functions that the report uses.",
        "",
        f"**{result['simulations']:,} studies of each kind**. {fewer} "
        f"{result['draws']} draws inside each bootstrap (the report takes "
        f"more), seed {result['seed']}. A rating is a latent number cut at four thresholds. The latent number is a "
        f"system's shift ({shifts}; the first is the reference), plus normal effects of the text "
        f"(standard deviation {first.sd_item:g}), of the reviewer ({first.sd_reviewer:g}), of the text by system "
        f"({first.sd_item_system:g}), of the reviewer by system ({first.sd_reviewer_system:g}), plus noise (1). "
        "Preferences are made of the same numbers: the highest is preferred, none where the two highest are less than "
        f"{TIE:g} apart.",
        "",
        "True values: means, shares, differences, Cliff's delta and the blinding indices in closed form. Bradley-Terry "
        "strengths, shares of preferences, win rates and best-worst scores from 1,000,000 pages with a text and a "
        "reviewer of their own each; the ICC from 400 texts by 400 reviewers, ten times. Intervals that are for other "
        "texts but the same reviewers (alpha, and a judge beside people) are held against what those reviewers would "
        "have given on 1,500 to 2,000 other texts.",
        "",
        f"Target: {LOWEST:.0%} to {HIGHEST:.0%} of the 95 % intervals cover the true value. A share outside of it, "
        "before it is rounded, is in bold. A median takes whole levels only, so it has no upper limit here. Shares are "
        "over all systems of a study; by chance alone a share moves by up to about "
        f"{wobble:.1f} points. False findings and false non-inferiority have a limit; they are in bold only where even "
        "the low end of their 95 % Monte Carlo interval (Wilson's, each study counted once; in validation.json) lies "
        "above the limit, so a rate somewhat above it need not be bold.",
        "",
        "Not simulated: the ordinal model, figures by group of texts, reviewers' consistency with themselves, the sign "
        "test and Friedman's test. Nothing here says how their intervals and tests hold.",
        "",
        "| study | |",
        "| --- | --- |",
        *(f"| {name} | {one['words']} |" for name, one in found.items()),
        "",
        "## Coverage of the intervals",
        "",
        f"| figure | {' | '.join(found)} |",
        f"| --- | {' | '.join('---:' for _ in found)} |",
    ]
    figures = list(dict.fromkeys(name for one in found.values() for name in one["coverage"]))
    for name in figures:
        cells = [_share(one["coverage"].get(name)) for one in found.values()]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    narrow = [
        f'{name} of "{scenario}" ({value["coverage"]:.1%})'
        for scenario, one in found.items()
        for name, value in one["coverage"].items()
        if value["coverage"] is not None and value["coverage"] < LOWEST
    ]
    lines += [
        "",
        "Above the target, intervals are wider than they need be: they claim too little, as those of very few "
        f"reviewers, or of reviewers without tastes, do. Below it they are too narrow: {'; '.join(narrow) or 'none'}.",
    ]
    for key, title, words in ERRORS:
        lines += ["", f"## {title}", "", f"{words} at most.", ""]
        lines += [f"| test | {' | '.join(found)} |", f"| --- | {' | '.join('---:' for _ in found)} |"]
        for name in dict.fromkeys(name for one in found.values() for name in one[key]):
            cells = []
            for one in found.values():
                value = one[key][name]
                shown = f"{value['rate']:.1%}"
                cells.append(shown if value["met"] else f"**{shown}**")
            lines.append(f"| {name} | {' | '.join(cells)} |")
    missing = [
        f'{name} of "{scenario}": {value["not_given"]} of {value["not_given"] + value["intervals"]}'
        for scenario, one in found.items()
        for name, value in one["coverage"].items()
        if value["not_given"]
    ]
    lines += ["", "## Not given", ""]
    lines.append("Intervals that the analysis did not give, and said why: " + ("; ".join(missing) or "none") + ".")
    return "\n".join(lines) + "\n"


def _share(value: dict[str, Any] | None) -> str:
    if value is None or value["coverage"] is None:
        return "none"
    shown = f"{value['coverage']:.1%}"
    return shown if value["met"] else f"**{shown}**"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--report", action="store_true", help="end with 0 even when a target is missed")
    parser.add_argument("--simulations", type=int, default=1_000, help="studies of each kind")
    parser.add_argument("--models", type=int, default=500, help="of these with the models, which take longest")
    parser.add_argument("--draws", type=int, default=499, help="of each bootstrap")
    parser.add_argument("--only", nargs="*", help="names of the kinds of study")
    parser.add_argument("--write", type=Path, help="folder for validation.md and validation.json")
    parser.add_argument("--join", type=Path, nargs="*", help="put results of some kinds each together, and draw none")
    options = parser.parse_args()

    def say(words: str) -> None:
        print(f"{time.strftime('%H:%M:%S')} {words}", file=sys.stderr, flush=True)

    if options.join:
        parts = [json.loads(file.read_text()) for file in options.join]
        numbers = {(part["simulations"], part["models"], part["draws"], part["seed"]) for part in parts}
        if len(numbers) > 1:
            parser.error("the results do not have the same numbers of studies and draws")
        every = {name: one for part in parts for name, one in part["scenarios"].items()}
        found = {scenario.name: every[scenario.name] for scenario in SCENARIOS if scenario.name in every}
        result = together(found, *list(numbers.pop())[:3])
    else:
        result = measure(options.simulations, options.models, options.draws, options.only, say)
    text = json.dumps(result, indent=2)
    if options.write:
        (options.write / "validation.json").write_text(text + "\n")
        (options.write / "validation.md").write_text(page(result))
    print(text)
    return 0 if result["targets_met"] or options.report else 1


if __name__ == "__main__":
    sys.exit(main())
