"""Many pairs decided at once, as a job: under the project's rule, or those that a lead ticked; and taken back again.

Pairs are taken in chunks, one transaction each, that also writes how far the job came: a job that is stopped or loses
its worker goes on behind the last chunk, and nothing is decided twice. Every pair is locked and looked at again in the
moment it is decided.
"""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from django.core.exceptions import ValidationError
from django.db import connection, transaction
from django.db.models import QuerySet
from django.utils import timezone

from annotation import contention, events, jobs, pairs, rules, votes
from annotation.models import (
    ApprovalRule,
    Batch,
    BatchAction,
    Item,
    Pair,
    PairStatus,
    Project,
    SendBack,
)

CHUNK = 500  # pairs in one transaction
MAX_CHOSEN = 10_000
AT_ONCE = 100  # so few chosen pairs are decided while the lead waits, without a worker

DECIDE = """
UPDATE annotation_pair SET
    before = jsonb_build_object(
        'status', status, 'rewrite', rewrite, 'labels', labels, 'chosen_id', chosen_id, 'reason', reason,
        'sent_back', sent_back, 'settled_by_id', settled_by_id,
        'settled_at', to_char(settled_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"+00:00"'),
        'batch_id', batch_id,
        'withdrawn', COALESCE((
            SELECT jsonb_agg(id) FROM annotation_sendback
            WHERE pair_id = annotation_pair.id AND answered_at IS NULL AND withdrawn_at IS NULL
        ), '[]')
    ),
    status = %(status)s, reason = %(reason)s, settled_by_id = %(user)s, settled_at = %(now)s, sent_back = '',
    batch_id = %(batch)s, version = version + 1
WHERE id = ANY(%(pairs)s)
"""
LINK = """
INSERT INTO annotation_pair_annotations (pair_id, annotation_id)
SELECT pair.id, annotation.id
FROM annotation_pair pair JOIN annotation_annotation annotation ON annotation.item_id = pair.item_id
WHERE pair.id = ANY(%(pairs)s)
ON CONFLICT DO NOTHING
"""
RESTORE = """
UPDATE annotation_pair SET
    status = before ->> 'status', reason = before ->> 'reason', sent_back = before ->> 'sent_back',
    settled_by_id = (before ->> 'settled_by_id')::integer, settled_at = (before ->> 'settled_at')::timestamptz,
    batch_id = (before ->> 'batch_id')::bigint, before = NULL, version = version + 1
WHERE id = ANY(%(pairs)s)
"""
LOG = """
INSERT INTO annotation_event (project_id, actor_id, at, action, item_id, subject, before, after)
SELECT pair.project_id, %(user)s, %(now)s, %(action)s, pair.item_id, left(item.external_id, 200),
    %(before)s::jsonb, %(after)s::jsonb
FROM annotation_pair pair JOIN annotation_item item ON item.id = pair.item_id
WHERE pair.id = ANY(%(pairs)s) ORDER BY pair.id
"""


# Starting


@transaction.atomic
def approve_by_rule(project: Project, user, rule: ApprovalRule) -> Batch:
    """Approve every proposed pair that meets the rule. The batch keeps the rule, as data and in words."""
    values = {"rule": rules.values_of(rule), "words": rules.words(rule)}
    return _start(Batch(project=project, created_by=user, action=BatchAction.RULE, **values))


def decide(project: Project, user, *, action: str, chosen: Sequence[Any], reason: str = "") -> Batch:
    """Approve or reject chosen pairs, as they stand.

    Args:
        action: approve or reject. chosen: [id, version] of each pair, the version being the one that was seen; pairs
            that changed since are left alone and counted. reason: why they are rejected.

    Raises:
        ValidationError: keyed by field.
    """
    errors: dict[str, Any] = {}
    if action not in (BatchAction.APPROVE, BatchAction.REJECT):
        errors["action"] = "Choose to approve or to reject."
    if action == BatchAction.REJECT:
        try:
            reason = pairs.clean_reason(reason, "Say why these pairs are rejected; the annotators' work stays.")
        except ValidationError as error:
            errors["reason"] = error.messages
    seen: dict[int, int] = {}
    for entry in chosen:
        try:
            pk, version = entry
        except (TypeError, ValueError):
            pk = version = None
        if type(pk) is not int or type(version) is not int or not 0 < pk < 2**63 or not 0 < version < 2**31:
            errors["pairs"] = "Give each pair as its id and the version that you saw."
            break
        seen[pk] = version
    else:
        if not seen:
            errors["pairs"] = "Choose at least one pair."
        elif len(seen) > MAX_CHOSEN:
            errors["pairs"] = f"Choose at most {MAX_CHOSEN:,} pairs at once; these are {len(seen):,}."
    if errors:
        raise ValidationError(errors)
    batch = Batch(
        project=project,
        created_by=user,
        action=action,
        reason=reason if action == BatchAction.REJECT else "",
        words=f"{len(seen):,} chosen pair{'' if len(seen) == 1 else 's'}",
        pairs=sorted(map(list, seen.items())),
    )
    with transaction.atomic():
        _start(batch, at_once=len(seen) <= AT_ONCE)
    if len(seen) <= AT_ONCE:
        jobs.execute(Batch.objects, batch.pk, run)
        batch.refresh_from_db()
    return batch


@transaction.atomic
def undo(batch: Batch, user) -> Batch:
    """Bring back every pair of a batch that nobody has changed since.

    Raises:
        ValidationError: the batch still runs, is an undo itself, or was undone already.
    """
    batch = Batch.objects.select_for_update(no_key=True).get(pk=batch.pk)
    if batch.is_active:
        raise ValidationError("The batch still runs. Stop it first, or wait until it has ended.")
    if batch.action == BatchAction.UNDO:
        raise ValidationError("This batch undid another one. Decide the pairs again instead.")
    if Batch.objects.filter(undoes=batch).exclude(status__in=("failed", "cancelled")).exists():
        raise ValidationError("This batch was undone already.")
    return _start(
        Batch(
            project_id=batch.project_id,
            created_by=user,
            action=BatchAction.UNDO,
            undoes=batch,
            words=f"Undo of batch {batch.pk}",
        )
    )


def _start(batch: Batch, at_once: bool = False) -> Batch:
    from annotation import tasks

    batch.save()
    events.record(
        batch.project_id,
        batch.created_by,
        "pairs.batch",
        subject=f"batch {batch.pk}",
        after={"action": batch.action, "words": batch.words} | ({"reason": batch.reason} if batch.reason else {}),
    )
    if not at_once:
        batch.queue(tasks.execute_batch)
    return batch


# The work


def run(batch: Batch) -> dict[str, Any]:
    """Decide the pairs of a batch, or bring those of another one back."""
    step = {BatchAction.RULE: _by_rule, BatchAction.UNDO: _back}.get(BatchAction(batch.action), _chosen)
    total = _total(batch)
    more = True
    while more:
        more = _chunk(batch, step)
        batch.report(batch.changed, max(total, batch.changed), _message(batch))
    if batch.action == BatchAction.UNDO and batch.undoes is not None:
        since = batch.undoes.changed - batch.changed
        batch.left_out = {"changed since": since} if since > 0 else {}
    return {"message": _message(batch), "left_out": batch.left_out}


def _chunk(batch: Batch, step: Callable[[Batch], bool]) -> bool:
    """One transaction of a batch; False when nothing is left."""
    with transaction.atomic():
        batch.beat()  # cancelled, or another worker's by now: then nothing of this chunk is written
        more = step(batch)
        Batch.objects.filter(pk=batch.pk, attempt=batch.attempt).update(
            changed=batch.changed, place=batch.place, left_out=batch.left_out
        )
    return more


def _total(batch: Batch) -> int:
    if batch.action == BatchAction.RULE:
        return batch.changed + rules.matching(_rule(batch)).count()
    if batch.action == BatchAction.UNDO:
        return batch.changed + _as_left(batch.undoes_id).count()
    return len(batch.pairs)


def _message(batch: Batch) -> str:
    what = {BatchAction.REJECT: "rejected", BatchAction.UNDO: "brought back"}.get(BatchAction(batch.action), "approved")
    left = sum(batch.left_out.values())
    done = f"{batch.changed:,} pair{'' if batch.changed == 1 else 's'} {what}"
    return f"{done}, {left:,} left alone." if left else f"{done}."


def _rule(batch: Batch) -> ApprovalRule:
    return ApprovalRule(project=batch.project, **(batch.rule or {}))


def _by_rule(batch: Batch) -> bool:
    wanted = rules.matching(_rule(batch)).order_by("pk")
    seen = list(wanted.filter(pk__gt=batch.place).values_list("pk", flat=True)[:CHUNK])
    _lock_items(seen)
    # Locked, and looked at again: what changed since a moment ago may not meet the rule any more.
    locked = wanted.filter(pk__in=seen).select_for_update(of=("self",), no_key=True)
    if found := list(locked.values_list("pk", flat=True)):
        _decide(batch, found, PairStatus.APPROVED)
    if seen:
        batch.place = seen[-1]
    return bool(seen)


def _lock_items(pair_ids: Sequence[int]) -> None:
    """Items before pairs, as everything does: settling a pair marks its item."""
    items = Item.objects.filter(pair__in=pair_ids).order_by("pk")
    list(items.select_for_update(of=("self",), no_key=True).values_list("pk"))


def _chosen(batch: Batch) -> bool:
    part = batch.pairs[batch.place : batch.place + CHUNK]
    if not part:
        return False
    _lock_items([pk for pk, _ in part])
    rows = Pair.objects.filter(pk__in=[pk for pk, _ in part], project=batch.project_id).order_by("pk")
    locked = {pair.pk: pair for pair in rows.select_for_update(of=("self",), no_key=True)}
    left, found = Counter(batch.left_out), []
    for pk, version in part:
        pair = locked.get(pk)
        if pair is None:
            left["not in this project"] += 1
        elif pair.version != version or pair.status != PairStatus.PROPOSED:
            left["changed meanwhile"] += 1
        elif batch.action == BatchAction.APPROVE and not pair.rewrite.strip():
            left["no rewrite"] += 1
        else:
            found.append(pk)
    if found:
        _decide(batch, found, PairStatus.APPROVED if batch.action == BatchAction.APPROVE else PairStatus.REJECTED)
    batch.left_out = dict(left)
    batch.place += len(part)
    return True


def _back(batch: Batch) -> bool:
    rows = _as_left(batch.undoes_id).order_by("pk")
    seen = list(rows.values_list("pk", flat=True)[:CHUNK])
    if not seen:
        return False
    _lock_items(seen)
    found = list(rows.filter(pk__in=seen).select_for_update(of=("self",), no_key=True).values_list("pk", "before"))
    ids = [pk for pk, _ in found]
    withdrawn = [sent for _, before in found for sent in (before or {}).get("withdrawn", [])]
    SendBack.objects.filter(pk__in=withdrawn).update(withdrawn_at=None)
    with connection.cursor() as cursor:
        cursor.execute(RESTORE, {"pairs": ids})
        _log(cursor, batch, ids, "pair.undone", {}, {"batch": batch.undoes_id})
    _follow(ids)
    batch.changed += len(ids)
    return True


def _decide(batch: Batch, ids: list[int], status: PairStatus) -> None:
    now = timezone.now()
    values: dict[str, Any] = {
        "pairs": ids,
        "status": status,
        "reason": batch.reason,
        "user": batch.created_by_id,
        "now": now,
        "batch": batch.pk,
    }
    with connection.cursor() as cursor:
        cursor.execute(DECIDE, values)
        cursor.execute(LINK, values)
        _log(cursor, batch, ids, f"pair.{status}", {"status": "proposed"}, {"status": status, "batch": batch.pk})
    SendBack.objects.filter(pair__in=ids, answered_at=None, withdrawn_at=None).update(withdrawn_at=now)
    _follow(ids)
    batch.changed += len(ids)


def _log(cursor, batch: Batch, ids: list[int], action: str, before: dict[str, Any], after: dict[str, Any]) -> None:
    events.ACTIONS[action]  # a misspelt action must not go unnoticed
    values: dict[str, Any] = {"pairs": ids, "user": batch.created_by_id, "now": timezone.now(), "action": action}
    cursor.execute(LOG, values | {"before": json.dumps(before), "after": json.dumps(after)})


def _follow(ids: list[int]) -> None:
    items = list(Pair.objects.filter(pk__in=ids).values_list("item_id", flat=True))
    votes.ask(items)
    contention.refresh(items)


def _as_left(batch_id: int | None) -> QuerySet[Pair]:
    """Pairs of a batch that nobody has changed since.

    A changed pair is no longer of the batch. Who undid their change brought it back to the batch, but not what was
    before the batch: that one is left alone.
    """
    return Pair.objects.filter(batch=batch_id, before__isnull=False)


def decided_now(batch: Batch) -> int:
    """How many pairs are still as the batch left them, and could be brought back."""
    return _as_left(batch.pk).count()
