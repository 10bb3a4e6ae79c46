"""A folder of results as its readers need it: results by benchmark and model, boards, outcomes of single examples.

The folder holds `results/`, `scores/` and `items/`. Its files are read once, and again when one of them has changed.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from rb_core.benchmarks.custom import custom_spec
from rb_core.benchmarks.registry import BENCHMARKS
from rb_core.benchmarks.spec import BenchmarkSpec
from rb_core.errors import DataError, ScoreTableError
from rb_core.leaderboard.board import Board, build_board, group_by_benchmark, spec_of_results
from rb_core.leaderboard.model_registry import NO_MODELS, REGISTRY_FILE, ModelRegistry, read_registry
from rb_core.results.schema import Result
from rb_core.results.storage import read_results
from rb_core.stats.composition import outcomes_match_sections
from rb_core.stats.item_outcomes import ItemOutcomes
from rb_core.stats.outcome_files import items_path, outcomes_of_scores, read_items
from rb_core.stats.rank_intervals import Standing, rank_models, tiers

log = logging.getLogger(__name__)

OutcomesOf = Callable[[Result], ItemOutcomes | None]
FileState = tuple[int, int]  # time of the last change in ns, size in bytes


class ResultsStore:
    """The results below a root folder. Only `refresh` looks for changes.

    registry: of the models; refused: a message for each file that is not a result, or not a registry.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._files: dict[str, FileState] | None = None
        self._results: dict[str, dict[str, Result]] = {}
        self._specs: dict[str, BenchmarkSpec] = {}
        self._published_outcomes: dict[str, dict[str, ItemOutcomes]] = {}
        self.registry = ModelRegistry()
        self.refused: list[str] = []

    def refresh(self) -> bool:
        """Read the files again if any has changed; return True if so."""
        files = self._list_files()
        if files == self._files:
            return False
        results, self.refused = read_results(self._root)
        self.registry = self._read_registry()
        for message in self.refused:
            log.warning("file left out: %s", message)
        self._published_outcomes = {}
        groups = group_by_benchmark(self.registry.merge_aliases(results))
        self._specs = {benchmark: spec_of_results(group) for benchmark, group in groups.items()}
        self._results = {
            benchmark: {result.model.name: result for result in group} for benchmark, group in groups.items()
        }
        self._files = files
        return True

    def results(self, benchmark: str) -> Mapping[str, Result]:
        """Return the results of a benchmark by model name; empty for an unknown benchmark."""
        return self._results.get(benchmark, {})

    def boards(self) -> dict[str, Board]:
        """Return the board of each benchmark, with rank intervals."""
        results = [result for by_model in self._results.values() for result in by_model.values()]
        return ranked_boards(results, self.outcomes_of, self.registry)

    def outcomes(self, benchmark: str, model: str) -> ItemOutcomes | None:
        """Return the outcomes that the result of a model was computed from; see `outcomes_of`."""
        result = self.results(benchmark).get(model)
        return None if result is None else self.outcomes_of(result)

    def known_outcomes(self, benchmark: str) -> dict[str, ItemOutcomes]:
        """Return the outcomes of a benchmark's models by name, of those whose outcomes are known."""
        found = {model: self.outcomes_of(result) for model, result in self.results(benchmark).items()}
        return {model: outcomes for model, outcomes in found.items() if outcomes is not None}

    def outcomes_of(self, result: Result) -> ItemOutcomes | None:
        """Return the outcomes that a result was computed from: its score table, or published ones.

        None where there are none, and where the file is not the one that the result was computed from.
        """
        if result.scores is None:
            sections = {name: estimate.value for name, estimate in result.sections.items()}
            return self.published_outcomes(result.benchmark.id, result.model.name, sections)
        try:
            path = self._root / result.scores.path
            return read_outcomes(path, result.scores.sha256, _file_state(path), result.scores.column)
        except FileNotFoundError:
            return None
        except (OSError, ScoreTableError) as error:
            log.warning("outcomes left out: %s", error)
            return None

    def published_outcomes(
        self, benchmark: str, model: str, sections: Mapping[str, float | None]
    ) -> ItemOutcomes | None:
        """Return the published outcomes of a model if they give these section scores."""
        by_benchmark = self._published_outcomes  # `refresh` replaces it while other threads read this one
        if benchmark not in by_benchmark:
            try:
                by_name = read_items(self._root / items_path(benchmark))
                by_benchmark[benchmark] = {self.registry.canonical_name(name): o for name, o in by_name.items()}
            except DataError as error:
                log.warning("published outcomes left out: %s", error)
                by_benchmark[benchmark] = {}
        outcomes = by_benchmark[benchmark].get(model)
        spec = self._specs.get(benchmark) or BENCHMARKS.get(benchmark)
        if outcomes is None or spec is None or not outcomes_match_sections(outcomes, spec, sections):
            return None
        return outcomes

    def _read_registry(self) -> ModelRegistry:
        try:
            return read_registry(self._root)
        except DataError as error:
            self.refused.append(str(error))
            return ModelRegistry()

    def _list_files(self) -> dict[str, FileState]:
        return file_states(self._root, REGISTRY_FILE, "results/**/*.json", "scores/**/*.parquet", "items/**/*.parquet")


def ranked_boards(
    results: Iterable[Result],
    outcomes_of: OutcomesOf,
    registry: ModelRegistry = NO_MODELS,
) -> dict[str, Board]:
    """Return the board of each benchmark, with rank intervals. outcomes_of: see `ResultsStore.outcomes_of`."""
    boards = {}
    for benchmark, group in group_by_benchmark(results).items():
        outcomes = {result.model.name: outcomes_of(result) for result in group}
        boards[benchmark] = with_rank_intervals(build_board(group, registry), outcomes, spec_of_results(group))
    return boards


def file_states(root: Path, *patterns: str) -> dict[str, FileState]:
    """Return the state of each file below a root that matches a pattern; another result says that a file changed."""
    files = {}
    for pattern in patterns:
        for path in root.glob(pattern):
            with suppress(FileNotFoundError):  # removed since it was listed
                files[str(path)] = _file_state(path)
    return files


def _file_state(path: Path) -> FileState:
    state = path.stat()
    return state.st_mtime_ns, state.st_size


@lru_cache(maxsize=256)
def read_outcomes(path: Path, sha256: str, state: FileState, column: str | None = None) -> ItemOutcomes:
    """Return the outcomes of a score file; `state` keeps the cache from answering for a file that has changed.

    column: of a file with the scores of many models, the model. Raises ScoreTableError for a file with another hash,
    OSError for one that cannot be read.
    """
    if hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
        raise ScoreTableError(f"{path}: is not the score file that its result was computed from")
    return outcomes_of_scores(path, column)


def with_rank_intervals(
    board: Board, outcomes: Mapping[str, ItemOutcomes | None], spec: BenchmarkSpec | None = None
) -> Board:
    """Return the board with the rank interval and the tier of every row that has a rank.

    Args:
        outcomes: those of single examples by model, where known; they must give the row's own sections.
        spec: needed for a benchmark that is not registered; without it, rank intervals come from the scores' intervals.
    """
    spec = spec or BENCHMARKS.get(board.id) or custom_spec(board.id)
    standings = [
        Standing(row.model, row.headline, frozenset(row.sections), outcomes.get(row.model)) for row in board.ranked()
    ]
    ranking = rank_models(standings, spec)
    row_tiers = tiers([row.rank or 0 for row in board.ranked()], ranking.intervals)
    intervals = dict(
        zip((row.model for row in board.ranked()), zip(ranking.intervals, row_tiers, strict=True), strict=True)
    )
    rows = []
    for row in board.rows:
        rank_interval, tier = intervals.get(row.model, (None, None))
        rows.append(replace(row, rank_interval=rank_interval, tier=tier))
    return replace(board, rows=tuple(rows), detectable=ranking.detectable)
