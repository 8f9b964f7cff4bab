"""Train a model on a dataset's pairs with the libraries of the field. Knows nothing of Django.

Progress goes out through the callbacks of `Reports`; any exception that one of them raises stops the training there
and then. Launched as several processes (by torchrun or accelerate), each calls `train` alike and the first one tells.
"""

import json
import os
import shutil
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import datasets
import torch
import transformers

from training.engine import batching, examples, methods, samples
from training.engine.examples import Row
from training.engine.loading import (
    TrainingError,
    compute_dtype,
    device,
    is_encoder_decoder,
    library_versions,
    load_model,
    load_tokenizer,
    local_rank,
)
from training.engine.order import Progress
from training.engine.reports import Metric, Reports, Sample
from training.engine.trusted import trust
from training.engine.watch import Watch, peak_memory_gib
from training.engine.watching import watched
from training.parameters import RunParameters

__all__ = ["Metric", "Reports", "Result", "Row", "Sample", "train"]


@dataclass(frozen=True)
class Result:
    """What a finished training leaves: where the trained weights are, and figures about the run."""

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
    """Train by the recipe's method and leave what was trained in `folder/adapter`: an adapter, or a whole model.

    Args:
        rows: split -> rows; "train" must have some, "validation" may be empty.
        base_folder: the base model's files. folder: where checkpoints and the trained weights go.
        resume_from: a checkpoint of `last_checkpoint` to go on from.
    Raises:
        TrainingError: with a sentence for people. Whatever `reports` raises passes through.
    """
    p = parameters
    if p.remote_code:
        trust(base_folder)
    if int(os.environ.get("RANK", "0")):
        reports = reports.silent()
    if torch.cuda.is_available():
        torch.cuda.set_device(local_rank())
        torch.cuda.reset_peak_memory_stats()
    datasets.disable_progress_bars()
    transformers.utils.logging.disable_progress_bar()
    job = _job(p, rows, base_folder, folder, reports)
    trainer = methods.build(job)
    weights = sum(weight.numel() for weight in trainer.model.parameters() if weight.requires_grad)
    reports.log(f"{weights:,} weights are trained.")
    if resume_from:
        job.progress.restore(resume_from, trainer.args.process_index)
    watch = Watch(reports, job.progress, methods.ceiling(p, len(job.tokenizer)), _sampler(trainer, job, rows))
    trainer.add_callback(watch)

    started = time.monotonic()
    outcome = trainer.train(resume_from_checkpoint=str(resume_from) if resume_from else None)
    seconds = time.monotonic() - started
    if "validation" in job.examples and watch.evaluated_at != trainer.state.global_step:
        trainer.evaluate()
    history = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    tokens = job.progress.total_tokens()
    figures: dict[str, Any] = {
        "steps": trainer.state.global_step,
        "epochs": round(trainer.state.epoch or 0.0, 4),
        "train_loss": history[-1] if history else outcome.training_loss,
        "validation_loss": watch.validation_loss,
        "trained_weights": weights,
        "training_pairs": len(job.examples["train"]),
        "seconds": round(seconds, 1),
        "tokens": tokens,
        "tokens_per_second": round((tokens - job.progress.before) / watch.busy, 1) if watch.busy else 0.0,
        "peak_gpu_gib": round(peak_memory_gib(), 2) if torch.cuda.is_available() else None,
        "peak_memory_gib": round(peak_memory_gib(), 2),
        "batching": job.batching,
        "processes": trainer.args.world_size,
        "data_order": job.progress.data_order(),
        **watch.extra,
    }
    return Result(_store(trainer, job, figures), figures)


def _job(
    p: RunParameters, rows: dict[str, list[Row]], base_folder: Path, folder: Path, reports: Reports
) -> methods.Job:
    """Everything loaded and checked, the log saying what is done differently from the recipe and why."""
    if is_encoder_decoder(base_folder) != (p.method == "seq2seq"):
        raise TrainingError(
            "The base model is no encoder-decoder: choose another method than seq2seq, or a base model such as T5 or "
            "BART."
            if p.method == "seq2seq"
            else f"The base model is an encoder-decoder, which {p.method} cannot train: choose the method seq2seq, or "
            "another base model."
        )
    dtype = compute_dtype(p.compute_dtype)
    if dtype == torch.float16 and p.method == "seq2seq":
        reports.log("Models like T5 overflow in float16: float32 is used instead.")
        dtype = torch.float32
    reports.log(f"Device: {device()}. Arithmetic in {str(dtype).removeprefix('torch.')}.")
    if p.schedule == "constant" and p.warmup_ratio:
        reports.log("The constant schedule has no warm-up: the warm-up share has no effect.")
    if p.processes > 1 and p.sharding == "fsdp" and not torch.cuda.is_available():
        reports.log("Sharing the model between processes needs GPUs: each process holds the whole model (ddp).")
    tokenizer = watched(lambda: load_tokenizer(base_folder), reports.tick)
    load = partial(
        load_model,
        base_folder,
        # Weights that all move are kept in full numbers: small steps would round to nothing.
        dtype=torch.float32 if p.method == "seq2seq" and p.full_finetuning else dtype,
        four_bit=p.in_four_bits,
        double_quantisation=p.double_quantisation,
        sharded=p.sharding == "fsdp" and p.processes > 1,
    )
    model = watched(load, reports.tick)
    _check_length(p, model.config)
    built = examples.build(tokenizer, p, rows, reports)
    chosen = batching.choose(p, model, dtype, reports)
    return methods.Job(p, tokenizer, model, built, folder, dtype, chosen, Progress(), reports)


def _check_length(p: RunParameters, config: transformers.PretrainedConfig) -> None:
    limit = getattr(config, "max_position_embeddings", None)
    room = limit - (p.prefix_tokens if p.method == "prefix" else 0) if limit else None
    if room is not None and p.max_length > room:
        raise TrainingError(f"The base model reads {limit} tokens at most: set the maximum length to {room} or less.")


def _sampler(trainer: transformers.Trainer, job: methods.Job, rows: dict[str, list[Row]]):
    """Gives the outputs on the fixed validation texts; None in processes that do not tell."""
    texts = rows.get("validation", [])[: samples.COUNT]
    if not texts or not trainer.is_world_process_zero():
        return None
    if trainer.is_fsdp_enabled:
        job.reports.log("No sample outputs during the training: the model is spread over the processes.")
        return None
    return lambda step: samples.outputs(
        trainer.accelerator.unwrap_model(trainer.model), job.tokenizer, job.parameters, texts, step, job.dtype
    )


def _store(trainer: transformers.Trainer, job: methods.Job, figures: dict[str, Any]) -> Path:
    """Write what was trained, with its tokenizer, recipe and figures, into `folder/adapter`; only one process does."""
    p, adapter = job.parameters, job.folder / "adapter"
    if trainer.is_world_process_zero():
        shutil.rmtree(adapter, ignore_errors=True)
    if trainer.is_fsdp_enabled:
        trainer.save_model(str(adapter))  # gathers the parts from all processes
        (adapter / "training_args.bin").unlink(missing_ok=True)  # a pickle, and of no use
    elif trainer.is_world_process_zero():
        trainer.accelerator.unwrap_model(trainer.model).save_pretrained(adapter)
    if trainer.is_world_process_zero():
        job.tokenizer.save_pretrained(adapter)
        _name_the_base(adapter / "adapter_config.json", p)
        recipe = {"parameters": p.to_json(), "library_versions": library_versions()}
        (adapter / "recipe.json").write_text(json.dumps(recipe, indent=2) + "\n")
        (adapter / "metrics.json").write_text(json.dumps(figures, indent=2) + "\n")
    trainer.accelerator.wait_for_everyone()
    return adapter


def _name_the_base(config_file: Path, p: RunParameters) -> None:
    """The base's name and commit instead of a folder of this machine, so that the adapter is of use elsewhere."""
    if config_file.is_file():
        base = {"base_model_name_or_path": p.base_model, "revision": p.base_revision}
        config_file.write_text(json.dumps(json.loads(config_file.read_text()) | base, indent=2) + "\n")
