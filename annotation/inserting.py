"""New rows by a statement that is put into words once for a table, where `create` does so for every row.

For what is written with every pair and every vote. The values go through their fields, as `create` sends them.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from django.db import connection
from django.db.models import Field, Model


def insert(rows: Sequence[Model]) -> None:
    """Write new rows of one table, and give them their ids. Every field has its value: the database fills in none."""
    if not rows:
        return
    into, row_of_blanks, fields = _words(type(rows[0]))
    values = [field.get_db_prep_save(getattr(row, field.attname), connection) for row in rows for field in fields]
    with connection.cursor() as cursor:
        cursor.execute(f"{into} VALUES {', '.join([row_of_blanks] * len(rows))} RETURNING id", values)
        for row, (pk,) in zip(rows, cursor.fetchall(), strict=True):
            row.pk, row._state.adding, row._state.db = pk, False, connection.alias


@cache
def _words(table: type[Model]) -> tuple[str, str, list[Field[Any, Any]]]:
    """The start of the statement, the blanks of one row, and the fields in that order."""
    fields = [field for field in table._meta.concrete_fields if not field.primary_key]
    columns = ", ".join(f'"{field.column}"' for field in fields)
    return f'INSERT INTO "{table._meta.db_table}" ({columns})', f"({', '.join(['%s'] * len(fields))})", fields
