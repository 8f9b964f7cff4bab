import json
import xml.etree.ElementTree as ET

import pytest

from annotation import jobs, svg
from annotation.jobs import JobStatus
from evaluation import reports, reviewing, studies
from evaluation.models import Report, System
from tests.evaluation.factories import answers, make_study, rate_everything, running_study, start

pytestmark = pytest.mark.django_db


def closed(study):
    study = studies.close(study, study.created_by)
    report = Report.objects.get(study=study)
    jobs.execute(Report.objects, report.pk, reports.run)
    report.refresh_from_db()
    return report


def better(study):
    return study.systems.exclude(pk=study.reference_id).get()


@pytest.fixture
def report():
    """Three texts, two reviewers: the reference gets 3, the other system 5 and every preference."""
    study = running_study(items=3, systems=2, reviewers=2)
    rate_everything(study, {study.reference: 3, better(study): 5}, preferred=better(study))
    return closed(study)


def test_the_report_is_computed_by_its_job(report):
    assert (report.status, report.error) == (JobStatus.FINISHED, "")
    assert json.loads(json.dumps(report.results)) == report.results
    assert report.results["counts"] == {
        "tasks": 6,
        "finished": 6,
        "items": 3,
        "items_rated": 3,
        "reviewers": 2,
        "reviewers_who_rated": 2,
        "ratings": 36,
    }


def test_figures_worked_by_hand(report):
    results = report.results
    study = report.study
    assert [system["id"] for system in results["systems"]] == [study.reference_id, better(study).pk]
    means = {(row["criterion"], row["system"]): row for row in results["means"]}
    assert means["bias_gone", better(study).pk]["estimate"] == 5
    assert means["bias_gone", better(study).pk]["n_ratings"] == 6
    assert "Every rating is 5" in means["bias_gone", better(study).pk]["reason"]
    for row in results["comparisons"]:
        assert row["difference"]["estimate"] == 2
        # Three positive differences: 2 of 2^3 sign patterns. Three equal p: Holm triples them.
        assert row["p"] == pytest.approx(0.25)
        assert row["p_holm"] == pytest.approx(0.75)
        assert row["verdict"] == "unclear"
    # Agreement is perfect: both reviewers gave 3 and 5 to the same outputs.
    assert [row["estimate"] for row in results["agreement"]] == pytest.approx([1, 1, 1])
    chosen = {row["system"]: row["share"] for row in results["preferences"]["systems"]}
    assert (chosen[better(study).pk]["count"], results["preferences"]["n"]) == (6, 6)
    # Wilson for 6 of 6: n / (n + z^2) = 6 / 9.8415.
    assert chosen[better(study).pk]["low"] == pytest.approx(6 / (6 + 1.959964**2), abs=1e-6)
    assert results["preferences"]["ties"]["count"] == 0


def test_a_clear_difference_is_called_one_and_its_direction_is_right():
    study = running_study(items=12, systems=2)
    rate_everything(study, {study.reference: 4, better(study): 2})
    results = closed(study).results
    assert {row["verdict"] for row in results["comparisons"]} == {"lower"}
    # All twelve differ the same way: p = 2 / 2^12, three tests.
    assert results["comparisons"][0]["p_holm"] == pytest.approx(3 * 2 / 2**12)
    assert results["preferences"]["ties"]["count"] == 12


def test_only_finished_tasks_count():
    study = running_study(items=3)
    first, second, _ = study.tasks.all()
    reviewing.submit(first.reviewer, first.token, answers(first, 4))
    reviewing.save_draft(second.reviewer, second.token, answers(second, 1))
    results = closed(study).results
    assert results["counts"]["finished"] == 1
    assert {row["estimate"] for row in results["means"]} == {4}
    assert all("One text" in row["reason"] for row in results["means"])
    assert all(row["p"] is None and "One text" in row["test_reason"] for row in results["comparisons"])
    assert all("two reviewers" in row["reason"] for row in results["agreement"])


def test_a_study_closed_before_anyone_rated_says_so():
    report = closed(running_study(items=2))
    assert report.status == JobStatus.FINISHED
    assert all(row["estimate"] is None and row["reason"] for row in report.results["means"])
    assert {row["verdict"] for row in report.results["comparisons"]} == {"none"}
    assert report.results["preferences"]["ties"]["reason"] == "No choices."
    assert "0 were finished" in report.results["methods"]
    assert "<svg" in report.figures["means"]


def test_a_report_of_a_running_study_fails_with_a_sentence():
    study = running_study()
    report = Report.objects.create(project=study.project, study=study, created_by=study.created_by)
    jobs.execute(Report.objects, report.pk, reports.run)
    report.refresh_from_db()
    assert (report.status, report.error) == (JobStatus.FAILED, "The study is not closed yet.")
    assert report.results == {}


def test_the_same_seed_gives_the_same_report():
    study = running_study(items=8, systems=3, reviewers=2)
    for number, task in enumerate(study.tasks.select_related("reviewer")):
        value = {system: 1 + (number * number + place) % 5 for place, system in enumerate(study.systems.all())}
        reviewing.submit(task.reviewer, task.token, answers(task, value))
    study = studies.close(study, study.created_by)
    first, again, other = (reports.build(study, seed) for seed in (7, 7, 8))
    assert first == again
    assert first["agreement"] != other["agreement"]


def test_the_methods_paragraph_says_n_seeds_versions_and_sources(report):
    methods = report.results["methods"]
    for words in (
        "2 reviewers",
        "3 texts",
        "36 ratings",
        "seed 7",
        "Holm 1979",
        "Pratt 1959",
        "Krippendorff 2013",
        "all 3 tests",
        f"scipy {report.results['versions']['scipy']}",
        "Is the bias gone?",
        report.study.reference.name,
    ):
        assert words in methods
    assert "scratch" not in methods


def test_a_scratch_models_figures_are_called_so():
    study = make_study(items=2)
    System.objects.filter(pk=study.reference_id).update(is_scratch=True)
    study = start(study)
    rate_everything(study)
    results = closed(study).results
    assert [system["is_scratch"] for system in results["systems"]] == [True, False]
    assert "say nothing about the method" in results["methods"]


def test_figures_are_well_formed_whatever_a_system_is_called():
    study = make_study(items=2)
    names = ['<script>$x$</script> & "q" --> ', "\u202eعربي 👩‍👩‍👧 " + "long " * 15]
    for system, name in zip(study.systems.all(), names, strict=True):
        System.objects.filter(pk=system.pk).update(name=name)
    study = start(study)
    rate_everything(study)
    report = closed(study)
    assert report.status == JobStatus.FINISHED
    for drawn in report.figures.values():
        assert ET.fromstring(drawn).tag.endswith("svg")
        inline = svg.themed(drawn)
        assert ET.fromstring(inline) is not None
        assert "<script" not in inline
        assert "var(--accent)" in inline and "#1f5f5b" not in inline and ' id="figure_' not in inline
