"""All numbers about the votes of a project and of its people, as they are stored and drawn.

An estimate is `{"value", "n", "low", "high"}`, or null where there is nothing to say.
"""

from __future__ import annotations

from datetime import date
from typing import Any

import numpy as np

from annotation.quality.agreement import agreement, alpha, judged_twice
from annotation.quality.annotators import AgainstTheRest, against_the_rest
from annotation.quality.bias import SideShare, longer_shares, overall_left, overall_longer, side_shares
from annotation.quality.bradley_terry import Parameters, Posterior, abilities, soft_label
from annotation.quality.flips import flip_rate, label_smoothing
from annotation.quality.intervals import Estimate, jackknife, proportion, share_is_outside
from annotation.quality.pace import Pace, paces
from annotation.quality.reading import NOT_GOLD, RIGHT_ANSWER, Reading
from annotation.quality.votes import TIE, UNSEEN, Bools, Ints

Numbers = dict[str, Any]
FAIR_GOLD = (0.7, 1.0)  # the share of right gold below which somebody does not know the guidelines
# Where the probability of a pair's likelier answer falls: from a coin to certainty, in tenths of the way.
CERTAINTIES = np.linspace(0.5, 1.0, 11)


def numbers(reading: Reading, parameters: Parameters, labels: Posterior) -> Numbers:
    """What the pages show: the project's numbers, the same by week, and those of every person.

    Agreement and wrong votes leave out gold pairs, which were chosen for being clear and are judged by everybody.
    """
    votes = reading.votes
    counts_P3 = votes.counts_by_outcome()
    is_work_P = ~reading.is_gold_P
    is_drawn_P = np.bincount(votes.pair_N, votes.is_drawn_N, minlength=votes.pairs) > 0
    rate = flip_rate(votes, parameters, labels, is_work_P)
    kept_P = soft_label(votes, labels)[is_work_P]
    return {
        "votes": len(votes.pair_N),
        "pairs": votes.pairs,
        "pairs_judged_twice": len(judged_twice(counts_P3)),
        "people_count": votes.annotators,
        **{name: _stored(found) for name, found in agreement(counts_P3[is_work_P]).items()},
        "percent_drawn": _stored(agreement(counts_P3[is_work_P & is_drawn_P])["percent"]),
        "gold": _gold(reading.gold_N),
        "consistency": _share(reading.repeats.same_R == 1),
        "left": _stored(overall_left(votes)),
        "longer": _stored(overall_longer(votes)),
        "flip_rate": _stored(rate),
        "label_smoothing": label_smoothing(rate),
        "certainty": np.histogram(np.maximum(kept_P, 1 - kept_P), CERTAINTIES)[0].tolist(),
        "weeks": _weeks(reading),
        "people": _people(reading, parameters),
    }


def _people(reading: Reading, parameters: Parameters) -> list[Numbers]:
    votes = reading.votes
    against, sides, longer = against_the_rest(votes), side_shares(votes), longer_shares(votes)
    pace, ability = paces(votes, reading.order_N), abilities(votes, parameters)
    found = []
    for number, person in enumerate(reading.person_A):
        is_mine_N = votes.annotator_N == number
        gold = _gold(reading.gold_N[is_mine_N])
        found.append(
            {
                "person": person,
                "votes": int(is_mine_N.sum()),
                "ties": _share(votes.outcome_N[is_mine_N] == TIE),
                "percent": _stored(against[number].percent),
                "kappa": _stored(against[number].kappa),
                "gold": gold,
                "consistency": _share(reading.repeats.same_R[reading.repeats.annotator_R == number] == 1),
                "left": _stored(sides[number].left),
                "longer": _stored(longer[number]),
                "ability": _stored(ability[number]),
                "seconds": pace[number].seconds,
                "skimmed": _stored(pace[number].skimmed),
                "run": pace[number].run,
                "flags": _flags(against[number], sides[number], pace[number], gold),
                "weeks": _weeks_of_person(reading, number),
            }
        )
    return found


def _flags(against: AgainstTheRest, side: SideShare, pace: Pace, gold: Numbers | None) -> list[str]:
    """What to talk about with this person. Each is proof beyond chance, and none is a verdict."""
    right = round(gold["value"] * gold["n"]) if gold else 0
    flags = {
        "side": side.flagged,
        "fast": pace.too_fast,
        "line": pace.straight_lines,
        "gold": gold is not None and share_is_outside(FAIR_GOLD, right, gold["n"] - right),
        "against": against.opposite,
    }
    return [name for name, is_raised in flags.items() if is_raised]


def _weeks(reading: Reading) -> list[Numbers]:
    """Agreement counts a pair in the week of its last vote, the rest each vote in its own."""
    votes = reading.votes
    last_P = np.zeros(votes.pairs, dtype=np.int64)
    np.maximum.at(last_P, votes.pair_N, reading.week_N)
    counts_P3, clicked_N = votes.counts_by_outcome(), votes.clicked_N()
    towards_N = votes.outcome_N * np.sign(votes.log_length_ratio_P)[votes.pair_N]
    found = []
    for week in np.unique(reading.week_N):
        is_now_N = reading.week_N == week
        sided = clicked_N[is_now_N & (clicked_N != UNSEEN)]
        towards = towards_N[is_now_N & (towards_N != 0)]
        found.append(
            {
                "week": date.fromordinal(int(week)).isoformat(),
                "votes": int(is_now_N.sum()),
                "alpha": _stored(jackknife(alpha, judged_twice(counts_P3[(last_P == week) & ~reading.is_gold_P]))),
                "gold": _gold(reading.gold_N[is_now_N]),
                "consistency": _share(reading.repeats.same_R[reading.repeats.week_R == week] == 1),
                "left": _share(sided > 0),
                "longer": _share(towards > 0),
            }
        )
    return found


def _weeks_of_person(reading: Reading, number: int) -> list[Numbers]:
    is_mine_N = reading.votes.annotator_N == number
    is_mine_R = reading.repeats.annotator_R == number
    week_N, gold_N = reading.week_N[is_mine_N], reading.gold_N[is_mine_N]
    week_R, same_R = reading.repeats.week_R[is_mine_R], reading.repeats.same_R[is_mine_R]
    return [
        {
            "week": date.fromordinal(int(week)).isoformat(),
            "votes": int(np.sum(week_N == week)),
            "consistency": _share(same_R[week_R == week] == 1),
            "gold": _gold(gold_N[week_N == week]),
        }
        for week in np.unique(np.concatenate([week_N, week_R]))
    ]


def _gold(gold_N: Ints) -> Numbers | None:
    """The share of right answers among votes on gold pairs."""
    return _share(gold_N[gold_N != NOT_GOLD] == RIGHT_ANSWER)


def _share(is_so: Bools) -> Numbers | None:
    return _stored(proportion(int(np.sum(is_so)), len(is_so)))


def _stored(estimate: Estimate | None) -> Numbers | None:
    """Plain numbers, rounded beyond what anybody reads."""
    if estimate is None:
        return None
    low, high = (None if end is None else round(float(end), 5) for end in (estimate.low, estimate.high))
    return {"value": round(float(estimate.value), 5), "n": int(estimate.n), "low": low, "high": high}
