"""A worker is killed again and again in the middle of a run: does the run still end as if nothing had happened?

    make chaos

Starts PostgreSQL, Redis and real workers in a folder of its own. One run trains undisturbed. A second one, of the
same recipe, dataset and seed, has its worker killed (SIGKILL) at random moments, in loading, training, validating or
storing; another worker takes over each time. With --restarts, a third one has Redis and PostgreSQL killed and started
again under it. Then the finished runs are compared: steps, order of the data, every point of the curves, the trained
weights. All the while somebody counts the trainings that go on: never two of one run. Prints one JSON object; ends with
1 where the runs differ.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from benchmarks.annotation import texts
from config import stack
from config.processes import end, spawn, wait_until

SETTINGS = {"JOB_LEASE_SECONDS": "6", "REQUEUE_SECONDS": "1", "HF_HUB_OFFLINE": "1", "BASE_MODEL": "/no/such/model"}
IN_LOADING = 0.15  # share of the kills that come before the first step of an attempt


class Workers:
    """One worker for the queue gpu at a time, and one with beat for the other queue."""

    def __init__(self, env: dict[str, str], data: Path, logs: Path) -> None:
        self.env, self.logs, self.count = dict(env), logs, 0
        beat = stack.worker_command("default", "-c", "1", "-B", "-s", str(data / "beat"))
        self.default = spawn(beat, log=logs / "default.log", env=env, cwd=stack.BASE_DIR, if_we_die=signal.SIGKILL)
        self.gpu: subprocess.Popen[bytes]
        self.start()

    def start(self) -> None:
        self.count += 1
        command = stack.worker_command("gpu", "-c", "1", "--max-tasks-per-child", "1")
        command[command.index("gpu@%h")] = f"gpu{self.count}@%h"
        log = self.logs / f"gpu-{self.count}.log"
        self.gpu = spawn(command, log=log, env=self.env, cwd=stack.BASE_DIR, if_we_die=signal.SIGKILL)

    def kill(self) -> None:
        """The worker alone: what it started must find out by itself."""
        self.gpu.kill()
        self.gpu.wait()
        self.start()

    def stop(self) -> None:
        end({self.gpu: signal.SIGQUIT, self.default: signal.SIGQUIT}, 3)


class Witness:
    """Counts the trainings that go on at the same time."""

    def __init__(self, data: Path) -> None:
        self.mark = str(data.resolve() / "artifacts" / "runs")
        self.most, self.looks, self.both = 0, 0, ""
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "Witness":
        self.thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.ended.set()
        self.thread.join()

    def _watch(self) -> None:
        while not self.ended.wait(0.2):
            attempts = set()
            for process in psutil.process_iter(["cmdline", "status"]):
                words = process.info["cmdline"] or []
                if "training.engine" in words and process.info["status"] != psutil.STATUS_ZOMBIE:
                    attempts |= {word for word in words if word.startswith(self.mark)}
            self.looks += 1
            if len(attempts) > self.most:
                self.most, self.both = len(attempts), ", ".join(sorted(attempts))


def make_dataset(pairs: int):
    from django.contrib.auth import get_user_model
    from django.utils import timezone

    from annotation import projects
    from annotation.models import Item, Pair, PairStatus
    from training import datasets

    lead = get_user_model().objects.create_superuser("chaos-lead", password=None)
    project = projects.create(user=lead, name="Chaos", overlap=1)
    for number, line in enumerate(list(texts(pairs))[1:]):
        text = line.split(",", 1)[1].strip()
        item = Item.objects.create(project=project, external_id=f"chaos-{number}", text=text, overlap=1)
        Pair.objects.create(
            project=project, item=item, rewrite=f"Kinder words about {text[:60]}", status=PairStatus.APPROVED,
            labels={"bias": "high", "toxicity": "mild", "harm": "medium", "sentiment": "negative"},
            settled_by=lead, settled_at=timezone.now(),
        )  # fmt: skip
    return datasets.freeze(
        project=project, name="Chaos", shares={"train": 0.8, "validation": 0.1, "test": 0.1}, user=lead
    )


def start(dataset, steps: int, name: str, processes: int):
    from training import runs
    from training.models import Recipe
    from training.parameters import PRESETS

    values = PRESETS["cpu-demo"].parameters.to_json() | {
        "max_steps": steps, "epochs": 1000.0, "eval_steps": 50, "save_steps": 5, "processes": processes,
    }  # fmt: skip
    recipe = Recipe.objects.create(project=dataset.project, name=name, parameters=values, created_by=dataset.created_by)
    return runs.start(dataset=dataset, recipe=recipe, user=dataset.created_by, seed=7)


def follow(run, until: Callable[[], bool], seconds: float = 1800) -> None:
    """Wait; end everything with the run's own words where it fails."""
    from annotation.jobs import JobStatus

    def reached() -> bool:
        refresh(run)
        if run.status in (JobStatus.FAILED, JobStatus.CANCELLED):
            raise SystemExit(f"{run.recipe.name}: {run.status}. {run.error}\n{run.log_tail()}")
        return until()

    if not wait_until(reached, seconds, 0.1):
        raise SystemExit(f"{run.recipe.name} hangs: {run.status}, step {run.done}.\n{run.log_tail()}")


def refresh(run) -> None:
    """Read the row again, however long the database is away."""
    from django.db import InterfaceError, OperationalError, connection

    while True:
        try:
            return run.refresh_from_db()
        except (OperationalError, InterfaceError):
            connection.close()
            time.sleep(0.2)


def is_over(run) -> Callable[[], bool]:
    from annotation.jobs import JobStatus

    return lambda: run.status == JobStatus.FINISHED


def kill_at_random(run, workers: Workers, kills: int, steps: int, chance: random.Random) -> list[dict[str, Any]]:
    """Kill the run's worker so many times. Returns when each kill came."""
    from annotation.jobs import JobStatus

    told = []
    for number in range(kills):
        attempts = run.attempt
        # Somewhere up to 8 checkpoints on, but never so far that the run ends before the last kill.
        most = max(1, min(40, (steps - 5 - run.done) // (kills - number)))
        in_loading, further, moment = chance.random() < IN_LOADING, chance.randint(1, most), chance.random()
        follow(run, lambda attempts=attempts: run.status == JobStatus.RUNNING and run.attempt > attempts)  # type: ignore[misc]
        claimed, first = time.monotonic(), run.done
        if in_loading:
            time.sleep(moment * 10)
        else:
            follow(run, lambda first=first, further=further: run.done >= min(first + further, steps - 3))  # type: ignore[misc]
            time.sleep(moment / 2)
        workers.kill()
        refresh(run)
        told.append({"attempt": run.attempt, "step": run.done, "seconds": round(time.monotonic() - claimed, 1)})
        print(f"kill {number + 1}: {told[-1]}", file=sys.stderr, flush=True)
    return told


def restart(services: list[Any]) -> None:
    """Kill each server as a machine does that loses its power, and start it again some seconds later."""
    for service in reversed(services):
        assert service.process is not None
        end({service.process: signal.SIGKILL}, 5)
        time.sleep(2)
        service.start()


def compared(straight, other) -> dict[str, Any]:
    """In which the runs are equal."""
    import numpy as np
    from safetensors.numpy import load_file

    figures = {}
    for name in ("steps", "data_order", "tokens", "validation_loss", "train_loss"):
        figures[name] = [straight.figures[name], other.figures[name]]
    points = [
        {(kind, step): loss for kind, step, loss in run.metrics.values_list("kind", "step", "loss")}
        for run in (straight, other)
    ]
    expected, found = (load_file(run.adapter / "adapter_model.safetensors") for run in (straight, other))
    losses = [abs(points[0][key] - points[1][key]) for key in points[0] if key in points[1]]
    return {
        "attempts": other.attempt,
        "figures": figures,
        "figures_equal": all(one == two for one, two in figures.values()),
        "points": [len(one) for one in points],
        "train_points_once_each": other.metrics.filter(kind="train").count() == other.total,
        "points_equal": points[0] == points[1],
        "largest_difference_of_losses": max(losses),
        "weights_equal_to_the_bit": all(np.array_equal(expected[name], found[name]) for name in expected),
        "largest_difference_of_weights": max(float(np.abs(expected[name] - found[name]).max()) for name in expected),
    }


def measure(options: argparse.Namespace, data: Path) -> dict[str, Any]:
    logs = data / "log"
    for name in ("log", "media", "artifacts", "static"):
        (data / name).mkdir(parents=True, exist_ok=True)
    env = stack.environment(data, "127.0.0.1") | SETTINGS
    env.pop(stack.MARK)
    with stack.services(data, env, logs) as services:
        stack.manage("migrate", "--no-input", env=env, log=logs / "setup.log")
        os.environ.update(env)
        import django

        django.setup()
        dataset = make_dataset(options.pairs)
        workers = Workers(env, data, logs)
        began = time.monotonic()
        try:
            with Witness(data) as witness:
                straight = start(dataset, options.steps, "undisturbed", options.processes)
                follow(straight, is_over(straight))
                undisturbed = time.monotonic() - began
                killed = start(dataset, options.steps, "killed", options.processes)
                refresh(killed)
                chance = random.Random(options.seed)
                kills = kill_at_random(killed, workers, options.kills, options.steps, chance)
                follow(killed, is_over(killed))
                results = {"killed": compared(straight, killed) | {"kills": kills}}
                if options.restarts:
                    workers.env["JOB_LEASE_SECONDS"] = "60"  # as by default: longer than a server needs to start
                    workers.kill()
                    cut = start(dataset, options.steps, "restarts", options.processes)
                    refresh(cut)
                    follow(cut, lambda: cut.done >= options.steps // 5)
                    restart(services)
                    follow(cut, is_over(cut))
                    results["restarts"] = compared(straight, cut)
        finally:
            workers.stop()
    good = all(
        one["figures_equal"]
        and one["points_equal"]
        and one["train_points_once_each"]
        and one["weights_equal_to_the_bit"]
        for one in results.values()
    )
    return {
        "kills": options.kills,
        "steps": options.steps,
        "processes": options.processes,
        "seed": options.seed,
        "undisturbed_seconds": round(undisturbed, 1),
        "seconds": round(time.monotonic() - began, 1),
        "most_trainings_at_once": witness.most,
        "looks": witness.looks,
        **results,
        "ok": good and witness.most == 1,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--pairs", type=int, default=60)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--restarts", action="store_true", help="also kill and start Redis and PostgreSQL under a run")
    parser.add_argument("--data", type=Path, help="keep everything in this folder")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="redress-chaos-", dir="/tmp") as folder:
        Path(folder).chmod(0o711)  # PostgreSQL's own account passes through when we are root
        report = measure(options, options.data or Path(folder) / "data")
    print(json.dumps(report, indent=2))
    return 0 if report["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
