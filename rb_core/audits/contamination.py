"""Audit of contamination: which items of a benchmark occur in training data, and how models score without them.

The search is in `text_overlap.py`. Scores are those of single examples in a results root; a flag changes none of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from rb_core.audits.report import AuditFigure, AuditPoint, AuditReport, AuditTable, Cell
from rb_core.audits.text_overlap import COMMON, FIELDS, MIN_WORDS, NGRAM, Overlap, OverlapIndex, Scan
from rb_core.benchmarks.example import Example
from rb_core.benchmarks.files import Rows, read_rows
from rb_core.benchmarks.hub_rows import PREFIX, hub_rows, parse_address
from rb_core.benchmarks.spec import Benchmark, BenchmarkSpec
from rb_core.errors import DataError, as_text
from rb_core.leaderboard.store import ResultsStore
from rb_core.results.estimate import Estimate
from rb_core.stats.composition import compose
from rb_core.stats.intervals import group_sums, mean_estimate, weighted_mean
from rb_core.stats.item_outcomes import Flags, Floats, ItemOutcomes, Strings
from rb_core.stats.metrics.base import Measure
from rb_core.stats.significance import independent_interval

MAX_SHOWN_MODELS, MAX_SHOWN_ITEMS, MAX_SHOWN_TEXT = 10, 10, 120
MOST = 0.5  # share of n-grams from which on an item counts as mostly in training


class Difference(NamedTuple):
    """A difference with its 95% interval; None without one."""

    value: float
    low: float | None
    high: float | None

    def times(self, factor: float) -> Difference:
        low, high = (None if end is None else factor * end for end in (self.low, self.high))
        return Difference(factor * self.value, *((high, low) if factor < 0 else (low, high)))


class CleanScore(NamedTuple):
    """Scores of a model: mean credit of all items, of those that are not flagged, and of the flagged ones.

    headline: the benchmark's score on the clean items, None where a section would be empty; gain: flagged minus clean;
    gain_within: the same within subsets, weighed by their flagged items.
    """

    model: str
    whole: Estimate
    clean: Estimate
    flagged: Estimate
    headline: Estimate | None
    gain: Difference | None
    gain_within: Difference | None

    @property
    def change(self) -> Difference | None:
        """Clean minus whole: the whole is the mean of both parts, so that this is a share of the gain, negated."""
        if self.gain is None:
            return None
        return self.gain.times(-(self.flagged.scored or 0) / (self.whole.scored or 1))


@dataclass(frozen=True)
class Contamination:
    """The overlap of a benchmark's items with training data, entry by entry in the order of its examples.

    training: the name of the data; num_shared, num_common: n-grams that were left out, see `OverlapIndex`; min_share:
    the share of n-grams from which on an item is flagged.
    """

    benchmark: Benchmark
    training: str
    n: int
    min_share: float
    scan: Scan
    overlaps: Sequence[Overlap]
    num_shared: int
    num_common: int

    @property
    def flagged(self) -> Flags:
        return np.array([overlap.is_flagged(self.min_share) for overlap in self.overlaps], dtype=bool)

    def item_rows(self) -> Iterator[dict[str, Any]]:
        """Yield a row of a table for each item."""
        for example, overlap in _examples(self):
            yield {
                "id": example.id,
                "subset": example.subset,
                "flagged": overlap.is_flagged(self.min_share),
                **{f"exact_{name}": str(overlap.exact[name]) if name in overlap.exact else None for name in FIELDS},
                **{f"share_{name}": overlap.shares.get(name, 0.0) for name in FIELDS},
                "training_row": None if overlap.row is None else str(overlap.row),
                "matched_text": overlap.text or None,
            }


def find_contamination(
    training: str, benchmark: Benchmark, *, n: int = NGRAM, min_share: float = 0.0, progress: bool = False
) -> Contamination:
    """Search training data for the items of a benchmark.

    Args:
        training: file, folder, or address `hf://ORG/NAME:SPLIT`.
        n: words of an n-gram.
        min_share: share of a text's n-grams from which on its item is flagged; 0 for any n-gram.

    Raises DataError for data without a readable row, and for an n or share out of range.
    """
    if n < MIN_WORDS:
        raise DataError(f"--ngram {n}: expected at least {MIN_WORDS} words; fewer are in common by chance")
    if not 0 <= min_share <= 1:
        raise DataError(f"--share {min_share:g}: expected a share from 0 to 1")
    rows, name = _training_rows(training)
    index = OverlapIndex(benchmark.examples, n)
    scan = index.scan(iter(tqdm(rows, desc="compare", unit="row", disable=None if progress else True, leave=False)))
    if scan.rows == scan.num_refused:
        problems = "".join(f"; {problem}" for problem in scan.refused)
        raise DataError(f"{name}: no row can be read{problems}")
    return Contamination(benchmark, name, n, min_share, scan, index.overlaps(), index.num_shared, index.num_common)


def _training_rows(training: str) -> tuple[Rows, str]:
    if training.startswith(PREFIX):
        rows, commit = hub_rows(parse_address(training), None, otherwise="")
        return rows, f"{training} at {commit}"
    path = Path(training)
    return read_rows(path), as_text(path.absolute().name)


# ---- scores


def known_outcomes(store: ResultsStore, benchmark_ids: Sequence[str], models: Sequence[str]) -> list[ItemOutcomes]:
    """Return the outcomes of single examples of these models, by default of all, on the first benchmark that has some.

    Raises DataError for a named model without them.
    """
    for benchmark in benchmark_ids:
        known = {model: store.outcomes(benchmark, model) for model in store.results(benchmark)}
        outcomes = {model: items for model, items in known.items() if items is not None}
        if outcomes:
            break
    wanted = [store.registry.canonical_name(model) for model in models] or list(outcomes)
    if missing := [model for model in wanted if model not in outcomes]:
        raise DataError(
            f"--model {missing[0]}: no outcomes of single examples on {benchmark_ids[-1]} in these results; "
            f"{len(outcomes):,} models have them"
        )
    return [replace(outcomes[model], model=model) for model in wanted]


def score_without(contamination: Contamination, outcomes: Iterable[ItemOutcomes]) -> list[CleanScore]:
    """Return the scores of models on the examined items that they scored, the best first."""
    examples = contamination.benchmark.examples
    ids = np.array([example.id for example in examples])
    flagged_ids = ids[contamination.flagged]
    scores = []
    for all_items in outcomes:
        items = all_items.take(np.isin(all_items.example_ids, ids))
        if items.scored.any():
            flagged = np.isin(items.example_ids, flagged_ids)
            scores.append(_clean_score(contamination.benchmark, items, flagged))
    return sorted(scores, key=lambda score: (-(score.whole.value or 0.0), score.model))


def _clean_score(benchmark: Benchmark, items: ItemOutcomes, flagged: Flags) -> CleanScore:
    groups, everything = items.groups, np.zeros(len(items), dtype=np.str_)

    def mean(rows: Flags) -> Estimate:
        return mean_estimate(items.credits[rows], groups[rows]) if rows.any() else Estimate(scored=0, unscored=0)

    composition = compose(items.take(~flagged), benchmark.spec)
    return CleanScore(
        items.model,
        whole=mean_estimate(items.credits, groups),
        clean=mean(~flagged),
        flagged=mean(flagged),
        headline=weighted_mean(composition.measures, composition.headline).estimate() if composition.headline else None,
        gain=difference_of_parts(items.credits, groups, flagged, everything),
        gain_within=difference_of_parts(items.credits, groups, flagged, items.subsets),
    )


def difference_of_parts(values: Floats, groups: Strings, in_first: Flags, strata: Strings) -> Difference | None:
    """Return the mean of the first part minus that of the rest; None when no stratum has values of both.

    The mean of the rest weighs strata as the first part does, so that parts are compared within strata. The parts share
    no example; where they share prompts, their means are correlated by what these groups add to both.
    """
    scored = ~np.isnan(values)
    names = [str(name) for name in np.intersect1d(strata[scored & in_first], strata[scored & ~in_first])]
    if not names:
        return None
    parts = [
        {name: Measure(values[rows], groups[rows]) for name in names for rows in [part & (strata == name)]}
        for part in (in_first, ~in_first)
    ]
    total = sum(measure.scored for measure in parts[0].values())
    weights = {name: measure.scored / total for name, measure in parts[0].items()}
    first, rest = (weighted_mean(part, weights).estimate() for part in parts)
    sums = [group_sums(part, weights) for part in parts]
    _, here, there = np.intersect1d(sums[0].names, sums[1].names, return_indices=True)
    covariance = float((sums[0].deviations[here] * sums[1].deviations[there]).sum())
    size = math.prod(float(np.linalg.norm(s.deviations)) for s in sums)
    ends = independent_interval(first, rest, covariance / size if size else 0.0)
    return Difference((first.value or 0.0) - (rest.value or 0.0), *(ends or (None, None)))


# ---- report


def report_name(spec: BenchmarkSpec) -> str:
    """Return the name of the report on a benchmark."""
    return f"contamination-{spec.id}"[:100]


def contamination_report(
    contamination: Contamination, scores: Sequence[CleanScore], training_data: Mapping[str, str], command: str
) -> AuditReport:
    """Return the report. training_data: what the makers of models declare, by model; command: that was used."""
    spec = contamination.benchmark.spec
    flagged = [pair for pair in _examples(contamination) if pair[1].is_flagged(contamination.min_share)]
    tables = [_subset_table(contamination)]
    tables += [_item_table(contamination, flagged)] if flagged else []
    tables += [_model_table(scores, training_data)] if scores and flagged else []
    return AuditReport(
        audit=report_name(spec),
        title=f"Contamination of {spec.title}",
        question=f"Do items of {spec.title} occur in {contamination.training}, and how do models score without them?",
        answer=(_overlap_sentence(contamination), *(_score_sentences(scores) if flagged else ())),
        tables=tuple(tables),
        figure=_figure(scores) if flagged else None,
        cautions=_cautions(contamination),
        method=_method(contamination),
        sources=(f"{contamination.benchmark.source}, {len(contamination.overlaps):,} items", contamination.training),
        command=command,
    )


def _examples(contamination: Contamination) -> list[tuple[Example, Overlap]]:
    return list(zip(contamination.benchmark.examples, contamination.overlaps, strict=True))


def _kinds(overlaps: Sequence[Overlap]) -> tuple[int, int, int, int]:
    """Return the numbers of flagged items by the strongest reason: prompt, answer, most n-grams, fewer n-grams."""
    prompts = sum("prompt" in overlap.exact for overlap in overlaps)
    answers = sum(bool(overlap.exact) for overlap in overlaps) - prompts
    most = sum(not overlap.exact and overlap.share >= MOST for overlap in overlaps)
    return prompts, answers, most, len(overlaps) - prompts - answers - most


def _overlap_sentence(contamination: Contamination) -> str:
    flagged = [o for o in contamination.overlaps if o.is_flagged(contamination.min_share)]
    total = len(contamination.overlaps)
    compared = f"{contamination.scan.rows:,} rows of {contamination.training}"
    if not flagged:
        return (
            f"None of the {total:,} items of {contamination.benchmark.spec.title} has a text in common with {compared}."
        )
    prompts, answers, most, fewer = _kinds(flagged)
    return (
        f"{len(flagged):,} of the {total:,} items of {contamination.benchmark.spec.title} "
        f"({100 * len(flagged) / total:.1f}%) have text in common with {compared}: {prompts:,} the whole prompt, "
        f"{answers:,} a whole answer and not the prompt, {most:,} at least half of a text's {contamination.n}-grams, "
        f"{fewer:,} fewer of them."
    )


def _score_sentences(scores: Sequence[CleanScore]) -> list[str]:
    gains = [score.gain_within.value for score in scores if score.gain_within]
    if not gains:
        return ["No model has outcomes of single examples on flagged and clean items of one subset to compare."]
    best = scores[0]
    sentences = [
        f"Over {len(gains):,} models the median of the accuracy on flagged items minus that on clean items of the same "
        f"subsets is {_signed(float(np.median(gains)))} points: how much easier or harder the flagged items are."
    ]
    if best.change:
        sentences.append(
            f"Without the flagged items the accuracy of {best.model}, the best of them, changes by "
            f"{_points(best.change)} points."
        )
    return sentences


def _subset_table(contamination: Contamination) -> AuditTable:
    overlaps_by_subset: dict[str, list[Overlap]] = {}
    for example, overlap in _examples(contamination):
        overlaps_by_subset.setdefault(example.subset, []).append(overlap)
    parts = [*overlaps_by_subset.items(), ("all", list(contamination.overlaps))]
    rows: list[tuple[Cell, ...]] = []
    clean = 0
    for name, overlaps in parts:
        flagged = [overlap for overlap in overlaps if overlap.is_flagged(contamination.min_share)]
        if not flagged and name != "all":
            clean += 1
            continue
        rows.append((name, len(overlaps), len(flagged), 100 * len(flagged) / len(overlaps), *_kinds(flagged)))
    return AuditTable(
        title="Flagged items by subset and strongest reason",
        columns=("Subset", "Items", "Flagged", "%", "Prompt", "Answer", "Half or more", "Less than half"),
        rows=tuple(rows),
        decimals=1,
        note=(
            "Prompt, Answer: the whole text is in training. Half or more, less: the largest share of the "
            f"{contamination.n}-grams of one of the item's texts that is."
            + (f" {clean:,} subsets without a flagged item are not listed." if clean else "")
        ),
    )


def _item_table(contamination: Contamination, flagged: Sequence[tuple[Example, Overlap]]) -> AuditTable:
    strongest = sorted(flagged, key=lambda pair: ("prompt" not in pair[1].exact, not pair[1].exact, -pair[1].share))
    rows = [
        (e.id, e.subset, _reason(overlap), str(overlap.row), _cut(overlap.text))
        for e, overlap in strongest[:MAX_SHOWN_ITEMS]
    ]
    hidden = len(flagged) - len(rows)
    return AuditTable(
        title="Flagged items",
        columns=("Item", "Subset", "In training", "Training row", "Text in common"),
        rows=tuple(rows),
        note=f"{hidden:,} more; --items FILE writes all of them." if hidden else "",
    )


def _reason(overlap: Overlap) -> str:
    shares = (f"{100 * overlap.shares[name]:.0f}% of {name}" for name in FIELDS if name in overlap.shares)
    return ", ".join([*overlap.exact, *shares])


def _cut(text: str) -> str:
    return text if len(text) <= MAX_SHOWN_TEXT else text[: MAX_SHOWN_TEXT - 1] + "…"


def _model_table(scores: Sequence[CleanScore], training_data: Mapping[str, str]) -> AuditTable:
    rows = [
        (
            score.model, score.flagged.scored, _percent(score.whole), _percent(score.clean), _points(score.change),
            _points(score.gain_within), _percent(score.headline), training_data.get(score.model),
        )
        for score in scores[:MAX_SHOWN_MODELS]
    ]  # fmt: skip
    hidden = len(scores) - len(rows)
    return AuditTable(
        title="Scores with and without the flagged items",
        columns=(
            "Model", "Flagged items", "Accuracy", "Clean", "Clean - all", "Flagged - clean, same subsets",
            "Headline, clean", "Declared training data",
        ),
        rows=tuple(rows),
        note=(
            "Percent, and percentage points, with 95% intervals. Accuracy weighs items alike; the headline weighs "
            "sections, and is missing where one has no clean item." + (f" {hidden:,} more models." if hidden else "")
        ),
    )  # fmt: skip


def _percent(estimate: Estimate | None) -> str | None:
    if estimate is None or estimate.value is None:
        return None
    low, high = estimate.low, estimate.high
    interval = "" if low is None or high is None else f" ({100 * low:.1f} to {100 * high:.1f})"
    return f"{100 * estimate.value:.1f}{interval}"


def _points(difference: Difference | None) -> str | None:
    if difference is None:
        return None
    low, high = difference.low, difference.high
    interval = "" if low is None or high is None else f" ({_signed(low)} to {_signed(high)})"
    return f"{_signed(difference.value)}{interval}"


def _signed(fraction: float) -> str:
    """Return a fraction in points with its sign, +0.0 for what rounds to none."""
    return f"{round(100 * fraction, 1) + 0.0:+.1f}"


def _figure(scores: Sequence[CleanScore]) -> AuditFigure | None:
    points = [
        AuditPoint(
            label=score.model, x=0.0, y=score.gain_within.value, low=score.gain_within.low, high=score.gain_within.high
        )
        for score in scores[:MAX_SHOWN_MODELS]
        if score.gain_within
    ]
    if not points:
        return None
    return AuditFigure(
        kind="intervals",
        title="Accuracy on flagged items minus that on clean items of the same subsets",
        x_label="",
        y_label="Flagged minus clean (fraction)",
        points=tuple(points),
        reference=0.0,
    )


def _cautions(contamination: Contamination) -> tuple[str, ...]:
    scan = contamination.scan
    cautions = [
        "A flag says that a text is in both places, not that a model was trained on it, nor that it learned the label: "
        "a prompt without the answers has none. A flag lowers no rank. Read the text in common: stock phrases and "
        "quotations are flagged too.",
        f"Not found are reworded and translated texts, whole texts of fewer than {MIN_WORDS} words, and what other "
        "training data hold.",
        "Flagged items may be easier or harder than clean ones for every model; a model's difference says something "
        "only beside those of the others.",
    ]
    if contamination.benchmark.revision is None:
        cautions.append("Items are matched with models' outcomes by their ids; the texts are those of a local file.")
    if scan.num_refused:
        cautions.append(
            f"{scan.num_refused:,} of {scan.rows:,} training rows could not be read and were not compared: "
            + "; ".join(scan.refused)
        )
    return tuple(cautions)


def _method(contamination: Contamination) -> str:
    n, share = contamination.n, contamination.min_share
    rule = f"at least {100 * share:.0f}% of the {n}-grams of one of its texts" if share else f"any {n}-gram"
    return (
        "Texts are compared as words: in NFKC, without case, punctuation and white space. An item is flagged when "
        f"training data hold its whole prompt (the longest message), a whole answer (chosen or rejected), or {rule}; "
        "13-grams are those of Brown et al. 2020 (arXiv:2005.14165, appendix C). Left out are n-grams and texts of "
        f"items with more than {COMMON} different prompts ({contamination.num_shared:,} n-grams) and, as there, "
        f"n-grams in more than {COMMON} different training texts ({contamination.num_common:,}). Accuracy is the mean "
        "credit. Flagged and clean items are different examples; the interval of their difference joins those of both "
        "means (Zou and Donner 2008, doi:10.1002/sim.3095) and held the true difference in 95 to 98% of simulations. "
        "The whole is the mean of both parts, so that clean minus whole is the share of flagged items times clean "
        "minus flagged."
    )
