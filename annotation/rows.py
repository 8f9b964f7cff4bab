"""Reads rows from uploaded CSV and JSON Lines files, in constant memory, with row numbers people can find.

A file that cannot be read as a whole raises Unreadable with a sentence that says where and what to do. A
single row that cannot be read comes back as Rejected, and reading goes on.
"""

import codecs
import contextlib
import csv
import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, TextIO

from annotation.jobs import JobError

CHUNK = 1 << 20  # bytes
MAX_CELL = 1_000_000  # characters; a longer cell is a forgotten closing quote
MAX_LINE = 10_000_000  # characters
MAX_COLUMNS = 200

csv.field_size_limit(MAX_CELL)


class Unreadable(JobError):
    """The file as a whole cannot be read."""


@dataclass(eq=False)
class Rejected(Exception):
    """A row that cannot be used: its number, the field at fault ('' for the row), why, and how it begins."""

    row: int
    field: str
    reason: str
    excerpt: str = ""


@dataclass(frozen=True)
class Row:
    """A row's number, counted as a spreadsheet does (a CSV's header is row 1), and its values by column."""

    row: int
    values: dict[str, Any]


def check_encoding(file: BinaryIO, file_format: str) -> int:
    """Raise Unreadable unless the whole file is UTF-8. Returns its number of lines and rewinds it."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    offset = lines = 0
    last = b"\n"
    file.seek(0)
    while True:
        chunk = file.read(CHUNK)
        try:
            decoder.decode(chunk, final=not chunk)
        except UnicodeDecodeError as error:
            # The decoder kept the bytes of an unfinished character from before this chunk.
            position = offset - (len(error.object) - len(chunk)) + error.start
            raise Unreadable(_wrong_encoding(file, file_format, position)) from None
        if not chunk:
            break
        offset, lines, last = offset + len(chunk), lines + chunk.count(b"\n"), chunk[-1:]
    file.seek(0)
    return lines + (last != b"\n")


def _wrong_encoding(file: BinaryIO, file_format: str, position: int) -> str:
    file.seek(0)
    if file.read(2) in {b"\xff\xfe", b"\xfe\xff"}:
        return "The file is UTF-16. Save it as UTF-8 (in Excel: “CSV UTF-8”) and upload it again."
    file.seek(position)
    byte = file.read(1)[0]
    prefix = io.TextIOWrapper(io.BufferedReader(_Prefix(file, position)), encoding="utf-8-sig", newline="")
    rows = csv.reader(prefix) if file_format == "csv" else prefix
    row = 0
    with contextlib.suppress(csv.Error):  # broken before it gets there: the byte alone must do
        row = sum(1 for _ in rows)
    where = f"row {row:,}, byte {position + 1:,} of the file" if row else f"byte {position + 1:,} of the file"
    return (
        f"The file is not UTF-8: {where} is 0x{byte:02X}. Save it as UTF-8 (in Excel: “CSV UTF-8”) "
        "and upload it again. Nothing was imported."
    )


class _Prefix(io.RawIOBase):
    """The first bytes of a file and one letter, which stands for the byte that comes next."""

    def __init__(self, file: BinaryIO, length: int) -> None:
        self.file, self.left, self.letter = file, length, b"x"
        file.seek(0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        data = self.file.read(min(self.left, len(buffer))) if self.left else self.letter
        if not self.left:
            self.letter = b""
        self.left -= min(self.left, len(data))
        buffer[: len(data)] = data
        return len(data)


class Reader:
    """Iterates over the rows of a file; `line` says how far it is, in lines."""

    def __init__(self, file: BinaryIO, file_format: str, required: tuple[str, ...], known: tuple[str, ...]) -> None:
        """
        Args:
            file: at its start, checked by check_encoding. file_format: csv or jsonl.
            required: columns without which a CSV cannot be read.
            known: column names that are matched whatever their case and the blanks around them.
        """
        self.file, self.file_format, self.required, self.known = file, file_format, required, known
        self.line = 0

    def __iter__(self) -> Iterator[Row | Rejected]:
        stream = io.TextIOWrapper(self.file, encoding="utf-8-sig", newline="" if self.file_format == "csv" else "\n")
        try:
            yield from self._csv(stream) if self.file_format == "csv" else self._jsonl(stream)
        finally:
            stream.detach()  # the file belongs to the caller

    # CSV

    def _csv(self, stream: TextIO) -> Iterator[Row | Rejected]:
        reader = csv.reader(self._lines(stream), strict=True)
        number, columns = 0, None
        while True:
            number += 1
            try:
                cells = next(reader)
            except StopIteration:
                break
            except csv.Error as error:
                raise Unreadable(_broken_quoting(number, str(error))) from None
            if not cells:  # an empty line
                continue
            if columns is None:
                columns = self._columns(cells)
            elif len(cells) > len(columns):
                reason = (
                    f"The row has {len(cells)} cells, but the header names {len(columns)} columns. "
                    "Put quotes around cells that hold commas."
                )
                yield Rejected(number, "", reason, ",".join(cells))
            else:
                cells += [""] * (len(columns) - len(cells))
                yield Row(number, dict(zip(columns, cells, strict=True)))
        if columns is None:
            raise Unreadable("The file is empty.")

    def _lines(self, stream: TextIO) -> Iterator[str]:
        while line := stream.readline(MAX_LINE):
            self.line += 1
            if len(line) == MAX_LINE and not line.endswith(("\n", "\r")):
                raise Unreadable(f"Line {self.line:,} has more than {MAX_LINE:,} characters. Is this a CSV file?")
            yield line

    def _columns(self, cells: list[str]) -> list[str]:
        if "\x00" in "".join(cells):
            raise Unreadable("The header holds null bytes; the file looks like UTF-16. Save it as UTF-8.")
        names = [name.strip() for name in cells]
        names = [name.lower() if name.lower() in self.known else name for name in names]
        names = [name or f"column_{position}" for position, name in enumerate(names, 1)]
        for name in self.required:
            if name not in names:
                raise Unreadable(no_column(name, names))
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise Unreadable(f"The header names {twice[0][:40]!r} twice. The header has: {_some(names)}.")
        if len(names) > MAX_COLUMNS:
            raise Unreadable(f"The header has {len(names)} columns; the limit is {MAX_COLUMNS}.")
        return names

    # JSON Lines

    def _jsonl(self, stream: TextIO) -> Iterator[Row | Rejected]:
        number = 0
        while line := stream.readline(MAX_LINE):
            number += 1
            self.line = number
            if len(line) == MAX_LINE and not line.endswith("\n"):
                while (rest := stream.readline(MAX_LINE)) and not rest.endswith("\n"):
                    pass
                yield Rejected(number, "", f"The line has more than {MAX_LINE:,} characters.", line[:200])
                continue
            if not line.strip():
                continue
            try:
                values = json.loads(line, parse_constant=_no_constant)
            except RecursionError:
                yield Rejected(number, "", "The line is nested too deeply.", line[:200])
            except ValueError as error:
                yield Rejected(number, "", f"The line is not valid JSON: {error}."[:300], line[:200])
            else:
                if isinstance(values, dict):
                    yield Row(number, self._known_names(values))
                else:
                    yield Rejected(number, "", 'The line is not a JSON object, as in {"text": "…"}.', line[:200])

    def _known_names(self, values: dict[str, Any]) -> dict[str, Any]:
        return {
            name if (folded := name.strip().lower()) not in self.known else folded: value
            for name, value in values.items()
        }


def _some(names: list[str]) -> str:
    return ", ".join(name[:40] for name in names[:20]) + (" …" if len(names) > 20 else "")


def no_column(name: str, names: list[str]) -> str:
    """What to say of a file that lacks a column."""
    hint = ""
    if not_commas(names):
        hint = " The columns are not separated by commas; save the file with commas."
    return f"There is no column {name!r}. The header has: {_some(names)}.{hint}"


def not_commas(names: list[str]) -> bool:
    """Whether a CSV's header looks like one with other separators."""
    return len(names) == 1 and any(mark in names[0] for mark in ";\t|")


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON value")


def _broken_quoting(row: int, problem: str) -> str:
    if "field larger" in problem:
        why = f"a cell has more than {MAX_CELL:,} characters; probably a closing quote is missing"
    elif "unexpected end" in problem:
        why = "a quoted cell is never closed"
    else:
        why = f"the quotes are broken ({problem})"
    return f"Row {row:,}: {why}. Inside a quoted cell, write each quote twice. Nothing was imported."


NEUTRALISED = re.compile(r"^'+[=+\-@\t\r]")


def plain_cell(value: Any) -> Any:
    """A cell of one of our own CSV files without the apostrophe that keeps spreadsheets from running it."""
    return value[1:] if isinstance(value, str) and NEUTRALISED.match(value) else value


def storable(text: str, length: int) -> str:
    """The beginning of any text, as PostgreSQL can store it: for excerpts and reasons."""
    return text[:length].replace("\x00", "\ufffd").encode("utf-8", "replace").decode()
