"""The test of a difference, its interval and Holm's correction against independent computations."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, chi2

from rb_core.results.estimate import Estimate
from rb_core.stats.significance import (
    Z95,
    difference_interval,
    difference_p,
    holm,
    holm_cutoff,
    independent_interval,
)


def discordant(only_a: int, only_b: int, n: int) -> tuple[float, float, float]:
    """Return difference, variance and number of examples when each model alone is right on so many of n."""
    mean = (only_a - only_b) / n
    return mean, ((only_a + only_b) / n - mean**2) / (n - 1), float(n)


@settings(max_examples=60)
@given(st.integers(0, 60), st.integers(0, 60))
def test_for_right_and_wrong_answers_it_is_mcnemars(only_a: int, only_b: int) -> None:
    p = difference_p(*discordant(only_a, only_b, 200))
    expected = chi2.sf((only_a - only_b) ** 2 / (only_a + only_b), 1) if only_a != only_b else 1.0
    assert p == pytest.approx(float(expected), rel=1e-9)
    assert p == pytest.approx(difference_p(*discordant(only_b, only_a, 200)), rel=1e-12)


@settings(max_examples=60)
@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 200))
@example(8, 0, 0)
@example(0, 8, 0)
def test_an_interval_holds_zero_exactly_if_the_test_finds_nothing(only_a: int, only_b: int, same: int) -> None:
    difference, variance, n = discordant(only_a, only_b, max(4, only_a + only_b + same))
    ends = difference_interval(difference, variance, n)
    assert ends is not None
    low, high = max(ends[0], -1.0), min(ends[1], 1.0)
    assert high - low > 0.005
    assert low <= difference <= high
    assert (low <= 0 <= high) == (difference_p(difference, variance, n) >= 0.05)


def test_models_that_never_disagree_may_still_differ() -> None:
    """As many examples as the rule of three allows: z^2 / n."""
    assert difference_interval(0.0, 0.0, 100) == pytest.approx((-(Z95**2) / 100, Z95**2 / 100))
    assert difference_p(0.0, 0.0, 100) == 1.0


def test_models_that_always_disagree_may_still_differ_by_less() -> None:
    """Wilson's limit of eight of eight."""
    ends = difference_interval(1.0, 0.0, 8)
    assert ends is not None
    assert ends[0] == pytest.approx(8 / (8 + Z95**2))


def test_less_than_four_groups_show_nothing() -> None:
    assert difference_interval(1.0, 0.0, 3) is None
    assert difference_p(1.0, 0.0, 3) > 0.05


def test_holm_is_the_textbooks() -> None:
    """Four p values by hand: 4 x 0.005, 3 x 0.01, 2 x 0.03, and the last not below the one before it."""
    assert holm([0.01, 0.04, 0.03, 0.005]).tolist() == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]).tolist() == [1.0, 1.0]
    assert holm([]).tolist() == []


@settings(max_examples=100)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_the_cutoff_divides_significant_from_other_p_values(p_values: list[float]) -> None:
    p = np.array(p_values) ** 3
    assert ((p <= holm_cutoff(p)) == (holm(p) <= 0.05)).all()


def test_nothing_passes_without_p_values() -> None:
    assert holm_cutoff(np.zeros(0)) < 0
    assert not math.isnan(holm_cutoff(np.ones(3)))


def wilson(right: int, n: int) -> Estimate:
    interval = binomtest(right, n).proportion_ci(method="wilson")
    return Estimate(value=right / n, low=interval.low, high=interval.high)


def test_the_interval_of_two_independent_means_is_newcombes() -> None:
    """Newcombe 1998, table II, example (a) of method 10."""
    assert independent_interval(wilson(56, 70), wilson(48, 80)) == pytest.approx((0.0524, 0.3339), abs=5e-5)
    assert independent_interval(wilson(56, 70), Estimate(value=0.5)) is None


def test_correlated_means_have_a_narrower_interval() -> None:
    low, high = independent_interval(wilson(56, 70), wilson(48, 80), correlation=0.5) or (0.0, 0.0)
    assert 0.0524 < low < 0.2 < high < 0.3339
