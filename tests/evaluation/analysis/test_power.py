"""The simulation is compared with closed forms, with single studies judged one by one, and with planted values."""

import dataclasses
import time

import numpy as np
import pytest
from scipy import stats

from evaluation.analysis import means, mixed, power, ranks
from evaluation.analysis.power import Plan
from evaluation.analysis.ratings import Ratings


def rng(seed=7):
    return np.random.default_rng(seed)


def as_ratings(values, who, *, reviewers, levels):
    """Drawn ratings of one study, shape (items, systems, r), as the analysis takes them."""
    item, system, place = np.indices(values.shape)
    return Ratings(
        item=item.ravel(),
        system=system.ravel(),
        reviewer=who[item, place].ravel(),
        value=values.ravel().astype(float),
        levels=levels,
        n_items=values.shape[0],
        n_systems=values.shape[1],
        n_reviewers=reviewers,
    )


def test_drawn_ratings_have_the_planned_distribution_and_difference():
    plan = Plan(items=4000, reviewers=50, ratings_per_output=2, difference=0.4, sd_reviewer_system=0.1)
    who = power.who_rates(plan.items, plan.reviewers, plan.ratings_per_output)
    values = power.draw(plan, (0.0, plan.shift), who, rng(), 5)
    shares = np.bincount(values[:, :, 0].ravel(), minlength=6)[1:] / values[:, :, 0].size
    assert shares == pytest.approx(plan.probabilities, abs=0.03)
    assert (values[:, :, 1].mean() - values[:, :, 0].mean()) == pytest.approx(0.4, abs=0.05)


def test_power_is_that_of_the_closed_form_where_there_is_one():
    """Two levels, one rating an output, no effects: differences are independent with known variance."""
    plan = Plan(
        items=200, reviewers=200, ratings_per_output=1, probabilities=(0.5, 0.5), difference=0.15, sd_item=0,
        sd_reviewer=0, sd_item_system=0, sd_reviewer_system=0,
    )  # fmt: skip
    better, worse = 0.65 * 0.5, 0.35 * 0.5
    error = np.sqrt((better + worse - 0.15**2) / 200)
    expected = stats.norm.sf(1.96 - 0.15 / error)
    found = power.simulate(plan, rng=rng(), simulations=4000)
    assert found.superiority.estimate == pytest.approx(expected, abs=0.04)
    assert found.superiority.low < found.superiority.estimate < found.superiority.high
    same = stats.norm.sf(1.96 - plan.margin / np.sqrt(0.5 / 200))
    assert found.noninferiority.estimate == pytest.approx(same, abs=0.03)
    assert found.width == pytest.approx(2 * 1.97 * error, rel=0.05)


def test_without_a_difference_few_studies_find_one():
    found = power.simulate(Plan(difference=0.0), rng=rng(), simulations=2000)
    assert found.superiority.estimate < 0.035  # one side of 5 %
    assert found.confirmed.estimate <= found.superiority.estimate


def test_the_fast_test_is_scipys_of_single_studies():
    plan = Plan(items=40)
    values = power.draw(plan, (0.0, 0.6), power.who_rates(40, 6, 3), rng(), 5).astype(float)
    differences = (values[:, :, 1] - values[:, :, 0]).mean(axis=2)
    differences[4] = 0
    for found, row in zip(power.signed_rank(differences)[:4], differences[:4], strict=True):
        expected = stats.wilcoxon(np.round(row, 9), zero_method="pratt", method="asymptotic").pvalue
        assert found == pytest.approx(expected)
    assert power.signed_rank(differences)[4] == 1


def test_more_reviewers_who_differ_help_where_more_texts_do_not():
    base = Plan(items=60, reviewers=4, ratings_per_output=4, sd_reviewer_system=0.6, difference=0.3)
    few = power.simulate(base, rng=rng(), simulations=500).superiority.estimate
    texts = power.simulate(dataclasses.replace(base, items=400), rng=rng(), simulations=500).superiority.estimate
    people = power.simulate(
        dataclasses.replace(base, reviewers=24, ratings_per_output=4, items=60), rng=rng(), simulations=500
    ).superiority.estimate
    assert texts < few + 0.2 and people > few + 0.2 and people > texts


def test_more_planned_tests_ask_for_more():
    one = power.simulate(Plan(items=100, sd_reviewer_system=0), rng=rng(), simulations=500)
    ten = power.simulate(Plan(items=100, sd_reviewer_system=0, tests=10), rng=rng(), simulations=500)
    assert ten.superiority.estimate < one.superiority.estimate - 0.05
    assert "Holm" in one.note


def test_more_planned_tests_ask_for_more_of_non_inferiority_too():
    one, many = (
        power.simulate(Plan(items=40, margin=0.4, tests=tests), rng=rng(), simulations=600).noninferiority
        for tests in (1, 20)
    )
    assert many.high < one.low


def test_non_inferiority_is_judged_by_the_reports_own_p():
    who = power.who_rates(60, 6, 3)
    values = power.draw(Plan(), (0.0, 0.0, 0.0), who, rng(), 40)
    found = power.judged((values[:, :, 1] - values[:, :, 0]).astype(float), who)
    above = found.mean - found.reach > -0.3
    assert ((found.p_above(-0.3) < 0.05) == above).all() and 0 < above.sum() < 40


def test_a_thousand_studies_take_about_two_seconds_at_most():
    started = time.process_time()
    power.simulate(Plan(items=60, systems=4, reviewers=6, ratings_per_output=6), rng=rng(), simulations=1000)
    assert time.process_time() - started < 4  # 0.1 s measured on one core; this only catches a loop over studies


def test_the_same_seed_gives_the_same_power():
    assert power.simulate(Plan(), rng=rng(), simulations=100) == power.simulate(Plan(), rng=rng(), simulations=100)


def test_suggested_numbers_reach_the_target_and_one_step_less_does_not():
    plan = Plan(reviewers=10, sd_reviewer_system=0.0, difference=0.3)
    found = power.suggest(plan, rng=rng(), items=(20, 40, 80, 160), ratings_per_output=(1, 2, 4), simulations=300)
    assert len(found.table) == 12 and found.reason == ""
    reached = found.smallest[4]
    by_numbers = {(row.ratings_per_output, row.items): row.power.superiority.estimate for row in found.table}
    assert by_numbers[4, reached] >= 0.8
    assert all(share < 0.8 for (each, items), share in by_numbers.items() if each == 4 and items < reached)
    assert found.best.power.ratings == min(
        row.power.ratings for row in found.table if found.smallest[row.ratings_per_output] == row.items
    )


def test_nothing_reaches_the_target_is_said():
    found = power.suggest(Plan(difference=0.02), rng=rng(), items=(20, 30), ratings_per_output=(1,), simulations=100)
    assert found.best is None and found.smallest == {1: None} and "None of the numbers" in found.reason


@pytest.mark.parametrize(("items", "reviewers", "each"), [(60, 6, 3), (30, 7, 2), (61, 5, 4), (9, 6, 6), (10, 3, 1)])
def test_reviewers_are_spread_evenly_and_none_rates_a_text_twice(items, reviewers, each):
    who = power.who_rates(items, reviewers, each)
    assert who.shape == (items, each) and all(np.unique(row).size == each for row in who)
    counts = np.bincount(who.ravel(), minlength=reviewers)
    assert counts.max() - counts.min() <= 1


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"items": 1}, "items"),
        ({"ratings_per_output": 9}, "ratings_per_output"),
        ({"probabilities": (0.5, 0.6)}, "probabilities"),
        ({"sd_item": -1}, "sd_item"),
        ({"margin": 0}, "margin"),
        ({"difference": 3.0}, "leaves only"),
    ],
)
def test_plans_that_cannot_be_are_refused(change, word):
    with pytest.raises(ValueError, match=word):
        Plan(**change)


def test_a_pilots_parameters_are_near_those_it_was_drawn_with():
    plan = Plan(
        reviewers=12, sd_item=0.7, sd_reviewer=0.5, sd_item_system=0.5, sd_reviewer_system=0.3,
        probabilities=(0.05, 0.15, 0.3, 0.3, 0.2),
    )  # fmt: skip
    who = power.who_rates(400, 12, 6)
    found = []
    for seed in range(4):
        values = power.draw(plan, (0.0, 0.5, -0.4), who, rng(seed), 1)[0]
        pilot = power.from_pilot(as_ratings(values, who, reviewers=12, levels=5))
        found.append([pilot.parameters[name] for name in ("sd_item", "sd_item_system", "sd_reviewer")])
        assert pilot.parameters["probabilities"] == pytest.approx(plan.probabilities, abs=0.12)
        assert power.simulate(
            dataclasses.replace(plan, **pilot.parameters), rng=rng(), simulations=50
        ).ratings == 400 * 3 * 3  # fmt: skip
    assert np.mean(found, axis=0) == pytest.approx([0.7, 0.5, 0.5], abs=0.12)


def test_what_a_pilot_cannot_tell_is_said():
    plan = Plan(reviewers=1, ratings_per_output=1)
    who = power.who_rates(30, 1, 1)
    values = power.draw(plan, (0.0, 0.5), who, rng(), 1)[0]
    pilot = power.from_pilot(as_ratings(values, who, reviewers=1, levels=5))
    assert "sd_reviewer" not in pilot.parameters and "sd_item" in pilot.parameters
    assert any("One reviewer" in note for note in pilot.notes) and any("30 ratings" in note for note in pilot.notes)
    constant = power.from_pilot(as_ratings(np.ones((5, 2, 1), int), who[:5], reviewers=1, levels=5))
    assert "probabilities" not in constant.parameters and "all the same" in constant.notes[0]
    nothing = power.from_pilot(as_ratings(np.ones((0, 2, 1), int), who[:0], reviewers=1, levels=5))
    assert "no ratings" in nothing.notes[0]


@pytest.mark.parametrize(("reviewers", "each"), [(6, 6), (6, 3), (5, 1), (1, 1)])
def test_simulated_studies_are_judged_as_the_report_judges_real_ones(reviewers, each):
    """All at once as means.difference one by one, up to its draws, where reviewers do not always weigh the same."""
    plan = Plan(items=60, reviewers=reviewers, ratings_per_output=each)
    who = power.who_rates(60, reviewers, each)
    values = power.draw(plan, (0.0, 0.4), who, rng(), 3)
    differences = (values[:, :, 1] - values[:, :, 0]).astype(float)
    fast = power.judged(differences, who)
    p = power.signed_rank(differences.mean(axis=2))
    for study in range(3):
        ratings = as_ratings(values[study], who, reviewers=reviewers, levels=5)
        found = means.difference(ratings, 1, 0, rng=rng(), draws=6_000)
        assert found.difference.estimate == pytest.approx(fast.mean[study])
        assert found.se == pytest.approx(fast.se[study], rel=0.1)
        assert found.p == pytest.approx(fast.p[study], abs=0.03)
        assert found.difference.high - found.difference.low == pytest.approx(2 * fast.reach[study], rel=0.12)
        assert ranks.wilcoxon(ratings, 1, 0).p == pytest.approx(p[study], rel=1e-6)


def test_the_mixed_model_finds_about_what_the_fast_test_finds():
    plan = Plan(items=60, reviewers=6, ratings_per_output=6)
    who = power.who_rates(60, 6, 6)
    values = power.draw(plan, (0.0, 0.4, -0.2), who, rng(), 12)
    fast = power.judged((values[:, :, 1] - values[:, :, 0]).astype(float), who)
    fitted = [
        mixed.fit(as_ratings(one, who, reviewers=6, levels=5), 0).differences[0] for one in values
    ]  # fmt: skip
    assert [one.difference.estimate for one in fitted] == pytest.approx(list(fast.mean), abs=1e-4)
    assert np.mean([one.se for one in fitted]) == pytest.approx(fast.se.mean(), rel=0.1)
    assert sum(one.p <= 0.05 for one in fitted) == pytest.approx((fast.p <= 0.05).sum(), abs=2)
