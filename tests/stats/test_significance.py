"""McNemar's mid-p and Holm's correction against independent computations."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from rb_core.stats.significance import bootstrap_p, holm, mcnemar_mid_p


@settings(max_examples=40)
@given(st.integers(0, 60), st.integers(0, 60))
def test_mid_p_is_the_tail_with_half_of_the_observed_probability(only_a: int, only_b: int) -> None:
    """It equals twice the sum of binomial probabilities below, plus the observed one once."""
    n, k = only_a + only_b, min(only_a, only_b)
    below = sum(math.comb(n, i) for i in range(k)) / 2**n
    expected = min(1.0, 2 * below + math.comb(n, k) / 2**n)
    assert mcnemar_mid_p(only_a, only_b) == pytest.approx(expected, rel=1e-9)
    assert mcnemar_mid_p(only_a, only_b) == mcnemar_mid_p(only_b, only_a)


def test_mid_p_is_that_of_the_papers_example() -> None:
    """Fagerland et al. 2013 give 0.039 for 1 and 7 discordant pairs, between the asymptotic and the exact test."""
    assert mcnemar_mid_p(1, 7) == pytest.approx(0.039, abs=5e-4)
    assert 2 * binom.cdf(1, 8, 0.5) == pytest.approx(0.070, abs=5e-4)
    assert mcnemar_mid_p(0, 0) == 1.0


def test_holm_is_the_textbooks() -> None:
    """Four p values by hand: 4 x 0.005, 3 x 0.01, 2 x 0.03, and the last not below the one before it."""
    assert holm([0.01, 0.04, 0.03, 0.005]).tolist() == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]).tolist() == [1.0, 1.0]
    assert holm([]).tolist() == []


def test_bootstrap_p_counts_the_rarer_side_and_the_data() -> None:
    assert bootstrap_p(np.array([-1.0, 1.0, 2.0, 3.0])) == pytest.approx(2 * 2 / 5)
    assert bootstrap_p(np.ones(99)) == pytest.approx(0.02)
    assert bootstrap_p(np.zeros(9)) == 1.0
