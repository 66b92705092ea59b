"""Writes the audit log. Services call `record`; sign-ins tell by Django's signals, some addresses by the middleware.

It is kept in English, whatever language is spoken to the person whose deed it tells of.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from allauth.mfa.models import Authenticator
from allauth.mfa.signals import (
    authentication_failed,
    authenticator_added,
    authenticator_removed,
    authenticator_reset,
)
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.db import connection
from django.dispatch import Signal, receiver
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import ResolverMatch
from django.utils.translation import override

from annotation.models import Action, AuditEvent, Project, User

LONGEST = 300
View = Callable[[HttpRequest], HttpResponseBase]
# What an address does, by its name and the method, where no service of ours does it and says so itself.
BY_ADDRESS = {
    ("download", "GET"): Action.DOWNLOADED,
    ("quality-csv", "GET"): Action.EXPORTED,
    ("export-file", "GET"): Action.EXPORTED,
    ("import-cancel", "POST"): Action.CANCELLED,
    ("project-settings", "POST"): Action.SETTINGS,
    ("run-cancel", "POST"): Action.CANCELLED,
    ("password", "POST"): Action.RENEWED,
    ("queue-settings", "POST"): Action.SETTINGS,
    ("gold", "POST"): Action.GOLD,
    ("mark-gold", "POST"): Action.GOLD,
    ("retire-gold", "POST"): Action.GOLD,
    ("settle", "POST"): Action.SETTLED,
    ("unsettle", "POST"): Action.SETTLED,
    ("settle-flag", "POST"): Action.SETTLED,
    ("new-team", "POST"): Action.ASSIGNED,
    ("team", "POST"): Action.ASSIGNED,
    ("delete-team", "POST"): Action.ASSIGNED,
    ("new-batch", "POST"): Action.ASSIGNED,
    ("batch", "POST"): Action.ASSIGNED,
    ("delete-batch", "POST"): Action.ASSIGNED,
    ("change-person", "POST"): Action.ASSIGNED,
    ("suspects", "POST"): Action.ASSIGNED,
    ("revoke-api-token", "POST"): Action.TOKEN,
    ("switch-webhook", "POST"): Action.WEBHOOK,
    ("remove-webhook", "POST"): Action.WEBHOOK,
    ("api-v1:show_project", "PATCH"): Action.SETTINGS,  # of an address with several methods the first name counts
    ("api-v1:new_import", "POST"): Action.IMPORTED,
    ("api-v1:export", "GET"): Action.EXPORTED,
    ("admin:training_run_add", "POST"): None,  # the launch itself tells of both
    ("admin:models_registry_model_add", "POST"): None,
    ("admin:login", "POST"): None,
    ("admin:logout", "POST"): None,
}
IN_A_PROJECT = "projects/<slug:slug>/"


@override("en")
def record(
    action: Action,
    *,
    actor: User | None,
    subject: User | None = None,
    project: Project | None = None,
    what: object = "",
) -> None:
    """Add one event, in the transaction of what it tells of. Without an actor it was the command line or a schedule."""
    AuditEvent.objects.create(
        action=action, actor=actor, subject=subject, project=project, what=str(what).replace("\x00", "")[:LONGEST]
    )


@dataclass(frozen=True)
class Deed:
    """What a view did, in words, and to whom."""

    what: str
    subject: User | None = None


@override("en")
def tell(request: HttpRequest, what: object, *, subject: User | None = None) -> None:
    """Give the log better words for what this request does than its address has. Without any, nothing was done."""
    request.deed = Deed(str(what), subject)  # type: ignore[attr-defined]


@receiver(user_logged_in)
def _signed_in(sender: object, request: HttpRequest, user: User, **more: Any) -> None:
    record(Action.SIGNED_IN, actor=user)


@receiver(user_logged_out)
def _signed_out(sender: object, request: HttpRequest, user: User | None, **more: Any) -> None:
    if user is not None:
        record(Action.SIGNED_OUT, actor=user)


@receiver(user_login_failed)
def _sign_in_failed(sender: object, credentials: dict[str, Any], **more: Any) -> None:
    """Only for an account that is there: people type passwords into the wrong field, and those must not be kept."""
    person = User.objects.filter(username=credentials.get("username", "")).first()
    if person is not None:
        record(Action.SIGN_IN_FAILED, actor=None, subject=person)


@receiver((authenticator_added, authenticator_removed, authenticator_reset))
@override("en")
def _second_factor_changed(
    sender: object, signal: Signal, user: User, authenticator: Authenticator, **more: Any
) -> None:
    words = {authenticator_added: "added", authenticator_removed: "removed", authenticator_reset: "renewed"}
    record(Action.TWO_FACTOR, actor=user, what=f"{words[signal]} {authenticator.get_type_display()}")


@receiver(authentication_failed)
def _second_factor_failed(sender: object, user: User, **more: Any) -> None:
    record(Action.SIGN_IN_FAILED, actor=None, subject=user, what="wrong code")


class RowsWritten:
    """Counts the rows that a connection's statements write; a wrapper of them, as `execute_wrapper` takes it."""

    count = 0

    def __call__(self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
        result = execute(sql, params, many, context)
        if sql.lstrip()[:6].upper() in ("INSERT", "UPDATE", "DELETE"):
            self.count += max(0, context["cursor"].rowcount)
        return result


def middleware(get_response: View) -> View:
    """Records what somebody did at an address, once the answer says that it is done."""

    def recorded(request: HttpRequest) -> HttpResponseBase:
        written = RowsWritten()
        with connection.execute_wrapper(written):
            response = get_response(request)
        match = request.resolver_match
        if match is not None and _is_done(request, response, written):
            in_admin = Action.ADMIN if "admin" in match.app_names and request.method == "POST" else None
            action = BY_ADDRESS.get((match.view_name, str(request.method)), in_admin)
            if action and isinstance(request.user, User):
                _write_down(request, match, action)
        return response

    return recorded


def _write_down(request: HttpRequest, match: ResolverMatch, action: Action) -> None:
    told: Deed | None = getattr(request, "deed", None)
    if told is not None and not told.what:
        return
    deed = told or Deed(_words(request, match, action))
    by_program = " through the API" if match.route.startswith("api/") else ""
    assert isinstance(request.user, User)
    what = f"{deed.what}{by_program}".strip()
    record(action, actor=request.user, subject=deed.subject, project=_project_of(match), what=what)


def _is_done(request: HttpRequest, response: HttpResponseBase, written: RowsWritten) -> bool:
    """A form that was taken is answered by a redirect, one that was refused by the form; what is read, by itself.

    A redirect alone may also lead to the sign-in page, or back to a list where nothing had to be done.
    """
    if request.method == "POST" and not request.path.startswith("/api/"):
        return response.status_code == 302 and written.count > 0
    return response.status_code in (200, 201, 206)


def _project_of(match: ResolverMatch) -> Project | None:
    """The project whose address it is."""
    if IN_A_PROJECT not in f"{match.route}/":
        return None
    return Project.objects.filter(slug=match.kwargs.get("slug")).first()


def _words(request: HttpRequest, match: ResolverMatch, action: Action) -> str:
    """What an address names: a model's version and format, a file, a table of the admin with its rows."""
    in_project = IN_A_PROJECT in f"{match.route}/"
    words = [str(part) for name, part in match.kwargs.items() if not in_project or name != "slug"]
    words += [str(getattr(file, "name", "")) for file in request.FILES.values()] if request.method == "POST" else []
    if action == Action.ADMIN:
        words = [str(match.url_name).replace("_", " "), *words]
    if action == Action.ADMIN and (chosen := request.POST.get("action")):
        words += [chosen, ", ".join(request.POST.getlist("_selected_action"))]
    return " ".join(word for word in words if word)
