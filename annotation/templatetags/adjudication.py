"""What leads sent back, for the annotator's page; and what the votes on rewrites say, for the agreement page."""

from typing import Any

from django import template

from annotation import pairs, vote_results

register = template.Library()


@register.inclusion_tag("annotation/_sent_back.html", takes_context=True)
def sent_back(context) -> dict[str, Any]:
    """What waits for this person's answer in `project`; the one about the annotation on screen first.

    A page that knows already says with `sent_back` whether anything does.
    """
    request, project, task = context["request"], context["project"], context.get("task") or {}
    waiting = []
    if context.get("sent_back", True):
        # Nothing of the texts is shown here, so the rows alone will do.
        waiting = list(pairs.waiting(request.user).filter(project=project).select_related(None)[:20])
    annotation = task.get("annotation")
    about = next((one for one in waiting if annotation is not None and one.annotation_id == annotation.pk), None)
    return {"waiting": waiting, "about": about, "csrf_token": context.get("csrf_token")}


@register.inclusion_tag("annotation/_vote_results.html", takes_context=True)
def votes_on_rewrites(context) -> dict[str, Any]:
    """The votes of the whole `project`."""
    project = context["project"]
    return {"project": project, "vote_results": vote_results.results(project)}
