"""Who was right: Bradley-Terry with ties, weighing every vote by the reliability of the person behind it.

A vote of annotator a on pair p has the utility of the first answer over the second

    u = ability_a · (d_p - length · l_p) + position_a · (±1 for the side) + (length + length_a) · l_p,

l the log ratio of the lengths, and Davidson's probabilities (1970, On extending the Bradley-Terry model to accommodate
ties, eq. 2.3), ν for the ties of all and tie_a for one person's:

    P(first) : P(tie) : P(second)  =  exp(u/2) : ν · exp(tie_a) : exp(-u/2).

The pair's difference d has the mean length · l_p and the standard deviation `spread`. Its shape lies between a normal
bell (`apart` 0: many pairs are close) and two points (`apart` 1: one answer is always clearly better): two equal bells
at ± apart · spread, each of the width √(1 - apart²) · spread. d is integrated out, as item response theory does with a
latent trait (Bock and Aitkin 1981), so that three votes on a pair do not count for more than they say.

An ability of 1 is the median person's, 0 is noise, below 0 is keys swapped. What all have in common in favour of length
is taste and stays in d; what one person has beyond that is their length term. No ability multiplies that taste: two
people who judge pairs of their own, one for the long answers and one for the short, differ in taste, and nothing tells
whose keys are swapped. Only pairs that several have judged do, or gold: what is expected there counts as the vote of
one more person, whose ability is KNOWS. Nor does it make a vote surer that its person never ties, where others do.
Annotators' terms have normal priors, named below.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import Bounds, minimize
from scipy.special import expit, logit

from annotation.quality.intervals import Estimate, Z
from annotation.quality.votes import FIRST, SECOND, TIE, UNKNOWN, UNSEEN, Floats, Ints, Votes

ABILITY = (1.0, 0.5)  # mean and standard deviation of the prior
KNOWS = 4.0  # the ability behind a gold pair's answer: wrong twice in a hundred times where answers differ by 1
LEAST_TYPICAL = 0.1  # of a median ability; where it is lower, nobody is like anybody
POSITION = LENGTH = (0.0, 0.5)
TIES = (0.0, 1.0)
SHARED_LENGTH = (0.0, 1.5)  # at one deviation the answer that is twice as long wins three of four times
SPREAD = (0.7, 0.7)  # of log(spread): half of all projects between 1.3 and 3.2
APART = (1.5, 1.5)  # of logit(apart): half of all projects between 0.62 and 0.92
FREE = (-np.inf, np.inf)
BOUNDS = [(-3.0, 4.0), (-6.0, 6.0), (-12.0, 6.0), FREE]  # of log(spread), logit(apart), log(ν), length
OF_A_PERSON = 4  # terms
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
    """What the fit found: four terms for every annotator and four numbers for the project; `knows` in their scale."""

    ability_A: Floats
    position_A: Floats
    length_A: Floats
    tie_A: Floats
    spread: float
    apart: float
    tie: float
    length: float
    knows: float = KNOWS


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
    blocks, start = _blocks(votes), _start(votes)
    # Each parameter in units of its own uncertainty: alike in size, they are found in a third of the steps.
    unit = 1 / np.sqrt(_precision(blocks, start))

    def loss_and_slope(in_units: Floats) -> tuple[float, Floats]:
        loss, slope = _loss_and_slope(in_units * unit, blocks)
        return loss, slope * unit

    low, high = np.array([FREE] * (OF_A_PERSON * votes.annotators) + BOUNDS).T
    found = minimize(
        loss_and_slope,
        _pack(start) / unit,
        jac=True,
        method="L-BFGS-B",
        bounds=Bounds(low / unit, high / unit),
        options={"maxiter": MOST_STEPS},
    )
    return _typical_is_one(_unpack(found.x * unit))


def _typical_is_one(found: Parameters) -> Parameters:
    """The same votes said with a median ability of 1: half the ability on twice the difference changes none of them."""
    typical = float(np.median(found.ability_A))
    if typical < LEAST_TYPICAL:
        return found
    return replace(
        found,
        ability_A=found.ability_A / typical,
        spread=found.spread * typical,
        knows=found.knows / typical,
    )


def posterior(votes: Votes, parameters: Parameters) -> Posterior:
    """The pairs' differences given all their votes."""
    reach = 6 * parameters.spread + float(np.abs(parameters.length * votes.log_length_ratio_P).max())
    found = [_posterior(block, parameters, reach) for block in _blocks(votes)]
    first_better_P = np.concatenate([first for first, _ in found])
    at_N = first_better_P[votes.pair_N]
    flipped_N = np.select([votes.outcome_N == FIRST, votes.outcome_N == SECOND], [1 - at_N, at_N], np.nan)
    return Posterior(first_better_P, np.concatenate([mean for _, mean in found]), flipped_N)


def soft_label(votes: Votes, found: Posterior) -> Floats:
    """P(d > 0) of each pair as it is kept: never on the side of an answer that none of its votes is for. Shape (P,).

    What speaks for that answer are other pairs alone, by the lengths or by what they say of a person. That is a doubt,
    and the pair is looked at again; it is no label that somebody gave. A pair of ties is even.
    """
    first_P, _, second_P = votes.counts_by_outcome().T
    low_P = np.where(second_P == 0, 0.5, 0.0)
    high_P = np.where(first_P == 0, 0.5, 1.0)
    return np.clip(found.first_better_P, low_P, high_P)


def _blocks(votes: Votes) -> list[Votes]:
    """Some hundred pairs at a time: the grids of all of them at once would not fit a cache, or a small machine."""
    votes = _with_expected(votes)
    return [votes.between(first, min(first + BLOCK, votes.pairs)) for first in range(0, votes.pairs, BLOCK)]


def _with_expected(votes: Votes) -> Votes:
    """The votes and, after those on each gold pair, the one expected there: by a person more than there are."""
    gold = np.flatnonzero(votes.expected_P != UNKNOWN)
    after = np.searchsorted(votes.pair_N, gold, side="right")
    return replace(
        votes,
        pair_N=np.insert(votes.pair_N, after, gold),
        annotator_N=np.insert(votes.annotator_N, after, votes.annotators),
        outcome_N=np.insert(votes.outcome_N, after, votes.expected_P[gold]),
        first_on_N=np.insert(votes.first_on_N, after, UNSEEN),
        seconds_N=np.insert(votes.seconds_N, after, 0.0),
        is_drawn_N=np.insert(votes.is_drawn_N, after, False),
    )


def _posterior(votes: Votes, parameters: Parameters, reach: float) -> tuple[Floats, Floats]:
    """P(d > 0) and the mean of d within ± reach, by the midpoint rule: its cells meet at 0, Gauss's nodes would not."""
    mean_P1 = parameters.length * votes.log_length_ratio_P[:, None]
    middle_K = (np.arange(CELLS) + 0.5) * 2 * reach / CELLS - reach
    bell = np.sqrt(1 - parameters.apart**2) * parameters.spread
    shift = parameters.apart * parameters.spread
    log_prior_PK = np.logaddexp(
        -(((middle_K - mean_P1 - shift) / bell) ** 2) / 2, -(((middle_K - mean_P1 + shift) / bell) ** 2) / 2
    )
    terms = _terms(votes, parameters, np.zeros(votes.pairs), middle_K)
    share_PK, _ = _normalise(_log_votes(votes, parameters, terms) + log_prior_PK)
    right = CELLS // 2
    # The first term of Euler and Maclaurin's: the rule's error where the integral ends at 0, h² f'(0) / 24.
    edge_P = (share_PK[:, right] - share_PK[:, right - 1]) / 24
    return np.clip(share_PK[:, right:].sum(axis=1) - edge_P, 0, 1), share_PK @ middle_K


def abilities(votes: Votes, parameters: Parameters) -> list[Estimate]:
    """Every annotator's ability with its interval, the other parameters held; n counts their votes."""
    n_A = np.bincount(votes.annotator_N, minlength=votes.annotators)
    half_A = Z / np.sqrt(_precision(_blocks(votes), parameters)[: votes.annotators])
    rows = zip(parameters.ability_A, n_A, half_A, strict=True)
    return [Estimate(float(at), int(n), float(at - half), float(at + half)) for at, n, half in rows]


def log_likelihood(votes: Votes, parameters: Parameters) -> float:
    """The log probability of all votes, pairs integrated out."""
    return sum(float(_shares(block, parameters)[1].sum()) for block in _blocks(votes))


@dataclass(frozen=True)
class _Terms:
    """Davidson's three terms for every vote and node, over the greatest of them so that none overflows. Shapes (N, K).

    With `small` = exp(-|u|/2) they are 1, ν · exp(tie_a) · small and small²; `total` is their sum.
    """

    log_tie_N: Floats  # of ν · exp(tie_a)
    half_utility_NK: Floats
    small_NK: Floats
    total_NK: Floats

    def lead_NK(self) -> Floats:
        """P(first) - P(second)."""
        found = np.square(self.small_NK)
        np.subtract(1, found, out=found)
        np.copysign(found, self.half_utility_NK, out=found)
        found /= self.total_NK
        return found


def _terms(votes: Votes, at: Parameters, centre_P: Floats, node_K: Floats) -> _Terms:
    """At the differences d = centre + node of every pair. In place where it can be: this is where the time goes."""
    who, length_N = votes.annotator_N, votes.log_length_ratio_P[votes.pair_N]
    ability_N = np.append(at.ability_A, at.knows)[who]
    taste_N = np.append(at.length_A, 0.0)[who] + at.length * (1 - ability_N)
    shift_N = np.append(at.position_A, 0.0)[who] * votes.first_on_N + taste_N * length_N
    half_NK = np.multiply.outer(ability_N / 2, node_K)
    half_NK += ((ability_N * centre_P[votes.pair_N] + shift_N) / 2)[:, None]
    small_NK = np.abs(half_NK)
    np.negative(small_NK, out=small_NK)
    np.exp(small_NK, out=small_NK)
    log_tie_N = np.log(at.tie) + np.append(at.tie_A, 0.0)[who]
    total_NK = small_NK + np.exp(log_tie_N)[:, None]
    total_NK *= small_NK
    total_NK += 1
    return _Terms(log_tie_N, half_NK, small_NK, total_NK)


def _log_votes(votes: Votes, at: Parameters, terms: _Terms) -> Floats:
    """The log probability of each pair's votes at every node. Shape (P, K)."""
    log_NK = votes.outcome_N[:, None] * terms.half_utility_NK
    log_NK -= np.abs(terms.half_utility_NK)
    log_NK -= np.log(terms.total_NK)
    ties_P = np.bincount(votes.pair_N, np.where(votes.outcome_N == TIE, terms.log_tie_N, 0), minlength=votes.pairs)
    found: Floats = _sum_by_pair(log_NK, votes.pair_N) + ties_P[:, None]
    return found


def _shares(votes: Votes, at: Parameters) -> tuple[Floats, Floats, _Terms]:
    """Each pair's posterior shares of Gauss's nodes (P, K), the log probability of its votes (P,), and the terms."""
    node_K, _ = _nodes(at)
    terms = _terms(votes, at, at.length * votes.log_length_ratio_P, at.spread * node_K)
    share_PK, log_P = _normalise(_log_votes(votes, at, terms) + LOG_NODE_WEIGHT_K)
    return share_PK, log_P, terms


def _nodes(at: Parameters) -> tuple[Floats, Floats]:
    """The nodes at a spread of 1, and their slopes by `apart`. Shapes (K,)."""
    within = np.sqrt(1 - at.apart**2)
    return at.apart * SIDE_K + within * NODE_K, SIDE_K - at.apart / within * NODE_K


def _normalise(joint_PK: Floats) -> tuple[Floats, Floats]:
    """Log densities as shares of each row (P, K), and the logs of the rows' totals (P,)."""
    top_P = joint_PK.max(axis=1)
    share_PK = np.exp(joint_PK - top_P[:, None])
    total_P = share_PK.sum(axis=1)
    share_PK /= total_P[:, None]
    return share_PK, top_P + np.log(total_P)


def _sum_by_pair(values_NK: Floats, pair_N: Ints) -> Floats:
    """Sums of the votes' rows for each pair, shape (P, K)."""
    return np.add.reduceat(values_NK, _starts(pair_N), axis=0)


def _starts(pair_N: Ints) -> Ints:
    """Where each pair's votes begin. Votes are sorted by pair, and every pair has one."""
    return np.flatnonzero(np.diff(pair_N, prepend=-1))


@dataclass(frozen=True)
class _Slopes:
    """The log probability of each pair's votes, and its slopes in packed order, as far as each vote has a part in them:
    by the four terms of its person, and by the four numbers of the project."""

    log_P: Floats
    by_person_4N: Floats
    by_project_4N: Floats


def _slopes(votes: Votes, at: Parameters) -> _Slopes:
    """The slope of an integral over d is the mean of the slope at d over the posterior of d (Fisher's identity).

    That by u/2 is the outcome, whatever d, less the lead that was expected.
    """
    share_PK, log_P, terms = _shares(votes, at)
    node_K, node_by_apart_K = _nodes(at)
    along_K3 = np.stack([np.ones_like(node_K), node_K, node_by_apart_K], axis=1)
    share_NK = share_PK[votes.pair_N]
    tied_N = np.exp(terms.log_tie_N) * np.einsum("nk,nk->n", share_NK, terms.small_NK / terms.total_NK)
    by_tie_N = (votes.outcome_N == TIE) - tied_N
    share_NK *= terms.lead_NK()
    pull_N3 = (votes.outcome_N[:, None] * (share_PK @ along_K3)[votes.pair_N] - share_NK @ along_K3) / 2
    pull_N, by_node_N, by_node_apart_N = pull_N3.T
    ability_N, length_N = np.append(at.ability_A, at.knows)[votes.annotator_N], votes.log_length_ratio_P[votes.pair_N]
    # d at the nodes is length · l + spread · node.
    by_person = [at.spread * by_node_N, pull_N * votes.first_on_N, pull_N * length_N, by_tie_N]
    by_project = [
        ability_N * by_node_N * at.spread,
        ability_N * by_node_apart_N * at.spread * at.apart * (1 - at.apart),
        by_tie_N,
        pull_N * length_N,
    ]
    return _Slopes(log_P, np.stack(by_person), np.stack(by_project))


def _loss_and_slope(packed: Floats, blocks: list[Votes]) -> tuple[float, Floats]:
    """Minus the log posterior density of the parameters, and its gradient."""
    parameters = _unpack(packed)
    losses, slopes = zip(*(_block_loss_and_slope(block, parameters) for block in blocks), strict=True)
    centre, width = _priors(len(parameters.ability_A))
    surprise = (packed - centre) / width
    return sum(losses) + float(np.sum(surprise**2)) / 2, sum(slopes) + surprise / width


def _block_loss_and_slope(votes: Votes, at: Parameters) -> tuple[float, Floats]:
    """Minus the log likelihood of the votes on some pairs, and its gradient by the packed parameters."""
    slopes = _slopes(votes, at)
    by_annotator = _by_annotator(votes, slopes.by_person_4N)
    return -float(slopes.log_P.sum()), -np.concatenate([by_annotator, slopes.by_project_4N.sum(axis=1)])


def _precision(blocks: list[Votes], at: Parameters) -> Floats:
    """How sharply the votes and the prior bend about each packed parameter, the others held: 1 over its variance.

    Of the votes it is the sum of their squared slopes (Berndt, Hall, Hall and Hausman 1974, Estimation and inference in
    nonlinear structural models): of single votes for a person, of a pair's votes together for the project.
    """
    _, width = _priors(len(at.ability_A))
    found = 1 / width**2
    for votes in blocks:
        slopes = _slopes(votes, at)
        by_pair_4P = np.add.reduceat(slopes.by_project_4N, _starts(votes.pair_N), axis=1)
        found += np.concatenate([_by_annotator(votes, slopes.by_person_4N**2), np.sum(by_pair_4P**2, axis=1)])
    return found


def _by_annotator(votes: Votes, rows_4N: Floats) -> Floats:
    """Sums for each annotator, row after row. Shape (4 A,)."""
    people = votes.annotators
    return np.concatenate([np.bincount(votes.annotator_N, row_N, minlength=people)[:people] for row_N in rows_4N])


def _priors(annotators: int) -> tuple[Floats, Floats]:
    """Means and standard deviations in packed order. Ties are all but free."""
    each = [ABILITY, POSITION, LENGTH, TIES]
    project = [SPREAD, APART, (0.0, 5.0), SHARED_LENGTH]
    centre, width = zip(*[prior for prior in each for _ in range(annotators)], *project, strict=True)
    return np.array(centre), np.array(width)


def _start(votes: Votes) -> Parameters:
    zeros_A = np.zeros(votes.annotators)
    ties = (np.sum(votes.outcome_N == 0) + 1) / (len(votes.outcome_N) + 2)
    return Parameters(
        zeros_A + 1, zeros_A, zeros_A, zeros_A, spread=2.0, apart=0.5, tie=float(2 * ties / (1 - ties)), length=0.0
    )


def _pack(parameters: Parameters) -> Floats:
    project = [np.log(parameters.spread), logit(parameters.apart), np.log(parameters.tie), parameters.length]
    return np.concatenate([parameters.ability_A, parameters.position_A, parameters.length_A, parameters.tie_A, project])


def _unpack(packed: Floats) -> Parameters:
    ability_A, position_A, length_A, tie_A = packed[:-4].reshape(OF_A_PERSON, -1)
    log_spread, logit_apart, log_tie, length = packed[-4:]
    return Parameters(
        ability_A,
        position_A,
        length_A,
        tie_A,
        spread=float(np.exp(log_spread)),
        apart=float(expit(logit_apart)),
        tie=float(np.exp(log_tie)),
        length=float(length),
    )
