"""A reviewer's last word on a pair, and asking people for one more judgment. Imports no numerical library."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from django.db import transaction
from django.db.models import Exists, F, OuterRef
from django.utils.translation import gettext as _

from annotation.ballots import Ballot
from annotation.judging import lock_comparison, lock_person, preferences_of, withdraw, write_judgment
from annotation.models import Comparison, Judgment, PairLabel, Preference, Project, Response, User
from annotation.models.content import WORK
from annotation.queue import shuffled

MOST_JUDGMENTS = 50  # of one comparison that is work


class CannotDecideError(Exception):
    """The pair is decided already, still open, or was judged by the one who would decide. The message says which."""


@transaction.atomic
def decide(*, comparison_id: int, reviewer: User, choice: str, reason: str = "") -> Judgment:
    """Settle a pair. The decision is a judgment on a seat of its own; the votes stay and make no preferences any more,
    but that an edit is better than its original.

    Raises CannotDecideError, and ValueError for an unknown choice.
    """
    lock_person(reviewer)
    comparison = lock_comparison(comparison_id)
    _check(comparison, reviewer)
    order = order_for(comparison, reviewer)
    verdict = Ballot(choice=choice, reason=reason).verdict(order)
    Comparison.objects.filter(pk=comparison.pk).update(judgments_wanted=F("judgments_wanted") + 1)
    comparison.refresh_from_db(fields=["judgments_wanted"])
    decision = write_judgment(
        comparison, reviewer, verdict, seat=comparison.judgments_wanted, shown_order=order, decides=True
    )
    silence_votes([comparison.pk])
    return decision


def silence_votes(comparison_ids: Collection[int]) -> None:
    """Where a reviewer has settled the pair, leave votes no preference but that an edit is better than its original."""
    settled = Judgment.objects.decisions().filter(comparison__in=comparison_ids).values("comparison")
    votes = Preference.objects.filter(judgment__comparison__in=settled, judgment__decides=False)
    votes.exclude(chosen=F("judgment__edited"), rejected=F("judgment__edit_of")).delete()


def _check(comparison: Comparison, reviewer: User) -> None:
    kept = Judgment.objects.kept().filter(comparison=comparison)
    if kept.filter(decides=True).exists():
        raise CannotDecideError(_("Somebody has settled this pair already."))
    if comparison.closed_at is None:
        raise CannotDecideError(_("This pair is still being judged."))
    if kept.filter(annotator=reviewer).exists():
        raise CannotDecideError(_("You have voted on this pair, so somebody else settles it."))
    if Response.objects.filter(pk__in=comparison.response_ids, written_by=reviewer).exists():
        raise CannotDecideError(_("You wrote one of the answers, so somebody else settles it."))
    if len(comparison.response_ids) != 2 or comparison.purpose not in WORK:
        raise CannotDecideError(_("Only pairs of the work itself can be settled."))


def order_for(comparison: Comparison, reviewer: User) -> list[int]:
    """The sides as this reviewer sees them."""
    return shuffled(comparison.response_ids, comparison_id=comparison.pk, annotator_id=reviewer.pk)


@transaction.atomic
def take_back(*, decision_id: int, reviewer: User) -> bool:
    """Undo one's own decision: the votes make preferences again, and the pair is open for one more judgment.

    False: there is no such standing decision of this person.
    """
    found = Judgment.objects.filter(pk=decision_id, annotator=reviewer, decides=True).first()
    if found is None:
        return False
    comparison = lock_comparison(found.comparison_id)
    if not withdraw(found):
        return False
    for vote in Judgment.objects.standing().filter(comparison=comparison):
        vote.preferences.all().delete()  # of an edit over its original
        Preference.objects.bulk_create(
            preferences_of(vote, project_id=comparison.project_id, prompt_id=comparison.prompt_id)
        )
    return True


def to_settle(project: Project, reviewer: User) -> list[int]:
    """Comparisons with votes for either answer, for this person to decide; the most doubtful first."""
    mine = Judgment.objects.kept().filter(comparison=OuterRef("comparison"), annotator=reviewer)
    written = list(Response.objects.filter(prompt__project=project, written_by=reviewer).values_list("pk", flat=True))
    disputed = PairLabel.objects.disputed(project).exclude(Exists(mine))
    disputed = disputed.exclude(comparison__response_ids__overlap=written) if written else disputed
    return list(disputed.values_list("comparison_id", flat=True))


@dataclass(frozen=True)
class HiddenVote:
    """A vote without the name behind it, in the sides of whoever looks."""

    words: str
    tags: tuple[str, ...]
    reason: str


def hidden_votes(comparison: Comparison, order: list[int]) -> list[HiddenVote]:
    """What people said of a pair, sorted by what they said, so that the order tells nothing about them."""
    found = []
    for vote in Judgment.objects.standing().filter(comparison=comparison, decides=False):
        vote.shown_order = order
        found.append(HiddenVote(vote.verdict, tuple(vote.tags), vote.reason))
    return sorted(found, key=lambda vote: (vote.words, vote.tags, vote.reason))


@transaction.atomic
def ask_for_one_more(project: Project, comparison_ids: Collection[int]) -> int:
    """Open finished, undecided comparisons for one more judgment each; an open one is left alone. Returns how many."""
    closed = Comparison.objects.work().filter(project=project, pk__in=comparison_ids)
    closed = closed.filter(judgments_wanted__lt=MOST_JUDGMENTS).exclude(closed_at=None)
    # Locked first: a decision made meanwhile shows in the statement after it only.
    locked = [comparison.pk for comparison in closed.order_by("pk").select_for_update(no_key=True)]
    decided = Judgment.objects.decisions().filter(comparison=OuterRef("pk"))
    return (
        closed.filter(pk__in=locked)
        .exclude(Exists(decided))
        .update(judgments_wanted=F("judgments_wanted") + 1, closed_at=None)
    )
