"""The votes on pairs as plain arrays: what every measure of this room reads.

The axes, throughout this room: N votes, P pairs (comparisons of two answers), A annotators. The two answers of a pair
are its first and its second, whichever side they were shown on.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

FIRST, TIE, SECOND = 1, 0, -1  # who won
LEFT, UNSEEN, RIGHT = 1, 0, -1  # where the first answer stood; a rule or an imported source saw no sides
UNKNOWN = 2  # who should win, of all pairs but gold ones


@dataclass(frozen=True)
class Votes:
    """N votes of A annotators on P pairs, sorted by pair.

    `pair_N` and `annotator_N` count from 0. `outcome_N` is FIRST, TIE ("both bad" is one) or SECOND. `first_on_N` is
    LEFT, RIGHT or UNSEEN. `seconds_N` is the time in sight, 0 where nobody measured it. `log_length_ratio_P` is the log
    of the first answer's length over the second's, `characters_P` the length of prompt and answers together.
    `is_drawn_N` is True where the pair came to the person by lot, on the queue's random arm. `expected_P` is the known
    outcome of a gold pair, UNKNOWN of others. Every pair has a vote.
    """

    pair_N: Ints
    annotator_N: Ints
    outcome_N: Ints
    first_on_N: Ints
    seconds_N: Floats
    is_drawn_N: Bools
    expected_P: Ints
    log_length_ratio_P: Floats
    characters_P: Floats
    annotators: int

    @property
    def pairs(self) -> int:
        return len(self.log_length_ratio_P)

    def between(self, first: int, end: int) -> Votes:
        """The votes on the pairs from `first` to before `end`, renumbered from 0; annotators keep their numbers."""
        here = slice(*np.searchsorted(self.pair_N, [first, end]))
        return Votes(
            pair_N=self.pair_N[here] - first,
            annotator_N=self.annotator_N[here],
            outcome_N=self.outcome_N[here],
            first_on_N=self.first_on_N[here],
            seconds_N=self.seconds_N[here],
            is_drawn_N=self.is_drawn_N[here],
            expected_P=self.expected_P[first:end],
            log_length_ratio_P=self.log_length_ratio_P[first:end],
            characters_P=self.characters_P[first:end],
            annotators=self.annotators,
        )

    def counts_by_outcome(self) -> Ints:
        """How many votes each pair has for its first, for a tie, for its second. Shape (P, 3)."""
        counts_P3 = np.zeros((self.pairs, 3), dtype=np.int64)
        np.add.at(counts_P3, (self.pair_N, 1 - self.outcome_N), 1)
        return counts_P3

    def clicked_N(self) -> Ints:
        """LEFT, TIE (0) or RIGHT: the side voted for. Meaningless where no sides were seen."""
        return self.outcome_N * self.first_on_N
