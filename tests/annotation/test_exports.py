"""Files out of the project: complete, safe for spreadsheets, and only for those who may."""

import csv
import io
import json
from pathlib import Path

import pytest
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import Http404
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from annotation import export_kinds, exports, imports, jobs, mapping, rows
from annotation.models import Annotation, Assignment, Export, ItemImport, PairStatus, Role
from tests.factories import ItemFactory, MembershipFactory, PairFactory, ProjectFactory, UserFactory

LABELS = {"bias": "high", "toxicity": "mild", "harm": "medium", "sentiment": "negative"}


@pytest.fixture(autouse=True)
def _media(settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path


@pytest.fixture
def lead():
    return UserFactory()


@pytest.fixture
def project(lead):
    return ProjectFactory(name="Grüße & more", lead=lead, overlap=3)


def annotate(item, annotator=None, **values):
    user = annotator or UserFactory()
    assignment = Assignment.objects.create(
        project=item.project, item=item, annotator=user, lease_until=timezone.now(), state="finished"
    )
    return Annotation.objects.create(
        project=item.project, item=item, annotator=user, assignment=assignment, **{"labels": LABELS} | values
    )


def export(project, user, kind, file_format, **filters):
    job = exports.create(project, user, kind=kind, file_format=file_format, filters=filters)
    jobs.execute(Export.objects, job.pk, exports.run)
    job.refresh_from_db()
    assert job.status == "finished", job.error
    return job


def read_csv(job):
    return list(csv.DictReader(io.StringIO(job.file.read().decode(), newline="")))


def read_lines(job):
    return [json.loads(line) for line in job.file.read().decode().split("\n") if line]


@pytest.mark.django_db
def test_annotations_as_csv_have_a_row_each_and_a_column_per_dimension(project, lead):
    item = ItemFactory(project=project, text='Line one\nline two, "quoted"', language="en")
    annotate(item, UserFactory(username="ada"), rewrite="Kinder.", spans=[{"start": 0, "end": 4}], active_seconds=9)
    annotate(item)
    annotate(ItemFactory())  # another project's
    job = export(project, lead, "annotations", "csv")
    rows = read_csv(job)
    assert (len(rows), job.rows) == (2, 2)
    row = rows[0]
    assert list(row) == [
        *("id", "external_id", "text", "source", "language", "target_group", "content_kinds", "annotator"),
        *("bias", "toxicity", "harm", "sentiment"),
        *("spans", "target_groups", "rewrite", "comment", "active_seconds", "revision", "created_at", "updated_at"),
        *("kind", "guidelines_version", "suggestion_shown", "imported_from", "imported_values"),
    ]
    assert (row["text"], row["annotator"], row["bias"]) == (item.text, "ada", "high")
    assert json.loads(row["spans"]) == [{"start": 0, "end": 4}]
    assert (row["rewrite"], row["active_seconds"]) == ("Kinder.", "9")


@pytest.mark.django_db
def test_json_lines_keep_spans_as_data(project, lead):
    annotate(ItemFactory(project=project, text="🙃 <b>\u2028x"), spans=[{"start": 0, "end": 1}])
    row = read_lines(export(project, lead, "annotations", "jsonl"))[0]
    assert (row["text"], row["spans"], row["target_groups"]) == ("🙃 <b>\u2028x", [{"start": 0, "end": 1}], [])


@pytest.mark.django_db
def test_pairs_are_filtered_by_status_and_label(project, lead):
    high = PairFactory(project=project, labels=LABELS)
    PairFactory(project=project, labels={"bias": "none"})
    PairFactory(project=project, status=PairStatus.REJECTED, labels=LABELS, reason="No.")
    assert len(read_csv(export(project, lead, "pairs", "csv"))) == 3
    rows = read_csv(export(project, lead, "pairs", "csv", status="approved", label={"bias": "high"}))
    assert [int(row["id"]) for row in rows] == [high.pk]
    assert rows[0]["settled_by"] == high.settled_by.username


@pytest.mark.django_db
def test_alpaca_holds_approved_pairs_only_whatever_is_asked(project, lead):
    pair = PairFactory(project=project)
    PairFactory(project=project, status=PairStatus.PROPOSED, rewrite="not yet")
    PairFactory(project=project, status=PairStatus.REJECTED)
    rows = read_lines(export(project, lead, "pairs", "alpaca", status="proposed"))
    assert rows == [{"instruction": exports.ALPACA_INSTRUCTION, "input": pair.item.text, "output": pair.rewrite}]


@pytest.mark.django_db
def test_an_export_of_nothing_has_its_header(project, lead):
    job = export(project, lead, "pairs", "csv")
    assert job.file.read().decode().startswith("id,external_id,text")


@pytest.mark.django_db
def test_cells_that_a_spreadsheet_would_run_are_neutralised_in_csv_alone(project, lead):
    annotate(ItemFactory(project=project, text="=1+1", source="@SUM(A1)"), rewrite="-2", comment="\tx")
    row = read_csv(export(project, lead, "annotations", "csv"))[0]
    assert (row["text"], row["source"], row["rewrite"], row["comment"]) == ("'=1+1", "'@SUM(A1)", "'-2", "'\tx")
    assert read_lines(export(project, lead, "annotations", "jsonl"))[0]["text"] == "=1+1"


@given(st.text(max_size=20))
def test_no_cell_begins_like_a_formula(text):
    cell = exports.spreadsheet_cell(text)
    assert not cell.startswith(("=", "+", "-", "@", "\t", "\r"))
    assert cell in (text, f"'{text}")
    assert rows.plain_cell(cell) == text


def test_numbers_stay_numbers():
    assert exports.spreadsheet_cell(-1.5) == -1.5


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"kind": "secrets"}, "kind"),
        ({"kind": "annotations", "file_format": "alpaca"}, "file_format"),
        ({"filters": {"status": "open"}}, "status"),
        ({"filters": {"label": {"bias": "purple"}}}, "label"),
        ({"filters": {"label": ["bias"]}}, "label"),
    ],
)
def test_an_export_that_makes_no_sense_is_refused_by_field(project, lead, values, field):
    with pytest.raises(ValidationError) as error:
        exports.create(project, lead, **{"kind": "pairs", "file_format": "csv"} | values)
    assert field in error.value.message_dict
    assert not Export.objects.exists()


@pytest.mark.django_db
def test_leads_and_trainers_export_and_nobody_else(project):
    trainer = MembershipFactory(project=project, role=Role.TRAINER).user
    annotator = MembershipFactory(project=project, role=Role.ANNOTATOR).user
    exports.create(project, trainer, kind="pairs", file_format="csv")
    with pytest.raises(PermissionDenied):
        exports.create(project, annotator, kind="pairs", file_format="csv")
    with pytest.raises(Http404):
        exports.create(project, UserFactory(), kind="pairs", file_format="csv")


@pytest.mark.django_db
def test_the_download_is_a_file_with_a_name(client, project, lead):
    PairFactory(project=project)
    job = export(project, lead, "pairs", "alpaca")
    client.force_login(lead)
    answer = client.get(f"/exports/{job.pk}/download/")
    assert answer["Content-Disposition"] == f'attachment; filename="grue-more-pairs-alpaca-{job.pk}.jsonl"'
    assert b"".join(answer.streaming_content) == job.file.open().read()
    assert client.get(f"/api/exports/{job.pk}/download/").status_code == 200


@pytest.mark.django_db
def test_there_is_no_download_before_the_end(client, project, lead):
    job = exports.create(project, lead, kind="pairs", file_format="csv")
    client.force_login(lead)
    assert client.get(f"/exports/{job.pk}/download/").status_code == 404
    assert client.get(f"/api/exports/{job.pk}/download/").status_code == 404


@pytest.mark.django_db
def test_a_cancelled_export_stops_at_its_next_report(project, lead, monkeypatch):
    monkeypatch.setattr(exports, "CHUNK", 1)
    PairFactory.create_batch(3, project=project)
    job = exports.create(project, lead, kind="pairs", file_format="csv")
    original = Export.report

    def report(self, *args, **kwargs):
        Export.objects.filter(pk=job.pk).update(cancel_requested=True)
        original(self, *args, **kwargs)

    monkeypatch.setattr(Export, "report", report)
    jobs.execute(Export.objects, job.pk, exports.run)
    job.refresh_from_db()
    assert (job.status, job.file.name) == ("cancelled", "")


@pytest.mark.django_db
def test_exported_pairs_import_again(project, lead):
    PairFactory.create_batch(3, project=project)
    content = export(project, lead, "pairs", "csv", status="approved").file
    other = ProjectFactory()
    item_import = ItemImport.objects.create(
        project=other, created_by=lead, file=content, file_name="pairs.csv", file_format="csv"
    )
    jobs.execute(ItemImport.objects, item_import.pk, imports.run)
    item_import.refresh_from_db()
    assert (item_import.imported, item_import.proposed, item_import.rejected) == (3, 3, 0)
    assert set(other.pairs.values_list("rewrite", flat=True)) == set(project.pairs.values_list("rewrite", flat=True))


@pytest.mark.django_db
def test_the_number_of_queries_does_not_grow_with_the_rows(project, lead, django_assert_max_num_queries):
    for _ in range(20):
        annotate(ItemFactory(project=project))
    job = exports.create(project, lead, kind="annotations", file_format="csv")
    job = Export.objects.claim(job.pk)
    with django_assert_max_num_queries(14):
        assert exports.run(job)["rows"] == 20


def test_the_documentation_names_every_column_and_the_instruction():
    text = " ".join((Path(__file__).parents[2] / "docs" / "formats.md").read_text().split())
    assert exports.ALPACA_INSTRUCTION in text
    for name in (*imports.COLUMNS, *export_kinds.COLUMNS, *mapping.ANNOTATION_TARGETS):
        assert f"`{name}`" in text, name
