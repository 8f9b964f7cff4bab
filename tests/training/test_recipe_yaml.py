"""Recipes as YAML: written, read again, and refused with the name of what is wrong."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training import recipe_yaml
from training.parameters import METHODS, PRESETS, Hyperparameters, ParameterErrors, RunParameters
from training.prompts import DEFAULT_TEMPLATE

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=60)
AWKWARD = [
    "no", "2e-4", "~", "null", "1.5", "0x10", "- a", "a: b", "#", "أهلا\nوسهلا", "🙂", " blank ", "a\n\n  b\n", "\t",
    "2026-01-01", "*x", "&x y", "!!int 3", "{text}", "'\"", "<<", "yes", "12_000", ".inf", "\x85\u2028", "\ufeffa\r",
]  # fmt: skip


def values(**changes):
    return {
        "name": "Mine",
        "method": "qlora",
        "base_model": "some/model",
        "revision": "main",
        "prompt_name": "Rewrite",
        "prompt_template": DEFAULT_TEMPLATE,
        "examples": [["A text.", "A rewrite."]],
        "parameters": Hyperparameters().to_json(),
    } | changes


@settings(deadline=None)
@given(
    st.one_of(TEXT, st.sampled_from(AWKWARD)), st.one_of(TEXT, st.sampled_from(AWKWARD)), st.sampled_from(list(METHODS))
)
def test_what_is_written_is_read_again_and_written_the_same(name, text, method):
    given_values = values(name=name.strip(), prompt_template=text, method=method, examples=[[text, name]])
    text = recipe_yaml.dump(**given_values)
    loaded = recipe_yaml.load(text)
    assert loaded.values() == given_values
    assert not loaded.filled
    assert recipe_yaml.dump(**loaded.values()) == text


@pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS)
def test_every_preset_goes_out_and_comes_in(preset):
    text = recipe_yaml.dump(**values(parameters=preset.parameters.to_json(), base_model=preset.base_model))
    assert Hyperparameters.from_json(recipe_yaml.load(text).parameters) == preset.parameters


def test_numbers_as_people_write_them():
    text = recipe_yaml.dump(**values()).replace("learning_rate: 0.0002", "learning_rate: 2e-5")
    assert recipe_yaml.load(text).parameters["learning_rate"] == 2e-5


OLD = """
name: From before
base_model: some/model
prompt_template: "Fix: {text}"
parameters:
  lora_rank: 8
  learning_rate: 0.001
"""


def test_a_recipe_of_format_1_is_read_and_says_what_was_filled_in():
    loaded = recipe_yaml.load("format: 1" + OLD)
    assert loaded == recipe_yaml.load(OLD)  # it had no such key at first
    assert (loaded.method, loaded.prompt_template, loaded.revision) == ("qlora", "Fix: {text}", "")
    assert loaded.parameters == Hyperparameters(lora_rank=8, learning_rate=1e-3).to_json()
    assert {"method", "batching", "completion_only", "lora_alpha"} <= set(loaded.filled)
    assert not {"lora_rank", "prompt_template"} & set(loaded.filled)


def test_the_recipe_that_lies_beside_an_adapter_is_read_too():
    parameters = RunParameters(
        method="lora", base_model="some/model", base_revision="a" * 40, is_scratch=False, prompt_template="Fix: {text}",
        examples=[["a", "b"]], dataset_hash="x", seed=1, lora_rank=4,
    )  # fmt: skip
    loaded = recipe_yaml.load(json.dumps({"parameters": parameters.to_json(), "library_versions": {"torch": "2"}}))
    assert (loaded.method, loaded.base_model, loaded.revision) == ("lora", "some/model", "a" * 40)
    assert loaded.parameters["lora_rank"] == 4
    assert loaded.examples == [["a", "b"]]


GOOD = recipe_yaml.dump(**values())


@pytest.mark.parametrize(
    ("text", "key", "words"),
    [
        ("", "yaml", "list of keys"),
        ("- a\n- b", "yaml", "list of keys"),
        ("a: [", "yaml", "line 1"),
        ("x" * 300_000, "yaml", "at most 200,000"),
        ("[" * 3000, "yaml", ""),
        ("a: &x 1\nb: *x", "yaml", "aliases"),
        ("name: a\nname: b", "yaml", "name stands here twice"),
        ("? [a]\n: b", "yaml", "a key must be a word"),
        ("name: !!python/object/apply:os.system [ls]", "yaml", "could not determine a constructor"),
        (GOOD.replace("format: 2", "format: 3"), "format", "has format 3"),
        (GOOD.replace("format: 2", "format: two"), "format", "reads 1 and 2"),
        (GOOD.replace("format: 2\n", ""), "prompt", "came with format 2"),
        (GOOD.replace("name: Mine\n", "", 1), "name", "missing"),
        (GOOD + "seed: 3\n", "seed", "no such key"),
        (GOOD + "  lora_rang: 3\n", "parameters.lora_rang", "is lora_rank meant"),
        (GOOD.replace("method: qlora", "method: magic"), "method", "Give one of qlora"),
        (GOOD.replace("name: Mine", "name: 12", 1), "name", "put it in quotes"),
        (GOOD.replace("  template:", "  templat:"), "prompt.templat", "no such key"),
        (GOOD.replace("rewrite: A rewrite.", "rewrite: 7"), "prompt.examples", "Example 1"),
        ("format: 2\nname: a\nmethod: qlora\nprompt: 3\nparameters: 4", "parameters", "names with values"),
    ],
)
def test_what_is_wrong_is_named(text, key, words):
    with pytest.raises(recipe_yaml.RecipeErrors) as caught:
        recipe_yaml.load(text)
    assert words in caught.value.messages[key]


@pytest.mark.parametrize(
    ("text", "key"),
    [
        (GOOD.replace("method: qlora", "method: [qlora]"), "method"),
        (GOOD.replace("method: qlora", "method: {qlora: 1}"), "method"),
        (GOOD.replace("name: Mine", "name: !!bool foo", 1), "yaml"),
        (GOOD.replace("name: Mine", "name: !!timestamp foo", 1), "yaml"),
        (GOOD.replace("name: Mine", "name: !!timestamp 2026-01-01", 1), "name"),
        (GOOD.replace("name: Mine", "name: !!int [1]", 1), "yaml"),
        (GOOD.replace("name: Mine", "name: !!map [a]", 1), "yaml"),
        (GOOD.replace("name: Mine", 'name: "\\UFFFFFFFF"', 1), "yaml"),
    ],
)
def test_a_value_of_the_wrong_type_is_refused_and_not_a_crash(text, key):
    with pytest.raises(recipe_yaml.RecipeErrors) as caught:
        recipe_yaml.load(text)
    assert key in caught.value.messages


@pytest.mark.parametrize("name", ["lora_rank", "learning_rate", "max_steps"])
@pytest.mark.parametrize("value", [10**400, -(10**400)])
def test_a_whole_number_that_no_float_holds_is_refused(name, value):
    loaded = recipe_yaml.load(recipe_yaml.dump(**values(parameters=Hyperparameters().to_json() | {name: value})))
    with pytest.raises(ParameterErrors) as caught:
        Hyperparameters.from_json(loaded.parameters)
    assert "Give a number" in caught.value.messages[name]
