"""Estimates of weighted sums of means, with 95% intervals."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import pandas as pd

from rb_core.results.estimate import Estimate, Method
from rb_core.stats.item_outcomes import Codes, Flags, Floats, ItemOutcomes, Strings
from rb_core.stats.metrics.base import Combination, Measure

Z95 = NormalDist().inv_cdf(0.975)
REPLICATES = 2000
_MAX_WEIGHTS = 4_000_000  # resampling weights held in memory at once


def wilson(share: float, n: int) -> tuple[float, float]:
    """Return the 95% Wilson score interval of a share of n (Wilson 1927, doi:10.1080/01621459.1927.10502953)."""
    z2 = Z95 * Z95
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = Z95 / (1 + z2 / n) * math.sqrt(max(share * (1 - share), 0.0) / n + z2 / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)


def wilson_estimate(share: float, n: int, scored: int | None = None) -> Estimate:
    """Return a share of n independent examples with its binomial standard error and Wilson's interval."""
    low, high = wilson(share, n)
    stderr = math.sqrt(share * (1 - share) / n)
    return Estimate(value=share, stderr=stderr, low=low, high=high, method="wilson", scored=scored)


def bootstrap(measures: Mapping[str, Measure], seed: int, replicates: int = REPLICATES) -> dict[str, Floats]:
    """Return the mean of each measure in each replicate, from groups drawn with replacement.

    Groups are drawn within strata (groups that contribute to the same measures), so that every replicate has each
    subset at its own size. Returns measure -> (replicates,) array; NaN where a replicate drew nothing scored.
    """
    if not measures:
        return {}
    codes, num_groups = group_codes([measure.groups for measure in measures.values()])
    sums, counts = np.zeros((num_groups, len(measures))), np.zeros((num_groups, len(measures)))
    for column, (measure, group) in enumerate(zip(measures.values(), codes, strict=True)):
        scored = ~np.isnan(measure.values)
        np.add.at(sums[:, column], group[scored], measure.values[scored])
        np.add.at(counts[:, column], group[scored], 1.0)
    rng = np.random.default_rng(seed)
    total, number = (np.zeros((replicates, len(measures))) for _ in range(2))
    for members in group_strata(codes, num_groups):
        n = len(members)
        step = max(1, _MAX_WEIGHTS // n)
        for begin in range(0, replicates, step):
            rows = slice(begin, min(begin + step, replicates))
            weights = rng.multinomial(n, np.full(n, 1.0 / n), size=rows.stop - rows.start).astype(np.float64)
            total[rows] += weights @ sums[members]
            number[rows] += weights @ counts[members]
    with np.errstate(invalid="ignore"):
        means = total / number
    return {name: means[:, column] for column, name in enumerate(measures)}


def group_codes(groups: Sequence[Strings]) -> tuple[list[Codes], int]:
    """Number the distinct groups in several arrays from 0, in order of appearance; returns codes and their number."""
    codes, distinct = pd.factorize(np.concatenate(groups).astype(object))
    ends = np.cumsum([len(array) for array in groups])
    return np.split(codes, ends[:-1]), len(distinct)


def group_strata(codes: Sequence[Codes], num_groups: int) -> list[list[int]]:
    """Return the groups of each stratum: those that occur in the same arrays."""
    occurs = np.zeros((num_groups, len(codes)), dtype=bool)
    for column, rows in enumerate(codes):
        occurs[rows, column] = True
    strata: dict[bytes, list[int]] = {}
    for group, row in enumerate(occurs):
        strata.setdefault(row.tobytes(), []).append(group)
    return list(strata.values())


def percentile_interval(draws: Floats) -> tuple[float, float, float]:
    """Return standard error and 95% percentile interval of bootstrap draws: (stderr, low, high)."""
    low, high = np.percentile(draws, (2.5, 97.5))
    return float(draws.std(ddof=1)), float(low), float(high)


def bootstrap_estimate(value: float, draws: Floats, scored: int) -> Estimate:
    """Return a value with the interval of its bootstrap draws; without one when no draw differs from another."""
    if draws.min() == draws.max():
        return Estimate(value=value, scored=scored)
    stderr, low, high = percentile_interval(draws)
    return Estimate(value=value, stderr=stderr, low=low, high=high, method="bootstrap", scored=scored)


@dataclass(frozen=True)
class Estimator:
    """Estimates of combinations of measures, all from the same bootstrap draws."""

    outcomes: ItemOutcomes
    measures: Mapping[str, Measure]
    draws: Mapping[str, Floats]

    def estimate(self, combination: Combination, rows: Flags) -> Estimate:
        """Return the weighted sum of means, with counts over the examples in `rows` (a mask)."""
        parts = [(self.measures[name], weight) for name, weight in combination.items()]
        value = sum(weight * measure.mean for measure, weight in parts)
        stderr, low, high, method = self._interval(combination, value)
        scored = int(self.outcomes.scored[rows].sum())
        return Estimate(
            value=_none_if_nan(value),
            stderr=_none_if_nan(stderr),
            low=_none_if_nan(low),
            high=_none_if_nan(high),
            method=method,
            scored=scored,
            unscored=int(rows.sum()) - scored,
            ties=0 if self.outcomes.tied is None else int(self.outcomes.tied[rows].sum()),
            floor=sum(weight * measure.bound(measure.lowest) for measure, weight in parts),
            ceiling=sum(weight * measure.bound(1.0) for measure, weight in parts),
        )

    def _interval(self, combination: Combination, value: float) -> tuple[float, float, float, Method]:
        if math.isnan(value):
            return math.nan, math.nan, math.nan, "none"
        first = self.measures[next(iter(combination))]
        if len(combination) == 1 and first.is_proportion and first.independent:
            n = first.scored
            spread = float(np.nanstd(first.values, ddof=1)) if n > 1 else math.nan
            return spread / math.sqrt(n), *wilson(value, n), "wilson"
        draws = sum((weight * self.draws[name] for name, weight in combination.items()), np.zeros(()))
        draws = draws[~np.isnan(draws)]
        if len(draws) < 2:
            return math.nan, math.nan, math.nan, "none"
        return *percentile_interval(draws), "bootstrap"


def _none_if_nan(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
