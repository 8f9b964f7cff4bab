"""A report's files. Large ones, and those that need a worker's libraries, are written with the report and stored; the
others are made of its results when they are asked for.
"""

import io
import json
import logging
import tempfile
from collections.abc import Iterator
from typing import Any

from django.core.files import File
from django.core.files.base import ContentFile
from django.http import FileResponse, Http404, HttpResponse
from django.http.response import HttpResponseBase
from django.template.loader import render_to_string
from django.utils.text import slugify

from annotation import exports
from annotation.jobs import JobStatus
from evaluation import ratings
from evaluation.models import Report, ReportFile, Study
from evaluation.reports import words
from evaluation.reports.datasheet import markdown
from evaluation.reports.documents import FIGURES, document, table_named
from evaluation.reports.methods import methods
from evaluation.reports.tables import tables

logger = logging.getLogger(__name__)

TYPES = {
    "html": "text/html; charset=utf-8",
    "pdf": "application/pdf",
    "svg": "image/svg+xml",
    "csv": "text/csv; charset=utf-8",
    "txt": "text/plain; charset=utf-8",
    "md": "text/markdown; charset=utf-8",
    "json": "application/json",
}


def write(report: Report) -> None:
    """Write what is stored. Called by a worker, with results and figures on the report."""
    from evaluation.reports import typesetting  # here, so that web processes do not load it

    shown = document(report.results, report.figures)
    _keep(report, "report.html", ContentFile(html(shown).encode()))
    with tempfile.TemporaryFile() as raw:
        text = io.TextIOWrapper(raw, encoding="utf-8", newline="")
        write_row = exports.csv_writer(text, ratings.ANONYMOUS_COLUMNS)
        for number, row in enumerate(ratings.anonymous_rows(report.study), start=1):
            write_row(row)
            if number % exports.CHUNK == 0:
                report.beat()
        text.flush()
        raw.seek(0)
        _keep(report, "ratings.csv", File(raw))
        text.detach()
    moment = report.created_at
    try:
        _keep(report, "report.pdf", ContentFile(typesetting.report(shown, moment)))
        for figure in shown["figures"]:
            name, svg = figure["name"], figure["svg"]
            _keep(report, f"{name}.pdf", ContentFile(typesetting.figure(svg, figure["caption"], moment)))
            report.beat()
    except typesetting.Failed:
        logger.exception("The PDF files of %s could not be written", report)


def _keep(report: Report, name: str, content: File) -> None:
    row, _ = ReportFile.objects.get_or_create(report=report, name=name)
    if row.file:
        row.file.delete(save=False)
    row.file.save(f"{report.pk}-{name}", content)


def html(shown: dict[str, Any]) -> str:
    """The whole report as one file that refers to nothing outside itself."""
    return render_to_string("evaluation/report_file.html", shown)


def names(report: Report) -> list[str]:
    """The files that can be had, in the order they are listed."""
    stored = set(report.files.values_list("name", flat=True))
    found: list[str] = [name for name in ("report.html", "report.pdf") if name in stored]
    for figure in (name for name in FIGURES if name in report.figures):
        found += [f"{figure}.svg", *([f"{figure}.pdf"] if f"{figure}.pdf" in stored else [])]
    found += [f"{table.name}.csv" for table in tables(report.results)]
    found += ["methods.txt", "datasheet.md"]
    return [*found, *(["ratings.csv"] if "ratings.csv" in stored else []), "codebook.csv", "results.json"]


def response(report: Report, name: str) -> HttpResponseBase:
    """A file as a download. Raises 404 where there is none."""
    kind = TYPES.get(name.rpartition(".")[2])
    if kind is None or report.status != JobStatus.FINISHED:
        raise Http404
    title = f"{slugify(report.study.name)[:60] or f'study-{report.study_id}'}-{name}"
    stored = report.files.filter(name=name).first()
    if stored is not None:
        try:
            return FileResponse(stored.file.open("rb"), as_attachment=True, filename=title, content_type=kind)
        except FileNotFoundError:
            raise Http404 from None
    content = _made(report, name)
    if content is None:
        raise Http404
    return HttpResponse(content, content_type=kind, headers={"Content-Disposition": f'attachment; filename="{title}"'})


def _made(report: Report, name: str) -> str | None:
    stem, _, ending = name.rpartition(".")
    if ending == "svg":
        return report.figures.get(stem)
    if name == "methods.txt":
        return methods(report.results) + "\n"
    if name == "datasheet.md":
        return words.bare(markdown(report.results))
    if name == "results.json":
        return json.dumps(report.results, ensure_ascii=False, indent=1)
    if name == "codebook.csv":
        return _csv(["column", "meaning"], codebook(report.study))
    if ending == "csv" and (table := table_named(report.results, stem)) is not None:
        return _csv(table.columns, table.rows)
    return None


def _csv(columns: list[str], rows: Any) -> str:
    text = io.StringIO()
    write_row = exports.csv_writer(text, columns)
    for row in rows:
        write_row(row)
    return text.getvalue()


def codebook(study: Study) -> Iterator[dict[str, str]]:
    """What each column of ratings.csv means, and each level of each criterion."""
    for column in ratings.ANONYMOUS_COLUMNS:
        yield {"column": column, "meaning": ratings.MEANING[column]}
    if not study.asks_criteria:
        return
    for criterion in study.criteria.all():
        yield {"column": f"criterion = {criterion.key}", "meaning": f"{criterion.name}: {criterion.question}"}
        for level, anchor in enumerate(criterion.anchors, start=1):
            yield {"column": f"criterion = {criterion.key}, value = {level}", "meaning": anchor}
