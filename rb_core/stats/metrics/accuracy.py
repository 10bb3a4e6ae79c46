"""Accuracy: the share of examples that a model gets right."""

from __future__ import annotations

from rb_core.stats.metrics.base import Metric


class Accuracy(Metric):
    """Mean over examples of [worst chosen score > best rejected score], with the benchmark's credit for ties.

    A pair is right when the chosen completion scores higher, best-of-four when the chosen one is above all three
    rejected ones.
    """

    name = "accuracy"
    label = "mean credit"
    citation = "Lambert et al. 2024, arXiv:2403.13787; Malik et al. 2025, arXiv:2506.01937"
    is_accuracy = True
