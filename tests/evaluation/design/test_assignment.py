"""Every output is rated as often as planned, nobody sees one twice, and everything that can be even is."""

import os
import random
import re
import subprocess
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from evaluation.design.assignment import (
    Page,
    Plan,
    assign,
    check,
    check_places,
    options,
    order,
    per_page_possible,
    place,
    ratings_possible,
    reviewers_needed,
    size,
)
from evaluation.design.balance import balance

REPOSITORY = Path(__file__).parents[3]


def plan_of(items, systems, reviewers, per_page, ratings):
    return Plan(items=items, systems=systems, reviewers=reviewers, per_page=per_page, ratings_per_output=ratings)


def holds(plan, pages):
    """What must hold for every design, whatever its balance."""
    assert all(len(set(page.systems)) == len(page.systems) == plan.per_page for page in pages)
    seen = Counter((page.item, s, page.reviewer) for page in pages for s in page.systems)
    assert set(seen.values()) == {1}, "somebody sees an output twice"
    rated = Counter((item, s) for item, s, _ in seen)
    assert rated == {(i, s): plan.ratings_per_output for i in range(plan.items) for s in range(plan.systems)}
    met = Counter((page.item, page.reviewer) for page in pages)
    assert max(met.values()) == size(plan).pages_of_an_item
    assert len(pages) == size(plan).pages


# items, systems, reviewers, per page, ratings; then how far pairs of systems may be apart
PLANS = [
    ((60, 4, 6, 4, 6), 0),  # complete
    ((60, 4, 6, 2, 3), 0),  # pairs of four
    ((60, 4, 6, 2, 2), 0),
    ((12, 3, 3, 2, 2), 0),
    ((7, 7, 7, 3, 3), 2),  # Fano planes, if they were all found
    ((30, 7, 10, 3, 3), 2),
    ((10, 6, 10, 3, 5), 1),
    ((60, 5, 10, 4, 4), 0),
    ((60, 4, 8, 3, 3), 0),
    ((60, 4, 12, 1, 3), 0),
    ((60, 4, 3, 1, 3), 0),  # everybody sees each text on four pages
    ((60, 4, 4, 2, 4), 0),  # on two
    ((200, 5, 20, 2, 2), 2),
    ((60, 6, 9, 4, 2), 2),
]


@pytest.mark.parametrize(("sizes", "apart"), PLANS)
@pytest.mark.parametrize("seed", [1, 2])
def test_the_design_holds_its_numbers_and_is_even(sizes, apart, seed):
    plan = plan_of(*sizes)
    pages = assign(plan, random.Random(seed))
    holds(plan, pages)
    found = balance(pages, plan.systems, plan.reviewers)
    assert found.pages_range <= 1
    assert found.seen_range <= 1
    assert found.together_range <= apart
    assert found.places_range <= 1
    assert found.places_range_of_a_reviewer <= 1


@pytest.mark.parametrize(
    ("sizes", "times"),
    [
        ((6, 4, 6, 2, 3), 6),  # t=4, k=2: all six pairs on as many pages
        ((1, 7, 7, 3, 3), 1),  # the Fano plane: seven pages, every pair once
        ((4, 6, 5, 3, 5), 8),  # t=6, k=3: multiples of the ten blocks in which each pair stands twice
        ((1, 4, 4, 3, 3), 2),
        ((1, 5, 5, 4, 4), 3),
        ((1, 5, 10, 2, 4), 1),
    ],
)
def test_known_balanced_incomplete_blocks_are_found(sizes, times):
    """Cochran and Cox (1957), chapter 11: designs in which each pair of treatments stands equally often together."""
    plan = plan_of(*sizes)
    items, t, _, k, r = sizes
    found = balance(assign(plan, random.Random(5)), plan.systems, plan.reviewers)
    assert found.together_range == 0
    assert found.together[0, 1] == times == items * r * (k - 1) / (t - 1)
    assert found.efficiency == pytest.approx(t * (k - 1) / (k * (t - 1)))


def test_in_the_complete_design_everybody_sees_every_item_once_and_whole():
    plan = plan_of(24, 4, 5, 4, 5)
    assert plan.complete
    pages = assign(plan, random.Random(3))
    assert Counter((page.reviewer, page.item) for page in pages) == {(j, i): 1 for j in range(5) for i in range(24)}
    found = balance(pages, 4, 5)
    assert found.efficiency == pytest.approx(1)
    assert (found.places == 30).all()
    assert (found.places_by_reviewer == 6).all()
    assert found.before_range == 0  # six whole Williams squares each


def test_the_same_seed_gives_the_same_design_and_another_seed_another():
    plan = plan_of(40, 4, 6, 2, 3)
    first = assign(plan, random.Random("study/1"))
    assert first == assign(plan, random.Random("study/1"))
    assert first != assign(plan, random.Random("study/2"))


PROGRAM = """
import random, sys
from evaluation.design import assignment, balance, forms, sampling
plan = assignment.Plan(items=20, systems=5, reviewers=6, per_page=2, ratings_per_output=2)
rng = random.Random("study/1")
orders = assignment.order(assignment.assign(plan, rng), rng)
print(assignment.place(orders, checks=2, repeats=2, practice=1, gap=3, rng=rng))
print(sampling.sample(["a", "b", "", "a", "c", "b"] * 5, 7, rng))
assert not [name for name in sys.modules if name.partition(".")[0] == "django"]
"""


def test_another_process_draws_the_same_and_needs_no_django():
    drawn = {
        subprocess.run(
            [sys.executable, "-c", PROGRAM],
            cwd=REPOSITORY,
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(drawn) == 1
    assert len(drawn.pop()) > 1_000


@pytest.mark.parametrize("sizes", [(6, 3, 3, 3, 3), (6, 4, 4, 2, 2), (4, 3, 3, 1, 3)])
def test_nothing_can_be_told_from_where_an_output_stands(sizes):
    """Over many seeds, each system is as likely as any other at each place of a reviewer's first page."""
    plan, studies = plan_of(*sizes), 600
    places = Counter()
    for seed in range(studies):
        rng = random.Random(seed)
        first = order(assign(plan, rng), rng)[seed % plan.reviewers][0]
        places.update(enumerate(first.systems))
    expected = studies / plan.systems
    for number in range(plan.per_page):
        squares = sum((places[number, s] - expected) ** 2 / expected for s in range(plan.systems))
        assert squares < 20  # chi-squared with 2 or 3 degrees of freedom: less than one in 5,000 by chance


def test_reviewers_do_not_always_work_in_the_same_company():
    plan = plan_of(400, 4, 10, 4, 2)
    shared = balance(assign(plan, random.Random(1)), 4, 10).shared
    assert (shared[~np.eye(10, dtype=bool)] > 0).all()


# What is impossible


def test_a_possible_plan_has_no_problems():
    assert check(plan_of(60, 4, 6, 2, 3)) == []


@pytest.mark.parametrize(
    ("sizes", "said"),
    [
        ((60, 4, 6, 5, 3), "4 or fewer on a page"),
        ((60, 4, 2, 2, 3), "Add 1 reviewer, or ask for 2 ratings or fewer"),
        ((60, 4, 6, 3, 2), "Choose 3 ratings of each output; or keep 2 ratings and show 1 on a page, 2 on a page or 4"),
        ((60, 4, 6, 3, 4), "Choose 3 ratings of each output or 6 ratings of each output (with 8 reviewers or more)"),
        ((60, 5, 4, 2, 4), "at least 5 reviewers, 2 ratings of each output or 1 on a page"),
        ((1, 4, 6, 4, 2), "only 2 pages for 6 reviewers"),
        ((0, 4, 6, 4, 2), "At least one text"),
        ((60, 4, 0, 4, 2), "At least one reviewer"),
    ],
)
def test_what_is_impossible_is_said_with_what_to_choose_instead(sizes, said):
    problems = check(plan_of(*sizes))
    assert said in " ".join(problems)
    with pytest.raises(ValueError, match=re.escape(problems[0])):
        assign(plan_of(*sizes), random.Random(1))


def test_helpers_offer_what_works_and_nothing_else():
    assert ratings_possible(4, 3, 8) == [3, 6]
    assert per_page_possible(4, 2, 6) == [1, 2, 4]
    assert reviewers_needed(5, 2, 4) == 5
    offered = options(60, 4, 6)
    assert {(one.per_page, one.ratings_per_output) for one in offered} == {
        *((1, r) for r in range(1, 7)),
        *((2, r) for r in range(1, 7)),
        (3, 3),
        *((4, r) for r in range(1, 7)),
    }
    assert [one.ratings_per_output for one in offered if one.complete] == [6]
    assert next(one for one in offered if one.per_page == 2 and one.ratings_per_output == 3).size.pages == 360


# The order of pages


def test_pages_of_one_item_are_as_far_apart_as_there_are_items():
    plan = plan_of(30, 4, 3, 1, 3)
    orders = order(assign(plan, random.Random(1)), random.Random(2))
    for pages in orders.values():
        at = {}
        for number, page in enumerate(pages):
            at.setdefault(page.item, []).append(number)
        assert {b - a for own in at.values() for a, b in pairwise(own)} == {30}


def test_items_with_different_numbers_of_pages_are_spread_too():
    pages = [Page(0, item, (s,)) for item in range(20) for s in range(1 + item % 3)]
    (ordered,) = order(pages, random.Random(1)).values()
    assert sorted(ordered, key=repr) == sorted(pages, key=repr)
    gaps = [
        b - a
        for item in range(20)
        for own in [[n for n, page in enumerate(ordered) if page.item == item]]
        for a, b in pairwise(own)
    ]
    assert min(gaps) >= 8


def test_each_reviewer_has_an_order_of_their_own_by_the_seed():
    pages = assign(plan_of(30, 4, 6, 4, 6), random.Random(1))
    orders = order(pages, random.Random(2))
    assert orders == order(reversed(pages), random.Random(2))
    assert len({tuple(page.item for page in own) for own in orders.values()}) == 6


# Checks, repeats, practice


def test_practice_comes_first_and_checks_stand_in_each_stretch_never_at_the_ends():
    orders = order(assign(plan_of(41, 4, 6, 4, 6), random.Random(1)), random.Random(2))
    places = place(orders, checks=4, repeats=3, practice=2, rng=random.Random(3))
    where = set()
    for reviewer, sequence in places.items():
        assert [one.kind for one in sequence[:2]] == ["practice", "practice"]
        rest = sequence[2:]
        assert len(rest) == 48
        assert rest[0].kind == "rating" and rest[-1].kind != "check"
        assert [one.page for one in rest if one.kind == "rating"] == orders[reviewer]
        assert sorted(one.number for one in rest if one.kind == "check") == [0, 1, 2, 3]
        before = [
            sum(one.kind == "rating" for one in rest[:number]) for number, one in enumerate(rest) if one.kind == "check"
        ]
        assert [(b - 1) * 4 // 40 for b in before] == [0, 1, 2, 3]
        where.update(before)
    assert len(where) > 10  # at random places


def test_repeats_come_late_enough_and_in_another_order():
    orders = order(assign(plan_of(40, 4, 6, 2, 3), random.Random(1)), random.Random(2))
    places = place(orders, checks=3, repeats=5, practice=1, gap=8, rng=random.Random(3))
    for sequence in places.values():
        repeats = [(number, one) for number, one in enumerate(sequence) if one.kind == "repeat"]
        assert len({one.original for _, one in repeats}) == 5
        for number, one in repeats:
            original = sequence[one.original]
            assert original.kind == "rating"
            assert number - one.original > 8 - 1
            assert one.page.item == original.page.item
            assert all(a != b for a, b in zip(one.page.systems, original.page.systems, strict=True))
            assert sorted(one.page.systems) == sorted(original.page.systems)


@pytest.mark.parametrize(
    ("pages", "wanted", "said"),
    [
        (3, {"checks": 3, "repeats": 0}, "choose 2 or fewer"),
        (12, {"checks": 0, "repeats": 4, "gap": 10}, "at most 3 can be repeated"),
        (0, {"checks": 1, "repeats": 1}, "choose 0 or fewer"),
    ],
)
def test_what_finds_no_room_is_said(pages, wanted, said):
    assert said in " ".join(check_places(pages, **wanted))
    orders = {0: [Page(0, item, (0, 1)) for item in range(pages)]}
    with pytest.raises(ValueError, match=said):
        place(orders, **wanted, rng=random.Random(1))


def test_as_many_checks_and_repeats_as_find_room_can_be_placed():
    orders = {0: [Page(0, item, (0, 1)) for item in range(12)]}
    assert check_places(12, checks=11, repeats=3, gap=10) == []
    (sequence,) = place(orders, checks=11, repeats=3, gap=10, rng=random.Random(1)).values()
    assert Counter(one.kind for one in sequence) == {"rating": 12, "check": 11, "repeat": 3}
