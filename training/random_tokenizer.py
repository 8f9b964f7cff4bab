"""A tokenizer trained on given texts, for models of random weights. Knows nothing of Django or torch."""

import json
from collections.abc import Iterable
from pathlib import Path

END, PAD = "<|end|>", "<|pad|>"


def write(folder: Path, texts: Iterable[str]) -> int:
    """Train a byte-level BPE tokenizer, write it into the folder as transformers reads it, and return its size.

    The same texts give the same files, byte for byte.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

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
    bpe.save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": END,
        "pad_token": PAD,
        "model_max_length": 2_048,
        "clean_up_tokenization_spaces": False,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n")
    return bpe.get_vocab_size()


# The special tokens come first, in their order.
END_ID, PAD_ID = 0, 1
