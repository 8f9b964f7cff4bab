"""Load tokenizers, base models and adapters onto this machine's device. Knows nothing of Django."""

import importlib.metadata
import os
import platform
from pathlib import Path

import bitsandbytes
import peft
import torch
import transformers

from training.engine.trusted import is_trusted

LIBRARIES = ("torch", "transformers", "peft", "trl", "bitsandbytes", "accelerate", "datasets", "tokenizers")


class TrainingError(Exception):
    """The training cannot go on. The message tells people what to change."""


def device() -> str:
    """The accelerator this process may use, in words, or the processor."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name(0)
    return f"CPU ({platform.machine()}, {torch.get_num_threads()} threads)"


def library_versions() -> dict[str, str]:
    """The versions that decide what a run does."""
    return {"python": platform.python_version()} | {name: importlib.metadata.version(name) for name in LIBRARIES}


def compute_dtype(wanted: str) -> torch.dtype:
    """The arithmetic's number type on this machine. A CPU takes float32: bfloat16 is several times slower there."""
    if not torch.cuda.is_available():
        return torch.float32
    if wanted == "auto":
        wanted = "bfloat16" if torch.cuda.is_bf16_supported() else "float16"
    return {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}[wanted]


def load_tokenizer(folder: Path) -> transformers.PreTrainedTokenizerBase:
    """The tokenizer, with a padding token even where the model was made without one."""
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, trust_remote_code=is_trusted(folder))
    except Exception as error:
        raise TrainingError(f"The base model's tokenizer cannot be loaded: {first_line(error)}") from error
    if tokenizer.eos_token is None:
        raise TrainingError("The base model's tokenizer has no end token, so no answer would ever end.")
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def local_rank() -> int:
    """Which of this machine's processes this is, as torchrun and accelerate number them; 0 for a lone one."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def is_encoder_decoder(folder: Path) -> bool:
    """Whether the model in the folder reads with an encoder and writes with a decoder, as T5 and BART do."""
    try:
        return bool(
            transformers.AutoConfig.from_pretrained(folder, trust_remote_code=is_trusted(folder)).is_encoder_decoder
        )
    except (ValueError, OSError, KeyError) as error:
        raise TrainingError(f"The base model's config cannot be read: {first_line(error)}") from error


def load_model(
    folder: Path,
    *,
    dtype: torch.dtype,
    double_quantisation: bool = True,
    four_bit: bool = True,
    sharded: bool = False,
) -> transformers.PreTrainedModel:
    """A causal or encoder-decoder model, as its config says, on this process's GPU if there is one.

    Args:
        four_bit: the weights in 4-bit NF4 and the arithmetic in `dtype`; otherwise both in `dtype`.
        sharded: the weights will be spread over processes, which needs their bits stored as numbers of `dtype`.
    """
    kind = transformers.AutoModelForSeq2SeqLM if is_encoder_decoder(folder) else transformers.AutoModelForCausalLM
    quantisation = transformers.BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=double_quantisation,
        bnb_4bit_compute_dtype=dtype,
        bnb_4bit_quant_storage=dtype if sharded else torch.uint8,
    )
    try:
        model = kind.from_pretrained(
            folder,
            quantization_config=quantisation if four_bit else None,
            dtype=dtype,
            device_map={"": local_rank() if torch.cuda.is_available() else "cpu"},
            use_safetensors=True,
            trust_remote_code=is_trusted(folder),
        )
    except (ValueError, OSError, KeyError) as error:
        raise TrainingError(f"The base model cannot be loaded: {first_line(error)}") from error
    for module in model.modules():
        if isinstance(module, bitsandbytes.nn.Linear4bit):
            # On processors with AVX512-BF16 the first evaluation would repack the weights for a kernel that passes no
            # gradient on, and training would go on wrongly after it.
            module.support_avx512bf16_for_cpu = False
    return model


def load_trained(
    base_folder: Path,
    trained: Path | None,
    *,
    dtype: torch.dtype,
    four_bit: bool = True,
    double_quantisation: bool = True,
) -> transformers.PreTrainedModel | peft.PeftModel:
    """What a run of any method left, ready to generate: an adapter or prefix on its base, or a whole model.

    Args:
        trained: the run's folder of trained weights, or None for the base model alone.
        four_bit, double_quantisation: how the base was loaded in training (`RunParameters.in_four_bits`); of no
            effect on a whole model.
    """
    if trained and not (trained / "adapter_config.json").is_file():
        if not (trained / "config.json").is_file():
            raise TrainingError("The run's folder holds neither an adapter nor a model.")
        return load_model(trained, dtype=dtype, four_bit=False).eval()
    model = load_model(base_folder, dtype=dtype, four_bit=four_bit, double_quantisation=double_quantisation)
    return (load_adapter(model, trained) if trained else model).eval()


def chat(tokenizer: transformers.PreTrainedTokenizerBase, prompt: str) -> list[dict[str, str]] | str:
    """The prompt as the model wants it: a message where the tokenizer has a chat template, else plain text."""
    return [{"role": "user", "content": prompt}] if tokenizer.chat_template else prompt


def prompt_text(tokenizer: transformers.PreTrainedTokenizerBase, prompt: str) -> str:
    """The prompt as one string, ready for the answer, through the chat template where there is one."""
    message = chat(tokenizer, prompt)
    if isinstance(message, str):
        return message
    return tokenizer.apply_chat_template(message, add_generation_prompt=True, tokenize=False)


def load_adapter(model: transformers.PreTrainedModel, folder: Path) -> peft.PeftModel:
    """The base model with a run's adapter or prefix on it."""
    try:
        return peft.PeftModel.from_pretrained(model, str(folder))
    except (ValueError, OSError, KeyError, RuntimeError) as error:
        raise TrainingError(f"The adapter cannot be loaded: {first_line(error)}") from error


def first_line(error: Exception) -> str:
    """What an error of a library says, short enough for a sentence of ours."""
    return str(error).strip().splitlines()[0][:300] if str(error).strip() else type(error).__name__
