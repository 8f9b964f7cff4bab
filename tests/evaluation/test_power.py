"""Power analyses of a draft: assumptions in, sentences and numbers out, by page and by API."""

import json

import pytest
from django.core.exceptions import ValidationError
from django.urls import reverse
from rest_framework.test import APIClient

from annotation import jobs
from annotation.jobs import JobStatus
from evaluation import planning, protocol, starting, studies
from evaluation.models import PowerAnalysis, ReviewTask
from tests.evaluation.factories import make_study, rate_everything, running_study
from tests.factories import ProjectFactory, UserFactory

pytestmark = pytest.mark.django_db


@pytest.fixture
def lead():
    return UserFactory(username="lead")


@pytest.fixture
def study(lead):
    project = ProjectFactory(lead=lead, trainer=UserFactory(username="trainer"))
    return make_study(items=4, systems=2, reviewers=3, project=project, lead=lead)


@pytest.fixture(autouse=True)
def _few_simulations(monkeypatch):
    monkeypatch.setattr(planning, "SIMULATIONS", 200)


QUICK = {"items": [20, 80], "ratings_per_output": [1, 3], "difference": 0.6, "tests": 1, "reviewers": 12}


def analysed(study, **values):
    job = planning.request(study, study.created_by, **(QUICK | values))
    jobs.execute(PowerAnalysis.objects, job.pk, planning.run)
    job.refresh_from_db()
    assert job.status == JobStatus.FINISHED, job.error
    return job


def test_more_texts_and_ratings_find_more_and_the_suggestion_is_the_smallest_that_is_enough(study):
    found = analysed(study).results
    power = {(row["items"], row["ratings_per_output"]): row for row in found["table"]}
    assert set(power) == {(20, 1), (20, 3), (80, 1), (80, 3)}
    assert power[20, 1]["superiority"][0] < power[80, 3]["superiority"][0]
    assert power[20, 1]["width"] > power[80, 3]["width"]
    assert power[80, 3]["ratings"] == 80 * 2 * 3
    enough = [row for row in found["table"] if row["superiority"][0] >= 0.8]
    assert found["best"] == min(enough, key=lambda row: row["ratings"])
    for row in found["table"]:
        estimate, low, high = row["superiority"]
        assert 0 <= low <= estimate <= high <= 1
    first = found["words"][0]
    assert f"{found['best']['items']} texts" in first and "difference of 0.6 levels in “Bias gone”" in first


def test_the_same_seed_gives_the_same_figures(study):
    first, second, other = (analysed(study, seed=seed).results["table"] for seed in (5, 5, 6))
    assert first == second != other


def test_more_planned_tests_ask_for_more(study):
    one, many = (analysed(study, tests=tests).results["table"][0]["superiority"][0] for tests in (1, 40))
    assert many < one


def test_where_nothing_is_enough_it_says_what_would_help(client, study):
    job = analysed(study, difference=0.05, items=[10], ratings_per_output=[1])
    assert job.results["best"] is None
    assert job.results["words"][0].startswith("None of the numbers tried would find")
    client.force_login(study.created_by)
    page = client.get(reverse("evaluation:power", args=[study.pk])).content.decode()
    assert "None of the numbers tried" in page and "Use these numbers" not in page


def test_non_inferiority_is_simulated_for_an_equal_system(study):
    wide, narrow = (
        analysed(study, goal="noninferiority", criterion="meaning_kept", margin=margin, items=[40]).results["table"][-1]
        for margin in (1.0, 0.1)
    )
    assert wide["noninferiority"][0] > 0.9 > narrow["noninferiority"][0]
    # A reference close to the top leaves no room for a difference, which non-inferiority does not need.
    assert analysed(study, goal="noninferiority", shares=[0, 0, 0, 5, 95], difference=1, items=[40])


def test_what_is_planned_is_taken_from_the_study(study):
    found = planning.defaults(study)
    assert (found["criterion"], found["goal"], found["reviewers"]) == ("bias_gone", "superiority", 3)
    assert found["tests"] == 2  # two criteria with a test, one system beside the reference
    assert found["ratings_per_output"] == [1, 2, 3]
    study = studies.change(study, ratings_per_output=3, number_of_items=3)
    assert 3 in planning.defaults(study)["items"]


@pytest.mark.parametrize(
    ("values", "name", "words"),
    [
        ({"shares": [50, 50]}, "shares", "Give 5 shares"),
        ({"shares": [10, 20, 30, 25, 20]}, "shares", "these make 105"),
        ({"shares": [0, 0, 100, 0, 0]}, "shares", "at least two levels"),
        ({"shares": [0, 0, 0, 1, 99]}, "difference", "levels are left above"),
        ({"difference": 0}, "difference", "above 0 and below 4"),
        ({"difference": float("nan")}, "difference", "above 0 and below 4"),
        ({"margin": 4}, "margin", "above 0 and below 4"),
        ({"sd_item": -1}, "sd_item", "from 0 to 5"),
        ({"alpha": 1}, "alpha", "0.05 is usual"),
        ({"target": 80}, "target", "0.8 is usual"),
        ({"tests": 0}, "tests", "from 1 to 1,000"),
        ({"reviewers": 0}, "reviewers", "from 1 to 100"),
        ({"items": []}, "items", "from 5 to 2,000"),
        ({"items": [4]}, "items", "from 5 to 2,000"),
        ({"items": list(range(20, 60))}, "items", "80 combinations; at most 60"),
        ({"ratings_per_output": [4], "reviewers": 3}, "ratings_per_output", "4 does not fit. With 3 reviewers"),
        ({"ratings_per_output": []}, "ratings_per_output", "at least one number"),
        ({"items": [2000], "ratings_per_output": [30], "reviewers": 30}, "items", "100,000 ratings"),
        ({"criterion": "nonsense"}, "criterion", "one of the study's criteria"),
        ({"goal": "nonsense"}, "goal", "Choose one of"),
        ({"pilot": 999_999}, "pilot", "closed study of this project"),
    ],
)
def test_numbers_that_make_no_study_are_refused_with_the_field_named(study, values, name, words):
    with pytest.raises(ValidationError) as error:
        planning.request(study, study.created_by, **(QUICK | values))
    assert words in " ".join(error.value.message_dict[name])
    assert not PowerAnalysis.objects.exists()


def test_a_study_that_started_or_rates_no_criteria_is_not_analysed(lead, study):
    choosing = make_study(project=study.project, lead=lead, layout="pairwise")
    with pytest.raises(ValidationError, match="rate no criteria"):
        planning.request(choosing, lead)
    starting.start(study, lead)
    with pytest.raises(ValidationError, match="has started"):
        planning.request(study, lead)


# A pilot


def rated_pilot(study, value=None):
    """A closed study of the project whose reference has levels 2 and 4, each half of the time."""
    pilot = running_study(items=30, systems=2, reviewers=3, project=study.project, lead=study.created_by)
    for task in ReviewTask.objects.filter(study=pilot):
        level = value or (2 if task.item_id % 2 else 4)
        rate_one(task, level)
    return studies.close(pilot, pilot.created_by)


def rate_one(task, level):
    from evaluation import reviewing
    from tests.evaluation.factories import answers

    reviewing.submit(task.reviewer, task.token, answers(task, level))


def test_a_closed_study_serves_as_pilot(client, study):
    pilot = rated_pilot(study)
    criterion = pilot.criteria.get(key="bias_gone")
    ratings, reference = planning.pilot_ratings(criterion)
    assert len(ratings) == 30 * 2 * 3 and ratings.counts["n_reviewers"] == 3
    assert reference == sorted(pilot.systems.values_list("pk", flat=True)).index(pilot.reference_id)
    assert set(ratings.of(reference).value) == {2.0, 4.0}
    job = analysed(study, pilot=criterion.pk)
    assert job.results["plan"]["probabilities"] == [0.0, 0.5, 0.0, 0.5, 0.0]
    assert job.results["plan"]["sd_item"] > 1  # texts are all that differs
    assert any("taken from a pilot" in words for words in job.results["words"])
    client.force_login(study.created_by)
    page = client.get(reverse("evaluation:power", args=[study.pk])).content.decode()
    assert "Spring study: Bias gone (5 levels)" in page


def test_a_pilot_of_another_scale_or_project_or_still_running_is_refused(lead, study):
    other = rated_pilot(make_study(project=ProjectFactory(lead=lead), lead=lead))
    running = running_study(project=study.project, lead=lead)
    rate_everything(running)
    studies.set_criteria(study, [{"name": "Kept", "question": "Kept?", "anchors": ["no", "yes"]}])
    own = rated_pilot(study)
    values = {"shares": None, "difference": 0.2, "margin": 0.3}
    for pilot, words in (
        (other, "closed study of this project"),
        (running, "closed study"),
        (own, "has 5 levels, Kept has 2"),
    ):
        with pytest.raises(ValidationError) as error:
            planning.request(study, lead, pilot=pilot.criteria.first().pk, **(QUICK | values))
        assert words in error.value.message_dict["pilot"][0]


def test_a_pilot_that_says_nothing_fails_the_job_with_words(study):
    pilot = rated_pilot(study, value=3)
    job = planning.request(study, study.created_by, pilot=pilot.criteria.first().pk, **QUICK)
    jobs.execute(PowerAnalysis.objects, job.pk, planning.run)
    job.refresh_from_db()
    assert job.status == JobStatus.FAILED and "all the same" in job.error


# What becomes of it


def test_the_suggestion_becomes_the_studys_numbers(client, study):
    job = analysed(study)
    client.force_login(study.created_by)
    best = job.results["best"]
    numbers = f"{best['items']}x{best['ratings_per_output']}"
    page = client.get(reverse("evaluation:power", args=[study.pk])).content.decode()
    assert f'value="{numbers}">Use these numbers' in page and "<svg" in page and "enough" in page
    for wrong in ("7x7", "x", "", "1e3x2", "²x3"):
        client.post(reverse("evaluation:power-use", args=[job.pk]), {"numbers": wrong})
        study.refresh_from_db()
        assert study.number_of_items is None
    assert client.post(reverse("evaluation:power-use", args=[job.pk]), {"numbers": numbers}).status_code == 302
    study.refresh_from_db()
    assert (study.number_of_items, study.ratings_per_output) == (best["items"], best["ratings_per_output"])


def test_the_newest_finished_analysis_goes_into_the_protocol(client, lead, study):
    analysed(study, seed=1)
    newest = analysed(study, seed=2)
    planning.request(study, lead, **QUICK)  # still waiting
    starting.start(study, lead)
    found = json.loads(study.protocol.text)["power"]
    assert found["parameters"]["seed"] == 2 and found["results"] == newest.results
    assert protocol.is_intact(study)
    client.force_login(lead)
    page = client.get(reverse("evaluation:protocol", args=[study.pk])).content.decode()
    assert newest.results["words"][0][:60] in page.replace("&#x27;", "'")
    # The analysis can still be read, and no other can be made.
    page = client.get(reverse("evaluation:power", args=[study.pk])).content.decode()
    assert "Simulate" not in page and "<svg" in page and "Use these numbers" not in page
    assert client.post(reverse("evaluation:power", args=[study.pk]), {"difference": 1}).status_code == 302


def test_the_page_keeps_what_was_typed_and_says_what_is_wrong(client, study):
    client.force_login(study.created_by)
    url = reverse("evaluation:power", args=[study.pk])
    form = client.get(url).context["form"]
    fields = {name: form[name].value() for name in form.fields if form[name].value() is not None}
    fields = {name: ", ".join(map(str, value)) if isinstance(value, list) else value for name, value in fields.items()}
    answer = client.post(url, fields | {"shares": "1; 2", "items": "ten", "difference": "0.35"})
    page = answer.content.decode()
    assert answer.status_code == 422 and "Give numbers, separated by commas." in page
    assert 'value="1; 2"' in page and 'value="ten"' in page and 'value="0.35"' in page
    answer = client.post(url, fields | {"shares": "1 2"})
    assert answer.status_code == 422 and "Give 5 shares" in str(answer.context["form"].errors["shares"])
    assert client.post(url, fields | {"items": "20 30", "ratings_per_output": "2"}).status_code == 302
    assert PowerAnalysis.objects.get().parameters["items"] == [20, 30]


def test_a_waiting_analysis_is_shown_and_can_be_stopped(client, study):
    job = planning.request(study, study.created_by, **QUICK)
    client.force_login(study.created_by)
    url = reverse("evaluation:power", args=[study.pk])
    assert "hx-get" in client.get(url).content.decode()
    assert client.post(reverse("evaluation:power-cancel", args=[job.pk])).url == url
    job.refresh_from_db()
    assert job.status == JobStatus.CANCELLED
    progress = client.get(reverse("evaluation:power-progress", args=[job.pk]), headers={"HX-Request": "true"})
    assert progress["HX-Refresh"] == "true"


def test_the_api_makes_and_shows_analyses(lead, study):
    client = APIClient()
    client.force_authenticate(lead)
    assert "study" in client.post("/api/power-analyses/", {}).json()
    wrong = client.post("/api/power-analyses/", {"study": study.pk, "items": [1]}, format="json")
    assert wrong.status_code == 400 and "items" in wrong.json()
    made = client.post("/api/power-analyses/", {"study": study.pk} | QUICK, format="json")
    assert made.status_code == 201 and made.json()["parameters"]["criterion"] == "bias_gone"
    jobs.execute(PowerAnalysis.objects, made.json()["id"], planning.run)
    trainer = APIClient()
    trainer.force_authenticate(study.project.memberships.get(role="trainer").user)
    shown = trainer.get(f"/api/power-analyses/{made.json()['id']}/").json()
    assert shown["status"] == "finished" and len(shown["results"]["table"]) == 4 and "figure" not in shown
    assert trainer.post("/api/power-analyses/", {"study": study.pk}, format="json").status_code == 403
    assert len(trainer.get("/api/power-analyses/", {"study": study.pk}).json()["results"]) == 1


def test_a_real_worker_simulates(worker, study):
    """Through the queue, as the page sends it."""
    worker("default")
    job = planning.request(study, study.created_by, items=[10], ratings_per_output=[1])
    from config.processes import wait_until

    assert wait_until(lambda: PowerAnalysis.objects.get(pk=job.pk).status == JobStatus.FINISHED, 120)
    assert PowerAnalysis.objects.get(pk=job.pk).figure.startswith("<?xml")
