from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import pearsonr, spearmanr

from rb_core.stats.correlation import MIN_PAIRS, RankCorrelation, correlate_ranks, smallest_visible


def covered(n: int, r: float, times: int) -> float:
    """Return the share of intervals that hold Spearman's correlation of a normal distribution with correlation r."""
    rng = np.random.default_rng(n)
    truth = 6 / math.pi * math.asin(r / 2)
    rows = [correlate_ranks(*rng.multivariate_normal([0, 0], [[1, r], [r, 1]], size=n).T) for _ in range(times)]
    return float(np.mean([(row.low or 1.0) <= truth <= (row.high or -1.0) for row in rows]))


@pytest.mark.parametrize(("n", "r"), [(MIN_PAIRS, 0.5), (24, 0.9), (80, 0.8)])
def test_intervals_hold_the_true_rank_correlation(n: int, r: float) -> None:
    assert 0.93 <= covered(n, r, 500) <= 0.98


@pytest.mark.soak
@pytest.mark.parametrize("n", [MIN_PAIRS, 15, 24, 50, 150])
@pytest.mark.parametrize("r", [0.0, 0.5, 0.8, 0.9, 0.95])
def test_intervals_hold_the_true_rank_correlation_in_many_settings(n: int, r: float) -> None:
    assert 0.93 <= covered(n, r, 4000) <= 0.975


def test_correlations_are_those_of_scipy() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=20)
    y = x + rng.normal(size=20)
    row = correlate_ranks(x, y)
    assert row.spearman == pytest.approx(spearmanr(x, y).statistic)
    assert row.pearson == pytest.approx(pearsonr(x, y).statistic)
    assert (pearsonr(x, y).pvalue < 0.05) == (abs(row.pearson or 0.0) > smallest_visible(18))


def test_too_few_pairs_have_no_interval() -> None:
    few = correlate_ranks(np.arange(MIN_PAIRS - 1.0), np.arange(MIN_PAIRS - 1.0) ** 2)
    assert (few.spearman, few.low, few.high) == (pytest.approx(1.0), None, None)
    assert correlate_ranks(np.arange(2.0), np.arange(2.0)) == RankCorrelation(2)
    assert correlate_ranks(np.ones(20), np.arange(20.0)) == RankCorrelation(20)
