"""What keeps people well who read harmful texts for hours: opt-outs, limits, pauses, and seeing one's own exposure.

People read texts when they annotate, when they vote on rewrites, and in practice; all of it counts. Votes count by
their text: several rewrites of one text are one text. A text is severe for somebody when their own annotation has the
highest level of a dimension that the project counts as severe (`Project.severe_dimensions`). Days begin at midnight in
the server's time zone.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.db import connection, transaction
from django.db.models import Count, F, Q, QuerySet, Sum
from django.utils import timezone

from annotation import handout
from annotation.models import (
    Annotation,
    AnnotatorChoices,
    Dimension,
    Membership,
    Pause,
    PracticeAnswer,
    Project,
    RewriteVote,
    Role,
    VoteState,
)
from annotation.validators import PreconditionNeeded


class LimitReached(PreconditionNeeded):
    """This person has read enough for today."""

    def __init__(self, message: str) -> None:
        super().__init__(message, code="daily_limit")


def midnight() -> datetime:
    """When today began."""
    return timezone.localtime().replace(hour=0, minute=0, second=0, microsecond=0)


def tomorrow() -> datetime:
    """When the next day begins, also where a day has 23 or 25 hours."""
    noon = midnight().replace(hour=12) + timedelta(days=1)
    return timezone.make_aware(noon.replace(hour=0, tzinfo=None))


# What annotators choose


def choices_of(user, project: Project) -> AnnotatorChoices:
    """What this person chose in the project; not stored yet where they chose nothing."""
    found = AnnotatorChoices.objects.filter(project=project, annotator=user).first()
    return found or AnnotatorChoices(project=project, annotator=user)


def kind_names(project: Project) -> list[str]:
    return [kind["name"] for kind in project.content_kinds]


@transaction.atomic
def choose(user, project: Project, *, declined_kinds: Any = None, daily_limit: Any = None) -> AnnotatorChoices:
    """Change what this person wants; what is None stays. No reason is asked for, nothing is logged.

    Args:
        daily_limit: at most this many texts a day; 0 for the project's limit alone.

    Raises:
        ValidationError: keyed by field.
    """
    AnnotatorChoices.objects.get_or_create(project=project, annotator=user)
    chosen = AnnotatorChoices.objects.select_for_update().get(project=project, annotator=user)
    errors: dict[str, Any] = {}
    if daily_limit is not None:
        if type(daily_limit) is not int or daily_limit < 0 or daily_limit > 100_000:
            errors["daily_limit"] = "Give a whole number of texts from 1 to 100,000, or 0 for no limit of your own."
        elif project.daily_limit and daily_limit > project.daily_limit:
            errors["daily_limit"] = f"The project's limit is {project.daily_limit:,} a day; yours can only be lower."
        else:
            chosen.daily_limit = daily_limit
    if declined_kinds is not None:
        # A kind that the project has dropped meanwhile may stay declined: its texts still carry the name.
        known = [*kind_names(project), *chosen.declined_kinds]
        if not isinstance(declined_kinds, list) or any(kind not in known for kind in declined_kinds):
            listed = ", ".join(kind_names(project)) or "none"
            errors["declined_kinds"] = f"Choose among the project's kinds of content: {listed}."
        else:
            if set(chosen.declined_kinds) - set(declined_kinds):
                handout.forget(user, project)  # what they passed by is for them now
            chosen.declined_kinds = sorted(set(declined_kinds))
    if errors:
        raise ValidationError(errors)
    chosen.save()
    return chosen


def declined_counts(project: Project) -> list[dict[str, Any]]:
    """How many of the project's annotators do not want each kind: {"name", "declined"}. Never who."""
    annotators = Membership.objects.filter(project=project, role=Role.ANNOTATOR).values("user")
    rows = AnnotatorChoices.objects.filter(project=project, annotator__in=annotators)
    declined = [kind for kinds in rows.values_list("declined_kinds", flat=True) for kind in kinds]
    names = dict.fromkeys([*kind_names(project), *sorted(declined)])
    return [{"name": name, "declined": declined.count(name)} for name in names]


def warnings_for(project: Project, kinds: Iterable[str]) -> list[dict[str, str]]:
    """Name and warning of each kind that a text has, in the project's order."""
    kinds = list(kinds)
    listed = [kind for kind in project.content_kinds if kind["name"] in kinds]
    names = {kind["name"] for kind in listed}
    return listed + [{"name": kind, "warning": ""} for kind in kinds if kind not in names]


# Severe texts


def severe_labels(project: Project) -> dict[str, str]:
    """The level that makes a text severe, by dimension."""
    severe = project.severe_dimensions
    return {one.key: one.levels[-1] for one in project.dimensions_in_order if one.key in severe}


def is_severe(project: Project) -> Q:
    """A condition on annotations of the project."""
    condition = Q(pk__in=[])
    for key, level in severe_labels(project).items():
        condition |= Q(labels__contains={key: level})
    return condition


def _own(user, project: Project) -> QuerySet[Annotation]:
    """What this person annotated here. What came in with an import they have read elsewhere, at another time."""
    return Annotation.objects.filter(project=project, annotator=user, imported=None)


# What the page of every text shows, in one question: texts annotated today; the severe ones in a row at the end, since
# the last pause (after the last one that is not severe there are only severe ones); whether a lead sent something back.
_SO_FAR = """
WITH own AS NOT MATERIALIZED (
    SELECT mine.created_at, mine.labels FROM annotation_annotation mine
    WHERE mine.project_id = %(project)s AND mine.annotator_id = %(user)s
        AND NOT EXISTS (SELECT FROM annotation_importedannotation elsewhere WHERE elsewhere.annotation_id = mine.id)
)
SELECT
    (SELECT count(*) FROM own WHERE created_at >= %(midnight)s),
    (SELECT count(*) FROM own WHERE created_at > greatest(
        (SELECT created_at FROM own WHERE NOT labels @> ANY(%(severe)s::jsonb[]) ORDER BY created_at DESC LIMIT 1),
        (SELECT started_at FROM annotation_pause
            WHERE project_id = %(project)s AND annotator_id = %(user)s ORDER BY id DESC LIMIT 1),
        '-infinity'
    )),
    EXISTS (
        SELECT FROM annotation_sendback sent JOIN annotation_annotation about ON about.id = sent.annotation_id
        WHERE about.project_id = %(project)s AND about.annotator_id = %(user)s
            AND sent.answered_at IS NULL AND sent.withdrawn_at IS NULL
    )
"""


@dataclass(frozen=True)
class SoFar:
    """What somebody did in a project, as their next text's page needs it.

    today: texts annotated since midnight. severe_run: severe ones in a row at the end, since the last pause.
    sent_back: whether a lead sent something back that they have not answered.
    """

    today: int
    severe_run: int
    sent_back: bool


def so_far(user, project: Project) -> SoFar:
    """What this person did here, as of now."""
    severe = [json.dumps({key: level}) for key, level in severe_labels(project).items()]
    values = {"project": project.pk, "user": user.pk, "midnight": midnight(), "severe": severe}
    with connection.cursor() as cursor:
        cursor.execute(_SO_FAR, values)
        return SoFar(*cursor.fetchone())


def finished_today(user, project: Project) -> int:
    """How many texts this person has annotated since midnight."""
    return _own(user, project).filter(created_at__gte=midnight()).count()


def read_today(user, project: Project) -> int:
    """How many texts this person has read since midnight: annotated, voted on, or answered in practice."""
    since = midnight()
    annotated = _own(user, project).filter(created_at__gte=since)
    voted = _given().filter(project=project, voter=user, given_at__gte=since)
    practised = _answered().filter(project=project, annotator=user, answered_at__gte=since)
    # An answer is one text of one round, so practice in two rounds is read twice.
    together = (
        annotated.order_by()
        .values_list("item_id")
        .union(
            voted.order_by().values_list("rewrite__item_id").distinct(),
            practised.order_by().values_list("item_id"),
            all=True,
        )
    )
    return together.count()


def _given() -> QuerySet[RewriteVote]:
    return RewriteVote.objects.filter(state=VoteState.GIVEN)


def _answered() -> QuerySet[PracticeAnswer]:
    return PracticeAnswer.objects.filter(answered_at__isnull=False)


# The limit of a day


def daily_limit(project: Project, choices: AnnotatorChoices) -> int:
    """How many texts this person may read a day: the project's limit or their own lower one; 0 for no limit."""
    return min((limit for limit in (project.daily_limit, choices.daily_limit) if limit), default=0)


def check_limit(user, project: Project, choices: AnnotatorChoices) -> None:
    """Raise LimitReached when this person has read enough for today."""
    limit = daily_limit(project, choices)
    if limit and (done := read_today(user, project)) >= limit:
        own = limit == choices.daily_limit and limit != project.daily_limit
        whose = "your own limit for a day, which you can change under Wellbeing" if own else "the limit for a day here"
        raise LimitReached(
            f"You have read {done:,} text{'' if done == 1 else 's'} today. That is {whose}; "
            "thank you. More are there for you tomorrow."
        )
    if project.daily_severe_limit:
        severe = _own(user, project).filter(is_severe(project), created_at__gte=midnight()).count()
        if severe >= project.daily_severe_limit:
            raise LimitReached(
                f"You have read {severe:,} severe text{'' if severe == 1 else 's'} today. That is enough for a day; "
                "thank you. More texts are there for you tomorrow."
            )


# Pauses


def pause_suggested(project: Project, severe_run: int) -> bool:
    """Whether to suggest a pause with the next text: after every `pause_after` severe texts in a row."""
    return bool(project.pause_after) and severe_run > 0 and severe_run % project.pause_after == 0


def begin_pause(user, project: Project) -> Pause:
    """A pause from now on, or the one that this person is taking already."""
    end_pause(user, project, only_over=True)
    return Pause.objects.get_or_create(project=project, annotator=user, ended_at=None)[0]


def end_pause(user, project: Project, only_over: bool = False) -> None:
    """Back to work. A pause that nobody ended counts for as long as it was meant to last.

    Args:
        only_over: end it only if its time is over.
    """
    running = Pause.objects.filter(project=project, annotator=user, ended_at=None)
    for pause in running:
        over = pause.started_at + Pause.PLANNED
        if timezone.now() >= over or not only_over:
            running.filter(pk=pause.pk).update(ended_at=min(timezone.now(), over))


# Exposure

SPANS = ("today", "week", "month", "total")  # today, the last 7 and 30 days with it, and all


@dataclass
class Figure:
    """A number for each of SPANS."""

    today: int = 0
    week: int = 0
    month: int = 0
    total: int = 0

    def add(self, row: dict[str, Any], prefix: str = "") -> None:
        for span in SPANS:
            setattr(self, span, getattr(self, span) + (row[f"{prefix}{span}"] or 0))

    def minutes(self) -> "Figure":
        """Seconds as whole minutes."""
        return Figure(*(round(getattr(self, span) / 60) for span in SPANS))


@dataclass
class Exposure:
    """What one person, or everybody in a project, has read.

    texts, severe: annotated texts. voted, practised: texts read in voting and in practice. seconds: with the page in
    front and in use, annotating and in practice; voting is not timed. kinds: of all texts that were read.
    """

    texts: Figure = field(default_factory=Figure)
    voted: Figure = field(default_factory=Figure)
    practised: Figure = field(default_factory=Figure)
    severe: Figure = field(default_factory=Figure)
    seconds: Figure = field(default_factory=Figure)
    pauses: Figure = field(default_factory=Figure)
    kinds: dict[str, Figure] = field(default_factory=dict)
    highest: dict[str, tuple[str, str, Figure]] = field(default_factory=dict)  # by key: dimension's name, level

    @property
    def minutes(self) -> Figure:
        return self.seconds.minutes()


FIGURES = ("texts", "voted", "practised", "severe", "seconds", "pauses")


def own_exposure(user) -> list[tuple[Project, Exposure]]:
    """What this person has read in each project, by name. For themselves only."""
    own = Annotation.objects.filter(annotator=user, imported=None)
    voted, practised = _given().filter(voter=user), _answered().filter(annotator=user)
    found = _exposures(own, voted, practised, "project_id", "project_id")
    for row in _counted(Pause.objects.filter(annotator=user), "project_id", "started_at"):
        found.setdefault(row["project_id"], Exposure()).pauses.add(row)
    projects = Project.objects.filter(pk__in=found).order_by("name", "pk")
    return [(project, found[project.pk]) for project in projects]


def project_exposure(project: Project) -> tuple[Exposure, list[tuple[Any, Exposure]]]:
    """What everybody has read in a project together, and each member who read something, by name; for its leads.

    Pauses are in the sum only: whether somebody rests is their own.
    """
    rows = Annotation.objects.filter(project=project, imported=None)
    voted, practised = _given().filter(project=project), _answered().filter(project=project)
    found = _exposures(rows, voted, practised, "annotator_id", "voter_id")
    together = Exposure()
    for exposure in found.values():
        _add(together, exposure)
    for row in _counted(Pause.objects.filter(project=project), "project_id", "started_at"):
        together.pauses.add(row)
    members = Membership.objects.filter(project=project, user__in=found).select_related("user")
    people = {member.user_id: member.user for member in members.order_by("user__username")}
    return together, [(person, found[key]) for key, person in people.items()]


def sum_of(exposures: Iterable[Exposure]) -> Exposure:
    """Several projects taken together; without kinds and levels, which are each project's own."""
    together = Exposure()
    for exposure in exposures:
        for name in FIGURES:
            getattr(together, name).add(vars(getattr(exposure, name)))
    return together


def _add(together: Exposure, more: Exposure) -> None:
    for name in FIGURES:
        getattr(together, name).add(vars(getattr(more, name)))
    for kind, figure in more.kinds.items():
        together.kinds.setdefault(kind, Figure()).add(vars(figure))
    for key, (name, level, figure) in more.highest.items():
        together.highest.setdefault(key, (name, level, Figure()))[2].add(vars(figure))


def _since() -> dict[str, datetime]:
    begin = midnight()
    return {"today": begin, "week": begin - timedelta(days=6), "month": begin - timedelta(days=29)}


def _counted(rows: QuerySet, group: str, at: str, *more: str, counting: str = "pk") -> QuerySet:
    """How many rows there are in each of SPANS, per group.

    Args:
        counting: a field whose different values are counted, in place of rows.
    """
    several = counting != "pk"
    counts = {
        span: Count(counting, distinct=several, filter=Q(**{f"{at}__gte": since})) for span, since in _since().items()
    }
    return rows.order_by().values(group, *more).annotate(total=Count(counting, distinct=several), **counts)


def _seconds(at: str) -> dict[str, Sum]:
    """Active seconds in each of SPANS."""
    sums = {f"seconds_{span}": Sum("active_seconds", filter=Q(**{f"{at}__gte": s})) for span, s in _since().items()}
    return sums | {"seconds_total": Sum("active_seconds")}


def _exposures(
    rows: QuerySet[Annotation],
    voted: QuerySet[RewriteVote],
    practised: QuerySet[PracticeAnswer],
    group: str,
    voters: str,
) -> dict[int, Exposure]:
    """Exposure by project or by annotator. Counted in the database, by the combinations of labels there are.

    Args:
        group: the field of annotations and practice answers to group by. voters: that of votes.
    """
    by_labels = list(_counted(rows, group, "created_at", "project_id", "labels").annotate(**_seconds("created_at")))
    projects = {row["project_id"] for row in by_labels}
    dimensions: dict[int, list[Dimension]] = {}
    for dimension in Dimension.objects.filter(project__in=projects):
        dimensions.setdefault(dimension.project_id, []).append(dimension)
    severe = dict(Project.objects.filter(pk__in=projects).values_list("pk", "severe_dimensions"))
    found: dict[int, Exposure] = {}
    for row in by_labels:
        exposure = found.setdefault(row[group], Exposure())
        exposure.texts.add(row)
        exposure.seconds.add(row, "seconds_")
        is_severe = False
        for dimension in dimensions.get(row["project_id"], []):
            top = dimension.levels[-1]
            figure = exposure.highest.setdefault(dimension.key, (dimension.name, top, Figure()))[2]
            if row["labels"].get(dimension.key) == top:
                figure.add(row)
                is_severe |= dimension.key in severe[row["project_id"]]
        if is_severe:
            exposure.severe.add(row)
    for row in _counted(voted, voters, "given_at", counting="rewrite__item_id"):
        found.setdefault(row[voters], Exposure()).voted.add(row)
    for row in _counted(practised, group, "answered_at").annotate(**_seconds("answered_at")):
        exposure = found.setdefault(row[group], Exposure())
        exposure.practised.add(row)
        exposure.seconds.add(row, "seconds_")
    for read, by, at, item, counting in (
        (rows, group, "created_at", "item", "pk"),
        (voted, voters, "given_at", "rewrite__item", "rewrite__item_id"),
        (practised, group, "answered_at", "item", "pk"),
    ):
        marked = read.exclude(**{f"{item}__content_kinds": []}).annotate(kinds=F(f"{item}__content_kinds"))
        for row in _counted(marked, by, at, "kinds", counting=counting):
            for kind in row["kinds"]:
                found[row[by]].kinds.setdefault(kind, Figure()).add(row)
    return found
