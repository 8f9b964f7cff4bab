"""How well people judge, known answers, hidden texts, consensus: for leads. Annotators see their own figures."""

from typing import Any

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from annotation import access, consensus, gold, practice, quality
from annotation.forms import show_errors
from annotation.gold_forms import GoldFileForm, GoldForm, QualitySettingsForm
from annotation.models import AnnotatorConsensus, ConsensusRun, Gold, Item, ItemKind, Project, Role
from annotation.pagination import page_by_id


@require_GET
def overview(request: HttpRequest, pk: int) -> HttpResponse:
    """Practice, accuracy on gold, consistency on repeats: everybody by name."""
    project = access.project_for(request.user, pk, Role.LEAD)
    settings = gold.settings_of(project)
    context = {
        "project": project,
        "settings": settings,
        "counts": gold.counts(project),
        "dimensions": project.dimensions.all(),
        "people": quality.per_annotator(project),
        "practice": practice.results(project),
        "consensus": consensus.latest(project.pk),
    }
    return render(request, "annotation/quality.html", context)


@require_GET
def mine(request: HttpRequest, pk: int) -> HttpResponse:
    """One's own figures, once there are enough."""
    project = access.project_for(request.user, pk, Role.ANNOTATOR)
    context = {
        "project": project,
        "own": quality.own(request.user, project),
        "minimum": quality.OWN_MINIMUM,
        "step": quality.OWN_STEP,
    }
    return render(request, "annotation/own_quality.html", context)


def settings(request: HttpRequest, pk: int) -> HttpResponse:
    """Practice and hidden texts."""
    project = access.project_for(request.user, pk, Role.LEAD)
    data = request.POST if request.method == "POST" else None
    form = QualitySettingsForm(data, instance=gold.settings_of(Project.objects.get(pk=pk)))
    if data is not None and form.is_valid():
        try:
            gold.change_settings(project, request.user, **form.cleaned_data)
        except ValidationError as error:
            show_errors(form, error)
        else:
            messages.success(request, "The settings are saved.")
            return redirect("annotation:quality", pk)
    context = {"project": project, "form": form, "counts": gold.counts(project)}
    return render(request, "annotation/quality_settings.html", context, status=422 if form.errors else 200)


# Known answers


@require_GET
def gold_list(request: HttpRequest, pk: int) -> HttpResponse:
    """Every text with a known answer."""
    project = access.project_for(request.user, pk, Role.LEAD)
    rows = Gold.objects.filter(project=project).select_related("item")
    kind = request.GET.get("kind", "")
    if kind in gold.KINDS:
        rows = rows.filter(item__kind=kind)
    context = {
        "project": project,
        "page": page_by_id(rows, request.GET.get("after"), descending=True),
        "counts": gold.counts(project),
        "kind": kind,
        "standing_out": gold.standing_out(project),
        "dimensions": {dimension.key: dimension.name for dimension in project.dimensions.all()},
    }
    return render(request, "annotation/gold_list.html", context)


def gold_new(request: HttpRequest, pk: int) -> HttpResponse:
    """A known answer by hand, or with `?item=` for a text of the project."""
    project = access.project_for(request.user, pk, Role.LEAD)
    wanted = request.GET.get("item", "")
    item = None
    if wanted:
        work = Item.objects.filter(project=project, kind=ItemKind.WORK)
        item = access.object_for(request.user, work, int(wanted) if _is_id(wanted) else 0, Role.LEAD)
    data = request.POST if request.method == "POST" else None
    form = GoldForm(data, project=project, item=item)
    if data is not None and form.is_valid():
        try:
            made = gold.create(project, request.user, item=item, **form.values())
        except ValidationError as error:
            show_errors(form, error)
        else:
            copied = " It is a copy, because the text was handed out before." if made.copied_from else ""
            messages.success(request, f"The known answer is saved.{copied}")
            return redirect("annotation:gold", pk)
    context = {"project": project, "form": form, "item": item}
    return render(request, "annotation/gold_form.html", context, status=422 if form.errors else 200)


def gold_item(request: HttpRequest, pk: int) -> HttpResponse:
    """One known answer: change it, take it out of use, bring it back."""
    rows = Gold.objects.select_related("item", "project", "copied_from")
    found = access.object_for(request.user, rows, pk, Role.LEAD)
    project = found.project
    if request.method == "POST" and "remove" in request.POST:
        try:
            gone = gold.remove(found, request.user)
        except ValidationError as error:
            messages.error(request, error.messages[0])
            return redirect("annotation:gold-item", pk)
        messages.success(request, "Removed." if gone else "Out of use. Its answers go on counting.")
        return redirect("annotation:gold", project.pk)
    if request.method == "POST" and "restore" in request.POST:
        gold.restore(found, request.user)
        messages.success(request, "In use again.")
        return redirect("annotation:gold-item", pk)
    data = request.POST if request.method == "POST" else None
    form = GoldForm(data, project=project, item=found.item, gold=found)
    if data is not None and form.is_valid():
        try:
            gold.change(found, request.user, **form.values())
        except ValidationError as error:
            show_errors(form, error)
        else:
            messages.success(request, "The change is saved.")
            return redirect("annotation:gold", project.pk)
    context = {"project": project, "form": form, "item": found.item, "gold": found, "used": gold.is_used(found)}
    return render(request, "annotation/gold_form.html", context, status=422 if form.errors else 200)


def gold_import(request: HttpRequest, pk: int) -> HttpResponse:
    """Known answers from a CSV."""
    project = access.project_for(request.user, pk, Role.LEAD)
    form = GoldFileForm(request.POST or None, request.FILES or None)
    if request.method == "POST" and form.is_valid():
        try:
            made = gold.import_csv(project, request.user, form.cleaned_data["file"], kind=form.cleaned_data["kind"])
        except ValidationError as error:
            show_errors(form, error)
        else:
            messages.success(request, f"{len(made):,} known answer{'' if len(made) == 1 else 's'} imported.")
            return redirect("annotation:gold", pk)
    context = {"project": project, "form": form, "dimensions": project.dimensions.all()}
    return render(request, "annotation/gold_import.html", context, status=422 if form.errors else 200)


def _is_id(value: str) -> bool:
    return value.isdecimal() and len(value) < 19


# Consensus


@never_cache
def consensus_page(request: HttpRequest, pk: int) -> HttpResponse:
    """The consensus: how it was estimated, how annotators answer according to it; post to estimate it (again)."""
    project = access.project_for(request.user, pk, Role.LEAD)
    if request.method == "POST":
        try:
            consensus.start(project, request.user)
        except ValidationError as error:
            messages.error(request, error.messages[0])
        return redirect("annotation:consensus", pk)
    newest = ConsensusRun.objects.filter(project=project).first()
    shown = consensus.latest(pk)
    context = {
        "project": project,
        "job": newest,
        "shown": shown,
        "dimensions": _estimated(project, shown),
        "newer": consensus.annotations_since(shown) if shown else 0,
    }
    return render(request, "annotation/consensus.html", context)


def _estimated(project: Project, run: ConsensusRun | None) -> list[dict[str, Any]]:
    """Per dimension the estimated shares, and per annotator accuracy and matrix."""
    if run is None:
        return []
    rows: dict[str, list[dict[str, Any]]] = {}
    for row in AnnotatorConsensus.objects.filter(run=run).select_related("annotator"):
        matrix = [
            {"true": level, "cells": [{"value": value, "hit": place == at} for at, value in enumerate(values)]}
            for place, (level, values) in enumerate(zip(row.levels, row.matrix, strict=True))
        ]
        rows.setdefault(row.dimension, []).append({"row": row, "percent": 100 * row.accuracy, "matrix": matrix})
    return [
        {
            "dimension": dimension,
            "facts": run.dimensions[dimension.key],
            "prior": [
                {"level": level, "percent": 100 * run.dimensions[dimension.key]["prior"].get(level, 0)}
                for level in dimension.levels
            ],
            "people": rows.get(dimension.key, []),
        }
        for dimension in project.dimensions.all()
        if dimension.key in run.dimensions
    ]


@never_cache
@require_GET
def consensus_progress(request: HttpRequest, pk: int) -> HttpResponse:
    from annotation.views.jobs import _progress

    return _progress(request, _run(request, pk), "annotation:consensus-progress")


@require_POST
def consensus_cancel(request: HttpRequest, pk: int) -> HttpResponse:
    from annotation.views.jobs import _cancel

    return _cancel(request, _run(request, pk))


def _run(request: HttpRequest, pk: int) -> ConsensusRun:
    return access.object_for(request.user, ConsensusRun.objects.select_related("project"), pk, Role.LEAD)
