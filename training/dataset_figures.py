"""What is in a dataset, counted once in SQL when it is frozen, and its charts as SVG."""

# ruff: noqa: S608 - only names of columns of ours stand in the queries; every value is a parameter

import io
import json
from functools import lru_cache
from typing import Any

from matplotlib import rc_context
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from training.figures import ACCENT, LINE, MUTED, STYLE, WARN
from training.models import Split

BINS = 24
LISTED = 30  # most frequent target groups and sources that are named; the rest are counted together
SHORT = 3  # words: a rewrite with fewer is worth a look
PARTS = ("text", "rewrite", "rejected")
UNITS = ("characters", "words")
COLOURS = {Split.TRAIN: ACCENT, Split.VALIDATION: MUTED, Split.TEST: WARN}


def count(cursor) -> dict[str, Any]:
    """Figures of the rows in frozen_split and frozen_row (see datasets.freeze).

    labels: dimension -> level -> split -> rows. target_groups, sources: [name, {split: rows}] most frequent first,
    "" for none; `others` how many more names there are. lengths: part -> unit -> the quartiles, the largest, and a
    histogram: `edges` of BINS bins up to the 99th percentile, the last bin holding what is longer, and `counts`.
    unchanged: rows whose rewrite is the text itself. short: rows whose rewrite has fewer than SHORT words.
    """
    cursor.execute(
        """
        SELECT label.key, label.value, split, count(*) FROM frozen_split JOIN frozen_row USING (id)
        CROSS JOIN LATERAL jsonb_each_text(labels) AS label GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
        """
    )
    labels: dict[str, dict[str, dict[str, int]]] = {}
    for key, level, split, rows in cursor.fetchall():
        labels.setdefault(key, {}).setdefault(level, {})[split] = rows
    cursor.execute(
        """
        CREATE TEMPORARY TABLE frozen_length AS
        SELECT part.name, length(part.content) AS characters,
            cardinality(regexp_split_to_array(btrim(part.content, E' \\t\\n\\u00a0'), E'\\\\s+')) AS words
        FROM frozen_row CROSS JOIN LATERAL (
            VALUES ('text', text), ('rewrite', rewrite), ('rejected', rejected)
        ) AS part (name, content) WHERE part.name <> 'rejected' OR part.content <> ''
        """
    )
    lengths = {part: {unit: _lengths(cursor, part, unit) for unit in UNITS} for part in PARTS}
    cursor.execute("SELECT count(*) FROM frozen_length WHERE name = 'rewrite' AND words < %s", [SHORT])
    short = cursor.fetchone()[0]
    cursor.execute("SELECT count(*) FROM frozen_row WHERE text = rewrite")
    unchanged = cursor.fetchone()[0]
    return {
        "labels": labels,
        "target_groups": _named(cursor, "target_group"),
        "sources": _named(cursor, "source"),
        "lengths": {part: found for part, found in lengths.items() if found["characters"]},
        "short": short,
        "unchanged": unchanged,
    }


def _named(cursor, column: str) -> dict[str, Any]:
    cursor.execute(
        f"""
        SELECT {column}, split, count(*) FROM frozen_split JOIN frozen_row USING (id)
        WHERE {column} IN (
            SELECT {column} FROM frozen_row GROUP BY 1 ORDER BY count(*) DESC, {column} COLLATE "C" LIMIT %s
        ) GROUP BY 1, 2
        """,
        [LISTED],
    )
    found: dict[str, dict[str, int]] = {}
    for name, split, rows in cursor.fetchall():
        found.setdefault(name, {})[split] = rows
    cursor.execute(f"SELECT count(DISTINCT {column}) FROM frozen_row")
    listed = sorted(found.items(), key=lambda row: (-sum(row[1].values()), row[0]))
    return {"named": [[name, splits] for name, splits in listed], "others": cursor.fetchone()[0] - len(found)}


def _lengths(cursor, part: str, unit: str) -> dict[str, Any]:
    cursor.execute(
        f"""
        SELECT percentile_disc(ARRAY[0.25, 0.5, 0.75, 0.99]) WITHIN GROUP (ORDER BY {unit}), max({unit})
        FROM frozen_length WHERE name = %s
        """,
        [part],
    )
    quartiles, longest = cursor.fetchone()
    if longest is None:
        return {}
    low, median, high, most = quartiles
    width = max(1, -(-(most + 1) // BINS))  # whole numbers, so that every bin holds as many of them
    cursor.execute(
        f"SELECT least({unit} / %s, %s), count(*) FROM frozen_length WHERE name = %s GROUP BY 1",
        [width, BINS - 1, part],
    )
    found = dict(cursor.fetchall())
    return {
        "quartiles": [low, median, high],
        "longest": longest,
        "width": width,
        "counts": [found.get(number, 0) for number in range(BINS)],
    }


# Charts


def balance(figures: dict[str, Any], dimension: str, levels: list[str]) -> str:
    """Share of each level in each split, as bars; "" where no row has a label of the dimension."""
    return _balance(json.dumps(figures.get("labels", {}).get(dimension, {}), sort_keys=True), tuple(levels))


@lru_cache(maxsize=128)
def _balance(found: str, levels: tuple[str, ...]) -> str:
    counts = json.loads(found)
    if not counts:
        return ""
    totals = {split: sum(row.get(split, 0) for row in counts.values()) for split in Split.values}
    splits = [split for split in Split.values if totals[split]]
    names = [level for level in levels if level in counts] + sorted(set(counts) - set(levels))
    with rc_context(STYLE):
        figure = Figure(figsize=(5.2, 0.5 + 0.52 * len(names)))
        FigureCanvasSVG(figure)
        panel = figure.subplots()
        height = 0.8 / len(splits)
        for number, split in enumerate(splits):
            shares = [100 * counts[name].get(split, 0) / totals[split] for name in names]
            places = [place + (number - (len(splits) - 1) / 2) * height for place in range(len(names))]
            panel.barh(places, shares, height * 0.86, color=COLOURS[Split(split)], label=split)
        panel.set_yticks(range(len(names)), [_plain(name) for name in names])
        panel.invert_yaxis()
        panel.set_xlabel("% of the split")
        panel.set_xlim(left=0)
        panel.tick_params(axis="y", length=0)
        panel.grid(axis="x", color=LINE, linewidth=0.8)
        panel.set_axisbelow(True)
        panel.legend(frameon=False, labelcolor=MUTED, loc="upper left", bbox_to_anchor=(1, 1.02))
        return _svg(figure)


def lengths(figures: dict[str, Any], unit: str) -> str:
    """Histograms of how long the texts and their outputs are; "" where there are none."""
    found = {part: row[unit] for part, row in figures.get("lengths", {}).items() if row.get(unit)}
    return _histograms(json.dumps(found, sort_keys=True), unit) if found else ""


@lru_cache(maxsize=64)
def _histograms(found: str, unit: str) -> str:
    parts = {part: row for part in PARTS if (row := json.loads(found).get(part))}
    with rc_context(STYLE):
        figure = Figure(figsize=(3.1 * len(parts), 2.3))
        FigureCanvasSVG(figure)
        for panel, (part, row) in zip(figure.subplots(1, len(parts), squeeze=False)[0], parts.items(), strict=True):
            edges = [number * row["width"] for number in range(BINS)]
            panel.bar(edges, row["counts"], row["width"] * 0.92, align="edge", color=ACCENT)
            panel.axvline(row["quartiles"][1], color=WARN, linewidth=1.5, linestyle="--")
            panel.set_title(f"{part}, median {row['quartiles'][1]:,}", fontsize=10, color=MUTED, loc="left")
            panel.set_xlabel(unit)
            panel.set_xlim(0, BINS * row["width"])
            panel.xaxis.set_major_locator(MaxNLocator(5, integer=True))
            panel.yaxis.set_major_locator(MaxNLocator(4, integer=True))
            panel.grid(axis="y", color=LINE, linewidth=0.8)
            panel.set_axisbelow(True)
        figure.tight_layout()
        return _svg(figure)


def _plain(name: str) -> str:
    """A level's name as matplotlib shows it letter by letter: a dollar sign would start a formula."""
    return name.replace("$", r"\$")


def _svg(figure: Figure) -> str:
    file = io.StringIO()
    figure.savefig(file, format="svg", transparent=True, bbox_inches="tight", metadata={"Date": None})
    return file.getvalue()
