"""Near-duplicates among texts: the measure, and the groups that texts which are near-duplicates form.

The measure is Jaccard's index of the sets of character 5-grams of two texts, after folding case and white space: how
many of the 5-grams that either has both have. Two texts are near-duplicates when it is at least a threshold, and
groups are the connected components of that relation.

Candidates come from MinHash signatures in bands (Broder 1997; Leskovec, Rajaraman and Ullman, Mining of Massive
Datasets, chapter 3); each candidate is then compared exactly, so that a text is never called a near-duplicate that is
none. Bands are chosen so that of two texts exactly at the threshold fewer than one in a thousand is missed. Nothing
here depends on a random generator, a platform or the order of arrival.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

SHINGLE = 5  # characters
HASHES = 128
MISSED = 1e-3  # of two texts exactly at the threshold, at most this share may be missed
THRESHOLDS = (0.6, 1.0)  # what may be asked for: below, chance alike counts; 1 is equal sets of 5-grams
BATCH = 500  # texts whose signatures are worked out together
LARGE_BUCKET = 64  # texts of one band's bucket up to which all are compared with all
COMPARED = 2_000  # candidates whose texts are in memory at once


def normalised(text: str) -> str:
    """Texts that differ in case or white space only count as the same text."""
    return " ".join(text.casefold().split())


def shingles(text: str) -> np.ndarray:
    """Sorted distinct 64-bit hashes of the 5-grams of a text; of a shorter text, one hash of the whole."""
    points = np.frombuffer(normalised(text).encode("utf-32-le", "surrogatepass"), dtype="<u4").astype(np.uint64)
    if len(points) < SHINGLE:
        points = np.concatenate([points, np.zeros(SHINGLE - len(points), np.uint64)])
    length = len(points) - SHINGLE + 1
    hashes = np.zeros(length, np.uint64)
    for place in range(SHINGLE):
        hashes = _mixed(hashes ^ (points[place : place + length] + _PLACES[place]))
    return np.unique(hashes)


def jaccard(one: np.ndarray, two: np.ndarray) -> float:
    """Jaccard's index of two results of `shingles`, 0 to 1."""
    both = len(np.intersect1d(one, two, assume_unique=True))
    return both / (len(one) + len(two) - both)


def bands(threshold: float) -> tuple[int, int]:
    """(number of bands, rows a band): as many rows as `MISSED` allows, for the fewest candidates."""
    fitting = [rows for rows in range(1, HASHES + 1) if (1 - threshold**rows) ** (HASHES // rows) <= MISSED]
    rows = fitting[-1]
    return HASHES // rows, rows


_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def _mixed(values: np.ndarray) -> np.ndarray:
    """The finaliser of splitmix64: every bit of the input decides about every bit of the result."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


# Constants instead of a generator: signatures, and so splits, are the same on every server and with every version.
_PLACES = np.arange(1, SHINGLE + 1, dtype=np.uint64) * _GOLDEN
_FACTORS = _mixed(np.arange(1, HASHES + 1, dtype=np.uint64) * _GOLDEN) | np.uint64(1)


def signatures(texts: Iterable[str], count: int, stop: Callable[[], None] = lambda: None) -> np.ndarray:
    """MinHash signatures, of shape (texts, HASHES)."""
    found = np.empty((count, HASHES), np.uint32)
    first = 0
    for batch in _batches(texts, BATCH):
        sets = [shingles(text) for text in batch]
        starts = np.concatenate([[0], np.cumsum([len(one) for one in sets])[:-1]])
        tokens = np.concatenate(sets)
        for number, factor in enumerate(_FACTORS):
            hashed = ((tokens * factor) >> np.uint64(32)).astype(np.uint32)
            found[first : first + len(batch), number] = np.minimum.reduceat(hashed, starts)
        first += len(batch)
        stop()
    return found


def candidates(found: np.ndarray, threshold: float) -> np.ndarray:
    """Pairs (i, j), i < j, of texts that may be near-duplicates, each once and in order; of shape (pairs, 2)."""
    count, codes = len(found), []
    number, rows = bands(threshold)
    # What a signature says of the index errs by 0.045 at most on average; four times that is left out without a look.
    least = (threshold - 4 * 0.5 / HASHES**0.5) * HASHES
    for band in range(number):
        keys = np.zeros(count, np.uint64)
        for column in range(band * rows, (band + 1) * rows):
            keys = _mixed(keys ^ found[:, column].astype(np.uint64) + _GOLDEN)
        order = np.argsort(keys, kind="stable")
        ordered = keys[order]
        edges = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1], [True]]))
        for first, last in itertools.pairwise(edges):
            if last - first > 1:
                pairs = _pairs(order[first:last], found, least)
                codes.append(pairs[:, 0].astype(np.int64) * count + pairs[:, 1])
    unique = np.unique(np.concatenate(codes)) if codes else np.empty(0, np.int64)
    return np.stack([unique // max(count, 1), unique % max(count, 1)], axis=1)


def _pairs(bucket: np.ndarray, found: np.ndarray, least: float) -> np.ndarray:
    """Pairs of one bucket whose signatures are alike enough. In a small one all with all; in a large one each is
    compared with a leader, those unlike it with the next leader, and so on, so that thousands of copies of one text
    cost thousands of comparisons, not millions.
    """
    bucket = np.sort(bucket)
    if len(bucket) <= LARGE_BUCKET:
        one, two = np.triu_indices(len(bucket), 1)
        one, two = bucket[one], bucket[two]
        return np.stack([one, two], axis=1)[(found[one] == found[two]).sum(axis=1) >= least]
    kept = []
    while len(bucket) > LARGE_BUCKET:
        leader, rest = bucket[0], bucket[1:]
        alike = (found[rest] == found[leader]).sum(axis=1) >= least
        kept.append(np.stack([np.full(alike.sum(), leader), rest[alike]], axis=1))
        bucket = rest[~alike]
    return np.concatenate([*kept, _pairs(bucket, found, least)])


@dataclass(frozen=True)
class Groups:
    """`of`: text number -> number of the first text of its group, for texts in a group of two or more."""

    of: Mapping[int, int]

    @property
    def sizes(self) -> list[int]:
        """How many texts each group has, largest first."""
        counts: dict[int, int] = {}
        for first in self.of.values():
            counts[first] = counts.get(first, 0) + 1
        return sorted(counts.values(), reverse=True)


def groups(
    texts: Iterable[str],
    count: int,
    threshold: float,
    texts_of: Callable[[Sequence[int]], Mapping[int, str]],
    stop: Callable[[], None] = lambda: None,
) -> Groups:
    """The groups of near-duplicates among texts numbered 0 to count - 1.

    Args:
        texts: all of them, in order. texts_of: gives texts by their numbers, for the exact comparison.
        stop: called every now and then; raises when the work is to stop.
    """
    if count < 2:
        return Groups({})
    pairs = candidates(signatures(texts, count, stop), threshold)
    parent: dict[int, int] = {}

    def root(number: int) -> int:
        while (above := parent.get(number, number)) != number:
            parent[number] = number = parent.get(above, above)
        return number

    for first in range(0, len(pairs), COMPARED):
        chunk = [(i, j) for i, j in pairs[first : first + COMPARED].tolist() if root(i) != root(j)]
        known = texts_of(sorted({number for pair in chunk for number in pair}))
        sets = {number: shingles(text) for number, text in known.items()}
        for i, j in chunk:
            one, two = root(i), root(j)
            if one != two and jaccard(sets[i], sets[j]) >= threshold:
                parent[max(one, two)] = min(one, two)
        stop()
    members = set(parent) | {root(number) for number in parent}
    return Groups({number: root(number) for number in sorted(members)})


def _batches(texts: Iterable[str], size: int) -> Iterator[list[str]]:
    batch: list[str] = []
    for text in texts:
        batch.append(text)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
