"""Who asks: a request's session and its person. Read with every request, so by hand: in a third of the models' time."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.backends import ModelBackend
from django.contrib.sessions.backends import db
from django.utils.timezone import now

from annotation.asking import ask, ask_for
from annotation.models import User

SESSION = "SELECT session_data FROM django_session WHERE session_key = %(key)s AND expire_date > %(now)s"
PERSON = "SELECT {columns} FROM annotation_user WHERE id = %(person)s"


class SessionStore(db.SessionStore):
    """Django's own sessions in the database, read by hand."""

    def load(self) -> dict[str, Any]:
        """What the session holds. One that ran out or was ended holds nothing, and its key is forgotten."""
        found = ask(SESSION, {"key": self.session_key, "now": now()})
        if not found:
            self._session_key = None
            return {}
        return dict(self.decode(found[0][0]))


class People(ModelBackend):
    """Django's own backend, with a session's person read by hand."""

    def get_user(self, user_id: int) -> User | None:
        """The person, unless they have been switched off."""
        found = ask_for(User, PERSON, {"person": user_id})
        return found[0] if found and self.user_can_authenticate(found[0]) else None
