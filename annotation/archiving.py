"""Ending a project's work and taking it up again. Votes and what was learned from them are never deleted by a click."""

from __future__ import annotations

from django.db import transaction
from django.utils.timezone import now

from annotation import audit
from annotation.models import Action, Project, User


@transaction.atomic
def archive(*, project: Project, by: User) -> bool:
    """Hand out nothing more and start no schedule. A vote that somebody is on still counts. False: it was archived."""
    moved = Project.objects.active().filter(pk=project.pk).update(archived_at=now()) == 1
    if moved:
        audit.record(Action.SETTINGS, actor=by, project=project, what="archived")
    return moved


@transaction.atomic
def reopen(*, project: Project, by: User) -> bool:
    """Take an archived project up again where it was left. False: it was open."""
    moved = Project.objects.archived().filter(pk=project.pk).update(archived_at=None) == 1
    if moved:
        audit.record(Action.SETTINGS, actor=by, project=project, what="reopened")
    return moved
