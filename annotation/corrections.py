"""A person changes their mind about a judgment they gave: the new one takes the old one's seat in one transaction.

Unlike undo this gives nothing back to the queue, so a correction that is never finished changes nothing.
"""

from __future__ import annotations

from django.db import transaction

from annotation.ballots import Ballot
from annotation.judging import lock_comparison, lock_person, withdraw, write_judgment
from annotation.models import Judgment, User


class NotStandingError(Exception):
    """The judgment was taken back or corrected meanwhile."""


@transaction.atomic
def correct(*, judgment_id: int, annotator: User, ballot: Ballot, active_seconds: float = 0.0) -> Judgment:
    """Put a ballot in the place of this person's judgment, which stays as history.

    Raises NotStandingError for a judgment that no longer counts, or is not theirs, and ValueError as a vote does.
    """
    lock_person(annotator)
    old = Judgment.objects.correctable().by(annotator).filter(pk=judgment_id).first()
    if old is None:
        raise NotStandingError
    comparison = lock_comparison(old.comparison_id)
    verdict = ballot.verdict(old.shown_order)
    withdraw(old)
    comparison = lock_comparison(old.comparison_id)  # as it is without the old one
    return write_judgment(
        comparison,
        annotator,
        verdict,
        seat=old.seat,
        shown_order=old.shown_order,
        active_seconds=old.active_seconds + active_seconds,
        arm=old.arm,
        created_at=old.created_at,
    )
