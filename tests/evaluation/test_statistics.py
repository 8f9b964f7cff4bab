"""Every expected figure is from a publication or worked by hand; none is this program's own output."""

import numpy as np
import pytest

from evaluation import statistics

NaN = float("nan")


def rng():
    return np.random.default_rng(7)


# Krippendorff, "Computing Krippendorff's Alpha-Reliability" (2011), section C: four observers, twelve units.
KRIPPENDORFF_2011 = [
    [1, 2, 3, 3, 2, 1, 4, 1, 2, NaN, NaN, NaN],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, NaN, 3],
    [NaN, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, NaN],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, NaN],
]


def test_alpha_is_that_of_krippendorffs_published_example():
    ratings = np.array(KRIPPENDORFF_2011).T[:, None, :]  # twelve items of one system
    result = statistics.agreement(ratings, levels=5, rng=rng(), draws=199)
    assert result.estimate == pytest.approx(0.815, abs=0.0005)
    assert result.low < result.estimate < result.high
    # The twelfth unit has one value and cannot be paired: 41 given values less that one (ibid.).
    assert (result.n_items, result.n_ratings, result.reason) == (11, 40, "")


def test_alpha_counts_each_system_of_an_item_as_a_unit():
    data = np.array(KRIPPENDORFF_2011).T  # (12 units, 4 observers), read as 6 items of two systems
    result = statistics.agreement(data.reshape(6, 2, 4), levels=5, rng=rng(), draws=99)
    assert result.estimate == pytest.approx(0.815, abs=0.0005)
    assert result.n_items == 6


def test_perfect_agreement_is_one():
    ratings = np.repeat(np.arange(1, 6)[:, None, None], 3, axis=2)
    assert statistics.agreement(ratings, levels=5, rng=rng(), draws=99).estimate == pytest.approx(1)


def test_alpha_of_one_reviewer_says_why_there_is_none():
    result = statistics.agreement(np.ones((4, 2, 1)), levels=5, rng=rng())
    assert result.estimate is None
    assert "two reviewers" in result.reason


def test_alpha_without_variation_says_why_there_is_none():
    result = statistics.agreement(np.full((4, 2, 3), 5), levels=5, rng=rng())
    assert result.estimate is None
    assert "variation" in result.reason
    assert result.n_ratings == 24


def test_alpha_of_one_item_has_no_interval():
    result = statistics.agreement([[[1, 2], [5, 5]]], levels=5, rng=rng())
    assert result.estimate is not None
    assert result.low is None
    assert "One text" in result.reason


def test_alpha_refuses_values_that_are_not_on_the_scale():
    with pytest.raises(ValueError, match="1 to 5"):
        statistics.agreement(np.full((2, 2, 2), 2.5), levels=5, rng=rng())


def test_mean_and_interval_of_two_items_worked_by_hand():
    # Drawing two of two items gives the mean 1 (one draw in four), 2 (two) or 3 (one): 2.5 % and 97.5 % are 1
    # and 3.
    result = statistics.mean_rating([[1, 1], [3, 3]], rng=rng())
    assert (result.estimate, result.low, result.high) == (2, 1, 3)
    assert (result.n_items, result.n_ratings) == (2, 4)


def test_items_and_not_ratings_are_resampled():
    # Within an item all reviewers agree, so more reviewers bring no more information: the interval stays.
    few = statistics.mean_rating(np.repeat([[1], [2], [4], [5]], 2, axis=1), rng=rng())
    many = statistics.mean_rating(np.repeat([[1], [2], [4], [5]], 50, axis=1), rng=rng())
    assert (few.low, few.high) == (many.low, many.high)


def test_an_item_with_more_ratings_weighs_more_in_the_mean():
    result = statistics.mean_rating([[1, NaN, NaN], [5, 5, 5]], rng=rng())
    assert result.estimate == pytest.approx(16 / 4)
    assert result.n_ratings == 4


def test_missing_ratings_are_left_out_and_counted():
    result = statistics.mean_rating([[1, NaN], [3, 5], [NaN, NaN]], rng=rng())
    assert result.estimate == pytest.approx(3)
    assert (result.n_items, result.n_ratings) == (2, 3)


@pytest.mark.parametrize(
    ("ratings", "estimate", "words"),
    [
        (np.empty((0, 2)), None, "No ratings"),
        ([[NaN, NaN]], None, "No ratings"),
        ([[2, 4]], 3, "One text"),
        ([[4, 4], [4, 4]], 4, "Every rating is 4"),
    ],
)
def test_a_mean_without_an_interval_says_why(ratings, estimate, words):
    result = statistics.mean_rating(ratings, rng=rng())
    assert result.estimate == estimate
    assert result.low is None
    assert words in result.reason


def test_the_same_seed_gives_the_same_interval():
    ratings = np.random.default_rng(1).integers(1, 6, size=(20, 3))
    results = [statistics.mean_rating(ratings, rng=rng()) for _ in range(2)]
    assert results[0] == results[1]


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    # 200 studies of 40 items by 3 reviewers, each item with its own level (mean 3): about 95 % must cover 3.
    source = np.random.default_rng(3)
    covered = 0
    for _ in range(200):
        level = source.normal(3, 1, size=(40, 1))
        result = statistics.mean_rating(level + source.normal(0, 0.5, size=(40, 3)), rng=source, draws=499)
        covered += result.low <= 3 <= result.high
    assert 178 <= covered <= 199  # 95 % of 200 is 190; binomial bounds with room for the percentile method


# Darwin's maize: cross-fertilised minus self-fertilised, in eighths of an inch. Fisher, The Design of
# Experiments, section 17. The negative differences, 48 and 67, have the ranks 10 and 14, whose sum is 24. Of
# the 2^15 ways to give signs to the ranks 1 to 15, 676 have a negative rank sum of 24 or less (Wilcoxon's
# table, counted again by the recurrence c(n, s) = c(n - 1, s) + c(n - 1, s - n)), and as many a positive one.
DARWIN = np.array([6, 8, 14, 16, 23, 24, 28, 29, 41, -48, 49, 56, 60, -67, 75], dtype=float)


def test_wilcoxon_is_that_of_darwins_maize():
    result = statistics.compare(DARWIN[:, None], np.zeros((15, 1)), rng=rng())
    assert result.statistic == 24
    assert result.p == pytest.approx(2 * 676 / 2**15, abs=1e-9)
    assert result.difference.estimate == pytest.approx(314 / 15)  # 20.93, as Fisher gives it
    assert (result.difference.n_items, result.n_different) == (15, 15)


def test_five_items_that_all_improve_have_the_smallest_possible_p():
    system, reference = np.array([[5], [4], [5], [3], [4]]), np.array([[1], [1], [3], [2], [2]])
    result = statistics.compare(system, reference, rng=rng())
    assert result.p == pytest.approx(2 / 2**5)  # two of 32 sign patterns


def test_zero_differences_are_ranked_and_then_left_out():
    # Differences 0, 1, 1, 2: the zero has rank 1, then 2.5, 2.5 and 4; all are positive, so the smaller sum
    # is 0 and both tails hold 2 of the 2^3 sign patterns.
    result = statistics.compare([[3], [4], [4], [5]], [[3], [3], [3], [3]], rng=rng())
    assert result.statistic == 0
    assert result.p == pytest.approx(2 / 8)
    assert result.n_different == 3


def test_reviewers_are_averaged_per_item_and_compared_with_themselves():
    # Item 1: +2 and 0, mean +1. Item 2: only the second reviewer rated both, +1. Item 3: nobody did.
    system = [[4, 3], [NaN, 4], [5, NaN]]
    reference = [[2, 3], [1, 3], [NaN, 1]]
    result = statistics.compare(system, reference, rng=rng())
    assert result.difference.estimate == pytest.approx(1)
    assert (result.difference.n_items, result.difference.n_ratings) == (2, 3)


def test_difference_interval_worked_by_hand():
    result = statistics.compare([[3], [5]], [[3], [3]], rng=rng())  # differences 0 and 2
    assert (result.difference.low, result.difference.high) == (0, 2)


@pytest.mark.parametrize(
    ("system", "reference", "words"),
    [
        ([[NaN]], [[3]], "No text"),
        ([[4]], [[3]], "One text"),
        ([[4], [2]], [[4], [2]], "nothing to test"),
    ],
)
def test_a_comparison_without_a_test_says_why(system, reference, words):
    result = statistics.compare(system, reference, rng=rng())
    assert result.p is None
    assert words in result.test_reason


def test_comparing_different_shapes_is_refused():
    with pytest.raises(ValueError, match="same shape"):
        statistics.compare(np.ones((2, 2)), np.ones((3, 2)), rng=rng())


def test_thirds_that_cancel_count_as_zero():
    # +1/3 and -1/3 style sums in floating point must not become a difference.
    system = [[1.1, 2.2, 3.3], [5, 5, 5]]
    reference = [[2.2, 3.3, 1.1], [4, 4, 4]]
    assert statistics.compare(system, reference, rng=rng()).n_different == 1
