"""Llamas of random weights, of any size, with a tokenizer trained on given texts: built on the spot, to be timed."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import torch
import transformers

from training import random_tokenizer


class Shape(NamedTuple):
    """The size of a Llama. vocabulary: 0 for the tokenizer's own."""

    width: int
    inner_width: int
    layers: int
    heads: int
    key_value_heads: int
    vocabulary: int = 0


SHAPES = {
    "scratch": Shape(64, 128, 2, 4, 4),
    "small": Shape(256, 688, 4, 4, 4),
    "llama-2-7b": Shape(4096, 11008, 32, 32, 32, 32000),
    "mistral-7b": Shape(4096, 14336, 32, 32, 8, 32000),
}


def build(folder: Path, texts: Iterable[str], shape: Shape, dtype: torch.dtype, device: str) -> None:
    """Write a Llama of the shape and its tokenizer into the folder."""
    random_tokenizer.write(folder, texts)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    kept = torch.get_default_dtype()
    with torch.device(device):
        torch.manual_seed(0)
        torch.set_default_dtype(dtype)
        try:
            transformers.LlamaForCausalLM(_llama(tokenizer, shape)).save_pretrained(folder)
        finally:
            torch.set_default_dtype(kept)


def _llama(tokenizer: transformers.PreTrainedTokenizerFast, shape: Shape) -> transformers.LlamaConfig:
    return transformers.LlamaConfig(
        vocab_size=shape.vocabulary or len(tokenizer),
        hidden_size=shape.width,
        intermediate_size=shape.inner_width,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.key_value_heads,
        max_position_embeddings=2_048,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        tie_word_embeddings=False,
    )
