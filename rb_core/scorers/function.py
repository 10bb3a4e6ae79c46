"""Score completions with any Python function."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from rb_core.benchmarks.example import CompletionSet, Conversation
from rb_core.results.failures import LARGEST_SCORE
from rb_core.results.score_table import Score
from rb_core.scorers.base import Batch, Plan, Precision, Scorer, cells_of, count_words

BATCH = 512  # completions
NOT_FINITE = "score is not a finite number"  # written to score tables: do not change

ScoreFunction = Callable[[Conversation, str], float]


class FunctionScorer(Scorer):
    """Score with a function of prompt and completion that returns a number.

    A completion for which it returns NaN or infinity is unscored. Token counts are counts of words and
    punctuation marks, because there is no tokenizer.

    reason_of: the reason that a completion is unscored for, given what the function raised; None lets it through.
    """

    kind = "function"
    precision: Precision = "float64"

    def __init__(self, function: ScoreFunction, reason_of: Callable[[Exception], str] | None = None) -> None:
        self.function = function
        self.reason_of = reason_of

    def plan(self, completion_sets: Sequence[CompletionSet]) -> Plan:
        cells = cells_of(completion_sets)
        batches = []
        for first in range(0, len(cells), BATCH):
            chunk = tuple(cells[first : first + BATCH])
            inputs = tuple((completion_sets[i].prompt, completion_sets[i].completions[j]) for i, j in chunk)
            characters = sum(
                len(completion) for _, completion in inputs
            )  # the work by which batches are divided among processes
            batches.append(Batch(chunk, inputs, characters))
        empty = sum(not text for completion_set in completion_sets for text in completion_set.completions)
        return Plan(tuple(batches), {"empty_completions": empty})

    def score(self, batch: Batch) -> list[Score]:
        prompts = {id(prompt): prompt for prompt, _ in batch.inputs}  # each is counted once for all its completions
        num_words = {key: sum(count_words(message["content"]) for message in each) for key, each in prompts.items()}
        with np.errstate(over="ignore"):  # a number beyond the precision's range becomes infinite, and is unscored
            return [self._score(prompt, completion, num_words[id(prompt)]) for prompt, completion in batch.inputs]

    def _score(self, prompt: Conversation, completion: str, num_prompt_tokens: int) -> Score:
        reason = NOT_FINITE
        try:
            value = float(np.dtype(self.precision).type(self.function(prompt, completion)))
        except Exception as error:
            if self.reason_of is None:
                raise
            value, reason = math.nan, self.reason_of(error)
        num_completion_tokens = count_words(completion)
        num_tokens = num_prompt_tokens + num_completion_tokens
        if not abs(value) <= LARGEST_SCORE:
            return Score.unscored(reason, num_tokens, num_completion_tokens=num_completion_tokens)
        return Score(value, num_tokens, num_completion_tokens=num_completion_tokens)

    def describe(self) -> dict[str, Any]:
        return {"kind": self.kind, "dtype": self.precision}
