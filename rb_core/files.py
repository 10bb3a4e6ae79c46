"""Write files atomically; read and write parquet tables with metadata; keep append-only journals."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import logging
import os
import re
import shutil
import tempfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from rb_core.errors import FileError, RewardBenchError, ScoreTableError, first_line

log = logging.getLogger(__name__)

# Keys of the package's own entries in a parquet file's metadata.
METADATA = b"rewardbench"
METADATA_CHECKSUM = b"rewardbench_crc32"


@contextmanager
def explaining_write_errors(path: Path) -> Iterator[None]:
    """Turn a full disk, a missing permission and the like inside the block into a FileError of one line."""
    try:
        yield
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise FileError(f"{path}: cannot be written: {reason}; make room, or choose another folder") from error


def check_writable(folder: Path, size: int) -> None:
    """Raise FileError unless a file of `size` bytes can be written in the folder, or where the folder will be made.

    The bytes are written and deleted again, up to 64 MiB; beyond that, only the free space is looked up.
    """
    with explaining_write_errors(folder):
        existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
        if shutil.disk_usage(existing).free < size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        with tempfile.TemporaryFile(dir=existing) as file:
            file.write(bytes(min(size, 2**26)))


@contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """Yield a temporary file beside the path; it takes the path's place, flushed to disk, when the block ends well.

    Raises FileError if the system refuses, for example because the disk is full.
    """
    with explaining_write_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).chmod(0o644)
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise


def remove_leftovers(path: Path) -> None:
    """Delete the temporary files of `atomic_file` that were left when a process was killed while it wrote the path."""
    name = re.compile(re.escape(f".{path.name}.") + "[a-z0-9_]{8}")
    for file in path.parent.iterdir():
        if name.fullmatch(file.name):
            file.unlink(missing_ok=True)


def write_atomically(path: Path, content: bytes) -> None:
    """Write a whole file or none. Raises FileError if the system refuses, for example because the disk is full."""
    with atomic_file(path) as file:
        file.write(content)


def checksum(content: bytes) -> bytes:
    """Return the CRC-32 in eight hexadecimal digits: content with one changed bit has another."""
    return b"%08x" % zlib.crc32(content)


# Parquet tables


def write_table(path: Path, table: pa.Table, metadata: dict[str, Any], split_bytes: Sequence[str] = ()) -> str:
    """Write a table as parquet, with checksums and metadata; returns the file's SHA-256.

    The same content gives the same bytes. Statistics and a second copy of the schema are left out: of many short
    columns they would be most of the file. split_bytes: columns of numbers with few repetitions, which take less space
    when the first bytes of all are stored together, then the second, and so on.
    """
    table = table.replace_schema_metadata(None)
    buffer = io.BytesIO()
    settings: dict[str, Any] = {"write_page_checksum": True, "write_statistics": False, "store_schema": False}
    if split_bytes:
        settings["use_dictionary"] = [name for name in table.column_names if name not in split_bytes]
        settings["column_encoding"] = dict.fromkeys(split_bytes, "BYTE_STREAM_SPLIT")
    with pq.ParquetWriter(buffer, table.schema, compression="zstd", **settings) as writer:
        writer.write_table(table)
        text = json.dumps(metadata, sort_keys=True).encode()
        writer.add_key_value_metadata({METADATA: text, METADATA_CHECKSUM: _table_checksum(table, text)})
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
    Raises `error` when the file is missing or not parquet, lacks a column or metadata, a column has another type, or a
    checksum differs. Files of earlier versions have no checksums.
    """
    try:
        with path.open("rb") as file:  # a path would also accept a folder, as a dataset of many files
            # On one thread: a process that ends right after a read with several is sometimes aborted.
            table = pq.read_table(file, use_threads=False, pre_buffer=False, page_checksum_verification=True)
        columns = table.column_names
    except FileNotFoundError:
        raise error(f"{path}: no such {kind}") from None
    except (pa.ArrowException, OSError, ValueError) as cause:
        raise error(f"{path}: not a {kind}: not a readable parquet file: {first_line(cause)}") from cause
    if schema is not None and (missing := [name for name in schema.names if name not in columns]):
        raise error(f"{path}: not a {kind}: it lacks the columns {', '.join(missing)}")
    try:
        text = (table.schema.metadata or {})[METADATA]
        if table.schema.metadata.get(METADATA_CHECKSUM, actual := _table_checksum(table, text)) != actual:
            raise ValueError("damaged, its checksum differs")
        metadata = json.loads(text)
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
        raise error(f"{path}: not a {kind}: a column has another type: {first_line(cause)}") from cause


def _table_checksum(table: pa.Table, metadata: bytes) -> bytes:
    """Return the checksum of metadata, number of rows and names of columns, which those of the pages do not cover."""
    return checksum(b"%d %s %s" % (table.num_rows, json.dumps(table.column_names).encode(), metadata))


# Journals: a line that describes the run, then a line per entry. A line is a checksum and JSON.


def journal_line(content: Any) -> bytes:
    """Return a journal's line: CRC-32 in eight hexadecimal digits, a space, and the content as JSON.

    The checksum of any line with one changed bit is another.
    """
    text = json.dumps(content).encode()
    return checksum(text) + b" " + text + b"\n"


def read_journal(path: Path, run: dict[str, Any]) -> list[Any]:
    """Return the entries of a run's journal; none without a journal.

    A line that a kill has cut, or that has changed on the disk, is left out: what it held has to be computed again.
    Raises ScoreTableError for the journal of a run with other settings, and for a first line that has changed.
    """
    lines = _whole_lines(path).splitlines()
    if not lines:
        return []
    earlier_run = _content(lines[0])
    if not isinstance(earlier_run, dict):
        raise ScoreTableError(
            f"{path}: its first line is damaged, or of another version; discard the unfinished run with --overwrite"
        )
    if differing := differing_keys(earlier_run, run):
        raise ScoreTableError(
            f"{path}: this unfinished run has a different {', '.join(differing)}; "
            "finish it with the same settings, or discard it with --overwrite"
        )
    entries = [content for line in lines[1:] if (content := _content(line)) is not None]
    if damaged := len(lines) - 1 - len(entries):
        log.warning("%s: lines with a wrong checksum: %d; what they held is computed again", path, damaged)
    return entries


def read_journal_run(path: Path) -> dict[str, Any] | None:
    """Return the description of the run in a journal's first line; None without a readable one."""
    run = _content(next(iter(_whole_lines(path).splitlines()), b""))
    return run if isinstance(run, dict) else None


def open_journal(path: Path, run: dict[str, Any]) -> BinaryIO:
    """Open a journal to append after its last whole line; a new one begins with the description of its run."""
    whole = _whole_lines(path)
    if not whole:
        whole = journal_line(run)
        write_atomically(path, whole)
    with explaining_write_errors(path):
        file = path.open("r+b", buffering=0)
        file.truncate(len(whole))
        file.seek(len(whole))
    return file


def append_entry(file: BinaryIO, path: Path, content: Any) -> None:
    """Append a line to a journal. It is in the operating system's hands when this returns: a kill cannot lose it."""
    line = journal_line(content)
    with explaining_write_errors(path):
        while line:
            line = line[file.write(line) :]


def close_journal(file: BinaryIO, path: Path) -> bool:
    """Close a journal and delete it if nothing was ever appended; returns whether it was deleted."""
    file.close()
    try:
        with path.open("rb") as written:
            run, entry = written.readline(), written.readline()
    except FileNotFoundError:  # another process removed it: its content is in the score file by now
        return False
    empty = run.endswith(b"\n") and not entry.endswith(b"\n")
    if empty:
        path.unlink(missing_ok=True)
    return empty


def differing_keys(left: dict[str, Any], right: dict[str, Any]) -> list[str]:
    return sorted(key for key in left.keys() | right.keys() if left.get(key) != right.get(key))


def _whole_lines(path: Path) -> bytes:
    """Return a journal's content up to its last whole line, which a kill may have cut; empty without a journal."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return b""
    return content[: content.rfind(b"\n") + 1]


def _content(line: bytes) -> Any:
    """Return the content of a journal's line; None if its checksum is another."""
    written, _, text = line.partition(b" ")
    return json.loads(text) if written == checksum(text) else None
