"""The score table, one row a completion: the border between the GPU and the statistics.

A run appends to a journal, one line a batch and one part a process, and what a killed run has written stands. When
every batch is there the journal becomes one parquet file, whose metadata says how it came about, so that every
published number can be derived again from this file alone.
"""

from __future__ import annotations

import io
import json
import math
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from rb_core.errors import ScoreTableError
from rb_core.files import METADATA, write_table

SCHEMA = pa.schema(
    [
        pa.field("example_id", pa.string(), nullable=False),
        pa.field("subset", pa.string(), nullable=False),
        pa.field("group", pa.string(), nullable=False),
        pa.field("completion", pa.int32(), nullable=False),
        pa.field("is_chosen", pa.bool_(), nullable=False),
        pa.field("score", pa.float32()),
        pa.field("num_tokens", pa.int32(), nullable=False),
        pa.field("num_completion_tokens", pa.int32(), nullable=False),
        pa.field("truncated", pa.bool_(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
    ]
)


COLUMNS = SCHEMA.names


MAX_ROWS = 20_000_000


class Score(NamedTuple):
    """What a scorer says of one completion: a float32 value, NaN when unscored, then with a reason.

    num_tokens: the length of what was scored (words and punctuation marks where no tokenizer is involved);
    truncated: prompt tokens were dropped to fit the maximum length; num_completion_tokens: tokens of the completion,
    the template's closing tokens included, for length-normalised variants.
    """

    value: float
    num_tokens: int
    truncated: bool = False
    reason: str = ""
    num_completion_tokens: int = 0

    @classmethod
    def unscored(
        cls, reason: str, num_tokens: int = 0, truncated: bool = False, num_completion_tokens: int = 0
    ) -> Score:
        return cls(math.nan, num_tokens, truncated, reason, num_completion_tokens)


def write_scores(path: Path, frame: pd.DataFrame, metadata: dict[str, Any]) -> str:
    """Write the score table with its metadata; returns the file's SHA-256."""
    return write_table(path, frame, SCHEMA, metadata)


def read_scores(path: Path) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The score table and its metadata.

    Raises ScoreTableError when the file is missing, is no parquet, lacks a column, or was not written by this package.
    """
    try:
        with path.open("rb") as file:  # one file: a folder would be read as a dataset
            # On one thread: a process that ends right after a read with several is sometimes aborted.
            table = pq.read_table(file, use_threads=False, pre_buffer=False)
        missing = [name for name in COLUMNS if name not in table.column_names]
    except FileNotFoundError:
        raise ScoreTableError(f"{path}: no such score file") from None
    except (pa.ArrowException, OSError, ValueError) as error:
        raise ScoreTableError(f"{path}: not a readable parquet file: {error}") from error
    if missing:
        raise ScoreTableError(f"{path}: not a score table: it lacks the columns {', '.join(missing)}")
    stored = (table.schema.metadata or {}).get(METADATA)
    if stored is None:
        raise ScoreTableError(f"{path}: says nothing of its benchmark and model; it was not written by this package")
    try:
        table = table.select(COLUMNS).cast(SCHEMA)
    except (pa.ArrowException, ValueError) as error:
        raise ScoreTableError(f"{path}: a column is not of its type: {error}") from error
    try:
        about = json.loads(stored)
    except ValueError as error:
        raise ScoreTableError(f"{path}: its description of the run is not readable: {error}") from error
    if not isinstance(about, dict):
        raise ScoreTableError(f"{path}: its description of the run is not an object")
    return table.to_pandas(), about


def check_score_file(content: bytes, name: str) -> None:
    """Check, without decoding its rows, that a score file's content is one. Raises ScoreTableError, naming it."""
    try:
        about = pq.read_metadata(io.BytesIO(content))
        schema = about.schema.to_arrow_schema()
    except (pa.ArrowException, OSError, ValueError) as error:
        raise ScoreTableError(f"{name}: not a readable parquet file: {error}") from error
    if missing := [column for column in COLUMNS if column not in schema.names]:
        raise ScoreTableError(f"{name}: not a score table: it lacks the columns {', '.join(missing)}")
    if about.num_rows > MAX_ROWS:
        raise ScoreTableError(f"{name}: {about.num_rows} rows; no benchmark has more than {MAX_ROWS} completions")
