"""LLM judges: models that rate the same pages as a study's reviewers, by the same criteria, and never count among them.

A judge may start while the study runs or after. Until the study is closed nobody sees what judges found: pages and API
tell how far one is, what it costs and how many answers cannot be used.
"""

import copy
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.core.exceptions import ValidationError
from django.db import connection, transaction
from django.db.models import Count, F, Max, OuterRef, Q, Subquery, Sum
from django.db.models.functions import Coalesce
from django.utils import timezone

from annotation import endpoints, validators
from annotation.endpoints import Client
from annotation.jobs import ACTIVE, JobError, JobStatus, LeaseLost, PutBack
from annotation.models import Endpoint
from annotation.suggesters import Answer, NoAnswer, Request, Source
from annotation.suggestions import GIVE_UP_AFTER, OVERHEAD_TOKENS, REPORT_EVERY, TURN, Budget, money_text
from evaluation import judge_prompts, studies
from evaluation.judge_prompts import Page
from evaluation.models import Judge, JudgeAnswer, JudgeAnswerStatus, Slot, Study
from evaluation.systems import usable_endpoints

FETCH = 100  # questions
MOST_ANSWERS = 2  # for one question: a malformed one is asked for once more
MAX_TEMPERATURE = 5.0
PENDING = (JudgeAnswerStatus.WAITING, JudgeAnswerStatus.ASKED)
UNUSABLE = (JudgeAnswerStatus.MALFORMED, JudgeAnswerStatus.REFUSED, JudgeAnswerStatus.FAILED)
BYTES_A_TOKEN = 4  # a rule of thumb for English, of estimates only
# Pages that show the same outputs of the same text are one question, whoever sees them. Pages that do not count
# (practice, checks, repeats) are none.
PAGES = """
SELECT DISTINCT ON (page.item_id, page.outputs) page.id, page.item_id, page.slots, page.bytes
FROM (
    SELECT shown.task_id AS id, shown.item_id, count(*) AS slots, sum(shown.bytes) AS bytes,
        string_agg(shown.outputs, ',' ORDER BY shown.outputs) AS outputs
    FROM (
        SELECT slot.task_id, task.item_id, octet_length(slot.text) AS bytes,
            string_agg(link.output_id::text, '+' ORDER BY link.output_id) AS outputs
        FROM evaluation_slot slot
        JOIN evaluation_reviewtask task ON task.id = slot.task_id
        JOIN evaluation_slotoutput link ON link.slot_id = slot.id
        WHERE task.study_id = %(study)s AND task.kind = 'rating' GROUP BY slot.id, task.item_id
    ) AS shown GROUP BY shown.task_id, shown.item_id
) AS page ORDER BY page.item_id, page.outputs, page.id
"""
SIZE = """
SELECT count(*), count(*) FILTER (WHERE page.slots > 1), coalesce(sum(bytes + octet_length(item.text)), 0),
    coalesce(sum(bytes + octet_length(item.text)) FILTER (WHERE page.slots > 1), 0), coalesce(max(slots), 0)
FROM ({pages}) AS page JOIN annotation_item item ON item.id = page.item_id
"""
LAY_OUT = """
INSERT INTO evaluation_judgeanswer (judge_id, page_id, swapped, shown, status, content, reason, answer, problem,
    attempts, model, charged_tokens, cost, created_at)
SELECT %(judge)s, page.id, turn.swapped, '[]', 'waiting', '{{}}', '', '', '', 0, '', 0, 0, now()
FROM ({pages}) AS page CROSS JOIN (VALUES (false), (true)) AS turn (swapped)
WHERE NOT turn.swapped OR (%(swap)s AND page.slots > 1) ORDER BY turn.swapped, page.id
ON CONFLICT DO NOTHING
"""


# Setting up


@dataclass(frozen=True)
class Estimate:
    """How much a judge would be asked, and what that costs about and at most.

    pages: different ones. questions: pages, those of several outputs twice where both orders are asked. tokens, cost:
    a guess, of 4 bytes a token and short answers. most_tokens, most_cost: if every byte were a token, every answer as
    long as it may be, and each asked for twice.
    """

    pages: int
    questions: int
    tokens: int
    cost: Decimal
    most_tokens: int
    most_cost: Decimal


def estimate(
    study: Study,
    endpoint: Endpoint | None,
    *,
    template: str = judge_prompts.DEFAULT_TEMPLATE,
    swap: bool = True,
    max_tokens: int = 1_000,
) -> Estimate:
    """What a judge of a started study would be asked and would cost, without asking anything."""
    with connection.cursor() as cursor:
        cursor.execute(SIZE.format(pages=PAGES), {"study": study.pk})
        pages, several, size, several_size, slots = (int(value) for value in cursor.fetchone())
    questions, texts = (pages + several, size + several_size) if swap else (pages, size)
    criteria = list(study.criteria.all())
    empty = Page(study, criteria, "", [Slot(text="") for _ in range(slots)])
    prompt = len(judge_prompts.render(template, empty).encode())
    rated = slots * len(empty.rated) + 2 * study.asks_preference
    read, written = (texts + questions * prompt) // BYTES_A_TOKEN, questions * (60 + 12 * rated)
    most_read, most_written = texts + questions * (prompt + OVERHEAD_TOKENS), questions * max_tokens
    source = endpoints.as_source(endpoint) if endpoint else Source(kind="endpoint", id=0, name="")
    return Estimate(
        pages=pages,
        questions=questions,
        tokens=read + written,
        cost=source.cost(read, written),
        most_tokens=MOST_ANSWERS * (most_read + most_written),
        most_cost=MOST_ANSWERS * source.cost(most_read, most_written),
    )


@transaction.atomic
def create(
    study: Study,
    user,
    *,
    endpoint: Endpoint | None,
    prompt_template: str = "",
    temperature: float | None = None,
    seed: int = 1,
    swap: bool = True,
    by_schema: bool = True,
    max_tokens: int = 1_000,
    rate_per_minute: int = 60,
    budget: Decimal | None = None,
    budget_tokens: int | None = None,
) -> Judge:
    """Have a model judge the pages of a study that has started.

    Args:
        prompt_template: "" for the usual one; see judge_prompts.PLACES. temperature: None leaves it as the endpoint is
        set up. seed: of the order of outputs on each page. swap: ask a second time in the reversed order.

    Raises:
        ValidationError: keyed by field where one is at fault.
    """
    study = Study.objects.select_for_update(of=("self",), no_key=True).get(pk=study.pk)
    if study.is_draft:
        raise ValidationError("Start the study first: until then there are no pages to judge.")
    template = validators.normalise_text(prompt_template)
    template = template if template.strip() else judge_prompts.DEFAULT_TEMPLATE
    errors: dict[str, Any] = {}
    try:
        judge_prompts.check_template(template, study)
    except ValidationError as error:
        errors["prompt_template"] = error.messages
    if endpoint is None or not usable_endpoints().filter(pk=endpoint.pk).exists():
        raise ValidationError(errors | {"endpoint": "Choose one of the endpoints that an administrator offers."})
    if temperature is not None and not 0 <= temperature <= MAX_TEMPERATURE:
        errors["temperature"] = f"A temperature is between 0 and {MAX_TEMPERATURE:g}."
    judge = Judge(
        project_id=study.project_id,
        study=study,
        created_by=user,
        endpoint=endpoint,
        endpoint_name=endpoint.name,
        address=endpoint.base_url,
        model=endpoint.model,
        prompt_template=template,
        prompt_version=_version(study, template),
        parameters=endpoint.parameters | ({} if temperature is None else {"temperature": temperature}),
        seed=seed,
        swap=swap,
        by_schema=by_schema,
        max_tokens=max_tokens,
        message="Waiting",
    )
    errors |= _check_limits(judge, rate_per_minute, budget, budget_tokens)
    same = study.judges.filter(status__in=ACTIVE, endpoint=endpoint, model=judge.model, prompt_template=template)
    if same.filter(parameters=judge.parameters, seed=seed, swap=swap).exists():
        errors["endpoint"] = "The same judge is at work on this study. Wait for it, or stop it first."
    if errors:
        raise ValidationError(errors)
    judge.total = estimate(study, endpoint, template=template, swap=swap).questions
    if not judge.total:
        raise ValidationError("The study has no page with outputs to judge.")
    judge.save()
    _queue(judge)
    return judge


def _queue(judge: Judge) -> None:
    from evaluation import tasks

    judge.queue(tasks.execute_judge)


def _version(study: Study, template: str) -> int:
    """The number of these words among the project's prompts for judges."""
    judges = Judge.objects.filter(project_id=study.project_id)
    same = judges.filter(prompt_template=template).values_list("prompt_version", flat=True).first()
    return same or (judges.aggregate(last=Max("prompt_version"))["last"] or 0) + 1


def _check_limits(
    judge: Judge, rate_per_minute: int, budget: Decimal | None, budget_tokens: int | None
) -> dict[str, Any]:
    """Set the limits; what is wrong with the judge, keyed by field."""
    judge.rate_per_minute, judge.budget, judge.budget_tokens = rate_per_minute, budget, budget_tokens
    errors: dict[str, Any] = {}
    try:
        judge.full_clean(exclude=["project", "study", "created_by", "endpoint"])
    except ValidationError as error:
        errors |= error.error_dict
    costs = judge.endpoint is not None and not endpoints.as_source(judge.endpoint).is_free
    if costs and budget is None and budget_tokens is None:
        errors["budget"] = "This endpoint costs money. Give a budget in money or in tokens."
    return errors


@transaction.atomic
def go_on(
    judge: Judge,
    *,
    rate_per_minute: int | None = None,
    budget: Decimal | None = None,
    budget_tokens: int | None = None,
) -> Judge:
    """Ask on where a judge stopped: what was not asked, and what got no answer. What it has answered stays.

    Args:
        rate_per_minute, budget, budget_tokens: new limits; the old ones when all are None.

    Raises:
        ValidationError: keyed by field where one is at fault; it is at work, or nothing is left to ask.
    """
    judge = Judge.objects.select_for_update(of=("self",)).select_related("endpoint").get(pk=judge.pk)
    if judge.is_active:
        raise ValidationError("This judge is at work already.")
    if judge.endpoint is None or not judge.endpoint.is_active:
        raise ValidationError("The endpoint of this judge is no longer offered. Start another judge.")
    changed = any(limit is not None for limit in (rate_per_minute, budget, budget_tokens))
    rate = rate_per_minute or judge.rate_per_minute
    if changed and (errors := _check_limits(judge, rate, budget, budget_tokens)):
        raise ValidationError(errors)
    money, tokens = spent(judge)
    if (judge.budget is not None and money >= judge.budget) or (
        judge.budget_tokens is not None and tokens >= judge.budget_tokens
    ):
        raise ValidationError({"budget": "The budget is used up. Raise it to go on."})
    if not may_go_on(judge):
        raise ValidationError("The judge has answered everything.")
    judge.answers.filter(status=JudgeAnswerStatus.FAILED).update(status=JudgeAnswerStatus.WAITING, problem="")
    judge.status, judge.message, judge.error, judge.ended_at = JobStatus.QUEUED, "Waiting", "", None
    judge.cancel_requested, judge.lease_until = False, None
    judge.save()
    _queue(judge)
    return judge


def may_go_on(judge: Judge) -> bool:
    """Whether there is something left to ask of a judge that stopped."""
    if judge.is_active:
        return False
    left = judge.answers.filter(status__in=(*PENDING, JudgeAnswerStatus.FAILED))
    return left.exists() or not judge.answers.exists()


def cancel(judge: Judge) -> Judge:
    """Stop asking. What was answered is kept."""
    judge.request_cancel()
    return judge


def spent(judge: Judge) -> tuple[Decimal, int]:
    """Money and tokens that the judge has cost, requests without an answer at the most they can have."""
    sums = judge.answers.aggregate(money=Sum("cost"), tokens=Sum("charged_tokens"))
    return sums["money"] or Decimal(0), sums["tokens"] or 0


def with_spent(judges):
    """Judges with what they cost as `spent_money` and `spent_tokens`, for a list."""
    answers = JudgeAnswer.objects.filter(judge=OuterRef("pk")).order_by().values("judge")
    return judges.annotate(
        spent_money=Coalesce(Subquery(answers.annotate(n=Sum("cost")).values("n")), Decimal(0)),
        spent_tokens=Coalesce(Subquery(answers.annotate(n=Sum("charged_tokens")).values("n")), 0),
    )


def failures(judge: Judge, most: int = 10) -> list[dict[str, Any]]:
    """Why questions have no usable answer: {"status", "problem", "count"}, the most frequent first. Nothing of the
    answers.
    """
    rows = judge.answers.filter(status__in=UNUSABLE).order_by().values("status", "problem").annotate(count=Count("pk"))
    found = [dict(row) for row in rows.order_by(F("count").desc(), "problem")[:most]]
    return [row | {"words": JudgeAnswerStatus(str(row["status"])).label} for row in found]


def answers(judge: Judge):
    """Every answer that was asked for, usable or not, of a closed study.

    Raises:
        ValidationError: the study is not closed.
    """
    if not judge.study.is_closed:
        raise ValidationError("What judges answered can be read once the study is closed.")
    return judge.answers.exclude(status__in=PENDING).select_related("page__item")


def unusable(judge: Judge):
    """The answers that cannot be used, with what came instead. Raises as `answers` does."""
    return answers(judge).filter(status__in=UNUSABLE)


def results(study: Study) -> dict[str, Any]:
    """What the judges of a closed study found, beside people: see judge_results.results.

    Raises:
        ValidationError: the study is not closed.
    """
    from evaluation import judge_results  # here, so that web processes do not load scipy

    return judge_results.results(study)


# Asking


def client_for(judge: Judge) -> Client:
    """The judge's endpoint, asked for the model and with the parameters that the judge was made with.

    Raises:
        JobError: the endpoint or its key is gone, or stands for another server now.
    """
    endpoint = judge.endpoint
    if endpoint is None or not endpoint.is_active:
        raise JobError("The endpoint of this judge is no longer offered. Start another judge.")
    if endpoint.base_url != judge.address:
        raise JobError(
            f"The endpoint {endpoint.name} has another address now than when this judge began. Start another judge."
        )
    endpoint = copy.copy(endpoint)
    endpoint.model, endpoint.parameters = judge.model, judge.parameters
    return Client(endpoint, judge.rate_per_minute)


def order_of(judge: Judge, page_id: int, slots: list[Slot], *, swapped: bool) -> list[Slot]:
    """A page's slots in the order in which the judge reads them: drawn by the judge's seed, or that reversed."""
    drawn = sorted(slots, key=lambda slot: slot.position)
    random.Random(f"{judge.seed}/{page_id}").shuffle(drawn)  # noqa: S311 - repeatable on purpose
    return drawn[::-1] if swapped else drawn


@dataclass
class Open:
    """A question on its way: its row and page, what one request can cost, how often that was set aside, and whether
    the answer's form is forced.
    """

    row_id: int
    page: Page
    tokens: int
    cost: Decimal
    by_schema: bool
    reserved: int = 1


class Asking:
    """One turn of a judge."""

    def __init__(self, judge: Judge) -> None:
        self.judge = judge
        assert judge.endpoint is not None  # client_for has made sure
        self.source = endpoints.as_source(judge.endpoint)
        self.study = judge.study
        self.criteria = list(self.study.criteria.all())
        self.budget = Budget(judge.budget, judge.budget_tokens, spent(judge))
        self.lay_out()
        counts = judge.answers.aggregate(
            total=Count("pk"), open=Count("pk", filter=Q(status__in=PENDING)),
            failed=Count("pk", filter=Q(status__in=UNUSABLE)),
        )  # fmt: skip
        self.total, self.failed = counts["total"], counts["failed"]
        self.done = self.total - counts["open"]
        self.queue = self._rows()
        self.once_more: list[int] = []  # rows, after what is malformed or was not understood
        self.plainly: set[int] = set()  # of these, the ones whose server did not take the schema
        self.waiting: JudgeAnswer | None = None
        self.until = time.monotonic() + TURN
        self.turn_over = self.budget_reached = False
        self.in_a_row = 0
        self.reported = 0.0

    def lay_out(self) -> None:
        """Make the judge's questions, once."""
        judge = self.judge
        with transaction.atomic():
            self._hold()
            if not judge.answers.exists():
                with connection.cursor() as cursor:
                    values = {"judge": judge.pk, "study": judge.study_id, "swap": judge.swap}
                    cursor.execute(LAY_OUT.format(pages=PAGES), values)

    def _hold(self) -> None:
        """Keep the job's row locked until the transaction ends: a job that was taken over writes nothing."""
        if not self.judge._mine().select_for_update().exists():
            raise LeaseLost

    def _full(self, **which: Any):
        rows = self.judge.answers.filter(status__in=PENDING, **which).select_related("page__item")
        return rows.prefetch_related("page__slots")

    def _rows(self) -> Iterator[JudgeAnswer]:
        last = 0
        while rows := list(self._full(pk__gt=last).order_by("pk")[:FETCH]):
            yield from rows
            last = rows[-1].pk

    def _next(self) -> JudgeAnswer | None:
        if self.once_more:
            return self._full().get(pk=self.once_more.pop(0))
        return next(self.queue, None)

    def take(self) -> Request | None:
        """The next request; None at the end, and while the budget allows none."""
        if time.monotonic() > self.until:
            self.turn_over = True
            return None
        self.waiting = self.waiting or self._next()
        if self.waiting is None:
            return None
        row = self.waiting
        slots = order_of(self.judge, row.page_id, list(row.page.slots.all()), swapped=row.swapped)
        page = Page(self.study, self.criteria, row.page.item.text, slots)
        prompt = judge_prompts.render(self.judge.prompt_template, page, row.problem if row.attempts else "")
        by_schema = self.judge.by_schema and row.pk not in self.plainly
        parameters = judge_prompts.response_format(page) if by_schema else {}
        # No tokenizer makes more tokens than there are bytes; a schema may be counted as part of the prompt.
        read = len(prompt.encode()) + len(str(parameters).encode()) + OVERHEAD_TOKENS
        new = self.judge.max_tokens
        question = Open(row.pk, page, read + new, self.source.cost(read, new), by_schema)
        self.budget_reached = not self.budget.reserve(question.cost, question.tokens)
        if self.budget_reached:
            return None  # an answer on its way may give some back
        self.waiting = None
        # Counted before it is sent: whoever goes on after a crash knows what may have been charged.
        self._rows_of(question).update(
            status=JudgeAnswerStatus.ASKED,
            shown=[str(slot.pk) for slot in slots],
            charged_tokens=F("charged_tokens") + question.tokens,
            cost=F("cost") + question.cost,
        )
        return Request(
            key=question, prompt=prompt, max_tokens=new, parameters=parameters, again=lambda: self._again(question)
        )

    def _rows_of(self, question: Open):
        return JudgeAnswer.objects.filter(pk=question.row_id)

    def _again(self, question: Open) -> bool:
        if not self.budget.reserve(question.cost, question.tokens):
            return False
        question.reserved += 1
        self._rows_of(question).update(
            charged_tokens=F("charged_tokens") + question.tokens, cost=F("cost") + question.cost
        )
        return True

    def _charged(self, question: Open, answer: Answer | NoAnswer) -> tuple[int, Decimal]:
        """Tokens and money to count for an answer: what the server says, else the most it can be; lost ones besides."""
        tokens, cost = answer.lost * question.tokens, answer.lost * question.cost
        if not isinstance(answer, Answer):
            return tokens, cost
        if answer.input_tokens is None or answer.output_tokens is None:
            return tokens + question.tokens, cost + question.cost
        return (
            tokens + answer.input_tokens + answer.output_tokens,
            cost + self.source.cost(answer.input_tokens, answer.output_tokens),
        )

    def store(self, request: Request, answer: Answer | NoAnswer) -> None:
        """Write what became of a request. Raises JobError when there is no use in going on."""
        question: Open = request.key
        tokens, cost = self._charged(question, answer)
        # What was set aside for it in this turn becomes what it cost; what an attempt that died left stays.
        set_aside = question.reserved * question.tokens, question.reserved * question.cost
        self.budget.give_back(set_aside[1] - cost, set_aside[0] - tokens)
        with transaction.atomic():
            self._hold()
            row = self._rows_of(question).get()
            row.charged_tokens += tokens - set_aside[0]
            row.cost += cost - set_aside[1]
            self._read(row, question, answer)
            row.save()
        if row.status == JudgeAnswerStatus.WAITING:
            if answer.requests:
                self.once_more.append(row.pk)
            return
        self.done += 1
        self.failed += row.status in UNUSABLE
        self.in_a_row = 0 if isinstance(answer, Answer) else self.in_a_row + 1
        if self.in_a_row >= GIVE_UP_AFTER:
            raise JobError(f"{GIVE_UP_AFTER} questions in a row got no answer. The last time: {row.problem}")

    def _read(self, row: JudgeAnswer, question: Open, answer: Answer | NoAnswer) -> None:
        """Put what came into its row."""
        row.status = JudgeAnswerStatus.WAITING
        if not answer.requests:  # stopped before it was sent
            return
        if isinstance(answer, NoAnswer):
            if answer.unsuitable and question.by_schema:
                self.plainly.add(row.pk)  # perhaps for the schema: asked once more without
                return
            row.status, row.problem, row.answered_at = JudgeAnswerStatus.FAILED, answer.reason[:500], timezone.now()
            return
        if self.judge.by_schema and row.pk in self.plainly:
            self.judge.by_schema = False  # the server takes the question, and not the schema
            Judge.objects.filter(pk=self.judge.pk).update(by_schema=False)
        row.attempts += 1
        row.answer, row.model, row.seconds, row.answered_at = answer.text, answer.model, answer.seconds, timezone.now()
        row.input_tokens, row.output_tokens = answer.input_tokens, answer.output_tokens
        if answer.refused:
            row.status, row.problem = JudgeAnswerStatus.REFUSED, "The model refused to answer."
            return
        try:
            row.content, row.reason = judge_prompts.parse(answer.text, question.page)
            row.status, row.problem = JudgeAnswerStatus.OK, ""
        except ValidationError as error:
            row.problem = error.messages[0][:500]
            if answer.cut_off:
                row.problem = f"The answer was cut off at {self.judge.max_tokens:,} tokens. Allow longer answers."
            if row.attempts >= MOST_ANSWERS:
                row.status = JudgeAnswerStatus.MALFORMED

    def tick(self) -> None:
        """Report how far it is, once a second. Raises when the job must stop."""
        if time.monotonic() - self.reported >= REPORT_EVERY:
            self.reported = time.monotonic()
            self.judge.report(self.done, self.total, "Asking the judge")


def run(judge: Judge) -> dict[str, Any]:
    """Ask, page by page, until none is left or the budget is. Stopped or killed, it goes on where it was.

    Raises:
        JobError: with a sentence for people. Cancelled, LeaseLost and PutBack are for the job.
    """
    client = client_for(judge)
    asking = Asking(judge)
    judge.report(asking.done, asking.total, "Asking the judge")
    try:
        for request, answer in endpoints.converse(client, asking.take, asking.tick):
            asking.store(request, answer)
    finally:
        Judge.objects.filter(pk=judge.pk, attempt=judge.attempt).update(failed=asking.failed, done=asking.done)
    if asking.turn_over:
        judge.report(asking.done, asking.total, "Waiting for its next turn")
        raise PutBack
    study = Study.objects.get(pk=judge.study_id)
    if study.is_closed:
        studies.request_report(study, judge.created_by)  # so that it holds what the judge found
    return {"done": asking.done, "total": asking.total, "failed": asking.failed, "message": _summary(judge, asking)}


def _summary(judge: Judge, asking: Asking) -> str:
    said = f"{asking.done - asking.failed:,} of {asking.total:,} answers are usable"
    if asking.failed:
        said += f", {asking.failed:,} are not"
    if left := asking.total - asking.done:
        money, tokens = spent(judge)
        used = f"{money_text(money)} and {tokens:,} tokens" if money else f"{tokens:,} tokens"
        said += f". Stopped at the budget: {used} are spent, {left:,} not asked."
    return said
