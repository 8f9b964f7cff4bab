"""What becomes of the columns of an uploaded file: guessed from their names and values, corrected by a lead.

A mapping is data: {"columns": {column: target}, "values": {column: {value: level}}, "people": {name: username},
"splits": [split, ...], "incomplete": "take" or "reject"}. Every part may be missing; what it does not name is guessed.
A target is one of TARGETS, or `label:KEY` for a dimension of the project. In `values`, the level of a column of
target `labels` is written `KEY:LEVEL`; an empty one keeps the value beside the annotation, or with the text.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.core.exceptions import ValidationError

from annotation import rows
from annotation.models import Membership, Project

TEXT_TARGETS = {
    "text": "The text",
    "external_id": "Its id",
    "source": "Source",
    "language": "Language",
    "target_group": "Target group of the text",
    "content_kinds": "Kinds of content",
    "safe_rewrite": "Ready-made rewrite (a proposed pair)",
}
ANNOTATION_TARGETS = {
    "annotator": "Who annotated",
    "labels": "Labels of several dimensions",
    "spans": "Marked words",
    "target_groups": "Target groups an annotator named",
    "rewrite": "The annotator's rewrite",
    "comment": "The annotator's comment",
    "active_seconds": "Seconds of work",
    "created_at": "When annotated",
    "updated_at": "When last changed",
    "guidelines_version": "Version of the guidelines",
}
KEPT, DROPPED = "metadata", "drop"
OTHER_TARGETS = {KEPT: "Keep as it is", DROPPED: "Leave out"}
TARGETS = {**TEXT_TARGETS, **ANNOTATION_TARGETS, **OTHER_TARGETS}
LABEL = "label:"
MANY = {KEPT, DROPPED, "labels", "spans"}  # targets that several columns may have

# Names by which columns are known besides their target's own.
SYNONYMS = {
    "text": ("sentence", "comment_text", "content", "tweet", "post", "body", "document", "input_text", "utterance"),
    "external_id": ("task.id", "id", "text_id", "item_id", "uid"),
    "annotator": ("annotator_id", "annotator_name", "worker_id", "workerid", "rater", "rater_id", "coder", "labeller"),
    "spans": ("entities", "marks", "highlights", "toxic_spans"),
    "rewrite": ("safe_rewrite", "rewritten", "safe_text", "neutral_text", "detoxified", "paraphrase"),
    "comment": ("comments", "note", "notes"),
    "target_groups": ("targets", "groups"),
    "active_seconds": ("annotation.lead_time", "lead_time", "seconds", "duration_seconds"),
    "created_at": ("annotation.created_at", "annotated_at", "submitted_at", "timestamp"),
    "updated_at": ("annotation.updated_at", "changed_at"),
    "language": ("lang",),
}
# Columns of our own files that mean nothing to another project.
OWN_LEFTOVERS = {
    *("id", "revision", "kind", "status", "settled_by", "settled_at", "disagreement", "reason"),
    *("suggestion_shown", "annotations", "settled"),
}
MAX_VALUES = 50  # different values of a column that are offered for mapping
MAX_VALUE_LENGTH = 100
MAX_PEOPLE = 200


def label_key(target: str) -> str | None:
    """The dimension of a target `label:KEY`; None for any other."""
    return target[len(LABEL) :] if target.startswith(LABEL) else None


def _plain(name: str) -> str:
    """A column's name as it is compared: lower case, without the tool's prefix."""
    name = name.strip().casefold()
    for prefix in ("data.", "control."):
        name = name.removeprefix(prefix)
    return re.sub(r"[\s\-]+", "_", name)


def match_level(value: str, levels: Iterable[str]) -> str | None:
    """The level that a value names, whatever its case and the blanks around it."""
    wanted = value.strip().casefold()
    return next((level for level in levels if level.strip().casefold() == wanted), None)


def match_label(value: str, levels: Mapping[str, list[str]], names: Mapping[str, str]) -> tuple[str, str] | None:
    """The dimension and level that a label such as `toxicity: severe`, `Bias_high` or `severe` names.

    A level's name alone counts where only one dimension has it.
    """
    folded = value.strip().casefold()
    for key, name in names.items():
        for begin in (key.casefold(), name.strip().casefold()):
            rest = folded.removeprefix(begin)
            if rest != folded and (rest := rest.lstrip(" :=_-/.|>")) and (level := match_level(rest, levels[key])):
                return key, level
    found = [(key, level) for key in levels if (level := match_level(value, levels[key]))]
    return found[0] if len(found) == 1 else None


# What is in a file


@dataclass
class Column:
    """What was seen of one column. values: how often each short value occurs, or None where they are too many."""

    name: str
    filled: int = 0
    example: str = ""
    values: Counter[str] | None = field(default_factory=Counter)
    shapes: Counter[str] = field(default_factory=Counter)

    def see(self, value: Any) -> None:
        if value in (None, "", [], {}):
            return
        self.filled += 1
        if not self.example:
            shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
            self.example = rows.storable(shown, 200)
        shape = shape_of(value)
        self.shapes[shape] += 1
        if self.values is None or shape == "spans":
            return
        parts = value if isinstance(value, list) else [value]
        for part in parts:
            word = part.strip() if isinstance(part, str) else str(part) if isinstance(part, (int, bool)) else None
            if (
                word is None
                or len(word) > MAX_VALUE_LENGTH
                or len(self.values) > MAX_VALUES
                or rows.storable(word, MAX_VALUE_LENGTH) != word
            ):
                self.values = None
                return
            self.values[word] += 1

    @property
    def choices(self) -> dict[str, int]:
        """The values, most frequent first; empty where the column holds free text or too many."""
        if self.values is None or len(self.values) > MAX_VALUES:
            return {}
        return dict(self.values.most_common())


def shape_of(value: Any) -> str:
    """What kind of value it is: spans, words (a list of them), word or other."""
    if isinstance(value, str):
        if value.startswith(("[{", "[[")):
            try:
                return shape_of(json.loads(value))
            except (ValueError, RecursionError):
                return "word"
        return "word"
    if isinstance(value, list):
        if all(is_span(part) for part in value):
            return "spans"
        if all(isinstance(part, str) for part in value):
            return "words"
    return "other" if isinstance(value, (list, dict)) else "word"


def is_span(value: Any) -> bool:
    if isinstance(value, dict):
        return ("start" in value and "end" in value) or ("start_offset" in value and "end_offset" in value)
    return isinstance(value, list) and len(value) in (2, 3) and all(type(part) is int for part in value[:2])


@dataclass
class Inspection:
    """What a file holds, as far as it was read."""

    file_format: str
    rows: int = 0
    whole: bool = False  # whether all of it was read
    columns: dict[str, Column] = field(default_factory=dict)
    people: Counter[str] = field(default_factory=Counter)
    splits: Counter[str] = field(default_factory=Counter)

    def see(self, values: Mapping[str, Any], annotator_column: str | None) -> None:
        self.rows += 1
        for name, value in values.items():
            column = self.columns.get(name)
            if column is None:
                if len(self.columns) >= rows.MAX_COLUMNS or len(name) > 200 or rows.storable(name, 200) != name:
                    continue  # stays with the row
                column = self.columns[name] = Column(name)
            column.see(value)
        person = person_name(values.get(annotator_column)) if annotator_column else ""
        if person and len(self.people) <= MAX_PEOPLE:
            self.people[person] += 1
        if self.file_format == "dataset":
            self.splits[str(values.get("split"))] += 1


def person_name(value: Any) -> str:
    """The name of an annotator as one line of text, '' for nobody. Numbers are names, too."""
    if isinstance(value, dict):
        value = value.get("email") or value.get("username") or value.get("id")
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        return ""
    return " ".join(rows.storable(str(value).replace("\x00", " "), 300).split())[:150]


# Guessing


def guess(found: Inspection, project: Project, *, people: bool) -> dict[str, Any]:
    """A mapping for what was found.

    Args:
        people: whether the format itself names annotators (Label Studio, doccano).
    """
    dimensions = list(project.dimensions.all())
    levels = {dimension.key: dimension.levels for dimension in dimensions}
    names = {dimension.key: dimension.name for dimension in dimensions}
    columns = list(found.columns.values())
    annotator = annotator_column(columns)
    with_people = people or annotator is not None
    targets: dict[str, str] = {}
    own = {"active_seconds", "revision", "annotator"} <= found.columns.keys() or {
        "settled_by",
        "disagreement",
    } <= found.columns.keys()
    taken: set[str] = set()

    def take(name: str, target: str) -> None:
        targets[name] = target
        if target not in MANY:
            taken.add(target)

    if annotator is not None:
        take(annotator, "annotator")
    by_exact_name(columns, levels, names, with_people, take, taken, targets)
    for column in columns:
        if column.name in targets:
            continue
        if own and column.name in OWN_LEFTOVERS:
            take(column.name, DROPPED)
        elif with_people and (target := _by_nature(column, found, levels, names, taken)):
            take(column.name, target)
    if with_people or found.file_format not in ("csv", "jsonl"):
        _by_synonym(columns, take, taken, targets, with_people)
    for column in columns:
        targets.setdefault(column.name, KEPT)
    values = {}
    for column in columns:
        if mapped := guess_values(column.choices, targets[column.name], levels, names, with_people):
            values[column.name] = mapped
    return {
        "columns": targets,
        "values": values,
        "people": guess_people(found.people, project),
        "splits": list(found.splits),
        "incomplete": "take",
    }


def annotator_column(columns: list[Column]) -> str | None:
    """The column that says who annotated, by its name; None where there is none."""
    by_name = {_plain(column.name): column.name for column in columns}
    for name in ("annotator", *SYNONYMS["annotator"]):
        if name in by_name:
            return by_name[name]
    return None


def by_exact_name(columns, levels, names, with_people, take, taken, targets) -> None:
    """Columns called like a target or a dimension."""
    wanted = {**TEXT_TARGETS, **(ANNOTATION_TARGETS if with_people else {})}
    for column in columns:
        plain = _plain(column.name)
        if column.name in targets:
            continue
        if plain == "labels":
            continue  # what is in it decides
        if plain in wanted and plain not in taken:
            take(column.name, plain)
            continue
        for key, name in names.items():
            same = {key.casefold(), _plain(name), f"{key}_label".casefold(), f"label_{key}".casefold()}
            if plain in (same if with_people else {key.casefold()}) and f"{LABEL}{key}" not in taken:
                take(column.name, f"{LABEL}{key}")
                break


def _by_nature(column: Column, found: Inspection, levels, names, taken: set[str]) -> str | None:
    """The target that a column's values suggest, in a file with annotators."""
    if column.shapes and set(column.shapes) == {"spans"}:
        return "spans"
    choices = column.choices
    if choices:
        for key in levels:
            if f"{LABEL}{key}" not in taken and all(match_level(value, levels[key]) for value in choices):
                fitting = [one for one in levels if all(match_level(value, levels[one]) for value in choices)]
                if len(fitting) == 1:
                    return f"{LABEL}{key}"
        if any(match_label(value, levels, names) for value in choices) and (
            _plain(column.name) in ("label", "labels", "cats", "categories") or "words" in column.shapes
        ):
            return "labels"
    plain = _plain(column.name)
    if found.file_format == "doccano" and plain in ("label", "labels") and not choices and "rewrite" not in taken:
        return "rewrite"  # sequence to sequence
    if "words" in column.shapes or not choices:
        for word, target in (("rewrit", "rewrite"), ("comment", "comment"), ("note", "comment")):
            if word in plain and target not in taken and not column.name.startswith("data."):
                return target
    return None


def _by_synonym(columns, take, taken, targets, with_people) -> None:
    by_plain: dict[str, str] = {}
    for column in columns:
        by_plain.setdefault(_plain(column.name), column.name)
    for target, synonyms in SYNONYMS.items():
        if target in ANNOTATION_TARGETS and not with_people:
            continue
        if target in taken:
            continue
        for synonym in synonyms:
            name = by_plain.get(synonym)
            if name is not None and targets.get(name, KEPT) in (KEPT, DROPPED):
                take(name, target)
                break


def guess_values(choices: Iterable[str], target: str, levels, names, with_people: bool) -> dict[str, str]:
    """The level that each value of a column seems to mean.

    '' for none where the rows are annotations: the value is kept beside them. In a file of texts such a value is left
    out here, and its row is rejected later.
    """
    key = label_key(target)
    found: dict[str, str] = {}
    if key in levels:
        found = {value: match_level(value, levels[key]) or "" for value in choices}
    elif target == "labels":
        labels = {value: match_label(value, levels, names) for value in choices}
        found = {value: ":".join(label) if label else "" for value, label in labels.items()}
    return found if with_people else {value: level for value, level in found.items() if level}


def known_people(project: Project) -> dict[str, Any]:
    """Whom a name in a file may mean, by username and by e-mail in lower case: members of the project, and those who
    have annotated in it before. An address that two of them share means nobody.
    """
    from django.contrib.auth import get_user_model
    from django.db.models import Exists, OuterRef, Q

    from annotation.models import Assignment

    members = Membership.objects.filter(project=project, user_id=OuterRef("pk"))
    before = Assignment.objects.filter(project=project, annotator_id=OuterRef("pk"))
    people = list(get_user_model().objects.filter(Q(Exists(members)) | Q(Exists(before))))
    addresses = Counter(person.email.casefold() for person in people if person.email)
    found = {
        person.email.casefold(): person for person in people if person.email and addresses[person.email.casefold()] == 1
    }
    return found | {person.username.casefold(): person for person in people}


def guess_people(people: Iterable[str], project: Project) -> dict[str, str]:
    known = known_people(project)
    return {
        name: known[name.casefold()].username if name.casefold() in known else "" for name in list(people)[:MAX_PEOPLE]
    }


# Checking what somebody sent


def check(mapping: Any, project: Project) -> dict[str, Any]:
    """A mapping that a person or a script sent, checked against the project.

    Raises:
        ValidationError: keyed by `mapping`, naming the part at fault.
    """
    problems: list[str] = []
    if not isinstance(mapping, dict):
        raise ValidationError({"mapping": 'A mapping is an object such as {"columns": {"comment": "text"}}.'})
    if unknown := set(mapping) - {"columns", "values", "people", "splits", "incomplete"}:
        problems.append(f"{sorted(map(str, unknown))[0][:40]!r} is no part of a mapping.")
    levels = {dimension.key: dimension.levels for dimension in project.dimensions.all()}
    columns = mapping.get("columns", {})
    values = mapping.get("values", {})
    people = mapping.get("people", {})
    splits = mapping.get("splits", [])
    for part, name in ((columns, "columns"), (values, "values"), (people, "people")):
        if not isinstance(part, dict):
            problems.append(f"`{name}` must be an object.")
    if not isinstance(splits, list) or not all(isinstance(split, str) for split in splits):
        problems.append("`splits` must be a list of names.")
    if mapping.get("incomplete", "take") not in ("take", "reject"):
        problems.append("`incomplete` is take or reject.")
    if problems:
        raise ValidationError({"mapping": problems})
    used: dict[str, str] = {}
    for column, target in columns.items():
        key = label_key(target) if isinstance(target, str) else None
        if not isinstance(target, str) or (target not in TARGETS and key not in levels):
            allowed = ", ".join([*TARGETS, *(f"{LABEL}{key}" for key in levels)])
            problems.append(f"{column[:60]}: there is no target {str(target)[:40]!r}; choose from {allowed}.")
        elif target not in MANY and target in used:
            problems.append(f"{column[:60]} and {used[target][:60]} cannot both be {describe(target)!r}.")
        else:
            used[target] = column
    for column, choices in values.items():
        if not isinstance(choices, dict):
            problems.append(f"{column[:60]}: the values must be an object of value and level.")
            continue
        problems += _wrong_levels(column, choices, columns.get(column, ""), levels)
    if people and not all(isinstance(name, str) for name in people.values()):
        problems.append("`people` maps each name to a username, or to an empty text for a closed account.")
    else:
        known = known_people(project) if people else {}
        problems += [
            f"{name[:60]}: {username[:60]!r} is nobody in this project."
            for name, username in people.items()
            if username and username.casefold() not in known
        ]
    if problems:
        raise ValidationError({"mapping": problems[:20]})
    return {name: mapping[name] for name in ("columns", "values", "people", "splits", "incomplete") if name in mapping}


def _wrong_levels(column: str, choices: dict[str, Any], target: str, levels: Mapping[str, list[str]]) -> list[str]:
    key = label_key(target)
    problems = []
    for value, level in choices.items():
        if not isinstance(level, str):
            problems.append(f"{column[:60]}: the level of {value[:40]!r} must be text.")
        elif not level:
            continue
        elif target == "labels" or key is None:
            dimension, _, name = level.partition(":")
            if name not in levels.get(dimension, ()):
                problems.append(f"{column[:60]}: {level[:60]!r} is no label; write it as dimension:level.")
        elif level not in levels.get(key, ()):
            problems.append(
                f"{column[:60]}: {level[:40]!r} is no level of {key}; choose from {', '.join(levels.get(key, []))}."
            )
    return problems


def describe(target: str) -> str:
    return TARGETS.get(target, target)


def merged(sent: Mapping[str, Any], found: Inspection, project: Project, *, people: bool) -> dict[str, Any]:
    """What was sent, with a guess for what it does not name. A target that was sent is not guessed for another."""
    guessed = guess(found, project, people=people)
    if not sent:
        return guessed
    dimensions = list(project.dimensions.all())
    levels = {dimension.key: dimension.levels for dimension in dimensions}
    names = {dimension.key: dimension.name for dimension in dimensions}
    columns = dict(sent.get("columns", {}))
    taken = {target for target in columns.values() if target not in MANY}
    for name, target in guessed["columns"].items():
        if name not in columns:
            columns[name] = KEPT if target in taken else target
    with_people = "annotator" in columns.values()
    values: dict[str, dict[str, str]] = {}
    for name, target in columns.items():
        choices = found.columns[name].choices if name in found.columns else {}
        mapped = guess_values(choices, target, levels, names, with_people) | sent.get("values", {}).get(name, {})
        if mapped:
            values[name] = mapped
    return {
        "columns": columns,
        "values": values,
        "people": {**guessed["people"], **sent.get("people", {})},
        "splits": sent.get("splits") or guessed["splits"],
        "incomplete": sent.get("incomplete", guessed["incomplete"]),
    }
