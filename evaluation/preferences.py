"""A closed study as preference data for training: from ratings back to datasets."""

from django.core.exceptions import ValidationError
from django.db import transaction

from evaluation.models import Study
from training import preferences
from training.models import PreferenceSource
from training.preferences import Made

# Of each text, the output that more than half of its reviewers preferred to all others, against each of these. A tie
# is a reviewer who preferred none. Slots hold the texts as reviewers saw them.
PREFERRED = """
SELECT wins.item_id, item.text, chosen.text AS chosen, rejected.text AS rejected,
    jsonb_build_object('study', %(study)s::bigint, 'chosen', chosen.output_id, 'rejected', rejected.output_id)
    AS origin, wins.votes, asked.voters
FROM (
    SELECT task.item_id, link.output_id, count(*) AS votes
    FROM evaluation_reviewtask task JOIN evaluation_slotoutput link ON link.slot_id = task.preferred_id
    WHERE task.study_id = %(study)s AND task.kind = 'rating' AND task.done_at IS NOT NULL GROUP BY 1, 2
) AS wins
JOIN (
    SELECT item_id, count(*) AS voters FROM evaluation_reviewtask
    WHERE study_id = %(study)s AND kind = 'rating' AND done_at IS NOT NULL GROUP BY 1
) AS asked ON asked.item_id = wins.item_id AND wins.votes * 2 > asked.voters
JOIN annotation_item item ON item.id = wins.item_id
JOIN LATERAL (
    SELECT DISTINCT link.output_id, slot.text FROM evaluation_slot slot
    JOIN evaluation_slotoutput link ON link.slot_id = slot.id
    JOIN evaluation_reviewtask task ON task.id = slot.task_id
    WHERE task.study_id = %(study)s AND task.item_id = wins.item_id
) AS chosen ON chosen.output_id = wins.output_id
JOIN LATERAL (
    SELECT DISTINCT link.output_id, slot.text FROM evaluation_slot slot
    JOIN evaluation_slotoutput link ON link.slot_id = slot.id
    JOIN evaluation_reviewtask task ON task.id = slot.task_id
    WHERE task.study_id = %(study)s AND task.item_id = wins.item_id
) AS rejected ON rejected.output_id <> wins.output_id
"""


@transaction.atomic
def from_study(study: Study, user) -> Made:
    """Store what the reviewers of a closed study preferred. Done again, it adds nothing.

    Raises:
        ValidationError: the study is not closed, or no output of any text was preferred by most.
    """
    if not study.is_closed:
        raise ValidationError("Close the study first; until then nobody learns what was preferred.")
    made = preferences.store(study.project_id, user, PreferenceSource.STUDY, PREFERRED, {"study": study.pk})
    if made == Made(0, 0, 0):
        raise ValidationError("No output of any text was preferred by more than half of its reviewers.")
    return made
