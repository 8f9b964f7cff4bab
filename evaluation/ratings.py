"""What reviewers of closed studies answered, one row a rating of an output: the export, and a report's raw data."""

from collections.abc import Iterator
from typing import Any

from django.contrib.postgres.expressions import ArraySubquery
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import OuterRef, QuerySet

from annotation import exports
from annotation.models import Export, Project, Role
from evaluation import anonymous, exclusions
from evaluation.models import Slot, SlotOutput, Study, StudyItem, StudyQuerySet, StudyStatus
from evaluation.studies import HIDDEN_RESULTS

# What each column means, for the codebook beside raw data and for docs/formats.md.
MEANING = {
    "study": "Name of the study.",
    "layout": "What a page showed: rate (one output), side_by_side, pairwise, best_worst.",
    "reviewer": "Who rated: a username, or a name that tells nothing.",
    "external_id": "The text's id.",
    "stratum": "The kind of text it was drawn as; empty where texts were not drawn by kind.",
    "target_group": "Whom the text is about, as imported.",
    "system": "The system that wrote the output; empty for the output of an attention check that says what to choose.",
    "shared_with": "Other systems whose output read the same: rated once, one row for each of them.",
    "criterion": "Key of the criterion; empty for layouts without criteria.",
    "value": "Level, 1 is the worst; empty where none could be given.",
    "cannot_judge": "Why no level could be given: unclear, language, context, upsetting, other.",
    "preference": "Of this output on its page: preferred, other, tie, or cannot_judge: and why; empty where not asked.",
    "worst_best": "Of pages that asked for both: worst, best, or empty.",
    "page_kind": "rating counts; same counts as a tie that nobody was shown; practice, check and repeat do not count.",
    "position": "The output's place on the page, 1 for A.",
    "text_position": "The page's place in this reviewer's order.",
    "active_seconds": "Seconds with the page in front and in use, for the whole page.",
    "excluded": "The rule that leaves the row out of the main analysis: failed_checks, too_fast, or empty.",
    "comment": "The reviewer's comment on the page, repeated on its rows.",
    "rated_at": "When the page was finished, ISO 8601, UTC.",
    "changed_at": "When it was last changed, ISO 8601, UTC.",
}
COLUMNS = list(MEANING)
# What could tell who a reviewer is stays out of data that is handed on.
ANONYMOUS_COLUMNS = [name for name in COLUMNS if name not in ("comment", "rated_at", "changed_at")]

FIELDS = (
    *("pk", "position", "task_id", "task__study_id", "task__study__name", "task__study__layout"),
    *("task__reviewer_id", "task__reviewer__username", "task__item_id", "task__item__external_id"),
    *("task__item__target_group", "task__kind", "task__position", "task__preferred_id", "task__worst_id", "task__tie"),
    *("task__unpreferred", "task__active_seconds", "task__comment", "task__done_at", "task__updated_at"),
    *("slot_outputs__output__system_id", "slot_outputs__output__system__name"),
    *("ratings__criterion__key", "ratings__value", "ratings__cannot_judge"),
)


def clean(project: Project, filters: dict[str, Any]) -> dict[str, Any]:
    """The filter `study`: the id of a closed study. Without it, all closed studies of the project."""
    study = filters.get("study")
    if study in (None, ""):
        return {}
    if not str(study).isdecimal() or len(str(study)) > 18:
        raise ValidationError({"study": "The study is named by its number."})
    found = Study.objects.filter(project=project, pk=int(study)).first()
    if found is None:
        raise ValidationError({"study": f"There is no study {study} in this project."})
    if not found.is_closed:
        raise ValidationError({"study": "Ratings can be exported once the study is closed."})
    return {"study": found.pk}


def allow(user, export: Export) -> None:
    """Nobody reads who wrote what of systems that they rate blind in another study."""
    if _studies(export).hidden_from(user).exists():
        raise PermissionDenied(HIDDEN_RESULTS)


def _studies(export: Export) -> StudyQuerySet:
    closed = Study.objects.filter(project_id=export.project_id, status=StudyStatus.CLOSED)
    return closed.filter(pk=export.filters["study"]) if export.filters.get("study") else closed


def _joined(studies: QuerySet[Study]) -> QuerySet:
    """Each output on a finished page, once for each system it stands for and each criterion it was rated on."""
    slots = Slot.objects.filter(task__study__in=studies.values("pk"), task__done_at__isnull=False)
    return slots.order_by(
        *("task_id", "position", "slot_outputs__output__system_id", "ratings__criterion__position", "ratings__pk")
    )


def rows_of(studies: QuerySet[Study], *, names: dict[int, str] | None = None) -> Iterator[dict[str, Any]]:
    """Rows with COLUMNS, page by page.

    Args:
        names: of reviewers by user id, instead of their own; what could tell who they are is left out then.
    """
    excluded = {study.pk: exclusions.excluded_reviewers(study) for study in studies}
    by_id = {study.pk: study for study in studies}
    drawn = StudyItem.objects.filter(study__in=studies.values("pk")).exclude(stratum="")
    strata = {(study, item): stratum for study, item, stratum in drawn.values_list("study_id", "item_id", "stratum")}
    sharing = SlotOutput.objects.filter(slot=OuterRef("pk")).order_by("output__system_id")
    found = _joined(studies).annotate(sharing=ArraySubquery(sharing.values("output__system__name")))
    for row in found.values(*FIELDS, "sharing").iterator(chunk_size=exports.CHUNK):
        study, kind = row["task__study_id"], row["task__kind"]
        system = row["slot_outputs__output__system__name"] or ""
        reviewer = row["task__reviewer_id"]
        rule = exclusions.rule_of(by_id[study], excluded[study], reviewer, kind, row["task__active_seconds"])
        values = {
            "study": row["task__study__name"],
            "layout": row["task__study__layout"],
            "reviewer": row["task__reviewer__username"] if names is None else names[reviewer],
            "external_id": row["task__item__external_id"],
            "stratum": strata.get((study, row["task__item_id"]), ""),
            "target_group": row["task__item__target_group"],
            "system": system,
            "shared_with": "; ".join(name for name in row["sharing"] if name != system),
            "criterion": row["ratings__criterion__key"] or "",
            "value": row["ratings__value"],
            "cannot_judge": row["ratings__cannot_judge"] or "",
            "preference": _preference(row),
            "worst_best": _worst_best(row),
            "page_kind": kind,
            "position": row["position"],
            "text_position": row["task__position"],
            "active_seconds": row["task__active_seconds"],
            "excluded": rule,
        }
        if names is None:
            values |= {
                "comment": row["task__comment"],
                "rated_at": row["task__done_at"].isoformat(),
                "changed_at": row["task__updated_at"].isoformat(),
            }
        yield values


def _preference(row: dict[str, Any]) -> str:
    """Of this output on its page; empty where the page asked for none."""
    if row["task__unpreferred"]:
        return f"cannot_judge: {row['task__unpreferred']}"
    if row["task__preferred_id"]:
        return "preferred" if row["task__preferred_id"] == row["pk"] else "other"
    return "tie" if row["task__tie"] else ""


def _worst_best(row: dict[str, Any]) -> str:
    if row["task__worst_id"] == row["pk"]:
        return "worst"
    return "best" if row["task__worst_id"] and row["task__preferred_id"] == row["pk"] else ""


def anonymous_rows(study: Study) -> Iterator[dict[str, Any]]:
    """A closed study's rows with ANONYMOUS_COLUMNS."""
    return rows_of(Study.objects.filter(pk=study.pk), names=anonymous.names_of(study))


EXPORTER = exports.Exporter(
    kind="ratings",
    title="Ratings of closed studies",
    formats=("csv", "jsonl"),
    roles=(Role.LEAD, Role.TRAINER),
    columns=lambda export: COLUMNS,
    rows=lambda export: rows_of(_studies(export)),
    count=lambda export: _joined(_studies(export)).count(),
    clean=clean,
    allow=allow,
)
