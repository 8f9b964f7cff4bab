"""What a GPU worker does with a run: prepare it, start its training in processes of its own, and supervise those.

The worker's own process never loads torch. Whatever happens in the training (a crash, no memory, somebody cancels in
the middle of a step), there is somebody left who records it, and the GPU's memory is free when the processes are gone.
"""

import errno
import json
import logging
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone

from annotation.jobs import Cancelled, JobError, LeaseLost, PutBack, patiently
from annotation.redaction import redact
from training import artifacts, base_models, ending, launching
from training.engine import checkpoints, line, watching
from training.models import Dataset, MetricKind, Run, RunMetric, RunSample, Split
from training.parameters import RunParameters

logger = logging.getLogger(__name__)

T = TypeVar("T")

WAIT = 2.0  # seconds between two tries to reach what is away
REPORT_EVERY = 0.5  # seconds between two looks at the database
MAX_STANDSTILL = 5  # attempts that start from the same step: more would die there too
SECONDS_TO_CLOSE = 20.0  # for processes that said they are done
DISK_FULL = "The disk of the artifact folder is full. Free some space, then start the run again."


@dataclass(frozen=True)
class Prepared:
    """What a training starts from."""

    parameters: RunParameters
    base: base_models.Base
    checkpoint: Path | None
    step: int


class TrainingFailed(Exception):
    """The training's own process told why it cannot go on: `event` is what it said."""

    def __init__(self, event: dict[str, Any]) -> None:
        super().__init__(event["message"])
        self.event = event


class TrainingDied(Exception):
    """A process of the training ended without a word."""

    def __init__(self, status: int | None, rank: int | None, last_words: str) -> None:
        self.status, self.rank, self.last_words = status, rank, last_words
        super().__init__(f"process {rank or 0} ended with {self.how}")

    @property
    def how(self) -> str:
        if self.status is not None and self.status < 0:
            return signal.Signals(-self.status).name
        return f"exit status {self.status}"


def execute(run: Run) -> dict[str, Any]:
    """Train a claimed run, from its last complete checkpoint if there is one. Returns the columns to store at the end.

    Raises:
        JobError: with a sentence for people. Cancelled, LeaseLost and PutBack pass through to the job.
    """
    # A folder for each attempt: a worker that was thought dead and wakes up cannot spoil the files of its successor.
    folder = run.folder / f"attempt-{run.attempt}"
    record = _Record(run)
    start = 0
    try:
        _waiting(run, record, lambda: _begin(run))
        folder.mkdir(parents=True, exist_ok=True)
        record.log(f"Attempt {run.attempt} on {run.worker}.")
        if columns := ending.completed(run):
            run.figures = columns["figures"]  # which name the attempt whose result stays
            _remove_attempts(run)
            return columns
        record.say("Finding the base model")
        prepared = _waiting(run, record, lambda: _prepared(run, record, folder))
        start = prepared.step
        _check_standstill(run, folder, start)
        record.say("Loading the base model")
        with artifacts.Uploads(run, folder, record.last_word):
            done = _train(run, record, folder, prepared)
        columns = ending.complete(run, record, folder, prepared.base.folder, done)
        _remove_attempts(run)
        return columns
    except Cancelled:
        record.last_word("Cancelled.")
        _remove_attempts(run)
        raise
    except LeaseLost:
        record.last_word(f"Attempt {run.attempt} stopped: the run is not its own any more.")
        raise
    except TrainingDied as error:
        newest = checkpoints.last_checkpoint([folder])
        if error.status == -signal.SIGTERM or (newest and newest[1] > start):
            # Asked to end, as when its machine shuts down; or far enough that another attempt will get further.
            record.last_word(
                f"The training's process ended with {error.how}. The run goes on from its last checkpoint."
            )
            raise PutBack from error
        raise _failed(run, record, _explain_death(error, run), error) from error
    except (JobError, base_models.BaseModelError) as error:
        raise _failed(run, record, str(error), error) from error
    except TrainingFailed as error:
        if error.event["kind"] == "unexpected":
            record.last_word(error.event["traceback"].rstrip())
            logger.error("The training of %s failed:\n%s", run, error.event["traceback"])
        raise _failed(run, record, _explain(error.event, run), error) from error
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise _failed(run, record, DISK_FULL, error) from error


def _failed(run: Run, record: "_Record", sentence: str, error: Exception) -> JobError:
    record.last_word(sentence)
    _remove_attempts(run)
    return error if isinstance(error, JobError) else JobError(sentence)


def _waiting(run: Run, record: "_Record", work: Callable[[], T]) -> T:
    """Do what comes before a training, in a thread. A bucket that is away is waited for; so is the hub by a run that
    has its base model, on another machine, already. Those of a run that was trained for a while cost it a turn at most.

    Raises:
        PutBack: it stays away. JobError: it stays away, and there is nothing to lose.
    """
    until = time.monotonic() + artifacts.PATIENCE
    while True:
        try:
            return watching.watched(work, record.tick)
        except (artifacts.Unreachable, base_models.HubAway) as error:
            new = isinstance(error, base_models.HubAway) and not run.base_model
            if new or isinstance(error, artifacts.Damaged):
                raise
            logger.warning("%s: %s", run, error)
            if time.monotonic() > until:
                if run.done:
                    raise PutBack from error
                raise
            record.say(f"Waiting: {error}")
        time.sleep(WAIT)


def _begin(run: Run) -> None:
    try:
        patiently(lambda: artifacts.begin(run))
    finally:
        connection.close()  # this thread's own


def _earlier(run: Run, folder: Path) -> list[Path]:
    """The folders of the attempts before the one with this folder."""
    return sorted(one for one in run.folder.glob("attempt-*") if one != folder)


def _train(run: Run, record: "_Record", folder: Path, prepared: Prepared) -> dict[str, Any]:
    """Supervise the training in its processes until it is done; returns what it said last.

    Raises:
        TrainingFailed, TrainingDied: it did not get to its end. Cancelled and LeaseLost: it was ended.
    """
    p = prepared.parameters
    spec = {
        "parameters": p.to_json(),
        "base_folder": str(prepared.base.folder),
        "resume_from": str(prepared.checkpoint) if prepared.checkpoint else None,
        "patience": settings.JOB_LEASE_SECONDS,
    }
    command = launching.command(folder, p.processes)
    with launching.Launch(command, folder, spec, cwd=settings.BASE_DIR, processes=p.processes) as launch:
        gone: int | None = None
        while not launch.has_ended():
            event = launch.next(0.1)
            if event and event["event"] == "done":
                launch.wait(SECONDS_TO_CLOSE)
                return event
            if event and event["event"] == "failed":
                raise TrainingFailed(event)
            if event and event["event"] == "gone":
                gone = event["rank"]
                break  # what the others say from now on follows from this
            if event:
                record.hear(event)
            if record.tick():
                launch.greet()
        launch.wait(SECONDS_TO_CLOSE)  # until a launcher of several has noticed, too
        if launch.status == line.SILENT:
            raise LeaseLost
        record.last_word(launch.last_words())
        raise TrainingDied(launch.status, gone, launch.last_words())


def _check_standstill(run: Run, folder: Path, step: int) -> None:
    """Give up on a run whose workers die again and again before the next checkpoint."""
    mark = "first_step"
    marks = (attempt / mark for attempt in _earlier(run, folder))
    starts = [int(path.read_text()) for path in marks if path.is_file()]
    if starts.count(step) >= MAX_STANDSTILL:
        p = run.run_parameters()
        raise JobError(
            f"{MAX_STANDSTILL} attempts ended at step {step} or soon after it without a word, most likely for lack of "
            f"memory. Try {_smaller(p)}, or checkpoints more often than every {p.save_steps} steps."
        )
    (folder / mark).write_text(str(step))


def _remove_attempts(run: Run) -> None:
    """What only another attempt would need, once there will be none."""
    if patiently(run._mine().exists):  # otherwise a successor is at work in its own folder
        artifacts.free_attempts(run)


def _prepared(run: Run, record: "_Record", folder: Path) -> Prepared:
    """Everything that must be there before a training starts. In a thread: a download is left behind on cancelling."""
    try:
        checkpoint, step = artifacts.last_checkpoint(run) or (None, 0)
        checkpoints.remove_others(_earlier(run, folder), checkpoint)
        base = _resolved(run, record)
        patiently(lambda: _store_rows(run.dataset, folder / "rows.jsonl"))
        patiently(lambda: _forget_after(run, step))
        if checkpoint:
            _remember(record, checkpoint / checkpoints.TOLD)
            record.log(f"Going on from the checkpoint at step {step}.")
        return Prepared(run.run_parameters(), base, checkpoint, step)
    finally:
        connection.close()  # this thread's own


def _resolved(run: Run, record: "_Record") -> base_models.Base:
    """The base model, found once per run: a later attempt takes exactly the one an earlier attempt took."""
    parameters = run.run_parameters()
    if run.base_model:
        base = base_models.locate(run.base_model, run.base_revision)
    else:
        prompt = parameters.prompt_template
        base = base_models.resolve(
            parameters.base_model,
            lambda: scratch_texts(run.dataset, prompt),
            parameters.base_revision,
            encoder_decoder=parameters.method == "seq2seq",
        )
    run.base_model, run.base_revision, run.is_scratch = base.name, base.revision, base.is_scratch
    run.parameters |= {
        "base_model": base.name, "base_revision": base.revision, "is_scratch": base.is_scratch,
        "remote_code": base.remote_code,
    }  # fmt: skip
    record.store(
        base_model=run.base_model,
        base_revision=run.base_revision,
        is_scratch=run.is_scratch,
        parameters=run.parameters,
    )
    record.log(f"Base model: {base.name} ({base.revision}).")
    if base.instead_of:
        record.log(f"Not the server's default model: {base.instead_of}")
    if base.is_scratch:
        record.log("This is a scratch model, tiny and untrained: it proves the pipeline, not the method.")
    return base


def scratch_texts(dataset: Dataset, prompt_template: str) -> Iterator[str]:
    """What a scratch model's tokenizer is trained on: the prompt, and the dataset's own texts in their fixed order.

    Generation by the base alone calls this too, so that it starts from the same scratch model as the run.
    """
    yield from [prompt_template] * 20  # often enough that its words become tokens
    for text, rewrite in dataset.rows.order_by("position").values_list("text", "rewrite").iterator():
        yield text
        yield rewrite


def _store_rows(dataset: Dataset, path: Path) -> None:
    """The rows to train and validate on, one JSON list a line: split, text, rewrite, rejected."""
    rows = dataset.rows.exclude(split=Split.TEST).order_by("position")
    with path.open("w", encoding="utf-8") as file:
        for row in rows.values_list("split", "text", "rewrite", "rejected").iterator():
            file.write(json.dumps(row) + "\n")


def _forget_after(run: Run, step: int) -> None:
    """Points of the curves that the coming attempt will write again."""
    with transaction.atomic():
        if run._mine().select_for_update().exists():
            for rows in (RunMetric.objects, RunSample.objects):
                rows.filter(run=run, step__gt=step).delete()


def _remember(record: "_Record", told: Path) -> None:
    """Store what led to a checkpoint and was told to a worker that died before it stored it."""
    stored = {(kind, step) for kind, step in patiently(lambda: list(record.run.metrics.values_list("kind", "step")))}
    sampled = set(patiently(lambda: list(record.run.samples.values_list("step", flat=True))))
    with suppress(FileNotFoundError), told.open(encoding="utf-8") as file:
        for event in map(json.loads, file):
            if event["event"] == "metric" and (event["metric"]["kind"], event["metric"]["step"]) not in stored:
                record.metric(event["metric"])
            if event["event"] == "samples" and not {one["step"] for one in event["samples"]} <= sampled:
                record.samples(event["samples"])


class _Record:
    """Writes what the training tells: metrics and progress to the database, sentences to the log file."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.last: datetime | None = None  # look at the database
        self.stepped: datetime | None = None  # step that was written there

    def hear(self, event: dict[str, Any]) -> None:
        """Write an event of the training's process down."""
        match event["event"]:
            case "started":
                self.store(device=event["device"], library_versions=event["library_versions"])
            case "step":
                self.step(event["step"], event["total"], event["epoch"], event["seconds_left"])
            case "metric":
                self.metric(event["metric"])
            case "samples":
                self.samples(event["samples"])
            case "log":
                self.log(event["line"])

    def tick(self) -> bool:
        """Extend the lease now and then, and say whether that was now. Raises Cancelled or LeaseLost."""
        now = timezone.now()
        if self.last is not None and (now - self.last).total_seconds() < REPORT_EVERY:
            return False
        self.last = now
        patiently(self.run.beat)
        return True

    def say(self, message: str) -> None:
        patiently(lambda: self.run.report(self.run.done, message=message))

    def store(self, **columns: Any) -> None:
        patiently(lambda: self.run._mine().update(**columns))

    def step(self, step: int, total: int, epoch: float, seconds_left: float) -> None:
        self.run.epoch, self.run.seconds_left = epoch, seconds_left
        now = timezone.now()
        if step < total and self.stepped and (now - self.stepped).total_seconds() < REPORT_EVERY:
            return
        self.stepped = now

        def write() -> None:
            self.run._mine().update(epoch=epoch, seconds_left=seconds_left, seen_at=now)
            self.run.report(step, total, "Training" if step < total else "Storing the adapter")

        patiently(write)

    def metric(self, metric: dict[str, Any]) -> None:
        patiently(lambda: self._store_metric(dict(metric)))

    def _store_metric(self, metric: dict[str, Any]) -> None:
        with transaction.atomic():
            # The row stays locked until the point is written, so a run that was taken over gets no stray points.
            if not self.run._mine().select_for_update().exists():
                return
            kind, step = MetricKind(metric.pop("kind")), metric.pop("step")
            RunMetric.objects.update_or_create(run=self.run, kind=kind, step=step, defaults=metric)

    def samples(self, samples: list[dict[str, Any]]) -> None:
        patiently(lambda: self._store_samples(samples))

    def _store_samples(self, samples: list[dict[str, Any]]) -> None:
        with transaction.atomic():
            if not self.run._mine().select_for_update().exists():
                return
            RunSample.objects.filter(run=self.run, step__in={sample["step"] for sample in samples}).delete()
            # PostgreSQL's texts hold no null byte, which a model may well write.
            RunSample.objects.bulk_create(
                RunSample(run=self.run, **sample | {"output": sample["output"].replace("\x00", "\ufffd")})
                for sample in samples
            )

    def log(self, words: str) -> None:
        with self.run.log_file.open("a", encoding="utf-8") as file:
            file.write(f"{timezone.now():%Y-%m-%d %H:%M:%S} {redact(words)}\n")

    def last_word(self, words: str) -> None:
        """A line of the log that must not hide what it is about: the disk may be full."""
        if words:
            with suppress(OSError):
                self.log(words)


def _explain(event: dict[str, Any], run: Run) -> str:
    """A sentence about a failure that the training told of: what happened and what to change."""
    p = run.run_parameters()
    had = f"with batch size {p.batch_size} and maximum length {p.max_length}"
    match event["kind"]:
        case "training":
            return event["message"]
        case "gpu memory":
            return f"The GPU ran out of memory {had}. Try {_smaller(p)}."
        case "memory":
            return f"The worker ran out of memory {had}. Try {_smaller(p)}, or a smaller base model."
        case "disk":
            return DISK_FULL
    return f"Something unexpected went wrong in the training ({event['type']}). The log has the details."


def _explain_death(error: TrainingDied, run: Run) -> str:
    """A sentence about a process that ended without a word."""
    p = run.run_parameters()
    which = f"Process {(error.rank or 0) + 1} of {p.processes} of the training" if p.processes > 1 else "The training"
    if error.status == -signal.SIGKILL:
        return (
            f"{which} was killed, most likely by the system for lack of memory, with batch size {p.batch_size} and "
            f"maximum length {p.max_length}. Try {_smaller(p)}, or a smaller base model."
        )
    if "MemoryError" in error.last_words or "Cannot allocate memory" in error.last_words:
        return _explain({"kind": "memory"}, run)
    if shutil.disk_usage(run.folder).free < 64 * 2**20:
        return DISK_FULL
    return f"{which} ended without a word ({error.how}). The log has what it printed last."


def _smaller(p: RunParameters) -> str:
    """What needs less memory than these parameters, in words."""
    ways = []
    if p.batch_size > 1:
        ways.append(f"batch size {p.batch_size // 2} with gradient accumulation {p.gradient_accumulation * 2}")
    if p.max_length > 64:
        ways.append(f"maximum length {max(64, p.max_length // 2)}")
    if not p.gradient_checkpointing:
        ways.append("gradient checkpointing")
    return ", or ".join(ways) or "a smaller base model"
