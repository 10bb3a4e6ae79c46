"""Compare two to four models on one benchmark: differences, their significance, and where the models disagree.

Values are fractions from 0 to 1, differences from -1 to 1; None means unknown.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

import numpy as np

from rb_core.benchmarks.spec import BenchmarkSpec
from rb_core.errors import RewardBenchError, quoted
from rb_core.leaderboard.board import spec_of_results
from rb_core.leaderboard.score_views import score_view
from rb_core.leaderboard.verdict import power_text, verdict
from rb_core.results.estimate import Estimate
from rb_core.results.schema import KIND_LABELS, Result
from rb_core.stats.intervals import mean_estimate
from rb_core.stats.item_outcomes import ItemOutcomes
from rb_core.stats.paired import PairedComparison, PairedDifference, compare_outcomes
from rb_core.stats.published import composed_bounds, normalized
from rb_core.stats.significance import ALPHA, DETECTABLE_ERRORS, Z95, difference_p, holm

MIN_MODELS, MAX_MODELS = 2, 4
BASIS_TEXTS = {
    "items": "Paired on {examples:,} examples that both were scored on.",
    "intervals": "From published scores alone, as if the two had been scored on different examples: the interval is "
    "wider than a paired one.",
    "none": "At least one of the two has no interval, so significance is unknown.",
}
PAIRED_NOTE = (
    "Every difference is tested in the same way: example by example, with examples of the same prompt together. For "
    "single right and wrong answers that is McNemar's test. Unscored examples count against the model that is ahead. "
    "Each section and subset is tested separately: about 1 in 20 will look significant by chance. If a row has several "
    "differences, their p values are adjusted by Holm's method."
)
UNPAIRED_NOTE = (
    "If only published scores are known, a difference is tested by the two standard errors, as for two models that "
    "were scored on different examples."
)


class ComparisonSource(Protocol):
    """A source of results and outcomes; the page's ResultsSource is one."""

    def results(self, benchmark: str) -> Mapping[str, Result]:
        """Return the results of a benchmark by model; empty for an unknown benchmark."""

    def outcomes(self, benchmark: str, model: str) -> ItemOutcomes | None:
        """Return a model's outcomes of single examples; None where only aggregates are known."""


class ComparisonError(RewardBenchError):
    """Models that cannot be compared; the message says what to change."""


class OutcomeCounts(NamedTuple):
    """Numbers of examples by which of two models is right, and the p of their difference."""

    both: int
    only_a: int
    only_b: int
    neither: int
    p: float

    @classmethod
    def of(cls, paired: PairedDifference) -> OutcomeCounts:
        return cls(paired.both, paired.only_a, paired.only_b, paired.neither, paired.p)


@dataclass(frozen=True)
class TestedDifference:
    """The difference of two models in one score.

    better: name of the significantly better model; detectable: the difference that a test finds with 80% power;
    further: how many more examples would show this difference with 80% power.
    """

    difference: Estimate
    p: float | None = None
    better: str | None = None
    counts: OutcomeCounts | None = None
    detectable: float | None = None
    further: int | None = None

    @classmethod
    def of(cls, paired: PairedDifference | None) -> TestedDifference:
        if paired is None:
            return UNKNOWN
        counts = OutcomeCounts.of(paired)
        return cls(paired.difference, paired.p, None, counts, paired.detectable, paired.further)

    def difference_json(self) -> dict[str, Any]:
        return self.difference.model_dump(include={"value", "stderr", "low", "high", "method", "floor", "ceiling"})

    def to_json(self) -> dict[str, Any]:
        return {
            "difference": self.difference_json(),
            "p": self.p,
            "better": self.better,
            "agreement": self.counts._asdict() if self.counts else None,
            "detectable": self.detectable,
            "further": self.further,
        }


UNKNOWN = TestedDifference(Estimate())


@dataclass(frozen=True)
class ComparisonRow:
    """The headline, a section or a subset: every model's value, and every pair's difference."""

    name: str
    level: str  # "score", "section" or "subset"
    section: str | None
    values: tuple[Estimate, ...]
    differences: tuple[TestedDifference, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "level": self.level,
            "section": self.section,
            "values": [estimate.value for estimate in self.values],
            "bounds": [[e.floor, e.ceiling] if e.has_bounds else None for e in self.values],
            "pairs": [difference.to_json() for difference in self.differences],
        }


@dataclass(frozen=True)
class ComparedModel:
    """A model with its result and, if they are known, its outcomes of single examples."""

    result: Result
    outcomes: ItemOutcomes | None
    spec: BenchmarkSpec

    @property
    def name(self) -> str:
        return self.result.model.name

    def section(self, name: str) -> Estimate:
        return self.result.sections.get(name) or Estimate()

    def subset(self, name: str) -> Estimate:
        """Return the subset's score from the result file, or else the mean of its credits if that is its score."""
        if name in self.result.subsets:
            return self.result.subsets[name]
        if self.outcomes is None or not self.spec.metric_of(name).averages_credits:
            return Estimate()
        rows = self.outcomes.subsets == name
        return mean_estimate(self.outcomes.credits[rows], self.outcomes.groups[rows]) if rows.any() else Estimate()

    def score(self, sections: Sequence[str]) -> Estimate:
        """Return the weighted mean of these sections with error and bounds; without a value if one is missing."""
        shares = normalized({s.name: s.headline_weight for s in self.spec.sections if s.name in sections})
        estimates = [self.section(name) for name in shares]
        if not shares or any(estimate.value is None for estimate in estimates):
            return Estimate()

        parts = list(zip(shares.values(), estimates, strict=True))
        stderr = math.hypot(*(share * (estimate.stderr or math.nan) for share, estimate in parts))
        return Estimate(
            value=sum(share * (estimate.value or 0.0) for share, estimate in parts),
            stderr=None if math.isnan(stderr) else stderr,
            **composed_bounds(parts),
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "kind": KIND_LABELS[self.result.model.kind],
            "status": self.result.status,
            "items": self.outcomes is not None,
            "source": self.outcomes.source if self.outcomes else "",
            "coverage": self.result.coverage,
        }


@dataclass(frozen=True)
class ModelPair:
    """Two models. paired: their comparison example by example, None if outcomes of single examples are unknown.

    sections: those that the compared score is made of, the same for all pairs of a comparison; empty without a score.
    """

    a: ComparedModel
    b: ComparedModel
    paired: PairedComparison | None
    sections: tuple[str, ...] = ()

    def has_section(self, name: str) -> bool:
        """Return True if the difference in the section is known."""
        if self.paired:
            return name in self.paired.sections
        return self.a.section(name).value is not None and self.b.section(name).value is not None

    def unscored(self) -> int | None:
        """Return the number of examples that at least one of the two did not score; None where not known."""
        if self.a.outcomes is None or self.b.outcomes is None:
            return None
        unscored = [outcomes.example_ids[~outcomes.scored] for outcomes in (self.a.outcomes, self.b.outcomes)]
        return len(np.union1d(*unscored))

    def score_difference(self) -> TestedDifference:
        if self.paired is None:
            return _unpaired_difference(self.a.score(self.sections), self.b.score(self.sections))
        return TestedDifference.of(self.paired.score if self.sections else None)

    def section_difference(self, name: str) -> TestedDifference:
        if self.paired is None:
            return _unpaired_difference(self.a.section(name), self.b.section(name))
        return TestedDifference.of(self.paired.sections.get(name))

    def subset_difference(self, name: str) -> TestedDifference:
        if self.paired is None:
            return _unpaired_difference(self.a.subset(name), self.b.subset(name))
        return TestedDifference.of(self.paired.subsets.get(name))

    def to_json(self, score: TestedDifference, *, adjusted: bool) -> dict[str, Any]:
        """Return the pair with its verdict. score: the difference in the score; adjusted: p considers other pairs."""
        paired = self.paired
        counts = OutcomeCounts.of(paired.examples) if paired and paired.examples else None
        basis = "items" if paired else "none" if score.difference.stderr is None else "intervals"
        return {
            "a": self.a.name,
            "b": self.b.name,
            "basis": basis,
            "basis_words": BASIS_TEXTS[basis].format(examples=paired.common if paired else 0),
            "examples": paired.common if paired else None,
            "left_out": paired.left_out if paired else None,
            "sections": list(self.sections),
            "difference": score.difference_json(),
            "p": score.p,
            "better": score.better,
            "detectable": score.detectable,
            "further": score.further,
            "power_words": power_text(score.detectable, None if score.better else score.further),
            "verdict": verdict(
                self.a.name,
                self.b.name,
                score.difference,
                score.p,
                score.better,
                adjusted=adjusted,
                unscored=self.unscored(),
            ),
            "agreement": counts._asdict() if counts else None,
        }


@dataclass(frozen=True)
class ModelComparison:
    """The first model against each of the others. The first row is the score, the others sections and subsets."""

    benchmark: str
    title: str
    models: tuple[ComparedModel, ...]
    pairs: tuple[ModelPair, ...]
    rows: tuple[ComparisonRow, ...]

    @property
    def by_items(self) -> bool:
        """True if every pair is compared example by example."""
        return all(pair.paired for pair in self.pairs)

    def notes(self) -> list[str]:
        """Return what the reader must know: what is left out, and how differences are tested."""
        notes = []
        sections = self.pairs[0].sections
        names = dict.fromkeys(name for model in self.models for name in model.result.sections)
        if sections and (dropped := [name for name in names if name not in sections]):
            notes.append(f"The score here is without {', '.join(dropped)}, which not all pairs have outcomes for.")
        for pair in self.pairs:
            if pair.paired and (n := pair.paired.left_out):
                examples = "1 example was" if n == 1 else f"{n:,} examples were"
                notes.append(f"{examples} left out because only one of {pair.a.name} and {pair.b.name} has a score.")
        by_items = [pair.paired is not None for pair in self.pairs]
        return [*notes, *[PAIRED_NOTE] * any(by_items), *[UNPAIRED_NOTE] * (not all(by_items))]

    def to_json(self) -> dict[str, Any]:
        """Return the comparison as the endpoint `compare` publishes it."""
        adjusted = len(self.pairs) > 1
        scores = self.rows[0].differences
        return {
            "benchmark": self.benchmark,
            "title": self.title,
            "models": [model.to_json() for model in self.models],
            "pairs": [pair.to_json(score, adjusted=adjusted) for pair, score in zip(self.pairs, scores, strict=True)],
            "rows": [row.to_json() for row in self.rows],
            "scores": [score_view(model.result.model, model.outcomes, model.spec) for model in self.models],
            "notes": self.notes(),
        }


def compare_models(source: ComparisonSource, benchmark: str, models: Sequence[str]) -> ModelComparison:
    """Compare the first of these models with each of the others.

    Raises ComparisonError for an unknown benchmark or model, a repeated model, and less than two or more than four.
    """
    results = source.results(benchmark)
    _check_models(results, benchmark, models)
    spec = spec_of_results(list(results.values()))
    compared = tuple(ComparedModel(results[model], source.outcomes(benchmark, model), spec) for model in models)
    pairs = _pairs(compared, spec)
    return ModelComparison(benchmark, spec.title, compared, pairs, _rows(compared, pairs, spec))


def _check_models(results: Mapping[str, Result], benchmark: str, models: Sequence[str]) -> None:
    if not results:
        raise ComparisonError(f"There are no results on {quoted(benchmark)}, or they are not available now.")
    if not MIN_MODELS <= len(models) <= MAX_MODELS:
        raise ComparisonError(f"Choose {MIN_MODELS} to {MAX_MODELS} models, not {len(models)}.")
    if unknown := [model for model in models if model not in results]:
        raise ComparisonError(f"There is no result of {', '.join(map(quoted, unknown))} on {benchmark}.")
    if len(set(models)) < len(models):
        raise ComparisonError("Choose each model once: one is named twice.")


def _pairs(models: Sequence[ComparedModel], spec: BenchmarkSpec) -> tuple[ModelPair, ...]:
    """Pair the first model with each of the others; the score is made of the sections that all pairs have."""
    first, *others = models
    pairs = tuple(ModelPair(first, other, _compare_items(first, other, spec)) for other in others)
    common = tuple(s.name for s in spec.sections if all(pair.has_section(s.name) for pair in pairs))
    if any(s.required and s.name not in common for s in spec.sections):
        return pairs
    # Without weight in any pair, a section that one pair lacks leaves all differences comparable.
    sections = (s if s.name in common else replace(s, headline_weight=0.0, required=False) for s in spec.sections)
    common_spec = replace(spec, sections=tuple(sections))
    return tuple(
        replace(
            pair,
            sections=common,
            paired=_compare_items(pair.a, pair.b, common_spec)
            if pair.paired and set(pair.paired.sections) != set(common)
            else pair.paired,
        )
        for pair in pairs
    )


def _compare_items(a: ComparedModel, b: ComparedModel, spec: BenchmarkSpec) -> PairedComparison | None:
    """Return the comparison example by example; None without outcomes of the same examples."""
    if a.outcomes is None or b.outcomes is None:
        return None
    if not np.isin(a.outcomes.example_ids, b.outcomes.example_ids).any():
        return None
    paired = compare_outcomes(a.outcomes, b.outcomes, spec)
    return paired if paired.common else None


def _rows(
    models: Sequence[ComparedModel], pairs: Sequence[ModelPair], spec: BenchmarkSpec
) -> tuple[ComparisonRow, ...]:
    """Return the score, and the sections and subsets in which at least one model has a value."""
    sections = pairs[0].sections
    scores = [model.score(sections) for model in models]
    rows = [_row("Score", "score", None, scores, pairs, [pair.score_difference() for pair in pairs])]
    for section in spec.sections:
        values = [model.section(section.name) for model in models]
        differences = [pair.section_difference(section.name) for pair in pairs]
        rows.append(_row(section.name, "section", section.name, values, pairs, differences))
    for subset in spec.subsets:
        parent = spec.section_of(subset.name)
        if parent and len(parent.weights) == 1 and not any(pair.paired for pair in pairs):
            continue  # the section has the same numbers; only counts of outcomes would be new
        values = [model.subset(subset.name) for model in models]
        differences = [pair.subset_difference(subset.name) for pair in pairs]
        rows.append(_row(subset.name, "subset", parent.name if parent else None, values, pairs, differences))
    return tuple(row for row in rows if row.level == "score" or any(e.value is not None for e in row.values))


def _row(
    name: str,
    level: str,
    section: str | None,
    values: Sequence[Estimate],
    pairs: Sequence[ModelPair],
    differences: Sequence[TestedDifference],
) -> ComparisonRow:
    """Return a row, with p values adjusted over its differences (Holm 1979)."""
    adjusted = iter(holm([difference.p for difference in differences if difference.p is not None]))
    tested = []
    for pair, difference in zip(pairs, differences, strict=True):
        if difference.p is None:
            tested.append(difference)
            continue
        p = float(next(adjusted))
        # With unscored examples counted against it, the model that is ahead has the whole range on its side.
        ahead = pair.a if (difference.difference.floor or 0.0) > 0 else pair.b
        better = ahead.name if p < ALPHA else None
        tested.append(replace(difference, p=p, better=better))
    return ComparisonRow(name, level, section, tuple(values), tuple(tested))


def _unpaired_difference(a: Estimate, b: Estimate) -> TestedDifference:
    """Return the difference of two independent values: its variance is the sum of theirs.

    Unscored examples count against the model that is ahead.
    """
    if a.value is None or b.value is None:
        return UNKNOWN
    value = a.value - b.value
    (floor_a, ceiling_a), (floor_b, ceiling_b) = a.bounds, b.bounds
    floor, ceiling = floor_a - ceiling_b, ceiling_a - floor_b
    if a.stderr is None or b.stderr is None or not (a.stderr or b.stderr):
        return TestedDifference(Estimate(value=value, floor=floor, ceiling=ceiling))
    stderr = math.hypot(a.stderr, b.stderr)
    largest = max(1.0, abs(value))
    low, high = max(value - Z95 * stderr, -largest), min(value + Z95 * stderr, largest)
    difference = Estimate(value=value, stderr=stderr, low=low, high=high, method="score", floor=floor, ceiling=ceiling)
    with_unscored = math.hypot(a.stderr + a.largest_unscored_error, b.stderr + b.largest_unscored_error)
    p = difference_p(max(floor, min(0.0, ceiling)), with_unscored**2, math.inf)
    return TestedDifference(difference, p, detectable=DETECTABLE_ERRORS * stderr)
