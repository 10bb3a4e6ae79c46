"""Metrics by name. To add one, write a subclass of `Metric` in a file of its own and list it here.

Below `rb_core.benchmarks`, whose sections name a metric: metrics compute on arrays of item outcomes only.
"""

from __future__ import annotations

from collections.abc import Mapping

from rb_core.stats.metrics.accuracy import Accuracy
from rb_core.stats.metrics.base import Metric
from rb_core.stats.metrics.best import Best
from rb_core.stats.metrics.first_error import FirstError
from rb_core.stats.metrics.pairs import Pairs
from rb_core.stats.metrics.style_matrix import StyleMatrix
from rb_core.stats.metrics.ties import Ties

ACCURACY = Accuracy()
TIES = Ties()
STYLE_MATRIX = StyleMatrix()
PAIRS = Pairs()
BEST = Best()
FIRST_ERROR = FirstError()

METRICS: Mapping[str, Metric] = {
    metric.name: metric for metric in (ACCURACY, TIES, STYLE_MATRIX, PAIRS, BEST, FIRST_ERROR)
}
