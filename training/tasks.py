"""Celery tasks: take an id, call a plain function."""

from celery import shared_task

from annotation import jobs, suggestions
from annotation.models import SuggestionJob
from training import artifacts, datasets, preferences, publishing, runner
from training.models import Freezing, PreferenceImport, Publication, Run


@shared_task(name="training.execute_run")
def execute_run(pk: int) -> None:
    jobs.execute(Run.objects, pk, runner.execute)


@shared_task(name="training.execute_suggestions")
def execute_suggestions(pk: int) -> None:
    """A job whose source is a run's model; annotation.execute_suggestions sends it here."""
    jobs.execute(SuggestionJob.objects, pk, suggestions.run)


@shared_task(name="training.execute_freezing")
def execute_freezing(pk: int) -> None:
    jobs.execute(Freezing.objects, pk, datasets.run)


@shared_task(name="training.execute_preference_import")
def execute_preference_import(pk: int) -> None:
    jobs.execute(PreferenceImport.objects, pk, preferences.run)


@shared_task(name="training.execute_publication")
def execute_publication(pk: int) -> None:
    jobs.execute(Publication.objects, pk, publishing.run)


@shared_task(name="training.free_files")
def free_files() -> None:
    artifacts.clear()
    artifacts.tidy()


jobs.TASKS[Publication] = execute_publication
jobs.TASKS[Run] = execute_run
jobs.TASKS[Freezing] = execute_freezing
jobs.TASKS[PreferenceImport] = execute_preference_import
