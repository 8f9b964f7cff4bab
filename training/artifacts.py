"""Where the files of runs are: checkpoints, log, adapter, merged model, and the scratch models they start from.

A run's files stand in its folder below ARTIFACT_ROOT. That folder is all there is while every worker and the web server
share it. With an artifacts bucket (the storage alias "artifacts", S3-compatible) each machine has an ARTIFACT_ROOT of
its own, and this module carries files between them and the bucket:

    runs/<run>/log.txt, notes/...
    runs/<run>/checkpoints/<step>-<attempt>/...
    runs/<run>/results/<attempt>/adapter/...      and merged/...
    scratch/<key>/...

A folder in the bucket exists once its list of files (`FILES`) does, which is written last and removed first. Results
are kept by attempt and the row of a finished run names the attempt that finished it, so a worker that was thought dead
cannot mix its files with those of its successor. Does not import torch.
"""

import contextlib
import json
import logging
import re
import shutil
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.cache import cache
from django.core.files.storage import storages
from django.db import connection

from annotation.jobs import ACTIVE, JobError
from training.engine import checkpoints
from training.models import DeletedRun, Run

logger = logging.getLogger(__name__)

FILES = ".files.json"
CHUNK = 1 << 20
LOG_EVERY = 5.0  # seconds between two uploads of a log that grows
PATIENCE = 600.0  # seconds that the start and the end of a run try to reach the bucket
AWAY_SECONDS = 30  # that the page of a run does not ask for its log again


class Unreachable(JobError):
    """The bucket does not answer or refuses. The message is a sentence."""


class Damaged(Unreachable):
    """What the bucket holds is not what was put there: to ask again does not help."""


def shared() -> bool:
    """Whether files are carried through a bucket, because workers have no common folder."""
    return "artifacts" in settings.STORAGES


@contextlib.contextmanager
def _bucket() -> Iterator[Any]:
    """The boto3 bucket and its prefix for our keys. What goes wrong becomes Unreachable."""
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError

    storage: Any = storages["artifacts"]
    try:
        yield _Keys(storage.bucket, f"{storage.location.strip('/')}/".lstrip("/"))
    except (BotoCoreError, ClientError, Boto3Error) as error:
        raise Unreachable(
            f"The artifacts bucket {storage.bucket_name} cannot be used ({type(error).__name__}): check its name, "
            f"S3_ENDPOINT_URL and the credentials of this machine. {str(error)[:200]}"
        ) from error


@dataclass(frozen=True)
class _Keys:
    """A bucket below a prefix."""

    bucket: Any
    prefix: str

    def names(self, below: str) -> list[str]:
        return [one.key[len(self.prefix) :] for one in self.bucket.objects.filter(Prefix=self.prefix + below)]

    def size(self, name: str) -> int | None:
        """In bytes; None where there is no such key."""
        exact = self.bucket.objects.filter(Prefix=self.prefix + name, MaxKeys=1)
        return next((one.size for one in exact.limit(1) if one.key == self.prefix + name), None)

    def put(self, name: str, path: Path) -> None:
        self.bucket.upload_file(str(path), self.prefix + name)

    def write(self, name: str, data: bytes) -> None:
        self.bucket.put_object(Key=self.prefix + name, Body=data)

    def get(self, name: str, path: Path) -> None:
        self.bucket.download_file(self.prefix + name, str(path))

    def chunks(self, name: str, span: str = "") -> Iterator[bytes]:
        options = {"Range": span} if span else {}
        yield from self.bucket.Object(self.prefix + name).get(**options)["Body"].iter_chunks(CHUNK)

    def read(self, name: str, span: str = "") -> bytes:
        return b"".join(self.chunks(name, span))

    def remove(self, below: str) -> None:
        """Every key below; lists of files first, so that no half-removed folder looks whole."""
        for name in self.names(below):
            if name.endswith(f"/{FILES}"):
                self.bucket.delete_objects(Delete={"Objects": [{"Key": self.prefix + name}]})
        self.bucket.objects.filter(Prefix=self.prefix + below).delete()

    def manifest(self, folder: str) -> dict[str, int] | None:
        """File -> bytes of a complete folder; None for one that is not there, or not whole yet."""
        if self.size(f"{folder}/{FILES}") is None:
            return None
        return json.loads(self.read(f"{folder}/{FILES}"))["files"]

    def put_folder(self, folder: str, path: Path) -> None:
        files = _sizes(path)
        for name in files:
            self.put(f"{folder}/{name}", path / name)
        self.write(f"{folder}/{FILES}", json.dumps({"files": files}).encode())

    def get_folder(self, folder: str, path: Path) -> bool:
        """Download a complete folder; it is there whole or not at all. False where the bucket has none."""
        files = self.manifest(folder)
        if files is None:
            return False
        half = path.with_name(f".{path.name}-{uuid.uuid4().hex}")
        try:
            for name, size in files.items():
                target = half / name
                if not target.resolve().is_relative_to(half.resolve()):
                    raise Damaged(f"The artifacts bucket names a file outside its folder: {name}.")
                target.parent.mkdir(parents=True, exist_ok=True)
                self.get(f"{folder}/{name}", target)
                if target.stat().st_size != size:
                    raise Damaged(f"The artifacts bucket gave another number of bytes than {size} for {name}.")
            half.mkdir(parents=True, exist_ok=True)
            (half / FILES).write_text(json.dumps({"files": files, "from": folder}))
            shutil.rmtree(path, ignore_errors=True)
            half.rename(path)
        finally:
            shutil.rmtree(half, ignore_errors=True)
        return True


def _sizes(path: Path) -> dict[str, int]:
    found = sorted(one for one in path.rglob("*") if one.is_file() and one.name != FILES)
    return {one.relative_to(path).as_posix(): one.stat().st_size for one in found}


def _key(run: Run, *rest: str) -> str:
    return "/".join(("runs", str(run.pk), *rest))


def _result_key(run: Run, name: str) -> str:
    """By the attempt that made it; while a run lasts, the current one."""
    return _key(run, "results", str(run.figures.get("attempt", run.attempt)), name)


# While a run lasts


def begin(run: Run) -> None:
    """Before an attempt: free what this machine keeps of runs that are over, and bring what earlier attempts noted."""
    tidy()
    run.folder.mkdir(parents=True, exist_ok=True)
    if shared():
        with _bucket() as keys:
            size = keys.size(_key(run, "log.txt"))
            if size and size > (run.log_file.stat().st_size if run.log_file.exists() else 0):
                keys.get(_key(run, "log.txt"), run.log_file)
            for note in keys.names(_key(run, "notes", "")):
                keys.get(note, run.folder / note.rsplit("/", 1)[-1])


def last_checkpoint(run: Run) -> tuple[Path, int] | None:
    """The most advanced whole checkpoint, on this machine's disk, and its step. One of the bucket's is fetched."""

    def attempts() -> list[Path]:
        return sorted(run.folder.glob("attempt-*"))

    here = checkpoints.last_checkpoint(attempts())
    if not shared():
        return here
    with _bucket() as keys:
        for step, attempt in _stored_checkpoints(keys, run):
            if here and here[1] >= step:
                break
            target = run.folder / f"attempt-{attempt}" / f"checkpoint-{step}"
            target.parent.mkdir(parents=True, exist_ok=True)
            if keys.get_folder(_key(run, "checkpoints", f"{step}-{attempt}"), target):
                here = checkpoints.last_checkpoint(attempts())  # which looks whether it is whole
    return here


def _stored_checkpoints(keys: _Keys, run: Run) -> list[tuple[int, int]]:
    """(step, attempt) of the complete checkpoints in the bucket, the most advanced first."""
    pattern = re.compile(r"runs/\d+/checkpoints/(\d+)-(\d+)/" + re.escape(FILES))
    marks = (pattern.fullmatch(name) for name in keys.names(_key(run, "checkpoints", "")))
    return sorted(((int(mark[1]), int(mark[2])) for mark in marks if mark), reverse=True)


def put_checkpoint(run: Run, folder: Path, step: int) -> None:
    """Upload a complete checkpoint; earlier ones go from the bucket afterwards. Without a bucket there is nothing to
    do.

    Raises:
        Unreachable, FileNotFoundError (the trainer removed it meanwhile, because there are newer ones).
    """
    if not shared():
        return
    with _bucket() as keys:
        name = f"{step}-{run.attempt}"
        keys.put_folder(_key(run, "checkpoints", name), folder)
        for earlier in {one.split("/")[3] for one in keys.names(_key(run, "checkpoints", ""))}:
            other, attempt = (int(part) for part in earlier.split("-"))
            if other < step and attempt <= run.attempt:
                keys.remove(_key(run, "checkpoints", earlier, ""))


def put_log(run: Run) -> None:
    if shared() and run.log_file.exists():
        with _bucket() as keys:
            keys.put(_key(run, "log.txt"), run.log_file)


class Uploads:
    """Carries an attempt's checkpoints and log to the bucket from a thread, so that training does not wait for it.

    with Uploads(run, folder): train. Without a bucket it does nothing.
    """

    def __init__(self, run: Run, folder: Path, log: Callable[[str], None] = lambda line: None) -> None:
        self.run, self.folder, self.log = run, folder, log
        self.ended = threading.Event()
        self.last_step, self.log_size, self.next_log = -1, -1, 0.0
        self.complained = False
        self.thread = threading.Thread(target=self._work, name=f"uploads-{run.pk}", daemon=True)

    def __enter__(self) -> "Uploads":
        if shared():
            self.thread.start()
        return self

    def __exit__(self, *exception: Any) -> None:
        self.ended.set()
        if self.thread.is_alive():
            self.thread.join(1.0)  # an upload under way is left behind: a cancelled run must not wait for it

    def _work(self) -> None:
        try:
            while not self.ended.wait(1.0):
                try:
                    self._carry()
                    self.complained = False
                except Unreachable as error:
                    logger.warning("%s: %s", self.run, error)
                    if not self.complained:
                        self.log(f"{error} The training goes on; checkpoints are uploaded when it answers again.")
                    self.complained = True
                    self.ended.wait(LOG_EVERY)
                except OSError:  # a checkpoint that was removed meanwhile: there is a newer one
                    continue
        finally:
            connection.close()

    def _carry(self) -> None:
        marks = self.folder.glob(f"checkpoint-*/{checkpoints.COMPLETE}")
        step, checkpoint = max(((int(one.parent.name.split("-")[1]), one.parent) for one in marks), default=(-1, None))
        if checkpoint and step > self.last_step:
            if not self.run._mine().exists():
                return  # a successor is at work
            put_checkpoint(self.run, checkpoint, step)
            self.last_step = step
        size = self.run.log_file.stat().st_size if self.run.log_file.exists() else -1
        if size != self.log_size and time.monotonic() > self.next_log:
            put_log(self.run)
            self.log_size, self.next_log = size, time.monotonic() + LOG_EVERY


# At the end of a run


def put_result(run: Run, name: str, tick: Callable[[], None] = lambda: None) -> None:
    """Upload what stands in `run.folder / name` (adapter, merged) as this attempt's result.

    Raises:
        JobError: the bucket stayed away for long. The files stay on this machine.
    """
    _patiently(lambda keys: keys.put_folder(_result_key(run, name), run.folder / name), tick)
    if shared():
        about = {"files": _sizes(run.folder / name), "from": _result_key(run, name)}
        (run.folder / name / FILES).write_text(json.dumps(about))


def put_note(run: Run, name: str) -> None:
    """Upload a small file of the run's folder that another attempt must know."""
    _patiently(lambda keys: keys.put(_key(run, "notes", name), run.folder / name), lambda: None)


def _patiently(work: Callable[[_Keys], None], tick: Callable[[], None]) -> None:
    if not shared():
        return
    until = time.monotonic() + PATIENCE
    while True:
        try:
            with _bucket() as keys:
                return work(keys)
        except Unreachable as error:
            if time.monotonic() > until:
                raise JobError(
                    f"{error} What the run made stays on the worker, in {settings.ARTIFACT_ROOT}."
                ) from error
            logger.warning("%s", error)
        tick()
        time.sleep(2)


def free_attempts(run: Run) -> None:
    """What only another attempt would need, once there will be none: checkpoints, here and in the bucket."""
    for folder in run.folder.glob("attempt-*"):
        shutil.rmtree(folder, ignore_errors=True)
    if shared():
        try:
            put_log(run)
            with _bucket() as keys:
                keys.remove(_key(run, "checkpoints", ""))
                own = _result_key(run, "").split("/")[3]
                for other in {one.split("/")[3] for one in keys.names(_key(run, "results", ""))} - {own}:
                    keys.remove(_key(run, "results", other, ""))
        except Unreachable as error:  # they go with the run
            logger.warning("%s: its checkpoints were not removed. %s", run, error)


# Afterwards


@dataclass(frozen=True)
class StoredFile:
    """A file of a result, wherever it is."""

    name: str
    size: int
    chunks: Callable[[], Iterator[bytes]]


def result_files(run: Run, name: str = "adapter") -> list[StoredFile]:
    """The files of a run's adapter or merged model, sorted by name; none where it has none. Nothing is copied."""
    folder = run.folder / name
    if not shared() or _is_result(run, name):
        here = {one: size for one, size in _sizes(folder).items() if not one.startswith(".")}
        return [StoredFile(one, size, partial(_read, folder / one)) for one, size in here.items()]
    key = _result_key(run, name)
    with _bucket() as keys:
        there = keys.manifest(key) or {}
    return [StoredFile(one, there[one], partial(_stream, f"{key}/{one}")) for one in sorted(there)]


def _read(path: Path) -> Iterator[bytes]:
    with path.open("rb") as source:
        while data := source.read(CHUNK):
            yield data


def _stream(name: str, span: str = "") -> Iterator[bytes]:
    with _bucket() as keys:
        yield from keys.chunks(name, span)


def _is_result(run: Run, name: str) -> bool:
    """Whether this machine has the whole result, of the attempt that finished the run."""
    try:
        about = json.loads((run.folder / name / FILES).read_text())
    except (OSError, ValueError):
        return False
    return about.get("from") == _result_key(run, name)


def fetch(run: Run, name: str = "adapter") -> Path:
    """The folder of a run's adapter or merged model on this machine, downloaded once where it is in the bucket.

    Raises:
        JobError: it is not to be had, with the reason.
    """
    folder = run.folder / name
    if shared() and not _is_result(run, name):
        folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            with _bucket() as keys:
                keys.get_folder(_result_key(run, name), folder)
        except Unreachable as error:
            raise JobError(str(error)) from error
    if not folder.is_dir():
        where = "the artifacts bucket" if shared() else f"the artifact folder of this worker ({run.folder})"
        raise JobError(f"The {name} of the run {run.name} is not in {where}.")
    return folder


def log_tail(run: Run) -> str:
    """The end of the log; empty while there is none. A bucket that is away is not asked again for a while."""
    most = run.LOG_TAIL
    try:
        here = run.log_file.stat().st_size
    except OSError:
        here = 0
    storage: Any = storages["artifacts"] if shared() else None
    away = f"artifacts-away-{storage.bucket_name}" if storage else ""
    if away and not cache.get(away):
        try:
            with _bucket() as keys:
                there = keys.size(_key(run, "log.txt")) or 0
                if there > here:  # what this machine has is of an earlier attempt
                    return keys.read(_key(run, "log.txt"), f"bytes={max(0, there - most)}-").decode(errors="replace")
        except Unreachable as error:
            logger.warning("%s", error)
            cache.set(away, True, AWAY_SECONDS)
    if not here:
        return ""
    with run.log_file.open("rb") as file:
        file.seek(max(0, here - most))
        return file.read().decode(errors="replace")


def log_chunks(run: Run) -> Iterator[bytes] | None:
    """The whole log; None while there is none."""
    here = run.log_file.stat().st_size if run.log_file.exists() else 0
    if shared():
        with _bucket() as keys:
            if (keys.size(_key(run, "log.txt")) or 0) > here:
                return _stream(_key(run, "log.txt"))
    return _read(run.log_file) if here else None


# Scratch models. They stay: they are small, several runs and systems share one, and the same texts give the same again.


def put_scratch(folder: Path) -> None:
    """Upload a scratch model that was just built, for other machines."""
    if shared():
        with _bucket() as keys:
            if keys.manifest(f"scratch/{folder.name}") is None:
                keys.put_folder(f"scratch/{folder.name}", folder)


def fetch_scratch(folder: Path) -> bool:
    """Download the scratch model that belongs in this folder. False where nobody has uploaded it."""
    if not shared():
        return False
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _bucket() as keys:
        return keys.get_folder(f"scratch/{folder.name}", folder)


# Deleting


def remove(pk: int) -> None:
    """Free the files of a deleted run, here and in the bucket. What cannot be reached now is tried again by `clear`."""
    shutil.rmtree(settings.ARTIFACT_ROOT / "runs" / str(pk), ignore_errors=True)
    if not shared():
        DeletedRun.objects.filter(pk=pk).update(in_bucket=False)
        return
    with _bucket() as keys:
        keys.remove(f"runs/{pk}/")
    DeletedRun.objects.filter(pk=pk).update(in_bucket=False)


def remove_quietly(pk: int) -> None:
    """As `remove`; where the bucket is away, `clear` does it later."""
    try:
        remove(pk)
    except Unreachable as error:
        logger.warning("%s", error)


def clear() -> int:
    """Free what deleted runs still have in the bucket. Returns how many were cleared."""
    cleared = 0
    for pk in list(DeletedRun.objects.filter(in_bucket=True).values_list("pk", flat=True)[:1000]):
        try:
            remove(pk)
        except Unreachable as error:
            logger.warning("%s", error)
            break
        cleared += 1
    return cleared


def tidy() -> None:
    """Free this machine's files of runs that were deleted, and the checkpoints of runs that are over.

    Other machines than the one that deleted a run learn of it here; and a run whose worker died before it was cancelled
    left its checkpoints.
    """
    root = settings.ARTIFACT_ROOT / "runs"
    folders = {int(one.name): one for one in root.glob("*") if one.name.isdecimal()} if root.is_dir() else {}
    for pk in DeletedRun.objects.filter(pk__in=folders).values_list("pk", flat=True):
        shutil.rmtree(folders[pk], ignore_errors=True)
    attempts = {pk: list(folder.glob("attempt-*")) for pk, folder in folders.items()}
    busy = [pk for pk, found in attempts.items() if found]
    for pk in Run.objects.filter(pk__in=busy).exclude(status__in=ACTIVE).values_list("pk", flat=True):
        for folder in attempts[pk]:
            shutil.rmtree(folder, ignore_errors=True)
