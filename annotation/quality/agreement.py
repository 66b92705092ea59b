"""How far people agree: percent, Cohen's and Fleiss' kappa, Krippendorff's alpha.

Units are pairs that two or more people judged, given as counts per outcome: `counts_PC`, shape (pairs, outcomes).
"""

from __future__ import annotations

import krippendorff
import numpy as np

from annotation.quality.intervals import Estimate, jackknife
from annotation.quality.votes import FIRST, SECOND, TIE, Ints

OUTCOMES = (FIRST, TIE, SECOND)


def judged_twice(counts_PC: Ints) -> Ints:
    """The pairs that two or more people judged: the only ones that tell of agreement."""
    found: Ints = counts_PC[counts_PC.sum(axis=1) >= 2]
    return found


def percent(counts_PC: Ints) -> float:
    """The share of agreeing votes among all couples of votes on one pair, averaged over pairs. NaN without pairs."""
    if not len(counts_PC):
        return float("nan")
    votes_P = counts_PC.sum(axis=1)
    return float(np.mean((counts_PC * (counts_PC - 1)).sum(axis=1) / (votes_P * (votes_P - 1))))


def fleiss_kappa(counts_PC: Ints) -> float:
    """Agreement beyond chance (Fleiss 1971, Measuring nominal scale agreement among many raters, eq. 7).

    κ = (P̄ - P̄e) / (1 - P̄e), with P̄e the sum of the squared shares of the outcomes. Pairs may have different numbers of
    votes: P̄ averages over pairs, the shares over votes. NaN where only one outcome occurs.
    """
    if not len(counts_PC):
        return float("nan")
    share_C = counts_PC.sum(axis=0) / counts_PC.sum()
    return _beyond_chance(percent(counts_PC), float(np.sum(share_C**2)))


def cohen_kappa(table_CC: Ints) -> float:
    """Two raters' agreement beyond chance from their table (Cohen 1960, A coefficient of agreement, eq. 1)."""
    total = table_CC.sum()
    if not total:
        return float("nan")
    by_chance = table_CC.sum(axis=0) @ table_CC.sum(axis=1) / total**2
    return _beyond_chance(float(np.trace(table_CC) / total), float(by_chance))


def alpha(counts_PC: Ints) -> float:
    """Krippendorff's α, a tie halfway between the two answers (interval data; Krippendorff 2011, Computing alpha)."""
    if np.count_nonzero(counts_PC.sum(axis=0)) < 2:
        return float("nan")
    return float(
        krippendorff.alpha(value_counts=counts_PC, value_domain=list(OUTCOMES), level_of_measurement="interval")
    )


def _beyond_chance(observed: float, by_chance: float) -> float:
    return (observed - by_chance) / (1 - by_chance) if by_chance < 1 else float("nan")


def agreement(counts_PC: Ints) -> dict[str, Estimate | None]:
    """Percent, Fleiss' κ and α over the pairs judged twice or more; n counts these pairs."""
    shared_PC = judged_twice(counts_PC)
    return {
        "percent": jackknife(percent, shared_PC, bounds=(0.0, 1.0)),
        "kappa": jackknife(fleiss_kappa, shared_PC),
        "alpha": jackknife(alpha, shared_PC),
    }
