"""Rank intervals of all models on a board."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, NamedTuple

import numpy as np
from scipy.stats import norm

from rb_core.benchmarks.spec import BenchmarkSpec
from rb_core.results.estimate import Estimate
from rb_core.stats.composition import Composition, compose
from rb_core.stats.intervals import group_codes, group_strata
from rb_core.stats.item_outcomes import Codes, Flags, Floats, ItemOutcomes
from rb_core.stats.metrics.base import Combination
from rb_core.stats.significance import ALPHA, holm

RankIntervalMethod = Literal["items", "intervals"]


class RankInterval(NamedTuple):
    """Best and worst rank that are not ruled out, and what they were computed from."""

    best: int
    worst: int
    method: RankIntervalMethod


class Standing(NamedTuple):
    """A ranked model: its headline as shown, the sections it is composed of, and its item outcomes where known."""

    model: str
    headline: Estimate
    sections: frozenset[str]
    outcomes: ItemOutcomes | None = None


def rank_intervals(
    standings: Sequence[Standing], spec: BenchmarkSpec, alpha: float = ALPHA
) -> list[RankInterval | None]:
    """Return each model's rank interval: from 1 + (models significantly better) to n - (models significantly worse).

    All pairs of the board are one family under Holm's correction, so that with probability 1 - alpha all intervals hold
    at once. A pair is a z test of the difference of the headlines. When the outcomes of both are known ("items"), its
    standard error is the limit of the paired bootstrap over groups, in closed form: replicates cannot resolve the
    smallest of thousands of p values, and nothing depends on a seed. Sections beyond the outcomes (Prior Sets) add
    their own variance. Otherwise ("intervals") the variance is the sum of both models', which ignores that they had the
    same examples and so finds less. A model without a standard error gets None, and narrows no other interval.
    """
    values = np.array([np.nan if s.headline.value is None else s.headline.value for s in standings])
    by_items, variances = pair_variances(standings, spec)
    n = len(standings)
    has_error = ~np.isnan(variances.diagonal()) & ~np.isnan(values)
    first, second = np.triu_indices(n, 1)
    tested = has_error[first] & has_error[second]
    first, second = first[tested], second[tested]
    difference, variance = values[first] - values[second], variances[first, second]
    with np.errstate(divide="ignore", invalid="ignore"):
        z = np.where(variance > 0, np.abs(difference) / np.sqrt(variance), 0.0)
    significant = holm(2 * norm.sf(z)) <= alpha
    better, worse = np.zeros(n, dtype=int), np.zeros(n, dtype=int)
    for winner, loser, rows in ((first, second, difference > 0), (second, first, difference < 0)):
        np.add.at(better, loser[significant & rows], 1)
        np.add.at(worse, winner[significant & rows], 1)
    return [
        RankInterval(1 + int(better[i]), n - int(worse[i]), "items" if by_items[i] else "intervals")
        if has_error[i]
        else None
        for i in range(n)
    ]


def pair_variances(standings: Sequence[Standing], spec: BenchmarkSpec) -> tuple[Flags, Floats]:
    """Return which models have outcomes, and the (models, models) variances of the differences of headlines.

    The diagonal holds each model's own variance; NaN where not known.
    """
    influence, covered, complete = _influences(standings, spec)
    explained = (influence**2).sum(axis=1)
    stated = np.array([np.nan if s.headline.stderr is None else s.headline.stderr**2 for s in standings])
    stated = np.where(np.isnan(stated) & complete, explained, stated)
    rest = np.where(complete, 0.0, np.maximum(stated - explained, 0.0))
    products = influence @ influence.T
    paired = explained[:, None] + explained[None, :] - 2 * products + rest[:, None] + rest[None, :]
    variances = np.where(covered[:, None] & covered[None, :], np.maximum(paired, 0.0), stated[:, None] + stated)
    variances[paired < 1e-15] = 0.0  # equal outcomes: what is left of the subtraction is rounding
    np.fill_diagonal(variances, stated)
    return covered, variances


def _influences(standings: Sequence[Standing], spec: BenchmarkSpec) -> tuple[Floats, Flags, Flags]:
    """Return (models, groups) deviations, and for each model whether outcomes give some, or all, of its headline.

    A deviation is what a group of examples adds to a headline beyond its mean. The sum of squares of a row is the
    variance of a stratified bootstrap over groups, to first order for means.
    """
    groups_of = _known_groups([s.outcomes for s in standings if s.outcomes is not None])
    covered, complete = np.zeros((2, len(standings)), dtype=np.bool_)
    entries: list[tuple[int, str, Floats]] = []
    groups = []
    for number, standing in enumerate(standings):
        if standing.outcomes is None:
            continue
        outcomes = standing.outcomes
        if groups_of:
            group_names = [groups_of.get(example, example) for example in outcomes.example_ids.tolist()]
            outcomes = replace(outcomes, groups=np.array(group_names, dtype=np.str_))
        composition = compose(outcomes, spec)
        coefficients, complete[number] = _headline_coefficients(standing, composition, spec)
        covered[number] = bool(coefficients)
        for name, coefficient in coefficients.items():
            measure = composition.measures[name]
            deviations = np.nan_to_num(measure.values - measure.mean) * coefficient / max(1, measure.scored)
            entries.append((number, name, deviations))
            groups.append(measure.groups)
    if not entries:
        return np.zeros((len(standings), 0)), covered, complete
    codes, num_groups = group_codes(groups)
    influence = np.zeros((len(standings), num_groups))
    codes_by_measure: dict[str, list[Codes]] = {}
    for (number, name, deviations), rows in zip(entries, codes, strict=True):
        influence[number] += np.bincount(rows, weights=deviations, minlength=num_groups)
        codes_by_measure.setdefault(name, []).append(rows)
    # The bootstrap draws within strata, so that each stratum's mean adds no variance.
    for members in group_strata([np.concatenate(rows) for rows in codes_by_measure.values()], num_groups):
        influence[:, members] -= influence[:, members].mean(axis=1, keepdims=True)
    return influence, covered, complete


def _headline_coefficients(
    standing: Standing, composition: Composition, spec: BenchmarkSpec
) -> tuple[Combination, bool]:
    """Return the coefficients in the headline of the measures in the outcomes, and whether they are all of it."""
    sections = [s for s in spec.sections if s.name in standing.sections]
    total = sum(s.headline_weight for s in sections)
    combined: dict[str, float] = {}
    for section in sections:
        for name, coefficient in composition.sections.get(section.name, {}).items():
            combined[name] = combined.get(name, 0.0) + coefficient * section.headline_weight / total
    return combined, bool(sections) and all(s.name in composition.sections for s in sections)


def _known_groups(outcomes: Sequence[ItemOutcomes]) -> dict[str, str]:
    """Return the group of each example, from outcomes whose prompts are known."""
    groups: dict[str, str] = {}
    for item_outcomes in outcomes:
        if item_outcomes.prompts_known:
            for example, group in zip(item_outcomes.example_ids.tolist(), item_outcomes.groups.tolist(), strict=True):
                groups.setdefault(example, group)
    return groups
