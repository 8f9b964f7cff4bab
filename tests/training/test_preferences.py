"""Preferences of pairs and files, and the datasets made of them."""

import json

import pytest
from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from annotation import jobs
from annotation.jobs import JobStatus
from annotation.models import Pair, PairStatus, Rewrite, Role
from tests.factories import ItemFactory, MembershipFactory, PairFactory, ProjectFactory
from tests.training.factories import SHARES, make_dataset, make_preference
from training import dataset_files, datasets, preferences, prompts, selection
from training.models import Preference, PreferenceImport

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def media(settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path


@pytest.fixture
def project():
    return ProjectFactory()


@pytest.fixture
def trainer(project, client):
    user = MembershipFactory(project=project, role=Role.TRAINER).user
    client.force_login(user)
    return user


def freeze(project, **values):
    values = {"shares": SHARES, "kind": "preference"} | values
    return datasets.freeze(project=project, name="p", user=project.created_by, **values)


def imported(project, content, name="rows.jsonl"):
    if not isinstance(content, bytes):
        content = content.encode()
    job = preferences.upload(project, project.created_by, SimpleUploadedFile(name, content))
    jobs.execute(PreferenceImport.objects, job.pk, preferences.run)
    job.refresh_from_db()
    return job


def rows(*values):
    return "".join(json.dumps(value, ensure_ascii=False) + "\n" for value in values)


# Of approved pairs


def test_an_approved_rewrite_is_preferred_to_its_text_once(project):
    pair = PairFactory(project=project)
    PairFactory(project=project, status=PairStatus.PROPOSED)
    same = PairFactory(project=project)
    Pair.objects.filter(pk=same.pk).update(rewrite=same.item.text)
    made = preferences.from_pairs(project, project.created_by, "text")
    assert (made.made, made.present, made.unusable) == (1, 0, 1)
    found = Preference.objects.get()
    assert (found.text, found.chosen, found.rejected) == (pair.item.text, pair.rewrite, pair.item.text)
    assert (found.item, found.origin, found.source) == (pair.item, {"pair": pair.pk}, "pairs")
    again = preferences.from_pairs(project, project.created_by, "text")
    assert (again.made, again.present) == (0, 1)
    assert str(again) == (
        "0 preferences made; 1 was there already; 1 left out, with an empty output or two that are the same."
    )


def test_a_rewrite_that_most_voted_down_is_rejected_for_the_approved_one(project):
    pair = PairFactory(project=project)
    for text, votes, accepted in (("Rude still.", 3, 1), ("Fine too.", 3, 2), ("Nobody looked.", 0, 0)):
        Rewrite.objects.create(project=project, item=pair.item, text=text, wanted=3)
        Rewrite.objects.filter(text=text).update(votes=votes, accepted=accepted, taken=votes)
    assert preferences.from_pairs(project, project.created_by, "voted-down").made == 1
    found = Preference.objects.get()
    assert (found.chosen, found.rejected, found.votes, found.voters) == (pair.rewrite, "Rude still.", 2, 3)


def test_what_cannot_give_a_preference_is_said(project):
    with pytest.raises(ValidationError, match="Approve pairs first"):
        preferences.from_pairs(project, project.created_by, "text")
    with pytest.raises(ValidationError, match="have rewrites voted on"):
        preferences.from_pairs(project, project.created_by, "voted-down")
    with pytest.raises(ValidationError, match="text or voted-down"):
        preferences.from_pairs(project, project.created_by, "nothing")


def test_a_preference_of_a_pair_that_is_approved_no_more_is_not_frozen(project):
    pairs = PairFactory.create_batch(4, project=project)
    preferences.from_pairs(project, project.created_by, "text")
    assert selection.preferences(project).count() == 4
    Pair.objects.filter(pk=pairs[0].pk).update(status=PairStatus.REJECTED)
    Pair.objects.filter(pk=pairs[1].pk).update(rewrite="Another rewrite.")
    assert selection.preferences(project).count() == 2


# Files


def test_a_file_is_imported_and_every_row_that_cannot_be_used_is_named_with_the_fix(project):
    item = ItemFactory(project=project, external_id="known", text="They are all lazy.")
    job = imported(
        project,
        rows(
            {"text": "They are all lazy.", "chosen": "Some rest a lot.", "rejected": "They are lazy."},
            {"external_id": "known", "chosen": "Some work less.", "rejected": "They never work."},
            {"prompt": "Elsewhere\r\n", "chosen": "Kind, أهلا 🙃", "rejected": "<b>Rude</b>"},
            {"external_id": "nobody", "chosen": "a", "rejected": "b"},
            {"text": "x", "chosen": "", "rejected": "b"},
            {"text": "x", "chosen": "a", "rejected": "a "},
            {"chosen": "a", "rejected": "b"},
            {"text": 5, "chosen": "a", "rejected": "b"},
            {"text": "x", "chosen": "a\x00", "rejected": "b"},
        )
        + "not json\n[1]\n",
    )
    assert (job.status, job.error, job.imported, job.rejected) == (JobStatus.FINISHED, "", 3, 8)
    found = {(problem["row"], problem["field"]): problem["reason"] for problem in job.problems}
    assert list(found) == [
        (4, "external_id"), (5, "chosen"), (6, "rejected"), (7, "text"), (8, "text"), (9, "chosen"), (10, ""), (11, ""),
    ]  # fmt: skip
    assert "Correct it, or leave it out" in found[4, "external_id"]
    assert "Fill it or remove the row" in found[5, "chosen"]
    assert "fill text (or prompt)" in found[7, "text"]
    assert "null byte at character 2" in found[9, "chosen"]
    stored = {row.chosen: row for row in Preference.objects.all()}
    assert stored["Some rest a lot."].item == item
    assert (stored["Some work less."].item, stored["Some work less."].text) == (item, item.text)
    elsewhere = stored["Kind, أهلا 🙃"]
    assert (elsewhere.item, elsewhere.text, elsewhere.origin) == (None, "Elsewhere", {"import": job.pk, "row": 3})
    again = imported(project, rows({"text": "Elsewhere", "chosen": "Kind, أهلا 🙃", "rejected": "<b>Rude</b>"}))
    assert (again.imported, again.present, again.rejected) == (0, 1, 0)


def test_csv_and_chat_messages_and_our_own_files_are_read(project):
    csv = '\ufeffPrompt,Chosen,Rejected,note\nA text,Kind.,Rude.,x\n"Two\r\nlines",Kind.,Rude.,\n'
    assert imported(project, csv, "rows.CSV").imported == 2
    assert set(Preference.objects.values_list("text", flat=True)) == {"A text", "Two\nlines"}
    chat = {
        "prompt": [{"role": "user", "content": "Say hello"}],
        "chosen": [{"role": "user", "content": "Say hello"}, {"role": "assistant", "content": "Hello."}],
        "rejected": [{"role": "assistant", "content": "Go away."}],
    }
    assert imported(project, rows(chat)).imported == 1
    assert Preference.objects.get(text="Say hello").rejected == "Go away."
    dataset = freeze(project)
    elsewhere = ProjectFactory()
    assert imported(elsewhere, "".join(dataset_files.lines(dataset, "preference"))).imported == 3
    assert set(elsewhere.preferences.values_list("text", flat=True)) == {"A text", "Two\nlines", "Say hello"}
    assert freeze(elsewhere).content_hash == dataset.content_hash


@pytest.mark.parametrize(
    ("content", "name", "words"),
    [
        ("text,chosen\nx,y\n", "a.csv", "There is no column 'rejected'"),
        ("text,chosen,rejected\n", "a.csv", "The file has no rows"),
        (b"\xff\xfet\x00", "a.csv", "UTF-16"),
        ('text,chosen,rejected\n"x,y,z\n', "a.csv", "never closed"),
    ],
)
def test_a_file_that_cannot_be_read_imports_nothing_and_says_why(project, content, name, words):
    job = imported(project, content, name)
    assert job.status == JobStatus.FAILED and words in job.error
    assert not Preference.objects.exists()


# Datasets


def test_preferences_are_frozen_split_by_text_and_written_for_dpo(project):
    for number in range(6):
        for output in ("worse", "worst"):
            make_preference(
                project=project, text=f"Text {number}", chosen=f"Kind {number}", rejected=f"{output} {number}"
            )
    dataset = freeze(project)
    assert (dataset.kind, dataset.size) == ("preference", 12)
    splits = {}
    for row in dataset.rows.all():
        splits.setdefault(row.text, set()).add(row.split)
        assert (row.pair, row.item, row.preference.rejected) == (None, None, row.rejected)
    assert all(len(found) == 1 for found in splits.values())
    found = [json.loads(line) for line in dataset_files.lines(dataset, "preference")]
    assert set(found[0]) == {"prompt", "chosen", "rejected", "split"}
    first = dataset.rows.first()
    assert found[0]["prompt"] == prompts.render(prompts.DEFAULT_TEMPLATE, first.text)
    assert (found[0]["chosen"], found[0]["rejected"]) == (first.rewrite, first.rejected)
    assert dataset_files.formats_of(dataset) == ["preference", "alpaca", "prompt-completion", "chat"]
    assert json.loads(next(dataset_files.lines(dataset, "alpaca")))["output"] == first.rewrite
    assert "preference" not in dataset_files.formats_of(make_dataset())


def test_preferences_that_contradict_each_other_and_second_copies_are_left_out(project):
    for number in range(3):
        make_preference(project=project, text=f"Text {number}")
    make_preference(project=project, text="Torn", chosen="a", rejected="b")
    make_preference(project=project, text="Torn", chosen="b", rejected="a")
    copied = project.preferences.get(text="Text 0")
    make_preference(
        project=project,
        source="study",
        **{name: getattr(copied, name) for name in ("text", "chosen", "rejected", "digest")},
    )
    assert freeze(project).size == 3
    assert freeze(project, filters={"origins": ["upload"]}).size == 3
    with pytest.raises(ValidationError, match="1 different text cannot fill"):
        freeze(project, filters={"origins": ["study"]})


def test_the_same_preferences_elsewhere_give_the_same_bytes():
    made = []
    for order in (1, -1):
        project = ProjectFactory()
        for number in list(range(9))[::order]:
            make_preference(project=project, text=f"Text {number % 5}", chosen=f"K {number}", rejected=f"R {number}")
        made.append(freeze(project, near_duplicates=0.9))
    assert made[0].content_hash == made[1].content_hash
    for name in dataset_files.FORMATS:
        assert list(dataset_files.lines(made[0], name)) == list(dataset_files.lines(made[1], name))


def test_a_preference_in_a_dataset_cannot_be_deleted(client, project, trainer):
    for number in range(3):
        make_preference(project=project, text=f"Text {number}")
    dataset = freeze(project)
    found = project.preferences.first()
    assert client.delete(f"/api/preferences/{found.pk}/").status_code == 400
    page = client.post(reverse("training:preference-delete", args=[found.pk]), follow=True)
    assert "A frozen dataset holds this preference" in page.content.decode()
    datasets.delete(dataset)
    assert client.delete(f"/api/preferences/{found.pk}/").status_code == 204


# Pages and API


def test_a_trainer_makes_uploads_and_freezes_preferences(client, project, trainer):
    PairFactory.create_batch(4, project=project)
    url = reverse("training:preferences", args=[project.pk])
    assert "4 preferences made." in client.post(url, {"against": "text"}, follow=True).content.decode()
    assert client.post(url, {"against": "voted-down"}).status_code == 422
    file = SimpleUploadedFile("mine.jsonl", rows({"text": "x", "chosen": "a", "rejected": ""}).encode())
    answer = client.post(reverse("training:preference-upload", args=[project.pk]), {"file": file})
    job = PreferenceImport.objects.get()
    jobs.execute(PreferenceImport.objects, job.pk, preferences.run)
    page = client.get(answer.url).content.decode()
    assert "rejected is empty; a preference needs two outputs." in page
    form = {"name": "P", "train": "0.6", "validation": "0.2", "test": "0.2", "seed": "0", "origins": ["pairs"]}
    answer = client.post(reverse("training:freeze", args=[project.pk]) + "?kind=preference", form, follow=True)
    html = answer.content.decode()
    assert "Not preferred" in html and "only preferences that come from: approved pairs" in html
    empty = SimpleUploadedFile("mine.jsonl", b"")
    page = client.post(reverse("training:preference-upload", args=[project.pk]), {"file": empty})
    assert page.status_code == 422 and "The file is empty." in page.content.decode()


def test_the_api_does_what_the_pages_do(client, project, trainer):
    PairFactory.create_batch(3, project=project)
    body = {"project": project.pk, "against": "text"}
    answer = client.post("/api/preferences/from-pairs/", body, content_type="application/json")
    assert answer.json() == {"made": 3, "present": 0, "unusable": 0}
    file = SimpleUploadedFile("x.csv", b"text,chosen,rejected\nx,y,z\n")
    job = client.post("/api/preference-imports/", {"project": project.pk, "file": file}).json()
    jobs.execute(PreferenceImport.objects, job["id"], preferences.run)
    assert client.get(f"/api/preference-imports/{job['id']}/").json()["imported"] == 1
    assert len(client.get("/api/preferences/", {"project": project.pk, "source": "upload"}).json()["results"]) == 1
    body = {"project": project.pk, "name": "P", "kind": "preference", "near_duplicates": None}
    dataset = client.post("/api/datasets/", body, content_type="application/json").json()
    lines = client.get(f"/api/datasets/{dataset['id']}/files/preference/")
    assert len(b"".join(lines.streaming_content).splitlines()) == 4
    pairs = client.post(
        "/api/datasets/", {"project": project.pk, "name": "P", "near_duplicates": None}, content_type="application/json"
    ).json()
    refused = client.get(f"/api/datasets/{pairs['id']}/files/preference/")
    assert refused.status_code == 400 and "no rejected outputs" in refused.content.decode()


def test_the_list_asks_as_much_for_many_as_for_few(client, project, trainer):
    url = reverse("training:preferences", args=[project.pk])

    def queries():
        with CaptureQueriesContext(connection) as caught:
            assert client.get(url).status_code == 200
        return len(caught)

    make_preference(project=project, item=ItemFactory(project=project))
    client.get(url)
    few = queries()
    for _ in range(60):
        make_preference(project=project, item=ItemFactory(project=project))
    assert queries() == few
    assert "Older preferences" in client.get(url).content.decode()
