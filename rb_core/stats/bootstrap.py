"""Intervals of statistics that are not means, such as coefficients of agreement and of correlation."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pandas as pd

from rb_core.results.estimate import Estimate
from rb_core.stats.intervals import estimate_of
from rb_core.stats.item_outcomes import Rows, Strings

_NUM_SAMPLES = 200
NOT_DEFINED = "not defined in samples of the items"


def bootstrap_estimate(
    statistic: Callable[[Rows], float],
    groups: Strings,
    value_range: tuple[float, float] = (-1.0, 1.0),
    *,
    informative: float = 1.0,
) -> Estimate:
    """Return a statistic with its variance over samples of groups with replacement (Efron 1979).

    The interval is that of a mean with this variance, from as many independent groups; the same items give the same
    interval.

    Args:
        statistic: returns the value on the items with these indices; NaN where it is not defined.
        groups: items of one group are not independent.
        value_range: smallest and largest possible value.
        informative: share of the groups that count as independent, below 1 for a comparison of unequally many items.
    """
    whole = statistic(np.arange(len(groups)))
    if math.isnan(whole):
        return Estimate()
    codes, names = pd.factorize(groups.astype(object))
    rng = np.random.default_rng(0)
    values = []
    for _ in range(_NUM_SAMPLES):
        drawn = np.bincount(rng.integers(len(names), size=len(names)), minlength=len(names))
        values.append(statistic(np.repeat(np.arange(len(groups)), drawn[codes])))
    defined = np.array(values)[~np.isnan(values)]
    if len(defined) < _NUM_SAMPLES / 2:
        return Estimate(value=whole, no_interval=NOT_DEFINED)
    num_groups = informative / float(((np.bincount(codes) / len(groups)) ** 2).sum())
    variance = float(np.var(defined)) * len(names) / max(1, len(names) - 1)
    return estimate_of(whole, variance, num_groups, value_range, method="beta")
