"""Databases of their own for the load, beside the configured one on the same PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.core.management import call_command
from django.db import connection


@contextmanager
def working_on(name: str) -> Iterator[None]:
    """This process, and the servers it starts meanwhile, work on that database."""
    usual = connection.settings_dict["NAME"]
    connection.close()
    connection.settings_dict["NAME"] = name
    try:
        yield
    finally:
        connection.close()
        connection.settings_dict["NAME"] = usual


def exists(name: str) -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name])
        return cursor.fetchone() is not None


def create(name: str) -> None:
    """A fresh one with our tables, in place of what has the name."""
    drop(name)
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {name}")
    migrate(name)


def migrate(name: str) -> None:
    """Give it the tables of today."""
    with working_on(name):
        call_command("migrate", interactive=False, verbosity=0)


def drop(name: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


def checkpoint() -> None:
    """Write everything to disk now, so that what was seeded is not written while times are taken."""
    with connection.cursor() as cursor:
        cursor.execute("CHECKPOINT")
