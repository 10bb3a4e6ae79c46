"""A model's score beside that of the best baseline: a model that does not beat it has shown no skill."""

from __future__ import annotations

from typing import NamedTuple

from rb_core.leaderboard.board import Board, BoardRow
from rb_core.leaderboard.comparison import ComparisonError, compare_models
from rb_core.results.schema import KIND_LABELS
from rb_core.space.results_source import ResultsSource


class BesideBaseline(NamedTuple):
    """The scores (fractions) of a model and of the best baseline on a board."""

    board: Board
    model: str
    score: float
    baseline: str
    baseline_score: float

    @property
    def side(self) -> str:
        return "above" if self.score > self.baseline_score else "not above"

    def verdict(self, source: ResultsSource) -> str:
        """Return the verdict on the difference, as Compare gives it; empty while the results cannot be read."""
        try:
            comparison = compare_models(source, self.board.id, [self.model, self.baseline])
        except ComparisonError:
            return ""
        return str(comparison.to_json()["pairs"][0]["verdict"])


def beside_baseline(model: str, source: ResultsSource) -> BesideBaseline | None:
    """Return the standing of a model on the first board with its score and a baseline's; None for a baseline."""
    for board in source.boards().values():
        row, baseline = board.row(model), best_baseline(board)
        if row is None or baseline is None or row.kind == baseline.kind:
            continue
        if row.headline.value is not None and baseline.headline.value is not None:
            return BesideBaseline(board, model, row.headline.value, baseline.model, baseline.headline.value)
    return None


def best_baseline(board: Board) -> BoardRow | None:
    """Return the row of the baseline with the highest score."""
    rows = [row for row in board.rows if row.kind == KIND_LABELS["baseline"] and row.headline.value is not None]
    return max(rows, key=lambda row: row.headline.value or 0.0, default=None)
