"""Turning what somebody said into rows: the judgment, the comparison's depth, and the triples that follow from it.

Everything here runs inside the caller's transaction, with the comparison's row locked by `lock_comparison`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import combinations

from django.db import connection
from django.db.models import F
from django.utils.timezone import now

from annotation.asking import ask, ask_for
from annotation.content_hashes import content_hash
from annotation.happenings import Happening, Kind, tell
from annotation.inserting import insert
from annotation.models import Comparison, Judgment, Preference, Response, User
from annotation.models.content import WORK

Tiers = list[list[int]]


class NoSeatLeftError(Exception):
    """The comparison has, or is about to get, all the judgments it wants."""


@dataclass(frozen=True)
class Verdict:
    """What a person says. `tiers` is the ranking with ties, best first, as response ids: `[[12], [7]]`, `[[7, 12]]`.

    `both_bad` and `both_good` go with one tier of all responses. `strength` (1 slightly, 2 clearly, 3 much) goes with a
    preference. `acceptable` and `edits` are by response id; each aspect has tiers of its own.
    """

    tiers: Tiers
    both_bad: bool = False
    strength: int | None = None
    reason: str = ""
    both_good: bool = False
    tags: Sequence[str] = ()
    acceptable: Mapping[int, bool] = field(default_factory=dict)
    aspects: Mapping[str, Tiers] = field(default_factory=dict)
    edits: Mapping[int, str] = field(default_factory=dict)

    def check(self, response_ids: Sequence[int]) -> None:
        """Raises ValueError unless the tiers name every response of the comparison exactly once, and fit the rest."""
        for tiers in (self.tiers, *self.aspects.values()):
            if sorted(pk for tier in tiers for pk in tier) != sorted(response_ids) or not all(tiers):
                raise ValueError("The tiers must name every response of the comparison exactly once.")
        if not {*self.acceptable, *self.edits} <= set(response_ids):
            raise ValueError("Only responses of the comparison are acceptable or edited.")
        if (self.both_bad or self.both_good) and len(self.tiers) != 1:
            raise ValueError("Both bad and both good prefer no response over another.")
        if self.both_bad and self.both_good:
            raise ValueError("Nothing is both good and bad.")
        if self.strength is not None and (len(self.tiers) == 1 or self.strength not in Judgment.Strength.values):
            raise ValueError("A strength from 1 to 3 goes with a preference only.")


PEOPLE = 1  # the class of our advisory locks


def lock_person(person: User, *, durably: bool = True) -> None:
    """Let one request at a time act for this person: two tabs never hold two comparisons, or vote twice.

    An advisory lock, which writes nothing, where locking the person's row would write that row for every vote. With
    `durably=False` this transaction's commit does not wait for the disk.
    """
    query = "SELECT pg_advisory_xact_lock(%s, %s)"
    if not durably:
        query += ", set_config('synchronous_commit', 'off', true)"
    with connection.cursor() as cursor:
        cursor.execute(query, [PEOPLE, person.pk % 2**31])


# With every vote, so by hand.
LOCKED = "SELECT {columns} FROM annotation_comparison WHERE id = %(comparison)s FOR NO KEY UPDATE"


def lock_comparison(comparison_id: int) -> Comparison:
    """The comparison, locked until the transaction ends. Whoever writes judgments or leases of it locks it first.

    Raises Comparison.DoesNotExist.
    """
    found = ask_for(Comparison, LOCKED, {"comparison": comparison_id})
    if not found:
        raise Comparison.DoesNotExist
    return found[0]


# One statement: leases that ran out go, and the seats that are left taken are listed. A lease that its person renews at
# this moment is not among those that go, whatever this statement first saw of it: so its seat is taken.
TAKEN_SEATS = """
WITH ran_out AS (DELETE FROM annotation_lease
                  WHERE comparison_id = %(comparison)s AND expires_at <= %(now)s RETURNING id)
SELECT seat FROM annotation_judgment WHERE comparison_id = %(comparison)s AND withdrawn_at IS NULL
UNION ALL
SELECT seat FROM annotation_lease
 WHERE comparison_id = %(comparison)s AND id NOT IN (SELECT id FROM ran_out)
"""


def free_seat(comparison: Comparison) -> int | None:
    """The lowest seat that no standing judgment and no live lease holds; None if there is none.

    Leases that ran out are removed, so that the seat can be taken. Late judgments that wait for one come first.
    """
    taken = {seat for (seat,) in ask(TAKEN_SEATS, {"comparison": comparison.pk, "now": now()})}
    free = (seat for seat in range(1, comparison.judgments_wanted + 1) if seat not in taken)
    if None in taken:
        # The judgment comes first: the other way round a seat could be drawn for nobody.
        for late, seat in zip(Judgment.objects.waiting().filter(comparison=comparison), free, strict=False):
            _seat(comparison, late, seat)
    return next(free, None)


def _seat(comparison: Comparison, late: Judgment, seat: int) -> None:
    """Let a late judgment count from now on."""
    late.seat = seat
    late.save(update_fields=["seat"])
    _count(comparison, late)


def preferred_pairs(tiers: Tiers) -> list[tuple[int, int]]:
    """Every (better, worse) pair that a ranking with ties implies: one for a pair, none for a tie."""
    return [(better, worse) for above, below in combinations(tiers, 2) for better in above for worse in below]


def edited_pairs(tiers: Tiers, *, edited: int, edit_of: int) -> list[tuple[int, int]]:
    """The pairs that an edit adds: it is better than its original, and so than what that was no worse than."""
    own = next(n for n, tier in enumerate(tiers) if edit_of in tier)
    return [(edited, worse) for tier in tiers[own:] for worse in tier]


def preferences_of(judgment: Judgment, *, project_id: int, prompt_id: int) -> list[Preference]:
    """The unsaved triples of a judgment. They share a weight of 1: a ranking counts once, not once per pair.

    How much better an edit is than its original, nobody was asked: those triples have no strength.
    """
    strengths = dict.fromkeys(preferred_pairs(judgment.tiers), judgment.strength)
    if judgment.edited_id and judgment.edit_of_id:
        edits = edited_pairs(judgment.tiers, edited=judgment.edited_id, edit_of=judgment.edit_of_id)
        strengths |= dict.fromkeys(edits, None)
    return [
        Preference(
            project_id=project_id,
            prompt_id=prompt_id,
            chosen_id=better,
            rejected_id=worse,
            judgment=judgment,
            strength=strength,
            weight=1 / len(strengths),
        )
        for (better, worse), strength in strengths.items()
    ]


def write_judgment(
    comparison: Comparison,
    annotator: User,
    verdict: Verdict,
    *,
    seat: int | None,
    shown_order: list[int],
    active_seconds: float = 0.0,
    arm: str = "",
    decides: bool = False,
    created_at: datetime | None = None,
) -> Judgment:
    """Keep a judgment, and let it count if it has a seat."""
    verdict.check(comparison.response_ids)
    edited, edit_of = _keep_edit(comparison, annotator, verdict)
    judgment = Judgment(
        comparison=comparison,
        annotator=annotator,
        seat=seat,
        seats=comparison.judgments_wanted,
        tiers=verdict.tiers,
        both_bad=verdict.both_bad,
        both_good=verdict.both_good,
        strength=verdict.strength,
        reason=verdict.reason,
        tags=list(verdict.tags),
        acceptable={str(pk): will_do for pk, will_do in verdict.acceptable.items()},
        aspects=dict(verdict.aspects),
        edited=edited,
        edit_of_id=edit_of,
        shown_order=shown_order,
        active_seconds=active_seconds,
        arm=arm,
        decides=decides,
        created_at=created_at or now(),
    )
    insert([judgment])
    if seat is not None:
        _count(comparison, judgment)
    return judgment


# With every vote, so by hand.
COUNTED = """
UPDATE annotation_comparison
   SET depth = depth + 1, closed_at = CASE WHEN depth + 1 >= judgments_wanted THEN %(now)s::timestamptz END
 WHERE id = %(comparison)s
RETURNING depth
"""


def _count(comparison: Comparison, judgment: Judgment) -> None:
    """Count a judgment that has a seat, close the comparison with its last one, and derive the preferences.

    What checks or trains people makes none: its answer is known, or the same person has given it before.
    """
    [(comparison.depth,)] = ask(COUNTED, {"comparison": comparison.pk, "now": now()})
    if comparison.purpose in WORK:
        insert(preferences_of(judgment, project_id=comparison.project_id, prompt_id=comparison.prompt_id))
    _tell(comparison, judgment)


def is_what_was_said(judgment: Judgment, verdict: Verdict) -> bool:
    """Whether this judgment is the one that is made of the verdict; else it is one given before, which was kept."""
    kept = replace(
        verdict,
        tiers=judgment.tiers,
        both_bad=judgment.both_bad,
        both_good=judgment.both_good,
        strength=judgment.strength,
        reason=judgment.reason,
        tags=tuple(judgment.tags),
        acceptable={int(pk): will_do for pk, will_do in judgment.acceptable.items()},
        aspects=judgment.aspects,
    )
    edit = (judgment.edit_of_id, judgment.edited.text) if judgment.edited and judgment.edit_of_id else None
    return verdict == kept and edit == _edit(judgment.comparison, verdict)


def _keep_edit(comparison: Comparison, annotator: User, verdict: Verdict) -> tuple[Response | None, int | None]:
    """The edit as a response of its own, and what it is an edit of."""
    edit = _edit(comparison, verdict)
    if edit is None:
        return None, None
    edit_of, text = edit
    edited, _ = Response.objects.get_or_create(
        prompt_id=comparison.prompt_id,
        content_hash=content_hash(text),
        author=None,
        author_label=f"person {annotator.pk}",
        defaults={"text": text, "written_by": annotator},
    )
    return edited, edit_of


def _edit(comparison: Comparison, verdict: Verdict) -> tuple[int, str] | None:
    """The best response that was changed, and what it was changed to.

    A text that came back as it was is no edit, nor is one that makes one answer into another.
    """
    if not verdict.edits:
        return None
    texts = Response.objects.filter(pk__in=comparison.response_ids).values_list("text", flat=True)
    there = {_settled(text) for text in texts}
    by_rank = [pk for tier in verdict.tiers for pk in tier]
    changed = (pk for pk in by_rank if pk in verdict.edits and _settled(verdict.edits[pk]) not in there)
    return next(((pk, verdict.edits[pk].strip()) for pk in changed), None)


def _settled(text: str) -> str:
    """A text without what a form may change by itself: its line ends and the space around it."""
    return "\n".join(line.rstrip() for line in text.splitlines()).strip()


def _tell(comparison: Comparison, judgment: Judgment) -> None:
    facts = {"judgment": judgment.pk, "comparison": comparison.pk}
    tell(Happening(Kind.JUDGMENT_MADE, comparison.project_id, str(judgment.pk), facts))
    if comparison.depth >= comparison.judgments_wanted:
        # Named by its last judgment: after a withdrawal it can be finished again.
        tell(Happening(Kind.COMPARISON_FINISHED, comparison.project_id, str(judgment.pk), facts))


def withdraw(judgment: Judgment) -> bool:
    """Take a judgment back: it stays as history, its preferences go, its comparison opens again.

    False: it was withdrawn before.
    """
    if Judgment.objects.kept().filter(pk=judgment.pk).update(withdrawn_at=now()) == 0:
        return False
    judgment.refresh_from_db(fields=["seat"])  # it may have got one before the lock
    if judgment.seat is None:
        return True
    judgment.preferences.all().delete()
    Comparison.objects.filter(pk=judgment.comparison_id).update(depth=F("depth") - 1, closed_at=None)
    return True
