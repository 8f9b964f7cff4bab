"""pytest plugin: a PostgreSQL and a Redis of this run's own, started before Django reads its settings.

Loaded by `-p tests.services` (pyproject.toml). With DATABASE_URL or REDIS_URL set, those servers are used
instead. Several runs at once do not meet: everything lies in a temporary folder that goes with the run.
"""

import contextlib
import os
import signal
import tempfile
from collections.abc import Generator
from pathlib import Path

import pytest

from config.embedded import Postgres, Redis, ServiceError

ENVIRONMENT = {
    "SECRET_KEY": "for tests only, on this machine only, never on a server",
    "HTTPS": "false",
    "DEBUG": "false",
    "DJANGO_SETTINGS_MODULE": "config.settings",
    "HF_HUB_OFFLINE": "1",  # no test waits for the network: a model is a folder or the scratch model
}


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> Generator[None]:
    """Around pytest-django's hook of the same name, which imports the settings."""
    stack = contextlib.ExitStack()
    early_config.add_cleanup(stack.close)  # after Ctrl-C too
    previous = signal.signal(signal.SIGTERM, signal.default_int_handler)  # `timeout` ends a run as Ctrl-C does
    stack.callback(signal.signal, signal.SIGTERM, previous)
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="redress-test-", dir="/tmp")))
    folder.chmod(0o711)  # PostgreSQL's own account passes through when the tests run as root
    data, sockets = folder / "var", folder / "s"
    sockets.mkdir(mode=0o700)
    for name in ("media", "artifacts", "static"):
        (data / name).mkdir(parents=True)
    os.environ.update(ENVIRONMENT, DATA_DIR=str(data))
    os.environ.setdefault("JOB_LEASE_SECONDS", "10")
    try:
        if not os.environ.get("REDIS_URL"):
            redis = Redis(sockets=sockets, log=folder / "redis.log")
            os.environ["REDIS_URL"] = stack.enter_context(redis).url
        if not os.environ.get("DATABASE_URL"):
            postgres = Postgres(folder / "pg", sockets=sockets, log=folder / "pg.log", durable=False)
            os.environ["DATABASE_URL"] = stack.enter_context(postgres).url
    except ServiceError as error:
        raise pytest.UsageError(str(error)) from error
    return (yield)
