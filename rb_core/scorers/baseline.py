"""Scorers without a model. One that does not beat the best of them has shown nothing."""

from __future__ import annotations

import hashlib
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from rb_core.conversation import Conversation
from rb_core.errors import ModelError
from rb_core.example import Candidates
from rb_core.scorers.base import Batch, Cell, Plan, cells, words
from rb_core.table import Score

BATCH = 512
NOT_FINITE = "score is not a finite number"

ScoreFunction = Callable[[Conversation, str], float]


class FunctionScorer:
    """Score with any function of prompt and completion: for tests, and for users with a scorer of their own.

    The function returns a number; NaN or infinity leaves the completion unscored.
    """

    kind = "function"

    def __init__(self, function: ScoreFunction) -> None:
        self.function = function

    def plan(self, candidates: Sequence[Candidates]) -> Plan:
        every = cells(candidates)
        inputs = [(candidates[i].prompt, candidates[i].completions[j]) for i, j in every]
        starts = range(0, len(every), BATCH)
        batches = tuple(_batch(every[s : s + BATCH], inputs[s : s + BATCH]) for s in starts)
        return Plan(batches, {"empty_completions": sum(not text for _, text in inputs)})

    def score(self, batch: Batch) -> list[Score]:
        return [self._one(prompt, completion) for prompt, completion in batch.inputs]

    def stream(self, batches: Iterable[Batch]) -> Iterator[list[Score]]:
        return map(self.score, batches)

    def _one(self, prompt: Conversation, completion: str) -> Score:
        with np.errstate(over="ignore"):  # beyond float32 is infinity, which is said to be unscored below
            value = float(np.float32(self.function(prompt, completion)))
        own = len(words(completion))
        num_tokens = own + sum(len(words(message["content"])) for message in prompt)
        if not math.isfinite(value):
            return Score.unscored(NOT_FINITE, num_tokens, num_completion_tokens=own)
        return Score(value, num_tokens, num_completion_tokens=own)

    def describe(self) -> dict[str, Any]:
        return {"kind": self.kind, "dtype": "float32"}


def _batch(cells: Sequence[Cell], inputs: Sequence[tuple[Conversation, str]]) -> Batch:
    return Batch(tuple(cells), tuple(inputs), sum(len(text) for _, text in inputs))


class BaselineScorer(FunctionScorer):
    """One of the baselines by name. Raises ModelError for an unknown one."""

    kind = "baseline"

    def __init__(self, name: str, seed: int = 0) -> None:
        if name not in BASELINES:
            raise ModelError(f"unknown baseline {name!r}: choose one of {', '.join(BASELINES)}")
        super().__init__(BASELINES[name](seed))


def prompt_overlap(prompt: Conversation, completion: str) -> float:
    """The share of the completion's words that the prompt has as well; 0 for an empty completion."""
    known = {word for message in prompt for word in words(message["content"])}
    counts = Counter(words(completion))
    return sum(n for word, n in counts.items() if word in known) / (counts.total() or 1)


def length(completion: str) -> float:
    """Characters, plus pieces per character: of two texts with equally many characters the one that a tokenizer would
    cut into more pieces (runs of small letters, of capitals, of digits; single marks) is the longer one."""
    pieces = len(re.findall(r"[a-z]+|[A-Z]+|\d+|[^\W\da-zA-Z]+|[^\w\s]", completion))
    return len(completion) + pieces / (len(completion) + 1)


def _random(seed: int) -> ScoreFunction:
    def score(prompt: Conversation, completion: str) -> float:
        text = "\x1f".join([str(seed), *(message["content"] for message in prompt), completion])
        digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
        return int.from_bytes(digest[:4], "big") / 2**32

    return score


BASELINES: dict[str, Callable[[int], ScoreFunction]] = {
    "longest": lambda seed: lambda prompt, completion: length(completion),
    "shortest": lambda seed: lambda prompt, completion: -length(completion),
    "random": _random,
    "constant": lambda seed: lambda prompt, completion: 0.0,
    "prompt-overlap": lambda seed: prompt_overlap,
}
