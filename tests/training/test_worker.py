"""Runs on real worker processes: they survive a killed worker, and stop when they are cancelled."""

import json
import os
import subprocess
import sys
import time

import psutil
import pytest
from celery import current_app
from django.conf import settings

from annotation.jobs import ACTIVE, JobStatus
from config.processes import alive, wait_until
from tests.training.factories import RecipeFactory, make_dataset, make_run
from training.models import Run
from training.parameters import PRESETS

QUICK_LEASE = {"JOB_LEASE_SECONDS": "4", "REQUEUE_SECONDS": "1"}


def long_recipe(project, steps):
    values = PRESETS["cpu-demo"].parameters.to_json()
    values |= {"max_steps": steps, "eval_steps": 1000, "save_steps": 5, "lora_rank": 4}
    return RecipeFactory(project=project, parameters=values)


def state(run):
    run.refresh_from_db()
    return run.status, run.done


def reached(run, step):
    def check():
        status, done = state(run)
        assert status in (JobStatus.QUEUED, JobStatus.RUNNING), f"{status}: {run.error}\n{run.log_tail()}"
        return done >= step

    return check


@pytest.mark.slow
def test_a_run_whose_worker_is_killed_goes_on_from_its_checkpoint_on_another_once(worker):
    dataset = make_dataset()
    first = worker("gpu", env=QUICK_LEASE)
    run = make_run(dataset=dataset, recipe=long_recipe(dataset.project, 40))
    assert wait_until(reached(run, 7), 90), run.log_tail()
    first.kill()
    run.refresh_from_db()
    killed_at = run.done
    assert run.status == JobStatus.RUNNING and killed_at < 40
    worker("default", beat=True, env=QUICK_LEASE)
    worker("gpu", env=QUICK_LEASE)
    assert wait_until(lambda: state(run)[0] == JobStatus.FINISHED, 120), (state(run), run.error, run.log_tail())
    assert (run.done, run.attempt) == (40, 2)
    assert "Going on from the checkpoint at step" in run.log_tail()
    steps = list(run.metrics.filter(kind="train").order_by("step").values_list("step", flat=True))
    assert steps == list(range(1, 41))


@pytest.mark.slow
def test_a_cancelled_run_says_so_within_seconds_and_the_worker_takes_the_next(worker):
    dataset = make_dataset()
    recipe = long_recipe(dataset.project, 100_000)
    worker("gpu")
    run = make_run(dataset=dataset, recipe=recipe)
    assert wait_until(reached(run, 2), 90), run.log_tail()
    asked = time.monotonic()
    run.request_cancel()
    assert wait_until(lambda: state(run)[0] == JobStatus.CANCELLED, 30)
    assert time.monotonic() - asked < 5
    following = make_run(dataset=dataset, recipe=long_recipe(dataset.project, 2))
    assert wait_until(lambda: state(following)[0] == JobStatus.FINISHED, 90), following.log_tail()


@pytest.mark.slow
def test_a_run_whose_message_was_lost_is_queued_again(worker):
    dataset = make_dataset()
    run = make_run(dataset=dataset, recipe=long_recipe(dataset.project, 2))
    with current_app.connection_for_write() as broker:
        broker.default_channel.client.delete("gpu")  # as when Redis was restarted
    Run.objects.filter(pk=run.pk).update(created_at="2020-01-01T00:00Z")
    worker("default", beat=True, env=QUICK_LEASE)
    worker("gpu")
    assert wait_until(lambda: state(run)[0] == JobStatus.FINISHED, 90), (state(run), run.log_tail())


def engines(run):
    """The processes that train this run, launchers among them."""
    mark = str(run.folder)
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        words = process.info["cmdline"] or []
        if "training.engine" in words and any(word.startswith(mark) for word in words):
            found.append(process)
    return alive(found)


def two_processes(dataset, steps, **changes):
    recipe = long_recipe(dataset.project, steps)
    recipe.parameters |= {"processes": 2, "batch_size": 2} | changes
    recipe.save()
    return recipe


@pytest.mark.slow
def test_two_processes_train_one_run_which_tells_everything_once(worker):
    dataset = make_dataset(8)
    worker("gpu")
    run = make_run(dataset=dataset, recipe=two_processes(dataset, 6, eval_steps=3))
    assert wait_until(lambda: state(run)[0] not in ACTIVE, 180), run.log_tail()
    assert (run.status, run.error, run.done) == (JobStatus.FINISHED, "", 6), run.log_tail()
    assert run.figures["processes"] == 2
    assert run.log_tail().count("weights are trained.") == 1
    assert list(run.metrics.filter(kind="train").values_list("step", flat=True)) == [1, 2, 3, 4, 5, 6]
    assert list(run.metrics.filter(kind="eval").values_list("step", flat=True)) == [3, 6]
    assert (run.adapter / "adapter_model.safetensors").stat().st_size > 0
    assert not engines(run)


@pytest.mark.slow
def test_cancelling_ends_all_processes_of_a_run_and_a_killed_one_is_named(worker):
    dataset = make_dataset(8)
    worker("gpu")
    run = make_run(dataset=dataset, recipe=two_processes(dataset, 100_000))
    assert wait_until(reached(run, 2), 180), run.log_tail()
    assert len(engines(run)) == 3, "torchrun and its two"
    asked = time.monotonic()
    run.request_cancel()
    assert wait_until(lambda: state(run)[0] == JobStatus.CANCELLED, 30)
    assert time.monotonic() - asked < 5
    assert not engines(run)

    run = make_run(dataset=dataset, recipe=two_processes(dataset, 100_000, save_steps=1000))
    assert wait_until(reached(run, 2), 180), run.log_tail()
    second = next(one for one in engines(run) if one.environ().get("RANK") == "1")
    second.kill()
    assert wait_until(lambda: state(run)[0] == JobStatus.FAILED, 60), run.log_tail()
    assert "Process 2 of 2 of the training was killed" in run.error
    assert "Try batch size 1 with gradient accumulation 2, or maximum length 128" in run.error
    assert not engines(run)


@pytest.mark.long
def test_a_worker_killed_at_random_moments_leaves_no_trace_in_what_was_trained():
    """The short version of `make chaos`, with Redis and PostgreSQL killed under a run, too."""
    command = [sys.executable, "-m", "benchmarks.chaos", "--kills", "1", "--steps", "20", "--pairs", "20", "--restarts"]
    done = subprocess.run(command, cwd=settings.BASE_DIR, capture_output=True, text=True, env=without_services())
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    report = json.loads(done.stdout)
    assert report["most_trainings_at_once"] == 1
    assert report["killed"]["attempts"] == 2 and report["restarts"]["attempts"] == 1


def without_services():
    """An environment from which a stack of its own is started."""
    own = ("DATABASE_URL", "REDIS_URL", "DATA_DIR", "JOB_LEASE_SECONDS", "REQUEUE_SECONDS")
    return {name: value for name, value in os.environ.items() if name not in own}
