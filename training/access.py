"""Who may see a run: staff, and the managers of its project. To everybody else it does not exist."""

from __future__ import annotations

from django.http import Http404
from django.shortcuts import get_object_or_404

from annotation.access import SignedInRequest
from annotation.models import Project
from models_registry.models import Version
from training.models import Run, RunQuerySet
from training.permissions import versions_for


def get_run_for_viewer(request: SignedInRequest, pk: int) -> Run:
    """The run, for staff and managers of its project. Raises Http404."""
    return get_object_or_404(Run.objects.visible_to(request.user).with_names(), pk=pk)


def get_runs_for_viewer(request: SignedInRequest) -> RunQuerySet:
    """The runs this person may see. Raises Http404 for people who manage nothing."""
    if not (request.user.is_staff or Project.objects.managed_by(request.user).exists()):
        raise Http404
    return Run.objects.visible_to(request.user).with_names()


def get_version_for_rounds(request: SignedInRequest, pk: int) -> Version:
    """A version that this person may let answer. Raises Http404, also for a reward model, which cannot."""
    return get_object_or_404(versions_for(request.user).policies().select_related("model"), pk=pk)


def get_project_for_trainer(request: SignedInRequest, slug: str) -> Project:
    """A project whose runs this person may see. Raises Http404."""
    projects = Project.objects.all() if request.user.is_staff else Project.objects.managed_by(request.user)
    return get_object_or_404(projects, slug=slug)
