"""Judges of a study: start one, watch it, and read what it found once the study is closed."""

from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from annotation import access
from annotation.jobs import JobStatus
from annotation.models import Role
from annotation.pagination import page_by_id
from evaluation import judging, studies
from evaluation.judge_forms import JudgeForm, JudgeLimitsForm
from evaluation.models import Judge, Study
from evaluation.views.jobs import job_partial

READERS = (Role.LEAD, Role.TRAINER)
MOST = 50  # judges on a page


@require_http_methods(["GET", "POST"])
def index(request: HttpRequest, pk: int) -> HttpResponse:
    """A study's judges, and the form that starts another."""
    study = access.object_for(request.user, Study.objects.select_related("project"), pk, *READERS)
    form = JudgeForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            return redirect(judging.create(study, request.user, **form.cleaned_data))
        except ValidationError as error:
            form.add_error(None, error)
    context = {
        "project": study.project,
        "study": study,
        "judges": study.judges.all()[:MOST],
        "form": form,
        "may_start": not study.is_draft and form.fields["endpoint"].queryset.exists(),  # type: ignore[attr-defined]
        "estimate": None if study.is_draft else _estimate(study, form),
        "currency": settings.CURRENCY,
    }
    return render(request, "evaluation/judges.html", context, status=422 if form.is_bound else 200)


@require_POST
def estimate(request: HttpRequest, pk: int) -> HttpResponse:
    """What a judge as the form has it would be asked and would cost. Nothing is stored or sent."""
    study = access.object_for(request.user, Study.objects.all(), pk, *READERS)
    if study.is_draft:
        raise Http404
    form = JudgeForm(request.POST)
    form.is_valid()
    context = {"estimate": _estimate(study, form), "currency": settings.CURRENCY}
    return render(request, "evaluation/_judge_estimate.html", context)


def _estimate(study: Study, form: JudgeForm) -> judging.Estimate:
    """By what the form holds; where a field is wrong or not sent, by its default."""
    values = getattr(form, "cleaned_data", {})
    endpoint = values.get("endpoint") or form.fields["endpoint"].queryset.first()  # type: ignore[attr-defined]
    template = values.get("prompt_template") or form.fields["prompt_template"].initial
    swap = values.get("swap", True) if form.is_bound else True
    return judging.estimate(
        study, endpoint, template=str(template), swap=bool(swap), max_tokens=values.get("max_tokens") or 1_000
    )


@require_GET
def detail(request: HttpRequest, pk: int) -> HttpResponse:
    """How one judge stands; once the study is closed, what it found."""
    return _detail(request, _judge(request, pk))


def _detail(request: HttpRequest, judge: Judge, form: JudgeLimitsForm | None = None) -> HttpResponse:
    context: dict[str, Any] = {
        "project": judge.project,
        "study": judge.study,
        "judge": judge,
        "progress_url": reverse("evaluation:judge-progress", args=[judge.pk]),
        "spent": judging.spent(judge),
        "currency": settings.CURRENCY,
        "failures": judging.failures(judge),
        "form": (form or JudgeLimitsForm(initial=vars(judge))) if judging.may_go_on(judge) else None,
        "parameters": sorted(judge.parameters.items()),
    }
    if judge.study.is_closed and studies.is_blind(request.user, judge.study):
        context["hidden"] = studies.HIDDEN_RESULTS
    elif judge.study.is_closed and not judge.is_active:
        report = judge.study.reports.filter(status=JobStatus.FINISHED).first()
        found = (report.results.get("judges") or {}).get("judges", []) if report else []
        context["result"] = next((row for row in found if row["id"] == judge.pk), None)
    return render(request, "evaluation/judge.html", context, status=422 if form else 200)


@require_GET
def progress(request: HttpRequest, pk: int) -> HttpResponse:
    judge = access.object_for(request.user, Judge.objects.all(), pk, *READERS)
    return job_partial(request, judge, reverse("evaluation:judge-progress", args=[judge.pk]))


@require_POST
def cancel(request: HttpRequest, pk: int) -> HttpResponse:
    return redirect(judging.cancel(_judge(request, pk)))


@require_POST
def go_on(request: HttpRequest, pk: int) -> HttpResponse:
    """Ask on, within other limits if wanted."""
    judge = _judge(request, pk)
    form = JudgeLimitsForm(request.POST)
    if form.is_valid():
        try:
            return redirect(judging.go_on(judge, **form.cleaned_data))
        except ValidationError as error:
            form.add_error(None, error)
    return _detail(request, judge, form)


@require_GET
def unusable(request: HttpRequest, pk: int) -> HttpResponse:
    """The answers that cannot be used, word for word, once the study is closed."""
    judge = _judge(request, pk)
    if not judge.study.is_closed:
        raise Http404
    studies.check_results(request.user, judge.study)
    context = {
        "project": judge.project,
        "judge": judge,
        "page": page_by_id(judging.unusable(judge), request.GET.get("after"), size=100),
    }
    return render(request, "evaluation/judge_unusable.html", context)


def _judge(request: HttpRequest, pk: int) -> Judge:
    rows = Judge.objects.select_related("project", "study", "endpoint", "created_by")
    return access.object_for(request.user, rows, pk, *READERS)
