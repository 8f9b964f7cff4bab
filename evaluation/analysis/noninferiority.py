"""Whether a system is at most a margin worse than the reference: the question "is the meaning kept?"."""

from dataclasses import dataclass
from enum import StrEnum

from scipy import stats

from evaluation.analysis.ratings import Difference

ALPHA = 0.025  # one-sided, so that the test and the 95 % interval say the same


class Verdict(StrEnum):
    NON_INFERIOR = "non-inferior"
    INFERIOR = "inferior"
    INCONCLUSIVE = "inconclusive"
    NONE = "no verdict"


@dataclass(frozen=True, kw_only=True)
class NonInferiority:
    """p: one-sided, against "worse by the margin or more", not adjusted. why: the verdict's grounds, in words."""

    difference: Difference
    margin: float
    p: float | None
    verdict: Verdict
    why: str


def noninferiority(difference: Difference, margin: float) -> NonInferiority:
    """Test that system minus reference is above -margin, at one-sided 0.025.

    The system is non-inferior where the whole 95 % interval of the difference lies above -margin, inferior where it
    lies below, and otherwise the study leaves it open. That is the same as the test of the difference plus the margin,
    by Student's t with the difference's own standard error and degrees of freedom.

    Args:
        difference: of `means.difference` or `mixed.fit`, positive where the system is better. margin: how much worse is
            still acceptable, in the difference's unit, above 0; fixed before the ratings were seen.
    Raises:
        ValueError: the margin is not above 0.
    Source: CONSORT's extension for non-inferiority trials (Piaggio et al., JAMA 308 (2012)); ICH E9 (1998), section
        3.3.2, for the level 0.025. Assumes that ratings could have shown a difference: a study in which nobody looks
        closely finds non-inferiority too, which is what attention checks and a hidden poor system are for.
    """
    if not margin > 0:
        raise ValueError(f"the margin must be above 0, got {margin}")
    found = difference.difference
    value, low, high = found.estimate, found.low, found.high
    if value is None or difference.se is None or low is None or high is None:
        words = found.reason or "The difference has no interval."
        return NonInferiority(difference=difference, margin=margin, p=None, verdict=Verdict.NONE, why=words)
    p = float(stats.t.sf((value + margin) / difference.se, difference.df))
    if low > -margin:
        verdict = Verdict.NON_INFERIOR
        why = f"The interval from {low:+.2f} to {high:+.2f} lies above the margin of {-margin:+.2f}."
        if high < 0:
            why += " All of it is below 0: the system is rated lower, by less than the margin."
        elif low > 0:
            why += " All of it is above 0: the system is rated higher."
    elif high < -margin:
        verdict = Verdict.INFERIOR
        why = f"The interval from {low:+.2f} to {high:+.2f} lies below the margin of {-margin:+.2f}."
    else:
        verdict = Verdict.INCONCLUSIVE
        why = f"The interval from {low:+.2f} to {high:+.2f} holds the margin of {-margin:+.2f}."
    if found.reason:
        why += f" {found.reason}"
    return NonInferiority(difference=difference, margin=margin, p=p, verdict=verdict, why=why)
