"""What a closed study found, as one JSON document: every figure with its interval and n, or why there is none."""

import json
import platform
from collections.abc import Callable
from typing import Any

import numpy as np
from django.db.models import Count, Q

from evaluation import anonymous, exclusions, judging, protocol
from evaluation.analysis import blinding, groups, means, reliability
from evaluation.analysis.ratings import versions
from evaluation.analysis.resampling import DRAWS
from evaluation.analysis.shares import share
from evaluation.models import (
    CONTROLS,
    CannotJudge,
    Hypothesis,
    Protocol,
    Rating,
    Strata,
    Study,
    SystemKind,
    TaskKind,
)
from evaluation.reports import answers, reading, words
from evaluation.reports.comparing import compare
from evaluation.reports.plain import plain
from evaluation.reports.preferring import preferences
from evaluation.reports.reading import Data

# What a random draw is for. Each has its own generator, so that adding one does not change the others.
MAX_GROUPS = 40  # of one kind; more are not told apart on a page

SUMMARY, DIFFERENCE, EVERYBODY, AGREEMENT, GROUPS = range(5)


def build(study: Study, seed: int, on_progress: Callable[[int, int, str], None] | None = None) -> dict[str, Any]:
    """Everything that the report shows.

    Args:
        seed: of all random draws. on_progress: called with steps done, steps in all, and a sentence.
    Returns:
        JSON-ready, as docs/formats.md has it. Systems are named by their place in `systems`, the reference first.
    """
    data = reading.read(study)
    steps = 4 + 3 * len(data.criteria)
    done = 0

    def step(message: str) -> None:
        nonlocal done
        done += 1
        if on_progress:
            on_progress(min(done, steps), steps, message)

    step("Reading the ratings")
    names = [system.name for system in data.systems]
    results: dict[str, Any] = {
        "format": 2,
        "study": _study(study),
        "design": _design(data),
        "systems": _systems(data),
        "criteria": [_criterion(criterion) for criterion in data.criteria],
        "counts": _counts(data),
        "left_out": _left_out(data),
        "means": _means(data, seed, step),
        "cannot": _cannot(data),
    }
    main = {key: given.of(True) for key, given in data.given.items()}
    results["comparisons"] = compare(data.criteria, main, lambda c, s: _rng(seed, DIFFERENCE, c, s), step)
    results["everybody"] = _everybody(data, seed, names)
    results["preferences"] = preferences(data.choosing, names, planned=_plans_preferences(study))
    step("Preferences")
    results["agreement"] = _agreement(data, seed, step)
    results["consistency"] = _consistency(data)
    results["groups"] = _groups(data, seed)
    results["blinding"] = _blinding(data)
    results["attention"] = _attention(data)
    results["judges"] = plain(judging.results(study))
    results["seeds"] = {"study": study.seed, "bootstrap": seed}
    results["draws"] = DRAWS
    results["versions"] = {"Python": platform.python_version(), **versions()}
    results["answers"] = answers.answers(results)
    step("Answers")
    return results


def _rng(seed: int, *purpose: int) -> np.random.Generator:
    return np.random.default_rng([seed, *purpose])


# What the study was


def _study(study: Study) -> dict[str, Any]:
    found = Protocol.objects.filter(study=study).first()
    reviewer_names = _reviewer_names(study)
    return {
        "id": study.pk,
        "name": study.name,
        "project": study.project.name,
        "hypotheses": study.hypotheses,
        "started_at": _time(study.started_at),
        "closed_at": _time(study.closed_at),
        "closed_by": str(study.closed_by or ""),
        "unblinded_at": _time(study.unblinded_at),
        "unblinded_by": str(study.unblinded_by or ""),
        "ratings_hash": study.ratings_hash,
        "protocol": {
            "sha256": found.sha256 if found else "",
            "written_at": _time(found.created_at) if found else None,
            "written_by": str(found.created_by) if found else "",
            "intact": protocol.is_intact(study),
        },
        "amendments": [
            {
                "number": row.number,
                "at": _time(row.created_at),
                "by": str(row.created_by),
                "blind": row.blind,
                "tasks_done": row.tasks_done,
                "changes": _changes(row.changes, reviewer_names),
                "reason": row.reason,
                "sha256": row.sha256,
            }
            for row in study.amendments.select_related("created_by").order_by("number")
        ],
    }


def _reviewer_names(study: Study) -> dict[str, str]:
    named = anonymous.names_of(study)
    return {str(member.user): named[member.user_id] for member in study.reviewers.select_related("user")}


def _changes(changes: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    """Reviewers by their anonymous names."""
    if "reviewer" not in changes:
        return changes
    return changes | {"reviewer": [value and names.get(value, "a reviewer") for value in changes["reviewer"]]}


def _time(moment) -> str | None:
    return moment.isoformat(timespec="seconds") if moment else None


def _written(study: Study) -> dict[str, Any]:
    """The protocol as it was locked."""
    found = Protocol.objects.filter(study=study).first()
    return json.loads(found.text) if found else {}


def _plans_preferences(study: Study) -> bool:
    return any(test.get("kind") == protocol.PREFERENCE for test in _written(study).get("planned_tests", []))


def _design(data: Data) -> dict[str, Any]:
    """The design as it was frozen, from the protocol where it says more than the study."""
    study = data.study
    written = _written(study)
    sizes = written.get("sizes", {})
    return {
        "layout": study.layout,
        "layout_words": study.get_layout_display(),
        "question": study.best_question,
        "worst_question": study.worst_question,
        "texts": len(data.items),
        "systems": len(data.systems),
        "reviewers": len(data.reviewers),
        "per_page": sizes.get("outputs_on_a_page"),
        "ratings_per_output": sizes.get("ratings_per_output"),
        "pages": sizes.get("pages"),
        "balance": written.get("balance", ""),
        "assignment": written.get("assignment", ""),
        "sampling_notes": [*written.get("sampling_notes", []), *written.get("control_notes", [])],
        "drawn": not study.chosen_ids.strip() and bool(study.number_of_items),
        "chosen": bool(study.chosen_ids.strip()),
        "strata": study.get_strata_display() if study.strata else "",
        "allocation": study.get_allocation_display(),
        "dataset": study.dataset.content_hash if study.dataset else "",
        "part": study.get_part_display() if study.dataset else "",
        "languages": data.languages,
        "normalisation": plain(study.normalisation),
        "instructions": study.instructions,
        "practice": study.practice,
        "checks": study.checks,
        "repeats": study.repeats,
        "guesses": study.guesses,
        "on_failure": study.on_failure,
        "min_passed": study.min_passed,
        "min_seconds": study.min_seconds,
        "power": _power(written),
    }


def _power(written: dict[str, Any]) -> dict[str, Any] | None:
    """The power analysis that the protocol keeps. Its figures are given only where it is of the plan that was started:
    `differs` says in words where it is not."""
    found = written.get("power")
    if not found:
        return None
    parameters, results, sizes = found["parameters"], found["results"], written["sizes"]
    plan = {
        "system": len(written["systems"]),
        "reviewer": sizes["reviewers"],
        "planned test": max(1, len(written["planned_tests"])),
    }
    simulated = {"system": "systems", "reviewer": "reviewers", "planned test": "tests"}
    differs = [
        f"{words.count(parameters[simulated[noun]], noun)} where the study has {number:,}"
        for noun, number in plan.items()
        if parameters.get(simulated[noun], number) != number
    ]
    said = f"It was for another plan: {words.listed(differs)}."
    return {
        "at": found["at"],
        "difference": parameters.get("difference"),
        "margin": parameters.get("margin"),
        "goal": parameters.get("goal"),
        "simulations": parameters.get("simulations"),
        "differs": differs,
        "words": [said] if differs else list(results.get("words", [])),
        "row": None
        if differs
        else _simulated(results.get("table", []), sizes["texts"], sizes.get("ratings_per_output")),
    }


def _simulated(table: list[dict[str, Any]], texts: int, ratings_per_output: int | None) -> dict[str, Any] | None:
    """What was simulated for the numbers that the study has; None where only others were tried."""
    for row in table:
        if (row.get("items"), row.get("ratings_per_output")) == (texts, ratings_per_output):
            return plain(row)
    return None


def _systems(data: Data) -> list[dict[str, Any]]:
    return [
        {
            "system": place,
            "id": system.pk,
            "name": system.name,
            "kind": system.get_kind_display(),
            "is_reference": place == 0,
            "is_tuned": place in data.tuned,
            "is_control": system.kind in CONTROLS,
            "is_original": system.kind == SystemKind.ORIGINAL,
            "is_scratch": system.is_scratch,
        }
        for place, system in enumerate(data.systems)
    ]


def _criterion(criterion) -> dict[str, Any]:
    return {
        "key": criterion.key,
        "name": criterion.name,
        "question": criterion.question,
        "anchors": list(criterion.anchors),
        "levels": criterion.levels,
        "hypothesis": criterion.hypothesis,
        "hypothesis_words": Hypothesis(criterion.hypothesis).label,
        "margin": criterion.margin,
    }


def _counts(data: Data) -> dict[str, Any]:
    """How much there is. Pages are those of the study proper that people were shown; `same` had only outputs alike, and
    nobody had to see them. `used` is what the main analysis counts of all that."""
    study = data.study
    shown = Q(kind=TaskKind.RATING)
    finished = Q(done_at__isnull=False)
    counts: dict[str, Any] = study.tasks.aggregate(
        pages=Count("pk", filter=shown),
        finished=Count("pk", filter=shown & finished),
        same=Count("pk", filter=Q(kind=TaskKind.SAME)),
        texts=Count("item", distinct=True, filter=shown | Q(kind=TaskKind.SAME)),
        texts_rated=Count("item", distinct=True, filter=shown & finished),
        reviewers=Count("reviewer", distinct=True),
        reviewers_who_rated=Count("reviewer", distinct=True, filter=shown & finished),
    )
    used = exclusions.pages(study).filter(kind=TaskKind.RATING)
    counts["used"] = used.aggregate(
        pages=Count("pk"), texts=Count("item", distinct=True), reviewers=Count("reviewer", distinct=True)
    ) | {"ratings": Rating.objects.filter(slot__task__in=used.values("pk"), value__isnull=False).count()}
    ratings = Rating.objects.filter(
        slot__task__study=study, slot__task__kind=TaskKind.RATING, slot__task__done_at__isnull=False
    )
    counts |= ratings.aggregate(
        ratings=Count("pk", filter=Q(value__isnull=False)), cannot_judge=Count("pk", filter=Q(value=None))
    )
    timed = data.seconds[data.seconds > 0]
    counts["median_seconds"] = float(np.median(timed)) if timed.size else None
    counts["hours"] = float(data.seconds.sum() / 3600)
    return counts


def _left_out(data: Data) -> dict[str, Any]:
    """Whom and what the rules left out of the main analysis."""
    at = dict(zip(data.reviewers, data.names, strict=True))
    return {
        "reviewers": [at[pk] for pk in data.reviewers if pk in data.excluded],
        "fast_pages": data.fast_pages,
        "anything": data.leaves_out,
    }


# What was found


def _means(data: Data, seed: int, step) -> list[dict[str, Any]]:
    rows = []
    for place, criterion in enumerate(data.criteria):
        given = data.given[criterion.key]
        top = max(1, min(2, criterion.levels // 2))
        found = means.summaries(given.of(True), rng=_rng(seed, SUMMARY, place), top=top)
        rows += [{"criterion": criterion.key, "top_levels": top, **plain(summary)} for summary in found]
        step(f"Means: {criterion.name}")
    return rows


def _cannot(data: Data) -> list[dict[str, Any]]:
    return [
        {
            "criterion": criterion.key,
            "system": system,
            "reason": reason,
            "reason_words": CannotJudge(reason).label,
            "n": n,
        }
        for criterion in data.criteria
        for (system, reason), n in sorted(data.given[criterion.key].cannot.items())
    ]


def _everybody(data: Data, seed: int, names: list[str]) -> dict[str, Any] | None:
    """The comparisons once more with everybody; None where the rules left nobody and nothing out."""
    if not data.leaves_out:
        return None
    ratings = {key: given.of(False) for key, given in data.given.items()}
    compared = compare(
        data.criteria, ratings, lambda c, s: _rng(seed, EVERYBODY, c, s), lambda words: None, checks=False
    )
    chosen = preferences(data.choosing, names, planned=_plans_preferences(data.study), main=False)
    return {"comparisons": compared["rows"], "preferences": chosen}


def _agreement(data: Data, seed: int, step) -> list[dict[str, Any]]:
    rows = []
    for place, criterion in enumerate(data.criteria):
        ratings = data.given[criterion.key].of(True)
        alpha = reliability.alpha(ratings, rng=_rng(seed, AGREEMENT, place))
        rows.append({"criterion": criterion.key, "alpha": plain(alpha), "icc": plain(reliability.intraclass(ratings))})
        step(f"Agreement: {criterion.name}")
    return rows


def _consistency(data: Data) -> dict[str, Any] | None:
    """How far reviewers repeated themselves; None where no page was shown twice."""
    if not data.study.repeats:
        return None
    found = []
    for criterion in data.criteria:
        reviewer, first, second = data.repeats.ratings[criterion.key]
        whole = reliability.consistency(reviewer, first, second, levels=criterion.levels).overall
        found.append({"criterion": criterion.key, **plain(whole)})
    _, same = data.repeats.chosen
    chosen = plain(share(int(same.sum()), int(same.size))) if data.study.asks_preference else None
    return {"criteria": found, "preference": chosen}


def _groups(data: Data, seed: int) -> list[dict[str, Any]]:
    """Each system's difference from the reference by target group and by stratum, where there are several."""
    found: list[dict[str, Any]] = []
    for number, (by, labels) in enumerate((("target_group", data.groups), ("stratum", data.strata))):
        names = sorted({label for label in labels if label})
        if by == "stratum" and data.study.strata == Strata.TARGET_GROUP:
            continue  # the same once more
        if not 1 < len(names) <= MAX_GROUPS:
            continue
        codes = np.array([names.index(label) if label else -1 for label in labels])
        for place, criterion in enumerate(data.criteria):
            ratings = data.given[criterion.key].of(True)
            for system in range(1, len(data.systems)):
                rng = _rng(seed, GROUPS, number, place, system)
                rows = groups.differences_by_group(ratings, codes, system, 0, rng=rng)
                found += [
                    {
                        "by": by,
                        "group": names[row.group],
                        "criterion": criterion.key,
                        "system": system,
                        "plain": plain(row.plain),
                        "pooled": plain(row.pooled),
                    }
                    for row in rows.groups
                ]
    return found


def _blinding(data: Data) -> dict[str, Any] | None:
    """None where the study did not ask for guesses."""
    if not data.study.guesses:
        return None
    guesses = data.guesses
    found = blinding.blinding(guesses.is_tuned, guesses.guess, item=guesses.item, reviewer=guesses.reviewer)
    return {**plain(found), "mixed": guesses.mixed, "has_tuned": bool(data.tuned)}


def _attention(data: Data) -> dict[str, Any]:
    """Attention checks, each reviewer's by anonymous name, and how many have other roles in the project: roles beside a
    name would tell who it is, in a team with one lead."""
    roles = reading.other_roles(data.study)
    pages = dict(
        data.study.tasks.filter(kind=TaskKind.RATING, done_at__isnull=False)
        .order_by()
        .values_list("reviewer_id")
        .annotate(n=Count("pk"))
    )
    reviewers = []
    for pk, name in zip(data.reviewers, data.names, strict=True):
        checks = data.checks.get(pk)
        reviewers.append(
            {
                "reviewer": name,
                "pages": pages.get(pk, 0),
                "checks": checks.done if checks else 0,
                "passed": checks.passed if checks else 0,
                "failed": bool(checks and checks.failed(data.study)),
                "excluded": pk in data.excluded,
            }
        )
    done, passed = (sum(row[name] for row in reviewers) for name in ("checks", "passed"))
    return {
        "reviewers": reviewers,
        "with_other_roles": len(roles),
        "passed": plain(share(passed, done)),
        "asked": data.study.checks,
    }
