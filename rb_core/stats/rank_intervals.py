"""Rank intervals and tiers of all models on a board."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Literal, NamedTuple

import numpy as np
from scipy.special import ndtr

from rb_core.benchmarks.spec import BenchmarkSpec
from rb_core.results.estimate import Estimate
from rb_core.stats.composition import Composition, compose
from rb_core.stats.intervals import GroupSums, group_codes, group_sums, unscored_error
from rb_core.stats.item_outcomes import Codes, Flags, Floats, ItemOutcomes
from rb_core.stats.metrics.base import Combination
from rb_core.stats.significance import ALPHA, DETECTABLE_ERRORS, holm_cutoff

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


class Ranking(NamedTuple):
    """The rank interval of each model, and the difference of two headlines that a test finds with 80% power.

    detectable: for the median pair of models, at the 5% level for a single pair; None without a standard error.
    """

    intervals: list[RankInterval | None]
    detectable: float | None


def rank_models(standings: Sequence[Standing], spec: BenchmarkSpec, alpha: float = ALPHA) -> Ranking:
    """Return each model's rank interval: from 1 + (models significantly better) to n - (models significantly worse).

    All pairs of the board are one family under Holm's correction, so that with probability 1 - alpha all intervals hold
    at once. The test of a pair is that of `difference_p`, from the item outcomes of both where known ("items");
    sections beyond the outcomes (Prior Sets) add their own variance. Otherwise ("intervals") the variance is the sum of
    both models', which ignores that they had the same examples and so finds less.

    An unscored example is no advantage. A model's best rank counts the models that are better when its unscored
    examples failed; its worst rank counts a model as worse only if that holds when the own unscored examples failed and
    the other model's passed. Standard errors are moved in the same direction, by what unscored examples may change in
    them, so that a model with unscored examples never has a better best rank than it has with their scores. A model
    without a standard error gets None, and narrows no other interval.
    """
    errors = pair_errors(standings, spec)
    values = np.array([np.nan if s.headline.value is None else s.headline.value for s in standings])
    floor, ceiling = np.array([s.headline.bounds for s in standings]).reshape(-1, 2).T
    has_error = ~np.isnan(errors.variances.diagonal()) & ~np.isnan(values)
    first, second = np.nonzero(has_error[:, None] & has_error[None, :] & ~np.eye(len(standings), dtype=bool))
    stderr = np.sqrt(errors.variances)[first, second]
    shares, unscored = errors.shares[first, second], errors.unscored

    def p_of_lead(lead: Floats, stderr: Floats) -> Floats:
        """Return the two-sided p of the first model's lead; 1 where it has none."""
        with np.errstate(divide="ignore", invalid="ignore"):
            z = lead / np.sqrt(np.maximum(stderr, 0.0) ** 2 * (1 - shares) + lead**2 * shares)
        p: Floats = np.where(lead > 0, 2 * ndtr(-z), 1.0)
        return p

    best = p_of_lead(floor[first] - floor[second], stderr - unscored[second])
    largest = p_of_lead(ceiling[first] - floor[second], stderr - unscored[first] - unscored[second])
    worst = p_of_lead(floor[first] - ceiling[second], stderr + unscored[first] + unscored[second])
    is_better = best <= _cutoff(largest, first, second, alpha)
    is_worse = worst <= _cutoff(worst, first, second, alpha)
    better = np.bincount(second[is_better], minlength=len(standings))
    worse = np.bincount(first[is_worse], minlength=len(standings))
    intervals = [
        RankInterval(1 + int(better[i]), len(standings) - int(worse[i]), "items" if errors.by_items[i] else "intervals")
        if has_error[i]
        else None
        for i in range(len(standings))
    ]
    return Ranking(intervals, DETECTABLE_ERRORS * float(np.median(stderr)) if len(stderr) else None)


def rank_of(value: float, values: Iterable[float]) -> int:
    """Return 1 + the number of values that are larger."""
    return 1 + sum(other > value for other in values)


def tiers(ranks: Sequence[int], intervals: Sequence[RankInterval | None]) -> list[int | None]:
    """Return each model's tier, from 1, for models in the order of their ranks; None without a rank interval.

    A tier begins with the first model that cannot have the rank at which the tier above begins. So models of one tier
    cannot be told apart from its first model.
    """
    assigned: list[int | None] = []
    tier, start = 0, 0
    for rank, interval in zip(ranks, intervals, strict=True):
        if interval is not None and interval.best > start:
            tier, start = tier + 1, rank
        assigned.append(None if interval is None else tier)
    return assigned


def _cutoff(p_values: Floats, first: Codes, second: Codes, alpha: float) -> float:
    """Return Holm's cutoff over pairs of models, from the p of each ordered pair: each pair counts its smaller p."""
    order = np.lexsort((np.maximum(first, second), np.minimum(first, second)))
    return holm_cutoff(p_values[order].reshape(-1, 2).min(axis=1), alpha)


class PairErrors(NamedTuple):
    """Errors of the differences of headlines.

    by_items: (models,), True with item outcomes; variances: (models, models), with unscored examples as failures where
    outcomes are known; the diagonal holds each model's own variance, NaN where not known; shares: (models, models),
    1 / effective number of groups, 0 for unpaired models; unscored: (models,), by how much the scores of unscored
    examples may change a model's standard error.
    """

    by_items: Flags
    variances: Floats
    shares: Floats
    unscored: Floats


def pair_errors(standings: Sequence[Standing], spec: BenchmarkSpec) -> PairErrors:
    """Return the errors of the differences of all pairs of headlines."""
    n = len(standings)
    groups_of = _known_groups([s.outcomes for s in standings if s.outcomes is not None])
    covered, complete = np.zeros(n, dtype=bool), np.zeros(n, dtype=bool)
    unscored = np.array([s.headline.largest_unscored_error for s in standings])
    sums: dict[int, GroupSums] = {}
    for number, standing in enumerate(standings):
        if standing.outcomes is None:
            continue
        outcomes = standing.outcomes
        if groups_of:
            names = [groups_of.get(example, example) for example in outcomes.example_ids.tolist()]
            outcomes = replace(outcomes, groups=np.array(names, dtype=np.str_))
        composition = compose(outcomes, spec)
        failed = composition.failed()
        coefficients, complete[number] = _headline_coefficients(standing, failed)
        if coefficients:
            sums[number] = group_sums({name: failed.measures[name] for name in coefficients}, coefficients)
            covered[number] = True
            if complete[number] and not spec.has_harmonic_means:  # their coefficients change with the scores
                unscored[number] = unscored_error(composition.measures, coefficients)
    deviations, shares = _aligned(sums, n)
    explained = (deviations**2).sum(axis=1)
    stated = np.array([np.nan if s.headline.stderr is None else s.headline.stderr**2 for s in standings])
    stated = np.where(complete, explained, stated)
    rest = np.where(complete, 0.0, np.maximum(stated - explained, 0.0))
    paired = explained[:, None] + explained - 2 * deviations @ deviations.T + rest[:, None] + rest
    paired[paired < 1e-15] = 0.0  # equal outcomes: what is left of the subtraction is rounding
    both = covered[:, None] & covered
    variances = np.where(both, paired, stated[:, None] + stated)
    np.fill_diagonal(variances, stated)
    return PairErrors(covered, variances, np.where(both, np.maximum(shares[:, None], shares), 0.0), unscored)


def _aligned(sums: Mapping[int, GroupSums], n: int) -> tuple[Floats, Floats]:
    """Return the deviations of each model by group, (models, groups), and the sum of squares of its groups' shares."""
    if not sums:
        return np.zeros((n, 0)), np.zeros(n)
    codes, names = group_codes([model_sums.names for model_sums in sums.values()])
    deviations, shares = np.zeros((n, len(names))), np.zeros(n)
    for (number, model_sums), groups in zip(sums.items(), codes, strict=True):
        deviations[number, groups] = model_sums.deviations
        shares[number] = (model_sums.shares**2).sum()
    return deviations, shares


def _headline_coefficients(standing: Standing, composition: Composition) -> tuple[Combination, bool]:
    """Return the coefficients in the headline of the measures in the outcomes, and whether they are all of it."""
    sections = [s for s in composition.spec.sections if s.name in standing.sections]
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
