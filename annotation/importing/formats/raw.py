"""What every file format is read into: objects with the number of their row, or the reason why a row is none."""

from __future__ import annotations

from typing import Any, Protocol

from annotation.importing.rows import BadRowError

LONGEST_ROW = 2_000_000  # bytes

RawRow = dict[str, Any]
Numbered = tuple[int, RawRow | BadRowError]


class Bytes(Protocol):
    """An open file, in bytes."""

    def readline(self, limit: int, /) -> bytes: ...

    def read(self, size: int, /) -> bytes: ...
