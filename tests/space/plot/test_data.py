"""Data of the plot."""

from __future__ import annotations

from dataclasses import replace

from rb_core.audits.traits import Trait, TraitValue
from rb_core.leaderboard.board import Board, BoardRow, BoardSection
from rb_core.leaderboard.model_registry import NO_MODELS
from rb_core.results.estimate import Estimate
from rb_core.space.plot.data import plot_data
from tests.fakes.results import published


def row(rank: int | None, model: str, score: float | None, parameters: int | None, section: float | None) -> BoardRow:
    sections = {} if section is None else {"Section": section}
    return BoardRow(rank, model, "K", "published", Estimate(value=score), None, None, parameters, sections, {})


def test_axes_have_a_cell_for_each_model_and_the_reason_for_none() -> None:
    rows = (
        row(1, "a/large", 0.9, 7_000_000_000, 0.9),
        row(2, "a/unsized", 0.6, None, None),
        replace(row(None, "a/part", 0.99, 100_000_000, 0.99), status="partial run"),
        replace(row(None, "a/checkpoint", 0.99, 100_000_000, 0.99), sweep="s"),
        row(None, "a/nothing", None, 100_000_000, 0.5),
    )
    board = Board("b", "B", "", "", "", "", (BoardSection("Section"),), (), rows, (), None)
    section = Estimate(value=0.9, low=0.8512345678, high=0.95)
    trait = Trait("gap", "Gap", "", {"a/large": TraitValue(0.1)}, {})
    data = plot_data(board, {"a/large": published("a/large", sections={"Section": section})}, [trait], NO_MODELS)
    assert [model["why"] for model in data["models"]] == [
        None,
        None,
        "partial run",
        "development checkpoint",
        "incomplete",
    ]
    axes = {axis["key"]: axis for axis in data["axes"]}
    assert list(axes) == ["score", "section:Section", "size", "gap"]  # nothing is known of release dates
    assert axes["section:Section"]["cells"][:2] == [(0.9, 0.85123, 0.95), None]
    assert axes["size"]["cells"][:2] == [7_000_000_000, None]
    assert axes["gap"]["cells"] == [(0.1, None, None), None, None, None, None]
    assert [axis["missing"] for axis in axes.values()] == ["incomplete", "no Section", "unknown size", "no gap"]
