"""CSRF: no form of the site can be sent from somewhere else. Generated from the URL table."""

from __future__ import annotations

import pytest

from tests.safety.asking import ask, client_of, forms_for, recorded_writes
from tests.safety.rules import Who
from tests.safety.world import World


@pytest.mark.parametrize("who", [Who.ANONYMOUS, Who.ANNOTATOR, Who.MANAGER, Who.ADMIN])
def test_a_form_without_the_sites_own_token_is_refused(world: World, who: Who) -> None:
    client = client_of(world, who, token=False, enforce_csrf_checks=True)  # a browser sends no token of the API
    taken, tried = [], 0
    for address, path in forms_for(world, who):
        for method in ("POST",) if address.in_admin else ("POST", "PUT", "PATCH", "DELETE"):
            tried += 1
            with recorded_writes() as writes:
                status = ask(client, method, path, "a=b", "application/x-www-form-urlencoded").status_code
            if status not in (401, 403, 405) or writes:
                taken.append((address.key, method, status))
    assert taken == []
    assert tried >= 8


def test_a_token_from_elsewhere_is_refused(world: World) -> None:
    client = client_of(world, Who.MANAGER, enforce_csrf_checks=True)
    path = f"/projects/{world.mine.project['slug']}/settings/"
    client.get(path)
    token = client.cookies["csrftoken"].value
    sent = f"csrfmiddlewaretoken={token}&name=Renamed&overlap=1"
    form = "application/x-www-form-urlencoded"
    from_elsewhere = ask(client, "POST", path, sent, form, HTTP_ORIGIN="https://evil.example")
    from_here = ask(client, "POST", path, sent, form, HTTP_ORIGIN="http://testserver")
    assert (from_elsewhere.status_code, from_here.status_code) == (403, 302)
