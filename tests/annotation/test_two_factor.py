"""The second factor: set up with an app, asked for whichever way one comes, replaced by a recovery code, reset."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from unittest.mock import patch
from urllib.parse import urlsplit

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import TOTP, format_hotp_value, hotp_value
from django.conf import LazySettings
from django.core.cache import cache
from django.test import Client
from django.urls import reverse

from annotation.models import AuditEvent, User
from annotation.people import sign_in_link
from config import settings as as_started
from tests.annotation.conftest import PASSWORD, make_user

pytestmark = pytest.mark.django_db
SignIn = Callable[[User], Client]
OnCommit = Callable[..., AbstractContextManager[object]]
KEY = "JBSWY3DPEHPK3PXP"


@pytest.fixture(autouse=True)
def _attempts_are_counted(services: None, settings: LazySettings) -> Iterator[None]:
    settings.ACCOUNT_RATE_LIMITS = as_started.ACCOUNT_RATE_LIMITS
    cache.clear()
    yield
    cache.clear()


def code_now(key: str = KEY, *, ahead: int = 0) -> str:
    """What an authenticator app shows (RFC 6238 with its defaults: SHA-1, 30 s, 6 digits)."""
    return format_hotp_value(hotp_value(key, int(time.time()) // 30 + ahead))


@pytest.fixture
def careful(ann: User) -> User:
    """Ann, with a second factor."""
    TOTP.activate(ann, KEY)
    RecoveryCodes.activate(ann)
    return ann


def is_in(client: Client) -> bool:
    return "_auth_user_id" in client.session


def by_password(client: Client) -> str:
    answer = client.post(reverse("sign-in"), {"username": "ann", "password": PASSWORD, "next": "/account/"})
    return str(answer.headers["Location"])


def test_the_code_is_the_one_of_the_standard() -> None:
    # RFC 6238, appendix B: at 59 s the SHA-1 value of eight digits is 94287082; six digits are its last six.
    key = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"  # "12345678901234567890" in base 32
    assert format_hotp_value(hotp_value(key, 59 // 30)) == "287082"


def test_one_sets_it_up_and_gets_recovery_codes(
    signed_in: SignIn, ann: User, django_capture_on_commit_callbacks: OnCommit
) -> None:
    client = signed_in(ann)
    asked = client.get(reverse("mfa_activate_totp"))
    assert asked.headers["Location"].startswith(reverse("account_reauthenticate"))
    client.post(asked.headers["Location"], {"password": PASSWORD})
    page = client.get(reverse("mfa_activate_totp")).content.decode()
    key = re.search(r'<code class="secret">(\w+)</code>', page)
    assert key is not None
    assert 'src="data:image/svg+xml;base64,' in page

    wrong = client.post(reverse("mfa_activate_totp"), {"code": "000000"})
    assert wrong.status_code == 200
    assert not Authenticator.objects.exists()
    with django_capture_on_commit_callbacks(execute=True):
        done = client.post(reverse("mfa_activate_totp"), {"code": code_now(key[1])}, follow=True)

    codes = re.findall(r"<li>(\d{8})</li>", done.content.decode())
    assert len(set(codes)) == 10
    assert "added" in AuditEvent.objects.filter(actor=ann, action="two-factor").latest("id").what


def test_one_without_a_password_gets_the_recovery_codes_without_another_code(signed_in: SignIn, ann: User) -> None:
    """Who came by a link has nothing to be asked for again before, and the code from then on."""
    ann.set_unusable_password()
    ann.save()
    client = signed_in(ann)
    page = client.get(reverse("mfa_activate_totp")).content.decode()
    key = re.search(r'<code class="secret">(\w+)</code>', page)
    assert key is not None
    done = client.post(reverse("mfa_activate_totp"), {"code": code_now(key[1])}, follow=True)
    assert done.redirect_chain == [(reverse("mfa_view_recovery_codes"), 302)]
    assert len(set(re.findall(r"<li>(\d{8})</li>", done.content.decode()))) == 10


def test_a_password_alone_does_not_let_in(client: Client, careful: User) -> None:
    assert by_password(client) == reverse("mfa_authenticate")
    assert not is_in(client)
    assert client.get(reverse("home")).headers["Location"].startswith(reverse("sign-in"))


def test_the_code_lets_in_and_leads_on(client: Client, careful: User) -> None:
    by_password(client)
    assert client.post(reverse("mfa_authenticate"), {"code": code_now()}).headers["Location"] == "/account/"
    assert is_in(client)


def test_a_link_alone_does_not_let_in(client: Client, careful: User) -> None:
    answer = client.post(urlsplit(sign_in_link(careful, "http://x")).path)
    assert answer.headers["Location"] == reverse("mfa_authenticate")
    assert not is_in(client)
    client.post(reverse("mfa_authenticate"), {"code": code_now()})
    assert is_in(client)


def test_the_admins_own_form_is_no_way_around(client: Client) -> None:
    root = make_user("root", is_staff=True, is_superuser=True)
    TOTP.activate(root, KEY)
    answer = client.post(reverse("admin:login"), {"username": "root", "password": PASSWORD})
    assert answer.headers["Location"].startswith(reverse("sign-in"))
    assert not is_in(client)


@pytest.mark.parametrize("code", ["000000", "", "abc", "1" * 500])
def test_a_wrong_code_does_not(client: Client, careful: User, code: str) -> None:
    by_password(client)
    assert client.post(reverse("mfa_authenticate"), {"code": code}).status_code == 200
    assert not is_in(client)


def test_a_code_works_once(careful: User) -> None:
    first, second, code = Client(), Client(), code_now()
    for client in (first, second):
        by_password(client)
        client.post(reverse("mfa_authenticate"), {"code": code})
    assert (is_in(first), is_in(second)) == (True, False)


def test_codes_are_not_guessed_by_the_dozen(client: Client, careful: User) -> None:
    by_password(client)
    for n in range(5):
        client.post(reverse("mfa_authenticate"), {"code": f"{n:06}"})
    client.post(reverse("mfa_authenticate"), {"code": code_now()})
    assert not is_in(client)
    later = time.time() + 301
    with patch("allauth.core.internal.ratelimit.time.time", return_value=later):
        client.post(reverse("mfa_authenticate"), {"code": code_now()})
    assert is_in(client)


def test_a_recovery_code_lets_in_once(careful: User) -> None:
    code = Authenticator.objects.get(type="recovery_codes").wrap().get_unused_codes()[0]
    seen = []
    for client in (Client(), Client()):
        by_password(client)
        client.post(reverse("mfa_authenticate"), {"code": code})
        seen.append(is_in(client))
    assert seen == [True, False]


def test_switching_it_off_needs_the_person_again(
    signed_in: SignIn, careful: User, django_capture_on_commit_callbacks: OnCommit
) -> None:
    client = signed_in(careful)  # a session left open somewhere
    refused = client.post(reverse("mfa_deactivate_totp"))
    assert refused.headers["Location"].startswith(reverse("account_reauthenticate"))
    assert Authenticator.objects.filter(type="totp").exists()
    client.post(refused.headers["Location"], {"password": PASSWORD})
    with django_capture_on_commit_callbacks(execute=True):
        client.post(reverse("mfa_deactivate_totp"))
    assert not Authenticator.objects.exists()
    assert "removed" in AuditEvent.objects.filter(actor=careful, action="two-factor").latest("id").what


def test_a_site_admin_helps_who_has_lost_the_phone(signed_in: SignIn, careful: User) -> None:
    data = {"action": "switch_two_factor_off", "_selected_action": [careful.pk]}
    clerk = make_user("clerk", is_staff=True)
    from tests.annotation.test_admin import _all_user_permissions

    clerk.user_permissions.set(_all_user_permissions())  # type: ignore[arg-type]
    signed_in(clerk).post(reverse("admin:annotation_user_changelist"), data)
    assert Authenticator.objects.exists()
    signed_in(make_user("root", is_staff=True, is_superuser=True)).post(
        reverse("admin:annotation_user_changelist"), data
    )
    assert not Authenticator.objects.exists()


def test_keys_and_codes_are_on_no_page_of_the_admin(signed_in: SignIn, careful: User) -> None:
    client = signed_in(make_user("root", is_staff=True, is_superuser=True))
    for path in ("/admin/mfa/authenticator/", "/admin/socialaccount/socialtoken/", "/admin/account/emailaddress/"):
        assert client.get(path).status_code == 404
