"""What I said, newest first, and changing it."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from annotation.access import SignedInRequest, get_project_for_annotator
from annotation.ballots import Ballot
from annotation.corrections import NotStandingError, correct
from annotation.models import Comparison, Judgment
from annotation.views.labelling import ARCHIVED, page_context, seconds
from annotation.work import work_again

VOTES_A_PAGE = 50
GONE = gettext_lazy("That vote had been changed or taken back already, or a reviewer has settled the pair.")


@login_required
@require_safe
def history(request: SignedInRequest, slug: str) -> HttpResponse:
    """My standing votes on work in this project, each with a link to change it."""
    project = get_project_for_annotator(request, slug)
    mine = Judgment.objects.correctable().in_project(project).by(request.user).latest_first()
    pages = Paginator(mine.with_settled().select_related("comparison__prompt", "edited"), VOTES_A_PAGE)
    votes = pages.get_page(request.GET.get("page"))
    return render(request, "annotation/history.html", {"project": project, "votes": votes, "section": "projects"})


@login_required
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def change(request: SignedInRequest, slug: str, pk: int) -> HttpResponse:
    """One of my votes as I gave it. POST puts another in its place; an archived project takes none.

    The address of a vote that was changed, which Back leads to, leads on to what took its place.
    """
    project = get_project_for_annotator(request, slug)
    mine = Judgment.objects.in_project(project).by(request.user)
    if request.method == "POST":
        get_object_or_404(mine, pk=pk)
        _correct(request, pk, Ballot.read(request.POST, project), may=project.archived_at is None)
        return redirect("history", project.slug)
    mine = mine.filter(decides=False).exclude(comparison__purpose=Comparison.Purpose.PRACTICE)
    asked = get_object_or_404(mine, pk=pk)
    changeable = mine.correctable().unsettled().select_related("comparison__project", "comparison__prompt", "edited")
    judgment = changeable.filter(comparison=asked.comparison_id).first()
    if judgment is None:
        messages.warning(request, GONE)
        return redirect("history", project.slug)
    if judgment != asked:
        return redirect("change-judgment", project.slug, judgment.pk)
    return render(request, "annotation/label.html", page_context(request, project, work_again(judgment)))


def _correct(request: SignedInRequest, pk: int, ballot: Ballot, *, may: bool) -> None:
    if not may:
        messages.error(request, ARCHIVED)
        return
    try:
        correct(
            judgment_id=pk,
            annotator=request.user,
            ballot=ballot,
            active_seconds=seconds(request.POST.get("active_seconds", "")),
        )
    except NotStandingError:
        messages.warning(request, GONE)
    except ValueError:
        messages.error(request, _("That form was out of date, so your vote stays as it was."))
    else:
        messages.success(request, _("Your vote is changed."))
