"""The figure of a power analysis, drawn in a worker."""

from typing import Any

from matplotlib import rc_context

from evaluation.figures import ACCENT, INK, LINE, MUTED, STYLE, WARN, _figure, _svg

# Told apart without colour too: a line each, with its own mark and dashes.
LINES = [("o", "-", ACCENT), ("s", "--", INK), ("^", "-.", WARN), ("D", ":", MUTED)]
TITLES = {"superiority": "Finding the difference", "noninferiority": "Showing non-inferiority"}


def power(wanted: dict[str, Any], results: dict[str, Any]) -> str:
    """Power over the number of texts, a line for each number of ratings, with Monte Carlo intervals."""
    goals = [goal for goal in TITLES if wanted["goal"] in (goal, "both")]
    with rc_context(STYLE):
        figure = _figure(9, 4.0)
        panels = figure.subplots(1, len(goals), sharey=True, squeeze=False)[0]
        for panel, goal in zip(panels, goals, strict=True):
            for number, each in enumerate(wanted["ratings_per_output"]):
                mark, line, colour = LINES[number % len(LINES)]
                rows = [row for row in results["table"] if row["ratings_per_output"] == each]
                at = [row["items"] for row in rows]
                middle = [100 * row[goal][0] for row in rows]
                ends = [
                    [100 * (row[goal][0] - row[goal][1]) for row in rows],
                    [100 * (row[goal][2] - row[goal][0]) for row in rows],
                ]
                label = "1 rating of each output" if each == 1 else f"{each} ratings"
                panel.errorbar(
                    at, middle, yerr=ends, marker=mark, linestyle=line, color=colour, label=label, linewidth=1.6,
                    markersize=5, elinewidth=1, capsize=2,
                )  # fmt: skip
            panel.axhline(100 * wanted["target"], color=MUTED, linewidth=1, linestyle=(0, (1, 2)))
            panel.patch.set_alpha(0)
            panel.set_ylim(0, 102)
            panel.set_xlabel("Texts")
            panel.set_title(TITLES[goal], loc="left", color=INK)
            panel.grid(axis="y", color=LINE, linewidth=0.8)
            panel.set_axisbelow(True)
        panels[0].set_ylabel("Power in %")
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, frameon=False, loc="outside lower center", ncols=min(4, len(labels)))
        return _svg(figure)
