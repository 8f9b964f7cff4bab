"""Every expected figure is from a publication, worked by hand, or from an independent fit, as each test says."""

import itertools

import numpy as np
import pytest
from scipy import optimize

from evaluation.analysis import preference
from evaluation.analysis.preference import Choices, Pages


def choices(rows, systems, *, reviewers=7):
    """Rows of (first, second, outcome) as choices, each on a text of its own, reviewers in turn."""
    array = np.array(rows, dtype=int).reshape(-1, 3)
    number = np.arange(len(array))
    return Choices(
        item=number,
        reviewer=number % reviewers,
        first=array[:, 0],
        second=array[:, 1],
        outcome=array[:, 2],
        n_systems=systems,
    )


def counted(counts, systems):
    """Rows out of {(first, second): (wins, ties, losses)}."""
    rows = []
    for (first, second), numbers in counts.items():
        for outcome, times in zip((1, 0, -1), numbers, strict=True):
            rows += [(first, second, outcome)] * times
    return choices(rows, systems)


# Agresti, Categorical Data Analysis, 2nd ed. (2002), table 10.10: games of the American League's Eastern Division in
# 1987, here with home and away games apart as in the data set "baseball" of the R package BradleyTerry2.
TEAMS = ("Milwaukee", "Detroit", "Toronto", "New York", "Boston", "Cleveland", "Baltimore")
HOME_WINS = (
    # home, then wins at home and wins away against each other team in the order above
    ("Milwaukee", (4, 3), (4, 2), (4, 3), (6, 1), (4, 2), (6, 0)),
    ("Detroit", (3, 3), (4, 2), (4, 3), (6, 0), (6, 1), (4, 3)),
    ("Toronto", (2, 5), (4, 3), (2, 4), (4, 3), (4, 2), (6, 0)),
    ("New York", (3, 3), (5, 1), (2, 5), (4, 3), (4, 2), (6, 1)),
    ("Boston", (5, 1), (2, 5), (3, 3), (4, 2), (5, 2), (6, 0)),
    ("Cleveland", (2, 5), (3, 3), (3, 4), (4, 3), (4, 2), (2, 4)),
    ("Baltimore", (2, 5), (1, 5), (1, 6), (2, 4), (1, 6), (3, 4)),
)


def test_strengths_of_the_baseball_teams_are_those_of_agresti():
    rows = []
    for home, *games in HOME_WINS:
        at_home = TEAMS.index(home)
        others = [number for number in range(7) if number != at_home]
        for away, (wins, losses) in zip(others, games, strict=True):
            rows += [(at_home, away, 1)] * wins + [(at_home, away, -1)] * losses
    result = preference.bradley_terry(choices(rows, 7, reviewers=400), reference=TEAMS.index("Baltimore"))
    found = {TEAMS[one.system]: one for one in result.contrasts}
    # Table 10.11, third column (log-strengths against Baltimore), as tests/testthat/test-baseball.R of BradleyTerry2
    # quotes it; in the text: standard errors of about 0.3.
    expected = {
        "Milwaukee": 1.58,
        "Detroit": 1.44,
        "Toronto": 1.29,
        "New York": 1.25,
        "Boston": 1.11,
        "Cleveland": 0.68,
    }
    assert {name: round(one.difference.estimate, 2) for name, one in found.items()} == expected
    for one in found.values():
        assert (one.difference.high - one.difference.low) / 2 / 1.96 == pytest.approx(0.33, abs=0.06)
    assert result.tie is None


def test_strengths_are_those_of_the_plackettluce_package():
    """R package PlackettLuce, vignette "Introduction to PlackettLuce", section 2.3.

    Its five comparisons are A > B, C > A, A > D, B > A and B > C."""
    four = [(0, 1, 1), (2, 0, 1), (0, 3, 1), (1, 0, 1), (1, 2, 1)]
    three = [row for row in four if 3 not in row[:2]]
    result = preference.bradley_terry(choices(three, 3), reference=0)
    assert [one.difference.estimate for one in result.contrasts] == pytest.approx([0.8392, 0.4196], abs=5e-5)
    # D never wins: half a win and half a loss against an imagined system, as npseudo = 0.5 does there.
    shrunk = preference.bradley_terry(choices(four, 4), reference=0, names=["A", "B", "C", "D"])
    assert [one.difference.estimate for one in shrunk.contrasts] == pytest.approx(
        [0.5184185, 0.1354707, -1.1537565], abs=5e-7
    )
    assert "Never preferred: D." in shrunk.reason
    assert all(one.difference.low is None and one.test.p is None for one in shrunk.contrasts)


def davidson(counts, systems):
    """Davidson's likelihood (JASA 65, 1970, eq. 2.1) maximised directly: an implementation of its own."""

    def loss(parameters):
        strength, nu = np.exp(np.append(0, parameters[:-1])), np.exp(parameters[-1])
        total = 0.0
        for (one, other), (wins, ties, losses) in counts.items():
            between = nu * np.sqrt(strength[one] * strength[other])
            whole = strength[one] + strength[other] + between
            total -= wins * np.log(strength[one] / whole) + ties * np.log(between / whole)
            total -= losses * np.log(strength[other] / whole)
        return total

    found = optimize.minimize(loss, np.zeros(systems), method="BFGS", options={"gtol": 1e-8})
    return found.x[:-1], np.exp(found.x[-1])


def test_ties_are_fitted_as_davidsons_likelihood_says():
    # The first six pairs of Davidson's chocolate puddings (1970, example 2), of which the whole is not at hand.
    puddings = {
        (0, 1): (19, 16, 22),
        (0, 2): (16, 12, 19),
        (1, 2): (19, 10, 19),
        (0, 3): (18, 13, 23),
        (1, 3): (23, 9, 19),
        (2, 3): (19, 15, 20),
    }
    strengths, nu = davidson(puddings, 4)
    result = preference.bradley_terry(counted(puddings, 4), reference=0)
    assert [one.difference.estimate for one in result.contrasts] == pytest.approx(list(strengths), abs=1e-4)
    assert result.tie == pytest.approx(nu / (2 + nu), abs=1e-4)


def test_balanced_comparisons_are_ordered_as_points_order_them():
    """Two points for a win, one for a tie: the same order as the strengths (Davidson 1970, abstract)."""
    balanced = {(0, 1): (10, 6, 14), (0, 2): (16, 4, 10), (1, 2): (9, 12, 9), (0, 3): (5, 5, 20), (1, 3): (8, 8, 14)}
    balanced[2, 3] = (7, 10, 13)
    points = np.zeros(4)
    for (one, other), (wins, ties, losses) in balanced.items():
        points[one] += 2 * wins + ties
        points[other] += 2 * losses + ties
    assert np.unique(points).size == 4
    strengths = [one.estimate for one in preference.bradley_terry(counted(balanced, 4)).strengths]
    assert np.argsort(strengths).tolist() == np.argsort(points).tolist()


def test_two_systems_give_the_odds_of_their_wins():
    result = preference.bradley_terry(counted({(0, 1): (30, 20, 10)}, 2), reference=1)
    contrast = result.contrasts[0]
    assert contrast.difference.estimate == pytest.approx(np.log(3))
    assert contrast.wins.estimate == pytest.approx(0.75)
    assert contrast.wins.low < 0.75 < contrast.wins.high
    assert [one.estimate for one in result.strengths] == pytest.approx([np.log(3) / 2, -np.log(3) / 2])
    # nu = 20 / sqrt(30 * 10)
    assert result.tie == pytest.approx((20 / 300**0.5) / (2 + 20 / 300**0.5))


def test_the_interval_without_clusters_is_that_of_the_model():
    """Each choice a text and a reviewer of its own: the sandwich is near the inverse information, 1/40 + 1/60."""
    rows = choices([(0, 1, 1)] * 400 + [(0, 1, -1)] * 600, 2, reviewers=1000)
    contrast = preference.bradley_terry(rows, reference=1).contrasts[0]
    error = (1 / 400 + 1 / 600) ** 0.5
    assert contrast.difference.high - contrast.difference.low == pytest.approx(2 * 1.96 * error, rel=0.01)
    assert contrast.test.statistic == pytest.approx(np.log(4 / 6) / error, rel=0.01)


def test_choices_that_repeat_each_other_do_not_narrow_the_interval():
    rng = np.random.default_rng(5)
    outcome = rng.choice([1, -1], 60)
    once = Choices(
        item=np.arange(60),
        reviewer=np.arange(60) % 6,
        first=np.zeros(60),
        second=np.ones(60),
        outcome=outcome,
        n_systems=2,
    )
    five = Choices(
        item=np.tile(np.arange(60), 5),
        reviewer=np.tile(np.arange(60) % 6, 5),
        first=np.zeros(300),
        second=np.ones(300),
        outcome=np.tile(outcome, 5),
        n_systems=2,
    )
    first, second = (preference.bradley_terry(one, reference=1).contrasts[0].difference for one in (once, five))
    assert (second.low, second.high) == pytest.approx((first.low, first.high))


def test_what_was_shown_first_does_not_matter():
    rng = np.random.default_rng(2)
    first, second = rng.integers(0, 3, 90), None
    second = (first + rng.integers(1, 3, 90)) % 3
    outcome = rng.integers(-1, 2, 90)
    base = {"item": np.arange(90) // 3, "reviewer": np.arange(90) % 3, "n_systems": 3}
    one = preference.bradley_terry(Choices(first=first, second=second, outcome=outcome, **base))
    other = preference.bradley_terry(Choices(first=second, second=first, outcome=-outcome, **base))
    for a, b in zip(one.strengths, other.strengths, strict=True):
        assert (a.estimate, a.low, a.high) == pytest.approx((b.estimate, b.low, b.high))


# Where no figures can be given


def test_no_choices():
    result = preference.bradley_terry(choices([], 3))
    assert result.reason == "No choices." and all(one.estimate is None for one in result.strengths)
    assert preference.win_rates(choices([], 3)) == []


def test_all_ties():
    result = preference.bradley_terry(choices([(0, 1, 0)] * 9, 2))
    assert "tie" in result.reason and result.contrasts == []
    rate = preference.win_rates(choices([(0, 1, 0)] * 9, 2))[0]
    assert (rate.wins, rate.ties, rate.losses, rate.rate.estimate) == (0, 9, 0, 0.5)
    assert rate.rate.low is None and rate.rate.reason


def test_systems_that_were_never_compared_with_each_other():
    rows = [(0, 1, 1), (0, 1, -1), (2, 3, 1), (2, 3, -1)]
    result = preference.bradley_terry(choices(rows, 4), reference=0)
    assert "(system 1, system 2; system 3, system 4)" in result.reason
    assert all(one.estimate is None for one in result.strengths)
    assert len(preference.win_rates(choices(rows, 4))) == 2


def test_a_system_nobody_compared_is_named_and_the_others_have_strengths():
    rows = [(0, 2, 1)] * 6 + [(0, 2, -1)] * 4
    result = preference.bradley_terry(choices(rows, 3), reference=0, names=["base", "tuned", "rewrite"])
    assert "tuned" in result.reason
    assert result.strengths[1].estimate is None and result.strengths[2].estimate is not None


def test_ties_alone_do_not_save_a_system_that_never_won():
    """With one pair the tie parameter takes all ties: strengths would grow for ever."""
    result = preference.bradley_terry(counted({(0, 1): (8, 5, 0)}, 2), reference=1, names=["A", "B"])
    assert "Never preferred: B." in result.reason and "None was preferred to A." in result.reason
    assert result.contrasts[0].difference.estimate > 0 and result.contrasts[0].difference.low is None


def test_groups_of_which_one_always_wins_are_recognised():
    rows = [(0, 1, 1), (0, 1, -1), (2, 3, 1), (2, 3, -1), (0, 2, 1), (1, 3, 1)]
    result = preference.bradley_terry(choices(rows, 4))
    assert "directly or by way of a third" in result.reason
    assert result.strengths[0].estimate > result.strengths[3].estimate


def test_one_reviewer_is_said():
    rows = choices([(0, 1, 1), (0, 1, -1), (0, 1, 1), (0, 1, 0)], 2, reviewers=1)
    result = preference.bradley_terry(rows)
    assert "One reviewer only" in result.reason and result.contrasts[0].difference.low is not None


def test_one_choice():
    result = preference.bradley_terry(choices([(0, 1, 1)], 2))
    assert result.contrasts[0].difference.low is None and "Never preferred: system 2." in result.reason


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"outcome": [2]}, "outcomes"),
        ({"second": [0]}, "itself"),
        ({"first": [5]}, "systems"),
        ({"item": [0, 1]}, "equally long"),
    ],
)
def test_rows_that_cannot_be_are_refused(change, word):
    row = {"item": [0], "reviewer": [0], "first": [0], "second": [1], "outcome": [1], "n_systems": 2} | change
    with pytest.raises(ValueError, match=word):
        Choices(**row)


# Pages


def test_side_by_side_says_that_the_best_beats_each_other_and_no_more():
    pages = Pages(item=[0, 1], reviewer=[0, 0], shown=[[2, 0, 1], [1, 2, -1]], best=[1, -1], n_systems=3)
    rows = preference.choices_of(pages)
    found = sorted(zip(rows.item, rows.first, rows.second, rows.outcome, strict=True))
    assert found == [(0, 0, 1, 1), (0, 2, 0, -1), (1, 1, 2, 0)]


def test_best_worst_says_that_all_beat_the_worst_too():
    pages = Pages(item=[4], reviewer=[1], shown=[[3, 1, 0, 2]], best=[1], worst=[3], n_systems=4)
    rows = preference.choices_of(pages)
    found = {(int(a), int(b)): int(o) for a, b, o in zip(rows.first, rows.second, rows.outcome, strict=True)}
    # best is system 1, worst is system 2; systems 3 and 0 say nothing of each other
    assert found == {(3, 1): -1, (1, 0): 1, (1, 2): 1, (3, 2): 1, (0, 2): 1}


def test_systems_with_the_same_text_share_a_slot_and_tie():
    pages = Pages(item=[0], reviewer=[0], shown=[[0, 1, 2]], slot=[[0, 0, 1]], best=[0], n_systems=3)
    rows = preference.choices_of(pages)
    found = {(int(a), int(b)): int(o) for a, b, o in zip(rows.first, rows.second, rows.outcome, strict=True)}
    assert found == {(0, 1): 0, (0, 2): 1, (1, 2): 1}
    shares, nobody = preference.shares_preferred(pages)
    assert [one.preferred for one in shares] == [1, 1, 0] and nobody.estimate == 0


def test_shares_and_scores_are_counts_over_times_shown():
    pages = Pages(
        item=[0, 0, 1, 1],
        reviewer=[0, 1, 0, 1],
        shown=[[0, 1, 2], [0, 1, 2], [2, 1, 0], [0, 1, -1]],
        best=[0, 1, 2, -1],
        worst=[2, 2, 1, -1],
        n_systems=3,
    )
    shares, nobody = preference.shares_preferred(pages)
    assert [(one.shown, one.preferred) for one in shares] == [(4, 2), (4, 1), (3, 0)]
    assert [one.share.estimate for one in shares] == [0.5, 0.25, 0.0]
    assert nobody.estimate == 0.25
    scores = preference.best_worst_scores(pages)
    assert [(one.best, one.worst, one.shown) for one in scores] == [(2, 0, 4), (1, 1, 4), (0, 2, 3)]
    assert [one.score.estimate for one in scores] == pytest.approx([0.5, 0.0, -2 / 3])
    for one in scores:
        assert -1 <= one.score.low <= one.score.estimate <= one.score.high <= 1


def test_a_share_of_none_has_a_one_sided_interval_and_says_so():
    pages = Pages(item=range(20), reviewer=[0, 1] * 10, shown=[[0, 1]] * 20, best=[0] * 20, n_systems=2)
    shares, _ = preference.shares_preferred(pages)
    # Wilson at 0 of 20: z^2 / (20 + z^2)
    assert (shares[1].share.low, shares[1].share.high) == pytest.approx((0, 3.8415 / 23.8415), abs=1e-4)
    assert "20 texts" in shares[1].share.reason


def test_pages_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="best"):
        Pages(item=[0], reviewer=[0], shown=[[0, 1]], best=[2], n_systems=2)
    with pytest.raises(ValueError, match="cannot be its worst"):
        Pages(item=[0], reviewer=[0], shown=[[0, 1]], best=[0], worst=[0], n_systems=2)
    with pytest.raises(ValueError, match="no worst"):
        preference.best_worst_scores(Pages(item=[0], reviewer=[0], shown=[[0, 1]], best=[0], n_systems=2))


def test_rows_of_the_preferred_against_each_other_estimate_luces_strengths():
    """Luce's model drawn by its definition: 40,000 pages of four, strengths known."""
    rng = np.random.default_rng(3)
    strength = np.array([0.0, 0.5, 1.0, -0.5])
    best = (strength + rng.gumbel(size=(40_000, 4))).argmax(axis=1)
    pages = Pages(
        item=np.arange(40_000), reviewer=np.arange(40_000) % 40, shown=np.tile(np.arange(4), (40_000, 1)), best=best,
        n_systems=4,
    )  # fmt: skip
    result = preference.bradley_terry(preference.choices_of(pages), reference=0)
    for contrast, truth in zip(result.contrasts, strength[1:], strict=True):
        assert contrast.difference.estimate == pytest.approx(truth, abs=0.05)


def test_a_hundred_thousand_choices_are_no_burden():
    rng = np.random.default_rng(1)
    n = 100_000
    first = rng.integers(0, 4, n)
    rows = Choices(
        item=rng.integers(0, 20_000, n), reviewer=rng.integers(0, 30, n), first=first,
        second=(first + rng.integers(1, 4, n)) % 4, outcome=rng.integers(-1, 2, n), n_systems=4,
    )  # fmt: skip
    result = preference.bradley_terry(rows)
    assert len(result.contrasts) == len(list(itertools.combinations(range(4), 2)))
    assert all(abs(one.difference.estimate) < 0.1 for one in result.contrasts)
