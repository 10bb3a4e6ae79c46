"""Score files with the scores of many models on the same examples: a row per completion, a column per model.

Ids are most of a score table, so one file for many models takes a fraction of the space of a file for each. Such a file
holds published scores: token counts are those of the texts where known, and a missing score has no other reason than
that it was not published.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from rb_core.errors import ScoreTableError
from rb_core.files import read_table, write_table
from rb_core.results.failures import LARGEST_SCORE, unscored_reason
from rb_core.stats.item_outcomes import Floats

# Columns of a score table that such a file need not have.
JOINT_WITHOUT = ("group", "score", "num_tokens", "num_completion_tokens", "truncated", "reason")
COUNTS = ("num_tokens", "num_completion_tokens", "num_markdown")
_PREFIX = "score/"  # of a model's column


class JointScores(NamedTuple):
    """The content of a file with the scores of many models.

    completions: the columns of a score table that all models share; scores: by model, an entry per completion, NaN
    where not published; metadata: `benchmark`, and `models`, which holds by model what else a score table's has.
    """

    completions: pd.DataFrame
    scores: Mapping[str, Floats]
    metadata: Mapping[str, Any]

    def usable_scores(self, model: str) -> Floats:
        """Return the scores of a model; NaN also for those that are not finite."""
        values = self.scores[model]
        return np.where(np.abs(values) <= LARGEST_SCORE, values, np.nan)

    def table(self, model: str) -> tuple[pd.DataFrame, dict[str, Any]]:
        """Return the score table of a model, and its metadata. Raises KeyError for a model that is not there."""
        published, scores = self.scores[model], self.usable_scores(model)
        missing = np.isnan(scores)
        reasons = np.full(len(scores), "", dtype=object)
        reasons[missing] = [unscored_reason(value) for value in published[missing]]
        frame = self.completions.assign(score=scores, truncated=False, reason=reasons)
        return frame, {"benchmark": self.metadata["benchmark"], **self.metadata["models"][model]}


def write_joint_scores(path: Path, joint: JointScores) -> str:
    """Write the scores of many models; returns the file's SHA-256. The same content gives the same bytes."""
    completions = joint.completions
    columns: dict[str, pa.Array] = {"example_id": pa.array(completions["example_id"], pa.string())}
    columns["subset"] = pa.array(completions["subset"], pa.string())
    if not completions["group"].equals(completions["example_id"]):
        columns["group"] = pa.array(completions["group"], pa.string())
    columns["completion"] = pa.array(completions["completion"], pa.int32())
    columns["is_chosen"] = pa.array(completions["is_chosen"], pa.bool_())
    columns |= {name: pa.array(completions[name], pa.int32()) for name in COUNTS if name in completions}
    names = [_PREFIX + model for model in sorted(joint.scores)]
    columns |= {name: _score_column(joint.scores[name.removeprefix(_PREFIX)]) for name in names}
    return write_table(path, pa.table(columns), dict(joint.metadata), split_bytes=names)


def _score_column(values: Floats) -> pa.Array:
    """Return scores in float32 where every one is a float32 number, else in float64: no digit is lost."""
    with np.errstate(over="ignore"):
        narrow = values.astype(np.float32)
    return pa.array(narrow if np.array_equal(narrow, values, equal_nan=True) else values)


def is_joint_schema(schema: pa.Schema) -> bool:
    """Return True for the columns of a file with the scores of many models."""
    return any(name.startswith(_PREFIX) for name in schema.names)


def is_joint(path: Path) -> bool:
    """Return True for a file with the scores of many models; False for any other, and for one that is not readable."""
    try:
        return is_joint_schema(pq.read_schema(path))
    except (pa.ArrowException, OSError, ValueError):
        return False


def models_in(path: Path) -> list[str]:
    """Return the models in a file with the scores of many models, sorted."""
    return sorted(read_joint_scores(path).scores)


def read_joint_scores(path: Path) -> JointScores:
    """Return the content of a file with the scores of many models; read once as long as the file is the same.

    Raises ScoreTableError for any other file.
    """
    try:
        state = path.stat()
    except OSError as error:
        raise ScoreTableError(f"{path}: no such score file") from error
    return _read(path, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=4)
def _read(path: Path, changed: int, size: int) -> JointScores:
    table, metadata = read_table(path, "file with the scores of many models")
    names = [name for name in table.column_names if name.startswith(_PREFIX)]
    try:
        completions = table.drop_columns(names).to_pandas()
        if "group" not in completions:
            completions["group"] = completions["example_id"]
        for count in COUNTS[:2]:
            if count not in completions:
                completions[count] = np.int32(0)
        scores = {name.removeprefix(_PREFIX): np.asarray(table[name].to_numpy(), dtype=np.float64) for name in names}
        sources = {name: str(fields["published"]["source"]) for name, fields in metadata["models"].items()}
        if not names or sources.keys() != scores.keys() or "benchmark" not in metadata:
            raise KeyError("a description of each model")
        completions[["example_id", "subset", "group", "completion", "is_chosen"]]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ScoreTableError(f"{path}: not a file with the scores of many models: it lacks {error}") from error
    return JointScores(completions, scores, metadata)
