"""Systems and their outputs: list, upload, browse. Systems that the viewer is rating blind are left out."""

from typing import Any

from django.core.exceptions import ValidationError
from django.db.models import Count, Exists, OuterRef, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from annotation import access
from annotation.models import Item, Role
from annotation.pagination import page_by_id
from evaluation import output_imports, systems
from evaluation.forms import GenerationForm, SystemForm, UploadForm
from evaluation.models import Generation, Output, OutputImport, System, SystemKind
from evaluation.views.jobs import job_partial
from training.models import Dataset

READERS = (Role.LEAD, Role.TRAINER)


def with_counts(queryset):
    """Systems with `outputs_count`, counted by index for the rows of a page only."""
    counts = Output.objects.filter(system=OuterRef("pk")).order_by().values("system").annotate(n=Count("pk"))
    return queryset.annotate(outputs_count=Coalesce(Subquery(counts.values("n")), 0))


@require_GET
def index(request: HttpRequest, pk: int) -> HttpResponse:
    """The project's systems with their output counts, and what was uploaded lately."""
    project = access.project_for(request.user, pk, *READERS)
    found = System.objects.filter(project=project)
    context = {
        "project": project,
        "page": page_by_id(with_counts(found.shown_to(request.user)), request.GET.get("after"), descending=True),
        "hidden": found.hidden_from(request.user).distinct().count(),
        "may_generate": _may_generate(request.user, project.pk),
        "imports": OutputImport.objects.filter(project=project)[:5],
    }
    return render(request, "evaluation/systems.html", context)


@require_http_methods(["GET", "POST"])
def create(request: HttpRequest, pk: int) -> HttpResponse:
    """A new system: a run's model, or a base model with a prompt."""
    project = access.project_for(request.user, pk, Role.TRAINER)
    initial = {"run": request.GET.get("run")} if request.GET.get("run", "").isdecimal() else None
    form = SystemForm(request.POST or None, project=project, initial=initial)
    if form.is_valid():
        try:
            return redirect(systems.create(project, request.user, **form.cleaned_data))
        except ValidationError as error:
            form.add_error(None, error)
    status = 422 if form.is_bound else 200
    return render(request, "evaluation/system_form.html", {"project": project, "form": form}, status=status)


@require_GET
def detail(request: HttpRequest, pk: int) -> HttpResponse:
    """One system: where it comes from, its outputs, and how their generation stands."""
    return _detail(request, _system(request, pk, *READERS))


def _detail(request: HttpRequest, system: System, form: GenerationForm | None = None) -> HttpResponse:
    jobs: list[dict[str, Any]] = [
        {"job": job, "progress_url": reverse("evaluation:generation-progress", args=[job.pk])}
        for job in system.generations.select_related("dataset")[:10]
    ]
    context = {
        "project": system.project,
        "system": system,
        "settings": [
            (name.replace("_", " "), value) for name, value in system.settings.items() if value not in ("", None)
        ],
        "generations": jobs,
        "active": any(row["job"].is_active for row in jobs),
        "may_generate": system.kind != SystemKind.UPLOAD and _may_generate(request.user, system.project_id),
        "form": form or GenerationForm(project=system.project),
        "has_datasets": Dataset.objects.filter(project=system.project).exists(),
    }
    return render(request, "evaluation/system.html", context, status=422 if form else 200)


@require_POST
def generate(request: HttpRequest, pk: int) -> HttpResponse:
    """Queue the system's outputs for a split of a dataset."""
    system = _system(request, pk, Role.TRAINER)
    form = GenerationForm(request.POST, project=system.project)
    if form.is_valid():
        try:
            systems.generate(system, form.cleaned_data["dataset"], request.user, form.cleaned_data["split"])
            return redirect(system)
        except ValidationError as error:
            form.add_error(None, error)
    return _detail(request, system, form)


@require_GET
def generation_progress(request: HttpRequest, pk: int) -> HttpResponse:
    job = _generation(request, pk, *READERS)
    return job_partial(request, job, reverse("evaluation:generation-progress", args=[job.pk]))


@require_POST
def generation_cancel(request: HttpRequest, pk: int) -> HttpResponse:
    job = _generation(request, pk, Role.TRAINER)
    job.request_cancel()
    return redirect(job)


@require_http_methods(["GET", "POST"])
def upload(request: HttpRequest, pk: int) -> HttpResponse:
    """Upload outputs of other systems."""
    project = access.project_for(request.user, pk, *READERS)
    form = UploadForm(request.POST or None, request.FILES or None)
    if request.method == "POST" and form.is_valid():
        try:
            return redirect(output_imports.upload(project, request.user, form.cleaned_data["file"]))
        except ValidationError as error:
            form.add_error(None, error)
    status = 422 if request.method == "POST" else 200
    return render(request, "evaluation/upload.html", {"project": project, "form": form}, status=status)


@require_GET
def output_import(request: HttpRequest, pk: int) -> HttpResponse:
    """How an upload stands, then its counts and every rejected row."""
    job = access.object_for(request.user, OutputImport.objects.select_related("project"), pk, *READERS)
    rejected = job.rejected_rows.all()
    context = {
        "project": job.project,
        "job": job,
        "progress_url": reverse("evaluation:output-import-progress", args=[job.pk]),
        "rejected": page_by_id(rejected, request.GET.get("after"), size=100),
    }
    return render(request, "evaluation/output_import.html", context)


@require_GET
def output_import_progress(request: HttpRequest, pk: int) -> HttpResponse:
    job = access.object_for(request.user, OutputImport.objects.all(), pk, *READERS)
    return job_partial(request, job, reverse("evaluation:output-import-progress", args=[job.pk]))


@require_POST
def output_import_cancel(request: HttpRequest, pk: int) -> HttpResponse:
    job = access.object_for(request.user, OutputImport.objects.all(), pk, *READERS)
    job.request_cancel()
    return redirect(job)


@require_GET
def outputs(request: HttpRequest, pk: int) -> HttpResponse:
    """The outputs of one text side by side: the first that has any, or `?item=`, or by external id `?id=`."""
    project = access.project_for(request.user, pk, *READERS)
    shown = System.objects.filter(project=project).shown_to(request.user)
    have = Output.objects.filter(project=project, system__in=shown)
    items = Item.objects.filter(project=project).filter(Exists(have.filter(item=OuterRef("pk"))))
    wanted, external_id = request.GET.get("item", ""), request.GET.get("id", "").strip()
    if external_id and "\x00" not in external_id:
        item = items.filter(external_id=external_id).first()
    elif wanted.isdecimal() and len(wanted) < 19:
        item = items.filter(pk=int(wanted)).first()
    else:
        item = items.order_by("pk").first()
    context: dict[str, Any] = {"project": project, "item": item, "external_id": external_id}
    if item:
        context |= {
            "outputs": have.filter(item=item).select_related("system").order_by("system__name"),
            "previous": items.filter(pk__lt=item.pk).order_by("-pk").first(),
            "next": items.filter(pk__gt=item.pk).order_by("pk").first(),
        }
    return render(request, "evaluation/outputs.html", context)


def _may_generate(user, project_id: int) -> bool:
    return user.is_superuser or Role.TRAINER in access.roles_in(user, project_id)


def _generation(request: HttpRequest, pk: int, *roles: str) -> Generation:
    hidden = System.objects.all().hidden_from(request.user)
    return access.object_for(request.user, Generation.objects.exclude(system__in=hidden.values("pk")), pk, *roles)


def _system(request: HttpRequest, pk: int, *roles: str) -> System:
    """The system, unless this person is rating it blind: then it is not there."""
    found = with_counts(System.objects.shown_to(request.user)).select_related("project", "created_by", "run__dataset")
    return access.object_for(request.user, found, pk, *roles)
