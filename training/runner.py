"""What a GPU worker does with a run: find the base model, train from the last checkpoint, record everything."""

import errno
import shutil
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import InterfaceError, OperationalError, connection, transaction
from django.utils import timezone

from annotation.jobs import Cancelled, JobError, LeaseLost
from training import base_models
from training.models import Dataset, MetricKind, Run, RunMetric, RunSample, Split
from training.parameters import RunParameters

REPORT_EVERY = 0.5  # seconds between two looks at the database
MAX_STANDSTILL = 5  # attempts that start from the same step: more would die there too


def execute(run: Run) -> dict[str, Any]:
    """Train a claimed run, from its last complete checkpoint if there is one. Returns the columns to store at the end.

    Raises:
        JobError: with a sentence for people. Cancelled and LeaseLost pass through from the job.
    """
    from training.engine import checkpoints, loading, trainer  # here, so that web processes never load torch

    # A folder for each attempt: a worker that was thought dead and wakes up cannot spoil the files of its successor.
    earlier = sorted(run.folder.glob("attempt-*"))
    folder = run.folder / f"attempt-{run.attempt}"
    folder.mkdir(parents=True, exist_ok=True)
    record = _Record(run)
    record.log(f"Attempt {run.attempt} on {run.worker}.")
    run.report(run.done, message="Finding the base model")
    try:
        found = checkpoints.last_checkpoint(earlier)
        _check_standstill(run, earlier, folder, found[1] if found else 0)
        parameters, base = _resolved(run, record)
        run.report(run.done, message="Loading the base model")
        for rows in (RunMetric.objects, RunSample.objects):
            rows.filter(run=run, step__gt=found[1] if found else 0).delete()
        if found:
            record.log(f"Going on from the checkpoint at step {found[1]}.")
        result = trainer.train(
            parameters, _rows(run), base.folder, folder, record.reports(), found[0] if found else None
        )
        run.beat()
        shutil.rmtree(run.adapter, ignore_errors=True)
        result.adapter.rename(run.adapter)
    except Cancelled:
        record.log("Cancelled.")
        _remove_checkpoints(run)
        raise
    except LeaseLost:
        record.log(f"Attempt {run.attempt} stopped: the run is not its own any more.")
        raise
    except (JobError, base_models.BaseModelError, loading.TrainingError) as error:
        record.log(str(error))
        _remove_checkpoints(run)
        raise JobError(str(error)) from error
    except Exception as error:
        sentence = _explain(error, run)
        record.log(sentence or f"{type(error).__name__}: {error}")
        if sentence:
            _remove_checkpoints(run)
            raise JobError(sentence) from error
        raise
    record.log(f"Finished after {result.figures['steps']} steps.")
    _remove_checkpoints(run)
    return {"figures": result.figures, "has_adapter": True, "message": "Adapter stored", "seconds_left": 0}


def _check_standstill(run: Run, earlier: list[Path], folder: Path, step: int) -> None:
    """Give up on a run whose workers die again and again before the next checkpoint."""
    mark = "first_step"
    starts = [int(path.read_text()) for attempt in earlier if (path := attempt / mark).is_file()]
    if starts.count(step) >= MAX_STANDSTILL:
        p = run.run_parameters()
        raise JobError(
            f"{MAX_STANDSTILL} attempts ended at step {step} or soon after it without a word, most likely for lack of "
            f"memory. Try batch size {max(1, p.batch_size // 2)}, maximum length {max(64, p.max_length // 2)}, or "
            f"checkpoints more often than every {p.save_steps} steps."
        )
    (folder / mark).write_text(str(step))


def _remove_checkpoints(run: Run) -> None:
    """What only another attempt would need, once there will be none."""
    if not run._mine().exists():
        return  # a successor is at work in its own folder
    for folder in run.folder.glob("attempt-*"):
        shutil.rmtree(folder, ignore_errors=True)


def _resolved(run: Run, record: "_Record") -> tuple[RunParameters, base_models.Base]:
    """The base model, found once per run: a later attempt takes exactly the one an earlier attempt took."""
    from training.engine import loading

    parameters = run.run_parameters()
    if run.base_model:
        base = base_models.locate(run.base_model, run.base_revision)
    else:
        prompt = parameters.prompt_template
        base = base_models.resolve(
            parameters.base_model,
            lambda: scratch_texts(run.dataset, prompt),
            encoder_decoder=parameters.method == "seq2seq",
        )
    run.base_model, run.base_revision, run.is_scratch = base.name, base.revision, base.is_scratch
    run.device, run.library_versions = loading.device(), loading.library_versions()
    run.parameters |= {
        "base_model": base.name, "base_revision": base.revision, "is_scratch": base.is_scratch,
    }  # fmt: skip
    run._mine().update(
        base_model=run.base_model,
        base_revision=run.base_revision,
        is_scratch=run.is_scratch,
        device=run.device,
        library_versions=run.library_versions,
        parameters=run.parameters,
    )
    record.log(f"Base model: {base.name} ({base.revision}).")
    if base.instead_of:
        record.log(f"Not the server's default model: {base.instead_of}")
    if base.is_scratch:
        record.log("This is a scratch model, tiny and untrained: it proves the pipeline, not the method.")
    return run.run_parameters(), base


def scratch_texts(dataset: Dataset, prompt_template: str) -> Iterator[str]:
    """What a scratch model's tokenizer is trained on: the prompt, and the dataset's own texts in their fixed order.

    Generation by the base alone calls this too, so that it starts from the same scratch model as the run.
    """
    yield from [prompt_template] * 20  # often enough that its words become tokens
    for text, rewrite in dataset.rows.order_by("position").values_list("text", "rewrite").iterator():
        yield text
        yield rewrite


def _rows(run: Run) -> dict[str, list[Any]]:
    from training.engine.trainer import Row

    rows = run.dataset.rows.exclude(split=Split.TEST).order_by("position")
    split: dict[str, list[Any]] = {"train": [], "validation": []}
    for name, *values in rows.values_list("split", "text", "rewrite", "rejected").iterator():
        split[name].append(Row(*values))
    return split


class _Record:
    """Writes what the training reports: metrics and progress to the database, sentences to the log file."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.last: datetime | None = None

    def reports(self) -> Any:
        from training.engine import trainer

        return trainer.Reports(tick=self.tick, step=self.step, metric=self.metric, samples=self.samples, log=self.log)

    def tick(self) -> None:
        """Called often: stops a cancelled run within a second, even where a step takes minutes."""
        now = timezone.now()
        if self.last is None or (now - self.last).total_seconds() >= REPORT_EVERY:
            self.last = now
            self.patiently(self.run.beat)

    def step(self, step: int, total: int, epoch: float, seconds_left: float) -> None:
        self.run.epoch, self.run.seconds_left = epoch, seconds_left
        now = timezone.now()
        if step < total and self.last and (now - self.last).total_seconds() < REPORT_EVERY:
            return
        self.last = now

        def write() -> None:
            self.run._mine().update(epoch=epoch, seconds_left=seconds_left, seen_at=now)
            self.run.report(step, total, "Training" if step < total else "Storing the adapter")

        self.patiently(write)

    def metric(self, metric) -> None:
        self.patiently(lambda: self._store(metric))

    def patiently(self, write: Callable[[], None]) -> None:
        """A database that is away for a moment does not end a run of many hours.

        Raises:
            LeaseLost: it stayed away longer than the lease, so the run may be someone else's by now.
        """
        until = time.monotonic() + settings.JOB_LEASE_SECONDS
        while True:
            try:
                return write()
            except (OperationalError, InterfaceError) as error:
                if time.monotonic() > until:
                    raise LeaseLost from error
                connection.close()
                time.sleep(0.5)

    def _store(self, metric) -> None:
        with transaction.atomic():
            # The row stays locked until the point is written, so a run that was taken over gets no stray points.
            if not self.run._mine().select_for_update().exists():
                return
            RunMetric.objects.update_or_create(
                run=self.run,
                kind=MetricKind(metric.kind),
                step=metric.step,
                defaults={
                    "epoch": metric.epoch,
                    "loss": metric.loss,
                    "learning_rate": metric.learning_rate,
                    "grad_norm": metric.grad_norm,
                    "tokens": metric.tokens,
                    "seconds": metric.seconds,
                    "tokens_per_second": metric.tokens_per_second,
                    "memory_gib": metric.memory_gib,
                },
            )

    def samples(self, samples: list[Any]) -> None:
        self.patiently(lambda: self._store_samples(samples))

    def _store_samples(self, samples: list[Any]) -> None:
        with transaction.atomic():
            if not self.run._mine().select_for_update().exists():
                return
            RunSample.objects.filter(run=self.run, step__in={sample.step for sample in samples}).delete()
            # PostgreSQL's texts hold no null byte, which a model may well write.
            RunSample.objects.bulk_create(
                RunSample(
                    run=self.run,
                    step=sample.step,
                    position=sample.position,
                    text=sample.text,
                    rewrite=sample.rewrite,
                    output=sample.output.replace("\x00", "\ufffd"),
                )
                for sample in samples
            )

    def log(self, line: str) -> None:
        with self.run.log_file.open("a", encoding="utf-8") as file:
            file.write(f"{timezone.now():%Y-%m-%d %H:%M:%S} {line}\n")


def _explain(error: Exception, run: Run) -> str:
    """A sentence that says what happened and what to change; "" for what nobody foresaw."""
    p = run.run_parameters()
    words = str(error).lower()
    if "out of memory" in words or type(error).__name__ == "OutOfMemoryError":
        return (
            f"The GPU ran out of memory with batch size {p.batch_size} and maximum length {p.max_length}. Try batch "
            f"size {max(1, p.batch_size // 2)} with gradient accumulation {p.gradient_accumulation * 2}, or maximum "
            f"length {max(64, p.max_length // 2)}."
        )
    if isinstance(error, MemoryError) or "can't allocate memory" in words:
        return (
            f"The worker ran out of memory with batch size {p.batch_size} and maximum length {p.max_length}. Try "
            "smaller ones, or a smaller base model."
        )
    # safetensors and torch.save wrap the system's error in one of their own
    full = isinstance(error, OSError) and error.errno == errno.ENOSPC
    if full or "no space left" in words or ("pytorchstreamwriter" in words and _nearly_full(run.folder)):
        return "The disk of the artifact folder is full. Free some space, then start the run again."
    return ""


def _nearly_full(folder: Path) -> bool:
    return shutil.disk_usage(folder).free < 64 * 2**20
