"""A study's protocol for people: the stored document as sections that a page shows and a Markdown file holds.

Everything is read from the document as it was hashed, never from the study as it is now.
"""

import json
from dataclasses import dataclass, field
from typing import Any

from django.utils import timezone

from evaluation import protocol, studies
from evaluation.models import (
    Allocation,
    Amendment,
    Hypothesis,
    Layout,
    OnFailure,
    Part,
    Protocol,
    Strata,
    Study,
    SystemKind,
)

HIDDEN = "Hidden from you as long as you rate its systems blind."
# Names of fields for people, in amendments.
LABELS = {
    "name": "Name",
    "instructions": "Instructions",
    "hypotheses": "Hypotheses",
    "on_failure": "Who fails the attention checks",
    "min_passed": "Attention checks to pass, in percent",
    "min_seconds": "Least seconds on a page",
    "status": "State",
    "reviewer": "Reviewer",
}
LONG = ("instructions", "hypotheses")


@dataclass
class Table:
    head: list[str]
    rows: list[list[str]]


@dataclass
class Section:
    """A heading with facts, then texts word for word, then tables; `folded` is what few want to read."""

    title: str
    facts: list[tuple[str, str]] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    folded: bool = False


def content_of(found: Protocol, blind: bool = False) -> dict[str, Any]:
    """The document; for somebody who is blind without what is TELLING."""
    content = json.loads(found.text)
    if blind:
        for name in protocol.TELLING:
            content.pop(name, None)
            content["design"].pop(name, None)
    return content


def sections(content: dict[str, Any]) -> list[Section]:
    """A document, whole or as `content_of` gives it to the blind, as sections."""
    return [
        _expected(content),
        _systems(content),
        _texts(content),
        _pages(content),
        _criteria(content),
        _tests(content),
        _controls(content),
        _power(content),
        _rest(content),
    ]


def _expected(content: dict[str, Any]) -> Section:
    if "hypotheses" not in content:
        return Section("Hypotheses", texts=[HIDDEN])
    return Section("Hypotheses", texts=[content["hypotheses"] or "None were written down in words."])


def _systems(content: dict[str, Any]) -> Section:
    if "systems" not in content:
        return Section("Systems", texts=[HIDDEN])
    rows = []
    for system in content["systems"]:
        part = [
            "reference" if system["id"] == content["reference"] else "",
            "tuned" if system["id"] in content["tuned"] else "",
        ]
        rows.append([system["name"], SystemKind(system["kind"]).label, ", ".join(filter(None, part))])
    notes = list(content.get("control_notes", []))
    return Section("Systems", texts=notes, tables=[Table(["System", "What it is", "Part"], rows)])


def _texts(content: dict[str, Any]) -> Section:
    design = content["design"]
    facts = [("Texts", f"{content['sizes']['texts']:,}")]
    if "chosen_ids" not in design:
        facts.append(("Which", HIDDEN))
    elif design["chosen_ids"]:
        facts.append(("Drawn", "Chosen by external id"))
    else:
        wanted = f"{design['number_of_items']:,}" if design["number_of_items"] else "All there were"
        facts.append(("Wanted", wanted))
        if design["strata"]:
            by = f"{Strata(design['strata']).label}; {Allocation(design['allocation']).label.lower()}"
            facts.append(("Drawn by", by))
    if content.get("dataset"):
        facts.append(("Dataset", f"{content['dataset']}, {Part(design['part']).label.lower()}"))
    if "seed" in design:
        facts.append(("Seed", str(design["seed"])))
    found = Section("Texts", facts, texts=list(content["sampling_notes"]))
    if design["strata"] and "items" in content:
        counts: dict[str, int] = {}
        for _, stratum in content["items"]:
            counts[stratum] = counts.get(stratum, 0) + 1
        rows = [[stratum or "(none)", f"{n:,}"] for stratum, n in sorted(counts.items(), key=lambda row: -row[1])]
        found.tables.append(Table([Strata(design["strata"]).label, "Texts"], rows))
    return found


def _pages(content: dict[str, Any]) -> Section:
    design, sizes = content["design"], content["sizes"]
    facts = [
        ("Layout", Layout(design["layout"]).label),
        ("Outputs on a page", str(sizes["outputs_on_a_page"])),
        ("Ratings of each output", f"{sizes['ratings_per_output']}, of {sizes['reviewers']} reviewers"),
        ("Pages in all", f"{sizes['pages']:,}"),
        ("Balance", content["balance"]),
    ]
    if design["layout"] != Layout.RATE:
        facts.append(("Preference", design["preference_question"]))
    if design.get("worst_question"):
        facts.append(("Besides", design["worst_question"]))
    if "shown_as" in content:
        facts.append(("Outputs are shown", "\n".join(content["shown_as"])))
    facts.append(("Who sees what", f"SHA-256 {content['assignment']}"))
    if content["instructions"]:
        facts.append(("Instructions", content["instructions"]))
    return Section("Pages", facts)


def _criteria(content: dict[str, Any]) -> Section:
    if content["design"]["layout"] in (Layout.PAIRWISE, Layout.BEST_WORST):
        return Section("Criteria", texts=["None: reviewers only choose among the outputs."])
    rows = []
    for criterion in content["criteria"]:
        levels = " · ".join(f"{number} {anchor}" for number, anchor in enumerate(criterion["anchors"], start=1))
        planned = Hypothesis(criterion["hypothesis"]).label
        if criterion["margin"] is not None:
            planned += f" ({criterion['margin']:g} levels)"
        rows.append([criterion["name"], criterion["question"], levels, planned])
    return Section("Criteria", tables=[Table(["Criterion", "Question", "Levels", "Expected of each system"], rows)])


def _tests(content: dict[str, Any]) -> Section:
    if "planned_tests" not in content:
        return Section("Planned tests", [("Correction", content["correction"])], [HIDDEN])
    if not content["planned_tests"]:
        return Section("Planned tests", texts=["None."])
    names = {system["id"]: system["name"] for system in content["systems"]}
    criteria = {criterion["key"]: criterion for criterion in content["criteria"]}
    rows = [
        [
            criteria[test["criterion"]]["name"] if "criterion" in test else "Preference",
            names[test["system"]],
            names[content["reference"]],
            Hypothesis(test["hypothesis"]).label,
        ]
        for test in content["planned_tests"]
    ]
    head = ["Of", "System", "Reference", "Hypothesis"]
    facts = [("Tests", str(len(rows))), ("Correction", content["correction"])]
    return Section("Planned tests", facts, tables=[Table(head, rows)])


def _controls(content: dict[str, Any]) -> Section:
    design, rules = content["design"], content["exclusions"]
    seconds = rules["min_seconds"]
    facts = [
        ("Practice pages", f"{design['practice']}, not counted"),
        ("Attention checks", f"{design['checks']} for each reviewer"),
        ("Repeated pages", f"{design['repeats']} for each reviewer"),
        ("Pages to guess on", f"{design['guesses']} for each reviewer"),
    ]
    if design["checks"]:
        facts.append(("Who passes fewer than", f"{rules['min_passed']} %: {OnFailure(rules['on_failure']).label}"))
    facts.append(("Pages answered in less than", f"{seconds} s are left out" if seconds else "No page is too fast"))
    return Section("Controls and exclusions", facts)


def _power(content: dict[str, Any]) -> Section:
    found = content.get("power")
    if not found:
        return Section("Power", texts=["No power analysis was made."])
    return Section("Power", texts=list(found["results"].get("words", [])))


def _rest(content: dict[str, Any]) -> Section:
    items = [Table(["Text", "Stratum"], [list(row) for row in content["items"]])] if "items" in content else []
    facts = [
        ("Reviewers", ", ".join(content["reviewers"])),
        ("Versions", ", ".join(f"{name} {number}" for name, number in content["versions"].items())),
    ]
    return Section("Reviewers, versions and every text", facts, tables=items, folded=True)


# Amendments


@dataclass
class Change:
    label: str
    before: str
    after: str
    long: bool


@dataclass
class Amended:
    """An amendment for reading. `reason` is empty where it is hidden from somebody blind."""

    row: Amendment
    reason: str
    changes: list[Change]
    hidden: bool


def amendments(study: Study, user) -> list[Amended]:
    """A study's amendments in their order, as this person may read them."""
    blind = studies.is_blind(user, study)
    found = []
    for row in study.amendments.select_related("created_by").order_by("number"):
        hidden = blind and row.created_by_id != user.pk
        telling = blind and "hypotheses" in row.changes
        changes = [
            Change(
                label=LABELS.get(name, name),
                before="" if telling else _word(before),
                after="" if telling else _word(after),
                long=name in LONG,
            )
            for name, (before, after) in row.changes.items()
        ]
        found.append(Amended(row, "" if hidden else row.reason, changes, hidden or telling))
    return found


def _word(value: Any) -> str:
    return "–" if value in (None, "") else str(value)


# Markdown


def markdown(study: Study) -> str:
    """The protocol and its amendments as one Markdown document, for a preregistration."""
    found = study.protocol
    content = content_of(found)
    lines = [
        f"# {_line(content['study'])}",
        "",
        f"Protocol of a blind human evaluation, written {_time(found.created_at)} by {found.created_by}.",
        f"SHA-256 of the document: `{found.sha256}`",
    ]
    for section in sections(content):
        lines += ["", f"## {section.title}", ""]
        for label, value in section.facts:
            lines.append(f"- {label}: {_line(value)}")
        for text in section.texts:
            lines += ["", *(f"> {line}" for line in text.split("\n")), ""]
        for table in section.tables:
            lines += ["", _row(table.head), _row(["---"] * len(table.head)), *map(_row, table.rows)]
    rows = list(study.amendments.select_related("created_by").order_by("number"))
    lines += ["", "## Amendments", "", *([] if rows else ["None."])]
    for row in rows:
        when = "before" if row.blind else "after"
        lines.append(
            f"{row.number}. {_time(row.created_at)}, {row.created_by}, after {row.tasks_done:,} finished pages and "
            f"{when} unblinding: {_line(row.reason)}"
        )
        for name, (before, after) in row.changes.items():
            lines.append(f"   - {LABELS.get(name, name)}: {_line(_word(before))} → {_line(_word(after))}")
        lines.append(f"   - SHA-256 `{row.sha256}`")
    return "\n".join(lines) + "\n"


def _time(moment) -> str:
    return timezone.localtime(moment).strftime("%Y-%m-%d %H:%M %Z")


def _line(text: str) -> str:
    """A text on one line; Markdown and HTML in it are shown as they are."""
    escaped = "".join(f"\\{character}" if character in r"\`*_{}[]<>#|" else character for character in text)
    return " ".join(escaped.split())


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cell if cell == '---' else _line(cell) for cell in cells)} |"
