"""What a run leaves at its end, through the real processes."""

import io
import json
import sys
import zipfile

import pytest
import yaml
from django.urls import reverse

from annotation import jobs
from annotation.jobs import JobStatus
from annotation.models import Role
from evaluation import systems
from tests.factories import MembershipFactory
from tests.training.factories import RecipeFactory, make_dataset, make_run
from training import launching, model_card, runner
from training.models import Run
from training.parameters import PRESETS

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def artifacts(settings, tmp_path):
    settings.ARTIFACT_ROOT = tmp_path / "artifacts"


def quick(dataset, method="qlora", **changes):
    values = PRESETS["cpu-demo"].parameters.to_json()
    values |= {"max_steps": 4, "eval_steps": 4, "save_steps": 2, "lora_rank": 4, "max_length": 256} | changes
    return RecipeFactory(project=dataset.project, parameters=values, method=method)


def perform(run):
    jobs.execute(Run.objects, run.pk, runner.execute)
    run.refresh_from_db()
    return run


def pretend(monkeypatch, what, tmp_path):
    """The training's process is a pretender that leaves what is said."""
    command = [sys.executable, "-m", "tests.training.pretender"]
    monkeypatch.setattr(launching, "command", lambda folder, processes: [*command, str(folder), what])


def header(text):
    return yaml.safe_load(text.split("---\n")[1])


def test_a_run_leaves_a_checked_adapter_and_a_merged_model_each_with_a_card(client):
    dataset = make_dataset(name="Spring | <b>pairs</b>")
    run = perform(make_run(dataset=dataset, recipe=quick(dataset, merge=True)))
    assert (run.status, run.error, run.has_adapter, run.has_merged) == (JobStatus.FINISHED, "", True, True), (
        run.log_tail()
    )
    checks = run.figures["load_check"]
    assert checks["adapter"]["ok"] and checks["merged"]["ok"]
    assert checks["merged"]["max_difference"] < checks["merged"]["tolerance"]
    assert {path.name for path in run.adapter.iterdir()} >= {
        "adapter_model.safetensors", "adapter_config.json", "tokenizer.json",
        "recipe.json", "metrics.json", "README.md",
    }  # fmt: skip
    assert {path.name for path in (run.folder / "merged").iterdir()} >= {
        "model.safetensors", "config.json", "tokenizer.json", "recipe.json", "metrics.json", "README.md",
    }  # fmt: skip
    assert not list(run.folder.glob("attempt-*"))
    recipe = json.loads((run.adapter / "recipe.json").read_text())
    assert recipe["parameters"]["dataset_hash"] == dataset.content_hash
    assert recipe["library_versions"]["peft"]
    assert json.loads((run.adapter / "metrics.json").read_text())["load_check"] == checks

    card = (run.adapter / "README.md").read_text()
    assert header(card)["library_name"] == "peft" and "base_model" not in header(card)
    assert "scratch-model" in header(card)["tags"]
    for words in (dataset.content_hash, "Trained on a scratch model", "lora_rank", run.library_versions["trl"], "Seed"):
        assert words in card
    assert "Spring \\| \\<b\\>pairs\\</b\\>" in card, "what people typed is no markup"
    merged = (run.folder / "merged" / "README.md").read_text()
    assert header(merged)["library_name"] == "transformers" and "AutoModelForCausalLM.from_pretrained" in merged

    client.force_login(MembershipFactory(project=run.project, role=Role.LEAD).user)
    html = client.get(reverse("training:run-card", args=[run.pk])).content.decode()
    assert "Spring | &lt;b&gt;pairs&lt;/b&gt;" in html and "<table>" in html
    page = client.get(run.get_absolute_url()).content.decode()
    assert "the merged model works" in page and reverse("training:run-merged", args=[run.pk]) in page
    data = b"".join(client.get(reverse("training:run-merged", args=[run.pk])).streaming_content)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        assert f"run-{run.pk}-merged/model.safetensors" in archive.namelist()


def test_a_saved_adapter_that_cannot_be_loaded_fails_the_run_and_stays_for_a_look(monkeypatch, tmp_path, client):
    pretend(monkeypatch, "bad check", tmp_path)
    run = perform(make_run())
    assert run.status == JobStatus.FAILED
    assert "cannot be used: header too small" in run.error
    assert run.has_adapter and not list(run.folder.glob("attempt-*"))
    assert not systems.usable_runs(run.project_id, run.created_by).exists(), "nothing generates with it"
    client.force_login(MembershipFactory(project=run.project, role=Role.TRAINER).user)
    assert client.get(reverse("training:run-adapter", args=[run.pk])).status_code == 200
    assert "The saved adapter cannot be used" in client.get(run.get_absolute_url()).content.decode()


def test_where_only_the_merge_fails_the_run_is_finished_and_says_why(monkeypatch, tmp_path, client):
    pretend(monkeypatch, "unmergeable", tmp_path)
    dataset = make_dataset()
    run = perform(make_run(dataset=dataset, recipe=quick(dataset, merge=True)))
    assert (run.status, run.has_adapter, run.has_merged) == (JobStatus.FINISHED, True, False), run.error
    assert run.figures["load_check"]["merged"]["error"]
    assert not (run.folder / "merged").exists()
    client.force_login(MembershipFactory(project=run.project, role=Role.TRAINER).user)
    assert "There is no merged model:" in client.get(run.get_absolute_url()).content.decode()
    assert client.get(reverse("training:run-merged", args=[run.pk])).status_code == 404


def test_a_merge_that_is_killed_leaves_the_run_finished(monkeypatch, tmp_path):
    pretend(monkeypatch, "unmergeable", tmp_path)
    monkeypatch.setattr("training.ending.sys.executable", "/bin/false")
    dataset = make_dataset()
    run = perform(make_run(dataset=dataset, recipe=quick(dataset, merge=True)))
    assert (run.status, run.has_merged) == (JobStatus.FINISHED, False)
    assert "ended without a word" in run.figures["load_check"]["merged"]["error"]


def test_a_card_names_a_base_of_the_hub_and_hides_a_folder_of_the_server():
    run = make_run(status=JobStatus.FINISHED)
    run.base_model, run.base_revision, run.figures = "meta-llama/Llama-2-7b-chat-hf", "f5db02d", {"train_loss": 1.5}
    text = model_card.text(run)
    assert "`lora\\_rank`" not in text and "`lora_rank`" in text and "prefix_tokens" not in text, "what has an effect"
    assert (header(text)["base_model"], header(text)["base_model_relation"]) == (run.base_model, "adapter")
    run.base_model = "/srv/secret/models/ours"
    text = model_card.text(run)
    assert "/srv/secret" not in text and "base_model" not in header(text)
    run.name = "a: [b\n- c"
    assert header(model_card.text(run))["model_name"] == "a: [b\n- c"
