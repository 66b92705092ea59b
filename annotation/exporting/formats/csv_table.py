"""CSV: one header line, lists and objects as JSON in their cells.

A cell that a spreadsheet would take for a formula gets an apostrophe in front, and one more if it has some; the import
takes one away.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Mapping
from io import StringIO
from typing import Any

import orjson

TITLE = "CSV"
CONTENT_TYPE = "text/csv; charset=utf-8"
FORMULA = re.compile(r"'*[=+\-@\t\r]")


def written(batches: Iterable[list[dict[str, Any]]], columns: Mapping[str, str]) -> Iterator[bytes]:
    """The file, a piece for every batch of rows."""
    text = StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(columns)
    for batch in batches:
        writer.writerows([_cell(row[name]) for name in columns] for row in batch)
        yield text.getvalue().encode()
        text.seek(0)
        text.truncate()
    yield text.getvalue().encode()


def _cell(value: object) -> object:
    if isinstance(value, str):
        return f"'{value}" if FORMULA.match(value) else value
    return orjson.dumps(value).decode() if isinstance(value, list | dict) else value
