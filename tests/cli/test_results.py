"""`show` and the commands that list what there is."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path

import pytest

from rb_core.results.estimate import Estimate
from rb_core.results.schema import SCHEMA_FILE
from rb_core.results.storage import write_result
from rb_core.stats.intervals import TOO_FEW_GROUPS
from tests.cli.command_line import rb
from tests.fakes.results import published
from tests.fakes.unscored_runs import SILENT, silent_run
from tests.paths import BUNDLED

STARTER = BUNDLED / "results" / "starter"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    shutil.copytree(STARTER, tmp_path / "results" / "starter")
    return tmp_path


def show(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], width: int = 80
) -> str:
    assert rb(["show", *arguments], monkeypatch, width) == 0
    return capsys.readouterr().out


def cells_of_tiny_rm() -> list[str]:
    """Return score, interval and coverage of the built-in model."""
    headline = json.loads((STARTER / "builtin/tiny-rm.json").read_text("utf-8"))["headline"]
    score, low, high = (f"{100 * headline[name]:.1f}" for name in ("value", "low", "high"))
    return [score, f"{low} to {high}", "100.0"]


def test_show_fits_80_columns(root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    printed = show([str(root)], monkeypatch, capsys)
    assert max(map(len, printed.splitlines())) <= 80
    header = next(line for line in printed.splitlines() if "Model" in line)
    assert header.replace("┃", " ").split() == ["Rank", "Model", "Tier", "Score", "95%", "interval", "Coverage"]
    row = next(line for line in printed.splitlines() if "builtin/tiny-rm" in line)
    assert row.replace("│", " ").split()[1:] == ["builtin/tiny-rm", "1", *" ".join(cells_of_tiny_rm()).split()]
    assert "Models of one tier cannot be told apart" in printed
    assert "can tell models 9." in printed
    assert printed.splitlines()[-1] == "11 more columns with --wide"


def test_show_has_more_columns_on_a_wider_terminal(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    printed = show([str(root)], monkeypatch, capsys, width=115)
    assert max(map(len, printed.splitlines())) <= 115
    assert "Sequence classifier" in printed
    assert "Rank interval" in printed
    assert "Ties" not in printed


def test_show_wide_has_all_columns_however_wide_the_terminal_is(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    printed = show([str(root), "--wide"], monkeypatch, capsys, width=40)
    for column in ("Kind", "Origin", "Parameters", "Chat Hard", "Ties"):
        assert column in printed
    assert "more columns" not in printed
    assert "Sequence classifier" in printed


def test_show_folds_long_names_and_keeps_the_other_columns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "organisation-with-a-long-name/model-with-a-very-long-name-too"
    result = json.loads((STARTER / "builtin/tiny-rm.json").read_text("utf-8"))
    result["model"]["name"] = name
    (tmp_path / "result.json").write_text(json.dumps(result), "utf-8")
    lines = show([str(tmp_path / "result.json")], monkeypatch, capsys).splitlines()
    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in lines if line.startswith("│")]
    assert "".join(row[1] for row in cells[:-1]) == name
    assert cells[0][2:] == cells_of_tiny_rm()


def test_show_has_bounds_where_examples_are_unscored(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Beside score and coverage, in every format; they count the unscored examples as failed, and as passed."""
    assert "ounds" not in show([str(root)], monkeypatch, capsys)
    silent_run(root)
    (row,) = [r for r in csv.DictReader(io.StringIO(show([str(root), "--format", "csv"], monkeypatch, capsys)))
              if r["Model"] == SILENT]  # fmt: skip
    score, coverage, floor, ceiling = (float(row[name]) for name in ("Score", "Coverage", "Floor", "Ceiling"))
    assert floor < score < ceiling
    assert coverage < 1
    bounds = f"{100 * floor:.1f} to {100 * ceiling:.1f}"
    printed = show([str(root)], monkeypatch, capsys)
    assert max(map(len, printed.splitlines())) <= 80
    assert "Bounds: every unscored example failed" in printed
    cells = next(line for line in printed.splitlines() if SILENT in line).split("│")
    assert [cell.strip() for cell in cells[6:8]] == [f"{100 * coverage:.1f}", bounds]
    assert rb(["aggregate", str(root / "scores/starter/mine/silent.parquet")], monkeypatch) == 0
    assert bounds in capsys.readouterr().out


def test_show_gives_the_reason_for_a_score_without_interval(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    result = published(headline=Estimate(value=0.5, no_interval=TOO_FEW_GROUPS))
    write_result(tmp_path, result)
    assert f"none: {TOO_FEW_GROUPS}" in " ".join(show([str(tmp_path)], monkeypatch, capsys, width=120).split())


def test_show_takes_folders_within_the_results_and_files(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    printed = show([str(STARTER)], monkeypatch, capsys)
    assert "builtin/tiny-rm" in printed
    assert "baseline/longest" in printed
    printed = show([str(STARTER / "baseline")], monkeypatch, capsys)
    assert "builtin/tiny-rm" not in printed
    assert "baseline/longest" in printed
    files = [str(STARTER / "builtin/tiny-rm.json"), str(STARTER / "baseline/longest.json")]
    printed = show(files, monkeypatch, capsys)
    assert printed.count("Starter") == 1
    assert "builtin/tiny-rm" in printed
    assert "baseline/random" not in printed


def test_show_names_a_file_that_is_no_result(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = root / "results/starter/baseline/longest.json"
    broken.write_text("{}")
    for folder in (root, root / "results/starter"):
        assert rb(["show", str(folder)], monkeypatch) == 0
        printed = capsys.readouterr()
        assert printed.err.startswith(f"refused: {broken}")
        assert "builtin/tiny-rm" in printed.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing.json"], "no such result file"),
        (["--benchmark", "nothing"], "no results of nothing in leaderboard_data"),
        (["."], "no results in ."),
    ],
)
def test_show_without_results_is_an_error(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "leaderboard_data").mkdir()
    monkeypatch.chdir(tmp_path)
    assert rb(["show", *arguments], monkeypatch) == 2
    assert message in capsys.readouterr().err


def test_other_formats_have_all_columns_however_wide_the_terminal_is(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = list(csv.DictReader(io.StringIO(show([str(root), "--format", "csv"], monkeypatch, capsys))))
    assert (rows[0]["Benchmark"], rows[0]["Model"], rows[0]["Rank"]) == ("starter", "baseline/shortest", "1")
    assert 0 < float(rows[0]["95% low"]) < float(rows[0]["Score"]) < float(rows[0]["95% high"]) < 1
    labels = list(rows[0])[1:]
    assert {"Kind", "Origin", "Parameters", "Chat", "Ties"} <= set(labels)
    (board,) = json.loads(show([str(root), "--format", "json"], monkeypatch, capsys))
    assert board["id"] == "starter"
    assert [column["label"] for column in board["columns"] if column["role"] != "subset"] == labels
    printed = show([str(root), "--format", "md"], monkeypatch, capsys)
    assert f"| {' | '.join(labels)} |" in printed
    worst = int(float(rows[0]["Worst rank"]))
    assert worst > 1
    assert f"| 1 | baseline/shortest | 1 | 1 | {worst} | Baseline |" in printed


def test_show_with_subsets_has_their_columns(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(next((BUNDLED / "results/rewardbench").rglob("*.json")))
    sections = show([path, "--format", "csv"], monkeypatch, capsys).splitlines()[0].split(",")
    subsets = show([path, "--format", "csv", "--subsets"], monkeypatch, capsys).splitlines()[0].split(",")
    assert "alpacaeval-easy" not in sections
    assert "alpacaeval-easy" in subsets


def test_benchmarks_and_models_are_listed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    rb(["benchmarks"], monkeypatch)
    rb(["models"], monkeypatch)
    printed = capsys.readouterr().out
    for word in ("rewardbench-2", "1865", "THU-KEG/RM-Bench", "builtin/tiny-rm", "baseline/prompt-overlap"):
        assert word in printed


def test_schema_writes_the_json_schema(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rb(["schema", "--out", str(tmp_path)], monkeypatch)
    assert json.loads((tmp_path / SCHEMA_FILE).read_text("utf-8"))["title"].startswith("RewardBench result")


def test_show_marks_scores_with_a_section_that_others_lack(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(BUNDLED / "results/rewardbench/allenai")
    printed = show([folder], monkeypatch, capsys, width=200)
    marked = [line.split()[3] for line in printed.splitlines() if "+ │" in line]
    assert marked
    assert marked == [
        row["Model"] for row in csv_rows([folder], monkeypatch, capsys) if row["Includes"] == "Prior Sets"
    ]
    assert "--common-sections ranks by Chat, Chat Hard, Safety, Reasoning." in printed
    common = csv_rows([folder, "--common-sections"], monkeypatch, capsys)
    for row in common:
        sections = [float(row[name]) for name in ("Chat", "Chat Hard", "Safety", "Reasoning")]
        assert float(row["Score"]) == pytest.approx(sum(sections) / 4)
    assert "Prior Sets" not in common[0]


def csv_rows(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> list[dict[str, str]]:
    rows = csv.DictReader(io.StringIO(show([*arguments, "--format", "csv"], monkeypatch, capsys)))
    return [row for row in rows if row["Model"] != "random choice"]
