"""Pure functions from a score table to estimates. No model, no GPU, no randomness but a seeded bootstrap.

Everything is a weighted sum of means: an example earns credit, a subset's score is a mean of credits (the Ties
composite: five means), a section weighs subsets, the headline weighs sections. One bootstrap over prompts gives every
mean in every replicate, so that whatever is composed of them has its interval from the same draws.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict

from rb_core.benchmarks import BenchmarkSpec, Section, TieCredit

Z95 = NormalDist().inv_cdf(0.975)
REPLICATES = 2000
Floats = np.ndarray[tuple[int, ...], np.dtype[np.float64]]
Method = Literal["wilson", "bootstrap", "binomial", "none"]

# Ties composite: RewardBench 2 paper (arXiv:2506.01937), appendix on Ties scoring
TIES_WEIGHTS = {"tied": 0.30, "ref": 0.30, "margin": 0.20, "margin_hard": 0.20, "tanh": 0.01}


class Estimate(BaseModel):
    """A number with what is known of its error. Values are fractions from 0 to 1.

    value: None when nothing was scored; stderr, low, high: standard error and 95% interval by `method` (wilson: Wilson
    score interval of an accuracy; bootstrap: percentiles over resampled prompts; binomial: from numbers of
    examples alone, as if each were an independent trial, for published scores; none: not known);
    scored, unscored, ties: numbers of examples; floor, ceiling: the value if all unscored ones had failed or passed.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)

    value: float | None = None
    stderr: float | None = None
    low: float | None = None
    high: float | None = None
    method: Method = "none"
    scored: int | None = None
    unscored: int | None = None
    ties: int | None = None
    floor: float | None = None
    ceiling: float | None = None


class Matrix(BaseModel):
    """Wins of chosen (rows) over rejected (columns) completions by style, as in RM-Bench (arXiv:2410.16184).

    hard: chosen plainer than rejected (above the diagonal); normal: same style; easy: chosen fancier (below).
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    levels: tuple[str, ...]
    cells: tuple[tuple[Estimate, ...], ...]
    easy: Estimate
    normal: Estimate
    hard: Estimate


class Margins(BaseModel):
    """Worst chosen minus best rejected score over the scored examples, in the model's own units."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)

    mean: float
    std: float
    quantiles: dict[str, float]


class Counts(BaseModel):
    """What happened to the examples and completions of a run. `reasons` counts unscored completions by cause."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    examples: int
    completions: int
    scored: int
    unscored: int
    ties: int
    unscored_completions: int
    truncated_completions: int
    reasons: dict[str, int]


class Metrics(NamedTuple):
    """Everything a score table says about a model on a benchmark."""

    headline: Estimate | None
    sections: dict[str, Estimate]
    subsets: dict[str, Estimate]
    absent: dict[str, str]
    length: dict[str, Estimate]
    matrices: dict[str, Matrix]
    margins: Margins | None
    counts: Counts


# --------------------------------------------------------------------------------------------------------------------
# Outcomes: one row an example


class Outcome(NamedTuple):
    """What one example's scores say. credit and margin are NaN when any completion is unscored."""

    example_id: str
    subset: str
    group: str
    credit: float
    margin: float
    tied: bool
    longer: int  # 1: the chosen completions are longer on average, -1: shorter, 0: equal
    chosen: Floats
    rejected: Floats

    @property
    def scored(self) -> bool:
        return not math.isnan(self.margin)


def outcomes(scores: pd.DataFrame, spec: BenchmarkSpec) -> list[Outcome]:
    """The outcome of each example, in the order of the table."""
    return [_outcome(rows, spec) for rows in _examples(scores)]


class _Rows(NamedTuple):
    example_id: str
    subset: str
    group: str
    is_chosen: np.ndarray[tuple[int], np.dtype[np.bool_]]
    score: Floats
    num_tokens: Floats


def _examples(scores: pd.DataFrame) -> Iterator[_Rows]:
    frame = scores.reset_index(drop=True)
    ids, subsets, groups = (frame[name].to_numpy() for name in ("example_id", "subset", "group"))
    chosen = frame["is_chosen"].to_numpy(dtype=bool)
    values = frame["score"].to_numpy(dtype=np.float64, na_value=np.nan)
    tokens = frame["num_tokens"].to_numpy(dtype=np.float64)
    for index in frame.groupby("example_id", sort=False).indices.values():
        first = index[0]
        yield _Rows(ids[first], subsets[first], groups[first], chosen[index], values[index], tokens[index])


def _outcome(rows: _Rows, spec: BenchmarkSpec) -> Outcome:
    chosen, rejected = rows.score[rows.is_chosen], rows.score[~rows.is_chosen]
    margin = float(chosen.min() - rejected.max())
    if spec.metric_of(rows.subset) == "matrix":
        credit, tied = _matrix_credit(chosen, rejected, spec.tie_credit)
    else:
        credit, tied = _credit(chosen, rejected, spec.tie_credit)
    difference = rows.num_tokens[rows.is_chosen].mean() - rows.num_tokens[~rows.is_chosen].mean()
    return Outcome(
        rows.example_id, rows.subset, rows.group, credit, margin, tied, int(np.sign(difference)), chosen, rejected
    )


def _credit(chosen: Floats, rejected: Floats, ties: TieCredit) -> tuple[float, bool]:
    """1 if every chosen completion beats every rejected one; at a tie what the record says: 0, or 1/k for k at the top.

    The 1/k rule: RewardBench 2 paper (arXiv:2506.01937), best-of-four accuracy.
    """
    worst, best = chosen.min(), rejected.max()
    if math.isnan(worst - best):
        return math.nan, False
    if worst != best:
        return float(worst > best), False
    return (1.0 / (1 + int((rejected == best).sum())) if ties == "split" else 0.0), True


def _matrix_credit(chosen: Floats, rejected: Floats, ties: TieCredit) -> tuple[float, bool]:
    """The mean over all chosen-rejected comparisons."""
    wins = wins_matrix(chosen, rejected, ties)
    return float(wins.mean()), bool((chosen[:, None] == rejected[None, :]).any())


def wins_matrix(chosen: Floats, rejected: Floats, ties: TieCredit) -> Floats:
    """(chosen, rejected) array: 1 where chosen scores higher, 0 where lower, the tie credit of a pair where equal."""
    if np.isnan(chosen).any() or np.isnan(rejected).any():
        return np.full((len(chosen), len(rejected)), np.nan)
    tie = 0.5 if ties == "split" else 0.0
    difference = chosen[:, None] - rejected[None, :]
    return np.where(difference > 0, 1.0, np.where(difference == 0, tie, 0.0))


# --------------------------------------------------------------------------------------------------------------------
# Measures: per-example values whose means everything is composed of


@dataclass(frozen=True)
class Measure:
    """Values to be averaged, NaN where unscored, each with the group it is resampled with.

    lowest, highest: the range of a value, for the bounds; simple: an accuracy of independent examples, for which
    Wilson's interval holds; ties: tied examples among them.
    """

    values: Floats
    groups: tuple[str, ...]
    ties: int = 0
    lowest: float = 0.0
    simple: bool = False

    @property
    def scored(self) -> int:
        return int((~np.isnan(self.values)).sum())

    @property
    def mean(self) -> float:
        return float(np.nanmean(self.values)) if self.scored else math.nan

    def bound(self, value: float) -> float:
        """The mean if every unscored example had had this value."""
        return float(np.where(np.isnan(self.values), value, self.values).mean())


Combination = Mapping[str, float]  # measure -> coefficient


def credit_measure(examples: Sequence[Outcome], *, simple: bool = True) -> Measure:
    groups = tuple(e.group for e in examples)
    independent = simple and len(set(groups)) == len(groups)
    values = np.array([e.credit for e in examples], dtype=np.float64)
    return Measure(values, groups, ties=sum(e.tied for e in examples), simple=independent)


def ties_measures(examples: Sequence[Outcome]) -> dict[str, Measure]:
    """The five parts of the Ties composite (RewardBench 2 paper; definitions as in its published evaluation).

    tied, ref: share of examples of that kind in which every right answer beats every wrong one. Per question with both
    versions: margin: the gap between right and wrong answers exceeds the spread among the right ones; margin_hard: so
    does the smaller gap of the two versions; tanh: by how much, squashed.
    """
    kinds: dict[str, dict[str, Outcome]] = {"ref": {}, "tied": {}}
    for example in examples:
        kind, _, number = example.example_id.partition(":")
        kinds[kind][number] = example
    measures = {}
    for kind, members in kinds.items():
        values = np.array([math.nan if not e.scored else float(e.margin > 0) for e in members.values()])
        tied = sum(e.tied for e in members.values())
        measures[kind] = Measure(values, tuple(e.group for e in members.values()), ties=tied)
    both = [n for n in kinds["tied"] if n in kinds["ref"]]
    groups = tuple(kinds["tied"][n].group for n in both)
    spread = np.array([np.ptp(kinds["tied"][n].chosen) for n in both])
    gap, gap_ref = (np.array([kinds[kind][n].margin for n in both]) for kind in ("tied", "ref"))
    smaller = np.minimum(gap, gap_ref)
    measures["margin"] = Measure(_above(gap, spread), groups)
    measures["margin_hard"] = Measure(_above(smaller, spread), groups)
    measures["tanh"] = Measure(_squashed(smaller, spread), groups, lowest=-1.0)
    return measures


def _above(gap: Floats, spread: Floats) -> Floats:
    return np.where(np.isnan(gap) | np.isnan(spread), np.nan, (gap > spread).astype(np.float64))


def _squashed(gap: Floats, spread: Floats) -> Floats:
    """tanh(gap / spread - 1); 0/0 counts as 0, as in the published evaluation."""
    with np.errstate(divide="ignore", invalid="ignore"):
        values = np.tanh(gap / spread - 1.0)
    return np.where((gap == 0) & (spread == 0), 0.0, values)


def wilson(share: float, n: int) -> tuple[float, float]:
    """The 95% Wilson score interval of a share of n (Wilson 1927, doi:10.1080/01621459.1927.10502953)."""
    z2 = Z95 * Z95
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = Z95 / (1 + z2 / n) * math.sqrt(max(share * (1 - share), 0.0) / n + z2 / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)


def bootstrap(measures: Mapping[str, Measure], seed: int, replicates: int = REPLICATES) -> dict[str, Floats]:
    """Means of every measure in each replicate, from groups drawn with replacement.

    Groups are drawn within strata, groups that contribute to the same measures, so that every replicate has each
    subset at its own size. Returns measure -> (replicates,) array; NaN where a replicate drew nothing scored.
    """
    names = list(measures)
    sums, counts, strata = _group_sums(measures, names)
    rng = np.random.default_rng(seed)
    total, number = (np.zeros((replicates, len(names))) for _ in range(2))
    for members in strata:
        n = len(members)
        step = max(1, 4_000_000 // n)  # bounds the weights held at once
        for begin in range(0, replicates, step):
            rows = slice(begin, min(begin + step, replicates))
            weights = rng.multinomial(n, np.full(n, 1.0 / n), size=rows.stop - rows.start).astype(np.float64)
            total[rows] += weights @ sums[members]
            number[rows] += weights @ counts[members]
    with np.errstate(invalid="ignore"):
        means = total / number
    return {name: means[:, column] for column, name in enumerate(names)}


def _group_sums(measures: Mapping[str, Measure], names: list[str]) -> tuple[Floats, Floats, list[list[int]]]:
    """Per group and measure the sum and the number of scored values; and the groups of each stratum."""
    index: dict[str, int] = {}
    for name in names:
        for group in measures[name].groups:
            index.setdefault(group, len(index))
    sums, counts = np.zeros((len(index), len(names))), np.zeros((len(index), len(names)))
    touched = np.zeros((len(index), len(names)), dtype=bool)
    for column, name in enumerate(names):
        rows = np.array([index[group] for group in measures[name].groups], dtype=np.int64)
        kept = ~np.isnan(measures[name].values)
        np.add.at(sums[:, column], rows[kept], measures[name].values[kept])
        np.add.at(counts[:, column], rows[kept], 1.0)
        touched[rows, column] = True
    strata: dict[bytes, list[int]] = {}
    for row in range(len(index)):
        strata.setdefault(touched[row].tobytes(), []).append(row)
    return sums, counts, list(strata.values())


@dataclass(frozen=True)
class Estimator:
    """Turns combinations of measures into estimates, all from the same bootstrap draws."""

    measures: Mapping[str, Measure]
    draws: Mapping[str, Floats]

    def __call__(self, combination: Combination, *, examples: Sequence[Outcome]) -> Estimate:
        """The weighted sum of means, with counts over `examples`."""
        scored = sum(e.scored for e in examples)
        parts = [(self.measures[name], weight) for name, weight in combination.items()]
        value = sum(weight * measure.mean for measure, weight in parts)
        stderr, low, high, method = self._interval(combination, value)
        return Estimate(
            value=_number(value),
            stderr=_number(stderr),
            low=_number(low),
            high=_number(high),
            method=method,
            scored=scored,
            unscored=len(examples) - scored,
            ties=sum(e.tied for e in examples),
            floor=sum(weight * measure.bound(measure.lowest) for measure, weight in parts),
            ceiling=sum(weight * measure.bound(1.0) for measure, weight in parts),
        )

    def _interval(self, combination: Combination, value: float) -> tuple[float, float, float, Method]:
        if math.isnan(value):
            return math.nan, math.nan, math.nan, "none"
        first = self.measures[next(iter(combination))]
        if len(combination) == 1 and first.simple:
            n = first.scored
            spread = float(np.nanstd(first.values, ddof=1)) if n > 1 else math.nan
            return spread / math.sqrt(n), *wilson(value, n), "wilson"
        draws = sum((weight * self.draws[name] for name, weight in combination.items()), np.zeros(()))
        draws = draws[~np.isnan(draws)]
        if len(draws) < 2:
            return math.nan, math.nan, math.nan, "none"
        low, high = np.percentile(draws, (2.5, 97.5))
        return float(draws.std(ddof=1)), float(low), float(high), "bootstrap"


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


# --------------------------------------------------------------------------------------------------------------------
# The whole


def compute(scores: pd.DataFrame, spec: BenchmarkSpec, seed: int = 0) -> Metrics:
    """Every estimate of a score table by the benchmark's record. `seed` fixes the bootstrap's draws."""
    found = outcomes(scores, spec)
    by_subset: dict[str, list[Outcome]] = {s.name: [] for s in spec.subsets}
    for outcome in found:
        by_subset[outcome.subset].append(outcome)
    by_subset = {name: examples for name, examples in by_subset.items() if examples}
    measures, combinations = _subset_measures(by_subset, spec)
    present, absent = _present(by_subset, spec, combinations)
    cells = _cell_measures(by_subset, spec)
    length = _length_measures(found, spec)
    # The strata of one bootstrap follow from its measures. Lengths get their own: strata that split a subset by length
    # would hold fixed what the subset's interval is about.
    draws = {**bootstrap({**measures, **cells}, seed), **bootstrap(length, seed)}
    estimator = Estimator({**measures, **cells, **length}, draws)
    sections = {section.name: compose(section.weights, combinations) for section in present}
    headline = None
    if "headline" not in absent:
        weights = {section.name: section.headline_weight for section in present}
        counted = [e for section in present for name in section.weights for e in by_subset[name]]
        headline = estimator(compose(weights, sections), examples=counted)
    members = {s.name: [e for name in s.weights for e in by_subset[name]] for s in present}
    return Metrics(
        headline=headline,
        sections={name: estimator(c, examples=members[name]) for name, c in sections.items()},
        subsets={name: estimator(c, examples=by_subset[name]) for name, c in combinations.items()},
        absent=absent,
        length={
            name: estimator({name: 1.0}, examples=_of_length(found, spec, sign))
            for name, sign in _LENGTHS.items()
            if name in length
        },
        matrices=_matrices(estimator, present, by_subset, spec, complete="headline" not in absent),
        margins=_margins(found),
        counts=_counts(scores, found),
    )


def subset_values(scores: pd.DataFrame, spec: BenchmarkSpec) -> dict[str, float]:
    """The subsets' scores alone, without intervals; NaN where nothing was scored."""
    by_subset: dict[str, list[Outcome]] = {}
    for outcome in outcomes(scores, spec):
        by_subset.setdefault(outcome.subset, []).append(outcome)
    measures, combinations = _subset_measures(by_subset, spec)
    return {
        name: sum(weight * measures[part].mean for part, weight in combination.items())
        for name, combination in combinations.items()
    }


def _subset_measures(
    by_subset: Mapping[str, list[Outcome]], spec: BenchmarkSpec
) -> tuple[dict[str, Measure], dict[str, Combination]]:
    measures: dict[str, Measure] = {}
    combinations: dict[str, Combination] = {}
    for name, examples in by_subset.items():
        metric = spec.metric_of(name)
        if metric == "ties":
            parts = {f"{name}/{part}": measure for part, measure in ties_measures(examples).items()}
            if any(len(measure.values) == 0 for measure in parts.values()):
                continue  # one of the two versions is not in the data: there is no composite
            measures |= parts
            combinations[name] = {f"{name}/{part}": weight for part, weight in TIES_WEIGHTS.items()}
        else:
            measures[name] = credit_measure(examples, simple=metric == "accuracy")
            combinations[name] = {name: 1.0}
    return measures, combinations


def _present(
    by_subset: Mapping[str, list[Outcome]], spec: BenchmarkSpec, combinations: Mapping[str, Combination]
) -> tuple[list[Section], dict[str, str]]:
    """The sections whose every subset has a score, and why the others, and the headline, are absent."""
    present, absent = [], {}
    for section in spec.sections:
        if missing := [name for name in section.weights if name not in by_subset]:
            absent[section.name] = f"no examples of {', '.join(missing)}"
        elif incomplete := [name for name in section.weights if name not in combinations]:
            absent[section.name] = f"{', '.join(incomplete)} lacks the ref or the tied versions"
        else:
            present.append(section)
    if required := [s.name for s in spec.sections if s.required and s.name in absent]:
        absent["headline"] = f"without {', '.join(required)}"
    return present, absent


def compose(weights: Mapping[str, float], parts: Mapping[str, Combination]) -> Combination:
    """The weighted mean of combinations, as one combination."""
    total = sum(weights.values())
    composed: dict[str, float] = {}
    for name, weight in weights.items():
        for measure, coefficient in parts[name].items():
            composed[measure] = composed.get(measure, 0.0) + weight / total * coefficient
    return composed


_LENGTHS = {"chosen longer": 1, "chosen shorter": -1}


def _of_length(found: Sequence[Outcome], spec: BenchmarkSpec, sign: int) -> list[Outcome]:
    return [e for e in found if e.longer == sign and spec.metric_of(e.subset) != "ties"]


def _length_measures(found: Sequence[Outcome], spec: BenchmarkSpec) -> dict[str, Measure]:
    """Accuracy where the chosen completions are longer, and where they are shorter: a model that counts words shows."""
    return {
        name: credit_measure(examples) for name, sign in _LENGTHS.items() if (examples := _of_length(found, spec, sign))
    }


def _cell_measures(by_subset: Mapping[str, list[Outcome]], spec: BenchmarkSpec) -> dict[str, Measure]:
    measures: dict[str, Measure] = {}
    size = range(len(spec.style_levels))
    for name, examples in by_subset.items():
        if spec.metric_of(name) != "matrix":
            continue
        wins = np.stack([wins_matrix(e.chosen, e.rejected, spec.tie_credit) for e in examples])
        groups = tuple(e.group for e in examples)
        measures |= {_cell(name, i, j): Measure(wins[:, i, j], groups) for i in size for j in size}
    return measures


def _cell(subset: str, i: int, j: int) -> str:
    return f"{subset}/{i}>{j}"


def _matrices(
    estimator: Estimator,
    present: Sequence[Section],
    by_subset: Mapping[str, list[Outcome]],
    spec: BenchmarkSpec,
    *,
    complete: bool,
) -> dict[str, Matrix]:
    """The matrix of each section and, where every section is there, their mean under "All"."""
    sections = [s for s in present if s.metric == "matrix"]
    blocks = {s.name: [s] for s in sections}
    if sections and complete:
        blocks["All"] = sections
    return {name: _matrix(estimator, block, by_subset, spec) for name, block in blocks.items()}


def _matrix(
    estimator: Estimator, block: Sequence[Section], by_subset: Mapping[str, list[Outcome]], spec: BenchmarkSpec
) -> Matrix:
    size = range(len(spec.style_levels))
    examples = [e for section in block for name in section.weights for e in by_subset[name]]

    def mean_of(places: Sequence[tuple[int, int]]) -> Estimate:
        parts = {}
        for section in block:
            cells = {n: {_cell(n, i, j): 1.0 / len(places) for i, j in places} for n in section.weights}
            parts[section.name] = compose(section.weights, cells)
        weights = {section.name: section.headline_weight for section in block}
        return estimator(compose(weights, parts), examples=examples)

    return Matrix(
        levels=spec.style_levels,
        cells=tuple(tuple(mean_of([(i, j)]) for j in size) for i in size),
        easy=mean_of([(i, j) for i in size for j in size if i > j]),
        normal=mean_of([(i, i) for i in size]),
        hard=mean_of([(i, j) for i in size for j in size if i < j]),
    )


def _margins(found: Sequence[Outcome]) -> Margins | None:
    margins = np.array([e.margin for e in found if e.scored])
    if not len(margins):
        return None
    levels = (0.05, 0.25, 0.5, 0.75, 0.95)
    quantiles = {f"{level:g}": float(q) for level, q in zip(levels, np.quantile(margins, levels), strict=True)}
    return Margins(mean=float(margins.mean()), std=float(margins.std()), quantiles=quantiles)


def _counts(scores: pd.DataFrame, found: Sequence[Outcome]) -> Counts:
    scored = sum(e.scored for e in found)
    missing = scores[scores["score"].isna()]
    return Counts(
        examples=len(found),
        completions=len(scores),
        scored=scored,
        unscored=len(found) - scored,
        ties=sum(e.tied for e in found),
        unscored_completions=len(missing),
        truncated_completions=int(scores["truncated"].sum()),
        reasons={str(reason): int(n) for reason, n in missing["reason"].value_counts().sort_index().items()},
    )
