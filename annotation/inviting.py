"""Managers bring new people in: an account that can do nothing but what its role in the project allows, and a link."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib.auth.models import AbstractUser
from django.db import transaction
from django.utils.translation import gettext_lazy as _

from annotation import audit
from annotation.models import Action, AuditEvent, Project, Role, User
from annotation.services import set_role


class TakenError(Exception):
    """The username is somebody's already, or differs from somebody's in capitals alone."""


class InviteForm(forms.Form):
    """Somebody who has no account yet."""

    username = forms.CharField(
        label=_("Username"),
        max_length=150,
        validators=[AbstractUser.username_validator],
        help_text=_("What they sign in with: letters, digits and @ . + - _"),
        widget=forms.TextInput(attrs={"autocomplete": "off", "autocapitalize": "none"}),
    )
    display_name = forms.CharField(
        label=_("Name"), max_length=100, required=False, widget=forms.TextInput(attrs={"autocomplete": "off"})
    )
    role = forms.ChoiceField(label=_("Role"), choices=Role.choices)

    def __init__(self, data: Any = None) -> None:
        super().__init__(data, auto_id="invite_%s")


@transaction.atomic
def invite(*, project: Project, username: str, display_name: str, role: Role, by: User) -> User:
    """A new account in the project; its sign-in link is the caller's to show. Raises TakenError.

    Somebody who was invited here and has never come keeps their account and can be sent a new link. A link for any
    other account is for site admins to make: it would be as good as that person's password.
    """
    person = User.objects.select_for_update().filter(username__iexact=username).first()
    if person is None:
        person = User(username=username, display_name=display_name)
        person.set_unusable_password()
        person.save()
    elif person.username != username or not _still_awaited(person, project):
        raise TakenError
    audit.record(Action.INVITED, actor=by, subject=person, project=project)
    set_role(project=project, person=person, role=role, by=by)
    return person


def _still_awaited(person: User, project: Project) -> bool:
    """Invited to this project, member of no other, in no way special, and never here."""
    invited = AuditEvent.objects.in_project(project).filter(action=Action.INVITED, subject=person)
    plain = not (person.is_staff or person.is_superuser or person.has_usable_password())
    elsewhere = person.memberships.exclude(project=project).exists()
    return bool(person.is_active and person.last_login is None and plain and not elsewhere and invited.exists())
