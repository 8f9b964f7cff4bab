"""QLoRA (arXiv:2305.14314): a 4-bit base model that stays as it is, and a small adapter that is trained.

The only module, beside generation, that imports torch, and it knows nothing of Django. Progress goes out through the
callbacks of `Reports`; any exception that one of them raises stops the training there and then.
"""

import importlib.metadata
import json
import math
import platform
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bitsandbytes
import datasets
import peft
import torch
import transformers
import trl

from training.parameters import RunParameters
from training.prompts import render
from training.watching import watched

COMPLETE = "complete.json"  # written last: a checkpoint without it is half-written
LIBRARIES = ("torch", "transformers", "peft", "trl", "bitsandbytes", "accelerate", "datasets", "tokenizers")


class TrainingError(Exception):
    """The training cannot go on. The message tells people what to change."""


@dataclass(frozen=True)
class Metric:
    """A point of a curve. `tokens` and `seconds` count from the start of the run's first attempt and of this one."""

    kind: str  # "train" or "eval"
    step: int
    epoch: float
    loss: float
    learning_rate: float | None = None
    grad_norm: float | None = None
    tokens: int | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class Reports:
    """What the training tells as it goes: a tick several times a step, every step, every metric, lines of the log."""

    tick: Callable[[], None]
    step: Callable[[int, int, float, float], None]  # step, total, epoch, seconds left
    metric: Callable[[Metric], None]
    log: Callable[[str], None]


@dataclass(frozen=True)
class Result:
    """What a finished training leaves: where the adapter is, and figures about the run."""

    adapter: Path
    figures: dict[str, Any]


def device() -> str:
    """The accelerator this process may use, in words, or the processor."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name(0)
    return f"CPU ({platform.machine()}, {torch.get_num_threads()} threads)"


def library_versions() -> dict[str, str]:
    """The versions that decide what a run does."""
    return {"python": platform.python_version()} | {name: importlib.metadata.version(name) for name in LIBRARIES}


def compute_dtype(wanted: str) -> torch.dtype:
    """The arithmetic's number type on this machine. A CPU takes float32: bfloat16 is several times slower there."""
    if not torch.cuda.is_available():
        return torch.float32
    if wanted == "auto":
        wanted = "bfloat16" if torch.cuda.is_bf16_supported() else "float16"
    return {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}[wanted]


def load_tokenizer(folder: Path) -> transformers.PreTrainedTokenizerBase:
    """The tokenizer, with a padding token even where the model was made without one."""
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except Exception as error:
        raise TrainingError(f"The base model's tokenizer cannot be loaded: {_first_line(error)}") from error
    if tokenizer.eos_token is None:
        raise TrainingError("The base model's tokenizer has no end token, so no answer would ever end.")
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_model(folder: Path, *, dtype: torch.dtype, double_quantisation: bool) -> transformers.PreTrainedModel:
    """The base model in 4-bit NF4, on the GPU if there is one."""
    try:
        model = transformers.AutoModelForCausalLM.from_pretrained(
            folder,
            quantization_config=transformers.BitsAndBytesConfig(
                load_in_4bit=True,
                bnb_4bit_quant_type="nf4",
                bnb_4bit_use_double_quant=double_quantisation,
                bnb_4bit_compute_dtype=dtype,
            ),
            dtype=dtype,
            device_map={"": 0 if torch.cuda.is_available() else "cpu"},
            use_safetensors=True,
            trust_remote_code=False,
        )
    except (ValueError, OSError, KeyError) as error:
        raise TrainingError(f"The base model cannot be loaded: {_first_line(error)}") from error
    for module in model.modules():
        if isinstance(module, bitsandbytes.nn.Linear4bit):
            # On processors with AVX512-BF16 the first evaluation would repack the weights for a kernel that passes no
            # gradient on, and training would go on wrongly after it.
            module.support_avx512bf16_for_cpu = False
    return model


def chat(tokenizer: transformers.PreTrainedTokenizerBase, prompt: str) -> list[dict[str, str]] | str:
    """The prompt as the model wants it: a message where the tokenizer has a chat template, else plain text."""
    return [{"role": "user", "content": prompt}] if tokenizer.chat_template else prompt


def prompt_text(tokenizer: transformers.PreTrainedTokenizerBase, prompt: str) -> str:
    """The prompt as one string, ready for the answer, through the chat template where there is one."""
    message = chat(tokenizer, prompt)
    if isinstance(message, str):
        return message
    return tokenizer.apply_chat_template(message, add_generation_prompt=True, tokenize=False)


def load_adapter(model: transformers.PreTrainedModel, folder: Path) -> peft.PeftModel:
    """The base model with a run's adapter on it."""
    try:
        return peft.PeftModel.from_pretrained(model, str(folder))
    except (ValueError, OSError, KeyError, RuntimeError) as error:
        raise TrainingError(f"The adapter cannot be loaded: {_first_line(error)}") from error


def last_checkpoint(folders: Sequence[Path]) -> tuple[Path, int] | None:
    """The most advanced checkpoint that was written to its end, and its step."""
    found = []
    for folder in folders:
        for mark in folder.glob(f"checkpoint-*/{COMPLETE}"):
            try:
                found.append((json.loads(mark.read_text())["step"], mark.parent))
            except (ValueError, KeyError, OSError):
                continue
    if not found:
        return None
    step, path = max(found)
    return path, step


def train(
    parameters: RunParameters,
    rows: dict[str, list[tuple[str, str]]],
    base_folder: Path,
    folder: Path,
    reports: Reports,
    resume_from: Path | None = None,
) -> Result:
    """Train an adapter and leave it in `folder/adapter`.

    Args:
        rows: split -> (text, rewrite) pairs; "train" must have some, "validation" may be empty.
        base_folder: the base model's files. folder: where checkpoints and the adapter go.
        resume_from: a checkpoint of `last_checkpoint` to go on from.
    Raises:
        TrainingError: with a sentence for people. Whatever `reports` raises passes through.
    """
    p = parameters
    on_gpu = torch.cuda.is_available()
    dtype = compute_dtype(p.compute_dtype)
    datasets.disable_progress_bars()
    transformers.utils.logging.disable_progress_bar()
    reports.log(f"Device: {device()}. Arithmetic in {str(dtype).removeprefix('torch.')}.")

    optimizer = p.optimizer
    if not on_gpu and optimizer != "adamw_torch":
        reports.log(f"{optimizer} needs a GPU: AdamW without paging (adamw_torch) is used instead.")
        optimizer = "adamw_torch"
    if p.schedule == "constant" and p.warmup_ratio:
        reports.log("The constant schedule has no warm-up: the warm-up share has no effect.")

    tokenizer = watched(lambda: load_tokenizer(base_folder), reports.tick)
    model = watched(
        lambda: load_model(base_folder, dtype=dtype, double_quantisation=p.double_quantisation), reports.tick
    )
    limit = getattr(model.config, "max_position_embeddings", None)
    if limit and p.max_length > limit:
        raise TrainingError(f"The base model reads {limit} tokens at most: set the maximum length to {limit} or less.")
    checkpointing = {"use_reentrant": False}
    model = peft.prepare_model_for_kbit_training(
        model, use_gradient_checkpointing=p.gradient_checkpointing, gradient_checkpointing_kwargs=checkpointing
    )
    examples = {split: _examples(tokenizer, p, pairs, split, reports) for split, pairs in rows.items() if pairs}
    if not examples.get("train"):
        raise TrainingError(
            f"No pair of the training split leaves room for its rewrite in {p.max_length} tokens: "
            "raise the maximum length."
        )
    validation = examples.get("validation") or None
    config = trl.SFTConfig(
        output_dir=str(folder),
        per_device_train_batch_size=p.batch_size,
        per_device_eval_batch_size=p.batch_size,
        gradient_accumulation_steps=p.gradient_accumulation,
        num_train_epochs=p.epochs,
        max_steps=p.max_steps or -1,
        max_length=p.max_length,
        learning_rate=p.learning_rate,
        lr_scheduler_type=p.schedule,
        warmup_steps=p.warmup_ratio,  # below 1 it is a share of all steps
        weight_decay=p.weight_decay,
        max_grad_norm=p.max_grad_norm,
        optim=optimizer,
        gradient_checkpointing=p.gradient_checkpointing,
        gradient_checkpointing_kwargs=checkpointing if p.gradient_checkpointing else None,
        completion_only_loss=True,
        logging_steps=p.logging_steps,
        logging_first_step=True,
        logging_nan_inf_filter=False,  # a loss that is no number must be seen, not smoothed away
        eval_strategy="steps" if validation else "no",
        eval_steps=p.eval_steps,
        save_strategy="steps",
        save_steps=p.save_steps,
        save_total_limit=2,
        bf16=dtype == torch.bfloat16,
        fp16=dtype == torch.float16,
        use_cpu=not on_gpu,
        seed=p.seed,
        data_seed=p.seed,
        dataloader_num_workers=0,
        dataloader_pin_memory=on_gpu,
        report_to="none",
        disable_tqdm=True,
    )
    watch = _Watch(reports)
    try:
        trainer = trl.SFTTrainer(
            model=model,
            args=config,
            train_dataset=examples["train"],
            eval_dataset=validation,
            processing_class=tokenizer,
            peft_config=peft.LoraConfig(
                r=p.lora_rank,
                lora_alpha=p.lora_alpha,
                lora_dropout=p.lora_dropout,
                target_modules=p.target_list,
                bias="none",
                task_type="CAUSAL_LM",
            ),
            callbacks=[watch],
        )
    except ValueError as error:
        if "target modules" in str(error).lower():
            raise TrainingError(
                f"The base model has no layers named {p.target_modules}: use all-linear, or its own names."
            ) from error
        raise
    trainer.remove_callback(transformers.PrinterCallback)
    trainable = [weight for weight in trainer.model.parameters() if weight.requires_grad]
    for weight in trainable:
        # trl keeps the adapter in bfloat16, where the small steps of these learning rates round to nothing
        weight.data = weight.data.float()
    reports.log(f"{sum(weight.numel() for weight in trainable):,} weights are trained.")
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()

    started = time.monotonic()
    outcome = trainer.train(resume_from_checkpoint=str(resume_from) if resume_from else None)
    seconds = time.monotonic() - started
    if validation and watch.evaluated_at != trainer.state.global_step:
        trainer.evaluate()

    adapter = folder / "adapter"
    shutil.rmtree(adapter, ignore_errors=True)
    trainer.model.save_pretrained(adapter)
    tokenizer.save_pretrained(adapter)
    # The base's name and commit instead of a folder of this machine, so that the adapter is of use elsewhere.
    config_file = adapter / "adapter_config.json"
    base = {"base_model_name_or_path": p.base_model, "revision": p.base_revision}
    config_file.write_text(json.dumps(json.loads(config_file.read_text()) | base, indent=2) + "\n")
    (adapter / "recipe.json").write_text(
        json.dumps({"parameters": p.to_json(), "library_versions": library_versions()}, indent=2) + "\n"
    )
    history = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    figures: dict[str, Any] = {
        "steps": trainer.state.global_step,
        "epochs": round(trainer.state.epoch or 0.0, 4),
        "train_loss": history[-1] if history else outcome.training_loss,
        "validation_loss": watch.validation_loss,
        "trained_weights": sum(weight.numel() for weight in trainable),
        "training_pairs": len(trainer.train_dataset),
        "seconds": round(seconds, 1),
        "tokens_per_second": round(watch.tokens_per_second(seconds), 1),
        "peak_gpu_gib": round(torch.cuda.max_memory_allocated() / 2**30, 2) if on_gpu else None,
    }
    (adapter / "metrics.json").write_text(json.dumps(figures, indent=2) + "\n")
    return Result(adapter, figures)


def _examples(
    tokenizer: transformers.PreTrainedTokenizerBase,
    parameters: RunParameters,
    pairs: list[tuple[str, str]],
    split: str,
    reports: Reports,
) -> datasets.Dataset:
    """Prompt and completion of each pair that leaves room for its completion; the log says what was cut."""
    kept, cut, dropped = [], 0, 0
    for number, (text, rewrite) in enumerate(pairs):
        if number % 100 == 0:
            reports.tick()
        prompt = render(parameters.prompt_template, text)
        before = len(_tokens(tokenizer, prompt))
        if before >= parameters.max_length:
            dropped += 1
            continue
        cut += before + len(tokenizer(rewrite, add_special_tokens=False)["input_ids"]) >= parameters.max_length
        answer = [{"role": "assistant", "content": rewrite}] if tokenizer.chat_template else rewrite
        kept.append({"prompt": chat(tokenizer, prompt), "completion": answer})
    reports.log(f"{split}: {len(kept)} pairs.")
    if cut:
        reports.log(f"{split}: {cut} of the rewrites cut at {parameters.max_length} tokens.")
    if dropped:
        reports.log(f"{split}: {dropped} left out, where the prompt alone has {parameters.max_length} tokens.")
    return datasets.Dataset.from_list(kept)


def _tokens(tokenizer: transformers.PreTrainedTokenizerBase, prompt: str) -> list[int]:
    message = chat(tokenizer, prompt)
    if isinstance(message, str):
        return tokenizer(message)["input_ids"]
    return tokenizer.apply_chat_template(message, add_generation_prompt=True, return_dict=True)["input_ids"]


class _Watch(transformers.TrainerCallback):
    """Passes on what the trainer does, stops on a loss that is no number, and marks checkpoints as complete."""

    def __init__(self, reports: Reports) -> None:
        self.reports = reports
        self.started = time.monotonic()
        self.first_step = 0
        self.first_tokens: int | None = None
        self.tokens = 0
        self.evaluated_at = -1
        self.validation_loss: float | None = None

    def tokens_per_second(self, seconds: float) -> float:
        return max(0, self.tokens - (self.first_tokens or 0)) / seconds if seconds else 0.0

    def on_train_begin(self, args, state, control, **kwargs):
        self.started, self.first_step = time.monotonic(), state.global_step
        self.reports.step(state.global_step, state.max_steps, state.epoch or 0.0, 0.0)

    def on_substep_end(self, args, state, control, **kwargs):
        self.reports.tick()

    def on_prediction_step(self, args, state, control, **kwargs):
        self.reports.tick()

    def on_step_end(self, args, state, control, **kwargs):
        done = state.global_step - self.first_step
        pace = (time.monotonic() - self.started) / max(1, done)
        left = pace * (state.max_steps - state.global_step)
        self.reports.step(state.global_step, state.max_steps, state.epoch or 0.0, left)

    def on_log(self, args, state, control, logs=None, **kwargs):
        logs = logs or {}
        if "eval_loss" in logs:
            kind, loss = "eval", logs["eval_loss"]
        elif "loss" in logs:
            kind, loss = "train", logs["loss"]
        else:
            return
        if not math.isfinite(loss):
            raise TrainingError(
                f"The loss was no number any more at step {state.global_step}: try a lower learning rate, or float32 "
                "as the compute type."
            )
        self.tokens = int(logs.get("num_tokens") or self.tokens)
        if self.first_tokens is None:
            self.first_tokens = self.tokens
        if kind == "eval":
            self.evaluated_at, self.validation_loss = state.global_step, loss
        grad_norm = logs.get("grad_norm")
        if grad_norm is not None and not math.isfinite(grad_norm):
            grad_norm = None  # float16 training skips such a step by design
        self.reports.metric(
            Metric(
                kind,
                state.global_step,
                state.epoch or 0.0,
                float(loss),
                logs.get("learning_rate"),
                None if grad_norm is None else float(grad_norm),
                self.tokens or None,
                round(time.monotonic() - self.started, 3),
            )
        )

    def on_save(self, args, state, control, **kwargs):
        checkpoint = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        (checkpoint / COMPLETE).write_text(json.dumps({"step": state.global_step}))
        self.reports.log(f"Checkpoint at step {state.global_step}.")


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:300] if str(error).strip() else type(error).__name__
