"""Whoever guesses passwords, codes or links is slowed down: per account and per address."""

from __future__ import annotations

from collections.abc import Iterator
from unittest.mock import patch

import pytest
from django.conf import LazySettings
from django.core.cache import cache
from django.test import Client
from django.urls import reverse

from annotation.models import AuditEvent, User
from config import settings as as_started
from tests.annotation.conftest import PASSWORD, make_user

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _attempts_are_counted(services: None, settings: LazySettings) -> Iterator[None]:
    settings.ACCOUNT_RATE_LIMITS = as_started.ACCOUNT_RATE_LIMITS
    cache.clear()
    yield
    cache.clear()


def attempt(client: Client, password: str, username: str = "ann", address: str = "192.0.2.1", **headers: str) -> str:
    """What came of it: in, refused, too many (said by the form), 429."""
    data = {"username": username, "password": password}
    answer = client.post(reverse("sign-in"), data, REMOTE_ADDR=address, **headers)
    if answer.status_code in (302, 429):
        return "in" if answer.status_code == 302 else "429"
    return "too many" if "Too many failed" in answer.content.decode() else "refused"


def test_the_sixth_wrong_password_for_an_account_is_not_even_looked_at(client: Client, ann: User) -> None:
    said = [attempt(client, f"guess {n}") for n in range(5)]
    with patch("annotation.models.User.check_password") as looked:
        said.append(attempt(client, PASSWORD))
    assert said == ["refused"] * 5 + ["too many"]
    assert not looked.called


def test_another_address_does_not_help_a_guesser(ann: User) -> None:
    said = [attempt(Client(), f"guess {n}", address=f"192.0.2.{n}") for n in range(6)]
    assert said == ["refused"] * 5 + ["too many"]


def test_after_five_minutes_the_person_gets_in(client: Client, ann: User) -> None:
    for n in range(5):
        attempt(client, f"guess {n}")
    with patch("allauth.core.internal.ratelimit.time.time", return_value=__import__("time").time() + 301):
        assert attempt(client, PASSWORD) == "in"


def test_right_passwords_are_not_counted_as_wrong_ones(ann: User) -> None:
    assert [attempt(Client(), PASSWORD) for _ in range(8)] == ["in"] * 8


def test_one_guesser_does_not_lock_the_others_out(ann: User) -> None:
    make_user("bea")
    for n in range(5):
        attempt(Client(), f"guess {n}", address="192.0.2.66")
    assert attempt(Client(), PASSWORD, username="bea", address="192.0.2.7") == "in"


def test_an_address_that_tries_many_accounts_is_stopped(db: None) -> None:
    said = [attempt(Client(), "Summer2026!", username=f"person{n}") for n in range(31)]
    assert said[:20] == ["refused"] * 20
    assert said[20:30] == ["too many"] * 10
    assert said[30] == "429"


def test_who_says_to_come_from_elsewhere_is_counted_where_they_are(ann: User) -> None:
    """Without a proxy of ours in front, X-Forwarded-For is whatever the guesser writes."""
    said = [attempt(Client(), "guess", username=f"p{n}", HTTP_X_FORWARDED_FOR=f"198.51.100.{n}") for n in range(21)]
    assert said[20] == "too many"


def test_behind_a_proxy_visitors_are_told_apart(settings: LazySettings, ann: User) -> None:
    settings.ALLAUTH_TRUSTED_PROXY_COUNT = 1
    said = [
        attempt(Client(), "guess", username=f"p{n}", HTTP_X_FORWARDED_FOR=f"10.0.0.1, 198.51.100.{n}")
        for n in range(25)
    ]
    assert said == ["refused"] * 25


def test_links_are_not_tried_out_by_the_dozen(client: Client, db: None) -> None:
    said = [client.post(reverse("sign-in-link", args=[f"guess-{n}"])).status_code for n in range(31)]
    assert said == [410] * 30 + [429]


def test_the_page_that_stops_people_is_designed(client: Client, db: None) -> None:
    for n in range(30):
        client.post(reverse("sign-in-link", args=[f"guess-{n}"]))
    answer = client.post(reverse("sign-in"), {"username": "x", "password": "y"})
    assert "Wait a minute, then try again" in answer.content.decode()


def test_what_the_throttle_turned_away_does_not_fill_the_log(client: Client, ann: User) -> None:
    for n in range(12):
        attempt(client, f"guess {n}")
    assert AuditEvent.objects.filter(action="sign-in-failed").count() == 5
