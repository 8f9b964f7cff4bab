"""How much a pair needs a lead: facts about its annotations and votes, computed in one statement for many pairs.

`contested`, from 0 to 1, orders the leads' queue. It is a weighted sum of four figures from 0 to 1:

    0.4  the share of dimensions on which the annotators are not unanimous (`disagreement`)
    0.2  how far apart their levels are: the mean distance of two annotators, averaged over the dimensions that two or
         more judged. Two levels of an ordinal dimension are as far apart as their places, divided by the largest
         distance; two different levels of a nominal one are 1 apart
    0.3  the share of votes on the proposed rewrite that do not find it safe and true to the meaning
    0.1  how different the rewrites are: 1 minus the share of words that two rewrites have in common (Jaccard's index
         of the sets of lower-case words), averaged over all pairs of rewrites

People rarely write the same words, so the last one only orders what is otherwise alike: any dimension that divides
the annotators of four outweighs it.
"""

from collections.abc import Sequence

from django.db import connection

REFRESH = """
WITH given AS (
    SELECT a.id, a.item_id, a.project_id, a.labels, a.rewrite, a.comment,
        CASE WHEN a.rewrite ~ '\\S' THEN ARRAY(
            SELECT DISTINCT word FROM regexp_split_to_table(lower(a.rewrite), '\\s+') word WHERE word <> ''
        ) END AS words
    FROM annotation_annotation a WHERE a.item_id = ANY(%(items)s)
), levels AS (
    SELECT d.project_id, d.key, d.scale, level.name, level.place, jsonb_array_length(d.levels) AS number
    FROM annotation_dimension d
    CROSS JOIN LATERAL jsonb_array_elements_text(d.levels) WITH ORDINALITY level(name, place)
    WHERE d.project_id IN (SELECT project_id FROM given)
), chosen AS (
    SELECT given.item_id, levels.key, levels.scale, levels.number, levels.name, levels.place, count(*) AS people
    FROM given JOIN levels
        ON levels.project_id = given.project_id AND given.labels ->> levels.key = levels.name
    GROUP BY 1, 2, 3, 4, 5, 6
), apart AS (
    SELECT one.item_id, one.key, sum(one.people * two.people * CASE WHEN one.scale = 'ordinal'
        THEN (two.place - one.place)::float / (one.number - 1) ELSE 1 END) AS distance
    FROM chosen one JOIN chosen two
        ON two.item_id = one.item_id AND two.key = one.key AND two.place > one.place
    GROUP BY 1, 2
), dimension AS (
    SELECT chosen.item_id, chosen.key, sum(people) AS judged, max(people)::float / sum(people) AS share,
        count(*) > 1 AS split, COALESCE(max(apart.distance), 0) AS distance
    FROM chosen LEFT JOIN apart ON apart.item_id = chosen.item_id AND apart.key = chosen.key
    GROUP BY 1, 2
), labels AS (
    SELECT item_id, avg(split::integer::float) AS disagreement, jsonb_object_agg(key, share) AS agreement,
        avg(CASE WHEN judged > 1 THEN distance * 2 / (judged * (judged - 1)) END) AS distance
    FROM dimension GROUP BY 1
), rewrites AS (
    SELECT one.item_id, avg(CASE WHEN one.rewrite = two.rewrite THEN 0 ELSE 1 - (
        SELECT count(*) FROM unnest(one.words) word WHERE word = ANY(two.words)
    )::float / (
        SELECT count(DISTINCT word) FROM unnest(one.words || two.words) word
    ) END) AS distance
    FROM given one JOIN given two ON two.item_id = one.item_id AND two.id > one.id
    WHERE one.words IS NOT NULL AND two.words IS NOT NULL
    GROUP BY 1
), people AS (
    SELECT item_id, count(*) AS number, bool_or(comment ~ '\\S') AS commented,
        CASE WHEN min(rewrite) = max(rewrite) THEN min(rewrite) END AS same
    FROM given GROUP BY 1
), facts AS (
    SELECT pair.id, COALESCE(people.number, 0) AS annotation_count, COALESCE(people.commented, false) AS commented,
        COALESCE(people.same = pair.rewrite AND pair.rewrite <> '', false) AS alike,
        COALESCE(labels.agreement, '{}') AS agreement, COALESCE(labels.disagreement, 0) AS disagreement,
        COALESCE(rewrite.votes, 0) AS votes, COALESCE(rewrite.safe, 0) AS safe,
        COALESCE(rewrite.meaning, 0) AS meaning, COALESCE(rewrite.accepted, 0) AS accepted,
        0.4 * COALESCE(labels.disagreement, 0) + 0.2 * COALESCE(labels.distance, 0)
            + 0.3 * COALESCE((rewrite.votes - rewrite.accepted)::float / NULLIF(rewrite.votes, 0), 0)
            + 0.1 * COALESCE(rewrites.distance, 0) AS contested
    FROM annotation_pair pair
    LEFT JOIN people ON people.item_id = pair.item_id
    LEFT JOIN labels ON labels.item_id = pair.item_id
    LEFT JOIN rewrites ON rewrites.item_id = pair.item_id
    LEFT JOIN annotation_rewrite rewrite ON rewrite.item_id = pair.item_id AND rewrite.digest = md5(pair.rewrite)
    WHERE pair.item_id = ANY(%(items)s)
)
UPDATE annotation_pair SET
    contested = facts.contested, disagreement = facts.disagreement, agreement = facts.agreement,
    annotation_count = facts.annotation_count, has_comment = facts.commented, written_alike = facts.alike,
    votes = facts.votes, votes_safe = facts.safe, votes_meaning = facts.meaning, votes_accepted = facts.accepted
FROM facts WHERE facts.id = annotation_pair.id
"""


def refresh(item_ids: Sequence[int]) -> None:
    """Compute the facts of these items' pairs anew. Call it with the pairs locked, after what changed."""
    with connection.cursor() as cursor:
        cursor.execute(REFRESH, {"items": list(item_ids)})
