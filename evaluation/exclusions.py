"""What a study leaves out of its main analysis: reviewers and pages, by rules that were fixed before the start."""

from dataclasses import dataclass
from typing import Any

from django.db.models import Q

from evaluation.models import OnFailure, Rating, ReviewTask, Study, TaskKind

TIMED = (TaskKind.RATING, TaskKind.REPEAT)  # pages that can be answered too fast
FAILED_CHECKS, TOO_FAST = "failed_checks", "too_fast"  # names of the rules, in exports


@dataclass
class Checks:
    """A reviewer's finished attention checks."""

    passed: int = 0
    done: int = 0

    def failed(self, study: Study) -> bool:
        """Whether that is below what the study asks. Who finished none has not failed."""
        return self.done > 0 and 100 * self.passed < study.min_passed * self.done


def checks_of(study: Study) -> dict[int, Checks]:
    """Each reviewer's attention checks, by user id.

    A check names an output that says what to choose. It is passed where that level was chosen for every criterion, or
    where that output was preferred.
    """
    found: dict[int, Checks] = {}
    tasks = list(
        study.tasks.filter(kind=TaskKind.CHECK)
        .order_by()
        .values_list("reviewer_id", "done_at", "expected", "preferred_id")
    )
    slots = [expected["slot"] for _, _, expected, _ in tasks if expected]
    given: dict[str, list[int | None]] = {}
    for slot, value in Rating.objects.filter(slot__in=slots).order_by().values_list("slot_id", "value"):
        given.setdefault(str(slot), []).append(value)
    for reviewer, done_at, expected, preferred in tasks:
        checks = found.setdefault(reviewer, Checks())
        if done_at is None or not expected:
            continue
        checks.done += 1
        values = given.get(expected["slot"], [])
        if "level" in expected:
            checks.passed += bool(values) and all(value == expected["level"] for value in values)
        else:
            checks.passed += str(preferred) == expected["slot"]
    return found


def excluded_reviewers(study: Study) -> set[int]:
    """User ids of those whom the main analysis leaves out, because they failed the attention checks."""
    if study.on_failure != OnFailure.EXCLUDE:
        return set()
    return {reviewer for reviewer, checks in checks_of(study).items() if checks.failed(study)}


def too_fast(study: Study) -> Q:
    """Pages that were answered in less time than the study asks. One that nobody was shown took no time."""
    return Q(kind__in=TIMED, active_seconds__lt=study.min_seconds)


def rule_of(study: Study, excluded: set[int], reviewer: int, kind: str, seconds: int) -> str:
    """Which rule leaves a finished page out, as `pages` does; empty where none does.

    Args:
        excluded: as `excluded_reviewers` gives them.
    """
    if reviewer in excluded:
        return FAILED_CHECKS
    return TOO_FAST if kind in TIMED and seconds < study.min_seconds else ""


def pages_sql(study: Study) -> tuple[str, dict[str, Any]]:
    """SQL that selects the ids of `pages`, and its named parameters, for a larger query."""
    sql, values = pages(study).order_by().values("pk").query.sql_with_params()
    named = {f"page_{number}": value for number, value in enumerate(values)}
    return sql % tuple(f"%({name})s" for name in named), named


def pages(study: Study):
    """Finished pages of the study proper that its main analysis counts."""
    counted = ReviewTask.objects.filter(study=study).counted()
    return counted.exclude(reviewer__in=excluded_reviewers(study)).exclude(too_fast(study))
