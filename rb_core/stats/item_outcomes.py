"""What a model earned example by example: from a score table, or as published without scores.

Published outcomes of a benchmark lie in one parquet file, `items/<benchmark>.parquet`, with a row an example and a
column a model: true, false, or missing where unscored (numbers where an outcome can be a share).
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from rb_core.benchmarks.custom import spec_from_json
from rb_core.benchmarks.registry import BENCHMARKS
from rb_core.benchmarks.spec import BenchmarkSpec
from rb_core.errors import DataError, ScoreTableError
from rb_core.files import write_atomically
from rb_core.results.score_table import read_scores
from rb_core.stats.intervals import Floats
from rb_core.stats.metrics import outcomes

Strings = np.ndarray[tuple[int, ...], np.dtype[np.str_]]


Signs = np.ndarray[tuple[int, ...], np.dtype[np.int8]]


_METADATA = b"rewardbench"


_FIXED = ("example_id", "subset", "group")


@dataclass(frozen=True, eq=False)
class ItemOutcomes:
    """The outcomes of one model on one benchmark, arrays with an entry an example.

    credits: what was earned, from 0 to 1, NaN where unscored; margins: worst chosen minus best rejected score, in the
    model's units; spreads: best minus worst chosen score; longer: 1 where the chosen completions are longer, -1 where
    shorter, 0 where equal. The last three are None where only outcomes are published, longer also where lengths are
    not. groups: what is resampled together; where nothing is known of prompts, every example's own id.
    """

    model: str
    benchmark: str
    example_ids: Strings
    subsets: Strings
    groups: Strings
    credits: Floats
    margins: Floats | None = None
    longer: Signs | None = None
    source: str = ""
    spreads: Floats | None = None

    def __len__(self) -> int:
        return len(self.example_ids)

    @property
    def prompts_known(self) -> bool:
        """Whether groups say more than ids do."""
        return not np.array_equal(self.groups, self.example_ids)

    def take(self, rows: np.ndarray[Any, Any], groups: Strings | None = None) -> ItemOutcomes:
        """The outcomes of these rows (indices or a mask), in that order; groups: others than its own, of these rows."""
        return replace(
            self,
            example_ids=self.example_ids[rows],
            subsets=self.subsets[rows],
            groups=self.groups[rows] if groups is None else groups,
            credits=self.credits[rows],
            margins=None if self.margins is None else self.margins[rows],
            longer=None if self.longer is None else self.longer[rows],
            spreads=None if self.spreads is None else self.spreads[rows],
        )


# From a score table


def from_scores(path: Path) -> ItemOutcomes:
    """The outcomes that a score table gives. Raises ScoreTableError as `read_scores` and `check_rows` do."""
    frame, about = read_scores(path)
    check_rows(frame, path)
    try:
        benchmark, model = str(about["benchmark"]["id"]), str(about["model"]["name"])
    except (KeyError, TypeError) as error:
        raise ScoreTableError(f"{path}: its description of the run is not complete: {error}") from error
    found = outcomes(frame, spec_of(benchmark, about, frame, path))
    published = about.get("published")
    return ItemOutcomes(
        model=model,
        benchmark=benchmark,
        example_ids=np.array([each.example_id for each in found], dtype=np.str_),
        subsets=np.array([each.subset for each in found], dtype=np.str_),
        groups=np.array([each.group for each in found], dtype=np.str_),
        credits=np.array([each.credit for each in found], dtype=np.float64),
        margins=np.array([each.margin for each in found], dtype=np.float64),
        # Imported tables have no lengths: they are all 0 there.
        longer=np.array([each.longer for each in found], dtype=np.int8) if frame["num_tokens"].any() else None,
        source=str(published.get("source", "")) if isinstance(published, dict) else "scores of a run",
        spreads=np.array([np.ptp(each.chosen) for each in found], dtype=np.float64),
    )


def check_rows(frame: pd.DataFrame, path: Path) -> None:
    """Raises ScoreTableError unless each example has its completions in order, some of them chosen and some not."""
    examples = frame.groupby("example_id", sort=False)
    if len(gaps := frame["example_id"][frame["completion"] != examples.cumcount()]):
        raise ScoreTableError(f"{path}: example {gaps.iloc[0]!r} lacks a completion, or has one twice")
    chosen = examples["is_chosen"].agg(["any", "all"])
    for kind, lacking in (("chosen", ~chosen["any"]), ("rejected", chosen["all"])):
        if lacking.any():
            raise ScoreTableError(f"{path}: example {lacking.idxmax()!r} has no {kind} completion")


def spec_of(benchmark: str, about: Mapping[str, Any], frame: pd.DataFrame, path: Path) -> BenchmarkSpec:
    """The record of a score table's benchmark, which it brings along where there is none here.

    Raises ScoreTableError where neither is so, and for subsets that the benchmark does not have.
    """
    try:
        spec = BENCHMARKS.get(benchmark) or spec_from_json(about.get("record") or {})
    except DataError as error:
        raise ScoreTableError(f"{path}: benchmark {benchmark} is unknown, and {error}") from error
    if unknown := sorted(set(frame["subset"]) - spec.subset_names):
        raise ScoreTableError(f"{path}: {spec.id} has no subset {', '.join(unknown)}")
    return spec


# As published


def items_path(benchmark: str) -> Path:
    """Where a benchmark's published outcomes lie below the results' root."""
    return Path("items", f"{benchmark}.parquet")


def write_items(
    path: Path,
    benchmark: str,
    example_ids: Sequence[str],
    subsets: Sequence[str],
    models: Mapping[str, Floats],
    source: str,
    groups: Sequence[str] | None = None,
) -> None:
    """Write published outcomes: credits by model, with an entry an example. The same content gives the same bytes."""
    columns: dict[str, pa.Array] = {"example_id": pa.array(example_ids, pa.string())}
    columns["subset"] = pa.array(subsets, pa.string())
    if groups is not None:
        columns["group"] = pa.array(groups, pa.string())
    for name in sorted(models):
        earned = models[name]
        whole = bool(np.isin(earned[~np.isnan(earned)], (0.0, 1.0)).all())
        values = earned != 0 if whole else earned
        columns[name] = pa.array(values, pa.bool_() if whole else pa.float64(), mask=np.isnan(earned))
    about = {"benchmark": benchmark, "source": source}
    table = pa.table(columns)
    buffer = io.BytesIO()
    # Without statistics and a second copy of the schema, which for many short columns are most of the file.
    settings = {"compression": "zstd", "write_statistics": False, "store_schema": False}
    with pq.ParquetWriter(buffer, table.schema, **settings) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata({_METADATA: json.dumps(about, sort_keys=True).encode()})
    write_atomically(path, buffer.getvalue())


def read_items(path: Path) -> dict[str, ItemOutcomes]:
    """The published outcomes of a file by model; none where there is no file. Raises DataError for what is none."""
    try:
        with path.open("rb") as file:  # on one thread: see read_scores
            table = pq.read_table(file, use_threads=False, pre_buffer=False)
        about = json.loads((table.schema.metadata or {})[_METADATA])
        benchmark, source = str(about["benchmark"]), str(about["source"])
        ids, subsets = (_strings(table, name) for name in ("example_id", "subset"))
        groups = _strings(table, "group") if "group" in table.column_names else ids
        models = [name for name in table.column_names if name not in _FIXED]
        earned = {name: _credits(table, name) for name in models}
    except FileNotFoundError:
        return {}
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: no file of item outcomes: {type(error).__name__}: {error}") from error
    return {
        name: ItemOutcomes(name, benchmark, ids, subsets, groups, values, source=source)
        for name, values in earned.items()
    }


def _strings(table: pa.Table, name: str) -> Strings:
    column = table[name]
    if column.type != pa.string() or column.null_count:
        raise ValueError(f"the column {name} is not text throughout")
    return np.array(column.to_pylist(), dtype=np.str_)


def _credits(table: pa.Table, name: str) -> Floats:
    """A model's outcomes, NaN where missing."""
    values = table[name].cast(pa.float64()).to_numpy()
    found: Floats = np.asarray(values, dtype=np.float64)
    if ((found < 0) | (found > 1)).any():
        raise ValueError(f"{name} has an outcome that is not from 0 to 1")
    return found
