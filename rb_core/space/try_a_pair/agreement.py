"""Compare how two models order the completions of one question."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

from rb_core.space.try_a_pair.result import PairResult


class ModelAgreement(NamedTuple):
    """Counts of the pairs of completions by how two models order them."""

    a: str
    b: str
    same: int
    opposite: int
    tied: int  # at least one of the models ties the pair, or leaves a completion unscored
    disagreements: tuple[tuple[int, int], ...]  # the opposite pairs, as indices; `a` prefers the first


def model_agreements(results: Sequence[PairResult]) -> list[ModelAgreement]:
    """Return the agreement of every two models."""
    return [_compare(a, b) for a, b in combinations(results, 2)]


def _compare(a: PairResult, b: PairResult) -> ModelAgreement:
    same = tied = 0
    disagreements = []
    for i, j in combinations(range(len(a.completions)), 2):
        orders = _order(a, i, j), _order(b, i, j)
        if 0 in orders:
            tied += 1
        elif orders[0] == orders[1]:
            same += 1
        else:
            disagreements.append((i, j) if orders[0] > 0 else (j, i))
    return ModelAgreement(a.model, b.model, same, len(disagreements), tied, tuple(disagreements))


def _order(result: PairResult, i: int, j: int) -> int:
    """Return 1 if completion i scores above j, -1 if below, 0 for a tie or a missing score."""
    first, second = result.completions[i].value, result.completions[j].value
    return 0 if first is None or second is None else (first > second) - (first < second)
