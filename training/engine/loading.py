"""Load tokenizers, base models and adapters onto this machine's device. Knows nothing of Django."""

import importlib.metadata
import platform
from pathlib import Path

import bitsandbytes
import peft
import torch
import transformers

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
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except Exception as error:
        raise TrainingError(f"The base model's tokenizer cannot be loaded: {first_line(error)}") from error
    if tokenizer.eos_token is None:
        raise TrainingError("The base model's tokenizer has no end token, so no answer would ever end.")
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_model(folder: Path, *, dtype: torch.dtype, double_quantisation: bool) -> transformers.PreTrainedModel:
    """The base model in 4-bit NF4, on the GPU if there is one."""
    try:
        model = transformers.AutoModelForCausalLM.from_pretrained(
            folder,
            quantization_config=transformers.BitsAndBytesConfig(
                load_in_4bit=True,
                bnb_4bit_quant_type="nf4",
                bnb_4bit_use_double_quant=double_quantisation,
                bnb_4bit_compute_dtype=dtype,
            ),
            dtype=dtype,
            device_map={"": 0 if torch.cuda.is_available() else "cpu"},
            use_safetensors=True,
            trust_remote_code=False,
        )
    except (ValueError, OSError, KeyError) as error:
        raise TrainingError(f"The base model cannot be loaded: {first_line(error)}") from error
    for module in model.modules():
        if isinstance(module, bitsandbytes.nn.Linear4bit):
            # On processors with AVX512-BF16 the first evaluation would repack the weights for a kernel that passes no
            # gradient on, and training would go on wrongly after it.
            module.support_avx512bf16_for_cpu = False
    return model


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
    """The base model with a run's adapter on it."""
    try:
        return peft.PeftModel.from_pretrained(model, str(folder))
    except (ValueError, OSError, KeyError, RuntimeError) as error:
        raise TrainingError(f"The adapter cannot be loaded: {first_line(error)}") from error


def first_line(error: Exception) -> str:
    """What an error of a library says, short enough for a sentence of ours."""
    return str(error).strip().splitlines()[0][:300] if str(error).strip() else type(error).__name__
