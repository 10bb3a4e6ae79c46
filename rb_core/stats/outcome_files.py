"""Item outcomes of score tables, and files of published outcomes.

Published outcomes of a benchmark are in one parquet file, `items/<benchmark>.parquet`, with a row per example and a
column per model: true, false, or missing where unscored (numbers where an outcome can be a fraction).
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from rb_core.benchmarks.spec import BenchmarkSpec
from rb_core.errors import DataError, ScoreTableError
from rb_core.files import METADATA, read_table, write_atomically
from rb_core.results.score_table import load_score_table
from rb_core.stats.item_outcomes import CompletionScores, Flags, Floats, ItemOutcomes, Signs, Strings

_FIXED_COLUMNS = ("example_id", "subset", "group")


def outcomes_of_scores(path: Path) -> ItemOutcomes:
    """Return the outcomes in a score file. Raises ScoreTableError as `load_score_table`."""
    frame, metadata, spec = load_score_table(path)
    try:
        model = str(metadata["model"]["name"])
        source = str(metadata["published"]["source"]) if "published" in metadata else "scores of a run"
    except (KeyError, TypeError) as error:
        raise ScoreTableError(f"{path}: the metadata of the run is incomplete: {error}") from error
    return outcomes_of_table(frame, spec, model=model, source=source)


def outcomes_of_table(frame: pd.DataFrame, spec: BenchmarkSpec, *, model: str = "", source: str = "") -> ItemOutcomes:
    """Return the outcomes in a score table, with examples in the order of their first rows."""
    codes, ids = pd.factorize(frame["example_id"])
    order = np.argsort(codes, kind="stable")
    starts = np.searchsorted(codes[order], np.arange(len(ids)))
    rows = frame.iloc[order]
    values = rows["score"].to_numpy(dtype=np.float64, na_value=np.nan)
    scores = CompletionScores(values, rows["is_chosen"].to_numpy(dtype=bool), starts)
    first = rows.iloc[starts]
    subsets = first["subset"].to_numpy(dtype=np.str_)
    earned, tied = np.empty(len(ids)), np.zeros(len(ids), dtype=bool)
    for name in np.unique(subsets).tolist():
        members = subsets == name
        earned[members], tied[members] = spec.metric_of(name).item_credits(scores[members], spec.tie_credit)
    num_tokens = rows["num_tokens"].to_numpy(dtype=np.float64)
    return ItemOutcomes(
        model=model,
        benchmark=spec.id,
        example_ids=ids.to_numpy(dtype=np.str_),
        subsets=subsets,
        groups=first["group"].to_numpy(dtype=np.str_),
        credits=earned,
        margins=scores.margins(),
        # Imported score tables have no lengths: they are all 0 there.
        longer=_sign_of_length_difference(num_tokens, scores) if num_tokens.any() else None,
        source=source,
        spreads=scores.best_chosen() - scores.worst_chosen(),
        tied=tied,
        scores=scores,
    )


def _sign_of_length_difference(num_tokens: Floats, scores: CompletionScores) -> Signs:
    def mean_over(members: Flags) -> Floats:
        return np.add.reduceat(num_tokens * members, scores.starts) / np.add.reduceat(members * 1, scores.starts)

    return np.sign(mean_over(scores.is_chosen) - mean_over(~scores.is_chosen)).astype(np.int8)


# Published outcomes


def items_path(benchmark: str) -> Path:
    """Return the path of a benchmark's published outcomes below the results root."""
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
    """Write published outcomes: credits by model, an entry per example. The same content gives the same bytes."""
    columns: dict[str, pa.Array] = {"example_id": pa.array(example_ids, pa.string())}
    columns["subset"] = pa.array(subsets, pa.string())
    if groups is not None:
        columns["group"] = pa.array(groups, pa.string())
    for name in sorted(models):
        earned = models[name]
        is_binary = bool(np.isin(earned[~np.isnan(earned)], (0.0, 1.0)).all())
        values = earned != 0 if is_binary else earned
        columns[name] = pa.array(values, pa.bool_() if is_binary else pa.float64(), mask=np.isnan(earned))
    table = pa.table(columns)
    buffer = io.BytesIO()
    # Without statistics and a second copy of the schema, which for many short columns are most of the file.
    settings = {"compression": "zstd", "write_statistics": False, "store_schema": False}
    with pq.ParquetWriter(buffer, table.schema, **settings) as writer:
        writer.write_table(table)
        metadata = {"benchmark": benchmark, "source": source}
        writer.add_key_value_metadata({METADATA: json.dumps(metadata, sort_keys=True).encode()})
    write_atomically(path, buffer.getvalue())


def read_items(path: Path) -> dict[str, ItemOutcomes]:
    """Return the published outcomes in a file by model; empty when there is no such file.

    Raises DataError when the file is not one of item outcomes.
    """
    if not path.exists():
        return {}
    table, metadata = read_table(path, "file of item outcomes", error=DataError)
    try:
        benchmark, source = str(metadata["benchmark"]), str(metadata["source"])
        ids, subsets = (_strings(table, name) for name in ("example_id", "subset"))
        groups = _strings(table, "group") if "group" in table.column_names else ids
        models = [name for name in table.column_names if name not in _FIXED_COLUMNS]
        earned = {name: _credits(table, name) for name in models}
    except (pa.ArrowException, ValueError, KeyError) as error:
        raise DataError(f"{path}: not a file of item outcomes: {type(error).__name__}: {error}") from error
    return {
        name: ItemOutcomes(name, benchmark, ids, subsets, groups, values, source=source)
        for name, values in earned.items()
    }


def _strings(table: pa.Table, name: str) -> Strings:
    column = table[name]
    if column.type != pa.string() or column.null_count:
        raise ValueError(f"column {name} has values that are not text")
    return np.array(column.to_pylist(), dtype=np.str_)


def _credits(table: pa.Table, name: str) -> Floats:
    values: Floats = np.asarray(table[name].cast(pa.float64()).to_numpy(), dtype=np.float64)
    if ((values < 0) | (values > 1)).any():
        raise ValueError(f"column {name} has an outcome outside of 0 to 1")
    return values
