"""Expected figures are from publications, another implementation or closed forms; none is this program's own output."""

import warnings

import numpy as np
import pytest
from scipy import stats
from statsmodels.regression.mixed_linear_model import MixedLM, VCSpec

from evaluation.analysis import mixed, reml
from evaluation.analysis.ratings import from_table
from tests.evaluation.analysis.data import MACHINES, PENICILLIN

NaN = float("nan")


def study(random, *, items=20, systems=3, reviewers=6, missing=0.0, sds=(0.6, 0.5, 0.7, 0.4, 0.3, 0.8), steps=10):
    """Ratings on a long scale: 5 levels of the usual kind, in `steps` parts each."""
    item, reviewer, output, reading, taste, rest = (steps * sd for sd in sds)
    values = (
        25 * steps / 10
        + np.arange(systems)[None, :, None] * 0.4 * steps
        + random.normal(0, item, (items, 1, 1))
        + random.normal(0, reviewer, (1, 1, reviewers))
        + random.normal(0, output, (items, systems, 1))
        + random.normal(0, reading, (items, 1, reviewers))
        + random.normal(0, taste, (1, systems, reviewers))
        + random.normal(0, rest, (items, systems, reviewers))
    )
    table = np.clip(np.round(values), -100, 100) + 101
    table[random.random(table.shape) < missing] = NaN
    return from_table(table, levels=201)


def test_penicillin_has_lme4s_estimates():
    # Bates, lme4: Mixed-effects modeling with R (2010), section 2.1.1, lmer(diameter ~ 1 + (1|plate) + (1|sample)):
    # REML 330.9; variances 0.7169 (plate), 3.7309 (sample), 0.3024 (rest); intercept 22.9722, standard error 0.8086.
    ratings = from_table(PENICILLIN[:, None, :], levels=30)
    found = reml.fit(ratings, np.ones((144, 1)), [reml.ITEM, reml.REVIEWER])
    assert found.converged
    assert found.criterion == pytest.approx(330.9, abs=0.05)
    assert found.variances == pytest.approx({reml.ITEM: 0.7169, reml.REVIEWER: 3.7309}, rel=0.0005)
    assert found.residual == pytest.approx(0.3024, abs=0.00005)
    assert found.coefficients[0] == pytest.approx(22.9722, abs=0.00005)
    assert found.covariance[0, 0] ** 0.5 == pytest.approx(0.8086, abs=0.0001)


def machines():
    """Machines as systems, workers as reviewers, repetitions as texts; tenths, so that scores are whole numbers."""
    return from_table(np.round(10 * MACHINES.transpose(2, 0, 1)), levels=1000)


def test_machines_have_pinheiro_and_bates_estimates():
    # Pinheiro & Bates, Mixed-Effects Models in S and S-PLUS (2000), section 1.3, fm2Machine: machines 52.356, +7.967,
    # +13.917, standard error of the differences 2.177 on 10 df, t = 3.660 and 6.393; standard deviations 4.7811
    # (workers), 3.7295 (workers by machine), 0.9616 (rest); -2 log restricted likelihood 215.6876.
    ratings = machines()
    exog = np.column_stack([np.ones(54), ratings.system == 1, ratings.system == 2]).astype(float)
    found = reml.fit(ratings, exog, [reml.REVIEWER, reml.TASTE])
    assert found.coefficients / 10 == pytest.approx([52.3556, 7.9667, 13.9167], abs=0.00005)
    sds = {name: variance**0.5 / 10 for name, variance in found.variances.items()}
    assert sds == pytest.approx({reml.REVIEWER: 4.7811, reml.TASTE: 3.7295}, abs=0.0001)
    assert found.residual**0.5 / 10 == pytest.approx(0.9616, abs=0.00005)
    se = found.covariance[1, 1] ** 0.5
    assert se / 10 == pytest.approx(2.1770, abs=0.00005)
    assert found.coefficients[1:] / se == pytest.approx([3.660, 6.393], abs=0.0005)
    assert found.df(np.array([0.0, 1.0, 0.0])) == pytest.approx(10, abs=0.01)
    assert found.criterion - 2 * 51 * np.log(10) == pytest.approx(215.6876, abs=0.0001)  # in tenths


def test_the_model_of_machines_finds_no_effect_of_repetitions():
    found = mixed.fit(machines(), 0)
    assert "No variance was found between texts" in found.state
    first = found.differences[0]
    assert first.difference.estimate / 10 == pytest.approx(7.9667, abs=0.00005)
    assert first.se / 10 == pytest.approx(2.177, rel=0.001)
    assert first.df == pytest.approx(10, rel=0.01)
    assert first.p == pytest.approx(0.0044, abs=0.0001)  # as nlme gives it for t = 3.660 on 10 df


def by_statsmodels(ratings, exog, components):
    """The same model in statsmodels: one group, a matrix of indicators for each component."""
    codes = {
        reml.ITEM: ratings.item,
        reml.OUTPUT: ratings.output,
        reml.READING: ratings.item * ratings.n_reviewers + ratings.reviewer,
        reml.REVIEWER: ratings.reviewer,
        reml.TASTE: ratings.reviewer * ratings.n_systems + ratings.system,
    }
    matrices = [(codes[name][:, None] == np.unique(codes[name])).astype(float) for name in components]
    spec = VCSpec(list(components), [[None]] * len(matrices), [[matrix] for matrix in matrices])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return MixedLM(ratings.value, exog, groups=np.zeros(len(ratings)), exog_vc=spec).fit(reml=True)


@pytest.mark.parametrize(
    "components",
    [
        [reml.ITEM, reml.REVIEWER],
        [reml.READING],
        [reml.ITEM, reml.OUTPUT, reml.READING],
        [reml.ITEM, reml.OUTPUT, reml.READING, reml.REVIEWER, reml.TASTE],
    ],
)
def test_an_incomplete_study_has_the_estimates_of_statsmodels(components):
    ratings = study(np.random.default_rng(5), items=12, reviewers=4, missing=0.3)
    exog = np.eye(3)[ratings.system]
    ours, theirs = reml.fit(ratings, exog, components), by_statsmodels(ratings, exog, components)
    assert theirs.converged
    assert ours.coefficients == pytest.approx(theirs.fe_params, rel=1e-4)
    assert [ours.variances[name] for name in components] == pytest.approx(theirs.vcomp, rel=0.005)
    assert ours.residual == pytest.approx(theirs.scale, rel=0.001)
    # statsmodels inverts the information of all parameters together, so its errors differ in the third digit.
    assert np.sqrt(np.diag(ours.covariance)) == pytest.approx(theirs.bse_fe, rel=0.005)
    assert ours.criterion == pytest.approx(-2 * theirs.llf, abs=0.001)


def test_a_complete_study_has_the_difference_and_error_of_its_mean_squares():
    # In a complete table REML is the analysis of variance wherever no estimate is on the border: the variance of a
    # difference is 2 (MS of texts by system + MS of reviewers by system - MS of the rest) / (texts x reviewers).
    table = study(np.random.default_rng(1)).value.reshape(20, 3, 6)
    by_text, by_reviewer = table.mean(axis=2), table.mean(axis=0)
    rest = (
        table
        - by_text[:, :, None]
        - table.mean(axis=1)[:, None, :]
        - by_reviewer[None, :, :]
        + table.mean(axis=(1, 2))[:, None, None]
        + table.mean(axis=(0, 2))[None, :, None]
        + table.mean(axis=(0, 1))[None, None, :]
        - table.mean()
    )

    def interaction(means):
        return means - means.mean(axis=0, keepdims=True) - means.mean(axis=1, keepdims=True) + means.mean()

    texts = 6 * (interaction(by_text) ** 2).sum() / (19 * 2)
    tastes = 20 * (interaction(by_reviewer) ** 2).sum() / (2 * 5)
    rest = (rest**2).sum() / (19 * 2 * 5)
    found = mixed.fit(from_table(table, levels=201), 0)
    assert (found.state, found.left_out) == (mixed.CONVERGED, ())
    second = found.differences[1]
    assert second.difference.estimate == pytest.approx(table[:, 2].mean() - table[:, 0].mean(), rel=1e-6)
    assert second.se**2 == pytest.approx(2 * (texts + tastes - rest) / (20 * 6), rel=0.001)
    df = (texts + tastes - rest) ** 2 / (texts**2 / 38 + tastes**2 / 10 + rest**2 / 190)
    assert second.df == pytest.approx(df, rel=0.01)
    half = stats.t.isf(0.025, second.df) * second.se
    assert second.difference.high - second.difference.estimate == pytest.approx(half)


def test_components_say_how_much_of_the_variation_they_are():
    found = mixed.fit(study(np.random.default_rng(4), items=100, reviewers=16), 0)
    assert sum(component.share for component in found.components) == pytest.approx(1)
    sds = {component.name: component.variance**0.5 / 10 for component in found.components}
    planted = {"item": 0.6, "output": 0.7, "reading": 0.4, "reviewer": 0.5, "taste": 0.3, "residual": 0.8}
    assert sds == pytest.approx(planted, abs=0.2)  # 16 reviewers tell their own spread no better
    assert (found.state, found.left_out) == (mixed.CONVERGED, ())


def test_each_reviewer_seeing_one_system_of_a_text_is_enough():
    random = np.random.default_rng(6)
    ratings = study(random, items=60, reviewers=6)
    # Of each text a reviewer rates the system that the rotation gives.
    seen = ratings.where((ratings.item + ratings.reviewer) % 3 == ratings.system)
    found = mixed.fit(seen, 0)
    assert [words.split(":")[0] for words in found.left_out] == ["Effects of texts by reviewer"]
    for difference, planted in zip(found.differences, (4, 8), strict=True):
        assert difference.difference.low < planted < difference.difference.high


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (np.full((2, 2, 2), NaN), "No ratings"),
        ([[[3, 3], [NaN, NaN]], [[2, 4], [NaN, NaN]]], "Only the reference"),
        ([[[NaN, NaN], [3, 3]], [[NaN, NaN], [2, 4]]], "reference has no ratings"),
        (np.full((3, 2, 2), 4), "Every rating is 4"),
        ([[[3], [4]]], "Too few ratings"),
        ([[[1], [2]], [[2], [3]], [[3], [4]]], "explain every rating exactly"),
    ],
)
def test_without_a_model_the_words_say_why(table, words):
    found = mixed.fit(from_table(table, levels=5), 0)
    assert words in found.state
    assert found.components == ()
    assert (found.differences[0].difference.estimate, found.differences[0].p) == (None, None)
    assert words in found.differences[0].difference.reason


def test_one_reviewer_or_one_text_is_said():
    ratings = study(np.random.default_rng(3))
    alone = mixed.fit(ratings.where(ratings.reviewer == 0), 0)
    assert "nothing about other reviewers" in alone.differences[0].difference.reason
    assert any("reviewers: there is one" in words for words in alone.left_out)
    one_text = mixed.fit(ratings.where(ratings.item == 0), 0)
    assert "nothing about other texts" in one_text.differences[0].difference.reason


def test_a_system_without_ratings_says_so_and_leaves_the_others():
    ratings = study(np.random.default_rng(3))
    found = mixed.fit(ratings.where(ratings.system != 1), 0)
    assert "no ratings" in found.differences[0].difference.reason
    assert found.differences[1].p is not None


def test_too_many_reviewers_are_said(monkeypatch):
    monkeypatch.setattr(reml, "MAX_EFFECTS", 5)
    assert "Too many texts and reviewers" in mixed.fit(study(np.random.default_rng(3)), 0).state


def test_a_fit_that_did_not_converge_gives_no_figures(monkeypatch):
    def gives_up(function, start, **options):
        return reml.optimize.OptimizeResult(x=start, fun=function(start), success=False)

    monkeypatch.setattr(reml.optimize, "minimize", gives_up)
    found = mixed.fit(study(np.random.default_rng(3)), 0)
    assert "did not converge" in found.state
    assert found.differences[0].difference.estimate is None
