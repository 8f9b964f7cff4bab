"""Redress on one machine: `python -m config.stack run`, which is what `make run` does.

Starts PostgreSQL and Redis (unless DATABASE_URL and REDIS_URL name others), prepares the database, runs the
web server and two workers, watches them, and ends all of it together. What it keeps lies below DATA_DIR.

    run                     everything, until Ctrl-C
    manage COMMAND ...      `manage.py COMMAND ...` on the same database, whether or not it is running
"""

import argparse
import contextlib
import errno
import fcntl
import hashlib
import http.client
import json
import os
import platform
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import psutil

from config.embedded import Postgres, Redis, ServiceError, socket_folder
from config.processes import alive, end, last_lines, spawn, wait_until

BASE_DIR = Path(__file__).resolve().parent.parent
MARK = "REDRESS_STACK"  # the variable by which everything that belongs to a data folder's stack is found again
ROLES = ("annotator", "lead", "trainer", "reviewer")
START_SECONDS = 180
LOOPBACK = {"127.0.0.1", "localhost", "::1"}


class StackError(ServiceError):
    """The stack cannot run. The message is one sentence that says what to do."""


class Stopped(BaseException):
    """Somebody asked us to stop. Not an Exception, so that nothing on the way takes it for a failure."""


def say(text: str = "") -> None:
    """Print; a terminal that was closed must not keep us from ending what we started."""
    with contextlib.suppress(OSError, ValueError):
        print(text, flush=True)


# What lies in the data folder


@contextlib.contextmanager
def locked(data: Path) -> Iterator[None]:
    """Hold the data folder; the kernel lets go of it when this process ends, however it ends."""
    try:
        # Texts and passwords: nobody else reads them. As root, PostgreSQL's own account has to pass through.
        data.mkdir(parents=True, exist_ok=True, mode=0o700 if os.geteuid() else 0o711)
        file = (data / "lock").open("a+")
    except OSError as error:
        raise StackError(f"{data} cannot be written ({error.strerror}): set DATA_DIR to a folder of yours.") from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            raise StackError(
                f"Redress is already running on {data} ({file.read().strip() or 'still starting'}): "
                "use that one, or set DATA_DIR to another folder."
            ) from None
        file.truncate(0)
        file.write(f"process {os.getpid()}")
        file.flush()
        yield


def kept_secret(path: Path, length: int) -> str:
    """A random secret that is made once and that only this user can read."""
    if not path.exists():
        new = path.with_suffix(".new")
        new.unlink(missing_ok=True)
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_urlsafe(length))
        new.rename(path)
    return path.read_text().strip()


def check_disk(data: Path, mebibytes: int = 300) -> None:
    free = shutil.disk_usage(data).free // 2**20
    if free < mebibytes:
        raise StackError(
            f"The disk that holds {data} is full ({free} MB left, {mebibytes} MB are needed): "
            "free some space, or set DATA_DIR to a folder on another disk."
        )


def check_port(host: str, port: int) -> None:
    """Find out before anything is started whether we can listen there."""
    problem = _cannot_listen(host, port)
    if problem == errno.EADDRINUSE:
        other = next((free for free in range(port + 1, port + 200) if not _cannot_listen(host, free)), port + 1)
        raise StackError(f"Port {port} is taken by another program: choose another, `make run PORT={other}`.")
    if problem == errno.EACCES:
        raise StackError(f"Port {port} is reserved for root: choose one above 1023, `make run PORT=8000`.")
    if problem:
        raise StackError(f"{host} is not an address of this machine: leave HOST out, or set it to one that is.")


def _cannot_listen(host: str, port: int) -> int:
    """The error number, or 0."""
    try:
        family, kind, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except socket.gaierror:
        return errno.EADDRNOTAVAIL
    except OSError as error:
        return error.errno or errno.EADDRNOTAVAIL
    return 0


def free_port(host: str = "127.0.0.1") -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        return probe.getsockname()[1]


def end_stragglers(data: Path) -> None:
    """Kill what still runs of this data folder's stack. The caller holds the lock, so all of it is ours."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get(MARK) == str(data) and process.pid != os.getpid():
                process.kill()
                found.append(process)
    wait_until(lambda: not alive(found), 2)


# Services and preparation


def environment(data: Path, host: str) -> dict[str, str]:
    """What our processes read (docs/operations.md). Whatever the user set is kept."""
    defaults = {
        "SECRET_KEY": kept_secret(data / "secret_key", 48),
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "HTTPS": "false",
        "ALLOWED_HOSTS": ",".join(own_names(host)),
        "PYTHONUNBUFFERED": "1",
    }
    given = {name: value for name, value in os.environ.items() if value}
    return defaults | given | {"DATA_DIR": str(data), MARK: str(data)}


def own_names(host: str) -> list[str]:
    names = ["localhost", "127.0.0.1", "[::1]"]
    if host in {"0.0.0.0", "::"}:  # noqa: S104  (compared, not listened on)
        addresses = (one for all_of_one in psutil.net_if_addrs().values() for one in all_of_one)
        names += [socket.gethostname(), socket.getfqdn()]
        names += [one.address for one in addresses if one.family == socket.AF_INET]
    elif host not in LOOPBACK:
        names.append(host)
    return list(dict.fromkeys(names))


@contextlib.contextmanager
def services(data: Path, env: dict[str, str], logs: Path) -> Iterator[list[Postgres | Redis]]:
    """PostgreSQL and Redis, unless the environment names servers; their addresses are added to `env`."""
    with contextlib.ExitStack() as started:
        running: list[Postgres | Redis] = []
        sockets = started.enter_context(socket_folder())
        _remove_sockets_of_a_killed_launcher(data / "sockets", sockets)
        if not env.get("DATABASE_URL"):
            postgres = Postgres(data / "postgresql", sockets=sockets, log=logs / "postgresql.log")
            running.append(started.enter_context(postgres))
            env["DATABASE_URL"] = postgres.url
        if not env.get("REDIS_URL"):
            redis = Redis(sockets=sockets, log=logs / "redis.log")
            running.append(started.enter_context(redis))
            env["REDIS_URL"] = redis.url
        yield running


def _remove_sockets_of_a_killed_launcher(note: Path, now: Path) -> None:
    """The folder of the last start is gone, unless that was killed. Remember this one for the next."""
    last = Path(note.read_text()) if note.exists() else now
    if last != now and last.parent == now.parent and last.name.startswith("redress-"):
        shutil.rmtree(last, ignore_errors=True)
    note.write_text(str(now))


def manage(*arguments: str, env: dict[str, str], log: Path) -> None:
    """Run a management command, its output in the log."""
    process = spawn(
        [sys.executable, BASE_DIR / "manage.py", *arguments],
        log=log, env=env, cwd=BASE_DIR, if_we_die=signal.SIGKILL,
    )  # fmt: skip
    try:
        failed = process.wait()
    finally:
        end({process: signal.SIGTERM}, 1)
    if failed:
        say(last_lines(log, 8))
        raise StackError(f"`manage.py {arguments[0]}` failed: the lines above say why, and {log} has the rest.")


def prepare(env: dict[str, str], logs: Path) -> None:
    """Bring the database and the static files up to date."""
    manage("migrate", "--no-input", env=env, log=logs / "setup.log")
    data = Path(env["DATA_DIR"])
    stamp, now = data / "static.stamp", _static_fingerprint()
    if not stamp.exists() or stamp.read_text() != now:
        stamp.unlink(missing_ok=True)
        manage("collectstatic", "--no-input", "--clear", "-v", "0", env=env, log=logs / "setup.log")
        stamp.write_text(now)


def _static_fingerprint() -> str:
    """Changes with our static files and with the packages that bring their own."""
    digest = hashlib.sha256(sys.version.encode())
    for folder in (BASE_DIR / "static", *BASE_DIR.glob("*/static")):
        for path in sorted(folder.rglob("*")):
            about = path.stat()
            digest.update(f"{path.relative_to(BASE_DIR)} {about.st_size} {about.st_mtime_ns}\n".encode())
    for name in ("constraints.txt", "pyproject.toml", "config/settings.py"):
        with contextlib.suppress(FileNotFoundError):
            digest.update((BASE_DIR / name).read_bytes())
    return digest.hexdigest()


# The processes


@dataclass
class Child:
    """One of our processes, started again when it ends by itself."""

    name: str
    command: list[str]
    stop_signal: signal.Signals
    log: Path
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    failures: int = 0
    next_start: float = 0.0

    def start(self, env: dict[str, str]) -> None:
        # SIGKILL when the launcher is killed: a worker asked kindly would first finish hours of training.
        self.process = spawn(self.command, log=self.log, env=env, cwd=BASE_DIR, if_we_die=signal.SIGKILL)
        self.started = time.monotonic()


def web_command(host: str, port: int) -> list[str]:
    """gunicorn with a process a core, from two to four: most of a request is spent in Python."""
    workers = int(os.environ.get("WEB_CONCURRENCY") or max(2, min(4, os.cpu_count() or 1)))
    address = f"[{host}]" if ":" in host else host
    command = [sys.executable, "-m", "gunicorn", "config.wsgi:application", "--bind", f"{address}:{port}"]
    command += ["--worker-class", "gthread", "--workers", str(workers), "--threads", "8", "--preload"]
    command += ["--timeout", "120", "--graceful-timeout", "2", "--keep-alive", "30", "--no-control-socket"]
    if Path("/dev/shm").is_dir():  # noqa: S108  (gunicorn's heartbeat must not wait for a disk)
        command += ["--worker-tmp-dir", "/dev/shm"]  # noqa: S108
    return command


def worker_command(queue: str, *options: str) -> list[str]:
    command = [sys.executable, "-m", "celery", "-A", "config", "worker", "-Q", queue, "-n", f"{queue}@%h"]
    return [*command, "-l", "INFO", "--without-gossip", "--without-mingle", *options]


def children(data: Path, host: str, port: int, logs: Path) -> list[Child]:
    beat = ["-B", "-s", str(data / "celerybeat-schedule")]
    # A process of its own for each long job gives all memory back, a GPU's too. nice keeps the pages quick.
    gpu = ["nice", "-n", "10", *worker_command("gpu", "-c", "1", "--max-tasks-per-child", "1")]
    return [
        Child("web server", web_command(host, port), signal.SIGTERM, logs / "web.log"),
        Child("worker", worker_command("default", "-c", "2", *beat), signal.SIGQUIT, logs / "worker-default.log"),
        Child("GPU worker", gpu, signal.SIGQUIT, logs / "worker-gpu.log"),
    ]


def end_children(processes: list[Child]) -> None:
    """The web server finishes its requests. Workers stop at once: jobs go on from their last checkpoint."""
    end({child.process: child.stop_signal for child in processes if child.process is not None}, 3)
    for child in processes:
        child.process = None


def answers(host: str, port: int) -> bool:
    """Whether the web server answers, be it with a redirect to HTTPS."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    connection = http.client.HTTPConnection(host, port, timeout=3)
    try:
        connection.request("GET", "/health/", headers={"Host": "localhost"})
        return connection.getresponse().status < 500
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def wait_for_web(web: Child, host: str, port: int) -> None:
    until = time.monotonic() + START_SECONDS
    while not answers(host, port):
        if web.process is None or web.process.poll() is not None:
            say(last_lines(web.log, 12))
            raise StackError(f"The web server did not start: the lines above say why, and {web.log} has the rest.")
        if time.monotonic() > until:
            raise StackError(f"The web server does not answer after {START_SECONDS} seconds: see {web.log}.")
        time.sleep(0.1)


def watch(processes: list[Child], running: list[Postgres | Redis], env: dict[str, str]) -> NoReturn:
    """Start again what ends by itself, until somebody stops us.

    A GPU worker that ran out of memory must not stop the annotators, so one dead process does not end the
    rest; only one that dies again and again does, as does a database that is gone.
    """
    while True:
        for service in running:
            if service.process is None or service.process.poll() is not None:
                say(last_lines(service.log, 12))
                raise StackError(
                    f"{type(service).__name__} ended by itself: the lines above say why, and {service.log} "
                    "has the rest; start Redress again when that is put right."
                )
        for child in processes:
            if child.process is not None and child.process.poll() is not None:
                lived = time.monotonic() - child.started
                child.failures = child.failures + 1 if lived < 60 else 1
                say(f"\nThe {child.name} ended by itself ({_how(child.process.returncode)}). Its last lines:")
                say("\n".join("    " + line for line in last_lines(child.log, 6).splitlines()))
                end({child.process: signal.SIGKILL}, 1)  # what it started
                child.process = None
                if child.failures >= 5:
                    raise StackError(f"The {child.name} ended five times in a row: see {child.log}.")
                child.next_start = time.monotonic() + 2 ** (child.failures - 1)
                say(f"It is started again in {2 ** (child.failures - 1)} s; {child.log} has the rest.")
            elif child.process is None and time.monotonic() >= child.next_start:
                child.start(env)
        time.sleep(0.5)


def _how(returncode: int) -> str:
    return f"exit status {returncode}" if returncode >= 0 else signal.Signals(-returncode).name


# The demo


def wanted_demo(answer_file: Path, own_database: bool) -> bool:
    """Whether to load the demo now. Asked once; the answer is remembered."""
    given = os.environ.get("DEMO", "").strip().lower()
    if given not in {"", "yes", "no"}:
        raise StackError(f"DEMO must be yes or no, not {given!r}.")
    if given:
        wanted = given == "yes"
    elif answer_file.exists():
        return False
    elif sys.stdin is not None and sys.stdin.isatty():
        try:
            wanted = input("Load the demo project? [Y/n] ").strip().lower() not in {"n", "no"}
        except EOFError:
            return False
    else:
        wanted = own_database  # nobody to ask: never into somebody else's database
    if not wanted:
        answer_file.write_text("no\n")
    return wanted


def load_demo(env: dict[str, str], answer_file: Path, logs: Path) -> None:
    say("Loading the demo project ...")
    manage("seed_demo", env=env, log=logs / "setup.log")
    answer_file.write_text("yes\n")


# Commands


def run(data: Path, host: str, port: int) -> None:
    started = time.monotonic()
    with locked(data):
        check_port(host, port)
        check_disk(data)
        end_stragglers(data)
        env = environment(data, host)
        (data / "running.json").unlink(missing_ok=True)
        logs, answer_file = data / "log", data / "demo"
        _turn_logs_over(logs)
        processes: list[Child] = []
        try:
            say("Starting PostgreSQL and Redis ..." if not env.get("DATABASE_URL") else "Starting ...")
            own_database = not env.get("DATABASE_URL")
            with services(data, env, logs) as running:
                prepare(env, logs)
                env["DEMO_PASSWORD"] = kept_secret(data / "demo_password", 9)
                if wanted_demo(answer_file, own_database):
                    load_demo(env, answer_file, logs)
                _publish(data, env)
                processes += children(data, host, port, logs)
                for child in processes:
                    child.start(env)
                wait_for_web(processes[0], host, port)
                greet(host, port, data, env, time.monotonic() - started)
                try:
                    watch(processes, running, env)
                finally:
                    _stop_listening_to_signals()
                    say("\nStopping ...")
                    end_children(processes)
        finally:
            _stop_listening_to_signals()
            end_children(processes)
            end_stragglers(data)
            (data / "running.json").unlink(missing_ok=True)


def greet(host: str, port: int, data: Path, env: dict[str, str], seconds: float) -> None:
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, host)  # noqa: S104
    say(f"\nRedress is ready at http://{shown}:{port}/ (started in {seconds:.1f} s)\n")
    if (data / "demo").exists() and (data / "demo").read_text().strip() == "yes":
        say(f"    demo accounts   {', '.join(ROLES)}")
        say("    administrator   admin")
        say(f"    password        {env['DEMO_PASSWORD']}  (of all five)\n")
    else:
        say("    Make an administrator: make manage ARGS=createsuperuser\n")
    if host not in LOOPBACK:
        say("    Everybody who can reach this machine can reach this server, and what they send can be read")
        say("    on the way. For more than a trial put it behind HTTPS (docs/operations.md).\n")
    say(f"Data and logs are in {data}. Ctrl-C stops everything.")


def _publish(data: Path, env: dict[str, str]) -> None:
    """Where `manage` finds the running services."""
    file = data / "running.json"
    file.unlink(missing_ok=True)
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
        json.dump({name: env[name] for name in ("DATABASE_URL", "REDIS_URL")}, out)


def _turn_logs_over(logs: Path) -> None:
    for log in logs.glob("*.log"):
        if log.stat().st_size > 10 * 2**20:
            log.rename(log.with_suffix(".log.1"))


def run_manage(data: Path, arguments: list[str]) -> int:
    """`manage.py` in the foreground, on the running services or on ones that live as long as it does."""
    command = [sys.executable, str(BASE_DIR / "manage.py"), *arguments]
    signal.signal(signal.SIGINT, lambda *_: None)  # Ctrl-C is for the command
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(locked(data))
        except StackError:
            if not (data / "running.json").exists():
                raise
            env = environment(data, "127.0.0.1") | json.loads((data / "running.json").read_text())
        else:
            end_stragglers(data)
            env = environment(data, "127.0.0.1")
            held.enter_context(services(data, env, data / "log"))
        env.pop(MARK)  # started by hand, ended by hand
        return subprocess.run(command, env=env, check=False).returncode


@dataclass
class Web:
    port: int
    pid: int
    worker_pid: int | None = None


@contextlib.contextmanager
def web_only(data: Path, *, worker: bool = False) -> Iterator[Web]:
    """For measurements: the services and the web server as `run` starts them, on a free port, without workers unless
    the default one is asked for.

    Sets the environment of this process too, so that Django can be set up in it.
    """
    data = data.resolve()
    logs, port = data / "log", free_port()
    env = environment(data, "127.0.0.1")
    with services(data, env, logs):
        prepare(env, logs)
        started = children(data, "127.0.0.1", port, logs)[: 2 if worker else 1]
        os.environ.update({name: value for name, value in env.items() if name != MARK})
        try:
            for child in started:
                child.start(env)
            wait_for_web(started[0], "127.0.0.1", port)
            pids = [child.process.pid for child in started if child.process is not None]
            yield Web(port, *pids)
        finally:
            end_children(started)


def _stop(number: int, frame: Any) -> NoReturn:
    _stop_listening_to_signals()  # a second Ctrl-C must not interrupt the ending
    raise Stopped


def _listen_to_signals() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # as `nohup make run` asks
            signal.signal(number, _stop)


def _stop_listening_to_signals() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


def _whole_port(value: str) -> int:
    if not value.isdigit() or not 0 < int(value) < 65536:
        raise StackError(f"PORT must be a whole number from 1 to 65535, not {value!r}.")
    return int(value)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("run")
    commands.add_parser("manage").add_argument("arguments", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    data = Path(os.environ.get("DATA_DIR") or BASE_DIR / "var").resolve()
    try:
        if platform.system() != "Linux":
            raise StackError("Redress starts its own services on Linux only: elsewhere use docker/ (compose.yml).")
        if options.command == "manage":
            return run_manage(data, options.arguments)
        _listen_to_signals()
        run(data, os.environ.get("HOST") or "127.0.0.1", _whole_port(os.environ.get("PORT") or "8000"))
    except Stopped:
        say("Stopped. Everything is kept.")
    except ServiceError as error:
        with contextlib.suppress(OSError):
            print(f"\n{error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
