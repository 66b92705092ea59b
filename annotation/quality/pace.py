"""Votes given too fast to have read, and the same side again and again."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from annotation.quality.intervals import Estimate, proportion, share_is_outside
from annotation.quality.votes import UNSEEN, Ints, Votes

# Silent reading runs at 238 words a minute (Brysbaert 2019, How many words do we read per minute?). At six characters a
# word with its space, four times that is:
SKIMMED = 4 * 238 * 6 / 60  # characters a second
MOSTLY = (0.0, 0.5)  # the share of skimmed votes that nobody need be asked about
UNLIKELY = 1e-4  # a run of one side that chance gives a careful person less often than this is flagged


@dataclass(frozen=True)
class Pace:
    """`skimmed`: the share of timed votes too fast to have read all. `too_fast`: it is beyond chance above one half.

    `run` is the longest row of the same side, or of neither, `run_by_chance` how likely one at least as long was.
    """

    seconds: float | None
    skimmed: Estimate | None
    too_fast: bool
    run: int
    run_by_chance: float
    straight_lines: bool


def paces(votes: Votes, order_N: Ints) -> list[Pace]:
    """For every annotator; `order_N` lists the votes from the oldest to the newest.

    The median time counts votes that were timed, runs those that saw sides.
    """
    clicked_N = votes.clicked_N()
    seen_N = votes.first_on_N != UNSEEN
    share_of = {int(click): float(np.mean(clicked_N[seen_N] == click)) for click in np.unique(clicked_N[seen_N])}
    found = []
    for number in range(votes.annotators):
        mine = order_N[votes.annotator_N[order_N] == number]
        timed = mine[votes.seconds_N[mine] > 0]
        skimmed_N = votes.characters_P[votes.pair_N[timed]] > SKIMMED * votes.seconds_N[timed]
        run, by_chance = longest_run(clicked_N[mine[seen_N[mine]]], share_of)
        found.append(
            Pace(
                seconds=float(np.median(votes.seconds_N[timed])) if len(timed) else None,
                skimmed=proportion(int(skimmed_N.sum()), len(timed)),
                too_fast=share_is_outside(MOSTLY, skimmed_N.sum(), len(timed) - skimmed_N.sum()),
                run=run,
                run_by_chance=by_chance,
                straight_lines=by_chance < UNLIKELY,
            )
        )
    return found


def longest_run(clicks: Ints, share_of: dict[int, float]) -> tuple[int, float]:
    """The least likely of the longest runs of each button, and the chance of one at least as long.

    `share_of` gives a button's share in the project. Left and right, which are shuffled, count as equally likely.
    """
    if not len(clicks):
        return 0, 1.0
    sided = (share_of.get(-1, 0.0) + share_of.get(1, 0.0)) / 2
    runs = []
    for click in np.unique(clicks):
        others = np.flatnonzero(np.concatenate(([True], clicks != click, [True])))
        length = int(np.max(np.diff(others))) - 1
        share = share_of.get(0, 0.0) if click == 0 else sided
        runs.append((length, chance_of_run(length, len(clicks), share)))
    return min(runs, key=lambda run: run[1])


def chance_of_run(length: int, n: int, share: float) -> float:
    """The chance that n independent draws hold `length` or more of one kind in a row, the kind having this share.

    q(k), the chance of none in k draws: q(k) = 1 for k < length, 1 - p^length at k = length, then
    q(k) = q(k-1) - (1-p) p^length q(k-length-1) (Feller, An introduction to probability theory, vol. 1, XIII.7).
    """
    if length <= 0:
        return 1.0
    if n < length:
        return 0.0
    power = share**length
    none = [1.0] * length + [1 - power]
    for k in range(length + 1, n + 1):
        none.append(none[k - 1] - (1 - share) * power * none[k - length - 1])
    return 1 - none[n]
