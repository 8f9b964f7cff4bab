"""Checks of recipes and estimates: pure functions over facts and hyperparameters."""

import pytest

from training import checks, facts
from training.parameters import Hyperparameters

LLAMA_7B = facts.from_config(
    {
        "model_type": "llama", "architectures": ["LlamaForCausalLM"], "vocab_size": 32000, "hidden_size": 4096,
        "intermediate_size": 11008, "num_hidden_layers": 32, "num_attention_heads": 32,
        "max_position_embeddings": 4096, "tie_word_embeddings": False,
    }
)  # fmt: skip
GPT2 = facts.from_config(
    {"model_type": "gpt2", "vocab_size": 50257, "n_embd": 768, "n_layer": 12, "n_head": 12, "n_positions": 1024}
)
T5 = facts.from_config(
    {"model_type": "t5", "vocab_size": 32128, "d_model": 512, "d_kv": 64, "d_ff": 2048, "num_layers": 6, "num_heads": 8}
)
BERT = facts.from_config({"model_type": "bert", "hidden_size": 768})
SR_LLM = Hyperparameters(
    lora_dropout=0.2, compute_dtype="float16", batch_size=4, max_length=512, double_quantisation=False
)


def found(known, method="qlora", **changes):
    options = {
        name: changes.pop(name)
        for name in ("device", "gib", "data", "template", "remote_code_allowed")
        if name in changes
    }
    return checks.report(known, method, Hyperparameters(**changes), **options)


def errors(*args, **kwargs):
    return {one.field: one.message for one in found(*args, **kwargs).errors}


def warnings(*args, **kwargs):
    return {one.field: one.message for one in found(*args, **kwargs).warnings}


@pytest.mark.parametrize("method", ["qlora", "lora", "prefix", "dpo"])
def test_decoder_methods_refuse_an_encoder_decoder_and_take_a_decoder(method):
    assert "encoder and decoder" in errors(T5, method)["method"]
    assert not errors(LLAMA_7B, method)


def test_encoder_decoder_fine_tuning_refuses_a_decoder():
    assert "T5 or BART" in errors(LLAMA_7B, "seq2seq")["method"]
    assert not errors(T5, "seq2seq", batching="by-length")
    assert "only reads" in errors(BERT)["base_model"]
    assert "by-length" in errors(T5, "seq2seq", batching="packed")["batching"]


def test_the_maximum_length_is_held_against_the_models():
    assert errors(LLAMA_7B, max_length=4097)["max_length"].endswith("set 4096 or less.")
    assert not errors(LLAMA_7B, max_length=4096)
    assert not errors(T5, "seq2seq", max_length=100_000)  # T5 counts distances: nothing ends
    assert "994 or less" in errors(GPT2, "prefix", max_length=1000)["max_length"]
    assert not errors(GPT2, "prefix", max_length=994)


def test_layers_that_the_model_does_not_have_are_named():
    message = errors(GPT2, target_modules="c_attn, q_proj")["target_modules"]
    assert "no layer q_proj" in message and "c_attn" in message
    assert not errors(GPT2, target_modules="c_attn")
    assert not errors(GPT2, "prefix", target_modules="q_proj")  # has no effect there


def test_code_of_its_own_and_quantised_weights():
    own = facts.from_config({"model_type": "llama", "auto_map": {"AutoModel": "own.Model"}})
    assert "administrator" in errors(own)["base_model"]
    assert not errors(own, remote_code_allowed=True)
    assert (
        "quantised"
        in errors(facts.from_config({"model_type": "llama", "quantization_config": {"bits": 4}}))["base_model"]
    )


def test_an_unknown_model_is_checked_for_what_needs_no_facts():
    report = found(None, schedule="constant", warmup_ratio=0.1)
    assert not report.errors and report.memory is None and report.time is None
    assert {one.field for one in report.warnings} == {"warmup_ratio"}


def test_doubtful_settings_are_named_and_usual_ones_are_not():
    assert "1000" in warnings(LLAMA_7B, learning_rate=1e3)["learning_rate"]
    assert "DPO" in warnings(LLAMA_7B, "dpo", learning_rate=2e-4)["learning_rate"]
    assert "T5" in warnings(T5, "seq2seq", compute_dtype="float16")["compute_dtype"]
    assert not found(LLAMA_7B).findings
    cpu = warnings(LLAMA_7B, device=checks.DEVICES["cpu"], compute_dtype="bfloat16")
    assert {"optimizer", "compute_dtype"} <= cpu.keys()


def test_a_dataset_must_fit_the_method():
    pairs, preferences = checks.Data("pairs", 100, 200, 180, 400), checks.Data("preference", 100, 200, 180, 400)
    assert "preference dataset" in errors(LLAMA_7B, "dpo", data=pairs)["method"]
    assert "for DPO" in errors(LLAMA_7B, "qlora", data=preferences)["method"]
    assert not errors(LLAMA_7B, "dpo", data=preferences)
    assert "no pair" in errors(LLAMA_7B, data=checks.Data("pairs", 0))["dataset"]
    assert "more than the 100 pairs" in warnings(LLAMA_7B, data=pairs, batch_size=128)["batch_size"]
    assert "no checkpoint" in warnings(LLAMA_7B, data=pairs, save_steps=100)["save_steps"]
    assert "save_steps" not in warnings(LLAMA_7B, data=pairs, save_steps=5, eval_steps=5)


def test_too_little_memory_names_the_batch_that_fits():
    report = found(LLAMA_7B, batch_size=64, max_length=1024, device=checks.DEVICES["l4"])
    (message,) = [one.message for one in report.warnings if one.field == "batch_size"]
    size = int(message.split("Batch size ")[1].split()[0])
    assert f"gradient accumulation {64 // size} " in message
    assert found(LLAMA_7B, batch_size=size, max_length=1024).memory.gib <= 22
    assert found(LLAMA_7B, batch_size=2 * size, max_length=1024).memory.gib > 22
    assert "weights alone" in warnings(LLAMA_7B, "lora", gib=8)["batch_size"]
    assert (
        "gradient checkpointing"
        in warnings(LLAMA_7B, gib=12, max_length=4096, gradient_checkpointing=False)["batch_size"]
    )
    assert "batch_size" not in warnings(LLAMA_7B, gib=80)


def test_the_parts_of_the_memory_are_those_of_the_published_arithmetic():
    memory = checks.estimate_memory(LLAMA_7B, "qlora", SR_LLM)
    linear, rest = 32 * (4 * 4096**2 + 3 * 4096 * 11008), 2 * 32000 * 4096 + 65 * 4096
    assert LLAMA_7B.linear_weights == linear
    assert memory.parts["weights"] == int(linear * 0.5625 + rest * 4)
    rank = 64 * 32 * (4 * 2 * 4096 + 3 * (4096 + 11008))
    assert rank == 159_907_840  # what peft prints for r=64 on all linear layers of Llama-2-7B
    assert memory.parts["adapter"] == rank * 16
    assert memory.parts["logits"] == 4 * 512 * 32000 * 12
    # arXiv:2305.14314 trains 7B models on one GPU of 24 GB, and needs 5 GB for weights.
    assert 3.5 < memory.parts["weights"] / checks.GIB < 5 and memory.gib < 16


def test_each_choice_moves_the_memory_the_right_way():
    def gib(method="qlora", known=LLAMA_7B, **changes):
        return checks.estimate_memory(known, method, Hyperparameters(**changes)).gib

    assert gib() < gib("lora") and gib(double_quantisation=False) > gib()
    assert gib(gradient_checkpointing=False) > gib() > gib(batch_size=8) > gib(batch_size=8, max_length=256)
    assert gib(lora_rank=128) > gib() and gib(optimizer="paged_adamw_8bit") < gib()
    assert gib("dpo") > gib() and gib("dpo", four_bit=False) > gib("dpo")
    assert gib("prefix") == gib("prefix", gradient_checkpointing=False)  # it has none
    assert gib("prefix") < gib("lora", gradient_checkpointing=False)
    assert gib("lora", processes=4, sharding="fsdp") < gib("lora", processes=4)
    assert gib("seq2seq", T5, full_finetuning=True) > gib("seq2seq", T5)
    assert checks.estimate_memory(BERT, "qlora", Hyperparameters()) is None  # its sizes are not all known


def test_the_time_follows_from_tokens_and_speed():
    data = checks.Data("pairs", 1000, text=400, rewrite=400, longest=2000)
    p = Hyperparameters(epochs=2, batch_size=10)
    time = checks.estimate_time(LLAMA_7B, "qlora", p, data, "", (), checks.DEVICES["h100"], (500.0, "measured"))
    assert (time.steps, time.tokens, time.seconds, time.measured) == (200, 400_000, 800.0, True)
    guess = checks.estimate_time(LLAMA_7B, "qlora", p, data, "", (), checks.DEVICES["h100"])
    assert "6 × 6.74 billion operations" in guess.basis and "20% of the 990 TFLOP/s" in guess.basis
    assert guess.tokens == 400_000 and not guess.measured
    slower = checks.estimate_time(LLAMA_7B, "qlora", p, data, "", (), checks.DEVICES["t4"])
    assert slower.seconds > 10 * guess.seconds
    short = checks.estimate_time(LLAMA_7B, "qlora", Hyperparameters(max_steps=5), data, "", (), checks.DEVICES["h100"])
    assert short.steps == 5 and short.tokens == 5 * 16 * 200
    packed = checks.estimate_time(
        LLAMA_7B, "qlora", Hyperparameters(batching="packed", batch_size=10), data, "", (), checks.DEVICES["h100"]
    )
    assert packed.steps < 100 and packed.tokens == pytest.approx(200_000, rel=0.05)
    assert checks.estimate_time(None, "qlora", p, data, "", (), checks.DEVICES["h100"]) is None


@pytest.mark.parametrize(
    ("reported", "key"),
    [
        ("NVIDIA H100 80GB HBM3", "h100"), ("NVIDIA A100-SXM4-40GB", "a100-40"), ("Tesla T4", "t4"),
        ("NVIDIA A100 80GB PCIe", "a100-80"), ("NVIDIA L40S", "l40s"), ("NVIDIA L4", "l4"), ("NVIDIA A10G", "a10"),
        ("NVIDIA GeForce RTX 4090", "rtx4090"), ("CPU (x86_64, 2 threads)", "cpu"), ("TPU v9", None),
    ],
)  # fmt: skip
def test_a_device_is_known_by_what_a_worker_calls_it(reported, key):
    device = checks.device_named(reported)
    assert (device and device.key) == key
