"""What the load was measured on."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
from typing import Any

import psutil
from django.db import connection

from bench.machine import commit, cpu_name

PACKAGES = ("django", "gunicorn", "psycopg2-binary")
SETTINGS = ("fsync", "synchronous_commit", "shared_buffers")


def describe(*, processes: int) -> dict[str, Any]:
    """The machine, the versions, how the database keeps what it has confirmed, the commit and the time."""
    return {
        "machine": {
            "processor": cpu_name(),
            "cores": os.cpu_count(),
            "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        },
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES}
        | {"PostgreSQL": _ask("server_version")},
        "database": {name: _ask(name) for name in SETTINGS},
        "processes": processes,
        "commit": commit(),
        "at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def _ask(setting: str) -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting(%s)", [setting])
        [(value,)] = cursor.fetchall()
    return str(value)
