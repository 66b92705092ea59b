"""Pairs whose answer is known: gold, hidden among the work to check it, and practice, with feedback, before it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.utils.timezone import now

from annotation.judging import Verdict, lock_comparison, lock_person, withdraw
from annotation.models import Comparison, Gold, Judgment, Lease, Membership, Project, Response, User
from annotation.models.content import KNOWN, MOST_JUDGMENTS, WORK
from annotation.services import AnswerIn, Message, add_comparison

GOLD, PRACTICE = Comparison.Purpose.GOLD, Comparison.Purpose.PRACTICE


class StillOpenError(Exception):
    """The comparison is in the middle of being judged: it can become gold before its first vote or after its last."""


@transaction.atomic
def mark(
    *,
    comparison: Comparison,
    verdict: Verdict,
    purpose: Comparison.Purpose = GOLD,
    explanation: str = "",
    by: User | None = None,
) -> Gold:
    """Make a comparison one whose answer is known. Marked again, it gets the new answer.

    One that nobody has judged or holds leaves the work. One that has all its judgments keeps them, and a copy of it
    becomes the gold; whoever judged it is never given the copy. Raises StillOpenError for one in between, ValueError
    for an answer that does not fit.
    """
    comparison = lock_comparison(comparison.pk)
    verdict.check(comparison.response_ids)
    untouched = comparison.purpose in WORK and not _touched(comparison)
    if comparison.purpose not in KNOWN and not untouched and comparison.closed_at is None:
        raise StillOpenError
    same: dict[str, Any] = {"prompt_id": comparison.prompt_id, "response_ids": comparison.response_ids}
    known = Comparison.objects.filter(**same, purpose__in=KNOWN).first()
    if untouched:
        # Its row becomes the gold, or is no longer needed beside it.
        known = _leave_the_work(comparison, known)
    elif known is None:
        known = Comparison(project=comparison.project, **same)
    known.purpose, known.judgments_wanted, known.batch, known.closed_at = purpose, MOST_JUDGMENTS, None, None
    known.save()
    tiers = [sorted(tier) for tier in verdict.tiers]
    values = {"expected": tiers, "both_bad": verdict.both_bad, "explanation": explanation, "created_by": by}
    return Gold.objects.update_or_create(comparison=known, defaults=values)[0]


def _touched(comparison: Comparison) -> bool:
    """Whether anybody has ever judged it, or holds it now."""
    judged = Judgment.objects.filter(comparison=comparison).exists()
    return judged or Lease.objects.live().filter(comparison=comparison).exists()


def _leave_the_work(comparison: Comparison, known: Comparison | None) -> Comparison:
    if known is None:
        return comparison
    comparison.delete()
    return known


def add(
    *,
    project: Project,
    messages: Sequence[Message],
    answers: Sequence[AnswerIn],
    preferred: int | None,
    both_bad: bool = False,
    purpose: Comparison.Purpose = GOLD,
    explanation: str = "",
    by: User | None = None,
) -> Gold:
    """A pair with its answer from outside. `preferred` is the place of the better answer, None for a tie."""
    with transaction.atomic():
        comparison = add_comparison(project=project, messages=messages, responses=answers)
        texts = dict(Response.objects.filter(pk__in=comparison.response_ids).values_list("text", "pk"))
        ids = [texts[answer.text] for answer in answers]
        if preferred is not None:
            ids.insert(0, ids.pop(preferred))
        tiers = [sorted(ids)] if preferred is None else [[pk] for pk in ids]
        verdict = Verdict(tiers=tiers, both_bad=both_bad)
        return mark(comparison=comparison, verdict=verdict, purpose=purpose, explanation=explanation, by=by)


def retire(gold: Gold) -> None:
    """Hand it out no more. What people said about it stays."""
    Comparison.objects.filter(pk=gold.comparison_id, purpose__in=KNOWN).update(closed_at=now())


@dataclass(frozen=True)
class Practice:
    """How far a person is in the training phase: practice pairs judged, of them right, needed, and left."""

    done: int
    right: int
    needed: int
    pass_mark: int
    left: int

    @property
    def passes(self) -> bool:
        return self.done >= self.needed and self.right * 100 >= self.pass_mark * min(self.done, self.needed)

    @property
    def is_over(self) -> bool:
        """Every pair is judged or skipped, and the mark was not reached: the manager decides."""
        return self.left == 0 and not self.passes


def practice_of(project: Project, person: User) -> Practice:
    """Over the person's last judgments of practice pairs, as many as are needed. A project may have fewer pairs."""
    pairs = Comparison.objects.filter(project=project, purpose=PRACTICE)
    standing = Judgment.objects.standing().by(person).filter(comparison__in=pairs)
    needed = min(project.practice_pairs, pairs.filter(closed_at=None).count())
    last = standing.select_related("comparison__gold").latest_first()[: max(needed, 1)]
    return Practice(
        done=standing.count(),
        right=sum(one.comparison.gold.is_met_by(one.tiers, both_bad=one.both_bad) for one in last),
        needed=needed,
        pass_mark=project.pass_mark,
        left=pairs.filter(closed_at=None).new_to(person).count(),
    )


def note_practice(judgment: Judgment, project: Project) -> None:
    """After a practice pair: let the person in to the work if that was enough. The person is locked."""
    if practice_of(project, judgment.annotator).passes:
        let_in(project, judgment.annotator)


def let_in(project: Project, person: User) -> bool:
    """End somebody's training phase, by their result or by a manager's word. False: it had ended before."""
    waiting = Membership.objects.filter(project=project, user=person, passed_at=None)
    return waiting.update(passed_at=now()) == 1


@transaction.atomic
def practise_again(project: Project, person: User) -> None:
    """Back to the start of the training phase: practice judgments are withdrawn, so that their pairs come again."""
    lock_person(person)
    pairs = Comparison.objects.filter(project=project, purpose=PRACTICE)
    # In one order, so that two managers who do this at once never wait for each other.
    for judgment in Judgment.objects.standing().by(person).filter(comparison__in=pairs).order_by("comparison_id"):
        lock_comparison(judgment.comparison_id)
        withdraw(judgment)
    Membership.objects.filter(project=project, user=person).update(passed_at=None)


@dataclass(frozen=True)
class Feedback:
    """What a person who practises is told about a judgment of theirs."""

    judgment: Judgment
    right: bool
    expected: str
    explanation: str


def feedback_on(judgment: Judgment) -> Feedback:
    """For a judgment of a practice pair. `expected` is in the words of the sides that the person saw."""
    gold = judgment.comparison.gold
    wanted = Judgment(tiers=gold.expected, both_bad=gold.both_bad, shown_order=judgment.shown_order)
    right = gold.is_met_by(judgment.tiers, both_bad=judgment.both_bad)
    return Feedback(judgment, right, wanted.verdict, gold.explanation)
