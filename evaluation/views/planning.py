"""The lead's pages about a study's plan: how large it must be, and the protocol with its amendments."""

from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from annotation import access
from annotation.forms import show_errors
from annotation.models import Role
from evaluation import planning, protocol, protocol_text, studies
from evaluation.forms import AmendmentForm, PowerForm
from evaluation.models import PowerAnalysis, Protocol, Study
from evaluation.views.jobs import job_partial
from evaluation.views.studies import READERS, _may_manage, _study

MOST_SHOWN = 20  # earlier analyses on the page


@require_http_methods(["GET", "POST"])
def power(request: HttpRequest, pk: int) -> HttpResponse:
    """What difference the study would find with what certainty; analyses are made of drafts only."""
    study = _study(request, pk, *((Role.LEAD,) if request.method == "POST" else READERS))
    manages = _may_manage(request.user, study.project_id) and study.is_draft
    form = PowerForm(request.POST or None, initial=_initial(study), study=study) if manages else None
    if form is not None and form.is_bound and form.is_valid():
        try:
            planning.request(study, request.user, **form.cleaned_data)
            return redirect("evaluation:power", study.pk)
        except ValidationError as error:
            show_errors(form, error)
    elif request.method == "POST" and form is None:
        messages.warning(request, "The study has started; its size is fixed.")
        return redirect("evaluation:power", study.pk)
    rows = study.power_analyses.select_related("created_by")
    wanted = request.GET.get("analysis", "")
    newest = rows.first()
    shown = protocol.newest_power(study)
    if wanted.isdecimal() and len(wanted) < 19:
        shown = rows.filter(pk=int(wanted), results__has_key="table").first() or shown
    context: dict[str, Any] = {
        "project": study.project,
        "study": study,
        "form": form,
        "job": newest if newest and newest != shown else None,
        "shown": shown,
        "earlier": rows[:MOST_SHOWN],
        "may_use": manages,
        "criteria": planning.criteria_of(study),
        "goals": planning.GOALS,
    }
    if newest:
        context["progress_url"] = reverse("evaluation:power-progress", args=[newest.pk])
    if shown:
        context["rows"] = _rows(shown)
    return render(request, "evaluation/power.html", context, status=422 if form and form.is_bound else 200)


def _initial(study: Study) -> dict[str, Any]:
    """What the newest analysis assumed, or the plan's own numbers."""
    values = planning.defaults(study)
    newest = study.power_analyses.first()
    if newest and newest.parameters.get("criterion") in [row.key for row in planning.criteria_of(study)]:
        values |= {name: newest.parameters[name] for name in values if name in newest.parameters}
    return values


def _rows(analysis: PowerAnalysis) -> list[dict[str, Any]]:
    """The table, with what the page marks."""
    target, goal = analysis.parameters["target"], analysis.parameters["goal"]
    return [
        row
        | {
            "enough": all(
                row[name][0] >= target for name in ("superiority", "noninferiority") if goal in (name, "both")
            ),
            "best": row == analysis.results["best"],
        }
        for row in analysis.results["table"]
    ]


@require_POST
def power_use(request: HttpRequest, pk: int) -> HttpResponse:
    """Set the draft's numbers to a combination that an analysis tried."""
    analysis = _analysis(request, pk, Role.LEAD)
    items, _, ratings = request.POST.get("numbers", "").partition("x")
    try:
        if not all(part.isdecimal() and len(part) < 6 for part in (items, ratings)):
            raise ValidationError("Choose one of the combinations.")
        study = planning.use(analysis, int(items), int(ratings))
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
        return redirect("evaluation:power", analysis.study_id)
    messages.success(request, f"The study has {items} texts and {ratings} ratings of each output now.")
    return redirect(study)


@require_GET
def power_progress(request: HttpRequest, pk: int) -> HttpResponse:
    analysis = _analysis(request, pk, *READERS)
    return job_partial(request, analysis, reverse("evaluation:power-progress", args=[analysis.pk]))


@require_POST
def power_cancel(request: HttpRequest, pk: int) -> HttpResponse:
    analysis = _analysis(request, pk, Role.LEAD)
    analysis.request_cancel()
    return redirect("evaluation:power", analysis.study_id)


@require_GET
def power_figure(request: HttpRequest, pk: int) -> HttpResponse:
    """The figure as a file of its own."""
    analysis = _analysis(request, pk, *READERS)
    if not analysis.figure:
        raise Http404
    name = f'attachment; filename="study-{analysis.study_id}-power.svg"'
    return HttpResponse(analysis.figure, content_type="image/svg+xml", headers={"Content-Disposition": name})


def _analysis(request: HttpRequest, pk: int, *roles: str) -> PowerAnalysis:
    return access.object_for(request.user, PowerAnalysis.objects.select_related("study"), pk, *roles)


# The protocol


@require_GET
def protocol_page(request: HttpRequest, pk: int) -> HttpResponse:
    """What was planned, word for word, and what was changed since."""
    return _protocol(request, _study(request, pk, *READERS))


def _protocol(request: HttpRequest, study: Study, form: AmendmentForm | None = None) -> HttpResponse:
    blind = studies.is_blind(request.user, study)
    found = Protocol.objects.filter(study=study).select_related("created_by").first()
    context: dict[str, Any] = {"project": study.project, "study": study, "blind": blind, "protocol": found}
    if found:
        context |= {
            "sections": protocol_text.sections(protocol_text.content_of(found, blind)),
            "intact": protocol.is_intact(study),
            "amendments": protocol_text.amendments(study, request.user),
        }
        if _may_manage(request.user, study.project_id):
            context["form"] = form or AmendmentForm(instance=Study.objects.get(pk=study.pk), blind=blind)
    return render(request, "evaluation/protocol.html", context, status=422 if form else 200)


@require_POST
def amend(request: HttpRequest, pk: int) -> HttpResponse:
    """Change what may be changed of a running study, or note a deviation."""
    study = _study(request, pk, Role.LEAD)
    if study.is_draft:
        messages.warning(request, "The study has not started: change it itself.")
        return redirect(study)
    blind = studies.is_blind(request.user, study)
    form = AmendmentForm(request.POST, instance=Study.objects.get(pk=study.pk), blind=blind)
    if form.is_valid():
        try:
            protocol.change(study, request.user, form.cleaned_data["reason"], **form.changes())
            messages.success(request, "The amendment is written down.")
            return redirect("evaluation:protocol", study.pk)
        except ValidationError as error:
            show_errors(form, error)
    return _protocol(request, study, form)


@require_GET
def protocol_file(request: HttpRequest, pk: int, ending: str) -> HttpResponse:
    """The document as it was hashed (json), or for a preregistration (md)."""
    study = _study(request, pk, *READERS)
    found = Protocol.objects.filter(study=study).first()
    if found is None or ending not in ("json", "md"):
        raise Http404
    if studies.is_blind(request.user, study):
        raise PermissionDenied("You review this study, and its protocol names the systems. It is yours once it closes.")
    text = found.text if ending == "json" else protocol_text.markdown(study)
    kind = "application/json" if ending == "json" else "text/markdown; charset=utf-8"
    name = f'attachment; filename="study-{study.pk}-protocol.{ending}"'
    return HttpResponse(text, content_type=kind, headers={"Content-Disposition": name})
