"""Scorers without a model. A reward model that does not beat the best of them has shown nothing."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Sequence

from rb_core.benchmarks.example import CompletionSet, Conversation
from rb_core.errors import ModelError
from rb_core.models.resolve import ModelSpec
from rb_core.scorers.base import split_words
from rb_core.scorers.function import FunctionScorer, ScoreFunction


class BaselineScorer(FunctionScorer):
    """One of the baselines by name. Raises ModelError for an unknown name."""

    kind = "baseline"
    precision = "float32"

    def __init__(self, name: str, seed: int = 0) -> None:
        if name not in BASELINES:
            raise ModelError(f"unknown baseline {name!r}: choose one of {', '.join(BASELINES)}")
        super().__init__(BASELINES[name](seed))


def load_baseline(spec: ModelSpec, upcoming: Sequence[CompletionSet] = (), seed: int = 0) -> BaselineScorer:
    """Return the baseline of a spec."""
    return BaselineScorer(spec.checkpoint.location.removeprefix("baseline/"), seed)


def prompt_overlap(prompt: Conversation, completion: str) -> float:
    """Return the share of the completion's words that the prompt has as well; 0 for an empty completion."""
    prompt_words = {word for message in prompt for word in split_words(message["content"])}
    counts = Counter(split_words(completion))
    return sum(n for word, n in counts.items() if word in prompt_words) / (counts.total() or 1)


def length(completion: str) -> float:
    """Return the number of characters, plus a fraction that grows with the pieces that a tokenizer would cut.

    Pieces are runs of lower-case letters, of capitals, of digits, and single marks; of two texts with equally many
    characters the one with more pieces is longer.
    """
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
