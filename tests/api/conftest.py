"""A project with people, as the tests of annotation have it, and programs that ask with a token."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import Any

import pytest
from django.http.response import HttpResponseBase
from django.test import Client

from annotation.models import User
from api.models import Scope
from api.tokens import make_token
from tests.annotation.conftest import (  # noqa: F401  fixtures
    ann,
    ben,
    make_comparison,
    make_user,
    manager,
    project,
    signed_in,
    stranger,
)

ROOT = "/api/v1"


@dataclass(frozen=True)
class Program:
    """A program that sends a token with each request; paths begin behind /api/v1."""

    client: Client
    token: str

    def get(self, path: str, **query: Any) -> Any:
        return self.client.get(ROOT + path, query, headers=self.headers)

    def post(self, path: str, body: Any = None, *, key: str = "", **more: Any) -> Any:
        headers = self.headers | ({"Idempotency-Key": key} if key else {})
        return self.client.post(ROOT + path, body or {}, content_type="application/json", headers=headers, **more)

    def patch(self, path: str, body: Any) -> Any:
        return self.client.patch(ROOT + path, body, content_type="application/json", headers=self.headers)

    def upload(self, path: str, content: bytes) -> Any:
        return self.client.post(ROOT + path, content, content_type="application/jsonl", headers=self.headers)

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}


ProgramOf = Callable[..., Program]


@pytest.fixture
def program_of() -> ProgramOf:
    """A program of this person, with these scopes, or all."""
    numbers = count(1)

    def make(user: User, *scopes: Scope, days: int | None = None) -> Program:
        _, text = make_token(user=user, name=f"program {next(numbers)}", scopes=scopes or list(Scope), days=days)
        return Program(Client(), text)

    return make


@pytest.fixture
def admin(db: None) -> User:
    return make_user("root", is_staff=True, is_superuser=True)


def error_of(response: HttpResponseBase) -> tuple[int, str]:
    """(status, code), after a look at the shape that all errors share."""
    content = response.json()  # type: ignore[attr-defined]
    assert set(content) == {"error"}, content
    assert set(content["error"]) == {"code", "message", "todo", "fields"}
    assert content["error"]["todo"]
    return response.status_code, content["error"]["code"]
