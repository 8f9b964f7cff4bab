"""Readers of the files that texts and annotations come in: each yields rows of named values, in constant memory.

CSV and JSON Lines are read by `annotation.rows`. Here are Parquet, the folder of a Hugging Face dataset as a .zip,
Label Studio's JSON and doccano's JSON Lines. All of them are other people's files: archives are never unpacked by
their own names, only data is read from them (no script, no pickle), and what unpacks to more than the server takes is
refused. What a tool calls its columns stays in the row's names; `annotation.mapping` says what becomes of them.
"""

import codecs
import contextlib
import json
import re
import stat
import tempfile
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath
from typing import Any, BinaryIO

from django.conf import settings

from annotation import rows
from annotation.rows import Rejected, Row, Unreadable

CHUNK = 1 << 20  # bytes
BATCH = 500  # rows of a Parquet file in memory at once
MAX_MEMBERS = 10_000  # files in an archive
MAX_BLOCK = 512 << 20  # bytes that one block of a Parquet or Arrow file may take in memory
MAX_SCHEMA = 10 << 20  # bytes of a JSON file that describes a dataset

# Names of our own columns for what a tool keeps outside its labels.
ANNOTATOR = "annotator"
TABULAR = ("csv", "jsonl", "parquet", "dataset")
BY_ENDING = {
    "csv": "csv",
    "jsonl": "jsonl",
    "ndjson": "jsonl",
    "parquet": "parquet",
    "pq": "parquet",
    "json": "label_studio",
}
DATA_ENDINGS = {"parquet": "parquet", "csv": "csv", "jsonl": "jsonl", "ndjson": "jsonl", "arrow": "arrow"}


class Source:
    """Rows of one file. `done` of `total` says how far reading is, in a unit of the format's own.

    counts: what was left aside while reading, by reason. people: whether rows name their annotators by the nature of
    the format. parts: splits of a dataset found in the file. left_aside: files of an archive without data.
    """

    people = False

    def __init__(self) -> None:
        self.done = self.total = 0
        self.counts: Counter[str] = Counter()
        self.parts: list[str] = []
        self.left_aside: list[str] = []

    def __iter__(self) -> Iterator[Row | Rejected]:
        raise NotImplementedError

    def close(self) -> None:
        pass


@contextlib.contextmanager
def opened(file: BinaryIO, file_format: str, known: Iterable[str] = (), required: tuple[str, ...] = ()):
    """The Source of a file, for a `with`.

    Args:
        file: seekable, at any place. known: names that columns are matched with whatever their case.
        required: columns without which a CSV cannot be read.

    Raises:
        Unreadable: the file as a whole cannot be read.
    """
    known = tuple(known)
    make = {
        "csv": lambda: Lines(file, "csv", known, required),
        "jsonl": lambda: Lines(file, "jsonl", known, required),
        "parquet": lambda: Parquet(file, known),
        "dataset": lambda: DatasetFolder(file, known),
        "label_studio": lambda: LabelStudio(file),
        "doccano": lambda: Doccano(file),
    }[file_format]
    source = make()
    try:
        yield source
    finally:
        source.close()


def format_of(name: str, file: BinaryIO) -> str:
    """A file's format by its name, and for a .zip by the names inside; '' when they do not tell."""
    ending = name.rpartition(".")[2].lower()
    if ending != "zip":
        return BY_ENDING.get(ending, "")
    try:
        with zipfile.ZipFile(file) as archive:
            names = [info.filename for info in archive.infolist()[: MAX_MEMBERS + 1] if not _is_noise(info.filename)]
    except (zipfile.BadZipFile, OSError, ValueError):
        return "dataset"  # the job says what is wrong with it
    finally:
        file.seek(0)
    only_lines = bool(names) and all("/" not in name and name.lower().endswith((".jsonl", ".json")) for name in names)
    described = any(name in {"dataset_info.json", "dataset_dict.json", "state.json"} for name in names)
    return "doccano" if only_lines and not described else "dataset"


def _folded(name: str, known: tuple[str, ...]) -> str:
    lower = name.strip().lower()
    return lower if lower in known else name


# CSV and JSON Lines


class Lines(Source):
    def __init__(self, file: BinaryIO, file_format: str, known: tuple[str, ...], required: tuple[str, ...]) -> None:
        super().__init__()
        self.total = rows.check_encoding(file, file_format)
        self.reader = rows.Reader(file, file_format, required, known)

    def __iter__(self) -> Iterator[Row | Rejected]:
        for row in self.reader:
            self.done = self.reader.line
            yield row


# Parquet


class Parquet(Source):
    """Rows of a Parquet file, numbered from 1."""

    def __init__(self, file: BinaryIO, known: tuple[str, ...], name: str = "") -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        super().__init__()
        self.known, self.name = known, name
        place = f"{name}: " if name else ""
        try:
            file.seek(0)
            schema = pq.read_schema(file)
            file.seek(0)
            # Words that repeat stay one word in memory, however often a row names them.
            words = [field.name for field in schema if pa.types.is_string(field.type)]
            self.file = pq.ParquetFile(file, read_dictionary=words, pre_buffer=False, memory_map=False)
        except (pa.ArrowException, OSError, ValueError, OverflowError, MemoryError) as error:
            raise Unreadable(
                f"{place}The file is not Parquet, or it is damaged ({_short(error)}). Nothing was imported."
            ) from None
        if len(schema.names) > rows.MAX_COLUMNS:
            raise Unreadable(f"{place}The file has {len(schema.names)} columns; the limit is {rows.MAX_COLUMNS}.")
        about = self.file.metadata
        for number in range(about.num_row_groups):
            if about.row_group(number).total_byte_size > MAX_BLOCK:
                raise Unreadable(
                    f"{place}Row group {number + 1} takes more than {MAX_BLOCK >> 20} MB. "
                    "Write the file with smaller row groups (row_group_size)."
                )
        self.total = about.num_rows
        self.names = class_names(schema)

    def __iter__(self) -> Iterator[Row | Rejected]:
        import pyarrow as pa

        number = 0
        try:
            for batch in self.file.iter_batches(batch_size=BATCH, use_threads=False):
                for values in batch_values(batch, self.names, self.known):
                    number += 1
                    self.done = number
                    yield Row(number, values)
        except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
            place = f"{self.name}: " if self.name else ""
            raise Unreadable(
                f"{place}The file is damaged after row {number:,} ({_short(error)}). Nothing was imported."
            ) from None

    def close(self) -> None:
        self.file.close()


def _short(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def class_names(schema) -> dict[str, list[str]]:
    """Names of the classes that a Hugging Face dataset stores as numbers: column -> names."""
    try:
        features = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))["info"]["features"]
        return {
            column: [str(name) for name in feature["names"]]
            for column, feature in features.items()
            if isinstance(feature, dict) and feature.get("_type") == "ClassLabel" and feature.get("names")
        }
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}


def batch_values(batch, classes: dict[str, list[str]], known: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    """The rows of an Arrow record batch as values that JSON has."""
    columns = []
    for field, column in zip(batch.schema, batch.columns, strict=True):
        values: Iterable[Any]
        if hasattr(column, "dictionary"):
            words = [_plain(word) for word in column.dictionary.to_pylist()]
            values = [None if index is None else words[index] for index in column.indices.to_pylist()]
        elif field.name in classes:
            names = classes[field.name]
            values = [
                names[value] if isinstance(value, int) and 0 <= value < len(names) else None
                for value in column.to_pylist()
            ]
        else:
            values = [_plain(value) for value in column.to_pylist()]
        columns.append((_folded(field.name, known), values))
    names = [name for name, _ in columns]
    for row in zip(*(values for _, values in columns), strict=True):
        yield dict(zip(names, row, strict=True))


def _plain(value: Any) -> Any:
    """A value as JSON could have brought it: times as ISO 8601, bytes as text where they are, NaN as nothing."""
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        return value if value == value else None
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    if isinstance(value, dict):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace") if len(value) < 10_000 else f"{len(value)} bytes"
    if hasattr(value, "isoformat"):
        return value.isoformat()
    return str(value)


# Archives


class Archive:
    """The data files of a .zip, each copied to a nameless temporary file while it is read."""

    def __init__(self, file: BinaryIO) -> None:
        self.limit = settings.MAX_UNPACKED_BYTES
        self.unpacked = 0
        try:
            file.seek(0)
            self.zip = zipfile.ZipFile(file)
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
            raise Unreadable(f"The file is not a .zip archive, or it is damaged ({_short(error)}).") from None
        found = self.zip.infolist()
        if len(found) > MAX_MEMBERS:
            raise Unreadable(f"The archive holds {len(found):,} files; the limit is {MAX_MEMBERS:,}.")
        self.members: dict[str, zipfile.ZipInfo] = {}
        for info in found:
            self._check(info)
            if not info.is_dir() and not _is_noise(info.filename):
                self.members[info.filename] = info
        if sum(info.file_size for info in self.members.values()) > self.limit:
            raise Unreadable(self._too_large())

    def _check(self, info: zipfile.ZipInfo) -> None:
        name = info.filename
        shown = name[:100]
        path = PurePosixPath(name)
        if "\\" in name or "\x00" in name or path.is_absolute() or ".." in path.parts or re.match(r"^[A-Za-z]:", name):
            raise Unreadable(f"The archive names a file outside itself ({shown!r}). Nothing was imported.")
        if stat.S_ISLNK(info.external_attr >> 16):
            raise Unreadable(f"The archive holds a link ({shown!r}); put the file itself in. Nothing was imported.")
        if info.flag_bits & 1:
            raise Unreadable("The archive has a password. Make one without.")
        if name in self.members:
            raise Unreadable(f"The archive holds {shown!r} twice. Nothing was imported.")

    def _too_large(self) -> str:
        return (
            f"The archive unpacks to more than {self.limit >> 20:,} MB, which is more than this server takes. "
            "Split it. Nothing was imported."
        )

    @contextlib.contextmanager
    def open(self, name: str) -> Iterator[BinaryIO]:
        """A member as a seekable file."""
        with tempfile.TemporaryFile() as copy:
            try:
                with self.zip.open(self.members[name]) as member:
                    while block := member.read(CHUNK):
                        self.unpacked += len(block)  # what it says of its size need not be true
                        if self.unpacked > self.limit:
                            raise Unreadable(self._too_large())
                        copy.write(block)
            except (zipfile.BadZipFile, OSError, ValueError, EOFError, NotImplementedError, RuntimeError) as error:
                raise Unreadable(f"{name[:100]!r} in the archive is damaged ({_short(error)}).") from None
            except Exception as error:  # zlib.error and its like have no common ancestor
                if isinstance(error, Unreadable):
                    raise
                raise Unreadable(f"{name[:100]!r} in the archive is damaged ({_short(error)}).") from None
            copy.seek(0)
            yield copy

    def json(self, name: str) -> Any:
        """A small JSON member; None when there is none or it is none."""
        if name not in self.members or self.members[name].file_size > MAX_SCHEMA:
            return None
        with self.open(name) as file:
            try:
                return json.loads(file.read(MAX_SCHEMA))
            except (ValueError, RecursionError):
                return None

    def close(self) -> None:
        self.zip.close()


def _is_noise(name: str) -> bool:
    """Files that a Mac adds, and hidden ones."""
    return any(part.startswith((".", "__MACOSX")) and part != ".." for part in name.split("/"))


# A Hugging Face dataset


SPLITS = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
    "eval": "test",
    "evaluation": "test",
}


class DatasetFolder(Source):
    """The rows of a dataset's folder in a .zip: what `save_to_disk` writes, or a repository of the Hub with data
    files. The column `split` names the split a row is from.
    """

    def __init__(self, file: BinaryIO, known: tuple[str, ...]) -> None:
        super().__init__()
        self.known = known
        self.archive = Archive(file)
        try:
            self.files = self._data_files()
        except Unreadable:
            self.archive.close()
            raise
        self.parts = list(dict.fromkeys(split for split, _ in self.files))
        used = {name for _, name in self.files}
        described = ("dataset_info.json", "dataset_dict.json", "state.json", "README.md", "croissant.json")
        self.left_aside = [
            name for name in self.archive.members if name not in used and PurePosixPath(name).name not in described
        ]
        self.total = sum(self.archive.members[name].file_size for name in used) // 1024 + 1

    def _data_files(self) -> list[tuple[str, str]]:
        """(split, name) of every file with rows, in order."""
        saved = self._saved_to_disk()
        if saved:
            return saved
        data = [name for name in self.archive.members if name.rpartition(".")[2].lower() in DATA_ENDINGS]
        data = [name for name in data if not name.endswith(".arrow")]
        if not data:
            raise Unreadable(
                "The archive holds no data: a saved dataset has .arrow files beside dataset_info.json, a folder of "
                "the Hub .parquet, .csv or .jsonl files. Nothing was imported."
            )
        return self._declared(data) or [(split_of(name), name) for name in sorted(data)]

    def _saved_to_disk(self) -> list[tuple[str, str]]:
        found = []
        for name in sorted(self.archive.members):
            folder, _, last = name.rpartition("/")
            if last != "state.json":
                continue
            state = self.archive.json(name)
            shards = state.get("_data_files") if isinstance(state, dict) else None
            if not isinstance(shards, list):
                continue
            parent = folder.rpartition("/")[0]
            of_many = f"{parent}/dataset_dict.json" if parent else "dataset_dict.json"
            split = state.get("_split") or (PurePosixPath(folder).name if of_many in self.archive.members else "train")
            for shard in shards:
                file_name = shard.get("filename") if isinstance(shard, dict) else None
                member = f"{folder}/{file_name}" if folder else str(file_name)
                if member not in self.archive.members:
                    raise Unreadable(f"The archive lacks {member[:200]!r}, which {name[:100]!r} names.")
                found.append((str(split)[:100], member))
        return found

    def _declared(self, data: list[str]) -> list[tuple[str, str]]:
        """What the dataset card's YAML header says of splits and their files; empty when it says nothing."""
        import fnmatch

        import yaml

        cards = sorted((name for name in self.archive.members if name.rpartition("/")[2] == "README.md"), key=len)
        if not cards or self.archive.members[cards[0]].file_size > MAX_SCHEMA:
            return []
        root = cards[0].rpartition("/")[0]
        with self.archive.open(cards[0]) as file:
            text = file.read(MAX_SCHEMA).decode("utf-8", "replace")
        header = re.match(r"\A---\s*\n(.*?)\n---\s*\n", text, re.DOTALL)
        try:
            about = yaml.safe_load(header[1]) if header else {}
            configs = [one for one in about["configs"] if isinstance(one, dict)]
        except (yaml.YAMLError, KeyError, TypeError, RecursionError, ValueError):
            return []
        if not configs:
            return []
        chosen = next((one for one in configs if one.get("default")), None)
        chosen = chosen or next((one for one in configs if one.get("config_name") == "default"), configs[0])
        declared = chosen.get("data_files")
        entries = declared if isinstance(declared, list) else [{"split": "train", "path": declared}]
        found = []
        for entry in entries:
            if not isinstance(entry, dict):
                entry = {"split": "train", "path": entry}
            paths = entry.get("path")
            for pattern in paths if isinstance(paths, list) else [paths]:
                pattern = f"{root}/{pattern}" if root else str(pattern)
                split = str(entry.get("split", "train"))[:100]
                found += [(split, name) for name in sorted(data) if fnmatch.fnmatchcase(name, pattern)]
        return list({name: (split, name) for split, name in found}.values())

    def __iter__(self) -> Iterator[Row | Rejected]:
        number, finished = 0, 0
        for split, name in self.files:
            size = self.archive.members[name].file_size
            with self.archive.open(name) as file:
                ending = DATA_ENDINGS[name.rpartition(".")[2].lower()]
                part = self._part(file, ending, name)
                try:
                    for row in part:
                        number += 1
                        share = part.done / part.total if part.total else 0
                        self.done = (finished + int(size * min(share, 1))) // 1024
                        if isinstance(row, Rejected):
                            yield Rejected(number, row.field, f"{name}, row {row.row:,}: {row.reason}", row.excerpt)
                        else:
                            row.values.setdefault("split", split)
                            yield Row(number, row.values)
                except Unreadable as error:
                    message = str(error)
                    raise Unreadable(message if name in message else f"{name}: {message}") from None
                finally:
                    part.close()
            finished += size

    def _part(self, file: BinaryIO, ending: str, name: str) -> Source:
        if ending == "parquet":
            return Parquet(file, self.known, name)
        if ending == "arrow":
            return ArrowStream(file, self.known, name)
        return Lines(file, ending, self.known, ())

    def close(self) -> None:
        self.archive.close()


def split_of(name: str) -> str:
    """The split that a data file's path names, as the Hub reads it; train when it names none."""
    for part in reversed(PurePosixPath(name.lower()).parts):
        for word in re.split(r"[^a-z]+", part.rpartition(".")[0] or part):
            if word in SPLITS:
                return SPLITS[word]
    return "train"


class ArrowStream(Source):
    """Rows of an Arrow stream, as `save_to_disk` writes them."""

    def __init__(self, file: BinaryIO, known: tuple[str, ...], name: str) -> None:
        import pyarrow as pa

        super().__init__()
        self.known, self.name = known, name
        try:
            self.stream = pa.ipc.open_stream(_Bounded(file))
        except (pa.ArrowException, OSError, ValueError) as error:
            raise Unreadable(f"{name}: the file is not an Arrow stream, or it is damaged ({_short(error)}).") from None
        if len(self.stream.schema.names) > rows.MAX_COLUMNS:
            raise Unreadable(
                f"{name}: the file has {len(self.stream.schema.names)} columns; the limit is {rows.MAX_COLUMNS}."
            )
        self.names = class_names(self.stream.schema)

    def __iter__(self) -> Iterator[Row | Rejected]:
        import pyarrow as pa

        number = 0
        try:
            for batch in self.stream:
                batch.validate(full=True)  # offsets that point outside are an error here, not a crash
                for start in range(0, batch.num_rows, BATCH):
                    for values in batch_values(batch.slice(start, BATCH), self.names, self.known):
                        number += 1
                        yield Row(number, values)
        except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
            raise Unreadable(
                f"{self.name}: the file is damaged after row {number:,} ({_short(error)}). Nothing was imported."
            ) from None

    def close(self) -> None:
        self.stream.close()


class _Bounded:
    """A file of which no single block may be larger than MAX_BLOCK, whatever the file says of itself."""

    closed = False

    def __init__(self, file: BinaryIO) -> None:
        self.file = file

    def read(self, size: int = -1) -> bytes:
        if size is not None and size > MAX_BLOCK:
            raise ValueError(f"a block of {size >> 20:,} MB; the limit is {MAX_BLOCK >> 20} MB")
        return self.file.read(size)

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return False

    def seekable(self) -> bool:
        return False

    def close(self) -> None:
        pass


# JSON that is one large list


def objects(file: BinaryIO, progress=None) -> Iterator[Any]:
    """The objects of a JSON list, or of lines, one after the other; only the one that is read is in memory.

    Raises:
        Unreadable: naming the number of the object that is not JSON.
    """
    decoder = json.JSONDecoder(parse_constant=rows._no_constant)
    utf8 = codecs.getincrementaldecoder("utf-8-sig")()
    buffer, place, number, ended = "", 0, 0, False
    file.seek(0)
    wanted = CHUNK

    def refill() -> bool:
        nonlocal buffer, place, ended
        block = file.read(max(wanted - (len(buffer) - place), CHUNK))
        ended = not block
        try:
            buffer, place = buffer[place:] + utf8.decode(block, final=ended), 0
        except UnicodeDecodeError:
            raise Unreadable(f"The file is not UTF-8 after entry {number:,}. Save it as UTF-8.") from None
        if progress:
            progress(file.tell())
        return not ended

    refill()
    while True:
        while place < len(buffer) and buffer[place] in " \t\r\n,[]":
            place += 1
        if place >= len(buffer):
            if ended or not refill():
                return
            continue
        try:
            found, end = decoder.raw_decode(buffer, place)
        except RecursionError:
            raise Unreadable(f"Entry {number + 1:,} is nested too deeply. Nothing was imported.") from None
        except ValueError as error:
            if not ended:
                if len(buffer) - place >= rows.MAX_LINE:
                    raise Unreadable(
                        f"Entry {number + 1:,} has more than {rows.MAX_LINE:,} characters, or the JSON is broken there."
                    ) from None
                wanted = max(CHUNK, 2 * (len(buffer) - place))
                refill()
                continue
            raise Unreadable(
                f"The file is not valid JSON: entry {number + 1:,} is broken ({_short(error)}). Nothing was imported."
            ) from None
        number, place, wanted = number + 1, end, CHUNK
        yield found


# Label Studio


class LabelStudio(Source):
    """The annotations of a Label Studio project, exported as JSON (or JSON-MIN): a row for each annotation.

    Task data are columns named `data.…`, controls are columns by their own name (`from_name`), and what is known of
    an annotation is in `annotator`, `annotation.created_at` and so on. A task nobody annotated is a row without an
    annotator. Cancelled annotations, drafts and predictions are left aside and counted.

    Source: https://labelstud.io/guide/export.html, as of Label Studio 1.20.
    """

    people = True

    def __init__(self, file: BinaryIO) -> None:
        super().__init__()
        self.file = file
        self.total = file.seek(0, 2)
        if not self.total:
            raise Unreadable("The file is empty.")

    def _progress(self, done: int) -> None:
        self.done = done

    def __iter__(self) -> Iterator[Row | Rejected]:
        number = 0
        for task in objects(self.file, self._progress):
            number += 1
            if not isinstance(task, dict):
                yield Rejected(number, "", "The entry is not a task of Label Studio.", str(task)[:200])
            elif isinstance(task.get("data"), dict):
                yield from self._task(number, task)
            elif "annotation_id" in task or "annotator" in task:
                yield Row(number, self._minimal(task))
            else:
                reason = "The entry has no data: export the project as JSON or JSON-MIN."
                yield Rejected(number, "data", reason, json.dumps(task, ensure_ascii=False)[:200])
        if not number:
            raise Unreadable("The file holds no tasks.")

    def _task(self, number: int, task: dict[str, Any]) -> Iterator[Row]:
        self.counts["predictions"] += len(_list(task.get("predictions")))
        self.counts["drafts"] += len(_list(task.get("drafts")))
        about: dict[str, Any] = {"task.id": task.get("id")}
        about |= {f"data.{name}": value for name, value in task["data"].items()}
        # `completions` is what releases before 1.0 called them.
        annotations = _list(task.get("annotations")) or _list(task.get("completions"))
        taken = 0
        for annotation in annotations:
            if not isinstance(annotation, dict):
                continue
            if annotation.get("was_cancelled") or annotation.get("skipped"):
                self.counts["cancelled"] += 1
                continue
            taken += 1
            yield Row(number, about | self._annotation(annotation))
        if not taken:
            yield Row(number, about)

    def _annotation(self, annotation: dict[str, Any]) -> dict[str, Any]:
        person = annotation.get("completed_by")
        if isinstance(person, dict):
            person = person.get("email") or person.get("username") or person.get("id")
        values: dict[str, Any] = {ANNOTATOR: str(person) if person not in (None, "") else "unknown"}
        for name in ("created_at", "updated_at", "lead_time", "id", "ground_truth"):
            if annotation.get(name) not in (None, ""):
                values[f"annotation.{name}"] = annotation[name]
        for result in _list(annotation.get("result")):
            if isinstance(result, dict):
                self._result(result, values)
        return values

    def _result(self, result: dict[str, Any], values: dict[str, Any]) -> None:
        kind, value = result.get("type"), result.get("value")
        control = result.get("from_name")
        if not isinstance(control, str) or not isinstance(value, dict) or not isinstance(kind, str):
            values.setdefault("annotation.other", []).append(result)
            return
        if control in {ANNOTATOR, "task.id"} or control.startswith(("data.", "annotation.")):
            control = f"control.{control}"  # never taken for what the tool itself says
        if "start" in value and ("text" in value or kind in {"labels", "hypertextlabels"}) and kind.endswith("labels"):
            found: Any = {**value, "labels": value.get(kind, value.get("labels", []))}
            values.setdefault(control, []).append(found)
        elif "start" in value or "x" in value:  # a choice or a text about one region
            values.setdefault("annotation.other", []).append(result)
        elif kind == "taxonomy":
            paths = [" / ".join(map(str, path)) for path in _list(value.get("taxonomy")) if isinstance(path, list)]
            values[control] = _list(values.get(control)) + paths
        else:
            given = value.get("text" if kind == "textarea" else kind, value)
            values[control] = _list(values.get(control)) + given if isinstance(given, list) else given

    def _minimal(self, task: dict[str, Any]) -> dict[str, Any]:
        """One entry of JSON-MIN, where data and controls stand side by side."""
        names = {
            "id": "task.id",
            "annotation_id": "annotation.id",
            "created_at": "annotation.created_at",
            "updated_at": "annotation.updated_at",
            "lead_time": "annotation.lead_time",
        }
        values: dict[str, Any] = {}
        for name, value in task.items():
            if isinstance(value, dict) and isinstance(value.get("choices"), list):
                value = value["choices"]
            values[names.get(name, name)] = value
        person = values.get(ANNOTATOR)
        if isinstance(person, dict):
            person = person.get("email") or person.get("id")
        values[ANNOTATOR] = str(person) if person not in (None, "") else "unknown"
        return values


def _list(value: Any) -> list:
    return value if isinstance(value, list) else []


# doccano


class Doccano(Source):
    """doccano's JSON Lines, one file or a .zip with a file for each annotator: a row for each line.

    The annotator is the file's name inside the archive, or what the line says (`annotator`, `username`, `user`). Of a
    project that all annotate together doccano exports no names: those rows are by “everybody”. Lines of early releases
    (`annotations` with user ids) become a row for each user.

    Source: the export module of doccano 1.8 (`backend/data_export`), and of 1.0 for `annotations`.
    """

    people = True
    TOGETHER = {"all", "admin_all", "file"}

    def __init__(self, file: BinaryIO) -> None:
        super().__init__()
        self.file = file
        self.archive: Archive | None = None
        file.seek(0)
        if zipfile.is_zipfile(file):
            self.archive = Archive(file)
            names = sorted(self.archive.members)
            self.names = [name for name in names if name.lower().endswith((".jsonl", ".json"))]
            self.left_aside = [name for name in names if name not in self.names]
            self.total = sum(self.archive.members[name].file_size for name in self.names)
            if not self.names:
                self.archive.close()
                raise Unreadable("The archive holds no .jsonl files. Export from doccano as JSONL.")
        else:
            self.total = file.seek(0, 2)
            if not self.total:
                raise Unreadable("The file is empty.")

    def __iter__(self) -> Iterator[Row | Rejected]:
        number = 0
        if self.archive is None:
            for row in self._lines(self.file, 0):
                yield from self._entry(row, row.row, "")
            return
        finished = 0
        for name in self.names:
            person = PurePosixPath(name).name.rpartition(".")[0]
            person = "" if person.lower() in self.TOGETHER else person
            with self.archive.open(name) as file:
                for row in self._lines(file, finished):
                    number += 1
                    if isinstance(row, Rejected):
                        row = Rejected(number, row.field, f"{name}, line {row.row:,}: {row.reason}", row.excerpt)
                    yield from self._entry(row, number, person)
            finished += self.archive.members[name].file_size

    def _lines(self, file: BinaryIO, before: int) -> Iterator[Row | Rejected]:
        start = file.read(1)
        file.seek(0)
        if start == b"[":  # doccano's JSON is one list of the same entries
            for number, entry in enumerate(objects(file, lambda done: self._progress(before + done)), 1):
                if isinstance(entry, dict):
                    yield Row(number, entry)
                else:
                    yield Rejected(number, "", "The entry is not a JSON object.", str(entry)[:200])
            return
        rows.check_encoding(file, "jsonl")
        for row in rows.Reader(file, "jsonl", (), ()):
            self._progress(before + file.tell())
            yield row

    def _progress(self, done: int) -> None:
        self.done = done

    def _entry(self, row: Row | Rejected, number: int, person: str) -> Iterator[Row | Rejected]:
        if isinstance(row, Rejected):
            yield row
            return
        values = dict(row.values)
        meta = values.pop("meta", None)
        if isinstance(meta, dict):
            values |= {name: value for name, value in meta.items() if name not in values}
        if "text" not in values and isinstance(values.get("data"), str):
            values["text"] = values.pop("data")
        comments = values.pop("Comments", values.pop("comments", None))
        if comments:
            values["comments"] = comments
        early = values.pop("annotations", None)
        if isinstance(early, list) and early and all(isinstance(one, dict) and "user" in one for one in early):
            for user in dict.fromkeys(str(one["user"]) for one in early):
                labels = [_early_label(one) for one in early if str(one["user"]) == user]
                yield Row(number, values | {"label": labels, ANNOTATOR: user})
            return
        said = next((values.pop(name) for name in (ANNOTATOR, "username", "user") if values.get(name)), "")
        values.pop("annotation_approver", None)
        yield Row(number, values | {ANNOTATOR: person or str(said) or "everybody"})

    def close(self) -> None:
        if self.archive is not None:
            self.archive.close()


def _early_label(one: dict[str, Any]) -> Any:
    if "start_offset" in one:
        return [one["start_offset"], one.get("end_offset"), str(one.get("label", ""))]
    return str(one.get("text", one.get("label", "")))
