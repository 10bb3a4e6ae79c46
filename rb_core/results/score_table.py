"""The score table, one row per completion: the border between the GPU and the statistics.

One parquet file, whose metadata describes the run, so that every published number can be recomputed from it alone.
"""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from rb_core.benchmarks.card import parse_card_fields
from rb_core.benchmarks.custom import recorded_spec, spec_from_json
from rb_core.benchmarks.spec import BenchmarkSpec
from rb_core.errors import DataError, ScoreTableError
from rb_core.files import read_table, write_table
from rb_core.results.joint_scores import JOINT_WITHOUT, is_joint, is_joint_schema, read_joint_scores

SCHEMA = pa.schema(
    [
        pa.field("example_id", pa.string(), nullable=False),
        pa.field("subset", pa.string(), nullable=False),
        pa.field("group", pa.string(), nullable=False),
        pa.field("completion", pa.int32(), nullable=False),
        pa.field("is_chosen", pa.bool_(), nullable=False),
        pa.field("score", pa.float64()),
        pa.field("num_tokens", pa.int32(), nullable=False),
        pa.field("num_completion_tokens", pa.int32(), nullable=False),
        pa.field("truncated", pa.bool_(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
    ]
)
# A model's scores are float32, which takes half the space: a table without other scores is written like this.
_FLOAT32_SCHEMA = SCHEMA.set(SCHEMA.get_field_index("score"), pa.field("score", pa.float32()))
COLUMNS = SCHEMA.names
# The number of markdown marks of the completion: not in older and in imported tables.
OPTIONAL = pa.schema([pa.field("num_markdown", pa.int32())])
MAX_ROWS = 20_000_000


class Score(NamedTuple):
    """A scorer's output for one completion: a number, NaN when unscored, then with a reason.

    num_tokens: length of the scored text (words and punctuation marks where no tokenizer is involved); truncated:
    prompt tokens were dropped to fit the maximum length; num_completion_tokens: tokens of the completion, the
    template's closing tokens included, for length-normalised variants.
    """

    value: float
    num_tokens: int
    truncated: bool = False
    reason: str = ""
    num_completion_tokens: int = 0

    @classmethod
    def unscored(
        cls, reason: str, num_tokens: int = 0, truncated: bool = False, num_completion_tokens: int = 0
    ) -> Score:
        return cls(math.nan, num_tokens, truncated, reason, num_completion_tokens)


def write_scores(path: Path, frame: pd.DataFrame, metadata: dict[str, Any]) -> str:
    """Write a score table with its metadata; returns the file's SHA-256.

    Scores are stored in float32 where every one is a float32 number, else in float64: a table loses no digit.
    """
    scores = frame["score"].to_numpy(dtype=np.float64, na_value=np.nan)
    with np.errstate(over="ignore"):
        is_float32 = np.array_equal(scores.astype(np.float32), scores, equal_nan=True)
    schema = _FLOAT32_SCHEMA if is_float32 else SCHEMA
    columns = pa.schema([*schema, *(field for field in OPTIONAL if field.name in frame)])
    return write_table(path, pa.Table.from_pandas(frame[columns.names], columns, preserve_index=False), metadata)


def read_scores(path: Path, column: str | None = None) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Return a score table, with float64 scores, and its metadata.

    column: of a file with the scores of many models, the model. Raises ScoreTableError when the file is missing or not
    a score file, and for a model that it does not have.
    """
    if column is not None:
        joint = read_joint_scores(path)
        if column not in joint.scores:
            raise ScoreTableError(f"{path}: has no scores of {column!r}; it has those of {len(joint.scores)} models")
        frame, metadata = joint.table(column)
        return frame[[*COLUMNS, *(name for name in OPTIONAL.names if name in frame)]], metadata
    if is_joint(path):
        raise ScoreTableError(f"{path}: holds the scores of many models; name one of them with --model")
    table, metadata = read_table(path, "score file", SCHEMA, optional=OPTIONAL)
    return table.to_pandas(), metadata


def check_score_file(content: bytes, name: str) -> None:
    """Raise ScoreTableError, naming the file, unless content is a score file; its rows are not decoded."""
    try:
        metadata = pq.read_metadata(io.BytesIO(content))
        schema = metadata.schema.to_arrow_schema()
    except (pa.ArrowException, OSError, ValueError) as error:
        raise ScoreTableError(f"{name}: not a readable parquet file: {error}") from error
    required = [name for name in COLUMNS if name not in JOINT_WITHOUT] if is_joint_schema(schema) else COLUMNS
    if missing := [column for column in required if column not in schema.names]:
        raise ScoreTableError(f"{name}: not a score file: it lacks the columns {', '.join(missing)}")
    if metadata.num_rows > MAX_ROWS:
        raise ScoreTableError(f"{name}: {metadata.num_rows} rows; no benchmark has more than {MAX_ROWS} completions")


class ScoreTable(NamedTuple):
    """A complete score table: its rows, the metadata of the run, and its benchmark."""

    frame: pd.DataFrame
    metadata: dict[str, Any]
    spec: BenchmarkSpec


def load_score_table(path: Path, column: str | None = None) -> ScoreTable:
    """Return a score table that statistics can compute on; its benchmark is registered, or recorded in the metadata.

    A threshold of the model is in the benchmark's metrics. column: see `read_scores`. Raises ScoreTableError as
    `read_scores`, unless each example has its completions in order, at least one chosen and one rejected if they are
    compared with each other, and for an unknown benchmark or subset.
    """
    frame, metadata = read_scores(path, column)
    try:
        benchmark = metadata["benchmark"]
        card = parse_card_fields(benchmark["card"], f"{path}: card: ") if benchmark.get("card") else None
        spec = recorded_spec(benchmark["id"], benchmark.get("subsets") or {}, card)
        spec = spec or spec_from_json(metadata.get("record") or {})
        if (threshold := (metadata.get("model") or {}).get("threshold")) is not None:
            spec = spec.for_threshold(float(threshold))
    except (AttributeError, KeyError, OverflowError, TypeError) as error:
        raise ScoreTableError(f"{path}: the metadata of the run is incomplete: {error}") from error
    except DataError as error:
        raise ScoreTableError(f"{path}: benchmark {metadata['benchmark']['id']} is unknown, and {error}") from error
    _check_rows(frame, spec, path)
    if unknown := sorted(set(frame["subset"]) - spec.subset_names):
        raise ScoreTableError(f"{path}: {spec.id} has no subset {', '.join(unknown)}")
    return ScoreTable(frame, metadata, spec)


def _check_rows(frame: pd.DataFrame, spec: BenchmarkSpec, path: Path) -> None:
    examples = frame.groupby("example_id", sort=False)
    if len(gaps := frame["example_id"][frame["completion"] != examples.cumcount()]):
        raise ScoreTableError(f"{path}: example {gaps.iloc[0]!r} lacks a completion, or has one twice")
    by_threshold = [name for name in frame["subset"].unique() if spec.metric_of(name).by_threshold]
    compared = frame[~frame["subset"].isin(by_threshold)] if by_threshold else frame
    chosen = compared.groupby("example_id", sort=False)["is_chosen"].agg(["any", "all"])
    for kind, lacking in (("chosen", ~chosen["any"]), ("rejected", chosen["all"])):
        if lacking.any():
            raise ScoreTableError(f"{path}: example {lacking.idxmax()!r} has no {kind} completion")
