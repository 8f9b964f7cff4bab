"""How well people judge: accuracy on gold texts, consistency on repeated ones, practice. Counted in SQL.

Always counts what was submitted first: a later change of mind must not tell which text was gold.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.contrib.auth import get_user_model
from django.db import connection

from annotation import wellbeing
from annotation.models import Annotation, Dimension, ItemKind, Project, Scale

# Annotators see their own figures over so many gold texts, in steps, as of last midnight.
OWN_MINIMUM = 20
OWN_STEP = 10

FIRST_LABELS = """
    COALESCE(
        (SELECT r.content -> 'labels' FROM annotation_annotationrevision r
         WHERE r.annotation_id = a.id AND r.number = 1),
        a.labels)
"""
ACCURACY = f"""
SELECT a.annotator_id, known.key,
    count(*) AS n,
    count(*) FILTER (WHERE known.accepted ? (first.labels ->> known.key)) AS hits
FROM annotation_annotation a
JOIN annotation_gold gold ON gold.item_id = a.item_id
CROSS JOIN LATERAL (SELECT {FIRST_LABELS} AS labels) first
CROSS JOIN LATERAL jsonb_each(gold.labels) AS known(key, accepted)
WHERE a.project_id = %(project)s AND a.kind = 'gold' AND first.labels ? known.key
    AND (%(annotator)s::bigint IS NULL OR (a.annotator_id = %(annotator)s AND a.id <= %(until)s))
GROUP BY a.annotator_id, known.key
"""  # noqa: S608 - constants only
REPEATS = f"""
SELECT a.annotator_id, label.key, original.labels ->> label.key AS before, label.level AS after, count(*) AS n
FROM annotation_annotation a
JOIN annotation_item item ON item.id = a.item_id
JOIN LATERAL (
    SELECT {FIRST_LABELS.replace("a.", "o.")} AS labels
    FROM annotation_annotation o WHERE o.item_id = item.repeat_of_id AND o.annotator_id = a.annotator_id
) original ON true
CROSS JOIN LATERAL (SELECT {FIRST_LABELS} AS labels) first
CROSS JOIN LATERAL jsonb_each_text(first.labels) AS label(key, level)
WHERE a.project_id = %(project)s AND a.kind = 'repeat' AND original.labels ? label.key
    AND (%(annotator)s::bigint IS NULL OR (a.annotator_id = %(annotator)s AND a.id <= %(until)s))
GROUP BY a.annotator_id, label.key, before, after
"""  # noqa: S608 - constants only


@dataclass(frozen=True)
class Share:
    """A percentage with its 95 % interval: `percent`, `low` and `high` from 0 to 100; all None where n is 0."""

    hits: int
    n: int
    percent: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Consistency:
    """How often the same person chose the same level again, and kappa between the two times.

    kappa is None where it is not defined; `why` says so in words then. `weighted` says which kappa it is.
    """

    same: Share
    kappa: float | None
    weighted: bool
    why: str


def share(hits: int, n: int) -> Share:
    """A share with Wilson's 95 % interval.

    Source: Wilson, JASA 22 (1927), by statsmodels.stats.proportion.proportion_confint. Assumes independent answers.
    """
    if not n:
        return Share(0, 0, None, None, None)
    from statsmodels.stats.proportion import proportion_confint  # here: it takes a second to load

    low, high = proportion_confint(hits, n, alpha=0.05, method="wilson")
    return Share(hits, n, 100 * hits / n, 100 * float(low), 100 * float(high))


def consistency(counts: dict[tuple[str, str], int], levels: list[str], *, ordinal: bool) -> Consistency:
    """Agreement of a person with themselves.

    Args:
        counts: (level first, level again) -> how often. ordinal: whether a far miss counts more than a near one.

    Source: Cohen, EPM 20 (1960), and with squared weights Psychological Bulletin 70 (1968), by
    statsmodels.stats.inter_rater.cohens_kappa.
    """
    n = sum(counts.values())
    same = share(sum(count for (before, after), count in counts.items() if before == after), n)
    weighted = ordinal and len(levels) > 2
    used = {level for pair in counts for level in pair}
    if n < 2:
        return Consistency(same, None, weighted, "too few repeats" if n else "no repeats yet")
    if len(used) < 2:
        return Consistency(same, None, weighted, "always the same level, so kappa is not defined")
    import numpy as np
    from statsmodels.stats.inter_rater import cohens_kappa

    order = [*levels, *sorted(used - set(levels))]
    table = np.array([[counts.get((before, after), 0) for after in order] for before in order], dtype=float)
    with np.errstate(all="ignore"):
        kappa = float(cohens_kappa(table, wt="quadratic" if weighted else None, return_results=True).kappa)
    if not np.isfinite(kappa):
        return Consistency(same, None, weighted, "kappa is not defined here")
    return Consistency(same, kappa, weighted, "")


def _rows(sql: str, project: Project, annotator: int | None, until: int | None) -> list[tuple]:
    with connection.cursor() as cursor:
        cursor.execute(sql, {"project": project.pk, "annotator": annotator, "until": until})
        return cursor.fetchall()


def _figures(
    project: Project, dimensions: Iterable[Dimension], annotator: int | None = None, until: int | None = None
) -> dict[int, dict[str, Any]]:
    """Per annotator: gold {"overall", "dimensions"} and repeats, both in the order of the dimensions."""
    dimensions = list(dimensions)
    gold: dict[int, dict[str, tuple[int, int]]] = {}
    for person, key, n, hits in _rows(ACCURACY, project, annotator, until):
        gold.setdefault(person, {})[key] = (hits, n)
    again: dict[int, dict[str, dict[tuple[str, str], int]]] = {}
    for person, key, before, after, n in _rows(REPEATS, project, annotator, until):
        again.setdefault(person, {}).setdefault(key, {})[before, after] = n
    found = {}
    for person in gold.keys() | again.keys():
        known, twice = gold.get(person, {}), again.get(person, {})
        found[person] = {
            "overall": share(sum(hits for hits, _ in known.values()), sum(n for _, n in known.values())),
            "gold": [{"dimension": one, "share": share(*known.get(one.key, (0, 0)))} for one in dimensions],
            "repeats": [
                {
                    "dimension": one,
                    "consistency": consistency(twice.get(one.key, {}), one.levels, ordinal=one.scale == Scale.ORDINAL),
                }
                for one in dimensions
            ],
        }
    return found


def _texts(project: Project) -> dict[tuple[int, str], int]:
    """How many gold and repeated texts each person has finished: (person, kind) -> number."""
    from django.db.models import Count

    rows = (
        Annotation.objects.filter(project=project, kind__in=[ItemKind.GOLD, ItemKind.REPEAT])
        .values_list("annotator_id", "kind")
        .annotate(n=Count("pk"))
        .order_by()
    )
    return {(person, kind): n for person, kind, n in rows}


def per_annotator(project: Project) -> list[dict[str, Any]]:
    """Everybody who annotates or has answered a hidden text, by name. For leads only."""
    figures = _figures(project, project.dimensions.all())
    texts = _texts(project)
    people = get_user_model().objects.filter(pk__in={*figures, *(person for person, _ in texts)})
    annotators = get_user_model().objects.filter(memberships__project=project, memberships__role="annotator")
    empty = _empty(project)
    return [
        {
            "user": user,
            "gold_texts": texts.get((user.pk, ItemKind.GOLD), 0),
            "repeated_texts": texts.get((user.pk, ItemKind.REPEAT), 0),
            **figures.get(user.pk, empty),
        }
        for user in sorted({*people, *annotators}, key=lambda user: user.get_username().lower())
    ]


def _empty(project: Project) -> dict[str, Any]:
    dimensions = list(project.dimensions.all())
    return {
        "overall": share(0, 0),
        "gold": [{"dimension": one, "share": share(0, 0)} for one in dimensions],
        "repeats": [
            {"dimension": one, "consistency": consistency({}, one.levels, ordinal=False)} for one in dimensions
        ],
    }


def own(user, project: Project) -> dict[str, Any] | None:
    """One's own figures; None until there are enough.

    They cover the first OWN_MINIMUM gold texts, then OWN_STEP more at a time, and only what was finished before today.
    So no single answer moves them, and nothing moves while one works: they cannot tell which texts were gold.
    """
    mine = Annotation.objects.filter(project=project, annotator=user, kind=ItemKind.GOLD)
    mine = mine.filter(created_at__lt=wellbeing.midnight())
    texts = mine.count()
    counted = texts - texts % OWN_STEP
    if counted < OWN_MINIMUM:
        return None
    until = mine.order_by("pk").values_list("pk", flat=True)[counted - 1]
    found = _figures(project, project.dimensions.all(), user.pk, until).get(user.pk)
    return {"gold_texts": counted, **(found or _empty(project))}
