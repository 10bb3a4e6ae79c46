"""Tables that commands print: boards of results, and one result in detail."""

from __future__ import annotations

import csv
import json
import math
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from enum import StrEnum
from typing import Literal, NamedTuple

from rich.console import Console
from rich.table import Table

from rb_core.cli.console import console, literal, print_line
from rb_core.leaderboard.board import Board, chance_of_results
from rb_core.leaderboard.board_table import (
    Cell,
    Column,
    ColumnRole,
    board_columns,
    board_to_json,
    chance_cells,
    detectable_text,
)
from rb_core.leaderboard.custom_scores import even_weights, uneven_text
from rb_core.leaderboard.style_text import style_sentences
from rb_core.results.estimate import Estimate, Matrix
from rb_core.results.judge_records import Judging
from rb_core.results.schema import Result


class Format(StrEnum):
    table = "table"
    csv = "csv"
    json = "json"
    md = "md"


# Boards

_ALWAYS_SHOWN: tuple[ColumnRole, ...] = ("rank", "model", "tier", "headline", "low", "coverage", "floor")
_TIER_TEXT = "Models of one tier cannot be told apart from its first; tier 1: from the best."
_BOUNDS_TEXT = "Bounds: every unscored example failed, or passed. Ranks count them as failed."


def print_boards(boards: Sequence[Board], format: Format, *, wide: bool = False, subsets: bool = False) -> None:
    """Print boards in a format. wide: in a table, all columns and not only those that fit; subsets: theirs as well."""
    if format is Format.json:
        print(json.dumps([board_to_json(board) for board in boards], indent=1))
        return
    for whole_board in boards:
        board = without_sweeps(whole_board) if format is Format.table else whole_board
        columns = [column for column in board_columns(board) if subsets or column.role != "subset"]
        if format is Format.csv:
            writer = csv.writer(sys.stdout, lineterminator="\n")
            writer.writerow(["Benchmark", *(column.label for column in columns)])
            writer.writerows([board.id, *cells] for cells in _rows(board, columns))
            continue
        text_columns = [
            _text_column(column, cells)
            for column, cells in zip(columns, zip(*_rows(board, columns), strict=True), strict=True)
        ]
        notes = [_TIER_TEXT, detectable_text(board)] if board.detectable is not None else []
        notes += [_BOUNDS_TEXT] if board.has_unscored else []
        notes += [_uneven_note(board)] if board.uneven_sections else []
        if folded := len(whole_board.rows) - len(board.rows):
            notes.append(f"{folded} development checkpoints, not ranked, are left out; the other formats have them.")
        if format is Format.md:
            rows = zip(*(column.cells for column in text_columns), strict=True)
            print_markdown(board.title, [column.label for column in text_columns], rows, notes)
        else:
            _print_table(board, text_columns, notes, wide=wide)


def _uneven_note(board: Board) -> str:
    names = " or ".join(board.uneven_sections)
    return f"+: with {names}. {uneven_text(board)} --common-sections ranks by {', '.join(even_weights(board))}."


def without_sweeps(board: Board) -> Board:
    """Return a board without its development checkpoints, unless it has nothing else."""
    rows = tuple(row for row in board.rows if row.sweep is None)
    return replace(board, rows=rows or board.rows)


def _rows(board: Board, columns: Sequence[Column]) -> list[list[Cell]]:
    """Return the cells of each model's row, then those of random choice where its score is known."""
    chance = chance_cells(columns)
    return [[column.cell(row) for column in columns] for row in board.rows] + ([chance] if chance else [])


class TextColumn(NamedTuple):
    """A column of a board as text."""

    role: ColumnRole
    label: str
    cells: list[str]

    @property
    def width(self) -> int:
        """Characters on a terminal, with a margin of two and a line."""
        return max(map(len, (self.label, *self.cells))) + 3


def _text_column(column: Column, cells: Sequence[Cell]) -> TextColumn:
    as_text = _size if column.role == "parameters" else _percent
    return TextColumn(column.role, column.label, list(map(as_text, cells)))


def print_markdown(title: str, labels: Sequence[str], rows: Iterable[Sequence[str]], notes: Sequence[str] = ()) -> None:
    """Print a table in markdown."""
    print(f"## {title}\n")
    for row in (labels, ["---"] * len(labels), *rows):
        print("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |")
    print()
    for note in notes:
        print(f"{note}\n")


def _print_table(board: Board, columns: Sequence[TextColumn], notes: Sequence[str], *, wide: bool) -> None:
    """Print name, score, interval, coverage and tier, bounds where they differ, and other columns that fit."""
    columns = _with_intervals(board, columns)
    shown = [column for column in columns if column.role in _ALWAYS_SHOWN]
    left_out = [column for column in columns if column.role not in _ALWAYS_SHOWN]
    width = 1 + sum(column.width for column in shown)
    while left_out and (wide or width + left_out[0].width <= console.width):
        width += left_out[0].width
        shown.append(left_out.pop(0))
    table = Table(title=board.title)
    for column in shown:
        is_text = column.role in ("model", "kind", "status")
        justify: Literal["left", "right"] = "left" if is_text else "right"
        has_words = column.role == "low" and any(row.headline.no_interval for row in board.rows)
        no_wrap = column.role != "model" and not has_words
        table.add_column(literal(column.label), justify=justify, no_wrap=no_wrap, overflow="fold")
    for row in zip(*(column.cells for column in shown), strict=True):
        table.add_row(*map(literal, row))
    Console(width=max(console.width, width) if wide else console.width).print(table)
    for note in notes:
        print_line(note)
    if left_out:
        print_line(f"{len(left_out)} more columns with --wide")


def _with_intervals(board: Board, columns: Sequence[TextColumn]) -> list[TextColumn]:
    """Return the columns with one column for both ends of an interval; bounds only where a model has unscored ones."""
    chance = ["-"] * (len(columns[0].cells) - len(board.rows))
    intervals = [_interval(row.headline) for row in board.rows] + chance
    bounds = [_ends(row.headline.floor, row.headline.ceiling) for row in board.rows] + chance
    ranks = [_ends(*(row.rank_interval or (None, None))[:2]) for row in board.rows] + chance
    includes = [row.includes for row in board.rows] + [None] * len(chance)
    headline = next(column for column in columns if column.role == "headline")
    scores = [cell + ("+" if names else "") for cell, names in zip(headline.cells, includes, strict=True)]
    merged: dict[ColumnRole, list[TextColumn]] = {
        "headline": [headline._replace(cells=scores)],
        "low": [TextColumn("low", "95% interval", intervals)],
        "floor": [TextColumn("floor", "Bounds", bounds)] if board.has_unscored else [],
        "best": [TextColumn("best", "Rank interval", ranks)],
        "high": [],
        "ceiling": [],
        "worst": [],
    }
    return [shown for column in columns for shown in merged.get(column.role, [column])]


def _percent(cell: Cell) -> str:
    """Return a fraction in percent with one digit, anything else as it is; a dash for missing values."""
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return "-"
    return f"{100 * cell:.1f}" if isinstance(cell, float) else str(cell)


def _size(cell: Cell) -> str:
    """Return a number of parameters as in models' names, 8B or 600M; a dash for missing values."""
    if not isinstance(cell, int):
        return "-"
    return f"{cell / 1e9:.3g}B" if cell >= 1e9 else f"{cell / 1e6:.3g}M"


# One result


def print_result(result: Result) -> None:
    """Print the sections of a result with their intervals, then matrices, counts and a judge's reliability."""
    limited = f" (limited to {result.benchmark.limit} examples)" if result.benchmark.limit else ""
    title = f"{result.model.name} on {result.benchmark.title}{limited}"
    chance = result.chance or chance_of_results([result])
    estimates = {"Score": result.headline} if result.headline else {}
    estimates |= result.sections or result.subsets
    expected = {"Score": chance.headline} | (chance.sections if result.sections else chance.subsets)
    has_bounds = any(estimate.has_bounds for estimate in estimates.values())
    heads = ["", "score", "95% interval", *["bounds"] * has_bounds, "random choice", "scored", "unscored", "ties"]
    table = Table(*heads, title=title, caption=_BOUNDS_TEXT if has_bounds else None)
    table.columns[0].no_wrap = True
    for name, estimate in estimates.items():
        bounds = [_ends(estimate.floor, estimate.ceiling)] * has_bounds
        numbers = map(_percent, (expected.get(name), estimate.scored, estimate.unscored, estimate.ties))
        table.add_row(literal(name), _percent(estimate.value), _interval(estimate), *bounds, *numbers)
    console.print(table)
    for name, parts in (result.groupings or {}).items():
        console.print(_grouping_table(name, parts))
    for name, matrix in result.matrices.items():
        console.print(_matrix_table(name, matrix))
    if differing := result.differing_subsets():
        print_line(f"not ranked: other numbers of examples than published in {', '.join(differing)}")
    for name, reason in result.absent.items():
        console.print(f"{name} is absent: {reason}", style="dim", soft_wrap=True)
    if result.style is not None:
        for sentence in style_sentences(result.style):
            print_line(sentence)
    if result.counts is not None:
        counts = result.counts
        print_line(
            f"{counts.examples} examples, {counts.completions} completions: {counts.unscored} examples unscored, "
            f"{counts.ties} tied, {counts.truncated_completions} completions truncated"
        )
        for reason, number in counts.reasons.items():
            print_line(f"{number} completions unscored: {reason}")
    if result.judging is not None:
        console.print(_judging_table(result.judging))


def _grouping_table(name: str, parts: Mapping[str, Estimate]) -> Table:
    table = Table(name, "score", "95% interval", "scored", "unscored", "ties")
    for part, estimate in parts.items():
        numbers = map(_percent, (estimate.scored, estimate.unscored, estimate.ties))
        table.add_row(literal(part), _percent(estimate.value), _interval(estimate), *numbers)
    return table


def _interval(estimate: Estimate, as_text: Callable[[Cell], str] = _percent) -> str:
    if estimate.low is None:
        return f"none: {estimate.no_interval}" if estimate.no_interval else "-"
    return f"{as_text(estimate.low)} to {as_text(estimate.high)}"


def _ends(low: Cell, high: Cell) -> str:
    return _percent(low) if low == high else f"{_percent(low)} to {_percent(high)}"


def _matrix_table(name: str, matrix: Matrix) -> Table:
    parts = {"easy": matrix.easy, "normal": matrix.normal, "hard": matrix.hard}
    caption = ", ".join(f"{part} {_percent(estimate.value)}" for part, estimate in parts.items())
    table = Table("", *matrix.levels, title=f"{name}: chosen (rows) over rejected (columns)", caption=caption)
    for level, row in zip(matrix.levels, matrix.cells, strict=True):
        table.add_row(level, *(_percent(cell.value) for cell in row))
    return table


_JUDGE_SHARES = (
    "position_consistency",
    "first_position",
    "length_preference",
    "length_deserved",
    "self_preference",
    "self_deserved",
)


def _judging_table(judging: Judging) -> Table:
    """Return a table of a judge's reliability, with a column for each member of a panel."""
    columns = judging.members or {"": judging}
    table = Table("Judging", *columns)
    for name in _JUDGE_SHARES:
        estimates = [getattr(column, name) for column in columns.values()]
        if any(estimates):
            table.add_row(name.replace("_", " "), *(value_with_interval(estimate) for estimate in estimates))
    for name in ("requests", "prompt_tokens", "completion_tokens", "flips", "injections"):
        table.add_row(name.replace("_", " "), *(_percent(getattr(column, name)) for column in columns.values()))
    costs = [column.cost for column in columns.values()]
    if any(cost is not None for cost in costs):
        table.add_row("cost", *("-" if cost is None else f"${cost:.4f}" for cost in costs))
    if judging.agreement is not None:
        panel = judging.agreement
        kappa, alpha = (value_with_interval(estimate, "{:.2f}".format) for estimate in (panel.kappa, panel.alpha))
        raw = value_with_interval(panel.raw)
        table.caption = f"agreement {raw}, Fleiss' kappa {kappa}, Krippendorff's alpha {alpha}"
    return table


def value_with_interval(estimate: Estimate | None, as_text: Callable[[Cell], str] = _percent) -> str:
    """Return a value and its interval, such as "73.7 (51.2 to 88.2)"; a dash without a value."""
    return "-" if estimate is None else f"{as_text(estimate.value)} ({_interval(estimate, as_text)})"
