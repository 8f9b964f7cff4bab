"""Imports and exports: start one, watch it, fetch what it made."""

import csv
from collections.abc import Iterator

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import FileResponse, HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from annotation import access, exports, imports
from annotation.forms import ExportForm, ImportForm, show_errors
from annotation.jobs import Job, JobStatus
from annotation.mapping_form import MappingForm
from annotation.models import Export, ItemImport, RejectedRow, Review, Role
from annotation.pagination import page_by_id

# Imports


def import_list(request: HttpRequest, pk: int) -> HttpResponse:
    """Upload a file of texts; earlier imports below."""
    project = access.project_for(request.user, pk, Role.LEAD)
    form = ImportForm(request.POST or None, request.FILES or None)
    if request.method == "POST" and form.is_valid():
        try:
            job = imports.upload(
                project,
                request.user,
                form.cleaned_data["file"],
                file_format=form.cleaned_data["file_format"],
                with_pairs=form.cleaned_data["with_pairs"],
                review=form.cleaned_data["review"] or Review.AUTO,
            )
        except ValidationError as error:
            show_errors(form, error)
        else:
            return redirect(job)
    earlier = ItemImport.objects.filter(project=project).select_related("created_by")
    context = {
        "project": project,
        "form": form,
        "page": page_by_id(earlier, request.GET.get("after"), size=20, descending=True),
        "dimensions": project.dimensions.all(),
    }
    return render(request, "annotation/imports.html", context, status=422 if form.errors else 200)


def _import(request: HttpRequest, pk: int) -> ItemImport:
    return access.object_for(request.user, ItemImport.objects.select_related("project"), pk, Role.LEAD)


@never_cache
def import_page(request: HttpRequest, pk: int) -> HttpResponse:
    """How an import stands, what it brought, and every row it left out; while it is paused, what its columns mean."""
    job = _import(request, pk)
    form = None
    if job.is_paused and job.inspection:
        form = MappingForm(request.POST or None, job=job)
        if request.method == "POST" and form.is_valid():
            try:
                imports.confirm(job, form.mapping())
            except ValidationError as error:
                show_errors(form, error)
            else:
                return redirect(job)
    elif request.method == "POST":
        messages.info(request, "This import does not wait for an answer any more.")
        return redirect(job)
    context = {
        "project": job.project,
        "job": job,
        "form": form,
        "findings": imports.findings_in_words(job),
        "progress_url": reverse("annotation:import-progress", args=[pk]),
        "page": page_by_id(job.rejected_rows.all(), request.GET.get("after"), size=100),
    }
    return render(request, "annotation/import.html", context, status=422 if form and form.errors else 200)


@never_cache
@require_GET
def import_progress(request: HttpRequest, pk: int) -> HttpResponse:
    return _progress(request, _import(request, pk), "annotation:import-progress")


@require_POST
def import_cancel(request: HttpRequest, pk: int) -> HttpResponse:
    return _cancel(request, _import(request, pk))


@require_GET
def import_rejected(request: HttpRequest, pk: int) -> StreamingHttpResponse:
    """Every rejected row as CSV."""
    job = _import(request, pk)
    response = StreamingHttpResponse(rejected_csv(job), content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="import-{job.pk}-rejected.csv"'
    return response


def rejected_csv(job: ItemImport) -> Iterator[str]:
    """Lines of a CSV, safe for spreadsheets, straight from the database."""
    columns = ["row", "field", "reason", "excerpt"]
    writer = csv.writer(_Echo())
    yield writer.writerow(columns)
    rows = RejectedRow.objects.filter(item_import=job).order_by("pk").values_list(*columns)
    for row in rows.iterator(chunk_size=2_000):
        yield writer.writerow([exports.spreadsheet_cell(value) for value in row])


class _Echo:
    """Gives csv.writer's lines back instead of keeping them."""

    def write(self, line: str) -> str:
        return line


# Exports


def export_list(request: HttpRequest, pk: int) -> HttpResponse:
    """Ask for a file; earlier ones below."""
    project = access.project_for(request.user, pk, Role.LEAD, Role.TRAINER)
    kinds = exports.kinds_for(access.require(request.user, pk, *Role.values))
    data = request.POST if request.method == "POST" else None
    form = ExportForm(data, project=project, kinds=kinds, initial={"status": "approved", "kind": "pairs"})
    if data is not None and form.is_valid():
        try:
            export = exports.create(project, request.user, **form.request())
        except ValidationError as error:
            show_errors(form, error)
        else:
            return redirect(export)
    earlier = Export.objects.filter(project=project, kind__in=[exporter.kind for exporter in kinds])
    context = {
        "project": project,
        "form": form,
        "page": page_by_id(earlier.select_related("created_by"), request.GET.get("after"), size=20, descending=True),
    }
    return render(request, "annotation/exports.html", context, status=422 if form.errors else 200)


def _export(request: HttpRequest, pk: int) -> Export:
    export = access.object_for(request.user, Export.objects.select_related("project"), pk)
    exports.check_allowed(request.user, export)
    return export


@never_cache
@require_GET
def export_page(request: HttpRequest, pk: int) -> HttpResponse:
    job = _export(request, pk)
    context = {
        "project": job.project,
        "job": job,
        "kind": exports.KINDS[job.kind],
        "format": exports.FORMATS[job.file_format],
        "progress_url": reverse("annotation:export-progress", args=[pk]),
    }
    return render(request, "annotation/export.html", context)


@never_cache
@require_GET
def export_progress(request: HttpRequest, pk: int) -> HttpResponse:
    return _progress(request, _export(request, pk), "annotation:export-progress")


@require_POST
def export_cancel(request: HttpRequest, pk: int) -> HttpResponse:
    return _cancel(request, _export(request, pk))


@require_GET
def export_download(request: HttpRequest, pk: int) -> FileResponse:
    """The file, streamed from the storage."""
    return exports.download(_export(request, pk))


# Both


def _progress(request: HttpRequest, job: Job, name: str) -> HttpResponse:
    context = {"job": job, "progress_url": reverse(name, args=[job.pk])}
    response = render(request, "_job.html", context)
    if not job.is_active:
        response["HX-Refresh"] = "true"  # what the job made is on the page around this
    return response


def _cancel(request: HttpRequest, job) -> HttpResponse:
    job.request_cancel()
    if job.status != JobStatus.CANCELLED and job.is_active:
        messages.info(request, "Stopping: nothing that this job did will stay.")
    return redirect(job)
