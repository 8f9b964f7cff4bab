"""Every hyperparameter of a run: typed, explained, checked and stored as JSON. Knows nothing of Django or torch.

The explanations and limits below are the only copy: forms, the API and error messages read them from here.
"""

import dataclasses
import json
import math
import re
from dataclasses import dataclass, field
from typing import Any, Self

SEED_LIMIT = 2**32 - 1  # numpy's largest seed


def encodable(messages: dict[str, str]) -> dict[str, str]:
    """The messages, keys too, with ? for what UTF-8 cannot hold: they repeat what somebody sent."""
    return {
        key.encode(errors="replace").decode(): text.encode(errors="replace").decode() for key, text in messages.items()
    }


class ParameterErrors(ValueError):
    """What is wrong, per parameter: `messages` maps a parameter's name to one sentence."""

    def __init__(self, messages: dict[str, str]) -> None:
        self.messages = messages = encodable(messages)
        super().__init__(" ".join(f"{name}: {message}" for name, message in messages.items()))


def parameter(label: str, help_text: str, default: Any, *, group: str, methods: Any = None, **limits: Any) -> Any:
    """A dataclass field with its label, explanation and limits (`low`, `high`, `above`, `choices`).

    Args:
        group: the heading it stands under in forms. methods: those it has an effect on; None for all.
    """
    metadata = {"label": label, "help": help_text, "group": group, "methods": tuple(methods or METHODS), **limits}
    return field(default=default, metadata=metadata)


# Method -> what it is, in words. `dpo` is the only one that learns from preference datasets.
METHODS = {
    "qlora": "QLoRA: low-rank adapter on a 4-bit base model",
    "lora": "LoRA: low-rank adapter on a 16-bit base model",
    "prefix": "Prefix tuning: trained key and value vectors before every layer's own",
    "seq2seq": "Encoder-decoder fine-tuning (T5, BART), full or with LoRA",
    "dpo": "DPO: preference tuning with a low-rank adapter",
}
CAUSAL = ("qlora", "lora", "prefix", "dpo")
LOW_RANK = ("qlora", "lora", "seq2seq", "dpo")
FOUR_BIT = ("qlora", "dpo")
SFT = ("qlora", "lora", "prefix")
ALL_LINEAR = "all-linear"
COMPUTE_TYPES = ("auto", "bfloat16", "float16", "float32")
SCHEDULES = ("constant", "constant_with_warmup", "linear", "cosine")
OPTIMISERS = ("paged_adamw_32bit", "paged_adamw_8bit", "adamw_8bit", "adamw_torch", "adamw_torch_fused")
BATCHINGS = ("padded", "by-length", "padding-free", "packed")
SHARDINGS = ("ddp", "fsdp")


@dataclass(frozen=True, kw_only=True)
class Hyperparameters:
    """What a recipe decides about the training. Defaults: arXiv:2305.14314, table 9, for 7B and 13B models.

    Every method has every parameter; those that a method does not use (`methods` in the field's metadata) have no
    effect on it.
    """

    lora_rank: int = parameter(
        "LoRA rank", "Width of the trained low-rank matrices, r. More can learn more and needs more memory.",
        64, low=1, high=1024, group="Adapter", methods=LOW_RANK,
    )  # fmt: skip
    lora_alpha: int = parameter(
        "LoRA alpha", "The update is scaled by alpha / r.", 16, low=1, high=4096, group="Adapter", methods=LOW_RANK
    )
    lora_dropout: float = parameter(
        "LoRA dropout", "Share of the adapter's inputs dropped in training.",
        0.1, low=0.0, high=0.9, group="Adapter", methods=LOW_RANK,
    )  # fmt: skip
    target_modules: str = parameter(
        "Target modules",
        "Layers that get an adapter: all-linear, or names separated by commas such as q_proj, v_proj.",
        ALL_LINEAR, group="Adapter", methods=LOW_RANK,
    )  # fmt: skip
    full_finetuning: bool = parameter(
        "Train all weights", "Every weight of the model moves, not an adapter. For models below 1 billion weights.",
        False, group="Adapter", methods=("seq2seq",),
    )  # fmt: skip
    prefix_tokens: int = parameter(
        "Prefix length", "Trained vectors before the keys and values of every layer.",
        30, low=1, high=1024, group="Adapter", methods=("prefix",),
    )  # fmt: skip
    dpo_beta: float = parameter(
        "DPO beta", "How hard the model is held near what it was: more holds harder.",
        0.1, above=0, high=10.0, group="Adapter", methods=("dpo",),
    )  # fmt: skip
    four_bit: bool = parameter(
        "4-bit base model", "Keep the base model in 4-bit NF4. Otherwise in 16 bit: four times the memory, a little "
        "faster.",
        True, group="Numbers", methods=("dpo",),
    )  # fmt: skip
    double_quantisation: bool = parameter(
        "Double quantisation", "Quantise the constants of the 4-bit weights too: about 0.4 bit a weight less.",
        True, group="Numbers", methods=FOUR_BIT,
    )  # fmt: skip
    compute_dtype: str = parameter(
        "Compute type",
        "Number type of the arithmetic. auto takes bfloat16 where the GPU has it, else float16. A CPU always computes "
        "in float32.",
        "auto", choices=COMPUTE_TYPES, group="Numbers",
    )  # fmt: skip
    batch_size: int = parameter(
        "Batch size", "Texts per step on each device.", 16, low=1, high=1024, group="Batches and length"
    )
    gradient_accumulation: int = parameter(
        "Gradient accumulation", "Batches added up before the weights move.",
        1, low=1, high=1024, group="Batches and length",
    )  # fmt: skip
    batching: str = parameter(
        "Batches",
        "padded: as the texts come, filled up to the longest. by-length: texts of like length together, less filling. "
        "padding-free: a batch is one row without filling; fastest on a GPU with FlashAttention. packed: rows of "
        "several texts up to the maximum length.",
        "padded", choices=BATCHINGS, group="Batches and length", methods=(*SFT, "seq2seq"),
    )  # fmt: skip
    epochs: float = parameter(
        "Epochs", "Passes over the training split.", 1.0, above=0, high=1000, group="Batches and length"
    )
    max_steps: int = parameter(
        "Largest number of steps", "Stops earlier than the epochs would; 0 for no limit.",
        0, low=0, high=10_000_000, group="Batches and length",
    )  # fmt: skip
    max_length: int = parameter(
        "Maximum length", "Tokens of prompt and rewrite together (encoder-decoder: of the prompt, and again of the "
        "rewrite); longer pairs are cut at the end.",
        512, low=16, high=131_072, group="Batches and length",
    )  # fmt: skip
    completion_only: bool = parameter(
        "Loss on the rewrite only", "The model learns to write the rewrite, not the prompt too.",
        True, group="Batches and length", methods=SFT,
    )  # fmt: skip
    learning_rate: float = parameter(
        "Learning rate", "Step size at its peak.", 2e-4, above=0, high=10_000.0, group="Optimiser"
    )
    schedule: str = parameter(
        "Schedule", "How the learning rate moves after the warm-up. Plain constant has no warm-up.",
        "constant", choices=SCHEDULES, group="Optimiser",
    )  # fmt: skip
    warmup_ratio: float = parameter(
        "Warm-up share", "Share of the steps in which the learning rate rises from 0.",
        0.0, low=0.0, high=0.99, group="Optimiser",
    )  # fmt: skip
    weight_decay: float = parameter(
        "Weight decay", "Pull of the weights towards 0 at each step.", 0.0, low=0.0, high=1.0, group="Optimiser"
    )
    max_grad_norm: float = parameter(
        "Maximum gradient norm", "Longer gradients are shortened to this.", 0.3, above=0, high=1000.0, group="Optimiser"
    )
    optimizer: str = parameter(
        "Optimiser", "Paged and 8-bit optimisers need a GPU; on a CPU the same AdamW in full numbers is taken.",
        "paged_adamw_32bit", choices=OPTIMISERS, group="Optimiser",
    )  # fmt: skip
    gradient_checkpointing: bool = parameter(
        "Gradient checkpointing", "Compute activations twice instead of keeping them: slower, much less memory.",
        True, group="Numbers",
    )  # fmt: skip
    logging_steps: int = parameter(
        "Log every", "Steps between two points of the training loss.", 10, low=1, high=100_000, group="Progress"
    )
    eval_steps: int = parameter(
        "Validate every", "Steps between two losses on the validation split.",
        100, low=1, high=1_000_000, group="Progress",
    )  # fmt: skip
    save_steps: int = parameter(
        "Checkpoint every", "Steps between two checkpoints; what a killed worker loses at most.",
        100, low=1, high=1_000_000, group="Progress",
    )  # fmt: skip
    merge: bool = parameter(
        "Merged model too",
        "At the end also store base model and adapter as one model in 16 bit, which other tools load without peft.",
        False, group="At the end", methods=("qlora", "lora", "seq2seq", "dpo"),
    )  # fmt: skip
    processes: int = parameter(
        "Processes", "Training processes on the worker's machine, one a GPU. Texts per step are batch size times this.",
        1, low=1, high=64, group="Machine",
    )  # fmt: skip
    sharding: str = parameter(
        "Sharing between processes",
        "ddp: each holds the whole model. fsdp: each holds a part of it, for models that do not fit one GPU.",
        "ddp", choices=SHARDINGS, group="Machine",
    )  # fmt: skip

    def __post_init__(self) -> None:
        errors = {}
        for spec in dataclasses.fields(self):
            value, message = _checked(spec, getattr(self, spec.name))
            if message:
                errors[spec.name] = message
            else:
                object.__setattr__(self, spec.name, value)
        if errors:
            raise ParameterErrors(errors)

    @property
    def target_list(self) -> str | list[str]:
        """The target modules as peft wants them."""
        if self.target_modules == ALL_LINEAR:
            return ALL_LINEAR
        return [name.strip() for name in self.target_modules.split(",") if name.strip()]

    @classmethod
    def from_json(cls, values: Any) -> Self:
        """Read what `to_json` wrote. Raises ParameterErrors that name what is unknown, missing or wrong."""
        if not isinstance(values, dict):
            raise ParameterErrors({"parameters": "Parameters are an object of names and values."})
        known = {spec.name: spec for spec in dataclasses.fields(cls)}
        errors = {
            str(name)[:60]: f"There is no such parameter; known are {', '.join(known)}."
            for name in values
            if name not in known
        }
        errors |= {
            name: "This parameter is missing."
            for name, spec in known.items()
            if spec.default is dataclasses.MISSING and name not in values
        }
        if errors:
            raise ParameterErrors(errors)
        return cls(**values)

    def to_json(self) -> dict[str, Any]:
        """Plain values that survive JSON unchanged."""
        return dataclasses.asdict(self)


@dataclass(frozen=True, kw_only=True)
class RunParameters(Hyperparameters):
    """Everything that decides a run, kept as JSON with the run and beside its adapter."""

    method: str = field(metadata={"choices": tuple(METHODS)})
    base_model: str = field()  # hub id or folder; empty until a worker resolved the default one
    base_revision: str = field()  # a commit, or a hash of the folder, so that the base cannot change under an adapter
    is_scratch: bool = field()
    remote_code: bool = False  # an administrator allowed the base model's own code, for exactly this revision
    prompt_template: str = field()
    examples: list = field(default_factory=list)  # (text, rewrite) shown before the text: few-shot prompting
    dataset_hash: str = field()
    seed: int = field(metadata={"label": "Seed", "low": 0, "high": SEED_LIMIT})

    @property
    def in_four_bits(self) -> bool:
        """Whether the base model is kept in 4-bit NF4, in training and in generation after it."""
        return self.method == "qlora" or (self.method == "dpo" and self.four_bit)


def _checked(spec: dataclasses.Field, value: Any) -> tuple[Any, str]:
    """The value in the field's type, and what is wrong with it ("" when nothing)."""
    limits = spec.metadata
    if spec.type is bool:
        return value, "" if isinstance(value, bool) else f"Give true or false, not {_shown(value)}."
    if spec.type is list:
        return value, "" if isinstance(value, list) else f"Give a list, not {_shown(value)}."
    if spec.type is str:
        if not isinstance(value, str):
            return value, f"Give a text, not {_shown(value)}."
        if "choices" in limits and value not in limits["choices"]:
            return value, f"Give one of {', '.join(limits['choices'])}, not {_shown(value)}."
        if spec.name == "target_modules":
            return _checked_modules(value)
        return value, ""
    if isinstance(value, bool) or not isinstance(value, int | float) or not _is_finite(value):
        return value, f"Give a number, not {_shown(value)}."
    if spec.type is int:
        if value != int(value):
            return value, f"Give a whole number, not {_shown(value)}."
        value = int(value)
    else:
        value = float(value)
    if "low" in limits and value < limits["low"]:
        return value, f"Give {limits['low']} or more, not {value}."
    if "above" in limits and value <= limits["above"]:
        return value, f"Give more than {limits['above']}, not {value}."
    if "high" in limits and value > limits["high"]:
        return value, f"Give {limits['high']} or less, not {value}."
    return value, ""


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number that no float holds
        return False


def _checked_modules(value: str) -> tuple[str, str]:
    names = [name.strip() for name in value.split(",") if name.strip()]
    if not names:
        return value, f"Give {ALL_LINEAR} or the names of layers."
    if ALL_LINEAR in names and len(names) > 1:
        return value, f"{ALL_LINEAR} already names every linear layer; leave the others out."
    if bad := [name for name in names if not re.fullmatch(r"[\w.-]+", name)]:
        return value, f"{_shown(bad[0])} is no name of a layer."
    if "lm_head" in names:
        return value, "The output layer lm_head cannot have an adapter; leave it out."
    return ", ".join(names), ""


def _shown(value: Any) -> str:
    return json.dumps(value, default=str, ensure_ascii=False)[:60]


@dataclass(frozen=True)
class Preset:
    """A recipe to start from: where it comes from, and its values."""

    key: str
    name: str
    source: str
    base_model: str
    parameters: Hyperparameters


_PAPERS: dict[str, Any] = {
    "lora_rank": 64, "lora_alpha": 16, "lora_dropout": 0.2, "compute_dtype": "float16", "schedule": "constant",
    "gradient_accumulation": 1, "weight_decay": 0.001, "max_grad_norm": 0.3,
}  # fmt: skip

PRESETS = {
    preset.key: preset
    for preset in [
        Preset(
            "fast",
            "Fast modern default",
            "Ours: QLoRA (arXiv:2305.14314) with rank, scale and rate after arXiv:2405.09673, and batches that are "
            "hardly filled up. Needs a GPU with 16 GiB for models of 7 billion weights.",
            "",
            Hyperparameters(
                lora_rank=16,
                lora_alpha=32,
                lora_dropout=0.0,
                double_quantisation=True,
                compute_dtype="auto",
                batch_size=8,
                batching="padding-free",
                completion_only=True,
                epochs=2.0,
                max_length=512,
                learning_rate=4e-4,
                schedule="cosine",
                warmup_ratio=0.05,
                max_grad_norm=1.0,
                optimizer="paged_adamw_8bit",
            ),
        ),
        Preset(
            "cpu-demo",
            "CPU demo",
            "Small and short: shows that everything works, on a laptop, within about a minute.",
            "",
            Hyperparameters(
                lora_rank=8,
                lora_alpha=16,
                lora_dropout=0.05,
                batch_size=4,
                epochs=50.0,
                max_steps=30,
                max_length=256,
                learning_rate=2e-3,
                schedule="linear",
                warmup_ratio=0.1,
                max_grad_norm=1.0,
                optimizer="adamw_torch",
                gradient_checkpointing=False,
                logging_steps=1,
                eval_steps=10,
                save_steps=10,
            ),
        ),
        Preset(
            "sr-llm",
            "SR-LLM",
            "As published in arXiv:2404.01399. Needs a GPU, and access to the base model.",
            "meta-llama/Llama-2-7b-chat-hf",
            Hyperparameters(
                **_PAPERS,
                double_quantisation=False,
                batch_size=4,
                epochs=1.0,
                max_length=512,
                learning_rate=2e-4,
                warmup_ratio=0.03,
                optimizer="paged_adamw_32bit",
            ),
        ),
        Preset(
            "mbias",
            "MBIAS",
            "As published in arXiv:2405.11290. Needs a GPU.",
            "mistralai/Mistral-7B-Instruct-v0.2",
            Hyperparameters(
                **_PAPERS,
                double_quantisation=True,
                batch_size=8,
                epochs=2.0,
                max_length=2048,
                learning_rate=2e-5,
                warmup_ratio=0.05,
                optimizer="paged_adamw_8bit",
            ),
        ),
    ]
}
