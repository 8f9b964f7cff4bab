"""What a lead decides about many pairs at once, and what the votes on rewrites say."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from annotation import access, vote_results
from annotation.models import Role


@require_GET
def rules(request: HttpRequest, pk: int) -> HttpResponse:
    """The project's votes."""
    project = access.project_for(request.user, pk, Role.LEAD, Role.TRAINER)
    context = {"project": project, "vote_results": vote_results.results(project)}
    return render(request, "annotation/rules.html", context)
