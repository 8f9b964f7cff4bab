"""Runs side by side, and what the live page shows of one."""

import pytest
from django.urls import reverse

from annotation.jobs import JobStatus
from annotation.models import Role
from tests.factories import MembershipFactory, ProjectFactory
from tests.training.factories import RecipeFactory, make_dataset, make_run
from training import comparing
from training.models import Recipe, Run, RunMetric, RunSample
from training.parameters import PRESETS

pytestmark = pytest.mark.django_db


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


def finished(dataset, loss: float, points: int = 3, **parameters) -> Run:
    values = PRESETS["cpu-demo"].parameters.to_json() | parameters
    recipe = RecipeFactory(project=dataset.project, parameters=values)
    figures = {"validation_loss": loss, "train_loss": loss - 0.5, "tokens_per_second": 100.5}
    run = make_run(dataset=dataset, recipe=recipe, status=JobStatus.FINISHED, figures=figures, base_model="b")
    RunMetric.objects.bulk_create(
        RunMetric(run=run, kind=kind, step=step, epoch=step, loss=loss + 1 / step, learning_rate=1e-3)
        for kind in ("train", "eval")
        for step in range(1, points + 1)
    )
    return run


def address(project, *found) -> str:
    return reverse("training:compare", args=[project.pk]) + "?" + "&".join(f"run={run.pk}" for run in found)


def test_a_comparison_names_what_differs_and_which_loss_is_lowest(client, trainer, project):
    dataset = make_dataset(project=project)
    one, two = finished(dataset, 2.5, lora_rank=8), finished(dataset, 2.25, lora_rank=16)
    found = comparing.compare(Run.objects.select_related("dataset", "recipe").order_by("pk"))
    assert [(row.key, row.values) for row in found.differing] == [
        ("recipe", [one.recipe.name, two.recipe.name]),
        ("lora_rank", [8, 16]),
    ]
    (loss,) = [row for row in found.results if row.key == "validation_loss"]
    assert (loss.values, loss.best) == ([2.5, 2.25], 1)
    html = client.get(address(project, one, two)).content.decode()
    assert "LoRA rank" in html and "lowest" in html and "<svg" in html
    answer = client.get("/api/runs/compare/", {"run": [two.pk, one.pk]}).json()
    assert answer["runs"] == [two.pk, one.pk] and answer["warnings"] == []
    assert [row["key"] for row in answer["settings"] if row["differs"]] == ["recipe", "lora_rank"]


def test_losses_over_different_texts_have_no_best(project):
    finished(make_dataset(project=project), 2.5)
    finished(make_dataset(7, project=project), 2.0)
    found = comparing.compare(Run.objects.select_related("dataset", "recipe"))
    assert "different datasets" in found.warnings[0]
    assert [row.best for row in found.results if row.key == "validation_loss"] == [None]


def test_runs_to_compare_are_numbers_of_the_project_and_at_most_six(client, trainer, project):
    run = finished(make_dataset(project=project), 2.0)
    foreign = finished(make_dataset(), 2.0)
    html = client.get(address(project, run, foreign)).content.decode()
    assert foreign.name not in html.replace(run.name, "") and "Choose two runs" in html
    url = reverse("training:compare", args=[project.pk])
    answer = client.get(url, {"run": "x"})
    assert answer.status_code == 422 and "x is no number of a run" in answer.content.decode()
    assert "At most 6 runs" in client.get(url, {"run": list(range(1, 8))}).content.decode()
    assert "No such run" in client.get("/api/runs/compare/", {"run": [foreign.pk]}).json()["run"][0]
    assert client.get("/api/runs/compare/").json()["run"] == ["Name the runs."]


def test_more_runs_cost_one_more_query_each_for_their_curve(client, trainer, project, django_assert_num_queries):
    dataset = make_dataset(project=project)
    made = [finished(dataset, 2.0 + number) for number in range(3)]
    with django_assert_num_queries(1 + 2 * 3):  # a curve counts its points, then takes them
        comparing.compare(Run.objects.select_related("dataset", "recipe"))
    drawing = client.get(address(project, *made) + "&format=svg")
    assert drawing["Content-Type"] == "image/svg+xml" and drawing.content.count(b"<svg") == 1
    assert client.get(reverse("training:compare", args=[project.pk]) + "?format=svg").status_code == 404


def test_names_in_a_figure_are_no_formulas(client, trainer, project):
    dataset = make_dataset(project=project)
    made = [finished(dataset, 2.0), finished(dataset, 3.0)]
    Run.objects.update(name="costs $5 or $6_x <b>")
    assert "$5" in client.get(address(project, *made) + "&format=svg").content.decode()


def test_the_run_page_shows_the_newest_samples_and_keeps_still_until_there_are_more(client, trainer, project):
    run = make_run(dataset=make_dataset(project=project), status=JobStatus.RUNNING)
    assert "appear with the first validation" in client.get(run.get_absolute_url()).content.decode()
    for step in (10, 20):
        RunSample.objects.create(
            run=run, step=step, position=0, text="They <b>lie</b>", rewrite="They err", output=f"after {step}"
        )
    html = client.get(run.get_absolute_url()).content.decode()
    assert "after step 20" in html and "They &lt;b&gt;lie&lt;/b&gt;" in html and "Earlier evaluations (1)" in html
    progress = reverse("training:run-progress", args=[run.pk])
    assert client.get(progress, {"part": "samples", "step": "20"}).status_code == 204
    assert client.get(progress, {"part": "samples", "step": "10"}).status_code == 200
    rows = client.get(f"/api/runs/{run.pk}/samples/").json()["results"]
    assert [(row["step"], row["output"]) for row in rows] == [(10, "after 10"), (20, "after 20")]


def test_the_run_page_shows_loss_rate_throughput_and_memory(client, trainer, project):
    run = make_run(dataset=make_dataset(project=project), status=JobStatus.RUNNING)
    for kind, step, loss in (("train", 1, 3.0), ("eval", 2, 2.5), ("eval", 4, 2.75), ("train", 4, 2.0)):
        RunMetric.objects.create(
            run=run, kind=kind, step=step, epoch=0.5, loss=loss, learning_rate=0.0002, tokens_per_second=8940.4,
            memory_gib=11.25,
        )  # fmt: skip
    html = client.get(run.get_absolute_url()).content.decode()
    for words in ("2.000", "2.750", "best 2.500 at step 2", "0.0002", "8,940", "11.25 GiB"):
        assert words in html, words
    point = client.get(f"/api/runs/{run.pk}/metrics/").json()["results"][0]
    assert (point["tokens_per_second"], point["memory_gib"]) == (8940.4, 11.25)


def test_a_run_page_says_its_method(client, trainer, project):
    recipe = Recipe.objects.get(pk=RecipeFactory(project=project, method="prefix").pk)
    run = make_run(dataset=make_dataset(project=project), recipe=recipe)
    html = client.get(run.get_absolute_url()).content.decode()
    assert "Prefix tuning" in html and "NF4" not in html
