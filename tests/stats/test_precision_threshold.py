"""Thresholds keep their promise."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit

from rb_core.stats.precision_threshold import threshold_for_precision


def test_a_threshold_accepts_what_it_says() -> None:
    rng = np.random.default_rng(2)
    scores = rng.normal(size=2000)
    right = (rng.random(2000) < expit(3 * scores)).astype(float)
    found = threshold_for_precision(scores, right, np.arange(2000).astype(str), 0.9)
    assert found is not None
    accepted = scores >= found.threshold
    assert found.reached
    assert found.accepted == accepted.sum()
    assert found.precision == pytest.approx(right[accepted].mean())
    assert found.recall == pytest.approx(right[accepted].sum() / right.sum())
    assert found.precision > found.low >= 0.9


def test_no_threshold_is_said_plainly() -> None:
    rng = np.random.default_rng(3)
    scores, right, each = rng.normal(size=500), rng.integers(0, 2, 500).astype(float), np.arange(500).astype(str)
    found = threshold_for_precision(scores, right, each, 0.9)
    assert found is not None
    assert not found.reached
    assert found.low < 0.9
    assert threshold_for_precision(scores[:28], right[:28], each[:28], 0.9) is None
    assert threshold_for_precision(scores[:29], np.ones(29), each[:29], 0.9) is not None


def violations(num_groups: int, size: int, wanted: float, repetitions: int) -> float:
    """Return how often the true precision is below the wanted one; items of a group are alike."""
    rng = np.random.default_rng(4)

    def draw(groups: int) -> tuple[np.ndarray, np.ndarray]:
        shared = np.repeat(rng.normal(size=groups) * (size > 1), size)
        scores = rng.normal(size=groups * size)
        return scores, expit(2 * scores + 1 + shared)

    scores, chance = draw(200_000 // size)
    names, broken = np.repeat(np.arange(num_groups), size).astype(str), 0
    for _ in range(repetitions):
        x, p = draw(num_groups)
        found = threshold_for_precision(x, (rng.random(len(x)) < p).astype(float), names, wanted)
        broken += found is not None and found.reached and chance[scores >= found.threshold].mean() < wanted
    return broken / repetitions


@pytest.mark.parametrize(("num_groups", "size", "wanted"), [(300, 1, 0.8), (100, 3, 0.8)])
def test_the_promise_holds(num_groups: int, size: int, wanted: float) -> None:
    assert violations(num_groups, size, wanted, 60) < 0.05 + 2 * np.sqrt(0.05 * 0.95 / 60)


@pytest.mark.soak
@pytest.mark.parametrize("wanted", [0.75, 0.9, 0.95])
@pytest.mark.parametrize(("num_groups", "size"), [(100, 1), (1000, 1), (100, 3), (60, 10)])
def test_the_promise_holds_in_many_samples(num_groups: int, size: int, wanted: float) -> None:
    assert violations(num_groups, size, wanted, 1000) <= 0.05
