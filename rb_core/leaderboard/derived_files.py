"""The files that a push derives from results: leaderboard.json, tables, the dataset card, and cards of benchmarks.

The same results give the same bytes.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from rb_core.errors import ResultError
from rb_core.leaderboard.board import Board, build_board, card_of_results, group_by_benchmark
from rb_core.leaderboard.board_table import board_columns, board_from_json, board_to_json
from rb_core.leaderboard.dataset_card import dataset_card
from rb_core.leaderboard.model_registry import NO_MODELS, REGISTRY_FILE, parse_registry, renamed
from rb_core.results.schema import Result, Segment, parse_result

LEADERBOARD = "leaderboard.json"
CARD = "README.md"
# Increase it when the same results give another leaderboard.json or other tables: a push replaces those of an older
# version.
VERSION = 4


def table_path(benchmark: str) -> str:
    return f"tables/{benchmark}.parquet"


def benchmark_card_path(benchmark: str) -> str:
    return f"benchmarks/{benchmark}.yaml"


def is_benchmark_card(path: str) -> bool:
    return re.fullmatch(rf"benchmarks/{Segment}\.yaml", path) is not None


def is_derived(path: str) -> bool:
    """Return True for the path of a derived file in a results repository."""
    is_table = re.fullmatch(rf"tables/{Segment}\.parquet", path) is not None
    return path in (LEADERBOARD, CARD) or is_table or is_benchmark_card(path)


def git_oid(content: bytes) -> str:
    """Return the object id that git and the hub give a file of this content."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def results_digest(files: Mapping[str, bytes]) -> str:
    """Return the SHA-256 of a set of result files: of their paths and object ids."""
    lines = (f"{path} {git_oid(content)}\n" for path, content in sorted(files.items()))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def derive(files: Mapping[str, bytes], repo: str = "ORG/NAME") -> dict[str, bytes]:
    """Return the derived files by path, from the result files, and the registry of models if any, by path.

    The card names `repo`. Raises ResultError for a file that is not a result, DataError for an unreadable registry.
    """
    registry = parse_registry(files[REGISTRY_FILE]) if REGISTRY_FILE in files else NO_MODELS
    results = [parse_result(content, path) for path, content in files.items() if path != REGISTRY_FILE]
    best = registry.best_results(results)
    groups = group_by_benchmark(renamed(result, name) for (_, name), result in best.items())
    boards = {benchmark: build_board(group, registry) for benchmark, group in groups.items()}
    derived = {LEADERBOARD: leaderboard_json(boards.values(), results_digest(files))}
    derived |= benchmark_cards(results)
    for benchmark, board in boards.items():
        by_model = {result.model.name: result for result in groups[benchmark]}
        texts = {name: files[best[benchmark, name].path().as_posix()].decode() for name in by_model}
        derived[table_path(benchmark)] = benchmark_table(board, by_model, texts)
    tables = {benchmark: table_path(benchmark) for benchmark in boards}
    derived[CARD] = dataset_card(boards, groups, _column_descriptions(boards.values()), tables, repo).encode()
    return derived


def benchmark_cards(results: Iterable[Result]) -> dict[str, bytes]:
    """Return the card of each benchmark that results by a card with an id were scored on, by path."""
    cards = {benchmark: card_of_results(group) for benchmark, group in group_by_benchmark(results).items()}
    return {benchmark_card_path(name): card.to_yaml().encode() for name, card in cards.items() if card and card.id}


def derive_from_folder(root: Path) -> dict[str, bytes]:
    """Return the derived files of the results and the registry below a root; raises as `derive`."""
    paths = [*root.glob("results/**/*.json"), *root.glob(REGISTRY_FILE)]
    return derive({path.relative_to(root).as_posix(): path.read_bytes() for path in paths})


def leaderboard_json(boards: Iterable[Board], digest: str) -> bytes:
    """Return the content of leaderboard.json: every board, and the digest of the results they come from."""
    content = {"version": VERSION, "results": digest, "boards": [board_to_json(board) for board in boards]}
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()


def read_leaderboard(content: bytes, name: str = LEADERBOARD) -> tuple[dict[str, Board], str]:
    """Return the boards by benchmark, and the digest of the results they come from.

    Raises ResultError for content that is not a leaderboard, or one of another version.
    """
    try:
        fields = json.loads(content)
        if fields["version"] != VERSION:
            raise ResultError(f"{name}: version {fields['version']!r}; this package reads version {VERSION}")
        boards = [board_from_json(board) for board in fields["boards"]]
        return {board.id: board for board in boards}, str(fields["results"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ResultError(f"{name}: not a leaderboard: {type(error).__name__}: {error}") from error


# The table of a benchmark

_TYPES = {
    "rank": pa.int32(),
    "model": pa.string(),
    "kind": pa.string(),
    "status": pa.string(),
    "parameters": pa.int64(),
    "organisation": pa.string(),
    "sweep": pa.string(),
    "includes": pa.string(),
}
# Columns that a table has beside those of the board: type and description.
_RESULT_COLUMNS: Mapping[str, tuple[pa.DataType, str]] = {
    "chance": (pa.float64(), "What random choice is expected to score on the benchmark, where known"),
    "interval": (pa.string(), "Method of the interval: beta, or binomial (from published numbers)"),
    "examples": (pa.int32(), "Examples in the run; missing for published results"),
    "scored": (pa.int32(), "Of these, examples with a score"),
    "ties": (pa.int32(), "Of these, examples whose best scores are equal"),
    "dtype": (pa.string(), "Data type that the model was run in"),
    "revision": (pa.string(), "Commit of the model"),
    "date": (pa.string(), "Time of the run, or date when the published result was retrieved (UTC)"),
    "source": (pa.string(), "Source of a published result"),
    "result": (pa.string(), "The whole result file as JSON text"),
}


def benchmark_table(board: Board, results: Mapping[str, Result], texts: Mapping[str, str]) -> bytes:
    """Return a parquet file with one row for each result, best first.

    Its columns are the board's, more about each run, and the text of the result file; `results` and `texts` are by
    model name.
    """
    columns = {
        column.key: pa.array([column.cell(row) for row in board.rows], _TYPES.get(column.role, pa.float64()))
        for column in board_columns(board)
    }
    shared = {"chance": board.chance.headline}
    cells = [shared | _result_cells(results[row.model]) | {"result": texts[row.model]} for row in board.rows]
    columns |= {key: pa.array([row[key] for row in cells], kind) for key, (kind, _) in _RESULT_COLUMNS.items()}
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer, compression="zstd")
    return buffer.getvalue()


def _result_cells(result: Result) -> dict[str, Any]:
    headline, counts, run = result.headline, result.counts, result.run
    return {
        "interval": headline.method if headline else None,
        "examples": counts.examples if counts else None,
        "scored": counts.scored if counts else None,
        "ties": counts.ties if counts else None,
        "dtype": result.model.dtype,
        "revision": result.model.revision,
        "date": run.started if run else result.published.retrieved if result.published else None,
        "source": result.published.source if result.published else None,
    }


def _column_descriptions(boards: Iterable[Board]) -> dict[str, str]:
    descriptions = {
        column.key: column.description or column.label
        for board in boards
        for column in board_columns(board)
        if column.role not in ("section", "subset")
    }
    return descriptions | {key: description for key, (_, description) in _RESULT_COLUMNS.items()}


def results_in_table(content: bytes, name: str) -> dict[str, bytes]:
    """Return the result files that a table holds, by the name of the model in its row.

    Raises ResultError if it is not a table of results.
    """
    try:  # on one thread: a process that ends right after a read with several is sometimes aborted
        table = pq.read_table(io.BytesIO(content), columns=["model", "result"], use_threads=False, pre_buffer=False)
        models, texts = table["model"].to_pylist(), table["result"].to_pylist()
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        raise ResultError(f"{name}: not a table of results: {error}") from error
    pairs = zip(models, texts, strict=True)
    return {str(model): text.encode() for model, text in pairs if isinstance(text, str)}
