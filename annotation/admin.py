"""The tables of annotation in the admin: for looking, and for the few things that have no page of their own."""

from __future__ import annotations

from typing import Any

from allauth.mfa.models import Authenticator
from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import capfirst
from django.utils.translation import gettext, pgettext_lazy
from django.utils.translation import gettext_lazy as _
from unfold.admin import ModelAdmin, TabularInline
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from annotation import audit
from annotation.models import (
    Action,
    Comparison,
    ImportReport,
    Judgment,
    Lease,
    Membership,
    Preference,
    Project,
    Prompt,
    Response,
    Skip,
    User,
)
from annotation.people import sign_in_link

# allauth's tables hold keys and codes: nobody reads them here. What an admin needs of them are actions on people.
for table in [table for table in admin.site._registry if table.__module__.startswith("allauth.")]:
    admin.site.unregister(table)
admin.site.unregister(Group)


@admin.register(Group)
class PermissionGroupAdmin(GroupAdmin, ModelAdmin):  # type: ignore[misc]
    """Django's own, in the theme's fields."""


class ReadOnly(ModelAdmin):  # type: ignore[misc]  # unfold ships no types
    """Rows that follow from what people do elsewhere: shown, never typed in."""

    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(User)
class PeopleAdmin(UserAdmin[User], ModelAdmin):  # type: ignore[misc]
    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    list_display = ("username", "display_name", "is_staff", "is_superuser", "is_active", "last_login")
    list_filter = ("is_staff", "is_superuser", "is_active")
    search_fields = ("username", "display_name", "email")
    fieldsets = (
        (None, {"fields": ("username", "password", "display_name", "email")}),
        (
            pgettext_lazy("permissions", "May"),
            {"fields": ("is_active", "is_staff", "is_superuser", "groups", "user_permissions")},
        ),
        (_("When"), {"fields": ("last_login", "date_joined")}),
    )
    readonly_fields = ("last_login", "date_joined")
    actions = ("make_sign_in_link", "switch_two_factor_off")

    @admin.action(description=_("Make a sign-in link"))
    def make_sign_in_link(self, request: HttpRequest, people: QuerySet[User]) -> None:
        """Shows one link for each; for site admins only, as a link is as good as a password."""
        if not request.user.is_superuser:
            self.message_user(request, _("Only site admins make sign-in links."), "error")
            return
        for person in people.filter(is_active=True):
            audit.record(Action.LINK, actor=request.user, subject=person)
            link = sign_in_link(person, request.build_absolute_uri("/"))
            self.message_user(request, _as_message(person, link))

    @admin.action(description=_("Switch two-factor sign-in off"))
    def switch_two_factor_off(self, request: HttpRequest, people: QuerySet[User]) -> None:
        """For people who have lost their phone and their recovery codes; for site admins only."""
        if not request.user.is_superuser:
            self.message_user(request, _("Only site admins switch it off."), "error")
            return
        removed = Authenticator.objects.filter(user__in=people).delete()[0]
        self.message_user(request, _("It is off.") if removed else _("It was not on."))


def _as_message(person: User, link: str) -> SafeString:
    return format_html(
        gettext("{person} signs in once, within a day, by <code>{link}</code>"), person=person, link=link
    )


class NamedInTables:
    """Fields that stand in a table: their column's head is no label to a screen reader, so each carries its name."""

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        field = super().formfield_for_dbfield(db_field, request, **kwargs)  # type: ignore[misc]  # an admin follows
        if field is not None:
            field.widget.attrs["aria-label"] = capfirst(db_field.verbose_name)
        return field


class MembershipInline(NamedInTables, TabularInline):  # type: ignore[misc]
    model = Membership
    extra = 0
    autocomplete_fields = ("user",)


@admin.register(Project)
class ProjectAdmin(ModelAdmin):  # type: ignore[misc]
    list_display = ("name", "slug", "overlap", "asks_strength", "asks_reason", "created_at", "archived_at")
    list_filter = ("archived_at",)
    search_fields = ("name", "slug")
    prepopulated_fields = {"slug": ("name",)}
    inlines = (MembershipInline,)

    def has_delete_permission(self, request: HttpRequest, obj: Project | None = None) -> bool:
        """Only of an empty project: votes and what was learned from them are archived, never deleted by a click."""
        is_empty = obj is not None and not (obj.prompts.exists() or obj.imports.exists())
        return is_empty and bool(super().has_delete_permission(request, obj))


@admin.register(Prompt)
class PromptAdmin(ReadOnly):
    list_display = ("__str__", "project", "created_at")
    list_filter = ("project",)
    list_select_related = ("project",)


@admin.register(Response)
class ResponseAdmin(ReadOnly):
    list_display = ("__str__", "author", "author_label", "created_at")
    list_filter = ("prompt__project",)
    list_select_related = ("author__model",)


@admin.register(Comparison)
class ComparisonAdmin(NamedInTables, ModelAdmin):  # type: ignore[misc]
    """Priority can be changed; everything else is what was imported."""

    list_display = ("id", "project", "prompt", "purpose", "priority", "depth", "judgments_wanted", "closed_at")
    list_filter = ("project", "purpose", ("closed_at", admin.EmptyFieldListFilter))
    list_select_related = ("project", "prompt")
    list_editable = ("priority",)
    fields = ("project", "prompt", "purpose", "priority", "response_ids", "depth", "judgments_wanted", "closed_at")
    readonly_fields = ("project", "prompt", "purpose", "response_ids", "depth", "judgments_wanted", "closed_at")
    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Comparison | None = None) -> bool:
        return False


@admin.register(Judgment)
class JudgmentAdmin(ReadOnly):
    list_display = ("id", "annotator", "verdict", "comparison_id", "active_seconds", "created_at", "withdrawn_at")
    list_filter = ("comparison__project", "annotator", ("withdrawn_at", admin.EmptyFieldListFilter))
    list_select_related = ("annotator",)
    date_hierarchy = "created_at"


@admin.register(Lease)
class LeaseAdmin(ReadOnly):
    """A lease that is in the way can be deleted; its pair goes back to the queue."""

    list_display = ("comparison_id", "annotator", "seat", "leased_at", "heartbeat_at", "expires_at")
    list_select_related = ("annotator",)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(request.user.has_perm("annotation.delete_lease"))


@admin.register(Skip)
class SkipAdmin(ReadOnly):
    list_display = ("comparison_id", "annotator", "reason", "created_at")
    list_filter = ("comparison__project",)
    list_select_related = ("annotator",)


@admin.register(Preference)
class PreferenceAdmin(ReadOnly):
    list_display = ("id", "project", "prompt", "strength", "weight", "judgment_id", "created_at")
    list_filter = ("project",)
    list_select_related = ("project", "prompt")


@admin.register(ImportReport)
class ImportReportAdmin(ReadOnly):
    exclude = ("upload",)
    list_display = ("file_name", "project", "created_by", "rows", "comparisons_added", "error_count", "created_at")
    list_filter = ("project",)
    list_select_related = ("project", "created_by")
