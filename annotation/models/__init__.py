"""Every row of the application, one module a subject."""

from annotation.models.events import Event
from annotation.models.files import (
    Export,
    FileFormat,
    ImportedAnnotation,
    ImportStatus,
    ItemImport,
    RejectedRow,
    Review,
    upload_path,
)
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
    "FileFormat",
    "GuidelinesVersion",
    "ImportStatus",
    "ImportedAnnotation",
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
    "Review",
    "Role",
    "Scale",
    "default_dimensions",
    "upload_path",
]
