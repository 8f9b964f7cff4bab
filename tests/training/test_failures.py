"""What goes wrong with a run, and the words in which it says so."""

import errno
import os
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path

import psutil
import pytest
import torch
from django.db import OperationalError, connection
from safetensors import SafetensorError

from annotation import jobs
from annotation.jobs import JobStatus
from config.processes import wait_until
from tests.training.factories import RecipeFactory, make_dataset, make_run
from training import base_models, launching, runner
from training.engine import __main__ as engine
from training.engine import loading
from training.models import Run
from training.parameters import PRESETS

GPU_MEMORY = "CUDA out of memory. Tried to allocate 2.00 GiB."


@pytest.fixture(autouse=True)
def artifacts(settings, tmp_path):
    settings.ARTIFACT_ROOT = tmp_path / "artifacts"
    return settings.ARTIFACT_ROOT


def perform(run):
    jobs.execute(Run.objects, run.pk, runner.execute)
    run.refresh_from_db()
    return run


def pretending(monkeypatch, *what):
    """Have one attempt after the other go as `what` says; see tests/training/pretender.py."""
    left = list(what)
    seen = []

    def command(folder, processes):
        seen.append(folder)
        return [sys.executable, "-m", "tests.training.pretender", str(folder), left.pop(0)]

    monkeypatch.setattr(launching, "command", command)
    return seen


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("kind", "message", "words"),
    [
        ("gpu memory", GPU_MEMORY, "GPU ran out of memory with batch size 4 and maximum length 256. Try batch size 2"),
        ("memory", "can't allocate memory: you tried to allocate", "Try batch size 2 with gradient accumulation 2, or"),
        ("disk", "No space left on device", "disk of the artifact folder is full"),
        ("training", "The base model reads 64 tokens at most", "reads 64 tokens at most"),
        ("unexpected", "weights", "(KeyError). The log has the details"),
    ],
)
def test_a_failure_that_the_training_tells_of_says_what_to_change(monkeypatch, kind, message, words):
    pretending(monkeypatch, f"failed:{kind}:{message}")
    run = perform(make_run())
    assert run.status == JobStatus.FAILED
    assert words in run.error and "Traceback" not in run.error
    assert words in run.log_tail()
    assert ("Traceback" in run.log_tail()) == (kind == "unexpected")
    assert [path.name for path in run.folder.iterdir()] == ["log.txt"]  # no checkpoint fills the disk


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (RuntimeError(GPU_MEMORY), "gpu memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate"), "memory"),
        (MemoryError(), "memory"),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), "disk"),
        (OSError(errno.ENOENT, os.strerror(errno.ENOENT)), "unexpected"),
        (SafetensorError("Error while serializing: I/O error: No space left on device"), "disk"),
        (loading.TrainingError("The base model reads 64 tokens at most"), "training"),
        (KeyError("weights"), "unexpected"),
    ],
)
def test_an_error_is_told_apart_where_it_happens(tmp_path, error, kind):
    assert engine._kind(error, tmp_path) == kind


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("what", "words"),
    [
        (
            "signal:SIGKILL",
            "was killed, most likely by the system for lack of memory, with batch size 4 and maximum le",
        ),
        ("signal:SIGKILL", "Try batch size 2 with gradient accumulation 2, or maximum length 128"),
        ("signal:SIGSEGV", "The training ended without a word (SIGSEGV)"),
        ("silent exit", "The training ended without a word (exit status 3)"),
    ],
)
def test_a_process_that_ends_without_a_word_is_explained(monkeypatch, what, words):
    pretending(monkeypatch, what)
    run = perform(make_run())
    assert run.status == JobStatus.FAILED
    assert words in run.error
    assert "the last words" in run.log_tail()


def quick_run(**changes):
    dataset = make_dataset()
    values = PRESETS["cpu-demo"].parameters.to_json()
    values |= {"max_steps": 4, "eval_steps": 4, "save_steps": 2, "lora_rank": 4} | changes
    return make_run(dataset=dataset, recipe=RecipeFactory(project=dataset.project, parameters=values))


@pytest.mark.django_db(transaction=True)
def test_a_disk_that_is_full_when_a_checkpoint_is_stored_ends_the_run_with_a_sentence(monkeypatch):
    run = quick_run()
    store = runner._store_rows

    def fill(dataset, path):
        store(dataset, path)
        (path.parent / "checkpoint-2").mkdir()
        # whose every write says that no space is left
        (path.parent / "checkpoint-2" / "trainer_state.json").symlink_to("/dev/full")

    monkeypatch.setattr(runner, "_store_rows", fill)
    perform(run)
    assert (run.status, run.error) == (JobStatus.FAILED, runner.DISK_FULL)
    assert list(run.metrics.filter(kind="train").values_list("step", flat=True)) == [1, 2]
    assert [path.name for path in run.folder.iterdir()] == ["log.txt"]


@pytest.mark.django_db(transaction=True)
def test_a_disk_that_is_full_when_the_log_is_written_ends_the_run_with_a_sentence(monkeypatch):
    pretending(monkeypatch, "slow steps")
    run = make_run()
    run.folder.mkdir(parents=True)
    run.log_file.symlink_to("/dev/full")
    perform(run)
    assert (run.status, run.error) == (JobStatus.FAILED, runner.DISK_FULL)


@pytest.mark.django_db(transaction=True)
def test_a_training_that_finds_no_memory_names_the_batch_and_length_to_try(monkeypatch):
    limit = "import resource, runpy; resource.setrlimit(resource.RLIMIT_AS, (800 << 20, 800 << 20)); "
    code = f"{limit} runpy.run_module('training.engine', run_name='__main__')"
    monkeypatch.setattr(launching, "command", lambda folder, processes: [sys.executable, "-c", code, str(folder)])
    run = perform(make_run())
    assert run.status == JobStatus.FAILED
    assert "ran out of memory with batch size 4 and maximum length 256. Try batch size 2" in run.error, run.log_tail()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"processes": 3}, "The recipe asks for 3 processes, and the worker has no GPU and 2 processor cores: set"),
        ({"processes": 2, "sharding": "fsdp"}, "by FSDP needs GPUs, and the worker has none: take ddp"),
    ],
)
def test_what_the_worker_cannot_share_out_is_refused_before_a_model_is_loaded(monkeypatch, changes, words):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1})
    parameters = quick_run(**changes).run_parameters()
    with pytest.raises(loading.TrainingError, match=words):
        engine._check_devices(parameters)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(loading.TrainingError, match="one a GPU, and the worker has 1: set processes to 1"):
        engine._check_devices(parameters)


def test_a_supervisor_that_was_killed_leaves_no_socket_behind_and_a_living_one_keeps_its_own(tmp_path):
    code = (
        "import os, socket, sys; line = socket.socket(socket.AF_UNIX); os.mkdir(sys.argv[1]); "
        "line.bind(sys.argv[1] + '/line'); line.listen(); os.kill(os.getpid(), 9)"
    )
    dead = Path(f"/tmp/{launching.PREFIX}{uuid.uuid4().hex[:8]}")
    subprocess.run([sys.executable, "-c", code, str(dead)], check=False)
    assert (dead / "line").exists()
    sleeper = [sys.executable, "-c", "import time; time.sleep(30)"]
    with launching.Launch(sleeper, tmp_path, {}, cwd=tmp_path) as launch:
        assert not dead.exists()
        launching._remove_dead_lines()
        assert (launch._sockets / "line").exists()
        assert launch.next(0.5) is None, "who only looked is no process of the training"


def test_a_training_gets_no_secrets_and_does_not_ask_the_hub():
    names = (
        "SECRET_KEY",
        "DATABASE_URL",
        "REDIS_URL",
        "HF_TOKEN",
        "HUGGING_FACE_HUB_TOKEN",
        "AWS_SECRET_ACCESS_KEY",
        "OPENAI_API_KEY",
    )
    own = launching.environment(1, dict.fromkeys(names, "x") | {"PATH": "/bin", "CUDA_VISIBLE_DEVICES": "1"})
    assert not set(names) & set(own)
    assert (own["PATH"], own["CUDA_VISIBLE_DEVICES"], own["HF_HUB_OFFLINE"]) == ("/bin", "1", "1")


@pytest.mark.django_db(transaction=True)
def test_a_process_that_is_asked_to_end_leaves_its_run_to_another_attempt(monkeypatch):
    pretending(monkeypatch, "signal:SIGTERM", "slow steps")
    run = perform(make_run())
    assert (run.status, run.error) == (JobStatus.QUEUED, "")
    perform(run)
    assert (run.status, run.attempt) == (JobStatus.FINISHED, 2)


@pytest.mark.django_db(transaction=True)
def test_a_cancelled_run_ends_its_process_in_the_middle_of_a_step_even_where_that_does_not_listen(monkeypatch):
    folders = pretending(monkeypatch, "hangs")
    run = make_run()
    asked = []

    def cancel():
        assert wait_until(lambda: folders and (folders[0] / "pid").exists(), 30)
        asked.append((int((folders[0] / "pid").read_text()), time.monotonic()))
        Run.objects.get(pk=run.pk).request_cancel()
        connection.close()

    thread = threading.Thread(target=cancel)
    thread.start()
    perform(run)
    thread.join()
    pid, since = asked[0]
    assert run.status == JobStatus.CANCELLED
    assert time.monotonic() - since < 5
    assert not psutil.pid_exists(pid)
    assert [path.name for path in run.folder.iterdir()] == ["log.txt"]


@pytest.mark.django_db(transaction=True)
def test_a_run_is_cancelled_in_the_middle_of_a_download(monkeypatch):
    run = make_run()

    left = threading.Event()

    def endless(*args, **options):
        Run.objects.get(pk=run.pk).request_cancel()
        connection.close()
        left.wait(60)

    monkeypatch.setattr(base_models, "resolve", endless)
    started = time.monotonic()
    perform(run)
    assert run.status == JobStatus.CANCELLED
    assert time.monotonic() - started < 5
    left.set()


@pytest.mark.django_db(transaction=True)
def test_a_training_whose_supervisor_falls_silent_ends_itself(monkeypatch, settings):
    settings.JOB_LEASE_SECONDS = 2
    folders = pretending(monkeypatch, "hangs", "slow steps")
    monkeypatch.setattr(launching.Launch, "greet", lambda self: None)  # as where the supervisor hangs
    run = perform(make_run())
    assert run.status == JobStatus.RUNNING, "its lease runs out, and another worker takes it"
    assert not psutil.pid_exists(int((folders[0] / "pid").read_text()))


@pytest.mark.django_db(transaction=True)
def test_a_run_that_got_to_its_end_but_could_not_say_so_is_not_trained_again(monkeypatch):
    folders = pretending(monkeypatch, "slow steps")
    run = make_run()
    with monkeypatch.context() as patch:
        patch.setattr(Run, "end", lambda *args, **values: 1 / 0)  # the worker dies here
        with pytest.raises(ZeroDivisionError):
            perform(run)
    Run.objects.filter(pk=run.pk).update(lease_until="2020-01-01T00:00Z")
    perform(run)
    assert (run.status, run.attempt, run.figures["steps"], len(folders)) == (JobStatus.FINISHED, 2, 4, 1)
    assert run.figures["attempt"] == 1, "whose files they are"


@pytest.mark.django_db(transaction=True)
def test_a_run_whose_workers_die_again_and_again_at_one_place_is_given_up(monkeypatch):
    run = make_run()
    tried = []

    def dies(*args, **kwargs):
        tried.append(1)
        raise jobs.LeaseLost

    monkeypatch.setattr(runner, "_train", dies)
    for _ in range(runner.MAX_STANDSTILL + 1):
        Run.objects.filter(pk=run.pk).update(lease_until="2020-01-01T00:00Z")
        perform(run)
    assert len(tried) == runner.MAX_STANDSTILL
    assert run.status == JobStatus.FAILED
    assert "lack of memory" in run.error


@pytest.mark.django_db(transaction=True)
def test_a_database_that_is_away_for_a_moment_does_not_end_a_run(monkeypatch):
    pretending(monkeypatch, "slow steps")
    monkeypatch.setattr(runner, "REPORT_EVERY", 0)
    real = runner._Record.hear

    def cut_off(self, event):
        connection.connection.close()  # as when PostgreSQL was restarted
        real(self, event)

    monkeypatch.setattr(runner._Record, "hear", cut_off)
    run = perform(make_run())
    assert (run.status, run.done, run.metrics.count()) == (JobStatus.FINISHED, 4, 4)


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
