"""What several outcomes say together, and what one margin is among the model's own. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any, NamedTuple, Protocol

import numpy as np

from rb_core.leaderboard.board import Board
from rb_core.space.try_a_pair.scoring import Outcome


class Agreement(NamedTuple):
    """How two models order the pairs of completions.

    same, opposite: pairs of completions that both put in the same, or the other, order; tied: pairs that at least one
    of them ties, or leaves unscored; split: the opposite pairs, by index, the one that `a` prefers first.
    """

    a: str
    b: str
    same: int
    opposite: int
    tied: int
    split: tuple[tuple[int, int], ...]


def agreements(outcomes: Sequence[Outcome]) -> list[Agreement]:
    """Every pair of models compared on every pair of completions."""
    return [_agreement(a, b) for a, b in combinations(outcomes, 2)]


def _agreement(a: Outcome, b: Outcome) -> Agreement:
    count = len(a.completions)
    same = tied = 0
    split = []
    for i, j in combinations(range(count), 2):
        one, other = _order(a, i, j), _order(b, i, j)
        if not one or not other:
            tied += 1
        elif one == other:
            same += 1
        else:
            split.append((i, j) if one > 0 else (j, i))
    return Agreement(a.model, b.model, same, len(split), tied, tuple(split))


def _order(outcome: Outcome, i: int, j: int) -> int:
    """1 where completion i scores above j, -1 below, 0 for a tie or where one has no score."""
    first, second = outcome.completions[i].value, outcome.completions[j].value
    return 0 if first is None or second is None else (first > second) - (first < second)


class Place(NamedTuple):
    """share: of the model's margins on that benchmark, how many are smaller in size, ties counted half."""

    benchmark: str
    share: float
    margins: int


class Outcomes(Protocol):
    """What is asked of a source of results."""

    def boards(self) -> Mapping[str, Board]:
        """Return the boards by benchmark."""

    def outcomes(self, benchmark: str, model: str) -> Any:
        """The model's outcomes on a benchmark, with `margins`, or None."""


def place(margins: Any, margin: float, benchmark: str) -> Place | None:
    """Where a margin falls among others by size: the sign of a benchmark's margin says who was right, which nobody
    knows of a visitor's pair. None without a finite margin to compare with."""
    sizes = np.abs(np.asarray(margins, dtype=np.float64))
    sizes = sizes[np.isfinite(sizes)]
    if not len(sizes):
        return None
    share = (np.sum(sizes < abs(margin)) + 0.5 * np.sum(sizes == abs(margin))) / len(sizes)
    return Place(benchmark, float(share), len(sizes))


def place_of(outcome: Outcome, source: Outcomes) -> Place | None:
    """Where the outcome's margin falls among the model's margins on the benchmark it has most of; None where none are
    known, and for a judge, whose scores have another scale with every way to ask."""
    if outcome.margin is None or outcome.judged:
        return None
    found = []
    for board in source.boards().values():
        known = source.outcomes(board.id, outcome.model)
        if known is not None and known.margins is not None:
            placed = place(known.margins, outcome.margin, board.title)
            found += [placed] if placed else []
    return max(found, key=lambda each: each.margins, default=None)
