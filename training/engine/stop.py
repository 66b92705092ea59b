"""SIGTERM asks a run to stop: the handler only notes it, the method looks between two pieces of work."""

from __future__ import annotations

import signal
from types import FrameType

from training.engine.errors import Stopped

_asked = False


def install() -> None:
    """From now on SIGTERM sets the note instead of ending the process."""
    signal.signal(signal.SIGTERM, _note)


def requested() -> bool:
    """Whether SIGTERM has arrived."""
    return _asked


def leave_if_requested() -> None:
    """Raise Stopped when SIGTERM has arrived."""
    if _asked:
        raise Stopped


def _note(number: int, frame: FrameType | None) -> None:
    global _asked
    _asked = True
