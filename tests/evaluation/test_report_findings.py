"""What a report calls a finding, and what it counts."""

import json

import pytest

from evaluation import protocol_text, reviewing, studies
from evaluation.models import Rating, ReviewTask
from evaluation.reports import building, comparing, reading
from tests.evaluation.factories import answers, make_study, running_study, start
from tests.evaluation.test_reports import better, closed, failing_study, rate, spread

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _media(settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path


def test_a_check_without_an_interval_contradicts_nothing():
    study = running_study(items=12, systems=2, reviewers=2)
    rate(study, lambda system, item, reviewer: 5 if system == better(study) else 1 + (item + reviewer) % 3)
    rows = {row["criterion"]: row for row in closed(study).results["comparisons"]["rows"]}
    assert rows["bias_gone"]["verdict"] == "better"
    assert rows["bias_gone"]["checks"]["delta"]["estimate"] == 1 and rows["bias_gone"]["checks"]["delta"]["low"] is None
    assert rows["bias_gone"]["disagree"] == []


def test_a_finding_of_the_ranks_alone_is_not_contradicted_for_want_of_an_interval():
    study = running_study(items=12, systems=2, reviewers=2)
    rate(study, lambda system, item, reviewer: 4 if system == better(study) else 3)
    rows = {row["criterion"]: row for row in closed(study).results["comparisons"]["rows"]}
    assert (rows["bias_gone"]["method"], rows["bias_gone"]["verdict"]) == ("wilcoxon", "better")
    assert rows["bias_gone"]["disagree"] == []
    assert rows["reads_well"]["verdict"] == "none"  # described: without an interval nothing is


def test_a_loss_beyond_the_margin_has_no_p_and_says_where_it_is_read():
    study = running_study(items=16, systems=2, reviewers=3)
    rate(study, spread({better(study): -1}))
    rows = {row["criterion"]: row for row in closed(study).results["comparisons"]["rows"]}
    assert rows["meaning_kept"]["verdict"] == "inferior" and rows["meaning_kept"]["p_holm"] is None
    assert "unadjusted 95 % interval" in rows["meaning_kept"]["why"]


def test_planned_tests_that_could_not_be_made_count_in_the_family():
    assert comparing.adjust([0.01, None, None, 0.5], [True, True, False, True]) == pytest.approx(
        [0.03, None, None, 1.0]
    )
    study = running_study(items=12, systems=2, reviewers=2)
    rate(study, spread({better(study): 1}))
    Rating.objects.filter(slot__task__study=study, criterion__key="meaning_kept").update(
        value=None, cannot_judge="context"
    )
    found = closed(study).results["comparisons"]
    assert (found["planned"], found["tests"]) == (2, 1)
    row = next(row for row in found["rows"] if row["criterion"] == "bias_gone")
    assert row["p_holm"] == pytest.approx(min(1, 2 * row["p"]))


def test_guesses_and_repeats_of_excluded_reviewers_and_fast_pages_are_left_out():
    study = make_study(
        items=20, systems=2, reviewers=3, checks=2, repeats=2, guesses=2, number_of_items=12, on_failure="exclude"
    )
    study, bad = failing_study("exclude", study)
    for member in study.reviewers.all():
        for task in reviewing.tasks_to_guess(member.user, study):
            said = {str(slot.pk): "tuned" if member.user == bad else "unknown" for slot in task.slots.all()}
            reviewing.guess(member.user, task.token, said)
    study = studies.close(study, study.created_by)
    data = reading.read(study)
    out = data.reviewers.index(bad.pk)
    assert len(data.guesses.guess) == 8 and set(data.guesses.guess.tolist()) == {2}
    assert all(out not in reviewer for reviewer, _, _ in data.repeats.ratings.values())
    assert data.repeats.chosen[0].size == 4 and out not in data.repeats.chosen[0]
    ReviewTask.objects.filter(study=study, kind="repeat").exclude(reviewer=bad).update(active_seconds=1)
    study.min_seconds = 5
    assert reading.read(study).repeats.chosen[0].size == 0


def test_choosing_again_compares_ties_and_skips_what_could_not_be_judged():
    study = make_study(items=24, systems=2, reviewers=1, repeats=4)
    study = start(study)
    for task in study.tasks.select_related("reviewer", "study"):
        reviewing.submit(task.reviewer, task.token, answers(task, 3))
    again = list(study.tasks.filter(kind="repeat").order_by("pk"))
    first, second, third, _ = again
    ReviewTask.objects.filter(pk=first.pk).update(tie=False, unpreferred="context")
    ReviewTask.objects.filter(pk=first.repeats_id).update(tie=False, unpreferred="language")
    ReviewTask.objects.filter(pk=second.pk).update(tie=False, unpreferred="context")
    ReviewTask.objects.filter(pk=third.pk).update(tie=False, preferred=third.slots.first())
    study = studies.close(study, study.created_by)
    assert sorted(reading.read(study).repeats.chosen[1].tolist()) == [False, True]


@pytest.mark.parametrize("layout", ["pairwise", "best_worst"])
def test_choices_without_criteria_plan_a_test_of_preference_for_each_system(layout):
    study = running_study(items=3, systems=3, reviewers=3, layout=layout, ratings_per_output=2)
    planned = json.loads(study.protocol.text)["planned_tests"]
    others = set(study.systems.exclude(pk=study.reference_id).values_list("pk", flat=True))
    assert {(test["kind"], test["system"]) for test in planned} == {("preference", pk) for pk in others}
    text = protocol_text.markdown(study)
    assert "Preference" in text and "Tests: 2" in text


def chosen_by_text(study, share):
    """The other system is preferred on so many of ten texts, by every reviewer but not always."""
    rate_of = {}
    for task in study.tasks.exclude(kind="same").select_related("reviewer", "study").order_by("item_id", "pk"):
        number = rate_of.setdefault(task.item_id, len(rate_of))
        liked = better(study) if number % 10 < share or (number + task.reviewer_id) % 9 == 0 else study.reference
        reviewing.submit(task.reviewer, task.token, answers(task, 3, preferred=liked))


def test_preferences_beside_criteria_are_described_and_those_alone_are_tested():
    found = {}
    for layout in ("side_by_side", "pairwise"):
        study = running_study(items=20, systems=2, reviewers=2, layout=layout)
        chosen_by_text(study, 8)
        report = closed(study)
        found[layout] = report.results["preferences"], report.results["answers"], study.preference_question
    beside, said, question = found["side_by_side"]
    (contrast,) = beside["contrasts"]
    assert (contrast["verdict"], contrast["p_holm"], contrast["test"]["p"]) == ("higher", None, None)
    assert (beside["planned"], beside["tests"]) == (0, 0) and contrast["wins"]["low"] > 0.5
    answer = next(row for row in said if row["question"] == question)
    assert "described, not tested" in answer["sentence"] and answer["state"] == ""
    alone, said, question = found["pairwise"]
    (contrast,) = alone["contrasts"]
    assert (
        contrast["verdict"] == "better" and contrast["p_holm"] < 0.05 and (alone["planned"], alone["tests"]) == (1, 1)
    )


def test_pages_that_nobody_was_shown_are_no_choices_and_no_finished_pages():
    study = make_study(items=4, systems=2, reviewers=2, layout="pairwise")
    for output in better(study).outputs.order_by("item_id")[:3]:
        output.text = study.reference.outputs.get(item=output.item).text
        output.save()
    study = start(study)
    rate(study, None, preferred=better(study))
    results = closed(study).results
    counts = results["counts"]
    assert (counts["pages"], counts["finished"], counts["same"], counts["texts_rated"]) == (2, 2, 6, 1)
    assert (results["preferences"]["pages"], results["preferences"]["choices"]) == (8, 2)
    assert (
        "2 choices about 1 text by 2 reviewers, and 6 pages alike, counted as ties"
        in results["answers"][-1]["sentence"]
    )


def test_the_headline_counts_what_the_analysis_uses_and_names_who_is_left_out():
    study, bad = failing_study("exclude")
    study.min_seconds = 5
    study.save()
    results = closed(study).results
    counts, out = results["counts"], results["left_out"]
    assert counts["reviewers_who_rated"] == 3 and counts["used"]["reviewers"] == 2
    fast = study.tasks.filter(kind="rating", active_seconds__lt=5).exclude(reviewer=bad).count()
    assert out["fast_pages"] == fast  # those of who is left out anyway are not counted again
    said = results["answers"][-1]["sentence"]
    assert f"{counts['used']['ratings']} ratings of 12 texts by 2 reviewers; not counting 1 reviewer" in said
    assert counts["used"]["ratings"] == sum(row["mean"]["n_ratings"] for row in results["means"])


def test_power_is_quoted_as_the_protocol_has_it_and_only_of_the_same_plan():
    row = {"items": 60, "ratings_per_output": 3, "superiority": [0.8, 0.7, 0.9]}
    written = {
        "systems": [{}, {}],
        "planned_tests": [{}, {}],
        "sizes": {"texts": 60, "reviewers": 3, "ratings_per_output": 3},
        "power": {
            "at": "2026-01-01T00:00:00+00:00",
            "parameters": {"systems": 2, "reviewers": 3, "tests": 2, "difference": 0.3},
            "results": {"table": [row], "words": ["As it was."]},
        },
    }
    assert building._power({}) is None and building._power(written | {"power": None}) is None
    found = building._power(written)
    assert found["row"] == row and found["words"] == ["As it was."] and not found["differs"]
    other = building._power(written | {"systems": [{}, {}, {}], "planned_tests": [{}] * 4})
    assert other["row"] is None and other["words"] == [
        "It was for another plan: 2 systems where the study has 3 and 2 planned tests where the study has 4."
    ]
