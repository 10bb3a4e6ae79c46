"""The program: its help, exit code 2 and one line for a user's mistake, and `python -m rb_core`."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

from tests.cli.command_line import rb

EVALUATE = ["evaluate", "--benchmark", "starter"]


def test_evaluate_comes_first_in_the_help(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert rb(["--help"], monkeypatch) == 0
    printed = capsys.readouterr().out
    commands = ("evaluate", "doctor", "show", "aggregate", "verify", "sync", "import", "export")
    places = [printed.index(f"│ {command} ") for command in commands]
    assert places[0] == min(places)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([*EVALUATE, "--model", "baseline/none"], "error: unknown model 'baseline/none'"),
        ([*EVALUATE, "--model", "nowhere"], "neither a folder nor a hub id"),
        (["evaluate", "--model", "baseline/longest", "--benchmark", "nothing"], "unknown benchmark 'nothing'"),
        ([*EVALUATE, "--model", "baseline/longest", "--limit", "-1"], "at least 1"),
        ([*EVALUATE, "--model", "baseline/longest", "--dtype", "int4"], "unknown dtype"),
        ([*EVALUATE, "--model", "baseline/longest", "--beta", "1"], "this is a baseline"),
        ([*EVALUATE, "--model", "baseline/longest", "--name", "../up"], "model name"),
        ([*EVALUATE, "--model", "x/y", "--output-weights", "1,a"], "--output-weights 1,a: cannot be read"),
        ([*EVALUATE, "--model", "x/y", "--chat-template", "/nope"], "--chat-template /nope: cannot be read"),
        (["aggregate", "nothing.parquet"], "no such score file"),
        (["import", "published-tables", "/nope"], "no such table"),
        (["evaluate", "--model", "baseline/longest"], "Missing option '--benchmark'"),
        (["fly"], "No such command 'fly'"),
    ],
)
def test_a_mistake_is_a_message_and_exit_code_2(
    arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert rb(arguments, monkeypatch) == 2
    printed = capsys.readouterr().err
    assert message in printed
    assert "Traceback" not in printed
    if printed.startswith("error: "):
        assert printed.count("\n") == 1


def test_python_m_rb_core_is_the_same_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["rb_core", "aggregate", str(tmp_path / "none.parquet")])
    with pytest.raises(SystemExit) as stop:
        runpy.run_module("rb_core", run_name="__main__")
    assert stop.value.code == 2
    assert capsys.readouterr().err.startswith("error: ")
