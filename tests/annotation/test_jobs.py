"""Jobs as rows: what Celery may lose, the row keeps."""

from datetime import timedelta

import pytest
from celery import Celery
from django.utils import timezone

from annotation import jobs, tasks
from annotation.jobs import JobStatus
from annotation.models import Export
from tests.factories import ProjectFactory


@pytest.fixture
def export():
    project = ProjectFactory()
    return Export.objects.create(project=project, created_by=project.created_by, kind="pairs", file_format="csv")


@pytest.fixture
def sent(monkeypatch):
    """The ids that were sent to workers."""
    assert Export in jobs.TASKS, f"{tasks.__name__} names its jobs"
    found: list[int] = []
    monkeypatch.setattr(jobs, "send", lambda task, pk: found.append(pk))
    return found


def test_a_broker_that_is_away_is_no_error_for_whoever_starts_a_job():
    app = Celery("away", broker="redis://127.0.0.1:1/0")

    @app.task(name="away")
    def away(pk):
        pass

    jobs.send(away, 1)


@pytest.mark.django_db
def test_a_job_whose_message_may_be_lost_is_sent_again_but_not_every_few_seconds(export, sent):
    jobs.requeue_silent()
    assert sent == []  # its first message is on its way
    Export.objects.update(created_at=timezone.now() - timedelta(minutes=1))
    jobs.requeue_silent()
    jobs.requeue_silent()
    assert sent == [export.pk]
    Export.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    jobs.requeue_silent()
    assert sent == [export.pk] * 2
    assert Export.objects.claim(export.pk) == export


@pytest.mark.django_db
def test_a_job_whose_worker_fell_silent_is_sent_again_at_once(export, sent):
    Export.objects.update(status=JobStatus.RUNNING, lease_until=timezone.now() + timedelta(seconds=30))
    jobs.requeue_silent()
    assert sent == []
    Export.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    jobs.requeue_silent()
    assert sent == [export.pk]


@pytest.mark.django_db
def test_progress_is_written_by_the_attempt_that_owns_the_job_alone(export):
    first = Export.objects.claim(export.pk)
    Export.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    second = Export.objects.claim(export.pk)
    with pytest.raises(jobs.LeaseLost):
        first.report(1, 2)
    second.report(1, 2, "Half")
    second.request_cancel()
    with pytest.raises(jobs.Cancelled):
        second.report(2)
