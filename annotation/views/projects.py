"""Home, and a project's own pages: overview, settings, people."""

from typing import Any

from django.contrib import messages
from django.contrib.auth import get_user_model
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_POST

from annotation import access, home, pairs, projects, summary
from annotation.forms import (
    DimensionFormSet,
    MemberForm,
    ProjectForm,
    RolesForm,
    dimension_values,
    show_errors,
    wanted_dimensions,
)
from annotation.models import (
    Export,
    ItemImport,
    Membership,
    Pair,
    PairStatus,
    Project,
    Role,
    default_dimensions,
)
from annotation.pagination import page_by_id

CONTESTED = 5  # texts that split annotators most, on the overview


@require_GET
def index(request: HttpRequest) -> HttpResponse:
    """The projects this person is a member of, and what other applications add."""
    page = page_by_id(Project.objects.visible_to(request.user), request.GET.get("after"), descending=True)
    keys = [project.pk for project in page]
    roles: dict[int, list[str]] = {}
    user: Any = request.user
    for membership in Membership.objects.filter(user=user, project__in=keys):
        roles.setdefault(membership.project_id, []).append(membership.get_role_display())
    sees_all = {Role.LEAD.label, Role.TRAINER.label}
    inside = [key for key in keys if request.user.is_superuser or sees_all & {str(role) for role in roles.get(key, [])}]
    progress = projects.progress(inside)
    progress |= projects.progress(set(keys) - set(inside), for_annotators=True)
    context = {
        "page": page,
        "rows": [
            {"project": project, "roles": roles.get(project.pk, []), **with_percent(progress.get(project.pk))}
            for project in page
        ],
        "sections": home.sections_for(request.user),
        "may_create": access.may_create_projects(request.user),
    }
    return render(request, "annotation/home.html", context)


def with_percent(progress: dict[str, int] | None) -> dict[str, Any]:
    progress = progress or projects.NO_PROGRESS
    needed = progress["needed_annotations"]
    percent = int(100 * progress["finished_annotations"] / needed) if needed else 0
    return {**progress, "percent": percent}


@require_GET
def overview(request: HttpRequest, pk: int) -> HttpResponse:
    """How far the project is, and where this person's roles lead."""
    project = access.project_for(request.user, pk)
    held = access.require(request.user, pk, *Role.values)
    context: dict[str, Any] = {
        "project": project,
        "is_lead": Role.LEAD in held,
        "is_trainer": Role.TRAINER in held,
        "is_annotator": Role.ANNOTATOR in held,
    }
    if not held & {Role.LEAD, Role.TRAINER}:
        # Counts of open texts would tell annotators what others chose.
        context["progress"] = with_percent(projects.progress([pk], for_annotators=True).get(pk))
        return render(request, "annotation/project.html", context)
    figures, counted_at = summary.of(project)
    proposed = pairs.in_order(Pair.objects.filter(project=project, disagreement__gt=0), PairStatus.PROPOSED)
    context |= {
        "progress": with_percent(figures["progress"]),
        "dimensions": figures["levels"],
        "agreement": figures["agreement"],
        "counted_at": counted_at,
        "contested": proposed.select_related("item")[:CONTESTED],
        "pairs": [(status, label, figures["pairs"][status]) for status, label in PairStatus.choices],
        "exports": Export.objects.filter(project=project)[:3],
    }
    if Role.LEAD in held:
        context["people"] = projects.people(project, figures["people"])
        context["skips"] = figures["skips"]
        context["imports"] = ItemImport.objects.filter(project=project)[:3]
    return render(request, "annotation/project.html", context)


def create(request: HttpRequest) -> HttpResponse:
    """A new project; whoever makes it becomes its lead."""
    if not access.may_create_projects(request.user):
        raise PermissionDenied("An administrator can give you the permission to create projects.")
    data = request.POST if request.method == "POST" else None
    form = ProjectForm(data)
    formset = DimensionFormSet(data, initial=dimension_values(default_dimensions()), prefix="dimensions")
    if data is not None and form.is_valid() and formset.is_valid():
        try:
            project = projects.create(user=request.user, dimensions=wanted_dimensions(formset), **form.cleaned_data)
        except ValidationError as error:
            show_errors(form, error)
        else:
            messages.success(request, "The project is there. Import its texts next, then add people.")
            return redirect(project)
    context = {"form": form, "formset": formset}
    return render(request, "annotation/project_form.html", context, status=200 if data is None else 422)


def edit(request: HttpRequest, pk: int) -> HttpResponse:
    """A project's settings."""
    project = access.project_for(request.user, pk, Role.LEAD)
    data = request.POST if request.method == "POST" else None
    # The form works on a copy, so that the page's frame shows the project as it is stored.
    form = ProjectForm(data, instance=Project.objects.get(pk=pk))
    initial = dimension_values(project.dimensions.values("key", "name", "levels", "scale"))
    formset = DimensionFormSet(data, initial=initial, prefix="dimensions")
    if data is not None and form.is_valid() and formset.is_valid():
        try:
            projects.change(project, by=request.user, dimensions=wanted_dimensions(formset), **form.cleaned_data)
        except ValidationError as error:
            show_errors(form, error)
        else:
            messages.success(request, "The changes are saved.")
            return redirect(project)
    context = {"project": project, "form": form, "formset": formset}
    return render(request, "annotation/project_form.html", context, status=200 if data is None else 422)


def members(request: HttpRequest, pk: int) -> HttpResponse:
    """Who is in the project, with which roles; new people are added here."""
    project = access.project_for(request.user, pk, Role.LEAD)
    data = request.POST if request.method == "POST" else None
    form = MemberForm(data, initial={"roles": [Role.ANNOTATOR]})
    if data is not None and form.is_valid():
        try:
            user = projects.add_member(
                project, form.cleaned_data["person"], form.cleaned_data["roles"], invited_by=request.user
            )
        except ValidationError as error:
            show_errors(form, error)
        else:
            new = projects.invitation_path(user, request.user)
            messages.success(request, f"{user} is a member now." + (" Send them the link below." if new else ""))
            return redirect("annotation:members", pk)
    return _members_page(request, project, form, 200 if data is None else 422)


def _members_page(request: HttpRequest, project: Project, form: MemberForm, status: int = 200) -> HttpResponse:
    rows = projects.people(project)
    for row in rows:
        path = projects.invitation_path(row["user"], request.user)
        row["link"] = request.build_absolute_uri(path) if path else None
        row["form"] = RolesForm(initial={"roles": row["roles"]}, auto_id=f"id_{row['user'].pk}_%s")
    context = {"project": project, "form": form, "rows": rows}
    return render(request, "annotation/members.html", context, status=status)


@require_POST
def member(request: HttpRequest, pk: int, user_pk: int) -> HttpResponse:
    """Change a member's roles, or remove the member."""
    project = access.project_for(request.user, pk, Role.LEAD)
    people = get_user_model().objects.filter(memberships__project=project).distinct()
    user = get_object_or_404(people, pk=user_pk)
    form = RolesForm(request.POST)
    try:
        if "remove" in request.POST:
            projects.remove_member(project, user, request.user)
            messages.success(request, f"{user} is no member any more. Their annotations stay.")
        elif not form.is_valid() or not form.cleaned_data["roles"]:
            raise ValidationError("Choose at least one role, or remove the member.")
        else:
            projects.set_roles(project, user, form.cleaned_data["roles"], request.user)
            messages.success(request, f"The roles of {user} are saved.")
    except ValidationError as error:
        messages.error(request, error.messages[0])
    if not access.roles_in(request.user, pk) and not request.user.is_superuser:
        return redirect("annotation:home")
    return redirect("annotation:members", pk)
