"""The reviewer's pages. Nothing in them names or orders systems. A submit is answered with the next page.

Everything is one swap of #task: a text to rate, the words after practice, a page to guess about, thanks.
"""

import json
import uuid
from typing import Any

from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.middleware.csrf import get_token
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from annotation import drafts
from evaluation import review_drafts, reviewing
from evaluation.models import CannotJudge, Criterion, Guessed, ReviewTask, Slot, Study, StudyStatus, TaskKind

RATING, GUESS = "rating", "guess"


@never_cache
@require_GET
def rate(request: HttpRequest, pk: int) -> HttpResponse:
    """The first page that this reviewer has not finished. `?go` passes by the words after practice."""
    study = _study(request, pk)
    return _show(request, study, reviewing.next_task(request.user, study), between="go" not in request.GET)


@never_cache
@require_GET
def back(request: HttpRequest, pk: int) -> HttpResponse:
    """The page before `?before=` (a position), or the last finished one."""
    study = _study(request, pk)
    before = drafts.number(request.GET.get("before"))
    task = reviewing.task_before(request.user, study, None if before is None else min(before, 2**31 - 1))
    if task is None:
        first = reviewing.next_task(request.user, study)
        return _show(request, study, first, notice="This is the first text.")
    return _show(request, study, task)


@never_cache
@require_http_methods(["GET", "POST"])
def draft(request: HttpRequest, token: uuid.UUID) -> HttpResponse:
    """Keep what was chosen and typed so far, or say what is kept. Bodies are JSON, as the page's script sends them.

    409 when another tab or device has saved since, with what is there.
    """
    task = _own(request, token)
    if request.method == "GET":
        return JsonResponse(review_drafts.facts(task) | {"csrf": get_token(request)})
    try:
        content = json.loads(request.body)
        if not isinstance(content, dict):
            raise ValueError
    except ValueError:
        return JsonResponse({"detail": ["The draft is not a JSON object."]}, status=400)
    notice = ""
    try:
        task = reviewing.save_draft(request.user, task.token, content, drafts.base_of(content))
    except drafts.Conflict as error:
        return _conflict(task, error)
    except reviewing.TooLate as error:
        task, notice = _own(request, token), error.messages[0]
    except ValidationError as error:
        return JsonResponse({"detail": error.messages}, status=400)
    return JsonResponse({"version": task.draft_version, "notice": notice})


@require_POST
def submit(request: HttpRequest, token: uuid.UUID) -> HttpResponse:
    """Finish this page and answer with the next one; on an error, with this one as it was filled in."""
    task = _own(request, token)
    content = _posted(request)
    try:
        reviewing.submit(request.user, task.token, content, drafts.base_of(request.POST))
    except reviewing.TooLate as error:
        return _show(request, _study(request, task.study_id), None, notice=error.messages[0])
    except ValidationError as error:
        if isinstance(error, drafts.Conflict) and request.htmx:  # type: ignore[attr-defined]
            return _conflict(task, error)
        return _show(request, task.study, task, content=content, errors=error.messages, status=422)
    return _next(request, task.study)


@never_cache
@require_http_methods(["GET", "POST"])
def guessing(request: HttpRequest, pk: int) -> HttpResponse:
    """What the guess is about; by POST its begin, which makes the ratings final."""
    study = _study(request, pk)
    if request.method == "POST":
        try:
            reviewing.begin_guessing(request.user, study)
        except ValidationError as error:
            return _show(request, study, reviewing.next_task(request.user, study), notice=error.messages[0])
        return _next(request, study)
    return _show(request, study, reviewing.next_task(request.user, study))


@require_POST
def guess(request: HttpRequest, token: uuid.UUID) -> HttpResponse:
    """Store the guesses about one page and answer with the next one to guess about, or with thanks."""
    task = _own(request, token)
    given = {name.removeprefix(f"{GUESS}:"): request.POST[name] for name in request.POST if name.startswith(GUESS)}
    try:
        reviewing.guess(request.user, task.token, given)
    except ReviewTask.DoesNotExist:
        raise Http404 from None
    except reviewing.TooLate as error:
        return _show(request, _study(request, task.study_id), None, notice=error.messages[0])
    except ValidationError as error:
        open_task = reviewing.next_task(request.user, task.study)
        return _show(request, task.study, open_task, guessed=given, errors=error.messages, status=422)
    return _next(request, task.study)


def _study(request: HttpRequest, pk: int) -> Study:
    """A study that this person reviews, or did until they were taken off it."""
    mine = Study.objects.exclude(status=StudyStatus.DRAFT).filter(reviewers__user=request.user)  # type: ignore[misc]
    return get_object_or_404(mine.select_related("project"), pk=pk)


def _own(request: HttpRequest, token: uuid.UUID) -> ReviewTask:
    tasks = ReviewTask.objects.once_of(request.user).select_related("study__project", "item")
    return get_object_or_404(tasks, token=token)


def _conflict(task: ReviewTask, error: drafts.Conflict) -> JsonResponse:
    address = f"{reverse('evaluation:back', args=[task.study_id])}?before={task.position + 1}"
    finished = error.facts["revision"] is not None
    facts = {"detail": error.messages[0], "open": address if finished else None} | error.facts
    return JsonResponse(facts, status=409)


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
        "worst": request.POST.get("worst", ""),
        "comment": request.POST.get("comment", ""),
        "active_seconds": request.POST.get("active_seconds", 0),
        "revision": drafts.number(request.POST.get("revision")),
    }


def _next(request: HttpRequest, study: Study) -> HttpResponse:
    if not request.htmx:  # type: ignore[attr-defined]
        return redirect("evaluation:rate", study.pk)
    return _show(request, study, reviewing.next_task(request.user, study), between=True)


def _show(
    request: HttpRequest,
    study: Study,
    task: ReviewTask | None,
    *,
    content: dict[str, Any] | None = None,
    guessed: dict[str, Any] | None = None,
    errors: list[str] | None = None,
    notice: str = "",
    between: bool = False,
    status: int = 200,
) -> HttpResponse:
    """One state of the page.

    Args:
        task: the page to rate; None when there is none. content: what was sent of it and refused. guessed: the same of
        a page to guess about. between: whether the words after practice come first.
    """
    late = reviewing.why_late(request.user, study)
    context: dict[str, Any] = {"project": study.project, "study": study, "errors": errors, "notice": notice}
    if isinstance(late, reviewing.TakenOff):
        context |= {"state": "taken off", "unfinished": _unfinished(request, study)}
        status = status if request.htmx else 403  # type: ignore[attr-defined]
    else:
        context["counts"] = counts = reviewing.counts_of(request.user, study)
        if late:
            context["unfinished"] = _unfinished(request, study)
        if isinstance(late, reviewing.StudyClosed):
            context["state"] = "closed"
        elif task and late is None:
            context["state"] = "between" if between and reviewing.is_first_after_practice(task) else "rating"
            if context["state"] == "rating":
                context["task"] = _fields(task, counts, content or review_drafts.content_of(task))
        else:
            context |= _after_rating(request, study, guessed or {}, begun=late is not None)
    template = "evaluation/_task.html" if request.htmx else "evaluation/rate.html"  # type: ignore[attr-defined]
    return render(request, template, context, status=status)


def _unfinished(request: HttpRequest, study: Study) -> list[dict[str, Any]]:
    """What was typed and never submitted, in words of the reviewer's own."""
    return [
        {
            "position": late.position,
            "text": late.item.text,
            "comment": (late.draft or {}).get("comment", ""),
            "answers": sum(len(answers) for answers in (late.draft or {}).get("ratings", {}).values())
            + sum(bool((late.draft or {}).get(name)) for name in ("preferred", "worst")),
        }
        for late in reviewing.unfinished(request.user, study)
    ]


def _after_rating(request: HttpRequest, study: Study, guessed: dict[str, Any], *, begun: bool) -> dict[str, Any]:
    """The guess, if one is left, else thanks."""
    left = reviewing.tasks_to_guess(request.user, study)
    if not begun or not left:
        work = reviewing.work_of(request.user, study)
        return {
            "state": "done",
            "final": begun,
            "to_guess": len(left),
            "work": work,
            "time": _in_words(work["seconds"]),
        }
    task, wanted = left[0], reviewing.guesses_wanted(request.user, study)
    return {
        "state": "guessing",
        "page": {
            "action": reverse("evaluation:guess", args=[task.token]),
            "number": wanted - len(left) + 1,
            "wanted": wanted,
            "text": task.item.text,
            "language": task.item.language,
            "slots": [
                {
                    "name": str(slot),
                    "letter": slot.letter,
                    "text": slot.text,
                    "field": f"{GUESS}:{slot.pk}",
                    "choices": [
                        {"value": value, "label": label, "checked": guessed.get(str(slot.pk)) == value}
                        for value, label in Guessed.choices
                    ],
                }
                for slot in task.slots.all()
            ],
        },
    }


def _in_words(seconds: int) -> str:
    """Hours and minutes; nothing below a minute."""
    hours, minutes = divmod(seconds // 60, 60)
    parts = [f"{n} {unit}{'' if n == 1 else 's'}" for n, unit in ((hours, "hour"), (minutes, "minute")) if n]
    return " ".join(parts)


def _fields(task: ReviewTask, counts: dict[str, int], content: dict[str, Any]) -> dict[str, Any]:
    """What the template shows of a page: texts under random ids, and what has been chosen."""
    study = task.study
    criteria = list(study.criteria.all()) if study.asks_criteria else []
    slots = list(task.slots.all())
    ratings = content.get("ratings") or {}
    practice = task.kind == TaskKind.PRACTICE
    draft = review_drafts.open_draft(task)
    return {
        "position": task.position,
        # Practice comes first and is counted apart. Of the others nothing tells one kind from another.
        "practice": practice,
        "number": task.position if practice else task.position - counts["practice"],
        "text": task.item.text,
        "language": task.item.language,
        "finished": task.done_at,
        "action": reverse("evaluation:submit", args=[task.token]),
        "draft_url": reverse("evaluation:draft", args=[task.token]),
        "key": str(task.token),
        "version": task.draft_version,
        "writer": task.draft_writer,
        "revision": review_drafts.revision_of(task),
        "has_draft": draft is not None,
        "comment": content.get("comment") or "",
        "active_seconds": max(task.active_seconds, (draft or {}).get("active_seconds", 0)),
        "slots": [
            {
                "name": str(slot),
                "letter": slot.letter,
                "text": slot.text,
                "criteria": [_question(slot, one, ratings.get(str(slot.pk), {}).get(one.key)) for one in criteria],
            }
            for slot in slots
        ],
        "choice": _choice(study, slots, content) if reviewing.asks_preference(task, slots) else None,
        "asks_nothing": not criteria and not reviewing.asks_preference(task, slots),
    }


def _reasons(chosen: Any) -> dict[str, Any]:
    reasons = [{"value": value, "label": label, "checked": chosen == value} for value, label in CannotJudge.choices]
    return {"reasons": reasons, "no_judgement": next((one["label"] for one in reasons if one["checked"]), "")}


def _question(slot: Slot, criterion: Criterion, chosen: Any) -> dict[str, Any]:
    levels = [
        {"value": value, "words": words, "checked": chosen == value}
        for value, words in enumerate(criterion.anchors, start=1)
    ]
    return {
        "field": f"{RATING}:{slot.pk}:{criterion.key}",
        "question": criterion.question,
        "levels": levels,
        "chosen": next((level for level in levels if level["checked"]), None),
        **_reasons(chosen),
    }


def _choice(study: Study, slots: list[Slot], content: dict[str, Any]) -> dict[str, Any]:
    """What is asked about the outputs together."""
    preferred = content.get("preferred") or ""
    outputs = [{"value": str(slot.pk), "label": slot.letter, "name": str(slot)} for slot in slots]
    tie = {"value": reviewing.TIE, "label": "About the same", "name": "About the same"}
    # Between two, as on a scale; after more than two, at the end.
    between = len(outputs) == 2 and not study.asks_worst
    choices = [outputs[0], tie, outputs[1]] if between else [*outputs, tie]
    return {
        "question": study.best_question,
        "choices": [one | {"checked": one["value"] == preferred} for one in choices],
        "worst_question": study.worst_question,
        "worst": [one | {"checked": one["value"] == content.get("worst")} for one in outputs],
        **_reasons(preferred),
    }
