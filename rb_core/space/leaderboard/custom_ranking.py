"""Custom rankings of the Leaderboard tab: the browser sends weights of sections or models, the server ranks them."""

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
MAX_MODELS = 20_000
NOT_AVAILABLE = "the results behind this board cannot be read now"


# Board, weights by section and models; None for the benchmark's own weights, and for all models.
RankingKey = tuple[str, frozenset[tuple[str, float]] | None, frozenset[str] | None]


class CustomRankings:
    """Ranks models by custom scores or among themselves, one request at a time.

    The last rankings are kept until the boards change.
    """

    def __init__(self, source: ResultsSource) -> None:
        self._source = source
        self._line = WaitingLine(MAX_WAITING)
        self._boards: Mapping[str, Board] | None = None
        self._rankings: OrderedDict[RankingKey, dict[str, Any]] = OrderedDict()
        self._outcomes: dict[str, Mapping[str, ItemOutcomes | None]] = {}

    def ranking(self, request: object) -> dict[str, Any]:
        """Return `custom_board_json` of {"board": id, "weights": weight by section, "models": names}.

        Weights and models may be left out. Returns {"message": what is wrong} for anything else.
        """
        fields = request if isinstance(request, dict) else {}
        weights, models = fields.get("weights"), fields.get("models")
        if weights is not None and not _is_weights(weights):
            return {"message": "weights are numbers by section"}
        if models is not None and not _is_names(models):
            return {"message": f"models are at most {MAX_MODELS:,} names"}
        try:
            with self._line.admit(), self._line.turn():
                board = find_board(self._source.boards(), fields.get("board"))
                return self._ranking(board, weights, None if models is None else frozenset(models))
        except RewardBenchError as error:
            return {"message": str(error)}

    def _ranking(self, board: Board, weights: dict[str, float] | None, models: frozenset[str] | None) -> dict[str, Any]:
        boards = self._source.boards()
        if boards is not self._boards:
            self._rankings.clear()
            self._outcomes.clear()
            self._boards = boards
        key = board.id, None if weights is None else frozenset(weights.items()), models
        if key not in self._rankings:
            results = self._source.results(board.id)
            if not results:
                return {"message": NOT_AVAILABLE}
            if board.id not in self._outcomes:
                self._outcomes[board.id] = self._source.ranking_outcomes(board.id)
            custom = custom_board(board, results, self._outcomes[board.id], weights, models)
            self._rankings[key] = custom_board_json(custom)
            if len(self._rankings) > CACHED_RANKINGS:
                self._rankings.popitem(last=False)
        return self._rankings[key]


def _is_weights(value: object) -> bool:
    return isinstance(value, dict) and all(type(weight) in (int, float) for weight in value.values())


def _is_names(value: object) -> bool:
    return isinstance(value, list) and len(value) <= MAX_MODELS and all(isinstance(name, str) for name in value)
