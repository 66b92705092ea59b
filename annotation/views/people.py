"""Signing in and out, and one's own account."""

from __future__ import annotations

from django.conf import settings
from django.contrib import messages
from django.contrib.auth import login, update_session_auth_hash
from django.contrib.auth.decorators import login_required
from django.contrib.auth.forms import PasswordChangeForm, SetPasswordForm
from django.contrib.auth.views import LoginView, LogoutView
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from annotation.access import SignedInRequest
from annotation.forms import DisplayNameForm
from annotation.models import User
from annotation.people import person_behind, use_link

# Both check `next` against the host; signing out answers POST only.
sign_in = LoginView.as_view(template_name="accounts/sign_in.html", redirect_authenticated_user=True)
sign_out = LogoutView.as_view()


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def sign_in_by_link(request: HttpRequest, token: str) -> HttpResponse:
    """GET asks, POST signs in: a mail program that looks at the link does not spend it."""
    person = use_link(token) if request.method == "POST" else person_behind(token)
    if person is None:
        return render(request, "accounts/link_spent.html", status=410)
    if request.method == "POST":
        login(request, person, backend=settings.AUTHENTICATION_BACKENDS[0])
        return redirect("home")
    return render(request, "accounts/link.html", {"person": person})


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def account(request: SignedInRequest) -> HttpResponse:
    """The name others see."""
    form = DisplayNameForm(request.POST or None, instance=request.user)
    if request.method == "POST" and form.is_valid():
        form.save()
        messages.success(request, "Your name is saved.")
        return redirect("account")
    return render(request, "accounts/account.html", {"form": form})


@sensitive_post_parameters()
@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def password(request: SignedInRequest) -> HttpResponse:
    """A new password; the first one, for somebody who came by a link, needs no old one."""
    form = _password_form(request.user)(request.user, request.POST or None)
    if request.method == "POST" and form.is_valid():
        form.save()
        update_session_auth_hash(request, request.user)
        messages.success(request, "Your password is saved.")
        return redirect("account")
    return render(request, "accounts/password.html", {"form": form})


def _password_form(user: User) -> type[SetPasswordForm[User]]:
    return PasswordChangeForm if user.has_usable_password() else SetPasswordForm
