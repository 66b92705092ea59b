"""The labelling page: one pair, one vote, the next pair. Every form works without JavaScript.

A page with JavaScript sends `X-Fragment: 1` and gets the next pair as a fragment; one without is sent back to the page.
"""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from annotation import queue
from annotation.access import SignedInRequest, get_project_for_annotator
from annotation.judging import NoSeatLeftError
from annotation.models import Arm, Judgment, Project
from annotation.practising import look_back_on, practised_by
from annotation.queue import BadTicketError, Ticket
from annotation.work import SKIP_REASONS, progress, why_nothing_is_left, work_on

LONGEST_REASON = 2_000
LONGEST_SKIP_REASON = 400
LATE = "Others had taken this pair when your vote came. It is kept, and counts as soon as one of them lets go."
UNKNOWN = "That form was out of date, so nothing was saved. Here is your pair again."


@login_required
@never_cache
@require_http_methods(["GET", "POST"])
def label(request: SignedInRequest, slug: str) -> HttpResponse:
    """GET shows the pair one holds, or the next. POST votes."""
    project = get_project_for_annotator(request, slug)
    if request.method == "POST":
        judgment = _vote(request, project)
        if judgment is not None and judgment.arm == Arm.PRACTICE:
            return _told(request, project, judgment)
        return _next(request, project)
    practised = practised_by(request.user, project, request.GET.get("practised", ""))
    if practised is not None:
        return _feedback(request, project, practised, "annotation/label.html")
    return _page(request, project, "annotation/label.html")


@login_required
@require_POST
def skip(request: SignedInRequest, slug: str) -> HttpResponse:
    project = get_project_for_annotator(request, slug)
    reason = (_typed(request, "skip_other") or _typed(request, "skip"))[:LONGEST_SKIP_REASON]
    ticket = _ticket(request, project)
    if ticket is not None and reason:
        queue.skip(ticket=ticket, annotator=request.user, reason=reason)
    elif ticket is not None:
        messages.warning(request, "Say why you skip it: choose a reason or type one.")
    return _next(request, project)


@login_required
@require_POST
def undo(request: SignedInRequest, slug: str) -> HttpResponse:
    project = get_project_for_annotator(request, slug)
    try:
        if queue.undo_last(project=project, annotator=request.user) is None:
            messages.info(request, "There is nothing to undo.")
    except NoSeatLeftError:
        messages.warning(request, "Others have finished that pair, so it cannot come back.")
    return _next(request, project)


@login_required
@require_POST
def heartbeat(request: SignedInRequest, slug: str) -> HttpResponse:
    """204: the pair is yours for another five minutes. 409: it was given to somebody else."""
    project = get_project_for_annotator(request, slug)
    try:
        ticket = Ticket.read(request.POST.get("ticket", ""), project=project, annotator=request.user)
    except BadTicketError:
        return HttpResponse(status=409)
    return HttpResponse(status=204 if queue.extend_by_ticket(ticket=ticket, annotator=request.user) else 409)


@login_required
@require_POST
def release(request: SignedInRequest, slug: str) -> HttpResponse:
    """Stop for now: the pair goes back to the queue at once."""
    project = get_project_for_annotator(request, slug)
    queue.release(project=project, annotator=request.user)
    return redirect(project)


def _vote(request: SignedInRequest, project: Project) -> Judgment | None:
    """The vote as it is kept; None if it is not, which a message says."""
    ticket = _ticket(request, project)
    if ticket is None:
        return None
    try:
        judgment = queue.submit_judgment(
            ticket=ticket,
            annotator=request.user,
            choice=request.POST.get("choice", ""),
            reason=_typed(request, "reason")[:LONGEST_REASON],
            active_seconds=_seconds(request.POST.get("active_seconds", "")),
        )
    except ValueError:
        messages.error(request, UNKNOWN)
        return None
    if judgment.seat is None:
        messages.info(request, LATE)
    return judgment


def _told(request: SignedInRequest, project: Project, judgment: Judgment) -> HttpResponse:
    """After a practice pair: what was expected, before the next one."""
    if request.headers.get("X-Fragment"):
        return _feedback(request, project, judgment, "annotation/_feedback.html")
    return redirect(f"{reverse('label', args=[project.slug])}?practised={judgment.pk}")


def _feedback(request: SignedInRequest, project: Project, judgment: Judgment, template: str) -> HttpResponse:
    context = {"project": project, "practised": look_back_on(judgment), "progress": progress(project, request.user)}
    return render(request, template, context)


def _ticket(request: SignedInRequest, project: Project) -> Ticket | None:
    try:
        return Ticket.read(request.POST.get("ticket", ""), project=project, annotator=request.user)
    except BadTicketError:
        messages.error(request, UNKNOWN)
        return None


def _typed(request: SignedInRequest, name: str) -> str:
    """What somebody typed, without the one character that PostgreSQL takes in no text."""
    return request.POST.get(name, "").replace("\x00", "").strip()


def _seconds(text: str) -> float:
    """A finite number of seconds, 0 for anything else."""
    try:
        seconds = float(text)
    except ValueError:
        return 0.0
    return seconds if 0 <= seconds < float("inf") else 0.0


def _next(request: SignedInRequest, project: Project) -> HttpResponse:
    if request.headers.get("X-Fragment"):
        return _page(request, project, "annotation/_work.html")
    return redirect("label", project.slug)


def _page(request: SignedInRequest, project: Project, template: str) -> HttpResponse:
    lease = queue.lease_next(project=project, annotator=request.user)
    context = {
        "project": project,
        "work": work_on(lease) if lease else None,
        "progress": progress(project, request.user),
        "skip_reasons": SKIP_REASONS,
        "why": None if lease else why_nothing_is_left(project, request.user),
    }
    return render(request, template, context)
