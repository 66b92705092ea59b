"""What managers type in about the queue, checked."""

from __future__ import annotations

from typing import Any

from django import forms
from django.core.files.uploadedfile import UploadedFile
from django.db import transaction
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from annotation import assigning
from annotation.forms import RowForm
from annotation.importing.gold import LARGEST_FILE
from annotation.judging import Verdict
from annotation.models import Batch, Comparison, Gold, Membership, Project, Prompt, Team, User

PURPOSES = (
    (Comparison.Purpose.GOLD.value, _("Gold: hidden among the work, to see how reliable people are")),
    (Comparison.Purpose.PRACTICE.value, _("Practice: in the training phase, with your explanation after each")),
)


class QueueForm(RowForm[Project]):
    """Each field is shown with what it costs (annotation.costs)."""

    class Meta:
        model = Project
        fields = ("gold_share", "repeat_share", "random_share", "daily_cap", "practice_pairs", "pass_mark")
        labels = {
            "gold_share": _("Gold pairs (%)"),
            "repeat_share": _("Hidden repeats (%)"),
            "random_share": _("Random arm (%)"),
            "daily_cap": _("Judgments per person and day"),
            "practice_pairs": _("Practice pairs before real work"),
            "pass_mark": _("Pass mark (%)"),
        }
        help_texts = {
            "gold_share": _("Pairs with a known answer, mixed in unseen. They measure each person's accuracy."),
            "repeat_share": _(
                "Pairs a person has judged at least 20 votes ago, sides swapped. They measure consistency."
            ),
            "random_share": _(
                "Drawn from all open pairs instead of taken in order, at least 10, so that figures measured"
                " on them are not biased by the order."
            ),
            "daily_cap": _("Empty for none. Tired people judge worse; a person's own number is set under Assignment."),
            "practice_pairs": _(
                "For annotators; 0 for no training phase. Each is followed by the expected answer and your explanation."
            ),
            "pass_mark": _("Share of the practice pairs that must be judged as expected."),
        }


class GoldFileForm(forms.Form):
    """A file of pairs whose answers are known."""

    file = forms.FileField(label=_("JSON Lines file"), widget=forms.FileInput(attrs={"accept": ".jsonl,.ndjson,.json"}))
    purpose = forms.ChoiceField(label=_("What for"), choices=PURPOSES)

    def clean_file(self) -> UploadedFile[bytes]:
        file: UploadedFile[bytes] = self.cleaned_data["file"]
        if (file.size or 0) > LARGEST_FILE:
            raise forms.ValidationError(
                _("The file is larger than %(size)s MB."), params={"size": LARGEST_FILE // 2**20}
            )
        return file


class MarkForm(forms.Form):
    """The answer to one comparison of two answers, A and B, in the order of its response ids."""

    expected = forms.ChoiceField(
        label=_("Expected answer"),
        choices=(
            ("a", _("A is better")),
            ("b", _("B is better")),
            ("tie", _("A tie")),
            ("both_bad", _("Both are bad")),
        ),
        widget=forms.RadioSelect,
    )
    purpose = forms.ChoiceField(label=_("What for"), choices=PURPOSES)
    explanation = forms.CharField(
        label=_("Explanation"),
        required=False,
        max_length=4_000,
        widget=forms.Textarea(attrs={"rows": 4}),
        help_text=_("Why. Markdown; shown after a practice pair, never with gold."),
    )

    def __init__(self, *args: Any, comparison: Comparison, known: Gold | None, **more: Any) -> None:
        self.comparison = comparison
        first, second = comparison.response_ids
        if known is not None:
            preferred = {first: "a", second: "b"}[known.expected[0][0]] if len(known.expected) == 2 else "tie"
            side = "both_bad" if known.both_bad else preferred
            more["initial"] = {"expected": side, "purpose": comparison.purpose, "explanation": known.explanation}
        super().__init__(*args, **more)

    def answer(self) -> dict[str, Any]:
        """What `gold.mark` wants to know."""
        first, second = self.comparison.response_ids
        expected = self.cleaned_data["expected"]
        tiers = {"a": [[first], [second]], "b": [[second], [first]]}.get(expected, [[first, second]])
        return {
            "verdict": Verdict(tiers=tiers, both_bad=expected == "both_bad"),
            "purpose": Comparison.Purpose(self.cleaned_data["purpose"]),
            "explanation": self.cleaned_data["explanation"].replace("\x00", ""),
        }


class PeopleField(forms.ModelMultipleChoiceField[User]):
    """Some of a project's members."""

    def __init__(self) -> None:
        super().__init__(User.objects.none(), label=_("People"), required=False, widget=forms.CheckboxSelectMultiple)

    def choose_from(self, project: Project) -> None:
        self.queryset = User.objects.filter(memberships__project=project).order_by("username")


class _NamedInProject(forms.ModelForm):  # type: ignore[type-arg]  # of two models
    """A name that is taken only once in a project."""

    def __init__(self, *args: Any, project: Project, **more: Any) -> None:
        more.setdefault("instance", self._meta.model(project=project))
        more.setdefault("auto_id", f"{self._meta.model._meta.model_name}_%s")  # both forms stand on one page
        super().__init__(*args, **more)
        self.project = project
        people = self.fields["people"]
        assert isinstance(people, PeopleField)
        people.choose_from(project)

    def clean_name(self) -> str:
        name: str = self.cleaned_data["name"].strip()
        if self._meta.model.objects.filter(project=self.project, name=name).exclude(pk=self.instance.pk).exists():
            raise forms.ValidationError(_("There is one of this name already."))
        return name


class TeamForm(_NamedInProject):
    people = PeopleField()

    class Meta:
        model = Team
        fields = ("name", "people")
        labels = {"name": _("Name")}


class BatchForm(_NamedInProject):
    """A batch, whom it is given to, and which open comparisons to put into it."""

    people = PeopleField()
    containing = forms.CharField(
        label=_("Prompts that contain"), required=False, max_length=200, help_text=_("Empty for every prompt.")
    )
    key = forms.CharField(label=_("Metadata field"), required=False, max_length=100, help_text=_("For example topic."))
    value = forms.CharField(label=pgettext_lazy("a metadata field", "is"), required=False, max_length=200)
    most = forms.IntegerField(
        label=_("At most"),
        min_value=0,
        max_value=assigning.MOST_AT_ONCE,
        initial=100,
        help_text=_("How many open comparisons that are in no batch to add, the oldest first; 0 adds none."),
    )

    class Meta:
        model = Batch
        fields = ("name", "people", "teams")
        labels = {"name": _("Name"), "teams": _("Teams")}
        widgets = {"teams": forms.CheckboxSelectMultiple}

    def __init__(self, *args: Any, project: Project, **more: Any) -> None:
        super().__init__(*args, project=project, **more)
        teams = self.fields["teams"]
        assert isinstance(teams, forms.ModelMultipleChoiceField)
        teams.queryset = Team.objects.filter(project=project)
        if not teams.queryset.exists():
            del self.fields["teams"]
        if self.instance.pk:  # whoever changes its people does not mean to add pairs
            self.fields["most"].initial = 0

    def clean_key(self) -> str:
        key: str = self.cleaned_data["key"]
        if key and not Prompt.objects.filter(project=self.project, metadata__has_key=key).exists():
            raise forms.ValidationError(
                _("No prompt here has this field: an import keeps what its column metadata has.")
            )
        return key

    @transaction.atomic
    def save_and_fill(self, *, anyway: bool) -> int:
        """Save it, give it to its people and teams, and add comparisons. Returns how many were added.

        Raises TooFewPeopleError where its people cannot finish it, unless it shall be saved `anyway`.
        """
        batch: Batch = self.save(commit=False)
        batch.save()
        assigning.give(batch, people=self.cleaned_data["people"], teams=self.cleaned_data.get("teams", ()))
        names = ("containing", "key", "value")
        wanted = assigning.open_work(self.project, **{name: self.cleaned_data[name].strip() for name in names})
        added = assigning.fill(batch, wanted, most=self.cleaned_data["most"])
        shortage = None if anyway else assigning.shortages_in(self.project).get(batch.pk)
        if shortage is not None:
            raise assigning.TooFewPeopleError(shortage)
        return added


class CapForm(RowForm[Membership]):
    daily_cap = forms.IntegerField(required=False, min_value=1, max_value=10_000)

    class Meta:
        model = Membership
        fields = ("daily_cap",)
