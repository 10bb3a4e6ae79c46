"""How far a judge can be relied on, from its transcript: does it keep to its verdict when the answers change places,
does it prefer what stands first, what is longer, what it wrote itself? And do several judges agree?
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
import pandas as pd

from rb_core.results.estimate import Estimate
from rb_core.results.judge_records import Agreement
from rb_core.scorers.judge.protocols import Ask
from rb_core.stats.intervals import wilson


class Told(NamedTuple):
    """One row of a transcript, as far as reliability goes. shares: what each completion shown got; empty: nothing."""

    example_id: str
    ask: Ask
    shares: tuple[float, ...]

    @property
    def best(self) -> int | None:
        """The completion it is for; None where it is for none, or two alike."""
        return winner(self.ask.order, self.shares)


def winner(order: Sequence[int], shares: Sequence[float]) -> int | None:
    """Of the completions shown the one that got most; None where two got as much, or shares are empty."""
    top = max(shares, default=0.0)
    named = [index for index, share in zip(order, shares, strict=False) if share == top]
    return named[0] if len(named) == 1 else None


def share(true: int, of: int) -> Estimate | None:
    """A share with Wilson's interval; None of nothing."""
    if not of:
        return None
    low, high = wilson(true / of, of)
    return Estimate(value=true / of, low=low, high=high, method="wilson", scored=of)


class Positions(NamedTuple):
    """What positions have to do with verdicts; see records.Judging."""

    position_consistency: Estimate | None
    flips: int | None
    first_position: Estimate | None


class Preferences(NamedTuple):
    """What length and authorship have to do with verdicts; see records.Judging."""

    length_preference: Estimate | None
    self_preference: Estimate | None
    self_deserved: Estimate | None


# One judge


def told(rows: pd.DataFrame) -> list[Told]:
    """The rows of a transcript as they are counted here."""
    columns = (rows[name] for name in ("example_id", "mode", "order", "shares"))
    return [
        Told(str(example), Ask(mode, tuple(map(int, order))), tuple(map(float, shares)))
        for example, mode, order, shares in zip(*columns, strict=True)
    ]


def positions(found: Sequence[Told]) -> Positions:
    """Whether verdicts keep to an answer or to a place. Only where every order has a verdict are they compared."""
    groups: dict[Hashable, list[Told]] = {}
    for each in found:
        if len(each.ask.order) > 1:
            groups.setdefault((each.example_id, frozenset(each.ask.order)), []).append(each)
    whole = [group for group in groups.values() if all(each.shares for each in group) and len(group) > 1]
    kept = sum(len({each.best for each in group}) == 1 and group[0].best is not None for group in whole)
    verdicts = [each for group in groups.values() for each in group if each.best is not None]
    first = sum(each.best == each.ask.order[0] for each in verdicts)
    flips = len(whole) - kept if whole else None
    return Positions(share(kept, len(whole)), flips, share(first, len(verdicts)))


def duels(found: Iterable[Told]) -> Iterator[tuple[str, int, int]]:
    """(example, winner, loser) of every pair of completions that one row decides; two ratings decide one as well."""
    ratings: dict[str, list[tuple[int, float]]] = {}
    for each in found:
        if len(each.ask.order) == 1 and each.shares:
            ratings.setdefault(each.example_id, []).append((each.ask.order[0], each.shares[0]))
        elif len(each.ask.order) == 2 and each.best is not None:
            (loser,) = set(each.ask.order) - {each.best}
            yield each.example_id, each.best, loser
    for example, rated in ratings.items():
        for (a, score_a), (b, score_b) in combinations(rated, 2):
            if score_a != score_b:
                yield (example, a, b) if score_a > score_b else (example, b, a)


def preferences(
    found: Sequence[Told],
    lengths: Mapping[tuple[str, int], int],
    own: Mapping[tuple[str, int], bool],
    chosen: Mapping[tuple[str, int], bool],
) -> Preferences:
    """Whether verdicts go to the longer completion, and to the judge's own.

    By (example, completion): lengths in tokens; own: whether the judge wrote it, only where its author is known;
    chosen: whether it is a chosen one.
    """
    longer, unequal, for_own, deserved, own_pairs = 0, 0, 0, 0, 0
    for example, winner, loser in duels(found):
        left, right = (example, winner), (example, loser)
        if lengths[left] != lengths[right]:
            unequal += 1
            longer += lengths[left] > lengths[right]
        if left in own and right in own and own[left] != own[right] and chosen[left] != chosen[right]:
            own_pairs += 1
            for_own += own[left]
            deserved += chosen[left if own[left] else right]
    return Preferences(share(longer, unequal), share(for_own, own_pairs), share(deserved, own_pairs))


# Several judges


def pair_verdicts(scores: Mapping[tuple[str, int], float]) -> dict[tuple[str, int, int], int]:
    """For every two completions of an example that both have a score: 1 where the first is better, -1 the second, 0."""
    examples: dict[str, list[int]] = {}
    for example, completion in scores:
        examples.setdefault(example, []).append(completion)
    return {
        (example, a, b): int(np.sign(scores[example, a] - scores[example, b]))
        for example, members in examples.items()
        for a, b in combinations(sorted(members), 2)
        if not np.isnan(scores[example, a] - scores[example, b])
    }


def agreement(judges: Sequence[Mapping[tuple[str, int], float]]) -> Agreement:
    """How far judges agree, from the scores that each gave by (example, completion)."""
    verdicts = [pair_verdicts(scores) for scores in judges]
    items = sorted({item for each in verdicts for item in each})
    table = [[each[item] for each in verdicts if item in each] for item in items]
    whole = [row for row in table if len(row) == len(judges)]
    return Agreement(items=len(items), fleiss_kappa=fleiss_kappa(whole), krippendorff_alpha=krippendorff_alpha(table))


def fleiss_kappa(table: Sequence[Sequence[Hashable]]) -> float | None:
    """Fleiss' kappa of items with a category from each of the same number of raters (two or more).

    None without items, and where every rating is of one category.
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
    """Krippendorff's nominal alpha of items with any number of ratings each; those with fewer than two do not count.

    None where nothing is left, and where every rating is of one category.
    """
    counts = [Counter(row) for row in table if len(row) > 1]
    totals = sum(counts, Counter())
    n = totals.total()
    apart = sum((row.total() ** 2 - sum(k * k for k in row.values())) / (row.total() - 1) for row in counts)
    expected = n * n - sum(k * k for k in totals.values())
    return 1 - (n - 1) * apart / expected if expected else None
