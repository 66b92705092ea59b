"""Who judges what next: leases, votes, skips and undo.

Order of locks everywhere: first the person, then one comparison. So one person's tabs take turns, two people never wait
for each other in a circle, and what a request read under the locks stays true until it commits.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.core import signing
from django.db import transaction
from django.utils.crypto import salted_hmac
from django.utils.timezone import now

from annotation.judging import (
    NoSeatLeftError,
    Verdict,
    free_seat,
    lock_comparison,
    lock_person,
    withdraw,
    write_judgment,
)
from annotation.models import Comparison, Judgment, Lease, Project, Skip, User

LEASE_TIME = timedelta(minutes=5)
TICKET_AGE = timedelta(days=7)
TICKET_SALT = "annotation.queue.ticket"

# A vote as the page sends it: side, and by how much. A is the response shown first.
CHOICES: dict[str, tuple[str, int | None]] = {
    "a3": ("a", 3),
    "a2": ("a", 2),
    "a1": ("a", 1),
    "a": ("a", None),
    "tie": ("tie", None),
    "b": ("b", None),
    "b1": ("b", 1),
    "b2": ("b", 2),
    "b3": ("b", 3),
    "both_bad": ("both_bad", None),
}


class BadTicketError(Exception):
    """The form names a comparison that was never handed to this person."""


@dataclass(frozen=True)
class Ticket:
    """Proof, signed and sent along with the form, that a comparison was handed to a person. Outlives the lease."""

    comparison_id: int
    handed_out_at: datetime

    @staticmethod
    def sign(lease: Lease) -> str:
        comparison, seconds = lease.comparison, int(lease.leased_at.timestamp())
        content = [comparison.pk, comparison.project_id, lease.annotator_id, seconds]
        return signing.dumps(content, salt=TICKET_SALT)

    @classmethod
    def read(cls, text: str, *, project: Project, annotator: User) -> Ticket:
        """Raises BadTicketError if it is forged, too old, another person's or of another project."""
        try:
            comparison_id, project_id, annotator_id, seconds = signing.loads(text, salt=TICKET_SALT, max_age=TICKET_AGE)
        except signing.BadSignature as error:
            raise BadTicketError from error
        if (project_id, annotator_id) != (project.pk, annotator.pk):
            raise BadTicketError
        return cls(comparison_id, datetime.fromtimestamp(seconds, tz=now().tzinfo))


def shuffled(response_ids: Iterable[int], *, comparison_id: int, annotator_id: int) -> list[int]:
    """The order in which this person sees these responses: random over people and comparisons, fixed for the two.

    Fixed, so that a vote that comes after its lease was given away still means what the person saw.
    """

    def rank(response_id: int) -> bytes:
        seen = f"{comparison_id}:{annotator_id}:{response_id}"
        return salted_hmac("annotation.queue.shuffled", seen, algorithm="sha256").digest()

    return sorted(response_ids, key=rank)


@transaction.atomic
def lease_next(*, project: Project, annotator: User) -> Lease | None:
    """The comparison this person holds, or the next one from the queue; None if nothing is left for them.

    Never one that they judged or skipped, never one whose seats are all judged or held. A lease that ran out but that
    nobody else was given is renewed.
    """
    if project.archived_at is not None:
        return None
    lock_person(annotator)
    return _renewed_lease(project, annotator) or _new_lease(project, annotator)


def _renewed_lease(project: Project, annotator: User) -> Lease | None:
    mine = Lease.objects.filter(annotator=annotator, comparison__project=project, comparison__closed_at=None)
    lease = mine.select_related("comparison__prompt", "comparison__project").first()
    # Conditional: somebody may be reclaiming it at this moment.
    return lease if lease is not None and extend(lease_id=lease.pk, annotator=annotator) else None


def _new_lease(project: Project, annotator: User) -> Lease | None:
    queue = Comparison.objects.filter(project=project).still_open().new_to(annotator).with_a_free_seat()
    queue = queue.in_queue_order()
    while True:
        comparison = queue.select_for_update(skip_locked=True, no_key=True, of=("self",)).first()
        if comparison is None:
            # All that is left is locked by others just now; one of those may still have a seat when they are done.
            comparison = queue.select_for_update(no_key=True, of=("self",)).first()
        if comparison is None:
            return None
        comparison.project = project
        # Read after the lock: the last seat can be lost between the query and the lock.
        seat = free_seat(comparison)
        if seat is not None:
            return _lease(comparison, annotator, seat=seat)
        queue = queue.exclude(pk=comparison.pk)


def _lease(comparison: Comparison, annotator: User, *, seat: int, shown_order: list[int] | None = None) -> Lease:
    order = shown_order or shuffled(comparison.response_ids, comparison_id=comparison.pk, annotator_id=annotator.pk)
    return Lease.objects.create(
        comparison=comparison, annotator=annotator, seat=seat, shown_order=order, expires_at=now() + LEASE_TIME
    )


def extend(*, lease_id: int, annotator: User) -> bool:
    """The page's heartbeat. False: the lease was given to somebody else."""
    mine = Lease.objects.filter(pk=lease_id, annotator=annotator)
    return mine.update(heartbeat_at=now(), expires_at=now() + LEASE_TIME) == 1


def extend_by_ticket(*, ticket: Ticket, annotator: User) -> bool:
    """As `extend`, for a page that knows its ticket only."""
    mine = Lease.objects.filter(comparison=ticket.comparison_id, annotator=annotator)
    return mine.update(heartbeat_at=now(), expires_at=now() + LEASE_TIME) == 1


def release(*, project: Project, annotator: User) -> None:
    """Give back what this person holds, at once instead of when it runs out."""
    Lease.objects.filter(comparison__project=project, annotator=annotator).delete()


def verdict_from(choice: str, *, shown_order: list[int], reason: str = "") -> Verdict:
    """What a choice on the page says about the two responses. Raises ValueError for an unknown choice."""
    try:
        side, strength = CHOICES[choice]
    except KeyError:
        raise ValueError(f"There is no choice {choice!r}.") from None
    first, second = shown_order
    tiers = {"a": [[first], [second]], "b": [[second], [first]]}.get(side, [sorted(shown_order)])
    return Verdict(tiers=tiers, both_bad=side == "both_bad", strength=strength, reason=reason)


@transaction.atomic
def submit_judgment(
    *, ticket: Ticket, annotator: User, choice: str, reason: str = "", active_seconds: float = 0.0
) -> Judgment:
    """Keep a vote and give the lease back. Sent twice, it is kept once.

    After the lease ran out it still counts if a seat is free. Raises NoSeatLeftError if others took them all, and
    ValueError for an unknown choice.
    """
    lock_person(annotator)
    comparison = lock_comparison(ticket.comparison_id)
    standing = Judgment.objects.standing().filter(comparison=comparison, annotator=annotator).first()
    if standing is not None:
        return standing
    lease = Lease.objects.filter(comparison=comparison, annotator=annotator).first()
    seat = lease.seat if lease else free_seat(comparison)
    if seat is None:
        raise NoSeatLeftError
    order = (
        lease.shown_order
        if lease
        else shuffled(comparison.response_ids, comparison_id=comparison.pk, annotator_id=annotator.pk)
    )
    since = lease.leased_at if lease else ticket.handed_out_at
    judgment = write_judgment(
        comparison,
        annotator,
        verdict_from(choice, shown_order=order, reason=reason),
        seat=seat,
        shown_order=order,
        active_seconds=min(max(active_seconds, 0.0), max((now() - since).total_seconds(), 0.0)),
    )
    Lease.objects.filter(comparison=comparison, annotator=annotator).delete()
    Skip.objects.filter(comparison=comparison, annotator=annotator).delete()
    return judgment


@transaction.atomic
def skip(*, ticket: Ticket, annotator: User, reason: str) -> None:
    """Pass a comparison on, for good. Does nothing to one that this person judged meanwhile."""
    lock_person(annotator)
    comparison = lock_comparison(ticket.comparison_id)
    if Judgment.objects.standing().filter(comparison=comparison, annotator=annotator).exists():
        return
    Skip.objects.get_or_create(comparison=comparison, annotator=annotator, defaults={"reason": reason})
    Lease.objects.filter(comparison=comparison, annotator=annotator).delete()


@transaction.atomic
def undo_last(*, project: Project, annotator: User) -> Lease | None:
    """Take back this person's last vote or skip, and hand them its comparison again; None if there is nothing.

    Raises NoSeatLeftError for a skip whose comparison others have finished since.
    """
    lock_person(annotator)
    mine = Judgment.objects.standing().in_project(project).filter(annotator=annotator, decides=False)
    judgment = mine.order_by("-created_at").first()
    if judgment is not None and Judgment.objects.decisions().filter(comparison=judgment.comparison_id).exists():
        judgment = None  # a reviewer has settled it: a new vote on it would teach what was decided against
    skipped = Skip.objects.filter(comparison__project=project, annotator=annotator).order_by("-created_at").first()
    if skipped is not None and (judgment is None or skipped.created_at > judgment.created_at):
        return _undo_skip(skipped, annotator)
    return _undo_judgment(judgment, annotator) if judgment is not None else None


def _undo_judgment(judgment: Judgment, annotator: User) -> Lease:
    comparison = lock_comparison(judgment.comparison_id)
    withdraw(judgment)
    release(project=comparison.project, annotator=annotator)
    return _lease(comparison, annotator, seat=judgment.seat, shown_order=judgment.shown_order)


def _undo_skip(skipped: Skip, annotator: User) -> Lease:
    comparison = lock_comparison(skipped.comparison_id)
    seat = free_seat(comparison)
    if seat is None:
        raise NoSeatLeftError
    skipped.delete()
    release(project=comparison.project, annotator=annotator)
    return _lease(comparison, annotator, seat=seat)
