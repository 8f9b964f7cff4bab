"""What a report calls a finding, and what it counts."""

import pytest

from evaluation import reviewing, studies
from evaluation.models import ReviewTask
from evaluation.reports import building, comparing, reading
from tests.evaluation.factories import answers, make_study, running_study, start, system_of
from tests.evaluation.test_reports import answer_to, better, closed, failing_study, rate, spread

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
    criteria = list(study.criteria.values_list("key", flat=True))
    noise = spread({better(study): 1})

    def level(system, item, reviewer):
        return noise(system, item, reviewer)

    rate(study, level)
    from evaluation.models import Rating

    Rating.objects.filter(slot__task__study=study, criterion__key="meaning_kept").update(
        value=None, cannot_judge="context"
    )
    found = closed(study).results["comparisons"]
    assert criteria and (found["planned"], found["tests"]) == (2, 1)
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
    study = make_study(items=8, systems=2, reviewers=1, repeats=4, number_of_items=6)
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
