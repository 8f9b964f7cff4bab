"""What docker/ starts: its files fit together, and every command of ours in it runs and is found healthy."""

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from django.db import connection

from config.processes import alive, end, last_lines, spawn, tree, wait_until
from config.stack import free_port
from tests.conftest import database_url

REPOSITORY = Path(__file__).resolve().parents[2]
COMPOSE = yaml.safe_load((REPOSITORY / "docker" / "compose.yml").read_text())
SERVICES = COMPOSE["services"]
DOCKERFILE = (REPOSITORY / "docker" / "Dockerfile").read_text()
OURS = {name for name, service in SERVICES.items() if "build" in service}
VARIABLES = {"DOMAIN": "redress.example.org", "POSTGRES_PASSWORD": "secret", "SECRET_KEY": "x" * 50}


def filled_in(value, variables=VARIABLES):
    """A value of the compose file with its variables replaced, as Compose does."""
    return re.sub(
        r"\$\{(\w+)(?::([-?])([^}]*))?\}",
        lambda found: variables.get(found[1]) or (found[3] if found[2] == "-" else ""),
        str(value),
    )


@pytest.fixture
def container(transactional_db, tmp_path):
    """Run a service's command with the service's environment, on the services of this test run."""
    running = []

    def start(name, *more):
        service = SERVICES[name]
        env = {key: filled_in(value) for key, value in service["environment"].items()}
        env |= {
            "SECRET_KEY": VARIABLES["SECRET_KEY"],
            "DATABASE_URL": database_url(),
            "REDIS_URL": os.environ["REDIS_URL"],
            "DATA_DIR": os.environ["DATA_DIR"],
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PORT": str(free_port()),
            "REQUEUE_SECONDS": "2",
        }
        command = [word.replace("/tmp/", f"{tmp_path}/") for word in service["command"]]
        program = shutil.which(command[0], path=env["PATH"])
        assert program, f"{command[0]} of {name} is not installed"
        extra = [word.format(port=env["PORT"]) for word in more]
        log = tmp_path / f"{name}.log"
        process = spawn([program, *command[1:], *extra], log=log, env=env, cwd=REPOSITORY)
        running.append(process)
        return process, env, log

    yield start
    end(dict.fromkeys(running, signal.SIGKILL), 5)


def test_every_service_that_the_product_needs_is_there():
    assert set(SERVICES) == {
        "proxy", "migrate", "web", "worker", "beat", "gpu-worker", "database", "redis"
    }  # fmt: skip
    assert {"migrate", "web", "worker", "beat", "gpu-worker"} == OURS
    queues = {
        name: service["command"][service["command"].index("-Q") + 1]
        for name, service in SERVICES.items()
        if "-Q" in service.get("command", [])
    }
    assert queues == {"worker": "default", "gpu-worker": "gpu"}


def test_what_has_to_last_is_in_named_volumes():
    for service in SERVICES.values():
        for volume in service.get("volumes", []):
            assert volume.split(":")[0] in COMPOSE["volumes"]
    assert "database:/var/lib/postgresql" in SERVICES["database"]["volumes"]
    assert "--appendonly" in SERVICES["redis"]["command"]
    for name in OURS:
        assert {"media:/data/media", "artifacts:/data/artifacts"} <= set(SERVICES[name]["volumes"])


def test_only_the_proxy_can_be_reached_from_outside_and_ours_have_no_rights():
    assert [name for name, service in SERVICES.items() if "ports" in service] == ["proxy"]
    for name in OURS:
        assert SERVICES[name]["cap_drop"] == ["ALL"]
    for stage in ("web", "gpu"):
        text = re.search(rf"^FROM \S+ AS {stage}$(.*?)(?=^FROM |\Z)", DOCKERFILE, re.M | re.S)[1]
        assert text.index("COPY . .") < text.index("USER redress")


def test_the_gpu_worker_reserves_a_gpu_and_only_it_has_torch():
    devices = SERVICES["gpu-worker"]["deploy"]["resources"]["reservations"]["devices"]
    assert devices == [{"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}]
    assert {SERVICES[name]["build"]["target"] for name in OURS - {"gpu-worker"}} == {"web"}
    assert SERVICES["gpu-worker"]["build"]["target"] == "gpu"
    assert re.search(r'AS gpu-packages\nRUN .*"\.\[train\]"', DOCKERFILE)
    assert "[train]" not in DOCKERFILE.split("AS gpu-packages")[0]


def test_files_that_the_image_copies_and_names_exist_and_are_not_left_out():
    left_out = (REPOSITORY / ".dockerignore").read_text().split()
    for sources in re.findall(r"^COPY ((?!--from).*) \S+$", DOCKERFILE, re.M):
        for source in sources.split():
            assert (REPOSITORY / source).exists()
            assert source not in left_out
    for path in re.findall(r"docker/[\w.]+\.py", DOCKERFILE + (REPOSITORY / "docker" / "compose.yml").read_text()):
        assert (REPOSITORY / path).exists()
    assert {".venv", "var", ".git", "docker/.env"} <= set(left_out)


def test_every_variable_is_explained_in_the_example_and_secrets_have_no_default():
    example = (REPOSITORY / "docker" / "env.example").read_text()
    used = set(re.findall(r"\$\{(\w+)", (REPOSITORY / "docker" / "compose.yml").read_text())) - {"VERSION"}
    assert used <= set(re.findall(r"^#?(\w+)=", example, re.M))
    assert re.search(r"^SECRET_KEY=$", example, re.M)
    assert re.search(r"^POSTGRES_PASSWORD=$", example, re.M)


@pytest.mark.slow
def test_the_web_server_runs_and_is_found_healthy_only_while_it_is(container):
    process, env, log = container("web", "--bind", "127.0.0.1:{port}")
    check = SERVICES["web"]["healthcheck"]["test"]
    assert check[0] == "CMD"

    def healthy():
        assert process.poll() is None, last_lines(log, 20)
        return subprocess.run(check[1:], env=env, cwd=REPOSITORY, check=False, capture_output=True).returncode == 0

    assert wait_until(healthy, 60, pause=0.5), last_lines(log, 20)
    everyone = tree(process.pid)
    process.terminate()
    assert process.wait(20) == 0
    assert alive(everyone) == []
    assert subprocess.run(check[1:], env=env, cwd=REPOSITORY, check=False, capture_output=True).returncode == 1


@pytest.mark.slow
def test_the_workers_run_are_found_healthy_and_stop_at_once(container):
    started = [container(name) for name in ("worker", "gpu-worker")]
    for process, _, log in started:
        assert wait_until(lambda log=log: " ready." in log.read_text(), 60), last_lines(log, 20)
        assert process.poll() is None
    check = SERVICES["worker"]["healthcheck"]["test"]
    env = started[0][1]
    told = subprocess.run(check[1:], env=env, cwd=REPOSITORY, check=False, capture_output=True, text=True)
    assert told.returncode == 0, told.stderr
    assert "default@" in told.stdout
    assert "gpu@" in told.stdout
    for name, (process, _, _) in zip(("worker", "gpu-worker"), started, strict=True):
        everyone = tree(process.pid)
        process.send_signal(signal.Signals[SERVICES[name]["stop_signal"]])
        process.wait(15)
        assert wait_until(lambda everyone=everyone: alive(everyone) == [], 5)


@pytest.mark.slow
def test_the_clock_ticks(container):
    process, _, log = container("beat")
    assert wait_until(lambda: "Sending due task requeue-silent-jobs" in log.read_text(), 60), last_lines(log, 20)
    assert process.poll() is None


def test_the_database_is_brought_up_to_date(container):
    process, _, log = container("migrate")
    assert process.wait(60) == 0, last_lines(log, 20)
    assert "No migrations to apply." in log.read_text()
    assert connection.settings_dict["NAME"] in database_url()
