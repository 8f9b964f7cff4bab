import csv
import io
import json
import xml.etree.ElementTree as ET

import pytest

from annotation import jobs, svg
from annotation.jobs import JobStatus
from evaluation import reports, reviewing, starting, studies
from evaluation.models import Report, StudyMembership, System
from evaluation.reports import building, files
from tests.evaluation.factories import answers, make_study, rate_everything, running_study, start, system_of

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _media(settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path


def closed(study):
    study = studies.close(study, study.created_by)
    report = Report.objects.get(study=study)
    jobs.execute(Report.objects, report.pk, reports.run)
    report.refresh_from_db()
    assert (report.status, report.error) == (JobStatus.FINISHED, "")
    return report


def better(study):
    return study.systems.exclude(pk=study.reference_id).get()


def content(report, name):
    answer = files.response(report, name)
    return b"".join(answer.streaming_content) if answer.streaming else answer.content


@pytest.fixture
def report():
    """Three texts, two reviewers: the reference gets 3, the other system 5 and every preference."""
    study = running_study(items=3, systems=2, reviewers=2)
    rate_everything(study, {study.reference: 3, better(study): 5}, preferred=better(study))
    return closed(study)


def test_dump(report):
    import pathlib
    out = pathlib.Path("/tmp/wt/tmp-report/out"); out.mkdir(exist_ok=True)
    for name in files.names(report):
        (out / name).write_bytes(content(report, name))
    print(json.dumps(report.results["answers"], indent=1))
