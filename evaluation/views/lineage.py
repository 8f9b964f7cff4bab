"""Where an output came from."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET

from annotation import access
from annotation.models import Role
from evaluation import lineage


@never_cache
@require_GET
def output(request: HttpRequest, pk: int) -> HttpResponse:
    """From an output back to its run, dataset, pair, annotations and people. It is not there for who rates it blind."""
    found = access.object_for(request.user, lineage.outputs_shown_to(request.user), pk, Role.LEAD, Role.TRAINER)
    context = {"project": found.project, "lineage": lineage.of(found)}
    return render(request, "evaluation/lineage.html", context)
