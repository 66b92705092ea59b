"""A test's rows go when it ends, whatever the stack is still doing with them."""

import threading
import time
from collections.abc import Callable

import psycopg2
import pytest
from django.core.management import call_command
from django.core.management.color import no_style
from django.core.management.sql import sql_flush
from django.db import connection

from tests.e2e.conftest import win_deadlocks
from tests.e2e.people import make_project

WAITING = "SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND NOT granted"


@pytest.mark.django_db(transaction=True)
def test_a_late_request_does_not_keep_the_database_from_being_emptied() -> None:
    project = make_project()
    first, *_, last = _tables_in_order()
    holds, outcome = threading.Event(), []

    def work_late() -> None:
        late = psycopg2.connect(**connection.get_connection_params() | {"cursor_factory": None})
        with late, late.cursor() as cursor:
            cursor.execute(f"LOCK TABLE {last} IN ROW EXCLUSIVE MODE")
            holds.set()
            _until(lambda: _one(cursor, WAITING) == 1)
            try:
                cursor.execute(f"LOCK TABLE {first} IN ROW EXCLUSIVE MODE")
            except psycopg2.errors.DeadlockDetected as error:
                outcome.append(error)
                late.rollback()
        late.close()

    request = threading.Thread(target=work_late)
    request.start()
    assert holds.wait(10)
    win_deadlocks()
    call_command("flush", interactive=False, verbosity=0)
    request.join(10)
    assert len(outcome) == 1
    assert not type(project).objects.exists()


def _tables_in_order() -> list[str]:
    (truncate, *_) = sql_flush(no_style(), connection, reset_sequences=False, allow_cascade=False)
    return truncate.removeprefix("TRUNCATE ").rstrip(";").split(", ")


def _one(cursor: psycopg2.extensions.cursor, query: str) -> object:
    cursor.execute(query)
    return cursor.fetchone()[0]


def _until(come: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not come():
        assert time.monotonic() < deadline
        time.sleep(0.01)
