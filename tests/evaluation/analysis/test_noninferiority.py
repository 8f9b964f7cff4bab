import numpy as np
import pytest
from scipy import stats

from evaluation.analysis import means
from evaluation.analysis.noninferiority import Verdict, noninferiority
from evaluation.analysis.ratings import Difference, Estimate, from_table


def difference(estimate, se, df):
    half = stats.t.isf(0.025, df) * se
    figure = Estimate(
        estimate=estimate, low=estimate - half, high=estimate + half, n_items=60, n_reviewers=6, n_ratings=360
    )
    return Difference(system=1, reference=0, difference=figure, se=se, df=df)


@pytest.mark.parametrize(
    ("estimate", "verdict", "words"),
    [
        (-0.1, Verdict.NON_INFERIOR, "above the margin"),
        (-0.25, Verdict.NON_INFERIOR, "rated lower, by less than the margin"),
        (0.5, Verdict.NON_INFERIOR, "rated higher"),
        (-0.4, Verdict.INCONCLUSIVE, "holds the margin"),
        (-0.9, Verdict.INFERIOR, "below the margin"),
    ],
)
def test_the_interval_and_the_margin_give_the_verdict(estimate, verdict, words):
    found = noninferiority(difference(estimate, 0.1, 30), 0.5)
    assert found.verdict == verdict
    assert words in found.why


def test_the_one_sided_test_and_the_interval_say_the_same():
    for estimate in np.linspace(-0.6, 0.1, 50):
        found = noninferiority(difference(estimate, 0.1, 12), 0.5)
        assert (found.p < 0.025) == (found.verdict == Verdict.NON_INFERIOR)


def test_p_is_that_of_students_table():
    # Student's t of 12 degrees of freedom exceeds 2.179 with chance 0.025 and 1.782 with 0.05 (any table of t).
    for t, p in ((2.179, 0.025), (1.782, 0.05)):
        assert noninferiority(difference(-0.5 + t * 0.1, 0.1, 12), 0.5).p == pytest.approx(p, abs=0.00005)


def test_without_an_interval_there_is_no_verdict():
    same = from_table(np.full((4, 2, 3), 3), levels=5)
    found = noninferiority(means.difference(same, 1, 0, rng=np.random.default_rng(1)), 0.5)
    assert (found.verdict, found.p) == (Verdict.NONE, None)
    assert "+0 on every text" in found.why


def test_a_verdict_over_one_reviewer_says_that_it_is():
    random = np.random.default_rng(2)
    table = np.stack([random.integers(1, 5, 40), random.integers(2, 6, 40)], axis=1)[:, :, None]
    found = noninferiority(means.difference(from_table(table, levels=5), 1, 0, rng=random), 0.5)
    assert found.verdict == Verdict.NON_INFERIOR
    assert "One reviewer only" in found.why


@pytest.mark.parametrize("margin", [0, -0.5, float("nan")])
def test_a_margin_is_above_zero(margin):
    with pytest.raises(ValueError, match="above 0"):
        noninferiority(difference(0, 0.1, 12), margin)
