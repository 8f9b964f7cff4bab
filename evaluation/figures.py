"""Figures of a study as SVG, drawn in a worker. Text stays text, so that any script and any reader can show it.

Colours are the light theme's. In a page `svg.themed` points them at the style sheet's names, which follow the
reader's theme; a downloaded file keeps them as they are. Nothing is told by colour alone: systems have markers, levels
are steps from light to dark, what stands apart is hatched.
"""

import io
import warnings
from collections.abc import Callable
from typing import Any

from matplotlib import rc_context
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from annotation.svg import COLOURS, ON_ACCENT
from evaluation.reports import words

INK, MUTED, LINE, ACCENT, WARN = COLOURS
MARKERS = "os^Dv<>PXh*d"  # a system's, by its place; the reference's is hollow
PANELS = 3  # beside each other
STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "redress",  # the same figure gives the same file
    "font.size": 10,
    "font.family": "sans-serif",
    "text.color": INK,
    "text.parse_math": False,  # a system may be called "$5"
    "hatch.linewidth": 0.8,
    "axes.edgecolor": LINE,
    "axes.labelcolor": MUTED,
    "axes.titlesize": 11,
    "xtick.color": MUTED,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
}


def figures(results: dict[str, Any]) -> dict[str, str]:
    """Name -> SVG of every figure that has something to show."""
    with rc_context(STYLE):
        return {name: drawn for name, draw in DRAWN.items() if (drawn := draw(results))}


def means(results: dict[str, Any]) -> str:
    """Mean rating of each system with its 95 % interval, one panel a criterion."""
    rows = [row for row in results["means"] if row["mean"]["estimate"] is not None]
    if not rows:
        return ""
    names = _names(results)
    figure, panels = _panels(results["criteria"], len(names))
    for number, (panel, criterion) in enumerate(zip(panels, results["criteria"], strict=True)):
        for row in rows:
            if row["criterion"] == criterion["key"]:
                _point(panel, row["mean"], row["system"])
        _rows(panel, names, number)
        panel.set_xlim(0.8, criterion["levels"] + 0.2)
        panel.set_xticks(range(1, criterion["levels"] + 1))
        panel.grid(axis="x", color=LINE, linewidth=0.8)
    return _svg(figure)


def distribution(results: dict[str, Any]) -> str:
    """Share of each level, as stacked bars from the worst, light, to the best, dark; "cannot judge" is hatched."""
    if not any(sum(row["counts"]) for row in results["means"]):
        return ""
    names = _names(results)
    cannot: dict[tuple[str, int], int] = {}
    for row in results["cannot"]:
        cannot[row["criterion"], row["system"]] = cannot.get((row["criterion"], row["system"]), 0) + row["n"]
    figure, panels = _panels(results["criteria"], len(names))
    for number, (panel, criterion) in enumerate(zip(panels, results["criteria"], strict=True)):
        for row in results["means"]:
            if row["criterion"] == criterion["key"]:
                _stack(panel, row["system"], row["counts"], cannot.get((row["criterion"], row["system"]), 0))
        _rows(panel, names, number)
        panel.set_xlim(0, 100)
        panel.set_xlabel("% of answers")
    return _svg(figure)


def _stack(panel, place: int, counts: list[int], cannot: int) -> None:
    total = sum(counts) + cannot
    if not total:
        return
    left = 0.0
    steps = max(1, len(counts) - 1)
    for level, n in enumerate(counts):
        width = 100 * n / total
        strength = 0.12 + 0.83 * level / steps
        panel.barh(place, width, left=left, height=0.62, color=ACCENT, alpha=strength, linewidth=0)
        panel.barh(place, width, left=left, height=0.62, fill=False, edgecolor=INK, linewidth=0.4)
        if width >= 9:
            colour = ON_ACCENT if strength > 0.55 else INK
            label = f"{level + 1}: {width:.0f}" if width >= 14 else f"{width:.0f}"
            panel.text(left + width / 2, place, label, ha="center", va="center", color=colour, fontsize=8)
        left += width
    if cannot:
        panel.barh(place, 100 - left, left=left, height=0.62, fill=False, hatch="////", edgecolor=MUTED, linewidth=0.4)


def differences(results: dict[str, Any]) -> str:
    """Each system less the reference, with 95 % intervals; a dashed line where a margin was planned."""
    rows = [row for row in results["comparisons"]["rows"] if row["difference"]["estimate"] is not None]
    if not rows:
        return ""
    names = _names(results)[1:]
    ends = [abs(row["difference"][key] or 0.0) for row in rows for key in ("estimate", "low", "high")]
    margins = [criterion["margin"] or 0 for criterion in results["criteria"]]
    reach = 1.15 * max([*ends, *margins, 0.25])
    figure, panels = _panels(results["criteria"], len(names))
    for number, (panel, criterion) in enumerate(zip(panels, results["criteria"], strict=True)):
        panel.axvline(0, color=INK, linewidth=0.8)
        if criterion["margin"]:
            panel.axvline(-criterion["margin"], color=WARN, linewidth=1.4, linestyle=(0, (4, 3)))
            panel.set_title(f"margin \u2212{criterion['margin']:g}", loc="right", color=WARN, fontsize=9)
        for row in rows:
            if row["criterion"] == criterion["key"]:
                _point(panel, row["difference"], row["system"], row["system"] - 1)
        _rows(panel, names, number)
        panel.set_xlim(-reach, reach)
        panel.set_xlabel("← worse, in levels, better →")
        panel.grid(axis="x", color=LINE, linewidth=0.8)
    return _svg(figure)


def preferences(results: dict[str, Any]) -> str:
    """How often each system was preferred where it was shown, and its strength, with 95 % intervals."""
    found = results["preferences"]
    if not found or not found["pages"]:
        return ""
    names = [*_names(results), "About the same"]
    figure = _figure(9.4, 1.1 + 0.42 * len(names))
    shares, strengths = figure.subplots(1, 2, sharey=True)
    for row in [*found["systems"], {"system": len(names) - 1, "share": found["nobody"]}]:
        share, place = row["share"], row["system"]
        if share["estimate"] is None:
            continue
        width, nobody = 100 * share["estimate"], place == len(names) - 1
        if not nobody:
            shares.barh(place, width, height=0.55, color=ACCENT, alpha=0.35, linewidth=0)
        hatch = "////" if nobody else "xx" if place == 0 else None
        shares.barh(place, width, height=0.55, fill=False, edgecolor=MUTED, hatch=hatch, linewidth=0.6)
        if share["low"] is not None:
            shares.plot([100 * share["low"], 100 * share["high"]], [place, place], color=INK, linewidth=1.6)
    drawn = [row for row in found["systems"] if row["strength"]["estimate"] is not None]
    for row in drawn:
        _point(strengths, row["strength"], row["system"])
    _rows(shares, names, 0)
    _rows(strengths, names, 1)
    shares.set_xlim(0, 100)
    shares.set_xlabel("% of the pages that showed it")
    shares.set_title("Preferred", loc="left", color=INK)
    strengths.set_title("Strength", loc="left", color=INK)
    strengths.set_xlabel("log odds of being preferred" if drawn else "cannot be given")
    strengths.axvline(0, color=INK, linewidth=0.8)
    for panel in (shares, strengths):
        panel.grid(axis="x", color=LINE, linewidth=0.8)
    return _svg(figure)


def groups(results: dict[str, Any]) -> str:
    """Differences from the reference by group of texts, partly pooled where that can be, else each group's own,
    hollow where others are pooled."""
    rows = [row for row in results["groups"] if row["plain"]["estimate"] is not None]
    places = list(dict.fromkeys((row["by"], row["group"]) for row in rows))
    if not places or len(places) > 20:
        return ""
    shown = [row["pooled"] if row["pooled"]["estimate"] is not None else row["plain"] for row in rows]
    ends = [abs(one[key] or 0.0) for one in shown for key in ("estimate", "low", "high")]
    reach = 1.1 * max([*ends, 0.25])
    mixed = 0 < sum(one is row["plain"] for row, one in zip(rows, shown, strict=True)) < len(rows)
    several = len({by for by, _ in places}) > 1
    labels = [_short(group, 24) + (f"\n({words.GROUPS[by]})" if several else "") for by, group in places]
    systems = results["systems"][1:]
    lane = 0.8 / len(systems)
    figure, panels = _panels(
        results["criteria"], max(2, round((0.9 if several else 0.55) * len(labels) * len(systems)))
    )
    for number, (panel, criterion) in enumerate(zip(panels, results["criteria"], strict=True)):
        panel.axvline(0, color=INK, linewidth=0.8)
        for row, one in zip(rows, shown, strict=True):
            if row["criterion"] == criterion["key"]:
                place = places.index((row["by"], row["group"])) + (row["system"] - 1 - (len(systems) - 1) / 2) * lane
                _point(panel, one, row["system"], place, hollow=mixed and one is row["plain"])
        _rows(panel, labels, number)
        panel.set_xlim(-reach, reach)
        panel.set_xlabel("← worse, in levels, better →")
        panel.grid(axis="x", color=LINE, linewidth=0.8)
    marks = [
        panels[0].plot([], [], MARKERS[row["system"] % len(MARKERS)], color=ACCENT, linestyle="none")[0]
        for row in systems
    ]
    figure.legend(
        marks, [_short(row["name"]) for row in systems], loc="outside lower center", ncols=3, frameon=False, fontsize=9
    )
    return _svg(figure)


DRAWN: dict[str, Callable[[dict[str, Any]], str]] = {
    "differences": differences,
    "means": means,
    "distribution": distribution,
    "preferences": preferences,
    "groups": groups,
}


def _point(panel, estimate: dict[str, Any], system: int, place: float | None = None, *, hollow: bool = False) -> None:
    """A system's estimate as its marker, hollow for the reference, on its interval."""
    place = system if place is None else place
    colour = WARN if system == 0 else ACCENT
    if estimate["low"] is not None:
        panel.plot([estimate["low"], estimate["high"]], [place, place], color=colour, linewidth=2.2)
    panel.plot(
        [estimate["estimate"]],
        [place],
        MARKERS[system % len(MARKERS)],
        color=colour,
        markerfacecolor="none" if system == 0 or hollow else colour,
        markersize=7,
        markeredgewidth=1.8 if system == 0 else 1,
    )


def _names(results: dict[str, Any]) -> list[str]:
    return [_short(row["name"]) + (" (reference)" if row["is_reference"] else "") for row in results["systems"]]


def _short(text: str, limit: int = 32) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _panels(criteria: list[dict[str, Any]], rows: int) -> tuple[Figure, list[Any]]:
    """A figure with a panel for each criterion, titled."""
    across = min(PANELS, len(criteria))
    down = -(-len(criteria) // across)
    figure = _figure(9.4, down * (1.15 + 0.42 * rows))
    grid = figure.subplots(down, across, sharey=True, squeeze=False).ravel().tolist()
    for panel in grid[len(criteria) :]:
        panel.set_visible(False)
    for panel, criterion in zip(grid, criteria, strict=False):
        panel.set_title(_short(criterion["name"], 28), loc="left", color=INK)
    return figure, grid[: len(criteria)]


def _figure(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), layout="constrained")
    figure.patch.set_alpha(0)
    FigureCanvasSVG(figure)
    return figure


def _rows(panel, names: list[str], number: int = 0) -> None:
    panel.patch.set_alpha(0)
    panel.set_yticks(range(len(names)), names)
    panel.set_ylim(len(names) - 0.5, -0.5)
    panel.tick_params(axis="y", length=0, labelleft=number % PANELS == 0)
    panel.set_axisbelow(True)


def _svg(figure: Figure) -> str:
    file = io.BytesIO()
    with warnings.catch_warnings():
        # Its own font may lack a glyph of a system's name; the reader's font is what counts.
        warnings.filterwarnings("ignore", "Glyph", UserWarning)
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    return file.getvalue().decode()
