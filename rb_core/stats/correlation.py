"""Intervals of correlations over a few models, and the smallest correlation that their number can show."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from scipy.stats import pearsonr, rankdata
from scipy.stats import t as student

from rb_core.stats.item_outcomes import Floats
from rb_core.stats.significance import ALPHA, Z95

MIN_PAIRS = 10  # for an interval; by simulation, those of Spearman's correlation hold from here on


class RankCorrelation(NamedTuple):
    """Spearman's correlation of n pairs, with its 95% interval and the smallest |correlation| that n pairs can show.

    pearson: of the values; one wrong value can move it far, so it has no interval. None where there are too few pairs,
    or all values are the same.
    """

    n: int
    spearman: float | None = None
    low: float | None = None
    high: float | None = None
    smallest: float | None = None
    pearson: float | None = None


def correlate_ranks(x: Floats, y: Floats) -> RankCorrelation:
    """Return the correlations of two arrays of n finite numbers."""
    n = len(x)
    if n < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return RankCorrelation(n)
    rho = float(pearsonr(rankdata(x), rankdata(y)).statistic)
    low, high = spearman_interval(rho, n) if n >= MIN_PAIRS else (None, None)
    return RankCorrelation(n, rho, low, high, smallest_visible(n - 2), float(pearsonr(x, y).statistic))


def fisher_interval(r: float, n: int) -> tuple[float | None, float | None]:
    """Return the 95% interval of Pearson's r over n pairs by Fisher's z (1915); None with fewer than four."""
    return (None, None) if n < 4 else _z_interval(r, 1 / math.sqrt(n - 3))


def spearman_interval(rho: float, n: int) -> tuple[float | None, float | None]:
    """Return the 95% interval of Spearman's correlation over n pairs; None with fewer than four.

    Fisher's z has the variance (1 + rho^2 / 2) / (n - 3): Bonett and Wright 2000, doi:10.1007/BF02294183.
    """
    return (None, None) if n < 4 else _z_interval(rho, math.sqrt((1 + rho**2 / 2) / (n - 3)))


def _z_interval(r: float, stderr: float) -> tuple[float, float]:
    z = math.atanh(max(-1 + 1e-15, min(1 - 1e-15, r)))
    return math.tanh(z - Z95 * stderr), math.tanh(z + Z95 * stderr)


def smallest_visible(degrees: int) -> float:
    """Return the |r| from which on a correlation is significant at the 5% level, by the t test with n - 2 degrees."""
    t = float(student.ppf(1 - ALPHA / 2, degrees))
    return t / math.sqrt(t**2 + degrees)
