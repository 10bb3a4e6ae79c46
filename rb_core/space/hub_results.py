"""Following a results repository on the hub: new boards without a restart, the last good ones while it is away."""

from __future__ import annotations

import hashlib
import html
import logging
import math
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple, TypeVar

from rb_core.errors import RewardBenchError, ScoreTableError
from rb_core.hub.client import retrying
from rb_core.hub.repository import ResultsRepo
from rb_core.leaderboard.board import Board
from rb_core.leaderboard.derived_files import LEADERBOARD, read_leaderboard, results_in_table, table_path
from rb_core.leaderboard.model_report import HubPlace
from rb_core.leaderboard.store import Outcomes, section_values
from rb_core.results.schema import Result, parse_result
from rb_core.space.results_source import Payload, ResultsFolder, ResultsSource, page_payload
from rb_core.stats.item_outcomes import ItemOutcomes, from_scores

log = logging.getLogger(__name__)


DEFAULT_PERIOD = 300.0  # seconds


SHORTEST_PERIOD, LONGEST_PERIOD = 1.0, 86_400.0


RETRY_AFTER = 60.0  # seconds


MOST_KEPT = 64  # tables and score files


T = TypeVar("T")


@dataclass(frozen=True)
class Shown:
    """The boards of a commit. checked: when the hub last answered; problem: why it did not since, or why a newer commit
    is not shown."""

    payload: Payload | None = None
    commit: str = ""
    date: datetime | None = None
    checked: datetime | None = None
    problem: str = ""


class _Known(NamedTuple):
    """What a file held when it was asked for; None where it could not be had."""

    found: Any
    asked: float

    @property
    def holds(self) -> bool:
        """Whether nobody needs to ask again: what could not be had may be there after a while."""
        return self.found is not None or time.monotonic() - self.asked < RETRY_AFTER


class Behind:
    """The results and outcomes behind the boards of a commit, fetched when they are asked for and then kept.

    What cannot be had is logged, said to be absent, and asked for again after a while.
    """

    def __init__(self, repo: ResultsRepo) -> None:
        self._repo = repo
        self._lock = threading.Lock()
        self._fetching = threading.Lock()
        self._kept: OrderedDict[tuple[str, str], _Known] = OrderedDict()

    def results(self, benchmark: str, commit: str) -> Mapping[str, Result]:
        """All results of a benchmark at a commit, by model; empty where they cannot be had."""
        path = table_path(benchmark)

        def read(content: bytes) -> dict[str, Result]:
            results = [parse_result(text, path) for text in results_in_table(content, path)]
            return {each.model.name: each for each in results if each.benchmark.id == benchmark}

        found: Mapping[str, Result] | None = self._get(path, commit, read)
        return found or {}

    def outcomes(self, result: Result, commit: str) -> ItemOutcomes | None:
        """The outcomes that a result's score table gives; None where it cannot be had or is another."""
        if result.scores is None:
            return None
        path, sha256 = result.scores_path().as_posix(), result.scores.sha256

        def read(content: bytes) -> ItemOutcomes:
            if hashlib.sha256(content).hexdigest() != sha256:
                raise ScoreTableError(f"{path}: is not the score file that its result was derived from")
            with TemporaryDirectory() as folder:
                file = Path(folder, "scores.parquet")
                file.write_bytes(content)
                return from_scores(file)

        found: ItemOutcomes | None = self._get(path, commit, read)
        return found

    def _get(self, path: str, commit: str, read: Callable[[bytes], T]) -> T | None:
        key = (commit, path)
        known = self._known(key)
        if known is None:
            with self._fetching:  # one visitor fetches, the others wait for it; whoever finds it here does not
                known = self._known(key) or self._ask(path, commit, read)
        found: T | None = known.found
        return found

    def _known(self, key: tuple[str, str]) -> _Known | None:
        with self._lock:
            known = self._kept.get(key)
            if known is None or not known.holds:
                return None
            self._kept.move_to_end(key)
            return known

    def _ask(self, path: str, commit: str, read: Callable[[bytes], T]) -> _Known:
        found = None
        try:
            found = read(retrying(lambda: self._fetch(path, commit), f"fetching {path}", tries=2))
        except RewardBenchError as error:
            log.warning("%s: %s", self._repo.name, error)
        known = _Known(found, time.monotonic())
        with self._lock:
            self._kept[commit, path] = known
            self._kept.move_to_end((commit, path))
            while len(self._kept) > MOST_KEPT:
                self._kept.popitem(last=False)
        return known

    def _fetch(self, path: str, commit: str) -> bytes:
        return self._repo.fetch(self._repo.entry(path, commit), commit)


class FollowedRepo:
    """The boards of a dataset repository, looked for every `period` seconds by a thread of its own.

    Until the first ones have come, and when they never do, the results in `floor` are shown. A commit whose boards are
    not valid is passed over: the last good one stays.
    """

    def __init__(self, repo: ResultsRepo, floor: ResultsFolder, period: float = DEFAULT_PERIOD) -> None:
        self._repo = repo
        self._floor = floor
        self._period = period
        self._shown = Shown()
        self._behind = Behind(repo)
        self._ended = threading.Event()

    def start(self) -> FollowedRepo:
        """Begin to follow; the thread ends with the process."""
        threading.Thread(target=self._follow, name="follow-results", daemon=True).start()
        return self

    def stop(self) -> None:
        """Look no more."""
        self._ended.set()

    def payload(self) -> Payload:
        """The last good boards."""
        return self._floor.payload() if self._shown.payload is None else self._shown.payload

    def line(self) -> str:
        """The commit that is shown, how old it is, and when the hub last answered."""
        shown, name = self._shown, html.escape(self._repo.name)
        if shown.payload is None:
            why = (
                f"{name} could not be read: {html.escape(shown.problem)}" if shown.problem else f"{name} is being read"
            )
            return f"Showing the results that came with this page; {why}."
        address = f"{self._repo.api.endpoint}/datasets/{self._repo.name}/commit/{shown.commit}"
        link = f'<a href="{html.escape(address)}" target="_blank" rel="noopener"><code>{shown.commit[:7]}</code></a>'
        parts = [f"Results of {name} at {link}"]
        parts += [f", pushed {_moment(shown.date)}"] if shown.date else []
        parts += [f"; looked for newer ones {_moment(shown.checked)}"] if shown.checked else []
        parts += [f"; what is there now could not be shown: {html.escape(shown.problem)}"] if shown.problem else []
        return "".join(parts) + "."

    def results(self, benchmark: str) -> Mapping[str, Result]:
        """From the benchmark's table at the shown commit, fetched when first asked for."""
        shown = self._shown
        if shown.payload is None:
            return self._floor.results(benchmark)
        if benchmark not in {each["id"] for each in shown.payload["boards"]}:
            return {}
        return self._behind.results(benchmark, shown.commit)

    def outcomes(self, benchmark: str, model: str) -> ItemOutcomes | None:
        """From the score table at the shown commit, or the published outcomes that came with the page."""
        shown = self._shown
        if shown.payload is None:
            return self._floor.outcomes(benchmark, model)
        result = self.results(benchmark).get(model)
        if result is None:
            return None
        if result.scores is not None:
            return self._behind.outcomes(result, shown.commit)
        return self._floor.collection.published(benchmark, model, {n: e.value for n, e in result.sections.items()})

    def on_hub(self) -> HubPlace | None:
        """The commit that is shown; None as long as it is the results that came with the page."""
        shown = self._shown
        if shown.payload is None:
            return None
        address = f"{self._repo.api.endpoint}/datasets/{self._repo.name}/blob/{shown.commit}"
        return HubPlace(self._repo.name, shown.commit, address)

    def check(self) -> None:
        """Look for a newer commit and take its boards. Raises nothing that a hub can cause: `line` says it."""
        try:
            self._shown = retrying(self._look, f"reading {self._repo.name}", tries=2)
        except RewardBenchError as error:
            if str(error) != self._shown.problem:
                log.warning("%s", error)
            self._shown = replace(self._shown, problem=str(error))

    def _look(self) -> Shown:
        commit, date = self._repo.head()
        now = datetime.now(UTC)
        if commit == self._shown.commit:
            return replace(self._shown, checked=now, problem="")
        entry = self._repo.entry(LEADERBOARD, commit)
        boards, _ = read_leaderboard(self._repo.fetch(entry, commit))
        return Shown(page_payload(boards, 0, self._bundled(boards)), commit, date, now)

    def _bundled(self, boards: Mapping[str, Board]) -> Outcomes:
        """The published outcomes that came with the page, for boards of which nothing else is here yet."""
        published = {
            (board.id, str(row[board.index("model")])): section_values(board, row)
            for board in boards.values()
            for row in board.rows
            if row[board.index("status")] == "published"
        }

        def outcomes(benchmark: str, model: str) -> ItemOutcomes | None:
            sections = published.get((benchmark, model))
            return None if sections is None else self._floor.collection.published(benchmark, model, sections)

        return outcomes

    def _follow(self) -> None:
        while not self._ended.is_set():
            try:
                self.check()
            except Exception:
                # A mistake of ours must not end the following: it is logged, and the page keeps what it has.
                log.exception("looking for newer results in %s failed", self._repo.name)
            self._ended.wait(self._period)


def results_source(root: Path) -> ResultsSource:
    """The results below `root`, or those of the repository that RB_RESULTS_REPO names, which RB_RESULTS_PERIOD says how
    often to look at, in seconds. Raises RewardBenchError for a name or a period that is none."""
    folder = ResultsFolder(root)
    name = os.environ.get("RB_RESULTS_REPO")
    if not name:
        return folder
    return FollowedRepo(ResultsRepo(name), folder, _period()).start()


def _period() -> float:
    text = os.environ.get("RB_RESULTS_PERIOD") or str(DEFAULT_PERIOD)
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds <= LONGEST_PERIOD:
        raise RewardBenchError(f"RB_RESULTS_PERIOD is {text!r}; it must be a number of seconds, at most a day")
    return max(SHORTEST_PERIOD, seconds)


def _moment(when: datetime) -> str:
    """How long ago, in words, with the moment itself for machines and on hovering."""
    ago = max(timedelta(), datetime.now(UTC) - when)
    days, hours, minutes = ago.days, ago.seconds // 3600, ago.seconds // 60
    number, unit = (days, "day") if days else (hours, "hour") if hours else (minutes, "minute")
    text = f"{number} {unit}{'s' * (number != 1)} ago" if number else "just now"
    return f'<time datetime="{when.isoformat(timespec="seconds")}" title="{when:%Y-%m-%d %H:%M} UTC">{text}</time>'
