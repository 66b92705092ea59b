"""Questions of every pair and every vote. PostgreSQL plans them once a connection: to plan takes longer than to answer.

A connection prepares each when it first asks it, and takes one plan for all values: left to itself, PostgreSQL plans
some of them anew each time, which takes longer than they do. So a pooler in front of the database must keep a
connection for a session, not for a transaction.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from hashlib import sha256
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from django.db import connection
from django.db.models import Model

Row = TypeVar("Row", bound=Model)

BLANK = re.compile(r"%\((\w+)\)s")
ONE_PLAN = "SET plan_cache_mode = force_generic_plan"

# The statements that a connection has prepared; they end with it.
_prepared: WeakKeyDictionary[Any, set[str]] = WeakKeyDictionary()


def ask(question: str, values: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """The rows of a statement with blanks like `%(person)s`. Its text must not differ from person to person."""
    prepare, execute = _words(question)
    with connection.cursor() as cursor:  # connects, where that is still to be done
        prepared = _prepared.setdefault(connection.connection, set())
        if question not in prepared:
            cursor.execute(prepare)
            prepared.add(question)
        cursor.execute(execute, values)
        rows: list[tuple[Any, ...]] = cursor.fetchall()
    return rows


def ask_for(table: type[Row], question: str, values: Mapping[str, Any]) -> list[Row]:
    """The rows of a statement that selects the `{columns}` of this table.

    They are named, all of them: a statement that is prepared breaks when `*` comes to mean more than it did.
    """
    columns, names = _columns_of(table)
    rows = ask(question.replace("{columns}", columns), values)
    return [table.from_db(connection.alias, names, row) for row in rows]


@cache
def _columns_of(table: type[Model]) -> tuple[str, list[str]]:
    """The columns as the statement names them, and the names of what they hold."""
    fields = table._meta.concrete_fields
    return ", ".join(f'"{field.column}"' for field in fields), [field.attname for field in fields]


@cache
def _words(question: str) -> tuple[str, str]:
    """How a statement is prepared, and how it is asked after that."""
    blanks = list(dict.fromkeys(BLANK.findall(question)))
    name = f"asked_{sha256(question.encode()).hexdigest()[:20]}"
    numbered = question % {blank: f"${number}" for number, blank in enumerate(blanks, start=1)}
    given = ", ".join(f"%({blank})s" for blank in blanks)
    return f"PREPARE {name} AS {numbered}; {ONE_PLAN}", f"EXECUTE {name} ({given})" if blanks else f"EXECUTE {name}"
