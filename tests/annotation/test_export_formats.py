"""Parquet, wide and adjudicated files, pseudonyms, and the dataset folder with its card and Croissant metadata."""

import csv
import hashlib
import io
import json
import zipfile

import pyarrow.parquet as pq
import pytest
import yaml
from django.core.exceptions import ValidationError

from annotation import export_kinds, exports, jobs, pairs, work
from annotation.models import Annotation, Export, ItemImport, Pair, Role
from tests.annotation.import_helpers import run as run_import
from tests.factories import ItemFactory, MembershipFactory, ProjectFactory, UserFactory

pytestmark = pytest.mark.django_db
PARTS = [{"jsonPath": "start"}, {"jsonPath": "end"}]

LABELS = {"bias": "high", "toxicity": "mild", "harm": "medium", "sentiment": "negative"}


@pytest.fixture(autouse=True)
def _media(settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path / "media"


@pytest.fixture
def lead():
    return UserFactory(username="the-lead")


@pytest.fixture
def project(lead):
    """Three texts: one settled, one complete with a split vote, one that only Ada has annotated."""
    project = ProjectFactory(name="Harm & <b>more", lead=lead, overlap=2, content_warning="slurs")
    ada, bob = (MembershipFactory(project=project, user=UserFactory(username=name)).user for name in ("ada", "bob"))
    ItemFactory(project=project, external_id="a", text="They are lazy 🙃.", language="en")
    ItemFactory(project=project, external_id="b", text="=1+1, كسالى", language="ar", content_kinds=["slurs"])
    ItemFactory(project=project, external_id="c", text="Alone.", language="en")
    for person, bias in ((ada, "high"), (bob, "none")):
        for text in ("a", "b", "c"):
            if (person, text) == (bob, "c"):
                continue
            assignment = work.next_assignment(person, project)
            assert assignment.item.external_id == text
            chosen = {**LABELS, "bias": "high" if text == "a" else bias}
            content = {"labels": chosen, "rewrite": f"Kind {text}.", "spans": [{"start": 0, "end": 4}]}
            work.submit(person, assignment.pk, content | {"comment": "Ask the-lead.", "target_groups": ["x"]})
    pair = Pair.objects.get(item__external_id="a")
    pairs.approve(pair, lead, version=pair.version, rewrite="Kind a.", labels=LABELS)
    return project


def export(project, user, kind, file_format="jsonl", **filters):
    job = exports.create(project, user, kind=kind, file_format=file_format, filters=filters)
    jobs.execute(Export.objects, job.pk, exports.run)
    job.refresh_from_db()
    assert job.status == "finished", job.error
    return job


def lines(job):
    return [json.loads(line) for line in job.file.read().decode().split("\n") if line]


def table(job):
    return pq.read_table(io.BytesIO(job.file.read()))


def test_annotations_in_parquet_have_types_and_the_same_values(project, lead):
    found = table(export(project, lead, "annotations", "parquet"))
    assert found.num_rows == 5
    types = {field.name: str(field.type) for field in found.schema}
    assert (types["id"], types["created_at"], types["suggestion_shown"]) == ("int64", "timestamp[us, tz=UTC]", "bool")
    assert types["spans"] == "list<element: struct<start: int64, end: int64>>"
    rows = found.to_pylist()
    texts = lines(export(project, lead, "annotations", "jsonl"))
    for row, text in zip(rows, texts, strict=True):
        assert row["created_at"].isoformat() == text["created_at"]
        assert row["imported_values"] == "{}"
        for name in set(row) - {"created_at", "updated_at", "imported_values"}:
            assert row[name] == text[name], name


@pytest.mark.parametrize("kind", ["annotations", "annotations_wide", "adjudicated", "pairs", "agreement"])
def test_every_kind_has_the_same_columns_and_rows_in_every_format(project, lead, kind):
    as_csv = list(csv.DictReader(io.StringIO(export(project, lead, kind, "csv").file.read().decode(), newline="")))
    as_lines = lines(export(project, lead, kind, "jsonl"))
    as_table = table(export(project, lead, kind, "parquet"))
    assert len(as_csv) == len(as_lines) == as_table.num_rows > 0
    assert list(as_csv[0]) == as_table.schema.names
    assert {name for row in as_lines for name in row} <= set(as_table.schema.names)
    for row in as_lines:
        assert set(row) <= set(as_csv[0])


def test_a_parquet_file_of_many_rows_is_written_in_groups(project, lead, monkeypatch):
    monkeypatch.setattr(exports, "ROW_GROUP", 2)
    job = export(project, lead, "annotations", "parquet")
    found = pq.ParquetFile(io.BytesIO(job.file.read()))
    assert (found.metadata.num_rows, found.metadata.num_row_groups, job.rows) == (5, 3, 5)


HOSTILE = [
    "'=x",
    "''",
    "\\N",
    "\\.",
    "a\nb\tc",
    '"q", \'',
    "\x01\x02 \x7f",
    "%s {} $1",
    "\u2028 🙃",
    "-1",
    "\t",
    "\u0660",
    "null",
]


@pytest.mark.parametrize("people", ["names", "pseudonyms"])
def test_what_postgresql_writes_is_what_python_would_write(project, lead, tmp_path, people):
    for text in HOSTILE:
        item = ItemFactory(project=project, text=f"x{text}", source=text, target_group=text)
        person = MembershipFactory(project=project).user
        work.submit(
            person,
            work.next_assignment(person, project).pk,
            {"labels": LABELS, "rewrite": text, "comment": text, "target_groups": [f"g{text}"]},
        )
        Annotation.objects.filter(annotator=person).update(item=item)
    job = exports.create(project, lead, kind="annotations", file_format="csv", filters={"annotators": people})
    job = Export.objects.claim(job.pk)
    columns = export_kinds.annotation_columns(job)
    for ending, read in (
        ("csv", lambda path: list(csv.reader(path.open(newline="")))),
        ("jsonl", lambda path: [json.loads(line) for line in path.read_text().split("\n") if line]),
    ):
        by_python, by_database = tmp_path / f"python.{ending}", tmp_path / f"database.{ending}"
        exports.write_rows(by_python, ending, columns, {}, export_kinds.annotation_rows(job), job, 0)
        count = exports.copy_rows(by_database, ending, export_kinds.annotation_query(job), job, 0)
        assert read(by_database) == read(by_python)
        assert count == 5 + len(HOSTILE)


def test_an_empty_project_exports_empty_files(lead):
    empty = ProjectFactory(lead=lead)
    for kind in ("annotations", "annotations_wide", "adjudicated", "pairs"):
        assert table(export(empty, lead, kind, "parquet")).num_rows == 0
        assert export(empty, lead, kind, "csv").file.read().count(b"\n") == 1
    assert export(empty, lead, "dataset", "zip").rows == 0


def test_a_wide_file_has_a_row_a_text_and_columns_per_annotator(project, lead):
    rows = {row["external_id"]: row for row in lines(export(project, lead, "annotations_wide"))}
    assert (rows["b"]["bias__ada"], rows["b"]["bias__bob"], rows["b"]["annotations"]) == ("high", "none", 2)
    assert rows["a"]["rewrite__bob"] == "Kind a." and rows["a"]["spans__ada"] == [{"start": 0, "end": 4}]
    assert "bias__bob" not in rows["c"]
    assert table(export(project, lead, "annotations_wide", "parquet")).column("bias__bob").to_pylist()[2] is None


def test_adjudicated_rows_have_settled_labels_majority_and_votes(project, lead):
    rows = {row["external_id"]: row for row in lines(export(project, lead, "adjudicated"))}
    a, b, c = rows["a"], rows["b"], rows["c"]
    assert (a["bias"], a["bias_majority"], a["bias_votes"], a["status"]) == ("high", "high", {"high": 2}, "approved")
    assert (b["bias"], b["bias_majority"], b["bias_votes"]) == ("", "", {"high": 1, "none": 1})
    assert (b["status"], b["annotations"], b["safe_rewrite"], b["disagreement"]) == ("proposed", 2, "Kind b.", 0.25)
    assert (c["status"], c["annotations"], c["bias_majority"]) == ("", 1, "high")
    assert (a["settled_by"], b["settled_by"]) == ("the-lead", "")


def test_adjudicated_rows_have_the_consensus_once_it_was_computed(project, lead):
    from annotation import consensus
    from annotation.models import ConsensusRun

    for number in range(10):
        ItemFactory(project=project, external_id=f"x{number}")
    for person in project.memberships.filter(role=Role.ANNOTATOR):
        while assignment := work.next_assignment(person.user, project):
            work.submit(person.user, assignment.pk, {"labels": LABELS})
    job = consensus.start(project, lead)
    jobs.execute(ConsensusRun.objects, job.pk, consensus.run)
    row = lines(export(project, lead, "adjudicated"))[0]
    assert row["toxicity_consensus"] == "mild" and 0.5 < row["toxicity_confidence"] <= 1


def test_pseudonyms_hide_everybody_and_stay_the_same_within_a_file(project, lead):
    for kind in ("annotations", "annotations_wide", "adjudicated", "pairs"):
        text = export(project, lead, kind, "jsonl", annotators="pseudonyms").file.read().decode()
        for row in text.splitlines():
            values = json.loads(row)
            values.pop("comment", None)  # what people wrote is theirs
            assert not any(name in json.dumps(values) for name in ("ada", "bob", "the-lead")), kind
    rows = lines(export(project, lead, "annotations", annotators="pseudonyms"))
    assert {row["annotator"] for row in rows} == {"annotator_1", "annotator_2"}
    by_text = {}
    for row in rows:
        by_text.setdefault(row["external_id"], set()).add(row["annotator"])
    assert len(by_text["a"]) == len(by_text["b"]) == 2


def test_periods_languages_and_kinds_filter(project, lead):
    Annotation.objects.filter(item__external_id="a").update(created_at="2026-01-31T23:59:59Z")
    ids = {
        row["external_id"]
        for row in lines(export(project, lead, "annotations", since="2026-01-31", until="2026-01-31"))
    }
    assert ids == {"a"}
    assert {row["external_id"] for row in lines(export(project, lead, "adjudicated", until="2026-01-31"))} == {"a"}
    assert {row["external_id"] for row in lines(export(project, lead, "annotations", language="ar"))} == {"b"}
    project.items.filter(external_id="c").update(kind="gold")
    Annotation.objects.filter(item__external_id="c").update(kind="gold")
    assert "c" not in {row["external_id"] for row in lines(export(project, lead, "annotations"))}
    marked = {row["external_id"]: row["kind"] for row in lines(export(project, lead, "annotations", kinds="all"))}
    assert marked == {"a": "work", "b": "work", "c": "gold"}
    assert {
        row["external_id"]: row["kind"] for row in lines(export(project, lead, "adjudicated", kinds="all"))
    } == marked
    assert [row["external_id"] for row in lines(export(project, lead, "adjudicated", status="proposed"))] == ["b"]


@pytest.mark.parametrize(
    ("kind", "filters", "field"),
    [
        ("annotations", {"since": "31.1.2026"}, "since"),
        ("annotations", {"since": "2026-02-30"}, "since"),
        ("annotations", {"since": "2026-02-01", "until": "2026-01-01"}, "until"),
        ("annotations", {"kinds": "gold"}, "kinds"),
        ("annotations", {"annotators": "initials"}, "annotators"),
        ("annotations", {"language": ["en"]}, "language"),
        ("annotations", {"status": "approved", "colour": "red"}, "colour"),
        ("dataset", {"license": "Do what you want"}, "license"),
    ],
)
def test_a_filter_that_makes_no_sense_is_refused_by_name(project, lead, kind, filters, field):
    with pytest.raises(ValidationError) as error:
        exports.create(project, lead, kind=kind, file_format="zip" if kind == "dataset" else "csv", filters=filters)
    assert field in error.value.message_dict


@pytest.fixture
def folder(project, lead, tmp_path):
    """The unpacked dataset folder."""
    job = export(project, lead, "dataset", "zip", license="cc-by-4.0")
    with zipfile.ZipFile(io.BytesIO(job.file.read())) as archive:
        archive.extractall(tmp_path / "dataset")
    return tmp_path / "dataset"


def header(folder):
    return yaml.safe_load((folder / "README.md").read_text().split("---\n")[1])


def test_the_dataset_folder_loads_with_datasets_and_without_a_network(folder, monkeypatch, tmp_path):
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_OFFLINE", True)
    texts = datasets.load_dataset(str(folder), cache_dir=str(tmp_path / "cache"))
    assert list(texts) == ["train"] and texts["train"].num_rows == 3
    assert texts["train"][0]["bias"] == "high" and texts["train"][1]["content_kinds"] == ["slurs"]
    made = datasets.load_dataset(str(folder), "annotations", cache_dir=str(tmp_path / "cache"))["train"]
    assert made.num_rows == 5 and made[0]["spans"] == [{"start": 0, "end": 4}]
    approved = datasets.load_dataset(str(folder), "pairs", cache_dir=str(tmp_path / "cache"))["train"]
    assert approved["safe_rewrite"][:] == ["Kind a."]


def test_the_card_says_who_annotated_how_and_what_holds(folder):
    about = header(folder)
    assert (about["license"], about["language"], about["size_categories"]) == ("cc-by-4.0", ["ar", "en"], ["n<1K"])
    assert [config["config_name"] for config in about["configs"]] == ["adjudicated", "annotations", "pairs"]
    card = (folder / "README.md").read_text()
    for words in (
        "# Harm & <b>more",
        "5 annotations of 3 texts by 2 annotators",
        "Content warning",
        "slurs",
        "**Bias** (`bias`, ordinal): none, slight, high",
        "| Bias | Krippendorff’s α | ",
        "2 texts have 2 annotations",
        "`bias_majority`",
        "names are replaced",
    ):
        assert words in card, words
    for path in folder.rglob("*"):
        if path.is_file():
            assert not any(name in path.read_bytes() for name in (b"the-lead", b"bob")), path.name


def test_a_dataset_without_a_licence_says_so_and_names_only_if_chosen(project, lead):
    job = export(project, lead, "dataset", "zip", annotators="names")
    with zipfile.ZipFile(io.BytesIO(job.file.read())) as archive:
        card = archive.read("README.md").decode()
        rows = pq.read_table(io.BytesIO(archive.read("data/annotations/train.parquet"))).to_pylist()
    assert "license: unknown" in card and "Not chosen yet" in card
    assert {row["annotator"] for row in rows} == {"ada", "bob"}


def test_splits_that_texts_came_with_are_the_datasets_splits(project, lead):
    project.items.filter(external_id="c").update(metadata={"split": "test"})
    job = export(project, lead, "dataset", "zip")
    with zipfile.ZipFile(io.BytesIO(job.file.read())) as archive:
        names = [name for name in archive.namelist() if name.endswith("parquet")]
        assert names == [
            *("data/adjudicated/train.parquet", "data/adjudicated/test.parquet"),
            *("data/annotations/train.parquet", "data/annotations/test.parquet", "data/pairs/train.parquet"),
        ]
        rows = pq.read_table(io.BytesIO(archive.read("data/adjudicated/test.parquet"))).to_pylist()
    assert [row["external_id"] for row in rows] == ["c"]


def test_the_dataset_folder_imports_again(project, lead):
    job = export(project, lead, "dataset", "zip")
    other = ProjectFactory()
    found = run_import(other, job.file.read(), "again.zip")
    assert (found.status, found.imported, found.file_format) == ("finished", 3, "dataset")


def test_croissant_metadata_names_every_file_and_column(folder):
    found = json.loads((folder / "croissant.json").read_text())
    assert (found["conformsTo"], found["@type"], found["license"]) == (
        *("http://mlcommons.org/croissant/1.0", "sc:Dataset", "cc-by-4.0"),
    )
    files = {one["@id"]: one for one in found["distribution"]}
    for one in files.values():
        path = folder / one["contentUrl"]
        assert hashlib.sha256(path.read_bytes()).hexdigest() == one["sha256"]
        assert one["encodingFormat"] == "application/x-parquet"
    ids = [one["@id"] for one in found["recordSet"]] + [
        field["@id"] for one in found["recordSet"] for field in one["field"]
    ]
    assert len(set(ids)) == len(ids)
    for records in found["recordSet"]:
        fields = [part for field in records["field"] for part in field.get("subField", [field])]
        (file,) = {field["source"]["fileObject"]["@id"] for field in fields}
        columns = pq.read_schema(folder / files[file]["contentUrl"]).names
        assert list(dict.fromkeys(field["source"]["extract"]["column"] for field in fields)) == columns
        assert all(field["dataType"].startswith("sc:") for field in fields)
        assert all(field["description"] for field in records["field"])
        marks = [field for field in records["field"] if field["name"] == "spans"]
        assert all([part["source"]["transform"] for part in field["subField"]] == PARTS for field in marks)


def test_every_column_of_every_kind_is_documented(project, lead):
    for columns in (
        *(export_kinds.annotation_columns, export_kinds.adjudicated_columns),
        *(export_kinds.pair_columns, export_kinds.wide_columns),
    ):
        job = exports.create(project, lead, kind="annotations", file_format="csv")
        for column in columns(job):
            base = column.partition("__")[0]
            of_labels = any(
                base == f"{key}{end}"
                for key in LABELS
                for end in ("", "_majority", "_consensus", "_confidence", "_votes")
            )
            assert base in export_kinds.COLUMNS or of_labels, column


def test_our_own_parquet_annotations_come_in_again(project, lead):
    job = export(project, lead, "annotations", "parquet")
    other = ProjectFactory(overlap=1)
    for name in ("ada", "bob"):
        MembershipFactory(project=other, user=type(lead).objects.get(username=name))
    found = run_import(other, job.file.read(), "again.parquet")
    assert (found.imported, found.annotations, found.rejected) == (3, 5, 0)

    def content(of):
        rows = Annotation.objects.filter(project=of).order_by("item__external_id", "annotator__username")
        return [(one.annotator.username, one.content(), one.created_at) for one in rows.select_related("annotator")]

    assert content(other) == content(project)
    assert ItemImport.objects.get(pk=found.pk).findings["unknown_kinds"] == {"slurs": 2}


def test_the_number_of_queries_does_not_grow_with_the_texts(project, lead):
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    def queries(kind):
        job = exports.create(project, lead, kind=kind, file_format="jsonl")
        job = Export.objects.claim(job.pk)
        with CaptureQueriesContext(
            connection,
        ) as captured:
            exports.run(job)
        return len(captured)

    before = {kind: queries(kind) for kind in ("annotations", "annotations_wide", "adjudicated", "pairs")}
    for number in range(10):
        ItemFactory(project=project, external_id=f"x{number}")
    for person in project.memberships.filter(role=Role.ANNOTATOR):
        while assignment := work.next_assignment(person.user, project):
            work.submit(person.user, assignment.pk, {"labels": LABELS})
    assert {kind: queries(kind) for kind in before} == before
