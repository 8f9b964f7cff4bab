"""Figures of the agreement page as SVG. Text stays text, so that any script and any reader can show it.

Colours are the light theme's; `annotation.svg.themed` lets them follow a page's.
"""

import io
import warnings
from datetime import date
from typing import Any, Literal

from matplotlib import dates, rc_context
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
    "text.parse_math": False,  # a level may be called "$5"
    "axes.edgecolor": LINE,
    "axes.labelcolor": MUTED,
    "axes.titlesize": 10,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
}
DEEPEST = 0.5  # opacity of the fullest cell: ink stays readable on it in both themes


def drift(report: dict[str, Any]) -> str:
    """A coefficient over time with its 95 % intervals, one panel a dimension; "" before there are two points."""
    rows = report["drift"]["dimensions"]
    if all(sum(point["estimate"] is not None for point in row["points"]) < 2 for row in rows):
        return ""
    with rc_context(STYLE):
        columns = min(2, len(rows))
        lines = -(-len(rows) // columns)
        height = 0.35 + 1.75 * lines
        # Laid out by hand: letting matplotlib find the margins takes as long as all the rest.
        figure = _figure(9, height, layout=None)
        figure.subplots_adjust(0.055, 0.35 / height, 0.99, 1 - 0.25 / height, wspace=0.06, hspace=0.3)
        panels = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False)
        lowest = 0.0
        for panel, row in zip(panels.flat, rows, strict=False):
            panel.patch.set_alpha(0)
            days = [date.fromisoformat(point["from"]) for point in row["points"]]
            values = [float("nan") if point["estimate"] is None else point["estimate"] for point in row["points"]]
            panel.plot(days, values, color=ACCENT, linewidth=1.5, marker="o", markersize=4)
            spans = [(day, point["low"], point["high"]) for day, point in zip(days, row["points"], strict=True)]
            if spans := [span for span in spans if span[1] is not None]:
                ends, lows, highs = zip(*spans, strict=True)
                panel.vlines(ends, lows, highs, color=ACCENT, linewidth=4, alpha=0.35)
                lowest = min(lowest, *lows)
            panel.set_title(_short(row["name"]), loc="left", color=INK)
            panel.grid(axis="y", color=LINE, linewidth=0.8)
            panel.set_axisbelow(True)
            locator = dates.AutoDateLocator(minticks=2, maxticks=6)
            panel.xaxis.set_major_locator(locator)
            panel.xaxis.set_major_formatter(dates.ConciseDateFormatter(locator))
        for panel in panels.flat[len(rows) :]:
            panel.set_visible(False)
        panels[0][0].set_ylim(lowest - 0.03, 1.03)
        return _svg(figure)


def confusion(row: dict[str, Any]) -> str:
    """What two annotators chose for the same texts, as a heat map: rows are the first one's levels."""
    found, levels = row["confusion"], [_short(level["level"], 14) for level in row["levels"]]
    counts = found["counts"]
    fullest = max((count for line in counts for count in line), default=0)
    with rc_context(STYLE):
        size = len(levels)
        figure = _figure(1.5 + 0.85 * size, 0.9 + 0.55 * size)
        panel = figure.subplots()
        panel.patch.set_alpha(0)
        for y, line in enumerate(counts):
            for x, count in enumerate(line):
                share = count / fullest if fullest else 0
                colour = ACCENT if x == y else WARN  # on the diagonal they agree
                panel.fill_between(
                    [x - 0.47, x + 0.47], y - 0.46, y + 0.46, color=colour, alpha=DEEPEST * share, linewidth=0
                )
                panel.text(x, y, f"{count:,}", ha="center", va="center", color=INK)
        panel.set_xlim(-0.5, size - 0.5)
        panel.set_ylim(size - 0.5, -0.5)
        panel.set_xticks(range(size), levels)
        panel.set_yticks(range(size), levels)
        panel.tick_params(length=0)
        panel.set_xlabel(_short(found["second"]))
        panel.set_ylabel(_short(found["first"]))
        for side in panel.spines.values():
            side.set_visible(False)
        return _svg(figure)


def nothing(why: str) -> str:
    """A figure that says why there is none."""
    with rc_context(STYLE):
        figure = _figure(6, 0.6)
        figure.text(0.02, 0.5, why, va="center", color=MUTED)
        return _svg(figure)


def _short(text: str, limit: int = 32) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _figure(width: float, height: float, layout: Literal["constrained"] | None = "constrained") -> Figure:
    figure = Figure(figsize=(width, height), layout=layout)
    figure.patch.set_alpha(0)
    FigureCanvasSVG(figure)
    return figure


def _svg(figure: Figure) -> str:
    file = io.BytesIO()
    with warnings.catch_warnings():
        # Its own font may lack a glyph of a level's name; the reader's font is what counts.
        warnings.filterwarnings("ignore", "Glyph", UserWarning)
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    return file.getvalue().decode()
