"""The form of the next round: who answers which prompts, how, and with whom the answers are compared."""

from __future__ import annotations

from typing import Any, cast

from django import forms
from django.forms import BoundField
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.widgets import UnfoldAdminIntegerFieldWidget, UnfoldAdminSelectWidget

from annotation.models import Project, Response, User
from models_registry.models import Version
from training.engine.config import SampleConfig
from training.forms import PREFIX, MethodForm, form_for, named
from training.launching import LaunchError
from training.models import Method, Run
from training.permissions import versions_for
from training.rounds import MOST_ANSWERS, RoundPlan, RoundPreview, Which, launch_round, preview_round

DEFAULTS = SampleConfig()
MAIN_FIELDS = ("base", "prompts", f"{PREFIX}n", "against", f"{PREFIX}temperature", f"{PREFIX}max_new_tokens")


class RoundForm(MethodForm):
    """One round, as the admin asks for it."""

    count_template = "training/_round_count.html"
    plan: RoundPlan | None = None
    found: RoundPreview | None = None

    prompts = forms.ChoiceField(
        label=_("Prompts"),
        choices=Which.choices,
        initial=Which.IDLE,
        help_text=_("Those of which nothing is left to judge, or all. The launch freezes them."),
        widget=UnfoldAdminSelectWidget,
    )
    against = forms.ModelChoiceField(
        Version.objects.none(),
        label=_("Also compare with"),
        required=False,
        empty_label=_("no other version"),
        help_text=_(
            "Its answers meet each other; the first also the newest answer of this version to the same prompt."
        ),
        widget=UnfoldAdminSelectWidget,
    )
    seed = forms.IntegerField(
        required=False,
        min_value=0,
        max_value=2**31 - 1,
        help_text=_("Empty takes one that is new here: the same seed gives the same answers again."),
        widget=UnfoldAdminIntegerFieldWidget,
    )

    class Meta:
        model = Run
        fields = ("project", "base", "reward", "seed")
        widgets = {"project": UnfoldAdminSelectWidget, "base": UnfoldAdminSelectWidget}
        labels = {"base": _("Who answers")}
        help_texts = {
            "project": _("Its prompts are answered, and its people judge the answers."),
            "base": _("A base model or a policy. Annotators never see its name."),
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["project"].required = True
        self.initial["seed"] = None
        answers = self.fields[f"{PREFIX}n"]
        answers.label = _("Answers for each prompt")
        said = gettext("1 to %(most)s. Every two different ones make a comparison. Default %(n)s.")
        answers.help_text = said % {"most": MOST_ANSWERS, "n": DEFAULTS.n}
        authors = Response.objects.exclude(author=None).order_by().values("author")
        against = cast(forms.ModelChoiceField, self.fields["against"])  # type: ignore[type-arg]
        against.queryset = Version.objects.select_related("model").filter(pk__in=authors)
        against.label_from_instance = named  # type: ignore[method-assign, assignment]

    def chosen_project(self) -> Project | None:
        return self.cleaned_data.get("project")

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        if "_count" in self.data:
            self.add_error(None, _("Nothing has been launched: what it would ask for is counted below."))
        project = self.chosen_project()
        if self.errors or project is None:
            return cleaned
        self.plan = RoundPlan(
            project=project,
            base=cleaned["base"],
            which=cleaned["prompts"],
            against=cleaned["against"],
            values=self.option_values(),
            seed=cleaned["seed"],
        )
        try:
            self.found = self.plan.check()
        except LaunchError as error:
            self.add_launch_error(error)
        return cleaned

    def add_launch_error(self, error: LaunchError) -> None:
        """At its field: the form's own, or that of an option."""
        names = [name for name in (error.field, f"{PREFIX}{error.field}") if name in self.fields]
        self.add_error(names[0] if names else None, str(error))

    def count(self) -> RoundPreview | None:
        """What it would ask for, as far as the form says; None while no project is chosen."""
        if self.found:
            return self.found
        if not self.is_bound:
            project = self._initial_project()
            return preview_round(project, which=Which.IDLE, n=DEFAULTS.n) if project else None
        self.is_valid()
        said, project = self.cleaned_data, self.plan.project if self.plan else self.chosen_project()
        if project is None:
            return None
        which, n = said.get("prompts") or Which.IDLE, said.get(f"{PREFIX}n") or DEFAULTS.n
        return preview_round(project, which=which, n=n, against=said.get("against"))

    def launch(self, created_by: User) -> Run:
        """Launch what `clean` has found good. LaunchError if that has changed since."""
        assert self.plan is not None
        return launch_round(self.plan, created_by=created_by)


class ProjectRoundForm(RoundForm):
    """The same for a manager on the project's own page: the project is given, and the fields are plain."""

    def __init__(self, *args: Any, project: Project, user: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.project = project
        del self.fields["project"]
        base, against = (cast(forms.ModelChoiceField, self.fields[name]) for name in ("base", "against"))  # type: ignore[type-arg]
        base.queryset = versions_for(user).policies().exclude(stage=Version.Stage.ARCHIVED).select_related("model")
        base.empty_label = None
        here = Response.objects.filter(prompt__project=project).exclude(author=None).order_by().values("author")
        against.queryset = Version.objects.select_related("model").filter(pk__in=here)
        for field in self.fields.values():
            _make_plain(field)

    def chosen_project(self) -> Project:
        return self.project

    def _initial_project(self) -> Project:
        return self.project

    def main_fields(self) -> list[BoundField]:
        """What everybody should look at."""
        return [self[name] for name in MAIN_FIELDS]

    def more_fields(self) -> list[BoundField]:
        """What few people touch."""
        return [self[name] for name in self.fields if name not in MAIN_FIELDS]


def _make_plain(field: forms.Field) -> None:
    """Give a field Django's own widget in place of the admin's."""
    plain = type(field).widget()
    plain.is_required = field.required
    plain.attrs.update(field.widget_attrs(plain))
    if isinstance(field, forms.FloatField):
        plain = forms.TextInput(attrs={"inputmode": "decimal"})
    field.widget = plain
    if isinstance(field, forms.ChoiceField):  # a choice of models is one too
        plain.choices = field.choices


def project_round_form(data: Any = None, *, project: Project, user: User, initial: Any = None) -> ProjectRoundForm:
    """The form of a project's page with the fields of the method."""
    form = form_for(ProjectRoundForm, Method.SAMPLE)
    return cast(ProjectRoundForm, form(data, project=project, user=user, initial=initial or {}))
