"""The curves of runs as SVG. Colours are the light theme's; `annotation.svg.themed` lets them follow a page's."""

import io
from functools import lru_cache
from typing import Any

from matplotlib import rc_context
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from annotation.svg import COLOURS

Curve = tuple[tuple[int, float], ...]

INK, MUTED, LINE, ACCENT, WARN = COLOURS
STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "redress",
    "font.size": 10,
    "font.family": "sans-serif",
    "axes.edgecolor": LINE,
    "axes.labelcolor": MUTED,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


@lru_cache(maxsize=64)  # every viewer of a run asks for the same figure every other second
def loss(train: Curve, validation: Curve) -> str:
    """Training and validation loss by step; "" before the first point.

    Args:
        train, validation: (step, mean cross-entropy per token in nats), in order of step.
    """
    if not train and not validation:
        return ""
    with rc_context(STYLE):
        figure = Figure(figsize=(7, 3))
        FigureCanvasSVG(figure)
        panel = figure.subplots()
        # Where both curves end close together, the higher one's name stands above its end, the other's below.
        ends = [points[-1][1] for points in (train, validation) if points]
        for points, colour, style, name in (
            (train, ACCENT, "-", "train"),
            (validation, WARN, "--", "validation"),
        ):
            if points:
                steps, values = zip(*points, strict=True)
                panel.plot(steps, values, style, color=colour, linewidth=2, marker="o" if len(points) < 25 else "")
                shift = 0 if len(ends) < 2 else 7 if values[-1] == max(ends) else -7
                panel.annotate(
                    f"{name} {values[-1]:.2f}", (steps[-1], values[-1]), xytext=(8, shift),
                    textcoords="offset points", color=colour, va="center", annotation_clip=False,
                )  # fmt: skip
        panel.set_xlabel("step")
        panel.xaxis.set_major_locator(MaxNLocator(integer=True))
        panel.set_ylabel("loss")
        panel.grid(axis="y", color=LINE, linewidth=0.8)
        panel.margins(x=0.02)
        return _svg(figure)


@lru_cache(maxsize=64)
def pace(learning_rate: Curve, tokens_per_second: Curve) -> str:
    """Learning rate, and useful tokens per second, by step, side by side; "" before the first point.

    Args:
        learning_rate: (step, rate). tokens_per_second: (step, tokens); may be empty.
    """
    panels = [
        (points, name)
        for points, name in ((learning_rate, "learning rate"), (tokens_per_second, "tokens per second"))
        if points
    ]
    if not panels:
        return ""
    with rc_context(STYLE):
        figure = Figure(figsize=(8.5, 1.7))
        FigureCanvasSVG(figure)
        for panel, (points, name) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
            steps, values = zip(*points, strict=True)
            panel.plot(steps, values, color=ACCENT, linewidth=1.5, marker="o" if len(points) == 1 else "")
            panel.set_title(name, fontsize=10, color=MUTED, loc="left")
            panel.xaxis.set_major_locator(MaxNLocator(4, integer=True))
            panel.yaxis.set_major_locator(MaxNLocator(3))
            panel.ticklabel_format(axis="y", style="sci", scilimits=(-3, 5))
            panel.set_ylim(bottom=0)
            panel.grid(axis="y", color=LINE, linewidth=0.8)
        return _svg(figure)


# Told apart by more than their colour: dashes too, and names at their ends.
LOOKS = [(ACCENT, "-"), (WARN, "--"), (INK, ":"), (MUTED, "-"), (ACCENT, "-."), (WARN, ":")]


@lru_cache(maxsize=32)
def compared(curves: tuple[tuple[str, Curve, Curve], ...]) -> str:
    """Validation and training loss of several runs by step, laid over each other; "" where none has a point.

    Args:
        curves: (name, training points, validation points) of each run; at most as many as LOOKS.
    """
    panels = [
        (name, [(run, points[which], look) for run, *points, look in _looks(curves) if points[which]])
        for which, name in ((1, "validation loss"), (0, "training loss"))
    ]
    panels = [(name, runs) for name, runs in panels if runs]
    if not panels:
        return ""
    with rc_context(STYLE):
        figure = Figure(figsize=(9, 3.2))
        FigureCanvasSVG(figure)
        handles: dict[str, Any] = {}
        for panel, (name, runs) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
            for run, points, (colour, style) in runs:
                steps, values = zip(*points, strict=True)
                (line,) = panel.plot(
                    steps, values, style, color=colour, linewidth=1.8, marker="o" if len(points) < 12 else "", ms=4
                )
                handles.setdefault(run, line)
            panel.set_title(name, fontsize=10, color=MUTED, loc="left")
            panel.set_xlabel("step")
            panel.xaxis.set_major_locator(MaxNLocator(5, integer=True))
            panel.grid(axis="y", color=LINE, linewidth=0.8)
        # A name is data: a dollar sign in it starts no formula.
        names = [name.replace("$", r"\$") for name in handles]
        legend = figure.legend(handles.values(), names, loc="upper center", bbox_to_anchor=(0.5, 0.0), ncols=2)
        legend.set_frame_on(False)
        for text in legend.get_texts():
            text.set_color(INK)
        return _svg(figure)


def _looks(curves: tuple[tuple[str, Curve, Curve], ...]) -> list[tuple[str, Curve, Curve, tuple[str, str]]]:
    return [(*curve, look) for curve, look in zip(curves, LOOKS, strict=False)]


def _svg(figure: Figure) -> str:
    file = io.StringIO()
    figure.savefig(file, format="svg", transparent=True, bbox_inches="tight", metadata={"Date": None})
    return file.getvalue()
