"""Tests of a difference, and the correction for several tests."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.stats import binom

from rb_core.stats.item_outcomes import Floats

ALPHA = 0.05


def mcnemar_mid_p(only_a: int, only_b: int) -> float:
    """Return the two-sided mid-p of McNemar's test, from the numbers of examples that only one model got right.

    The exact conditional p minus half the probability of the observed numbers (Fagerland, Lydersen and Laake 2013,
    doi:10.1186/1471-2288-13-91); 1 without such examples.
    """
    n, fewer = only_a + only_b, min(only_a, only_b)
    if n == 0:
        return 1.0
    return min(1.0, float(2 * binom.cdf(fewer, n, 0.5) - binom.pmf(fewer, n, 0.5)))


def bootstrap_p(draws: Floats) -> float:
    """Return the two-sided p of a difference: twice the share of its bootstrap draws on the rarer side of zero.

    Below 0.05 where the 95% interval excludes zero. One is added to both counts, as if the observed data were a
    replicate (Davison and Hinkley 1997, section 4.2).
    """
    rarer = min(int((draws <= 0).sum()), int((draws >= 0).sum()))
    return min(1.0, 2 * (rarer + 1) / (len(draws) + 1))


def holm(p_values: Sequence[float] | Floats) -> Floats:
    """Return adjusted p values in the same order (Holm 1979): at most alpha where significant among all of them."""
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted
