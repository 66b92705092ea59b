"""CSV that a spreadsheet shows and never runs (OWASP, "CSV Injection")."""

from __future__ import annotations

import csv
import unicodedata
from collections.abc import Iterable, Iterator, Sequence

STARTS_A_FORMULA = ("=", "+", "-", "@")


class _Echo:
    """What `csv.writer` writes is what the caller yields."""

    def write(self, line: str) -> str:
        return line


def csv_lines(rows: Iterable[Sequence[object]]) -> Iterator[str]:
    """Each row as one line of CSV. A text that a spreadsheet would run gets an apostrophe in front."""
    writer = csv.writer(_Echo())
    for row in rows:
        yield writer.writerow([_cell(value) for value in row])


def _cell(value: object) -> object:
    """Numbers as they are; texts that begin like a formula, also behind spaces and in wide letters, as text."""
    if not isinstance(value, str):
        return value
    begins = unicodedata.normalize("NFKC", value).lstrip()
    return f"'{value}" if begins.startswith(STARTS_A_FORMULA) or value[:1] in ("\t", "\r") else value
