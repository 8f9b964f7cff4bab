"""Expected figures are printed in a publication or a package's documentation, or worked by hand, as each test says."""

import numpy as np
import pytest

from evaluation.analysis import blinding
from evaluation.analysis.blinding import DONT_KNOW, NOT_TUNED, TUNED


def guesses(table, *, reviewers=5, items=50):
    """Rows out of counts: three guesses by two arms, texts and reviewers in turn."""
    is_tuned, guess = [], []
    for answer, (tuned, other) in enumerate(table):
        is_tuned += [True] * tuned + [False] * other
        guess += [answer] * (tuned + other)
    number = np.arange(len(guess))
    rng = np.random.default_rng(1)
    return {
        "is_tuned": is_tuned,
        "guess": guess,
        "item": rng.permutation(number) % items,
        "reviewer": rng.permutation(number) % reviewers,
    }


# Houweling et al., Clinical Trials 11 (2014), table 2, investigators: guesses of treatment, placebo and don't know
# (rows) in the treatment and the placebo arm. Indices as printed in the README of BlindingIndex.jl, after R's BI.
HOUWELING = [[48, 22], [4, 30], [330, 319]]
# Bang, Ni & Davis (2004), table 7, the CRISP trial, as in the examples of R's BI.
CRISP = [[82, 27], [25, 29], [170, 83]]


def test_indices_of_houwelings_investigators():
    james = blinding.james_index(HOUWELING)
    assert [round(value, 3) for value in (james.estimate, james.low, james.high)] == [0.896, 0.875, 0.918]
    treatment, placebo = blinding.bang_index(48, 4, 330), blinding.bang_index(30, 22, 319)
    assert [round(value, 3) for value in (treatment.estimate, treatment.low, treatment.high)] == [0.115, 0.08, 0.15]
    assert [round(value, 3) for value in (placebo.estimate, placebo.low, placebo.high)] == [0.022, -0.016, 0.06]


def test_indices_of_the_crisp_trial():
    """Counts as published; the indices worked by hand from them."""
    found = blinding.blinding(**guesses(CRISP))
    assert found.tuned.index.estimate == pytest.approx((82 - 25) / 277)
    assert found.other.index.estimate == pytest.approx((29 - 27) / 139)
    assert (found.tuned.right, found.tuned.wrong, found.tuned.unknown) == (82, 25, 170)
    # James: shares of all 416; 0.5 for wrong guesses (52), P(don't know) 253/416, among 163 guesses
    observed = 0.5 * 52 / 163
    chance = 0.5 * (109 * 56 + 54 * 107) / 163**2
    unknown = 253 / 416
    assert found.james.estimate == pytest.approx((1 + unknown + (1 - unknown) * (observed - chance) / chance) / 2)
    # Of five reviewers whose guesses may go together the interval of 139 guesses passes 0.2.
    assert found.tuned.verdict == "unblinded" and found.other.verdict == "unclear"
    assert "did not wholly hold" in found.summary and "tuned systems" in found.summary


def test_the_clustered_interval_is_the_published_one_where_each_guess_stands_alone():
    rows = guesses(HOUWELING, items=10_000, reviewers=10_000)
    found = blinding.blinding(**rows)
    assert (found.tuned.index.low, found.tuned.index.high) == pytest.approx((0.080, 0.150), abs=0.001)
    assert (found.james.low, found.james.high) == pytest.approx((0.875, 0.918), abs=0.001)


def test_guesses_of_one_reviewer_that_go_together_widen_the_interval():
    rows = guesses([[40, 20], [20, 40], [0, 0]])
    alone = blinding.blinding(**rows).tuned.index
    together = blinding.blinding(**(rows | {"reviewer": [0 if guess == TUNED else 1 for guess in rows["guess"]]}))
    assert together.tuned.index.high - together.tuned.index.low > 2 * (alone.high - alone.low)


@pytest.mark.parametrize(
    ("table", "tuned", "other", "word"),
    [
        ([[60, 62], [62, 58], [160, 160]], "blind", "blind", "The blinding held"),
        ([[90, 10], [10, 90], [20, 20]], "unblinded", "unblinded", "did not hold"),
        ([[90, 90], [10, 10], [20, 20]], "unblinded", "opposite", "a leaning of theirs"),
        ([[10, 90], [90, 10], [20, 20]], "opposite", "opposite", "took each kind for the other"),
        ([[0, 0], [0, 0], [40, 40]], "unclear", "unclear", "too few"),
    ],
)
def test_verdicts_in_words(table, tuned, other, word):
    found = blinding.blinding(**guesses(table))
    assert (found.tuned.verdict, found.other.verdict) == (tuned, other)
    assert word in found.summary


def test_one_or_two_right_guesses_say_nothing():
    for count in (1, 2, 5):
        found = blinding.blinding(
            is_tuned=[1, 0] * count,
            guess=[TUNED, NOT_TUNED] * count,
            item=np.repeat(np.arange(count), 2),
            reviewer=np.repeat(np.arange(count), 2),
        )
        assert (found.tuned.verdict, found.other.verdict) == ("unclear", "unclear"), count
        assert "too few guesses" in found.summary and found.tuned.index.estimate == 1


def test_a_wide_interval_around_zero_is_not_called_blind():
    found = blinding.blinding(**guesses([[2, 2], [2, 2], [1, 1]]))
    assert found.tuned.index.estimate == 0 and found.tuned.index.high > 0.2
    assert found.tuned.verdict == "unclear" and "too few guesses" in found.summary


def test_six_texts_guessed_right_by_two_reviewers_are_a_finding_and_by_one_are_none():
    rows = {"is_tuned": [1, 0] * 6, "guess": [TUNED, NOT_TUNED] * 6, "item": np.repeat(np.arange(6), 2)}
    two = blinding.blinding(**rows, reviewer=[0, 0, 1, 1] * 3)
    one = blinding.blinding(**rows, reviewer=[0] * 12)
    assert two.tuned.verdict == "unblinded" and "did not hold" in two.summary
    assert one.tuned.verdict == "unclear" and "one reviewer's" in one.summary


def test_a_small_but_clear_index_is_called_slight():
    found = blinding.blinding(**guesses([[280, 220], [200, 260], [520, 520]], items=500, reviewers=100)).tuned
    assert found.verdict == "unblinded" and found.words.startswith("Slightly unblinded")


def test_no_guesses_and_one_arm_are_said():
    none = blinding.blinding(is_tuned=[], guess=[], item=[], reviewer=[])
    assert none.tuned.index.estimate is None and none.james.reason == "No guesses." and "nothing" in none.summary
    one = blinding.blinding(**guesses([[20, 0], [10, 0], [5, 0]]))
    assert one.other.index.reason == "No guesses." and one.james.estimate is None and one.james.reason
    assert "one kind only (tuned)" in one.summary and one.tuned.words in one.summary


def test_everybody_says_dont_know():
    found = blinding.blinding(is_tuned=[1, 0] * 10, guess=[DONT_KNOW] * 20, item=range(20), reviewer=[0, 1, 2, 3] * 5)
    assert found.james.estimate == 1.0 and found.tuned.index.estimate == 0 and found.tuned.index.low is None


def test_one_reviewer_on_one_text():
    found = blinding.blinding(is_tuned=[1, 0], guess=[TUNED, NOT_TUNED], item=[0, 0], reviewer=[0, 0])
    assert found.tuned.index.estimate == 1 and found.tuned.index.low is None and found.tuned.index.reason


def test_guesses_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="guesses are"):
        blinding.blinding(is_tuned=[1], guess=[3], item=[0], reviewer=[0])
    with pytest.raises(ValueError, match="equally long"):
        blinding.blinding(is_tuned=[1, 0], guess=[0], item=[0], reviewer=[0])
