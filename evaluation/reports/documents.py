"""The whole report as a list of sections: what the page, the HTML file and the PDF all show."""

from typing import Any

from evaluation.reports import words
from evaluation.reports.methods import methods
from evaluation.reports.tables import Table, moment, tables

FIGURES = {
    "differences": (
        "Differences from the reference",
        "Each system less the reference with 95 % intervals; right is better. A dashed line is the planned "
        "margin: a system whose "
        "whole interval lies right of it is not worse by that margin, before the adjustment for the number of tests; "
        "the findings are in the table.",
    ),
    "means": ("Mean ratings", "Mean rating of each system with its 95 % interval. The reference's marker is hollow."),
    "distribution": (
        "All ratings",
        "Share of each level, the worst left and light, the best right and dark. Hatched: cannot judge.",
    ),
    "preferences": (
        "Preferences",
        "How often each system was preferred on the pages that showed it, and its strength by the model of "
        "Bradley, Terry and "
        "Davidson, with 95 % intervals where they can be given.",
    ),
    "groups": ("By group of texts", ""),  # see _groups
}


def _groups(results: dict[str, Any]) -> str:
    """The caption of the figure by group: what could be pooled, and what its intervals are over."""
    rows = [row for row in results["groups"] if row["plain"]["estimate"] is not None]
    kinds = words.listed(list(dict.fromkeys(words.GROUPS[row["by"]] for row in rows)))
    said = f"Differences from the reference by {kinds}, in levels, with 95 % intervals. "
    pooled = [row["pooled"]["estimate"] is not None for row in rows]
    together = (
        "a group of few texts borrows from the others. Pooled intervals are over texts only: the reviewers are the "
        "same in all groups."
    )
    if all(pooled):
        return f"{said}Partly pooled: {together}"
    if any(pooled):
        return (
            f"{said}Filled markers are partly pooled: {together} Hollow ones are groups' own figures, over texts and "
            "reviewers, where nothing could be pooled."
        )
    reasons = list(dict.fromkeys(row["pooled"]["reason"] for row in rows if row["pooled"]["reason"]))
    return f"{said}Each group's own figure, over texts and reviewers. {' '.join(reasons)}".strip()


def tiles(results: dict[str, Any]) -> list[dict[str, str]]:
    """A few figures under the answers: value and what it is."""
    counts, found = results["counts"], []
    if results["criteria"]:
        found.append(
            (f"{counts['used']['ratings']:,}", f"ratings from {words.count(counts['used']['reviewers'], 'reviewer')}")
        )
    else:
        found.append(
            (
                f"{results['preferences']['choices']:,}",
                f"choices of {words.count(counts['used']['reviewers'], 'reviewer')}",
            )
        )
    found.append(
        (
            f"{counts['texts_rated']:,}",
            f"{'text' if counts['texts_rated'] == 1 else 'texts'}, {counts['finished']:,} of "
            f"{words.count(counts['pages'], 'page')} finished",
        )
    )
    names = {row["key"]: row["name"] for row in results["criteria"]}
    for row in results.get("agreement", []):
        alpha = row["alpha"]
        reason = f" {alpha['reason']}" if alpha["reason"] else ""
        found.append(
            (
                words.number(alpha["estimate"]),
                f"Krippendorff’s α, {words.name(names[row['criterion']])} {words.interval(alpha)}{reason}",
            )
        )
    if results["attention"]["asked"]:
        passed = results["attention"]["passed"]
        found.append(
            (words.percent(passed["estimate"]), f"attention checks passed, {passed['count']} of {passed['n']}")
        )
    if results["blinding"]:
        index = results["blinding"]["tuned"]["index"]
        found.append(
            (words.signed(index["estimate"]), f"Bang’s blinding index of tuned systems {words.interval(index)}")
        )
    return [{"value": value, "label": label} for value, label in found]


def facts(results: dict[str, Any]) -> list[tuple[str, str]]:
    """The record: what was planned when, what changed, who unblinded."""
    study, protocol = results["study"], results["study"]["protocol"]
    found = []
    if protocol["sha256"]:
        found.append(("Protocol, SHA-256", protocol["sha256"]))
        found.append(("Written", f"{moment(protocol['written_at'])}, by {words.name(protocol['written_by'])}"))
        found.append(("Since then", "unchanged" if protocol["intact"] else "it is not as it was written"))
    found.append(("Amendments", str(len(study["amendments"])) if study["amendments"] else "none"))
    if study["hypotheses"]:
        found.append(("Hypotheses", study["hypotheses"]))
    found.append(("Unblinded", f"{moment(study['unblinded_at'])}, by {words.name(study['unblinded_by'])}"))
    if study["ratings_hash"]:
        found.append(("Answers, SHA-256", study["ratings_hash"]))
    balance = results["design"]["balance"]
    if balance:
        found.append(("Balance of the design", balance if isinstance(balance, str) else " ".join(balance)))
    left_out = results["left_out"]
    if left_out["anything"]:
        who = words.listed(left_out["reviewers"]) or "nobody"
        found.append(
            ("Left out by the rules", f"{who}; {words.count(left_out['fast_pages'], 'page')} answered too fast")
        )
    return found


def document(results: dict[str, Any], figures: dict[str, str]) -> dict[str, Any]:
    """title, subtitle, notes, answers, tiles, figures (name, title, caption), tables, methods (paragraphs), facts."""
    scratch = [row["name"] for row in results["systems"] if row["is_scratch"]]
    notes = []
    if scratch:
        one = len(scratch) == 1
        notes.append(
            f"Scratch model. {words.listed([words.name(name) for name in scratch])} {'was' if one else 'were'} "
            f"made by a tiny model "
            "that proves that the pipeline runs. The figures say nothing about the method."
        )
    if results["study"]["protocol"]["sha256"] and not results["study"]["protocol"]["intact"]:
        notes.append("The protocol or an amendment is not as it was written.")
    return {
        "title": results["study"]["name"],
        "subtitle": f"Blind human evaluation, closed {moment(results['study']['closed_at'])}",
        "notes": notes,
        "answers": results["answers"],
        "tiles": tiles(results) if results["counts"]["finished"] else [],
        "figures": [
            {
                "name": name,
                "title": title,
                "caption": _groups(results) if name == "groups" else caption,
                "svg": figures[name],
            }
            for name, (title, caption) in FIGURES.items()
            if name in figures
        ],
        "tables": tables(results) if results["counts"]["finished"] else [],
        "methods": methods(results).split("\n\n"),
        "facts": facts(results),
    }


def table_named(results: dict[str, Any], name: str) -> Table | None:
    return next((table for table in tables(results) if table.name == name), None)
