"""Paired comparison against independent computations, and by simulation where the truth is known."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from rb_core.benchmarks.custom import custom_spec
from rb_core.benchmarks.registry import BENCHMARKS
from rb_core.benchmarks.spec import BenchmarkSpec, Section
from rb_core.errors import DataError
from rb_core.results.estimate import Estimate
from rb_core.results.schema import Result
from rb_core.results.storage import read_results
from rb_core.stats.calibration import measure_calibration
from rb_core.stats.composition import section_scores
from rb_core.stats.item_outcomes import ItemOutcomes
from rb_core.stats.length import accuracy_by_length
from rb_core.stats.outcome_files import outcomes_of_scores, read_items
from rb_core.stats.paired import PairedComparison, align, compare_outcomes
from rb_core.stats.rank_intervals import RankInterval, Standing, pair_variances, rank_intervals
from rb_core.stats.significance import holm, mcnemar_mid_p
from tests.paths import BUNDLED

V1, STARTER = BENCHMARKS["rewardbench"], BENCHMARKS["starter"]
PLAIN = custom_spec("plain", {"s": 1})


@pytest.fixture(scope="module")
def results() -> dict[tuple[str, str], Result]:
    return {(r.benchmark.id, r.model.name): r for r in read_results(BUNDLED)[0]}


@pytest.fixture(scope="module")
def items() -> dict[str, ItemOutcomes]:
    return read_items(BUNDLED / "items" / "rewardbench.parquet")


@pytest.fixture(scope="module")
def runs() -> dict[str, ItemOutcomes]:
    found = [outcomes_of_scores(path) for path in sorted((BUNDLED / "scores" / "starter").rglob("*.parquet"))]
    return {each.model: each for each in found}


def made(
    model: str,
    credits: Sequence[float],
    *,
    subsets: Sequence[str] = (),
    groups: Sequence[str] = (),
    ids: Sequence[str] = (),
    benchmark: str = "plain",
) -> ItemOutcomes:
    """Outcomes of a model; by default of one subset, each example its own group."""
    names = np.array(ids or [f"e{n}" for n in range(len(credits))], dtype=np.str_)
    return ItemOutcomes(
        model=model,
        benchmark=benchmark,
        example_ids=names,
        subsets=np.array(subsets or ["s"] * len(credits), dtype=np.str_),
        groups=np.array(groups, dtype=np.str_) if groups else names,
        credits=np.array(credits, dtype=np.float64),
    )


# ---- pairing


def test_alignment_keeps_the_common_examples_in_the_firsts_order() -> None:
    """Examples that only one has are left out; credits stay with their examples."""
    a = made("a", [1, 0, 1, 0], ids=["z", "y", "x", "w"])
    b = made("b", [0.25, 0.5, 0.75], ids=["w", "q", "z"])
    left, right = align(a, b)
    assert left.example_ids.tolist() == right.example_ids.tolist() == ["z", "w"]
    assert (left.credits.tolist(), right.credits.tolist()) == ([1, 0], [0.75, 0.25])


@pytest.mark.parametrize("swap", [False, True])
def test_alignment_takes_the_groups_of_whichever_knows_the_prompts(swap: bool) -> None:
    """Published outcomes have no prompts: paired with a run they get its groups."""
    run, published = made("run", [1, 0, 1], groups=["p", "p", "r"]), made("published", [1, 1, 0])
    left, right = align(published, run) if swap else align(run, published)
    assert left.groups.tolist() == right.groups.tolist() == ["p", "p", "r"]


def test_what_cannot_be_paired_is_an_error() -> None:
    """Outcomes of two benchmarks, and ids that mean different examples, are errors that say so."""
    with pytest.raises(DataError, match="nothing to pair"):
        align(made("a", [1]), made("b", [1], benchmark="other"))
    with pytest.raises(DataError, match="example e1 is in different subsets"):
        align(made("a", [1, 1], subsets=["s", "s"]), made("b", [1, 1], subsets=["s", "t"]))


# ---- McNemar and Holm


@given(st.integers(0, 60), st.integers(0, 60))
def test_mid_p_is_the_tail_with_half_of_what_was_seen(only_a: int, only_b: int) -> None:
    """The mid-p equals twice the sum of binomial probabilities below, plus the observed one once."""
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
    """Four p-values by hand: 4 x 0.005, 3 x 0.01, 2 x 0.03, and the last not below the one before it."""
    assert holm([0.01, 0.04, 0.03, 0.005]).tolist() == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]).tolist() == [1.0, 1.0]
    assert holm([]).tolist() == []


# ---- two models


@pytest.fixture(scope="module")
def pair(runs: dict[str, ItemOutcomes]) -> PairedComparison:
    return compare_outcomes(runs["builtin/tiny-rm"], runs["baseline/longest"], STARTER)


def test_differences_are_those_of_the_results(pair: PairedComparison, results: dict[tuple[str, str], Result]) -> None:
    """Headline, sections and subsets differ by what the two results differ, the Ties composite included."""
    a, b = results["starter", pair.a], results["starter", pair.b]
    assert pair.difference is not None
    assert a.headline is not None
    assert b.headline is not None
    assert pair.difference.value == pytest.approx((a.headline.value or 0) - (b.headline.value or 0), abs=1e-12)
    assert pair.sections.keys() == a.sections.keys()
    assert pair.subsets.keys() == a.subsets.keys()
    for found, left, right in ((pair.sections, a.sections, b.sections), (pair.subsets, a.subsets, b.subsets)):
        for name, each in found.items():
            expected = (left[name].value or 0) - (right[name].value or 0)
            assert each.difference.value == pytest.approx(expected, abs=1e-12)
            assert each.both + each.only_a + each.only_b + each.neither == each.difference.scored
            assert each.mcnemar == mcnemar_mid_p(each.only_a, each.only_b)
    assert (pair.common, pair.left_out) == (162, 0)


def test_a_comparison_is_the_same_each_time_and_mirrored(runs: dict[str, ItemOutcomes], pair: PairedComparison) -> None:
    """The same seed gives the same numbers; exchanging the models changes signs and counts only."""
    again = compare_outcomes(runs["builtin/tiny-rm"], runs["baseline/longest"], STARTER)
    assert again == pair
    other = compare_outcomes(runs["baseline/longest"], runs["builtin/tiny-rm"], STARTER)
    assert other.p == pair.p
    assert other.difference is not None
    assert pair.difference is not None
    assert other.difference.low == pytest.approx(-(pair.difference.high or 0), abs=1e-12)
    assert [d.only_a for d in other.sections.values()] == [d.only_b for d in pair.sections.values()]


def test_a_model_is_no_better_than_itself(runs: dict[str, ItemOutcomes]) -> None:
    """Compared with itself: no difference, p of 1, and no interval, since no draw of examples would show one."""
    found = compare_outcomes(runs["builtin/tiny-rm"], runs["builtin/tiny-rm"], STARTER)
    assert found.p == 1.0
    assert found.difference == Estimate(value=0.0, scored=162)


def test_unscored_and_missing_examples_are_left_out_and_counted() -> None:
    """Only examples that both scored are compared; a required section without any leaves no headline."""
    a = made("a", [1, 1, math.nan, 0], ids=["p", "q", "r", "s"])
    b = made("b", [0, math.nan, 1, 0, 1], ids=["p", "q", "r", "s", "t"])
    found = compare_outcomes(a, b, PLAIN)
    assert (found.common, found.left_out) == (2, 5)
    assert found.difference is not None
    assert found.difference.value == 0.5
    nothing = compare_outcomes(a, made("b", [1], ids=["other"]), PLAIN)
    assert (nothing.difference, nothing.p, nothing.common, nothing.sections) == (None, None, 0, {})


def test_examples_of_one_prompt_are_resampled_together() -> None:
    """Ten copies of each example under one prompt do not make the difference surer than the examples themselves."""
    rng = np.random.default_rng(1)
    a, b = (rng.integers(0, 2, 60).astype(float) for _ in "ab")
    groups = [f"g{n}" for n in range(60) for _ in range(10)]
    single = compare_outcomes(made("a", a.tolist()), made("b", b.tolist()), PLAIN)
    copied = compare_outcomes(made("a", a.repeat(10).tolist(), groups=groups), made("b", b.repeat(10).tolist()), PLAIN)
    assert single.difference is not None
    assert copied.difference is not None
    assert copied.difference.value == pytest.approx(single.difference.value)
    assert copied.difference.stderr == pytest.approx(single.difference.stderr, rel=0.05)


def test_pairing_takes_out_what_is_hard_for_both() -> None:
    """Two models that err on the same examples are told apart by far less than their single errors suggest."""
    base = np.tile([1.0, 0.0], 200)
    better = base.copy()
    better[1:21:2] = 1.0
    found = compare_outcomes(made("better", better.tolist()), made("base", base.tolist()), PLAIN)
    assert found.difference is not None
    assert found.difference.stderr is not None
    assert found.difference.stderr < 0.3 * math.sqrt(2 * 0.25 / 400)
    assert found.p is not None
    assert found.p < 0.01


# ---- a board


def standings(results: dict[tuple[str, str], Result], outcomes: dict[str, ItemOutcomes], board: str) -> list[Standing]:
    return [
        Standing(name, result.headline, frozenset(result.sections), found)
        for name, found in outcomes.items()
        if (result := results[board, name]).headline is not None
    ]


def plain_weights(spec: BenchmarkSpec, sections: frozenset[str]) -> dict[str, float]:
    """The weight of each subset in the headline of a result with these sections, from the record."""
    total = sum(s.headline_weight for s in spec.sections if s.name in sections)
    return {
        name: s.headline_weight / total * weight / sum(s.weights.values())
        for s in spec.sections
        if s.name in sections
        for name, weight in s.weights.items()
    }


def plain_ranges(found: list[Standing], spec: BenchmarkSpec, alpha: float = 0.05) -> list[RankInterval]:
    """Rank ranges by a loop over the pairs, one at a time, and over the subsets of each."""
    subsets = found[0].outcomes.subsets if found[0].outcomes else np.empty(0)
    rows = {name: np.flatnonzero(subsets == name) for name in set(subsets.tolist())}
    earned = [s.outcomes.credits for s in found if s.outcomes]
    weights = [plain_weights(spec, s.sections) for s in found]
    stderrs = [s.headline.stderr or math.nan for s in found]

    def variance(values: list[np.ndarray]) -> float:
        return sum(float(np.var(v)) / len(v) for v in values)

    def scaled(i: int, name: str) -> np.ndarray:
        return weights[i].get(name, 0.0) * earned[i][rows[name]]

    rest = [
        max(0.0, stderrs[i] ** 2 - variance([scaled(i, name) for name in rows])) * (not weights[i].keys() <= set(rows))
        for i in range(len(found))
    ]
    tests = []
    for i in range(len(found)):
        for j in range(i):
            of_items = variance([scaled(i, name) - scaled(j, name) for name in rows])
            difference = (found[i].headline.value or 0) - (found[j].headline.value or 0)
            z = abs(difference) / math.sqrt(of_items + rest[i] + rest[j])
            tests.append((math.erfc(z / math.sqrt(2)), i, j, difference))
    better, worse = [0] * len(found), [0] * len(found)
    for number, (p, i, j, difference) in enumerate(sorted(tests)):
        if p * (len(tests) - number) > alpha:
            break
        winner, loser = (i, j) if difference > 0 else (j, i)
        better[loser] += 1
        worse[winner] += 1
    return [(1 + b, len(found) - w, "items") for b, w in zip(better, worse, strict=True)]


def test_ranges_are_those_of_a_plain_loop_over_all_pairs(
    results: dict[tuple[str, str], Result], items: dict[str, ItemOutcomes]
) -> None:
    """On the 133 bundled models the ranges equal those that 8,778 comparisons, one at a time, give."""
    found = standings(results, items, "rewardbench")
    assert len(found) == 133
    assert rank_intervals(found, V1) == plain_ranges(found, V1)


def test_ranges_are_quick(results: dict[tuple[str, str], Result], items: dict[str, ItemOutcomes]) -> None:
    """133 models take less than three seconds of one core."""
    found = standings(results, items, "rewardbench")
    begin = time.process_time()
    rank_intervals(found, V1)
    assert time.process_time() - begin < 3


@pytest.mark.parametrize("clustered", [False, True])
def test_the_error_in_closed_form_is_the_bootstraps(runs: dict[str, ItemOutcomes], clustered: bool) -> None:
    """The standard error behind the ranges is the paired bootstrap's within 6%, with shared prompts and Ties too."""
    names = ["builtin/tiny-rm", "baseline/longest", "baseline/random"]
    found = [runs[name] for name in names]
    if clustered:  # every two neighbours share a prompt, but for Ties, whose two versions do already
        groups = found[0].groups.copy()
        plain = np.flatnonzero(found[0].subsets != "ties")
        groups[plain[1::2]] = groups[plain[: len(plain) - len(plain) % 2 : 2]]
        found = [replace(each, groups=groups) for each in found]
    sections = frozenset(s.name for s in STARTER.sections)
    _, variances = pair_variances([Standing(e.model, Estimate(value=0.5), sections, e) for e in found], STARTER)
    for i, a in enumerate(found):
        for j, b in enumerate(found[:i]):
            drawn = compare_outcomes(a, b, STARTER, replicates=4000).difference
            assert drawn is not None
            assert math.sqrt(variances[i, j]) == pytest.approx(drawn.stderr, rel=0.06)


def test_intervals_serve_where_items_are_not_known() -> None:
    """By hand: differences of 0.2 with errors of 0.03 are significant at any of six, of 0.1 are not; a model without
    an error has no range, and keeps every worst rank one lower."""
    values = [0.9, 0.88, 0.8, 0.6, 0.5]
    found = [Standing(f"m{n}", Estimate(value=v, stderr=0.03), frozenset({"All"})) for n, v in enumerate(values)]
    found[-1] = found[-1]._replace(headline=Estimate(value=0.5))
    assert rank_intervals(found, PLAIN) == [
        (1, 4, "intervals"),
        (1, 4, "intervals"),
        (1, 4, "intervals"),
        (4, 5, "intervals"),
        None,
    ]
    assert rank_intervals([], PLAIN) == []
    assert rank_intervals(found[:1], PLAIN) == [(1, 1, "intervals")]


def test_items_and_intervals_mix_on_a_board() -> None:
    """A pair in which one model has no outcomes is tested by the two errors; the other pairs by items."""
    rng = np.random.default_rng(2)
    base = (rng.random(400) < 0.7).astype(float)
    better = np.where((base == 0) & (rng.random(400) < 0.12), 1.0, base)
    both = [made("better", better.tolist()), made("base", base.tolist())]

    def headline(value: float) -> Estimate:
        return Estimate(value=value, stderr=math.sqrt(value * (1 - value) / 400))

    found = [Standing(e.model, headline(float(e.credits.mean())), frozenset({"All"}), e) for e in both]
    alone = Standing("alone", headline(float(base.mean())), frozenset({"All"}))
    assert rank_intervals([*found, alone], PLAIN) == [(1, 2, "items"), (2, 3, "items"), (1, 3, "intervals")]


def test_what_a_headline_has_beyond_the_items_adds_its_own_error() -> None:
    """With half of the headline not in the outcomes, a difference that these alone would decide is left open."""
    spec = replace(custom_spec("plain", {"s": 1, "t": 1}), sections=(Section("S", {"s": 1}), Section("T", {"t": 1})))
    better, base = [1.0] * 120 + [0.0] * 80, [1.0] * 80 + [0.0] * 120
    found = [
        Standing(name, Estimate(value=value, stderr=error), frozenset({"S", "T"}), made(name, earned))
        for name, earned, value, error in (("a", better, 0.6, 0.06), ("b", base, 0.5, 0.06))
    ]
    assert rank_intervals(found, spec) == [(1, 2, "items"), (1, 2, "items")]
    whole = [s._replace(sections=frozenset({"S"})) for s in found]
    assert rank_intervals(whole, spec) == [(1, 1, "items"), (2, 2, "items")]


# ---- simulation: what is claimed of errors holds where the truth is known

SIMULATED = replace(
    custom_spec("plain", {"s": 1, "t": 1, "u": 1}),
    sections=(Section("S", {"s": 2.0, "t": 1.0}), Section("T", {"u": 1.0}, headline_weight=0.5)),
)
SIZES = {"s": 100, "t": 60, "u": 80}
EASE = np.array([0.3, 0.6, 0.95])  # how likely a model is right, by prompt, each as likely


def simulated(rng: np.random.Generator, powers: Sequence[float]) -> list[ItemOutcomes]:
    """Outcomes of a model for each power: two examples a prompt, whose ease both models meet, to that power."""
    subsets = [name for name, size in SIZES.items() for _ in range(size)]
    groups = [f"{name}{n // 2}" for name, size in SIZES.items() for n in range(size)]
    ease = rng.choice(EASE, len(subsets) // 2).repeat(2)
    return [
        made(f"m{n}", (rng.random(len(ease)) < ease**power).astype(float).tolist(), subsets=subsets, groups=groups)
        for n, power in enumerate(powers)
    ]


def rates(repetitions: int, seed: int) -> tuple[float, float, float]:
    """The share of p below 0.05 between equal models (bootstrap, McNemar), and of 95% intervals that hold the truth
    between unequal ones."""
    rng = np.random.default_rng(seed)
    wrong = mcnemar = covered = 0
    truth = float(EASE.mean() - (EASE**1.5).mean())
    for _ in range(repetitions):
        a, b, c = simulated(rng, (1.0, 1.0, 1.5))
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


def check_rates(repetitions: int, seed: int) -> None:
    wrong, mcnemar, covered = rates(repetitions, seed)
    assert 0.035 <= wrong <= 0.06
    assert 0.03 <= mcnemar <= 0.06
    assert 0.935 <= covered <= 0.965


def test_errors_are_as_large_as_they_say() -> None:
    """In 1,000 simulated benchmarks equal models are told apart in 3.5% to 6%, and 93.5% to 96.5% of the intervals hold
    the true difference."""
    check_rates(1000, seed=1)


@pytest.mark.soak
def test_errors_are_as_large_as_they_say_in_many_repetitions() -> None:
    """The same in 10,000 simulated benchmarks."""
    check_rates(10_000, seed=2)


def test_a_board_of_equal_models_is_left_open() -> None:
    """In 400 simulated boards of eight equal models at most 6% narrow any range, by items and by intervals."""
    rng = np.random.default_rng(3)
    narrowed = {"items": 0, "intervals": 0}
    for _ in range(400):
        found = []
        for each in simulated(rng, [1.0] * 8):
            values = section_scores(each, SIMULATED)
            headline = (values["S"] + 0.5 * values["T"]) / 1.5
            found.append(Standing(each.model, Estimate(value=headline, stderr=0.03), frozenset(values), each))
        for method in narrowed:
            shown = found if method == "items" else [s._replace(outcomes=None) for s in found]
            narrowed[method] += any(r != (1, 8, method) for r in rank_intervals(shown, SIMULATED))
    assert 0 < narrowed["items"] <= 24
    assert narrowed["intervals"] <= 24


# ---- one model


def test_margins_that_are_log_odds_are_calibrated() -> None:
    """Margins drawn from the Bradley-Terry model have an error near zero; three times as large, they claim too much."""
    rng = np.random.default_rng(4)
    size = np.abs(rng.normal(0, 2, 40_000))
    margins = np.where(rng.random(40_000) < 1 / (1 + np.exp(-size)), size, -size)
    true, sure = measure_calibration(margins), measure_calibration(3 * margins)
    assert true is not None
    assert sure is not None
    assert true.ece < 0.01
    assert sure.ece > 0.05
    assert sure.brier > true.brier
    for each in true.bins:
        assert each.low <= each.accuracy <= each.high
        assert each.accuracy == pytest.approx(each.confidence, abs=0.03)


def test_calibration_is_what_it_is_by_hand() -> None:
    """Four margins, one of them unscored, in two bins."""
    found = measure_calibration(np.array([0.0, math.log(9), -math.log(9), math.nan]), bins=2)
    assert found is not None
    assert [(b.start, b.end, b.examples) for b in found.bins] == [(0.5, 0.75, 1), (0.75, 1.0, 2)]
    assert [b.confidence for b in found.bins] == pytest.approx([0.5, 0.9])
    assert [b.accuracy for b in found.bins] == [0.5, 0.5]
    assert found.ece == pytest.approx(2 / 3 * 0.4)
    assert found.brier == pytest.approx((0.25 + 0.01 + 0.81) / 3)
    assert found.examples == 3
    assert measure_calibration(np.array([math.nan])) is None


def test_a_margin_beyond_floats_is_in_the_last_bin() -> None:
    """A margin of which the probability is 1 in floating point counts like any other."""
    found = measure_calibration(np.array([1e6, -1e6]))
    assert found is not None
    assert [(b.examples, b.accuracy) for b in found.bins] == [(2, 0.5)]
    assert (found.ece, found.brier) == (0.5, 0.5)


def test_accuracy_by_length_is_the_results(
    runs: dict[str, ItemOutcomes], results: dict[tuple[str, str], Result]
) -> None:
    """Where the chosen are longer and where they are shorter, the accuracies are those of the runs' results."""
    for name, found in runs.items():
        estimates = accuracy_by_length(found, STARTER)
        stated = results["starter", name].length
        assert len(stated) == 2
        for label, expected in stated.items():
            assert estimates[label].value == pytest.approx(expected.value, abs=1e-12)
            assert estimates[label].scored == expected.scored
    assert accuracy_by_length(made("published", [1, 0]), PLAIN) == {}
