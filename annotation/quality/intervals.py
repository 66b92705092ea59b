"""An estimate with its sample size and its 95 % interval."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import betaln, ndtri, xlogy

from annotation.quality.votes import Ints

Z = float(ndtri(0.975))
FALSE_ALARMS = 0.01  # the chance that a person within bounds is ever flagged, however often one looks


@dataclass(frozen=True)
class Estimate:
    """A number, how many observations stand behind it, and the ends of its 95 % interval (None: cannot be said)."""

    value: float
    n: int
    low: float | None
    high: float | None


def proportion(count: int, n: int) -> Estimate | None:
    """A share of n with Wilson's interval (Wilson 1927, Probable inference); None of nothing."""
    if n == 0:
        return None
    share = count / n
    centre = (share + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z / (1 + Z**2 / n) * np.sqrt(share * (1 - share) / n + Z**2 / (4 * n**2))
    # The ends are exact at 0 and n, where the formula leaves a rounding error.
    low = 0.0 if count == 0 else float(centre - half)
    high = 1.0 if count == n else float(centre + half)
    return Estimate(share, n, low, high)


def share_is_outside(bounds: tuple[float, float], hits: int, misses: int) -> bool:
    """Whether these counts show a share of hits outside the bounds, at any look, with at most FALSE_ALARMS in all.

    The likelihood of the counts averaged over all shares (evenly from 0 to 1), over their likelihood at the share
    within bounds that explains them best. Under any share within bounds this ratio is at most a martingale of mean 1,
    so it ever passes 1/α with a probability of at most α (Ville 1939; Robbins 1970, Statistical methods related to the
    law of the iterated logarithm).
    """
    if hits + misses == 0:
        return False
    likeliest = float(np.clip(hits / (hits + misses), *bounds))
    log_ratio = betaln(1 + hits, 1 + misses) - xlogy(hits, likeliest) - xlogy(misses, 1 - likeliest)
    return bool(log_ratio > -np.log(FALSE_ALARMS))


def jackknife(
    statistic: Callable[[Ints], float], counts_PC: Ints, bounds: tuple[float, float] = (-1.0, 1.0)
) -> Estimate | None:
    """`statistic` of P units with C counts each, and its normal interval, within bounds, leaving out one unit a time.

    Units with equal counts leave the same number behind, so each kind is left out once and weighted by how often it
    occurs (Efron and Stein 1981, eq. 1.4). None if the statistic is not defined (NaN); no ends if it is not without one
    unit, or if it never changes, which says nothing about its spread.
    """
    n = len(counts_PC)
    value = statistic(counts_PC) if n else np.nan
    if not np.isfinite(value):
        return None
    _, first, times = np.unique(counts_PC, axis=0, return_index=True, return_counts=True)
    left_out = (
        np.array([statistic(np.delete(counts_PC, row, axis=0)) for row in first]) if n > 1 else np.array([np.nan])
    )
    mean = np.average(left_out, weights=times)
    half = Z * np.sqrt((n - 1) / n * np.sum(times * (left_out - mean) ** 2))
    if not np.isfinite(half) or half == 0:
        return Estimate(float(value), n, None, None)
    low, high = np.clip([value - half, value + half], *bounds)
    return Estimate(float(value), n, float(low), float(high))
