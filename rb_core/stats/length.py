"""Accuracy by which completion is longer."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from rb_core.benchmarks.spec import BenchmarkSpec
from rb_core.results.estimate import Estimate
from rb_core.stats.intervals import mean_estimate
from rb_core.stats.item_outcomes import Flags, ItemOutcomes

LENGTHS: Mapping[str, int] = {"chosen longer": 1, "chosen shorter": -1, "same length": 0}


def rows_by_length(outcomes: ItemOutcomes, spec: BenchmarkSpec) -> dict[str, Flags]:
    """Return a mask of the examples of each length class, of subsets whose score is the mean credit.

    Empty when lengths are not known.
    """
    if outcomes.lengths is None:
        return {}
    names, codes = np.unique(outcomes.subsets, return_inverse=True)
    averaged = np.array([spec.metric_of(name).averages_credits for name in names.tolist()], dtype=bool)[codes]
    return {label: averaged & (np.sign(outcomes.lengths) == sign) for label, sign in LENGTHS.items()}


def accuracy_by_length(outcomes: ItemOutcomes, spec: BenchmarkSpec) -> dict[str, Estimate]:
    """Return the mean credit where the chosen completions are longer, shorter, and as long as the rejected ones.

    A model that prefers long answers has a higher first than second value. Empty when lengths are not known.
    """
    return {
        label: mean_estimate(outcomes.credits[rows], outcomes.groups[rows])
        for label, rows in rows_by_length(outcomes, spec).items()
        if rows.any()
    }
