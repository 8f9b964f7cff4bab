"""The trainers of the methods, as trl and transformers have them, each with `Steady` before it."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import peft
import torch
import transformers
import trl
from peft.tuners.cartridge.utils import initialize_kv_prefix_from_text

from training.engine import batching
from training.engine.loading import TrainingError
from training.engine.order import Gradients, Progress, Steady
from training.engine.reports import Reports
from training.parameters import RunParameters

CHECKPOINTING = {"use_reentrant": False}
BLOWN_UP = 10  # times the loss of guessing: no training that gets anywhere passes through that


class SFTTrainer(Steady, trl.SFTTrainer):
    """trl's, in a steady order."""


class DPOTrainer(Steady, trl.DPOTrainer):
    """trl's, in a steady order."""


class Seq2SeqTrainer(Steady, transformers.Seq2SeqTrainer):
    """transformers', in a steady order."""


@dataclass
class Job:
    """What a trainer is built from. dtype: of the arithmetic. batching: what `batching.choose` said."""

    parameters: RunParameters
    tokenizer: transformers.PreTrainedTokenizerBase
    model: transformers.PreTrainedModel
    examples: dict[str, datasets.Dataset]
    folder: Path
    dtype: torch.dtype
    batching: str
    progress: Progress
    reports: Reports


def build(job: Job) -> transformers.Trainer:
    """The trainer of the recipe's method, ready to train.

    Raises:
        TrainingError: the recipe does not fit the model.
    """
    builder: Callable[[Job], transformers.Trainer] = {"dpo": _dpo, "seq2seq": _seq2seq}.get(job.parameters.method, _sft)
    try:
        trainer = builder(job)
    except ValueError as error:
        if "target modules" in str(error).lower():
            raise TrainingError(
                f"The base model has no layers named {job.parameters.target_modules}: use all-linear, or its own names."
            ) from error
        raise
    trainer.remove_callback(transformers.PrinterCallback)
    trainer.progress, trainer.group_by_length = job.progress, job.batching == "by-length"
    trainer.gradients = Gradients(may_overflow=job.dtype == torch.float16)
    for weight in trainer.model.parameters():
        if weight.requires_grad:
            # trl keeps the adapter in bfloat16, where the small steps of these learning rates round to nothing
            weight.data = weight.data.float()
    return trainer


def ceiling(parameters: RunParameters, vocabulary: int) -> float:
    """The loss above which a training has blown up: ten times that of guessing among all tokens, or between two."""
    if parameters.method == "dpo":
        return BLOWN_UP * 10 * math.log(2)  # one pair that is far off already costs some units
    return BLOWN_UP * math.log(vocabulary)


def _sft(job: Job) -> SFTTrainer:
    p = job.parameters
    packed = job.batching == "packed"
    config = trl.SFTConfig(
        **_arguments(job),
        packing=packed,
        packing_strategy="bfd",
        eval_packing=False,
        padding_free=job.batching in batching.IN_ONE_ROW,
        max_length=p.max_length if packed else None,  # examples are cut already
        completion_only_loss=p.completion_only,
    )
    trainer = SFTTrainer(**_common(job, config), peft_config=_prefix(p) if p.method == "prefix" else lora(p))
    if p.method == "prefix":
        # From the keys and values of real words, as Li and Liang (2021, section 7.4) found best.
        words = f"{p.prompt_template}\n" * p.prefix_tokens
        initialize_kv_prefix_from_text(trainer.model, job.tokenizer, text=words, use_chat_template=False,
                                       max_length=p.prefix_tokens)  # fmt: skip
    return trainer


def _dpo(job: Job) -> DPOTrainer:
    """Rafailov et al. (2023). The reference is the same model with its adapter off."""
    p = job.parameters
    config = trl.DPOConfig(**_arguments(job), beta=p.dpo_beta, max_length=p.max_length)
    return DPOTrainer(**_common(job, config), peft_config=lora(p))


def _seq2seq(job: Job) -> Seq2SeqTrainer:
    p, model = job.parameters, job.model
    if not p.full_finetuning:
        model = peft.get_peft_model(model, lora(p))
        if p.gradient_checkpointing:
            model.enable_input_require_grads()
    config = transformers.Seq2SeqTrainingArguments(**_arguments(job), remove_unused_columns=True)
    collator = transformers.DataCollatorForSeq2Seq(job.tokenizer, model=job.model)
    return Seq2SeqTrainer(**_common(job, config) | {"model": model}, data_collator=collator)


def _common(job: Job, config: transformers.TrainingArguments) -> dict[str, Any]:
    return {
        "model": job.model,
        "args": config,
        "train_dataset": job.examples["train"],
        "eval_dataset": job.examples.get("validation"),
        "processing_class": job.tokenizer,
    }


def lora(parameters: RunParameters) -> peft.LoraConfig:
    """The low-rank adapter of the recipe: Hu et al. (2021), on all linear layers as Dettmers et al. (2023) advise."""
    return peft.LoraConfig(
        r=parameters.lora_rank,
        lora_alpha=parameters.lora_alpha,
        lora_dropout=parameters.lora_dropout,
        target_modules=parameters.target_list,
        bias="none",
        task_type="SEQ_2_SEQ_LM" if parameters.method == "seq2seq" else "CAUSAL_LM",
    )


def _prefix(parameters: RunParameters) -> peft.PrefixTuningConfig:
    """Without a projection, whose weights a checkpoint would not hold."""
    return peft.PrefixTuningConfig(
        task_type="CAUSAL_LM", num_virtual_tokens=parameters.prefix_tokens, prefix_projection=False
    )


def optimiser(parameters: RunParameters, reports: Reports) -> str:
    """The recipe's optimiser, or plain AdamW where it needs a GPU and there is none."""
    wanted = parameters.optimizer
    if torch.cuda.is_available() or wanted.startswith("adamw_torch"):
        return wanted
    reports.log(f"{wanted} needs a GPU: AdamW in full numbers (adamw_torch) is used instead.")
    return "adamw_torch"


def checkpointing(parameters: RunParameters, reports: Reports) -> bool:
    """Whether activations are computed again; a prefix stands in the cache that this does without."""
    if parameters.gradient_checkpointing and parameters.method == "prefix":
        reports.log("Prefix tuning does not work with gradient checkpointing: it is off.")
        return False
    return parameters.gradient_checkpointing


def _arguments(job: Job) -> dict[str, Any]:
    """What every method's trainer is told."""
    p, on_gpu = job.parameters, torch.cuda.is_available()
    again = checkpointing(p, job.reports)
    sharded = on_gpu and p.sharding == "fsdp" and p.processes > 1
    return {
        "output_dir": str(job.folder),
        "per_device_train_batch_size": p.batch_size,
        "per_device_eval_batch_size": p.batch_size,
        "gradient_accumulation_steps": p.gradient_accumulation,
        "num_train_epochs": p.epochs,
        "max_steps": p.max_steps or -1,
        "learning_rate": p.learning_rate,
        "lr_scheduler_type": p.schedule,
        "warmup_steps": p.warmup_ratio,  # below 1 it is a share of all steps
        "weight_decay": p.weight_decay,
        "max_grad_norm": p.max_grad_norm,
        "optim": optimiser(p, job.reports),
        "gradient_checkpointing": again,
        "gradient_checkpointing_kwargs": CHECKPOINTING if again else None,
        "logging_steps": p.logging_steps,
        "logging_first_step": True,
        "logging_nan_inf_filter": False,  # a loss that is no number must be seen, not smoothed away
        "eval_strategy": "steps" if "validation" in job.examples else "no",
        "eval_steps": p.eval_steps,
        "prediction_loss_only": True,
        "save_strategy": "steps",
        "save_steps": p.save_steps,
        "save_total_limit": 2,
        "bf16": job.dtype == torch.bfloat16,
        "fp16": job.dtype == torch.float16,
        "use_cpu": not on_gpu,
        "seed": p.seed,
        "data_seed": p.seed,
        "dataloader_num_workers": 0,
        "dataloader_pin_memory": on_gpu,
        "ddp_find_unused_parameters": False,
        "fsdp": True if sharded else None,
        "fsdp_config": {"version": 2, "state_dict_type": "FULL_STATE_DICT"} if sharded else None,
        "report_to": "none",
        "disable_tqdm": True,
    }
