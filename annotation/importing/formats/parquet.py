"""Parquet, read by a process of its own that writes JSON Lines.

A Parquet file of a few kilobytes can unpack to any size, and what unpacks it is native code. So a child process reads
it with its memory bounded; when the child fails, this process says so and goes on. Its lines are bounded as any file's.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from django.utils.translation import gettext_lazy as _

from annotation.importing.formats import jsonl
from annotation.importing.formats.raw import Numbered
from annotation.importing.rows import BrokenFileError

TITLE = "Parquet"
PLACE = _("Row")
ROOT = Path(__file__).resolve().parents[3]
LAST_WORDS = 2_000  # bytes


def recognises(start: bytes) -> bool:
    """Whether a file that begins so is in this format."""
    return start.startswith(b"PAR1")


class Table:
    """An open Parquet file."""

    def __init__(self, path: Path) -> None:
        self._child = subprocess.Popen(
            [sys.executable, "-m", "annotation.importing.formats.parquet_child", str(path.absolute())],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self._read, self._total = 0, 1

    def rows(self) -> Iterator[Numbered]:
        """(row number from 1, object or reason). Raises BrokenFileError with what the child said last."""
        lines, words = self._child.stdout, self._child.stderr
        assert lines is not None
        assert words is not None
        self._total = int(lines.readline(20) or 1)
        for number, row in jsonl.read(lines):
            self._read = number
            yield number, row
        said = words.read(LAST_WORDS).decode(errors="replace").strip().splitlines()
        status = self._child.wait()
        if status:
            raise BrokenFileError(said[-1][:400] if said and status == 1 else "The Parquet file cannot be read.")

    def share(self) -> float:
        return min(self._read / max(self._total, 1), 1.0)

    def close(self) -> None:
        self._child.kill()
        self._child.wait()
        for pipe in (self._child.stdout, self._child.stderr):
            if pipe is not None:
                pipe.close()
