"""A run that leaves examples unscored."""

from __future__ import annotations

import math
from pathlib import Path

from rb_core.benchmarks.load import load_benchmark
from rb_core.evaluation.evaluate import evaluate_scorer
from rb_core.models.chat_format import Conversation
from rb_core.scorers.function import FunctionScorer

SILENT = "mine/silent"


def silent_run(root: Path) -> None:
    """Write a run on `starter` that scores by length, and does not score completions of certain lengths."""

    def score(prompt: Conversation, completion: str) -> float:
        return math.nan if len(completion) % 17 == 0 else len(completion)

    evaluate_scorer(FunctionScorer(score), SILENT, load_benchmark("starter"), out=root)
