"""JSON Lines, one line at a time: numbered rows, or the reason why a line is none."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from annotation.importing import preference, responses
from annotation.importing.rows import BadRowError, Row

LONGEST_LINE = 2_000_000  # bytes
# To add a shape, copy a sibling file and add its two functions here.
SHAPES: tuple[tuple[Callable[[dict[str, Any]], bool], Callable[[dict[str, Any]], Row]], ...] = (
    (preference.recognises, preference.read),
    (responses.recognises, responses.read),
)


class Lines(Protocol):
    """An open file, in bytes."""

    def readline(self, limit: int, /) -> bytes: ...


def read_rows(file: Lines) -> Iterator[tuple[int, Row | BadRowError]]:
    """(line number from 1, row or reason) for every line that is not blank. Holds one line in memory."""
    for number, line in enumerate(_lines(file), start=1):
        if isinstance(line, bytes) and not line.strip(b" \t\r\n\xef\xbb\xbf"):
            continue
        try:
            yield number, read_row(line)
        except BadRowError as reason:
            yield number, reason


def read_row(line: bytes | BadRowError) -> Row:
    """One line as a row of the first shape that recognises it. Raises BadRowError."""
    if isinstance(line, BadRowError):
        raise line
    row = _read_object(line)
    for recognises, read in SHAPES:
        if recognises(row):
            return read(row)
    raise BadRowError("The row has neither chosen and rejected nor responses.")


def _lines(file: Lines) -> Iterator[bytes | BadRowError]:
    while line := file.readline(LONGEST_LINE + 1):
        if len(line) <= LONGEST_LINE:
            yield line
            continue
        while line and not line.endswith(b"\n"):
            line = file.readline(LONGEST_LINE)
        yield BadRowError(f"The line is longer than {LONGEST_LINE:,} bytes.")


def _read_object(line: bytes) -> dict[str, Any]:
    try:
        row = _decode(line.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise BadRowError(f"The line is not UTF-8 (byte {error.start + 1}).") from None
    except RecursionError:
        raise BadRowError("The line is nested too deep.") from None
    except BadRowError:
        raise
    except ValueError as error:
        raise BadRowError(f"The line is not JSON: {error}.") from None
    if not isinstance(row, dict):
        raise BadRowError(
            "The line is not a JSON object. JSON Lines has one object a line, without a list around them."
        )
    return row


def _refuse_constant(name: str) -> None:
    raise BadRowError(f"The line contains {name}, which is not JSON.")


_decode = json.JSONDecoder(parse_constant=_refuse_constant).decode
