"""Runs side by side: what differs between them, their curves and their figures."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from django.core.exceptions import ValidationError

from training.models import MetricKind, Point, Run
from training.parameters import RunParameters

MOST = 6  # as many as can be told apart in one figure
# What a run found out, by its name in the figures of Run.
RESULTS = {
    "validation_loss": "Validation loss",
    "train_loss": "Training loss",
    "steps": "Steps",
    "epochs": "Epochs",
    "trained_weights": "Trained weights",
    "tokens_per_second": "Tokens per second",
    "peak_gpu_gib": "Peak GPU memory, GiB",
    "seconds": "Seconds of training",
}
LOWER_IS_BETTER = ("validation_loss", "train_loss")


@dataclasses.dataclass(frozen=True)
class Row:
    """One line of a comparison: a value for each run, in their order."""

    key: str
    label: str
    values: list[Any]
    best: int | None = None  # which run's value is best, where that can be said

    @property
    def differs(self) -> bool:
        return any(value != self.values[0] for value in self.values)


@dataclasses.dataclass(frozen=True)
class Comparison:
    """`settings` and `results` have a row each; `curves` the points of each run, in the runs' order."""

    runs: list[Run]
    settings: list[Row]
    results: list[Row]
    curves: list[list[Point]]
    warnings: list[str]

    @property
    def differing(self) -> list[Row]:
        return [row for row in self.settings if row.differs]

    @property
    def common(self) -> list[Row]:
        return [row for row in self.settings if not row.differs]

    def figure_curves(self) -> tuple:
        """What figures.compared takes."""
        return tuple(
            (
                f"{run.name} (run {run.pk})",
                *(
                    tuple((point.step, point.loss) for point in points if point.kind == kind)
                    for kind in MetricKind.values
                ),
            )
            for run, points in zip(self.runs, self.curves, strict=True)
        )


def check_numbers(numbers: Sequence[Any]) -> list[int]:
    """Ids of runs as an address gives them, each once, in their order.

    Raises:
        ValidationError: no whole number, or more than MOST.
    """
    wanted: list[int] = []
    for number in numbers:
        if not str(number).isdecimal() or len(str(number)) > 18:
            raise ValidationError({"run": f"{str(number)[:40]} is no number of a run."})
        if int(number) not in wanted:
            wanted.append(int(number))
    if len(wanted) > MOST:
        raise ValidationError({"run": f"At most {MOST} runs can be compared at once, not {len(wanted)}."})
    return wanted


def compare(runs: Sequence[Run]) -> Comparison:
    """The runs side by side. Each needs its `dataset`, `recipe` and `created_by` loaded."""
    runs = list(runs)
    labels = {
        spec.name: spec.metadata.get("label") or spec.name.replace("_", " ").capitalize()
        for spec in dataclasses.fields(RunParameters)
    }
    settings = [
        Row("dataset", "Dataset", [f"{run.dataset.name} ({run.dataset.short_hash})" for run in runs]),
        Row("recipe", "Recipe", [run.recipe.name if run.recipe else "deleted" for run in runs]),
    ]
    for name, label in labels.items():
        if name not in ("dataset_hash", "is_scratch"):
            settings.append(Row(name, label, [run.parameters.get(name) for run in runs]))
    settings.append(Row("device", "Device", [run.device for run in runs]))
    versions = sorted({library for run in runs for library in run.library_versions})
    settings += [Row(name, name, [run.library_versions.get(name, "") for run in runs]) for name in versions]
    results = [_result(name, label, runs) for name, label in RESULTS.items()]
    return Comparison(
        runs=runs,
        settings=settings,
        results=[row for row in results if any(value is not None for value in row.values)],
        curves=[run.curve_points() for run in runs],
        warnings=_warnings(runs),
    )


def _result(name: str, label: str, runs: list[Run]) -> Row:
    values = [run.figures.get(name) for run in runs]
    known = [value for value in values if value is not None]
    best = None
    # Losses over different texts, or in tokens of different tokenizers, have no order.
    if name in LOWER_IS_BETTER and len(known) > 1 and min(known) < max(known) and not _warnings(runs):
        best = values.index(min(known))
    return Row(name, label, values, best)


def _warnings(runs: list[Run]) -> list[str]:
    """What forbids a comparison of the losses, in words."""
    warnings = []
    if len({run.dataset.content_hash for run in runs}) > 1:
        warnings.append("The runs have different datasets: their losses are means over different texts.")
    if len({(run.base_model, run.base_revision) for run in runs if run.base_model}) > 1:
        warnings.append(
            "The runs have different base models: a loss per token says nothing across different tokenizers."
        )
    if len({run.parameters.get("method") == "dpo" for run in runs}) > 1:
        warnings.append("Preference tuning has a loss of its own kind, which is no cross-entropy.")
    if len({run.parameters.get("completion_only", True) for run in runs}) > 1:
        warnings.append("Some runs count the prompt's tokens in their loss and some do not.")
    return warnings
