"""Texts from CSV and JSON Lines: what comes in, what is rejected and why, and what can never be half done."""

import csv
import io
import json
import time
import tracemalloc
from pathlib import Path

import pytest
from django.core.files.base import ContentFile
from django.db import connection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from annotation import imports, jobs, rows
from annotation.jobs import Cancelled, JobStatus, LeaseLost
from annotation.models import Item, ItemImport, Pair, RejectedRow
from tests.factories import ItemFactory, ProjectFactory

REAL = Path(__file__).parents[2].parent / "shared" / "data" / "unsafe_safe_pairs.csv"

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _media(settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path


@pytest.fixture
def project():
    return ProjectFactory(overlap=3)


def make(project, content, name="texts.csv", **values):
    content = content.encode() if isinstance(content, str) else content
    return ItemImport.objects.create(
        project=project,
        created_by=project.created_by,
        file=ContentFile(content, name=name),
        file_name=name,
        file_format=name.rpartition(".")[2],
        **values,
    )


def run(project, content, name="texts.csv", **values):
    job = make(project, content, name, **values)
    jobs.execute(ItemImport.objects, job.pk, imports.run)
    job.refresh_from_db()
    return job


def rejections(job):
    return [(row.row, row.field, row.reason) for row in job.rejected_rows.all()]


def lines(*objects):
    return "".join(json.dumps(value) + "\n" for value in objects)


def test_a_csv_becomes_items_with_the_projects_overlap(project):
    job = run(
        project,
        "\ufeffexternal_id,Text,source,language,target_group,topic\r\na-1,They are lazy.,forum,en,neighbours,work\r\n",
    )
    item = project.items.get()
    assert (job.status, job.imported, job.rejected) == (JobStatus.FINISHED, 1, 0)
    assert (item.external_id, item.text, item.source, item.language) == (
        "a-1",
        "They are lazy.",
        "forum",
        "en",
    )
    assert (item.target_group, item.metadata, item.overlap) == ("neighbours", {"topic": "work"}, 3)
    assert job.message == "1 text imported, 0 rows rejected."


def test_json_lines_keep_the_types_of_metadata(project):
    job = run(
        project,
        lines(
            {
                "text": "They lie.",
                "external_id": 7,
                "tags": ["a", 1],
                "score": 0.5,
                "seen": True,
                "none": None,
            }
        ),
        "texts.jsonl",
    )
    item = project.items.get()
    assert (item.external_id, item.metadata) == ("7", {"tags": ["a", 1], "score": 0.5, "seen": True})
    assert job.imported == 1


def test_an_id_is_made_from_the_import_and_the_row(project):
    job = run(project, "text\nfirst\n\nthird row in the file\n")
    assert list(project.items.values_list("external_id", flat=True)) == [f"{job.pk}-2", f"{job.pk}-4"]


def test_line_breaks_are_stored_as_a_browser_counts_them(project):
    run(project, 'text\r\n"one\r\ntwo\rthree"\r\n')
    assert project.items.get().text == "one\ntwo\nthree"


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script></textarea>&amp;",
        "هؤلاء كسالى \u202e abc",
        "👩‍👩‍👧 lazy 🙃",
        "=HYPERLINK(1)",
        'she said "no", twice',
        "x" * 100_000,
    ],
)
@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_hostile_texts_come_in_as_they_are(project, text, ending):
    if ending == "csv":
        file = io.StringIO()
        csv.writer(file).writerows([["text"], [text]])
        content = file.getvalue()
    else:
        content = lines({"text": text})
    assert run(project, content, f"texts.{ending}").imported == 1
    assert project.items.get().text == text


def test_rows_that_cannot_be_used_are_listed_and_the_others_imported(project):
    long_id = "i" * 201
    job = run(
        project,
        f"text,external_id,language\ngood,a,en\n  ,b,en\n"
        f"also good,c,en\ntoo,many,cells,here\nx,{long_id},en\n"
        f"y,d,{'l' * 36}\n{'z' * 100_001},e,en\nnull\x00byte,f,en\n",
    )
    assert list(project.items.values_list("text", flat=True)) == ["good", "also good"]
    assert rejections(job) == [
        (3, "text", "The text is empty."),
        (
            5,
            "",
            "The row has 4 cells, but the header names 3 columns. Put quotes around cells that hold commas.",
        ),
        (6, "external_id", "external_id has 201 characters; the limit is 200."),
        (7, "language", "language has 36 characters; the limit is 35."),
        (8, "text", "The text has 100,001 characters; the limit is 100,000. Split it."),
        (9, "text", "The text holds a null byte at character 5; remove it."),
    ]
    assert (job.imported, job.rejected) == (2, 6)


def test_json_lines_that_cannot_be_used_are_listed_with_their_line(project):
    job = run(
        project,
        '{"text": "good"}\nnot json\n["text"]\n\n{"text": 5}\n'
        '{"text": "x", "external_id": [1]}\n{"text": "\\ud800"}\n'
        '{"text": "a", "note": "\\u0000"}\n{"text": "a", "score": NaN}\n{"text": "a", "score": 1e999}\n'
        + "[" * 100_000
        + '\n{"text": "a", "deep": '
        + "[" * 50
        + "]" * 50
        + '}\n{"text": "a", "big": '
        + "9" * 5000
        + '}\n{"external_id": "only"}\n',
        "texts.jsonl",
    )
    found = {row: (field, reason) for row, field, reason in rejections(job)}
    assert job.imported == 1
    assert sorted(found) == [2, 3, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14]
    assert found[2][1].startswith("The line is not valid JSON")
    assert found[3][1].startswith("The line is not a JSON object")
    assert found[5] == ("text", "The text must be text, not a number.")
    assert found[6] == ("external_id", "external_id must be text, not a list.")
    assert "surrogate" in found[7][1]
    assert found[8] == ("note", "The value holds a null byte at character 1; remove it.")
    assert "NaN is not a JSON value" in found[9][1]
    assert found[10] == ("score", "The number is too large.")
    assert "nested" in found[11][1]
    assert "nested" in found[12][1]
    assert "not valid JSON" in found[13][1]
    assert found[14] == ("text", "The text is empty.")


def test_duplicates_name_the_first_occurrence_in_the_file_or_the_project(project):
    ItemFactory(project=project, external_id="there")
    ItemFactory(external_id="elsewhere")  # another project's ids are free here
    job = run(project, "external_id,text\nnew,one\nthere,two\nnew,three\nelsewhere,four\nnew,five\n")
    found = rejections(job)
    known = project.items.get(external_id="there")
    assert [row[:2] for row in found] == [(3, "external_id"), (4, "external_id"), (6, "external_id")]
    assert f"already: text {known.pk}, imported on" in found[0][2]
    assert found[1][2] == "Row 2 of this file has the same external_id “new”."
    assert set(project.items.values_list("external_id", flat=True)) == {"there", "new", "elsewhere"}
    assert project.items.get(external_id="new").text == "one"


def test_ready_made_rewrites_and_labels_become_proposed_pairs(project):
    job = run(
        project,
        "text,safe_rewrite,bias,harm\nThey lie.,Some of them err.,high,\nPlain.,,,\nBad.,,severe,\nWords.,,none,low\n",
    )
    assert [(row[0], row[1]) for row in rejections(job)] == [(4, "bias")]
    assert "'severe' is no level of bias; choose one of none, slight, high." in rejections(job)[0][2]
    pairs = Pair.objects.order_by("pk").values_list("item__text", "rewrite", "labels", "imported_rewrite", "status")
    assert list(pairs) == [
        ("They lie.", "Some of them err.", {"bias": "high"}, "Some of them err.", "proposed"),
        ("Words.", "", {"bias": "none", "harm": "low"}, "", "proposed"),
    ]
    assert (job.imported, job.proposed) == (3, 2)


def test_rewrites_and_labels_can_be_left_out(project):
    job = run(project, "text,safe_rewrite,bias,topic\nThey lie.,Kinder.,not a level,work\n", with_pairs=False)
    assert (job.imported, job.proposed, Pair.objects.count()) == (1, 0, 0)
    assert project.items.get().metadata == {"topic": "work"}


@pytest.mark.parametrize(
    ("content", "name", "words"),
    [
        (b"", "a.csv", "The file is empty."),
        (b"\n\n", "a.csv", "The file is empty."),
        (b"\n\n", "a.jsonl", "The file is empty."),
        (b"text\n", "a.csv", "The file has a header and no rows below it."),
        (b"id,body\n1,x\n", "a.csv", "There is no column 'text'. The header has: id, body."),
        (b"text;id\nx;1\n", "a.csv", "not separated by commas"),
        (b"text,text\nx,y\n", "a.csv", "names 'text' twice"),
        (b'text\n"never closed\n', "a.csv", "Row 2: a quoted cell is never closed"),
        (b'text\nfine\n"a" b\n', "a.csv", "Row 3: the quotes are broken"),
        (b'text\n"' + b"x" * 1_000_001 + b'"\n', "a.csv", "probably a closing quote is missing"),
        ("text\nGrüße\n".encode("latin-1"), "a.csv", "row 2, byte 8 of the file is 0xFC. Save it as UTF-8"),
        ("\ufefftext\nok\n".encode() + b"caf\xe9", "a.csv", "row 3, byte 15 of the file is 0xE9"),
        (b'text\n"two\nlines"\nthen \xff here\n', "a.csv", "row 3, byte 23 of the file is 0xFF"),
        (b'{"text": "a"}\n{"text": "\xe9"}\n', "a.jsonl", "row 2, byte 25 of the file is 0xE9"),
        ("text\nx\n".encode("utf-16"), "a.csv", "The file is UTF-16"),
        ("text\nx\n".encode("utf-16-le"), "a.csv", "looks like UTF-16"),
        (b"text\ntruncated \xe2\x82", "a.csv", "row 2, byte 16 of the file is 0xE2"),
    ],
)
def test_a_file_that_cannot_be_read_as_a_whole_imports_nothing(project, content, name, words):
    job = run(project, content, name)
    assert job.status == JobStatus.FAILED
    assert words in job.error
    assert not Item.objects.exists() and not RejectedRow.objects.exists()


def test_a_wrong_byte_behind_many_others_is_found_at_its_place(project):
    start = b"text\n" + b"plain words here\n" * 200_000  # beyond several chunks, on both sides of a boundary
    job = run(project, start + b"caf\xe9\n" + b"more\n" * 1000)
    assert f"row 200,002, byte {len(start) + 4:,} of the file is 0xE9" in job.error


def test_a_file_without_a_line_break_is_refused_in_little_memory(project, monkeypatch):
    monkeypatch.setattr(rows, "MAX_LINE", 1_000)
    assert "Line 2 has more than 1,000 characters" in run(project, "text\n" + "a," * 5_000).error
    job = run(project, '{"text": "' + "a" * 5_000 + '"}\n{"text": "good"}\n', "a.jsonl")
    assert (job.imported, rejections(job)) == (1, [(1, "", "The line has more than 1,000 characters.")])


def test_a_missing_file_fails_with_a_sentence(project):
    job = make(project, "text\nx\n")
    job.file.storage.delete(job.file.name)
    jobs.execute(ItemImport.objects, job.pk, imports.run)
    job.refresh_from_db()
    assert "Upload it again" in job.error


def test_running_twice_imports_once(project):
    """The worker died after the rows were written and before the job's end was."""
    job = run(project, "text\none\n\x00\n")
    ItemImport.objects.filter(pk=job.pk).update(status=JobStatus.QUEUED)
    jobs.execute(ItemImport.objects, job.pk, imports.run)
    job.refresh_from_db()
    assert (project.items.count(), job.rejected_rows.count(), job.status) == (1, 1, JobStatus.FINISHED)
    assert (job.imported, job.rejected) == (1, 1)


def test_a_worker_that_lost_the_job_writes_nothing(project, monkeypatch):
    job = make(project, "text\none\n")
    job = ItemImport.objects.claim(job.pk)
    original = imports._stage

    def lose(*args):
        original(*args)
        ItemImport.objects.filter(pk=job.pk).update(attempt=job.attempt + 1)

    monkeypatch.setattr(imports, "_stage", lose)
    with pytest.raises(LeaseLost):
        imports.run(job)
    assert not Item.objects.exists()


def test_cancelling_before_the_end_leaves_nothing(project, monkeypatch):
    job = make(project, "text\none\n\x00\n")
    job = ItemImport.objects.claim(job.pk)
    original = imports._stage

    def cancel(*args):
        original(*args)
        ItemImport.objects.filter(pk=job.pk).update(cancel_requested=True)

    monkeypatch.setattr(imports, "_stage", cancel)
    with pytest.raises(Cancelled):
        imports.run(job)
    job.refresh_from_db()
    assert (Item.objects.count(), RejectedRow.objects.count(), job.applied_at) == (0, 0, None)


def test_progress_is_reported_while_the_file_is_read(project, monkeypatch):
    monkeypatch.setattr(imports, "BATCH", 10)
    seen = []
    original = ItemImport.report

    def report(self, done, total=None, message=None):
        original(self, done, total, message)
        seen.append((done, self.total, message))

    monkeypatch.setattr(ItemImport, "report", report)
    run(project, "text\n" + "words\n" * 35)
    assert seen[0] == (0, 0, "Looking at what is in the file")
    assert any(message == "Reading the file" for *_, message in seen)
    assert (11, 36, "Checked 10 rows, 0 rejected") in seen
    assert seen[-1] == (36, 36, "Writing 35 texts")


def test_dimensions_changed_meanwhile_stop_the_import(project, monkeypatch):
    job = make(project, "text,bias\none,high\n")
    original = imports._stage

    def change(*args):
        original(*args)
        project.dimensions.filter(key="bias").update(levels=["no", "yes"])

    monkeypatch.setattr(imports, "_stage", change)
    jobs.execute(ItemImport.objects, job.pk, imports.run)
    job.refresh_from_db()
    assert "dimensions were changed meanwhile" in job.error
    assert not Item.objects.exists()


def test_staging_tables_do_not_stay_behind(project):
    run(project, "text\none\n")
    run(project, "body\none\n")
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass('staged_item'), to_regclass('staged_rejection')")
        assert cursor.fetchone() == (None, None)


@pytest.mark.slow
def test_a_hundred_thousand_rows_take_seconds_and_little_memory(project):
    content = "external_id,text,safe_rewrite,topic\n" + "".join(
        f"id-{number},Number {number} says they never work and complain.,Number {number}.,t{number % 7}\n"
        for number in range(100_000)
    )
    job = make(project, content)
    del content
    started = time.perf_counter()
    jobs.execute(ItemImport.objects, job.pk, imports.run)
    seconds = time.perf_counter() - started
    job.refresh_from_db()
    assert (job.imported, job.proposed) == (100_000, 100_000)
    assert seconds < 30, f"{seconds:.1f} s"  # some 5 s alone; the machine may be busy


@pytest.mark.slow
def test_memory_stays_constant_however_long_the_file(project):
    def peak(count):
        job = make(project, "text\n" + ("words and more words\n" * count))
        job = ItemImport.objects.claim(job.pk)
        tracemalloc.start()
        imports.run(job)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    small, large = peak(5_000), peak(40_000)
    assert large < small * 1.5 + 1_000_000


def test_the_real_texts_import_without_their_rewrites(project):
    if not REAL.exists():
        pytest.skip(f"the real texts are not at {REAL}")
    job = run(project, REAL.read_bytes(), with_pairs=False)
    assert (job.imported, job.rejected, Pair.objects.count()) == (300, 0, 0)
    assert "safe_rewrite" not in project.items.first().metadata
    assert project.items.first().metadata["aspect"]


# The reader alone

cells = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=30)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(table=st.lists(st.lists(cells, min_size=2, max_size=2), min_size=1, max_size=8), bom=st.booleans())
def test_what_pythons_csv_wrote_is_read_back(table, bom):
    file = io.StringIO(newline="")
    csv.writer(file).writerows([["text", "note"], *table])
    content = file.getvalue().encode("utf-8-sig" if bom else "utf-8")
    binary = io.BytesIO(content)
    rows.check_encoding(binary, "csv")
    found = list(rows.Reader(binary, "csv", ("text",), ("text",)))
    assert [[row.values["text"], row.values["note"]] for row in found] == table
    assert [row.row for row in found] == list(range(2, len(table) + 2))


@settings(deadline=None)
@given(st.binary(max_size=300), st.sampled_from(["csv", "jsonl"]))
def test_any_bytes_are_read_or_refused_with_a_sentence(content, file_format):
    binary = io.BytesIO(b'text,"' * (file_format == "csv") + content)
    try:
        rows.check_encoding(binary, file_format)
        for row in rows.Reader(binary, file_format, ("text",), ("text",)):
            assert isinstance(row, (rows.Row, rows.Rejected))
    except rows.Unreadable as error:
        assert str(error).endswith((".", "!"))


@settings(deadline=None)
@given(st.text(max_size=200), st.integers(0, 400))
def test_the_wrong_byte_is_named_exactly(text, place):
    good = text.encode("utf-8", "ignore")
    place = min(place, len(good))
    while place and place < len(good) and good[place] & 0xC0 == 0x80:
        place -= 1  # not inside a character
    with pytest.raises(rows.Unreadable, match=f"byte {place + 1:,} of the file is 0xFF"):
        rows.check_encoding(io.BytesIO(good[:place] + b"\xff" + good[place:]), "jsonl")
