"""Reliability of a judge, from its records.

Position bias (does the verdict change with the order?), length bias, preference for its own completions, and the
agreement of several judges.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np

from rb_core.results.estimate import Estimate
from rb_core.results.judge_records import Agreement
from rb_core.scorers.judge.types import JudgeRecord
from rb_core.stats.intervals import proportion_estimate

Cell = tuple[str, int]  # (example, completion)


class PositionBias(NamedTuple):
    """Fields of results.Judging about the order of completions."""

    position_consistency: Estimate | None
    flips: int | None
    first_position: Estimate | None


class Preferences(NamedTuple):
    """Fields of results.Judging about length and authorship."""

    length_preference: Estimate | None
    self_preference: Estimate | None
    self_deserved: Estimate | None


def share(count: int, total: int) -> Estimate | None:
    """Return count / total with its interval; None for a total of 0."""
    if not total:
        return None
    return proportion_estimate(count / total, total, scored=total)


def position_bias(records: Iterable[JudgeRecord]) -> PositionBias:
    """Return how verdicts depend on positions. A group of orders counts only if each of its orders has a verdict."""
    groups: dict[Hashable, list[JudgeRecord]] = {}
    for record in records:
        if len(record.order) > 1:
            groups.setdefault((record.example_id, frozenset(record.order)), []).append(record)
    comparable = [group for group in groups.values() if len(group) > 1 and all(record.points for record in group)]
    winners = [{record.winner for record in group} for group in comparable]
    consistent = sum(len(names) == 1 and None not in names for names in winners)
    decided = [record for group in groups.values() for record in group if record.winner is not None]
    first = sum(record.winner == record.order[0] for record in decided)
    flips = len(comparable) - consistent if comparable else None
    return PositionBias(share(consistent, len(comparable)), flips, share(first, len(decided)))


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
    lengths: Mapping[Cell, int],
    is_own: Mapping[Cell, bool],
    is_chosen: Mapping[Cell, bool],
) -> Preferences:
    """Return how often verdicts go to the longer completion, and to the judge's own.

    Args:
        lengths: tokens of each completion.
        is_own: True for completions that the judge wrote; only completions with a known author.
        is_chosen: True for chosen completions.
    """
    longer = unequal = own_preferred = own_deserved = own_pairs = 0
    for example, winner, loser in decided_pairs(records):
        won, lost = (example, winner), (example, loser)
        if lengths[won] != lengths[lost]:
            unequal += 1
            longer += lengths[won] > lengths[lost]
        if won in is_own and lost in is_own and is_own[won] != is_own[lost] and is_chosen[won] != is_chosen[lost]:
            own_pairs += 1
            own_preferred += is_own[won]
            own_deserved += is_chosen[won if is_own[won] else lost]
    return Preferences(share(longer, unequal), share(own_preferred, own_pairs), share(own_deserved, own_pairs))


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


def judge_agreement(scores_by_judge: Sequence[Mapping[Cell, float]]) -> Agreement:
    """Return the agreement of judges on pairs of completions, from the scores of each judge."""
    verdicts = [pair_verdicts(scores) for scores in scores_by_judge]
    pairs = sorted({pair for by_pair in verdicts for pair in by_pair})
    table = [[by_pair[pair] for by_pair in verdicts if pair in by_pair] for pair in pairs]
    complete = [row for row in table if len(row) == len(scores_by_judge)]
    return Agreement(
        items=len(pairs), fleiss_kappa=fleiss_kappa(complete), krippendorff_alpha=krippendorff_alpha(table)
    )


def fleiss_kappa(table: Sequence[Sequence[Hashable]]) -> float | None:
    """Return Fleiss' kappa. Each row holds the category that each of the same number of raters (two or more) gave.

    None without rows, and if all ratings are of one category.
    """
    if not table:
        return None
    raters = len(table[0])
    counts = [Counter(row) for row in table]
    observed = sum(sum(n * (n - 1) for n in row.values()) for row in counts) / (len(table) * raters * (raters - 1))
    totals = sum(counts, Counter())
    expected = sum((n / (len(table) * raters)) ** 2 for n in totals.values())
    return None if expected == 1 else (observed - expected) / (1 - expected)


def krippendorff_alpha(table: Sequence[Sequence[Hashable]]) -> float | None:
    """Return Krippendorff's nominal alpha of rows with any number of ratings; rows with fewer than two do not count.

    None if no row is left, and if all ratings are of one category.
    """
    counts = [Counter(row) for row in table if len(row) > 1]
    totals = sum(counts, Counter())
    n = totals.total()
    disagreement = sum((row.total() ** 2 - sum(k * k for k in row.values())) / (row.total() - 1) for row in counts)
    expected = n * n - sum(k * k for k in totals.values())
    return 1 - (n - 1) * disagreement / expected if expected else None
