"""After the training: load what was saved as its users would, merge it if asked, and prove both by generating.

Knows nothing of Django. `python -m training.engine.finishing ORDER.json` runs it in a process of its own, so that the
training's memory is free again and a merge that runs out of memory takes nothing else with it.
"""

import gc
import json
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import transformers

from training.engine import loading
from training.engine.loading import TrainingError, first_line
from training.engine.trusted import is_trusted

NEW_TOKENS = 32
MANTISSA = {torch.bfloat16: 2**-8, torch.float16: 2**-11}  # relative size of one rounding step
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


def is_adapter(folder: Path) -> bool:
    """Whether the folder holds a peft adapter; otherwise it is a whole model."""
    return (folder / "adapter_config.json").is_file()


def can_merge(folder: Path) -> bool:
    """Low-rank adapters can be merged. Prefixes are no weights of the model, and a whole model is merged already."""
    return is_adapter(folder) and json.loads((folder / "adapter_config.json").read_text())["peft_type"] == "LORA"


def merged_dtype(base_folder: Path) -> torch.dtype:
    """The base's own number type where that has 16 bits, else bfloat16, which has float32's range."""
    config = transformers.AutoConfig.from_pretrained(base_folder, trust_remote_code=is_trusted(base_folder))
    dtype = getattr(config, "dtype", None)
    return dtype if dtype in MANTISSA else torch.bfloat16


def _generate(model: Any, tokenizer: Any, prompt: str) -> str:
    text = loading.prompt_text(tokenizer, prompt)
    encoded = tokenizer(text, return_tensors="pt", add_special_tokens=tokenizer.chat_template is None).to(model.device)
    with torch.inference_mode():
        answer = model.generate(
            **encoded, max_new_tokens=NEW_TOKENS, do_sample=False, pad_token_id=tokenizer.pad_token_id
        )[0]
    if not model.config.is_encoder_decoder:
        answer = answer[encoded["input_ids"].shape[1] :]
    return tokenizer.decode(answer, skip_special_tokens=True).strip()


def _logits(model: Any, tokenizer: Any, prompt: str) -> torch.Tensor:
    """float32 logits (positions, vocabulary) of the prompt's tokens; of an encoder-decoder, of the first output
    token."""
    text = loading.prompt_text(tokenizer, prompt)
    encoded = tokenizer(text, return_tensors="pt", add_special_tokens=tokenizer.chat_template is None).to(model.device)
    if model.config.is_encoder_decoder:
        start = torch.full((1, 1), model.config.decoder_start_token_id, device=model.device)
        encoded["decoder_input_ids"] = start
    with torch.inference_mode():
        return model(**encoded).logits[0].float().cpu()


def _free() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def check(
    folder: Path, base_folder: Path, prompt: str, *, four_bit: bool, double_quantisation: bool, compute_dtype: str
) -> LoadCheck:
    """Load a saved adapter, or whole model, and generate from one prompt.

    The base is loaded as it was trained (4-bit or 16-bit), which is what fits the machine. An answer of no characters
    is an answer: a model may well learn to end at once.
    """
    started = time.monotonic()
    dtype = loading.compute_dtype(compute_dtype)
    try:
        tokenizer = loading.load_tokenizer(folder)
        model = loading.load_trained(
            base_folder, folder, dtype=dtype, four_bit=four_bit, double_quantisation=double_quantisation
        )
        logits = _logits(model, tokenizer, prompt)
        if not bool(torch.isfinite(logits).all()):
            raise TrainingError("its logits are no numbers")
        output = _generate(model, tokenizer, prompt)
    except (TrainingError, ValueError, OSError, KeyError, RuntimeError) as error:
        return LoadCheck(False, prompt, "", round(time.monotonic() - started, 2), error=first_line(error))
    finally:
        _free()
    return LoadCheck(True, prompt, output, round(time.monotonic() - started, 2), dtype=str(dtype).split(".")[-1])


def merge(adapter: Path, base_folder: Path, target: Path, prompt: str, log: Callable[[str], None]) -> LoadCheck:
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
    try:
        tokenizer = loading.load_tokenizer(adapter)
        try:
            model = loading.load_trained(base_folder, adapter, dtype=arithmetic, four_bit=False)
        except torch.OutOfMemoryError:
            log("The base model in 16 bit does not fit the GPU: merging in the processor's memory.")
            _free()
            model = loading.load_adapter(_load_on_cpu(base_folder, saved_as), adapter).eval()
        expected = _logits(model, tokenizer, prompt)
        with model.disable_adapter():
            bare = _logits(model, tokenizer, prompt)
        merged = model.merge_and_unload(safe_merge=True).to(saved_as)
        merged.save_pretrained(half)
        tokenizer.save_pretrained(half)
        del model, merged
        _free()
        log(f"Merged with the unquantised base model, stored in {str(saved_as).split('.')[-1]}.")
        again = loading.load_model(half, dtype=arithmetic, four_bit=False).eval()
        found = _logits(again, tokenizer, prompt)
        output = _generate(again, tokenizer, prompt)
    except (TrainingError, ValueError, OSError, KeyError, RuntimeError) as error:
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
    share = float(((found - bare).flatten().double() @ effect) / (effect @ effect)) if size > 1e-4 else None
    error = ""
    if not difference <= TOLERANCE:
        error = f"its logits differ from the adapter's by {difference:.3g} of the largest, more than {TOLERANCE}"
    elif share is not None and not 0.5 <= share <= 1.5:
        error = f"it has {share:.2f} of what the adapter changes"
    return LoadCheck(
        not error,
        prompt,
        output,
        round(seconds, 2),
        max_difference=round(difference, 6),
        tolerance=TOLERANCE,
        adapter_share=None if share is None else round(share, 4),
        dtype=dtype,
        error=error,
    )


def finish(order: dict[str, Any], log: Callable[[str], None]) -> dict[str, Any]:
    """Check, and merge if asked. Returns {"adapter": LoadCheck, "merged": LoadCheck or None} as plain values.

    Args:
        order: `adapter`, `base` (folders), `prompt`, `four_bit`, `double_quantisation`, `compute_dtype`, and `merged`
        (a folder to merge into, or "").
    """
    adapter, base = Path(order["adapter"]), Path(order["base"])
    checked = check(
        adapter,
        base,
        order["prompt"],
        four_bit=order["four_bit"],
        double_quantisation=order["double_quantisation"],
        compute_dtype=order["compute_dtype"],
    )
    log(f"Loaded what was saved and generated from it in {checked.seconds} s." if checked.ok else checked.error)
    merged = None
    if checked.ok and order["merged"]:
        if can_merge(adapter):
            merged = merge(adapter, base, Path(order["merged"]), order["prompt"], log)
            log(
                f"The merged model's logits differ by at most {merged.max_difference} of the largest."
                if merged.ok
                else f"No merged model: {merged.error}."
            )
        else:
            log("Only low-rank adapters can be merged with their base model: there is no merged model.")
    return {"adapter": asdict(checked), "merged": asdict(merged) if merged else None}


def main(path: str) -> None:
    """Carry out an order file; lines of the log to stdout, the result beside the order."""
    transformers.utils.logging.disable_progress_bar()
    result = finish(json.loads(Path(path).read_text()), lambda line: print(line, flush=True))  # noqa: T201
    done = Path(path).with_suffix(".done")
    half = done.with_suffix(".half")
    half.write_text(json.dumps(result))
    half.rename(done)


if __name__ == "__main__":
    main(sys.argv[1])
