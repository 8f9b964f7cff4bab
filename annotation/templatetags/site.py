"""What every page's frame needs: the main navigation of a project, by the viewer's roles; and the log in words."""

import json
from typing import Any

from django import template
from django.urls import reverse

from annotation.access import roles_in
from annotation.events import ACTIONS
from annotation.models import Event, Role

register = template.Library()

# (label, url name, roles); each application adds its entries when it starts. The order is the loop's.
NAVIGATION: list[tuple[str, str, frozenset[str]]] = [
    ("Overview", "annotation:project", frozenset(Role.values)),
    ("Annotate", "annotation:annotate", frozenset({Role.ANNOTATOR})),
    ("My work", "annotation:mine", frozenset({Role.ANNOTATOR})),
    ("Vote", "annotation:votes", frozenset({Role.ANNOTATOR})),
    ("Texts", "annotation:items", frozenset({Role.LEAD})),
    ("Suggestions", "annotation:suggestions", frozenset({Role.LEAD})),
    ("Pairs", "annotation:pairs", frozenset({Role.LEAD, Role.TRAINER})),
    ("Quality", "annotation:quality", frozenset({Role.LEAD})),
    ("Agreement", "annotation:agreement", frozenset({Role.LEAD, Role.TRAINER})),
]


@register.inclusion_tag("_project_nav.html", takes_context=True)
def project_nav(context):
    """Links to the parts of `project` that this person's roles open."""
    request, project = context["request"], context["project"]
    if not hasattr(request, "project_roles"):
        held = set(Role.values) if request.user.is_superuser else roles_in(request.user, project.pk)
        request.project_roles = held
    entries = [
        (label, reverse(name, args=[project.pk])) for label, name, roles in NAVIGATION if roles & request.project_roles
    ]
    # The entry whose address is the longest beginning of this page's is the part we are in.
    here = max((url for _, url in entries if request.path.startswith(url)), key=len, default=None)
    if here is None:  # addresses such as /runs/7/: the application's only entry, if it has one alone
        application = getattr(request.resolver_match, "app_name", "")
        own = [reverse(name, args=[project.pk]) for _, name, _ in NAVIGATION if name.startswith(f"{application}:")]
        here = own[0] if len(own) == 1 else None
    return {"entries": entries, "here": here}


@register.filter
def action_words(event: Event) -> str:
    """What an event was, as a verb with its object."""
    return ACTIONS.get(event.action, event.action)


@register.filter
def differences(event: Event) -> list[dict[str, Any]]:
    """What an event changed: name, before and after of each part, in words."""
    names = dict.fromkeys([*event.before, *event.after])
    return [
        {
            "name": name.removesuffix("_id").replace("_", " "),
            "had_before": name in event.before,
            "before": _words(event.before.get(name)),
            "after": _words(event.after.get(name)),
        }
        for name in names
    ]


def _words(value: Any) -> str:
    if value in (None, "", [], {}):
        return "–"
    if isinstance(value, list) and all(isinstance(part, (str, int)) for part in value):
        return ", ".join(map(str, value))
    if isinstance(value, dict) and all(isinstance(part, (str, int, float)) for part in value.values()):
        return ", ".join(f"{key}: {part}" for key, part in value.items())
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
