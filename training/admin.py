"""Training in the admin: launch runs, read what they did, keep schedules. A run is never edited."""

from __future__ import annotations

from typing import Any, ClassVar, cast

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.forms import ModelForm
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import URLPattern, path
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import Truncator
from django.utils.translation import gettext, gettext_noop
from django.utils.translation import gettext_lazy as _
from unfold.admin import ModelAdmin
from unfold.decorators import display

from annotation.models import Project, User
from annotation.quality.renewing import Smoothing, proposed_smoothing
from models_registry.models import Kind, Version
from models_registry.sayings import said
from models_registry.templatetags.numbers import short, signed
from training import base_models_admin  # noqa: F401 - the registry's page gets its way in
from training.forms import FILTER_FIELDS, LAUNCH_HELP, LaunchForm, MethodForm, ScheduleForm, fieldsets_for, form_for
from training.launching import LEARNING, LaunchError
from training.models import Method, Run, Schedule, Snapshot, State
from training.presentation import headline
from training.round_form import RoundForm
from training.snapshot_filter import new_preferences
from training.templatetags.runs import brief

STATE_COLOURS = {
    State.QUEUED: "info",
    State.RUNNING: "info",
    State.SUCCEEDED: "success",
    State.FAILED: "danger",
    State.CANCELLED: "warning",
}


class ByMethodAdmin(ModelAdmin):  # type: ignore[misc]
    """An add page that first asks for the method, then shows the method's own fields."""

    methods: tuple[Method, ...] = LEARNING
    method_form: type[MethodForm]
    first_fieldsets: dict[str, tuple[str, ...]]

    def method_of(self, request: HttpRequest, obj: Any = None) -> Method | None:
        name = obj.method if obj else request.GET.get("method")
        return Method(name) if name in self.methods else None

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        method = self.method_of(request, obj)
        return self.form_of(method) if method else super().get_form(request, obj, change, **kwargs)

    def form_of(self, method: Method) -> type[MethodForm]:
        return form_for(self.method_form, method)

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        method = self.method_of(request, obj)
        if method is None:
            return super().get_fieldsets(request, obj)
        return list(fieldsets_for(method, self.fieldsets_before(method)))

    def fieldsets_before(self, method: Method) -> dict[str, tuple[str, ...]]:
        """The form's own fields, without those that the method does not ask for."""
        left_out = {Method.PPO: FILTER_FIELDS, Method.SFT: ("reward", "labels")}.get(method, ("reward",))
        return {
            title: tuple(name for name in names if name not in left_out)
            for title, names in self.first_fieldsets.items()
        }

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        if not self.has_add_permission(request):
            raise PermissionDenied
        method = self.method_of(request)
        if method is None:
            return self.choose_method(request)
        context = {
            "title": f"{gettext(self.verb)} · {method.label}",
            "method": method,
            "method_help": LAUNCH_HELP[method],
        }
        return cast(HttpResponse, super().add_view(request, form_url, {**context, **(extra_context or {})}))

    verb = gettext_noop("Add")

    def choose_method(self, request: HttpRequest) -> HttpResponse:
        kept = request.GET.copy()
        kept.pop("method", None)
        methods = [(method, Method(method).label, LAUNCH_HELP[method]) for method in self.methods]
        context = {
            **self.admin_site.each_context(request),
            "title": gettext(self.verb),
            "opts": self.opts,
            "methods": methods,
            "kept": kept.urlencode(),
        }
        return render(request, "admin/training/choose_method.html", context)


def newest_models() -> dict[str, Any]:
    """What most people want to start from: the base model and the reward model that came last."""
    versions = Version.objects.exclude(stage=Version.Stage.ARCHIVED)
    found = {"base": versions.filter(kind=Kind.BASE).first(), "reward": versions.rewards().first()}
    return {name: version.pk for name, version in found.items() if version}


def _number(run: Run) -> str:
    return gettext("run %(n)s") % {"n": run.pk}


def _smoothing(form: LaunchForm | RoundForm) -> Smoothing | None:
    return form.smoothing() if isinstance(form, LaunchForm) else None


def proposed_options(project_id: Any) -> dict[str, Any]:
    """What a project's votes say of DPO's options: the label smoothing, where it is known."""
    known = str(project_id or "").isdecimal() and len(str(project_id)) < 10
    project = Project.objects.filter(pk=project_id).first() if known else None
    smoothing = proposed_smoothing(project) if project else None
    return {"option_label_smoothing": smoothing.value} if smoothing else {}


@admin.register(Run)
class RunAdmin(ByMethodAdmin):
    """Launch and look. The page of a run itself is outside the admin."""

    methods = (*LEARNING, Method.SAMPLE)
    method_form = LaunchForm
    first_fieldsets = {
        gettext_noop("What it learns from"): ("project", "base", "reward", "seed"),
        gettext_noop("Which preferences"): FILTER_FIELDS,
    }
    round_fieldsets: ClassVar[dict[str, tuple[str, ...]]] = {
        gettext_noop("Who answers what"): ("project", "base", "prompts", "against", "seed")
    }
    verb = gettext_noop("Launch a run")
    add_form_template = "admin/training/run/add_form.html"
    list_display = ("page", "status", "learned_from", "result", "took", "who", "created_at")
    list_display_links = None
    list_filter = ("state", "method", "project")
    list_select_related = ("project", "snapshot", "base__model", "created_by", "schedule", "round")
    list_per_page = 50
    search_fields = ("project__name", "model_name", "reason")
    actions = None

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def form_of(self, method: Method) -> type[MethodForm]:
        return form_for(RoundForm, method) if method == Method.SAMPLE else super().form_of(method)

    def fieldsets_before(self, method: Method) -> dict[str, tuple[str, ...]]:
        if method == Method.SAMPLE:
            return self.round_fieldsets
        return {title: names for title, names in super().fieldsets_before(method).items() if names}

    def get_urls(self) -> list[URLPattern]:
        count = path("add/count/", self.admin_site.admin_view(self.count), name="training_run_count")
        return [count, *super().get_urls()]

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """The newest models; with `?again=` those of an earlier run, and its options."""
        initial = newest_models() | cast(dict[str, Any], super().get_changeform_initial_data(request))
        again = request.GET.get("again", "")
        run = Run.objects.with_names().filter(pk=int(again)).first() if again.isdecimal() and len(again) < 10 else None
        if run:
            initial |= {"project": run.project_id, "base": run.base_id, "reward": run.reward_id, "seed": run.seed}
            initial |= {f"option_{name}": value for name, value in run.config.items()}
            initial |= run.snapshot.filter if run.snapshot else {}
            initial |= {"against": run.round.against_id} if run.method == Method.SAMPLE else {}
        elif self.method_of(request) == Method.DPO:
            initial |= proposed_options(initial.get("project"))
        return initial

    def count(self, request: HttpRequest) -> HttpResponse:
        """What a form as it stands would train on: a fragment for the launch page."""
        method = self.method_of(request)
        if method is None or not self.has_add_permission(request):
            raise PermissionDenied
        form = cast(LaunchForm | RoundForm, self.form_of(method)(request.GET))
        context = {"found": form.count(), "method": method, "smoothing": _smoothing(form)}
        return render(request, form.count_template, context)

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        try:
            return super().add_view(request, form_url, extra_context)
        except LaunchError as error:  # what the form had found right has changed since
            messages.error(request, str(error))
            return HttpResponseRedirect(request.get_full_path())

    def render_change_form(self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any) -> HttpResponse:
        form = context["adminform"].form
        if isinstance(form, LaunchForm | RoundForm):
            found = {"found": form.count(), "smoothing": _smoothing(form)}
            context |= {**found, "count_template": form.count_template}
        return cast(HttpResponse, super().render_change_form(request, context, *args, **kwargs))

    def save_form(self, request: HttpRequest, form: ModelForm[Run], change: bool) -> Run:
        assert isinstance(form, LaunchForm | RoundForm)
        return form.launch(cast(User, request.user))

    def save_model(self, request: HttpRequest, obj: Run, form: Any, change: bool) -> None:
        """Launching has written it."""

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        """Nothing hangs on a run that a person types."""

    def response_add(self, request: HttpRequest, obj: Run, post_url_continue: str | None = None) -> HttpResponse:
        return HttpResponseRedirect(obj.get_absolute_url())

    @admin.display(description=_("run"), ordering="id")
    def page(self, run: Run) -> SafeString:
        return format_html('<a href="{}">{} · {}</a>', run.get_absolute_url(), run.get_method_display(), _number(run))

    @display(description=_("state"), ordering="state", label=STATE_COLOURS)  # type: ignore[untyped-decorator]
    def status(self, run: Run) -> tuple[str, str]:
        return run.state, run.get_state_display()

    @admin.display(description=_("project"))
    def learned_from(self, run: Run) -> str:
        if run.project is None:
            return run.model_name
        if run.snapshot is None:
            return str(run.project)
        unit = gettext("%(n)s prompts") if run.method == Method.SAMPLE else gettext("%(n)s rows")
        return f"{run.project}, {unit % {'n': run.snapshot.train_rows}}"

    @admin.display(description=_("result"))
    def result(self, run: Run) -> str:
        if run.state == State.FAILED:
            return Truncator(said(run.reason)).words(12)
        if run.method == Method.SAMPLE and run.round.landed_prompts:
            counts = {"answers": run.round.answers, "comparisons": run.round.comparisons}
            return gettext("%(answers)s answers, %(comparisons)s comparisons") % counts
        found = headline(run)
        if found is None:
            return "–"
        change = f" ({signed(found.change)})" if found.change is not None else ""
        return f"{found.words} {short(found.now)}{change}"

    @admin.display(description=_("took"))
    def took(self, run: Run) -> str:
        return brief(run.duration)

    @admin.display(description=_("who"))
    def who(self, run: Run) -> str:
        return str(run.created_by or run.schedule or "–")


@admin.register(Schedule)
class ScheduleAdmin(ByMethodAdmin):
    """When runs start by themselves."""

    method_form = ScheduleForm
    first_fieldsets = {
        gettext_noop("What it learns from"): ("project", "base", "reward"),
        gettext_noop("When"): ("every_preferences", "crontab", "enabled"),
    }
    wrong_votes: ClassVar[dict[str, tuple[str, ...]]] = {gettext_noop("Wrong votes"): ("estimates_smoothing",)}
    verb = gettext_noop("Add a schedule")
    list_display = ("__str__", "project", "enabled", "decided", "checked_at")
    list_select_related = ("project",)
    list_filter = ("enabled", "method", "project")

    def fieldsets_before(self, method: Method) -> dict[str, tuple[str, ...]]:
        found = super().fieldsets_before(method)
        return found | self.wrong_votes if method == Method.DPO else found

    @admin.display(description=_("decision"), ordering="decision")
    def decided(self, schedule: Schedule) -> str:
        return said(schedule.decision)

    def save_model(self, request: HttpRequest, obj: Schedule, form: Any, change: bool) -> None:
        """A new schedule counts from now on: what is there already is not new."""
        if not change:
            obj.counted_preferences = new_preferences(obj.project).count()
        super().save_model(request, obj, form, change)


@admin.register(Snapshot)
class SnapshotAdmin(ModelAdmin):  # type: ignore[misc]
    """Frozen datasets, to read."""

    list_display = ("__str__", "project", "train_rows", "eval_rows", "begins_with", "created_by", "created_at")
    list_select_related = ("project", "created_by")
    list_filter = ("project",)
    search_fields = ("sha256",)

    @admin.display(description=_("sha256"), ordering="sha256")
    def begins_with(self, snapshot: Snapshot) -> str:
        """As much of the digest as a run's page shows; the whole has no room in a row."""
        return snapshot.sha256[:8]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
