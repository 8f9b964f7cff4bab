"""The lead's pages of a study: set up, invite, start, watch, close."""

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.db.models import Count, OuterRef, Q, Subquery
from django.db.models.functions import Coalesce
from django.forms.utils import ErrorDict, ErrorList
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from annotation import access, projects
from annotation.forms import show_errors
from annotation.models import Membership, Project, Role
from annotation.pagination import page_by_id
from evaluation import protocol, starting, studies
from evaluation.forms import CriterionFormSet, PersonForm, StudyForm, criterion_values
from evaluation.models import ReviewTask, Study, StudyMembership, TaskKind

READERS = (Role.LEAD, Role.TRAINER)


@require_GET
def index(request: HttpRequest, pk: int) -> HttpResponse:
    """The project's studies, newest first."""
    project = access.project_for(request.user, pk, *READERS)
    shown = ReviewTask.objects.filter(study=OuterRef("pk")).exclude(kind=TaskKind.SAME)
    tasks = shown.order_by().values("study")
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
    """Plan a study."""
    project = access.project_for(request.user, pk, Role.LEAD)
    return _plan(request, project, None, lambda values: studies.create(project, request.user, **values))


@require_http_methods(["GET", "POST"])
def change(request: HttpRequest, pk: int) -> HttpResponse:
    """Change the plan of a study that has not started."""
    study = _study(request, pk, Role.LEAD)
    if not study.is_draft:
        messages.warning(request, "The study has started; it can no longer change.")
        return redirect(study)
    return _plan(request, study.project, study, lambda values: studies.change(_study(request, pk, Role.LEAD), **values))


def _plan(
    request: HttpRequest, project: Project, study: Study | None, save: Callable[[dict[str, Any]], Study]
) -> HttpResponse:
    """The form of a study's plan. Adding a criterion only shows one more row: nothing is checked or stored yet."""
    data = request.POST.copy() if request.method == "POST" else None
    more = data is not None and "more" in data
    if data is not None and more:
        data["criteria-TOTAL_FORMS"] = str(min(_number(data.get("criteria-TOTAL_FORMS")) + 1, studies.MAX_CRITERIA + 1))
    # The form works on a copy, so that the page's frame shows the study as it is stored.
    copy = Study.objects.get(pk=study.pk) if study else None
    form = StudyForm(data, instance=copy, project=project, user=request.user)
    formset: Any = CriterionFormSet(data, initial=criterion_values(study), prefix="criteria")
    if more:
        for one in (form, *formset.forms):
            one._errors = ErrorDict()
        vars(formset).update(_errors=[], _non_form_errors=ErrorList())
    elif form.is_bound and form.is_valid() & formset.is_valid():
        try:
            return redirect(save(form.values() | {"criteria": formset.values()}))
        except ValidationError as error:
            show_errors(form, error)
    context = {
        "project": project,
        "study": study,
        "form": form,
        "formset": formset,
        "example": EXAMPLE,
        "full": len(formset.forms) > studies.MAX_CRITERIA,
    }
    return render(request, "evaluation/study_form.html", context, status=422 if data is not None and not more else 200)


# An output in every form that can be taken off, for the page that offers it.
EXAMPLE = "Sure! Here is a rewritten version:\n\n“They **work** hard.”\n\nLet me know if you want any changes."


def _number(text: str | None) -> int:
    return int(text) if text and text.isdecimal() and len(text) < 4 else 0


@require_GET
def detail(request: HttpRequest, pk: int) -> HttpResponse:
    """A study: its set-up, reviewers, progress, and the one thing to do next."""
    study = _study(request, pk, *READERS)
    return _detail(request, study)


def _detail(
    request: HttpRequest,
    study: Study,
    form: PersonForm | None = None,
    problems: list[str] | None = None,
    **typed: Any,
) -> HttpResponse:
    """The page; with what somebody typed, where a rule refused it: `reason` of closing, or `revoking` one reviewer."""
    blind = studies.is_blind(request.user, study)
    manages = _may_manage(request.user, study.project_id)
    rows = studies.progress(study) if manages else []
    others = _other_roles(study) if manages else {}
    context: dict[str, Any] = {
        "project": study.project,
        "study": study,
        "blind": blind,
        "may_manage": manages,
        "reviews": studies.is_reviewer(request.user, study),
        "criteria": study.criteria.all(),
        "rows": [
            {
                "progress": row,
                "link": _invitation_link(request, row.user),
                "roles": others.get(row.user.pk, []),
            }
            for row in rows
        ],
        "systems": [] if blind else study.systems.order_by("name"),
        "tuned": set() if blind else set(study.tuned.values_list("pk", flat=True)),
        "form": form or PersonForm(),
        "problems": problems or [],
        "total": sum(row.total for row in rows),
        "done": sum(row.done for row in rows),
        "unfinished": [row for row in rows if row.done < row.total],
        "power": protocol.newest_power(study),
    } | typed
    if study.is_draft and manages:
        context["ready"] = starting.readiness(study)
        context["strata"] = starting.strata_of(study)
    if study.is_closed:
        context["report"] = study.reports.first()
    status = 422 if form or problems else 200
    return render(request, "evaluation/study.html", context, status=status)


def _other_roles(study: Study) -> dict[int, list[str]]:
    """What its reviewers are in the project besides: they may know the systems."""
    held = Membership.objects.filter(project_id=study.project_id, user__in=study.reviewers.values("user_id"))
    found: dict[int, list[str]] = {}
    for person, role in held.order_by("role").values_list("user_id", "role"):
        found.setdefault(person, []).append(Role(role).label.lower())
    return found


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
def revoke(request: HttpRequest, pk: int) -> HttpResponse:
    """Take a reviewer off a running study, with a reason."""
    membership = StudyMembership.objects.filter(pk=pk).select_related("study").first()
    if membership is None:
        raise Http404
    study = _study(request, membership.study_id, Role.LEAD)
    reason = request.POST.get("reason", "")
    return _act(
        request,
        study,
        lambda: studies.revoke(study, membership, request.user, reason),
        f"{membership.user} was taken off the study.",
        revoking=pk,
        revoke_reason=reason,
    )


@require_POST
def close(request: HttpRequest, pk: int) -> HttpResponse:
    """Take no more ratings and compute the report."""
    study = _study(request, pk, Role.LEAD)
    reason = request.POST.get("reason", "")
    return _act(
        request, study, lambda: studies.close(study, request.user, reason), "The study is closed.", close_reason=reason
    )


def _act(request: HttpRequest, study: Study, action, done: str, **typed: Any) -> HttpResponse:
    """Do it and go back to the study; where a rule refuses, show the study with the reasons and what was typed."""
    try:
        action()
    except ValidationError as error:
        study.refresh_from_db()
        return _detail(request, study, problems=error.messages, **typed)
    messages.success(request, done)
    return redirect(study)


def _study(request: HttpRequest, pk: int, *roles: str) -> Study:
    return access.object_for(request.user, Study.objects.select_related("project", "reference"), pk, *roles)


def _may_manage(user, project_id: int) -> bool:
    return user.is_superuser or Role.LEAD in access.roles_in(user, project_id)
