"""Compare Bradley-Terry probabilities with outcomes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.special import expit

from rb_core.stats.intervals import interval
from rb_core.stats.item_outcomes import Floats


class CalibrationBin(NamedTuple):
    """Examples with a confidence from `start` to below `end`.

    confidence: their mean; accuracy: the share that was right, low and high its 95% interval.
    """

    start: float
    end: float
    examples: int
    confidence: float
    accuracy: float
    low: float
    high: float


class Calibration(NamedTuple):
    """Agreement of margins with the Bradley-Terry model; see `measure_calibration`."""

    bins: tuple[CalibrationBin, ...]
    ece: float
    brier: float
    examples: int


def measure_calibration(margins: Floats, bins: int = 10) -> Calibration | None:
    """Compare Bradley-Terry probabilities with outcomes; None when nothing was scored.

    By a margin m the chosen completion is better with probability sigmoid(m). The model's confidence is sigmoid(|m|),
    from 0.5 to 1; it is right where m > 0 and half right where m is 0. bins: of equal width, without empty ones; ece:
    mean distance of accuracy and confidence over the examples, by bin (Naeini et al. 2015); brier: mean of
    (1 - sigmoid(m))^2, which is 0.25 for a model that is never sure. With more than two completions the margin is that
    of the worst chosen and the best rejected one, whose probability is not one of the whole example.
    """
    margins = margins[~np.isnan(margins)]
    if not len(margins):
        return None
    confidence = expit(np.abs(margins))
    right = np.where(margins == 0, 0.5, (margins > 0).astype(np.float64))
    edges = np.linspace(0.5, 1.0, bins + 1)
    bin_of = np.minimum(np.searchsorted(edges, confidence, side="right") - 1, bins - 1)
    filled, ece = [], 0.0
    for number in range(bins):
        rows = bin_of == number
        n = int(rows.sum())
        if n:
            mean_confidence, accuracy = float(confidence[rows].mean()), float(right[rows].mean())
            ece += n / len(margins) * abs(accuracy - mean_confidence)
            ends = float(edges[number]), float(edges[number + 1])
            filled.append(
                CalibrationBin(
                    *ends, n, mean_confidence, accuracy, *interval(accuracy, accuracy * (1 - accuracy) / n, n)
                )
            )
    return Calibration(tuple(filled), ece, float((expit(-margins) ** 2).mean()), len(margins))
