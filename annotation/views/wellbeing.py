"""An annotator's own pages: their work, what they choose for themselves, pauses, and what they have read."""

from typing import Any

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from annotation import access, drafts, mine, wellbeing
from annotation.forms import ChoicesForm, show_errors
from annotation.models import Assignment, AssignmentState, Pause, Role
from annotation.pagination import page_by_id


@never_cache
@require_GET
def my_work(request: HttpRequest, pk: int) -> HttpResponse:
    """One's own texts in a project: drafts that were kept, skipped ones, finished ones; searched."""
    project = access.project_for(request.user, pk, Role.ANNOTATOR)
    show = request.GET.get("show", "")
    show = show if show in mine.PARTS else "finished"
    query = request.GET.get("q", "")[:200].replace("\x00", "")
    rows = mine.search(mine.part(request.user, project, show), query)
    context = {
        "project": project,
        "page": page_by_id(rows, request.GET.get("after"), descending=True),
        "show": show,
        "parts": [(key, title) for key, (title, _) in mine.PARTS.items()],
        "query": query,
    }
    return render(request, "annotation/my_work.html", context)


@never_cache
@require_GET
def kept(request: HttpRequest, pk: int) -> HttpResponse:
    """A text that this person gave back or lost, with what they had typed."""
    assignment = get_object_or_404(Assignment.objects.of(request.user), pk=pk)
    project = assignment.item.project
    if assignment.state == AssignmentState.HELD:
        return redirect("annotation:annotate", project.pk)
    if annotation := drafts.annotation_of(assignment):
        return redirect("annotation:revise", annotation.pk)
    dimensions = {dimension.key: dimension.name for dimension in project.dimensions.all()}
    draft = assignment.draft or {}
    context = {
        "project": project,
        "assignment": assignment,
        "item": assignment.item,
        "draft": draft,
        "labels": [(dimensions.get(key, key), level) for key, level in draft.get("labels", {}).items()],
        "why_not": mine.why_not(request.user, assignment),
        "warnings": wellbeing.warnings_for(project, assignment.item.content_kinds),
    }
    return render(request, "annotation/kept.html", context)


@require_POST
def take_up(request: HttpRequest, pk: int) -> HttpResponse:
    """Hold a skipped or lost text again."""
    assignment = get_object_or_404(Assignment.objects.of(request.user), pk=pk)
    try:
        mine.take_up(request.user, assignment.pk)
    except ValidationError as error:
        messages.error(request, error.messages[0])
        return redirect("annotation:kept", pk)
    return redirect("annotation:annotate", assignment.project_id)


@never_cache
@require_http_methods(["GET", "POST"])
def choices(request: HttpRequest, pk: int) -> HttpResponse:
    """What this annotator does not want to read, and their own limit of a day."""
    project = access.project_for(request.user, pk, Role.ANNOTATOR)
    chosen = wellbeing.choices_of(request.user, project)
    warnings = {kind["name"]: kind["warning"] for kind in project.content_kinds}
    names = dict.fromkeys([*warnings, *chosen.declined_kinds])
    kinds = [(name, f"{name}: {warnings[name]}" if warnings.get(name) else name) for name in names]
    initial = {"declined_kinds": chosen.declined_kinds, "daily_limit": chosen.daily_limit or None}
    form = ChoicesForm(request.POST if request.method == "POST" else None, kinds=kinds, initial=initial)
    if form.is_bound and form.is_valid():
        try:
            wellbeing.choose(request.user, project, **form.values())
        except ValidationError as error:
            show_errors(form, error)
        else:
            messages.success(request, "Your choices are saved. They hold from the next text on.")
            return redirect("annotation:wellbeing", pk)
    context = {
        "project": project,
        "form": form,
        "limit": wellbeing.daily_limit(project, chosen),
        "today": wellbeing.read_today(request.user, project),
    }
    return render(request, "annotation/choices.html", context, status=422 if form.is_bound else 200)


@never_cache
@require_http_methods(["GET", "POST"])
def pause(request: HttpRequest, pk: int) -> HttpResponse:
    """A quiet page for a break. It begins and ends when the person says so."""
    project = access.project_for(request.user, pk, Role.ANNOTATOR)
    if request.method == "POST":
        if request.POST.get("action") == "end":
            wellbeing.end_pause(request.user, project)
            return redirect("annotation:annotate", pk)
        wellbeing.begin_pause(request.user, project)
        return redirect("annotation:pause", pk)
    running = Pause.objects.filter(project=project, annotator_id=request.user.pk, ended_at=None).first()
    left = (running.started_at + Pause.PLANNED - timezone.now()).total_seconds() if running else 0
    context = {"project": project, "running": running, "seconds": max(0, round(left))}
    return render(request, "annotation/pause.html", context)


@never_cache
@require_GET
def exposure(request: HttpRequest) -> HttpResponse:
    """What this person has read, in all their projects. Nobody else sees this page."""
    rows = wellbeing.own_exposure(request.user)
    together = wellbeing.sum_of(exposure for _, exposure in rows)
    return render(request, "annotation/exposure.html", {"rows": rows, "together": together})


@require_GET
def project_exposure(request: HttpRequest, pk: int) -> HttpResponse:
    """What a project's annotators have read, for its leads to protect them; by name, never by amount."""
    project = access.project_for(request.user, pk, Role.LEAD)
    together, people = wellbeing.project_exposure(project)
    context: dict[str, Any] = {
        "project": project,
        "together": together,
        "people": people,
        "declined": wellbeing.declined_counts(project),
        "severe": [(name, level) for name, level in _severe(project)],
    }
    return render(request, "annotation/project_exposure.html", context)


def _severe(project) -> list[tuple[str, str]]:
    return [
        (dimension.name, dimension.levels[-1])
        for dimension in project.dimensions.all()
        if dimension.key in project.severe_dimensions
    ]
