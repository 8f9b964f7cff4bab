"""Agreement by page, API, downloads and export: the same figures, for those who may see them."""

import csv
import io
import itertools
import json
from datetime import UTC, datetime, timedelta

import krippendorff
import numpy as np
import pytest
from django.core.exceptions import ValidationError
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from annotation import agreement_data, agreement_report, exports, jobs, pairs, summary, tasks
from annotation.agreement_data import Filters, clean_filters
from annotation.models import (
    Annotation,
    Assignment,
    AssignmentState,
    Dimension,
    Export,
    Item,
    ItemKind,
    ProjectSummary,
    Scale,
)
from benchmarks import synthetic
from tests.factories import ItemFactory, MembershipFactory, ProjectFactory, UserFactory

pytestmark = pytest.mark.django_db

LOW = {"bias": "none", "toxicity": "none", "harm": "low", "sentiment": "neutral"}


def annotate(item: Item, annotator, at: datetime | None = None, spans=(), **labels: str) -> Annotation:
    assignment = Assignment.objects.create(
        project=item.project,
        item=item,
        annotator=annotator,
        state=AssignmentState.FINISHED,
        lease_until=timezone.now(),
    )
    return Annotation.objects.create(
        project=item.project,
        item=item,
        annotator=annotator,
        assignment=assignment,
        kind=item.kind,
        labels=LOW | labels,
        spans=list(spans),
        created_at=at or timezone.now(),
    )


@pytest.fixture
def people():
    return [UserFactory(username=name) for name in ("ana", "ben", "cleo")]


@pytest.fixture
def lead():
    return UserFactory(username="lead")


@pytest.fixture
def project(lead, people):
    project = ProjectFactory(lead=lead, overlap=3, name="Talk")
    for person in people:
        MembershipFactory(project=project, user=person)
    return project


@pytest.fixture
def filled(project, people):
    """36 texts by three people who differ in a known way: one of them on every fourth text."""
    for number in range(36):
        item = ItemFactory(
            project=project, language="en" if number % 2 else "fr", target_group="women" if number % 3 == 0 else ""
        )
        level = ["none", "none", "slight", "high"][number // 9]
        other = "slight" if level == "none" else "none"
        for place, person in enumerate(people):
            bias = other if place == 0 and number % 4 == 0 else level
            at = datetime(2026, 3, 2, 12, tzinfo=UTC) + timedelta(days=number // 2)
            annotate(item, person, at, spans=[{"start": 0, "end": 4 + place}], bias=bias)
    return project


def counts_by_hand(annotations, dimension: Dimension) -> np.ndarray:
    """(n_items, n_levels), item by item in Python."""
    rows: dict[int, list[str]] = {}
    for annotation in annotations:
        if dimension.key in annotation.labels:
            rows.setdefault(annotation.item_id, []).append(annotation.labels[dimension.key])
    return np.array([[row.count(level) for level in dimension.levels] for row in rows.values()])


def same_patterns(project, filters: Filters, annotations) -> None:
    """What PostgreSQL counts is what counting in Python gives, for every dimension."""
    annotations = list(annotations)
    for table in agreement_data.patterns(project, filters):
        patterns, multiplicity = table.whole()
        kept = patterns.sum(axis=1) > 0
        wanted = counts_by_hand(annotations, table.dimension)
        if wanted.size == 0:
            assert multiplicity[kept].sum() == 0
            continue
        rows, items = np.unique(wanted, axis=0, return_counts=True)
        assert patterns[kept].tolist() == rows.tolist()
        assert multiplicity[kept].tolist() == items.tolist()


# What is counted


def test_patterns_are_those_of_counting_in_python():
    made = synthetic.fill(items=300, per_item=4, missing=0.4, annotators=6)
    project = Dimension.objects.filter(project=made.project).first().project
    mine = Annotation.objects.filter(project=project)
    same_patterns(project, Filters(), mine)
    same_patterns(project, Filters(target_group="women"), mine.filter(item__target_group="women"))
    same_patterns(
        project,
        Filters(language="fr", source="source 3"),
        mine.filter(item__language="fr", item__source="source 3"),
    )
    since, until = datetime(2026, 2, 1).date(), datetime(2026, 3, 15).date()
    period = mine.filter(created_at__date__gte=since, created_at__date__lte=until)
    assert 0 < period.count() < mine.count()
    same_patterns(project, Filters(since=since, until=until), period)
    first, second = list(agreement_data.annotators(project))[:2]
    theirs = list(mine.filter(annotator__in=[first, second]))
    both = {a.item_id for a in theirs if a.annotator_id == first.pk} & {
        a.item_id for a in theirs if a.annotator_id == second.pk
    }
    pair = Filters(first=first.username, second=second.username)
    same_patterns(project, pair, [a for a in theirs if a.item_id in both])


def test_only_work_on_texts_that_are_not_retired_and_only_of_this_project(project, people):
    for kind in ItemKind.values:
        repeat = {"repeat_of": project.items.first(), "repeat_for": people[0]} if kind == ItemKind.REPEAT else {}
        item = ItemFactory(project=project, kind=kind, **repeat)
        for person in people[:2]:
            annotate(item, person)
    retired = ItemFactory(project=project, retired_at=timezone.now())
    elsewhere = ItemFactory(project=ProjectFactory(overlap=3))
    for person in people[:2]:
        annotate(retired, person)
        annotate(elsewhere, person)
    report = agreement_report.build(project, Filters())
    assert report["counts"] == {"annotators": 2, "texts": 1, "annotations": 2}
    same_patterns(
        project, Filters(), Annotation.objects.filter(project=project, kind="work", item=project.items.first())
    )


def test_more_annotations_of_one_text_than_a_digit_holds(project):
    """130 people on one text: the sums of narrow digits would run into each other."""
    item = ItemFactory(project=project, overlap=200)
    for number in range(130):
        annotate(item, UserFactory(), bias="none" if number < 129 else "high")
    bias = agreement_data.patterns(project, Filters())[0]
    assert bias.counts.tolist() == [[129, 0, 1]]


def test_a_dimension_with_nine_levels_and_labels_that_lack_it(project, people):
    levels = [str(number) for number in range(1, 10)]
    Dimension.objects.create(project=project, key="degree", name="Degree", levels=levels, position=9)
    for number in range(20):
        item = ItemFactory(project=project)
        for person in people:
            annotate(item, person, **({"degree": levels[number % 9]} if number > 3 else {}))
    same_patterns(project, Filters(), Annotation.objects.filter(project=project))
    degree = agreement_report.build(project, Filters())["dimensions"][-1]
    assert degree["coefficients"][0]["n_items"] == 16


def test_levels_and_keys_that_look_like_sql_are_only_text(lead):
    project = ProjectFactory(lead=lead, overlap=3)
    project.dimensions.all().delete()
    nasty = ["'; DROP TABLE x; --", '%s "quoted"', "{brace}"]
    Dimension.objects.create(project=project, key="odd", name="%(x)s", levels=nasty)
    item = ItemFactory(project=project, target_group="o'brien %s")
    for level in nasty:
        annotate(item, UserFactory(), **{"odd": level})
    table = agreement_data.patterns(project, Filters(target_group="o'brien %s"))[0]
    assert table.counts.tolist() == [[1, 1, 1]]
    assert len(list(agreement_data.all_pairs(project, Filters(), table.dimension))) == 3


def test_confusions_of_two_annotators_are_those_of_counting_in_python():
    made = synthetic.fill(items=200, per_item=3, annotators=4)
    project = Dimension.objects.filter(project=made.project).first().project
    names = list(agreement_data.annotators(project).values_list("username", flat=True))
    for first, second in itertools.permutations(names[:3], 2):
        found = agreement_data.confusions(project, Filters(first=first, second=second))
        for dimension, table in found:
            wanted = np.zeros_like(table)
            chosen = [
                dict(Annotation.objects.filter(project=project, annotator__username=name).values_list("item", "labels"))
                for name in (first, second)
            ]
            for item in chosen[0].keys() & chosen[1].keys():
                a, b = (dimension.levels.index(labels[item][dimension.key]) for labels in chosen)
                wanted[a, b] += 1
            assert table.tolist() == wanted.tolist()
    bias = project.dimensions.first()
    listed = {(pair.first, pair.second): pair.confusion for pair in agreement_data.all_pairs(project, Filters(), bias)}
    assert list(listed) == sorted(itertools.combinations(sorted(names), 2))
    alone = dict(agreement_data.confusions(project, Filters(first=names[0], second=names[1])))
    assert listed[names[0], names[1]].tolist() == alone[bias].tolist()


def test_the_sample_of_marks_is_of_all_texts_where_they_are_few_and_bounded_where_not(monkeypatch, filled):
    texts, there = agreement_data.span_sample(filled, Filters(), 7)
    assert len(texts) == there == 36 and all(len(marks) == 3 for marks in texts)
    assert texts[0] == [[(0, 4)], [(0, 5)], [(0, 6)]]
    monkeypatch.setattr(agreement_data, "SPAN_SAMPLE", 5)
    drawn, there = agreement_data.span_sample(filled, Filters(), 7)
    assert (len(drawn), there) == (5, 36)
    Item.objects.filter(project=filled).update(finished=0)  # the counters; a period asks the annotations themselves
    assert agreement_data.span_sample(filled, Filters(since=datetime(2026, 3, 2).date()), 7)[1] == 36
    spans = agreement_report.build(filled, Filters(since=datetime(2026, 3, 2).date()))["spans"]
    assert (spans["is_sample"], spans["drawn"], spans["texts"]) == (True, 5, 36)


# The report


def test_the_report_has_the_figures_of_the_library(filled):
    report = agreement_report.build(filled, Filters())
    bias = filled.dimensions.get(key="bias")
    counts = counts_by_hand(Annotation.objects.filter(project=filled), bias)
    found = {one["key"]: one for one in report["dimensions"][0]["coefficients"]}
    assert set(found) == {"percent", "fleiss", "alpha", "ac1", "ac2"}
    wanted = krippendorff.alpha(value_counts=counts, level_of_measurement="ordinal")
    assert found["alpha"]["estimate"] == pytest.approx(wanted, abs=1e-9)
    assert found["percent"]["estimate"] == pytest.approx(1 - 9 / 36 * 2 / 3)
    assert (found["fleiss"]["n_items"], found["fleiss"]["n_ratings"]) == (36, 108)
    assert found["alpha"]["low"] < wanted < found["alpha"]["high"]
    assert agreement_report.build(filled, Filters())["dimensions"] == report["dimensions"]  # the same seed
    # Everybody chose "none" for toxicity, always.
    toxicity = {one["key"]: one for one in report["dimensions"][1]["coefficients"]}
    assert toxicity["percent"]["estimate"] == 1 and toxicity["fleiss"]["estimate"] is None
    assert "same level for every text" in report["dimensions"][1]["reading"]
    json.dumps(report, allow_nan=False)


def test_a_nominal_dimension_has_nominal_alpha_and_no_ac2(filled):
    filled.dimensions.filter(key="bias").update(scale=Scale.NOMINAL)
    report = agreement_report.build(filled, Filters())
    found = {one["key"]: one for one in report["dimensions"][0]["coefficients"]}
    counts = counts_by_hand(Annotation.objects.filter(project=filled), filled.dimensions.get(key="bias"))
    assert found["alpha"]["estimate"] == pytest.approx(
        krippendorff.alpha(value_counts=counts, level_of_measurement="nominal"), abs=1e-9
    )
    assert "ac2" not in found
    assert "nominal for Bias" in report["methods"]
    drift = agreement_report.build(filled, Filters(), "ac2")["drift"]["dimensions"][0]["points"]
    assert {point["estimate"] for point in drift} == {None} and "order" in drift[0]["reason"]


def test_drift_counts_every_text_once_in_the_step_of_its_last_annotation(filled):
    drift = agreement_report.build(filled, Filters(), "percent")["drift"]
    points = drift["dimensions"][0]["points"]
    assert drift["unit"] == "day" and len(points) == 18  # 2 March to 19 March
    assert [point["n_items"] for point in points] == [2] * 18
    assert (points[0]["from"], points[0]["to"]) == ("2026-03-02", "2026-03-02")
    assert all(point["estimate"] is None and "at least 10" in point["reason"] for point in points)


@pytest.mark.parametrize(
    ("first", "last", "unit", "begins", "ends"),
    [
        ("2026-01-01", "2026-01-05", "day", "2026-01-01", "2026-01-06"),
        ("2026-01-01", "2026-03-04", "week", "2025-12-29", "2026-03-09"),
        ("2025-12-30", "2026-11-05", "month", "2025-12-01", "2026-12-01"),
        ("2025-02-10", "2026-11-05", "quarter", "2025-01-01", "2027-01-01"),
        ("2019-02-10", "2026-01-01", "year", "2019-01-01", "2027-01-01"),
    ],
)
def test_steps_over_time_hold_the_first_and_the_last_day(first, last, unit, begins, ends):
    edges = agreement_report._edges(np.datetime64(first), np.datetime64(last), unit)
    assert (str(edges[0]), str(edges[-1])) == (begins, ends)
    assert edges == sorted(set(edges)) and edges[-2] <= np.datetime64(last) < edges[-1]


def test_every_length_of_a_project_gives_thirty_points_or_about_that(project, people):
    item, later = ItemFactory(project=project), ItemFactory(project=project)
    begin = datetime(2020, 2, 20, tzinfo=UTC)
    annotate(item, people[0], begin)
    last = annotate(later, people[0], begin)
    for days in (0, 29, 30, 210, 211, 900, 901, 2700, 8000):
        Annotation.objects.filter(pk=last.pk).update(created_at=begin + timedelta(days=days))
        points = agreement_report.build(project, Filters())["drift"]["dimensions"][0]["points"]
        assert 1 <= len(points) <= 32, days
        assert points[0]["n_single"] >= 1 and points[-1]["n_single"] >= 1


# The page


def url(project, name="agreement", *arguments) -> str:
    return reverse(f"annotation:{name}", args=[project.pk, *arguments])


@pytest.fixture
def signed_in(client, lead):
    client.force_login(lead)
    return client


def test_the_page_shows_every_dimension_with_intervals_n_words_and_methods(signed_in, filled):
    page = signed_in.get(url(filled)).content.decode()
    report = agreement_report.build(filled, Filters())
    for row in report["dimensions"]:
        assert row["name"] in page and row["reading"] in page
    alpha = report["dimensions"][0]["coefficients"][2]
    assert f"{alpha['estimate']:.2f}" in page and f"[{alpha['low']:.2f}, {alpha['high']:.2f}]" in page
    assert "108 annotations of 36 texts by 3 people" in page
    assert "Krippendorff’s alpha (Krippendorff 2011) is ordinal" in page and "seed 7" in page


def test_the_agreement_page_is_in_the_navigation_of_leads_and_trainers_only(client, filled, people):
    trainer = UserFactory()
    MembershipFactory(project=filled, user=trainer, role="trainer")
    client.force_login(trainer)
    assert url(filled) in client.get(reverse("annotation:project", args=[filled.pk])).content.decode()
    client.force_login(people[0])
    assert url(filled) not in client.get(reverse("annotation:project", args=[filled.pk])).content.decode()
    assert client.get(url(filled)).status_code == 403


def test_filters_keep_in_the_address_and_in_every_link(signed_in, filled):
    page = signed_in.get(url(filled), {"language": "fr", "since": "2026-03-05", "figure": "ac1"}).content.decode()
    assert "language=fr" in page and "since=2026-03-05" in page
    assert "<option selected>fr</option>" in page and 'value="2026-03-05"' in page
    report = agreement_report.build(filled, Filters(language="fr", since=datetime(2026, 3, 5).date()))
    assert report["counts"]["texts"] == 15  # 30 texts from 5 March on, half of them French
    assert "45 annotations of 15 texts" in page
    assert "on texts in the language fr" in page


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({"since": "yesterday"}, "is no day"),
        ({"since": "2026-02-30"}, "is no day"),
        ({"since": "2026-03-05", "until": "2026-03-01"}, "before the first"),
        ({"first": "ana"}, "Name two annotators"),
        ({"first": "ana", "second": "ana"}, "two different annotators"),
        ({"first": "ana", "second": "nobody"}, "Nobody called"),
        ({"first": "ana", "second": "lead"}, "Nobody called"),
        ({"figure": "magic"}, "Choose one of"),
        ({"source": "a\x00b"}, "null byte"),
    ],
)
def test_a_wrong_filter_is_named_by_page_and_api_and_what_was_chosen_stays(signed_in, filled, query, words):
    answer = signed_in.get(url(filled), query | {"language": "fr"})
    assert answer.status_code == 422
    assert words in answer.content.decode() and "<option selected>fr</option>" in answer.content.decode()
    api = signed_in.get(f"/api/projects/{filled.pk}/agreement/", query)
    assert api.status_code == 400 and list(api.json()) and words in str(api.json())


def test_two_annotators_have_their_confusion_as_picture_and_table(signed_in, filled):
    page = signed_in.get(url(filled), {"first": "ana", "second": "ben"}).content.decode()
    assert page.count("As a table") == 5  # four dimensions and the course over time
    assert "Cohen’s κ" in page and "<svg" in page and "var(--accent)" in page
    report = agreement_report.build(filled, clean_filters(filled, {"first": "ana", "second": "ben"}))
    bias = report["dimensions"][0]
    assert (
        bias["confusion"]["counts"] == [[13, 5, 0], [0, 0, 0], [0, 0, 0]]
        or sum(map(sum, bias["confusion"]["counts"])) == 36
    )
    rows = np.array(bias["confusion"]["counts"])
    assert (rows.sum(), rows[:, 0].sum(), rows.trace()) == (36, 18, 27)  # ben chose none for 18 texts; they agree on 27
    assert bias["coefficients"][0]["estimate"] == pytest.approx(27 / 36)
    svg = signed_in.get(url(filled, "agreement-figure", "bias"), {"first": "ana", "second": "ben"})
    assert svg["Content-Type"] == "image/svg+xml" and b">ana<" in svg.content


def test_annotators_two_by_two_stand_by_name_and_lead_to_their_confusion(signed_in, filled):
    page = signed_in.get(url(filled, "agreement-pairs"), {"dimension": "bias"}).content.decode()
    order = [
        page.index(f"<bdi>{a}</bdi> and <bdi>{b}</bdi>") for a, b in (("ana", "ben"), ("ana", "cleo"), ("ben", "cleo"))
    ]
    assert order == sorted(order)
    assert "first=ana&amp;second=ben" in page
    assert "<html" in page
    part = signed_in.get(url(filled, "agreement-pairs"), headers={"HX-Request": "true"}).content.decode()
    assert "<html" not in part and "first=ana" in part
    assert signed_in.get(url(filled, "agreement-pairs"), {"dimension": "none such"}).status_code == 404


def test_many_pairs_of_annotators_are_bounded(monkeypatch, filled):
    monkeypatch.setattr(agreement_report, "MAX_PAIRS", 2)
    found = agreement_report.pairs(filled, Filters(), filled.dimensions.first())
    assert (len(found["pairs"]), found["more"]) == (2, 1)


def test_without_annotations_the_page_says_so(signed_in, project):
    page = signed_in.get(url(project)).content.decode()
    assert "No annotations yet" in page and "Table as CSV" not in page
    assert "No annotation matches" in signed_in.get(url(project), {"language": "xx"}).content.decode()


def test_one_annotator_too_few_texts_and_one_level_are_said_instead_of_a_number(signed_in, project, people):
    for number in range(12):
        annotate(ItemFactory(project=project), people[0], bias="none" if number % 2 else "high")
    page = signed_in.get(url(project)).content.decode()
    assert page.count("<dd>No text has annotations by two people, so there is nothing to compare.</dd>") == 4
    assert ">nan<" not in page.lower()
    for item in list(project.items.all())[:4]:
        annotate(item, people[1])
    assert "Only 4 texts have annotations by two or more people; at least 10 are needed." in (
        signed_in.get(url(project)).content.decode()
    )


def test_names_that_people_chose_are_shown_as_text(signed_in, project, people):
    project.dimensions.filter(key="bias").update(name="<b>Bias</b> $x_1$", levels=["none", "<i>", "$5 & more"])
    for person in people[:2]:
        person.username = f"<u>{person.username}</u>"
        person.save()
    for number in range(24):
        item = ItemFactory(project=project, target_group="<script>")
        for person in people[:2]:
            annotate(item, person, bias=["none", "<i>", "$5 & more"][number % 3])
    query = {"first": people[0].username, "second": people[1].username, "target_group": "<script>"}
    page = signed_in.get(url(project), query).content.decode()
    for raw in ("<b>Bias", "<u>ana", "<script>alert", "<i>", "<option selected><script>"):
        assert raw not in page
    assert "$5 &amp; more" in page


def test_the_page_asks_no_more_of_the_database_with_more_rows(signed_in, filled, people):
    def queries() -> int:
        with CaptureQueriesContext(
            connection,
        ) as captured:
            signed_in.get(url(filled))
            signed_in.get(url(filled, "agreement-pairs"))
        return len(captured)

    signed_in.get(url(filled))
    few = queries()
    synthetic.fill(filled, items=200, per_item=3, overlap=3, annotators=8)
    assert queries() == few


# Downloads, API, export


def test_the_table_as_csv_and_json_and_the_api_hold_the_same_figures(signed_in, filled):
    query = {"language": "fr"}
    table = signed_in.get(url(filled, "agreement-download", "csv"), query)
    assert 'filename="talk-agreement.csv"' in table["Content-Disposition"]
    rows = list(csv.DictReader(io.StringIO(table.content.decode())))
    assert [row["coefficient"] for row in rows[:5]] == ["percent", "fleiss", "alpha", "ac1", "ac2"]
    assert rows[-1]["coefficient"] == "span_f1" and {row["language"] for row in rows} == {"fr"}
    whole = signed_in.get(url(filled, "agreement-download", "json"), query).json()
    api = signed_in.get(f"/api/projects/{filled.pk}/agreement/", query).json()
    for found in (whole, api):
        for key in ("dimensions", "drift", "spans", "methods", "counts"):
            assert found[key] == agreement_report.build(filled, Filters(language="fr"))[key]
    alpha = whole["dimensions"][0]["coefficients"][2]
    assert float(rows[2]["estimate"]) == alpha["estimate"] and float(rows[2]["low"]) == alpha["low"]
    missing = next(row for row in rows if row["dimension"] == "toxicity" and row["coefficient"] == "fleiss")
    assert missing["estimate"] == "" and "same level" in missing["reason"]
    assert signed_in.get(url(filled, "agreement-download", "exe")).status_code == 404


def test_the_api_gives_every_two_annotators(signed_in, filled):
    found = signed_in.get(f"/api/projects/{filled.pk}/agreement/pairs/", {"dimension": "bias"}).json()
    assert [(row["first"], row["second"]) for row in found["pairs"]] == [
        ("ana", "ben"),
        ("ana", "cleo"),
        ("ben", "cleo"),
    ]
    assert found["pairs"][0]["percent"] == pytest.approx(27 / 36) and found["pairs"][2]["percent"] == 1
    assert signed_in.get(f"/api/projects/{filled.pk}/agreement/pairs/", {"dimension": "x"}).status_code == 404


def test_the_course_over_time_downloads_as_svg(signed_in, filled):
    assert b"needs two periods" in signed_in.get(url(filled, "agreement-figure", "drift")).content
    Annotation.objects.filter(item__in=filled.items.all()[:18]).update(created_at=datetime(2025, 1, 1, tzinfo=UTC))
    answer = signed_in.get(url(filled, "agreement-figure", "drift"), {"figure": "percent"})
    assert answer.content.count(b"<svg") == 1 and b"Bias" in answer.content
    assert signed_in.get(url(filled, "agreement-figure", "bias")).status_code == 404  # of two annotators only


def test_filters_of_an_export_are_those_of_the_page(filled):
    rows = list(agreement_report.table(filled, {"language": "fr"}))
    assert list(rows[0]) and set(rows[0]) == set(agreement_report.COLUMNS)
    with pytest.raises(ValidationError):
        list(agreement_report.table(filled, {"since": "x"}))


def test_the_agreement_table_is_an_export(filled, lead, worker_free_exports):
    export = exports.create(filled, lead, kind="agreement", file_format="csv", filters={"language": "fr", "label": ""})
    assert export.filters == {"language": "fr"}
    jobs.execute(Export.objects, export.pk, exports.run)
    export.refresh_from_db()
    assert export.status == "finished" and export.rows == 21
    rows = list(csv.DictReader(io.StringIO(export.file.read().decode())))
    assert list(rows[0]) == agreement_report.COLUMNS and rows[0]["language"] == "fr"
    with pytest.raises(ValidationError):
        exports.create(filled, lead, kind="agreement", file_format="csv", filters={"since": "soon"})


@pytest.fixture
def worker_free_exports(settings, tmp_path):
    """Files go to a folder of this test; jobs are executed by the test itself."""
    settings.MEDIA_ROOT = tmp_path


# The overview


def overview(client, project) -> str:
    return client.get(reverse("annotation:project", args=[project.pk])).content.decode()


def test_the_overview_shows_agreement_and_what_splits_annotators_most(signed_in, filled):
    for item in filled.items.all():
        pairs.propose(item)
    page = overview(signed_in, filled)
    alpha = agreement_report.build(filled, Filters())["dimensions"][0]["coefficients"][2]
    assert f"{alpha['estimate']:.2f}" in page and f"[{alpha['low']:.2f}, {alpha['high']:.2f}]" in page
    assert "same level for every text" in page  # toxicity
    split = filled.pairs.filter(disagreement__gt=0)
    assert split.count() == 9
    assert sum(pair.get_absolute_url() in page for pair in split) == 5
    assert "Counted" not in page  # a small project is counted now


def test_annotators_see_no_agreement_on_the_overview(client, filled, people):
    client.force_login(people[0])
    page = overview(client, filled)
    assert "Krippendorff" not in page and "split most" not in page and "Labels so far" not in page


def test_a_large_projects_overview_is_read_from_a_row_that_a_worker_renews(monkeypatch, signed_in, filled):
    monkeypatch.setattr(summary, "LARGE", 50)
    sent = []
    monkeypatch.setattr(jobs, "send", lambda task, pk: sent.append((task.name, pk)))
    assert "36</strong> texts" in overview(signed_in, filled)  # counted at the first look, and kept
    ItemFactory.create_batch(4, project=filled)
    page = overview(signed_in, filled)
    assert "36</strong> texts" in page and "Counted 0\xa0minutes ago" in page and not sent
    ProjectSummary.objects.update(computed_at=timezone.now() - timedelta(minutes=9))
    assert "Counted 9\xa0minutes ago" in overview(signed_in, filled)
    overview(signed_in, filled)
    assert sent == [("annotation.refresh_summary", filled.pk)]  # once, however many look
    ProjectSummary.objects.update(asked_at=timezone.now() - timedelta(minutes=2))
    overview(signed_in, filled)
    assert len(sent) == 2  # the message may have been lost
    tasks.refresh_summary(filled.pk)
    assert "40</strong> texts" in overview(signed_in, filled) and len(sent) == 2


def test_the_row_says_what_counting_says(monkeypatch, signed_in, filled):
    small = summary.of(filled)[0]
    monkeypatch.setattr(summary, "LARGE", 50)
    summary.of(filled)
    kept = ProjectSummary.objects.get(project=filled).figures
    assert kept == json.loads(json.dumps(small))
    assert kept["people"] == [[person.pk, 36] for person in agreement_data.annotators(filled).order_by("pk")]


def test_a_large_projects_overview_does_not_count_its_rows(monkeypatch, signed_in, filled):
    monkeypatch.setattr(summary, "LARGE", 50)
    overview(signed_in, filled)
    with CaptureQueriesContext(connection) as captured:
        overview(signed_in, filled)
    counting = [
        query["sql"]
        for query in captured
        if "annotation_annotation" in query["sql"] and "LIMIT 50" not in query["sql"] and "GROUP BY" in query["sql"]
    ]
    assert counting == []
    assert len(captured) <= 20
