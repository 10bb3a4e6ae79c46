"""Compute every estimate of a score table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from rb_core.benchmarks.spec import BenchmarkSpec, Section
from rb_core.results.estimate import Counts, Estimate, Margins, Matrix
from rb_core.stats.composition import Composition, compose, weighted_mean
from rb_core.stats.intervals import Estimator, bootstrap
from rb_core.stats.item_outcomes import Flags, Floats, ItemOutcomes
from rb_core.stats.length import LENGTHS, rows_by_length
from rb_core.stats.metrics.base import Measure
from rb_core.stats.outcome_files import outcomes_of_table

MARGIN_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)

Cells = Mapping[str, Mapping[tuple[int, int], Measure]]  # subset -> (row, column) -> wins


class Summary(NamedTuple):
    """All numbers of a result that a score table gives."""

    headline: Estimate | None
    sections: dict[str, Estimate]
    subsets: dict[str, Estimate]
    absent: dict[str, str]
    length: dict[str, Estimate]
    matrices: dict[str, Matrix]
    margins: Margins | None
    counts: Counts


def summarize(scores: pd.DataFrame, spec: BenchmarkSpec, seed: int = 0) -> Summary:
    """Compute every estimate of a score table by the benchmark's spec. `seed` fixes the bootstrap's draws."""
    outcomes = outcomes_of_table(scores, spec)
    composition = compose(outcomes, spec)
    cells = _style_cells(outcomes, spec)
    cell_measures = {_cell(name, cell): m for name, matrix in cells.items() for cell, m in matrix.items()}
    by_length = rows_by_length(outcomes, spec)
    by_length = {label: rows for label, rows in by_length.items() if LENGTHS[label] and rows.any()}
    length_measures = {
        label: Measure(outcomes.credits[rows], outcomes.groups[rows], is_proportion=True)
        for label, rows in by_length.items()
    }
    # Lengths have a bootstrap of their own: strata that split a subset by length would hold fixed what the subset's
    # interval is about.
    draws = {**bootstrap({**composition.measures, **cell_measures}, seed), **bootstrap(length_measures, seed)}
    estimator = Estimator(outcomes, {**composition.measures, **cell_measures, **length_measures}, draws)

    def rows_of(sections: Sequence[Section]) -> Flags:
        return np.isin(outcomes.subsets, [name for section in sections for name in section.weights])

    present = [section for section in spec.sections if section.name in composition.sections]
    with_matrix = [section for section in present if section.weights.keys() <= cells.keys()]
    blocks = {section.name: [section] for section in with_matrix}
    if with_matrix and composition.headline is not None:
        blocks["All"] = with_matrix
    return Summary(
        headline=None if composition.headline is None else estimator.estimate(composition.headline, rows_of(present)),
        sections={s.name: estimator.estimate(composition.sections[s.name], rows_of([s])) for s in present},
        subsets={name: estimator.estimate(c, outcomes.subsets == name) for name, c in composition.subsets.items()},
        absent=_absent(composition, outcomes, spec),
        length={label: estimator.estimate({label: 1.0}, rows) for label, rows in by_length.items()},
        matrices={name: _matrix(estimator, block, rows_of(block), spec.style_levels) for name, block in blocks.items()},
        margins=_margins(outcomes),
        counts=_counts(scores, outcomes),
    )


def subset_scores(scores: pd.DataFrame, spec: BenchmarkSpec) -> dict[str, float]:
    """Return the scores of a score table's subsets without intervals; NaN when nothing was scored."""
    composition = compose(outcomes_of_table(scores, spec), spec)
    return {name: composition.value(combination) for name, combination in composition.subsets.items()}


def _absent(composition: Composition, outcomes: ItemOutcomes, spec: BenchmarkSpec) -> dict[str, str]:
    """Return why sections, and the headline, have no score."""
    absent = {}
    with_examples = set(outcomes.subsets.tolist())
    for section in spec.sections:
        if missing := [name for name in section.weights if name not in with_examples]:
            absent[section.name] = f"no examples of {', '.join(missing)}"
        elif incomplete := [name for name in section.weights if name not in composition.subsets]:
            absent[section.name] = f"{', '.join(incomplete)} {section.metric.incomplete}"
    if required := [s.name for s in spec.sections if s.required and s.name in absent]:
        absent["headline"] = f"without {', '.join(required)}"
    return absent


# Matrices


def _style_cells(outcomes: ItemOutcomes, spec: BenchmarkSpec) -> Cells:
    by_subset = {}
    for subset in spec.subsets:
        rows = outcomes.subsets == subset.name
        cells = spec.metric_of(subset.name).style_cells(outcomes.take(rows), spec.tie_credit) if rows.any() else {}
        if cells:
            by_subset[subset.name] = cells
    return by_subset


def _cell(subset: str, cell: tuple[int, int]) -> str:
    return f"{subset}/{cell[0]}>{cell[1]}"


def _matrix(
    estimator: Estimator,
    sections: Sequence[Section],
    rows: Flags,
    levels: tuple[str, ...],
) -> Matrix:
    size = range(len(levels))

    def mean_of(cells: Sequence[tuple[int, int]]) -> Estimate:
        parts = {}
        for section in sections:
            subsets = {name: {_cell(name, cell): 1.0 / len(cells) for cell in cells} for name in section.weights}
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


# Margins and counts


def _margins(outcomes: ItemOutcomes) -> Margins | None:
    margins: Floats = np.empty(0) if outcomes.margins is None else outcomes.margins[outcomes.scored]
    if not len(margins):
        return None
    quantiles = np.quantile(margins, MARGIN_QUANTILES)
    return Margins(
        mean=float(margins.mean()),
        std=float(margins.std()),
        quantiles={f"{level:g}": float(q) for level, q in zip(MARGIN_QUANTILES, quantiles, strict=True)},
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
