"""Every row of the application, one module a subject."""

from annotation.models.adjudication import PairRefresh
from annotation.models.events import Event
from annotation.models.files import Export, ItemImport, RejectedRow, upload_path
from annotation.models.items import Item, ItemKind
from annotation.models.pairs import Pair, PairStatus
from annotation.models.projects import (
    Dimension,
    GuidelinesVersion,
    Invitation,
    Membership,
    Project,
    ProjectQuerySet,
    ProjectScopedQuerySet,
    Role,
    Scale,
    VotedRewrites,
    default_dimensions,
)
from annotation.models.votes import Rewrite, RewriteVote, VoteState
from annotation.models.work import (
    Annotation,
    AnnotationRevision,
    Assignment,
    AssignmentQuerySet,
    AssignmentState,
)

__all__ = [
    "Annotation",
    "AnnotationRevision",
    "Assignment",
    "AssignmentQuerySet",
    "AssignmentState",
    "Dimension",
    "Event",
    "Export",
    "GuidelinesVersion",
    "Invitation",
    "Item",
    "ItemImport",
    "ItemKind",
    "Membership",
    "Pair",
    "PairRefresh",
    "PairStatus",
    "Project",
    "ProjectQuerySet",
    "ProjectScopedQuerySet",
    "RejectedRow",
    "Rewrite",
    "RewriteVote",
    "Role",
    "Scale",
    "VoteState",
    "VotedRewrites",
    "default_dimensions",
    "upload_path",
]
