"""A study that is closed tells nobody about systems that they rate blind in another one that runs."""

import pytest
from django.core.exceptions import PermissionDenied
from django.urls import reverse
from rest_framework.test import APIClient

from annotation import exports, jobs
from annotation.models import Role
from evaluation import preferences, ratings, reports, studies
from evaluation.models import Judge, JudgeAnswer, Report, Study, StudyMembership
from tests.evaluation.factories import make_study, rate_everything, running_study, start
from tests.factories import MembershipFactory, UserFactory
from training.models import Preference

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _media(settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path


@pytest.fixture
def pilot():
    """Closed, with its report and preferences."""
    study = running_study(items=3, systems=2, reviewers=1, name="Pilot", lead=UserFactory())
    for number, system in enumerate(study.systems.order_by("pk")):
        system.name = f"quagga-{number}"
        system.save(update_fields=["name"])
    rate_everything(study, preferred=study.reference)
    study = studies.close(study, study.created_by)
    jobs.execute(Report.objects, study.reports.get().pk, reports.run)
    preferences.from_study(study, study.created_by)
    return study


@pytest.fixture
def both(pilot):
    """Leads and trains in the project, and reviews the main study over the same systems."""
    person = UserFactory(username="both")
    for role in (Role.LEAD, Role.TRAINER):
        MembershipFactory(project=pilot.project, user=person, role=role)
    return person


@pytest.fixture
def main(pilot, both):
    study = studies.create(
        pilot.project,
        pilot.created_by,
        systems=pilot.systems.all(),
        reference=pilot.reference,
        name="Main",
    )
    StudyMembership.objects.create(study=study, user=both)
    return start(study)


def addresses(pilot):
    report = pilot.reports.get()
    judge = Judge.objects.create(
        project=pilot.project, study=pilot, created_by=pilot.created_by, prompt_version=1, model="m", status="finished"
    )
    JudgeAnswer.objects.create(judge=judge, page=pilot.tasks.first(), status="malformed")
    return {
        "get": [
            reverse("evaluation:report", args=[pilot.pk]),
            *(
                reverse("evaluation:report-file", args=[report.pk, name])
                for name in ("report.html", "results.json", "ratings.csv")
            ),
            reverse("evaluation:preferences", args=[pilot.pk]),
            reverse("evaluation:judge-unusable", args=[judge.pk]),
            reverse("evaluation:protocol-file", args=[pilot.pk, "md"]),
            f"/api/reports/{report.pk}/",
            f"/api/reports/{report.pk}/files/",
            f"/api/reports/{report.pk}/files/ratings.csv/",
            f"/api/studies/{pilot.pk}/preferences/",
            f"/api/judges/{judge.pk}/answers/",
        ],
        "post": [
            reverse("evaluation:report-again", args=[pilot.pk]),
            reverse("evaluation:ratings", args=[pilot.pk]),
            reverse("evaluation:preferences", args=[pilot.pk]),
            f"/api/studies/{pilot.pk}/preferences/",
            f"/api/studies/{pilot.pk}/report/",
        ],
    }


def test_results_of_a_closed_study_are_refused_to_who_rates_its_systems_blind(client, pilot, main, both):
    client.force_login(both)
    found = addresses(pilot)
    for method, urls in found.items():
        for url in urls:
            answer = getattr(client, method)(url)
            assert answer.status_code == 403, url
            assert b"blind" in answer.content or "protocol" in url, url
    filters = {"kind": "ratings", "file_format": "csv", "project": pilot.project_id}
    for chosen in ({}, {"study": pilot.pk}):
        answer = client.post("/api/exports/", filters | {"filters": chosen}, content_type="application/json")
        assert answer.status_code == 403
    assert client.get("/api/reports/").json()["results"] == []
    assert client.get("/api/preferences/").json()["results"] == []
    page = client.get(pilot.get_absolute_url()).content.decode()
    assert "quagga" not in page and "hidden from you until that one closes" in page
    protocol = client.get(reverse("evaluation:protocol", args=[pilot.pk])).content.decode()
    assert "quagga" not in protocol
    assert "systems" not in client.get(f"/api/studies/{pilot.pk}/").json()
    assert "quagga" not in client.get(reverse("training:preferences", args=[pilot.project_id])).content.decode()


def test_results_are_open_again_once_the_study_that_ran_is_closed(client, pilot, main, both):
    studies.close(main, main.created_by)
    client.force_login(both)
    for url in addresses(pilot)["get"]:
        assert client.get(url).status_code == 200, url
    assert "quagga-1" in client.get(pilot.get_absolute_url()).content.decode()
    assert len(client.get("/api/preferences/").json()["results"]) == Preference.objects.count() == 3
    assert exports.create(pilot.project, both, kind="ratings", file_format="csv", filters={"study": pilot.pk})


def test_a_study_of_other_systems_stays_open(pilot, main, both):
    other = running_study(items=2, systems=2, reviewers=1, project=pilot.project, lead=pilot.created_by)
    rate_everything(other)
    other = studies.close(other, other.created_by)
    studies.check_results(both, other)
    assert exports.create(pilot.project, both, kind="ratings", file_format="csv", filters={"study": other.pk})
    with pytest.raises(PermissionDenied, match="blind"):
        exports.create(pilot.project, both, kind="ratings", file_format="csv", filters={})
    with pytest.raises(PermissionDenied, match="blind"):
        studies.check_results(both, pilot)
    studies.check_results(pilot.created_by, pilot)  # who reviews nothing is not blind


def test_an_export_made_before_cannot_be_downloaded_while_its_systems_are_rated(pilot, both, main):
    export = exports.create(
        pilot.project, pilot.created_by, kind="ratings", file_format="csv", filters={"study": pilot.pk}
    )
    with pytest.raises(PermissionDenied):
        ratings.allow(both, export)


def test_the_admin_site_leaves_out_what_a_closed_study_tells(client, pilot, main):
    root = UserFactory(username="root", is_staff=True, is_superuser=True)
    names = ["study", "report", "slotoutput", "slot", "rating", "protocol", "reviewtask"]

    def total():
        found = [
            client.get(reverse(f"admin:evaluation_{name}_changelist")).context["cl"].result_count for name in names
        ]
        return dict(zip(names, found, strict=True))

    client.force_login(root)
    assert all(total().values())
    StudyMembership.objects.create(study=main, user=root)
    assert not any(total().values())


def test_the_list_of_studies_costs_the_same_for_few_and_for_many(pilot, main, both, django_assert_max_num_queries):
    client = APIClient()
    client.force_authenticate(both)
    with django_assert_max_num_queries(50) as few:
        assert len(client.get("/api/studies/").json()["results"]) == 2
    for number in range(4):
        running_study(
            items=2, reviewers=[UserFactory(), both], project=pilot.project, lead=pilot.created_by, name=f"S{number}"
        )
    with django_assert_max_num_queries(len(few)):
        shown = client.get("/api/studies/").json()["results"]
    assert len(shown) == 6 and not any("systems" in row for row in shown)
    assert Study.objects.hidden_from(both).count() == 6


def test_a_draft_is_hidden_from_nobody(pilot, main, both):
    draft = make_study(project=pilot.project, lead=pilot.created_by, reviewers=[both])
    assert not studies.is_blind(both, draft)
