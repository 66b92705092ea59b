"""CSV that a spreadsheet shows and never runs (OWASP, "CSV Injection")."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from string import ascii_letters, digits

STARTS_A_FORMULA = ("=", "+", "-", "@")
HARMLESS = frozenset(ascii_letters + digits + "[{")  # whatever follows; most texts begin so
EMPTY = '""'  # the line of one empty cell; readers skip a line with nothing in it
BEGINS = 8  # characters looked at: a sign of wide letters is one or two


def csv_lines(rows: Iterable[Sequence[object]]) -> Iterator[str]:
    """Each row as one line of CSV (RFC 4180). A text that a spreadsheet would run gets an apostrophe in front.

    The library's writer looks at every character on its own, twice: for a pair's texts five times the time.
    """
    for row in rows:
        line = ",".join([_cell(value) for value in row])
        yield f"{line or EMPTY}\r\n"


def would_run(text: str) -> bool:
    """Whether a spreadsheet may take a text for a formula, behind spaces, in wide letters, and behind apostrophes too:
    so one apostrophe more tells it is text, and one less gives it back as it was."""
    if text[:1] in HARMLESS:
        return False
    bare = text.lstrip("'")
    begins = unicodedata.normalize("NFKC", bare.lstrip()[:BEGINS]).lstrip()
    return begins.startswith(STARTS_A_FORMULA) or bare[:1] in ("\t", "\r")


def _cell(value: object) -> str:
    """Numbers as they are; texts that begin like a formula as text; quotes where a reader needs them."""
    if not isinstance(value, str):
        return "" if value is None else str(value)
    text = f"'{value}" if would_run(value) else value
    if '"' in text:
        return '"' + text.replace('"', '""') + '"'
    return f'"{text}"' if "," in text or "\n" in text or "\r" in text else text
