"""Trying systems: with a real tiny model, a real endpoint's server, a real worker, and in a browser."""

import re
from decimal import Decimal

import pytest
from django.core.exceptions import ValidationError
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from playwright.sync_api import expect

from annotation import endpoints, jobs
from annotation.jobs import JobStatus
from annotation.models import Role
from config.processes import wait_until
from evaluation import asking, systems, tries
from evaluation.models import Output, System, Try, TryOutput
from tests.annotation import chat_server
from tests.annotation.chat_server import answer, error
from tests.evaluation.factories import SystemFactory, make_study, start
from tests.factories import EndpointFactory, ItemFactory, MembershipFactory, UserFactory
from tests.training.factories import make_dataset

pytestmark = pytest.mark.django_db(transaction=True)

TEXT = "All of them are lazy."


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(endpoints, "FIRST_PAUSE", 0.01)
    with chat_server.running() as running:
        running.default = answer("Some of them rest.")
        yield running


@pytest.fixture
def dataset(settings, tmp_path):
    settings.ARTIFACT_ROOT = tmp_path / "artifacts"
    settings.BASE_MODEL = "/no/such/model"  # so the scratch model is taken, without a look at the network
    return make_dataset()


@pytest.fixture
def lead(dataset):
    person = UserFactory(username="lea")
    MembershipFactory(project=dataset.project, user=person, role=Role.LEAD)
    return person


def asked(dataset, server, name="asked", **values):
    endpoint = EndpointFactory(base_url=server.url)
    values = {"budget": 1, "rate_per_minute": 60_000, "max_new_tokens": 40} | values
    return systems.create(dataset.project, dataset.created_by, kind="endpoint", name=name, endpoint=endpoint, **values)


def base(dataset, name="base"):
    return systems.create(dataset.project, dataset.created_by, kind="base", name=name, max_new_tokens=6)


def perform(attempt):
    for output in attempt.outputs.all():
        jobs.execute(TryOutput.objects, output.pk, tries.run)
    return {output.system.name: output for output in attempt.outputs.select_related("system")}


def test_a_model_and_an_endpoint_say_what_they_make_of_a_text(dataset, lead, server):
    chosen = [base(dataset), asked(dataset, server)]
    attempt = tries.start(dataset.project, lead, text=f"  {TEXT}\r\n", chosen=chosen)
    assert attempt.text == TEXT
    made = perform(attempt)
    assert {output.status for output in made.values()} == {JobStatus.FINISHED}, [o.error for o in made.values()]
    model, endpoint = made["base"], made["asked"]
    assert model.tokens <= 6 and model.seconds > 0 and model.loading_seconds > 0 and model.prompt_tokens > 10
    assert (endpoint.text, endpoint.tokens, endpoint.loading_seconds) == ("Some of them rest.", 50, None)
    assert systems.spent(endpoint.system)[1] == 150, "tries count towards the budget"
    assert not Output.objects.exists(), "a try is no output of the system"


def test_what_goes_wrong_is_said_in_its_place(dataset, lead, server):
    server.default = error(400, "too long")
    broken = systems.create(dataset.project, dataset.created_by, kind="base", name="gone", base_model="/no/folder")
    made = perform(tries.start(dataset.project, lead, text=TEXT, chosen=[broken, asked(dataset, server)]))
    assert "/no/folder" in made["gone"].error
    assert made["asked"].error == "The endpoint answered 400: too long"


@pytest.mark.parametrize(
    ("values", "field", "words"),
    [
        ({"text": " \n"}, "text", "Paste a text"),
        ({"text": "a\x00b"}, "text", "null byte"),
        ({"text": "x" * 20_001}, "text", "20,000 at most"),
        ({"chosen": []}, "systems", "1 to 4"),
        ({"chosen": "five"}, "systems", "1 to 4"),
        ({"chosen": "uploaded"}, "systems", "no system"),
        ({"chosen": "elsewhere"}, "systems", "no system"),
        ({"chosen": "used up"}, "systems", "used up"),
        ({"item": "elsewhere"}, "item", "of this project"),
    ],
)
def test_a_try_that_makes_no_sense_is_refused(dataset, lead, server, values, field, words):
    some = {
        "five": lambda: [base(dataset, f"b{number}") for number in range(5)],
        "uploaded": lambda: [SystemFactory(project=dataset.project)],
        "elsewhere": lambda: [base(make_dataset())],
        "used up": lambda: [asked(dataset, server, budget=None, budget_tokens=0)],
    }
    values = {"text": TEXT, "chosen": "one"} | values
    if isinstance(values["chosen"], str):
        values["chosen"] = some.get(values["chosen"], lambda: [base(dataset)])()
    if values.get("item"):
        values |= {"item": ItemFactory(), "text": ""}
    with pytest.raises(ValidationError) as refused:
        tries.start(dataset.project, lead, **values)
    assert words in str(refused.value.message_dict[field])
    assert not Try.objects.exists()


def test_the_last_ones_are_kept_for_the_person_alone(dataset, lead, monkeypatch, client):
    monkeypatch.setattr(tries, "KEPT", 3)
    system = base(dataset)
    made = [tries.start(dataset.project, lead, text=f"{number}", chosen=[system]) for number in range(5)]
    assert [one.text for one in tries.of(lead)] == ["4", "3", "2"]
    other = MembershipFactory(project=dataset.project, role=Role.TRAINER).user
    client.force_login(other)
    for url in (made[-1].get_absolute_url(), f"/api/tries/{made[-1].pk}/"):
        assert client.get(url).status_code == 404
    assert client.get("/api/tries/").json()["results"] == []
    assert (
        made[-1].get_absolute_url()
        not in client.get(reverse("evaluation:tries", args=[dataset.project_id])).content.decode()
    )


def test_old_ones_that_count_towards_a_budget_stay(dataset, lead, server, monkeypatch):
    monkeypatch.setattr(tries, "KEPT", 1)
    free = EndpointFactory(base_url=server.url, input_price=0, output_price=0)
    system = asked(dataset, server, budget=None, budget_tokens=10_000)
    system.endpoint = free
    system.save()
    for number in range(3):
        perform(tries.start(dataset.project, lead, text=f"{number}", chosen=[system]))
    assert systems.spent(system) == (0, 450)


def test_a_request_counts_before_it_is_sent_and_beside_what_an_attempt_that_died_left(dataset, lead, server):
    system = asked(dataset, server)
    attempt = tries.start(dataset.project, lead, text=TEXT, chosen=[system])
    attempt.outputs.update(charged_tokens=1_000, cost=Decimal("0.1"))
    system = System.objects.get(pk=system.pk)  # with its prices as the database holds them
    most = asking.most_for(system, asking.prompt_for(system, TEXT))
    meanwhile = []

    def reply(number):
        meanwhile.append(systems.spent(system))
        connection.close()  # of the server's thread
        return error(504) if number == 1 else answer("Some of them rest.")

    server.default = reply
    made = perform(attempt)["asked"]
    assert (made.status, made.text) == (JobStatus.FINISHED, "Some of them rest."), made.error
    before = Decimal("0.1")
    assert meanwhile == [
        (before + most.cost, 1_000 + most.tokens),
        (before + 2 * most.cost, 1_000 + 2 * most.tokens),
    ]
    lost = before + most.cost, 1_000 + most.tokens  # a 504 may have been charged for
    assert systems.spent(system) == (lost[0] + asking.source_of(system).cost(100, 50), lost[1] + 150)


@pytest.mark.parametrize("status", [400, 401])
def test_a_request_that_was_refused_costs_nothing(dataset, lead, server, status):
    system = asked(dataset, server)
    server.default = error(status, "no")
    assert perform(tries.start(dataset.project, lead, text=TEXT, chosen=[system]))["asked"].status == JobStatus.FAILED
    assert systems.spent(system) == (0, 0)


def test_reviewers_neither_choose_nor_see_systems_that_they_rate_blind(dataset, lead, client):
    study = make_study(project=dataset.project, reviewers=[lead])
    system = base(dataset, "secret system")
    attempt = tries.start(dataset.project, lead, text=TEXT, chosen=[system])
    output = attempt.outputs.get()
    client.force_login(lead)
    page = reverse("evaluation:tries", args=[dataset.project_id])
    assert "secret system" in client.get(page).content.decode()
    study.systems.add(system)
    for item in set(study.systems.exclude(pk=system.pk).first().outputs.values_list("item", flat=True)):
        Output.objects.create(project=dataset.project, system=system, item_id=item, text="An output.")
    start(study)
    for url in (page, attempt.get_absolute_url(), f"/api/tries/{attempt.pk}/"):
        answered = client.get(url)
        assert answered.status_code == 200 and "secret system" not in answered.content.decode()
    assert client.get(f"/api/tries/{attempt.pk}/").json()["outputs"] == []
    assert client.get(reverse("evaluation:try-output", args=[output.pk])).status_code == 404
    data = {"project": dataset.project_id, "text": TEXT, "systems": [system.pk]}
    refused = client.post("/api/tries/", data, content_type="application/json")
    assert refused.status_code == 400 and "systems" in refused.json()
    assert client.post(page, {"text": TEXT, "systems": [system.pk]}).status_code == 422


def test_page_and_api_start_show_and_stop_one(dataset, lead, client):
    system = base(dataset)
    client.force_login(lead)
    page = reverse("evaluation:tries", args=[dataset.project_id])
    item = ItemFactory(project=dataset.project, external_id="t-1", text="They lie.")
    wrong = client.post(page, {"text": "kept words", "external_id": "nowhere", "systems": [system.pk]})
    assert wrong.status_code == 422 and "kept words" in wrong.content.decode()
    assert "no text of this external id" in wrong.content.decode()
    both = client.post(page, {"text": "x", "external_id": "t-1", "systems": [system.pk]})
    assert both.status_code == 422 and "not both" in both.content.decode()
    started = client.post(page, {"external_id": "t-1", "systems": [system.pk]})
    attempt = Try.objects.get()
    assert (started.url, attempt.item, attempt.text) == (attempt.get_absolute_url(), item, "They lie.")
    shown = client.get(started.url).content.decode()
    assert "for a GPU worker" in shown and "Waiting" in shown
    assert client.post(reverse("evaluation:try-cancel", args=[attempt.pk])).url == started.url
    assert attempt.outputs.get().status == JobStatus.CANCELLED
    data = {"project": dataset.project_id, "item": item.pk, "systems": [system.pk]}
    made = client.post("/api/tries/", data, content_type="application/json")
    assert made.status_code == 201 and made.json()["outputs"][0]["status"] == "queued", made.json()
    stopped = client.post(f"/api/tries/{made.json()['id']}/cancel/")
    assert stopped.json()["outputs"][0]["status"] == "cancelled"
    assert len(client.get("/api/tries/").json()["results"]) == 2


def test_the_pages_ask_the_database_no_more_often_for_many_tries_and_systems(dataset, lead, client):
    client.force_login(lead)
    counts = []
    for _ in range(2):
        for _ in range(4):
            system = base(dataset, f"s{TryOutput.objects.count()}")
            attempt = tries.start(dataset.project, lead, text=TEXT, chosen=[system])
        found = []
        for url in (attempt.get_absolute_url(), "/api/tries/"):
            client.get(url)
            with CaptureQueriesContext(
                connection,
            ) as queries:
                client.get(url)
            found.append(len(queries))
        counts.append(found)
    assert counts[0] == counts[1]


@pytest.mark.slow
def test_a_gpu_worker_makes_all_models_of_a_try_in_one_process(dataset, lead, worker):
    from django.conf import settings

    env = {"BASE_MODEL": "/no/such/model", "DATA_DIR": str(settings.ARTIFACT_ROOT.parent)}
    gpu = worker("gpu", env=env)
    attempt = tries.start(dataset.project, lead, text=TEXT, chosen=[base(dataset), base(dataset, "other")])
    done = lambda: not attempt.outputs.filter(status__in=jobs.ACTIVE).exists()  # noqa: E731
    assert wait_until(done, 180)
    assert set(attempt.outputs.values_list("status", flat=True)) == {JobStatus.FINISHED}
    assert "evaluation.execute_try" in gpu.log.read_text()


@pytest.mark.browser
def test_outputs_come_in_by_themselves_with_their_differences(dataset, lead, server, new_page):
    system, waiting = asked(dataset, server), base(dataset, "a base model")
    page = new_page(lead)
    page.goto(reverse("evaluation:tries", args=[dataset.project_id]))
    page.get_by_label("Text", exact=True).or_(page.locator("#id_text")).first.fill(TEXT)
    page.get_by_label("asked").check()
    page.get_by_label("a base model").check()
    page.get_by_role("button", name="Try", exact=True).click()
    expect(page.get_by_text(re.compile("for a GPU worker"))).to_be_visible()
    attempt = Try.objects.get()
    output = attempt.outputs.get(system=system)
    jobs.execute(TryOutput.objects, output.pk, tries.run)
    card = page.locator(f"#output-{output.pk}")
    expect(card.locator("ins").first).to_be_visible()
    expect(card.locator("ins").first).to_contain_text("Some")
    expect(card.locator("del").first).to_contain_text("All")
    expect(card).to_contain_text("50 tokens")
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_text("Stopped.")).to_be_visible()
    assert attempt.outputs.get(system=waiting).status == JobStatus.CANCELLED
