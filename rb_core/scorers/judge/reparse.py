"""Parse the replies of a judge's transcript again, without asking anyone."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from rb_core.benchmarks.spec import BenchmarkSpec
from rb_core.errors import ScoreTableError
from rb_core.results.judge_records import JudgeRef
from rb_core.results.paths import scores_path, transcript_path
from rb_core.results.schema import BenchmarkRef, ModelRef, from_json
from rb_core.results.score_table import read_scores
from rb_core.scorers.judge.panel import reasons_of, vote
from rb_core.scorers.judge.parsing import PARSER_VERSION
from rb_core.scorers.judge.report import Accounts, answer_of, cells_by_judge, measure, transcript_records
from rb_core.scorers.judge.transcript import read_transcript
from rb_core.stats.item_outcomes import check_rows, spec_of

# Reading replies anew


class Reread(NamedTuple):
    """Scores and transcript as this version reads the replies, with the descriptions of the run in both files."""

    scores: pd.DataFrame
    rows: pd.DataFrame
    about: dict[str, Any]


def reread(path: Path) -> Reread:
    """Read the replies of a transcript again, without asking anyone; labels come from the score table beside it.

    Raises ScoreTableError where either file is missing, damaged, or not of one run.
    """
    rows, about = read_transcript(path)
    try:
        benchmark = from_json(BenchmarkRef, about["benchmark"]).id
        model, judge = from_json(ModelRef, about["model"]).name, from_json(JudgeRef, about["model"]["judge"])
        prices = about.get("prices")
        accounts = Accounts(None if prices is None else (float(prices[0]), float(prices[1])), about.get("author"))
    except (KeyError, TypeError, ValueError) as error:
        raise ScoreTableError(f"{path}: its description of the run is not complete: {error}") from error
    own = transcript_path(benchmark, model)
    if path.resolve().parts[-len(own.parts) :] != own.parts:
        raise ScoreTableError(f"{path}: belongs at {own} below a folder that has the scores of its run as well")
    root = path.resolve().parents[len(own.parts) - 1]
    table = root / scores_path(benchmark, model)
    scores, scored = read_scores(table)
    check_rows(scores, table)
    if scored.get("run") != about.get("run"):
        raise ScoreTableError(f"{path}: not of the run that {table} is of")
    spec = spec_of(benchmark, scored, scores, table)
    try:
        answers = [answer_of(row, structured=judge.structured) for row in transcript_records(rows)]
        shares = pd.Series([list(each.shares) for each in answers], dtype=object)
        rows = rows.assign(shares=shares, reason=[each.reason for each in answers])
        scores = _scores_from(rows, scores, judge, spec)
        judging = measure(rows, scores, judge, accounts)
    except (IndexError, KeyError, TypeError, ValueError) as error:
        raise ScoreTableError(f"{path}: damaged, or not all of the run's replies: {error!r}") from error
    about["model"]["judge"]["parser"] = PARSER_VERSION
    return Reread(scores, rows, scored | about | {"judging": judging.model_dump(mode="json")})


def _scores_from(rows: pd.DataFrame, scores: pd.DataFrame, judge: JudgeRef, spec: BenchmarkSpec) -> pd.DataFrame:
    """The score table with values and reasons from a transcript."""
    given = list(cells_by_judge(rows).values())
    values, reasons = [], []
    for example, some in scores.groupby("example_id", sort=False):
        cells = [(str(example), int(completion)) for completion in some["completion"]]
        table = np.array([[each[cell][0] for cell in cells] for each in given])
        graded = spec.metric_of(str(some["subset"].iloc[0])) == "ties"
        voted = vote(judge.vote or "mean", graded, table) if judge.panel else table[0]
        why = [[each[cell][1] for each in given] for cell in cells]
        values += voted.tolist()
        reasons += reasons_of(voted, why)
    return scores.assign(score=np.array(values, dtype=np.float32), reason=reasons)
