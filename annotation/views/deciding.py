"""Settling disputes with names hidden, and asking for another judgment of suspect pairs."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from annotation import audit
from annotation.access import SignedInRequest, get_project_for_manager, get_project_for_reviewer, is_manager
from annotation.models import Comparison, Judgment, PairLabel, Project, Response
from annotation.quality import renewing
from annotation.quality.deciding import (
    CannotDecideError,
    ask_for_one_more,
    decide,
    hidden_votes,
    order_for,
    take_back,
    to_settle,
)
from annotation.rendering import render as rich
from annotation.views.labelling import ARCHIVED
from annotation.work import choices_for, turns_of

SHOWN_SUSPECTS = 50
LONGEST_REASON = 2_000


@login_required
@never_cache
@require_safe
def adjudicate(request: SignedInRequest, slug: str) -> HttpResponse:
    """The next disputed pair for this reviewer; `?after=` passes one over. An archived project has none."""
    project = get_project_for_reviewer(request, slug)
    renewing.ask_if_old(project)
    waiting = to_settle(project, request.user) if project.archived_at is None else []
    after = request.GET.get("after", "")
    passed = waiting.index(int(after)) + 1 if after.isdecimal() and int(after) in waiting else 0
    last = Judgment.objects.decisions().in_project(project).by(request.user).latest_first().first()
    manages = is_manager(request, project)
    context = {"project": project, "waiting": waiting, "last": last, "manages": manages, "section": "projects"}
    if waiting:
        context |= _pair(request, project, waiting[passed % len(waiting)])
    return render(request, "annotation/adjudicate.html", context)


def _pair(request: SignedInRequest, project: Project, pk: int) -> dict[str, object]:
    comparison = Comparison.objects.select_related("prompt").get(pk=pk)
    order = order_for(comparison, request.user)
    texts = dict(Response.objects.filter(pk__in=order).values_list("pk", "text"))
    return {
        "comparison": comparison,
        "conversation": turns_of(comparison.prompt.messages),
        "answers": [(side, rich(texts[response])) for side, response in zip("AB", order, strict=True)],
        "votes": hidden_votes(comparison, order),
        "choices": choices_for(project, len(order)),
    }


@login_required
@require_POST
def settle(request: SignedInRequest, slug: str, pk: int) -> HttpResponse:
    project = get_project_for_reviewer(request, slug)
    comparison = get_object_or_404(Comparison, project=project, pk=pk)
    if project.archived_at is not None:
        return _stays(request, project)
    audit.tell(request, f"dispute over pair {comparison.pk}")
    reason = request.POST.get("reason", "").replace("\x00", "").strip()[:LONGEST_REASON]
    try:
        decide(
            comparison_id=comparison.pk,
            reviewer=request.user,
            choice=request.POST.get("choice", ""),
            reason=reason,
        )
    except CannotDecideError as error:
        messages.warning(request, _("%(reason)s Here is the next one.") % {"reason": error})
    except ValueError:
        messages.error(request, _("That form was out of date, so nothing was saved."))
    return redirect("adjudicate", project.slug)


@login_required
@require_POST
def unsettle(request: SignedInRequest, slug: str, pk: int) -> HttpResponse:
    """Take one's own decision back."""
    project = get_project_for_reviewer(request, slug)
    decision = get_object_or_404(Judgment, comparison__project=project, pk=pk, annotator=request.user, decides=True)
    if project.archived_at is not None:
        return _stays(request, project)
    audit.tell(request, f"dispute over pair {decision.comparison_id}, taken back")
    if take_back(decision_id=decision.pk, reviewer=request.user):
        messages.info(request, _("Taken back: the votes count again, and the pair is open for one more judgment."))
    else:
        messages.info(request, _("It was taken back already."))
    return redirect("adjudicate", project.slug)


def _stays(request: SignedInRequest, project: Project) -> HttpResponse:
    messages.error(request, ARCHIVED)
    return redirect(project)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def suspects(request: SignedInRequest, slug: str) -> HttpResponse:
    """GET lists the labels in doubt; POST opens those that are ticked for one more judgment."""
    project = get_project_for_manager(request, slug)
    if request.method == "POST":
        if project.archived_at is not None:
            return _stays(request, project)
        chosen = [int(pk) for pk in request.POST.getlist("pair") if pk.isdecimal() and len(pk) < 19]
        opened = ask_for_one_more(project, chosen)
        audit.tell(request, f"{opened} suspects")
        words = ngettext(
            "%(n)s pair opened for one more judgment, by somebody new to them.",
            "%(n)s pairs opened for one more judgment, by somebody new to them.",
            opened,
        )
        messages.success(request, words % {"n": opened})
        return redirect("suspects", project.slug)
    renewing.ask_if_old(project)
    waiting = PairLabel.objects.suspect(project)
    found = waiting.closed().select_related("comparison__prompt")
    context = {
        "project": project,
        "labels": found[:SHOWN_SUSPECTS],
        "count": found.count(),
        "open": waiting.filter(comparison__closed_at=None).count(),
        "section": "projects",
    }
    return render(request, "annotation/suspects.html", context)
