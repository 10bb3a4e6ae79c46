"""Item outcomes of score tables, and files of published outcomes.

Published outcomes of a benchmark are in one parquet file, `items/<benchmark>.parquet`, with a row per example and a
column per model: true, false, or missing where unscored (numbers where an outcome can be a fraction). Columns for the
lengths and markdown marks of the completions are optional, and null where the texts are not known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa

from rb_core.benchmarks.spec import BenchmarkSpec
from rb_core.errors import DataError, ScoreTableError
from rb_core.files import read_table, write_table
from rb_core.results.joint_scores import read_joint_scores
from rb_core.results.score_table import load_score_table
from rb_core.stats.item_outcomes import (
    Codes,
    CompletionScores,
    Flags,
    Floats,
    ItemOutcomes,
    Strings,
    style_difference,
)
from rb_core.stats.metrics.base import Metric

# Means over the chosen, and over the rejected completions: numbers of characters, and of markdown marks.
STYLE_COLUMNS = ("chosen_length", "rejected_length", "chosen_markdown", "rejected_markdown")
_FIXED_COLUMNS = ("example_id", "subset", "group", *STYLE_COLUMNS)


def outcomes_of_scores(path: Path, column: str | None = None) -> ItemOutcomes:
    """Return the outcomes in a score file. Raises ScoreTableError as `load_score_table`.

    column: of a file with the scores of many models, the model. All of one file share the arrays that do not differ.
    """
    if column is not None:
        return _joint_outcomes(path, column)
    frame, metadata, spec = load_score_table(path)
    try:
        model = str(metadata["model"]["name"])
        source = str(metadata["published"]["source"]) if "published" in metadata else "scores of a run"
    except (KeyError, TypeError) as error:
        raise ScoreTableError(f"{path}: the metadata of the run is incomplete: {error}") from error
    return outcomes_of_table(frame, spec, model=model, source=source)


def outcomes_of_table(frame: pd.DataFrame, spec: BenchmarkSpec, *, model: str = "", source: str = "") -> ItemOutcomes:
    """Return the outcomes in a score table, with examples in the order of their first rows."""
    scores = frame["score"].to_numpy(dtype=np.float64, na_value=np.nan)
    return _outcomes(_items_of_table(frame, spec), scores, spec, model=model, source=source)


def _joint_outcomes(path: Path, model: str) -> ItemOutcomes:
    joint, state = read_joint_scores(path), path.stat()
    if model not in joint.scores:
        raise ScoreTableError(f"{path}: has no scores of {model!r}")
    items, spec = _joint_items(path, state.st_mtime_ns, state.st_size)
    source = str(joint.metadata["models"][model]["published"]["source"])
    return _outcomes(items, joint.usable_scores(model), spec, model=model, source=source)


class _Items(NamedTuple):
    """The part that the outcomes of all models on the same examples share.

    order: of a table's rows, by example; by_metric: a mask of the examples of each metric.
    """

    by_metric: Sequence[tuple[Metric, Flags]]
    order: Codes
    starts: Codes
    is_chosen: Flags
    example_ids: Strings
    subsets: Strings
    groups: Strings
    lengths: Floats | None
    markdown: Floats | None


def _items_of_table(frame: pd.DataFrame, spec: BenchmarkSpec) -> _Items:
    codes, ids = pd.factorize(frame["example_id"])
    order = np.argsort(codes, kind="stable")
    starts = np.searchsorted(codes[order], np.arange(len(ids)))
    rows = frame.iloc[order]
    is_chosen = rows["is_chosen"].to_numpy(dtype=bool)
    first = rows.iloc[starts]
    subsets = first["subset"].to_numpy(dtype=np.str_)
    codes_of_subsets, names = pd.factorize(first["subset"])
    metrics = [spec.metric_of(name) for name in names]
    by_metric = [
        (metric, np.isin(codes_of_subsets, [code for code, other in enumerate(metrics) if other == metric]))
        for metric in dict.fromkeys(metrics)
    ]
    compared = np.ones(len(ids), dtype=bool)
    for metric, members in by_metric:
        compared[members] = not metric.by_threshold
    # Imported score tables have no lengths: they are all 0 there.
    lengths = rows["num_completion_tokens"] if rows["num_tokens"].any() else None
    markdown = rows.get("num_markdown")
    return _Items(
        by_metric,
        order,
        starts,
        is_chosen,
        ids.to_numpy(dtype=np.str_),
        subsets,
        first["group"].to_numpy(dtype=np.str_),
        None if lengths is None else _style_difference(lengths, is_chosen, starts, compared),
        None if markdown is None else _style_difference(markdown, is_chosen, starts, compared),
    )


@lru_cache(maxsize=4)
def _joint_items(path: Path, changed: int, size: int) -> tuple[_Items, BenchmarkSpec]:
    """Return what the models of a joint file share; `changed` and `size` keep the cache from answering for another."""
    frame, _, spec = load_score_table(path, min(read_joint_scores(path).scores))
    return _items_of_table(frame, spec), spec


def _outcomes(items: _Items, scores_by_row: Floats, spec: BenchmarkSpec, *, model: str, source: str) -> ItemOutcomes:
    scores = CompletionScores(scores_by_row[items.order], items.is_chosen, items.starts)
    num_examples = len(items.example_ids)
    earned, margins = np.full((2, num_examples), np.nan)
    tied = np.zeros(num_examples, dtype=bool)
    for metric, members in items.by_metric:
        earned[members], tied[members] = metric.item_credits(scores[members], spec.tie_credit)
        margins[members] = metric.margins(scores[members])
    return ItemOutcomes(
        model=model,
        benchmark=spec.id,
        example_ids=items.example_ids,
        subsets=items.subsets,
        groups=items.groups,
        credits=earned,
        margins=margins,
        source=source,
        spreads=scores.best_chosen() - scores.worst_chosen(),
        tied=tied,
        scores=scores,
        lengths=items.lengths,
        markdown=items.markdown,
    )


def _style_difference(amounts: pd.Series[int], is_chosen: Flags, starts: Codes, compared: Flags) -> Floats:
    """Return the difference between the mean amounts of chosen and of rejected completions.

    compared: mask of the examples whose completions are compared with each other; NaN for the others.
    """
    values = amounts.to_numpy(dtype=np.float64, na_value=np.nan)
    with np.errstate(invalid="ignore"):  # others may have no chosen or no rejected completion
        chosen, rejected = (
            np.add.reduceat(np.where(members, values, 0.0), starts) / np.add.reduceat(members * 1, starts)
            for members in (is_chosen, ~is_chosen)
        )
    return np.where(compared, style_difference(chosen, rejected), np.nan)


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
    write_table(path, pa.table(columns), {"benchmark": benchmark, "source": source})


def add_style(path: Path, styles: Mapping[str, Sequence[float]], source: str) -> tuple[int, int]:
    """Add the lengths and markdown marks of completions to a file of published outcomes.

    styles: the values of `STYLE_COLUMNS` by example id; source: of the texts. Returns the number of examples that have
    them, and of all. Raises DataError when the file is not readable, or has none of the examples.
    """
    table, metadata = read_table(path, "file of item outcomes", error=DataError)
    ids = table["example_id"].to_pylist()
    if not (known := sum(example_id in styles for example_id in ids)):
        raise DataError(f"{path}: has none of the {len(styles)} examples of {source}")
    table = table.drop_columns([name for name in STYLE_COLUMNS if name in table.column_names])
    unknown = [None] * len(STYLE_COLUMNS)
    for name, values in zip(STYLE_COLUMNS, zip(*(styles.get(i, unknown) for i in ids), strict=True), strict=True):
        table = table.append_column(name, pa.array(values, pa.float64()))
    write_table(path, table, metadata | {"texts": source})
    return known, len(ids)


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
        style = [_numbers(table, name) for name in STYLE_COLUMNS] if STYLE_COLUMNS[0] in table.column_names else None
    except (pa.ArrowException, ValueError, KeyError) as error:
        raise DataError(f"{path}: not a file of item outcomes: {type(error).__name__}: {error}") from error
    lengths, markdown = (style_difference(*style[:2]), style_difference(*style[2:])) if style else (None, None)
    return {
        name: ItemOutcomes(
            name, benchmark, ids, subsets, groups, values, source=source, lengths=lengths, markdown=markdown
        )
        for name, values in earned.items()
    }


def _strings(table: pa.Table, name: str) -> Strings:
    column = table[name]
    if column.type != pa.string() or column.null_count:
        raise ValueError(f"column {name} has values that are not text")
    return np.array(column.to_pylist(), dtype=np.str_)


def _numbers(table: pa.Table, name: str) -> Floats:
    return np.asarray(table[name].cast(pa.float64()).to_numpy(), dtype=np.float64)


def _credits(table: pa.Table, name: str) -> Floats:
    values = _numbers(table, name)
    if ((values < 0) | (values > 1)).any():
        raise ValueError(f"column {name} has an outcome outside of 0 to 1")
    return values
