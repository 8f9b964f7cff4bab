"""Figures of a report as SVG, drawn in a worker. Text stays text, so that any script and any reader can show
it.

Colours are the light theme's. In a page `svg.themed` points them at the style sheet's names, which follow the
reader's theme; a downloaded file keeps them as they are.
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
    "text.parse_math": False,  # a system may be called "$5"
    "axes.edgecolor": LINE,
    "axes.labelcolor": MUTED,
    "axes.titlesize": 11,
    "xtick.color": MUTED,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
}


def means(results: dict[str, Any]) -> str:
    """Mean rating of each system with its 95 % interval, one panel a criterion."""
    names, criteria = _names(results), results["criteria"]
    with rc_context(STYLE):
        figure = _figure(9, 1.1 + 0.42 * len(names))
        panels = figure.subplots(1, len(criteria), sharey=True, squeeze=False)[0]
        for panel, criterion in zip(panels, criteria, strict=True):
            rows = [row for row in results["means"] if row["criterion"] == criterion["key"]]
            for place, row in enumerate(rows):
                if row["estimate"] is None:
                    continue
                colour = WARN if row["system"] == results["reference"] else ACCENT
                if row["low"] is not None:
                    panel.plot([row["low"], row["high"]], [place, place], color=colour, linewidth=2.5)
                panel.plot([row["estimate"]], [place], "o", color=colour, markersize=7)
            _rows(panel, names)
            panel.set_xlim(0.8, results["levels"] + 0.2)
            panel.set_xticks(range(1, results["levels"] + 1))
            panel.set_title(_short(criterion["name"], 28), loc="left", color=INK)
            panel.grid(axis="x", color=LINE, linewidth=0.8)
        return _svg(figure)


def preferences(results: dict[str, Any]) -> str:
    """How often each system was preferred, with its 95 % interval; ties as a row of their own."""
    preference = results["preferences"]
    names = [*_names(results), "About the same"]
    shares = [row["share"] for row in preference["systems"]] + [preference["ties"]]
    with rc_context(STYLE):
        figure = _figure(9, 1.0 + 0.42 * len(names))
        panel = figure.subplots()
        for place, share in enumerate(shares):
            if share["estimate"] is None:
                continue
            colour = MUTED if place == len(shares) - 1 else ACCENT
            if place < len(shares) - 1 and preference["systems"][place]["system"] == results["reference"]:
                colour = WARN
            panel.barh(place, 100 * share["estimate"], height=0.5, color=colour, alpha=0.55)
            panel.plot([100 * share["low"], 100 * share["high"]], [place, place], color=INK, linewidth=1.5)
        _rows(panel, names)
        panel.set_xlim(0, 100)
        panel.set_xlabel("% of all choices")
        panel.grid(axis="x", color=LINE, linewidth=0.8)
        return _svg(figure)


def _names(results: dict[str, Any]) -> list[str]:
    return [
        _short(system["name"]) + (" (reference)" if system["id"] == results["reference"] else "")
        for system in results["systems"]
    ]


def _short(text: str, limit: int = 32) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _figure(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), layout="constrained")
    figure.patch.set_alpha(0)
    FigureCanvasSVG(figure)
    return figure


def _rows(panel, names: list[str]) -> None:
    panel.patch.set_alpha(0)
    panel.set_yticks(range(len(names)), names)
    panel.set_ylim(len(names) - 0.5, -0.5)
    panel.tick_params(axis="y", length=0)
    panel.set_axisbelow(True)


def _svg(figure: Figure) -> str:
    file = io.BytesIO()
    with warnings.catch_warnings():
        # Its own font may lack a glyph of a system's name; the reader's font is what counts.
        warnings.filterwarnings("ignore", "Glyph", UserWarning)
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    return file.getvalue().decode()
