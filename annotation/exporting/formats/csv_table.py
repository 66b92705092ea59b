"""CSV: one header line, lists and objects as JSON in their cells.

A cell that a spreadsheet would take for a formula gets an apostrophe in front; the import takes it away.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import orjson

from annotation.csv_lines import csv_lines

TITLE = "CSV"
CONTENT_TYPE = "text/csv; charset=utf-8"


def written(batches: Iterable[list[dict[str, Any]]], columns: Mapping[str, str]) -> Iterator[bytes]:
    """The file, a piece for every batch of rows."""
    yield "".join(csv_lines([list(columns)])).encode()
    for batch in batches:
        yield "".join(csv_lines([_cell(row[name]) for name in columns] for row in batch)).encode()


def _cell(value: object) -> object:
    return orjson.dumps(value).decode() if isinstance(value, list | dict) else value
