"""What runs leave behind, in the shared folder and in S3-compatible storage."""

import io
import json
import threading
import time
import zipfile

import pytest
from django.urls import reverse

from annotation import jobs
from annotation.jobs import JobError, JobStatus
from annotation.models import Role
from tests.factories import MembershipFactory
from tests.s3_server import Bucket, serving
from tests.training.factories import make_dataset, make_run
from training import artifacts, base_models, ending, runner, runs
from training.engine import checkpoints
from training.models import DeletedRun, Run

pytestmark = pytest.mark.django_db


@pytest.fixture(scope="module")
def s3(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("s3") / "server.log") as url:
        yield url


@pytest.fixture
def bucket(s3, settings):
    made = Bucket(s3)
    settings.STORAGES = settings.STORAGES | made.storage()
    return made


@pytest.fixture
def machine(settings, tmp_path):
    """Go to another machine: `machine("one")` has a folder of its own."""

    def go(name: str):
        settings.ARTIFACT_ROOT = tmp_path / name / "artifacts"
        return settings.ARTIFACT_ROOT

    go("one")
    return go


@pytest.fixture
def run(machine):
    return make_run(status=JobStatus.RUNNING, attempt=1)


def write_checkpoint(run, step, attempt=1, **files):
    folder = run.folder / f"attempt-{attempt}" / f"checkpoint-{step}"
    (folder / "deep").mkdir(parents=True)
    for name, content in ({"weights": f"step {step}"} | files).items():
        (folder / name).write_text(content)
    (folder / "deep" / "state").write_text("x" * 1000)
    checkpoints.mark_complete(folder, step)
    return folder


def write_result(run, name="adapter", **files):
    folder = run.folder / name
    folder.mkdir(parents=True)
    for one, content in ({"README.md": "---\nlicense: unknown\n---\n\n# Mine <b>\n"} | files).items():
        (folder / one.replace("__", ".")).write_text(content)
    return folder


def test_without_a_bucket_nothing_is_copied(machine, run):
    folder = write_checkpoint(run, 5)
    artifacts.put_checkpoint(run, folder, 5)
    assert artifacts.last_checkpoint(run) == (folder, 5)
    write_result(run)
    artifacts.put_result(run, "adapter")
    assert artifacts.fetch(run) == run.adapter
    assert [file.name for file in artifacts.result_files(run)] == ["README.md"]


def test_another_machine_goes_on_from_the_last_complete_checkpoint_of_the_bucket(bucket, machine, run):
    for step in (5, 10):
        artifacts.put_checkpoint(run, write_checkpoint(run, step), step)
    assert {key.split("/")[4] for key in bucket.names() if "checkpoints" in key} == {"10-1"}, "the older one is gone"
    run.log_file.write_text("One line.\n")
    artifacts.put_log(run)

    machine("two")
    artifacts.begin(run)
    assert run.log_file.read_text() == "One line.\n"
    folder, step = artifacts.last_checkpoint(run)
    assert (step, (folder / "weights").read_text(), len((folder / "deep" / "state").read_text())) == (
        10,
        "step 10",
        1000,
    )
    assert folder == run.folder / "attempt-1" / "checkpoint-10"


def test_a_half_uploaded_checkpoint_is_passed_over(bucket, machine, run):
    artifacts.put_checkpoint(run, write_checkpoint(run, 5), 5)
    later = write_checkpoint(run, 10)
    for name in ("weights", checkpoints.COMPLETE):  # a worker killed before the last file
        bucket.client.upload_file(str(later / name), bucket.name, f"artifacts/runs/{run.pk}/checkpoints/10-1/{name}")
    machine("two")
    assert artifacts.last_checkpoint(run)[1] == 5


def test_a_checkpoint_that_was_damaged_in_the_bucket_is_not_taken(bucket, machine, run):
    artifacts.put_checkpoint(run, write_checkpoint(run, 5), 5)
    bucket.client.put_object(Bucket=bucket.name, Key=f"artifacts/runs/{run.pk}/checkpoints/5-1/weights", Body=b"cut")
    machine("two")
    with pytest.raises(artifacts.Unreachable, match="another number of bytes"):
        artifacts.last_checkpoint(run)
    assert not (run.folder / "attempt-1" / "checkpoint-5").exists()


def test_a_more_advanced_checkpoint_on_this_machine_is_not_fetched(bucket, machine, run):
    artifacts.put_checkpoint(run, write_checkpoint(run, 5), 5)
    here = write_checkpoint(run, 7)
    assert artifacts.last_checkpoint(run) == (here, 7)


@pytest.mark.django_db(transaction=True)
def test_checkpoints_and_log_are_uploaded_while_the_training_goes_on(bucket, machine, run, monkeypatch):
    monkeypatch.setattr(artifacts, "LOG_EVERY", 0.1)
    Run.objects.filter(pk=run.pk).update(status=JobStatus.RUNNING, attempt=1)
    run.folder.mkdir(parents=True)
    with artifacts.Uploads(run, run.folder / "attempt-1"):
        run.log_file.write_text("One line.\n")
        write_checkpoint(run, 5)
        write_checkpoint(run, 10)
        until = time.monotonic() + 30
        while not any(key.endswith(f"10-1/{artifacts.FILES}") for key in bucket.names()):
            assert time.monotonic() < until, bucket.names()
            time.sleep(0.1)
        while f"artifacts/runs/{run.pk}/log.txt" not in bucket.names():
            assert time.monotonic() < until, bucket.names()
            time.sleep(0.1)
    assert not [one for one in threading.enumerate() if one.name == f"uploads-{run.pk}"]


def test_a_worker_that_lost_the_run_uploads_nothing(bucket, machine, run):
    Run.objects.filter(pk=run.pk).update(attempt=2)
    write_checkpoint(run, 5)
    artifacts.Uploads(run, run.folder / "attempt-1")._carry()
    assert bucket.names() == []


@pytest.mark.django_db(transaction=True)
def test_a_bucket_that_is_away_does_not_stop_the_training_and_the_log_says_so(bucket, machine, run, settings):
    settings.STORAGES["artifacts"]["OPTIONS"]["endpoint_url"] = "http://127.0.0.1:9"
    settings.STORAGES = dict(settings.STORAGES)
    said = []
    with artifacts.Uploads(run, run.folder / "attempt-1", said.append):
        write_checkpoint(run, 5)
        until = time.monotonic() + 30
        while not said and time.monotonic() < until:
            time.sleep(0.1)
    assert len(said) == 1 and "cannot be used" in said[0] and "The training goes on" in said[0]


def test_the_adapter_is_fetched_once_and_only_that_of_the_attempt_that_finished(bucket, machine, run):
    write_result(run, weights="first")
    artifacts.put_result(run, "adapter")
    machine("two")
    Run.objects.filter(pk=run.pk).update(attempt=2)
    run.refresh_from_db()
    write_result(run, weights="second")
    artifacts.put_result(run, "adapter")

    machine("one")  # has the files of the attempt that was given up
    assert (run.adapter / "weights").read_text() == "first"
    folder = artifacts.fetch(run)
    assert (folder / "weights").read_text() == "second"
    stamp = (folder / "weights").stat().st_mtime_ns
    assert (artifacts.fetch(run) / "weights").stat().st_mtime_ns == stamp
    artifacts.free_attempts(run)
    assert {key.split("/")[4] for key in bucket.names() if "/results/" in key} == {"2"}


def test_a_result_that_is_nowhere_says_so(bucket, machine, run):
    with pytest.raises(JobError, match="is not in the artifacts bucket"):
        artifacts.fetch(run)
    assert artifacts.result_files(run) == []


def test_a_name_that_points_outside_the_folder_is_refused(bucket, machine, run):
    key = f"artifacts/runs/{run.pk}/results/1/adapter"
    for name, body in ((f"{key}/x", b"x"), (f"{key}/{artifacts.FILES}", b'{"files": {"../../x": 1}}')):
        bucket.client.put_object(Bucket=bucket.name, Key=name, Body=body)
    with pytest.raises(JobError, match="outside its folder"):
        artifacts.fetch(run)


def test_a_web_server_without_any_of_the_files_serves_log_adapter_and_card(bucket, machine, client):
    run = make_run(status=JobStatus.FINISHED, attempt=1, has_adapter=True)
    client.force_login(MembershipFactory(project=run.project, role=Role.TRAINER).user)
    write_result(run, adapter_config__json="{}")
    artifacts.put_result(run, "adapter")
    run.log_file.write_text("x" * 30_000 + "the end")
    artifacts.put_log(run)

    root = machine("web")
    data = b"".join(client.get(reverse("training:run-adapter", args=[run.pk])).streaming_content)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == [f"run-{run.pk}-adapter/README.md", f"run-{run.pk}-adapter/adapter_config.json"]
    log = b"".join(client.get(f"/api/runs/{run.pk}/log/").streaming_content)
    assert len(log) == 30_007
    assert run.log_tail() == ("x" * 30_000 + "the end")[-20_000:]
    html = client.get(reverse("training:run-card", args=[run.pk])).content.decode()
    assert "<h1>Mine &lt;b&gt;</h1>" in html
    assert client.get(f"/api/runs/{run.pk}/card/").content.startswith(b"---\nlicense: unknown")
    assert not root.exists(), "nothing was copied to the web server"


def test_a_bucket_that_is_away_is_said_in_page_and_api(bucket, machine, client, settings):
    run = make_run(status=JobStatus.FINISHED, has_adapter=True)
    client.force_login(MembershipFactory(project=run.project, role=Role.TRAINER).user)
    settings.STORAGES["artifacts"]["OPTIONS"]["endpoint_url"] = "http://127.0.0.1:9"
    settings.STORAGES = dict(settings.STORAGES)
    html = client.get(reverse("training:run-adapter", args=[run.pk]), follow=True).content.decode()
    assert "cannot be used" in html
    answer = client.get(f"/api/runs/{run.pk}/adapter/")
    assert (answer.status_code, "cannot be used" in answer.json()["detail"]) == (503, True)
    assert client.get(run.get_absolute_url()).status_code == 200


def test_a_scratch_model_reaches_another_machine(bucket, machine):
    base = base_models.scratch(["Some text.", "Some other text."])
    files = {path.name: path.read_bytes() for path in base.folder.iterdir()}
    machine("two")
    again = base_models.locate(base.name, base.revision)
    assert {path.name: path.read_bytes() for path in again.folder.iterdir() if path.name[0] != "."} == files


def test_deleting_a_run_frees_its_keys_and_its_files_on_every_machine(
    bucket, machine, run, django_capture_on_commit_callbacks
):
    other = make_run(dataset=run.dataset, recipe=run.recipe, status=JobStatus.FINISHED, attempt=1)
    for one in (run, other):
        write_result(one)
        artifacts.put_result(one, "adapter")
    artifacts.put_checkpoint(run, write_checkpoint(run, 5), 5)
    first, pk = run.folder, run.pk
    machine("web")
    Run.objects.filter(pk=pk).update(status=JobStatus.FINISHED)
    with django_capture_on_commit_callbacks(execute=True):
        runs.delete(run)
        assert any(f"/runs/{pk}/" in key for key in bucket.names()), "until it is sure that the row goes"
    assert {key.split("/")[2] for key in bucket.names()} == {str(other.pk)}
    assert first.exists()
    machine("one")  # learns of it when its worker takes up its next run
    artifacts.tidy()
    assert not first.exists() and other.adapter.exists()


def test_keys_that_could_not_be_freed_are_freed_later(
    bucket, machine, run, settings, django_capture_on_commit_callbacks
):
    artifacts.put_checkpoint(run, write_checkpoint(run, 5), 5)
    Run.objects.filter(pk=run.pk).update(status=JobStatus.FAILED)
    options = settings.STORAGES["artifacts"]["OPTIONS"]
    options["endpoint_url"] = "http://127.0.0.1:9"
    settings.STORAGES = dict(settings.STORAGES)
    with django_capture_on_commit_callbacks(execute=True):
        runs.delete(run)
    assert bucket.names() and DeletedRun.objects.get().in_bucket
    assert artifacts.clear() == 0
    options["endpoint_url"] = bucket.url
    settings.STORAGES = dict(settings.STORAGES)
    assert artifacts.clear() == 1
    assert bucket.names() == [] and not DeletedRun.objects.get().in_bucket


def test_checkpoints_of_runs_that_are_over_are_freed_and_those_of_running_ones_stay(machine):
    dataset = make_dataset()
    over = make_run(dataset=dataset, status=JobStatus.CANCELLED)  # its worker died, then somebody cancelled it
    going = make_run(dataset=dataset, status=JobStatus.RUNNING)
    for one in (over, going):
        write_checkpoint(one, 5)
    write_result(over)
    (machine("one") / "runs" / "not-a-run").mkdir()
    artifacts.tidy()
    assert [path.name for path in over.folder.iterdir()] == ["adapter"]
    assert [path.name for path in going.folder.iterdir()] == ["attempt-1"]


def perform(run):
    jobs.execute(Run.objects, run.pk, runner.execute)
    run.refresh_from_db()
    return run


@pytest.mark.django_db(transaction=True)
def test_an_attempt_that_only_says_that_the_run_is_finished_leaves_the_result_of_the_one_before(bucket, machine):
    run = make_run(attempt=1)
    write_result(run)
    artifacts.put_result(run, "adapter")
    columns = {"figures": {"steps": 4, "attempt": 1}, "has_adapter": True, "has_merged": False}
    (run.folder / ending.FINISHED).write_text(json.dumps(columns))
    artifacts.put_note(run, ending.FINISHED)

    machine("two")
    perform(run)
    assert (run.status, run.attempt, run.figures["attempt"]) == (JobStatus.FINISHED, 2, 1)
    assert [file.name for file in artifacts.result_files(run)] == ["README.md"]
    assert (artifacts.fetch(run) / "README.md").is_file()


def away(*, times, error, work):
    """`work`, but for the first times, which fail."""
    left = [error] * times
    calls = []

    def instead(*args, **options):
        calls.append(1)
        if left:
            raise left.pop()
        return work(*args, **options)

    instead.calls = calls
    return instead


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("what", ["begin", "last_checkpoint", "locate"])
@pytest.mark.parametrize("patience", [30, 0])
def test_a_run_waits_for_a_bucket_or_hub_that_is_away_and_keeps_its_checkpoints(monkeypatch, machine, what, patience):
    class ReachedTraining(Exception):
        pass

    def train(*args):
        raise ReachedTraining

    run = make_run(attempt=1, done=5, base_model="team/tiny", base_revision="a" * 40)
    folder = write_checkpoint(run, 5)
    place = base_models if what == "locate" else artifacts
    error = base_models.HubAway("No hub.") if what == "locate" else artifacts.Unreachable("No bucket.")
    base = base_models.Base("team/tiny", "a" * 40, folder)
    monkeypatch.setattr(base_models, "locate", lambda *args: base)
    instead = away(times=2, error=error, work=getattr(place, what))
    monkeypatch.setattr(place, what, instead)
    monkeypatch.setattr(runner, "WAIT", 0.01)
    monkeypatch.setattr(artifacts, "PATIENCE", patience)
    monkeypatch.setattr(runner, "_train", train)
    if patience:
        with pytest.raises(ReachedTraining):
            perform(run)
        assert len(instead.calls) == 3
    else:
        perform(run)
        assert (run.status, run.error) == (JobStatus.QUEUED, ""), "for another turn, or another machine"
    assert checkpoints.last_checkpoint([folder.parent]) == (folder, 5)


@pytest.mark.django_db(transaction=True)
def test_a_new_run_whose_bucket_stays_away_fails_with_the_reason(monkeypatch, machine):
    monkeypatch.setattr(artifacts, "begin", away(times=9, error=artifacts.Unreachable("No bucket."), work=None))
    monkeypatch.setattr(artifacts, "PATIENCE", 0)
    run = perform(make_run())
    assert (run.status, run.error) == (JobStatus.FAILED, "No bucket.")


def test_a_page_asks_a_bucket_that_is_away_for_the_log_once(monkeypatch, bucket, machine, run, client):
    client.force_login(MembershipFactory(project=run.project, role=Role.TRAINER).user)
    asked = []

    def size(keys, name):
        asked.append(name)
        raise artifacts.Unreachable("No bucket.")

    monkeypatch.setattr(artifacts._Keys, "size", size)
    url = reverse("training:run-progress", args=[run.pk])
    for part in ("", "?part=points"):
        assert client.get(url + part).status_code == 200
    assert not asked
    for address in (url + "?part=log", url + "?part=log&length=0", run.get_absolute_url()):
        assert client.get(address).status_code in (200, 204)
    assert len(asked) == 1
