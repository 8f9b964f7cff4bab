"""Which outputs of an item stand together on a page, and who sees them.

The design is found by search, as is usual for incomplete blocks of arbitrary size (John and Williams, *Cyclic and
Computer Generated Designs*, 1995, chapter 4): a first design made item by item, always of what is behind so far, is
improved by exchanges until it is as even as its sizes allow, or a fixed number of tries is used up.

A *block* is a list of k different systems, a *pack* the blocks of one item that one reviewer gets. What is
minimised is a sum of squares, which for a given total is smallest where the counts differ by one at most.
"""

import math
import random

import numpy as np
from scipy.optimize import linear_sum_assignment

Block = list[int]
Pack = list[Block]

PASSES = 4  # over all items, when reviewers are exchanged; more for few items
CHOICES = 6_000  # of one item's reviewers, at most, unless that is less than PASSES
TRIES = 60_000  # exchanges of two systems, three times at most
# What is even matters in this order: pages of a reviewer, systems of a reviewer, pairs of systems of a reviewer.
WEIGHTS = (1_000.0, 10.0, 0.5)
NOISE = (40.0, 0.1)  # added to the costs, falling: leads out of dead ends, and draws one of equally good choices


def design(
    items: int, systems: int, reviewers: int, per_page: int, ratings: int, rng: random.Random
) -> list[list[tuple[int, Pack]]]:
    """For each item its packs, each with its reviewer. The sizes must have been checked by `assignment.check`."""
    made = _packs(items, systems, reviewers, per_page, ratings, rng)
    nobody = [np.zeros(len(packs), dtype=int) for packs in made]
    Exchange(made, nobody, systems, 1, rng).run()  # first the pairs alone, which is easier
    seers = _seers(made, systems, reviewers, rng)
    Exchange(made, seers, systems, reviewers, rng).run()
    return [list(zip(seers[item].tolist(), made[item], strict=True)) for item in range(items)]


def _packs(
    items: int, systems: int, reviewers: int, per_page: int, ratings: int, rng: random.Random
) -> list[list[Pack]]:
    """Packs in which every system of every item has `ratings` blocks, and pairs of systems meet about equally often."""
    pages = systems * ratings // per_page
    least, more = divmod(pages, reviewers)
    sizes = [least + 1] * more + ([least] * (reviewers - more) if least else [])
    together = [[0] * systems for _ in range(systems)]
    made = []
    for _ in range(items):
        needs = [ratings] * systems
        packs = []
        for size in sizes:
            # Taking what is needed most keeps all needs within one of each other, so the rest always works out.
            want = size * per_page
            order = sorted(range(systems), key=lambda s: (-needs[s], rng.random()))
            cut = needs[order[want - 1]]
            forced = [s for s in order if needs[s] > cut]
            free = [s for s in order if needs[s] == cut]
            if size == 1:
                pack = [_grow(forced, free, per_page, together)]
            else:
                rest = forced + free[: want - len(forced)]
                rng.shuffle(rest)
                pack = []
                for _ in range(size):
                    block = _grow([rest[0]], rest[1:], per_page, together)
                    rest = [s for s in rest if s not in block]
                    pack.append(block)
            for block in pack:
                for a in block:
                    needs[a] -= 1
                    for b in block:
                        together[a][b] += 1
            packs.append(pack)
        made.append(packs)
    return made


def _grow(start: Block, free: list[int], size: int, together: list[list[int]]) -> Block:
    """Add to a block those that have met its members least; the first of equals in the order given."""
    block, free = list(start), list(free)
    while len(block) < size:
        chosen = min(free, key=lambda s: sum(together[s][member] for member in block))
        block.append(chosen)
        free.remove(chosen)
    return block


def _seers(made: list[list[Pack]], systems: int, reviewers: int, rng: random.Random) -> list[np.ndarray]:
    """The reviewer of each pack, all of one item different.

    For one item the cost is a sum over packs, so the best choice is a linear assignment; several passes over the
    items come down to a choice that no single item can better.
    """
    drawn = np.random.default_rng(rng.getrandbits(64))
    meet = np.triu_indices(systems, 1)
    features = []
    for packs in made:
        rows = []
        for pack in packs:
            shown = np.zeros((len(pack), systems))
            for row, block in enumerate(pack):
                shown[row, block] = 1
            rows.append(np.concatenate([[len(pack)], shown.sum(0), (shown.T @ shown)[meet]]))
        features.append(np.array(rows))
    width = features[0].shape[1]
    weights = np.full(width, WEIGHTS[2])
    weights[0], weights[1 : 1 + systems] = WEIGHTS[0], WEIGHTS[1]
    counts = np.zeros((reviewers, width))
    chosen: list[np.ndarray] = [np.empty(0, dtype=int)] * len(made)
    order = list(range(len(made)))
    passes = max(PASSES, CHOICES // len(made))
    best, kept = math.inf, chosen
    for turn in range(passes):
        # Cycles of ten passes, the first of each with most noise; but the first pass of all with little.
        hot = (turn - 1) % 10 / 9 if turn else 1.0
        noise = NOISE[0] * (NOISE[1] / NOISE[0]) ** hot if passes > PASSES else NOISE[1]
        rng.shuffle(order)
        for item in order:
            mine = features[item]
            if turn:
                counts[chosen[item]] -= mine
            cost = (mine * weights) @ counts.T + drawn.random((len(mine), reviewers)) * noise
            chosen[item] = linear_sum_assignment(cost)[1]
            counts[chosen[item]] += mine
        seen = counts[:, 1 : 1 + systems]
        uneven = float((seen**2).sum()) + WEIGHTS[0] * float((counts[:, 0] ** 2).sum())
        if uneven < best:
            best, kept = uneven, list(chosen)
        if np.ptp(counts[:, 0]) <= 1 and (seen.max(1) - seen.min(1)).max() <= 1:
            break
    return kept


class Exchange:
    """Exchange systems between blocks of an item until pairs and reviewers have all systems equally often.

    Every exchange keeps the sizes of pages, the number of ratings of each output, and who gets how many pages.
    """

    REVIEWERS, PAIRS = 2, 1  # what a square counts

    def __init__(
        self, made: list[list[Pack]], seers: list[np.ndarray], systems: int, reviewers: int, rng: random.Random
    ) -> None:
        self.rng, self.systems = rng, systems
        self.blocks: list[list[tuple[Block, set[int], int]]] = []  # for each item: block, its pack's systems, reviewer
        self.together = [[0] * systems for _ in range(systems)]
        self.seen = [[0] * systems for _ in range(reviewers)]
        for packs, who in zip(made, seers, strict=True):
            mine = []
            for pack, reviewer in zip(packs, who.tolist(), strict=True):
                whole = {s for block in pack for s in block}
                for block in pack:
                    mine.append((block, whole, reviewer))
                    for a in block:
                        self.seen[reviewer][a] += 1
                        for b in block:
                            if a != b:
                                self.together[a][b] += 1
            self.blocks.append(mine)

    def excess(self) -> int:
        """How far the sums of squares are above those of counts that differ by one at most."""
        pairs = [self.together[a][b] for a in range(self.systems) for b in range(a)]
        return self.PAIRS * _excess(pairs) + self.REVIEWERS * sum(map(_excess, self.seen))

    def run(self) -> None:
        if self.systems < 2 or (left := self.excess()) == 0:
            return
        left = self._tries(left, TRIES, 0.0, 0.0)
        if left:
            best, state = left, self._state()
            left = self._tries(left, 2 * TRIES, 2.0, 0.15)
            if left > best:
                self._restore(state)

    def _state(self) -> list[list[Block]]:
        return [[list(block) for block, _, _ in mine] for mine in self.blocks]

    def _restore(self, state: list[list[Block]]) -> None:
        """Back to an earlier state; the counts are not used any more."""
        for mine, blocks in zip(self.blocks, state, strict=True):
            for (block, _, _), earlier in zip(mine, blocks, strict=True):
                block[:] = earlier

    def _tries(self, left: int, tries: int, hot: float, cold: float) -> int:
        """Try exchanges, worse ones with a chance that falls as in annealing; stop as soon as nothing is left."""
        draw, together, seen = self.rng.random, self.together, self.seen
        items = len(self.blocks)
        for turn in range(tries):
            mine = self.blocks[int(draw() * items)]
            one, other = int(draw() * len(mine)), int(draw() * (len(mine) - 1))
            other += other >= one
            if other == len(mine):
                continue
            first, whole, reviewer = mine[one]
            second, rest, colleague = mine[other]
            at, to = int(draw() * len(first)), int(draw() * len(second))
            x, y = first[at], second[to]
            if x == y or (whole is not rest and (y in whole or x in rest)):
                continue
            change = 0
            for z in first:
                if z != x and z not in second:
                    change += 2 * (together[y][z] - together[x][z]) + 2
            for z in second:
                if z != y and z not in first:
                    change += 2 * (together[x][z] - together[y][z]) + 2
            change *= self.PAIRS
            if reviewer != colleague:
                his, hers = seen[reviewer], seen[colleague]
                change += self.REVIEWERS * 2 * (his[y] - his[x] + hers[x] - hers[y] + 2)
            if change > 0 and (not hot or draw() >= math.exp(-change / (hot * (cold / hot) ** (turn / tries)))):
                continue
            for block, gone, come in ((first, x, y), (second, y, x)):
                for z in block:
                    if z != gone:
                        together[gone][z] -= 1
                        together[z][gone] -= 1
                        together[come][z] += 1
                        together[z][come] += 1
            first[at], second[to] = y, x
            if whole is not rest:
                whole.remove(x)
                whole.add(y)
                rest.remove(y)
                rest.add(x)
                seen[reviewer][x] -= 1
                seen[reviewer][y] += 1
                seen[colleague][y] -= 1
                seen[colleague][x] += 1
            left += change
            if left == 0:
                break
        return left


def _excess(counts: list[int]) -> int:
    least, more = divmod(sum(counts), len(counts)) if counts else (0, 0)
    return sum(count * count for count in counts) - (len(counts) * least * least + more * (2 * least + 1))
