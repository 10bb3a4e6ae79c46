"""Item outcomes of score tables, and files of published outcomes.

Published outcomes of a benchmark are in one parquet file, `items/<benchmark>.parquet`, with a row per example and a
column per model: true, false, or missing where unscored (numbers where an outcome can be a fraction). Columns for the
lengths and markdown marks of the completions are optional, and null where the texts are not known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from rb_core.benchmarks.spec import BenchmarkSpec
from rb_core.errors import DataError, ScoreTableError
from rb_core.files import read_table, write_table
from rb_core.results.score_table import load_score_table
from rb_core.stats.item_outcomes import CompletionScores, Flags, Floats, ItemOutcomes, Strings, style_difference

# Means over the chosen, and over the rejected completions: numbers of characters, and of markdown marks.
STYLE_COLUMNS = ("chosen_length", "rejected_length", "chosen_markdown", "rejected_markdown")
_FIXED_COLUMNS = ("example_id", "subset", "group", *STYLE_COLUMNS)


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
    earned, margins, tied = np.empty(len(ids)), np.empty(len(ids)), np.zeros(len(ids), dtype=bool)
    compared = np.ones(len(ids), dtype=bool)
    for name in np.unique(subsets).tolist():
        members, metric = subsets == name, spec.metric_of(name)
        earned[members], tied[members] = metric.item_credits(scores[members], spec.tie_credit)
        margins[members] = metric.margins(scores[members])
        compared[members] = not metric.by_threshold
    return ItemOutcomes(
        model=model,
        benchmark=spec.id,
        example_ids=ids.to_numpy(dtype=np.str_),
        subsets=subsets,
        groups=first["group"].to_numpy(dtype=np.str_),
        credits=earned,
        margins=margins,
        source=source,
        spreads=scores.best_chosen() - scores.worst_chosen(),
        tied=tied,
        scores=scores,
        # Imported score tables have no lengths: they are all 0 there.
        lengths=_style_difference(rows["num_completion_tokens"], scores, compared)
        if rows["num_tokens"].any()
        else None,
        markdown=_style_difference(rows["num_markdown"], scores, compared) if "num_markdown" in rows else None,
    )


def _style_difference(amounts: pd.Series[int], scores: CompletionScores, compared: Flags) -> Floats:
    """Return the difference between the mean amounts of chosen and of rejected completions.

    compared: mask of the examples whose completions are compared with each other; NaN for the others.
    """
    values = amounts.to_numpy(dtype=np.float64, na_value=np.nan)
    with np.errstate(invalid="ignore"):  # others may have no chosen or no rejected completion
        chosen, rejected = (
            np.add.reduceat(np.where(members, values, 0.0), scores.starts) / np.add.reduceat(members * 1, scores.starts)
            for members in (scores.is_chosen, ~scores.is_chosen)
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
