"""Atomic writes, and parquet tables with metadata."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rb_core.errors import DataError, FileError, ScoreTableError
from rb_core.files import METADATA, read_table, write_atomically, write_table

SCHEMA = pa.schema([pa.field("name", pa.string(), nullable=False), pa.field("count", pa.int32(), nullable=False)])
GOOD = {"name": ["a"], "count": [1]}


def write(path: Path, columns: dict[str, list[Any]], metadata: bytes | None = b'{"a": 1}') -> Path:
    table = pa.table(columns).replace_schema_metadata(None if metadata is None else {METADATA: metadata})
    pq.write_table(table, path)
    return path


def test_a_table_is_read_with_its_metadata(tmp_path: Path) -> None:
    """With a schema, only its columns in its types; without one, all columns as stored."""
    path = write(tmp_path / "t.parquet", {"extra": [0.5], **GOOD})
    table, metadata = read_table(path, "kind of file", SCHEMA)
    assert (table.schema.remove_metadata(), table.to_pylist(), metadata) == (
        SCHEMA,
        [{"name": "a", "count": 1}],
        {"a": 1},
    )
    table, _ = read_table(path, "kind of file")
    assert table.column_names == ["extra", "name", "count"]


def test_a_table_that_was_read_is_written_with_new_metadata(tmp_path: Path) -> None:
    """The same content gives the same bytes, whatever the table's schema carries."""
    digest = write_table(tmp_path / "a.parquet", pa.table(GOOD, SCHEMA), {"a": 1})
    table, _ = read_table(tmp_path / "a.parquet", "kind of file")
    write_table(tmp_path / "b.parquet", table, {"a": 2})
    table, metadata = read_table(tmp_path / "b.parquet", "kind of file", SCHEMA)
    assert metadata == {"a": 2}
    assert write_table(tmp_path / "c.parquet", table, {"a": 1}) == digest


BAD_TABLES = {
    "another column": (GOOD | {"name": [None]}, b"{}", "a column has another type"),
    "a type": (GOOD | {"count": ["many"]}, b"{}", "a column has another type"),
    "a fraction": (GOOD | {"count": [1.5]}, b"{}", "a column has another type"),
    "a missing column": ({"name": ["a"]}, b"{}", "it lacks the columns count"),
    "no metadata": (GOOD, None, "not written by this package"),
    "empty metadata": (GOOD, b"", "its metadata is not readable"),
    "metadata in another encoding": (GOOD, b"\xff\xfe", "its metadata is not readable"),
    "metadata of another shape": (GOOD, b"[1, 2]", "its metadata is not readable"),
}


@pytest.mark.parametrize(("columns", "metadata", "message"), BAD_TABLES.values(), ids=BAD_TABLES)
def test_another_table_is_refused(
    tmp_path: Path, columns: dict[str, list[Any]], metadata: bytes | None, message: str
) -> None:
    path = write(tmp_path / "t.parquet", columns, metadata)
    with pytest.raises(ScoreTableError, match=rf"t\.parquet: not a kind of file: .*{message}"):
        read_table(path, "kind of file", SCHEMA)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"hello, world", b"PAR1" + b"\0" * 100 + b"PAR1", None])
def test_what_is_not_parquet_is_refused(tmp_path: Path, content: bytes | None) -> None:
    """A folder (None) too, which is not read as a dataset of many files."""
    path = tmp_path / "bad.parquet"
    if content is None:
        path.mkdir()
        write(path / "one.parquet", GOOD)
    else:
        path.write_bytes(content)
    with pytest.raises(DataError, match=r"bad\.parquet: not a kind of file: not a readable parquet file"):
        read_table(path, "kind of file", error=DataError)


def test_a_missing_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.parquet: no such kind of file"):
        read_table(tmp_path / "none.parquet", "kind of file", error=DataError)


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    """The new content is there, readable by others, without a temporary file beside it."""
    path = tmp_path / "a" / "file.json"
    write_atomically(path, b"one")
    write_atomically(path, b"two")
    assert path.read_bytes() == b"two"
    assert [p.name for p in path.parent.iterdir()] == ["file.json"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


@pytest.mark.parametrize("step", ["fsync", "replace", "chmod"])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    path = tmp_path / "file.json"
    write_atomically(path, b"old")

    def fail(*args: Any, **kwargs: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(FileError, match=r"file\.json: cannot be written: disk full; make room"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["file.json"]


def test_a_failed_first_write_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        write_atomically(tmp_path / "file.json", "text")  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []
