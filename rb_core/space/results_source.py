"""The source of the page's boards, results and outcomes: an interface, and the source that reads a folder."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from rb_core import __version__
from rb_core.benchmarks.registry import BENCHMARKS
from rb_core.benchmarks.spec import BenchmarkSpec
from rb_core.evaluation.provenance import git_state
from rb_core.leaderboard.board import Board
from rb_core.leaderboard.model_report import HubPlace
from rb_core.leaderboard.store import Collection, Outcomes, board_rank_intervals
from rb_core.results.schema import KIND_LABELS, Result
from rb_core.space.html import render
from rb_core.stats.item_outcomes import ItemOutcomes

# Generative models are mostly behind APIs, and what scores without a checkpoint has no page on the hub.
HUB_KINDS = frozenset(KIND_LABELS[kind] for kind in ("classifier", "custom-classifier", "implicit"))
NOT_ON_HUB = ("baseline/", "builtin/", "local/", "unknown/")

Payload = dict[str, Any]


class ResultsSource(Protocol):
    """The page's boards, and the results and outcomes behind them."""

    def payload(self) -> Payload:
        """Return the boards as plain JSON: the same object for as long as they have not changed."""

    def status_html(self) -> str:
        """Return the line that says which results are shown, as HTML."""

    def results(self, benchmark: str) -> Mapping[str, Result]:
        """Return the whole results behind a board, by model; empty if there are none or the hub does not answer."""

    def outcomes(self, benchmark: str, model: str) -> ItemOutcomes | None:
        """Return the outcome of every example; None if it is unknown or the hub does not answer."""

    def on_hub(self) -> HubPlace | None:
        """Return the place of the shown results on the hub; None for those of a folder."""


class ResultsFolder:
    """The results below a root, read again when a file changes."""

    def __init__(self, root: Path) -> None:
        self.collection = Collection(root)
        self._payload: Payload = {"boards": [], "refused": 0}
        self._lock = threading.Lock()
        self._commit, _ = git_state()

    def payload(self) -> Payload:
        collection = self.collection
        with self._lock:  # one visitor reads, the others wait for what it has read
            if collection.refresh():
                self._payload = page_payload(
                    collection.boards(), len(collection.refused), collection.outcomes, collection.specs()
                )
            return self._payload

    def status_html(self) -> str:
        return render("status_of_folder.html", version=__version__, commit=self._commit)

    def results(self, benchmark: str) -> Mapping[str, Result]:
        self.payload()
        return self.collection.results(benchmark)

    def outcomes(self, benchmark: str, model: str) -> ItemOutcomes | None:
        self.payload()
        return self.collection.outcomes(benchmark, model)

    def on_hub(self) -> HubPlace | None:
        return None


def page_payload(
    boards: Mapping[str, Board],
    refused: int,
    outcomes: Outcomes = lambda benchmark, model: None,
    specs: Mapping[str, BenchmarkSpec] = BENCHMARKS,
) -> Payload:
    """Return boards as plain JSON, each with a link and a rank interval per row, and the number of refused files."""
    return {
        "boards": [
            board.payload() | {"links": links(board), "ranges": board_rank_intervals(board, outcomes, specs.get(name))}
            for name, board in boards.items()
        ],
        "refused": refused,
    }


def links(board: Board) -> list[str | None]:
    """Return for each row the model's page on the hub, or None."""
    model, kind = board.index("model"), board.index("kind")
    return [hub_page(str(row[model]), str(row[kind])) for row in board.rows]


def hub_page(model: str, kind: str) -> str | None:
    """Return the model's page on the hub; None without an organisation and for kinds that are not on the hub."""
    if kind not in HUB_KINDS or "/" not in model or model.startswith(NOT_ON_HUB):
        return None
    return f"https://huggingface.co/{model}"
