"""Frozen datasets, recipes, and runs of a recipe on a dataset."""

import dataclasses
from pathlib import Path
from typing import Any, NamedTuple

from django.conf import settings
from django.core.validators import MaxValueValidator, RegexValidator
from django.db import models, transaction
from django.db.models import Count, F, Window
from django.db.models.functions import Mod, RowNumber
from django.db.models.signals import post_delete
from django.dispatch import receiver
from django.urls import reverse
from django.utils import timezone

from annotation.jobs import Job
from annotation.models import Item, Pair, Project, ProjectScopedQuerySet, upload_path
from training import prompts, recipe_yaml
from training.facts import ModelFacts, from_config
from training.parameters import SEED_LIMIT, Hyperparameters, RunParameters


class Split(models.TextChoices):
    TRAIN = "train", "Train"
    VALIDATION = "validation", "Validation"
    TEST = "test", "Test"


class DatasetKind(models.TextChoices):
    PAIRS = "pairs", "Pairs"
    PREFERENCE = "preference", "Preferences"


class Dataset(models.Model):
    """A frozen set of approved pairs, split into train, validation and test. A trigger (migration 0002) keeps it so.

    The same pairs, shares and seed give the same `content_hash` and the same splits, on any server.
    """

    project = models.ForeignKey(Project, models.CASCADE, related_name="datasets")
    name = models.CharField(max_length=200)
    kind = models.CharField(max_length=10, choices=DatasetKind.choices, default=DatasetKind.PAIRS, editable=False)
    content_hash = models.CharField(max_length=64, editable=False)
    seed = models.PositiveBigIntegerField(default=0, validators=[MaxValueValidator(SEED_LIMIT)])
    shares = models.JSONField(help_text="Share of each split, adding up to 1.")
    filters = models.JSONField(default=dict, blank=True)
    stratify_by = models.CharField(
        max_length=60, blank=True, editable=False, help_text="target_group, source, or label: and a dimension's key."
    )
    near_duplicates = models.FloatField(
        null=True, editable=False, help_text="Texts at least so alike (near_duplicates.jaccard) share a split."
    )
    counts = models.JSONField(default=dict, editable=False, help_text="Pairs in each split.")
    figures = models.JSONField(
        default=dict, editable=False, help_text="Counted when it was frozen, as training.dataset_figures.count says."
    )
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = ProjectScopedQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        return reverse("training:dataset", args=[self.pk])

    @property
    def short_hash(self) -> str:
        return self.content_hash[:8]

    @property
    def size(self) -> int:
        return sum(self.counts.values())


class DatasetRow(models.Model):
    """One pair, or one preference, as it was when the dataset was frozen.

    `text_key` and `copy` name a row across datasets: the same text has the same key, and `copy` counts its rows.
    """

    dataset = models.ForeignKey(Dataset, models.CASCADE, related_name="rows")
    pair = models.ForeignKey(
        Pair, models.RESTRICT, null=True, related_name="dataset_rows", help_text="None for a preference."
    )
    preference = models.ForeignKey(
        "Preference", models.RESTRICT, null=True, related_name="dataset_rows", help_text="None for a pair."
    )
    item = models.ForeignKey(
        Item, models.RESTRICT, null=True, related_name="dataset_rows", help_text="None for an uploaded preference."
    )
    text_key = models.CharField(max_length=64, help_text="sha256 of the text, folded in case and white space.")
    copy = models.PositiveIntegerField(default=0, help_text="0 for the first row of its text in the dataset.")
    split = models.CharField(max_length=10, choices=Split.choices)
    position = models.PositiveIntegerField(help_text="Order within the dataset, from the content alone.")
    external_id = models.CharField(max_length=200)
    text = models.TextField()
    rewrite = models.TextField(help_text="The rewrite; of a preference, the preferred output.")
    rejected = models.TextField(blank=True, help_text="Of a preference, the output that was not preferred.")
    labels = models.JSONField(default=dict)

    class Meta:
        ordering = ["dataset_id", "position"]
        constraints = [
            models.UniqueConstraint(fields=["dataset", "position"], name="dataset_position_once"),
            models.UniqueConstraint(fields=["dataset", "pair"], name="dataset_pair_once"),
            models.UniqueConstraint(fields=["dataset", "preference"], name="dataset_preference_once"),
        ]
        indexes = [models.Index(fields=["dataset", "split", "position"], name="dataset_split")]

    def __str__(self) -> str:
        return f"{self.external_id} ({self.get_split_display()})"


class Freezing(Job):
    """A large dataset on its way. `settings` is what `freezing.freeze` takes besides project, name and user."""

    project = models.ForeignKey(Project, models.CASCADE, related_name="freezings")
    name = models.CharField(max_length=200)
    settings = models.JSONField(default=dict, editable=False)
    dataset = models.ForeignKey(Dataset, models.SET_NULL, null=True, editable=False, related_name="+")

    objects = Job.ScopedManager()

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"Freezing of {self.name}"

    def get_absolute_url(self) -> str:
        return reverse("training:freezing", args=[self.pk])


class PreferenceSource(models.TextChoices):
    STUDY = "study", "Blind study"
    PAIRS = "pairs", "Approved pairs"
    UPLOAD = "upload", "Upload"


class Preference(models.Model):
    """Two outputs for one text, of which one is preferred. `origin` leads back to where that was said.

    origin: of a study, its id and the two outputs' ids; of pairs, the pair's id and that of the rewrite voted down, if
    any; of an upload, its id and the row.
    """

    project = models.ForeignKey(Project, models.CASCADE, related_name="preferences")
    item = models.ForeignKey(Item, models.RESTRICT, null=True, blank=True, related_name="preferences")
    text = models.TextField(help_text="What both are outputs for; a recipe's prompt is put around it.")
    chosen = models.TextField()
    rejected = models.TextField()
    digest = models.CharField(max_length=64, editable=False, help_text="See preferences.digest.")
    source = models.CharField(max_length=10, choices=PreferenceSource.choices)
    origin = models.JSONField(default=dict, blank=True)
    votes = models.PositiveIntegerField(default=1, help_text="How many people preferred it.")
    voters = models.PositiveIntegerField(default=1, help_text="How many were asked.")
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = ProjectScopedQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["project", "source", "digest"], name="preference_once"),
            models.CheckConstraint(condition=~models.Q(chosen=models.F("rejected")), name="preference_of_two"),
        ]

    def __str__(self) -> str:
        return f"Preference {self.pk}"


class PreferenceImport(Job):
    """Preferences read from an uploaded file: the counts, and the first rejected rows with their reasons."""

    PROBLEMS = 1_000  # rejected rows that are kept

    project = models.ForeignKey(Project, models.CASCADE, related_name="preference_imports")
    file = models.FileField(upload_to=upload_path)
    file_name = models.CharField(max_length=255)
    file_format = models.CharField(max_length=5)
    imported = models.PositiveIntegerField(default=0)
    present = models.PositiveIntegerField(default=0, help_text="Rows that were there already.")
    rejected = models.PositiveIntegerField(default=0)
    problems = models.JSONField(default=list, help_text="row, field, reason and excerpt of the first ones rejected.")
    applied_at = models.DateTimeField(null=True, blank=True, editable=False)

    objects = Job.ScopedManager()

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"Preferences from {self.file_name}"

    def get_absolute_url(self) -> str:
        return reverse("training:preference-import", args=[self.pk])


class Method(models.TextChoices):
    QLORA = "qlora", "QLoRA (4-bit)"
    LORA = "lora", "LoRA (16-bit)"
    PREFIX = "prefix", "Prefix tuning"
    SEQ2SEQ = "seq2seq", "Encoder-decoder"
    DPO = "dpo", "DPO (preferences)"


class PromptVersion(models.Model):
    """One wording of a named prompt, with the examples shown before the text. Never changed: a new wording is a new
    version, so that recipes and systems always lead to the words they used.
    """

    project = models.ForeignKey(Project, models.CASCADE, related_name="prompts")
    name = models.CharField(max_length=120)
    version = models.PositiveIntegerField(editable=False)
    template = models.TextField(help_text="The prompt; {text} stands where the text goes.")
    examples = models.JSONField(
        default=list, blank=True, help_text="[text, rewrite] pairs shown before the text: few-shot prompting."
    )
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = ProjectScopedQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        constraints = [models.UniqueConstraint(fields=["project", "name", "version"], name="prompt_version_once")]

    def __str__(self) -> str:
        return f"{self.name}, version {self.version}"


class Recipe(models.Model):
    """Base model, method, every hyperparameter and the prompt template."""

    project = models.ForeignKey(Project, models.CASCADE, related_name="recipes")
    name = models.CharField(max_length=200)
    method = models.CharField(max_length=20, choices=Method.choices, default=Method.QLORA)
    base_model = models.CharField(
        max_length=300,
        blank=True,
        help_text="A hub id or the full path of a folder on the GPU worker. Empty: the server's default, or a scratch "
        "model where that cannot be loaded.",
    )
    revision = models.CharField(
        max_length=100,
        blank=True,
        help_text="Branch, tag or commit of a hub id; of a folder, the hash of its content. Empty: the newest when a "
        "run starts.",
    )
    prompt_template = models.TextField(
        default=prompts.DEFAULT_TEMPLATE, help_text="The prompt; {text} stands where the text goes."
    )
    prompt = models.ForeignKey(
        PromptVersion, models.RESTRICT, null=True, blank=True, related_name="recipes", editable=False
    )
    parameters = models.JSONField(help_text="Hyperparameters by name.")
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = ProjectScopedQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        constraints = [models.UniqueConstraint(fields=["project", "name"], name="recipe_name_once")]

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        return reverse("training:recipe", args=[self.pk])

    def hyperparameters(self) -> Hyperparameters:
        return Hyperparameters.from_json(self.parameters)

    @property
    def filled(self) -> list[str]:
        """Names of hyperparameters that this recipe was made before: they have their defaults."""
        return [spec.name for spec in dataclasses.fields(Hyperparameters) if spec.name not in self.parameters]

    def to_yaml(self) -> str:
        """The recipe as YAML, with the defaults of what it was made before."""
        defaults = dataclasses.asdict(Hyperparameters())
        return recipe_yaml.dump(
            name=self.name,
            method=self.method,
            base_model=self.base_model,
            revision=self.revision,
            prompt_name=self.prompt.name if self.prompt else "",
            prompt_template=self.prompt_template,
            examples=self.prompt.examples if self.prompt else [],
            parameters=defaults | self.parameters,
        )


class BaseModelFacts(models.Model):
    """What is known about a base model, from whoever could read its config.json: a worker, or the web server."""

    name = models.CharField(max_length=300)
    revision = models.CharField(max_length=100, blank=True, help_text="As it was asked for; empty: the newest.")
    commit = models.CharField(max_length=100, blank=True, help_text="Where that pointed when it was reported.")
    config = models.JSONField(default=dict, help_text="The part of its config.json that checks read.")
    weights = models.PositiveBigIntegerField(null=True, help_text="As its files say it.")
    chat_template = models.BooleanField(null=True)
    reported_by = models.CharField(max_length=200)
    reported_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["name", "revision"]
        verbose_name_plural = "base model facts"
        constraints = [models.UniqueConstraint(fields=["name", "revision"], name="base_model_facts_once")]

    def __str__(self) -> str:
        return f"{self.name} {self.revision}".strip()

    @property
    def facts(self) -> ModelFacts:
        return from_config(self.config, weights=self.weights, chat_template=self.chat_template)


class RemoteCodeAllowance(models.Model):
    """An administrator's word that the Python code which comes with a base model may run on workers, at one revision.

    Another revision may hold other code, and is refused until it is allowed too.
    """

    name = models.CharField("base model", max_length=300, help_text="Its hub id, or the full path of its folder.")
    revision = models.CharField(
        max_length=100,
        validators=[
            RegexValidator(
                r"^([0-9a-f]{40}|sha256:[0-9a-f]{64})$",
                "Give a commit of 40 characters, or sha256: and the 64 characters that a worker names for a folder.",
            )
        ],
        help_text="The commit whose code you have read, in full. Of a folder, the sha256:… that its runs show.",
    )
    reason = models.TextField(help_text="Why this code is needed, and who read it.")
    allowed_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+", editable=False)
    allowed_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ["name", "-allowed_at"]
        constraints = [models.UniqueConstraint(fields=["name", "revision"], name="remote_code_allowed_once")]

    def __str__(self) -> str:
        return f"{self.name} at {self.revision[:19]}"


class Point(NamedTuple):
    """A point of a run's curves; RunMetric says what the columns are."""

    kind: str
    step: int
    epoch: float
    loss: float
    learning_rate: float | None
    tokens_per_second: float | None
    memory_gib: float | None


class Run(Job):
    """A recipe applied to a dataset. `parameters` is everything that decided it, as RunParameters.to_json writes it.

    `done` and `total` count optimiser steps. Files are in `folder`: checkpoints, adapter, log.
    """

    LOG_TAIL = 20_000  # characters

    project = models.ForeignKey(Project, models.CASCADE, related_name="runs")
    dataset = models.ForeignKey(Dataset, models.RESTRICT, related_name="runs")
    recipe = models.ForeignKey(Recipe, models.SET_NULL, null=True, blank=True, related_name="runs")
    name = models.CharField(max_length=200)
    seed = models.PositiveBigIntegerField(default=0, validators=[MaxValueValidator(SEED_LIMIT)])
    parameters = models.JSONField(editable=False)
    base_model = models.CharField(max_length=300, blank=True, editable=False, help_text="As a worker found it.")
    base_revision = models.CharField(max_length=100, blank=True, editable=False)
    is_scratch = models.BooleanField(default=False, editable=False)
    device = models.CharField(max_length=200, blank=True, editable=False)
    library_versions = models.JSONField(default=dict, editable=False)
    epoch = models.FloatField(default=0, editable=False)
    seconds_left = models.FloatField(null=True, editable=False)
    seen_at = models.DateTimeField(null=True, editable=False, help_text="When its worker last reported.")
    figures = models.JSONField(default=dict, editable=False, help_text="Final metrics.")
    warnings = models.JSONField(default=list, editable=False, help_text="What was doubtful when it was started.")
    has_adapter = models.BooleanField(default=False, editable=False)
    has_merged = models.BooleanField(default=False, editable=False)

    objects = Job.ScopedManager()

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        return reverse("training:run", args=[self.pk])

    @property
    def folder(self) -> Path:
        return settings.ARTIFACT_ROOT / "runs" / str(self.pk)

    @property
    def adapter(self) -> Path:
        return self.folder / "adapter"

    @property
    def log_file(self) -> Path:
        return self.folder / "log.txt"

    def log_tail(self) -> str:
        """The end of the log; empty while there is none."""
        from training import artifacts

        return artifacts.log_tail(self)

    def curve_points(self, most: int = 500) -> list["Point"]:
        """In order of step: at most about `most` of each kind, evenly taken and the newest always among them, however
        long the run.
        """
        counts = self.metrics.order_by().values("kind").annotate(points=Count("pk")).values_list("points", flat=True)
        every = max(1, max(counts, default=0) // most)
        points = self.metrics.annotate(
            age=Window(RowNumber(), partition_by="kind", order_by=F("step").desc()) - 1, rest=Mod("age", every)
        ).filter(rest=0)
        return [Point(*values) for values in points.order_by("step", "-kind").values_list(*Point._fields)]

    def run_parameters(self) -> RunParameters:
        return RunParameters.from_json(self.parameters)


class MetricKind(models.TextChoices):
    TRAIN = "train", "Training"
    EVAL = "eval", "Validation"


class RunMetric(models.Model):
    """A point of a run's curves."""

    run = models.ForeignKey(Run, models.CASCADE, related_name="metrics")
    kind = models.CharField(max_length=5, choices=MetricKind.choices)
    step = models.PositiveIntegerField()
    epoch = models.FloatField()
    loss = models.FloatField(help_text="Mean cross-entropy per token of the rewrite, in nats.")
    learning_rate = models.FloatField(null=True)
    grad_norm = models.FloatField(null=True)
    tokens = models.PositiveBigIntegerField(null=True)
    seconds = models.FloatField(null=True)
    tokens_per_second = models.FloatField(null=True, help_text="Useful ones: no filling counted.")
    memory_gib = models.FloatField(null=True, help_text="Peak so far: of the GPU, or of the process on a CPU.")
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["run_id", "kind", "step"]
        constraints = [models.UniqueConstraint(fields=["run", "kind", "step"], name="metric_once")]

    def __str__(self) -> str:
        return f"{self.run}, step {self.step}: {self.loss:.4f}"

    def to_json(self) -> dict[str, Any]:
        names = ("kind", "step", "epoch", "loss", "learning_rate", "grad_norm", "tokens", "seconds",
                 "tokens_per_second", "memory_gib")  # fmt: skip
        return {name: getattr(self, name) for name in names}


class RunSample(models.Model):
    """What the model made of one of the run's fixed validation texts, at one of its evaluations."""

    run = models.ForeignKey(Run, models.CASCADE, related_name="samples")
    step = models.PositiveIntegerField()
    position = models.PositiveSmallIntegerField(help_text="Which of the fixed texts, from 0.")
    text = models.TextField()
    rewrite = models.TextField(help_text="What the dataset has for it.")
    output = models.TextField(blank=True)

    class Meta:
        ordering = ["run_id", "step", "position"]
        constraints = [models.UniqueConstraint(fields=["run", "step", "position"], name="sample_once")]

    def __str__(self) -> str:
        return f"{self.run}, step {self.step}, text {self.position}"


class DeletedRun(models.Model):
    """That there was such a run: machines that still have files of it, and the bucket, free them when they see this."""

    run = models.BigIntegerField(primary_key=True, help_text="Its number; no other run will have it.")
    in_bucket = models.BooleanField(default=True, db_index=True, help_text="The artifacts bucket was not cleared yet.")
    deleted_at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return f"Run {self.run}"


@receiver(post_delete, sender=Run)
def free_files(sender, instance: Run, **kwargs) -> None:
    """A run's files go with its row, once that is certain."""
    from training import artifacts

    pk = instance.pk
    DeletedRun.objects.create(run=pk)
    transaction.on_commit(lambda: artifacts.remove_quietly(pk))


class PublicationWhat(models.TextChoices):
    ADAPTER = "adapter", "Adapter"
    MERGED = "merged", "Merged model"


class PublicationPlace(models.TextChoices):
    FOLDER = "folder", "Folder of the worker"
    HUB = "hub", "Hugging Face Hub"


class Publication(Job):
    """A copy of a finished run's adapter or merged model, elsewhere. It stays there when the run is deleted.

    `done` and `total` count bytes of a folder, in MiB; of the hub only the end is known.
    """

    project = models.ForeignKey(Project, models.CASCADE, related_name="publications")
    run = models.ForeignKey(Run, models.SET_NULL, null=True, related_name="publications")
    run_name = models.CharField(max_length=200, editable=False, help_text="Kept when the run is deleted.")
    what = models.CharField(max_length=10, choices=PublicationWhat.choices, default=PublicationWhat.ADAPTER)
    place = models.CharField(max_length=10, choices=PublicationPlace.choices, default=PublicationPlace.FOLDER)
    target = models.CharField(max_length=500, help_text="The folder's path, or account/name on the hub.")
    public = models.BooleanField(default=False, help_text="On the hub: everybody may see it.")
    url = models.CharField(max_length=700, blank=True, editable=False, help_text="Where it is.")

    objects = Job.ScopedManager()

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.get_what_display()} of {self.run_name} in {self.target}"
