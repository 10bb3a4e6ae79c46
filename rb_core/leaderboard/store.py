"""A folder of results as its readers need it: results by benchmark and model, outcomes example by example, rank ranges.

`results/`, `scores/` and `items/` lie below its root. Everything is read once, and again only when a file has changed.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from rb_core.benchmarks.custom import custom_spec
from rb_core.benchmarks.registry import BENCHMARKS
from rb_core.benchmarks.spec import BenchmarkSpec
from rb_core.errors import DataError, ScoreTableError
from rb_core.leaderboard.board import Board, Cell, ColumnRole, board, by_benchmark, spec_of
from rb_core.results.estimate import Estimate
from rb_core.results.schema import Result
from rb_core.results.storage import read_results
from rb_core.stats.intervals import Z95
from rb_core.stats.item_outcomes import ItemOutcomes, from_scores, items_path, read_items
from rb_core.stats.paired import agrees
from rb_core.stats.rank_intervals import RankInterval, Standing, rank_intervals

log = logging.getLogger(__name__)


_BOUNDED: tuple[ColumnRole, ...] = ("headline", "low", "high")


Outcomes = Callable[[str, str], ItemOutcomes | None]


class Collection:
    """What lies below a root. `refresh` looks for changes; the rest answers from what it has found.

    refused: a message for each file that is no result.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._seen: frozenset[tuple[str, int, int]] | None = None
        self._results: dict[str, dict[str, Result]] = {}
        self._items: dict[str, dict[str, ItemOutcomes]] = {}
        self.refused: list[str] = []

    def refresh(self) -> bool:
        """Read anew what lies there, if any of it has changed; returns whether it has."""
        state = self._state()
        if state == self._seen:
            return False
        found, self.refused = read_results(self._root)
        for message in self.refused:
            log.warning("result file left out: %s", message)
        self._items = {}
        self._results = {name: {r.model.name: r for r in each} for name, each in by_benchmark(found).items()}
        self._seen = state
        return True

    def benchmarks(self) -> list[str]:
        """The benchmarks with results, known ones first."""
        return list(self._results)

    def results(self, benchmark: str) -> Mapping[str, Result]:
        """The results of a benchmark by model; empty where there are none."""
        return self._results.get(benchmark, {})

    def boards(self) -> dict[str, Board]:
        """The board of each benchmark."""
        return {name: board(list(found.values())) for name, found in self._results.items()}

    def specs(self) -> dict[str, BenchmarkSpec]:
        """The record of each benchmark."""
        return {name: spec_of(list(found.values())) for name, found in self._results.items()}

    def outcomes(self, benchmark: str, model: str) -> ItemOutcomes | None:
        """What a result was derived from, example by example: its score table, or the published outcomes.

        None where there are none, and where what lies there is not what the result says.
        """
        result = self.results(benchmark).get(model)
        if result is None:
            return None
        if result.scores is None:
            return self.published(benchmark, model, {n: e.value for n, e in result.sections.items()})
        try:
            path = self._root / result.scores_path()
            state = path.stat()
            return read_outcomes(path, result.scores.sha256, (state.st_mtime_ns, state.st_size))
        except FileNotFoundError:
            return None
        except (OSError, ScoreTableError) as error:
            log.warning("outcomes left out: %s", error)
            return None

    def published(self, benchmark: str, model: str, sections: Mapping[str, float | None]) -> ItemOutcomes | None:
        """The published outcomes of a model, if they give these sections."""
        known = self._items  # `refresh` begins a new one, while others still read this
        if benchmark not in known:
            try:
                known[benchmark] = read_items(self._root / items_path(benchmark))
            except DataError as error:
                log.warning("published outcomes left out: %s", error)
                known[benchmark] = {}
        found, spec = known[benchmark].get(model), BENCHMARKS.get(benchmark)
        return found if found is not None and spec is not None and agrees(found, spec, sections) else None

    def _state(self) -> frozenset[tuple[str, int, int]]:
        """Each file there, with when it was written and its size."""
        kinds = {"results": "*.json", "scores": "*.parquet", "items": "*.parquet"}
        found = set()
        for path in (path for folder, kind in kinds.items() for path in (self._root / folder).rglob(kind)):
            with suppress(FileNotFoundError):  # gone since it was listed
                state = path.stat()
                found.add((str(path), state.st_mtime_ns, state.st_size))
        return frozenset(found)


@lru_cache(maxsize=64)
def read_outcomes(path: Path, sha256: str, state: tuple[int, int]) -> ItemOutcomes:
    """The outcomes that a score file gives; `state` is what tells a changed file from the one that was read before.

    Raises ScoreTableError where it is not the file of that hash, OSError where it cannot be read.
    """
    if hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
        raise ScoreTableError(f"{path}: is not the score file that its result was derived from")
    return from_scores(path)


def board_rank_intervals(
    table: Board, outcomes: Outcomes, spec: BenchmarkSpec | None = None
) -> list[RankInterval | None]:
    """For each row of a board its range of ranks; None for rows without a rank.

    outcomes: by benchmark and model; only those that give the row's own sections are used. Where the benchmark has no
    record here and none is given, ranges come from intervals.
    """
    record = spec or BENCHMARKS.get(table.id) or custom_spec(table.id)
    rank, model = table.index("rank"), table.index("model")
    standings, rows = [], []
    for number, row in enumerate(table.rows):
        if row[rank] is None:
            continue
        sections = section_values(table, row)
        found = outcomes(table.id, str(row[model]))
        if found is not None and not agrees(found, record, sections):
            found = None
        standings.append(Standing(str(row[model]), _headline(table, row), frozenset(sections), found))
        rows.append(number)
    ranges: list[RankInterval | None] = [None] * len(table.rows)
    for number, found_range in zip(rows, rank_intervals(standings, record), strict=True):
        ranges[number] = found_range
    return ranges


def section_values(table: Board, row: tuple[Cell, ...]) -> dict[str, float]:
    """The sections that a row has, by name."""
    cells = [(column.label, row[i]) for i, column in enumerate(table.columns) if column.role == "section"]
    return {name: float(value) for name, value in cells if isinstance(value, float | int)}


def _headline(table: Board, row: tuple[Cell, ...]) -> Estimate:
    """A row's headline; its standard error from the width of the interval, which is what a board has."""
    value, low, high = (row[table.index(role)] for role in _BOUNDED)
    if not isinstance(value, float | int):
        return Estimate(value=None)
    if not isinstance(low, float | int) or not isinstance(high, float | int):
        return Estimate(value=float(value))
    return Estimate(value=float(value), stderr=(high - low) / (2 * Z95), low=float(low), high=float(high))
