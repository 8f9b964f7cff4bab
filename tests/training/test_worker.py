"""Runs on real worker processes: they survive a killed worker, and stop when they are cancelled."""

import time

import pytest
from celery import current_app

from annotation.jobs import JobStatus
from config.processes import wait_until
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
    assert time.monotonic() - asked < 10  # generous: a step takes a fraction of a second here
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
