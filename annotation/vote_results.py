"""What the votes on rewrites say: how many are found safe, keep the meaning, and how far voters agree."""

from dataclasses import dataclass
from typing import Any

from django.db.models import Count

from annotation.models import Project, Rewrite
from annotation.quality import Share, share

# What is counted -> how it is asked. "accepted": one voter said yes to both.
QUESTIONS = {"safe": "Safe", "meaning": "Keeps the meaning", "accepted": "Both"}
MIN_REWRITES = 10  # with fewer, an interval says nothing


@dataclass(frozen=True)
class Result:
    """One question.

    yes: of all votes, those that said yes. majority: of all rewrites voted on, those to which more than half of their
    voters said yes, with Wilson's interval. kappa: Fleiss' kappa with its interval, an annotation.agreement.Estimate.
    """

    name: str
    title: str
    votes: int
    yes: int
    majority: Share
    kappa: Any

    @property
    def percent(self) -> float | None:
        return 100 * self.yes / self.votes if self.votes else None


def results(project: Project) -> list[Result]:
    """The three questions of a project. Every exact rewrite that anybody voted on counts, also one changed since.

    "Cannot judge" is no vote. Votes are counted in SQL: a million rewrites are a few dozen patterns.
    """
    rows = (
        Rewrite.objects.filter(project=project, votes__gt=0)
        .values("votes", *QUESTIONS)
        .annotate(n=Count("pk"))
        .order_by("votes", *QUESTIONS)
    )
    found = list(rows)
    return [_result(name, title, found) for name, title in QUESTIONS.items()]


def _result(name: str, title: str, rows: list[dict[str, int]]) -> Result:
    rewrites = sum(row["n"] for row in rows)
    majority = sum(row["n"] for row in rows if 2 * row[name] > row["votes"])
    return Result(
        name=name,
        title=title,
        votes=sum(row["votes"] * row["n"] for row in rows),
        yes=sum(row[name] * row["n"] for row in rows),
        majority=share(majority, rewrites),
        kappa=_kappa(name, rows),
    )


def _kappa(name: str, rows: list[dict[str, int]]) -> Any:
    from annotation import agreement  # here: it loads scipy

    patterns = [[row[name], row["votes"] - row[name]] for row in rows]
    several = sum(row["n"] for row in rows if row["votes"] > 1)
    if several < MIN_REWRITES:
        reason = f"{several:,} rewrite{'' if several == 1 else 's'} with two or more votes; {MIN_REWRITES} are needed."
        return agreement.Estimate(estimate=None, n_items=several, n_ratings=0, reason=reason)
    return agreement.fleiss_kappa(patterns, [row["n"] for row in rows], minimum=MIN_REWRITES)


def as_json(result: Result) -> dict[str, Any]:
    """A result as the API gives it; percentages from 0 to 100."""
    return {
        "question": result.name,
        "votes": result.votes,
        "yes": result.yes,
        "percent_yes": result.percent,
        "rewrites": result.majority.n,
        "majority_yes": result.majority.hits,
        "percent_majority_yes": result.majority.percent,
        "percent_majority_yes_low": result.majority.low,
        "percent_majority_yes_high": result.majority.high,
        "fleiss_kappa": result.kappa.estimate,
        "fleiss_kappa_low": result.kappa.low,
        "fleiss_kappa_high": result.kappa.high,
        "rewrites_with_two_votes": result.kappa.n_items,
        "reason": result.kappa.reason,
    }
