"""The plot of scores against model sizes, as data: points, Pareto front, and the reason why a model is not drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rb_core.leaderboard.board import DIGITS, Board, BoardRow
from rb_core.results.estimate import Estimate
from rb_core.results.schema import Result

Span = tuple[float, float | None, float | None]  # value, low, high


@dataclass(frozen=True)
class Point:
    """A model of the plot."""

    row: BoardRow
    sections: tuple[Span | None, ...]  # in the order of SizePlot.sections, None without a score
    on_front: bool  # no model of this size or smaller has a higher score
    not_drawn: str | None  # the reason, None for a point that is drawn

    def to_json(self) -> dict[str, Any]:
        row = self.row
        return {
            "model": row.model,
            "kind": row.kind,
            "rank": row.rank,
            "range": list(row.rank_interval) if row.rank_interval else None,
            "score": row.headline.value,
            "low": row.headline.low,
            "high": row.headline.high,
            "parameters": row.parameters,
            "front": self.on_front,
            "why": self.not_drawn,
            "sections": self.sections,
        }


@dataclass(frozen=True)
class SizePlot:
    """The plot of one board: one point for each row."""

    board: Board
    points: tuple[Point, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the plot as the page's script reads it."""
        return {
            "id": self.board.id,
            "title": self.board.title,
            "sections": [section.name for section in self.board.sections],
            "points": [point.to_json() for point in self.points],
        }


def size_plot(board: Board, results: Mapping[str, Result]) -> SizePlot:
    """Return the plot of a board; `results` by model name give the intervals of the sections."""
    drawn = [index for index, row in enumerate(board.rows) if _why_not_drawn(row) is None]
    sizes_and_scores = [(board.rows[i].parameters or 0, board.rows[i].headline.value or 0.0) for i in drawn]
    front = {drawn[i] for i in pareto_front(sizes_and_scores)}
    points = []
    for index, row in enumerate(board.rows):
        estimates = results[row.model].sections if row.model in results else {}
        spans = (_span(row.sections.get(s.name), estimates.get(s.name, Estimate())) for s in board.sections)
        points.append(Point(row, tuple(spans), index in front, _why_not_drawn(row)))
    return SizePlot(board, tuple(points))


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Return the indices of the (size, score) points that no other dominates, smallest first.

    A point dominates another if it is at most as large, scores at least as high, and differs from it.
    """
    order = sorted(range(len(points)), key=lambda i: (points[i][0], -points[i][1]))
    front: list[int] = []
    for index in order:
        if not front or points[index][1] > points[front[-1]][1] or points[index] == points[front[-1]]:
            front.append(index)
    return front


def _why_not_drawn(row: BoardRow) -> str | None:
    if row.headline.value is None:
        return "incomplete"
    if row.rank is None:
        return "development checkpoint" if row.sweep else row.status
    return None if row.parameters else "unknown size"


def _span(value: float | None, interval: Estimate) -> Span | None:
    if value is None:
        return None
    low, high = (None if end is None else round(end, DIGITS) for end in (interval.low, interval.high))
    return value, low, high
