"""Reliability of a judge, from its records.

Position bias (does the verdict change with the order?), length bias, preference for its own completions, and the
agreement of several judges.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np

from rb_core.results.estimate import Estimate
from rb_core.results.judge_records import Agreement
from rb_core.scorers.judge.types import JudgeRecord
from rb_core.stats.agreement import Coefficient, agreement_of_items, fleiss_kappa, krippendorff_alpha
from rb_core.stats.intervals import mean_estimate
from rb_core.stats.item_outcomes import Flags, Floats

Cell = tuple[str, int]  # (example, completion)


class PositionBias(NamedTuple):
    """Fields of results.Judging about the order of completions."""

    position_consistency: Estimate | None
    flips: int | None
    first_position: Estimate | None


class Preferences(NamedTuple):
    """Fields of results.Judging about length and authorship."""

    length_preference: Estimate | None
    length_deserved: Estimate | None
    self_preference: Estimate | None
    self_deserved: Estimate | None


def share(verdicts: Sequence[tuple[str, float]]) -> Estimate | None:
    """Return the mean of (group, value from 0 to 1) with its interval over groups; None without verdicts."""
    if not verdicts:
        return None
    groups, values = zip(*verdicts, strict=True)
    return mean_estimate(np.array(values, dtype=np.float64), np.array(groups, dtype=np.str_))


def position_bias(records: Iterable[JudgeRecord], groups: Mapping[str, str]) -> PositionBias:
    """Return how verdicts depend on positions. A set of orders counts only if each of its orders has a verdict.

    Args:
        groups: group of each example; examples of one group are not independent.
    """
    by_set: dict[tuple[str, frozenset[int]], list[JudgeRecord]] = {}
    for record in records:
        if len(record.order) > 1:
            by_set.setdefault((record.example_id, frozenset(record.order)), []).append(record)
    consistent = []
    for (example, _), orders in by_set.items():
        if len(orders) > 1 and all(record.points for record in orders):
            winners = {record.winner for record in orders}
            consistent.append((groups[example], len(winners) == 1 and None not in winners))
    decided = [record for orders in by_set.values() for record in orders if record.winner is not None]
    first = [(groups[record.example_id], record.winner == record.order[0]) for record in decided]
    flips = sum(not same for _, same in consistent) if consistent else None
    return PositionBias(share(consistent), flips, share(first))


def decided_pairs(records: Iterable[JudgeRecord]) -> Iterator[tuple[str, int, int]]:
    """Yield (example, winner, loser) for every pair that a record decides, and every pair with different ratings."""
    ratings: dict[str, list[tuple[int, float]]] = {}
    for record in records:
        if len(record.order) == 1 and record.points:
            ratings.setdefault(record.example_id, []).append((record.order[0], record.points[0]))
        elif len(record.order) == 2 and record.winner is not None:
            (loser,) = set(record.order) - {record.winner}
            yield record.example_id, record.winner, loser
    for example, rated in ratings.items():
        for (a, rating_a), (b, rating_b) in combinations(rated, 2):
            if rating_a != rating_b:
                yield (example, a, b) if rating_a > rating_b else (example, b, a)


def preferences(
    records: Iterable[JudgeRecord],
    groups: Mapping[str, str],
    lengths: Mapping[Cell, int],
    is_chosen: Mapping[Cell, bool],
    is_own: Mapping[Cell, bool],
) -> Preferences:
    """Return how often verdicts go to the longer completion, and to the judge's own, and how often they should.

    Args:
        groups: group of each example; examples of one group are not independent.
        lengths: tokens of each completion.
        is_chosen: True for chosen completions.
        is_own: True for completions that the judge wrote; only completions with a known author.
    """
    longer, longer_deserved, own, own_deserved = [], [], [], []
    for example, winner, loser in decided_pairs(records):
        group, won, lost = groups[example], (example, winner), (example, loser)
        # 1 if the labels say the same as the verdict, 0 if the opposite, and a half if they prefer neither
        deserved = (1 + is_chosen[won] - is_chosen[lost]) / 2
        if lengths[won] != lengths[lost]:
            longer_won = lengths[won] > lengths[lost]
            longer.append((group, longer_won))
            longer_deserved.append((group, deserved if longer_won else 1 - deserved))
        if won in is_own and lost in is_own and is_own[won] != is_own[lost] and is_chosen[won] != is_chosen[lost]:
            own.append((group, is_own[won]))
            own_deserved.append((group, deserved if is_own[won] else 1 - deserved))
    return Preferences(share(longer), share(longer_deserved), share(own), share(own_deserved))


def pair_verdicts(scores: Mapping[Cell, float]) -> dict[tuple[str, int, int], int]:
    """Return the sign of the difference of the first and the second score for every pair with two scores."""
    examples: dict[str, list[int]] = {}
    for example, completion in scores:
        examples.setdefault(example, []).append(completion)
    return {
        (example, a, b): int(np.sign(scores[example, a] - scores[example, b]))
        for example, members in examples.items()
        for a, b in combinations(sorted(members), 2)
        if not np.isnan(scores[example, a] - scores[example, b])
    }


def judge_agreement(scores_by_judge: Sequence[Mapping[Cell, float]], groups: Mapping[str, str]) -> Agreement:
    """Return the agreement of judges on pairs of completions, from the scores of each judge.

    A verdict is "the first is better", "the second is better" or a tie. Which completion is the first is arbitrary, but
    the agreement expected by chance depends on it: with the chosen completion first, judges that are nearly always
    right nearly always give the same category, and seem to agree by chance. So every pair counts in both orders, half
    each. Unlike a random order this needs no seed, and any order of the completions gives the same numbers.

    Args:
        groups: group of each example; examples of one group are not independent.
    """
    verdicts = [pair_verdicts(scores) for scores in scores_by_judge]
    pairs = sorted({pair for by_pair in verdicts for pair in by_pair})
    table = [[by_pair[pair] for by_pair in verdicts if pair in by_pair] for pair in pairs]
    counts = np.array([[row.count(sign) for sign in (-1, 0, 1)] for row in table], dtype=np.float64).reshape(-1, 3)
    group_of_pair = np.array([groups[example] for example, _, _ in pairs], dtype=np.str_)
    compared = counts.sum(axis=1) > 1
    complete = counts.sum(axis=1) == len(scores_by_judge)

    def estimate(formula: Callable[[Floats], Coefficient | None], rows: Flags) -> Estimate | None:
        both_orders = np.concatenate([counts[rows], counts[rows][:, ::-1]])
        coefficient = formula(both_orders)
        if coefficient is None:
            return None
        values = coefficient.values.reshape(2, -1).mean(axis=0)
        agreement = mean_estimate(values, group_of_pair[rows], coefficient.lowest)
        return agreement if agreement.low is None else agreement.model_copy(update={"low": max(-1.0, agreement.low)})

    kappa, alpha = estimate(fleiss_kappa, complete), estimate(krippendorff_alpha, compared)
    return Agreement(
        items=len(pairs),
        fleiss_kappa=kappa.value if kappa else None,
        krippendorff_alpha=alpha.value if alpha else None,
        kappa=kappa,
        alpha=alpha,
        raw=mean_estimate(agreement_of_items(counts[compared]), group_of_pair[compared]) if compared.any() else None,
    )
