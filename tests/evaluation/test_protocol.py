"""The protocol as people read and download it, and amendments of it."""

import hashlib
import json

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection, transaction
from django.urls import reverse
from rest_framework.test import APIClient

from annotation.models import Role
from evaluation import judge_prompts, protocol, protocol_text, reviewing, studies
from evaluation.models import Amendment, Protocol, Study
from tests.evaluation.factories import make_study, rate_everything, running_study, start
from tests.factories import MembershipFactory, ProjectFactory, UserFactory

pytestmark = pytest.mark.django_db

HOSTILE = "<script>alert('x')</script> | `a` | عربي 👩‍👩‍👧"


@pytest.fixture
def lead():
    return UserFactory(username="lead")


@pytest.fixture
def project(lead):
    return ProjectFactory(lead=lead, trainer=UserFactory(username="trainer"))


@pytest.fixture
def study(lead, project):
    study = make_study(
        items=6,
        systems=2,
        reviewers=2,
        project=project,
        lead=lead,
        name=f"Spring {HOSTILE}"[:200],
        hypotheses=f"zebrafinch is better. {HOSTILE}",
        strata="language",
        normalisation=["preambles"],
        openings="zebrafinch says:",
        practice=1,
        checks=1,
        tuned=[],
    )
    system = study.systems.exclude(pk=study.reference_id).get()
    system.name = "zebrafinch"
    system.save(update_fields=["name"])
    return start(study)


def as_(user):
    client = APIClient()
    client.force_authenticate(user)
    return client


def page_of(client, study):
    return client.get(reverse("evaluation:protocol", args=[study.pk])).content.decode()


def test_the_page_shows_the_whole_plan_in_words(client, lead, study):
    client.force_login(lead)
    page = page_of(client, study)
    for words in (
        study.protocol.sha256,
        "Unchanged since",
        "zebrafinch is better.",
        "Better than the reference",
        "Not worse than the reference by more than the margin (0.5 levels)",
        "1 not at all · 2 hardly · 3 partly · 4 mostly · 5 completely",
        "Holm over the planned tests",
        "An announcement before the text",
        "“zebrafinch says:”",
        "1 for each reviewer",
        "No power analysis was made.",
        "Each reviewer has 4 pages",
        "statsmodels",
        "None: everything is as it was planned.",
        *study.drawn.filter(spare=False).values_list("item__external_id", flat=True),
    ):
        assert words in page, words
    assert "<script>alert" not in page


def test_the_page_speaks_of_the_stored_document_and_not_of_the_study_now(client, lead, study):
    Study.objects.filter(pk=study.pk).update(hypotheses="Rewritten afterwards", seed=4_242)
    client.force_login(lead)
    page = page_of(client, study)
    assert "zebrafinch is better." in page.split('<h2 id="amendments-title">')[0] and "4242" not in page


@pytest.mark.parametrize("layout", ["rate", "side_by_side", "pairwise", "best_worst"])
def test_the_protocol_of_every_layout_can_be_read_and_downloaded(client, lead, project, layout):
    more = {"ratings_per_output": 2} if layout == "pairwise" else {}
    study = running_study(items=4, systems=3, reviewers=3, project=project, lead=lead, layout=layout, **more)
    client.force_login(lead)
    assert study.get_layout_display() in page_of(client, study)
    text = protocol_text.markdown(study)
    assert f"- Layout: {study.get_layout_display()}" in text
    assert ("None: reviewers only choose" in text) == (layout in ("pairwise", "best_worst"))


def test_a_document_changed_by_hand_is_noticed(client, lead, study):
    protocol.change(study, lead, "A note.")
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("ALTER TABLE evaluation_amendment DISABLE TRIGGER USER")
        cursor.execute("UPDATE evaluation_amendment SET reason = 'Another.'")
        cursor.execute("ALTER TABLE evaluation_amendment ENABLE TRIGGER USER")
    client.force_login(lead)
    assert "Not as it was written" in page_of(client, study)
    assert as_(lead).get(f"/api/studies/{study.pk}/protocol/").json()["intact"] is False


def test_the_json_that_is_downloaded_has_the_hash(client, lead, study):
    client.force_login(lead)
    answer = client.get(reverse("evaluation:protocol-file", args=[study.pk, "json"]))
    assert hashlib.sha256(answer.content).hexdigest() == study.protocol.sha256
    assert answer["Content-Disposition"].startswith("attachment")
    assert json.loads(answer.content)["design"]["openings"] == "zebrafinch says:"
    assert client.get(reverse("evaluation:protocol-file", args=[study.pk, "pdf"])).status_code == 404


def test_the_markdown_shows_what_people_wrote_as_it_is(client, lead, study):
    protocol.change(study, lead, f"Unclear. {HOSTILE}\nTwice.", instructions=HOSTILE)
    client.force_login(lead)
    text = client.get(reverse("evaluation:protocol-file", args=[study.pk, "md"])).content.decode()
    assert text.startswith("# Spring \\<script\\>") and study.protocol.sha256 in text
    assert "| zebrafinch |" in text and "\\| \\`a\\` \\|" in text
    assert "1. " in text and "Instructions: – → \\<script\\>" in text
    assert Amendment.objects.get().sha256 in text


def test_before_the_start_there_is_none(client, lead, project):
    study = make_study(project=project, lead=lead)
    client.force_login(lead)
    assert "Not written yet" in page_of(client, study)
    assert client.get(reverse("evaluation:protocol-file", args=[study.pk, "json"])).status_code == 404
    assert as_(lead).get(f"/api/studies/{study.pk}/protocol/").status_code == 404
    assert client.post(reverse("evaluation:amend", args=[study.pk]), {"reason": "x"}).status_code == 302
    assert not Amendment.objects.exists()


# Amendments


def fields_of(client, study, **changes):
    form = client.get(reverse("evaluation:protocol", args=[study.pk])).context["form"]
    typed = {name: form[name].value() for name in form.fields}
    return {name: "" if value is None else value for name, value in typed.items()} | changes


def test_an_amendment_changes_only_what_was_changed_and_says_when(client, lead, study):
    task = study.tasks.first()
    type(task).objects.filter(pk=task.pk).update(done_at="2026-01-01T00:00:00Z")
    client.force_login(lead)
    url = reverse("evaluation:amend", args=[study.pk])
    fields = fields_of(client, study, instructions="Read twice.", min_seconds=5)
    refused = client.post(url, fields)
    assert refused.status_code == 422 and "Say why, for the report." in refused.content.decode()
    assert "Read twice." in refused.content.decode()  # still in the form
    assert client.post(url, fields | {"reason": "Some clicked through."}).status_code == 302
    row = Amendment.objects.get()
    assert row.changes == {"instructions": ["", "Read twice."], "min_seconds": [0, 5]}
    assert (row.tasks_done, row.blind, row.reason) == (1, True, "Some clicked through.")
    study.refresh_from_db()
    assert (study.instructions, study.min_seconds) == ("Read twice.", 5)
    page = page_of(client, study)
    assert "Some clicked through." in page and "after 1 finished page" in page and "before unblinding" in page
    assert "<del><bdi>0</bdi></del> → <ins><bdi>5</bdi></ins>" in page


def test_a_deviation_is_noted_without_a_change_even_after_closing(client, lead, study):
    client.force_login(lead)
    url = reverse("evaluation:amend", args=[study.pk])
    assert client.post(url, fields_of(client, study, reason="The server was away for a day.")).status_code == 302
    rate_everything(study)
    studies.close(study, lead)
    fields = fields_of(client, study, reason="One text was discussed in public.")
    assert set(fields) == {"reason"}  # nothing of a closed study changes
    assert client.post(url, fields | {"min_seconds": 9}).status_code == 302
    notes = list(Amendment.objects.order_by("number").values_list("reason", "changes", "blind"))
    assert notes == [
        ("The server was away for a day.", {}, True),
        ("One text was discussed in public.", {}, False),
    ]
    assert Study.objects.get(pk=study.pk).min_seconds == 0
    assert "after unblinding" in page_of(client, study)


@pytest.mark.parametrize("values", [{"seed": 3}, {"layout": "rate"}, {"checks": 0}, {"nonsense": 1}])
def test_the_design_itself_cannot_be_amended(lead, study, values):
    answer = as_(lead).post(f"/api/studies/{study.pk}/amendments/", {"reason": "x"} | values)
    assert answer.status_code == 400 and answer.json() == {
        next(iter(values)): ["This was fixed when the study started."]
    }
    with pytest.raises(ValidationError):
        protocol.change(study, lead, "x", **values)
    assert not Amendment.objects.exists()


def test_the_api_amends_and_lists(lead, study):
    client, url = as_(lead), f"/api/studies/{study.pk}/amendments/"
    assert "reason" in client.post(url, {"min_seconds": 4}).json()
    assert "min_passed" in client.post(url, {"min_passed": 101, "reason": "x"}).json()
    made = client.post(url, {"min_seconds": 4, "reason": "Fast pages."})
    assert made.status_code == 201 and made.json()["changes"] == {"min_seconds": [0, 4]}
    client.post(url, {"reason": "A note."})
    assert [row["reason"] for row in client.get(url).json()] == ["Fast pages.", "A note."]
    shown = client.get(f"/api/studies/{study.pk}/protocol/").json()
    assert hashlib.sha256(shown["text"].encode()).hexdigest() == shown["sha256"] and shown["intact"]
    trainer = as_(study.project.memberships.get(role="trainer").user)
    assert trainer.get(url).status_code == 200 and trainer.post(url, {"reason": "x"}).status_code == 403


# Leads who review


@pytest.fixture
def blind_lead(project):
    """A second lead, who reviews the study."""
    person = UserFactory(username="both")
    MembershipFactory(project=project, user=person, role=Role.LEAD)
    return person


def test_a_lead_who_reviews_learns_no_system_from_the_protocol(client, lead, project, study, blind_lead):
    other = make_study(
        items=6, systems=2, reviewers=[blind_lead], project=project, lead=lead, hypotheses="quagga wins",
        openings="quagga says:", seed=8_675_309,
    )  # fmt: skip
    for number, system in enumerate(other.systems.order_by("pk")):
        system.name = f"quagga-{number}"
        system.save(update_fields=["name"])
    start(other)
    protocol.change(other, lead, "quagga was slow", hypotheses="quagga loses")
    client.force_login(blind_lead)
    page = page_of(client, other)
    assert "Hidden from you as long as you rate its systems blind" in page and "Holm over the planned tests" in page
    found = [page, as_(blind_lead).get(f"/api/studies/{other.pk}/protocol/").content.decode()]
    found.append(as_(blind_lead).get(f"/api/studies/{other.pk}/amendments/").content.decode())
    found.append(as_(blind_lead).get(f"/api/studies/{other.pk}/").content.decode())
    found.append(client.get(other.get_absolute_url()).content.decode())
    found.append(client.get(reverse("evaluation:power", args=[other.pk])).content.decode())
    for ending in ("json", "md"):
        answer = client.get(reverse("evaluation:protocol-file", args=[other.pk, ending]))
        assert answer.status_code == 403
        found.append(answer.content.decode())
    refused = client.post(reverse("evaluation:amend", args=[other.pk]), {"reason": ""})
    assert refused.status_code == 422
    for text in [*found, refused.content.decode()]:
        assert "quagga" not in text and "8675309" not in text
    # What is theirs they may read, and what they may not see they cannot change.
    assert (
        client.post(
            reverse("evaluation:amend", args=[other.pk]),
            {
                "reason": "I asked.",
                "name": other.name,
                "on_failure": "keep",
                "min_passed": 75,
                "min_seconds": 0,
                "hypotheses": "mine",
            },
        ).status_code
        == 302
    )
    other.refresh_from_db()
    assert other.hypotheses == "quagga loses" and "I asked." in page_of(client, other)
    # It is all there for the others, and once the study is closed.
    client.force_login(lead)
    assert "quagga was slow" in page_of(client, other)
    studies.close(other, lead)
    client.force_login(blind_lead)
    assert "quagga was slow" in page_of(client, other) and "quagga-1" in page_of(client, other)
    assert client.get(reverse("evaluation:protocol-file", args=[other.pk, "md"])).status_code == 200


def test_a_blind_lead_is_not_told_which_texts_count_and_from_where(client, lead, project, blind_lead):
    study = make_study(
        items=8, reviewers=[blind_lead], project=project, lead=lead, practice=2, checks=2, strata="language",
        chosen_ids="", dataset=None, number_of_items=4,
    )  # fmt: skip
    study = start(study)
    content = as_(blind_lead).get(f"/api/studies/{study.pk}/protocol/").json()["content"]
    assert not {"items", "dataset"} & set(content) and "chosen_ids" not in content["design"]
    client.force_login(blind_lead)
    ids = study.drawn.values_list("item__external_id", flat=True)
    assert not [name for name in ids if name in page_of(client, study)]
    shown = as_(blind_lead).get(f"/api/studies/{study.pk}/").json()
    assert not set(protocol.TELLING) & set(shown)
    client.force_login(lead)
    assert all(
        name in page_of(client, study)
        for name in study.drawn.filter(spare=False).values_list("item__external_id", flat=True)
    )


def test_who_is_blind_cannot_amend_the_hypotheses_through_the_api_either(lead, project, blind_lead):
    study = running_study(reviewers=[blind_lead], project=project, lead=lead, hypotheses="The second wins.")
    url = f"/api/studies/{study.pk}/amendments/"
    answer = as_(blind_lead).post(url, {"reason": "So.", "hypotheses": "The first wins."}, format="json")
    assert answer.status_code == 400 and "blind" in answer.json()["hypotheses"][0]
    study.refresh_from_db()
    assert study.hypotheses == "The second wins." and not study.amendments.exists()
    assert as_(blind_lead).post(url, {"reason": "So.", "min_seconds": 3}, format="json").status_code == 201
    assert as_(lead).post(url, {"reason": "So.", "hypotheses": "The first wins."}, format="json").status_code == 201


def test_neither_protocol_nor_amendment_is_removed_while_the_study_is_there(lead, study):
    protocol.change(study, lead, "First.", min_seconds=3)
    newest = protocol.change(study, lead, "Second.", min_seconds=4)
    for rows in (Amendment.objects.filter(pk=newest.pk), Protocol.objects.filter(study=study)):
        with pytest.raises(IntegrityError, match="stay as long as their study"), transaction.atomic():
            rows.delete()
            connection.check_constraints()
    assert protocol.is_intact(study) and study.amendments.count() == 2


def test_a_study_is_deleted_with_its_protocol_and_amendments(lead, study):
    protocol.change(study, lead, "First.", min_seconds=3)
    study.delete()
    connection.check_constraints()
    assert not Protocol.objects.exists() and not Amendment.objects.exists()


def test_the_questions_of_a_layout_read_alike_for_people_judges_and_the_protocol(client, lead, project):
    study = running_study(project=project, lead=lead, layout="best_worst", systems=3)
    task = study.tasks.first()
    design = json.loads(study.protocol.text)["design"]
    client.force_login(lead)
    places = [
        " ".join(
            str(fact) for section in protocol_text.sections(json.loads(study.protocol.text)) for fact in section.facts
        ),
        judge_prompts.render(
            judge_prompts.DEFAULT_TEMPLATE, judge_prompts.Page(study, [], "A text.", list(task.slots.all()))
        ),
        client.get(study.get_absolute_url()).content.decode(),
    ]
    with pytest.raises(ValidationError) as refused:
        reviewing.submit(task.reviewer, task.token, {})
    assert refused.value.messages == [design["preference_question"]] == ["Which output is the best?"]
    assert design["worst_question"] == "Which output is the worst?"
    for words in places:
        assert "Which output is the best?" in words and "Which output is the worst?" in words
        assert "which is the better" not in words


def test_a_question_of_ones_own_is_asked_as_it_stands():
    study = running_study(layout="best_worst", systems=3, preference_question="Which would you print?")
    assert study.best_question == json.loads(study.protocol.text)["design"]["preference_question"]
    assert (study.best_question, running_study(layout="rate").best_question) == ("Which would you print?", "")
