"""Each system against the reference on each criterion: the planned test, what checks it, and what both say."""

from collections.abc import Callable
from typing import Any

import numpy as np

from evaluation.analysis import means, mixed, noninferiority, ordinal, ranks
from evaluation.analysis.noninferiority import Verdict
from evaluation.analysis.ratings import Difference, Ratings
from evaluation.models import Criterion, Hypothesis
from evaluation.reports.plain import plain

SIGNIFICANT = 0.05
REFERENCE = 0  # its code


def compare(
    criteria: list[Criterion],
    ratings: dict[str, Ratings],
    rng: Callable[[int, int], np.random.Generator],
    step: Callable[[str], None],
    *,
    checks: bool = True,
) -> dict[str, Any]:
    """All comparisons, the planned ones adjusted together.

    Args:
        ratings: by criterion key; code 0 is the reference. rng: a generator for a criterion and a system, by place.
        checks: whether to compute what only checks the main result.
    Returns:
        rows: one for each criterion and system, JSON-ready (docs/formats.md). models: one for each criterion.
        planned: how many tests were planned, the number that Holm's method adjusts for. tests: how many of them could
        be made. A planned test that could not be made counts as one with a p-value of 1.
    """
    rows, models = [], []
    for place, criterion in enumerate(criteria):
        own = ratings[criterion.key]
        model = mixed.fit(own, REFERENCE)
        models.append({"criterion": criterion.key, **_model(model)})
        by_system = {difference.system: difference for difference in model.differences}
        odds: dict[int, Any] = {}
        if checks:
            proportional = ordinal.fit(own, REFERENCE)
            odds = {found.system: plain(found) for found in proportional.ratios}
            models[-1]["ordinal"] = proportional.state
            models[-1]["friedman"] = plain(ranks.friedman(own))
        for system in range(1, own.n_systems):
            drawn = means.difference(own, system, REFERENCE, rng=rng(place, system))
            rows.append(_row(criterion, own, system, by_system[system], drawn))
            if checks:
                rows[-1]["checks"] = {
                    "wilcoxon": plain(ranks.wilcoxon(own, system, REFERENCE)),
                    "sign": plain(ranks.sign_test(own, system, REFERENCE)),
                    "delta": plain(ranks.cliffs_delta(own, system, REFERENCE, rng=rng(place, system))),
                    "odds": odds.get(system),
                }
        step(f"Comparisons: {criterion.name}")
    adjusted = adjust([row["p"] for row in rows], [row["planned"] for row in rows])
    for row, p in zip(rows, adjusted, strict=True):
        row["p_holm"] = p
        _judge(row)
    return {
        "rows": rows,
        "models": models,
        "planned": sum(row["planned"] for row in rows),
        "tests": sum(row["p"] is not None for row in rows),
    }


def adjust(p_values: list[float | None], planned: list[bool]) -> list[float | None]:
    """Holm's adjusted p-values over all planned tests; one that could not be made counts, as if its p were 1."""
    adjusted = ranks.holm([1.0 if plan and p is None else p for p, plan in zip(p_values, planned, strict=True)])
    return [None if p is None else found for p, found in zip(p_values, adjusted, strict=True)]


def _model(model: mixed.Mixed) -> dict[str, Any]:
    return {"state": model.state, "components": plain(model.components), "left_out": plain(model.left_out)}


def _row(
    criterion: Criterion, ratings: Ratings, system: int, modelled: Difference, drawn: Difference
) -> dict[str, Any]:
    """One comparison without its verdict. The mixed model leads; where it gives no interval the bootstrap does."""
    has_model = modelled.difference.low is not None
    main = modelled if has_model else drawn
    planned = criterion.hypothesis != Hypothesis.NONE
    row: dict[str, Any] = {
        "criterion": criterion.key,
        "system": system,
        "hypothesis": criterion.hypothesis,
        "planned": planned,
        "margin": criterion.margin,
        "method": "mixed" if has_model else "bootstrap",
        "why_not_mixed": "" if has_model else modelled.difference.reason,
        "difference": plain(main.difference),
        "df": plain(main.df),
        "how": main.how,
        "bootstrap": plain(drawn.difference),
        "p": main.p if planned else None,
        "p_bootstrap": drawn.p,
        "noninferiority": None,
        "checks": {},
    }
    if criterion.hypothesis == Hypothesis.NONINFERIORITY and criterion.margin:
        found = noninferiority.noninferiority(main, criterion.margin)
        other = noninferiority.noninferiority(drawn, criterion.margin)
        row["noninferiority"] = {
            "verdict": str(found.verdict),
            "why": found.why,
            "p": found.p,
            "bootstrap_verdict": str(other.verdict),
        }
        # One-sided at half the level: doubled, it stands beside the two-sided ones.
        row["p"] = None if found.p is None else min(1.0, 2 * found.p)
    elif planned and main.p is None:
        # Every text may differ by the very same: then only the ranks can be tested.
        tested = ranks.wilcoxon(ratings, system, REFERENCE)
        if tested.p is not None:
            row |= {"p": tested.p, "method": "wilcoxon"}
    return row


def _judge(row: dict[str, Any]) -> None:
    """Add `verdict` (a key of words.FINDINGS), `why` in words, and `disagree`: what the checks say against it."""
    estimate = row["difference"]
    found = row["noninferiority"]
    if estimate["estimate"] is None or (row["planned"] and row["p"] is None):
        row["verdict"] = "none"
        row["why"] = (found or {}).get("why") or estimate["reason"] or "There is nothing to test."
    elif found is not None:
        row["verdict"], row["why"] = found["verdict"], found["why"]
        if found["verdict"] == Verdict.NON_INFERIOR and row["p_holm"] >= SIGNIFICANT:
            row["verdict"] = Verdict.INCONCLUSIVE.value
            row["why"] += " After the adjustment for all planned tests that is not enough."
        if found["verdict"] == Verdict.INFERIOR:
            row["p_holm"] = None  # that of the test for non-inferiority, which says nothing about this finding
            row["why"] += " That is read from the unadjusted 95 % interval; no test of it was planned."
    elif row["planned"]:
        clear = row["p_holm"] < SIGNIFICANT
        row["verdict"] = ("better" if estimate["estimate"] > 0 else "worse") if clear else "unclear"
        row["why"] = estimate["reason"]
    else:
        row["verdict"], row["why"] = side(estimate, ("higher", "lower", "close")) or "none", estimate["reason"]
    row["disagree"] = _disagreements(row)


SIDES = ("higher", "lower", "no difference")
# Of a finding without an interval.
SIDE_OF = {"better": "higher", "worse": "lower", "unclear": "no difference"}


def side(estimate: dict[str, Any], words: tuple[str, str, str] = SIDES) -> str:
    """Which side of 0 the interval lies on; empty where there is none."""
    above, below, neither = words
    if estimate["low"] is None:
        return ""
    if estimate["low"] <= 0 <= estimate["high"]:
        return neither
    return above if estimate["low"] > 0 else below


def _disagreements(row: dict[str, Any]) -> list[str]:
    """Where another method, by itself at 5 %, comes to another finding than the main one does by itself."""
    estimate = row["difference"]
    if estimate["estimate"] is None or not row["checks"]:
        return []
    words = []
    if row["noninferiority"] is not None:
        one, other = row["noninferiority"]["verdict"], row["noninferiority"]["bootstrap_verdict"]
        if row["method"] == "mixed" and one != other and other != Verdict.NONE:
            words.append(f"By the bootstrap's interval the finding is: {other}.")
        return words
    main = side(estimate) or SIDE_OF.get(row["verdict"], "")
    if not main:
        return []
    sides = []
    if row["method"] == "mixed":
        sides.append(("The bootstrap's interval", side(row["bootstrap"])))
    sides.append(("Wilcoxon's test", _tested(row["checks"]["wilcoxon"], row["checks"]["delta"])))
    sides.append(("Cliff's delta", side(row["checks"]["delta"])))
    odds = row["checks"]["odds"]
    if odds and odds["ratio"]["low"] is not None:
        shifted = {"low": odds["ratio"]["low"] - 1, "high": odds["ratio"]["high"] - 1}
        sides.append(("The ordinal model", side(shifted)))
    for name, found in sides:
        if found and found != main:
            words.append(f"{name} by itself says: {found}.")
    return words


def _tested(test: dict[str, Any], delta: dict[str, Any]) -> str:
    if test["p"] is None or delta["estimate"] is None:
        return ""
    if test["p"] >= SIGNIFICANT:
        return "no difference"
    return "higher" if delta["estimate"] > 0 else "lower"
