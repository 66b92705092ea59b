"""What people type in, checked."""

from __future__ import annotations

from typing import Any

from django import forms
from django.core.files.uploadedfile import UploadedFile

from annotation.models import Project, Role, User
from annotation.services import check_source_name


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
            raise forms.ValidationError("There is nobody with this username. Invite them below.")
        return person

    def person(self) -> User:
        """The person the form names, once it is valid."""
        named: Any = self.cleaned_data["username"]
        assert isinstance(named, User)
        return named


LARGEST_UPLOAD = 50 * 2**20  # bytes


class ImportForm(forms.Form):
    """A JSON Lines file, and what its rows mean."""

    file = forms.FileField(label="JSON Lines file", widget=forms.FileInput(attrs={"accept": ".jsonl,.ndjson,.json"}))
    judged_by = forms.CharField(
        label="Already judged by",
        required=False,
        max_length=150,
        help_text="Leave empty to have people judge every pair. With a name (say, the data set's), chosen over rejected"
        " is kept as a vote of that source, and the pair is not shown to people.",
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )
    author_label = forms.CharField(
        label="Written by",
        required=False,
        max_length=200,
        help_text="A label for whoever wrote the answers, where the rows name nobody. Annotators never see it.",
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )

    def clean_file(self) -> UploadedFile[bytes]:
        file: UploadedFile[bytes] = self.cleaned_data["file"]
        if (file.size or 0) > LARGEST_UPLOAD:
            raise forms.ValidationError(
                "The file is larger than 50 MB. On the server, manage.py import_comparisons takes any size."
            )
        return file

    def clean_judged_by(self) -> str:
        name: str = self.cleaned_data["judged_by"]
        if name:
            check_source_name(name)
        return name
