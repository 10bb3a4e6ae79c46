"""What is derived from a set of results for those who read them on the hub: the boards as JSON, a table a benchmark,
the dataset card. The same results give the same bytes.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from rb_core.errors import ResultError
from rb_core.leaderboard.board import Board, build_board, group_by_benchmark
from rb_core.leaderboard.board_table import board_columns, board_from_json, board_to_json
from rb_core.results.schema import Result, Segment, parse_result

LEADERBOARD = "leaderboard.json"


CARD = "README.md"


# Goes up when the same results give other derived files, so that a push replaces those of an older version.
VERSION = 2


def table_path(benchmark: str) -> str:
    return f"tables/{benchmark}.parquet"


def is_derived(path: str) -> bool:
    """Whether a file of this name in a results repository is a derived one."""
    return path in (LEADERBOARD, CARD) or re.fullmatch(rf"tables/{Segment}\.parquet", path) is not None


def git_oid(content: bytes) -> str:
    """The object id that git and the hub give a file of this content."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def digest(oids: Mapping[str, str]) -> str:
    """The SHA-256 of a set of result files, from their object ids by path."""
    return hashlib.sha256("".join(f"{path} {oids[path]}\n" for path in sorted(oids)).encode()).hexdigest()


def derive(files: Mapping[str, bytes], repo: str = "ORG/NAME") -> dict[str, bytes]:
    """The derived files by path, from the result files by path. `repo` is named in the card.

    Raises ResultError for a file that is no result.
    """
    found = {path: parse_result(content, path) for path, content in files.items()}
    grouped = group_by_benchmark(found.values())
    boards = {benchmark: build_board(results) for benchmark, results in grouped.items()}
    derived = {LEADERBOARD: leaderboard_json(boards.values(), digest({p: git_oid(c) for p, c in files.items()}))}
    for benchmark, results in grouped.items():
        texts = {result.model.name: files[result.path().as_posix()] for result in results}
        derived[table_path(benchmark)] = benchmark_table(boards[benchmark], results, texts)
    derived[CARD] = card(boards, grouped, repo).encode()
    return derived


def leaderboard_json(boards: Iterable[Board], results: str) -> bytes:
    """What the page reads: every board with its columns and rows, and the digest of the results they come from."""
    content = {"version": VERSION, "results": results, "boards": [board_to_json(board) for board in boards]}
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()


def read_leaderboard(content: bytes, name: str = LEADERBOARD) -> tuple[dict[str, Board], str]:
    """The boards by benchmark, and the digest of the results they come from.

    Raises ResultError for content that is none, or of another version.
    """
    try:
        found = json.loads(content)
        if found["version"] != VERSION:
            raise ResultError(f"{name}: version {found['version']!r}; this package reads version {VERSION}")
        boards = [board_from_json(each) for each in found["boards"]]
        return {each.id: each for each in boards}, str(found["results"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ResultError(f"{name}: not a leaderboard: {type(error).__name__}: {error}") from error


# The table of a benchmark

_TYPES = {
    "rank": pa.int32(),
    "model": pa.string(),
    "kind": pa.string(),
    "status": pa.string(),
    "parameters": pa.int64(),
}


_MORE: Mapping[str, tuple[pa.DataType, str]] = {
    "stderr": (pa.float64(), "Standard error of the score"),
    "interval": (pa.string(), "How the interval came about: wilson, bootstrap, or binomial (from published numbers)"),
    "examples": (pa.int32(), "Examples in the run; missing for published results"),
    "scored": (pa.int32(), "Of these, examples with a score"),
    "ties": (pa.int32(), "Of these, examples whose best scores are equal"),
    "dtype": (pa.string(), "The data type the model was run in"),
    "revision": (pa.string(), "The model's commit"),
    "date": (pa.string(), "When it was run, or retrieved (UTC)"),
    "source": (pa.string(), "Where a published result comes from"),
    "result": (pa.string(), "The whole result file as JSON text"),
}


def benchmark_table(table: Board, results: Sequence[Result], texts: Mapping[str, bytes]) -> bytes:
    """One row a result, best first, as parquet: the board's columns, more about each run, and the result's own text."""
    by_name = {result.model.name: result for result in results}
    columns = {
        column.key: pa.array([column.cell(row) for row in table.rows], _TYPES.get(column.role, pa.float64()))
        for column in board_columns(table)
    }
    rows = [_more(by_name[row.model], texts[row.model]) for row in table.rows]
    columns |= {key: pa.array([row[key] for row in rows], kind) for key, (kind, _) in _MORE.items()}
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer, compression="zstd")
    return buffer.getvalue()


def _more(result: Result, text: bytes) -> dict[str, Any]:
    headline, counts, run = result.headline, result.counts, result.run
    return {
        "stderr": headline.stderr if headline else None,
        "interval": headline.method if headline else None,
        "examples": counts.examples if counts else None,
        "scored": counts.scored if counts else None,
        "ties": counts.ties if counts else None,
        "dtype": result.model.dtype,
        "revision": result.model.revision,
        "date": run.started if run else result.published.retrieved if result.published else None,
        "source": result.published.source if result.published else None,
        "result": text.decode(),
    }


def results_in_table(content: bytes, name: str) -> list[bytes]:
    """The result files that a table holds. Raises ResultError for what is not such a table."""
    try:  # on one thread: a process that ends right after a read with several is sometimes aborted
        texts = pq.read_table(io.BytesIO(content), columns=["result"], use_threads=False, pre_buffer=False)[
            "result"
        ].to_pylist()
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        raise ResultError(f"{name}: not a table of results: {error}") from error
    return [text.encode() for text in texts if isinstance(text, str)]


# The dataset card


def card(boards: Mapping[str, Board], grouped: Mapping[str, Sequence[Result]], repo: str) -> str:
    """The card of the results repository: what lies there, what the columns mean, how to pull and to cite it."""
    from huggingface_hub import DatasetCardData

    data = DatasetCardData(
        pretty_name="Reward model results",
        license="apache-2.0",
        language=["en"],
        size_categories=["n<1K" if sum(map(len, grouped.values())) < 1000 else "1K<n<10K"],
        tags=["reward-model", "leaderboard", "evaluation"],
        configs=[{"config_name": name, "data_files": table_path(name)} for name in boards],
    )
    parts = [_card_head(boards, grouped), _card_pull(repo, next(iter(boards), "rewardbench")), _card_columns(boards)]
    return f"---\n{data.to_yaml()}\n---\n\n" + "\n".join(parts)


def _card_head(boards: Mapping[str, Board], grouped: Mapping[str, Sequence[Result]]) -> str:
    lines = [
        "# Reward model results",
        "",
        "Every result of the RewardBench leaderboard, with the scores it was derived from. This page and the files it",
        "describes are generated; `results/` and `scores/` are the source.",
        "",
        "| benchmark | results | of these own runs | with scores | newest | dataset | its licence |",
        "|---|---:|---:|---:|---|---|---|",
    ]
    for name, found in grouped.items():
        own = sum(result.status == "run" for result in found)
        scores = sum(result.scores is not None for result in found)
        each = boards[name]
        dataset = f"[{each.title}]({each.url})" if each.url else each.title
        lines.append(
            f"| `{name}` | {len(found)} | {own} | {scores} | {each.newest or '-'} | {dataset} | {each.licence or '-'} |"
        )
    lines += [
        "",
        "| path | what |",
        "|---|---|",
        "| `results/<benchmark>/<org>/<model>.json` | a result: estimates, settings, versions, where it comes from |",
        "| `scores/<benchmark>/<org>/<model>.parquet` | the scores of a run, one row a completion |",
        "| `tables/<benchmark>.parquet` | all results of a benchmark, one row a model |",
        "| `leaderboard.json` | what the leaderboard's page reads |",
        "",
    ]
    return "\n".join(lines)


def _card_pull(repo: str, config: str) -> str:
    return f"""## How to pull

```python
import datasets
import pandas

table = datasets.load_dataset("{repo}", "{config}", split="train")
boards = pandas.read_json("hf://datasets/{repo}/{LEADERBOARD}")
one = pandas.read_json("hf://datasets/{repo}/results/BENCHMARK/ORG/MODEL.json", typ="series")
```

```sh
python -m rb_core sync pull --repo {repo} --out pulled   # everything, at one commit, checked
python -m rb_core verify pulled                          # derive every number again from its scores
```

## Licence and citation

The files are under Apache-2.0. The benchmarks keep their own licences, in the table above. Rows whose `status` is
*published* are figures from elsewhere; `source` says from where. Please cite the benchmark whose results you use:
"""


def _card_columns(boards: Mapping[str, Board]) -> str:
    lines = [f"- {each.title}: {each.citation}" for each in boards.values() if each.citation]
    lines += [
        "",
        "## Columns",
        "",
        "Scores, bounds and coverage are fractions from 0 to 1; missing means not evaluated.",
        "",
        "| column | what |",
        "|---|---|",
    ]
    fixed = {
        column.key: column.description or column.label
        for board in boards.values()
        for column in board_columns(board)
        if column.role not in ("section", "subset")
    }
    fixed |= {key: text for key, (_, text) in _MORE.items()}
    lines += [f"| `{key}` | {text} |" for key, text in fixed.items()]
    lines += ["| `section:NAME` | The score of a section |", "| `subset:NAME` | The score of a subset |", ""]
    for each in boards.values():
        sections = [f"*{section.name}*: {section.description}" for section in each.sections if section.description]
        if sections:
            lines += [f"Sections of {each.title}: {'; '.join(sections)}.", ""]
    return "\n".join(lines)


def derived_from(root: Path) -> dict[str, bytes]:
    """The derived files of the results below a root. Raises ResultError for a file there that is no result."""
    files = {path.relative_to(root).as_posix(): path.read_bytes() for path in (root / "results").rglob("*.json")}
    return derive(files)
