"""Signing in, and one's own account.

Some views are allauth's, under our addresses and with our templates. allauth finds its way by names of its own, so an
address that both sides know by name stands here twice.
"""

from allauth.account.views import ReauthenticateView
from allauth.mfa.base import views as mfa
from allauth.mfa.recovery_codes.views import GenerateRecoveryCodesView, ViewRecoveryCodesView
from allauth.mfa.totp.views import DeactivateTOTPView
from allauth.socialaccount.providers.openid_connect import views as oidc
from django.contrib.auth.decorators import login_required
from django.urls import path
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods, require_POST, require_safe

from annotation.signing_in import SecondFactorView, to_the_provider
from annotation.views import people, personal

form = require_http_methods(["GET", "HEAD", "POST"])


urlpatterns = [
    path("sign-in/", people.sign_in, name="sign-in"),
    path("sign-in/", people.sign_in, name="account_login"),
    path(
        "sign-in/code/", form(mfa.AuthenticateView.as_view(template_name="accounts/code.html")), name="mfa_authenticate"
    ),
    path(
        "sign-in/again/",
        form(ReauthenticateView.as_view(template_name="accounts/again.html")),
        name="account_reauthenticate",
    ),
    path(
        "sign-in/again/code/",
        form(mfa.ReauthenticateView.as_view(template_name="accounts/again.html")),
        name="mfa_reauthenticate",
    ),
    path("sign-in/closed/", people.closed, name="account_inactive"),
    path("sign-in/cancelled/", people.cancelled, name="socialaccount_login_cancelled"),
    path("sign-in/with/<slug:provider_id>/", require_POST(to_the_provider), name="openid_connect_login"),
    path("sign-in/with/<slug:provider_id>/back/", require_GET(oidc.callback), name="openid_connect_callback"),
    path("sign-in/<str:token>/", people.sign_in_by_link, name="sign-in-link"),
    path("sign-out/", people.sign_out, name="sign-out"),
    path("account/", people.account, name="account"),
    path("account/", people.account, name="socialaccount_connections"),
    path("account/password/", people.password, name="password"),
    path(
        "account/two-factor/",
        require_safe(mfa.IndexView.as_view(template_name="accounts/two_factor.html")),
        name="mfa_index",
    ),
    path(
        "account/two-factor/on/",
        form(login_required(never_cache(SecondFactorView.as_view(template_name="accounts/two_factor_on.html")))),
        name="mfa_activate_totp",
    ),
    path(
        "account/two-factor/off/",
        form(DeactivateTOTPView.as_view(template_name="accounts/two_factor_off.html")),
        name="mfa_deactivate_totp",
    ),
    path(
        "account/two-factor/codes/",
        require_safe(never_cache(ViewRecoveryCodesView.as_view(template_name="accounts/recovery_codes.html"))),
        name="mfa_view_recovery_codes",
    ),
    path(
        "account/two-factor/codes/new/",
        form(login_required(GenerateRecoveryCodesView.as_view(template_name="accounts/recovery_codes_new.html"))),
        name="mfa_generate_recovery_codes",
    ),
    path("account/data/", personal.show, name="my-data"),
    path("account/data/export/", personal.export, name="my-data-export"),
    path("account/data/delete/", personal.delete, name="my-data-delete"),
]
