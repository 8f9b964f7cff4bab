"""What a lead decides about texts in the queue: priority, for whom, how many annotators, retired or not, their kinds.

Each decision is for one text or for many, in one transaction, and is logged text by text with what was before. Texts
that a decision is not for (a settled one needs no more annotators) are left as they are, counted by the reason.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from annotation import events, validators, wellbeing
from annotation.models import (
    MAX_OVERLAP,
    MAX_PRIORITY,
    Item,
    ItemKind,
    Project,
    Reservation,
    Role,
)

MAX_AT_ONCE = 20_000  # texts changed by one request: some seconds
SOON = 10  # the priority of texts for which a lead asks for more annotators

SETTLED = "settled: open the pair again first"
RETIRED = "retired: bring it back first"
AT_LIMIT = f"wants {MAX_OVERLAP} annotators already, the most there can be"
SAME = "is so already"


@dataclass
class Outcome:
    """How many texts a decision changed, how many it left as they were by reason, and what else to know."""

    changed: int = 0
    left: Counter = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)

    def sentence(self) -> str:
        """What became of it, for the page."""
        parts = [f"{_texts(self.changed)} changed."]
        parts += [f"{_texts(count)} left alone ({reason})." for reason, count in self.left.items()]
        return " ".join([*parts, *self.notes])


def _texts(count: int) -> str:
    return f"{count:,} text{'' if count == 1 else 's'}"


# A plan says what a text is to become, as fields of Item, or why it stays as it is.
Plan = Callable[[Item], "dict[str, Any] | str"]


def work_items(project: Project) -> QuerySet[Item]:
    """The texts that leads decide about: the project's work, not what is shown for practice or as gold."""
    return Item.objects.filter(project=project, kind=ItemKind.WORK)


# What can be decided, in words, and what each decision needs to know: page and API offer these.
DECISIONS: dict[str, tuple[str, tuple[str, ...]]] = {
    "priority": ("Set the priority", ("priority",)),
    "more": ("Ask for more annotators", ("more",)),
    "reserve": ("Keep them for people", ("people",)),
    "free": ("Free them for everybody", ()),
    "add_kinds": ("Mark what they contain", ("content_kinds",)),
    "remove_kinds": ("Unmark what they contain", ("content_kinds",)),
    "retire": ("Retire them", ()),
    "bring_back": ("Bring them back", ()),
}
DESCRIBING = ("add_kinds", "remove_kinds")


def decide(project: Project, user, items: QuerySet[Item], decision: str, values: Mapping[str, Any]) -> Outcome:
    """Make one of DECISIONS about these texts, with the values that it needs.

    Raises:
        ValidationError: keyed by field.
    """
    if decision not in DECISIONS:
        raise ValidationError({"decision": f"Choose one of {', '.join(DECISIONS)}."})
    missing = [name for name in DECISIONS[decision][1] if values.get(name) in (None, "", [])]
    if missing:
        words = {"priority": "Give a priority.", "more": "Say how many more.", "people": "Choose at least one person."}
        raise ValidationError({name: words.get(name, "Choose at least one kind of content.") for name in missing})
    match decision:
        case "priority":
            return set_priority(project, user, items, values["priority"])
        case "more":
            return ask_for_more(project, user, items, values["more"])
        case "reserve":
            return reserve(project, user, items, values["people"])
        case "free":
            return reserve(project, user, items, [])
        case "add_kinds":
            return set_content_kinds(project, user, items, add=values["content_kinds"])
        case "remove_kinds":
            return set_content_kinds(project, user, items, remove=values["content_kinds"])
        case "retire":
            return retire(project, user, items)
    return bring_back(project, user, items)


def chosen(project: Project, ids: Iterable[int], decision: str = "") -> QuerySet[Item]:
    """Texts of the project by id, for a decision. What a text contains can be said of known answers too.

    Raises:
        ValidationError: an id is none of the project's texts.
    """
    wanted = set(ids)
    if not wanted:
        raise ValidationError({"items": "Choose at least one text."})
    if len(wanted) > MAX_AT_ONCE:
        raise ValidationError({"items": f"Choose at most {MAX_AT_ONCE:,} texts at once."})
    found = work_items(project)
    if decision in DESCRIBING:
        found = Item.objects.filter(project=project).exclude(kind=ItemKind.REPEAT)
    found = found.filter(pk__in=wanted)
    if unknown := wanted - set(found.values_list("pk", flat=True)):
        raise ValidationError({"items": f"Not a text of this project: {', '.join(map(str, sorted(unknown)[:5]))}."})
    return found


@transaction.atomic
def set_priority(project: Project, user, items: QuerySet[Item], priority: Any) -> Outcome:
    """Hand these texts out earlier (a higher number) or later.

    Raises:
        ValidationError: keyed by field.
    """
    _check_number("priority", priority, -MAX_PRIORITY, MAX_PRIORITY)
    plan = lambda item: {"priority": priority} if item.priority != priority else SAME  # noqa: E731
    return _decide(project, user, items, "item.priority", plan)


@transaction.atomic
def retire(project: Project, user, items: QuerySet[Item]) -> Outcome:
    """Do not hand these texts out any more. Whoever holds one may finish it; annotations and pairs stay."""
    now = timezone.now()
    plan = lambda item: {"retired_at": now} if item.retired_at is None else SAME  # noqa: E731
    return _decide(project, user, items, "item.retired", plan)


@transaction.atomic
def bring_back(project: Project, user, items: QuerySet[Item]) -> Outcome:
    """Hand retired texts out again."""
    plan = lambda item: {"retired_at": None} if item.retired_at is not None else SAME  # noqa: E731
    return _decide(project, user, items, "item.brought_back", plan)


@transaction.atomic
def ask_for_more(project: Project, user, items: QuerySet[Item], more: Any, priority: int = SOON) -> Outcome:
    """Have these texts annotated by so many more people, soon: with at least this priority.

    A proposed pair stays in its queue and is refreshed when the new annotations are complete.

    Raises:
        ValidationError: keyed by field; or nothing of what was chosen can get more annotators.
    """
    _check_number("more", more, 1, MAX_OVERLAP - 1)
    _check_number("priority", priority, -MAX_PRIORITY, MAX_PRIORITY)

    def plan(item: Item) -> dict[str, Any] | str:
        if item.settled:
            return SETTLED
        if item.retired_at is not None:
            return RETIRED
        wanted = item.lowered_to if item.lowered_to is not None else item.overlap
        if wanted >= MAX_OVERLAP:
            return AT_LIMIT
        raised = min(wanted + more, MAX_OVERLAP)
        return {
            "overlap": max(raised, item.taken),
            "lowered_to": raised if item.taken > raised else None,
            "extra": item.extra + raised - wanted,
            "priority": max(item.priority, priority),
        }

    outcome = _decide(project, user, items, "item.more_annotators", plan)
    if not outcome.changed:
        raise ValidationError({"more": [f"{_texts(n)}: {reason}." for reason, n in outcome.left.items()]})
    return outcome


@transaction.atomic
def set_content_kinds(
    project: Project, user, items: QuerySet[Item], *, add: Iterable[str] = (), remove: Iterable[str] = ()
) -> Outcome:
    """Say what these texts contain: kinds of content to add to each, and to take away from each.

    It is said of their repeats and of known answers copied from them too: they have the same words.

    Raises:
        ValidationError: keyed by field.
    """
    add, remove = list(add), list(remove)
    names = wellbeing.kind_names(project)
    try:
        validators.check_item_kinds(add, names)
    except ValidationError as error:
        raise ValidationError({"content_kinds": error.messages}) from None
    if not add and not remove:
        raise ValidationError({"content_kinds": "Choose at least one kind of content."})
    if both := set(add) & set(remove):
        raise ValidationError({"content_kinds": f"{sorted(both)[0]} cannot be added and removed at once."})

    def plan(item: Item) -> dict[str, Any] | str:
        kinds = {*item.content_kinds, *add} - set(remove)
        ordered = [name for name in names if name in kinds] + sorted(kinds - set(names))
        return {"content_kinds": ordered} if ordered != item.content_kinds else SAME

    Project.objects.select_for_update(no_key=True).get(pk=project.pk)
    # The ids now: once the texts are changed, a filter by what they contain finds others.
    keys = list(items.order_by("pk").values_list("pk", flat=True)[: MAX_AT_ONCE + 1])
    copies = Q(repeat_of__in=keys) | Q(gold__copied_from__in=keys)
    if len(keys) <= MAX_AT_ONCE and Item.objects.filter(copies).exists():
        every = Item.objects.filter(copies | Q(pk__in=keys)).order_by("pk")
        list(every.select_for_update(of=("self",), no_key=True).values_list("pk"))  # all in the order of locks
        said: dict[tuple[str, ...], list[int]] = {}
        for copy in Item.objects.filter(copies).only("content_kinds"):
            if isinstance(values := plan(copy), dict):
                said.setdefault(tuple(values["content_kinds"]), []).append(copy.pk)
        for kinds, found in said.items():
            Item.objects.filter(pk__in=found).update(content_kinds=list(kinds))
    return _decide(project, user, items, "item.content_kinds", plan)


@transaction.atomic
def reserve(project: Project, user, items: QuerySet[Item], people: Iterable[Any]) -> Outcome:
    """Keep these texts for these people, who get them first; nobody else is handed them. No people: for everybody.

    Whoever holds or has finished one keeps it. Overlap still bounds how many of the people get each text.

    Args:
        people: accounts or usernames, all annotators of the project; they replace those named before.

    Raises:
        ValidationError: keyed by field.
    """
    accounts = _annotators(project, people)
    wanted = sorted(accounts)
    rows = _locked(project, items)
    before: dict[int, list[str]] = {item.pk: [] for item in rows}
    named = Reservation.objects.filter(item__in=before).select_related("user")
    for reservation in named:
        before[reservation.item_id].append(reservation.user.get_username())
    changed = [item for item in rows if sorted(before[item.pk]) != wanted]
    keys = [item.pk for item in changed]
    Reservation.objects.filter(item__in=keys).exclude(user__in=accounts.values()).delete()
    Reservation.objects.bulk_create(
        [Reservation(project=project, item=item, user=person) for item in changed for person in accounts.values()],
        ignore_conflicts=True,
    )
    events.record_all(
        project,
        user,
        "item.reserved",
        [(item, {"people": sorted(before[item.pk])}, {"people": wanted}) for item in changed],
    )
    outcome = Outcome(len(changed))
    if same := len(rows) - len(changed):
        outcome.left[SAME] = same
    if accounts and (short := sum(item.overlap > max(len(accounts), item.taken) for item in rows)):
        outcome.notes.append(
            f"{_texts(short)} want{'s' if short == 1 else ''} more annotators than the {len(accounts)} named: "
            "name more people, or free the rest for everybody later."
        )
    return outcome


def _annotators(project: Project, people: Iterable[Any]) -> dict[str, Any]:
    names = {person if isinstance(person, str) else person.get_username() for person in people}
    found = get_user_model().objects.filter(
        username__in=names, memberships__project=project, memberships__role=Role.ANNOTATOR
    )
    accounts = {account.get_username(): account for account in found}
    if unknown := sorted(names - set(accounts)):
        raise ValidationError({"people": f"{unknown[0][:150]} is no annotator of this project. Add them first."})
    return accounts


def _check_number(name: str, value: Any, least: int, most: int) -> None:
    if type(value) is not int or not least <= value <= most:
        raise ValidationError({name: f"Give a whole number from {least} to {most}."})


def _locked(project: Project, items: QuerySet[Item]) -> list[Item]:
    """The texts, without their text, locked in the order in which everything locks them.

    The project's lock comes first, as where its settings change.
    """
    Project.objects.select_for_update(no_key=True).get(pk=project.pk)
    rows = items.order_by("pk").defer("text", "metadata")
    found = list(rows.select_for_update(of=("self",), no_key=True)[: MAX_AT_ONCE + 1])
    if len(found) > MAX_AT_ONCE:
        raise ValidationError(
            {"items": f"That is more than {MAX_AT_ONCE:,} texts. Narrow the filter, and decide part by part."}
        )
    if not found:
        raise ValidationError({"items": "No text was chosen, or none matches the filter any more."})
    return found


def _decide(project: Project, user, items: QuerySet[Item], action: str, plan: Plan) -> Outcome:
    """Make each text what the plan says and log it."""
    outcome, log = Outcome(), []
    by_values: dict[str, tuple[dict[str, Any], list[int]]] = {}
    for item in _locked(project, items):
        wanted = plan(item)
        if isinstance(wanted, str):
            outcome.left[wanted] += 1
            continue
        log.append((item, *events.changes({name: _plain(getattr(item, name)) for name in wanted}, _record(wanted))))
        same = by_values.setdefault(repr(sorted(wanted.items(), key=lambda pair: pair[0])), (wanted, []))
        same[1].append(item.pk)
        outcome.changed += 1
    for wanted, keys in by_values.values():
        Item.objects.filter(pk__in=keys).update(**wanted)
    events.record_all(project, user, action, log)
    return outcome


def _record(values: dict[str, Any]) -> dict[str, Any]:
    return {name: _plain(value) for name, value in values.items()}


def _plain(value: Any) -> Any:
    return value.isoformat() if hasattr(value, "isoformat") else value
