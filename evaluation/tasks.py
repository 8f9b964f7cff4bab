"""Celery tasks: take an id, call a plain function."""

from celery import shared_task

from annotation import jobs
from evaluation import output_imports, systems
from evaluation.models import Generation, OutputImport, Report


@shared_task(name="evaluation.execute_output_import")
def execute_output_import(pk: int) -> None:
    jobs.execute(OutputImport.objects.all(), pk, output_imports.run)


@shared_task(name="evaluation.execute_generation")
def execute_generation(pk: int) -> None:
    jobs.execute(Generation.objects.all(), pk, systems.run)


@shared_task(name="evaluation.execute_report")
def execute_report(pk: int) -> None:
    from evaluation import reports  # here, so that web processes load neither scipy nor matplotlib

    jobs.execute(Report.objects.all(), pk, reports.run)


jobs.TASKS.update({OutputImport: execute_output_import, Generation: execute_generation, Report: execute_report})
