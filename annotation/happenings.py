"""What happens in projects, told to rooms that nobody below may import (the API tells it to webhooks).

A room registers a listener when it starts. `tell` runs inside the transaction that makes the thing true: a row that a
listener writes is there exactly if the thing has happened. Listeners do nothing else; what takes time or may fail waits
for the commit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Kind(StrEnum):
    JUDGMENT_MADE = "judgment.made"
    COMPARISON_FINISHED = "comparison.finished"
    IMPORT_FINISHED = "import.finished"
    RUN_FINISHED = "run.finished"
    VERSION_REGISTERED = "version.registered"


@dataclass(frozen=True)
class Happening:
    """`kind` and `subject` name it for good: told twice it is still one. `facts` are ids and words of our own, never a
    text that a person or a model wrote."""

    kind: Kind
    project_id: int
    subject: str
    facts: Mapping[str, int | str] = field(default_factory=dict)


Listener = Callable[[Happening], None]
_listeners: list[Listener] = []


def listen(listener: Listener) -> None:
    """Tell this listener from now on. Twice is once."""
    if listener not in _listeners:
        _listeners.append(listener)


def tell(happening: Happening) -> None:
    """Tell every listener."""
    for listener in _listeners:
        listener(happening)
