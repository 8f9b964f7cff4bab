"""Start a training in processes of its own, hear what it tells, and end it. Knows nothing of Django.

    with Launch(command(folder, processes), folder, spec, cwd=...) as launch:
        while (event := launch.next(0.2)) is not None or not launch.has_ended():
            ...

Leaving the block ends every process, whatever they are doing: a step, loading a model, writing a file.
"""

import contextlib
import json
import os
import queue
import re
import selectors
import shutil
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from config.processes import end, last_lines, spawn

# A training reads files and talks to its supervisor. It needs no key of ours, and code of a model may run in it.
SECRETS = re.compile(r"SECRET_KEY|DATABASE_URL|REDIS_URL|AWS_.*|HF_TOKEN|HUGGING_FACE_.*|.*_API_KEY|.*PASSWORD.*")
PREFIX = "redress-line-"  # of the folders below /tmp that hold the socket of a launch
SECONDS_TO_END = 1.0  # between asking the processes to end and ending them


def command(folder: Path, processes: int) -> list[str]:
    """The command of a training: one process, or as many as asked for, started by torchrun on this machine."""
    module = ["-m", "training.engine", str(folder)]
    if processes == 1:
        return [sys.executable, *module]
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--local-addr", "127.0.0.1"]
    return [*launcher, "--nproc-per-node", str(processes), "--max-restarts", "0", *module]


def environment(processes: int, base: Mapping[str, str] = os.environ) -> dict[str, str]:
    """What the training's processes find in their environment: no secrets, and no reason to ask the hub."""
    own = {name: value for name, value in base.items() if not SECRETS.fullmatch(name)}
    own |= {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "PYTHONUNBUFFERED": "1"}
    if processes > 1:
        own.setdefault("GLOO_SOCKET_IFNAME", "lo")  # all of them are on this machine
        own.setdefault("OMP_NUM_THREADS", str(max(1, len(os.sched_getaffinity(0)) // processes)))
    return own


def _remove_dead_lines() -> None:
    """Remove the sockets of supervisors that were killed: nobody answers there."""
    for folder in Path("/tmp").glob(f"{PREFIX}*"):  # noqa: S108  (where ours are made)
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as caller:
            try:
                caller.connect(str(folder / "line"))
            except ConnectionRefusedError:
                shutil.rmtree(folder, ignore_errors=True)


class Launch:
    """The processes of one training, and the line to them."""

    def __init__(
        self, command: list[str], folder: Path, spec: dict[str, Any], *, cwd: Path, processes: int = 1
    ) -> None:
        """
        Args:
            folder: of the attempt; gets `spec.json` and `output.txt`, what the processes print.
            spec: what `training.engine` reads; `address` is added. cwd: where our packages lie.
        """
        self.command, self.folder, self.spec, self.cwd, self.processes = command, folder, spec, cwd, processes
        self.output = folder / "output.txt"
        self._events: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._lines: dict[socket.socket, dict[str, Any]] = {}
        self._closing = threading.Event()
        self._rounds = 0  # of the listening thread
        self._rounds_at_end: int | None = None

    def __enter__(self) -> Self:
        _remove_dead_lines()
        self._sockets = Path(tempfile.mkdtemp(prefix=PREFIX, dir="/tmp"))  # the path of a socket must be short
        self._listener = socket.socket(socket.AF_UNIX)
        try:
            self._listener.bind(str(self._sockets / "half"))
            self._listener.listen()
            (self._sockets / "half").rename(self._sockets / "line")  # whoever sees it can connect
            (self.folder / "spec.json").write_text(json.dumps(self.spec | {"address": str(self._sockets / "line")}))
            self._thread = threading.Thread(target=self._hear, name="line", daemon=True)
            self._process = spawn(
                self.command,
                log=self.output,
                cwd=self.cwd,
                env=environment(self.processes),
                if_we_die=signal.SIGKILL,
            )
            self._thread.start()
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        try:
            end({self._process: signal.SIGTERM}, SECONDS_TO_END)
        finally:
            self._closing.set()
            self._thread.join()
            self._close()

    def _close(self) -> None:
        self._listener.close()
        for line in list(self._lines):
            line.close()
        shutil.rmtree(self._sockets, ignore_errors=True)

    def next(self, seconds: float) -> dict[str, Any] | None:
        """The next event, or None when there is none for so long.

        Besides what `training.engine` tells, there is `gone` with a rank: that process ended without a last word.
        """
        try:
            return self._events.get(timeout=seconds)
        except queue.Empty:
            return None

    def has_ended(self) -> bool:
        """Whether the training's process, or the launcher of several, has ended and everything it told was heard."""
        if self._process.poll() is None:
            return False
        if self._rounds_at_end is None:
            self._rounds_at_end = self._rounds
        # A whole round later: what was said last may still stand in the socket.
        return self._rounds > self._rounds_at_end + 1 and not self._lines and self._events.empty()

    def wait(self, seconds: float) -> None:
        """Give the processes time to end by themselves."""
        with contextlib.suppress(Exception):
            self._process.wait(seconds)

    @property
    def status(self) -> int | None:
        """Exit status of the process, of several that of the one that ended first; a signal as a negative number."""
        if self.processes > 1 and (found := re.findall(r"exitcode\s*: (-?\d+)", self.last_words(60))):
            codes = [int(code) for code in found]
            # torchrun's own status says nothing, and its root cause is whoever it looked at first: one that was killed
            # comes before those that only missed it.
            killed = [code for code in codes if code < 0 and code != -signal.SIGTERM]
            return killed[0] if killed else codes[-1]
        return self._process.returncode

    def last_words(self, count: int = 30) -> str:
        return last_lines(self.output, count)

    def greet(self) -> None:
        """Tell the processes that somebody supervises them and owns the run."""
        for line in list(self._lines):
            with contextlib.suppress(OSError):  # full or gone: the reader will notice
                line.send(b".", socket.MSG_DONTWAIT)

    def _hear(self) -> None:
        """Read every line until the launch is closed. A process is never held up by how long we take."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._listener, selectors.EVENT_READ)
            while not self._closing.is_set():
                self._rounds += 1
                for key, _ in selector.select(0.1):
                    line = key.fileobj
                    assert isinstance(line, socket.socket)
                    if line is self._listener:
                        caller, _ = line.accept()
                        self._lines[caller] = {"rest": b"", "rank": None, "is_done": False}
                        selector.register(caller, selectors.EVENT_READ)
                    elif not self._read(line):
                        selector.unregister(line)
                        del self._lines[line]
                        line.close()

    def _read(self, line: socket.socket) -> bool:
        """Pass on what came; False when the other end is gone."""
        state = self._lines[line]
        try:
            words = line.recv(1 << 16)
        except OSError:
            words = b""
        *whole, state["rest"] = (state["rest"] + words).split(b"\n")
        for one in whole:
            event = json.loads(one)
            if event["event"] == "hello":
                state["rank"] = event["rank"]
            state["is_done"] |= event["event"] in ("done", "bye", "failed")
            self._events.put(event)
        if not words and state["rank"] is not None and not state["is_done"]:
            self._events.put({"event": "gone", "rank": state["rank"]})
        return bool(words)
