"""Django's PostgreSQL backend, which sees to it that the embedded server runs before it connects.

Django finds it as the database engine "config.embedded"; the file's name is Django's. So every command, test, web
server and worker gets the services when it first needs them, and one that needs none (`help`, `check`) starts none.
"""

from typing import Any

from django.conf import settings
from django.db.backends.postgresql.base import DatabaseWrapper as PostgresWrapper


class DatabaseWrapper(PostgresWrapper):
    """The stock wrapper with one step before a connection."""

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        """Start what does not run, then connect."""
        settings.SERVICES.ensure_running()
        return super().get_new_connection(conn_params)
