"""Outputs on a few fixed validation texts while a model is in training. Leaves the training as it found it."""

from typing import Any

import torch
import transformers

from training.engine.examples import Row
from training.engine.loading import prompt_text
from training.engine.reports import Sample
from training.parameters import RunParameters
from training.prompts import render

COUNT = 3
NEW_TOKENS = 64


def outputs(
    model: Any,
    tokenizer: transformers.PreTrainedTokenizerBase,
    parameters: RunParameters,
    rows: list[Row],
    step: int,
    dtype: torch.dtype,
) -> list[Sample]:
    """Greedy outputs of at most 64 new tokens on the first texts, in one batch.

    The model's mode and the state of the random numbers are what they were before.
    """
    rows = rows[:COUNT]
    prompts = [
        prompt_text(tokenizer, render(parameters.prompt_template, row.text, parameters.examples)) for row in rows
    ]
    sides = tokenizer.padding_side, tokenizer.truncation_side
    tokenizer.padding_side = "right" if parameters.method == "seq2seq" else "left"
    tokenizer.truncation_side = "left"
    try:
        encoded = tokenizer(
            prompts,
            return_tensors="pt",
            padding=True,
            truncation=True,
            max_length=parameters.max_length,
            add_special_tokens=tokenizer.chat_template is None,
        )
    finally:
        tokenizer.padding_side, tokenizer.truncation_side = sides
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    try:
        with (
            torch.no_grad(),
            torch.random.fork_rng(devices=[device] if device.type == "cuda" else []),
            torch.autocast(device.type, dtype, enabled=dtype != torch.float32),
        ):
            answers = model.generate(
                input_ids=encoded["input_ids"].to(device),
                attention_mask=encoded["attention_mask"].to(device),
                max_new_tokens=NEW_TOKENS,
                do_sample=False,
                use_cache=True,
                pad_token_id=tokenizer.pad_token_id,
            )
    finally:
        model.train(was_training)
    if parameters.method != "seq2seq":
        answers = answers[:, encoded["input_ids"].shape[1] :]
    texts = tokenizer.batch_decode(answers, skip_special_tokens=True)
    return [
        Sample(step, position, row.text, row.rewrite, text.strip())
        for position, (row, text) in enumerate(zip(rows, texts, strict=True))
    ]
