"""Ensembles: their scores are the combination of the members' own, whatever the batches, and a failure stays one."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from rb_core.benchmarks.example import CompletionSet, Message
from rb_core.benchmarks.load import load_benchmark
from rb_core.errors import ModelError
from rb_core.evaluation import evaluate
from rb_core.evaluation.score import score_completion_sets
from rb_core.models.options import COMBINATIONS, Combination, ModelOptions
from rb_core.results.paths import scores_path
from rb_core.results.score_table import Score, read_scores, write_scores
from rb_core.scorers.base import Batch
from rb_core.scorers.baseline import BaselineScorer
from rb_core.scorers.ensemble import BATCH, EnsembleScorer, Scale
from rb_core.scorers.function import NOT_FINITE, FunctionScorer

MEMBERS = ("baseline/longest", "baseline/prompt-overlap", "builtin/tiny-rm")
LIMIT = 30


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Evaluations of the members on a few examples."""
    root = tmp_path_factory.mktemp("members")
    for name in MEMBERS:
        evaluate.evaluate(name, "starter", limit=LIMIT, out=root)
    return root


def table(root: Path, name: str) -> pd.DataFrame:
    return read_scores(root / scores_path("starter", name))[0]


def options(root: Path, members: Sequence[str] = MEMBERS, **more: Any) -> ModelOptions:
    return ModelOptions(ensemble=tuple(members), scale_by="starter", scale_results=root, **more)


def by_hand(combine: Combination, values: Sequence[float], penalty: float) -> float:
    if combine == "median":
        return statistics.median(values)
    if combine == "min":
        return min(values)
    return statistics.mean(values) - (penalty * statistics.pstdev(values) if combine == "mean-sd" else 0)


@pytest.mark.parametrize("combine", COMBINATIONS)
def test_scores_combine_the_tables_of_the_members(root: Path, tmp_path: Path, combine: Combination) -> None:
    """The median is of three, the others of two; the scale is that of each member's own table."""
    members = MEMBERS if combine == "median" else MEMBERS[:2]
    more = {"lambda_": 0.7} if combine == "mean-sd" else {}
    written = evaluate.evaluate(
        "", "starter", options=options(root, members, combine=combine, **more), limit=LIMIT, out=tmp_path
    )
    assert written.result.model.name == "ensemble/" + "+".join(name.split("/")[1] for name in members)
    own = [table(root, name)["score"].tolist() for name in members]
    scaled = [[(x - statistics.mean(column)) / statistics.pstdev(column) for x in column] for column in own]
    expected = [by_hand(combine, values, 0.7) for values in zip(*scaled, strict=True)]
    assert table(tmp_path, written.result.model.name)["score"].tolist() == pytest.approx(expected, abs=1e-9)


def test_the_median_of_two_is_their_mean_and_lambda_zero_is_the_mean(root: Path) -> None:
    sets = [each for each, _ in evaluate.blind_all(load_benchmark("starter", limit=LIMIT), 0)]

    def values(combine: Combination, penalty: float = 0.5) -> list[float]:
        members = {name: BaselineScorer(name.split("/")[1]) for name in MEMBERS[:2]}
        ensemble = EnsembleScorer(members, combine, {name: Scale(0.1, 3) for name in members}, penalty=penalty)
        return [score.value for row in score_completion_sets(ensemble, sets) for score in row]

    assert values("median") == values("mean") == values("mean-sd", 0.0)
    assert values("mean-sd", 0.5) != values("mean")


def test_a_result_records_members_and_scales(root: Path, tmp_path: Path) -> None:
    written = evaluate.evaluate("", "starter", options=options(root, combine="mean-sd"), limit=LIMIT, out=tmp_path)
    ensemble = written.result.model.ensemble
    assert ensemble is not None
    assert (ensemble.combine, ensemble.penalty, ensemble.scale_by) == ("mean-sd", 0.5, "starter")
    for member in ensemble.members:
        scores = table(root, member.model.name)["score"].tolist()
        assert (member.mean, member.sd) == pytest.approx((statistics.mean(scores), statistics.pstdev(scores)))
    tiny_rm = ensemble.members[2].model
    assert (tiny_rm.kind, tiny_rm.batching) == ("classifier", "packed")
    assert tiny_rm.revision


def sets_of(number: int) -> list[CompletionSet]:
    prompts = ((Message(role="user", content=f"question {i}"),) for i in range(number))
    return [CompletionSet(prompt, ("a" * i, "b" * (i % 7), "c")) for i, prompt in enumerate(prompts)]


def test_a_score_does_not_depend_on_batches() -> None:
    ensemble = EnsembleScorer({"a": BaselineScorer("longest"), "b": BaselineScorer("random")}, "min")
    sets = sets_of(2 * BATCH + 5)
    assert [len(batch.cells) for batch in ensemble.plan(sets).batches] == [3 * BATCH, 3 * BATCH, 15]
    together = score_completion_sets(ensemble, sets)
    assert together == [score_completion_sets(ensemble, [each])[0] for each in sets]
    assert ensemble.plan(sets).notes == {"empty_completions": 1 + -(-len(sets) // 7)}


@pytest.mark.parametrize("combine", COMBINATIONS)
def test_what_a_member_leaves_unscored_is_unscored(combine: Combination) -> None:
    def without_b(prompt: object, completion: str) -> float:
        return math.nan if "b" in completion else 1.0

    def raising(prompt: object, completion: str) -> float:
        raise ValueError

    named = FunctionScorer(raising, lambda error: "no reply")
    one = EnsembleScorer({"a": BaselineScorer("longest"), "b": FunctionScorer(without_b)}, combine)
    two = EnsembleScorer({"a": BaselineScorer("longest"), "b": named}, combine)
    sets = [CompletionSet((Message(role="user", content="?"),), ("a", "b"))]
    assert [score.reason for score in score_completion_sets(one, sets)[0]] == ["", NOT_FINITE]
    assert [score.reason for score in score_completion_sets(two, sets)[0]] == ["no reply", "no reply"]
    huge = EnsembleScorer({"a": BaselineScorer("longest"), "b": BaselineScorer("longest")}, combine, SMALL)
    assert {score.reason for score in score_completion_sets(huge, sets)[0]} == {NOT_FINITE}


SMALL: Mapping[str, Scale] = {"a": Scale(0, 1e-300), "b": Scale(0, 1e-300)}


class Measured(BaselineScorer):
    """A member whose budget comes from free memory."""

    measures_memory = True

    def __init__(self, name: str, batch_tokens: int) -> None:
        super().__init__(name)
        self.batch_tokens = batch_tokens


class Fragile(EnsembleScorer):
    """An ensemble whose process ends before a batch, and that counts the batches it has scored."""

    breaks_at: int | None = None
    scored = 0

    def score(self, batch: Batch) -> list[Score]:
        if self.scored == self.breaks_at:
            raise KeyboardInterrupt
        self.scored += 1
        return super().score(batch)


def test_an_interrupted_run_is_continued_with_its_budget(tmp_path: Path) -> None:
    benchmark = load_benchmark("starter")

    def ensemble(budget: int) -> Fragile:
        members = {"a": Measured("random", budget), "b": Measured("longest", 2 * budget)}
        return Fragile(members, scales={"a": Scale(1, 2), "b": Scale()})

    first = ensemble(100)
    first.breaks_at = 1
    with pytest.raises(KeyboardInterrupt):
        evaluate.evaluate_scorer(first, "e/x", benchmark, out=tmp_path / "a")
    again = ensemble(70)
    continued = evaluate.evaluate_scorer(again, "e/x", benchmark, out=tmp_path / "a")
    assert again.scored == len(again.plan([each for each, _ in evaluate.blind_all(benchmark, 0)]).batches) - 1
    assert again.batch_tokens == 100
    assert {scorer.batch_tokens for scorer in again.members.values()} == {100}
    assert continued.result.run is not None
    assert continued.result.run.batch_tokens == 100
    evaluate.evaluate_scorer(ensemble(100), "e/x", benchmark, out=tmp_path / "b")
    pd.testing.assert_frame_equal(table(tmp_path / "a", "e/x"), table(tmp_path / "b", "e/x"), check_exact=True)


def test_a_member_without_usable_scores_is_an_error_with_the_command(root: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no such score file; evaluate it first: .*evaluate --model baseline/random "):
        evaluate.evaluate("", "starter", options=options(root, (*MEMBERS[:2], "baseline/random")), out=tmp_path)
    frame, metadata = read_scores(root / scores_path("starter", MEMBERS[0]))
    frame["score"] = 1.0
    for name in MEMBERS:
        write_scores(tmp_path / scores_path("starter", name), frame, metadata)
    with pytest.raises(ModelError, match=r"baseline/longest cannot be scaled: it has no two different scores"):
        evaluate.evaluate("", "starter", options=options(tmp_path), out=tmp_path)


def test_scores_made_with_another_revision_do_not_scale(root: Path, tmp_path: Path) -> None:
    members = ("baseline/longest", "builtin/tiny-rm")
    for name in members:
        frame, metadata = read_scores(root / scores_path("starter", name))
        metadata["model"]["revision"] = metadata["model"].get("revision") and "c" * 40
        write_scores(tmp_path / scores_path("starter", name), frame, metadata)
    with pytest.raises(ModelError, match=r"^builtin/tiny-rm: its scores on starter .* different revision: "):
        evaluate.evaluate("", "starter", options=options(tmp_path, members), out=tmp_path)


@pytest.mark.parametrize(
    ("members", "scales", "message"),
    [
        (("a",), None, "at least two"),
        (("a", "b"), {"a": Scale()}, "the scale of b is missing"),
        (("a", "b"), {"a": Scale(), "b": Scale(0, 0)}, "b cannot be scaled"),
        (("a", "b"), {"a": Scale(), "b": Scale(math.nan, 1)}, "b cannot be scaled"),
    ],
)
def test_an_ensemble_that_makes_no_sense_is_refused(
    members: Sequence[str], scales: Mapping[str, Scale] | None, message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        EnsembleScorer({name: BaselineScorer("longest") for name in members}, scales=scales)


def test_an_unknown_combination_is_refused() -> None:
    members = {"a": BaselineScorer("longest"), "b": BaselineScorer("random")}
    for arguments in ({"combine": "max"}, {"combine": "mean-sd", "penalty": -1.0}, {"penalty": math.nan}):
        with pytest.raises(ModelError, match="combine is one of mean, median, min, mean-sd"):
            EnsembleScorer(members, **arguments)  # type: ignore[arg-type]


def test_an_ensemble_is_no_member() -> None:
    inner = EnsembleScorer({"a": BaselineScorer("longest"), "b": BaselineScorer("random")})
    with pytest.raises(ModelError, match="inner cannot be a member"):
        EnsembleScorer({"a": BaselineScorer("longest"), "inner": inner})
