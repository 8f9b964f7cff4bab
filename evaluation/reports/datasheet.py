"""A Human Evaluation Datasheet, filled in as far as the study itself knows the answers.

Numbers and subjects of the questions: Shimorina & Belz, The Human Evaluation Datasheet (HumEval 2022, 54-75). What
only the authors know is marked for them.
"""

from dataclasses import dataclass
from typing import Any

from evaluation.models import Hypothesis, Layout, OnFailure
from evaluation.reports import words
from evaluation.reports.methods import tested_preferences
from evaluation.reports.tables import moment

TODO = "[FOR THE AUTHORS]"


@dataclass(frozen=True)
class Answer:
    """number, subject: of the question. text: our answer. open: whether the authors must complete it."""

    section: str
    number: str
    subject: str
    text: str

    @property
    def open(self) -> bool:
        return TODO in self.text


PAPER = "1 Paper and supplementary resources"
SYSTEM = "2 System"
SAMPLE = "3.1 Sample of outputs"
EVALUATORS = "3.2 Evaluators"
DESIGN = "3.3 Experimental design"
ETHICS = "5 Ethics"


def datasheet(results: dict[str, Any]) -> list[Answer]:
    """Every question with its answer, those of section 4 once for each criterion and for the preference."""
    found = [
        Answer(PAPER, "1.1", "Link to the paper", f"{TODO} Give a link, or write “for preregistration”."),
        Answer(
            PAPER, "1.2", "Link to resources", f"{TODO} Give a link to the outputs, ratings and codebook, or “N/A”."
        ),
        Answer(PAPER, "1.3", "Who completes this sheet", f"{TODO} Names, affiliations and e-mail addresses."),
        *_system(results),
        *_sample(results),
        *_evaluators(results),
        *_design(results),
    ]
    number = 0
    for number, criterion in enumerate(results["criteria"], start=1):
        found += _criterion(results, criterion, f"4 Quality criterion {number}: {criterion['name']}")
    if results["preferences"]:
        found += _preference(results, f"4 Quality criterion {number + 1}: overall preference")
    return [
        *found,
        Answer(
            ETHICS, "5.1", "Approval by an ethics committee", f"{TODO} Name the committee, or say that there was none."
        ),
        Answer(
            ETHICS,
            "5.2",
            "Personal data",
            "Of reviewers the server stores a user name, when each page was answered, and active seconds; raw "
            "ratings are "
            f"published under names that tell nothing. {TODO} Say whether the texts hold personal data.",
        ),
        Answer(
            ETHICS,
            "5.3",
            "Special categories of data",
            f"{TODO} The texts may be about such groups; say how that was addressed.",
        ),
        Answer(ETHICS, "5.4", "Impact assessments", f"{TODO} Say which were made, if any, and with what outcome."),
    ]


def markdown(results: dict[str, Any]) -> str:
    """The datasheet to paste."""
    lines = [
        f"# Human Evaluation Datasheet: {results['study']['name']}",
        "",
        "Questions by number and subject as in Shimorina & Belz (2022), https://aclanthology.org/2022.humeval-1.6. "
        f"What only the authors can say is marked {TODO}.",
    ]
    section = ""
    for answer in datasheet(results):
        if answer.section != section:
            section = answer.section
            lines += ["", f"## {section}"]
        lines += ["", f"**{answer.number} {answer.subject}.** {answer.text}"]
    return "\n".join(lines) + "\n"


def _system(results: dict[str, Any]) -> list[Answer]:
    languages = ", ".join(results["design"]["languages"])
    named = f"Codes of the texts: {languages}." if languages else f"{TODO} Name the languages."
    systems = "; ".join(f"{row['name']} ({row['kind'].lower()})" for row in results["systems"])
    return [
        Answer(SYSTEM, "2.1", "Type of input", "Text: one or several sentences."),
        Answer(
            SYSTEM,
            "2.2",
            "Type of output",
            f"Text: one or several sentences. Systems: {systems}."
            + (
                " Among them are texts written by people."
                if any(row["is_control"] for row in results["systems"])
                else ""
            ),
        ),
        Answer(
            SYSTEM,
            "2.3",
            "Task",
            "Paraphrasing: a text is rewritten to be free of bias, toxicity and harm while it keeps its meaning.",
        ),
        Answer(SYSTEM, "2.4", "Input languages", named),
        Answer(SYSTEM, "2.5", "Output languages", f"As the input. {named if languages else TODO}"),
    ]


def _sample(results: dict[str, Any]) -> list[Answer]:
    design = results["design"]
    if design["chosen"]:
        how = "By hand: the ids of the texts were listed. " + TODO + " Say by what criterion."
    elif design["strata"]:
        how = (
            f"By an automatic random process with stratified sampling by {design['strata'].lower()} "
            f"({design['allocation'].lower()}), seed {results['seeds']['study']}."
        )
    elif design["drawn"]:
        how = f"By an automatic random process from a larger set, seed {results['seeds']['study']}."
    else:
        how = "All texts of the set that every system had an output for."
    power = design["power"]
    text = f"No power analysis was made before the start. {TODO} Say why the size was chosen."
    if power:
        text = " ".join(["By simulation before the start.", *power["words"]])
    return [
        Answer(SAMPLE, "3.1.1", "Outputs evaluated per system", str(results["counts"]["texts_rated"])),
        Answer(SAMPLE, "3.1.2", "How they were selected", how),
        Answer(SAMPLE, "3.1.3", "Statistical power", text),
    ]


def _evaluators(results: dict[str, Any]) -> list[Answer]:
    design, counts = results["design"], results["counts"]
    roles = results["attention"]["with_other_roles"]
    practice = (
        f"{words.count(design['practice'], 'practice page')} at the beginning, which do not count."
        if design["practice"]
        else "No practice pages."
    )
    instructions = " Written instructions could be opened at any time." if design["instructions"] else ""
    return [
        Answer(
            EVALUATORS,
            "3.2.1",
            "Number of evaluators",
            f"{counts['reviewers_who_rated']} ({design['reviewers']} were invited).",
        ),
        Answer(
            EVALUATORS,
            "3.2.2",
            "Kind of evaluators",
            f"{words.count(roles, 'evaluator')} had other roles in the project. {TODO} Experts or not; paid or "
            f"not; known to "
            "the authors or not; authors among them or not.",
        ),
        Answer(
            EVALUATORS, "3.2.3", "Recruitment", f"By invitation of the study's lead. {TODO} Say how people were found."
        ),
        Answer(EVALUATORS, "3.2.4", "Training and practice", f"{practice}{instructions}"),
        Answer(EVALUATORS, "3.2.5", "Other characteristics", f"None were collected. {TODO} Add what is known."),
    ]


def _design(results: dict[str, Any]) -> list[Answer]:
    design, study = results["design"], results["study"]
    protocol = study["protocol"]
    checks = []
    if design["checks"]:
        rule = (
            f"evaluators who passed fewer than {design['min_passed']} % are excluded from the main analysis"
            if design["on_failure"] == OnFailure.EXCLUDE
            else "nobody is excluded for failing them"
        )
        passed = results["attention"]["passed"]
        checks.append(
            f"Automatic: {design['checks']} attention checks for each evaluator ({passed['count']} of "
            f"{passed['n']} passed); {rule}."
        )
    if design["min_seconds"]:
        checks.append(
            f"Pages answered in less than {design['min_seconds']} seconds are excluded from the main analysis."
        )
    if design["repeats"]:
        checks.append(f"{design['repeats']} pages are shown twice to each evaluator.")
    checks.append(f"{TODO} Native speakers or not; manual checks, if any.")
    median = results["counts"]["median_seconds"]
    time = f" The median page took {median:.0f} active seconds." if median is not None else ""
    shown = {
        Layout.RATE: "one output",
        Layout.SIDE_BY_SIDE: "several outputs side by side",
        Layout.PAIRWISE: "two outputs",
        Layout.BEST_WORST: "several outputs",
    }[design["layout"]]
    return [
        Answer(
            DESIGN,
            "3.3.1",
            "Preregistration",
            (
                f"The protocol was locked on {moment(protocol['written_at'])}, before the first rating, with SHA-256 "
                f"{protocol['sha256']}. "
                if protocol["sha256"]
                else ""
            )
            + f"{TODO} Name the registry and give a link, or write “no”.",
        ),
        Answer(DESIGN, "3.3.2", "How responses are collected", "In a web application, Redress."),
        Answer(DESIGN, "3.3.3", "Quality assurance", " ".join(checks)),
        Answer(
            DESIGN,
            "3.3.4",
            "What evaluators see",
            f"The original text and {shown} under letters, with random identifiers and in a random order; the "
            f"questions with a word for each level, "
            f"“cannot judge” with a reason, and a comment box. {TODO} Link to a screenshot.",
        ),
        Answer(
            DESIGN,
            "3.3.5",
            "How free evaluators are in time",
            f"Neither a time limit for a page nor a single sitting: drafts are kept, and evaluators go on when "
            f"they like.{time}",
        ),
        Answer(
            DESIGN,
            "3.3.6",
            "Questions and feedback",
            f"Evaluators could comment on every page. {TODO} Say whether they could ask questions.",
        ),
        Answer(
            DESIGN,
            "3.3.7",
            "Experimental conditions",
            f"Online, at a place of the evaluators' own choosing. {TODO} Correct this if it was in a lab.",
        ),
        Answer(
            DESIGN,
            "3.3.8",
            "Range of conditions",
            f"N/A for a place of their own choosing. {TODO} Complete it otherwise.",
        ),
    ]


def _criterion(results: dict[str, Any], criterion: dict[str, Any], section: str) -> list[Answer]:
    levels = "; ".join(f"{place} = {anchor}" for place, anchor in enumerate(criterion["anchors"], start=1))
    relative = results["design"]["layout"] != Layout.RATE
    rows = [row for row in results["comparisons"]["rows"] if row["criterion"] == criterion["key"]]
    name = results["systems"][0]["name"]
    found = "; ".join(
        f"{results['systems'][row['system']]['name']} less {name}: "
        f"{words.with_interval(row['difference'], plus=True)}{words.with_p(row['p_holm'])}"
        for row in rows
    )
    methods = " ".join(
        MODELS[method] for method in MODELS if method in {row["method"] for row in rows if _is_given(row)}
    )
    adjusted = " Holm's adjustment over all planned tests." if any(row["p_holm"] is not None for row in rows) else ""
    tests = {
        Hypothesis.NONE: "No test was planned; differences are described with their intervals.",
        Hypothesis.NONINFERIORITY: f"Non-inferiority by a margin of {criterion['margin'] or 0:g} levels, "
        f"one-sided at 0.025.",
    }.get(criterion["hypothesis"], "Two-sided test of each system's difference from the reference.")
    return [
        Answer(section, "4.1.1", "Type of quality", f"{TODO} Correctness, goodness or feature."),
        Answer(section, "4.1.2", "Aspect of the output", f"{TODO} Form, content or both."),
        Answer(
            section,
            "4.1.3",
            "Frame of reference",
            f"The original text stands beside each output. {TODO} Say whether outputs were judged in their own "
            f"right or relative to the input.",
        ),
        Answer(section, "4.2.1", "Objective or subjective", "Subjective."),
        Answer(
            section,
            "4.2.2",
            "Absolute or relative",
            "Each output is rated by itself; outputs of several systems are shown on one page."
            if relative
            else "Absolute: one output a page.",
        ),
        Answer(section, "4.2.3", "Intrinsic or extrinsic", "Intrinsic."),
        Answer(section, "4.3.1", "Name shown to evaluators", criterion["name"]),
        Answer(
            section,
            "4.3.2",
            "Definition shown to evaluators",
            f"“{criterion['question']}”, with words for each level (4.3.4).",
        ),
        Answer(section, "4.3.3", "Size of the scale", str(criterion["levels"])),
        Answer(section, "4.3.4", "Values of the scale", f"{levels}. Besides, “cannot judge” with a reason."),
        Answer(section, "4.3.5", "How the scale is presented", "Multiple-choice options."),
        Answer(section, "4.3.6", "Task without a rating instrument", "N/A"),
        Answer(section, "4.3.7", "Question as shown", f"“{criterion['question']}”"),
        Answer(section, "4.3.8", "Form of response elicitation", "Direct quality estimation."),
        Answer(
            section,
            "4.3.9",
            "How responses are aggregated",
            "Means, medians and shares of levels for each system over all ratings, with 95 % intervals over texts "
            "and evaluators.",
        ),
        Answer(
            section,
            "4.3.10",
            "Effect size and significance",
            f"{tests} {methods or 'No difference can be given.'}{adjusted} Differences in levels: {found}. Cliff's "
            "delta is in the report.",
        ),
        Answer(section, "4.3.11", "Agreement between and within evaluators", _agreement(results, criterion["key"])),
    ]


MODELS = {
    "mixed": "Linear mixed model with texts and evaluators as crossed random effects.",
    "bootstrap": "Where there is no mixed model, the mean difference with a bootstrap over texts and evaluators.",
    "wilcoxon": "Where the difference has no interval, Wilcoxon's signed-rank test over texts, which speaks for other "
    "texts only.",
}


def _is_given(row: dict[str, Any]) -> bool:
    return row["difference"]["estimate"] is not None


def _agreement(results: dict[str, Any], key: str) -> str:
    row = next((row for row in results.get("agreement", []) if row["criterion"] == key), None)
    if row is None:
        return "Not measured."
    alpha = row["alpha"]
    said = [
        f"Krippendorff's alpha, ordinal: {words.with_interval(alpha)}."
        if alpha["estimate"] is not None
        else f"Krippendorff's alpha: {alpha['reason']}"
    ]
    icc = row["icc"]["mean"]
    if icc["estimate"] is not None:
        said.append(f"ICC of the mean of {words.number(row['icc']['k'], 1)} evaluators: {words.with_interval(icc)}.")
    again = next((one for one in (results["consistency"] or {}).get("criteria", []) if one["criterion"] == key), None)
    if again is None:
        said.append("Agreement within evaluators was not measured.")
    else:
        said.append(
            f"Within evaluators: {words.percent_interval(again['exact'])} of {again['exact']['n']} repeated "
            f"ratings were the same"
            + (
                f", weighted kappa {words.with_interval(again['kappa'])}."
                if again["kappa"]["estimate"] is not None
                else "."
            )
        )
    return " ".join(said)


def _preference(results: dict[str, Any], section: str) -> list[Answer]:
    found, design = results["preferences"], results["design"]
    best_worst = found["best_worst"] is not None
    options = "the best and the worst output" if best_worst else "the better output"
    against = "; ".join(
        f"{results['systems'][row['system']]['name']}: {words.percent_interval(row['wins'])}"
        f"{words.with_p(row['p_holm'])}"
        for row in found["contrasts"]
    )
    return [
        Answer(section, "4.1.1", "Type of quality", "Goodness."),
        Answer(section, "4.1.2", "Aspect of the output", "Both form and content."),
        Answer(
            section, "4.1.3", "Frame of reference", "Relative to the input: a safe rewrite of the original beside it."
        ),
        Answer(section, "4.2.1", "Objective or subjective", "Subjective."),
        Answer(section, "4.2.2", "Absolute or relative", "Relative."),
        Answer(section, "4.2.3", "Intrinsic or extrinsic", "Intrinsic."),
        Answer(section, "4.3.1", "Name shown to evaluators", "N/A"),
        Answer(section, "4.3.2", "Definition shown to evaluators", f"“{design['question']}”"),
        Answer(section, "4.3.3", "Size of the scale", f"{(design['per_page'] or 2) + 1} where all outputs differ."),
        Answer(
            section,
            "4.3.4",
            "Values of the scale",
            f"Choosing {options} by letter, or “about the same”. Besides, “cannot judge” with a reason.",
        ),
        Answer(section, "4.3.5", "How the scale is presented", "Multiple-choice options."),
        Answer(section, "4.3.6", "Task without a rating instrument", "N/A"),
        Answer(section, "4.3.7", "Question as shown", f"“{design['question']}”"),
        Answer(section, "4.3.8", "Form of response elicitation", "Relative quality estimation."),
        Answer(
            section,
            "4.3.9",
            "How responses are aggregated",
            "Share of pages on which a system was preferred; strengths by the model of Bradley, Terry and Davidson."
            + (" Best-worst scores." if best_worst else ""),
        ),
        Answer(
            section,
            "4.3.10",
            "Effect size and significance",
            "Probability of being preferred to the reference where one is preferred, with intervals clustered by "
            "texts and evaluators"
            + (f": {against}." if against else "; none can be given.")
            + f" {tested_preferences(results)}",
        ),
        Answer(section, "4.3.11", "Agreement between and within evaluators", _chosen_again(results)),
    ]


def _chosen_again(results: dict[str, Any]) -> str:
    again = (results["consistency"] or {}).get("preference")
    between = "Agreement between evaluators was not measured for preferences."
    if not again:
        return f"{between} Nor was agreement within evaluators: no page was shown twice."
    if not again["n"]:
        return f"{between} Nor can agreement within evaluators be given: no page was answered twice."
    return (
        f"{between} Within evaluators: on {words.percent_interval(again)} of {words.count(again['n'], 'page')} "
        "answered twice the same was chosen again."
    )
