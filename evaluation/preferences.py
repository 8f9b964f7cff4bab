"""A closed study as preference data for training: from what reviewers answered back to datasets.

Only pages that the study's main analysis counts: no practice, no attention checks, no repeats, and nobody whom the
rules of the protocol leave out. Outputs that read the same are one output.
"""

from dataclasses import dataclass
from typing import Any

from django.core.exceptions import ValidationError
from django.db import connection, transaction

from evaluation import exclusions
from evaluation.models import Criterion, Study, SystemKind
from training import preferences
from training.models import PreferenceSource
from training.preferences import DIGEST, Made

CHOICE, ALL = "choice", "all"
MAX_DISTANCE = Criterion.MAX_LEVELS - 1

# Each output on each counted page, as it was shown. An output that is the untouched original is never preferred; nor is
# one that the approved rewrite alone stands for, where that is not wanted.
SHOWN = """
shown AS MATERIALIZED (
    SELECT task.id AS task, task.item_id, task.reviewer_id, task.preferred_id, task.worst_id, task.unpreferred,
        slot.id AS slot, slot.text, min(link.output_id) AS output,
        bool_or(system.kind = %(original)s) OR (bool_and(system.kind = %(rewrite)s) AND NOT %(use_rewrite)s) AS barred
    FROM evaluation_reviewtask task
    JOIN evaluation_slot slot ON slot.task_id = task.id
    JOIN evaluation_slotoutput link ON link.slot_id = slot.id
    JOIN evaluation_output output ON output.id = link.output_id
    JOIN evaluation_system system ON system.id = output.system_id
    WHERE task.id IN ({pages})
    GROUP BY task.id, slot.id
)
"""
# Of those who saw both outputs on one page and could choose, more than half preferred the one; in best_worst, found the
# one the best and the other the worst. A tie, or another output preferred to both, is a vote for neither.
BY_CHOICE = """
SELECT one.item_id, one.text AS chosen, other.text AS rejected, min(one.output) AS chosen_output,
    min(other.output) AS rejected_output, bool_or(one.barred) AS barred, count(DISTINCT one.task) AS voters,
    count(DISTINCT one.task) FILTER (
        WHERE one.preferred_id = one.slot AND (NOT %(best_worst)s OR one.worst_id = other.slot)
    ) AS votes, NULL::numeric AS distance
FROM shown one JOIN shown other ON other.task = one.task AND other.text <> one.text
WHERE one.unpreferred = '' GROUP BY 1, 2, 3
"""
# The mean over those who rated both by the same criteria, each person's own mean first.
BY_RATINGS = """
SELECT item_id, chosen, rejected, min(chosen_output) AS chosen_output, min(rejected_output) AS rejected_output,
    bool_or(barred) AS barred, count(*) AS voters, count(*) FILTER (WHERE apart > 0) AS votes, avg(apart) AS distance
FROM (
    SELECT one.item_id, one.reviewer_id, one.text AS chosen, other.text AS rejected,
        min(one.output) AS chosen_output, min(other.output) AS rejected_output, bool_or(one.barred) AS barred,
        avg(one.value - other.value) AS apart
    FROM rated one JOIN rated other ON other.item_id = one.item_id AND other.reviewer_id = one.reviewer_id
        AND other.criterion_id = one.criterion_id AND other.text <> one.text
    GROUP BY 1, 2, 3, 4
) AS person GROUP BY 1, 2, 3
"""
RATED = """
, rated AS MATERIALIZED (
    SELECT shown.item_id, shown.reviewer_id, shown.text, shown.output, shown.barred, rating.criterion_id, rating.value
    FROM shown JOIN evaluation_rating rating ON rating.slot_id = shown.slot
    WHERE rating.value IS NOT NULL AND rating.criterion_id = ANY(%(criteria)s)
)
"""
PREFERRED = """
WITH {shown}{rated}
SELECT pairs.item_id, item.text, pairs.chosen, pairs.rejected, jsonb_strip_nulls(jsonb_build_object(
        'study', %(study)s::bigint, 'chosen', pairs.chosen_output, 'rejected', pairs.rejected_output,
        'by', %(by)s::text, 'distance', round(pairs.distance, 4)
    )) AS origin, pairs.votes, pairs.voters
FROM ({pairs}) AS pairs JOIN annotation_item item ON item.id = pairs.item_id
WHERE NOT pairs.barred AND pairs.votes >= %(least_votes)s AND {enough}
"""
ENOUGH = {
    True: "pairs.votes * 2 > pairs.voters AND pairs.votes * 100 >= %(least_share)s * pairs.voters",
    False: "pairs.distance > 0 AND pairs.distance >= %(distance)s",
}
COUNT = """
WITH found AS MATERIALIZED ({query}), usable AS (
    SELECT DISTINCT item_id, {digest} AS digest FROM found
    WHERE text ~ '\\S' AND chosen ~ '\\S' AND rejected ~ '\\S' AND chosen <> rejected
)
SELECT count(*), count(DISTINCT usable.item_id), count(old.id)
FROM usable LEFT JOIN training_preference old
    ON old.project_id = %(project)s AND old.source = %(source)s AND old.digest = usable.digest
"""


@dataclass(frozen=True)
class Options:
    """What makes a preference.

    by: choice (what reviewers preferred), all (the mean of all criteria) or a criterion's key; "" is the choice where
    the layout asks for one, else all. least_votes: people who preferred it, or rated it higher. least_share: of those
    who chose, in percent, besides being more than half. distance: of mean ratings, in levels. use_rewrite: whether the
    approved rewrite, hidden as a system, may be the preferred one.
    """

    by: str = ""
    least_votes: int = 1
    least_share: int = 51
    distance: float = 0.5
    use_rewrite: bool = True


@dataclass(frozen=True)
class Found:
    """pairs: preferences that the options make. texts: different ones among them. present: there already."""

    pairs: int
    texts: int
    present: int

    @property
    def new(self) -> int:
        return self.pairs - self.present


def bases(study: Study) -> list[tuple[str, str]]:
    """What preferences of this study can be made by, the usual one first: (value, words)."""
    found = [(CHOICE, "What reviewers preferred")] if study.asks_preference else []
    if study.asks_criteria:
        criteria = list(study.criteria.all())
        found += [(ALL, "The mean of all criteria")] if len(criteria) > 1 else []
        found += [(criterion.key, f"{criterion.name}: the mean rating") for criterion in criteria]
    return found


def _query(study: Study, options: Options) -> tuple[str, dict[str, Any]]:
    """SQL with its parameters, with the columns that training.preferences.store wants.

    Raises:
        ValidationError: the study is not closed, or keyed by option.
    """
    if not study.is_closed:
        raise ValidationError("Close the study first; until then nobody learns what was preferred.")
    known = [value for value, _ in bases(study)]
    by = options.by or known[0]
    errors: dict[str, str] = {}
    if by not in known:
        errors["by"] = f"Choose one of {', '.join(known)}."
    if not options.least_votes >= 1:
        errors["least_votes"] = "At least one person must have preferred it."
    if not 0 <= options.least_share <= 100:
        errors["least_share"] = "A share is from 0 to 100 percent; it is always more than half."
    if not 0 <= options.distance <= MAX_DISTANCE:
        errors["distance"] = f"A distance is from 0 to {MAX_DISTANCE} levels."
    if errors:
        raise ValidationError(errors)
    criteria = study.criteria.all() if by == ALL else study.criteria.filter(key=by)
    values: dict[str, Any] = {
        "study": study.pk,
        "original": SystemKind.ORIGINAL,
        "rewrite": SystemKind.REWRITE,
        "use_rewrite": options.use_rewrite,
        "best_worst": study.asks_worst,
        "criteria": list(criteria.values_list("pk", flat=True)),
        "by": by,
        "least_votes": options.least_votes,
        "least_share": options.least_share,
        "distance": options.distance,
    }
    choice = by == CHOICE
    pages, named = exclusions.pages_sql(study)
    values |= named
    query = PREFERRED.format(
        shown=SHOWN.format(pages=pages),
        rated="" if choice else RATED,
        pairs=BY_CHOICE if choice else BY_RATINGS,
        enough=ENOUGH[choice],
    )
    return query, values


def find(study: Study, options: Options | None = None) -> Found:
    """How many preferences a closed study would give, without storing any.

    Raises:
        ValidationError: the study is not closed, or keyed by option.
    """
    query, values = _query(study, options or Options())
    with connection.cursor() as cursor:
        values |= {"project": study.project_id, "source": PreferenceSource.STUDY}
        cursor.execute(COUNT.format(query=query, digest=DIGEST), values)
        return Found(*cursor.fetchone())


@transaction.atomic
def from_study(study: Study, user, options: Options | None = None) -> Made:
    """Store what the reviewers of a closed study preferred. Done again, it adds nothing.

    Raises:
        ValidationError: the study is not closed, keyed by option, or there is nothing to make a preference of.
    """
    query, values = _query(study, options or Options())
    made = preferences.store(study.project_id, user, PreferenceSource.STUDY, query, values)
    if made == Made(0, 0, 0):
        raise ValidationError(nothing(study, values["by"]))
    return made


def nothing(study: Study, by: str) -> str:
    """Why there is no preference, in words."""
    if by != CHOICE:
        return "No two outputs of any text are that far apart in the ratings of the same people."
    if study.asks_worst:
        return "More than half of those who saw two outputs never found the same one the best and the other the worst."
    return "No output of any text was preferred by more than half of those who saw it beside another."
