"""Pages about datasets and preferences. Trainers act, leads look on."""

from typing import Any

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.text import slugify
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from annotation import access, svg
from annotation.forms import show_errors
from annotation.models import PairStatus, Role
from annotation.pagination import page_by_id
from training import dataset_diff, dataset_figures, dataset_files, datasets, preferences, selection
from training.dataset_forms import DatasetForm, OtherDatasetForm, PairPreferenceForm, PreferenceUploadForm
from training.models import Dataset, DatasetKind, Freezing, Preference, PreferenceImport, PreferenceSource, Split
from training.views import READERS, may_train

DATASETS = Dataset.objects.select_related("project", "created_by")


@require_GET
def index(request: HttpRequest, pk: int) -> HttpResponse:
    """All datasets of the project, newest first, and what is being frozen."""
    project = access.project_for(request.user, pk, *READERS)
    found = Dataset.objects.filter(project=project).select_related("created_by")
    context = {
        "project": project,
        "page": page_by_id(found.defer("figures"), request.GET.get("after"), descending=True),
        "freezings": Freezing.objects.filter(project=project, dataset=None).exclude(status="cancelled")[:5],
        "may_train": may_train(request, project),
    }
    return render(request, "training/datasets.html", context)


@require_http_methods(["GET", "POST"])
def freeze(request: HttpRequest, pk: int) -> HttpResponse:
    """Freeze approved pairs, or preferences (`?kind=preference`). To htmx: how many rows the filters leave."""
    project = access.project_for(request.user, pk, Role.TRAINER)
    kind = DatasetKind.PREFERENCE if request.GET.get("kind") == "preference" else DatasetKind.PAIRS
    if request.htmx and request.method == "GET":  # type: ignore[attr-defined]
        form = DatasetForm(request.GET, project=project, kind=kind)
        return render(request, "training/_approved.html", left_context(form))
    posted = request.POST if request.method == "POST" else None
    what = "Preferences" if kind == DatasetKind.PREFERENCE else "Pairs"
    form = DatasetForm(
        posted, project=project, kind=kind, initial={"name": f"{what} {project.datasets.filter(kind=kind).count() + 1}"}
    )
    if form.is_valid():
        try:
            return redirect(datasets.start(project=project, user=request.user, **form.values()))
        except ValidationError as error:
            show_errors(form, error)
    context = {"project": project, "form": form} | left_context(form)
    return render(request, "training/freeze.html", context, status=422 if posted is not None else 200)


def left_context(form: DatasetForm) -> dict[str, Any]:
    """How many rows the filters leave that are chosen in the form; none where one of them cannot be used."""
    filters = form.filters() if form.is_bound else {}
    if set(form.filter_names) & set(form.errors):
        return {"kind": form.kind, "left": 0}
    checked = selection.check_filters(form.project, filters, form.kind)
    return {
        "kind": form.kind,
        "left": selection.rows(form.project, form.kind, checked).count(),
        "phrases": selection.words(form.project, checked, form.kind),
        "proposed": 0 if checked else form.project.pairs.filter(status=PairStatus.PROPOSED).count(),
    }


@never_cache
@require_GET
def freezing(request: HttpRequest, pk: int) -> HttpResponse:
    """How the freezing of a large dataset stands; its dataset, once it is there."""
    job = access.object_for(request.user, Freezing.objects.select_related("project", "dataset"), pk, *READERS)
    if job.dataset:
        return redirect(job.dataset)
    progress_url = reverse("training:freezing-progress", args=[job.pk])
    context = {"project": job.project, "job": job, "progress_url": progress_url}
    return render(request, "training/freezing.html", context | {"may_train": may_train(request, job.project)})


@never_cache
@require_GET
def freezing_progress(request: HttpRequest, pk: int) -> HttpResponse:
    job = access.object_for(request.user, Freezing.objects.all(), pk, *READERS)
    return _job(request, job, reverse("training:freezing-progress", args=[job.pk]))


@require_POST
def freezing_cancel(request: HttpRequest, pk: int) -> HttpResponse:
    job = access.object_for(request.user, Freezing.objects.all(), pk, Role.TRAINER)
    job.request_cancel()
    return redirect(job)


def _job(request: HttpRequest, job, progress_url: str) -> HttpResponse:
    """The job's state. Once it has ended the page is told to load again, to show what the job made."""
    response = render(request, "_job.html", {"job": job, "progress_url": progress_url})
    if request.htmx and not job.is_active:  # type: ignore[attr-defined]
        response["HX-Refresh"] = "true"
    return response


@require_GET
def dataset(request: HttpRequest, pk: int) -> HttpResponse:
    """A frozen dataset: what it is, what is in it, and its rows."""
    found = access.object_for(request.user, DATASETS, pk, *READERS)
    split = request.GET.get("split", "")
    rows = found.rows.filter(split=split) if split in Split.values else found.rows.all()
    context = {
        "project": found.project,
        "dataset": found,
        "is_preference": found.kind == DatasetKind.PREFERENCE,
        "splits": [(name, label, found.counts.get(name, 0)) for name, label in Split.choices],
        "split": split,
        "page": page_by_id(rows, request.GET.get("after")),
        "runs": found.runs.all()[:20],
        "formats": [(name, dataset_files.NAMES[name]) for name in dataset_files.formats_of(found)],
        "phrases": selection.words(found.project, found.filters, found.kind),
        "stratified_by": dict(datasets.strata_choices(found.project)).get(found.stratify_by, found.stratify_by),
        "charts": charts(found),
        "warnings": warnings(found),
        "named": [
            (title, found.figures[key])
            for key, title in (("target_groups", "Target groups"), ("sources", "Sources"))
            if any(name for name, _ in found.figures.get(key, {}).get("named", []))
        ],
        "compare": OtherDatasetForm(dataset=found),
        "has_others": Dataset.objects.filter(project=found.project_id, kind=found.kind).exclude(pk=found.pk).exists(),
        "may_train": may_train(request, found.project),
    }
    return render(request, "training/dataset.html", context)


def charts(found: Dataset) -> list[dict[str, str]]:
    """The dataset's figures for its page: name in the address, title, and the SVG."""
    made = [
        {"name": f"label-{dimension.key}", "title": dimension.name, "svg": drawn}
        for dimension in found.project.dimensions.all()
        if (drawn := dataset_figures.balance(found.figures, dimension.key, dimension.levels))
    ]
    made += [
        {"name": f"length-{unit}", "title": f"Length in {unit}", "svg": drawn}
        for unit in dataset_figures.UNITS
        if (drawn := dataset_figures.lengths(found.figures, unit))
    ]
    return [chart | {"themed": svg.themed(chart["svg"])} for chart in made]


def warnings(found: Dataset) -> list[str]:
    """What a trainer should look at before using the dataset."""
    figures, said = found.figures, []
    if unchanged := figures.get("unchanged"):
        said.append(f"{_rows(unchanged)} whose output is the text itself: the model learns to leave those as they are.")
    if short := figures.get("short"):
        said.append(f"{_rows(short)} whose output has fewer than {dataset_figures.SHORT} words.")
    empty = [split for split in Split.values if not found.counts.get(split)]
    if empty:
        said.append(f"No row is in {' or '.join(empty)}, as its share was 0.")
    if found.near_duplicates is None:
        said.append("Near-duplicates were not looked for: a test text may be nearly the same as a training text.")
    return said


def _rows(count: int) -> str:
    return f"{count:,} row{'' if count == 1 else 's'}"


@require_GET
def dataset_figure(request: HttpRequest, pk: int, name: str) -> HttpResponse:
    """A chart as an SVG file."""
    found = access.object_for(request.user, DATASETS, pk, *READERS)
    for chart in charts(found):
        if chart["name"] == name:
            response = HttpResponse(chart["svg"], content_type="image/svg+xml")
            response["Content-Disposition"] = f'attachment; filename="dataset-{found.short_hash}-{name}.svg"'
            return response
    raise Http404


@require_GET
def dataset_file(request: HttpRequest, pk: int, file_format: str) -> HttpResponseBase:
    """The dataset as JSON Lines for training tools, streamed."""
    found = access.object_for(request.user, Dataset.objects.all(), pk, *READERS)
    if file_format not in dataset_files.formats_of(found):
        raise Http404
    response = StreamingHttpResponse(dataset_files.lines(found, file_format), content_type="application/jsonl")
    name = f"{slugify(found.name) or 'dataset'}-{found.short_hash}-{file_format}.jsonl"
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


@require_POST
def dataset_delete(request: HttpRequest, pk: int) -> HttpResponse:
    found = access.object_for(request.user, Dataset.objects.select_related("project"), pk, Role.TRAINER)
    try:
        datasets.delete(found)
    except ValidationError as error:
        messages.error(request, error.messages[0])
        return redirect(found)
    return redirect("training:home", found.project_id)


@require_GET
def dataset_diff_page(request: HttpRequest, pk: int) -> HttpResponse:
    """What differs between this dataset and another one (`?other=`) of the project."""
    left = access.object_for(request.user, DATASETS, pk, *READERS)
    form = OtherDatasetForm(request.GET if "other" in request.GET else None, dataset=left)
    context: dict[str, Any] = {"project": left.project, "left": left, "form": form}
    if form.is_valid():
        right = form.cleaned_data["other"]
        kind = request.GET.get("show", "")
        counts = dataset_diff.counts(left, right)
        if kind not in dataset_diff.KINDS:
            kind = next((name for name in dataset_diff.KINDS if counts[name]), "left")
        after = request.GET.get("after", "")
        position = int(after) if after.isdecimal() and len(after) < 10 else -1
        rows = dataset_diff.rows(left, right, kind, position, dataset_diff.SIZE + 1)
        context |= {
            "right": right,
            "counts": counts,
            "kinds": [(name, words, counts[name]) for name, words in dataset_diff.KINDS.items()],
            "kind": kind,
            "rows": rows[: dataset_diff.SIZE],
            "next_after": rows[dataset_diff.SIZE - 1]["position"] if len(rows) > dataset_diff.SIZE else None,
        }
    status = 422 if form.is_bound and not form.is_valid() else 200
    return render(request, "training/dataset_diff.html", context, status=status)


# Preferences


@require_http_methods(["GET", "POST"])
def preference_list(request: HttpRequest, pk: int) -> HttpResponse:
    """The project's preferences, newest first. POST makes some of the approved pairs."""
    project = access.project_for(request.user, pk, *([Role.TRAINER] if request.method == "POST" else READERS))
    form = PairPreferenceForm(request.POST if request.method == "POST" else None)
    if form.is_valid():
        try:
            messages.success(request, str(preferences.from_pairs(project, request.user, form.cleaned_data["against"])))
            return redirect("training:preferences", project.pk)
        except ValidationError as error:
            show_errors(form, error)
    source = request.GET.get("source", "")
    found = preferences.shown_to(request.user, Preference.objects.filter(project=project).select_related("item"))
    if source in PreferenceSource.values:
        found = found.filter(source=source)
    context = {
        "project": project,
        "page": page_by_id(found, request.GET.get("after"), descending=True),
        "source": source,
        "sources": PreferenceSource.choices,
        "usable": selection.preferences(project).count(),
        "form": form,
        "imports": PreferenceImport.objects.filter(project=project)[:5],
        "may_train": may_train(request, project),
    }
    return render(request, "training/preferences.html", context, status=422 if form.is_bound else 200)


@require_http_methods(["GET", "POST"])
def preference_upload(request: HttpRequest, pk: int) -> HttpResponse:
    project = access.project_for(request.user, pk, Role.TRAINER)
    is_post = request.method == "POST"
    form = PreferenceUploadForm(request.POST if is_post else None, request.FILES if is_post else None)
    if form.is_valid():
        try:
            return redirect(preferences.upload(project, request.user, form.cleaned_data["file"]))
        except ValidationError as error:
            show_errors(form, error)
    context = {"project": project, "form": form}
    return render(request, "training/preference_upload.html", context, status=422 if is_post else 200)


@never_cache
@require_GET
def preference_import(request: HttpRequest, pk: int) -> HttpResponse:
    """What became of an upload: how it stands, the counts, and the rejected rows."""
    job = access.object_for(request.user, PreferenceImport.objects.select_related("project"), pk, *READERS)
    progress_url = reverse("training:preference-import-progress", args=[job.pk])
    context = {"project": job.project, "job": job, "progress_url": progress_url}
    return render(request, "training/preference_import.html", context | {"may_train": may_train(request, job.project)})


@never_cache
@require_GET
def preference_import_progress(request: HttpRequest, pk: int) -> HttpResponse:
    job = access.object_for(request.user, PreferenceImport.objects.all(), pk, *READERS)
    return _job(request, job, reverse("training:preference-import-progress", args=[job.pk]))


@require_POST
def preference_import_cancel(request: HttpRequest, pk: int) -> HttpResponse:
    job = access.object_for(request.user, PreferenceImport.objects.all(), pk, Role.TRAINER)
    job.request_cancel()
    return redirect(job)


@require_POST
def preference_delete(request: HttpRequest, pk: int) -> HttpResponse:
    shown = preferences.shown_to(request.user, Preference.objects.all())
    found = access.object_for(request.user, shown, pk, Role.TRAINER)
    try:
        preferences.delete(found)
    except ValidationError as error:
        messages.error(request, error.messages[0])
    return redirect("training:preferences", found.project_id)
