"""Who may see models and download them: whoever has the permission `models_registry.view_version`; site admins do."""

from __future__ import annotations

from typing import cast

from django.contrib.auth.models import AnonymousUser, PermissionsMixin
from django.http import Http404, HttpRequest
from django.shortcuts import get_object_or_404

from models_registry.models import Artifact, Version

PERMISSION = "models_registry.view_version"


def check_reader(request: HttpRequest) -> None:
    """Raises Http404 for somebody who may not know which models there are."""
    if not cast(PermissionsMixin | AnonymousUser, request.user).has_perm(PERMISSION):
        raise Http404


def get_version_for_reader(request: HttpRequest, slug: str, number: int) -> Version:
    """The version at this address. Raises Http404 if there is none, or not for this person."""
    check_reader(request)
    related = Version.objects.select_related("model", "parent__model", "created_by").prefetch_related("artifacts")
    return get_object_or_404(related, model__slug=slug, number=number)


def get_artifact_for_reader(request: HttpRequest, slug: str, number: int, format: str) -> Artifact:
    """One form of the version at this address. Raises Http404 if there is none, or not for this person."""
    check_reader(request)
    return get_object_or_404(
        Artifact.objects.select_related("version__model"),
        version__model__slug=slug,
        version__number=number,
        format=format,
    )
