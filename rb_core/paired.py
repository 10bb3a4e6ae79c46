"""Whether one model is better than another on the same examples, and what that leaves of a board's ranks.

Models are compared example by example, which takes out of the difference what makes an example hard for both. Examples
of one group (by default: with the same prompt) are resampled together, within strata that are the subsets.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
from scipy.special import expit
from scipy.stats import binom, norm

from rb_core.benchmarks import BenchmarkSpec
from rb_core.errors import DataError
from rb_core.metrics import (
    REPLICATES,
    TIES_WEIGHTS,
    Combination,
    Estimate,
    Floats,
    Measure,
    Outcome,
    bootstrap,
    compose,
    ties_measures,
    wilson,
)
from rb_core.outcomes import ItemOutcomes, Strings

ALPHA = 0.05
Flags = np.ndarray[tuple[int, ...], np.dtype[np.bool_]]
RangeMethod = Literal["items", "intervals"]
RankRange = tuple[int, int, RangeMethod]


# --------------------------------------------------------------------------------------------------------------------
# Two models


@dataclass(frozen=True)
class Difference:
    """Model a's score minus model b's, on the examples that both scored.

    both, only_a, only_b, neither: numbers of examples that earned full credit from these; mcnemar: mid-p of only_a
    against only_b; shares: whether an example earned a share of a credit, of which these four know nothing. The
    interval is absent where no draw of examples would change the difference.
    """

    difference: Estimate
    both: int
    only_a: int
    only_b: int
    neither: int
    mcnemar: float
    shares: bool


@dataclass(frozen=True)
class Comparison:
    """Model a against model b.

    difference: of the headline, made of the sections that the common examples give (published outcomes lack Prior
    Sets, so that it can differ from the boards'), None where they lack a required one; p: two-sided, by the same
    bootstrap as the interval; common: examples that both scored; left_out: those that only one has or scored.
    """

    a: str
    b: str
    difference: Estimate | None
    p: float | None
    sections: dict[str, Difference]
    subsets: dict[str, Difference]
    common: int
    left_out: int


def align(a: ItemOutcomes, b: ItemOutcomes) -> tuple[ItemOutcomes, ItemOutcomes]:
    """The examples that both have, in a's order, with the groups of whichever knows the prompts.

    Raises DataError for outcomes of different benchmarks, and where the same id stands in different subsets.
    """
    if a.benchmark != b.benchmark:
        raise DataError(f"{a.model} was scored on {a.benchmark} and {b.model} on {b.benchmark}: nothing to pair")
    _, rows_a, rows_b = np.intersect1d(a.example_ids, b.example_ids, assume_unique=True, return_indices=True)
    order = np.argsort(rows_a, kind="stable")
    rows_a, rows_b = rows_a[order], rows_b[order]
    if differ := np.flatnonzero(a.subsets[rows_a] != b.subsets[rows_b]).tolist():
        name = a.example_ids[rows_a[differ[0]]]
        raise DataError(f"{a.model} and {b.model}: the example {name} is of different subsets: different data")
    groups = a.groups[rows_a] if a.prompts_known else b.groups[rows_b]
    return a.take(rows_a, groups), b.take(rows_b, groups)


def mcnemar_mid_p(only_a: int, only_b: int) -> float:
    """Two-sided mid-p of McNemar's test, of the numbers of examples that only one model got right.

    Fagerland, Lydersen and Laake 2013 (doi:10.1186/1471-2288-13-91): the exact conditional p less half the
    probability of what was observed. 1 where there are none.
    """
    n, fewer = only_a + only_b, min(only_a, only_b)
    if n == 0:
        return 1.0
    return min(1.0, float(2 * binom.cdf(fewer, n, 0.5) - binom.pmf(fewer, n, 0.5)))


def compare(
    a: ItemOutcomes, b: ItemOutcomes, spec: BenchmarkSpec, seed: int = 0, replicates: int = REPLICATES
) -> Comparison:
    """Model a against model b by the benchmark's record, from the examples that both scored.

    Intervals are percentiles of one seeded bootstrap over groups, stratified by subset, of the paired outcomes. Raises
    DataError where the outcomes cannot be paired.
    """
    left, right = align(a, b)
    scored = ~(np.isnan(left.credits) | np.isnan(right.credits))
    left, right = left.take(scored), right.take(scored)
    own, others = _parts(left, spec), _parts(right, spec)
    combinations = {name: c for name, c in own.combinations.items() if name in others.combinations}
    measures = {f"a/{name}": m for name, m in own.measures.items()}
    measures |= {f"b/{name}": m for name, m in others.measures.items()}
    draws = bootstrap(measures, seed, replicates)
    sections, headline = _composed(combinations, spec)

    def difference(combination: Combination, n: int) -> tuple[Estimate, Floats]:
        value = sum(w * (measures[f"a/{k}"].mean - measures[f"b/{k}"].mean) for k, w in combination.items())
        drawn = np.zeros(replicates)
        for k, w in combination.items():
            drawn += w * (draws[f"a/{k}"] - draws[f"b/{k}"])
        return _estimate(value, drawn, n), drawn

    def full(combination: Combination, subsets: Sequence[str]) -> Difference:
        rows = np.isin(left.subsets, subsets)
        won, lost = left.credits[rows] >= 1.0, right.credits[rows] >= 1.0
        only_a, only_b = int((won & ~lost).sum()), int((~won & lost).sum())
        both, neither = int((won & lost).sum()), int((~won & ~lost).sum())
        shares = not np.isin((left.credits[rows], right.credits[rows]), (0.0, 1.0)).all()
        estimate, _ = difference(combination, int(rows.sum()))
        return Difference(estimate, both, only_a, only_b, neither, mcnemar_mid_p(only_a, only_b), shares)

    whole, p = None, None
    if headline is not None:
        whole, drawn = difference(headline, len(left))
        p = _two_sided(drawn)
    return Comparison(
        a=a.model,
        b=b.model,
        difference=whole,
        p=p,
        sections={name: full(c, list(_section(spec, name))) for name, c in sections.items()},
        subsets={name: full(c, [name]) for name, c in combinations.items()},
        common=len(left),
        left_out=len(a) + len(b) - 2 * len(left),
    )


def _estimate(value: float, drawn: Floats, n: int) -> Estimate:
    if drawn.min() == drawn.max():
        return Estimate(value=value, scored=n)
    low, high = np.percentile(drawn, (2.5, 97.5))
    stderr = float(drawn.std(ddof=1))
    return Estimate(value=value, stderr=stderr, low=float(low), high=float(high), method="bootstrap", scored=n)


def _two_sided(drawn: Floats) -> float:
    """Twice the share of replicates on the rarer side of zero: below 0.05 where the 95% interval leaves zero out.

    One is added to both counts, as if the observed data were a replicate (Davison and Hinkley 1997, section 4.2).
    """
    rarer = min(int((drawn <= 0).sum()), int((drawn >= 0).sum()))
    return min(1.0, 2 * (rarer + 1) / (len(drawn) + 1))


# --------------------------------------------------------------------------------------------------------------------
# Outcomes as measures


class _Parts(NamedTuple):
    """The means that scores are composed of, and how each subset's score is."""

    measures: dict[str, Measure]
    combinations: dict[str, Combination]


def _parts(found: ItemOutcomes, spec: BenchmarkSpec) -> _Parts:
    measures: dict[str, Measure] = {}
    combinations: dict[str, Combination] = {}
    for subset in spec.subsets:
        rows = np.flatnonzero(found.subsets == subset.name)
        if not len(rows):
            continue
        if spec.metric_of(subset.name) != "ties":
            measures[subset.name] = Measure(found.credits[rows], tuple(found.groups[rows].tolist()))
            combinations[subset.name] = {subset.name: 1.0}
        elif found.margins is not None and found.spreads is not None:  # the composite is not made of outcomes alone
            parts = ties_measures(_examples(found.take(rows)))
            if all(len(measure.values) for measure in parts.values()):
                measures |= {f"{subset.name}/{part}": measure for part, measure in parts.items()}
                combinations[subset.name] = {f"{subset.name}/{part}": w for part, w in TIES_WEIGHTS.items()}
    return _Parts(measures, combinations)


def _examples(found: ItemOutcomes) -> list[Outcome]:
    """Outcomes as `metrics` has them, whose chosen scores have the right spread and are otherwise arbitrary."""
    nothing = np.full(len(found), np.nan)
    margins = nothing if found.margins is None else found.margins
    spreads = nothing if found.spreads is None else found.spreads
    longer = np.zeros(len(found), dtype=np.int8) if found.longer is None else found.longer
    rows = zip(
        found.example_ids.tolist(),
        found.subsets.tolist(),
        found.groups.tolist(),
        found.credits.tolist(),
        margins.tolist(),
        longer.tolist(),
        spreads.tolist(),
        strict=True,
    )
    return [
        Outcome(i, subset, group, credit, margin, margin == 0, sign, np.array([0.0, spread]), np.empty(0))
        for i, subset, group, credit, margin, sign, spread in rows
    ]


def _composed(
    combinations: Mapping[str, Combination], spec: BenchmarkSpec
) -> tuple[dict[str, Combination], Combination | None]:
    """The sections whose every subset is there, and the headline where no required section lacks."""
    present = [s for s in spec.sections if all(name in combinations for name in s.weights)]
    sections = {s.name: compose(s.weights, combinations) for s in present}
    if not sections or any(s.required and s.name not in sections for s in spec.sections):
        return sections, None
    return sections, compose({s.name: s.headline_weight for s in present}, sections)


def _section(spec: BenchmarkSpec, name: str) -> Mapping[str, float]:
    return next(s.weights for s in spec.sections if s.name == name)


def section_values(found: ItemOutcomes, spec: BenchmarkSpec) -> dict[str, float]:
    """The sections' scores that outcomes give, of those whose every subset they have; NaN where nothing was scored."""
    parts = _parts(found, spec)
    sections, _ = _composed(parts.combinations, spec)
    return {name: sum(w * parts.measures[k].mean for k, w in c.items()) for name, c in sections.items()}


def agrees(
    found: ItemOutcomes, spec: BenchmarkSpec, sections: Mapping[str, float | None], tolerance: float = 1e-3
) -> bool:
    """Whether outcomes are those that a result's sections come from: each section that both have is the same but for
    rounding, and there is one."""
    given = section_values(found, spec)
    differences = [abs(given[name] - value) for name, value in sections.items() if name in given and value is not None]
    return bool(differences) and all(difference <= tolerance for difference in differences)


# --------------------------------------------------------------------------------------------------------------------
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


def rank_ranges(standings: Sequence[Standing], spec: BenchmarkSpec, alpha: float = ALPHA) -> list[RankRange | None]:
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


# --------------------------------------------------------------------------------------------------------------------
# One model


class CalibrationBin(NamedTuple):
    """Examples whose confidence lies from `start` up to `end`: their number, their mean confidence, and the share that
    was right with its 95% interval (Wilson's)."""

    start: float
    end: float
    examples: int
    confidence: float
    accuracy: float
    low: float
    high: float


class Calibration(NamedTuple):
    """How far margins mean what the Bradley-Terry model takes them for; see `calibration`."""

    bins: tuple[CalibrationBin, ...]
    ece: float
    brier: float
    examples: int


def calibration(margins: Floats, bins: int = 10) -> Calibration | None:
    """Bradley-Terry probabilities beside outcomes; None where nothing was scored.

    A margin m says that the chosen completion is better with probability sigmoid(m). The model is as sure as
    sigmoid(|m|), from 0.5 to 1, and right where m > 0, half right where m is 0. bins: of equal width, those without
    examples left out; ece: mean distance of accuracy and confidence over the examples, by bin (Naeini et al. 2015);
    brier: mean of (1 - sigmoid(m))^2, where 0.25 is what a model earns that never knows. For more than two completions
    the margin is that of the worst chosen and best rejected, which is no probability of the whole example.
    """
    known = margins[~np.isnan(margins)]
    if not len(known):
        return None
    sure = expit(np.abs(known))
    right = np.where(known == 0, 0.5, (known > 0).astype(np.float64))
    edges = np.linspace(0.5, 1.0, bins + 1)
    place = np.minimum(np.searchsorted(edges, sure, side="right") - 1, bins - 1)
    found, ece = [], 0.0
    for number in range(bins):
        rows = place == number
        n = int(rows.sum())
        if n:
            confidence, accuracy = float(sure[rows].mean()), float(right[rows].mean())
            ece += n / len(known) * abs(accuracy - confidence)
            ends = float(edges[number]), float(edges[number + 1])
            found.append(CalibrationBin(*ends, n, confidence, accuracy, *wilson(accuracy, n)))
    return Calibration(tuple(found), ece, float((expit(-known) ** 2).mean()), len(known))


LENGTHS: Mapping[str, int] = {"chosen longer": 1, "chosen shorter": -1, "same length": 0}


def accuracy_by_length(found: ItemOutcomes, spec: BenchmarkSpec, seed: int = 0) -> dict[str, Estimate]:
    """Mean credit where the chosen completions are longer than the rejected, shorter, and as long; Ties left out.

    A model that prefers long answers has the first above the second. Empty where lengths are not known.
    """
    if found.longer is None:
        return {}
    pairs = np.array([spec.metric_of(name) != "ties" for name in found.subsets.tolist()], dtype=bool)
    estimates = {}
    for label, sign in LENGTHS.items():
        rows = found.take(pairs & (found.longer == sign) & ~np.isnan(found.credits))
        if not len(rows):
            continue
        whole = bool(np.isin(rows.credits, (0.0, 1.0)).all()) and len(set(rows.groups.tolist())) == len(rows)
        measure = Measure(rows.credits, tuple(rows.groups.tolist()))
        if whole:
            low, high = wilson(measure.mean, len(rows))
            spread = math.sqrt(measure.mean * (1 - measure.mean) / len(rows))
            estimates[label] = Estimate(
                value=measure.mean, stderr=spread, low=low, high=high, method="wilson", scored=len(rows)
            )
        else:
            estimates[label] = _estimate(measure.mean, bootstrap({label: measure}, seed)[label], len(rows))
    return estimates
