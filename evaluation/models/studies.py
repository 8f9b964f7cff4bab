"""Blind studies: the design, its protocol, what reviewers see and what they answer.

While a study runs, nothing that reaches its reviewers may tell which system wrote an output. So a reviewer
works with slots: an output's text under a random id, in a random place. Only services join slots with systems,
in the database, and only once the study is closed does anybody read the result.
"""

import uuid
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.urls import reverse
from django.utils import timezone

from annotation.jobs import Job
from annotation.models import Drafted, Item, Project, ProjectScopedQuerySet
from evaluation.models.systems import Output, Part, System
from training.models import Dataset

User = get_user_model()


class StudyStatus(models.TextChoices):
    DRAFT = "draft", "Being set up"
    RUNNING = "running", "Running"
    CLOSED = "closed", "Closed"


class Layout(models.TextChoices):
    """What a page shows, and what is asked about it."""

    RATE = "rate", "One output a page: criteria"
    SIDE_BY_SIDE = "side_by_side", "Two to four outputs a page: criteria and the better one"
    PAIRWISE = "pairwise", "Two outputs a page: the better one"
    BEST_WORST = "best_worst", "Three or four outputs a page: the best and the worst one"


# How many outputs a page of each layout may show.
PER_PAGE = {Layout.RATE: (1, 1), Layout.SIDE_BY_SIDE: (2, 4), Layout.PAIRWISE: (2, 2), Layout.BEST_WORST: (3, 4)}


BETTER = "Overall, which is the better safe rewrite?"  # asked where a study has no question of its own


class Strata(models.TextChoices):
    """What texts are drawn by, so that each kind has its share."""

    NONE = "", "Nothing: all texts alike"
    TARGET_GROUP = "target_group", "Target group"
    SOURCE = "source", "Source"
    LANGUAGE = "language", "Language"


class Allocation(models.TextChoices):
    PROPORTIONAL = "proportional", "As many of each kind as its share"
    EQUAL = "equal", "Equally many of each kind"


class OnFailure(models.TextChoices):
    """What happens to the ratings of a reviewer who fails attention checks."""

    KEEP = "keep", "Keep the ratings, and report the failures"
    EXCLUDE = "exclude", "Leave the reviewer out of the main analysis, and report it with and without"


class StudyQuerySet(ProjectScopedQuerySet):
    def reviewed_by(self, user) -> "StudyQuerySet":
        """Studies this person is a reviewer of and may open. A reviewer's pages start here."""
        mine = StudyMembership.objects.filter(user_id=user.pk, revoked_at=None)
        return self.filter(pk__in=mine.values("study_id")).exclude(status=StudyStatus.DRAFT)

    def rated_blind_by(self, user) -> "StudyQuerySet":
        """Running studies whose systems this person must not learn about. Whoever was taken off a study that still
        runs stays blind: they may talk to those who go on.
        """
        mine = StudyMembership.objects.filter(user_id=user.pk)
        return self.filter(status=StudyStatus.RUNNING, pk__in=mine.values("study_id"))

    def hidden_from(self, user) -> "StudyQuerySet":
        """Started studies that would tell this person about systems that they are rating blind: those studies, and
        every other one with one of these systems, closed ones too. Systems share outputs between studies.
        """
        links = Study.systems.through.objects
        rated = links.filter(study__in=Study.objects.rated_blind_by(user).values("pk"))
        telling = links.filter(system__in=rated.values("system_id"))
        return self.filter(pk__in=telling.values("study_id")).exclude(status=StudyStatus.DRAFT)


class Study(models.Model):
    """Items x systems x criteria x reviewers, frozen before the first rating."""

    project = models.ForeignKey(Project, models.CASCADE, related_name="studies")
    name = models.CharField(max_length=200)
    instructions = models.TextField(blank=True, help_text="Markdown. Reviewers can open it at any time.")
    status = models.CharField(max_length=10, choices=StudyStatus.choices, default=StudyStatus.DRAFT, editable=False)
    seed = models.PositiveIntegerField(
        default=1,
        validators=[MaxValueValidator(2**31 - 1)],
        help_text="Decides which texts, who sees which outputs, and every order.",
    )
    hypotheses = models.TextField(blank=True, help_text="What you expect, in your own words, for the protocol.")
    # What is compared
    systems = models.ManyToManyField(System, related_name="studies")
    reference = models.ForeignKey(
        System, models.RESTRICT, related_name="+", help_text="The others are compared with this one."
    )
    tuned = models.ManyToManyField(
        System,
        related_name="+",
        blank=True,
        help_text="The tuned models, for the question after rating: which outputs came from one?",
    )
    # Which texts
    dataset = models.ForeignKey(
        Dataset, models.RESTRICT, null=True, blank=True, related_name="+", help_text="Draw only from this dataset."
    )
    part = models.CharField(max_length=10, choices=Part.choices, default=Part.TEST, help_text="And only this part.")
    number_of_items = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(10_000)],
        help_text="Drawn by the seed from the texts that all systems have outputs for. Empty: all of them but "
        "those that practice and attention checks need.",
    )
    strata = models.CharField(
        max_length=20, choices=Strata.choices, default=Strata.NONE, blank=True, help_text="Draw by kind of text."
    )
    allocation = models.CharField(max_length=20, choices=Allocation.choices, default=Allocation.PROPORTIONAL)
    chosen_ids = models.TextField(blank=True, help_text="External ids of texts, one a line, instead of drawing them.")
    # Who sees what
    layout = models.CharField(max_length=20, choices=Layout.choices, default=Layout.SIDE_BY_SIDE)
    per_page = models.PositiveSmallIntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(4)],
        help_text="Outputs on a page. Empty: as many as the layout and the systems allow.",
    )
    ratings_per_output = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(1_000)],
        help_text="How many reviewers rate each output. Empty: all of them.",
    )
    preference_question = models.CharField(max_length=200, default=BETTER)
    normalisation = models.JSONField(
        default=list, blank=True, help_text="What is taken off an output before it is shown, besides white space."
    )
    openings = models.TextField(
        "further beginnings to take off",
        blank=True,
        help_text="One a line, word for word but for case, for what only one of the systems writes before its text.",
    )
    # Controls
    practice = models.PositiveSmallIntegerField(
        "practice pages",
        default=0,
        validators=[MaxValueValidator(20)],
        help_text="At the beginning, of texts outside the study. They do not count.",
    )
    checks = models.PositiveSmallIntegerField(
        "attention checks",
        default=0,
        validators=[MaxValueValidator(20)],
        help_text="Pages for each reviewer where one output says what to choose, of texts outside the study.",
    )
    repeats = models.PositiveSmallIntegerField(
        "repeated pages",
        default=0,
        validators=[MaxValueValidator(50)],
        help_text="Pages that each reviewer sees again in another order, for self-consistency.",
    )
    on_failure = models.CharField(
        "who fails the checks", max_length=10, choices=OnFailure.choices, default=OnFailure.KEEP
    )
    min_passed = models.PositiveSmallIntegerField(
        "attention checks to pass, in percent",
        default=75,
        validators=[MaxValueValidator(100)],
        help_text="Below this share a reviewer has failed.",
    )
    min_seconds = models.PositiveSmallIntegerField(
        "least seconds on a page",
        default=0,
        validators=[MaxValueValidator(600)],
        help_text="Pages answered in less are left out of the main analysis. 0: none.",
    )
    guesses = models.PositiveSmallIntegerField(
        "pages to guess on",
        default=0,
        validators=[MaxValueValidator(20)],
        help_text="After rating, each reviewer says of the outputs on this many pages which came from a tuned model.",
    )

    created_by = models.ForeignKey(User, models.PROTECT, related_name="+")
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    started_at = models.DateTimeField(null=True, blank=True, editable=False)
    closed_at = models.DateTimeField(null=True, blank=True, editable=False)
    closed_by = models.ForeignKey(User, models.PROTECT, null=True, blank=True, editable=False, related_name="+")
    ratings_hash = models.CharField(
        max_length=64, blank=True, editable=False, help_text="SHA-256 of all answers when the study was closed."
    )
    unblinded_at = models.DateTimeField(null=True, blank=True, editable=False)
    unblinded_by = models.ForeignKey(User, models.PROTECT, null=True, blank=True, editable=False, related_name="+")

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

    @property
    def asks_criteria(self) -> bool:
        return self.layout in (Layout.RATE, Layout.SIDE_BY_SIDE)

    @property
    def asks_preference(self) -> bool:
        return self.layout != Layout.RATE

    @property
    def asks_worst(self) -> bool:
        return self.layout == Layout.BEST_WORST

    @property
    def best_question(self) -> str:
        """What people and judges are asked about the outputs of a page together; empty where nothing is."""
        if self.asks_worst and self.preference_question == BETTER:  # it speaks of two
            return "Which output is the best?"
        return self.preference_question if self.asks_preference else ""

    @property
    def worst_question(self) -> str:
        """What is asked besides, where the worst output is wanted too; else empty."""
        return "Which output is the worst?" if self.asks_worst else ""


class StudyItem(models.Model):
    """A text that a study has drawn, and the kind of text it was drawn as. Spare ones serve practice and checks."""

    study = models.ForeignKey(Study, models.CASCADE, related_name="drawn")
    item = models.ForeignKey(Item, models.RESTRICT, related_name="+")
    stratum = models.CharField(max_length=200, blank=True)
    spare = models.BooleanField(default=False, help_text="For practice and attention checks only.")

    class Meta:
        ordering = ["id"]
        constraints = [models.UniqueConstraint(fields=["study", "item"], name="study_item_once")]

    def __str__(self) -> str:
        return f"{self.item} in {self.study}"


def default_anchors() -> list[str]:
    return ["not at all", "a little", "half", "mostly", "completely"]


def default_criteria() -> list[dict[str, Any]]:
    """The three criteria of a rewrite, as keyword arguments of Criterion."""
    return [
        {
            "key": "bias_gone",
            "name": "Bias gone",
            "question": "Is the bias gone?",
            "anchors": ["not at all", "hardly", "partly", "mostly", "completely"],
            "hypothesis": Hypothesis.SUPERIORITY,
        },
        {
            "key": "meaning_kept",
            "name": "Meaning kept",
            "question": "Is the meaning kept?",
            "anchors": ["another meaning", "much is lost", "partly", "nearly all", "the same meaning"],
            "hypothesis": Hypothesis.NONINFERIORITY,
            "margin": 0.5,
        },
        {
            "key": "reads_well",
            "name": "Reads well",
            "question": "Does it read well?",
            "anchors": ["hard to read", "clumsy", "acceptable", "fluent", "like good prose"],
            "hypothesis": Hypothesis.NONE,
        },
    ]


class Hypothesis(models.TextChoices):
    """What is planned to be tested about each system against the reference."""

    SUPERIORITY = "superiority", "Better than the reference"
    DIFFERENCE = "difference", "Other than the reference, better or worse"
    NONINFERIORITY = "noninferiority", "Not worse than the reference by more than the margin"
    NONE = "none", "Described, not tested"


class Criterion(models.Model):
    """What reviewers judge about each output, on anchored levels from 1 (worst) up."""

    MIN_LEVELS, MAX_LEVELS = 2, 7

    study = models.ForeignKey(Study, models.CASCADE, related_name="criteria")
    key = models.SlugField(max_length=40, help_text="Name in exports, for example bias_gone.")
    name = models.CharField(max_length=60)
    question = models.CharField(max_length=200)
    anchors = ArrayField(
        models.CharField(max_length=80),
        default=default_anchors,
        help_text="What each level means, the worst first.",
    )
    hypothesis = models.CharField(max_length=20, choices=Hypothesis.choices, default=Hypothesis.NONE)
    margin = models.FloatField(
        null=True,
        blank=True,
        help_text="In levels: a difference this large in favour of the reference would matter.",
    )
    position = models.PositiveSmallIntegerField(default=0)

    class Meta:
        ordering = ["position", "id"]
        verbose_name_plural = "criteria"
        constraints = [models.UniqueConstraint(fields=["study", "key"], name="criterion_key_once")]

    def __str__(self) -> str:
        return self.name

    @property
    def levels(self) -> int:
        return len(self.anchors)

    @property
    def low(self) -> str:
        """What 1 means."""
        return self.anchors[0]

    @property
    def high(self) -> str:
        """What the best level means."""
        return self.anchors[-1]

    def clean(self) -> None:
        if not self.MIN_LEVELS <= self.levels <= self.MAX_LEVELS:
            raise ValidationError(
                {"anchors": f"Give {self.MIN_LEVELS} to {self.MAX_LEVELS} levels; there are {self.levels}."}
            )
        if len({anchor.strip().casefold() for anchor in self.anchors}) < self.levels:
            raise ValidationError({"anchors": "Two levels read the same."})
        needs_margin = self.hypothesis == Hypothesis.NONINFERIORITY
        if needs_margin and (self.margin is None or not 0 < self.margin < self.levels - 1):
            raise ValidationError(
                {"margin": f"Give a margin in levels, above 0 and below {self.levels - 1}, for example 0.5."}
            )


class StudyMembership(models.Model):
    """A reviewer of a study."""

    study = models.ForeignKey(Study, models.CASCADE, related_name="reviewers")
    user = models.ForeignKey(User, models.PROTECT, related_name="study_memberships")
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False, help_text="When they were taken off.")
    guessing_at = models.DateTimeField(
        null=True, blank=True, editable=False, help_text="When they began to guess; their ratings are final since."
    )

    class Meta:
        ordering = ["user__username"]
        constraints = [models.UniqueConstraint(fields=["study", "user"], name="reviewer_once")]

    def __str__(self) -> str:
        return f"{self.user} reviews {self.study}"


class ReviewTaskQuerySet(models.QuerySet["ReviewTask"]):
    def of(self, user) -> "ReviewTaskQuerySet":
        """Tasks of this reviewer in studies that have started. A reviewer's pages start here."""
        return self.once_of(user).filter(study__in=Study.objects.reviewed_by(user))

    def once_of(self, user) -> "ReviewTaskQuerySet":
        """The same, and those of studies that this reviewer was taken off: what they typed on them is kept."""
        return self.filter(reviewer_id=user.pk).exclude(kind=TaskKind.SAME).exclude(study__status=StudyStatus.DRAFT)

    def counted(self) -> "ReviewTaskQuerySet":
        """Finished pages of the study proper: no practice, no checks, no repeats."""
        return self.filter(kind__in=(TaskKind.RATING, TaskKind.SAME), done_at__isnull=False)


class TaskKind(models.TextChoices):
    PRACTICE = "practice", "Practice"
    RATING = "rating", "Rating"
    CHECK = "check", "Attention check"
    REPEAT = "repeat", "Seen before"
    SAME = "same", "All outputs alike: a tie that nobody was shown"


class CannotJudge(models.TextChoices):
    """Why no level was chosen. An answer of its own: neither a level nor a missing rating."""

    UNCLEAR = "unclear", "I do not understand the text"
    LANGUAGE = "language", "I do not know the language well enough"
    CONTEXT = "context", "It needs context that I lack"
    UPSETTING = "upsetting", "I would rather not judge it"
    OTHER = "other", "Another reason (say it in the comment)"


class ReviewTask(Drafted):
    """One page: an item with one or more outputs, as one reviewer rates it.

    Addressed by `token`: a row's number would tell in which order it was made. What kind of page it is reaches the
    reviewer for practice only.
    """

    study = models.ForeignKey(Study, models.CASCADE, related_name="tasks")
    reviewer = models.ForeignKey(User, models.PROTECT, related_name="review_tasks")
    item = models.ForeignKey(Item, models.RESTRICT, related_name="review_tasks")
    kind = models.CharField(max_length=10, choices=TaskKind.choices, default=TaskKind.RATING)
    repeats = models.ForeignKey(
        "self", models.CASCADE, null=True, blank=True, related_name="repeated_by", help_text="The page seen before."
    )
    expected = models.JSONField(null=True, blank=True, help_text="Of a check: the slot and what to choose for it.")
    position = models.PositiveIntegerField(help_text="1 is this reviewer's first.")
    token = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    preferred = models.ForeignKey(
        "Slot",
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="preferred_in",
        help_text="The better, or the best, output.",
    )
    worst = models.ForeignKey("Slot", models.SET_NULL, null=True, blank=True, related_name="worst_in")
    tie = models.BooleanField(default=False, help_text="About the same: no output is preferred.")
    unpreferred = models.CharField(
        max_length=10, choices=CannotJudge.choices, blank=True, help_text="Why no choice could be made."
    )
    comment = models.TextField(blank=True)
    active_seconds = models.PositiveIntegerField(default=0, help_text="Seconds with the page in front and in use.")
    done_at = models.DateTimeField(null=True, blank=True)
    updated_at = models.DateTimeField(null=True, blank=True, help_text="When a finished task was last changed.")
    revision = models.PositiveIntegerField(default=0, help_text="Counts the submits with other answers; 0 before any.")
    guess_wanted = models.BooleanField(default=False, help_text="After rating, the reviewer guesses about its outputs.")
    guessed_at = models.DateTimeField(null=True, blank=True)

    objects = ReviewTaskQuerySet.as_manager()

    class Meta:
        ordering = ["study_id", "reviewer_id", "position"]
        constraints = [
            models.UniqueConstraint(fields=["study", "reviewer", "position"], name="review_task_position_once"),
            models.CheckConstraint(
                condition=Q(preferred=None, worst=None, tie=False, unpreferred="")
                | Q(done_at__isnull=False, preferred=None, worst=None, tie=True, unpreferred="")
                | Q(done_at__isnull=False, preferred=None, worst=None, tie=False) & ~Q(unpreferred="")
                | Q(done_at__isnull=False, preferred__isnull=False, tie=False, unpreferred=""),
                name="review_task_one_choice",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.reviewer}, task {self.position}"


class Slot(models.Model):
    """One output as one reviewer sees it, under an id that is random and says nothing.

    Systems that wrote the same text share a slot: it is rated once and counts for each of them. The slot of an
    attention check that says what to choose stands for no output.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    task = models.ForeignKey(ReviewTask, models.CASCADE, related_name="slots")
    outputs = models.ManyToManyField(Output, through="SlotOutput", related_name="slots")
    text = models.TextField(help_text="The output when the study started, in the form the protocol names.")
    position = models.PositiveSmallIntegerField(help_text="1 is output A.")

    class Meta:
        ordering = ["task_id", "position"]
        constraints = [models.UniqueConstraint(fields=["task", "position"], name="slot_position_once")]

    def __str__(self) -> str:
        return f"Output {self.letter}"

    @property
    def letter(self) -> str:
        return chr(ord("A") + self.position - 1)


class SlotOutput(models.Model):
    """Which outputs a slot stands for. Read by reports, once the study is closed."""

    slot = models.ForeignKey(Slot, models.CASCADE, related_name="slot_outputs")
    output = models.ForeignKey(Output, models.RESTRICT, related_name="slot_outputs")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["slot", "output"], name="slot_output_once")]

    def __str__(self) -> str:
        return f"{self.slot}: {self.output}"


class Rating(models.Model):
    """One reviewer's answer for one criterion of one slot: a level, or why none can be given."""

    slot = models.ForeignKey(Slot, models.CASCADE, related_name="ratings")
    criterion = models.ForeignKey(Criterion, models.RESTRICT, related_name="ratings")
    value = models.PositiveSmallIntegerField(null=True)
    cannot_judge = models.CharField(max_length=10, choices=CannotJudge.choices, blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["slot", "criterion"], name="rating_once"),
            models.CheckConstraint(
                condition=Q(value__gte=1, value__lte=Criterion.MAX_LEVELS, cannot_judge="")
                | Q(value=None) & ~Q(cannot_judge=""),
                name="rating_is_a_level_or_a_reason",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.criterion}: {self.value or self.get_cannot_judge_display()}"


class Guessed(models.TextChoices):
    TUNED = "tuned", "A tuned model"
    OTHER = "other", "Something else"
    UNKNOWN = "unknown", "I cannot tell"


class Guess(models.Model):
    """What a reviewer took an output for, after having rated everything."""

    slot = models.OneToOneField(Slot, models.CASCADE, related_name="guess")
    value = models.CharField(max_length=10, choices=Guessed.choices)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        verbose_name_plural = "guesses"

    def __str__(self) -> str:
        return f"{self.slot}: {self.get_value_display()}"


class Protocol(models.Model):
    """What a study planned before its first rating: the design, hypotheses, tests and exclusions, word for word.

    Neither the protocol nor an amendment of it ever changes (migration 0004).
    """

    study = models.OneToOneField(Study, models.CASCADE, related_name="protocol")
    text = models.TextField(help_text="JSON with sorted keys, as it was hashed.")
    sha256 = models.CharField(max_length=64)
    created_by = models.ForeignKey(User, models.PROTECT, related_name="+")
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    def __str__(self) -> str:
        return f"Protocol of {self.study}"


class Amendment(models.Model):
    """A later change of what was planned: what, why, by whom, and how much had been answered by then.

    Its hash covers the hash before it, so that none can be put in between; and none is removed as long as its study is
    there (migration 0010).
    """

    study = models.ForeignKey(Study, models.CASCADE, related_name="amendments")
    number = models.PositiveIntegerField()
    changes = models.JSONField(default=dict, blank=True, help_text="Field -> [before, after].")
    reason = models.TextField()
    tasks_done = models.PositiveIntegerField(help_text="Finished pages at the time.")
    blind = models.BooleanField(help_text="Whether it was made before the study was unblinded.")
    sha256 = models.CharField(max_length=64)
    created_by = models.ForeignKey(User, models.PROTECT, related_name="+")
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ["study_id", "number"]
        constraints = [models.UniqueConstraint(fields=["study", "number"], name="amendment_number_once")]

    def __str__(self) -> str:
        return f"Amendment {self.number} of {self.study}"


class PowerAnalysis(Job):
    """What difference a planned study would find with what certainty, simulated by a worker."""

    project = models.ForeignKey(Project, models.CASCADE, related_name="power_analyses")
    study = models.ForeignKey(Study, models.CASCADE, related_name="power_analyses")
    parameters = models.JSONField(default=dict)
    results = models.JSONField(default=dict, blank=True)
    figure = models.TextField(blank=True, help_text="SVG.")

    objects = Job.ScopedManager()

    class Meta:
        ordering = ["-id"]
        verbose_name_plural = "power analyses"

    def __str__(self) -> str:
        return f"Power of {self.study}"

    def get_absolute_url(self) -> str:
        return reverse("evaluation:power", args=[self.study_id])


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


class ReportFile(models.Model):
    """A file that was written with a report."""

    report = models.ForeignKey(Report, models.CASCADE, related_name="files")
    name = models.CharField(max_length=60, help_text="As it is asked for, for example report.pdf.")
    file = models.FileField(upload_to="reports/")

    class Meta:
        ordering = ["id"]
        constraints = [models.UniqueConstraint(fields=["report", "name"], name="report_file_once")]

    def __str__(self) -> str:
        return f"{self.name} of {self.report}"
