from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from rb_core.leaderboard.board import Board, build_board
from rb_core.leaderboard.board_table import board_columns, board_from_json, board_to_json, detectable_text
from rb_core.results.estimate import Estimate
from rb_core.results.judge_records import Judging
from tests.fakes.results import published


@pytest.fixture
def content(bundled_boards: dict[str, Board]) -> dict[str, Any]:
    """A board's JSON, to be changed."""
    return json.loads(json.dumps(board_to_json(bundled_boards["starter"])))


def index(content: dict[str, Any], role: str) -> int:
    return [column["role"] for column in content["columns"]].index(role)


def without_rank_intervals(board: Board) -> Board:
    """The board without what its JSON does not hold: rank intervals, why there is no interval, unscored errors."""
    left_out = {"no_interval": None, "unscored_error": None}
    rows = tuple(
        replace(row, rank_interval=None, tier=None, headline=row.headline.model_copy(update=left_out))
        for row in board.rows
    )
    return replace(board, rows=rows, detectable=None)


def test_json_is_small_and_gives_the_board_back(bundled_boards: dict[str, Board]) -> None:
    for board in bundled_boards.values():
        text = json.dumps(board_to_json(board), allow_nan=False)
        assert len(text) < 120_000
        assert board_from_json(json.loads(text)) == without_rank_intervals(board.rounded())


def test_tiers_and_rank_intervals_have_columns_only_where_models_were_compared(
    bundled_boards: dict[str, Board],
) -> None:
    starter = bundled_boards["starter"]
    first = dict(zip((c.key for c in board_columns(starter)), board_to_json(starter)["rows"][0], strict=True))
    interval = starter.rows[0].rank_interval
    assert interval is not None
    assert (first["rank"], first["tier"], first["best"], first["worst"]) == (1, 1, 1, interval.worst)
    assert f"tell models {100 * (starter.detectable or 0):.1f} points" in detectable_text(starter)
    alone = build_board([published()])
    assert not {"tier", "best", "worst"} & {column.key for column in board_columns(alone)}
    assert "detectable" not in board_to_json(alone)
    assert detectable_text(alone) == ""


def test_consistency_has_a_column_only_with_a_judge() -> None:
    judging = Judging(requests=2, position_consistency=Estimate(value=0.75), flips=1)
    judge = published("o/judge", judging=judging, headline=Estimate(value=0.9))
    board = build_board([judge, published("o/other", headline=Estimate(value=0.7))])
    assert board_from_json(json.loads(json.dumps(board_to_json(board)))) == board
    assert "consistency" in [column.key for column in board_columns(board)]
    assert "consistency" not in [column.key for column in board_columns(build_board([published()]))]


@pytest.mark.parametrize(
    ("role", "cell", "field"),
    [
        ("rank", "<img src=x>", "rank"),
        ("rank", 1.5, "rank"),
        ("headline", "0.9", "headline.value"),
        ("headline", float("nan"), "headline.value"),
        ("section", "high", "sections.Chat"),
        ("section", True, "sections.Chat"),
        ("model", 3, "model"),
        ("kind", None, "kind"),
    ],
)
def test_a_cell_of_another_type_is_refused(content: dict[str, Any], role: str, cell: object, field: str) -> None:
    content["rows"][0][index(content, role)] = cell
    with pytest.raises(ValueError, match=f"starter: rows.0.{field}"):
        board_from_json(content)


def test_a_table_that_is_not_whole_is_refused(content: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="cells for"):
        board_from_json(content | {"rows": [content["rows"][0][:-1]]})
    with pytest.raises(ValueError, match="more than one column for section"):
        board_from_json(content | {"columns": content["columns"] + [content["columns"][index(content, "section")]]})
    without_high = [column for column in content["columns"] if column["role"] != "high"]
    with pytest.raises(ValueError, match="no column for high"):
        board_from_json(content | {"columns": without_high})


def test_a_link_that_is_not_to_the_web_is_refused(content: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="not a web address"):
        board_from_json(content | {"url": "javascript:alert(1)"})


def test_columns_of_scores_have_the_score_of_random_choice(bundled_boards: dict[str, Board]) -> None:
    """Half for pairs, a quarter for best of four. That of Ties comes from a run, which knows the numbers of answers."""
    expected = {"rewardbench": ("Chat Hard", 0.5, 0.5), "rewardbench-2": ("Math", 0.25, None)}
    for name, (section, score, headline) in expected.items():
        columns = {column.key: column.chance for column in board_columns(bundled_boards[name])}
        assert columns[f"section:{section}"] == pytest.approx(score)
        assert columns["score"] == (headline and pytest.approx(headline))
        assert columns["model"] is None
    starter = {column.label: column.chance for column in board_columns(bundled_boards["starter"])}
    assert starter["Chat"] == pytest.approx((0.5 + 0.5 + 0.25) / 3)
    sections = [starter[name] for name in ("Chat", "Chat Hard", "Safety", "Reasoning", "Ties")]
    assert starter["Score"] == pytest.approx(sum(value or 0 for value in sections) / 5)
    assert 0 < (starter["Ties"] or 0) < 0.1
