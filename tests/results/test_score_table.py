"""The score table reads back as written, and a damaged one is never taken for scores."""

from __future__ import annotations

import hashlib
import math
import random
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rb_core.benchmarks.registry import BENCHMARKS
from rb_core.errors import ScoreTableError
from rb_core.results.score_table import (
    COLUMNS,
    Score,
    check_score_file,
    load_score_table,
    read_scores,
    write_scores,
)
from tests.paths import BUNDLED


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
    metadata = {"model": {"name": "ü/b"}, "run": {"seed": 3, "versions": {"python": "3"}}}
    digest = write_scores(path, SCORES, metadata)
    assert digest == hashlib.sha256(path.read_bytes()).hexdigest()
    frame, read_metadata = read_scores(path)
    assert read_metadata == metadata
    assert list(frame.columns) == COLUMNS
    assert pq.read_schema(path).field("score").type == pa.float32()
    assert frame["score"].isna().tolist() == [False, True, False]
    pd.testing.assert_frame_equal(frame, SCORES, check_dtype=False)


def test_a_score_between_two_float32_numbers_keeps_its_digits(tmp_path: Path) -> None:
    close = [1.0, 1.0 + 1e-9, math.nan]
    write_scores(tmp_path / "s.parquet", SCORES.assign(score=close), {})
    assert read_scores(tmp_path / "s.parquet")[0]["score"].tolist()[:2] == close[:2]


def test_writing_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    """The file depends on its content alone, and on the columns of the schema alone."""
    digests = {
        write_scores(tmp_path / "one.parquet", SCORES, {"b": 1, "a": 2}),
        write_scores(tmp_path / "two.parquet", SCORES.assign(secret=1), {"a": 2, "b": 1}),
    }
    assert len(digests) == 1


def test_an_unscored_completion_is_null_in_the_file(tmp_path: Path) -> None:
    """Other readers see a missing value, not a NaN that a mean would spread."""
    write_scores(tmp_path / "s.parquet", SCORES, {})
    assert pq.read_table(tmp_path / "s.parquet")["score"].null_count == 1


def test_an_empty_table_reads_back(tmp_path: Path) -> None:
    write_scores(tmp_path / "s.parquet", SCORES.iloc[:0], {"a": 1})
    frame, metadata = read_scores(tmp_path / "s.parquet")
    assert (len(frame), list(frame.columns), metadata) == (0, COLUMNS, {"a": 1})


def test_a_truncated_score_file_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "half.parquet"
    write_scores(path, SCORES, {})
    content = path.read_bytes()[:-200]
    path.write_bytes(content)
    with pytest.raises(ScoreTableError, match=r"half\.parquet: not a score file"):
        read_scores(path)
    with pytest.raises(ScoreTableError, match=r"half\.parquet: not a readable parquet file"):
        check_score_file(content, "half.parquet")


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


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("1", 1, False), ("1", 0, True)], "lacks a completion, or has one twice"),
        ([("1", 0, True), ("1", 0, True)], "lacks a completion, or has one twice"),
        ([("1", 0, False), ("1", 1, False)], "has no chosen completion"),
        ([("1", 0, True), ("1", 1, True)], "has no rejected completion"),
    ],
)
def test_incomplete_examples_are_refused(tmp_path: Path, rows: list[tuple[str, int, bool]], message: str) -> None:
    frame = frame_of(*(("1", "chat", "g", completion, chosen, 0.0, 1, 1, False, "") for _, completion, chosen in rows))
    write_scores(tmp_path / "s.parquet", frame, {"benchmark": {"id": "starter"}})
    with pytest.raises(ScoreTableError, match=rf"s\.parquet: example '1' {message}"):
        load_score_table(tmp_path / "s.parquet")


def test_a_subset_that_the_benchmark_lacks_is_refused(tmp_path: Path) -> None:
    frame = SCORES.iloc[:2].assign(subset=["chat-easy", "chat-easy"])
    write_scores(tmp_path / "s.parquet", frame, {"benchmark": {"id": "starter"}})
    assert load_score_table(tmp_path / "s.parquet").spec is BENCHMARKS["starter"]
    write_scores(tmp_path / "s.parquet", frame.assign(subset="chat"), {"benchmark": {"id": "starter"}})
    with pytest.raises(ScoreTableError, match=r"s\.parquet: starter has no subset chat"):
        load_score_table(tmp_path / "s.parquet")


def test_unscored_is_nan_with_a_reason() -> None:
    """A failure is never a number."""
    score = Score.unscored("why", 5, True, 3)
    assert math.isnan(score.value)
    assert score[1:] == (5, True, "why", 3)


@pytest.mark.parametrize("count", [40, pytest.param(1000, marks=pytest.mark.soak)])
def test_a_changed_bit_is_refused_or_changes_nothing(tmp_path: Path, count: int) -> None:
    """In pages and in the metadata; what the footer repeats may change without effect."""
    path, chance = tmp_path / "scores.parquet", random.Random(14)
    original = load_score_table(BUNDLED / "scores/starter/builtin/tiny-rm.parquet")
    write_scores(path, original.frame, original.metadata)
    whole, refused = path.read_bytes(), 0
    for bit in chance.sample(range(8 * len(whole)), count):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        try:
            table = load_score_table(path)
        except ScoreTableError as error:
            assert "\n" not in str(error)  # noqa: PT017 - both ends are right
            refused += 1
        else:
            pd.testing.assert_frame_equal(table.frame, original.frame, check_exact=True)
            assert table.metadata == original.metadata
    assert refused > count * 0.8
