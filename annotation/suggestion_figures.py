"""The figure of a report on suggestions as SVG, drawn in a worker. Text stays text, so that any reader can show it.

Colours are the light theme's; in a page `svg.themed` points them at the style sheet's names.
"""

import io
import warnings
from typing import Any

from matplotlib import rc_context
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from annotation.svg import COLOURS

INK, MUTED, LINE, ACCENT, WARN = COLOURS
STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "redress",  # the same figure gives the same file
    "font.size": 10,
    "font.family": "sans-serif",
    "text.color": INK,
    "text.parse_math": False,
    "axes.edgecolor": LINE,
    "axes.labelcolor": MUTED,
    "axes.titlesize": 11,
    "xtick.color": MUTED,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
}


def effects(results: dict[str, Any]) -> str:
    """Every share seen and unseen on the left, and the difference on the right, with their intervals."""
    rows = [row for row in results["rows"] if row["unit"] == "share"]
    names = [row["name"] if len(row["name"]) <= 60 else row["name"][:59] + "…" for row in rows]
    with rc_context(STYLE):
        figure = Figure(figsize=(9, 1.3 + 0.42 * len(rows)), layout="constrained")
        figure.patch.set_alpha(0)
        FigureCanvasSVG(figure)
        both, change = figure.subplots(1, 2, sharey=True, width_ratios=[1.4, 1])
        for place, row in enumerate(rows):
            _dot(both, row["unseen"], place + 0.14, MUTED, "s")
            _dot(both, row["seen"], place - 0.14, ACCENT, "o")
            _dot(change, row["change"], place, INK, "D")
        both.plot([], [], "o", color=ACCENT, label="seen")
        both.plot([], [], "s", color=MUTED, label="unseen")
        both.set_title("Share in percent", loc="left", color=INK)
        both.set_xlim(-3, 103)
        change.set_title("Seen minus unseen, in points", loc="left", color=INK)
        change.axvline(0, color=WARN, linewidth=1)
        for panel in (both, change):
            panel.patch.set_alpha(0)
            panel.set_yticks(range(len(rows)), names)
            panel.set_ylim(len(rows) - 0.5, -0.5)
            panel.tick_params(axis="y", length=0)
            panel.grid(axis="x", color=LINE, linewidth=0.8)
            panel.set_axisbelow(True)
        figure.legend(loc="outside lower left", ncols=2, frameon=False)
        file = io.BytesIO()
        with warnings.catch_warnings():
            # Its own font may lack a glyph of a dimension's name; the reader's font is what counts.
            warnings.filterwarnings("ignore", "Glyph", UserWarning)
            figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
        return file.getvalue().decode()


def _dot(panel, estimate: dict[str, Any], place: float, colour: str, marker: str) -> None:
    if estimate["estimate"] is None:
        return
    if estimate["low"] is not None:
        panel.plot([100 * estimate["low"], 100 * estimate["high"]], [place, place], color=colour, linewidth=2)
    panel.plot([100 * estimate["estimate"]], [place], marker, color=colour, markersize=6)
