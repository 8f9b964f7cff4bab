"""Jobs are rows. Celery carries only their id; what a job is and how it stands is read and written here.

A job belongs to at most one worker: `claim` is one conditional UPDATE whose row count says who won, and every later
write names the attempt that claimed it. A worker that dies falls silent, its lease runs out, and a periodic task
queues the job again.
"""

import contextlib
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any, Self, TypeVar

from django.conf import settings
from django.db import InterfaceError, connection, models, transaction
from django.db import OperationalError as DatabaseIsAway
from django.db.models import F, Q
from django.db.models.functions import Coalesce
from django.utils import timezone
from kombu.exceptions import OperationalError

from annotation.redaction import redact

logger = logging.getLogger(__name__)

T = TypeVar("T")


class JobStatus(models.TextChoices):
    QUEUED = "queued", "Waiting"
    RUNNING = "running", "Running"
    FINISHED = "finished", "Finished"
    FAILED = "failed", "Failed"
    CANCELLED = "cancelled", "Cancelled"


ACTIVE = (JobStatus.QUEUED, JobStatus.RUNNING)

# How long after a waiting job's message another one is sent.
RESEND = timedelta(minutes=5)


class JobError(Exception):
    """Something a person can put right. Its message is shown to them as it is."""


class Cancelled(Exception):
    """Someone asked for the job to stop."""


class Paused(Exception):
    """The job goes on when somebody has answered a question. Carries the columns to store with the pause."""

    def __init__(self, status: str, **values: Any) -> None:
        super().__init__(status)
        self.status, self.values = status, values


class LeaseLost(Exception):
    """Another worker owns this job now, or its row is gone: stop, and write nothing more."""


class PutBack(Exception):
    """The job has had its turn; it goes on when those that wait behind it have had theirs."""


class JobQuerySet(models.QuerySet):
    def claimable(self) -> Self:
        """Jobs that are waiting, or whose worker fell silent."""
        return self.filter(Q(status=JobStatus.QUEUED) | Q(status=JobStatus.RUNNING, lease_until__lt=timezone.now()))

    def claim(self, pk: int) -> Any:
        """Take a claimable job and return it; None when it is not to be had."""
        now = timezone.now()
        won = (
            self.claimable()
            .filter(pk=pk)
            .update(
                status=JobStatus.RUNNING,
                lease_until=now + lease(),
                started_at=Coalesce("started_at", now),
                attempt=F("attempt") + 1,
                worker=socket.gethostname(),
                error="",
            )
        )
        return self.get(pk=pk) if won else None

    def visible_to(self, user, *roles: str) -> Self:
        """As ProjectScopedQuerySet.visible_to, for jobs with a `project`."""
        from annotation.models import ProjectScopedQuerySet

        return ProjectScopedQuerySet.visible_to(self, user, *roles)  # type: ignore[arg-type]


def lease() -> timedelta:
    return timedelta(seconds=settings.JOB_LEASE_SECONDS)


class Job(models.Model):
    """Base of every job row. `done` and `total` count the job's own unit, named in `message`."""

    ScopedManager = models.Manager.from_queryset(JobQuerySet)

    status = models.CharField(max_length=10, choices=JobStatus.choices, default=JobStatus.QUEUED, editable=False)
    done = models.PositiveIntegerField(default=0, editable=False)
    total = models.PositiveIntegerField(default=0, editable=False)
    message = models.CharField(max_length=300, blank=True, editable=False)
    error = models.TextField(blank=True, editable=False)
    cancel_requested = models.BooleanField(default=False, editable=False)
    attempt = models.PositiveIntegerField(default=0, editable=False)
    worker = models.CharField(max_length=200, blank=True, editable=False)
    lease_until = models.DateTimeField(null=True, blank=True, editable=False)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+", editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    started_at = models.DateTimeField(null=True, blank=True, editable=False)
    ended_at = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        abstract = True

    @property
    def is_active(self) -> bool:
        return self.status in ACTIVE

    @property
    def percent(self) -> int | None:
        """Whole percent done, or None while the total is unknown."""
        return min(100, round(100 * self.done / self.total)) if self.total else None

    def queue(self, task) -> None:
        """Send the job's id to its task once the row is committed."""
        transaction.on_commit(lambda: send(task, self.pk))

    def request_cancel(self) -> None:
        """Ask the job to stop. One that nobody works on, because it waits or its worker died, is cancelled at once; a
        running one stops at its next report.
        """
        rows = type(self)._default_manager.filter(pk=self.pk)
        now = timezone.now()
        unowned = rows.claimable()  # type: ignore[attr-defined]
        if not unowned.update(status=JobStatus.CANCELLED, cancel_requested=True, ended_at=now):
            rows.filter(status=JobStatus.RUNNING).update(cancel_requested=True)
        self.refresh_from_db()

    # What the worker that claimed the job calls.

    def _mine(self):
        return type(self)._default_manager.filter(pk=self.pk, attempt=self.attempt, status=JobStatus.RUNNING)

    def beat(self) -> None:
        """Extend the lease. Raises LeaseLost or Cancelled when the work must stop."""
        if not self._mine().update(lease_until=timezone.now() + lease()):
            raise LeaseLost
        if self._mine().filter(cancel_requested=True).exists():
            raise Cancelled

    def report(self, done: int, total: int | None = None, message: str | None = None) -> None:
        """Write progress and extend the lease. Raises LeaseLost or Cancelled when the work must stop."""
        self.done = done
        values: dict[str, Any] = {"done": done, "lease_until": timezone.now() + lease()}
        if total is not None:
            self.total = values["total"] = total
        if message is not None:
            self.message = values["message"] = redact(message)[:300]
        if not self._mine().update(**values):
            raise LeaseLost
        if self._mine().filter(cancel_requested=True).exists():
            raise Cancelled

    def end(self, status: str, error: str = "", **values: Any) -> bool:
        """Write how the job ended, with any result columns; False when another worker owns it by now."""
        error = redact(error)
        self.status, self.error = status, error
        for name, value in values.items():
            setattr(self, name, value)
        return bool(self._mine().update(status=status, error=error, ended_at=timezone.now(), **values))

    def put_back(self) -> bool:
        """Wait once more, behind the others; False when another worker owns the job by now."""
        # The lease says that a message is on its way.
        waiting = {"status": JobStatus.QUEUED, "lease_until": timezone.now() + RESEND}
        return bool(self._mine().update(**waiting))


def send(task, pk: int) -> None:
    """Send a job's id to its task. When the broker is down the job stays waiting and is queued again later."""
    try:
        task.delay(pk)
    except OperationalError as error:
        logger.warning("Job %s of %s could not be queued yet: %s", pk, task.name, error)


@contextlib.contextmanager
def heartbeat(job: Job) -> Iterator[threading.Event]:
    """Extend the job's lease from a thread while long steps run. The event yielded is set when the work must stop."""
    stop, done = threading.Event(), threading.Event()

    def beat() -> None:
        try:
            while not done.wait(min(2.0, settings.JOB_LEASE_SECONDS / 4)):
                try:
                    job.beat()
                except (Cancelled, LeaseLost):
                    stop.set()
                    return
                except Exception:  # the database is away for a moment: keep trying, the lease says how long
                    logger.warning("The heartbeat of %s missed a beat", job, exc_info=True)
                    connection.close()
        finally:
            connection.close()

    thread = threading.Thread(target=beat, name=f"heartbeat-{job.pk}", daemon=True)
    thread.start()
    try:
        yield stop
    finally:
        done.set()
        thread.join()


def execute(queryset: Any, pk: int, work: Callable[[Any], dict[str, Any] | None]) -> None:
    """Claim a job and do its work, once, and record how it ended.

    `work(job)` returns the result columns to store with the end, or None. A JobError fails the job with its message,
    PutBack makes it wait for another turn; any other exception fails it with a general sentence, and is raised for
    the log.
    """
    job = queryset.claim(pk)
    if job is None:
        return
    try:
        with heartbeat(job):
            job.beat()  # cancelled between queueing and now
            results = work(job) or {}
        _end(job, JobStatus.FINISHED, **results)
    except Paused as pause:
        _end(job, pause.status, **pause.values)
    except Cancelled:
        _end(job, JobStatus.CANCELLED)
    except PutBack:
        if patiently(job.put_back):
            send(TASKS[type(job)], pk)
    except LeaseLost:
        logger.warning("%s was taken over by another worker", job)
    except JobError as error:
        _end(job, JobStatus.FAILED, error=str(error))
    except Exception as error:
        logger.exception("%s failed", job)
        _end(
            job,
            JobStatus.FAILED,
            error=f"Something unexpected went wrong ({type(error).__name__}). The worker's log has the details.",
        )
        raise


def _end(job: Job, status: str, **values: Any) -> None:
    try:
        patiently(lambda: job.end(status, **values))
    except LeaseLost:
        logger.warning("%s ended as %s, which could not be stored: the database was away for too long", job, status)


def patiently(write: Callable[[], T]) -> T:
    """Write to the database; one that is away for a moment does not end a job of many hours.

    Raises:
        LeaseLost: it stayed away longer than the lease, so the job may be someone else's by now.
    """
    until = time.monotonic() + settings.JOB_LEASE_SECONDS
    while True:
        try:
            return write()
        except (DatabaseIsAway, InterfaceError) as error:
            if time.monotonic() > until:
                raise LeaseLost from error
            connection.close()
            time.sleep(0.5)


# Each application names its jobs here: model -> task. The periodic task walks it.
TASKS: dict[type[Job], Any] = {}


def requeue_silent() -> int:
    """Queue every job again that waits for long or whose worker fell silent. Claiming makes a double send harmless.

    A waiting job is sent once more every RESEND: its message may be lost, or it may just stand behind a long one.
    """
    sent = 0
    now = timezone.now()
    not_sent_lately = Q(lease_until=None, created_at__lt=now - timedelta(seconds=30)) | Q(lease_until__lt=now)
    for model, task in TASKS.items():
        rows = model._default_manager
        silent = rows.claimable().filter(Q(status=JobStatus.RUNNING) | not_sent_lately)  # type: ignore[attr-defined]
        for pk in list(silent.values_list("pk", flat=True)[:1000]):
            rows.filter(pk=pk, status=JobStatus.QUEUED).update(lease_until=now + RESEND)
            send(task, pk)
            sent += 1
    return sent
