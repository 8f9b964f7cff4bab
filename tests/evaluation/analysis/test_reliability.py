"""Expected figures are from publications or worked by hand; none is this program's own output."""

import numpy as np
import pytest

from evaluation.analysis import reliability
from evaluation.analysis.ratings import from_table
from tests.evaluation.analysis.data import KRIPPENDORFF_2011, SHROUT_FLEISS

NaN = float("nan")


def rng():
    return np.random.default_rng(7)


# Krippendorff's alpha


def test_alpha_is_that_of_krippendorffs_published_example():
    ratings = from_table(KRIPPENDORFF_2011.T[:, None, :], levels=5)  # twelve texts of one system
    found = reliability.alpha(ratings, rng=rng())
    assert found.estimate == pytest.approx(0.815, abs=0.0005)
    assert found.low < found.estimate < found.high
    # The twelfth unit has one value and cannot be paired: 41 given values less that one (ibid.).
    assert (found.n_items, found.n_reviewers, found.n_ratings, found.reason) == (11, 4, 40, "")


def test_alpha_counts_each_output_of_a_text_as_a_unit():
    ratings = from_table(KRIPPENDORFF_2011.T.reshape(6, 2, 4), levels=5)  # six texts of two systems
    found = reliability.alpha(ratings, rng=rng())
    assert found.estimate == pytest.approx(0.815, abs=0.0005)
    assert found.n_items == 6


def test_alphas_interval_is_that_of_drawing_texts_and_asking_the_package():
    # The same bootstrap with the package for every draw: as slow as it is sure.
    import krippendorff

    random = np.random.default_rng(2)
    truth = random.normal(3, 1, (40, 1, 1))
    table = np.clip(np.round(truth + random.normal(0, 0.7, (40, 2, 3))), 1, 5)
    found = reliability.alpha(from_table(table, levels=5), rng=rng())
    drawn = [
        krippendorff.alpha(table[random.integers(0, 40, 40)].reshape(80, 3).T, level_of_measurement="ordinal")
        for _ in range(600)
    ]
    assert (found.low, found.high) == pytest.approx(np.quantile(drawn, [0.025, 0.975]), abs=0.025)


@pytest.mark.parametrize(
    ("table", "words"),
    [(np.ones((4, 2, 1)), "No output was rated by two reviewers"), (np.full((4, 2, 2), 3), "without variation")],
)
def test_alpha_that_cannot_be_given_says_why(table, words):
    found = reliability.alpha(from_table(table, levels=5), rng=rng())
    assert found.estimate is None
    assert words in found.reason


def test_alpha_without_an_interval_says_why():
    agreed = reliability.alpha(from_table(np.repeat(np.arange(1, 6)[:, None, None], 3, axis=2), levels=5), rng=rng())
    assert (agreed.estimate, agreed.low) == (pytest.approx(1), None)
    assert "agree on every output" in agreed.reason
    # Two outputs, 1 2 and 4 4: coincidences 1-2 and 2-1 once, 4-4 twice. Distances of mid-ranks: 1-2 is 1, 1-4 is 2.5,
    # 2-4 is 1.5; so alpha = 1 - 3 x 1 / (1 x 1 + 1 x 2 x 6.25 + 1 x 2 x 2.25) = 1 - 3 / 18.
    one = reliability.alpha(from_table([[[1, 2], [4, 4]]], levels=5), rng=rng())
    assert (one.estimate, one.low) == (pytest.approx(1 - 3 / 18), None)
    assert "One text only" in one.reason


# Intraclass correlation


def test_intraclass_correlations_are_those_of_shrout_and_fleiss():
    # Shrout & Fleiss (1979), table 4: ICC(2,1) = .29, ICC(2,4) = .62. Their 95 % intervals as R's package psych gives
    # them for these data: .019 to .76, and .071 to .93.
    found = reliability.intraclass(from_table(SHROUT_FLEISS[:, None, :], levels=10))
    assert found.k == pytest.approx(4)
    assert found.single.estimate == pytest.approx(0.29, abs=0.005)
    assert (found.single.low, found.single.high) == pytest.approx((0.019, 0.76), abs=0.0051)
    assert found.single.low == pytest.approx(0.019, abs=0.0005)
    assert found.mean.estimate == pytest.approx(0.62, abs=0.005)
    assert found.mean.low == pytest.approx(0.071, abs=0.0005)
    assert found.mean.high == pytest.approx(0.93, abs=0.005)
    assert (found.single.n_items, found.single.n_reviewers, found.single.n_ratings) == (6, 4, 24)


def test_the_mean_of_k_follows_spearman_and_brown():
    found = reliability.intraclass(from_table(SHROUT_FLEISS[:, None, :], levels=10), k=2)
    single = found.single.estimate
    assert found.mean.estimate == pytest.approx(2 * single / (1 + single))


@pytest.mark.parametrize(
    ("table", "estimate", "words"),
    [
        (np.ones((4, 2, 1)), None, "No output was rated by two"),
        (np.full((4, 2, 2), 3), None, "without variation"),
        ([[[1, 2]]], None, "Too few outputs"),
        (np.repeat(np.arange(1, 6)[:, None, None], 3, axis=2), 1, "agree on every output"),
        (np.tile([[[1, 3, 5]]], (6, 1, 1)), 0, "Reviewers alone"),
    ],
)
def test_an_intraclass_correlation_without_an_interval_says_why(table, estimate, words):
    found = reliability.intraclass(from_table(table, levels=5))
    assert (found.single.estimate, found.single.low) == (estimate, None)
    assert words in found.single.reason


# Self-consistency and attention


def test_consistency_worked_by_hand():
    # First against second: 1-1 twice, 1-2, 2-2 twice, 3-2, 3-3. Linear weights 1, 1/2, 0: observed (5 + 2 / 2) / 7,
    # expected (3 x 4 + 2 x 5.5 + 2 x 3) / 49 = 29 / 49, so kappa = (42 - 29) / (49 - 29) = 0.65.
    first, second = [1, 1, 1, 2, 2, 3, 3], [1, 1, 2, 2, 2, 2, 3]
    found = reliability.consistency([0] * 6 + [1], first, second, levels=3)
    assert (found.overall.exact.count, found.overall.exact.n) == (5, 7)
    assert found.overall.kappa.estimate == pytest.approx(0.65)
    assert found.overall.kappa.low < 0.65 < found.overall.kappa.high
    assert found.by_reviewer[0].exact.estimate == pytest.approx(4 / 6)
    assert found.by_reviewer[1].exact.estimate == 1
    assert "Fewer than 5 repeats" in found.by_reviewer[1].kappa.reason


def test_consistency_says_why_there_is_no_kappa():
    none = reliability.consistency([], [], [], levels=5).overall
    assert (none.exact.estimate, none.kappa.reason) == (None, "No repeats.")
    same = reliability.consistency([0] * 6, [4] * 6, [4] * 6, levels=5).overall.kappa
    assert same.estimate is None and "without variation" in same.reason
    perfect = reliability.consistency([0] * 6, [1, 2, 3, 4, 5, 1], [1, 2, 3, 4, 5, 1], levels=5).overall.kappa
    assert (perfect.estimate, perfect.low) == (1, None)
    assert "same again" in perfect.reason


@pytest.mark.parametrize(("second", "words"), [([1], "equally long"), ([1, 6], "1 to 5")])
def test_repeats_that_are_no_ratings_are_refused(second, words):
    with pytest.raises(ValueError, match=words):
        reliability.consistency([0, 0], [1, 2], second, levels=5)


def test_attention_has_newcombes_interval():
    # Newcombe, Statistics in Medicine 17 (1998), table I, method 3: 0 of 20 is 0 to 0.1611, 1 of 29 0.0061 to 0.1718.
    found = reliability.attention([0] * 20 + [1] * 9, [False] * 28 + [True])
    assert (found.by_reviewer[0].low, found.by_reviewer[0].high) == pytest.approx((0, 0.1611), abs=0.00005)
    assert (found.overall.low, found.overall.high) == pytest.approx((0.0061, 0.1718), abs=0.00005)
    assert reliability.attention([], []).overall.estimate is None
    with pytest.raises(ValueError, match="equally long"):
        reliability.attention([0], [True, False])
