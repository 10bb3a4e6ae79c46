"""Write files atomically; read and write parquet tables with metadata; keep append-only journals."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from rb_core.errors import RewardBenchError, ScoreTableError

METADATA = b"rewardbench"  # key of the package's own entry in a parquet file's metadata


def write_atomically(path: Path, content: bytes) -> None:
    """Write a whole file or none: to a temporary file beside it, flushed to disk, then renamed."""
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


# Parquet tables


def write_table(path: Path, frame: pd.DataFrame, schema: pa.Schema, metadata: dict[str, Any]) -> str:
    """Write the schema's columns of a frame as parquet, with metadata; returns the file's SHA-256."""
    table = pa.Table.from_pandas(frame[schema.names], schema=schema, preserve_index=False)
    table = table.replace_schema_metadata({METADATA: json.dumps(metadata, sort_keys=True).encode()})
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    write_atomically(path, buffer.getvalue())
    return hashlib.sha256(buffer.getvalue()).hexdigest()


def read_table(
    path: Path,
    kind: str,
    schema: pa.Schema | None = None,
    *,
    optional: Iterable[pa.Field] = (),
    error: type[RewardBenchError] = ScoreTableError,
) -> tuple[pa.Table, dict[str, Any]]:
    """Read a parquet table that this package wrote, and its metadata.

    kind: the kind of file, for messages; schema: columns to return, cast to their types, instead of all as stored;
    optional: columns to return with them if the file has them.
    Raises `error` when the file is missing or not parquet, lacks a column or metadata, or a column has another type.
    """
    try:
        with path.open("rb") as file:  # a path would also accept a folder, as a dataset of many files
            # On one thread: a process that ends right after a read with several is sometimes aborted.
            table = pq.read_table(file, use_threads=False, pre_buffer=False)
        columns = table.column_names
    except FileNotFoundError:
        raise error(f"{path}: no such {kind}") from None
    except (pa.ArrowException, OSError, ValueError) as cause:
        raise error(f"{path}: not a {kind}: not a readable parquet file: {cause}") from cause
    if schema is not None and (missing := [name for name in schema.names if name not in columns]):
        raise error(f"{path}: not a {kind}: it lacks the columns {', '.join(missing)}")
    try:
        metadata = json.loads((table.schema.metadata or {})[METADATA])
        if not isinstance(metadata, dict):
            raise ValueError("not a JSON object")
    except KeyError:
        raise error(f"{path}: not a {kind}: it has no metadata, it was not written by this package") from None
    except ValueError as cause:
        raise error(f"{path}: not a {kind}: its metadata is not readable: {cause}") from cause
    if schema is None:
        return table, metadata
    schema = pa.schema([*schema, *(field for field in optional if field.name in columns)])
    try:
        return table.select(schema.names).cast(schema), metadata
    except (pa.ArrowException, ValueError) as cause:
        raise error(f"{path}: not a {kind}: a column has another type: {cause}") from cause


# Journals: a header line, then a line per entry


def whole_lines(path: Path) -> bytes:
    """Return a journal's content up to its last whole line, which a kill may have cut; empty without a journal."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return b""
    return content[: content.rfind(b"\n") + 1]


def open_journal(path: Path, header: str) -> BinaryIO:
    """Open a journal to append after its last whole line; a new one begins with the header."""
    whole = whole_lines(path)
    if not whole:
        whole = header.encode() + b"\n"
        write_atomically(path, whole)
    file = path.open("r+b")
    file.truncate(len(whole))
    file.seek(len(whole))
    return file


def close_journal(file: BinaryIO, path: Path) -> bool:
    """Close a journal and delete it if nothing was ever appended; returns whether it was deleted."""
    file.close()
    try:
        with path.open("rb") as written:
            header, entry = written.readline(), written.readline()
    except FileNotFoundError:  # another process removed it: its content is in the score file by now
        return False
    empty = header.endswith(b"\n") and not entry.endswith(b"\n")
    if empty:
        path.unlink(missing_ok=True)
    return empty


def check_same_run(path: Path, journal_run: dict[str, Any], run: dict[str, Any]) -> None:
    """Raise ScoreTableError unless a journal's run had the same settings as this one."""
    if differing := differing_keys(journal_run, run):
        raise ScoreTableError(
            f"{path}: this unfinished run has a different {', '.join(differing)}; "
            "finish it with the same settings, or discard it with --overwrite"
        )


def differing_keys(left: dict[str, Any], right: dict[str, Any]) -> list[str]:
    return sorted(key for key in left.keys() | right.keys() if left.get(key) != right.get(key))
