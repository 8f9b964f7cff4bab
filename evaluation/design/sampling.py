"""Which texts a study shows: a sample by strata."""

import random
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Literal

Allocation = Literal["proportional", "equal"]


@dataclass(frozen=True, kw_only=True)
class Stratum:
    """One stratum: how many there are, how many its share of the sample is, how many are drawn."""

    name: Hashable
    size: int
    share: float
    drawn: int


@dataclass(frozen=True, kw_only=True)
class Sample:
    """`indices` of what is drawn, in rising order; `strata` in order of first appearance; `notes` in words."""

    indices: list[int]
    strata: list[Stratum]
    notes: list[str] = field(default_factory=list)


def sample(strata: Sequence[Hashable], n: int, rng: random.Random, allocation: Allocation = "proportional") -> Sample:
    """Draw `n` by strata, at random within each.

    Args:
        strata: the stratum of each text.
        n: how many to draw. With fewer there, all are drawn.
        allocation: "proportional" gives each stratum its part of all texts, "equal" the same number. Fractions are
            settled by largest remainders, equal ones by lot. What a stratum is too small to give is shared among the
            others in the same way.

    Source: Cochran, *Sampling Techniques* (1977), chapter 5; largest remainders: Hamilton's method.

    Raises:
        ValueError: `n` is negative, or the allocation has no such name.
    """
    if n < 0:
        raise ValueError(f"The number of texts to draw must be 0 or more, got {n}.")
    if allocation not in ("proportional", "equal"):
        raise ValueError(f"Choose proportional or equal, got {allocation!r}.")
    members: dict[Hashable, list[int]] = {}
    for index, name in enumerate(strata):
        members.setdefault(name, []).append(index)
    sizes = {name: len(own) for name, own in members.items()}
    weights = {name: size if allocation == "proportional" else 1 for name, size in sizes.items()}
    total, wanted = sum(weights.values()), min(n, len(strata))
    shares = {name: n * weight / total for name, weight in weights.items()}
    drawn = _allocate(weights, sizes, wanted, rng)
    notes = []
    if n > len(strata):
        notes.append(f"{n:,} texts are wanted and there are {len(strata):,}: all of them are drawn.")
    elif n:
        for name, size in sizes.items():
            if shares[name] > size:
                notes.append(
                    f"{_name(name)} has only {_texts(size)} of the {_number(shares[name])} that its share would be: "
                    "all are drawn, and the other strata give the rest."
                )
        if unseen := [_name(name) for name in sizes if not drawn[name]]:
            few = f"{', '.join(unseen[:5])}{f' and {len(unseen) - 5} more' if len(unseen) > 5 else ''}"
            notes.append(
                f"The sample is too small for {len(sizes):,} strata; none is drawn from {few}. "
                + (
                    "Draw more texts, or equally many from each."
                    if allocation == "proportional"
                    else "Draw more texts."
                )
            )
    indices = sorted(index for name, own in members.items() for index in rng.sample(own, drawn[name]))
    found = [Stratum(name=name, size=sizes[name], share=shares[name], drawn=drawn[name]) for name in members]
    return Sample(indices=indices, strata=found, notes=notes)


def _allocate(
    weights: dict[Hashable, int], sizes: dict[Hashable, int], n: int, rng: random.Random
) -> dict[Hashable, int]:
    """How many each stratum gives: those that cannot give their share give all, until the others can."""
    drawn: dict[Hashable, int] = {}
    open_ = dict(weights)
    while open_:
        left, total = n - sum(drawn.values()), sum(open_.values())
        # Whole numbers all through: left * weight / total, compared with the size.
        full = [name for name, weight in open_.items() if left * weight > sizes[name] * total]
        if not full:
            whole = {name: left * weight // total for name, weight in open_.items()}
            order = list(open_)
            rng.shuffle(order)
            order.sort(key=lambda name: left * open_[name] % total, reverse=True)
            for name in order[: left - sum(whole.values())]:
                whole[name] += 1
            return drawn | whole
        for name in full:
            drawn[name] = sizes[name]
            del open_[name]
    return drawn


def _name(name: Hashable) -> str:
    return f"“{name}”" if str(name) else "The stratum without a name"


def _texts(n: int) -> str:
    return f"{n:,} text{'' if n == 1 else 's'}"


def _number(share: float) -> str:
    return f"{share:,.1f}".removesuffix(".0")
