"""How the votes on answers become what an export says of them: each vote for itself, the majority's, or their shares,
where every vote counts the same or each as much as its annotator's estimated reliability says.

A new rule is one more function here and one more line in `RULES`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple, TypeVar

from django.utils.translation import gettext_lazy as _

Said = TypeVar("Said")

NOTHING: Mapping[str, tuple[int, ...]] = MappingProxyType({})


class Vote(NamedTuple):
    """What one person said of a comparison's answers; `places` has the place of each, 0 the best, the same for a tie.

    `strength` is 1 to 3 or None. `acceptable` says of each answer whether it will do, None where the voter did not say;
    it is empty where nobody was asked. Each aspect has places of its own. `edit` is the place among the answers of the
    one that the voter changed, and its new text. `decides`: a reviewer's last word on the pair; `is_overruled`:
    there is one, which need not be among the votes that are wanted.
    """

    places: tuple[int, ...]
    strength: int | None
    reason: str
    annotator: str
    both_bad: bool = False
    both_good: bool = False
    tags: tuple[str, ...] = ()
    acceptable: tuple[bool | None, ...] = ()
    aspects: Mapping[str, tuple[int, ...]] = NOTHING
    edit: tuple[int, str] | None = None
    decides: bool = False
    is_overruled: bool = False

    @property
    def side(self) -> int:
        """Of two answers: -1 if the first is better, 1 if the second is, 0 if neither."""
        first, second = self.places
        return (first > second) - (first < second)

    @property
    def outcome(self) -> tuple[object, ...]:
        return self.places, self.both_bad, self.both_good

    @property
    def push(self) -> int:
        """Strength with its direction; 0 for a tie, and where the voter did not say how much better."""
        return self.side * (self.strength or 0)

    def of(self, first: int, second: int) -> Vote:
        """The vote on two of its answers, which is all it says of them."""
        edit = self.edit
        return self._replace(
            places=(self.places[first], self.places[second]),
            acceptable=(self.acceptable[first], self.acceptable[second]) if self.acceptable else (),
            edit=((first, second).index(edit[0]), edit[1]) if edit and edit[0] in (first, second) else None,
        )

    def rating(self, answer: int) -> bool | None:
        """Whether this answer is good: what the voter said of it alone, or else by its place, first or last."""
        if self.acceptable and self.acceptable[answer] is not None:
            return self.acceptable[answer]
        if self.both_bad or self.places[answer] == 0:
            return not self.both_bad
        return False if self.places[answer] == max(self.places) else None


class Verdict(NamedTuple):
    """What is said of a pair: see `Vote.side`. `margin` is how much better, from 0 to 3.

    `probability` that the side is the better one, above one half; of a soft label.
    """

    side: int
    margin: float
    probability: float = 1.0


def by_majority(votes: list[Vote], first_better: float | None = None) -> Verdict | None:
    """What more votes on a pair say than anything else; None where two outcomes have the same number.

    The margin is the mean of all votes' strengths with their directions: votes for the other side, and ties, lower it.
    """
    if len(votes) == 1:
        return Verdict(votes[0].side, float(votes[0].strength or 0))
    said = most_said([vote.side for vote in votes])
    return None if said is None else Verdict(said, _margin(votes, said))


def by_share(votes: list[Vote], first_better: float | None = None) -> Verdict:
    """The side with the larger share of the votes, a tie counting half for each, and that share; at one half none."""
    lead = sum(vote.side for vote in votes)
    side = (lead > 0) - (lead < 0)
    return Verdict(side, _margin(votes, side), (1 + abs(lead) / len(votes)) / 2)


def by_reliability(votes: list[Vote], first_better: float | None = None) -> Verdict:
    """The side that is likelier the better one, all votes weighed by the reliability of those who gave them.

    `first_better` is that probability for the first answer. By share where it has not been computed.
    """
    if first_better is None:
        return by_share(votes)
    side = (first_better < 0.5) - (first_better > 0.5)
    return Verdict(side, _margin(votes, side), max(first_better, 1 - first_better))


def _margin(votes: list[Vote], side: int) -> float:
    return max(0.0, side * sum(vote.push for vote in votes) / len(votes))


def most_said(said: list[Said]) -> Said | None:
    """What is said more often than anything else; None where nothing is."""
    ranked = Counter(said).most_common(2)
    return None if not ranked or (len(ranked) == 2 and ranked[0][1] == ranked[1][1]) else ranked[0][0]


def speaking(votes: list[Vote]) -> list[Vote]:
    """The votes that say something of their pair: the decision alone where a reviewer settled it."""
    return [vote for vote in votes if vote.decides] or [vote for vote in votes if not vote.is_overruled]


def _together(votes: list[Vote]) -> list[list[Vote]]:
    found = speaking(votes)
    return [found] if found else []


class Rule(NamedTuple):
    """Which votes speak together, and what those on one pair say, given the probability that its first is better."""

    parts: Callable[[list[Vote]], list[list[Vote]]]
    verdict: Callable[[list[Vote], float | None], Verdict | None]


WEIGHTED = "weighted"
WITH_PROBABILITY = ("soft", WEIGHTED)
RULES = {
    "raw": Rule(lambda votes: [[vote] for vote in speaking(votes)], by_majority),
    "majority": Rule(_together, by_majority),
    "soft": Rule(_together, by_share),
    WEIGHTED: Rule(_together, by_reliability),
}
RULE_TITLES = {
    "raw": _("Every vote for itself"),
    "majority": _("One row a pair, as most votes say"),
    "soft": _("One row a pair, with the share of votes that say so"),
    WEIGHTED: _("One row a pair, with its probability by the annotators' reliability"),
}


def agreement(votes: list[Vote]) -> float:
    """The share of the votes that say what most of them say, from 0 to 1."""
    return max(Counter(vote.outcome for vote in votes).values()) / len(votes)
