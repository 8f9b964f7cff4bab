"""Systems and their outputs, blind studies of them, and the reports.

While a study runs, nothing that reaches its reviewers may tell which system wrote an output. So a reviewer
works with slots: an output's text under a random id, in a random place. Only `studies.py` joins slots with
systems.
"""

import uuid
from decimal import Decimal
from typing import Any

from django.contrib.auth import get_user_model
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.urls import reverse
from django.utils import timezone

from annotation.jobs import ACTIVE, Job
from annotation.models import Endpoint, Item, Project, ProjectScopedQuerySet, upload_path
from annotation.models.suggestions import MONEY
from training.models import Dataset, PromptVersion, Run, Split

User = get_user_model()


class SystemKind(models.TextChoices):
    RUN = "run", "Model of a training run"
    BASE = "base", "Base model with a prompt"
    ENDPOINT = "endpoint", "Endpoint with a prompt"
    UPLOAD = "upload", "Uploaded outputs"


class SystemQuerySet(ProjectScopedQuerySet):
    def hidden_from(self, user) -> "SystemQuerySet":
        """Systems that this person is rating blind right now, whatever other roles they have."""
        rating = StudyMembership.objects.filter(user_id=user.pk, study__status=StudyStatus.RUNNING)
        return self.filter(studies__in=rating.values("study_id"))

    def shown_to(self, user) -> "SystemQuerySet":
        """All systems but those this person is rating blind. Every page about systems starts here."""
        return self.exclude(pk__in=System.objects.all().hidden_from(user).values("pk"))


class System(models.Model):
    """Something that turns a text into an output: a run's model, a base model with a prompt, an endpoint, or uploaded
    outputs.

    What decides its outputs does not change once it has any (migration 0003); its name and its limits may.
    """

    project = models.ForeignKey(Project, models.CASCADE, related_name="systems")
    name = models.CharField(max_length=120)
    kind = models.CharField(max_length=10, choices=SystemKind.choices)
    run = models.ForeignKey(
        Run,
        models.RESTRICT,
        null=True,
        blank=True,
        related_name="systems",
        help_text="The run whose adapter, or whose base model, it uses.",
    )
    endpoint = models.ForeignKey(
        Endpoint, models.SET_NULL, null=True, blank=True, related_name="systems", editable=False
    )
    base_model = models.CharField(max_length=300, blank=True, help_text="A hub id, a folder, or an endpoint's model.")
    prompt = models.ForeignKey(
        PromptVersion, models.RESTRICT, null=True, blank=True, related_name="systems", editable=False
    )
    prompt_template = models.TextField(blank=True, help_text="The prompt, with {text} where the text goes.")
    settings = models.JSONField(default=dict, blank=True, help_text="How outputs are generated.")
    rate_per_minute = models.PositiveIntegerField(
        "requests per minute",
        default=60,
        db_default=60,
        validators=[MinValueValidator(1), MaxValueValidator(100_000)],
        help_text="To the endpoint, at most.",
    )
    budget = models.DecimalField(
        "budget in money",
        null=True,
        blank=True,
        validators=[MinValueValidator(0)],
        help_text="For all outputs of this system, in the currency of the endpoints' prices.",
        **MONEY,
    )
    budget_tokens = models.PositiveBigIntegerField(
        "budget in tokens", null=True, blank=True, help_text="Prompts and outputs together."
    )
    is_scratch = models.BooleanField(
        default=False, help_text="Made by a scratch model, which proves the pipeline and not the method."
    )
    created_by = models.ForeignKey(User, models.PROTECT, related_name="+")
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = SystemQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        constraints = [models.UniqueConstraint(fields=["project", "name"], name="system_name_once")]

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        return reverse("evaluation:system", args=[self.pk])

    @property
    def generates(self) -> bool:
        """Whether its outputs are made here, rather than uploaded."""
        return self.kind != SystemKind.UPLOAD

    @property
    def examples(self) -> list[list[str]]:
        """The (text, rewrite) pairs in its prompt."""
        return self.prompt.examples if self.prompt else []


class Output(models.Model):
    """What a system made of an item's text, word for word."""

    project = models.ForeignKey(Project, models.CASCADE, related_name="outputs")
    system = models.ForeignKey(System, models.CASCADE, related_name="outputs")
    item = models.ForeignKey(Item, models.RESTRICT, related_name="outputs")
    text = models.TextField(blank=True)
    tokens = models.PositiveIntegerField(null=True, blank=True, help_text="That the model wrote.")
    prompt_tokens = models.PositiveIntegerField(null=True, blank=True, help_text="That the model read.")
    seconds = models.FloatField(null=True, blank=True, help_text="Its share of its batch's, or of its request.")
    cut_off = models.BooleanField(
        default=False, db_default=False, help_text="It had not come to an end at the limit of tokens."
    )
    prompt_cut = models.BooleanField(
        default=False, db_default=False, help_text="The prompt was longer than the model reads and lost its beginning."
    )
    model = models.CharField(max_length=300, blank=True, db_default="", help_text="As an endpoint named it.")
    charged_tokens = models.PositiveIntegerField(
        default=0,
        db_default=0,
        help_text="What an endpoint counted, or the most it can have been: they count towards the budget.",
    )
    cost = models.DecimalField(default=Decimal(0), db_default=Decimal(0), **MONEY)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = ProjectScopedQuerySet.as_manager()

    class Meta:
        ordering = ["id"]
        constraints = [models.UniqueConstraint(fields=["system", "item"], name="output_once")]
        indexes = [models.Index(fields=["project", "id"], name="output_by_project")]

    def __str__(self) -> str:
        return f"{self.system} on {self.item}"


class Part(models.TextChoices):
    """Which part of a dataset: one of its splits, or all of it."""

    TRAIN = Split.TRAIN.value, Split.TRAIN.label
    VALIDATION = Split.VALIDATION.value, Split.VALIDATION.label
    TEST = Split.TEST.value, Split.TEST.label
    ALL = "all", "All splits"


class Generation(Job):
    """A system's outputs for a part of a dataset, made by a worker. `done` and `total` count texts."""

    project = models.ForeignKey(Project, models.CASCADE, related_name="generations")
    system = models.ForeignKey(System, models.CASCADE, related_name="generations")
    dataset = models.ForeignKey(Dataset, models.RESTRICT, related_name="generations")
    split = models.CharField(max_length=10, choices=Part.choices, default=Part.TEST)
    failed = models.PositiveIntegerField(default=0, editable=False, help_text="Texts without a usable output.")

    objects = Job.ScopedManager()

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["system"], condition=Q(status__in=ACTIVE), name="generation_one_active")
        ]

    def __str__(self) -> str:
        return f"Outputs of {self.system} for {self.dataset}"

    def get_absolute_url(self) -> str:
        return reverse("evaluation:system", args=[self.system_id])


class FailedOutput(models.Model):
    """A text that an endpoint gave no usable output for: why, and what that cost at most.

    The row is written before the text is asked for, so what may have been charged for is counted whatever happens.
    """

    UNANSWERED = "It was being asked for when the worker stopped."

    project = models.ForeignKey(Project, models.CASCADE, related_name="failed_outputs")
    system = models.ForeignKey(System, models.CASCADE, related_name="failed_outputs")
    generation = models.ForeignKey(Generation, models.CASCADE, related_name="failed_outputs")
    item = models.ForeignKey(Item, models.CASCADE, related_name="failed_outputs")
    reason = models.CharField(max_length=500, default=UNANSWERED)
    answer = models.TextField(blank=True, help_text="What came instead, if anything did.")
    charged_tokens = models.PositiveIntegerField(default=0)
    cost = models.DecimalField(default=Decimal(0), **MONEY)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = ProjectScopedQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        constraints = [models.UniqueConstraint(fields=["generation", "item"], name="failed_output_once")]
        indexes = [models.Index(fields=["system", "-id"], name="failed_output_of_system")]

    def __str__(self) -> str:
        return f"{self.item}: {self.reason}"


class Try(models.Model):
    """A text that a person gave to several systems to see what they make of it. Only that person sees it."""

    project = models.ForeignKey(Project, models.CASCADE, related_name="tries")
    item = models.ForeignKey(Item, models.SET_NULL, null=True, blank=True, related_name="+")
    text = models.TextField()
    created_by = models.ForeignKey(User, models.PROTECT, related_name="tries")
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = ProjectScopedQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        verbose_name_plural = "tries"
        indexes = [models.Index(fields=["project", "created_by", "-id"], name="try_of_person")]

    def __str__(self) -> str:
        return self.text[:60]

    def get_absolute_url(self) -> str:
        return reverse("evaluation:try", args=[self.pk])


class TryOutput(Job):
    """What one system makes of a tried text."""

    attempted = models.ForeignKey(Try, models.CASCADE, related_name="outputs")
    system = models.ForeignKey(System, models.CASCADE, related_name="try_outputs")
    text = models.TextField(blank=True, editable=False)
    tokens = models.PositiveIntegerField(null=True, editable=False)
    prompt_tokens = models.PositiveIntegerField(null=True, editable=False)
    seconds = models.FloatField(null=True, editable=False)
    loading_seconds = models.FloatField(null=True, editable=False)
    cut_off = models.BooleanField(default=False, editable=False)
    prompt_cut = models.BooleanField(default=False, editable=False)
    charged_tokens = models.PositiveIntegerField(default=0, editable=False)
    cost = models.DecimalField(default=Decimal(0), editable=False, **MONEY)

    objects = Job.ScopedManager()

    class Meta:
        ordering = ["id"]
        constraints = [models.UniqueConstraint(fields=["attempted", "system"], name="try_output_once")]

    def __str__(self) -> str:
        return f"{self.system} tried"


class OutputImport(Job):
    """Outputs read from an uploaded CSV: the counts, and every rejected row with its reason."""

    project = models.ForeignKey(Project, models.CASCADE, related_name="output_imports")
    file = models.FileField(upload_to=upload_path)
    file_name = models.CharField(max_length=255)
    imported = models.PositiveIntegerField(default=0)
    rejected = models.PositiveIntegerField(default=0)
    applied_at = models.DateTimeField(
        null=True, blank=True, editable=False, help_text="When its rows were written, all at once."
    )

    objects = Job.ScopedManager()

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"Outputs from {self.file_name}"

    def get_absolute_url(self) -> str:
        return reverse("evaluation:output-import", args=[self.pk])


class RejectedOutput(models.Model):
    """A row of an upload that was left out."""

    output_import = models.ForeignKey(OutputImport, models.CASCADE, related_name="rejected_rows")
    row = models.PositiveIntegerField(help_text="Counted as a spreadsheet does: the header is row 1.")
    field = models.CharField(max_length=100, blank=True)
    reason = models.CharField(max_length=500)
    excerpt = models.CharField(max_length=200, blank=True)

    class Meta:
        ordering = ["row", "id"]

    def __str__(self) -> str:
        return f"Row {self.row}: {self.reason}"


class StudyStatus(models.TextChoices):
    DRAFT = "draft", "Being set up"
    RUNNING = "running", "Running"
    CLOSED = "closed", "Closed"


class StudyQuerySet(ProjectScopedQuerySet):
    def reviewed_by(self, user) -> "StudyQuerySet":
        """Studies this person is a reviewer of and may open. A reviewer's pages start here."""
        return self.filter(reviewers__user_id=user.pk).exclude(status=StudyStatus.DRAFT)


class Study(models.Model):
    """Items x systems x criteria x reviewers, frozen before the first rating."""

    project = models.ForeignKey(Project, models.CASCADE, related_name="studies")
    name = models.CharField(max_length=200)
    instructions = models.TextField(blank=True, help_text="Markdown. Reviewers can open it at any time.")
    status = models.CharField(max_length=10, choices=StudyStatus.choices, default=StudyStatus.DRAFT, editable=False)
    seed = models.PositiveIntegerField(
        default=1,
        validators=[MaxValueValidator(2**31 - 1)],
        help_text="Decides which texts, and every order.",
    )
    systems = models.ManyToManyField(System, related_name="studies")
    reference = models.ForeignKey(
        System, models.RESTRICT, related_name="+", help_text="The others are compared with this one."
    )
    number_of_items = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(10_000)],
        help_text="Drawn by the seed from the texts that all systems have outputs for. Empty: all of them.",
    )
    chosen_ids = models.TextField(blank=True, help_text="External ids of texts, one a line, instead of drawing them.")
    created_by = models.ForeignKey(User, models.PROTECT, related_name="+")
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    started_at = models.DateTimeField(null=True, blank=True, editable=False)
    closed_at = models.DateTimeField(null=True, blank=True, editable=False)
    closed_by = models.ForeignKey(User, models.PROTECT, null=True, blank=True, editable=False, related_name="+")

    objects = StudyQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        verbose_name_plural = "studies"

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        return reverse("evaluation:study", args=[self.pk])

    @property
    def is_draft(self) -> bool:
        return self.status == StudyStatus.DRAFT

    @property
    def is_running(self) -> bool:
        return self.status == StudyStatus.RUNNING

    @property
    def is_closed(self) -> bool:
        return self.status == StudyStatus.CLOSED


def default_criteria() -> list[dict[str, Any]]:
    """The three criteria of a rewrite, as keyword arguments of Criterion."""
    return [
        {
            "key": "bias_gone",
            "name": "Bias gone",
            "question": "Is the bias gone?",
            "low": "not at all",
            "high": "completely",
        },
        {
            "key": "meaning_kept",
            "name": "Meaning kept",
            "question": "Is the meaning kept?",
            "low": "another meaning",
            "high": "the same meaning",
        },
        {
            "key": "reads_well",
            "name": "Reads well",
            "question": "Does it read well?",
            "low": "hard to read",
            "high": "like good prose",
        },
    ]


class Criterion(models.Model):
    """What reviewers judge about each output, on levels 1 (worst) to LEVELS (best)."""

    LEVELS = 5

    study = models.ForeignKey(Study, models.CASCADE, related_name="criteria")
    key = models.SlugField(max_length=40, help_text="Name in exports, for example bias_gone.")
    name = models.CharField(max_length=60)
    question = models.CharField(max_length=200)
    low = models.CharField(max_length=60, help_text="What 1 means.")
    high = models.CharField(max_length=60, help_text=f"What {LEVELS} means.")
    position = models.PositiveSmallIntegerField(default=0)

    class Meta:
        ordering = ["position", "id"]
        verbose_name_plural = "criteria"
        constraints = [models.UniqueConstraint(fields=["study", "key"], name="criterion_key_once")]

    def __str__(self) -> str:
        return self.name


class StudyMembership(models.Model):
    """A reviewer of a study."""

    study = models.ForeignKey(Study, models.CASCADE, related_name="reviewers")
    user = models.ForeignKey(User, models.PROTECT, related_name="study_memberships")
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ["user__username"]
        constraints = [models.UniqueConstraint(fields=["study", "user"], name="reviewer_once")]

    def __str__(self) -> str:
        return f"{self.user} reviews {self.study}"


class ReviewTaskQuerySet(models.QuerySet["ReviewTask"]):
    def of(self, user) -> "ReviewTaskQuerySet":
        """Tasks of this reviewer in studies that have started. A reviewer's pages start here."""
        return self.filter(reviewer_id=user.pk).exclude(study__status=StudyStatus.DRAFT)


class ReviewTask(models.Model):
    """One item as one reviewer rates it. Addressed by `token`: a row's number would tell in which order it
    was made.
    """

    study = models.ForeignKey(Study, models.CASCADE, related_name="tasks")
    reviewer = models.ForeignKey(User, models.PROTECT, related_name="review_tasks")
    item = models.ForeignKey(Item, models.RESTRICT, related_name="review_tasks")
    position = models.PositiveIntegerField(help_text="1 is this reviewer's first.")
    token = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    draft = models.JSONField(null=True, blank=True)
    draft_saved_at = models.DateTimeField(null=True, blank=True)
    preferred = models.ForeignKey(
        "Slot",
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="preferred_in",
        help_text="The better output.",
    )
    tie = models.BooleanField(default=False, help_text="About the same: no output is preferred.")
    comment = models.TextField(blank=True)
    active_seconds = models.PositiveIntegerField(default=0, help_text="Seconds with the page in front and in use.")
    done_at = models.DateTimeField(null=True, blank=True)
    updated_at = models.DateTimeField(null=True, blank=True, help_text="When a finished task was last changed.")

    objects = ReviewTaskQuerySet.as_manager()

    class Meta:
        ordering = ["study_id", "reviewer_id", "position"]
        constraints = [
            models.UniqueConstraint(fields=["study", "reviewer", "item"], name="review_task_once"),
            models.UniqueConstraint(fields=["study", "reviewer", "position"], name="review_task_position_once"),
            models.CheckConstraint(
                condition=Q(done_at=None, preferred=None, tie=False)
                | Q(done_at__isnull=False, preferred=None, tie=True)
                | Q(done_at__isnull=False, preferred__isnull=False, tie=False),
                name="review_task_done_has_preference",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.reviewer}, task {self.position}"


class Slot(models.Model):
    """One output as one reviewer sees it, under an id that is random and says nothing."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    task = models.ForeignKey(ReviewTask, models.CASCADE, related_name="slots")
    output = models.ForeignKey(Output, models.RESTRICT, related_name="slots")
    text = models.TextField(help_text="The output when the study started, without white space around it.")
    position = models.PositiveSmallIntegerField(help_text="1 is output A.")

    class Meta:
        ordering = ["task_id", "position"]
        constraints = [
            models.UniqueConstraint(fields=["task", "position"], name="slot_position_once"),
            models.UniqueConstraint(fields=["task", "output"], name="slot_output_once"),
        ]

    def __str__(self) -> str:
        return f"Output {self.letter}"

    @property
    def letter(self) -> str:
        return chr(ord("A") + self.position - 1)


class Rating(models.Model):
    """One reviewer's answer for one criterion of one slot."""

    slot = models.ForeignKey(Slot, models.CASCADE, related_name="ratings")
    criterion = models.ForeignKey(Criterion, models.RESTRICT, related_name="ratings")
    value = models.PositiveSmallIntegerField()
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["slot", "criterion"], name="rating_once"),
            models.CheckConstraint(condition=Q(value__gte=1, value__lte=Criterion.LEVELS), name="rating_on_the_scale"),
        ]

    def __str__(self) -> str:
        return f"{self.criterion}: {self.value}"


class Report(Job):
    """What a closed study found, computed by a worker from its ratings."""

    project = models.ForeignKey(Project, models.CASCADE, related_name="reports")
    study = models.ForeignKey(Study, models.CASCADE, related_name="reports")
    seed = models.PositiveIntegerField(default=1, help_text="Of the bootstrap.")
    results = models.JSONField(default=dict, blank=True)
    figures = models.JSONField(default=dict, blank=True, help_text="Name -> SVG.")

    objects = Job.ScopedManager()

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"Report of {self.study}"

    def get_absolute_url(self) -> str:
        return reverse("evaluation:report", args=[self.study_id])
