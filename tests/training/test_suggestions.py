"""A finished run as a source of suggestions: its real tiny model, in this process and in a real worker."""

import pytest
from django.core.exceptions import ValidationError

from annotation import jobs, suggesters, suggestions
from annotation.jobs import JobStatus
from annotation.models import Suggestion, SuggestionJob
from config.processes import wait_until
from tests.factories import ItemFactory, PairFactory, ProjectFactory
from tests.training.factories import RecipeFactory, make_dataset, make_run
from training import runner
from training.models import Run
from training.parameters import PRESETS

REWRITE = "Kinder."


@pytest.fixture
def project(settings, tmp_path, transactional_db):
    settings.ARTIFACT_ROOT = tmp_path / "artifacts"
    settings.BASE_MODEL = "/no/such/model"  # so the scratch model is taken, without a look at the network
    return ProjectFactory()


@pytest.fixture
def run(project) -> Run:
    """A run that has learned one sentence, and to stop after it."""
    PairFactory.create_batch(8, project=project, rewrite=REWRITE)
    recipe = RecipeFactory(
        project=project,
        parameters=PRESETS["cpu-demo"].parameters.to_json()
        | {"max_steps": 80, "learning_rate": 0.01, "lora_rank": 16, "batch_size": 4},
    )
    dataset = make_dataset(0, project=project, shares={"train": 1.0, "validation": 0.0, "test": 0.0})
    run = make_run(dataset=dataset, recipe=recipe)
    jobs.execute(Run.objects, run.pk, runner.execute)
    run.refresh_from_db()
    assert run.status == JobStatus.FINISHED, run.error
    return run


def test_a_finished_runs_model_suggests_rewrites(project, run):
    (source,) = suggesters.sources_for(project)
    assert (source.kind, source.id, source.is_free, source.is_scratch) == ("run", run.pk, True, True)
    row = suggestions.change(project, project.created_by, source=("run", run.pk), max_tokens=40)
    assert row.prompt.template == run.parameters["prompt_template"]
    assert (row.prompt.answer_format, row.prompt.with_labels, row.prompt.with_rewrite) == ("text", False, True)
    items = [ItemFactory(project=project) for _ in range(11)]
    job = suggestions.start(project, project.created_by)
    jobs.execute(SuggestionJob.objects, job.pk, suggestions.run)
    job.refresh_from_db()
    assert (job.status, job.error, job.done) == (JobStatus.FINISHED, "", 11)  # not the settled ones
    made = Suggestion.objects.filter(item__in=items)
    assert {(one.status, one.rewrite) for one in made} == {("ok", REWRITE)}, list(made.values("status", "answer"))
    assert all(one.usage_known and one.input_tokens > 10 and one.cost == 0 for one in made)
    assert all(1 <= one.output_tokens <= 40 and one.model == run.base_model for one in made)


def test_an_answer_that_does_not_end_is_cut_off_and_not_used(project, run):
    ItemFactory.create_batch(3, project=project)
    suggestions.change(project, project.created_by, source=("run", run.pk), max_tokens=1)
    job = suggestions.start(project, project.created_by)
    jobs.execute(SuggestionJob.objects, job.pk, suggestions.run)
    assert set(Suggestion.objects.values_list("status", flat=True)) == {"malformed"}
    assert "cut off at the limit of 1 token" in Suggestion.objects.first().reason


def test_a_budget_in_tokens_holds_for_a_run_too(project, run):
    for _ in range(60):
        ItemFactory(project=project)
    suggestions.change(project, project.created_by, source=("run", run.pk), max_tokens=20, budget_tokens=2_000)
    job = suggestions.start(project, project.created_by)
    jobs.execute(SuggestionJob.objects, job.pk, suggestions.run)
    job.refresh_from_db()
    assert job.status == JobStatus.FINISHED and job.budget_reached
    assert 1_000 < suggestions.spent(project.pk)[1] <= 2_000


@pytest.mark.slow
def test_the_job_goes_to_the_gpu_worker(project, run, worker):
    from django.conf import settings

    env = {"BASE_MODEL": "/no/such/model", "DATA_DIR": str(settings.ARTIFACT_ROOT.parent)}
    ItemFactory.create_batch(3, project=project)
    suggestions.change(project, project.created_by, source=("run", run.pk), max_tokens=20)
    worker("default", env=env)
    gpu = worker("gpu", env=env)
    job = suggestions.start(project, project.created_by)
    assert wait_until(lambda: SuggestionJob.objects.get(pk=job.pk).status == JobStatus.FINISHED, 120)
    made = list(Suggestion.objects.values("status", "reason", "answer"))
    assert {one["status"] for one in made} == {"ok"}, made
    assert "training.execute_suggestions" in gpu.log.read_text()


def test_runs_that_cannot_be_used_are_not_offered(project):
    from annotation.models import SuggestionPrompt

    dataset = make_dataset(project=project)
    unfinished = make_run(dataset=dataset)
    elsewhere = make_run(status=JobStatus.FINISHED, has_adapter=True)
    assert suggesters.sources_for(project) == []
    for run in (unfinished, elsewhere):
        with pytest.raises(ValidationError, match="Choose one of the sources"):
            suggestions.change(project, project.created_by, source=("run", run.pk))
    assert not SuggestionPrompt.objects.exists()
