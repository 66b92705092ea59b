"""Several threads do one thing at the same moment: what a test of two workers or two clicks begins with."""

import threading
import time
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


def wait_for_somebody_who_waits() -> None:
    """Until another connection waits for a lock."""
    for _ in range(1_000):
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
            if cursor.fetchone() != (0,):
                return
        time.sleep(0.02)
    raise AssertionError("nobody waits")
