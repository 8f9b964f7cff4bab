"""What reviewers preferred: shares, strengths, each two systems, best and worst."""

from typing import Any

from evaluation.analysis import preference
from evaluation.reports.comparing import REFERENCE, SIGNIFICANT, adjust, side
from evaluation.reports.plain import plain
from evaluation.reports.reading import Choosing

NOT_PLANNED = "No test of preferences was planned: described with its interval, not tested."


def preferences(
    choosing: Choosing | None, names: list[str], *, planned: bool, main: bool = True
) -> dict[str, Any] | None:
    """JSON-ready figures of the choices; None for a layout that asks for none.

    Args:
        planned: whether the protocol planned to test each system's preference against the reference. Then the tests
            are adjusted together by Holm's method, as a family of their own, and one that could not be made counts in
            it; else systems are described by their intervals, without p-values.
    """
    if choosing is None:
        return None
    pages = choosing.of(main)
    choices = preference.choices_of(pages)
    shares, nobody = preference.shares_preferred(pages)
    strengths = preference.bradley_terry(choices, reference=REFERENCE, names=names)
    contrasts = [plain(contrast) for contrast in strengths.contrasts]
    if not planned:
        for contrast in contrasts:
            contrast["test"] |= {"statistic": None, "p": None, "reason": NOT_PLANNED}
    # Systems that no choice compares with the reference have no contrast, but their tests were planned.
    missing = len(names) - 1 - len(contrasts) if planned else 0
    made = [contrast["test"]["p"] for contrast in contrasts]
    adjusted = adjust([*made, *[None] * missing], [planned] * (len(made) + missing))
    for contrast, p in zip(contrasts, adjusted, strict=False):
        contrast["p_holm"] = p
        contrast["verdict"] = _verdict(contrast, planned)
    same = choosing.same_of(main)
    return {
        "pages": len(pages),
        "choices": len(pages) - same,
        "same": same,
        "planned": len(names) - 1 if planned else 0,
        "tests": sum(p is not None for p in adjusted),
        "cannot": choosing.cannot,
        "nobody": plain(nobody),
        "systems": [
            {
                "system": row.system,
                "shown": row.shown,
                "preferred": row.preferred,
                "share": plain(row.share),
                "strength": plain(strengths.strengths[row.system]),
            }
            for row in shares
        ],
        "contrasts": contrasts,
        "tie": strengths.tie,
        "reason": strengths.reason,
        "pairs": plain(preference.win_rates(choices)),
        "best_worst": None if pages.worst is None else plain(preference.best_worst_scores(pages)),
    }


def _verdict(contrast: dict[str, Any], planned: bool) -> str:
    if not planned:
        return side(contrast["difference"], ("higher", "lower", "close")) or "none"
    if contrast["p_holm"] is None:
        return "none"
    if contrast["p_holm"] >= SIGNIFICANT:
        return "unclear"
    return "better" if contrast["difference"]["estimate"] > 0 else "worse"
