"""The lead's API does what the pages do, for the same people."""

import json

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from annotation import exports, imports, jobs, work
from annotation.models import Export, ItemImport, Project, Role
from tests.factories import ItemFactory, MembershipFactory, PairFactory, ProjectFactory, UserFactory

pytestmark = pytest.mark.django_db

LABELS = {"bias": "high", "toxicity": "mild", "harm": "medium", "sentiment": "negative"}


@pytest.fixture(autouse=True)
def _media(settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path


class Api(Client):
    def send(self, method, path, data=None):
        answer = getattr(self, method)(f"/api/{path}", data, content_type="application/json")
        return answer.status_code, (answer.json() if answer.content else None)

    def as_(self, user):
        self.force_login(user)
        return self


@pytest.fixture
def lead():
    return UserFactory(username="lea", is_superuser=False)


@pytest.fixture
def project(lead):
    return ProjectFactory(lead=lead, overlap=1)


@pytest.fixture
def api(lead):
    return Api().as_(lead)


def annotate(project):
    user = MembershipFactory(project=project, role=Role.ANNOTATOR).user
    assignment = work.next_assignment(user, project)
    return work.submit(user, assignment.pk, {"labels": LABELS, "rewrite": "Kinder."})


def test_a_project_is_created_with_dimensions_and_changed():
    api = Api().as_(UserFactory(is_superuser=True))
    status, made = api.send("post", "projects/", {"name": "One", "overlap": 2})
    assert (status, [row["key"] for row in made["dimensions"]]) == (201, ["bias", "toxicity", "harm", "sentiment"])
    tone = {"name": "Tone", "levels": ["calm", "loud"]}
    status, changed = api.send("patch", f"projects/{made['id']}/", {"dimensions": [made["dimensions"][0], tone]})
    assert (status, [row["key"] for row in changed["dimensions"]]) == (200, ["bias", "tone"])
    assert changed["overlap"] == 2
    status, errors = api.send(
        "patch", f"projects/{made['id']}/", {"dimensions": [{"name": "Text", "levels": ["a", "b"]}]}
    )
    assert (status, "another column" in str(errors["dimensions"])) == (400, True)
    status, errors = api.send("patch", f"projects/{made['id']}/", {"name": "a\x00b", "overlap": 0})
    assert (status, set(errors)) == (400, {"name", "overlap"})


def test_creating_needs_the_permission_and_changing_the_lead(api, project):
    assert api.send("post", "projects/", {"name": "One"})[0] == 403
    assert api.send("patch", f"projects/{project.pk}/", {"name": "Mine"})[0] == 200
    trainer = Api().as_(MembershipFactory(project=project, role=Role.TRAINER).user)
    assert trainer.send("patch", f"projects/{project.pk}/", {"name": "Not mine"})[0] == 403
    assert trainer.send("get", f"projects/{project.pk}/members/")[0] == 403
    assert trainer.send("get", f"projects/{project.pk}/")[1]["name"] == "Mine"
    stranger = Api().as_(UserFactory())
    assert stranger.send("get", f"projects/{project.pk}/")[0] == 404
    assert stranger.send("patch", f"projects/{project.pk}/", {"name": "x"})[0] == 404
    assert stranger.send("get", "projects/")[1]["results"] == []
    assert Api().send("get", "projects/")[0] == 401


def test_people_are_added_changed_and_removed(api, project, lead):
    path = f"projects/{project.pk}/members/"
    status, made = api.send("post", path, {"person": "new@example.org", "roles": ["annotator"]})
    assert (status, made["roles"], "/account/invitation/" in made["invitation"]) == (201, ["annotator"], True)
    status, changed = api.send("put", f"{path}{made['user']}/", {"roles": ["trainer", "lead"]})
    assert (status, sorted(changed["roles"])) == (200, ["lead", "trainer"])
    status, members = api.send("get", path)
    assert (status, [member["username"] for member in members]) == (200, ["lea", "new@example.org"])
    assert api.send("delete", f"{path}{made['user']}/") == (204, None)
    status, errors = api.send("delete", f"{path}{lead.pk}/")
    assert (status, "last lead" in str(errors["roles"])) == (400, True)
    assert api.send("put", f"{path}{UserFactory().pk}/", {"roles": ["lead"]})[0] == 404
    assert api.send("put", f"{path}{lead.pk}/", {"roles": ["owner"]})[0] == 400
    assert api.send("post", path, {"person": "nobody", "roles": ["lead"]})[0] == 400


def test_progress_is_the_pages(api, project):
    ItemFactory.create_batch(2, project=project)
    annotate(project)
    _, progress = api.send("get", f"projects/{project.pk}/progress/")
    assert progress == {"items": 2, "complete": 1, "finished_annotations": 1, "needed_annotations": 2}


def test_texts_and_annotations_are_filtered(api, project):
    item = ItemFactory(project=project, language="en")
    ItemFactory(project=project, language="de")
    ItemFactory()
    annotation = annotate(project)
    assert len(api.send("get", "items/")[1]["results"]) == 2
    assert [row["id"] for row in api.send("get", "items/?language=en")[1]["results"]] == [item.pk]
    assert [row["id"] for row in api.send("get", "items/?state=complete")[1]["results"]] == [item.pk]
    assert api.send("get", "items/?q=%00")[0] == 400
    assert api.send("get", "items/?project=99999999999999999999")[1]["results"] == []
    found = api.send("get", f"annotations/?item={item.pk}&label=bias:high")[1]["results"]
    assert [(row["id"], row["annotator"]) for row in found] == [(annotation.pk, annotation.annotator.username)]
    assert api.send("get", "annotations/?label=bias:none")[1]["results"] == []


def test_annotators_see_their_own_annotations_alone(project):
    ItemFactory.create_batch(2, project=project)
    mine, other = annotate(project), annotate(project)
    api = Api().as_(mine.annotator)
    assert [row["id"] for row in api.send("get", "annotations/")[1]["results"]] == [mine.pk]
    assert api.send("get", f"annotations/{other.pk}/")[0] == 404
    assert api.send("get", "items/")[1]["results"] == []
    assert api.send("get", f"items/{mine.item_id}/")[0] == 403
    mine.annotator.memberships.all().delete()
    assert api.send("get", "annotations/")[1]["results"] == []


def test_an_import_of_annotations_is_confirmed_or_sent_with_its_mapping(api, project):
    content = b"body,annotator,bias\nThey lie.,ada,high\n"

    def send(**values):
        file = SimpleUploadedFile("past.csv", content)
        return api.post("/api/imports/", {"project": project.pk, "file": file} | values)

    made = send().json()
    jobs.execute(ItemImport.objects, made["id"], imports.run)
    _, job = api.send("get", f"imports/{made['id']}/")
    assert (job["status"], job["inspection"]["guess"]["columns"]["body"]) == ("paused", "text")
    status, errors = api.send("post", f"imports/{made['id']}/confirm/", {"mapping": {"columns": {"bias": "label:x"}}})
    assert status == 400 and "there is no target 'label:x'" in errors["mapping"][0]
    status, job = api.send("post", f"imports/{made['id']}/confirm/", {"mapping": {}})
    assert (status, job["status"]) == (200, "queued")
    assert api.send("post", f"imports/{made['id']}/confirm/", {"mapping": {}})[0] == 400
    jobs.execute(ItemImport.objects, made["id"], imports.run)
    _, job = api.send("get", f"imports/{made['id']}/")
    assert (job["status"], job["annotations"], job["findings"]["people"][0]["name"]) == ("finished", 1, "ada")
    made = send(mapping=json.dumps({"columns": {"annotator": "metadata", "bias": "drop"}}))
    assert made.status_code == 201, made.json()
    jobs.execute(ItemImport.objects, made.json()["id"], imports.run)
    _, job = api.send("get", f"imports/{made.json()['id']}/")
    assert (job["status"], job["imported"], job["annotations"]) == ("finished", 1, 0)
    assert send(mapping="[1").status_code == 400
    assert send(mapping='{"columns": []}').json() == {"mapping": ["`columns` must be an object."]}
    assert send(file_format="exe").status_code == 400 and send(review="sometimes").status_code == 400


def test_an_import_is_uploaded_watched_and_its_rejected_rows_read(api, project):
    file = SimpleUploadedFile("texts.csv", b"text,safe_rewrite\nfirst,Kinder.\n,\n")
    answer = api.post("/api/imports/", {"project": project.pk, "file": file, "with_pairs": "false"})
    made = answer.json()
    assert (answer.status_code, made["status"], made["with_pairs"]) == (201, "queued", False)
    jobs.execute(ItemImport.objects, made["id"], imports.run)
    _, job = api.send("get", f"imports/{made['id']}/")
    assert (job["status"], job["imported"], job["proposed"], job["rejected"]) == ("finished", 1, 0, 1)
    rows = api.send("get", f"imports/{made['id']}/rejected/")[1]["results"]
    assert [(row["row"], row["field"], row["reason"]) for row in rows] == [(3, "text", "The text is empty.")]
    empty = SimpleUploadedFile("texts.csv", b"")
    answer = api.post("/api/imports/", {"project": project.pk, "file": empty})
    assert (answer.status_code, answer.json()) == (400, {"file": ["The file is empty."]})
    assert api.post("/api/imports/", {"project": project.pk}).status_code == 400
    annotator = Api().as_(MembershipFactory(project=project).user)
    file = SimpleUploadedFile("texts.csv", b"text\nx\n")
    assert annotator.post("/api/imports/", {"project": project.pk, "file": file}).status_code == 403
    stranger = Api().as_(UserFactory())
    file = SimpleUploadedFile("texts.csv", b"text\nx\n")
    assert stranger.post("/api/imports/", {"project": project.pk, "file": file}).status_code == 404
    for path in ("", "rejected/"):
        assert stranger.send("get", f"imports/{made['id']}/{path}")[0] == 404
        assert annotator.send("get", f"imports/{made['id']}/{path}")[0] == 403


def test_pairs_are_settled_through_the_api(api, project):
    item = ItemFactory(project=project)
    annotation = annotate(project)
    pair = api.send("get", f"pairs/?item={item.pk}")[1]["results"][0]
    assert (pair["status"], pair["annotations"], pair["chosen"]) == ("proposed", [annotation.pk], annotation.pk)
    path = f"pairs/{pair['id']}/"
    decision = {"version": pair["version"], "rewrite": "Settled.", "labels": {"bias": "none"}, "chosen": annotation.pk}
    status, errors = api.send("post", f"{path}approve/", decision | {"labels": {"bias": "x"}, "rewrite": " "})
    assert (status, set(errors)) == (400, {"labels", "rewrite"})
    status, done = api.send("post", f"{path}approve/", decision)
    assert (status, done["status"], done["settled_by"], done["labels"]) == (200, "approved", "lea", {"bias": "none"})
    status, errors = api.send("post", f"{path}reject/", {"version": pair["version"], "reason": "No."})
    assert (status, "lea has settled this pair meanwhile" in str(errors)) == (400, True)
    status, reopened = api.send("post", f"{path}reopen/", {"version": done["version"]})
    assert (status, reopened["status"]) == (200, "proposed")
    status, rejected = api.send("post", f"{path}reject/", {"version": reopened["version"], "reason": "No."})
    assert (status, rejected["status"], rejected["reason"]) == (200, "rejected", "No.")
    assert api.send("get", "pairs/?status=approved")[1]["results"] == []


def test_a_text_is_settled_early_through_the_api(api, project):
    item = ItemFactory(project=project, overlap=3)
    assert api.send("post", f"items/{item.pk}/settle/")[0] == 400
    annotate(project)
    status, pair = api.send("post", f"items/{item.pk}/settle/")
    assert (status, pair["item"], pair["rewrite"]) == (200, item.pk, "Kinder.")


def test_trainers_read_pairs_and_settle_none(project):
    pair = PairFactory(project=project)
    trainer = Api().as_(MembershipFactory(project=project, role=Role.TRAINER).user)
    assert trainer.send("get", f"pairs/{pair.pk}/")[0] == 200
    assert trainer.send("post", f"pairs/{pair.pk}/reopen/", {"version": 1})[0] == 403
    annotator = Api().as_(MembershipFactory(project=project).user)
    assert annotator.send("get", f"pairs/{pair.pk}/")[0] == 403
    assert annotator.send("get", "pairs/")[1]["results"] == []


def test_an_export_is_made_and_downloaded(api, project):
    PairFactory(project=project)
    status, made = api.send("post", "exports/", {"project": project.pk, "kind": "pairs", "file_format": "jsonl"})
    assert (status, made["status"]) == (201, "queued")
    jobs.execute(Export.objects, made["id"], exports.run)
    answer = api.get(f"/api/exports/{made['id']}/download/")
    assert json.loads(b"".join(answer.streaming_content))["status"] == "approved"
    status, errors = api.send("post", "exports/", {"project": project.pk, "kind": "x", "file_format": "csv"})
    assert (status, "kind" in errors) == (400, True)
    annotator = Api().as_(MembershipFactory(project=project).user)
    assert annotator.send("get", f"exports/{made['id']}/download/")[0] == 403
    assert annotator.send("post", "exports/", {"project": project.pk, "kind": "pairs", "file_format": "csv"})[0] == 403
    assert Api().as_(UserFactory()).send("get", f"exports/{made['id']}/download/")[0] == 404


@pytest.mark.parametrize("path", ["projects/", "items/", "annotations/", "pairs/", "imports/", "exports/"])
def test_lists_need_as_many_queries_for_three_rows_as_for_one(api, lead, path):
    counts = []
    for rows in (1, 3):
        Project.objects.all().update(name="old")
        for _ in range(rows):
            project = ProjectFactory(lead=lead, overlap=1)
            ItemFactory(project=project)
            annotate(project)
            ItemImport.objects.create(project=project, created_by=lead, file_name="a", file_format="csv")
            Export.objects.create(project=project, created_by=lead, kind="pairs", file_format="csv")
        with CaptureQueriesContext(connection) as queries:
            assert api.send("get", path)[0] == 200
        counts.append(len(queries))
    assert counts[0] == counts[1]


def test_the_schema_is_clean(tmp_path):
    from django.core.management import call_command

    call_command("spectacular", validate=True, fail_on_warn=True, file=str(tmp_path / "schema.yml"))
