"""Intervals against independent computations, and where nothing varies. Coverage is in tests/perf/coverage.py."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import beta

from rb_core.benchmarks.spec import Section
from rb_core.stats.intervals import (
    TOO_FEW_GROUPS,
    group_codes,
    interval,
    mean_estimate,
    standard_error,
    unscored_error,
    weighted_mean,
)
from rb_core.stats.metrics.base import Measure
from rb_core.stats.summary import summarize
from tests.fakes.outcomes import PAIRS, pairs, score_table


@pytest.mark.parametrize(("right", "n"), [(0, 10), (3, 10), (10, 10), (812, 1000), (1, 2)])
def test_independent_trials_have_quantiles_of_a_beta_distribution(right: int, n: int) -> None:
    """Between Jeffreys's and Clopper and Pearson's intervals, both computed here by scipy."""
    share = right / n
    low, high = interval(share, share * (1 - share) / (n - 1), n)
    wrong = n - right
    assert low == pytest.approx(beta(right + 0.3, wrong + 0.75).ppf(0.025) if right else 0.0)
    assert high == pytest.approx(beta(right + 0.75, wrong + 0.3).ppf(0.975) if wrong else 1.0)
    if right:
        assert beta(right, wrong + 1).ppf(0.025) < low < beta(right + 0.5, wrong + 0.5).ppf(0.025)
    jeffreys = beta(right + 0.5, wrong + 0.5).std()
    assert standard_error(share, share * (1 - share) / (n - 1), n) == pytest.approx(jeffreys)


def test_an_interval_moves_with_its_range() -> None:
    """A score from -1 to 3 with four times the deviations has four times the interval."""
    low, high = interval(0.8, 0.002, 40)
    wide = interval(-1 + 4 * 0.8, 16 * 0.002, 40, (-1.0, 3.0))
    assert wide == pytest.approx((-1 + 4 * low, -1 + 4 * high))


def test_many_groups_have_the_normal_interval() -> None:
    low, high = interval(0.6, 1e-5, 20_000)
    assert (low, high) == pytest.approx((0.6 - 1.96 * math.sqrt(1e-5), 0.6 + 1.96 * math.sqrt(1e-5)), abs=1e-4)


def test_no_interval_is_empty() -> None:
    """Two of two right answers do not show that a model is always right."""
    estimate = mean_estimate(np.ones(2), np.array(["p", "q"]))
    assert (estimate.value, estimate.high) == (1.0, 1.0)
    assert estimate.low is not None
    assert 0.1 < estimate.low < 0.4
    assert estimate.stderr is not None
    assert estimate.stderr > 0.1


@pytest.mark.parametrize("value", [1e-12, 1e-6, 1 - 1e-6, 1 - 1e-12])
def test_an_interval_holds_a_value_next_to_the_end_of_its_range(value: float) -> None:
    low, high = interval(value, value * (1 - value) / 30, 30)
    assert 0 <= low <= value <= high <= 1
    assert high - low > 0.05


def test_one_prompt_has_no_interval_but_a_reason() -> None:
    estimate = mean_estimate(np.array([1.0, 0.0, 1.0]), np.array(["p", "p", "p"]))
    assert (estimate.value, estimate.low, estimate.method) == (2 / 3, None, "none")
    assert estimate.no_interval == TOO_FEW_GROUPS
    mostly_one = mean_estimate(np.array([1.0] * 99 + [0.0]), np.array(["p"] * 99 + ["q"]))
    assert mostly_one.no_interval == TOO_FEW_GROUPS


def test_subsets_of_one_example_vary_around_the_mean_of_all() -> None:
    """Thirty subsets with one example each are not thirty exact scores."""
    values = np.array([1.0, 0.0, 1.0] * 10)
    measures = {f"s{n}": Measure(values[n : n + 1], np.array([f"p{n}"])) for n in range(30)}
    mean = weighted_mean(measures, dict.fromkeys(measures, 1 / 30))
    assert mean.variance == pytest.approx((2 / 9) / 30)
    assert mean.num_groups == pytest.approx(30)


def test_groups_are_numbered_as_they_appear_in_several_arrays() -> None:
    codes, names = group_codes([np.array(["z", "a", "z"]), np.array(["b", "a"])])
    assert ([array.tolist() for array in codes], names.tolist()) == ([[0, 1, 0], [2, 1]], ["z", "a", "b"])


def test_the_error_of_a_weighted_mean_is_the_textbooks() -> None:
    spec = replace(PAIRS, sections=(Section("S", {"a": 1.0, "b": 3.0}),))
    rows = pairs("a", [1.0] * 60 + [0.0] * 40) + pairs("b", [1.0] * 180 + [0.0] * 20)
    estimate = summarize(score_table(rows), spec).sections["S"]
    expected = math.sqrt((0.25**2) * 0.6 * 0.4 / 100 + (0.75**2) * 0.9 * 0.1 / 200)
    assert estimate.method == "beta"
    assert estimate.stderr == pytest.approx(expected, rel=0.01)


def test_a_prompt_in_two_subsets_counts_as_one() -> None:
    """The same ten answers in two subsets have the error of ten answers, not of twenty."""
    values, prompts = np.array([1.0] * 7 + [0.0] * 3), np.array([f"p{n}" for n in range(10)])
    one = weighted_mean({"a": Measure(values, prompts)}, {"a": 1.0})
    twice = weighted_mean({"a": Measure(values, prompts), "b": Measure(values, prompts)}, {"a": 0.5, "b": 0.5})
    assert twice == one


def test_copies_of_an_example_add_no_information() -> None:
    values, prompts = np.array([1.0] * 7 + [0.0] * 3), np.array([f"p{n}" for n in range(10)])
    single, copied = (mean_estimate(np.repeat(values, n), np.repeat(prompts, n)) for n in (1, 5))
    assert copied.low == pytest.approx(single.low)
    assert copied.high == pytest.approx(single.high)


def test_bounds_are_the_means_with_failed_and_passed_examples() -> None:
    estimate = mean_estimate(np.array([1.0, 0.0, math.nan, 1.0]), np.array(["p", "q", "r", "s"]))
    assert (estimate.value, estimate.floor, estimate.ceiling) == pytest.approx((2 / 3, 0.5, 0.75))
    assert (estimate.scored, estimate.unscored) == (3, 1)


def test_no_value_of_unscored_examples_moves_a_standard_error_by_more_than_its_bound() -> None:
    rng = np.random.default_rng(3)
    for _ in range(200):
        n = int(rng.integers(4, 40))
        values = (rng.random(n) < 0.7).astype(float)
        values[rng.random(n) < 0.3] = math.nan
        groups = rng.integers(0, max(2, n // 2), n).astype(str)
        measure = Measure(values, groups)
        bound = unscored_error({"m": measure}, {"m": 1.0})
        errors = []
        for _ in range(20):
            fill = np.where(np.isnan(values), rng.integers(0, 2, n), values)
            errors.append(math.sqrt(weighted_mean({"m": Measure(fill, groups)}, {"m": 1.0}).variance))
        floor = math.sqrt(weighted_mean({"m": measure.filled(0.0)}, {"m": 1.0}).variance)
        assert max(abs(error - floor) for error in errors) <= bound + 1e-12
