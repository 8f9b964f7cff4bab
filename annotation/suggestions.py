"""Suggestions of models: set them up, ask for them within a budget, and decide at random who sees them.

A human decides every label and every rewrite. What a model proposes is checked by the rules that hold for people
(annotation/validators.py); an answer that breaks one is kept and counted, and never shown.
"""

import hashlib
import secrets
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.conf import settings as site
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import Count, Exists, F, Max, OuterRef, Q, QuerySet, Sum
from django.utils import timezone
from rapidfuzz.distance import Levenshtein

from annotation import events, handout, suggesters, suggestion_prompts, validators
from annotation.jobs import ACTIVE, JobError, LeaseLost, PutBack
from annotation.models import (
    Annotation,
    AnswerFormat,
    Assignment,
    Dimension,
    Item,
    ItemKind,
    Project,
    Suggestion,
    SuggestionJob,
    SuggestionPrompt,
    SuggestionReport,
    SuggestionScope,
    SuggestionSettings,
    SuggestionStatus,
)
from annotation.suggesters import Answer, NoAnswer, Request, Source

# Hidden gold gets suggestions as work does, or their lack would give it away. A repeat has those of its original.
KINDS = (ItemKind.WORK, ItemKind.GOLD)
MAX_TOKENS = 32_000
OVERHEAD_TOKENS = 64  # what a server puts around a prompt
BATCH = 100  # items fetched at a time
REPORT_EVERY = 1.0  # seconds
TURN = 300.0  # seconds after which a job lets others have the worker
GIVE_UP_AFTER = 5  # texts in a row without an answer

PROMPT_FIELDS = (
    *("source_kind", "source_id", "source_name", "template", "answer_format", "with_labels", "with_rewrite"),
    *("max_tokens", "dimensions"),
)
LIMIT_FIELDS = ("is_on", "rate_per_minute", "budget", "budget_tokens", "withheld_percent", "automatic")


# Setting up


def settings_of(project: Project) -> SuggestionSettings | None:
    return SuggestionSettings.objects.filter(project=project).select_related("prompt").first()


def dimensions_now(project_id: int) -> list[dict[str, Any]]:
    """As a prompt's version keeps them."""
    return [dict(row) for row in Dimension.objects.filter(project=project_id).values("key", "name", "levels")]


@transaction.atomic
def change(project: Project, user, *, source: tuple[str, int] | None = None, **values: Any) -> SuggestionSettings:
    """Turn suggestions on for a project, or change how. Another source or prompt makes a new version of the prompt.

    Args:
        source: kind and id of a Source; needed the first time. values: fields of SuggestionPrompt and of
        SuggestionSettings; those absent stay, or have their default the first time.

    Raises:
        ValidationError: keyed by field.
    """
    Project.objects.select_for_update(no_key=True).get(pk=project.pk)  # two leads at once get two version numbers
    before = settings_of(project)
    errors: dict[str, Any] = {}
    prompt = _prompt(project, user, before.prompt if before else None, source, values, errors)
    row = before or SuggestionSettings(project=project, seed=secrets.randbits(62))
    was = _for_the_log(row) if before else {}
    for name in LIMIT_FIELDS:
        if name in values:
            setattr(row, name, values.pop(name))
    if values:
        raise TypeError(f"no such settings: {', '.join(values)}")
    try:
        row.full_clean(exclude=["project", "prompt", "seed"])
    except ValidationError as error:
        errors |= error.error_dict
    found = suggesters.source_of(project.pk, prompt.source_kind, prompt.source_id)
    if found and not found.is_free and row.budget is None and row.budget_tokens is None:
        errors["budget"] = "This source costs money. Give a budget in money or in tokens."
    if errors:
        raise ValidationError(errors)
    if prompt.pk is None:
        prompt.save()
    row.prompt = prompt
    row.save()
    changed_from, changed_to = events.changes(was, _for_the_log(row))
    if changed_to:
        events.record(project, user, "suggestions.changed", subject=str(prompt), before=changed_from, after=changed_to)
    return row


def draft_prompt(project: Project, user, *, source: tuple[str, int] | None = None, **values: Any) -> SuggestionPrompt:
    """The prompt that `change` would use, checked and not saved.

    Raises:
        ValidationError: keyed by field.
    """
    before = settings_of(project)
    errors: dict[str, Any] = {}
    prompt = _prompt(project, user, before.prompt if before else None, source, values, errors)
    if errors:
        raise ValidationError(errors)
    return prompt


def _prompt(
    project: Project,
    user,
    before: SuggestionPrompt | None,
    source: tuple[str, int] | None,
    values: dict[str, Any],
    errors: dict[str, Any],
) -> SuggestionPrompt:
    """The version to use: the one there is where nothing differs, else the next, not saved yet."""
    kind, pk = source or ((before.source_kind, before.source_id) if before else ("", 0))
    found = suggesters.source_of(project.pk, kind, pk)
    if found is None:
        errors["source"] = "Choose one of the sources that this project may use."
        found = Source(kind=kind, id=pk, name="")
    wanted: dict[str, Any] = {
        name: values.pop(name, getattr(before, name) if before else default)
        for name, default in {
            "with_labels": found.answer_format == AnswerFormat.JSON,
            "with_rewrite": True,
            "answer_format": found.answer_format,
            "max_tokens": 1_000,
        }.items()
    }
    template = validators.normalise_text(str(values.pop("template", before.template if before else "")))
    # One that nobody changed follows the source and what is asked for.
    unchanged = not template.strip() or template in suggestion_prompts.DEFAULTS
    wanted["template"] = default_template(found, **wanted) if unchanged else template
    wanted |= {"source_kind": kind, "source_id": pk, "source_name": found.name}
    wanted["dimensions"] = dimensions_now(project.pk)
    if wanted["answer_format"] == AnswerFormat.TEXT and wanted["with_labels"]:
        errors["answer_format"] = (
            "An answer that is the rewrite alone holds no labels. Switch them off, or ask for JSON."
        )
    if not wanted["with_labels"] and not wanted["with_rewrite"]:
        errors["with_labels"] = "Choose labels, the rewrite, or both."
    if not 1 <= wanted["max_tokens"] <= MAX_TOKENS:
        errors["max_tokens"] = f"An answer has at least 1 and at most {MAX_TOKENS:,} tokens."
    try:
        suggestion_prompts.check_template(
            wanted["template"], answer_format=wanted["answer_format"], with_labels=wanted["with_labels"]
        )
    except ValidationError as error:
        errors["template"] = error.messages
    if before and all(getattr(before, name) == wanted[name] for name in PROMPT_FIELDS):
        return before
    number = project.suggestion_prompts.aggregate(last=Max("number"))["last"] or 0
    return SuggestionPrompt(project=project, number=number + 1, created_by=user, **wanted)


def default_template(source: Source, *, with_labels: bool, with_rewrite: bool, **_: Any) -> str:
    """What a prompt for this source starts from."""
    return source.template or suggestion_prompts.default_template(with_labels=with_labels, with_rewrite=with_rewrite)


def _for_the_log(row: SuggestionSettings) -> dict[str, Any]:
    limits = {name: getattr(row, name) for name in LIMIT_FIELDS}
    limits["budget"] = None if row.budget is None else str(row.budget.normalize())
    return limits | {"prompt": row.prompt.number, "source": row.prompt.source_name}


@transaction.atomic
def switch(project: Project, user, on: bool) -> SuggestionSettings:
    """Show suggestions from now on, or no more, whatever became of the source. What was handed out stays as it was.

    Raises:
        ValidationError: they were never set up.
    """
    row = SuggestionSettings.objects.select_for_update().filter(project=project).first()
    if row is None:
        raise ValidationError("Choose a source first.")
    if row.is_on != on:
        events.record(project, user, "suggestions.changed", before={"is_on": row.is_on}, after={"is_on": on})
        row.is_on = on
        row.save(update_fields=["is_on"])
    return row


# Asking


def wanting(project_id: int, prompt: SuggestionPrompt, scope: str) -> QuerySet[Item]:
    """Items that a job of this scope asks for, in the order of their ids."""
    items = Item.objects.filter(handout.WANTED, project=project_id, kind__in=KINDS)
    answers = Suggestion.objects.filter(item=OuterRef("pk"))
    if scope == SuggestionScope.AGAIN:
        done = answers.filter(prompt=prompt, status=SuggestionStatus.OK)
    elif scope == SuggestionScope.RETRY:
        done = answers.filter(status=SuggestionStatus.OK)
    else:
        done = answers.filter(Q(status=SuggestionStatus.OK) | Q(status=SuggestionStatus.MALFORMED, prompt=prompt))
    return items.filter(~Exists(done)).order_by("pk")


def spent(project_id: int) -> tuple[Decimal, int]:
    """Money and tokens that the project's suggestions have cost, requests without an answer at the most they can."""
    sums = Suggestion.objects.filter(project=project_id).aggregate(
        money=Sum("cost"), tokens=Sum(F("input_tokens") + F("output_tokens"))
    )
    return sums["money"] or Decimal(0), sums["tokens"] or 0


def start(project: Project, user, scope: str = SuggestionScope.MISSING, *, by_itself: bool = False) -> SuggestionJob:
    """Queue a job that asks for suggestions.

    Args:
        by_itself: nobody asked for it now; the log names the system.

    Raises:
        ValidationError: keyed by field where one is at fault.
    """
    from annotation import tasks

    row = settings_of(project)
    if row is None:
        raise ValidationError("Choose a source first.")
    if scope not in SuggestionScope.values:
        raise ValidationError({"scope": f"Choose one of {', '.join(SuggestionScope.values)}."})
    if SuggestionJob.objects.filter(project=project, status__in=ACTIVE).exists():
        raise ValidationError("Suggestions are being asked for already. Wait, or stop that first.")
    row = change(project, user)  # the dimensions may have changed since
    prompt = row.prompt
    money, tokens = spent(project.pk)
    if (row.budget is not None and money >= row.budget) or (
        row.budget_tokens is not None and tokens >= row.budget_tokens
    ):
        raise ValidationError({"budget": "The budget is used up. Raise it to go on."})
    if not wanting(project.pk, prompt, scope).exists():
        raise ValidationError({"scope": "There is no text to ask for."})
    newest = Item.objects.filter(project=project, kind__in=KINDS).aggregate(newest=Max("pk"))["newest"] or 0
    try:
        with transaction.atomic():
            job = SuggestionJob.objects.create(
                project=project, prompt=prompt, scope=scope, created_by=user, up_to_item=newest, message="Waiting"
            )
            actor = None if by_itself else user
            events.record(project, actor, "suggestions.started", subject=str(prompt), after={"scope": scope})
            job.queue(tasks.execute_suggestions)
    except IntegrityError:
        raise ValidationError("Suggestions are being asked for already. Wait, or stop that first.") from None
    return job


def start_for_new_texts() -> int:
    """Start jobs where a project wants suggestions by itself and has texts that came after its last job."""
    started = 0
    rows = SuggestionSettings.objects.filter(automatic=True, is_on=True).select_related("project", "prompt__created_by")
    for row in rows:
        jobs = SuggestionJob.objects.filter(project=row.project_id)
        if jobs.filter(status__in=ACTIVE).exists():
            continue
        last = jobs.aggregate(last=Max("up_to_item"))["last"] or 0
        # A repeat is made while somebody works, and is never asked for.
        if not Item.objects.filter(project=row.project_id, kind__in=KINDS, pk__gt=last).exists():
            continue
        try:
            start(row.project, row.prompt.created_by, by_itself=True)
        except ValidationError:  # used up, or nothing to ask: the page says so to whoever looks
            continue
        started += 1
    return started


class Budget:
    """What may still be spent. Threads that send a request once more ask it too."""

    def __init__(self, money: Decimal | None, tokens: int | None, used: tuple[Decimal, int]) -> None:
        """`money` and `tokens`: the limits, None for none. `used`: what is spent of both."""
        self.money, self.tokens, self.used = money, tokens, used
        self.lock = threading.Lock()

    def reserve(self, money: Decimal, tokens: int) -> bool:
        """Set aside what a request can cost at most; False when that is more than is left."""
        with self.lock:
            after = (self.used[0] + money, self.used[1] + tokens)
            if self.money is not None and after[0] > self.money:
                return False
            if self.tokens is not None and after[1] > self.tokens:
                return False
            self.used = after
            return True

    def give_back(self, money: Decimal, tokens: int) -> None:
        with self.lock:
            self.used = (self.used[0] - money, self.used[1] - tokens)


@dataclass
class Open:
    """A question on its way: its row, what one request costs at most, and how many were reserved."""

    row: Suggestion
    text: str
    before: tuple[int, int, Decimal]  # the row's tokens and cost from an attempt that died
    input_tokens: int
    output_tokens: int
    cost: Decimal
    reserved: int = 1


class Asking:
    """One turn of a job: gives out requests within the budget, and stores what comes back."""

    def __init__(self, job: SuggestionJob) -> None:
        row = SuggestionSettings.objects.get(project=job.project_id)
        source = suggesters.source_of(job.project_id, job.prompt.source_kind, job.prompt.source_id)
        if source is None:
            raise JobError(f"{job.prompt.source_name} can no longer be used. Choose another source.")
        self.job, self.source, self.rate = job, source, row.rate_per_minute
        self.budget = Budget(row.budget, row.budget_tokens, spent(job.project_id))
        self.until = time.monotonic() + TURN if suggesters.KINDS[source.kind].task is None else float("inf")
        self.budget_reached = self.turn_over = False
        self.failures: list[str] = []
        answered = Suggestion.objects.filter(job=job).exclude(status=SuggestionStatus.ASKED)
        self.items = wanting(job.project_id, job.prompt, job.scope).filter(
            ~Exists(answered.filter(item=OuterRef("pk")))
        )
        self.done = answered.count()
        self.total = self.done + self.items.count()
        self.queue = self._batches()
        self.waiting: Item | None = None
        self.reported = 0.0

    def _batches(self) -> Iterator[Item]:
        last = 0
        while batch := list(self.items.filter(pk__gt=last).only("pk", "text")[:BATCH]):
            yield from batch
            last = batch[-1].pk

    def take(self) -> Request | None:
        """The next request; None while the budget allows none, and at the end."""
        if time.monotonic() > self.until:
            self.turn_over = True
            return None
        item = self.waiting or next(self.queue, None)
        self.waiting = item
        if item is None:
            return None
        prompt = suggestion_prompts.render(self.job.prompt, item.text)
        # No tokenizer makes more tokens than there are bytes, so this is the most it can be.
        input_tokens, output_tokens = len(prompt.encode()) + OVERHEAD_TOKENS, self.job.prompt.max_tokens
        cost = self.source.cost(input_tokens, output_tokens)
        self.budget_reached = not self.budget.reserve(cost, input_tokens + output_tokens)
        if self.budget_reached:
            return None  # an answer on its way may give some back
        self.waiting = None
        row, _ = Suggestion.objects.get_or_create(
            job=self.job, item=item, defaults={"project_id": self.job.project_id, "prompt": self.job.prompt}
        )
        before = (row.input_tokens, row.output_tokens, row.cost)
        question = Open(row, item.text, before, input_tokens, output_tokens, cost)
        # Counted before it is sent: whoever goes on after a crash knows what may have been charged.
        self._account(question, input_tokens, output_tokens, cost)
        row.save(update_fields=["input_tokens", "output_tokens", "cost"])
        return Request(key=question, prompt=prompt, max_tokens=output_tokens, again=lambda: self._again(question))

    def _again(self, question: Open) -> bool:
        if not self.budget.reserve(question.cost, question.input_tokens + question.output_tokens):
            return False
        question.reserved += 1
        # Counted before it is sent, as the first one was. Added in SQL: this may be a thread of the source's.
        Suggestion.objects.filter(pk=question.row.pk).update(
            input_tokens=F("input_tokens") + question.input_tokens,
            output_tokens=F("output_tokens") + question.output_tokens,
            cost=F("cost") + question.cost,
        )
        return True

    @staticmethod
    def _account(question: Open, input_tokens: int, output_tokens: int, cost: Decimal) -> None:
        row = question.row
        row.input_tokens, row.output_tokens, row.cost = (
            question.before[0] + input_tokens,
            question.before[1] + output_tokens,
            question.before[2] + cost,
        )

    def store(self, request: Request, answer: Answer | NoAnswer) -> None:
        """Write what became of a request. Raises JobError when there is no use in going on."""
        question: Open = request.key
        row = question.row
        lost = answer.lost
        if isinstance(answer, Answer):
            used_in = question.input_tokens if answer.input_tokens is None else answer.input_tokens
            used_out = question.output_tokens if answer.output_tokens is None else answer.output_tokens
            row.usage_known = None not in (answer.input_tokens, answer.output_tokens) and not lost
            row.model, row.seconds = answer.model, answer.seconds
            self._read(row, question.text, answer)
        else:
            used_in = used_out = 0
            row.status, row.reason = SuggestionStatus.FAILED, answer.reason[:500]
            row.answer = answer.text
        input_tokens = used_in + lost * question.input_tokens
        output_tokens = used_out + lost * question.output_tokens
        cost = self.source.cost(used_in, used_out) + lost * question.cost
        self._account(question, input_tokens, output_tokens, cost)
        self.budget.give_back(
            question.reserved * question.cost - cost,
            question.reserved * (question.input_tokens + question.output_tokens) - input_tokens - output_tokens,
        )
        row.requests += answer.requests
        row.answered_at = timezone.now()
        with transaction.atomic():
            # The job's row stays locked until this is written: a job that was taken over writes nothing.
            if not self.job._mine().select_for_update().exists():
                raise LeaseLost
            if answer.requests:
                row.save()
            else:  # stopped before it was sent
                row.delete()
                return
        self.done += 1
        self.failures = [] if isinstance(answer, Answer) else [*self.failures, answer.reason]
        if len(self.failures) >= GIVE_UP_AFTER:
            raise JobError(f"{GIVE_UP_AFTER} texts in a row got no answer. The last time: {self.failures[-1]}")

    def _read(self, row: Suggestion, text: str, answer: Answer) -> None:
        row.answer = answer.text
        try:
            if answer.cut_off:
                raise ValidationError(f"The answer was cut off at the limit of {self.job.prompt.max_tokens:,} tokens.")
            proposal = suggestion_prompts.parse(self.job.prompt, text, answer.text)
        except ValidationError as error:
            row.status = SuggestionStatus.MALFORMED
            row.reason = validators.first_message(error)[:500]
        else:
            row.status, row.reason = SuggestionStatus.OK, ""
            row.labels, row.rewrite, row.spans = proposal.labels, proposal.rewrite, proposal.spans

    def tick(self) -> None:
        """Report how far it is, once a second. Raises when the job must stop."""
        if time.monotonic() - self.reported >= REPORT_EVERY:
            self.reported = time.monotonic()
            self.job.report(self.done, max(self.total, self.done), "Asking")


def run(job: SuggestionJob) -> dict[str, Any]:
    """Ask, text by text, until none is left or the budget is. Stopped or killed, it goes on where it was.

    Raises:
        JobError: with a sentence for people. Cancelled, LeaseLost and PutBack are for the job.
    """
    asking = Asking(job)
    job.report(asking.done, asking.total, "Asking")
    ask = suggesters.KINDS[job.prompt.source_kind].ask
    for request, answer in ask(job.prompt, asking.rate, asking.take, asking.tick):
        asking.store(request, answer)
    if asking.turn_over:
        job.report(asking.done, max(asking.total, asking.done), "Waiting for its next turn")
        raise PutBack
    return {
        "done": asking.done,
        "total": max(asking.total, asking.done),
        "budget_reached": asking.budget_reached,
        "message": summary(job, asking),
    }


def summary(job: SuggestionJob, asking: Asking) -> str:
    counts = dict(Suggestion.objects.filter(job=job).order_by().values_list("status").annotate(n=Count("pk")))
    parts = [
        f"{counts.get(status, 0):,} {SuggestionStatus(status).label.lower()}"
        for status in (SuggestionStatus.OK, SuggestionStatus.MALFORMED, SuggestionStatus.FAILED)
    ]
    sentence = ", ".join(parts) + "."
    if asking.budget_reached:
        money, tokens = spent(job.project_id)
        left = max(asking.total - asking.done, 0)
        used = f"{money_text(money)} and {tokens:,} tokens" if money else f"{tokens:,} tokens"
        sentence += f" Stopped at the budget: {used} are spent, {left:,} text{'' if left == 1 else 's'} not asked."
    return sentence


def money_text(amount: Decimal) -> str:
    return f"{amount:.6f}".rstrip("0").rstrip(".") + f" {site.CURRENCY}"


# Showing


def draw(seed: int, item_id: int, annotator_id: int) -> float:
    """A number in [0, 1) for this person and this item, the same every time: nothing anybody does moves it."""
    digest = hashlib.sha256(f"suggestion:{seed}:{item_id}:{annotator_id}".encode()).digest()
    return int.from_bytes(digest[:8]) / 2**64


def condition(item: Item, annotator_id: int) -> dict[str, Any]:
    """The columns of a new assignment that say which suggestion there is and whether this person sees it.

    The assignment is written with them before anything is shown.
    """
    if not hasattr(item.project, "suggestion_settings"):
        return {}  # they were never set up
    texts = [item.pk] if item.repeat_of_id is None else [item.pk, item.repeat_of_id]
    found = (
        Suggestion.objects.filter(item__in=texts, status=SuggestionStatus.OK, project__suggestion_settings__is_on=True)
        .order_by("-pk")
        .values_list("pk", "project__suggestion_settings__seed", "project__suggestion_settings__withheld_percent")
        .first()
    )
    if found is None:
        return {}
    pk, seed, percent = found
    return {
        "suggestion_id": pk,
        "suggestion_shown": draw(seed, item.pk, annotator_id) >= percent / 100,
        "suggestion_withheld_percent": percent,
    }


def shown(row: Assignment | Annotation, dimensions: Iterable[Dimension]) -> dict[str, Any] | None:
    """What the annotator of this assignment or annotation is shown: labels, rewrite, spans. None where it is nothing.

    Args:
        dimensions: the project's. Labels whose dimension or level it no longer has are left out.
    """
    if not row.suggestion_shown or row.suggestion is None:
        return None
    suggestion = row.suggestion
    levels = {dimension.key: dimension.levels for dimension in dimensions}
    labels = {key: level for key, level in suggestion.labels.items() if level in levels.get(key, ())}
    return {"labels": labels, "rewrite": suggestion.rewrite, "spans": suggestion.spans}


def closeness(text: str, rewrite: str) -> float:
    """How much of a text a rewrite keeps: 1 less the normalised Levenshtein distance over words."""
    return Levenshtein.normalized_similarity(text.split(), rewrite.split())


def distance(rewrite: str, suggestion: Suggestion | None) -> float | None:
    """Normalised Levenshtein distance from the suggested rewrite: edits by the longer one's length, 0 to 1.

    None where there is no suggested rewrite, or the annotator wrote none.
    Source: Levenshtein, Soviet Physics Doklady 10 (1966), 707-710, by the rapidfuzz package.
    """
    if suggestion is None or not suggestion.rewrite or not rewrite.strip():
        return None
    return Levenshtein.normalized_distance(suggestion.rewrite, rewrite.strip())


# How it stands


def counts(project_id: int) -> dict[str, Any]:
    """Answers by status, with cost and tokens; one query."""
    rows = (
        Suggestion.objects.filter(project=project_id)
        .order_by()
        .values("status")
        .annotate(n=Count("pk"), money=Sum("cost"), input=Sum("input_tokens"), output=Sum("output_tokens"))
    )
    by_status: dict[str, int] = {str(row["status"]): row["n"] for row in rows}
    return {
        **{status: by_status.get(status, 0) for status in SuggestionStatus.values},
        "cost": sum((row["money"] for row in rows), Decimal(0)),
        "input_tokens": sum(row["input"] for row in rows),
        "output_tokens": sum(row["output"] for row in rows),
    }


# What they do to people


def annotations_with_one(project_id: int, prompt_id: int | None = None) -> QuerySet[Annotation]:
    """Annotations of texts that had a suggestion, seen or not. A repeat would be the memory of an earlier one."""
    rows = Annotation.objects.filter(project=project_id, suggestion__isnull=False, kind__in=KINDS)
    return rows.filter(suggestion__prompt=prompt_id) if prompt_id else rows


def start_report(project: Project, user, prompt: SuggestionPrompt | None = None) -> SuggestionReport:
    """Queue a report on what suggestions do, on all versions of the prompt or on one.

    Raises:
        ValidationError: one is being computed, or there is nothing to report on.
    """
    from annotation import tasks

    if prompt is not None and prompt.project_id != project.pk:
        raise ValidationError({"prompt": "Choose a version of this project's prompt."})
    if not annotations_with_one(project.pk, prompt.pk if prompt else None).exists():
        raise ValidationError("Nobody has annotated a text that has a suggestion yet.")
    try:
        with transaction.atomic():
            report = SuggestionReport.objects.create(
                project=project, prompt=prompt, seed=secrets.randbits(32), created_by=user, message="Waiting"
            )
            report.queue(tasks.execute_suggestion_report)
    except IntegrityError:
        raise ValidationError("A report is being computed already. Wait for it.") from None
    return report
