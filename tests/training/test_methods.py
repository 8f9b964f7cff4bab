"""Every method really trains, tells what it did, goes on from a checkpoint as if nothing had happened, and loads."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.training.engine_runs import PAIRS, Told, base_for, parameters_for, rows_of, train
from training.engine import checkpoints, loading, samples
from training.engine import trainer as training

WAYS = [
    ("qlora", {}),
    ("lora", {}),
    ("prefix", {"prefix_tokens": 5}),
    ("seq2seq", {}),
    ("seq2seq", {"full_finetuning": True}),
    ("dpo", {}),
    ("dpo", {"four_bit": False}),
]
NAMES = [" ".join([method, *changes]) for method, changes in WAYS]


@pytest.fixture(autouse=True)
def artifacts(settings, tmp_path):
    settings.ARTIFACT_ROOT = tmp_path


def weights_of(folder):
    """Every trained weight that a run left."""
    (file,) = folder.glob("*.safetensors")
    return load_file(file)


@pytest.mark.parametrize(("method", "changes"), WAYS, ids=NAMES)
def test_a_method_learns_and_what_it_left_writes_as_the_model_in_training_did(method, changes, tmp_path):
    result, told = train(method, tmp_path / "run", learning_rate=1e-2, max_steps=8, eval_steps=4, **changes)
    losses = [metric.loss for metric in told.metrics if metric.kind == "eval"]
    assert losses[-1] < losses[0]
    p, texts = parameters_for(method, **changes), rows_of()[10:]
    dtype = loading.compute_dtype(p.compute_dtype)
    model = loading.load_trained(base_for(method), result.adapter, dtype=dtype, four_bit=p.in_four_bits)
    assert not model.training
    tokenizer = loading.load_tokenizer(result.adapter)
    again = samples.outputs(model, tokenizer, p, texts, 8, dtype)
    last = [sample for sample in told.samples if sample.step == 8]
    assert [sample.output for sample in again] == [sample.output for sample in last]
    assert [(sample.position, sample.text) for sample in last] == [(n, PAIRS[10 + n][0]) for n in range(3)]


@pytest.mark.parametrize(("method", "changes"), WAYS, ids=NAMES)
def test_going_on_from_a_checkpoint_ends_where_an_uninterrupted_run_ends(method, changes, tmp_path):
    whole, _ = train(method, tmp_path / "whole", **changes)
    found = checkpoints.last_checkpoint([_kept_until(tmp_path / "whole", 2)])
    assert found[1] == 2
    rest, told = train(method, tmp_path / "rest", resume_from=found[0], **changes)
    assert told.steps == [2, 3, 4]
    for name in ("data_order", "tokens", "steps", "validation_loss"):
        assert rest.figures[name] == whole.figures[name], name
    expected, found = weights_of(whole.adapter), weights_of(rest.adapter)
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)


def _kept_until(folder, step):
    for checkpoint in folder.glob("checkpoint-*"):
        if int(checkpoint.name.split("-")[1]) > step:
            (checkpoint / checkpoints.COMPLETE).unlink()
    return folder


def test_only_what_the_method_trains_is_stored(tmp_path):
    stored = {
        name: train(method, tmp_path / str(number), max_steps=1, **changes)[0].adapter
        for number, (name, (method, changes)) in enumerate(zip(NAMES, WAYS, strict=True))
    }
    for name in ("qlora", "lora", "dpo", "seq2seq"):
        assert all("lora_" in weight for weight in weights_of(stored[name])), name
    assert set(weights_of(stored["prefix prefix_tokens"])) == {"prompt_embeddings"}
    whole = stored["seq2seq full_finetuning"]
    assert (whole / "config.json").is_file()
    assert not (whole / "adapter_config.json").exists()
    assert json.loads((stored["lora"] / "adapter_config.json").read_text())["base_model_name_or_path"] == "b"
    for folder in stored.values():
        assert json.loads((folder / "recipe.json").read_text())["parameters"]["dataset_hash"] == "h"
        assert not list(folder.glob("*.bin")), "no pickles"
        assert str(tmp_path) not in "".join(file.read_text() for file in folder.glob("*.json"))


def test_preference_tuning_makes_the_preferred_output_likelier_than_the_rejected_one(tmp_path):
    result, _ = train("dpo", tmp_path / "run", max_steps=12, eval_steps=12, learning_rate=5e-3, dpo_beta=0.5)
    assert result.figures["preference_accuracy"] > 0.6
    assert result.figures["validation_loss"] < 0.69  # ln 2: no preference
    model = loading.load_model(base_for("dpo"), dtype=torch.float32)
    assert model.is_loaded_in_4bit


def test_methods_that_learn_from_pairs_take_the_preferred_output_of_a_preference(tmp_path):
    rows = {"train": rows_of(preferences=True), "validation": []}
    plain = {"train": rows_of(), "validation": []}
    first, _ = train("lora", tmp_path / "preferences", rows=rows)
    second, _ = train("lora", tmp_path / "pairs", rows=plain)
    assert first.figures["data_order"] == second.figures["data_order"]


def test_samples_do_not_disturb_the_training(tmp_path, monkeypatch):
    first, told = train("qlora", tmp_path / "with", gradient_checkpointing=True)
    assert [sample.step for sample in told.samples] == [2, 2, 2, 4, 4, 4]
    monkeypatch.setattr(training.samples, "outputs", lambda *arguments: [])
    second, told = train("qlora", tmp_path / "without", gradient_checkpointing=True)
    assert not told.samples
    expected, found = weights_of(first.adapter), weights_of(second.adapter)
    assert all(torch.equal(expected[name], found[name]) for name in expected)


def test_points_tell_pace_and_memory_and_never_count_padding(tmp_path):
    result, told = train("lora", tmp_path / "run", batch_size=5, max_steps=2)
    rows, p = rows_of()[:10], parameters_for("lora")
    tokenizer = loading.load_tokenizer(base_for("lora"))
    per_epoch = sum(
        len(tokenizer(f"{training.examples.render(p.prompt_template, row.text)}{row.rewrite}<|end|>")["input_ids"])
        for row in rows
    )
    assert result.figures["tokens"] == per_epoch
    points = [metric for metric in told.metrics if metric.kind == "train"]
    assert points[-1].tokens == per_epoch
    for point in points:
        assert point.tokens_per_second > 0
        assert 0.05 < point.memory_gib < 24
        assert point.learning_rate is not None
        assert point.grad_norm > 0


@pytest.mark.parametrize(
    ("method", "base", "words"),
    [("seq2seq", "lora", "no encoder-decoder"), ("lora", "seq2seq", "choose the method seq2seq")],
)
def test_a_base_of_the_wrong_kind_is_refused(method, base, words, tmp_path):
    with pytest.raises(loading.TrainingError, match=words):
        train(method, tmp_path / "run", base=base_for(base))


@pytest.mark.parametrize(
    ("method", "rows", "words"),
    [
        ("dpo", rows_of(), "learns from preferences"),
        ("lora", [], "has no pair"),
        ("lora", [training.Row("A text.", " \n")], "Every rewrite of the training split is empty"),
        ("seq2seq", [training.Row("A text.", "")], "Every rewrite of the training split is empty"),
        ("lora", [training.Row("A text. " * 400, "Short.")], "raise the maximum length"),
        ("dpo", [training.Row("A text.", "Same.", "Same. ")], "the same output twice"),
    ],
)
def test_a_training_split_with_nothing_to_learn_from_is_refused(method, rows, words, tmp_path):
    with pytest.raises(loading.TrainingError, match=words):
        train(method, tmp_path / "run", rows={"train": rows, "validation": []})


def test_pairs_that_cannot_be_learned_from_are_left_out_and_counted(tmp_path):
    odd = [training.Row("Long. " * 400, "Short."), training.Row("A text.", ""), training.Row("A text.", "Cut. " * 300)]
    result, told = train("lora", tmp_path / "run", rows={"train": [*rows_of()[:4], *odd], "validation": []})
    assert result.figures["training_pairs"] == 5
    assert "train: 5 pairs." in told.log
    assert "train: 1 of them cut at 256 tokens." in told.log
    assert "train: 1 left out, where the prompt alone has 256 tokens or more." in told.log
    assert "train: 1 left out, where a text to learn from is empty." in told.log


@pytest.mark.parametrize(("method", "batching"), [("qlora", "packed"), ("lora", "by-length"), ("seq2seq", "padded")])
def test_one_pair_is_enough(method, batching, tmp_path):
    result, _ = train(method, tmp_path / "run", rows={"train": rows_of()[:1], "validation": []}, batching=batching)
    assert result.figures["steps"] == 4
    assert result.figures["validation_loss"] is None


@pytest.mark.parametrize(("method", "changes"), WAYS[:2] + WAYS[3:], ids=NAMES[:2] + NAMES[3:])
def test_a_learning_rate_of_a_thousand_stops_the_run_and_says_so(method, changes, tmp_path):
    told = Told()
    with pytest.raises(loading.TrainingError, match="lower learning rate"):
        train(method, tmp_path / "run", told=told, learning_rate=1e3, schedule="constant", max_steps=40, **changes)
    assert told.steps[-1] < 10


def test_a_prefix_does_without_gradient_checkpointing_and_says_so(tmp_path):
    _, told = train("prefix", tmp_path / "run", gradient_checkpointing=True, max_steps=1, batching="padding-free")
    assert any("Prefix tuning does not work with gradient checkpointing" in line for line in told.log)
    assert any("padding-free batches are not for prefix" in line for line in told.log)


SCRIPT = """
import json, sys
from pathlib import Path
from tests.training.engine_runs import Told, parameters_for, rows_of
from training.engine import trainer
told, base, folder, changes = Told(), Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3])
resume = Path(sys.argv[4]) if len(sys.argv) > 4 else None
rows = rows_of()
p = parameters_for("lora", processes=2, **changes)
result = trainer.train(p, {"train": rows[:8], "validation": rows[10:]}, base, folder, told.reports(), resume)
if told.log:
    (folder / "told.json").write_text(json.dumps([result.figures, told.steps, len(told.metrics), len(told.samples)]))
"""


def _two_processes(tmp_path, name, resume=None, **changes):
    """Figures and reports of a training in two processes, as torchrun starts them."""
    folder = tmp_path / name
    (tmp_path / "script.py").write_text(SCRIPT)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    arguments = [base_for("lora"), folder, json.dumps(changes), *([resume] if resume else [])]
    repository = str(Path(__file__).parents[2])
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": repository}
    subprocess.run([*command, tmp_path / "script.py", *arguments], check=True, env=environment)
    return json.loads((folder / "told.json").read_text())


@pytest.mark.long
def test_two_processes_train_one_run_and_go_on_alike(tmp_path):
    how = {"batch_size": 2, "lora_dropout": 0.0}
    figures, steps, points, outputs = _two_processes(tmp_path, "both", **how)
    assert (figures["processes"], figures["steps"], steps) == (2, 4, [0, 1, 2, 3, 4])
    assert (points, outputs) == (6, 6), "told once: four steps, two evaluations, three texts at each"
    # Two texts in each of two processes are the same four texts a step as four in one.
    rows = {"train": rows_of()[:8], "validation": rows_of()[10:]}
    alone, _ = train("lora", tmp_path / "alone", rows=rows, **how | {"batch_size": 4})
    assert figures["tokens"] == alone.figures["tokens"]
    assert figures["validation_loss"] == pytest.approx(alone.figures["validation_loss"], rel=1e-4)
    found = checkpoints.last_checkpoint([_kept_until(tmp_path / "both", 2)])
    again, steps, *_ = _two_processes(tmp_path, "again", found[0], **how)
    assert steps == [2, 3, 4]
    assert (again["data_order"], again["tokens"]) == (figures["data_order"], figures["tokens"])
    expected, rest = weights_of(tmp_path / "both" / "adapter"), weights_of(tmp_path / "again" / "adapter")
    assert all(torch.equal(expected[name], rest[name]) for name in expected)
