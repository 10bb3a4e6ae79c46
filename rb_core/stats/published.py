"""Estimates from published numbers alone, without scores."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

from rb_core.benchmarks.spec import BenchmarkSpec, Section
from rb_core.results.estimate import Estimate
from rb_core.stats.intervals import Z95, wilson
from rb_core.stats.summary import Metrics

# Intervals from numbers of examples alone


def section_estimate(spec: BenchmarkSpec, section: Section, value: float, known: Mapping[str, float]) -> Estimate:
    """A published section. Its variance: weights squared x p(1 - p) / n, with the subsets' own p where all are known,
    else the section's. A Ties question is one trial with both its versions."""
    total = sum(section.weights.values())
    trials = 2 if section.metric == "ties" else 1
    variance = 0.0
    for name, weight in section.weights.items():
        size = subset_size(spec, name)
        if size is None:
            return Estimate(value=value)
        p = known[name] if section.weights.keys() <= known.keys() else value
        variance += (weight / total) ** 2 * max(p * (1 - p), 0.0) / (size / trials)
    if variance == 0.0:
        return Estimate(value=value)
    share = min(max(value, 0.0), 1.0)
    low, high = wilson(share, max(1, round(share * (1 - share) / variance)))
    return Estimate(value=value, stderr=math.sqrt(variance), low=low, high=high, method="binomial")


def headline_estimate(spec: BenchmarkSpec, value: float, sections: Mapping[str, Estimate]) -> Estimate:
    """The published headline; its variance from the sections', taken as independent."""
    weights = {s.name: s.headline_weight for s in spec.sections if s.name in sections}
    errors = [sections[name].stderr for name in weights]
    total = sum(weights.values())
    if any(error is None for error in errors):
        return Estimate(value=value)
    variance = sum((w / total * (e or 0.0)) ** 2 for w, e in zip(weights.values(), errors, strict=True))
    half = Z95 * math.sqrt(variance)
    return Estimate(value=value, stderr=half / Z95, low=value - half, high=value + half, method="binomial")


def accuracy_estimate(value: float, size: int | None) -> Estimate:
    """A published accuracy over `size` pairs, with Wilson's interval; without one where the size is not known."""
    if size is None:
        return Estimate(value=value)
    low, high = wilson(value, size)
    stderr = math.sqrt(value * (1 - value) / size)
    return Estimate(value=value, stderr=stderr, low=low, high=high, method="wilson")


class Estimates(NamedTuple):
    """The part of a result that accuracies alone can give."""

    headline: Estimate | None
    sections: dict[str, Estimate]
    subsets: dict[str, Estimate]
    absent: dict[str, str]


def estimates_from(spec: BenchmarkSpec, accuracies: Mapping[str, float], computed: Metrics | None = None) -> Estimates:
    """Sections and headline by the benchmark's record from accuracies of subsets, with intervals as above.

    computed: what is known from scores of the other subsets; it stands, and is completed by the accuracies.
    """
    known = dict(computed.subsets) if computed else {}
    known |= {name: subset_estimate(spec, name, value) for name, value in accuracies.items()}
    values = {name: estimate.value for name, estimate in known.items() if estimate.value is not None}
    sections = dict(computed.sections) if computed else {}
    absent = {}
    for section in spec.sections:
        if section.name in sections:
            continue
        if lacking := [name for name in section.weights if name not in values]:
            absent[section.name] = f"no scores and no accuracy of {', '.join(lacking)}"
        else:
            total = sum(section.weights.values())
            mean = sum(weight * values[name] for name, weight in section.weights.items()) / total
            sections[section.name] = section_estimate(spec, section, mean, values)
    ordered = {s.name: sections[s.name] for s in spec.sections if s.name in sections}
    headline = computed.headline if computed else None
    if without := [s.name for s in spec.sections if s.required and _value(ordered, s.name) is None]:
        absent["headline"] = f"without {', '.join(without)}"
    elif computed is None or len(ordered) > len(computed.sections):
        weights = {s.name: s.headline_weight for s in spec.sections if _value(ordered, s.name) is not None}
        mean = sum(weight * (_value(ordered, name) or 0.0) for name, weight in weights.items()) / sum(weights.values())
        headline = headline_estimate(spec, mean, {name: ordered[name] for name in weights})
    return Estimates(headline, ordered, {s.name: known[s.name] for s in spec.subsets if s.name in known}, absent)


def _value(estimates: Mapping[str, Estimate], name: str) -> float | None:
    return estimates[name].value if name in estimates else None


def subset_estimate(spec: BenchmarkSpec, name: str, value: float) -> Estimate:
    """A published score of a subset: an accuracy, or the Ties composite."""
    section = spec.section_of(name)
    if section is not None and section.metric == "ties":  # the composite is no share of examples
        return section_estimate(spec, section, value, {})
    return accuracy_estimate(value, subset_size(spec, name))


def subset_size(spec: BenchmarkSpec, subset: str) -> int | None:
    """The number of examples that a subset of the record is published with; None where unknown."""
    return next(s.count for s in spec.subsets if s.name == subset)
