"""events.jsonl: what a run says about itself, one JSON object a line, append-only. Standard library only."""

from __future__ import annotations

import json
import math
import os
import time
from pathlib import Path
from typing import Any

# A resumed run repeats the steps after its checkpoint, with the same outcome: what was told once is not told again.
ONCE_PER_STEP = frozenset({"step", "eval", "sample", "checkpoint"})
ONCE_PER_MESSAGE = frozenset({"warning"})


class EventWriter:
    """Appends events, flushed line by line. An existing file is gone on with, after a torn last line is cut off."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._told: set[tuple[str, int | str]] = set()
        self._seq = 0
        self.newest = (0, "")  # number and kind of the newest event
        self._cut_torn_line()
        if self.path.exists():
            for event in read_events(self.path, 0)[0]:
                self._seq = max(self._seq, int(event.get("seq", 0)))
                self.newest = (self._seq, str(event.get("kind")))
                self._remember(self.newest[1], event)
        self._file = open(self.path, "a", encoding="utf-8")  # noqa: SIM115 - open as long as the run

    def write(self, kind: str, **data: Any) -> bool:
        """Append one event. False: this step's step, eval, sample or checkpoint, or this warning, already stands there.

        Numbers that are not finite become null, as JSON knows none.
        """
        if self._key(kind, data) in self._told:
            return False
        self._remember(kind, data)
        self._seq += 1
        event = {"seq": self._seq, "at": round(time.time(), 3), "kind": kind, **data}
        self._file.write(json.dumps(_finite(event), ensure_ascii=False) + "\n")
        self._file.flush()
        self.newest = (self._seq, kind)
        return True

    def has_told(self, kind: str) -> bool:
        """Whether an event of this kind, one that is told once only, stands there: also of an earlier attempt."""
        return any(told == kind for told, _ in self._told)

    def close(self) -> None:
        self._file.close()

    def _remember(self, kind: str, data: dict[str, Any]) -> None:
        key = self._key(kind, data)
        if key is not None:
            self._told.add(key)

    @staticmethod
    def _key(kind: str, data: dict[str, Any]) -> tuple[str, int | str] | None:
        """By what an event is known if it is told once only, else None."""
        name = "step" if kind in ONCE_PER_STEP else "message" if kind in ONCE_PER_MESSAGE else ""
        return (kind, data[name]) if isinstance(data.get(name), int | str) else None

    def _cut_torn_line(self) -> None:
        if not self.path.exists():
            return
        with open(self.path, "rb+") as file:
            content = file.read()
            file.truncate(content.rfind(b"\n") + 1)


class NoEvents(EventWriter):
    """What the processes write to that leave telling to the main one."""

    def __init__(self) -> None:
        self._told = set()
        self.newest = (0, "")

    def write(self, kind: str, **data: Any) -> bool:
        return False

    def close(self) -> None:
        return None


def read_events(path: str | os.PathLike[str], offset: int) -> tuple[list[dict[str, Any]], int]:
    """Events from a byte offset on, and the offset to go on from. A torn last line is left for the next read.

    A missing file has no events. A whole line that is not a JSON object is skipped.
    """
    try:
        with open(path, "rb") as file:
            file.seek(offset)
            content = file.read()
    except FileNotFoundError:
        return [], offset
    whole = content[: content.rfind(b"\n") + 1]
    events = []
    for line in whole.splitlines():
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict):
            events.append(event)
    return events, offset + len(whole)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
