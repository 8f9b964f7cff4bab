"""Rows of a dataset as the examples a model learns from: the prompt around the text, tokens, what the loss counts."""

from typing import NamedTuple

import datasets
import transformers

from training.engine.loading import TrainingError, chat
from training.engine.reports import Reports
from training.parameters import RunParameters
from training.prompts import render

IGNORED = -100  # the label of a token that the loss does not count


class Row(NamedTuple):
    """A pair of a dataset; of a preference, `rewrite` is the preferred output and `rejected` the other."""

    text: str
    rewrite: str
    rejected: str = ""


class _Count:
    """How many rows of a split were kept, cut and left out, for the log."""

    def __init__(self, split: str, limit: int) -> None:
        self.split, self.limit = split, limit
        self.kept = self.cut = self.empty = self.long = self.same = 0

    def tell(self, reports: Reports) -> None:
        split, limit = self.split, self.limit
        reports.log(f"{split}: {self.kept} {'pair' if self.kept == 1 else 'pairs'}.")
        if self.cut:
            reports.log(f"{split}: {self.cut} of them cut at {limit} tokens.")
        if self.long:
            reports.log(f"{split}: {self.long} left out, where the prompt alone has {limit} tokens or more.")
        if self.empty:
            reports.log(f"{split}: {self.empty} left out, where a text to learn from is empty.")
        if self.same:
            reports.log(f"{split}: {self.same} left out, where the preferred and the rejected output are the same.")


def build(
    tokenizer: transformers.PreTrainedTokenizerBase,
    parameters: RunParameters,
    rows: dict[str, list[Row]],
    reports: Reports,
) -> dict[str, datasets.Dataset]:
    """Split -> the examples of its rows that can be learned from; a split without any is not there.

    Raises:
        TrainingError: no row of the training split can be learned from, or the rows do not fit the method.
    """
    make = {"seq2seq": _encoder_decoder, "dpo": _preference}.get(parameters.method, _causal)
    if parameters.method == "dpo" and not any(row.rejected.strip() for row in rows.get("train", [])):
        raise TrainingError(
            "DPO learns from preferences, and this dataset has pairs only: freeze a dataset of the kind preference, or "
            "choose another method."
        )
    built = {}
    for split, pairs in rows.items():
        count, kept = _Count(split, parameters.max_length), []
        for number, row in enumerate(pairs):
            if number % 100 == 0:
                reports.tick()
            if example := make(tokenizer, parameters, row, count):
                kept.append(example)
        if pairs:
            count.kept = len(kept)
            count.tell(reports)
        if kept:
            built[split] = datasets.Dataset.from_list(kept)
        elif split == "train":
            raise TrainingError(_nothing_left(count))
    return built


def _nothing_left(count: _Count) -> str:
    if count.long:
        return (
            f"No pair of the training split leaves room for its rewrite in {count.limit} tokens: raise the maximum "
            "length."
        )
    if count.same:
        return "Every preference of the training split has the same output twice: there is nothing to learn from."
    if count.empty:
        return "Every rewrite of the training split is empty: there is nothing to learn from."
    return "The training split has no pair: freeze a dataset with more pairs, or with a larger share for training."


def _causal(tokenizer, parameters: RunParameters, row: Row, count: _Count) -> dict[str, list[int]] | None:
    """Prompt and rewrite as one row of tokens, with the end behind; the labels leave the prompt out where asked to."""
    if not row.rewrite.strip():
        count.empty += 1
        return None
    prompt, limit = render(parameters.prompt_template, row.text, parameters.examples), parameters.max_length
    before, whole = _tokens(tokenizer, prompt, row.rewrite)
    # The rewrite begins where the two part: a template may render the prompt alone in another way.
    start = next((i for i, (a, b) in enumerate(zip(before, whole, strict=False)) if a != b), len(before))
    if max(start, len(before)) >= limit:
        count.long += 1
        return None
    count.cut += len(whole) > limit
    tokens = whole[:limit]
    return {"input_ids": tokens, "labels": [IGNORED] * start + tokens[start:] if parameters.completion_only else tokens}


def _tokens(tokenizer, prompt: str, rewrite: str) -> tuple[list[int], list[int]]:
    """The tokens of the prompt, as generation gives them to the model, and of prompt, rewrite and end together."""
    message = chat(tokenizer, prompt)
    if isinstance(message, str):
        whole = tokenizer(f"{prompt}{rewrite}{tokenizer.eos_token}")["input_ids"]
        while whole[-2:] == [tokenizer.eos_token_id] * 2:  # a tokenizer that ends every text of its own accord
            whole.pop()
        return tokenizer(prompt)["input_ids"], whole
    answer = [{"role": "assistant", "content": rewrite}]
    before = tokenizer.apply_chat_template(message, add_generation_prompt=True, return_dict=True)["input_ids"]
    return before, tokenizer.apply_chat_template(message + answer, return_dict=True)["input_ids"]


def _encoder_decoder(tokenizer, parameters: RunParameters, row: Row, count: _Count) -> dict[str, list[int]] | None:
    """The prompt for the encoder, the rewrite for the decoder, each cut at the maximum length and ended."""
    if not row.rewrite.strip():
        count.empty += 1
        return None
    prompt = render(parameters.prompt_template, row.text, parameters.examples)
    read, written = (_ended(tokenizer, text) for text in (prompt, row.rewrite))
    limit = parameters.max_length
    count.cut += len(read) > limit or len(written) > limit
    return {"input_ids": read[:limit], "attention_mask": [1] * min(len(read), limit), "labels": written[:limit]}


def _ended(tokenizer, text: str) -> list[int]:
    tokens = tokenizer(text)["input_ids"]
    return tokens if tokens[-1:] == [tokenizer.eos_token_id] else [*tokens, tokenizer.eos_token_id]


def _preference(tokenizer, parameters: RunParameters, row: Row, count: _Count) -> dict[str, object] | None:
    """The prompt with the preferred and the rejected output, in the columns that trl's DPO takes."""
    if not row.rewrite.strip() or not row.rejected.strip():
        count.empty += 1
        return None
    if row.rewrite.strip() == row.rejected.strip():
        count.same += 1
        return None
    prompt = render(parameters.prompt_template, row.text, parameters.examples)
    message = chat(tokenizer, prompt)
    sides = [_tokens(tokenizer, prompt, side) for side in (row.rewrite, row.rejected)]
    if len(sides[0][0]) >= parameters.max_length:
        count.long += 1
        return None
    count.cut += max(len(whole) for _, whole in sides) > parameters.max_length
    chosen, rejected = (
        side if isinstance(message, str) else [{"role": "assistant", "content": side}]
        for side in (row.rewrite, row.rejected)
    )
    return {"prompt": message, "chosen": chosen, "rejected": rejected}
