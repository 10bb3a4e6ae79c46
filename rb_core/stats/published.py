"""Estimates from published numbers alone, without scores."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

from rb_core.benchmarks.spec import BenchmarkSpec, Section
from rb_core.results.estimate import Estimate
from rb_core.stats.intervals import Z95, wilson, wilson_estimate
from rb_core.stats.summary import Summary


def subset_estimate(spec: BenchmarkSpec, name: str, value: float) -> Estimate:
    """Return a published subset score with its interval; without one when the subset's size is not known."""
    section = spec.section_of(name)
    if section is not None and not section.metric.averages_credits:  # not a share of examples
        return section_estimate(spec, section, value, {})
    size = subset_size(spec, name)
    return Estimate(value=value) if size is None else wilson_estimate(value, size)


def section_estimate(spec: BenchmarkSpec, section: Section, value: float, subsets: Mapping[str, float]) -> Estimate:
    """Return a published section score with its interval; without one when a subset's size is not known.

    Its variance is the sum of weight^2 p (1 - p) / n over the subsets, with their own p when `subsets` has all of
    them, else with the section's. n counts independent trials: a Ties question is one, with both its versions.
    """
    total = sum(section.weights.values())
    variance = 0.0
    for name, weight in section.weights.items():
        size = subset_size(spec, name)
        if size is None:
            return Estimate(value=value)
        p = subsets[name] if section.weights.keys() <= subsets.keys() else value
        trials = size / section.metric.examples_per_trial
        variance += (weight / total) ** 2 * max(p * (1 - p), 0.0) / trials
    if variance == 0.0:
        return Estimate(value=value)
    share = min(max(value, 0.0), 1.0)
    low, high = wilson(share, max(1, round(share * (1 - share) / variance)))
    return Estimate(value=value, stderr=math.sqrt(variance), low=low, high=high, method="binomial")


def headline_estimate(spec: BenchmarkSpec, value: float, sections: Mapping[str, Estimate]) -> Estimate:
    """Return a published headline with its interval; its variance is the sections', taken as independent."""
    weights = {s.name: s.headline_weight for s in spec.sections if s.name in sections}
    errors = [sections[name].stderr for name in weights]
    total = sum(weights.values())
    if any(error is None for error in errors):
        return Estimate(value=value)
    variance = sum((w / total * (e or 0.0)) ** 2 for w, e in zip(weights.values(), errors, strict=True))
    half = Z95 * math.sqrt(variance)
    return Estimate(value=value, stderr=half / Z95, low=value - half, high=value + half, method="binomial")


def subset_size(spec: BenchmarkSpec, subset: str) -> int | None:
    """Return the number of examples that a subset is published with; None when not known."""
    return next(s.count for s in spec.subsets if s.name == subset)


class PublishedEstimates(NamedTuple):
    """The numbers of a result that accuracies alone can give."""

    headline: Estimate | None
    sections: dict[str, Estimate]
    subsets: dict[str, Estimate]
    absent: dict[str, str]


def estimates_from_accuracies(
    spec: BenchmarkSpec, accuracies: Mapping[str, float], computed: Summary | None = None
) -> PublishedEstimates:
    """Return sections and headline by the benchmark's spec from accuracies of subsets.

    computed: estimates from scores of the other subsets, which the accuracies complete.
    """
    subsets = dict(computed.subsets) if computed else {}
    subsets |= {name: subset_estimate(spec, name, value) for name, value in accuracies.items()}
    values = {name: estimate.value for name, estimate in subsets.items() if estimate.value is not None}
    sections = dict(computed.sections) if computed else {}
    absent = {}
    for section in spec.sections:
        if section.name in sections:
            continue
        if missing := [name for name in section.weights if name not in values]:
            absent[section.name] = f"no scores and no accuracy of {', '.join(missing)}"
        else:
            value = _weighted_mean(section.weights, values)
            sections[section.name] = section_estimate(spec, section, value, values)
    sections = {s.name: sections[s.name] for s in spec.sections if s.name in sections}
    section_values = {name: e.value for name, e in sections.items() if e.value is not None}
    headline = computed.headline if computed else None
    if missing := [s.name for s in spec.sections if s.required and s.name not in section_values]:
        absent["headline"] = f"without {', '.join(missing)}"
    elif computed is None or len(sections) > len(computed.sections):
        weights = {s.name: s.headline_weight for s in spec.sections if s.name in section_values}
        value = _weighted_mean(weights, section_values)
        headline = headline_estimate(spec, value, {name: sections[name] for name in weights})
    return PublishedEstimates(
        headline, sections, {s.name: subsets[s.name] for s in spec.subsets if s.name in subsets}, absent
    )


def _weighted_mean(weights: Mapping[str, float], values: Mapping[str, float]) -> float:
    return sum(weight * values[name] for name, weight in weights.items()) / sum(weights.values())
