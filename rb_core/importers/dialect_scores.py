"""Import published scores of RewardBench's pairs in two dialects as outcomes for `audit dialect`.

The folder has these files of joel-mire/rm-dialect-biases:

    rewardbench_v1_dialect_scores.parquet    model, version (original, aae, aae-prompt, aae-completions), row,
                                             chosen_score, rejected_score
    with_dialect.jsonl.gz                    row, id, subset of each pair
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from rb_core.audits.dialect import OUTCOMES_FILE, SCHEMA
from rb_core.errors import DataError, ResultError, first_line
from rb_core.files import write_table

SOURCE = "joel-mire/rm-dialect-biases@7ae3441 (Apache-2.0)"
SCORES, ITEMS = "rewardbench_v1_dialect_scores.parquet", "with_dialect.jsonl.gz"


def import_dialect_scores(folder: Path, out: Path, *, overwrite: bool = False) -> Path:
    """Write the outcomes below a results root and return their path.

    Raises DataError for a missing file or column, ResultError where outcomes exist and `overwrite` is False.
    """
    path = out / OUTCOMES_FILE
    if path.exists() and not overwrite:
        raise ResultError(f"{path}: these outcomes exist already; replace them with --overwrite")
    try:
        scores = pd.read_parquet(folder / SCORES)
        items = pd.read_json(folder / ITEMS, lines=True, dtype={"id": str})[["row", "id", "subset"]]
        merged = scores.astype({"model": str, "version": str}).merge(items, on="row", validate="many_to_one")
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{folder}: {SCORES} or {ITEMS} cannot be read: {first_line(error)}") from error
    merged = merged.rename(columns={"id": "item"}).sort_values(["model", "version", "row"], kind="stable")
    scored = merged["chosen_score"].notna() & merged["rejected_score"].notna()
    is_right = merged["chosen_score"] > merged["rejected_score"]
    merged["credit"] = np.where(scored, is_right.astype(float), np.nan).astype(np.float32)
    table = pa.Table.from_pandas(merged[SCHEMA.names], schema=SCHEMA, preserve_index=False)
    write_table(path, table, {"source": SOURCE, "benchmark": "rewardbench"})
    return path
