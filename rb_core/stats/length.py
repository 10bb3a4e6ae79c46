"""Accuracy by which completion is longer."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from rb_core.benchmarks.spec import BenchmarkSpec
from rb_core.results.estimate import Estimate
from rb_core.stats.intervals import Measure, bootstrap, wilson
from rb_core.stats.item_outcomes import ItemOutcomes
from rb_core.stats.paired import _estimate

LENGTHS: Mapping[str, int] = {"chosen longer": 1, "chosen shorter": -1, "same length": 0}


def accuracy_by_length(found: ItemOutcomes, spec: BenchmarkSpec, seed: int = 0) -> dict[str, Estimate]:
    """Mean credit where the chosen completions are longer than the rejected, shorter, and as long; Ties left out.

    A model that prefers long answers has the first above the second. Empty where lengths are not known.
    """
    if found.longer is None:
        return {}
    pairs = np.array([spec.metric_of(name) != "ties" for name in found.subsets.tolist()], dtype=bool)
    estimates = {}
    for label, sign in LENGTHS.items():
        rows = found.take(pairs & (found.longer == sign) & ~np.isnan(found.credits))
        if not len(rows):
            continue
        whole = bool(np.isin(rows.credits, (0.0, 1.0)).all()) and len(set(rows.groups.tolist())) == len(rows)
        measure = Measure(rows.credits, tuple(rows.groups.tolist()))
        if whole:
            low, high = wilson(measure.mean, len(rows))
            spread = math.sqrt(measure.mean * (1 - measure.mean) / len(rows))
            estimates[label] = Estimate(
                value=measure.mean, stderr=spread, low=low, high=high, method="wilson", scored=len(rows)
            )
        else:
            estimates[label] = _estimate(measure.mean, bootstrap({label: measure}, seed)[label], len(rows))
    return estimates
