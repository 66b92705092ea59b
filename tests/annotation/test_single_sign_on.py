"""Sign-in by an identity provider (OpenID Connect): whom its word lets in, and whom not."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from allauth.mfa.totp.internal.auth import TOTP
from allauth.socialaccount.models import SocialAccount, SocialToken
from django.conf import LazySettings
from django.core.cache import cache
from django.test import Client
from django.urls import reverse

from annotation.models import Membership, User
from annotation.services import rule_judge
from tests.annotation.conftest import PASSWORD, make_user
from tests.annotation.identity_provider import CLIENT_ID, CLIENT_SECRET, Provider

pytestmark = pytest.mark.django_db
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def provider(settings: LazySettings, services: None) -> Iterator[Provider]:
    cache.clear()
    provider = Provider()
    app = {"provider_id": "oidc", "name": "Example", "client_id": CLIENT_ID, "secret": CLIENT_SECRET}
    app["settings"] = {"server_url": provider.url}  # type: ignore[assignment]
    settings.SOCIALACCOUNT_PROVIDERS = {"openid_connect": {"APPS": [app], "OAUTH_PKCE_ENABLED": True}}
    settings.OIDC_SERVER_URL = provider.url
    yield provider
    provider.close()


def come_by(provider: Provider, client: Client, then: str = "", process: str = "", **claims: object) -> str:
    """The whole way, as a browser goes it: the button, the provider, back. Gives the final address, or the page."""
    provider.claims = claims
    begin = reverse("openid_connect_login", args=["oidc"]) + (f"?process={process}" if process else "")
    to_provider = client.post(begin, {"next": then} if then else {})
    assert to_provider.headers["Location"].startswith(f"{provider.url}/authorise?")
    back = client.get(
        reverse("openid_connect_callback", args=["oidc"]), provider.authorise(to_provider.headers["Location"])
    )
    return str(back.headers.get("Location", back.content.decode()))


def who(client: Client) -> User | None:
    return User.objects.filter(pk=client.session.get("_auth_user_id")).first()


NINA = {"sub": "u-1", "email": "nina@example.org", "email_verified": True, "preferred_username": "n", "name": "Nina N"}


@pytest.fixture
def nina(db: None) -> User:
    return make_user("nina", email="Nina@example.org")


def test_somebody_with_a_verified_address_gets_into_their_account(
    provider: Provider, client: Client, nina: User
) -> None:
    assert come_by(provider, client, then="/account/", **NINA) == "/account/"
    assert who(client) == nina
    assert User.objects.count() == 1
    assert SocialToken.objects.count() == 0  # nothing to steal
    nina.refresh_from_db()
    assert nina.has_usable_password()


def test_they_stay_who_they_are_when_their_address_changes(provider: Provider, nina: User) -> None:
    come_by(provider, Client(), **NINA)
    client = Client()
    come_by(provider, client, **{**NINA, "email": "other@example.org"})
    assert who(client) == nina


@pytest.mark.parametrize(
    "claims",
    [
        {**NINA, "email_verified": False},
        {**NINA, "email_verified": "true"},  # a word is no answer
        {key: value for key, value in NINA.items() if key != "email_verified"},
        {**NINA, "email": "stranger@example.org"},
        {"sub": "u-1", "preferred_username": "nina"},
    ],
    ids=["not verified", "verified in words", "not said", "another address", "only the username"],
)
@pytest.mark.parametrize("open_to_new_people", [False, True])
def test_nobody_gets_into_an_account_by_less(
    provider: Provider,
    client: Client,
    nina: User,
    settings: LazySettings,
    claims: dict[str, object],
    open_to_new_people: bool,
) -> None:
    settings.OIDC_NEW_PEOPLE = open_to_new_people
    come_by(provider, client, **claims)
    assert who(client) != nina
    assert not SocialAccount.objects.filter(user=nina).exists()


def test_somebody_unknown_is_told_what_to_do(provider: Provider, client: Client, db: None) -> None:
    assert "You have no account here yet" in come_by(provider, client, **NINA)
    assert not User.objects.exists()


def test_somebody_new_gets_an_account_where_that_is_wanted(
    provider: Provider, client: Client, settings: LazySettings, db: None
) -> None:
    settings.OIDC_NEW_PEOPLE = True
    rule_judge("n")  # the name that the provider suggests is taken
    assert come_by(provider, client, **NINA) == reverse("home")
    person = who(client)
    assert person is not None
    assert (str(person), person.email) == ("Nina N", "nina@example.org")
    assert person.username != "n"
    assert not person.has_usable_password()
    assert (person.is_staff, person.is_superuser, Membership.objects.count()) == (False, False, 0)


def test_two_accounts_with_one_address_are_not_guessed_between(provider: Provider, client: Client, nina: User) -> None:
    make_user("nina2", email="nina@example.org")
    come_by(provider, client, **NINA)
    assert who(client) is None


def test_a_closed_account_stays_closed(provider: Provider, client: Client, nina: User) -> None:
    come_by(provider, Client(), **NINA)
    User.objects.update(is_active=False)
    assert come_by(provider, client, **NINA) == reverse("account_inactive")
    assert who(client) is None


def test_the_second_factor_is_asked_for_here_too(provider: Provider, client: Client, nina: User) -> None:
    TOTP.activate(nina, "JBSWY3DPEHPK3PXP")
    assert come_by(provider, client, **NINA) == reverse("mfa_authenticate")
    assert who(client) is None


def test_who_is_in_connects_an_identity_of_any_address(provider: Provider, client: Client, nina: User) -> None:
    client.force_login(nina)
    client.post(reverse("account_reauthenticate"), {"password": PASSWORD})
    assert come_by(provider, client, process="connect", **{**NINA, "email": "private@example.net"}) == reverse(
        "account"
    )
    again = Client()
    come_by(provider, again, **{**NINA, "email": "private@example.net"})
    assert who(again) == nina


def test_a_session_left_open_is_not_enough_to_connect_one(provider: Provider, client: Client, nina: User) -> None:
    client.force_login(nina)
    assert come_by(provider, client, process="connect", **NINA) == reverse("account_reauthenticate")
    assert not SocialAccount.objects.exists()


def test_an_answer_to_nobodys_question_is_refused(provider: Provider, client: Client, nina: User) -> None:
    """A login CSRF: the attacker's code, in the victim's browser."""
    provider.claims = NINA
    answer = client.get(reverse("openid_connect_callback", args=["oidc"]), {"code": "one-time", "state": "made-up"})
    assert answer.status_code == 401
    assert "That did not work" in answer.content.decode()
    assert who(client) is None
    assert "/token" not in provider.asked


def test_another_browser_cannot_finish_what_one_began(provider: Provider, client: Client, nina: User) -> None:
    provider.claims = NINA
    to_provider = client.post(reverse("openid_connect_login", args=["oidc"]))
    back = provider.authorise(to_provider.headers["Location"])
    other = Client()
    assert other.get(reverse("openid_connect_callback", args=["oidc"]), back).status_code == 401
    assert who(other) is None


@pytest.mark.parametrize("elsewhere", ["https://evil.example/", "//evil.example"])
def test_coming_back_leads_nowhere_else(provider: Provider, client: Client, nina: User, elsewhere: str) -> None:
    assert urlsplit(come_by(provider, client, then=elsewhere, **NINA)).netloc == ""
    assert who(client) == nina


def test_a_link_cannot_begin_it(provider: Provider, client: Client) -> None:
    assert client.get(reverse("openid_connect_login", args=["oidc"])).status_code == 405


def test_a_provider_that_is_away_is_a_designed_page(provider: Provider, client: Client) -> None:
    provider.close()
    answer = client.post(reverse("openid_connect_login", args=["oidc"]))
    assert answer.status_code == 401
    assert "could not be asked" in answer.content.decode()


def test_without_a_provider_there_is_no_button(client: Client, db: None, settings: LazySettings) -> None:
    assert "Sign in with" not in client.get(reverse("sign-in")).content.decode()
    assert client.post(reverse("openid_connect_login", args=["oidc"])).status_code == 404


def test_the_button_names_the_provider(provider: Provider, client: Client) -> None:
    html = client.get(reverse("sign-in")).content.decode()
    assert "Sign in with Example" in html
    assert f'action="{reverse("openid_connect_login", args=["oidc"])}"' in html


def said_by_settings(var: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """The settings as these variables make them."""
    names = "settings.OIDC_NAME, settings.SOCIALACCOUNT_PROVIDERS, settings.CONTENT_SECURITY_POLICY"
    program = f"from config import settings; print({names})"
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "PYTHONPATH") if name in os.environ}
    return subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={**kept, "PREFLOOP_VAR": str(var), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


OIDC = {"OIDC_SERVER_URL": "https://login.example.org/realms/x", "OIDC_CLIENT_ID": "me", "OIDC_CLIENT_SECRET": "s"}
SERVER = {"PREFLOOP_ENV": "production", "SECRET_KEY": "x" * 60, "ALLOWED_HOSTS": "a.example"}


def test_the_environment_sets_it_up_and_opens_the_policy_to_the_provider_alone(tmp_path: Path) -> None:
    said = said_by_settings(tmp_path, OIDC_NAME="Example", **OIDC)
    assert said.returncode == 0, said.stderr
    assert "Example" in said.stdout
    assert "'form-action': [\"'self'\", 'https://login.example.org']" in said.stdout
    assert "'OAUTH_PKCE_ENABLED': True" in said.stdout


@pytest.mark.parametrize("missing", ["OIDC_CLIENT_ID", "OIDC_CLIENT_SECRET"])
def test_half_a_set_up_is_refused_by_name(tmp_path: Path, missing: str) -> None:
    said = said_by_settings(tmp_path, **{**OIDC, missing: ""})
    assert said.returncode == 1
    assert "OIDC_SERVER_URL needs OIDC_CLIENT_ID and OIDC_CLIENT_SECRET" in said.stderr


def test_a_server_speaks_to_its_provider_by_https_only(tmp_path: Path) -> None:
    said = said_by_settings(tmp_path, **SERVER, **{**OIDC, "OIDC_SERVER_URL": "http://login.example.org"})
    assert said.returncode == 1
    assert "OIDC_SERVER_URL must start with https://" in said.stderr
