"""Who asks, and whether their token reaches this far. What they may do, `annotation.access` says, as for pages."""

from __future__ import annotations

from typing import cast

from django.http import HttpRequest
from ninja.security import HttpBearer

from annotation.access import SignedInRequest
from api.errors import Problem, unauthorized
from api.limits import spend
from api.models import Scope, Token
from api.tokens import token_behind


class ApiRequest(SignedInRequest):
    """A request that came with a token in force."""

    auth: Token
    rate_headers: dict[str, str]


class BearerToken(HttpBearer):
    """`Authorization: Bearer pfl_…`, of a token with `scope`; None asks for no scope."""

    def __init__(self, scope: Scope | None) -> None:
        super().__init__()
        self.scope = scope

    def authenticate(self, request: HttpRequest, token: str) -> Token:
        """The token. Raises Problem 401, 403 or 429. Every request of a person counts against their rate limit."""
        found = token_behind(token)
        if found is None:
            raise unauthorized("The token is not known, or it was revoked, or its day is past.")
        asked = cast(ApiRequest, request)
        asked.user = found.user
        asked.rate_headers = spend(found.user_id)
        if self.scope is not None and self.scope not in found.scopes:
            raise Problem(
                403,
                "scope_missing",
                f"The token lacks the scope {self.scope}.",
                "Make a token with this scope on the page Your account, API tokens.",
            )
        Token.objects.seen(found)
        return found


def needs(scope: Scope | None) -> BearerToken:
    return BearerToken(scope)
