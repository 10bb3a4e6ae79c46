"""Estimates of weighted sums of means, with 95% intervals.

One method serves every score: an accuracy, a composed headline, a share of a judge's verdicts, a published accuracy.
The sampling units are groups of examples (by default: examples with the same prompt), and an interval is a pair of
quantiles of a beta distribution; see `interval`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.special import betaincinv

from rb_core.results.estimate import Estimate, Method
from rb_core.stats.item_outcomes import Codes, Floats, Strings
from rb_core.stats.metrics.base import Combination, Measure

MIN_GROUPS = 2.0
TOO_FEW_GROUPS = "too few independent prompts"
# Prior groups at the end of the range that a limit guards against, and at the opposite end. tests/perf/coverage.py
# compares choices: (1, 0) is Clopper and Pearson's interval, which is too wide for groups of examples; (0.5, 0.5) is
# Jeffreys's, which covers down to 90% near 0 and 1.
_PRIOR = (0.75, 0.3)


def interval(
    value: float,
    variance: float,
    num_groups: float,
    value_range: tuple[float, float] = (0.0, 1.0),
    *,
    tail: float = 0.025,
) -> tuple[float, float]:
    """Return the 95% interval of a mean of independent groups, or of a weighted sum of such means.

    Each limit is a quantile of the beta distribution that has the mean and the variance of the posterior under a
    Dirichlet prior (Ferguson 1973, doi:10.1214/aos/1176342360): the observed groups, and about one prior group, most of
    it at the end of the range that the limit guards against. So an interval is never empty, also where all groups have
    the same value. For right and wrong answers that are independent it lies between the intervals of Jeffreys and of
    Clopper and Pearson (Brown, Cai and DasGupta 2001, doi:10.1214/ss/1009213286).

    Args:
        value: the mean.
        variance: its squared standard error.
        num_groups: effective number of independent groups, at least 1: 1 / (sum of squared shares of the groups).
        value_range: smallest and largest possible value of a group.
        tail: probability beyond each limit; with another than 2.5% it is not the 95% interval.
    """
    strong, weak = _PRIOR
    lowest, highest = value_range
    below = _posterior(value, variance, num_groups, value_range, at_low=strong, at_high=weak)
    above = _posterior(value, variance, num_groups, value_range, at_low=weak, at_high=strong)
    nearest = min(max(value, lowest), highest)  # next to an end of the range the quantiles may leave it out
    low, high = (
        lowest + quantile * (highest - lowest) for quantile in (below.quantile(tail), above.quantile(1 - tail))
    )
    return min(low, nearest), max(high, nearest)


def standard_error(
    value: float, variance: float, num_groups: float, value_range: tuple[float, float] = (0.0, 1.0)
) -> float:
    """Return the standard deviation of the posterior with one prior group, half of it at each end; never 0."""
    posterior = _posterior(value, variance, num_groups, value_range, at_low=0.5, at_high=0.5)
    return posterior.deviation * (value_range[1] - value_range[0])


class _Beta(NamedTuple):
    """A beta distribution."""

    a: float
    b: float

    @property
    def deviation(self) -> float:
        size = self.a + self.b
        return math.sqrt(self.a * self.b / (size + 1)) / size

    def quantile(self, probability: float) -> float:
        return float(betaincinv(self.a, self.b, probability))


def _posterior(
    value: float, variance: float, num_groups: float, value_range: tuple[float, float], *, at_low: float, at_high: float
) -> _Beta:
    """Return the distribution of the mean on the range scaled to 0 to 1, from prior groups at its ends."""
    lowest, highest = value_range
    share = min(max((value - lowest) / (highest - lowest), 0.0), 1.0)
    scatter = max(num_groups - 1, 0.0) * variance / (highest - lowest) ** 2  # mean squared deviation of the groups
    total = num_groups + at_low + at_high
    mean = (num_groups * share + at_high) / total
    spread = (num_groups * (scatter + share**2) + at_high) / total - mean**2
    size = max(mean * (1 - mean) * (total + 1) / spread - 1, 1e-9)
    return _Beta(mean * size, (1 - mean) * size)


def proportion_estimate(share: float, num_trials: float, scored: int | None = None) -> Estimate:
    """Return the estimate of a share of independent trials of which nothing but their number is known."""
    variance = max(share * (1 - share), 0.0) / num_trials
    return estimate_of(share, variance, num_trials, method="binomial", scored=scored)


def estimate_of(
    value: float,
    variance: float,
    num_groups: float,
    value_range: tuple[float, float] = (0.0, 1.0),
    *,
    method: Method,
    **counts: Any,
) -> Estimate:
    """Return a value with its standard error and interval. counts: further fields of the estimate."""
    if math.isnan(value):
        return Estimate(**counts)
    if num_groups < MIN_GROUPS:
        return Estimate(value=value, no_interval=TOO_FEW_GROUPS, **counts)
    low, high = interval(value, variance, num_groups, value_range)
    stderr = standard_error(value, variance, num_groups, value_range)
    return Estimate(value=value, stderr=stderr, low=low, high=high, method=method, **counts)


@dataclass(frozen=True)
class WeightedMean:
    """A weighted sum of means of groups.

    variance: squared standard error, by `group_sums`; num_groups: effective number of independent groups, 1 / (sum of
    squared shares); floor, ceiling: the value if every unscored example had the smallest, or the largest, value.
    """

    value: float
    variance: float
    num_groups: float
    value_range: tuple[float, float]
    floor: float
    ceiling: float

    def estimate(self, **counts: Any) -> Estimate:
        """Return the estimate with its bounds. counts: further fields of the estimate."""
        counts |= {"floor": self.floor, "ceiling": self.ceiling}
        return estimate_of(self.value, self.variance, self.num_groups, self.value_range, method="beta", **counts)


def weighted_mean(measures: Mapping[str, Measure], combination: Combination) -> WeightedMean:
    """Return the weighted sum of the means of measures; its value is NaN when one of them has no score."""
    parts = [(measures[name], coefficient) for name, coefficient in combination.items()]
    sums = group_sums(measures, combination)
    return WeightedMean(
        value=sum(coefficient * measure.mean for measure, coefficient in parts),
        variance=float((sums.deviations**2).sum()),
        num_groups=1.0 / float((sums.shares**2).sum() or math.inf),
        value_range=(sum(c * measure.lowest for measure, c in parts), sum(c for _, c in parts)),
        floor=sum(c * measure.bound(measure.lowest) for measure, c in parts),
        ceiling=sum(c * measure.bound(1.0) for measure, c in parts),
    )


class GroupSums(NamedTuple):
    """The contributions of each group to a weighted sum of means; arrays with an entry per group.

    deviations: to the difference from its expected value; their sum of squares is the variance; shares: to the weights,
    which add up to 1.
    """

    names: Strings
    deviations: Floats
    shares: Floats


def group_sums(measures: Mapping[str, Measure], combination: Combination) -> GroupSums:
    """Return the sums of coefficient x (value - mean) / number of values over all values of a group, in all measures.

    So a prompt may be in several subsets. In a measure of G groups deviations are multiplied by sqrt(G / (G - 1)). A
    measure with one group has no deviation of its own: the mean of all measures takes the place of its mean.
    """
    parts = [(measures[name], coefficient) for name, coefficient in combination.items()]
    total = sum(coefficient for _, coefficient in parts)
    overall = sum(coefficient * measure.mean for measure, coefficient in parts) / total
    codes, names = group_codes([measure.groups for measure, _ in parts])
    deviations, shares = np.zeros(len(names)), np.zeros(len(names))
    for (measure, coefficient), rows in zip(parts, codes, strict=True):
        scored = ~np.isnan(measure.values)
        factor, groups = coefficient / max(1, measure.scored), rows[scored]
        sizes = np.bincount(groups, minlength=len(names))
        centre = measure.mean if np.count_nonzero(sizes) > 1 else overall
        deviation = factor * _correction(sizes) * (measure.values[scored] - centre)
        deviations += np.bincount(groups, weights=deviation, minlength=len(names))
        shares += sizes * factor / total
    return GroupSums(names, deviations, shares)


def stderr_change(measures: Mapping[str, Measure], combination: Combination) -> float:
    """Return an upper bound of the difference of the standard errors with and without the unscored examples."""
    filled = {name: measure.filled(measure.lowest) for name, measure in measures.items() if name in combination}
    with_failures, scored = (math.sqrt(weighted_mean(m, combination).variance) for m in (filled, measures))
    return abs(with_failures - scored) + unscored_error(measures, combination)


def unscored_error(measures: Mapping[str, Measure], combination: Combination) -> float:
    """Return an upper bound of the change of a standard error when unscored examples get any possible value.

    By the triangle inequality it is the norm of the largest contributions of these examples to groups and means.
    """
    if all(measures[name].scored == len(measures[name].values) for name in combination):
        return 0.0
    parts = [(measures[name], coefficient) for name, coefficient in combination.items()]
    codes, names = group_codes([measure.groups for measure, _ in parts])
    added, means = np.zeros(len(names)), 0.0
    for (measure, coefficient), rows in zip(parts, codes, strict=True):
        sizes = np.bincount(rows, minlength=len(names))
        most = np.isnan(measure.values) * abs(coefficient) * (1.0 - measure.lowest) / len(rows) * _correction(sizes)
        added += np.bincount(rows, weights=most, minlength=len(names))
        means += (float(most.sum()) * float(np.linalg.norm(sizes)) / len(rows)) ** 2
    return float(np.linalg.norm(added)) + math.sqrt(means)


def _correction(sizes: Codes) -> float:
    """Return sqrt(G / (G - 1)) for G groups with values, which makes a variance unbiased; 1 for one group."""
    groups = np.count_nonzero(sizes)
    return math.sqrt(groups / (groups - 1)) if groups > 1 else 1.0


def mean_estimate(values: Floats, groups: Strings, lowest: float = 0.0, **counts: Any) -> Estimate:
    """Return the mean of values from `lowest` to 1 (NaN where unscored) with its interval; groups are independent."""
    measure = Measure(values, groups, lowest)
    counts = {"scored": measure.scored, "unscored": len(values) - measure.scored} | counts
    return weighted_mean({"mean": measure}, {"mean": 1.0}).estimate(**counts)


def group_codes(groups: Sequence[Strings]) -> tuple[list[Codes], Strings]:
    """Number the distinct groups in several arrays from 0, in order of appearance; returns codes and their names."""
    if len(groups) > 1 and all(np.array_equal(groups[0], others) for others in groups[1:]):
        (codes,), names = group_codes(groups[:1])
        return [codes] * len(groups), names
    codes, names = pd.factorize(np.concatenate(groups).astype(object))
    ends = np.cumsum([len(array) for array in groups])
    return np.split(codes, ends[:-1]), np.asarray(names, dtype=np.str_)
