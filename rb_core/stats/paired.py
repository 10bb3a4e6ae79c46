"""Compare two models on the same examples.

Models are compared example by example, so that examples that are hard for both do not blur the difference. Examples of
one group (by default: with the same prompt) are resampled together, within strata that are the subsets.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from rb_core.benchmarks.spec import BenchmarkSpec
from rb_core.errors import DataError
from rb_core.results.estimate import Estimate
from rb_core.stats.composition import compose, compose_sections
from rb_core.stats.intervals import REPLICATES, bootstrap, bootstrap_estimate
from rb_core.stats.item_outcomes import Flags, Floats, ItemOutcomes
from rb_core.stats.metrics.base import Combination
from rb_core.stats.significance import bootstrap_p, mcnemar_mid_p


@dataclass(frozen=True)
class PairedDifference:
    """Model a's score minus model b's, on the examples that both scored.

    both, only_a, only_b, neither: numbers of examples by which model earned full credit; mcnemar: mid-p of only_a
    against only_b; has_partial_credit: some examples earned part of a credit, which these numbers ignore. The interval
    is absent when no draw of examples would change the difference.
    """

    difference: Estimate
    both: int
    only_a: int
    only_b: int
    neither: int
    mcnemar: float
    has_partial_credit: bool


@dataclass(frozen=True)
class PairedComparison:
    """Model a against model b on a benchmark.

    difference: of the headline, composed of the sections that the common examples give (published outcomes lack Prior
    Sets, so that it can differ from the board's); None when a required section is missing; p: two-sided, from the same
    bootstrap as the interval; common: number of examples that both scored; left_out: those that only one has or scored.
    """

    a: str
    b: str
    difference: Estimate | None
    p: float | None
    sections: dict[str, PairedDifference]
    subsets: dict[str, PairedDifference]
    common: int
    left_out: int


def align(a: ItemOutcomes, b: ItemOutcomes) -> tuple[ItemOutcomes, ItemOutcomes]:
    """Return the examples that both have, in a's order, with the groups of the one whose prompts are known.

    Raises DataError for outcomes of different benchmarks, and when the same id is in different subsets.
    """
    if a.benchmark != b.benchmark:
        raise DataError(f"{a.model} was scored on {a.benchmark} and {b.model} on {b.benchmark}: nothing to pair")
    _, rows_a, rows_b = np.intersect1d(a.example_ids, b.example_ids, assume_unique=True, return_indices=True)
    order = np.argsort(rows_a, kind="stable")
    left, right = a.take(rows_a[order]), b.take(rows_b[order])
    if differing := np.flatnonzero(left.subsets != right.subsets).tolist():
        name = left.example_ids[differing[0]]
        raise DataError(f"{a.model} and {b.model}: example {name} is in different subsets; their data differ")
    groups = left.groups if a.prompts_known else right.groups
    return replace(left, groups=groups), replace(right, groups=groups)


def compare_outcomes(
    a: ItemOutcomes, b: ItemOutcomes, spec: BenchmarkSpec, seed: int = 0, replicates: int = REPLICATES
) -> PairedComparison:
    """Compare two models by the benchmark's spec, on the examples that both scored.

    Intervals are percentiles of one seeded bootstrap over groups, stratified by subset, of the paired outcomes. Raises
    DataError when the outcomes cannot be paired.
    """
    left, right = align(a, b)
    scored = left.scored & right.scored
    left, right = left.take(scored), right.take(scored)
    scores_a, scores_b = compose(left, spec), compose(right, spec)
    subsets = {name: c for name, c in scores_a.subsets.items() if name in scores_b.subsets}
    sections, headline = compose_sections(subsets, scores_a.spec)
    measures = {f"a/{name}": m for name, m in scores_a.measures.items()}
    measures |= {f"b/{name}": m for name, m in scores_b.measures.items()}
    draws = bootstrap(measures, seed, replicates)

    def difference(combination: Combination, scored: int) -> tuple[Estimate, Floats]:
        value = sum(w * (measures[f"a/{name}"].mean - measures[f"b/{name}"].mean) for name, w in combination.items())
        drawn = np.zeros(replicates)
        for name, w in combination.items():
            drawn += w * (draws[f"a/{name}"] - draws[f"b/{name}"])
        return bootstrap_estimate(value, drawn, scored), drawn

    def with_counts(combination: Combination, rows: Flags) -> PairedDifference:
        estimate, _ = difference(combination, int(rows.sum()))
        return _count_outcomes(estimate, left.credits[rows], right.credits[rows])

    overall, p = None, None
    if headline is not None:
        overall, drawn = difference(headline, len(left))
        p = bootstrap_p(drawn)
    weights = {section.name: list(section.weights) for section in scores_a.spec.sections}
    return PairedComparison(
        a=a.model,
        b=b.model,
        difference=overall,
        p=p,
        sections={name: with_counts(c, np.isin(left.subsets, weights[name])) for name, c in sections.items()},
        subsets={name: with_counts(c, left.subsets == name) for name, c in subsets.items()},
        common=len(left),
        left_out=len(a) + len(b) - 2 * len(left),
    )


def _count_outcomes(estimate: Estimate, credits_a: Floats, credits_b: Floats) -> PairedDifference:
    full_a, full_b = credits_a >= 1.0, credits_b >= 1.0
    only_a, only_b = int((full_a & ~full_b).sum()), int((~full_a & full_b).sum())
    return PairedDifference(
        difference=estimate,
        both=int((full_a & full_b).sum()),
        only_a=only_a,
        only_b=only_b,
        neither=int((~full_a & ~full_b).sum()),
        mcnemar=mcnemar_mid_p(only_a, only_b),
        has_partial_credit=not np.isin((credits_a, credits_b), (0.0, 1.0)).all(),
    )
