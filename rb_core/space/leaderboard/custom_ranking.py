"""Custom scores of the Leaderboard tab: the browser sends weights of sections, the server ranks the models."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from rb_core.errors import RewardBenchError
from rb_core.leaderboard.board import Board
from rb_core.leaderboard.custom_scores import custom_board, custom_board_json
from rb_core.space.api import find_board
from rb_core.space.limits import WaitingLine
from rb_core.space.results_source import ResultsSource
from rb_core.stats.item_outcomes import ItemOutcomes

CACHED_RANKINGS = 64
MAX_WAITING = 8  # a ranking takes up to a second of CPU time, and anybody may ask for one
NOT_AVAILABLE = "the results behind this board cannot be read now"


class CustomRankings:
    """Ranks models by custom scores, one request at a time. The last rankings are kept until the boards change."""

    def __init__(self, source: ResultsSource) -> None:
        self._source = source
        self._line = WaitingLine(MAX_WAITING)
        self._boards: Mapping[str, Board] | None = None
        self._rankings: OrderedDict[tuple[str, frozenset[tuple[str, float]]], dict[str, Any]] = OrderedDict()
        self._outcomes: dict[str, Mapping[str, ItemOutcomes | None]] = {}

    def ranking(self, request: object) -> dict[str, Any]:
        """Return `custom_board_json` of {"board": id, "weights": weight by section}, or {"message": what is wrong}."""
        fields = request if isinstance(request, dict) else {}
        weights = fields.get("weights")
        if not isinstance(weights, dict) or not all(type(weight) in (int, float) for weight in weights.values()):
            return {"message": "weights are numbers by section"}
        try:
            with self._line.admit(), self._line.turn():
                return self._ranking(find_board(self._source, fields.get("board")), weights)
        except RewardBenchError as error:
            return {"message": str(error)}

    def _ranking(self, board: Board, weights: dict[str, float]) -> dict[str, Any]:
        boards = self._source.boards()
        if boards is not self._boards:
            self._rankings.clear()
            self._outcomes.clear()
            self._boards = boards
        key = board.id, frozenset(weights.items())
        if key not in self._rankings:
            results = self._source.results(board.id)
            if not results:
                return {"message": NOT_AVAILABLE}
            if board.id not in self._outcomes:
                self._outcomes[board.id] = self._source.ranking_outcomes(board.id)
            custom = custom_board(board, results, self._outcomes[board.id], weights)
            self._rankings[key] = custom_board_json(custom)
            if len(self._rankings) > CACHED_RANKINGS:
                self._rankings.popitem(last=False)
        return self._rankings[key]
