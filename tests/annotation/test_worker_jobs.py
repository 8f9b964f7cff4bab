"""Imports and exports in a real worker process, also in one that dies."""

import pytest
from django.core.files.base import ContentFile

from annotation import exports, imports, jobs
from annotation.models import Export, Item, ItemImport, Pair, RejectedRow
from config.processes import wait_until
from tests.factories import ProjectFactory, UserFactory

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]


def ended(model, pk):
    def check():
        return not model.objects.get(pk=pk).is_active

    assert wait_until(check, 90), model.objects.get(pk=pk).message
    return model.objects.get(pk=pk)


def texts(count):
    rows = (f"id-{number},Text {number} says what others said.,Text {number}.\n" for number in range(count))
    return ContentFile(("external_id,text,safe_rewrite\n" + "".join(rows) + "late,,\n").encode(), name="texts.csv")


def test_a_file_goes_in_and_out_again_through_the_queue(worker):
    worker("default")
    lead = UserFactory()
    project = ProjectFactory(lead=lead)
    job = ended(ItemImport, imports.upload(project, lead, texts(500)).pk)
    assert (job.status, job.imported, job.rejected) == ("finished", 500, 1)
    export = ended(Export, exports.create(project, lead, kind="pairs", file_format="jsonl").pk)
    assert (export.status, export.rows) == ("finished", 500)


def test_a_worker_killed_in_the_middle_leaves_nothing_and_the_next_one_imports_once(worker):
    lead = UserFactory()
    project = ProjectFactory(lead=lead)
    first = worker("default", env={"JOB_LEASE_SECONDS": "2"})
    job = imports.upload(project, lead, texts(100_000))
    assert wait_until(lambda: ItemImport.objects.get(pk=job.pk).done > 2_000, 60)
    first.kill()
    assert (Item.objects.count(), RejectedRow.objects.count()) == (0, 0)
    assert ItemImport.objects.get(pk=job.pk).status == "running"
    worker("default", env={"JOB_LEASE_SECONDS": "2"})
    assert wait_until(jobs.requeue_silent, 10)  # as beat does every few seconds
    job = ended(ItemImport, job.pk)
    assert (job.status, job.imported, job.rejected, job.attempt) == ("finished", 100_000, 1, 2)
    assert (Item.objects.count(), Pair.objects.count(), RejectedRow.objects.count()) == (100_000, 100_000, 1)
