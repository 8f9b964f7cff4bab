"""Generation by vLLM, where a GPU worker has it installed. Same prompts and same answers' shape as generation.Model.

vLLM is no dependency of ours: it pins its own torch. It is imported here alone, and only when a system asks for it.
"""

import importlib.util
import json
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice
from typing import Any

from training.engine.generation import Generated, GenerationSpec, Prompt, Prompts, seed_of
from training.engine.watching import watched

WINDOW = 256  # texts at a time: what is not stored when the worker dies


def is_installed() -> bool:
    return importlib.util.find_spec("vllm") is not None


class VLLMModel:
    """A model that vLLM serves within this process. An adapter stays beside its base, whatever the spec says."""

    def __init__(self, spec: GenerationSpec) -> None:
        """Raises TrainingError where vLLM cannot serve what the run trained."""
        import transformers
        import vllm

        from training.engine import loading

        self.spec, self.vllm = spec, vllm
        settings = _adapter_settings(spec)
        if settings and settings.get("peft_type") != "LORA":
            raise loading.TrainingError("vLLM serves low-rank adapters and whole models only. Use transformers here.")
        folder = spec.adapter if spec.adapter and not settings else spec.base_folder
        config = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=False)
        if config.is_encoder_decoder:
            raise loading.TrainingError("vLLM does not serve encoder-decoder models here. Use transformers.")
        self.prompts = Prompts(spec, config, spec.adapter or spec.base_folder)
        options: dict[str, Any] = {
            "model": str(folder),
            "tokenizer": str(spec.adapter or spec.base_folder),
            "dtype": spec.compute_dtype,
            "max_model_len": self.prompts.room + spec.max_new_tokens,
            "trust_remote_code": False,
            "seed": 0,
        }
        if spec.four_bit and folder == spec.base_folder:
            options["quantization"] = "bitsandbytes"
        if settings:
            options |= {"enable_lora": True, "max_lora_rank": max(8, int(settings.get("r", 8)))}
        self.lora = self._lora_request() if settings else None
        self.llm = vllm.LLM(**options)

    def _lora_request(self) -> Any:
        from vllm.lora.request import LoRARequest

        return LoRARequest("run", 1, str(self.spec.adapter))

    def generate(self, texts: Iterable[str], tick: Callable[[], None] = lambda: None) -> Iterator[list[Generated]]:
        """As generation.Model.generate."""
        waiting, first = iter(texts), 0
        while window := list(islice(waiting, min(self.spec.window, WINDOW))):
            prompts = self.prompts(window, first)
            first += len(window)
            started = time.monotonic()
            answers = watched(partial(self._ask, prompts), tick)
            seconds = round((time.monotonic() - started) / len(prompts), 4)
            yield [self._made(prompt, answer, seconds) for prompt, answer in zip(prompts, answers, strict=True)]

    def _ask(self, prompts: list[Prompt]) -> list[Any]:
        spec = self.spec
        return self.llm.generate(
            [{"prompt_token_ids": prompt.ids} for prompt in prompts],
            [
                self.vllm.SamplingParams(
                    temperature=spec.temperature,
                    top_p=spec.top_p,
                    max_tokens=spec.max_new_tokens,
                    seed=seed_of(spec.seed, prompt.text) if spec.temperature else None,
                )
                for prompt in prompts
            ],
            lora_request=self.lora,
            use_tqdm=False,
        )

    def _made(self, prompt: Prompt, answer: Any, seconds: float) -> Generated:
        made = answer.outputs[0]
        return Generated(
            text=made.text.strip(),
            tokens=len(made.token_ids),
            seconds=seconds,
            prompt_tokens=len(prompt.ids),
            cut_off=made.finish_reason == "length",
            prompt_cut=prompt.cut,
            index=prompt.index,
        )


def _adapter_settings(spec: GenerationSpec) -> dict[str, Any]:
    """What peft wrote about the adapter; {} where the run trained a whole model, or nothing."""
    path = spec.adapter / "adapter_config.json" if spec.adapter else None
    return json.loads(path.read_text()) if path and path.is_file() else {}
