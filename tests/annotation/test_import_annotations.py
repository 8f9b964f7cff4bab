"""Annotations by several people, brought from elsewhere: Label Studio, doccano, long files, our own exports."""

import json
from datetime import UTC, datetime

import pytest
from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db import IntegrityError

from annotation import exports, imports, jobs, past, work
from annotation.jobs import JobStatus
from annotation.models import (
    Annotation,
    Assignment,
    AssignmentState,
    Export,
    ImportedAnnotation,
    ItemImport,
    Membership,
    Pair,
    Review,
    Role,
)
from tests.annotation.import_helpers import (
    annotation,
    choice,
    go,
    lines,
    make,
    marked,
    rejections,
    run,
    task,
    written,
    zipped,
)
from tests.factories import ItemFactory, MembershipFactory, ProjectFactory, UserFactory

pytestmark = pytest.mark.django_db

LABELS = {"bias": "high", "toxicity": "mild", "harm": "medium", "sentiment": "negative"}
ALL = (choice("bias", "High"), choice("Toxicity", "mild"), choice("harm", "medium"), choice("sentiment", "negative"))


@pytest.fixture(autouse=True)
def _media(settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path


@pytest.fixture
def project():
    return ProjectFactory(overlap=2)


def by_person(project):
    return {one.annotator.username: one for one in Annotation.objects.filter(project=project).select_related("item")}


def counters_are_right(project):
    for item in project.items.all():
        taken = item.assignments.filter(state__in=["held", "finished"]).count()
        assert (item.taken, item.finished) == (taken, item.annotations.count())
        assert item.finished <= item.taken <= item.overlap


# Label Studio


def test_label_studio_json_becomes_finished_annotations_of_members_and_closed_accounts(project):
    ada = MembershipFactory(project=project, user=UserFactory(username="ada", email="Ada@example.org")).user
    text = "They are lazy 🙃 and lie."
    content = json.dumps(
        [
            task(
                1,
                text,
                annotation(
                    {"id": 3, "email": "ada@example.org"}, *ALL, marked(9, 13, "lazy", "slur"), written("Kind.")
                ),
                annotation(7, choice("bias", "none"), choice("harm", "low")),
                annotation(8, choice("bias", "none"), was_cancelled=True),
                predictions=[{"model_version": "m", "result": [choice("bias", "high")]}],
            ),
            task(2, "Nobody looked at this."),
        ]
    )
    job = run(project, content, "export.json")
    assert (job.status, job.error) == (JobStatus.FINISHED, "")
    assert (job.imported, job.annotations, job.rejected) == (2, 2, 0)
    first = by_person(project)["ada"]
    assert first.annotator == ada
    assert first.content() == {
        "labels": LABELS,
        "spans": [{"start": 9, "end": 13}],
        "target_groups": [],
        "rewrite": "Kind.",
        "comment": "",
    }
    assert (first.active_seconds, first.guidelines_version, first.suggestion_shown) == (4, 0, False)
    assert first.created_at == datetime(2021, 3, 9, 22, 16, 8, 728353, UTC)
    assert first.assignment.state == AssignmentState.FINISHED
    stranger = Annotation.objects.exclude(annotator=ada).get()
    assert stranger.labels == {"bias": "none", "harm": "low"}
    account = stranger.annotator
    assert account.username == f"7.label-studio.project-{project.pk}"
    assert (account.is_active, account.has_usable_password(), account.get_full_name()) == (
        False,
        False,
        "7 (Label Studio)",
    )
    assert not Membership.objects.filter(user=account).exists()
    item = project.items.get(external_id="1")
    assert (item.text, item.metadata, item.overlap) == (text, {"data.topic": "work"}, 2)
    counters_are_right(project)
    assert job.findings["aside"] == {"predictions": 1, "cancelled": 1, "incomplete": 1}
    assert first.imported.values["span"][0]["labels"] == ["slur"]
    assert job.message == "2 texts imported, 2 annotations by 2 annotators, 0 rows rejected."


def test_an_older_label_studio_export_with_completions_and_a_single_task_is_read(project):
    old = task(1, "They lie.")
    del old["annotations"]
    old["completions"] = [annotation("eve@example.org", *ALL)]
    assert run(project, json.dumps(old), "export.json").annotations == 1


def test_json_min_is_read(project):
    entry = {
        "text": "They are lazy.",
        "id": 5,
        "bias": "high",
        "groups": {"choices": ["women", "migrants"]},
        "span": [{"start": 9, "end": 13, "text": "lazy", "labels": ["slur"]}],
        "annotator": 3,
        "annotation_id": 9,
        "created_at": "2024-05-06T07:08:09.000000Z",
        "updated_at": "2024-05-06T07:08:09.000000Z",
        "lead_time": 12.7,
    }
    job = run(project, json.dumps([entry]), "min.json")
    found = Annotation.objects.get()
    assert (job.annotations, found.labels, found.spans) == (1, {"bias": "high"}, [{"start": 9, "end": 13}])
    assert found.target_groups == ["women", "migrants"]
    assert (found.active_seconds, found.item.external_id) == (12, "5")


def test_offsets_that_count_in_utf16_are_converted_where_the_words_tell(project):
    text = "🙃🙃 They are lazy."
    start = text.index("lazy")
    content = json.dumps([task(1, text, annotation(1, marked(start + 2, start + 6, "lazy")))])
    run(project, content, "export.json")
    assert Annotation.objects.get().spans == [{"start": start, "end": start + 4}]


def test_marks_follow_line_breaks_and_overlapping_ones_are_joined(project):
    text = "One.\r\nThey are lazy.\r\n"
    start = text.index("lazy")
    content = json.dumps(
        [task(1, text, annotation(1, marked(start, start + 4, "lazy"), marked(start - 4, start + 2, "are la")))]
    )
    job = run(project, content, "export.json")
    found = Annotation.objects.get()
    assert found.item.text == "One.\nThey are lazy.\n"
    assert [found.item.text[span["start"] : span["end"]] for span in found.spans] == ["are lazy"]
    assert job.findings["aside"]["joined_spans"] == 1


def test_what_has_no_level_is_kept_with_the_annotation_and_counted(project):
    content = json.dumps(
        [
            task(
                number,
                f"Text {number}",
                annotation(1, choice("bias", "extreme"), choice("harm", "low"), choice("colour", "red")),
            )
            for number in range(3)
        ]
    )
    job = run(project, content, "export.json")
    assert job.annotations == 3
    assert job.findings["unmapped"] == {"bias": {"extreme": 3}}
    found = Annotation.objects.first()
    assert found.labels == {"harm": "low"}
    assert found.imported.values["bias"] == ["extreme"] and found.imported.values["colour"] == ["red"]


def test_controls_are_known_by_their_levels_too(project):
    content = json.dumps(
        [
            task(1, "They lie.", annotation(1, choice("how_bad", "Mild"))),
            task(2, "x", annotation(1, choice("how_bad", "severe"))),
        ]
    )
    run(project, content, "export.json")
    assert Annotation.objects.get(item__external_id="1").labels == {"toxicity": "mild"}


def test_a_huge_task_list_is_read_one_task_at_a_time():
    import io
    import tracemalloc

    from annotation.sources import LabelStudio

    content = json.dumps(
        [task(number, "words " * 200, annotation(1, choice("bias", "high"))) for number in range(4000)]
    )
    file = io.BytesIO(content.encode())
    del content
    tracemalloc.start()
    assert sum(1 for _ in LabelStudio(file)) == 4000
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 8_000_000 < file.getbuffer().nbytes


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('[{"id": 1, "data": {"text": "a"}}, {"id": 2, "data"', "entry 2 is broken"),
        (b'[{"id": 1, "data": {"text": "\xff"}}]', "not UTF-8"),
        ("", "The file is empty"),
        ("[]", "holds no tasks"),
    ],
)
def test_broken_label_studio_files_import_nothing(project, content, words):
    job = run(project, content, "export.json")
    assert job.status == JobStatus.FAILED and words in job.error
    assert not project.items.exists()


def test_tasks_that_are_none_are_rejected_by_number(project):
    content = json.dumps(
        ["x", {"id": 1}, task(3, "", annotation(1, *ALL)), task(4, "good", annotation(1, marked(0, 99, "")))]
    )
    job = run(project, content, "export.json")
    found = rejections(job)
    assert [row[0] for row in found] == [1, 2, 3, 4]
    assert found[2][1:] == ("data.text", "The text is empty.")
    assert found[3][1:] == ("span", "Span 0-99 is outside the text (0-4).")


# doccano


def test_doccano_archives_have_a_file_for_each_annotator(project):
    MembershipFactory(project=project, user=UserFactory(username="ada"))
    content = zipped(
        {
            "ada.jsonl": lines(
                {
                    "id": 1,
                    "text": "They lie.",
                    "source_file": "a.txt",
                    "label": ["bias: high", "toxicity: mild"],
                    "Comments": [],
                },
                {"id": 2, "text": "Fine day.", "label": [], "Comments": []},
            ),
            "bob.jsonl": lines(
                {"id": 1, "text": "They lie.", "label": ["severe"], "Comments": ["hm"]},
                {"id": 2, "text": "Fine day.", "label": ["none of it"], "Comments": []},
            ),
        }
    )
    job = run(project, content, "export.zip")
    assert (job.file_format, job.imported, job.annotations) == ("doccano", 2, 3)
    unmapped = Annotation.objects.get(labels={})
    assert (unmapped.item.text, unmapped.imported.values["label"]) == ("Fine day.", ["none of it"])
    found = by_person(project)
    assert found["ada"].labels == {"bias": "high", "toxicity": "mild"}
    other = Annotation.objects.get(annotator__username=f"bob.doccano.project-{project.pk}", item__external_id="1")
    assert (other.labels, other.comment) == ({"toxicity": "severe"}, "hm")
    assert job.findings["unmapped"] == {"label": {"none of it": 1}}
    assert job.findings["aside"]["empty"] == 1
    assert project.items.get(external_id="1").metadata == {"source_file": "a.txt"}


def test_doccano_sequence_labels_become_marks(project):
    content = lines(
        {"id": 1, "text": "They are lazy liars.", "label": [[9, 13, "SLUR"], [14, 19, "SLUR"]], "Comments": []},
        {
            "id": 2,
            "text": "Also lazy.",
            "entities": [{"id": 1, "label": "SLUR", "start_offset": 5, "end_offset": 9}],
            "relations": [],
        },
    )
    job = run(project, content, "all.jsonl", file_format="doccano")
    spans = {one.item.external_id: one.spans for one in Annotation.objects.select_related("item")}
    assert spans == {"1": [{"start": 9, "end": 13}, {"start": 14, "end": 19}], "2": [{"start": 5, "end": 9}]}
    assert Annotation.objects.first().annotator.username == f"everybody.doccano.project-{project.pk}"
    assert job.rejected == 0


def test_doccano_sequence_to_sequence_becomes_rewrites(project):
    content = lines(
        *(
            {
                "id": n,
                "text": f"They lie {n}.",
                "label": [f"Some of them, in group {n}, err.", "Another."],
                "username": "eve",
            }
            for n in range(60)
        )
    )
    job = run(project, content, "x.jsonl", file_format="doccano")
    found = Annotation.objects.order_by("pk").first()
    assert found.rewrite == "Some of them, in group 0, err."
    assert found.annotator.username == f"eve.doccano.project-{project.pk}"
    assert job.findings["aside"]["further_rewrites"] == 60


def test_early_doccano_lines_hold_the_work_of_several_users(project):
    content = lines(
        {
            "id": 1,
            "text": "They are lazy.",
            "meta": {"topic": "work"},
            "annotation_approver": None,
            "annotations": [
                {"id": 1, "label": 2, "start_offset": 0, "end_offset": 4, "user": 1},
                {"id": 2, "label": 2, "start_offset": 9, "end_offset": 13, "user": 2},
            ],
        }
    )
    job = run(project, content, "x.jsonl", file_format="doccano")
    assert job.annotations == 2
    assert sorted(one.spans[0]["start"] for one in Annotation.objects.all()) == [0, 9]
    assert project.items.get().metadata == {"topic": "work"}


# Long files


LONG = (
    "external_id,text,annotator,bias,toxicity,harm,sentiment,rewrite,spans,created_at\n"
    'a,They lie.,ada,high,mild,low,negative,Kind.,"[{""start"": 0, ""end"": 4}]",2024-01-02T03:04:05Z\n'
    "a,They lie.,bob,HIGH, mild ,low,negative,,,\n"
    "a,They lie.,cy,none,mild,low,negative,,,\n"
    "b,Alone.,ada,none,none,low,neutral,,,\n"
)


def test_a_long_file_brings_several_people_and_room_grows_to_fit(project):
    MembershipFactory(project=project, user=UserFactory(username="ada"))
    job = run(project, LONG, "past.csv")
    assert (job.imported, job.annotations, job.rejected) == (2, 4, 0)
    assert {item.external_id: item.overlap for item in project.items.all()} == {"a": 3, "b": 2}
    counters_are_right(project)
    pair = Pair.objects.get()  # only a is complete
    assert (pair.item.external_id, pair.rewrite, pair.labels["bias"]) == ("a", "Kind.", "high")
    assert pair.annotations.count() == 3 and pair.disagreement == 0.25
    assert pair.chosen.annotator.username == "ada"
    bob = Annotation.objects.get(annotator__first_name="bob")
    assert bob.labels == {"bias": "high", "toxicity": "mild", "harm": "low", "sentiment": "negative"}


def test_the_page_hands_imported_texts_only_to_people_who_have_room(project):
    ada = MembershipFactory(project=project, user=UserFactory(username="ada")).user
    dan = MembershipFactory(project=project).user
    run(project, LONG, "past.csv")
    assert work.next_assignment(ada, project) is None  # annotated b before
    assignment = work.next_assignment(dan, project)
    assert assignment.item.external_id == "b"
    work.submit(dan, assignment.pk, {"labels": LABELS})
    assert Pair.objects.filter(item__external_id="b").exists()
    counters_are_right(project)


def test_rows_that_contradict_each_other_or_the_project_are_rejected_with_the_row(project):
    member = MembershipFactory(project=project, user=UserFactory(username="ada")).user
    there = ItemFactory(project=project, external_id="there", text="Old.")
    held = work.next_assignment(member, project)
    gold = ItemFactory(project=project, external_id="g", text="Gold.", kind="gold")
    job = run(
        project,
        "external_id,text,annotator,bias\n"
        "a,One.,bob,high\n"
        "a,Another.,cy,high\n"
        "a,One.,bob,none\n"
        "there,New words.,bob,high\n"
        "g,Gold.,bob,high\n"
        "c,Three.,dan,high\n",
        "past.csv",
    )
    found = {row: (field, reason) for row, field, reason in rejections(job)}
    assert found[3] == ("external_id", "Row 2 of this file has another text under the external_id “a”.")
    assert found[4] == ("annotator", "Row 2 of this file is an annotation of the same text by bob too.")
    assert f"(text {there.pk})" in found[5][1]
    assert f"Text {gold.pk} of the project is no ordinary text" in found[6][1]
    assert (job.imported, job.annotations) == (2, 2)
    again = run(project, "external_id,text,annotator,bias\nthere,Old.,ada,high\n", "past.csv")
    assert "was given text" in rejections(again)[0][2]
    assert Assignment.objects.get(pk=held.pk).state == "held"
    counters_are_right(project)


def test_a_second_file_adds_its_people_to_the_same_texts(project):
    run(project, "text,annotator,bias\nThey lie.,ada,high\n", "ada.csv")
    job = run(project, "text,annotator,bias\nThey lie.,bob,none\nThey lie.,ada,none\n", "bob.csv")
    assert (job.imported, job.annotations) == (0, 1)
    assert "ada has annotated text" in rejections(job)[0][2]
    assert project.items.get().finished == 2
    assert get_user_model().objects.filter(is_active=False).count() == 2  # ada is the same account
    counters_are_right(project)


def test_a_name_of_somebody_outside_the_project_is_not_theirs(project):
    outsider = UserFactory(username="mallory", email="mallory@example.org")
    run(project, "text,annotator,bias\nThey lie.,mallory,high\nFine.,Mallory@example.org,none\n", "past.csv")
    assert not Annotation.objects.filter(annotator=outsider).exists()


def test_the_mapping_can_be_sent_at_once(project):
    ada = MembershipFactory(project=project, user=UserFactory(username="ada")).user
    job = run(
        project,
        "id,tweet,worker,offensive\nx1,They lie.,w-17,2\nx2,Fine.,w-17,0\nx3,Hm.,w-17,9\n",
        "crowd.csv",
        inspection={
            "chosen": {
                "columns": {"tweet": "text", "worker": "annotator", "offensive": "label:toxicity", "id": "external_id"},
                "values": {"offensive": {"0": "none", "1": "mild", "2": "severe"}},
                "people": {"w-17": "ada"},
            }
        },
    )
    assert job.status == "finished", job.error
    found = {
        one.item.external_id: one.labels for one in Annotation.objects.filter(annotator=ada).select_related("item")
    }
    assert found == {"x1": {"toxicity": "severe"}, "x2": {"toxicity": "none"}, "x3": {}}
    assert job.findings["unmapped"] == {"offensive": {"9": 1}}


def test_rows_without_every_label_can_be_rejected(project):
    chosen = {"columns": {}, "incomplete": "reject"}
    job = run(project, "text,annotator,bias\nThey lie.,ada,high\n", "past.csv", inspection={"chosen": chosen})
    assert rejections(job) == [(2, "toxicity", "There is no label for toxicity, harm, sentiment.")]


@pytest.mark.parametrize(
    ("value", "words"),
    [("tomorrow", "is no time"), ("2999-01-01T00:00:00Z", "not a time in the past"), ("2024-13-40", "is no time")],
)
def test_times_that_make_no_sense_reject_their_row(project, value, words):
    job = run(project, f"text,annotator,bias,created_at\nThey lie.,ada,high,{value}\n", "past.csv")
    assert rejections(job)[0][1] == "created_at" and words in rejections(job)[0][2]


def test_a_wrong_column_of_annotators_makes_no_accounts(project, monkeypatch):
    monkeypatch.setattr(past, "MAX_PEOPLE", 5)
    content = "text,annotator,bias\n" + "".join(f"Text {n}.,person {n},high\n" for n in range(9))
    job = run(project, content, "past.csv")
    assert "more than 5 annotators" in job.error
    assert not project.items.exists() and not get_user_model().objects.filter(is_active=False).exists()


# The pause


def test_a_file_with_annotations_waits_until_somebody_has_looked(project, django_capture_on_commit_callbacks):
    job = go(make(project, LONG, "past.csv", review=Review.AUTO))
    assert (job.status, job.is_active, job.mapping) == ("paused", False, None)
    assert not project.items.exists()
    found = job.inspection
    assert [one["name"] for one in found["people"]] == ["ada", "cy", "bob"] or len(found["people"]) == 3
    assert found["guess"]["columns"]["bias"] == "label:bias"
    assert found["guess"]["values"]["bias"] == {"high": "high", "HIGH": "high", "none": "none"}
    imports.confirm(job, {"columns": {"rewrite": "metadata"}})
    job.refresh_from_db()
    assert job.status == "queued"
    job = go(job)
    assert job.annotations == 4
    assert not Annotation.objects.exclude(rewrite="").exists()
    with pytest.raises(ValidationError, match="does not wait"):
        imports.confirm(job, {})


def test_plain_texts_are_imported_without_a_question(project):
    assert go(make(project, "text,topic\nThey lie.,work\n", "a.csv", review=Review.AUTO)).imported == 1


def test_a_file_without_a_text_column_asks_which_one_it_is(project):
    job = go(make(project, "body,topic\nThey lie.,work\n", "a.csv", review=Review.AUTO))
    assert job.status == "paused"
    with pytest.raises(ValidationError, match="which column holds the text"):
        imports.confirm(job, {})
    imports.confirm(job, {"columns": {"body": "text"}})
    assert go(job).imported == 1
    assert project.items.get().text == "They lie."


def test_a_paused_import_can_be_stopped(project):
    job = go(make(project, LONG, "past.csv", review=Review.AUTO))
    job.request_cancel()
    assert job.status == "cancelled"


@pytest.mark.parametrize(
    ("chosen", "words"),
    [
        ([], "A mapping is an object"),
        ({"colums": {}}, "'colums' is no part of a mapping"),
        ({"columns": {"a": "label:mood"}}, "a: there is no target 'label:mood'"),
        ({"columns": {"a": "text", "b": "text"}}, "b and a cannot both be"),
        ({"columns": {"a": "label:bias"}, "values": {"a": {"x": "awful"}}}, "'awful' is no level of bias"),
        ({"people": {"x": "nobody-here"}}, "'nobody-here' is nobody in this project"),
        ({"incomplete": "maybe"}, "`incomplete` is take or reject"),
    ],
)
def test_a_mapping_that_makes_no_sense_is_refused(project, chosen, words):
    from annotation import mapping

    with pytest.raises(ValidationError) as error:
        mapping.check(chosen, project)
    assert words in str(error.value.message_dict["mapping"])


# Safe whatever happens


def test_running_twice_imports_once_and_finishes_the_pairs(project, monkeypatch):
    def die(job):
        raise KeyboardInterrupt

    original = past.propose
    monkeypatch.setattr(past, "propose", die)
    job = make(project, LONG, "past.csv")
    with pytest.raises(KeyboardInterrupt):
        jobs.execute(ItemImport.objects, job.pk, imports.run)
    assert (Annotation.objects.count(), Pair.objects.count()) == (4, 0)
    monkeypatch.setattr(past, "propose", original)
    ItemImport.objects.filter(pk=job.pk).update(status=JobStatus.QUEUED)
    job = go(job)
    assert (Annotation.objects.count(), Pair.objects.count(), job.annotations) == (4, 1, 4)


def test_an_import_that_fails_at_the_end_leaves_no_account_behind(project, monkeypatch):
    monkeypatch.setattr(
        past, "WITH_ANNOTATION", "FROM (SELECT 1/0) broken, staged_annotation a, annotation_annotation annotation"
    )
    job = make(project, LONG, "past.csv")
    with pytest.raises(IntegrityError):
        jobs.execute(ItemImport.objects, job.pk, imports.run)
    assert not get_user_model().objects.filter(is_active=False).exists()
    assert not project.items.exists() and not Assignment.objects.exists()


# Our own export


@pytest.mark.parametrize("file_format", ["csv", "jsonl"])
def test_our_own_annotations_come_in_again_as_they_were(project, file_format):
    lead = UserFactory()
    MembershipFactory(project=project, user=lead, role=Role.LEAD)
    people = [MembershipFactory(project=project).user for _ in range(2)]
    for text in ("=1+1 🙃 and they lie", "'=quoted", 'A "plain", one\nwith lines', "-"):
        ItemFactory(project=project, text=text, source="@x", metadata={})
    for number, person in enumerate(people):
        while assignment := work.next_assignment(person, project):
            content = {
                "labels": LABELS,
                "spans": [{"start": 0, "end": 1}],
                "rewrite": "-kind",
                "target_groups": ["=women", "men"],
                "comment": "+1",
                "active_seconds": number + 3,
            }
            work.submit(person, assignment.pk, content)
    export = exports.create(project, lead, kind="annotations", file_format=file_format)
    jobs.execute(Export.objects, export.pk, exports.run)
    export.refresh_from_db()
    other = ProjectFactory(overlap=1)
    for person in people:
        MembershipFactory(project=other, user=person)
    job = run(other, export.file.read(), f"again.{file_format}")
    assert (job.annotations, job.imported, rejections(job)) == (8, 4, [])

    def content(of):
        return sorted(
            (
                one.item.external_id,
                one.item.text,
                one.item.source,
                one.annotator_id,
                json.dumps(one.content(), sort_keys=True),
                one.active_seconds,
                one.created_at,
                one.updated_at,
            )
            for one in Annotation.objects.filter(project=of).select_related("item")
        )

    assert content(other) == content(project)
    assert Pair.objects.filter(project=other).count() == 4
    assert ImportedAnnotation.objects.filter(item_import=job).count() == 8


@pytest.mark.slow
def test_pairs_and_counters_are_right_after_many_annotations(project):
    content = "text,annotator,bias\n" + "".join(f"Text {n // 2}.,person {n % 2},high\n" for n in range(6_000))
    job = run(project, content, "past.csv")
    assert (job.imported, job.annotations, Pair.objects.count()) == (3_000, 6_000, 3_000)
    assert project.items.filter(taken=2, finished=2, overlap=2).count() == 3_000
