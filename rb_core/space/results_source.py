"""Where the page's boards, results and outcomes come from."""

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
from rb_core.stats.item_outcomes import ItemOutcomes

# Generative models are mostly behind APIs, and what scores without a checkpoint has no page on the hub.
HUB_KINDS = frozenset(KIND_LABELS[kind] for kind in ("classifier", "custom-classifier", "implicit"))


NOT_ON_HUB = ("baseline/", "builtin/", "local/", "unknown/")


Payload = dict[str, Any]


class ResultsSource(Protocol):
    """Where the page's boards come from, and the results and outcomes behind them."""

    def payload(self) -> Payload:
        """The boards as plain JSON: the same object for as long as they have not changed."""

    def line(self) -> str:
        """Which results these are, as HTML; empty where there is nothing to say."""

    def results(self, benchmark: str) -> Mapping[str, Result]:
        """The whole results behind a board, by model; empty where there are none, or where they cannot be had now."""

    def outcomes(self, benchmark: str, model: str) -> ItemOutcomes | None:
        """What a model earned example by example; None where it is not known, or cannot be had now."""

    def on_hub(self) -> HubPlace | None:
        """Where the shown results lie on the hub; None for those of a folder."""


class ResultsFolder:
    """The results below a root as the page shows them; read again only when a file there has changed."""

    def __init__(self, root: Path) -> None:
        self.collection = Collection(root)
        self._payload: Payload = {"boards": [], "refused": 0}
        self._lock = threading.Lock()
        self._commit, _ = git_state()

    def payload(self) -> Payload:
        """The value of the leaderboard: the same object for as long as no file has changed."""
        found = self.collection
        with self._lock:  # of several visitors one reads, and the others see what it has read
            if found.refresh():
                self._payload = page_payload(found.boards(), len(found.refused), found.outcomes, found.specs())
            return self._payload

    def line(self) -> str:
        """The version and commit that these results came with."""
        at = f" at commit <code>{self._commit[:7]}</code>" if self._commit else ""
        return f"Results that came with this page, rb_core {__version__}{at}."

    def results(self, benchmark: str) -> Mapping[str, Result]:
        """The results below the root."""
        self.payload()
        return self.collection.results(benchmark)

    def outcomes(self, benchmark: str, model: str) -> ItemOutcomes | None:
        """From the score table below the root, or the published outcomes there."""
        self.payload()
        return self.collection.outcomes(benchmark, model)

    def on_hub(self) -> HubPlace | None:
        """Nowhere: they lie in a folder."""
        return None


def page_payload(
    found: Mapping[str, Board],
    refused: int,
    outcomes: Outcomes = lambda benchmark, model: None,
    specs: Mapping[str, BenchmarkSpec] = BENCHMARKS,
) -> Payload:
    """All boards as plain JSON, each with a link and a range of ranks a row, and the number of refused files."""
    return {
        "boards": [
            each.payload() | {"links": links(each), "ranges": board_rank_intervals(each, outcomes, specs.get(name))}
            for name, each in found.items()
        ],
        "refused": refused,
    }


def links(board: Board) -> list[str | None]:
    """For each row the model's page on the hub, or None where it has none."""
    model, kind = board.index("model"), board.index("kind")
    return [hub_page(str(row[model]), str(row[kind])) for row in board.rows]


def hub_page(model: str, kind: str) -> str | None:
    """The model's page on the hub; None for names without an organisation and for what is not on the hub."""
    if kind not in HUB_KINDS or "/" not in model or model.startswith(NOT_ON_HUB):
        return None
    return f"https://huggingface.co/{model}"
