"""Audit by kind: how well each kind of model does in each section, and on two versions of a benchmark."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from rb_core.audits.report import AuditFigure, AuditPoint, AuditReport, AuditTable, Cell
from rb_core.errors import ResultError
from rb_core.leaderboard.board import Board, BoardRow
from rb_core.leaderboard.store import ResultsStore
from rb_core.results.schema import KIND_LABELS
from rb_core.stats.correlation import MIN_PAIRS, correlate_ranks

BENCHMARKS = ("rewardbench", "rewardbench-2")  # the second is the newer version of the first
MIN_MODELS = 5  # of a kind on a board


def by_kind_report(root: Path) -> AuditReport:
    """Return the report on the ranked models of a results root. Raises ResultError without kinds to compare."""
    store = ResultsStore(root)
    store.refresh()
    boards = [board for name in BENCHMARKS if (board := store.boards().get(name)) is not None]
    rows = {board.id: _rows_by_kind(board) for board in boards}
    boards = [board for board in boards if len(rows[board.id]) > 1]
    if not boards:
        raise ResultError(f"{root}: no board has two kinds with {MIN_MODELS} ranked models each")
    return AuditReport(
        audit="by-kind",
        title="By kind",
        question="Which kinds of reward model are good at what?",
        answer=(
            *(_board_sentence(board, rows[board.id]) for board in boards),
            *([_versions_sentence(*boards)] if len(boards) > 1 else []),
        ),
        tables=(_section_table(boards, rows), *([_versions_table(*boards)] if len(boards) > 1 else [])),
        figure=AuditFigure(
            kind="strips",
            title="Scores by section and kind, each point one model",
            x_label="",
            y_label="Score",
            points=tuple(
                AuditPoint(
                    label=row.model, x=0.0, y=row.sections[section], group=kind, panel=f"{board.title}: {section}"
                )
                for board in boards
                for section in _sections(board)
                for kind, models in rows[board.id].items()
                for row in models
                if section in row.sections
            ),
        ),
        cautions=(
            "Kinds differ in size, base model, training data and date; a difference between kinds is not an effect of "
            "the kind.",
            "The models of a kind are not a sample: several are versions of one model.",
        ),
        method=(
            "Ranked models only, without development checkpoints and baselines; kinds with at least "
            f"{MIN_MODELS} models on a board. The correlation is Spearman's over the models on both boards, with a 95% "
            "interval by Bonett and Wright (2000, doi:10.1007/BF02294183)."
        ),
        sources=tuple(dict.fromkeys(source for board in boards for source in board.sources)),
        command="python -m rb_core audit by-kind --out leaderboard_data --overwrite",
    )


def _rows_by_kind(board: Board) -> dict[str, list[BoardRow]]:
    """Return the ranked rows of each kind with enough models, the most frequent kind first."""
    by_kind: dict[str, list[BoardRow]] = defaultdict(list)
    for row in board.ranked():
        if row.kind != KIND_LABELS["baseline"]:
            by_kind[row.kind].append(row)
    kinds = sorted(by_kind.items(), key=lambda entry: -len(entry[1]))
    return {kind: rows for kind, rows in kinds if len(rows) >= MIN_MODELS}


def _sections(board: Board) -> list[str]:
    return [section.name for section in board.sections if section.required]


def _scores(rows: Sequence[BoardRow], section: str) -> list[float]:
    return [row.sections[section] for row in rows if section in row.sections]


def _medians(rows: Mapping[str, Sequence[BoardRow]], section: str) -> dict[str, float]:
    scores = {kind: _scores(models, section) for kind, models in rows.items()}
    return {kind: float(np.median(values)) for kind, values in scores.items() if values}


def _board_sentence(board: Board, rows: Mapping[str, Sequence[BoardRow]]) -> str:
    """Return in how many sections each kind has the highest median, and the widest lead."""
    medians = {section: _medians(rows, section) for section in _sections(board)}
    leaders = Counter(max(of_kind, key=lambda kind: of_kind[kind]) for of_kind in medians.values())
    (first, count), *others = leaders.most_common()
    counts = "".join(f", {kind} in {count}" for kind, count in others)
    section = max(medians, key=lambda name: _spread(medians[name]))
    best, worst = (pick(medians[section].items(), key=lambda entry: entry[1]) for pick in (max, min))
    return (
        f"On {board.title} the kind with the highest median is {first} in {count} of {len(medians)} sections{counts}. "
        f"Kinds differ most in {section}: {best[0]} {best[1]:.2f}, {worst[0]} {worst[1]:.2f}."
    )


def _spread(medians: Mapping[str, float]) -> float:
    return max(medians.values()) - min(medians.values())


def _section_table(boards: Sequence[Board], rows: Mapping[str, Mapping[str, Sequence[BoardRow]]]) -> AuditTable:
    cells: list[tuple[Cell, ...]] = []
    for board in boards:
        for section in _sections(board):
            for kind, models in rows[board.id].items():
                if scores := _scores(models, section):
                    low, median, high = np.quantile(scores, [0.25, 0.5, 0.75]).tolist()
                    cells.append((board.title, section, kind, len(scores), median, low, high, max(scores)))
    return AuditTable(
        title="Scores by section and kind",
        columns=("Board", "Section", "Kind", "Models", "Median", "Lower quartile", "Upper quartile", "Best"),
        rows=tuple(cells),
    )


def _on_both(first: Board, second: Board) -> list[tuple[BoardRow, BoardRow]]:
    """Return the rows of the models that are ranked on both boards."""
    others = {row.model: row for row in second.ranked() if row.headline.value is not None}
    return [
        (row, others[row.model]) for row in first.ranked() if row.model in others and row.headline.value is not None
    ]


def _versions_sentence(first: Board, second: Board) -> str:
    pairs = _on_both(first, second)
    if len(pairs) < MIN_PAIRS:
        return f"{len(pairs)} models are on {first.title} and on {second.title}: too few to compare their order."
    correlation = correlate_ranks(*_headlines(pairs))
    return (
        f"{first.title} and {second.title} order the {len(pairs)} models on both alike: Spearman's rank correlation "
        f"{correlation.spearman:.2f} ({correlation.low:.2f} to {correlation.high:.2f})."
    )


def _headlines(pairs: Sequence[tuple[BoardRow, BoardRow]]) -> tuple[np.ndarray, np.ndarray]:
    values = np.array([[row.headline.value for row in pair] for pair in pairs], dtype=np.float64)
    return values[:, 0], values[:, 1]


def _versions_table(first: Board, second: Board) -> AuditTable:
    by_kind: dict[str, list[tuple[BoardRow, BoardRow]]] = defaultdict(list)
    for pair in _on_both(first, second):
        by_kind[pair[0].kind].append(pair)
    rows: list[tuple[Cell, ...]] = []
    for kind, pairs in sorted(by_kind.items(), key=lambda entry: -len(entry[1])):
        scores = _headlines(pairs)
        correlation = correlate_ranks(*scores) if len(pairs) >= MIN_PAIRS else None
        rows.append(
            (
                kind, len(pairs), *(float(np.median(values)) for values in scores),
                *((correlation.spearman, correlation.low, correlation.high) if correlation else (None, None, None)),
            )
        )  # fmt: skip
    return AuditTable(
        title=f"{first.title} against {second.title}, the models on both",
        columns=(
            "Kind",
            "Models",
            f"Median, {first.title}",
            f"Median, {second.title}",
            "Spearman",
            "95% low",
            "95% high",
        ),
        rows=tuple(rows),
    )
