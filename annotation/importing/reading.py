"""A file, whatever its format and shape, as numbered rows, or the reasons why they are none; one in memory."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO, Any, Protocol

from django.utils.functional import Promise

from annotation.importing.formats import csv_table, json_list, jsonl, parquet
from annotation.importing.formats.raw import Numbered
from annotation.importing.rows import BadFileError, BadRowError, BrokenFileError, Row
from annotation.importing.shapes import (
    alpaca,
    alpaca_eval,
    arena,
    arena_table,
    helpsteer,
    hh,
    kto,
    preference,
    responses,
    sharegpt,
    summarize,
    ultrafeedback,
)


class Shape(Protocol):
    """What each file of `shapes` holds."""

    FORM: str
    SOURCE: str  # a name for its votes, where the data set has one

    @property
    def TITLE(self) -> str | Promise: ...  # read in the reader's language

    def recognises(self, row: Mapping[str, Any], /) -> bool: ...

    def read(self, row: Mapping[str, Any], /) -> Row: ...


# To add a shape, copy a sibling file and name it here. The first that recognises a row reads it.
SHAPES: dict[str, Shape] = {
    "helpsteer": helpsteer,
    "summarize": summarize,
    "arena": arena,
    "arena-table": arena_table,
    "ultrafeedback": ultrafeedback,
    "alpaca-eval": alpaca_eval,
    "hh": hh,
    "sharegpt": sharegpt,
    "alpaca": alpaca,
    "kto": kto,
    "responses": responses,
    "preference": preference,
}
TEXT_FORMATS = {"jsonl": jsonl, "json": json_list, "csv": csv_table}
FORMATS = {**{name: module.TITLE for name, module in TEXT_FORMATS.items()}, "parquet": parquet.TITLE}
PLACES = {**{name: module.PLACE for name, module in TEXT_FORMATS.items()}, "parquet": parquet.PLACE}

START = 1 << 16  # bytes that tell the format
GZIP, ZIP = b"\x1f\x8b", b"PK\x03\x04"
MOST_UNPACKED = 50 << 30  # bytes
MOST_UNPACKED_TABLE = 8 << 30  # of Parquet, which must lie on the disk
SUSPICIOUS_RATIO, SUSPICIOUS_FROM = 200, 100 << 20  # text packs 3 to 20 times; bytes


def shaped(rows: Iterator[Numbered], shape: str = "") -> Iterator[tuple[int, Row | BadRowError]]:
    """The rows in one shape, or each in the shape that recognises it."""
    read = SHAPES[shape].read if shape else read_row
    for number, row in rows:
        if isinstance(row, BadRowError):
            yield number, row
            continue
        try:
            yield number, read(row)
        except BadRowError as reason:
            yield number, reason
        except KeyError as missing:
            yield number, BadRowError(f"The row has no {missing.args[0]}.")


def read_row(row: Mapping[str, Any]) -> Row:
    """One object as a row of the first shape that recognises it. Raises BadRowError."""
    for shape in SHAPES.values():
        if shape.recognises(row):
            return shape.read(row)
    raise BadRowError("The row has none of the known shapes, such as chosen and rejected, or responses.")


@dataclass(frozen=True)
class Source:
    """An open file: its rows, and the share of it that is read, from 0 to 1."""

    rows: Iterator[Numbered]
    share: Callable[[], float]


@contextmanager
def opened(path: Path, format: str) -> Iterator[Source]:
    """The file's rows. Opening it, or reading them, raises BadFileError where the file cannot be read on."""
    if format == "parquet":
        with _unpacked_copy(path) as plain, closing(parquet.Table(plain)) as table:
            yield Source(_placed(table.rows()), table.share)
        return
    size = max(path.stat().st_size, 1)
    with path.open("rb") as file:
        rows = TEXT_FORMATS[format].read(_Unpacked(file) if _is_packed(file) else file)
        yield Source(_placed(rows), lambda: min(file.tell() / size, 1.0))


def _placed(rows: Iterator[Numbered]) -> Iterator[Numbered]:
    """The same rows; a reason to read no further says after which of them."""
    number = 0
    try:
        for number, row in rows:
            yield number, row
    except BrokenFileError as reason:
        raise BadFileError(f"After row {number:,}: {reason}" if number else str(reason)) from None


@contextmanager
def _unpacked_copy(path: Path) -> Iterator[Path]:
    """The file itself if it is not packed. Parquet is read from its end, so it must lie unpacked as a whole."""
    with path.open("rb") as file:
        if not _is_packed(file):
            yield path
            return
        with NamedTemporaryFile() as plain:
            unpacked = _Unpacked(file, most=MOST_UNPACKED_TABLE)
            plain.writelines(iter(lambda: unpacked.read(START), b""))
            plain.flush()
            yield Path(plain.name)


def _is_packed(file: IO[bytes]) -> bool:
    packed = file.read(len(GZIP)) == GZIP
    file.seek(0)
    return packed


def detect_format(path: Path) -> str:
    """The format by what the file holds, never by its name. Raises BadFileError."""
    with path.open("rb") as file:
        start = file.read(START)
        if start.startswith(GZIP):
            file.seek(0)
            start = _Unpacked(file).read(START)
    if start.startswith(ZIP):
        raise BadFileError("This is a ZIP archive. Unpack it, and send the file that is in it.")
    if parquet.recognises(start):
        return "parquet"
    if not start.strip():
        raise BadFileError("The file is empty.")
    for name, module in TEXT_FORMATS.items():
        if module.recognises(start):
            return name
    raise BadFileError("The file is none of JSON Lines, a JSON list, CSV and Parquet.")


class _Unpacked:
    """A gzip file's content. Raises BadFileError for one that is broken, or unpacks to out of all proportion."""

    def __init__(self, file: IO[bytes], most: int = MOST_UNPACKED) -> None:
        self._packed, self._unpacked, self._count, self._most = file, gzip.GzipFile(fileobj=file), 0, most
        self._reason: BrokenFileError | None = None

    def read(self, size: int, /) -> bytes:
        """Up to `size` bytes. What comes before a break is handed out; only the next call raises."""
        data = b""
        try:
            while len(data) < size and (piece := self._checked(self._unpacked.read1, size - len(data))):
                data += piece
        except BrokenFileError:
            if not data:
                raise
        return data

    def readline(self, limit: int, /) -> bytes:
        return self._checked(self._unpacked.readline, limit)

    def _checked(self, read: Callable[[int], bytes], size: int) -> bytes:
        """What is read. After a failure every call fails for the same reason."""
        if self._reason is None:
            try:
                return self._counted(read(size))
            except (OSError, EOFError, zlib.error) as error:
                self._reason = BrokenFileError(f"The file cannot be unpacked: {error}.")
            except BrokenFileError as reason:
                self._reason = reason
        raise self._reason

    def _counted(self, data: bytes) -> bytes:
        self._count += len(data)
        if self._count > self._most or (
            self._count > SUSPICIOUS_FROM and self._count > SUSPICIOUS_RATIO * self._packed.tell()
        ):
            raise BrokenFileError("The file unpacks to far more than text does; it is read no further.")
        return data
