"""Results of a dataset repository on the hub.

New boards appear without a restart, and the last good ones stay while the hub does not answer.
"""

from __future__ import annotations

import hashlib
import logging
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple, TypeVar

from rb_core.audits.report import AuditReport
from rb_core.audits.traits import Trait
from rb_core.errors import RewardBenchError, ScoreTableError
from rb_core.evaluation.percentiles import Percentiles
from rb_core.hub.client import retrying, seconds_from_environment, timeout
from rb_core.hub.history import ResultVersion, boards_at, result_history
from rb_core.hub.repository import ResultsRepo
from rb_core.leaderboard.board import Board
from rb_core.leaderboard.board_changes import board_changes
from rb_core.leaderboard.derived_files import LEADERBOARD, read_leaderboard, results_in_table, table_path
from rb_core.leaderboard.hub_links import HubPlace
from rb_core.leaderboard.model_registry import ModelRegistry, renamed
from rb_core.leaderboard.store import ResultsStore, with_rank_intervals
from rb_core.results.joint_scores import models_in
from rb_core.results.schema import ModelRef, Result, parse_result
from rb_core.space.html import render
from rb_core.space.results_source import ResultsFolder, ResultsSource, TraitCache
from rb_core.stats.item_outcomes import ItemOutcomes
from rb_core.stats.outcome_files import outcomes_of_scores

log = logging.getLogger(__name__)

# Seconds
DEFAULT_PERIOD = 300.0
MIN_PERIOD = 1.0
RETRY_AFTER = 60.0
WEEK = timedelta(days=7)

MAX_CACHED_FILES = 64

T = TypeVar("T")


class CachedFile(NamedTuple):
    """The content of a file, None if it could not be fetched, and the time of the request."""

    content: Any
    requested: float

    @property
    def is_current(self) -> bool:
        """A file that could not be fetched is requested again after a while."""
        return self.content is not None or time.monotonic() - self.requested < RETRY_AFTER


class HubFiles:
    """Results and outcomes at a commit of a repository, fetched on request and then kept.

    A file that cannot be fetched is logged and treated as absent for `RETRY_AFTER` seconds.
    """

    def __init__(self, repo: ResultsRepo) -> None:
        self._repo = repo
        self._lock = threading.Lock()
        self._fetching = threading.Lock()
        self._files: OrderedDict[tuple[str, str], CachedFile] = OrderedDict()

    def results(self, benchmark: str, commit: str) -> Mapping[str, Result]:
        """Return all results of a benchmark at a commit, by model; empty if they cannot be fetched."""
        path = table_path(benchmark)

        def read(content: bytes) -> dict[str, Result]:
            results = {model: parse_result(text, path) for model, text in results_in_table(content, path).items()}
            return {
                model: renamed(result, model) for model, result in results.items() if result.benchmark.id == benchmark
            }

        return self._get(path, commit, read) or {}

    def outcomes(self, result: Result, commit: str) -> ItemOutcomes | None:
        """Return the outcomes in a result's score table; None if it cannot be fetched or is not the result's."""
        if result.scores is None:
            return None
        path, sha256, column = result.scores.path, result.scores.sha256, result.scores.column

        def read(content: bytes) -> dict[str | None, ItemOutcomes]:
            if hashlib.sha256(content).hexdigest() != sha256:
                raise ScoreTableError(f"{path}: is not the score file that its result was computed from")
            with TemporaryDirectory() as folder:
                file = Path(folder, "scores.parquet")
                file.write_bytes(content)
                columns = [None] if column is None else models_in(file)
                return {name: outcomes_of_scores(file, name) for name in columns}

        return (self._get(path, commit, read) or {}).get(column)

    def _get(self, path: str, commit: str, read: Callable[[bytes], T]) -> T | None:
        file = self._cached(path, commit)
        if file is None:
            with self._fetching:  # one visitor fetches; the others wait for the file and take it from the cache
                file = self._cached(path, commit) or self._fetch(path, commit, read)
        content: T | None = file.content
        return content

    def _cached(self, path: str, commit: str) -> CachedFile | None:
        with self._lock:
            file = self._files.get((commit, path))
            if file is None or not file.is_current:
                return None
            self._files.move_to_end((commit, path))
            return file

    def _fetch(self, path: str, commit: str, read: Callable[[bytes], T]) -> CachedFile:
        def download() -> bytes:
            return self._repo.fetch(self._repo.entry(path, commit), commit)

        content = None
        try:
            content = read(retrying(download, f"fetching {path}", tries=2))
        except RewardBenchError as error:
            log.warning("%s: %s", self._repo.name, error)
        file = CachedFile(content, time.monotonic())
        with self._lock:
            self._files[commit, path] = file
            self._files.move_to_end((commit, path))
            while len(self._files) > MAX_CACHED_FILES:
                self._files.popitem(last=False)
        return file


@dataclass(frozen=True)
class Snapshot:
    """The boards of a commit; boards is None until the first commit has been read.

    checked: time of the hub's last answer; problem: the error since then, or why a newer commit is not shown; changes:
    new models and changed ranks in the week before the commit, a text for each board.
    """

    boards: Mapping[str, Board] | None = None
    commit: str = ""
    date: datetime | None = None
    checked: datetime | None = None
    problem: str = ""
    changes: Sequence[str] = ()


class HubResults:
    """A ResultsSource over a dataset repository, which a thread checks every `period` seconds.

    The results in `bundled` are shown until the first commit has been read. A commit with invalid boards is skipped:
    the last good one stays.
    """

    def __init__(self, repo: ResultsRepo, bundled: ResultsFolder, period: float = DEFAULT_PERIOD) -> None:
        self._repo = repo
        self._bundled = bundled
        self._period = period
        self._snapshot = Snapshot()
        self._files = HubFiles(repo)
        self._traits = TraitCache()
        self._histories: dict[tuple[str, str, str], Sequence[ResultVersion]] = {}
        self._stopped = threading.Event()

    def start(self) -> HubResults:
        """Start the thread, which ends with the process."""
        threading.Thread(target=self._follow, name="follow-results", daemon=True).start()
        return self

    def stop(self) -> None:
        self._stopped.set()

    def boards(self) -> Mapping[str, Board]:
        return self._bundled.boards() if self._snapshot.boards is None else self._snapshot.boards

    def num_refused(self) -> int:
        return self._bundled.num_refused() if self._snapshot.boards is None else 0

    def status_html(self) -> str:
        snapshot, repo = self._snapshot, self._repo.name
        address = f"{self._repo.api.endpoint}/datasets/{repo}/commit/{snapshot.commit}"
        return render("status_of_hub.html", snapshot=snapshot, repo=repo, address=address, ago=time_ago)

    def results(self, benchmark: str) -> Mapping[str, Result]:
        snapshot = self._snapshot
        if snapshot.boards is None:
            return self._bundled.results(benchmark)
        if benchmark not in snapshot.boards:
            return {}
        return self._files.results(benchmark, snapshot.commit)

    def outcomes(self, benchmark: str, model: str) -> ItemOutcomes | None:
        """Return outcomes from the score table at the shown commit, or the bundled outcomes of published models."""
        snapshot = self._snapshot
        if snapshot.boards is None:
            return self._bundled.outcomes(benchmark, model)
        result = self.results(benchmark).get(model)
        if result is None:
            return None
        if result.scores is not None:
            return self._files.outcomes(result, snapshot.commit)
        sections = {name: estimate.value for name, estimate in result.sections.items()}
        return self._bundled.store.published_outcomes(benchmark, model, sections)

    def score_file(self, benchmark: str, model: str) -> Path | None:
        return self._bundled.score_file(benchmark, model) if self._snapshot.boards is None else None

    def ranking_outcomes(self, benchmark: str) -> Mapping[str, ItemOutcomes | None]:
        snapshot = self._snapshot
        if snapshot.boards is None:
            return self._bundled.ranking_outcomes(benchmark)
        board = snapshot.boards.get(benchmark)
        return {} if board is None else bundled_outcomes(self._bundled.store, board)

    def traits(self, benchmark: str) -> Sequence[Trait]:
        return self._traits.get(self, benchmark)

    def percentiles(self, model: ModelRef) -> Percentiles | None:
        """Return percentiles from the score files that come with this program; those in the repository are not read."""
        return self._bundled.percentiles(model)

    def reports(self) -> Sequence[AuditReport]:
        """Return the reports that come with this program; reports in the repository are not read."""
        return self._bundled.reports()

    def registry(self) -> ModelRegistry:
        """Return the registry that comes with this program; that of the repository is not read."""
        return self._bundled.registry()

    def on_hub(self) -> HubPlace | None:
        snapshot = self._snapshot
        if snapshot.boards is None:
            return None
        address = f"{self._repo.api.endpoint}/datasets/{self._repo.name}/blob/{snapshot.commit}"
        return HubPlace(self._repo.name, snapshot.commit, address)

    def history(self, benchmark: str, model: str) -> Sequence[ResultVersion]:
        snapshot = self._snapshot
        if snapshot.boards is None or benchmark not in snapshot.boards:
            return ()
        key = (snapshot.commit, benchmark, model)
        if key not in self._histories:
            if len(self._histories) >= MAX_CACHED_FILES:
                self._histories.clear()
            self._histories[key] = result_history(self._repo, benchmark, model, snapshot.commit)
        return self._histories[key]

    def check(self) -> None:
        """Take the boards of a newer commit, if there is one. Errors of the hub are only shown in `status_html`."""
        try:
            self._snapshot = retrying(self._read, f"reading {self._repo.name}", tries=2)
        except RewardBenchError as error:
            if str(error) != self._snapshot.problem:
                log.warning("%s", error)
            self._snapshot = replace(self._snapshot, problem=str(error))

    def _read(self) -> Snapshot:
        commit, date = self._repo.head()
        now = datetime.now(UTC)
        if commit == self._snapshot.commit:
            return replace(self._snapshot, checked=now, problem="")
        entry = self._repo.entry(LEADERBOARD, commit)
        boards, _ = read_leaderboard(self._repo.fetch(entry, commit))
        ranked = {
            name: with_rank_intervals(board, bundled_outcomes(self._bundled.store, board))
            for name, board in boards.items()
        }
        return Snapshot(ranked, commit, date, now, changes=self._week_changes(boards, commit, date or now))

    def _week_changes(self, boards: Mapping[str, Board], commit: str, date: datetime) -> Sequence[str]:
        """Return the changes in the week before a commit; empty if the boards of then cannot be read."""
        try:
            earlier = retrying(lambda: boards_at(self._repo, commit, date - WEEK), "reading older boards", tries=2)
        except RewardBenchError as error:
            log.warning("%s: %s", self._repo.name, error)
            return ()
        return board_changes(earlier, boards) if earlier else ()

    def _follow(self) -> None:
        while not self._stopped.is_set():
            try:
                self.check()
            except Exception:
                # A bug must not end the thread: it is logged, and the page keeps its boards.
                log.exception("looking for newer results in %s failed", self._repo.name)
            self._stopped.wait(self._period)


def bundled_outcomes(store: ResultsStore, board: Board) -> dict[str, ItemOutcomes | None]:
    """Return the bundled outcomes of a board's published models: nothing else is downloaded for a board."""
    published = [row for row in board.rows if row.status == "published"]
    return {row.model: store.published_outcomes(board.id, row.model, row.sections) for row in published}


def results_source(root: Path) -> ResultsSource:
    """Return the results below `root`, or those of the repository in RB_RESULTS_REPO.

    RB_RESULTS_PERIOD is the number of seconds between two checks of the repository. Raises RewardBenchError for an
    invalid name or period.
    """
    folder = ResultsFolder(root)
    name = os.environ.get("RB_RESULTS_REPO")
    if not name:
        return folder
    timeout()  # a mistake in RB_HUB_TIMEOUT is found here
    period = seconds_from_environment("RB_RESULTS_PERIOD", DEFAULT_PERIOD)
    return HubResults(ResultsRepo(name), folder, max(MIN_PERIOD, period)).start()


def time_ago(when: datetime) -> str:
    """Return the time since then in words, such as "3 days ago"."""
    age = max(timedelta(), datetime.now(UTC) - when)
    for number, unit in ((age.days, "day"), (age.seconds // 3600, "hour"), (age.seconds // 60, "minute")):
        if number:
            return f"{number} {unit}{'s' * (number != 1)} ago"
    return "just now"
