"""Votes that follow the side or the length instead of the answers.

Sides are shuffled for every vote, so a careful person votes left about half of the time, whatever the answers. Longer
answers are another matter: people prefer them for reasons too, 64 % of the time in the project's reference.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from annotation.quality.intervals import Estimate, proportion, share_is_outside
from annotation.quality.votes import LEFT, TIE, UNSEEN, Votes

LONGER_BY_PEOPLE = 0.64
FAIR_SHARE = (0.4, 0.6)  # of left: what nobody need be asked about
SAME_LENGTH = 0.05  # answers whose lengths differ by less are taken for equally long (log ratio)


@dataclass(frozen=True)
class SideShare:
    """The share of decided votes for the left answer, and whether it is proof of clicking by side."""

    left: Estimate | None
    flagged: bool


def side_shares(votes: Votes) -> list[SideShare]:
    """For every annotator. Ties and votes of those who saw no sides are left out."""
    clicked_N = votes.clicked_N()
    shares = []
    for number in range(votes.annotators):
        sided = clicked_N[(votes.annotator_N == number) & (clicked_N != 0)]
        left = int(np.sum(sided == LEFT))
        shares.append(SideShare(proportion(left, len(sided)), clicks_by_side(left, len(sided) - left)))
    return shares


def clicks_by_side(left: int, right: int) -> bool:
    """Whether these votes show a share of left outside FAIR_SHARE."""
    return share_is_outside(FAIR_SHARE, left, right)


def longer_shares(votes: Votes) -> list[Estimate | None]:
    """For every annotator, the share of decided votes for the longer answer, where one is longer."""
    towards_N = votes.outcome_N * np.sign(votes.log_length_ratio_P)[votes.pair_N]
    counts_N = (votes.outcome_N != TIE) & (np.abs(votes.log_length_ratio_P)[votes.pair_N] > SAME_LENGTH)
    return [
        proportion(int(np.sum(towards_N[by] > 0)), int(np.sum(by)))
        for by in (counts_N & (votes.annotator_N == number) for number in range(votes.annotators))
    ]


def overall_left(votes: Votes) -> Estimate | None:
    """The share of left among the decided votes of everybody who saw sides."""
    clicked_N = votes.clicked_N()
    return proportion(int(np.sum(clicked_N == LEFT)), int(np.sum(clicked_N != UNSEEN)))


def overall_longer(votes: Votes) -> Estimate | None:
    """The share of the longer answer among everybody's decided votes."""
    as_one = replace(votes, annotator_N=np.zeros_like(votes.annotator_N), annotators=1)
    return longer_shares(as_one)[0]
