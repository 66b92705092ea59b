"""What the site knows of one person: all of it in one file, and what is left when they want it forgotten."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.socialaccount.models import SocialAccount
from django.contrib.admin.models import LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db import transaction
from django.db.models import Q, QuerySet
from django.http import JsonResponse
from django.utils.translation import gettext as _

from annotation import audit
from annotation.judging import Tiers
from annotation.models import (
    Action,
    AuditEvent,
    Flag,
    Judgment,
    Lease,
    Membership,
    Project,
    Response,
    Role,
    Skip,
    User,
    VoteCount,
)
from annotation.models.judging import LETTERS

ABOUT_ME = ("username", "display_name", "email", "first_name", "last_name", "date_joined", "last_login")
OF_A_JUDGMENT = (
    "id",
    "comparison_id",
    "tiers",
    "both_bad",
    "strength",
    "both_good",
    "decides",
    "reason",
    "tags",
    "acceptable",
    "aspects",
    "edited",
    "edit_of",
    "shown_order",
    "active_seconds",
    "created_at",
    "withdrawn_at",
)


@dataclass(frozen=True)
class Belonging:
    """Rows of a room above that are one person's own: told to them by these columns, deleted when they go.

    With no columns they are told nothing of, as there is nothing to tell.
    """

    name: str
    rows: Callable[[User], QuerySet[Any]]
    columns: Sequence[str] = ()


_belongings: dict[str, Belonging] = {}


def keep_in_mind(belonging: Belonging) -> None:
    """For rooms that nobody below may import, when they start. Twice is once."""
    _belongings[belonging.name] = belonging


class StillNeededError(Exception):
    """Somebody cannot go before somebody else takes over; the message says what."""


def everything_about(person: User) -> dict[str, Any]:
    """All that is kept of a person, in JSON's kinds; no password, secret or code is in it."""
    return {
        "account": {name: getattr(person, name) for name in ABOUT_ME},
        "sign_in": {
            "password": person.has_usable_password(),
            "two_factor": _rows(Authenticator.objects.filter(user=person), "type", "created_at", "last_used_at"),
            "identity_providers": _rows(SocialAccount.objects.filter(user=person), "provider", "uid", "extra_data"),
            "addresses": _rows(EmailAddress.objects.filter(user=person), "email", "verified"),
        },
        "projects": _rows(Membership.objects.filter(user=person), "project__name", "role", "daily_cap", "passed_at"),
        "teams": _rows(person.teams.all(), "project__name", "name"),
        "judgments": _votes_of(person),
        "flags": _rows(Flag.objects.filter(annotator=person), "comparison_id", "comment", "created_at"),
        "skips": _rows(Skip.objects.filter(annotator=person), "comparison_id", "reason", "created_at"),
        "votes_a_day": _rows(VoteCount.objects.filter(annotator=person), "project__name", "day", "votes", "seconds"),
        "answers": _rows(Response.objects.filter(written_by=person), "prompt__project__name", "text", "created_at"),
        "imports": _rows(person.imports.order_by("id"), "project__name", "file_name", "created_at"),
        "audit_log": _rows(
            AuditEvent.objects.filter(Q(actor=person) | Q(subject=person)), "at", "action", "what", "project__name"
        ),
        **{kept.name: _rows(kept.rows(person), *kept.columns) for kept in _belongings.values() if kept.columns},
    }


def _votes_of(person: User) -> list[dict[str, Any]]:
    """By sides, as the person saw them: ids of answers would tell which pairs were shown a second time."""
    rows = _rows(Judgment.objects.by(person), "comparison__project__name", "edited__text", *OF_A_JUDGMENT)
    for row in rows:
        sides = dict(zip(row.pop("shown_order"), LETTERS, strict=False))
        row["tiers"] = _by_sides(row["tiers"], sides)
        row["aspects"] = {name: _by_sides(tiers, sides) for name, tiers in row["aspects"].items()}
        row["acceptable"] = {sides[int(pk)]: will_do for pk, will_do in row["acceptable"].items()}
        row["edited"], row["edit_of"] = row.pop("edited__text"), sides.get(row["edit_of"])
    return rows


def _by_sides(tiers: Tiers, sides: Mapping[int, str]) -> list[list[str]]:
    return [[sides[pk] for pk in tier] for tier in tiers]


def _rows(found: QuerySet[Any], *names: str) -> list[dict[str, Any]]:
    return list(found.order_by("pk").values(*names))


@transaction.atomic
def forget(person: User) -> None:
    """Delete a person's data and close the account. Votes stay, by somebody without a name.

    Raises StillNeededError for the last manager of a project, and for the last site admin.
    """
    locked = User.objects.select_for_update().get(pk=person.pk)
    _check_not_needed(locked)
    audit.record(Action.DELETED, actor=locked, subject=locked, what="their personal data")
    Lease.objects.filter(annotator=locked).delete()
    Membership.objects.filter(user=locked).delete()
    for table in (Authenticator, SocialAccount, EmailAddress):
        table.objects.filter(user=locked).delete()
    for kept in _belongings.values():
        kept.rows(locked).delete()
    locked.teams.clear()
    locked.batches.clear()
    locked.groups.clear()
    locked.user_permissions.clear()
    for name in ("display_name", "email", "first_name", "last_name"):
        setattr(locked, name, "")
    locked.username = f"deleted-{locked.pk}"
    locked.is_active = locked.is_staff = locked.is_superuser = False
    locked.last_login = None
    locked.set_unusable_password()  # ends every session, as their hash is of the password
    locked.save()
    # The admin's own log names rows in words.
    people = ContentType.objects.get_for_model(User)
    LogEntry.objects.filter(content_type=people, object_id=person.pk).update(object_repr=locked.username)


def _check_not_needed(person: User) -> None:
    admins = User.objects.filter(is_superuser=True, is_active=True)
    if person.is_superuser and not admins.exclude(pk=person.pk).exists():
        raise StillNeededError(_("You are the only site admin. Make somebody else one first."))
    managed = Project.objects.active().filter(memberships__user=person, memberships__role=Role.MANAGER)
    for project in managed.distinct():
        if not project.memberships.exclude(user=person).filter(role=Role.MANAGER).exists():
            words = _("You are the only manager of %(project)s. Make somebody else a manager first.")
            raise StillNeededError(words % {"project": project})


def as_file(person: User) -> JsonResponse:
    """The data as a download."""
    name = f"prefloop-{person.pk}.json"
    return JsonResponse(
        everything_about(person),
        json_dumps_params={"ensure_ascii": False, "indent": 1},
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )
