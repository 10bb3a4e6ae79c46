"""Write scored prompts as a table with one row per completion: parquet, JSON lines or CSV, by the file's suffix."""

from __future__ import annotations

import csv
import io
import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, time
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from rb_core.errors import DataError, first_line
from rb_core.evaluation.percentiles import Percentiles
from rb_core.evaluation.prompt_windows import completion_as_text, in_parts
from rb_core.evaluation.scored_prompts import SCORE_COLUMNS, PromptWriter, ScoredPrompt
from rb_core.files import METADATA, atomic_file

# Types of an output file's columns; None for values of several types, which become texts, JSON where they are not.
ColumnTypes = Mapping[str, pa.DataType | None]
OutputRows = Iterator[dict[str, Any]]

_SCORE_TYPES: ColumnTypes = dict(
    zip(
        SCORE_COLUMNS,
        (
            pa.int64(),
            pa.string(),
            pa.int64(),
            pa.float64(),
            pa.float64(),
            pa.int64(),
            pa.bool_(),
            pa.string(),
        ),
        strict=True,
    )
)
_ROWS_PER_GROUP = 2048  # of a parquet file, held in memory at a time


@dataclass
class Tally:
    """Counts of the written rows: completions, unscored ones by reason, truncated ones, and scores by their rank among
    the chosen answers of a benchmark."""

    prompts: int = 0
    completions: int = 0
    truncated: int = 0
    unscored: Counter[str] = field(default_factory=Counter)
    ranks: Counter[int] = field(default_factory=Counter)

    def median_rank(self) -> int | None:
        """Return the lower median of the ranks; None without any."""
        below, half = 0, (self.ranks.total() + 1) / 2
        for rank in sorted(self.ranks):
            below += self.ranks[rank]
            if below >= math.floor(half):
                return rank
        return None


def score_rows(
    scored_prompts: Iterable[ScoredPrompt], percentiles: Percentiles | None, tally: Tally | None = None
) -> OutputRows:
    """Yield the output row of each completion. A missing score is None, never a number."""
    tally = tally or Tally()
    for scored in scored_prompts:
        tally.prompts += 1
        for index, (completion, score) in enumerate(zip(scored.completions, scored.scores, strict=True)):
            value = None if math.isnan(score.value) else score.value
            rank = percentiles.rank(value) if percentiles is not None and value is not None else None
            tally.completions += 1
            tally.truncated += score.truncated
            if value is None:
                tally.unscored[score.reason] += 1
            if rank is not None:
                tally.ranks[rank] += 1
            percent = percentiles.percent(rank) if percentiles is not None and rank is not None else None
            text, reason = completion_as_text(completion), score.reason or None
            added = (scored.row_number, text, index, value, percent, score.num_tokens, score.truncated, reason)
            yield {**scored.row, **dict(zip(SCORE_COLUMNS, added, strict=True))}


def table_writer(
    out: Path, columns: ColumnTypes, percentiles: Percentiles | None, tally: Tally, metadata: dict[str, Any]
) -> PromptWriter:
    """Return a writer of one row per completion. columns: the input's own; metadata: of the run, kept in parquet."""

    def write(scored_prompts: Iterator[ScoredPrompt]) -> None:
        write_rows(out, {**columns, **_SCORE_TYPES}, score_rows(scored_prompts, percentiles, tally), metadata)

    return write


def check_suffix(out: Path, option: str = "--out") -> None:
    """Raise DataError unless a table can be written to a file of this name."""
    if out.suffix.lower() not in _FORMATS:
        raise DataError(f"{option} {out}: expected a file that ends with {', '.join(_FORMATS)}")


def write_rows(out: Path, columns: ColumnTypes, rows: OutputRows, metadata: dict[str, Any]) -> None:
    """Write rows in the format of the file's suffix, as a whole or not at all."""
    with atomic_file(out) as file:
        _FORMATS[out.suffix.lower()](file, columns, rows, metadata)


def _write_parquet(file: BinaryIO, columns: ColumnTypes, rows: OutputRows, metadata: dict[str, Any]) -> None:
    schema = pa.schema([(name, pa.string() if kind is None else kind) for name, kind in columns.items()])
    as_json = [name for name, kind in columns.items() if kind is None]
    with pq.ParquetWriter(file, schema, compression="zstd") as writer:
        for part in in_parts(rows, _ROWS_PER_GROUP):
            for row in part:
                row |= {name: _text(row[name]) for name in as_json if row.get(name) is not None}
            try:
                writer.write_table(pa.Table.from_pylist(part, schema))
            except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
                raise DataError(
                    f"a column cannot be written as parquet ({first_line(error)}); choose --out NAME.jsonl"
                ) from error
        writer.add_key_value_metadata({METADATA: json.dumps(metadata, sort_keys=True).encode()})


def _write_jsonl(file: BinaryIO, columns: ColumnTypes, rows: OutputRows, metadata: dict[str, Any]) -> None:
    for row in rows:
        file.write(json_text(row).encode() + b"\n")


def _write_csv(file: BinaryIO, columns: ColumnTypes, rows: OutputRows, metadata: dict[str, Any]) -> None:
    """Write comma separated values: a missing value is an empty cell, and anything with parts is JSON."""
    text = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)
    writer = csv.DictWriter(text, list(columns))
    writer.writeheader()
    writer.writerows({name: _cell(value) for name, value in row.items()} for row in rows)
    text.detach()


def _cell(value: Any) -> Any:
    return json_text(value) if isinstance(value, bool | list | dict) else value


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json_text(value)


def json_text(value: Any) -> str:
    """Return a value of a table as JSON."""
    return json.dumps(value, ensure_ascii=False, default=_json_value)


def _json_value(value: Any) -> str:
    return value.isoformat() if isinstance(value, date | time) else str(value)


_FORMATS: dict[str, Callable[[BinaryIO, ColumnTypes, OutputRows, dict[str, Any]], None]] = {
    ".parquet": _write_parquet,
    ".jsonl": _write_jsonl,
    ".csv": _write_csv,
}
