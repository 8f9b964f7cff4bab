"""README.md of a run's adapter or merged model: what it is, what it learned from, how, and what it must not be used
for.

Written by the worker when a run ends, with the Hugging Face Hub's header. Does not import torch.
"""

import dataclasses
import re
from typing import Any

from django.template.loader import render_to_string
from django.utils import timezone
from huggingface_hub import ModelCardData

from training.models import Run
from training.parameters import METHODS

HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")
# Not part of what was decided: where the base model came from has lines of its own.
LEFT_OUT = {
    "base_model",
    "base_revision",
    "is_scratch",
    "prompt_template",
    "examples",
    "dataset_hash",
    "seed",
    "method",
}


def text(run: Run, *, merged: bool = False) -> str:
    """The card, as Markdown with a YAML header."""
    facts = _facts(run, merged)
    body = re.sub(r"\n{3,}", "\n\n", render_to_string("training/model_card.md", facts)).strip()
    return f"---\n{_header(run, merged, facts).to_yaml()}\n---\n\n{body}\n"


def _header(run: Run, merged: bool, facts: dict[str, Any]) -> ModelCardData:
    return ModelCardData(
        model_name=run.name,
        base_model=run.base_model if facts["on_hub"] else None,
        library_name="transformers" if merged or facts["whole"] else "peft",
        pipeline_tag="text2text-generation" if run.parameters["method"] == "seq2seq" else "text-generation",
        license="unknown",
        tags=["redress", "text-rewriting", "bias", "toxicity", "safety", f"method:{run.parameters['method']}"]
        + (["scratch-model"] if run.is_scratch else []),
        base_model_relation=("merge" if merged else "finetune" if facts["whole"] else "adapter")
        if facts["on_hub"]
        else None,
    )


def _facts(run: Run, merged: bool) -> dict[str, Any]:
    parameters = run.run_parameters()
    figures = run.figures
    labels = {
        "steps": "optimiser steps",
        "epochs": "epochs",
        "train_loss": "training loss at the end",
        "validation_loss": "validation loss at the end",
        "trained_weights": "trained weights",
        "training_pairs": "training pairs used",
        "tokens_per_second": "useful tokens per second",
        "peak_gpu_gib": "peak GPU memory, GiB",
        "seconds": "seconds of training",
    }
    dataset = run.dataset
    return {
        "run": run,
        "merged": merged,
        "whole": parameters.full_finetuning and parameters.method == "seq2seq",
        "encoder_decoder": parameters.method == "seq2seq",
        "method": METHODS[parameters.method],
        "on_hub": bool(HUB_ID.fullmatch(run.base_model)) and not run.is_scratch,
        "local_base": run.base_model.startswith(("/", "~")),
        "dataset": dataset,
        "filters": "; ".join(f"{name}: {value}" for name, value in dataset.filters.items()) or "none",
        "splits": [(name, dataset.counts.get(name, 0)) for name in ("train", "validation", "test")],
        "recipe": [
            (spec.name, getattr(parameters, spec.name))
            for spec in dataclasses.fields(parameters)
            if spec.name not in LEFT_OUT and parameters.method in spec.metadata.get("methods", (parameters.method,))
        ],
        "prompt": parameters.prompt_template,
        "examples": len(parameters.examples),
        "metrics": [(label, figures[name]) for name, label in labels.items() if figures.get(name) is not None],
        "checks": [
            (name, check) for name in ("adapter", "merged") if (check := (figures.get("load_check") or {}).get(name))
        ],
        "versions": sorted(run.library_versions.items()),
        "now": timezone.now(),
    }
