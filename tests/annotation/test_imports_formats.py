"""Parquet files and dataset folders: what comes in, and what no hostile file can do."""

import io
import json
import pickle
import stat
import tracemalloc
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annotation import imports, rows, sources
from annotation.jobs import JobStatus
from annotation.models import Annotation, Item, ItemImport, Pair
from tests.annotation.import_helpers import lines, make, rejections, run, zipped
from tests.factories import ProjectFactory

pytestmark = pytest.mark.django_db
STATE = '{"_data_files": [{"filename": "x.arrow"}]}'


@pytest.fixture(autouse=True)
def _media(settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path / "media"


@pytest.fixture
def project():
    return ProjectFactory(
        overlap=2, content_kinds=[{"name": "slurs", "warning": ""}, {"name": "threats", "warning": ""}]
    )


def parquet(columns, **options) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer, **options)
    return buffer.getvalue()


def features(**named):
    """The metadata that the datasets library writes beside a schema."""
    about = {
        name: {"names": classes, "_type": "ClassLabel"} if classes else {"dtype": "string", "_type": "Value"}
        for name, classes in named.items()
    }
    return {"huggingface": json.dumps({"info": {"features": about}})}


def arrow(columns, metadata=None) -> bytes:
    table = pa.table(columns).replace_schema_metadata(metadata)
    buffer = io.BytesIO()
    with pa.ipc.new_stream(buffer, table.schema) as writer:
        writer.write_table(table, max_chunksize=1000)
    return buffer.getvalue()


def saved(splits, metadata=None, root="") -> dict[str, bytes]:
    """The files of DatasetDict.save_to_disk."""
    files = {f"{root}dataset_dict.json": json.dumps({"splits": list(splits)}).encode()}
    for split, columns in splits.items():
        name = "data-00000-of-00001.arrow"
        state = {"_data_files": [{"filename": name}], "_fingerprint": "f01f", "_format_type": None, "_split": None}
        files[f"{root}{split}/state.json"] = json.dumps(state).encode()
        files[f"{root}{split}/dataset_info.json"] = b'{"citation": "", "features": {}}'
        files[f"{root}{split}/{name}"] = arrow(columns, metadata)
    return files


# Columns


def test_content_kinds_come_from_csv_and_json(project):
    job = run(project, 'text,content_kinds\na,slurs; Threats ;\nb,\nc,["slurs"]\nd,gore;slurs\n', "a.csv")
    found = dict(project.items.values_list("text", "content_kinds"))
    assert found == {"a": ["slurs", "threats"], "b": [], "c": ["slurs"], "d": ["slurs"]}
    assert project.items.get(text="d").metadata == {"content_kinds": ["gore", "slurs"]}
    assert job.findings["unknown_kinds"] == {"gore": 1}
    assert "“gore” (1)" in imports.findings_in_words(job)[0]
    job = run(project, lines({"text": "e", "content_kinds": ["slurs"]}, {"text": "f", "content_kinds": 5}), "a.jsonl")
    assert project.items.get(text="e").content_kinds == ["slurs"]
    assert rejections(job) == [(2, "content_kinds", "content_kinds must be a list of names.")]


# Parquet


def test_parquet_rows_become_items_with_their_types(project):
    content = parquet(
        {
            "text": ["They lie.", "Fine.", ""],
            "external_id": pa.array([7, 8, 9]),
            "bias": pa.array(["high", None, "none"]).dictionary_encode(),
            "score": [0.5, float("nan"), 1.0],
            "tags": [["a"], [], None],
            "when": pa.array([0, 1, 2], pa.timestamp("s", "UTC")),
            "raw": pa.array([b"x", b"\xff", b""]),
            "nested": [{"a": [1]}, None, None],
            "content_kinds": [["slurs"], [], None],
        }
    )
    job = run(project, content, "texts.parquet")
    assert (job.file_format, job.imported, job.proposed) == ("parquet", 2, 1)
    assert rejections(job) == [(3, "text", "The text is empty.")]
    first, second = project.items.order_by("pk")
    assert (first.external_id, first.content_kinds) == ("7", ["slurs"])
    assert first.metadata == {
        **{"score": 0.5, "tags": ["a"], "when": "1970-01-01T00:00:00+00:00", "raw": "x", "nested": {"a": [1]}},
    }
    assert second.metadata == {"tags": [], "when": "1970-01-01T00:00:01+00:00", "raw": "\ufffd"}
    assert Pair.objects.get().labels == {"bias": "high"}


def test_classes_stored_as_numbers_come_in_by_name(project):
    table = pa.table({"text": ["a", "b", "c"], "bias": [2, 0, -1]}).replace_schema_metadata(
        features(text=None, bias=["none", "slight", "high"])
    )
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    run(project, buffer.getvalue(), "a.parquet")
    assert list(Pair.objects.order_by("pk").values_list("labels", flat=True)) == [{"bias": "high"}, {"bias": "none"}]


def test_a_long_parquet_file_brings_annotations(project):
    content = parquet(
        {
            "text": ["They lie."] * 2,
            "annotator": ["ada", "bob"],
            "bias": ["high", "none"],
            "spans": [[{"start": 0, "end": 4}], []],
        }
    )
    assert run(project, content, "past.parquet").annotations == 2
    assert Annotation.objects.order_by("pk").first().spans == [{"start": 0, "end": 4}]


def test_memory_stays_small_however_many_rows_repeat_a_long_word(tmp_path):
    """A million characters in a few kilobytes: the rows share one word, they do not copy it."""
    words = pa.DictionaryArray.from_arrays(pa.array([0] * 20_000, pa.int32()), pa.array(["x" * 1_000_000]))
    buffer = io.BytesIO()
    pq.write_table(pa.table({"text": words}), buffer, compression="zstd")
    assert buffer.getbuffer().nbytes < 1_000_000
    before = pa.total_allocated_bytes()
    tracemalloc.start()
    most_arrow = count = 0
    with sources.opened(buffer, "parquet") as source:
        for row in source:
            count += 1
            assert len(row.values["text"]) == 1_000_000
            most_arrow = max(most_arrow, pa.total_allocated_bytes() - before)
            if count == 3_000:
                break
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == 3_000
    assert most < 30_000_000 and most_arrow < 100_000_000


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"PAR1" + b"\x00" * 100 + b"PAR1", "not Parquet, or it is damaged"),
        (b"text\nx\n", "not Parquet, or it is damaged"),
        (parquet({"text": ["a"] * 1000})[:-60], "not Parquet, or it is damaged"),
        (parquet({"col": ["a"]}), "There is no column 'text'. The header has: col."),
        (parquet({f"c{n}": ["a"] for n in range(300)}), "300 columns; the limit is 200"),
        (parquet({"text": pa.array([], pa.string())}), "The file is empty."),
    ],
)
def test_parquet_files_that_cannot_be_read_import_nothing(project, content, words):
    job = run(project, content, "a.parquet")
    assert (job.status, words in job.error) == (JobStatus.FAILED, True), job.error
    assert not Item.objects.exists()


def test_a_row_group_larger_than_the_limit_is_refused(project, monkeypatch):
    monkeypatch.setattr(sources, "MAX_BLOCK", 1_000)
    job = run(project, parquet({"text": [f"word {n}" for n in range(2_000)]}), "a.parquet")
    assert "smaller row groups" in job.error


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_a_damaged_parquet_file_is_read_or_refused_with_a_sentence(data):
    content = bytearray(parquet({"text": ["a", "b", None], "n": [1, 2, 3]}))
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        with sources.opened(io.BytesIO(bytes(content)), "parquet") as source:
            assert all(isinstance(row, rows.Row) for row in source)
    except rows.Unreadable as error:
        assert "Nothing was imported." in str(error) or "limit" in str(error) or "row groups" in str(error)


# Dataset folders


@pytest.mark.parametrize("root", ["", "my-data/"])
def test_a_dataset_saved_to_disk_comes_in_with_its_splits(project, root):
    files = saved(
        {"train": {"text": ["They lie.", "Fine."], "bias": [2, 0]}, "test": {"text": ["Hm."], "bias": [1]}},
        features(text=None, bias=["none", "slight", "high"]),
        root,
    )
    job = run(project, zipped(files), "data.zip")
    assert (job.status, job.file_format, job.imported) == ("finished", "dataset", 3), job.error
    assert dict(project.items.values_list("text", "metadata__split")) == {
        "They lie.": "train",
        "Fine.": "train",
        "Hm.": "test",
    }
    assert Pair.objects.get(item__text="Hm.").labels == {"bias": "slight"}


def test_a_dataset_written_by_the_library_itself_comes_in(project, tmp_path):
    datasets = pytest.importorskip("datasets")
    folder = tmp_path / "saved"
    one = datasets.Dataset.from_dict({"text": ["a", "b"], "tags": [["x"], []]})
    one.save_to_disk(folder, num_shards=2)
    files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    job = run(project, zipped(files), "saved.zip")
    assert (job.imported, job.error) == (2, "")
    assert project.items.get(text="a").metadata == {"tags": ["x"], "split": "train"}


def test_only_chosen_splits_are_imported(project):
    files = saved({"train": {"text": ["a"]}, "test": {"text": ["b"]}})
    job = run(project, zipped(files), "data.zip", inspection={"chosen": {"splits": ["test"]}})
    assert list(project.items.values_list("text", flat=True)) == ["b"]
    assert job.findings["aside"] == {"deselected": 1}


def test_a_folder_of_the_hub_comes_in_by_its_file_names(project):
    files = {
        "README.md": "# Data\n",
        "data/train-00000-of-00001.parquet": parquet({"text": ["a"]}),
        "data/validation.csv": "text,note\nb,x\n\n,y\n",
        "test/part.jsonl": lines({"text": "c"}),
        ".gitattributes": "*.parquet filter=lfs",
        "__MACOSX/._data": "x",
        "loader.py": "raise SystemExit",
    }
    job = run(project, zipped(files), "data.zip")
    splits = dict(project.items.values_list("text", "metadata__split"))
    assert splits == {"a": "train", "b": "validation", "c": "test"}
    assert job.findings["files_aside"] == ["loader.py"]
    assert rejections(job) == [(3, "text", "The text is empty.")]


def test_the_cards_header_says_which_files_are_which_split(project):
    card = """---
license: mit
configs:
- config_name: other
  data_files: x.csv
- config_name: default
  data_files:
  - split: train
    path:
    - one.csv
    - more/*.csv
  - split: held_out
    path: two.csv
---
# Data
"""
    files = {"README.md": card, "one.csv": "text\na\n", "more/x.csv": "text\nb\n"}
    files |= {"two.csv": "text\nc\n", "x.csv": "text\nz\n"}
    job = run(project, zipped(files), "data.zip")
    assert dict(project.items.values_list("text", "metadata__split")) == {"a": "train", "b": "train", "c": "held_out"}
    assert job.findings["files_aside"] == ["x.csv"]


# Hostile archives


class Trap:
    """A pickle that makes a file when it is loaded."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self):
        return (Path.touch, (self.place,))


def test_pickles_and_scripts_in_an_archive_are_never_loaded(project, tmp_path):
    trap = tmp_path / "was-loaded"
    files = {"train.csv": "text\na\n", "train.pkl": pickle.dumps(Trap(trap)), "data.py": "raise SystemExit('ran')"}
    job = run(project, zipped(files), "data.zip")
    assert (job.imported, job.findings["files_aside"]) == (1, ["train.pkl", "data.py"])
    assert not trap.exists()


@pytest.mark.parametrize(
    "name", ["../evil.csv", "/etc/evil.csv", "data/../../evil.csv", "C:\\evil.csv", "..\\evil.csv", "c:evil.csv"]
)
def test_an_archive_that_names_files_outside_itself_is_refused(project, name):
    job = run(project, zipped({name: "text\na\n", "train.csv": "text\na\n"}), "data.zip", file_format="dataset")
    assert "names a file outside itself" in job.error
    assert not Item.objects.exists()


def test_an_archive_with_a_link_is_refused(project):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        link = zipfile.ZipInfo("train.csv")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
    assert "holds a link" in run(project, buffer.getvalue(), "data.zip", file_format="dataset").error


@pytest.mark.parametrize("file_format", ["dataset", "doccano"])
def test_a_zip_bomb_is_refused_before_it_unpacks(project, settings, file_format):
    settings.MAX_UNPACKED_BYTES = 5_000_000
    bomb = zipped({"train.jsonl": b" " * 6_000_000})
    assert len(bomb) < 10_000
    assert "unpacks to more than" in run(project, bomb, "data.zip", file_format=file_format).error


def test_an_archive_that_lies_about_its_size_is_stopped_while_it_unpacks(project, settings):
    settings.MAX_UNPACKED_BYTES = 5_000_000
    content = bytearray(zipped({"train.csv": b"text\n" + b"words\n" * 1_500_000}))
    size = (9_000_005).to_bytes(4, "little")
    while (place := content.find(size)) >= 0:
        content[place : place + 4] = (100).to_bytes(4, "little")
    job = run(project, bytes(content), "data.zip", file_format="dataset")
    assert job.status == JobStatus.FAILED
    assert "unpacks to more than" in job.error or "is damaged" in job.error
    assert not Item.objects.exists()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"PK\x03\x04" + b"\x00" * 50, "not a .zip archive"),
        (b"nothing of the kind", "not a .zip archive"),
        (zipped({"notes.txt": "x"}), "holds no data"),
        (zipped({"a/state.json": '{"_data_files": [{"filename": "gone.arrow"}]}'}), "lacks 'a/gone.arrow'"),
        (
            zipped({"state.json": '{"_data_files": [{"filename": "x.arrow"}]}', "x.arrow": b"junk"}),
            "not an Arrow stream",
        ),
        (zipped({"train.parquet": b"junk"}), "train.parquet: The file is not Parquet"),
        (zipped({"train.csv": 'text\n"never closed\n'}), "train.csv: Row 2: a quoted cell is never closed"),
    ],
)
def test_archives_that_cannot_be_read_import_nothing(project, content, words):
    job = run(project, content, "data.zip", file_format="dataset")
    assert (job.status, words in job.error) == (JobStatus.FAILED, True), job.error
    assert not Item.objects.exists()


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_a_damaged_arrow_stream_is_read_or_refused_with_a_sentence(data):
    content = bytearray(arrow({"text": ["a", "b", None], "tags": [["x"], [], None]}))
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    files = {"state.json": STATE, "x.arrow": bytes(content)}
    try:
        with sources.opened(io.BytesIO(zipped(files)), "dataset") as source:
            assert all(isinstance(row, rows.Row) for row in source)
    except rows.Unreadable as error:
        assert str(error)


def test_parquet_and_archives_are_read_in_constant_memory(project, monkeypatch):
    monkeypatch.setattr(rows, "CHUNK", 1 << 16)

    def peak(count):
        content = zipped(
            {"train.parquet": parquet({"text": [f"words {n}" for n in range(count)]}, row_group_size=5_000)}
        )
        job = ItemImport.objects.claim(make(project, content, "data.zip").pk)
        del content
        tracemalloc.start()
        imports.run(job)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    small, large = peak(6_000), peak(30_000)
    assert large < small * 1.5 + 1_500_000
