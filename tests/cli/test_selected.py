"""The command `score` with --best-of and --filter."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from rb_core.benchmarks.load import load_benchmark
from rb_core.evaluation import score_file
from tests.benchmarks.preference_files import write_jsonl
from tests.cli.command_line import rb

ROWS = [
    {"id": "x", "prompt": "Say much.", "completions": ["one", "one two three", "one two"], "ok": [0, 1, 0]},
    {"id": "y", "prompt": "Say less.", "completions": ["one two three four", "one", "one two"], "ok": [0, 1, 1]},
]
LONGEST = ["--model", "baseline/longest"]


@pytest.fixture
def rows(tmp_path: Path) -> str:
    return str(write_jsonl(tmp_path / "rows.jsonl", ROWS))


@pytest.mark.parametrize("suffix", ["jsonl", "parquet", "csv"])
def test_a_file_of_scores_gives_the_same_selection_as_the_model(
    suffix: str, rows: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    scores, direct, later = tmp_path / f"scores.{suffix}", tmp_path / "direct.jsonl", tmp_path / "later.jsonl"
    curve = tmp_path / "curve.csv"
    select = ["--best-of", "--correct", "ok"]
    assert rb(["score", rows, *LONGEST, "--out", str(scores)], monkeypatch) == 0
    assert rb(["score", rows, *LONGEST, *select, "--out", str(direct), "--curve", str(curve)], monkeypatch) == 0
    direct_text = capsys.readouterr().out
    assert "2 prompts: 0 with a tie for the best, 0 with an unscored completion, 0 without a score" in direct_text
    assert rb(["score", str(scores), *select, "--out", str(later)], monkeypatch) == 0
    best, same = ([json.loads(line) for line in path.read_text().splitlines()] for path in (direct, later))
    assert [(row["id"], row["completion"]) for row in best] == [("x", "one two three"), ("y", "one two three four")]
    if suffix != "csv":  # whose cells are texts
        assert best == same
    points = list(csv.DictReader(curve.open()))
    assert [float(point["best_of"]) for point in points] == pytest.approx([0.5, (2 / 3 + 1 / 3) / 2, 0.5])
    assert [float(point["random"]) for point in points] == pytest.approx([0.5, 0.5, 0.5])
    assert [float(point["oracle"]) for point in points] == pytest.approx([0.5, (2 / 3 + 1) / 2, 1])


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_pairs_can_be_evaluated(
    suffix: str, rows: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs = tmp_path / f"pairs.{suffix}"
    command = ["score", rows, *LONGEST, "--out", str(pairs), "--filter"]
    assert rb([*command, "1", "--pairs", "all"], monkeypatch) == 0
    assert "2 prompts: 6 pairs; 0 prompts with an unscored completion" in capsys.readouterr().out
    assert len(load_benchmark(str(pairs)).examples) == 6
    assert rb([*command, "11", "--overwrite"], monkeypatch) == 0
    assert "no pair of 1 prompts: a margin below 11" in capsys.readouterr().out
    (example,) = load_benchmark(str(pairs)).examples
    assert (example.prompt[0]["content"], example.completions) == ("Say less.", ("one two three four", "one"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--best-of", "--filter", "1"], "--best-of and --filter write different files: pass one of them"),
        (["--correct", "ok"], "--correct needs --best-of"),
        (["--best-of", "--curve", "c.csv"], "--curve needs --correct COLUMN"),
        (["--pairs", "all"], "--pairs needs --filter MIN_MARGIN"),
        (["--best-of", "--percentile-of", "starter"], "--percentile-of adds a column to a table of scores"),
        (["--filter", "-1"], "--filter -1: expected a margin of 0 or more"),
        (
            ["--best-of", "--correct", "right"],
            "jsonl:1, 2: --correct right: no such column; the row has id, prompt, ok",
        ),
        (["--best-of", "--correct", "id"], "jsonl:1, 2: --correct id: one label for 3 completions; expected a list"),
        (
            ["--best-of", "--correct", "ok", "--curve", "c.txt"],
            "--curve c.txt: expected a file that ends with",
        ),
    ],
)
def test_contradictions_are_refused_before_scoring(
    options: list[str], message: str, rows: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr(score_file, "load_scorer", lambda *_: pytest.fail("a model was loaded"))
    out = tmp_path / "out.jsonl"
    assert rb(["score", rows, *LONGEST, "--out", str(out), *options], monkeypatch) == 2
    assert message in capsys.readouterr().err
    assert not out.exists()


def test_what_a_table_cannot_hold_is_refused_before_scoring(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    call = {"type": "function", "function": {"name": "weather", "arguments": {}}}
    turn = [{"role": "assistant", "content": "", "tool_calls": [call]}]
    path = write_jsonl(tmp_path / "calls.jsonl", [{"prompt": "p", "completions": [turn, "b"]}])
    command = ["score", str(path), *LONGEST, "--filter", "0", "--out"]
    assert rb([*command, str(tmp_path / "pairs.jsonl")], monkeypatch) == 0
    monkeypatch.setattr(score_file, "load_scorer", lambda *_: pytest.fail("a model was loaded"))
    assert rb([*command, str(tmp_path / "pairs.parquet")], monkeypatch) == 2
    assert "calls.jsonl:1: messages with tool calls or reasoning do not fit a table" in capsys.readouterr().err


def test_without_a_model_the_input_has_to_be_scores(
    rows: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert rb(["score", rows, "--best-of", "--out", str(tmp_path / "out.jsonl")], monkeypatch) == 2
    assert "was not written by `score`" in capsys.readouterr().err
