"""Workers on machines without a common folder: they share PostgreSQL, Redis and an S3-compatible bucket, no more."""

import io
import json
import zipfile

import pytest
from django.urls import reverse

from annotation.jobs import JobStatus
from annotation.models import Role
from config.processes import wait_until
from evaluation import systems
from evaluation.models import Generation, SystemKind
from tests.factories import MembershipFactory
from tests.s3_server import Bucket, serving
from tests.training.factories import make_dataset, make_run
from tests.training.test_worker import QUICK_LEASE, long_recipe, reached, state
from training import artifacts, runs

pytestmark = pytest.mark.long

STEPS = 300


@pytest.fixture
def bucket(tmp_path, settings):
    with serving(tmp_path / "s3.log") as url:
        made = Bucket(url)
        settings.STORAGES = settings.STORAGES | made.storage()
        settings.ARTIFACT_ROOT = tmp_path / "web" / "artifacts"  # the web server's machine
        yield made


def test_a_run_whose_worker_is_killed_goes_on_on_another_machine_and_its_model_is_used_on_a_third(
    worker, bucket, client, tmp_path
):
    def machine(name, *queues, **options):
        env = QUICK_LEASE | bucket.environment | {"DATA_DIR": str(tmp_path / name)}
        return worker(*queues, env=env, **options)

    def checkpoint_is_there():
        with artifacts._bucket() as keys:
            return artifacts._stored_checkpoints(keys, run)

    first = machine("one", "gpu")
    dataset = make_dataset()
    run = make_run(dataset=dataset, recipe=long_recipe(dataset.project, STEPS))
    assert wait_until(reached(run, 6), 180), run.log_tail()
    assert wait_until(checkpoint_is_there, 60), bucket.names()
    first.kill()
    run.refresh_from_db()
    assert run.status == JobStatus.RUNNING and run.done < STEPS
    machine("default", "default", beat=True)
    machine("two", "gpu")
    assert wait_until(lambda: state(run)[0] == JobStatus.FINISHED, 240), (state(run), run.error, run.log_tail())
    assert (run.done, run.attempt) == (STEPS, 2)
    log = run.log_tail()
    assert "Attempt 1 on" in log and "Going on from the checkpoint at step" in log, "the log went along"
    steps = list(run.metrics.filter(kind="train").order_by("step").values_list("step", flat=True))
    assert steps == list(range(1, STEPS + 1))
    assert not [name for name in bucket.names() if "/checkpoints/" in name], "nobody needs them any more"
    assert not list((tmp_path / "two" / "artifacts" / "runs" / str(run.pk)).glob("attempt-*"))

    # the web server has none of the files
    client.force_login(MembershipFactory(project=run.project, role=Role.TRAINER).user)
    data = b"".join(client.get(reverse("training:run-adapter", args=[run.pk])).streaming_content)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        files = {name.rsplit("/", 1)[-1]: archive.read(name) for name in archive.namelist()}
    kept = tmp_path / "two" / "artifacts" / "runs" / str(run.pk) / "adapter"
    assert files["adapter_model.safetensors"] == (kept / "adapter_model.safetensors").read_bytes()
    assert json.loads(files["metrics.json"])["load_check"]["adapter"]["ok"]
    assert not (tmp_path / "web" / "artifacts").exists()

    # a third machine generates with it: adapter and scratch model come from the bucket
    machine("three", "gpu")  # and the second one may take it as well
    system = systems.create(run.project, run.created_by, kind=SystemKind.RUN, name="Ours", run=run, max_new_tokens=4)
    job = systems.generate(system, dataset, run.created_by)

    def generated():
        job.refresh_from_db()
        assert job.status in (JobStatus.QUEUED, JobStatus.RUNNING, JobStatus.FINISHED), job.error
        return job.status == JobStatus.FINISHED

    assert wait_until(generated, 120), job.error
    assert system.outputs.count() == dataset.counts["test"]
    Generation.objects.all().delete()
    system.outputs.all().delete()
    system.delete()
    runs.delete(run)
    assert [name for name in bucket.names() if "/runs/" in name] == []
