"""Making tokens and finding them again."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from datetime import timedelta

from django.db import transaction
from django.utils.timezone import now

from annotation import audit
from annotation.models import Action, User
from api.models import Scope, Token

PREFIX = "pfl_"  # so that people, and scanners for leaked secrets, know one when they see one
HINT = len(PREFIX) + 6
MOST_IN_FORCE = 50


class TooManyTokensError(Exception):
    """The person has as many tokens in force as anybody may have."""


class NameInUseError(Exception):
    """The person has a token in force of this name: which one to revoke could not be told."""


@transaction.atomic
def make_token(*, user: User, name: str, scopes: Sequence[Scope], days: int | None) -> tuple[Token, str]:
    """A new token and its text, which nobody can find out again. `days` until it expires; None: never.

    Raises NameInUseError, which also keeps a page sent twice from making two, and TooManyTokensError.
    """
    User.objects.select_for_update(no_key=True).get(pk=user.pk)  # one at a time
    in_force = Token.objects.in_force().filter(user=user)
    if in_force.filter(name=name).exists():
        raise NameInUseError
    if in_force.count() >= MOST_IN_FORCE:
        raise TooManyTokensError
    text = PREFIX + secrets.token_urlsafe(32)
    token = Token.objects.create(
        user=user,
        name=name,
        scopes=[str(scope) for scope in scopes],
        text_sha256=_sha256(text),
        hint=text[:HINT],
        expires_at=None if days is None else now() + timedelta(days=days),
    )
    audit.record(Action.TOKEN, actor=user, what=f"new token {token.name}")
    return token, text


def token_behind(text: str) -> Token | None:
    """The token in force with this text, and its person."""
    return Token.objects.in_force().select_related("user").filter(text_sha256=_sha256(text)).first()


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
