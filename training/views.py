"""Pages about datasets, recipes and runs. Trainers act, leads look on. Nothing here loads a model."""

from typing import Any

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from annotation import access, svg
from annotation.forms import show_errors
from annotation.models import Role
from annotation.pagination import page_by_id
from training import figures, runs, selection
from training.forms import RunForm
from training.models import Dataset, Method, MetricKind, Point, Recipe, Run
from training.recipe_forms import NeedsForm
from training.recipe_views import may_train, usual

READERS = (Role.LEAD, Role.TRAINER)


@require_GET
def home(request: HttpRequest, pk: int) -> HttpResponse:
    """The project's runs, datasets and recipes, newest first."""
    project = access.project_for(request.user, pk, *READERS)
    context = {
        "project": project,
        "page": page_by_id(
            Run.objects.filter(project=project).select_related("dataset"), request.GET.get("after"), descending=True
        ),
        "datasets": Dataset.objects.filter(project=project)[:10],
        "recipes": Recipe.objects.filter(project=project)[:200],
        "approved": selection.approved(project).count(),
        "may_train": may_train(request, project),
    }
    return render(request, "training/home.html", context)


def facts(parameters: dict[str, Any]) -> list[tuple[str, Any]]:
    """Hyperparameters by the names on the form."""
    import dataclasses

    from training.parameters import Hyperparameters

    known = {spec.name: spec.metadata["label"] for spec in dataclasses.fields(Hyperparameters)}
    return [(label, parameters[name]) for name, label in known.items() if name in parameters]


# Runs


@require_http_methods(["GET", "POST"])
def new_run(request: HttpRequest, pk: int) -> HttpResponse:
    """Start a run of a recipe on a dataset."""
    project = access.project_for(request.user, pk, Role.TRAINER)
    posted = request.POST if request.method == "POST" else None
    initial: dict[str, Any] = {
        name: request.GET[name] for name in ("dataset", "recipe") if request.GET.get(name, "").isdecimal()
    }
    for name, model in (("dataset", Dataset), ("recipe", Recipe)):
        newest = model.objects.filter(project=project).first()
        initial.setdefault(name, newest.pk if newest else "")
    form = RunForm(posted, project=project, initial=initial)
    if form.is_valid():
        try:
            return redirect(runs.start(user=request.user, **form.cleaned_data))
        except ValidationError as error:
            show_errors(form, error)
    needs = NeedsForm(posted, project=project, initial=usual(project))
    context = {"project": project, "form": form, "needs": needs}
    return render(request, "training/run_form.html", context, status=422 if posted is not None else 200)


RUNS = Run.objects.select_related("project", "dataset", "recipe", "created_by")


@never_cache
@require_GET
def run(request: HttpRequest, pk: int) -> HttpResponse:
    """A run, live while it lasts."""
    found = access.object_for(request.user, RUNS.all(), pk, *READERS)
    context = {
        **progress_context(found),
        **samples_context(request.user, found),
        "log": found.log_tail(),
        "project": found.project,
        "method": Method(found.parameters["method"]).label,
        "four_bit": found.parameters["method"] == Method.QLORA
        or (found.parameters["method"] == Method.DPO and found.parameters.get("four_bit", True)),
        "facts": facts(found.parameters),
        "may_train": may_train(request, found.project),
    }
    return render(request, "training/run.html", context)


@never_cache
@require_GET
def run_progress(request: HttpRequest, pk: int) -> HttpResponse:
    """The part of the run's page that changes while it lasts. Once it has ended the page loads again."""
    found = access.object_for(request.user, RUNS.all(), pk, *READERS)
    part = request.GET.get("part")
    if part == "samples":
        samples = samples_context(request.user, found)
        if request.GET.get("step") == str(samples["sampled_at"]):
            return HttpResponse(status=204)
        return render(request, "training/_samples.html", progress_context(found) | samples)
    if part == "log":
        log = found.log_tail()
        if request.GET.get("length") == str(len(log)):
            return HttpResponse(status=204)
        return render(request, "training/_log.html", progress_context(found) | {"log": log})
    template = "training/_points.html" if part == "points" else "training/_progress.html"
    response = render(request, template, progress_context(found))
    if request.htmx and not part and not found.is_active:  # type: ignore[attr-defined]
        response["HX-Refresh"] = "true"
    return response


def progress_context(found: Run) -> dict[str, Any]:
    points = found.curve_points()
    train, validation = ([point for point in points if point.kind == kind] for kind in MetricKind.values)
    figure = loss_figure(points)
    pace = pace_figure(points)
    return {
        "run": found,
        "progress_url": reverse("training:run-progress", args=[found.pk]),
        "figure": svg.themed(figure) if figure else "",
        "pace": svg.themed(pace) if pace else "",
        "last": train[-1] if train else None,
        "last_validation": validation[-1] if validation else None,
        "best_validation": min(validation, key=lambda point: point.loss) if len(validation) > 1 else None,
        "memory": max((point.memory_gib for point in points if point.memory_gib is not None), default=None),
        "points": points[-60:],
        "took": (found.ended_at - found.started_at).total_seconds() if found.ended_at and found.started_at else None,
    }


def samples_context(user, found: Run) -> dict[str, Any]:
    """What the model made of the fixed validation texts: the newest evaluation, and those before it."""
    if not runs.outputs_shown(user, found):
        return {"samples": [], "sampled_at": "", "samples_hidden": True}
    texts: dict[int, dict[str, Any]] = {}
    # At most a few texts, and of many evaluations the first, the last and some between.
    steps = sorted(found.samples.order_by().values_list("step", flat=True).distinct())
    every = max(1, -(-len(steps) // 8))
    shown = {*steps[::every], *steps[-1:]}
    for sample in found.samples.filter(step__in=shown).order_by("-step", "position"):
        entry = texts.setdefault(sample.position, {"newest": sample, "earlier": []})
        if entry["newest"] is not sample:
            entry["earlier"].append(sample)
    return {"samples": [texts[position] for position in sorted(texts)], "sampled_at": steps[-1] if steps else ""}


def loss_figure(points: list[Point]) -> str:
    train, validation = (
        tuple((point.step, point.loss) for point in points if point.kind == kind) for kind in MetricKind.values
    )
    return figures.loss(train, validation)


def pace_figure(points: list[Point]) -> str:
    """Learning rate and tokens per second, of the training's points."""
    curves = [
        tuple(
            (point.step, value)
            for point in points
            if point.kind == MetricKind.TRAIN and (value := getattr(point, name)) is not None
        )
        for name in ("learning_rate", "tokens_per_second")
    ]
    return figures.pace(*curves)


@require_GET
def run_figure(request: HttpRequest, pk: int) -> HttpResponse:
    """The loss curves as an SVG file."""
    found = access.object_for(request.user, Run.objects.all(), pk, *READERS)
    points = found.curve_points()
    if not points:
        raise Http404
    response = HttpResponse(loss_figure(points), content_type="image/svg+xml")
    response["Content-Disposition"] = f'attachment; filename="run-{found.pk}-loss.svg"'
    return response


@require_POST
def run_cancel(request: HttpRequest, pk: int) -> HttpResponse:
    found = access.object_for(request.user, Run.objects.all(), pk, Role.TRAINER)
    found.request_cancel()
    return redirect(found)


@require_POST
def run_delete(request: HttpRequest, pk: int) -> HttpResponse:
    found = access.object_for(request.user, Run.objects.all(), pk, Role.TRAINER)
    try:
        runs.delete(found, request.user)
    except ValidationError as error:
        messages.error(request, error.messages[0])
        return redirect(found)
    return redirect("training:home", found.project_id)
