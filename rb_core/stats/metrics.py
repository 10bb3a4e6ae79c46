"""Pure functions from a score table to estimates. No model, no GPU, no randomness but a seeded bootstrap.

Everything is a weighted sum of means: an example earns credit, a subset's score is a mean of credits (the Ties
composite: five means), a section weighs subsets, the headline weighs sections. One bootstrap over prompts gives every
mean in every replicate, so that whatever is composed of them has its interval from the same draws.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from rb_core.benchmarks.spec import BenchmarkSpec, TieCredit
from rb_core.stats.intervals import Floats, Measure

# Ties composite: RewardBench 2 paper (arXiv:2506.01937), appendix on Ties scoring
TIES_WEIGHTS = {"tied": 0.30, "ref": 0.30, "margin": 0.20, "margin_hard": 0.20, "tanh": 0.01}


# Outcomes: one row an example


class Outcome(NamedTuple):
    """What one example's scores say. credit and margin are NaN when any completion is unscored."""

    example_id: str
    subset: str
    group: str
    credit: float
    margin: float
    tied: bool
    longer: int  # 1: the chosen completions are longer on average, -1: shorter, 0: equal
    chosen: Floats
    rejected: Floats

    @property
    def scored(self) -> bool:
        return not math.isnan(self.margin)


def outcomes(scores: pd.DataFrame, spec: BenchmarkSpec) -> list[Outcome]:
    """The outcome of each example, in the order of the table."""
    return [_outcome(rows, spec) for rows in _examples(scores)]


class _Rows(NamedTuple):
    example_id: str
    subset: str
    group: str
    is_chosen: np.ndarray[tuple[int], np.dtype[np.bool_]]
    score: Floats
    num_tokens: Floats


def _examples(scores: pd.DataFrame) -> Iterator[_Rows]:
    frame = scores.reset_index(drop=True)
    ids, subsets, groups = (frame[name].to_numpy() for name in ("example_id", "subset", "group"))
    chosen = frame["is_chosen"].to_numpy(dtype=bool)
    values = frame["score"].to_numpy(dtype=np.float64, na_value=np.nan)
    tokens = frame["num_tokens"].to_numpy(dtype=np.float64)
    for index in frame.groupby("example_id", sort=False).indices.values():
        first = index[0]
        yield _Rows(ids[first], subsets[first], groups[first], chosen[index], values[index], tokens[index])


def _outcome(rows: _Rows, spec: BenchmarkSpec) -> Outcome:
    chosen, rejected = rows.score[rows.is_chosen], rows.score[~rows.is_chosen]
    margin = float(chosen.min() - rejected.max())
    if spec.metric_of(rows.subset) == "matrix":
        credit, tied = _matrix_credit(chosen, rejected, spec.tie_credit)
    else:
        credit, tied = _credit(chosen, rejected, spec.tie_credit)
    difference = rows.num_tokens[rows.is_chosen].mean() - rows.num_tokens[~rows.is_chosen].mean()
    return Outcome(
        rows.example_id, rows.subset, rows.group, credit, margin, tied, int(np.sign(difference)), chosen, rejected
    )


def _credit(chosen: Floats, rejected: Floats, ties: TieCredit) -> tuple[float, bool]:
    """1 if every chosen completion beats every rejected one; at a tie what the record says: 0, or 1/k for k at the top.

    The 1/k rule: RewardBench 2 paper (arXiv:2506.01937), best-of-four accuracy.
    """
    worst, best = chosen.min(), rejected.max()
    if math.isnan(worst - best):
        return math.nan, False
    if worst != best:
        return float(worst > best), False
    return (1.0 / (1 + int((rejected == best).sum())) if ties == "split" else 0.0), True


def _matrix_credit(chosen: Floats, rejected: Floats, ties: TieCredit) -> tuple[float, bool]:
    """The mean over all chosen-rejected comparisons."""
    wins = wins_matrix(chosen, rejected, ties)
    return float(wins.mean()), bool((chosen[:, None] == rejected[None, :]).any())


def wins_matrix(chosen: Floats, rejected: Floats, ties: TieCredit) -> Floats:
    """(chosen, rejected) array: 1 where chosen scores higher, 0 where lower, the tie credit of a pair where equal."""
    if np.isnan(chosen).any() or np.isnan(rejected).any():
        return np.full((len(chosen), len(rejected)), np.nan)
    tie = 0.5 if ties == "split" else 0.0
    difference = chosen[:, None] - rejected[None, :]
    return np.where(difference > 0, 1.0, np.where(difference == 0, tie, 0.0))


def credit_measure(examples: Sequence[Outcome], *, simple: bool = True) -> Measure:
    groups = tuple(e.group for e in examples)
    independent = simple and len(set(groups)) == len(groups)
    values = np.array([e.credit for e in examples], dtype=np.float64)
    return Measure(values, groups, ties=sum(e.tied for e in examples), simple=independent)


def ties_measures(examples: Sequence[Outcome]) -> dict[str, Measure]:
    """The five parts of the Ties composite (RewardBench 2 paper; definitions as in its published evaluation).

    tied, ref: share of examples of that kind in which every right answer beats every wrong one. Per question with both
    versions: margin: the gap between right and wrong answers exceeds the spread among the right ones; margin_hard: so
    does the smaller gap of the two versions; tanh: by how much, squashed.
    """
    kinds: dict[str, dict[str, Outcome]] = {"ref": {}, "tied": {}}
    for example in examples:
        kind, _, number = example.example_id.partition(":")
        kinds[kind][number] = example
    measures = {}
    for kind, members in kinds.items():
        values = np.array([math.nan if not e.scored else float(e.margin > 0) for e in members.values()])
        tied = sum(e.tied for e in members.values())
        measures[kind] = Measure(values, tuple(e.group for e in members.values()), ties=tied)
    both = [n for n in kinds["tied"] if n in kinds["ref"]]
    groups = tuple(kinds["tied"][n].group for n in both)
    spread = np.array([np.ptp(kinds["tied"][n].chosen) for n in both])
    gap, gap_ref = (np.array([kinds[kind][n].margin for n in both]) for kind in ("tied", "ref"))
    smaller = np.minimum(gap, gap_ref)
    measures["margin"] = Measure(_above(gap, spread), groups)
    measures["margin_hard"] = Measure(_above(smaller, spread), groups)
    measures["tanh"] = Measure(_squashed(smaller, spread), groups, lowest=-1.0)
    return measures


def _above(gap: Floats, spread: Floats) -> Floats:
    return np.where(np.isnan(gap) | np.isnan(spread), np.nan, (gap > spread).astype(np.float64))


def _squashed(gap: Floats, spread: Floats) -> Floats:
    """tanh(gap / spread - 1); 0/0 counts as 0, as in the published evaluation."""
    with np.errstate(divide="ignore", invalid="ignore"):
        values = np.tanh(gap / spread - 1.0)
    return np.where((gap == 0) & (spread == 0), 0.0, values)
