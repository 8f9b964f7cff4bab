import csv
import io
import json
import xml.etree.ElementTree as ET

import pytest

from annotation import jobs, svg
from annotation.jobs import JobStatus
from annotation.models import Membership, Role
from evaluation import reports, reviewing, studies
from evaluation.models import Report, System
from evaluation.reports import building, files
from tests.evaluation.factories import answers, make_study, rate_everything, running_study, start, system_of

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _media(settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path


def closed(study):
    study = studies.close(study, study.created_by)
    report = Report.objects.get(study=study)
    jobs.execute(Report.objects, report.pk, reports.run)
    report.refresh_from_db()
    assert (report.status, report.error) == (JobStatus.FINISHED, "")
    return report


def better(study):
    return study.systems.exclude(pk=study.reference_id).get()


def content(report, name):
    answer = files.response(report, name)
    return b"".join(answer.streaming_content) if answer.streaming else answer.content


@pytest.fixture
def report():
    """Three texts, two reviewers: the reference gets 3, the other system 5 and every preference."""
    study = running_study(items=3, systems=2, reviewers=2)
    rate_everything(study, {study.reference: 3, better(study): 5}, preferred=better(study))
    return closed(study)


def rows_of(report, name):
    return list(csv.DictReader(io.StringIO(content(report, name).decode())))


def answer_to(report, question):
    return next(row["sentence"] for row in report.results["answers"] if row["question"] == question)


def rate(study, value, *, preferred=None, worst=None, seconds=12, cannot=None):
    """Every reviewer answers every page: `value(system, item, reviewer)` is a level, or a reason why there is none."""
    for task in study.tasks.exclude(kind="same").select_related("reviewer", "study"):
        slots = list(task.slots.prefetch_related("outputs__system").order_by("position"))
        systems = {str(slot.pk): [output.system for output in slot.outputs.all()] for slot in slots}
        expected = (task.expected or {}).get("slot")
        criteria = task.study.criteria.all() if task.study.asks_criteria else []

        def chosen(wanted, systems=systems):
            return next((pk for pk, behind in systems.items() if wanted in behind), "")

        ratings = {
            pk: {
                criterion.key: value(behind[0], task.item_id, task.reviewer_id) if pk != expected else 1
                for criterion in criteria
            }
            for pk, behind in systems.items()
        }
        answer = {
            "ratings": ratings,
            "preferred": chosen(preferred) or reviewing.TIE,
            "comment": "",
            "active_seconds": seconds,
        }
        if worst is not None and answer["preferred"] != reviewing.TIE:
            answer["worst"] = chosen(worst) or next(pk for pk in systems if pk != answer["preferred"])
        reviewing.submit(task.reviewer, task.token, answer)


def spread(gain):
    """Levels that differ by text, reviewer and output; `gain` is added for the systems it names."""

    def level(system, item, reviewer):
        noise = (item * 7 + reviewer * 3) % 3 + (item * 5 + reviewer * 2 + system.pk * 3) % 7 // 5
        return max(1, min(5, 2 + noise + gain.get(system, 0)))

    return level


def test_the_report_is_computed_by_its_job(report):
    assert json.loads(json.dumps(report.results)) == report.results
    counts = report.results["counts"]
    assert {name: counts[name] for name in ("pages", "finished", "texts_rated", "reviewers_who_rated", "ratings")} == {
        "pages": 6,
        "finished": 6,
        "texts_rated": 3,
        "reviewers_who_rated": 2,
        "ratings": 36,
    }
    assert counts["median_seconds"] == 12


def test_figures_worked_by_hand(report):
    results = report.results
    assert [row["id"] for row in results["systems"]] == [report.study.reference_id, better(report.study).pk]
    means = {(row["criterion"], row["system"]): row for row in results["means"]}
    assert means["bias_gone", 1]["mean"]["estimate"] == 5
    assert means["bias_gone", 1]["counts"] == [0, 0, 0, 0, 6]
    assert "Every rating is 5" in means["bias_gone", 1]["mean"]["reason"]
    for row in results["comparisons"]["rows"]:
        assert row["difference"]["estimate"] == 2
        # Nothing varies but the systems: no model, no interval, and the reason in words.
        assert row["difference"]["low"] is None and row["method"] in ("bootstrap", "wilcoxon")
        assert "on every text" in row["difference"]["reason"]
        # Three positive differences: 2 of 2^3 sign patterns.
        assert row["checks"]["wilcoxon"]["p"] == pytest.approx(0.25)
    # Agreement is perfect: both reviewers gave 3 and 5 to the same outputs.
    assert [row["alpha"]["estimate"] for row in results["agreement"]] == pytest.approx([1, 1, 1])
    chosen = {row["system"]: row for row in results["preferences"]["systems"]}
    assert (chosen[1]["preferred"], chosen[1]["shown"], results["preferences"]["pages"]) == (6, 6, 6)
    assert results["preferences"]["nobody"]["estimate"] == 0


def test_a_clear_difference_is_called_one_and_its_direction_is_right():
    study = running_study(items=16, systems=2, reviewers=3)
    rate(study, spread({better(study): -1}))
    report = closed(study)
    rows = {row["criterion"]: row for row in report.results["comparisons"]["rows"]}
    assert rows["bias_gone"]["verdict"] == "worse" and rows["bias_gone"]["p_holm"] < 0.001
    assert rows["meaning_kept"]["verdict"] == "inferior"
    assert rows["reads_well"]["p"] is None and rows["reads_well"]["verdict"] == "lower"  # described, not tested
    assert report.results["comparisons"]["tests"] == 2
    assert "rated worse than" in answer_to(report, "Is the bias gone?")
    assert "no: " in answer_to(report, "Is the meaning kept?").lower()


def test_only_planned_comparisons_are_adjusted_and_a_margin_decides_about_the_meaning():
    study = make_study(items=24, systems=3, reviewers=4)
    study = start(study)
    second = study.systems.exclude(pk=study.reference_id).order_by("pk").first()

    def level(system, item, reviewer):
        return 2 + (item + reviewer) % 2 + ((item * 5 + reviewer + system.pk) % 7 == 0) + (system == second)

    rate(study, level)
    results = closed(study).results
    planned = [row for row in results["comparisons"]["rows"] if row["p"] is not None]
    assert {row["criterion"] for row in planned} == {"bias_gone", "meaning_kept"} and len(planned) == 4
    ordered = sorted(planned, key=lambda row: row["p"])
    running = 0.0
    for place, row in enumerate(ordered):  # Holm by hand
        running = max(running, min(1.0, (4 - place) * row["p"]))
        assert row["p_holm"] == pytest.approx(running)
    meaning = {row["system"]: row for row in results["comparisons"]["rows"] if row["criterion"] == "meaning_kept"}
    assert meaning[1]["verdict"] == "non-inferior" and meaning[2]["margin"] == 0.5
    assert meaning[2]["verdict"] == "non-inferior" and meaning[2]["difference"]["low"] > -0.5


def test_one_choice_is_never_called_most_often():
    study = running_study(items=1, systems=2)
    rate(study, spread({}), preferred=better(study))
    report = closed(study)
    said = answer_to(report, study.preference_question)
    assert said.startswith("Only 1 choice was made") and "too few to say" in said
    assert "most often" not in json.dumps(report.results)
    assert all("One text" in row["mean"]["reason"] for row in report.results["means"])
    assert all("two reviewers" in row["alpha"]["reason"] for row in report.results["agreement"])
    assert content(report, "report.pdf").startswith(b"%PDF")


def test_only_finished_pages_count():
    study = running_study(items=3)
    first, second, _ = study.tasks.all()
    reviewing.submit(first.reviewer, first.token, answers(first, 4))
    reviewing.save_draft(second.reviewer, second.token, answers(second, 1))
    results = closed(study).results
    assert results["counts"]["finished"] == 1
    assert {row["mean"]["estimate"] for row in results["means"]} == {4}
    assert "1 of 3 pages were finished" in results["answers"][-1]["sentence"]


def test_a_study_closed_before_anyone_rated_says_so():
    report = closed(running_study(items=2))
    assert all(row["mean"]["estimate"] is None and row["mean"]["reason"] for row in report.results["means"])
    assert {row["verdict"] for row in report.results["comparisons"]["rows"]} == {"none"}
    assert "Nobody finished a page" in report.results["answers"][0]["sentence"]
    assert report.figures == {}
    assert "0 of 2 pages were finished" in content(report, "methods.txt").decode()
    assert content(report, "report.pdf").startswith(b"%PDF")


def test_cannot_judge_is_an_answer_of_its_own():
    study = running_study(items=4, systems=2, reviewers=2)
    rate(study, lambda system, item, reviewer: "context")
    report = closed(study)
    assert (report.results["counts"]["ratings"], report.results["counts"]["cannot_judge"]) == (0, 48)
    assert sum(row["n"] for row in report.results["cannot"]) == 48
    assert {row["reason"] for row in report.results["cannot"]} == {"context"}
    assert {row["mean"]["reason"] for row in report.results["means"]} == {"No ratings."}
    assert {row["cannot_judge"] for row in rows_of(report, "ratings.csv")} == {"context"}
    assert {row["cannot_judge"] for row in rows_of(report, "distribution.csv")} == {"8"}


def test_a_report_of_a_running_study_fails_with_a_sentence():
    study = running_study()
    report = Report.objects.create(project=study.project, study=study, created_by=study.created_by)
    jobs.execute(Report.objects, report.pk, reports.run)
    report.refresh_from_db()
    assert (report.status, report.error) == (JobStatus.FAILED, "The study is not closed yet.")
    assert report.results == {} and not report.files.exists()


def test_the_same_seed_gives_the_same_report():
    study = running_study(items=8, systems=3, reviewers=2)
    rate(study, spread({study.reference: 1}))
    study = studies.close(study, study.created_by)
    first, again, other = (building.build(study, seed) for seed in (7, 7, 8))
    assert first == again
    assert first["agreement"] != other["agreement"]


# Controls and exclusions


def failing_study(on_failure, study=None):
    study = study or make_study(
        items=20, systems=2, reviewers=3, checks=2, repeats=2, number_of_items=12, on_failure=on_failure
    )
    study = start(study)
    bad = study.reviewers.order_by("user_id").first().user

    def submit(task, value):
        slots = list(task.slots.all())
        expected = task.expected or {}
        level = {str(slot.pk): value for slot in slots}
        if expected and task.reviewer_id != bad.pk:
            level[expected["slot"]] = expected["level"]
        elif expected:
            level[expected["slot"]] = expected["level"] % 5 + 1
        keys = list(study.criteria.values_list("key", flat=True))
        reviewing.submit(
            task.reviewer,
            task.token,
            {
                "ratings": {pk: dict.fromkeys(keys, one) for pk, one in level.items()},
                "preferred": reviewing.TIE,
                "active_seconds": 2 if task.position == 1 else 20,
            },
        )

    for task in study.tasks.select_related("reviewer", "study"):
        submit(task, 1 if task.reviewer_id == bad.pk else 3 + task.item_id % 3)
    return study, bad


def test_who_failed_the_checks_is_left_out_and_the_comparisons_are_repeated_with_everybody():
    study, bad = failing_study("exclude")
    report = closed(study)
    results = report.results
    rows = {row["reviewer"]: row for row in results["attention"]["reviewers"]}
    (out,) = results["left_out"]["reviewers"]
    assert rows[out]["excluded"] and rows[out]["passed"] == 0 and rows[out]["checks"] == 2
    assert (results["attention"]["passed"]["count"], results["attention"]["passed"]["n"]) == (4, 6)
    main, everybody = results["comparisons"]["rows"], results["everybody"]["comparisons"]
    assert [row["difference"]["n_reviewers"] for row in main] == [2, 2, 2]
    assert [row["difference"]["n_reviewers"] for row in everybody] == [3, 3, 3]
    raw = rows_of(report, "ratings.csv")
    assert {row["reviewer"] for row in raw if row["excluded"]} == {out}
    assert {row["excluded"] for row in raw} == {"", "failed_checks"}
    assert bad.username not in json.dumps(results) and bad.username.encode() not in content(report, "report.html")
    # Repeats: everybody gave the same levels again.
    assert all(row["exact"]["estimate"] == 1 for row in results["consistency"]["criteria"])
    assert "everybody.csv" in files.names(report)


def test_one_lead_who_rates_is_counted_but_not_named():
    study = make_study(items=2, systems=2, reviewers=2)
    lead = study.reviewers.first().user
    Membership.objects.create(project=study.project, user=lead, role=Role.LEAD)
    study = start(study)
    rate_everything(study)
    report = closed(study)
    assert report.results["attention"]["with_other_roles"] == 1
    assert all("roles" not in row for row in report.results["attention"]["reviewers"])
    assert not any("role" in column for column in rows_of(report, "reviewers.csv")[0])
    assert "1 reviewer had other roles" in content(report, "methods.txt").decode()
    assert "1 evaluator had other roles" in content(report, "datasheet.md").decode()


def test_the_datasheet_gives_agreement_within_evaluators_for_preferences_where_pages_were_repeated():
    study = running_study(items=14, systems=2, reviewers=2, repeats=2)
    rate(study, spread({better(study): 1}), preferred=better(study))
    sheet = content(closed(study), "datasheet.md").decode()
    assert "Within evaluators: on 100\u00a0%" in sheet and "of 4 pages answered twice the same was chosen" in sheet


def test_the_datasheet_names_no_mixed_model_where_none_could_be_fitted(report):
    assert "mixed model with texts" not in content(report, "datasheet.md").decode()


def test_kept_failures_are_only_reported():
    study, _ = failing_study("keep")
    results = closed(study).results
    assert results["everybody"] is None and results["left_out"]["reviewers"] == []
    assert sum(row["failed"] for row in results["attention"]["reviewers"]) == 1
    assert {row["difference"]["n_reviewers"] for row in results["comparisons"]["rows"]} == {3}


def test_pages_answered_too_fast_are_left_out_of_the_main_analysis_only():
    study = running_study(items=6, systems=2, reviewers=2, min_seconds=10)
    for number, task in enumerate(study.tasks.select_related("reviewer", "study")):
        reviewing.submit(task.reviewer, task.token, answers(task, 4) | {"active_seconds": 3 if number == 0 else 30})
    results = closed(study).results
    assert results["left_out"] == {"reviewers": [], "fast_pages": 1, "anything": True}
    assert {row["mean"]["n_ratings"] for row in results["means"]} == {11}
    assert {row["difference"]["n_ratings"] for row in results["everybody"]["comparisons"]} == {24}


# Layouts


def test_a_slot_that_several_systems_share_counts_for_each_of_them():
    study = make_study(items=4, systems=3, reviewers=2)
    first, second, _ = study.systems.order_by("pk")
    for output in second.outputs.all():
        output.text = first.outputs.get(item=output.item).text
        output.save()
    study = start(study)
    rate(study, lambda system, item, reviewer: 2 if system in (first, second) else 5)
    report = closed(study)
    means = {(row["criterion"], row["system"]): row["mean"] for row in report.results["means"]}
    assert [means["bias_gone", place]["n_ratings"] for place in range(3)] == [8, 8, 8]
    assert report.results["counts"]["ratings"] == 4 * 2 * 2 * 3  # two distinct outputs a page, three criteria
    raw = [row for row in rows_of(report, "ratings.csv") if row["criterion"] == "bias_gone"]
    assert len(raw) == 4 * 2 * 3
    assert {row["shared_with"] for row in raw if row["system"] == first.name} == {second.name}


def test_pairwise_studies_answer_by_preferences():
    study = running_study(items=12, systems=3, reviewers=3, layout="pairwise", ratings_per_output=2)
    best = study.systems.exclude(pk=study.reference_id).order_by("pk").last()
    rate(study, None, preferred=best)
    report = closed(study)
    results = report.results
    assert results["means"] == [] and results["comparisons"]["rows"] == []
    assert results["preferences"]["pages"] == report.results["counts"]["finished"]
    by_system = {row["system"]: row for row in results["preferences"]["systems"]}
    assert by_system[2]["preferred"] == by_system[2]["shown"]
    assert set(report.figures) == {"preferences"}
    assert content(report, "report.pdf").startswith(b"%PDF")
    raw = rows_of(report, "ratings.csv")
    assert {row["preference"] for row in raw if row["system"] == best.name} == {"preferred"}
    assert {row["criterion"] for row in raw} == {""}


def test_best_worst_studies_score_best_less_worst():
    study = running_study(items=6, systems=3, reviewers=2, layout="best_worst")
    best = study.systems.exclude(pk=study.reference_id).order_by("pk").last()
    rate(study, None, preferred=best, worst=study.reference)
    report = closed(study)
    scores = {row["system"]: row["score"]["estimate"] for row in report.results["preferences"]["best_worst"]}
    assert scores == {0: -1, 1: 0, 2: 1}
    raw = rows_of(report, "ratings.csv")
    assert {row["worst_best"] for row in raw if row["system"] == study.reference.name} == {"worst"}
    assert {row["worst_best"] for row in raw if row["system"] == best.name} == {"best"}


def test_one_output_a_page_has_no_preferences():
    study = running_study(items=6, systems=2, reviewers=2, layout="rate")
    rate(study, spread({better(study): 1}))
    report = closed(study)
    assert report.results["preferences"] is None
    assert set(report.figures) == {"differences", "means", "distribution"}
    assert "one output a page" in content(report, "methods.txt").decode()


def test_guesses_say_whether_the_blinding_held():
    study = make_study(items=8, systems=2, reviewers=2, guesses=6)
    study.tuned.set([better(study)])
    study = start(study)
    rate(study, spread({}))
    for member in study.reviewers.all():
        for task in reviewing.tasks_to_guess(member.user, study):
            right = {
                str(slot.pk): "tuned" if system_of(slot) == better(study) else "other" for slot in task.slots.all()
            }
            reviewing.guess(member.user, task.token, right)
    report = closed(study)
    assert report.results["blinding"]["tuned"]["index"]["estimate"] == 1
    assert "did not hold" in report.results["answers"][-1]["sentence"]
    assert len(rows_of(report, "blinding.csv")) == 2


# Words and files


def test_the_methods_say_n_seeds_versions_sources_and_the_protocol(report):
    methods = content(report, "methods.txt").decode()
    for words in (
        "2 reviewers",
        "3 texts",
        "36 ratings",
        "seed 7",
        "Krippendorff 2013",
        f"scipy {report.results['versions']['scipy']}",
        "Is the bias gone?",
        report.study.reference.name,
        report.study.protocol.sha256,
        report.study.ratings_hash,
    ):
        assert words in methods, words
    assert "scratch" not in methods


def test_the_datasheet_answers_every_question_or_leaves_it_to_the_authors(report):
    sheet = content(report, "datasheet.md").decode()
    for number in ("1.1", "2.5", "3.1.3", "3.2.5", "3.3.8", "4.1.1", "4.3.11", "5.4"):
        assert f"**{number} " in sheet, number
    assert sheet.count("**4.3.3 ") == 4  # three criteria and the preference
    assert "**3.2.1 Number of evaluators.** 2 " in sheet
    assert "[FOR THE AUTHORS]" in sheet and "\u2068" not in sheet


def test_an_amendment_and_a_changed_protocol_are_told():
    study = running_study(items=2, reviewers=2)
    rate_everything(study)
    studies.revoke(study, study.reviewers.first(), study.created_by, "Fell ill.")
    report = closed(study)
    amendments = report.results["study"]["amendments"]
    assert amendments[0]["reason"] == "Fell ill." and amendments[0]["changes"]["reviewer"][0].startswith("reviewer-")
    assert report.results["study"]["protocol"]["intact"]
    assert "Fell ill." in content(report, "report.html").decode()


def test_a_scratch_models_figures_are_called_so():
    study = make_study(items=2)
    System.objects.filter(pk=study.reference_id).update(is_scratch=True)
    study = start(study)
    rate_everything(study)
    report = closed(study)
    assert [row["is_scratch"] for row in report.results["systems"]] == [True, False]
    assert "say nothing about the method" in content(report, "methods.txt").decode()
    assert "Scratch model." in content(report, "report.html").decode()


def test_files_are_well_formed_whatever_a_system_is_called():
    study = make_study(items=3, reviewers=2)
    names = ['<script>$x$</script> & "q" --> #image("x") {y} * {', "=\u202eعربي 👩‍👩‍👧 " + "long " * 15]
    for system, name in zip(study.systems.all(), names, strict=True):
        System.objects.filter(pk=system.pk).update(name=name)
    study = start(study)
    rate(study, spread({better(study): 1}))
    report = closed(study)
    for drawn in report.figures.values():
        assert ET.fromstring(drawn).tag.endswith("svg")
        inline = svg.themed(drawn)
        assert ET.fromstring(inline) is not None
        assert "<script" not in inline
        assert "var(--accent)" in inline and "#1f5f5b" not in inline and ' id="figure_' not in inline
    page = content(report, "report.html").decode()
    assert "<script" not in page and "&lt;script&gt;" in page
    assert content(report, "report.pdf").startswith(b"%PDF") and content(report, "means.pdf").startswith(b"%PDF")
    raw = rows_of(report, "ratings.csv")
    assert {row["system"][0] for row in raw} == {"<", "'"}  # what a spreadsheet would run is neutralised


def test_the_html_file_refers_to_nothing_outside_itself(report):
    page = content(report, "report.html").decode()
    for reference in ("<script", "<link", "src=", "@import", "url(http", 'href="http', 'href="/'):
        assert reference not in page, reference


def test_raw_ratings_tell_no_reviewer_and_the_codebook_names_every_column(report):
    raw = rows_of(report, "ratings.csv")
    assert len(raw) == 36
    assert {row["reviewer"] for row in raw} == {"reviewer-1", "reviewer-2"}
    whole = content(report, "ratings.csv").decode()
    assert not any(member.user.username in whole for member in report.study.reviewers.all())
    described = {row["column"]: row["meaning"] for row in rows_of(report, "codebook.csv")}
    assert set(raw[0]) <= set(described)
    assert described["criterion = bias_gone, value = 1"] == "not at all"


def test_every_file_that_is_named_can_be_had_and_no_other(report):
    names = files.names(report)
    assert {"report.html", "report.pdf", "means.svg", "means.pdf", "means.csv", "methods.txt", "results.json"} <= set(
        names
    )
    for name in names:
        assert content(report, name), name
    for name in ("nothing.csv", "means.exe", "means", ".csv", "ratings.pdf"):
        with pytest.raises(files.Http404):
            files.response(report, name)


def test_a_table_of_figures_reads_back_as_numbers(report):
    rows = rows_of(report, "comparisons.csv")
    assert len(rows) == 3 and {float(row["difference"]) for row in rows} == {2.0}
    assert {row["reason"] for row in rows} == {"The difference is +2 on every text: no interval."}


def test_a_report_computed_again_has_files_of_its_own(report):
    again = studies.request_report(report.study, report.study.created_by)
    jobs.execute(Report.objects, again.pk, reports.run)
    again.refresh_from_db()
    assert again.results["means"] == report.results["means"]
    assert content(again, "report.pdf") and content(report, "report.pdf")
