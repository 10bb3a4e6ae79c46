"""The importer of tables of accuracies, on small ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rb_core.errors import DataError, ResultError
from rb_core.importers.accuracy_tables import import_accuracies
from rb_core.importers.target import find_target
from rb_core.leaderboard.store import ResultsStore
from rb_core.leaderboard.verify import verify
from rb_core.results.schema import Result
from tests.cli.command_line import rb

FRACTIONS = "model,chat,math,code,Safety,average,easy\nme/a,.5,.6,.7,.8,.65,.9\nme/b,.5,.6,.7,.4,.9,\n"
PERCENT = "model,chat,math,code,Safety,average,easy\nme/a,50,60,70,80,65,90\nme/b,50,60,70,40,90,\n"
COUNTS = (
    "model,part,correct,tied,total\nme/a,Knowledge,77,4,154\nme/a,Reasoning,49,0,98\n"
    "me/a,Math,28,0,56\nme/a,Coding,21,0,42\nme/a,Overall,175,4,350\n"
)

Import = Callable[..., list[Result]]


@pytest.fixture
def run_import(tmp_path: Path) -> Import:
    def run(text: str, benchmark: str = "rm-bench", **options: Any) -> list[Result]:
        (tmp_path / "table.csv").write_text(text, encoding="utf-8")
        out = tmp_path / "out"
        return import_accuracies(tmp_path / "table.csv", find_target(benchmark, out), out, origin="a paper", **options)

    return run


@pytest.mark.parametrize("text", [FRACTIONS, PERCENT])
def test_fractions_and_percent_give_the_same_results(run_import: Import, tmp_path: Path, text: str) -> None:
    a, b = run_import(text)
    assert a.headline is not None
    assert a.headline.value == pytest.approx(0.65)
    assert a.headline.method == "binomial"
    assert {name: estimate.value for name, estimate in a.sections.items()} == {
        "Chat": 0.5, "Math": 0.6, "Code": 0.7, "Safety": 0.8,
    }  # fmt: skip
    assert a.published is not None
    assert a.published.note == "also published: easy 0.9"
    assert b.headline is not None
    assert b.headline.value == pytest.approx(0.55)
    assert b.published is not None
    assert b.published.note == "its source gives 0.9 as the score"
    assert verify(tmp_path / "out").differences == ()


def test_a_score_alone_is_a_headline_with_a_wide_interval(run_import: Import, tmp_path: Path) -> None:
    (alone,) = run_import("model,average\nme/alone,65\n")
    whole, _ = run_import(PERCENT)
    assert alone.headline is not None
    assert whole.headline is not None
    assert (alone.headline.stderr or 0) >= (whole.headline.stderr or 1)
    assert set(alone.absent.values()) == {"not published"}
    assert verify(tmp_path / "out").differences == ()
    store = ResultsStore(tmp_path / "out")
    store.refresh()
    row = store.boards()["rm-bench"].row("me/alone")
    assert row is not None
    assert row.rank_interval is not None


def test_counts_become_accuracies(run_import: Import, tmp_path: Path) -> None:
    (result,) = run_import(COUNTS, "judgebench")
    assert result.subsets["knowledge"].value == 0.5
    assert result.headline is not None
    assert result.headline.value == pytest.approx(0.5)
    assert result.published is not None
    assert result.published.note == "knowledge: 4 of 154 tied; headline: 4 of 350 tied"
    assert verify(tmp_path / "out").differences == ()
    for wrong in ("77,4,153", "152,4,154", "77,x,154", "-1,0,154"):
        with pytest.raises(DataError, match=r"table.csv:2: field '(total|tied|correct)'"):
            run_import(COUNTS.replace("77,4,154", wrong), "judgebench")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model,chat\nme/a,70\nme/b,0.7\n", "state --unit fraction or percent"),
        ("model,chat\nme/a,170\n", "170 is no accuracy as a percent"),
        ("model,chat\nme/a,high\n", "table.csv:2: field 'chat': is 'high'"),
        ("model,chat\nme/a,70\nme/a,71\n", "the model 'me/a' is repeated"),
        ("model,chess\nme/a,70\n", "no column is called as a part of rm-bench"),
        ("name,chat\nme/a,70\n", "the row names no model"),
    ],
)
def test_mistakes_are_named(run_import: Import, tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError) as error:
        run_import(text)
    assert message in str(error.value)
    assert not (tmp_path / "out").exists()


def test_two_names_of_one_model_are_refused(run_import: Import, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/models.yaml").write_text("- name: org/a\n  aliases: [A, a]\n", encoding="utf-8")
    with pytest.raises(DataError, match="'A' and 'a' are both org/a"):
        run_import("model,chat\nA,70\na,70\n")
    (result,) = run_import("model,chat,maths\nA,0.7,\n", columns={"Math": "maths"}, unit="fraction")
    assert result.model.name == "org/a"
    assert result.headline is None
    assert result.absent["headline"] == "without Code, Math, Safety"
    with pytest.raises(ResultError, match="--overwrite"):
        run_import("model,chat\nA,0.7\n")


def test_the_command_reads_a_folder_with_a_file_a_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "folder/org").mkdir(parents=True)
    for name in ("first", "second"):
        (tmp_path / f"folder/org/{name}.json").write_text('[{"accuracy": 0.7}]', encoding="utf-8")
    options = ["--benchmark", "judgebench", "--source", "a paper", "--out", str(tmp_path / "out")]
    assert rb(["import", "accuracies", str(tmp_path / "folder"), *options], monkeypatch) == 0
    output = capsys.readouterr().out
    assert "org/first" in output
    assert "org/second" in output
