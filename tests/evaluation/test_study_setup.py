"""How a lead plans, starts, watches and closes a study, by page and by API."""

import json
import re

import pytest
from django.core.exceptions import ValidationError
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from playwright.sync_api import expect
from rest_framework.test import APIClient

from annotation.models import PairStatus
from evaluation import protocol, reviewing, starting, studies
from evaluation.design import forms as shown_forms
from evaluation.models import Amendment, Criterion, Slot, Study, SystemKind, default_criteria
from evaluation.views.studies import EXAMPLE
from tests.evaluation.factories import (
    OutputFactory,
    SystemFactory,
    answers,
    make_study,
    plan_of,
    rate_everything,
    running_study,
    start,
)
from tests.factories import ItemFactory, MembershipFactory, PairFactory, ProjectFactory, UserFactory
from tests.training.factories import make_dataset

pytestmark = pytest.mark.django_db


@pytest.fixture
def lead():
    return UserFactory(username="lead")


@pytest.fixture
def project(lead):
    return ProjectFactory(lead=lead, trainer=UserFactory(username="trainer"))


@pytest.fixture
def systems(project):
    """Two systems with an output for each of twelve texts."""
    made = SystemFactory.create_batch(2, project=project)
    for item in ItemFactory.create_batch(12, project=project):
        for system in made:
            OutputFactory(system=system, item=item)
    return made


def as_(user):
    client = APIClient()
    client.force_authenticate(user)
    return client


def post(client, name, pk, /, **fields):
    return client.post(reverse(f"evaluation:{name}", args=[pk]), fields)


def plan(systems, /, **fields):
    return plan_of(**{"systems": [system.pk for system in systems], "reference": systems[0].pk} | fields)


# The form


def test_the_form_stores_everything_that_is_planned(client, lead, project, systems):
    dataset = make_dataset(project=project)
    client.force_login(lead)
    response = post(
        client,
        "study-new",
        project.pk,
        **plan(
            systems,
            controls=["original"],
            tuned=[systems[1].pk],
            dataset=dataset.pk,
            part="train",
            number_of_items=8,
            strata="language",
            allocation="equal",
            layout="rate",
            per_page=1,
            ratings_per_output=2,
            normalisation=["preambles", "quotes"],
            openings="Neutral:\r\nBetter:",
            practice=1,
            checks=2,
            repeats=3,
            guesses=4,
            on_failure="exclude",
            min_passed=60,
            min_seconds=5,
            hypotheses="The tuned one is better.",
            instructions="# Read twice",
            preference_question="Which one?",
            seed=77,
        ),
    )
    study = Study.objects.get()
    assert response.status_code == 302 and response.url == study.get_absolute_url()
    assert {system.kind for system in study.systems.all()} == {"upload", "original"}
    assert list(study.tuned.all()) == [systems[1]]
    stored = {name: getattr(study, name) for name in (*protocol.DESIGN, *protocol.RULES, "hypotheses", "instructions")}
    assert stored == {
        "layout": "rate",
        "per_page": 1,
        "ratings_per_output": 2,
        "preference_question": "Which one?",
        "normalisation": ["preambles", "quotes"],
        "openings": "Neutral:\nBetter:",
        "number_of_items": 8,
        "strata": "language",
        "allocation": "equal",
        "part": "train",
        "chosen_ids": "",
        "seed": 77,
        "practice": 1,
        "checks": 2,
        "repeats": 3,
        "guesses": 4,
        "on_failure": "exclude",
        "min_passed": 60,
        "min_seconds": 5,
        "hypotheses": "The tuned one is better.",
        "instructions": "# Read twice",
    }
    assert study.dataset == dataset
    page = client.get(reverse("evaluation:study-change", args=[study.pk])).content.decode()
    assert 'value="77"' in page and "# Read twice" in page and "Neutral:" in page


def test_who_changes_nothing_but_the_systems_gets_a_study_with_controls(client, lead, project, systems):
    """What the empty form offers is sent back as it is, with two systems ticked."""
    client.force_login(lead)
    form = client.get(reverse("evaluation:study-new", args=[project.pk])).context["form"]
    fields = {name: form[name].value() for name in form.fields if form[name].value() not in (None, "")}
    chosen = {"systems": [system.pk for system in systems], "reference": systems[0].pk, "name": "Spring"}
    assert post(client, "study-new", project.pk, **(plan_of() | fields | chosen)).status_code == 302
    study = Study.objects.get()
    assert study.practice and study.checks and study.guesses
    assert study.systems.filter(kind=SystemKind.ORIGINAL).exists()
    assert study.criteria.exclude(hypothesis="none").count() == 2
    for name in ("ada", "ben"):
        studies.invite(study, lead, UserFactory(username=name).username)
    ready = starting.readiness(study)
    assert ready.problems == []
    assert ready.texts == 12 - study.practice - study.checks  # all but those that practice and checks need
    starting.start(study, lead)
    assert study.drawn.filter(spare=False).count() == ready.texts


def test_sixty_texts_are_offered_where_there_are_more(client, lead, project, systems):
    client.force_login(lead)
    url = reverse("evaluation:study-new", args=[project.pk])
    assert client.get(url).context["form"]["number_of_items"].value() is None
    for item in ItemFactory.create_batch(60, project=project):
        OutputFactory(system=systems[0], item=item)
    assert client.get(url).context["form"]["number_of_items"].value() == 60


@pytest.mark.parametrize("reference", ["original", "rewrite"])
def test_a_hidden_system_can_be_the_reference(client, lead, project, systems, reference):
    for item in project.items.all():
        PairFactory(item=item, rewrite="Some of them rest.", status=PairStatus.APPROVED)
    client.force_login(lead)
    fields = plan(systems, controls=["original", "rewrite"], reference=reference)
    assert post(client, "study-new", project.pk, **fields).status_code == 302
    study = Study.objects.get()
    assert study.reference.kind == reference and study.systems.count() == 4
    page = client.get(reverse("evaluation:study-change", args=[study.pk]))
    assert page.context["form"]["reference"].value() == reference
    # Saved again as it is, then with another reference and without hidden systems.
    assert post(client, "study-change", study.pk, **fields).status_code == 302
    assert Study.objects.get().reference.kind == reference
    assert post(client, "study-change", study.pk, **plan(systems)).status_code == 302
    assert set(Study.objects.get().systems.all()) == set(systems)


def test_a_reference_that_is_not_compared_is_refused_beside_the_table(client, lead, project, systems):
    client.force_login(lead)
    for fields in (plan(systems, reference="rewrite"), plan(systems, systems=[systems[1].pk], controls=["original"])):
        answer = post(client, "study-new", project.pk, **fields)
        assert answer.status_code == 422
        assert "The reference must be one of the chosen systems." in answer.context["form"].errors["reference"]
    answer = post(client, "study-new", project.pk, **plan(systems, reference=""))
    assert "Choose what the others are compared with." in answer.content.decode()
    assert not Study.objects.exists()


def test_a_model_ticked_as_tuned_but_not_compared_is_left_out(client, lead, project, systems):
    third = SystemFactory(project=project, kind=SystemKind.RUN)
    client.force_login(lead)
    form = client.get(reverse("evaluation:study-new", args=[project.pk])).context["form"]
    assert form["tuned"].value() == [third.pk]
    assert post(client, "study-new", project.pk, **plan(systems, tuned=[third.pk, systems[1].pk])).status_code == 302
    assert list(Study.objects.get().tuned.all()) == [systems[1]]


@pytest.mark.parametrize(
    ("fields", "name", "words"),
    [
        ({"name": ""}, "name", "required"),
        ({"layout": "pairwise", "per_page": 3}, "per_page", "2 outputs"),
        ({"number_of_items": 0}, "number_of_items", "greater than or equal to 1"),
        ({"checks": 21}, "checks", "less than or equal to 20"),
        ({"min_passed": 101}, "min_passed", "less than or equal to 100"),
        ({"normalisation": ["nonsense"]}, "normalisation", "not one of the available"),
        ({"seed": "x"}, "seed", "whole number"),
        ({"layout": "nonsense"}, "layout", "not one of the available"),
    ],
)
def test_errors_stand_beside_their_field_and_nothing_typed_is_lost(client, lead, project, systems, fields, name, words):
    client.force_login(lead)
    typed = plan(systems, instructions="Read <b>twice</b> 👀", hypotheses="مرحبا") | fields
    typed["criteria-0-question"] = "Is it gone, really?"
    answer = post(client, "study-new", project.pk, **typed)
    page = answer.content.decode()
    assert answer.status_code == 422 and not Study.objects.exists()
    assert words in str(answer.context["form"].errors[name])
    assert "Read &lt;b&gt;twice&lt;/b&gt; 👀" in page and "مرحبا" in page and "Is it gone, really?" in page
    assert page.count("checked") >= 3  # systems, reference


# Criteria


def criteria_of(study):
    return list(study.criteria.values_list("key", "name", "hypothesis", "margin"))


def test_criteria_are_renamed_reordered_removed_and_added_and_keep_their_keys(client, lead, project, systems):
    client.force_login(lead)
    rows = default_criteria()
    rows[0] |= {"name": "No bias left", "ORDER": 3}
    rows[1] |= {"ORDER": 1, "margin": 0.25}
    rows[2] |= {"DELETE": "on"}
    rows.append(
        {
            "key": "",
            "name": "Näher am Text!",
            "question": "Near?",
            "anchors": ["no", "yes"],
            "hypothesis": "none",
            "ORDER": 2,
        }
    )
    assert post(client, "study-new", project.pk, **plan(systems, criteria=rows)).status_code == 302
    study = Study.objects.get()
    assert criteria_of(study) == [
        ("meaning_kept", "Meaning kept", "noninferiority", 0.25),
        ("naher_am_text", "Näher am Text!", "none", None),
        ("bias_gone", "No bias left", "superiority", None),
    ]
    assert study.criteria.get(key="naher_am_text").anchors == ["no", "yes"]
    page = client.get(reverse("evaluation:study-change", args=[study.pk])).content.decode()
    assert "<code>naher_am_text</code>" in page


def test_a_criterion_is_added_without_scripts_and_without_complaints(client, lead, project, systems):
    client.force_login(lead)
    typed = plan(systems, name="", more="yes", instructions="Half written")
    answer = post(client, "study-new", project.pk, **typed)
    page = answer.content.decode()
    assert answer.status_code == 200 and not Study.objects.exists()
    assert 'name="criteria-3-name"' in page and "Half written" in page
    assert "errorlist" not in page and "required." not in page
    rows = [*default_criteria(), {"key": "", "name": "", "question": "", "anchors": []}]
    assert post(client, "study-new", project.pk, **plan(systems, criteria=rows)).status_code == 302
    assert Study.objects.get().criteria.count() == 3  # the row that stayed empty is none


@pytest.mark.parametrize(
    ("change", "place", "words"),
    [
        ({"anchors": ["only one"]}, "anchors", "Give 2 to 7 levels; there are 1."),
        ({"anchors": [str(number) for number in range(8)]}, "anchors", "there are 8."),
        ({"anchors": ["same", "Same "]}, "anchors", "Two levels read the same."),
        ({"anchors": ["x" * 81, "y"]}, "anchors", "80"),
        ({"hypothesis": "noninferiority", "margin": ""}, "margin", "Give a margin in levels"),
        ({"hypothesis": "noninferiority", "margin": 4}, "margin", "above 0 and below 4"),
        ({"question": ""}, "question", "required"),
        ({"hypothesis": "nonsense"}, "hypothesis", "not one of the available"),
    ],
)
def test_a_wrong_criterion_says_so_beside_its_field(client, lead, project, systems, change, place, words):
    client.force_login(lead)
    rows = default_criteria()
    rows[0] |= change
    answer = post(client, "study-new", project.pk, **plan(systems, criteria=rows))
    assert answer.status_code == 422 and not Study.objects.exists()
    assert words in str(answer.context["formset"][0].errors[place])
    assert '<details class="criterion" open>' in answer.content.decode()


def test_two_criteria_of_one_name_are_refused_with_words(client, lead, project, systems):
    client.force_login(lead)
    rows = default_criteria()
    rows[1] |= {"key": "", "name": "Bias gone"}
    answer = post(client, "study-new", project.pk, **plan(systems, criteria=rows))
    assert answer.status_code == 422 and "another criterion with the key bias_gone" in answer.content.decode()


def test_a_layout_that_only_asks_for_the_better_output_needs_no_criteria(client, lead, project, systems):
    client.force_login(lead)
    rows = [row | {"DELETE": "on"} for row in default_criteria()]
    assert post(client, "study-new", project.pk, **plan(systems, criteria=rows)).status_code == 422
    assert post(client, "study-new", project.pk, **plan(systems, criteria=rows, layout="pairwise")).status_code == 302


# How outputs are shown


def test_the_example_on_the_form_is_shown_as_it_says():
    rules = shown_forms.Normalisation(preambles=True, closings=True, quotes=True, markdown=True)
    assert set(studies.NORMALISATIONS) == {"preambles", "closings", "quotes", "markdown"}
    assert shown_forms.normalise(EXAMPLE, rules).text == "They work hard."


def test_beginnings_that_the_lead_named_are_not_shown():
    study = make_study(items=2, normalisation=["quotes"], openings=" Debiased by X9: \n\n")
    output = study.reference.outputs.first()
    type(output).objects.filter(pk=output.pk).update(text="debiased by X9: “They rest.”")
    start(study)
    assert Slot.objects.filter(text="They rest.").exists() and not Slot.objects.filter(text__contains="X9").exists()
    assert "Debiased by X9:" in study.protocol.text


# A draft


def test_a_draft_shows_what_would_be_rated_and_how_long_it_takes(client, lead, project):
    study = make_study(items=10, systems=2, reviewers=2, project=project, lead=lead, practice=1, checks=1)
    client.force_login(lead)
    ready = starting.readiness(study)
    # 8 texts and 2 more pages: 10 s for the text, 2 outputs of 10 s and 3 criteria of 5 s each, 8 s to choose
    assert (ready.texts, ready.size.pages_per_reviewer, ready.seconds_a_page) == (8, (8, 8), 68)
    assert ready.minutes == (12, 12) and ready.measured_on == 0
    page = client.get(study.get_absolute_url()).content.decode()
    assert "What would be rated" in page and "Guessed at 68 s a page" in page and "Start the study" in page


def test_earlier_pages_of_the_layout_say_how_long_one_takes(lead, project):
    rate_everything(running_study(items=20, project=project, lead=lead))  # 12 s a page
    ready = starting.readiness(make_study(items=10, project=project, lead=lead))
    assert (ready.seconds_a_page, ready.measured_on, ready.minutes) == (12, 20, (2, 2))
    assert starting.readiness(make_study(project=project, lead=lead, layout="rate")).measured_on == 0


def test_a_draft_offers_sizes_that_work_where_the_chosen_one_does_not(client, lead, project):
    study = make_study(
        items=6, systems=3, reviewers=3, project=project, lead=lead, layout="pairwise", ratings_per_output=1
    )
    ready = starting.readiness(study)
    assert ready.problems and {(option.per_page, option.ratings_per_output) for option in ready.options} == {(2, 2)}
    client.force_login(lead)
    page = client.get(study.get_absolute_url()).content.decode()
    assert "Sizes that work with 3 reviewers" in page and "Start the study" not in page
    found = as_(lead).get(f"/api/studies/{study.pk}/readiness/").json()
    assert found["size"] is None
    assert {name: found["options"][-1][name] for name in ("per_page", "ratings_per_output", "complete")} == {
        "per_page": 2,
        "ratings_per_output": 2,
        "complete": False,
    }


def test_reviewers_who_know_the_project_are_pointed_out(client, lead, project):
    study = make_study(reviewers=[lead, UserFactory(username="rita")], project=project, lead=lead)
    warning = "lead has a role in the project besides"
    assert any(warning in words for words in starting.readiness(study).warnings)
    client.force_login(lead)
    page = client.get(study.get_absolute_url()).content.decode()
    assert warning in page and '<span class="badge warn">lead</span>' in page
    MembershipFactory(project=project, user=study.reviewers.get(user__username="rita").user, role="annotator")
    assert any("lead, rita have a role" in words for words in starting.readiness(study).warnings)


def test_texts_are_used_up_by_practice_and_checks_in_words():
    for wanted in (2, 3):
        study = make_study(items=2, practice=1, checks=wanted - 1)
        assert any("outside the study" in problem for problem in starting.readiness(study).problems)
        with pytest.raises(ValidationError):
            start(study)


def test_a_draft_page_costs_the_same_for_few_and_for_many(client, lead, project):
    def cost(items, reviewers):
        study = make_study(items=items, reviewers=reviewers, project=project, lead=lead)
        for number in range(reviewers):
            studies.invite(study, lead, f"{items}-{number}@example.org")
        client.get(study.get_absolute_url())
        with CaptureQueriesContext(
            connection,
        ) as found:
            assert client.get(study.get_absolute_url()).status_code == 200
        assert not any("external_id" in row["sql"] and "LIMIT" not in row["sql"] for row in found.captured_queries)
        return len(found)

    client.force_login(lead)
    assert cost(3, 1) == cost(40, 6)


def test_the_list_and_a_running_page_cost_the_same_for_few_and_for_many(client, lead, project):
    client.force_login(lead)
    url = reverse("evaluation:studies", args=[project.pk])

    def cost(address):
        client.get(address)
        with CaptureQueriesContext(connection) as found:
            assert client.get(address).status_code == 200
        return len(found)

    small = running_study(items=2, reviewers=1, project=project, lead=lead)
    before = cost(url), cost(small.get_absolute_url())
    large = running_study(items=12, reviewers=5, project=project, lead=lead)
    rate_everything(large)
    running_study(items=2, project=project, lead=lead)
    assert (cost(url), cost(large.get_absolute_url())) == before


# Running


def test_a_lead_takes_a_reviewer_off_with_a_reason(client, lead, project):
    study = running_study(reviewers=2, project=project, lead=lead)
    member = study.reviewers.first()
    client.force_login(lead)
    answer = post(client, "study-revoke-reviewer", member.pk, reason=" ")
    assert answer.status_code == 422 and "Say why, for the report." in answer.content.decode()
    member.refresh_from_db()
    assert member.revoked_at is None
    answer = post(client, "study-revoke-reviewer", member.pk, reason="x" * 2_001)
    assert "x" * 2_001 in answer.content.decode()  # nothing typed is lost
    assert post(client, "study-revoke-reviewer", member.pk, reason="She knows <the> systems.").status_code == 302
    assert Amendment.objects.get().reason == "She knows <the> systems."
    page = client.get(study.get_absolute_url()).content.decode()
    assert "taken off" in page and page.count("Take off the study") == 1
    client.force_login(member.user)
    assert client.get(reverse("evaluation:rate", args=[study.pk])).status_code in (403, 404)


def test_closing_early_asks_why_and_names_what_is_open(client, lead, project):
    study = running_study(
        items=2, reviewers=[UserFactory(username="rita"), UserFactory(username="raj")], project=project, lead=lead
    )
    for task in study.tasks.filter(reviewer__username="rita"):
        reviewing.submit(task.reviewer, task.token, answers(task))
    client.force_login(lead)
    page = client.get(study.get_absolute_url()).content.decode()
    assert "2 of 4 pages are finished" in page and "<bdi>raj</bdi>: 0 of 2, not begun" in page
    answer = post(client, "study-close", study.pk, reason="")
    assert answer.status_code == 422 and "Say why it ends now." in answer.content.decode()
    assert post(client, "study-close", study.pk, reason="Raj left.").status_code == 302
    assert Amendment.objects.get().reason == "Closed with 2 of 4 pages finished. Raj left."
    page = client.get(study.get_absolute_url()).content.decode()
    study.refresh_from_db()
    assert study.ratings_hash in page and "Unblinded" in page


def without_token(page):
    return re.sub(r'FToken": "\w+"|value="\w{64}"', "", page)


def test_nobody_sees_results_before_the_study_is_closed(client, lead, project):
    """The lead's pages are the same whatever was rated: only how much was."""

    def pages(value):
        study = running_study(
            items=2, systems=2, reviewers=[UserFactory(username=f"r{value}")], project=project, lead=lead
        )
        rate_everything(study, value)
        found = [
            client.get(reverse(f"evaluation:{name}", args=[study.pk])).content.decode()
            for name in ("study", "report", "protocol")
        ]
        shown = as_(lead).get(f"/api/studies/{study.pk}/").json()
        assert shown["ratings_hash"] == "" and shown["unblinded_at"] is None
        assert client.post(reverse("evaluation:ratings", args=[study.pk]), {"format": "csv"}).url.endswith("/report/")
        return [
            page.replace(f"/studies/{study.pk}/", "/studies/S/").replace(f"r{value}", "R")
            for page in map(without_token, found)
        ], study

    client.force_login(lead)
    (low, _), (high, _) = pages(1), pages(5)
    assert ["mean" in page.lower() for page in low] == ["mean" in page.lower() for page in high]
    assert low[1] == high[1]  # the report's page says only why there is nothing


# By script


def test_the_api_plans_a_whole_study(lead, project, systems):
    client = as_(lead)
    values = {
        "project": project.pk,
        "name": "Spring",
        "systems": [system.pk for system in systems],
        "controls": ["original"],
        "tuned": [systems[1].pk],
        "layout": "rate",
        "normalisation": ["quotes"],
        "practice": 1,
        "hypotheses": "Better.",
        "criteria": [
            {
                "name": "Kept?",
                "question": "Is it kept?",
                "anchors": ["no", "yes"],
                "hypothesis": "noninferiority",
                "margin": 0.2,
            },
            {"name": "Clear", "question": "Is it clear?"},
        ],
    }
    made = client.post("/api/studies/", values)
    assert made.status_code == 201, made.json()
    shown = made.json()
    original = project.systems.get(kind="original")
    assert shown["reference"] == original.pk and shown["controls"] == ["original"]
    assert [row["key"] for row in shown["criteria"]] == ["kept", "clear"]
    assert shown["criteria"][0]["margin"] == 0.2 and len(shown["criteria"][1]["anchors"]) == 5
    url = f"/api/studies/{shown['id']}/"
    # What is not sent stays, hidden systems too.
    changed = client.patch(url, {"systems": [systems[0].pk, systems[1].pk], "checks": 2}).json()
    assert changed["controls"] == ["original"] and changed["checks"] == 2 and changed["tuned"] == [systems[1].pk]
    changed = client.patch(url, {"controls": [], "reference": systems[0].pk}).json()
    assert changed["controls"] == [] and original.pk not in changed["systems"]
    changed = client.patch(url, {"criteria": [shown["criteria"][1] | {"name": "Clearer"}]}).json()
    assert [(row["key"], row["name"]) for row in changed["criteria"]] == [("clear", "Clearer")]


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({"criteria": [{"name": "x", "question": "y", "anchors": ["a"]}]}, "criteria"),
        ({"criteria": []}, "criteria"),
        ({"controls": ["nonsense"]}, "controls"),
        ({"normalisation": ["nonsense"]}, "normalisation"),
        ({"normalisation": [{}]}, "normalisation"),
        ({"layout": "best_worst"}, "per_page"),
        ({"tuned": [999_999]}, "tuned"),
        ({"reference": None}, "reference"),
        ({"dataset": 999_999}, "dataset"),
    ],
)
def test_the_api_refuses_the_same_with_the_field_named(lead, project, systems, values, name):
    body = {"project": project.pk, "name": "x", "systems": [s.pk for s in systems], "reference": systems[0].pk} | values
    answer = as_(lead).post("/api/studies/", body)
    assert answer.status_code == 400 and name in answer.json(), answer.json()
    assert not Study.objects.exists() and not Criterion.objects.exists()


def test_what_cannot_be_stored_is_refused_with_the_field_named(lead, project, systems):
    body = {"project": project.pk, "name": "x", "systems": [s.pk for s in systems], "reference": systems[0].pk}
    for name, value in (("name", "HALF"), ("openings", "HALF"), ("criteria", [{"name": "HALF", "question": "y"}])):
        text = json.dumps(body | {name: value}).replace("HALF", "\\ud800")
        answer = as_(lead).post("/api/studies/", text, content_type="application/json")
        assert answer.status_code == 400 and "surrogate" in answer.content.decode().lower(), answer.content
    assert not Study.objects.exists()


def test_another_projects_dataset_or_reference_is_like_none(lead, project, systems):
    body = {"project": project.pk, "name": "x", "systems": [s.pk for s in systems], "reference": systems[0].pk}
    foreign = make_dataset()
    answer = as_(lead).post("/api/studies/", body | {"dataset": foreign.pk})
    assert answer.json() == {"dataset": [f"There is no dataset {foreign.pk} in this project."]}
    system = SystemFactory()
    answer = as_(lead).post("/api/studies/", body | {"reference": system.pk})
    assert answer.json() == {"reference": [f"There is no system {system.pk} in this project."]}


def test_the_api_revokes_and_closes_with_reasons(lead, project):
    study = running_study(
        reviewers=[UserFactory(username="rita"), UserFactory(username="raj")], project=project, lead=lead
    )
    client, url = as_(lead), f"/api/studies/{study.pk}/"
    assert "reason" in client.post(f"{url}revoke/", {"person": "rita"}).json()
    assert "person" in client.post(f"{url}revoke/", {"person": "nobody", "reason": "x"}).json()
    assert client.post(f"{url}revoke/", {"person": "rita", "reason": "She asked to stop."}).status_code == 200
    assert {row["user"]: bool(row["revoked_at"]) for row in client.get(f"{url}progress/").json()} == {
        "rita": True,
        "raj": False,
    }
    assert "reason" in client.post(f"{url}close/").json()
    closed = client.post(f"{url}close/", {"reason": "No time."}).json()
    assert closed["status"] == "closed" and closed["unblinded_by"] == "lead" and len(closed["ratings_hash"]) == 64


# In a browser


@pytest.mark.browser
@pytest.mark.django_db(transaction=True)
def test_a_lead_plans_and_starts_a_study_in_a_browser(new_page):
    lead = UserFactory(username="lead")
    project = ProjectFactory(lead=lead)
    for system in SystemFactory.create_batch(2, project=project):
        for item in project.items.all() or ItemFactory.create_batch(12, project=project):
            OutputFactory(system=system, item=item)
    UserFactory(username="rita")
    page = new_page(lead, viewport={"width": 360, "height": 800})
    page.on("dialog", lambda dialog: dialog.accept())
    page.goto(f"/projects/{project.pk}/studies/new/")
    for box in page.locator("[name=systems]").all():
        box.check()
    page.locator("[name=reference]").first.check()
    page.click("text=Add a criterion")
    page.fill("[name=criteria-3-name]", "Kind")
    page.press("[name=criteria-3-name]", "Enter")  # sends the form, and adds no other row
    expect(page.locator("[name=criteria-4-name]")).to_have_count(0)
    expect(page.locator(".note.bad[role=alert]:visible")).to_be_visible()
    page.fill("[name=name]", "Spring")
    page.fill("[name=criteria-3-question]", "Is it kind?")
    page.fill("[name=criteria-3-anchors]", "no\nyes")
    page.click("button.primary")
    page.wait_for_url("**/studies/*/")
    page.fill("[name=person]", "rita")
    page.click("text=Add as reviewer")
    page.click("text=Start the study")
    expect(page.locator(".badge.live")).to_be_visible()
    study = Study.objects.get()
    assert study.is_running and study.criteria.count() == 4
    assert page.evaluate("document.documentElement.scrollWidth") == 360
