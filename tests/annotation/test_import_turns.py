"""An import's reader computes while its writer waits for the server, and at no other time."""

from collections.abc import Iterator
from contextlib import suppress
from threading import Event, Thread
from typing import Any

from annotation.importing.landing import _ahead
from annotation.importing.turns import in_turns, when_allowed, while_waiting

SOON = 0.05  # seconds: long enough for a reader that may read


class Reader:
    """A thread that reads three rows as it may."""

    def __init__(self, may_read: Event) -> None:
        self.read: list[int] = []
        self.done = Event()
        self._rows = when_allowed(range(3), may_read)
        Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        self.read.extend(self._rows)
        self.done.set()


def test_rows_are_read_while_the_writer_waits_and_not_while_it_works() -> None:
    may_read = Event()
    with in_turns(may_read):
        reader = Reader(may_read)
        assert not reader.done.wait(SOON)
        with while_waiting():
            assert reader.done.wait(10)
        assert not may_read.is_set()
    assert reader.read == [0, 1, 2]


def test_where_nobody_reads_ahead_waiting_is_just_waiting() -> None:
    with while_waiting():
        pass
    may_read = Event()
    with in_turns(may_read):
        pass
    with while_waiting():  # of an import that is over
        may_read.clear()
    assert not may_read.is_set()


def test_a_writer_that_fails_lets_its_reader_go() -> None:
    """Or the import would hang: the executor waits for its thread at the end."""
    may_read = Event()
    rows = when_allowed(iter(range(100)), may_read)

    def batches() -> Iterator[Any]:
        while True:
            yield [next(rows), next(rows)]

    def work() -> None:
        with suppress(OSError):
            for _ in _ahead(batches(), may_read):
                raise OSError

    writer = Thread(target=work, daemon=True)
    writer.start()
    writer.join(10)
    was_let_go = not writer.is_alive()
    may_read.set()
    assert was_let_go
