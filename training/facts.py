"""What a base model's config.json says about it: kind, sizes, number of weights, linear layers. Knows nothing of Django
or torch, so that the web server can check a recipe without loading anything.
"""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

CAUSAL, SEQ2SEQ, ENCODER = "causal", "seq2seq", "encoder"

LLAMA_LIKE = {
    "llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3_text", "phi3", "granite", "olmo", "olmo2",
    "smollm3", "mixtral",
}  # fmt: skip
T5_LIKE = {"t5", "mt5", "umt5", "longt5"}
BART_LIKE = {"bart", "mbart", "pegasus", "blenderbot", "blenderbot-small", "m2m_100"}
ENCODERS = {
    "bert", "roberta", "xlm-roberta", "distilbert", "albert", "deberta", "deberta-v2", "electra", "modernbert",
    "camembert",
}  # fmt: skip
OTHER_CAUSAL = {"gpt2", "gpt_neox", "opt", "falcon", "bloom", "phi", "gpt_neo", "gptj", "stablelm", "cohere", "gpt_oss"}

# The keys that `from_config` reads: all of a config.json that is worth keeping.
KEYS = (
    "model_type", "architectures", "is_encoder_decoder", "hidden_size", "d_model", "n_embd", "word_embed_proj_dim",
    "num_hidden_layers", "num_layers", "n_layer", "num_decoder_layers", "encoder_layers", "decoder_layers",
    "num_attention_heads", "num_heads", "n_head", "encoder_attention_heads", "decoder_attention_heads",
    "num_key_value_heads", "head_dim", "d_kv", "intermediate_size", "d_ff", "n_inner", "ffn_dim", "encoder_ffn_dim",
    "decoder_ffn_dim", "vocab_size", "max_position_embeddings", "n_positions", "tie_word_embeddings",
    "attention_bias", "attention_out_bias", "mlp_bias", "use_qkv_bias", "num_local_experts", "feed_forward_proj",
    "relative_attention_num_buckets", "scale_embedding", "static_position_embeddings", "text_config",
    "do_layer_norm_before",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class ModelFacts:
    """A base model's sizes.

    `weights` counts every weight, None where the family is not known; `exact` says that it comes from the family's
    layout or from the files, not from a rule of thumb. `linears` maps the name of a linear layer to its
    [count, inputs, outputs]; the output layer is not among them. `max_positions` is None where nothing limits the
    length (T5 counts distances instead).
    """

    model_type: str
    kind: str | None  # CAUSAL, SEQ2SEQ, ENCODER, or None: not known
    hidden: int | None = None
    layers: int | None = None  # of the decoder
    encoder_layers: int = 0
    heads: int | None = None
    kv_heads: int | None = None
    head_dim: int | None = None
    intermediate: int | None = None
    gated: bool = False
    vocab: int | None = None
    max_positions: int | None = None
    learned_positions: bool = False
    tied: bool = True
    weights: int | None = None
    exact: bool = False
    linears: dict[str, list[list[int]]] = field(default_factory=dict)
    remote_code: bool = False
    quantised: bool = False
    chat_template: bool | None = None

    @property
    def linear_weights(self) -> int:
        """Weights in the linear layers inside the blocks: those that a 4-bit base model holds in 4 bit."""
        return sum(count * inputs * outputs for shapes in self.linears.values() for count, inputs, outputs in shapes)


def kept(config: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a config.json that is stored: what `from_config` reads, and nothing long."""
    part = {key: config[key] for key in KEYS if key in config and key != "text_config"}
    if isinstance(config.get("text_config"), dict):
        part["text_config"] = kept(config["text_config"])
    return part | {key: True for key in ("auto_map", "quantization_config") if config.get(key)}


def from_config(
    config: Mapping[str, Any], *, weights: int | None = None, chat_template: bool | None = None
) -> ModelFacts:
    """Read a config.json. Never raises: what it does not say is None.

    Args:
        weights: their number as the model's files say it, where that is known.
    """
    if isinstance(text := config.get("text_config"), dict) and "hidden_size" not in config:
        config = {**config, **{key: value for key, value in text.items() if key != "architectures"}}
    model_type = str(config.get("model_type", ""))[:60]
    get = _Numbers(config)
    common: dict[str, Any] = {
        "model_type": model_type,
        "kind": _kind(model_type, config),
        "vocab": get("vocab_size"),
        "tied": config.get("tie_word_embeddings") is not False,
        "remote_code": bool(config.get("auto_map")),
        "quantised": bool(config.get("quantization_config")),
        "chat_template": chat_template,
    }
    read = _READERS.get(model_type)
    facts = None
    with contextlib.suppress(TypeError, ZeroDivisionError):  # a size is missing, so the layout cannot be followed
        facts = read(get, common) if read else _general(get, common)
    if facts is None:
        facts = ModelFacts(**common)
    if weights:
        facts = ModelFacts(**{**vars(facts), "weights": weights, "exact": True})
    return facts


class _Numbers:
    """A config's sizes by any of their names; 0 and texts count as not said."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.config = config

    def __call__(self, *names: str) -> Any:
        for name in names:
            value = self.config.get(name)
            if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 10**12:
                return value
        return None

    def yes(self, name: str, default: bool = False) -> bool:
        value = self.config.get(name)
        return value if isinstance(value, bool) else default


def _kind(model_type: str, config: Mapping[str, Any]) -> str | None:
    architectures = config.get("architectures")
    names = [name for name in architectures if isinstance(name, str)] if isinstance(architectures, list) else []
    if config.get("is_encoder_decoder") is True or model_type in T5_LIKE | BART_LIKE:
        return SEQ2SEQ
    if model_type in LLAMA_LIKE | OTHER_CAUSAL or any(n.endswith(("ForCausalLM", "LMHeadModel")) for n in names):
        return CAUSAL
    return ENCODER if model_type in ENCODERS else None


def _llama(get: _Numbers, common: dict[str, Any]) -> ModelFacts:
    """Llama, Mistral, Qwen, Gemma, Phi-3 and their kin: grouped-query attention, gated feed-forward, RMS norms."""
    kind = common["model_type"]
    hidden, layers, heads = get("hidden_size"), get("num_hidden_layers"), get("num_attention_heads")
    inner, vocab = get("intermediate_size"), common["vocab"]
    kv_heads = get("num_key_value_heads") or heads
    head_dim = get("head_dim") or (256 if kind.startswith("gemma") else hidden // heads)
    queries, keys = heads * head_dim, kv_heads * head_dim
    experts = get("num_local_experts") or 1 if kind == "mixtral" else 1
    if kind == "phi3":
        attention = {"qkv_proj": [[layers, hidden, queries + 2 * keys]], "o_proj": [[layers, queries, hidden]]}
        feed = {"gate_up_proj": [[layers, hidden, 2 * inner]], "down_proj": [[layers, inner, hidden]]}
    else:
        attention = {
            "q_proj": [[layers, hidden, queries]],
            "k_proj": [[layers, hidden, keys]],
            "v_proj": [[layers, hidden, keys]],
            "o_proj": [[layers, queries, hidden]],
        }
        feed = {
            "gate_proj": [[layers * experts, hidden, inner]],
            "up_proj": [[layers * experts, hidden, inner]],
            "down_proj": [[layers * experts, inner, hidden]],
        }
    linears = attention | feed
    norms = {"gemma2": 4 * hidden, "gemma3_text": 4 * hidden + 2 * head_dim, "olmo": 0}.get(kind, 2 * hidden)
    if kind == "qwen3":
        norms += 2 * head_dim
    elif kind == "olmo2":
        norms += queries + keys
    biases = 0
    if kind == "qwen2" or get.yes("attention_bias"):
        biases += queries + 2 * keys
    if kind != "qwen2" and get.yes("attention_bias"):
        biases += hidden
    if get.yes("mlp_bias"):
        biases += 2 * inner + hidden
    router = hidden * experts if experts > 1 else 0
    facts = ModelFacts(
        **common, hidden=hidden, layers=layers, heads=heads, kv_heads=kv_heads, head_dim=head_dim,
        intermediate=inner, gated=True, max_positions=get("max_position_embeddings"), linears=linears,
    )  # fmt: skip
    tables = vocab * hidden * (1 if facts.tied else 2)
    last_norm = 0 if kind == "olmo" else hidden
    weights = facts.linear_weights + layers * (norms + biases + router) + last_norm + tables
    return ModelFacts(**{**vars(facts), "weights": weights, "exact": True})


def _gpt2(get: _Numbers, common: dict[str, Any]) -> ModelFacts:
    hidden, layers, heads = get("n_embd", "hidden_size"), get("n_layer", "num_hidden_layers"), get("n_head")
    inner, positions = get("n_inner") or 4 * hidden, get("n_positions", "max_position_embeddings")
    linears = {
        "c_attn": [[layers, hidden, 3 * hidden]],
        "c_proj": [[layers, hidden, hidden], [layers, inner, hidden]],
        "c_fc": [[layers, hidden, inner]],
    }
    facts = ModelFacts(
        **common, hidden=hidden, layers=layers, heads=heads, kv_heads=heads, head_dim=hidden // heads,
        intermediate=inner, max_positions=positions, learned_positions=True, linears=linears,
    )  # fmt: skip
    others = layers * (3 * hidden + hidden + inner + hidden + 4 * hidden) + 2 * hidden + positions * hidden
    tables = facts.vocab * hidden * (1 if facts.tied else 2)
    return ModelFacts(**{**vars(facts), "weights": facts.linear_weights + others + tables, "exact": True})


def _neox(get: _Numbers, common: dict[str, Any]) -> ModelFacts:
    """GPT-NeoX and Pythia."""
    hidden, layers, heads = get("hidden_size"), get("num_hidden_layers"), get("num_attention_heads")
    inner = get("intermediate_size")
    linears = {
        "query_key_value": [[layers, hidden, 3 * hidden]],
        "dense": [[layers, hidden, hidden]],
        "dense_h_to_4h": [[layers, hidden, inner]],
        "dense_4h_to_h": [[layers, inner, hidden]],
    }
    facts = ModelFacts(
        **common, hidden=hidden, layers=layers, heads=heads, kv_heads=heads, head_dim=hidden // heads,
        intermediate=inner, max_positions=get("max_position_embeddings"), linears=linears,
    )  # fmt: skip
    attention_bias = 4 * hidden if get.yes("attention_bias", True) else 0
    others = layers * (attention_bias + inner + hidden + 4 * hidden) + 2 * hidden
    tables = facts.vocab * hidden * (1 if facts.tied else 2)
    return ModelFacts(**{**vars(facts), "weights": facts.linear_weights + others + tables, "exact": True})


def _opt(get: _Numbers, common: dict[str, Any]) -> ModelFacts:
    hidden, layers, heads = get("hidden_size"), get("num_hidden_layers"), get("num_attention_heads")
    inner, positions = get("ffn_dim"), get("max_position_embeddings")
    width = get("word_embed_proj_dim") or hidden
    linears = {name: [[layers, hidden, hidden]] for name in ("q_proj", "k_proj", "v_proj", "out_proj")}
    linears |= {"fc1": [[layers, hidden, inner]], "fc2": [[layers, inner, hidden]]}
    if width != hidden:
        linears |= {"project_in": [[1, width, hidden]], "project_out": [[1, hidden, width]]}
    facts = ModelFacts(
        **common, hidden=hidden, layers=layers, heads=heads, kv_heads=heads, head_dim=hidden // heads,
        intermediate=inner, max_positions=positions, learned_positions=True, linears=linears,
    )  # fmt: skip
    last = 2 * hidden if get.yes("do_layer_norm_before", True) else 0
    others = layers * (4 * hidden + inner + hidden + 4 * hidden) + last + (positions + 2) * hidden
    tables = facts.vocab * width * (1 if facts.tied else 2)
    return ModelFacts(**{**vars(facts), "weights": facts.linear_weights + others + tables, "exact": True})


def _t5(get: _Numbers, common: dict[str, Any]) -> ModelFacts:
    hidden, encoder, heads = get("d_model", "hidden_size"), get("num_layers", "num_hidden_layers"), get("num_heads")
    decoder, inner, width = get("num_decoder_layers") or encoder, get("d_ff"), get("d_kv") or hidden // heads
    both, attention = encoder + decoder, heads * width
    gated = "gated" in str(get.config.get("feed_forward_proj", ""))
    feeds = ("wi_0", "wi_1") if gated else ("wi",)
    blocks = encoder + 2 * decoder  # attentions: the decoder has one of its own and one over the encoder
    linears = {name: [[blocks, hidden, attention]] for name in ("q", "k", "v")}
    linears |= {"o": [[blocks, attention, hidden]]} | {name: [[both, hidden, inner]] for name in feeds}
    linears |= {"wo": [[both, inner, hidden]]}
    facts = ModelFacts(
        **common, hidden=hidden, layers=decoder, encoder_layers=encoder, heads=heads, kv_heads=heads, head_dim=width,
        intermediate=inner, gated=gated, linears=linears,
    )  # fmt: skip
    buckets = (get("relative_attention_num_buckets") or 32) * heads
    positions = buckets * (both if common["model_type"] == "umt5" else 2)
    norms = hidden * (2 * encoder + 3 * decoder + 2)
    tables = facts.vocab * hidden * (1 if facts.tied else 2)
    weights = facts.linear_weights + norms + positions + tables
    return ModelFacts(**{**vars(facts), "weights": weights, "exact": common["model_type"] != "longt5"})


def _bart(get: _Numbers, common: dict[str, Any]) -> ModelFacts:
    hidden, encoder, decoder = get("d_model"), get("encoder_layers"), get("decoder_layers")
    heads, positions = get("decoder_attention_heads"), get("max_position_embeddings")
    first, second = get("encoder_ffn_dim"), get("decoder_ffn_dim")
    blocks = encoder + 2 * decoder
    linears = {name: [[blocks, hidden, hidden]] for name in ("q_proj", "k_proj", "v_proj", "out_proj")}
    linears |= {
        "fc1": [[encoder, hidden, first], [decoder, hidden, second]],
        "fc2": [[encoder, first, hidden], [decoder, second, hidden]],
    }
    kind = common["model_type"]
    learned = kind in {"bart", "mbart", "blenderbot", "blenderbot-small"}
    facts = ModelFacts(
        **common, hidden=hidden, layers=decoder, encoder_layers=encoder, heads=heads, kv_heads=heads,
        head_dim=hidden // heads, intermediate=second, max_positions=positions, learned_positions=learned,
        linears=linears,
    )  # fmt: skip
    biases = blocks * 4 * hidden + encoder * (first + hidden) + decoder * (second + hidden)
    norms = 2 * hidden * (2 * encoder + 3 * decoder)
    norms += {"bart": 4, "mbart": 8, "blenderbot-small": 4}.get(kind, 4) * hidden
    offset = 2 if kind in {"bart", "mbart"} else 0
    places = 2 * (positions + offset) * hidden if learned else 0
    tables = facts.vocab * hidden * (1 if facts.tied else 2)
    weights = facts.linear_weights + biases + norms + places + tables
    return ModelFacts(**{**vars(facts), "weights": weights, "exact": kind in {"bart", "mbart"}})


def _general(get: _Numbers, common: dict[str, Any]) -> ModelFacts:
    """A family without a layout of its own here: 12 hidden² weights a block, and the table of words."""
    hidden = get("hidden_size", "n_embd", "d_model")
    layers = get("num_hidden_layers", "n_layer", "num_layers", "decoder_layers")
    encoder = get("encoder_layers", "num_layers") if common["kind"] == SEQ2SEQ else 0
    heads = get("num_attention_heads", "n_head", "num_heads", "decoder_attention_heads")
    facts = ModelFacts(
        **common, hidden=hidden, layers=layers, encoder_layers=encoder or 0, heads=heads,
        kv_heads=get("num_key_value_heads") or heads, head_dim=get("head_dim") or (hidden // heads if heads else None),
        intermediate=get("intermediate_size", "ffn_dim", "d_ff", "n_inner") or 4 * hidden,
        max_positions=get("max_position_embeddings", "n_positions"),
    )  # fmt: skip
    blocks = layers + (encoder or 0)
    tables = (facts.vocab or 0) * hidden * (1 if facts.tied else 2)
    return ModelFacts(**{**vars(facts), "weights": 12 * blocks * hidden**2 + tables})


_READERS = (
    dict.fromkeys(LLAMA_LIKE, _llama)
    | {"gpt2": _gpt2, "gpt_neox": _neox, "opt": _opt}
    | dict.fromkeys(T5_LIKE, _t5)
    | dict.fromkeys(BART_LIKE, _bart)
)
