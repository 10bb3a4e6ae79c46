"""The points of the plot and the best model of every size."""

from __future__ import annotations

from typing import Any

from rb_core.leaderboard.size_plot import pareto_front, size_plot
from rb_core.results.estimate import Estimate
from rb_core.results.schema import BenchmarkRef, ModelRef, Published, Result

ROLES = ("rank", "model", "kind", "headline", "low", "high", "parameters", "section")


def board(*rows: tuple[Any, ...]) -> dict[str, Any]:
    columns = [{"role": role, "label": role.title()} for role in ROLES]
    return {"id": "b", "title": "B", "columns": columns, "rows": [list(row) for row in rows]}


def result(model: str, estimate: Estimate) -> Result:
    return Result(
        status="published",
        benchmark=BenchmarkRef(id="b", title="B", source="s"),
        model=ModelRef(name=model, kind="classifier"),
        sections={"Section": estimate},
        published=Published(source="s"),
    )


def test_the_front_holds_what_nothing_smaller_beats() -> None:
    """A larger model is on the front only with a higher score; of one size only the best is."""
    points = [(7e9, 0.8), (2e9, 0.7), (7e9, 0.9), (13e9, 0.85), (70e9, 0.9), (70e9, 0.95), (1e9, 0.7)]
    assert pareto_front(points) == [6, 2, 5]
    assert pareto_front([]) == []


def test_equal_points_are_both_on_the_front() -> None:
    """Two models of one size and score beat neither the other."""
    assert pareto_front([(7e9, 0.8), (7e9, 0.8), (8e9, 0.8)]) == [0, 1]


def test_every_model_is_a_point_and_who_is_not_drawn_says_why() -> None:
    """Models without size, rank or score stay in the data with the reason, and none of them is on the front."""
    plot = size_plot(
        board(
            (1, "a/large", "K", 0.9, 0.8, 1.0, 7e9, 0.9),
            (2, "a/small", "K", 0.8, 0.7, 0.9, 1e9, 0.8),
            (3, "a/worse", "K", 0.7, 0.6, 0.8, 7e9, None),
            (4, "a/unsized", "K", 0.6, None, None, None, 0.6),
            (None, "a/part", "K", 0.99, 0.9, 1.0, 1e8, 0.99),
            (None, "a/nothing", "K", None, None, None, 1e8, 0.5),
        ),
        {"a/large": result("a/large", Estimate(value=0.9, low=0.8512345678, high=0.95))},
    )
    why = {point["model"]: point["why"] for point in plot["points"]}
    assert why == {
        "a/large": None,
        "a/small": None,
        "a/worse": None,
        "a/unsized": "unknown size",
        "a/part": "partial run",
        "a/nothing": "incomplete",
    }
    assert [point["model"] for point in plot["points"] if point["front"]] == ["a/large", "a/small"]
    assert plot["points"][0]["sections"] == [(0.9, 0.85123, 0.95)]
    assert plot["points"][1]["sections"] == [(0.8, None, None)]
    assert plot["points"][2]["sections"] == [None]
