"""Several threads do one thing at the same moment: what a test of two workers or two clicks begins with."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from django.db import connection

T = TypeVar("T")


def at_once(work: Callable[[], T], times: int = 2) -> list[T]:
    """What each thread's ``work`` returned; each has a connection of its own. What one raises is raised."""
    barrier = threading.Barrier(times)

    def one() -> T:
        barrier.wait(20)
        try:
            return work()
        finally:
            connection.close()

    with ThreadPoolExecutor(times) as pool:
        return [future.result(20) for future in [pool.submit(one) for _ in range(times)]]
