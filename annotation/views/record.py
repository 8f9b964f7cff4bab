"""What was: the log of a project, and its guidelines in every version."""

from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET, require_POST

from annotation import access, projects
from annotation.events import ACTIONS
from annotation.filters import EventFilter
from annotation.models import Event, Role
from annotation.pagination import page_by_id


@require_GET
def log(request: HttpRequest, pk: int) -> HttpResponse:
    """Who did what, newest first."""
    project = access.project_for(request.user, pk, Role.LEAD)
    rows = Event.objects.filter(project=project).select_related("actor", "item")
    shown = EventFilter(request.GET, rows)
    page = page_by_id(shown.qs, request.GET.get("after"), descending=True)
    filtered = any(request.GET.get(name) for name in ("action", "actor", "text"))
    context = {"project": project, "filter": shown, "page": page, "filtered": filtered, "actions": ACTIONS}
    return render(request, "annotation/log.html", context)


@require_GET
def guidelines(request: HttpRequest, pk: int) -> HttpResponse:
    """The guidelines, the newest or those of `?version=`, with what that version changed."""
    project = access.project_for(request.user, pk)
    versions = list(project.guidelines_versions.select_related("created_by").defer("text"))
    wanted = request.GET.get("version", "")
    number = int(wanted) if wanted.isdecimal() and len(wanted) < 10 else project.guidelines_version
    shown = next((version for version in versions if version.number == number), None)
    if shown is None and wanted:
        raise Http404
    earlier = project.guidelines_versions.filter(number__lt=number).first()
    held = access.require(request.user, pk, *Role.values)
    context: dict[str, Any] = {
        "project": project,
        "versions": versions,
        "shown": shown,
        "text": shown.text if shown else project.guidelines,
        "earlier": earlier,
        "is_lead": Role.LEAD in held,
    }
    return render(request, "annotation/guidelines.html", context)


@require_POST
def preview(request: HttpRequest) -> HttpResponse:
    """Guidelines as annotators will see them, while a lead writes them. Nothing is stored."""
    text = request.POST.get("guidelines", "")[: projects.MAX_GUIDELINES]
    return render(request, "annotation/_guidelines.html", {"text": text})
