"""Near-duplicates: the measure worked by hand, and the groups against a search of all pairs."""

import itertools
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training import near_duplicates

WORDS = [
    "people",
    "in",
    "this",
    "town",
    "say",
    "that",
    "the",
    "new",
    "rules",
    "are",
    "unfair",
    "and",
    "lazy",
    "neighbours",
    "never",
    "work",
    "while",
    "families",
    "pay",
]


def exact(one: str, two: str) -> float:
    """Jaccard's index of the 5-grams themselves, without hashes."""

    def grams(text: str) -> set[str]:
        text = " ".join(text.casefold().split())
        return {text[place : place + 5] for place in range(len(text) - 4)} or {text}

    return len(grams(one) & grams(two)) / len(grams(one) | grams(two))


def groups(texts, threshold):
    return near_duplicates.groups(texts, len(texts), threshold, lambda numbers: {n: texts[n] for n in numbers})


def test_the_index_worked_by_hand():
    # abcdef: abcde, bcdef; abcdeg: abcde, bcdeg. One of three is common.
    one, two = (near_duplicates.shingles(text) for text in ("abcdef", "ABCDEG"))
    assert near_duplicates.jaccard(one, two) == pytest.approx(1 / 3)
    assert near_duplicates.jaccard(one, near_duplicates.shingles("  ABC\ndef ")) == 0  # "abc d", "bc de", "c def"
    assert near_duplicates.jaccard(one, near_duplicates.shingles("\tabcDEF\n")) == 1
    assert len(near_duplicates.shingles("aaaaaaaa")) == 1
    assert near_duplicates.jaccard(near_duplicates.shingles("ab"), near_duplicates.shingles("abc")) == 0
    assert len(near_duplicates.shingles("")) == 1


@given(st.text(max_size=60), st.text(max_size=60))
def test_the_index_is_that_of_the_sets_of_5_grams(one, two):
    found = near_duplicates.jaccard(near_duplicates.shingles(one), near_duplicates.shingles(two))
    assert found == pytest.approx(exact(one, two))


def changed(chance: random.Random, text: str, words: int) -> str:
    parts = text.split()
    for _ in range(words):
        parts[chance.randrange(len(parts))] = chance.choice(WORDS)
    return " ".join(parts)


def sample(seed: int, count: int = 120) -> list[str]:
    chance = random.Random(seed)
    texts = [" ".join(chance.choice(WORDS) for _ in range(chance.randrange(3, 40))) for _ in range(count // 2)]
    return texts + [changed(chance, chance.choice(texts), chance.randrange(1, 5)) for _ in range(count - len(texts))]


def components(texts, threshold):
    parent = list(range(len(texts)))

    def root(number):
        while parent[number] != number:
            number = parent[number]
        return number

    for i, j in itertools.combinations(range(len(texts)), 2):
        if exact(texts[i], texts[j]) >= threshold:
            one, two = sorted((root(i), root(j)))
            parent[two] = one
    roots = [root(number) for number in range(len(texts))]
    return {number: found for number, found in enumerate(roots) if roots.count(found) > 1}


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([0.6, 0.7, 0.8, 0.9]))
def test_groups_are_those_that_comparing_everything_with_everything_gives(seed, threshold):
    texts = sample(seed)
    expected = components(texts, threshold)
    found = groups(texts, threshold)
    # Fewer than one in a thousand at the threshold may be missed, none may be invented.
    assert set(found.of) <= set(expected)
    assert len(expected) - len(found.of) <= 1
    assert sum(found.sizes) == len(found.of)


def test_groups_do_not_depend_on_the_run_and_name_their_first_text():
    texts = sample(3)
    assert groups(texts, 0.7).of == groups(list(texts), 0.7).of
    assert all(
        first == min(n for n, f in groups(texts, 0.7).of.items() if f == first)
        for first in groups(texts, 0.7).of.values()
    )


def test_a_chain_of_small_changes_is_one_group():
    long = " ".join(f"{word}{number}" for number, word in enumerate(WORDS * 3))
    chain = [long]
    for number in range(0, 40, 4):
        parts = chain[-1].split()
        parts[number] = "changed"
        chain.append(" ".join(parts))
    assert exact(chain[0], chain[-1]) < 0.8
    assert groups(chain, 0.9).sizes == [len(chain)]


def test_thousands_of_nearly_the_same_text_do_not_cost_millions_of_comparisons():
    base = " ".join(WORDS * 3)
    texts = [f"{base} number {number}" for number in range(3_000)]
    pairs = near_duplicates.candidates(near_duplicates.signatures(texts, len(texts)), 0.8)
    assert len(pairs) < 40 * len(texts)
    assert groups(texts, 0.8).sizes == [3_000]


@pytest.mark.parametrize("threshold", [0.6, 0.7, 0.8, 0.9, 1.0])
def test_bands_miss_fewer_than_one_in_a_thousand_at_the_threshold(threshold):
    number, rows = near_duplicates.bands(threshold)
    assert number * rows <= near_duplicates.HASHES
    assert (1 - threshold**rows) ** number <= 1e-3


def test_signatures_are_the_same_on_every_server():
    """The splits of a frozen dataset come from them: a change of these numbers is a change of the format."""
    found = near_duplicates.signatures(["They are all lazy, said the neighbour.", "أهلا 🙃 ok"], 2)
    assert found.dtype == np.uint32
    assert found[:, :3].tolist() == [[6183534, 420356, 334443766], [256684135, 785126025, 186657832]]
