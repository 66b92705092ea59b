"""What people type in on the API's pages, checked."""

from __future__ import annotations

from django import forms
from django.utils.translation import gettext_lazy as _

from api.addresses import RefusedAddressError, destination_of
from api.models import Event, Scope
from models_registry.sayings import said

NEVER = "never"
DAYS = (
    ("7", _("in a week")),
    ("30", _("in 30 days")),
    ("90", _("in 90 days")),
    ("365", _("in a year")),
    (NEVER, _("never")),
)


class TokenForm(forms.Form):
    """A new token."""

    name = forms.CharField(
        label=_("Name"),
        max_length=100,
        help_text=_("What it is for, so that you know later which one to revoke."),
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )
    scopes = forms.MultipleChoiceField(
        label=_("It may"),
        choices=Scope.choices,
        initial=[Scope.PROJECTS_READ, Scope.LABEL],
        widget=forms.CheckboxSelectMultiple,
        help_text=_("Never more than you may do yourself. Give it only what the program needs."),
    )
    expires = forms.ChoiceField(label=_("It expires"), choices=DAYS, initial="90")

    def clean_scopes(self) -> list[Scope]:
        return [Scope(name) for name in self.cleaned_data["scopes"]]

    def clean_expires(self) -> int | None:
        """Days."""
        chosen = self.cleaned_data["expires"]
        return None if chosen == NEVER else int(chosen)


class WebhookForm(forms.Form):
    """A new webhook. The address is looked up and checked here for a kind word, and again each time it is used."""

    url = forms.URLField(
        label=_("Address"),
        max_length=500,
        assume_scheme="https",
        help_text=_("It gets a POST with JSON and should answer 2xx within ten seconds."),
        widget=forms.URLInput(attrs={"autocomplete": "off", "placeholder": "https://example.org/prefloop"}),
    )
    events = forms.MultipleChoiceField(
        label=_("Tell it when"), choices=Event.choices, widget=forms.CheckboxSelectMultiple
    )

    def clean_url(self) -> str:
        url: str = self.cleaned_data["url"]
        try:
            destination_of(url)
        except RefusedAddressError as refusal:
            raise forms.ValidationError(said(str(refusal))) from None
        return url
