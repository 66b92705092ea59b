"""Whose token this is, and what it may do."""

from __future__ import annotations

from datetime import datetime

from ninja import Router, Schema

from api.auth import ApiRequest, needs
from api.fields import replies

router = Router(tags=["me"])


class MeOut(Schema):
    username: str
    name: str
    token: str
    scopes: list[str]
    expires_at: datetime | None


@router.get("/me", auth=needs(None), response=replies(MeOut))
def me(request: ApiRequest) -> MeOut:
    """The person and the token that ask."""
    token = request.auth
    return MeOut(
        username=request.user.username,
        name=str(request.user),
        token=token.name,
        scopes=token.scopes,
        expires_at=token.expires_at,
    )
