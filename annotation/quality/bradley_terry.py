"""Who was right: Bradley-Terry with ties, weighing every vote by the reliability of the person behind it.

A vote of annotator a on pair p has the utility of the first answer over the second

    u = ability_a · d_p + position_a · (±1 for the side) + length_a · l_p,        l the log ratio of the lengths,

and Davidson's probabilities (1970, On extending the Bradley-Terry model to accommodate ties, eq. 2.3), ν for ties:

    P(first) : P(tie) : P(second)  =  exp(u/2) : ν : exp(-u/2).

The pair's difference d has the mean length · l_p and the standard deviation `spread`. Its shape lies between a normal
bell (`apart` 0: many pairs are close) and two points (`apart` 1: one answer is always clearly better): two equal bells
at ± apart · spread, each of the width √(1 - apart²) · spread. d is integrated out, as item response theory does with a
latent trait (Bock and Aitkin 1981), so that three votes on a pair do not count for more than they say.

An ability of 1 is the median person's, 0 is noise, below 0 is keys swapped. What all have in common in favour of length
is taste and stays in d; what one person has beyond that is their length term. Annotators' terms have normal priors,
named below.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, logit

from annotation.quality.intervals import Estimate, Z
from annotation.quality.votes import FIRST, SECOND, Floats, Ints, Votes

ABILITY = (1.0, 0.5)  # mean and standard deviation of the prior
LEAST_TYPICAL = 0.1  # of a median ability; where it is lower, nobody is like anybody
POSITION = LENGTH = (0.0, 0.5)
SPREAD = (0.7, 0.7)  # of log(spread): half of all projects between 1.3 and 3.2
APART = (1.5, 1.5)  # of logit(apart): half of all projects between 0.62 and 0.92
BOUNDS = [(-3.0, 4.0), (-6.0, 6.0), (-12.0, 6.0), (None, None)]  # of log(spread), logit(apart), log(ν), length
MOST_STEPS = 200
CELLS = 120  # of the posterior's grid
BLOCK = 500  # pairs

# Gauss's nodes for one bell, and again for the other.
_BELL, _BELL_WEIGHT = np.polynomial.hermite_e.hermegauss(16)
NODE_K = np.concatenate([_BELL, _BELL])
SIDE_K = np.repeat([1.0, -1.0], len(_BELL))
LOG_NODE_WEIGHT_K = np.log(np.tile(_BELL_WEIGHT, 2) / (2 * _BELL_WEIGHT.sum()))


@dataclass(frozen=True)
class Parameters:
    """What the fit found: three terms for every annotator, and four numbers for the project."""

    ability_A: Floats
    position_A: Floats
    length_A: Floats
    spread: float
    apart: float
    tie: float
    length: float


@dataclass(frozen=True)
class Posterior:
    """What the votes say of each pair. `first_better_P` is P(d > 0), the soft label; `difference_P` the mean of d.

    `flipped_N` is, for each vote for one answer, the probability that the other is the better one; NaN for ties.
    """

    first_better_P: Floats
    difference_P: Floats
    flipped_N: Floats

    @property
    def weight_P(self) -> Floats:
        """|2 P(d > 0) - 1|: 0 where nothing is known, 1 where the label is certain."""
        return np.abs(2 * self.first_better_P - 1)


def fit(votes: Votes) -> Parameters:
    """The parameters of greatest posterior density, pairs integrated out."""
    found = minimize(
        _loss_and_slope,
        _pack(_start(votes)),
        args=(_blocks(votes),),
        jac=True,
        method="L-BFGS-B",
        bounds=[(None, None)] * (3 * votes.annotators) + BOUNDS,
        options={"maxiter": MOST_STEPS},
    )
    return _typical_is_one(_unpack(found.x))


def _typical_is_one(found: Parameters) -> Parameters:
    """The same votes said with a median ability of 1: half the ability on twice the difference changes none of them."""
    typical = float(np.median(found.ability_A))
    if typical < LEAST_TYPICAL:
        return found
    return replace(
        found, ability_A=found.ability_A / typical, spread=found.spread * typical, length=found.length * typical
    )


def posterior(votes: Votes, parameters: Parameters) -> Posterior:
    """The pairs' differences given all their votes."""
    reach = 6 * parameters.spread + float(np.abs(parameters.length * votes.log_length_ratio_P).max())
    found = [_posterior(block, parameters, reach) for block in _blocks(votes)]
    first_better_P = np.concatenate([first for first, _ in found])
    at_N = first_better_P[votes.pair_N]
    flipped_N = np.select([votes.outcome_N == FIRST, votes.outcome_N == SECOND], [1 - at_N, at_N], np.nan)
    return Posterior(first_better_P, np.concatenate([mean for _, mean in found]), flipped_N)


def _blocks(votes: Votes) -> list[Votes]:
    """Some hundred pairs at a time: the grids of all of them at once would not fit a cache, or a small machine."""
    return [votes.of_pairs(block) for block in np.array_split(np.arange(votes.pairs), -(-votes.pairs // BLOCK))]


def _posterior(votes: Votes, parameters: Parameters, reach: float) -> tuple[Floats, Floats]:
    """P(d > 0) and the mean of d within ± reach, by the midpoint rule: its cells meet at 0, Gauss's nodes would not."""
    mean_P1 = parameters.length * votes.log_length_ratio_P[:, None]
    middle_K = (np.arange(CELLS) + 0.5) * 2 * reach / CELLS - reach
    bell = np.sqrt(1 - parameters.apart**2) * parameters.spread
    shift = parameters.apart * parameters.spread
    log_prior_PK = np.logaddexp(
        -(((middle_K - mean_P1 - shift) / bell) ** 2) / 2, -(((middle_K - mean_P1 + shift) / bell) ** 2) / 2
    )
    log_NK, _, _ = _log_probabilities(votes, parameters, np.broadcast_to(middle_K, log_prior_PK.shape))
    log_share_PK, _ = _normalise(_sum_by_pair(log_NK, votes.pair_N) + log_prior_PK)
    share_PK = np.exp(log_share_PK)
    right = CELLS // 2
    # The first term of Euler and Maclaurin's: the rule's error where the integral ends at 0, h² f'(0) / 24.
    edge_P = (share_PK[:, right] - share_PK[:, right - 1]) / 24
    return np.clip(share_PK[:, right:].sum(axis=1) - edge_P, 0, 1), share_PK @ middle_K


def abilities(votes: Votes, parameters: Parameters) -> list[Estimate]:
    """Every annotator's ability with its interval; n counts their votes.

    Its precision is that of the prior and the sum of the squared slopes of the votes (Berndt, Hall, Hall and Hausman
    1974, Estimation and inference in nonlinear structural models), the other parameters held.
    """
    precision_A = np.full(votes.annotators, 1 / ABILITY[1] ** 2)
    for block in _blocks(votes):
        share_PK, _, by_utility_NK, _ = _expect(block, parameters)
        pull_NK = share_PK[block.pair_N] * by_utility_NK
        slope_N = np.sum(pull_NK * _differences(block, parameters)[block.pair_N], axis=1)
        precision_A += np.bincount(block.annotator_N, slope_N**2, minlength=votes.annotators)
    n_A = np.bincount(votes.annotator_N, minlength=votes.annotators)
    half_A = Z / np.sqrt(precision_A)
    rows = zip(parameters.ability_A, n_A, half_A, strict=True)
    return [Estimate(float(at), int(n), float(at - half), float(at + half)) for at, n, half in rows]


def log_likelihood(votes: Votes, parameters: Parameters) -> float:
    """The log probability of all votes, pairs integrated out."""
    return sum(float(_expect(block, parameters)[1].sum()) for block in _blocks(votes))


def _expect(votes: Votes, parameters: Parameters) -> tuple[Floats, Floats, Floats, Floats]:
    """Each pair's shares of the nodes (P, K), the log probability of its votes (P,), and the slopes of the votes."""
    difference_PK = _differences(votes, parameters)
    log_NK, by_utility_NK, by_tie_NK = _log_probabilities(votes, parameters, difference_PK)
    log_share_PK, log_P = _normalise(_sum_by_pair(log_NK, votes.pair_N) + LOG_NODE_WEIGHT_K)
    return np.exp(log_share_PK), log_P, by_utility_NK, by_tie_NK


def _differences(votes: Votes, parameters: Parameters) -> Floats:
    """The nodes of every pair's grid. Shape (P, K)."""
    node_K = parameters.apart * SIDE_K + np.sqrt(1 - parameters.apart**2) * NODE_K
    found: Floats = parameters.length * votes.log_length_ratio_P[:, None] + parameters.spread * node_K
    return found


def _log_probabilities(votes: Votes, parameters: Parameters, difference_PK: Floats) -> tuple[Floats, Floats, Floats]:
    """log P(vote), its slope by u, and its slope by log ν, for every vote and node. Shapes (N, K)."""
    who = votes.annotator_N
    shift_N = (
        parameters.position_A[who] * votes.first_on_N
        + parameters.length_A[who] * votes.log_length_ratio_P[votes.pair_N]
    )
    half_NK = (parameters.ability_A[who, None] * difference_PK[votes.pair_N] + shift_N[:, None]) / 2
    # One exponential of -|u|/2 gives all three terms without overflow.
    small_NK = np.exp(-np.abs(half_NK))
    total_NK = 1 + small_NK * small_NK + parameters.tie * small_NK
    tie_NK = parameters.tie * small_NK / total_NK
    lead_NK = np.sign(half_NK) * (1 - small_NK * small_NK) / total_NK  # P(first) - P(second)
    outcome_N1 = votes.outcome_N[:, None]
    is_tie_N1 = outcome_N1 == 0
    log_NK = outcome_N1 * half_NK + is_tie_N1 * np.log(parameters.tie) - np.abs(half_NK) - np.log(total_NK)
    return log_NK, (outcome_N1 - lead_NK) / 2, is_tie_N1 - tie_NK


def _normalise(joint_PK: Floats) -> tuple[Floats, Floats]:
    """Log densities as log shares of each row (P, K), and the logs of the rows' totals (P,)."""
    top_P = joint_PK.max(axis=1)
    total_P = top_P + np.log(np.exp(joint_PK - top_P[:, None]).sum(axis=1))
    return joint_PK - total_P[:, None], total_P


def _sum_by_pair(values_NK: Floats, pair_N: Ints) -> Floats:
    """Sums of the votes' rows for each pair, shape (P, K). Votes are sorted by pair, and every pair has one."""
    starts_P = np.flatnonzero(np.diff(pair_N, prepend=-1))
    return np.add.reduceat(values_NK, starts_P, axis=0)


def _loss_and_slope(packed: Floats, blocks: list[Votes]) -> tuple[float, Floats]:
    """Minus the log posterior density of the parameters, and its gradient."""
    parameters = _unpack(packed)
    losses, slopes = zip(*(_block_loss_and_slope(block, parameters) for block in blocks), strict=True)
    centre, width = _priors(len(parameters.ability_A))
    surprise = (packed - centre) / width
    return sum(losses) + float(np.sum(surprise**2)) / 2, sum(slopes) + surprise / width


def _block_loss_and_slope(votes: Votes, at: Parameters) -> tuple[float, Floats]:
    """Minus the log likelihood of the votes on some pairs, and its gradient.

    The gradient of an integral over d is the mean, over the posterior of d, of the gradient at d (Fisher's identity).
    """
    share_PK, log_P, by_utility_NK, by_tie_NK = _expect(votes, at)
    share_NK = share_PK[votes.pair_N]
    pull_NK = share_NK * by_utility_NK
    pull_N = pull_NK.sum(axis=1)
    length_N = votes.log_length_ratio_P[votes.pair_N]
    ability_N = at.ability_A[votes.annotator_N]
    within = np.sqrt(1 - at.apart**2)
    node_K = at.apart * SIDE_K + within * NODE_K
    node_by_apart_K = SIDE_K - at.apart / within * NODE_K
    by_node_N = pull_NK @ node_K
    # d at the nodes is length · l + spread · node.
    by_ability_N = at.length * length_N * pull_N + at.spread * by_node_N

    def by_annotator(values_N: Floats) -> Floats:
        return np.bincount(votes.annotator_N, values_N, minlength=votes.annotators).astype(np.float64)

    slope = np.concatenate(
        [
            by_annotator(by_ability_N),
            by_annotator(pull_N * votes.first_on_N),
            by_annotator(pull_N * length_N),
            [
                np.sum(by_node_N * ability_N) * at.spread,
                np.sum((pull_NK @ node_by_apart_K) * ability_N) * at.spread * at.apart * (1 - at.apart),
                np.sum(share_NK * by_tie_NK),
                np.sum(pull_N * ability_N * length_N),
            ],
        ]
    )
    return -float(log_P.sum()), -slope


def _priors(annotators: int) -> tuple[Floats, Floats]:
    """Means and standard deviations in packed order. Ties and the shared length term are all but free."""
    each = [ABILITY, POSITION, LENGTH]
    project = [SPREAD, APART, (0.0, 5.0), (0.0, 5.0)]
    centre, width = zip(*[prior for prior in each for _ in range(annotators)], *project, strict=True)
    return np.array(centre), np.array(width)


def _start(votes: Votes) -> Parameters:
    zeros_A = np.zeros(votes.annotators)
    ties = (np.sum(votes.outcome_N == 0) + 1) / (len(votes.outcome_N) + 2)
    return Parameters(
        zeros_A + 1, zeros_A, zeros_A, spread=2.0, apart=0.5, tie=float(2 * ties / (1 - ties)), length=0.0
    )


def _pack(parameters: Parameters) -> Floats:
    project = [np.log(parameters.spread), logit(parameters.apart), np.log(parameters.tie), parameters.length]
    return np.concatenate([parameters.ability_A, parameters.position_A, parameters.length_A, project])


def _unpack(packed: Floats) -> Parameters:
    ability_A, position_A, length_A = packed[:-4].reshape(3, -1)
    log_spread, logit_apart, log_tie, length = packed[-4:]
    return Parameters(
        ability_A,
        position_A,
        length_A,
        spread=float(np.exp(log_spread)),
        apart=float(expit(logit_apart)),
        tie=float(np.exp(log_tie)),
        length=float(length),
    )
