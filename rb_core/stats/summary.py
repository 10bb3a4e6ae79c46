"""Compute every estimate of a score table."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from rb_core.benchmarks.spec import BenchmarkSpec, Section
from rb_core.results.estimate import Counts, Estimate, Margins, Matrix, Method
from rb_core.stats.intervals import Combination, Floats, Measure, bootstrap, compose, wilson
from rb_core.stats.metrics import TIES_WEIGHTS, Outcome, credit_measure, outcomes, ties_measures, wins_matrix


class Metrics(NamedTuple):
    """Everything a score table says about a model on a benchmark."""

    headline: Estimate | None
    sections: dict[str, Estimate]
    subsets: dict[str, Estimate]
    absent: dict[str, str]
    length: dict[str, Estimate]
    matrices: dict[str, Matrix]
    margins: Margins | None
    counts: Counts


@dataclass(frozen=True)
class Estimator:
    """Turns combinations of measures into estimates, all from the same bootstrap draws."""

    measures: Mapping[str, Measure]
    draws: Mapping[str, Floats]

    def __call__(self, combination: Combination, *, examples: Sequence[Outcome]) -> Estimate:
        """The weighted sum of means, with counts over `examples`."""
        scored = sum(e.scored for e in examples)
        parts = [(self.measures[name], weight) for name, weight in combination.items()]
        value = sum(weight * measure.mean for measure, weight in parts)
        stderr, low, high, method = self._interval(combination, value)
        return Estimate(
            value=number_or_none(value),
            stderr=number_or_none(stderr),
            low=number_or_none(low),
            high=number_or_none(high),
            method=method,
            scored=scored,
            unscored=len(examples) - scored,
            ties=sum(e.tied for e in examples),
            floor=sum(weight * measure.bound(measure.lowest) for measure, weight in parts),
            ceiling=sum(weight * measure.bound(1.0) for measure, weight in parts),
        )

    def _interval(self, combination: Combination, value: float) -> tuple[float, float, float, Method]:
        if math.isnan(value):
            return math.nan, math.nan, math.nan, "none"
        first = self.measures[next(iter(combination))]
        if len(combination) == 1 and first.simple:
            n = first.scored
            spread = float(np.nanstd(first.values, ddof=1)) if n > 1 else math.nan
            return spread / math.sqrt(n), *wilson(value, n), "wilson"
        draws = sum((weight * self.draws[name] for name, weight in combination.items()), np.zeros(()))
        draws = draws[~np.isnan(draws)]
        if len(draws) < 2:
            return math.nan, math.nan, math.nan, "none"
        low, high = np.percentile(draws, (2.5, 97.5))
        return float(draws.std(ddof=1)), float(low), float(high), "bootstrap"


def number_or_none(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


# The whole


def compute(scores: pd.DataFrame, spec: BenchmarkSpec, seed: int = 0) -> Metrics:
    """Every estimate of a score table by the benchmark's record. `seed` fixes the bootstrap's draws."""
    found = outcomes(scores, spec)
    by_subset: dict[str, list[Outcome]] = {s.name: [] for s in spec.subsets}
    for outcome in found:
        by_subset[outcome.subset].append(outcome)
    by_subset = {name: examples for name, examples in by_subset.items() if examples}
    measures, combinations = _subset_measures(by_subset, spec)
    present, absent = _present(by_subset, spec, combinations)
    cells = _cell_measures(by_subset, spec)
    length = _length_measures(found, spec)
    # The strata of one bootstrap follow from its measures. Lengths get their own: strata that split a subset by length
    # would hold fixed what the subset's interval is about.
    draws = {**bootstrap({**measures, **cells}, seed), **bootstrap(length, seed)}
    estimator = Estimator({**measures, **cells, **length}, draws)
    sections = {section.name: compose(section.weights, combinations) for section in present}
    headline = None
    if "headline" not in absent:
        weights = {section.name: section.headline_weight for section in present}
        counted = [e for section in present for name in section.weights for e in by_subset[name]]
        headline = estimator(compose(weights, sections), examples=counted)
    members = {s.name: [e for name in s.weights for e in by_subset[name]] for s in present}
    return Metrics(
        headline=headline,
        sections={name: estimator(c, examples=members[name]) for name, c in sections.items()},
        subsets={name: estimator(c, examples=by_subset[name]) for name, c in combinations.items()},
        absent=absent,
        length={
            name: estimator({name: 1.0}, examples=_of_length(found, spec, sign))
            for name, sign in _LENGTHS.items()
            if name in length
        },
        matrices=_matrices(estimator, present, by_subset, spec, complete="headline" not in absent),
        margins=_margins(found),
        counts=_counts(scores, found),
    )


def subset_values(scores: pd.DataFrame, spec: BenchmarkSpec) -> dict[str, float]:
    """The subsets' scores alone, without intervals; NaN where nothing was scored."""
    by_subset: dict[str, list[Outcome]] = {}
    for outcome in outcomes(scores, spec):
        by_subset.setdefault(outcome.subset, []).append(outcome)
    measures, combinations = _subset_measures(by_subset, spec)
    return {
        name: sum(weight * measures[part].mean for part, weight in combination.items())
        for name, combination in combinations.items()
    }


def _subset_measures(
    by_subset: Mapping[str, list[Outcome]], spec: BenchmarkSpec
) -> tuple[dict[str, Measure], dict[str, Combination]]:
    measures: dict[str, Measure] = {}
    combinations: dict[str, Combination] = {}
    for name, examples in by_subset.items():
        metric = spec.metric_of(name)
        if metric == "ties":
            parts = {f"{name}/{part}": measure for part, measure in ties_measures(examples).items()}
            if any(len(measure.values) == 0 for measure in parts.values()):
                continue  # one of the two versions is not in the data: there is no composite
            measures |= parts
            combinations[name] = {f"{name}/{part}": weight for part, weight in TIES_WEIGHTS.items()}
        else:
            measures[name] = credit_measure(examples, simple=metric == "accuracy")
            combinations[name] = {name: 1.0}
    return measures, combinations


def _present(
    by_subset: Mapping[str, list[Outcome]], spec: BenchmarkSpec, combinations: Mapping[str, Combination]
) -> tuple[list[Section], dict[str, str]]:
    """The sections whose every subset has a score, and why the others, and the headline, are absent."""
    present, absent = [], {}
    for section in spec.sections:
        if missing := [name for name in section.weights if name not in by_subset]:
            absent[section.name] = f"no examples of {', '.join(missing)}"
        elif incomplete := [name for name in section.weights if name not in combinations]:
            absent[section.name] = f"{', '.join(incomplete)} lacks the ref or the tied versions"
        else:
            present.append(section)
    if required := [s.name for s in spec.sections if s.required and s.name in absent]:
        absent["headline"] = f"without {', '.join(required)}"
    return present, absent


_LENGTHS = {"chosen longer": 1, "chosen shorter": -1}


def _of_length(found: Sequence[Outcome], spec: BenchmarkSpec, sign: int) -> list[Outcome]:
    return [e for e in found if e.longer == sign and spec.metric_of(e.subset) != "ties"]


def _length_measures(found: Sequence[Outcome], spec: BenchmarkSpec) -> dict[str, Measure]:
    """Accuracy where the chosen completions are longer, and where they are shorter: a model that counts words shows."""
    return {
        name: credit_measure(examples) for name, sign in _LENGTHS.items() if (examples := _of_length(found, spec, sign))
    }


def _cell_measures(by_subset: Mapping[str, list[Outcome]], spec: BenchmarkSpec) -> dict[str, Measure]:
    measures: dict[str, Measure] = {}
    size = range(len(spec.style_levels))
    for name, examples in by_subset.items():
        if spec.metric_of(name) != "matrix":
            continue
        wins = np.stack([wins_matrix(e.chosen, e.rejected, spec.tie_credit) for e in examples])
        groups = tuple(e.group for e in examples)
        measures |= {_cell(name, i, j): Measure(wins[:, i, j], groups) for i in size for j in size}
    return measures


def _cell(subset: str, i: int, j: int) -> str:
    return f"{subset}/{i}>{j}"


def _matrices(
    estimator: Estimator,
    present: Sequence[Section],
    by_subset: Mapping[str, list[Outcome]],
    spec: BenchmarkSpec,
    *,
    complete: bool,
) -> dict[str, Matrix]:
    """The matrix of each section and, where every section is there, their mean under "All"."""
    sections = [s for s in present if s.metric == "matrix"]
    blocks = {s.name: [s] for s in sections}
    if sections and complete:
        blocks["All"] = sections
    return {name: _matrix(estimator, block, by_subset, spec) for name, block in blocks.items()}


def _matrix(
    estimator: Estimator, block: Sequence[Section], by_subset: Mapping[str, list[Outcome]], spec: BenchmarkSpec
) -> Matrix:
    size = range(len(spec.style_levels))
    examples = [e for section in block for name in section.weights for e in by_subset[name]]

    def mean_of(places: Sequence[tuple[int, int]]) -> Estimate:
        parts = {}
        for section in block:
            cells = {n: {_cell(n, i, j): 1.0 / len(places) for i, j in places} for n in section.weights}
            parts[section.name] = compose(section.weights, cells)
        weights = {section.name: section.headline_weight for section in block}
        return estimator(compose(weights, parts), examples=examples)

    return Matrix(
        levels=spec.style_levels,
        cells=tuple(tuple(mean_of([(i, j)]) for j in size) for i in size),
        easy=mean_of([(i, j) for i in size for j in size if i > j]),
        normal=mean_of([(i, i) for i in size]),
        hard=mean_of([(i, j) for i in size for j in size if i < j]),
    )


def _margins(found: Sequence[Outcome]) -> Margins | None:
    margins = np.array([e.margin for e in found if e.scored])
    if not len(margins):
        return None
    levels = (0.05, 0.25, 0.5, 0.75, 0.95)
    quantiles = {f"{level:g}": float(q) for level, q in zip(levels, np.quantile(margins, levels), strict=True)}
    return Margins(mean=float(margins.mean()), std=float(margins.std()), quantiles=quantiles)


def _counts(scores: pd.DataFrame, found: Sequence[Outcome]) -> Counts:
    scored = sum(e.scored for e in found)
    missing = scores[scores["score"].isna()]
    return Counts(
        examples=len(found),
        completions=len(scores),
        scored=scored,
        unscored=len(found) - scored,
        ties=sum(e.tied for e in found),
        unscored_completions=len(missing),
        truncated_completions=int(scores["truncated"].sum()),
        reasons={str(reason): int(n) for reason, n in missing["reason"].value_counts().sort_index().items()},
    )
