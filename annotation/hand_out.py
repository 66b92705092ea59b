"""Which comparison a person gets next.

1. In the training phase: the practice pairs, in the manager's order.
2. At its rate: a gold pair that this person has not seen, drawn at random.
3. At its rate: a pair that this person judged a while ago, for a second time, with the sides swapped.
4. At its rate: a comparison drawn at random. What is measured on these owes nothing to the order.
5. Everything else in order: breadth before depth, then priority, then age.

An arm that has nothing hands over to the next. Batches given to a person come before the work that is open to all.
Nobody gets a comparison that they judged or skipped, or with an answer that they wrote or edited.

Everything here runs inside the caller's transaction, with the person locked, and returns the comparison locked. Nothing
waits for a comparison while it may hold another, or people who compete for the last pairs would wait in a circle.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date
from random import SystemRandom

from django.utils.timezone import now

from annotation.asking import ask, ask_for
from annotation.models import Arm, Comparison, Project, Role, User
from annotation.models.projects import today

# How far down an order a request looks before it takes a draw instead, so that nobody who has judged half of a million
# pairs waits for the other half to be found.
MOST_LOOKED_AT = 1_000
# How many comparisons a request has at hand, in case that others lock the first ones just then.
AT_HAND = 16
# Draws begin at points of their own, so hardly two meet; and what they find lies all over the table.
DRAWN_AT_HAND = 3
REPEAT_AFTER = 20  # votes in between, so that nobody remembers
REPEAT_WITHIN = 200  # of the votes before those, one is drawn

_dice = SystemRandom()


class AllLockedError(Exception):
    """What suits this person is locked by others at this moment; one of them may have a seat left a moment later."""


# Asked for every hand-out, so by hand: the lookups are the same as by the models, in a third of the time.
PLACE = """
SELECT member.role, member.passed_at, member.daily_cap,
       ARRAY(SELECT batch.id FROM annotation_batch batch
              WHERE batch.project_id = %(project)s
                AND (EXISTS (SELECT FROM annotation_batch_people given
                              WHERE given.batch_id = batch.id AND given.user_id = %(person)s)
                     OR EXISTS (SELECT FROM annotation_batch_teams given
                                  JOIN annotation_team_people inside ON inside.team_id = given.team_id
                                 WHERE given.batch_id = batch.id AND inside.user_id = %(person)s))
              ORDER BY batch.id),
       COALESCE((SELECT votes FROM annotation_votecount
                  WHERE project_id = %(project)s AND annotator_id = %(person)s AND day = %(today)s), 0),
       (SELECT min(lease.id) FROM annotation_lease lease
          JOIN annotation_comparison held ON held.id = lease.comparison_id
         WHERE lease.annotator_id = %(person)s AND held.project_id = %(project)s AND held.closed_at IS NULL)
  FROM (SELECT 1) AS always
  LEFT JOIN annotation_membership member ON member.project_id = %(project)s AND member.user_id = %(person)s
"""


@dataclass(frozen=True)
class Place:
    """Where a person stands in a project: what they may get."""

    project: Project
    person: User
    practises: bool
    cap: int | None
    votes_today: int
    batches: list[int]
    holds: int | None  # a lease of theirs, run out or not, on a comparison that is still open
    besides: Sequence[int] = ()  # comparisons that they hold already

    def may_have(self, more: int) -> bool:
        """Whether the day's cap leaves room for this many more votes."""
        return self.cap is None or self.votes_today + more <= self.cap

    @classmethod
    def of(cls, project: Project, person: User) -> Place:
        """One statement. A site admin who is no member has no cap and no training."""
        values: dict[str, int | date] = {"project": project.pk, "person": person.pk, "today": today()}
        [(role, passed_at, cap, batches, votes_today, holds)] = ask(PLACE, values)
        return cls(
            project,
            person,
            practises=project.practice_pairs > 0 and role == Role.ANNOTATOR and passed_at is None,
            cap=cap if cap is not None else project.daily_cap if role else None,
            votes_today=votes_today,
            batches=batches,
            holds=holds,
        )


@dataclass(frozen=True)
class Picked:
    """A comparison, locked, and the arm it came from."""

    comparison: Comparison
    arm: Arm


def drawn_arms(project: Project, dice: SystemRandom = _dice) -> list[Arm]:
    """The arms to try, in this order; the last one is work.

    The random arm has its share of all hand-outs, so a greater part of what gold and repeats leave. Where they
    have run out it has more than its share, never less.
    """
    checks = {Arm.GOLD: project.gold_share, Arm.REPEAT: project.repeat_share}
    arms = [arm for arm, share in checks.items() if _hit(share, dice)]
    left = (100 - project.gold_share) * (100 - project.repeat_share) / 100  # percent of the hand-outs; 25 at least
    return [*arms, Arm.RANDOM if _hit(100 * project.random_share / left, dice) else Arm.ORDER]


def _hit(percent: float, dice: SystemRandom) -> bool:
    return dice.random() * 100 < percent


def offers(place: Place, *, besides: Sequence[int] = ()) -> Iterator[Picked]:
    """Comparisons for this person, the one to hand out first. A later one is for when the seat before was lost."""
    place = replace(place, besides=besides)
    if place.practises and has_practice(place.project):
        yield from _known(place, Comparison.Purpose.PRACTICE, Arm.PRACTICE, order="head.id")
        return
    for arm in drawn_arms(place.project):
        if arm == Arm.GOLD:
            yield from _known(place, Comparison.Purpose.GOLD, arm, order="random()")
        elif arm == Arm.REPEAT:
            yield from _repeat(place)
        elif arm == Arm.RANDOM:
            yield from _drawn(place, arm)
    yield from _in_order(place)
    # Far down the order. These do not count as drawn: who gets here has judged more than others.
    yield from _drawn(place, Arm.ORDER)
    yield from _rest(place)


def has_practice(project: Project) -> bool:
    return Comparison.objects.filter(project=project, purpose=Comparison.Purpose.PRACTICE, closed_at=None).exists()


# What makes a row of `head` one for this person. Their own answers are looked up once a statement, everything else is
# an index look-up a row.
SUITS = """
    NOT EXISTS (SELECT FROM annotation_judgment said
                 WHERE said.comparison_id = head.id AND said.annotator_id = %(person)s AND said.withdrawn_at IS NULL)
    AND NOT EXISTS (SELECT FROM annotation_skip skipped
                     WHERE skipped.comparison_id = head.id AND skipped.annotator_id = %(person)s)
    AND head.judgments_wanted > head.depth + (SELECT count(*) FROM annotation_lease held
                                               WHERE held.comparison_id = head.id AND held.expires_at > %(now)s)
    AND NOT head.response_ids && ARRAY(SELECT id FROM annotation_response WHERE written_by_id = %(person)s)
    AND NOT head.id = ANY (%(tried)s)
"""
LOCKED = "FOR NO KEY UPDATE SKIP LOCKED"

# The first rows of an index that suit, then the first of those that nobody has locked.
PICK = """
SELECT {{columns}} FROM annotation_comparison
 WHERE id = ANY (ARRAY(
         SELECT head.id FROM (
           SELECT * FROM annotation_comparison
            WHERE {among} AND closed_at IS NULL AND purpose IN ('collect', 'evaluate')
            ORDER BY {order} LIMIT {looked_at}) AS head
          WHERE {suits} ORDER BY {order} LIMIT {at_hand}))
   AND closed_at IS NULL
 ORDER BY {order} LIMIT 1 {lock}
"""
BY_ORDER, BY_LOT = "depth, priority DESC, id", "lot"


def _in_order(place: Place) -> Iterator[Picked]:
    """From the person's batches, and then from what is open to all."""
    for pool in _pools(place):
        yield from _each(place, Arm.ORDER, PICK, pool, order=BY_ORDER, lock=LOCKED)


def _drawn(place: Place, arm: Arm) -> Iterator[Picked]:
    """Whichever comes first after a random point is drawn at random: from there to the last lot, and round."""
    point = _dice.random()
    for pool in _pools(place):
        for side in (">=", "<"):
            lots = replace(pool, among=f"{pool.among} AND lot {side} %(point)s", point=point)
            yield from _each(place, arm, PICK, lots, order=BY_LOT, lock=LOCKED, at_hand=str(DRAWN_AT_HAND))


def _rest(place: Place) -> Iterator[Picked]:
    """The last word: the whole order. Raises AllLockedError where something suits and others have all of it locked."""
    for pool in _pools(place):
        parts = {"order": BY_ORDER, "looked_at": "ALL"}
        yield from _each(place, Arm.ORDER, PICK, pool, **parts, lock=LOCKED)
        if _found(place, PICK, pool, [], **parts, lock=""):
            raise AllLockedError


@dataclass(frozen=True)
class Pool:
    """A part of the work: a condition on its comparisons, and what its blanks stand for."""

    among: str
    batch: int | None = None
    point: float | None = None


def _pools(place: Place) -> list[Pool]:
    return [*(Pool("batch_id = %(batch)s", batch=pk) for pk in place.batches), OPEN_TO_ALL]


OPEN_TO_ALL = Pool("project_id = %(project)s AND batch_id IS NULL")


KNOWN_TO_NOBODY = """
SELECT {{columns}} FROM annotation_comparison AS head
 WHERE project_id = %(project)s AND purpose = '{purpose}' AND closed_at IS NULL
   AND NOT EXISTS (SELECT FROM annotation_comparison twin JOIN annotation_judgment said ON said.comparison_id = twin.id
                    WHERE twin.prompt_id = head.prompt_id AND twin.response_ids = head.response_ids
                      AND said.annotator_id = %(person)s AND said.withdrawn_at IS NULL)
   AND {suits}
 ORDER BY {order} LIMIT 1 {lock}
"""


def _known(place: Place, purpose: Comparison.Purpose, arm: Arm, *, order: str) -> Iterator[Picked]:
    """Pairs whose answer is known and that this person has not judged, under whichever purpose."""
    # Practice pairs keep their order, and nothing was locked before them; of gold pairs another will do.
    lock = "FOR NO KEY UPDATE" if arm == Arm.PRACTICE else LOCKED
    yield from _each(place, arm, KNOWN_TO_NOBODY, purpose=purpose.value, order=order, lock=lock)


# A repeat that was made and let go of, or else one of the person's own votes of a while ago.
STARTED_REPEAT = """
SELECT {{columns}} FROM annotation_comparison AS head
 WHERE only_for_id = %(person)s AND project_id = %(project)s AND closed_at IS NULL AND purpose = 'repeat' AND {suits}
 ORDER BY id LIMIT 1 FOR NO KEY UPDATE
"""
REPEATABLE = """
SELECT former.comparison_id FROM (
         SELECT said.comparison_id FROM annotation_judgment said
           JOIN annotation_comparison work ON work.id = said.comparison_id
          WHERE said.annotator_id = %(person)s AND said.withdrawn_at IS NULL AND work.project_id = %(project)s
            AND work.purpose IN ('collect', 'evaluate') AND NOT said.decides
          ORDER BY said.created_at DESC OFFSET %(after)s LIMIT %(within)s) AS former
 WHERE NOT EXISTS (SELECT FROM annotation_comparison again WHERE again.repeat_of_id = former.comparison_id
                      AND again.only_for_id = %(person)s AND again.purpose = 'repeat')
 ORDER BY random() LIMIT 1
"""


def _repeat(place: Place) -> Iterator[Picked]:
    started = list(_each(place, Arm.REPEAT, STARTED_REPEAT))
    if started:
        yield from started
        return
    values = {"person": place.person.pk, "project": place.project.pk, "after": REPEAT_AFTER, "within": REPEAT_WITHIN}
    for (former_id,) in ask(REPEATABLE, values):
        former = Comparison.objects.get(pk=former_id)
        yield Picked(
            Comparison.objects.create(
                project=place.project,
                prompt_id=former.prompt_id,
                response_ids=former.response_ids,
                purpose=Comparison.Purpose.REPEAT,
                repeat_of=former,
                only_for=place.person,
            ),
            Arm.REPEAT,
        )


def _each(place: Place, arm: Arm, query: str, pool: Pool = OPEN_TO_ALL, **parts: str) -> Iterator[Picked]:
    """What a query finds, one after the other, each locked."""
    tried: list[int] = []
    while found := _found(place, query, pool, tried, **parts):
        found[0].project = place.project
        yield Picked(found[0], arm)
        tried.append(found[0].pk)


def _found(place: Place, query: str, pool: Pool, tried: list[int], **parts: str) -> list[Comparison]:
    filled = {"looked_at": MOST_LOOKED_AT, "at_hand": AT_HAND, "among": pool.among, **parts}
    values = {
        "person": place.person.pk,
        "project": place.project.pk,
        "batch": pool.batch,
        "point": pool.point,
        "now": now(),
        "tried": [*tried, *place.besides],
    }
    return ask_for(Comparison, query.format_map({"order": "", "lock": "", **filled, "suits": SUITS}), values)
