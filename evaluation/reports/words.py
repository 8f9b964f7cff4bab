"""How figures read: numbers, intervals, p-values, lists of names."""

from typing import Any

# Around a name within a sentence, so that one written from right to left disturbs nothing around it. Pages turn them
# into <bdi>; plain text is better without (`bare`).
START, END = "\u2068", "\u2069"
MARKS = str.maketrans("", "", "\u2066\u2067\u2068\u2069\u202a\u202b\u202c\u202d\u202e")
MINUS = "\u2212"
SPACE = "\u00a0"


def name(text: str) -> str:
    return f"{START}{text.translate(MARKS)}{END}"


def bare(sentence: str) -> str:
    """Without the marks around names."""
    return sentence.replace(START, "").replace(END, "")


def count(n: int, noun: str, plural: str = "") -> str:
    return f"{n:,} {noun if n == 1 else plural or f'{noun}s'}"


def levels(value: float) -> str:
    """0.5 levels, 1 level"""
    return f"{value:g} level{'' if value == 1 else 's'}"


def listed(parts: list[str]) -> str:
    """a, b and c"""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}" if parts else ""


def number(value: float | None, digits: int = 2) -> str:
    """3.41, with a real minus sign; a dash where there is none."""
    if value is None:
        return "–"
    rounded = f"{value:.{digits}f}"
    return (rounded[1:] if float(rounded) == 0 and rounded[0] == "-" else rounded).replace("-", MINUS)


def signed(value: float | None) -> str:
    """+0.64"""
    if value is None:
        return "–"
    shown = number(value)
    return shown if shown.startswith(MINUS) or float(shown) == 0 else f"+{shown}"


def interval(estimate: dict[str, Any] | None, digits: int = 2) -> str:
    """[3.10, 3.72], or nothing where there is no interval."""
    if estimate is None or estimate.get("low") is None:
        return ""
    return f"[{number(estimate['low'], digits)}, {number(estimate['high'], digits)}]"


def with_interval(estimate: dict[str, Any] | None, *, plus: bool = False) -> str:
    """3.41 [3.10, 3.72]"""
    if estimate is None or estimate["estimate"] is None:
        return "–"
    return f"{(signed if plus else number)(estimate['estimate'])} {interval(estimate)}".strip()


def percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.0f}{SPACE}%"


def percent_interval(share: dict[str, Any] | None) -> str:
    """61 % [54, 68]"""
    if share is None or share["estimate"] is None:
        return "–"
    if share.get("low") is None:
        return percent(share["estimate"])
    return f"{percent(share['estimate'])} [{100 * share['low']:.0f}, {100 * share['high']:.0f}]"


def p_value(p: float | None) -> str:
    """p = 0.023, or p < 0.001."""
    if p is None:
        return "–"
    return f"p{SPACE}<{SPACE}0.001" if p < 0.001 else f"p{SPACE}={SPACE}{p:.3f}"


def with_p(p: float | None) -> str:
    """, p = 0.023 to end a clause with; nothing where there is no test."""
    return "" if p is None else f", {p_value(p)}"


# A comparison's finding -> how it reads.
FINDINGS = {
    "better": "better",
    "worse": "worse",
    "unclear": "no clear difference",
    "non-inferior": "not worse by the margin",
    "inferior": "worse by more than the margin",
    "inconclusive": "inconclusive",
    "higher": "higher, not tested",
    "lower": "lower, not tested",
    "close": "no clear difference, not tested",
    "none": "cannot be said",
}

# What groups of texts are groups of.
GROUPS = {"target_group": "target group", "stratum": "stratum"}
