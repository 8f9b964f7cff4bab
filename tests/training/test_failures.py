"""What goes wrong with a run, and the words in which it says so."""

import errno
import os

import pytest
from django.db import OperationalError, connection
from safetensors import SafetensorError

from annotation import jobs
from annotation.jobs import JobStatus
from tests.training.factories import make_run
from training import base_models, runner
from training.engine import loading, trainer
from training.models import Run

GPU_MEMORY = "CUDA out of memory. Tried to allocate 2.00 GiB."


@pytest.fixture(autouse=True)
def artifacts(settings, tmp_path):
    settings.ARTIFACT_ROOT = tmp_path / "artifacts"
    return settings.ARTIFACT_ROOT


def failing(monkeypatch, error):
    """Perform a run whose training raises this."""

    def train(parameters, rows, base_folder, folder, reports, resume_from=None):
        (folder / "checkpoint-1").mkdir()
        raise error

    monkeypatch.setattr(trainer, "train", train)
    run = make_run()
    try:
        jobs.execute(Run.objects, run.pk, runner.execute)
    finally:
        run.refresh_from_db()
    return run


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("error", "words"),
    [
        (RuntimeError(GPU_MEMORY), "Try batch size 2 with gradient accumulation 2, or maximum length 128."),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate"), "worker ran out of memory"),
        (MemoryError(), "worker ran out of memory"),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), "disk of the artifact folder is full"),
        (SafetensorError("Error while serializing: I/O error: No space left on device"), "disk of the artifact"),
        (loading.TrainingError("The base model reads 64 tokens at most"), "reads 64 tokens at most"),
    ],
)
def test_a_failure_that_was_foreseen_tells_people_what_to_change(monkeypatch, error, words):
    run = failing(monkeypatch, error)
    assert run.status == JobStatus.FAILED
    assert words in run.error
    assert words in run.log_tail()
    assert [path.name for path in run.folder.iterdir()] == ["log.txt"]  # no checkpoint fills the disk


@pytest.mark.django_db(transaction=True)
def test_a_failure_that_nobody_foresaw_names_its_kind_and_no_trace(monkeypatch):
    with pytest.raises(KeyError):
        failing(monkeypatch, KeyError("weights"))
    run = Run.objects.get()
    assert (run.status, run.has_adapter) == (JobStatus.FAILED, False)
    assert "KeyError" in run.error and "Traceback" not in run.error


@pytest.mark.django_db(transaction=True)
def test_a_run_whose_workers_die_again_and_again_at_one_place_is_given_up(monkeypatch):
    run = make_run()
    tried = []

    def dies(*args, **kwargs):
        tried.append(1)
        raise jobs.LeaseLost

    monkeypatch.setattr(trainer, "train", dies)
    for _ in range(runner.MAX_STANDSTILL + 1):
        Run.objects.filter(pk=run.pk).update(lease_until="2020-01-01T00:00Z")
        jobs.execute(Run.objects, run.pk, runner.execute)
    run.refresh_from_db()
    assert len(tried) == runner.MAX_STANDSTILL
    assert run.status == JobStatus.FAILED
    assert "lack of memory" in run.error


@pytest.mark.django_db(transaction=True)
def test_a_database_that_is_away_for_a_moment_does_not_end_a_run(monkeypatch):
    def train(parameters, rows, base_folder, folder, reports, resume_from=None):
        for step in (1, 2):
            connection.connection.close()  # as when PostgreSQL was restarted
            reports.metric(trainer.Metric("train", step, 0.5, 2.0))
            connection.connection.close()
            reports.step(step, 2, 0.5, 0.0)
        (folder / "adapter").mkdir()
        return trainer.Result(folder / "adapter", {"steps": 2})

    monkeypatch.setattr(trainer, "train", train)
    monkeypatch.setattr(runner, "REPORT_EVERY", 0)
    run = make_run()
    jobs.execute(Run.objects, run.pk, runner.execute)
    run.refresh_from_db()
    assert (run.status, run.done, run.metrics.count()) == (JobStatus.FINISHED, 2, 2)


@pytest.mark.django_db(transaction=True)
def test_a_database_that_stays_away_longer_than_the_lease_leaves_the_run_to_another_worker(monkeypatch, settings):
    settings.JOB_LEASE_SECONDS = 1
    record = runner._Record(Run.objects.claim(make_run().pk))

    def away():
        raise OperationalError("the connection is closed")

    monkeypatch.setattr(record.run, "beat", away)
    with pytest.raises(jobs.LeaseLost):
        record.tick()


def folder_model(folder, **files):
    folder.mkdir()
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_text(content)
    return str(folder)


COMPLETE = {"config__json": "{}", "model__safetensors": "", "tokenizer__json": "{}"}


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({}, "no config.json"),
        ({"config__json": "{}"}, "no weights as safetensors."),
        ({"config__json": "{}", "pytorch_model__bin": ""}, "only pickles"),
        ({"config__json": "{}", "model__safetensors": ""}, "no tokenizer"),
        (COMPLETE | {"config__json": "{"}, "not valid JSON"),
        (COMPLETE | {"config__json": '{"auto_map": {"AutoModel": "own.Model"}}'}, "code of its own"),
        (COMPLETE | {"config__json": '{"quantization_config": {}}'}, "already quantised"),
    ],
)
def test_a_folder_that_is_no_usable_model_says_what_is_missing(tmp_path, files, words):
    with pytest.raises(base_models.BaseModelError, match=words):
        base_models.locate(folder_model(tmp_path / "model", **files))


def test_a_relative_folder_is_refused():
    with pytest.raises(base_models.BaseModelError, match="full path"):
        base_models.locate("./model")


@pytest.mark.django_db
def test_a_folder_that_changed_since_it_was_used_is_refused(tmp_path):
    name = folder_model(tmp_path / "model", **COMPLETE)
    base = base_models.locate(name)
    assert base_models.locate(name, base.revision) == base
    (tmp_path / "model" / "model.safetensors").write_text("other weights")
    with pytest.raises(base_models.BaseModelError, match="has changed since"):
        base_models.locate(name, base.revision)


def test_the_default_model_that_cannot_be_loaded_gives_way_to_a_scratch_model_and_says_why(settings, tmp_path):
    settings.BASE_MODEL = str(tmp_path / "missing")
    base = base_models.resolve("", lambda: ["Some text.", "Some other text."])
    assert base.is_scratch and "does not exist" in base.instead_of
    assert base_models.locate(base.name, base.revision).folder == base.folder


def test_the_same_texts_give_the_same_scratch_model_byte_for_byte(settings, tmp_path):
    built = []
    for place in ("one", "two"):
        settings.ARTIFACT_ROOT = tmp_path / place
        built.append(base_models.scratch(f"Text number {number} أهلا." for number in range(50)))
    first, second = ({path.name: path.read_bytes() for path in base.folder.iterdir()} for base in built)
    assert first == second
    assert built[0].name == built[1].name
    assert base_models.scratch(["Another text."]).name != built[0].name
    assert all(not path.name.startswith(".") for path in (tmp_path / "two" / "scratch").iterdir())
