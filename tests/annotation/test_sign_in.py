"""Passwords, links that work once, and one's own account."""

from collections.abc import Callable
from datetime import timedelta
from io import StringIO
from unittest.mock import patch
from urllib.parse import urlsplit

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse
from django.utils.timezone import now

from annotation.address import keep_address
from annotation.models import User
from annotation.people import sign_in_link, use_link
from tests.annotation.conftest import PASSWORD

pytestmark = pytest.mark.django_db

SignIn = Callable[[User], Client]


def path_of(user: User) -> str:
    return urlsplit(sign_in_link(user, "http://example.org")).path


def signed_in_as(client: Client) -> str | None:
    return client.session.get("_auth_user_id")


def test_a_password_signs_in_and_leads_on(client: Client, ann: User) -> None:
    answer = client.post(reverse("sign-in"), {"username": "ann", "password": PASSWORD, "next": "/account/"})
    assert answer.headers["Location"] == "/account/"
    assert signed_in_as(client) == str(ann.pk)


def test_a_wrong_password_does_not(client: Client, ann: User) -> None:
    answer = client.post(reverse("sign-in"), {"username": "ann", "password": "wrong"})
    assert answer.status_code == 200
    assert signed_in_as(client) is None


@pytest.mark.parametrize(
    "elsewhere", ["https://evil.example/", "//evil.example", "javascript:alert(1)", "/\\evil.example"]
)
def test_next_never_leads_to_another_site(client: Client, ann: User, elsewhere: str) -> None:
    answer = client.post(reverse("sign-in"), {"username": "ann", "password": PASSWORD, "next": elsewhere})
    assert answer.headers["Location"] == reverse("home")


def test_signing_out_needs_a_post(signed_in: SignIn, ann: User) -> None:
    client = signed_in(ann)
    assert client.get(reverse("sign-out")).status_code == 405
    assert signed_in_as(client) == str(ann.pk)
    client.post(reverse("sign-out"))
    assert signed_in_as(client) is None


def test_a_link_asks_first_and_signs_in_by_its_button(client: Client, ann: User) -> None:
    path = path_of(ann)
    page = client.get(path)
    assert "Sign in as ann" in page.content.decode()
    assert signed_in_as(client) is None
    client.get(path)  # whoever looks at it, often

    answer = client.post(path)

    assert answer.headers["Location"] == reverse("home")
    assert signed_in_as(client) == str(ann.pk)
    assert client.get(reverse("home")).status_code == 200


def test_who_has_no_other_way_in_is_told_to_set_a_password(client: Client, ann: User) -> None:
    words = "nothing else lets you in again"
    assert words not in client.post(path_of(ann), follow=True).content.decode()
    newcomer = User.objects.create(username="new")
    newcomer.set_unusable_password()
    newcomer.save()

    browser = Client()
    assert words in browser.post(path_of(newcomer), follow=True).content.decode()
    assert words in browser.get(reverse("home")).content.decode()
    chosen = {"new_password1": "correct horse battery", "new_password2": "correct horse battery"}
    browser.post(reverse("password"), chosen)
    assert words not in browser.get(reverse("home")).content.decode()


def test_a_link_works_once(ann: User) -> None:
    path = path_of(ann)
    assert Client().post(path).status_code == 302
    second = Client()
    assert second.post(path).status_code == 410
    assert second.get(path).status_code == 410
    assert signed_in_as(second) is None


def test_a_link_works_once_also_within_one_second(ann: User) -> None:
    # A fingerprint that rounds the time of the last sign-in to seconds would let the second one in.
    User.objects.filter(pk=ann.pk).update(last_login=now().replace(microsecond=100))
    ann.refresh_from_db()
    path = path_of(ann)
    User.objects.filter(pk=ann.pk).update(last_login=ann.last_login + timedelta(microseconds=300))
    assert Client().post(path).status_code == 410


def test_of_two_at_the_same_moment_one_gets_in(ann: User) -> None:
    token = path_of(ann).strip("/").split("/")[-1]
    seen = User.objects.get(pk=ann.pk)
    assert use_link(token) == ann
    # The other one had read the row before the first one spent the link.
    with patch("annotation.people.person_behind", return_value=seen):
        assert use_link(token) is None


def test_a_link_ends_after_a_day(client: Client, ann: User) -> None:
    path = path_of(ann)
    in_a_day = now() + timedelta(days=1, seconds=5)
    with patch("django.core.signing.time.time", return_value=in_a_day.timestamp()):
        assert client.get(path).status_code == 410


@pytest.mark.parametrize("change", ["password", "is_active", "forged"])
def test_a_link_ends_with_what_it_stands_on(client: Client, ann: User, change: str) -> None:
    path = path_of(ann)
    if change == "password":
        ann.set_password("another long password")
    if change == "is_active":
        ann.is_active = False
    ann.save()
    address = path.replace(":", "x:", 1) if change == "forged" else path
    assert client.post(address).status_code == 410
    assert signed_in_as(client) is None


def test_a_link_needs_the_sites_own_form(ann: User) -> None:
    assert Client(enforce_csrf_checks=True).post(path_of(ann)).status_code == 403


def test_the_command_prints_just_the_link(client: Client, ann: User) -> None:
    out = StringIO()
    call_command("sign_in_link", "ann", base_url="http://10.0.0.5:9000", stdout=out)
    (line,) = out.getvalue().splitlines()
    assert line.startswith("http://10.0.0.5:9000/sign-in/")
    assert client.post(urlsplit(line).path).status_code == 302


def test_the_command_says_how_to_name_the_site(ann: User) -> None:
    told = {}
    for url in (None, "http://10.0.0.5:9000"):
        out = StringIO()
        call_command("sign_in_link", "ann", base_url=url, stdout=StringIO(), stderr=out)
        told[url] = out.getvalue()
    assert "--base-url" in told[None]
    assert told["http://10.0.0.5:9000"] == ""


def test_the_link_leads_to_where_the_site_was_started_last(ann: User) -> None:
    printed = []
    for port in (None, 8001, 8002):
        if port:
            keep_address(f"http://127.0.0.1:{port}")
        out = StringIO()
        call_command("sign_in_link", "ann", stdout=out, stderr=StringIO())
        printed.append(urlsplit(out.getvalue()).port)
    assert printed == [8000, 8001, 8002]


@pytest.mark.parametrize("name", ["nobody", "retired"])
def test_the_command_knows_who_may_not_sign_in(db: None, name: str) -> None:
    User.objects.create(username="retired", is_active=False)
    with pytest.raises(CommandError, match=name):
        call_command("sign_in_link", name)


def test_one_chooses_the_name_others_see(signed_in: SignIn, ann: User) -> None:
    signed_in(ann).post(reverse("account"), {"display_name": "Annette", "username": "root", "is_staff": "on"})
    ann.refresh_from_db()
    assert (str(ann), ann.username, ann.is_staff) == ("Annette", "ann", False)


def test_who_came_by_a_link_sets_a_first_password(client: Client) -> None:
    newcomer = User.objects.create(username="new")
    newcomer.set_unusable_password()
    newcomer.save()
    client.post(path_of(newcomer))

    answer = client.post(reverse("password"), {"new_password1": PASSWORD, "new_password2": PASSWORD})

    assert answer.headers["Location"] == reverse("account")
    newcomer.refresh_from_db()
    assert newcomer.check_password(PASSWORD)
    assert client.get(reverse("home")).status_code == 200  # still signed in


def test_who_has_a_password_needs_it_to_change_it(signed_in: SignIn, ann: User) -> None:
    client, new = signed_in(ann), "something else entirely"
    refused = client.post(reverse("password"), {"new_password1": new, "new_password2": new, "old_password": "wrong"})
    assert refused.status_code == 200
    ann.refresh_from_db()
    assert ann.check_password(PASSWORD)
    client.post(reverse("password"), {"new_password1": new, "new_password2": new, "old_password": PASSWORD})
    ann.refresh_from_db()
    assert ann.check_password(new)


@pytest.mark.parametrize("name", ["account", "password", "home"])
def test_nobody_gets_the_sign_in_page(client: Client, name: str) -> None:
    answer = client.get(reverse(name))
    assert answer.headers["Location"] == f"{reverse('sign-in')}?next={reverse(name)}"
