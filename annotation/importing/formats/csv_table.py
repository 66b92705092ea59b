"""CSV: a header and rows of texts, comma, semicolon or tab between them.

A cell that holds a JSON list or object of what a column may be made of (messages, votes, scores) is read as that. One
apostrophe goes from cells where our export, or another program, has put it before a formula.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator

from django.utils.translation import gettext_lazy as _

from annotation.csv_lines import would_run
from annotation.importing.formats.jsonl import BOM, decode
from annotation.importing.formats.raw import LONGEST_ROW, Bytes, Numbered, RawRow
from annotation.importing.rows import BadFileError, BadRowError, BrokenFileError

TITLE = "CSV"
PLACE = _("Row")
MOST_COLUMNS = 200
# Columns that hold lists or objects, in any of the shapes; and those that hold texts or messages.
STRUCTURES = {
    *("messages", "context", "history", "conversations", "conversation_a", "conversation_b", "metadata"),
    *("responses", "completions", "individual_preference", "info", "summaries"),
}
TEXTS_OR_MESSAGES = {"prompt", "chosen", "rejected", "completion"}
TURNS = {"prompt", "response_a", "response_b"}  # of a table that has all three: lists of texts
MESSAGE_KEYS = ({"role", "content"}, {"from", "value"})


def recognises(start: bytes) -> bool:
    """Whether a file that begins so may be in this format: its first line has two or more names."""
    line = start.removeprefix(BOM).splitlines()[:1]
    return bool(line) and _delimiter(line[0].decode(errors="replace")) is not None


def read(file: Bytes) -> Iterator[Numbered]:
    """(row number from 1, not counting the header; cells by column name, or reason). Raises BadFileError."""
    csv.field_size_limit(LONGEST_ROW)
    lines = _lines(file)
    first = next(lines, "")
    delimiter = _delimiter(first)
    if delimiter is None:
        raise BadFileError("The first line does not name two or more columns.")
    names = next(csv.reader([first], delimiter=delimiter))
    if len(names) > MOST_COLUMNS or len(set(names)) != len(names):
        raise BadFileError(f"The first line names more than {MOST_COLUMNS} columns, or one of them twice.")
    rows = csv.reader(lines, delimiter=delimiter)
    number = 0
    while True:
        number += 1
        try:
            cells = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            yield number, BadRowError(f"The row is not CSV: {error}.")
            continue
        if cells:
            yield number, _named(names, cells)


def _named(names: list[str], cells: list[str]) -> RawRow | BadRowError:
    if len(cells) != len(names):
        return BadRowError(f"The row has {len(cells)} cells; the first line names {len(names)} columns.")
    if sum(map(len, cells)) > LONGEST_ROW:
        return BadRowError(f"The row is longer than {LONGEST_ROW:,} characters.")
    try:
        turns = set(names) >= TURNS
        return {name: _cell(name, cell, turns=turns) for name, cell in zip(names, cells, strict=True) if cell}
    except RecursionError:
        return BadRowError("A cell is nested too deep.")


def _cell(name: str, cell: str, *, turns: bool) -> object:
    if cell[0] == "'" and would_run(cell):
        return cell[1:]
    if cell[0] not in "[{" or name not in STRUCTURES | TEXTS_OR_MESSAGES | TURNS:
        return cell
    try:
        value = decode(cell)
    except (BadRowError, ValueError):
        return cell
    if name in STRUCTURES or (turns and name in TURNS):
        return value
    return value if name in TEXTS_OR_MESSAGES and _are_messages(value) else cell


def _are_messages(value: object) -> bool:
    """Messages, and not a text that only looks like JSON, such as `[1]`."""
    messages = value if isinstance(value, list) else [value]
    return bool(messages) and all(
        isinstance(one, dict) and any(one.keys() >= keys for keys in MESSAGE_KEYS) for one in messages
    )


def _lines(file: Bytes) -> Iterator[str]:
    line = file.readline(LONGEST_ROW + 1).removeprefix(BOM)
    while line:
        if len(line) > LONGEST_ROW:
            raise BrokenFileError(f"A line is longer than {LONGEST_ROW:,} bytes; the file is read no further.")
        try:
            yield line.decode()
        except UnicodeDecodeError:
            raise BrokenFileError(
                "The file is not UTF-8. Save it as UTF-8; a spreadsheet calls that CSV UTF-8."
            ) from None
        line = file.readline(LONGEST_ROW + 1)


def _delimiter(header: str) -> str | None:
    """The mark that stands most often in the header, outside of quotes."""
    bare = re.sub(r'"[^"]*"', "", header)
    best = max(",;\t", key=bare.count)
    return best if bare.count(best) else None
