"""Getting in: by password, by link, or by the company's identity provider (OpenID Connect).

Every way ends in allauth's one flow, which counts attempts and asks for the second factor of whoever has set one up.
"""

from __future__ import annotations

import logging
from typing import Any

from allauth.account.adapter import DefaultAccountAdapter, get_adapter
from allauth.account.utils import perform_login
from allauth.mfa.base.internal.flows import post_authentication
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.views import ActivateTOTPView
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from allauth.socialaccount.models import SocialAccount, SocialLogin
from allauth.socialaccount.providers.openid_connect import views as oidc
from django.conf import settings
from django.contrib.auth.forms import AuthenticationForm
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from requests import RequestException

from annotation.models import User

logger = logging.getLogger(__name__)
GREETINGS = {"account/messages/logged_in.txt", "account/messages/logged_out.txt"}


def let_in(request: HttpRequest, person: User, *, then: str) -> HttpResponse:
    """Sign a person in who has shown who they are, after their second factor if they have one. `then` is an address."""
    response: HttpResponse = perform_login(request, person, redirect_url=then)
    return response


def sign_in_service(request: HttpRequest) -> dict[str, str]:
    """The identity provider, for templates: its name and where its button leads. Empty where none is set up."""
    if not settings.OIDC_SERVER_URL:
        return {}
    provider = SiteIdentities(request).get_provider(request, settings.OIDC_ID)
    return {"name": provider.name, "url": provider.get_login_url(request)}


def to_the_provider(request: HttpRequest, provider_id: str) -> HttpResponse:
    """Send somebody to the identity provider; one that does not answer is said so."""
    try:
        response: HttpResponse = oidc.login(request, provider_id)
    except RequestException:
        logger.warning("the identity provider does not answer", exc_info=True)
        return render(request, "socialaccount/authentication_error.html", status=401)
    return response


class SignInForm(AuthenticationForm):
    """Django's own, behind the counter of failed attempts: so many for one address, so many for one account."""

    def clean(self) -> dict[str, Any]:
        username, password = self.cleaned_data.get("username"), self.cleaned_data.get("password")
        if username is not None and password:
            assert self.request is not None
            person = get_adapter(self.request).authenticate(self.request, username=username, password=password)
            if person is None:
                raise self.get_invalid_login_error()
            self.confirm_login_allowed(person)
            self.user_cache = person
        return self.cleaned_data


class SecondFactorView(ActivateTOTPView):  # type: ignore[misc]  # allauth ships no types
    """Sets the second factor up. Its code was typed to do so: the recovery codes, which come next, ask for none."""

    def form_valid(self, form: Any) -> HttpResponse:
        response: HttpResponse = super().form_valid(form)
        added = Authenticator.objects.get(user=self.request.user, type=Authenticator.Type.TOTP)
        post_authentication(self.request, added, reauthenticated=True)
        return response


class SiteAccounts(DefaultAccountAdapter):  # type: ignore[misc]  # allauth ships no types
    """Nobody signs up by themselves, and nobody is told what they see: that they are in."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False

    def add_message(
        self, request: HttpRequest, level: int, message_template: str | None = None, *rest: Any, **more: Any
    ) -> None:
        if message_template not in GREETINGS:
            super().add_message(request, level, message_template, *rest, **more)


class SiteIdentities(DefaultSocialAccountAdapter):  # type: ignore[misc]
    """Whom an identity provider's word lets in.

    Somebody it knows is joined to the account with the same e-mail address, if the provider has verified the address
    and one active account has it. That is safe because accounts get their address from an admin and cannot change it.
    For anybody else a new account is made only where OIDC_NEW_PEOPLE says so; it is in no project.
    """

    def pre_social_login(self, request: HttpRequest, sociallogin: SocialLogin) -> None:
        if sociallogin.is_existing or request.user.is_authenticated:
            return
        verified = [address.email for address in sociallogin.email_addresses if address.verified is True]
        people = list(User.objects.filter(is_active=True, email__iexact=verified[0])[:2]) if verified else []
        if len(people) == 1 and not SocialAccount.objects.filter(user=people[0]).exists():
            sociallogin.connect(request, people[0])

    def is_open_for_signup(self, request: HttpRequest, sociallogin: SocialLogin) -> bool:
        """Not for an address that somebody here has already: that would be a second account of theirs, or a trick."""
        addresses = [address.email for address in sociallogin.email_addresses]
        known = any(User.objects.filter(email__iexact=address).exists() for address in addresses)
        return bool(settings.OIDC_NEW_PEOPLE) and not known

    def populate_user(self, request: HttpRequest, sociallogin: SocialLogin, data: dict[str, Any]) -> User:
        person: User = super().populate_user(request, sociallogin, data)
        person.display_name = str(data.get("name") or "")[:100]
        return person
