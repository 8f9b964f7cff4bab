"""Expected figures are from publications, closed forms or worked by hand; none is this program's own output."""

import numpy as np
import pytest
from scipy import stats

from evaluation.analysis import means
from evaluation.analysis.ratings import from_table
from tests.evaluation.analysis.data import SHROUT_FLEISS

NaN = float("nan")


def rng():
    return np.random.default_rng(7)


def of_one_system(table, levels=5):
    """Ratings of one system from a table of shape (items, reviewers)."""
    return from_table(np.asarray(table, dtype=float)[:, None, :], levels=levels)


def test_a_systems_ratings_are_counted_and_averaged():
    (found,) = means.summaries(of_one_system([[1, 2], [5, 4], [4, NaN]]), rng=rng())
    assert found.counts == (1, 1, 0, 2, 1)
    assert found.shares == pytest.approx((0.2, 0.2, 0, 0.4, 0.2))
    assert found.mean.estimate == pytest.approx(16 / 5)
    assert found.median.estimate == 4
    assert found.top.estimate == pytest.approx(3 / 5)
    assert (found.mean.n_items, found.mean.n_reviewers, found.mean.n_ratings) == (3, 2, 5)


def test_the_median_lies_between_two_levels_where_half_are_on_either_side():
    assert means.summaries(of_one_system([[2, 4], [2, 4]]), rng=rng())[0].median.estimate == 3


def test_the_interval_of_a_mean_is_that_of_shrout_and_fleiss_mean_squares():
    # Shrout & Fleiss (1979), table 3: mean squares of targets 11.24 (5 df), judges 32.49 (3), residual 1.02 (15). The
    # mean of a two-way random table has the variance (11.24 + 32.49 - 1.02) / 24, with Satterthwaite's df.
    targets, judges, rest = 11.24, 32.49, 1.02
    variance = (targets + judges - rest) / 24
    df = (targets + judges - rest) ** 2 / (targets**2 / 5 + judges**2 / 3 + rest**2 / 15)
    half = stats.t.isf(0.025, df) * variance**0.5
    (found,) = means.summaries(of_one_system(SHROUT_FLEISS, levels=100), rng=rng(), draws=40_000)
    assert found.mean.estimate == pytest.approx(127 / 24)
    assert found.mean.high - found.mean.estimate == pytest.approx(half, rel=0.02)


def test_an_interval_stays_within_the_scale():
    (found,) = means.summaries(of_one_system([[1, 5, 5], [1, 5, 4], [1, 4, 5]]), rng=rng())
    assert (found.mean.low, found.mean.high) == (1, 5)


def test_without_effects_of_reviewers_the_interval_is_that_of_a_sample_of_texts():
    # Both reviewers say the same, so only texts vary: variance of the mean is s^2 / n.
    values = np.array([1, 2, 2, 3, 3, 3, 4, 4, 5, 5, 1, 3])
    (found,) = means.summaries(of_one_system(np.column_stack([values, values])), rng=rng(), draws=20_000)
    se = values.std(ddof=1) / 12**0.5
    assert found.mean.high - found.mean.estimate == pytest.approx(stats.t.isf(0.025, 11) * se, rel=0.03)


def test_one_reviewers_interval_is_over_texts_and_says_so():
    values = np.array([[1], [2], [4], [3], [5], [4]])
    (found,) = means.summaries(of_one_system(values), rng=rng(), draws=20_000)
    half = stats.t.isf(0.025, 5) * values.std(ddof=1) / 6**0.5
    assert found.mean.high - found.mean.low == pytest.approx(
        min(5, found.mean.estimate + half) - (found.mean.estimate - half), rel=0.03
    )
    assert "One reviewer only" in found.mean.reason


def test_a_share_stays_within_0_and_1_and_holds_its_estimate():
    table = np.full((20, 3), 5.0)
    table[0, 0] = 1
    (found,) = means.summaries(of_one_system(table), rng=rng())
    assert 0 < found.top.low < found.top.estimate < found.top.high < 1


def test_a_share_of_all_has_wilsons_interval_over_texts():
    # Newcombe, Statistics in Medicine 17 (1998), table I, method 3: 0 of 20 is 0 to 0.1611; so 20 of 20 from 0.8389.
    table = np.full((20, 3), 5.0)
    table[:10] = 4
    (found,) = means.summaries(of_one_system(table), rng=rng())
    assert (found.top.low, found.top.high) == pytest.approx((0.8389, 1), abs=0.00005)
    assert "each text once" in found.top.reason


@pytest.mark.parametrize(
    ("table", "estimate", "words"),
    [
        (np.full((3, 2), NaN), None, "No ratings"),
        ([[3, 5]], 4, "One text only"),
        ([[4, 4], [4, 4]], 4, "Every rating is 4"),
    ],
)
def test_a_mean_without_an_interval_says_why(table, estimate, words):
    (found,) = means.summaries(of_one_system(table), rng=rng())
    for figure in (found.mean, found.median):
        assert (figure.estimate, figure.low, figure.high) == (estimate, None, None)
        assert words in figure.reason


def test_a_median_of_few_reviewers_reaches_to_all_that_was_drawn():
    # With two reviewers the expanded level is beyond what draws can tell, so the interval is their whole range.
    (found,) = means.summaries(of_one_system([[1, 5], [2, 4], [1, 5], [2, 5]]), rng=rng())
    assert (found.median.low, found.median.high) == (1, 5)


def test_top_must_leave_a_level():
    with pytest.raises(ValueError, match="from 1 to 4"):
        means.summaries(of_one_system([[1, 2]]), rng=rng(), top=5)


# Differences


def test_reviewers_are_compared_with_themselves():
    # Differences +2, 0 on the first text, +1 on the second (one reviewer rated both); the third has no pair, but four
    # of the system's five ratings have one.
    table = np.array([[[2, 3, 3], [4, 3, 4]], [[3, NaN, NaN], [4, NaN, NaN]], [[NaN, NaN, NaN], [5, NaN, NaN]]])
    found = means.difference(from_table(table, levels=5), 1, 0, rng=rng())
    assert found.difference.estimate == pytest.approx((2 + 0 + 1 + 1) / 4)
    assert (found.difference.n_items, found.difference.n_reviewers, found.difference.n_ratings) == (2, 3, 8)
    assert found.how == means.BY_REVIEWER


def test_where_reviewers_see_one_output_of_a_text_means_of_texts_are_compared():
    # Reviewer 0 rates the reference on text 0, reviewer 1 the system, and the other way round on text 1.
    table = np.array([[[2, NaN], [NaN, 4]], [[NaN, 3], [3, NaN]], [[1, NaN], [NaN, NaN]]])
    found = means.difference(from_table(table, levels=5), 1, 0, rng=rng())
    assert found.difference.estimate == pytest.approx((4 + 3) / 2 - (2 + 3) / 2)  # the third text has one of them
    assert (found.difference.n_items, found.how) == (2, means.BY_TEXT)
    items, differences, how = means.item_differences(from_table(table, levels=5), 1, 0)
    assert (items.tolist(), differences.tolist(), how) == ([0, 1], [2, 0], means.BY_TEXT)


def test_a_paired_difference_has_the_interval_of_the_mean_squares_of_differences():
    # Shrout & Fleiss's targets and judges once more, as differences from a reference rated 1 throughout.
    table = np.stack([np.ones_like(SHROUT_FLEISS), SHROUT_FLEISS], axis=1)
    found = means.difference(from_table(table, levels=100), 1, 0, rng=rng(), draws=40_000)
    assert found.se == pytest.approx(((11.24 + 32.49 - 1.02) / 24) ** 0.5, rel=0.02)
    assert found.p == pytest.approx(2 * stats.t.sf(found.difference.estimate / found.se, found.df))


def test_thirds_that_cancel_are_no_difference():
    table = np.array([[[1, 2, 4], [2, 4, 1]], [[4, 4, 4], [5, 5, 5]]])
    assert means.item_differences(from_table(table, levels=5), 1, 0)[1].tolist() == [0, 1]


@pytest.mark.parametrize(
    ("table", "estimate", "words"),
    [
        ([[[3, 3], [NaN, NaN]], [[NaN, NaN], [4, 4]]], None, "No text has ratings of both"),
        ([[[3, 3], [4, 5]]], 1.5, "One text only"),
        ([[[3, 2], [4, 3]], [[1, 4], [2, 5]]], 1, "difference is +1 on every text"),
    ],
)
def test_a_difference_without_an_interval_says_why(table, estimate, words):
    found = means.difference(from_table(table, levels=5), 1, 0, rng=rng())
    assert (found.difference.estimate, found.difference.low, found.p) == (estimate, None, None)
    assert words in found.difference.reason


def test_the_same_seed_gives_the_same_figures():
    ratings = of_one_system(SHROUT_FLEISS, levels=10)
    assert means.summaries(ratings, rng=rng(), draws=99) == means.summaries(ratings, rng=rng(), draws=99)


def study(random, *, items=60, reviewers=6):
    """Two systems of means 3.0 and 3.4 on a long scale, with effects of texts, reviewers, outputs and tastes."""
    effects = (
        random.normal(0, 10, (items, 1, 1))
        + random.normal(0, 12, (1, 1, reviewers))
        + random.normal(0, 8, (items, 2, 1))
        + random.normal(0, 5, (1, 2, reviewers))
        + random.normal(0, 14, (items, 2, reviewers))
    )
    return from_table(np.clip(np.round(np.array([90, 98])[None, :, None] + effects), 1, 200), levels=200)


def test_intervals_hold_the_truth_as_often_as_they_say():
    random = np.random.default_rng(3)
    held = []
    for _ in range(200):
        ratings = study(random)
        mean = means.summaries(ratings, rng=random, draws=199)[0].mean
        difference = means.difference(ratings, 1, 0, rng=random, draws=199).difference
        held.append((mean.low <= 90 <= mean.high, difference.low <= 8 <= difference.high))
    # 95 % of 200, give or take three standard errors.
    assert (np.abs(np.mean(held, axis=0) - 0.95) < 3 * (0.95 * 0.05 / 200) ** 0.5).all()
