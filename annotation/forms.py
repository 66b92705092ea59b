"""What people type in, checked."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, TypeVar, cast

from django import forms
from django.contrib.postgres.forms import SimpleArrayField
from django.core.files.uploadedfile import UploadedFile
from django.db.models import Model
from django.utils.text import format_lazy
from django.utils.translation import gettext_lazy as _
from django.utils.translation import override

from annotation.importing.reading import SHAPES
from annotation.models import Project, Role, User
from annotation.services import check_source_name

Row = TypeVar("Row", bound=Model)

MOST_ASPECTS = 6
MOST_TAGS = 12
ABOUT_PAIRS = ("asks_strength", "offers_both_good", "aspects")


class RowForm(forms.ModelForm[Row]):
    """Changes a row that is there, in the fields that were changed: what others change at that moment stays."""

    def full_clean(self) -> None:
        """Django leaves refused values on the row, and the page tells of the row beside the form."""
        super().full_clean()
        if self.errors and self.instance.pk:
            self.instance.refresh_from_db(fields=list(self.fields))

    def save(self, commit: bool = True) -> Row:
        row = super().save(commit=False)
        if commit:
            row.save(update_fields=self.changed())
        return row

    def changed(self) -> list[str]:
        """The fields that differ from the row's. Django takes every list for another one than it was."""
        return [name for name in self.changed_data if self.initial.get(name) != self.cleaned_data[name]]

    @override("en")
    def changed_words(self) -> str:
        """The labels of the fields that were changed, in brackets, as the audit log keeps them."""
        labels = ", ".join(str(self.fields[name].label) for name in self.changed())
        return f"({labels})" if labels else ""


class DisplayNameForm(RowForm[User]):
    class Meta:
        model = User
        fields = ("display_name",)
        labels = {"display_name": _("Name that others see")}


class ShortNumber(forms.NumberInput):
    """A decimal number without the zeros that say nothing."""

    def format_value(self, value: Any) -> str | None:
        return f"{value.normalize():f}" if isinstance(value, Decimal) else super().format_value(value)


class CommaList(forms.TextInput):
    """Names with a comma and a space between them, as people write them."""

    def format_value(self, value: Any) -> str:
        return ", ".join(name.strip() for name in str(value or "").split(","))


class ProjectForm(RowForm[Project]):
    class Meta:
        model = Project
        fields = (
            "name",
            "guidelines",
            "overlap",
            "kind",
            "asks_strength",
            "offers_both_good",
            "asks_acceptability",
            "aspects",
            "reason_tags",
            "asks_reason",
            "offers_edit",
        )
        labels = {
            "name": _("Name"),
            "guidelines": _("Guidelines"),
            "overlap": _("Judgments per comparison"),
            "kind": _("People see"),
            "asks_strength": _("Ask how much better"),
            "offers_both_good": _("Offer “both good”"),
            "asks_acceptability": _("Ask of each answer whether it will do"),
            "aspects": _("Aspects judged apart"),
            "reason_tags": _("Reasons to tick"),
            "asks_reason": _("Offer a field for the reason"),
            "offers_edit": _("Offer to edit an answer"),
        }
        help_texts = {
            "guidelines": _(
                "What makes one answer better than another here. Markdown; annotators open it with one key."
            ),
            "overlap": _(
                "How many people judge each new comparison (1 to 50); with 1.2 one in five is judged twice."
                " Comparisons that exist keep their number."
            ),
            "asks_strength": _(
                "Slightly, clearly or much: seven keys instead of three. Training can weigh votes by it."
            ),
            "kind": _("What the answers to one prompt become. What somebody has begun to judge stays as it is."),
            "offers_both_good": _("Beside “both bad”; like a tie it prefers no answer."),
            "asks_acceptability": _("Apart from which is better: each answer is called good enough, or not."),
            "aspects": _(
                "For example: helpful, true, harmless. Each gets its own A, tie or B, and people must answer every one."
                " At most six."
            ),
            "reason_tags": _(
                "For example: correct, clearer, safer, shorter. At most twelve; the first nine have a key."
            ),
            "asks_reason": _("Annotators may type why; it makes each vote slower."),
            "offers_edit": _("The edited text counts as better than its original, and as a demonstration for SFT."),
        }
        widgets = {
            "guidelines": forms.Textarea(attrs={"rows": 12}),
            "overlap": ShortNumber,
            "aspects": CommaList,
            "reason_tags": CommaList,
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["kind"].required = False
        for name in ("aspects", "reason_tags"):
            field = cast(SimpleArrayField, self.fields[name])
            field.base_field.required = False  # a comma at the end is no mistake
            field.error_messages["item_invalid"] = _("Number %(nth)s of the list:")

    def clean_kind(self) -> str:
        return self.cleaned_data["kind"] or self.instance.kind

    def clean_aspects(self) -> list[str]:
        return _different(self.cleaned_data["aspects"], most=MOST_ASPECTS)

    def clean_reason_tags(self) -> list[str]:
        return _different(self.cleaned_data["reason_tags"], most=MOST_TAGS)


class SettingsForm(ProjectForm):
    """Of a project that is there: without what its kind never asks. What was set stays for when the kind changes."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.kind == Project.Kind.SINGLE:
            for name in (*ABOUT_PAIRS, "asks_acceptability"):
                del self.fields[name]
        elif self.instance.kind == Project.Kind.RANKING:
            for name in ABOUT_PAIRS:
                told = {"only": _("Only where a prompt has just two answers."), "help": self.fields[name].help_text}
                self.fields[name].help_text = format_lazy("{only} {help}", **told)


def _different(names: list[str], *, most: int) -> list[str]:
    """The names without repetitions and empty ones, in their order."""
    found = [name for name in dict.fromkeys(names) if name]
    if any("," in name for name in found):  # a program may send one; the page would part it
        raise forms.ValidationError(_("A comma parts two names, so none has one."))
    if len(found) > most:
        raise forms.ValidationError(_("At most %(most)s."), params={"most": most})
    return found


class MemberForm(forms.Form):
    """Adds a person by their username, or gives them another role."""

    username = forms.CharField(
        label=_("Username"), max_length=150, widget=forms.TextInput(attrs={"autocomplete": "off"})
    )
    role = forms.ChoiceField(label=_("Role"), choices=Role.choices)

    def clean_username(self) -> User:
        person = User.objects.filter(username=self.cleaned_data["username"], is_active=True).first()
        if person is None:
            raise forms.ValidationError(_("There is nobody with this username. Invite them below."))
        return person

    def person(self) -> User:
        """The person the form names, once it is valid."""
        named: Any = self.cleaned_data["username"]
        assert isinstance(named, User)
        return named


LARGEST_UPLOAD = 2 * 2**30  # bytes


class UploadForm(forms.Form):
    """A file that is looked at before anything of it lands."""

    file = forms.FileField(
        label=_("File"), help_text=_("JSON Lines, JSON, CSV or Parquet, packed by gzip or not. At most 2 GB.")
    )

    def clean_file(self) -> UploadedFile[bytes]:
        file: UploadedFile[bytes] = self.cleaned_data["file"]
        if (file.size or 0) > LARGEST_UPLOAD:
            raise forms.ValidationError(
                _("The file is larger than 2 GB. On the server, manage.py import_comparisons takes any size.")
            )
        return file


EACH_ROW = "mixed"  # how the form and the address say that each row is read in its own shape
SHAPE_CHOICES = [
    (EACH_ROW, _("several shapes, each row for its own")),
    *((n, shape.TITLE) for n, shape in SHAPES.items()),
]


class ImportForm(forms.Form):
    """What the rows of an uploaded file mean. The shape is the one that the page shows them in."""

    shape = forms.CharField(widget=forms.HiddenInput)
    judged_by = forms.CharField(
        label=_("Votes by"),
        required=False,
        max_length=120,
        help_text=_(
            "The source whose votes the file holds: they are kept as its judgments, and people are not asked."
            " Where the file tells voters apart, they follow after a dot. Empty: people judge."
        ),
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )
    author_label = forms.CharField(
        label=_("Answers written by"),
        required=False,
        max_length=200,
        help_text=_("A label for whoever wrote the answers, where the rows name nobody. Annotators never see it."),
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )

    def clean(self) -> dict[str, Any]:
        told = super().clean() or {}
        if told.get("shape") not in dict(SHAPE_CHOICES):
            raise forms.ValidationError(_("Choose one of the shapes."))
        if told["shape"] == EACH_ROW:
            told["shape"] = ""
        return told

    def clean_judged_by(self) -> str:
        name: str = self.cleaned_data["judged_by"]
        if name:
            check_source_name(name)
        return name
