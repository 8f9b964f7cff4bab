"""Small real trainings, straight through the engine, for its tests."""

from dataclasses import dataclass, field
from pathlib import Path

from training.engine import trainer
from training.parameters import PRESETS, RunParameters
from training.prompts import DEFAULT_TEMPLATE

# Texts of very different lengths, so that batches need padding.
PAIRS = [
    (f"They are all lazy, number {number}{' and so on' * (number * 5 % 13)}.", f"Some of them work less{'!' * number}.")
    for number in range(14)
]
QUICK = {"max_steps": 4, "eval_steps": 2, "save_steps": 2, "lora_rank": 4, "epochs": 50.0, "lora_dropout": 0.2}


def base_for(method: str) -> Path:
    """The folder of a scratch model that the method can train."""
    from training import base_models  # which needs Django: not for scripts that bring their base

    texts = [DEFAULT_TEMPLATE, *(text for pair in PAIRS for text in pair)]
    return base_models.scratch(texts, encoder_decoder=method == "seq2seq").folder


def parameters_for(method: str, **changes) -> RunParameters:
    values = PRESETS["cpu-demo"].parameters.to_json() | QUICK | changes
    return RunParameters(
        **values, method=method, base_model="b", base_revision="r", is_scratch=True,
        prompt_template=DEFAULT_TEMPLATE, dataset_hash="h", seed=1,
    )  # fmt: skip


@dataclass
class Told:
    """What a training reported."""

    metrics: list = field(default_factory=list)
    samples: list = field(default_factory=list)
    steps: list = field(default_factory=list)
    log: list = field(default_factory=list)

    def reports(self, **changes) -> trainer.Reports:
        kept = {
            "tick": lambda: None,
            "step": lambda *values: self.steps.append(values[0]),
            "metric": self.metrics.append,
            "samples": self.samples.extend,
            "log": self.log.append,
        }
        return trainer.Reports(**kept | changes)


def rows_of(pairs=PAIRS, preferences: bool = False) -> list[trainer.Row]:
    return [trainer.Row(text, rewrite, f"{text} Really." if preferences else "") for text, rewrite in pairs]


def train(method, folder, *, base=None, rows=None, resume_from=None, told=None, **changes):
    """A real training of a few steps. Returns its result and what it told."""
    told = told or Told()
    if rows is None:
        kept = rows_of(preferences=method == "dpo")
        rows = {"train": kept[:10], "validation": kept[10:]}
    result = trainer.train(
        parameters_for(method, **changes), rows, base or base_for(method), folder, told.reports(), resume_from
    )
    return result, told
