"""Bradley-Terry probabilities beside outcomes."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rb_core.stats.calibration import measure_calibration


def test_margins_that_are_log_odds_are_calibrated() -> None:
    """Margins drawn from the Bradley-Terry model have an error near zero; three times as large, they claim too much."""
    rng = np.random.default_rng(4)
    size = np.abs(rng.normal(0, 2, 40_000))
    margins = np.where(rng.random(40_000) < 1 / (1 + np.exp(-size)), size, -size)
    calibrated, overconfident = measure_calibration(margins), measure_calibration(3 * margins)
    assert calibrated is not None
    assert overconfident is not None
    assert calibrated.ece < 0.01
    assert overconfident.ece > 0.05
    assert overconfident.brier > calibrated.brier
    for row in calibrated.bins:
        assert row.low <= row.accuracy <= row.high
        assert row.accuracy == pytest.approx(row.confidence, abs=0.03)


def test_calibration_by_hand() -> None:
    """Four margins, one of them unscored, in two bins."""
    calibration = measure_calibration(np.array([0.0, math.log(9), -math.log(9), math.nan]), bins=2)
    assert calibration is not None
    assert [(b.start, b.end, b.examples) for b in calibration.bins] == [(0.5, 0.75, 1), (0.75, 1.0, 2)]
    assert [b.confidence for b in calibration.bins] == pytest.approx([0.5, 0.9])
    assert [b.accuracy for b in calibration.bins] == [0.5, 0.5]
    assert calibration.ece == pytest.approx(2 / 3 * 0.4)
    assert calibration.brier == pytest.approx((0.25 + 0.01 + 0.81) / 3)
    assert calibration.examples == 3
    assert measure_calibration(np.array([math.nan])) is None


def test_a_margin_beyond_floats_is_in_the_last_bin() -> None:
    """Its probability is 1 in floating point."""
    calibration = measure_calibration(np.array([1e6, -1e6]))
    assert calibration is not None
    assert [(b.examples, b.accuracy) for b in calibration.bins] == [(2, 0.5)]
    assert (calibration.ece, calibration.brier) == (0.5, 0.5)
