"""Views of a model's outcomes: distribution of margins, calibration, accuracy by length and at equal style."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from rb_core.benchmarks.spec import BenchmarkSpec
from rb_core.leaderboard.style_text import style_json
from rb_core.results.schema import ModelRef
from rb_core.stats.calibration import Calibration, measure_calibration
from rb_core.stats.item_outcomes import Floats, ItemOutcomes
from rb_core.stats.length import accuracy_by_length
from rb_core.stats.style_control import style_control

NUM_BINS = 24
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
# Scores of these kinds are not rewards: the difference of two is not a log-odds.
WITHOUT_LOG_ODDS = frozenset({"baseline", "generative", "ensemble"})


def score_view(model: ModelRef, outcomes: ItemOutcomes | None, spec: BenchmarkSpec) -> dict[str, Any]:
    """Return the views as JSON; None, and an empty list for `length`, where they are not known."""
    margins = outcomes.margins if outcomes else None
    finite = None if margins is None else margins[np.isfinite(margins)]
    calibration = None
    if finite is not None and len(finite) and model.kind not in WITHOUT_LOG_ODDS:
        calibration = measure_calibration(finite)
    lengths = accuracy_by_length(outcomes, spec) if outcomes else {}
    return {
        "model": model.name,
        "margins": None if finite is None or not len(finite) else _margins_json(finite),
        "calibration": None if calibration is None else _calibration_json(calibration),
        "length": [
            {"name": name, "examples": e.scored, "value": e.value, "low": e.low, "high": e.high}
            for name, e in lengths.items()
        ],
        "style": style_json(style_control(outcomes, spec)) if outcomes else None,
    }


def _margins_json(margins: Floats) -> dict[str, Any]:
    """Return statistics of finite margins in the model's units; `above` is a share of the examples."""
    return {
        "examples": len(margins),
        "above": float((margins > 0).mean()),
        "mean": float(margins.mean()),
        "std": float(margins.std()),
        "quantiles": {f"{q:g}": float(np.quantile(margins, q)) for q in QUANTILES},
        "histogram": histogram(margins),
    }


def histogram(margins: Floats, num_bins: int = NUM_BINS) -> dict[str, list[float] | list[int]]:
    """Return the edges and counts of about `num_bins` bins of equal width, with an edge at 0.

    Bins reach from the 1st to the 99th percentile; the outermost ones include the values beyond. A bin includes its
    upper edge, so that a margin of 0 is left of zero.
    """
    low, high = (float(q) for q in np.quantile(margins, (0.01, 0.99)))
    low, high = min(low, 0.0), max(high, 0.0)
    step = (high - low) / num_bins or 1.0
    first, last = min(math.floor(low / step), -1), max(math.ceil(high / step), 1)
    edges = step * np.arange(first, last + 1)
    bins = np.clip(np.searchsorted(edges, margins, side="left") - 1, 0, len(edges) - 2)
    return {"edges": edges.tolist(), "counts": np.bincount(bins, minlength=len(edges) - 1).tolist()}


def _calibration_json(calibration: Calibration) -> dict[str, Any]:
    bins = [
        {
            "start": b.start,
            "end": b.end,
            "examples": b.examples,
            "probability": b.confidence,
            "right": b.accuracy,
            "low": b.low,
            "high": b.high,
        }
        for b in calibration.bins
    ]
    return {"bins": bins, "ece": calibration.ece, "brier": calibration.brier, "examples": calibration.examples}
