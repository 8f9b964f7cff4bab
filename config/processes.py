"""Start processes that cannot outlive us, and end them. Linux only; shared by the launcher and the tests."""

import contextlib
import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import psutil

PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


def end_with_parent(number: signal.Signals) -> None:
    """Have the kernel send us this signal when the thread that forked us ends, even by SIGKILL."""
    _libc.prctl(PR_SET_PDEATHSIG, int(number))


def spawn(
    command: Sequence[str | Path],
    *,
    log: Path,
    env: Mapping[str, str] | None = None,
    cwd: Path | str = "/",
    if_we_die: signal.Signals = signal.SIGTERM,
) -> subprocess.Popen[bytes]:
    """Start a process in a session of its own, writing to the end of `log`.

    A session of its own: a Ctrl-C in the terminal reaches only the launcher, which ends the others in order.
    The kernel sends `if_we_die` to the process when the calling thread ends, even by SIGKILL.
    """

    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        return subprocess.Popen(  # noqa: S603  (our own commands)
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=cwd,
            env=dict(env) if env is not None else None,
            start_new_session=True,
            preexec_fn=lambda: end_with_parent(if_we_die),  # takes no lock: safe between fork and exec
        )


def tree(pid: int) -> list[psutil.Process]:
    """The process and all that descend from it; empty when it is gone."""
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def alive(processes: Iterable[psutil.Process]) -> list[psutil.Process]:
    """Those that still run; a zombie has ended and waits for its parent to notice."""
    left = []
    for process in processes:
        try:
            if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                left.append(process)
        except psutil.NoSuchProcess:
            continue
    return left


def end(processes: Mapping[subprocess.Popen[bytes], signal.Signals], seconds: float) -> None:
    """Send each process its signal; kill whoever of them and of what they started is left after `seconds`."""
    running = [process for process in processes if process.poll() is None]
    everyone = {one for process in running for one in tree(process.pid)}  # now: orphans have another parent
    for process in running:
        process.send_signal(processes[process])
    until = time.monotonic() + seconds
    for process in processes:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(max(0.0, until - time.monotonic()))
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # the leader may be gone while its group is not
    for one in everyone:
        with contextlib.suppress(psutil.NoSuchProcess):  # compares start times: never another's reused pid
            one.kill()
    for process in processes:
        process.wait()
    wait_until(lambda: not alive(everyone), 1)  # orphans are not ours to wait for


def last_lines(log: Path, count: int) -> str:
    """The last lines of a log that say something; empty when there is none."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 20_000))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return ""
    return "\n".join([line for line in lines if line.strip()][-count:])


def wait_until(ready: Callable[[], bool], seconds: float, pause: float = 0.05) -> bool:
    """Whether `ready()` became true in time."""
    until = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > until:
            return False
        time.sleep(pause)
    return True
