"""From an output back to run, recipe, dataset, pair, annotations and people."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from annotation import pairs, work
from annotation.jobs import JobStatus
from annotation.models import Pair, Role
from evaluation import lineage
from evaluation.models import Output
from tests.evaluation.factories import OutputFactory, SystemFactory, make_study, start
from tests.factories import ItemFactory, MembershipFactory, PairFactory, ProjectFactory, UserFactory
from tests.training.factories import RecipeFactory, make_run
from training import datasets, recipes
from training.models import Run, RunSample

pytestmark = pytest.mark.django_db

HOSTILE = "<script>alert('x')</script> عربي 👩‍👩‍👧 & \"quoted\""
LABELS = {"bias": "high", "toxicity": "mild", "harm": "medium", "sentiment": "negative"}
DONE = {"status": JobStatus.FINISHED, "done": 5, "total": 5, "has_adapter": True}


@pytest.fixture(autouse=True)
def artifacts(settings, tmp_path):
    settings.ARTIFACT_ROOT = tmp_path


@pytest.fixture
def people():
    return {name: UserFactory(username=name) for name in ("lea", "tia", "ada", "bo")}


@pytest.fixture
def project(people):
    project = ProjectFactory(lead=people["lea"], trainer=people["tia"], annotator=people["ada"], overlap=2)
    MembershipFactory(project=project, user=people["bo"], role=Role.ANNOTATOR)
    return project


@pytest.fixture
def pair(project, people):
    """A pair that two people annotated and a lead approved."""
    ItemFactory(project=project, text=f"They are all lazy. {HOSTILE}", external_id="one")
    for name, rewrite in (("ada", "Some of them work less."), ("bo", "Some rest more.")):
        assignment = work.next_assignment(people[name], project)
        work.submit(people[name], assignment.pk, {"labels": LABELS, "rewrite": rewrite, "spans": []})
    pair = Pair.objects.get(item__external_id="one")
    chosen = pair.annotations.get(annotator=people["bo"])
    return pairs.approve(
        pair, people["lea"], version=pair.version, rewrite="Some rest more.", labels=LABELS, chosen=chosen.pk
    )


def frozen_with(pair, split, **values):
    """A dataset in which the pair is in this split."""
    PairFactory.create_batch(6, project=pair.project)
    for seed in range(200):
        found = datasets.freeze(
            project=pair.project,
            name="Spring",
            user=pair.project.memberships.get(user__username="tia").user,
            shares={"train": 0.4, "validation": 0.3, "test": 0.3},
            seed=seed,
            **values,
        )
        if found.rows.get(pair=pair).split == split:
            return found
        found.delete()
    raise AssertionError(f"no seed puts the pair into {split}")


def output_for(pair, dataset, people, *, item=None, kind="run", **columns):
    recipe = RecipeFactory(project=pair.project, created_by=people["tia"], name="QLoRA, small")
    run = make_run(dataset=dataset, recipe=recipe, **(DONE | columns))
    system = SystemFactory(project=pair.project, kind=kind, run=run, name="Tuned", created_by=people["tia"])
    made = OutputFactory(system=system, item=item or pair.item, text=f"Some rest. {HOSTILE}")
    return lineage.outputs_shown_to(people["lea"]).get(pk=made.pk)


def test_an_output_leads_back_to_everything_and_everybody_it_came_from(people, pair):
    dataset = frozen_with(pair, "test")
    output = output_for(pair, dataset, people)
    found = lineage.of(output)
    assert (found.run, found.dataset) == (output.system.run, dataset)
    assert found.recipe.name == "QLoRA, small"
    assert (found.row.pair, found.row.split, found.seen) == (pair, "test", "test")
    assert [annotation.annotator.username for annotation in found.annotations] == ["ada", "bo"]
    assert [(str(step.user), step.what) for step in found.people] == [
        ("tia", "made the system"),
        ("tia", "started the run"),
        ("tia", "wrote the recipe"),
        ("tia", "froze the dataset"),
        ("lea", "approved the pair"),
        ("ada", "annotated the text"),
        ("bo", "annotated the text"),
    ]
    assert not found.contaminated and not found.pair_withdrawn and not found.pair_changed


@pytest.mark.parametrize(
    ("split", "contaminated", "words"),
    [
        ("train", True, "Contaminated: the model was trained on this text."),
        ("validation", False, "The text was in validation."),
        ("test", False, "Held out: the run never saw it."),
    ],
)
def test_it_is_said_clearly_when_the_model_had_met_the_text(client, people, pair, split, contaminated, words):
    output = output_for(pair, frozen_with(pair, split), people)
    assert lineage.of(output).contaminated is contaminated
    client.force_login(people["lea"])
    html = client.get(reverse("evaluation:output-lineage", args=[output.pk])).content.decode()
    assert words in html
    assert ("Contaminated" in html) is contaminated
    answer = client.get(f"/api/outputs/{output.pk}/lineage/").json()
    assert (answer["seen"], answer["contaminated"]) == (split, contaminated)


def test_a_text_that_the_dataset_lacks_was_never_seen(client, people, pair):
    dataset = frozen_with(pair, "train")
    other = ItemFactory(project=pair.project, text="Something else entirely.")
    output = output_for(pair, dataset, people, item=other)
    found = lineage.of(output)
    assert (found.seen, found.row, found.annotations, found.contaminated) == ("absent", None, (), False)
    client.force_login(people["tia"])
    html = client.get(reverse("evaluation:output-lineage", args=[output.pk])).content.decode()
    assert "The dataset does not hold this text" in html
    assert "ada" not in html


def test_the_same_words_under_another_id_are_contamination_too(client, people, pair):
    dataset = frozen_with(pair, "train")
    copy = ItemFactory(project=pair.project, text=pair.item.text)
    output = output_for(pair, dataset, people, item=copy)
    found = lineage.of(output)
    assert (found.seen, found.same_text, found.row.pair) == ("train", True, pair)
    client.force_login(people["lea"])
    assert "has the same words" in client.get(reverse("evaluation:output-lineage", args=[output.pk])).content.decode()


def test_a_prompt_that_shows_the_text_with_its_rewrite_contaminates(people, pair):
    dataset = frozen_with(pair, "test")
    output = output_for(pair, dataset, people)
    run = output.system.run
    run.parameters = run.parameters | {"examples": [[pair.item.text.strip(), "Kinder."]]}
    run.save(update_fields=["parameters"])
    found = lineage.of(lineage.outputs_shown_to(people["lea"]).get(pk=output.pk))
    assert (found.seen, found.contaminated) == ("example", True)


def test_outputs_made_elsewhere_or_by_an_untrained_model_claim_nothing(client, people, pair):
    dataset = frozen_with(pair, "train")
    uploaded = OutputFactory(system=SystemFactory(project=pair.project), item=pair.item)
    base = output_for(pair, dataset, people, kind="base")
    client.force_login(people["lea"])
    for output, words in ((uploaded, "Made elsewhere and uploaded"), (base, "without what that run trained")):
        found = lineage.of(lineage.outputs_shown_to(people["lea"]).get(pk=output.pk))
        assert (found.seen, found.contaminated, found.dataset, found.row) == ("unknown", False, None, None)
        html = client.get(reverse("evaluation:output-lineage", args=[output.pk])).content.decode()
        assert words in html and "Contaminated" not in html
        assert "ada" not in html  # nobody's annotation went into it


def test_a_pair_withdrawn_or_changed_since_is_said_with_who_had_approved_it_then(client, people, pair):
    dataset = frozen_with(pair, "train")
    output = output_for(pair, dataset, people)
    other_lead = MembershipFactory(project=pair.project, role=Role.LEAD, user__username="lou").user
    pair = pairs.reopen(pair, other_lead, version=pair.version)
    client.force_login(people["lea"])
    url = reverse("evaluation:output-lineage", args=[output.pk])
    html = client.get(url).content.decode()
    assert "This pair was withdrawn since." in html and "1 pair of this dataset was withdrawn" in html
    pairs.approve(pair, other_lead, version=pair.version, rewrite="Quite other words.", labels=LABELS)
    found = lineage.of(lineage.outputs_shown_to(people["lea"]).get(pk=output.pk))
    assert (found.pair_withdrawn, found.pair_changed, found.approved_by) == (False, True, people["lea"])
    assert "other words or labels now" in client.get(url).content.decode()


def test_annotations_made_after_the_dataset_was_frozen_are_no_part_of_it(people, pair):
    output = output_for(pair, frozen_with(pair, "train"), people)
    late = pair.annotations.get(annotator=people["ada"])
    type(late).objects.filter(pk=late.pk).update(created_at=output.created_at)
    found = lineage.of(output)
    assert [annotation.annotator for annotation in found.annotations] == [people["bo"]]


def test_a_deleted_recipe_leaves_the_rest(client, people, pair):
    output = output_for(pair, frozen_with(pair, "test"), people)
    output.system.run.recipe.delete()
    client.force_login(people["tia"])
    html = client.get(reverse("evaluation:output-lineage", args=[output.pk])).content.decode()
    assert "deleted; the run keeps all of it" in html


def test_outputs_that_a_person_rates_blind_have_no_lineage_for_them_and_nothing_tells_the_two_apart(
    client, people, pair
):
    dataset = frozen_with(pair, "train")
    output = output_for(pair, dataset, people)
    study = make_study(project=pair.project, lead=people["lea"], reviewers=[people["tia"]])
    study.systems.add(output.system)
    for item in {one.item for one in Output.objects.filter(system=study.reference)}:
        OutputFactory(system=output.system, item=item)
    page, api = reverse("evaluation:output-lineage", args=[output.pk]), f"/api/outputs/{output.pk}/lineage/"
    run = output.system.run
    RunSample.objects.create(run=run, step=1, position=0, text="They lie.", rewrite="They err.", output="Seldom true.")
    Run.objects.filter(pk=run.pk).update(
        status=JobStatus.FINISHED,
        has_adapter=True,
        figures={"load_check": {"adapter": {"ok": True, "output": "Never said."}}},
    )
    client.force_login(people["tia"])
    html = client.get(run.get_absolute_url()).content.decode()
    assert "Seldom" in html and "Never said." in html
    form = reverse("evaluation:system-new", args=[run.project_id])
    assert f'<option value="{run.pk}">' in client.get(form).content.decode()
    assert [client.get(url).status_code for url in (page, api)] == [200, 200]
    study = start(study)
    nowhere = reverse("evaluation:output-lineage", args=[999_999]), "/api/outputs/999999/lineage/"
    html = client.get(run.get_absolute_url()).content.decode()
    assert "Seldom" not in html and "Never said." not in html and "rating outputs of this model blind" in html
    assert client.get(f"/api/runs/{run.pk}/samples/").json()["results"] == []
    assert "load_check" not in client.get(f"/api/runs/{run.pk}/").json()["figures"]
    assert f'<option value="{run.pk}">' not in client.get(form).content.decode()
    system = {"project": run.project_id, "name": "Again", "kind": "run", "run": run.pk}
    assert "run" in client.post("/api/systems/", system, content_type="application/json").json()
    for url, missing in zip((page, api), nowhere, strict=True):
        hidden, absent = client.get(url), client.get(missing)
        assert (hidden.status_code, absent.status_code) == (404, 404)
        assert b"Tuned" not in hidden.content
    client.force_login(people["lea"])
    assert [client.get(url).status_code for url in (page, api)] == [200, 200]


def test_annotators_and_strangers_do_not_see_it(client, people, pair):
    output = output_for(pair, frozen_with(pair, "test"), people)
    stranger = MembershipFactory(role=Role.TRAINER).user
    for person, status in ((people["ada"], 403), (stranger, 404)):
        client.force_login(person)
        for url in (reverse("evaluation:output-lineage", args=[output.pk]), f"/api/outputs/{output.pk}/lineage/"):
            assert client.get(url).status_code == status
    client.force_login(people["lea"])
    assert client.get("/api/outputs/x/lineage/").status_code == 404


def test_the_outputs_page_leads_to_the_lineage_and_nothing_written_by_people_is_markup(client, people, pair):
    output = output_for(pair, frozen_with(pair, "train"), people)
    client.force_login(people["tia"])
    url = reverse("evaluation:output-lineage", args=[output.pk])
    listing = client.get(reverse("evaluation:outputs", args=[pair.project_id]), {"item": pair.item_id}).content.decode()
    assert url in listing
    html = client.get(url).content.decode()
    assert "<script>alert" not in html and "&lt;script&gt;" in html
    for address in (output.system, output.system.run, output.system.run.recipe, output.system.run.dataset, pair):
        assert address.get_absolute_url() in html


def test_the_lineage_asks_the_database_the_same_however_large_the_dataset(
    client, people, pair, django_assert_max_num_queries
):
    small = output_for(pair, frozen_with(pair, "test"), people)
    client.force_login(people["lea"])
    url = reverse("evaluation:output-lineage", args=[small.pk])
    client.get(url)
    with CaptureQueriesContext(connection) as queries:
        client.get(url)
    PairFactory.create_batch(30, project=pair.project)
    recipe = RecipeFactory(project=pair.project)
    large = frozen_with(pair, "test")
    system = SystemFactory(project=pair.project, kind="run", run=make_run(dataset=large, recipe=recipe, **DONE))
    output = OutputFactory(system=system, item=pair.item)
    with django_assert_max_num_queries(len(queries)):
        client.get(reverse("evaluation:output-lineage", args=[output.pk]))
    shown = lineage.outputs_shown_to(people["lea"]).get(pk=output.pk)
    with django_assert_max_num_queries(6):
        assert len(lineage.of(shown).annotations) == 2


def test_the_api_names_what_the_page_names(client, people, pair):
    prompt = recipes.keep_prompt(pair.project, people["tia"], "Rewrite", "Fix: {text}")
    dataset = frozen_with(pair, "train")
    output = output_for(pair, dataset, people)
    recipe = output.system.run.recipe
    type(recipe).objects.filter(pk=recipe.pk).update(prompt=prompt)
    client.force_login(people["tia"])
    answer = client.get(f"/api/outputs/{output.pk}/lineage/").json()
    assert answer["run"]["id"] == output.system.run_id
    assert (answer["recipe"]["id"], answer["prompt"]["version"]) == (recipe.pk, 1)
    assert answer["dataset"]["content_hash"] == dataset.content_hash
    assert (answer["row"]["pair"], answer["row"]["split"]) == (pair.pk, "train")
    assert [one["annotator"] for one in answer["annotations"]] == ["ada", "bo"]
    assert answer["people"][0] == {"user": "tia", "what": "made the system"}
    assert answer["withdrawn"] == {}
