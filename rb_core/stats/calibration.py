"""Compare Bradley-Terry probabilities with outcomes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.special import expit

from rb_core.stats.intervals import Floats, wilson

# One model


class CalibrationBin(NamedTuple):
    """Examples whose confidence lies from `start` up to `end`: their number, their mean confidence, and the share that
    was right with its 95% interval (Wilson's)."""

    start: float
    end: float
    examples: int
    confidence: float
    accuracy: float
    low: float
    high: float


class Calibration(NamedTuple):
    """How far margins mean what the Bradley-Terry model takes them for; see `calibration`."""

    bins: tuple[CalibrationBin, ...]
    ece: float
    brier: float
    examples: int


def calibration(margins: Floats, bins: int = 10) -> Calibration | None:
    """Bradley-Terry probabilities beside outcomes; None where nothing was scored.

    A margin m says that the chosen completion is better with probability sigmoid(m). The model is as sure as
    sigmoid(|m|), from 0.5 to 1, and right where m > 0, half right where m is 0. bins: of equal width, those without
    examples left out; ece: mean distance of accuracy and confidence over the examples, by bin (Naeini et al. 2015);
    brier: mean of (1 - sigmoid(m))^2, where 0.25 is what a model earns that never knows. For more than two completions
    the margin is that of the worst chosen and best rejected, which is no probability of the whole example.
    """
    known = margins[~np.isnan(margins)]
    if not len(known):
        return None
    sure = expit(np.abs(known))
    right = np.where(known == 0, 0.5, (known > 0).astype(np.float64))
    edges = np.linspace(0.5, 1.0, bins + 1)
    place = np.minimum(np.searchsorted(edges, sure, side="right") - 1, bins - 1)
    found, ece = [], 0.0
    for number in range(bins):
        rows = place == number
        n = int(rows.sum())
        if n:
            confidence, accuracy = float(sure[rows].mean()), float(right[rows].mean())
            ece += n / len(known) * abs(accuracy - confidence)
            ends = float(edges[number]), float(edges[number + 1])
            found.append(CalibrationBin(*ends, n, confidence, accuracy, *wilson(accuracy, n)))
    return Calibration(tuple(found), ece, float((expit(-known) ** 2).mean()), len(known))
