"""Expected scores of random choice, of a benchmark's subsets, sections and headline."""

from __future__ import annotations

from collections.abc import Mapping

from rb_core.benchmarks.spec import BenchmarkSpec
from rb_core.results.estimate import Chance
from rb_core.stats.composition import compose_sections
from rb_core.stats.item_outcomes import ItemOutcomes
from rb_core.stats.metrics.base import Combination


def declared_chance(spec: BenchmarkSpec) -> dict[str, float]:
    """Return what random choice is expected to score in each subset of the published data, where known."""
    return {subset.name: subset.chance for subset in spec.subsets if subset.chance is not None}


def chance_of_outcomes(outcomes: ItemOutcomes, spec: BenchmarkSpec) -> Chance:
    """Return what random choice is expected to score on the examples of a score table."""
    subsets = {}
    for subset in spec.subsets:
        rows = outcomes.subsets == subset.name
        scores = outcomes.take(rows).scores if rows.any() else None
        if scores is not None:
            subsets[subset.name] = spec.metric_of(subset.name).chance(scores, outcomes.example_ids[rows])
    return compose_chance({name: value for name, value in subsets.items() if value is not None}, spec)


def compose_chance(subsets: Mapping[str, float], spec: BenchmarkSpec) -> Chance:
    """Return the chance level of sections and headline from that of subsets, with the weights of the scores."""

    def value(combination: Combination) -> float:
        return sum(weight * subsets[name] for name, weight in combination.items())

    sections, headline = compose_sections({name: {name: 1.0} for name in subsets}, spec, value)
    return Chance(
        headline=None if headline is None else value(headline),
        sections={name: value(combination) for name, combination in sections.items()},
        subsets=dict(subsets),
    )
