"""Signing in and out, and one's own account. The second factor's pages are allauth's (annotation/account_urls.py)."""

from __future__ import annotations

from typing import Any

from allauth.decorators import rate_limit
from allauth.mfa.utils import is_mfa_enabled
from allauth.socialaccount.models import SocialAccount
from django.contrib import messages
from django.contrib.auth import update_session_auth_hash
from django.contrib.auth.decorators import login_required
from django.contrib.auth.forms import AuthenticationForm, PasswordChangeForm, SetPasswordForm
from django.contrib.auth.views import LoginView, LogoutView
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from annotation.access import SignedInRequest, get_project_for_manager
from annotation.forms import DisplayNameForm
from annotation.inviting import InviteForm, TakenError, invite
from annotation.models import Project, Role, User
from annotation.people import person_behind, sign_in_link, use_link
from annotation.signing_in import SignInForm, let_in, sign_in_service


class SignInView(LoginView):
    """Django's own, which checks `next` against the host; how it ends is allauth's."""

    template_name = "accounts/sign_in.html"
    form_class = SignInForm
    redirect_authenticated_user = True

    def form_valid(self, form: AuthenticationForm) -> HttpResponse:
        return let_in(self.request, form.get_user(), then=self.get_success_url())

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return {**super().get_context_data(**kwargs), "service": sign_in_service(self.request)}


sign_in = rate_limit(action="login")(require_http_methods(["GET", "HEAD", "POST"])(SignInView.as_view()))
# Answers POST only.
sign_out = LogoutView.as_view()


@never_cache
@rate_limit(action="login")  # type: ignore[untyped-decorator]
@require_http_methods(["GET", "HEAD", "POST"])
def sign_in_by_link(request: HttpRequest, token: str) -> HttpResponse:
    """GET asks, POST signs in: a mail program that looks at the link does not spend it."""
    person = use_link(token) if request.method == "POST" else person_behind(token)
    if person is None:
        return render(request, "accounts/link_spent.html", status=410)
    if request.method == "POST":
        return let_in(request, person, then=reverse("home"))
    return render(request, "accounts/link.html", {"person": person})


@require_safe
def closed(request: HttpRequest) -> HttpResponse:
    """Somebody whose account an admin has closed came by the identity provider."""
    return render(request, "accounts/closed.html")


@require_safe
def cancelled(request: HttpRequest) -> HttpResponse:
    """Somebody turned back at the identity provider."""
    messages.info(request, _("You did not sign in: you turned back on the other page."))
    return redirect("sign-in")


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def account(request: SignedInRequest) -> HttpResponse:
    """The name others see, and the ways in."""
    form = DisplayNameForm(request.POST or None, instance=request.user)
    if request.method == "POST" and form.is_valid():
        form.save()
        messages.success(request, _("Your name is saved."))
        return redirect("account")
    context = {
        "form": form,
        "section": "account",
        "service": sign_in_service(request),
        "is_connected": SocialAccount.objects.filter(user=request.user).exists(),
        "has_two_factor": is_mfa_enabled(request.user),
    }
    return render(request, "accounts/account.html", context)


@sensitive_post_parameters()
@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def password(request: SignedInRequest) -> HttpResponse:
    """A new password; the first one, for somebody who came by a link, needs no old one."""
    form = _password_form(request.user)(request.user, request.POST or None)
    if request.method == "POST" and form.is_valid():
        form.save()
        update_session_auth_hash(request, request.user)
        messages.success(request, _("Your password is saved."))
        return redirect("account")
    return render(request, "accounts/password.html", {"form": form, "section": "account"})


def _password_form(user: User) -> type[SetPasswordForm[User]]:
    return PasswordChangeForm if user.has_usable_password() else SetPasswordForm


@login_required
@never_cache
@require_POST
def invite_member(request: SignedInRequest, slug: str) -> HttpResponse:
    """A new person, and their link: shown this once."""
    project = get_project_for_manager(request, slug)
    form = InviteForm(request.POST)
    if form.is_valid():
        values = {**form.cleaned_data, "role": Role(form.cleaned_data["role"])}
        try:
            person = invite(project=project, by=request.user, **values)
        except TakenError:
            form.add_error("username", _why_taken(project, values["username"]))
        else:
            link = sign_in_link(person, request.build_absolute_uri("/"))
            return render(request, "accounts/invited.html", {"project": project, "person": person, "link": link})
    return render(request, "accounts/invite.html", {"project": project, "form": form, "section": "projects"})


def _why_taken(project: Project, username: str) -> str:
    if not project.memberships.filter(user__username=username).exists():
        return _("Somebody has this username. Add them as a member, or choose another.")
    return _(
        "They are a member here and have signed in before. If they cannot any more,"
        " a site admin makes them a link, in the admin under Users."
    )
