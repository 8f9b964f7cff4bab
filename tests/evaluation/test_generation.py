"""Generating outputs, with a real tiny model and its real adapter."""

import signal

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.urls import reverse

from annotation import jobs
from annotation.jobs import JobStatus
from annotation.models import Role
from config.processes import wait_until
from evaluation import generating, systems
from evaluation.models import Generation, Output, System, SystemKind
from tests.evaluation.factories import OutputFactory, SystemFactory
from tests.factories import MembershipFactory, UserFactory
from tests.training.factories import RecipeFactory, make_dataset, make_run
from training import datasets, runner, runs
from training.models import Run
from training.parameters import PRESETS

HTMX = {"HTTP_HX_REQUEST": "true"}


@pytest.fixture
def dataset(settings, tmp_path, transactional_db):
    settings.ARTIFACT_ROOT = tmp_path / "artifacts"
    settings.BASE_MODEL = "/no/such/model"  # so the scratch model is taken, without a look at the network
    return make_dataset(pairs=10)


def base_system(dataset, name="base", **values):
    values = {"kind": "base", "max_new_tokens": 6} | values
    return systems.create(dataset.project, dataset.created_by, name=name, **values)


def finished_run(dataset, **columns):
    """A run whose row says that it has an adapter; no model is trained."""
    columns = {"status": JobStatus.FINISHED, "has_adapter": True, "base_model": "scratch-model/x"} | columns
    return make_run(dataset=dataset, **columns)


def perform(job):
    jobs.execute(Generation.objects, job.pk, generating.run)
    job.refresh_from_db()
    return job


def texts(system):
    return dict(Output.objects.filter(system=system).values_list("item_id", "text"))


# With a model


def test_a_base_model_and_a_runs_model_generate_for_the_test_split(dataset):
    recipe = RecipeFactory(
        project=dataset.project,
        parameters=PRESETS["cpu-demo"].parameters.to_json() | {"max_steps": 4, "learning_rate": 0.05, "lora_rank": 4},
    )
    run = make_run(dataset=dataset, recipe=recipe)
    jobs.execute(Run.objects, run.pk, runner.execute)
    run.refresh_from_db()
    base = base_system(dataset, run=run)
    tuned = systems.create(dataset.project, dataset.created_by, kind="run", name="tuned", run=run, max_new_tokens=6)
    alone = base_system(dataset, name="alone")
    for system in (base, tuned, alone):
        job = perform(systems.generate(system, dataset, dataset.created_by))
        assert (job.status, job.error) == (JobStatus.FINISHED, "")
        assert job.done == job.total == dataset.counts["test"]
    for output in Output.objects.all():
        assert (output.prompt_tokens, output.cut_off) == (output.prompt_tokens or 0, output.tokens == 6)
    expected = set(dataset.rows.filter(split="test").values_list("item_id", flat=True))
    assert set(texts(base)) == set(texts(tuned)) == expected
    assert all(1 <= tokens <= 6 for tokens in Output.objects.values_list("tokens", flat=True))
    assert all(seconds > 0 for seconds in Output.objects.values_list("seconds", flat=True))
    assert texts(base) != texts(tuned), "the adapter changes what is said"
    # Found on its own, the base is the very scratch model that the run started from; greedy decoding repeats itself.
    alone.refresh_from_db()
    assert (alone.base_model, alone.is_scratch) == (run.base_model, True)
    assert alone.settings["base_revision"] == run.base_revision
    assert texts(alone) == texts(base)


def test_a_generation_goes_on_where_it_was(dataset):
    system = base_system(dataset)
    rows = list(dataset.rows.filter(split="test"))
    perform(systems.generate(system, dataset, dataset.created_by))
    made = Output.objects.filter(system=system)
    made.filter(item=rows[0].item).update(text="made before")
    made.exclude(item=rows[0].item).delete()
    job = perform(systems.generate(system, dataset, dataset.created_by))
    assert job.status == JobStatus.FINISHED
    assert texts(system)[rows[0].item_id] == "made before"
    assert len(texts(system)) == len(rows)
    with pytest.raises(ValidationError, match="every text of this split already"):
        systems.generate(system, dataset, dataset.created_by)


def test_a_stopped_generation_keeps_what_it_made(dataset, monkeypatch):
    system = base_system(dataset)
    System.objects.filter(pk=system.pk).update(settings=system.settings | {"batch_size": 1})
    job = systems.generate(system, dataset, dataset.created_by)
    report = Generation.report

    def cancel_after_one(self, done, total=None, message=None):
        if done == 1:
            Generation.objects.get(pk=self.pk).request_cancel()
        report(self, done, total, message)

    monkeypatch.setattr(Generation, "report", cancel_after_one)
    assert perform(job).status == JobStatus.CANCELLED
    assert len(texts(system)) == 1


def test_a_job_that_was_taken_over_writes_nothing(dataset):
    from training.engine.generation import Generated

    system = base_system(dataset)
    job = systems.generate(system, dataset, dataset.created_by)
    old = Generation.objects.claim(job.pk)
    Generation.objects.filter(pk=job.pk).update(attempt=old.attempt + 1)
    row = dataset.rows.first()
    with pytest.raises(jobs.LeaseLost):
        generating._store(old, [(row.item_id, Generated("late", 1, 0.1))])
    assert not Output.objects.exists()


def test_a_model_that_cannot_be_loaded_fails_with_a_sentence(dataset):
    system = base_system(dataset, base_model="/no/such/folder")
    job = perform(systems.generate(system, dataset, dataset.created_by))
    assert job.status == JobStatus.FAILED
    assert "/no/such/folder" in job.error
    assert not Output.objects.exists()


def test_what_decides_outputs_is_frozen_once_there_are_any(dataset):
    system = base_system(dataset)
    System.objects.filter(pk=system.pk).update(prompt_template="Soften: {text}", name="before")
    OutputFactory(system=system)
    System.objects.filter(pk=system.pk).update(name="after", budget_tokens=3)
    other = systems.keep_prompt(dataset.project, dataset.created_by, "x", "Other: {text}")
    changes = {"prompt_template": "X {text}", "settings": {}, "base_model": "y", "prompt": other, "kind": "upload"}
    for name, value in changes.items():
        with pytest.raises(IntegrityError, match="make another system"), transaction.atomic():
            System.objects.filter(pk=system.pk).update(**{name: value})


def test_a_system_generates_for_all_splits_at_once(dataset):
    system = base_system(dataset)
    assert systems.generate(system, dataset, dataset.created_by, "all").total == dataset.size


@pytest.mark.slow
def test_a_real_worker_survives_being_killed(dataset, worker):
    from django.conf import settings

    system = base_system(dataset, max_new_tokens=200)
    System.objects.filter(pk=system.pk).update(settings=system.settings | {"batch_size": 1})
    env = {"BASE_MODEL": "/no/such/model", "DATA_DIR": str(settings.ARTIFACT_ROOT.parent), "JOB_LEASE_SECONDS": "3"}
    env["REQUEUE_SECONDS"] = "1"
    first = worker("gpu", env=env)
    job = systems.generate(system, dataset, dataset.created_by)
    assert wait_until(lambda: Output.objects.exists(), 90)
    first.kill()
    made = texts(system)
    job.refresh_from_db()
    if job.status == JobStatus.FINISHED:
        pytest.skip("The worker was faster than the kill.")
    worker("gpu", env=env)
    worker("default", env=env, beat=True)
    assert wait_until(lambda: Generation.objects.get(pk=job.pk).status == JobStatus.FINISHED, 120)
    assert made.items() <= texts(system).items()
    assert len(texts(system)) == dataset.counts["test"]
    assert first.process.returncode == -signal.SIGKILL


# Rules, without a model


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"kind": "upload"}, "kind"),
        ({"kind": "run"}, "run"),
        ({"prompt_template": "no place"}, "prompt_template"),
        ({"prompt_template": "{text} {text}"}, "prompt_template"),
        ({"prompt_template": "{text}\x00"}, "prompt_template"),
        ({"max_new_tokens": 0}, "max_new_tokens"),
        ({"max_new_tokens": 5_000}, "max_new_tokens"),
        ({"name": "taken"}, "name"),
        ({"name": " "}, "name"),
        ({"base_model": "x" * 301}, "base_model"),
    ],
)
def test_a_system_that_makes_no_sense_is_refused(dataset, values, field):
    SystemFactory(project=dataset.project, name="taken")
    with pytest.raises(ValidationError) as error:
        base_system(dataset, **({"name": "new"} | values))
    assert field in error.value.message_dict
    assert System.objects.count() == 1


def test_a_system_takes_the_runs_prompt_and_base(dataset):
    run = finished_run(dataset, base_revision="abc", is_scratch=True)
    system = systems.create(dataset.project, dataset.created_by, kind="run", name="x", run=run)
    assert system.prompt_template == run.parameters["prompt_template"]
    assert (system.base_model, system.settings["base_revision"], system.is_scratch) == ("scratch-model/x", "abc", True)


@pytest.mark.parametrize("columns", [{"status": JobStatus.RUNNING}, {"has_adapter": False}])
def test_only_a_finished_run_can_generate(dataset, columns):
    run = finished_run(dataset, **columns)
    with pytest.raises(ValidationError, match="finished run"):
        systems.create(dataset.project, dataset.created_by, kind="run", name="x", run=run)


def test_a_run_of_another_project_is_refused(dataset):
    run = finished_run(make_dataset())
    with pytest.raises(ValidationError, match="of this project"):
        systems.create(dataset.project, dataset.created_by, kind="run", name="x", run=run)


def test_a_generation_is_refused_where_it_makes_no_sense(dataset):
    system = base_system(dataset)
    user = dataset.created_by
    with pytest.raises(ValidationError, match="are uploaded"):
        systems.generate(SystemFactory(project=dataset.project), dataset, user)
    with pytest.raises(ValidationError, match="same project"):
        systems.generate(system, make_dataset(), user)
    with pytest.raises(ValidationError, match="A split is one of"):
        systems.generate(system, dataset, user, "x")
    systems.generate(system, dataset, user)
    with pytest.raises(ValidationError, match="generating already"):
        systems.generate(system, dataset, user)
    assert Generation.objects.count() == 1


# Pages and API


@pytest.fixture
def trainer(client, dataset):
    person = UserFactory(username="trainer")
    MembershipFactory(project=dataset.project, user=person, role=Role.TRAINER)
    client.force_login(person)
    return person


def test_a_trainer_makes_a_system_and_starts_it_in_pages(client, dataset, trainer):
    url = reverse("evaluation:system-new", args=[dataset.project_id])
    assert "No run has finished yet" in client.get(url).content.decode()
    refused = client.post(url, {"name": "mine", "kind": "base", "prompt_template": "nowhere", "max_new_tokens": 9})
    assert refused.status_code == 422
    assert "exactly once" in refused.content.decode() and "nowhere" in refused.content.decode()
    made = client.post(url, {"name": "mine", "kind": "base", "max_new_tokens": 9})
    system = System.objects.get()
    assert made.url == system.get_absolute_url()
    generate = reverse("evaluation:generate", args=[system.pk])
    assert client.post(generate, {"dataset": dataset.pk, "split": "test"}).url == system.get_absolute_url()
    job = Generation.objects.get()
    page = client.get(system.get_absolute_url()).content.decode()
    progress = reverse("evaluation:generation-progress", args=[job.pk])
    assert progress in page and "Waiting for a GPU worker" in page
    again = client.post(generate, {"dataset": dataset.pk, "split": "test"})
    assert again.status_code == 422 and b"generating already" in again.content
    client.post(reverse("evaluation:generation-cancel", args=[job.pk]))
    assert client.get(progress, **HTMX)["HX-Refresh"] == "true"
    job.refresh_from_db()
    assert job.status == JobStatus.CANCELLED


def test_only_trainers_generate(client, dataset):
    lead, outsider = UserFactory(), UserFactory()
    MembershipFactory(project=dataset.project, user=lead, role=Role.LEAD)
    system = base_system(dataset)
    job = systems.generate(system, dataset, dataset.created_by)
    for person, status in ((lead, 403), (outsider, 404)):
        client.force_login(person)
        assert client.get(reverse("evaluation:system-new", args=[dataset.project_id])).status_code == status
        assert client.post(reverse("evaluation:generate", args=[system.pk])).status_code == status
        assert client.post(reverse("evaluation:generation-cancel", args=[job.pk])).status_code == status
        assert client.post(f"/api/generations/{job.pk}/cancel/").status_code == status
        data = {"system": system.pk, "dataset": dataset.pk}
        assert client.post("/api/generations/", data, content_type="application/json").status_code == status
        data = {"project": dataset.project_id, "name": "x", "kind": "base"}
        assert client.post("/api/systems/", data, content_type="application/json").status_code == status
    client.force_login(lead)
    assert client.get(system.get_absolute_url()).status_code == 200


def test_a_trainer_does_the_same_through_the_api(client, dataset, trainer):
    def post(url, **data):
        return client.post(url, data, content_type="application/json")

    run = finished_run(dataset)
    made = post("/api/systems/", project=dataset.project_id, name="mine", kind="run", run=run.pk, max_new_tokens=9)
    assert made.status_code == 201, made.json()
    assert made.json()["kind"] == SystemKind.RUN
    assert "name" in post("/api/systems/", project=dataset.project_id, name="mine", kind="base").json()
    assert post("/api/systems/", project=dataset.project_id, name="z", kind="run", run=9**9).status_code == 400
    job = post("/api/generations/", system=made.json()["id"], dataset=dataset.pk)
    assert (job.status_code, job.json()["total"]) == (201, dataset.counts["test"])
    assert post("/api/generations/", system=made.json()["id"], dataset=9**9).status_code == 400
    assert post(f"/api/generations/{job.json()['id']}/cancel/").json()["status"] == "cancelled"
    assert client.get("/api/generations/").json()["results"][0]["split"] == "test"


@pytest.mark.django_db
def test_a_run_or_dataset_that_a_system_needs_is_not_deleted_and_says_why():
    run = make_run(status=JobStatus.FINISHED)
    project, user = run.project, run.created_by
    system = System.objects.create(project=project, name="Tuned", kind="run", run=run, created_by=user)
    with pytest.raises(ValidationError, match="in use by the system “Tuned”"):
        runs.delete(run)
    dataset = make_dataset(project=project)
    Generation.objects.create(project=project, created_by=user, system=system, dataset=dataset)
    with pytest.raises(ValidationError, match="in use by the generation"):
        datasets.delete(dataset)
