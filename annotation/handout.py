"""The queue: which item is next for somebody.

What waits in the queue stands in the partial index `item_queue`, level by level: items reserved for people first, then
by priority; within a level in the order in which they came (`queued_in`, a transaction's number), then by id. An
annotator's QueuePlace says, level by level, up to where they have been: nothing before it is for them, because they had
it or declined what it contains. So a search costs the same however much they have done or declined.

That holds because whatever becomes free again, or moves to another level, gets a new `queued_in` by a trigger and
stands behind everybody's place. A transaction that began earlier may still put something in with its older number; no
place is therefore kept beyond the oldest transaction that runs.
"""

import time
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db import connection
from django.db.models import BooleanField, Exists, F, Func, OuterRef, Q
from django.utils import timezone

from annotation.models import (
    AnnotatorChoices,
    Assignment,
    AssignmentState,
    Item,
    ItemKind,
    Membership,
    PracticeAnswer,
    Project,
    QueuePlace,
    Reservation,
    RewriteVote,
    Role,
)

WANTED = Q(retired_at=None, settled=False, taken__lt=F("overlap"))
WAITING = WANTED & Q(kind=ItemKind.WORK)  # the condition of the index `item_queue`
_WAITING = "item.kind = 'work' AND item.retired_at IS NULL AND NOT item.settled AND item.taken < item.overlap"
AT_ONCE = 16  # candidates looked up together; others may be taking the first ones
BEGIN_AGAIN = timedelta(hours=1)
PATIENCE = 10  # seconds to look again while others hold everything that is left, as a lead who changes many texts does

# The levels that hold something, the first one first, each found by one step through the index; with the person's
# place. A place from another server's count of transactions (a restored back-up) is none.
_LEVELS = f"""
WITH RECURSIVE level AS (
    (SELECT item.reserved, item.priority FROM annotation_item item
     WHERE item.project_id = %(project)s AND {_WAITING}
     ORDER BY item.reserved DESC, item.priority DESC LIMIT 1)
    UNION ALL
    SELECT following.reserved, following.priority FROM level, LATERAL (
        SELECT item.reserved, item.priority FROM annotation_item item
        WHERE item.project_id = %(project)s AND {_WAITING}
            AND (item.reserved, item.priority) < (level.reserved, level.priority)
        ORDER BY item.reserved DESC, item.priority DESC LIMIT 1
    ) following
)
SELECT level.reserved, level.priority, coalesce(place.queued_in, 0), coalesce(place.item_id, 0)
FROM level LEFT JOIN annotation_queueplace place
    ON place.project_id = %(project)s AND place.annotator_id = %(user)s
    AND place.reserved = level.reserved AND place.priority = level.priority
    AND place.queued_in <= pg_snapshot_xmax(pg_current_snapshot())::text::bigint
ORDER BY level.reserved DESC, level.priority DESC
"""  # noqa: S608 - nothing but constants is put in

# The next ones of a level, the oldest transaction that runs, and whether anything stands behind the person's place.
# The inner questions stay questions about one item each: as joins they would read all that the person ever had.
_CANDIDATES = f"""
SELECT candidate.queued_in, candidate.id, running.oldest, EXISTS (
    SELECT FROM annotation_item item
    WHERE item.project_id = %(project)s AND item.reserved = %(reserved)s AND item.priority = %(priority)s AND {_WAITING}
        AND (item.queued_in, item.id) > (%(queued_in)s, %(item_id)s)
)
FROM (SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS oldest) running
LEFT JOIN LATERAL (
    SELECT item.queued_in, item.id FROM annotation_item item
    WHERE item.project_id = %(project)s AND item.reserved = %(reserved)s AND item.priority = %(priority)s AND {_WAITING}
        AND (item.queued_in, item.id) > (%(queued_in)s, %(item_id)s)
        AND NOT item.content_kinds ?| %(declined)s
        AND (SELECT had.id FROM annotation_assignment had
             WHERE had.item_id = item.id AND had.annotator_id = %(user)s LIMIT 1) IS NULL
        AND (NOT item.reserved OR (SELECT own.id FROM annotation_reservation own
             WHERE own.item_id = item.id AND own.user_id = %(user)s LIMIT 1) IS NOT NULL)
        AND (SELECT seen.id FROM annotation_rewrite shown
             JOIN annotation_rewritevote seen ON seen.rewrite_id = shown.id AND seen.voter_id = %(user)s
             WHERE shown.item_id = item.id LIMIT 1) IS NULL
        AND (SELECT copy.id FROM annotation_gold copy WHERE copy.copied_from_id = item.id AND (
                 (SELECT hidden.id FROM annotation_assignment hidden
                  WHERE hidden.item_id = copy.item_id AND hidden.annotator_id = %(user)s LIMIT 1) IS NOT NULL
                 OR (SELECT shown.id FROM annotation_practiceanswer shown
                  WHERE shown.item_id = copy.item_id AND shown.annotator_id = %(user)s LIMIT 1) IS NOT NULL)
             LIMIT 1) IS NULL
    ORDER BY item.queued_in, item.id
    LIMIT {AT_ONCE}
) candidate ON true
"""  # noqa: S608

_LOCK = f"""
SELECT item.* FROM annotation_item item
WHERE item.id = ANY(%(candidates)s) AND item.reserved = %(reserved)s AND {_WAITING}
    AND NOT item.content_kinds ?| %(declined)s
ORDER BY item.queued_in, item.id
LIMIT 1
FOR NO KEY UPDATE SKIP LOCKED
"""  # noqa: S608

_KEEP = """
INSERT INTO annotation_queueplace (project_id, annotator_id, reserved, priority, queued_in, item_id, since)
VALUES (%(project)s, %(user)s, %(reserved)s, %(priority)s, %(queued_in)s, %(item_id)s, %(now)s)
ON CONFLICT (project_id, annotator_id, reserved, priority)
DO UPDATE SET queued_in = EXCLUDED.queued_in, item_id = EXCLUDED.item_id
"""


# The same in questions that do not walk through the queue. A person is an account, or an OuterRef to one.


def voted_on(user: Any, item: str = "pk") -> Exists:
    """Whether this person was shown a rewrite of the item, to vote on it: then its text is not for them."""
    return Exists(RewriteVote.objects.filter(rewrite__item=OuterRef(item), voter=user))


def had_copy(user: Any, item: str = "pk") -> Q:
    """Whether this person had the known answer that was copied from the item, in practice or hidden in the work."""
    copied = {"item__gold__copied_from": OuterRef(item), "annotator": user}
    return Q(Exists(Assignment.objects.filter(**copied))) | Q(Exists(PracticeAnswer.objects.filter(**copied)))


class _ShareAName(Func):
    """Whether two JSON lists of names have a name in common."""

    template = "EXISTS (SELECT FROM jsonb_array_elements_text(%(expressions)s ? name)"
    arg_joiner = ") AS name WHERE "
    output_field = BooleanField()


def nobody_left() -> Q:
    """Items that want annotators, reserved for people none of whom will be handed them.

    They hold it, have finished or skipped it, have seen it in another guise, do not want what it contains, or annotate
    no more.
    """
    person = {"annotator": OuterRef("user"), "project": OuterRef("project")}
    declined = AnnotatorChoices.objects.filter(
        _ShareAName(F("declined_kinds"), OuterRef("item__content_kinds")), **person
    )
    had = Assignment.objects.filter(item=OuterRef("item"), annotator=OuterRef("user"))
    works = Membership.objects.filter(project=OuterRef("project"), user=OuterRef("user"), role=Role.ANNOTATOR)
    able = Reservation.objects.filter(Exists(works), item=OuterRef("pk"), user__is_active=True).exclude(
        Exists(had.exclude(state=AssignmentState.EXPIRED))
        | Exists(declined)
        | voted_on(OuterRef("user"), "item")
        | had_copy(OuterRef("user"), "item")
    )
    return WANTED & Q(reserved=True) & ~Q(Exists(able))


Place = tuple[int, int]  # queued_in, item's id


@dataclass(frozen=True)
class Level:
    """Items of one priority, reserved ones apart, and up to where the person has been through them."""

    reserved: bool
    priority: int
    place: Place


@dataclass(frozen=True)
class Look:
    """What one look at a level found: the next items for the person, and how far their place may move at most."""

    candidates: list[Place]
    oldest: int
    anything_behind: bool


def take_first(user, project: Project, declined: list[str]) -> Item | None:
    """The next item for this person, locked until the transaction ends; None when nothing is left for them.

    Args:
        declined: kinds of content that they do not want.
    """
    item = _search(user, project, declined)
    if item is None and forget(user, project, older_than=BEGIN_AGAIN):
        # Places are only a short cut: if one were ever wrong, it would not stay so.
        item = _search(user, project, declined)
    return item


def forget(user, project: Project, older_than: timedelta = timedelta(0)) -> int:
    """Let this person's next search begin at the front, as after they declined less. Returns how many levels."""
    places = QueuePlace.objects.filter(project=project, annotator=user, since__lte=timezone.now() - older_than)
    return places.delete()[0]


def _search(user, project: Project, declined: list[str]) -> Item | None:
    values = {"project": project.pk, "user": user.pk, "declined": declined}
    until = time.monotonic() + PATIENCE
    while True:
        busy = False
        for level in _levels(values):
            look = _look(values, level)
            if not look.candidates:
                if look.anything_behind:
                    _keep(values, level, (look.oldest, 0))
                continue
            if item := _lock(values, look.candidates, level):
                queued_in, pk = look.candidates[0]
                _keep(values, level, min((queued_in, pk if pk == item.pk else pk - 1), (look.oldest, 0)))
                return item
            busy = True
        # What others are taking this moment may still be free afterwards. Nothing is waited for with a lock in hand:
        # a row that changed meanwhile stays locked though it is not chosen, so two could wait for each other for ever.
        if not busy or time.monotonic() > until:
            return None
        time.sleep(0.02)


def _levels(values: dict[str, Any]) -> list[Level]:
    with connection.cursor() as cursor:
        cursor.execute(_LEVELS, values)
        return [Level(reserved, priority, (at, pk)) for reserved, priority, at, pk in cursor.fetchall()]


def _look(values: dict[str, Any], level: Level) -> Look:
    queued_in, item_id = level.place
    more = {"reserved": level.reserved, "priority": level.priority, "queued_in": queued_in, "item_id": item_id}
    with connection.cursor() as cursor:
        cursor.execute(_CANDIDATES, values | more)
        rows = cursor.fetchall()
    _, _, oldest, anything_behind = rows[0]
    return Look([(row[0], row[1]) for row in rows if row[1] is not None], oldest, anything_behind)


def _lock(values: dict[str, Any], candidates: list[Place], level: Level) -> Item | None:
    """The first candidate that is still free and that nobody else is taking."""
    more = {"candidates": [pk for _, pk in candidates], "reserved": level.reserved}
    return next(iter(Item.objects.raw(_LOCK, values | more)), None)


def _keep(values: dict[str, Any], level: Level, place: Place) -> None:
    if place <= level.place:
        return
    queued_in, item_id = place
    more = {"reserved": level.reserved, "priority": level.priority, "queued_in": queued_in, "item_id": item_id}
    with connection.cursor() as cursor:
        cursor.execute(_KEEP, values | more | {"now": timezone.now()})
