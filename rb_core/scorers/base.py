"""What every scorer is: a plan made once from the whole input, and scores batch by batch."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

from rb_core.benchmarks.example import CompletionSet
from rb_core.results.score_table import Score


class Cell(NamedTuple):
    """Which completion of which candidates."""

    candidates: int
    completion: int


class Batch(NamedTuple):
    """Completions that are scored together; `inputs` is the scorer's own, one entry a cell.

    tokens: how much work it is, in tokens through the model; many processes share the work by it.
    """

    cells: tuple[Cell, ...]
    inputs: tuple[Any, ...]
    tokens: int = 0


class Plan(NamedTuple):
    """All batches, fixed by the input and the scorer's settings, and what was noticed on the way.

    notes: counts by the names of results.Notes.
    """

    batches: tuple[Batch, ...]
    notes: dict[str, int]


class Scorer(Protocol):
    """The contract. A scorer never sees a label, and its scores do not depend on what else is in the input."""

    def plan(self, candidates: Sequence[CompletionSet]) -> Plan:
        """Deal the completions of all candidates out to batches."""
        ...

    def score(self, batch: Batch) -> list[Score]:
        """One score a cell, in order; NaN with a reason for what cannot be scored."""
        ...

    def stream(self, batches: Iterable[Batch]) -> Iterator[list[Score]]:
        """The scores of each batch, in order, the next batch under way where the device allows it."""
        ...

    def describe(self) -> dict[str, Any]:
        """The settings the scores depend on, by the names of results.ModelRef."""
        ...


def cells(candidates: Sequence[CompletionSet]) -> list[Cell]:
    """Every completion of every candidates, in order."""
    return [Cell(i, j) for i, each in enumerate(candidates) for j in range(len(each.completions))]


def by_cell(batches: Iterable[Batch], scores: Iterable[Sequence[Score]]) -> dict[Cell, Score]:
    """Each completion's score, from the scores of the batches it was dealt out to."""
    pairs = zip(batches, scores, strict=True)
    return {cell: score for batch, some in pairs for cell, score in zip(batch.cells, some, strict=True)}


def score_all(scorer: Scorer, candidates: Sequence[CompletionSet]) -> list[list[Score]]:
    """Plan, batch and stream, as a benchmark is scored. One list per candidates, in order."""
    plan = scorer.plan(candidates)
    found = by_cell(plan.batches, scorer.stream(plan.batches))
    return [[found[Cell(i, j)] for j in range(len(each.completions))] for i, each in enumerate(candidates)]


def words(text: str) -> list[str]:
    """Words and punctuation marks in lower case: the length of a text where no tokenizer is at hand."""
    return re.findall(r"\w+|[^\w\s]", text.lower())
