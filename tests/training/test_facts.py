"""Facts about a base model from its config.json, against models built on the spot."""

import json

import pytest

from training import facts

SMALL = {"vocab_size": 211, "hidden_size": 48, "intermediate_size": 96, "num_hidden_layers": 3}
LLAMA = SMALL | {"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 128}
T5 = {
    "vocab_size": 211,
    "d_model": 48,
    "d_kv": 12,
    "d_ff": 96,
    "num_layers": 2,
    "num_decoder_layers": 3,
    "num_heads": 4,
}
BART = {
    "vocab_size": 211, "d_model": 48, "encoder_layers": 2, "decoder_layers": 3, "encoder_attention_heads": 4,
    "decoder_attention_heads": 4, "encoder_ffn_dim": 96, "decoder_ffn_dim": 80, "max_position_embeddings": 128,
}  # fmt: skip

MODELS = {
    "llama": ("llama", LLAMA),
    "llama with tied tables": ("llama", LLAMA | {"tie_word_embeddings": True}),
    "llama with biases": ("llama", LLAMA | {"attention_bias": True, "mlp_bias": True}),
    "mistral": ("mistral", LLAMA),
    "qwen2": ("qwen2", LLAMA),
    "qwen3": ("qwen3", LLAMA | {"head_dim": 16}),
    "gemma": ("gemma", LLAMA | {"head_dim": 16}),
    "gemma2": ("gemma2", LLAMA | {"head_dim": 16}),
    "phi3": ("phi3", LLAMA | {"pad_token_id": 0}),
    "olmo2": ("olmo2", LLAMA | {"pad_token_id": 0}),
    "gpt2": ("gpt2", {"vocab_size": 211, "n_embd": 48, "n_layer": 3, "n_head": 4, "n_positions": 128}),
    "gpt_neox": ("gpt_neox", SMALL | {"num_attention_heads": 4, "max_position_embeddings": 128}),
    "opt": ("opt", {"vocab_size": 211, "hidden_size": 48, "num_hidden_layers": 3, "ffn_dim": 96,
                    "num_attention_heads": 4, "max_position_embeddings": 128, "word_embed_proj_dim": 24}),
    "t5": ("t5", T5),
    "t5 v1.1": ("t5", T5 | {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}),
    "bart": ("bart", BART),
    "mbart": ("mbart", BART),
}  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_the_number_of_weights_and_the_linear_layers_are_those_of_the_real_model(name, tmp_path):
    import torch
    import transformers

    model_type, values = MODELS[name]
    config = transformers.AutoConfig.for_model(model_type, **values)
    kind = transformers.AutoModelForSeq2SeqLM if config.is_encoder_decoder else transformers.AutoModelForCausalLM
    with torch.device("meta"):
        model = kind.from_config(config)
    config.architectures = [type(model).__name__]
    config.save_pretrained(tmp_path)  # read what a model folder really holds
    found = facts.from_config(facts.kept(json.loads((tmp_path / "config.json").read_text())))
    assert found.weights == sum(weight.numel() for weight in model.parameters())
    assert found.exact
    assert found.kind == (facts.SEQ2SEQ if config.is_encoder_decoder else facts.CAUSAL)
    real: dict[str, list] = {}
    for path, module in model.named_modules():
        if isinstance(module, torch.nn.Linear):
            shape = (module.in_features, module.out_features)
        elif type(module).__name__ == "Conv1D":
            shape = tuple(module.weight.shape)
        else:
            continue
        if path != "lm_head":
            real.setdefault(path.rsplit(".", 1)[-1], []).append(shape)
    listed = {
        layer: sorted((inputs, outputs) for count, inputs, outputs in shapes for _ in range(count))
        for layer, shapes in found.linears.items()
    }
    assert listed == {layer: sorted(shapes) for layer, shapes in real.items()}


def test_llama_2_7b_has_as_many_weights_as_its_authors_say():
    config = {
        "model_type": "llama", "vocab_size": 32000, "hidden_size": 4096, "intermediate_size": 11008,
        "num_hidden_layers": 32, "num_attention_heads": 32, "max_position_embeddings": 4096,
        "tie_word_embeddings": False,
    }  # fmt: skip
    assert facts.from_config(config).weights == 6_738_415_616


def test_a_family_without_a_layout_gets_a_rule_of_thumb_and_says_so():
    found = facts.from_config({"model_type": "newcomer", "architectures": ["NewForCausalLM"], **SMALL})
    assert (found.kind, found.exact, found.weights) == (facts.CAUSAL, False, 12 * 3 * 48**2 + 211 * 48)
    counted = facts.from_config({"model_type": "newcomer", **SMALL}, weights=999)
    assert (counted.weights, counted.exact, counted.kind) == (999, True, None)


@pytest.mark.parametrize(
    "config",
    [{}, {"model_type": "llama"}, {"model_type": 7, "architectures": "x"}, {"model_type": "t5", "d_model": "wide"},
     {"model_type": "gpt2", "n_embd": 0, "n_head": 0}, {"text_config": {"hidden_size": True}}],
)  # fmt: skip
def test_a_config_that_says_too_little_or_nonsense_leaves_gaps_not_errors(config):
    found = facts.from_config(facts.kept(config))
    assert found.weights is None and not found.exact


def test_an_encoder_is_known_as_one_and_code_of_its_own_and_quantised_weights_are_seen():
    assert facts.from_config({"model_type": "bert"}).kind == facts.ENCODER
    config = facts.kept({"model_type": "llama", "auto_map": {"AutoModel": "x.Y"}, "quantization_config": {"bits": 4}})
    found = facts.from_config(config)
    assert found.remote_code and found.quantised
