"""Writes that touch several tables: projects, comparisons with their answers, judgments by rules and named sources."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.text import slugify
from django.utils.translation import gettext as _

from annotation import audit
from annotation.content_hashes import content_hash
from annotation.judging import NoSeatLeftError, Tiers, Verdict, free_seat, lock_comparison, write_judgment
from annotation.models import Action, Comparison, Judgment, Lease, Membership, Project, Prompt, Response, Role, User
from models_registry.models import Version

Message = dict[str, str]
NO_PASSWORD = "!"  # noqa: S105  what Django takes for "cannot sign in by password"


@dataclass(frozen=True)
class AnswerIn:
    """One answer to be compared, by a model version at stated sampling parameters or by an import's label."""

    text: str
    author: Version | None = None
    author_label: str = ""
    sampling: Mapping[str, Any] = field(default_factory=dict)


@transaction.atomic
def create_project(
    *,
    name: str,
    slug: str = "",
    guidelines: str = "",
    overlap: Decimal | int = 1,
    asks_strength: bool = True,
    asks_reason: bool = False,
    manager: User | None = None,
    **asks: Any,
) -> Project:
    """A new project, with `manager` as its first member. Without a slug, one is made from the name and kept unique.

    `asks` are the fields of Project that say what else is asked of people.
    """
    project = Project.objects.create(
        name=name,
        slug=slug or _unused_slug(name),
        guidelines=guidelines,
        overlap=overlap,
        asks_strength=asks_strength,
        asks_reason=asks_reason,
        **asks,
    )
    if manager is not None:
        Membership.objects.create(project=project, user=manager, role=Role.MANAGER)
        audit.record(Action.CREATED, actor=manager, project=project, what=project.name)
    return project


def _unused_slug(name: str) -> str:
    stem = slugify(name)[:100] or "project"
    taken = set(Project.objects.filter(slug__startswith=stem).values_list("slug", flat=True))
    numbered = (f"{stem}-{n}" for n in range(2, len(taken) + 3))
    return stem if stem not in taken else next(slug for slug in numbered if slug not in taken)


def rule_judge(name: str) -> User:
    """The account under which a rule or an import votes: named, without a password, never able to sign in.

    Raises ValidationError for a name that is a person's, or no name at all.
    """
    check_source_name(name)
    user, _ = User.objects.get_or_create(username=name, defaults={"is_active": False, "password": NO_PASSWORD})
    return user


def check_source_name(name: str) -> None:
    """Raises ValidationError if no rule or import may vote under this name."""
    User.username_validator(name)
    person = User.objects.filter(username__iexact=name).exclude(is_active=False, password=NO_PASSWORD, last_login=None)
    if len(name) > 150 or person.exists():
        raise ValidationError(_("%(name)s is a person's account: choose another name."), params={"name": name})


@transaction.atomic
def add_comparison(
    *,
    project: Project,
    messages: Sequence[Message],
    responses: Sequence[AnswerIn],
    priority: int = 0,
    judgments_wanted: int | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> Comparison:
    """A comparison of these answers to this prompt, wanting the project's overlap unless told otherwise.

    Prompts, responses and comparisons that are there already are found, not doubled.
    """
    prompt, _ = Prompt.objects.get_or_create(
        project=project,
        content_hash=content_hash(list(messages)),
        defaults={"messages": list(messages), "metadata": dict(metadata or {})},
    )
    response_ids = sorted(_response(prompt, answer).pk for answer in responses)
    wanted = judgments_wanted or project.wanted_for(response_ids)
    comparison, _ = Comparison.objects.get_or_create(
        prompt=prompt,
        response_ids=response_ids,
        purpose=Comparison.Purpose.COLLECT,
        defaults={"project": project, "priority": priority, "judgments_wanted": wanted},
    )
    return comparison


def _response(prompt: Prompt, answer: AnswerIn) -> Response:
    response, _ = Response.objects.get_or_create(
        prompt=prompt,
        content_hash=content_hash(answer.text),
        author=answer.author,
        author_label=answer.author_label,
        defaults={"text": answer.text, "sampling": dict(answer.sampling)},
    )
    return response


@transaction.atomic
def record_judgment(
    *,
    comparison: Comparison,
    annotator: User,
    tiers: Tiers,
    both_bad: bool = False,
    strength: int | None = None,
    reason: str = "",
    shown_order: Sequence[int] | None = None,
    decides: bool = False,
    **more: Any,
) -> Judgment:
    """A judgment by a rule or a named source, which asks no queue. One that is there already is returned as it is.

    `more` is what else a Verdict holds.

    Raises ValueError for tiers that do not fit the comparison, NoSeatLeftError if it has all the judgments it wants.
    """
    locked = lock_comparison(comparison.pk)
    kept = Judgment.objects.kept().filter(comparison=locked, annotator=annotator).first()
    if kept is not None:
        return kept
    seat = free_seat(locked)
    if seat is None:
        raise NoSeatLeftError(f"{comparison} has all the judgments it wants.")
    verdict = Verdict(tiers=tiers, both_bad=both_bad, strength=strength, reason=reason, **more)
    order = list(shown_order or locked.response_ids)
    return write_judgment(locked, annotator, verdict, seat=seat, shown_order=order, decides=decides)


class LastManagerError(Exception):
    """A project would be left without a manager."""


@transaction.atomic
def set_role(*, project: Project, person: User, role: Role, by: User | None = None) -> Membership:
    """Make somebody a member, or give a member another role. Raises LastManagerError if nobody would manage."""
    Project.objects.select_for_update(no_key=True).get(pk=project.pk)
    membership = project.memberships.filter(user=person).first() or Membership(project=project, user=person)
    if role != Role.MANAGER and membership.pk and not _others_manage(membership):
        raise LastManagerError
    membership.role = role
    membership.save(update_fields=["role"] if membership.pk else None)
    audit.record(Action.ROLE, actor=by, subject=person, project=project, what=role.value)
    return membership


@transaction.atomic
def remove_member(membership: Membership, *, by: User | None = None) -> None:
    """Take somebody out. Their votes stay, what they hold goes back. Raises LastManagerError if nobody would manage."""
    Project.objects.select_for_update(no_key=True).get(pk=membership.project_id)
    if not _others_manage(membership):
        raise LastManagerError
    Lease.objects.filter(annotator=membership.user, comparison__project=membership.project_id).delete()
    audit.record(Action.REMOVED, actor=by, subject=membership.user, project=membership.project, what=membership.role)
    membership.delete()


def _others_manage(membership: Membership) -> bool:
    """Whether taking the manager's role from this member leaves another manager, or takes none."""
    managers = Membership.objects.filter(project=membership.project_id, role=Role.MANAGER)
    return membership.role != Role.MANAGER or managers.exclude(pk=membership.pk).exists()
