"""The recipe's form in a real browser, by keyboard alone."""

import pytest
from django.core.cache import cache
from django.urls import reverse
from playwright.sync_api import expect

from annotation.models import Role
from tests.factories import MembershipFactory, ProjectFactory
from tests.training.factories import make_dataset
from training.models import BaseModelFacts, Recipe
from training.parameters import PRESETS

pytestmark = pytest.mark.django_db(transaction=True)

LLAMA = {
    "model_type": "llama", "architectures": ["LlamaForCausalLM"], "vocab_size": 32000, "hidden_size": 4096,
    "intermediate_size": 11008, "num_hidden_layers": 32, "num_attention_heads": 32, "max_position_embeddings": 4096,
    "tie_word_embeddings": False,
}  # fmt: skip


@pytest.fixture
def trainer(settings, tmp_path):
    settings.ARTIFACT_ROOT, settings.BASE_MODEL = tmp_path, "team/default"
    cache.clear()
    user = MembershipFactory(project=ProjectFactory(), role=Role.TRAINER).user
    for name in (PRESETS["sr-llm"].base_model, PRESETS["mbias"].base_model):
        BaseModelFacts.objects.create(name=name, config=LLAMA, reported_by="worker gpu-1", commit="c" * 40)
    return user


def to(page, selector):
    """Move the focus by Tab alone until it is there."""
    for _ in range(200):
        if page.evaluate("(selector) => document.activeElement?.matches(selector)", selector):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"Tab never reached {selector}")


def choose(page, selector, label):
    to(page, selector)
    page.keyboard.type(label)


def test_a_preset_another_method_and_yaml_by_keyboard_lose_nothing_typed(new_page, trainer):
    project = trainer.memberships.get().project
    page = new_page(trainer)
    page.goto(reverse("training:new-recipe", args=[project.pk]))
    choose(page, "#id_preset", "SR")
    to(page, "#fill-preset")
    page.keyboard.press("Enter")
    expect(page.locator("#id_lora_rank")).to_have_value("64")
    expect(page.locator("#id_base_model")).to_have_value("meta-llama/Llama-2-7b-chat-hf")
    expect(page.locator("#needs")).to_contain_text("GiB")

    to(page, "#id_name")
    page.keyboard.press("Control+a")
    page.keyboard.type("سلام 🙂 <b>")
    to(page, "#id_lora_dropout")
    page.keyboard.press("Control+a")
    page.keyboard.type("0.33")
    page.locator("#id_method").focus()
    page.keyboard.type("Prefix")
    expect(page.locator("#id_prefix_tokens")).to_be_visible()
    expect(page.locator("#id_method")).to_be_focused()
    expect(page.locator("input[name=lora_dropout]")).to_have_attribute("type", "hidden")
    page.keyboard.press("ArrowUp")
    expect(page.locator("#id_method")).to_have_value("lora")
    expect(page.locator("#id_lora_dropout")).to_be_visible()
    expect(page.locator("#id_lora_dropout")).to_have_value("0.33")
    expect(page.locator("#id_name")).to_have_value("سلام 🙂 <b>")

    to(page, "#id_max_length")
    page.keyboard.press("Control+a")
    page.keyboard.type("9000")
    expect(page.locator("#needs")).to_contain_text("reads 4,096 tokens at most")
    expect(page.locator("#needs")).to_contain_text("Cannot work yet")
    to(page, "#save-recipe")
    page.keyboard.press("Enter")
    expect(page.locator("#recipe .note.bad")).to_contain_text("cannot be saved yet")
    expect(page.locator("#id_max_length")).to_have_value("9000")
    expect(page.locator("#id_name")).to_have_value("سلام 🙂 <b>")
    assert not Recipe.objects.exists()
    page.locator("#id_max_length").fill("512")
    to(page, "#save-recipe")
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_have_text("سلام 🙂 <b>")
    made = Recipe.objects.get()
    assert (made.method, made.parameters["lora_dropout"], made.parameters["prefix_tokens"]) == ("lora", 0.33, 30)

    text = made.to_yaml()
    page.goto(reverse("training:new-recipe", args=[project.pk]))
    to(page, "summary:has(#paste-yaml), #paste-yaml")
    page.keyboard.press("Enter")
    to(page, "#id_yaml")
    page.keyboard.insert_text(text.replace("lora_dropout", "lora_dropuot"))
    to(page, "#fill-yaml")
    page.keyboard.press("Enter")
    expect(page.locator("#yaml-errors")).to_contain_text(
        "parameters.lora_dropuot: There is no such parameter; is lora_dropout meant?"
    )
    assert "lora_dropuot" in page.locator("#id_yaml").input_value()
    to(page, "#id_yaml")
    page.keyboard.press("Control+a")
    page.keyboard.insert_text(text.replace("lora_dropout: 0.33", "lora_dropout: 0.25"))
    to(page, "#fill-yaml")
    page.keyboard.press("Enter")
    expect(page.locator("#id_lora_dropout")).to_have_value("0.25")
    expect(page.locator("#id_method")).to_have_value("lora")
    page.locator("details:has(#recipe-yaml) summary").click()
    expect(page.locator("#recipe-yaml")).to_contain_text("lora_dropout: 0.25")


def test_the_estimate_follows_device_and_dataset(new_page, trainer):
    project = trainer.memberships.get().project
    make_dataset(project=project)
    page = new_page(trainer)
    page.goto(reverse("training:new-recipe", args=[project.pk]) + "?preset=sr-llm")
    page.locator("#id_for-device").select_option("t4")
    expect(page.locator("#needs")).to_contain_text("fits.")
    expect(page.locator("#needs")).to_contain_text("of the 65 TFLOP/s of NVIDIA T4")
    page.locator("#id_for-gib").fill("6")
    page.keyboard.press("Tab")
    expect(page.locator("#needs")).to_contain_text("does not fit")
    page.goto(reverse("training:new-recipe", args=[project.pk]))
    expect(page.locator("#needs")).to_contain_text("Nothing is known about team/default here yet.")


def test_the_pages_are_in_the_window_at_360_pixels(new_page, trainer, tmp_path):
    import os

    project = trainer.memberships.get().project
    make_dataset(project=project)
    folder = os.environ.get("SCREENSHOTS")
    for width, scheme in ((1280, "light"), (360, "dark")):
        page = new_page(trainer, viewport={"width": width, "height": 900}, color_scheme=scheme)
        for name, address in (
            ("form", reverse("training:new-recipe", args=[project.pk]) + "?preset=sr-llm"),
            ("start", reverse("training:new-run", args=[project.pk])),
        ):
            page.goto(address)
            page.wait_for_load_state("networkidle")
            if name == "form":
                page.locator("#id_for-device").select_option("l4")
                page.locator("#id_max_length").fill("8000")
                page.locator("#id_max_length").blur()
                expect(page.locator("#needs")).to_contain_text("reads 4,096 tokens at most")
            if folder:
                page.screenshot(path=f"{folder}/{name}-{width}.png", full_page=True)
            assert page.evaluate("document.documentElement.scrollWidth") <= width, (name, width)
        page.goto(reverse("training:new-recipe", args=[project.pk]) + "?preset=sr-llm")
        page.locator("#id_name").fill(f"Recipe {width}")
        page.locator("#save-recipe").click()
        page.wait_for_url("**/recipes/*/")
        if folder:
            page.screenshot(path=f"{folder}/recipe-{width}.png", full_page=True)
            page.goto(reverse("training:prompts", args=[project.pk]))
            page.screenshot(path=f"{folder}/prompts-{width}.png", full_page=True)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
