"""In which order the outputs of each page are shown.

Pages of one reviewer with the same systems are put into whole Williams squares (Williams 1949, *Australian Journal of
Scientific Research A* 2, 149-168): there every system stands equally often at each place and follows each other one
equally often. The pages left over get their places by flows with lower and upper bounds, one place at a time. The
bounds, a system's count for a reviewer within its count for all, are nested, and giving the place 1/k of everything
meets them; so there is a flow in whole numbers that meets them (Ford and Fulkerson, *Flows in Networks*, 1962), and
every system has every place equally often, for each reviewer and overall, up to one. Then exchanges within pages even
out which of two systems comes first, as far as places stay as even as they are.
"""

import itertools
import random
from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_flow

Order = tuple[int, ...]

SWEEPS = 6


def williams(size: int) -> list[Order]:
    """Rows in which each of `size` treatments stands equally often at each place, and equally often right after each
    other one: `size` rows, or twice as many for an odd size.
    """
    first = [0]
    for step in range(1, size):
        first.append((first[-1] + (step if step % 2 else -step)) % size)
    rows = [tuple((place + shift) % size for place in first) for shift in range(size)]
    return rows if size % 2 == 0 or size == 1 else rows + [row[::-1] for row in rows]


def ordered(pages: Sequence[tuple[int, Sequence[int]]], systems: int, rng: random.Random) -> list[Order]:
    """The systems of each page in the order shown.

    Args:
        pages: (reviewer, systems in any order), all of the same size.
    """
    if not pages:
        return []
    size = len(pages[0][1])
    shown: list[Order] = [tuple(members) for _, members in pages]
    if size == 1:
        return shown
    groups: dict[tuple[int, Order], list[int]] = defaultdict(list)
    for number, (reviewer, members) in enumerate(pages):
        groups[reviewer, tuple(sorted(members))].append(number)
    square = williams(size)
    left: list[int] = []
    for (_, members), numbers in groups.items():
        rng.shuffle(numbers)
        whole = len(numbers) // len(square) * len(square)
        for start in range(0, whole, len(square)):
            names = list(members)
            rng.shuffle(names)
            for number, row in zip(numbers[start : start + len(square)], square, strict=True):
                shown[number] = tuple(names[place] for place in row)
        left += numbers[whole:]
    rng.shuffle(left)
    for number, order in zip(left, _places([pages[number] for number in left], systems, rng), strict=True):
        shown[number] = order
    _even_out(pages, shown, left, systems, rng)
    return shown


def _places(pages: list[tuple[int, Sequence[int]]], systems: int, rng: random.Random) -> list[Order]:
    """Give the places to the systems of each page, each place by one flow."""
    if not pages:
        return []
    size = len(pages[0][1])
    rest = [list(members) for _, members in pages]
    for members in rest:
        rng.shuffle(members)
    given: list[list[int]] = [[] for _ in pages]
    for share in range(size, 1, -1):
        for number, system in enumerate(_one_place([reviewer for reviewer, _ in pages], rest, systems, share)):
            given[number].append(system)
            rest[number].remove(system)
    for members, last in zip(given, rest, strict=True):
        members += last
    places = list(range(size))
    rng.shuffle(places)
    return [tuple(members[place] for place in places) for members in given]


def _one_place(reviewers: list[int], rest: list[list[int]], systems: int, share: int) -> list[int]:
    """One of the remaining systems of each page, so that of each reviewer's and of all pages of a system a `share`-th
    is chosen, rounded down or up.
    """
    pages = len(rest)
    cells = Counter((reviewer, s) for reviewer, members in zip(reviewers, rest, strict=True) for s in members)
    totals = Counter(s for members in rest for s in members)
    node = {cell: pages + number for number, cell in enumerate(cells)}
    top = pages + len(node)
    source, sink = top + systems, top + systems + 1
    outside, inside = sink + 1, sink + 2  # supply and demand of the lower bounds
    edges: dict[tuple[int, int], int] = {(sink, source): pages}
    surplus: Counter[int] = Counter()

    def bounded(tail: int, head: int, low: int, high: int) -> None:
        edges[tail, head] = high - low
        surplus[head] += low
        surplus[tail] -= low

    for page, members in enumerate(rest):
        bounded(source, page, 1, 1)
        for s in members:
            edges[page, node[reviewers[page], s]] = 1
    for (reviewer, s), count in cells.items():
        bounded(node[reviewer, s], top + s, count // share, -(-count // share))
    for s, count in totals.items():
        bounded(top + s, sink, count // share, -(-count // share))
    for vertex, amount in surplus.items():
        if amount > 0:
            edges[outside, vertex] = amount
        elif amount < 0:
            edges[vertex, inside] = -amount
    tails, heads = np.array(list(edges)).T
    capacities = np.fromiter(edges.values(), dtype=np.int32, count=len(edges))
    graph = csr_array((capacities, (tails, heads)), shape=(inside + 1, inside + 1), dtype=np.int32)
    result = maximum_flow(graph, outside, inside)
    flow = result.flow.tocoo()
    chosen = [-1] * pages
    cell_of = {number: cell for cell, number in node.items()}
    for tail, head, amount in zip(flow.row.tolist(), flow.col.tolist(), flow.data.tolist(), strict=True):
        if amount > 0 and tail < pages and head < top:
            chosen[tail] = cell_of[head][1]
    return chosen


def _even_out(
    pages: Sequence[tuple[int, Sequence[int]]], shown: list[Order], left: list[int], systems: int, rng: random.Random
) -> None:
    """Exchange two systems on a page where that makes it more even which of two systems comes first, overall and for
    each reviewer, and leaves the sums of squares of the places as small as they are.
    """
    place: Counter[tuple[int, int]] = Counter()  # system, place
    own: Counter[tuple[int, int, int]] = Counter()  # reviewer, system, place
    before = [[0] * systems for _ in range(systems)]
    first: Counter[tuple[int, int, int]] = Counter()  # reviewer, one before, other
    for (reviewer, _), order in zip(pages, shown, strict=True):
        for number, s in enumerate(order):
            place[s, number] += 1
            own[reviewer, s, number] += 1
            for later in order[number + 1 :]:
                before[s][later] += 1
                first[reviewer, s, later] += 1
    left = list(left)
    swaps = list(itertools.combinations(range(len(shown[0])), 2))
    for _ in range(SWEEPS):
        rng.shuffle(left)
        moved = False
        for number in left:
            reviewer, order = pages[number][0], shown[number]
            for i, j in swaps:
                a, b = order[i], order[j]
                moves = ((a, i, j), (b, j, i))
                overall = sum(place[s, to] - place[s, at] + 1 for s, at, to in moves)
                alone = sum(own[reviewer, s, to] - own[reviewer, s, at] + 1 for s, at, to in moves)
                if overall > 0 or alone > 0:
                    continue
                turned = [(a, b)] + [pair for c in order[i + 1 : j] for pair in ((a, c), (c, b))]
                gain = sum(before[p][q] - before[q][p] - 1 for p, q in turned)
                gain += sum(first[reviewer, p, q] - first[reviewer, q, p] - 1 for p, q in turned)
                if gain <= 0 and overall == alone == 0:
                    continue
                for s, at, to in moves:
                    place[s, at] -= 1
                    place[s, to] += 1
                    own[reviewer, s, at] -= 1
                    own[reviewer, s, to] += 1
                for p, q in turned:
                    before[p][q] -= 1
                    before[q][p] += 1
                    first[reviewer, p, q] -= 1
                    first[reviewer, q, p] += 1
                swapped = list(order)
                swapped[i], swapped[j] = b, a
                shown[number] = order = tuple(swapped)
                moved = True
        if not moved:
            break
