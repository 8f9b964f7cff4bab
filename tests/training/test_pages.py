"""The training pages and their API, by role."""

import io
import json
import zipfile

import pytest
from django.urls import reverse

from annotation.jobs import JobStatus
from annotation.models import Role
from tests.factories import MembershipFactory, PairFactory, ProjectFactory, UserFactory
from tests.training.factories import RecipeFactory, make_dataset, make_run
from training.models import Dataset, Recipe, Run, RunMetric
from training.parameters import PRESETS

pytestmark = pytest.mark.django_db

DATASET = {"name": "Spring", "train": "0.6", "validation": "0.2", "test": "0.2", "seed": "4"}


@pytest.fixture(autouse=True)
def artifacts(settings, tmp_path):
    settings.ARTIFACT_ROOT = tmp_path


@pytest.fixture
def project():
    return ProjectFactory()


@pytest.fixture
def trainer(project, client):
    user = MembershipFactory(project=project, role=Role.TRAINER).user
    client.force_login(user)
    return user


def recipe_form(**changes):
    values = PRESETS["cpu-demo"].parameters.to_json() | {
        "name": "Mine",
        "method": "qlora",
        "base_model": "",
        "prompt_template": "Fix: {text}",
    }
    values |= changes
    return {name: value for name, value in values.items() if value is not False}


def test_a_trainer_freezes_makes_a_recipe_and_starts_a_run(client, trainer, project):
    PairFactory.create_batch(5, project=project)
    client.post(reverse("training:freeze", args=[project.pk]), DATASET)
    dataset = Dataset.objects.get()
    assert (dataset.counts, dataset.seed) == ({"train": 3, "validation": 1, "test": 1}, 4)
    client.post(reverse("training:new-recipe", args=[project.pk]), recipe_form(lora_rank=12))
    recipe = Recipe.objects.get()
    assert recipe.parameters["lora_rank"] == 12
    assert recipe.parameters["gradient_checkpointing"] is False
    form = {"dataset": dataset.pk, "recipe": recipe.pk, "seed": "9", "name": ""}
    answer = client.post(reverse("training:new-run", args=[project.pk]), form)
    run = Run.objects.get()
    assert answer.url == run.get_absolute_url()
    assert (run.status, run.seed, run.created_by) == (JobStatus.QUEUED, 9, trainer)
    html = client.get(answer.url).content.decode()
    assert "hx-trigger" in html and dataset.short_hash in html


def test_what_cannot_be_used_is_named_beside_its_field_and_nothing_typed_is_lost(client, trainer, project):
    answer = client.post(
        reverse("training:new-recipe", args=[project.pk]),
        recipe_form(lora_rank=0, learning_rate=50_000, prompt_template="no place", name="Kept <b>"),
    )
    html = answer.content.decode()
    assert answer.status_code == 422
    assert "Kept &lt;b&gt;" in html
    answer = client.post(reverse("training:new-recipe", args=[project.pk]), recipe_form(lora_rank=0))
    assert "Give 1 or more, not 0." in answer.content.decode()
    answer = client.post(reverse("training:new-recipe", args=[project.pk]), recipe_form(prompt_template="no place"))
    assert "{text} exactly once" in answer.content.decode()
    assert not Recipe.objects.exists()


def test_a_prompt_posted_by_a_browser_keeps_plain_line_breaks(client, trainer, project):
    client.post(reverse("training:new-recipe", args=[project.pk]), recipe_form(prompt_template="Fix:\r\n{text}\r\n"))
    assert Recipe.objects.get().prompt_template == "Fix:\n{text}\n"


def test_shares_that_do_not_add_up_are_refused_in_the_page(client, trainer, project):
    PairFactory.create_batch(5, project=project)
    answer = client.post(reverse("training:freeze", args=[project.pk]), DATASET | {"train": "0.9"})
    assert answer.status_code == 422
    assert "add up to 1.3" in answer.content.decode()


def test_a_lead_sees_but_does_not_act(client, project):
    client.force_login(MembershipFactory(project=project, role=Role.LEAD).user)
    dataset = make_dataset(project=project)
    run = make_run(dataset=dataset)
    assert client.get(run.get_absolute_url()).status_code == 200
    assert client.get(reverse("training:home", args=[project.pk])).status_code == 200
    for name, pk in (("freeze", project.pk), ("new-run", project.pk), ("run-cancel", run.pk), ("run-delete", run.pk)):
        assert client.post(reverse(f"training:{name}", args=[pk])).status_code == 403


def test_an_ended_run_shows_its_curves_and_the_scratch_model_and_gives_its_adapter(client, trainer, project):
    run = make_run(
        dataset=make_dataset(project=project),
        status=JobStatus.FINISHED,
        is_scratch=True,
        has_adapter=True,
        figures={"train_loss": 1.5, "validation_loss": 1.6},
    )
    for step in range(1, 4):
        RunMetric.objects.create(run=run, kind="train", step=step, epoch=step / 3, loss=3 / step)
    RunMetric.objects.create(run=run, kind="eval", step=3, epoch=1, loss=1.6)
    run.adapter.mkdir(parents=True)
    (run.adapter / "adapter_config.json").write_text("{}")
    run.log_file.write_text("A line of the <log>\n")
    html = client.get(run.get_absolute_url()).content.decode()
    assert "<svg" in html and "var(--accent)" in html
    assert "A line of the &lt;log&gt;" in html
    assert "proves the pipeline, not the method" in html
    assert "hx-trigger" not in html
    figure = client.get(reverse("training:run-figure", args=[run.pk]))
    assert figure["Content-Type"] == "image/svg+xml"
    archive = b"".join(client.get(reverse("training:run-adapter", args=[run.pk])).streaming_content)
    assert zipfile.ZipFile(io.BytesIO(archive)).namelist() == [f"run-{run.pk}-adapter/adapter_config.json"]


def test_a_failed_run_says_why(client, trainer, project):
    run = make_run(dataset=make_dataset(project=project), status=JobStatus.FAILED, error="The disk is full.")
    assert "The disk is full." in client.get(run.get_absolute_url()).content.decode()


def test_the_progress_partial_ends_by_itself(client, trainer, project):
    run = make_run(dataset=make_dataset(project=project), status=JobStatus.RUNNING, done=3, total=10)
    url = reverse("training:run-progress", args=[run.pk])
    answer = client.get(url, headers={"HX-Request": "true"})
    assert "Step 3 of 10" in answer.content.decode() and "hx-trigger" in answer.content.decode()
    Run.objects.filter(pk=run.pk).update(status=JobStatus.FINISHED)
    answer = client.get(url, headers={"HX-Request": "true"})
    assert "hx-trigger" not in answer.content.decode()
    assert answer["HX-Refresh"] == "true"


def test_the_training_page_needs_as_many_queries_for_three_runs_as_for_one(
    client, trainer, project, django_assert_num_queries
):
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    dataset = make_dataset(project=project)
    make_run(dataset=dataset)
    url = reverse("training:home", args=[project.pk])
    with CaptureQueriesContext(connection) as one:
        client.get(url)
    make_run(dataset=dataset)
    make_run(dataset=dataset)
    with django_assert_num_queries(len(one)):
        client.get(url)


def test_the_api_freezes_starts_watches_and_cancels(client, trainer, project):
    PairFactory.create_batch(5, project=project)

    def post(url, body):
        return client.post(url, body, content_type="application/json")

    dataset = post(
        "/api/datasets/", {"project": project.pk, "name": "By script", "seed": 2, "near_duplicates": None}
    ).json()
    assert dataset["counts"]["train"] == 3
    rows = client.get(f"/api/datasets/{dataset['id']}/rows/").json()["results"]
    assert len(rows) == 5
    lines = b"".join(client.get(f"/api/datasets/{dataset['id']}/files/alpaca/").streaming_content).splitlines()
    assert {"instruction", "input", "output", "split"} == set(json.loads(lines[0]))
    bad = post("/api/recipes/", {"project": project.pk, "name": "r", "parameters": {"lora_rank": "x", "what": 1}})
    assert (bad.status_code, "no such parameter" in bad.content.decode()) == (400, True)
    recipe = post("/api/recipes/", {"project": project.pk, "name": "r", "parameters": {"lora_rank": 6}}).json()
    run = post("/api/runs/", {"dataset": dataset["id"], "recipe": recipe["id"], "seed": 3}).json()
    assert (run["status"], run["parameters"]["lora_rank"], run["parameters"]["dataset_hash"]) == (
        "queued",
        6,
        dataset["content_hash"],
    )
    assert post(f"/api/runs/{run['id']}/cancel/", {}).json()["status"] == "cancelled"
    assert client.get(f"/api/runs/{run['id']}/metrics/").json()["results"] == []
    assert client.delete(f"/api/datasets/{dataset['id']}/").status_code == 400
    assert client.delete(f"/api/runs/{run['id']}/").status_code == 204


def test_a_stranger_finds_nothing(client, project):
    run = make_run(dataset=make_dataset(project=project))
    client.force_login(UserFactory())
    for url in (run.get_absolute_url(), run.dataset.get_absolute_url(), run.recipe.get_absolute_url()):
        assert client.get(url).status_code == 404
    for url in ("datasets", "recipes", "runs"):
        assert client.get(f"/api/{url}/").json()["results"] == []


def test_an_administrator_starts_a_run_from_the_admin_site(client, project):
    admin = UserFactory(is_superuser=True, is_staff=True)
    client.force_login(admin)
    dataset = make_dataset(project=project)
    form = {"action": "start_qlora_run", "_selected_action": [dataset.pk]}
    html = client.post(reverse("admin:training_dataset_changelist"), form, follow=True).content.decode()
    run = Run.objects.get()
    assert (run.dataset, run.created_by, run.recipe.name) == (dataset, admin, "CPU demo")
    assert run.get_absolute_url() in html
    for name in ("dataset", "datasetrow", "recipe", "run", "runmetric"):
        assert client.get(reverse(f"admin:training_{name}_changelist") + "?q=x").status_code == 200


def test_an_administrator_chooses_the_recipe_of_runs_started_from_the_admin_site(client, project):
    client.force_login(UserFactory(is_superuser=True, is_staff=True))
    dataset = make_dataset(project=project)
    older, _newer = RecipeFactory(project=project, name="older"), RecipeFactory(project=project, name="newer")
    url = reverse("admin:training_dataset_changelist")
    form = {"action": "start_qlora_run", "_selected_action": [dataset.pk]}
    client.post(url, form | {"recipe": older.pk})
    assert Run.objects.get().recipe == older
    html = client.post(url, form | {"recipe": RecipeFactory().pk}, follow=True).content.decode()
    assert "belongs to another project" in html
    assert Run.objects.count() == 1


def test_the_freeze_page_counts_the_pairs_of_the_chosen_label_before_anything_is_frozen(client, trainer, project):
    PairFactory.create_batch(3, project=project)
    PairFactory.create_batch(2, project=project, labels={"bias": "none"})
    url = reverse("training:freeze", args=[project.pk])
    assert "<strong>5</strong> approved pairs" in client.get(url).content.decode()
    htmx = {"HX-Request": "true"}
    for level, left in (("none", "2"), ("<b>", "0")):
        html = client.get(url, {"label_bias": level}, headers=htmx).content.decode()
        assert html.startswith(f"<strong>{left}</strong> approved pairs")


def test_the_log_is_sent_again_only_when_it_has_grown(client, trainer, project):
    run = make_run(dataset=make_dataset(project=project), status=JobStatus.RUNNING)
    run.folder.mkdir(parents=True)
    run.log_file.write_text("One line.\n")
    url = reverse("training:run-progress", args=[run.pk])
    html = client.get(url, {"part": "log", "length": 0}).content.decode()
    assert "One line." in html and "length=10" in html
    assert client.get(url, {"part": "log", "length": 10}).status_code == 204
    run.log_file.write_text("One line.\nAnother <line>.\n")
    assert "Another &lt;line&gt;." in client.get(url, {"part": "log", "length": 10}).content.decode()


def test_the_curves_come_as_a_table_too(client, trainer, project):
    run = make_run(dataset=make_dataset(project=project), status=JobStatus.RUNNING)
    RunMetric.objects.create(run=run, kind="eval", step=3, epoch=1, loss=1.25)
    html = client.get(reverse("training:run-progress", args=[run.pk]), {"part": "points"}).content.decode()
    assert "validation" in html and "1.2500" in html and "hx-trigger" not in html


def test_every_training_page_is_under_training_in_the_navigation(client, trainer, project):
    run = make_run(dataset=make_dataset(project=project))
    link = f'<a href="{reverse("training:home", args=[project.pk])}" aria-current="page">Training</a>'
    for url in (run.get_absolute_url(), run.dataset.get_absolute_url(), run.recipe.get_absolute_url()):
        assert link in client.get(url).content.decode()


def test_a_long_runs_curve_is_thinned_in_the_database_and_keeps_its_newest_point():
    run = make_run()
    RunMetric.objects.bulk_create(
        RunMetric(run=run, kind="train", step=step, epoch=0, loss=step) for step in range(1, 1001)
    )
    RunMetric.objects.create(run=run, kind="eval", step=1000, epoch=0, loss=7)
    points = run.curve_points(most=100)
    assert len([point for point in points if point[0] == "train"]) == 100
    assert points[-2:] == [("train", 1000, 0, 1000, None, None, None), ("eval", 1000, 0, 7, None, None, None)]
    assert [point[1] for point in points] == sorted(point[1] for point in points)
    assert len(run.curve_points()) == 501
    assert make_run().curve_points() == []
