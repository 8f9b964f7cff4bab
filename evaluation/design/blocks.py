"""Which outputs of an item stand together on a page, and who sees them.

The design is found by search, as is usual for incomplete blocks of arbitrary size (John and Williams, *Cyclic and
Computer Generated Designs*, 1995): a first design made item by item, always of what is behind so far, is
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
TRIES = 60_000  # exchanges in a phase of the search
# What a reviewer's square counts beside one of the pairs, and how much worse an exchange may make it, at first and at
# last. The first phase takes nothing worse; the last is for reviewers whose systems are still uneven.
LAST = 6
PHASES = ((2, 0.0, 0.0), (2, 3.0, 0.3), (2, 6.0, 0.2), (LAST, 6.0, 0.2))
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
    exchange = Exchange(made, _seers(made, systems, reviewers, rng), systems, reviewers, rng)
    exchange.run()
    return [[(pack.reviewer, pack.blocks) for pack in packs] for packs in exchange.items]


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


class _Held:
    """A pack with the reviewer who has it."""

    __slots__ = ("blocks", "reviewer", "systems")

    def __init__(self, blocks: Pack, reviewer: int) -> None:
        self.blocks, self.reviewer = blocks, reviewer
        self.systems = {s for block in blocks for s in block}


class Exchange:
    """Exchanges until pairs of systems meet equally often and reviewers see all systems equally often.

    Two blocks of an item exchange a system; or two reviewers exchange their packs of an item; or one gives another a
    pack of an item that this one has not, and gets one of another item back. Each of these keeps the sizes of pages,
    the number of ratings of each output, and who gets how many pages.
    """

    weight = 1  # what a reviewer's square counts, where one of the pairs counts 1

    def __init__(
        self, made: list[list[Pack]], seers: list[np.ndarray], systems: int, reviewers: int, rng: random.Random
    ) -> None:
        self.draw, self.systems = rng.random, systems
        self.together = [[0] * systems for _ in range(systems)]
        self.seen = [[0] * systems for _ in range(reviewers)]
        self.items = [
            [_Held(pack, reviewer) for pack, reviewer in zip(packs, who.tolist(), strict=True)]
            for packs, who in zip(made, seers, strict=True)
        ]
        for packs in self.items:
            for pack in packs:
                for block in pack.blocks:
                    for a in block:
                        self.seen[pack.reviewer][a] += 1
                        for b in block:
                            if a != b:
                                self.together[a][b] += 1
        # A block as its item, its pack and itself.
        self.blocks = [[(pack, block) for pack in packs for block in pack.blocks] for packs in self.items]
        self.tries = min(TRIES, 1_000 * sum(map(len, self.blocks)))

    def _left(self, weight: int) -> int:
        """How far the sums of squares are above those of counts that differ by one at most."""
        pairs = [self.together[a][b] for a in range(self.systems) for b in range(a)]
        return weight * sum(map(_excess, self.seen)) + _excess(pairs)

    def run(self) -> None:
        """Search until all is even, in `PHASES`; what reviewers see counts more when not all can be."""
        if self.systems < 2:
            return
        best, state = self._left(LAST), self._state()
        for weight, hot, cold in PHASES:
            if best == 0 or (weight == LAST and self._left(LAST) == self._left(0)):
                break
            self.weight = weight
            self._search(hot, cold)
            if (left := self._left(LAST)) <= best:
                best, state = left, self._state()
        self._restore(state)

    def _state(self) -> list[list[tuple[int, Pack]]]:
        return [[(pack.reviewer, [list(block) for block in pack.blocks]) for pack in packs] for packs in self.items]

    def _restore(self, state: list[list[tuple[int, Pack]]]) -> None:
        """Back to an earlier state; the counts are not used any more."""
        for packs, earlier in zip(self.items, state, strict=True):
            for pack, (reviewer, blocks) in zip(packs, earlier, strict=True):
                pack.reviewer = reviewer
                for block, was in zip(pack.blocks, blocks, strict=True):
                    block[:] = was

    def _search(self, hot: float, cold: float) -> None:
        """Try exchanges, worse ones with a chance that falls; stop as soon as nothing is left."""
        draw, count, people, tries = self.draw, len(self.items), len(self.seen), self.tries
        left = self._left(self.weight)
        for turn in range(tries):
            # What may be lost in this turn: an exponential variable, as in annealing.
            patience = -hot * (cold / hot) ** (turn / tries) * math.log(1 - draw()) if hot else 0.0
            item = int(draw() * count)
            if people > 1 and draw() < 0.5:
                left += self._trade(item, patience)
            else:
                left += self._swap(item, patience)
            if left == 0:
                break

    def _swap(self, item: int, patience: float) -> int:
        """Two blocks of an item exchange a system, if that loses no more than `patience`; returns the change."""
        draw, together, mine = self.draw, self.together, self.blocks[item]
        one, other = int(draw() * len(mine)), int(draw() * (len(mine) - 1))
        other += other >= one
        if other == len(mine):
            return 0
        (mine_of, first), (theirs, second) = mine[one], mine[other]
        at, to = int(draw() * len(first)), int(draw() * len(second))
        x, y = first[at], second[to]
        if x == y or (mine_of is not theirs and (y in mine_of.systems or x in theirs.systems)):
            return 0
        change = 0
        for z in first:
            if z != x and z not in second:
                change += 2 * (together[y][z] - together[x][z]) + 2
        for z in second:
            if z != y and z not in first:
                change += 2 * (together[x][z] - together[y][z]) + 2
        his, hers = self.seen[mine_of.reviewer], self.seen[theirs.reviewer]
        if his is not hers:
            change += self.weight * 2 * (his[y] - his[x] + hers[x] - hers[y] + 2)
        if change > patience:
            return 0
        for block, gone, come in ((first, x, y), (second, y, x)):
            for z in block:
                if z != gone:
                    together[gone][z] -= 1
                    together[z][gone] -= 1
                    together[come][z] += 1
                    together[z][come] += 1
        first[at], second[to] = y, x
        if mine_of is not theirs:
            mine_of.systems ^= {x, y}
            theirs.systems ^= {x, y}
            his[x] -= 1
            his[y] += 1
            hers[y] -= 1
            hers[x] += 1
        return change

    def _trade(self, item: int, patience: float) -> int:
        """Two reviewers exchange packs, of one item or of two, if that loses no more than `patience`."""
        draw, packs = self.draw, self.items[item]
        given = packs[int(draw() * len(packs))]
        one, other = given.reviewer, int(draw() * (len(self.seen) - 1))
        other += other >= one
        taken = next((pack for pack in packs if pack.reviewer == other), None)
        if taken is None:
            elsewhere = self.items[int(draw() * len(self.items))]
            for pack in elsewhere:
                if pack.reviewer == one:
                    return 0
                if pack.reviewer == other:
                    taken = pack
        if taken is None or len(taken.blocks) != len(given.blocks):
            return 0
        his, hers = self.seen[one], self.seen[other]
        gone, come = given.systems - taken.systems, taken.systems - given.systems
        change = 0
        for s in gone:
            change += 2 * (hers[s] - his[s]) + 2
        for s in come:
            change += 2 * (his[s] - hers[s]) + 2
        change *= self.weight
        if change > patience:
            return 0
        for s in gone:
            his[s] -= 1
            hers[s] += 1
        for s in come:
            his[s] += 1
            hers[s] -= 1
        given.reviewer, taken.reviewer = other, one
        return change


def _excess(counts: list[int]) -> int:
    least, more = divmod(sum(counts), len(counts)) if counts else (0, 0)
    return sum(count * count for count in counts) - (len(counts) * least * least + more * (2 * least + 1))
