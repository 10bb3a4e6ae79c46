"""The score table: what was written is read back, and what is damaged is never taken for scores."""

from __future__ import annotations

import hashlib
import math
import os
import stat
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rb_core.errors import ScoreTableError
from rb_core.files import write_atomically
from rb_core.results.score_table import COLUMNS, SCHEMA, Score, read_scores, write_scores


def frame_of(*rows: tuple[Any, ...]) -> pd.DataFrame:
    return pd.DataFrame(list(rows), columns=COLUMNS).astype({"score": "float32", "completion": "int32"})


SCORES = frame_of(
    ("a:1", "chat", "g1", 0, True, 1.25, 10, 4, False, ""),
    ("a:1", "chat", "g1", 1, False, math.nan, 900, 7, True, "too long"),
    ("ü:2", "", "g2", 0, True, -3.0e-7, 1, 0, True, ""),
)


def test_the_score_table_reads_back_as_written(tmp_path: Path) -> None:
    """All columns with their types, NaN as NaN, the metadata as they were; the hash is the file's."""
    path = tmp_path / "deep" / "scores.parquet"
    about = {"model": {"name": "ü/b"}, "run": {"seed": 3, "versions": {"python": "3"}}}
    digest = write_scores(path, SCORES, about)
    assert digest == hashlib.sha256(path.read_bytes()).hexdigest()
    frame, found = read_scores(path)
    assert found == about
    assert list(frame.columns) == COLUMNS
    assert frame["score"].dtype == "float32"
    assert frame["score"].isna().tolist() == [False, True, False]
    pd.testing.assert_frame_equal(frame, SCORES, check_dtype=False)


def test_writing_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    """The file depends on its content alone."""
    digests = {write_scores(tmp_path / name, SCORES, {"b": 1, "a": 2}) for name in ("one.parquet", "two.parquet")}
    assert len(digests) == 1


def test_an_unscored_completion_is_null_in_the_file(tmp_path: Path) -> None:
    """Readers other than this one see a missing value, not a NaN that a mean would spread."""
    write_scores(tmp_path / "s.parquet", SCORES, {})
    assert pq.read_table(tmp_path / "s.parquet")["score"].null_count == 1


def test_an_empty_table_reads_back(tmp_path: Path) -> None:
    """No rows is a table like any other."""
    write_scores(tmp_path / "s.parquet", SCORES.iloc[:0], {"a": 1})
    frame, about = read_scores(tmp_path / "s.parquet")
    assert (len(frame), list(frame.columns), about) == (0, COLUMNS, {"a": 1})


def test_extra_columns_are_not_written(tmp_path: Path) -> None:
    """Only the schema's columns go into the file."""
    write_scores(tmp_path / "s.parquet", SCORES.assign(secret=1), {})
    assert pq.read_table(tmp_path / "s.parquet").column_names == COLUMNS


def test_a_missing_score_file_is_named(tmp_path: Path) -> None:
    """The error has the path."""
    with pytest.raises(ScoreTableError, match=r"none\.parquet: no such"):
        read_scores(tmp_path / "none.parquet")


@pytest.mark.parametrize("content", [b"", b"PAR1", b"hello, world", b"PAR1" + b"\0" * 100 + b"PAR1"])
def test_what_is_no_parquet_is_an_error(tmp_path: Path, content: bytes) -> None:
    """Foreign and damaged bytes are refused with the file's name."""
    path = tmp_path / "bad.parquet"
    path.write_bytes(content)
    with pytest.raises(ScoreTableError, match=r"bad\.parquet"):
        read_scores(path)


def test_a_truncated_score_file_is_an_error(tmp_path: Path) -> None:
    """Half a file is no file."""
    path = tmp_path / "half.parquet"
    write_scores(path, SCORES, {})
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ScoreTableError, match=r"half\.parquet"):
        read_scores(path)


def test_damage_inside_a_score_file_is_an_error_or_changes_nothing(tmp_path: Path) -> None:
    """Flipped bytes anywhere end in an error of this package or in a table, never in another exception."""
    path = tmp_path / "flipped.parquet"
    write_scores(path, SCORES, {"model": "m"})
    content = path.read_bytes()
    for place in range(0, len(content), 37):
        path.write_bytes(content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :])
        try:
            read_scores(path)
        except ScoreTableError as error:
            assert "flipped.parquet" in str(error)  # noqa: PT017 - both ends are right


def test_a_foreign_parquet_is_an_error(tmp_path: Path) -> None:
    """A parquet with other columns names what it lacks; one without this package's metadata says so."""
    path = tmp_path / "foreign.parquet"
    pq.write_table(pa.table({"example_id": ["a"], "subset": ["s"]}), path)
    with pytest.raises(ScoreTableError, match=r"lacks the columns group, completion, is_chosen"):
        read_scores(path)
    SCORES.to_parquet(path)
    with pytest.raises(ScoreTableError, match="not written by this package"):
        read_scores(path)


@pytest.mark.parametrize("about", [b"", b"no json", b"\xff\xfe", b"[1, 2]", b"3"])
def test_metadata_that_is_no_object_is_an_error(tmp_path: Path, about: bytes) -> None:
    """A description of the run that cannot be read is refused with the file's name."""
    path = tmp_path / "foreign.parquet"
    table = pa.Table.from_pandas(SCORES[COLUMNS], schema=SCHEMA, preserve_index=False)
    pq.write_table(table.replace_schema_metadata({b"rewardbench": about}), path)
    with pytest.raises(ScoreTableError, match=r"foreign\.parquet"):
        read_scores(path)


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("score", ["high", "low", "low"]),
        ("num_tokens", [1.5, 2.0, 3.0]),
        ("is_chosen", ["yes", "no", "no"]),
        ("subset", [None, "a", "b"]),
    ],
)
def test_a_column_of_another_type_is_an_error(tmp_path: Path, column: str, values: list[Any]) -> None:
    """Values are not bent into the schema's types; a missing value where there must be one is refused."""
    path = tmp_path / "typed.parquet"
    table = pa.Table.from_pandas(SCORES.assign(**{column: values})[COLUMNS], preserve_index=False)
    pq.write_table(table.replace_schema_metadata({b"rewardbench": b"{}"}), path)
    with pytest.raises(ScoreTableError, match=r"typed\.parquet"):
        read_scores(path)


def test_a_folder_is_no_score_file(tmp_path: Path) -> None:
    """A path that is a folder is refused, not read as a dataset of many files."""
    write_scores(tmp_path / "folder.parquet" / "one.parquet", SCORES, {})
    with pytest.raises(ScoreTableError, match=r"folder\.parquet"):
        read_scores(tmp_path / "folder.parquet")


# ---- whole files or none


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    """The new content is there, readable by others, and no temporary file beside it."""
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
    """When writing fails the old content stands and the temporary file is gone."""
    path = tmp_path / "file.json"
    write_atomically(path, b"old")

    def full(*args: Any, **kwargs: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, step, full)
    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["file.json"]


def test_a_failed_first_write_leaves_no_file(tmp_path: Path) -> None:
    """Content that cannot be written leaves an empty folder."""
    with pytest.raises(TypeError):
        write_atomically(tmp_path / "file.json", "text")  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_unscored_is_nan_with_a_reason() -> None:
    """A failure is never a number."""
    score = Score.unscored("why", 5, True, 3)
    assert math.isnan(score.value)
    assert score[1:] == (5, True, "why", 3)
