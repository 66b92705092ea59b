"""Turning what somebody said into rows: the judgment, the comparison's depth, and the triples that follow from it.

Everything here runs inside the caller's transaction, with the comparison's row locked by `lock_comparison`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from django.db.models import Case, F, Value, When
from django.utils.timezone import now

from annotation.models import Comparison, Judgment, Lease, Preference, User

Tiers = list[list[int]]


class NoSeatLeftError(Exception):
    """The comparison has, or is about to get, all the judgments it wants."""


@dataclass(frozen=True)
class Verdict:
    """What a person says. `tiers` is the ranking with ties, best first, as response ids: `[[12], [7]]`, `[[7, 12]]`.

    `both_bad` goes with one tier of all responses. `strength` (1 slightly, 2 clearly, 3 much) goes with a preference.
    """

    tiers: Tiers
    both_bad: bool = False
    strength: int | None = None
    reason: str = ""

    def check(self, response_ids: Sequence[int]) -> None:
        """Raises ValueError unless the tiers name every response of the comparison exactly once, and fit the rest."""
        if sorted(pk for tier in self.tiers for pk in tier) != sorted(response_ids) or not all(self.tiers):
            raise ValueError("The tiers must name every response of the comparison exactly once.")
        if self.both_bad and len(self.tiers) != 1:
            raise ValueError("Both bad prefers no response over another.")
        if self.strength is not None and (len(self.tiers) == 1 or self.strength not in Judgment.Strength.values):
            raise ValueError("A strength from 1 to 3 goes with a preference only.")


def lock_person(person: User) -> None:
    """Let one request at a time act for this person: two tabs never hold two comparisons, or vote twice."""
    User.objects.select_for_update(no_key=True).values_list("pk").get(pk=person.pk)


def lock_comparison(comparison_id: int) -> Comparison:
    """The comparison, locked until the transaction ends. Whoever writes judgments or leases of it locks it first."""
    return (
        Comparison.objects.select_related("project").select_for_update(no_key=True, of=("self",)).get(pk=comparison_id)
    )


def free_seat(comparison: Comparison) -> int | None:
    """The lowest seat that no standing judgment and no live lease holds; None if there is none.

    Leases that ran out are removed, so that the seat can be taken.
    """
    Lease.objects.filter(comparison=comparison, expires_at__lte=now()).delete()
    judged = Judgment.objects.standing().filter(comparison=comparison).values_list("seat", flat=True)
    leased = Lease.objects.filter(comparison=comparison).values_list("seat", flat=True)
    taken = set(judged.union(leased, all=True))
    return next((seat for seat in range(1, comparison.judgments_wanted + 1) if seat not in taken), None)


def preferred_pairs(tiers: Tiers) -> list[tuple[int, int]]:
    """Every (better, worse) pair that a ranking with ties implies: one for a pair, none for a tie."""
    return [(better, worse) for above, below in combinations(tiers, 2) for better in above for worse in below]


def preferences_of(judgment: Judgment, *, project_id: int, prompt_id: int) -> list[Preference]:
    """The unsaved triples of a judgment. They share a weight of 1: a ranking counts once, not once per pair."""
    pairs = preferred_pairs(judgment.tiers)
    return [
        Preference(
            project_id=project_id,
            prompt_id=prompt_id,
            chosen_id=better,
            rejected_id=worse,
            judgment=judgment,
            strength=judgment.strength,
            weight=1 / len(pairs),
        )
        for better, worse in pairs
    ]


def write_judgment(
    comparison: Comparison,
    annotator: User,
    verdict: Verdict,
    *,
    seat: int,
    shown_order: list[int],
    active_seconds: float = 0.0,
    decides: bool = False,
) -> Judgment:
    """Seat the judgment, count it, close the comparison with its last one, and derive the preferences."""
    verdict.check(comparison.response_ids)
    judgment = Judgment.objects.create(
        comparison=comparison,
        annotator=annotator,
        seat=seat,
        seats=comparison.judgments_wanted,
        tiers=verdict.tiers,
        both_bad=verdict.both_bad,
        strength=verdict.strength,
        reason=verdict.reason,
        shown_order=shown_order,
        active_seconds=active_seconds,
        decides=decides,
    )
    closes = When(depth__gte=F("judgments_wanted") - 1, then=Value(now()))
    Comparison.objects.filter(pk=comparison.pk).update(depth=F("depth") + 1, closed_at=Case(closes, default=None))
    Preference.objects.bulk_create(
        preferences_of(judgment, project_id=comparison.project_id, prompt_id=comparison.prompt_id)
    )
    return judgment


def withdraw(judgment: Judgment) -> bool:
    """Take a judgment back: it stays as history, its preferences go, its comparison opens again.

    False: it was withdrawn before.
    """
    if Judgment.objects.standing().filter(pk=judgment.pk).update(withdrawn_at=now()) == 0:
        return False
    judgment.preferences.all().delete()
    Comparison.objects.filter(pk=judgment.comparison_id).update(depth=F("depth") - 1, closed_at=None)
    return True
