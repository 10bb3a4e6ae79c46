"""Parse the replies of a transcript again, without sending any request."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from rb_core.benchmarks.spec import BenchmarkSpec
from rb_core.errors import ScoreTableError
from rb_core.results.judge_records import JudgeRef
from rb_core.results.paths import result_path, root_of, scores_path, transcript_path
from rb_core.results.schema import BenchmarkRef, ModelRef, from_json
from rb_core.results.score_table import load_score_table, write_scores
from rb_core.results.storage import check_free
from rb_core.scorers.judge.budget import Prices
from rb_core.scorers.judge.panel import combine_reasons, combine_scores
from rb_core.scorers.judge.parsing import PARSER_VERSION
from rb_core.scorers.judge.protocols import with_verdict
from rb_core.scorers.judge.report import compute_judging, score_cells
from rb_core.scorers.judge.transcript import read_transcript, write_transcript
from rb_core.scorers.judge.types import JudgeRecord


class Reparsed(NamedTuple):
    """Score table and records as this version parses the replies, with the metadata of both files."""

    scores: pd.DataFrame
    records: list[JudgeRecord]
    metadata: dict[str, Any]


def write_reparsed(transcript: Path, out: Path, *, overwrite: bool = False) -> Path:
    """Parse a transcript again, write transcript and score table below `out`, and return the score table's path.

    Raises ScoreTableError as `reparse_transcript`, ResultError when a result exists and `overwrite` is False.
    """
    scores, records, metadata = reparse_transcript(transcript)
    benchmark, model = str(metadata["benchmark"]["id"]), str(metadata["model"]["name"])
    check_free(out / result_path(benchmark, model), overwrite=overwrite)
    write_transcript(out / transcript_path(benchmark, model), records, metadata)
    write_scores(out / scores_path(benchmark, model), scores, metadata)
    return out / scores_path(benchmark, model)


def reparse_transcript(path: Path) -> Reparsed:
    """Parse the replies of a transcript again; labels come from the score table of the same run.

    Raises ScoreTableError if one of the two files is missing or damaged, or they are of different runs.
    """
    records, metadata = read_transcript(path)
    try:
        benchmark = from_json(BenchmarkRef, metadata["benchmark"]).id
        model, judge = from_json(ModelRef, metadata["model"]).name, from_json(JudgeRef, metadata["model"]["judge"])
        prices = Prices(*map(float, metadata["prices"])) if metadata.get("prices") else None
    except (KeyError, TypeError, ValueError) as error:
        raise ScoreTableError(f"{path}: its description of the run is not complete: {error}") from error
    place = transcript_path(benchmark, model)
    if (root := root_of(path, place)) is None:
        raise ScoreTableError(f"{path}: move it back to {place} in the folder that has the scores of its run")
    scores_file = root / scores_path(benchmark, model)
    scores, scores_metadata, spec = load_score_table(scores_file)
    if scores_metadata.get("run") != metadata.get("run"):
        raise ScoreTableError(f"{path}: not of the run that {scores_file} is of")
    try:
        records = [with_verdict(record, structured=judge.structured) for record in records]
        scores = _score_table(records, scores, judge, spec)
        judging = compute_judging(records, scores, judge, prices, metadata.get("author"))
    except (IndexError, KeyError, TypeError, ValueError) as error:
        raise ScoreTableError(f"{path}: damaged, or without some of the run's replies: {error!r}") from error
    metadata["model"]["judge"]["parser"] = PARSER_VERSION
    return Reparsed(scores, records, scores_metadata | metadata | {"judging": judging.model_dump(mode="json")})


def _score_table(
    records: Sequence[JudgeRecord], scores: pd.DataFrame, judge: JudgeRef, spec: BenchmarkSpec
) -> pd.DataFrame:
    """Return the score table with the values and reasons of the records."""
    cells_by_judge = list(score_cells(records).values())
    values: list[float] = []
    reasons: list[str] = []
    for example, rows in scores.groupby("example_id", sort=False):
        cells = [(str(example), int(completion)) for completion in rows["completion"]]
        table = np.array([[by_cell[cell][0] for cell in cells] for by_cell in cells_by_judge])
        needs_ratings = spec.metric_of(str(rows["subset"].iloc[0])).needs_ratings
        combined = combine_scores(judge.vote or "mean", needs_ratings, table) if judge.panel else table[0]
        values += combined.tolist()
        reasons += combine_reasons(combined, [[by_cell[cell][1] for by_cell in cells_by_judge] for cell in cells])
    return scores.assign(score=np.array(values, dtype=np.float32), reason=reasons)
