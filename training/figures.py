"""The loss curves of a run as SVG. Colours are the light theme's; `annotation.svg.themed` lets them follow a page's."""

import io
from functools import lru_cache

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
        file = io.StringIO()
        figure.savefig(file, format="svg", transparent=True, bbox_inches="tight", metadata={"Date": None})
        return file.getvalue()
