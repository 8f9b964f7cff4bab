"""Llamas of random weights, of any size, with a tokenizer trained on given texts: built on the spot, to be timed."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

END, PAD = "<|end|>", "<|pad|>"


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
    tokenizer = _tokenizer(texts)
    tokenizer.save_pretrained(folder)
    kept = torch.get_default_dtype()
    with torch.device(device):
        torch.manual_seed(0)
        torch.set_default_dtype(dtype)
        try:
            transformers.LlamaForCausalLM(_llama(tokenizer, shape)).save_pretrained(folder)
        finally:
            torch.set_default_dtype(kept)


def _tokenizer(texts: Iterable[str]) -> transformers.PreTrainedTokenizerFast:
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=2_000,
        special_tokens=[END, PAD],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    bpe.train_from_iterator(texts, trainer)
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        eos_token=END,
        pad_token=PAD,
        model_max_length=2_048,
        clean_up_tokenization_spaces=False,
    )


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
