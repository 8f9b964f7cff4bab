"""The report of a study: the page, its files, and what can be asked of it."""

from typing import Any

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from annotation import access, exports
from annotation.jobs import JobStatus
from annotation.models import Role
from evaluation import studies
from evaluation.models import Report, Study
from evaluation.reports import files
from evaluation.reports.datasheet import datasheet
from evaluation.reports.documents import document
from evaluation.views.jobs import job_partial

READERS = (Role.LEAD, Role.TRAINER)


def _study(request: HttpRequest, pk: int, *roles: str) -> Study:
    return access.object_for(request.user, Study.objects.select_related("project", "reference"), pk, *roles)


@require_GET
def report(request: HttpRequest, pk: int) -> HttpResponse:
    """What the study found. Before it is closed the page says why there is nothing."""
    study = _study(request, pk, *READERS)
    context: dict[str, Any] = {"project": study.project, "study": study}
    if study.is_closed:
        studies.check_results(request.user, study)
        newest = study.reports.defer("results", "figures").first()
        finished = study.reports.filter(status=JobStatus.FINISHED).first()
        roles = access.roles_in(request.user, study.project_id)
        context |= {
            "job": newest if newest != finished else None,
            "report": finished,
            "may_manage": request.user.is_superuser or Role.LEAD in roles,
            "may_train": request.user.is_superuser or Role.TRAINER in roles,
        }
        if finished and finished.results.get("format"):
            names = files.names(finished)
            context |= document(finished.results, finished.figures) | {
                "results": finished.results,
                "files": set(names),
                "sheet": datasheet(finished.results),
                "pdf_missing": "report.pdf" not in names,
            }
        if newest:
            context["progress_url"] = reverse("evaluation:report-progress", args=[newest.pk])
    return render(request, "evaluation/report.html", context)


@require_POST
def report_again(request: HttpRequest, pk: int) -> HttpResponse:
    """Compute the report once more."""
    study = _study(request, pk, Role.LEAD)
    studies.check_results(request.user, study)
    try:
        studies.request_report(study, request.user)
    except ValidationError as error:
        messages.error(request, error.messages[0])
    return redirect("evaluation:report", study.pk)


@require_GET
def report_progress(request: HttpRequest, pk: int) -> HttpResponse:
    job = access.object_for(request.user, Report.objects.defer("results", "figures"), pk, *READERS)
    return job_partial(request, job, reverse("evaluation:report-progress", args=[job.pk]))


@require_GET
def report_file(request: HttpRequest, pk: int, name: str) -> HttpResponseBase:
    """A file of the report as a download (`reports.files`)."""
    found = access.object_for(request.user, Report.objects.select_related("study"), pk, *READERS)
    studies.check_results(request.user, found.study)
    return files.response(found, name)


@require_POST
def export_ratings(request: HttpRequest, pk: int) -> HttpResponse:
    """Write the ratings of a closed study to a file."""
    study = _study(request, pk, *READERS)
    wanted = request.POST.get("format", "csv")
    try:
        return redirect(
            exports.create(study.project, request.user, kind="ratings", file_format=wanted, filters={"study": study.pk})
        )
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
        return redirect("evaluation:report", study.pk)
