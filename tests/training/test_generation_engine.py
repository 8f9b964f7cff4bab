"""The generation engine with real tiny models: batches, determinism, sampling, weights, what vLLM is asked."""

import sys
import types
from pathlib import Path

import pytest
from django.test import override_settings

from training import base_models
from training.engine import generation
from training.engine.generation import GenerationSpec, Prompt

TEXTS = ["They are lazy.", "هؤلاء كسالى 🙃", "x " * 300, "One.", "<b>All</b> of them lie & cheat.", "Two words"] * 3


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    with override_settings(ARTIFACT_ROOT=tmp_path_factory.mktemp("base")):
        return base_models.scratch([*TEXTS, "Some of them rest a lot, and that is fine."]).folder


@pytest.fixture(scope="module")
def adapter(base, tmp_path_factory) -> Path:
    """A low-rank adapter that changes what is said."""
    import peft
    import torch

    from training.engine import loading

    folder = tmp_path_factory.mktemp("adapter")
    torch.manual_seed(1)
    model = loading.load_trained(base, None, dtype=torch.float32)
    config = peft.LoraConfig(
        r=4, lora_alpha=8, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM"
    )
    peft.get_peft_model(model, config).save_pretrained(folder)
    loading.load_tokenizer(base).save_pretrained(folder)
    return folder


def outputs(spec, texts=TEXTS):
    made = [one for batch in generation.generate(spec, texts) for one in batch]
    assert sorted(one.index for one in made) == list(range(len(texts)))
    return [one.text for one in sorted(made, key=lambda one: one.index)]


def spec(base, **values):
    return GenerationSpec(base_folder=base, **({"max_new_tokens": 8} | values))


def prompt(index, length):
    return Prompt(index, "", [0] * length)


def test_batches_hold_prompts_of_like_length_within_the_tokens_and_rows_allowed():
    prompts = [prompt(i, length) for i, length in enumerate([5, 100, 7, 90, 6, 500])]
    groups = generation.grouped(prompts, rows=3, tokens=250, max_new_tokens=10)
    assert [[one.index for one in group] for group in groups] == [[5], [1, 3], [2, 4, 0]]
    assert [len(group) for group in generation.grouped(prompts, rows=1, tokens=10**6, max_new_tokens=1)] == [1] * 6


def test_outputs_are_the_same_one_by_one_and_in_batches(base, adapter):
    alone = outputs(spec(base, adapter=adapter, batch_size=1))
    assert outputs(spec(base, adapter=adapter)) == alone
    assert outputs(spec(base, adapter=adapter, batch_tokens=900, window=5)) == alone
    assert outputs(spec(base)) != alone, "the adapter changes what is said"
    assert outputs(spec(base, adapter=adapter, examples=[["Bad.", "Good."]])) != alone, "so do examples"


def test_a_folded_adapter_says_what_one_beside_the_weights_says(base, adapter):
    model = generation.load(spec(base, adapter=adapter, weights="merged"))
    assert not any("lora" in name for name, _ in model.model.named_parameters())
    merged = [one for batch in model.generate(TEXTS) for one in batch]
    beside = outputs(spec(base, adapter=adapter))
    same = sum(one.text == beside[one.index] for one in merged)
    assert same >= len(TEXTS) - 1, "rounding may tip one"


def test_four_bit_weights_are_decoded_where_memory_allows_and_say_the_same(base, adapter, monkeypatch):
    import bitsandbytes

    def decoded(model):
        return not any(isinstance(module, bitsandbytes.nn.Linear4bit) for module in model.model.modules())

    roomy = generation.load(spec(base, adapter=adapter))
    monkeypatch.setattr(generation, "_free_memory", lambda: 100_000)
    tight = generation.load(spec(base, adapter=adapter, weights="merged"))
    assert decoded(roomy) and not decoded(tight)
    assert tight.batch_tokens < roomy.batch_tokens
    said = [[one.text for batch in model.generate(TEXTS[:6]) for one in batch] for model in (roomy, tight)]
    assert set(said[0]) == set(said[1])


def test_a_sampled_output_hangs_on_seed_and_text_alone(base):
    warm = {"temperature": 1.0, "top_p": 0.95}
    first = outputs(spec(base, **warm, seed=1))
    assert outputs(spec(base, **warm, seed=1, batch_size=2, window=3)) == first
    assert outputs(spec(base, **warm, seed=1), TEXTS[::-1]) == first[::-1]
    assert first[: len(TEXTS) // 3] == first[len(TEXTS) // 3 : 2 * len(TEXTS) // 3], "equal texts, equal outputs"
    assert outputs(spec(base, **warm, seed=2)) != first
    assert outputs(spec(base)) != first


def test_noise_draws_from_the_distribution_of_the_scores():
    import torch

    logits = torch.log(torch.tensor([[0.7, 0.2, 0.1]])).repeat(4_000, 1)
    drawn = generation._drawing(list(range(4_000)))(None, logits).argmax(dim=1)
    shares = torch.bincount(drawn, minlength=3) / 4_000
    assert torch.allclose(shares, torch.tensor([0.7, 0.2, 0.1]), atol=0.03)


def test_texts_are_taken_a_window_at_a_time(base):
    taken = []

    def lazily():
        for text in TEXTS:
            taken.append(text)
            yield text

    batches = generation.generate(spec(base, window=4, batch_size=2), lazily())
    next(batches)
    assert len(taken) == 4


def test_a_row_ends_for_itself_and_long_prompts_lose_their_beginning(base):
    model = generation.load(spec(base, max_length=40))
    made = {one.index: one for batch in model.generate(["One.", "x " * 300]) for one in batch}
    assert [made[0].prompt_cut, made[1].prompt_cut] == [True, True]  # the instruction alone is longer
    assert made[1].prompt_tokens == 40
    end, other = max(model.ends), min(set(range(300, 310)) - model.ends)
    ended = model._made(prompt(0, 3), [other, end, end, end], 0.1)
    assert (ended.tokens, ended.cut_off) == (2, False)
    assert model._made(prompt(0, 3), [other] * 8, 0.1).cut_off


def test_outputs_that_leave_no_room_for_a_text_are_refused(base):
    from training.engine.loading import TrainingError

    with pytest.raises(TrainingError, match="leave no room"):
        generation.load(spec(base, max_new_tokens=2_040))


def test_a_batch_that_does_not_fit_is_halved(base, monkeypatch):
    import torch

    model = generation.load(spec(base))
    expected = {one.index: one.text for batch in model.generate(TEXTS) for one in batch}
    real, sizes = model._batch, []

    def cramped(batch, tick):
        sizes.append(len(batch))
        if len(batch) > 4:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(batch, tick)

    monkeypatch.setattr(model, "_batch", cramped)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    assert {one.index: one.text for batch in model.generate(TEXTS) for one in batch} == expected
    assert max(sizes) > 4 and sizes[-1] <= 4
    monkeypatch.setattr(model, "_batch", lambda batch, tick: (_ for _ in ()).throw(torch.OutOfMemoryError("no")))
    with pytest.raises(torch.OutOfMemoryError):
        list(model.generate(TEXTS[:1]))


def test_what_tick_raises_stops_within_a_token(base):
    calls = 0

    def tick():
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt

    model = generation.load(spec(base, max_new_tokens=200))
    with pytest.raises(KeyboardInterrupt):
        list(model.generate(TEXTS, tick))
    assert calls == 3


@pytest.mark.parametrize("kind", ["t5", "bart"])
def test_encoder_decoders_generate_without_a_prompt_to_cut(base, tmp_path, kind):
    import torch
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(base)
    tokenizer.save_pretrained(tmp_path)
    ends = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    torch.manual_seed(0)
    if kind == "t5":
        config = transformers.T5Config(
            vocab_size=len(tokenizer), d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4,
            decoder_start_token_id=tokenizer.pad_token_id, **ends,
        )  # fmt: skip
        model = transformers.T5ForConditionalGeneration(config)
    else:
        config = transformers.BartConfig(
            vocab_size=len(tokenizer), d_model=32, encoder_layers=2, decoder_layers=2, encoder_ffn_dim=64,
            decoder_ffn_dim=64, encoder_attention_heads=4, decoder_attention_heads=4, max_position_embeddings=256,
            decoder_start_token_id=tokenizer.eos_token_id, bos_token_id=tokenizer.eos_token_id,
            forced_eos_token_id=None, **ends,
        )  # fmt: skip
        model = transformers.BartForConditionalGeneration(config)
    model.save_pretrained(tmp_path)
    alone = outputs(spec(tmp_path, four_bit=False, batch_size=1))
    assert outputs(spec(tmp_path, four_bit=False)) == alone
    assert any(alone)


# vLLM, which is not installed here: what it is asked


class FakeLLM:
    made: list = []

    def __init__(self, **options):
        self.options, self.asked = options, []
        FakeLLM.made.append(self)

    def generate(self, prompts, params, lora_request=None, use_tqdm=True):
        self.asked.append((prompts, params, lora_request))
        answer = types.SimpleNamespace(text=" made ", token_ids=[1, 2], finish_reason="stop")
        return [types.SimpleNamespace(outputs=[answer]) for _ in prompts]


@pytest.fixture
def vllm(monkeypatch):
    fake = types.ModuleType("vllm")
    fake.__spec__ = types.SimpleNamespace(name="vllm")
    fake.LLM, fake.SamplingParams = FakeLLM, lambda **values: values
    request = types.ModuleType("vllm.lora.request")
    request.LoRARequest = lambda *values: values
    modules = {"vllm": fake, "vllm.lora": types.ModuleType("vllm.lora"), "vllm.lora.request": request}
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    FakeLLM.made = []
    return FakeLLM


def test_vllm_is_asked_with_our_prompts_and_the_adapter(base, adapter, vllm):
    values = {"adapter": adapter, "engine": "vllm", "temperature": 0.7, "top_p": 0.9, "seed": 5}
    made = [one for batch in generation.generate(spec(base, **values), TEXTS[:2]) for one in batch]
    assert [(one.index, one.text, one.tokens, one.cut_off) for one in made] == [
        (0, "made", 2, False),
        (1, "made", 2, False),
    ]
    (llm,) = vllm.made
    assert llm.options["model"] == str(base) and llm.options["tokenizer"] == str(adapter)
    assert llm.options["quantization"] == "bitsandbytes"
    assert (llm.options["enable_lora"], llm.options["max_lora_rank"]) == (True, 8)
    assert llm.options["trust_remote_code"] is False
    ((prompts, params, lora),) = llm.asked
    ours = generation.Prompts(spec(base, adapter=adapter), generation.load(spec(base)).model.config, adapter)
    assert [one["prompt_token_ids"] for one in prompts] == [one.ids for one in ours(TEXTS[:2], 0)]
    assert params[0] == {
        "temperature": 0.7, "top_p": 0.9, "max_tokens": 8, "seed": generation.seed_of(5, TEXTS[0])
    }  # fmt: skip
    assert lora == ("run", 1, str(adapter))


def test_without_vllm_a_system_that_asks_for_it_is_served_by_transformers(base, caplog):
    expected = outputs(spec(base), TEXTS[:3])
    assert outputs(spec(base, engine="vllm"), TEXTS[:3]) == expected
    assert "vllm is not installed" in caplog.text


def test_vllm_is_not_asked_for_what_it_cannot_serve(base, adapter, vllm, tmp_path):
    import json

    from training.engine.loading import TrainingError

    settings = json.loads((adapter / "adapter_config.json").read_text())
    (tmp_path / "adapter_config.json").write_text(json.dumps(settings | {"peft_type": "PREFIX_TUNING"}))
    with pytest.raises(TrainingError, match="low-rank adapters and whole models only"):
        generation.load(spec(base, adapter=tmp_path, engine="vllm"))
    assert vllm.made == []
