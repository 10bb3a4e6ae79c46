"""Estimates from published numbers alone, without scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from rb_core.benchmarks.spec import BenchmarkSpec, Section
from rb_core.results.estimate import Estimate
from rb_core.stats.intervals import estimate_of, proportion_estimate
from rb_core.stats.summary import Summary

UNKNOWN_SIZE = "the number of examples is not known"


def subset_estimate(spec: BenchmarkSpec, name: str, value: float) -> Estimate:
    """Return a published subset score with its interval; without one when the subset's size is not known."""
    section = spec.section_of(name)
    if section is not None and not section.metric.averages_credits:  # not a share of examples
        return section_estimate(spec, section, value, {})
    size = subset_size(spec, name)
    if size is None:
        return Estimate(value=value, no_interval=UNKNOWN_SIZE)
    return proportion_estimate(value, size, scored=size)


def section_estimate(spec: BenchmarkSpec, section: Section, value: float, subsets: Mapping[str, float]) -> Estimate:
    """Return a published section score with its interval; without one when a subset's size is not known.

    Its variance is the sum of weight^2 p (1 - p) / n over the subsets, with their own p when `subsets` has all of
    them, else with the section's; of a harmonic mean the weights are its gradient. n counts independent trials: a Ties
    question is one, with both its versions.
    """
    trials = _num_trials(spec, section)
    if trials is None:
        return Estimate(value=value, no_interval=UNKNOWN_SIZE)
    own = subsets if section.weights.keys() <= subsets.keys() else dict.fromkeys(section.weights, value)
    factors = section.coefficients(own, own)
    lowest, highest = section.metric.value_range
    scale = sum(factors.values()) if section.harmonic else 1.0

    def scatter(score: float) -> float:
        share = min(max((score - lowest) / (highest - lowest), 0.0), 1.0)
        return share * (1 - share) * (highest - lowest) ** 2

    variance = sum(factor**2 * scatter(own[name]) / trials[name] for name, factor in factors.items())
    groups = 1 / sum(share**2 / trials[name] for name, share in normalized(factors).items())
    estimate = estimate_of(value, variance, groups, (lowest, highest * scale), method="binomial")
    high = None if estimate.high is None else min(estimate.high, highest)
    return estimate.model_copy(update={"high": high})


def headline_estimate(spec: BenchmarkSpec, value: float, sections: Mapping[str, Estimate]) -> Estimate:
    """Return a published headline with its interval; its variance is the sections', taken as independent.

    It has bounds where a section has them. Without any section each required one is taken to have the headline's
    score: no other scores with this mean have a larger variance.
    """
    if not sections:
        required = [section for section in spec.sections if section.required]
        sections = {section.name: section_estimate(spec, section, value, {}) for section in required}
    present = [section for section in spec.sections if section.name in sections]
    trials = [_num_trials(spec, section) for section in present]
    errors = [sections[section.name].stderr for section in present]
    shares = normalized({section.name: section.headline_weight for section in present})
    bounds = composed_bounds([(shares[s.name], sections[s.name]) for s in present])
    if not present or None in trials or None in errors:
        return Estimate(value=value, no_interval=UNKNOWN_SIZE, **bounds)
    variance = sum((shares[s.name] * (error or 0.0)) ** 2 for s, error in zip(present, errors, strict=True))
    inverse = 0.0
    for section, sizes in zip(present, trials, strict=True):
        for name, share in normalized(section.weights).items():
            inverse += (shares[section.name] * share) ** 2 / (sizes or {})[name]
    lowest, highest = (
        sum(shares[section.name] * section.metric.value_range[end] for section in present) for end in (0, 1)
    )
    return estimate_of(value, variance, 1 / inverse, (lowest, highest), method="binomial", **bounds)


def composed_bounds(parts: Sequence[tuple[float, Estimate]]) -> dict[str, Any]:
    """Return the bounds and the unscored error of a weighted sum of estimates; nothing where none has bounds."""
    if all(estimate.floor is None for _, estimate in parts):
        return {}
    return {
        "floor": sum(weight * estimate.bounds[0] for weight, estimate in parts),
        "ceiling": sum(weight * estimate.bounds[1] for weight, estimate in parts),
        "unscored_error": sum(weight * estimate.largest_unscored_error for weight, estimate in parts),
    }


def normalized(weights: Mapping[str, float]) -> dict[str, float]:
    """Return weights that add up to 1."""
    total = sum(weights.values())
    return {name: weight / total for name, weight in weights.items()}


def _num_trials(spec: BenchmarkSpec, section: Section) -> dict[str, float] | None:
    """Return the number of independent trials of each subset; None when one is not known."""
    sizes = {name: subset_size(spec, name) for name in section.weights}
    if None in sizes.values():
        return None
    return {name: (size or 0) / section.metric.examples_per_trial for name, size in sizes.items()}


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
            value = section.mean(values)
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
