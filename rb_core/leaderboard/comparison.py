"""Two to four models on one benchmark, side by side: differences, whether they are noise, where the models disagree.

Statistics come from `rb_core.stats.paired`; this module puts them together as plain JSON. Values and differences are
fractions from 0 to 1 (-1 to 1), None where not known. No torch, no gradio.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Any, NamedTuple, Protocol

import numpy as np

from rb_core.benchmarks.spec import BenchmarkSpec
from rb_core.errors import RewardBenchError, quoted
from rb_core.leaderboard.board import spec_of_results
from rb_core.results.estimate import Estimate
from rb_core.results.schema import KIND_LABELS, Result
from rb_core.stats import calibration, length, paired, significance
from rb_core.stats.intervals import Z95
from rb_core.stats.item_outcomes import Floats, ItemOutcomes

LEAST, MOST = 2, 4


LEVEL = 0.05


BINS = 24


NOTHING = 1e-12  # a difference that is left of a subtraction of equal sums


QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


SCORE = "Score"


# Scores of these are no rewards: a difference of two is no log-odds.
NO_LOG_ODDS = frozenset({"baseline", "generative"})


_BASIS = {
    "items": "Paired on {examples:,} examples that both were scored on.",
    "intervals": "From published scores alone, as if the two had been scored on different examples: the interval is "
    "wider than a paired one would be.",
    "none": "There is no interval for at least one of the two, so nothing can be said about noise.",
}


JUDGED = (
    "A difference of the whole score is judged by the paired bootstrap, one of a section by its bootstrap error, one "
    "of a subset by the mid-p McNemar test, or by its bootstrap error where a tie earned a share. Sections and subsets "
    "are judged each by itself: of twenty without any true difference, about one will show one. Where a row has "
    "several differences, their p values are adjusted by Holm's method."
)


APART = (
    "Where only published scores are known, a difference is judged by the two standard errors, as a difference of two "
    "models that were scored on different examples."
)


class ComparisonSource(Protocol):
    """Where a comparison's numbers come from; the page's `ResultsSource` is one."""

    def results(self, benchmark: str) -> Mapping[str, Result]:
        """The benchmark's results by the model's name; empty where there are none."""

    def outcomes(self, benchmark: str, model: str) -> ItemOutcomes | None:
        """What the model earned example by example; None where only aggregates are known."""


class ComparisonError(RewardBenchError):
    """What was asked for cannot be compared; the message says what to change."""


def comparison(source: ComparisonSource, benchmark: str, models: Sequence[str]) -> dict[str, Any]:
    """The first of these models against each of the others, as plain JSON.

    models: the chosen ones; pairs: for each but the first the verdict in words; rows: score, sections and subsets with
    each model's value and each pair's difference; scores: margins, calibration and accuracy by length of each model;
    notes: what a reader has to know. Raises ComparisonError for an unknown benchmark or model, a repeated model, and
    fewer than two or more than four.
    """
    results = source.results(benchmark)
    check(results, benchmark, models)
    spec = spec_of_results(list(results.values()))
    outcomes = {model: source.outcomes(benchmark, model) for model in models}
    known = [_Model(results[model], outcomes[model], spec) for model in models]
    pairs = _pairs(known, spec)
    rows = _rows(known, pairs, spec)
    return {
        "benchmark": benchmark,
        "title": spec.title,
        "models": [each.facts() for each in known],
        "pairs": [_pair(pair, rows[0]["pairs"][i], len(pairs)) for i, pair in enumerate(pairs)],
        "rows": rows,
        "scores": [_score_views(each) for each in known],
        "notes": _notes(known, pairs),
    }


def check(results: Mapping[str, Result], benchmark: str, models: Sequence[str]) -> None:
    """Raises ComparisonError unless these models can be compared on this benchmark."""
    if not results:
        raise ComparisonError(f"There are no results on {quoted(benchmark)} here, or they cannot be had now.")
    if not LEAST <= len(models) <= MOST:
        raise ComparisonError(f"Choose {LEAST} to {MOST} models: {len(models)} cannot be compared.")
    if unknown := [model for model in models if model not in results]:
        raise ComparisonError(f"There is no result of {', '.join(map(quoted, unknown))} on {benchmark}.")
    if len(set(models)) < len(models):
        raise ComparisonError("Choose each model once: one is named twice.")


# Models and pairs


@dataclass(frozen=True)
class _Model:
    """A model with what is known of it."""

    result: Result
    items: ItemOutcomes | None
    spec: BenchmarkSpec

    @property
    def name(self) -> str:
        return self.result.model.name

    def facts(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "kind": KIND_LABELS[self.result.model.kind],
            "status": self.result.status,
            "items": self.items is not None,
            "source": self.items.source if self.items else "",
        }

    def section(self, name: str) -> Estimate:
        """The section's value by the result file."""
        return self.result.sections.get(name) or Estimate(value=None)

    def subset(self, name: str) -> Estimate:
        """The subset's value by the result file, or else the mean of its credits where that is the subset's score."""
        if found := self.result.subsets.get(name):
            return found
        if self.items is None or not self.spec.metric_of(name).averages_credits:
            return Estimate(value=None)
        earned = self.items.credits[(self.items.subsets == name) & ~np.isnan(self.items.credits)]
        return Estimate(value=float(earned.mean()) if len(earned) else None)

    def score(self, sections: Sequence[str]) -> Estimate:
        """The weighted mean of these sections, with the error that follows from theirs; None without them all."""
        if not sections:
            return Estimate(value=None)
        weights = {s.name: s.headline_weight for s in self.spec.sections}
        parts = [(weights[name], self.section(name)) for name in sections]
        total = sum(weight for weight, _ in parts)
        values = [weight / total * part.value for weight, part in parts if part.value is not None]
        errors = [weight / total * part.stderr for weight, part in parts if part.stderr is not None]
        if len(values) < len(parts):
            return Estimate(value=None)
        return Estimate(value=sum(values), stderr=math.hypot(*errors) if len(errors) == len(parts) else None)


@dataclass(frozen=True)
class _Pair:
    """Two models. found: their paired comparison, None where not both have outcomes of single examples.
    sections: what the score is made of, the same for all pairs shown; empty where there is no score."""

    a: _Model
    b: _Model
    found: paired.PairedComparison | None
    sections: tuple[str, ...] = ()


def _pairs(models: Sequence[_Model], spec: BenchmarkSpec) -> list[_Pair]:
    """The first model with each of the others, and what all the pairs have in common as their score."""
    first, *others = models
    pairs = [_Pair(first, other, _paired(first, other, spec)) for other in others]
    common = tuple(s.name for s in spec.sections if all(_has(pair, s.name) for pair in pairs))
    if any(s.required and s.name not in common for s in spec.sections):
        return pairs
    # A section that not every pair has counts in none of the scores: all differences are of the same thing.
    weighed = replace(
        spec,
        sections=tuple(
            s if s.name in common else replace(s, headline_weight=0.0, required=False) for s in spec.sections
        ),
    )
    shown = []
    for pair in pairs:
        found = pair.found
        if found and set(found.sections) != set(common):
            found = _paired(pair.a, pair.b, weighed)
        shown.append(replace(pair, found=found, sections=common))
    return shown


def _paired(a: _Model, b: _Model, spec: BenchmarkSpec) -> paired.PairedComparison | None:
    """The paired comparison; None where there are no outcomes, or none of the same examples."""
    if a.items is None or b.items is None or not np.isin(a.items.example_ids, b.items.example_ids).any():
        return None
    found = paired.compare_outcomes(a.items, b.items, spec)
    return found if found.common else None


def _has(pair: _Pair, section: str) -> bool:
    """Whether the pair's difference in a section is known."""
    if pair.found:
        return section in pair.found.sections
    return pair.a.section(section).value is not None and pair.b.section(section).value is not None


# Rows


def _rows(models: Sequence[_Model], pairs: Sequence[_Pair], spec: BenchmarkSpec) -> list[dict[str, Any]]:
    """The score, the sections and the subsets that any of the models has a value of."""
    sections = pairs[0].sections
    rows = [_row(SCORE, "score", None, [m.score(sections) for m in models], [_whole(pair) for pair in pairs])]
    for section in spec.sections:
        cells = [_section_cell(pair, section.name) for pair in pairs]
        rows.append(_row(section.name, "section", section.name, [m.section(section.name) for m in models], cells))
    for subset in spec.subsets:
        parent = spec.section_of(subset.name)
        if parent and len(parent.weights) == 1 and not any(pair.found for pair in pairs):
            continue  # the section says it all, but where they disagree
        cells = [_subset_cell(pair, subset.name, spec) for pair in pairs]
        values = [m.subset(subset.name) for m in models]
        rows.append(_row(subset.name, "subset", parent.name if parent else None, values, cells))
    return [row for row in rows if row["level"] == "score" or any(value is not None for value in row["values"])]


def _row(
    name: str, level: str, section: str | None, values: Sequence[Estimate], cells: Sequence[_Cell]
) -> dict[str, Any]:
    """A row as JSON. p is adjusted over the row's differences (Holm 1979); better: who is shown to be, if anybody."""
    known = [cell.p for cell in cells if cell.p is not None]
    adjusted = iter(significance.holm(known))
    found = []
    for cell in cells:
        p = None if cell.p is None else float(next(adjusted))
        value = cell.difference.value
        shown = p is not None and p < LEVEL and bool(value)
        better = (cell.pair.a if (value or 0.0) > 0 else cell.pair.b).name if shown else None
        difference = cell.difference.model_dump(include={"value", "stderr", "low", "high", "method"})
        found.append({"difference": difference, "p": p, "better": better, "agreement": cell.agreement})
    return {"name": name, "level": level, "section": section, "values": [v.value for v in values], "pairs": found}


class _Cell(NamedTuple):
    """One pair's difference in one row. agreement: numbers of examples both, only one or neither is right on."""

    pair: _Pair
    difference: Estimate
    p: float | None
    agreement: dict[str, Any] | None = None


def _whole(pair: _Pair) -> _Cell:
    if pair.found is None:
        return _from_estimates(pair, pair.a.score(pair.sections), pair.b.score(pair.sections))
    if pair.found.difference is None or not pair.sections:
        return _Cell(pair, Estimate(value=None), None)
    return _Cell(pair, pair.found.difference, pair.found.p)


def _section_cell(pair: _Pair, name: str) -> _Cell:
    if pair.found is None:
        return _from_estimates(pair, pair.a.section(name), pair.b.section(name))
    if name not in pair.found.sections:
        return _Cell(pair, Estimate(value=None), None)
    found = pair.found.sections[name]
    return _Cell(pair, found.difference, _normal_p(found.difference), _agreement(found))


def _subset_cell(pair: _Pair, name: str, spec: BenchmarkSpec) -> _Cell:
    if pair.found is None:
        return _from_estimates(pair, pair.a.subset(name), pair.b.subset(name))
    if name not in pair.found.subsets:
        return _Cell(pair, Estimate(value=None), None)
    found = pair.found.subsets[name]
    # McNemar's test is about examples that are right or wrong. Other scores than accuracies are not made of these, nor
    # are accuracies in which a tie earned a share: there it may even be the other model that is right more often.
    by_counts = spec.metric_of(name).is_accuracy and not found.has_partial_credit
    p = found.mcnemar if by_counts else _normal_p(found.difference)
    return _Cell(pair, found.difference, p, _agreement(found))


def _from_estimates(pair: _Pair, a: Estimate, b: Estimate) -> _Cell:
    """The difference of two values measured apart: its variance is the sum of theirs."""
    if a.value is None or b.value is None:
        return _Cell(pair, Estimate(value=None), None)
    value = a.value - b.value
    if a.stderr is None or b.stderr is None or not (a.stderr or b.stderr):
        return _Cell(pair, Estimate(value=value), None)
    stderr = math.hypot(a.stderr, b.stderr)
    difference = Estimate(value=value, stderr=stderr, low=value - Z95 * stderr, high=value + Z95 * stderr)
    return _Cell(pair, difference, _normal_p(difference))


def _normal_p(difference: Estimate) -> float | None:
    """Two-sided, from the standard error as if the difference were normally distributed; 1 where nothing differs."""
    if difference.value is None:
        return None
    if abs(difference.value) < NOTHING:
        return 1.0
    if not difference.stderr:
        return None
    return 2 * NormalDist().cdf(-abs(difference.value) / difference.stderr)


def _agreement(found: paired.PairedDifference) -> dict[str, Any]:
    return {
        "both": found.both,
        "only_a": found.only_a,
        "only_b": found.only_b,
        "neither": found.neither,
        "p": found.mcnemar,
    }


# In words


def points(value: float) -> str:
    """A difference in points with its sign; a real minus."""
    rounded = round(100 * value, 1)
    return f"{'+' if rounded > 0 else '−' if rounded < 0 else ''}{abs(rounded):.1f}"


def p_words(p: float) -> str:
    """p as it is written: three decimals where it is small, two elsewhere."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}" if p < 0.1 else f"p = {p:.2f}"


def _pair(pair: _Pair, cell: Mapping[str, Any], count: int) -> dict[str, Any]:
    """One pair's facts and its verdict. cell: its difference of the score; count: the number of pairs shown."""
    found = pair.found
    basis = "items" if found else "none" if cell["difference"]["stderr"] is None else "intervals"
    agreement = None
    if found:
        names = ("both", "only_a", "only_b", "neither")
        agreement = {name: sum(getattr(each, name) for each in found.subsets.values()) for name in names}
        agreement["p"] = significance.mcnemar_mid_p(agreement["only_a"], agreement["only_b"])
    return {
        "a": pair.a.name,
        "b": pair.b.name,
        "basis": basis,
        "basis_words": _BASIS[basis].format(examples=found.common if found else 0),
        "examples": found.common if found else None,
        "left_out": found.left_out if found else None,
        "sections": list(pair.sections),
        "difference": cell["difference"],
        "p": cell["p"],
        "better": cell["better"],
        "verdict": verdict(pair.a.name, pair.b.name, cell, adjusted=count > 1),
        "agreement": agreement,
    }


def verdict(a: str, b: str, cell: Mapping[str, Any], *, adjusted: bool) -> str:
    """What a difference comes to, as a sentence. cell: of a row; adjusted: p takes other pairs into account."""
    difference, p = cell["difference"], cell["p"]
    value, low, high = (difference[key] for key in ("value", "low", "high"))
    if value is None:
        return f"{a} and {b} cannot be compared as a whole: they do not have all sections in common."
    ahead, behind, sign = (a, b, 1) if value >= 0 else (b, a, -1)
    amount = f"{abs(100 * value):.1f} points"
    if p is None:
        return f"{ahead} is {amount} above {behind}; whether that is noise is not known."
    ends = sorted((sign * low, sign * high)) if low is not None and high is not None else []
    interval = f"95% interval {_end(ends[0])} to {_end(ends[1])}, " if ends else ""
    facts = f"({interval}{p_words(p)}{' by Holm' if adjusted else ''})"
    if cell["better"]:
        return f"{ahead} is better than {behind} by {amount} {facts}."
    if amount == "0.0 points":
        return f"No difference is shown: {a} and {b} score the same to a tenth of a point {facts}."
    return f"No difference is shown: {ahead} is {amount} above {behind}, which may be noise {facts}."


def _end(value: float) -> str:
    return points(value).removeprefix("+")


def _notes(models: Sequence[_Model], pairs: Sequence[_Pair]) -> list[str]:
    """What is left out, and how the verdicts come about."""
    notes = []
    sections = pairs[0].sections
    if sections and (dropped := [name for name in _section_names(models) if name not in sections]):
        notes.append(f"The score here is without {', '.join(dropped)}, which not all pairs have outcomes for.")
    for pair in pairs:
        if pair.found and pair.found.left_out:
            n = pair.found.left_out
            example = "example is" if n == 1 else "examples are"
            notes.append(f"{n:,} {example} left out that only one of {pair.a.name} and {pair.b.name} was scored on.")
    known = [pair.found is not None for pair in pairs]
    return [*notes, *[JUDGED] * any(known), *[APART] * (not all(known))]


def _section_names(models: Sequence[_Model]) -> list[str]:
    return list(dict.fromkeys(name for each in models for name, found in each.result.sections.items() if found))


# From the scores themselves


def _score_views(model: _Model) -> dict[str, Any]:
    """A model's margins, calibration and accuracy by length; None, and empty, where there is no score file."""
    items, kind = model.items, model.result.model.kind
    margins = None if items is None or items.margins is None else items.margins[np.isfinite(items.margins)]
    if margins is None or not len(margins):
        margins = None
    sure = None if margins is None or kind in NO_LOG_ODDS else calibration.measure_calibration(margins)
    lengths = length.accuracy_by_length(items, model.spec) if items else {}
    return {
        "model": model.name,
        "margins": None if margins is None else _margins(margins),
        "calibration": None if sure is None else _calibration(sure),
        "length": [
            {"name": name, "examples": found.scored, "value": found.value, "low": found.low, "high": found.high}
            for name, found in lengths.items()
        ],
    }


def _margins(margins: Floats) -> dict[str, Any]:
    """margins: (examples,), finite, in the model's own units, which all numbers here are in but for `above`."""
    return {
        "examples": len(margins),
        "above": float((margins > 0).mean()),
        "mean": float(margins.mean()),
        "std": float(margins.std()),
        "quantiles": {f"{q:g}": float(np.quantile(margins, q)) for q in QUANTILES},
        "histogram": histogram(margins),
    }


def histogram(margins: Floats, bins: int = BINS) -> dict[str, list[float] | list[int]]:
    """About `bins` bins of equal width with an edge at 0, from the 1st to the 99th percentile; the outermost take what
    lies beyond. A bin holds its upper edge, so that a margin of 0 lies left of zero."""
    low, high = (float(q) for q in np.quantile(margins, (0.01, 0.99)))
    low, high = min(low, 0.0), max(high, 0.0)
    step = (high - low) / bins or 1.0
    first, last = min(math.floor(low / step), -1), max(math.ceil(high / step), 1)
    edges = step * np.arange(first, last + 1)
    place = np.clip(np.searchsorted(edges, margins, side="left") - 1, 0, len(edges) - 2)
    counts = np.bincount(place, minlength=len(edges) - 1)
    return {"edges": edges.tolist(), "counts": counts.tolist()}


def _calibration(found: calibration.Calibration) -> dict[str, Any]:
    return {
        "bins": [
            {
                "start": row.start,
                "end": row.end,
                "examples": row.examples,
                "probability": row.confidence,
                "right": row.accuracy,
                "low": row.low,
                "high": row.high,
            }
            for row in found.bins
        ],
        "ece": found.ece,
        "brier": found.brier,
        "examples": found.examples,
    }
