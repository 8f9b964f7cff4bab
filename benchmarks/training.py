"""How fast a model learns from pairs: the papers' script as a plain trl run, and our default recipe.

    make bench-training                                            # a scratch model, on a CPU
    make bench-training ARGS="--device cuda --shape llama-2-7b"    # random weights of that shape, built on the spot

Both learn from the same pairs, seen once, on the same randomly initialised model and the same device, each in a process
of its own after a few steps of warm-up. The papers' run is trl's SFTTrainer with the settings of SR-LLM
(arXiv:2404.01399): batches of 4 in random order filled up to the longest, the loss on the whole text, r 64, alpha 16,
dropout 0.2, 2e-4, constant; what the paper does not say is as trl and peft have it. Ours is the preset `fast` through
`training.engine.trainer.train`. The texts are invented; their lengths are spread like those of the real pairs that the
papers used (median 50 words, one in ten above 150).

Prints one JSON object: useful tokens a second (no padding counted, without loading, evaluations and checkpoints), peak
memory, and the loss on the rewrites of validation pairs at the end. Targets: 1.5 times the tokens a second at no worse
loss; with 7B weights on a GPU twice, within 16 GiB. Each way is run `--repeats` times by turns, and the median counts.
"""

import argparse
import json
import math
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import training  # noqa: F401  # first: it decides how torch's threads wait, in both ways alike

WAYS = ("papers", "ours")
PAPERS: dict[str, Any] = {"max_length": 512, "batch": 4, "rank": 64, "alpha": 16, "dropout": 0.2, "rate": 2e-4}
UNFAIR = ["lazy", "stupid", "useless", "dirty", "hopeless", "greedy", "worthless", "silly", "rude", "ugly", "crazy"]
FAIR = ["some", "people", "in", "parts", "at", "times", "perhaps", "fair", "calm", "new", "other"]
SENTENCE = (
    "neighbours teachers drivers families workers visitors students from the north south old town city street market "
    "who never always often really said that this every day year meeting about rules taxes schools doctors noise money "
    "houses gardens trains want need take give leave stay with without because while after before and but so they we"
)
PLAIN = SENTENCE.split()


def pairs(count: int, seed: int) -> list[tuple[str, str]]:
    """Invented texts with a rewrite that a model can learn: each unfair word has its one fair word."""
    chance = random.Random(seed)
    found = []
    for _ in range(count):
        words = [
            chance.choice(UNFAIR) if chance.random() < 0.2 else chance.choice(PLAIN)
            for _ in range(max(4, min(170, round(chance.lognormvariate(math.log(50), 0.9)))))
        ]
        safe = [FAIR[UNFAIR.index(word)] if word in UNFAIR else word for word in words if word != "really"]
        found.append((" ".join(words).capitalize() + ".", " ".join(safe).capitalize() + "."))
    return found


def build(shape: str, folder: Path, device: str) -> None:
    """A Llama of the shape with random weights, and a tokenizer trained on texts of the same kind."""
    import torch

    from benchmarks import shapes
    from training.prompts import DEFAULT_TEMPLATE

    texts = [DEFAULT_TEMPLATE, *(text for pair in pairs(300, seed=7) for text in pair)]
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    shapes.build(folder, texts, shapes.SHAPES[shape], dtype, device)


def papers(base: Path, folder: Path, train: list[tuple[str, str]], steps: int) -> dict[str, Any]:
    """The papers' script: what somebody writes with trl, peft and bitsandbytes and these settings."""
    import datasets
    import peft
    import torch
    import transformers
    import trl

    from training.engine.watch import peak_memory_gib
    from training.prompts import DEFAULT_TEMPLATE, render

    on_gpu = torch.cuda.is_available()
    dtype = torch.float16 if on_gpu else torch.float32
    tokenizer = transformers.AutoTokenizer.from_pretrained(base)
    model = transformers.AutoModelForCausalLM.from_pretrained(
        base,
        quantization_config=transformers.BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype
        ),
        dtype=dtype,
        device_map={"": 0 if on_gpu else "cpu"},
    )
    texts = [{"text": render(DEFAULT_TEMPLATE, text) + rewrite} for text, rewrite in train]
    trainer = trl.SFTTrainer(
        model=model,
        args=trl.SFTConfig(
            output_dir=str(folder),
            per_device_train_batch_size=PAPERS["batch"],
            learning_rate=PAPERS["rate"],
            lr_scheduler_type="constant",
            weight_decay=0.001,
            max_grad_norm=0.3,
            optim="paged_adamw_32bit" if on_gpu else "adamw_torch",
            fp16=on_gpu,
            bf16=False,
            use_cpu=not on_gpu,
            max_length=PAPERS["max_length"],
            num_train_epochs=1,
            max_steps=steps or -1,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            seed=1,
        ),
        train_dataset=datasets.Dataset.from_list(texts),
        processing_class=tokenizer,
        peft_config=peft.LoraConfig(
            r=PAPERS["rank"],
            lora_alpha=PAPERS["alpha"],
            lora_dropout=PAPERS["dropout"],
            bias="none",
            task_type="CAUSAL_LM",
        ),
    )
    trainer.remove_callback(transformers.PrinterCallback)
    for weight in trainer.model.parameters():
        if weight.requires_grad:
            weight.data = weight.data.float()  # without this, float16 training stops: no gradient in bfloat16 scales
    tokens = sum(len(row) for row in trainer.train_dataset["input_ids"])
    started = time.perf_counter()
    trainer.train()
    if on_gpu:
        torch.cuda.synchronize()
    seconds = time.perf_counter() - started
    figures = {"tokens": tokens, "seconds": seconds, "steps": trainer.state.global_step}
    figures |= {"peak_memory_gib": peak_memory_gib()}
    trainer.model.save_pretrained(folder / "adapter")
    return figures


def recipe(steps: int) -> Any:
    """Our default recipe, for pairs that are seen once."""
    from training.parameters import PRESETS, RunParameters
    from training.prompts import DEFAULT_TEMPLATE

    values = PRESETS["fast"].parameters.to_json()
    values |= {"epochs": 1.0, "max_steps": steps, "eval_steps": 1_000_000, "save_steps": 1_000_000}
    return RunParameters(
        **values, method="qlora", base_model="benchmark", base_revision="", is_scratch=True,
        prompt_template=DEFAULT_TEMPLATE, dataset_hash="", seed=1,
    )  # fmt: skip


def ours(base: Path, folder: Path, train: list[tuple[str, str]], steps: int) -> dict[str, Any]:
    """The same by our own training, as a worker does it."""
    from training.engine import trainer

    log: list[str] = []
    reports = trainer.Reports(lambda: None, lambda *_: None, lambda _: None, lambda _: None, log.append)
    rows = {"train": [trainer.Row(*pair) for pair in train], "validation": []}
    figures = trainer.train(recipe(steps), rows, base, folder, reports).figures
    return {
        "tokens": figures["tokens"],
        "seconds": figures["tokens"] / figures["tokens_per_second"],
        "steps": figures["steps"],
        "peak_memory_gib": figures["peak_memory_gib"],
        "batching": figures["batching"],
        "log": log,
    }


def loss_on_rewrites(base: Path, adapter: Path | None, held_out: list[tuple[str, str]]) -> float:
    """Mean loss of a token of the rewrites, the same for both ways: one text at a time, base model in 4 bit."""
    import torch

    from training.engine import examples, loading, trainer

    p = recipe(0)
    reports = trainer.Reports(lambda: None, lambda *_: None, lambda _: None, lambda _: None, lambda _: None)
    tokenizer = loading.load_tokenizer(base)
    rows = {"train": [trainer.Row(*pair) for pair in held_out]}
    built = examples.build(tokenizer, p, rows, reports)["train"]
    dtype = loading.compute_dtype("auto")
    model = loading.load_trained(base, adapter, dtype=dtype)
    total = count = 0.0
    for row in built:
        tokens, labels = (torch.tensor([row[name]], device=model.device) for name in ("input_ids", "labels"))
        with torch.inference_mode(), torch.autocast(model.device.type, dtype, enabled=dtype != torch.float32):
            logits = model(input_ids=tokens).logits[0, :-1].float()
        wanted = labels[0, 1:]
        total += float(torch.nn.functional.cross_entropy(logits, wanted, ignore_index=-100, reduction="sum"))
        count += int((wanted != -100).sum())
    return total / count


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """One way, in this process."""
    import torch

    base = Path(options.base)
    train, held_out = pairs(options.pairs, seed=1), pairs(options.held_out, seed=2)
    run = {"papers": papers, "ours": ours}[options.way]
    with tempfile.TemporaryDirectory(prefix="redress-bench-") as name:
        folder = Path(name)
        run(base, folder / "warm-up", train[:64], 3)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        figures = run(base, folder / "run", train, 0)
        return {
            "useful_tokens_per_second": round(figures["tokens"] / figures["seconds"], 1),
            **{key: round(value, 3) if isinstance(value, float) else value for key, value in figures.items()},
            "validation_loss": round(loss_on_rewrites(base, folder / "run" / "adapter", held_out), 4),
        }


def compare(options: argparse.Namespace) -> dict[str, Any]:
    """Both ways by turns, each in a process of its own."""
    results: dict[str, list[dict[str, Any]]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory(prefix="redress-bench-", dir=options.folder) as name:
        base = Path(name) / "base"
        arguments = ["--device", options.device, "--shape", options.shape, "--base", str(base)]
        _part(arguments, "build")
        for _ in range(options.repeats):
            for way in WAYS:
                sizes = ["--pairs", str(options.pairs), "--held-out", str(options.held_out)]
                results[way].append(json.loads(_part(arguments + sizes, way)))
        untrained = json.loads(_part([*arguments, "--held-out", str(options.held_out)], "untrained"))
    by_speed = {way: sorted(runs, key=lambda run: run["useful_tokens_per_second"]) for way, runs in results.items()}
    chosen = {way: runs[len(runs) // 2] for way, runs in by_speed.items()}
    ratios = [
        our["useful_tokens_per_second"] / their["useful_tokens_per_second"]
        for our, their in zip(results["ours"], results["papers"], strict=True)
    ]
    is_large = options.device == "cuda" and options.shape != "scratch"
    targets = {"ratio": 2.0 if is_large else 1.5, "validation_loss": chosen["papers"]["validation_loss"]}
    if is_large:
        targets["peak_memory_gib"] = 16.0
    ratio = statistics.median(ratios)
    met = ratio >= targets["ratio"] and chosen["ours"]["validation_loss"] <= targets["validation_loss"]
    return {
        "device": options.device,
        "shape": options.shape,
        "pairs": options.pairs,
        **chosen,
        "untrained_validation_loss": untrained,
        "ratio": round(ratio, 2),
        "ratios": [round(one, 2) for one in ratios],
        "targets": targets,
        "targets_met": met and chosen["ours"]["peak_memory_gib"] <= targets.get("peak_memory_gib", math.inf),
        "machine": {
            "cores": os.cpu_count(),
            "python": platform.python_version(),
            "threads_wait": os.environ["OMP_WAIT_POLICY"],
        }
        | _device_name(options.device),
    }


def _device_name(device: str) -> dict[str, str]:
    if device != "cuda":
        return {}
    import torch

    return {"gpu": torch.cuda.get_device_name(0)}


def _part(arguments: list[str], way: str) -> str:
    """Run a part of the benchmark in a process of its own; the last line that it prints."""
    device = arguments[arguments.index("--device") + 1]
    environment = os.environ | ({} if device == "cuda" else {"CUDA_VISIBLE_DEVICES": ""})
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.training", *arguments, "--way", way]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"The part {way} failed:\n{done.stderr[-4000:]}")
    return done.stdout.strip().splitlines()[-1] if done.stdout.strip() else ""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--shape", default="scratch", help="scratch, small, llama-2-7b, mistral-7b")
    parser.add_argument("--pairs", type=int, default=800)
    parser.add_argument("--held-out", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--folder", help="where the model is built; 7B shapes need 15 GB")
    parser.add_argument("--report", action="store_true", help="end with 0 even where a target is missed")
    parser.add_argument("--way", choices=("build", "untrained", *WAYS), help=argparse.SUPPRESS)
    parser.add_argument("--base", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.way == "build":
        build(options.shape, Path(options.base), options.device)
        return 0
    if options.way == "untrained":
        print(round(loss_on_rewrites(Path(options.base), None, pairs(options.held_out, seed=2)), 4))
        return 0
    if options.way:
        print(json.dumps(measure(options)))
        return 0
    result = compare(options)
    json.dump(result, sys.stdout, indent=2)
    print()
    return 0 if result["targets_met"] or options.report else 1


if __name__ == "__main__":
    sys.exit(main())
