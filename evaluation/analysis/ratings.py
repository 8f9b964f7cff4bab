"""What the analysis takes and gives: ratings as plain arrays, figures with their intervals."""

from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

CONFIDENCE = 0.95  # of every interval
TAIL = (1 - CONFIDENCE) / 2
NO_RATINGS = "No ratings."
ALL_THE_SAME = "Every rating is {:g}: no interval."
ONE_ITEM = "One text only: no interval over texts."
ONE_REVIEWER = "One reviewer only: the interval says nothing about other reviewers."

Floats = NDArray[Any]  # of float64; numpy's own annotations lose that in most operations
Ints = NDArray[np.intp]


@dataclass(frozen=True, kw_only=True, eq=False)
class Ratings:
    """The given ratings of one criterion, one row each; what is missing, or was "cannot judge", has no row.

    item, system, reviewer: codes from 0, shape (n,). value: whole numbers 1..levels as floats, shape (n,); the last
    level is the best. n_items, n_systems, n_reviewers: how many codes there are, also those without a rating. The
    design may be incomplete: no cell can be taken to be filled, but none is filled twice.

    Raises ValueError where this does not hold.
    """

    item: Ints
    system: Ints
    reviewer: Ints
    value: Floats
    levels: int
    n_items: int
    n_systems: int
    n_reviewers: int

    def __post_init__(self) -> None:
        for name in ("item", "system", "reviewer"):
            given = np.asarray(getattr(self, name))
            codes = given.astype(np.intp)
            limit = getattr(self, "n_items" if name == "item" else f"n_{name}s")
            if given.ndim != 1 or (codes != given).any() or codes.min(initial=0) < 0 or codes.max(initial=-1) >= limit:
                raise ValueError(f"{name} must be codes from 0 to {limit - 1} in one axis")
            object.__setattr__(self, name, codes)
        value = np.asarray(self.value, dtype=float)
        if not value.shape == self.item.shape == self.system.shape == self.reviewer.shape:
            raise ValueError("item, system, reviewer and value must be equally long")
        if (
            value.size
            and not (np.isfinite(value) & (value == np.round(value)) & (value >= 1) & (value <= self.levels)).all()
        ):
            raise ValueError(f"ratings must be whole numbers from 1 to {self.levels}")
        object.__setattr__(self, "value", value)
        if np.unique(self.cell).size < value.size:
            raise ValueError("a reviewer has two ratings of the same output")

    def __len__(self) -> int:
        return int(self.value.size)

    @property
    def cell(self) -> Ints:
        """One number for each (item, system, reviewer), shape (n,)."""
        return (self.item * self.n_systems + self.system) * self.n_reviewers + self.reviewer

    @property
    def output(self) -> Ints:
        """One number for each output, that is each (item, system), shape (n,)."""
        return self.item * self.n_systems + self.system

    def where(self, keep: ArrayLike) -> "Ratings":
        """The rows that a mask or index, shape (n,) or (k,), keeps; the codes stay what they are."""
        rows = np.asarray(keep)
        return Ratings(
            item=self.item[rows],
            system=self.system[rows],
            reviewer=self.reviewer[rows],
            value=self.value[rows],
            levels=self.levels,
            n_items=self.n_items,
            n_systems=self.n_systems,
            n_reviewers=self.n_reviewers,
        )

    def of(self, system: int) -> "Ratings":
        """The ratings of one system."""
        return self.where(self.system == system)

    @property
    def counts(self) -> dict[str, Any]:
        """n_items, n_reviewers and n_ratings that are really there, as an Estimate takes them."""
        return {
            "n_items": int(np.unique(self.item).size),
            "n_reviewers": int(np.unique(self.reviewer).size),
            "n_ratings": len(self),
        }


def from_table(table: ArrayLike, *, levels: int) -> Ratings:
    """Ratings out of an array, shape (n_items, n_systems, n_reviewers), NaN where there is none."""
    array = np.asarray(table, dtype=float)
    if array.ndim != 3:
        raise ValueError(f"the table must have 3 axes, got shape {array.shape}")
    item, system, reviewer = np.nonzero(~np.isnan(array))
    return Ratings(
        item=item,
        system=system,
        reviewer=reviewer,
        value=array[item, system, reviewer],
        levels=levels,
        n_items=array.shape[0],
        n_systems=array.shape[1],
        n_reviewers=array.shape[2],
    )


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A figure with its 95 % interval, in the unit of the ratings unless said otherwise.

    `estimate` is None where there is nothing to compute; `low` and `high` are None where no interval can be given.
    `reason` says why in words, or what the interval leaves out, and is empty where nothing is missing. The counts
    are of what the figure was computed from.
    """

    estimate: float | None
    low: float | None = None
    high: float | None = None
    n_items: int
    n_reviewers: int
    n_ratings: int
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A system against the reference: system minus reference, in levels unless said otherwise.

    se, df: standard error and degrees of freedom of Student's t, from which the interval and `p` come; p is two-sided,
    against no difference, and not adjusted. None where the difference has none. how: what was compared, in words.
    """

    system: int
    reference: int
    difference: Estimate
    se: float | None = None
    df: float | None = None
    p: float | None = None
    how: str = ""


@dataclass(frozen=True, kw_only=True)
class TestResult:
    """A test: its name, statistic and p-value, not adjusted for other tests; None where none can be made.

    `reason` says why in words. n: how many units it is made of, in the unit that the test's docstring names.
    """

    __test__ = False  # not one for pytest to collect

    name: str
    statistic: float | None = None
    p: float | None = None
    n: int
    reason: str = ""


def versions() -> dict[str, str]:
    """Versions of the libraries that compute these figures, for the methods paragraph."""
    return {name: version(name) for name in ("numpy", "scipy", "statsmodels", "krippendorff")}
