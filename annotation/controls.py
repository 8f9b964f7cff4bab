"""What is hidden among the work: gold texts with a known answer, and texts that the person did before.

Places are drawn in blocks: with "one in about n", each block of n texts that a person is given holds one, at a place
drawn from the project's seed. Which texts were hidden, where, and with which seed, is recorded in Control.
"""

import random
from collections.abc import Sequence

from django.db.models import Exists, F, OuterRef, QuerySet

from annotation import gold, pairs
from annotation.models import (
    Annotation,
    Assignment,
    Control,
    ControlPlan,
    Gold,
    Item,
    ItemKind,
    PracticeAnswer,
    Project,
    QualitySettings,
    RewriteVote,
    VoteState,
)

# A repeat is drawn from so many of one's texts, the newest that are old enough; so the search never walks over all.
REPEAT_WINDOW = 500


def next_control(user, project: Project, declined: Sequence[str] = ()) -> Item | None:
    """The hidden text that is due for this person; None when it is the work's turn. The caller hands it out like work.

    Needs a transaction. Its person's plan is locked, so two tabs cannot draw twice; what both then try to hold is
    decided by the constraints on Assignment.

    Args:
        declined: kinds of content that the person does not want to see.
    """
    settings = gold.settings_of(project)
    if not settings.gold_every and not settings.repeat_every:
        return None
    plan = _plan(user, project)
    place = plan.handed + 1
    for kind, find in ((ItemKind.GOLD, _gold_items), (ItemKind.REPEAT, _repeatable_items)):
        if not _due(plan, settings, kind, place):
            continue
        chance = random.Random(f"{settings.seed}:{user.pk}:{kind.value}:{place}")  # noqa: S311 - a draw, no secret
        found = find(user, project, settings)
        if declined:
            found = found.exclude(content_kinds__has_any_keys=list(declined))
        keys = list(found.order_by("pk").values_list("pk", flat=True))
        if not keys:
            continue
        item = Item.objects.get(pk=chance.choice(keys))
        if kind == ItemKind.REPEAT:
            item = _repeat(item, user)
        Control.objects.create(project=project, annotator=user, item=item, kind=kind, place=place, seed=settings.seed)
        return item
    return None


def _repeat(original: Item, user) -> Item:
    return gold.copy_of(
        original,
        kind=ItemKind.REPEAT,
        overlap=1,
        repeat_of=original,
        repeat_for=user,
        external_id=f"repeat-{original.pk}-{user.pk}",
    )


def _plan(user, project: Project) -> ControlPlan:
    plans = ControlPlan.objects.select_for_update()
    plan = plans.filter(project=project, annotator=user).first()
    if plan is None:
        ControlPlan.objects.get_or_create(project=project, annotator=user)
        plan = plans.get(project=project, annotator=user)
    return plan


def _due(plan: ControlPlan, settings: QualitySettings, kind: ItemKind, place: int) -> bool:
    """Whether this place is the one that was drawn, or past it; then the next block's place is drawn."""
    every = getattr(settings, f"{kind.value}_every")
    drawn_with, due = getattr(plan, f"{kind.value}_every"), getattr(plan, f"{kind.value}_due")
    if every != drawn_with:  # the lead changed it: begin anew from here
        due = _draw(settings, plan, kind, every, (place - 1) // every) if every else 0
        if every and due < place:
            due = _draw(settings, plan, kind, every, (place - 1) // every + 1)
    reached = bool(every) and place >= due
    if reached:
        block = max((due - 1) // every + 1, place // every)
        following = _draw(settings, plan, kind, every, block)
    else:
        following = due
    if (every, following) != (drawn_with, getattr(plan, f"{kind.value}_due")):
        values = {f"{kind.value}_every": every, f"{kind.value}_due": following}
        ControlPlan.objects.filter(pk=plan.pk).update(**values)
        for name, value in values.items():
            setattr(plan, name, value)
    return reached


def _draw(settings: QualitySettings, plan: ControlPlan, kind: ItemKind, every: int, block: int) -> int:
    """The place within a block of `every` places, from 1."""
    chance = random.Random(f"{settings.seed}:{plan.annotator_id}:{kind.value}:{every}:{block}")  # noqa: S311
    return block * every + chance.randint(1, every)


def _gold_items(user, project: Project, settings: QualitySettings) -> QuerySet[Item]:
    """Gold texts that this person never had: neither here, nor in practice, nor the text they were copied from."""
    had = Assignment.objects.filter(annotator=user)
    return Item.objects.filter(
        project=project, kind=ItemKind.GOLD, retired_at=None, taken__lt=F("overlap"), gold__isnull=False
    ).exclude(
        Exists(had.filter(item=OuterRef("pk")))
        | Exists(had.filter(item=OuterRef("gold__copied_from")))
        | Exists(PracticeAnswer.objects.filter(annotator=user, item=OuterRef("pk")))
    )


def _repeatable_items(user, project: Project, settings: QualitySettings) -> QuerySet[Item]:
    """Texts that this person finished long enough ago and that were not repeated to them yet."""
    mine = Annotation.objects.filter(project=project, annotator=user).order_by("-created_at")
    begin = settings.repeat_after
    window = mine.values_list("item_id", "kind")[begin : begin + REPEAT_WINDOW]
    done = [item for item, kind in window if kind == ItemKind.WORK]
    repeated = Item.objects.filter(repeat_of=OuterRef("pk"), repeat_for=user)
    return Item.objects.filter(pk__in=done, retired_at=None).exclude(Exists(repeated))


SETTLED = "The lead has settled this text; its annotations can no longer change."
VOTED = (
    "You have voted on a rewrite of this text, and so seen what somebody else made of it. Your annotation can change "
    "only if the lead sends it back to you."
)


def why_closed(annotation: Annotation, *, lock: bool = False) -> str:
    """Why its annotator can no longer change an annotation, in words; empty when they can.

    Args:
        lock: the answer stays true in the transaction.
    """
    if settled(annotation, lock=lock):
        return SETTLED
    if _voted(annotation) and not annotation.send_backs.filter(answered_at=None, withdrawn_at=None).exists():
        return VOTED
    return ""


def _voted(annotation: Annotation) -> bool:
    """Whether the annotator has voted on a rewrite of this text; a hidden text closes with the one it is a copy of."""
    texts = [annotation.item_id, annotation.item.repeat_of_id]
    if annotation.kind == ItemKind.GOLD:
        texts += Gold.objects.filter(item=annotation.item_id).values_list("copied_from", flat=True)
    given = RewriteVote.objects.filter(voter=annotation.annotator_id, state=VoteState.GIVEN)
    return given.filter(rewrite__item__in=[pk for pk in texts if pk is not None]).exists()


def settled(annotation: Annotation, *, lock: bool = False) -> bool:
    """Whether an annotation can no longer change because the lead has settled its text.

    Nobody settles a hidden text. It closes together with the work that its annotator did just before it; else, once
    everything is settled, what is still open would be what was hidden.
    """
    if annotation.kind == ItemKind.WORK:
        return pairs.settled(annotation.item, lock=lock)
    before = (
        Annotation.objects.filter(
            project=annotation.project_id,
            annotator=annotation.annotator_id,
            kind=ItemKind.WORK,
            created_at__lt=annotation.created_at,
        )
        .select_related("item")
        .order_by("-created_at")
        .first()
    )
    return before is not None and pairs.settled(before.item, lock=lock)
