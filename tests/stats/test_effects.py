"""Effects by group: against scipy, and by simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from rb_core.results.effect import Effect
from rb_core.stats.effects import (
    ALL_EQUAL,
    TOO_FEW_UNITS,
    adjusted,
    contrast_effect,
    difference_effect,
    is_significant,
    mean_effect,
    pooled_effect,
    rate_effect,
)


def units(count: int, rows: int = 1) -> np.ndarray:
    return np.repeat(np.arange(count).astype(str), rows)


def test_a_mean_of_unit_means_has_the_interval_and_test_of_student() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(0.3, 1, 60)
    effect = mean_effect("shift", "a", values, units(20, 3))
    expected = ttest_1samp(values.reshape(20, 3).mean(1), 0)
    low, high = expected.confidence_interval(0.95)
    assert effect.p == pytest.approx(expected.pvalue)
    assert (effect.low, effect.high) == (pytest.approx(low), pytest.approx(high))


def test_unscored_values_are_no_values() -> None:
    values = np.array([1.0, np.nan, 2, 3, 4, 5, np.nan])
    effect = mean_effect("shift", "a", values, np.array(list("aabcdef")))
    assert (effect.units, effect.unscored, effect.value) == (5, 1, 3.0)


def test_few_units_and_equal_values_have_no_interval() -> None:
    assert mean_effect("shift", "a", np.ones(4), units(4)).reason == TOO_FEW_UNITS
    equal = mean_effect("shift", "a", np.ones(8), units(8))
    assert (equal.low, equal.p, equal.reason) == (None, 2**-7, ALL_EQUAL)
    assert mean_effect("shift", "a", np.zeros(8), units(8)).p == 1.0


def test_the_interval_of_a_difference_of_shares_stays_between_its_ends() -> None:
    rng = np.random.default_rng(0)
    values = np.where(rng.random(20) < 0.8, 1.0, 0.5)
    effect = difference_effect("m", "g", values, units(20))
    assert -1 <= (effect.low or 0) < (effect.value or 0) < (effect.high or 0) == 1.0


def test_p_values_are_adjusted_over_all_tests_of_all_measures() -> None:
    def effect(measure: str, p: float | None) -> Effect:
        return Effect(measure=measure, group=str(p), value=1.0, null=0.0, p=p, stderr=0.1, units=30)

    changed = adjusted([effect("a", 0.02), effect("a", None), effect("b", 0.03)])
    assert [each.adjusted_p for each in changed] == [0.04, None, 0.04]
    (alone,) = adjusted([effect("a", 0.02)])
    assert changed[0].detectable == changed[2].detectable
    assert (changed[0].detectable or 0) > (alone.detectable or 0) > 0.28


@pytest.mark.parametrize("kind", ["mean", "rate", "difference", "contrast", "pooled"])
def test_a_null_effect_is_rarely_found_and_the_smallest_detectable_one_mostly(kind: str) -> None:
    rng = np.random.default_rng(1)
    nulls = [adjusted([draw(kind, rng, 0.0)])[0] for _ in range(RUNS)]
    assert sum(map(is_significant, nulls)) <= 0.05 * RUNS + 3 * (0.05 * RUNS) ** 0.5
    size = float(np.mean([(effect.detectable or 0) ** 2 for effect in nulls])) ** 0.5
    found = sum(is_significant(adjusted([draw(kind, rng, size)])[0]) for _ in range(RUNS))
    assert 0.65 * RUNS <= found <= 0.95 * RUNS


RUNS = 300


def draw(kind: str, rng: np.random.Generator, size: float) -> Effect:
    """Return an effect of the given size, of 30 units with two rows each."""
    names = units(30, 2)
    noise = np.repeat(rng.normal(0, 0.8, 30), 2) + rng.normal(0, 0.8, 60)
    if kind == "mean":
        return mean_effect("m", "g", noise + size, names)
    if kind == "rate":
        return rate_effect("m", "g", (rng.random(30) < 0.5 + size).astype(float), units(30), null=0.5)
    if kind == "difference":
        return difference_effect(
            "m", "g", rng.choice([-1.0, 0, 1], 30, p=[0.25 - size / 2, 0.5, 0.25 + size / 2]), units(30)
        )
    if kind == "pooled":  # units of 1 to 9 rows that lean together, each by its own amount
        sizes = rng.integers(1, 10, 30)
        lean = np.clip(size + rng.normal(0, 0.3, 30), -1, 1).repeat(sizes)
        values = np.where(rng.random(sizes.sum()) < (1 + lean) / 2, 1.0, -1.0)
        return pooled_effect("m", "g", values, np.arange(30).astype(str).repeat(sizes), -1.0)
    right = rng.random(120) < np.where(np.arange(120) < 60, 0.5 + size / 2, 0.5 - size / 2)
    return contrast_effect("m", "g", right.astype(float), units(120), np.arange(120) < 60)


@pytest.mark.parametrize("rate", [0.02, 0.1, 0.9])
def test_a_small_group_without_a_rare_outcome_does_not_differ_from_a_large_one(rate: float) -> None:
    rng = np.random.default_rng(2)
    in_group = np.arange(225) < 25
    drawn = [
        contrast_effect("m", "g", (rng.random(225) < rate).astype(float), units(225), in_group) for _ in range(RUNS)
    ]
    limit = 0.05 * RUNS + 3 * (0.05 * RUNS) ** 0.5
    assert sum((effect.p or 0) < 0.05 for effect in drawn) <= limit
    assert sum(not (effect.low or 0) <= 0 <= (effect.high or 0) for effect in drawn) <= limit


def test_constant_sides_that_differ_are_a_significant_contrast() -> None:
    in_group = np.arange(20) < 10
    effect = contrast_effect("m", "g", in_group.astype(float), units(20), in_group)
    assert effect.value == 1.0
    assert (effect.p or 1) < 0.01 < (effect.low or 0)
    equal = contrast_effect("m", "g", np.ones(20), units(20), in_group)
    assert (equal.value, equal.p) == (0.0, 1.0)


def test_a_contrast_between_sides_of_the_same_units_counts_their_covariance() -> None:
    rng = np.random.default_rng(3)
    difficulty = rng.random(40)
    values = np.concatenate([difficulty, np.clip(difficulty + 0.05, 0, 1)])
    names, in_group = np.tile(units(40), 2), np.arange(80) >= 40
    together = contrast_effect("m", "g", values, names, in_group)
    apart = contrast_effect("m", "g", values, units(80), in_group)
    assert (together.p or 0) < 0.001
    assert (apart.p or 0) > 0.1
