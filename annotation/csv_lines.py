"""CSV that a spreadsheet shows and never runs (OWASP, "CSV Injection")."""

from __future__ import annotations

import csv
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from string import ascii_letters, digits

STARTS_A_FORMULA = ("=", "+", "-", "@")
HARMLESS = frozenset(ascii_letters + digits + "[{")  # whatever follows; most texts begin so
BEGINS = 8  # characters looked at: a sign of wide letters is one or two


class _Echo:
    """What `csv.writer` writes is what the caller yields."""

    def write(self, line: str) -> str:
        return line


def csv_lines(rows: Iterable[Sequence[object]]) -> Iterator[str]:
    """Each row as one line of CSV. A text that a spreadsheet would run gets an apostrophe in front."""
    writer = csv.writer(_Echo())
    for row in rows:
        yield writer.writerow([_cell(value) for value in row])


def would_run(text: str) -> bool:
    """Whether a spreadsheet may take a text for a formula, behind spaces, in wide letters, and behind apostrophes too:
    so one apostrophe more tells it is text, and one less gives it back as it was."""
    if text[:1] in HARMLESS:
        return False
    bare = text.lstrip("'")
    begins = unicodedata.normalize("NFKC", bare.lstrip()[:BEGINS]).lstrip()
    return begins.startswith(STARTS_A_FORMULA) or bare[:1] in ("\t", "\r")


def _cell(value: object) -> object:
    """Numbers as they are; texts that begin like a formula as text."""
    return f"'{value}" if isinstance(value, str) and would_run(value) else value
