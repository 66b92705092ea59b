"""Pages of rounds: let a version answer a project's prompts, and what came of a version's rounds."""

from __future__ import annotations

from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_safe

from annotation.access import SignedInRequest, get_project_for_manager
from annotation.models import Project
from training.access import get_version_for_rounds
from training.launching import LaunchError
from training.models import Method, Run
from training.round_form import project_round_form

ROUNDS_OF_A_VERSION = 8


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def next_round(request: SignedInRequest, slug: str) -> HttpResponse:
    """GET asks who answers which prompts and counts them; POST launches, and leads to the page of the run."""
    project = get_project_for_manager(request, slug)
    form = project_round_form(
        request.POST or None, project=project, user=request.user, initial={"base": request.GET.get("base")}
    )
    if request.method == "POST" and form.is_valid():
        try:
            return redirect(form.launch(request.user))
        except LaunchError as error:  # what the form had found right has changed since
            form.add_launch_error(error)
    context = {"project": project, "form": form, "found": form.count(), "section": "projects"}
    return render(request, "training/next_round.html", context)


@login_required
@require_safe
def count(request: SignedInRequest, slug: str) -> HttpResponse:
    """What the form as it stands would ask for: a fragment."""
    project = get_project_for_manager(request, slug)
    form = project_round_form(request.GET, project=project, user=request.user)
    return render(request, form.count_template, {"found": form.count()})


@login_required
@require_safe
def of_version(request: SignedInRequest, pk: int) -> HttpResponse:
    """What a version has answered, and where it can answer next: a fragment for its page, or a small page."""
    version = get_version_for_rounds(request, pk)
    rounds = Run.objects.visible_to(request.user).filter(method=Method.SAMPLE, base=version).with_names()
    context = {
        "version": version,
        "rounds": rounds[:ROUNDS_OF_A_VERSION],
        "projects": Project.objects.managed_by(request.user).active(),
        "section": "models",
    }
    name = "training/_version_rounds.html" if request.htmx else "training/version_rounds.html"  # type: ignore[attr-defined]
    return render(request, name, context)
