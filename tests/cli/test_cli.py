"""The command line: what it prints, and that a mistake is one line and exit code 2."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from rb_core.results.schema import SCHEMA_FILE
from rb_core.results.storage import read_result
from tests.cli.command_line import rb
from tests.paths import ROOT


def evaluate_starter(out: Path) -> list[str]:
    return ["evaluate", "--model", "baseline/longest", "--benchmark", "starter", "--out", str(out)]


def test_evaluate_writes_and_prints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`evaluate` ends with the table of the sections and says where the result lies."""
    assert rb(evaluate_starter(tmp_path), monkeypatch) == 0
    printed = capsys.readouterr().out
    for word in ("baseline/longest on Starter", "Chat Hard", "Ties", "95% interval", "written to"):
        assert word in printed
    result = read_result(tmp_path / "results/starter/baseline/longest.json")
    assert result.run is not None
    assert result.run.command == f"rb {' '.join(evaluate_starter(tmp_path))}"


def test_aggregate_prints_and_writes_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`aggregate` gives the run's result again: as JSON, and written to another folder with its scores."""
    rb(evaluate_starter(tmp_path / "a"), monkeypatch)
    scores = str(tmp_path / "a/scores/starter/baseline/longest.parquet")
    capsys.readouterr()
    assert rb(["aggregate", scores, "--json"], monkeypatch) == 0
    assert capsys.readouterr().out == (tmp_path / "a/results/starter/baseline/longest.json").read_text("utf-8")
    assert rb(["aggregate", scores, "--out", str(tmp_path / "b")], monkeypatch) == 0
    for path in ("results/starter/baseline/longest.json", "scores/starter/baseline/longest.parquet"):
        assert (tmp_path / "a" / path).read_bytes() == (tmp_path / "b" / path).read_bytes()


def test_show_in_every_format(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`show` prints a table, CSV that parses, JSON that parses, and Markdown."""
    rb(evaluate_starter(tmp_path), monkeypatch)
    capsys.readouterr()
    printed = {}
    for name in ("table", "csv", "json", "md"):
        assert rb(["show", str(tmp_path), "--format", name], monkeypatch) == 0
        printed[name] = capsys.readouterr().out
    assert "baseline/longest" in printed["table"]
    (row,) = csv.DictReader(io.StringIO(printed["csv"]))
    assert (row["Benchmark"], row["Model"]) == ("starter", "baseline/longest")
    assert 0 < float(row["Score"]) < 1
    assert json.loads(printed["json"])[0]["id"] == "starter"
    assert "| 1 | baseline/longest |" in printed["md"]


def test_lists(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """`benchmarks` and `models` list the records."""
    rb(["benchmarks"], monkeypatch)
    rb(["models"], monkeypatch)
    printed = capsys.readouterr().out
    for word in ("rewardbench-2", "1865", "THU-KEG/RM-Bench", "builtin/tiny-rm", "baseline/prompt-overlap"):
        assert word in printed


def test_schema_writes_the_schema(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`schema` writes the JSON Schema."""
    rb(["schema", "--out", str(tmp_path)], monkeypatch)
    assert json.loads((tmp_path / SCHEMA_FILE).read_text("utf-8"))["title"].startswith("RewardBench result")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["evaluate", "--model", "baseline/none", "--benchmark", "starter"], "unknown model 'baseline/none'"),
        (["evaluate", "--model", "nowhere", "--benchmark", "starter"], "neither a folder nor a hub id"),
        (["evaluate", "--model", "baseline/longest", "--benchmark", "nothing"], "unknown benchmark 'nothing'"),
        (["evaluate", "--model", "baseline/longest", "--benchmark", "starter", "--limit", "-1"], "at least 1"),
        (["evaluate", "--model", "baseline/longest", "--benchmark", "starter", "--dtype", "int4"], "unknown dtype"),
        (["evaluate", "--model", "baseline/longest", "--benchmark", "starter", "--device", "tpu"], "unknown device"),
        (["evaluate", "--model", "baseline/longest", "--benchmark", "starter", "--kind", "judge"], "unknown kind"),
        (["evaluate", "--model", "baseline/longest", "--benchmark", "starter", "--name", "../up"], "model name"),
        (["evaluate", "--model", "x/y", "--benchmark", "starter", "--output-weights", "1,a"], "separated by commas"),
        (["evaluate", "--model", "x/y", "--benchmark", "starter", "--chat-template", "/nope"], "cannot be read"),
        (["evaluate", "--model", "x/y", "--benchmark", "starter", "--batch-tokens", "0"], "at least 1"),
        (["aggregate", "nothing.parquet"], "no such score file"),
        (["show", "nothing.json"], "no such result file"),
        (["show", "--benchmark", "nothing"], "no results of nothing"),
        (["import", "published-tables", "/nope"], "no such table"),
        (["evaluate", "--model", "baseline/longest"], "Missing option '--benchmark'"),
        (["fly"], "No such command 'fly'"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A user's mistake says what was wrong, never with a traceback."""
    assert rb(arguments, monkeypatch) == 2
    printed = capsys.readouterr().err
    assert message in printed
    assert "Traceback" not in printed


def test_python_m_rb_core_is_the_same_program(tmp_path: Path) -> None:
    """`python -m rb_core` runs, and its mistakes exit with 2 and one line."""
    command = [sys.executable, "-m", "rb_core", "aggregate", str(tmp_path / "none.parquet")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
