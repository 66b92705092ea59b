"""Asking the site as one of the people of the world, and what its answer means."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.cookies import SimpleCookie
from typing import Any

from django.db import connection, transaction
from django.http.response import HttpResponseBase
from django.test import Client

from tests.safety.rules import Rule, Who, rule_of
from tests.safety.url_table import Address, every_address
from tests.safety.world import World

RULED = [(address, rule) for address in every_address() if (rule := rule_of(address))]
SIGN_IN_PAGES = ("/sign-in/?", "/admin/login/?")
NOT_SIGNED_OUT = ("/admin/logout/", "/admin/")  # the admin sends whoever is not its own from here to there
API = "/api/"
WRITES = ("INSERT", "UPDATE", "DELETE")

LET_IN, SIGN_IN, DENIED, WRONG_METHOD = "let in", "asked to sign in", "denied", "wrong method"
# What the endpoints of the API find in order, by the last word of their address, so that nothing but who asks can be
# refused.
BODIES = {
    "projects": {"name": "A name"},
    "extend": {"ticket": "none"},
    "submit": {"ticket": "none", "choice": "tie"},
    "skip": {"ticket": "none", "reason": "a reason"},
}


def client_of(world: World, who: Who, *, token: bool = True, **options: Any) -> Client:
    """Signed in, and with a token for the API unless it is to do without."""
    if token and who != Who.ANONYMOUS:
        options["headers"] = {"Authorization": f"Bearer {world.tokens[who]}"}
    client = Client(**options)
    if who != Who.ANONYMOUS:
        client.force_login(world.people[who])
    return client


def ask(client: Client, method: str, path: str, *args: Any, **more: Any) -> HttpResponseBase:
    """The site's answer; nothing that the request did lasts."""
    if path.startswith(API) and not args and method not in ("GET", "HEAD", "OPTIONS"):
        body = {"name": "A name"} if method == "PATCH" else BODIES.get(path.rpartition("/")[2], {})
        args = (json.dumps(body), "application/json")
    kept = SimpleCookie(client.cookies)
    with transaction.atomic():
        response: HttpResponseBase = client.generic(method, path, *args, **more)
        text_of(response)  # a streamed answer asks the database as it is read
        transaction.set_rollback(True)
    client.cookies = kept
    return response


def outcome(client: Client, method: str, path: str) -> tuple[str, list[str]]:
    """What the answer means, and the statements that wrote."""
    with recorded_writes() as writes:
        response = ask(client, method, path)
    return meaning(response), writes


def meaning(response: HttpResponseBase) -> str:
    assert response.status_code < 500, response.status_code
    path: str = response.wsgi_request.path  # type: ignore[attr-defined]  # the test client's
    if response.status_code == 302:
        leads_to = response.headers["Location"]
        return SIGN_IN if leads_to.startswith(SIGN_IN_PAGES) or (path, leads_to) == NOT_SIGNED_OUT else LET_IN
    if response.status_code == 401:
        return SIGN_IN if path.startswith(API) else LET_IN
    return {403: DENIED, 404: DENIED, 405: WRONG_METHOD}.get(response.status_code, LET_IN)


def text_of(response: HttpResponseBase) -> str:
    """Body and headers. A stream is read once and kept."""
    if response.streaming:
        response.read_once = getattr(response, "read_once", None) or b"".join(response)  # type: ignore[attr-defined]
        body: bytes = response.read_once  # type: ignore[attr-defined]
    else:
        body = response.content  # type: ignore[attr-defined]
    return body.decode(errors="replace") + str(response.headers)


@contextmanager
def recorded_writes() -> Iterator[list[str]]:
    writes: list[str] = []

    def note(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if sql.lstrip().upper().startswith(WRITES):
            writes.append(sql)
        return execute(sql, params, many, context)

    with connection.execute_wrapper(note):
        yield writes


def pages_for(world: World, who: Who) -> list[tuple[Address, str]]:
    """Every address that this person may GET, filled in."""
    return [
        (address, address.path(world.arguments(rule.at, address)))
        for address, rule in RULED
        if who in rule.who and "GET" in rule.methods
    ]


def forms_for(world: World, who: Who) -> list[tuple[Address, str]]:
    """Every address that this person may POST to, filled in."""
    return [
        (address, address.path(world.arguments(rule.at, address)))
        for address, rule in RULED
        if who in rule.who and "POST" in rule.methods
    ]


def may(rule: Rule, who: Who, method: str) -> bool:
    return who in rule.who and method in rule.methods
