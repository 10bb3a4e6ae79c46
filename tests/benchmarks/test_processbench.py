"""ProcessBench: solutions in steps, and the F1 of finding the first wrong one."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rb_core.benchmarks.load import load_benchmark
from rb_core.benchmarks.processbench import PROCESSBENCH, read_processbench
from rb_core.benchmarks.row_location import RowLocation
from rb_core.errors import DataError
from rb_core.evaluation.aggregate import WrittenResult, aggregate_scores
from rb_core.evaluation.evaluate import evaluate, evaluate_scorer
from rb_core.models.options import ModelOptions
from rb_core.results.schema import Result
from rb_core.scorers.function import FunctionScorer
from rb_core.stats.outcome_files import outcomes_of_scores
from tests.benchmarks.processbench_rows import ACCURACIES, F1, SOLUTIONS

LOCATION = RowLocation("gsm8k.jsonl", 1, "gsm8k")
STEP_SCORES = {
    (solution.problem, "\n\n".join(solution.steps[: step + 1])): score
    for solution in SOLUTIONS
    for step, score in enumerate(solution.scores)
}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "solutions.jsonl"
    path.write_text("\n".join(json.dumps(solution.row(i)) for i, solution in enumerate(SOLUTIONS)))
    return path


def run(data: Path, out: Path, score: Callable[[str, str], float], threshold: float | None = None) -> WrittenResult:
    """Score every beginning of a solution by its problem and text."""
    scorer = FunctionScorer(lambda prompt, text: score(prompt[0]["content"], text))
    scorer.threshold = threshold
    return evaluate_scorer(scorer, "by/hand", load_benchmark("processbench", data=data), out=out)


def by_hand(problem: str, text: str) -> float:
    return STEP_SCORES[problem, text]


def test_the_beginnings_of_a_solution_are_its_completions() -> None:
    example = read_processbench(SOLUTIONS[1].row(1), LOCATION)
    assert example.completions[1] == "4 boxes hold 24 eggs.\n\n24 - 3 = 20."
    assert (example.num_chosen, len(example.completions), example.subset) == (1, 3, "gsm8k-error")
    assert read_processbench(SOLUTIONS[0].row(0), LOCATION).num_chosen == 0
    correct = read_processbench({**SOLUTIONS[5].row(5), "split": None}, LOCATION)
    assert (correct.num_chosen, correct.subset) == (2, "gsm8k-correct")


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("label", 2, "a step from 0 to 1"),
        ("label", -2, "a step from 0 to 1"),
        ("label", "1", "a step from 0 to 1"),
        ("label", True, "a step from 0 to 1"),
        ("steps", [], "non-empty list of texts"),
        ("steps", "one", "non-empty list of texts"),
        ("steps", ["one", None], "non-empty list of texts"),
        ("split", "aime", "one of gsm8k, math, olympiadbench, omnimath"),
    ],
)
def test_malformed_rows_name_the_field(field: str, value: Any, message: str) -> None:
    with pytest.raises(DataError, match=f"field '{field}'.*{message}"):
        read_processbench({**SOLUTIONS[0].row(0), field: value}, LOCATION)


def test_figures_are_those_computed_by_hand(data: Path, tmp_path: Path) -> None:
    result = run(data, tmp_path / "out", by_hand).result
    assert {name: e.value for name, e in result.subsets.items()} == pytest.approx(ACCURACIES)
    assert {name: e.value for name, e in result.sections.items()} == pytest.approx(F1)
    assert result.headline is not None
    assert result.headline.value == pytest.approx((1 / 2 + 2 / 3) / 2)
    # a guess among the n steps and none: 1/3, 1/4, 1/3, 1/3, 1/4; 1/3, 1/2, 1/3
    assert result.chance is not None
    error, correct = (1 / 3 + 1 / 4 + 1 / 3 + 1 / 3 + 1 / 4) / 5, (1 / 3 + 1 / 2 + 1 / 3) / 3
    assert result.chance.sections["GSM8K"] == pytest.approx(2 * error * correct / (error + correct))
    assert result.counts is not None
    assert (result.counts.examples, result.counts.completions, result.counts.ties) == (14, 29, 1)
    assert result.length == {}
    assert result.style is None


def test_one_threshold_for_all_steps_is_part_of_the_model(data: Path, tmp_path: Path) -> None:
    """With scores from 0 to 1 and the threshold 0.5 the figures are those of log-odds with the threshold 0."""

    def probability(problem: str, text: str) -> float:
        return 1 / (1 + math.exp(-by_hand(problem, text)))

    assert [e.value for e in run(data, tmp_path, probability).result.sections.values()] == [0, 0]  # none is below 0
    written = run(data, tmp_path / "half", probability, threshold=0.5)
    assert {name: e.value for name, e in written.result.sections.items()} == pytest.approx(F1)
    scores = tmp_path / "half" / written.result.scores_path()
    assert aggregate_scores(scores) == written.result
    assert outcomes_of_scores(scores).credits.mean() == pytest.approx(8 / 14)


def test_a_threshold_without_effect_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="--threshold has no effect on starter"):
        evaluate("baseline/longest", "starter", options=ModelOptions(threshold=0.5), out=tmp_path)


def test_unscored_steps_leave_their_solution_open(data: Path, tmp_path: Path) -> None:
    """F1 is bounded by the values with the open solutions all wrong and all right, and ranked by the lower one."""
    text = "4 boxes hold 24 eggs.\n\n24 - 3 = 21 are left."  # a correct solution that is recognised
    result = run(data, tmp_path / "out", lambda p, t: math.nan if t == text else by_hand(p, t)).result
    section = result.sections["GSM8K"]
    assert (section.scored, section.unscored) == (7, 1)
    low, high = (2 * (2 / 5) * x / (2 / 5 + x) for x in (1 / 3, 2 / 3))
    assert section.value == pytest.approx(2 * (2 / 5) * (1 / 2) / (2 / 5 + 1 / 2))
    assert section.bounds == pytest.approx((low, high))
    assert section.ranked_by == section.floor


@pytest.mark.parametrize("score", [1.0, -1.0])
def test_a_model_that_always_says_the_same_has_f1_zero(data: Path, tmp_path: Path, score: float) -> None:
    sections = run(data, tmp_path / "out", lambda problem, text: score).result.sections
    assert [estimate.value for estimate in sections.values()] == [0, 0]
    assert sections["GSM8K"].low == 0
    assert 0 < (sections["GSM8K"].high or 0) <= 1


def test_local_rows_are_evaluated_by_name(data: Path, tmp_path: Path) -> None:
    result: Result = evaluate("baseline/random", "processbench", data=data, out=tmp_path / "out").result
    assert result.benchmark.id.startswith("processbench-")
    assert list(result.sections) == ["GSM8K", "MATH"]
    low = evaluate(
        "baseline/longest", "processbench", data=data, out=tmp_path / "t", options=ModelOptions(threshold=11.0)
    ).result
    assert low.model.threshold == 11.0
    assert {name: e.value for name, e in low.subsets.items()} != {name: e.value for name, e in result.subsets.items()}


def test_a_split_with_only_correct_solutions_has_no_f1(tmp_path: Path) -> None:
    data = tmp_path / "math.jsonl"
    data.write_text("\n".join(json.dumps(s.row(i)) for i, s in enumerate(SOLUTIONS) if s.label == -1))
    result = run(data, tmp_path / "out", by_hand).result
    assert result.sections == {}
    assert {name: e.value for name, e in result.subsets.items()} == pytest.approx(
        {"gsm8k-correct": 2 / 3, "math-correct": 2 / 3}
    )


def test_splits_have_the_sizes_of_the_paper() -> None:
    sizes = [sum(s.count or 0 for s in PROCESSBENCH.subsets if s.name in sec.weights) for sec in PROCESSBENCH.sections]
    assert sizes == [400, 1000, 1000, 1000]
    assert np.unique([section.headline_weight for section in PROCESSBENCH.sections]).size == 1
