"""Compare a visitor's margin with the model's margins on a benchmark."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from rb_core.space.results_source import ResultsSource
from rb_core.space.try_a_pair.result import PairResult
from rb_core.stats.item_outcomes import Floats


class MarginPercentile(NamedTuple):
    """The percentile of an absolute margin among the model's absolute margins on a benchmark."""

    benchmark: str
    share: float  # of the benchmark's margins that are smaller; equal ones count half
    margins: int


def margin_percentile(margins: Floats, margin: float, benchmark: str) -> MarginPercentile | None:
    """Return the percentile of a margin, or None without finite margins to compare it with.

    A visitor's pair has no label, so the signs of the benchmark's margins are ignored.
    """
    sizes = np.abs(np.asarray(margins, dtype=np.float64))
    sizes = sizes[np.isfinite(sizes)]
    if not len(sizes):
        return None
    share = (np.sum(sizes < abs(margin)) + 0.5 * np.sum(sizes == abs(margin))) / len(sizes)
    return MarginPercentile(benchmark, float(share), len(sizes))


def find_percentile(result: PairResult, source: ResultsSource) -> MarginPercentile | None:
    """Return the percentile of a result's margin on the benchmark with most margins of the model, or None.

    Judges have none, because the scale of their scores depends on the mode in which they are asked.
    """
    if result.margin is None or result.judge:
        return None
    percentiles = []
    for board in source.boards().values():
        items = source.outcomes(board.id, result.model)
        if items is not None and items.margins is not None:
            percentiles.append(margin_percentile(items.margins, result.margin, board.title))
    return max(filter(None, percentiles), key=lambda percentile: percentile.margins, default=None)
