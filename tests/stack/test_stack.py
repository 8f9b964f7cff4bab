"""`make run`: the whole stack as processes, started, used, stopped and killed."""

import fcntl
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from http.cookiejar import CookieJar
from pathlib import Path

import psutil
import pytest

from config import stack
from config.processes import alive, end, spawn, tree, wait_until
from tests.stack.helpers import OURS, REPOSITORY, Launched


@pytest.fixture
def launch(tmp_path):
    launched = []

    def start(name="data", **env):
        one = Launched(tmp_path / name, **env)
        launched.append(one)
        return one

    yield start
    for one in launched:
        one.clean_up()


@pytest.fixture(scope="module")
def started_before(tmp_path_factory):
    """A data folder that has been in use, so that tests need not wait for a first start."""
    one = Launched(tmp_path_factory.mktemp("before") / "data", DEMO="no")
    try:
        one.wait_until_ready()
        one.stop()
    finally:
        one.clean_up()
    return one.data


@pytest.fixture
def used(started_before, tmp_path):
    subprocess.run(["cp", "-a", started_before, tmp_path / "data"], check=True)


def fails_with(one):
    """The one sentence with which it ended."""
    assert one.process.wait(60) == 1
    assert "Traceback" not in one.said
    return one.said.strip().splitlines()[-1]


def sign_in(one, name, password):
    """The page that somebody sees after signing in."""
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))
    address = f"http://127.0.0.1:{one.port}/account/login/"
    page = browser.open(address).read().decode()
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)[1]
    form = {"csrfmiddlewaretoken": token, "username": name, "password": password}
    return browser.open(address, urllib.parse.urlencode(form).encode())


@pytest.mark.slow
def test_from_nothing_to_a_site_and_back_and_again(launch):
    first = launch()
    cold = first.wait_until_ready()
    # It says who may sign in, and they can.
    assert "annotator, lead, trainer, reviewer" in first.said
    password = re.search(r"password +(\S+)", first.said)[1]
    for name in ("annotator", "lead", "trainer", "reviewer", "admin"):
        page = sign_in(first, name, password)
        assert page.status == 200
        assert not page.url.endswith("/login/")
    # Its own style sheet, under the name that collectstatic gave it.
    style = re.search(r'href="(/static/redress\.[0-9a-f]+\.css)"', first.get("/account/login/")[1])[1]
    assert first.get(style)[0] == 200
    assert first.get("/health/")[0] == 200
    # Two workers, for their queues; each with its pool.
    commands = [" ".join(process.cmdline()) for process in first.everyone()]
    for queue in ("default", "gpu"):
        assert len([one for one in commands if f"worker -Q {queue}" in one]) > 1
    # Only on this machine.
    listening = [
        one.laddr.ip
        for process in alive(first.everyone())
        for one in process.net_connections("inet")
        if one.status == "LISTEN"
    ]
    assert set(listening) == {"127.0.0.1"}

    first.manage("shell", "-c", "from django.contrib.auth.models import User; User.objects.create_user('kept')")
    everyone = first.everyone()
    assert len(everyone) > 10
    stopped = first.stop()
    assert alive(everyone) == []
    assert stopped < 10
    assert first.process.returncode == 0
    assert first.said.rstrip().endswith("Stopped. Everything is kept.")

    second = launch()
    warm = second.wait_until_ready()
    people = "from django.contrib.auth.models import User; print(User.objects.filter(username='kept').count())"
    assert second.manage("shell", "-v", "0", "-c", people).strip() == "1"
    assert "Loading the demo" not in second.said
    assert re.search(r"password +(\S+)", second.said)[1] == password
    assert (second.data / "secret_key").stat().st_mode & 0o077 == 0
    second.stop()
    assert warm < 60  # on an idle machine far below 10
    print(f"\ncold start {cold:.1f} s, stop {stopped:.1f} s, second start {warm:.1f} s")


@pytest.mark.long
def test_a_worker_that_dies_is_started_again_and_a_database_that_dies_ends_everything(launch, used):
    one = launch(DEMO="no")
    one.wait_until_ready()

    def worker():
        return next(
            process
            for process in psutil.Process(one.process.pid).children()
            if "worker -Q gpu" in " ".join(process.cmdline())
        )

    dead, pool = worker(), worker().children()
    dead.kill()
    assert wait_until(lambda: "The GPU worker ended by itself (SIGKILL)" in one.said, 10)
    assert one.get("/health/")[0] == 200
    assert wait_until(lambda: any("worker -Q gpu" in " ".join(p.cmdline()) for p in alive(one.everyone())), 20)
    assert worker().pid != dead.pid
    assert alive(pool) == []

    everyone = one.everyone()
    next(process for process in everyone if process.name() == "postgres").kill()
    assert "Postgres ended by itself: the lines above say why" in fails_with(one)
    assert alive(everyone) == []


@pytest.mark.long
def test_ctrl_c_while_it_starts_leaves_nothing_and_can_be_repeated(launch):
    for moment in (0.3, 1.2, 2.5):
        one = launch(DEMO="no")
        assert wait_until(lambda one=one: "Starting" in one.said, 20)
        time.sleep(moment)
        everyone = one.everyone()
        assert one.stop() < 10
        assert alive(everyone) == []
        assert "Traceback" not in one.said
    launch(DEMO="no").wait_until_ready()


@pytest.mark.long
def test_termination_and_impatience_leave_nothing(launch, used):
    one = launch(DEMO="no")
    one.wait_until_ready()
    everyone = one.everyone()
    one.process.send_signal(signal.SIGTERM)
    for _ in range(3):
        time.sleep(0.1)
        one.process.send_signal(signal.SIGINT)
    assert one.process.wait(10) == 0
    assert alive(everyone) == []


@pytest.mark.long
def test_a_launcher_that_was_killed_leaves_nothing_and_its_data_work(launch, used):
    one = launch()
    one.wait_until_ready()
    everyone = one.everyone()
    one.stop(signal.SIGKILL)
    assert wait_until(lambda: alive(everyone) == [], 15), alive(everyone)
    sockets = Path((one.data / "sockets").read_text())
    assert sockets.exists()
    again = launch()
    again.wait_until_ready()
    assert not sockets.exists()
    assert again.get("/account/login/")[0] == 200


class Terminal:
    """Somebody who started it in a terminal of theirs."""

    def __init__(self, data):
        env = {name: value for name, value in os.environ.items() if name not in OURS}
        env |= {"DATA_DIR": str(data), "PORT": str(stack.free_port())}
        self.said = b""
        self.pid, self.screen = pty.fork()
        if self.pid == 0:
            os.chdir(REPOSITORY)
            os.execve(sys.executable, [sys.executable, "-m", "config.stack", "run"], env)

    def read_until(self, words):
        while words not in self.said:
            self.said += os.read(self.screen, 1000)

    def type(self, keys):
        os.write(self.screen, keys)


@pytest.mark.slow
def test_in_a_terminal_the_demo_is_offered_once_and_closing_it_stops_everything(tmp_path):
    first = Terminal(tmp_path / "data")
    first.read_until(b"Load the demo project? [Y/n] ")
    first.type(b"n\n")
    first.read_until(b"Ctrl-C stops everything.")
    assert b"make manage ARGS=createsuperuser" in first.said
    first.type(b"\x03")  # Ctrl-C
    first.read_until(b"Everything is kept.")
    os.waitpid(first.pid, 0)
    os.close(first.screen)

    second = Terminal(tmp_path / "data")
    second.read_until(b"Ctrl-C stops everything.")
    assert b"Load the demo" not in second.said
    everyone = tree(second.pid)
    os.close(second.screen)  # what it wants to say goes nowhere from here on
    os.waitpid(second.pid, 0)
    assert len(everyone) > 10
    assert alive(everyone) == []


def test_a_taken_port_is_told_first_with_another_that_is_free(launch, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        one = launch(PORT=str(port))
        told = re.fullmatch(
            rf"Port {port} is taken by another program: choose another, `make run PORT=(\d+)`\.", fails_with(one)
        )
    assert told
    assert int(told[1]) > port
    assert not (one.data / "postgresql").exists()


@pytest.mark.parametrize("port", ["http", "0", "70000", "80.5"])
def test_a_port_that_is_none_is_refused(launch, port):
    assert fails_with(launch(PORT=port)) == f"PORT must be a whole number from 1 to 65535, not '{port}'."


def test_an_address_that_is_not_ours_is_refused(launch):
    assert "192.0.2.7 is not an address of this machine" in fails_with(launch(HOST="192.0.2.7"))


def test_a_second_launcher_on_the_same_data_is_refused(launch, tmp_path):
    (tmp_path / "data").mkdir()
    with (tmp_path / "data" / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write("process 4711")
        lock.flush()
        told = fails_with(launch())
    assert told == (
        f"Redress is already running on {tmp_path / 'data'} (process 4711): use that one, or set DATA_DIR to "
        "another folder."
    )


def test_data_of_another_postgresql_are_refused(launch, tmp_path):
    (tmp_path / "data" / "postgresql").mkdir(parents=True)
    (tmp_path / "data" / "postgresql" / "PG_VERSION").write_text("15\n")
    assert "was written by PostgreSQL 15 and this release brings PostgreSQL 18" in fails_with(launch())


def test_a_data_folder_that_cannot_be_made_is_refused(launch, tmp_path):
    (tmp_path / "file").write_text("")
    assert "cannot be written" in fails_with(launch(DATA_DIR=str(tmp_path / "file" / "data")))


def test_a_full_disk_is_refused(tmp_path):
    with pytest.raises(stack.StackError, match=r"The disk that holds .* is full \(\d+ MB left, .* free some space"):
        stack.check_disk(tmp_path, 10**9)


def test_what_will_not_stop_is_killed_with_all_it_started(tmp_path):
    """As a training process that is deep in a library: deaf to signals, with a child in a session of its own."""
    script = tmp_path / "deaf.sh"
    script.write_text("trap '' TERM INT QUIT HUP\nsetsid sleep 600 &\necho started\nwhile :; do sleep 600; done\n")
    process = spawn(["bash", script], log=tmp_path / "log")
    assert wait_until(lambda: len(tree(process.pid)) == 3, 10)
    everyone = tree(process.pid)
    started = time.monotonic()
    end({process: signal.SIGTERM}, 1)
    assert time.monotonic() - started < 3
    assert alive(everyone) == []


def test_stragglers_of_this_data_folder_are_found_and_no_others(tmp_path):
    ours, other = (
        subprocess.Popen(["sleep", "600"], env=os.environ | {stack.MARK: str(tmp_path / name)}, start_new_session=True)
        for name in ("a", "b")
    )
    try:
        stack.end_stragglers(tmp_path / "a")
        assert ours.wait(5) == -signal.SIGKILL
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


def test_who_may_be_asked_for_depends_on_where_we_listen():
    assert stack.own_names("127.0.0.1") == ["localhost", "127.0.0.1", "[::1]"]
    assert socket.gethostname() in stack.own_names("0.0.0.0")
