"""Publishing a finished run: into folders, and to a server that speaks the hub's interface."""

import json
from pathlib import Path

import pytest
from django.core.exceptions import ValidationError
from django.urls import reverse

from annotation import jobs
from annotation.jobs import JobStatus
from annotation.models import Role
from config.processes import wait_until
from tests.factories import MembershipFactory
from tests.training.factories import make_run
from tests.training.hub_server import TOKEN, serving
from training import publishing, runs
from training.models import Publication, Run

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def places(settings, tmp_path):
    settings.ARTIFACT_ROOT = tmp_path / "artifacts"
    settings.PUBLISH_ROOT = str(tmp_path / "published")
    settings.PUBLISH_HUB_ACCOUNTS = ["our-team"]
    (tmp_path / "published").mkdir()
    return tmp_path / "published"


@pytest.fixture
def hub(monkeypatch):
    with serving() as one:
        monkeypatch.setenv("HF_ENDPOINT", one.url)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        monkeypatch.setenv("HF_HUB_OFFLINE", "0")
        monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")
        yield one


@pytest.fixture
def run():
    return finished()


def finished(**columns) -> Run:
    run = make_run(status=JobStatus.FINISHED, has_adapter=True, **columns)
    run.adapter.mkdir(parents=True)
    (run.adapter / "adapter_model.safetensors").write_bytes(b"weights" * 1000)
    (run.adapter / "README.md").write_text("---\nlicense: unknown\n---\n# Card\n")
    (run.adapter / ".files.json").write_text("{}")
    return run


def publish(run, **values) -> Publication:
    """Queue it and do its work here."""
    values = {"place": "folder", "target": "mine"} | values
    publication = publishing.publish(run, run.created_by, **values)
    perform(publication)
    return publication


def perform(publication) -> None:
    jobs.execute(Publication.objects, publication.pk, publishing.run)
    publication.refresh_from_db()


@pytest.mark.django_db(transaction=True)
def test_an_adapter_is_published_to_a_new_folder_below_the_root(run, places):
    publication = publish(run, target=str(places / "team" / "kinder"))
    assert (publication.status, publication.error) == (JobStatus.FINISHED, "")
    folder = Path(publication.url)
    assert folder == places / "team" / "kinder"
    assert sorted(path.name for path in folder.iterdir()) == [
        "README.md",
        "adapter_model.safetensors",
        "publication.json",
    ]
    assert (folder / "adapter_model.safetensors").read_bytes() == b"weights" * 1000
    assert json.loads((folder / "publication.json").read_text())["run"] == run.pk
    assert [path.name for path in (places / "team").iterdir()] == ["kinder"], "nothing half-written stays"


@pytest.mark.parametrize(
    "target",
    ["", "/etc/redress", "../other", "a/../../b", "{root}", "{root}/../x", "{root}x/y", ".hidden", "a/.b", "a\x00b"],
)
def test_a_folder_outside_the_root_is_refused(run, places, target):
    with pytest.raises(ValidationError) as caught:
        publishing.publish(run, run.created_by, place="folder", target=target.format(root=places))
    assert "target" in caught.value.message_dict
    assert not Publication.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_a_link_that_leads_out_of_the_root_is_refused(run, places, tmp_path):
    (tmp_path / "secret").mkdir()
    (places / "door").symlink_to(tmp_path / "secret")
    publication = publish(run, target="door/mine")
    assert (publication.status, "is not below" in publication.error) == (JobStatus.FAILED, True)
    assert not list((tmp_path / "secret").iterdir())


@pytest.mark.django_db(transaction=True)
def test_nothing_in_a_folder_is_overwritten_and_a_repeated_attempt_counts_once(run, places):
    first = publish(run)
    again = publish(run)
    assert (again.status, "There is something" in again.error) == (JobStatus.FAILED, True)
    Publication.objects.filter(pk=first.pk).update(status=JobStatus.QUEUED)  # its worker died after the last file
    perform(first)
    assert first.status == JobStatus.FINISHED


@pytest.mark.parametrize(
    ("settings_name", "values", "field"),
    [
        ("PUBLISH_ROOT", {"place": "folder", "target": "x"}, "target"),
        ("PUBLISH_HUB_ACCOUNTS", {"place": "hub", "target": "our-team/x"}, "target"),
    ],
)
def test_publishing_is_closed_until_an_administrator_opens_it(run, settings, settings_name, values, field):
    setattr(settings, settings_name, "" if settings_name == "PUBLISH_ROOT" else [])
    with pytest.raises(ValidationError) as caught:
        publishing.publish(run, run.created_by, **values)
    assert settings_name in caught.value.message_dict[field][0]


@pytest.mark.parametrize(
    "target",
    ["other/x", "x", "our-team/", "our-team/a b", "our-team/../x", "our-team/x/y", "our-team/-x", "our-team/a--b"],
)
def test_a_repository_elsewhere_or_with_an_impossible_name_is_refused(run, target):
    with pytest.raises(ValidationError) as caught:
        publishing.publish(run, run.created_by, place="hub", target=target)
    assert "target" in caught.value.message_dict


def test_only_a_finished_run_and_only_what_it_has_is_published(run):
    with pytest.raises(ValidationError, match="no merged model"):
        publishing.publish(run, run.created_by, place="folder", target="x", what="merged")
    Run.objects.filter(pk=run.pk).update(status=JobStatus.FAILED)
    run.refresh_from_db()
    with pytest.raises(ValidationError, match="Only a finished run"):
        publishing.publish(run, run.created_by, place="folder", target="x")


@pytest.mark.django_db(transaction=True)
def test_an_adapter_is_uploaded_to_a_new_private_repository(run, hub, caplog):
    publication = publish(run, place="hub", target="our-team/kinder-1b")
    assert (publication.status, publication.error) == (JobStatus.FINISHED, "")
    repository = hub.repositories["our-team/kinder-1b"]
    assert repository["private"] is True
    assert repository["files"].pop(".gitattributes") == b""
    assert repository["files"] == {
        "README.md": (run.adapter / "README.md").read_bytes(),
        "adapter_model.safetensors": b"weights" * 1000,
    }
    assert publication.url.startswith(f"{hub.url}/our-team/kinder-1b/commit/")
    assert TOKEN not in caplog.text + json.dumps(list(Publication.objects.values()), default=str)


@pytest.mark.django_db(transaction=True)
def test_a_repository_is_public_only_when_asked_for(run, hub):
    publish(run, place="hub", target="our-team/open", public=True)
    assert hub.repositories["our-team/open"]["private"] is False


@pytest.mark.django_db(transaction=True)
def test_a_repository_of_others_is_not_overwritten_and_our_own_gets_a_new_version(run, hub):
    hub.repositories["our-team/production"] = {"private": True, "files": {"model.safetensors": b"theirs"}}
    refused = publish(run, place="hub", target="our-team/production")
    assert (refused.status, "was not published from here" in refused.error) == (JobStatus.FAILED, True)
    assert hub.repositories["our-team/production"]["files"] == {"model.safetensors": b"theirs"}

    publish(run, place="hub", target="our-team/mine")
    (run.adapter / "adapter_model.safetensors").write_bytes(b"newer")
    assert publish(run, place="hub", target="our-team/mine").status == JobStatus.FINISHED
    assert hub.repositories["our-team/mine"]["files"]["adapter_model.safetensors"] == b"newer"
    elsewhere = publish(finished(), place="hub", target="our-team/mine")  # another project
    assert elsewhere.status == JobStatus.FAILED


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"HF_TOKEN": ""}, "has no token"),
        ({"HF_TOKEN": "hf_wrongOne"}, "does not accept the worker's token"),
        ({"HF_ENDPOINT": "http://127.0.0.1:9"}, "could not be reached"),
        ({"HF_HUB_OFFLINE": "1"}, "offline"),
    ],
)
def test_a_hub_that_refuses_says_why_and_never_shows_the_token(run, hub, monkeypatch, change, words):
    for name, value in change.items():
        monkeypatch.setenv(name, value)
    publication = publish(run, place="hub", target="our-team/x")
    assert publication.status == JobStatus.FAILED
    assert words in publication.error
    assert "hf_" not in publication.error


@pytest.mark.django_db(transaction=True)
def test_an_account_that_the_token_may_not_write_to_is_named(run, hub):
    hub.writers = set()
    publication = publish(run, place="hub", target="our-team/x")
    assert "may not write to our-team" in publication.error


@pytest.mark.django_db(transaction=True)
def test_a_real_worker_publishes_what_the_page_asks_for_and_it_stays_when_the_run_is_deleted(
    worker, client, places, tmp_path, settings
):
    run = finished()
    client.force_login(MembershipFactory(project=run.project, role=Role.TRAINER).user)
    worker("default", env={"PUBLISH_ROOT": str(places), "DATA_DIR": str(tmp_path)})
    url = reverse("training:run-publish", args=[run.pk])
    form = {"what": "adapter", "place": "folder", "target": "/etc/x"}
    answer = client.post(url, form)
    assert answer.status_code == 422
    assert "Give a folder below" in answer.content.decode() and 'value="/etc/x"' in answer.content.decode()
    assert client.post(url, form | {"target": "ours"}).status_code == 302
    publication = Publication.objects.get()

    def ended():
        publication.refresh_from_db()
        return not publication.is_active

    assert wait_until(ended, 60)
    assert (publication.status, publication.error) == (JobStatus.FINISHED, "")
    page = client.get(run.get_absolute_url()).content.decode()
    assert str(places / "ours") in page and "What was published stays where it is" in page
    runs.delete(run)
    publication.refresh_from_db()
    assert (publication.run, publication.run_name) == (None, run.name)
    assert (places / "ours" / "README.md").exists() and not run.folder.exists()
    assert client.get(f"/api/publications/?project={run.project_id}").json()["results"][0]["run"] is None


def test_the_api_publishes_and_stops(client, run):
    client.force_login(MembershipFactory(project=run.project, role=Role.TRAINER).user)
    answer = client.post("/api/publications/", {"run": run.pk, "place": "folder", "target": "../x"})
    assert (answer.status_code, list(answer.json())) == (400, ["target"])
    made = client.post("/api/publications/", {"run": run.pk, "place": "folder", "target": "x"}).json()
    assert (made["status"], made["target"]) == ("queued", f"{publishing.settings.PUBLISH_ROOT}/x")
    assert client.post(f"/api/publications/{made['id']}/cancel/").json()["status"] == "cancelled"
