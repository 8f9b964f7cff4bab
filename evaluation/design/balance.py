"""How balanced a design came out: counts, ranges, and a sentence for the protocol."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from evaluation.design.assignment import Page

Ints = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Balance:
    """Counts over the pages of a design. t systems, R reviewers, k places on the longest page.

    A `..._range` is the largest count minus the smallest; 0 is perfect balance. Where a reviewer has counts of an own,
    it is that of the worst reviewer.
    """

    seen: Ints  # (R, t): how often each reviewer sees each system
    together: Ints  # (t, t): pages on which two systems stand together; 0 on the diagonal
    before: Ints  # (t, t): pages on which the system of the row stands before that of the column
    places: Ints  # (t, k): how often each system stands at each place
    places_by_reviewer: Ints  # (R, t, k)
    pages: Ints  # (R,): pages of each reviewer
    shared: Ints  # (R, R): outputs that two reviewers both see; 0 on the diagonal
    seen_range: int
    together_range: int
    before_range: int  # of two systems, how much more often one stands first
    places_range: int
    places_range_of_a_reviewer: int
    pages_range: int
    pages_of_an_item: int  # that one reviewer sees at most
    connected: bool  # whether shared outputs link all reviewers, directly or through others
    efficiency: float | None  # average efficiency factor of the pages as blocks, 1 for complete blocks
    reason: str  # why there is no efficiency factor; else empty
    words: str

    @property
    def balanced(self) -> bool:
        """Whether everything that can be equal is, up to one."""
        return max(self.seen_range, self.together_range, self.places_range, self.pages_range) <= 1


def balance(pages: Sequence[Page], systems: int, reviewers: int) -> Balance:
    """Count a design. Pages may have different sizes, and reviewers or systems may be missing from them.

    Source of the efficiency factor: Kempthorne, *Annals of Mathematical Statistics* 27 (1956), 846-849; John and
    Williams, *Cyclic and Computer Generated Designs* (1995).
    """
    longest = max((len(page.systems) for page in pages), default=0)
    shown = [(number, page, place, s) for number, page in enumerate(pages) for place, s in enumerate(page.systems)]
    number = np.array([row[0] for row in shown], dtype=np.int64)
    reviewer = np.array([row[1].reviewer for row in shown], dtype=np.int64)
    item = np.array([row[1].item for row in shown], dtype=np.int64)
    place = np.array([row[2] for row in shown], dtype=np.int64)
    system = np.array([row[3] for row in shown], dtype=np.int64)

    places_by_reviewer = np.zeros((reviewers, systems, longest), dtype=np.int64)
    np.add.at(places_by_reviewer, (reviewer, system, place), 1)
    places, seen = places_by_reviewer.sum(0), places_by_reviewer.sum(2)
    on_page = csr_array((np.ones(len(shown), dtype=np.int64), (number, system)), shape=(len(pages), systems))
    together = np.asarray((on_page.T @ on_page).todense())
    np.fill_diagonal(together, 0)
    before = np.zeros((systems, systems), dtype=np.int64)
    for earlier in range(longest):
        for later in range(earlier + 1, longest):
            rows = [(page.systems[earlier], page.systems[later]) for page in pages if len(page.systems) > later]
            if rows:
                np.add.at(before, tuple(np.array(rows).T), 1)
    of = np.bincount([page.reviewer for page in pages], minlength=reviewers)
    outputs = item * systems + system
    sees = csr_array(
        (np.ones(len(shown), dtype=np.int64), (reviewer, outputs)),
        shape=(reviewers, int(outputs.max()) + 1 if len(shown) else 1),
    )
    sees.sum_duplicates()
    sees.data[:] = 1
    shared = np.asarray((sees @ sees.T).todense())
    np.fill_diagonal(shared, 0)
    _, repeats = np.unique(
        np.array([(page.reviewer, page.item) for page in pages]).reshape(-1, 2), axis=0, return_counts=True
    )
    upper = np.triu_indices(systems, 1)
    efficiency, reason = _efficiency(on_page, np.array([len(page.systems) for page in pages]))
    figures = {
        "seen_range": int(np.ptp(seen, axis=1).max()) if seen.size else 0,
        "together_range": _range(together[upper]) if longest > 1 else 0,
        "before_range": int(np.abs(before - before.T).max()) if before.size else 0,
        "places_range": int(np.ptp(places, axis=1).max()) if longest else 0,
        "places_range_of_a_reviewer": int(np.ptp(places_by_reviewer, axis=2).max()) if longest else 0,
        "pages_range": _range(of),
        "pages_of_an_item": int(repeats.max()) if len(pages) else 0,
    }
    connected = reviewers < 2 or int(connected_components(shared, directed=False)[0]) == 1
    return Balance(
        seen=seen,
        together=together,
        before=before,
        places=places,
        places_by_reviewer=places_by_reviewer,
        pages=of,
        shared=shared,
        **figures,
        connected=connected,
        efficiency=efficiency,
        reason=reason,
        words=_words(of, seen, together[upper], places, longest, figures, connected, bool(shared.any()), efficiency),
    )


def _range(counts: Ints) -> int:
    return int(np.ptp(counts)) if counts.size else 0


def _efficiency(on_page: csr_array, sizes: Ints) -> tuple[float | None, str]:
    """The harmonic mean of the canonical efficiency factors: the eigenvalues, but the one that is always 0, of

        I - R^-1/2 N K^-1 N' R^-1/2

    where N counts systems by pages, R holds the systems' numbers of pages and K the pages' sizes. It is the variance
    of a comparison of two systems in complete pages, over that in these, averaged over pairs of systems.
    """
    counts = np.asarray(on_page.sum(0)).ravel().astype(float)
    if len(counts) < 2 or not len(sizes):
        return None, "There are no two systems to compare."
    if sizes.max() == 1:
        return None, "With one output on a page, systems are compared across pages, not within them."
    if counts.min() == 0:
        return None, "A system stands on no page."
    scaled = csr_array(on_page.astype(float)) / np.sqrt(sizes)[:, None] / np.sqrt(counts)
    values = np.sort(np.linalg.eigvalsh(np.eye(len(counts)) - np.asarray((scaled.T @ scaled).todense())))[1:]
    if values[0] < 1e-9:
        return None, "The pages do not link all systems: some are never compared, even through others."
    return float(len(values) / (1 / values).sum()), ""


def _words(
    pages: Ints,
    seen: Ints,
    pairs: Ints,
    places: Ints,
    longest: int,
    figures: dict[str, int],
    connected: bool,
    shares: bool,
    efficiency: float | None,
) -> str:
    if not len(pages) or not pages.sum():
        return "There are no pages."
    alone = figures["seen_range"]
    said = [
        f"Each reviewer has {_span(pages, 'page')} and sees each system {_span(seen, 'time')}"
        + ("." if seen.min() == seen.max() else f": {_apart(alone, 'of the systems for one reviewer')}.")
    ]
    if longest > 1:
        if pairs.size:
            said.append(f"Each two systems stand together on {_span(pairs, 'page')}.")
        said.append(
            f"Each system stands at each place on the page {_span(places, 'time')}; "
            f"{_apart(figures['places_range_of_a_reviewer'], 'of the places of a system for one reviewer')}."
        )
        said.append(
            f"Of two systems, one stands before the other at most {_times(figures['before_range'])} more than after."
            if figures["before_range"]
            else "Each system stands as often before as after each other one."
        )
    if figures["pages_of_an_item"] > 1:
        said.append(f"A reviewer meets a text on up to {figures['pages_of_an_item']} pages, never an output twice.")
    if efficiency is not None:
        said.append(
            "Every page shows all systems."
            if efficiency > 1 - 1e-9
            else f"The average efficiency factor is {efficiency:.2f} (1 when every page shows all systems)."
        )
    if not connected:
        said.append(
            "Not all reviewers are linked by outputs that they share, directly or through others, so the severity of "
            "some cannot be compared with that of others. More ratings of each output, or more texts, link them."
            if shares
            else "No two reviewers share an output, so their agreement and severity cannot be compared. Ask for two or "
            "more ratings of each output."
        )
    return " ".join(said)


def _apart(difference: int, what: str) -> str:
    return f"the counts {what} {f'differ by {difference} at most' if difference else 'are equal'}"


def _times(n: int) -> str:
    return f"{n:,} time{'' if n == 1 else 's'}"


def _span(counts: Ints, noun: str) -> str:
    low, high = int(counts.min()), int(counts.max())
    return (f"{low:,}" if low == high else f"{low:,} to {high:,}") + f" {noun}{'' if high == 1 else 's'}"
