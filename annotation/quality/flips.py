"""The estimated flip rate: the share of votes for the worse answer, which is DPO's `label_smoothing`.

DPO learns from every vote as it was given, so what matters is how often a vote is wrong, not how often a majority is.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.special import expit, logit

from annotation.quality.bradley_terry import APART, SPREAD, Parameters, Posterior, log_likelihood, posterior
from annotation.quality.intervals import Estimate, Z
from annotation.quality.votes import TIE, Bools, Floats, Votes

STEP = 0.05  # of log(spread) and logit(apart), for slopes by differences
LEAST_SHARED = 10  # pairs with two votes for one answer; fewer tell next to nothing
WIDEST = 0.2  # an interval of the flip rate that still says something
HIGHEST_SMOOTHING = 0.45  # at one half a vote says nothing, and the training forms end below it


def flip_rate(votes: Votes, parameters: Parameters, found: Posterior, counts_P: Bools | None = None) -> Estimate | None:
    """The mean probability that a vote for one answer was for the worse one, over some pairs; n counts such votes.
    `found` is the posterior at the parameters.

    The interval adds two variances: that of the mean over pairs, and that of the two numbers on which it hangs, the
    spread of the differences and their shape (their curvature, with the other parameters held). None if fewer than
    LEAST_SHARED pairs have two such votes: only they tell a wrong vote from a right one.
    """
    decided_N = votes.outcome_N != TIE
    if counts_P is not None:
        decided_N &= counts_P[votes.pair_N]
    decided_P = np.bincount(votes.pair_N[decided_N], minlength=votes.pairs)
    if np.sum(decided_P >= 2) < LEAST_SHARED:
        return None
    flipped_N = found.flipped_N[decided_N]
    rate = float(flipped_N.mean())
    off_P = np.bincount(votes.pair_N[decided_N], flipped_N - rate, minlength=votes.pairs)
    half = Z * np.sqrt(np.sum(off_P**2) / len(flipped_N) ** 2 + _variance_by_shape(votes, parameters, decided_N))
    return Estimate(rate, len(flipped_N), max(rate - half, 0.0), min(rate + half, 1.0))


def _variance_by_shape(votes: Votes, parameters: Parameters, decided_N: Bools) -> float:
    """The delta method over log(spread) and logit(apart): gᵀ H⁻¹ g, H the curvature of minus the log density."""

    def rate(by: Floats) -> float:
        return float(posterior(votes, _moved(parameters, by)).flipped_N[decided_N].mean())

    def surprise(by: Floats) -> float:
        moved = _moved(parameters, by)
        priors = ((np.log(moved.spread), SPREAD), (logit(moved.apart), APART))
        prior = sum(((at - mean) / width) ** 2 / 2 for at, (mean, width) in priors)
        return float(prior - log_likelihood(votes, moved))

    spread, apart = np.eye(2) * STEP
    slope = np.array([rate(spread) - rate(-spread), rate(apart) - rate(-apart)]) / (2 * STEP)
    here = surprise(0 * spread)
    both = (
        surprise(spread + apart) - surprise(spread - apart) - surprise(apart - spread) + surprise(-spread - apart)
    ) / 4
    curvature = (
        np.array(
            [
                [surprise(spread) + surprise(-spread) - 2 * here, both],
                [both, surprise(apart) + surprise(-apart) - 2 * here],
            ]
        )
        / STEP**2
    )
    # Where the likelihood is bent the wrong way, the prior is all one knows: its precision is the least there is.
    values, vectors = np.linalg.eigh(curvature)
    least = 1 / max(SPREAD[1], APART[1]) ** 2
    return float(np.sum((vectors.T @ slope) ** 2 / np.maximum(values, least)))


def _moved(parameters: Parameters, by: Floats) -> Parameters:
    spread, apart = parameters.spread * np.exp(by[0]), expit(logit(parameters.apart) + by[1])
    return replace(parameters, spread=float(spread), apart=float(apart))


def label_smoothing(rate: Estimate | None) -> float | None:
    """The `label_smoothing` to launch DPO with: the flip rate in whole percents; None while it is known too little."""
    if rate is None or rate.low is None or rate.high is None or rate.high - rate.low > WIDEST:
        return None
    return min(round(rate.value, 2), HIGHEST_SMOOTHING)
