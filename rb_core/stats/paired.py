"""Whether one model is better than another on the same examples, and what that leaves of a board's ranks.

Models are compared example by example, which takes out of the difference what makes an example hard for both. Examples
of one group (by default: with the same prompt) are resampled together, within strata that are the subsets.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.stats import binom

from rb_core.benchmarks.spec import BenchmarkSpec
from rb_core.errors import DataError
from rb_core.results.estimate import Estimate
from rb_core.stats.intervals import REPLICATES, Combination, Floats, Measure, bootstrap, compose
from rb_core.stats.item_outcomes import ItemOutcomes
from rb_core.stats.metrics import TIES_WEIGHTS, Outcome, ties_measures

ALPHA = 0.05


Flags = np.ndarray[tuple[int, ...], np.dtype[np.bool_]]


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
