"""The run of a reward model behind a server: a finished one is continued where requests failed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pandas as pd

from rb_core.errors import NotScoredError, RewardBenchError
from rb_core.results.failures import FAILED
from rb_core.results.score_table import Score, read_scores
from rb_core.scorers.base import Cell, RunContext, RunTranscript


class RemoteRun(RunTranscript):
    """A run whose score file is its transcript.

    answered: scores of a finished run with the same settings, of which some requests failed.
    """

    def __init__(self, run: RunContext) -> None:
        finished = {} if run.discard else finished_scores(run)
        self.answered = {cell: score for cell, score in finished.items() if score.reason not in FAILED}
        self.continues = len(self.answered) < len(finished)
        self._run = run

    def keeps(self, scores: Sequence[Score]) -> bool:
        """Return False for requests that failed."""
        return not any(score.reason in FAILED for score in scores)

    def write(self, scores: pd.DataFrame, metadata: dict[str, Any]) -> dict[str, Any]:
        """Return the metadata with the settings of the run. Raises NotScoredError if every request failed."""
        reasons = scores["reason"]
        if len(reasons) and reasons.isin(FAILED).all():
            raise NotScoredError(
                f"{self._run.model.name}: none of {len(reasons)} completions has a score: {reasons.iloc[0]}; nothing "
                "is written, and the same command asks again"
            )
        return metadata | {"settings": dict(self._run.settings)}


def finished_scores(run: RunContext) -> dict[Cell, Score]:
    """Return the scores of a finished run with these settings, by cell; none without one."""
    try:
        frame, metadata = read_scores(run.scores)
    except RewardBenchError:
        return {}
    if metadata.get("settings") != json.loads(json.dumps(dict(run.settings))):
        return {}
    columns = [frame[name] for name in ("example_id", "completion", "score", *Score._fields[1:])]
    by_place = {(example, completion): Score(*score) for example, completion, *score in zip(*columns, strict=True)}
    examples = zip(run.benchmark.examples, run.blinded, strict=True)
    return {
        Cell(i, position): by_place[example.id, completion]
        for i, (example, (_, order)) in enumerate(examples)
        for position, completion in enumerate(order)
    }
