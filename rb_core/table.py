"""The score table, one row a completion: the border between the GPU and the statistics.

A run appends to a journal, one line a batch, and what a killed run has written stands. When every batch is there the
journal becomes one parquet file, whose metadata says how it came about, so that every published number can be derived
again from this file alone.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock, Timeout

from rb_core.errors import ScoreTableError

SCHEMA = pa.schema(
    [
        pa.field("example_id", pa.string(), nullable=False),
        pa.field("subset", pa.string(), nullable=False),
        pa.field("group", pa.string(), nullable=False),
        pa.field("completion", pa.int32(), nullable=False),
        pa.field("is_chosen", pa.bool_(), nullable=False),
        pa.field("score", pa.float32()),
        pa.field("num_tokens", pa.int32(), nullable=False),
        pa.field("truncated", pa.bool_(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
    ]
)
COLUMNS = SCHEMA.names
_METADATA = b"rewardbench"


class Score(NamedTuple):
    """What a scorer says of one completion: a float32 value, NaN when unscored, then with a reason.

    num_tokens: the length of what was scored (words and punctuation marks where no tokenizer is involved);
    truncated: prompt tokens were dropped to fit the maximum length.
    """

    value: float
    num_tokens: int
    truncated: bool = False
    reason: str = ""

    @classmethod
    def unscored(cls, reason: str, num_tokens: int = 0, truncated: bool = False) -> Score:
        return cls(math.nan, num_tokens, truncated, reason)


def write_atomically(path: Path, content: bytes) -> None:
    """Write a whole file or none: into a temporary file beside it, flushed to disk, then renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def write_scores(path: Path, frame: pd.DataFrame, metadata: dict[str, Any]) -> str:
    """Write the score table with its metadata; returns the file's SHA-256."""
    table = pa.Table.from_pandas(frame[COLUMNS], schema=SCHEMA, preserve_index=False)
    table = table.replace_schema_metadata({_METADATA: json.dumps(metadata, sort_keys=True).encode()})
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    write_atomically(path, buffer.getvalue())
    return hashlib.sha256(buffer.getvalue()).hexdigest()


def read_scores(path: Path) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The score table and its metadata.

    Raises ScoreTableError when the file is missing, is no parquet, lacks a column, or was not written by this package.
    """
    try:
        with path.open("rb") as file:  # one file: a folder would be read as a dataset
            table = pq.read_table(file)
        missing = [name for name in COLUMNS if name not in table.column_names]
    except FileNotFoundError:
        raise ScoreTableError(f"{path}: no such score file") from None
    except (pa.ArrowException, OSError, ValueError) as error:
        raise ScoreTableError(f"{path}: not a readable parquet file: {error}") from error
    if missing:
        raise ScoreTableError(f"{path}: not a score table: it lacks the columns {', '.join(missing)}")
    stored = (table.schema.metadata or {}).get(_METADATA)
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


class BatchScores(NamedTuple):
    """The scores of one batch of the plan, with the seconds it took."""

    batch: int
    scores: tuple[Score, ...]
    seconds: float


class Journal:
    """An append-only file beside the score file to be: a header that names the run, then one line a batch.

    `fingerprint` says what the scores depend on (data, model, settings, plan). A journal of another run is not
    continued and not destroyed: opening it raises ScoreTableError, unless `discard` allows it to be replaced. A second
    process on the same file is refused as well. A line that a kill cut short is dropped, and its batch scored again.
    """

    def __init__(self, scores_path: Path, fingerprint: dict[str, Any], *, discard: bool = False) -> None:
        self.path = scores_path.with_suffix(".journal")
        self.done: dict[int, BatchScores] = {}
        self._header = json.dumps(fingerprint, sort_keys=True)
        self._discard = discard
        self._lock = FileLock(self.path.with_suffix(".lock"), timeout=0)

    def __enter__(self) -> Journal:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire()
        except Timeout:
            raise ScoreTableError(f"{self.path}: another run is writing here; wait for it to end") from None
        try:
            self._open()
        except BaseException:
            self._lock.release()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._file.close()
        finally:
            self._lock.release()

    def append(self, entry: BatchScores) -> None:
        """Add one batch. It is in the operating system's hands when this returns, so that a kill cannot take it."""
        rows = [[None if math.isnan(s.value) else s.value, *s[1:]] for s in entry.scores]
        self._file.write(json.dumps([entry.batch, entry.seconds, rows]).encode() + b"\n")
        self._file.flush()
        self.done[entry.batch] = entry

    def remove(self) -> None:
        """Delete the journal, once its scores stand in the score file."""
        self.path.unlink(missing_ok=True)
        Path(self._lock.lock_file).unlink(missing_ok=True)

    def _open(self) -> None:
        content = self.path.read_bytes() if self.path.exists() else b""
        whole = content[: content.rfind(b"\n") + 1]
        try:
            self.done = self._read(whole)
        except ScoreTableError:
            if not self._discard:
                raise
            whole = b""
        if not whole:
            whole = self._header.encode() + b"\n"
            write_atomically(self.path, whole)
        self._file = self.path.open("r+b")
        self._file.truncate(len(whole))
        self._file.seek(len(whole))

    def _read(self, whole: bytes) -> dict[int, BatchScores]:
        """The batches in a journal's whole lines. Raises ScoreTableError for another run's, and for damage."""
        header, *lines = whole.splitlines() or [self._header.encode()]
        try:
            then, now = json.loads(header), json.loads(self._header)
            if not isinstance(then, dict):
                raise ValueError("the first line does not describe a run")
            entries = [_entry(line) for line in lines]
        except (ValueError, TypeError) as error:
            raise ScoreTableError(
                f"{self.path}: damaged ({error}); discard the unfinished run with --overwrite"
            ) from error
        if then != now:
            differ = ", ".join(sorted(key for key in then.keys() | now.keys() if then.get(key) != now.get(key)))
            raise ScoreTableError(
                f"{self.path}: an unfinished run with a different {differ} stands here; "
                "finish it with the same settings, or discard it with --overwrite"
            )
        return {entry.batch: entry for entry in entries}


def _entry(line: bytes) -> BatchScores:
    batch, seconds, rows = json.loads(line)
    if not isinstance(batch, int) or not all(isinstance(row[0], float | int | None) for row in rows):
        raise ValueError(f"batch {batch!r} has a score that is no number")
    return BatchScores(batch, tuple(Score(math.nan if v is None else v, *rest) for v, *rest in rows), seconds)
