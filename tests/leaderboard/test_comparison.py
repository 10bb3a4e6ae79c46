from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path

import pytest

from rb_core.benchmarks.registry import BENCHMARKS
from rb_core.leaderboard.board import Board
from rb_core.leaderboard.comparison import (
    ComparisonError,
    ComparisonRow,
    ModelComparison,
    OutcomeCounts,
    compare_models,
)
from rb_core.leaderboard.store import ResultsStore
from rb_core.results.estimate import Estimate
from rb_core.results.schema import BenchmarkRef, ModelRef, Published, Result
from rb_core.results.score_table import load_score_table
from rb_core.stats.item_outcomes import ItemOutcomes
from rb_core.stats.summary import summarize
from tests.fakes.unscored_runs import SILENT
from tests.paths import BUNDLED

TINY, LONGEST = "builtin/tiny-rm", "baseline/longest"
GPT = "openai/gpt-4o-2024-08-06"  # without outcomes of single examples


@pytest.fixture(scope="module")
def best_two(bundled_boards: dict[str, Board]) -> list[str]:
    """The two best models of RewardBench with outcomes of single examples."""
    rows = bundled_boards["rewardbench"].rows
    return [row.model for row in rows if row.rank_interval and row.rank_interval[2] == "items"][:2]


@pytest.fixture(scope="module")
def comparison(bundled_store: ResultsStore, best_two: list[str]) -> ModelComparison:
    return compare_models(bundled_store, "rewardbench", best_two)


class PublishedScores:
    """Published results on JudgeBench: the same value and standard error in every section, no outcomes."""

    def __init__(self, **models: tuple[float, float | None]) -> None:
        self._results = {
            name: Result(
                status="published",
                benchmark=BenchmarkRef(id="judgebench", title="JudgeBench", source="invented"),
                model=ModelRef(name=name, kind="generative"),
                sections={s.name: Estimate(value=value, stderr=stderr) for s in BENCHMARKS["judgebench"].sections},
                published=Published(source="invented"),
            )
            for name, (value, stderr) in models.items()
        }

    def results(self, benchmark: str) -> Mapping[str, Result]:
        return self._results

    def outcomes(self, benchmark: str, model: str) -> ItemOutcomes | None:
        return None


def row(comparison: ModelComparison, name: str) -> ComparisonRow:
    return next(row for row in comparison.rows if row.name == name)


def num_examples(counts: OutcomeCounts | None) -> int:
    assert counts is not None
    return counts.both + counts.only_a + counts.only_b + counts.neither


def test_models_with_outcomes_are_compared_example_by_example(comparison: ModelComparison) -> None:
    paired = comparison.pairs[0].paired
    assert paired is not None
    assert paired.score is not None
    assert paired.examples is not None
    (pair,) = comparison.to_json()["pairs"]
    assert (pair["basis"], pair["examples"], pair["p"]) == ("items", 2985, paired.score.p)
    assert pair["difference"]["value"] == paired.score.difference.value
    assert num_examples(OutcomeCounts.of(paired.examples)) == 2985
    assert pair["agreement"]["p"] == paired.examples.p
    sizes = {subset.name: subset.count for subset in BENCHMARKS["rewardbench"].subsets}
    subsets = [row for row in comparison.rows if row.level == "subset"]
    assert len(subsets) == 23
    for subset in subsets:
        assert num_examples(subset.differences[0].counts) == sizes[subset.name]
        a, b = (estimate.value for estimate in subset.values)
        assert a is not None
        assert b is not None
        assert subset.differences[0].difference.value == pytest.approx(a - b, abs=1e-4)
    json.dumps(comparison.to_json(), allow_nan=False)


def test_a_subset_of_right_and_wrong_answers_is_tested_by_mcnemar(comparison: ModelComparison) -> None:
    (difference,) = row(comparison, "xstest-should-respond").differences
    counts = difference.counts
    assert counts is not None
    z = abs(counts.only_a - counts.only_b) / math.sqrt(counts.only_a + counts.only_b)
    assert difference.p == pytest.approx(math.erfc(z / math.sqrt(2)))
    assert counts.p == difference.p


def test_a_difference_says_what_such_a_comparison_finds(comparison: ModelComparison) -> None:
    """A detectable difference, and the examples that would settle a smaller one."""
    for difference in comparison.rows[0].differences:
        assert difference.detectable is not None
        assert 0.005 < difference.detectable < 0.05
        assert difference.further is not None
        assert (difference.further > 0) == (abs(difference.difference.value or 0) < difference.detectable)


def test_unscored_examples_are_bounded_and_named(silent_root: Path) -> None:
    store = ResultsStore(silent_root)
    store.refresh()
    compared = compare_models(store, "starter", [LONGEST, SILENT]).to_json()
    (pair,), score = compared["pairs"], compared["rows"][0]
    assert "37 unscored examples could change it" in pair["verdict"]
    assert pair["difference"]["floor"] < 0 < pair["difference"]["ceiling"]
    assert [model["coverage"] for model in compared["models"]] == [1, pytest.approx(263 / 300)]
    whole, (floor, ceiling) = score["bounds"]
    assert whole is None
    assert floor < score["values"][1] < ceiling
    assert pair["power_words"].startswith("Smallest detectable difference: ")
    certain = compare_models(store, "starter", [LONGEST, "baseline/prompt-overlap"]).to_json()["pairs"][0]
    assert certain["better"] == LONGEST
    assert certain["power_words"].endswith("points (80% power).")  # nothing is left to settle


class WithoutOutcomes:
    """Results whose score files are missing."""

    def __init__(self, results: Mapping[str, Result]) -> None:
        self._results = results

    def results(self, benchmark: str) -> Mapping[str, Result]:
        return self._results

    def outcomes(self, benchmark: str, model: str) -> None:
        return None


def test_leaving_errors_unscored_makes_no_model_better_where_outcomes_are_missing(bundled_store: ResultsStore) -> None:
    results = dict(bundled_store.results("starter"))
    name, others = LONGEST, results.keys() - {LONGEST}
    frame, _, spec = load_score_table(BUNDLED / results[name].scores_path())
    outcomes = bundled_store.outcomes("starter", name)
    assert outcomes is not None
    errors = outcomes.example_ids[outcomes.credits < 1]
    frame.loc[frame["example_id"].isin(errors), "score"] = math.nan
    without_errors = results[name].model_copy(update=summarize(frame, spec)._asdict())

    def better(results: Mapping[str, Result], other: str) -> set[str]:
        rows = compare_models(WithoutOutcomes(results), "starter", [name, other]).rows
        return {row.name for row in rows if row.differences[0].better == name}

    for other in others:
        assert better(results | {name: without_errors}, other) <= better(results, other)


def test_p_values_of_several_pairs_are_adjusted_by_holm(bundled_store: ResultsStore) -> None:
    others = [LONGEST, "baseline/shortest", "baseline/constant"]
    single = {other: compare_models(bundled_store, "starter", [TINY, other]).to_json()["pairs"][0] for other in others}
    together = {p["b"]: p for p in compare_models(bundled_store, "starter", [TINY, *others]).to_json()["pairs"]}
    assert list(together) == others
    least = 0.0
    for other, factor in zip(sorted(others, key=lambda other: single[other]["p"]), (3, 2, 1), strict=True):
        least = max(least, min(1.0, factor * single[other]["p"]))
        assert together[other]["p"] == pytest.approx(least)
        assert "by Holm" in together[other]["verdict"]
        assert "by Holm" not in single[other]["verdict"]
    reverse = compare_models(bundled_store, "starter", [LONGEST, TINY]).rows[0].differences[0]
    assert reverse.difference.value == pytest.approx(-single[LONGEST]["difference"]["value"])


def test_models_without_outcomes_are_compared_by_their_errors(bundled_store: ResultsStore, best_two: list[str]) -> None:
    comparison = compare_models(bundled_store, "rewardbench", [best_two[0], GPT])
    (pair,) = comparison.to_json()["pairs"]
    assert (pair["basis"], pair["agreement"], pair["examples"]) == ("intervals", None, None)
    assert "From published scores alone" in pair["basis_words"]
    a, b = (bundled_store.results("rewardbench")[model].sections["Chat Hard"] for model in (best_two[0], GPT))
    (difference,) = row(comparison, "Chat Hard").differences
    interval = difference.difference
    assert interval.stderr == pytest.approx(math.hypot(a.stderr or 0, b.stderr or 0))
    assert (interval.high or 0) - (interval.low or 0) == pytest.approx(2 * 1.959964 * interval.stderr, rel=1e-6)
    assert difference.counts is None


def test_the_score_is_made_of_the_sections_that_all_models_have(
    bundled_store: ResultsStore, best_two: list[str]
) -> None:
    other = "Ray2333/GRM-llama3-8B-distill"  # its published score includes Prior Sets
    comparison = compare_models(bundled_store, "rewardbench", [best_two[0], other])
    score = comparison.rows[0]
    sections = bundled_store.results("rewardbench")[other].sections
    four = [sections[name].value or 0 for name in ("Chat", "Chat Hard", "Safety", "Reasoning")]
    first, second = (estimate.value for estimate in score.values)
    assert first is not None
    assert second == pytest.approx(sum(four) / 4)
    assert score.differences[0].difference.value == pytest.approx(first - second, abs=1e-3)
    assert any("without Prior Sets" in note for note in comparison.notes())


def test_an_interval_without_outcomes_ends_at_the_largest_difference() -> None:
    comparison = compare_models(PublishedScores(a=(0.98, 0.1), b=(0.02, 0.1)), "judgebench", ["a", "b"])
    difference = comparison.rows[0].differences[0].difference
    assert (difference.high, difference.method) == (1.0, "score")


def test_a_difference_without_errors_has_no_p() -> None:
    comparison = compare_models(PublishedScores(a=(0.5, None), b=(0.6, 0.1)), "judgebench", ["a", "b"])
    (pair,) = comparison.to_json()["pairs"]
    assert (pair["basis"], pair["p"]) == ("none", None)
    assert pair["verdict"] == "b leads a by 10.0 points; whether that is noise is unknown."


@pytest.mark.parametrize(
    ("benchmark", "models", "message"),
    [
        ("nope", [TINY, LONGEST], "no results on 'nope'"),
        ("starter", [TINY, "no/such"], "no result of 'no/such' on starter"),
        ("starter", [TINY], "2 to 4 models, not 1"),
        ("starter", [TINY, LONGEST, "baseline/shortest", "baseline/random", "baseline/constant"], "models, not 5"),
        ("starter", [TINY, TINY], "one is named twice"),
    ],
)
def test_an_impossible_comparison_is_refused(
    bundled_store: ResultsStore, benchmark: str, models: list[str], message: str
) -> None:
    with pytest.raises(ComparisonError, match=message):
        compare_models(bundled_store, benchmark, models)
