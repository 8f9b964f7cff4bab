"""Home, and a project's own pages."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from annotation import access, home
from annotation.models import Project


def index(request: HttpRequest) -> HttpResponse:
    """The projects this person is a member of, and what other applications add."""
    context = {
        "projects": Project.objects.visible_to(request.user),
        "sections": home.sections_for(request.user),
    }
    return render(request, "annotation/home.html", context)


def overview(request: HttpRequest, pk: int) -> HttpResponse:
    project = access.project_for(request.user, pk)
    return render(request, "annotation/project.html", {"project": project})
