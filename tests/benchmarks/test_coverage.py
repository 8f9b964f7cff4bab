"""The simulated studies that the report's intervals are held against."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from benchmarks import coverage
from evaluation.analysis.ratings import Estimate

COMPLETE = coverage.SCENARIOS[0]


def estimate(value, reach):
    return Estimate(estimate=value, low=value - reach, high=value + reach, n_items=1, n_reviewers=1, n_ratings=1)


@pytest.mark.parametrize(("factor", "met"), [(1.96, True), (1.5, False), (3.5, False)])
def test_intervals_that_are_too_narrow_or_too_wide_miss_the_target(factor, met):
    rng = np.random.default_rng(4)
    tally = coverage.Tally()
    for number, value in enumerate(rng.normal(size=4_000)):
        tally.add(number, estimate(value, factor), 0.0)
    result = tally.result()
    assert result["met"] is met
    assert result["coverage"] == pytest.approx(2 * stats.norm.cdf(factor) - 1, abs=0.015)
    assert result["bias"] == pytest.approx(0, abs=0.05) and result["mean_width"] == pytest.approx(2 * factor)


def test_what_was_not_given_is_counted_and_misses_where_nothing_was():
    tally = coverage.Tally()
    tally.add(0, Estimate(estimate=1.0, n_items=1, n_reviewers=1, n_ratings=1, reason="One text."), 1.0)
    assert tally.result() == {"coverage": None, "met": False, "intervals": 0, "not_given": 1}


def test_a_rate_misses_when_even_its_low_end_is_above_the_limit():
    assert coverage.rate([[True]] * 7 + [[False]] * 93, 0.05)["met"]
    assert not coverage.rate([[True]] * 20 + [[False]] * 80, 0.05)["met"]
    assert coverage.rate([[True]] * 20 + [[False]] * 80, None)["met"]


def test_true_values_in_closed_form_are_those_of_a_large_draw():
    wide = coverage.dataclasses.replace(COMPLETE, reviewers=300)
    rng = np.random.default_rng(2)
    values = coverage.levels(
        wide, coverage.latent(wide, coverage.people(wide, rng, wide.shifts), rng, 900, wide.shifts)
    )
    plan = wide.plan
    for system, shift in enumerate(wide.shifts):
        assert values[:, system].mean() == pytest.approx(plan.mean(shift), abs=0.09)
    own, other = (np.bincount(values[:, system].ravel().astype(int), minlength=6)[1:] for system in (1, 0))
    pairs = np.outer(own / own.sum(), other / other.sum())
    delta = np.tril(pairs, -1).sum() - np.triu(pairs, 1).sum()
    assert coverage.true_delta(plan, wide.shifts[1]) == pytest.approx(delta, abs=0.04)


def test_alpha_of_a_table_is_the_packages():
    import krippendorff

    values = np.random.default_rng(1).integers(1, 6, (20, 2, 4)).astype(float)
    expected = krippendorff.alpha(values.reshape(-1, 4).T, level_of_measurement="ordinal")
    assert coverage.alpha_of(values) == pytest.approx(expected)


def test_each_output_of_incomplete_blocks_has_three_ratings_and_each_reviewer_two_outputs():
    blocks = next(one for one in coverage.SCENARIOS if one.seats == "blocks")
    given = coverage.seats(blocks, np.random.default_rng(1))
    assert (given.sum(axis=2) == 3).all() and (given.sum(axis=1) == 2).all()


def test_the_page_says_what_is_in_fewer_studies_what_is_bold_and_what_is_missing():
    text = (Path(__file__).parents[2] / "docs" / "validation.json").read_text()
    result = json.loads(text)
    written = coverage.page(result)
    assert written == (Path(__file__).parents[2] / "docs" / "validation.md").read_text()
    assert "Not simulated: the ordinal model" in written and "Monte Carlo interval" in written
    assert "ICC in" not in coverage.page(result | {"models": result["simulations"]})
    assert "the mixed model and the ICC in 100, the mixed model's errors" in coverage.page(result | {"models": 100})


@pytest.mark.slow
def test_a_tiny_validation_runs_and_writes_its_page(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(coverage, "TRUE_PAGES", 20_000)
    for name in ("small", "blocks"):
        (tmp_path / name).mkdir()
        call = ["coverage", "--report", "--simulations", "4", "--models", "2", "--draws", "49", "--only", name]
        monkeypatch.setattr(sys, "argv", [*call, "--write", str(tmp_path / name)])
        assert coverage.main() == 0
    files = [str(tmp_path / name / "validation.json") for name in ("small", "blocks")]
    monkeypatch.setattr(sys, "argv", ["coverage", "--report", "--join", *files, "--write", str(tmp_path)])
    capsys.readouterr()
    assert coverage.main() == 0
    result = json.loads(capsys.readouterr().out)
    assert result == json.loads((tmp_path / "validation.json").read_text())
    assert list(result["scenarios"]) == ["blocks", "small"] and result["simulations"] == 4
    small = result["scenarios"]["small"]["coverage"]
    assert small["difference of means"]["intervals"] + small["difference of means"]["not_given"] == 4 * 2
    assert small["judge: weighted kappa"]["studies"] == 1
    page = (tmp_path / "validation.md").read_text()
    assert "| difference of means |" in page and "## False non-inferiority" in page
    assert result["missed"] == [] or not result["targets_met"]
