"""Python's search for reference cycles, left out where rows are made by the thousand and none of them has a cycle."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def no_search_for_cycles() -> Iterator[None]:
    """No search meanwhile, in any thread of this process. It took a third of the CPU time of an import or an export."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
