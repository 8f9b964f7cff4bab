"""What a training tells as it goes, and where it tells it. Imports nothing of the training libraries."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Metric:
    """A point of a curve. `tokens` counts from the start of the run's first attempt, `seconds` from this one's.

    `tokens` are useful ones, without padding, of all processes together. `tokens_per_second` is their pace since the
    point before, `memory_gib` the peak so far: of the GPU's memory, on a CPU of the process's.
    """

    kind: str  # "train" or "eval"
    step: int
    epoch: float
    loss: float
    learning_rate: float | None = None
    grad_norm: float | None = None
    tokens: int | None = None
    seconds: float | None = None
    tokens_per_second: float | None = None
    memory_gib: float | None = None


@dataclass(frozen=True)
class Sample:
    """An output for one of the fixed validation texts, at an evaluation."""

    step: int
    position: int
    text: str
    rewrite: str
    output: str


@dataclass(frozen=True)
class Reports:
    """What the training tells as it goes: a tick several times a step, every step, every metric, lines of the log.

    Any exception that one of them raises stops the training there and then.
    """

    tick: Callable[[], None]
    step: Callable[[int, int, float, float], None]  # step, total, epoch, seconds left
    metric: Callable[[Metric], None]
    samples: Callable[[list[Sample]], None]
    log: Callable[[str], None]

    def silent(self) -> "Reports":
        """The same for a process that is not the first: it may be stopped, and tells nothing."""
        return Reports(self.tick, lambda *_: self.tick(), lambda _: None, lambda _: None, lambda _: None)
