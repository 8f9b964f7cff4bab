"""Datasets as JSON Lines for training tools. The same dataset gives the same bytes, whenever and wherever."""

import json
from collections.abc import Callable, Iterator
from typing import Any

from annotation.exports import ALPACA_INSTRUCTION
from training import prompts
from training.models import Dataset, DatasetKind

BATCH = 1_000
Rows = Iterator[dict[str, Any]]


def alpaca(dataset: Dataset) -> Rows:
    """instruction, input and output of each row, with its split."""
    for row in dataset.rows.order_by("position").iterator(BATCH):
        yield {"instruction": ALPACA_INSTRUCTION, "input": row.text, "output": row.rewrite, "split": row.split}


def prompt_completion(dataset: Dataset) -> Rows:
    """prompt (the default template) and completion of each row, with its split."""
    for row in dataset.rows.order_by("position").iterator(BATCH):
        prompt = prompts.render(prompts.DEFAULT_TEMPLATE, row.text)
        yield {"prompt": prompt, "completion": row.rewrite, "split": row.split}


def chat(dataset: Dataset) -> Rows:
    """messages of each row: what the user asks and the assistant answers, with its split."""
    for row in prompt_completion(dataset):
        yield {
            "messages": [
                {"role": "user", "content": row["prompt"]},
                {"role": "assistant", "content": row["completion"]},
            ],
            "split": row["split"],
        }


def preference(dataset: Dataset) -> Rows:
    """prompt (the default template), chosen and rejected of each row, with its split: what trl's DPOTrainer reads."""
    for row in dataset.rows.order_by("position").iterator(BATCH):
        prompt = prompts.render(prompts.DEFAULT_TEMPLATE, row.text)
        yield {"prompt": prompt, "chosen": row.rewrite, "rejected": row.rejected, "split": row.split}


FORMATS: dict[str, Callable[[Dataset], Rows]] = {
    "alpaca": alpaca,
    "prompt-completion": prompt_completion,
    "chat": chat,
    "preference": preference,
}
NAMES = {
    "alpaca": "Alpaca",
    "prompt-completion": "Prompt/completion",
    "chat": "Chat",
    "preference": "Preference",
}


def formats_of(dataset: Dataset) -> list[str]:
    """The formats there are for a dataset. A preference dataset's outputs in the others are the preferred ones."""
    if dataset.kind == DatasetKind.PREFERENCE:
        return ["preference", *(name for name in FORMATS if name != "preference")]
    return [name for name in FORMATS if name != "preference"]


def lines(dataset: Dataset, file_format: str) -> Iterator[str]:
    """JSON Lines of the dataset, the same bytes whenever it is written."""
    for row in FORMATS[file_format](dataset):
        yield json.dumps(row, ensure_ascii=False) + "\n"
