"""After the training: load what was saved as its users would, merge it if asked, and prove both by generating.

Knows nothing of Django. The check is made by the training's process when its model is gone from memory. A merge runs
in a process of its own (`python -m training.engine.finishing <folder>`): the unquantised base model needs several
times the memory of the training, and running out of it must take nothing else along.
"""

import gc
import math
import os
import shutil
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
import transformers

from training.engine import loading
from training.engine.line import Line, read_spec
from training.engine.loading import TrainingError, first_line
from training.engine.trusted import is_trusted, trust
from training.parameters import RunParameters

NEW_TOKENS = 32
SIXTEEN_BITS = (torch.bfloat16, torch.float16)
TOLERANCE = 0.05  # of the largest logit; rounding each weight to 16 bit moves logits by less


@dataclass(frozen=True)
class LoadCheck:
    """What generating from the saved files showed.

    seconds: loading and generating. max_difference: largest difference of the merged model's logits from those of the
    adapter on the unquantised base, as a share of the largest logit; None for an adapter. adapter_share: how much of
    what the adapter changes in the base's logits the merged model has; 1 is all of it, 0 the bare base; None where the
    adapter changes next to nothing.
    """

    ok: bool
    prompt: str
    output: str
    seconds: float
    max_difference: float | None = None
    tolerance: float | None = None
    adapter_share: float | None = None
    dtype: str = ""
    error: str = ""

    @property
    def sentence(self) -> str:
        """For the log."""
        if not self.ok:
            return f"What was saved cannot be loaded: {self.error}."
        return f"Loaded what was saved and generated from it, in {self.seconds} s."


def is_adapter(folder: Path) -> bool:
    """Whether the folder holds a peft adapter; otherwise it is a whole model."""
    return (folder / "adapter_config.json").is_file()


def merged_dtype(base_folder: Path) -> torch.dtype:
    """The base's own number type where that has 16 bits, else bfloat16, which has float32's range."""
    config = transformers.AutoConfig.from_pretrained(base_folder, trust_remote_code=is_trusted(base_folder))
    dtype = getattr(config, "dtype", None)
    return dtype if dtype in SIXTEEN_BITS else torch.bfloat16


def _encoded(model: Any, tokenizer: Any, prompt: str, max_length: int) -> Any:
    """The prompt's tokens as generation gives them to the model: of one too long, the end."""
    tokenizer.truncation_side = "left"
    return tokenizer(
        loading.prompt_text(tokenizer, prompt),
        return_tensors="pt",
        truncation=True,
        max_length=max(16, max_length - NEW_TOKENS),
        add_special_tokens=tokenizer.chat_template is None,
    ).to(model.device)


def _generated(model: Any, tokenizer: Any, encoded: Any) -> str:
    with torch.inference_mode():
        answer = model.generate(
            **encoded, max_new_tokens=NEW_TOKENS, do_sample=False, pad_token_id=tokenizer.pad_token_id
        )[0]
    if not model.config.is_encoder_decoder:
        answer = answer[encoded["input_ids"].shape[1] :]
    # JSON in PostgreSQL holds no null byte, which a model may well write
    return tokenizer.decode(answer, skip_special_tokens=True).strip().replace("\x00", "\ufffd")


def _logits(model: Any, encoded: Any) -> torch.Tensor:
    """float32 logits of the prompt's tokens, (positions, vocabulary); of an encoder-decoder, of its first token."""
    more = {}
    if model.config.is_encoder_decoder:
        more["decoder_input_ids"] = torch.full((1, 1), model.config.decoder_start_token_id, device=model.device)
    with torch.inference_mode():
        return model(**encoded, **more).logits[0].float().cpu()


def _free() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def check(folder: Path, base_folder: Path, prompt: str, parameters: RunParameters) -> LoadCheck:
    """Load a saved adapter, or whole model, and generate from one prompt.

    The base is loaded as it was trained (4-bit or 16-bit), which is what fits the machine. An answer of no characters
    is an answer: a model may well learn to end at once.
    """
    started = time.monotonic()
    p, dtype = parameters, loading.compute_dtype(parameters.compute_dtype)
    _free()
    if is_trusted(base_folder):
        trust(folder)  # it holds the same code
    try:
        tokenizer = loading.load_tokenizer(folder)
        model = loading.load_trained(
            base_folder, folder, dtype=dtype, four_bit=p.in_four_bits, double_quantisation=p.double_quantisation
        )
        encoded = _encoded(model, tokenizer, prompt, p.max_length)
        if not bool(torch.isfinite(_logits(model, encoded)).all()):
            raise TrainingError("its logits are no numbers")
        output = _generated(model, tokenizer, encoded)
    except Exception as error:  # whatever a library raises is what its users would see
        return LoadCheck(False, prompt, "", round(time.monotonic() - started, 2), error=first_line(error))
    finally:
        _free()
    return LoadCheck(True, prompt, output, round(time.monotonic() - started, 2), dtype=str(dtype).split(".")[-1])


def merge(
    adapter: Path, base_folder: Path, target: Path, prompt: str, log: Callable[[str], None], *, max_length: int
) -> LoadCheck:
    """Base and adapter as one model in 16 bit, in `target`: safetensors and tokenizer.

    The base is loaded without quantisation: in 16 bit on a GPU, in float32 on a CPU, rounded once when it is saved.
    peft adds the adapter to it and refuses weights that are no numbers. What was saved is loaded again, and its logits
    must be those of the adapter on the same base.
    """
    started = time.monotonic()
    saved_as = merged_dtype(base_folder)
    arithmetic = saved_as if torch.cuda.is_available() else torch.float32
    half = target.with_name(f".{target.name}-half")
    shutil.rmtree(half, ignore_errors=True)
    if is_trusted(base_folder):
        trust(adapter)
        trust(half)
    load = partial(loading.load_model, dtype=arithmetic, four_bit=False)
    try:
        tokenizer = loading.load_tokenizer(adapter)
        try:
            model = loading.load_adapter(load(base_folder), adapter).eval()
        except torch.OutOfMemoryError:
            log("The base model in 16 bit does not fit the GPU: merging in the processor's memory.")
            _free()
            load = partial(_load_on_cpu, dtype=saved_as)
            model = loading.load_adapter(load(base_folder), adapter).eval()
        encoded = _encoded(model, tokenizer, prompt, max_length)
        expected = _logits(model, encoded)
        with model.disable_adapter():
            bare = _logits(model, encoded)
        merged = model.merge_and_unload(safe_merge=True).to(saved_as)
        merged.save_pretrained(half)
        tokenizer.save_pretrained(half)
        del model, merged
        _free()
        log(f"Merged with the unquantised base model, stored in {str(saved_as).split('.')[-1]}.")
        again = load(half).eval()
        encoded = encoded.to(again.device)
        found = _logits(again, encoded)
        output = _generated(again, tokenizer, encoded)
    except Exception as error:  # whatever a library raises is what its users would see
        shutil.rmtree(half, ignore_errors=True)
        return LoadCheck(False, prompt, "", round(time.monotonic() - started, 2), error=first_line(error))
    result = compared(expected, bare, found, prompt, output, time.monotonic() - started, str(saved_as).split(".")[-1])
    if result.ok:
        shutil.rmtree(target, ignore_errors=True)
        half.rename(target)
    else:
        shutil.rmtree(half, ignore_errors=True)
    return result


def _load_on_cpu(folder: Path, dtype: torch.dtype) -> Any:
    seq2seq = loading.is_encoder_decoder(folder)
    kind = transformers.AutoModelForSeq2SeqLM if seq2seq else transformers.AutoModelForCausalLM
    return kind.from_pretrained(
        folder, dtype=dtype, device_map={"": "cpu"}, use_safetensors=True, trust_remote_code=is_trusted(folder)
    )


def compared(
    expected: torch.Tensor,
    bare: torch.Tensor,
    found: torch.Tensor,
    prompt: str,
    output: str,
    seconds: float,
    dtype: str,
) -> LoadCheck:
    """Whether a merged model's logits are those of adapter and base.

    Args:
        expected, bare, found: logits of the same shape, of the adapter on its base, of the base, of the merged model.

    Two things must hold. No logit differs by more than TOLERANCE of the largest one. And the merged model moves from
    the base where the adapter moves it, by the regression of one change on the other: rounding is as likely to go one
    way as the other and leaves it near 1, a merge that left the adapter out makes it 0, however little the adapter
    changes.
    """
    scale = float(expected.abs().max())
    difference = float((found - expected).abs().max()) / scale if scale else float("nan")
    effect = (expected - bare).flatten().double()
    size = float(effect.norm()) / (float(expected.double().norm()) or 1.0)
    share = float(((found - bare).flatten().double() @ effect) / (effect @ effect)) if size > 1e-4 else math.nan
    error = ""
    if not difference <= TOLERANCE:
        error = f"its logits differ from the adapter's by {difference:.3g} of the largest, more than {TOLERANCE}"
    elif share < 0.5 or share > 1.5:
        error = f"it has {share:.2f} of what the adapter changes"
    return LoadCheck(
        not error,
        prompt,
        output,
        round(seconds, 2),
        max_difference=round(difference, 6) if math.isfinite(difference) else None,
        tolerance=TOLERANCE,
        adapter_share=round(share, 4) if math.isfinite(share) else None,
        dtype=dtype,
        error=error,
    )


def main(folder: Path) -> int:
    """Merge as `folder/spec.json` says, and tell the supervising process over the line how it went."""
    spec = read_spec(folder)
    line = Line(spec["address"], 0, spec["patience"])
    if spec["remote_code"]:
        trust(Path(spec["base_folder"]))
    transformers.utils.logging.disable_progress_bar()
    try:
        checked = merge(
            Path(spec["adapter"]),
            Path(spec["base_folder"]),
            Path(spec["merged"]),
            spec["prompt"],
            lambda words: line.tell("log", line=words),
            max_length=spec["max_length"],
        )
    except BaseException as error:
        line.tell("failed", message=str(error), type=type(error).__name__, traceback=traceback.format_exc())
        return 1
    line.tell("done", check=asdict(checked))
    return 0


if __name__ == "__main__":
    os._exit(main(Path(sys.argv[1])))  # taking torch down in order takes seconds
