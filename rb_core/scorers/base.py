"""What every scorer is: a plan made once from the whole input, and scores batch by batch."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

from rb_core.example import Candidates
from rb_core.table import Score


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

    def plan(self, candidates: Sequence[Candidates]) -> Plan:
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


def cells(candidates: Sequence[Candidates]) -> list[Cell]:
    """Every completion of every candidates, in order."""
    return [Cell(i, j) for i, each in enumerate(candidates) for j in range(len(each.completions))]


def words(text: str) -> list[str]:
    """Words and punctuation marks in lower case: the length of a text where no tokenizer is at hand."""
    return re.findall(r"\w+|[^\w\s]", text.lower())
