"""Rank the models of a board by other weights of its sections than the benchmark's, or some among themselves."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from rb_core.benchmarks.spec import BenchmarkSpec
from rb_core.errors import RewardBenchError, quoted
from rb_core.leaderboard.board import Board, BoardRow, spec_of_results
from rb_core.leaderboard.board_table import board_columns, detectable_text
from rb_core.leaderboard.store import with_rank_intervals
from rb_core.results.estimate import Estimate
from rb_core.results.schema import Result
from rb_core.stats.item_outcomes import ItemOutcomes
from rb_core.stats.published import headline_estimate, normalized
from rb_core.stats.rank_intervals import rank_of

MAX_WEIGHT = 1_000_000
_ROLES = frozenset({"rank", "tier", "headline", "stderr", "low", "high", "floor", "ceiling"})


class WeightsError(RewardBenchError):
    """Weights that give no score; the message says what is allowed."""


def custom_board(
    board: Board,
    results: Mapping[str, Result],
    outcomes: Mapping[str, ItemOutcomes | None],
    weights: Mapping[str, float] | None = None,
    models: Collection[str] | None = None,
) -> Board:
    """Return the board by the mean of its sections with these weights, with rank intervals and tiers, best first.

    The rules are those of the benchmark's own score: no score without a required section, unscored examples count as
    failed in the rank. Errors of the scores come from the sections' estimates, those of differences from the outcomes
    where known. A section without a weight is left out.

    Args:
        results: the results behind the board, by model; a model without one gets no score.
        outcomes: see `with_rank_intervals`.
        weights: None for the benchmark's own score.
        models: those that are ranked among themselves, None for all; the others have no rank.

    Raises WeightsError for a section that the board does not have, a weight that is not a number from 0 to
    MAX_WEIGHT, and when no weight is above 0.
    """
    spec = spec_of_results(list(results.values()))
    if weights is not None:
        _check_weights(board, weights)
        spec = weighted_spec(spec, weights)
        board = _scored_by(spec, board, results)
    values = {
        row.model: value
        for row in board.rows
        if (value := _rank_value(row)) is not None and (models is None or row.model in models)
    }
    ranked = [
        replace(row, rank=rank_of(values[row.model], values.values()) if row.model in values else None)
        for row in board.rows
    ]
    ranked.sort(key=lambda row: (row.rank is None, row.rank or 0, row.model.lower()))
    return with_rank_intervals(replace(board, rows=tuple(ranked)), outcomes, spec)


def _scored_by(spec: BenchmarkSpec, board: Board, results: Mapping[str, Result]) -> Board:
    """Return the board with only the sections of a spec, and scores by it."""
    names = [section.name for section in spec.sections]
    rows = tuple(
        replace(
            row,
            headline=custom_headline(results[row.model], spec) if row.model in results else Estimate(),
            sections={name: row.sections[name] for name in names if name in row.sections},
        )
        for row in board.rows
    )
    sections = tuple(section for section in board.sections if section.name in names)
    # what seeds change is known for the benchmark's own score only
    return replace(board, rows=rows, sections=sections, seed_band=None).with_includes()


def even_weights(board: Board) -> dict[str, float]:
    """Return the weights of the sections that all scores of the board include; empty if all include the same ones."""
    uneven = board.uneven_sections
    return {s.name: s.weight or 0.0 for s in board.sections if s.name not in uneven} if uneven else {}


def even_board(board: Board, results: Mapping[str, Result], outcomes: Mapping[str, ItemOutcomes | None]) -> Board:
    """Return the board ranked by the sections that all of its scores include; arguments as of `custom_board`."""
    weights = even_weights(board)
    return custom_board(board, results, outcomes, weights) if weights else board


def uneven_text(board: Board) -> str:
    """Return which scores include a section that others do not, as sentences; empty where all include the same."""
    scored = [row for row in board.rows if row.headline.value is not None]
    counts = {name: sum(name in row.sections for row in scored) for name in board.uneven_sections}
    return " ".join(
        f"{count} of the {len(scored)} scores include {name}, {len(scored) - count} do not."
        for name, count in counts.items()
    )


def _check_weights(board: Board, weights: Mapping[str, float]) -> None:
    names = [section.name for section in board.sections]
    if unknown := [name for name in weights if name not in names]:
        raise WeightsError(f"{board.id} has no section {quoted(unknown[0])}; it has {', '.join(names)}")
    for name, weight in weights.items():
        if not 0 <= weight <= MAX_WEIGHT:
            raise WeightsError(f"the weight of {name} is not a number from 0 to {MAX_WEIGHT:,}")
    if not any(weights.values()):
        raise WeightsError("no section has a weight above 0")


def weighted_spec(spec: BenchmarkSpec, weights: Mapping[str, float]) -> BenchmarkSpec:
    """Return the spec with only the sections that have a weight, and their subsets."""
    sections = tuple(replace(s, headline_weight=weights[s.name]) for s in spec.sections if weights.get(s.name))
    kept = {name for section in sections for name in section.weights}
    subsets = tuple(subset for subset in spec.subsets if subset.name in kept)
    return replace(spec, sections=sections, subsets=subsets, pooled=False)


def custom_headline(result: Result, spec: BenchmarkSpec) -> Estimate:
    """Return the headline of a result by this spec, with its bounds; without a value when a section is missing."""
    sections = {s.name: e for s in spec.sections if (e := result.sections.get(s.name)) and e.value is not None}
    if not sections or any(section.required and section.name not in sections for section in spec.sections):
        return Estimate()
    shares = normalized({s.name: s.headline_weight for s in spec.sections if s.name in sections})
    value = sum(share * (sections[name].value or 0.0) for name, share in shares.items())
    return headline_estimate(spec, value, sections)


def _rank_value(row: BoardRow) -> float | None:
    """Return the value to rank by; None for a row that cannot be ranked."""
    return row.headline.ranked_by if row.can_rank else None


def custom_board_json(board: Board) -> dict[str, Any]:
    """Return what differs from the benchmark's own board.

    rows: by model, its cells by their columns' role; ranges: by model, its rank interval.
    """
    columns = [column for column in board_columns(board) if column.role in _ROLES]
    rows = board.rounded().rows
    return {
        "rows": {row.model: {column.role: column.cell(row) for column in columns} for row in rows},
        "ranges": {row.model: list(row.rank_interval) for row in rows if row.rank_interval},
        "detectable_text": detectable_text(board),
    }
