"""A version's files as one tar archive whose every byte can be computed, so that none of it is stored twice.

An uncompressed tar is headers, file contents and zeros in a known order. With the file sizes, any byte range of it is
read straight from the stored files, and memory stays flat whatever the size.
"""

from __future__ import annotations

import hashlib
import re
import tarfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import IO, Any, Self

PIECE = 256 * 1024  # bytes read at a time
SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")

OpenFile = Callable[[str], IO[bytes]]


class UnsafeNameError(ValueError):
    """A file path that must not stand in an archive: absolute, with `..`, hidden, or with odd characters."""


@dataclass(frozen=True)
class Member:
    """One file: its relative path with forward slashes, its size in bytes and its hex SHA-256 ("" if not yet known)."""

    path: str
    bytes: int
    sha256: str = ""

    @classmethod
    def from_row(cls, row: dict[str, Any]) -> Self:
        """From one entry of `Artifact.files` or of an engine's manifest."""
        return cls(path=str(row["path"]), bytes=int(row["bytes"]), sha256=str(row["sha256"]))

    def as_row(self) -> dict[str, Any]:
        return {"path": self.path, "bytes": self.bytes, "sha256": self.sha256}


@dataclass(frozen=True)
class _Part:
    """A stretch of the archive: literal bytes, or the content of the file `path`."""

    start: int
    size: int
    literal: bytes = b""
    path: str = ""


class Archive:
    """The tar of `members` below the folder `top`. The same arguments always give the same bytes."""

    def __init__(self, *, top: str, members: Iterable[Member], mtime: int) -> None:
        """`mtime` is in Unix seconds. Raises UnsafeNameError."""
        check_path(top)
        self.members = sorted(members, key=lambda member: member.path)
        self._parts: list[_Part] = []
        self.size = 0
        for member in self.members:
            check_path(member.path)
            self._add(literal=_header(f"{top}/{member.path}", member.bytes, mtime))
            self._add(path=member.path, size=member.bytes)
            self._add(literal=bytes(-member.bytes % tarfile.BLOCKSIZE))
        self._add(literal=bytes(2 * tarfile.BLOCKSIZE))  # the end mark of a tar

    def _add(self, *, literal: bytes = b"", path: str = "", size: int = 0) -> None:
        size = size or len(literal)
        if size:
            self._parts.append(_Part(start=self.size, size=size, literal=literal, path=path))
            self.size += size

    def read(self, open_file: OpenFile, *, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """The bytes from `start` up to, not including, `stop`, in pieces. OSError if a stored file ends early."""
        stop = self.size if stop is None else stop
        for part in self._parts:
            first, last = max(start, part.start) - part.start, min(stop, part.start + part.size) - part.start
            if first >= last:
                continue
            if part.path:
                yield from _read_file(open_file, part.path, first, last)
            else:
                yield part.literal[first:last]

    def sha256(self, open_file: OpenFile) -> str:
        """The hex digest of the whole archive."""
        digest = hashlib.sha256()
        for piece in self.read(open_file):
            digest.update(piece)
        return digest.hexdigest()


def check_path(path: str) -> None:
    """Raises UnsafeNameError unless every part of the relative path is a plain visible name."""
    if not all(SAFE_NAME.fullmatch(part) for part in path.split("/")):
        raise UnsafeNameError(f"{path!r} is not a file name that can be stored")


def _header(path: str, size: int, mtime: int) -> bytes:
    info = tarfile.TarInfo(path)
    info.size, info.mtime, info.mode = size, mtime, 0o644
    return info.tobuf(tarfile.PAX_FORMAT)


def _read_file(open_file: OpenFile, path: str, first: int, last: int) -> Iterator[bytes]:
    with open_file(path) as file:
        file.seek(first)
        left = last - first
        while left:
            piece = file.read(min(PIECE, left))
            if not piece:
                raise OSError(f"{path} is shorter than registered")
            left -= len(piece)
            yield piece
