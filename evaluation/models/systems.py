"""Systems, and the outputs they make of texts."""

from decimal import Decimal

from django.contrib.auth import get_user_model
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.urls import reverse
from django.utils import timezone

from annotation.jobs import ACTIVE, Job, JobQuerySet
from annotation.models import Endpoint, Item, Project, ProjectScopedQuerySet, upload_path
from annotation.models.suggestions import MONEY
from training.models import Dataset, PromptVersion, Run, Split

User = get_user_model()


class SystemKind(models.TextChoices):
    RUN = "run", "Model of a training run"
    BASE = "base", "Base model with a prompt"
    ENDPOINT = "endpoint", "Endpoint with a prompt"
    UPLOAD = "upload", "Uploaded outputs"
    ORIGINAL = "original", "The untouched original"
    REWRITE = "rewrite", "The approved rewrite"


# Kinds that no model made: a study hides them among the others, and their outputs are written when it starts.
CONTROLS = (SystemKind.ORIGINAL, SystemKind.REWRITE)


class SystemQuerySet(ProjectScopedQuerySet):
    def hidden_from(self, user) -> "SystemQuerySet":
        """Systems that this person is rating blind right now, whatever other roles they have."""
        from evaluation.models.studies import Study

        return self.filter(studies__in=Study.objects.rated_blind_by(user).values("pk"))

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
        """Whether its outputs are made here by a model."""
        return self.kind in (SystemKind.RUN, SystemKind.BASE, SystemKind.ENDPOINT)

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


class OutputImportQuerySet(JobQuerySet):
    def shown_to(self, user) -> "OutputImportQuerySet":
        """All but those of projects where this person rates uploaded outputs blind: the file's name, its messages and
        its rejected rows name systems. What they uploaded themselves they know.
        """
        rated = System.objects.filter(kind=SystemKind.UPLOAD).hidden_from(user)
        return self.exclude(~Q(created_by_id=user.pk), project__in=rated.values("project"))


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

    objects = OutputImportQuerySet.as_manager()

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
