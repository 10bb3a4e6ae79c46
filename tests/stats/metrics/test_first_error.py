"""The first wrong step, and the harmonic mean of two accuracies, against plain definitions."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from rb_core.benchmarks.custom import custom_spec
from rb_core.benchmarks.spec import BenchmarkSpec, Section
from rb_core.results.estimate import Estimate
from rb_core.stats.composition import compose
from rb_core.stats.item_outcomes import CompletionScores, ItemOutcomes
from rb_core.stats.metrics import FIRST_ERROR
from rb_core.stats.outcome_files import outcomes_of_table
from rb_core.stats.paired import PairedDifference, compare_outcomes
from rb_core.stats.rank_intervals import Standing, rank_models
from rb_core.stats.summary import summarize
from tests.fakes.outcomes import Row, score_table, without_scores

SIZES = {"error": 60, "correct": 40}
F1: BenchmarkSpec = replace(
    custom_spec("steps", SIZES),
    sections=(Section("F1", {"error": 1.0, "correct": 1.0}, FIRST_ERROR, harmonic=True),),
)


def predicted_step(scores: list[float], threshold: float) -> int:
    return next((i for i, score in enumerate(scores) if score < threshold), -1)


def solutions(rng: np.random.Generator, skill: float) -> list[Row]:
    """Return solutions of five steps whose right steps score higher by twice the skill."""
    rows: list[Row] = []
    for subset, size in SIZES.items():
        for number in range(size):
            label = int(rng.integers(5)) if subset == "error" else 5
            scores = rng.normal(skill, 1, 5) - 2 * skill * (np.arange(5) >= label)
            rows.append((f"{subset}{number}", subset, f"{subset}{number}", label, scores.tolist()))
    return rows


@pytest.mark.parametrize("threshold", [0.0, -0.5, 1.25])
def test_credits_are_those_of_the_plain_definition(threshold: float) -> None:
    rows = solutions(np.random.default_rng(1), 1.0)
    outcomes = outcomes_of_table(score_table(rows), F1.for_threshold(threshold))
    expected = [predicted_step(list(s), threshold) == (-1 if label == 5 else label) for *_, label, s in rows]
    np.testing.assert_array_equal(outcomes.credits, expected)
    assert outcomes.margins is not None
    np.testing.assert_array_equal(outcomes.margins > 0, expected)


def test_a_score_at_the_threshold_is_right_and_a_tie() -> None:
    scores = CompletionScores(np.array([0.0, -1.0, 1.0, 0.0]), np.array([True, False, True, False]), np.array([0, 2]))
    credits_, tied = FIRST_ERROR.item_credits(scores, "none")
    assert credits_.tolist() == [1, 0]
    assert tied.tolist() == [True, True]


def rows_with(rng: np.random.Generator, error: float, correct: float) -> list[Row]:
    """Return solutions of one step, of which these shares of the wrong and of the correct ones are recognised."""
    rows: list[Row] = []
    for subset, share in {"error": error, "correct": correct}.items():
        label = int(subset == "correct")
        for number in range(SIZES[subset]):
            score = 1.0 if (rng.random() < share) == bool(label) else -1.0
            rows.append((f"{subset}{number}", subset, f"{subset}{number}", label, (score,)))
    return rows


def outcomes_of(rows: list[Row], model: str = "m") -> ItemOutcomes:
    return outcomes_of_table(score_table(rows), F1, model=model)


def f1(outcomes: ItemOutcomes) -> float:
    error, correct = (float(np.nanmean(outcomes.credits[outcomes.subsets == name])) for name in SIZES)
    return 2 * error * correct / (error + correct) if error + correct else 0.0


def headline(rows: list[Row]) -> Estimate:
    estimate = summarize(score_table(rows), F1).headline
    assert estimate is not None
    return estimate


def paired(a: ItemOutcomes, b: ItemOutcomes) -> PairedDifference:
    score = compare_outcomes(a, b, F1).score
    assert score is not None
    return score


@pytest.mark.parametrize("draws", [40, pytest.param(1000, marks=pytest.mark.soak)])
@pytest.mark.parametrize(("error", "correct"), [(0.5, 0.5), (0.15, 0.9), (0.02, 0.98)])
def test_the_interval_of_f1_covers_the_truth(error: float, correct: float, draws: int) -> None:
    rng, truth, covered = np.random.default_rng(2), 2 * error * correct / (error + correct), 0
    for _ in range(draws):
        rows = rows_with(rng, error, correct)
        estimate = headline(rows)
        assert estimate.value == pytest.approx(f1(outcomes_of(rows)))
        low, high = estimate.low, estimate.high
        assert low is not None
        assert high is not None
        assert 0 <= low < high <= 1
        covered += low <= truth <= high
    assert covered / draws > 0.92 - 1 / math.sqrt(draws) / 3


@pytest.mark.parametrize("draws", [40, pytest.param(1000, marks=pytest.mark.soak)])
def test_differences_of_f1_are_exact_and_their_test_holds_its_level(draws: int) -> None:
    rng, rejected = np.random.default_rng(3), 0
    for _ in range(draws):
        a, b = (outcomes_of(rows_with(rng, 0.3, 0.8), name) for name in "ab")
        difference = paired(a, b)
        assert difference.difference.value == pytest.approx(f1(a) - f1(b))
        rejected += difference.p < 0.05
    assert rejected / draws < 0.06 + 1 / math.sqrt(draws) / 3


@pytest.mark.parametrize("subset", SIZES)
def test_unscored_solutions_bound_f1_and_never_help(subset: str) -> None:
    rng = np.random.default_rng(4)
    whole, other = outcomes_of(rows_with(rng, 0.5, 0.6), "whole"), outcomes_of(rows_with(rng, 0.3, 0.5), "other")
    part = without_scores(whole, np.flatnonzero((whole.subsets == subset) & (whole.credits == 0))[:5])
    assert f1(part) > f1(whole) > f1(other)
    composition = compose(part, F1)
    failed, passed = composition.failed(), composition.passed()
    assert failed.value(failed.headline or {}) == pytest.approx(f1(whole))
    assert passed.value(passed.headline or {}) > f1(part)
    difference = paired(part, other)
    assert difference.difference.floor == pytest.approx(f1(whole) - f1(other))
    assert difference.p >= paired(whole, other).p


def test_rank_intervals_tell_f1_apart() -> None:
    rng = np.random.default_rng(5)
    rows = {f"m{share}": rows_with(rng, share, 0.8) for share in (0.1, 0.5, 0.95)}
    standings = [Standing(name, headline(r), frozenset({"F1"}), outcomes_of(r, name)) for name, r in rows.items()]
    assert [(i.best, i.worst) for i in rank_models(standings, F1).intervals if i] == [(3, 3), (2, 2), (1, 1)]


def test_a_harmonic_mean_is_zero_with_a_zero_and_nan_with_a_nan() -> None:
    section = F1.sections[0]
    assert section.mean({"error": 0.0, "correct": 0.7}) == 0
    assert section.mean({"error": 0.0, "correct": 0.0}) == 0
    assert math.isnan(section.mean({"error": math.nan, "correct": 0.0}))
    assert section.mean({"error": 1.0, "correct": 1.0}) == pytest.approx(1)
