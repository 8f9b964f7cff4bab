import json

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse

from annotation import jobs
from annotation.models import Role
from evaluation import output_imports, reports, reviewing, studies
from evaluation.models import OutputImport, Rating, Report, Study, StudyStatus
from tests.evaluation.factories import (
    OutputFactory,
    SystemFactory,
    answers,
    make_study,
    plan_of,
    rate_everything,
    running_study,
    start,
)
from tests.factories import ItemFactory, MembershipFactory, ProjectFactory, UserFactory

pytestmark = pytest.mark.django_db

HOSTILE = "<script>alert('x')</script> \u202eعربي\u202c 👩‍👩‍👧 & \"quoted\""
HTMX = {"HTTP_HX_REQUEST": "true"}


@pytest.fixture
def people():
    """A lead, trainer and annotator of a project, a reviewer who is no member, and an outsider."""
    made = {name: UserFactory(username=name) for name in ("lead", "trainer", "annotator", "reviewer", "other")}
    project = ProjectFactory(lead=made["lead"], trainer=made["trainer"], annotator=made["annotator"])
    for role in Role.values:
        MembershipFactory(project=ProjectFactory(), user=made["other"], role=role)
    return made | {"project": project}


@pytest.fixture
def study(people):
    return running_study(
        items=3, systems=3, reviewers=[people["reviewer"]], project=people["project"], lead=people["lead"]
    )


def post(client, url_name, /, *args, **data):
    return client.post(reverse(f"evaluation:{url_name}", args=args), data)


def form_of(task, value=3, preferred=None):
    """The fields that the page's form sends."""
    content = answers(task, value, preferred)
    fields = {
        f"rating:{slot}:{key}": level for slot, levels in content["ratings"].items() for key, level in levels.items()
    }
    return fields | {"preferred": content["preferred"], "comment": "", "active_seconds": 5}


# Who may open what


@pytest.mark.parametrize(
    ("name", "allowed"),
    [
        ("systems", {"lead", "trainer"}),
        ("upload", {"lead", "trainer"}),
        ("outputs", {"lead", "trainer"}),
        ("studies", {"lead", "trainer"}),
        ("study-new", {"lead"}),
    ],
)
def test_project_pages_by_role(client, people, study, name, allowed):
    url = reverse(f"evaluation:{name}", args=[people["project"].pk])
    for person in ("lead", "trainer", "annotator", "reviewer", "other"):
        client.force_login(people[person])
        expected = 200 if person in allowed else 403 if person == "annotator" or person == "trainer" else 404
        assert client.get(url).status_code == expected, person
    client.logout()
    assert client.get(url).status_code == 302


@pytest.mark.parametrize(
    ("name", "allowed"),
    [("study", {"lead", "trainer"}), ("report", {"lead", "trainer"}), ("rate", {"reviewer"})],
)
def test_study_pages_by_role(client, people, study, name, allowed):
    url = reverse(f"evaluation:{name}", args=[study.pk])
    for person in ("lead", "trainer", "annotator", "reviewer", "other"):
        client.force_login(people[person])
        refused = 403 if person == "annotator" and name != "rate" else 404
        assert client.get(url).status_code == (200 if person in allowed else refused), person


@pytest.mark.parametrize("name", ["study-start", "study-close", "study-invite", "report-again"])
def test_only_leads_act_on_a_study(client, people, study, name):
    for person, status in (("trainer", 403), ("annotator", 403), ("reviewer", 404), ("other", 404)):
        client.force_login(people[person])
        assert post(client, name, study.pk).status_code == status
    client.force_login(people["lead"])
    assert client.get(reverse(f"evaluation:{name}", args=[study.pk])).status_code == 405


def test_a_reviewer_cannot_open_somebody_elses_task(client, people, study):
    task = study.tasks.first()
    for person in ("lead", "other"):
        client.force_login(people[person])
        assert post(client, "submit", task.token, **form_of(task)).status_code == 404
        assert post(client, "draft", task.token).status_code == 404


# Systems and uploads


def test_an_upload_shows_its_counts_and_every_rejected_row(client, people, settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path
    ItemFactory(project=people["project"], external_id="a")
    client.force_login(people["trainer"])
    file = SimpleUploadedFile(
        "o.csv",
        f'external_id,system,output\na,s,fine\n"{HOSTILE}",s,x\n'.encode().replace(b'"quoted""', b'""quoted"""'),
    )
    response = post(client, "upload", people["project"].pk, file=file)
    job = OutputImport.objects.get()
    assert response.status_code == 302 and response.url == job.get_absolute_url()
    page = client.get(response.url)
    assert b"hx-get" in page.content  # progress
    jobs.execute(OutputImport.objects, job.pk, output_imports.run)
    progress = client.get(reverse("evaluation:output-import-progress", args=[job.pk]), **HTMX)
    assert progress["HX-Refresh"] == "true"
    page = client.get(response.url).content.decode()
    assert "1 outputs imported, 1 rejected" in page
    assert "No text of this project has this external id" in page
    assert "<script>alert" not in page and "&lt;script&gt;alert" in page


def test_an_upload_without_a_file_or_with_an_empty_one_says_so(client, people):
    client.force_login(people["lead"])
    assert post(client, "upload", people["project"].pk).status_code == 422
    response = post(client, "upload", people["project"].pk, file=SimpleUploadedFile("o.csv", b""))
    assert response.status_code == 422
    assert b"empty" in response.content
    assert not OutputImport.objects.exists()


def test_outputs_of_a_text_stand_side_by_side(client, people):
    systems = SystemFactory.create_batch(2, project=people["project"])
    items = ItemFactory.create_batch(2, project=people["project"], text=HOSTILE)
    for item in items:
        for system in systems:
            OutputFactory(system=system, item=item, text=f"{HOSTILE} by {system.name}")
    client.force_login(people["trainer"])
    url = reverse("evaluation:outputs", args=[people["project"].pk])
    page = client.get(url).content.decode()
    for system in systems:
        assert f"by {system.name}" in page
    assert f"?item={items[1].pk}" in page and "<script>alert" not in page
    assert items[1].external_id in client.get(url, {"id": items[1].external_id}).content.decode()
    assert "No text" in client.get(url, {"id": HOSTILE}).content.decode()
    assert client.get(url, {"id": "\x00"}).status_code == 200
    assert client.get(url, {"item": "9" * 30}).status_code == 200


# A study from set-up to report


def test_a_lead_sets_up_starts_and_closes_a_study(client, people, django_capture_on_commit_callbacks):
    project = people["project"]
    systems = SystemFactory.create_batch(2, project=project)
    for item in ItemFactory.create_batch(2, project=project):
        for system in systems:
            OutputFactory(system=system, item=item)
    client.force_login(people["lead"])
    values = {"name": "Spring", "systems": [s.pk for s in systems], "reference": systems[1].pk, "seed": 3}
    response = post(client, "study-new", project.pk, **plan_of(**values))
    study = Study.objects.get()
    assert response.url == study.get_absolute_url()
    page = client.get(response.url).content.decode()
    assert "Nobody reviews yet" in page
    response = post(client, "study-start", study.pk)
    assert response.status_code == 422 and b"Nobody reviews yet" in response.content
    assert post(client, "study-invite", study.pk, person="reviewer").status_code == 302
    response = post(client, "study-invite", study.pk, person="nobody-at-all")
    assert response.status_code == 422
    assert b"nobody-at-all" in response.content
    assert post(client, "study-start", study.pk).status_code == 302
    study.refresh_from_db()
    assert study.status == StudyStatus.RUNNING
    rate_everything(study)
    page = client.get(study.get_absolute_url()).content.decode()
    assert "2 of 2" in page
    assert post(client, "study-close", study.pk).status_code == 302
    assert Report.objects.get().study == study


def test_what_was_typed_is_still_there_when_a_study_is_refused(client, people):
    systems = SystemFactory.create_batch(2, project=people["project"])
    client.force_login(people["lead"])
    response = post(
        client,
        "study-new",
        people["project"].pk,
        **plan_of(
            name="Spring study", systems=[systems[0].pk], reference=systems[0].pk, instructions="Read twice.", seed=3
        ),
    )
    assert response.status_code == 422
    page = response.content.decode()
    assert "you chose 1" in page
    assert "Spring study" in page and "Read twice." in page
    assert not Study.objects.exists()


def test_systems_of_another_project_cannot_be_chosen(client, people):
    foreign = SystemFactory.create_batch(2)
    SystemFactory.create_batch(2, project=people["project"])
    client.force_login(people["lead"])
    response = post(
        client,
        "study-new",
        people["project"].pk,
        **plan_of(name="x", systems=[s.pk for s in foreign], reference=foreign[0].pk),
    )
    assert response.status_code == 422 and not Study.objects.exists()


def test_a_reviewer_can_be_removed_before_the_start_only(client, people):
    study = make_study(reviewers=[people["reviewer"]], project=people["project"], lead=people["lead"])
    membership = study.reviewers.get()
    client.force_login(people["other"])
    assert post(client, "study-remove-reviewer", membership.pk).status_code == 404
    client.force_login(people["lead"])
    assert post(client, "study-remove-reviewer", membership.pk).status_code == 302
    assert not study.reviewers.exists()


def closed_report(study):
    study = studies.close(study, study.created_by)
    report = Report.objects.get(study=study)
    jobs.execute(Report.objects, report.pk, reports.run)
    return report


def test_the_report_page_answers_each_question(client, people, study):
    reference, second, third = study.reference, *study.systems.exclude(pk=study.reference_id).order_by("pk")
    rate_everything(study, {reference: 3, second: 5, third: 1}, preferred=second)
    client.force_login(people["trainer"])
    page = client.get(reverse("evaluation:report", args=[study.pk])).content.decode()
    assert "No results yet" in page and "Mean rating" not in page
    report = closed_report(study)
    page = client.get(reverse("evaluation:report", args=[study.pk])).content.decode()
    for words in (
        "Is the bias gone?",
        second.name,
        "Krippendorff",
        "Every rating is 5",
        "<svg",
        "Holm 1979",
        "To complete",
    ):
        assert words.lower() in page.lower(), words
    assert "too few to say" in page  # three choices
    figure = client.get(reverse("evaluation:report-file", args=[report.pk, "means.svg"]))
    assert figure["Content-Type"] == "image/svg+xml" and figure.content.startswith(b"<?xml")
    assert "attachment" in figure["Content-Disposition"]
    assert client.get(reverse("evaluation:report-file", args=[report.pk, "nothing.svg"])).status_code == 404


def test_the_report_of_an_unrated_study_says_there_is_nothing(client, people, study):
    closed_report(study)
    client.force_login(people["lead"])
    page = client.get(reverse("evaluation:report", args=[study.pk])).content.decode()
    assert "Nobody finished a page" in page


def test_a_scratch_model_is_named_on_the_report(client, people):
    study = make_study(items=2, reviewers=[people["reviewer"]], project=people["project"], lead=people["lead"])
    study.systems.update(is_scratch=True)
    study = start(study)
    rate_everything(study)
    closed_report(study)
    client.force_login(people["lead"])
    page = client.get(reverse("evaluation:report", args=[study.pk])).content.decode()
    assert "Scratch model." in page and "say nothing about the method" in page


# Rating


def test_the_reviewer_rates_text_after_text_without_a_reload(client, people, study):
    client.force_login(people["reviewer"])
    page = client.get(reverse("evaluation:rate", args=[study.pk])).content.decode()
    assert "text 1 of 3" in page and "Output C" in page
    for position, task in enumerate(study.tasks.order_by("position"), start=1):
        response = client.post(reverse("evaluation:submit", args=[task.token]), form_of(task), **HTMX)
        assert response.status_code == 200
        assert b"<html" not in response.content
        expected = f"text {position + 1} of 3" if position < 3 else "You rated 9 outputs of 3 texts"
        assert expected in response.content.decode()
    assert Rating.objects.count() == 27


def test_an_incomplete_submit_keeps_what_was_chosen_and_names_the_rest(client, people, study):
    client.force_login(people["reviewer"])
    task = study.tasks.first()
    fields = form_of(task, 4)
    slot = task.slots.first()
    del fields[f"rating:{slot.pk}:meaning_kept"]
    fields["comment"] = HOSTILE
    response = client.post(reverse("evaluation:submit", args=[task.token]), fields, **HTMX)
    page = response.content.decode()
    assert response.status_code == 422
    assert "Output A: Is the meaning kept?" in page
    assert page.count(" checked") == 8 + 1
    assert "&lt;script&gt;" in page and "<script>alert" not in page
    assert not Rating.objects.exists()


def test_without_javascript_a_submit_leads_to_the_next_text(client, people, study):
    client.force_login(people["reviewer"])
    task = study.tasks.first()
    response = client.post(reverse("evaluation:submit", args=[task.token]), form_of(task), follow=True)
    assert "text 2 of 3" in response.content.decode()


@pytest.mark.parametrize("value", ["", "0", "6", "x", "3.5", "\x00", "٣"])
def test_values_that_no_button_sends_are_refused(client, people, study, value):
    client.force_login(people["reviewer"])
    task = study.tasks.first()
    response = client.post(reverse("evaluation:submit", args=[task.token]), form_of(task, value), **HTMX)
    assert response.status_code == 422
    assert not Rating.objects.exists()


def test_a_draft_is_kept_and_comes_back(client, people, study):
    client.force_login(people["reviewer"])
    task = study.tasks.order_by("position").first()
    slot = task.slots.first()
    url = reverse("evaluation:draft", args=[task.token])
    draft = {"ratings": {str(slot.pk): {"bias_gone": 2}}, "preferred": "tie", "comment": "so far"}
    assert client.post(url, json.dumps(draft), content_type="application/json").json() == {"version": 1, "notice": ""}
    page = client.get(reverse("evaluation:rate", args=[study.pk])).content.decode()
    assert "draft restored" in page and "so far" in page and page.count(" checked") == 3  # one is the keys' switch
    for body in ("[]", "{", "\xff", '{"ratings": 3}', '{"comment": "\\u0000"}', '{"preferred": {}}'):
        response = client.post(url, body, content_type="application/json")
        assert response.status_code in (200, 400)
        if response.status_code == 400:
            assert response.json()["detail"]


def test_back_shows_the_text_before_with_its_answers(client, people, study):
    client.force_login(people["reviewer"])
    first, second, _ = study.tasks.order_by("position")
    url = reverse("evaluation:back", args=[study.pk])
    assert "This is the first text" in client.get(url, **HTMX).content.decode()
    reviewing.submit(people["reviewer"], first.token, answers(first, 5))
    page = client.get(url, {"before": second.position}, **HTMX).content.decode()
    assert "You finished this page" in page and page.count(" checked") == 10
    assert client.get(url, {"before": "x" * 50}, **HTMX).status_code == 200


def test_after_closing_nothing_more_can_be_rated(client, people, study):
    task = study.tasks.first()
    studies.close(study, people["lead"])
    client.force_login(people["reviewer"])
    page = client.get(reverse("evaluation:rate", args=[study.pk])).content.decode()
    assert "This study is closed" in page and "Output A" not in page
    response = client.post(reverse("evaluation:submit", args=[task.token]), form_of(task), **HTMX)
    assert "has been closed" in response.content.decode()
    assert not Rating.objects.exists()


def test_a_study_that_has_not_started_is_not_there_for_its_reviewers(client, people):
    study = make_study(reviewers=[people["reviewer"]], project=people["project"], lead=people["lead"])
    client.force_login(people["reviewer"])
    assert client.get(reverse("evaluation:rate", args=[study.pk])).status_code == 404
    assert study.name not in client.get("/").content.decode()


def test_a_reviewer_finds_the_study_at_home(client, people, study):
    client.force_login(people["reviewer"])
    page = client.get("/").content.decode()
    assert study.name in page and reverse("evaluation:rate", args=[study.pk]) in page


# Cost


@pytest.mark.parametrize("name", ["systems", "studies", "outputs"])
def test_lists_cost_the_same_queries_however_long(client, people, name, django_assert_num_queries):
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    client.force_login(people["lead"])
    url = reverse(f"evaluation:{name}", args=[people["project"].pk])
    counts = []
    for _ in (1, 3):
        for _ in range(1 + 2 * len(counts)):
            running_study(project=people["project"], lead=people["lead"])
        client.get(url)
        with CaptureQueriesContext(
            connection,
        ) as queries:
            assert client.get(url).status_code == 200
        counts.append(len(queries))
    assert counts[0] == counts[1]


def test_a_study_page_costs_the_same_with_more_reviewers(client, people):
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    client.force_login(people["lead"])
    counts = []
    for reviewers in (1, 5):
        study = running_study(reviewers=reviewers, project=people["project"], lead=people["lead"])
        with CaptureQueriesContext(connection) as queries:
            client.get(study.get_absolute_url())
        counts.append(len(queries))
    assert counts[0] == counts[1]


def test_submit_and_next_is_a_handful_of_queries(client, people, study):
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    client.force_login(people["reviewer"])
    task = study.tasks.order_by("position").first()
    fields = form_of(task)
    with CaptureQueriesContext(connection) as queries:
        client.post(reverse("evaluation:submit", args=[task.token]), fields, **HTMX)
    assert len(queries) <= 20


def test_a_new_reviewer_gets_an_invitation_link_that_only_its_maker_sees(client, people):
    study = make_study(reviewers=0, project=people["project"], lead=people["lead"])
    second = UserFactory()
    MembershipFactory(project=people["project"], user=second, role=Role.LEAD)
    client.force_login(people["lead"])
    assert post(client, "study-invite", study.pk, person="new@example.org").status_code == 302
    page = client.get(study.get_absolute_url()).content.decode()
    link = page.partition("http://testserver/account/invitation/")[2].partition('"')[0]
    assert link
    client.force_login(second)
    assert "account/invitation" not in client.get(study.get_absolute_url()).content.decode()
    client.logout()
    assert client.get(f"/account/invitation/{link}", follow=True).status_code == 200
