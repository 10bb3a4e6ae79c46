"""Rank intervals of a whole board."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal, NamedTuple

import numpy as np
from scipy.stats import norm

from rb_core.benchmarks.spec import BenchmarkSpec
from rb_core.results.estimate import Estimate
from rb_core.stats.intervals import Combination, Floats
from rb_core.stats.item_outcomes import ItemOutcomes, Strings
from rb_core.stats.paired import ALPHA, Flags, _composed, _Parts, _parts

RankIntervalMethod = Literal["items", "intervals"]


RankInterval = tuple[int, int, RankIntervalMethod]


# A whole board


def holm(p_values: Sequence[float] | Floats) -> Floats:
    """Adjusted p-values, in the same order (Holm 1979): significant at a level where at most the level, for any number
    of them at once."""
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted


class Standing(NamedTuple):
    """A ranked model: its headline as shown, the sections that it is made of, and its outcomes where they are known."""

    model: str
    headline: Estimate
    sections: frozenset[str]
    outcomes: ItemOutcomes | None = None


def rank_intervals(
    standings: Sequence[Standing], spec: BenchmarkSpec, alpha: float = ALPHA
) -> list[RankInterval | None]:
    """For each model its best and worst rank: 1 + the models significantly better, all less those significantly worse.

    The family is every pair of the board, by Holm's correction, so that with probability 1 - alpha all ranges hold at
    once. A pair is a z-test of the difference of the headlines. Where the outcomes of both are known ("items"), its
    standard error is the one that the paired bootstrap over groups tends to, in closed form: the smallest of thousands
    of p-values are far below what replicates can tell, and nothing depends on a seed. What a headline has beyond the
    outcomes (Prior Sets) adds its own variance. Otherwise ("intervals") it comes from the two standard errors, which
    forgets that both models had the same examples and so finds less. Models without an error get None, and narrow no
    other range.
    """
    values = np.array([np.nan if s.headline.value is None else s.headline.value for s in standings])
    covered, variances = _pair_variances(standings, spec)
    n = len(standings)
    known = ~np.isnan(variances.diagonal()) & ~np.isnan(values)
    first, second = np.triu_indices(n, 1)
    kept = known[first] & known[second]
    first, second = first[kept], second[kept]
    difference, variance = values[first] - values[second], variances[first, second]
    with np.errstate(divide="ignore", invalid="ignore"):
        z = np.where(variance > 0, np.abs(difference) / np.sqrt(variance), 0.0)
    significant = holm(2 * norm.sf(z)) <= alpha
    better, worse = np.zeros(n, dtype=int), np.zeros(n, dtype=int)
    for winner, loser, rows in ((first, second, difference > 0), (second, first, difference < 0)):
        np.add.at(better, loser[significant & rows], 1)
        np.add.at(worse, winner[significant & rows], 1)
    return [
        (1 + int(better[i]), n - int(worse[i]), "items" if covered[i] else "intervals") if known[i] else None
        for i in range(n)
    ]


def _pair_variances(standings: Sequence[Standing], spec: BenchmarkSpec) -> tuple[Flags, Floats]:
    """Whose outcomes are known; and the (models, models) variances of the differences of headlines, each model's own
    on the diagonal, NaN where not known."""
    influence, covered, whole = _influences(standings, spec)
    explained = (influence**2).sum(axis=1)
    stated = np.array([np.nan if s.headline.stderr is None else s.headline.stderr**2 for s in standings])
    stated = np.where(np.isnan(stated) & whole, explained, stated)
    rest = np.where(whole, 0.0, np.maximum(stated - explained, 0.0))
    products = influence @ influence.T
    paired = explained[:, None] + explained[None, :] - 2 * products + rest[:, None] + rest[None, :]
    variances = np.where(covered[:, None] & covered[None, :], np.maximum(paired, 0.0), stated[:, None] + stated)
    variances[paired < 1e-15] = 0.0  # equal outcomes: what is left of the subtraction is rounding
    np.fill_diagonal(variances, stated)
    return covered, variances


def _influences(standings: Sequence[Standing], spec: BenchmarkSpec) -> tuple[Floats, Flags, Flags]:
    """(models, groups): what each group of examples adds to a headline beyond its mean; and for each model whether its
    outcomes make up some of its headline, and whether the whole.

    The sum of squares of a row is the variance of a stratified bootstrap over groups, for means in first order.
    """
    groups = _common_groups([s.outcomes for s in standings if s.outcomes is not None])
    index: dict[str, int] = {}
    touched: dict[int, set[str]] = {}
    entries: list[tuple[int, list[int], Floats]] = []
    covered: Flags = np.zeros(len(standings), dtype=np.bool_)
    whole: Flags = np.zeros(len(standings), dtype=np.bool_)
    for number, standing in enumerate(standings):
        if standing.outcomes is None:
            continue
        found = replace(standing.outcomes, groups=groups[id(standing.outcomes)])
        parts = _parts(found, spec)
        weights, whole[number] = _headline_weights(standing, parts, spec)
        covered[number] = bool(weights)
        for name, weight in weights.items():
            measure = parts.measures[name]
            rows = [index.setdefault(group, len(index)) for group in measure.groups]
            for row in set(rows):
                touched.setdefault(row, set()).add(name)
            share = np.nan_to_num(measure.values - measure.mean) * weight / max(1, measure.scored)
            entries.append((number, rows, share))
    influence = np.zeros((len(standings), len(index)))
    for number, rows, share in entries:
        influence[number] += np.bincount(rows, weights=share, minlength=len(index))
    return _centred(influence, touched), covered, whole


def _headline_weights(standing: Standing, parts: _Parts, spec: BenchmarkSpec) -> tuple[Combination, bool]:
    """The weights in the headline of the measures that outcomes give, and whether these are the whole headline."""
    sections, _ = _composed(parts.combinations, spec)
    made_of = [s for s in spec.sections if s.name in standing.sections]
    total = sum(s.headline_weight for s in made_of)
    combined: dict[str, float] = {}
    for section in made_of:
        for name, weight in sections.get(section.name, {}).items():
            combined[name] = combined.get(name, 0.0) + weight * section.headline_weight / total
    return combined, bool(made_of) and all(s.name in sections for s in made_of)


def _common_groups(found: Sequence[ItemOutcomes]) -> dict[int, Strings]:
    """For each of them (by id()) the groups of its examples, from any that knows the prompts."""
    known: dict[str, str] = {}
    for each in found:
        if each.prompts_known:
            for example, group in zip(each.example_ids.tolist(), each.groups.tolist(), strict=True):
                known.setdefault(example, group)
    if not known:
        return {id(each): each.groups for each in found}
    return {id(each): np.array([known.get(i, i) for i in each.example_ids.tolist()], dtype=np.str_) for each in found}


def _centred(influence: Floats, touched: Mapping[int, set[str]]) -> Floats:
    """Less the mean of each stratum: groups that add to the same measures, which the bootstrap draws by themselves."""
    strata: dict[frozenset[str], list[int]] = {}
    for row in range(influence.shape[1]):
        strata.setdefault(frozenset(touched[row]), []).append(row)
    centred = influence.copy()
    for members in strata.values():
        centred[:, members] -= centred[:, members].mean(axis=1, keepdims=True)
    return centred
