"""What the tests of the stack share."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import psutil

from config.processes import tree, wait_until
from config.stack import free_port

REPOSITORY = Path(__file__).resolve().parents[2]
# What tests/services.py set for this run, and a launcher must find out by itself.
OURS = {"DATABASE_URL", "REDIS_URL", "SECRET_KEY", "HTTPS", "DATA_DIR", "JOB_LEASE_SECONDS"}


class Launched:
    """`python -m config.stack run` as a process of its own, as `make run` starts it."""

    def __init__(self, data: Path, **env: str) -> None:
        self.data, self.port, self.output = data, free_port(), data.parent / f"{data.name}.out"
        given = {name: value for name, value in os.environ.items() if name not in OURS}
        given |= {"DATA_DIR": str(data), "PORT": str(self.port), "HF_HUB_OFFLINE": "1"} | env
        with self.output.open("w") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "config.stack", "run"],
                cwd=REPOSITORY,
                env=given,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self.started = time.monotonic()

    @property
    def said(self) -> str:
        return self.output.read_text()

    def wait_until_ready(self, seconds: float = 300) -> float:
        """Returns the seconds that it took."""

        def ready() -> bool:
            assert self.process.poll() is None, self.said
            return "Redress is ready at" in self.said

        assert wait_until(ready, seconds), self.said
        return time.monotonic() - self.started

    def everyone(self) -> list[psutil.Process]:
        return tree(self.process.pid)

    def stop(self, number: signal.Signals = signal.SIGINT) -> float:
        """Send the signal and wait for the end; returns the seconds that it took."""
        started = time.monotonic()
        self.process.send_signal(number)
        self.process.wait(30)
        return time.monotonic() - started

    def clean_up(self) -> None:
        everyone = self.everyone()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(15)
        for process in everyone:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self.process.wait()

    def get(self, path: str) -> tuple[int, str]:
        try:
            with urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=20) as answer:
                return answer.status, answer.read().decode()
        except HTTPError as error:
            return error.code, error.read().decode()

    def manage(self, *arguments: str) -> str:
        """What `make manage` prints."""
        given = {name: value for name, value in os.environ.items() if name not in OURS}
        return subprocess.run(
            [sys.executable, "-m", "config.stack", "manage", *arguments],
            cwd=REPOSITORY,
            env=given | {"DATA_DIR": str(self.data)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
