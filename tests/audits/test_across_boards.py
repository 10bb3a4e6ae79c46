from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from rb_core.audits.across_boards import DOES_NOT_FIT, across_boards_report, cross_rows
from rb_core.audits.report import read_report
from rb_core.leaderboard.cross_scores import BoardScore, compare_boards, cross_scores
from rb_core.leaderboard.store import ResultsStore
from rb_core.results.estimate import Estimate
from rb_core.results.schema import BenchmarkRef
from rb_core.results.storage import write_result
from tests.cli.command_line import rb
from tests.fakes.results import published
from tests.paths import BUNDLED


@pytest.fixture
def planted() -> dict[tuple[str, str], BoardScore]:
    """Twenty models on three boards that agree, one of them far too low on the last."""
    return {
        (f"m{m:02}", board): BoardScore(f"m{m:02}", board, 0.4 + 0.02 * m + 0.003 * ((m * b) % 5), 20 - m, None, None)
        for m in range(20)
        for b, board in enumerate("abc")
    } | {("m15", "c"): BoardScore("m15", "c", 0.2, 20, 19, 20)}


def test_the_report_names_what_does_not_fit(planted: dict[tuple[str, str], BoardScore]) -> None:
    report = across_boards_report(compare_boards({"a": "A", "b": "B", "c": "C"}, planted))
    assert report.answer[0].startswith("The median rank correlation of two boards is 1.00 (3 pairs")
    assert report.answer[0].endswith("; 1 of 60 scores do not fit the model's other boards.")
    assert report.answer[-1].startswith("Clearest misfits: m15 on C (0.200, predicted 0.")
    misfits, correlations, models = report.tables
    assert [row[:3] for row in misfits.rows] == [("m15", "C", 0.2)]
    assert [row[:3] for row in correlations.rows] == [("A", "B", 20), ("A", "C", 20), ("B", "C", 20)]
    assert next(row for row in models.rows if row[0] == "m15")[-2:] == (0.2, "20 (19 to 20) *")
    assert report.figure is not None
    assert [point.label for point in report.figure.points if point.group == DOES_NOT_FIT] == ["m15 on C"]


def test_rows_have_what_other_boards_predict(planted: dict[tuple[str, str], BoardScore]) -> None:
    rows = list(cross_rows(compare_boards({"a": "A", "b": "B", "c": "C"}, planted)))
    assert len(rows) == 60
    assert [(row["model"], row["board"]) for row in rows if row["fits"] == "no"] == [("m15", "c")]


@pytest.fixture
def small_root(tmp_path: Path) -> Path:
    """Ten models on two boards."""
    for benchmark in ("one", "two"):
        ref = BenchmarkRef(id=benchmark, title=benchmark.title(), source="somewhere")
        for m in range(10):
            estimate = Estimate(value=0.5 + m / 30 + (m % 3) / 100)
            write_result(tmp_path, published(f"org/m{m}", benchmark=ref, headline=estimate))
    return tmp_path


def test_cross_prints_every_format_and_writes_the_report(
    small_root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def printed(*arguments: str) -> str:
        assert rb(["cross", "--results", str(small_root), *arguments], monkeypatch) == 0
        return capsys.readouterr().out

    assert "all 20 scores that other boards can predict fit them." in printed("--out", str(small_root))
    report = read_report(small_root / "audits/across-boards.json")
    assert json.loads(printed("--format", "json")) == report.model_dump(mode="json", exclude_none=True)
    rows = list(csv.DictReader(io.StringIO(printed("--format", "csv"))))
    assert {(row["model"], row["board"]) for row in rows} == {
        (f"org/m{m}", b) for m in range(10) for b in ("one", "two")
    }
    assert "| org/m9 | 0.800 | 1 | 0.800 | 1 |" in printed("--format", "md").splitlines()
    assert rb(["cross", "--results", str(small_root), "--out", str(small_root)], monkeypatch) == 2
    assert "--overwrite" in capsys.readouterr().err


def test_the_bundled_report_is_that_of_its_command(bundled_store: ResultsStore) -> None:
    computed = across_boards_report(cross_scores(bundled_store)).model_dump(mode="json", exclude_none=True)
    bundled = read_report(BUNDLED / "audits/across-boards.json").model_dump(mode="json", exclude_none=True)
    assert computed == bundled
