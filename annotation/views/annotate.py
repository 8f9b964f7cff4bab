"""The annotator's page. Every answer to a submit, a skip or a step back is the next task, so nothing reloads."""

import functools
import json
from collections.abc import Callable
from typing import Any

from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.middleware.csrf import get_token
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from annotation import access, controls, drafts, practice, suggestions, wellbeing, work
from annotation.models import Annotation, Assignment, Project, Role

# What the form of a text asks about finished texts and practice, for one that is neither: a template searches long for
# a name that is not there.
NEITHER = {"annotation": None, "locked": "", "practice": None, "draft_restored": False}


def practice_first(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """Take people to the practice round wherever they would get a text before they passed it."""

    @functools.wraps(view)
    def wrapped(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            return view(request, *args, **kwargs)
        except practice.PracticeNeeded as error:
            address = reverse("annotation:practice", args=[error.project.pk])
            if request.htmx:  # type: ignore[attr-defined]
                return HttpResponse(status=204, headers={"HX-Redirect": address})
            return redirect(address)

    return wrapped


@never_cache
@require_GET
@practice_first
def annotate(request: HttpRequest, pk: int) -> HttpResponse:
    """The text this annotator holds, or the next one."""
    project = access.project_for(request.user, pk, Role.ANNOTATOR)
    return _show(request, project, _next_task(request, project))


@never_cache
@require_http_methods(["GET", "POST"])
def draft(request: HttpRequest, pk: int) -> HttpResponse:
    """Keep what was typed so far, or say what is kept. Bodies are JSON, as the page's script sends them.

    409 when another tab or device has saved since, with what is there.
    """
    assignment = _own(request, pk)
    if request.method == "GET":
        return JsonResponse(drafts.facts(assignment) | {"csrf": get_token(request)})
    try:
        content = json.loads(request.body)
        if not isinstance(content, dict):
            raise ValueError
    except ValueError:
        return JsonResponse({"detail": ["The draft is not a JSON object."]}, status=400)
    try:
        assignment = work.save_draft(request.user, assignment.pk, content, drafts.base_of(content))
    except drafts.Conflict as error:
        return _conflict(error)
    except ValidationError as error:
        return JsonResponse(error.message_dict, status=400)
    return JsonResponse({"version": assignment.draft_version})


@require_POST
@practice_first
def submit(request: HttpRequest, pk: int) -> HttpResponse:
    """Finish this text and answer with the next one; on an error, with this one as it was typed."""
    content = posted_content(request)
    try:
        annotation = work.submit(request.user, pk, content, drafts.base_of(request.POST))
    except Assignment.DoesNotExist:
        raise Http404 from None
    except work.NoLongerYours as error:
        assignment = _own(request, pk)
        project = assignment.item.project
        late = {"notice": error.messages[0], "typed": content | {"text": assignment.item.text}}
        return _show(request, project, _next_task(request, project) | late)
    except ValidationError as error:
        if isinstance(error, drafts.Conflict) and request.htmx:  # type: ignore[attr-defined]
            return _conflict(error)
        assignment = _own(request, pk)
        if finished := drafts.annotation_of(assignment):
            task = _annotation_task(request, finished, content)
        else:
            task = _assignment_task(request, assignment, content)
        return _show(request, assignment.item.project, task | {"errors": error.messages}, status=422)
    return _next(request, annotation.project)


@require_POST
@practice_first
def skip(request: HttpRequest, pk: int) -> HttpResponse:
    """Leave this text to others and answer with the next one."""
    assignment = _own(request, pk)
    work.skip(request.user, assignment.pk)
    return _next(request, assignment.item.project)


@never_cache
@require_GET
@practice_first
def back(request: HttpRequest, pk: int) -> HttpResponse:
    """The last finished text of this annotator, or the one before `?before=`, or the one after `?after=`."""
    project = access.project_for(request.user, pk, Role.ANNOTATOR)
    before, after = (drafts.number(request.GET.get(name)) for name in ("before", "after"))
    if after is not None:
        following = work.following_annotation(request.user, project, after)
        return _show(
            request, project, _annotation_task(request, following) if following else _next_task(request, project)
        )
    previous = work.previous_annotation(request.user, project, before)
    if previous is None:
        task = _next_task(request, project)
        return _show(request, project, task | {"notice": "This is the beginning: you have finished nothing earlier."})
    return _show(request, project, _annotation_task(request, previous))


@never_cache
@practice_first
def revise(request: HttpRequest, pk: int) -> HttpResponse:
    """One's own finished annotation, to look at or change. A change keeps the earlier revision."""
    mine = Annotation.objects.filter(annotator_id=request.user.pk).select_related("item", "project", "assignment")
    annotation = get_object_or_404(mine, pk=pk)
    project = access.project_for(request.user, annotation.project_id, Role.ANNOTATOR)
    if request.method != "POST":
        return _show(request, project, _annotation_task(request, annotation))
    content = posted_content(request)
    try:
        revision = drafts.number(request.POST.get("revision")) or 0
        work.revise(request.user, annotation.pk, content, revision, drafts.base_of(request.POST))
    except ValidationError as error:
        if isinstance(error, drafts.Conflict) and request.htmx:  # type: ignore[attr-defined]
            return _conflict(error)
        annotation = get_object_or_404(mine, pk=pk)
        task = _annotation_task(request, annotation, content)
        return _show(request, project, task | {"errors": error.messages}, status=422)
    return _next(request, project)


def posted_content(request: HttpRequest) -> dict[str, Any]:
    """The fields of an annotation from the page's form. What cannot be read stays as it is, for the rules to refuse."""
    post = request.POST

    def parsed(name: str) -> Any:
        try:
            return json.loads(post.get(name) or "[]")
        except ValueError:
            return post.get(name)

    return {
        "labels": {name.removeprefix("label-"): post[name] for name in post if name.startswith("label-")},
        "spans": parsed("spans"),
        "target_groups": parsed("target_groups"),
        "rewrite": post.get("rewrite", ""),
        "comment": post.get("comment", ""),
        "active_seconds": post.get("active_seconds", 0),
    }


def _conflict(error: drafts.Conflict) -> JsonResponse:
    annotation = error.facts["annotation"]
    address = reverse("annotation:revise", args=[annotation]) if annotation else None
    return JsonResponse({"detail": error.messages[0], "open": address} | error.facts, status=409)


def _own(request: HttpRequest, pk: int) -> Assignment:
    return get_object_or_404(Assignment.objects.of(request.user), pk=pk)


def _next(request: HttpRequest, project: Project) -> HttpResponse:
    if not request.htmx:  # type: ignore[attr-defined]
        return redirect("annotation:annotate", project.pk)
    return _show(request, project, _next_task(request, project))


def _next_task(request: HttpRequest, project: Project) -> dict[str, Any]:
    try:
        assignment = work.next_assignment(request.user, project)
    except wellbeing.LimitReached as error:
        return {"task": None, "limit": error.messages[0]}
    if assignment is None:
        return {"task": None}
    return _assignment_task(request, assignment, assignment.draft or {})


def _assignment_task(request: HttpRequest, assignment: Assignment, content: dict[str, Any]) -> dict[str, Any]:
    return {
        "task": {
            "assignment": assignment,
            "action": reverse("annotation:submit", args=[assignment.pk]),
            "skip_url": reverse("annotation:skip", args=[assignment.pk]),
            "item": assignment.item,
            "has_draft": bool(assignment.draft),
            **NEITHER,
        }
        | _fields(assignment.item.project, content, assignment),
    }


def _annotation_task(
    request: HttpRequest, annotation: Annotation, content: dict[str, Any] | None = None
) -> dict[str, Any]:
    change = drafts.change_of(annotation.assignment, annotation)
    locked = controls.why_closed(annotation)
    shown = annotation.content() if locked else content or change or annotation.content()
    typed = (content or change) if locked else None
    return {
        "task": {
            "assignment": annotation.assignment,
            "action": reverse("annotation:revise", args=[annotation.pk]),
            "item": annotation.item,
            "annotation": annotation,
            "submitted_json": json.dumps(annotation.content()),
            "has_draft": bool(change) and not locked,
            "locked": locked,
        }
        | _fields(annotation.project, shown, annotation),
        "typed": typed and typed | {"text": annotation.item.text},
    }


def _fields(project: Project, content: dict[str, Any], row: Assignment | Annotation) -> dict[str, Any]:
    suggestion = suggestions.shown(row, project.dimensions_in_order)
    if suggestion:
        # Marks on nearly every word would hide what is proposed.
        suggestion["is_close"] = suggestions.closeness(row.item.text, suggestion["rewrite"]) > 0.35
    return content_fields(project, content, suggestion)


def content_fields(
    project: Project, content: dict[str, Any], suggestion: dict[str, Any] | None = None
) -> dict[str, Any]:
    """What the form of a text shows of a content, as the practice page needs it too."""
    labels = content.get("labels") or {}
    dimensions = project.dimensions_in_order
    suggested = suggestion["labels"] if suggestion else {}
    if suggestion:
        suggestion["named_labels"] = [(d.name, suggested[d.key]) for d in dimensions if d.key in suggested]
        suggestion["labels_json"] = json.dumps(suggested)
        suggestion["spans_json"] = json.dumps(suggestion["spans"])
    return {
        "suggestion": suggestion,
        "dimensions": [
            {
                "key": dimension.key,
                "name": dimension.name,
                "levels": [
                    {
                        "name": level,
                        "checked": labels.get(dimension.key) == level,
                        "suggested": suggested.get(dimension.key) == level,
                    }
                    for level in dimension.levels
                ],
            }
            for dimension in dimensions
        ],
        "spans_json": json.dumps(content.get("spans") or []),
        "groups_json": json.dumps(content.get("target_groups") or []),
        "rewrite": content.get("rewrite") or "",
        "comment": content.get("comment") or "",
        "active_seconds": work.clean_seconds(content.get("active_seconds")),
    }


def _show(request: HttpRequest, project: Project, task: dict[str, Any], status: int = 200) -> HttpResponse:
    so_far = wellbeing.so_far(request.user, project)
    context = {
        "project": project,
        "today": so_far.today,
        "goal": project.daily_limit,
        "sent_back": so_far.sent_back,
        **task,
    }
    if shown := task.get("task"):
        context["warnings"] = wellbeing.warnings_for(project, shown["item"].content_kinds)
        suggest = not shown.get("annotation") and wellbeing.pause_suggested(project, so_far.severe_run)
        context["suggest_pause"] = suggest
    template = "annotation/_task.html" if request.htmx else "annotation/annotate.html"  # type: ignore[attr-defined]
    return render(request, template, context, status=status)
