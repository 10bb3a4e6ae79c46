"""The contract of every scorer: plan once from the whole input, then score batch by batch.

`README.md` in this folder shows how to add a scorer.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

import pandas as pd

from rb_core.benchmarks.example import CompletionSet, Conversation
from rb_core.benchmarks.spec import Benchmark
from rb_core.errors import ModelError
from rb_core.results.schema import ModelRef
from rb_core.results.score_table import Score

if TYPE_CHECKING:
    import torch


class Cell(NamedTuple):
    """Indices of a completion set in the input and of a completion in that set."""

    completion_set: int
    completion: int


class Batch(NamedTuple):
    """Completions that are scored together.

    inputs: one entry per cell, in a form that only the scorer knows; tokens: the amount of work, in tokens through the
    model, by which several processes share a plan.
    """

    cells: tuple[Cell, ...]
    inputs: tuple[Any, ...]
    tokens: int = 0


class Plan(NamedTuple):
    """All batches, fixed by the input and the scorer's settings. notes: counts by field of results.schema.Notes."""

    batches: tuple[Batch, ...]
    notes: dict[str, int]


class TokenReward(NamedTuple):
    """A token of a completion, as text, and the reward at it."""

    text: str
    reward: float


Precision = Literal["float32", "float64"]


class RunContext(NamedTuple):
    """A run, as the transcript of a scorer needs it to name and complete its files.

    blinded: each example's completion set with the order its completions were put in; settings: everything that the
    transcript depends on; discard: an unfinished run with other settings may be replaced; scores: the file that the
    score table is written to; out: the results root.
    """

    benchmark: Benchmark
    blinded: Sequence[tuple[CompletionSet, Sequence[int]]]
    model: ModelRef
    out: Path
    scores: Path
    settings: Mapping[str, Any]
    discard: bool
    num_processes: int


class RunTranscript:
    """Files that a scorer keeps of a run beside the score table; this base class keeps none.

    It is entered before the first batch and left when the run ends, complete or not.
    continues: this run repeats what failed in a finished run, and its result replaces that of the finished one.
    """

    continues: bool = False

    def __enter__(self) -> RunTranscript:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def keeps(self, scores: Sequence[Score]) -> bool:
        """Return False for a batch's scores in an unfinished run's journal that are to be computed again."""
        return True

    def write(self, scores: pd.DataFrame, metadata: dict[str, Any]) -> dict[str, Any]:
        """Write the transcript of a complete run. Return the score table's metadata, extended where needed."""
        return metadata

    def remove(self) -> None:
        """Delete the files that only an unfinished run needs."""


class Scorer(ABC):
    """A reward model. It never sees a label, and a score does not depend on what else is in the input.

    A subclass implements `plan`, `score` and `describe`; the rest has defaults.
    """

    kind: ClassVar[str]
    device: torch.device | str = "cpu"
    batch_tokens: int | None = None  # the most tokens in one batch; None where batches have no such limit
    precision: Precision = "float32"  # of the scores in the score table
    threshold: float | None = None  # scores from it on mean right, for benchmarks that compare scores with one

    @abstractmethod
    def plan(self, completion_sets: Sequence[CompletionSet]) -> Plan:
        """Distribute all completions over batches. The same input gives the same plan in every process."""

    @abstractmethod
    def score(self, batch: Batch) -> list[Score]:
        """Return one score per cell, in order; NaN with a reason for a completion that cannot be scored."""

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """Return the settings that the scores depend on, as fields of results.schema.ModelRef (`kind` at least)."""

    def stream(self, batches: Iterable[Batch]) -> Iterator[list[Score]]:
        """Yield the scores of each batch, in order. Override it to overlap the work of several batches."""
        return map(self.score, batches)

    @property
    def measures_memory(self) -> bool:
        """True if `batch_tokens` was derived from free memory, so that processes have to agree on one value."""
        return False

    @property
    def packages(self) -> tuple[str, ...]:
        """Packages whose versions the scores depend on: an unfinished run is only continued with the same versions."""
        return ("torch", "transformers", "rb_core")

    def trace(self, prompt: Conversation, completion: str) -> list[TokenReward]:
        """Return the reward at each token of a completion. Raises ModelError if the scorer has no such rewards."""
        raise ModelError(f"{type(self).__name__} scores a completion as a whole: it has no reward per token")

    def keep_replies(
        self, path: Path, settings: Mapping[str, Any], num_processes: int
    ) -> AbstractContextManager[object]:
        """Return a context that keeps what is paid for in a file, so that a killed run does not pay twice.

        It is entered for a part of the input that is scored by itself, and the caller deletes the file afterwards.
        Raises ModelError if the scorer cannot run in several processes.
        """
        return nullcontext()

    def open_transcript(self, run: RunContext) -> RunTranscript:
        """Return the files that the scorer keeps of a run. Raises ModelError if it cannot score this run."""
        return RunTranscript()


def cells_of(completion_sets: Sequence[CompletionSet]) -> list[Cell]:
    """Return the cell of every completion, in order."""
    return [Cell(i, j) for i, each in enumerate(completion_sets) for j in range(len(each.completions))]


def scores_by_cell(batches: Iterable[Batch], scores: Iterable[Sequence[Score]]) -> dict[Cell, Score]:
    """Return each completion's score, given the scores of the batches that hold the completions."""
    pairs = zip(batches, scores, strict=True)
    return {cell: score for batch, values in pairs for cell, score in zip(batch.cells, values, strict=True)}


# Of each byte of ASCII text: a letter of a word, white space, or a mark.
_ASCII_KINDS = bytes(
    ord(" " if character.isspace() else "a" if character.isalnum() or character == "_" else ".")
    for character in map(chr, range(256))
)


def split_words(text: str) -> list[str]:
    """Return the words and punctuation marks in lower case: a text's length where no tokenizer is involved."""
    return re.findall(r"\w+|[^\w\s]", text.lower())


def count_words(text: str) -> int:
    """Return the number of `split_words`; of ASCII text without the list, in a quarter of the time."""
    if not text.isascii():
        return len(split_words(text))
    kinds = text.encode().translate(_ASCII_KINDS)
    return kinds.count(b".") + len(kinds.replace(b".", b" ").split())
