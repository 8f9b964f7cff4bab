"""The lead's pages about texts."""

from typing import Any

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from annotation import access, pairs, queueing, wellbeing
from annotation.comparison import compare
from annotation.filters import ItemFilter
from annotation.forms import QueueForm, show_errors
from annotation.models import Annotation, Event, Item, ItemKind, Pair, Project, Role
from annotation.pagination import page_by_id

FILTERS = ("q", "state", "language", "target_group", "retired", "reserved", "min_priority", "content")


@require_http_methods(["GET", "POST"])
def items(request: HttpRequest, pk: int) -> HttpResponse:
    """The project's texts, filtered and searched. A post decides about those chosen, or all that the filter shows."""
    project = access.project_for(request.user, pk, Role.LEAD)
    shown = ItemFilter(request.GET, queueing.work_items(project))
    decision = QueueForm(request.POST if request.method == "POST" else None, project=project)
    if request.method == "POST" and decision.is_valid():
        try:
            outcome = queueing.decide(
                project, request.user, _chosen(request, project, shown), **_decided(decision.cleaned_data)
            )
        except ValidationError as error:
            show_errors(decision, error)
        else:
            messages.success(request, outcome.sentence())
            return redirect(request.get_full_path())
    rows = shown.qs.select_related("pair").prefetch_related("reservations__user").defer("metadata")
    context = {
        "project": project,
        "filter": shown,
        "filters": [shown.form[name] for name in FILTERS],
        "page": page_by_id(rows, request.GET.get("after")),
        "filtered": any(request.GET.get(name) for name in FILTERS),
        "matching": shown.qs.order_by()[: queueing.MAX_AT_ONCE + 1].count(),
        "most": queueing.MAX_AT_ONCE,
        "decision": decision,
        "chosen": set(request.POST.getlist("items")),
        "every": request.POST.get("which") == "filter",
        "kinds": wellbeing.kind_names(project),
    }
    return render(request, "annotation/items.html", context, status=422 if decision.is_bound else 200)


def _chosen(request: HttpRequest, project: Project, shown: ItemFilter) -> QuerySet[Item]:
    if request.POST.get("which") == "filter":
        if not shown.is_valid():  # what a filter cannot read it ignores, and then it shows more than was meant
            raise ValidationError({"items": "The filter has an error; nothing was changed."})
        return shown.qs
    keys = request.POST.getlist("items")
    return queueing.chosen(project, [int(key) for key in keys if key.isdecimal() and len(key) < 19])


def _decided(values: dict[str, Any]) -> dict[str, Any]:
    values = dict(values)
    return {"decision": values.pop("decision"), "values": values}


@require_GET
def item(request: HttpRequest, pk: int) -> HttpResponse:
    """One text with everybody's annotations side by side."""
    found = access.object_for(request.user, Item.objects.select_related("project"), pk, Role.LEAD)
    return _item_page(request, found, QueueForm(project=found.project))


@require_POST
def change(request: HttpRequest, pk: int) -> HttpResponse:
    """Decide about one text: its priority, for whom it is, and so on."""
    found = access.object_for(request.user, Item.objects.select_related("project"), pk, Role.LEAD)
    form = QueueForm(request.POST, project=found.project)
    if form.is_valid():
        try:
            chosen = queueing.chosen(found.project, [found.pk])
            outcome = queueing.decide(found.project, request.user, chosen, **_decided(form.cleaned_data))
        except ValidationError as error:
            show_errors(form, error)
        else:
            messages.success(request, outcome.sentence())
            return redirect(found)
    return _item_page(request, found, form)


def _item_page(request: HttpRequest, found: Item, form: QueueForm) -> HttpResponse:
    annotations = list(Annotation.objects.filter(item=found).select_related("annotator").order_by("pk"))
    context = {
        "project": found.project,
        "item": found,
        "comparison": compare(found, annotations, found.project.dimensions.all()),
        "pair": Pair.objects.filter(item=found).first(),
        "decision": form if found.kind == ItemKind.WORK else None,
        "people": [row.user for row in found.reservations.select_related("user").order_by("user__username")],
        "kinds": wellbeing.warnings_for(found.project, found.content_kinds),
        "history": Event.objects.filter(item=found).select_related("actor", "item")[:20],
    }
    return render(request, "annotation/item.html", context, status=422 if form.is_bound else 200)


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
