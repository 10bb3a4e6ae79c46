from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.special import expit

from rb_core.errors import ResultError
from rb_core.leaderboard.cross_scores import BoardScore, CrossScores, compare_boards, cross_scores
from rb_core.leaderboard.model_registry import ModelRegistry, RegisteredModel
from rb_core.leaderboard.store import ResultsStore
from rb_core.results.schema import BenchmarkRef
from rb_core.results.storage import write_result
from tests.fakes.results import published
from tests.fakes.simulated_boards import simulated_accuracies

TITLES = {"a": "Board A", "b": "Board B", "c": "Board C"}
Scores = dict[tuple[str, str], BoardScore]


@pytest.fixture
def scores() -> Scores:
    accuracies = simulated_accuracies(np.random.default_rng(7), 30, 3, spread=0.15)
    return {
        (f"org/m{m}", board): BoardScore(f"org/m{m}", board, accuracies[m, b], 1, 1, 30, ties=0.0, unscored=0.0)
        for m in range(30)
        for b, board in enumerate(TITLES)
    }


def with_score(scores: Scores, model: str, board: str, **changes: float) -> Scores:
    return scores | {(model, board): replace(scores[model, board], **changes)}  # type: ignore[arg-type]


def best_model(scores: Mapping[tuple[str, str], BoardScore]) -> str:
    return max((s for s in scores.values() if s.board == "a"), key=lambda s: s.score).model


def the_misfit(crossed: CrossScores) -> BoardScore:
    (misfit,) = crossed.misfits
    return misfit


def test_boards_of_simulated_models_fit(scores: Scores) -> None:
    crossed = compare_boards(TITLES, scores)
    assert crossed.misfits == ()
    assert all(score.prediction is not None for score in crossed.scores.values())


@pytest.mark.parametrize(("field", "words"), [("unscored", "unscored"), ("ties", "ties")])
def test_examples_counted_as_losses_are_flagged_and_named(scores: Scores, field: str, words: str) -> None:
    model = best_model(scores)
    lost = 0.3 * scores[model, "b"].score
    planted = with_score(scores, model, "b", score=scores[model, "b"].score - lost, **{field: 0.3})
    misfit = the_misfit(compare_boards(TITLES, planted))
    assert (misfit.model, misfit.board) == (model, "b")
    assert misfit.score < (misfit.predicted or 0.0)
    assert misfit.causes == (f"30% of its examples are {words}, which can explain it",)


def test_exchanged_models_are_flagged_and_named(scores: Scores) -> None:
    best = best_model(scores)
    worst = min((s for s in scores.values() if s.board == "a"), key=lambda s: s.score).model
    planted = with_score(scores, best, "b", score=scores[worst, "b"].score)
    planted = with_score(planted, worst, "b", score=scores[best, "b"].score)
    crossed = compare_boards(TITLES, planted)
    assert {(s.model, s.board) for s in crossed.misfits} == {(best, "b"), (worst, "b")}
    for misfit in crossed.misfits:
        other = worst if misfit.model == best else best
        assert any(f"exchanged with {other}" in cause for cause in misfit.causes)


def test_a_known_fault_is_called_consistent(scores: Scores) -> None:
    registry = ModelRegistry([RegisteredModel(name="org/m3", base_model="google/gemma-2-27b-it", sources=("card",))])
    planted = with_score(scores, "org/m3", "c", score=0.2)
    (cause,) = the_misfit(compare_boards(TITLES, planted, registry)).causes
    assert cause.startswith("consistent with Gemma 2")
    assert the_misfit(compare_boards(TITLES, planted)).causes == ()
    first_gemma = ModelRegistry([RegisteredModel(name="org/m3", base_model="google/gemma-2b-it", sources=("card",))])
    assert the_misfit(compare_boards(TITLES, planted, first_gemma)).causes == ()


def test_a_model_on_two_boards_does_not_say_which_score_is_wrong(scores: Scores) -> None:
    two = {key: score for key, score in scores.items() if key[1] != "c"}
    planted = with_score(two, best_model(two), "b", score=0.1)
    misfits = compare_boards({"a": "A", "b": "B"}, planted).misfits
    assert misfits
    assert all("on two boards only" in misfit.causes[-1] for misfit in misfits)


def test_correlations_are_also_those_without_misfits(scores: Scores) -> None:
    planted = with_score(scores, best_model(scores), "b", score=0.05)
    rows = {(a, b): (every, fitting) for a, b, every, fitting in compare_boards(TITLES, planted).correlations()}
    assert rows.keys() == {("a", "b"), ("a", "c"), ("b", "c")}
    every, fitting = rows["a", "b"]
    assert (every.n, fitting.n) == (30, 29)
    assert (every.pearson or 1.0) < 0.5 < (fitting.pearson or 0.0)
    assert rows["a", "c"][0] == rows["a", "c"][1]


def test_the_prediction_is_on_the_scale_of_scores(scores: Scores) -> None:
    score = compare_boards(TITLES, scores).scores["org/m0", "a"]
    assert score.prediction is not None
    assert score.predicted == pytest.approx(expit(score.prediction.predicted))
    low, high = score.interval or (1.0, 0.0)
    assert 0 < low < (score.predicted or 0.0) < high < 1


@pytest.fixture(scope="module")
def bundled_cross(bundled_store: ResultsStore) -> CrossScores:
    return cross_scores(bundled_store)


def test_bundled_models_are_one_row_and_ranked_by_the_sections_that_all_scores_have(
    bundled_store: ResultsStore, bundled_cross: CrossScores
) -> None:
    crossed = bundled_cross
    assert len(crossed.models) == len(set(map(str.lower, crossed.models)))
    assert "starter" not in crossed.boards
    assert crossed.boards["rewardbench"] == "RewardBench, 4 sections"
    assert crossed.notes[0].startswith("RewardBench as published: 98 of the 206 scores include Prior Sets, 108 do not.")
    assert "44 models are 5 ranks or more from their published rank" in crossed.notes[0]
    row = bundled_store.boards()["rewardbench"].row("Ray2333/GRM-llama3-8B-sftreg")
    assert row is not None
    sections = [row.sections[name] for name in ("Chat", "Chat Hard", "Safety", "Reasoning")]
    assert crossed.scores[row.model, "rewardbench"].score == pytest.approx(sum(sections) / 4)


def test_three_scores_hide_how_themis_and_rewardbench_2_agree(
    bundled_store: ResultsStore, bundled_cross: CrossScores
) -> None:
    """With ties and unscored pairs as losses, as Themis's authors count: r = -0.14, and 0.80 without three models."""
    results = bundled_store.results("themis-code-rewardbench")
    board = bundled_store.boards()["rewardbench-2"]
    rows = {row.model: row.headline.value for row in board.ranked() if row.model in results}
    misfits = {score.model for score in bundled_cross.misfits} & rows.keys()
    assert {model.partition("/")[2] for model in misfits} == {
        "LMUnit-qwen2.5-72b", "QRM-Gemma-2-27B", "Skywork-Reward-Gemma-2-27B-v0.2",
    }  # fmt: skip

    def pearson(models: set[str]) -> float:
        wins = []
        for model in models:
            headline, counts = results[model].headline, results[model].counts
            assert headline is not None
            assert headline.value is not None
            assert counts is not None
            wins.append((headline.value * counts.scored - counts.ties / 2) / counts.examples)
        return float(np.corrcoef(wins, [rows[model] or 0.0 for model in models])[0, 1])

    assert len(rows) == 24
    assert pearson(set(rows)) == pytest.approx(-0.14, abs=0.005)
    assert pearson(set(rows) - misfits) == pytest.approx(0.80, abs=0.005)


def test_a_model_under_two_names_is_one(tmp_path: Path) -> None:
    for name, benchmark in (("org/old", "one"), ("org/new", "two")):
        ref = BenchmarkRef(id=benchmark, title=benchmark, source="somewhere")
        write_result(tmp_path, published(name, benchmark=ref))
    (tmp_path / "models.yaml").write_text("- name: org/new\n  aliases: [org/old]\n", encoding="utf-8")
    store = ResultsStore(tmp_path)
    store.refresh()
    crossed = cross_scores(store)
    assert crossed.models == ["org/new"]
    assert crossed.scores.keys() == {("org/new", "one"), ("org/new", "two")}


def test_nothing_in_common_is_an_error(tmp_path: Path) -> None:
    write_result(tmp_path, published())
    store = ResultsStore(tmp_path)
    store.refresh()
    with pytest.raises(ResultError, match="no model has a rank on two boards"):
        cross_scores(store)
