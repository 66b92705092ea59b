"""One annotator against the rest."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from annotation.quality.agreement import cohen_kappa
from annotation.quality.intervals import Estimate, jackknife, proportion, share_is_outside
from annotation.quality.votes import Ints, Votes

AS_OFTEN_AS_NOT = (0.5, 1.0)  # the share of the same side; noise gives one half


@dataclass(frozen=True)
class AgainstTheRest:
    """`percent`: how often the majority of the others says the same. `kappa`: Cohen's κ with that majority.

    n counts the pairs that others judged too and where they have a majority. `opposite`: where both are for one answer,
    it is beyond chance less often the same one.
    """

    percent: Estimate | None
    kappa: Estimate | None
    opposite: bool


def against_the_rest(votes: Votes) -> list[AgainstTheRest]:
    """For every annotator, the agreement with the majority of the others. One vote of another is a majority."""
    counts_P3 = votes.counts_by_outcome()
    mine_N = 1 - votes.outcome_N
    others_N3 = counts_P3[votes.pair_N]
    others_N3[np.arange(len(mine_N)), mine_N] -= 1
    theirs_N = others_N3.argmax(axis=1)
    has_majority_N = (others_N3 == others_N3.max(axis=1, keepdims=True)).sum(axis=1) == 1
    return [
        _compare(mine_N[by], theirs_N[by])
        for by in ((votes.annotator_N == number) & has_majority_N for number in range(votes.annotators))
    ]


def _compare(mine_N: Ints, theirs_N: Ints) -> AgainstTheRest:
    """Outcomes as 0 (first), 1 (tie), 2 (second). Each pair becomes one row of nine counts, the cell of the table it
    falls in, so that pairs can be left out."""
    cells_N9 = np.eye(9, dtype=np.int64)[3 * mine_N + theirs_N]
    kappa = jackknife(lambda rows_N9: cohen_kappa(rows_N9.sum(axis=0).reshape(3, 3)), cells_N9)
    same, opposite = int(np.sum(mine_N == theirs_N)), int(np.sum(np.abs(mine_N - theirs_N) == 2))
    same_side = int(np.sum((mine_N == theirs_N) & (mine_N != 1)))
    return AgainstTheRest(
        percent=proportion(same, len(mine_N)),
        kappa=kappa,
        opposite=share_is_outside(AS_OFTEN_AS_NOT, same_side, opposite),
    )
