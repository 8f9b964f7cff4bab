"""Celery tasks: take an id, call a plain function."""

from celery import shared_task

from annotation import batches, consensus, exports, imports, jobs, pairs, suggesters, suggestions, summary, votes, work
from annotation.models import Batch, ConsensusRun, Export, ItemImport, PairRefresh, SuggestionJob, SuggestionReport


@shared_task(name="annotation.execute_import")
def execute_import(pk: int) -> None:
    jobs.execute(ItemImport.objects, pk, imports.run)


@shared_task(name="annotation.execute_export")
def execute_export(pk: int) -> None:
    jobs.execute(Export.objects, pk, exports.run)


@shared_task(name="annotation.execute_pair_refresh")
def execute_pair_refresh(pk: int) -> None:
    jobs.execute(PairRefresh.objects, pk, pairs.refresh)


@shared_task(name="annotation.execute_batch")
def execute_batch(pk: int) -> None:
    jobs.execute(Batch.objects, pk, batches.run)


@shared_task(name="annotation.execute_suggestions")
def execute_suggestions(pk: int) -> None:
    """Here, or on the worker that the kind of source names."""
    kind = SuggestionJob.objects.values_list("prompt__source_kind", flat=True).filter(pk=pk).first()
    suggester = suggesters.KINDS.get(kind or "")
    if suggester and suggester.task:
        jobs.send(suggester.task(), pk)
    else:
        jobs.execute(SuggestionJob.objects, pk, suggestions.run)


@shared_task(name="annotation.execute_suggestion_report")
def execute_suggestion_report(pk: int) -> None:
    from annotation import suggestion_reports  # here, so that web processes load neither scipy nor matplotlib

    jobs.execute(SuggestionReport.objects, pk, suggestion_reports.run)


@shared_task(name="annotation.start_suggestions")
def start_suggestions() -> None:
    suggestions.start_for_new_texts()


@shared_task(name="annotation.execute_consensus")
def execute_consensus(pk: int) -> None:
    jobs.execute(ConsensusRun.objects, pk, consensus.run)


@shared_task(name="annotation.refresh_summary")
def refresh_summary(project_id: int) -> None:
    summary.refresh(project_id)


@shared_task(name="annotation.requeue_silent_jobs")
def requeue_silent_jobs() -> None:
    jobs.requeue_silent()


@shared_task(name="annotation.expire_leases")
def expire_leases() -> None:
    work.expire_leases()
    votes.expire_leases()


jobs.TASKS.update(
    {
        ItemImport: execute_import,
        Export: execute_export,
        PairRefresh: execute_pair_refresh,
        Batch: execute_batch,
        ConsensusRun: execute_consensus,
        SuggestionJob: execute_suggestions,
        SuggestionReport: execute_suggestion_report,
    }
)
