"""Whether a recipe can work, and what it needs: combinations, memory and time, before anything is queued.

Pure functions over a base model's facts and hyperparameters; pages, API and the start of a run call them. What the
estimates are made of, with sources, is in docs/methods.md.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from training.facts import CAUSAL, ENCODER, SEQ2SEQ, ModelFacts
from training.parameters import ALL_LINEAR, LOW_RANK, SFT, Hyperparameters
from training.prompts import render

GIB = 2**30
CHARACTERS_PER_TOKEN = 4.0  # of English text, with the vocabularies of today's models
GPU_OVERHEAD = int(0.8 * GIB)  # CUDA context and the libraries' own buffers
FRAGMENTATION = 1.1  # the allocator's blocks are larger than what is asked for
UTILISATION = 0.3  # share of the peak arithmetic that fine-tuning reaches
UTILISATION_4BIT = 0.2  # weights are turned into 16 bit again at every use
BIG_MODEL = 1_000_000_000  # weights above which training all of them is seldom what one wants

# Bytes a weight: NF4 with a float32 constant for 64 weights; with double quantisation arXiv:2305.14314, section 3.
NF4, NF4_DOUBLE = 0.5 + 4 / 64, 0.5 + 1 / 64 + 4 / (64 * 256)


@dataclass(frozen=True)
class Device:
    """A GPU, or a processor, in figures of its maker. `teraflops` is dense 16-bit arithmetic; on a CPU 32-bit."""

    key: str
    name: str
    gib: float | None  # None: not known
    teraflops: float
    matches: str = ""  # part of the name that a worker reports


DEVICES = {
    device.key: device
    for device in [
        Device("t4", "NVIDIA T4, 16 GB", 14.6, 65, "T4"),
        Device("l4", "NVIDIA L4, 24 GB", 22.0, 121, "L4"),
        Device("a10", "NVIDIA A10, 24 GB", 22.0, 125, "A10"),
        Device("rtx3090", "GeForce RTX 3090, 24 GB", 23.6, 71, "3090"),
        Device("rtx4090", "GeForce RTX 4090, 24 GB", 23.5, 165, "4090"),
        Device("v100", "NVIDIA V100, 16 GB", 15.8, 112, "V100"),
        Device("l40s", "NVIDIA L40S, 48 GB", 44.4, 362, "L40S"),
        Device("a100-40", "NVIDIA A100, 40 GB", 39.4, 312, "A100"),
        Device("a100-80", "NVIDIA A100, 80 GB", 79.1, 312, "A100 80GB"),
        Device("h100", "NVIDIA H100, 80 GB", 79.1, 990, "H100"),
        Device("h200", "NVIDIA H200, 141 GB", 139.8, 990, "H200"),
        Device("cpu", "Processor (CPU)", None, 0.1, "CPU"),
    ]
}


def device_named(reported: str) -> Device | None:
    """The device of the table that a worker means, by the longest part of its name that fits."""
    fitting = [device for device in DEVICES.values() if device.matches and device.matches in reported]
    exact = [device for device in fitting if device.key != "a10" or "A100" not in reported]
    return max(exact, key=lambda device: len(device.matches), default=None)


@dataclass(frozen=True)
class Finding:
    """One thing that is impossible ("error") or doubtful ("warning"), with the field to change."""

    level: str
    field: str
    message: str


@dataclass(frozen=True)
class Data:
    """What a dataset brings to the estimate: pairs to train on, and the mean and most characters of a text, a rewrite
    and (preferences) a rejected output, prompt not counted.
    """

    kind: str
    pairs: int
    text: float = 0.0
    rewrite: float = 0.0
    longest: int = 0


@dataclass(frozen=True)
class Memory:
    """Peak memory of one training process, in bytes, by what takes it."""

    parts: dict[str, int]

    @property
    def total(self) -> int:
        return sum(self.parts.values())

    @property
    def gib(self) -> float:
        return self.total / GIB


@dataclass(frozen=True)
class Time:
    """An estimate of a run's length. `basis` says in words where the speed comes from."""

    seconds: float
    steps: int
    tokens: int
    tokens_per_second: float
    basis: str
    measured: bool


@dataclass(frozen=True)
class Report:
    """Everything that can be said about a recipe before it runs."""

    facts: ModelFacts | None
    findings: list[Finding] = field(default_factory=list)
    memory: Memory | None = None
    time: Time | None = None

    @property
    def errors(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.level == "error"]

    @property
    def warnings(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.level == "warning"]


def report(
    facts: ModelFacts | None,
    method: str,
    p: Hyperparameters,
    *,
    template: str = "",
    examples: Sequence[Sequence[str]] = (),
    device: Device | None = None,
    gib: float | None = None,
    data: Data | None = None,
    measured: tuple[float, str] | None = None,
    remote_code_allowed: bool = False,
) -> Report:
    """Check a recipe and estimate what it needs.

    Args:
        facts: None where nobody knows the base model yet; then only what needs no facts is checked.
        gib: memory of the device where it is none of the table, or another than the table's.
        measured: (tokens a second, where from) of earlier runs like this one.
    """
    on_gpu = device is None or device.key != "cpu"
    capacity = gib or (device.gib if device else None)
    memory = estimate_memory(facts, method, p, on_gpu=on_gpu) if facts else None
    findings = [
        *_model(facts, remote_code_allowed),
        *_method(facts, method, p),
        *_lengths(facts, method, p, template, examples),
        *_settings(method, p, on_gpu),
        *_dataset(method, p, data),
        *(_capacity(facts, method, p, memory, capacity, on_gpu) if facts and memory and capacity else ()),
    ]
    time = None
    if data and data.pairs and (data.kind == "preference") == (method == "dpo"):
        time = estimate_time(facts, method, p, data, template, examples, device, measured)
    return Report(facts, findings, memory, time)


def error(name: str, message: str) -> Finding:
    return Finding("error", name, message)


def warning(name: str, message: str) -> Finding:
    return Finding("warning", name, message)


# Combinations


def _model(facts: ModelFacts | None, remote_code_allowed: bool) -> Iterable[Finding]:
    if facts is None:
        return
    if facts.remote_code and not remote_code_allowed:
        yield error(
            "base_model",
            "This base model needs code of its own, which is not run here unless an administrator allows the model at "
            "one commit.",
        )
    if facts.quantised:
        yield error("base_model", "This base model is already quantised: give the original weights.")


def _method(facts: ModelFacts | None, method: str, p: Hyperparameters) -> Iterable[Finding]:
    kind = facts.kind if facts else None
    if facts and kind == ENCODER:
        yield error("base_model", f"A {facts.model_type} model only reads: it cannot write a rewrite. Choose another.")
    elif facts and method == "seq2seq" and kind == CAUSAL:
        yield error(
            "method",
            f"Encoder-decoder fine-tuning needs a model such as T5 or BART; this one ({facts.model_type}) has a "
            "decoder only. Choose QLoRA, LoRA or prefix tuning.",
        )
    elif facts and method != "seq2seq" and kind == SEQ2SEQ:
        yield error(
            "method",
            f"This method is for decoder-only models; this one ({facts.model_type}) has encoder and decoder. Choose "
            "the method Encoder-decoder.",
        )
    adapted = method in LOW_RANK and not (method == "seq2seq" and p.full_finetuning)
    if facts and facts.linears and adapted and p.target_modules != ALL_LINEAR:
        known = facts.linears
        if missing := [name for name in p.target_list if name.rsplit(".", 1)[-1] not in known]:
            yield error(
                "target_modules",
                f"The base model has no layer {', '.join(missing)}. It has {', '.join(known)}; all-linear takes all.",
            )
    if method == "seq2seq" and p.full_finetuning:
        if facts and facts.weights and facts.weights > BIG_MODEL:
            yield warning(
                "full_finetuning",
                f"All {facts.weights / 1e9:.1f} billion weights would be trained and stored. An adapter needs a "
                "fraction of that memory.",
            )
        if p.compute_dtype == "float16":
            yield warning("compute_dtype", "Training all weights in float16 often overflows: take bfloat16 or auto.")
    if method == "seq2seq" and p.batching in ("packed", "padding-free"):
        yield error(
            "batching",
            f"{p.batching} rows are for decoder-only models: an encoder would read across texts. Choose by-length.",
        )
    if facts and facts.model_type in ("t5", "mt5", "umt5") and p.compute_dtype == "float16":
        yield warning("compute_dtype", "T5 overflows in float16, and the loss is no number any more: take bfloat16.")


def _lengths(
    facts: ModelFacts | None, method: str, p: Hyperparameters, template: str, examples: Sequence[Sequence[str]]
) -> Iterable[Finding]:
    limit = facts.max_positions if facts else None
    if limit and p.max_length > limit:
        yield error("max_length", f"The base model reads {limit:,} tokens at most: set {limit} or less.")
    elif limit and method == "prefix" and p.max_length + p.prefix_tokens > limit:
        yield error(
            "max_length",
            f"The prefix takes {p.prefix_tokens} of the {limit:,} places of the base model: set the maximum length to "
            f"{limit - p.prefix_tokens} or less.",
        )
    if template:
        prompt = tokens(len(render(template, "", examples)))
        if prompt >= p.max_length:
            yield warning(
                "max_length",
                f"The prompt alone has about {prompt:,} tokens, before any text, and no pair would fit: raise the "
                "maximum length, or shorten "
                "the prompt or its examples.",
            )
        elif prompt > p.max_length / 2:
            yield warning(
                "max_length",
                f"About {prompt:,} of {p.max_length:,} tokens are the prompt and its examples; long texts will be cut "
                "or left out.",
            )


def _settings(method: str, p: Hyperparameters, on_gpu: bool) -> Iterable[Finding]:
    if p.schedule == "constant" and p.warmup_ratio:
        yield warning(
            "warmup_ratio",
            "The constant schedule has no warm-up, so this share has no effect (the published settings have it all "
            "the same). constant_with_warmup uses it.",
        )
    too_high = 1e-2 if method != "prefix" else 0.3
    if p.learning_rate > too_high:
        yield warning(
            "learning_rate",
            f"{p.learning_rate:g} is far above what fine-tuning uses; the loss is likely to become no number. Usual "
            f"are {'1e-3 to 1e-1' if method == 'prefix' else '1e-5 to 1e-3'}.",
        )
    elif method == "dpo" and p.learning_rate > 1e-4:
        yield warning("learning_rate", f"DPO usually takes 5e-7 to 5e-5; {p.learning_rate:g} forgets quickly.")
    elif method == "seq2seq" and p.full_finetuning and p.learning_rate > 2e-3:
        yield warning("learning_rate", f"Training all weights usually takes 1e-5 to 1e-3, not {p.learning_rate:g}.")
    if p.sharding == "fsdp" and p.processes == 1:
        yield warning("sharding", "fsdp shares a model between processes; one process holds all of it anyway.")
    if not on_gpu:
        if p.optimizer not in ("adamw_torch", "adamw_torch_fused"):
            yield warning("optimizer", "On a CPU the same AdamW in full numbers is taken instead.")
        if p.compute_dtype not in ("auto", "float32"):
            yield warning("compute_dtype", "A CPU computes in float32.")


def _dataset(method: str, p: Hyperparameters, data: Data | None) -> Iterable[Finding]:
    if data is None:
        return
    if method == "dpo" and data.kind != "preference":
        yield error(
            "method",
            "DPO learns from preferences: choose a preference dataset, with preferred and rejected outputs, or another "
            "method.",
        )
        return
    if method != "dpo" and data.kind == "preference":
        yield error("method", "A preference dataset is for DPO: choose that method, or a dataset of pairs.")
        return
    if not data.pairs:
        yield error("dataset", "The dataset has no pair to train on: freeze one with a larger share for training.")
        return
    together = p.batch_size * p.gradient_accumulation * p.processes
    if together > data.pairs:
        yield warning(
            "batch_size",
            f"{together} texts a step are more than the {data.pairs} pairs there are: an epoch is one step. A smaller "
            "batch gives more steps.",
        )
    steps = count_steps(p, data.pairs)
    if steps and p.save_steps > steps:
        yield warning(
            "save_steps",
            f"The run has about {steps} steps, so no checkpoint is stored before its end: a killed worker loses all.",
        )
    if steps and p.eval_steps > steps:
        yield warning("eval_steps", f"The run has about {steps} steps: it is validated once, at its end.")


def _capacity(
    facts: ModelFacts, method: str, p: Hyperparameters, memory: Memory, capacity: float, on_gpu: bool
) -> Iterable[Finding]:
    if memory.gib <= capacity:
        if memory.gib > 0.9 * capacity:
            yield warning(
                "batch_size",
                f"About {memory.gib:.1f} of {capacity:g} GiB: this is close. Keep a smaller batch in mind.",
            )
        return
    rows = p.batch_size
    values = p.to_json()
    while rows > 1:
        rows //= 2
        values |= {"batch_size": rows}
        smaller = estimate_memory(facts, method, Hyperparameters(**values), on_gpu=on_gpu)
        if smaller and smaller.gib <= capacity:
            more = math.ceil(p.gradient_accumulation * p.batch_size / rows)
            advice = f"Batch size {rows} with gradient accumulation {more} fits: about {smaller.gib:.1f} GiB."
            break
    else:
        held = {name for name in memory.parts if name in ("weights", "adapter")}
        fixed = sum(memory.parts[name] for name in held) / GIB
        if fixed > capacity:
            advice = "The weights alone do not fit: choose a smaller base model" + (
                ", or 4 bit (QLoRA)." if method in ("lora", "prefix") else "."
            )
            if p.processes > 1 and p.sharding == "ddp":
                advice += " fsdp would share them between the processes."
        elif not p.gradient_checkpointing and method != "prefix":
            advice = "Turn on gradient checkpointing."
        else:
            advice = f"Even one text of {p.max_length} tokens does not fit: lower the maximum length."
    yield warning("batch_size", f"About {memory.gib:.1f} GiB are needed, and the device has {capacity:g}. {advice}")


# Memory


def trained_weights(facts: ModelFacts, method: str, p: Hyperparameters) -> int:
    """How many weights the method trains."""
    if method == "prefix":
        if not (facts.layers and facts.kv_heads and facts.head_dim):
            return 0
        return 2 * p.prefix_tokens * facts.layers * facts.kv_heads * facts.head_dim
    if method == "seq2seq" and p.full_finetuning:
        return facts.weights or 0
    return sum(p.lora_rank * count * (inputs + outputs) for count, inputs, outputs in _adapted(facts, p))


def _adapted(facts: ModelFacts, p: Hyperparameters) -> list[list[int]]:
    """[count, inputs, outputs] of the linear layers that get an adapter."""
    if p.target_modules == ALL_LINEAR:
        return [shape for shapes in facts.linears.values() for shape in shapes]
    names = {name.rsplit(".", 1)[-1] for name in p.target_list}
    return [shape for name, shapes in facts.linears.items() if name in names for shape in shapes]


def estimate_memory(facts: ModelFacts, method: str, p: Hyperparameters, *, on_gpu: bool = True) -> Memory | None:
    """Peak memory of a training process with every row of a batch as long as allowed. None where sizes are missing.

    The parts: weights of the base; adapter (or all weights) with gradients and optimiser states; activations of the
    layers; logits over the vocabulary; the rest.
    """
    if not (facts.weights and facts.hidden and facts.layers and facts.vocab and facts.intermediate):
        return None
    wide = 2 if on_gpu and p.compute_dtype != "float32" else 4
    four_bit = method == "qlora" or (method == "dpo" and p.four_bit)
    full = method == "seq2seq" and p.full_finetuning
    parts: dict[str, int] = {}

    if full:
        weights = 4.0 * facts.weights
    elif four_bit:
        linear = facts.linear_weights or 12 * facts.layers * facts.hidden**2
        # What stays out of the 4 bit is kept in float32, as peft prepares it.
        weights = linear * (NF4_DOUBLE if p.double_quantisation else NF4) + 4.0 * max(0, facts.weights - linear)
    else:
        weights = float(wide) * facts.weights
    trained = trained_weights(facts, method, p)
    eight_bit = on_gpu and "8bit" in p.optimizer
    states = 2 if eight_bit else 8  # two moments of AdamW
    learning = trained * ((0 if full else 4) + 4 + states)
    shares = p.processes if p.sharding == "fsdp" else 1
    parts["weights"] = int(weights / shares)
    parts["adapter"] = int(learning / shares)

    rows = p.batch_size * (2 if method == "dpo" else 1)
    places = rows * p.max_length  # tokens in a batch
    one_layer = places * _layer_bytes(facts, method, p, wide)
    layers = facts.layers + facts.encoder_layers
    if p.gradient_checkpointing and method != "prefix":  # which has none: a prefix stands in the cache
        parts["activations"] = int(layers * places * facts.hidden * wide + one_layer)
    else:
        parts["activations"] = int(layers * one_layer)
    # As the model gives them, once more in float32 for the loss, and the gradient of both.
    parts["logits"] = places * facts.vocab * (2 * wide + 8)
    if on_gpu:
        parts["rest"] = GPU_OVERHEAD + int((FRAGMENTATION - 1) * sum(parts.values()))
    return Memory(parts)


def _layer_bytes(facts: ModelFacts, method: str, p: Hyperparameters, wide: int) -> float:
    """Bytes that one layer keeps for the backward pass, a token: after arXiv:2205.05198, section 4.1, without the
    attention matrix, which flash and memory-efficient attention do not keep.
    """
    hidden, inner = facts.hidden or 0, facts.intermediate or 0
    keys = (facts.kv_heads or facts.heads or 1) * (facts.head_dim or hidden)
    queries = (facts.heads or 1) * (facts.head_dim or hidden)
    attention = queries + 2 * keys + queries + hidden  # q, k, v; what attention gives; the projection of it
    feed = (4 if facts.gated else 2) * inner + hidden
    norms = 2 * hidden * (wide + 4) / wide  # their inputs, once more in float32
    base = wide * (attention + feed + norms + 2 * hidden)
    if method in LOW_RANK and not (method == "seq2seq" and p.full_finetuning):
        blocks = (facts.layers or 1) + facts.encoder_layers
        inputs = sum(count * entering for count, entering, _ in _adapted(facts, p)) / blocks
        # The adapter computes in float32: its input as a copy, and once more behind the dropout.
        base += 4 * inputs * (2 if p.lora_dropout else 1)
    return base


# Time


def tokens(characters: float) -> int:
    """About how many tokens a text of so many characters has."""
    return math.ceil(characters / CHARACTERS_PER_TOKEN)


def count_steps(p: Hyperparameters, pairs: int) -> int:
    """Optimiser steps of a run on so many training pairs (packed rows hold several, so that it is then fewer)."""
    batches = math.ceil(pairs / (p.batch_size * p.processes))
    steps = math.ceil(max(1, math.ceil(batches / p.gradient_accumulation)) * p.epochs)
    return min(steps, p.max_steps) if p.max_steps else steps


def estimate_time(
    facts: ModelFacts | None,
    method: str,
    p: Hyperparameters,
    data: Data,
    template: str,
    examples: Sequence[Sequence[str]],
    device: Device | None,
    measured: tuple[float, str] | None = None,
) -> Time | None:
    """How long a run takes: tokens that the model reads, over tokens a second."""
    prompt = tokens(len(render(template, "", examples)) if template else 0)
    answer = min(tokens(data.rewrite), p.max_length)
    row = min(prompt + tokens(data.text), p.max_length) if method == "seq2seq" else prompt + tokens(data.text)
    if method == "dpo":
        row, answer = 2 * row, 2 * answer  # the preferred and the rejected output, each behind the prompt
    row = row + answer if method == "seq2seq" else min(row + answer, p.max_length * (2 if method == "dpo" else 1))
    longest = tokens(data.longest) + prompt
    per_row = 1.0
    if p.batching == "packed" and method in SFT:
        per_row = max(1.0, p.max_length / max(1, row))
    steps = count_steps(p, max(1, math.ceil(data.pairs / per_row)))
    read = int(steps * p.batch_size * p.gradient_accumulation * p.processes * row * per_row)
    read = min(read, math.ceil(data.pairs * p.epochs * row))
    if measured:
        speed, basis = measured
        speed *= p.processes
    elif facts and facts.weights and device:
        # A token costs 2 operations a weight forward and 2 to pass the gradient back; 2 more for the gradients of
        # trained weights, 2 to compute the activations again, and DPO reads everything once more without an adapter.
        full = method == "seq2seq" and p.full_finetuning
        operations = 4 + 2 * full + 2 * (p.gradient_checkpointing and method != "prefix") + 2 * (method == "dpo")
        four_bit = method == "qlora" or (method == "dpo" and p.four_bit)
        share = 1.0 if device.key == "cpu" else UTILISATION_4BIT if four_bit else UTILISATION
        waste = (
            1.0 if p.batching != "padded" or not row else min(2.0, (1 + min(longest + answer, p.max_length) / row) / 2)
        )
        speed = device.teraflops * 1e12 * share / (operations * facts.weights * waste) * p.processes
        basis = f"estimated: {operations} × {facts.weights / 1e9:.2f} billion operations a token, " + (
            "and 0.1 TFLOP/s for a processor"
            if device.key == "cpu"
            else f"at {share:.0%} of the {device.teraflops:g} TFLOP/s of {device.name}"
        )
    else:
        return None
    return Time(read / speed, steps, read, speed, basis, bool(measured))


def to_json(found: Report, capacity: float | None = None) -> dict[str, Any]:
    """For the API, in GiB and seconds."""
    memory = found.memory
    return {
        "known": found.facts is not None,
        "errors": [{"field": one.field, "message": one.message} for one in found.errors],
        "warnings": [{"field": one.field, "message": one.message} for one in found.warnings],
        "memory_gib": memory
        and {name: round(size / GIB, 3) for name, size in memory.parts.items()} | {"total": round(memory.gib, 3)},
        "device_gib": capacity,
        "time": found.time
        and {
            "seconds": round(found.time.seconds, 1),
            "steps": found.time.steps,
            "tokens": found.time.tokens,
            "tokens_per_second": round(found.time.tokens_per_second, 1),
            "measured": found.time.measured,
            "basis": found.time.basis,
        },
    }
