"""What the judges of a closed study found, beside its reviewers: agreement, leanings, failures, cost.

People's answers are those that the study's main analysis counts. Of a judge, ratings and choices are those of the first
order; of an output on several pages, those of one page. So every figure is of one answer an output or page.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np
from django.conf import settings
from django.core.exceptions import ValidationError
from django.db.models import Q
from django.db.models.functions import Length

from evaluation import exclusions, judging
from evaluation.analysis import clustering
from evaluation.analysis import judges as analysis
from evaluation.analysis.clustering import Clusters
from evaluation.analysis.ratings import Estimate, Ratings
from evaluation.analysis.shares import share
from evaluation.judge_prompts import TIE
from evaluation.models import (
    Criterion,
    Judge,
    JudgeAnswer,
    JudgeAnswerStatus,
    Rating,
    ReviewTask,
    SlotOutput,
    Study,
    System,
    TaskKind,
)

CHUNK = 10_000
NO_JUDGE = "No judge was run over this study."
NOT_SWAPPED = "The judge read each page in one order only."
ONE_OUTPUT = "A page shows one output, so there is no order."
NO_CHOICE = "This layout asks for no choice."
NO_CRITERIA = "This layout rates by no criteria."

Outputs = tuple[int, ...]  # of one slot, sorted: what it is, whoever sees it
Shown = tuple[Outputs, ...]  # of one page, sorted


def results(study: Study) -> dict[str, Any]:
    """JSON-ready figures of every judge that answered anything; `reason` says why there is none.

    Returns:
        {"reason", "judges": [{"id", "endpoint", "model", "answered_as", "prompt_version", "prompt", "parameters",
        "seed", "swap", "finished", "asked", "usable", "failed" (share), "failures" [{"status", "words", "count"}],
        "tokens", "money", "currency", "also_systems", "criteria" [...], "choices", "position", "length"}]}. Every
        figure is an Estimate or a share, with its n, and says why where there is none.

    Raises:
        ValidationError: the study is not closed.
    """
    if not study.is_closed:
        raise ValidationError("What judges found can be read once the study is closed.")
    judges = list(study.judges.filter(answers__attempts__gt=0).distinct().order_by("pk"))
    if not judges:
        return {"reason": NO_JUDGE, "judges": []}
    world = _World.of(study)
    return {"reason": "", "judges": [_one(world, judge) for judge in judges]}


@dataclass(frozen=True, eq=False)
class _World:
    """What all judges of a study share: its codes, its slots, and what people answered."""

    study: Study
    criteria: list[Criterion]
    systems: list[System]
    item_at: dict[int, int]
    slots: dict[str, Outputs]  # slot -> its outputs
    system_of: dict[int, int]  # output -> code of its system
    pages: dict[int, tuple[int, Shown]]  # page -> code of its item, outputs
    lengths: np.ndarray  # (n_items, n_systems), characters as shown
    longest: dict[tuple[int, Shown], Outputs]  # the longest output of a page, where one is
    people: dict[int, Ratings]  # criterion -> ratings
    choices: list[tuple[int, int, Shown, Outputs | None]]  # item, reviewer, page, what was preferred (None: a tie)

    @classmethod
    def of(cls, study: Study) -> "_World":
        systems = sorted(study.systems.all(), key=lambda system: (system.pk != study.reference_id, system.pk))
        system_at = {system.pk: place for place, system in enumerate(systems)}
        tasks = ReviewTask.objects.filter(study=study, kind=TaskKind.RATING).order_by()
        items = sorted(set(tasks.values_list("item_id", flat=True)))
        item_at = {pk: place for place, pk in enumerate(items)}
        outputs: dict[str, list[int]] = defaultdict(list)
        system_of: dict[int, int] = {}
        held: dict[int, tuple[int, set[str]]] = {}
        size: dict[str, int] = {}
        lengths = np.full((len(items), len(systems)), np.nan)
        rows = SlotOutput.objects.filter(slot__task__in=tasks).annotate(size=Length("slot__text")).order_by()
        for slot, output, system, task, item, length in rows.values_list(
            "slot_id", "output_id", "output__system_id", "slot__task_id", "slot__task__item_id", "size"
        ).iterator(chunk_size=CHUNK):
            outputs[str(slot)].append(output)
            system_of[output] = system_at[system]
            held.setdefault(task, (item_at[item], set()))[1].add(str(slot))
            size[str(slot)] = length
            lengths[item_at[item], system_at[system]] = length
        slots = {slot: tuple(sorted(found)) for slot, found in outputs.items()}
        pages = {task: (item, tuple(sorted(slots[slot] for slot in found))) for task, (item, found) in held.items()}
        longest: dict[tuple[int, Shown], Outputs] = {}
        for task, (_, found) in held.items():
            ordered = sorted(found, key=lambda slot: -size[slot])
            if len(ordered) > 1 and size[ordered[0]] > size[ordered[1]]:
                longest[pages[task]] = slots[ordered[0]]
        criteria = list(study.criteria.all()) if study.asks_criteria else []
        return cls(
            study=study,
            criteria=criteria,
            systems=systems,
            item_at=item_at,
            slots=slots,
            system_of=system_of,
            pages=pages,
            lengths=lengths,
            longest=longest,
            people=_people(study, criteria, item_at, system_at),
            choices=_choices(study, pages, slots) if study.asks_preference else [],
        )


def _people(
    study: Study, criteria: list[Criterion], item_at: dict[int, int], system_at: dict[int, int]
) -> dict[int, Ratings]:
    """Ratings of the main analysis, by criterion."""
    reviewers = {pk: place for place, pk in enumerate(study.reviewers.values_list("user_id", flat=True))}
    given: dict[int, dict[tuple[int, int, int], int]] = {criterion.pk: {} for criterion in criteria}
    counted = exclusions.pages(study).filter(kind=TaskKind.RATING).order_by()
    rows = Rating.objects.filter(slot__task__in=counted, value__isnull=False).order_by()
    for criterion, item, system, reviewer, value in rows.values_list(
        "criterion_id", "slot__task__item_id", "slot__outputs__system_id", "slot__task__reviewer_id", "value"
    ).iterator(chunk_size=CHUNK):
        given[criterion][item_at[item], system_at[system], reviewers[reviewer]] = value  # type: ignore[assignment]  # not null, see above
    return {
        criterion.pk: _ratings(given[criterion.pk], criterion, len(item_at), len(system_at), max(1, len(reviewers)))
        for criterion in criteria
    }


def _ratings(
    given: dict[tuple[int, int, int], int], criterion: Criterion, items: int, systems: int, reviewers: int
) -> Ratings:
    cells = np.array(sorted(given), dtype=np.intp).reshape(-1, 3)
    return Ratings(
        item=cells[:, 0],
        system=cells[:, 1],
        reviewer=cells[:, 2],
        value=np.array([given[cell] for cell in sorted(given)], dtype=float),
        levels=criterion.levels,
        n_items=items,
        n_systems=systems,
        n_reviewers=reviewers,
    )


def _choices(
    study: Study, pages: dict[int, tuple[int, Shown]], slots: dict[str, Outputs]
) -> list[tuple[int, int, Shown, Outputs | None]]:
    """What people preferred on pages of several outputs; where they could not choose, nothing."""
    counted = exclusions.pages(study).filter(kind=TaskKind.RATING).filter(Q(tie=True) | Q(preferred__isnull=False))
    rows = counted.order_by("pk").values_list("pk", "reviewer_id", "preferred_id")
    found = []
    for task, reviewer, preferred in rows.iterator(chunk_size=CHUNK):
        item, shown = pages[task]
        if len(shown) > 1:
            found.append((item, reviewer, shown, slots[str(preferred)] if preferred else None))
    return found


def _one(world: _World, judge: Judge) -> dict[str, Any]:
    """Everything about one judge."""
    counts = Counter(judge.answers.order_by().values_list("status", flat=True))
    asked = sum(counts[status] for status in JudgeAnswerStatus.values if status not in judging.PENDING)
    bad = {status: counts[status] for status in judging.UNUSABLE if counts[status]}
    money, tokens = judging.spent(judge)
    answers = _answers(judge)
    return {
        "id": judge.pk,
        "endpoint": judge.endpoint_name,
        "model": judge.model,
        "answered_as": sorted(set(judge.answers.exclude(model="").order_by().values_list("model", flat=True))),
        "prompt_version": judge.prompt_version,
        "prompt": judge.prompt_template,
        "parameters": judge.parameters,
        "seed": judge.seed,
        "swap": judge.swap,
        "finished": asked == judge.total,
        "total": judge.total,
        "asked": asked,
        "usable": counts[JudgeAnswerStatus.OK],
        "failed": asdict(share(sum(bad.values()), asked)),
        "failures": [
            {"status": str(status), "words": JudgeAnswerStatus(status).label, "count": count}
            for status, count in bad.items()
        ],
        "tokens": tokens,
        "money": str(money.normalize()),
        "currency": settings.CURRENCY,
        # Models like their own outputs (Panickssery et al. 2024); a reader must know.
        "also_systems": [
            system.name
            for system in world.systems
            if system.kind == "endpoint"
            and (system.endpoint_id == judge.endpoint_id or system.base_model == judge.model)
        ],
        "criteria": _criteria(world, answers),
        "choices": _chosen(world, answers),
        "position": _position(world, judge, answers),
        "length": _longer(world, answers),
    }


Answers = dict[tuple[int, bool], JudgeAnswer]  # by page and order


def _answers(judge: Judge) -> Answers:
    rows = judge.answers.filter(status=JudgeAnswerStatus.OK).order_by("page_id", "swapped")
    return {(row.page_id, row.swapped): row for row in rows.only("page_id", "swapped", "content", "shown", "judge_id")}


def _firsts(answers: Answers) -> Iterable[JudgeAnswer]:
    return (row for (_, swapped), row in answers.items() if not swapped)


def _criteria(world: _World, answers: Answers) -> list[dict[str, Any]]:
    """Agreement with people and leaning to length, for each criterion; means of each system beside people's."""
    given: dict[str, dict[tuple[int, int, int], int]] = {criterion.key: {} for criterion in world.criteria}
    cannot: Counter[str] = Counter()
    for row in _firsts(answers):
        item, _ = world.pages[row.page_id]
        for slot, levels in row.content["ratings"].items():
            for key, level in levels.items():
                if level == "":
                    cannot[key] += 1
                    continue
                for output in world.slots[slot]:
                    given[key].setdefault((item, world.system_of[output], 0), level)
    found = []
    for criterion in world.criteria:
        people = world.people[criterion.pk]
        judge = _ratings(given[criterion.key], criterion, len(world.item_at), len(world.systems), 1)
        agreement = analysis.agreement(people, judge)
        length = analysis.length_bias(people, judge, world.lengths)
        found.append(
            {
                "key": criterion.key,
                "name": criterion.name,
                "levels": criterion.levels,
                "cannot_judge": cannot[criterion.key],
                **{name: asdict(getattr(agreement, name)) for name in AGREEMENT},
                "length": {name: asdict(getattr(length, name)) for name in ("judge", "people", "excess")},
                "means": [
                    {
                        "system": system.pk,
                        "name": system.name,
                        "judge": _mean(judge, place),
                        "people": _mean(people, place),
                    }
                    for place, system in enumerate(world.systems)
                ],
            }
        )
    return found


AGREEMENT = ("kappa", "alpha", "rank_correlation", "difference")


def _mean(ratings: Ratings, system: int) -> dict[str, Any]:
    value = ratings.of(system).value
    return {"mean": float(value.mean()) if value.size else None, "n": int(value.size)}


def _preferred(world: _World, row: JudgeAnswer) -> Outputs | None:
    """What a judge preferred; None for a tie. Its content must hold a choice."""
    preferred = row.content["preferred"]
    return None if preferred == TIE else world.slots[preferred]


def _judged(world: _World, answers: Answers) -> dict[tuple[int, Shown], Outputs | None]:
    """The judge's choice for each page with several outputs."""
    return {world.pages[row.page_id]: _preferred(world, row) for row in _firsts(answers) if row.content["preferred"]}


def _chosen(world: _World, answers: Answers) -> dict[str, Any]:
    """How often the judge and a person who saw the same page chose the same, and two people, and each system's share
    of the choices.
    """
    if not world.study.asks_preference:
        return {"reason": NO_CHOICE}
    judged = _judged(world, answers)
    shared = [row for row in world.choices if (row[0], row[2]) in judged]
    with_people = _proportion(
        [judged[item, shown] == chosen for item, _, shown, chosen in shared],
        item=[row[0] for row in shared],
        reviewer=[row[1] for row in shared],
    )
    by_page: dict[tuple[int, Shown], list[Outputs | None]] = defaultdict(list)
    for item, _, shown, chosen in world.choices:
        by_page[item, shown].append(chosen)
    pairs = [(item, one == other) for (item, _), given in by_page.items() for one, other in combinations(given, 2)]
    among = _proportion([same for _, same in pairs], item=[item for item, _ in pairs])
    ties = sum(choice is None for choice in judged.values())
    return {
        "reason": "",
        "with_people": asdict(with_people),
        "among_people": asdict(among),
        "ties": asdict(share(ties, len(judged))),
        "systems": [
            {
                "system": system.pk,
                "name": system.name,
                "judge": asdict(_won(world, judged.values(), place)),
                "people": asdict(_won(world, (chosen for *_, chosen in world.choices), place)),
            }
            for place, system in enumerate(world.systems)
        ],
    }


def _won(world: _World, choices: Iterable[Outputs | None], system: int):
    given = list(choices)
    won = sum(chosen is not None and any(world.system_of[output] == system for output in chosen) for chosen in given)
    return share(won, len(given))


def _proportion(hits: list[bool], item: list[int], reviewer: list[int] | None = None) -> Estimate:
    """A share with its interval for other texts, and for other people where `reviewer` says who."""
    clusters = Clusters.of(item, reviewer if reviewer is not None else [0] * len(item))
    found = clustering.proportion(hits, np.ones(len(hits)), clusters, n_ratings=len(hits))
    if reviewer is None and found.reason == clustering.ONE_REVIEWER:
        return Estimate(**asdict(found) | {"reason": ""})
    return found


def _position(world: _World, judge: Judge, answers: Answers) -> dict[str, Any]:
    """Whether the judge leans to what it reads first: from pages that it read in both orders."""
    if not world.study.asks_preference:
        return {"reason": ONE_OUTPUT if not world.study.asks_criteria or judge.swap else NO_CHOICE}
    if not judge.swap:
        return {"reason": NOT_SWAPPED}
    items, one, other, same = [], [], [], []
    for (page, swapped), row in answers.items():
        turned = answers.get((page, True))
        if swapped or turned is None or not (row.content["preferred"] and turned.content["preferred"]):
            continue
        items.append(world.pages[page][0])
        one.append(_half(row))
        other.append(_half(turned))
        same.append(row.content["preferred"] == turned.content["preferred"])
    if not items:
        return {"reason": "No page has a usable choice in both orders."}
    found = analysis.position_bias(items, one, other)
    # With more than two outputs, two different ones may stand in the same half: what was chosen says it exactly.
    exact = analysis.position_bias(items, np.ones(len(items), dtype=int), np.where(same, -1, 1))
    return {
        "reason": "",
        "first_place": asdict(found.first_place),
        "consistent": asdict(exact.consistent),
        "towards_first": found.towards_first,
        "towards_second": found.towards_second,
        "verdict": found.verdict,
        "pages": len(items),
    }


def _half(row: JudgeAnswer) -> int:
    """1 where the preferred output stood in the first half of the page, -1 in the second, 0 for a tie or the middle."""
    preferred = row.content["preferred"]
    if preferred == TIE:
        return 0
    place, middle = row.shown.index(preferred), (len(row.shown) - 1) / 2
    return int(np.sign(middle - place))


def _longer(world: _World, answers: Answers) -> dict[str, Any]:
    """How often the longest output of a page was preferred, by the judge and by people; ties left out."""
    if not world.study.asks_preference:
        return {"reason": NO_CHOICE}
    judged = [
        (key[0], choice == world.longest[key])
        for key, choice in _judged(world, answers).items()
        if choice is not None and key in world.longest
    ]
    people = [
        (item, reviewer, chosen == world.longest[item, shown])
        for item, reviewer, shown, chosen in world.choices
        if chosen is not None and (item, shown) in world.longest
    ]
    return {
        "reason": "",
        "judge": asdict(_proportion([hit for _, hit in judged], item=[item for item, _ in judged])),
        "people": asdict(
            _proportion(
                [hit for *_, hit in people], item=[row[0] for row in people], reviewer=[row[1] for row in people]
            )
        ),
    }
