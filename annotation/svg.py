"""Figures inside a page: their colours follow the reader's theme. Nothing here draws."""

import re

# Colour in a figure -> name in the style sheet.
COLOURS = {
    "#1d2126": "--ink",
    "#626a73": "--muted",
    "#dedad2": "--line",
    "#1f5f5b": "--accent",
    "#9a5b00": "--warn",
}
ON_ACCENT = "#fffffe"  # text on the accent: almost white, so that nothing else has this colour


def themed(svg: str) -> str:
    """The figure for use inside a page: no prologue, no ids that two figures would share, colours of the
    theme.
    """
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r' id="[a-z]+[a-z0-9]*_\d+"', "", svg)
    for colour, name in (COLOURS | {ON_ACCENT: "--accent-ink"}).items():
        svg = svg.replace(colour, f"var({name})")
    return svg
