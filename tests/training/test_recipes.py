"""Recipes and prompts through pages and API: made, checked, written as YAML, read again, of older versions."""

import pytest
from django.core.cache import cache
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from annotation.jobs import JobStatus
from annotation.models import Role
from tests.factories import MembershipFactory, ProjectFactory
from tests.training.factories import RecipeFactory, make_dataset, make_run
from tests.training.test_recipe_yaml import OLD
from training import base_models, recipe_views, recipes
from training.models import BaseModelFacts, PromptVersion, Recipe, Run
from training.parameters import PRESETS
from training.recipe_forms import SPECS

pytestmark = pytest.mark.django_db

T5 = {
    "model_type": "t5",
    "vocab_size": 32128,
    "d_model": 512,
    "d_kv": 64,
    "d_ff": 2048,
    "num_layers": 6,
    "num_heads": 8,
}


@pytest.fixture(autouse=True)
def _settings(settings, tmp_path):
    settings.ARTIFACT_ROOT, settings.BASE_MODEL = tmp_path, "/no/such/model"
    cache.clear()


@pytest.fixture
def project():
    return ProjectFactory()


@pytest.fixture
def trainer(project, client):
    user = MembershipFactory(project=project, role=Role.TRAINER).user
    client.force_login(user)
    return user


@pytest.fixture
def post(client, trainer, project):
    def send(url, **body):
        return client.post(url, {"project": project.pk} | body, content_type="application/json")

    return send


def form(**changes):
    values = PRESETS["cpu-demo"].parameters.to_json() | {
        "name": "Mine", "method": "qlora", "base_model": "", "revision": "", "prompt_name": "Rewrite",
        "prompt_template": "Fix: {text}", "example_text": [], "example_rewrite": [],
    }  # fmt: skip
    values |= changes
    return {name: value for name, value in values.items() if value is not False}


def new(client, project, **changes):
    return client.post(reverse("training:new-recipe", args=[project.pk]), form(**changes))


def test_examples_and_prompt_versions_are_kept_with_the_recipe(client, trainer, project):
    texts = {"example_text": ["All of them lie.", ""], "example_rewrite": ["Some may lie.", " "]}
    recipe = Recipe.objects.get(pk=int(new(client, project, **texts).url.split("/")[-2]))
    assert recipe.prompt.examples == [["All of them lie.", "Some may lie."]]
    new(client, project, name="Same words", **texts)
    new(client, project, name="Other words", prompt_template="Mend: {text}")
    assert [(prompt.version, prompt.template) for prompt in PromptVersion.objects.order_by("pk")] == [
        (1, "Fix: {text}"),
        (2, "Mend: {text}"),
    ]
    html = client.get(reverse("training:prompts", args=[project.pk])).content.decode()
    assert "version 2" in html and "Same words" in html and "All of them lie." in html
    assert "version 1" in client.get(recipe.get_absolute_url()).content.decode()


def test_half_an_example_is_refused_and_nothing_typed_is_lost(client, trainer, project):
    answer = new(client, project, example_text=["Only a text"], example_rewrite=[""])
    html = answer.content.decode()
    assert answer.status_code == 422 and "Example 1 needs a text and a rewrite" in html and "Only a text" in html
    assert not Recipe.objects.exists()


@pytest.mark.parametrize("method", ["lora", "prefix", "seq2seq", "dpo"])
def test_another_method_shows_its_fields_and_keeps_those_of_the_others(client, trainer, project, method):
    url = reverse("training:new-recipe", args=[project.pk])
    typed = form(method=method, fill="method", lora_rank="1o", name="Ü <i>")
    html = client.post(url, typed, headers={"HX-Request": "true"}).content.decode()
    assert "<html" not in html and "Ü &lt;i&gt;" in html
    for name, spec in SPECS.items():
        assert f'name="{name}"' in html
        hidden = f'type="hidden" name="{name}"' in html
        assert hidden == (method not in spec.metadata["methods"]), name
    assert 'value="1o"' in html
    assert not Recipe.objects.exists()


def test_presets_fill_in_but_leave_what_is_not_theirs(client, trainer, project):
    url = reverse("training:new-recipe", args=[project.pk])
    typed = form(fill="preset", preset="mbias", base_model="/models/mine", prompt_template="Own: {text}")
    html = client.post(url, typed).content.decode()
    assert "Own: {text}" in html and 'value="Mine"' in html and PRESETS["mbias"].base_model in html
    typed = form(fill="preset", preset="cpu-demo", base_model="/models/mine", lora_rank=99)
    html = client.post(url, typed).content.decode()
    assert "/models/mine" in html and 'value="99"' not in html


def test_every_preset_can_be_saved_from_its_form(client, trainer, project):
    for key in PRESETS:
        page = client.get(reverse("training:new-recipe", args=[project.pk]), {"preset": key})
        fields = page.context["form"]
        posted = {name: fields[name].value() for name in fields.fields}
        answer = client.post(
            reverse("training:new-recipe", args=[project.pk]),
            {name: value for name, value in posted.items() if value is not None and value is not False},
        )
        assert answer.status_code == 302, (key, answer.context["form"].errors)
        assert Recipe.objects.first().hyperparameters() == PRESETS[key].parameters
    assert recipe_views.differences()[0][0] == "Method"


def test_yaml_goes_out_by_page_and_api_and_makes_the_same_recipe_again(client, post, project):
    new(client, project, example_text=["a"], example_rewrite=["b"], name="Ünë: 🙂 #1")
    first = Recipe.objects.get()
    text = client.get(reverse("training:recipe-file", args=[first.pk])).content.decode()
    assert client.get(f"/api/recipes/{first.pk}/yaml/").content.decode() == text
    again = post("/api/recipes/", yaml=text)
    assert again.status_code == 400 and "already exists" in again.content.decode()  # the name is taken
    made = post("/api/recipes/", yaml=text, name="Second").json()
    assert Recipe.objects.get(pk=made["id"]).to_yaml() == text.replace(first.name, "Second").replace(
        "'Second'", "Second"
    )
    assert (made["prompt_version"], made["prompt"]) == (1, first.prompt_id)
    html = client.post(reverse("training:new-recipe", args=[project.pk]), form(fill="yaml", yaml=text)).content.decode()
    assert "Filled in from the YAML." in html and "Ünë: 🙂 #1" in html


def test_yaml_of_format_1_says_what_was_filled_in_by_page_and_api(client, post, project):
    html = client.post(reverse("training:new-recipe", args=[project.pk]), form(fill="yaml", yaml=OLD)).content.decode()
    assert "made before these settings existed" in html and "Batches: padded" in html
    checked = post("/api/recipes/check/", yaml=OLD).json()
    assert {"method", "batching"} <= set(checked["filled"])
    made = post("/api/recipes/", yaml=OLD).json()
    assert (made["name"], made["method"], made["parameters"]["lora_rank"]) == ("From before", "qlora", 8)


def test_bad_yaml_is_named_by_its_key_and_kept(client, post, project):
    bad = OLD.replace("lora_rank", "lora_rang")
    answer = client.post(reverse("training:new-recipe", args=[project.pk]), form(fill="yaml", yaml=bad, name="Kept"))
    html = answer.content.decode()
    assert answer.status_code == 422 and "is lora_rank meant?" in html and "lora_rang: 8" in html and "Kept" in html
    answer = post("/api/recipes/", yaml=bad)
    assert answer.status_code == 400 and "lora_rang" in answer.json()["yaml"][0]
    answer = post("/api/recipes/", yaml=OLD, method="lora")
    assert answer.status_code == 400 and "leave out method" in answer.json()["yaml"][0]


def test_the_check_says_the_same_by_page_and_api_and_saves_nothing(client, post, project):
    BaseModelFacts.objects.create(name="team/t5", config=T5, reported_by="worker a")
    dataset = make_dataset(project=project)
    asked = {"base_model": "team/t5", "device": "t4", "dataset": dataset.pk}
    told = post("/api/recipes/check/", **asked).json()
    assert told["known"] and told["errors"][0]["field"] == "method"
    html = client.post(
        reverse("training:recipe-check", args=[project.pk]),
        form(base_model="team/t5") | {"for-device": "t4", "for-dataset": dataset.pk},
    ).content.decode()
    assert "Cannot work yet" in html and told["errors"][0]["message"][:60] in html
    told = post("/api/recipes/check/", **asked, method="seq2seq").json()
    assert told["errors"] == [] and told["time"]["steps"] > 0 and told["device_gib"] == 14.6
    assert told["memory_gib"]["total"] == pytest.approx(
        sum(v for k, v in told["memory_gib"].items() if k != "total"), 0.01
    )
    refused = post("/api/recipes/", name="x", base_model="team/t5")
    assert refused.status_code == 400 and "method" in refused.json()
    assert post("/api/recipes/check/", dataset=make_dataset().pk).status_code == 400
    unusable = client.post(reverse("training:recipe-check", args=[project.pk]), form(lora_rank="x", max_length=3))
    assert "LoRA rank: Enter a whole number." in unusable.content.decode()
    assert not Recipe.objects.exists() and not PromptVersion.objects.exists()


def test_measured_speed_and_memory_of_earlier_runs_are_taken(client, post, project):
    BaseModelFacts.objects.create(name="team/t5", config=T5, reported_by="worker a")
    dataset = make_dataset(project=project)
    run = make_run(dataset=dataset, status=JobStatus.FINISHED, base_model="team/t5", device="Tesla T4",
                   figures={"tokens_per_second": 250.0, "peak_gpu_gib": 3.5})  # fmt: skip
    told = post("/api/recipes/check/", base_model="team/t5", device="t4", dataset=dataset.pk).json()
    assert told["time"]["measured"] and told["time"]["tokens_per_second"] == 250.0
    html = client.post(
        reverse("training:recipe-check", args=[project.pk]),
        form(base_model="team/t5") | {"for-device": "t4", "for-dataset": dataset.pk},
    ).content.decode()
    assert f"Measured in run {run.pk}" in html and "3.50 GiB" in html
    told = post("/api/recipes/check/", base_model="team/t5", device="l4", dataset=dataset.pk).json()
    assert not told["time"]["measured"]


def test_a_stored_recipe_of_an_older_version_says_its_defaults_and_runs(client, trainer, project):
    old = {"lora_rank": 8, "learning_rate": 1e-3}
    recipe = RecipeFactory(project=project, parameters=old, prompt=None)
    html = client.get(recipe.get_absolute_url()).content.decode()
    assert "made before these settings existed" in html and "Batches: padded" in html
    run = make_run(dataset=make_dataset(project=project), recipe=recipe)
    assert run.parameters["lora_rank"] == 8 and run.parameters["batching"] == "padded"


def test_a_stored_recipe_with_what_this_version_does_not_know_is_shown_and_refused(client, trainer, project):
    recipe = RecipeFactory(project=project, parameters={"lora_rank": 8, "gone": 1})
    assert "Not known to this version" in client.get(recipe.get_absolute_url()).content.decode()
    dataset = make_dataset(project=project)
    answer = client.post(
        reverse("training:new-run", args=[project.pk]),
        {"dataset": dataset.pk, "recipe": recipe.pk, "seed": "0", "name": ""},
    )
    assert answer.status_code == 422 and "from another version" in answer.content.decode()
    assert not Run.objects.exists()
    needs = client.get(reverse("training:run-check", args=[project.pk]), {"recipe": recipe.pk, "dataset": dataset.pk})
    assert "from another version" in needs.content.decode()


def test_dpo_needs_preferences_before_anything_is_queued(client, trainer, project):
    recipe, dataset = RecipeFactory(project=project, method="dpo"), make_dataset(project=project)
    form = {"dataset": dataset.pk, "recipe": recipe.pk, "seed": "0", "name": ""}
    answer = client.post(reverse("training:new-run", args=[project.pk]), form)
    assert answer.status_code == 422 and "preference dataset" in answer.content.decode()
    assert not Run.objects.exists()


@pytest.mark.parametrize(
    ("changes", "field", "words"),
    [
        ({"revision": "main"}, "revision", "belongs to a base model"),
        ({"base_model": "/models/x", "revision": "main"}, "revision", "no branches"),
        ({"base_model": "https://hub.example/a/b"}, "base_model", "hub id alone"),
        ({"base_model": "scratch-model/abc"}, "base_model", "Leave this empty"),
        ({"prompt_template": "no place"}, "prompt_template", "exactly once"),
        ({"method": "magic"}, "method", "not a valid choice"),
    ],
)
def test_what_cannot_name_a_base_model_is_refused(post, changes, field, words):
    answer = post("/api/recipes/", name="x", **changes)
    assert answer.status_code == 400 and words in str(answer.json()[field])


TOKEN = "hf_" + "abcDEF123456" * 2


def test_a_base_model_in_the_home_of_nobody_is_no_crash(client, post, project):
    told = post("/api/recipes/check/", base_model="~nosuchuser/model")
    assert told.status_code == 200 and not told.json()["known"]
    assert post("/api/recipes/", name="x", base_model="~nosuchuser/model").status_code == 201  # workers may know it
    with pytest.raises(base_models.BaseModelError, match="~nosuchuser"):
        base_models.locate("~nosuchuser/model")


@pytest.mark.parametrize(
    ("changes", "field", "words"),
    [
        ({"name: Mine": 'name: "a\\0b"'}, "prompt_name", "null byte"),
        ({"name: Mine": 'name: "\\ud800"'}, "prompt_name", "surrogate"),
        ({"text: A": 'text: "\\ud800"'}, "examples", "Example 1 holds half of a surrogate"),
        ({"rewrite: B": 'rewrite: "\\0"'}, "examples", "null byte"),
        ({"name: Mine": f"name: {TOKEN}"}, "prompt_name", "access token"),
        ({"rewrite: B": f"rewrite: {TOKEN}"}, "examples", "access token"),
        ({"{text}": f"{{text}} {TOKEN}"}, "prompt_template", "access token"),
        ({"parameters:": f"base_model: team/model\nrevision: {TOKEN}\nparameters:"}, "revision", "access token"),
    ],
)
def test_a_prompt_that_cannot_be_stored_or_holds_a_token_is_refused(post, changes, field, words):
    text = (
        "format: 2\nname: Recipe\nmethod: lora\nparameters: {lora_rank: 8}\n"
        "prompt:\n  name: Mine\n  template: 'Fix: {text}'\n  examples:\n  - text: A\n    rewrite: B\n"
    )
    for old, new_words in changes.items():
        text = text.replace(old, new_words)
    answer = post("/api/recipes/", yaml=text)
    assert answer.status_code == 400 and words in str(answer.json()[field])
    assert not PromptVersion.objects.exists()


def test_an_example_of_a_system_that_cannot_be_stored_is_refused(post):
    system = {"name": "S", "kind": "base", "base_model": "team/model", "prompt_template": "Fix: {text}"}
    answer = post("/api/systems/", **system, examples=[["a", "\ud800"]])
    assert answer.status_code == 400 and "surrogate" in str(answer.json()["examples"])


@pytest.mark.parametrize(
    "changes",
    [
        {"yaml": OLD + 'method: "\\ud800"'},
        {"yaml": OLD + '"\\ud800": 1'},
        {"yaml": OLD + '  "\\ud800": 1'},
        {"yaml": OLD + '  schedule: "\\ud800"'},
        {"name": "x", "parameters": {"schedule": "\ud800"}},
        {"name": "x", "parameters": {"\ud800": 1}},
    ],
)
def test_half_a_surrogate_pair_is_refused_with_a_message_that_can_be_sent(post, changes):
    assert post("/api/recipes/", **changes).status_code == 400


def test_prompts_by_api(client, post, project):
    first = post("/api/prompts/", name="Kind", template="Be kind: {text}", examples=[["a", "b"]])
    assert (first.status_code, first.json()["version"]) == (201, 1)
    assert post("/api/prompts/", name="Kind", template="Be kind: {text}", examples=[["a", "b"]]).json() == first.json()
    assert post("/api/prompts/", name="Kind", template="Kindly: {text}").json()["version"] == 2
    assert [row["version"] for row in client.get("/api/prompts/", {"name": "Kind"}).json()["results"]] == [1, 2]
    bad = post("/api/prompts/", name="Kind", template="nothing", examples=[["a"]])
    assert bad.status_code == 400


def test_lists_ask_the_database_no_more_for_more_rows(client, trainer, project, django_assert_num_queries):
    def make(number):
        for _ in range(number):
            prompt = recipes.keep_prompt(project, trainer, "P", f"{PromptVersion.objects.count()} {{text}}")
            RecipeFactory(project=project, prompt=prompt)

    make(1)
    for url in (reverse("training:prompts", args=[project.pk]), "/api/recipes/", "/api/prompts/"):
        with CaptureQueriesContext(connection) as few:
            client.get(url)
        make(3)
        with django_assert_num_queries(len(few)):
            client.get(url)
