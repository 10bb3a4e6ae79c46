"""Scoring a file: the same table whatever kills it and however many processes run, in memory that does not grow."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from rb_core.benchmarks.example import CompletionSet
from rb_core.errors import DataError, FileError, ModelError, ResultError, RewardBenchError, ScoreTableError
from rb_core.evaluation import prompt_windows, score_file
from rb_core.evaluation.distributed import SINGLE_PROCESS, Process
from rb_core.evaluation.prompt_input import PromptInput
from rb_core.evaluation.score_file import FileRun, unfinished_folder
from rb_core.evaluation.score_rows import score, score_lines
from rb_core.evaluation.score_writers import Tally
from rb_core.evaluation.scored_prompts import SCORE_COLUMNS, ScoredPrompt, read_scored_prompts
from rb_core.models.options import JudgeOptions, ModelOptions
from rb_core.models.resolve import resolve
from rb_core.results.schema import ModelRef
from rb_core.scorers import function
from rb_core.scorers.base import Plan
from rb_core.scorers.baseline import BaselineScorer, length
from rb_core.scorers.function import FunctionScorer
from rb_core.scorers.load import load_scorer
from tests.cli.command_line import rb
from tests.fakes.commands import run_command
from tests.fakes.judge_server import JudgeServer
from tests.fakes.judges import judge
from tests.fakes.processes import in_threads
from tests.paths import ROOT

ROWS: list[dict[str, Any]] = [
    {"prompt": f"Question {i // 2}?", "completions": ["a" * (i % 7), f"b{i}", "ccc"][: 1 + i % 3], "id": i}
    for i in range(60)
]


@pytest.fixture
def small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prompt_windows, "WINDOW_COMPLETIONS", 16)
    monkeypatch.setattr(function, "BATCH", 4)


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def open_run(path: Path, folder: Path, process: Process = SINGLE_PROCESS, scorer: Any = None) -> FileRun:
    source, scorer = PromptInput(path), scorer or BaselineScorer("random", 7)
    model = ModelRef(name="test/scorer", **scorer.describe())
    return FileRun.open(scorer, model, source, source.survey(), folder, seed=7, discard=False, process=process)


def scored(run: FileRun) -> list[ScoredPrompt]:
    run.score()
    return list(run.scored_prompts())


# ---- windows


class SetRecorder(FunctionScorer):
    """A scorer that keeps the completion sets of each plan."""

    def __init__(self) -> None:
        super().__init__(lambda prompt, completion: length(completion))
        self.plans: list[list[CompletionSet]] = []

    def plan(self, completion_sets: Any) -> Plan:
        self.plans.append(list(completion_sets))
        return super().plan(completion_sets)


@pytest.mark.usefixtures("small_windows")
def test_rows_with_equal_prompts_are_one_set_in_an_order_that_says_nothing(tmp_path: Path) -> None:
    rows = [{"prompt": f"q{i}", "chosen": "better", "rejected": ["worse", "worst"]} for i in range(40)]
    rows += [{"prompt": "same", "chosen": f"c{i}", "rejected": f"r{i}"} for i in range(4)]
    scorer = SetRecorder()
    result = scored(open_run(write(tmp_path / "rows.jsonl", rows), tmp_path / "run", scorer=scorer))
    sets = [each for plan in scorer.plans for each in plan]
    assert len(scorer.plans) > 5
    assert [len(each.completions) for each in sets] == [3] * 40 + [8]
    assert 5 < sum(each.completions[0] == "better" for each in sets) < 25
    assert [each.completions for each in result[:1]] == [("better", "worse", "worst")]
    assert all(
        s.value == length(text) for each in result for s, text in zip(each.scores, each.completions, strict=True)
    )
    assert [each.row_number for each in result] == list(range(1, 45))


# ---- killed and started again

DYING = """
import os, signal
from rb_core.evaluation import journal, prompt_windows, score_writers
from rb_core.scorers import function
prompt_windows.WINDOW_COMPLETIONS, function.BATCH = 16, 4
def dying(work):
    left = [{after}]
    def wrapped(*arguments):
        result = work(*arguments)
        left[0] -= 1
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)
        return result
    return wrapped
{patch}
"""
IN_SCORING = "journal.append_entry = dying(journal.append_entry)"
IN_WRITING = "score_writers.completion_as_text = dying(score_writers.completion_as_text)"


@pytest.mark.parametrize("suffix", ["parquet", "jsonl", "csv"])
def test_a_run_that_is_killed_three_times_ends_with_the_same_bytes(tmp_path: Path, suffix: str) -> None:
    path, environment = write(tmp_path / "rows.jsonl", ROWS), {**os.environ, "COLUMNS": "200"}
    for name in ("calm", "hurt"):
        out = tmp_path / f"{name}.{suffix}"
        command = ["score", str(path), "--model", "baseline/random", "--out", str(out)]
        kills = [(7, IN_SCORING), (11, IN_SCORING), (50, IN_WRITING)] if name == "hurt" else []
        for after, patch in kills:
            done = run_command(command, environment, ROOT, before=DYING.format(after=after, patch=patch))
            assert done.returncode == -signal.SIGKILL, done.stderr
            assert not out.exists()
        calm = DYING.format(after=-1, patch="")
        done = run_command(command, environment, ROOT, before=calm)
        assert done.returncode == 0, done.stderr
        assert not unfinished_folder(out).exists()
    assert (tmp_path / f"hurt.{suffix}").read_bytes() == (tmp_path / f"calm.{suffix}").read_bytes()
    assert {p.name for p in tmp_path.iterdir()} == {"rows.jsonl", f"calm.{suffix}", f"hurt.{suffix}"}


class Stopping(BaselineScorer):
    """A baseline that stops with an error before the batch with a number, and counts its batches."""

    def __init__(self, stops_at: int | None = None) -> None:
        super().__init__("random", 7)
        self.stops_at, self.batches = stops_at, 0

    def score(self, batch: Any) -> Any:
        if self.batches == self.stops_at:
            raise ModelError("stopped")
        self.batches += 1
        return super().score(batch)


@pytest.mark.usefixtures("small_windows")
def test_nothing_is_scored_twice_but_what_was_damaged(tmp_path: Path) -> None:
    path, folder = write(tmp_path / "rows.jsonl", ROWS), tmp_path / "run"
    total = Stopping()
    expected = scored(open_run(path, tmp_path / "calm", scorer=total))
    with pytest.raises(ModelError, match="stopped"):
        open_run(path, folder, scorer=Stopping(15)).score()
    again = Stopping()
    assert scored(open_run(path, folder, scorer=again)) == expected
    assert again.batches == total.batches - 15
    window = folder / "window-000001.parquet"
    content = bytearray(window.read_bytes())
    content[len(content) // 3] ^= 1
    window.write_bytes(content)
    damaged = Stopping()
    assert scored(open_run(path, folder, scorer=damaged)) == expected
    assert 0 < damaged.batches < 6


@pytest.mark.usefixtures("small_windows")
def test_a_changed_file_or_model_is_not_continued(tmp_path: Path) -> None:
    path, folder = write(tmp_path / "rows.jsonl", ROWS), tmp_path / "run"
    with pytest.raises(ModelError):
        open_run(path, folder, scorer=Stopping(9)).score()
    changed = write(tmp_path / "changed.jsonl", [*ROWS[:-1], {**ROWS[-1], "id": "other"}])
    with pytest.raises(ScoreTableError, match=r"different data; .*--overwrite"):
        open_run(changed, folder)
    with pytest.raises(ScoreTableError, match=r"different .*model"):
        open_run(path, folder, scorer=FunctionScorer(lambda prompt, completion: 1.0))


@pytest.mark.usefixtures("small_windows")
@pytest.mark.parametrize("machines", [1, 2])
def test_two_processes_give_the_table_of_one(tmp_path: Path, machines: int) -> None:
    path = write(tmp_path / "rows.jsonl", ROWS)
    scorers = [Stopping(), Stopping()]

    def work(process: Process) -> list[ScoredPrompt]:
        folder = tmp_path / ("run" if machines == 1 else f"run-{process.index}")
        run = open_run(path, folder, process, scorers[process.index])
        run.score()
        return list(run.scored_prompts()) if process.is_main else []

    assert in_threads(2, work, machines=machines)[0] == scored(open_run(path, tmp_path / "one"))
    assert all(scorer.batches > 10 for scorer in scorers)


def test_a_run_that_scored_nothing_binds_nobody(tmp_path: Path) -> None:
    path, folder = write(tmp_path / "rows.jsonl", ROWS), tmp_path / "run"
    with pytest.raises(ModelError, match="stopped"):
        open_run(path, folder, scorer=Stopping(0)).score()
    changed = write(tmp_path / "changed.jsonl", ROWS[1:])
    assert len(scored(open_run(changed, folder))) == len(ROWS) - 1


# ---- memory


@pytest.mark.usefixtures("small_windows")
def test_a_file_is_not_held_in_memory(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", [{"id": i, "prompt": f"q{i}" * 2000, "completion": "a"} for i in range(400)])
    run = open_run(path, tmp_path / "run")
    open_run(path, tmp_path / "warm").score()
    tracemalloc.start()
    run.score()
    for _ in run.scored_prompts():
        pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.3 * path.stat().st_size


PEAK = """
import resource, subprocess, sys
done = subprocess.run([sys.executable, "-m", "rb_core", *sys.argv[1:]])
print("peak", resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024, done.returncode)
"""


@pytest.mark.soak
@pytest.mark.parametrize(("model", "num_rows"), [("baseline/longest", 1_000_000), ("builtin/tiny-rm", 20_000)])
def test_large_files_take_less_than_one_and_a_half_gibibytes(tmp_path: Path, model: str, num_rows: int) -> None:
    path, out = tmp_path / "rows.jsonl", tmp_path / "out.parquet"
    with path.open("w", encoding="utf-8") as file:
        for i in range(num_rows):
            file.write(json.dumps({"id": i, "prompt": f"What is {i} + 2?", "completion": f"It is {i + 2}."}) + "\n")
    order = [sys.executable, "-c", PEAK, "score", str(path), "--model", model, "--out", str(out)]
    done = subprocess.run(order, cwd=ROOT, capture_output=True, text=True, check=True)
    _, peak, returncode = done.stdout.splitlines()[-1].split()
    assert (returncode, len(pd.read_parquet(out, columns=["score"]))) == ("0", num_rows)
    assert int(peak) < 1.5 * 2**30


# ---- the command


def command(path: Path, out: Path, *more: str) -> list[str]:
    return ["score", str(path), "--model", "baseline/longest", "--out", str(out), *more]


def inputs(folder: Path) -> Iterator[Path]:
    frame = pd.DataFrame(ROWS)
    frame.to_parquet(folder / "rows.parquet")
    frame.to_json(folder / "lines.jsonl.gz", orient="records", lines=True)
    frame.to_json(folder / "list.json", orient="records")
    texts = frame.assign(completions=[json.dumps(row["completions"]) for row in ROWS])
    texts.to_csv(folder / "rows.csv", index=False)
    texts.to_csv(folder / "rows.tsv", index=False, sep="\t")
    (folder / "shards").mkdir()
    frame[:20].to_parquet(folder / "shards/train-00000-of-00002.parquet")
    frame[20:].to_parquet(folder / "shards/train-00001-of-00002.parquet")
    yield from sorted(folder.iterdir())


def test_every_format_in_and_out_holds_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "in").mkdir()
    expected = score("baseline/longest", ROWS)
    columns = ["row", "completion", "completion_index", "score"]
    for number, path in enumerate(inputs(tmp_path / "in")):
        suffix = ("parquet", "jsonl", "csv")[number % 3]
        out = tmp_path / f"{path.name}.{suffix}"
        assert rb(command(path, out), monkeypatch) == 0
        options = {"lines": True} if suffix == "jsonl" else {"keep_default_na": False} if suffix == "csv" else {}
        frame = getattr(pd, "read_json" if suffix == "jsonl" else f"read_{suffix}")(out, **options)
        assert list(frame) == ["prompt", "id", *SCORE_COLUMNS]
        pd.testing.assert_frame_equal(frame[columns], expected[columns], check_dtype=False)
        back = list(read_scored_prompts(out))
        assert [(s.row_number, list(s.completions)) for s in back] == [
            (i, row["completions"]) for i, row in enumerate(ROWS, start=1)
        ]


def test_own_columns_keep_their_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [
        {
            "prompt": "p",
            "completion": "a",
            "mixed": 1,
            "nested": {"k": [1, 2]},
            "late": None,
            "flag": True,
            "empty": [],
        },
        {"prompt": "p", "completion": "b", "mixed": "x", "nested": {"k": []}, "late": 2.5, "flag": None, "empty": []},
    ]
    path = write(tmp_path / "rows.jsonl", rows)
    for suffix in ("parquet", "jsonl", "csv"):
        assert rb(command(path, tmp_path / f"out.{suffix}"), monkeypatch) == 0
    table = pd.read_parquet(tmp_path / "out.parquet")
    assert table["mixed"].tolist() == ["1", "x"]
    assert [list(each["k"]) for each in table["nested"]] == [[1, 2], []]
    assert table["late"].isna().tolist() == [True, False]
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [{name: line[name] for name in rows[0] if name != "completion"} for line in lines] == [
        {name: value for name, value in row.items() if name != "completion"} for row in rows
    ]
    assert '"{""k"": [1, 2]}",,true,[],1,a,0,' in (tmp_path / "out.csv").read_text()


@pytest.mark.parametrize("suffix", ["parquet", "jsonl", "csv"])
def test_an_output_holds_every_prompt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
    chat = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}]
    rows = [
        {"prompt": "a", "messages": [*chat, {"role": "assistant", "content": "d"}], "tools": [{"name": "f"}]},
        {"chosen": "\n\nHuman: hi\n\nAssistant: yes", "rejected": "\n\nHuman: hi\n\nAssistant: no"},
        {"prompt": "\n\nHuman: hi\n\nAssistant:", "completion": "yes"},
    ]
    path, out = write(tmp_path / "rows.jsonl", rows), tmp_path / f"out.{suffix}"
    assert rb(command(path, out), monkeypatch) == 0
    written = [(row.prompt, row.completions) for row in read_scored_prompts(out)]
    assert written == [(row.prompt, row.completions) for row in PromptInput(path).rows()]
    named = {"frage": "q", "query": "another", "system": "be brief", "history": [["h", "i"]], "completions": ["x", "y"]}
    path, columns = write(tmp_path / "named.jsonl", [named]), {"prompt": "frage"}
    assert rb([*command(path, out, "--overwrite"), "--columns", "prompt=frage"], monkeypatch) == 0
    assert [row.prompt for row in read_scored_prompts(out)] == [row.prompt for row in PromptInput(path, columns).rows()]


def test_a_missing_score_is_missing_in_every_format(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rb_core.scorers.baseline.length", lambda text: float("nan") if text == "b1" else 2.0)
    path = write(tmp_path / "rows.jsonl", ROWS[:3])
    for suffix in ("parquet", "jsonl", "csv"):
        out = tmp_path / f"out.{suffix}"
        assert rb(command(path, out), monkeypatch) == 0
        scores = [each for scored in read_scored_prompts(out) for each in scored.scores]
        assert [each.reason for each in scores] == ["", "", "score is not a finite number", "", "", ""]
        assert [each.value == 2.0 for each in scores] == [not each.reason for each in scores]
    assert '"score": null, "percentile": null' in (tmp_path / "out.jsonl").read_text()
    assert ",b1,1,,,4,false,score is not a finite number" in (tmp_path / "out.csv").read_text()


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"prompt": "p", "completion": "a"}, {"prompt": "p"}, 3, {"completion": "b"}],
         r"rows.jsonl:2: .*\|.*rows.jsonl:3: .*\|.*rows.jsonl:4: "),
        ([{"prompt": "p", "completion": "a", "score": 1.0}], "rows.jsonl:1: field 'score': has the name of a column"),
        ([{"prompt": "p", "completions": ["a"], "completion_index": 1}], "field 'completion_index'"),
        ([], "has no rows"),
        ([{"prompt": "p"}] * 30, r"\(30 rows cannot be read; the first 20 are named\)"),
    ],
)  # fmt: skip
def test_bad_rows_are_named_before_a_model_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: list[Any], message: str
) -> None:
    monkeypatch.setattr(score_file, "load_scorer", lambda *_: pytest.fail("a model was loaded"))
    path, out = write(tmp_path / "rows.jsonl", rows), tmp_path / "out.csv"
    with pytest.raises(DataError, match=message):
        score_file.score_file("baseline/longest", str(path), lambda *_: pytest.fail("a writer was made"), out)
    assert [each.name for each in tmp_path.iterdir()] == ["rows.jsonl"]


@pytest.mark.parametrize(
    ("out", "error"),
    [("taken.csv", ResultError), ("folder.csv", FileError), ("/proc/scores.csv", FileError)],
)
def test_the_output_is_checked_first(tmp_path: Path, out: str, error: type[RewardBenchError]) -> None:
    (tmp_path / "taken.csv").touch()
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(error, match=out.split("/")[-2] if "/" in out else out):
        score_file.score_file("baseline/longest", "missing.jsonl", lambda *_: pytest.fail("written"), tmp_path / out)


@pytest.mark.parametrize("data", ["rows.jsonl", "."])
def test_the_input_is_not_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], data: str
) -> None:
    path = write(tmp_path / "rows.jsonl", ROWS)
    before = path.read_bytes()
    assert rb(command(tmp_path / data, path, "--overwrite"), monkeypatch) == 2
    assert "is the input, or in the folder that is read" in capsys.readouterr().err
    assert path.read_bytes() == before


def test_scores_are_replaced_only_when_asked_and_scored_again_without_their_old_columns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = write(tmp_path / "rows.jsonl", ROWS), tmp_path / "out.parquet"
    assert rb(command(path, out), monkeypatch) == 0
    before = out.read_bytes()
    assert rb(command(path, out), monkeypatch) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert out.read_bytes() == before
    again = tmp_path / "again.parquet"
    assert rb(command(out, again), monkeypatch) == 0
    assert list(pd.read_parquet(again)) == list(pd.read_parquet(out))
    assert rb([*command(out, again, "--overwrite"), "--seed", "3"], monkeypatch) == 0


@pytest.mark.parametrize("out", ["scores", "scores.xlsx"])
def test_an_unknown_suffix_is_refused(
    out: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert rb(command(Path("rows.jsonl"), Path(out)), monkeypatch) == 2
    assert ".parquet, .jsonl, .csv" in capsys.readouterr().err


def test_a_conversation_that_the_template_refuses_is_unscored_and_the_others_are_scored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    refused = {"messages": [{"role": "user", "content": "a"}, {"role": "tool", "content": "b"},
                            {"role": "assistant", "content": "c"}]}  # fmt: skip
    rows = [{"prompt": "p", "completions": ["a", "b"]}, refused, {"prompt": "q", "completions": ["c", "d"]}]
    path, out = write(tmp_path / "rows.jsonl", rows), tmp_path / "out.jsonl"
    whole = score("builtin/tiny-rm", [rows[0], rows[2]])["score"].tolist()
    assert rb([*command(path, out), "--model", "builtin/tiny-rm"], monkeypatch) == 0
    assert "1 unscored" in capsys.readouterr().out
    table = pd.read_json(out, lines=True)
    assert table["score"].drop(2).tolist() == pytest.approx(whole, abs=1e-9)
    assert pd.isna(table["score"][2])
    assert "unknown role: tool" in table["reason"][2]
    written = io.BytesIO()
    scorer = load_scorer(resolve("builtin/tiny-rm", ModelOptions()))
    with path.open("rb") as lines:
        score_lines(scorer, lines, written, columns={}, seed=0, percentiles=None, tally=Tally())
    reasons = [json.loads(line)["reason"] for line in written.getvalue().splitlines()]
    assert [reason is None for reason in reasons] == [True, True, False, True, True]
    assert rb([*command(write(path, [refused]), out, "--overwrite"), "--model", "builtin/tiny-rm"], monkeypatch) == 1
    assert "no completion could be scored" in capsys.readouterr().err


# ---- a dataset on the hub, judges


def test_a_judge_is_paid_once_for_each_reply(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RB_JUDGE_API_KEY", raising=False)
    monkeypatch.setattr(prompt_windows, "WINDOW_COMPLETIONS", 8)
    path = write(tmp_path / "rows.jsonl", [{"prompt": f"q{i}", "completions": ["a", "bb"]} for i in range(10)])
    found: list[ScoredPrompt] = []

    def run(limit: int | None) -> None:
        asked = JudgeOptions(mode="ratings", base_url=server.url, concurrency=1, max_tokens_total=limit)
        out, options = tmp_path / "out.csv", ModelOptions(judge=asked)
        score_file.score_file("test/judge", str(path), lambda *_: found.extend, out, options=options)

    with JudgeServer(judge(lambda prompt, text: float(text == "bb"))) as server:
        with pytest.raises(ModelError, match="max-tokens-total"):
            run(4000)
        run(None)
    assert set(server.answered.values()) == {1}
    assert len(server.answered) == 20
    assert all(each.scores[1].value > each.scores[0].value for each in found)
