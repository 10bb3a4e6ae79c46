"""Percentiles: the share of a benchmark's chosen answers with a lower score, of the same model only."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rb_core.benchmarks.load import load_benchmark
from rb_core.errors import ScoreTableError
from rb_core.evaluation.evaluate import describe_model, evaluate_scorer
from rb_core.evaluation.percentiles import Percentiles, find_percentiles
from rb_core.results.judge_records import JudgeRef
from rb_core.results.score_table import read_scores
from rb_core.scorers.baseline import BaselineScorer

NAME = "baseline/longest"


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a results root with one model on two benchmarks."""
    root = tmp_path_factory.mktemp("results")
    small = root / "small.jsonl"
    small.write_text('{"prompt": "p", "chosen": "a", "rejected": "b"}\n{"prompt": "q", "chosen": "c", "rejected": "d"}')
    for benchmark in ("starter", str(small)):
        evaluate_scorer(BaselineScorer("longest"), NAME, load_benchmark(benchmark), out=root)
    return root


def test_a_percentile_is_the_share_of_chosen_answers_with_a_lower_score(results: Path) -> None:
    percentiles, _ = find_percentiles(describe_model(BaselineScorer("longest"), NAME), results)
    assert percentiles is not None
    assert percentiles.title == "Starter"
    frame, _ = read_scores(results / f"scores/starter/{NAME}.parquet")
    chosen = frame["score"][frame["is_chosen"]]
    for value in [*frame["score"][:50], -1.0, 1e9]:
        assert percentiles.of(value) == round(100 * float(np.mean(chosen < value)), 2)
    assert percentiles.of(float("nan")) is None


def test_ties_are_not_lower() -> None:
    percentiles = Percentiles("b", np.array([1.0, 2.0, 2.0, 3.0]))
    assert [percentiles.of(value) for value in (1.0, 2.0, 2.5, 4.0)] == [0.0, 25.0, 75.0, 100.0]


def test_a_benchmark_can_be_chosen(results: Path) -> None:
    model = describe_model(BaselineScorer("longest"), NAME)
    (small,) = (path.parents[1].name for path in results.glob(f"scores/custom-*/{NAME}.parquet"))
    percentiles, _ = find_percentiles(model, results, small)
    assert percentiles is not None
    assert len(percentiles.chosen) == 2
    with pytest.raises(ScoreTableError, match=r"--percentile-of rm-bench: there are no scores of baseline/longest"):
        find_percentiles(model, results, "rm-bench")


def test_scores_of_other_settings_are_not_used_and_the_reason_is_given(results: Path) -> None:
    model = describe_model(BaselineScorer("longest"), NAME)
    other = model.model_copy(update={"revision": "0" * 40, "probe": 0.5})
    assert find_percentiles(other, results) == (
        None, f"the scores in {results / f'scores/starter/{NAME}.parquet'} are of a model with a different revision"
    )  # fmt: skip
    assert find_percentiles(model.model_copy(update={"probe": 0.5}), results)[0] is not None
    (results / "scores/starter/baseline/broken.parquet").write_bytes(b"broken")
    assert "is not readable" in find_percentiles(model.model_copy(update={"name": "baseline/broken"}), results)[1]


@pytest.mark.parametrize("mode", ["pairwise", "listwise", "logprob"])
def test_judges_that_compare_have_no_percentiles(results: Path, mode: str) -> None:
    judge = JudgeRef.model_construct(mode=mode)
    model = describe_model(BaselineScorer("longest"), NAME).model_copy(update={"judge": judge})
    percentiles, reason = find_percentiles(model, results)
    assert percentiles is None
    assert f"--mode {mode} compares" in reason
