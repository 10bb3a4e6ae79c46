"""Scorers without a model: what they prefer, and what every scorer owes: no number for a failure, no order."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from rb_core.benchmarks.custom import custom_spec
from rb_core.benchmarks.example import CompletionSet, Conversation, Example, Message, blind, completion_order
from rb_core.benchmarks.registry import BENCHMARKS
from rb_core.benchmarks.spec import Benchmark
from rb_core.errors import ModelError
from rb_core.evaluation.evaluate import evaluate_scorer
from rb_core.evaluation.score import score_completion_sets
from rb_core.models.resolve import resolve
from rb_core.results.failures import LARGEST_SCORE
from rb_core.results.score_table import Score, read_scores
from rb_core.scorers.base import Plan, count_words, split_words
from rb_core.scorers.baseline import BASELINES, BaselineScorer
from rb_core.scorers.function import BATCH, NOT_FINITE, FunctionScorer
from rb_core.scorers.load import load_scorer
from rb_core.stats.metrics.base import TieCredit

ASK: Conversation = (Message(role="user", content="What is the capital of France?"),)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


def scores(name: str, *completions: str, prompt: Conversation = ASK, seed: int = 0) -> list[float]:
    (found,) = score_completion_sets(BaselineScorer(name, seed), [CompletionSet(prompt, completions)])
    return [score.value for score in found]


def benchmark_of(*examples: Example) -> Benchmark:
    counts = {e.subset: sum(other.subset == e.subset for other in examples) for e in examples}
    return Benchmark(custom_spec("toy", counts), examples, "toy.jsonl", None)


PAIRS = tuple(Example(f"e{i}", "toy", ASK, (f"good answer {i}", f"bad answer {i}")) for i in range(40))


# ---- baselines


@given(TEXT, TEXT)
@example(",", "  ")
@example("abc", "a,b!")
def test_longest_prefers_more_characters(left: str, right: str) -> None:
    assume(len(left) < len(right))
    low, high = scores("longest", left, right)
    assert low < high


@given(TEXT, TEXT)
def test_shortest_is_longest_negated(left: str, right: str) -> None:
    longest, shortest = scores("longest", left, right), scores("shortest", left, right)
    assert shortest == [-value for value in longest]


@given(st.lists(TEXT, min_size=1, max_size=6))
def test_constant_ties_everything(completions: list[str]) -> None:
    assert len(set(scores("constant", *completions))) == 1


@given(TEXT)
def test_prompt_overlap_is_a_share(completion: str) -> None:
    (value,) = scores("prompt-overlap", completion)
    assert 0 <= value <= 1
    if not split_words(completion):
        assert value == 0


def test_prompt_overlap_by_hand() -> None:
    found = scores("prompt-overlap", "the capital", "THE Capital", "the the Rhine Rhine", "?", "Rhine", "")
    assert found == [1.0, 1.0, 0.5, 1.0, 0.0, 0.0]


def test_random_is_fixed_by_seed_prompt_and_completion() -> None:
    first = scores("random", "a", "b", "a")
    assert first[0] == first[2] != first[1]
    assert scores("random", "b", "a") == [first[1], first[0]]
    assert scores("random", "a", seed=1) != first[:1]
    assert scores("random", "a", prompt=(Message(role="user", content="Hi"),)) != first[:1]
    assert all(0 <= value < 1 for value in scores("random", *map(str, range(200))))


def test_random_is_fair() -> None:
    wins = sum(scores("random", f"c{i}")[0] > scores("random", f"r{i}")[0] for i in range(1000))
    assert 430 < wins < 570


@pytest.mark.parametrize("name", BASELINES)
def test_every_baseline_scores_any_text(name: str) -> None:
    (found,) = score_completion_sets(
        BaselineScorer(name), [CompletionSet(ASK, ("", " \n", "word " * 50_000, "\ud800 \0 😀"))]
    )
    assert all(math.isfinite(score.value) and score.reason == "" for score in found)
    assert [score.num_tokens - len(split_words(ASK[0]["content"])) for score in found[:3]] == [0, 0, 50_000]


@pytest.mark.parametrize("name", BASELINES)
def test_every_baseline_has_a_record(name: str) -> None:
    scorer = load_scorer(resolve(f"baseline/{name}"), seed=3)
    assert isinstance(scorer, BaselineScorer)
    assert scorer.describe()["kind"] == "baseline"
    candidates = [CompletionSet(ASK, ("a", "bc"))]
    assert score_completion_sets(scorer, candidates) == score_completion_sets(BaselineScorer(name, 3), candidates)


def test_an_unknown_baseline_is_an_error() -> None:
    with pytest.raises(ModelError, match=r"'shiniest'.*longest, shortest, random, constant, prompt-overlap"):
        BaselineScorer("shiniest")


# ---- what every scorer owes


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 1e300])
def test_a_number_that_is_not_finite_is_unscored(bad: float) -> None:
    scorer = FunctionScorer(lambda prompt, completion: bad if completion == "bad" else 2.5)
    (found,) = score_completion_sets(scorer, [CompletionSet(ASK, ("good", "bad", "fine"))])
    assert found[0] == Score(2.5, 8, num_completion_tokens=1)
    assert found[2] == Score(2.5, 8, num_completion_tokens=1)
    assert math.isnan(found[1].value)
    assert found[1].reason == NOT_FINITE


@given(st.floats(-LARGEST_SCORE, LARGEST_SCORE))
def test_scores_are_float64(value: float) -> None:
    (found,) = score_completion_sets(FunctionScorer(lambda prompt, completion: value), [CompletionSet(ASK, ("a",))])
    assert found[0].value == value


@pytest.mark.parametrize("count", [0, 1, BATCH - 1, BATCH, BATCH + 1, 2 * BATCH + 3])
def test_the_plan_holds_every_completion_once(count: int) -> None:
    candidates = [CompletionSet(ASK, (str(i),)) for i in range(count)]
    scorer = FunctionScorer(lambda prompt, completion: float(completion))
    plan = scorer.plan(candidates)
    assert [tuple(cell) for batch in plan.batches for cell in batch.cells] == [(i, 0) for i in range(count)]
    assert all(len(batch.cells) == len(batch.inputs) > 0 for batch in plan.batches)
    assert scorer.plan(candidates) == plan
    assert [row[0].value for row in score_completion_sets(scorer, candidates)] == list(range(count))


def test_empty_completions_are_counted() -> None:
    plan = BaselineScorer("longest").plan([CompletionSet(ASK, ("", "a")), CompletionSet(ASK, ("", " "))])
    assert plan.notes["empty_completions"] == 2


# ---- order: the scorer sees no label


class Watching(FunctionScorer):
    """Remembers the candidates it is given."""

    def __init__(self) -> None:
        super().__init__(lambda prompt, completion: float(completion.startswith("good")))
        self.seen: list[CompletionSet] = []

    def plan(self, candidates: Sequence[CompletionSet]) -> Plan:
        self.seen += candidates
        return super().plan(candidates)


def test_a_scorer_sees_no_label_and_no_telling_order(tmp_path: Path) -> None:
    """The order is fixed by seed and id and puts the chosen completion first about half of the time; labels return to
    their own completions."""
    watching = Watching()
    finished = evaluate_scorer(watching, "me/watching", benchmark_of(*PAIRS), out=tmp_path)
    assert all(
        type(each) is CompletionSet and each._fields == ("prompt", "completions", "needs_ratings")
        for each in watching.seen
    )
    first = sum(each.completions[0].startswith("good") for each in watching.seen)
    assert 8 < first < 32
    assert finished.result.headline is not None
    assert finished.result.headline.value == 1.0
    for each, pair in zip(watching.seen, PAIRS, strict=True):
        assert each == blind(pair, 0)[0]
        assert each.completions == tuple(pair.completions[i] for i in completion_order(pair, 0))


def test_the_order_depends_on_seed_and_id_alone(tmp_path: Path) -> None:
    few, many, other = Watching(), Watching(), Watching()
    evaluate_scorer(few, "me/few", benchmark_of(*PAIRS[:5]), out=tmp_path)
    evaluate_scorer(many, "me/many", benchmark_of(*reversed(PAIRS)), out=tmp_path)
    evaluate_scorer(other, "me/other", benchmark_of(*PAIRS), seed=1, out=tmp_path)
    assert few.seen == list(reversed(many.seen))[:5]
    assert list(reversed(many.seen)) != other.seen
    assert [sorted(each.completions) for each in reversed(many.seen)] == [sorted(e.completions) for e in other.seen]


@given(st.integers(2, 7), st.integers(0, 99), st.text(max_size=8))
def test_every_order_is_a_permutation(size: int, seed: int, identity: str) -> None:
    many = Example(identity, "s", ASK, tuple(map(str, range(size))))
    order = completion_order(many, seed)
    assert sorted(order) == list(range(size))
    assert order == completion_order(many, seed)


def test_scores_land_on_their_own_completions(tmp_path: Path) -> None:
    examples = (
        Example("one", "toy", ASK, ("10", "11", "12", "13")),
        Example("two", "toy", ASK, tuple(str(20 + i) for i in range(9)), num_chosen=4),
    )
    scorer = FunctionScorer(lambda prompt, completion: float(completion))
    finished = evaluate_scorer(scorer, "me/echo", benchmark_of(*examples), out=tmp_path)
    assert finished.result.scores is not None
    frame, _ = read_scores(tmp_path / finished.result.scores.path)
    assert frame["score"].tolist() == [*range(10, 14), *range(20, 29)]
    assert frame["completion"].tolist() == [*range(4), *range(9)]
    assert frame["is_chosen"].tolist() == [True, *[False] * 3, *[True] * 4, *[False] * 5]


# ---- ties and failures, as a result shows them


@pytest.mark.parametrize(("tie_credit", "value"), [("none", 0.0), ("split", 0.5)])
def test_ties_are_counted_and_earn_the_credit_of_the_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tie_credit: TieCredit, value: float
) -> None:
    toy = benchmark_of(*PAIRS)
    benchmark = replace(toy, spec=replace(toy.spec, tie_credit=tie_credit))
    monkeypatch.setitem(BENCHMARKS, "toy", benchmark.spec)
    result = evaluate_scorer(BaselineScorer("constant"), "baseline/constant", benchmark, out=tmp_path).result
    assert result.counts is not None
    assert result.headline is not None
    assert (result.counts.ties, result.headline.ties, result.headline.value) == (40, 40, value)


def test_a_failure_is_never_a_number(tmp_path: Path) -> None:

    def score(prompt: Conversation, completion: str) -> float:
        if completion in {"bad answer 0", "good answer 1"}:
            return math.nan
        return float(completion.startswith("good") == (int(completion.rsplit(maxsplit=1)[-1]) >= 10))

    result = evaluate_scorer(FunctionScorer(score), "me/fails", benchmark_of(*PAIRS), out=tmp_path).result
    assert result.counts is not None
    assert result.headline is not None
    assert (result.counts.scored, result.counts.unscored, result.counts.unscored_completions) == (38, 2, 2)
    assert result.counts.reasons == {NOT_FINITE: 2}
    assert result.headline.value == pytest.approx(30 / 38)
    assert result.headline.floor == pytest.approx(30 / 40)
    assert result.headline.ceiling == pytest.approx(32 / 40)


def test_when_all_fails_there_is_no_value(tmp_path: Path) -> None:
    scorer = FunctionScorer(lambda prompt, completion: math.nan)
    result = evaluate_scorer(scorer, "me/nothing", benchmark_of(*PAIRS[:3]), out=tmp_path).result
    assert result.headline is None or result.headline.value is None
    assert result.counts is not None
    assert (result.counts.scored, result.counts.unscored) == (0, 3)


def test_scores_do_not_depend_on_what_else_is_in_the_input() -> None:
    candidates = [CompletionSet(ASK, (f"answer {i}", "the capital, " * i)) for i in range(5)]
    for name in BASELINES:
        together = list(itertools.chain(*score_completion_sets(BaselineScorer(name), candidates)))
        alone = [
            score_completion_sets(BaselineScorer(name), [CompletionSet(c.prompt, (t,))])[0][0]
            for c in candidates
            for t in c.completions
        ]
        assert together == alone


@given(st.text(max_size=20) | st.text(st.characters(codec="ascii"), max_size=20))
def test_words_are_counted_as_they_are_split(text: str) -> None:
    assert count_words(text) == len(split_words(text))
