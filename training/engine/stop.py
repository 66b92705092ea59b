"""SIGTERM asks a run to stop: the handler only notes it, the method looks between two pieces of work."""

from __future__ import annotations

import signal
from types import FrameType

_asked = False


def install() -> None:
    """From now on SIGTERM sets the note instead of ending the process."""
    signal.signal(signal.SIGTERM, note)


def requested() -> bool:
    """Whether SIGTERM has arrived."""
    return _asked


def leave_if_requested() -> None:
    """Raise Stopped when SIGTERM has arrived."""
    from training.engine import processes  # brings torch, which a config that is refused need not wait for

    processes.leave(asked=_asked)


def note(number: int, frame: FrameType | None) -> None:
    """What SIGTERM does."""
    global _asked
    _asked = True
