"""JSON Lines: one object a line. Holds one line in memory."""

from __future__ import annotations

import json
from collections.abc import Iterator
from json import JSONDecodeError
from typing import Any

import orjson
from django.utils.translation import gettext_lazy as _

from annotation.importing.formats.raw import LONGEST_ROW, Bytes, Numbered, RawRow
from annotation.importing.rows import BadRowError

TITLE = "JSON Lines"
PLACE = _("Line")
BOM = b"\xef\xbb\xbf"


def recognises(start: bytes) -> bool:
    """Whether a file that begins so is in this format."""
    return start.removeprefix(BOM).lstrip()[:1] == b"{"


def read(file: Bytes) -> Iterator[Numbered]:
    """(line number from 1, object or reason) for every line that is not blank."""
    for number, line in enumerate(_lines(file), start=1):
        if isinstance(line, BadRowError):
            yield number, line
        elif line.strip(b" \t\r\n"):
            yield number, _object_or_reason(line)


def _lines(file: Bytes) -> Iterator[bytes | BadRowError]:
    line = file.readline(LONGEST_ROW + 1).removeprefix(BOM)
    while line:
        if len(line) <= LONGEST_ROW:
            yield line
        else:
            while line and not line.endswith(b"\n"):
                line = file.readline(LONGEST_ROW)
            yield BadRowError(f"The line is longer than {LONGEST_ROW:,} bytes.")
        line = file.readline(LONGEST_ROW + 1)


def _object_or_reason(line: bytes) -> RawRow | BadRowError:
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError:
        # Half characters are refused here, and get past the standard library: the row's reader says in which text.
        row = _value_or_reason(line)
    if isinstance(row, dict | BadRowError):
        return row
    return BadRowError("The line is not a JSON object. JSON Lines has one object a line, without a list around them.")


def _value_or_reason(line: bytes) -> Any:
    """The standard library's reading, which takes three times as long and says more."""
    try:
        return decode(line.decode().rstrip(" \t\r\n"))
    except UnicodeDecodeError as error:
        return BadRowError(f"The line is not UTF-8 (byte {error.start + 1}).")
    except RecursionError:
        return BadRowError("The line is nested too deep.")
    except BadRowError as error:
        return error
    except ValueError as error:
        return BadRowError(f"The line is not JSON: {why_not_json(error)}.")


def why_not_json(error: ValueError) -> str:
    """What the standard library has against a text, and at which of its characters."""
    return f"{error.msg} (character {error.pos + 1})" if isinstance(error, JSONDecodeError) else str(error)


def _refuse_constant(name: str) -> Any:
    raise BadRowError(f"The line contains {name}, which is not JSON.")


decoder = json.JSONDecoder(parse_constant=_refuse_constant)
decode = decoder.decode
