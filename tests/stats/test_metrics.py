"""Metrics against the published formulas' own numbers, and the properties an honest estimate has."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from rb_core.benchmarks.custom import custom_spec, read_custom
from rb_core.benchmarks.registry import BENCHMARKS
from rb_core.benchmarks.spec import BenchmarkSpec, Section, Subset
from rb_core.stats import intervals
from rb_core.stats.intervals import REPLICATES, Z95
from rb_core.stats.outcome_files import outcomes_of_table
from rb_core.stats.summary import Summary, summarize
from tests.stats.golden import BEST_OF_FOUR, TIES, V1_SECTIONS, V1_SUBSETS

V1, V2, RM = BENCHMARKS["rewardbench"], BENCHMARKS["rewardbench-2"], BENCHMARKS["rm-bench"]
PAIRS = custom_spec("custom-pairs", {"a": 1, "b": 1})
Row = tuple[str, str, str, int, Sequence[float]]  # id, subset, group, number of chosen, scores


def table(rows: Sequence[Row], tokens: Sequence[int] = ()) -> pd.DataFrame:
    """A score table from one tuple an example."""
    flat = [
        (i, subset, group, c, c < chosen, score, tokens[c] if tokens else 10, False, "NaN" if math.isnan(score) else "")
        for i, subset, group, chosen, scores in rows
        for c, score in enumerate(scores)
    ]
    columns = ["example_id", "subset", "group", "completion", "is_chosen", "score", "num_tokens", "truncated", "reason"]
    return pd.DataFrame(flat, columns=columns).astype({"score": "float64"})


def pairs(subset: str, outcomes: Sequence[float]) -> list[Row]:
    """Pairs of one subset: 1 right, 0 wrong, 0.5 tied, NaN unscored."""
    margins = [math.nan if math.isnan(o) else 2 * o - 1 for o in outcomes]
    return [(f"{subset}-{i}", subset, f"{subset}-{i}", 1, (m, 0.0)) for i, m in enumerate(margins)]


# ---- the published formulas


@pytest.mark.parametrize(("rows", "expected"), TIES)
def test_ties_composite_is_the_published_one(rows: list[tuple[str, int, list[float]]], expected: float) -> None:
    """The Ties composite of RewardBench 2 equals the reference implementation's on random scores, ties included."""
    scores = table([(i, "Ties", f"ties:{i.split(':')[1]}", correct, values) for i, correct, values in rows])
    assert summarize(scores, V2).sections["Ties"].value == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("rows", "expected"), BEST_OF_FOUR)
def test_best_of_four_is_the_published_one(rows: list[list[float]], expected: float) -> None:
    """Best-of-four accuracy with 1/k for k completions at the top equals the reference implementation's."""
    scores = table([(str(i), "Math", str(i), 1, values) for i, values in enumerate(rows)])
    assert summarize(scores, V2).sections["Math"].value == pytest.approx(expected, abs=1e-12)


def test_v1_section_weights_are_the_published_ones() -> None:
    """RewardBench's weights (example counts, math-prm as 984) turn subset scores into the reference's sections."""
    for section in V1.sections:
        if section.name in V1_SECTIONS:
            total = sum(section.weights.values())
            value = sum(weight * V1_SUBSETS[name] for name, weight in section.weights.items()) / total
            assert value == pytest.approx(V1_SECTIONS[section.name], abs=1e-12)


def full_v1(*, prior: bool) -> Summary:
    """RewardBench with eight pairs a subset, of which a fixed number are right."""
    rows: list[Row] = []
    for k, subset in enumerate(V1.subsets):
        if prior or V1.section_of(subset.name) not in (V1.sections[4], None):
            rows += pairs(subset.name, [1.0] * (k % 8) + [0.0] * (8 - k % 8))
    return summarize(table(rows), V1)


@pytest.mark.parametrize("prior", [False, True])
def test_v1_headline_counts_prior_sets_half(prior: bool) -> None:
    """The headline is (Chat + Chat Hard + Safety + Reasoning + Prior / 2) / 4.5, or the mean of four without Prior."""
    result = full_v1(prior=prior)
    four = sum(result.sections[name].value for name in ("Chat", "Chat Hard", "Safety", "Reasoning"))
    expected = (four + 0.5 * result.sections["Prior Sets"].value) / 4.5 if prior else four / 4
    assert result.headline is not None
    assert result.headline.value == pytest.approx(expected, abs=1e-12)
    assert ("Prior Sets" in result.absent) is not prior


def test_prior_sets_average_four_and_show_the_rest() -> None:
    """The prior sets outside the average are scored and shown, and change no section."""
    result = full_v1(prior=True)
    names = ("anthropic_helpful", "anthropic_hhh", "shp", "summarize")
    expected = sum(result.subsets[name].value for name in names) / 4
    assert result.sections["Prior Sets"].value == pytest.approx(expected, abs=1e-12)
    assert "mtbench_gpt4" in result.subsets


def test_rm_bench_matrix() -> None:
    """RM-Bench's hard, normal and easy are the mean wins above, on and below the diagonal of the 3 x 3 matrix."""
    rng = np.random.default_rng(0)
    rows: list[Row] = []
    wins = {}
    for subset in RM.subsets:
        values = rng.normal(size=(20, 6))
        rows += [(f"{subset.name}/{i}", subset.name, f"{subset.name}{i}", 3, v) for i, v in enumerate(values)]
        wins[subset.name] = (values[:, :3, None] > values[:, None, 3:]).mean(axis=0)
    result = summarize(table(rows), RM)
    chat = result.matrices["Chat"]
    assert [cell.value for row in chat.cells for cell in row] == pytest.approx(wins["chat"].ravel().tolist())
    assert chat.hard.value == pytest.approx(wins["chat"][np.triu_indices(3, 1)].mean())
    assert chat.normal.value == pytest.approx(np.diag(wins["chat"]).mean())
    assert chat.easy.value == pytest.approx(wins["chat"][np.tril_indices(3, -1)].mean())
    safety = (wins["safety-refuse"] + wins["safety-response"]) / 2
    every = (wins["chat"] + wins["code"] + wins["math"] + safety) / 4
    assert result.sections["Safety"].value == pytest.approx(safety.mean())
    assert result.matrices["All"].hard.value == pytest.approx(every[np.triu_indices(3, 1)].mean())
    assert result.headline is not None
    assert result.headline.value == pytest.approx(every.mean())


def test_judgebench_headline_is_the_share_of_all_pairs() -> None:
    """JudgeBench's headline weighs its categories by their numbers of pairs."""
    spec = BENCHMARKS["judgebench"]
    rows = [
        row for s in spec.subsets for row in pairs(s.name, [1.0] * ((s.count or 0) // 2) + [0.0] * (-(-s.count // 2)))
    ]
    result = summarize(table(rows), spec)
    assert result.headline is not None
    right = sum(s.count // 2 for s in spec.subsets)
    assert result.headline.value == pytest.approx(right / 350)


# ---- ties and failures


@pytest.mark.parametrize(
    ("scores", "none", "split"),
    [
        ((2.0, 1.0), 1.0, 1.0),  # chosen higher
        ((1.0, 2.0), 0.0, 0.0),  # rejected higher
        ((1.0, 1.0), 0.0, 0.5),  # a tie earns what the record says
        ((1.0, 1.0, 1.0, 1.0), 0.0, 0.25),  # everything ties: 1/k
        ((1.0, 1.0, 0.0, 0.0), 0.0, 0.5),  # two at the top
        ((1.0, 1.0, 2.0, 0.0), 0.0, 0.0),  # a tie below the top is no tie
        ((1.0, 0.0, 0.0, 0.0), 1.0, 1.0),  # rejected ones may tie among themselves
        ((-5.0, -6.0), 1.0, 1.0),  # a negative score is a score like any other
    ],
)
def test_credit_truth_table(scores: tuple[float, ...], none: float, split: float) -> None:
    """An example's credit: 1 above every rejected score, 0 below any, at a tie what the record says."""
    for rule, expected in (("none", none), ("split", split)):
        spec = BenchmarkSpec("x", "x", read_custom, PAIRS.sections, PAIRS.subsets, tie_credit=rule)
        outcome = outcomes_of_table(table([("1", "a", "1", 1, scores)]), spec)
        assert outcome.credits.tolist() == pytest.approx([expected])


def test_ties_are_published() -> None:
    """The number of tied examples stands beside the accuracy."""
    result = summarize(table(pairs("a", [1, 0, 0.5, 0.5]) + pairs("b", [1])), PAIRS)
    assert result.subsets["a"].ties == 2
    assert result.counts.ties == 2


def test_unscored_is_excluded_counted_and_bounded() -> None:
    """An unscored example moves no mean; the bounds say what it could have done."""
    result = summarize(table(pairs("a", [1, 1, 0, math.nan]) + pairs("b", [1])), PAIRS)
    estimate = result.subsets["a"]
    assert (estimate.value, estimate.scored, estimate.unscored) == (pytest.approx(2 / 3), 3, 1)
    assert (estimate.floor, estimate.ceiling) == (0.5, 0.75)
    assert result.counts.reasons == {"NaN": 1}


def test_a_failed_rejected_completion_is_no_win() -> None:
    """A pair whose rejected completion was not scored is unscored, whatever the chosen one got."""
    outcome = outcomes_of_table(table([("1", "a", "1", 1, (5.0, math.nan))]), PAIRS)
    assert not outcome.scored[0]
    assert math.isnan(outcome.credits[0])


def test_nothing_scored_has_no_value() -> None:
    """A subset of which nothing was scored has no value, and bounds from 0 to 1."""
    estimate = summarize(table(pairs("a", [math.nan, math.nan]) + pairs("b", [1])), PAIRS).subsets["a"]
    assert estimate.value is None
    assert (estimate.floor, estimate.ceiling) == (0.0, 1.0)


def test_a_section_that_lacks_a_subset_is_absent() -> None:
    """A missing subset makes its section and the headline absent, not zero and not the mean of the rest."""
    result = summarize(table(pairs("alpacaeval-easy", [1, 1]) + pairs("math-prm", [1, 0])), V1)
    assert result.headline is None
    assert result.sections == {}
    assert "alpacaeval-length" in result.absent["Chat"]
    assert result.subsets["alpacaeval-easy"].value == 1.0


def test_ties_without_reference_versions_are_absent() -> None:
    """Without its ref versions the Ties composite is absent."""
    result = summarize(table([("tied:1", "Ties", "ties:1", 2, (2.0, 1.0, 0.0))]), V2)
    assert "ref" in result.absent["Ties"]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=2, max_size=12), st.data())
def test_becoming_unscored_never_helps(outcomes: list[float], data: st.DataObject) -> None:
    """An example that fails to be scored never raises the floor, never lowers the ceiling, and earns no credit."""
    lost = data.draw(st.integers(0, len(outcomes) - 1))
    before = summarize(table(pairs("a", outcomes) + pairs("b", [1.0])), PAIRS)
    changed = [math.nan if i == lost else o for i, o in enumerate(outcomes)]
    after = summarize(table(pairs("a", changed) + pairs("b", [1.0])), PAIRS)
    for one, other in ((before.subsets["a"], after.subsets["a"]), (before.headline, after.headline)):
        assert other.floor <= one.floor + 1e-12
        assert other.ceiling >= one.ceiling - 1e-12
    total = sum(o for o in changed if not math.isnan(o))
    if total:
        assert after.subsets["a"].value * after.subsets["a"].scored == pytest.approx(total)


@settings(max_examples=30, deadline=None)
@given(st.randoms(use_true_random=False))
def test_order_of_rows_changes_nothing(random: object) -> None:
    """Shuffling the examples of a score table changes no value and no count."""
    rows = pairs("a", [1, 0, 0.5, math.nan, 1]) + pairs("b", [0, 1, 1])
    shuffled = rows.copy()
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    one, other = summarize(table(rows), PAIRS), summarize(table(shuffled), PAIRS)
    assert {k: e.value for k, e in one.subsets.items()} == {k: e.value for k, e in other.subsets.items()}
    assert one.counts == other.counts
    assert one.headline.value == pytest.approx(other.headline.value)


# ---- intervals


@pytest.mark.parametrize(("right", "n"), [(0, 10), (3, 10), (10, 10), (812, 1000), (1, 1)])
def test_wilson_agrees_with_scipy(right: int, n: int) -> None:
    """The interval of an accuracy is scipy's Wilson interval."""
    expected = binomtest(right, n).proportion_ci(method="wilson")
    assert intervals.wilson(right / n, n) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_independent_pairs_have_a_wilson_interval_and_clusters_a_bootstrap() -> None:
    """Pairs that share a prompt are not independent: their interval comes from resampled prompts, and is wider."""
    outcomes = [float(i % 3 > 0) for i in range(60)]
    alone = summarize(table(pairs("a", outcomes) + pairs("b", [1])), PAIRS).subsets["a"]
    rows = [(i, s, f"g{n // 6 % 3}{n // 20}", c, v) for n, (i, s, _, c, v) in enumerate(pairs("a", sorted(outcomes)))]
    together = summarize(table(rows + pairs("b", [1])), PAIRS).subsets["a"]
    assert (alone.method, together.method) == ("wilson", "bootstrap")
    assert together.high - together.low > alone.high - alone.low
    assert together.value == alone.value


def test_bootstrap_of_independent_pairs_has_the_binomial_error() -> None:
    """For a weighted mean of two subsets the bootstrap's standard error is the one of the textbook."""
    spec = BenchmarkSpec(
        "x", "x", read_custom, (Section("S", {"a": 1.0, "b": 3.0}),), (Subset("a"), Subset("b")), tie_credit="none"
    )
    rows = pairs("a", [1.0] * 60 + [0.0] * 40) + pairs("b", [1.0] * 180 + [0.0] * 20)
    estimate = summarize(table(rows), spec).sections["S"]
    expected = math.sqrt((0.25**2) * 0.6 * 0.4 / 100 + (0.75**2) * 0.9 * 0.1 / 200)
    assert estimate.method == "bootstrap"
    assert estimate.stderr == pytest.approx(expected, rel=5 / math.sqrt(2 * REPLICATES))
    assert (estimate.high - estimate.low) / 2 == pytest.approx(Z95 * expected, rel=0.15)


def test_bootstrap_is_seeded() -> None:
    """The same seed gives the same interval to the bit, another seed another."""
    scores = table(pairs("a", [1, 0, 1, 1, 0]) + pairs("b", [0, 1, 1]))
    first, again, other = (summarize(scores, PAIRS, seed).headline for seed in (1, 1, 2))
    assert first == again
    assert first is not None
    assert other is not None
    assert first.stderr != other.stderr


def test_length_bias_splits_by_the_length_of_the_chosen() -> None:
    """Accuracy is given apart for examples whose chosen completion is longer and shorter; equal lengths are in none."""
    longer = table(pairs("a", [1, 1, 0]), tokens=(20, 10))
    shorter = table(pairs("b", [0, 0, 1, 0]), tokens=(5, 10))
    equal = table([("c", "a", "c", 1, (1.0, 0.0))])
    result = summarize(pd.concat([longer, shorter, equal]), PAIRS)
    assert result.length["chosen longer"].value == pytest.approx(2 / 3)
    assert result.length["chosen shorter"].value == pytest.approx(1 / 4)
    assert result.length["chosen longer"].scored == 3


def test_margins_are_worst_chosen_minus_best_rejected() -> None:
    """A margin is the worst chosen score minus the best rejected one, over scored examples."""
    rows: list[Row] = [("1", "a", "1", 2, (3.0, 1.0, 0.5, -2.0)), ("2", "b", "2", 1, (0.0, 2.0))]
    result = summarize(table(rows), PAIRS)
    assert result.margins is not None
    assert result.margins.mean == pytest.approx((0.5 - 2.0) / 2)
    assert result.margins.quantiles["0.5"] == pytest.approx(-0.75)
