"""HTTP byte ranges (RFC 9110, section 14): what part of a download was asked for."""

from __future__ import annotations

import re
from dataclasses import dataclass

ONE_RANGE = re.compile(r"\s*bytes\s*=\s*(\d{0,18})\s*-\s*(\d{0,18})\s*", re.IGNORECASE)


class UnsatisfiableError(ValueError):
    """The range starts behind the last byte."""


@dataclass(frozen=True)
class ByteRange:
    """Bytes `start` up to, not including, `stop`."""

    start: int
    stop: int


def parse_range(header: str, size: int) -> ByteRange | None:
    """The one range that the header asks for, cut to `size` bytes.

    None means "send everything": no header, several ranges, or one that is not understood, all of which a server may
    ignore. Raises UnsatisfiableError.
    """
    match = ONE_RANGE.fullmatch(header)
    if not match or match.groups() == ("", ""):
        return None
    first, last = match.groups()
    if not first:  # the last so many bytes
        if int(last) == 0 or size == 0:
            raise UnsatisfiableError(header)
        return ByteRange(max(0, size - int(last)), size)
    start = int(first)
    if last and int(last) < start:
        return None
    if start >= size:
        raise UnsatisfiableError(header)
    return ByteRange(start, min(size, int(last) + 1) if last else size)
