"""The formats a file is written in. To add one, copy a sibling and name it here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol

from annotation.exporting.formats import csv_table, jsonl, parquet


class File(Protocol):
    """What each file of `formats` holds. `columns` gives the kind of every column by its name."""

    TITLE: str
    CONTENT_TYPE: str

    def written(self, batches: Iterable[list[dict[str, Any]]], columns: Mapping[str, str], /) -> Iterator[bytes]: ...


FILES: dict[str, File] = {"jsonl": jsonl, "csv": csv_table, "parquet": parquet}
