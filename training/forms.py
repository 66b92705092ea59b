"""The launch form and the schedule form: fields of a method's config are built from its description."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, ClassVar

from django import forms
from django.core.exceptions import ValidationError
from django.db.models import Q
from django.utils.formats import sanitize_separators
from django.utils.text import format_lazy
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.widgets import (
    UnfoldAdminCheckboxSelectMultipleWidget,
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminSingleDateWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanSwitchWidget,
)

from annotation.models import Comparison, Judgment, Project, User
from annotation.quality.renewing import Smoothing, proposed_smoothing
from models_registry.models import Version
from models_registry.sayings import said
from training.engine.config import METHODS, ConfigError, Option, describe, load_config
from training.launching import LaunchError, Plan, launch_run
from training.models import Method, Run, Schedule
from training.schedules import check_crontab
from training.snapshot_filter import PAIRS, VOTES, Filter
from training.snapshots import Preview, preview

PREFIX = "option_"
SMOOTHING = f"{PREFIX}label_smoothing"
# Groups that few people touch are folded away.
FOLDED = ("Adapter", "Memory and precision", "Evaluation")
# In options' names.
SHORT_FORMS = {"kl": "KL", "gae": "GAE", "ema": "EMA", "eos": "EOS", "lora": "LoRA"}
SHORT_FORM = re.compile(rf"\b({'|'.join(SHORT_FORMS)})\b", re.IGNORECASE)
FILTER_FIELDS = ("labels", "min_strength", "purposes", "since", "until")
LAUNCH_HELP = {
    Method.SFT: _("Imitates the chosen answers. A start for a base model that does not answer well yet."),
    Method.REWARD: _("Learns to score answers as your annotators would. PPO needs one."),
    Method.DPO: _("Moves a policy towards the chosen answers directly. The simplest way to align; no reward model."),
    Method.PPO: _("Lets a policy answer, scores the answers with a reward model, and reinforces what scores high."),
    Method.SAMPLE: _("Lets a model answer a project's prompts. Its answers are the next pairs that people compare."),
}


def option_field(option: Option) -> forms.Field:
    """A form field for one option, with its help, unit, range, default and source."""
    shared: dict[str, Any] = {
        "label": _label(option),
        "help_text": _help(option),
        "initial": option.default,
        "required": False,
    }
    if option.type == "bool":
        return forms.BooleanField(**shared, widget=UnfoldBooleanSwitchWidget)
    if option.type == "choice":
        choices = [(choice, choice) for choice in option.choices or ()]
        return forms.ChoiceField(**shared, choices=choices, widget=UnfoldAdminSelectWidget)
    if option.type == "int":
        low, high = (None if bound is None else int(bound) for bound in (option.low, option.high))
        return forms.IntegerField(**shared, min_value=low, max_value=high, widget=UnfoldAdminIntegerFieldWidget)
    if option.type == "float":
        # Text, not a number field: browsers write 5e-05 as 0.00005, and refuse steps they do not know.
        return NumberField(**shared, widget=UnfoldAdminTextInputWidget(attrs={"inputmode": "decimal"}))
    return forms.CharField(**shared, widget=UnfoldAdminTextInputWidget)


class NumberField(forms.FloatField):
    """Takes 0.05 and, where the reader's language writes it so, 0,05. Shown as the engine writes it."""

    def to_python(self, value: Any) -> float | None:  # type: ignore[override]  # the stubs hold it to be an integer
        return super().to_python(sanitize_separators(value))


def name_of(option: Option) -> str:
    """An option's name as words, in English."""
    name = option.name.replace("_", " ").capitalize()
    return SHORT_FORM.sub(lambda found: SHORT_FORMS[found[0].lower()], name)


def _label(option: Option) -> str:
    name = said(name_of(option))
    return f"{name} ({said(option.unit)})" if option.unit else name


def _help(option: Option) -> str:
    parts = [said(option.help)]
    if option.low is not None and option.high is not None:
        parts.append(gettext("%(low)s to %(high)s.") % {"low": _plain(option.low), "high": _plain(option.high)})
    if option.type != "bool":
        parts.append(gettext("Default %(value)s.") % {"value": _plain(option.default)})
    if option.source:
        parts.append(gettext("Source: %(source)s.") % {"source": said(option.source)})
    return " ".join(parts)


def _plain(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value) or gettext("empty")


def named(version: Version) -> str:
    """A version to choose, with what is to be known of it."""
    return f"{version}: {said(version.notice)}" if version.notice else str(version)


class MethodForm(forms.ModelForm):  # type: ignore[type-arg]
    """A form with the options of one method. Subclasses made by :func:`form_for` know which."""

    method: ClassVar[Method]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        kept = self.instance  # whose own project and models stay to be chosen when they are archived: to switch it off
        projects = Project.objects.filter(Q(archived_at=None) | Q(pk=kept.project_id))
        self.fields["project"].queryset = projects  # type: ignore[attr-defined]
        usable = ~Q(stage=Version.Stage.ARCHIVED) | Q(pk__in=(kept.base_id, kept.reward_id))
        versions = Version.objects.select_related("model").filter(usable)
        self.fields["base"].queryset = versions.policies()  # type: ignore[attr-defined]
        self.fields["base"].required = True
        if self.method == Method.PPO:
            self.fields["reward"].queryset = versions.rewards()  # type: ignore[attr-defined]
            self.fields["reward"].required = True
        else:
            del self.fields["reward"]
        for name in ("base", "reward"):
            if name in self.fields:
                self.fields[name].label_from_instance = named  # type: ignore[attr-defined]
        for name, value in (self.instance.config or {}).items():
            if f"{PREFIX}{name}" in self.fields:
                self.fields[f"{PREFIX}{name}"].initial = value

    def option_values(self) -> dict[str, object]:
        """What was filled in; an empty field means its default. Switches are always said."""
        found = {}
        for option in describe(self.method):
            value = self.cleaned_data.get(f"{PREFIX}{option.name}")
            if value is not None and value != "":
                found[option.name] = value
        return found

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        try:
            load_config(self.method, self.option_values())
        except ConfigError as error:
            for name, reason in error.errors.items():
                if f"{PREFIX}{name}" not in self.errors:
                    self.add_error(
                        f"{PREFIX}{name}" if f"{PREFIX}{name}" in self.fields else None, _sentence(said(reason))
                    )
        return cleaned

    def _initial_project(self) -> Project | None:
        value = str(self.get_initial_for_field(self.fields["project"], "project") or "")
        return Project.objects.filter(pk=int(value)).first() if value.isdecimal() and len(value) < 10 else None


def _sentence(reason: str) -> str:
    return reason[:1].upper() + reason[1:].rstrip(".") + "."


class FilterFields(forms.Form):
    """Which preferences are learned from."""

    labels = forms.ChoiceField(
        label=_("A row for"),
        required=False,
        choices=[(VOTES, _("every vote, as it was given")), (PAIRS, _("every pair, by all its votes"))],
        help_text=_(
            "By all its votes: the likelier answer with the probability that it is the better one, each vote"
            " weighed by the reliability of its person. A reviewer's decision stands above the votes. Comparisons of"
            " two answers only: rankings, single answers and edits have no such label and are left out."
        ),
        widget=UnfoldAdminSelectWidget,
    )
    min_strength = forms.TypedChoiceField(
        label=_("Strength of the vote"),
        required=False,
        coerce=int,
        empty_value="",
        choices=[
            (0, _("any, also votes without one")),
            *(
                (value, format_lazy(_("{strength} or stronger"), strength=label))
                for value, label in Judgment.Strength.choices
            ),
        ],
        widget=UnfoldAdminSelectWidget,
    )
    purposes = forms.MultipleChoiceField(
        label=_("Comparisons made to"),
        choices=Comparison.Purpose.choices,
        initial=[Comparison.Purpose.COLLECT],
        widget=UnfoldAdminCheckboxSelectMultipleWidget,
    )
    since = forms.DateField(required=False, label=_("From"), widget=UnfoldAdminSingleDateWidget)
    until = forms.DateField(required=False, label=_("Until"), widget=UnfoldAdminSingleDateWidget)

    @staticmethod
    def chosen(cleaned: dict[str, Any]) -> Filter:
        return Filter(
            min_strength=cleaned.get("min_strength") or 0,
            purposes=tuple(cleaned.get("purposes") or Filter.purposes),
            since=cleaned.get("since"),
            until=cleaned.get("until"),
            labels=cleaned.get("labels") or VOTES,
        )


class LaunchForm(FilterFields, MethodForm):
    """One run: what it learns from, what it starts from, how."""

    count_template = "admin/training/run/_count.html"
    plan: Plan | None = None
    found: Preview | None = None

    class Meta:
        model = Run
        fields = ("project", "base", "reward", "seed")
        widgets = {
            "project": UnfoldAdminSelectWidget,
            "base": UnfoldAdminSelectWidget,
            "reward": UnfoldAdminSelectWidget,
            "seed": UnfoldAdminIntegerFieldWidget,
        }
        help_texts = {
            "project": _("Its preferences are frozen at the launch."),
            "base": _("The model to start from. A policy can be trained further."),
            "reward": _("It scores the policy's answers. One with another tokenizer than the base reads them as text."),
            "seed": _("The same seed on the same data gives the same run."),
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["project"].required = True
        if self.method == Method.PPO:
            for name in FILTER_FIELDS:  # it learns from prompts, not from votes
                del self.fields[name]
        if self.method == Method.SFT:  # it learns from answers that won, once each
            del self.fields["labels"]

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        if cleaned.get("labels") == PAIRS and any(cleaned.get(name) for name in ("min_strength", "since", "until")):
            self.add_error("labels", _("The label of a pair holds all its votes: leave strength and dates empty."))
        if cleaned.get("labels") == PAIRS and cleaned.get(SMOOTHING):
            self.add_error(SMOOTHING, _("The labels of pairs say already how often votes are wrong: set it to 0."))
        if "_count" in self.data:
            self.add_error(None, _("Nothing has been launched: what it would train on is counted below."))
        if cleaned.get("since") and cleaned.get("until") and cleaned["since"] > cleaned["until"]:
            self.add_error("until", _("It ends before it begins."))
        if self.errors:
            return cleaned
        self.plan = Plan(
            method=self.method,
            project=cleaned["project"],
            base=cleaned["base"],
            reward=cleaned.get("reward"),
            values=self.option_values(),
            seed=cleaned.get("seed") or 0,
            chosen=self.chosen(cleaned),
        )
        try:
            self.found = self.plan.check()
        except LaunchError as error:
            self.add_error(error.field if error.field in self.fields else None, str(error))
        return cleaned

    def count(self) -> Preview | None:
        """What it would train on, as far as the form says; None while no project is chosen."""
        if self.found:
            return self.found
        if self.is_bound:
            self.is_valid()
            # A refused plan still has its project: too little to learn from is a count as well.
            project = self.plan.project if self.plan else self.cleaned_data.get("project")
            chosen = self.chosen(self.cleaned_data)
        else:
            project, chosen = self._initial_project(), Filter()
        return preview(self.method, project, chosen) if project else None

    def smoothing(self) -> Smoothing | None:
        """The label smoothing that the project's votes ask for; None for other methods, and where nothing is known."""
        if self.method != Method.DPO:
            return None
        if self.is_bound:
            self.is_valid()
            project = self.cleaned_data.get("project")  # also where something else is wrong with the form
        else:
            project = self._initial_project()
        return proposed_smoothing(project) if project else None

    def launch(self, created_by: User) -> Run:
        """Launch what `clean` has found good. LaunchError if that has changed since."""
        plan = self.plan
        assert plan is not None
        return launch_run(
            method=plan.method,
            project=plan.project,
            base=plan.base,
            reward=plan.reward,
            values=plan.values,
            seed=plan.seed,
            chosen=plan.chosen,
            created_by=created_by,
        )


class ScheduleForm(MethodForm):
    """When a run is launched, and with what."""

    class Meta:
        model = Schedule
        fields = ("project", "base", "reward", "estimates_smoothing", "every_preferences", "crontab", "enabled")
        widgets = {
            "project": UnfoldAdminSelectWidget,
            "base": UnfoldAdminSelectWidget,
            "reward": UnfoldAdminSelectWidget,
            "estimates_smoothing": UnfoldBooleanSwitchWidget,
            "every_preferences": UnfoldAdminIntegerFieldWidget,
            "crontab": UnfoldAdminTextInputWidget,
            "enabled": UnfoldBooleanSwitchWidget,
        }
        labels = {
            "estimates_smoothing": _("Estimate the label smoothing at each launch"),
            "every_preferences": _("Every so many new preferences"),
        }
        help_texts = {
            "estimates_smoothing": _(
                "By the project's newest quality numbers, as the launch form proposes it. While they do not say how"
                " many votes are wrong, the label smoothing given below holds."
            ),
            "every_preferences": _("Or leave it empty and give a crontab."),
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.method == Method.DPO:
            self.fields["estimates_smoothing"].initial = True  # of a new schedule
        else:
            del self.fields["estimates_smoothing"]

    def clean_crontab(self) -> str:
        crontab = " ".join(self.cleaned_data["crontab"].split())
        if crontab:
            try:
                check_crontab(crontab)
            except ValueError as error:
                raise ValidationError(str(error)) from error
        return crontab

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        understood = "every_preferences" in cleaned and "crontab" in cleaned
        if understood and bool(cleaned["every_preferences"]) == bool(cleaned["crontab"]):
            self.add_error("every_preferences", _("Give either a number of preferences or a crontab."))
        if cleaned.get("estimates_smoothing") and not self._may_smooth():
            self.add_error(
                "estimates_smoothing", _("This loss knows no wrong votes: switch it off, or choose another.")
            )
        if not self.errors:
            self.instance.method = self.method
            self.instance.config = self.option_values()
        return cleaned

    def _may_smooth(self) -> bool:
        """Whether the options go together with some label smoothing."""
        try:
            load_config(self.method, self.option_values() | {"label_smoothing": 0.1})
        except ConfigError as error:
            return "label_smoothing" not in error.errors
        return True


def form_for(form: type[MethodForm], method: Method) -> type[MethodForm]:
    """The form with the fields of one method."""
    fields = {f"{PREFIX}{option.name}": option_field(option) for option in describe(method)}
    return type(f"{method.label}{form.__name__}", (form,), {**fields, "method": method})


def fieldsets_for(method: Method, first: dict[str, tuple[str, ...]]) -> Iterator[tuple[str | None, dict[str, Any]]]:
    """Fieldsets of the admin: what the form itself asks, then the method's groups, its own first."""
    for title, names in first.items():
        yield said(title) or None, {"fields": names}
    groups: dict[str, list[str]] = {}
    for option in describe(method):
        groups.setdefault(option.group, []).append(f"{PREFIX}{option.name}")
    for group in sorted(groups, key=lambda name: (name in FOLDED, name != "Method")):
        title = METHODS[method].title if group == "Method" else group
        yield said(title), {"fields": groups[group], "classes": ["collapse"] if group in FOLDED else []}
