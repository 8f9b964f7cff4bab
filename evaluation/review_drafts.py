"""Drafts of review pages, by the rules of annotation/drafts.py: an older tab never overwrites what was typed later,
and a change of a finished page names the revision that it is based on.
"""

from typing import Any

from annotation import drafts
from annotation.drafts import Base, Conflict
from evaluation.models import Rating, ReviewTask

TIE = "tie"
CONTENT = ("ratings", "preferred", "worst", "comment")  # what a reviewer decides
NEWER = "There is a newer draft of this page, from another tab or device."


def answers_of(task: ReviewTask) -> dict[str, Any]:
    """What was submitted; empty answers before that."""
    ratings: dict[str, dict[str, int | str]] = {}
    rows = Rating.objects.filter(slot__task=task) if task.done_at else Rating.objects.none()
    for slot, key, value, reason in rows.values_list("slot_id", "criterion__key", "value", "cannot_judge"):
        ratings.setdefault(str(slot), {})[key] = value or reason
    preferred = TIE if task.tie else task.unpreferred or str(task.preferred_id or "")
    return {"ratings": ratings, "preferred": preferred, "worst": str(task.worst_id or ""), "comment": task.comment}


def revision_of(task: ReviewTask) -> int | None:
    """Of a finished page: which of its submits counts."""
    return task.revision if task.done_at else None


def open_draft(task: ReviewTask) -> dict[str, Any] | None:
    """What was typed and not submitted; of a finished page only a change of the answers that count."""
    if task.draft is None or (task.done_at and task.draft.get("revision") != task.revision):
        return None
    return task.draft


def content_of(task: ReviewTask) -> dict[str, Any]:
    """What is on screen when a page opens: the draft, else what was submitted, else nothing."""
    return open_draft(task) or answers_of(task)


def same(first: dict[str, Any] | None, second: dict[str, Any] | None) -> bool:
    """Whether two contents say the same; seconds and absent fields do not count."""
    return all(((first or {}).get(name) or None) == ((second or {}).get(name) or None) for name in CONTENT)


def facts(task: ReviewTask) -> dict[str, Any]:
    """What the server has: the draft's version, since when, and the content that the page would open with."""
    return {
        "version": task.draft_version,
        "writer": task.draft_writer,
        "saved_at": task.draft_saved_at if open_draft(task) else task.updated_at,
        "revision": revision_of(task),
        "content": content_of(task),
    }


def check(task: ReviewTask, content: dict[str, Any], base: Base) -> None:
    """Refuse to submit `content` while a newer draft with other answers is there.

    Raises:
        Conflict: it is.
    """
    draft = open_draft(task)
    if draft and not base.allows(task) and not same(draft, content):
        raise Conflict(facts(task), NEWER)


def keep(task: ReviewTask, draft: dict[str, Any], base: Base, *, late: bool = False) -> None:
    """Write a checked draft to a page, whose row the caller has locked and saves.

    Args:
        late: it can no longer count, and is kept whatever it was based on. Only what was submitted already, from an
        older tab, replaces nothing.

    Raises:
        Conflict: somebody else saved since, or submitted the page. Without a version the last write wins.
    """
    if task.done_at:
        if same(answers_of(task), draft):
            if base.allows(task) or open_draft(task) is None:
                drafts.write(task, None, base)
            elif not late:
                raise Conflict(facts(task), NEWER)
            return
        if base.version is None or late:
            draft["revision"] = task.revision
        elif draft.get("revision") != task.revision:
            raise Conflict(facts(task), "This page has been submitted meanwhile, in another tab or on another device.")
    else:
        draft.pop("revision", None)
    if not late and not base.allows(task) and not same(task.draft, draft):
        raise Conflict(facts(task), NEWER)
    drafts.write(task, draft, base)
