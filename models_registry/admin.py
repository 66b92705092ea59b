"""Models in the admin: to read; a description and a stage can be set. Versions are made by runs."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import Count, QuerySet
from django.http import HttpRequest
from django.template.defaultfilters import filesizeformat
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _
from unfold.admin import ModelAdmin as UnfoldAdmin
from unfold.admin import TabularInline

from models_registry.models import Artifact, Model, Version


class NothingIsLost:
    """Neither added nor deleted by hand: runs make versions, and versions lead back to votes."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Model)
class ModelAdmin(NothingIsLost, UnfoldAdmin):  # type: ignore[misc]
    list_display = ("name", "versions_count", "created_at")
    search_fields = ("name", "description")
    fields = ("name", "slug", "description", "created_at")
    readonly_fields = ("name", "slug", "created_at")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Model]:
        return super().get_queryset(request).annotate(counted_versions=Count("versions"))  # type: ignore[no-any-return]

    @admin.display(description=_("versions"), ordering="counted_versions")
    def versions_count(self, model: Model) -> int:
        return int(model.counted_versions)  # type: ignore[attr-defined]


class ArtifactInline(NothingIsLost, TabularInline):  # type: ignore[misc]
    model = Artifact
    extra = 0
    fields = readonly_fields = ("format", "size", "sha256", "storage_key", "archive")

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    @admin.display(description=_("size"))
    def size(self, artifact: Artifact) -> str:
        return filesizeformat(artifact.bytes)

    @admin.display(description=_("archive"))
    def archive(self, artifact: Artifact) -> str:
        if artifact._state.adding:  # a row that a form made up
            return ""
        return format_html('<a href="{}">{}</a>', artifact.get_absolute_url(), _("Download"))


@admin.register(Version)
class VersionAdmin(NothingIsLost, UnfoldAdmin):  # type: ignore[misc]
    list_display = ("__str__", "kind", "parent", "run_id", "stage", "created_at", "notice")
    list_filter = ("kind", "stage")
    list_select_related = ("model", "parent__model")
    search_fields = ("model__name", "dataset_sha256", "source")
    fields = (
        "model",
        "number",
        "kind",
        "stage",
        "parent",
        "run_id",
        "source",
        "notice",
        "parameters",
        "dataset_sha256",
        "tokenizer_sha256",
        "metrics",
        "config",
        "created_by",
        "created_at",
    )
    readonly_fields = tuple(name for name in fields if name != "stage")
    inlines = (ArtifactInline,)
