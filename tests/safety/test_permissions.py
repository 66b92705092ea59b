"""Every view × every kind of person × every method, generated from the URL table.

A view that no rule knows fails `test_every_view_has_a_rule`: nothing on the site escapes these tests.
"""

from __future__ import annotations

import pytest

from annotation.models import Membership
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
from tests.safety.rules import METHODS, RULES, Rule, Who, rule_of
from tests.safety.url_table import Address, every_address
from tests.safety.world import SECRETS_OF_A_PROJECT, World

ADDRESSES = every_address()


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
def test_only_who_may_gets_in(world: World, address: Address, rule: Rule) -> None:
    path = address.path(world.arguments(rule.at, address))
    wrong = []
    for who in Who:
        client = client_of(world, who)
        for method in methods_to_ask(address, rule, who):
            found, writes = outcome(client, method, path)
            if found not in expected(rule, who, method):
                wrong.append(f"{who} {method} {path}: {found}")
            if found != LET_IN and writes:
                wrong.append(f"{who} {method} {path}: refused, and yet it wrote")
    assert wrong == []


def methods_to_ask(address: Address, rule: Rule, who: Who) -> tuple[str, ...]:
    """All of them; but two are enough of an admin in the admin, whose pages do not look at the method and take long."""
    return ("GET", "POST") if address.in_admin and may(rule, who, "PATCH") else METHODS


def expected(rule: Rule, who: Who, method: str) -> set[str]:
    """What may come of it. Which of two reasons to refuse comes first is the view's own business."""
    if may(rule, who, method):
        return {LET_IN}
    if who in rule.who:
        return {WRONG_METHOD}
    if who == Who.ANONYMOUS:
        return {SIGN_IN} if method in rule.methods else {SIGN_IN, WRONG_METHOD}
    return {DENIED, SIGN_IN} if method in rule.methods else {DENIED, SIGN_IN, WRONG_METHOD}


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
    assert asked > 60


def test_the_planted_words_are_there_to_be_found(world: World) -> None:
    """Else the test above could not fail: a manager's pages show them."""
    client = client_of(world, Who.MANAGER)
    pages = [f"/projects/{world.mine.project['slug']}/", f"/runs/{world.mine.run['pk']}/"]
    bodies = [text_of(client.get(page)) for page in pages]
    shown = [secret for secret in SECRETS_OF_A_PROJECT if any(secret in body for body in bodies)]
    assert shown == [secret for secret in SECRETS_OF_A_PROJECT if "reason" not in secret]
