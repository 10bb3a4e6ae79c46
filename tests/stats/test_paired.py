"""Paired comparison by hand, against results, and by simulation where the truth is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rb_core.benchmarks.registry import BENCHMARKS
from rb_core.errors import DataError
from rb_core.results.schema import Result
from rb_core.stats.item_outcomes import ItemOutcomes
from rb_core.stats.paired import PairedComparison, align, compare_outcomes, further_examples
from rb_core.stats.significance import DETECTABLE_ERRORS
from tests.fakes.outcomes import EASE, PLAIN, SIMULATED, item_outcomes, simulate_outcomes, without_scores

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
    assert pair.score is not None
    assert a.headline is not None
    assert b.headline is not None
    expected = (a.headline.value or 0) - (b.headline.value or 0)
    assert pair.score.difference.value == pytest.approx(expected, abs=1e-12)
    assert pair.sections.keys() == a.sections.keys()
    assert pair.subsets.keys() == a.subsets.keys()
    for differences, left, right in ((pair.sections, a.sections, b.sections), (pair.subsets, a.subsets, b.subsets)):
        for name, paired in differences.items():
            expected = (left[name].value or 0) - (right[name].value or 0)
            assert paired.difference.value == pytest.approx(expected, abs=1e-12)
            assert paired.both + paired.only_a + paired.only_b + paired.neither == paired.difference.scored
    assert (pair.common, pair.left_out) == (300, 0)


def test_exchanging_the_models_changes_signs_and_counts_only(
    runs: dict[str, ItemOutcomes],
) -> None:
    """With unscored examples as well."""
    a, b = runs["builtin/tiny-rm"], without_scores(runs["baseline/longest"], np.arange(0, 300, 6))
    pair, mirrored = compare_outcomes(a, b, STARTER), compare_outcomes(b, a, STARTER)
    for name, difference in pair.subsets.items():
        other = mirrored.subsets[name]
        assert other.p == pytest.approx(difference.p, rel=1e-12)
        assert other.difference.low == pytest.approx(-(difference.difference.high or 0), abs=1e-12)
        assert other.only_a == difference.only_b


def test_a_model_is_no_better_than_itself(runs: dict[str, ItemOutcomes]) -> None:
    model = runs["builtin/tiny-rm"]
    score = compare_outcomes(model, model, STARTER).score
    assert score is not None
    assert (score.p, score.difference.value, score.further) == (1.0, 0.0, None)
    assert score.difference.low is not None
    assert score.difference.high is not None
    assert score.difference.low < 0 < score.difference.high


def test_one_rule_serves_score_section_and_subset() -> None:
    """On a board with one section of one subset all rows have the same data and so the same p."""
    rng = np.random.default_rng(5)
    a, b = (item_outcomes(name, (rng.random(80) < 0.6).astype(float).tolist()) for name in "ab")
    comparison = compare_outcomes(a, b, PLAIN)
    rows = [comparison.score, comparison.sections["All"], comparison.subsets["s"], comparison.examples]
    assert len({(row.p, row.difference.low, row.difference.high) for row in rows if row}) == 1
    assert None not in rows


def test_unscored_and_missing_examples_are_counted_once() -> None:
    """r and q are scored by one model, t exists only for b, u is scored by neither."""
    a = item_outcomes("a", [1, 1, math.nan, 0, math.nan], ids=["p", "q", "r", "s", "u"])
    b = item_outcomes("b", [0, math.nan, 1, 0, 1, math.nan], ids=["p", "q", "r", "s", "t", "u"])
    comparison = compare_outcomes(a, b, PLAIN)
    assert (comparison.common, comparison.left_out) == (2, 3)
    assert comparison.score is not None
    assert comparison.score.difference.value == 0.5
    # p: 1, q: 1 - (0 to 1), r: (0 to 1) - 1, s: 0, u: -1 to 1, of five common examples
    assert (comparison.score.difference.floor, comparison.score.difference.ceiling) == pytest.approx((-1 / 5, 3 / 5))
    assert comparison.score.p == 1.0
    nothing = compare_outcomes(a, item_outcomes("b", [1], ids=["other"]), PLAIN)
    assert (nothing.score, nothing.common, nothing.sections) == (None, 0, {})


def test_a_copy_with_unscored_examples_is_never_better(runs: dict[str, ItemOutcomes]) -> None:
    """Whatever it leaves unscored; its difference from the original may still look large on what it scored."""
    rng = np.random.default_rng(7)
    longest = runs["baseline/longest"]
    errors = np.flatnonzero(longest.credits < 1)
    for share in (0.1, 0.5, 1.0):
        left_out = rng.choice(errors, int(share * len(errors)), replace=False)
        copy = without_scores(longest, left_out)
        for row in (compare_outcomes(copy, longest, STARTER).score, compare_outcomes(longest, copy, STARTER).score):
            assert row is None or row.p == 1.0


def test_unscored_examples_never_make_a_lead_significant() -> None:
    """Whenever a model with gaps is significantly better, it is so with its scores."""
    rng = np.random.default_rng(8)
    significant = 0
    for _ in range(150):
        full = item_outcomes("a", (rng.random(120) < 0.75).astype(float).tolist())
        rival = item_outcomes("b", (rng.random(120) < 0.55).astype(float).tolist())
        gaps = without_scores(full, rng.choice(120, int(rng.integers(1, 12)), replace=False))
        with_gaps, complete = (compare_outcomes(model, rival, PLAIN).score for model in (gaps, full))
        assert with_gaps is not None
        assert complete is not None
        assert with_gaps.p >= complete.p or (complete.difference.value or 0) < 0
        significant += with_gaps.p < 0.05
    assert significant > 20


def test_examples_of_one_prompt_count_together() -> None:
    """Ten copies of each example under one prompt give the same test as the examples themselves."""
    rng = np.random.default_rng(1)
    a, b = (rng.integers(0, 2, 60).astype(float) for _ in "ab")
    groups = [f"g{n}" for n in range(60) for _ in range(10)]
    single = compare_outcomes(item_outcomes("a", a.tolist()), item_outcomes("b", b.tolist()), PLAIN).score
    copies = item_outcomes("a", a.repeat(10).tolist(), groups=groups), item_outcomes("b", b.repeat(10).tolist())
    copied = compare_outcomes(*copies, PLAIN).score
    assert single is not None
    assert copied is not None
    assert copied.p == pytest.approx(single.p)
    assert copied.difference.low == pytest.approx(single.difference.low)


def test_pairing_removes_the_difficulty_that_both_share() -> None:
    """Two models that err on the same examples differ with a far smaller error than their single errors suggest."""
    base = np.tile([1.0, 0.0], 200)
    better = base.copy()
    better[1:21:2] = 1.0
    models = item_outcomes("better", better.tolist()), item_outcomes("base", base.tolist())
    score = compare_outcomes(*models, PLAIN).score
    assert score is not None
    assert score.difference.stderr is not None
    assert score.difference.stderr < 0.3 * math.sqrt(2 * 0.25 / 400)
    assert score.p < 0.01


def test_the_detectable_difference_is_found_with_80_percent_power() -> None:
    """Simulated pairs of models that differ by what is detectable: about four in five tests find it."""
    rng = np.random.default_rng(4)
    found, detectable, n = 0, [], 400
    for _ in range(400):
        draw = rng.random(n)
        a = np.where(draw < 0.105, 1.0, np.where(draw < 0.105 + 0.05, 0.0, 1.0))  # only a: 10.5%, only b: 5%
        b = np.where(draw < 0.105, 0.0, 1.0)
        score = compare_outcomes(item_outcomes("a", a.tolist()), item_outcomes("b", b.tolist()), PLAIN).score
        assert score is not None
        found += score.p < 0.05
        detectable.append(score.detectable)
    assert np.mean(detectable) == pytest.approx(0.055, abs=0.003)
    assert 0.76 <= found / 400 <= 0.88


def test_further_examples_are_those_that_make_the_difference_detectable() -> None:
    """A difference of half of what is detectable needs four times as many examples."""
    assert further_examples(0.05, 0.1 / DETECTABLE_ERRORS, 100) == 300
    assert further_examples(-0.2, 0.1 / DETECTABLE_ERRORS, 100) == 0
    assert further_examples(0.0, 0.1, 100) is None


# ---- simulation


def error_rates(repetitions: int, seed: int) -> tuple[float, float, float]:
    """Return the share of p below 0.05 between equal models (headline, one section), and the coverage of 95% intervals
    between unequal ones."""
    rng = np.random.default_rng(seed)
    wrong = wrong_in_section = covered = 0
    truth = float(EASE.mean() - (EASE**1.5).mean())
    for _ in range(repetitions):
        a, b, c = simulate_outcomes(rng, (1.0, 1.0, 1.5))
        equal, unequal = compare_outcomes(a, b, SIMULATED), compare_outcomes(a, c, SIMULATED).score
        assert equal.score is not None
        assert unequal is not None
        assert unequal.difference.low is not None
        assert unequal.difference.high is not None
        wrong += equal.score.p < 0.05
        wrong_in_section += equal.sections["T"].p < 0.05
        covered += unequal.difference.low <= truth <= unequal.difference.high
    return wrong / repetitions, wrong_in_section / repetitions, covered / repetitions


def test_error_rates_are_the_nominal_ones() -> None:
    """As far as 300 simulated benchmarks can show."""
    wrong, wrong_in_section, covered = error_rates(300, seed=1)
    assert 0.025 <= wrong <= 0.08
    assert 0.025 <= wrong_in_section <= 0.08
    assert 0.925 <= covered <= 0.975


@pytest.mark.soak
def test_error_rates_are_the_nominal_ones_in_many_repetitions() -> None:
    wrong, wrong_in_section, covered = error_rates(10_000, seed=2)
    assert 0.04 <= wrong <= 0.06
    assert 0.04 <= wrong_in_section <= 0.06
    assert 0.94 <= covered <= 0.965
