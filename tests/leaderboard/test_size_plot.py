from __future__ import annotations

from dataclasses import replace

from rb_core.leaderboard.board import Board, BoardRow, BoardSection
from rb_core.leaderboard.size_plot import pareto_front, size_plot
from rb_core.results.estimate import Estimate
from tests.fakes.results import published


def board_of(*rows: BoardRow) -> Board:
    return Board("b", "B", "", "", "", "", (BoardSection("Section"),), (), rows, (), None)


def row(rank: int | None, model: str, score: float | None, parameters: int | None, section: float | None) -> BoardRow:
    sections = {} if section is None else {"Section": section}
    return BoardRow(rank, model, "K", "published", Estimate(value=score), None, None, parameters, sections, {})


def test_the_front_holds_the_points_that_none_dominates() -> None:
    points = [(7e9, 0.8), (2e9, 0.7), (7e9, 0.9), (13e9, 0.85), (70e9, 0.9), (70e9, 0.95), (1e9, 0.7)]
    assert pareto_front(points) == [6, 2, 5]
    assert pareto_front([]) == []


def test_equal_points_are_both_on_the_front() -> None:
    assert pareto_front([(7e9, 0.8), (7e9, 0.8), (8e9, 0.8)]) == [0, 1]


def test_models_without_size_rank_or_score_are_points_with_a_reason_and_off_the_front() -> None:
    board = board_of(
        row(1, "a/large", 0.9, 7_000_000_000, 0.9),
        row(2, "a/small", 0.8, 1_000_000_000, 0.8),
        row(3, "a/worse", 0.7, 7_000_000_000, None),
        row(4, "a/unsized", 0.6, None, 0.6),
        replace(row(None, "a/part", 0.99, 100_000_000, 0.99), status="partial run"),
        row(None, "a/nothing", None, 100_000_000, 0.5),
    )
    section = Estimate(value=0.9, low=0.8512345678, high=0.95)
    points = size_plot(board, {"a/large": published("a/large", sections={"Section": section})}).points
    assert {point.row.model: point.not_drawn for point in points} == {
        "a/large": None,
        "a/small": None,
        "a/worse": None,
        "a/unsized": "unknown size",
        "a/part": "partial run",
        "a/nothing": "incomplete",
    }
    assert [point.row.model for point in points if point.on_front] == ["a/large", "a/small"]
    assert points[0].sections == ((0.9, 0.85123, 0.95),)
    assert points[1].sections == ((0.8, None, None),)
    assert points[2].sections == (None,)
