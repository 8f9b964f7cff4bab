"""What suggestions do to people: the statistics, and the report made from the database."""

import json
import random

import numpy as np
import pytest
from django.core.exceptions import ValidationError
from django.db import connection
from django.test.utils import CaptureQueriesContext
from scipy import stats

from annotation import jobs, suggestion_reports, suggestions, work
from annotation.jobs import JobStatus
from annotation.models import Annotation, Assignment, Gold, Item, ItemKind, Role, Suggestion, SuggestionReport
from annotation.suggestion_effects import effect
from tests.factories import (
    ItemFactory,
    MembershipFactory,
    ProjectFactory,
    SuggestionFactory,
    UserFactory,
    set_up_suggestions,
)

LABELS = {"bias": "high", "toxicity": "mild", "harm": "medium", "sentiment": "negative"}
OTHER = {"bias": "none", "toxicity": "none", "harm": "low", "sentiment": "neutral"}


def rng(seed=1):
    return np.random.default_rng(seed)


# The statistics


def test_a_hand_worked_example():
    """Three annotators: seen 3 of 4, 4 of 5, 2 of 3 accepted; unseen 1 of 4, 2 of 4, 0 of 2."""
    found = effect([3, 4, 2], [4, 5, 3], [1, 2, 0], [4, 4, 2], rng=rng())
    assert (found.seen.estimate, found.seen.n) == (pytest.approx(9 / 12), 12)
    assert (found.unseen.estimate, found.unseen.n) == (pytest.approx(3 / 10), 10)
    assert (found.change.estimate, found.change.n) == (pytest.approx(0.45), 22)
    assert found.n_clusters == 3
    # All 27 equally likely draws of three annotators, by hand: the percentile interval lies among their differences.
    draws = []
    for first in range(3):
        for second in range(3):
            for third in range(3):
                drawn = [first, second, third]
                seen = sum([3, 4, 2][i] for i in drawn) / sum([4, 5, 3][i] for i in drawn)
                unseen = sum([1, 2, 0][i] for i in drawn) / sum([4, 4, 2][i] for i in drawn)
                draws.append(seen - unseen)
    assert found.change.low == pytest.approx(min(draws))
    assert found.change.high == pytest.approx(max(draws))


def test_times_are_geometric_means_and_their_ratio():
    logs = np.log([[10, 1000], [20, 200]])
    found = effect(logs[0], [1, 1], logs[1], [1, 1], rng=rng(), logs=True)
    assert found.seen.estimate == pytest.approx(100)
    assert found.unseen.estimate == pytest.approx(np.sqrt(20 * 200))
    assert found.change.estimate == pytest.approx(100 / np.sqrt(4000)) and found.is_ratio


def test_a_known_effect_is_found_and_its_interval_covers_it_as_often_as_it_says():
    """Annotators who differ, +10 points when they see: 95 % of the intervals hold it, and most leave out zero."""
    draw = rng(7)
    hits = excluded = 0
    rounds = 200
    for _ in range(rounds):
        people = 40
        own = draw.beta(12, 8, people) * 0.85
        seen = draw.binomial(60, own + 0.1)
        unseen = draw.binomial(30, own)
        found = effect(seen, np.full(people, 60), unseen, np.full(people, 30), rng=draw, draws=499)
        hits += found.change.low <= 0.1 <= found.change.high
        excluded += found.change.low > 0
    assert 0.89 * rounds <= hits <= 0.99 * rounds
    assert excluded > 0.95 * rounds


def test_without_an_effect_few_intervals_leave_out_zero():
    draw = rng(8)
    found = [
        effect(
            draw.binomial(30, 0.6, 40),
            np.full(40, 30),
            draw.binomial(20, 0.6, 40),
            np.full(40, 20),
            rng=draw,
            draws=299,
        )
        for _ in range(150)
    ]
    assert sum(one.change.low > 0 or one.change.high < 0 for one in found) < 0.12 * 150


def test_resampling_whole_annotators_gives_wider_intervals_than_taking_annotations_for_independent():
    draw = rng(9)
    own = draw.choice([0.1, 0.9], 30)
    seen = draw.binomial(200, own)
    found = effect(seen, np.full(30, 200), draw.binomial(200, own), np.full(30, 200), rng=draw)
    share = seen.sum() / 6_000
    naive = 2 * 1.96 * np.sqrt(share * (1 - share) / 6_000)
    assert found.seen.high - found.seen.low > 5 * naive


def test_the_same_seed_gives_the_same_interval_and_scipy_the_same_one():
    counts = [[3, 4, 2, 5], [6, 6, 6, 6], [2, 2, 1, 4], [6, 6, 6, 6]]
    assert effect(*counts, rng=rng(3)) == effect(*counts, rng=rng(3))
    reference = stats.bootstrap(
        (np.array([3, 4, 2, 5]) / 6,), np.mean, n_resamples=1_999, method="percentile", rng=rng(3)
    ).confidence_interval
    found = effect(*counts, rng=rng(3))
    assert (found.seen.low, found.seen.high) == (pytest.approx(reference.low), pytest.approx(reference.high))


@pytest.mark.parametrize(
    ("arrays", "part", "reason"),
    [
        ([[], [], [], []], "change", "nothing to compare"),
        ([[1, 2], [2, 2], [0, 0], [0, 0]], "unseen", "withheld yet"),
        ([[0, 0], [0, 0], [1, 2], [2, 2]], "seen", "on screen yet"),
        ([[1], [2], [1], [2]], "change", "one cluster"),
        ([[2, 2], [2, 2], [1, 2], [2, 2]], "seen", "No variation"),
        ([[1, 0, 0, 0], [1, 0, 0, 0], [0, 1, 2, 3], [0, 3, 3, 3]], "seen", "Too few annotations"),
    ],
)
def test_where_no_figure_can_be_given_it_says_why(arrays, part, reason):
    found = getattr(effect(*arrays, rng=rng()), part)
    assert reason in found.reason and found.low is None
    assert found.estimate is None or "yet" not in reason


def test_wrong_shapes_are_refused():
    with pytest.raises(ValueError, match="one and the same axis"):
        effect([1, 2], [1], [1], [1], rng=rng())
    with pytest.raises(ValueError, match="negative"):
        effect([1], [-1], [1], [1], rng=rng())


# From the database

pytest_db = pytest.mark.django_db


def annotate(project, person, suggestion, *, seen, labels=LABELS, rewrite="", seconds=0, kind=ItemKind.WORK):
    """As work.submit writes it, with the condition given instead of drawn."""
    assignment = Assignment.objects.create(
        project=project,
        item=suggestion.item,
        annotator=person,
        lease_until="2030-01-01T00:00Z",
        suggestion=suggestion,
        suggestion_shown=seen,
        suggestion_withheld_percent=50,
        state="finished",
    )
    return Annotation.objects.create(
        project=project,
        item=suggestion.item,
        annotator=person,
        assignment=assignment,
        kind=kind,
        labels=labels,
        rewrite=rewrite,
        active_seconds=seconds,
        suggestion=suggestion,
        suggestion_shown=seen,
        suggestion_distance=suggestions.distance(rewrite, suggestion),
    )


def compute(project, prompt=None) -> SuggestionReport:
    report = suggestions.start_report(project, project.created_by, prompt)
    jobs.execute(SuggestionReport.objects, report.pk, suggestion_reports.run)
    report.refresh_from_db()
    assert (report.status, report.error) == (JobStatus.FINISHED, "")
    return report


def row(report, key):
    return next(row for row in report.results["rows"] if row["key"] == key)


@pytest_db
def test_the_report_counts_what_people_did_seen_and_unseen():
    project = ProjectFactory(overlap=10)
    set_up_suggestions(project, project.created_by)
    anna, ben = (MembershipFactory(project=project, role=Role.ANNOTATOR).user for _ in range(2))
    given = [SuggestionFactory(item=ItemFactory(project=project), rewrite="abcd") for _ in range(3)]
    annotate(project, anna, given[0], seen=True, rewrite="abcd", seconds=10)
    annotate(project, anna, given[1], seen=True, rewrite="abxd", seconds=40)
    annotate(project, ben, given[0], seen=True, labels={**LABELS, "bias": "none"}, seconds=0)
    annotate(project, ben, given[1], seen=False, labels=OTHER, rewrite="wxyz", seconds=80)
    annotate(project, anna, given[2], seen=False, labels={**LABELS, "harm": "low"}, rewrite="abcd ", seconds=20)
    no_suggestion = ItemFactory(project=project)
    work.submit(anna, work.next_assignment(anna, project).pk, {"labels": LABELS})
    assert Annotation.objects.get(item=no_suggestion).suggestion is None
    report = compute(project)
    assert report.results["counts"] == {"annotations": 5, "seen": 3, "annotators": 2, "texts": 3}
    bias, harm = row(report, "accepted:bias"), row(report, "accepted:harm")
    assert (bias["seen"]["estimate"], bias["seen"]["n"]) == (pytest.approx(2 / 3), 3)
    assert (bias["unseen"]["estimate"], bias["unseen"]["n"]) == (pytest.approx(1 / 2), 2)
    assert harm["unseen"]["estimate"] == 0
    distance = row(report, "rewrite:distance")
    assert (distance["seen"]["estimate"], distance["seen"]["n"]) == (pytest.approx((0 + 0.25) / 2), 2)
    assert distance["unseen"]["estimate"] == pytest.approx((1 + 0) / 2)
    assert row(report, "rewrite:unchanged")["seen"]["estimate"] == pytest.approx(1 / 2)
    time = row(report, "time")
    assert (time["seen"]["estimate"], time["seen"]["n"]) == (pytest.approx(20), 2)
    assert time["unseen"]["estimate"] == pytest.approx(40)
    assert time["change"]["estimate"] == pytest.approx(0.5)
    assert report.results["clusters"] == "texts"
    assert "fewer than 10 annotators" in report.results["methods"]
    assert report.figure.startswith("<?xml") and "label as suggested" in report.figure
    assert json.dumps(report.results, allow_nan=False)


@pytest_db
def test_known_answers_show_whether_people_follow_a_wrong_suggestion():
    project = ProjectFactory(overlap=10)
    set_up_suggestions(project, project.created_by)
    people = [MembershipFactory(project=project, role=Role.ANNOTATOR).user for _ in range(4)]
    text = ItemFactory(project=project, kind=ItemKind.GOLD)
    Gold.objects.create(
        project=project,
        item=text,
        labels={"bias": ["none", "slight"], "toxicity": ["mild"]},
        created_by=project.created_by,
    )
    given = SuggestionFactory(item=text)  # bias high is wrong, toxicity mild is right
    for person, seen, bias in zip(people, (True, True, False, False), ("high", "none", "slight", "none"), strict=True):
        annotate(project, person, given, seen=seen, labels={**LABELS, "bias": bias}, kind=ItemKind.GOLD)
    wrong, right = (row(compute(project), f"gold:{which}") for which in ("wrong", "right"))
    assert (wrong["seen"]["estimate"], wrong["unseen"]["estimate"]) == (0.5, 1.0)
    assert (wrong["seen"]["n"], right["seen"]["n"]) == (2, 2)
    assert right["change"]["estimate"] == 0


@pytest_db
def test_a_simulated_bias_of_annotators_is_found(settings):
    """Twelve annotators who take a seen suggestion 20 points more often, through drawn conditions."""
    project = ProjectFactory(overlap=12)
    row_of = set_up_suggestions(project, project.created_by, withheld_percent=40)
    # The draws hang on the seed and on primary keys: these are the same in every run of the tests.
    row_of.seed = 2024
    row_of.save(update_fields=["seed"])
    people = [
        MembershipFactory(project=project, user=UserFactory(pk=9_000_000 + number), role=Role.ANNOTATOR).user
        for number in range(12)
    ]
    chance = random.Random(4)
    for number in range(100):
        given = SuggestionFactory(item=ItemFactory(project=project, pk=9_000_000 + number))
        for person in people:
            seen = suggestions.draw(row_of.seed, given.item_id, person.pk) >= 0.4
            agrees = chance.random() < (0.8 if seen else 0.6)
            labels = LABELS if agrees else OTHER
            annotate(project, person, given, seen=seen, labels=labels, seconds=30 if seen else 50)
    report = compute(project)
    found = row(report, "accepted:bias")
    assert report.results["clusters"] == "annotators" and found["n_clusters"] == 12
    assert found["change"]["low"] < 0.2 < found["change"]["high"]
    assert found["change"]["low"] > 0.1
    time = row(report, "time")
    assert time["change"]["estimate"] == pytest.approx(0.6)
    # Few figures more for many texts: the same queries.
    with CaptureQueriesContext(connection) as queries:
        suggestion_reports._sums(
            suggestions.annotations_with_one(project.pk), "annotator_id", suggestion_reports._figures([])
        )
    assert len(queries) == 1


@pytest_db
def test_one_version_of_the_prompt_can_be_looked_at_alone():
    project = ProjectFactory(overlap=3)
    first = set_up_suggestions(project, project.created_by).prompt
    person = MembershipFactory(project=project, role=Role.ANNOTATOR).user
    annotate(project, person, SuggestionFactory(item=ItemFactory(project=project)), seen=True)
    second = suggestions.change(project, project.created_by, max_tokens=10).prompt
    annotate(project, person, SuggestionFactory(item=ItemFactory(project=project)), seen=False)
    assert compute(project, first).results["counts"]["annotations"] == 1
    assert row(compute(project, second), "accepted:bias")["seen"]["estimate"] is None
    assert compute(project).results["counts"]["annotations"] == 2
    with pytest.raises(ValidationError, match="this project's prompt"):
        suggestions.start_report(ProjectFactory(), project.created_by, first)


@pytest_db
def test_without_annotations_there_is_no_report():
    project = ProjectFactory()
    set_up_suggestions(project, project.created_by)
    with pytest.raises(ValidationError, match="Nobody has annotated"):
        suggestions.start_report(project, UserFactory())
    assert not Item.objects.exists() and not Suggestion.objects.exists()
