"""The labelling page: one pair, one vote, the next pair. Every form works without JavaScript.

A page with JavaScript sends `X-Fragment: 1` and gets the next pair as a fragment; one without is sent back to the page.
With JavaScript the page also asks for the pair after this one (`ahead`), to show it the moment a vote is given.
"""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from annotation import queue
from annotation.access import SignedInRequest, get_project_for_annotator
from annotation.ballots import Ballot
from annotation.examples import examples_for
from annotation.judging import NoSeatLeftError, is_what_was_said
from annotation.models import Arm, Comparison, Flag, Judgment, Lease, Project
from annotation.practising import look_back_on, practised_by
from annotation.queue import BadTicketError, CapReachedError, Ticket
from annotation.work import Work, progress, skip_reasons, why_nothing_is_left, work_on

LONGEST_COMMENT = 1_000
LONGEST_SKIP_REASON = 400
LATE = gettext_lazy(
    "Others had taken this pair when your vote came. It is kept, and counts as soon as one of them lets go."
)
UNKNOWN = gettext_lazy("That form was out of date, so nothing was saved. Here is your pair again.")
OTHER = gettext_lazy("You had judged this pair already, perhaps in another tab. That vote stands; My votes changes it.")
FULL = gettext_lazy(
    "You had let go of this pair, and have given all that this project takes of you today: this vote was not kept."
)
ARCHIVED = gettext_lazy("This project is archived: its votes stay as they are.")
TAKEN_OUT = gettext_lazy("That was taken out of the project meanwhile, so nothing was saved.")


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
    if ticket is not None and not reason:
        messages.warning(request, _("Say why you skip it: choose a reason or type one."))
    elif ticket is not None:
        try:
            queue.skip(ticket=ticket, annotator=request.user, reason=reason)
        except Comparison.DoesNotExist:
            messages.warning(request, TAKEN_OUT)
    return _next(request, project)


@login_required
@require_POST
def undo(request: SignedInRequest, slug: str) -> HttpResponse:
    project = get_project_for_annotator(request, slug)
    try:
        if queue.undo_last(project=project, annotator=request.user) is None:
            messages.info(request, ARCHIVED if project.archived_at else _("There is nothing to undo."))
    except NoSeatLeftError:
        messages.warning(request, _("Others have finished that pair, so it cannot come back."))
    return _next(request, project)


@login_required
@require_POST
def ahead(request: SignedInRequest, slug: str) -> HttpResponse:
    """The pair after the one that is held, as a fragment, held too; 204 where there is none to spare."""
    project = get_project_for_annotator(request, slug)
    lease = queue.lease_ahead(project=project, annotator=request.user)
    if lease is None:
        return HttpResponse(status=204)
    return render(request, "annotation/_work.html", _context(request, project, lease))


@login_required
@require_POST
def flag(request: SignedInRequest, slug: str) -> HttpResponse:
    """Tell the managers about a pair. It stays to be judged or skipped; a page with JavaScript keeps what it shows."""
    project = get_project_for_annotator(request, slug)
    ticket = _ticket(request, project)
    comment = _typed(request, "flag")[:LONGEST_COMMENT]
    if ticket is not None and not Comparison.objects.filter(pk=ticket.comparison_id).exists():
        messages.warning(request, TAKEN_OUT)
    elif ticket is not None and comment:
        Flag.objects.create(comparison_id=ticket.comparison_id, annotator=request.user, comment=comment)
        if request.headers.get("X-Fragment"):
            return HttpResponse(status=204)
        messages.success(request, _("The managers will see your comment."))
    elif ticket is not None:
        messages.warning(request, _("Say what is wrong with it."))
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
    ballot = Ballot.read(request.POST, project)
    try:
        judgment = queue.submit_judgment(
            ticket=ticket,
            annotator=request.user,
            ballot=ballot,
            active_seconds=seconds(request.POST.get("active_seconds", "")),
        )
        kept_before = not is_what_was_said(judgment, ballot.verdict(judgment.shown_order))
    except Comparison.DoesNotExist:
        messages.warning(request, TAKEN_OUT)
        return None
    except CapReachedError:
        messages.warning(request, FULL)
        return None
    except ValueError:
        messages.error(request, UNKNOWN)
        return None
    if kept_before:
        messages.warning(request, OTHER)
    elif judgment.seat is None:
        messages.info(request, LATE)
    return judgment


def _told(request: SignedInRequest, project: Project, judgment: Judgment) -> HttpResponse:
    """After a practice pair: what was expected, before the next one."""
    if request.headers.get("X-Fragment"):
        return _feedback(request, project, judgment, "annotation/_feedback.html")
    return redirect(f"{reverse('label', args=[project.slug])}?practised={judgment.pk}")


def _feedback(request: SignedInRequest, project: Project, judgment: Judgment, template: str) -> HttpResponse:
    context = page_context(request, project, None) | {"practised": look_back_on(judgment)}
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


def seconds(text: str) -> float:
    """A finite number of seconds, 0 for anything else."""
    try:
        found = float(text)
    except ValueError:
        return 0.0
    return found if 0 <= found < float("inf") else 0.0


def _next(request: SignedInRequest, project: Project) -> HttpResponse:
    if request.headers.get("X-Fragment"):
        return _page(request, project, "annotation/_work.html")
    return redirect("label", project.slug)


def _page(request: SignedInRequest, project: Project, template: str) -> HttpResponse:
    lease = queue.lease_next(project=project, annotator=request.user)
    return render(request, template, _context(request, project, lease))


def _context(request: SignedInRequest, project: Project, lease: Lease | None) -> dict[str, object]:
    work = work_on(lease) if lease else None
    why = None if lease else why_nothing_is_left(project, request.user)
    practises = lease is not None and lease.arm == Arm.PRACTICE
    return page_context(request, project, work) | {"why": why, "practises": practises}


def page_context(request: SignedInRequest, project: Project, work: Work | None) -> dict[str, object]:
    """What the page needs beside the work itself."""
    return {
        "project": project,
        "work": work,
        "lease_seconds": int(queue.LEASE_TIME.total_seconds()),
        "progress": progress(project, request.user),
        "skip_reasons": skip_reasons(work),
        "examples": examples_for(project),
    }
