"""Read rows from JSONL, JSON, CSV and parquet files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rb_core.benchmarks.rows import Row, RowLocation, describe_value
from rb_core.errors import DataError

_SUFFIXES = (".jsonl", ".json", ".csv", ".parquet")
# An empty cell in these columns of a CSV file is an empty completion; in any other column the field is missing.
_COMPLETION_COLUMNS = ("chosen", "rejected")


def read_rows(path: Path) -> Iterator[tuple[Row, RowLocation]]:
    """Yield (row, location) of a JSONL, JSON, CSV or parquet file, or of all such files in a folder.

    Raises DataError with file and line for a file or a row that cannot be read.
    """
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.suffix in _SUFFIXES)
        if not files:
            raise DataError(f"{path}: no {', '.join(_SUFFIXES)} file in this folder")
        for file in files:
            yield from read_rows(file)
        return
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    if path.suffix not in _SUFFIXES:
        raise DataError(f"{path}: unknown file type; expected one of {', '.join(_SUFFIXES)}")
    rows = _read_jsonl(path) if path.suffix == ".jsonl" else enumerate(_read_table(path), start=1)
    for line, row in rows:
        if not isinstance(row, dict):
            raise DataError(f"{path.name}:{line}: expected an object with fields, got {describe_value(row)}")
        yield row, RowLocation(path.name, line, path.stem)


def _read_jsonl(path: Path) -> Iterator[tuple[int, Any]]:
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                yield number, json.loads(line.decode("utf-8"))
            except (UnicodeDecodeError, json.JSONDecodeError) as error:
                raise DataError(f"{path.name}:{number}: not a line of JSON: {error}") from error


def _read_table(path: Path) -> list[Any]:
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        if path.suffix == ".parquet":
            return list(pq.read_table(path).to_pylist())
        if path.suffix == ".csv":
            rows = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8").to_dict("records")
            return [{k: v for k, v in row.items() if v != "" or k in _COMPLETION_COLUMNS} for row in rows]
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, pa.ArrowException, pd.errors.ParserError) as error:
        raise DataError(f"{path.name}: cannot be read as {path.suffix[1:]}: {error}") from error
    if not isinstance(content, list):
        raise DataError(f"{path.name}: expected a JSON list of rows, got {describe_value(content)}")
    return content
