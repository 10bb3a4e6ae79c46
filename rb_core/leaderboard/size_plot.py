"""What the plot of scores against sizes shows: the points, the best of every size, and who is left out why. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rb_core.results.estimate import Estimate
from rb_core.results.schema import Result

Point = dict[str, Any]


def size_plot(board: Mapping[str, Any], results: Mapping[str, Result]) -> dict[str, Any]:
    """The plot of one board (as `Board.payload` gives it) with the results behind it, by model, for the intervals.

    points: one a model, best rank first: model, kind, rank, range, score, low, high (fractions), parameters (a number
    or None), front (on the Pareto front), why (None where it is drawn, else why not), sections: [score, low, high] or
    None in the order of `sections`.
    """
    roles: dict[str, int] = {}
    for index, column in enumerate(board["columns"]):
        roles.setdefault(column["role"], index)
    sections = [(i, c["label"]) for i, c in enumerate(board["columns"]) if c["role"] == "section"]
    ranges = board.get("ranges") or [None] * len(board["rows"])
    points = [
        _point(row, roles, ranges[number], sections, results.get(row[roles["model"]]))
        for number, row in enumerate(board["rows"])
    ]
    drawn = [point for point in points if point["why"] is None]
    for index in pareto_front([(point["parameters"], point["score"]) for point in drawn]):
        drawn[index]["front"] = True
    return {
        "id": board["id"],
        "title": board["title"],
        "sections": [name for _, name in sections],
        "points": points,
    }


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """The places of the (size, score) points that no other beats: none is as small with a higher score, none smaller
    with as high a one. Smallest first; points that are equal in both stand side by side."""
    order = sorted(range(len(points)), key=lambda i: (points[i][0], -points[i][1]))
    front: list[int] = []
    for index in order:
        if not front or points[index][1] > points[front[-1]][1] or points[index] == points[front[-1]]:
            front.append(index)
    return front


def _point(
    row: Sequence[Any],
    roles: Mapping[str, int],
    ranks: Any,
    sections: Sequence[tuple[int, str]],
    result: Result | None,
) -> Point:
    def cell(role: str) -> Any:
        return row[roles[role]] if role in roles else None

    known = result.sections if result else {}
    return {
        "model": cell("model"),
        "kind": cell("kind"),
        "rank": cell("rank"),
        "range": ranks,
        "score": cell("headline"),
        "low": cell("low"),
        "high": cell("high"),
        "parameters": cell("parameters"),
        "front": False,
        "why": _why_not(cell("headline"), cell("rank"), cell("parameters")),
        "sections": [_section(row[index], known.get(name)) for index, name in sections],
    }


def _why_not(score: float | None, rank: int | None, parameters: float | None) -> str | None:
    """Why a model is not drawn; None where it is."""
    if score is None:
        return "incomplete"
    if rank is None:
        return "partial run"
    return None if parameters else "unknown size"


def _section(value: float | None, estimate: Estimate | None) -> tuple[float, float | None, float | None] | None:
    """A section's score with its interval, to five digits as on the board."""
    if value is None:
        return None
    low, high = (estimate.low, estimate.high) if estimate else (None, None)
    return value, None if low is None else round(low, 5), None if high is None else round(high, 5)
