"""Paired comparison by hand, against results, and by simulation where the truth is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rb_core.benchmarks.registry import BENCHMARKS
from rb_core.errors import DataError
from rb_core.results.estimate import Estimate
from rb_core.results.schema import Result
from rb_core.stats.item_outcomes import ItemOutcomes
from rb_core.stats.paired import PairedComparison, align, compare_outcomes
from rb_core.stats.significance import mcnemar_mid_p
from tests.fakes.outcomes import EASE, PLAIN, SIMULATED, item_outcomes, simulate_outcomes

STARTER = BENCHMARKS["starter"]


# ---- alignment


def test_alignment_keeps_the_common_examples_in_the_firsts_order() -> None:
    """Examples that only one has are left out; credits stay with their examples."""
    a = item_outcomes("a", [1, 0, 1, 0], ids=["z", "y", "x", "w"])
    b = item_outcomes("b", [0.25, 0.5, 0.75], ids=["w", "q", "z"])
    left, right = align(a, b)
    assert left.example_ids.tolist() == right.example_ids.tolist() == ["z", "w"]
    assert (left.credits.tolist(), right.credits.tolist()) == ([1, 0], [0.75, 0.25])


@pytest.mark.parametrize("swap", [False, True])
def test_alignment_takes_the_groups_of_the_one_whose_prompts_are_known(swap: bool) -> None:
    """Published outcomes have no prompts: paired with a run they get its groups."""
    run = item_outcomes("run", [1, 0, 1], groups=["p", "p", "r"])
    published = item_outcomes("published", [1, 1, 0])
    left, right = align(published, run) if swap else align(run, published)
    assert left.groups.tolist() == right.groups.tolist() == ["p", "p", "r"]


def test_outcomes_of_different_data_are_an_error() -> None:
    with pytest.raises(DataError, match="nothing to pair"):
        align(item_outcomes("a", [1]), item_outcomes("b", [1], benchmark="other"))
    with pytest.raises(DataError, match="example e1 is in different subsets"):
        align(item_outcomes("a", [1, 1], subsets=["s", "s"]), item_outcomes("b", [1, 1], subsets=["s", "t"]))


# ---- two models


@pytest.fixture(scope="module")
def pair(runs: dict[str, ItemOutcomes]) -> PairedComparison:
    return compare_outcomes(runs["builtin/tiny-rm"], runs["baseline/longest"], STARTER)


def test_differences_are_those_of_the_results(pair: PairedComparison, results: dict[tuple[str, str], Result]) -> None:
    """Headline, sections and subsets differ like the two results, the Ties composite included."""
    a, b = results["starter", pair.a], results["starter", pair.b]
    assert pair.difference is not None
    assert a.headline is not None
    assert b.headline is not None
    assert pair.difference.value == pytest.approx((a.headline.value or 0) - (b.headline.value or 0), abs=1e-12)
    assert pair.sections.keys() == a.sections.keys()
    assert pair.subsets.keys() == a.subsets.keys()
    for differences, left, right in ((pair.sections, a.sections, b.sections), (pair.subsets, a.subsets, b.subsets)):
        for name, paired in differences.items():
            expected = (left[name].value or 0) - (right[name].value or 0)
            assert paired.difference.value == pytest.approx(expected, abs=1e-12)
            assert paired.both + paired.only_a + paired.only_b + paired.neither == paired.difference.scored
            assert paired.mcnemar == mcnemar_mid_p(paired.only_a, paired.only_b)
    assert (pair.common, pair.left_out) == (162, 0)


def test_a_comparison_is_the_same_each_time_and_mirrored(runs: dict[str, ItemOutcomes], pair: PairedComparison) -> None:
    """The same seed gives the same numbers; exchanging the models changes signs and counts only."""
    assert compare_outcomes(runs["builtin/tiny-rm"], runs["baseline/longest"], STARTER) == pair
    mirrored = compare_outcomes(runs["baseline/longest"], runs["builtin/tiny-rm"], STARTER)
    assert mirrored.p == pair.p
    assert mirrored.difference is not None
    assert pair.difference is not None
    assert mirrored.difference.low == pytest.approx(-(pair.difference.high or 0), abs=1e-12)
    assert [d.only_a for d in mirrored.sections.values()] == [d.only_b for d in pair.sections.values()]


def test_a_model_is_no_better_than_itself(runs: dict[str, ItemOutcomes]) -> None:
    """Compared with itself: no difference, p of 1, and no interval, since no draw of examples would show one."""
    model = runs["builtin/tiny-rm"]
    comparison = compare_outcomes(model, model, STARTER, replicates=50)
    assert comparison.p == 1.0
    assert comparison.difference == Estimate(value=0.0, scored=162)


def test_unscored_and_missing_examples_are_left_out_and_counted() -> None:
    """Only examples that both scored are compared; a required section without any leaves no headline."""
    a = item_outcomes("a", [1, 1, math.nan, 0], ids=["p", "q", "r", "s"])
    b = item_outcomes("b", [0, math.nan, 1, 0, 1], ids=["p", "q", "r", "s", "t"])
    comparison = compare_outcomes(a, b, PLAIN)
    assert (comparison.common, comparison.left_out) == (2, 5)
    assert comparison.difference is not None
    assert comparison.difference.value == 0.5
    nothing = compare_outcomes(a, item_outcomes("b", [1], ids=["other"]), PLAIN)
    assert (nothing.difference, nothing.p, nothing.common, nothing.sections) == (None, None, 0, {})


def test_examples_of_one_prompt_are_resampled_together() -> None:
    """Ten copies of each example under one prompt give the same standard error as the examples themselves."""
    rng = np.random.default_rng(1)
    a, b = (rng.integers(0, 2, 60).astype(float) for _ in "ab")
    groups = [f"g{n}" for n in range(60) for _ in range(10)]
    single = compare_outcomes(item_outcomes("a", a.tolist()), item_outcomes("b", b.tolist()), PLAIN)
    copies = item_outcomes("a", a.repeat(10).tolist(), groups=groups), item_outcomes("b", b.repeat(10).tolist())
    copied = compare_outcomes(*copies, PLAIN)
    assert single.difference is not None
    assert copied.difference is not None
    assert copied.difference.value == pytest.approx(single.difference.value)
    assert copied.difference.stderr == pytest.approx(single.difference.stderr, rel=0.05)


def test_pairing_removes_the_difficulty_that_both_share() -> None:
    """Two models that err on the same examples differ with a far smaller error than their single errors suggest."""
    base = np.tile([1.0, 0.0], 200)
    better = base.copy()
    better[1:21:2] = 1.0
    models = item_outcomes("better", better.tolist()), item_outcomes("base", base.tolist())
    comparison = compare_outcomes(*models, PLAIN, replicates=500)
    assert comparison.difference is not None
    assert comparison.difference.stderr is not None
    assert comparison.difference.stderr < 0.3 * math.sqrt(2 * 0.25 / 400)
    assert comparison.p is not None
    assert comparison.p < 0.01


# ---- simulation


def error_rates(repetitions: int, seed: int) -> tuple[float, float, float]:
    """Return the share of p below 0.05 between equal models (bootstrap, McNemar), and the coverage of 95% intervals
    between unequal ones."""
    rng = np.random.default_rng(seed)
    wrong = mcnemar = covered = 0
    truth = float(EASE.mean() - (EASE**1.5).mean())
    for _ in range(repetitions):
        a, b, c = simulate_outcomes(rng, (1.0, 1.0, 1.5))
        equal = compare_outcomes(a, b, SIMULATED, seed=int(rng.integers(2**32)), replicates=400)
        unequal = compare_outcomes(a, c, SIMULATED, seed=int(rng.integers(2**32)), replicates=400).difference
        assert equal.p is not None
        assert unequal is not None
        assert unequal.low is not None
        assert unequal.high is not None
        wrong += equal.p < 0.05
        mcnemar += equal.sections["T"].mcnemar < 0.05
        covered += unequal.low <= truth <= unequal.high
    return wrong / repetitions, mcnemar / repetitions, covered / repetitions


def test_error_rates_are_the_nominal_ones() -> None:
    """As far as 300 simulated benchmarks can show."""
    wrong, mcnemar, covered = error_rates(300, seed=1)
    assert 0.025 <= wrong <= 0.075
    assert 0.025 <= mcnemar <= 0.075
    assert 0.925 <= covered <= 0.975


@pytest.mark.soak
def test_error_rates_are_the_nominal_ones_in_many_repetitions() -> None:
    """Equal models are told apart in 3.5% to 6% of 10,000 simulated benchmarks, and 93.5% to 96.5% of the intervals
    hold the true difference."""
    wrong, mcnemar, covered = error_rates(10_000, seed=2)
    assert 0.035 <= wrong <= 0.06
    assert 0.03 <= mcnemar <= 0.06
    assert 0.935 <= covered <= 0.965
