"""Whose turn it is: an import's second thread reads ahead while its first one waits for the server.

Python runs one of them at a time. With equal turns the server, which has most to do, would wait for rows that
come late because other rows were being read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Event
from typing import TypeVar

Row = TypeVar("Row")

# Set while rows may be read; of the import that this thread writes.
_may_read: ContextVar[Event | None] = ContextVar("may_read", default=None)


@contextmanager
def in_turns(may_read: Event) -> Iterator[None]:
    """Inside, this thread writes and has the first turn. At the end whoever waits reads on."""
    token = _may_read.set(may_read)
    may_read.clear()
    try:
        yield
    finally:
        may_read.set()
        _may_read.reset(token)


@contextmanager
def while_waiting() -> Iterator[None]:
    """This thread waits inside: rows may be read."""
    may_read = _may_read.get()
    if may_read is None:
        yield
        return
    may_read.set()
    try:
        yield
    finally:
        may_read.clear()


def when_allowed(rows: Iterable[Row], may_read: Event) -> Iterator[Row]:
    """The same rows, each as soon as it may be read."""
    for row in rows:
        if not may_read.is_set():
            may_read.wait()
        yield row
