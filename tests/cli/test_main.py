"""The program: its help, exit code 2 and one line for a user's mistake, and `python -m rb_core`."""

from __future__ import annotations

import os
import runpy
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from rb_core.cli.main import make_app
from rb_core.evaluation.distributed import this_process
from tests.cli.command_line import rb
from tests.paths import BUNDLED

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
        ([*EVALUATE, "--model", "baseline/longest", "--seed", "-1"], "--seed is -1; it must be a whole number from 0"),
        ([*EVALUATE, "--model", "baseline/longest", "--out", "/dev/null/x"], "cannot be written: not a directory"),
        (["schema", "--out", "/dev/null/x"], "cannot be written: not a directory"),
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


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"WORLD_SIZE": "x"}, "the environment variable WORLD_SIZE is 'x', not a number"),
        ({"WORLD_SIZE": "2", "LOCAL_RANK": "0", "RANK": "x"}, "the environment variable RANK is 'x', not a number"),
        ({"WORLD_SIZE": "2", "LOCAL_RANK": "-1", "RANK": "0"}, "the environment variable LOCAL_RANK is '-1'"),
        ({"WORLD_SIZE": "2", "LOCAL_RANK": "0"}, "the environment variable RANK is '', not a number"),
        ({"WORLD_SIZE": "2", "LOCAL_RANK": "0", "RANK": "7"}, "RANK 7, LOCAL_RANK 0 and WORLD_SIZE 2 are not"),
        ({"WORLD_SIZE": "2", "LOCAL_RANK": "0", "RANK": "0"}, "the processes of this run cannot be connected: "),
        ({"RB_HUB_TIMEOUT": "garbage"}, "RB_HUB_TIMEOUT is 'garbage'; set a number of seconds, at most a day"),
        ({"RB_HUB_TIMEOUT": "nan"}, "RB_HUB_TIMEOUT is 'nan'; set a number of seconds"),
        ({"RB_HUB_TIMEOUT": "-1"}, "RB_HUB_TIMEOUT is '-1'; set a number of seconds"),
    ],
)
def test_a_mistake_in_the_environment_is_one_line(
    variables: dict[str, str], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("WORLD_SIZE", "LOCAL_RANK", "RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    this_process.cache_clear()
    assert rb(["verify", "--repo", "org/results"], monkeypatch) == 2
    printed = capsys.readouterr().err
    assert message in printed
    assert printed.count("\n") == 1


RB = [sys.executable, "-m", "rb_core"]
JSON = [*RB, "aggregate", "--json", str(BUNDLED / "scores/starter/builtin/tiny-rm.parquet")]


def test_output_is_the_same_in_every_locale() -> None:
    """Neither the locale nor PYTHONIOENCODING changes what is written: UTF-8."""
    shown = [
        subprocess.run(
            [*RB, "show", str(BUNDLED / "results/starter")],
            env=os.environ | environment,
            capture_output=True,
            check=True,
        ).stdout
        for environment in ({"LC_ALL": "C.UTF-8"}, {"LC_ALL": "C", "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"})
    ]
    assert shown[0] == shown[1]
    assert "│" in shown[0].decode()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_under_the_output_is_one_line() -> None:
    with Path("/dev/full").open("w") as full:
        run = subprocess.run(JSON, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (run.returncode, run.stderr) == (2, "error: output: No space left on device\n")


def test_output_that_the_caller_closed_is_left_out() -> None:
    command = f"exec {shlex.join(JSON)} >&-"
    run = subprocess.run(["sh", "-c", command], stderr=subprocess.PIPE, text=True, check=False)
    assert (run.returncode, run.stderr) == (0, "")


def test_a_closed_pipe_is_at_most_one_line() -> None:
    with subprocess.Popen(JSON, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        assert run.stderr is not None
        run.stdout.close()
        assert run.stderr.read() in ("", "error: output: Broken pipe\n")


def test_each_command_is_found_in_the_module_that_is_imported_for_it() -> None:
    every = typer.main.get_command(make_app())
    for command in every.commands:  # type: ignore[attr-defined]
        alone = typer.main.get_command(make_app(command))
        assert command in alone.commands  # type: ignore[attr-defined]
        assert len(alone.commands) < len(every.commands)  # type: ignore[attr-defined]


def test_a_baseline_is_evaluated_without_the_packages_that_it_does_not_need(tmp_path: Path) -> None:
    """Each of them would take longer to import than all else takes."""
    program = (
        "import atexit, sys; from rb_core.cli.main import main;"
        "atexit.register(lambda: print(*{'torch', 'transformers', 'datasets', 'gradio', 'huggingface_hub',"
        "'scipy.stats', 'scipy.optimize'} & sys.modules.keys(), file=sys.stderr)); main()"
    )
    arguments = ["evaluate", "--model", "baseline/longest", "--benchmark", "starter", "--out", str(tmp_path)]
    run = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=True)
    assert run.stderr.split("\n")[-2] == ""
