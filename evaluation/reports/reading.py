"""What reviewers of a closed study answered, read into arrays. Only here does a report touch the answers' tables."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from django.db.models import F

from evaluation import anonymous, exclusions
from evaluation.analysis.preference import Pages
from evaluation.analysis.ratings import Ratings
from evaluation.exclusions import Checks
from evaluation.models import Criterion, Guess, Rating, ReviewTask, SlotOutput, Study, StudyItem, System, TaskKind

CHUNK = 10_000
CHOICE = ("preferred_id", "worst_id", "tie", "unpreferred")


@dataclass(frozen=True, eq=False)
class Given:
    """The answers for one criterion, one row for each system that a rated output stands for.

    ratings: of all counted pages. main: shape (n,), whether the main analysis counts the row. cannot: how often each
    system could not be judged, by reason.
    """

    ratings: Ratings
    main: np.ndarray
    cannot: dict[tuple[int, str], int]

    def of(self, main: bool) -> Ratings:
        return self.ratings.where(self.main) if main else self.ratings


@dataclass(frozen=True, eq=False)
class Choosing:
    """The choices of counted pages. main: shape (n,). cannot: reason -> pages without a choice. same: shape (n,), pages
    that nobody was shown, because all their outputs were alike; they are among the pages, as ties."""

    pages: Pages
    main: np.ndarray
    cannot: dict[str, int]
    same: np.ndarray

    def same_of(self, main: bool) -> int:
        return int((self.same & self.main).sum() if main else self.same.sum())

    def of(self, main: bool) -> Pages:
        if not main:
            return self.pages
        keep = self.main
        worst = self.pages.worst
        assert self.pages.slot is not None
        return Pages(
            item=self.pages.item[keep],
            reviewer=self.pages.reviewer[keep],
            shown=self.pages.shown[keep],
            best=self.pages.best[keep],
            slot=self.pages.slot[keep],
            worst=None if worst is None else worst[keep],
            n_systems=self.pages.n_systems,
        )


@dataclass(frozen=True, eq=False)
class Guesses:
    """One row a guess that the main analysis counts: codes, whether the output was a tuned system's, and the guess as
    `blinding` wants it.

    mixed: guesses about outputs that a tuned and another system wrote alike; they count for neither.
    """

    item: np.ndarray
    reviewer: np.ndarray
    is_tuned: np.ndarray
    guess: np.ndarray
    mixed: int


@dataclass(frozen=True, eq=False)
class Repeats:
    """The same output rated twice by one reviewer: criterion -> (reviewer, first, second), each of shape (n,). Only of
    reviewers and pages that the main analysis counts.

    chosen: reviewer codes and whether the same was chosen again, shape (n,): the same output, or a tie, and with best
    and worst the same of both. A page on which no choice could be made is no repeat. Empty without a preference.
    """

    ratings: dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]
    chosen: tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True, eq=False)
class Data:
    """A closed study. Systems are coded by their place in `systems`, the reference first; items by their place in
    `items`; reviewers by their place in `reviewers`, in the order of their anonymous names."""

    study: Study
    criteria: list[Criterion]
    systems: list[System]
    tuned: list[int]
    items: list[int]
    strata: list[str]
    groups: list[str]
    languages: list[str]
    reviewers: list[int]
    names: list[str]
    given: dict[str, Given]
    choosing: Choosing | None
    guesses: Guesses
    repeats: Repeats
    checks: dict[int, Checks]
    excluded: set[int]
    fast_pages: int
    seconds: np.ndarray

    @property
    def leaves_out(self) -> bool:
        """Whether the rules leave anything out."""
        return bool(self.excluded) or self.fast_pages > 0


def read(study: Study) -> Data:
    """Everything that a report is computed from."""
    criteria = list(study.criteria.all()) if study.asks_criteria else []
    systems = sorted(study.systems.all(), key=lambda system: (system.pk != study.reference_id, system.pk))
    system_at = {system.pk: place for place, system in enumerate(systems)}
    rated = ReviewTask.objects.filter(study=study, kind__in=(TaskKind.RATING, TaskKind.SAME)).order_by("item_id")
    facts = list(rated.values_list("item_id", "item__target_group", "item__language").distinct())
    stratum_of = dict(StudyItem.objects.filter(study=study, spare=False).values_list("item_id", "stratum"))
    items = [pk for pk, *_ in facts]
    item_at = {pk: place for place, pk in enumerate(items)}
    named = anonymous.names_of(study)
    reviewers = sorted(named, key=lambda pk: int(named[pk].rpartition("-")[2]))
    reviewer_at = {pk: place for place, pk in enumerate(reviewers)}
    excluded = exclusions.excluded_reviewers(study)
    counted = ReviewTask.objects.filter(study=study).counted()
    answered = ReviewTask.objects.filter(
        study=study, kind__in=(TaskKind.RATING, TaskKind.REPEAT), done_at__isnull=False
    )
    quick = answered.filter(exclusions.too_fast(study)) if study.min_seconds else answered.none()
    fast_kinds = {pk: (kind, reviewer) for pk, kind, reviewer in quick.values_list("pk", "kind", "reviewer_id")}
    tuned = set(study.tuned.values_list("pk", flat=True))

    def kept(task: int, reviewer: int) -> bool:
        return reviewer not in excluded and task not in fast_kinds

    return Data(
        study=study,
        criteria=criteria,
        systems=systems,
        tuned=[place for place, system in enumerate(systems) if system.pk in tuned],
        items=items,
        strata=[stratum_of.get(pk, "") for pk in items],
        groups=[group for _, group, _ in facts],
        languages=sorted({language for *_, language in facts if language}),
        reviewers=reviewers,
        names=[named[pk] for pk in reviewers],
        given=_given(study, criteria, system_at, item_at, reviewer_at, kept),
        choosing=_choosing(study, system_at, item_at, reviewer_at, kept) if study.asks_preference else None,
        guesses=_guesses(study, tuned, item_at, reviewer_at, kept),
        repeats=_repeats(study, criteria, reviewer_at, kept),
        checks=exclusions.checks_of(study),
        excluded=excluded,
        fast_pages=sum(kind == TaskKind.RATING and reviewer not in excluded for kind, reviewer in fast_kinds.values()),
        seconds=np.fromiter(
            counted.filter(kind=TaskKind.RATING).order_by("pk").values_list("active_seconds", flat=True), dtype=float
        ),
    )


def _given(study, criteria, system_at, item_at, reviewer_at, kept) -> dict[str, Given]:
    keys = {criterion.pk: criterion.key for criterion in criteria}
    columns: dict[str, tuple[list, list, list, list, list]] = {key: ([], [], [], [], []) for key in keys.values()}
    cannot: dict[str, Counter] = {key: Counter() for key in keys.values()}
    rows = (
        Rating.objects.filter(
            criterion__in=keys,
            slot__task__study=study,
            slot__task__kind=TaskKind.RATING,
            slot__task__done_at__isnull=False,
        )
        .order_by()
        .values_list(
            "criterion_id",
            "slot__task__item_id",
            "slot__outputs__system_id",
            "slot__task__reviewer_id",
            "value",
            "cannot_judge",
            "slot__task_id",
        )
    )
    for criterion, item, system, reviewer, value, reason, task in rows.iterator(chunk_size=CHUNK):
        if value is None:
            if kept(task, reviewer):
                cannot[keys[criterion]][system_at[system], reason] += 1
            continue
        for column, entry in zip(
            columns[keys[criterion]],
            (item_at[item], system_at[system], reviewer_at[reviewer], value, kept(task, reviewer)),
            strict=True,
        ):
            column.append(entry)
    found = {}
    for criterion in criteria:
        of_items, of_systems, of_reviewers, values, main = columns[criterion.key]
        found[criterion.key] = Given(
            ratings=Ratings(
                item=_ints(of_items),
                system=_ints(of_systems),
                reviewer=_ints(of_reviewers),
                value=np.asarray(values, dtype=float),
                levels=criterion.levels,
                n_items=len(item_at),
                n_systems=len(system_at),
                n_reviewers=len(reviewer_at),
            ),
            main=np.asarray(main, dtype=bool),
            cannot=dict(cannot[criterion.key]),
        )
    return found


def _choosing(study, system_at, item_at, reviewer_at, kept) -> Choosing:
    """Each page with its outputs in the order they were shown; a slot that stands for several systems has as many
    places, with the same number."""
    tasks = ReviewTask.objects.filter(study=study).counted().order_by("pk")
    places: dict[int, list[tuple[int, Any]]] = {}
    shown = SlotOutput.objects.filter(slot__task__in=tasks.values("pk")).order_by(
        "slot__task_id", "slot__position", "output__system_id"
    )
    for task, slot, system in shown.values_list("slot__task_id", "slot_id", "output__system_id").iterator(
        chunk_size=CHUNK
    ):
        places.setdefault(task, []).append((system_at[system], slot))
    cannot: Counter = Counter()
    rows: list[tuple[int, int, list[int], list[int], int, int, bool, bool]] = []
    answers = tasks.values_list("pk", "kind", "item_id", "reviewer_id", *CHOICE)
    for pk, kind, item, reviewer, preferred, worst, tie, reason in answers.iterator(chunk_size=CHUNK):
        main = kept(pk, reviewer)
        if reason:
            cannot[reason] += main
            continue
        on_page = places.get(pk, [])
        numbers: dict[Any, int] = {}
        for _, slot in on_page:
            numbers.setdefault(slot, len(numbers))
        if preferred is None and not tie and len(numbers) > 1:
            continue  # a page from before its layout asked
        rows.append(
            (
                item_at[item],
                reviewer_at[reviewer],
                [system for system, _ in on_page],
                [numbers[slot] for _, slot in on_page],
                numbers.get(preferred, -1),
                numbers.get(worst, -1),
                main,
                kind == TaskKind.SAME,
            )
        )
    width = max((len(row[2]) for row in rows), default=2)

    def padded(lists: Iterable[list[int]]) -> np.ndarray:
        table = np.full((len(rows), width), -1, dtype=np.intp)
        for number, entries in enumerate(lists):
            table[number, : len(entries)] = entries
        return table

    return Choosing(
        pages=Pages(
            item=_ints([row[0] for row in rows]),
            reviewer=_ints([row[1] for row in rows]),
            shown=padded(row[2] for row in rows),
            slot=padded(row[3] for row in rows),
            best=_ints([row[4] for row in rows]),
            worst=_ints([row[5] for row in rows]) if study.asks_worst else None,
            n_systems=len(system_at),
        ),
        main=np.asarray([row[6] for row in rows], dtype=bool),
        cannot={reason: n for reason, n in cannot.items() if n},
        same=np.asarray([row[7] for row in rows], dtype=bool),
    )


GUESSES = {"tuned": 0, "other": 1, "unknown": 2}


def _guesses(study: Study, tuned: set[int], item_at, reviewer_at, kept) -> Guesses:
    rows: dict[Any, tuple[int, int, int, set[bool]]] = {}
    given = Guess.objects.filter(slot__task__study=study).order_by("slot_id")
    for slot, task, item, reviewer, value, system in given.values_list(
        *("slot_id", "slot__task_id", "slot__task__item_id", "slot__task__reviewer_id", "value"),
        "slot__outputs__system_id",
    ).iterator(chunk_size=CHUNK):
        if not kept(task, reviewer):
            continue
        row = rows.setdefault(slot, (item_at[item], reviewer_at[reviewer], GUESSES[value], set()))
        row[3].add(system in tuned)
    clear = [row for row in rows.values() if len(row[3]) == 1]
    return Guesses(
        item=_ints([row[0] for row in clear]),
        reviewer=_ints([row[1] for row in clear]),
        guess=_ints([row[2] for row in clear]),
        is_tuned=np.asarray([True in row[3] for row in clear], dtype=bool),
        mixed=len(rows) - len(clear),
    )


def _repeats(study: Study, criteria: list[Criterion], reviewer_at, kept) -> Repeats:
    """Pages seen twice, both finished. Outputs are matched by what they stand for; one that stands for several counts
    once."""
    again = ReviewTask.objects.filter(
        study=study, kind=TaskKind.REPEAT, done_at__isnull=False, repeats__done_at__isnull=False
    )
    keys = {criterion.pk: criterion.key for criterion in criteria}
    found_pairs = again.order_by("pk").values_list(
        "pk", "repeats_id", "reviewer_id", *CHOICE, *(f"repeats__{name}" for name in CHOICE)
    )
    pairs = [pair for pair in found_pairs if kept(pair[0], pair[2]) and kept(pair[1], pair[2])]
    tasks = {pk for pair in pairs for pk in pair[:2]}
    stands: dict[Any, int] = {}  # slot -> the first of its outputs
    links = SlotOutput.objects.filter(slot__task__in=tasks).order_by("-output_id")
    for slot, output in links.values_list("slot_id", "output_id"):
        stands[slot] = output
    by_task: dict[int, dict[tuple[int, int], Any]] = {}
    rows = Rating.objects.filter(slot__task__in=tasks, value__isnull=False).order_by()
    for task, slot, criterion, value in rows.values_list("slot__task_id", "slot_id", "criterion_id", "value"):
        by_task.setdefault(task, {})[stands[slot], criterion] = value
    found: dict[str, list[tuple[int, int, int]]] = {key: [] for key in keys.values()}
    chosen = []

    def choice(preferred: Any, worst: Any, tie: bool, reason: str) -> tuple[bool, int | None, int | None] | None:
        if reason or (preferred is None and not tie):
            return None
        return bool(tie), stands.get(preferred), stands.get(worst)

    for second, first, reviewer, *answers in pairs:
        for (output, criterion), value in by_task.get(second, {}).items():
            before_value = by_task.get(first, {}).get((output, criterion))
            if before_value is not None:
                found[keys[criterion]].append((reviewer_at[reviewer], before_value, value))
        now, before = choice(*answers[: len(CHOICE)]), choice(*answers[len(CHOICE) :])
        if study.asks_preference and now is not None and before is not None:
            chosen.append((reviewer_at[reviewer], now == before))
    return Repeats(
        ratings={
            key: tuple(_ints(column) for column in (zip(*rows, strict=True) if rows else ((), (), ())))  # type: ignore[misc]
            for key, rows in found.items()
        },
        chosen=(_ints([row[0] for row in chosen]), np.asarray([row[1] for row in chosen], dtype=bool)),
    )


def other_roles(study: Study) -> dict[int, list[str]]:
    """User id -> the roles in the project of reviewers who have any: they may know the systems."""
    found: dict[int, list[str]] = {}
    rows = study.project.memberships.filter(user__in=study.reviewers.values("user")).annotate(person=F("user_id"))
    for person, role in rows.order_by("role").values_list("person", "role"):
        found.setdefault(person, []).append(role)
    return found


def _ints(values: Iterable[int]) -> np.ndarray:
    return np.asarray(list(values), dtype=np.intp)
