"""One's own data: what there is, take it along, have it deleted."""

from __future__ import annotations

from typing import Any

from allauth.account.decorators import reauthentication_required
from django import forms
from django.contrib import messages
from django.contrib.auth import logout
from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods, require_safe

from annotation import audit
from annotation.access import SignedInRequest
from annotation.models import Action, Judgment, User
from annotation.personal_data import StillNeededError, as_file, forget


class DeleteForm(forms.Form):
    """One types one's own username, so that nobody deletes themselves by a slip."""

    username = forms.CharField(
        label=_("Your username"), widget=forms.TextInput(attrs={"autocomplete": "off", "autocapitalize": "none"})
    )

    def __init__(self, person: User, *args: Any, **kwargs: Any) -> None:
        self.person = person
        super().__init__(*args, **kwargs)

    def clean_username(self) -> str:
        name: str = self.cleaned_data["username"]
        if name != self.person.username:
            raise forms.ValidationError(_("That is not your username, so nothing was deleted."))
        return name


@login_required
@require_safe
def show(request: SignedInRequest) -> HttpResponse:
    votes = Judgment.objects.kept().by(request.user).count()
    return render(request, "accounts/my_data.html", {"votes": votes, "section": "account"})


@login_required
@require_GET  # HEAD would stand in the log as taking the data along
@never_cache
@reauthentication_required  # type: ignore[untyped-decorator]
def export(request: SignedInRequest) -> HttpResponse:
    """Everything, as one JSON file."""
    audit.record(Action.OWN_DATA, actor=request.user)
    return as_file(request.user)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
@reauthentication_required  # type: ignore[untyped-decorator]
def delete(request: SignedInRequest) -> HttpResponse:
    form = DeleteForm(request.user, request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            forget(request.user)
        except StillNeededError as reason:
            form.add_error(None, str(reason))
        else:
            logout(request)
            messages.success(request, _("Your data is deleted and your account is closed. Thank you for your votes."))
            return redirect("sign-in")
    return render(request, "accounts/delete_me.html", {"form": form, "section": "account"})
