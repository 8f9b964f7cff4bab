"""The page where people try systems: a text, what several systems make of it, and how it differs. Each person's own."""

from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from annotation import access
from annotation.models import Project, Role
from evaluation import tries
from evaluation.forms import TryForm
from evaluation.models import Try

READERS = (Role.LEAD, Role.TRAINER)
LISTED = 10


@require_http_methods(["GET", "POST"])
def index(request: HttpRequest, pk: int) -> HttpResponse:
    """The form, and one's latest tries; POST starts one."""
    project = access.project_for(request.user, pk, *READERS)
    if request.method == "GET":
        initial = {"external_id": request.GET.get("external_id", ""), "systems": request.GET.getlist("system")}
        return _page(request, project, TryForm(initial=initial, project=project, user=request.user))
    form = TryForm(request.POST, project=project, user=request.user)
    if form.is_valid():
        values = form.cleaned_data
        try:
            return redirect(
                tries.start(
                    project,
                    request.user,
                    text=values["text"],
                    item=values["external_id"],
                    chosen=list(values["systems"]),
                )
            )
        except ValidationError as error:
            errors = error.message_dict
            if "item" in errors:
                errors["external_id"] = errors.pop("item")
            form.add_error(None, ValidationError(errors))
    return _page(request, project, form, status=422)


@require_GET
def detail(request: HttpRequest, pk: int) -> HttpResponse:
    """One try: the outputs side by side, and the form to try on with the same text or systems."""
    attempt = _own(request, pk)
    outputs = list(tries.outputs_of(attempt, request.user))
    initial = {"text": attempt.text, "systems": [output.system_id for output in outputs]}
    form = TryForm(initial=initial, project=attempt.project, user=request.user)
    return _page(request, attempt.project, form, attempt=attempt, outputs=outputs)


@require_POST
def cancel(request: HttpRequest, pk: int) -> HttpResponse:
    attempt = _own(request, pk)
    tries.cancel(attempt)
    return redirect(attempt)


@require_GET
def output(request: HttpRequest, pk: int) -> HttpResponse:
    """One system's part of a try; asks again until it has ended."""
    attempt = get_object_or_404(tries.open_to(request.user).select_related("project"), outputs=pk)
    access.require(request.user, attempt.project_id, *READERS)
    found = tries.outputs_of(attempt, request.user).filter(pk=pk).first()
    if found is None:
        raise Http404
    return render(request, "evaluation/_try_output.html", {"output": found, "attempt": attempt})


def _own(request: HttpRequest, pk: int) -> Try:
    """The person's own try, in a project where they still are what they were."""
    attempt = get_object_or_404(tries.open_to(request.user).select_related("project", "item"), pk=pk)
    access.require(request.user, attempt.project_id, *READERS)
    return attempt


def _page(request: HttpRequest, project: Project, form: TryForm, *, status: int = 200, **context) -> HttpResponse:
    context |= {
        "project": project,
        "form": form,
        "offers": form.fields["systems"].queryset.exists(),  # type: ignore[attr-defined]
        "latest": tries.of(request.user, project)[:LISTED],
        "hidden": tries.hidden_count(project, request.user),
        "may_generate": request.user.is_superuser or Role.TRAINER in access.roles_in(request.user, project.pk),
        "active": any(output.is_active for output in context.get("outputs", ())),
    }
    return render(request, "evaluation/try.html", context, status=status)
