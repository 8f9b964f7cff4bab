"""Forward from a pair: its datasets, its runs, what came of them; and which pairs were withdrawn since."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from annotation import batches, jobs, pairs
from annotation.jobs import JobStatus
from annotation.models import Batch, Pair, PairStatus, Role
from evaluation.models import StudyMembership
from tests.evaluation.factories import OutputFactory, SystemFactory, make_study, running_study, start
from tests.factories import MembershipFactory, PairFactory, ProjectFactory, UserFactory
from tests.training.factories import SHARES, RecipeFactory, make_dataset, make_preference, make_run
from training import datasets, lineage, preferences, recipes, runs
from training.models import Publication, Run

pytestmark = pytest.mark.django_db

HOSTILE = "<script>alert('x')</script> عربي 👩‍👩‍👧 & \"quoted\""
DONE = {"status": JobStatus.FINISHED, "done": 5, "total": 5, "has_adapter": True}


@pytest.fixture(autouse=True)
def artifacts(settings, tmp_path):
    settings.ARTIFACT_ROOT = tmp_path


@pytest.fixture
def lead():
    return UserFactory(username="lea")


@pytest.fixture
def trainer():
    return UserFactory(username="tia")


@pytest.fixture
def project(lead, trainer):
    return ProjectFactory(lead=lead, trainer=trainer)


@pytest.fixture
def dataset(project):
    return make_dataset(10, project=project)


def pair_in(dataset, split="train", place=0):
    return Pair.objects.get(pk=dataset.rows.filter(split=split).order_by("position")[place].pair_id)


def reject(pair, user, reason="It changes what was meant."):
    pair.refresh_from_db()
    pair = pairs.reopen(pair, user, version=pair.version)
    return pairs.reject(pair, user, version=pair.version, reason=reason)


def listed(project, **more):
    return [row.pair for row in lineage.page_of_withdrawn(lineage.trained_on(project.pk), None, **more)]


# What withdrawn means


@pytest.mark.parametrize("how", ["rejected", "reopened", "undone", "batch"])
def test_a_pair_is_withdrawn_however_its_approval_went(project, dataset, lead, how):
    run = make_run(dataset=dataset, **DONE)
    pair = pair_in(dataset)
    assert listed(project) == []
    if how == "undone":
        pair = pairs.reopen(pair, lead, version=pair.version)
        pair = pairs.approve(pair, lead, version=pair.version, rewrite="Kinder.", labels={})
        assert listed(project) == []
        pair = pairs.undo(pair, lead, version=pair.version)
    elif how == "batch":
        pair = pairs.reopen(pair, lead, version=pair.version)
        batch = batches.decide(project, lead, action="reject", chosen=[[pair.pk, pair.version]], reason="No.")
        jobs.execute(Batch.objects, batch.pk, batches.run)
        pair.refresh_from_db()
        assert pair.status == PairStatus.REJECTED
    elif how == "rejected":
        pair = reject(pair, lead)
    else:
        pair = pairs.reopen(pair, lead, version=pair.version)
    (found,) = lineage.page_of_withdrawn(lineage.trained_on(project.pk), None)
    assert (found.pair, found.runs, found.number_of_runs) == (pair, [run], 1)
    assert found.decision.actor == lead
    assert found.decision.action == {"batch": "pair.rejected"}.get(how, f"pair.{how}")


def test_a_pair_approved_again_is_not_withdrawn_but_may_read_otherwise_than_it_was_trained_on(dataset, project, lead):
    make_run(dataset=dataset, **DONE)
    pair = pair_in(dataset)
    pair = pairs.reopen(pair, lead, version=pair.version)
    pairs.approve(pair, lead, version=pair.version, rewrite="Other words.", labels=pair.labels)
    pair.refresh_from_db()
    found = lineage.uses(pair, lead)
    assert (listed(project), found.withdrawn, found.decision) == ([], False, None)
    assert [use.changed for use in found.page] == [True]


def test_a_pair_that_no_dataset_holds_is_never_withdrawn(project, dataset, lead):
    make_run(dataset=dataset, **DONE)
    newer = reject(PairFactory(project=project), lead)
    assert listed(project) == []
    found = lineage.uses(newer, lead)
    assert (found.withdrawn, found.datasets, found.page.rows) == (False, [], [])


# Which runs used it


def test_every_run_of_every_dataset_with_the_pair_is_found_with_what_it_did_with_it(project, dataset, lead):
    again = make_dataset(2, project=project, name="Again", seed=3)
    recipe = RecipeFactory(project=project)
    pair = pair_in(dataset)
    first = make_run(dataset=dataset, recipe=recipe, **DONE)
    second = make_run(dataset=again, recipe=recipe, status=JobStatus.RUNNING, done=1)
    waiting = make_run(dataset=dataset, recipe=recipe)
    never = make_run(dataset=dataset, recipe=recipe, status=JobStatus.FAILED)
    make_run(dataset=make_dataset(3), **DONE)  # another team's
    found = lineage.uses(pair, lead)
    assert [use.run for use in found.page] == [never, waiting, second, first]
    assert [row.dataset for row in found.datasets] == [again, dataset]
    how = {use.run: use.how for use in found.page}
    assert how[first] == "Trained on it"
    assert how[waiting] == "Will be trained on it"
    assert how[never] == "Ended before its first step: not trained on it"
    split = again.rows.get(pair=pair).split
    assert {use.run: use.split for use in found.page}[second] == split


@pytest.mark.parametrize(
    ("split", "words"),
    [("validation", "Its validation loss includes it"), ("test", "Held out: the run never saw it")],
)
def test_a_run_that_held_the_pair_out_was_not_trained_on_it(project, dataset, lead, split, words):
    make_run(dataset=dataset, **DONE)
    pair = reject(pair_in(dataset, split), lead)
    assert [use.how for use in lineage.uses(pair, lead).page] == [words]
    assert not lineage.uses(pair, lead).trained
    assert listed(project) == []
    assert [row.split for row in lineage.page_of_withdrawn(lineage.withdrawn(project.pk, dataset), None, dataset)] == [
        split
    ]


def test_what_came_of_a_run_is_named_systems_and_publications(project, dataset, lead):
    run = make_run(dataset=dataset, **DONE)
    SystemFactory(project=project, kind="run", run=run, name="Tuned")
    SystemFactory(project=project, kind="base", run=run, name="Untuned")
    job = {"project": project, "created_by": lead, "run": run, "run_name": run.name}
    Publication.objects.create(target="/models/x", status=JobStatus.FINISHED, **job)
    Publication.objects.create(target="/models/failed", status=JobStatus.FAILED, **job)
    (use,) = lineage.uses(pair_in(dataset), lead).page
    assert [(product.kind, product.name) for product in use.products] == [
        ("System on its base model", "Untuned"),
        ("System", "Tuned"),
        ("Adapter, published", "/models/x"),
    ]


def test_systems_that_a_person_rates_blind_are_not_named_to_them(client, project, dataset, lead, trainer):
    run = make_run(dataset=dataset, **DONE)
    study = make_study(project=project, lead=lead, reviewers=[trainer])
    system = SystemFactory(project=project, kind="run", run=run, name="The blinded one")
    for output in study.reference.outputs.all():
        OutputFactory(system=system, item=output.item)
    study.systems.add(system)
    pair = pair_in(dataset)
    url, api = reverse("training:pair-uses", args=[pair.pk]), f"/api/pairs/{pair.pk}/uses/"
    client.force_login(trainer)
    assert "The blinded one" in client.get(url).content.decode()  # the study has not begun
    start(study)
    for address in (url, api):
        assert "The blinded one" not in client.get(address).content.decode()
    client.force_login(lead)
    for address in (url, api):
        assert "The blinded one" in client.get(address).content.decode()


def test_prompts_that_show_the_text_are_found_too(project, dataset, lead):
    pair = pair_in(dataset)
    prompt = recipes.keep_prompt(project, lead, "Few", "Fix: {text}", [[f" {pair.item.text} ", "Kinder."]])
    recipes.keep_prompt(project, lead, "Others", "Fix: {text}", [["Another text", "Kinder."]])
    assert lineage.uses(pair, lead).prompts == [prompt]


def test_preferences_made_of_a_pair_lead_to_their_runs_too(client, project, lead):
    PairFactory.create_batch(6, project=project)
    preferences.from_pairs(project, lead, "text")
    dataset = datasets.freeze(
        project=project, name="Preferred", user=lead, kind="preference", shares=SHARES, near_duplicates=None
    )
    run = make_run(dataset=dataset, recipe=RecipeFactory(project=project, method="dpo"), **DONE)
    row = dataset.rows.filter(split="train").first()
    pair = reject(Pair.objects.get(item=row.item_id), lead)
    assert [(use.run, use.how) for use in lineage.uses(pair, lead).page] == [(run, "Trained on it")]
    assert lineage.withdrawn_by_split(dataset) == {"train": 1}
    (found,) = lineage.page_of_withdrawn(lineage.withdrawn(project.pk, dataset), None, dataset)
    assert (found.pair, found.split, found.runs, found.number_of_runs) == (pair, "train", [run], 1)
    assert listed(project) == [pair]
    client.force_login(lead)
    assert "1 pair of this dataset was withdrawn" in client.get(dataset.get_absolute_url()).content.decode()


def test_a_preference_of_a_study_or_a_file_is_nothing_of_the_pair(project, lead):
    pair = PairFactory(project=project)
    for number, source in enumerate(("study", "upload", "upload", "study")):
        make_preference(project=project, item=pair.item, source=source, chosen=f"Kinder {number}.")
    dataset = datasets.freeze(
        project=project, name="Preferred", user=lead, kind="preference", shares=SHARES, near_duplicates=None
    )
    make_run(dataset=dataset, recipe=RecipeFactory(project=project, method="dpo"), **DONE)
    pair = reject(pair, lead)
    assert lineage.uses(pair, lead).page.rows == []
    assert (listed(project), lineage.withdrawn_by_split(dataset)) == ([], {})


# Lists


def test_the_newest_decision_comes_first_and_pages_follow_each_other_without_gaps(project, dataset, lead):
    make_run(dataset=dataset, **DONE)
    train = [pair_in(dataset, place=place) for place in range(5)]
    order = [train[2], train[0], train[4], train[1]]
    for pair in order:
        reject(pair, lead)
    Pair.objects.filter(pk=train[3].pk).update(status=PairStatus.PROPOSED)  # before there was a log
    seen, after = [], None
    while True:
        page = lineage.page_of_withdrawn(lineage.trained_on(project.pk), after, size=2)
        seen += [row.pair for row in page]
        if page.next_after is None:
            break
        after = str(page.next_after)
    assert seen == [*reversed(order), train[3]]
    # A pair that was approved again in the meantime still marks its place.
    place = order[2]
    place.refresh_from_db()
    pairs.approve(
        pairs.reopen(place, lead, version=place.version), lead, version=place.version + 1, rewrite="x", labels={}
    )
    rest = lineage.page_of_withdrawn(lineage.trained_on(project.pk), str(place.pk), size=9)
    assert place not in [row.pair for row in rest]


def test_at_most_a_few_runs_stand_beside_a_pair_and_all_are_counted(project, dataset, lead):
    recipe = RecipeFactory(project=project)
    made = [make_run(dataset=dataset, recipe=recipe, **DONE) for _ in range(lineage.RUNS_SHOWN + 2)]
    make_run(dataset=dataset, recipe=recipe, status=JobStatus.CANCELLED)  # never took a step
    reject(pair_in(dataset), lead)
    (row,) = lineage.page_of_withdrawn(lineage.trained_on(project.pk), None)
    assert row.runs == made[::-1][: lineage.RUNS_SHOWN]
    assert (row.number_of_runs, row.more_runs) == (len(made), 2)


@pytest.mark.parametrize("address", ["page", "api"])
def test_what_is_asked_of_the_database_does_not_grow_with_the_pairs_and_runs(client, project, dataset, lead, address):
    client.force_login(lead)
    again = make_dataset(2, project=project)
    recipe = RecipeFactory(project=project)
    pair = pair_in(dataset)
    urls = {
        "page": [
            reverse("training:pair-uses", args=[pair.pk]),
            reverse("training:dataset-withdrawn", args=[dataset.pk]),
            reverse("training:withdrawn", args=[project.pk]),
            reverse("training:dataset", args=[dataset.pk]),
            pair.get_absolute_url(),
        ],
        "api": [
            f"/api/pairs/{pair.pk}/uses/",
            f"/api/datasets/{dataset.pk}/withdrawn/",
            f"/api/projects/{project.pk}/withdrawn/",
        ],
    }[address]
    make_run(dataset=dataset, recipe=recipe, **DONE)
    reject(pair, lead)
    counts = []
    for url in urls:
        client.get(url)
        with CaptureQueriesContext(connection) as queries:
            client.get(url)
        counts.append(len(queries))
    for _ in range(4):
        run = make_run(dataset=dataset, recipe=recipe, **DONE)
        SystemFactory(project=project, kind="run", run=run)
        make_run(dataset=again, recipe=recipe, **DONE)
    for place in range(1, 5):
        reject(pair_in(dataset, place=place), lead)
    for url, count in zip(urls, counts, strict=True):
        with CaptureQueriesContext(connection) as queries:
            client.get(url)
        assert len(queries) <= count, url


# Pages and API


def test_pages_of_the_dataset_and_the_run_warn_of_withdrawn_pairs_and_lead_to_them(client, project, dataset, lead):
    run = make_run(dataset=dataset, **DONE)
    client.force_login(lead)
    list_url = reverse("training:dataset-withdrawn", args=[dataset.pk])
    pages = [dataset.get_absolute_url(), run.get_absolute_url()]
    for url in pages:
        assert list_url not in client.get(url).content.decode()
    reject(pair_in(dataset), lead, reason=HOSTILE)
    reject(pair_in(dataset, place=1), lead)
    pair = reject(pair_in(dataset, "test"), lead)
    for url in pages:
        html = client.get(url).content.decode()
        assert list_url in html
        assert "3 pairs of " in html and "2 in train, 1 in test" in html
    html = client.get(list_url).content.decode()
    assert html.count(reverse("training:pair-uses", args=[pair.pk])) == 1
    assert "<script>alert" not in html and "&lt;script&gt;alert" in html
    assert "rejected it" in html and run.name in html
    with CaptureQueriesContext(connection) as queries:
        lineage.withdrawn_by_split(dataset)
    assert len(queries) == 1


def test_the_pairs_page_leads_to_its_uses_once_a_dataset_holds_it(client, project, lead):
    pair = PairFactory(project=project)
    client.force_login(lead)
    url = reverse("training:pair-uses", args=[pair.pk])
    assert url not in client.get(pair.get_absolute_url()).content.decode()
    dataset = make_dataset(3, project=project)
    make_run(dataset=dataset, **DONE)
    html = client.get(pair.get_absolute_url()).content.decode()
    assert url in html and "1 frozen dataset holds it, and 1 run used that" in html
    assert "Withdrawn" not in html
    reject(pair, lead)
    assert "<strong>Withdrawn</strong>" in client.get(pair.get_absolute_url()).content.decode()


def test_the_uses_of_a_withdrawn_pair_say_who_withdrew_it_and_why(client, project, dataset, lead, trainer):
    run = make_run(dataset=dataset, name=HOSTILE, **DONE)
    pair = pair_in(dataset)
    type(pair.item).objects.filter(pk=pair.item_id).update(text=HOSTILE)
    reject(pair, lead, reason="It is about somebody we know.")
    client.force_login(trainer)
    html = client.get(reverse("training:pair-uses", args=[pair.pk])).content.decode()
    assert "<script>alert" not in html
    assert "lea" in html and "rejected it" in html and "It is about somebody we know." in html
    assert run.get_absolute_url() in html and "Trained on it" in html


def test_the_api_says_what_the_pages_say(client, project, dataset, lead):
    run = make_run(dataset=dataset, **DONE)
    SystemFactory(project=project, kind="run", run=run, name="Tuned")
    pair = reject(pair_in(dataset), lead)
    client.force_login(lead)
    answer = client.get(f"/api/pairs/{pair.pk}/uses/").json()
    assert answer["withdrawn"] and answer["decision"]["action"] == "pair.rejected"
    assert answer["decision"]["actor"] == "lea"
    assert [holding["id"] for holding in answer["datasets"]] == [dataset.pk]
    (use,) = answer["runs"]
    assert (use["run"]["id"], use["split"], use["how"]) == (run.pk, "train", "Trained on it")
    assert [product["name"] for product in use["products"]] == ["Tuned"]
    for url in (f"/api/datasets/{dataset.pk}/withdrawn/", f"/api/projects/{project.pk}/withdrawn/"):
        answer = client.get(url).json()
        assert answer["next_after"] is None
        (row,) = answer["results"]
        assert (row["pair"], row["status"], row["number_of_runs"]) == (pair.pk, "rejected", 1)
        assert [one["id"] for one in row["runs"]] == [run.pk]


def test_addresses_typed_by_hand_start_from_the_beginning_or_are_not_there(client, project, dataset, lead):
    make_run(dataset=dataset, **DONE)
    pair = reject(pair_in(dataset), lead)
    client.force_login(lead)
    for after in ("x", "-1", "9" * 30, "0", str(2**62), "²"):
        for url in (
            reverse("training:pair-uses", args=[pair.pk]),
            reverse("training:withdrawn", args=[project.pk]),
            f"/api/projects/{project.pk}/withdrawn/",
        ):
            assert client.get(url, {"after": after}).status_code == 200, (url, after)
    assert client.get(f"/api/pairs/{'9' * 18}/uses/").status_code == 404
    assert client.get(f"/api/pairs/{'9' * 40}/uses/").status_code == 404


def test_annotators_reviewers_and_strangers_learn_nothing(client, project, dataset, lead):
    run = make_run(dataset=dataset, **DONE)
    pair = reject(pair_in(dataset), lead)
    annotator = MembershipFactory(project=project, role=Role.ANNOTATOR).user
    reviewer = UserFactory()
    StudyMembership.objects.create(study=running_study(project=project, lead=lead), user=reviewer)
    stranger = MembershipFactory(role=Role.LEAD).user
    urls = [
        reverse("training:pair-uses", args=[pair.pk]),
        reverse("training:dataset-withdrawn", args=[dataset.pk]),
        reverse("training:withdrawn", args=[project.pk]),
        f"/api/pairs/{pair.pk}/uses/",
        f"/api/datasets/{dataset.pk}/withdrawn/",
        f"/api/projects/{project.pk}/withdrawn/",
    ]
    for person, status in ((annotator, 403), (reviewer, 404), (stranger, 404)):
        client.force_login(person)
        for url in urls:
            answer = client.get(url)
            assert answer.status_code == status, (url, person)
            assert run.name not in answer.content.decode()


def test_a_deleted_run_is_no_use_any_more(project, dataset, lead):
    run = make_run(dataset=dataset, **DONE)
    pair = reject(pair_in(dataset), lead)
    runs.delete(run)
    assert not Run.objects.exists()
    assert listed(project) == []
    assert lineage.uses(pair, lead).withdrawn
