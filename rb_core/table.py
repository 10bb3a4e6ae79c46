"""The score table, one row a completion: the border between the GPU and the statistics.

A run appends to a journal, one line a batch and one part a process, and what a killed run has written stands. When
every batch is there the journal becomes one parquet file, whose metadata says how it came about, so that every
published number can be derived again from this file alone.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import math
import os
import re
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, NamedTuple

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock, Timeout

from rb_core.errors import ScoreTableError
from rb_core.processes import ALONE, Processes

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
METADATA = b"rewardbench"


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
    return write_table(path, frame, SCHEMA, metadata)


def write_table(path: Path, frame: pd.DataFrame, schema: pa.Schema, metadata: dict[str, Any]) -> str:
    """Write the schema's columns of a frame as parquet, with metadata; returns the file's SHA-256."""
    table = pa.Table.from_pandas(frame[schema.names], schema=schema, preserve_index=False)
    table = table.replace_schema_metadata({METADATA: json.dumps(metadata, sort_keys=True).encode()})
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


class BatchScores(NamedTuple):
    """The scores of one batch of the plan, with the seconds it took."""

    batch: int
    scores: tuple[Score, ...]
    seconds: float


class Journal:
    """Append-only files beside the score file to be, one for each process: a header that names the run, then one line a
    batch.

    `fingerprint` says what the scores depend on (data, model, settings, plan). A journal of another run is not
    continued and not destroyed: opening it raises ScoreTableError, unless `discard` allows it to be replaced. A second
    run on the same file is refused as well. A line that a kill cut short is dropped, and its batch scored again. Closed
    without a single batch it leaves no file.

    The parts are `model.journal`, `model.journal-1` and so on. Whatever number of processes wrote them, every process
    finds in `done` what lies in any part on any of the machines. All processes open, collect and remove together.
    """

    def __init__(
        self, scores_path: Path, fingerprint: dict[str, Any], *, discard: bool = False, here: Processes = ALONE
    ) -> None:
        number = f"-{here.index}" if here.index else ""
        self.path = scores_path.with_suffix(f".journal{number}")
        self.done: dict[int, BatchScores] = {}
        self._scores_path = scores_path
        self._header = json.dumps(fingerprint, sort_keys=True)
        self._discard = discard
        self._here = here
        self._mine: dict[int, BatchScores] = {}
        self._taken: dict[int, float] = {}
        self._lock = FileLock(scores_path.with_suffix(f".lock{number}"), timeout=0)

    def __enter__(self) -> Journal:
        try:
            with self._here.together():
                self._acquire()
            self._check_same_run()
            with self._here.together():  # one reads for its machine; a file system that machines share is read twice
                found = self._read_parts() if self._here.is_local_main else {}
            self._merge(found)
            with self._here.together():
                self._open()
        except BaseException:
            self._lock.release()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if close_journal(self._file, self.path):
                Path(self._lock.lock_file).unlink(missing_ok=True)
        finally:
            self._lock.release()

    def append(self, entry: BatchScores) -> None:
        """Add one batch. It is in the operating system's hands when this returns, so that a kill cannot take it."""
        entry = entry._replace(seconds=round(entry.seconds + self._taken.pop(entry.batch, 0.0), 6))
        rows = [[None if math.isnan(s.value) else s.value, *s[1:]] for s in entry.scores]
        self._file.write(json.dumps([entry.batch, entry.seconds, rows]).encode() + b"\n")
        self._file.flush()
        self.done[entry.batch] = self._mine[entry.batch] = entry

    def forget(self) -> None:
        """Score all batches anew. The time that they have taken counts still."""
        self._taken = {index: entry.seconds for index, entry in self.done.items()}
        self.done = {}

    def collect(self) -> None:
        """Put into every process's `done` what the others have appended. Waits for all."""
        self._merge(self._mine)

    def remove(self) -> None:
        """Delete all parts, once their scores stand in the score file."""
        if self._here.is_local_main:
            for path in [*_numbered(self._scores_path, "journal"), *_numbered(self._scores_path, "lock")]:
                path.unlink(missing_ok=True)

    def _acquire(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire()
        except Timeout:
            raise ScoreTableError(f"{self.path}: another run is writing here; wait for it to end") from None

    def _check_same_run(self) -> None:
        """Raises ScoreTableError unless every process is about to score the same plan with the same model."""
        first, *others = map(json.loads, self._here.gather(self._header))
        if differ := sorted({key for other in others for key in _differing(first, other)}):
            raise ScoreTableError(
                f"{self.path}: the processes do not agree on the run: they have a different {', '.join(differ)}; "
                "every machine needs the same data, model and versions"
            )

    def _merge(self, entries: dict[int, BatchScores]) -> None:
        for part in self._here.gather(entries):
            self.done |= part

    def _read_parts(self) -> dict[int, BatchScores]:
        """The batches in the parts on this machine."""
        done: dict[int, BatchScores] = {}
        for path in _numbered(self._scores_path, "journal"):
            try:
                done |= self._read(path)
            except ScoreTableError:
                if not self._discard:
                    raise
                path.unlink(missing_ok=True)
        return done

    def _open(self) -> None:
        """Open this process's own part."""
        self._file = open_journal(self.path, self._header)

    def _read(self, path: Path) -> dict[int, BatchScores]:
        """The batches in a part's whole lines. Raises ScoreTableError for another run's, and for damage."""
        header, *lines = whole_lines(path).splitlines() or [self._header.encode()]
        try:
            then, now = json.loads(header), json.loads(self._header)
            if not isinstance(then, dict):
                raise ValueError("the first line does not describe a run")
            entries = [_entry(line) for line in lines]
        except (ValueError, TypeError) as error:
            raise ScoreTableError(f"{path}: damaged ({error}); discard the unfinished run with --overwrite") from error
        check_same_run(path, then, now)
        return {entry.batch: entry for entry in entries}


def unfinished_runs(scores_path: Path) -> list[dict[str, Any]]:
    """The fingerprints of the journal parts on this machine that an unfinished run left; none where unreadable."""
    found = []
    for path in _numbered(scores_path, "journal"):
        with contextlib.suppress(ValueError):
            found += [json.loads(line) for line in whole_lines(path).splitlines()[:1]]
    return [header for header in found if isinstance(header, dict)]


def _numbered(scores_path: Path, kind: str) -> list[Path]:
    """The files of that kind which the processes have beside a score file, in the order of their numbers."""
    name = re.compile(re.escape(scores_path.with_suffix(f".{kind}").name) + r"(?:-(\d+))?")
    found = [(match, path) for path in scores_path.parent.glob("*") if (match := name.fullmatch(path.name))]
    return [path for _, path in sorted(found, key=lambda pair: int(pair[0][1] or 0))]


def whole_lines(path: Path) -> bytes:
    """A journal's content up to where a kill may have cut it short; empty where there is none."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return b""
    return content[: content.rfind(b"\n") + 1]


def open_journal(path: Path, header: str) -> BinaryIO:
    """Open a journal to append to it, after its last whole line; a new one begins with the header."""
    whole = whole_lines(path)
    if not whole:
        whole = header.encode() + b"\n"
        write_atomically(path, whole)
    file = path.open("r+b")
    file.truncate(len(whole))
    file.seek(len(whole))
    return file


def close_journal(file: BinaryIO, path: Path) -> bool:
    """Close a journal, and delete it where nothing was ever appended; whether it did."""
    file.close()
    if not path.exists():  # what it held stands elsewhere by now
        return False
    with path.open("rb") as written:
        header, entry = written.readline(), written.readline()
    empty = header.endswith(b"\n") and not entry.endswith(b"\n")
    if empty:
        path.unlink()
    return empty


def check_same_run(path: Path, then: dict[str, Any], now: dict[str, Any]) -> None:
    """Raises ScoreTableError unless the run that left a journal was like this one."""
    if differ := _differing(then, now):
        raise ScoreTableError(
            f"{path}: an unfinished run with a different {', '.join(differ)} stands here; "
            "finish it with the same settings, or discard it with --overwrite"
        )


def _differing(left: dict[str, Any], right: dict[str, Any]) -> list[str]:
    return sorted(key for key in left.keys() | right.keys() if left.get(key) != right.get(key))


def _entry(line: bytes) -> BatchScores:
    batch, seconds, rows = json.loads(line)
    if not isinstance(batch, int) or not all(isinstance(row[0], float | int | None) for row in rows):
        raise ValueError(f"batch {batch!r} has a score that is no number")
    return BatchScores(batch, tuple(Score(math.nan if v is None else v, *rest) for v, *rest in rows), seconds)
