"""Expected figures are from publications or written out apart from the program; none is this program's own output."""

import numpy as np
import pytest
from scipy import optimize, special, stats

from evaluation.analysis import ordinal
from evaluation.analysis.ratings import Ratings, from_table
from tests.evaluation.analysis.data import WINE

NaN = float("nan")


def wine():
    """Temperature as system (cold, warm), contact as reviewer (no, yes), judges and bottles as texts."""
    table = WINE.reshape(9, 2, 2, 2).transpose(0, 3, 1, 2).reshape(18, 2, 2)  # judge and bottle, temperature, contact
    return from_table(table, levels=5)


def test_odds_ratios_are_those_of_christensens_wine():
    # Christensen, "Cumulative link models for ordinal regression with the R package ordinal" (vignette), model fm1 =
    # clm(rating ~ temp + contact): temperature 2.5031, contact 1.5278.
    (warm,) = ordinal.fit(wine(), 0).ratios
    assert np.log(warm.ratio.estimate) == pytest.approx(2.5031, abs=0.0002)
    swapped = wine()
    contact = Ratings(
        item=swapped.item,
        system=swapped.reviewer,
        reviewer=swapped.system,
        value=swapped.value,
        levels=5,
        n_items=18,
        n_systems=2,
        n_reviewers=2,
    )
    assert np.log(ordinal.fit(contact, 0).ratios[0].ratio.estimate) == pytest.approx(1.5278, abs=0.0002)


def test_the_interval_is_that_of_the_sandwich_written_out():
    # The likelihood, its gradient by text and its second derivatives once more, by finite differences.
    ratings = wine()
    warm, contact = (ratings.system == 1).astype(float), (ratings.reviewer == 1).astype(float)
    level = ratings.value.astype(int)

    def of_ratings(parameters):
        limits = np.concatenate([[-np.inf], parameters[2:], [np.inf]])
        line = parameters[0] * warm + parameters[1] * contact
        return np.log(special.expit(limits[level] - line) - special.expit(limits[level - 1] - line))

    def slope(function, at):
        steps = np.eye(at.size) * 1e-4
        return np.array([(function(at + step) - function(at - step)) / 2e-4 for step in steps])

    best = optimize.minimize(
        lambda parameters: -of_ratings(parameters).sum(), [2.5, 1.5, -1.3, 1.2, 3.4, 5.0], options={"gtol": 1e-6}
    ).x
    assert of_ratings(best).sum() == pytest.approx(-86.49, abs=0.005)  # as published
    curvature = -slope(lambda at: slope(lambda inner: of_ratings(inner).sum(), at), best)
    plain = np.sqrt(np.diag(np.linalg.inv(curvature)))
    assert plain[:2] == pytest.approx([0.5287, 0.4766], abs=0.0005)  # the published standard errors, not clustered
    scores = slope(of_ratings, best)
    by_text = np.stack([scores[:, ratings.item == item].sum(axis=1) for item in range(18)])
    sandwich = np.linalg.inv(curvature) @ (by_text.T @ by_text) @ np.linalg.inv(curvature)
    se = (sandwich[0, 0] * 18 / 17 * 71 / (72 - 6)) ** 0.5
    (found,) = ordinal.fit(ratings, 0).ratios
    assert found.se == pytest.approx(se, rel=0.002)
    half = stats.t.isf(0.025, 17) * se
    limits = np.exp([best[0] - half, best[0] + half])
    assert (found.ratio.low, found.ratio.high) == pytest.approx(limits, rel=0.005)
    assert found.p == pytest.approx(2 * stats.t.sf(best[0] / se, 17), rel=0.02)
    assert (found.ratio.n_items, found.ratio.n_reviewers, found.ratio.n_ratings) == (18, 2, 72)


def test_all_judges_but_the_flat_one_count():
    table = np.concatenate([wine().value.reshape(18, 2, 2), np.full((18, 2, 1), 5)], axis=2)
    found = ordinal.fit(from_table(table, levels=5), 0)
    assert "Left out: 1 reviewer" in found.state
    assert np.log(found.ratios[0].ratio.estimate) == pytest.approx(2.5031, abs=0.0002)


def test_a_system_at_one_end_has_no_odds_ratio_and_leaves_the_others():
    table = np.concatenate([wine().value.reshape(18, 2, 2), np.full((18, 1, 2), 5)], axis=1)
    found = ordinal.fit(from_table(table, levels=5), 0)
    assert np.log(found.ratios[0].ratio.estimate) == pytest.approx(2.5031, abs=0.0002)
    assert found.ratios[1].ratio.estimate is None
    assert "one end of the scale" in found.ratios[1].ratio.reason


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (np.full((2, 2, 2), NaN), "No ratings"),
        (np.full((3, 2, 2), 4), "Every rating is 4"),
        ([[[3, 2]], [[2, 4]]], "Only the reference"),
        ([[[NaN, NaN], [3, 2]], [[NaN, NaN], [2, 4]]], "reference has no ratings"),
        ([[[1, 1], [3, 2]], [[1, 1], [2, 4]]], "reference is at one end"),
        ([[[1, NaN], [NaN, 3]], [[2, NaN], [NaN, 2]], [[3, NaN], [NaN, 2]]], "cannot be told apart"),
    ],
)
def test_without_a_model_the_words_say_why(table, words):
    found = ordinal.fit(from_table(table, levels=5), 0)
    assert words in found.state
    assert all(ratio.ratio.estimate is None and words in ratio.ratio.reason for ratio in found.ratios)


def test_ratings_that_do_not_overlap_have_no_finite_ratio():
    random = np.random.default_rng(1)
    table = np.stack([random.integers(1, 3, (20, 3)), random.integers(3, 6, (20, 3))], axis=1)
    (found,) = ordinal.fit(from_table(table, levels=5), 0).ratios
    assert (found.ratio.estimate, found.ratio.low) == (None, None)
    assert found.ratio.reason


def test_one_text_has_a_ratio_but_no_interval():
    table = np.array([[[1, 2, 3, 2, 4, 3], [2, 3, 3, 4, 5, 2]]])
    (found,) = ordinal.fit(from_table(table, levels=5), 0).ratios
    assert found.ratio.estimate > 1
    assert (found.ratio.low, found.p) == (None, None)
    assert "One text only" in found.ratio.reason


def test_too_large_studies_are_said(monkeypatch):
    monkeypatch.setattr(ordinal, "MAX_SIZE", 100)
    assert "Too many ratings" in ordinal.fit(wine(), 0).state
