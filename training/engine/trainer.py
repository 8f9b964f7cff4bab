"""Train a model on a dataset's pairs with the libraries of the field. Knows nothing of Django.

Progress goes out through the callbacks of `Reports`; any exception that one of them raises stops the training there
and then.
"""

import json
import math
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import datasets
import peft
import torch
import transformers
import trl

from training.engine.checkpoints import COMPLETE
from training.engine.loading import (
    TrainingError,
    chat,
    compute_dtype,
    device,
    library_versions,
    load_model,
    load_tokenizer,
)
from training.engine.trusted import trust
from training.engine.watching import watched
from training.parameters import RunParameters
from training.prompts import render


class Row(NamedTuple):
    """A pair of a dataset; of a preference, `rewrite` is the preferred output and `rejected` the other."""

    text: str
    rewrite: str
    rejected: str = ""


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
    tokens_per_second: float | None = None
    memory_gib: float | None = None


@dataclass(frozen=True)
class Sample:
    """An output for one of the fixed validation texts, at an evaluation."""

    step: int
    position: int
    text: str
    rewrite: str
    output: str


@dataclass(frozen=True)
class Reports:
    """What the training tells as it goes: a tick several times a step, every step, every metric, lines of the log."""

    tick: Callable[[], None]
    step: Callable[[int, int, float, float], None]  # step, total, epoch, seconds left
    metric: Callable[[Metric], None]
    samples: Callable[[list[Sample]], None]
    log: Callable[[str], None]


@dataclass(frozen=True)
class Result:
    """What a finished training leaves: where the adapter is, and figures about the run."""

    adapter: Path
    figures: dict[str, Any]


def train(
    parameters: RunParameters,
    rows: dict[str, list[Row]],
    base_folder: Path,
    folder: Path,
    reports: Reports,
    resume_from: Path | None = None,
) -> Result:
    """Train an adapter and leave it in `folder/adapter`.

    Args:
        rows: split -> rows; "train" must have some, "validation" may be empty.
        base_folder: the base model's files. folder: where checkpoints and the adapter go.
        resume_from: a checkpoint of `last_checkpoint` to go on from.
    Raises:
        TrainingError: with a sentence for people. Whatever `reports` raises passes through.
    """
    p = parameters
    if p.remote_code:
        trust(base_folder)
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
    pairs: list[Row],
    split: str,
    reports: Reports,
) -> datasets.Dataset:
    """Prompt and completion of each pair that leaves room for its completion; the log says what was cut."""
    kept, cut, dropped = [], 0, 0
    for number, (text, rewrite, _) in enumerate(pairs):
        if number % 100 == 0:
            reports.tick()
        prompt = render(parameters.prompt_template, text, parameters.examples)
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
