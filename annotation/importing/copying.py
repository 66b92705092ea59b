"""Rows into tables by COPY, which takes a fifth of the time of INSERT: ids drawn beforehand, values as COPY's text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from io import BytesIO
from itertools import chain, islice

from django.db import connection, models

from annotation.importing.references import (
    BEGIN_CHECKS,
    END_CHECKS,
    LEAVE_ROWS_TO_US,
    TAKE_ROWS_BACK,
    check_references,
)
from annotation.importing.turns import while_waiting

LINES_AT_A_TIME = 100  # a fifth of what a socket holds, so that the server has the next while we write more
NULL = r"\N"


def new_ids(model: type[models.Model], count: int) -> Sequence[int]:
    """This many ids that nobody else will get, in rising order. The rows that will have them need not be asked for."""
    if not count:
        return []
    with connection.cursor() as cursor:
        # OFFSET 0 keeps the sequence's name from being looked up once for every id. Where nobody else draws meanwhile
        # the ids follow each other, and need not be sent one by one.
        cursor.execute(
            "SELECT min(id), CASE WHEN max(id) - min(id) >= count(*) THEN array_agg(id) END FROM"
            " (SELECT nextval(sequence) AS id FROM generate_series(1, %s),"
            " (SELECT pg_get_serial_sequence(%s, 'id')::regclass AS sequence OFFSET 0) AS found) AS drawn",
            [count, model._meta.db_table],
        )
        first, apart = cursor.fetchone()
    return apart or range(first, first + count)


def copy_rows(model: type[models.Model], columns: Sequence[str], ids: Sequence[int], lines: Iterable[str]) -> None:
    """Add rows that were written with `field` and tabs between them, with ids from the first of `ids` to the last.

    Raises DataError and IntegrityError, as INSERT. The server takes the first rows while the later ones are written.
    """
    lines = iter(lines)
    first = next(lines, None)
    if first is None:
        return
    with connection.cursor() as cursor, connection.wrap_database_errors:
        cursor.execute(LEAVE_ROWS_TO_US)
        are_ours = cursor.fetchone() is not None
        with while_waiting():
            cursor.copy_expert(_into(model, columns), _Written(chain([first], lines)))
        if are_ours:
            cursor.execute(BEGIN_CHECKS)
            check_references(model, columns, ids)
            cursor.execute(END_CHECKS)


def copy_ready(tables: Iterable[tuple[type[models.Model], Sequence[str], bytes]]) -> None:
    """Add rows that wait as COPY's bytes. The caller vouches for what they refer to: rows that come with this call, or
    that its transaction has locked. Raises DataError and IntegrityError, as INSERT.

    A table's rows are handed over in one piece, so that the server waits for no turn of this thread.
    """
    with connection.cursor() as cursor, connection.wrap_database_errors:
        cursor.execute(LEAVE_ROWS_TO_US)
        are_ours = cursor.fetchone() is not None
        for model, columns, data in tables:
            with while_waiting():
                cursor.copy_expert(_into(model, columns), BytesIO(data), size=max(len(data), 1))
        if are_ours:
            cursor.execute(TAKE_ROWS_BACK)


def _into(model: type[models.Model], columns: Sequence[str]) -> str:
    quote = connection.ops.quote_name
    return f"COPY {quote(model._meta.db_table)} ({', '.join(map(quote, columns))}) FROM STDIN"


class _Written:
    """Lines as the file that psycopg2 reads from. It takes pieces longer than it asks for."""

    def __init__(self, lines: Iterator[str]) -> None:
        self._lines = lines

    def read(self, size: int = -1, /) -> bytes:
        piece = "\n".join(islice(self._lines, LINES_AT_A_TIME))
        return f"{piece}\n".encode() if piece else b""


def field(text: str) -> str:
    """A text as COPY reads it: backslash, tab and line ends escaped."""
    if "\\" in text:
        text = text.replace("\\", "\\\\")
    if "\n" in text:
        text = text.replace("\n", "\\n")
    if "\t" in text:
        text = text.replace("\t", "\\t")
    if "\r" in text:
        text = text.replace("\r", "\\r")
    return text


def array(elements: Iterable[object]) -> str:
    """Ids or hashes as an array. As a parameter too: a list would be sent element by element, each an expression."""
    return f"{{{','.join(map(str, elements))}}}"
