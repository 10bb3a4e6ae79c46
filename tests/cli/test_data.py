"""The command `data`, and what `evaluate` says of a user's own data."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from rb_core.results.storage import read_result
from tests.benchmarks.preference_files import write_jsonl
from tests.cli.command_line import rb

ROWS = [{"question": f"What is {i} + 1?", "good": str(i + 1), "bad": str(i + i % 2)} for i in range(4)]
COLUMNS = "prompt=question,chosen=good,rejected=bad"


def test_data_shows_how_a_file_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_jsonl(tmp_path / "sums.jsonl", ROWS)
    assert rb(["data", str(path), "--columns", COLUMNS], monkeypatch) == 0
    lines = capsys.readouterr().out.splitlines()
    for expected in (
        "sums.jsonl: 4 examples, 8 completions",
        r"read as: prompt, chosen and rejected \(4 rows\)",
        "benchmark: custom-sums-[0-9a-f]{8}",
        "sha256: [0-9a-f]{64}",
        "subsets: 'sums' 4",
        "groups: 4, the largest of 1 examples",
        r"characters, median \(range\): prompt 14 \(14 to 14\), .*",
        "duplicates: 0; cannot be won: 2",
        "warning: 2 of 4 examples cannot be won: a chosen text is also a rejected one",
        "example 'sums/1'",
        r"  user: 'What is 0 \+ 1\?'",
        "  chosen: '1'",
    ):
        assert any(re.fullmatch(expected, line) for line in lines), expected
    assert sum(line.startswith("example ") for line in lines) == 3


def test_a_file_in_no_known_layout_is_one_line_and_exit_code_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in (
        ["data"],
        ["evaluate", "--model", "baseline/longest", "--out", str(tmp_path / "out"), "--benchmark"],
    ):
        assert rb([*command, str(write_jsonl(tmp_path / "sums.jsonl", ROWS))], monkeypatch) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("error: sums.jsonl:1, 2, 3, 4: is in no known layout; it has 'question', 'good', 'bad'.")
    assert not (tmp_path / "out").exists()


def test_evaluate_names_the_layout_and_counts_what_cannot_be_won(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = write_jsonl(tmp_path / "Süße Daten.jsonl", ROWS), tmp_path / "out"
    command = ["evaluate", "--model", "baseline/longest", "--benchmark", str(path), "--columns", COLUMNS]
    assert rb([*command, "--out", str(out)], monkeypatch) == 0
    printed = capsys.readouterr().out
    assert "read as: prompt, chosen and rejected (4 rows)\nwarning: 2 of 4 examples cannot be won" in printed
    (file,) = (out / "results").rglob("*.json")
    result = read_result(file)
    assert result.benchmark.id.startswith("custom-Sue-Daten-")
    assert (result.benchmark.source, result.benchmark.unwinnable) == ("Süße Daten.jsonl", 2)


def test_names_of_subsets_are_no_markup(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        {"prompt": name, "chosen": "a", "rejected": "b", "subset": name}
        for name in ("math [/INST]", "[bold]x[/bold]", "a\x1b[31mred\nb")
    ]
    path, out = write_jsonl(tmp_path / "d.jsonl", rows), str(tmp_path / "out")
    assert rb(["evaluate", "--model", "baseline/longest", "--benchmark", str(path), "--out", out], monkeypatch) == 0
    assert rb(["show", out, "--subsets", "--wide"], monkeypatch) == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in ("math [/INST]", "[bold]x[/bold]", r"a\x1b[31mred\nb"))
