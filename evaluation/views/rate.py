"""The reviewer's page. Nothing in it names or orders systems. A submit is answered with the next task."""

import json
import uuid
from typing import Any

from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from evaluation import reviewing
from evaluation.models import ReviewTask, Study

RATING = "rating"


@never_cache
@require_GET
def rate(request: HttpRequest, pk: int) -> HttpResponse:
    """The first text that this reviewer has not finished."""
    study = _study(request, pk)
    return _show(request, study, reviewing.next_task(request.user, study))


@never_cache
@require_GET
def back(request: HttpRequest, pk: int) -> HttpResponse:
    """The text before `?before=` (a position), or the last finished one."""
    study = _study(request, pk)
    before = request.GET.get("before", "")
    task = reviewing.task_before(request.user, study, int(before) if before.isdecimal() and len(before) < 10 else None)
    if task is None:
        first = reviewing.next_task(request.user, study)
        return _show(request, study, first, notice="This is the first text.")
    return _show(request, study, task)


@require_POST
def draft(request: HttpRequest, token: uuid.UUID) -> HttpResponse:
    """Keep what was chosen and typed so far. The body is JSON, as the page's script sends it."""
    task = _own(request, token)
    try:
        content = json.loads(request.body)
        if not isinstance(content, dict):
            raise ValueError
    except ValueError:
        return JsonResponse({"detail": ["The draft is not a JSON object."]}, status=400)
    try:
        reviewing.save_draft(request.user, task.token, content)
    except ValidationError as error:
        return JsonResponse({"detail": error.messages}, status=400)
    return HttpResponse(status=204)


@require_POST
def submit(request: HttpRequest, token: uuid.UUID) -> HttpResponse:
    """Finish this text and answer with the next one; on an error, with this one as it was filled in."""
    task = _own(request, token)
    content = _posted(request)
    try:
        reviewing.submit(request.user, task.token, content)
    except reviewing.StudyClosed as error:
        return _show(request, _study(request, task.study_id), None, notice=error.messages[0])
    except ValidationError as error:
        return _show(request, task.study, task, content=content, errors=error.messages, status=422)
    if not request.htmx:  # type: ignore[attr-defined]
        return redirect("evaluation:rate", task.study_id)
    return _show(request, task.study, reviewing.next_task(request.user, task.study))


def _study(request: HttpRequest, pk: int) -> Study:
    return get_object_or_404(Study.objects.reviewed_by(request.user).select_related("project"), pk=pk)


def _own(request: HttpRequest, token: uuid.UUID) -> ReviewTask:
    tasks = ReviewTask.objects.of(request.user).select_related("study__project", "item")
    return get_object_or_404(tasks, token=token)


def _posted(request: HttpRequest) -> dict[str, Any]:
    """The answers from the page's form. What cannot be read stays as it is, for the rules to refuse."""
    ratings: dict[str, dict[str, Any]] = {}
    for name in request.POST:
        value = request.POST.get(name, "")
        kind, _, rest = name.partition(":")
        if kind == RATING:
            slot, _, key = rest.partition(":")
            ratings.setdefault(slot, {})[key] = int(value) if value in set("123456789") else value
    return {
        "ratings": ratings,
        "preferred": request.POST.get("preferred", ""),
        "comment": request.POST.get("comment", ""),
        "active_seconds": request.POST.get("active_seconds", 0),
    }


def _show(
    request: HttpRequest,
    study: Study,
    task: ReviewTask | None,
    *,
    content: dict[str, Any] | None = None,
    errors: list[str] | None = None,
    notice: str = "",
    status: int = 200,
) -> HttpResponse:
    context: dict[str, Any] = {
        "project": study.project,
        "study": study,
        "counts": reviewing.counts_of(request.user, study),
        "errors": errors,
        "notice": notice,
    }
    if study.is_closed:
        context["unfinished"] = [
            {
                "position": late.position,
                "text": late.item.text,
                "comment": (late.draft or {}).get("comment", ""),
                "answers": sum(len(answers) for answers in (late.draft or {}).get("ratings", {}).values()),
            }
            for late in reviewing.unfinished(request.user, study)
        ]
    if task and study.is_running:
        context["task"] = _fields(task, content or reviewing.content_of(task))
    template = "evaluation/_task.html" if request.htmx else "evaluation/rate.html"  # type: ignore[attr-defined]
    return render(request, template, context, status=status)


def _fields(task: ReviewTask, content: dict[str, Any]) -> dict[str, Any]:
    """What the template shows of a task: texts under random ids, and what has been chosen."""
    criteria = list(task.study.criteria.all())
    slots = list(task.slots.all())
    ratings, preferred = content.get("ratings") or {}, content.get("preferred")
    choices = [{"value": str(slot.pk), "label": slot.letter, "name": str(slot)} for slot in slots]
    tie = {"value": reviewing.TIE, "label": "About the same", "name": "About the same"}
    # Between two, as on a scale; after more than two, at the end.
    choices.insert(1 if len(choices) == 2 else len(choices), tie)
    return {
        "position": task.position,
        "text": task.item.text,
        "language": task.item.language,
        "finished": task.done_at,
        "action": reverse("evaluation:submit", args=[task.token]),
        "draft_url": reverse("evaluation:draft", args=[task.token]),
        "key": str(task.token),
        "has_draft": task.draft is not None,
        "comment": content.get("comment") or "",
        "active_seconds": max(task.active_seconds, (task.draft or {}).get("active_seconds", 0)),
        "slots": [
            {
                "name": str(slot),
                "letter": slot.letter,
                "text": slot.text,
                "criteria": [
                    {
                        "field": f"{RATING}:{slot.pk}:{criterion.key}",
                        "question": criterion.question,
                        "low": criterion.low,
                        "high": criterion.high,
                        "levels": [
                            {
                                "value": value,
                                "checked": ratings.get(str(slot.pk), {}).get(criterion.key) == value,
                            }
                            for value in range(1, criterion.levels + 1)
                        ],
                    }
                    for criterion in criteria
                ],
            }
            for slot in slots
        ],
        "choices": [choice | {"checked": choice["value"] == preferred} for choice in choices],
    }
