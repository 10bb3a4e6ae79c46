"""The input of `score`: rows of a file, a folder or a dataset of the hub, read several times, never held in memory."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
from tqdm import tqdm

from rb_core.benchmarks.files import read_rows
from rb_core.benchmarks.hub_rows import PREFIX, parse_address, stream_to_file
from rb_core.benchmarks.prompt_rows import PromptRow, read_prompt_row
from rb_core.benchmarks.row_location import RowProblems
from rb_core.errors import DataError, as_text
from rb_core.evaluation.prompt_windows import in_parts, own_columns

RowCheck = Callable[[PromptRow], None]  # raises DataError for a row that the output cannot be made of

_SURVEYED_ROWS = 512  # held in memory at a time


@dataclass(frozen=True)
class PromptInput:
    """Rows of a local file or folder. columns: for a field the column that holds it."""

    path: Path
    columns: Mapping[str, str] = field(default_factory=dict)

    def rows(self) -> Iterator[PromptRow]:
        """Yield the rows. Raises DataError for one that cannot be read."""
        for row, location in read_rows(self.path):
            yield read_prompt_row(row, location, self.columns)

    def survey(self, check: RowCheck | None = None, *, progress: bool = False) -> Survey:
        """Read everything once.

        Raises DataError that names the rows that cannot be read or that `check` refuses, or if there are none.
        """
        problems, survey = RowProblems(), Survey()
        rows = tqdm(read_rows(self.path), desc="check", unit="row", disable=not progress, leave=False)
        for part in in_parts(rows, _SURVEYED_ROWS):
            readable = []
            for row, location in part:
                with problems.collected(location):
                    read = read_prompt_row(row, location, self.columns)
                    readable.append((read, own_columns(read)))
                    if check is not None:
                        check(read)
            survey.add(readable)
        problems.raise_any()
        if not survey.rows:
            raise DataError(f"{as_text(self.path.name)}: has no rows")
        return survey


@dataclass
class Survey:
    """Counts, column types and the digest of an input.

    characters: of the rows as JSON, once for each of their completions; columns: type of the rows' own columns in a
    table, None for values of several types, which are written as JSON.
    """

    rows: int = 0
    completions: int = 0
    characters: int = 0
    columns: dict[str, pa.DataType | None] = field(default_factory=dict)
    _digest: Any = field(default_factory=hashlib.sha256)

    @property
    def sha256(self) -> str:
        """The SHA-256 of all rows."""
        return str(self._digest.hexdigest())

    def add(self, part: Iterable[tuple[PromptRow, dict[str, Any]]]) -> None:
        """Take rows with their own columns into account."""
        values: dict[str, list[Any]] = {}
        for read, own in part:
            text = json.dumps(read.row, default=str)
            self._digest.update(text.encode() + b"\n")
            self.rows += 1
            self.completions += len(read.completions)
            self.characters += len(text) * len(read.completions)
            for name, value in own.items():
                values.setdefault(name, []).append(value)
        for name, column in values.items():
            self.columns[name] = _common_type(self.columns.get(name, pa.null()), column)


def common_types(rows: Sequence[Mapping[str, Any]]) -> dict[str, pa.DataType | None]:
    """Return a type for each column of rows in a table, None for values of several types."""
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: _common_type(pa.null(), [row.get(name) for row in rows]) for name in names}


def _common_type(earlier: pa.DataType | None, values: list[Any]) -> pa.DataType | None:
    """Return a type that holds a column's values and those of an earlier type; None if no type holds both."""
    if earlier is None:
        return None
    try:
        schemas = [pa.schema([pa.field("column", kind)]) for kind in (earlier, pa.array(values).type)]
        kind = pa.unify_schemas(schemas, promote_options="permissive").field("column").type
    except (pa.ArrowException, OverflowError, ValueError, TypeError):
        return None
    return kind if _is_storable(kind) else None


def _is_storable(kind: pa.DataType) -> bool:
    """Return False for a type with an object without fields, which a parquet file cannot hold."""
    if pa.types.is_struct(kind) and not kind.num_fields:
        return False
    return all(_is_storable(kind.field(index).type) for index in range(kind.num_fields))


def open_input(
    address: str, columns: Mapping[str, str], split: str | None, revision: str | None, folder: Path
) -> PromptInput:
    """Return the input at a path or `hf://` address.

    A dataset of the hub is streamed once, into a file in `folder`, unless a killed run has left it there. Raises
    DataError when there is no such input.
    """
    if not address.startswith(PREFIX):
        if split is not None or revision is not None:
            raise DataError(f"--split and --data-revision are for a dataset of the hub; {address!r} is a path")
        return PromptInput(Path(address), columns)
    if split is not None:
        address = f"{address}:{split}"
    source = parse_address(address)
    settings = hashlib.sha256(json.dumps([address, revision]).encode()).hexdigest()[:16]
    path = folder / f"{source.repo.rpartition('/')[2]}-{settings}.parquet"
    if not path.exists():
        stream_to_file(source, revision, path)
    return PromptInput(path, columns)
