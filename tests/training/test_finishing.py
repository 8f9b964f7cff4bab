"""The end of a run: what was saved loads and generates, and the merged model is base and adapter."""

import json
import shutil

import peft
import pytest
import torch
import transformers
from safetensors.torch import load_file

from training import base_models
from training.engine import finishing, loading
from training.parameters import PRESETS, RunParameters
from training.prompts import DEFAULT_TEMPLATE

PROMPT = "Rewrite: they are all lazy. 🙃"


@pytest.fixture
def base(settings, tmp_path):
    settings.ARTIFACT_ROOT = tmp_path
    return base_models.scratch([DEFAULT_TEMPLATE, "They are all lazy.", "هؤلاء كسالى"]).folder


@pytest.fixture
def t5(base, tmp_path):
    """An encoder-decoder with the scratch model's tokenizer."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(base)
    config = transformers.T5Config(
        vocab_size=len(tokenizer), d_model=32, d_ff=64, d_kv=8, num_layers=1, num_heads=2,
        decoder_start_token_id=tokenizer.pad_token_id, pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )  # fmt: skip
    folder = tmp_path / "t5"
    torch.manual_seed(0)
    transformers.T5ForConditionalGeneration(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def parameters(method="lora", **changes):
    values = PRESETS["cpu-demo"].parameters.to_json() | changes
    return RunParameters(
        **values, method=method, base_model="b", base_revision="r", is_scratch=True,
        prompt_template=DEFAULT_TEMPLATE, dataset_hash="h", seed=1,
    )  # fmt: skip


def adapter(base, folder, strength=0.05, config=None):
    """An adapter that changes something, as a training would leave it."""
    model = loading.load_model(base, dtype=torch.float32, four_bit=False)
    seq2seq = model.config.is_encoder_decoder
    task = "SEQ_2_SEQ_LM" if seq2seq else "CAUSAL_LM"
    config = config or peft.LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", task_type=task)
    model = peft.get_peft_model(model, config)
    torch.manual_seed(1)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            weight.data.normal_(0, strength)
    model.save_pretrained(folder)
    loading.load_tokenizer(base).save_pretrained(folder)
    return folder


def merge(adapter, base, target):
    log = []
    return finishing.merge(adapter, base, target, PROMPT, log.append, max_length=256), log


@pytest.mark.parametrize("method", ["lora", "qlora"])
def test_a_saved_adapter_loads_and_generates(base, tmp_path, method):
    found = finishing.check(adapter(base, tmp_path / "adapter"), base, PROMPT, parameters(method))
    assert (found.ok, found.error) == (True, "")
    assert found.seconds > 0
    again = finishing.check(tmp_path / "adapter", base, PROMPT, parameters(method))
    assert again.output == found.output


def test_a_prefix_and_a_whole_encoder_decoder_load_and_generate(base, t5, tmp_path):
    config = peft.PrefixTuningConfig(num_virtual_tokens=4, task_type="CAUSAL_LM")
    prefix = adapter(base, tmp_path / "prefix", config=config)
    assert finishing.check(prefix, base, PROMPT, parameters("prefix")).ok
    assert finishing.check(t5, t5, PROMPT, parameters("seq2seq", full_finetuning=True)).ok


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (lambda folder: (folder / "adapter_model.safetensors").write_bytes(b"cut"), "header too small"),
        (lambda folder: (folder / "adapter_model.safetensors").unlink(), ""),
        (lambda folder: (folder / "tokenizer.json").unlink(), "tokenizer"),
        (lambda folder: (folder / "adapter_config.json").unlink(), "neither an adapter nor a model"),
    ],
)
def test_a_damaged_adapter_fails_the_check_in_words(base, tmp_path, harm, words):
    folder = adapter(base, tmp_path / "adapter")
    harm(folder)
    found = finishing.check(folder, base, PROMPT, parameters())
    assert not found.ok
    assert words in found.error and found.error


def test_an_adapter_of_no_numbers_fails_the_check(base, tmp_path):
    folder = adapter(base, tmp_path / "adapter", strength=float("inf"))
    assert "no numbers" in finishing.check(folder, base, PROMPT, parameters()).error


def test_the_merged_model_is_stored_in_16_bit_and_answers_as_base_and_adapter(base, tmp_path):
    found, _ = merge(adapter(base, tmp_path / "adapter"), base, tmp_path / "merged")
    assert (found.ok, found.error, found.dtype) == (True, "", "bfloat16")
    assert found.max_difference < finishing.TOLERANCE
    assert found.adapter_share == pytest.approx(1, abs=0.1)
    weights = load_file(tmp_path / "merged" / "model.safetensors")
    assert {weight.dtype for weight in weights.values()} == {torch.bfloat16}
    assert not any("lora" in name or "quant" in name for name in weights)
    config = json.loads((tmp_path / "merged" / "config.json").read_text())
    assert "quantization_config" not in config
    # as a user loads it, without peft
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "merged", dtype="auto")
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "merged")
    assert model.dtype == torch.bfloat16
    assert model.generate(**tokenizer(PROMPT, return_tensors="pt"), max_new_tokens=4).shape[1] > 4
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".merged")] == []


def test_the_merge_starts_from_the_unquantised_base(base, tmp_path):
    """Its weights are the base's own plus the adapter, rounded once to 16 bit."""
    folder = adapter(base, tmp_path / "adapter")
    merge(folder, base, tmp_path / "merged")
    name = "model.layers.0.self_attn.q_proj.weight"
    own = load_file(base / "model.safetensors")[name]
    parts = load_file(folder / "adapter_model.safetensors")
    path = "base_model.model.model.layers.0.self_attn.q_proj"
    change = 8 / 4 * parts[f"{path}.lora_B.weight"] @ parts[f"{path}.lora_A.weight"]
    found = load_file(tmp_path / "merged" / "model.safetensors")[name]
    assert torch.equal(found, (own + change).to(torch.bfloat16))


def test_an_encoder_decoder_with_an_adapter_is_merged_too(t5, tmp_path):
    found, _ = merge(adapter(t5, tmp_path / "adapter"), t5, tmp_path / "merged")
    assert (found.ok, found.error) == (True, "")
    transformers.AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "merged")


def test_a_merge_that_left_the_adapter_out_is_noticed_even_where_the_adapter_changes_little(
    base, tmp_path, monkeypatch
):
    folder = adapter(base, tmp_path / "adapter", strength=0.001)
    right, _ = merge(folder, base, tmp_path / "right")
    assert right.ok
    monkeypatch.setattr(peft.tuners.lora.LoraModel, "merge_and_unload", lambda self, **options: self.unload())
    wrong, _ = merge(folder, base, tmp_path / "wrong")
    assert not wrong.ok
    assert wrong.max_difference < finishing.TOLERANCE, "too small a change for the tolerance alone"
    assert wrong.adapter_share == pytest.approx(0, abs=0.5)
    assert "of what the adapter changes" in wrong.error
    assert not (tmp_path / "wrong").exists()


def test_a_merge_of_weights_that_are_no_numbers_leaves_nothing(base, tmp_path):
    found, _ = merge(adapter(base, tmp_path / "adapter", strength=float("inf")), base, tmp_path / "merged")
    assert not found.ok and found.error
    assert not (tmp_path / "merged").exists()


def test_a_base_in_float16_stays_in_float16(base, tmp_path):
    half = shutil.copytree(base, tmp_path / "half")
    transformers.AutoModelForCausalLM.from_pretrained(base, dtype=torch.float16).save_pretrained(half)
    found, _ = merge(adapter(half, tmp_path / "adapter"), half, tmp_path / "merged")
    assert (found.ok, found.dtype) == (True, "float16")


def test_logits_are_compared_by_size_and_by_direction():
    expected, bare = torch.tensor([[1.0, 2.0]]), torch.tensor([[1.0, 1.0]])
    same = finishing.compared(expected, bare, expected, "p", "o", 1.0, "bfloat16")
    assert (same.ok, same.max_difference, same.adapter_share) == (True, 0.0, 1.0)
    far = finishing.compared(expected, bare, torch.tensor([[1.0, 2.2]]), "p", "o", 1.0, "bfloat16")
    assert (far.ok, far.max_difference) == (False, pytest.approx(0.1))
    none = finishing.compared(bare, bare, bare, "p", "o", 1.0, "bfloat16")
    assert (none.ok, none.adapter_share) == (True, None), "nothing to see of an adapter that changes nothing"
    broken = finishing.compared(expected, bare, expected * float("nan"), "p", "o", 1.0, "bfloat16")
    assert (broken.ok, broken.max_difference) == (False, None)
