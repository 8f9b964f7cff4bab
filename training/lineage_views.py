"""Pages about what was made of pairs, and about pairs that were withdrawn since."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET

from annotation import access
from annotation.models import Pair
from training import lineage
from training.models import Dataset
from training.views import READERS


@never_cache
@require_GET
def uses(request: HttpRequest, pk: int) -> HttpResponse:
    """Every dataset that holds the pair and every run of those, with what came of it."""
    found = access.object_for(request.user, Pair.objects.select_related("project", "item"), pk, *READERS)
    context = {"project": found.project, "uses": lineage.uses(found, request.user, request.GET.get("after"))}
    return render(request, "training/uses.html", context)


@never_cache
@require_GET
def of_dataset(request: HttpRequest, pk: int) -> HttpResponse:
    """The dataset's pairs that were withdrawn after it was frozen."""
    found = access.object_for(request.user, Dataset.objects.select_related("project"), pk, *READERS)
    pairs = lineage.withdrawn(found.project_id, found)
    context = {
        "project": found.project,
        "dataset": found,
        "counts": lineage.withdrawn_by_split(found),
        "page": lineage.page_of_withdrawn(pairs, request.GET.get("after"), found),
    }
    return render(request, "training/withdrawn.html", context)


@never_cache
@require_GET
def of_project(request: HttpRequest, pk: int) -> HttpResponse:
    """Withdrawn pairs that runs of the project were trained on, with the runs."""
    project = access.project_for(request.user, pk, *READERS)
    page = lineage.page_of_withdrawn(lineage.trained_on(project.pk), request.GET.get("after"))
    return render(request, "training/withdrawn.html", {"project": project, "page": page})
