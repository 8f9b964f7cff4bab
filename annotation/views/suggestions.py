"""Suggestions of models, for leads: set them up, ask for them, see what came back and what they do to people."""

from typing import Any

from django.conf import settings as site
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from annotation import access, suggesters, suggestion_prompts, suggestions
from annotation.forms import SuggestionSettingsForm, show_errors
from annotation.jobs import ACTIVE, JobStatus
from annotation.models import (
    Project,
    Role,
    Suggestion,
    SuggestionJob,
    SuggestionPrompt,
    SuggestionReport,
    SuggestionScope,
    SuggestionStatus,
)
from annotation.pagination import page_by_id

EXAMPLES = 3


@never_cache
@require_GET
def overview(request: HttpRequest, pk: int) -> HttpResponse:
    """How suggestions stand: settings, answers, malformed ones, and the newest report."""
    project = access.project_for(request.user, pk, Role.LEAD)
    row = suggestions.settings_of(project)
    context: dict[str, Any] = {"project": project, "settings": row, "currency": site.CURRENCY}
    if row is not None:
        job = SuggestionJob.objects.filter(project=project).select_related("prompt").first()
        context |= _limits(project, row) | {
            "source": suggesters.source_of(project.pk, row.prompt.source_kind, row.prompt.source_id),
            "job": job,
            "job_progress": reverse("annotation:suggestion-job-progress", args=[job.pk]) if job else "",
            "scopes": [
                {"value": scope, "label": label, "n": suggestions.wanting(project.pk, row.prompt, scope).count()}
                for scope, label in SuggestionScope.choices
            ],
            "malformed": _answers(project, SuggestionStatus.MALFORMED)[:EXAMPLES],
            "prompts": project.suggestion_prompts.select_related("created_by")[:20],
        }
        context |= _report(project)
    else:
        context["sources"] = suggesters.sources_for(project)
    return render(request, "annotation/suggestions.html", context)


def _limits(project: Project, row) -> dict[str, Any]:
    """Answers by status, and how much of the budget is used."""
    counts = suggestions.counts(project.pk)
    tokens = counts["input_tokens"] + counts["output_tokens"]
    shares = []
    if row.budget:
        shares.append(100 * counts["cost"] / row.budget)
    if row.budget_tokens:
        shares.append(100 * tokens / row.budget_tokens)
    return {"counts": counts, "tokens": tokens, "budget_percent": round(min(100, max(shares))) if shares else None}


def _answers(project: Project, status: str | None):
    rows = Suggestion.objects.filter(project=project).select_related("item", "prompt")
    return (rows.filter(status=status) if status else rows).order_by("-pk")


def _report(project: Project) -> dict[str, Any]:
    reports = SuggestionReport.objects.filter(project=project).select_related("prompt")
    newest, finished = reports.defer("figure").first(), reports.filter(status=JobStatus.FINISHED).first()
    annotations = suggestions.annotations_with_one(project.pk, finished.prompt_id if finished else None).count()
    return {
        "report": finished,
        "report_job": newest if newest and newest.status != JobStatus.FINISHED else None,
        "report_progress": reverse("annotation:suggestion-report-progress", args=[newest.pk]) if newest else "",
        "comparable": annotations,
        "since": annotations - finished.results["counts"]["annotations"] if finished else 0,
    }


def edit(request: HttpRequest, pk: int) -> HttpResponse:
    """Choose the source, write the prompt, set the limits. “Preview” shows the prompt for a text and saves nothing."""
    project = access.project_for(request.user, pk, Role.LEAD)
    row = suggestions.settings_of(project)
    data = request.POST if request.method == "POST" else None
    form = SuggestionSettingsForm(data, project=project, instance=row)
    context: dict[str, Any] = {"project": project, "form": form, "settings": row}
    if data is not None and form.is_valid():
        try:
            if "preview" in data:
                context |= _preview(project, request.user, form)
            else:
                suggestions.change(project, request.user, **form.values())
                messages.success(request, "The settings are saved.")
                return redirect("annotation:suggestions", pk)
        except ValidationError as error:
            show_errors(form, error)
    return render(request, "annotation/suggestion_settings.html", context, status=422 if form.errors else 200)


def _preview(project: Project, user, form: SuggestionSettingsForm) -> dict[str, Any]:
    prompt = suggestions.draft_prompt(project, user, **form.values())
    item = project.items.filter(kind__in=suggestions.KINDS).order_by("pk").first()
    text = item.text if item else "A text of the project."
    return {"preview": suggestion_prompts.render(prompt, text), "preview_item": item}


@require_POST
def switch(request: HttpRequest, pk: int) -> HttpResponse:
    """Show suggestions from now on, or no more."""
    project = access.project_for(request.user, pk, Role.LEAD)
    try:
        row = suggestions.switch(project, request.user, request.POST.get("on") == "yes")
    except ValidationError as error:
        messages.error(request, error.messages[0])
    else:
        what = "are shown" if row.is_on else "are not shown any more"
        messages.success(request, f"From the next text on suggestions {what}.")
    return redirect("annotation:suggestions", pk)


@require_POST
def start(request: HttpRequest, pk: int) -> HttpResponse:
    """Ask for suggestions."""
    project = access.project_for(request.user, pk, Role.LEAD)
    try:
        suggestions.start(project, request.user, request.POST.get("scope") or SuggestionScope.MISSING)
    except ValidationError as error:
        messages.error(request, error.messages[0])
    return redirect("annotation:suggestions", pk)


@require_GET
def answers(request: HttpRequest, pk: int) -> HttpResponse:
    """Every answer, newest first, all or those of one status."""
    project = access.project_for(request.user, pk, Role.LEAD)
    status = request.GET.get("status", "")
    status = status if status in SuggestionStatus.values else ""
    context = {
        "project": project,
        "status": status,
        "statuses": SuggestionStatus.choices,
        "page": page_by_id(_answers(project, status), request.GET.get("after"), size=20, descending=True),
    }
    return render(request, "annotation/suggestion_answers.html", context)


@require_POST
def report(request: HttpRequest, pk: int) -> HttpResponse:
    """Compute what suggestions do to people."""
    project = access.project_for(request.user, pk, Role.LEAD)
    number = request.POST.get("prompt", "")
    prompt = None
    if number.isdecimal() and len(number) < 10:
        prompt = SuggestionPrompt.objects.filter(project=project, number=int(number)).first()
    try:
        suggestions.start_report(project, request.user, prompt)
    except ValidationError as error:
        messages.error(request, error.messages[0])
    return redirect(f"{reverse('annotation:suggestions', args=[pk])}#effects")


def _job(request: HttpRequest, pk: int) -> SuggestionJob:
    return access.object_for(request.user, SuggestionJob.objects.select_related("project"), pk, Role.LEAD)


@never_cache
@require_GET
def job_progress(request: HttpRequest, pk: int) -> HttpResponse:
    return _progress(request, _job(request, pk), "annotation:suggestion-job-progress")


@require_POST
def job_cancel(request: HttpRequest, pk: int) -> HttpResponse:
    job = _job(request, pk)
    job.request_cancel()
    if job.status in ACTIVE:
        messages.info(request, "Stopping: answers that are on their way are still taken.")
    return redirect(job)


def _report_row(request: HttpRequest, pk: int) -> SuggestionReport:
    return access.object_for(request.user, SuggestionReport.objects.select_related("project"), pk, Role.LEAD)


@never_cache
@require_GET
def report_progress(request: HttpRequest, pk: int) -> HttpResponse:
    return _progress(request, _report_row(request, pk), "annotation:suggestion-report-progress")


def _progress(request: HttpRequest, job, name: str) -> HttpResponse:
    response = render(request, "_job.html", {"job": job, "progress_url": reverse(name, args=[job.pk])})
    if not job.is_active:
        response["HX-Refresh"] = "true"
    return response


@require_GET
def report_figure(request: HttpRequest, pk: int) -> HttpResponse:
    """The figure as a file."""
    row = _report_row(request, pk)
    if not row.figure:
        raise Http404
    name = f'attachment; filename="suggestions-{row.project_id}-{row.pk}.svg"'
    return HttpResponse(row.figure, content_type="image/svg+xml", headers={"Content-Disposition": name})
