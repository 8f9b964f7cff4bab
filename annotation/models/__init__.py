"""Every row of the application, one module a subject."""

from annotation.models.adjudication import (
    ApprovalRule,
    Batch,
    BatchAction,
    PairRefresh,
    RewriteCondition,
    SendBack,
)
from annotation.models.consensus import AnnotatorConsensus, ConsensusMethod, ConsensusRun, ItemConsensus
from annotation.models.events import Event
from annotation.models.files import Export, ItemImport, RejectedRow, upload_path
from annotation.models.gold import (
    Control,
    ControlPlan,
    Gold,
    PracticeAnswer,
    PracticeRound,
    PracticeStanding,
    QualitySettings,
    RoundState,
)
<<<<<<< HEAD
from annotation.models.items import Item, ItemKind
from annotation.models.pairs import Pair, PairStatus, SentBackState
=======
from annotation.models.items import MAX_OVERLAP, MAX_PRIORITY, Item, ItemKind
from annotation.models.pairs import Pair, PairStatus
>>>>>>> main
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
from annotation.models.queue import QueuePlace, Reservation
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
from annotation.models.votes import Rewrite, RewriteVote, VoteState
from annotation.models.wellbeing import AnnotatorChoices, Pause
from annotation.models.work import (
    Annotation,
    AnnotationRevision,
    Assignment,
    AssignmentQuerySet,
    AssignmentState,
)

__all__ = [
    "MAX_OVERLAP",
    "MAX_PRIORITY",
    "Annotation",
    "AnnotationRevision",
    "AnnotatorChoices",
    "AnnotatorConsensus",
    "AnswerFormat",
    "ApprovalRule",
    "Assignment",
    "AssignmentQuerySet",
    "AssignmentState",
    "Batch",
    "BatchAction",
    "ConsensusMethod",
    "ConsensusRun",
    "Control",
    "ControlPlan",
    "Dimension",
    "Endpoint",
    "Event",
    "Export",
    "Gold",
    "GuidelinesVersion",
    "Invitation",
    "Item",
    "ItemConsensus",
    "ItemImport",
    "ItemKind",
    "Membership",
    "Pair",
    "PairRefresh",
    "PairStatus",
    "Pause",
    "PracticeAnswer",
    "PracticeRound",
    "PracticeStanding",
    "Project",
    "ProjectQuerySet",
    "ProjectScopedQuerySet",
    "QualitySettings",
    "QueuePlace",
    "RejectedRow",
    "Reservation",
    "Rewrite",
    "RewriteCondition",
    "RewriteVote",
    "Role",
    "RoundState",
    "Scale",
    "SendBack",
    "SentBackState",
    "Suggestion",
    "SuggestionJob",
    "SuggestionPrompt",
    "SuggestionReport",
    "SuggestionScope",
    "SuggestionSettings",
    "SuggestionStatus",
    "VoteState",
    "VotedRewrites",
    "default_dimensions",
    "upload_path",
]
