"""Write files atomically: whole or not at all; tables and append-only journals."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tempfile
from pathlib import Path
from typing import Any, BinaryIO

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from rb_core.errors import ScoreTableError

METADATA = b"rewardbench"


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


def write_table(path: Path, frame: pd.DataFrame, schema: pa.Schema, metadata: dict[str, Any]) -> str:
    """Write the schema's columns of a frame as parquet, with metadata; returns the file's SHA-256."""
    table = pa.Table.from_pandas(frame[schema.names], schema=schema, preserve_index=False)
    table = table.replace_schema_metadata({METADATA: json.dumps(metadata, sort_keys=True).encode()})
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    write_atomically(path, buffer.getvalue())
    return hashlib.sha256(buffer.getvalue()).hexdigest()


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
    try:
        with path.open("rb") as written:
            header, entry = written.readline(), written.readline()
    except FileNotFoundError:  # another process removed it: its content stands in the score file by now
        return False
    empty = header.endswith(b"\n") and not entry.endswith(b"\n")
    if empty:
        path.unlink()
    return empty


def check_same_run(path: Path, then: dict[str, Any], now: dict[str, Any]) -> None:
    """Raises ScoreTableError unless the run that left a journal was like this one."""
    if differ := differing_keys(then, now):
        raise ScoreTableError(
            f"{path}: an unfinished run with a different {', '.join(differ)} stands here; "
            "finish it with the same settings, or discard it with --overwrite"
        )


def differing_keys(left: dict[str, Any], right: dict[str, Any]) -> list[str]:
    return sorted(key for key in left.keys() | right.keys() if left.get(key) != right.get(key))
