"""The queue: take a pair, keep it, vote, pass it on. The same leases and votes as on the labelling page.

A pair has no ids of answers and no authors: what can tell the two sides apart is their texts alone.
"""

from __future__ import annotations

from datetime import datetime

from django.http import HttpResponse
from django.utils.timezone import now
from ninja import Router, Schema
from ninja.responses import Status
from pydantic import Field

from annotation import queue
from annotation.access import get_project_for_annotator
from annotation.gold import feedback_on
from annotation.judging import NoSeatLeftError, is_what_was_said
from annotation.models import Arm, Comparison, Judgment, Lease, Project, Response
from annotation.models.judging import LETTERS
from annotation.queue import LEASE_TIME, BadTicketError, CapReachedError, Ticket
from annotation.work import Why, choices_for, why_nothing_is_left
from api.auth import ApiRequest, needs
from api.endpoints.judgments import OwnJudgmentOut
from api.errors import Problem
from api.fields import Words, replies
from api.models import Scope
from api.once import IdempotencyKey, once
from api.voting import TicketIn, VoteIn

router = Router(tags=["queue"])
LABEL = needs(Scope.LABEL)


class MessageOut(Schema):
    role: str
    content: str


class AnswerOut(Schema):
    side: str = Field(description="A is what the labelling page would show on the left.")
    text: str


class PairOut(Schema):
    """One pair to judge. `ticket` proves that it was handed to you; send it along with what you do with the pair."""

    ticket: str
    comparison: int
    expires_at: datetime
    messages: list[MessageOut]
    answers: list[AnswerOut]
    choices: list[str] = Field(
        description="What the labelling page would offer: `a3` is A much better, `b1` B slightly. Empty for a ranking."
    )


class LeaseOut(Schema):
    """`pair` is null if there is nothing for you now, and `why` says why.

    `empty`, `archived`, `cap` (enough for today), `practice` (a manager decides whether you go on), `done`, `held` (by
    others), `given` (to others alone) or `yours` (you judged your part).
    """

    pair: PairOut | None
    why: Why | None


class ExtendedOut(Schema):
    expires_at: datetime


class FeedbackOut(Schema):
    """What was expected of a practice pair, in the words of the sides as you saw them."""

    right: bool
    expected: str
    explanation: str


class VotedOut(OwnJudgmentOut):
    """A vote as it is kept; `feedback` comes after a practice pair alone."""

    feedback: FeedbackOut | None = None

    @classmethod
    def told(cls, judgment: Judgment) -> VotedOut:
        voted = cls.of(judgment)
        if judgment.arm == Arm.PRACTICE:
            found = feedback_on(judgment)
            voted.feedback = FeedbackOut(right=found.right, expected=found.expected, explanation=found.explanation)
        return voted


cap_reached = Problem(
    409,
    "cap_reached",
    "You had let go of this pair, and have given all that this project takes of you today.",
    "Go on tomorrow (UTC), or ask a manager for a higher cap.",
)


class SkipIn(TicketIn):
    reason: Words = Field(max_length=400)


class SkippedOut(Schema):
    skipped: bool = True


@router.post("/projects/{slug:slug}/queue/lease", auth=LABEL, response=replies(LeaseOut, 404))
def lease(request: ApiRequest, slug: str) -> LeaseOut:
    """The pair you hold, or the next one. It is yours for five minutes; extend it if you need longer."""
    project = get_project_for_annotator(request, slug)
    held = queue.lease_next(project=project, annotator=request.user)
    if held is None:
        return LeaseOut(pair=None, why=why_nothing_is_left(project, request.user))
    return LeaseOut(pair=_pair(held), why=None)


@router.post("/projects/{slug:slug}/queue/extend", auth=LABEL, response=replies(ExtendedOut, 404, 409))
def extend(request: ApiRequest, slug: str, body: TicketIn) -> ExtendedOut:
    """Keep a pair for another five minutes. 409: it went to somebody else."""
    project = get_project_for_annotator(request, slug)
    ticket = _ticket(request, project, body)
    if not queue.extend_by_ticket(ticket=ticket, annotator=request.user):
        raise Problem(
            409, "lease_lost", "You do not hold this pair any more.", "Vote anyway, if you can, or lease the next pair."
        )
    return ExtendedOut(expires_at=now() + LEASE_TIME)


@router.post("/projects/{slug:slug}/queue/release", auth=LABEL, response=replies(None, 404, status=204))
def release(request: ApiRequest, slug: str) -> Status[None]:
    """Give back what you hold in this project, at once instead of when it runs out."""
    queue.release(project=get_project_for_annotator(request, slug), annotator=request.user)
    return Status(204, None)


@router.post("/projects/{slug:slug}/queue/submit", auth=LABEL, response=replies(VotedOut, 404, 409))
def submit(
    request: ApiRequest, response: HttpResponse, slug: str, body: VoteIn, idempotency_key: IdempotencyKey = None
) -> VotedOut:
    """Vote. Of a pair that you judged already the vote stands: sent again it is answered, another is refused by 409.

    A vote that comes when you hold the pair no longer and others have taken it is kept; `counts` is false until one of
    them lets go.
    """
    project = get_project_for_annotator(request, slug)
    ticket = _ticket(request, project, body)

    def vote() -> VotedOut:
        ballot = body.ballot(project, sides=_sides(ticket))
        try:
            judgment = queue.submit_judgment(
                ticket=ticket, annotator=request.user, ballot=ballot, active_seconds=body.active_seconds
            )
        except CapReachedError:
            raise cap_reached from None
        if not is_what_was_said(judgment, ballot.verdict(judgment.shown_order)):
            raise _already_judged(practice=judgment.arm == Arm.PRACTICE)
        return VotedOut.told(judgment)

    return once(request, response, idempotency_key, body, VotedOut, vote)


@router.post("/projects/{slug:slug}/queue/skip", auth=LABEL, response=replies(SkippedOut, 404, 409))
def skip(
    request: ApiRequest, response: HttpResponse, slug: str, body: SkipIn, idempotency_key: IdempotencyKey = None
) -> SkippedOut:
    """Pass a pair on for good, with the reason. 409: you judged it already, and that stands."""
    project = get_project_for_annotator(request, slug)
    ticket = _ticket(request, project, body)

    def pass_on() -> SkippedOut:
        if not queue.skip(ticket=ticket, annotator=request.user, reason=body.reason.strip()):
            raise _already_judged()
        return SkippedOut()

    return once(request, response, idempotency_key, body, SkippedOut, pass_on)


@router.post("/projects/{slug:slug}/queue/undo", auth=LABEL, response=replies(PairOut, 404, 409))
def undo(request: ApiRequest, slug: str) -> PairOut:
    """Take your last vote or skip back; you hold its pair again.

    409: there is nothing, others finished the pair, or the project is archived.
    """
    project = get_project_for_annotator(request, slug)
    if project.archived_at is not None:
        raise Problem(
            409,
            "archived",
            "The project is archived: nothing in it is handed out or taken back.",
            "A manager of the project can reopen it.",
        )
    try:
        held = queue.undo_last(project=project, annotator=request.user)
    except NoSeatLeftError:
        held = None
    if held is None:
        raise Problem(409, "nothing_to_undo", "There is nothing to take back.", "Lease the next pair.")
    return _pair(held)


def _sides(ticket: Ticket) -> str:
    """The letters of the answers that were handed out."""
    return LETTERS[: len(Comparison.objects.values_list("response_ids", flat=True).get(pk=ticket.comparison_id))]


def _already_judged(*, practice: bool = False) -> Problem:
    return Problem(
        409,
        "already_judged",
        "You have judged this pair already. That vote stands; what came now was not kept.",
        "Lease the next pair: a practice pair is judged once."
        if practice
        else "To change it, POST to queue/undo while it is your last, or open My votes on the labelling page.",
    )


def _ticket(request: ApiRequest, project: Project, body: TicketIn) -> Ticket:
    try:
        return Ticket.read(body.ticket, project=project, annotator=request.user)
    except BadTicketError:
        raise Problem(
            409,
            "ticket_unknown",
            "This ticket was not handed to you in this project, or it is older than a week.",
            "Lease a pair and send the ticket that comes with it.",
        ) from None


def _pair(held: Lease) -> PairOut:
    comparison = held.comparison
    texts = dict(Response.objects.filter(pk__in=held.shown_order).values_list("pk", "text"))
    return PairOut(
        ticket=Ticket.sign(held),
        comparison=comparison.pk,
        expires_at=held.expires_at,
        messages=[MessageOut(**message) for message in comparison.prompt.messages],
        answers=[AnswerOut(side=side, text=texts[pk]) for side, pk in zip(LETTERS, held.shown_order, strict=False)],
        choices=[choice.value for choice in choices_for(comparison.project, len(held.shown_order))],
    )
