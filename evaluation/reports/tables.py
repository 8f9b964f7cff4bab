"""The report's tables. Each once: as it is shown on the page, in the HTML file and in the PDF, and as tidy CSV."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from evaluation.reports import words

MAIN = ("comparisons", "means", "preferences", "agreement")
IN_WORDS = ("Note", "In words", "By", "Finding", "In the main analysis", "What", "Why", "Wilcoxon", "Sign test")
METHODS = {"mixed": "mixed model", "bootstrap": "bootstrap", "wilcoxon": "Wilcoxon's test"}


@dataclass
class Table:
    """head: labels of the columns shown, those from `numbers_from` on are right-aligned. body: rows of strings as they
    are shown. columns, rows: the same as CSV, one figure a cell. note: under the title."""

    name: str
    title: str
    head: list[str]
    body: list[list[str]] = field(default_factory=list)
    columns: list[str] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)
    note: str = ""
    numbers_from: int = 2

    @property
    def main(self) -> bool:
        """Whether a page shows it at once; the others open on demand."""
        return self.name in MAIN

    @property
    def right(self) -> list[bool]:
        """Of each column, whether it is right-aligned."""
        return [place >= self.numbers_from and label not in IN_WORDS for place, label in enumerate(self.head)]

    @property
    def aligned(self) -> list[tuple[str, bool]]:
        return list(zip(self.head, self.right, strict=True))

    @property
    def cells(self) -> list[list[tuple[str, bool]]]:
        return [list(zip(row, self.right, strict=True)) for row in self.body]


def tables(results: dict[str, Any]) -> list[Table]:
    """Those that have something to say, in the order in which they are read."""
    return [table for make in MAKERS if (table := make(results)) is not None and table.rows]


def _names(results: dict[str, Any]) -> list[str]:
    return [row["name"] for row in results["systems"]]


def _criteria(results: dict[str, Any]) -> dict[str, str]:
    return {row["key"]: row["name"] for row in results["criteria"]}


def _estimate(prefix: str, estimate: dict[str, Any] | None) -> dict[str, Any]:
    """An estimate as cells of CSV."""
    found = estimate or {}
    return {prefix: found.get("estimate"), f"{prefix}_low": found.get("low"), f"{prefix}_high": found.get("high")}


def _sizes(estimate: dict[str, Any]) -> dict[str, Any]:
    return {
        "n_ratings": estimate["n_ratings"],
        "n_texts": estimate["n_items"],
        "n_reviewers": estimate["n_reviewers"],
        "reason": estimate["reason"],
    }


def _with_reason(shown: str, estimate: dict[str, Any]) -> str:
    return f"{shown} {estimate['reason']}".strip() if estimate["reason"] else shown


def _means(results: dict[str, Any]) -> Table:
    names, criteria = _names(results), _criteria(results)
    top = {row["top_levels"] for row in results["means"]}
    label = f"Top {top.pop()} levels" if len(top) == 1 else "Top levels"
    table = Table(
        "means",
        "Mean, median and share of the top levels",
        ["Criterion", "System", "Mean", "Median", label, "n", "Note"],
        note="1 is the worst level. 95 % intervals over texts and reviewers.",
    )
    for row in results["means"]:
        mean = row["mean"]
        shown = [
            criteria[row["criterion"]],
            names[row["system"]],
            words.with_interval(mean),
            words.with_interval(row["median"]),
            words.percent_interval(row["top"]),
            f"{mean['n_ratings']:,}",
            mean["reason"],
        ]
        table.body.append(shown)
        table.rows.append(
            {
                "criterion": row["criterion"],
                "system": names[row["system"]],
                **_estimate("mean", mean),
                **_estimate("median", row["median"]),
                **_estimate("top_share", row["top"]),
                "top_levels": row["top_levels"],
                **_sizes(mean),
            }
        )
    return _finished(table)


def _distribution(results: dict[str, Any]) -> Table:
    names, criteria = _names(results), _criteria(results)
    cannot: dict[tuple[str, int], int] = {}
    for row in results["cannot"]:
        key = (row["criterion"], row["system"])
        cannot[key] = cannot.get(key, 0) + row["n"]
    most = max((row["levels"] for row in results["criteria"]), default=0)
    table = Table(
        "distribution",
        "Ratings of each level",
        ["Criterion", "System", *(str(level) for level in range(1, most + 1)), "Cannot judge"],
    )
    for row in results["means"]:
        key = (row["criterion"], row["system"])
        counts = row["counts"] + [None] * (most - len(row["counts"]))
        table.body.append(
            [
                criteria[row["criterion"]],
                names[row["system"]],
                *("" if n is None else f"{n:,}" for n in counts),
                f"{cannot.get(key, 0):,}",
            ]
        )
        table.rows.append(
            {
                "criterion": row["criterion"],
                "system": names[row["system"]],
                **{f"level_{level}": n for level, n in enumerate(counts, start=1)},
                "cannot_judge": cannot.get(key, 0),
            }
        )
    return _finished(table)


def _comparisons(results: dict[str, Any]) -> Table:
    names, criteria = _names(results), _criteria(results)
    tests = results["comparisons"]["tests"]
    planned = results["comparisons"]["planned"]
    said = (
        f"{words.count(planned, 'planned test')}, adjusted together by Holm's method" if planned else "no planned test"
    )
    if tests < planned:
        said += f"; {tests} of them could be made"
    table = Table(
        "comparisons",
        f"Compared with {names[0]}",
        ["Criterion", "System", "Finding", "Difference", "p, adjusted", "By", "Texts", "Note"],
        note=f"System minus reference, in levels, with 95 % intervals: {said}.",
        numbers_from=3,
    )
    for row in results["comparisons"]["rows"]:
        table.body.append(
            [
                criteria[row["criterion"]],
                names[row["system"]],
                words.FINDINGS[row["verdict"]],
                words.with_interval(row["difference"], plus=True),
                words.p_value(row["p_holm"]),
                METHODS[row["method"]],
                f"{row['difference']['n_items']:,}",
                " ".join([row["why"], *row["disagree"]]).strip(),
            ]
        )
        table.rows.append(_comparison(row, names))
    return _finished(table)


def _comparison(row: dict[str, Any], names: list[str]) -> dict[str, Any]:
    checks = row["checks"]
    return {
        "criterion": row["criterion"],
        "system": names[row["system"]],
        "reference": names[0],
        "hypothesis": row["hypothesis"],
        "margin": row["margin"],
        "method": row["method"],
        **_estimate("difference", row["difference"]),
        "df": row["df"],
        "p": row["p"],
        "p_holm": row["p_holm"],
        "finding": row["verdict"],
        **_estimate("bootstrap_difference", row["bootstrap"]),
        "wilcoxon_p": checks["wilcoxon"]["p"] if checks else None,
        "sign_p": checks["sign"]["p"] if checks else None,
        **_estimate("cliffs_delta", checks["delta"] if checks else None),
        **_estimate("odds_ratio", (checks.get("odds") or {}).get("ratio") if checks else None),
        **_sizes(row["difference"]),
        "disagreement": " ".join(row["disagree"]),
    }


def _checks(results: dict[str, Any]) -> Table:
    names, criteria = _names(results), _criteria(results)
    table = Table(
        "sensitivity",
        "The same comparisons by other methods",
        [
            "Criterion",
            "System",
            "Mixed model or bootstrap",
            "Bootstrap",
            "Wilcoxon",
            "Sign test",
            "Cliff's delta",
            "Odds ratio",
        ],
        note="Not adjusted for the number of tests. They check that a finding does not hang on one method's "
        "assumptions.",
    )
    for row in results["comparisons"]["rows"]:
        checks = row["checks"]
        odds = (checks.get("odds") or {}).get("ratio")
        table.body.append(
            [
                criteria[row["criterion"]],
                names[row["system"]],
                words.with_interval(row["difference"], plus=True),
                words.with_interval(row["bootstrap"], plus=True),
                _tested(checks["wilcoxon"]),
                _tested(checks["sign"]),
                words.with_interval(checks["delta"], plus=True),
                words.with_interval(odds),
            ]
        )
        table.rows.append(_comparison(row, names))
    return _finished(table)


def _tested(test: dict[str, Any]) -> str:
    return words.p_value(test["p"]) if test["p"] is not None else test["reason"]


def _everybody(results: dict[str, Any]) -> Table | None:
    if results["everybody"] is None:
        return None
    names, criteria = _names(results), _criteria(results)
    main = {(row["criterion"], row["system"]): row for row in results["comparisons"]["rows"]}
    table = Table(
        "everybody",
        "The same comparisons with everybody",
        ["Criterion", "System", "With everybody", "Finding", "Main analysis", "Finding"],
        note="Nobody and no page left out.",
    )
    for row in results["everybody"]["comparisons"]:
        beside = main[row["criterion"], row["system"]]
        table.body.append(
            [
                criteria[row["criterion"]],
                names[row["system"]],
                words.with_interval(row["difference"], plus=True),
                words.FINDINGS[row["verdict"]],
                words.with_interval(beside["difference"], plus=True),
                words.FINDINGS[beside["verdict"]],
            ]
        )
        table.rows.append(_comparison(row, names))
    return _finished(table)


def _preferences(results: dict[str, Any]) -> Table | None:
    found = results["preferences"]
    if not found:
        return None
    names = _names(results)
    against = {row["system"]: row for row in found["contrasts"]}
    tested = any(row["p_holm"] is not None for row in found["contrasts"])
    table = Table(
        "preferences",
        "Preferences",
        [
            "System",
            "Preferred",
            "of pages",
            "Strength",
            f"Preferred to {names[0]}",
            *(["p, adjusted"] if tested else []),
        ],
        note=_preference_note(results),
        numbers_from=1,
    )
    best_worst = {row["system"]: row for row in found["best_worst"] or []}
    if best_worst:
        table.head.append("Best minus worst")
    for row in found["systems"]:
        contrast = against.get(row["system"])
        table.body.append(
            [
                names[row["system"]],
                words.percent_interval(row["share"]),
                f"{row['preferred']:,} of {row['shown']:,}",
                words.with_interval(row["strength"], plus=True),
                words.percent_interval(contrast["wins"]) if contrast else "",
                *([words.p_value(contrast["p_holm"]) if contrast else ""] if tested else []),
                *([words.with_interval(best_worst[row["system"]]["score"], plus=True)] if best_worst else []),
            ]
        )
        table.rows.append(
            {
                "system": names[row["system"]],
                "preferred": row["preferred"],
                "shown": row["shown"],
                **_estimate("share", row["share"]),
                **_estimate("strength", row["strength"]),
                **_estimate("preferred_to_reference", contrast["wins"] if contrast else None),
                "p": contrast["test"]["p"] if contrast else None,
                "p_holm": contrast["p_holm"] if contrast else None,
                **(
                    _estimate("best_minus_worst", best_worst[row["system"]]["score"])
                    | {name: best_worst[row["system"]][name] for name in ("best", "worst")}
                    if best_worst
                    else {}
                ),
                "reason": row["strength"]["reason"],
            }
        )
    table.body.append(["None: about the same", words.percent_interval(found["nobody"]), *[""] * (len(table.head) - 2)])
    return _finished(table)


def _preference_note(results: dict[str, Any]) -> str:
    found = results["preferences"]
    note = [
        f"{words.count(found['choices'], 'choice')}.",
        "Strengths are log odds by the model of Bradley, Terry and Davidson.",
    ]
    if found["same"]:
        note.append(
            f"{words.count(found['same'], 'page')} had outputs that were all alike and "
            f"{'counts' if found['same'] == 1 else 'count'} as a tie."
        )
    if cannot := sum(found["cannot"].values()):
        note.append(f"On {words.count(cannot, 'page')} no choice could be made.")
    if found["reason"]:
        note.append(found["reason"])
    return " ".join(note)


def _pairs(results: dict[str, Any]) -> Table | None:
    found = results["preferences"]
    if not found:
        return None
    names = _names(results)
    table = Table(
        "pairs",
        "Each two systems",
        ["System", "Against", "Wins", "Ties", "Losses", "Rate, ties counted half"],
        note="One page can say something about several pairs.",
    )
    for row in found["pairs"]:
        table.body.append(
            [
                names[row["first"]],
                names[row["second"]],
                *(f"{row[name]:,}" for name in ("wins", "ties", "losses")),
                words.percent_interval(row["rate"]),
            ]
        )
        table.rows.append(
            {
                "system": names[row["first"]],
                "against": names[row["second"]],
                **{name: row[name] for name in ("wins", "ties", "losses")},
                **_estimate("rate", row["rate"]),
                **_sizes(row["rate"]),
            }
        )
    return _finished(table)


def _groups(results: dict[str, Any]) -> Table:
    names, criteria = _names(results), _criteria(results)
    table = Table(
        "groups",
        "Differences from the reference by group of texts",
        ["Criterion", "System", "By", "Group", "Own", "Partly pooled", "Texts", "Note"],
        note="A group of few texts borrows from the others where it is pooled. Own intervals are over texts and "
        "reviewers, pooled ones over texts only: the reviewers are the same in all groups. Described, not tested.",
        numbers_from=4,
    )
    for row in results["groups"]:
        own, pooled = row["plain"], row["pooled"]
        reasons = [own["reason"], pooled["reason"] if pooled["estimate"] is None else ""]
        table.body.append(
            [
                criteria[row["criterion"]],
                names[row["system"]],
                words.GROUPS[row["by"]],
                row["group"],
                words.with_interval(own, plus=True),
                words.with_interval(pooled, plus=True),
                f"{own['n_items']:,}",
                " ".join(dict.fromkeys(reason for reason in reasons if reason)),
            ]
        )
        table.rows.append(
            {
                "by": row["by"],
                "group": row["group"],
                "criterion": row["criterion"],
                "system": names[row["system"]],
                **_estimate("difference", own),
                **_estimate("pooled", pooled),
                "pooled_reason": pooled["reason"],
                **_sizes(own),
            }
        )
    return _finished(table)


def _agreement(results: dict[str, Any]) -> Table:
    criteria = _criteria(results)
    table = Table(
        "agreement",
        "Agreement between reviewers, and with themselves",
        [
            "Criterion",
            "Krippendorff's α",
            "ICC, one reviewer",
            "ICC, mean of all",
            "Same level again",
            "κ of repeats",
            "Note",
        ],
        note="α is ordinal. The ICC is that of absolute agreement; k is how many reviewers an output has.",
        numbers_from=1,
    )
    repeated = {row["criterion"]: row for row in (results["consistency"] or {}).get("criteria", [])}
    for row in results["agreement"]:
        alpha, icc, again = row["alpha"], row["icc"], repeated.get(row["criterion"])
        of_k = f" (k = {words.number(icc['k'], 1)})" if icc["k"] and icc["mean"]["estimate"] is not None else ""
        reasons = [alpha["reason"], icc["single"]["reason"], again["kappa"]["reason"] if again else ""]
        table.body.append(
            [
                criteria[row["criterion"]],
                words.with_interval(alpha),
                words.with_interval(icc["single"]),
                words.with_interval(icc["mean"]) + of_k,
                words.percent_interval(again["exact"]) if again else "not asked",
                words.with_interval(again["kappa"]) if again else "not asked",
                " ".join(dict.fromkeys(reason for reason in reasons if reason)),
            ]
        )
        table.rows.append(
            {
                "criterion": row["criterion"],
                **_estimate("alpha", alpha),
                **_estimate("icc_single", icc["single"]),
                **_estimate("icc_mean", icc["mean"]),
                "icc_k": icc["k"],
                **_estimate("repeats_same", again["exact"] if again else None),
                **_estimate("repeats_kappa", again["kappa"] if again else None),
                **_sizes(alpha),
            }
        )
    chosen = (results["consistency"] or {}).get("preference")
    if chosen and chosen["n"]:
        table.body.append(["Preference", "–", "–", "–", words.percent_interval(chosen), "–", chosen["reason"]])
        table.rows.append({"criterion": "preference", **_estimate("repeats_same", chosen), "reason": chosen["reason"]})
    return _finished(table)


def _attention(results: dict[str, Any]) -> Table:
    others = results["attention"]["with_other_roles"]
    table = Table(
        "reviewers",
        "Reviewers",
        ["Reviewer", "Pages", "Checks passed", "In the main analysis"],
        note="Names are drawn for this study and tell nothing."
        + (f" {words.count(others, 'reviewer')} had other roles in the project." if others else ""),
        numbers_from=1,
    )
    for row in results["attention"]["reviewers"]:
        table.body.append(
            [
                row["reviewer"],
                f"{row['pages']:,}",
                f"{row['passed']} of {row['checks']}" if row["checks"] else "–",
                "left out" if row["excluded"] else "yes",
            ]
        )
        table.rows.append({name: row[name] for name in ("reviewer", "pages", "checks", "passed", "failed", "excluded")})
    return _finished(table)


def _cannot(results: dict[str, Any]) -> Table:
    names, criteria = _names(results), _criteria(results)
    table = Table(
        "cannot-judge", "Where reviewers could not judge", ["Criterion", "System", "Reason", "Ratings"], numbers_from=3
    )
    for row in results["cannot"]:
        table.body.append([criteria[row["criterion"]], names[row["system"]], row["reason_words"], f"{row['n']:,}"])
        table.rows.append(
            {"criterion": row["criterion"], "system": names[row["system"]], "reason": row["reason"], "n": row["n"]}
        )
    return _finished(table)


def _blinding(results: dict[str, Any]) -> Table | None:
    found = results["blinding"]
    if not found:
        return None
    table = Table(
        "blinding",
        "Guesses about which outputs came from a tuned model",
        ["Outputs of", "Right", "Wrong", "Cannot tell", "Bang's index", "In words"],
        note=f"{found['summary']} 0 is as by chance, 1 all right, −1 all wrong.",
        numbers_from=1,
    )
    for name, label in (("tuned", "tuned systems"), ("other", "other systems")):
        arm = found[name]
        table.body.append(
            [
                label,
                *(f"{arm[key]:,}" for key in ("right", "wrong", "unknown")),
                words.with_interval(arm["index"], plus=True),
                _with_reason(arm["words"], arm["index"]),
            ]
        )
        table.rows.append(
            {
                "arm": name,
                **{key: arm[key] for key in ("right", "wrong", "unknown")},
                **_estimate("bang_index", arm["index"]),
                "verdict": arm["verdict"],
                **_estimate("james_index_of_both", found["james"]),
                **_sizes(arm["index"]),
            }
        )
    return _finished(table)


def _judges(results: dict[str, Any]) -> Table:
    """Models that judged the same outputs; never among the reviewers."""
    table = Table(
        "judges",
        "Models as judges, beside people",
        ["Judge", "Of", "Weighted κ", "α", "Rank correlation", "Judge less people", "n", "Note"],
        note="Judges answered about the same outputs; none of their answers is in any figure above.",
    )
    for judge in results["judges"]["judges"]:
        unusable = f"{judge['usable']} of {judge['asked']} answers usable." if judge["usable"] < judge["asked"] else ""
        also = f"The same model is behind {words.listed(judge['also_systems'])}." if judge["also_systems"] else ""
        for row in judge["criteria"]:
            kappa = row["kappa"]
            table.body.append(
                [
                    judge["model"],
                    row["name"],
                    words.with_interval(kappa),
                    words.with_interval(row["alpha"]),
                    words.with_interval(row["rank_correlation"]),
                    words.with_interval(row["difference"], plus=True),
                    f"{kappa['n_ratings']:,}",
                    " ".join(part for part in (kappa["reason"], unusable, also) if part),
                ]
            )
            table.rows.append(
                {
                    "judge": judge["model"],
                    "criterion": row["key"],
                    **{key: value for name in AGREEMENT for key, value in _estimate(name, row[name]).items()},
                    **_estimate("length_excess", row["length"]["excess"]),
                    **_sizes(kappa),
                }
            )
        chosen = judge["choices"]
        if not chosen["reason"]:
            same, people = chosen["with_people"], chosen["among_people"]
            position = judge["position"]
            leaning = "" if position["reason"] else position["verdict"]
            said = (
                f"Chose as a person did: {words.percent_interval(same)}; two people: {words.percent_interval(people)}."
            )
            table.body.append(
                [judge["model"], "choices", "–", "–", "–", "–", f"{same['n_ratings']:,}", f"{said} {leaning}".strip()]
            )
            table.rows.append(
                {
                    "judge": judge["model"],
                    "criterion": "choices",
                    **_estimate("same_as_person", same),
                    **_estimate("two_people_same", people),
                    **_estimate("first_place", position.get("first_place")),
                    **_sizes(same),
                }
            )
    return _finished(table)


AGREEMENT = ("kappa", "alpha", "rank_correlation", "difference")


def _amendments(results: dict[str, Any]) -> Table:
    table = Table(
        "amendments",
        "Amendments of the protocol",
        ["No.", "When", "Blind", "Pages finished", "What", "Why"],
        numbers_from=3,
    )
    for row in results["study"]["amendments"]:
        what = "; ".join(f"{name}: {before} → {after}" for name, (before, after) in row["changes"].items()) or "a note"
        table.body.append(
            [
                str(row["number"]),
                moment(row["at"]),
                "yes" if row["blind"] else "no",
                f"{row['tasks_done']:,}",
                what,
                row["reason"],
            ]
        )
        table.rows.append(
            {
                "number": row["number"],
                "at": row["at"],
                "blind": row["blind"],
                "pages_finished": row["tasks_done"],
                "changes": what,
                "reason": row["reason"],
                "sha256": row["sha256"],
            }
        )
    return _finished(table)


def moment(text: str | None) -> str:
    """2026-01-31 14:05 UTC, from ISO 8601."""
    return f"{text[:10]} {text[11:16]} UTC" if text else "–"


def _finished(table: Table) -> Table:
    if table.rows:
        table.columns = list(dict.fromkeys(name for row in table.rows for name in row))
    return table


MAKERS: list[Callable[[dict[str, Any]], Table | None]] = [
    _comparisons,
    _means,
    _distribution,
    _cannot,
    _preferences,
    _pairs,
    _groups,
    _checks,
    _everybody,
    _agreement,
    _attention,
    _blinding,
    _judges,
    _amendments,
]
