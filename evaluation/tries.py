"""Trying systems: one text, what several systems make of it, seen by the person who asked alone."""

import time
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import F

from annotation import validators
from annotation.jobs import JobError, JobStatus, LeaseLost
from annotation.models import Item, Project
from annotation.suggesters import NoAnswer
from evaluation import asking, generating, systems
from evaluation.models import System, SystemKind, Try, TryOutput
from training.models import Dataset

MOST_SYSTEMS = 4
KEPT = 20  # tries of a person in a project; older ones go
MAX_TEXT = 20_000  # characters


def offered(project: Project, user):
    """Systems that this person may try: those that generate here and are not rated blind by them."""
    return System.objects.filter(project=project).shown_to(user).exclude(kind=SystemKind.UPLOAD)


def hidden_count(project: Project, user) -> int:
    """How many systems are kept from this person until a study closes."""
    return System.objects.filter(project=project).hidden_from(user).distinct().count()


def of(user, project: Project | None = None):
    """The person's own tries, newest first."""
    rows = Try.objects.filter(created_by=user)
    return rows.filter(project=project) if project else rows


def open_to(user):
    """Tries that this person may open: their own, and for an administrator anybody's."""
    return Try.objects.all() if user.is_superuser else of(user)


def outputs_of(attempt: Try, user):
    """What the systems make of it; without those that the person began to rate blind since."""
    hidden = System.objects.all().hidden_from(user)
    return attempt.outputs.exclude(system__in=hidden.values("pk")).select_related("system").order_by("pk")


@transaction.atomic
def start(project: Project, user, *, text: str = "", item: Item | None = None, chosen: Sequence[System] = ()) -> Try:
    """Ask systems for a text. Older tries than the last KEPT of this person are removed, save those that count
    towards a budget.

    Args:
        item: take its text instead of `text`.

    Raises:
        ValidationError: keyed by field.
    """
    from evaluation import tasks

    errors: dict[str, Any] = {}
    if item is not None and (item.project_id != project.pk or text.strip()):
        errors["item"] = "Choose a text of this project, or paste one: not both."
    text = item.text if item is not None else validators.normalise_text(text).strip()
    try:
        if not text:
            raise ValidationError("Paste a text, or name one of the project's by its external id.")
        validators.check_storable(text, "The text")
        if len(text) > MAX_TEXT:
            raise ValidationError(f"The text has {len(text):,} characters; a try takes {MAX_TEXT:,} at most.")
    except ValidationError as error:
        errors.setdefault("text", error.messages)
    if not 1 <= len({system.pk for system in chosen}) <= MOST_SYSTEMS:
        errors["systems"] = f"Choose 1 to {MOST_SYSTEMS} systems."
    allowed = set(offered(project, user).values_list("pk", flat=True).filter(pk__in=[one.pk for one in chosen]))
    for system in chosen:
        if system.pk not in allowed:
            errors["systems"] = f"There is no system {system.pk} that can be tried in this project."
            continue
        try:
            systems.check_usable(system)
        except ValidationError as error:
            errors["systems"] = f"{system.name}: {validators.first_message(error)}"
    if errors:
        raise ValidationError(errors)
    attempt = Try.objects.create(project=project, created_by=user, item=item, text=text)
    for system in dict.fromkeys(chosen):
        output = TryOutput.objects.create(
            attempted=attempt,
            system=system,
            created_by=user,
            message="Waiting" if system.kind == SystemKind.ENDPOINT else "Waiting for a GPU worker",
        )
        output.queue(tasks.ask_for_try if system.kind == SystemKind.ENDPOINT else tasks.execute_try)
    old = list(of(user, project).values_list("pk", flat=True)[KEPT : KEPT + 100])
    Try.objects.filter(pk__in=old).exclude(outputs__cost__gt=0).exclude(outputs__charged_tokens__gt=0).delete()
    return attempt


def waiting_beside(pk: int) -> list[int]:
    """Other outputs of the same try that wait for a GPU worker."""
    attempt = TryOutput.objects.filter(pk=pk).values("attempted")
    rows = TryOutput.objects.filter(attempted__in=attempt, status=JobStatus.QUEUED)
    return list(rows.exclude(system__kind=SystemKind.ENDPOINT).exclude(pk=pk).values_list("pk", flat=True))


def cancel(attempt: Try) -> None:
    """Stop all that has not ended."""
    for output in attempt.outputs.all():
        if output.is_active:
            output.request_cancel()


def run(job: TryOutput) -> dict[str, Any]:
    """One system's output for the tried text.

    Raises:
        JobError: with a sentence for people. Cancelled and LeaseLost pass through from the job.
    """
    if job.system.kind == SystemKind.ENDPOINT:
        return _by_endpoint(job)
    return _by_model(job)


def _by_endpoint(job: TryOutput) -> dict[str, Any]:
    def count(tokens: int, cost: Decimal) -> None:
        # Added in SQL, whoever owns the job by now: what an attempt that died may have been charged stays counted.
        rows = TryOutput.objects.filter(pk=job.pk)
        if not rows.update(charged_tokens=F("charged_tokens") + tokens, cost=F("cost") + cost):
            raise LeaseLost

    job.report(0, 1, "Asking the endpoint")
    answer = asking.ask_once(job.system, job.attempted.text, generating.ticking(job), count)
    text, reason = asking.read(answer)
    if reason or isinstance(answer, NoAnswer):
        raise JobError(reason)
    return {
        "text": text,
        "tokens": answer.output_tokens,
        "prompt_tokens": answer.input_tokens,
        "seconds": answer.seconds,
        "cut_off": answer.cut_off,
        "done": 1,
        "message": "",
    }


def _by_model(job: TryOutput) -> dict[str, Any]:
    from training.engine import generation  # here, so that web processes never load torch

    job.report(0, 1, "Loading the model")
    tick = generating.ticking(job)
    with generating.explained(job.system):
        started = time.monotonic()
        dataset = Dataset.objects.filter(project=job.attempted.project_id).first()
        model = generation.load(generating.spec_for(job.system, dataset), tick)
        loading = time.monotonic() - started
        job.report(0, 1, "Generating")
        ((made,),) = model.generate([job.attempted.text], tick)
    return {
        "text": systems.clean_output(made.text),
        "tokens": made.tokens,
        "prompt_tokens": made.prompt_tokens,
        "seconds": made.seconds,
        "loading_seconds": round(loading, 2),
        "cut_off": made.cut_off,
        "prompt_cut": made.prompt_cut,
        "done": 1,
        "message": "",
    }
