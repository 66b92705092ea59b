"""Whose work a version is: a project's managers may see and download what its runs made, and what they used."""

from __future__ import annotations

from typing import Any

from django.db.models import Q

from annotation.models import User
from annotation.sessions import People
from models_registry.models import Version, VersionQuerySet
from training.models import Run


class PeopleAndTheirModels(People):
    """The site's backend, which also answers for one version."""

    def has_perm(self, user_obj: Any, perm: str, obj: Any = None) -> bool:
        if perm == "models_registry.view_version" and isinstance(obj, Version):
            return isinstance(user_obj, User) and user_obj.is_active and is_work_of(user_obj, obj)
        return super().has_perm(user_obj, perm, obj)


def is_work_of(user: User, version: Version) -> bool:
    """Whether a run that this person may see made the version, or used it."""
    used = Q(pk=version.run_id) | Q(base=version) | Q(reward=version)
    return Run.objects.visible_to(user).filter(used).exists()


def versions_for(user: User) -> VersionQuerySet:
    """The versions that a person may let answer: staff all, others those of which `is_work_of` is true.

    No more than these, because whoever launches a run with a version may download it afterwards.
    """
    if user.is_staff:
        return Version.objects.all()
    runs = Run.objects.visible_to(user).order_by()
    used = Q(run_id__in=runs.values("pk")) | Q(pk__in=runs.values("base")) | Q(pk__in=runs.values("reward"))
    return Version.objects.filter(used)
