"""The order in which examples are seen, and a count of what was seen: the same after every resumption.

`Steady` goes before a trainer of transformers or trl and makes it so, for every method alike.
"""

import hashlib
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import gather_object
from torch.utils.data import Sampler
from transformers.trainer_pt_utils import get_length_grouped_indices

from training.engine.checkpoints import COMPLETE
from training.engine.examples import IGNORED
from training.engine.loading import TrainingError


class Order(Sampler[int]):
    """Every example once an epoch, in an order that seed and epoch alone decide.

    Args:
        lengths: tokens of each example. group: examples of like length stand together in batches of this many, which
            come in random order; 0 for a plain random order.
    """

    def __init__(self, lengths: list[int], group: int, seed: int) -> None:
        self.lengths, self.group, self.seed, self.epoch = lengths, group, seed, 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator()
        generator.manual_seed(int.from_bytes(hashlib.sha256(f"{self.seed}:{self.epoch}".encode()).digest()[:8]) >> 1)
        if not self.group:
            return iter(torch.randperm(len(self.lengths), generator=generator).tolist())
        near = get_length_grouped_indices(self.lengths, self.group, generator=generator)
        whole = len(near) // self.group  # what is left over stays behind the batches
        batches = [near[i * self.group : (i + 1) * self.group] for i in range(whole)]
        mixed = [index for i in torch.randperm(whole, generator=generator).tolist() for index in batches[i]]
        return iter(mixed + near[whole * self.group :])


class Progress:
    """What this process has seen: useful tokens, and a hash over the batches in their order.

    Both go on from a checkpoint, so at the end they are those of one uninterrupted run.
    """

    def __init__(self) -> None:
        self.tokens = 0
        self.before = 0  # tokens of all processes, before the checkpoint
        self.order = ""

    def see(self, inputs: dict[str, Any]) -> None:
        self.order = hashlib.sha256(self.order.encode() + inputs["input_ids"].cpu().numpy().tobytes()).hexdigest()
        self.tokens += useful_tokens(inputs)

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps. Every process calls it, and waits here for the others."""
        return {"tokens": self.total_tokens(), "data_order": gather_object([self.order])}

    def restore(self, checkpoint: Path, rank: int) -> None:
        kept = json.loads((checkpoint / COMPLETE).read_text())
        orders = kept.get("data_order", [""])
        # With another number of processes each goes on from all of them.
        self.order = orders[rank] if rank < len(orders) else ":".join(orders)
        self.before = kept.get("tokens", 0)

    def total_tokens(self) -> int:
        """Of all processes, since the run's first step. Every process calls it, and waits here for the others."""
        return self.before + sum(gather_object([self.tokens]))

    def data_order(self) -> str:
        """One hash of all processes' orders. Every process calls it, and waits here for the others."""
        return hashlib.sha256(":".join(gather_object([self.order])).encode()).hexdigest()


def useful_tokens(inputs: dict[str, Any]) -> int:
    """Tokens of a batch that are no padding: those read, and for an encoder-decoder those to be written."""
    if "attention_mask" in inputs:
        read = int(inputs["attention_mask"].sum())
    else:
        read = inputs["input_ids"].numel()  # a row without padding
    is_encoder_decoder = "labels" in inputs and inputs["labels"].shape != inputs["input_ids"].shape
    return read + (int((inputs["labels"] != IGNORED).sum()) if is_encoder_decoder else 0)


class Gradients:
    """Stops a training whose gradients are no use any more.

    Weights that a far too high learning rate has blown up often make no loss that is no number: the norms in front of
    the layers turn overflowing numbers into 0, so the model guesses evenly and its gradient is exactly 0 ever after.

    Args:
        may_overflow: float16 training tries a scale of the loss, and skips the steps in which it was too large.
    """

    PATIENCE = 3
    SKIPPED = 30  # halvings of the scale: more than it has

    def __init__(self, may_overflow: bool) -> None:
        self.allowed = self.SKIPPED if may_overflow else 0
        self.zeros = self.overflows = 0

    def check(self, norm: float, step: int) -> None:
        self.zeros = self.zeros + 1 if norm == 0 else 0
        self.overflows = 0 if math.isfinite(norm) else self.overflows + 1
        if self.overflows > self.allowed:
            raise TrainingError(
                f"The gradient was no number any more at step {step}: try a lower learning rate, or float32 as the "
                "compute type."
            )
        if self.zeros >= self.PATIENCE:
            raise TrainingError(
                f"The gradient was exactly 0 in {self.zeros} steps, up to step {step}: the model's numbers have "
                "overflowed and it learns nothing any more. Try a lower learning rate."
            )


class Steady:
    """Mixed in before a trainer: one order of the data, a count of it, a true validation loss, a stop at no number.

    progress: what was seen. gradients: whether they are still of use. group_by_length: whether batches are of like
    length.
    """

    progress: Progress
    gradients: "Gradients"
    group_by_length = False

    def _get_train_sampler(self, train_dataset=None):
        examples = self.train_dataset if train_dataset is None else train_dataset  # type: ignore[attr-defined]
        args = self.args  # type: ignore[attr-defined]
        column = next(name for name in ("input_ids", "prompt_ids") if name in examples.column_names)
        lengths = [len(tokens) for tokens in examples[column]]
        group = args.train_batch_size * args.world_size if self.group_by_length else 0
        return Order(lengths, group, args.data_seed)

    def training_step(self, model, inputs, num_items_in_batch=None):
        self.progress.see(inputs)
        loss = super().training_step(model, inputs, num_items_in_batch)  # type: ignore[misc]
        if not math.isfinite(float(loss)):
            raise TrainingError(
                f"The loss was no number any more at step {self.state.global_step + 1}: "  # type: ignore[attr-defined]
                "try a lower learning rate, or float32 as the compute type."
            )
        return loss

    def _get_grad_norm(self, model, grad_norm=None):
        norm = super()._get_grad_norm(model, grad_norm=grad_norm)  # type: ignore[misc]
        if norm is not None:
            self.gradients.check(float(norm), self.state.global_step + 1)  # type: ignore[attr-defined]
        return norm

    def prediction_step(self, model, inputs, prediction_loss_only, ignore_keys=None):
        loss, *rest = super().prediction_step(model, inputs, prediction_loss_only, ignore_keys)  # type: ignore[misc]
        labels = inputs.get("labels")
        weight = len(inputs["input_ids"])
        if labels is not None:
            written = labels if labels.shape != inputs["input_ids"].shape else labels[:, 1:]
            weight = int((written != IGNORED).sum())
        self._evaluated.append((float(loss) * weight, weight))
        return loss, *rest

    def evaluation_loop(self, *args, metric_key_prefix="eval", **kwargs):
        """The library's loop, with a loss that is the mean over tokens (for preferences: over pairs).

        The library's own is a mean over batches, and so depends on how texts happen to be batched.
        """
        self._evaluated: list[tuple[float, int]] = []
        output = super().evaluation_loop(*args, metric_key_prefix=metric_key_prefix, **kwargs)  # type: ignore[misc]
        parts = gather_object(self._evaluated)
        if total := sum(weight for _, weight in parts):
            output.metrics[f"{metric_key_prefix}_loss"] = sum(part for part, _ in parts) / total
        return output
