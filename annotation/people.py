"""Sign-in links: one click instead of a password, once, for a day.

A link carries no secret of its own: it signs the person's id and a fingerprint of their password and last sign-in, so
the first sign-in by any way ends every link made before it.
"""

from __future__ import annotations

from datetime import timedelta

from allauth.socialaccount.models import SocialAccount
from django.core import signing
from django.urls import reverse
from django.utils.crypto import constant_time_compare, salted_hmac
from django.utils.timezone import now

from annotation.models import User

LINK_AGE = timedelta(days=1)
SALT = "annotation.people.sign_in_link"


def sign_in_link(user: User, base_url: str) -> str:
    """The address that signs this person in once, within a day. `base_url` is like `http://127.0.0.1:8000`."""
    token = signing.dumps([user.pk, _fingerprint(user)], salt=SALT)
    return base_url.rstrip("/") + reverse("sign-in-link", args=[token])


def comes_in_again(person: User) -> bool:
    """Whether they have a way in of their own: a password, or another site's account."""
    return person.has_usable_password() or SocialAccount.objects.filter(user=person).exists()


def person_behind(token: str) -> User | None:
    """Who a link signs in; None if it is forged, used, a day old, or its person may not sign in."""
    try:
        user_id, fingerprint = signing.loads(token, salt=SALT, max_age=LINK_AGE)
    except signing.BadSignature:
        return None
    user = User.objects.filter(pk=user_id, is_active=True).first()
    return user if user is not None and constant_time_compare(fingerprint, _fingerprint(user)) else None


def use_link(token: str) -> User | None:
    """Spend a link. Of two that click at the same moment one gets the person, the other None."""
    user = person_behind(token)
    if user is None:
        return None
    # The sign-in of the caller sets the time again; this one makes the link unusable and says who was first.
    spent = User.objects.filter(pk=user.pk, last_login=user.last_login)
    if user.last_login is None:
        spent = User.objects.filter(pk=user.pk, last_login__isnull=True)
    if spent.update(last_login=now()) == 0:
        return None
    user.refresh_from_db()
    return user


def _fingerprint(user: User) -> str:
    signed_in = user.last_login.isoformat() if user.last_login else ""
    return salted_hmac(SALT, f"{user.pk}:{user.password}:{signed_in}", algorithm="sha256").hexdigest()[:24]
