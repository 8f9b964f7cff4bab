"""Setting up a project: its fields, dimensions, overlap and people."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.tokens import default_token_generator
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import transaction
from django.db.models import Case, Count, F, Func, Q, Sum, TextField, Value, When
from django.db.models.functions import Cast, Greatest, Least
from django.urls import reverse
from django.utils.encoding import force_bytes
from django.utils.http import urlsafe_base64_encode
from django.utils.text import slugify

from annotation import events, pairs, validators, work
from annotation.models import (
    MAX_OVERLAP,
    Annotation,
    Assignment,
    AssignmentState,
    Dimension,
    Gold,
    GuidelinesVersion,
    Invitation,
    Item,
    ItemKind,
    Membership,
    Pair,
    Project,
    Reservation,
    Role,
    Scale,
    default_dimensions,
)

MAX_DIMENSIONS = 12
MAX_GUIDELINES = 50_000  # characters; they are rendered beside every text
# Columns of imports and exports, which a dimension's column must not be taken for.
RESERVED_KEYS = {
    *("id", "item", "row", "text", "external_id", "source", "language", "target_group", "target_groups"),
    *("metadata", "rewrite", "safe_rewrite", "comment", "spans", "annotator", "status", "disagreement"),
    *("reason", "revision", "active_seconds", "created_at", "updated_at", "settled_by", "settled_at"),
    *("project", "suggestion_shown", "instruction", "input", "output", "kind", "content_kinds", "guidelines_version"),
    *("labels", "split", "annotations", "votes", "imported_from", "imported_values"),
}


@transaction.atomic
def create(*, user, dimensions: Iterable[Mapping[str, Any]] | None = None, **values: Any) -> Project:
    """A project with its dimensions, and the person who makes it as its lead.

    Args:
        dimensions: {"key", "name", "levels"} each, the key optional; the four of both papers when None.
        values: fields of Project.

    Raises:
        ValidationError: keyed by field.
    """
    project = Project(created_by=user, **values)
    _check(project)
    project.save()
    _set_dimensions(project, default_dimensions() if dimensions is None else dimensions)
    Membership.objects.create(project=project, user=user, role=Role.LEAD)
    _new_guidelines(project, user)
    events.record(project, user, "project.created", subject=project.name, after=settings_of(project))
    return project


@transaction.atomic
def change(
    project: Project, *, by: Any = None, dimensions: Iterable[Mapping[str, Any]] | None = None, **values: Any
) -> Project:
    """Change a project's fields and, when given, its dimensions: those not named any more are removed.

    Changed guidelines become a new version; the log gets what was changed, by whom.

    A changed overlap holds for the items too: a lower one never goes below what an item already has, and falls
    further when those who hold it give it back; a higher one opens finished items again.

    Raises:
        ValidationError: keyed by field; a dimension or level that is in use cannot go.
    """
    # The lock keeps an import from giving its items the overlap of before.
    project = Project.objects.select_for_update(no_key=True).get(pk=project.pk)
    overlap, guidelines, before = project.overlap, project.guidelines, settings_of(project)
    keys = {dimension["key"] for dimension in before["dimensions"]}
    for name, value in values.items():
        setattr(project, name, value)
    _check(project)
    if project.guidelines != guidelines:
        project.guidelines_version += 1
        _new_guidelines(project, by or project.created_by)
        numbers = ({"version": project.guidelines_version - 1}, {"version": project.guidelines_version})
        events.record(project, by, "guidelines.changed", before=numbers[0], after=numbers[1])
    project.save()
    if dimensions is not None:
        _set_dimensions(project, dimensions)
    if "severe_dimensions" in values:
        _set_severe_dimensions(project, keys)
    if gone := {kind["name"] for kind in before["content_kinds"]} - {kind["name"] for kind in project.content_kinds}:
        _drop_kinds(project, gone)
    old, new = events.changes(before, settings_of(project))
    if new:
        events.record(project, by, "project.changed", before=old, after=new)
    if project.overlap != overlap:
        # What a lead asked for beyond the project's overlap stays beyond it.
        wanted = Least(Value(project.overlap) + F("extra"), Value(MAX_OVERLAP))
        held_above = Case(When(taken__gt=wanted, then=wanted), default=None)
        items = Item.objects.filter(project=project, kind=ItemKind.WORK)
        # Those that somebody holds first, in the order in which leases end: the update itself has no order.
        held = items.filter(taken__gt=F("finished")).order_by("pk").select_for_update(no_key=True)
        list(held.values_list("pk"))
        items.update(overlap=Greatest(wanted, F("taken")), lowered_to=held_above)
    # What pairs are, which rewrites are voted on and how contested a pair is follow from these.
    if project.overlap < overlap or {"votes_per_rewrite", "voted_rewrites", "dimensions"} & new.keys():
        pairs.refresh_later(project, by or project.created_by)
    return project


def settings_of(project: Project) -> dict[str, Any]:
    """What can be set on a project, for its log. The guidelines have versions of their own."""
    left_out = {"id", "guidelines", "guidelines_version", "created_by", "created_at"}
    values = {field.name: field.value_from_object(project) for field in project._meta.concrete_fields}
    values["severe_dimensions"] = sorted(values["severe_dimensions"])  # their order says nothing
    dimensions = project.dimensions.values("key", "name", "levels", "scale").order_by("position", "pk")
    return {name: value for name, value in values.items() if name not in left_out} | {"dimensions": list(dimensions)}


def _set_severe_dimensions(project: Project, known: set[str]) -> None:
    """Keep those that exist; one that was there until now may go together with its dimension."""
    keys = list(project.dimensions.values_list("key", flat=True))
    if unknown := [key for key in project.severe_dimensions if key not in {*keys, *known}]:
        raise ValidationError(
            {"severe_dimensions": f"There is no dimension {unknown[0][:40]!r}; this project has {', '.join(keys)}."}
        )
    project.severe_dimensions = [key for key in keys if key in project.severe_dimensions]
    project.save(update_fields=["severe_dimensions"])


def _drop_kinds(project: Project, names: set[str]) -> None:
    """Refuse while texts of the work have the kinds; take them from repeats and known answers."""
    for name in sorted(names):
        marked = Item.objects.filter(project=project, content_kinds__contains=[name])
        if used := marked.filter(kind=ItemKind.WORK).count():
            raise ValidationError(
                {"content_kinds": f"{name} is said of {_number(used, 'text')}: unmark them on the Texts page first."}
            )
        list(marked.order_by("pk").select_for_update(no_key=True).values_list("pk"))
        without = Func(F("content_kinds"), Cast(Value(name), TextField()), template="%(expressions)s", arg_joiner=" - ")
        marked.update(content_kinds=without)


def _new_guidelines(project: Project, user) -> None:
    GuidelinesVersion.objects.create(
        project=project, number=project.guidelines_version, text=project.guidelines, created_by=user
    )


def _check(project: Project) -> None:
    project.full_clean()
    if len(project.guidelines) > MAX_GUIDELINES:
        raise ValidationError(
            {"guidelines": f"They have {len(project.guidelines):,} characters; the limit is {MAX_GUIDELINES:,}."}
        )


# Dimensions


def _set_dimensions(project: Project, wanted: Iterable[Mapping[str, Any]]) -> None:
    wanted = [_clean_dimension(project, dict(values)) for values in wanted]
    keys = [values["key"] for values in wanted]
    if not wanted:
        raise ValidationError({"dimensions": "A project needs at least one dimension."})
    if len(wanted) > MAX_DIMENSIONS:
        raise ValidationError({"dimensions": f"A project has at most {MAX_DIMENSIONS} dimensions."})
    if twice := sorted({key for key in keys if keys.count(key) > 1}):
        raise ValidationError({"dimensions": f"Two dimensions have the same key: {', '.join(twice)}."})
    known = {dimension.key: dimension for dimension in project.dimensions.all()}
    problems = [problem for key in known if key not in keys if (problem := _used(project, known[key], None))]
    for values in wanted:
        if (dimension := known.get(values["key"])) is not None:
            gone = [level for level in dimension.levels if level not in values["levels"]]
            problems += [problem for level in gone if (problem := _used(project, dimension, level))]
    if problems:
        raise ValidationError({"dimensions": problems})
    project.dimensions.exclude(key__in=keys).delete()
    for position, values in enumerate(wanted):
        Dimension.objects.update_or_create(
            project=project,
            key=values["key"],
            defaults={name: values[name] for name in ("name", "levels", "scale")} | {"position": position},
        )


def _clean_dimension(project: Project, values: dict[str, Any]) -> dict[str, Any]:
    name = values.get("name")
    if not isinstance(name, str) or not name.strip():
        raise ValidationError({"dimensions": "A dimension needs a name."})
    name = name.strip()
    validators.check_storable(name, "A dimension's name")
    key = values.get("key") or slugify(name).replace("-", "_")[:40]
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,39}", key):
        raise ValidationError(
            {
                "dimensions": f"{name[:60]}: the key {str(key)[:40]!r} must be lower-case letters, digits "
                "and underscores, starting with a letter. It is the dimension's column in exports."
            }
        )
    if key in RESERVED_KEYS:
        raise ValidationError({"dimensions": f"{key!r} is the name of another column; choose another key."})
    try:
        levels = validators.clean_levels(values.get("levels"))
        scale = values.get("scale") or Scale.ORDINAL
        Dimension(project=project, key=key, name=name, levels=levels, scale=scale).clean_fields(exclude=["project"])
    except ValidationError as error:
        raise ValidationError({"dimensions": [f"{name[:60]}: {text}" for text in error.messages]}) from None
    return {"key": key, "name": name, "levels": levels, "scale": scale}


def _used(project: Project, dimension: Dimension, level: str | None) -> str | None:
    """Why a level (or, with None, the whole dimension) cannot go; None when nothing uses it."""
    if level is None:
        used, what = Q(labels__has_key=dimension.key), dimension.name
        imported = Q(imported_labels__has_key=dimension.key)
    else:
        used, what = Q(labels__contains={dimension.key: level}), f"{dimension.name}: the level {level!r}"
        imported = Q(imported_labels__contains={dimension.key: level})
    annotations = Annotation.objects.filter(used, project=project).count()
    in_pairs = Pair.objects.filter(used | imported, project=project).count()
    known = Gold.objects.filter(
        **{"labels__has_key": dimension.key} if level is None else {"labels__contains": {dimension.key: [level]}},
        project=project,
    ).count()
    if not annotations and not in_pairs and not known:
        return None
    uses = f"{_number(annotations, 'annotation')} and {_number(in_pairs, 'pair')}"
    if known:
        uses = f"{_number(annotations, 'annotation')}, {_number(in_pairs, 'pair')} and {_number(known, 'known answer')}"
    return f"{what} is in use by {uses}, so it can be neither removed nor renamed."


def _number(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


# People


def add_member(project: Project, person: str, roles: Iterable[str], *, invited_by) -> Any:
    """Give a person roles in the project, by username or e-mail, and return the account.

    An e-mail that no account has makes one, without a password; its invitation link lets its owner set one.

    Raises:
        ValidationError: keyed by field.
    """
    roles = _clean_roles(roles)
    with transaction.atomic():
        user = find_or_invite(person, invited_by=invited_by)
        if Membership.objects.filter(project=project, user=user).exists():
            raise ValidationError({"person": f"{user} is a member already. Change the roles in the list instead."})
        Membership.objects.bulk_create(Membership(project=project, user=user, role=role) for role in roles)
        _log_roles(project, invited_by, user, set(), roles)
    return user


def find_or_invite(person: str, *, invited_by) -> Any:
    """The account with this username or e-mail; for an unknown e-mail a new one, with an Invitation.

    Raises:
        ValidationError: keyed by `person`.
    """
    people = get_user_model().objects
    person = person.strip()
    try:
        validators.check_storable(person, "The name")
    except ValidationError as error:
        raise ValidationError({"person": error.messages}) from None
    found = people.filter(username=person).first()
    if found is None and "@" in person:
        matches = list(people.filter(email__iexact=person)[:2])
        if len(matches) > 1:
            raise ValidationError({"person": f"Several accounts have the address {person}. Give the username."})
        found = matches[0] if matches else None
    if found is not None:
        if not found.is_active:
            raise ValidationError({"person": f"The account {found} is closed. An administrator can open it."})
        return found
    if "@" not in person:
        raise ValidationError(
            {"person": f"No account has the name {person[:150]!r}. To invite somebody new, give their e-mail address."}
        )
    try:
        validate_email(person)
    except ValidationError:
        raise ValidationError({"person": f"{person[:150]!r} is not an e-mail address."}) from None
    user = get_user_model()(username=person, email=person)
    user.set_unusable_password()
    try:
        user.full_clean(exclude=["password"])
    except ValidationError as error:
        raise ValidationError({"person": error.messages}) from None
    user.save()
    Invitation.objects.create(user=user, invited_by=invited_by)
    return user


def invitation_path(user, viewer) -> str | None:
    """The address where an invited person sets a password; only for whoever invited them, and until then.

    Anybody who has the address can take the account, so no other lead is shown it.
    """
    invitation = getattr(user, "invitation", None)
    if invitation is None or user.has_usable_password() or invitation.invited_by_id != viewer.pk:
        return None
    uid = urlsafe_base64_encode(force_bytes(user.pk))
    return reverse("invitation", args=[uid, default_token_generator.make_token(user)])


@transaction.atomic
def set_roles(project: Project, user, roles: Iterable[str], by: Any = None) -> None:
    """Replace a member's roles. Without any, the person is no member any more; what they hold goes back.

    Raises:
        ValidationError: the project would have no lead.
    """
    Project.objects.select_for_update(no_key=True).get(pk=project.pk)  # two leads may not remove each other
    roles = set(roles) and _clean_roles(roles)
    members = Membership.objects.filter(project=project)
    before = set(members.filter(user=user).values_list("role", flat=True))
    if Role.LEAD not in roles and not members.filter(role=Role.LEAD).exclude(user=user).exists():
        raise ValidationError({"roles": f"{user} is the project's last lead. Make somebody else lead first."})
    members.filter(user=user).exclude(role__in=roles).delete()
    Membership.objects.bulk_create(
        (Membership(project=project, user=user, role=role) for role in roles), ignore_conflicts=True
    )
    if Role.ANNOTATOR not in roles:
        Reservation.objects.filter(project=project, user=user).delete()  # or nobody would ever get them
        held = Assignment.objects.filter(project=project, annotator=user, state=AssignmentState.HELD)
        work.give_back(held, AssignmentState.EXPIRED)
    if before != roles:
        _log_roles(project, by, user, before, roles)


def _log_roles(project: Project, by: Any, user, before: Iterable[str], after: Iterable[str]) -> None:
    events.record(
        project,
        by,
        "member.changed",
        subject=user.get_username(),
        before={"roles": sorted(before)},
        after={"roles": sorted(after)},
    )


def remove_member(project: Project, user, by: Any = None) -> None:
    """Take all roles away; what the person annotated stays.

    Raises:
        ValidationError: the person is the last lead.
    """
    set_roles(project, user, [], by)


def _clean_roles(roles: Iterable[str]) -> set[str]:
    chosen = set(roles)
    if not chosen:
        raise ValidationError({"roles": "Choose at least one role."})
    if unknown := chosen - set(Role.values):
        raise ValidationError(
            {"roles": f"{sorted(unknown)[0][:40]!r} is no role; choose from {', '.join(Role.values)}."}
        )
    return chosen


# How far it is


def progress(project_ids: Iterable[int], *, for_annotators: bool = False) -> dict[int, dict[str, Any]]:
    """Items, complete items, finished and needed annotations per project; one query for all.

    Args:
        for_annotators: counts hidden texts as finished work, up to what is needed, and leaves `complete` out (None).
            So every submit moves the same figures by one, and none tells whether a text was hidden.
    """
    work = Q(kind=ItemKind.WORK)
    rows = (
        Item.objects.filter(work if not for_annotators else ~Q(kind=ItemKind.PRACTICE))
        .filter(project__in=list(project_ids), retired_at=None)
        .values("project_id")
        .annotate(
            items=Count("pk", filter=work),
            complete=Count("pk", filter=work & Q(finished__gte=F("overlap"))),
            finished_annotations=Sum("finished"),
            needed_annotations=Sum("overlap", filter=work),
        )
        .filter(items__gt=0)
        .order_by()
    )
    found: list[Any] = list(rows)
    if for_annotators:
        for row in found:
            row["complete"] = None
            row["finished_annotations"] = min(row["finished_annotations"], row["needed_annotations"])
    return {row["project_id"]: {name: row[name] for name in NO_PROGRESS} for row in found}


NO_PROGRESS = {"items": 0, "complete": 0, "finished_annotations": 0, "needed_annotations": 0}


def level_counts(project: Project) -> list[dict[str, Any]]:
    """How often annotators chose each level: per dimension its name and [{"level", "count", "percent"}]."""
    counts: dict[tuple[str, str], int] = {}
    # As many groups as combinations of levels, however many annotations.
    for row in (
        Annotation.objects.filter(project=project, kind=ItemKind.WORK)
        .values("labels")
        .annotate(n=Count("pk"))
        .order_by()
    ):
        for key, level in row["labels"].items():
            counts[key, level] = counts.get((key, level), 0) + row["n"]
    found = []
    for dimension in project.dimensions.all():
        per_level = [counts.get((dimension.key, level), 0) for level in dimension.levels]
        total = sum(per_level)
        found.append(
            {
                "key": dimension.key,
                "name": dimension.name,
                "total": total,
                "levels": [
                    {"level": level, "count": count, "percent": round(100 * count / total) if total else 0}
                    for level, count in zip(dimension.levels, per_level, strict=True)
                ],
            }
        )
    return found


def people_counts(project: Project) -> list[tuple[int, int]]:
    """(id, annotations) of everybody who has annotated something, members or not."""
    done = Annotation.objects.filter(project=project)
    return sorted(done.order_by().values_list("annotator").annotate(n=Count("pk")))


def people(project: Project, counts: Iterable[Sequence[int]] | None = None) -> list[dict[str, Any]]:
    """Members by name, with their roles and how much they have annotated. For leads only.

    How often somebody skipped is not told: a skip costs nothing. See `skips`.

    Args:
        counts: what `people_counts` returned; None counts now.
    """
    members: dict[int, dict[str, Any]] = {}
    for row in Membership.objects.filter(project=project).select_related("user__invitation__invited_by"):
        member = members.setdefault(row.user_id, {"user": row.user, "roles": [], "annotations": 0})
        member["roles"].append(row.role)
    for person, annotations in people_counts(project) if counts is None else counts:
        if person in members:
            members[person]["annotations"] = annotations
    return list(members.values())


def skips(project: Project) -> int:
    """How often texts were skipped, by all annotators together."""
    return Assignment.objects.filter(project=project, state=AssignmentState.SKIPPED).count()
