"""How large a study must be: power analyses of a draft, simulated by a worker.

The simulation is `analysis/power.py`, which takes arrays and numbers; here a study's plan, a person's assumptions or a
pilot become its parameters, and its figures become words.
"""

from dataclasses import asdict
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet

from annotation.jobs import JobError
from evaluation import studies
from evaluation.design import assignment
from evaluation.models import (
    Criterion,
    Hypothesis,
    PowerAnalysis,
    Rating,
    SlotOutput,
    Study,
    StudyStatus,
    TaskKind,
)

MAX_GRID = 60  # combinations of numbers in one analysis
MAX_ITEMS, MAX_REVIEWERS = 2_000, 100
MAX_RATINGS = 100_000  # of one simulated study
SIMULATIONS = 500
ITEMS = [20, 40, 60, 80, 100, 150, 200]
GOALS = {"superiority": "Find the difference", "noninferiority": "Show non-inferiority", "both": "Both"}
SPREADS = {
    "sd_item": ("texts", 0.7),
    "sd_item_system": ("systems from text to text", 0.5),
    "sd_reviewer": ("reviewers", 0.5),
    "sd_reviewer_system": ("reviewers in their taste for a system", 0.2),
}
ASSUMED = {2: [40, 60], 3: [25, 40, 35], 4: [15, 25, 35, 25], 5: [10, 20, 30, 25, 15]}


def assumed_shares(levels: int) -> list[float]:
    """A distribution over levels to begin with, in percent: most in the middle, some at both ends."""
    if levels in ASSUMED:
        return [float(share) for share in ASSUMED[levels]]
    middle = (levels - 1) / 2
    weights = [1 + min(place, levels - 1 - place) for place in range(levels)]
    shares = [round(100 * weight / sum(weights)) for weight in weights]
    shares[int(middle)] += 100 - sum(shares)
    return [float(share) for share in shares]


def criteria_of(study: Study) -> list[Criterion]:
    """The criteria that a power analysis can be made for: those with a planned test first."""
    if not study.asks_criteria:
        return []
    return sorted(study.criteria.all(), key=lambda criterion: criterion.hypothesis == Hypothesis.NONE)


def pilots(study: Study) -> QuerySet[Criterion]:
    """Criteria of the project's closed studies that were rated: each can serve as a pilot."""
    rated = Rating.objects.filter(criterion=OuterRef("pk"), value__isnull=False)
    found = Criterion.objects.filter(study__project_id=study.project_id, study__status=StudyStatus.CLOSED)
    return found.filter(Exists(rated)).select_related("study").order_by("-study_id", "position")


def defaults(study: Study, criterion: Criterion | None = None) -> dict[str, Any]:
    """Parameters to begin with, from the study's own plan."""
    criterion = criterion or next(iter(criteria_of(study)), None)
    systems = study.systems.count()
    reviewers = study.reviewers.count() or 6
    planned = study.criteria.exclude(hypothesis=Hypothesis.NONE).count() * max(0, systems - 1)
    possible = assignment.ratings_possible(systems, studies.per_page(study, systems), reviewers)
    goal = "superiority"
    if criterion is not None and criterion.hypothesis == Hypothesis.NONINFERIORITY:
        goal = "noninferiority"
    return {
        "criterion": criterion.key if criterion else "",
        "pilot": None,
        "shares": assumed_shares(criterion.levels if criterion else 5),
        **{name: value for name, (_, value) in SPREADS.items()},
        "difference": 0.3,
        "margin": criterion.margin if criterion and criterion.margin else 0.5,
        "goal": goal,
        "alpha": 0.05,
        "tests": max(1, planned),
        "target": 0.8,
        "reviewers": reviewers,
        "items": sorted({*ITEMS, *([study.number_of_items] if study.number_of_items else [])}),
        "ratings_per_output": _spread(possible or [reviewers]),
        "seed": study.seed,
    }


def _spread(numbers: list[int], most: int = 4) -> list[int]:
    """At most so many of the numbers, from the smallest to the largest."""
    if len(numbers) <= most:
        return numbers
    return sorted({numbers[round(place * (len(numbers) - 1) / (most - 1))] for place in range(most)})


def clean(study: Study, **values: Any) -> dict[str, Any]:
    """The parameters of an analysis: `values` as in `defaults`, and those for what is left out.

    Raises:
        ValidationError: keyed by field.
    """
    criterion = study.criteria.filter(key=values.get("criterion") or "").first() if values.get("criterion") else None
    if values.get("criterion") and criterion is None:
        raise ValidationError({"criterion": "Choose one of the study's criteria."})
    if not criteria_of(study):
        raise ValidationError({"criterion": "Reviewers of this layout rate no criteria, so there is nothing to plan."})
    found = defaults(study, criterion)
    criterion = criterion or study.criteria.get(key=found["criterion"])
    found |= {name: value for name, value in values.items() if name in found and value is not None}
    errors: dict[str, str] = {}
    systems = study.systems.count()
    if found["pilot"]:
        pilot = pilots(study).filter(pk=found["pilot"]).first()
        if pilot is None:
            errors["pilot"] = "Choose a rated criterion of a closed study of this project."
        elif pilot.levels != criterion.levels:
            errors["pilot"] = f"The pilot has {pilot.levels} levels, {criterion.name} has {criterion.levels}."
    shares = found["shares"]
    if not found["pilot"]:
        if len(shares) != criterion.levels:
            errors["shares"] = f"Give {criterion.levels} shares, one for each level; there are {len(shares)}."
        elif not all(0 <= share <= 100 for share in shares) or abs(sum(shares) - 100) > 0.5:
            errors["shares"] = f"Shares are percents from 0 that add up to 100; these make {sum(shares):g}."
        elif sum(share > 0 for share in shares) < 2:
            errors["shares"] = "Give at least two levels a share."
    errors |= {name: "Give a number from 0 to 5." for name in SPREADS if not 0 <= found[name] <= 5}
    top = criterion.levels - 1
    for name in ("difference", "margin"):
        if not 0 < found[name] < top:
            errors[name] = f"Give a number of levels, above 0 and below {top}."
    room = 0.0 if {"shares", "pilot"} & errors.keys() or found["pilot"] else _room(shares)
    if room and found["goal"] != "noninferiority" and found["difference"] >= room:
        errors.setdefault(
            "difference", f"With these shares only {room:.2f} levels are left above the reference's mean."
        )
    if not 0.0001 <= found["alpha"] <= 0.2:
        errors["alpha"] = "Give a number from 0.0001 to 0.2; 0.05 is usual."
    if not 0.5 <= found["target"] <= 0.99:
        errors["target"] = "Give a number from 0.5 to 0.99; 0.8 is usual."
    if not 1 <= found["tests"] <= 1_000:
        errors["tests"] = "Give a number from 1 to 1,000."
    if not 1 <= found["reviewers"] <= MAX_REVIEWERS:
        errors["reviewers"] = f"Give a number from 1 to {MAX_REVIEWERS}."
    if found["goal"] not in GOALS:
        errors["goal"] = f"Choose one of {', '.join(GOALS)}."
    errors |= _grid_errors(found, study, systems)
    if errors:
        raise ValidationError(errors)
    found["items"], found["ratings_per_output"] = sorted(set(found["items"])), sorted(set(found["ratings_per_output"]))
    return found | {
        "criterion_name": criterion.name,
        "levels": criterion.levels,
        "systems": systems,
        "per_page": studies.per_page(study, systems),
        "simulations": SIMULATIONS,
    }


def _grid_errors(found: dict[str, Any], study: Study, systems: int) -> dict[str, str]:
    items, ratings = found["items"], found["ratings_per_output"]
    errors = {}
    if not items or not all(5 <= number <= MAX_ITEMS for number in items):
        errors["items"] = f"Give numbers of texts from 5 to {MAX_ITEMS:,}."
    possible = assignment.ratings_possible(systems, studies.per_page(study, systems), min(found["reviewers"], 100))
    if not ratings or (wrong := [number for number in ratings if number not in possible]):
        fits = ", ".join(map(str, possible)) or "none, so change one of the two"
        what = f"{wrong[0]} does not fit" if ratings else "Give at least one number"
        errors["ratings_per_output"] = (
            f"{what}. With {found['reviewers']} reviewers and {studies.per_page(study, systems)} outputs on a page "
            f"these work: {fits}."
        )
    if not errors and len(set(items)) * len(set(ratings)) > MAX_GRID:
        errors["items"] = f"That are {len(set(items)) * len(set(ratings))} combinations; at most {MAX_GRID}."
    if not errors and max(items) * max(ratings) * systems > MAX_RATINGS:
        errors["items"] = f"A simulated study may have {MAX_RATINGS:,} ratings. Give fewer texts, or fewer ratings."
    return errors


@transaction.atomic
def request(study: Study, user, **values: Any) -> PowerAnalysis:
    """Have the power of a draft simulated by a worker.

    Raises:
        ValidationError: keyed by field; or the study has started.
    """
    from evaluation import tasks

    study = studies.locked_draft(study)
    parameters = clean(study, **values)
    job = PowerAnalysis.objects.create(
        project_id=study.project_id,
        study=study,
        created_by=user,
        parameters=parameters,
        total=len(parameters["ratings_per_output"]),
    )
    job.queue(tasks.execute_power_analysis)
    return job


def use(analysis: PowerAnalysis, items: int, ratings_per_output: int) -> Study:
    """Set a draft's numbers to one of the combinations that an analysis tried.

    Raises:
        ValidationError: it has started, or the analysis did not try these numbers.
    """
    tried = analysis.results.get("table", [])
    if not any(row["items"] == items and row["ratings_per_output"] == ratings_per_output for row in tried):
        raise ValidationError("The analysis did not try these numbers.")
    return studies.change(analysis.study, number_of_items=items, ratings_per_output=ratings_per_output)


# In a worker


def run(job: PowerAnalysis) -> dict[str, Any]:
    """Simulate, and put it into words. The result columns of the job."""
    import numpy as np

    from evaluation import power_figures
    from evaluation.analysis import power

    wanted = job.parameters
    rng = np.random.default_rng(wanted["seed"])
    plan, notes = _plan(job.study, wanted)
    table: list[Any] = []
    reached = []
    for number, each in enumerate(wanted["ratings_per_output"]):
        job.report(number, message="Simulating studies")
        found = power.suggest(
            plan,
            rng=rng,
            target=wanted["target"],
            goal=wanted["goal"],
            items=wanted["items"],
            ratings_per_output=[each],
            simulations=wanted["simulations"],
        )
        table += found.table
        if found.best:
            reached.append(found.best)
    best = min(reached, key=lambda row: row.power.ratings, default=None)
    results = {
        "plan": {
            name: value
            for name, value in asdict(plan).items()
            if name in (*SPREADS, "probabilities", "difference", "margin", "alpha", "tests")
        },
        "table": [_row(row) for row in table],
        "best": _row(best) if best else None,
        "notes": notes,
    }
    results["words"] = words(wanted, results)
    return {
        "results": results,
        "figure": power_figures.power(wanted, results),
        "done": len(wanted["ratings_per_output"]),
        "message": f"{len(table)} combinations, {wanted['simulations']:,} simulated studies each",
    }


def _row(row: Any) -> dict[str, Any]:
    found = row.power
    return {
        "items": row.items,
        "ratings_per_output": row.ratings_per_output,
        "superiority": [
            round(value, 4) for value in (found.superiority.estimate, found.superiority.low, found.superiority.high)
        ],
        "noninferiority": [
            round(value, 4)
            for value in (found.noninferiority.estimate, found.noninferiority.low, found.noninferiority.high)
        ],
        "width": round(found.width, 4),
        "ratings": found.ratings,
    }


def _plan(study: Study, wanted: dict[str, Any]) -> tuple[Any, list[str]]:
    """The plan to simulate, and what a pilot could not say.

    Raises:
        JobError: the numbers do not make a study.
    """
    from evaluation.analysis import power

    values = {
        name: wanted[name] for name in ("systems", "reviewers", "difference", "margin", "alpha", "tests", *SPREADS)
    }
    total = sum(wanted["shares"])
    if total:
        values["probabilities"] = [share / total for share in wanted["shares"]]
    notes: list[str] = []
    if wanted["pilot"]:
        ratings, reference = pilot_ratings(pilots(study).get(pk=wanted["pilot"]))
        found = power.from_pilot(ratings, reference=reference)
        if "probabilities" not in found.parameters:
            raise JobError(" ".join(found.notes))
        values |= {name: found.parameters[name] for name in ("probabilities", *SPREADS) if name in found.parameters}
        notes = list(found.notes)
    if wanted["goal"] == "noninferiority":  # the true difference is 0 then; this one is not looked at
        values["difference"] = min(values["difference"], _room(values["probabilities"]) / 2)
    try:
        return power.Plan(items=wanted["items"][0], ratings_per_output=1, **values), notes
    except ValueError as error:
        raise JobError(f"These numbers do not make a study: {error}.") from error


def _room(shares: list[float]) -> float:
    """Levels between the mean of a distribution, worst first, and the best level."""
    mean = sum(place * share for place, share in enumerate(shares)) / sum(shares)
    return len(shares) - 1 - mean


def pilot_ratings(criterion: Criterion) -> tuple[Any, int]:
    """A closed study's ratings of a criterion as arrays, and the code of its reference."""
    import numpy as np

    from evaluation.analysis.ratings import Ratings

    rows = list(
        SlotOutput.objects.filter(
            slot__ratings__criterion=criterion,
            slot__ratings__value__isnull=False,
            slot__task__kind=TaskKind.RATING,
            slot__task__done_at__isnull=False,
        ).values_list("output__item_id", "output__system_id", "slot__task__reviewer_id", "slot__ratings__value")
    )
    systems = list(criterion.study.systems.order_by("pk").values_list("pk", flat=True))
    item, system, reviewer = ([row[place] for row in rows] for place in range(3))
    items, item_codes = np.unique(np.asarray(item, dtype=np.int64), return_inverse=True)
    people, reviewer_codes = np.unique(np.asarray(reviewer, dtype=np.int64), return_inverse=True)
    return Ratings(
        item=item_codes,
        system=np.searchsorted(systems, np.asarray(system, dtype=np.int64)),
        reviewer=reviewer_codes,
        value=np.asarray([row[3] for row in rows], dtype=float),
        levels=criterion.levels,
        n_items=len(items),
        n_systems=len(systems),
        n_reviewers=len(people),
    ), systems.index(criterion.study.reference_id)


def words(wanted: dict[str, Any], results: dict[str, Any]) -> list[str]:
    """What an analysis assumes and suggests, in sentences for the page and for the protocol."""
    goal, best, target = wanted["goal"], results["best"], f"{100 * wanted['target']:.0f} %"
    find = f"a true difference of {wanted['difference']:g} levels in “{wanted['criterion_name']}”"
    show = f"that an equally good system is not worse by {wanted['margin']:g} levels"
    aim = {"superiority": f"find {find}", "noninferiority": f"show {show}", "both": f"find {find} and show {show}"}[
        goal
    ]
    said = []
    if best:
        said.append(
            f"{best['items']} texts with {_ratings(best)} of each output are enough to {aim}: {_chances(best, goal)} "
            f"of the simulated studies did. That are {best['ratings']:,} ratings of each criterion, by "
            f"{wanted['reviewers']} reviewer{'' if wanted['reviewers'] == 1 else 's'}; the "
            f"95 % interval of a difference would be about {best['width']:.2f} levels wide."
        )
    else:
        nearest = max(results["table"], key=lambda row: min(row[name][0] for name in _looked_at(goal)))
        said.append(
            f"None of the numbers tried would {aim} in {target} of the simulated studies. More reviewers, a larger "
            "difference or margin, or fewer planned tests help; more texts alone do not make up for few reviewers. The "
            f"nearest were {nearest['items']} texts with {_ratings(nearest)} of each output: {_chances(nearest, goal)}."
        )
    plan = results["plan"]
    shares = ", ".join(f"{100 * share:.0f} %" for share in plan["probabilities"])
    source = "taken from a pilot" if wanted["pilot"] else "assumed"
    spread = ", ".join(f"{plan[name]:.2f} ({what})" for name, (what, _) in SPREADS.items())
    said.append(
        f"The reference's distribution over the levels is {source} ({shares}), and so are the standard deviations of "
        f"effects on the latent scale, in units of one rating's noise: {spread}. A test is made at {plan['alpha']:g} "
        f"divided by {plan['tests']} planned test{'' if plan['tests'] == 1 else 's'}, as the first step of Holm's "
        f"method; {wanted['simulations']:,} studies were simulated for each pair of numbers, seed {wanted['seed']}."
    )
    if wanted["per_page"] < wanted["systems"]:
        said.append(
            "The simulation lets the same reviewers rate all outputs of a text. With fewer outputs on a page than "
            "there are systems, different reviewers do, and the real power is a little lower."
        )
    return said + list(results["notes"])


def _looked_at(goal: str) -> list[str]:
    return [name for name in ("superiority", "noninferiority") if goal in (name, "both")]


def _ratings(row: dict[str, Any]) -> str:
    return "1 rating" if row["ratings_per_output"] == 1 else f"{row['ratings_per_output']} ratings"


def _chances(row: dict[str, Any], goal: str) -> str:
    return " and ".join(_percent(row[name]) for name in _looked_at(goal))


def _percent(chance: list[float]) -> str:
    low, high = (f"{100 * value:.0f}" for value in chance[1:])
    return f"{100 * chance[0]:.0f} % (95 % interval of the simulation: {low} to {high})"
