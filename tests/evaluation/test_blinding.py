"""Nothing that reaches a reviewer while a study runs tells which system wrote an output.

The tests open every address of the site as reviewers with every other role besides, with systems whose names,
ids and outputs' figures are unmistakable, and look for traces in bodies and headers.
"""

import itertools
import json
import re
import uuid

import pytest
from django.urls import NoReverseMatch, URLPattern, URLResolver, get_resolver, reverse

from annotation.models import Role
from evaluation import studies
from evaluation.models import Generation, Output, OutputImport, Slot, Study, StudyMembership, System
from tests.evaluation.factories import OutputFactory, SystemFactory, answers, start
from tests.factories import ItemFactory, MembershipFactory, ProjectFactory, UserFactory
from tests.training.factories import make_dataset

pytestmark = pytest.mark.django_db

NAMES = ["zebrafinch-run-17", "quagga-base-model", "okapi-upload"]
MODELS = ["hub/zebra-7b-tuned", "hub/quagga-7b", ""]
PROMPT = "Unmistakable prompt: {text}"
FIRST_ID = 7_700_001  # ids that appear nowhere by chance
TOKENS, SECONDS = 8_675_309, 31_337.25


def make_blind_study(*reviewers, project, lead):
    systems = [
        SystemFactory(
            project=project,
            pk=FIRST_ID + place,
            name=name,
            base_model=model,
            prompt_template=PROMPT,
            settings={"temperature": 0.314159},
        )
        for place, (name, model) in enumerate(zip(NAMES, MODELS, strict=True))
    ]
    pks = itertools.count(FIRST_ID + 1000)
    for item in ItemFactory.create_batch(3, project=project):
        for system in systems:
            OutputFactory(
                system=system,
                item=item,
                pk=next(pks),
                text=f"\n  Sentence {uuid.uuid4().hex} \n",
                tokens=TOKENS,
                seconds=SECONDS,
            )
    study = studies.create(project, lead, systems=systems, reference=systems[0], name="Blind", seed=987_654_321)
    for person in reviewers:
        StudyMembership.objects.create(study=study, user=person)
    return start(study)


@pytest.fixture
def setting(settings):
    """A running study with a plain reviewer and one who has every role there is."""
    lead = UserFactory(username="lead")
    project = ProjectFactory(lead=lead)
    plain = UserFactory(username="plain")
    mighty = UserFactory(username="mighty", is_staff=True)
    for role in Role.values:
        MembershipFactory(project=project, user=mighty, role=role)
    root = UserFactory(username="root", is_staff=True, is_superuser=True)
    study = make_blind_study(plain, mighty, root, project=project, lead=lead)
    OutputImport.objects.create(project=project, created_by=lead, file_name="upload.csv")
    dataset = make_dataset(project=project)
    for system in study.systems.all():
        Generation.objects.create(
            pk=system.pk + 10, project=project, system=system, dataset=dataset, created_by=lead, message=system.name
        )
    return {"study": study, "plain": plain, "mighty": mighty, "root": root, "lead": lead, "project": project}


def patterns(resolver=None, prefix=()):
    """Every URL pattern of the site with its full name."""
    for entry in (resolver or get_resolver()).url_patterns:
        if isinstance(entry, URLResolver):
            yield from patterns(entry, (*prefix, entry.namespace) if entry.namespace else prefix)
        elif isinstance(entry, URLPattern) and entry.name:
            yield ":".join((*prefix, entry.name)), entry


def addresses(setting):
    """Addresses of every page and route, with the ids of this study's rows and a few small numbers."""
    study = setting["study"]
    numbers = {1, study.pk, setting["project"].pk, FIRST_ID, FIRST_ID + 10, FIRST_ID + 1000, *_some(study)}
    tokens = list(study.tasks.values_list("token", flat=True))
    slots = list(Slot.objects.values_list("pk", flat=True)[:3])
    found = set()
    for name, pattern in patterns():
        if "logout" in name:
            continue
        wanted = pattern.pattern.converters
        regex_names = re.findall(r"\(\?P<(\w+)>", str(pattern.pattern))
        names = list(dict.fromkeys([*wanted, *regex_names]))
        choices = []
        for argument in names:
            converter = type(wanted.get(argument)).__name__
            if converter == "UUIDConverter" or argument == "token":
                choices.append([*tokens, *slots])
            elif argument == "format":
                choices.append(["json"])
            elif argument in {"name"}:
                choices.append(["means"])
            elif argument == "app_label":
                choices.append(["evaluation"])
            elif argument == "object_id":
                choices.append([*numbers, *slots])
            elif argument in {"uidb64", "url", "content_type_id"}:
                choices.append(["1"])
            else:
                choices.append(sorted(numbers))
        for values in itertools.product(*choices):
            try:
                found.add(reverse(name, kwargs=dict(zip(names, values, strict=True))))
            except NoReverseMatch:  # this pattern takes other values
                continue
    return sorted(found)


def _some(study):
    return {study.reviewers.first().pk, study.project.items.first().pk, study.criteria.first().pk}


def traces(setting, *, ids=True):
    """What must not appear."""
    wanted = [
        *NAMES,
        *filter(None, MODELS),
        "Unmistakable prompt",
        "0.314159",
        str(TOKENS),
        "31337",
        "987654321",
    ]
    if ids:
        wanted += [str(pk) for pk in System.objects.values_list("pk", flat=True)]
        wanted += [str(pk) for pk in Output.objects.values_list("pk", flat=True)]
    return wanted


def sent(response):
    body = b"".join(response.streaming_content) if response.streaming else response.content
    headers = "\n".join(f"{name}: {value}" for name, value in response.headers.items())
    return headers + "\n" + body.decode("utf-8", "replace")


def crawl(client, setting, allowed=()):
    """Every address, with what came back from it."""
    opened, wanted = 0, traces(setting)
    for url in addresses(setting):
        client.cookies.pop("messages", None)  # what the admin site said about the address before
        response = client.get(url)
        assert response.status_code < 500, url
        opened += response.status_code == 200
        text = sent(response).replace(url, "")
        if url.startswith(("/static/", "/api/schema")):
            continue
        for trace in wanted:
            # An address that was asked for may come back in an error; what matters is what it brings besides.
            if trace in text and not (response.status_code in (301, 302, 404) and trace in url):
                yield url, trace
    assert opened > 5, "the crawl got nowhere"


@pytest.mark.parametrize("person", ["plain", "mighty", "root"])
def test_no_page_or_route_tells_a_reviewer_about_the_systems(client, setting, person):
    client.force_login(setting[person])
    assert sorted(set(crawl(client, setting))) == []


def test_the_crawl_would_find_a_trace(client, setting):
    """The same crawl as somebody who does not review sees the systems, so the search works."""
    client.force_login(setting["lead"])
    missing = {*NAMES, MODELS[0], "Unmistakable prompt", str(TOKENS), str(FIRST_ID)}
    for _, trace in crawl(client, setting):
        missing.discard(trace)
        if not missing:
            break
    assert not missing


def test_rating_tells_nothing_in_any_answer(client, setting):
    study, person = setting["study"], setting["plain"]
    client.force_login(person)
    seen = []
    for task in study.tasks.filter(reviewer=person):
        content = answers(task)
        token = task.token
        seen += [
            client.get(reverse("evaluation:rate", args=[study.pk])),
            client.get(reverse("evaluation:back", args=[study.pk]), {"before": task.position}),
            client.post(reverse("evaluation:draft", args=[token]), content, content_type="application/json"),
            client.post(reverse("evaluation:submit", args=[token]), {"preferred": "x"}, HTTP_HX_REQUEST="true"),
            client.get("/api/review-tasks/"),
            client.get(f"/api/review-tasks/{token}/"),
            client.post("/api/review-tasks/next/", {"study": study.pk}, content_type="application/json"),
            client.put(f"/api/review-tasks/{token}/draft/", content, content_type="application/json"),
            client.post(f"/api/review-tasks/{token}/submit/", {}, content_type="application/json"),
            client.post(f"/api/review-tasks/{token}/submit/", content, content_type="application/json"),
        ]
    assert {response.status_code for response in seen} == {200, 204, 400, 422}
    for response in seen:
        for trace in traces(setting):
            assert trace not in sent(response)


def test_what_a_task_sends_is_its_texts_and_nothing_else_about_them(client, setting):
    person = setting["plain"]
    client.force_login(person)
    task = setting["study"].tasks.filter(reviewer=person).first()
    sent_task = client.get(f"/api/review-tasks/{task.token}/").json()
    assert set(sent_task) == {
        "token", "study", "position", "practice", "layout", "text", "language", "slots", "criteria", "content",
        "preference_question", "worst_question", "cannot_judge", "version", "revision", "done_at",
    }  # fmt: skip
    for slot in sent_task["slots"]:
        assert set(slot) == {"id", "letter", "text"}
        assert uuid.UUID(slot["id"]).version == 4
        assert slot["text"] == slot["text"].strip()


def test_random_ids_do_not_follow_the_systems(setting):
    """Whether slots are sorted by id or by place, every system comes first about as often as another."""
    project, lead = setting["project"], setting["lead"]
    systems = list(System.objects.filter(project=project))
    for item in ItemFactory.create_batch(120, project=project):
        for system in systems:
            OutputFactory(system=system, item=item)
    study = studies.create(project, lead, systems=systems, reference=systems[0], name="Large", seed=5)
    StudyMembership.objects.create(study=study, user=UserFactory())
    start(study)
    slots = Slot.objects.filter(task__study=study).prefetch_related("outputs")
    for order in (["task_id", "id"], ["task_id", "position"]):
        first = {}
        for slot in slots.order_by(*order):
            first.setdefault(slot.task_id, slot.outputs.all()[0].system_id)
        counts = [list(first.values()).count(system.pk) for system in systems]
        assert sum(counts) == 123
        assert all(20 <= count <= 62 for count in counts)  # 41 expected, standard deviation 5.2


def test_a_reviewer_with_other_roles_is_told_why_systems_are_hidden(client, setting):
    client.force_login(setting["mighty"])
    page = client.get(reverse("evaluation:systems", args=[setting["project"].pk])).content.decode()
    assert "3 systems of a study you review are hidden from you" in page
    page = client.get(setting["study"].get_absolute_url()).content.decode()
    assert "its systems are hidden from you until it closes" in page
    assert client.get(reverse("evaluation:system", args=[FIRST_ID])).status_code == 404


def test_a_reviewer_cannot_put_hidden_systems_into_another_study(client, setting):
    client.force_login(setting["mighty"])
    systems = [FIRST_ID, FIRST_ID + 1]
    data = {"project": setting["project"].pk, "name": "x", "systems": systems, "reference": FIRST_ID}
    response = client.post("/api/studies/", json.dumps(data), content_type="application/json")
    assert response.status_code == 400
    url = reverse("evaluation:study-new", args=[setting["project"].pk])
    assert client.post(url, data).status_code == 422
    assert Study.objects.count() == 1


def test_after_closing_everything_can_be_seen(client, setting):
    studies.close(setting["study"], setting["lead"])
    client.force_login(setting["mighty"])
    page = client.get(reverse("evaluation:systems", args=[setting["project"].pk])).content.decode()
    assert all(name in page for name in NAMES)
    assert client.get("/api/systems/").json()["results"][0]["name"] in NAMES
