"""Outputs of a base model, with or without a run's adapter. Runs in GPU workers only; knows nothing of Django."""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from training.prompts import DEFAULT_TEMPLATE, render


@dataclass(frozen=True, kw_only=True)
class GenerationSpec:
    """What decides an output. Greedy: the same spec and text give the same output on the same machine.

    base_folder: the base model's files. adapter: a run's adapter, or None for the base alone.
    max_length: tokens of prompt kept, from its end; max_new_tokens: tokens of output at most.
    """

    base_folder: Path
    adapter: Path | None = None
    prompt_template: str = DEFAULT_TEMPLATE
    max_length: int = 2048
    max_new_tokens: int = 256
    batch_size: int = 8
    double_quantisation: bool = True
    compute_dtype: str = "auto"


@dataclass(frozen=True)
class Generated:
    """An output, the tokens the model wrote, and its share of the batch's seconds.

    `prompt_tokens`: what the model read for it. `cut_off`: it had not come to an end at the limit of tokens.
    """

    text: str
    tokens: int
    seconds: float
    prompt_tokens: int = 0
    cut_off: bool = False


def generate(
    spec: GenerationSpec, texts: Iterable[str], tick: Callable[[], None] = lambda: None
) -> Iterator[list[Generated]]:
    """Outputs of the texts, in order, one list per batch.

    Args:
        texts: a batch is taken at a time, when the one before has been dealt with.
        tick: called between tokens; whatever it raises stops the generation there and then.

    Raises:
        training.engine.loading.TrainingError: the model or the adapter cannot be loaded; with a sentence for people.
    """
    import torch
    import transformers

    from training.engine import loading
    from training.engine.watching import watched

    class Ticking(transformers.StoppingCriteria):
        def __call__(self, input_ids, scores, **kwargs):
            tick()
            return torch.zeros(input_ids.shape[0], dtype=torch.bool, device=input_ids.device)

    def load():
        tokenizer = loading.load_tokenizer(spec.adapter or spec.base_folder)
        dtype = loading.compute_dtype(spec.compute_dtype)
        model = loading.load_model(spec.base_folder, dtype=dtype, double_quantisation=spec.double_quantisation)
        if spec.adapter:
            model = loading.load_adapter(model, spec.adapter)
        return tokenizer, model.eval()

    tokenizer, model = watched(load, tick)
    tokenizer.padding_side = "left"  # the output follows the last token of every row
    tokenizer.truncation_side = "left"  # of a text that is too long, the instruction to answer stays
    limit = getattr(model.config, "max_position_embeddings", None) or spec.max_length + spec.max_new_tokens
    room = max(16, min(spec.max_length, limit - spec.max_new_tokens))
    ends = {tokenizer.pad_token_id, *_end_tokens(model.generation_config.eos_token_id, tokenizer.eos_token_id)}
    waiting = iter(texts)
    while batch := list(islice(waiting, spec.batch_size)):
        started = time.monotonic()
        encoded = tokenizer(
            [loading.prompt_text(tokenizer, render(spec.prompt_template, text)) for text in batch],
            return_tensors="pt",
            padding=True,
            truncation=True,
            max_length=room,
            add_special_tokens=tokenizer.chat_template is None,
        ).to(model.device)
        with torch.inference_mode():
            answers = model.generate(
                **encoded,
                max_new_tokens=spec.max_new_tokens,
                do_sample=False,
                pad_token_id=tokenizer.pad_token_id,
                stopping_criteria=transformers.StoppingCriteriaList([Ticking()]),
            )[:, encoded["input_ids"].shape[1] :]
        seconds = (time.monotonic() - started) / len(batch)
        yield [
            Generated(
                tokenizer.decode(answer, skip_special_tokens=True).strip(),
                int((answer != tokenizer.pad_token_id).sum()),
                round(seconds, 4),
                int(mask.sum()),
                len(answer) >= spec.max_new_tokens and int(answer[-1]) not in ends,
            )
            for answer, mask in zip(answers, encoded["attention_mask"], strict=True)
        ]


def _end_tokens(*given: int | list[int] | None) -> set[int]:
    """Every token that ends an output; a model may have several."""
    return {token for one in given for token in (one if isinstance(one, list) else [one]) if token is not None}
