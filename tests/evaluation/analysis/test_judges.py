"""Expected figures are worked by hand or planted, as each test says; kappa is also statsmodels' own."""

import numpy as np
import pytest

from evaluation.analysis import judges
from evaluation.analysis.ratings import Ratings, from_table

NaN = float("nan")


def judge_of(table, levels=5):
    """A judge's ratings, shape (n_items, n_systems)."""
    return from_table(np.asarray(table, dtype=float)[:, :, None], levels=levels)


def simulated(*, lean=0.0, noise=1.0, items=120, length_effect=0.0, seed=3):
    """People and a judge who see the same quality; lengths that have nothing to do with it."""
    rng = np.random.default_rng(seed)
    quality = rng.normal(size=(items, 3))
    lengths = rng.integers(20, 400, (items, 3)).astype(float)
    people = np.clip(np.round(3 + quality[:, :, None] + 0.7 * rng.normal(size=(items, 3, 4))), 1, 5)
    seen = 3 + quality + lean + noise * rng.normal(size=(items, 3)) + length_effect * (lengths - 210) / 110
    return from_table(people, levels=5), judge_of(np.clip(np.round(seen), 1, 5)), lengths


def test_agreement_of_six_outputs_worked_by_hand():
    # One system, six texts, three people each: medians 1, 2, 2, 3, 3, 3; means 4/3, 2, 2, 3, 8/3, 3
    people = from_table(
        np.array([[1, 1, 2], [2, 2, 2], [1, 2, 3], [3, 3, 3], [2, 3, 3], [3, 3, 3]], dtype=float)[:, None, :], levels=3
    )
    judge = judge_of([[1], [2], [1], [3], [2], [3]], levels=3)
    found = judges.agreement(people, judge)
    # Quadratic weights: observed disagreement (1 + 1)/6. Judge's shares 2, 2, 2 of 6, medians' 1, 2, 3 of 6; expected
    # disagreement (2*2*1 + 2*3*4 + 2*1*1 + 2*3*1 + 2*1*4 + 2*2*1)/36 = 48/36
    assert found.kappa.estimate == pytest.approx(1 - (2 / 6) / (48 / 36))
    # Differences to the means: -1/3, 0, -1, 0, -2/3, 0
    assert found.difference.estimate == pytest.approx(-2 / 6)
    assert found.difference.low < -1 / 3 < found.difference.high
    # Ranks of the judge 1.5, 3.5, 1.5, 5.5, 3.5, 5.5 and of the means 1, 2.5, 2.5, 5.5, 4, 5.5; their correlation:
    # deviations (-2, 0, -2, 2, 0, 2) and (-2.5, -1, -1, 2, .5, 2): 15 / sqrt(16 * 16.5)
    assert found.rank_correlation.estimate == pytest.approx(15 / (16 * 16.5) ** 0.5)
    assert (found.kappa.n_items, found.kappa.n_ratings, found.kappa.n_reviewers) == (6, 6, 3)


def test_ordinal_alpha_of_two_columns_worked_by_hand():
    # Units 1-1, 2-2, 1-2, 3-3, 2-3, 3-3 (judge, median): values 1 x3, 2 x4, 3 x5. Ordinal distances squared:
    # d12 = (3/2 + 4/2)^2 = 12.25, d23 = (4/2 + 5/2)^2 = 20.25, d13 = (3/2 + 4 + 5/2)^2 = 64.
    people = from_table(np.array([1, 2, 2, 3, 3, 3], dtype=float)[:, None, None], levels=3)
    judge = judge_of([[1], [2], [1], [3], [2], [3]], levels=3)
    observed = (12.25 + 20.25) / 6
    expected = 2 * (3 * 4 * 12.25 + 4 * 5 * 20.25 + 3 * 5 * 64) / (12 * 11)
    assert judges.agreement(people, judge).alpha.estimate == pytest.approx(1 - observed / expected)


def test_a_better_judge_agrees_more_and_a_generous_one_lies_above_people():
    people, sharp, _ = simulated(noise=0.3)
    _, dull, _ = simulated(noise=3.0)
    _, generous, _ = simulated(noise=0.3, lean=1.0)
    first, second, third = (judges.agreement(people, judge) for judge in (sharp, dull, generous))
    assert first.kappa.low > second.kappa.high and first.alpha.low > second.alpha.high
    assert first.rank_correlation.low > second.rank_correlation.high
    assert abs(first.difference.estimate) < 0.15 and third.difference.low > 0.5
    assert third.kappa.estimate < first.kappa.estimate
    assert third.rank_correlation.estimate == pytest.approx(first.rank_correlation.estimate, abs=0.1)


def test_only_outputs_that_both_rated_count_and_the_lower_middle_is_taken():
    people = Ratings(
        item=[0, 0, 1, 2], system=[0, 0, 0, 0], reviewer=[0, 1, 0, 1], value=[2, 4, 3, 5], levels=5, n_items=3,
        n_systems=1, n_reviewers=2,
    )  # fmt: skip
    judge = Ratings(
        item=[0, 1], system=[0, 0], reviewer=[0, 0], value=[4, 3], levels=5, n_items=3, n_systems=1, n_reviewers=1
    )
    both = judges.shared(people, judge)
    assert both.mean.tolist() == [3, 3] and both.median.tolist() == [2, 3] and both.judge.tolist() == [4, 3]
    assert both.sizes == {"n_items": 2, "n_reviewers": 2, "n_ratings": 2}


def test_what_cannot_be_given_is_said():
    people = from_table(np.full((4, 1, 2), 3.0), levels=5)
    constant = judges.agreement(people, judge_of([[3]] * 4))
    assert constant.kappa.estimate is None and "same" in constant.kappa.reason
    assert constant.rank_correlation.estimate is None and constant.difference.estimate == 0
    nothing = judges.agreement(people, judge_of([[NaN]] * 4))
    assert nothing.kappa.reason == nothing.difference.reason == "The judge and people rated no output in common."
    one = judges.agreement(from_table([[[2.0, 3.0]]], levels=5), judge_of([[3]]))
    assert one.difference.estimate == 0.5 and one.difference.low is None and "One text" in one.difference.reason
    with pytest.raises(ValueError, match="one judge"):
        judges.agreement(people, people)


def test_a_judge_that_likes_length_is_found_out():
    people, fair, lengths = simulated()
    _, biased, _ = simulated(length_effect=1.5)
    first, second = judges.length_bias(people, fair, lengths), judges.length_bias(people, biased, lengths)
    assert first.judge.low < 0 < first.judge.high and first.excess.low < 0 < first.excess.high
    assert second.judge.low > 0.3 and second.excess.low > 0.3
    assert first.people == second.people
    same = judges.length_bias(people, fair, np.full_like(lengths, 100))
    assert same.judge.estimate is None and "equally long" in same.excess.reason


def test_position_bias_of_eight_pairs_worked_by_hand():
    # first place in both orders: 3 pairs; second place in both: 1; same output: 3 (1 of them a tie); 1 tie against win
    one_order = [1, 1, 1, -1, 1, -1, 0, 0]
    other_order = [1, 1, 1, -1, -1, 1, 0, 1]
    found = judges.position_bias(range(8), one_order, other_order)
    # 13 preferences: 3*2 + 1 + 1 + 1 for the first place
    assert found.first_place.estimate == pytest.approx(9 / 13) and found.first_place.n_ratings == 13
    assert found.consistent.estimate == pytest.approx(3 / 8)
    assert (found.towards_first, found.towards_second) == (3, 1)
    assert found.first_place.low < 0.5 < found.first_place.high and "No leaning" in found.verdict


def test_a_judge_that_leans_to_the_first_place_is_named():
    rng = np.random.default_rng(1)
    item, better = np.arange(200) // 2, rng.choice([1, -1], 200)
    leaning = rng.random(200) < 0.4
    found = judges.position_bias(item, np.where(leaning, 1, better), np.where(leaning, 1, -better))
    assert "first" in found.verdict and found.first_place.low > 0.5
    assert found.consistent.estimate == pytest.approx(0.6, abs=0.1)
    second = judges.position_bias(item, np.where(leaning, -1, better), np.where(leaning, -1, -better))
    assert "second" in second.verdict
    fair = judges.position_bias(item, better, -better)
    assert fair.consistent.estimate == 1 and fair.consistent.high == 1 and fair.first_place.estimate == 0.5
    ties = judges.position_bias([0, 1], [0, 0], [0, 0])
    assert ties.first_place.estimate is None and "none" in ties.verdict
