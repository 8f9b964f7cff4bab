"""What reviewers preferred: shares, strengths, each two systems, best and worst."""

from typing import Any

from evaluation.analysis import preference, ranks
from evaluation.reports.comparing import REFERENCE, SIGNIFICANT
from evaluation.reports.plain import plain
from evaluation.reports.reading import Choosing


def preferences(choosing: Choosing | None, names: list[str], *, main: bool = True) -> dict[str, Any] | None:
    """JSON-ready figures of the choices; None for a layout that asks for none.

    The tests against the reference are adjusted together by Holm's method, as a family of their own.
    """
    if choosing is None:
        return None
    pages = choosing.of(main)
    choices = preference.choices_of(pages)
    shares, nobody = preference.shares_preferred(pages)
    strengths = preference.bradley_terry(choices, reference=REFERENCE, names=names)
    contrasts = [plain(contrast) for contrast in strengths.contrasts]
    adjusted = ranks.holm([contrast["test"]["p"] for contrast in contrasts])
    for contrast, p in zip(contrasts, adjusted, strict=True):
        contrast["p_holm"] = p
        clear = p is not None and p < SIGNIFICANT
        contrast["verdict"] = (
            ("better" if contrast["difference"]["estimate"] > 0 else "worse")
            if clear
            else "none"
            if p is None
            else "unclear"
        )
    return {
        "pages": len(pages),
        "same": choosing.same,
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
