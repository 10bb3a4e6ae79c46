"""Preference files in JSONL, JSON, CSV and parquet."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rb_core.benchmarks import files
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


@pytest.mark.parametrize("name", ["d.jsonl", "d.json", "d.csv"])
def test_a_file_in_memory_gives_the_rows_and_places_of_one_on_disk(name: str, tmp_path: Path) -> None:
    rows = [{"prompt": "a,\n" * 3, "answer": "b"}, {"prompt": "c", "answer": ""}]
    path = tmp_path / name
    pd.DataFrame(rows).to_csv(path, index=False) if name == "d.csv" else write_jsonl(path, rows)
    read = list(files.read_rows(path))
    assert [row for row, _ in read] == rows
    assert list(files.text_rows(path.read_bytes(), name)) == read


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("bad.jsonl", b'{"id": 1', "bad.jsonl:1: not a line of JSON"),
        ("bad.jsonl", b'{"id": "\xff"}', "bad.jsonl:1: is not UTF-8 (byte 0xff); perhaps ISO-8859-1"),
        ("bad.jsonl", "{}\n".encode("utf-16"), "bad.jsonl: is encoded as UTF-16; save it as UTF-8"),
        ("bad.csv", "prompt\n".encode("utf-16-le"), "bad.csv: is encoded as UTF-16 or UTF-32"),
        ("bad.json", "[]".encode("utf-32"), "bad.json: is encoded as UTF-32"),
        ("bad.jsonl", b"[1, 2]", "bad.jsonl:1: expected an object"),
        ("bad.jsonl", b"null", "bad.jsonl:1: expected an object"),
        ("bad.jsonl", b"\n\n", "has no examples"),
        ("bad.jsonl", b"", "has no examples"),
        ("bad.jsonl", b'{"id": ' + b"9" * 6000 + b"}", "bad.jsonl:1: not a line of JSON: a number has more than 4,300"),
        (
            "bad.jsonl",
            b'{"id": ' + b"[" * 9000 + b"]" * 9000 + b"}",
            "bad.jsonl:1: not a line of JSON: nested too deeply",
        ),
        ("bad.jsonl", b'{"id": ' + b"[" * 600 + b"]" * 600 + b"}", "bad.jsonl:1: field 'id': is nested too deeply"),
        (
            "bad.jsonl",
            b'{"id": "a\\ud800"}',
            r"bad.jsonl:1: field 'id': has half a character (\ud800: a lone surrogate)",
        ),
        ("bad.json", b"{", "bad.json: cannot be read as JSON"),
        ("bad.json", b"{}", "bad.json: expected a JSON list of rows"),
        ("bad.json", b"[" * 9000, "bad.json: cannot be read as JSON: nested too deeply"),
        ("bad.csv", b"id,id\n1,2\n", "bad.csv:1: the column 'id' is repeated"),
        ("bad.csv", b'id,subset\n"a\nb",x\n1\n', "bad.csv:4: the row that ends in line 4 has not 2 cells"),
        ("bad.csv", b'id,subset\n1,"x', "bad.csv:2: cannot be read as CSV: unexpected end of data"),
        ("bad.parquet", b"PAR1nope", "bad.parquet: cannot be read as parquet"),
        ("bad.jsonl.gz", b"nope", "bad.jsonl.gz: cannot be read, or is damaged"),
        ("bad.jsonl.gz", gzip.compress(b"{}" * 99, mtime=0)[:-9], "bad.jsonl.gz: cannot be read, or is damaged"),
        ("bad.jsonl.xz", b"nope", "bad.jsonl.xz: cannot be read, or is damaged"),
        ("bad.txt", b"x", "bad.txt: unknown file type; expected one of .jsonl, "),
    ],
)
def test_a_broken_file_is_named(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError) as error:
        load_benchmark("rewardbench", data=tmp_path / name)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


# ---- folders


def test_shards_of_a_split_are_one_subset_with_ids_of_their_own(tmp_path: Path) -> None:
    """A snapshot of a dataset on the hub: a card, metadata and parquet files, some in hidden folders."""
    for folder in ("data", ".cache"):
        (tmp_path / folder).mkdir()
    for number in range(2):
        rows = [{"prompt": f"Q{number}{i}", "chosen": "good", "rejected": "bad"} for i in range(2)]
        pd.DataFrame(rows).to_parquet(tmp_path / f"data/train-0000{number}-of-00002.parquet")
    write_jsonl(tmp_path / ".cache/x.jsonl", [{"broken": 1}])
    (tmp_path / "dataset_infos.json").write_text("{}", encoding="utf-8")
    (tmp_path / "README.md").write_text("# Card", encoding="utf-8")
    examples = load_benchmark(str(tmp_path)).examples
    assert [(example.id, example.subset) for example in examples] == [(f"train/{n}", "train") for n in range(1, 5)]


@pytest.mark.parametrize("suffix", ["", "-0a1b2c3d4e5f6071"])
def test_missing_shards_are_refused(tmp_path: Path, suffix: str) -> None:
    row = {"prompt": "Q", "chosen": "good", "rejected": "bad"}
    first = write_jsonl(tmp_path / f"train-00000-of-00002{suffix}.jsonl", [row])
    with pytest.raises(DataError, match="train: 1 of 2 shards are in the folder"):
        load_benchmark(str(tmp_path))
    assert load_benchmark(str(first)).sizes == {"train": 1}
    write_jsonl(tmp_path / f"train-00001-of-00002{suffix}.jsonl", [row])
    assert load_benchmark(str(tmp_path)).sizes == {"train": 2}


def test_files_of_one_name_in_several_folders_are_several_subsets(tmp_path: Path) -> None:
    for folder in ("chat", "code/easy"):
        (tmp_path / folder).mkdir(parents=True)
        write_jsonl(tmp_path / folder / "test.jsonl", [{"prompt": "Q", "chosen": folder, "rejected": "bad"}])
    examples = load_benchmark(str(tmp_path)).examples
    assert [(example.id, example.subset) for example in examples] == [
        ("chat/test/1", "chat/test"),
        ("code/easy/test/1", "code/easy/test"),
    ]
    write_jsonl(tmp_path / "code/easy/test.jsonl", [{"prompt": "Q"}])
    with pytest.raises(DataError, match=r"^code/easy/test\.jsonl:1: "):
        load_benchmark(str(tmp_path))


def test_a_repeated_id_names_both_places(tmp_path: Path) -> None:
    for name in "ab":
        write_jsonl(tmp_path / f"{name}.jsonl", [PAIR])
    with pytest.raises(
        DataError, match=r"^b\.jsonl:1: field 'id': the id '1' is repeated, first at a\.jsonl:1; ids must"
    ):
        load_benchmark(str(tmp_path))


def test_saved_datasets_are_read_with_their_splits_as_subsets(tmp_path: Path) -> None:
    from datasets import Dataset, DatasetDict

    split = Dataset.from_list([{"prompt": "Q", "chosen": [{"role": "assistant", "content": "a"}], "rejected": "b"[:0]}])
    split.save_to_disk(str(tmp_path / "one"))
    DatasetDict({"train": split, "test": split}).save_to_disk(str(tmp_path / "two"))
    assert [example.id for example in load_benchmark(str(tmp_path / "one")).examples] == ["one/1"]
    examples = load_benchmark(str(tmp_path / "two")).examples
    assert [(example.subset, example.completions) for example in examples] == [
        (name, ("a", "")) for name in ("train", "test")
    ]
    (tmp_path / "one/state.json").write_text("{}", encoding="utf-8")
    with pytest.raises(DataError, match="one: cannot be read as a saved dataset"):
        load_benchmark(str(tmp_path / "one"))


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jsonl")
    with pytest.raises(DataError, match=r"pipe\.jsonl: is not a regular file"):
        load_benchmark(str(tmp_path / "pipe.jsonl"))
    with pytest.raises(DataError, match="no preference file in this folder; expected one of"):
        load_benchmark(str(tmp_path))


# ---- sizes


def test_a_small_parquet_file_that_expands_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """60,000 times the same megabyte, as values and in one list: 60 GB in a few kilobytes."""
    monkeypatch.setattr(files, "MAX_EXPANDED_BYTES", 2**24)
    count = 60_000
    same = pa.DictionaryArray.from_arrays(pa.array([0] * count, pa.int32()), pa.array(["x" * 1_000_000]))
    flat = pa.table({"prompt": ["q"] * count, "chosen": same, "rejected": ["b"] * count})
    nested = pa.table(
        {"prompt": ["q"], "chosen": pa.ListArray.from_arrays(pa.array([0, count], pa.int32()), same), "rejected": ["b"]}
    )
    for table in (flat, nested):
        path = tmp_path / "bomb.parquet"
        pq.write_table(table, path, compression="zstd")
        assert path.stat().st_size < 10_000
        with pytest.raises(DataError, match=r"bomb\.parquet: expands to [\d,]+ bytes at row \d+, which is too much"):
            load_benchmark(str(path))


def test_long_lines_many_rows_and_compressed_bombs_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_jsonl(tmp_path / "d.jsonl", [PAIR | {"chosen": "x" * 5000}])
    packed = tmp_path / "d.jsonl.gz"
    packed.write_bytes(gzip.compress(b"\n" * 100_000 + path.read_bytes(), mtime=0))
    monkeypatch.setattr(files, "MAX_EXPANDED_BYTES", 1000)
    with pytest.raises(DataError, match=r"d\.jsonl\.gz: expands to more than [\d,]+ bytes; decompress it first"):
        load_benchmark(str(packed))
    monkeypatch.setattr(files, "MAX_ROW_BYTES", 4000)
    with pytest.raises(DataError, match=r"d\.jsonl:1: the line is longer than 4,000 bytes"):
        load_benchmark(str(path))
    monkeypatch.setattr(files, "MAX_ROWS", 3)
    with pytest.raises(DataError, match=r"many\.jsonl: more than 3 rows"):
        load_benchmark(str(write_jsonl(tmp_path / "many.jsonl", [PAIR] * 5)))


def test_whole_numbers_are_names_and_nan_is_missing(tmp_path: Path) -> None:
    rows = [
        {"id": 1.0, "subset": 3, "group": 2.0},
        {"id": 2, "subset": float("nan"), "group": float("nan")},
        {"id": float("nan"), "subset": "a", "group": float("nan")},
    ]
    pairs = [row | {"prompt": f"Q{i}", "chosen": "a", "rejected": "b"} for i, row in enumerate(rows)]
    examples = load_benchmark(str(write_jsonl(tmp_path / "d.jsonl", pairs))).examples
    assert [(example.id, example.subset) for example in examples] == [("1", "3"), ("2", "d"), ("d/3", "a")]
    assert examples[0].group == "2"
    assert len({example.group for example in examples}) == 3
