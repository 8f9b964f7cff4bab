"""The figures of a design, worked by hand."""

import pytest

from evaluation.design.assignment import Page
from evaluation.design.balance import balance

# Three systems in pairs on three texts, by two reviewers.
PAGES = [Page(0, 0, (0, 1)), Page(0, 1, (1, 2)), Page(1, 2, (0, 2)), Page(1, 0, (2, 1))]


def test_counts_are_those_of_the_pages():
    found = balance(PAGES, 3, 2)
    assert found.seen.tolist() == [[1, 2, 1], [1, 1, 2]]
    assert found.together.tolist() == [[0, 1, 1], [1, 0, 2], [1, 2, 0]]
    assert found.before.tolist() == [[0, 1, 1], [0, 0, 1], [0, 1, 0]]
    assert found.places.tolist() == [[2, 0], [1, 2], [1, 2]]
    assert found.places_by_reviewer[0].tolist() == [[1, 0], [1, 1], [0, 1]]
    assert found.pages.tolist() == [2, 2]
    assert found.shared.tolist() == [[0, 1], [1, 0]]  # output of system 1 on text 0
    assert (found.seen_range, found.together_range, found.before_range, found.places_range) == (1, 1, 1, 2)
    assert (found.places_range_of_a_reviewer, found.pages_range, found.pages_of_an_item) == (1, 0, 1)
    assert found.connected
    assert not found.balanced
    assert found.words == (
        "Each reviewer has 2 pages and sees each system 1 to 2 times: the counts of the systems for one reviewer "
        "differ by 1 at most. Each two systems stand together on 1 to 2 pages. Each system stands at each place on "
        "the page 0 to 2 times; the counts of the places of a system for one reviewer differ by 1 at most. Of two "
        "systems, one stands before the other at most 1 time more than after. The average efficiency factor is "
        "0.74 (1 when every page shows all systems)."
    )


def test_perfect_balance_is_said_without_ranges():
    found = balance([Page(0, 0, (0, 1)), Page(0, 1, (1, 0)), Page(1, 0, (1, 0)), Page(1, 1, (0, 1))], 2, 2)
    assert found.words == (
        "Each reviewer has 2 pages and sees each system 2 times. Each two systems stand together on 4 pages. Each "
        "system stands at each place on the page 2 times; the counts of the places of a system for one reviewer are "
        "equal. Each system stands as often before as after each other one. Every page shows all systems."
    )


@pytest.mark.parametrize(
    ("blocks", "systems", "efficiency"),
    [
        ([(0, 1), (1, 2), (0, 2)], 3, 3 / 4),  # balanced: t (k - 1) / (k (t - 1))
        ([(0, 1, 2), (0, 3, 4), (0, 5, 6), (1, 3, 5), (1, 4, 6), (2, 3, 6), (2, 4, 5)], 7, 7 / 9),  # the Fano plane
        ([(0, 1), (2, 3), (0, 2), (1, 3)], 4, 3 / 5),  # a square: the factors are 1/2, 1/2 and 1
        ([(0, 1, 2), (0, 1, 2)], 3, 1),
    ],
)
def test_the_efficiency_factor_is_that_of_the_information_matrix(blocks, systems, efficiency):
    found = balance([Page(0, item, block) for item, block in enumerate(blocks)], systems, 1)
    assert found.efficiency == pytest.approx(efficiency)
    assert found.reason == ""


@pytest.mark.parametrize(
    ("blocks", "systems", "reason"),
    [
        ([(0,), (1,)], 2, "across pages"),
        ([(0, 1), (2, 3)], 4, "do not link all systems"),
        ([(0, 1)], 3, "A system stands on no page"),
        ([], 3, "no two systems"),
        ([(0,)], 1, "no two systems"),
    ],
)
def test_where_there_is_no_efficiency_factor_the_reason_is_said(blocks, systems, reason):
    found = balance([Page(0, item, block) for item, block in enumerate(blocks)], systems, 1)
    assert found.efficiency is None
    assert reason in found.reason
    assert found.words


def test_reviewers_who_share_nothing_are_named():
    found = balance([Page(0, 0, (0, 1)), Page(1, 1, (0, 1))], 2, 2)
    assert not found.connected
    assert "No two reviewers share an output" in found.words


def test_reviewers_in_separate_circles_are_named():
    pages = [Page(reviewer, reviewer // 2, (0, 1)) for reviewer in range(4)]
    found = balance(pages, 2, 4)
    assert not found.connected
    assert "Not all reviewers are linked" in found.words
    assert balance([*pages, Page(1, 1, (0, 1))], 2, 4).connected
