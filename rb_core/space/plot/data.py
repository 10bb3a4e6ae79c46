"""Data of the plot: what the axes can show, with the value of every model on each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from rb_core.audits.traits import Trait
from rb_core.leaderboard.board import DIGITS, Board, BoardRow
from rb_core.leaderboard.hub_links import hub_page
from rb_core.leaderboard.model_registry import ModelRegistry
from rb_core.results.estimate import Estimate
from rb_core.results.schema import Result
from rb_core.space.results_source import filter_facts

Span = tuple[float, float | None, float | None]  # value, low, high
AxisKind = Literal["score", "trait", "size", "date"]


class PlotAxis(NamedTuple):
    """A value that an axis can show. group: its heading in the list; missing: why a model without a value is not drawn.

    cells: for each row of the board a span of fractions, a number of parameters, a date (ISO), or None.
    """

    key: str
    label: str
    group: str
    kind: AxisKind
    missing: str
    cells: Sequence[Span | int | str | None]


def plot_data(
    board: Board, results: Mapping[str, Result], traits: Sequence[Trait], registry: ModelRegistry
) -> dict[str, Any]:
    """Return a board's plot as the page's script reads it: models and axes that at least one model has a value on.

    results: by model, for the intervals of sections and subsets.
    """
    axes = [*_score_axes(board, results), *_fact_axes(board, registry), *_trait_axes(board, traits)]
    return {
        "id": board.id,
        "title": board.title,
        "models": [_model(row, registry) for row in board.rows],
        "axes": [axis._asdict() for axis in axes if any(cell is not None for cell in axis.cells)],
    }


def _model(row: BoardRow, registry: ModelRegistry) -> dict[str, Any]:
    """Return what is known of a model on any axes. why: the reason for which it is never drawn."""
    if row.headline.value is None:
        why = "incomplete"
    elif row.rank is None:
        why = "development checkpoint" if row.sweep else row.status
    else:
        why = None
    return {
        "model": row.model,
        "kind": row.kind,
        "organisation": row.organisation,
        "rank": row.rank,
        "range": list(row.rank_interval) if row.rank_interval else None,
        "why": why,
        "parameters": row.parameters,
        "status": row.status,
        "facts": filter_facts(registry.get(row.model), hub_page(row.model, row.kind)),
    }


def _score_axes(board: Board, results: Mapping[str, Result]) -> Iterable[PlotAxis]:
    spans = [_span(row.headline.value, row.headline) for row in board.rows]
    yield PlotAxis("score", "Score", "Scores", "score", "incomplete", spans)
    for level, parts in (("section", board.sections), ("subset", board.subsets)):
        for part in parts:
            spans = [
                _span(getattr(row, f"{level}s").get(part.name), _part(results.get(row.model), level, part.name))
                for row in board.rows
            ]
            yield PlotAxis(f"{level}:{part.name}", part.name, f"{level}s".title(), "score", f"no {part.name}", spans)


def _fact_axes(board: Board, registry: ModelRegistry) -> Iterable[PlotAxis]:
    sizes = [row.parameters for row in board.rows]
    yield PlotAxis("size", "Parameters", "Facts", "size", "unknown size", sizes)
    released = [model.released if (model := registry.get(row.model)) else None for row in board.rows]
    dates = [day.isoformat() if day else None for day in released]
    yield PlotAxis("released", "Release date", "Facts", "date", "unknown release date", dates)


def _trait_axes(board: Board, traits: Sequence[Trait]) -> Iterable[PlotAxis]:
    for trait in traits:
        values = [trait.values.get(row.model) for row in board.rows]
        spans = [_rounded(*value) if value else None for value in values]
        yield PlotAxis(trait.key, trait.label, "Traits", "trait", f"no {trait.label.lower()}", spans)


def _part(result: Result | None, level: str, name: str) -> Estimate:
    return getattr(result, f"{level}s").get(name, Estimate()) if result else Estimate()


def _span(value: float | None, interval: Estimate) -> Span | None:
    return None if value is None else _rounded(value, interval.low, interval.high)


def _rounded(value: float, low: float | None, high: float | None) -> Span:
    low, high = (None if end is None else round(end, DIGITS) for end in (low, high))
    return round(value, DIGITS), low, high
