"""Passes on what a trainer does, to the run's reports."""

import math
import resource
import time
from collections.abc import Callable
from pathlib import Path

import torch
import transformers

from training.engine import checkpoints
from training.engine.loading import TrainingError
from training.engine.order import Progress
from training.engine.reports import Metric, Reports, Sample


def peak_memory_gib() -> float:
    """Of the GPU's memory since the training began, on a CPU of this process's since its start."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # in KiB on Linux


class Watch(transformers.TrainerCallback):
    """Reports steps, points of the curves and samples; stops a training that went wrong; marks checkpoints complete.

    Every process has one: some of what it asks for is gathered from all of them. Only the first one's `reports` tell.

    Args:
        ceiling: a loss above it means that the training has blown up.
        samples: gives the outputs of the model as it is at a step; None where there are none to give.
    """

    def __init__(
        self,
        reports: Reports,
        progress: Progress,
        ceiling: float,
        samples: Callable[[int], list[Sample]] | None,
    ) -> None:
        self.reports, self.progress, self.ceiling, self.samples = reports, progress, ceiling, samples
        self.started = self.mark = time.monotonic()
        self.first_step = 0
        self.busy = 0.0  # seconds of training, without evaluations, samples and checkpoints
        self.told_tokens, self.told_busy = 0, 0.0
        self.evaluated_at = -1
        self.validation_loss: float | None = None
        self.extra: dict[str, float] = {}

    def on_train_begin(self, args, state, control, **kwargs):
        self.started = self.mark = time.monotonic()
        self.first_step, self.told_tokens = state.global_step, self.progress.before
        self.reports.step(state.global_step, state.max_steps, state.epoch or 0.0, 0.0)

    def on_substep_end(self, args, state, control, **kwargs):
        self.reports.tick()

    def on_prediction_step(self, args, state, control, **kwargs):
        self.reports.tick()

    def on_step_end(self, args, state, control, **kwargs):
        now = time.monotonic()
        self.busy, self.mark = self.busy + now - self.mark, now
        pace = (now - self.started) / max(1, state.global_step - self.first_step)
        left = pace * (state.max_steps - state.global_step)
        self.reports.step(state.global_step, state.max_steps, state.epoch or 0.0, left)

    def on_log(self, args, state, control, logs=None, **kwargs):
        logs = logs or {}
        if "eval_loss" in logs:
            kind, loss = "eval", logs["eval_loss"]
            self.evaluated_at, self.validation_loss = state.global_step, loss
            if "eval_rewards/accuracies" in logs:
                self.extra["preference_accuracy"] = round(logs["eval_rewards/accuracies"], 4)
        elif "loss" in logs:
            kind, loss = "train", logs["loss"]
        else:
            return
        self._check(loss, state.global_step)
        tokens = self.progress.total_tokens()
        seconds, fresh = self.busy - self.told_busy, tokens - self.told_tokens
        if kind == "train":
            self.told_busy, self.told_tokens = self.busy, tokens
        grad_norm = logs.get("grad_norm")
        if grad_norm is not None and not math.isfinite(grad_norm):
            grad_norm = None  # float16 training skips such a step by design
        self.reports.metric(
            Metric(
                kind,
                state.global_step,
                state.epoch or 0.0,
                float(loss),
                logs.get("learning_rate"),
                None if grad_norm is None else float(grad_norm),
                tokens or None,
                round(time.monotonic() - self.started, 3),
                round(fresh / seconds, 1) if kind == "train" and seconds > 0 else None,
                round(peak_memory_gib(), 3),
            )
        )

    def _check(self, loss: float, step: int) -> None:
        if not math.isfinite(loss):
            raise TrainingError(
                f"The loss was no number any more at step {step}: try a lower learning rate, or float32 as the compute "
                "type."
            )
        if loss > self.ceiling:
            raise TrainingError(
                f"The loss has blown up: it was {loss:,.1f} at step {step}, far more than a model that guesses. Try a "
                "lower learning rate, or more warm-up."
            )

    def on_evaluate(self, args, state, control, **kwargs):
        if self.samples:
            self.reports.samples(self.samples(state.global_step))
        self.mark = time.monotonic()

    def on_save(self, args, state, control, **kwargs):
        # Every process is behind its own files once all have given their state: only then is the checkpoint complete.
        kept = self.progress.state()
        if state.is_world_process_zero:
            checkpoint = Path(args.output_dir) / f"checkpoint-{state.global_step}"
            checkpoints.mark_complete(checkpoint, state.global_step, **kept)
        self.reports.log(f"Checkpoint at step {state.global_step}.")
        self.mark = time.monotonic()
