"""Expected figures are from publications or worked by hand; none is this program's own output."""

import numpy as np
import pytest

from evaluation.analysis import groups, means
from evaluation.analysis.ratings import from_table

NaN = float("nan")


def rng():
    return np.random.default_rng(7)


def texts_with(center, variance, n):
    """n values of that mean and sample variance, two of them apart from it."""
    values = np.full(n, float(center))
    half = (variance * (n - 1) / 2) ** 0.5
    values[:2] += half, -half
    return values


def test_eight_schools_are_pooled_completely():
    # Rubin, Journal of Educational Statistics 6 (1981), as in Gelman et al., Bayesian Data Analysis, section 5.5:
    # effects and standard errors of coaching in eight schools. The variance between schools has its moment estimate at
    # 0, and the pooled effect is 7.7 with standard error 4.1. Schools stand for groups whose numbers of texts give
    # these errors.
    effects = np.array([28, 8, -3, 7, -1, 1, 18, 12])
    errors = np.array([15, 10, 16, 11, 9, 11, 10, 18])
    sizes = np.round(100_000 / errors**2).astype(int)
    values = np.concatenate([texts_with(*row) for row in zip(effects, [100_000.0] * 8, sizes, strict=True)])
    pooled, between, reason = groups._pool(np.repeat(np.arange(8), sizes), values)
    assert (between, reason) == (0, "")
    for estimate, se in pooled.values():
        assert estimate == pytest.approx(7.7, abs=0.05)
        assert se == pytest.approx(4.1, abs=0.05)


def test_groups_alike_in_size_keep_their_share_of_the_distance():
    # Three groups of four texts with means 1, 2 and 6 and variance 4 each, so 1 for a mean. Paule and Mandel's variance
    # solves sum (mean - 3)^2 / (1 + between) = 2: 14 / 2 - 1 = 6. Each keeps 6 / 7 of its distance from 3, with the
    # variance 6 / 7 x 1 + (1 / 7)^2 x 7 / 3.
    values = np.concatenate([texts_with(mean, 4, 4) for mean in (1, 2, 6)])
    pooled, between, _ = groups._pool(np.repeat([0, 1, 2], 4), values)
    assert between == pytest.approx(6**0.5, rel=1e-4)
    assert [pooled[code][0] for code in range(3)] == pytest.approx([3 - 12 / 7, 3 - 6 / 7, 3 + 18 / 7], rel=1e-4)
    assert pooled[0][1] == pytest.approx((6 / 7 + 1 / 21) ** 0.5, rel=1e-4)


def test_the_variance_between_groups_is_that_of_statsmodels():
    from statsmodels.stats.meta_analysis import combine_effects

    means, variances = np.array([-0.9, -1.6, -1.3, -1.4, -0.2, -0.8]), np.array([0.33, 0.19, 0.41, 0.02, 0.05, 0.01])
    theirs = combine_effects(means, variances, method_re="iterated").tau2
    assert groups._between(means, variances) == pytest.approx(theirs, rel=1e-4)
    assert theirs > 0


def study():
    random = np.random.default_rng(3)
    effect = np.repeat([0.0, 1.0, 0.5], [10, 12, 2])
    table = np.clip(np.round(3 + random.normal(0, 0.8, (24, 2, 4))), 1, 5)
    table[:, 1] = np.clip(np.round(table[:, 1] + effect[:, None]), 1, 5)
    return from_table(table, levels=5), np.repeat([0, 1, 2], [10, 12, 2])


def test_a_groups_own_mean_is_that_of_its_ratings():
    ratings, codes = study()
    found = groups.means_by_group(ratings, codes, 1, rng=rng())
    for group, row in enumerate(found.groups):
        own = ratings.value[(codes[ratings.item] == group) & (ratings.system == 1)]
        assert row.plain.estimate == pytest.approx(own.mean())
        assert row.plain.n_ratings == own.size
    assert found.groups[0].plain.low is not None
    assert (found.groups[2].plain.low, found.groups[2].plain.reason) == (None, groups.FEW)
    assert found.groups[2].pooled.low < found.groups[2].pooled.estimate < found.groups[2].pooled.high


def test_pooled_differences_lie_between_their_own_and_that_of_all():
    ratings, codes = study()
    found = groups.differences_by_group(ratings, codes, 1, 0, rng=rng())
    everything = means.difference(ratings, 1, 0, rng=rng()).difference.estimate
    assert found.between > 0
    for row in found.groups:
        assert abs(row.pooled.estimate - everything) < abs(row.plain.estimate - everything) + 0.05
    assert found.groups[0].pooled.estimate < found.groups[1].pooled.estimate


def test_texts_without_a_group_are_left_out():
    ratings, codes = study()
    found = groups.means_by_group(ratings, np.where(codes == 0, -1, codes), 1, rng=rng())
    assert [row.group for row in found.groups] == [1, 2]


@pytest.mark.parametrize(
    ("table", "codes", "words"),
    [
        ([[[3, 4]], [[2, 3]]], [0, 0], "Fewer than two groups"),
        ([[[3, 4]], [[2, 3]]], [0, 1], "One text in every group"),
        (np.full((4, 1, 2), 3), [0, 0, 1, 1], "do not vary"),
        (np.full((2, 1, 2), NaN), [0, 1], "Fewer than two groups"),
    ],
)
def test_without_pooling_the_words_say_why(table, codes, words):
    found = groups.means_by_group(from_table(table, levels=5), codes, 0, rng=rng())
    assert found.between is None
    assert words in found.reason
    assert all(row.pooled.estimate is None and words in row.pooled.reason for row in found.groups)


def test_a_group_without_ratings_says_so():
    table = np.array([[[3.0, 4]], [[2, 3]], [[4, 5]], [[1, 2]], [[NaN, NaN]]])
    found = groups.means_by_group(from_table(table, levels=5), [0, 0, 1, 1, 2], 0, rng=rng())
    assert found.groups[2].plain.estimate is None
    assert found.groups[2].pooled.reason == "No ratings."


def test_every_text_needs_a_code():
    with pytest.raises(ValueError, match="24 items"):
        groups.means_by_group(study()[0], [0, 1], 0, rng=rng())
