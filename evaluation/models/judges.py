"""LLM judges: models that rate the pages of a study beside its reviewers, and are kept apart from them."""

from decimal import Decimal

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.urls import reverse
from django.utils import timezone

from annotation.jobs import Job
from annotation.models import Endpoint, Project
from annotation.models.suggestions import MONEY
from evaluation.models.studies import ReviewTask, Study


class Judge(Job):
    """An endpoint's model that rates the pages of a study, once each. `done` and `total` count questions: pages, each
    twice where it is asked in both orders.

    What was asked stays here when the endpoint changes or goes: address, model, prompt and settings as they were used.
    """

    MAX_TOKENS = 32_000

    project = models.ForeignKey(Project, models.CASCADE, related_name="judges")
    study = models.ForeignKey(Study, models.CASCADE, related_name="judges")
    endpoint = models.ForeignKey(Endpoint, models.SET_NULL, null=True, related_name="judges", editable=False)
    endpoint_name = models.CharField(max_length=100, editable=False)
    address = models.CharField(max_length=500, editable=False)
    model = models.CharField(max_length=200, editable=False, help_text="As the server was asked for it.")
    prompt_version = models.PositiveIntegerField(help_text="Other words are the project's next version.")
    prompt_template = models.TextField()
    parameters = models.JSONField(default=dict, blank=True, help_text="Further fields of every request.")
    seed = models.PositiveIntegerField(default=1, help_text="Of the order of outputs on each page.")
    swap = models.BooleanField(
        "both orders", default=True, help_text="Ask about each page twice, the second time in the reversed order."
    )
    by_schema = models.BooleanField(
        "answer by schema",
        default=True,
        help_text="Have the server force the answer's form; switched off where the server turns out not to know it.",
    )
    max_tokens = models.PositiveIntegerField(
        "longest answer, in tokens", default=1_000, validators=[MinValueValidator(1), MaxValueValidator(MAX_TOKENS)]
    )
    rate_per_minute = models.PositiveIntegerField(
        "requests per minute", default=60, validators=[MinValueValidator(1), MaxValueValidator(100_000)]
    )
    budget = models.DecimalField(
        "budget in money",
        null=True,
        blank=True,
        validators=[MinValueValidator(0)],
        help_text="For this judge, in the currency of the endpoints' prices. Nothing is asked beyond it.",
        **MONEY,
    )
    budget_tokens = models.PositiveBigIntegerField(
        "budget in tokens", null=True, blank=True, help_text="Prompts and answers together."
    )
    failed = models.PositiveIntegerField(default=0, editable=False, help_text="Questions without a usable answer.")

    objects = Job.ScopedManager()

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.model} judges {self.study}"

    def get_absolute_url(self) -> str:
        return reverse("evaluation:judge", args=[self.pk])


class JudgeAnswerStatus(models.TextChoices):
    WAITING = "waiting", "Not asked yet"
    ASKED = "asked", "On its way"
    OK = "ok", "Usable"
    MALFORMED = "malformed", "Not in the form that was asked for"
    REFUSED = "refused", "The model refused"
    FAILED = "failed", "No answer"


class JudgeAnswer(models.Model):
    """A judge's answer about one page in one order, whatever became of it.

    Made before anything is asked; what a request can cost at most is counted before it is sent, so that nothing that
    may have been charged for is lost with a worker. `content` is what a reviewer's answer is: `ratings` maps a slot's
    id to {criterion's key: level, or "" for none}, `preferred` is a slot's id or "tie", `worst` a slot's id.
    """

    judge = models.ForeignKey(Judge, models.CASCADE, related_name="answers")
    page = models.ForeignKey(
        ReviewTask, models.CASCADE, related_name="judged", help_text="One of the pages with these outputs."
    )
    swapped = models.BooleanField(default=False, help_text="In the reversed order.")
    shown = models.JSONField(default=list, help_text="The page's slots in the order in which the judge read them.")
    status = models.CharField(
        max_length=10, choices=JudgeAnswerStatus.choices, default=JudgeAnswerStatus.WAITING, editable=False
    )
    content = models.JSONField(default=dict, blank=True)
    reason = models.TextField(blank=True, help_text="The judge's, for its answer.")
    answer = models.TextField(blank=True, help_text="As the model gave it.")
    problem = models.CharField(max_length=500, blank=True, help_text="Why the answer is not used.")
    attempts = models.PositiveSmallIntegerField(default=0, help_text="Answers that came, usable or not.")
    model = models.CharField(max_length=300, blank=True, help_text="As the server named it.")
    input_tokens = models.PositiveIntegerField(null=True)
    output_tokens = models.PositiveIntegerField(null=True)
    charged_tokens = models.PositiveIntegerField(
        default=0, help_text="Of all attempts: what the server counted, or the most it can have been."
    )
    cost = models.DecimalField(default=Decimal(0), **MONEY)
    seconds = models.FloatField(null=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    answered_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        ordering = ["id"]
        constraints = [models.UniqueConstraint(fields=["judge", "page", "swapped"], name="judge_answer_once")]
        indexes = [models.Index(fields=["judge", "status", "id"], name="judge_answer_by_status")]

    def __str__(self) -> str:
        return f"{self.judge.model}: {self.get_status_display()}"
