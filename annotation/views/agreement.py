"""The lead's and the trainer's page about agreement, its figures and its downloads."""

import io
from typing import Any

from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.utils.text import slugify
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET

from annotation import access, agreement, agreement_data, agreement_report
from annotation.agreement_data import FILTERS, Filters
from annotation.exports import csv_writer
from annotation.models import Project, Role

LABELS = {
    "since": "From",
    "until": "To",
    "target_group": "Target group",
    "language": "Language",
    "source": "Source",
    "first": "Annotator",
    "second": "Against",
    "figure": "Coefficient over time",
}
NO_COURSE = "A course over time needs two periods with enough texts."


def _project(request: HttpRequest, pk: int) -> Project:
    return access.project_for(request.user, pk, Role.LEAD, Role.TRAINER)


def _query(request: HttpRequest, **more: str) -> str:
    """The filters of this page, and what else is chosen, as the query of another address."""
    query = request.GET.copy()
    for name in list(query):
        if name not in (*FILTERS, "figure", "dimension") or not query[name]:
            del query[name]
    for name, value in more.items():
        query[name] = value
    return query.urlencode()


@never_cache
@require_GET
def page(request: HttpRequest, pk: int) -> HttpResponse:
    """Agreement per dimension, over time, between two annotators, and of the marks."""
    project = _project(request, pk)
    figure = request.GET.get("figure") or agreement_report.DEFAULT_FIGURE
    errors: list[tuple[str, str]] = []
    report: dict[str, Any] | None = None
    try:
        report = agreement_report.build(project, agreement_data.clean_filters(project, request.GET), figure)
    except ValidationError as error:
        errors = [(name, text) for name, texts in error.message_dict.items() for text in texts]
    context: dict[str, Any] = {
        "project": project,
        "errors": [(LABELS[name], text) for name, text in errors],
        "wrong": {name for name, _ in errors},
        "chosen": {name: request.GET.get(name, "") for name in FILTERS},
        "filtered": any(request.GET.get(name) for name in FILTERS),
        "choices": agreement_data.choices(project),
        "annotators": agreement_data.annotators(project).values_list("username", flat=True),
        "query": _query(request),
        "figure": figure,
    }
    if report:
        from annotation import agreement_figures  # here: it loads matplotlib

        confusions = [row for row in report["dimensions"] if "confusion" in row]
        context |= {
            "report": report,
            "names": agreement.NAMES,
            "columns": [(key, name) for key, name in agreement.NAMES.items() if _has(report, key)],
            "figures": [
                {"key": key, "name": name, "query": _query(request, figure=key), "current": key == figure}
                for key, name in agreement.NAMES.items()
                if _has(report, key)
            ],
            "drift": agreement_figures.drift(report),
            "drift_rows": _by_time(report["drift"]),
            "confusions": [{"row": row, "figure": agreement_figures.confusion(row)} for row in confusions],
            "whole_query": _query(request, first="", second=""),
        }
    return render(request, "annotation/agreement.html", context, status=422 if errors else 200)


def _by_time(drift: dict[str, Any]) -> list[dict[str, Any]]:
    """The course over time with a row a step, for the table."""
    columns = zip(*(row["points"] for row in drift["dimensions"]), strict=True)
    return [{"from": points[0]["from"], "to": points[0]["to"], "points": points} for points in columns]


def _has(report: dict[str, Any], key: str) -> bool:
    return any(one["key"] == key for row in report["dimensions"] for one in row["coefficients"])


def _cleaned(request: HttpRequest, project: Project) -> Filters:
    """The filters of a request for a part of the page; those of the page itself are shown with their errors there."""
    try:
        return agreement_data.clean_filters(project, request.GET)
    except ValidationError as error:
        raise Http404("; ".join(error.messages)) from None


@never_cache
@require_GET
def pairs(request: HttpRequest, pk: int) -> HttpResponse:
    """Every two annotators, for one dimension: a part of the page that comes after it, or a page without scripts."""
    project = _project(request, pk)
    filters = _cleaned(request, project)
    dimensions = list(project.dimensions.all())
    wanted = request.GET.get("dimension") or (dimensions[0].key if dimensions else "")
    dimension = next((one for one in dimensions if one.key == wanted), None)
    if dimension is None:
        raise Http404
    rows = agreement_report.pairs(project, filters, dimension)
    for row in rows["pairs"]:
        row["query"] = _query(request, first=row["first"], second=row["second"], dimension="")
    context = {
        "project": project,
        "found": rows,
        "tabs": [
            {"name": one.name, "query": _query(request, dimension=one.key), "current": one.key == wanted}
            for one in dimensions
        ],
    }
    whole = not request.htmx  # type: ignore[attr-defined]
    return render(request, f"annotation/{'agreement_pairs' if whole else '_agreement_pairs'}.html", context)


@never_cache
@require_GET
def download(request: HttpRequest, pk: int, ending: str) -> HttpResponse:
    """The agreement table as CSV, or everything on the page as JSON."""
    project = _project(request, pk)
    figure = request.GET.get("figure") or agreement_report.DEFAULT_FIGURE
    try:
        report = agreement_report.build(project, _cleaned(request, project), figure)
    except ValidationError as error:
        raise Http404("; ".join(error.messages)) from None
    if ending == "json":
        response: HttpResponse = JsonResponse(report, json_dumps_params={"ensure_ascii": False, "indent": 1})
    elif ending == "csv":
        file = io.StringIO()
        write = csv_writer(file, agreement_report.COLUMNS)
        for row in agreement_report.rows(report):
            write(row)
        response = HttpResponse(file.getvalue(), content_type="text/csv; charset=utf-8")
    else:
        raise Http404
    response["Content-Disposition"] = f'attachment; filename="{_file_name(project)}.{ending}"'
    return response


@never_cache
@require_GET
def figure(request: HttpRequest, pk: int, name: str) -> HttpResponse:
    """A figure as SVG: `drift`, or the key of a dimension for the confusion of two annotators."""
    project = _project(request, pk)
    filters = _cleaned(request, project)
    try:
        chosen = request.GET.get("figure") or agreement_report.DEFAULT_FIGURE
        report = agreement_report.build(project, filters, chosen)
    except ValidationError as error:
        raise Http404("; ".join(error.messages)) from None
    from annotation import agreement_figures

    source = ""
    if name == "drift":
        source = agreement_figures.drift(report) or agreement_figures.nothing(
            "A course over time needs two periods with enough texts."
        )
    elif row := next((row for row in report["dimensions"] if row["key"] == name and "confusion" in row), None):
        source = agreement_figures.confusion(row)
    if not source:
        raise Http404
    response = HttpResponse(source, content_type="image/svg+xml")
    response["Content-Disposition"] = f'attachment; filename="{_file_name(project)}-{name}.svg"'
    return response


def _file_name(project: Project) -> str:
    return f"{slugify(project.name)[:60] or f'project-{project.pk}'}-agreement"
