"""PostgreSQL and Redis as we start them: found again after every kind of end, reachable by nobody else."""

import contextlib
import os
import signal
import socket
import subprocess
import sys

import psutil
import psycopg
import pytest

from config.embedded import Postgres, Redis, ServiceError, socket_folder
from config.processes import alive, tree, wait_until


@pytest.fixture
def folder(tmp_path_factory):
    """Below a folder that PostgreSQL's own account cannot enter when the tests run as root."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture
def sockets():
    with socket_folder() as sockets:
        yield sockets


@pytest.fixture
def postgres(folder, sockets):
    server = Postgres(folder / "postgresql", sockets=sockets, log=folder / "postgresql.log")
    yield server
    server.stop()


def write_a_row(server):
    with psycopg.connect(server.url) as connection:
        connection.execute("CREATE TABLE kept (word text)")
        connection.execute("INSERT INTO kept VALUES ('here')")


def rows(server):
    with psycopg.connect(server.url) as connection:
        return connection.execute("SELECT word FROM kept").fetchall()


def test_rows_are_kept_from_one_start_to_the_next_and_no_process_between(postgres):
    postgres.start()
    write_a_row(postgres)
    everyone = tree(postgres.process.pid)
    postgres.stop()
    assert len(everyone) > 3
    assert alive(everyone) == []
    postgres.start()
    assert rows(postgres) == [("here",)]


def test_the_server_listens_on_its_socket_only(postgres):
    postgres.start()
    assert psutil.Process(postgres.process.pid).net_connections("inet") == []
    assert (postgres.sockets / ".s.PGSQL.5432").stat().st_mode & 0o077 == 0


def test_open_sessions_do_not_hold_up_the_end(postgres):
    postgres.start()
    with contextlib.closing(psycopg.connect(postgres.url)) as connection:
        connection.execute("SELECT 1")
        everyone = tree(postgres.process.pid)
        postgres.stop()
        assert alive(everyone) == []


def test_a_server_that_was_killed_starts_again(postgres):
    postgres.start()
    write_a_row(postgres)
    for process in tree(postgres.process.pid):
        process.kill()
    postgres.process.wait()
    assert (postgres.data / "postmaster.pid").exists()
    postgres.start()
    assert rows(postgres) == [("here",)]


def test_a_server_left_behind_by_a_killed_launcher_is_ended_first(postgres, folder, tmp_path):
    postgres.start()
    write_a_row(postgres)
    left, everyone = postgres.process, tree(postgres.process.pid)
    with socket_folder() as other_sockets:
        second = Postgres(postgres.data, sockets=other_sockets, log=folder / "second.log")
        with second:
            assert rows(second) == [("here",)]
            left.wait(5)
            assert alive(everyone) == []


def test_a_pid_file_whose_pid_belongs_to_somebody_else_by_now_is_no_obstacle(postgres):
    postgres.start()
    postgres.stop()
    (postgres.data / "postmaster.pid").write_text(
        f"{os.getpid()}\n{postgres.data}\n1700000000\n5432\n{postgres.sockets}\n\n        0         0\nready   \n"
    )
    postgres.start()
    assert psutil.pid_exists(os.getpid())


def test_an_interrupted_first_start_leaves_nothing_that_looks_whole(postgres, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("config.embedded.end", interrupted)  # as a signal that arrives while initdb ends
        with pytest.raises(KeyboardInterrupt):
            postgres.start()
    assert not postgres.data.exists()
    assert not list(postgres.data.parent.glob(".new*"))
    postgres.start()


def test_data_of_another_version_are_refused_in_one_sentence_and_left_alone(postgres):
    postgres.start()
    postgres.stop()
    (postgres.data / "PG_VERSION").write_text("16\n")
    with pytest.raises(ServiceError, match=r"written by PostgreSQL 16 and this release brings PostgreSQL 18: use the"):
        postgres.start()
    assert (postgres.data / "PG_VERSION").read_text() == "16\n"


def test_a_folder_that_holds_something_else_is_refused_and_left_alone(postgres):
    postgres.data.mkdir()
    (postgres.data / "thesis.txt").write_text("years of work")
    with pytest.raises(ServiceError, match="holds something else than PostgreSQL's data: move it away"):
        postgres.start()
    assert (postgres.data / "thesis.txt").read_text() == "years of work"


def test_a_start_that_fails_says_why(postgres):
    postgres.start()
    postgres.stop()
    (postgres.data / "postgresql.conf").write_text("max_connections = many\n")
    with pytest.raises(ServiceError, match=r"PostgreSQL did not start: .*postgresql\.conf.*\(see .*postgresql\.log\)"):
        postgres.start()
    assert postgres.process is None


def test_redis_answers_on_its_socket_and_ends(folder, sockets):
    with Redis(sockets=sockets, log=folder / "redis.log") as redis:
        process = psutil.Process(redis.process.pid)
        assert [one for one in process.net_connections("inet") if one.status == "LISTEN"] == []
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(redis.socket))
            connection.sendall(b"SET word here\r\n")
            assert connection.recv(16) == b"+OK\r\n"
    assert alive([process]) == []


def test_socket_paths_are_short_whatever_the_temporary_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("TMPDIR", str(tmp_path / ("long" * 40)))
    with socket_folder() as sockets:
        assert len(str(sockets / ".s.PGSQL.5432.lock")) < 107
    assert not sockets.exists()


def test_nothing_outlives_a_launcher_that_is_killed(tmp_path):
    """The kernel ends what we started, when we could not."""
    code = (
        "import pathlib, signal, time\n"
        "from config.processes import spawn\n"
        f"process = spawn(['sleep', '600'], log=pathlib.Path({str(tmp_path / 'log')!r}))\n"
        "print(process.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    launcher = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    sleeping = psutil.Process(int(launcher.stdout.readline()))
    launcher.send_signal(signal.SIGKILL)
    launcher.wait()
    assert wait_until(lambda: alive([sleeping]) == [], 5)
