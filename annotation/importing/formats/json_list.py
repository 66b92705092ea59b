"""JSON: one list of objects. Read piece by piece, so that a file of any size needs the memory of one object."""

from __future__ import annotations

import re
from codecs import getincrementaldecoder
from collections.abc import Iterator

from django.utils.translation import gettext_lazy as _

from annotation.importing.formats.jsonl import BOM, decoder, why_not_json
from annotation.importing.formats.raw import LONGEST_ROW, Bytes, Numbered
from annotation.importing.rows import BadFileError, BadRowError, BrokenFileError

TITLE = _("JSON, one list")
PLACE = _("Row")
PIECE = 1 << 18  # bytes
BETWEEN = re.compile(r"[ \t\r\n]*")


def recognises(start: bytes) -> bool:
    """Whether a file that begins so is in this format."""
    return start.removeprefix(BOM).lstrip()[:1] == b"["


def read(file: Bytes) -> Iterator[Numbered]:
    """(place in the list from 1, object or reason). Raises BadFileError where the list itself cannot be read on."""
    text = _Text(file)
    if text.next_character() != "[":
        raise BadFileError("The file is not a JSON list.")
    text.step()
    number = 0
    if text.next_character() == "]":
        return
    while True:
        number += 1
        row = text.value(number)
        yield number, row if isinstance(row, dict) else BadRowError("The row is not a JSON object.")
        mark = text.next_character()
        if mark == "]":
            return
        if mark != ",":
            raise BadFileError(f"After row {number} the file is not JSON: there is neither a comma nor the list's end.")
        text.step()
        text.next_character()


class _Text:
    """The part of the file that is not used up."""

    def __init__(self, file: Bytes) -> None:
        self._file, self._ended, self._is_utf_8 = file, False, True
        self._decode = getincrementaldecoder("utf-8-sig")().decode
        self._text, self._at = "", 0

    def next_character(self) -> str:
        """The next that is no space; "" at the end of the file."""
        while True:
            self._at = _end_of_space(self._text, self._at)
            if self._at < len(self._text) or not self._read_on():
                return self._text[self._at : self._at + 1]

    def step(self) -> None:
        self._at += 1

    def value(self, number: int) -> object:
        """The value that begins here. Raises BadFileError: where it ends is not known then."""
        while True:
            try:
                value, end = decoder.raw_decode(self._text, self._at)
            except RecursionError:
                raise BadFileError(f"Row {number} is nested too deep; the file is read no further.") from None
            except (BadRowError, ValueError) as error:
                if len(self._text) - self._at > LONGEST_ROW:
                    raise BadFileError(
                        f"Row {number} is not JSON, or over {LONGEST_ROW:,} characters; the file is read no further."
                    ) from None
                if not self._read_on():  # so the text begins with the row
                    reason = why_not_json(error)
                    raise BadFileError(f"Row {number} is not JSON: {reason}. The file is read no further.") from None
            else:
                # A number may go on in the next piece; every other value has its own end.
                if end < len(self._text) or isinstance(value, dict | list | str) or not self._read_on():
                    self._at = end
                    return value

    def _read_on(self) -> bool:
        """Add the next piece. False: there is none."""
        if self._ended:
            return False
        if not self._is_utf_8:
            raise BrokenFileError("The file is not UTF-8; it is read no further.")
        piece = self._file.read(PIECE)
        self._ended = not piece
        self._text = self._text[self._at :] + self._decoded(piece)
        self._at = 0
        return True

    def _decoded(self, piece: bytes) -> str:
        """The piece as text, up to where it is none."""
        try:
            return self._decode(piece, self._ended)
        except UnicodeDecodeError as error:
            self._ended, self._is_utf_8 = False, False
            return error.object[: error.start].decode()


def _end_of_space(text: str, at: int) -> int:
    found = BETWEEN.match(text, at)
    return found.end() if found else at
