"""Outcomes of one model on one benchmark, as arrays with an entry per example.

Metrics, summaries, paired tests, rank intervals and tables by length all compute on `ItemOutcomes`. It is made from a
score table or from published outcomes by `rb_core.stats.outcome_files`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

Floats = np.ndarray[tuple[int, ...], np.dtype[np.float64]]
Flags = np.ndarray[tuple[int, ...], np.dtype[np.bool_]]
Strings = np.ndarray[tuple[int, ...], np.dtype[np.str_]]
Codes = np.ndarray[tuple[int, ...], np.dtype[np.int64]]
Rows = np.ndarray[Any, Any]  # indices or a mask


@dataclass(frozen=True, eq=False)
class CompletionScores:
    """Scores of the completions of several examples, one example after the other.

    values (NaN where unscored) and is_chosen have an entry per completion; starts holds the index of each example's
    first completion.
    """

    values: Floats
    is_chosen: Flags
    starts: Codes

    @property
    def sizes(self) -> Codes:
        return np.diff(self.starts, append=len(self.values))

    def __iter__(self) -> Iterator[tuple[Floats, Floats]]:
        """Yield the chosen and the rejected scores of each example."""
        for start, size in zip(self.starts, self.sizes, strict=True):
            rows = slice(start, start + size)
            values, is_chosen = self.values[rows], self.is_chosen[rows]
            yield values[is_chosen], values[~is_chosen]

    def __getitem__(self, rows: Rows) -> CompletionScores:
        """Return the scores of some examples."""
        sizes = self.sizes[rows]
        starts = np.cumsum(sizes) - sizes
        completions = np.arange(sizes.sum()) + np.repeat(self.starts[rows] - starts, sizes)
        return CompletionScores(self.values[completions], self.is_chosen[completions], starts)

    def worst_chosen(self) -> Floats:
        return np.minimum.reduceat(np.where(self.is_chosen, self.values, np.inf), self.starts)

    def best_chosen(self) -> Floats:
        return np.maximum.reduceat(np.where(self.is_chosen, self.values, -np.inf), self.starts)

    def best_rejected(self) -> Floats:
        return np.maximum.reduceat(np.where(self.is_chosen, -np.inf, self.values), self.starts)

    def num_chosen(self) -> Codes:
        return np.add.reduceat(self.is_chosen.astype(np.int64), self.starts)

    def num_best_rejected(self) -> Codes:
        """Return the number of rejected completions that share the best rejected score of each example."""
        is_best = ~self.is_chosen & (self.values == np.repeat(self.best_rejected(), self.sizes))
        return np.add.reduceat(is_best.astype(np.int64), self.starts)

    def num_best_chosen(self) -> Codes:
        """Return the number of chosen completions that share the best chosen score of each example."""
        is_best = self.is_chosen & (self.values == np.repeat(self.best_chosen(), self.sizes))
        return np.add.reduceat(is_best.astype(np.int64), self.starts)

    def margins(self) -> Floats:
        """Return worst chosen minus best rejected score of each example; NaN when a completion is unscored."""
        return self.worst_chosen() - self.best_rejected()


@dataclass(frozen=True, eq=False)
class ItemOutcomes:
    """Outcomes of one model on one benchmark; all arrays have an entry per example.

    groups: examples of one group are resampled together; without known prompts, each example's own id. credits: from
    0 to 1, NaN when a completion is unscored. Published outcomes have no more than that; a score table also gives
    tied: whether a chosen and a rejected completion tie at the decisive place; margins: worst chosen minus best
    rejected score, or what the metric has in its place, in the model's units; spreads: best minus worst chosen score;
    and all scores.

    lengths, markdown: how much longer, and how much more marked up, the chosen completions are than the rejected ones:
    (a - b) / (a + b + 1) of the mean lengths, and of the mean numbers of markdown marks. NaN where not known,
    or where completions are not compared with each other; None when no example has them.
    """

    model: str
    benchmark: str
    example_ids: Strings
    subsets: Strings
    groups: Strings
    credits: Floats
    margins: Floats | None = None
    source: str = ""
    spreads: Floats | None = None
    tied: Flags | None = None
    scores: CompletionScores | None = None
    lengths: Floats | None = None
    markdown: Floats | None = None

    def __len__(self) -> int:
        return len(self.example_ids)

    @property
    def scored(self) -> Flags:
        return ~np.isnan(self.credits)

    @property
    def prompts_known(self) -> bool:
        """Return whether groups differ from the examples' ids."""
        return not np.array_equal(self.groups, self.example_ids)

    def take(self, rows: Rows) -> ItemOutcomes:
        """Return the outcomes of some examples, in the order of `rows` (indices or a mask)."""
        columns: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(self)}
        taken: dict[str, Any] = {
            name: column[rows] for name, column in columns.items() if isinstance(column, np.ndarray | CompletionScores)
        }
        return replace(self, **taken)


def style_difference(chosen: Floats, rejected: Floats) -> Floats:
    """Return (a - b) / (a + b + 1) for amounts of something in chosen and rejected completions: from -1 to 1."""
    return (chosen - rejected) / (chosen + rejected + 1)
