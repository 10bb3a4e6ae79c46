"""Score completions with any Python function."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from rb_core.benchmarks.example import CompletionSet, Conversation
from rb_core.results.score_table import Score
from rb_core.scorers.base import Batch, Cell, Plan, Scorer, cells_of, split_words

BATCH = 512


NOT_FINITE = "score is not a finite number"


ScoreFunction = Callable[[Conversation, str], float]


class FunctionScorer(Scorer):
    """Score with any function of prompt and completion: for tests, and for users with a scorer of their own.

    The function returns a number; NaN or infinity leaves the completion unscored.
    """

    kind = "function"

    def __init__(self, function: ScoreFunction) -> None:
        self.function = function

    def plan(self, completion_sets: Sequence[CompletionSet]) -> Plan:
        every = cells_of(completion_sets)
        inputs = [(completion_sets[i].prompt, completion_sets[i].completions[j]) for i, j in every]
        starts = range(0, len(every), BATCH)
        batches = tuple(_batch(every[s : s + BATCH], inputs[s : s + BATCH]) for s in starts)
        return Plan(batches, {"empty_completions": sum(not text for _, text in inputs)})

    def score(self, batch: Batch) -> list[Score]:
        return [self._one(prompt, completion) for prompt, completion in batch.inputs]

    def _one(self, prompt: Conversation, completion: str) -> Score:
        with np.errstate(over="ignore"):  # beyond float32 is infinity, which is said to be unscored below
            value = float(np.float32(self.function(prompt, completion)))
        own = len(split_words(completion))
        num_tokens = own + sum(len(split_words(message["content"])) for message in prompt)
        if not math.isfinite(value):
            return Score.unscored(NOT_FINITE, num_tokens, num_completion_tokens=own)
        return Score(value, num_tokens, num_completion_tokens=own)

    def describe(self) -> dict[str, Any]:
        return {"kind": self.kind, "dtype": "float32"}


def _batch(cells: Sequence[Cell], inputs: Sequence[tuple[Conversation, str]]) -> Batch:
    return Batch(tuple(cells), tuple(inputs), sum(len(text) for _, text in inputs))
