"""The methods paragraph, ready for a paper: what was done, with which n, seeds, versions and sources."""

from typing import Any

from evaluation.models import Hypothesis, Layout, OnFailure
from evaluation.reports import words
from evaluation.reports.tables import moment

LAYOUTS = {
    Layout.RATE: "one output a page",
    Layout.SIDE_BY_SIDE: "{per_page} outputs of a text side by side",
    Layout.PAIRWISE: "two outputs of a text at a time",
    Layout.BEST_WORST: "{per_page} outputs of a text at a time",
}


def methods(results: dict[str, Any]) -> str:
    """Plain text, one paragraph for each part."""
    parts = [_design(results), _controls(results), _analysis(results), _preferences(results), _record(results)]
    return "\n\n".join(" ".join(part) for part in parts if part)


def _design(results: dict[str, Any]) -> list[str]:
    design, counts = results["design"], results["counts"]
    shown = LAYOUTS[design["layout"]].format(per_page=design["per_page"] or "the")
    reference = results["systems"][0]["name"]
    said = [
        f"{words.count(design['reviewers'], 'reviewer')} judged outputs of "
        f"{words.count(design['systems'], 'system')} for "
        f"{words.count(design['texts'], 'text')}, blind: each saw {shown} beside the original, under random "
        f"identifiers and "
        "in an order of their own; which system wrote what was joined only after the study had closed.",
        f"The systems were {words.listed([_system(row) for row in results['systems']])}; the others were compared with "
        f"{reference}.",
        _sampling(design, results["seeds"]["study"]),
    ]
    if design["ratings_per_output"]:
        said.append(
            f"Each output was given to {words.count(design['ratings_per_output'], 'reviewer')}"
            + (f", {words.count(design['pages'], 'page')} in all" if design["pages"] else "")
            + f". {_balance(design)}".rstrip()
        )
    if design["power"]:
        said += ["Power was simulated before the start.", *design["power"]["words"]]
    said.append("Outputs of several systems that read the same were shown once and count for each of them.")
    finished = f"{counts['finished']:,} of {words.count(counts['pages'], 'page')} were finished"
    if results["criteria"]:
        said.append(
            f"{finished}, with {words.count(counts['ratings'], 'rating')} and {counts['cannot_judge']:,} answers "
            f"that no "
            "rating can be given."
        )
        said.append(
            f"The criteria were {'; '.join(_criterion(row) for row in results['criteria'])}. Each level had words "
            f"of its own."
        )
    else:
        said.append(f"{finished}.")
    if design["question"]:
        said.append(f"The question about preference was “{design['question']}”; “about the same” was an answer.")
    if design.get("worst_question"):
        said.append(f"Whoever chose an output was then asked “{design['worst_question']}”.")
    return said


def _system(row: dict[str, Any]) -> str:
    notes = [row["kind"].lower()]
    if row["is_tuned"]:
        notes.append("tuned")
    if row["is_scratch"]:
        notes.append(
            "a scratch model, a tiny network that only proves that the pipeline runs: its figures say nothing "
            "about the method"
        )
    return f"{row['name']} ({', '.join(notes)})"


def _sampling(design: dict[str, Any], seed: int) -> str:
    source = (
        f", from the {design['part'].lower()} part of a frozen dataset (SHA-256 {design['dataset'][:12]}…)"
        if design["dataset"]
        else ""
    )
    if design["chosen"]:
        return f"The texts were chosen by hand{source}."
    if not design["drawn"]:
        return f"All texts that every system had an output for were taken{source} (orders by seed {seed})."
    by = f", by strata ({design['strata'].lower()}; {design['allocation'].lower()})" if design["strata"] else ""
    notes = " ".join(["", *design["sampling_notes"]]).rstrip()
    return f"The texts were drawn at random with seed {seed}{source}{by}.{notes}"


def _balance(design: dict[str, Any]) -> str:
    found = design["balance"]
    return found if isinstance(found, str) else " ".join(found)


def _criterion(row: dict[str, Any]) -> str:
    anchors = row["anchors"]
    return f"{row['name'].lower()} (“{row['question']}”, from 1, {anchors[0]}, to {row['levels']}, {anchors[-1]})"


def _controls(results: dict[str, Any]) -> list[str]:
    design, attention = results["design"], results["attention"]
    said = []
    hidden = [row["name"] for row in results["systems"] if row["is_control"]]
    if hidden:
        said.append(f"Hidden among the systems {'was' if len(hidden) == 1 else 'were'} {words.listed(hidden)}.")
    if design["practice"]:
        said.append(f"Each reviewer began with {words.count(design['practice'], 'practice page')}, which do not count.")
    if design["checks"]:
        passed = attention["passed"]
        rule = (
            f"who passed fewer than {design['min_passed']} % was left out of the main analysis"
            if design["on_failure"] == OnFailure.EXCLUDE
            else "nobody was left out for failing them"
        )
        said.append(
            f"Among the pages were {words.count(design['checks'], 'attention check')} for each reviewer; "
            f"{passed['count']} of {passed['n']} were passed ({words.percent_interval(passed)}), and {rule}."
        )
    if design["min_seconds"]:
        said.append(f"Pages answered in less than {design['min_seconds']} seconds were left out of the main analysis.")
    if design["repeats"]:
        said.append(f"Each reviewer saw {words.count(design['repeats'], 'page')} twice.")
    if results["left_out"]["anything"]:
        said.append(
            f"These rules left out {words.count(len(results['left_out']['reviewers']), 'reviewer')} and "
            f"{words.count(results['left_out']['fast_pages'], 'page')}; the comparisons with everybody are "
            f"reported beside the main ones."
        )
    if found := results["blinding"]:
        said.append(
            "After rating, reviewers guessed which outputs came from a tuned model: Bang's index was "
            f"{words.with_interval(found['tuned']['index'], plus=True)} for tuned systems and "
            f"{words.with_interval(found['other']['index'], plus=True)} for others (Bang, Ni & Davis 2004)."
        )
    if others := results["attention"]["with_other_roles"]:
        said.append(
            f"{words.count(others, 'reviewer')} had other roles in the project and may have known outputs of "
            f"the systems."
        )
    return said


def _analysis(results: dict[str, Any]) -> list[str]:
    if not results["criteria"]:
        return []
    tests = results["comparisons"]["tests"]
    said = [
        "Intervals are 95 % ones by a two-way bootstrap that resamples texts and reviewers "
        f"({results['draws']:,} draws, seed {results['seeds']['bootstrap']}; Owen 2007). Those of means are by "
        "Student's t with Satterthwaite's degrees of freedom, and so, as log odds, those of shares of the top levels; "
        "where all ratings or none are at the top, Wilson's interval counts each text once (Wilson 1927). Those of "
        "medians are expanded percentile intervals (Hesterberg 2015).",
        *compared(results),
    ]
    said.append(
        "Beside these stand as checks the bootstrap's difference, Wilcoxon's signed-rank test with zeros by Pratt's "
        "method and the "
        "sign test on the texts' mean differences (Wilcoxon 1945; Pratt 1959), Cliff's delta (Cliff "
        "1993), and odds ratios of a proportional-odds model with systems and reviewers (McCullagh 1980)."
    )
    said.append(
        "Agreement between reviewers is Krippendorff's alpha for ordinal data, each output a unit, with a "
        "bootstrap interval over "
        "texts (Krippendorff 2013), and the intraclass correlation of absolute agreement (Shrout & Fleiss 1979) "
        "from variance "
        "components."
    )
    margins = [row for row in results["criteria"] if row["hypothesis"] == Hypothesis.NONINFERIORITY]
    if margins:
        levels = words.listed([f"{row['margin']:g}" for row in margins])
        said.append(
            f"For {words.listed([row['name'].lower() for row in margins])} the question was whether a system is "
            f"not worse than the "
            f"reference by a margin fixed beforehand ({levels} levels), tested one-sided at "
            "0.025 (Piaggio et al. 2012). That a system is worse by more than the margin is read from the 95 % "
            "interval, all of it below the margin, without adjustment: no test of it was planned, and it has no "
            "p-value."
        )
    planned = results["comparisons"]["planned"]
    if planned:
        made = "" if tests == planned else f" {tests} of them could be made; the others count as if p were 1."
        said.append(
            f"The p-values of all {words.count(planned, 'planned test')} were adjusted together by Holm's method "
            f"(Holm 1979), one-sided ones "
            f"doubled, and an adjusted p below 0.05 is called a finding.{made}"
        )
    else:
        said.append("No test was planned; what is said about differences describes this study.")
    return said


def compared(results: dict[str, Any]) -> list[str]:
    """By what each system was compared with the reference: as it was done, comparison by comparison."""
    rows, models = results["comparisons"]["rows"], results["comparisons"]["models"]
    given = [row for row in rows if row["difference"]["estimate"] is not None]
    by = {name: [row for row in given if row["method"] == name] for name in ("mixed", "bootstrap", "wilcoxon")}
    of = f"of {words.count(len(rows), 'comparison')}"
    said = []
    if by["mixed"]:
        which = "Each system was" if len(by["mixed"]) == len(rows) else f"In {len(by['mixed'])} {of} systems were"
        said.append(
            f"{which} compared with the reference by a linear mixed model, fitted by restricted maximum likelihood, "
            "with texts and reviewers as crossed random effects, and the effects of text by system, text by reviewer "
            "and reviewer by system where the study can tell them apart (Baayen, Davidson & Bates 2008; Barr et al. "
            "2013), by Student's t with Satterthwaite's degrees of freedom."
        )
        fitted = {row["criterion"] for row in by["mixed"]}
        left_out = [part for model in models if model["criterion"] in fitted for part in model["left_out"]]
        said += [f"Not told apart: {part[:1].lower()}{part[1:]}" for part in dict.fromkeys(left_out)]
    if by["bootstrap"]:
        said.append(
            f"In {len(by['bootstrap'])} {of} there is no mixed model, and the mean difference of the bootstrap stands "
            f"{'instead' if by['mixed'] else 'for it'}. {_reasons(by['bootstrap'])}".strip()
        )
    if by["wilcoxon"]:
        said.append(
            f"In {len(by['wilcoxon'])} {of} the difference has no interval, and the planned test was replaced by "
            "Wilcoxon's signed-rank test of the texts' differences, which speaks for other texts only, not for other "
            f"reviewers. {_reasons(by['wilcoxon'])}".strip()
        )
    if missing := len(rows) - len(given):
        said.append(f"In {missing} {of} there is nothing to compare.")
    return said


def _reasons(rows: list[dict[str, Any]]) -> str:
    return " ".join(dict.fromkeys(row["why_not_mixed"] for row in rows if row["why_not_mixed"]))


def tested_preferences(results: dict[str, Any]) -> str:
    """Whether preferences were tested against the reference, and whether that was planned."""
    tests = sum(row["p_holm"] is not None for row in results["preferences"]["contrasts"])
    systems = results["preferences"]["planned"]
    if not systems:
        return "No test of preferences was planned: they are described with their intervals."
    if not tests:
        return "A test of preference against the reference was planned for each system; none could be made."
    made = "" if tests == systems else f" {tests} of {systems} could be made; the others count as if p were 1."
    return (
        "The protocol planned a test of preference against the reference for each system; the p-values of all are "
        f"adjusted by Holm's method as a family of their own.{made}"
    )


def _preferences(results: dict[str, Any]) -> list[str]:
    if not results["preferences"]:
        return []
    said = [
        "Strengths of preference are those of the model of Bradley & Terry (1952) with ties after Davidson "
        "(1970), with intervals "
        "clustered by texts and reviewers.",
        tested_preferences(results),
    ]
    if results["preferences"]["best_worst"] is not None:
        said.append("Best-worst scores are times best less times worst, over times shown (Marley & Louviere 2005).")
    return said


def _record(results: dict[str, Any]) -> list[str]:
    study = results["study"]
    said = []
    protocol = study["protocol"]
    if protocol["sha256"]:
        state = "unchanged since" if protocol["intact"] else "NOT as it was written"
        said.append(
            f"The protocol was written and locked on {moment(protocol['written_at'])}, before the first rating "
            f"(SHA-256 {protocol['sha256']}; {state}), with {words.count(len(study['amendments']), 'amendment')} since."
        )
    said.append(
        f"The study closed, and its systems were unblinded, on {moment(study['unblinded_at'])}."
        + (f" The SHA-256 of all answers at that time is {study['ratings_hash']}." if study["ratings_hash"] else "")
    )
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    said.append(f"Computed with {versions}.")
    return said
