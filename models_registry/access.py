"""Who may see models and download them.

Staff, and whoever has the permission `models_registry.view_version`, for all models or, where an authentication
backend says so, for one version: the rooms above know whose work a version is.
"""

from __future__ import annotations

from django.http import Http404, HttpRequest
from django.shortcuts import get_object_or_404

from models_registry.models import Artifact, Version

PERMISSION = "models_registry.view_version"


def check_reader(request: HttpRequest, version: Version | None = None) -> None:
    """Raises Http404 for somebody who may not know of this version, or, without one, of all of them."""
    user = request.user
    if user.is_staff or user.has_perm(PERMISSION) or (version and user.has_perm(PERMISSION, version)):
        return
    raise Http404


def get_version_for_reader(request: HttpRequest, slug: str, number: int) -> Version:
    """The version at this address. Raises Http404 if there is none, or not for this person."""
    related = Version.objects.select_related("model", "parent__model", "created_by").prefetch_related("artifacts")
    version = get_object_or_404(related, model__slug=slug, number=number)
    check_reader(request, version)
    return version


def get_artifact_for_reader(request: HttpRequest, slug: str, number: int, format: str) -> Artifact:
    """One form of the version at this address. Raises Http404 if there is none, or not for this person."""
    artifact = get_object_or_404(
        Artifact.objects.select_related("version__model"),
        version__model__slug=slug,
        version__number=number,
        format=format,
    )
    check_reader(request, artifact.version)
    return artifact
