"""The report's first lines: is it safer, is the meaning kept, how sure is that. Three answers, each from the results.

Names within a sentence carry marks (`words.name`), which pages turn into <bdi>.
"""

from typing import Any

from evaluation.models import Hypothesis
from evaluation.reports import words

FEW_CHOICES = 10  # below this a share says more about the few than about the systems
GOOD, WARN, BAD, NEUTRAL = "good", "warn", "bad", ""


def answers(results: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows of question, sentence and state (good, warn, bad or empty: a badge's class), in the order they are read."""
    if not results["counts"]["finished"]:
        said = "Nobody finished a page before the study was closed, so there is nothing to report."
        if results["counts"]["same"] and not results["counts"]["pages"]:
            said = "On every page all outputs were alike, so there was nothing to show, and nothing to report."
        return [{"question": "What did the study find?", "sentence": said, "state": NEUTRAL}]
    found = []
    better = [
        row for row in results["criteria"] if row["hypothesis"] in (Hypothesis.SUPERIORITY, Hypothesis.DIFFERENCE)
    ]
    kept = [row for row in results["criteria"] if row["hypothesis"] == Hypothesis.NONINFERIORITY]
    for criterion in [*better, *kept]:
        found.append(_criterion(results, criterion))
    if not found and results["criteria"]:
        found += [_criterion(results, criterion) for criterion in results["criteria"]]
    if results["preferences"]:
        found.append(_preferred(results))
    found.append(_how_sure(results))
    return found


def _criterion(results: dict[str, Any], criterion: dict[str, Any]) -> dict[str, Any]:
    """One sentence about one criterion: the systems by what was found about them."""
    rows = [row for row in results["comparisons"]["rows"] if row["criterion"] == criterion["key"]]
    reference = words.name(results["systems"][0]["name"])
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(row["verdict"], []).append(row)
    parts = [_said(results, verdict, groups[verdict], reference, criterion) for verdict in ORDER if verdict in groups]
    sentence = "; ".join(parts)
    return {
        "question": criterion["question"],
        "sentence": f"{_capital(sentence)}." if sentence else "There is nothing to compare.",
        "state": _state([row["verdict"] for row in rows if not results["systems"][row["system"]]["is_control"]]),
    }


ORDER = ("better", "non-inferior", "worse", "inferior", "higher", "lower", "unclear", "close", "inconclusive", "none")
SAID = {
    "better": "{who} {is_are} rated better than {reference}",
    "worse": "{who} {is_are} rated worse than {reference}",
    "unclear": "for {who} no clear difference from {reference} was found, which does not show that there is none",
    "non-inferior": "yes: {who} {is_are} not worse than {reference} by the margin of {margin}",
    "inferior": "no: {who} {is_are} worse than {reference} by more than the margin of {margin}",
    "inconclusive": "for {who} the study leaves open whether the loss against {reference} stays within the margin of "
    "{margin}",
    "higher": "{who} {is_are} rated higher than {reference} (described, not tested)",
    "lower": "{who} {is_are} rated lower than {reference} (described, not tested)",
    "close": "{who} {is_are} not clearly apart from {reference} (described, not tested)",
    "none": "about {who} nothing can be said",
}


def _said(results, verdict: str, rows: list[dict[str, Any]], reference: str, criterion: dict[str, Any]) -> str:
    who = []
    for row in rows:
        called = words.name(results["systems"][row["system"]]["name"])
        estimate = row["difference"]
        if verdict == "none":
            who.append(f"{called} ({_lower(row['why'])})")
        elif row["p_holm"] is None or verdict in ("inferior",):
            who.append(f"{called} ({words.with_interval(estimate, plus=True)})")
        else:
            who.append(f"{called} ({words.with_interval(estimate, plus=True)}, {words.p_value(row['p_holm'])})")
    return SAID[verdict].format(
        who=words.listed(who),
        reference=reference,
        is_are="is" if len(rows) == 1 else "are",
        margin=words.levels(criterion["margin"] or 0),
    )


def _state(verdicts: list[str]) -> str:
    """Of the systems that are not hidden controls: those are meant to differ."""
    bad, good = {"worse", "inferior"}, {"better", "non-inferior"}
    if verdicts and set(verdicts) <= good:
        return GOOD
    if set(verdicts) & bad and not set(verdicts) & good:
        return BAD
    return WARN if verdicts else NEUTRAL


def _preferred(results: dict[str, Any]) -> dict[str, Any]:
    found = results["preferences"]
    question = results["design"]["question"]
    choices = found["choices"]
    reference = words.name(results["systems"][0]["name"])
    if not choices:
        return {"question": question, "sentence": "No choice was made.", "state": NEUTRAL}
    if choices < FEW_CHOICES:
        chosen = [row for row in found["systems"] if row["preferred"]]
        on = words.listed([words.name(results["systems"][row["system"]]["name"]) for row in chosen])
        fell = f"on {on}" if chosen else "on none of the systems"
        sentence = (
            f"Only {words.count(choices, 'choice')} {'was' if choices == 1 else 'were'} made, {fell}: too few to say."
        )
        return {"question": question, "sentence": sentence, "state": WARN}
    groups: dict[str, list[str]] = {}
    verdicts = []
    for row in found["contrasts"]:
        system = results["systems"][row["system"]]
        wins = _turned(row["wins"]) if row["verdict"] in ("worse", "lower") else row["wins"]
        test = f", {words.p_value(row['p_holm'])}" if row["p_holm"] is not None else ""
        figure = f"{words.percent_interval(wins)} of decided choices{test}"
        groups.setdefault(row["verdict"], []).append(f"{words.name(system['name'])} ({figure})")
        if not system["is_control"]:
            verdicts.append(row["verdict"])
    parts = [
        PREFERRED[verdict].format(
            who=words.listed(groups[verdict]), reference=reference, is_are="is" if len(groups[verdict]) == 1 else "are"
        )
        for verdict in PREFERRED
        if verdict in groups
    ]
    sentence = "; ".join(parts)
    if not sentence:
        return {"question": question, "sentence": found["reason"], "state": WARN}
    if found["reason"]:
        sentence += f". {found['reason']}"
    return {
        "question": question,
        "sentence": f"{_capital(sentence)}".rstrip(".") + ".",
        "state": _state(verdicts) if found["planned"] else NEUTRAL,
    }


def _alike(found: dict[str, Any]) -> str:
    """and 12 pages alike, counted as ties"""
    return f"and {words.count(found['same'], 'page')} alike, counted as {'a tie' if found['same'] == 1 else 'ties'}"


PREFERRED = {
    "better": "{who} {is_are} preferred to {reference}",
    "worse": "{reference} is preferred to {who}",
    "unclear": "for {who} no clear preference over {reference} was found, nor the other way round",
    "higher": "{who} {is_are} preferred to {reference} (described, not tested)",
    "lower": "{reference} is preferred to {who} (described, not tested)",
    "close": "for {who} and {reference} the choices do not clearly favour either (described, not tested)",
    "none": "for {who} against {reference} neither an interval nor a test can be given",
}


def _turned(wins: dict[str, Any]) -> dict[str, Any]:
    """The same share for the other side."""
    turned = {"estimate": wins["estimate"], "low": wins["high"], "high": wins["low"]}
    return wins | {name: None if value is None else 1 - value for name, value in turned.items()}


def _how_sure(results: dict[str, Any]) -> dict[str, Any]:
    """How much was rated, whether reviewers agree, what the study could find, and whether the blinding held."""
    counts, used = results["counts"], results["counts"]["used"]
    of = f"{words.count(used['texts'], 'text')} by {words.count(used['reviewers'], 'reviewer')}"
    parts = []
    if results["criteria"]:
        parts.append(f"{words.count(used['ratings'], 'rating')} of {of}")
    else:
        alike = f", {_alike(results['preferences'])}" if results["preferences"]["same"] else ""
        parts.append(f"{words.count(results['preferences']['choices'], 'choice')} about {of}{alike}")
    parts.append(_left_out(results))
    if counts["finished"] < counts["pages"]:
        parts.append(f"{counts['finished']:,} of {counts['pages']:,} pages were finished")
    parts += [_agreement(results), _power(results), _blinding(results)]
    sentence = "; ".join(part for part in parts if part)
    worry = (
        counts["finished"] < counts["pages"]
        or used["reviewers"] < 2
        or used["texts"] < 2
        or "did not" in _blinding(results)
    )
    return {"question": "How sure is that?", "sentence": f"{sentence}.", "state": WARN if worry else NEUTRAL}


def _left_out(results: dict[str, Any]) -> str:
    """Whom and what the rules left out, beside what is counted."""
    out = results["left_out"]
    parts = [words.count(len(out["reviewers"]), "reviewer")] if out["reviewers"] else []
    parts += [f"{words.count(out['fast_pages'], 'page')} answered too fast"] if out["fast_pages"] else []
    return f"not counting {words.listed(parts)}, left out by the rules" if parts else ""


def _agreement(results: dict[str, Any]) -> str:
    rows = [row for row in results.get("agreement", []) if row["alpha"]["estimate"] is not None]
    if not rows:
        return "agreement between reviewers cannot be given" if results["criteria"] else ""
    names = {row["key"]: row["name"] for row in results["criteria"]}
    low, high = (min(rows, key=_alpha), max(rows, key=_alpha))
    if low is high:
        return f"reviewers agree with α = {words.number(_alpha(low))} on {words.name(_lower(names[low['criterion']]))}"
    return (
        f"reviewers agree with α from {words.number(_alpha(low))} ({words.name(_lower(names[low['criterion']]))}) to "
        f"{words.number(_alpha(high))} ({words.name(_lower(names[high['criterion']]))})"
    )


def _alpha(row: dict[str, Any]) -> float:
    return row["alpha"]["estimate"]


def _power(results: dict[str, Any]) -> str:
    found = results["design"]["power"]
    if not found:
        return "no power analysis was made before the start"
    if found["differs"]:
        return f"a power analysis was made before the start, for another plan ({words.listed(found['differs'])})"
    row = found["row"]
    if row is None:
        return "a power analysis was made before the start, for other numbers of texts or ratings"
    parts = []
    if found["goal"] != "noninferiority" and found["difference"] is not None:
        parts.append(f"{words.percent(row['superiority'][0])} to find {words.levels(found['difference'])}")
    if found["goal"] != "superiority" and found["margin"] is not None:
        parts.append(f"{words.percent(row['noninferiority'][0])} to show a margin of {words.levels(found['margin'])}")
    return f"the power simulated before the start was {words.listed(parts)}" if parts else ""


def _blinding(results: dict[str, Any]) -> str:
    found = results["blinding"]
    if found is None:
        return "whether the blinding held was not asked"
    return _lower(found["summary"]).rstrip(".")


def _capital(text: str) -> str:
    place = next((place for place, letter in enumerate(text) if letter != words.START), 0)
    if text.startswith(words.START):  # a name keeps its own letters
        return text
    return text[:place] + text[place : place + 1].upper() + text[place + 1 :]


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:].rstrip(".")
