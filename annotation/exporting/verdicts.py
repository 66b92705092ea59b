"""How the votes on a pair become what an export says of it: each vote for itself, the majority's, or their shares.

To weigh votes by the annotators' estimated reliability, write one more function here and one more line in `RULES`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import NamedTuple


class Vote(NamedTuple):
    """`side` is -1 for the first answer, 1 for the second, 0 for neither. `strength` is 1 to 3 or None."""

    side: int
    both_bad: bool
    strength: int | None
    reason: str
    annotator: str

    @property
    def outcome(self) -> tuple[int, bool]:
        return self.side, self.both_bad

    @property
    def push(self) -> int:
        """Strength with its direction; 0 for a tie, and where the voter did not say how much better."""
        return self.side * (self.strength or 0)


class Verdict(NamedTuple):
    """What is said of a pair: see `Vote`. `margin` is how much better, from 0 to 3.

    `probability` that the side is the better one, above one half; of a soft label.
    """

    side: int
    both_bad: bool
    margin: float
    probability: float = 1.0


def raw(votes: list[Vote]) -> list[Verdict]:
    """Every vote for itself, also where they disagree."""
    return [Verdict(vote.side, vote.both_bad, float(abs(vote.push))) for vote in votes]


def majority(votes: list[Vote]) -> list[Verdict]:
    """What more votes say than anything else; nothing where two outcomes have the same number.

    The margin is the mean of all votes' strengths with their directions: votes for the other side, and ties, lower it.
    """
    if len(votes) == 1:
        return raw(votes)
    ranked = Counter(vote.outcome for vote in votes).most_common(2)
    if len(ranked) == 2 and ranked[0][1] == ranked[1][1]:
        return []
    side, both_bad = ranked[0][0]
    return [Verdict(side, both_bad, _margin(votes, side))]


def soft(votes: list[Vote]) -> list[Verdict]:
    """The side with the larger share of the votes, a tie counting half for each, and that share; at one half none."""
    lead = sum(vote.side for vote in votes)
    side = (lead > 0) - (lead < 0)
    both_bad = not side and 2 * sum(vote.both_bad for vote in votes) > len(votes)
    return [Verdict(side, both_bad, _margin(votes, side), (1 + abs(lead) / len(votes)) / 2)]


def _margin(votes: list[Vote], side: int) -> float:
    return max(0.0, side * sum(vote.push for vote in votes) / len(votes))


Rule = Callable[[list[Vote]], list[Verdict]]
RULES: dict[str, Rule] = {"raw": raw, "majority": majority, "soft": soft}
RULE_TITLES = {
    "raw": "Every vote is a row",
    "majority": "One row a pair, as most votes say",
    "soft": "One row a pair, with the share of votes that say so",
}


def agreement(votes: list[Vote]) -> float:
    """The share of the votes that say what most of them say, from 0 to 1."""
    return max(Counter(vote.outcome for vote in votes).values()) / len(votes)
