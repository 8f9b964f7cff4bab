"""Known answers: made from a text, by hand or from a file; and how a project uses them."""

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from django.core.exceptions import ValidationError
from django.core.files import File
from django.db import transaction
from django.db.models import Count, Q
from django.utils import timezone

from annotation import events, handout, rows, validators, wellbeing
from annotation.jobs import JobError
from annotation.models import Assignment, Event, Gold, Item, ItemKind, Pair, PracticeAnswer, Project, QualitySettings

KINDS = (ItemKind.PRACTICE, ItemKind.GOLD)
KIND_CHOICES = [(kind.value, kind.label) for kind in KINDS]
# Everybody fits in: the largest number that the column holds.
EVERYBODY = 32_767
MAX_EXPLANATION = 5_000
MAX_FILE_ROWS = 2_000
QUEUE_SAMPLE = 1_000  # texts of the queue that say what the work looks like
MAX_FILE_BYTES = 5 * 1024 * 1024
CONTENT = ("labels", "spans", "rewrite", "explanation")
# What a lead says about the text itself.
FACTS = ("source", "language", "target_group", "content_kinds")
FACT_LENGTHS = {"source": 200, "language": 35, "target_group": 200}  # as the columns of Item
# Those that an annotator sees: a hidden text without one that most of the work has would stand out.
SEEN_FACTS = ("source", "language", "content_kinds")


def levels_of(project: Project) -> dict[str, list[str]]:
    return {dimension.key: dimension.levels for dimension in project.dimensions.all()}


# One known answer


def create(
    project: Project,
    user,
    *,
    kind: str,
    item: Item | None = None,
    text: str = "",
    external_id: str = "",
    **content: Any,
) -> Gold:
    """Give a text a known answer: a text of the project, or with `text` a new one.

    A text that nobody was ever given becomes the practice or gold item itself, and leaves the queue. One that somebody
    had is copied: its annotations go on counting as work, and the copy counts nothing twice. Whoever had the original
    is never given the copy.

    Args:
        kind: practice or gold. content: any of CONTENT, and any of FACTS for a new text; one of the work has its own.

    Raises:
        ValidationError: keyed by field.
    """
    with transaction.atomic():
        return _create(project, user, kind=kind, item=item, text=text, external_id=external_id, content=content)


def _create(
    project: Project, user, *, kind: str, item: Item | None, text: str, external_id: str, content: Mapping[str, Any]
) -> Gold:
    errors: dict[str, Any] = {}
    _collect(errors, "kind", _check_kind, kind)
    text = item.text if item else validators.normalise_text(text) if isinstance(text, str) else ""
    if item is None:
        _collect(errors, "text", validators.check_text, text)
        _collect(errors, "external_id", _check_new_id, project, external_id)
    facts = _clean_facts(project, content, errors)
    if item is not None:
        errors |= {name: f"The text has its own {name}; leave it out." for name, value in facts.items() if value}
    cleaned = _clean(project, text, content, errors)
    if errors:
        raise ValidationError(errors)
    made_in_place, copied_from = False, None
    if item is None:
        item = Item.objects.create(
            project=project, kind=kind, text=text, external_id=external_id or _new_id(kind), overlap=EVERYBODY, **facts
        )
    else:
        item = Item.objects.select_for_update().get(pk=item.pk, project=project)
        if item.kind != ItemKind.WORK:
            raise ValidationError(
                {"item": f"{item} is no text of the work: it is a {item.get_kind_display().lower()}."}
            )
        if Assignment.objects.filter(item=item).exists() or Pair.objects.filter(item=item).exists():
            copied_from, item = item, copy_of(item, kind=kind, external_id=_new_id(kind), overlap=EVERYBODY)
        else:
            made_in_place = True
            item.reservations.all().delete()
            item.kind, item.overlap, item.extra, item.lowered_to = kind, EVERYBODY, 0, None
            item.save(update_fields=["kind", "overlap", "extra", "lowered_to"])
    gold = Gold.objects.create(
        project=project, item=item, created_by=user, copied_from=copied_from, made_in_place=made_in_place, **cleaned
    )
    events.record(
        project,
        user,
        "gold.made",
        item=item,
        subject=item.external_id,
        after={"kind": kind, **_logged(cleaned), **facts},
    )
    return gold


# What describes a text, as against what became of it.
DESCRIPTION = ("text", "source", "language", "target_group", "metadata", "content_kinds")


def copy_of(item: Item, **values: Any) -> Item:
    """A new item with the same text and everything that describes it."""
    described = {name: getattr(item, name) for name in DESCRIPTION}
    return Item.objects.create(project_id=item.project_id, **described, **values)


@transaction.atomic
def change(gold: Gold, user, *, kind: str | None = None, **content: Any) -> Gold:
    """Change a known answer, or what is said of its text. Figures are computed anew; scores of practice stay.

    Args:
        content: any of CONTENT and FACTS.

    Raises:
        ValidationError: keyed by field; the kind of a text that somebody had stays.
    """
    gold = Gold.objects.select_for_update(of=("self",)).select_related("item", "project").get(pk=gold.pk)
    item = gold.item
    before = {"kind": item.kind, **_logged(_values(gold))}
    errors: dict[str, Any] = {}
    facts = _clean_facts(gold.project, content, errors, had=item.content_kinds)
    before |= {name: getattr(item, name) for name in facts}
    if kind is not None and kind != item.kind:
        _collect(errors, "kind", _check_kind, kind)
        if not errors and is_used(gold):
            errors["kind"] = (
                "Somebody has answered this text already, so its use cannot change. Make a new one instead."
            )
    cleaned = _clean(gold.project, item.text, _values(gold) | content, errors)
    if errors:
        raise ValidationError(errors)
    for name, value in cleaned.items():
        setattr(gold, name, value)
    gold.updated_at = timezone.now()
    gold.save()
    if kind is not None and kind != item.kind:
        _keep_practice_possible(gold)
        item.kind = kind
        item.save(update_fields=["kind"])
    for name, value in facts.items():
        setattr(item, name, value)
    if facts:
        item.save(update_fields=[*facts])
    old, new = events.changes(before, {"kind": item.kind, **_logged(cleaned), **facts})
    if new:
        events.record(gold.project, user, "gold.changed", item=item, subject=item.external_id, before=old, after=new)
    return gold


@transaction.atomic
def remove(gold: Gold, user) -> bool:
    """Take a known answer out of use. Returns whether it is gone.

    One that nobody has answered goes: its text returns to the work if it came from there, else it is deleted. One with
    answers is only retired, because figures and scores rest on it.

    Raises:
        ValidationError: it is the last practice text of a project that practises.
    """
    gold = Gold.objects.select_for_update(of=("self",)).select_related("item", "project").get(pk=gold.pk)
    _keep_practice_possible(gold)
    item, used = gold.item, is_used(gold)
    events.record(
        gold.project,
        user,
        "gold.removed",
        item=item if used or gold.made_in_place else None,
        subject=item.external_id,
        before={"kind": item.kind, **_logged(_values(gold))},
    )
    if used:
        item.retired_at = timezone.now()
        item.save(update_fields=["retired_at"])
        return False
    gold.delete()
    if gold.made_in_place:
        item.kind, item.overlap, item.retired_at = ItemKind.WORK, gold.project.overlap, None
        item.save(update_fields=["kind", "overlap", "retired_at"])
    else:
        Event.objects.filter(item=item).update(item=None)  # the log outlives the text
        item.delete()
    return True


@transaction.atomic
def restore(gold: Gold, user) -> None:
    """Bring one that was taken out of use back."""
    if Item.objects.filter(pk=gold.item_id).exclude(retired_at=None).update(retired_at=None):
        events.record(gold.project, user, "gold.restored", item=gold.item_id, subject=gold.item.external_id)


def is_used(gold: Gold) -> bool:
    """Whether anybody was given the text, in practice or in the work."""
    return (
        Assignment.objects.filter(item=gold.item_id).exists()
        or PracticeAnswer.objects.filter(item=gold.item_id).exists()
    )


def _keep_practice_possible(gold: Gold) -> None:
    if gold.item.kind != ItemKind.PRACTICE or gold.item.retired_at:
        return
    locked = QualitySettings.objects.select_for_update().filter(project=gold.project_id, practice=True)
    others = practice_items(gold.project).exclude(pk=gold.item_id)
    if locked.exists() and not others.exists():
        raise ValidationError(
            "This is the last practice text, and annotators must practise first. Switch practice off, or add another."
        )


def practice_items(project: Project):
    """The texts that rounds are made of."""
    return Item.objects.filter(project=project, kind=ItemKind.PRACTICE, retired_at=None, gold__isnull=False)


def counts(project: Project) -> dict[str, int]:
    """How many known answers are in use, per kind."""
    found = (
        Item.objects.filter(project=project, kind__in=KINDS, retired_at=None, gold__isnull=False)
        .values_list("kind")
        .annotate(n=Count("pk"))
        .order_by()
    )
    return {kind.value: 0 for kind in KINDS} | dict(found)


def _clean(project: Project, text: str, content: Mapping[str, Any], errors: dict[str, Any]) -> dict[str, Any]:
    cleaned: dict[str, Any] = {
        "labels": content.get("labels", {}),
        "spans": content.get("spans", []),
        "rewrite": content.get("rewrite", ""),
        "explanation": content.get("explanation", ""),
    }
    for field in ("rewrite", "explanation"):
        if not isinstance(cleaned[field], str):
            errors[field] = f"The {field} must be text."
        else:
            cleaned[field] = validators.normalise_text(cleaned[field])
    _collect(errors, "labels", validators.check_accepted, cleaned["labels"], levels_of(project))
    _collect(errors, "spans", validators.check_spans, cleaned["spans"], text)
    if "rewrite" not in errors:
        _collect(errors, "rewrite", validators.check_rewrite, cleaned["rewrite"])
    if "explanation" not in errors:
        _collect(errors, "explanation", _check_explanation, cleaned["explanation"])
    if "spans" not in errors:
        cleaned["spans"] = sorted(cleaned["spans"], key=lambda span: span["start"])
    return cleaned


def _clean_facts(
    project: Project, content: Mapping[str, Any], errors: dict[str, Any], had: Sequence[str] = ()
) -> dict[str, Any]:
    """Those of FACTS that are given, checked. A kind of content that it `had` may stay."""
    facts = {name: content[name] for name in FACTS if name in content}
    for name, value in facts.items():
        if name != "content_kinds":
            facts[name] = value.strip() if isinstance(value, str) else value
            _collect(errors, name, _check_fact, name, facts[name])
            continue
        # The project's row is locked, so that no kind is dropped meanwhile.
        names = wellbeing.kind_names(Project.objects.select_for_update(no_key=True).get(pk=project.pk))
        _collect(errors, name, validators.check_item_kinds, value, [*names, *had])
        if name not in errors:
            facts[name] = sorted(value, key=lambda kind: names.index(kind) if kind in names else len(names))
    return facts


def _check_fact(name: str, value: Any) -> None:
    longest = FACT_LENGTHS[name]
    if not isinstance(value, str) or len(value) > longest:
        raise ValidationError(f"The {name} is text of at most {longest} characters.")
    validators.check_storable(value, f"The {name}")


def _check_kind(kind: Any) -> None:
    if kind not in KINDS:
        raise ValidationError("Choose practice or gold.")


def _check_explanation(explanation: str) -> None:
    validators.check_storable(explanation, "The explanation")
    if len(explanation) > MAX_EXPLANATION:
        raise ValidationError(f"The explanation has {len(explanation):,} characters; the limit is {MAX_EXPLANATION:,}.")


def _check_new_id(project: Project, external_id: Any) -> None:
    if not isinstance(external_id, str) or len(external_id) > 200:
        raise ValidationError("The external_id is a name of at most 200 characters.")
    validators.check_storable(external_id, "The external_id")
    if external_id and Item.objects.filter(project=project, external_id=external_id).exists():
        raise ValidationError(f"The project has a text with the external_id “{external_id}” already.")


def _new_id(kind: str) -> str:
    return f"{kind}-{uuid.uuid4().hex[:12]}"


def _values(gold: Gold) -> dict[str, Any]:
    return {name: getattr(gold, name) for name in CONTENT}


def _logged(values: Mapping[str, Any]) -> dict[str, Any]:
    """What the log keeps: the accepted levels per dimension as words, and the other parts as they are."""
    labels = {key: " or ".join(accepted) for key, accepted in values["labels"].items()}
    return {"labels": labels, **{name: values[name] for name in CONTENT if name != "labels"}}


def _collect(errors: dict[str, Any], field: str, rule, *args) -> None:
    try:
        rule(*args)
    except ValidationError as error:
        errors[field] = error.messages


def standing_out(project: Project) -> dict[str, int]:
    """How many hidden gold texts lack what most of the next texts in the queue have: those of SEEN_FACTS, by name."""
    lacking = {name: Q(**{name: [] if name == "content_kinds" else ""}) for name in SEEN_FACTS}
    hidden = Item.objects.filter(project=project, kind=ItemKind.GOLD, retired_at=None, gold__isnull=False)
    lack = hidden.aggregate(**{f"no_{name}": Count("pk", filter=without) for name, without in lacking.items()})
    if not any(lack.values()):
        return {}
    waiting = Item.objects.filter(handout.WAITING, project=project)
    waiting = waiting.order_by("-reserved", "-priority", "queued_in", "pk")[:QUEUE_SAMPLE]
    counts = {f"no_{name}": Count("pk", filter=without) for name, without in lacking.items()}
    work = waiting.values("pk", *SEEN_FACTS).aggregate(n=Count("pk"), **counts)
    return {
        name: lack[f"no_{name}"] for name in SEEN_FACTS if lack[f"no_{name}"] and 2 * work[f"no_{name}"] < work["n"]
    }


# A file of them


def import_csv(project: Project, user, file: File, *, kind: str = "") -> list[Gold]:
    """Known answers from a CSV: all of its rows or, with every problem named, none.

    Columns: text, one per dimension's key (accepted levels, separated by |; empty: not judged), explanation, kind
    (practice or gold; `kind` where the column is missing or empty), external_id, safe_rewrite, and those of FACTS
    (kinds of content separated by semicolons).

    Raises:
        ValidationError: keyed by `file`, one message a row at fault.
    """
    if not file.size:
        raise ValidationError({"file": "The file is empty."})
    if file.size > MAX_FILE_BYTES:
        raise ValidationError({"file": f"The file is larger than {MAX_FILE_BYTES // 1024**2} MB. Split it."})
    levels = levels_of(project)
    known = ("text", "explanation", "kind", "external_id", "safe_rewrite", *FACTS, *levels)
    made: list[Gold] = []
    problems: list[str] = []
    try:
        stream: Any = file.open("rb")
        rows.check_encoding(stream.file, "csv")
        with transaction.atomic():
            for row in rows.Reader(stream.file, "csv", ("text",), known):
                if len(made) + len(problems) >= MAX_FILE_ROWS:
                    raise ValidationError({"file": f"The file has more than {MAX_FILE_ROWS:,} rows. Split it."})
                if isinstance(row, rows.Rejected):
                    problems.append(f"Row {row.row}: {row.reason}")
                    continue
                try:
                    made.append(_from_row(project, user, row.values, levels, kind))
                except ValidationError as error:
                    problems += [
                        f"Row {row.row}, {field}: {' '.join(said)}" for field, said in error.message_dict.items()
                    ]
            if problems:
                shown = problems[:20] + ([f"And {len(problems) - 20:,} more."] if len(problems) > 20 else [])
                raise ValidationError({"file": [*shown, "Nothing was imported."]})
            if not made:
                raise ValidationError({"file": "The file has a header and no rows below it."})
    except JobError as error:  # cannot be read as a whole
        raise ValidationError({"file": str(error)}) from None
    return made


def _from_row(project: Project, user, values: Mapping[str, Any], levels: dict[str, list[str]], kind: str) -> Gold:
    labels = {}
    for key, names in levels.items():
        cell = values.get(key, "").strip()
        if cell:
            labels[key] = [cell] if cell in names else [part.strip() for part in cell.split("|") if part.strip()]
    facts: dict[str, Any] = {name: values[name].strip() for name in FACTS if values.get(name, "").strip()}
    if kinds := facts.get("content_kinds"):
        known = {name.casefold(): name for name in wellbeing.kind_names(project)}
        parts = [part.strip() for part in kinds.split(";") if part.strip()]
        facts["content_kinds"] = [known.get(part.casefold(), part) for part in parts]
    return _create(
        project,
        user,
        kind=values.get("kind", "").strip().lower() or kind,
        item=None,
        text=values.get("text", ""),
        external_id=values.get("external_id", "").strip(),
        content={
            "labels": labels,
            "rewrite": values.get("safe_rewrite", ""),
            "explanation": values.get("explanation", ""),
            **facts,
        },
    )


# How the project uses them


def settings_of(project: Project) -> QualitySettings:
    """The project's settings, read once per project object; the defaults where nothing was set."""
    try:
        return project.quality_settings
    except QualitySettings.DoesNotExist:
        return QualitySettings(project=project)


@transaction.atomic
def change_settings(project: Project, user, **values: Any) -> QualitySettings:
    """Set how a project practises and what it hides among the work.

    Raises:
        ValidationError: keyed by field.
    """
    QualitySettings.objects.get_or_create(project=project)
    settings = QualitySettings.objects.select_for_update().get(project=project)
    before = settings.values()
    for name in QualitySettings.FIELDS:
        if name in values:
            setattr(settings, name, values[name])
    settings.full_clean(exclude=["project"])
    if settings.practice and not practice_items(project).exists():
        raise ValidationError({"practice": "There are no practice texts yet. Add some first, then switch practice on."})
    settings.save()
    old, new = events.changes(before, settings.values())
    if new:
        events.record(project, user, "quality.changed", before=old, after=new)
    project.quality_settings = settings
    return settings
