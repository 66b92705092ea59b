"""New rows by a statement that is put into words once for a table, where `create` does so for every row.

For what is written with every pair and every vote. The values go through their fields, as `create` sends them.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from django.db import connection
from django.db.models import Field, Model

from annotation.asking import ask


def insert(rows: Sequence[Model]) -> None:
    """Write new rows of one table, and give them their ids. Every field has its value: the database fills in none."""
    if not rows:
        return
    statement, fields = _words(type(rows[0]), len(rows))
    values = [field.get_db_prep_save(getattr(row, field.attname), connection) for row in rows for field in fields]
    ids = ask(statement, {f"v{number}": value for number, value in enumerate(values)})
    for row, (pk,) in zip(rows, ids, strict=True):
        row.pk, row._state.adding, row._state.db = pk, False, connection.alias


@cache
def _words(table: type[Model], rows: int) -> tuple[str, list[Field[Any, Any]]]:
    """The statement for so many rows, with blanks from v0 on, and the fields of a row in that order."""
    fields = [field for field in table._meta.concrete_fields if not field.primary_key]
    columns = ", ".join(f'"{field.column}"' for field in fields)
    blanks = iter(range(rows * len(fields)))
    each = ", ".join("(" + ", ".join(f"%(v{next(blanks)})s" for _ in fields) + ")" for _ in range(rows))
    into = f'INSERT INTO "{table._meta.db_table}" ({columns})'
    return f"{into} VALUES {each} RETURNING id", fields
