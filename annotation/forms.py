"""What people type in, checked."""

from __future__ import annotations

from typing import Any

from django import forms

from annotation.models import Project, Role, User


class DisplayNameForm(forms.ModelForm[User]):
    class Meta:
        model = User
        fields = ("display_name",)
        labels = {"display_name": "Name that others see"}


class ProjectForm(forms.ModelForm[Project]):
    class Meta:
        model = Project
        fields = ("name", "guidelines", "overlap", "asks_strength", "asks_reason")
        labels = {
            "overlap": "Judgments per comparison",
            "asks_strength": "Ask how much better",
            "asks_reason": "Offer a field for the reason",
        }
        help_texts = {
            "guidelines": "What makes one answer better than another here. Markdown; annotators open it with one key.",
            "overlap": "How many people judge each new comparison (1 to 50). Comparisons that exist keep their number.",
            "asks_strength": "Slightly, clearly or much: seven keys instead of three. Training can weigh votes by it.",
            "asks_reason": "Annotators may type why; it makes each vote slower.",
        }
        widgets = {"guidelines": forms.Textarea(attrs={"rows": 12})}


class MemberForm(forms.Form):
    """Adds a person by their username, or gives them another role."""

    username = forms.CharField(max_length=150, widget=forms.TextInput(attrs={"autocomplete": "off"}))
    role = forms.ChoiceField(choices=Role.choices)

    def clean_username(self) -> User:
        person = User.objects.filter(username=self.cleaned_data["username"], is_active=True).first()
        if person is None:
            raise forms.ValidationError("There is nobody with this username. An admin can add people.")
        return person

    def person(self) -> User:
        """The person the form names, once it is valid."""
        named: Any = self.cleaned_data["username"]
        assert isinstance(named, User)
        return named
