"""Intervals against independent computations."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binomtest

from rb_core.benchmarks.spec import Section
from rb_core.stats.intervals import REPLICATES, Z95, bootstrap, group_codes, group_strata, wilson
from rb_core.stats.summary import summarize
from tests.fakes.outcomes import PAIRS, pairs, score_table


@pytest.mark.parametrize(("right", "n"), [(0, 10), (3, 10), (10, 10), (812, 1000), (1, 1)])
def test_wilson_agrees_with_scipy(right: int, n: int) -> None:
    expected = binomtest(right, n).proportion_ci(method="wilson")
    assert wilson(right / n, n) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_groups_are_numbered_as_they_appear_and_split_by_the_arrays_they_are_in() -> None:
    codes, num_groups = group_codes([np.array(["z", "a", "z"]), np.array(["b", "a"])])
    assert ([array.tolist() for array in codes], num_groups) == ([[0, 1, 0], [2, 1]], 3)
    assert group_strata(codes, num_groups) == [[0], [1], [2]]
    assert group_strata(codes[:1], num_groups) == [[0, 1], [2]]
    assert bootstrap({}, seed=0) == {}


def test_independent_pairs_have_a_wilson_interval_and_clusters_a_bootstrap() -> None:
    """Pairs that share a prompt are not independent: their interval comes from resampled prompts, and is wider."""
    outcomes = [float(i % 3 > 0) for i in range(60)]
    alone = summarize(score_table(pairs("a", outcomes) + pairs("b", [1])), PAIRS).subsets["a"]
    rows = [(i, s, f"g{n // 6 % 3}{n // 20}", c, v) for n, (i, s, _, c, v) in enumerate(pairs("a", sorted(outcomes)))]
    together = summarize(score_table(rows + pairs("b", [1])), PAIRS).subsets["a"]
    assert (alone.method, together.method) == ("wilson", "bootstrap")
    assert together.high - together.low > alone.high - alone.low
    assert together.value == alone.value


def test_bootstrap_of_independent_pairs_has_the_binomial_error() -> None:
    """For a weighted mean of two subsets the bootstrap's standard error is the one of the textbook."""
    spec = replace(PAIRS, sections=(Section("S", {"a": 1.0, "b": 3.0}),))
    rows = pairs("a", [1.0] * 60 + [0.0] * 40) + pairs("b", [1.0] * 180 + [0.0] * 20)
    estimate = summarize(score_table(rows), spec).sections["S"]
    expected = math.sqrt((0.25**2) * 0.6 * 0.4 / 100 + (0.75**2) * 0.9 * 0.1 / 200)
    assert estimate.method == "bootstrap"
    assert estimate.stderr == pytest.approx(expected, rel=5 / math.sqrt(2 * REPLICATES))
    assert (estimate.high - estimate.low) / 2 == pytest.approx(Z95 * expected, rel=0.15)


def test_bootstrap_is_seeded() -> None:
    """The same seed gives the same interval to the bit, another seed another."""
    scores = score_table(pairs("a", [1, 0, 1, 1, 0]) + pairs("b", [0, 1, 1]))
    first, again, other = (summarize(scores, PAIRS, seed).headline for seed in (1, 1, 2))
    assert first == again
    assert first is not None
    assert other is not None
    assert first.stderr != other.stderr
