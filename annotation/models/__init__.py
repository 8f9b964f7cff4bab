"""Every row of the application, one module a subject."""

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
    default_dimensions,
)
from annotation.models.suggestions import (
    AnswerFormat,
    Endpoint,
    Suggestion,
    SuggestionJob,
    SuggestionPrompt,
    SuggestionReport,
    SuggestionScope,
    SuggestionSettings,
    SuggestionStatus,
)
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
    "AnswerFormat",
    "Assignment",
    "AssignmentQuerySet",
    "AssignmentState",
    "Dimension",
    "Endpoint",
    "Event",
    "Export",
    "GuidelinesVersion",
    "Invitation",
    "Item",
    "ItemImport",
    "ItemKind",
    "Membership",
    "Pair",
    "PairStatus",
    "Project",
    "ProjectQuerySet",
    "ProjectScopedQuerySet",
    "RejectedRow",
    "Role",
    "Scale",
    "Suggestion",
    "SuggestionJob",
    "SuggestionPrompt",
    "SuggestionReport",
    "SuggestionScope",
    "SuggestionSettings",
    "SuggestionStatus",
    "default_dimensions",
    "upload_path",
]
