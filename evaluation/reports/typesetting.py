"""PDF of a report and of its figures, set by Typst. Texts reach it as data, never as markup."""

import json
import shutil
import tempfile
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import matplotlib
import typst

from evaluation.reports.tables import Table

SOURCE = Path(__file__).with_name("report.typ")
FIGURE = """
#set page(width: auto, height: auto, margin: 0pt, fill: none)
#image("figure.svg", alt: sys.inputs.alt)
"""


class Failed(Exception):
    """Typst could not set the document."""


@cache
def _fonts() -> typst.Fonts:
    """Those of the machine, Typst's own, and the sans serif that figures are drawn with.

    Not the whole folder it comes from: a font of placeholders for every character lies beside it.
    """
    return typst.Fonts(font_paths=[_sans_serif().name])


@cache
def _sans_serif() -> tempfile.TemporaryDirectory:
    """A folder with it, there as long as this process: fonts are read when they are used."""
    folder = tempfile.TemporaryDirectory()
    for font in (Path(matplotlib.get_data_path()) / "fonts" / "ttf").glob("DejaVuSans*.ttf"):
        shutil.copy(font, folder.name)
    return folder


def report(shown: dict[str, Any], moment: datetime) -> bytes:
    """The report as PDF.

    Args:
        shown: `documents.document`. moment: when it was made, for the file's own record.
    """
    with tempfile.TemporaryDirectory() as folder:
        for figure in shown["figures"]:
            (Path(folder) / f"{figure['name']}.svg").write_text(figure["svg"])
        (Path(folder) / "report.typ").write_text(SOURCE.read_text())
        content = {
            **shown,
            "figures": [{key: figure[key] for key in ("name", "title", "caption")} for figure in shown["figures"]],
            "tables": [_table(table) for table in shown["tables"]],
        }
        return _compile(Path(folder) / "report.typ", {"report": json.dumps(content)}, moment)


def figure(svg: str, alt: str, moment: datetime) -> bytes:
    """A figure as PDF, as large as it is."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "figure.svg").write_text(svg)
        (Path(folder) / "figure.typ").write_text(FIGURE)
        return _compile(Path(folder) / "figure.typ", {"alt": alt}, moment)


def _table(table: Table) -> dict[str, Any]:
    return {name: getattr(table, name) for name in ("title", "note", "head", "body", "right")}


def _compile(path: Path, inputs: dict[str, str], moment: datetime) -> bytes:
    try:
        compiler = typst.Compiler(str(path), root=str(path.parent), font_paths=_fonts(), sys_inputs=inputs)
        written = compiler.compile(format="pdf", timestamp=int(moment.timestamp()))
    except (RuntimeError, ValueError) as error:
        raise Failed(f"{error} {getattr(error, 'diagnostic', '')}") from error
    assert isinstance(written, bytes)
    return written
