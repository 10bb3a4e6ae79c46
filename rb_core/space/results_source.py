"""The source of the page's boards, results and outcomes: an interface, and the source that reads a folder."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from rb_core.audits.registry import audit_views
from rb_core.audits.report import AuditReport, read_reports
from rb_core.audits.traits import Trait, board_traits, traits_json
from rb_core.evaluation.percentiles import Percentiles, find_percentiles
from rb_core.evaluation.provenance import git_state
from rb_core.hub.history import ResultVersion
from rb_core.leaderboard.board import Board
from rb_core.leaderboard.board_table import board_to_json, detectable_text
from rb_core.leaderboard.custom_scores import uneven_text
from rb_core.leaderboard.hub_links import HubPlace, hub_page
from rb_core.leaderboard.model_registry import NO_MODELS, ModelRegistry, RegisteredModel, openness
from rb_core.leaderboard.store import FileState, ResultsStore, file_states
from rb_core.results.schema import ModelRef, Result
from rb_core.space.html import render
from rb_core.stats.item_outcomes import ItemOutcomes
from rb_core.version import __version__

log = logging.getLogger(__name__)


class ResultsSource(Protocol):
    """The page's boards, and the results and outcomes behind them."""

    def boards(self) -> Mapping[str, Board]:
        """Return the boards by benchmark: the same object for as long as they have not changed."""

    def num_refused(self) -> int:
        """Return the number of files that were left out because they are not results."""

    def status_html(self) -> str:
        """Return the line that says which results are shown, as HTML."""

    def results(self, benchmark: str) -> Mapping[str, Result]:
        """Return the whole results behind a board, by model; empty if there are none or the hub does not answer."""

    def outcomes(self, benchmark: str, model: str) -> ItemOutcomes | None:
        """Return the outcome of every example; None if it is unknown or the hub does not answer."""

    def score_file(self, benchmark: str, model: str) -> Path | None:
        """Return the file of the scores that a result records; None if it has none, or not in a folder."""

    def ranking_outcomes(self, benchmark: str) -> Mapping[str, ItemOutcomes | None]:
        """Return the outcomes by model that a board's rank intervals were computed from; nothing is downloaded."""

    def traits(self, benchmark: str) -> Sequence[Trait]:
        """Return the traits of a board's models; empty for a board that is not there."""

    def percentiles(self, model: ModelRef) -> Percentiles | None:
        """Return the model's scores of a benchmark's chosen answers; None without any."""

    def reports(self) -> Sequence[AuditReport]:
        """Return the reports of audits that belong to the results."""

    def registry(self) -> ModelRegistry:
        """Return what is known of the models beyond their results, and their other names."""

    def on_hub(self) -> HubPlace | None:
        """Return the place of the shown results on the hub; None for those of a folder."""

    def history(self, benchmark: str, model: str) -> Sequence[ResultVersion]:
        """Return the versions of a result, newest first; empty for a folder. Raises HubError."""


class TraitCache:
    """The traits of a source's boards: computed when they are first asked for, and again after the boards changed."""

    def __init__(self) -> None:
        self._boards: Mapping[str, Board] = {}
        self._traits: dict[str, Sequence[Trait]] = {}
        self._lock = threading.Lock()

    def get(self, source: ResultsSource, benchmark: str) -> Sequence[Trait]:
        boards = source.boards()
        with self._lock:
            if boards is not self._boards:
                self._boards, self._traits = boards, {}
            if benchmark not in self._traits and benchmark in boards:
                outcomes = source.ranking_outcomes(benchmark)
                self._traits[benchmark] = board_traits(boards[benchmark], outcomes)
            return self._traits.get(benchmark, ())


class ResultsFolder:
    """The results below a root, read again when a file changes."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.store = ResultsStore(root)
        self._boards: Mapping[str, Board] = {}
        self._traits = TraitCache()
        self._reports: Sequence[AuditReport] = []
        self._report_files: dict[str, FileState] | None = None
        self._lock = threading.Lock()
        self._commit, _ = git_state()

    def boards(self) -> Mapping[str, Board]:
        with self._lock:  # one visitor reads, the others wait for what it has read
            if self.store.refresh():
                self._boards = {name: board.rounded() for name, board in self.store.boards().items()}
            return self._boards

    def num_refused(self) -> int:
        return len(self.store.refused)

    def status_html(self) -> str:
        return render("status_of_folder.html", version=__version__, commit=self._commit)

    def results(self, benchmark: str) -> Mapping[str, Result]:
        self.boards()
        return self.store.results(benchmark)

    def outcomes(self, benchmark: str, model: str) -> ItemOutcomes | None:
        self.boards()
        return self.store.outcomes(benchmark, model)

    def score_file(self, benchmark: str, model: str) -> Path | None:
        result = self.results(benchmark).get(model)
        file = self._root / result.scores.path if result is not None and result.scores is not None else None
        return file if file is not None and file.is_file() else None

    def ranking_outcomes(self, benchmark: str) -> Mapping[str, ItemOutcomes | None]:
        return {model: self.store.outcomes(benchmark, model) for model in self.results(benchmark)}

    def traits(self, benchmark: str) -> Sequence[Trait]:
        return self._traits.get(self, benchmark)

    def percentiles(self, model: ModelRef) -> Percentiles | None:
        return find_percentiles(model, self._root)[0]

    def reports(self) -> Sequence[AuditReport]:
        with self._lock:
            files = file_states(self._root, "audits/**/*.json")
            if files != self._report_files:
                reports, refused = read_reports(self._root)
                views, refused_results = audit_views(self._root)
                for message in (*refused, *refused_results):
                    log.warning("report left out: %s", message)
                self._reports, self._report_files = [*views, *reports], files
            return self._reports

    def registry(self) -> ModelRegistry:
        self.boards()
        return self.store.registry

    def on_hub(self) -> HubPlace | None:
        return None

    def history(self, benchmark: str, model: str) -> Sequence[ResultVersion]:
        return ()


def boards_json(source: ResultsSource) -> dict[str, Any]:
    """Return the ids and titles of the boards, and the number of files that were left out."""
    boards = [{"id": board.id, "title": board.title} for board in source.boards().values()]
    return {"boards": boards, "refused": source.num_refused()}


def page_board_json(board: Board, traits: Sequence[Trait] = (), registry: ModelRegistry = NO_MODELS) -> dict[str, Any]:
    """Return a board as JSON with the sentence on detectable differences and more lists.

    links, ranges, facts: for each row its model's page on the hub, its rank interval, and what the registry says of it.
    traits: see `traits_json`. uneven: sections that some scores include and others do not; uneven_text: how many, as
    sentences.
    """
    return board_to_json(board) | {
        "detectable_text": detectable_text(board),
        "uneven": list(board.uneven_sections),
        "uneven_text": uneven_text(board),
        "links": [hub_page(row.model, row.kind) for row in board.rows],
        "ranges": [list(row.rank_interval) if row.rank_interval else None for row in board.rows],
        "facts": [filter_facts(registry.get(row.model), hub_page(row.model, row.kind)) for row in board.rows],
        "traits": traits_json(board, traits),
    }


def filter_facts(registered: RegisteredModel | None, page: str | None) -> dict[str, str]:
    """Return the known facts that the leaderboard filters by and shows; page: the model's address on the hub."""
    facts = {
        "licence": registered and registered.licence,
        "released": registered and registered.released and registered.released.isoformat(),
        "base_model": registered and registered.base_model,
        "openness": openness(registered, has_weights=page is not None),
    }
    return {name: value for name, value in facts.items() if value}
