"""pytest plugin: a PostgreSQL and a Redis of this run's own, started before Django reads its settings.

Loaded by `-p tests.services` (pyproject.toml). With DATABASE_URL or REDIS_URL set, those servers are used
instead. Several runs at once do not meet: everything lies in a temporary folder that goes with the run.

Under pytest-xdist (`-n`) the first process starts the servers and runs no tests. Each process that does has a test
database of its own (pytest-django names it), a database of Redis of its own, and a DATA_DIR of its own.
"""

import contextlib
import os
import signal
import tempfile
from collections.abc import Generator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from config.embedded import Postgres, Redis, ServiceError

ENVIRONMENT = {
    "SECRET_KEY": "for tests only, on this machine only, never on a server",
    "HTTPS": "false",
    "DEBUG": "false",
    "DJANGO_SETTINGS_MODULE": "config.settings",
    "HF_HUB_OFFLINE": "1",  # no test waits for the network: a model is a folder or the scratch model
}
MOST_PROCESSES = 4  # each with Chromium, Celery workers and sometimes torch: more would starve a laptop


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
    if beside_others():
        # Arithmetic on all cores, by several processes at once, is far slower than by each on its share.
        share = len(os.sched_getaffinity(0)) // int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
        os.environ.setdefault("OMP_NUM_THREADS", str(max(1, share)))
        os.environ["REDIS_URL"] = database_of_redis(os.environ["REDIS_URL"], own_number())
        return (yield)
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


def beside_others() -> bool:
    """Whether pytest-xdist started this process, to run some of the tests."""
    return "PYTEST_XDIST_WORKER" in os.environ


def own_number() -> int:
    return int(os.environ["PYTEST_XDIST_WORKER"].removeprefix("gw"))


def database_of_redis(url: str, number: int) -> str:
    """The address of another database of the same Redis, as Celery writes it. A Redis has 16, from 0."""
    if url.startswith("redis+socket://"):
        return f"{url.partition('?')[0]}?virtual_host={number}"
    return urlsplit(url)._replace(path=f"/{number}").geturl()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Beside others the slow tests come first: a short one left for the end keeps nobody waiting."""
    if beside_others():
        items.sort(key=lambda item: "slow" not in item.keywords)


@pytest.hookimpl(tryfirst=True, optionalhook=True)  # there may be no pytest-xdist
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """How many processes `-n auto` means: one a core, within reason.

    For a file or a few chosen tests none but this one: others would start longer than they run.
    """
    chosen = config.option.keyword or any(".py" in argument for argument in config.args)
    cores = min(len(os.sched_getaffinity(0)), MOST_PROCESSES)
    return 0 if chosen or cores == 1 else cores
