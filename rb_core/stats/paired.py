"""Compare two models on the same examples.

Models are compared example by example, so that examples that are hard for both do not blur the difference. The units
are groups of examples (by default: with the same prompt). One test serves the headline, sections, subsets and the line
of all examples.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from rb_core.benchmarks.spec import BenchmarkSpec
from rb_core.errors import DataError
from rb_core.results.estimate import Estimate
from rb_core.stats.composition import Value, compose, compose_sections
from rb_core.stats.intervals import TOO_FEW_GROUPS, WeightedMean, unscored_error, weighted_mean
from rb_core.stats.item_outcomes import Flags, Floats, ItemOutcomes
from rb_core.stats.metrics.base import Combination, Measure
from rb_core.stats.significance import DETECTABLE_ERRORS, difference_interval, difference_p

Pair = tuple[Measure, Measure]  # of the two models
# The combination of measures that a difference is, from the values of both models.
Combine = Callable[[Value, Value], Combination]


@dataclass(frozen=True)
class PairedDifference:
    """Model a's score minus model b's.

    difference: on the examples that both scored; floor and ceiling: the smallest and largest difference that the
    unscored examples allow; p: two-sided, with unscored examples counted against the model that is ahead; both, only_a,
    only_b, neither: numbers of examples by which model earned full credit; detectable: the difference that as many
    examples show with 80% power; further: how many more examples would show this difference with 80% power, 0 when
    they do already, None for no difference.
    """

    difference: Estimate
    p: float
    both: int
    only_a: int
    only_b: int
    neither: int
    detectable: float
    further: int | None


@dataclass(frozen=True)
class PairedComparison:
    """Model a against model b on a benchmark.

    score: the headline, composed of the sections that the common examples give (published outcomes lack Prior Sets, so
    that it can differ from the board's); None when a required section is missing; examples: all examples with equal
    weights; common: number of examples that both scored; left_out: number that only one scored.
    """

    a: str
    b: str
    score: PairedDifference | None
    sections: dict[str, PairedDifference]
    subsets: dict[str, PairedDifference]
    examples: PairedDifference | None
    common: int
    left_out: int


def align(a: ItemOutcomes, b: ItemOutcomes) -> tuple[ItemOutcomes, ItemOutcomes]:
    """Return the examples that both have, in a's order, with the groups of the one whose prompts are known.

    Raises DataError for outcomes of different benchmarks, and when the same id is in different subsets.
    """
    if a.benchmark != b.benchmark:
        raise DataError(f"{a.model} was scored on {a.benchmark} and {b.model} on {b.benchmark}: nothing to pair")
    _, rows_a, rows_b = np.intersect1d(a.example_ids, b.example_ids, assume_unique=True, return_indices=True)
    order = np.argsort(rows_a, kind="stable")
    left, right = a.take(rows_a[order]), b.take(rows_b[order])
    if differing := np.flatnonzero(left.subsets != right.subsets).tolist():
        name = left.example_ids[differing[0]]
        raise DataError(f"{a.model} and {b.model}: example {name} is in different subsets; their data differ")
    groups = left.groups if a.prompts_known else right.groups
    return replace(left, groups=groups), replace(right, groups=groups)


def compare_outcomes(a: ItemOutcomes, b: ItemOutcomes, spec: BenchmarkSpec) -> PairedComparison:
    """Compare two models by the benchmark's spec. Raises DataError when the outcomes cannot be paired."""
    left, right = align(a, b)
    scores_a, scores_b = compose(left, spec), compose(right, spec)
    subsets = {name: c for name, c in scores_a.subsets.items() if name in scores_b.subsets}
    spec = scores_a.spec
    members = {section.name: list(section.weights) for section in spec.sections}
    measures = {
        name: (m, scores_b.measures[name]) for name, m in scores_a.measures.items() if name in scores_b.measures
    }

    def compare(combine: Combine, rows: Flags) -> PairedDifference | None:
        return _compare_measures(measures, combine, left.credits[rows], right.credits[rows])

    def section(name: str) -> Combine:
        return lambda a, b: compose_sections(subsets, spec, a, b)[0][name]

    sections, headline = compose_sections(subsets, spec, scores_a.value, scores_b.value)
    everything = np.ones(len(left), dtype=bool)
    credit = Measure(left.credits, left.groups), Measure(right.credits, right.groups)
    common = int((left.scored & right.scored).sum())
    return PairedComparison(
        a=a.model,
        b=b.model,
        score=None
        if headline is None
        else compare(lambda a, b: compose_sections(subsets, spec, a, b)[1] or {}, everything),
        sections=_known({name: compare(section(name), np.isin(left.subsets, members[name])) for name in sections}),
        subsets=_known({name: compare(_always(c), left.subsets == name) for name, c in subsets.items()}),
        examples=_compare_measures({"credit": credit}, _always({"credit": 1.0}), left.credits, right.credits),
        common=common,
        left_out=int(a.scored.sum() + b.scored.sum()) - 2 * common,
    )


def _always(combination: Combination) -> Combine:
    return lambda a, b: combination


def _known(differences: Mapping[str, PairedDifference | None]) -> dict[str, PairedDifference]:
    return {name: difference for name, difference in differences.items() if difference is not None}


def _compare_measures(
    measures: Mapping[str, Pair], combine: Combine, credits_a: Floats, credits_b: Floats
) -> PairedDifference | None:
    """Return the difference of a combination of measures of two models; None when they have no common scores."""
    scored, combination = _mean_difference({name: _common(*pair) for name, pair in measures.items()}, combine)
    if math.isnan(scored.value):
        return None
    lowest, highest, error = scored, scored, 0.0
    if any(np.isnan(measure.values).any() for name in combination for measure in measures[name]):
        low = {name: (a.filled(a.lowest), b.filled(1.0)) for name, (a, b) in measures.items()}
        high = {name: (a.filled(1.0), b.filled(b.lowest)) for name, (a, b) in measures.items()}
        (lowest, at_low), (highest, at_high) = (_mean_difference(filled, combine) for filled in (low, high))
        error = max(_unscored_error(measures, factors) for factors in (combination, at_low, at_high))
    common = ~np.isnan(credits_a) & ~np.isnan(credits_b)
    full_a, full_b = credits_a[common] >= 1.0, credits_b[common] >= 1.0
    # Between the bounds of the difference, the one that is nearest to none.
    nearest = max(lowest.value, min(0.0, highest.value))
    bound = lowest if lowest.value > 0 else highest
    variance = (math.sqrt(bound.variance) + error) ** 2
    stderr = math.sqrt(max(scored.variance, scored.num_groups**-2))  # at least that of one example that only one got
    size = int(common.sum())
    return PairedDifference(
        difference=_estimate(scored, size, lowest.value, highest.value),
        p=difference_p(nearest, variance, bound.num_groups),
        both=int((full_a & full_b).sum()),
        only_a=int((full_a & ~full_b).sum()),
        only_b=int((~full_a & full_b).sum()),
        neither=int((~full_a & ~full_b).sum()),
        detectable=DETECTABLE_ERRORS * stderr,
        further=further_examples(scored.value, stderr, size),
    )


def _unscored_error(measures: Mapping[str, Pair], combination: Combination) -> float:
    """Return an upper bound of the change of the standard error when the unscored examples of both get any value."""
    return sum(unscored_error({name: measures[name][side] for name in combination}, combination) for side in (0, 1))


def _mean_difference(pairs: Mapping[str, Pair], combine: Combine) -> tuple[WeightedMean, Combination]:
    """Return the difference of a combination of measures, and the combination."""

    def value_of(side: int) -> Value:
        return lambda combination: sum(factor * pairs[name][side].mean for name, factor in combination.items())

    combination = combine(value_of(0), value_of(1))
    return weighted_mean({name: _difference(*pairs[name]) for name in combination}, combination), combination


def _common(a: Measure, b: Measure) -> Pair:
    """Return the measures on the examples that both models scored."""
    unscored = np.isnan(a.values) | np.isnan(b.values)
    return replace(a, values=np.where(unscored, np.nan, a.values)), replace(
        b, values=np.where(unscored, np.nan, b.values)
    )


def _difference(a: Measure, b: Measure) -> Measure:
    return Measure(a.values - b.values, a.groups, lowest=a.lowest - 1.0)


def _estimate(mean: WeightedMean, scored: int, floor: float, ceiling: float) -> Estimate:
    estimate = Estimate(value=mean.value, scored=scored, floor=floor, ceiling=ceiling)
    ends = difference_interval(mean.value, mean.variance, mean.num_groups)
    if ends is None:
        return estimate.model_copy(update={"no_interval": TOO_FEW_GROUPS})
    lowest = mean.value_range[0]  # a difference has the opposite number as its largest value
    low, high = max(ends[0], lowest), min(ends[1], -lowest)
    stderr = math.sqrt(mean.variance)
    return estimate.model_copy(update={"stderr": stderr, "low": low, "high": high, "method": "score"})


def further_examples(difference: float, stderr: float, examples: int) -> int | None:
    """Return the number of further examples that would show a difference with 80% power; None for no difference."""
    if difference == 0:
        return None
    return max(0, math.ceil(examples * ((DETECTABLE_ERRORS * stderr / difference) ** 2 - 1)))
