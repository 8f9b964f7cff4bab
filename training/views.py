"""Pages about datasets, recipes and runs. Trainers act, leads look on. Nothing here loads a model."""

from typing import Any

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import FileResponse, Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from annotation import access, svg
from annotation.forms import show_errors
from annotation.models import Role
from annotation.pagination import page_by_id
from training import archives, figures, runs, selection
from training.forms import RecipeForm, RunForm
from training.models import Dataset, MetricKind, Recipe, Run
from training.parameters import PRESETS

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


def may_train(request: HttpRequest, project) -> bool:
    """Whether to show what only trainers may do; the views check again."""
    return request.user.is_superuser or Role.TRAINER in access.roles_in(request.user, project.pk)


# Recipes


@require_http_methods(["GET", "POST"])
def new_recipe(request: HttpRequest, pk: int) -> HttpResponse:
    """A recipe, from a preset (`?preset=`) or from another recipe (`?like=`)."""
    project = access.project_for(request.user, pk, Role.TRAINER)
    posted = request.POST if request.method == "POST" else None
    like = request.GET.get("like", "")
    source = Recipe.objects.filter(project=project, pk=like).first() if like.isdecimal() and len(like) < 19 else None
    preset = request.GET.get("preset", "cpu-demo")
    initial = {}
    if source:
        initial = {
            **source.parameters,
            "name": f"{source.name}, changed",
            "base_model": source.base_model,
            "prompt_template": source.prompt_template,
        }
    form = RecipeForm(posted, preset=preset, initial=initial)
    if form.is_valid():
        values = {name: form.cleaned_data[name] for name in ("name", "base_model", "prompt_template")}
        try:
            return redirect(
                runs.create_recipe(project=project, user=request.user, parameters=form.hyperparameters(), **values)
            )
        except ValidationError as error:
            show_errors(form, error)
    context = {"project": project, "form": form, "presets": PRESETS.values(), "preset": preset, "source": source}
    return render(request, "training/recipe_form.html", context, status=422 if posted is not None else 200)


@require_GET
def recipe(request: HttpRequest, pk: int) -> HttpResponse:
    """A recipe in full, and its runs."""
    found = access.object_for(request.user, Recipe.objects.select_related("project", "created_by"), pk, *READERS)
    context = {
        "project": found.project,
        "recipe": found,
        "facts": facts(found.parameters),
        "runs": found.runs.select_related("dataset")[:20],
        "may_train": may_train(request, found.project),
    }
    return render(request, "training/recipe.html", context)


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
    context = {"project": project, "form": form}
    return render(request, "training/run_form.html", context, status=422 if posted is not None else 200)


RUNS = Run.objects.select_related("project", "dataset", "recipe", "created_by")


@never_cache
@require_GET
def run(request: HttpRequest, pk: int) -> HttpResponse:
    """A run, live while it lasts."""
    found = access.object_for(request.user, RUNS.all(), pk, *READERS)
    context = {
        **progress_context(found),
        "project": found.project,
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
    if part == "log" and request.GET.get("length") == str(len(found.log_tail())):
        return HttpResponse(status=204)
    template = {"log": "training/_log.html", "points": "training/_points.html"}.get(
        part or "", "training/_progress.html"
    )
    response = render(request, template, progress_context(found))
    if request.htmx and not part and not found.is_active:  # type: ignore[attr-defined]
        response["HX-Refresh"] = "true"
    return response


def progress_context(found: Run) -> dict[str, Any]:
    points = found.curve_points()
    validation = [point for point in points if point[0] == "eval"]
    figure = loss_figure(points)
    return {
        "run": found,
        "progress_url": reverse("training:run-progress", args=[found.pk]),
        "figure": svg.themed(figure) if figure else "",
        "last_loss": next((point[3] for point in reversed(points) if point[0] == "train"), None),
        "last_validation": validation[-1][3] if validation else None,
        "points": points[-60:],
        "log": found.log_tail(),
        "took": (found.ended_at - found.started_at).total_seconds() if found.ended_at and found.started_at else None,
    }


def loss_figure(points: list[tuple]) -> str:
    train, validation = (
        tuple((step, loss) for name, step, _, loss, _ in points if name == kind) for kind in MetricKind.values
    )
    return figures.loss(train, validation)


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
        runs.delete(found)
    except ValidationError as error:
        messages.error(request, error.messages[0])
        return redirect(found)
    return redirect("training:home", found.project_id)


@require_GET
def run_log(request: HttpRequest, pk: int) -> HttpResponseBase:
    """The whole log as a text file."""
    found = access.object_for(request.user, Run.objects.all(), pk, *READERS)
    return log_response(found)


@require_GET
def run_adapter(request: HttpRequest, pk: int) -> HttpResponseBase:
    """The adapter with its tokenizer, recipe and metrics, as one zip file."""
    found = access.object_for(request.user, Run.objects.all(), pk, *READERS)
    return adapter_response(found)


def log_response(found: Run) -> FileResponse:
    try:
        stream = found.log_file.open("rb")
    except OSError:
        raise Http404 from None
    return FileResponse(
        stream, as_attachment=True, filename=f"run-{found.pk}-log.txt", content_type="text/plain; charset=utf-8"
    )


def adapter_response(found: Run) -> StreamingHttpResponse:
    """The adapter's files as a zip, streamed. 404 while there is none."""
    files = sorted(path for path in found.adapter.glob("*") if path.is_file()) if found.has_adapter else []
    if not files:
        raise Http404
    name = f"run-{found.pk}-adapter"
    response = StreamingHttpResponse(archives.zipped(files, name), content_type="application/zip")
    response["Content-Disposition"] = f'attachment; filename="{name}.zip"'
    return response
