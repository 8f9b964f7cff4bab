"""What all tests share: cheap settings, a real worker, a real browser."""

import contextlib
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from django.conf import settings as django_settings
from django.db import connection
from django.test import Client

from config.processes import end, last_lines, spawn, wait_until

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def _quick_settings(settings):
    """Static files without the manifest that collectstatic writes, and passwords that are cheap to hash."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    settings.STORAGES = settings.STORAGES | {
        "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
    }


def database_url() -> str:
    """DATABASE_URL for a process of its own that is to use the test database."""
    return urlsplit(os.environ["DATABASE_URL"])._replace(path="/" + connection.settings_dict["NAME"]).geturl()


class Worker:
    """A Celery worker process on the test database."""

    def __init__(self, queues: tuple[str, ...], log: Path, beat: bool, env: dict[str, str]) -> None:
        self.log = log
        command = [sys.executable, "-m", "celery", "-A", "config", "worker", "-Q", ",".join(queues)]
        command += ["-n", f"{log.stem}@test", "-c", "1", "--without-gossip", "--without-mingle", "-l", "INFO"]
        if beat:
            command += ["-B", "-s", str(log.with_suffix(".beat"))]
        self.process = spawn(
            command,
            log=log,
            cwd=REPOSITORY,
            env=os.environ | {"DATABASE_URL": database_url()} | env,
            if_we_die=signal.SIGKILL,
        )

    @property
    def pid(self) -> int:
        return self.process.pid

    def wait_until_ready(self, seconds: float = 60) -> None:
        def ready() -> bool:
            assert self.process.poll() is None, f"The worker ended:\n{last_lines(self.log, 30)}"
            return " ready." in self.log.read_text(errors="replace")

        assert wait_until(ready, seconds), f"The worker is not ready:\n{last_lines(self.log, 30)}"

    def stop(self) -> None:
        """As a terminated worker stops: at once, whatever it is doing."""
        end({self.process: signal.SIGQUIT}, 5)

    def kill(self) -> None:
        """As a worker dies whose machine lost its power."""
        end({self.process: signal.SIGKILL}, 5)


@pytest.fixture
def worker(transactional_db, tmp_path) -> Iterator[Callable[..., Worker]]:
    """Start real workers: `worker("default")`, `worker("gpu", env={...})`, `worker("default", beat=True)`.

    They see committed rows of the test database and the files below the same DATA_DIR. Messages that earlier
    tests left in the queues are thrown away first; workers end with the test.
    """
    from config.celery import app

    with app.connection_for_write() as broker:
        for queue in ("default", "gpu"):
            broker.default_channel.client.delete(queue)
    with contextlib.ExitStack() as started:

        def start(*queues: str, beat: bool = False, env: dict[str, str] | None = None, wait: bool = True) -> Worker:
            log = tmp_path / f"worker{len(list(tmp_path.glob('worker*.log')))}.log"
            one = Worker(queues or ("default",), log, beat, env or {})
            started.callback(one.stop)
            if wait:
                one.wait_until_ready()
            return one

        yield start


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of a Chromium; without one the test is skipped."""
    for name in ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable"):
        if path := shutil.which(name):
            return path
    pytest.skip("No Chromium was found: install one (`apt-get install chromium`) to run the browser tests.")


@pytest.fixture(scope="module")
def browser(chromium):
    """A headless Chromium. Per module: Playwright's event loop stays in this thread while it runs."""
    from playwright.sync_api import sync_playwright

    arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
    with pytest.MonkeyPatch.context() as patch, sync_playwright() as playwright:
        # Django refuses database calls below a running event loop. Playwright's runs only inside its calls.
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
        started = playwright.chromium.launch(executable_path=chromium, args=arguments)
        yield started
        started.close()


@pytest.fixture
def new_page(browser, live_server):
    """Open a page of the live server with cookies of its own: `new_page()`, or `new_page(user)` signed in.

    A script that fails, or that the content security policy stops, fails the test.
    """
    contexts, troubles = [], []

    def note(message) -> None:
        if message.type == "error" and "Content Security Policy" in message.text:
            troubles.append(message.text)

    def new(user=None, **options):
        context = browser.new_context(base_url=live_server.url, **options)
        contexts.append(context)
        context.set_default_timeout(15_000)
        if user is not None:
            client = Client()
            client.force_login(user)
            name = django_settings.SESSION_COOKIE_NAME
            context.add_cookies([{"name": name, "value": client.cookies[name].value, "url": live_server.url}])
        page = context.new_page()
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("console", note)
        return page

    yield new
    for context in contexts:
        context.close()
    assert not troubles, "\n".join(troubles)


@pytest.fixture
def page(new_page):
    """One page, not signed in."""
    return new_page()
