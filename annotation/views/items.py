"""The lead's pages about texts."""

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_POST

from annotation import access, pairs
from annotation.comparison import compare
from annotation.filters import ItemFilter
from annotation.models import Annotation, Item, Pair, Role
from annotation.pagination import page_by_id


@require_GET
def items(request: HttpRequest, pk: int) -> HttpResponse:
    """The project's texts, filtered by progress and searched."""
    project = access.project_for(request.user, pk, Role.LEAD)
    shown = ItemFilter(request.GET, Item.objects.filter(project=project).select_related("pair"))
    page = page_by_id(shown.qs, request.GET.get("after"))
    filtered = any(request.GET.get(name) for name in ("q", "state"))
    context = {"project": project, "filter": shown, "page": page, "filtered": filtered}
    return render(request, "annotation/items.html", context)


@require_GET
def item(request: HttpRequest, pk: int) -> HttpResponse:
    """One text with everybody's annotations side by side."""
    found = access.object_for(request.user, Item.objects.select_related("project"), pk, Role.LEAD)
    annotations = list(Annotation.objects.filter(item=found).select_related("annotator").order_by("pk"))
    context = {
        "project": found.project,
        "item": found,
        "comparison": compare(found, annotations, found.project.dimensions.all()),
        "pair": Pair.objects.filter(item=found).first(),
    }
    return render(request, "annotation/item.html", context)


@require_POST
def settle_now(request: HttpRequest, pk: int) -> HttpResponse:
    """Make the text's pair before everybody has annotated it, and go there."""
    found = access.object_for(request.user, Item.objects.all(), pk, Role.LEAD)
    try:
        pair = pairs.propose_early(found)
    except ValidationError as error:
        messages.error(request, error.messages[0])
        return redirect(found)
    return redirect(pair)
