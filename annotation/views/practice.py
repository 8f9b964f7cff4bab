"""The practice round: the annotator's page with texts whose answer is shown after each."""

import json
from typing import Any

from django.contrib import messages
from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from annotation import access, gold, practice, wellbeing
from annotation.models import PracticeAnswer, PracticeRound, Project, Role
from annotation.views.annotate import content_fields, posted_content

TASK, FEEDBACK, STATE = (
    "annotation/_task.html",
    "annotation/_practice_feedback.html",
    "annotation/_practice_state.html",
)


@never_cache
@require_GET
def page(request: HttpRequest, pk: int) -> HttpResponse:
    """The text to practise on, how the last round went, or with `?answer=` one's own answer beside the right one."""
    project = access.project_for(request.user, pk, Role.ANNOTATOR)
    wanted = request.GET.get("answer", "")
    if wanted:
        known = practice.answers_of(request.user).filter(project=project, answered_at__isnull=False)
        return _feedback(request, get_object_or_404(known, pk=wanted if wanted.isdecimal() and len(wanted) < 19 else 0))
    return _show_current(request, project)


@require_POST
def begin(request: HttpRequest, pk: int) -> HttpResponse:
    """Begin a round, or go on with the running one."""
    project = access.project_for(request.user, pk, Role.ANNOTATOR)
    try:
        practice.begin(request.user, project)
    except ValidationError as error:
        return _state(request, project, error.messages, status=422)
    return _next(request, project)


@require_POST
def draft(request: HttpRequest, pk: int) -> HttpResponse:
    """Keep what was typed so far. The body is JSON, as the page's script sends it."""
    answer = _own(request, pk)
    try:
        content = json.loads(request.body)
        if not isinstance(content, dict):
            raise ValueError
    except ValueError:
        return JsonResponse({"detail": ["The draft is not a JSON object."]}, status=400)
    try:
        practice.save_draft(request.user, answer.pk, content)
    except ValidationError as error:
        return JsonResponse(error.message_dict, status=400)
    return HttpResponse(status=204)


@require_POST
def submit(request: HttpRequest, pk: int) -> HttpResponse:
    """Answer this text, and see the right answer beside one's own."""
    answer = _own(request, pk)
    content = posted_content(request)
    try:
        answer = practice.submit(request.user, pk, content)
    except ValidationError as error:
        return _task(request, answer, content, errors=error.messages, status=422)
    if not request.htmx:  # type: ignore[attr-defined]
        return redirect(f"{reverse('annotation:practice', args=[answer.project_id])}?answer={answer.pk}")
    return _feedback(request, answer)


def _own(request: HttpRequest, pk: int) -> PracticeAnswer:
    return get_object_or_404(practice.answers_of(request.user), pk=pk)


def _next(request: HttpRequest, project: Project) -> HttpResponse:
    if not request.htmx:  # type: ignore[attr-defined]
        return redirect("annotation:practice", project.pk)
    return _show_current(request, project)


def _show_current(request: HttpRequest, project: Project) -> HttpResponse:
    answer = practice.current(request.user, project)
    return _task(request, answer, answer.draft or {}) if answer else _state(request, project)


def _task(
    request: HttpRequest,
    answer: PracticeAnswer,
    content: dict[str, Any],
    errors: list[str] | None = None,
    status: int = 200,
) -> HttpResponse:
    task = {
        "practice": answer,
        "action": reverse("annotation:practice-submit", args=[answer.pk]),
        "item": answer.item,
        "has_draft": False,
        "draft_restored": bool(answer.draft),
    } | content_fields(answer.project, content)
    context = {"task": task, "errors": errors, **_place(answer)}
    return _render(request, answer.project, TASK, context, status)


def _place(answer: PracticeAnswer) -> dict[str, Any]:
    return {"practice_round": answer.round, "place": answer.position, "places": answer.round.answers.count()}


def _feedback(request: HttpRequest, answer: PracticeAnswer) -> HttpResponse:
    running = PracticeRound.objects.get(pk=answer.round_id)
    context = {
        "answer": answer,
        "content": answer.content,
        "gold": getattr(answer.item, "gold", None),
        "rows": practice.compared(answer),
        "ended": running.ended_at is not None,
        **_place(answer),
    }
    return _render(request, answer.project, FEEDBACK, context)


def _state(request: HttpRequest, project: Project, errors: list[str] | None = None, status: int = 200) -> HttpResponse:
    now = practice.standing(request.user, project)
    last = now["last"]
    context = {
        "now": now,
        "settings": gold.settings_of(project),
        "texts": min(gold.settings_of(project).practice_items, gold.practice_items(project).count()),
        "scores": scores(last, project) if last else [],
        "answers": list(
            practice.answers_of(request.user).filter(round=last, answered_at__isnull=False).order_by("position")
        )
        if last
        else [],
        "may_begin": now["passed_at"] or now["left"] != 0,
        "errors": errors,
    }
    return _render(request, project, STATE, context, status)


def scores(ended: PracticeRound, project: Project) -> list[dict[str, Any]]:
    """The score of a round per dimension that was judged."""
    return [
        {
            "dimension": dimension,
            "right": score["right"],
            "known": score["known"],
            "percent": 100 * score["right"] / score["known"],
        }
        for dimension in project.dimensions_in_order
        if (score := ended.scores.get(dimension.key))
    ]


def _render(
    request: HttpRequest, project: Project, part: str, context: dict[str, Any], status: int = 200
) -> HttpResponse:
    context = {"project": project, "part": part, "today": wellbeing.finished_today(request.user, project), **context}
    template = part if request.htmx else "annotation/practice.html"  # type: ignore[attr-defined]
    return render(request, template, context, status=status)


@require_POST
def standing(request: HttpRequest, pk: int, user_pk: int) -> HttpResponse:
    """A lead lets somebody pass, or begin anew."""
    project = access.project_for(request.user, pk, Role.LEAD)
    people = get_user_model().objects.filter(memberships__project=project).distinct()
    person = get_object_or_404(people, pk=user_pk)
    try:
        match request.POST.get("action"):
            case "pass":
                practice.let_pass(project, person, request.user)
                messages.success(request, f"{person} may work now.")
            case "reset":
                practice.reset(project, person, request.user)
                messages.success(request, f"{person} begins the practice anew.")
            case _:
                raise ValidationError("Choose to let somebody pass, or to reset their practice.")
    except ValidationError as error:
        messages.error(request, error.messages[0])
    return redirect("annotation:quality", pk)
