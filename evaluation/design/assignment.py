"""Who sees which outputs on which page, in which order: the plan of a study, what is possible, and the pages.

An *output* is what one system made of one item. Each output is rated by `ratings_per_output` different reviewers; a
page shows `per_page` outputs of one item. With as many outputs on a page as there are systems and as many ratings as
reviewers, the design is the complete block design: everybody sees every item once, whole. With fewer it is an
incomplete block design, made as balanced as its sizes allow (Cochran and Cox, *Experimental Designs*, 1957, chapters 9
and 11); `balance.balance` says how balanced it is.
"""

import random
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import gcd, lcm
from typing import Literal

MAX_SYSTEMS = 20
GAP = 10  # pages between a page and its repeat, where there are enough


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The sizes of a study."""

    items: int
    systems: int
    reviewers: int
    per_page: int  # outputs on a page
    ratings_per_output: int  # different reviewers who see each output

    @property
    def complete(self) -> bool:
        """Whether everybody sees every output of every item on one page."""
        return self.per_page == self.systems and self.ratings_per_output == self.reviewers


@dataclass(frozen=True, slots=True)
class Page:
    """Outputs of one item that one reviewer sees together, in the order shown. All numbers count from 0."""

    reviewer: int
    item: int
    systems: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Size:
    """How large a plan is. Pairs are (least, most) over reviewers."""

    slots: int  # outputs shown, over all reviewers
    pages: int
    pages_per_item: int
    pages_per_reviewer: tuple[int, int]
    outputs_per_reviewer: tuple[int, int]
    pages_of_an_item: int  # that one reviewer sees at most


def size(plan: Plan) -> Size:
    """How much work a plan is. The plan must be possible (`check`)."""
    per_item = plan.systems * plan.ratings_per_output // plan.per_page
    pages = plan.items * per_item
    least, most = pages // plan.reviewers, -(-pages // plan.reviewers)
    return Size(
        slots=pages * plan.per_page,
        pages=pages,
        pages_per_item=per_item,
        pages_per_reviewer=(least, most),
        outputs_per_reviewer=(least * plan.per_page, most * plan.per_page),
        pages_of_an_item=-(-per_item // plan.reviewers),
    )


# What is possible


def ratings_possible(systems: int, per_page: int, reviewers: int) -> list[int]:
    """The numbers of ratings per output that fill whole pages and that so many reviewers can give."""
    return [ratings for ratings in range(1, reviewers + 1) if _fits(systems, per_page, ratings, reviewers)]


def per_page_possible(systems: int, ratings: int, reviewers: int, most: int = 4) -> list[int]:
    """The numbers of outputs on a page, up to `most`, that go with so many ratings of each output."""
    return [k for k in range(1, min(systems, most) + 1) if _fits(systems, k, ratings, reviewers)]


def reviewers_needed(systems: int, per_page: int, ratings: int) -> int:
    """The fewest reviewers that can give each output so many ratings, none seeing an output twice."""
    pages = systems * ratings // per_page
    return max(ratings, -(-pages // (systems // per_page)))


def _fits(systems: int, per_page: int, ratings: int, reviewers: int) -> bool:
    """A reviewer can see at most `systems // per_page` pages of an item without seeing an output twice; as long as
    that is enough for all pages of an item, a design exists (Gale and Ryser's theorem on 0-1 matrices).
    """
    return systems * ratings % per_page == 0 and reviewers_needed(systems, per_page, ratings) <= reviewers


@dataclass(frozen=True, kw_only=True)
class Option:
    """Sizes that work, for a form to offer."""

    per_page: int
    ratings_per_output: int
    size: Size
    complete: bool


def options(items: int, systems: int, reviewers: int, *, per_page: Iterable[int] = (1, 2, 3, 4)) -> list[Option]:
    """Everything that works with so many systems and reviewers, by outputs on a page, then by ratings."""
    found = []
    for k in sorted(set(per_page)):
        if not 1 <= k <= systems:
            continue
        for ratings in ratings_possible(systems, k, reviewers):
            plan = Plan(items=items, systems=systems, reviewers=reviewers, per_page=k, ratings_per_output=ratings)
            found.append(
                Option(per_page=k, ratings_per_output=ratings, size=size(plan), complete=plan.complete),
            )
    return found


def check(plan: Plan) -> list[str]:
    """Everything that makes a plan impossible, each with what to choose instead. Empty when the plan works."""
    problems = []
    for number, what in (
        (plan.items, "text"),
        (plan.systems, "system"),
        (plan.reviewers, "reviewer"),
        (plan.per_page, "output on a page"),
        (plan.ratings_per_output, "rating of each output"),
    ):
        if number < 1:
            problems.append(f"At least one {what} is needed.")
    if problems:
        return problems
    t, k, r, reviewers = plan.systems, plan.per_page, plan.ratings_per_output, plan.reviewers
    if t > MAX_SYSTEMS:
        problems.append(f"A study compares at most {MAX_SYSTEMS} systems; there are {t}.")
    if k > t:
        problems.append(
            f"A page cannot show {k} different outputs of a text when there are {_count(t, 'system')}. "
            f"Show {t} or fewer on a page, or add systems."
        )
    if r > reviewers:
        problems.append(
            f"Each output is to be rated by {r} different reviewers; there {'is' if reviewers == 1 else 'are'} "
            f"{reviewers}. Add {_count(r - reviewers, 'reviewer')}, or ask for {_count(reviewers, 'rating')} or fewer."
        )
    if problems:
        return problems
    if t * r % k:
        step = k // gcd(t, k)
        near = [ratings for ratings in (r // step * step, (r // step + 1) * step) if ratings >= 1]
        ways = [_ratings(ratings, _needed(t, k, ratings, reviewers)) for ratings in near]
        pages = [f"{one} on a page" for one in per_page_possible(t, r, reviewers) if one != k]
        problems.append(
            f"{_count(t, 'system')} with {_count(r, 'rating')} of each output make {t * r} outputs to show for each "
            f"text, which do not fill whole pages of {k}. Choose {_either(ways)}"
            + (f"; or keep {_count(r, 'rating')} and show {_either(pages)}." if pages else ".")
        )
    elif (needed := reviewers_needed(t, k, r)) > reviewers:
        fewer = [ratings for ratings in ratings_possible(t, k, reviewers) if ratings < r]
        pages = [f"{one} on a page" for one in per_page_possible(t, r, reviewers) if one != k]
        ways = [f"at least {needed} reviewers"]
        ways += [f"{_count(max(fewer), 'rating')} of each output"] if fewer else []
        ways += [_either(pages)] if pages else []
        at_once = t // k
        problems.append(
            f"Each text has {t * r // k} pages, and without seeing an output twice one reviewer can take "
            f"{'only one' if at_once == 1 else f'at most {at_once}'} of them: {_count(reviewers, 'reviewer')} are too "
            f"few. Choose {_either(ways)}."
        )
    elif (pages_of_all := plan.items * t * r // k) < reviewers:
        problems.append(
            f"There are only {_count(pages_of_all, 'page')} for {_count(reviewers, 'reviewer')}, so somebody would get "
            "none. Choose more texts, more ratings of each output, or fewer reviewers."
        )
    return problems


def _needed(systems: int, per_page: int, ratings: int, reviewers: int) -> int:
    """The reviewers that a number of ratings needs, or 0 when there are enough."""
    needed = reviewers_needed(systems, per_page, ratings)
    return needed if needed > reviewers else 0


def _ratings(ratings: int, needed: int) -> str:
    return f"{_count(ratings, 'rating')} of each output" + (f" (with {needed} reviewers or more)" if needed else "")


def _count(n: int, noun: str) -> str:
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def _either(ways: Sequence[str]) -> str:
    return ways[0] if len(ways) == 1 else f"{', '.join(ways[:-1])} or {ways[-1]}"


# The pages


def assign(plan: Plan, rng: random.Random) -> list[Page]:
    """The pages of a study, in no meaningful order.

    Each output is seen by `ratings_per_output` different reviewers and by none of them twice. A reviewer sees an item
    on one page, and on more only where the reviewers would not be enough otherwise. Reviewers get equally many pages
    (up to one), each of them sees the systems equally often, pairs of systems share a page equally often, and each
    system has each place on the page equally often, overall and for each reviewer.

    Raises:
        ValueError: the plan is impossible, for the reasons of `check`.
    """
    from evaluation.design import blocks, counterbalance  # load scipy, so only where pages are really made

    if problems := check(plan):
        raise ValueError(" ".join(problems))
    # Reviewers and systems are relabelled at random, so that who comes first in a list is nothing special.
    people, names = list(range(plan.reviewers)), list(range(plan.systems))
    rng.shuffle(people)
    rng.shuffle(names)
    made = blocks.design(plan.items, plan.systems, plan.reviewers, plan.per_page, plan.ratings_per_output, rng)
    rows = [
        (item, people[reviewer], [names[s] for s in block])
        for item, packs in enumerate(made)
        for reviewer, pack in packs
        for block in pack
    ]
    orders = counterbalance.ordered([(reviewer, members) for _, reviewer, members in rows], plan.systems, rng)
    pages = [Page(reviewer, item, order) for (item, reviewer, _), order in zip(rows, orders, strict=True)]
    rng.shuffle(pages)
    return pages


def order(pages: Iterable[Page], rng: random.Random) -> dict[int, list[Page]]:
    """Each reviewer's pages in random order, pages of one item as far apart as they go.

    Where every item has m pages for a reviewer, the items come m times in one random order, so two pages of an item
    are as many pages apart as there are items.
    """
    of: dict[int, dict[int, list[Page]]] = defaultdict(lambda: defaultdict(list))
    for page in pages:
        of[page.reviewer][page.item].append(page)
    orders = {}
    for reviewer in sorted(of):
        items = sorted(of[reviewer])
        rng.shuffle(items)
        whole = lcm(*(len(own) for own in of[reviewer].values()))
        keyed = []
        for number, item in enumerate(items):
            own = sorted(of[reviewer][item], key=lambda page: page.systems)
            rng.shuffle(own)
            # A page has its place on a line of whole numbers; those of an item with m pages are 1/m of it apart.
            step = whole // len(own)
            keyed += [((number + turn * len(items)) * step, number, page) for turn, page in enumerate(own)]
        orders[reviewer] = [page for _, _, page in sorted(keyed, key=lambda row: row[:2])]
    return orders


Kind = Literal["practice", "rating", "check", "repeat"]


@dataclass(frozen=True, slots=True)
class Placed:
    """One page of a reviewer's whole sequence.

    `page` is what a rating or a repeat shows; a practice page or an attention check has its `number` instead, from 0.
    `original` is the place in the sequence of the page that is repeated.
    """

    kind: Kind
    page: Page | None = None
    number: int | None = None
    original: int | None = None


def check_places(pages: int, *, checks: int, repeats: int, gap: int = GAP) -> list[str]:
    """What keeps checks and repeats from finding room among a reviewer's pages, in words. Empty when they fit."""
    problems = []
    if checks > max(0, pages - 1):
        problems.append(
            f"{_count(checks, 'attention check')} do not fit between {_count(pages, 'page')}: "
            f"choose {max(0, pages - 1)} or fewer."
        )
    if repeats and repeats > (room := max(0, pages - gap + 1)):
        problems.append(
            f"A repeat comes at least {gap} pages after its original, so of {_count(pages, 'page')} at most "
            f"{room} can be repeated; you chose {repeats}. Choose fewer repeats or a smaller distance."
        )
    return problems


def place(
    orders: dict[int, list[Page]],
    *,
    checks: int = 0,
    repeats: int = 0,
    practice: int = 0,
    gap: int = GAP,
    rng: random.Random,
) -> dict[int, list[Placed]]:
    """Each reviewer's whole sequence: practice first, then the pages with attention checks and repeats among them.

    The pages are cut into as many equal stretches as there are checks; each has one at a random place, in an order of
    their own for each reviewer, and none is first or last of the ratings. Repeated pages are drawn among those that
    leave room, come at least `gap` places after their original, and show the same outputs in another order (a single
    output has only one).

    Args:
        checks, repeats, practice: how many of each every reviewer gets.

    Raises:
        ValueError: they do not fit, for the reasons of `check_places`.
    """
    placed = {}
    for reviewer, pages in orders.items():
        if problems := check_places(len(pages), checks=checks, repeats=repeats, gap=gap):
            raise ValueError(" ".join(problems))
        before: dict[int, list[tuple[Kind, int]]] = defaultdict(list)  # the page that something comes before
        for original in rng.sample(range(max(0, len(pages) - gap + 1)), repeats):
            before[rng.randint(original + gap, len(pages))].append(("repeat", original))
        # The gaps between pages, 1 to n - 1, in equal stretches.
        edges = [1 + stretch * (len(pages) - 1) // checks for stretch in range(checks)] + [len(pages)]
        numbers = list(range(checks))
        rng.shuffle(numbers)
        for (start, end), number in zip(pairwise(edges), numbers, strict=True):
            before[rng.randrange(start, end)].append(("check", number))
        sequence = [Placed("practice", number=number) for number in range(practice)]
        at: dict[int, int] = {}
        for turn in range(len(pages) + 1):
            rng.shuffle(before[turn])
            for kind, number in before[turn]:
                if kind == "check":
                    sequence.append(Placed("check", number=number))
                else:
                    again = _reordered(pages[number], rng)
                    sequence.append(Placed("repeat", page=again, original=at[number]))
            if turn < len(pages):
                at[turn] = len(sequence)
                sequence.append(Placed("rating", page=pages[turn]))
        placed[reviewer] = sequence
    return placed


def _reordered(page: Page, rng: random.Random) -> Page:
    """The same outputs in another order: none at the place it had."""
    names = list(page.systems)
    while len(names) > 1 and any(a == b for a, b in zip(names, page.systems, strict=True)):
        rng.shuffle(names)
    return Page(page.reviewer, page.item, tuple(names))
