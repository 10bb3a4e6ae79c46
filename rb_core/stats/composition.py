"""Compose scores of subsets, sections and the headline from means of item outcomes.

Every score is a weighted sum of means: a metric composes a subset's score, a section weighs subsets, the headline
weighs sections. A harmonic mean is one with its gradient as weights, which depend on the means; its variance is then
that of the delta method.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from rb_core.benchmarks.spec import BenchmarkSpec
from rb_core.stats.item_outcomes import ItemOutcomes
from rb_core.stats.metrics.base import Combination, Measure

Value = Callable[[Combination], float]  # the value of a combination for a model


@dataclass(frozen=True)
class Composition:
    """The means that a benchmark's scores are composed of, and the combination that gives each score.

    spec: the benchmark with the weights of these data, see `BenchmarkSpec.weighted_for`.
    """

    spec: BenchmarkSpec
    measures: Mapping[str, Measure]
    subsets: Mapping[str, Combination]
    sections: Mapping[str, Combination]
    headline: Combination | None

    def value(self, combination: Combination) -> float:
        """Return a weighted sum of means; NaN when nothing was scored."""
        return sum(weight * self.measures[name].mean for name, weight in combination.items())

    def with_measures(self, measures: Mapping[str, Measure]) -> Composition:
        """Return the scores that other values of the same measures give."""
        changed = replace(self, measures=measures)
        sections, headline = compose_sections(self.subsets, self.spec, changed.value)
        return replace(changed, sections=sections, headline=headline)

    def failed(self) -> Composition:
        """Return the scores if every unscored example had failed."""
        return self.with_measures({name: m.filled(m.lowest) for name, m in self.measures.items()})

    def passed(self) -> Composition:
        """Return the scores if every unscored example had passed."""
        return self.with_measures({name: m.filled(1.0) for name, m in self.measures.items()})


def compose(outcomes: ItemOutcomes, spec: BenchmarkSpec) -> Composition:
    """Return the scores that outcomes give, by the benchmark's spec; a subset without examples or parts is left out."""
    spec = spec.weighted_for(Counter(outcomes.subsets.tolist()))
    measures: dict[str, Measure] = {}
    subsets: dict[str, Combination] = {}
    for subset in spec.subsets:
        rows = outcomes.subsets == subset.name
        parts = spec.metric_of(subset.name).parts(outcomes.take(rows), spec.tie_credit) if rows.any() else None
        if parts is not None:
            measures |= {measure_name(subset.name, part): measure for part, measure in parts.measures.items()}
            subsets[subset.name] = {measure_name(subset.name, part): c for part, c in parts.coefficients.items()}
    return Composition(spec, measures, subsets, {}, None).with_measures(measures)


def measure_name(subset: str, part: str) -> str:
    return f"{subset}/{part}"


def compose_sections(
    subsets: Mapping[str, Combination], spec: BenchmarkSpec, value: Value, other_value: Value | None = None
) -> tuple[dict[str, Combination], Combination | None]:
    """Return the sections whose subsets all have scores, and the headline unless a required section is missing.

    value: of the subsets, which the combination of a harmonic mean depends on; other_value: those of another model, for
    combinations of the differences between the two.
    """
    present = [section for section in spec.sections if section.weights.keys() <= subsets.keys()]
    sections = {}
    for section in present:
        weights = section.weights
        if section.harmonic:
            scores, others = ({name: of(subsets[name]) for name in weights} for of in (value, other_value or value))
            sections[section.name] = combine(section.coefficients(scores, others), subsets)
        else:
            sections[section.name] = mean_combination(weights, subsets)
    if not sections or any(section.required and section.name not in sections for section in spec.sections):
        return sections, None
    return sections, mean_combination({section.name: section.headline_weight for section in present}, sections)


def mean_combination(weights: Mapping[str, float], parts: Mapping[str, Combination]) -> Combination:
    """Return the weighted mean of combinations, as one combination."""
    total = sum(weights.values())
    return combine({name: weight / total for name, weight in weights.items()}, parts)


def combine(coefficients: Mapping[str, float], parts: Mapping[str, Combination]) -> Combination:
    """Return the weighted sum of combinations, as one combination."""
    combined: dict[str, float] = {}
    for name, factor in coefficients.items():
        for measure, coefficient in parts[name].items():
            combined[measure] = combined.get(measure, 0.0) + factor * coefficient
    return combined


def section_scores(outcomes: ItemOutcomes, spec: BenchmarkSpec) -> dict[str, float]:
    """Return the scores of the sections whose subsets are all in the outcomes; NaN when nothing was scored."""
    composition = compose(outcomes, spec)
    return {name: composition.value(combination) for name, combination in composition.sections.items()}


def outcomes_match_sections(
    outcomes: ItemOutcomes, spec: BenchmarkSpec, sections: Mapping[str, float | None], tolerance: float = 1e-3
) -> bool:
    """Return whether outcomes give a result's sections: all that both have are equal up to rounding, at least one."""
    scores = section_scores(outcomes, spec)
    differences = [abs(scores[name] - v) for name, v in sections.items() if name in scores and v is not None]
    return bool(differences) and all(difference <= tolerance for difference in differences)
