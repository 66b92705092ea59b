"""Open redirect: no address of the site sends people to another one. Generated from the URL table."""

from __future__ import annotations

from urllib.parse import quote, urlsplit

import pytest
from django.test import Client

from tests.annotation.conftest import PASSWORD, make_user
from tests.safety.asking import RULED, SIGN_IN_PAGES, ask, client_of
from tests.safety.rules import Who
from tests.safety.world import World

EVIL = ("https://evil.example/", "//evil.example", "/\\evil.example", "javascript:alert(1)", "https:evil.example")
NAMES = ("next", "url", "to", "redirect", "return_to", "continue")


@pytest.mark.parametrize("who", [Who.ANONYMOUS, Who.ANNOTATOR, Who.ADMIN])
def test_no_address_leads_elsewhere(world: World, who: Who) -> None:
    """All that lead anywhere but to the sign-in page are asked with every kind of address."""
    client, places = client_of(world, who), []
    for address, rule in RULED:
        if address.in_admin and address.key.count("_") > 1 and who == Who.ADMIN:
            continue  # tables of the admin, which know no such parameter: the few other pages of it are asked
        path = address.path(world.arguments(rule.at, address))
        for method in ("GET", "POST"):
            place = sent_on(client, method, path, EVIL[0])
            places += [(address.key, method, place)]
            if place and not place.startswith(SIGN_IN_PAGES):
                places += [(address.key, method, sent_on(client, method, path, evil)) for evil in EVIL[1:]]
    assert [found for found in places if leads_elsewhere(found[2])] == []
    assert any(place for *_, place in places)


def sent_on(client: Client, method: str, path: str, evil: str) -> str:
    """Where an address leads to that is told to lead to an evil one; empty if it leads nowhere."""
    query = "&".join(f"{name}={quote(evil)}" for name in NAMES)
    answer = ask(client, method, f"{path}?{query}", query, "application/x-www-form-urlencoded")
    return str(answer.headers.get("Location", ""))


@pytest.mark.parametrize("evil", EVIL)
def test_signing_in_does_not_lead_elsewhere(world: World, evil: str) -> None:
    person = make_user("plain")
    answer = client_of(world, Who.ANONYMOUS).post(
        f"/sign-in/?next={quote(evil)}", {"username": person.username, "password": PASSWORD, "next": evil}
    )
    assert answer.status_code == 302
    assert not leads_elsewhere(answer.headers["Location"])


def leads_elsewhere(place: str) -> bool:
    """As a browser reads it: backslashes are slashes, two slashes begin a host."""
    parts = urlsplit(place.strip().replace("\\", "/"))
    return bool(
        parts.scheme not in ("", "http", "https")
        or parts.netloc not in ("", "testserver")
        or (parts.scheme and not parts.netloc)
    )


def test_what_leads_elsewhere_is_known() -> None:
    assert [leads_elsewhere(place) for place in EVIL] == [True] * len(EVIL)
    assert not leads_elsewhere("/projects/?next=https://evil.example/")
