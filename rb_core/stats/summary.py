"""Compute every estimate of a score table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from rb_core.benchmarks.spec import BenchmarkSpec, Section
from rb_core.results.estimate import Chance, Counts, Estimate, Margins, Matrix, StyleControl
from rb_core.stats.chance import chance_of_outcomes
from rb_core.stats.composition import Composition, compose, mean_combination, measure_name
from rb_core.stats.intervals import stderr_change, weighted_mean
from rb_core.stats.item_outcomes import Flags, ItemOutcomes
from rb_core.stats.length import accuracy_by_length
from rb_core.stats.metrics.base import Combination
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
    groupings: dict[str, dict[str, Estimate]] | None
    absent: dict[str, str]
    length: dict[str, Estimate]
    style: StyleControl | None
    matrices: dict[str, Matrix]
    margins: Margins | None
    chance: Chance
    counts: Counts


def summarize(scores: pd.DataFrame, spec: BenchmarkSpec) -> Summary:
    """Compute every estimate of a score table by the benchmark's spec."""
    outcomes = outcomes_of_table(scores, spec)
    composition = compose(outcomes, spec)
    present = [section for section in composition.spec.sections if section.name in composition.sections]
    return Summary(
        headline=None
        if composition.headline is None
        else _score(outcomes, composition, lambda scores: scores.headline, _rows_of(present, outcomes)),
        sections={s.name: _section_score(outcomes, composition, s) for s in present},
        subsets={
            name: _estimate(outcomes, composition, combination, outcomes.subsets == name)
            for name, combination in composition.subsets.items()
        },
        groupings=_groupings(outcomes, composition) or None,
        absent=_absent(composition, outcomes),
        length={
            name: estimate for name, estimate in accuracy_by_length(outcomes, spec).items() if name in LENGTH_CLASSES
        },
        style=style_control(outcomes, composition.spec),
        matrices=_matrices(outcomes, composition, present),
        margins=_margins(outcomes),
        chance=chance_of_outcomes(outcomes, composition.spec),
        counts=_counts(scores, outcomes),
    )


def _estimate(outcomes: ItemOutcomes, composition: Composition, combination: Combination, rows: Flags) -> Estimate:
    """Return the estimate of a combination, with counts over the examples in `rows` (a mask)."""
    scored = int(outcomes.scored[rows].sum())
    ties = 0 if outcomes.tied is None else int(outcomes.tied[rows].sum())
    estimate = weighted_mean(composition.measures, combination).estimate(
        scored=scored, unscored=int(rows.sum()) - scored, ties=ties
    )
    if estimate.stderr is None or not estimate.has_bounds:
        return estimate
    return estimate.model_copy(update={"unscored_error": stderr_change(composition.measures, combination)})


def _section_score(outcomes: ItemOutcomes, composition: Composition, section: Section) -> Estimate:
    return _score(outcomes, composition, lambda scores: scores.sections[section.name], _rows_of([section], outcomes))


def _groupings(outcomes: ItemOutcomes, composition: Composition) -> dict[str, dict[str, Estimate]]:
    """Return the estimates of the parts of each grouping whose subsets all have scores."""
    return {
        name: {
            part.name: _estimate(
                outcomes, composition, mean_combination(part.weights, composition.subsets), _rows_of([part], outcomes)
            )
            for part in parts
            if part.weights.keys() <= composition.subsets.keys()
        }
        for name, parts in composition.spec.groupings.items()
    }


def _score(
    outcomes: ItemOutcomes, composition: Composition, select: Callable[[Composition], Combination | None], rows: Flags
) -> Estimate:
    """Return the estimate of the score that `select` takes from a composition.

    The bounds of a harmonic mean come from those of its parts: its linear approximation ends beyond 1.
    """
    combination = select(composition) or {}
    estimate = _estimate(outcomes, composition, combination, rows)
    if not composition.spec.has_harmonic_means or estimate.value is None:
        return estimate
    failed, passed = composition.failed(), composition.passed()
    floor, ceiling = failed.value(select(failed) or {}), passed.value(select(passed) or {})
    high = None if estimate.high is None else min(estimate.high, 1.0)
    return estimate.model_copy(update={"floor": floor, "ceiling": ceiling, "high": high, "unscored_error": None})


def subset_scores(scores: pd.DataFrame, spec: BenchmarkSpec) -> dict[str, float]:
    """Return the scores of a score table's subsets without intervals; NaN when nothing was scored."""
    composition = compose(outcomes_of_table(scores, spec), spec)
    return {name: composition.value(combination) for name, combination in composition.subsets.items()}


def _rows_of(sections: Sequence[Section], outcomes: ItemOutcomes) -> Flags:
    return np.isin(outcomes.subsets, [name for section in sections for name in section.weights])


def _absent(composition: Composition, outcomes: ItemOutcomes) -> dict[str, str]:
    """Return why sections, and the headline, have no score."""
    absent = {}
    with_examples = set(outcomes.subsets.tolist())
    spec = composition.spec
    for section in spec.sections:
        if missing := [name for name in section.weights if name not in with_examples]:
            absent[section.name] = f"no examples of {', '.join(missing)}"
        elif incomplete := [name for name in section.weights if name not in composition.subsets]:
            absent[section.name] = f"{', '.join(incomplete)} {section.metric.missing_reason}"
    if required := [s.name for s in spec.sections if s.required and s.name in absent]:
        absent["headline"] = f"without {', '.join(required)}"
    return absent


def _matrices(outcomes: ItemOutcomes, composition: Composition, present: Sequence[Section]) -> dict[str, Matrix]:
    """Return the matrix of each section that has one and, with a headline, their weighted mean as "All"."""
    first = style_cell(0, 0)
    sections = [s for s in present if all(measure_name(name, first) in composition.measures for name in s.weights)]
    blocks = {section.name: [section] for section in sections}
    if sections and composition.headline is not None:
        blocks["All"] = sections
    return {name: _matrix(outcomes, composition, block) for name, block in blocks.items()}


def _matrix(outcomes: ItemOutcomes, composition: Composition, sections: Sequence[Section]) -> Matrix:
    levels = composition.spec.style_levels
    size = range(len(levels))
    rows = _rows_of(sections, outcomes)

    def mean_of(cells: Sequence[tuple[int, int]]) -> Estimate:
        parts = {}
        for section in sections:
            subsets = {n: {measure_name(n, style_cell(*c)): 1.0 / len(cells) for c in cells} for n in section.weights}
            parts[section.name] = mean_combination(section.weights, subsets)
        weights = {section.name: section.headline_weight for section in sections}
        return _estimate(outcomes, composition, mean_combination(weights, parts), rows)

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
