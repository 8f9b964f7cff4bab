"""Drafts with a version, so that two tabs or devices never overwrite each other.

The first half is about any row that keeps a draft, and is for applications above this one too. The second is about
annotations: one draft an assignment. While the text is held, the draft is unfinished work. Once it is finished, it is a
change that has not been saved yet, and names the revision that it is based on.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import ValidationError
from django.utils import timezone

from annotation.models import Annotation, Assignment, AssignmentState, Drafted

FIELDS = [field.name for field in Drafted._meta.fields]  # that a save of a draft writes


@dataclass(frozen=True)
class Base:
    """What somebody had before them when they typed.

    version: the draft's version they started from; None overwrites whatever is there. writer: a name of the tab, new
    with every page that is loaded. sequence: counts that tab's requests, so that a late one is known to be late; a
    save whose answer was lost can be repeated with more typed, because the version it made is its own.
    """

    version: int | None = None
    writer: str = ""
    sequence: int = 0

    def allows(self, row: Drafted) -> bool:
        """Whether nobody else has saved since."""
        if self.version is None or self.version == row.draft_version:
            return True
        own = bool(self.writer) and self.writer == row.draft_writer
        return own and self.sequence > row.draft_sequence


LAST_WRITE_WINS = Base()


def number(value: Any) -> int | None:
    """A whole number that fits a database column, else None."""
    return int(value) if str(value).isdecimal() and len(str(value)) < 19 else None


def base_of(sent: Mapping[str, Any]) -> Base:
    """Which draft a page had before it, from the fields `version`, `writer` and `sequence` that it sends."""
    return Base(
        version=number(sent.get("version")),
        writer=str(sent.get("writer", ""))[:40].replace("\x00", ""),
        sequence=min(number(sent.get("sequence")) or 0, 2**31 - 1),
    )


class Conflict(ValidationError):
    """Something newer is there. `facts` holds it, so that a page can show both and let the person choose."""

    def __init__(self, facts: dict[str, Any], message: str) -> None:
        super().__init__(message, code="conflict")
        self.facts = facts


def write(row: Drafted, draft: dict[str, Any] | None, base: Base) -> None:
    """Put a draft on a row that the caller has locked and saves (its FIELDS)."""
    row.draft, row.draft_saved_at = draft, timezone.now()
    row.draft_version += 1
    row.draft_writer, row.draft_sequence = base.writer, base.sequence


# Drafts of annotations


def facts(assignment: Assignment) -> dict[str, Any]:
    """What the server has: the draft's version, since when, and the content that a page would open with."""
    annotation = annotation_of(assignment)
    return {
        "version": assignment.draft_version,
        "writer": assignment.draft_writer,
        "state": assignment.state,
        "saved_at": assignment.draft_saved_at if assignment.draft else annotation and annotation.updated_at,
        "annotation": annotation.pk if annotation else None,
        "revision": annotation.revision if annotation else None,
        "content": content_of(assignment),
    }


def annotation_of(assignment: Assignment) -> Annotation | None:
    """The annotation of a finished assignment."""
    if assignment.state != AssignmentState.FINISHED:
        return None
    return Annotation.objects.get(assignment=assignment)


def change_of(assignment: Assignment, annotation: Annotation) -> dict[str, Any] | None:
    """A change of this revision that was typed and not saved."""
    draft = assignment.draft
    return draft if draft and draft.get("revision") == annotation.revision else None


def content_of(assignment: Assignment) -> dict[str, Any] | None:
    """What is on screen when the text opens: the draft, else what was submitted, else None."""
    annotation = annotation_of(assignment)
    if annotation is None:
        return assignment.draft
    return change_of(assignment, annotation) or annotation.content()


def same(first: dict[str, Any] | None, second: dict[str, Any] | None) -> bool:
    """Whether two contents say the same; seconds and absent fields do not count."""
    return all((first or {}).get(name) == (second or {}).get(name) for name in Annotation.CONTENT)


def check(assignment: Assignment, content: dict[str, Any], base: Base) -> None:
    """Refuse to finish with `content` while a newer draft with other words is there.

    Raises:
        Conflict: it is.
    """
    if assignment.draft and not base.allows(assignment) and not same(assignment.draft, content):
        raise Conflict(facts(assignment), "There is a newer draft of this text, from another tab or device.")


def keep(assignment: Assignment, draft: dict[str, Any], base: Base) -> None:
    """Write a checked draft to an assignment, whose row the caller has locked and saves.

    Raises:
        Conflict: somebody else saved since, or finished the text.
    """
    annotation = annotation_of(assignment)
    if annotation:
        if same(annotation.content(), draft):
            write(assignment, None, base)
            return
        if draft.get("revision") != annotation.revision:
            raise Conflict(
                facts(assignment), "This text has been submitted meanwhile, in another tab or on another device."
            )
    else:
        draft.pop("revision", None)
    if not base.allows(assignment) and not same(assignment.draft, draft):
        raise Conflict(facts(assignment), "There is a newer draft of this text, from another tab or device.")
    write(assignment, draft, base)
