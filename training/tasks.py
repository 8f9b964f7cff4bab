"""Celery tasks: take an id, call a plain function."""

from celery import shared_task

from annotation import jobs
from training import runner
from training.models import Run


@shared_task(name="training.execute_run")
def execute_run(pk: int) -> None:
    jobs.execute(Run.objects, pk, runner.execute)


jobs.TASKS[Run] = execute_run
