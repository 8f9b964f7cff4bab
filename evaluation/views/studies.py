"""The lead's pages of a study: set up, invite, start, watch, close."""

from typing import Any

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.db.models import Count, OuterRef, Q, Subquery
from django.db.models.functions import Coalesce
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from annotation import access, projects
from annotation.models import Role
from annotation.pagination import page_by_id
from evaluation import preferences, starting, studies
from evaluation.forms import PersonForm, StudyForm
from evaluation.models import ReviewTask, Study, StudyMembership

READERS = (Role.LEAD, Role.TRAINER)


@require_GET
def index(request: HttpRequest, pk: int) -> HttpResponse:
    """The project's studies, newest first."""
    project = access.project_for(request.user, pk, *READERS)
    tasks = ReviewTask.objects.filter(study=OuterRef("pk")).order_by().values("study")
    rows = Study.objects.filter(project=project).annotate(
        tasks_total=Coalesce(Subquery(tasks.annotate(n=Count("pk")).values("n")), 0),
        tasks_done=Coalesce(Subquery(tasks.annotate(n=Count("pk", filter=Q(done_at__isnull=False))).values("n")), 0),
    )
    page = page_by_id(rows, request.GET.get("after"), descending=True)
    return render(
        request,
        "evaluation/studies.html",
        {"project": project, "page": page, "may_manage": _may_manage(request.user, project.pk)},
    )


@require_http_methods(["GET", "POST"])
def create(request: HttpRequest, pk: int) -> HttpResponse:
    """Set up a study."""
    project = access.project_for(request.user, pk, Role.LEAD)
    form = StudyForm(request.POST or None, project=project, user=request.user)
    if form.is_valid():
        try:
            study = studies.create(project, request.user, **form.cleaned_data)
            return redirect(study)
        except ValidationError as error:
            form.add_error(None, error)
    status = 422 if form.is_bound else 200
    return render(request, "evaluation/study_form.html", {"project": project, "form": form}, status=status)


@require_http_methods(["GET", "POST"])
def change(request: HttpRequest, pk: int) -> HttpResponse:
    """Change a study that has not started."""
    study = _study(request, pk, Role.LEAD)
    if not study.is_draft:
        messages.warning(request, "The study has started; it can no longer change.")
        return redirect(study)
    form = StudyForm(request.POST or None, instance=study, project=study.project, user=request.user)
    if form.is_valid():
        try:
            return redirect(studies.change(study, **form.cleaned_data))
        except ValidationError as error:
            form.add_error(None, error)
    context = {"project": study.project, "study": study, "form": form}
    return render(request, "evaluation/study_form.html", context, status=422 if form.is_bound else 200)


@require_GET
def detail(request: HttpRequest, pk: int) -> HttpResponse:
    """A study: its set-up, reviewers, progress, and the one thing to do next."""
    study = _study(request, pk, *READERS)
    return _detail(request, study)


def _detail(
    request: HttpRequest, study: Study, form: PersonForm | None = None, problems: list[str] | None = None
) -> HttpResponse:
    blind = studies.is_blind(request.user, study)
    manages = _may_manage(request.user, study.project_id)
    context: dict[str, Any] = {
        "project": study.project,
        "study": study,
        "blind": blind,
        "may_manage": manages,
        "reviews": studies.is_reviewer(request.user, study),
        "criteria": study.criteria.all(),
        "rows": [{"progress": row, "link": _invitation_link(request, row.user)} for row in studies.progress(study)]
        if manages
        else [],
        "systems": [] if blind else study.systems.order_by("name"),
        "form": form or PersonForm(),
        "problems": problems or [],
    }
    context["total"] = sum(row["progress"].total for row in context["rows"])
    context["done"] = sum(row["progress"].done for row in context["rows"])
    if study.is_draft and manages:
        context["ready"] = starting.readiness(study)
    if study.is_closed:
        context["report"] = study.reports.first()
    status = 422 if form or problems else 200
    return render(request, "evaluation/study.html", context, status=status)


def _invitation_link(request: HttpRequest, person) -> str | None:
    """Where a new reviewer sets a password, for whoever invited them and until they have."""
    path = None if person.has_usable_password() else projects.invitation_path(person, request.user)
    return request.build_absolute_uri(path) if path else None


@require_POST
def invite(request: HttpRequest, pk: int) -> HttpResponse:
    """Add a reviewer by user name or e-mail address."""
    study = _study(request, pk, Role.LEAD)
    form = PersonForm(request.POST)
    if form.is_valid():
        try:
            membership = studies.invite(study, request.user, form.cleaned_data["person"])
            messages.success(request, f"{membership.user} reviews this study.")
            return redirect(study)
        except ValidationError as error:
            form.add_error(None if "person" not in getattr(error, "error_dict", {}) else "person", error.messages)
    return _detail(request, study, form)


@require_POST
def remove(request: HttpRequest, pk: int) -> HttpResponse:
    """Take a reviewer off a study that has not started."""
    membership = StudyMembership.objects.filter(pk=pk).select_related("study").first()
    if membership is None:
        raise Http404
    study = _study(request, membership.study_id, Role.LEAD)
    return _act(request, study, lambda: studies.remove_reviewer(study, membership), "The reviewer was removed.")


@require_POST
def start(request: HttpRequest, pk: int) -> HttpResponse:
    """Freeze the study and let the reviewers begin."""
    study = _study(request, pk, Role.LEAD)
    return _act(request, study, lambda: starting.start(study, request.user), "The study has started.")


@require_POST
def close(request: HttpRequest, pk: int) -> HttpResponse:
    """Take no more ratings and compute the report."""
    study = _study(request, pk, Role.LEAD)
    return _act(request, study, lambda: studies.close(study, request.user), "The study is closed.")


def _act(request: HttpRequest, study: Study, action, done: str) -> HttpResponse:
    """Do it and go back to the study; where a rule refuses, show the study with the reasons."""
    try:
        action()
    except ValidationError as error:
        study.refresh_from_db()
        return _detail(request, study, problems=error.messages)
    messages.success(request, done)
    return redirect(study)


@require_POST
def use_as_preferences(request: HttpRequest, pk: int) -> HttpResponse:
    """What the reviewers preferred, as data for training."""
    study = _study(request, pk, Role.TRAINER)
    try:
        messages.success(request, str(preferences.from_study(study, request.user)))
    except ValidationError as error:
        messages.error(request, error.messages[0])
        return redirect("evaluation:report", study.pk)
    return redirect("training:preferences", study.project_id)


def _study(request: HttpRequest, pk: int, *roles: str) -> Study:
    return access.object_for(request.user, Study.objects.select_related("project", "reference"), pk, *roles)


def _may_manage(user, project_id: int) -> bool:
    return user.is_superuser or Role.LEAD in access.roles_in(user, project_id)
