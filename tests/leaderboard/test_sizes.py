from __future__ import annotations

import csv

from rb_core.leaderboard.board import Board, build_board
from rb_core.leaderboard.sizes import sizes
from rb_core.leaderboard.store import ResultsStore
from rb_core.results.schema import Result
from tests.paths import ROOT


def test_every_size_is_that_of_a_model_on_a_board_with_a_note(bundled_boards: dict[str, Board]) -> None:
    names = {row.model for board in bundled_boards.values() for row in board.rows}
    with (ROOT / "rb_core" / "leaderboard" / "sizes.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["model"] for row in rows if row["model"] not in names] == []
    assert len({row["model"] for row in rows}) == len(rows) == len(sizes())
    assert all(1e6 <= int(row["parameters"]) <= 2e12 and row["note"] for row in rows)


def test_boards_have_sizes_of_published_models_and_of_runs(bundled_boards: dict[str, Board], tiny_rm: Result) -> None:
    parameters = {(board.id, row.model): row.parameters for board in bundled_boards.values() for row in board.rows}
    assert parameters["rewardbench", "nvidia/Nemotron-4-340B-Reward"] == 340_000_000_000
    assert parameters["rewardbench", "mistralai/Mixtral-8x7B-Instruct-v0.1"] == 46_700_000_000
    assert parameters["rewardbench", "openai/gpt-4o-2024-05-13"] is None
    assert parameters["starter", "builtin/tiny-rm"] == tiny_rm.model.parameters
    assert parameters["starter", "baseline/longest"] is None


def test_the_count_of_a_run_comes_before_the_published_size(bundled_store: ResultsStore) -> None:
    result = bundled_store.results("rewardbench")["Skywork/Skywork-Reward-Gemma-2-27B"]
    model = result.model.model_copy(update={"parameters": 27_227_128_320})
    (row,) = build_board([result.model_copy(update={"model": model})]).rows
    assert row.parameters == 27_227_128_320
