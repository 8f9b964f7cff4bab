"""The voter's page. Every answer to a vote or a step back is the next rewrite, so nothing reloads."""

import json
from typing import Any

from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from annotation import access, practice, votes, wellbeing
from annotation.models import Project, RewriteVote, Role, VoteState


@never_cache
@require_GET
def next_vote(request: HttpRequest, pk: int) -> HttpResponse:
    """The rewrite that this person judges now, or the next one."""
    project = access.project_for(request.user, pk, Role.ANNOTATOR)
    return _show_next(request, project)


@never_cache
def vote(request: HttpRequest, pk: int) -> HttpResponse:
    """Give this vote and answer with the next rewrite; or look at a given one again, and change it."""
    found = _own(request, pk)
    project = found.project
    if request.method != "POST":
        if found.state != VoteState.GIVEN:
            return redirect("annotation:votes", project.pk)
        return _show(request, project, found)
    answers = posted_answers(request)
    revision = request.POST.get("revision", "")
    try:
        votes.give(request.user, pk, answers, int(revision) if revision.isdecimal() else None)
    except votes.NoLongerWanted as error:
        return _show_next(request, project, error.messages[0])
    except ValidationError as error:
        return _show(request, project, _own(request, pk), answers, errors=error.messages, status=422)
    if not request.htmx:  # type: ignore[attr-defined]
        return redirect("annotation:votes", project.pk)
    return _show_next(request, project)


@require_POST
def draft(request: HttpRequest, pk: int) -> HttpResponse:
    """Keep what was chosen so far. The body is JSON, as the page's script sends it."""
    found = _own(request, pk)
    try:
        answers = json.loads(request.body)
        if not isinstance(answers, dict):
            raise ValueError
    except ValueError:
        return JsonResponse({"detail": ["The draft is not a JSON object."]}, status=400)
    try:
        votes.save_draft(request.user, found.pk, answers)
    except ValidationError as error:
        return JsonResponse(error.message_dict, status=400)
    return HttpResponse(status=204)


@never_cache
@require_GET
def back(request: HttpRequest, pk: int) -> HttpResponse:
    """The last vote of this person, or the one before `?before=`."""
    project = access.project_for(request.user, pk, Role.ANNOTATOR)
    before = request.GET.get("before", "")
    number = int(before) if before.isdecimal() and len(before) < 19 else None
    previous = votes.previous_vote(request.user, project, number)
    if previous is None:
        notice = "This is the beginning: you have voted on nothing earlier."
        return _show_next(request, project, notice)
    return _show(request, project, previous)


def posted_answers(request: HttpRequest) -> dict[str, Any]:
    """The fields of a vote from the page's form: yes, no, or not chosen."""
    meaning = {"yes": True, "no": False}
    return {
        "safe": meaning.get(request.POST.get("safe", "")),
        "keeps_meaning": meaning.get(request.POST.get("keeps_meaning", "")),
        "cannot_judge": request.POST.get("cannot_judge") == "yes",
        "comment": request.POST.get("comment", ""),
    }


def _own(request: HttpRequest, pk: int) -> RewriteVote:
    return get_object_or_404(RewriteVote.objects.of(request.user), pk=pk)


def _show_next(request: HttpRequest, project: Project, notice: str = "") -> HttpResponse:
    try:
        return _show(request, project, votes.next_vote(request.user, project), notice=notice)
    except (practice.PracticeNeeded, wellbeing.LimitReached) as error:
        return _show(request, project, None, notice=error.messages[0], stopped=True)


def _show(
    request: HttpRequest,
    project: Project,
    found: RewriteVote | None,
    answers: dict[str, Any] | None = None,
    *,
    notice: str = "",
    stopped: bool = False,
    errors: list[str] | None = None,
    status: int = 200,
) -> HttpResponse:
    context: dict[str, Any] = {
        "project": project,
        "today": votes.given_today(request.user, project),
        "vote": found,
        "stopped": stopped,
        "notice": notice,
        "errors": errors or [],
    }
    if found is not None:
        given = found.state == VoteState.GIVEN
        shown = answers or (found.answers() if given else found.draft or {})
        context |= {
            "rewrite": found.rewrite,
            "item": found.rewrite.item,
            "given": given,
            "locked": given and votes.settled(found),
            "annotated": not given and votes.annotated(found),
            "warnings": wellbeing.warnings_for(project, found.rewrite.item.content_kinds),
            "has_draft": bool(found.draft),
            "cannot_judge": bool(shown.get("cannot_judge")),
            "comment": shown.get("comment") or "",
            "questions": [
                {"name": name, "title": title, "answer": shown.get(name)} for name, title in QUESTIONS.items()
            ],
        }
    template = "annotation/_vote.html" if request.htmx else "annotation/votes.html"  # type: ignore[attr-defined]
    return render(request, template, context, status=status)


QUESTIONS = {
    "safe": "Is the rewrite safe?",
    "keeps_meaning": "Does it keep the meaning?",
}
