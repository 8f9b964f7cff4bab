"""Texts drawn by strata: how many from each is worked by hand."""

import random
from collections import Counter

import pytest

from evaluation.design.sampling import sample

TEXTS = ["women"] * 60 + ["migrants"] * 30 + [""] * 10


def drawn(found):
    return {stratum.name: stratum.drawn for stratum in found.strata}


def test_proportional_strata_get_their_part():
    found = sample(TEXTS, 20, random.Random(1))
    assert drawn(found) == {"women": 12, "migrants": 6, "": 2}
    assert Counter(TEXTS[index] for index in found.indices) == drawn(found)
    assert found.notes == []
    assert [stratum.share for stratum in found.strata] == [12, 6, 2]


def test_fractions_go_to_the_largest_remainders():
    found = sample(["a"] * 50 + ["b"] * 33 + ["c"] * 17, 10, random.Random(1))  # shares 5.0, 3.3, 1.7
    assert drawn(found) == {"a": 5, "b": 3, "c": 2}


def test_equal_remainders_are_settled_by_lot():
    counts = Counter(
        max(drawn(sample(["a", "b"] * 10, 3, random.Random(seed))).items(), key=lambda x: x[1])[0]
        for seed in range(200)
    )
    assert min(counts["a"], counts["b"]) > 70


def test_equal_strata_that_are_too_small_give_all_and_others_the_rest():
    found = sample(TEXTS, 60, random.Random(1), "equal")
    assert drawn(found) == {"women": 25, "migrants": 25, "": 10}
    assert found.notes == [
        "The stratum without a name has only 10 texts of the 20 that its share would be: all are drawn, and the other "
        "strata give the rest."
    ]


def test_small_strata_can_empty_others_in_turn():
    found = sample(["a"] * 1 + ["b"] * 4 + ["c"] * 20, 12, random.Random(1), "equal")  # 4 each; then 5.5; then 7
    assert drawn(found) == {"a": 1, "b": 4, "c": 7}


def test_more_than_there_are_draws_all_and_says_so():
    found = sample(TEXTS, 200, random.Random(1))
    assert found.indices == list(range(100))
    assert "200 texts are wanted and there are 100" in found.notes[0]


def test_strata_that_get_none_are_named():
    found = sample(["a"] * 98 + ["b", "c"], 10, random.Random(1))
    assert drawn(found)["b"] == drawn(found)["c"] == 0
    assert "none is drawn from “b”, “c”" in found.notes[0]


def test_the_same_seed_draws_the_same_and_each_text_has_the_same_chance():
    assert sample(TEXTS, 20, random.Random(5)) == sample(TEXTS, 20, random.Random(5))
    counts = Counter(index for seed in range(600) for index in sample(TEXTS, 20, random.Random(seed)).indices)
    assert len(counts) == 100
    assert min(counts.values()) > 80 and max(counts.values()) < 165  # 120 expected, standard deviation 10


def test_nothing_to_draw_from():
    assert sample([], 5, random.Random(1)).indices == []
    assert sample(TEXTS, 0, random.Random(1)).indices == []


@pytest.mark.parametrize(
    ("n", "allocation", "said"), [(-1, "equal", "0 or more"), (3, "even", "proportional or equal")]
)
def test_what_makes_no_sense_is_refused(n, allocation, said):
    with pytest.raises(ValueError, match=said):
        sample(TEXTS, n, random.Random(1), allocation)
