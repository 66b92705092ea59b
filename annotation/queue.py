"""Who judges what next: leases, votes, skips and undo.

Order of locks everywhere: first the person, then one comparison. So one person's tabs take turns, two people never wait
for each other in a circle, and what a request read under the locks stays true until it commits.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import SystemRandom

from django.conf import settings
from django.core import signing
from django.db import transaction
from django.utils.crypto import salted_hmac
from django.utils.timezone import now

from annotation.asking import ask
from annotation.ballots import Ballot
from annotation.gold import note_practice
from annotation.hand_out import AllLockedError, Place, offers
from annotation.inserting import insert
from annotation.judging import (
    NoSeatLeftError,
    free_seat,
    lock_comparison,
    lock_person,
    withdraw,
    write_judgment,
)
from annotation.models import Arm, Comparison, Judgment, Lease, Project, Skip, User, WorkCount
from annotation.models.content import WORK

# How long a comparison is held without a sign of life: at most five minutes.
LEASE_TIME = timedelta(seconds=settings.LEASE_SECONDS)
# A page gets its next comparison beforehand only while so many others wait: the last ones are not held in reserve.
AHEAD_NEEDS = 10
# A lock lasts for milliseconds. The pause is drawn, so that those who met do not meet again.
PAUSE = (0.005, 0.03)  # seconds
PATIENCE = 2.0  # seconds
TICKET_AGE = timedelta(days=7)
TICKET_SALT = "annotation.queue.ticket"

_dice = SystemRandom()


# So many pairs a page holds at most, and so many votes that were given within the cap can come after it was reached.
HELD_AT_ONCE = 2


class BadTicketError(Exception):
    """The form names a comparison that was never handed to this person."""


class CapReachedError(Exception):
    """The person has given what the project takes of them today, and had let go of this comparison."""


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


def order_for(comparison: Comparison, annotator: User) -> list[int]:
    """The order in which this person sees this comparison. A hidden repeat swaps the sides of its first time."""
    first = comparison.repeat_of_id or comparison.pk
    order = shuffled(comparison.response_ids, comparison_id=first, annotator_id=annotator.pk)
    return order[::-1] if comparison.repeat_of_id else order


def arm_without_lease(comparison: Comparison) -> Arm:
    """The arm of what was handed out once and whose lease is gone. The ticket does not say: the browser can read it.

    Work counts as taken in order, so that nothing enters the random arm that may not belong there.
    """
    return Arm(comparison.purpose) if comparison.purpose in Arm.values else Arm.ORDER


def lease_next(*, project: Project, annotator: User) -> Lease | None:
    """The comparison this person holds, or the next one from the queue; None if nothing is left for them (today).

    Never one that they judged or skipped, never one whose seats are all judged or held. A lease that ran out but that
    nobody else was given is renewed. Where others have all that suits locked, it lets go of everything and looks again.
    """
    if project.archived_at is not None:
        return None
    give_up_at = time.monotonic() + PATIENCE
    while True:
        try:
            return _lease_next(project, annotator)
        except AllLockedError:
            if time.monotonic() > give_up_at:
                return None
        time.sleep(_dice.uniform(*PAUSE))


@transaction.atomic
def _lease_next(project: Project, annotator: User) -> Lease | None:
    # Without waiting for the disk: a lease lost with the power costs nobody a vote, as its ticket is still good.
    lock_person(annotator, durably=False)
    place = Place.of(project, annotator)
    return _renewed_lease(place) or _new_lease(place)


def _renewed_lease(place: Place) -> Lease | None:
    # Conditional: somebody may be reclaiming it at this moment.
    if place.holds is None or not extend(lease_id=place.holds, annotator=place.person):
        return None
    return Lease.objects.select_related("comparison__project").get(pk=place.holds)


@transaction.atomic
def lease_ahead(*, project: Project, annotator: User) -> Lease | None:
    """A second comparison for a person who holds one, so that their page has it ready when they vote; never a third.

    None while they hold none or practise (each practice pair is followed by what was expected), and where few judgments
    wait. `lease_next` hands out the older of the two first.
    """
    if project.archived_at is not None:
        return None
    lock_person(annotator, durably=False)
    mine = Lease.objects.live().filter(annotator=annotator, comparison__project=project, comparison__closed_at=None)
    held = list(mine.select_related("comparison__project").order_by("pk")[:2])
    if len(held) != 1:
        return held[1] if held else None
    place = Place.of(project, annotator)
    if place.practises or _waiting_in(project) < AHEAD_NEEDS:
        return None
    try:
        return _new_lease(place, besides=[held[0].comparison_id])
    except AllLockedError:  # the person will ask again when they have voted
        return None


def _waiting_in(project: Project) -> int:
    """Judgments of work that nobody has given or holds."""
    work_held = Lease.objects.live().filter(comparison__project=project, comparison__purpose__in=WORK)
    return WorkCount.objects.left_in(project) - work_held.count()


def _new_lease(place: Place, *, besides: Sequence[int] = ()) -> Lease | None:
    """A comparison that this person does not hold, to come after those (`besides`) that they do."""
    if not place.may_have(len(besides) + 1):
        return None
    for picked in offers(place, besides=besides):
        # Read after the lock: the last seat can be lost between the query and the lock.
        seat = free_seat(picked.comparison)
        if seat is not None:
            order = order_for(picked.comparison, place.person)
            return _lease(picked.comparison, place.person, seat=seat, shown_order=order, arm=picked.arm)
    return None


def _lease(comparison: Comparison, annotator: User, *, seat: int, shown_order: list[int], arm: str) -> Lease:
    expires_at = now() + LEASE_TIME
    lease = Lease(
        comparison=comparison, annotator=annotator, seat=seat, shown_order=shown_order, arm=arm, expires_at=expires_at
    )
    insert([lease])
    return lease


def extend(*, lease_id: int, annotator: User) -> bool:
    """The page's heartbeat. False: the lease was given to somebody else."""
    mine = Lease.objects.filter(pk=lease_id, annotator=annotator)
    return mine.update(heartbeat_at=now(), expires_at=now() + LEASE_TIME) == 1


def extend_by_ticket(*, ticket: Ticket, annotator: User) -> bool:
    """As `extend`, for a page that knows its ticket only."""
    mine = Lease.objects.filter(comparison=ticket.comparison_id, annotator=annotator)
    return mine.update(heartbeat_at=now(), expires_at=now() + LEASE_TIME) == 1


def release(*, project: Project, annotator: User) -> None:
    """Give back what this person holds, at once instead of when it runs out. Late votes may count then."""
    held = Lease.objects.filter(comparison__project=project, annotator=annotator)
    comparisons = list(held.values_list("comparison", flat=True))
    held.delete()
    seat_late_votes(comparisons)


def seat_late_votes(comparisons: Sequence[int] | None = None) -> None:
    """Let votes that wait for a seat count where one came free; of all comparisons that are open, if none are named."""
    waiting = Judgment.objects.waiting().filter(comparison__closed_at=None, comparison__project__archived_at=None)
    if comparisons is not None:
        waiting = waiting.filter(comparison__in=comparisons)
    for pk in sorted(set(waiting.values_list("comparison", flat=True))):
        with suppress(Comparison.DoesNotExist), transaction.atomic():
            free_seat(lock_comparison(pk))


@transaction.atomic
def submit_judgment(
    *,
    ticket: Ticket,
    annotator: User,
    choice: str = "",
    reason: str = "",
    ballot: Ballot | None = None,
    active_seconds: float = 0.0,
) -> Judgment:
    """Keep a vote and give the lease back. Sent twice, it is kept once. A choice and a reason are a ballot.

    After the lease ran out it still counts if a seat is free. If others took them all it is kept without one, and
    counts as soon as one of them lets go. Raises ValueError for a ballot that says nothing about this comparison, and
    CapReachedError.
    """
    ballot = ballot or Ballot(choice=choice, reason=reason)
    lock_person(annotator)
    comparison = lock_comparison(ticket.comparison_id)
    lease = _end_lease(comparison, annotator)
    if lease is None:  # who holds a comparison has not judged it
        kept = Judgment.objects.kept().filter(comparison=comparison, annotator=annotator).first()
        if kept is not None:
            return kept
        _check_cap(comparison, annotator)
    order = lease.shown_order if lease else order_for(comparison, annotator)
    since = lease.leased_at if lease else ticket.handed_out_at
    judgment = write_judgment(
        comparison,
        annotator,
        ballot.verdict(order),
        seat=lease.seat if lease else free_seat(comparison),
        shown_order=order,
        active_seconds=min(max(active_seconds, 0.0), max((now() - since).total_seconds(), 0.0)),
        arm=lease.arm if lease else arm_without_lease(comparison),
    )
    if lease is None:
        Skip.objects.filter(comparison=comparison, annotator=annotator).delete()
    if comparison.purpose == Comparison.Purpose.PRACTICE:
        note_practice(judgment, comparison.project)
    return judgment


def _check_cap(comparison: Comparison, annotator: User) -> None:
    """Of what its person had let go. Who skips makes room for another pair, so a skip is no way past the cap; who lost
    their leases with the line may have given the day's last votes before.
    """
    place = Place.of(comparison.project, annotator)
    skipped = Skip.objects.filter(comparison=comparison, annotator=annotator).exists()
    if not place.may_have(1 if skipped else 1 - HELD_AT_ONCE):
        raise CapReachedError


@dataclass(frozen=True)
class _Held:
    """What counts of a lease that has ended."""

    seat: int
    shown_order: list[int]
    leased_at: datetime
    arm: str


# With every vote, so by hand.
ENDED = """
DELETE FROM annotation_lease WHERE comparison_id = %(comparison)s AND annotator_id = %(person)s
RETURNING seat, shown_order, leased_at, arm
"""


def _end_lease(comparison: Comparison, annotator: User) -> _Held | None:
    """Give the lease of this person back and say what it was, in one statement; None if there is none."""
    found = ask(ENDED, {"comparison": comparison.pk, "person": annotator.pk})
    return _Held(*found[0]) if found else None


@transaction.atomic
def skip(*, ticket: Ticket, annotator: User, reason: str) -> bool:
    """Pass a comparison on, for good. False: this person judged it meanwhile, and that stays."""
    lock_person(annotator)
    comparison = lock_comparison(ticket.comparison_id)
    if Judgment.objects.kept().filter(comparison=comparison, annotator=annotator).exists():
        return False
    Skip.objects.get_or_create(comparison=comparison, annotator=annotator, defaults={"reason": reason})
    Lease.objects.filter(comparison=comparison, annotator=annotator).delete()
    free_seat(comparison)  # a late vote may wait for it
    return True


@transaction.atomic
def undo_last(*, project: Project, annotator: User) -> Lease | None:
    """Take back this person's last vote or skip, and hand them its comparison again; None if there is nothing.

    None in an archived project too: it hands nothing out, so the vote would be gone. Raises NoSeatLeftError for a skip,
    or a late vote, whose comparison others have finished.
    """
    if project.archived_at is not None:
        return None
    lock_person(annotator)
    judgment = Judgment.objects.correctable().in_project(project).by(annotator).order_by("-created_at").first()
    skipped = Skip.objects.filter(comparison__project=project, annotator=annotator).order_by("-created_at").first()
    if skipped is not None and (judgment is None or skipped.created_at > judgment.created_at):
        return _undo_skip(skipped, annotator)
    return _undo_judgment(judgment, annotator) if judgment is not None else None


def _undo_judgment(judgment: Judgment, annotator: User) -> Lease | None:
    comparison = lock_comparison(judgment.comparison_id)
    if Judgment.objects.decisions().filter(comparison=comparison).exists():
        return None  # a reviewer has settled it: a new vote on it would teach what was decided against
    withdraw(judgment)
    _let_go(comparison.project, annotator)
    seat = judgment.seat or free_seat(comparison)
    if seat is None:
        raise NoSeatLeftError
    return _lease(comparison, annotator, seat=seat, shown_order=judgment.shown_order, arm=judgment.arm)


def _let_go(project: Project, annotator: User) -> None:
    """As `release`, under the lock of one comparison, where no other is locked. Late votes are seated in a minute."""
    Lease.objects.filter(comparison__project=project, annotator=annotator).delete()


def _undo_skip(skipped: Skip, annotator: User) -> Lease:
    comparison = lock_comparison(skipped.comparison_id)
    seat = free_seat(comparison)
    if seat is None:
        raise NoSeatLeftError
    skipped.delete()
    _let_go(comparison.project, annotator)
    return _lease(
        comparison,
        annotator,
        seat=seat,
        shown_order=order_for(comparison, annotator),
        arm=arm_without_lease(comparison),
    )
