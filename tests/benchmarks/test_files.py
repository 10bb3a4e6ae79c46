"""Preference files in JSONL, JSON, CSV and parquet."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from rb_core.benchmarks.load import load_benchmark
from rb_core.errors import DataError
from tests.benchmarks.preference_files import PAIR, write_jsonl


def test_every_file_format_gives_the_same_examples(tmp_path: Path) -> None:
    rows = [PAIR, PAIR | {"id": "2", "rejected": "", "prompt": 'Zwei, "Ünïcode"\nlines'}]
    frame = pd.DataFrame(rows)
    write_jsonl(tmp_path / "d.jsonl", rows)
    (tmp_path / "d.json").write_text(json.dumps(rows), encoding="utf-8")
    frame.to_csv(tmp_path / "d.csv", index=False)
    frame.to_parquet(tmp_path / "d.parquet")
    files = [tmp_path / f"d.{suffix}" for suffix in ("jsonl", "json", "csv", "parquet")]
    digests = {load_benchmark("rewardbench", data=path).sha256 for path in files}
    assert len(digests) == 1


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("bad.jsonl", b'{"id": 1', "bad.jsonl:1: not a line of JSON"),
        ("bad.jsonl", b'{"id": "\xff"}', "bad.jsonl:1: is not UTF-8"),
        ("bad.jsonl", b"[1, 2]", "bad.jsonl:1: expected an object"),
        ("bad.jsonl", b"null", "bad.jsonl:1: expected an object"),
        ("bad.jsonl", b"\n\n", "has no examples"),
        ("bad.json", b"{", "bad.json: cannot be read as JSON"),
        ("bad.json", b"{}", "bad.json: expected a JSON list of rows"),
        ("bad.parquet", b"PAR1nope", "bad.parquet: cannot be read as parquet"),
        ("bad.txt", b"x", "unknown file type"),
    ],
)
def test_a_broken_file_is_named(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        load_benchmark("rewardbench", data=tmp_path / name)
