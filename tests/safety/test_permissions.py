"""Every view × every kind of person × every method, generated from the URL table.

A view that no rule knows fails `test_every_view_has_a_rule`: nothing on the site escapes these tests.
"""

from __future__ import annotations

import pytest
from django.test import Client
from pytest_django import DjangoDbBlocker

from annotation.models import Membership
from api.models import Token
from tests.safety.asking import (
    DENIED,
    LET_IN,
    RULED,
    SIGN_IN,
    WRONG_METHOD,
    ask,
    client_of,
    may,
    outcome,
    text_of,
)
from tests.safety.rules import EVERYBODY, METHODS, NOBODY, RULES, STAFF, Rule, Who, rule_of
from tests.safety.url_table import Address, every_address
from tests.safety.world import SECRETS_OF_A_PROJECT, World

ADDRESSES = every_address()


@pytest.fixture(scope="module")
def everybody(lasting_world: World, django_db_blocker: DjangoDbBlocker) -> dict[Who, Client]:
    """Each of them signed in once."""
    with django_db_blocker.unblock():
        return {who: client_of(lasting_world, who) for who in Who}


def test_every_view_has_a_rule() -> None:
    assert [address.key for address in ADDRESSES if not rule_of(address)] == []


def test_every_rule_has_a_view() -> None:
    assert set(RULES) - {address.key for address in ADDRESSES} == set()


def test_the_table_is_the_whole_site() -> None:
    # The walk goes through namespaces, nested tables and patterns without a name.
    routes = {address.key: address.route for address in ADDRESSES}
    assert routes["remove-member"] == "projects/<slug:slug>/members/<int:pk>/remove/"
    assert routes["admin:annotation_user_change"] == "admin/annotation/user/<path:object_id>/change/"
    assert "admin/annotation/user/<path:object_id>/" in routes


@pytest.mark.parametrize(("address", "rule"), RULED, ids=[address.key for address, _ in RULED])
def test_only_who_may_gets_in(world: World, everybody: dict[Who, Client], address: Address, rule: Rule) -> None:
    path = address.path(world.arguments(rule.at, address)) + rule.query
    wrong = []
    for who in Who:
        for method in methods_to_ask(address, rule, who):
            found, writes = outcome(everybody[who], method, path)
            if found not in expected(address, rule, who, method):
                wrong.append(f"{who} {method} {path}: {found}")
            if found != LET_IN and writes:
                wrong.append(f"{who} {method} {path}: refused, and yet it wrote")
    assert wrong == []


def methods_to_ask(address: Address, rule: Rule, who: Who) -> list[str]:
    """All of them; but two are enough of an admin in the admin, whose pages do not look at the method and take long.

    What another rule says of the same address is left to it.
    """
    if address.in_admin and may(rule, who, "PATCH"):
        return ["GET", "POST"]
    beside = [found for other, found in RULED if other.route == address.route and other.key != address.key]
    said_there = {method for found in beside for method in found.methods} - rule.methods
    return [method for method in METHODS if method not in said_there]


def expected(address: Address, rule: Rule, who: Who, method: str) -> set[str]:
    """What may come of it. Which of two reasons to refuse comes first is the view's own business."""
    if may(rule, who, method):
        return {LET_IN}
    if address.in_admin and who in STAFF and method == "OPTIONS":
        return {LET_IN, DENIED, WRONG_METHOD}  # the methods' names alone
    if who in rule.who:
        return {WRONG_METHOD, DENIED} if address.in_admin else {WRONG_METHOD}
    if not rule.who:
        return {DENIED, SIGN_IN} if address.in_admin else {DENIED}
    if who == Who.ANONYMOUS:
        return {SIGN_IN} if method in rule.methods else {SIGN_IN, WRONG_METHOD}
    return {DENIED, SIGN_IN} if method in rule.methods else {DENIED, SIGN_IN, WRONG_METHOD}


@pytest.mark.parametrize("method", ["GET", "POST", "PATCH"])
def test_the_api_takes_tokens_and_no_session(world: World, method: str) -> None:
    client = client_of(world, Who.ADMIN, token=False)
    asked = [(address, rule) for address, rule in RULED if address.in_api and rule.who not in (EVERYBODY, NOBODY)]
    found = {
        address.key: outcome(client, method, address.path(world.arguments(rule.at, address)))
        for address, rule in asked
        if method in rule.methods
    }
    assert found == dict.fromkeys(found, (SIGN_IN, []))
    assert len(found) >= {"GET": 9, "POST": 8, "PATCH": 1}[method]


def test_a_token_does_no_more_than_its_scope(world: World) -> None:
    """The address that says who one is asks for no scope; every other one does."""
    Token.objects.filter(user=world.people[Who.ADMIN]).update(scopes=[])
    client = client_of(world, Who.ADMIN)
    answered = [
        (address.key, method)
        for address, rule in RULED
        for method in rule.methods
        if address.in_api and rule.who not in (EVERYBODY, NOBODY)
        if ask(client, method, address.path(world.arguments(rule.at, address))).status_code != 403
    ]
    assert answered == [("api-v1:me", "GET")]


@pytest.mark.parametrize("who", [Who.ANONYMOUS, Who.STRANGER, Who.NEIGHBOUR, Who.ANNOTATOR])
def test_nobody_is_sent_what_is_not_theirs(world: World, who: Who) -> None:
    """Authors, colleagues and their votes: in no page, fragment, header or download, whatever the method."""
    # The neighbour's own project has the same planted words; only what is not theirs may be looked for.
    Membership.objects.filter(user=world.people.get(Who.NEIGHBOUR)).delete()
    client, asked, told = client_of(world, who), 0, {}
    for address, rule in RULED:
        if address.in_admin:
            continue
        path = address.path(world.arguments(rule.at, address))
        for method in ("GET", "POST"):
            asked += 1
            body = text_of(ask(client, method, path))
            if seen := [secret for secret in SECRETS_OF_A_PROJECT if secret in body]:
                told[address.key, method] = seen
    assert told == {}
    assert asked > 120


def test_the_planted_words_are_there_to_be_found(world: World) -> None:
    """Else the test above could not fail: a manager's pages show them."""
    client = client_of(world, Who.MANAGER)
    pages = [f"/projects/{world.mine.project['slug']}/", f"/runs/{world.mine.run['pk']}/"]
    bodies = [text_of(client.get(page)) for page in pages]
    shown = [secret for secret in SECRETS_OF_A_PROJECT if any(secret in body for body in bodies)]
    assert shown == [secret for secret in SECRETS_OF_A_PROJECT if "reason" not in secret]
