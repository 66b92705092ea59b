"""Foreign keys of copied rows, checked by one query for a key instead of one for a row.

PostgreSQL checks a foreign key row by row, which is a third of the server's work on a pair (docs/decisions.md). An
account that may write rows in the role of replication (a superuser, or one that was granted it) leaves that to us; the
rows of any other account are checked as ever. What rows refer to must stay meanwhile: it is new in this transaction, or
locked by it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from typing import NamedTuple

from django.db import IntegrityError, connection, models

# One row if it is done, none if this account may not.
LEAVE_ROWS_TO_US = (
    "SELECT set_config('session_replication_role', 'replica', true)"
    " WHERE has_parameter_privilege('session_replication_role', 'SET')"
)
TAKE_ROWS_BACK = "SELECT set_config('session_replication_role', 'origin', true)"
# The keys are looked up one by one: without statistics of rows this new the planner may read the whole other table.
BEGIN_CHECKS = (
    "SELECT set_config('session_replication_role', 'origin', true), set_config('enable_hashjoin', 'off', true),"
    " set_config('enable_mergejoin', 'off', true)"
)
END_CHECKS = "SET LOCAL enable_hashjoin TO DEFAULT; SET LOCAL enable_mergejoin TO DEFAULT"
FOREIGN_KEYS = """
SELECT conname, confrelid::regclass::text,
       ARRAY(SELECT attname FROM unnest(conkey) WITH ORDINALITY AS key(number, place)
               JOIN pg_attribute ON attrelid = conrelid AND attnum = number ORDER BY place)::text[],
       ARRAY(SELECT attname FROM unnest(confkey) WITH ORDINALITY AS key(number, place)
               JOIN pg_attribute ON attrelid = confrelid AND attnum = number ORDER BY place)::text[]
  FROM pg_constraint WHERE contype = 'f' AND conrelid = %s::regclass
"""


class ForeignKey(NamedTuple):
    """A constraint: `columns` of its table name `keys` of another one, unless one of them is null."""

    name: str
    other: str
    columns: tuple[str, ...]
    keys: tuple[str, ...]

    def broken_in(self, table: str) -> str:
        """The query whether a row of this table, between two ids, names a row that is not there."""
        quote = connection.ops.quote_name
        named = " AND ".join(f"mine.{quote(column)} IS NOT NULL" for column in self.columns)
        equal = " AND ".join(
            f"other.{quote(key)} = mine.{quote(column)}" for key, column in zip(self.keys, self.columns, strict=True)
        )
        return (
            f"SELECT EXISTS (SELECT 1 FROM {quote(table)} mine WHERE mine.id BETWEEN %s AND %s AND {named}"  # noqa: S608  names from the catalogue
            f" AND NOT EXISTS (SELECT 1 FROM {self.other} other WHERE {equal}))"
        )


@cache
def foreign_keys(table: str) -> list[ForeignKey]:
    """All that the database knows for a table, those that no model declares too."""
    with connection.cursor() as cursor:
        cursor.execute(FOREIGN_KEYS, [table])
        return [
            ForeignKey(name, other, tuple(columns), tuple(keys)) for name, other, columns, keys in cursor.fetchall()
        ]


def check_references(model: type[models.Model], columns: Iterable[str], ids: Sequence[int]) -> None:
    """Raises IntegrityError if a row with an id from the first of these to the last names a row that is not there."""
    table, written = model._meta.db_table, set(columns)
    with connection.cursor() as cursor:
        for key in foreign_keys(table):
            if not written.issuperset(key.columns):
                continue  # null in every row
            cursor.execute(key.broken_in(table), [ids[0], ids[-1]])
            if cursor.fetchone() == (True,):
                raise IntegrityError(f"rows of {table} violate the foreign key {key.name}")
