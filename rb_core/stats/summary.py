"""Compute every estimate of a score table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from rb_core.benchmarks.spec import BenchmarkSpec, Section
from rb_core.results.estimate import Counts, Estimate, Margins, Matrix, StyleControl
from rb_core.stats.composition import Composition, compose, measure_name, weighted_mean
from rb_core.stats.intervals import Estimator, bootstrap
from rb_core.stats.item_outcomes import Flags, ItemOutcomes
from rb_core.stats.length import rows_by_length
from rb_core.stats.metrics.base import Measure
from rb_core.stats.metrics.style_matrix import style_cell
from rb_core.stats.outcome_files import outcomes_of_table
from rb_core.stats.style_control import style_control

MARGIN_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
LENGTH_CLASSES = ("chosen longer", "chosen shorter")


class Summary(NamedTuple):
    """All numbers of a result that a score table gives."""

    headline: Estimate | None
    sections: dict[str, Estimate]
    subsets: dict[str, Estimate]
    absent: dict[str, str]
    length: dict[str, Estimate]
    style: StyleControl | None
    matrices: dict[str, Matrix]
    margins: Margins | None
    counts: Counts


def summarize(scores: pd.DataFrame, spec: BenchmarkSpec, seed: int = 0) -> Summary:
    """Compute every estimate of a score table by the benchmark's spec. `seed` fixes the bootstrap's draws."""
    outcomes = outcomes_of_table(scores, spec)
    composition = compose(outcomes, spec)
    spec = composition.spec
    by_length = {
        name: rows for name, rows in rows_by_length(outcomes, spec).items() if name in LENGTH_CLASSES and rows.any()
    }
    length_measures = {
        name: Measure(outcomes.credits[rows], outcomes.groups[rows], is_proportion=True)
        for name, rows in by_length.items()
    }
    # Lengths have a bootstrap of their own: strata that split a subset by length would hold fixed what the subset's
    # interval is about.
    draws = {**bootstrap(composition.measures, seed), **bootstrap(length_measures, seed)}
    estimator = Estimator(outcomes, {**composition.measures, **length_measures}, draws)
    present = [section for section in spec.sections if section.name in composition.sections]
    return Summary(
        headline=None
        if composition.headline is None
        else estimator.estimate(composition.headline, _rows_of(present, outcomes)),
        sections={s.name: estimator.estimate(composition.sections[s.name], _rows_of([s], outcomes)) for s in present},
        subsets={name: estimator.estimate(c, outcomes.subsets == name) for name, c in composition.subsets.items()},
        absent=_absent(composition, outcomes, spec),
        length={name: estimator.estimate({name: 1.0}, rows) for name, rows in by_length.items()},
        style=style_control(outcomes, spec),
        matrices=_matrices(estimator, composition, present, spec.style_levels),
        margins=_margins(outcomes),
        counts=_counts(scores, outcomes),
    )


def subset_scores(scores: pd.DataFrame, spec: BenchmarkSpec) -> dict[str, float]:
    """Return the scores of a score table's subsets without intervals; NaN when nothing was scored."""
    composition = compose(outcomes_of_table(scores, spec), spec)
    return {name: composition.value(combination) for name, combination in composition.subsets.items()}


def _rows_of(sections: Sequence[Section], outcomes: ItemOutcomes) -> Flags:
    return np.isin(outcomes.subsets, [name for section in sections for name in section.weights])


def _absent(composition: Composition, outcomes: ItemOutcomes, spec: BenchmarkSpec) -> dict[str, str]:
    """Return why sections, and the headline, have no score."""
    absent = {}
    with_examples = set(outcomes.subsets.tolist())
    for section in spec.sections:
        if missing := [name for name in section.weights if name not in with_examples]:
            absent[section.name] = f"no examples of {', '.join(missing)}"
        elif incomplete := [name for name in section.weights if name not in composition.subsets]:
            absent[section.name] = f"{', '.join(incomplete)} {section.metric.missing_reason}"
    if required := [s.name for s in spec.sections if s.required and s.name in absent]:
        absent["headline"] = f"without {', '.join(required)}"
    return absent


def _matrices(
    estimator: Estimator, composition: Composition, present: Sequence[Section], levels: tuple[str, ...]
) -> dict[str, Matrix]:
    """Return the matrix of each section that has one and, with a headline, their weighted mean as "All"."""
    first = style_cell(0, 0)
    sections = [s for s in present if all(measure_name(name, first) in composition.measures for name in s.weights)]
    blocks = {section.name: [section] for section in sections}
    if sections and composition.headline is not None:
        blocks["All"] = sections
    return {name: _matrix(estimator, block, levels) for name, block in blocks.items()}


def _matrix(estimator: Estimator, sections: Sequence[Section], levels: tuple[str, ...]) -> Matrix:
    size = range(len(levels))
    rows = _rows_of(sections, estimator.outcomes)

    def mean_of(cells: Sequence[tuple[int, int]]) -> Estimate:
        parts = {}
        for section in sections:
            subsets = {n: {measure_name(n, style_cell(*c)): 1.0 / len(cells) for c in cells} for n in section.weights}
            parts[section.name] = weighted_mean(section.weights, subsets)
        weights = {section.name: section.headline_weight for section in sections}
        return estimator.estimate(weighted_mean(weights, parts), rows)

    return Matrix(
        levels=levels,
        cells=tuple(tuple(mean_of([(i, j)]) for j in size) for i in size),
        easy=mean_of([(i, j) for i in size for j in size if i > j]),
        normal=mean_of([(i, i) for i in size]),
        hard=mean_of([(i, j) for i in size for j in size if i < j]),
    )


def _margins(outcomes: ItemOutcomes) -> Margins | None:
    if outcomes.margins is None or not outcomes.scored.any():
        return None
    margins = outcomes.margins[outcomes.scored]
    quantiles = zip(MARGIN_QUANTILES, np.quantile(margins, MARGIN_QUANTILES).tolist(), strict=True)
    return Margins(
        mean=float(margins.mean()), std=float(margins.std()), quantiles={f"{level:g}": q for level, q in quantiles}
    )


def _counts(scores: pd.DataFrame, outcomes: ItemOutcomes) -> Counts:
    scored = int(outcomes.scored.sum())
    missing = scores[scores["score"].isna()]
    return Counts(
        examples=len(outcomes),
        completions=len(scores),
        scored=scored,
        unscored=len(outcomes) - scored,
        ties=0 if outcomes.tied is None else int(outcomes.tied.sum()),
        unscored_completions=len(missing),
        truncated_completions=int(scores["truncated"].sum()),
        reasons={str(reason): int(n) for reason, n in missing["reason"].value_counts().sort_index().items()},
    )
