"""The log of a project. Every change that a lead may later have to explain is recorded here, in its own transaction."""

from collections.abc import Iterable
from typing import Any

from annotation.models import Event, Item, Project

# What can happen, in words: the page and the API's filter read them here. Each application adds its own.
ACTIONS: dict[str, str] = {
    "project.created": "made the project",
    "project.changed": "changed the settings",
    "guidelines.changed": "wrote new guidelines",
    "member.changed": "changed somebody's roles",
    "items.imported": "imported a file",
    "pair.approved": "approved a pair",
    "pair.rejected": "rejected a pair",
    "pair.reopened": "opened a pair again",
    "pair.undone": "undid the last decision on a pair",
    "pair.sent_back": "sent a pair back to an annotator",
    "pair.answered": "answered what was sent back",
    "pairs.batch": "decided many pairs at once",
    "rule.changed": "changed the approval rule",
    "item.priority": "changed a text's priority",
    "item.retired": "retired a text",
    "item.brought_back": "brought a text back",
    "item.more_annotators": "asked for more annotators",
    "item.reserved": "named the people for a text",
    "item.content_kinds": "said what a text contains",
    "suggestions.changed": "changed the suggestions' settings",
    "suggestions.started": "asked for suggestions",
    "gold.made": "gave a text a known answer",
    "gold.changed": "changed a known answer",
    "gold.removed": "took a known answer out of use",
    "gold.restored": "brought a known answer back",
    "quality.changed": "changed practice and hidden texts",
    "practice.let_pass": "let somebody pass the practice",
    "practice.reset": "reset somebody's practice",
    "consensus.started": "had the consensus estimated",
}


def record(
    project: Project | int,
    actor: Any,
    action: str,
    *,
    item: Item | int | None = None,
    subject: str = "",
    before: dict[str, Any] | None = None,
    after: dict[str, Any] | None = None,
) -> Event:
    """Add an event. Call it inside the transaction that makes the change, so that both are there or neither.

    Args:
        actor: who did it; None for the system itself. action: one of ACTIONS.
        before, after: only what changed, as JSON values.

    Raises:
        KeyError: the action is not among ACTIONS.
    """
    ACTIONS[action]  # a misspelt action must not go unnoticed
    return Event.objects.create(
        project_id=project if isinstance(project, int) else project.pk,
        actor=actor,
        action=action,
        item_id=item.pk if isinstance(item, Item) else item,
        subject=subject[:200],
        before=before or {},
        after=after or {},
    )


def record_all(
    project: Project, actor: Any, action: str, rows: Iterable[tuple[Item, dict[str, Any], dict[str, Any]]]
) -> None:
    """One event for each item with what was before and after, as `record` makes them."""
    ACTIONS[action]
    Event.objects.bulk_create(
        (
            Event(
                project=project, actor=actor, action=action, item=item, subject=item.external_id, before=old, after=new
            )
            for item, old, new in rows
        ),
        batch_size=2000,
    )


def changes(before: dict[str, Any], after: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The parts of two records that differ, as `record` wants them."""
    keys = [key for key in before.keys() | after.keys() if before.get(key) != after.get(key)]
    return {key: before.get(key) for key in sorted(keys)}, {key: after.get(key) for key in sorted(keys)}
