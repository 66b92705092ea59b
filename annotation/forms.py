"""What people type in, checked."""

from __future__ import annotations

from typing import Any

from django import forms
from django.core.files.uploadedfile import UploadedFile

from annotation.importing.reading import SHAPES
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


LARGEST_UPLOAD = 2 * 2**30  # bytes


class UploadForm(forms.Form):
    """A file that is looked at before anything of it lands."""

    file = forms.FileField(help_text="JSON Lines, JSON, CSV or Parquet; JSON and CSV may be gzipped. At most 2 GB.")

    def clean_file(self) -> UploadedFile[bytes]:
        file: UploadedFile[bytes] = self.cleaned_data["file"]
        if (file.size or 0) > LARGEST_UPLOAD:
            raise forms.ValidationError(
                "The file is larger than 2 GB. On the server, manage.py import_comparisons takes any size."
            )
        return file


EACH_ROW = "mixed"  # how the form and the address say that each row is read in its own shape
SHAPE_CHOICES = [(EACH_ROW, "several shapes, each row for its own"), *((n, shape.TITLE) for n, shape in SHAPES.items())]


class ImportForm(forms.Form):
    """What the rows of an uploaded file mean. The shape is the one that the page shows them in."""

    shape = forms.CharField(widget=forms.HiddenInput)
    judged_by = forms.CharField(
        label="Votes by",
        required=False,
        max_length=120,
        help_text="The source whose votes the file holds: they are kept as its judgments, and people are not asked."
        " Where the file tells voters apart, they follow after a dot. Empty: have people judge every pair.",
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )
    author_label = forms.CharField(
        label="Answers written by",
        required=False,
        max_length=200,
        help_text="A label for whoever wrote the answers, where the rows name nobody. Annotators never see it.",
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )

    def clean(self) -> dict[str, Any]:
        told = super().clean() or {}
        if told.get("shape") not in dict(SHAPE_CHOICES):
            raise forms.ValidationError("Choose one of the shapes.")
        if told["shape"] == EACH_ROW:
            told["shape"] = ""
        return told

    def clean_judged_by(self) -> str:
        name: str = self.cleaned_data["judged_by"]
        if name:
            check_source_name(name)
        return name
