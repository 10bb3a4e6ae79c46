"""Evaluation from model to result: scores, resumption after a kill, and aggregation from the scores alone."""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rb_core.benchmarks.example import CompletionSet, Message
from rb_core.benchmarks.load import load_benchmark
from rb_core.benchmarks.spec import Benchmark, Section
from rb_core.errors import FileError, ModelError, ResultError, ScoreTableError
from rb_core.evaluation import aggregate, evaluate, score
from rb_core.models.options import ModelOptions
from rb_core.models.resolve import resolve
from rb_core.results.schema import Result
from rb_core.results.score_table import Score, read_scores, write_scores
from rb_core.results.storage import read_result
from rb_core.scorers.base import Batch, split_words
from rb_core.scorers.baseline import BaselineScorer
from rb_core.scorers.function import BATCH, FunctionScorer
from rb_core.scorers.load import load_scorer
from rb_core.stats.summary import summarize
from tests.cli.command_line import rb
from tests.paths import ROOT

# threads of a small model that wait for each other take minutes where other programs want the same cores
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def starter() -> Benchmark:
    return load_benchmark("starter")


def numbers(result: Result) -> dict[str, object]:
    """Return a result without the time and place of its run."""
    return result.model_dump(exclude={"run", "scores"})


def labels(benchmark: Benchmark) -> dict[tuple[str, str], bool]:
    """Return by prompt and completion if it is a chosen one."""
    return {
        (json.dumps(e.prompt), text): i < e.num_chosen
        for e in benchmark.examples
        for i, text in enumerate(e.completions)
    }


def test_a_perfect_scorer_gets_everything_right(starter: Benchmark, tmp_path: Path) -> None:
    truth = labels(starter)
    perfect = FunctionScorer(lambda prompt, completion: float(truth[json.dumps(prompt), completion]))
    result = evaluate.evaluate_scorer(perfect, "test/perfect", starter, out=tmp_path).result
    assert {name: e.value for name, e in result.sections.items() if name != "Ties"} == dict.fromkeys(
        ["Chat", "Chat Hard", "Safety", "Reasoning"], 1.0
    )
    assert result.sections["Ties"].value == pytest.approx(1.01)  # no spread at all among the right answers
    worst = FunctionScorer(lambda prompt, completion: -float(truth[json.dumps(prompt), completion]))
    inverted = evaluate.evaluate_scorer(worst, "test/worst", starter, out=tmp_path).result
    assert {e.value for name, e in inverted.sections.items() if name != "Ties"} == {0.0}


def test_a_scorer_sees_no_label(starter: Benchmark, tmp_path: Path) -> None:
    seen: dict[str, int] = {}

    def first_come(prompt: object, completion: str) -> float:
        seen[json.dumps(prompt)] = seen.get(json.dumps(prompt), 0) + 1
        return -float(seen[json.dumps(prompt)])

    result = evaluate.evaluate_scorer(FunctionScorer(first_come), "test/first", starter, out=tmp_path).result
    pairs = [result.subsets[name] for name in ("chat-easy", "hard-instruction", "reasoning-math", "reasoning-code")]
    assert 0.3 < sum(e.value or 0 for e in pairs) / 4 < 0.7


def test_a_result_records_its_provenance(starter: Benchmark, tmp_path: Path) -> None:
    finished = evaluate.evaluate_scorer(BaselineScorer("longest"), "baseline/longest", starter, seed=3, out=tmp_path)
    result = read_result(finished.path)
    assert finished.path == tmp_path / "results/starter/baseline/longest.json"
    assert result.benchmark.sha256 == starter.sha256
    assert result.run is not None
    assert result.run.seed == 3
    assert result.run.versions["rb_core"]
    assert result.scores is not None
    assert (tmp_path / result.scores.path).exists()
    assert result.counts is not None
    assert result.counts.examples == len(starter.examples)
    assert not list(tmp_path.rglob("*.journal"))
    assert not list(tmp_path.rglob("*.lock"))


def test_aggregate_gives_the_same_numbers(starter: Benchmark, tmp_path: Path) -> None:
    finished = evaluate.evaluate_scorer(BaselineScorer("random"), "baseline/random", starter, out=tmp_path)
    assert aggregate.aggregate_scores(tmp_path / "scores/starter/baseline/random.parquet") == finished.result


def test_aggregate_of_a_limited_custom_benchmark_gives_the_same_numbers(tmp_path: Path) -> None:
    rows = [{"prompt": f"q{i}", "chosen": "aa" * i, "rejected": "b" * 9, "subset": f"s{i % 3}"} for i in range(30)]
    path = tmp_path / "mine.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    finished = evaluate.evaluate("baseline/longest", str(path), limit=20, out=tmp_path)
    assert finished.result.benchmark.limit == 20
    assert aggregate.aggregate_scores(tmp_path / finished.result.scores_path()) == finished.result


def test_a_custom_record_is_kept_in_the_score_file(starter: Benchmark, tmp_path: Path) -> None:
    sections = (Section("Only", {"chat-easy": 1.0, "reasoning-math": 3.0}),)
    strict = replace(starter, spec=replace(starter.spec, id="my-own", sections=sections, tie_credit="none"), sha256="")
    finished = evaluate.evaluate_scorer(BaselineScorer("constant"), "baseline/constant", strict, out=tmp_path)
    assert finished.result.headline is not None
    assert finished.result.headline.value == 0.0
    assert aggregate.aggregate_scores(tmp_path / "scores/my-own/baseline/constant.parquet") == finished.result


def test_aggregate_refuses_foreign_subsets(starter: Benchmark, tmp_path: Path) -> None:
    evaluate.evaluate_scorer(BaselineScorer("longest"), "baseline/longest", starter, out=tmp_path)
    path = tmp_path / "scores/starter/baseline/longest.parquet"
    frame, about = read_scores(path)
    from rb_core.results.score_table import write_scores

    write_scores(path, frame.assign(subset="other"), about)
    with pytest.raises(ScoreTableError, match="starter has no subset other"):
        aggregate.aggregate_scores(path)


def test_a_result_is_only_replaced_with_overwrite(tmp_path: Path) -> None:
    evaluate.evaluate("baseline/longest", "starter", out=tmp_path)
    path = tmp_path / "results/starter/baseline/longest.json"
    before = path.read_bytes()
    with pytest.raises(ResultError, match="--overwrite"):
        evaluate.evaluate("baseline/longest", "starter", out=tmp_path)
    assert path.read_bytes() == before
    evaluate.evaluate("baseline/longest", "starter", out=tmp_path, overwrite=True)


def test_unscored_completions_reach_the_result(starter: Benchmark, tmp_path: Path) -> None:
    broken = FunctionScorer(lambda prompt, completion: float("inf") if len(completion) % 7 == 0 else len(completion))
    result = evaluate.evaluate_scorer(broken, "test/broken", starter, out=tmp_path).result
    assert result.counts is not None
    assert result.counts.unscored > 0
    assert sum(result.counts.reasons.values()) == result.counts.unscored_completions
    assert result.headline is not None
    assert result.headline.floor is not None
    assert result.headline.ceiling is not None
    assert result.headline.floor < result.headline.value < result.headline.ceiling


def test_live_scores_equal_those_of_the_run(starter: Benchmark, tmp_path: Path) -> None:
    evaluate.evaluate_scorer(BaselineScorer("prompt-overlap"), "baseline/prompt-overlap", starter, out=tmp_path)
    frame, _ = read_scores(tmp_path / "scores/starter/baseline/prompt-overlap.parquet")
    example = starter.examples[20]
    (live,) = score.score_completion_sets(
        BaselineScorer("prompt-overlap"), [CompletionSet(example.prompt, example.completions)]
    )
    expected = frame[frame["example_id"] == example.id]["score"].tolist()
    assert [score.value for score in live] == pytest.approx(expected, abs=0)


def test_the_length_of_a_completion_is_in_the_table(starter: Benchmark, tmp_path: Path) -> None:
    broken = FunctionScorer(lambda prompt, completion: float("nan") if len(completion) % 7 == 0 else len(completion))
    evaluate.evaluate_scorer(broken, "test/broken", starter, out=tmp_path)
    frame, _ = read_scores(tmp_path / "scores/starter/test/broken.parquet")
    own = [len(split_words(text)) for example in starter.examples for text in example.completions]
    asked = [sum(len(split_words(m["content"])) for m in e.prompt) for e in starter.examples for _ in e.completions]
    assert frame["num_completion_tokens"].tolist() == own
    assert (frame["num_tokens"] - frame["num_completion_tokens"]).tolist() == asked
    assert frame["score"].isna().any()


# ---- baselines on known ground


def test_baselines_on_the_starter(tmp_path: Path) -> None:
    found = {
        name: evaluate.evaluate(f"baseline/{name}", "starter", out=tmp_path).result
        for name in ("constant", "longest", "shortest", "random", "prompt-overlap")
    }
    constant = found["constant"]
    assert constant.counts is not None
    assert constant.counts.ties == constant.counts.examples
    assert constant.subsets["chat-easy"].value == 0.5
    assert constant.subsets["chat-best-of-four"].value == 0.25
    for subset in ("chat-easy", "hard-factual", "reasoning-code"):
        pair = [found[name].subsets[subset] for name in ("longest", "shortest")]
        assert sum(e.value or 0 for e in pair) == pytest.approx(1.0)


# ---- killed and started again


class InterruptionError(Exception):
    """Raised by a scorer in the middle of a run."""


class Fragile(BaselineScorer):
    """A baseline that counts the batches it scores, and fails before the one with the number `breaks_at`."""

    def __init__(self, name: str, breaks_at: int | None = None) -> None:
        super().__init__(name)
        self.breaks_at = breaks_at
        self.scored = 0

    def score(self, batch: Batch) -> list[Score]:
        if self.scored == self.breaks_at:
            raise InterruptionError
        self.scored += 1
        return super().score(batch)


@pytest.fixture
def many(tmp_path: Path) -> Benchmark:
    """Four batches for a baseline."""
    rows = [{"prompt": f"q{i}", "chosen": "a" * (i % 17), "rejected": "b" * (i % 11)} for i in range(2 * BATCH)]
    path = tmp_path / "many.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return load_benchmark(str(path))


def test_an_unfinished_run_of_another_seed_is_refused(many: Benchmark, tmp_path: Path) -> None:
    with pytest.raises(InterruptionError):
        evaluate.evaluate_scorer(Fragile("random", breaks_at=1), "baseline/random", many, seed=1, out=tmp_path)
    with pytest.raises(ScoreTableError, match=r"different seed.*--overwrite"):
        evaluate.evaluate_scorer(Fragile("random"), "baseline/random", many, seed=2, out=tmp_path)
    evaluate.evaluate_scorer(Fragile("random"), "baseline/random", many, seed=2, out=tmp_path, overwrite=True)


def test_a_run_that_scored_nothing_leaves_no_journal(many: Benchmark, tmp_path: Path) -> None:
    with pytest.raises(InterruptionError):
        evaluate.evaluate_scorer(Fragile("random", breaks_at=0), "baseline/random", many, seed=1, out=tmp_path)
    evaluate.evaluate_scorer(Fragile("random"), "baseline/random", many, seed=2, out=tmp_path)


CHILD = """
import pathlib, sys
from rb_core.benchmarks.load import load_benchmark
from rb_core.evaluation import aggregate, evaluate
from rb_core.scorers.baseline import BaselineScorer

class Slow(BaselineScorer):
    num_scored = 0

    def score(self, batch):
        if stop == self.num_scored:
            wait()
        self.num_scored += 1
        return super().score(batch)

def wait(*arguments, **options):
    print("now", flush=True)
    sys.stdin.read()

data, out, stop = sys.argv[1], pathlib.Path(sys.argv[2]), {"scoring": 3}.get(sys.argv[3])
if sys.argv[3] == "writing":
    evaluate.write_aggregate = wait
evaluate.evaluate_scorer(Slow("longest"), "baseline/longest", load_benchmark(data), out=out)
"""


@pytest.mark.parametrize(("killed_in", "missing"), [("scoring", 1), ("writing", 0)])
def test_a_killed_run_ends_with_the_same_table(many: Benchmark, tmp_path: Path, killed_in: str, missing: int) -> None:
    command = [sys.executable, "-c", CHILD, str(tmp_path / "many.jsonl"), str(tmp_path / "a"), killed_in]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "now\n"
        child.kill()
    again = Fragile("longest")
    evaluate.evaluate_scorer(again, "baseline/longest", many, out=tmp_path / "a")
    assert again.scored == missing
    evaluate.evaluate_scorer(Fragile("longest"), "baseline/longest", many, out=tmp_path / "b")
    scores_file = f"scores/{many.spec.id}/baseline/longest.parquet"
    tables = [read_scores(tmp_path / x / scores_file)[0] for x in "ab"]
    pd.testing.assert_frame_equal(*tables, check_exact=True)
    assert not list((tmp_path / "a").rglob("*.journal*"))


def command(out: Path) -> Sequence[str]:
    options = ["--model", "builtin/tiny-rm", "--benchmark", "starter", "--batch-tokens", "300", "--out", str(out)]
    return [sys.executable, "-m", "rb_core", "evaluate", *options]


def kill_at_random(out: Path, limit: float, chance: random.Random) -> bool:
    """Start the evaluation and kill it after a random time, in loading, scoring or writing; False if it was done."""
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command(out), cwd=ROOT, env=ENVIRONMENT, **quiet)
    time.sleep(chance.uniform(0, limit))
    process.kill()
    return process.wait() == -signal.SIGKILL


@pytest.mark.soak
def test_many_random_kills_end_with_the_same_scores(tmp_path: Path) -> None:
    begin = time.perf_counter()
    subprocess.run(command(tmp_path / "alone"), cwd=ROOT, env=ENVIRONMENT, check=True, capture_output=True)
    seconds = time.perf_counter() - begin
    chance = random.Random(20)
    killed = runs = 0
    while killed < 20:
        killed += kill_at_random(tmp_path / str(runs), seconds, chance)
        runs += (tmp_path / str(runs) / "results/starter/builtin/tiny-rm.json").exists()
    for name in range(runs + 1):
        out = tmp_path / str(name)
        if not (out / "results/starter/builtin/tiny-rm.json").exists():
            subprocess.run(command(out), cwd=ROOT, env=ENVIRONMENT, check=True, capture_output=True)
        compare(tmp_path / "alone", out)


def compare(reference: Path, out: Path) -> None:
    scores = "scores/starter/builtin/tiny-rm.parquet"
    (one, _), (other, _) = (read_scores(path / scores) for path in (reference, out))
    pd.testing.assert_frame_equal(one, other, check_exact=True)
    assert np.array_equal(one["score"].to_numpy().view("int32"), other["score"].to_numpy().view("int32"))
    results = [read_result(path / "results/starter/builtin/tiny-rm.json") for path in (reference, out)]
    assert numbers(results[0]) == numbers(results[1])
    assert aggregate.aggregate_scores(out / scores) == results[1]


# ---- what can stop a run is found before the model is loaded


@pytest.fixture
def no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(*args: object) -> None:
        raise AssertionError("the model is loaded")

    monkeypatch.setattr(evaluate, "load_scorer", load)


@pytest.mark.parametrize("seed", [-1, 2**63, 1.5, "1"])
def test_a_seed_that_no_result_can_record_is_refused_first(no_model: None, tmp_path: Path, seed: int) -> None:
    with pytest.raises(ResultError, match=f"--seed is {seed}; it must be a whole number from 0"):
        evaluate.evaluate("builtin/tiny-rm", "starter", seed=seed, out=tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["results", "scores"])
def test_a_folder_that_cannot_be_made_is_refused_first(no_model: None, tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    message = f"{name}/starter/builtin: cannot be written: not a directory; make room, or choose another folder"
    with pytest.raises(FileError, match=message):
        evaluate.evaluate("builtin/tiny-rm", "starter", out=tmp_path)


def test_a_full_disk_is_found_first(no_model: None, tmp_path: Path) -> None:
    """A limit on the size of files stands for the full disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
        with pytest.raises(FileError, match="results/starter/builtin: cannot be written: file too large"):
            evaluate.evaluate("builtin/tiny-rm", "starter", out=tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fills_up_during_a_run_loses_nothing(many: Benchmark, tmp_path: Path) -> None:
    calls: list[str] = []
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill_disk(prompt: object, completion: str) -> float:
        if len(calls) == BATCH:  # the first batch is in the journal
            (journal,) = tmp_path.rglob("*.journal")
            resource.setrlimit(resource.RLIMIT_FSIZE, (journal.stat().st_size + 100, limits[1]))
        calls.append(completion)
        return float(len(completion))

    scorer = FunctionScorer(fill_disk)
    try:
        with pytest.raises(FileError, match=r"full\.journal: cannot be written: file too large"):
            evaluate.evaluate_scorer(scorer, "test/full", many, out=tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert len(calls) == 2 * BATCH
    result = evaluate.evaluate_scorer(scorer, "test/full", many, out=tmp_path).result
    assert len(calls) == 5 * BATCH  # and only the other three are scored again
    reference = evaluate.evaluate_scorer(scorer, "test/full", many, out=tmp_path / "undisturbed").result
    assert numbers(result) == numbers(reference)


def test_a_score_file_that_its_result_was_not_computed_from_is_refused(
    starter: Benchmark, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also with --overwrite: only the digest in the result identifies the original scores."""
    finished = evaluate.evaluate_scorer(BaselineScorer("longest"), "baseline/longest", starter, out=tmp_path)
    scores, before = tmp_path / "scores/starter/baseline/longest.parquet", finished.path.read_bytes()
    frame, metadata = read_scores(scores)
    write_scores(scores, frame.assign(score=frame["score"] + 1), metadata)
    assert rb(["aggregate", str(scores), "--out", str(tmp_path), "--overwrite"], monkeypatch) == 2
    assert "not the file that" in capsys.readouterr().err
    assert finished.path.read_bytes() == before
    finished.path.unlink()
    assert rb(["aggregate", str(scores), "--out", str(tmp_path)], monkeypatch) == 0


# ---- the seed


def test_the_seed_changes_order_and_not_the_numbers(starter: Benchmark, tmp_path: Path) -> None:
    first, second = (
        evaluate.evaluate_scorer(
            BaselineScorer("longest"), "baseline/longest", starter, seed=seed, out=tmp_path / str(seed)
        ).result
        for seed in (0, 1)
    )
    assert {k: e.value for k, e in first.subsets.items()} == {k: e.value for k, e in second.subsets.items()}
    frame, _ = read_scores(tmp_path / "0/scores/starter/baseline/longest.parquet")
    assert summarize(frame, starter.spec).headline == first.headline


# ---- along a completion


def test_the_trace_ends_in_the_score() -> None:
    scorer = load_scorer(resolve("builtin/tiny-rm"))
    prompt = (Message(role="user", content="Name a prime."),)
    ((live,),) = score.score_completion_sets(scorer, [CompletionSet(prompt, ("Seven.",))])
    traced = scorer.trace(prompt, "Seven.")
    assert len(traced) == live.num_completion_tokens
    assert "".join(token.text for token in traced).strip().startswith("seven.")
    assert traced[-1].reward == pytest.approx(live.value, abs=1e-5)


def test_an_impossible_trace_is_a_clear_error() -> None:
    with pytest.raises(ModelError, match="no reward per token"):
        BaselineScorer("longest").trace((Message(role="user", content="Hi"),), "Hello.")
    short = load_scorer(resolve("builtin/tiny-rm", ModelOptions(max_length=16)))
    with pytest.raises(ModelError, match="cannot be scored: completion alone exceeds"):
        short.trace((Message(role="user", content="Hi"),), "Hello. " * 20)


@pytest.mark.parametrize(
    "name", [b"caf\xc3\xa9", b"not utf-8 \xff", b"x" * 240, b"two\nlines", b"[red]a", b".", b"$(a) 'b'", "😀".encode()]
)  # fmt: skip
def test_any_file_name_gives_a_result_that_can_be_read_again(
    tmp_path: Path, name: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / os.fsdecode(name + b".jsonl")
    path.write_text('{"prompt": "Q", "chosen": "aa", "rejected": "b"}\n', encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["rb", "evaluate", "--benchmark", str(path)])
    written = evaluate.evaluate("baseline/longest", str(path), out=tmp_path / "out")
    assert read_result(written.path) == written.result
