"""Estimates of weighted sums of means, with 95% intervals."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

Z95 = NormalDist().inv_cdf(0.975)


REPLICATES = 2000


Floats = np.ndarray[tuple[int, ...], np.dtype[np.float64]]


# Measures: per-example values whose means everything is composed of


@dataclass(frozen=True)
class Measure:
    """Values to be averaged, NaN where unscored, each with the group it is resampled with.

    lowest, highest: the range of a value, for the bounds; simple: an accuracy of independent examples, for which
    Wilson's interval holds; ties: tied examples among them.
    """

    values: Floats
    groups: tuple[str, ...]
    ties: int = 0
    lowest: float = 0.0
    simple: bool = False

    @property
    def scored(self) -> int:
        return int((~np.isnan(self.values)).sum())

    @property
    def mean(self) -> float:
        return float(np.nanmean(self.values)) if self.scored else math.nan

    def bound(self, value: float) -> float:
        """The mean if every unscored example had had this value."""
        return float(np.where(np.isnan(self.values), value, self.values).mean())


Combination = Mapping[str, float]  # measure -> coefficient


def wilson(share: float, n: int) -> tuple[float, float]:
    """The 95% Wilson score interval of a share of n (Wilson 1927, doi:10.1080/01621459.1927.10502953)."""
    z2 = Z95 * Z95
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = Z95 / (1 + z2 / n) * math.sqrt(max(share * (1 - share), 0.0) / n + z2 / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)


def bootstrap(measures: Mapping[str, Measure], seed: int, replicates: int = REPLICATES) -> dict[str, Floats]:
    """Means of every measure in each replicate, from groups drawn with replacement.

    Groups are drawn within strata, groups that contribute to the same measures, so that every replicate has each
    subset at its own size. Returns measure -> (replicates,) array; NaN where a replicate drew nothing scored.
    """
    names = list(measures)
    sums, counts, strata = _group_sums(measures, names)
    rng = np.random.default_rng(seed)
    total, number = (np.zeros((replicates, len(names))) for _ in range(2))
    for members in strata:
        n = len(members)
        step = max(1, 4_000_000 // n)  # bounds the weights held at once
        for begin in range(0, replicates, step):
            rows = slice(begin, min(begin + step, replicates))
            weights = rng.multinomial(n, np.full(n, 1.0 / n), size=rows.stop - rows.start).astype(np.float64)
            total[rows] += weights @ sums[members]
            number[rows] += weights @ counts[members]
    with np.errstate(invalid="ignore"):
        means = total / number
    return {name: means[:, column] for column, name in enumerate(names)}


def _group_sums(measures: Mapping[str, Measure], names: list[str]) -> tuple[Floats, Floats, list[list[int]]]:
    """Per group and measure the sum and the number of scored values; and the groups of each stratum."""
    index: dict[str, int] = {}
    for name in names:
        for group in measures[name].groups:
            index.setdefault(group, len(index))
    sums, counts = np.zeros((len(index), len(names))), np.zeros((len(index), len(names)))
    touched = np.zeros((len(index), len(names)), dtype=bool)
    for column, name in enumerate(names):
        rows = np.array([index[group] for group in measures[name].groups], dtype=np.int64)
        kept = ~np.isnan(measures[name].values)
        np.add.at(sums[:, column], rows[kept], measures[name].values[kept])
        np.add.at(counts[:, column], rows[kept], 1.0)
        touched[rows, column] = True
    strata: dict[bytes, list[int]] = {}
    for row in range(len(index)):
        strata.setdefault(touched[row].tobytes(), []).append(row)
    return sums, counts, list(strata.values())


def compose(weights: Mapping[str, float], parts: Mapping[str, Combination]) -> Combination:
    """The weighted mean of combinations, as one combination."""
    total = sum(weights.values())
    composed: dict[str, float] = {}
    for name, weight in weights.items():
        for measure, coefficient in parts[name].items():
            composed[measure] = composed.get(measure, 0.0) + weight / total * coefficient
    return composed
