"""Test of a difference, the difference that a test can find, and the correction for several tests."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
from scipy.special import ndtr

from rb_core.results.estimate import Estimate
from rb_core.stats.item_outcomes import Floats

ALPHA = 0.05
POWER = 0.8
Z95 = NormalDist().inv_cdf(1 - ALPHA / 2)
DETECTABLE_ERRORS = Z95 + NormalDist().inv_cdf(POWER)  # standard errors of a difference that is found with 80% power


def difference_p(difference: float, variance: float, num_groups: float) -> float:
    """Return the two-sided p of a difference of two means over the same groups of examples.

    The variance is taken around no difference, ((n - 1) variance + difference^2) / n for n groups, so that for single
    right and wrong answers the test is McNemar's (1947, doi:10.1007/BF02295996), without a continuity correction.
    """
    if difference == 0:
        return 1.0
    around_none = variance * (1 - 1 / num_groups) + difference**2 / num_groups
    return float(2 * ndtr(-abs(difference) / math.sqrt(around_none)))


def difference_interval(difference: float, variance: float, num_groups: float) -> tuple[float, float] | None:
    """Return the 95% interval of a difference: the values that the test above does not reject.

    Its variance is at least |value| / num_groups, because models that differ by that much disagree on that many groups
    (Tango 1998, doi:10.1002/(SICI)1097-0258(19980430)17:8<891::AID-SIM780>3.0.CO;2-B). So the interval is never empty.
    An end between the value and none is at least as far away as Wilson's limit of a share. None with fewer than four
    groups, on which no difference can be significant.
    """
    z2 = Z95**2
    if num_groups <= z2:
        return None
    half = Z95 * math.sqrt(variance * (1 - 1 / num_groups) / (1 - z2 / num_groups))
    low, high = difference - half, difference + half
    c = z2 / num_groups
    if difference >= 0:
        high = max(high, _farthest(difference, c))
        low = min(low, -_farthest(-difference, c) if low <= 0 else _nearest(difference, c))
    else:
        low = min(low, -_farthest(-difference, c))
        high = max(high, _farthest(difference, c) if high >= 0 else -_nearest(-difference, c))
    return low, high


def independent_interval(first: Estimate, second: Estimate, correlation: float = 0.0) -> tuple[float, float] | None:
    """Return the 95% interval of first minus second, two means with intervals of their own; None where one has none.

    The interval joins the distances of the two means from their limits (Newcombe 1998,
    doi:10.1002/(SICI)1097-0258(19980430)17:8<873::AID-SIM779>3.0.CO;2-I; Zou and Donner 2008, doi:10.1002/sim.3095).
    correlation: of the two means (Zou 2007, doi:10.1037/1082-989X.12.4.399); 0 for independent ones.
    """
    x, low_x, high_x = first.value, first.low, first.high
    y, low_y, high_y = second.value, second.low, second.high
    if x is None or low_x is None or high_x is None or y is None or low_y is None or high_y is None:
        return None

    def distance(a: float, b: float) -> float:
        return math.sqrt(max(0.0, a**2 + b**2 - 2 * correlation * a * b))

    return x - y - distance(x - low_x, high_y - y), x - y + distance(high_x - x, y - low_y)


def _farthest(difference: float, c: float) -> float:
    """Return the largest x >= 0 with (difference - x)^2 <= c x; 0 without such an x."""
    discriminant = c * (4 * difference + c)
    return 0.0 if discriminant < 0 else max(0.0, difference + (c + math.sqrt(discriminant)) / 2)


def _nearest(difference: float, c: float) -> float:
    """Return the smallest value x > 0 with (difference - x)^2 <= c (x - x^2), as Wilson's limit; difference > 0."""
    discriminant = max(0.0, c * (c + 4 * difference * (1 - difference)))
    return (2 * difference + c - math.sqrt(discriminant)) / (2 * (1 + c))


def holm(p_values: Sequence[float] | Floats) -> Floats:
    """Return adjusted p values in the same order (Holm 1979): at most alpha where significant among all of them."""
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted


def holm_cutoff(p_values: Floats, alpha: float = ALPHA) -> float:
    """Return the p up to which Holm's method finds a difference significant; below 0 where it finds none."""
    p = np.sort(p_values)
    limits = alpha / np.arange(len(p), 0, -1)
    passed = int(np.cumprod(p <= limits).sum())
    return float(limits[passed - 1]) if passed else -1.0
